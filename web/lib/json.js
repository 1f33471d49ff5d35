// A strict reader of JSON files. Spec: docs/spec/encoding.md#json.
//
// An object is a Map: a key such as `__proto__` is a key like others.

import { parseBase64, parseUtf8 } from "./encoding.js";
import { malformed } from "./errors.js";

/** @typedef {number | string | boolean | null | Json[] | Map<string, Json>} Json */
/** @typedef {Map<string, Json>} JsonObject */

const MAX_DEPTH = 100; // arrays and objects

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
  // JSON.parse would take the first half of a pair for a character; no UTF-8 could say it.
  if (reader.halves) throw malformed("encoding/utf8", "half a surrogate pair");
  return value;
}

const NUMBER = /-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPES = new Map([
  ['"', '"'],
  ["\\", "\\"],
  ["/", "/"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);
/** @type {Map<string, boolean | null>} */
const WORDS = new Map([
  ["true", true],
  ["false", false],
  ["null", null],
]);

class Reader {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.halves = false;
  }

  syntax() {
    return malformed("json/syntax", `not JSON at character ${this.at}`);
  }

  /** @param {RegExp} pattern sticky */
  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) return null;
    this.at += found[0].length;
    return found[0];
  }

  space() {
    this.match(SPACE);
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
    for (const [word, meaning] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return meaning;
      }
    }
    return this.number();
  }

  number() {
    const start = this.at;
    const digits = this.match(NUMBER);
    if (digits === null || /^-?0[0-9]/.test(digits)) {
      this.at = start;
      throw this.syntax();
    }
    if (!/^[0-9]{1,16}$/.test(digits) || Number(digits) > Number.MAX_SAFE_INTEGER) {
      throw malformed("json/number", `want an integer from 0 to 2^53 - 1 in plain digits, at character ${start}`);
    }
    return Number(digits);
  }

  string() {
    this.at++;
    let value = "";
    for (;;) {
      value += this.match(PLAIN);
      const end = this.text[this.at++];
      if (end === '"') break;
      if (end !== "\\") throw this.syntax();
      value += this.escape();
    }
    if (/\p{Surrogate}/u.test(value)) this.halves = true; // under this flag only halves match
    return value;
  }

  escape() {
    const letter = this.text[this.at++];
    const meaning = ESCAPES.get(letter);
    if (meaning !== undefined) return meaning;
    const digits = this.text.slice(this.at, this.at + 4);
    if (letter !== "u" || !/^[0-9a-fA-F]{4}$/.test(digits)) throw this.syntax();
    this.at += 4;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  /** @param {number} depth */
  array(depth) {
    /** @type {Json[]} */
    const members = [];
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
