// A question a line in, a verdict a line out, both JSON: for whoever compares implementations.
//
//     {"question": {"policy", "state_policy", "holder", "locators", "expect", "level", "max_age", "now"},
//      "bundle": base64, "keepsake": base64 | null}

import { parseBase64 } from "./encoding.js";
import { AttestError } from "./errors.js";
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
