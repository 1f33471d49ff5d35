// Statements: what is signed, and what every log entry is. Spec: docs/spec/statements.md, docs/spec/statements.cddl.
//
// Payloads are plain objects whose members are named as in the CDDL.

import { decode, encode } from "./cbor.js";
import { base64url, equal, labelled, utf8 } from "./encoding.js";
import { malformed } from "./errors.js";
import { verifyEd25519 } from "./keys.js";
import { isKeyName } from "./note.js";
import {
  ascending,
  bool,
  bytes,
  hash,
  integer,
  list,
  nullable,
  oneOf,
  optional,
  read,
  record,
  text,
  textThat,
  uint,
} from "./schema.js";
import { leafHash } from "./tree.js";

/** @typedef {import("./cbor.js").Value} Value */

export const MAX_STATEMENT = 16_384; // bytes
export const MAX_ROWS = 1_048_576; // in one row file

const ALG_ED25519 = -19;
const CONTENT_TYPE = "application/vnd.attest.statement+cbor";
const TYP = "application/scitt-statement+cose";

const PARTY_ID = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const SYSTEM_ID = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** @param {string} id */
export const isPartyId = (id) => id.length <= 253 && PARTY_ID.test(id);

/** @param {string} id */
export const isSystemId = (id) => SYSTEM_ID.test(id);

/** @param {string} name of a log */
export const isOrigin = (name) => isKeyName(name) && !name.includes("://") && !name.includes("#");

export const partyId = textThat(isPartyId, "want a host name in lower case with at least one dot");
export const systemId = textThat(isSystemId, "want a system id");
export const nameCode = textThat((code) => /^[a-z0-9][a-z0-9._/-]{0,63}$/.test(code), "want a code");
const groundCode = textThat((code) => /^[a-z0-9][a-z0-9().:_/-]{0,63}$/.test(code), "want a code of a ground");
const origin = textThat(isOrigin, "want the name of a log, without :// and #");
const ed25519 = bytes(32);
const time = uint;
const newKey = record({ key: ed25519, use: oneOf("sign", "recover"), proof: bytes(64) });
const count = integer(1, MAX_ROWS);

export const descriptor = record({
  id: systemId,
  kind: oneOf(
    "database",
    "search",
    "warehouse",
    "cache",
    "log",
    "model",
    "backup",
    "processor",
    "saas",
    "paper",
    "other",
  ),
  assets: ascending(list(nameCode, 0, 16), (asset) => asset),
  locators: ascending(list(nameCode, 1, 8), (type) => type),
  retention: nullable(text(500)),
  backup_cycle: nullable(uint),
  processor_log: nullable(origin),
  retired: bool,
});
/** @typedef {ReturnType<typeof descriptor>} Descriptor */

/** @param {string} kind @param {{[name: string]: any}} fields @returns {import("./schema.js").Shape<any>} */
const common = (kind, fields) =>
  record({
    kind: oneOf(kind),
    seq: uint,
    about: optional(partyId),
    ref: optional(list(hash, 1, 16)),
    ...fields,
  });

const PAYLOADS = new Map([
  [
    "log/1",
    common("log/1", {
      origin,
      keys: record({ statements: ed25519, receipts: ed25519, note_ed25519: ed25519, note_mldsa44: bytes(1312) }),
      limits: record({
        rows: count,
        statement: integer(1024, MAX_STATEMENT),
        skew: integer(1, 3600),
        silence: integer(1, 86_400),
      }),
      predecessor: nullable(record({ origin, size: uint, root: hash })),
    }),
  ],
  ["policy/1", common("policy/1", { name: nameCode, digest: hash })],
  [
    "party/1",
    common("party/1", {
      id: partyId,
      role: oneOf("holder", "authority", "auditor"),
      name: text(200),
      legal_id: text(200),
      check: record({ method: oneOf("operator", "domain"), time }),
      keys: list(newKey, 2, 16),
      vrf: list(record({ suite: oneOf(3), hash }), 0, 1),
    }),
  ],
  [
    "keys/1",
    common("keys/1", {
      add: list(newKey, 0, 16),
      revoke: ascending(list(hash, 0, 16), (kid) => kid),
    }),
  ],
  ["party-end/1", common("party-end/1", {})],
  ["systems/1", common("systems/1", { systems: ascending(list(descriptor, 1, 64), ({ id }) => id) })],
  [
    "hold/1",
    common("hold/1", {
      count,
      root: hash,
      cause: oneOf("collected", "backfill", "restored", "corrected", "retracted", "migrated"),
    }),
  ],
  [
    "tombstone/1",
    common("tombstone/1", {
      count,
      root: hash,
      erased_at: time,
      method: oneOf(
        "logical_delete",
        "row_delete_committed",
        "compacted",
        "overwritten",
        "nist:clear",
        "nist:purge",
        "nist:purge:cryptographic_erase",
        "nist:destroy",
        "anonymised",
        "aggregated",
        "deidentified",
        "returned",
        "expired_by_retention",
      ),
      level: oneOf("none", "logical", "physical"),
      ground: groundCode,
    }),
  ],
  ["epoch/1", common("epoch/1", { number: uint, time, root: hash })],
]);

const claim = text(512);

/** One signed statement, byte for byte a log entry. Its signature is checked apart: which key, the rules say. */
export class Statement {
  /**
   * Read the wire form. Codes: `statement/…`, `cbor/…`, `encoding/utf8`.
   * @param {Uint8Array} entry
   */
  constructor(entry) {
    if (entry.length > MAX_STATEMENT) {
      throw malformed("statement/size", `${entry.length} bytes, at most ${MAX_STATEMENT}`);
    }
    this.entry = entry;
    const { header, payload, signature } = envelope(entry);
    this.header = header;
    this.encodedPayload = payload;
    this.signature = signature;
    const claims = readHeader(header);
    /** Who signs: `https://` ‖ party id or origin. */
    this.issuer = claims.issuer;
    /** The stream: the issuer, the issuer ‖ `#recovery`, or a system id. */
    this.stream = claims.stream;
    /** The origin of the log that it is for. */
    this.audience = claims.audience;
    /** Unix seconds, as the issuer claims. */
    this.issuedAt = claims.issuedAt;
    this.kid = claims.kid;
    const { seq, about, ref, ...fields } = readPayload(payload);
    /** Entries that were in its stream before. */
    this.seq = seq;
    /** @type {string | null} the party that the log speaks about */
    this.about = about;
    /** @type {Uint8Array[]} leaf hashes of entries to be read together with this one; no rule reads them */
    this.ref = ref ?? [];
    /** @type {{kind: string, [name: string]: any}} members named as in statements.cddl */
    this.payload = fields;
    /** @type {Uint8Array | null} */
    this.leafHash = null;
    /** @type {Uint8Array | null} the key that verified it last */
    this.verifiedBy = null;
  }

  /** SHA-256(00 ‖ entry). */
  leaf() {
    this.leafHash ??= leafHash(this.entry);
    return this.leafHash;
  }

  entryId() {
    return base64url(this.leaf());
  }

  /** The Sig_structure of RFC 9052, with header and payload as received. */
  toBeSigned() {
    return encode(["Signature1", this.header, new Uint8Array(), this.encodedPayload]);
  }

  /**
   * Codes: `key/…`; refuted: `signature/invalid`.
   * @param {Uint8Array} key Ed25519
   */
  verify(key) {
    // Many rows of one bundle can name one statement.
    if (this.verifiedBy !== null && equal(this.verifiedBy, key)) return;
    verifyEd25519(key, this.signature, this.toBeSigned());
    this.verifiedBy = key;
  }
}

/** @param {Uint8Array} entry */
function envelope(entry) {
  const wrong = () => malformed("statement/cose", "not a COSE_Sign1 with an empty unprotected header and a payload");
  if (entry[0] !== 0xd2 || entry[1] !== 0x84) throw wrong();
  const members = /** @type {Value[]} */ (decode(entry.subarray(1)));
  const [header, unprotected, payload, signature] = members;
  if (
    !(header instanceof Uint8Array) ||
    !(unprotected instanceof Map && unprotected.size === 0) ||
    !(payload instanceof Uint8Array) ||
    !(signature instanceof Uint8Array && signature.length === 64)
  ) {
    throw wrong();
  }
  return { header, payload, signature };
}

/** @param {Uint8Array} encoded */
function readHeader(encoded) {
  const header = decode(encoded);
  if (!(header instanceof Map) || header.get(1) !== ALG_ED25519) {
    throw malformed("statement/alg", `want algorithm ${ALG_ED25519}, Ed25519`);
  }
  const claims = header.get(15);
  const known = header.size === 5 && header.get(3) === CONTENT_TYPE && header.get(16) === TYP;
  if (!known || !(claims instanceof Map) || claims.size !== 4) {
    throw malformed("statement/header", "a protected header or claim is missing, unknown or not of its form");
  }
  /** @template T @param {import("./schema.js").Shape<T>} shape @param {Value | undefined} value @param {string} what */
  const want = (shape, value, what) => read(shape, /** @type {Value} */ (value), "statement/header", what);
  return {
    kid: want(hash, header.get(4), "kid"),
    issuer: want(claim, claims.get(1), "iss"),
    stream: want(claim, claims.get(2), "sub"),
    audience: want(claim, claims.get(3), "aud"),
    issuedAt: want(uint, claims.get(6), "iat"),
  };
}

/** @param {Uint8Array} encoded @returns {any} */
function readPayload(encoded) {
  const payload = decode(encoded);
  const kind = payload instanceof Map ? payload.get("kind") : undefined;
  const shape = typeof kind === "string" ? PAYLOADS.get(kind) : undefined;
  if (shape === undefined) throw malformed("statement/kind", "the payload is of no kind known here");
  const fields = read(shape, payload, "statement/field", `${kind}`);
  if (kind === "keys/1" && fields.add.length === 0 && fields.revoke.length === 0) {
    throw malformed("statement/field", "keys/1: it changes nothing");
  }
  return fields;
}

/**
 * Read a descriptor as a system head binds it. Codes: `statement/field`, `cbor/…`, `encoding/utf8`.
 * @param {Uint8Array} encoded
 * @returns {Descriptor}
 */
export const parseDescriptor = (encoded) => read(descriptor, decode(encoded), "statement/field", "a descriptor");

/** @param {Descriptor} fields */
export const encodeDescriptor = (fields) => encode(toCbor(fields));

/**
 * Return plain data as CBOR values: objects become maps.
 * @param {any} value
 * @returns {Value}
 */
export function toCbor(value) {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(toCbor);
  return new Map(Object.entries(value).map(([name, member]) => [name, toCbor(member)]));
}

/**
 * Return what each new key of a party/1 or keys/1 signs, to show that somebody has it.
 * @param {string} origin of the log @param {string} party @param {{kind: string, [name: string]: any}} payload
 */
export function possessionMessage(origin, party, payload) {
  const list = payload.kind === "party/1" ? "keys" : "add";
  const { check: _, ...rest } = payload;
  const bare = rest[list].map((/** @type {{key: Uint8Array, use: string}} */ { key, use }) => ({ key, use }));
  return labelled("possession", utf8(origin), utf8(party), encode(toCbor({ ...rest, [list]: bare })));
}
