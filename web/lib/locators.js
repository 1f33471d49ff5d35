// Locators in their one canonical spelling. Spec: docs/spec/locators.md.

import { utf8 } from "./encoding.js";
import { malformed } from "./errors.js";

const EMAIL =
  /^[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** @type {Map<string, (value: string) => boolean>} */
const TYPES = new Map([
  ["email", (value) => value.length <= 254 && EMAIL.test(value)],
  ["phone", (value) => /^\+[1-9][0-9]{6,14}$/.test(value)],
  ["sha256", (value) => /^[0-9a-f]{64}$/.test(value)],
  ["record", (value) => /^[\x21-\x7e]{1,256}$/.test(value)],
]);

/** The locator types known here. */
export const LOCATOR_TYPES = [...TYPES.keys()];

/**
 * Split a canonical locator into type and value. Codes: `locator/type`, `locator/email`, `locator/phone`,
 * `locator/sha256`, `locator/record`.
 * @param {string} locator
 */
export function parseLocator(locator) {
  const colon = locator.indexOf(":");
  const type = locator.slice(0, Math.max(colon, 0));
  const isCanonical = TYPES.get(type);
  if (colon < 0 || isCanonical === undefined) {
    throw malformed("locator/type", `want one of ${LOCATOR_TYPES.join(", ")} before a colon`);
  }
  const value = locator.slice(colon + 1);
  if (!isCanonical(value))
    throw malformed(`locator/${type}`, `not the canonical spelling of a locator of type ${type}`);
  return { type, value };
}

/**
 * Return the VRF's input for a locator. Codes as `parseLocator`.
 * @param {string} locator
 */
export function alphaOf(locator) {
  parseLocator(locator);
  return utf8(`attest/locator/1 ${locator}`);
}
