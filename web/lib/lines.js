// A question a line in, a verdict a line out, both JSON: for whoever compares implementations.
//
//     {"question": {"policy", "state_policy", "holder", "locators", "expect", "level", "max_age", "now"},
//      "bundle": base64, "keepsake": base64 | null}
//
// or a transition proof, and where its checker stands:
//
//     {"transition": hex, "genesis": entry 0 in hex | null, "size", "root": hex, "previous": hex | null,
//      "rows": {root: row file in hex}}

import { hex, parseBase64, parseHex } from "./encoding.js";
import { AttestError } from "./errors.js";
import { Statement } from "./statement.js";
import { verifyTransition } from "./transition.js";
import { verdictJson, verify } from "./verify.js";

/**
 * Return the bundle of a line.
 * @param {string} line
 */
export const bundleOf = (line) => parseBase64(JSON.parse(line).bundle);

/**
 * Return the question of a line.
 * @param {string} line
 * @returns {import("./question.js").Asked}
 */
export function askedOf(line) {
  const { question, keepsake } = JSON.parse(line);
  const { state_policy: statePolicy, max_age: maxAge, ...rest } = question;
  return { ...rest, statePolicy, maxAge, keepsake: keepsake === null ? null : parseBase64(keepsake) };
}

/**
 * Return the verdict, or that the question is wrong: `{"outcome": "usage", "code", "reason"}`.
 * @param {string} line
 */
export function judgeLine(line) {
  try {
    return verdictJson(verify(bundleOf(line), askedOf(line)));
  } catch (error) {
    if (!(error instanceof AttestError)) throw error;
    return verdictJson({ outcome: "usage", code: error.code, reason: error.message });
  }
}

/**
 * Return where the checker stands behind an epoch, `{"size", "root": hex}`, or why it is refused, `{"code"}`.
 * @param {string} line
 */
export function followLine(line) {
  const { genesis, previous, root, rows, size, transition } = JSON.parse(line);
  const anchor = {
    genesis: genesis === null ? null : new Statement(parseHex(genesis)).payload,
    size,
    root: parseHex(root),
    previous: previous === null ? null : parseHex(previous),
  };
  try {
    const files = new Map(Object.entries(rows));
    const stands = verifyTransition(parseHex(transition), anchor, (/** @type {Uint8Array} */ named) => {
      const file = files.get(hex(named));
      return file === undefined ? null : parseHex(file);
    });
    return JSON.stringify({ size: stands.size, root: hex(stands.root) });
  } catch (error) {
    if (!(error instanceof AttestError)) throw error;
    return JSON.stringify({ code: error.code });
  }
}
