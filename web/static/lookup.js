// The page that looks somebody up with a keepsake. Who it is stays here: the log is asked for pseudonyms only.

import { Bundle, Keepsake, parseBundleJson } from "../lib/bundle.js";
import { checkKeepsake, lookupBundle, lookupRequest } from "../lib/lookup.js";
import { Statement } from "../lib/statement.js";
import { verifyAsync } from "../lib/verify.js";
import { byId, bytesOf, el, number, showIn, takesFiles, time } from "./dom.js";
import { answerOf, complaint, outcome, policyText, saved, Steps } from "./verdict.js";

/** @typedef {import("../lib/lookup.js").Proven} Proven */

const form = byId("lookup");
const shown = byId("verdict");
const button = form.querySelector("button[type=submit]");

/** @type {Uint8Array | null} */
let file = null;
/** @type {Keepsake | null} */
let keepsake = null;

takesFiles(byId("drop"), byId("keepsake"), take);
form.addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  void look();
});

/**
 * Take the first of these that is a keepsake of this log.
 * @param {File[]} picked
 */
async function take(picked) {
  file = keepsake = null;
  shown.hidden = true;
  byId("ask").hidden = true;
  byId("keepsake-name").textContent = "";
  /** @type {unknown[]} */
  const problems = [];
  for (const each of picked) {
    try {
      const bytes = await bytesOf(each);
      keepsake = keepsakeOf(bytes);
      file = bytes;
      showIn(byId("keepsake"), each);
      byId("keepsake-name").textContent = `${each.name}: ${keepsake.locator}, at ${keepsake.holder}`;
      byId("ask").hidden = false;
      button.focus();
      return;
    } catch (error) {
      problems.push(error);
    }
  }
  complain(problems[0], "Nobody can be looked up with this file");
}

/** @param {Uint8Array} bytes */
function keepsakeOf(bytes) {
  const isBundle = () => {
    try {
      return parseBundleJson(bytes) !== null;
    } catch {
      return true;
    }
  };
  let read;
  try {
    read = new Keepsake(bytes);
  } catch (error) {
    throw isBundle()
      ? new Error("This is a bundle, a proof that is there already: check it on the page Verify.")
      : error;
  }
  checkKeepsake(read);
  if (read.origin !== form.dataset.origin) {
    throw new Error(
      `This keepsake is of another log, ${read.origin}. Look it up there; the proof that you get can be verified here.`,
    );
  }
  return read;
}

async function look() {
  if (keepsake === null || file === null) return;
  const kept = keepsake;
  const steps = new Steps();
  button.disabled = true;
  shown.hidden = false;
  shown.setAttribute("aria-busy", "true");
  shown.replaceChildren(el("p", { role: "status" }, "Asking the log …"));
  try {
    const encoded = await ask(kept);
    shown.replaceChildren(steps.element);
    const asked = {
      policy: policyText(byId("policy").value) ?? "",
      statePolicy: policyText(byId("state-policy").value),
      keepsake: file,
      now: Math.floor(Date.now() / 1000),
    };
    const verdict = await verifyAsync(encoded, asked, (step) => steps.add(step));
    const actions = el(
      "p",
      { class: "actions" },
      saved("lookup.bundle", /** @type {BlobPart} */ (encoded), "Keep this proof"),
    );
    shown.replaceChildren(
      ...outcome(verdict, { answer: datedBy(encoded), links: true, heading: headingOf(verdict) }).filter(
        (each) => each !== null,
      ),
      steps.element,
      actions,
    );
    shown.focus();
  } catch (error) {
    complain(error);
  } finally {
    button.disabled = false;
    shown.removeAttribute("aria-busy");
  }
}

/**
 * Ask the log for everything that a look-up needs, at one checkpoint.
 * @param {Keepsake} kept
 */
async function ask(kept) {
  const proven = [{ locator: kept.locator, vrf: kept.vrf }];
  for (let attempt = 0; ; attempt++) {
    const { systems } = JSON.parse(await read(`/holders/${encodeURIComponent(kept.holder)}/systems`));
    const names = systems.map((/** @type {{id: string}} */ system) => system.id);
    if (names.length === 0) throw new Error(`${kept.holder} has registered no system, so there is nothing to look up.`);
    const { answer, content } = await exchange("/proofs/lookup", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: lookupRequest(kept.holder, names, proven),
    });
    if (answer.ok) return lookupBundle(content, proven);
    // A system that was registered in between: ask again, for that one too.
    if (answer.status !== 409 || attempt > 2) throw problemOf(answer, content);
  }
}

/** @param {string} path @returns {Promise<string>} */
async function read(path) {
  const { answer, content } = await exchange(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw problemOf(answer, content);
  return new TextDecoder().decode(content);
}

const PATIENCE_MS = 60_000;

/** Nothing was answered, or that there is no answer now. */
class Unanswered extends Error {}

/** @param {string} path @param {RequestInit} request */
async function exchange(path, request) {
  try {
    const answer = await fetch(path, { ...request, signal: AbortSignal.timeout(PATIENCE_MS) });
    return { answer, content: new Uint8Array(await answer.arrayBuffer()) };
  } catch (error) {
    throw new Unanswered(
      error instanceof DOMException && error.name === "TimeoutError"
        ? "It has said nothing for a minute. Try again later."
        : "It cannot be reached: is there a network? Try again later.",
    );
  }
}

/** @param {Response} answer @param {Uint8Array} content */
function problemOf(answer, content) {
  let said;
  try {
    said = JSON.parse(new TextDecoder().decode(content)) ?? {};
  } catch {
    said = {};
  }
  const wait = answer.headers.get("Retry-After");
  return new Unanswered(
    `It says: ${said.detail ?? `status ${answer.status}`}${said.hint ? `; ${said.hint}` : ""}${wait ? `; try again in ${wait} s` : ""}`,
  );
}

/**
 * Return what says in words how a system stands, erasures with the seals between which they came.
 * @param {Uint8Array} encoded a bundle that was verified
 * @returns {(result: any) => (Node | string)[]}
 */
function datedBy(encoded) {
  /** @type {{position: number, time: number}[]} */
  const seals = [];
  try {
    for (const { position, entry } of new Bundle(parseBundleJson(encoded)).entries) {
      const { payload } = new Statement(entry);
      if (payload.kind === "epoch/1") seals.push({ position, time: payload.time });
    }
  } catch {
    // It was refuted, and the verdict says why.
  }
  return (result) => {
    if (result.result !== "erased") return answerOf(result);
    const before = seals.filter(({ position }) => position < result.entry).at(-1);
    const after = seals.find(({ position }) => position > result.entry);
    const [, ...more] = answerOf(result);
    return [
      "The company has stated that it erased this, in ",
      el("a", { href: `/browse/entries/${result.entry}` }, `statement no. ${number(result.entry)}`),
      ...(before === undefined ? [] : [after === undefined ? ", after " : ", between ", time(before.time)]),
      ...(after === undefined ? [] : [before === undefined ? ", by " : " and ", time(after.time)]),
      ".",
      ...more,
    ];
  };
}

/**
 * Say what a sound proof says. Whoever looks themselves up claims nothing, so there is nothing to refute.
 * @param {import("../lib/verify.js").Verdict} verdict
 */
function headingOf(verdict) {
  if (!verdict.code.startsWith("claim/")) return null;
  if (verdict.systems.some(({ result }) => result === "held")) return "You are held";
  return verdict.outcome === "holds" ? "No live entry about you" : "Not all of it can be answered with this identifier";
}

/** @param {unknown} error @param {string} [heading] */
function complain(error, heading) {
  shown.hidden = false;
  shown.replaceChildren(complaint(error, error instanceof Unanswered ? "The log does not answer this now" : heading));
}
