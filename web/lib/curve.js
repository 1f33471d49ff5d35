// Arithmetic of edwards25519, over public values only: nothing here is constant-time.

import { ed25519, mulAddUnsafe, sha512 } from "../vendor/noble.js";

export { sha512 };

export const Point = ed25519.Point;
/** @typedef {InstanceType<typeof Point>} EdwardsPoint */

/** The field prime. */
export const P = 2n ** 255n - 19n;
/** The order of the group that the base point generates. */
export const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

/** @param {Uint8Array} bytes */
export function leToBigint(bytes) {
  let digits = "0x0";
  for (let i = bytes.length - 1; i >= 0; i--) digits += bytes[i].toString(16).padStart(2, "0");
  return BigInt(digits);
}

/**
 * Return a·A + b·B.
 * @param {bigint} a below the order @param {EdwardsPoint} A
 * @param {bigint} b below the order @param {EdwardsPoint} B
 */
export function doubleMultiply(a, A, b, B) {
  // Both share one chain of doublings. A table of multiples of the base point would pay off after fifty signatures only.
  return mulAddUnsafe(Point, [A, B], [a, b]);
}

/**
 * Decode a point as RFC 8032 §5.1.3 does, or return null.
 * @param {Uint8Array} encoded 32 bytes
 */
export function decodePoint(encoded) {
  try {
    return Point.fromBytes(encoded);
  } catch {
    return null;
  }
}
