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

const WHITE_SPACE = /[\t\n\v\f\r ]+/g;
const AROUND = /^[\t\n\v\f\r ]+|[\t\n\v\f\r ]+$/g;

/** @param {string} text @returns {string} A to Z lowered, and nothing else */
const lowered = (text) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** @type {{[type: string]: (value: string) => string}} */
const HELP = {
  email: (value) => {
    const address = lowered(value.replace(WHITE_SPACE, ""));
    const at = address.lastIndexOf("@") + 1;
    const domain = address.slice(at);
    return /^[\0-\x7f]*$/.test(domain) ? address : address.slice(0, at) + toAscii(domain);
  },
  phone: (value) => {
    const digits = value.replace(WHITE_SPACE, "");
    // Which zero of "+44 (0)20 …" and of a national number counts, only a table knows.
    if (digits.includes("(0")) {
      throw malformed("locator/phone", "the number cannot be read", {
        hint: "leave out (0): + and the country's code",
      });
    }
    return digits.replace(/[-./()]/g, "");
  },
  sha256: (value) => lowered(value.replace(AROUND, "")),
  record: (value) => value.replace(AROUND, ""),
};

/** @param {string} domain @returns {string} in A-labels, as the host of a URL has them; or as it was */
function toAscii(domain) {
  if (/[/\\?#:@%]/.test(domain)) return domain;
  try {
    return new URL(`https://${domain}`).hostname;
  } catch {
    return domain;
  }
}

/**
 * Help a text that somebody typed to its canonical spelling, which is then checked. Codes as `parseLocator`.
 * @param {string} text
 */
export function normaliseLocator(text) {
  const colon = text.indexOf(":");
  const type = lowered(text.slice(0, Math.max(colon, 0)).replace(AROUND, ""));
  const help = LOCATOR_TYPES.includes(type) ? HELP[type] : null;
  const locator = help === null ? text : `${type}:${help(text.slice(colon + 1))}`;
  parseLocator(locator);
  return locator;
}
