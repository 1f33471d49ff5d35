// From one locator and the records held about it to one row. Spec: docs/spec/commitments.md.

import { hex, labelled, sha256, utf8 } from "./encoding.js";
import { malformed } from "./errors.js";

/**
 * Return the public pseudonym of a locator in one system of one holder.
 * @param {string} holder @param {string} system
 * @param {Uint8Array} beta the VRF's output at the locator
 */
export const indexOf = (holder, system, beta) => labelled("index", utf8(holder), utf8(system), beta);

/**
 * Return where an index lives in its system's state map.
 * @param {Uint8Array} index
 */
export const keyOf = (index) => labelled("key", index);

/**
 * Return the digest of one holding: all records of a subject in one system. Code: `commitment/no-records`.
 * @param {Uint8Array[]} recordHashes
 */
export function recordDigest(recordHashes) {
  if (recordHashes.length === 0) throw malformed("commitment/no-records", "no record");
  return sha256(utf8(recordArray(recordHashes)));
}

/** @param {Uint8Array[]} recordHashes */
export const recordArray = (recordHashes) => JSON.stringify([...new Set(recordHashes.map(hex))].sort());

/** @param {Uint8Array} salt 32 bytes */
export const blindOf = (salt) => labelled("blind", salt);

/** @param {Uint8Array} index @param {Uint8Array} blind @param {Uint8Array} digest of the records */
export const commitmentOf = (index, blind, digest) => labelled("commitment", index, blind, digest);
