// What every page does with scripts: times in the reader's zone, and digests to copy. All of it reads well without.

import { FORMS } from "./dom.js";

document.documentElement.classList.add("js");

// Not in the file that works from disk, which has no footer.
const toggle = document.querySelector("#zone button");

/** @param {boolean} exact in UTC to the second, else in the reader's zone; titles always have the exact value */
function showTimes(exact) {
  for (const element of document.querySelectorAll("time")) {
    const moment = new Date(element.dateTime);
    const form = FORMS[element.dataset.form ?? "minute"];
    if (!Number.isNaN(moment.getTime())) element.textContent = exact ? element.dateTime : form(moment);
  }
}

showTimes(false);
toggle?.addEventListener("click", () => {
  const exact = toggle.getAttribute("aria-pressed") === "false";
  toggle.setAttribute("aria-pressed", String(exact));
  if (toggle.previousElementSibling)
    toggle.previousElementSibling.textContent = exact ? "Times are in UTC." : "Times are in your zone.";
  showTimes(exact);
});

document.addEventListener("click", async (event) => {
  /** @type {HTMLElement | null} */
  const button = event.target instanceof Element ? event.target.closest("button.copy") : null;
  if (button === null) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy ?? "");
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  } catch {
    // No permission: the text beside the button can still be selected, and is whole.
    getSelection()?.selectAllChildren(/** @type {Node} */ (button.previousElementSibling));
  }
});
