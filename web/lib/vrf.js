// ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381, verified, with the refusals of docs/spec/vrf.md.

import { decodePoint, doubleMultiply, leToBigint, ORDER, Point, sha512 } from "./curve.js";
import { concat, equal } from "./encoding.js";
import { malformed, refuted } from "./errors.js";
import { admitEd25519 } from "./keys.js";

/** @typedef {import("./curve.js").EdwardsPoint} EdwardsPoint */

/** ECVRF-EDWARDS25519-SHA512-TAI. */
export const VRF_SUITE = 3;

/**
 * Return beta, 64 bytes, if `proof` shows that it is the VRF's output at `alpha` under `key`.
 *
 * Codes: `vrf/key`, `vrf/proof-length`, `vrf/scalar`, `vrf/gamma`, `vrf/alpha`; refuted: `vrf/mismatch`.
 * @param {Uint8Array} key
 * @param {Uint8Array} alpha
 * @param {Uint8Array} proof
 */
export function verifyVrf(key, alpha, proof) {
  return new VrfVerifier(key).verify(alpha, proof);
}

/** One key, checked once, for any number of proofs. */
export class VrfVerifier {
  /**
   * Code: `vrf/key`.
   * @param {Uint8Array} key
   */
  constructor(key) {
    const point = goodPoint(key);
    if (point === null) throw malformed("vrf/key", "not a VRF public key");
    this.key = key;
    this.point = point;
    this.negated = point.negate();
  }

  /**
   * @param {Uint8Array} alpha
   * @param {Uint8Array} proof
   */
  verify(alpha, proof) {
    if (proof.length !== 80) throw malformed("vrf/proof-length", `a proof of ${proof.length} bytes, want 80`);
    const challenge = proof.slice(32, 48);
    const [c, s] = [leToBigint(challenge), leToBigint(proof.subarray(48))];
    if (s >= ORDER) throw malformed("vrf/scalar", "the proof's scalar is not below the group order");
    const gamma = goodPoint(proof.slice(0, 32));
    if (gamma === null) throw malformed("vrf/gamma", "the proof's point is not of the group");
    const wrong = refuted("vrf/mismatch", "the proof does not belong to this key and locator");
    if (c === 0n || s === 0n) throw wrong;
    const H = encodeToCurve(this.key, alpha);
    const U = doubleMultiply(s, Point.BASE, c, this.negated);
    const V = doubleMultiply(s, H, c, gamma.negate());
    const points = [this.key, H.toBytes(), proof.subarray(0, 32), U.toBytes(), V.toBytes()];
    const hashed = sha512(concat(Uint8Array.of(VRF_SUITE, 2), ...points, Uint8Array.of(0)));
    if (!equal(hashed.subarray(0, 16), challenge)) throw wrong;
    return sha512(concat(Uint8Array.of(VRF_SUITE, 3), gamma.clearCofactor().toBytes(), Uint8Array.of(0)));
  }
}

/**
 * Return the point if it is canonically encoded, of the prime-order group, and not its identity: what an admissible key
 * of signatures has to be, too. Else null.
 * @param {Uint8Array} encoded
 */
function goodPoint(encoded) {
  try {
    return admitEd25519(encoded);
  } catch {
    return null;
  }
}

/**
 * Try and increment, RFC 9381 §5.4.1.1, with the key as salt. Code: `vrf/alpha`.
 * @param {Uint8Array} key
 * @param {Uint8Array} alpha
 */
export function encodeToCurve(key, alpha) {
  const front = concat(Uint8Array.of(VRF_SUITE, 1), key, alpha);
  for (let counter = 0; counter < 256; counter++) {
    const point = decodePoint(sha512(concat(front, Uint8Array.of(counter, 0))).slice(0, 32));
    const cleared = point?.clearCofactor();
    if (cleared !== undefined && !cleared.is0()) return cleared;
  }
  throw malformed("vrf/alpha", "no point was found");
}
