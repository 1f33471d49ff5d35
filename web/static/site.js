// What every page does with scripts: times in the reader's zone, and digests to copy. All of it reads well without.

document.documentElement.classList.add("js");

const EXACT = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short", hourCycle: "h23" };
const FORMS = {
  clock: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  day: { day: "numeric", month: "short", year: "numeric" },
};

/** Show the times under `root` in the reader's zone; the exact value stays in their title. */
export function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    element.textContent = new Intl.DateTimeFormat("en-GB", FORMS[element.dataset.form] ?? EXACT).format(moment);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element ? event.target.closest("button.copy") : null;
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  } catch {
    // No permission: the text beside the button can still be selected, and is whole.
    getSelection()?.selectAllChildren(button.previousElementSibling);
  }
});

localTimes(document);
