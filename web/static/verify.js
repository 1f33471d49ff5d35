// The page that verifies a bundle. Nothing here, and nothing it loads, asks the network for anything.

import { Bundle, Keepsake, parseBundleJson } from "../lib/bundle.js";
import { verdictJson, verifyAsync } from "../lib/verify.js";
import { byId, bytesOf, el, number, takesFile } from "./dom.js";
import { spell } from "./spelling.js";
import { certificate, complaint, outcome, policyText, print, saved, Steps } from "./verdict.js";

const form = byId("checker");
const shown = byId("verdict");

/** @type {Uint8Array | null} */
let bundle = null;
/** @type {Uint8Array | null} */
let keepsake = null;
/** @type {AbortController | null} the verification that runs */
let running = null;

takesFile(byId("drop"), byId("bundle"), takeBundle);
byId("keepsake").addEventListener("change", () => takeKeepsake(byId("keepsake").files[0]));
form.addEventListener("reset", clear);
form.addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  void check();
});

function clear() {
  running?.abort();
  bundle = keepsake = null;
  byId("bundle-name").textContent = "";
  shown.hidden = true;
  shown.replaceChildren();
}

/** @param {File} file */
async function takeBundle(file) {
  try {
    bundle = await bytesOf(file);
  } catch (error) {
    return complain(error);
  }
  byId("bundle-name").textContent = `${file.name}, ${number(bundle.length)} bytes`;
  try {
    const read = parseBundleJson(bundle);
    // A suggestion only: whom the file is about is for the reader to say.
    if (read !== null && byId("holder").value === "") byId("holder").value = new Bundle(read).holder.party;
  } catch {
    // Whatever is wrong with it, step 1 says.
  }
  (byId("locators").value === "" && keepsake === null ? byId("locators") : byId("holder")).focus();
}

/** @param {File | undefined} file */
async function takeKeepsake(file) {
  keepsake = null;
  if (file === undefined) return;
  try {
    keepsake = await bytesOf(file);
    const read = new Keepsake(keepsake);
    byId("holder").value = read.holder;
    byId("locators").value = read.locator;
  } catch (error) {
    keepsake = null;
    byId("keepsake").value = "";
    complain(error);
  }
}

async function check() {
  running?.abort();
  if (bundle === null) return complain(new Error("Choose a bundle first: the file that is to be checked."));
  running = new AbortController();
  const { signal } = running;
  const now = Math.floor(Date.now() / 1000);
  const steps = new Steps();
  shown.hidden = false;
  shown.setAttribute("aria-busy", "true");
  shown.replaceChildren(steps.element);
  try {
    const asked = {
      policy: policyText(byId("policy").value) ?? "",
      statePolicy: policyText(byId("state-policy").value),
      holder: byId("holder").value.trim().toLowerCase() || null,
      locators: byId("locators")
        .value.split("\n")
        .filter((/** @type {string} */ line) => line.trim() !== "")
        .map(spell),
      keepsake,
      level: byId("level").value,
      maxAge: Number(byId("age").value),
      now,
    };
    const verdict = await verifyAsync(bundle, asked, (step) => steps.add(step), { signal });
    const actions = el("p", { class: "actions" });
    const page =
      verdict.kind === "certificate" && verdict.outcome === "holds" ? certificate(verdict, bundle, now) : null;
    if (page !== null) {
      const button = el("button", { type: "button", class: "button" }, "Print the certificate");
      button.addEventListener("click", () => print(page));
      actions.append(button, " ");
    }
    actions.append(saved("verdict.json", verdictJson(verdict), "Save the verdict (JSON)"));
    shown.replaceChildren(
      ...outcome(verdict).filter((each) => each !== null),
      steps.element,
      actions,
      ...(page === null ? [] : [page]),
    );
    shown.focus();
  } catch (error) {
    if (!signal.aborted) complain(error);
  } finally {
    shown.removeAttribute("aria-busy");
  }
}

/** @param {unknown} error */
function complain(error) {
  shown.hidden = false;
  shown.replaceChildren(complaint(error));
}
