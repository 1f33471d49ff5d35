// Checks one epoch of a log completely, without any map. Spec: docs/spec/transition.md.

import { keyOf } from "./commitments.js";
import { decode } from "./cbor.js";
import { equal, hex } from "./encoding.js";
import { AttestError, malformed, refuted, unavailable } from "./errors.js";
import { RowFile } from "./rows.js";
import { judge } from "./rules.js";
import { anyBytes, anyText, ascending, hash, list, nullable, oneOf, read, record, uint } from "./schema.js";
import { PrunedMap, ZEROS } from "./sparse.js";
import {
  descriptorDigest,
  encodeHead,
  encodeState,
  parsePartyHead,
  parseState,
  parseSystemHead,
  partyValue,
  stateValue,
  systemKey,
  systemValue,
  topKey,
} from "./state.js";
import { parseDescriptor, Statement } from "./statement.js";
import { EMPTY_ROOT, Frontier } from "./tree.js";

/** @typedef {import("./statement.js").Descriptor} Descriptor */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").SystemHead} SystemHead */
/** @typedef {import("./state.js").PartyHead} PartyHead */
/** @typedef {import("./state.js").LogHead} LogHead */
/** @typedef {import("./rules.js").View} View */

/**
 * Where a checker stands.
 * @typedef {object} Anchor
 * @property {{[name: string]: any} | null} genesis payload of entry 0
 * @property {number} size @property {Uint8Array} root
 * @property {Uint8Array | null} previous the epoch entry at size − 1
 */

/** @type {Anchor} before entry 0 */
export const BEGINNING = { genesis: null, size: 0, root: EMPTY_ROOT, previous: null };

/** @typedef {(root: Uint8Array) => Uint8Array | null} RowSource of row files, by root */

const STATE_SIZE = 49;
const MOST_STATES = 65_536; // in which a row that was left out is looked for

const proofShape = record({
  format: oneOf("attest-transition/1"),
  size: uint,
  frontier: list(hash, 0, 63),
  previous: nullable(anyBytes),
  entries: list(anyBytes, 1),
  top: anyBytes,
  heads: list(anyBytes, 0),
  after: list(anyBytes, 0),
  holders: ascending(
    list(
      record({
        party: anyText,
        map: anyBytes,
        systems: ascending(
          list(
            record({
              system: anyText,
              head: nullable(anyBytes),
              descriptor: nullable(anyBytes),
              map: anyBytes,
              states: anyBytes,
              after: nullable(anyBytes),
            }),
            0,
          ),
          ({ system }) => system,
        ),
      }),
      0,
    ),
    ({ party }) => party,
  ),
});

/**
 * Check the epoch that follows where the checker stands, and return where it stands then.
 *
 * Codes: `cbor/…`, `transition/…`, `pruned/…`, `head/…`, `statement/…`, `rule/…`, `rows/…`, `epoch/…`.
 * @param {Uint8Array} encoded the transition proof
 * @param {Anchor} anchor
 * @param {RowSource} rows
 * @returns {Anchor}
 */
export function verifyTransition(encoded, anchor, rows) {
  const proof = read(proofShape, decode(encoded), "transition/format", "a transition proof");
  const draft = new Draft(proof, anchor, rows);
  draft.start();
  const last = proof.entries.length - 1;
  // Each is read in its turn: behind a rule set that is not known here, nothing is refuted.
  const statements = proof.entries.map((entry, i) => {
    const statement = new Statement(entry);
    if ((statement.payload.kind === "epoch/1") !== (i === last)) {
      throw malformed("transition/entries", "want the epoch/1 of this epoch at the end, and no other");
    }
    if (i < last) judge(statement, proof.size + i, draft);
    return statement;
  });
  const commits = draft.commit();
  try {
    judge(statements[last], proof.size + last, { ...viewOf(draft), topRoot: () => commits.root });
  } catch (error) {
    if (!(error instanceof AttestError) || error.code !== "rule/epoch-root") throw error;
    throw departure(draft, commits, statements[last].payload.root) ?? error;
  }
  wantAfter(draft, commits);
  const frontier = statements.reduce((grown, statement) => grown.append(statement.leaf()), draft.frontier);
  return {
    genesis: draft.genesis,
    size: proof.size + statements.length,
    root: frontier.root(),
    previous: proof.entries[last],
  };
}

/** @param {Draft} draft @returns {View} its methods, bound */
function viewOf(draft) {
  return {
    genesis: draft.genesis,
    begin: (payload, head) => draft.begin(payload, head),
    log: () => draft.log(),
    party: (id) => draft.party(id),
    admit: (head) => draft.admit(head),
    system: (holder, id) => draft.system(holder, id),
    descriptor: (holder, id) => draft.descriptor(holder, id),
    describe: (holder, descriptor, head) => draft.describe(holder, descriptor, head),
    state: (holder, system, key) => draft.state(holder, system, key),
    setState: (holder, system, key, state) => draft.setState(holder, system, key, state),
    rows: (root) => draft.rows(root),
    topRoot: () => draft.topRoot(),
  };
}

/**
 * One system of the proof, and what becomes of it.
 * @typedef {object} System
 * @property {string} id
 * @property {Uint8Array | null} oldHead bound by the map above @property {Uint8Array | null} oldDescriptor
 * @property {Uint8Array | null} after as shown
 * @property {PrunedMap} map @property {Map<string, Uint8Array>} states those shown, by value in the map
 * @property {SystemHead | null} head @property {Descriptor | null} descriptor as this epoch describes it, if it does
 * @property {Map<string, {key: Uint8Array, state: State}>} changes by key in hex
 */

/** @typedef {{id: string, map: PrunedMap, systems: Map<string, System>}} Holder */
/** @typedef {{root: Uint8Array, parties: Map<string, Uint8Array>, systems: {system: System, head: Uint8Array, map: PrunedMap}[]}} Commits */

/**
 * The state of the log as far as a proof shows it, and its changes so far. A View.
 * @implements {View}
 */
class Draft {
  /** @type {Map<string, PartyHead>} those needed so far, as they have become */
  parties = new Map();
  /** @type {Map<string, Uint8Array>} those shown, by the value that binds them: old */
  shownHeads = new Map();
  /** @type {Map<string, Holder>} */
  holders = new Map();

  /** @param {ReturnType<typeof proofShape>} proof @param {Anchor} anchor @param {RowSource} source */
  constructor(proof, anchor, source) {
    this.proof = proof;
    this.anchor = anchor;
    this.source = source;
    this.genesis = anchor.genesis;
    this.frontier = this.readFrontier();
    /** @type {Statement | null} */
    this.previous = anchor.previous === null ? null : new Statement(anchor.previous);
    const { previous, size } = proof;
    const isPrevious =
      previous === null ? anchor.previous === null : anchor.previous !== null && equal(previous, anchor.previous);
    if (size !== anchor.size || !isPrevious || !equal(this.frontier.root(), anchor.root)) {
      throw refuted("transition/start", `it starts at ${size}, but checking stands elsewhere at ${anchor.size}`);
    }
    this.top = PrunedMap.parse(proof.top);
    if (!equal(this.top.root(), this.topRoot())) throw wrongRoot("the top map");
    this.readHeads();
    for (const holder of proof.holders) this.readHolder(holder);
  }

  readFrontier() {
    try {
      return new Frontier(BigInt(this.proof.size), this.proof.frontier);
    } catch (error) {
      if (!(error instanceof AttestError)) throw error;
      throw malformed("transition/frontier", error.message);
    }
  }

  readHeads() {
    let before = "";
    for (const encoded of this.proof.heads) {
      const { party } = parsePartyHead(encoded);
      if (party <= before) throw malformed("transition/format", "party heads do not ascend");
      before = party;
      this.shownHeads.set(party, encoded);
    }
  }

  /** @param {ReturnType<typeof proofShape>["holders"][number]} shown */
  readHolder({ party, map: encoded, systems }) {
    // One that is admitted in this epoch has no head yet, and no systems.
    const head = this.oldHead(party);
    const map = PrunedMap.parse(encoded);
    if (!equal(map.root(), head === null ? ZEROS : parsePartyHead(head).systems.root)) {
      throw wrongRoot(`the system map of ${party}`);
    }
    const read = systems.map((system) => this.readSystem(map, system));
    this.holders.set(party, { id: party, map, systems: new Map(read.map((system) => [system.id, system])) });
  }

  /**
   * @param {PrunedMap} systemMap
   * @param {ReturnType<typeof proofShape>["holders"][number]["systems"][number]} shown
   * @returns {System}
   */
  readSystem(systemMap, { after, descriptor, head, map: encoded, states: shown, system: id }) {
    const bound = systemMap.get(systemKey(id));
    const value = head === null ? null : systemValue(head);
    if (bound === null ? value !== null : value === null || !equal(bound, value)) {
      throw refuted("transition/system-head", `the head of ${id} is not the committed one`);
    }
    const parsed = head === null ? null : parseSystemHead(head);
    const map = PrunedMap.parse(encoded);
    if (!equal(map.root(), parsed?.root ?? ZEROS)) throw wrongRoot(`the state map of ${id}`);
    if (shown.length % STATE_SIZE !== 0) throw malformed("transition/states", "not whole states");
    /** @type {Map<string, Uint8Array>} */
    const states = new Map();
    for (let at = 0; at < shown.length; at += STATE_SIZE) {
      const state = shown.slice(at, at + STATE_SIZE);
      states.set(hex(stateValue(state)), state);
    }
    return {
      id,
      oldHead: head,
      oldDescriptor: descriptor,
      after,
      map,
      states,
      head: parsed,
      descriptor: null,
      changes: new Map(),
    };
  }

  /** Judge the epoch before this one again: its effect shows in no map yet. */
  start() {
    if (this.previous !== null) judge(this.previous, this.proof.size - 1, this);
  }

  /** The root that the previous epoch commits. */
  topRoot() {
    return this.previous === null ? ZEROS : this.previous.payload.root;
  }

  /** @param {string} id @returns {Uint8Array | null} the head before this epoch, bound by the top map */
  oldHead(id) {
    const bound = this.top.get(topKey(id));
    if (bound === null) return null;
    const shown = this.shownHeads.get(id);
    if (shown === undefined || !equal(partyValue(shown), bound)) {
      throw refuted("transition/party-head", `the head of ${id} is not the committed one, or not shown`);
    }
    return shown;
  }

  /** @param {{[name: string]: any}} payload @param {LogHead} head */
  begin(payload, head) {
    this.genesis = payload;
    this.parties.set(head.party, head);
  }

  log() {
    const head = this.genesis === null ? null : this.party(this.genesis.origin);
    if (head === null || head.role !== "log") throw refuted("transition/party-head", "the log has no head");
    return head;
  }

  /** @param {string} id */
  party(id) {
    const known = this.parties.get(id);
    if (known !== undefined) return known;
    const encoded = this.oldHead(id);
    if (encoded === null) return null;
    const head = parsePartyHead(encoded);
    this.parties.set(id, head);
    return head;
  }

  /** @param {PartyHead} head */
  admit(head) {
    this.parties.set(head.party, head);
  }

  /** @param {string} holder @returns {Holder | null} */
  holder(holder) {
    const known = this.holders.get(holder);
    if (known !== undefined) return known;
    // A holder whose systems are not shown has none if it was admitted in this epoch, or its head says so.
    const head = this.party(holder);
    if (head === null || head.systems.count > 0) return null;
    const made = { id: holder, map: new PrunedMap({ tag: 0 }), systems: new Map() };
    this.holders.set(holder, made);
    return made;
  }

  /** @param {string} holder @param {string} id @returns {System | null} null: not registered */
  find(holder, id) {
    const shown = this.holder(holder);
    if (shown === null) throw malformed("transition/missing", `the systems of ${holder} are not shown`);
    const system = shown.systems.get(id);
    if (system !== undefined) return system;
    if (shown.map.get(systemKey(id)) !== null) throw malformed("transition/missing", `system ${id} is not shown`);
    return null;
  }

  /** @param {string} holder @param {string} id */
  system(holder, id) {
    if (this.party(holder)?.role !== "holder") return null;
    return this.find(holder, id)?.head ?? null;
  }

  /** @param {string} holder @param {string} id */
  descriptor(holder, id) {
    const { descriptor, head, oldDescriptor } = /** @type {System} */ (this.find(holder, id));
    if (descriptor !== null) return descriptor;
    if (oldDescriptor === null) throw malformed("transition/missing", `the descriptor of ${id} is not shown`);
    if (head === null || !equal(head.descriptor, descriptorDigest(oldDescriptor))) {
      throw refuted("transition/descriptor", `the descriptor of ${id} is not the committed one`);
    }
    return parseDescriptor(oldDescriptor);
  }

  /** @param {string} holder @param {Descriptor} descriptor @param {SystemHead} head */
  describe(holder, descriptor, head) {
    const found = this.find(holder, descriptor.id);
    if (found !== null) {
      Object.assign(found, { descriptor, head });
      return;
    }
    /** @type {Holder} */ (this.holder(holder)).systems.set(descriptor.id, {
      id: descriptor.id,
      oldHead: null,
      oldDescriptor: null,
      after: null,
      map: new PrunedMap({ tag: 0 }),
      states: new Map(),
      head,
      descriptor,
      changes: new Map(),
    });
  }

  /** @param {string} holder @param {string} id @param {Uint8Array} key @returns {State | null} */
  state(holder, id, key) {
    const system = /** @type {System} */ (this.find(holder, id));
    const changed = system.changes.get(hex(key));
    if (changed !== undefined) return changed.state;
    const value = system.map.get(key);
    if (value === null) return null;
    const shown = system.states.get(hex(value));
    if (shown === undefined) throw refuted("transition/state", `an old state of ${id} is not shown, or another`);
    try {
      return parseState(shown);
    } catch (error) {
      if (!(error instanceof AttestError)) throw error;
      throw unavailable("rule/unknown-status", error.message);
    }
  }

  /** @param {string} holder @param {string} id @param {Uint8Array} key @param {State} state */
  setState(holder, id, key, state) {
    const system = /** @type {System} */ (this.find(holder, id));
    system.changes.set(hex(key), { key, state });
  }

  /** @param {Uint8Array} root */
  rows(root) {
    const encoded = this.source(root);
    if (encoded === null) throw unavailable("rows/missing", `the row file ${hex(root)} is not there`);
    return new RowFile(encoded);
  }

  /**
   * Write all changes into the maps.
   * @returns {Commits}
   */
  commit() {
    /** @type {Commits["systems"]} */
    const systems = [];
    for (const holder of this.holders.values()) {
      let map = holder.map;
      for (const system of holder.systems.values()) {
        if (system.head === null) continue;
        let states = system.map;
        for (const { key, state } of system.changes.values()) states = states.set(key, stateValue(encodeState(state)));
        system.head.root = states.root();
        const head = encodeHead(system.head);
        if (system.oldHead !== null && equal(head, system.oldHead)) continue;
        systems.push({ system, head, map: states });
        map = map.set(systemKey(system.id), systemValue(head));
      }
      const party = map === holder.map ? null : this.party(holder.id);
      if (party !== null) party.systems.root = map.root();
    }
    /** @type {Map<string, Uint8Array>} */
    const parties = new Map();
    let top = this.top;
    for (const [id, party] of [...this.parties].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const head = encodeHead(party);
      const old = this.top.get(topKey(id));
      const value = partyValue(head);
      if (old !== null && equal(old, value)) continue;
      parties.set(id, head);
      top = top.set(topKey(id), value);
    }
    return { root: top.root(), parties, systems };
  }
}

/** @param {string} what */
const wrongRoot = (what) => refuted("transition/root", `${what} leads to another root than the one committed`);

/**
 * Check that `after` shows the heads that changed, and no other. Code: `transition/after`.
 * @param {Draft} draft @param {Commits} commits
 */
function wantAfter({ holders, proof }, { parties, systems }) {
  const changed = new Map(systems.map(({ system, head }) => [system, head]));
  const wrong = () => malformed("transition/after", "the heads after the epoch are not those that it leads to");
  const expected = [...parties.values()];
  if (proof.after.length !== expected.length || !proof.after.every((head, i) => equal(head, expected[i])))
    throw wrong();
  for (const holder of holders.values()) {
    for (const system of holder.systems.values()) {
      const head = changed.get(system) ?? null;
      const same = head === null ? system.after === null : system.after !== null && equal(system.after, head);
      if (!same) throw wrong();
    }
  }
}

/** In the order in which a difference is named: the code's last word, and what it is about. */
const SYSTEM_FIELDS = /** @type {const} */ ([
  ["status", ["status"]],
  ["descriptor", ["descriptor"]],
  ["states", ["root"]],
  ["held", ["held"]],
  ["erased", ["erased"]],
  ["reheld", ["reheld"]],
  ["entries", ["entries"]],
  ["chain", ["chain"]],
  ["extension", ["other"]],
]);
const PARTY_FIELDS = /** @type {const} */ ([
  ["role", ["role"]],
  ["status", ["status"]],
  ["admitted", ["admitted"]],
  ["keys", ["keys"]],
  ["vrf", ["vrf"]],
  ["seq", ["own", "recovery"]],
  ["clock", ["epoch"]],
  ["rules", ["rules"]],
  ["entries", ["entries"]],
  ["chain", ["chain"]],
  ["extension", ["other"]],
  ["systems", ["systems"]],
]);

/**
 * Return in what an epoch with a wrong root departs from what its entries lead to, as far as `after` shows it.
 * @param {Draft} draft @param {Commits} commits @param {Uint8Array} root as committed
 * @returns {AttestError | null}
 */
function departure(draft, commits, root) {
  const said = (/** @type {string} */ code, /** @type {string} */ message, /** @type {any} */ more = {}) =>
    refuted(`epoch/${code}`, message, more);
  if (equal(root, draft.topRoot())) return said("old-root", "the root is that of the epoch before");
  for (const { system, map } of commits.systems) {
    const row = omittedRow(draft, system, map);
    if (row !== null) return said("omitted", `row ${row} is not in the state map of ${system.id}`, { rows: [row] });
  }
  /** @type {Map<string, Uint8Array>} */
  const parties = new Map();
  let before = "";
  for (const encoded of draft.proof.after) {
    const party = partyNamed(encoded);
    if (party === null) return said("head-fields", "a head has other fields than its kind");
    if (party <= before) return null;
    before = party;
    parties.set(party, encoded);
  }
  const heads = [
    ...commits.systems.map(({ system, head }) => ({
      shown: system.after,
      old: system.oldHead,
      head,
      name: system.id,
      parse: parseSystemHead,
      fields: SYSTEM_FIELDS,
    })),
    ...[...commits.parties].map(([party, head]) => ({
      shown: parties.get(party) ?? null,
      old: draft.oldHead(party),
      head,
      name: party,
      parse: parsePartyHead,
      fields: PARTY_FIELDS,
    })),
  ];
  const dropped = heads.find(({ shown }) => shown === null);
  if (dropped !== undefined) return said("dropped", `the head of ${dropped.name} is not there`);
  for (const { fields, head, name, old, parse, shown } of heads) {
    const encoded = /** @type {Uint8Array} */ (shown);
    if (equal(encoded, head)) continue;
    const value = decodeMap(encoded);
    const named = value?.get("system");
    if (fields === SYSTEM_FIELDS && typeof named === "string" && named !== name) {
      return said("other-head", `the head of ${name} is that of ${named}`);
    }
    const [entries, was] = [value?.get("entries"), old === null ? 0 : decodeMap(old)?.get("entries")];
    const isOld = (old !== null && equal(encoded, old)) || (typeof entries === "number" && entries < Number(was));
    if (isOld) return said("old-head", `the head of ${name} is of an earlier epoch`);
    try {
      parse(encoded);
    } catch (error) {
      if (!(error instanceof AttestError)) throw error;
      if (error.code !== "head/unknown-extension") return said("head-fields", `the head of ${name} has other fields`);
    }
    const wanted = /** @type {Map<any, any>} */ (decodeMap(head));
    for (const [code, members] of fields) {
      if (members.every((member) => same(value?.get(member), wanted.get(member)))) continue;
      return said(
        code === "keys" && sameKeys(value?.get("keys"), wanted.get("keys")) ? "key-interval" : code,
        `the head of ${name} commits another ${members.join(" or ")}`,
      );
    }
  }
  const added = [...parties.keys()].find((party) => !commits.parties.has(party));
  if (added !== undefined) return said("added", `a head of ${added} is there, which this epoch does not change`);
  const changed = new Set(commits.systems.map(({ system }) => system));
  for (const holder of draft.holders.values()) {
    for (const system of holder.systems.values()) {
      if (system.after !== null && !changed.has(system)) {
        return said("added", `a head of ${system.id} is there, which this epoch does not change`);
      }
    }
  }
  return null;
}

/**
 * Return the row whose change alone is not in the state map that is shown after the epoch, or null.
 * @param {Draft} draft @param {System} system @param {PrunedMap} map as it has to be
 */
function omittedRow(draft, system, map) {
  const root = system.after === null ? null : decodeMap(system.after)?.get("root");
  if (!(root instanceof Uint8Array) || system.changes.size > MOST_STATES || equal(root, map.root())) return null;
  for (const { key } of system.changes.values()) {
    const old = system.map.get(key);
    const without = old === null ? map.without(key) : map.set(key, old);
    if (equal(without.root(), root)) return rowOf(draft, key);
  }
  return null;
}

/** @param {Draft} draft @param {Uint8Array} key @returns {number} the row of this epoch that touches a key */
function rowOf(draft, key) {
  for (const entry of draft.proof.entries) {
    const { payload } = new Statement(entry);
    if (payload.kind !== "hold/1" && payload.kind !== "tombstone/1") continue;
    const file = draft.rows(payload.root);
    for (let row = 0; row < file.count; row++) if (equal(keyOf(file.index(row)), key)) return row;
  }
  return 0;
}

/** @param {Uint8Array} encoded @returns {Map<any, any> | null} */
function decodeMap(encoded) {
  try {
    const value = decode(encoded);
    return value instanceof Map ? value : null;
  } catch (error) {
    if (error instanceof AttestError) return null;
    throw error;
  }
}

/** @param {Uint8Array} encoded */
function partyNamed(encoded) {
  const party = decodeMap(encoded)?.get("party");
  return typeof party === "string" ? party : null;
}

/** @param {any} a @param {any} b @returns {boolean} whether two CBOR values are equal */
function same(a, b) {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equal(a, b);
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((each, i) => same(each, b[i]));
  if (a instanceof Map && b instanceof Map) return a.size === b.size && [...a].every(([k, v]) => same(v, b.get(k)));
  return a === b;
}

/** @param {any} a @param {any} b lists of keys */
const sameKeys = (a, b) =>
  Array.isArray(a) &&
  Array.isArray(b) &&
  same(
    a.map((key) => [key.get("key"), key.get("use")]),
    b.map((key) => [key.get("key"), key.get("use")]),
  );
