// From a keepsake to a look-up: what the holder of a keepsake asks a log, and the bundle that its answer makes.
// Spec: docs/spec/commitments.md, docs/spec/http.md (POST /proofs/lookup), docs/spec/bundle.md.

import { Keepsake } from "./bundle.js";
import { commitmentOf, indexOf, recordDigest } from "./commitments.js";
import { base64, base64url, equal, hex, parseUtf8, utf8 } from "./encoding.js";
import { malformed, refuted } from "./errors.js";
import { Fields, parseJson } from "./json.js";
import { alphaOf, parseLocator } from "./locators.js";
import { leafHash } from "./tree.js";
import { VRF_SUITE, verifyVrf } from "./vrf.js";

export { Keepsake };

const MAX_ANSWER = 64 * 2 ** 20; // bytes, as of a bundle
const ANSWERED = ["checkpoint", "entries", "holder", "systems", "states"];

/**
 * A locator with what proves its index: from a keepsake, or from the holder.
 * @typedef {{locator: string, vrf: {key: Uint8Array, proof: Uint8Array}}} Proven
 */

/**
 * Return the VRF's output at a locator, once its proof verifies. Codes: `locator/…`, `vrf/…`.
 * @param {Proven} proven
 * @returns {Uint8Array}
 */
export const betaOf = ({ locator, vrf }) => verifyVrf(vrf.key, alphaOf(locator), vrf.proof);

/**
 * Return the index of a locator in each of these systems: system id → 64 hex digits. Codes as `betaOf`.
 *
 * Whoever sees them together knows that they are one person's.
 * @param {string} holder @param {string[]} systems ids @param {Proven} proven
 * @returns {{[system: string]: string}}
 */
export function indexesOf(holder, systems, proven) {
  const beta = betaOf(proven);
  return Object.fromEntries(systems.map((system) => [system, hex(indexOf(holder, system, beta))]));
}

/**
 * Return the body of POST /proofs/lookup: an index for every system of the holder.
 * @param {string} holder @param {string[]} systems ids, all that the holder has registered
 * @param {Proven[]} proven 1 to 64
 * @param {number} [size] of the checkpoint wanted; the newest if left out
 */
export function lookupRequest(holder, systems, proven, size) {
  const locators = proven.map((each) => indexesOf(holder, systems, each));
  return JSON.stringify(size === undefined ? { holder, locators } : { holder, locators, size });
}

/**
 * Return the look-up bundle that an answer of POST /proofs/lookup makes. Nothing in it is believed before it is
 * verified. Codes: `json/…`, `encoding/utf8`.
 * @param {Uint8Array} answer the body
 * @param {Proven[]} proven as they were asked
 */
export function lookupBundle(answer, proven) {
  new Fields(parseJson(answer, MAX_ANSWER), "the answer", ANSWERED);
  const [{ vrf }] = proven;
  if (proven.some((each) => !equal(each.vrf.key, vrf.key))) {
    throw malformed("vrf/key", "locators of two VRF keys cannot stand in one look-up");
  }
  const own = JSON.stringify({
    format: "attest-bundle/1",
    kind: "lookup",
    vrf: { suite: VRF_SUITE, key: base64(vrf.key) },
    locators: proven.map(({ locator, vrf: { proof } }) => ({
      type: parseLocator(locator).type,
      proof: base64(proof),
    })),
    rows: [],
  });
  // The answer is an object of other members: its text, without the first brace, goes behind ours.
  return utf8(`${own.slice(0, -1)},${parseUtf8(answer).trimStart().slice(1)}`);
}

/**
 * Check that a keepsake fits itself, without any policy: what it shows belongs together, whether or not a log has it.
 *
 * Codes: `vrf/…`; refuted: `keepsake/hold`.
 * @param {Keepsake} keepsake
 */
export function checkKeepsake({ holder, holds, locator, origin, vrf }) {
  const beta = betaOf({ locator, vrf });
  for (const { blind, bundle, entry, entryId, records, system } of holds) {
    const wrong = (/** @type {string} */ what) => refuted("keepsake/hold", `the hold in ${system}: ${what}`);
    const [row] = bundle.rows;
    const { checkpoint } = bundle.signed;
    if (checkpoint.origin !== origin || bundle.holder.party !== holder || !equal(bundle.vrf.key, vrf.key)) {
      throw wrong("its bundle is of another log, holder or VRF key");
    }
    if (row.system !== system || row.entry !== entry) throw wrong("its bundle is of another system or entry");
    const logged = bundle.entries.find(({ position }) => position === entry);
    if (logged === undefined || base64url(leafHash(logged.entry)) !== entryId)
      throw wrong("the entry id is of another");
    const commitment = commitmentOf(indexOf(holder, system, beta), blind, recordDigest(records));
    if (!equal(commitment, row.commitment)) throw wrong("blind and records do not open the commitment of its row");
  }
}
