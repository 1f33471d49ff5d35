// Strict codecs: each value has one spelling, every other one is refused. Spec: docs/spec/encoding.md.

import { sha256 as nobleSha256 } from "../vendor/noble.js";
import { malformed } from "./errors.js";

/** @typedef {Uint8Array} Bytes */

/**
 * Return the SHA-256 of these bytes.
 * @param {Bytes} message
 * @returns {Bytes}
 */
export const sha256 = (message) => nobleSha256(/** @type {any} */ (message));

export const MAX_U63 = 2n ** 63n - 1n;

const UTF8 = new TextEncoder();
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Say whether two byte strings are equal. Nothing here is secret.
 * @param {Bytes} a @param {Bytes} b
 */
export function equal(a, b) {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * Order byte strings by their bytes, a prefix first: negative, zero or positive.
 * @param {Bytes} a @param {Bytes} b
 */
export function compare(a, b) {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/**
 * Order texts by their UTF-8. (JavaScript's own order is that of UTF-16 code units.)
 * @param {string} a @param {string} b
 */
export const compareText = (a, b) => compare(utf8(a), utf8(b));

/** @param {...Bytes} parts */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {string} text */
export const utf8 = (text) => UTF8.encode(text);

/**
 * Read UTF-8 as RFC 3629 has it; a byte order mark is a character like others.
 * @param {Bytes} encoded
 */
export function parseUtf8(encoded) {
  try {
    return STRICT_UTF8.decode(encoded);
  } catch {
    throw malformed("encoding/utf8", "these bytes are not UTF-8");
  }
}

/** @param {number | bigint} value below 2^32 */
export function u32(value) {
  const encoded = new Uint8Array(4);
  new DataView(encoded.buffer).setUint32(0, Number(value));
  return encoded;
}

/** @param {number | bigint} value below 2^64 */
export function u64(value) {
  const encoded = new Uint8Array(8);
  new DataView(encoded.buffer).setBigUint64(0, BigInt(value));
  return encoded;
}

/** @param {Bytes} encoded at least 8 bytes behind `at` @param {number} [at] */
export const parseU64 = (encoded, at = 0) =>
  new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength).getBigUint64(at);

/**
 * Read a decimal of at most 2^63 − 1.
 * @param {string} text
 */
export function parseDecimal(text) {
  if (/^(0|[1-9][0-9]{0,18})$/.test(text)) {
    const value = BigInt(text);
    if (value <= MAX_U63) return value;
  }
  throw malformed("encoding/decimal", "want 0, or up to 19 digits without a leading zero, at most 2^63 - 1");
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** @param {Bytes} value */
export function hex(value) {
  let text = "";
  for (const byte of value) text += HEX[byte];
  return text;
}

/**
 * Read pairs of lower-case hex digits.
 * @param {string} text
 * @param {number} [size] bytes wanted
 */
export function parseHex(text, size) {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) {
    throw malformed("encoding/hex", "want pairs of the digits 0-9 and a-f");
  }
  const value = new Uint8Array(text.length / 2);
  for (let i = 0; i < value.length; i++) value[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  if (size !== undefined && value.length !== size) {
    throw malformed("encoding/hex", `${value.length} bytes, want ${size}`);
  }
  return value;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64URL = `${BASE64.slice(0, 62)}-_`;

/** @param {string} alphabet */
function values(alphabet) {
  const table = new Int8Array(128).fill(-1);
  for (let i = 0; i < 64; i++) table[alphabet.charCodeAt(i)] = i;
  return table;
}
const BASE64_VALUES = values(BASE64);
const BASE64URL_VALUES = values(BASE64URL);

/** @param {Bytes} value @param {string} alphabet @param {string} padding */
function encode64(value, alphabet, padding) {
  let text = "";
  for (let i = 0; i < value.length; i += 3) {
    const left = value.length - i;
    const bits = (value[i] << 16) | ((value[i + 1] ?? 0) << 8) | (value[i + 2] ?? 0);
    text += alphabet[bits >> 18] + alphabet[(bits >> 12) & 63];
    text += left > 1 ? alphabet[(bits >> 6) & 63] : padding;
    text += left > 2 ? alphabet[bits & 63] : padding;
  }
  return text;
}

/**
 * Read characters without padding; null where another character stands, or a length or last bits that nobody writes.
 * @param {string} text @param {number} end @param {Int8Array} table
 */
function decode64(text, end, table) {
  if (end % 4 === 1) return null;
  const value = new Uint8Array(Math.floor((end * 3) / 4));
  let bits = 0;
  let count = 0;
  let at = 0;
  for (let i = 0; i < end; i++) {
    const code = text.charCodeAt(i);
    const six = code < 128 ? table[code] : -1;
    if (six < 0) return null;
    bits = ((bits << 6) | six) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      value[at++] = (bits >> count) & 0xff;
    }
  }
  return (bits & ((1 << count) - 1)) === 0 ? value : null;
}

/** @param {Bytes} value */
export const base64 = (value) => encode64(value, BASE64, "=");

/** @param {Bytes} value */
export const base64url = (value) => encode64(value, BASE64URL, "");

/**
 * @param {Bytes | null} value @param {string} code @param {number | undefined} size
 * @returns {Bytes}
 */
function sized(value, code, size) {
  if (value === null) throw malformed(code, `want canonical ${code.slice("encoding/".length)}`);
  if (size !== undefined && value.length !== size) throw malformed(code, `${value.length} bytes, want ${size}`);
  return value;
}

/**
 * Read padded standard base64.
 * @param {string} text
 * @param {number} [size] bytes wanted
 */
export function parseBase64(text, size) {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const value = text.length % 4 === 0 ? decode64(text, text.length - padding, BASE64_VALUES) : null;
  return sized(value, "encoding/base64", size);
}

/**
 * Read unpadded base64url.
 * @param {string} text
 * @param {number} [size] bytes wanted
 */
export function parseBase64url(text, size) {
  return sized(decode64(text, text.length, BASE64URL_VALUES), "encoding/base64url", size);
}

/**
 * Return H(name, part, …) = SHA-256 of the label `attest/<name>/v1` and the parts, each with its length in front.
 * @param {string} name
 * @param {...Bytes} parts
 */
export function labelled(name, ...parts) {
  const label = utf8(`attest/${name}/v1`);
  /** @type {Bytes[]} */
  const whole = [Uint8Array.of(label.length), label];
  for (const part of parts) whole.push(u32(part.length), part);
  return sha256(concat(...whole));
}
