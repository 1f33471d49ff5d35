// Help for people who type an identifier: from what they write to its canonical spelling, which lib/locators.js checks.
// It never guesses what a number without a country means.

const SPACE = /[\t\n\v\f\r ]+/g;
const TYPED = /^[\t\n\v\f\r ]*([A-Za-z0-9]+)[\t\n\v\f\r ]*:(.*)$/s;
const TYPES = ["email", "phone", "sha256", "record"];

/**
 * Return the locator that somebody means: `Ada@Example.org` is `email:ada@example.org`.
 * @param {string} text
 */
export function spell(text) {
  const [, type, value] = TYPED.exec(text) ?? [null, "", ""];
  if (TYPES.includes(type.toLowerCase())) return `${type.toLowerCase()}:${spellings[type.toLowerCase()](value)}`;
  const guessed = guess(text.trim());
  return guessed === null ? text : `${guessed}:${spellings[guessed](text.trim())}`;
}

/** @type {{[type: string]: (value: string) => string}} */
const spellings = {
  email(value) {
    const text = value.replace(SPACE, "");
    const at = text.lastIndexOf("@");
    return at < 0 ? text : `${lower(text.slice(0, at))}@${host(text.slice(at + 1))}`;
  },
  // (0) is not dialled from abroad: leaving it in would be another number.
  phone: (value) => (value.includes("(0)") ? value : value.replace(SPACE, "").replace(/[().\-/]/g, "")),
  sha256: (value) => lower(value.replace(SPACE, "")),
  record: (value) => value.replace(/^[\t\n\v\f\r ]+|[\t\n\v\f\r ]+$/g, ""),
};

/** @param {string} text */
function guess(text) {
  if (text.includes("@")) return "email";
  if (/^[0-9a-f]{64}$/i.test(text)) return "sha256";
  return /^\+[\d\s().\-/]+$/.test(text) ? "phone" : null;
}

/** @param {string} text only A to Z: what else has two cases is no part of a locator */
const lower = (text) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** @param {string} name @returns {string} in A-labels, by the platform's own IDNA */
function host(name) {
  const plain = lower(name);
  // These have a meaning in a URL, and none in a host name.
  if (/^[\x21-\x7e]*$/.test(plain) || /[/?#:@\\[\]%]/.test(plain)) return plain;
  try {
    return new URL(`https://${plain}`).hostname;
  } catch {
    return plain;
  }
}
