// Help for people who leave out what kind of identifier they type. Its spelling is for lib/locators.js.

import { LOCATOR_TYPES, normaliseLocator } from "../lib/locators.js";

/**
 * Return the locator that somebody means: `Ada@Example.org` is `email:ada@example.org`. Codes: `locator/…`.
 * @param {string} text
 */
export function spell(text) {
  const typed = LOCATOR_TYPES.some((type) => text.trim().toLowerCase().startsWith(`${type}:`));
  const type = typed ? null : guess(text.trim());
  return normaliseLocator(type === null ? text : `${type}:${text.trim()}`);
}

/** @param {string} text */
function guess(text) {
  if (text.includes("@")) return "email";
  if (/^[0-9a-f]{64}$/i.test(text)) return "sha256";
  return /^\+[\d\s().\-/]+$/.test(text) ? "phone" : null;
}
