// A strict reader of JSON files. Spec: docs/spec/encoding.md#json.
//
// An object is a Map: a key such as `__proto__` is a key like others.

import { parseBase64, parseUtf8 } from "./encoding.js";
import { malformed } from "./errors.js";

/** @typedef {number | string | boolean | null | Json[] | Map<string, Json>} Json */
/** @typedef {Map<string, Json>} JsonObject */

const MAX_DEPTH = 100; // arrays and objects
// The shortest members that a bundle of 64 MiB can have are entries with an empty path: two in 38 bytes.
const MAX_CONTAINERS = 4_000_000;

/**
 * Read exactly one value.
 *
 * Codes: `json/size`, `encoding/utf8`, `json/syntax`, `json/duplicate-key`, `json/number`.
 * @param {Uint8Array} encoded
 * @param {number} limit bytes
 * @returns {Json}
 */
export function parseJson(encoded, limit) {
  if (encoded.length > limit) throw malformed("json/size", `${encoded.length} bytes, at most ${limit} are read`);
  const reader = new Reader(parseUtf8(encoded));
  const value = reader.value(0);
  reader.space();
  if (reader.at !== reader.text.length) throw reader.syntax();
  if (reader.halves) throw malformed("encoding/utf8", "half a surrogate pair");
  return value;
}

const NUMBER = /-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** By their first letters. */
const WORDS = new Map([
  ["t", "true"],
  ["f", "false"],
  ["n", "null"],
]);

class Reader {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.halves = false;
    this.containers = 0;
  }

  syntax() {
    return malformed("json/syntax", `not JSON at character ${this.at}`);
  }

  space() {
    for (;;) {
      const unit = this.text.charCodeAt(this.at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
      this.at++;
    }
  }

  /** @param {string} character */
  take(character) {
    this.space();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  /** @param {number} depth of arrays and objects around @returns {Json} */
  value(depth) {
    this.space();
    const first = this.text[this.at];
    if (first === '"') return this.string();
    if (first === "{" || first === "[") {
      if (depth === MAX_DEPTH) throw malformed("json/syntax", `nested more than ${MAX_DEPTH} deep`);
      this.at++;
      return first === "{" ? this.object(depth + 1) : this.array(depth + 1);
    }
    const word = WORDS.get(first);
    if (word === undefined) return this.number();
    if (!this.text.startsWith(word, this.at)) throw this.syntax();
    this.at += word.length;
    return JSON.parse(word);
  }

  number() {
    const start = this.at;
    NUMBER.lastIndex = start;
    const digits = NUMBER.exec(this.text)?.[0];
    if (digits === undefined || /^-?0[0-9]/.test(digits)) throw this.syntax();
    this.at += digits.length;
    if (!/^[0-9]{1,16}$/.test(digits) || Number(digits) > Number.MAX_SAFE_INTEGER) {
      throw malformed("json/number", `want an integer from 0 to 2^53 - 1 in plain digits, at character ${start}`);
    }
    return Number(digits);
  }

  string() {
    const { text } = this;
    const start = this.at;
    let at = start + 1;
    let escapes = false;
    for (;;) {
      const unit = text.charCodeAt(at);
      if (unit === QUOTE) break;
      if (unit === BACKSLASH) {
        escapes = true;
        at++;
      } else if (!(unit >= 0x20)) {
        // A control character; or NaN, behind the end.
        this.at = at;
        throw this.syntax();
      }
      at++;
    }
    this.at = at + 1;
    const value = escapes ? this.unescaped(start) : text.slice(start + 1, at);
    // Under this flag only halves of pairs match. JSON takes them for characters; no UTF-8 could say them.
    if (/\p{Surrogate}/u.test(value)) this.halves = true;
    return value;
  }

  /** @param {number} start of a string with escapes, which ends here @returns {string} */
  unescaped(start) {
    try {
      return JSON.parse(this.text.slice(start, this.at));
    } catch {
      throw this.syntax();
    }
  }

  /** Bound what a file of a few bytes a member would take in memory. */
  counted() {
    if (++this.containers > MAX_CONTAINERS) {
      throw malformed("json/field", `more than ${MAX_CONTAINERS} lists and objects`);
    }
  }

  /** @param {number} depth */
  array(depth) {
    /** @type {Json[]} */
    const members = [];
    this.counted();
    if (this.take("]")) return members;
    do members.push(this.value(depth));
    while (this.take(","));
    if (!this.take("]")) throw this.syntax();
    return members;
  }

  /** @param {number} depth */
  object(depth) {
    /** @type {JsonObject} */
    const members = new Map();
    this.counted();
    if (this.take("}")) return members;
    let twice = null;
    do {
      this.space();
      if (this.text[this.at] !== '"') throw this.syntax();
      const key = this.string();
      if (!this.take(":")) throw this.syntax();
      if (members.has(key)) twice = key;
      members.set(key, this.value(depth));
    } while (this.take(","));
    if (!this.take("}")) throw this.syntax();
    if (twice !== null) throw malformed("json/duplicate-key", `the key ${JSON.stringify(twice.slice(0, 40))} twice`);
    return members;
  }
}

/**
 * Reads the members of one object, each of which has to be there, and no other. All refuse with `json/field`.
 *
 *     const fields = new Fields(value, "holder", ["party", "head"]);
 *     fields.text("party");
 */
export class Fields {
  /** @param {Json | undefined} value @param {string} where for people @param {string[]} names */
  constructor(value, where, names) {
    if (!(value instanceof Map)) throw malformed("json/field", `${where} is not an object`);
    for (const name of names) if (!value.has(name)) throw malformed("json/field", `${where} has no member ${name}`);
    if (value.size !== names.length) throw malformed("json/field", `${where} has a member that is not known`);
    this.members = value;
    this.where = where;
  }

  /** @param {string} name @returns {Json} */
  get(name) {
    return /** @type {Json} */ (this.members.get(name));
  }

  /** @param {string} name @param {string} type */
  wrong(name, type) {
    return malformed("json/field", `${this.where}: ${name} is not ${type}`);
  }

  /** @param {string} name */
  text(name) {
    const value = this.get(name);
    if (typeof value !== "string") throw this.wrong(name, "a text");
    return value;
  }

  /** @param {string} name */
  integer(name) {
    const value = this.get(name);
    if (typeof value !== "number") throw this.wrong(name, "an integer");
    return value;
  }

  /** @param {string} name @param {number} [size] bytes wanted */
  bytes(name, size) {
    return parseBase64(this.text(name), size);
  }

  /** @param {string} name @param {number} most @param {number} [least] */
  list(name, most, least = 0) {
    const value = this.get(name);
    if (!Array.isArray(value)) throw this.wrong(name, "a list");
    if (value.length < least || value.length > most) {
      throw malformed("json/field", `${this.where}: ${value.length} ${name}, want ${least} to ${most}`);
    }
    return value;
  }

  /** @param {string} name an inclusion path: at most 63 hashes */
  path(name) {
    return this.list(name, 63).map((hash) => {
      if (typeof hash !== "string") throw this.wrong(name, "a list of texts");
      return parseBase64(hash, 32);
    });
  }
}
