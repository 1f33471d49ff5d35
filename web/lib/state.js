// What a checkpoint commits: states, heads, chains. Spec: docs/spec/state.md.

import { decode, encode } from "./cbor.js";
import { concat, equal, labelled, parseU64, u32, u64, utf8 } from "./encoding.js";
import { malformed, unavailable } from "./errors.js";
import { anyText, bytes, hash, list, nullable, oneOf, read, record, uint } from "./schema.js";
import { ZEROS } from "./sparse.js";
import { nameCode, systemId, toCbor } from "./statement.js";

export const HELD = 1;
export const ERASED = 2;
const STATE_SIZE = 49;

/**
 * The life of one index in one system.
 * @typedef {object} State
 * @property {number} status 1 held, 2 erased
 * @property {number} generation how often it was held anew
 * @property {number} version how often its commitment changed in this generation
 * @property {bigint} position of the entry that set this
 * @property {Uint8Array} commitment
 */

/**
 * Read the 49 bytes of a state. Codes: `state/size`; unavailable: `state/unknown-status`.
 * @param {Uint8Array} encoded
 * @returns {State}
 */
export function parseState(encoded) {
  if (encoded.length !== STATE_SIZE) throw malformed("state/size", `${encoded.length} bytes, want ${STATE_SIZE}`);
  const status = encoded[0];
  if (status !== HELD && status !== ERASED) {
    throw unavailable("state/unknown-status", `a state of status ${status} belongs to a rule set not known here`);
  }
  const view = new DataView(encoded.buffer, encoded.byteOffset);
  return {
    status,
    generation: view.getUint32(1),
    version: view.getUint32(5),
    position: parseU64(encoded, 9),
    commitment: encoded.slice(17),
  };
}

/** @param {State} state */
export const encodeState = ({ status, generation, version, position, commitment }) =>
  concat(Uint8Array.of(status), u32(generation), u32(version), u64(position), commitment);

/** @param {Uint8Array} encoded of a state: its value in the state map */
export const stateValue = (encoded) => labelled("state", encoded);

/** @param {Uint8Array} encoded */
export const descriptorDigest = (encoded) => labelled("descriptor", encoded);

/** @param {string} system */
export const systemKey = (system) => labelled("system-key", utf8(system));

/** @param {Uint8Array} encoded of a system head: its value in the system map */
export const systemValue = (encoded) => labelled("system-head", encoded);

/** @param {string} party id, or the origin */
export const topKey = (party) => labelled("top-key", utf8(party));

/** @param {Uint8Array} encoded of a party head: its value in the top map */
export const partyValue = (encoded) => labelled("party-head", encoded);

/** @param {number} suite @param {Uint8Array} key */
export const vrfKeyDigest = (suite, key) => labelled("vrf-key", Uint8Array.of(suite), key);

/**
 * Return a chain after one more entry.
 * @param {Uint8Array} chain 32 zeros before the first @param {bigint} position @param {Uint8Array} leaf
 */
export const nextChain = (chain, position, leaf) => labelled("chain", chain, u64(position), leaf);

const systemHead = record({
  system: systemId,
  status: uint,
  descriptor: hash,
  root: hash,
  held: uint,
  erased: uint,
  reheld: uint,
  entries: uint,
  chain: hash,
  other: hash,
});
/** @typedef {ReturnType<typeof systemHead>} SystemHead */

const partyFields = {
  party: anyText,
  status: uint,
  admitted: uint,
  own: uint,
  recovery: uint,
  keys: list(record({ key: bytes(32), use: oneOf("sign", "recover"), from: uint, until: nullable(uint) }), 0, 64),
  vrf: list(record({ suite: oneOf(3), hash }), 0, 1),
  systems: record({ count: uint, root: hash }),
  entries: uint,
  chain: hash,
  other: hash,
};
const partyHead = record({ ...partyFields, role: oneOf("holder", "authority", "auditor") });
const logHead = record({
  ...partyFields,
  role: oneOf("log"),
  epoch: record({ number: uint, time: uint, latest: uint }),
  rules: record({ name: nameCode, digest: hash }),
});
/** @typedef {ReturnType<typeof partyHead>} PlainPartyHead */
/** @typedef {ReturnType<typeof logHead>} LogHead */
/** @typedef {PlainPartyHead | LogHead} PartyHead */

/**
 * Read a system head. Codes: `cbor/…`, `head/fields`; unavailable: `head/unknown-extension`.
 * @param {Uint8Array} encoded
 * @returns {SystemHead}
 */
export function parseSystemHead(encoded) {
  return withoutExtensions(read(systemHead, decode(encoded), "head/fields", "a system head"));
}

/**
 * Read a party head, or the log's. Codes as `parseSystemHead`.
 * @param {Uint8Array} encoded
 * @returns {PartyHead}
 */
export function parsePartyHead(encoded) {
  const value = decode(encoded);
  const isLog = value instanceof Map && value.get("role") === "log";
  return withoutExtensions(
    isLog ? read(logHead, value, "head/fields", "a log head") : read(partyHead, value, "head/fields", "a party head"),
  );
}

/** @template {{status: number, other: Uint8Array}} T @param {T} head @returns {T} */
function withoutExtensions(head) {
  if ((head.status !== 1 && head.status !== 2) || !equal(head.other, ZEROS)) {
    throw unavailable("head/unknown-extension", "a head that belongs to a rule set not known here");
  }
  return head;
}

/** @param {SystemHead | PartyHead} head */
export const encodeHead = (head) => encode(toCbor(head));
