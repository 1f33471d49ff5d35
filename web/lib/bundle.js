// Bundles and keepsakes: read whole, sizes and numbers judged, nothing computed. Spec: docs/spec/bundle.md.

import { SignedCheckpoint } from "./checkpoint.js";
import { parseHex } from "./encoding.js";
import { malformed } from "./errors.js";
import { Fields, parseJson } from "./json.js";
import { parseLocator } from "./locators.js";
import { isOrigin, isPartyId, isSystemId } from "./statement.js";

/** @typedef {import("./json.js").Json} Json */

/** @typedef {"hold" | "tombstone" | "lookup" | "certificate"} Kind */
/** @typedef {{position: number, entry: Uint8Array, path: Uint8Array[]}} BundleEntry */
/** @typedef {{type: string, proof: Uint8Array}} BundleLocator */
/** @typedef {{head: Uint8Array, descriptor: Uint8Array}} BundleSystem */
/** @typedef {{locator: number, system: string, state: Uint8Array | null, proof: Uint8Array}} BundleState */
/**
 * @typedef {object} BundleRow
 * @property {number} locator @property {string} system
 * @property {number} entry position of the statement in the log
 * @property {number} position of the row in its row file
 * @property {Uint8Array} commitment @property {Uint8Array[]} path
 */

const MAX_FILE = 64 * 2 ** 20; // bytes, of a bundle and of a keepsake
const MAX_ENTRIES = 640_000;
const MAX_LOCATORS = 64;
const MAX_SYSTEMS = 10_000;
const MAX_STATES = 640_000;
const MAX_ROWS = 1_280_000;
const MAX_HOLDS = 10_000;
const MAX_RECORDS = 1_000_000;
const MAX_HEAD = 16_384; // bytes, of a head and of a descriptor

/** What an offline verifier needs besides trust and the question. */
export class Bundle {
  /**
   * Read a bundle that is JSON already. Codes: `bundle/format`, `bundle/kind`, `json/field`, `encoding/…`, `note/…`,
   * `checkpoint/…`.
   * @param {Json} value
   */
  constructor(value) {
    if (!(value instanceof Map) || value.get("format") !== "attest-bundle/1") {
      throw malformed("bundle/format", "not an object of the format attest-bundle/1");
    }
    const names = ["format", "kind", "checkpoint", "entries", "holder", "vrf", "locators", "systems", "states", "rows"];
    const fields = new Fields(value, "the bundle", names);
    const [kind, checkpoint] = [fields.text("kind"), fields.text("checkpoint")];
    this.entries = fields.list("entries", MAX_ENTRIES).map(readEntry);
    const holder = new Fields(fields.get("holder"), "holder", ["party", "head", "proof"]);
    this.holder = { party: holder.text("party"), head: limited(holder, "head"), proof: holder.bytes("proof") };
    const vrf = new Fields(fields.get("vrf"), "vrf", ["suite", "key"]);
    this.vrf = { suite: vrf.integer("suite"), key: vrf.bytes("key", 32) };
    this.locators = fields.list("locators", MAX_LOCATORS, 1).map(readLocator);
    this.systems = fields.list("systems", MAX_SYSTEMS).map(readSystem);
    this.states = fields.list("states", MAX_STATES).map(readState);
    this.rows = fields.list("rows", MAX_ROWS).map(readRow);
    this.kind = kindOf(kind);
    this.wantKind();
    this.signed = SignedCheckpoint.parse(checkpoint);
  }

  /** One row, or systems and states, as the kind has it. */
  wantKind() {
    const ofOneRow = this.kind === "hold" || this.kind === "tombstone";
    if (ofOneRow && (this.systems.length > 0 || this.states.length > 0 || this.rows.length !== 1)) {
      throw malformed("bundle/kind", `a ${this.kind} bundle has one row, and neither systems nor states`);
    }
    if (this.kind === "lookup" && this.rows.length > 0) throw malformed("bundle/kind", "a look-up bundle has no rows");
  }
}

/** @param {string} kind @returns {Kind} */
function kindOf(kind) {
  if (kind === "hold" || kind === "tombstone" || kind === "lookup" || kind === "certificate") return kind;
  throw malformed("bundle/kind", "want a hold, tombstone, lookup or certificate");
}

/** @param {Fields} fields @param {string} name */
function limited(fields, name) {
  const value = fields.bytes(name);
  if (value.length > MAX_HEAD)
    throw malformed("encoding/base64", `${name}: ${value.length} bytes, at most ${MAX_HEAD}`);
  return value;
}

/** @param {Json} value @returns {BundleEntry} */
function readEntry(value) {
  const fields = new Fields(value, "entry", ["position", "entry", "path"]);
  return { position: fields.integer("position"), entry: fields.bytes("entry"), path: fields.path("path") };
}

/** @param {Json} value @returns {BundleLocator} */
function readLocator(value) {
  const fields = new Fields(value, "locator", ["type", "proof"]);
  return { type: fields.text("type"), proof: fields.bytes("proof", 80) };
}

/** @param {Json} value @returns {BundleSystem} */
function readSystem(value) {
  const fields = new Fields(value, "system", ["head", "descriptor"]);
  return { head: limited(fields, "head"), descriptor: limited(fields, "descriptor") };
}

/** @param {Json} value @returns {BundleState} */
function readState(value) {
  const fields = new Fields(value, "state", ["locator", "system", "state", "proof"]);
  return {
    locator: fields.integer("locator"),
    system: fields.text("system"),
    state: fields.get("state") === null ? null : fields.bytes("state", 49),
    proof: fields.bytes("proof"),
  };
}

/** @param {Json} value @returns {BundleRow} */
function readRow(value) {
  const fields = new Fields(value, "row", ["locator", "system", "entry", "position", "commitment", "path"]);
  return {
    locator: fields.integer("locator"),
    system: fields.text("system"),
    entry: fields.integer("entry"),
    position: fields.integer("position"),
    commitment: fields.bytes("commitment", 32),
    path: fields.path("path"),
  };
}

/**
 * Return what these bytes are as JSON if they can be a bundle, and null if they are not one of our artefacts.
 *
 * Codes: `json/…`, `encoding/utf8`, where they seem to be meant for a bundle.
 * @param {Uint8Array} encoded
 * @returns {Json | null}
 */
export function parseBundleJson(encoded) {
  let value;
  try {
    value = parseJson(encoded, MAX_FILE);
  } catch (error) {
    const front = new TextDecoder("latin1").decode(encoded.subarray(0, 4096));
    if (front.includes("attest-bundle/1") && !front.includes("attest-keepsake/1")) throw error;
    return null;
  }
  return value instanceof Map && value.get("format") === "attest-bundle/1" ? value : null;
}

/** @typedef {{system: string, entry: number, entryId: string, blind: Uint8Array, records: Uint8Array[], bundle: Bundle}} KeptHold */

/** What a data subject keeps. It names the locator: whoever sees it can follow this pseudonym. */
export class Keepsake {
  /**
   * Read a keepsake whole, its bundles included. Codes: `keepsake/format`, `keepsake/field`, `json/…`, `locator/…`, and
   * those of bundles.
   * @param {Uint8Array} encoded
   */
  constructor(encoded) {
    const value = parseJson(encoded, MAX_FILE);
    if (!(value instanceof Map) || value.get("format") !== "attest-keepsake/1") {
      throw malformed("keepsake/format", "not an object of the format attest-keepsake/1");
    }
    const names = ["format", "warning", "origin", "holder", "locator", "vrf", "holds"];
    const fields = new Fields(value, "the keepsake", names);
    this.warning = fields.text("warning");
    this.origin = fields.text("origin");
    this.holder = fields.text("holder");
    this.locator = fields.text("locator");
    if (!isOrigin(this.origin) || !isPartyId(this.holder)) {
      throw malformed("keepsake/field", "want the name of a log and the id of a holder");
    }
    parseLocator(this.locator);
    const vrf = new Fields(fields.get("vrf"), "vrf", ["suite", "key", "proof"]);
    this.vrf = { suite: vrf.integer("suite"), key: vrf.bytes("key", 32), proof: vrf.bytes("proof", 80) };
    this.holds = fields.list("holds", MAX_HOLDS).map(readHold);
  }
}

/** @param {Json} value @returns {KeptHold} */
function readHold(value) {
  const fields = new Fields(value, "hold", ["system", "entry", "entry_id", "blind", "records", "bundle"]);
  const records = fields.list("records", MAX_RECORDS).map((record) => {
    if (typeof record !== "string") throw malformed("json/field", "hold: a record is not a text");
    return parseHex(record, 32);
  });
  const hold = {
    system: fields.text("system"),
    entry: fields.integer("entry"),
    entryId: fields.text("entry_id"),
    blind: fields.bytes("blind", 32),
    records,
    bundle: new Bundle(fields.get("bundle")),
  };
  if (!isSystemId(hold.system) || hold.bundle.kind !== "hold") {
    throw malformed("keepsake/field", "hold: want the id of a system and a bundle of kind hold");
  }
  return hold;
}
