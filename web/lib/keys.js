// Public keys and signatures. Spec: docs/spec/checkpoint.md#keys.

import { ml_dsa44 } from "../vendor/noble.js";
import { doubleMultiply, leToBigint, ORDER, P, Point, sha512 } from "./curve.js";
import { concat, equal, hex, sha256, u32 } from "./encoding.js";
import { AttestError, malformed, refuted } from "./errors.js";

const IDENTITY = Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0));

/**
 * Remembers what some of the last questions were answered with: the bundles of one keepsake, and those of one page,
 * have most keys and signatures in common.
 * @template T
 */
class Memory {
  /** @type {Map<string, T>} */
  answers = new Map();

  /** @param {number} most */
  constructor(most) {
    this.most = most;
  }

  /** @param {string} question @param {() => T} answer */
  ask(question, answer) {
    let known = this.answers.get(question);
    if (known === undefined) {
      known = answer();
      if (this.answers.size === this.most) this.answers.clear();
      this.answers.set(question, known);
    }
    return known;
  }
}

/** @type {Memory<import("./curve.js").EdwardsPoint | AttestError>} */
const judged = new Memory(256);
/** @type {Memory<boolean>} */
const verified = new Memory(4096);

/**
 * Return the point of an Ed25519 key that is admissible: the canonical encoding of a point of the prime-order
 * subgroup, other than the identity.
 *
 * Codes: `key/length`, `key/not-canonical`, `key/not-a-point`, `key/small-order`, `key/mixed-order`.
 * @param {Uint8Array} key
 */
export function admitEd25519(key) {
  const found = judged.ask(hex(key.subarray(0, 33)), () => judge(key));
  if (found instanceof AttestError) throw found;
  return found;
}

/** @param {Uint8Array} key */
function judge(key) {
  if (key.length !== 32) return malformed("key/length", `an Ed25519 key of ${key.length} bytes, want 32`);
  const y = leToBigint(key) & ((1n << 255n) - 1n);
  const negative = key[31] >= 128;
  // x = 0 at y = 1 and y = −1 only.
  if (y >= P || (negative && (y === 1n || y === P - 1n))) {
    return malformed("key/not-canonical", "an Ed25519 key that is not canonically encoded");
  }
  let point;
  try {
    point = Point.fromBytes(key);
  } catch {
    return malformed("key/not-a-point", "an Ed25519 key that is no point of the curve");
  }
  if (point.isSmallOrder()) return malformed("key/small-order", "an Ed25519 key under which anybody can sign");
  if (!point.isTorsionFree()) {
    return malformed("key/mixed-order", "an Ed25519 key outside the prime-order subgroup");
  }
  return point;
}

/**
 * Check an Ed25519 signature as RFC 8032 §5.1.7 has it, without the cofactor. Codes: `key/…`; refuted:
 * `signature/invalid`.
 * @param {Uint8Array} key
 * @param {Uint8Array} signature
 * @param {Uint8Array} message
 */
export function verifyEd25519(key, signature, message) {
  const point = admitEd25519(key);
  if (!remembered(key, signature, message, () => fitsEd25519(point, key, signature, message))) {
    throw refuted("signature/invalid", "an Ed25519 signature does not fit key and message");
  }
}

/** @param {Uint8Array} key @param {Uint8Array} signature @param {Uint8Array} message @param {() => boolean} fits */
function remembered(key, signature, message, fits) {
  const lengths = concat(u32(key.length), u32(signature.length));
  return verified.ask(hex(sha256(concat(lengths, key, signature, message))), fits);
}

/**
 * @param {import("./curve.js").EdwardsPoint} point of the key
 * @param {Uint8Array} key @param {Uint8Array} signature @param {Uint8Array} message
 */
function fitsEd25519(point, key, signature, message) {
  if (signature.length !== 64) return false;
  const r = signature.subarray(0, 32);
  const s = leToBigint(signature.subarray(32));
  // OpenSSL and browsers take R = identity, libsodium does not: one rule for all, docs/spec/checkpoint.md.
  if (s >= ORDER || equal(r, IDENTITY)) return false;
  const k = leToBigint(sha512(concat(r, key, message))) % ORDER;
  return equal(doubleMultiply(s, Point.BASE, k, point.negate()).toBytes(), r);
}

/**
 * Check that these bytes are as long as an ML-DSA-44 key. Code: `key/length`.
 * @param {Uint8Array} key
 */
export function admitMldsa44(key) {
  if (key.length !== 1312) throw malformed("key/length", `an ML-DSA-44 key of ${key.length} bytes, want 1312`);
}

/**
 * Check an ML-DSA-44 signature (FIPS 204, pure, empty context). Code: `key/length`; refuted: `signature/invalid`.
 * @param {Uint8Array} key
 * @param {Uint8Array} signature
 * @param {Uint8Array} message
 */
export function verifyMldsa44(key, signature, message) {
  admitMldsa44(key);
  const fits = () => signature.length === 2420 && ml_dsa44.verify(signature, message, key);
  if (!remembered(key, signature, message, fits)) {
    throw refuted("signature/invalid", "an ML-DSA-44 signature does not fit key and message");
  }
}

const THUMBPRINT_HEAD = Uint8Array.of(0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20);

/**
 * Return the kid of an Ed25519 key: its RFC 9679 thumbprint.
 * @param {Uint8Array} key
 */
export const thumbprint = (key) => sha256(concat(THUMBPRINT_HEAD, key));
