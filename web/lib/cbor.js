// Deterministic CBOR in the subset of docs/spec/encoding.md: integers, bytes, texts, arrays, maps, false, true, null.
//
// A map is a Map, in the order of its encoded keys; an integer is a number.

import { compare, concat, parseUtf8, utf8 } from "./encoding.js";
import { malformed } from "./errors.js";

/** @typedef {number | string} Key */
/** @typedef {number | string | boolean | null | Uint8Array | Value[] | Map<Key, Value>} Value */
/** @typedef {Value[]} ValueArray */
/** @typedef {Map<Key, Value>} ValueMap */

const MAX_DEPTH = 16; // arrays and maps that a value may be inside of

/**
 * Read exactly one value.
 *
 * Codes: `cbor/truncated`, `cbor/type`, `cbor/range`, `cbor/depth`, `encoding/utf8`, `cbor/trailing`,
 * `cbor/not-deterministic`.
 * @param {Uint8Array} encoded
 * @returns {Value}
 */
export function decode(encoded) {
  const reader = new Reader(encoded);
  const value = reader.value(0);
  if (reader.at !== encoded.length) {
    throw malformed("cbor/trailing", `${encoded.length - reader.at} bytes after the value`);
  }
  // Longer heads than needed, and keys out of order or repeated, were only noted: other faults go before them.
  if (!reader.deterministic) {
    throw malformed("cbor/not-deterministic", "a longer head than needed, or keys out of order or repeated");
  }
  return value;
}

class Reader {
  /** @param {Uint8Array} encoded */
  constructor(encoded) {
    this.encoded = encoded;
    this.view = new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength);
    this.at = 0;
    this.deterministic = true;
  }

  /** @param {number} depth @returns {Value} */
  value(depth) {
    if (depth > MAX_DEPTH) throw malformed("cbor/depth", `a value inside more than ${MAX_DEPTH} arrays and maps`);
    const first = this.byte();
    const major = first >> 5;
    if (major === 7) {
      if (first === 0xf4) return false;
      if (first === 0xf5) return true;
      if (first === 0xf6) return null;
      throw malformed("cbor/type", "a float, or a simple value other than false, true and null");
    }
    if (major === 6) throw malformed("cbor/type", "a tag");
    const argument = this.argument(first & 31);
    switch (major) {
      case 0:
        return integer(argument);
      case 1:
        return -1 - integer(argument, 1);
      case 2:
        return this.take(argument).slice();
      case 3:
        return parseUtf8(this.take(argument));
      case 4:
        return this.array(argument, depth);
      default:
        return this.map(argument, depth);
    }
  }

  /** @param {bigint} count @param {number} depth */
  array(count, depth) {
    this.announced(count);
    const members = [];
    for (let i = 0; i < Number(count); i++) members.push(this.value(depth + 1));
    return members;
  }

  /** @param {bigint} count @param {number} depth */
  map(count, depth) {
    this.announced(2n * count);
    /** @type {Map<Key, Value>} */
    const members = new Map();
    /** @type {Uint8Array | null} */
    let before = null;
    for (let i = 0; i < Number(count); i++) {
      const start = this.at;
      const key = this.value(depth + 1);
      if (typeof key !== "number" && typeof key !== "string") {
        throw malformed("cbor/type", "a key that is neither text nor integer");
      }
      const encoded = this.encoded.subarray(start, this.at);
      if (before !== null && compare(before, encoded) >= 0) this.deterministic = false;
      before = encoded;
      members.set(key, this.value(depth + 1));
    }
    return members;
  }

  /** @param {bigint} count members, each of at least one byte */
  announced(count) {
    if (count > BigInt(this.encoded.length - this.at)) {
      throw malformed("cbor/truncated", "more members announced than bytes are left");
    }
  }

  byte() {
    return this.take(1n)[0];
  }

  /** @param {bigint} count */
  take(count) {
    if (count > BigInt(this.encoded.length - this.at))
      throw malformed("cbor/truncated", "the bytes end inside a value");
    const start = this.at;
    this.at += Number(count);
    return this.encoded.subarray(start, this.at);
  }

  /** @param {number} short the low five bits of a head */
  argument(short) {
    if (short < 24) return BigInt(short);
    if (short > 27) throw malformed("cbor/type", "an indefinite length or reserved head");
    let value = 0n;
    for (const byte of this.take(1n << BigInt(short - 24))) value = (value << 8n) | BigInt(byte);
    const least = short === 24 ? 24n : 1n << BigInt(4 << (short - 24));
    if (value < least) this.deterministic = false;
    return value;
  }
}

/** @param {bigint} value @param {number} [offset] what will still be taken off it */
function integer(value, offset = 0) {
  if (value + BigInt(offset) > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed("cbor/range", "beyond 2^53 - 1");
  return Number(value);
}

/**
 * Return the deterministic encoding of a value.
 * @param {Value} value
 * @returns {Uint8Array}
 */
export function encode(value) {
  if (value === false) return Uint8Array.of(0xf4);
  if (value === true) return Uint8Array.of(0xf5);
  if (value === null) return Uint8Array.of(0xf6);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new RangeError("not an integer within ±(2^53 - 1)");
    return value < 0 ? head(1, -1 - value) : head(0, value);
  }
  if (typeof value === "string") {
    const encoded = utf8(value);
    return concat(head(3, encoded.length), encoded);
  }
  if (value instanceof Uint8Array) return concat(head(2, value.length), value);
  if (Array.isArray(value)) return concat(head(4, value.length), ...value.map(encode));
  const members = [...value].map(([key, member]) => ({ key: encode(key), member }));
  members.sort((a, b) => compare(a.key, b.key));
  return concat(head(5, members.length), ...members.flatMap(({ key, member }) => [key, encode(member)]));
}

/** @param {number} major @param {number} argument */
function head(major, argument) {
  const top = major << 5;
  if (argument < 24) return Uint8Array.of(top | argument);
  if (argument < 2 ** 8) return Uint8Array.of(top | 24, argument);
  const whole = new Uint8Array(9);
  const view = new DataView(whole.buffer);
  if (argument < 2 ** 16) {
    view.setUint16(1, argument);
    whole[0] = top | 25;
    return whole.slice(0, 3);
  }
  if (argument < 2 ** 32) {
    view.setUint32(1, argument);
    whole[0] = top | 26;
    return whole.slice(0, 5);
  }
  view.setBigUint64(1, BigInt(argument));
  whole[0] = top | 27;
  return whole;
}
