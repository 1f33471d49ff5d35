// The page that verifies a bundle. Nothing here, and nothing it loads, asks the network for anything.

import { Bundle, Keepsake, parseBundleJson } from "../lib/bundle.js";
import { verdictJson, verifyAsync } from "../lib/verify.js";
import { byId, bytesOf, el, number, showIn, takesFiles } from "./dom.js";
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

takesFiles(byId("drop"), byId("bundle"), take);
byId("keepsake").addEventListener("change", pickedKeepsake);
addEventListener("pageshow", ({ persisted }) => !persisted && pickedKeepsake());
form.addEventListener("reset", clear);
// A verdict is about the file and the question as they were: not a moment beside others.
form.addEventListener("input", forget);
form.addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  void check();
});

function forget() {
  running?.abort();
  shown.hidden = true;
  shown.replaceChildren();
}

function clear() {
  forget();
  bundle = keepsake = null;
  byId("bundle-name").textContent = "";
}

/**
 * Take a bundle, a keepsake, or one of each.
 * @param {File[]} files
 */
async function take(files) {
  forget();
  try {
    const read = await Promise.all(files.map(async (file) => ({ file, bytes: await bytesOf(file) })));
    const keepsakes = read.filter(({ bytes }) => isKeepsake(bytes));
    const others = read.filter((each) => !keepsakes.includes(each));
    if (others.length > 1 || keepsakes.length > 1)
      return complain(new Error("One bundle can be checked at a time, with one keepsake."), "Too many files");
    if (keepsakes.length > 0) {
      showIn(byId("keepsake"), keepsakes[0].file);
      takeKeepsake(keepsakes[0].bytes);
    }
    if (others.length > 0) takeBundle(others[0].file, others[0].bytes);
    else byId("bundle").value = "";
  } catch (error) {
    complain(error, "This file cannot be read");
  }
}

/** @param {File} file @param {Uint8Array} bytes */
function takeBundle(file, bytes) {
  bundle = bytes;
  showIn(byId("bundle"), file);
  byId("bundle-name").textContent = `${file.name}, ${number(bytes.length)} bytes`;
  try {
    const read = parseBundleJson(bytes);
    if (read === null) throw new Error("Pick the file that the company, or the log, gave you.");
    // A suggestion only: whom the file is about is for the reader to say.
    const { party } = new Bundle(read).holder;
    if (byId("holder").value === "") byId("holder").value = party;
  } catch (error) {
    return complain(error, "This is not a bundle");
  }
  (byId("locators").value === "" && keepsake === null ? byId("locators") : byId("holder")).focus();
}

async function pickedKeepsake() {
  const file = byId("keepsake").files[0];
  keepsake = null;
  if (file === undefined) return;
  try {
    takeKeepsake(await bytesOf(file));
  } catch (error) {
    byId("keepsake").value = "";
    complain(error, "This is not a keepsake");
  }
}

/** @param {Uint8Array} bytes */
function takeKeepsake(bytes) {
  const read = new Keepsake(bytes);
  keepsake = bytes;
  byId("holder").value = read.holder;
  byId("locators").value = read.locator;
}

/** @param {Uint8Array} bytes */
function isKeepsake(bytes) {
  try {
    return Boolean(new Keepsake(bytes));
  } catch {
    return false;
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
      locators: [...new Set(byId("locators").value.split("\n").filter(isWritten).map(spell))],
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

/** @param {string} line */
const isWritten = (line) => line.trim() !== "";

/** @param {unknown} error @param {string} [heading] */
function complain(error, heading) {
  shown.hidden = false;
  shown.replaceChildren(complaint(error, heading));
}
