// What verdicts say to people. Programs read codes, not this.

/** @typedef {import("./verify.js").Verdict} Verdict */

/** @type {{[step: string]: string}} */
export const TITLES = {
  bundle: "read the bundle",
  question: "see whether it answers the question",
  checkpoint: "check the checkpoint's signatures against the policy",
  entries: "check that every entry is in the log at this checkpoint",
  genesis: "check who the log is, from entry 0",
  epoch: "check the epoch entry that commits the state",
  holder: "check who the holder is, and its head under the top map",
  index: "derive the indexes from the locators by the holder's VRF",
  systems: "check that all registered systems are shown",
  states: "check what every system's state map says",
  rows: "check the statements and their rows",
  claim: "judge the claim",
  freshness: "judge the age",
  level: "judge the level",
};

/** @type {{[code: string]: string}} */
const HINTS = {
  "bundle/format": "this is not a bundle; pick the file that the company or the log gave you",
  "claim/backup": "ask again when the backup's cycle is over",
  "claim/type-not-asked": "ask for those identifiers too",
  "freshness/old": "ask the log for a newer proof",
  "freshness/clock": "check the clock of this device",
  "question/holder": "ask about the holder that the bundle names",
  "index/other-locator": "check how the identifier is written: the file may be about somebody else",
  "level/too-low": "ask for a lower level, or for a checkpoint that more independent witnesses have signed",
  "checkpoint/unpinned": "use a policy with the log's key",
  "keepsake/hold": "ask with a policy that the keepsake's own checkpoint meets",
};

/** @type {{[outcome: string]: string | null}} */
const OUTCOME_HINTS = {
  holds: null,
  undecided: "a newer version may be able to decide",
  refuted: "keep this file; if the company or the log gave it to you as it is, it is evidence",
  provisional: null,
  "not-anchored": "the signatures are not of those whom your policy trusts: is it the right policy?",
};

/** @param {string} outcome @param {string} code @returns {string | null} what to do */
export function hintFor(outcome, code) {
  if (HINTS[code] !== undefined) return HINTS[code];
  if (code.startsWith("claim/")) return null;
  return OUTCOME_HINTS[outcome];
}

/** @param {Verdict} verdict @returns {string[]} what no proof of this kind shows */
export function notProven({ anchor }) {
  const always = [
    "that the holder committed everything it holds, or registered every system it has",
    "that nothing is held under another spelling or another identifier of the same person",
    "that what a tombstone calls erased is gone, or was not copied before",
  ];
  if (anchor === "state-checked") return always;
  return [
    ...always,
    "that the operator computed the state and keys rightly: not independently checked at this checkpoint",
  ];
}

/** @param {Verdict} verdict */
export function whyNotHigher({ anchor, claim, level, intervals }) {
  if (level === "A3") return "A4 needs independent sampling, A5 probes over time";
  if (anchor === "logged") return "no quorum of independent witnesses has cosigned this checkpoint";
  if (anchor === "witnessed") return "no quorum of state witnesses has checked the state at this checkpoint";
  if (claim !== "excluded") return "only an exclusion can reach A3";
  const close = intervals.find(({ apart }) => !apart);
  const where = close === undefined ? "" : ` in ${close.system}`;
  return `the hold and its tombstone${where} are in the same or neighbouring epochs: a decoy would cost nothing`;
}

/**
 * Return the claim as a sentence: what the log has, never what the company has.
 * @param {Verdict} verdict @param {string[]} locators asked
 * @param {{system: string, entry: number} | undefined} row of a hold or tombstone @param {number} systems registered
 */
export function sentence(verdict, locators, row, systems) {
  const { claim, holder, kind, origin, size } = verdict;
  const whom = locators.join(", ");
  const among = systems === 1 ? "its one registered system" : `any of its ${systems} registered systems`;
  const at = `At checkpoint ${size} of log ${origin}`;
  if (row !== undefined && (kind === "hold" || kind === "tombstone")) {
    const done = kind === "hold" ? "committed as held" : "tombstoned";
    return `At entry ${row.entry} of log ${origin}, locator ${whom} was ${done} in system ${row.system} of ${holder}.`;
  }
  switch (claim) {
    case "excluded":
      return `${at}, ${holder}'s committed inventory has no live entry for ${whom} in ${among}.`;
    case "held":
      return `${at}, ${holder}'s committed inventory has a live entry for ${whom}.`;
    case "not-excluded":
      return `${at}, ${holder}'s committed inventory does not exclude ${whom}.`;
    default:
      return `${at}, ${holder} has registered no system.`;
  }
}
