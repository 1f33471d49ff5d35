// What a statement changes, or why it may not stand: rule set attest-rules/1. Spec: docs/spec/rules.md.

import { equal, parseHex } from "./encoding.js";
import { AttestError, conflict, malformed, refuted, unavailable, untrusted } from "./errors.js";
import { admitEd25519, thumbprint, verifyEd25519 } from "./keys.js";
import { keyOf } from "./commitments.js";
import { ZEROS } from "./sparse.js";
import { descriptorDigest, ERASED, HELD, nextChain } from "./state.js";
import { encodeDescriptor, possessionMessage } from "./statement.js";

/** @typedef {import("./statement.js").Statement} Statement */
/** @typedef {import("./statement.js").Descriptor} Descriptor */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").SystemHead} SystemHead */
/** @typedef {import("./state.js").PartyHead} PartyHead */
/** @typedef {import("./state.js").LogHead} LogHead */
/** @typedef {import("./rows.js").RowFile} RowFile */

/**
 * What the rules read and change. Heads are changed in place; whoever keeps the old ones copies them before.
 * @typedef {object} View
 * @property {{[name: string]: any} | null} genesis payload of entry 0; null before it
 * @property {(payload: {[name: string]: any}, head: LogHead) => void} begin
 * @property {() => LogHead} log the log's head
 * @property {(id: string) => PartyHead | null} party
 * @property {(head: PartyHead) => void} admit
 * @property {(holder: string, id: string) => SystemHead | null} system
 * @property {(holder: string, id: string) => Descriptor} descriptor of a registered system
 * @property {(holder: string, descriptor: Descriptor, head: SystemHead) => void} describe a new system, or one anew
 * @property {(holder: string, system: string, key: Uint8Array) => State | null} state throws `rule/unknown-status`
 * @property {(holder: string, system: string, key: Uint8Array, state: State) => void} setState
 * @property {(root: Uint8Array) => RowFile} rows throws `rows/missing`
 * @property {() => Uint8Array} topRoot over the effects of all entries before
 */

export const RULES = "attest-rules/1";
/** SHA-256 of docs/spec/rules.md. */
export const RULES_DIGEST = parseHex("ddf3306f242815bcdc6afb7a82784f917d273015b5a5f7a34fc6cda1b89b655e");

const MAX_KEYS = 64;
const MAX_COUNTER = 2 ** 32 - 1;
const MOST_NAMED = 16;

const OF_LOG = ["policy/1", "party/1", "epoch/1"];
const OF_HOLDERS = ["systems/1", "hold/1", "tombstone/1"];
const IN_SYSTEMS = ["hold/1", "tombstone/1"];
const IN_RECOVERY = ["keys/1", "party-end/1"];

/**
 * Judge an entry at its position, and take its effect.
 * @param {Statement} statement @param {number} position @param {View} view
 */
export function judge(statement, position, view) {
  const isFirst = position === 0;
  if ((statement.payload.kind === "log/1") !== isFirst) {
    throw conflict("rule/genesis", `entry ${position} is ${statement.payload.kind}: log/1 stands at 0, and only there`);
  }
  if (isFirst) judgeFirst(statement, view);
  else new Judgement(statement, position, view).take();
}

/** @param {Statement} statement @param {View} view */
function judgeFirst(statement, view) {
  const { payload } = statement;
  const { origin, keys } = payload;
  const issuer = `https://${origin}`;
  const ofItself = statement.issuer === issuer && statement.stream === issuer && statement.audience === origin;
  if (statement.seq !== 0 || statement.about !== null || !ofItself) {
    throw refuted("rule/genesis", "log/1 is not by, about and for the log that it names, or not the first");
  }
  const own = [keys.statements, keys.receipts, keys.note_ed25519];
  if (equal(own[0], own[1]) || equal(own[0], own[2]) || equal(own[1], own[2])) {
    throw malformed("rule/genesis", "two of the three Ed25519 keys are one");
  }
  for (const key of own) admitEd25519(key);
  if (!equal(statement.kid, thumbprint(keys.statements)))
    throw untrusted("rule/key", "not signed by its statements key");
  statement.verify(keys.statements);
  view.begin(payload, {
    party: origin,
    role: "log",
    status: 1,
    admitted: 0,
    own: 1,
    recovery: 0,
    keys: [{ key: keys.statements, use: "sign", from: 0, until: null }],
    vrf: [],
    systems: { count: 0, root: ZEROS },
    entries: 1,
    chain: nextChain(ZEROS, 0n, statement.leaf()),
    other: ZEROS,
    epoch: { number: 0, time: 0, latest: statement.issuedAt },
    rules: { name: RULES, digest: RULES_DIGEST },
  });
}

/** One entry behind the first. */
class Judgement {
  /** @param {Statement} statement @param {number} position @param {View} view */
  constructor(statement, position, view) {
    this.statement = statement;
    this.position = position;
    this.view = view;
    this.log = view.log();
    this.origin = this.log.party;
    const { issuer, stream } = statement;
    this.id = issuer.startsWith("https://") ? issuer.slice(8) : "";
    this.byLog = this.id === this.origin;
    this.inRecovery = stream === `${issuer}#recovery`;
    this.inSystem = stream !== issuer && !this.inRecovery;
  }

  /** @returns {{[name: string]: any}} */
  get limits() {
    return /** @type {{[name: string]: any}} */ (this.view.genesis).limits;
  }

  take() {
    this.checkLog();
    const issuer = this.checkIssuer();
    const system = this.checkStream(issuer);
    const about = this.checkAbout();
    const change = this.checkKind(issuer, about, system);
    // Everything is checked: only effects below.
    const { leaf, next } = { leaf: this.statement.leaf(), next: BigInt(this.position) };
    for (const head of new Set([issuer, about, system])) {
      if (head === null) continue;
      head.entries += 1;
      head.chain = nextChain(head.chain, next, leaf);
    }
    if (this.inRecovery) issuer.recovery += 1;
    else if (!this.inSystem) issuer.own += 1;
    const { issuedAt, payload } = this.statement;
    this.log.epoch.latest = Math.max(this.log.epoch.latest, issuedAt, payload.erased_at ?? 0);
    change();
  }

  // 1 to 3
  checkLog() {
    const { audience, entry, payload } = this.statement;
    if (entry.length > this.limits.statement) {
      throw malformed("statement/size", `${entry.length} bytes, this log takes ${this.limits.statement}`);
    }
    if (audience !== this.origin) throw refuted("rule/audience", `made for another log than ${this.origin}`);
    const { rules, status } = this.log;
    if (rules.name !== RULES || !equal(rules.digest, RULES_DIGEST)) {
      throw unavailable("rule/unknown-rules", `the rule set ${rules.name} is not known here`);
    }
    const isLastEpoch = payload.kind === "epoch/1" && this.position + 1 === this.log.keys[0].until;
    if (status === 2 && !isLastEpoch) throw conflict("rule/log-ended", "the log has ended");
  }

  // 4 and 5
  checkIssuer() {
    const { kid } = this.statement;
    const issuer = this.byLog ? this.log : this.view.party(this.id);
    if (issuer === null || this.id === "") throw untrusted("rule/issuer", "the issuer is not admitted to this log");
    if (!this.byLog && issuer.status === 2) throw conflict("rule/party-ended", `${this.id} has ended`);
    const found = issuer.keys.find(({ key }) => equal(thumbprint(key), kid));
    if (found === undefined) throw untrusted("rule/key", "no key of the issuer has this thumbprint");
    if (found.use !== (this.inRecovery ? "recover" : "sign")) {
      throw untrusted("rule/key-use", `a key to ${found.use} signed in this stream`);
    }
    if (this.position < found.from || (found.until !== null && this.position >= found.until)) {
      throw untrusted("rule/key-interval", `the key was not in force at ${this.position}`);
    }
    this.statement.verify(found.key);
    return issuer;
  }

  // 6
  /** @param {PartyHead} issuer @returns {SystemHead | null} of a system's stream */
  checkStream(issuer) {
    const { payload, seq, stream } = this.statement;
    const { kind } = payload;
    const fits = this.inSystem
      ? IN_SYSTEMS.includes(kind)
      : this.inRecovery
        ? IN_RECOVERY.includes(kind) && !this.byLog
        : !IN_SYSTEMS.includes(kind);
    if (!fits) throw conflict("rule/stream", `${kind} does not belong to this stream`);
    const system = this.inSystem ? this.view.system(this.id, stream) : null;
    if (this.inSystem && system === null) throw conflict("rule/system", `${this.id} has no system ${stream}`);
    const next = system?.entries ?? (this.inRecovery ? issuer.recovery : issuer.own);
    if (seq !== next) throw conflict("rule/seq", `seq ${seq}, the stream's next is ${next}`);
    return system;
  }

  // 7
  /** @returns {PartyHead | null} the party that the log speaks about; null for one that is not admitted yet */
  checkAbout() {
    const { about, payload } = this.statement;
    const wrong = () => conflict("rule/about", "it speaks about a party that it may not speak about, or about none");
    if (!this.byLog || !["party/1", "keys/1", "party-end/1"].includes(payload.kind)) {
      if (about !== null) throw wrong();
      return null;
    }
    if (payload.kind === "party/1") {
      if (about !== payload.id) throw wrong();
      return null;
    }
    if (about === null && payload.kind === "party-end/1") return null;
    const head = about === null || about === this.origin ? null : this.view.party(about);
    if (head === null) throw wrong();
    if (head.status === 2) throw conflict("rule/party-ended", `${about} has ended`);
    return head;
  }

  // 8
  /**
   * @param {PartyHead} issuer @param {PartyHead | null} about @param {SystemHead | null} system
   * @returns {() => void} the effect
   */
  checkKind(issuer, about, system) {
    const { kind } = this.statement.payload;
    const mayNot = (OF_LOG.includes(kind) && !this.byLog) || (OF_HOLDERS.includes(kind) && issuer.role !== "holder");
    if (mayNot) throw conflict("rule/role", `${issuer.role} may not say ${kind}`);
    switch (kind) {
      case "party/1":
        return this.party();
      case "keys/1":
        return this.keys(about ?? issuer);
      case "party-end/1":
        return this.end(about ?? issuer, about !== null);
      case "policy/1":
        return this.policy();
      case "systems/1":
        return this.systems(issuer);
      case "epoch/1":
        return this.epoch();
      default:
        return this.rows(/** @type {SystemHead} */ (system));
    }
  }

  party() {
    const { id, keys, role, vrf } = this.statement.payload;
    if (id === this.origin || this.view.party(id) !== null)
      throw conflict("rule/party-exists", `${id} is admitted already`);
    if (vrf.length !== (role === "holder" ? 1 : 0))
      throw malformed("rule/vrf", "a holder has one VRF series, others none");
    const uses = new Set(keys.map((/** @type {{use: string}} */ { use }) => use));
    if (!uses.has("sign") || !uses.has("recover"))
      throw malformed("rule/keys", "want a key to sign and one to recover");
    const added = this.admitted(id, [], keys);
    return () =>
      this.view.admit({
        party: id,
        role,
        status: 1,
        admitted: this.position,
        own: 0,
        recovery: 0,
        keys: added,
        vrf,
        systems: { count: 0, root: ZEROS },
        entries: 1,
        chain: nextChain(ZEROS, BigInt(this.position), this.statement.leaf()),
        other: ZEROS,
      });
  }

  /**
   * Return the keys of a party with new ones behind them, each of which shows that somebody has it.
   * @param {string} party @param {PartyHead["keys"]} keys
   * @param {{key: Uint8Array, use: "sign" | "recover", proof: Uint8Array}[]} added
   */
  admitted(party, keys, added) {
    const all = keys.map((key) => ({ ...key }));
    const message = possessionMessage(this.origin, party, this.statement.payload);
    for (const { key, use, proof } of added) {
      if (all.some((other) => equal(other.key, key)))
        throw conflict("rule/keys", "a key that is among the party's already");
      admitEd25519(key);
      try {
        verifyEd25519(key, proof, message);
      } catch (error) {
        if (!(error instanceof AttestError)) throw error;
        throw refuted("rule/possession", "a proof of possession does not verify");
      }
      all.push({ key, use, from: this.position + 1, until: null });
    }
    if (all.length > MAX_KEYS) throw conflict("rule/keys", `${all.length} keys, at most ${MAX_KEYS}`);
    return all;
  }

  /** @param {PartyHead} head whose keys */
  keys(head) {
    const { add, revoke } = this.statement.payload;
    if (this.byLog && add.length > 0) throw conflict("rule/keys", "the log only revokes");
    if (!this.inRecovery && add.some((/** @type {{use: string}} */ { use }) => use === "recover")) {
      throw untrusted("rule/key-use", "a recovery key is added only in the recovery stream");
    }
    const all = this.admitted(head.party, head.keys, add);
    for (const kid of revoke) {
      const found = all.find(({ key, until }) => until === null && equal(thumbprint(key), kid));
      if (found === undefined) throw conflict("rule/keys", "a kid of no key without end");
      if (found.use === "recover" && !this.inRecovery && !this.byLog) {
        throw untrusted("rule/key-use", "a recovery key is revoked only in the recovery stream, or by the log");
      }
      found.until = this.position + 1;
    }
    for (const use of ["sign", "recover"]) {
      if (!all.some((key) => key.use === use && key.until === null)) {
        throw conflict("rule/last-key", `no key to ${use} would be left`);
      }
    }
    return () => {
      head.keys = all;
    };
  }

  /** @param {PartyHead} head that ends @param {boolean} isAbout whether the log ends another */
  end(head, isAbout) {
    if (!this.byLog && !this.inRecovery) throw untrusted("rule/key-use", "a party ends itself in the recovery stream");
    return () => {
      head.status = 2;
      // The size at which the log ends: one entry more, the epoch that commits this.
      if (this.byLog && !isAbout) head.keys[0].until = this.position + 2;
    };
  }

  policy() {
    const { name, digest } = this.statement.payload;
    return () => {
      this.log.rules = { name, digest };
    };
  }

  /** @param {PartyHead} holder */
  systems(holder) {
    const { systems } = this.statement.payload;
    const known = systems.map((/** @type {Descriptor} */ each) => this.checkDescriptor(each));
    return () => {
      systems.forEach((/** @type {Descriptor} */ descriptor, /** @type {number} */ i) => {
        const digest = descriptorDigest(encodeDescriptor(descriptor));
        const head = known[i] ?? newSystem(descriptor.id);
        if (known[i] === null) holder.systems.count += 1;
        head.descriptor = digest;
        if (descriptor.retired) head.status = 2;
        this.view.describe(this.id, descriptor, head);
      });
    };
  }

  /** @param {Descriptor} descriptor @returns {SystemHead | null} of the system, if it is registered */
  checkDescriptor(descriptor) {
    const { backup_cycle: cycle, id, kind, locators, retired } = descriptor;
    const head = this.view.system(this.id, id);
    if (head === null) {
      if (retired) throw conflict("rule/system-retired", `${id} would begin retired`);
      return null;
    }
    const old = this.view.descriptor(this.id, id);
    if (old.retired) throw conflict("rule/system-retired", `${id} is retired`);
    if (old.kind !== kind || old.locators.join() !== locators.join()) {
      throw conflict("rule/system-fixed", `kind and locator types of ${id} never change`);
    }
    if (old.backup_cycle !== null && (cycle === null || cycle > old.backup_cycle)) {
      throw conflict("rule/backup-cycle", `the backup cycle of ${id} only shrinks`);
    }
    if (retired && head.held > 0) throw conflict("rule/still-held", `${id} still holds ${head.held}`);
    return head;
  }

  /** @param {SystemHead} head */
  rows(head) {
    const { count, kind, root } = this.statement.payload;
    const system = head.system;
    if (head.status === 2) throw conflict("rule/system-retired", `${system} is retired`);
    if (count > this.limits.rows) throw malformed("rows/size", `${count} rows, this log takes ${this.limits.rows}`);
    const file = this.view.rows(root);
    file.wantNamed(count, root);
    const one = kind === "hold/1" ? held : erased;
    const delta = { held: 0, erased: 0, reheld: 0 };
    /** @type {Map<string, number[]>} by code, the rows at fault */
    const faults = new Map();
    /** @type {[Uint8Array, State][]} */
    const states = [];
    for (let row = 0; row < count; row++) {
      const key = keyOf(file.index(row));
      const after = one(this.view.state(this.id, system, key), file.commitment(row).slice(), this.position, delta);
      if (typeof after === "string") faults.set(after, [...(faults.get(after) ?? []), row].slice(0, MOST_NAMED));
      else states.push([key, after]);
    }
    for (const code of ["rule/not-held", "rule/commitment-mismatch", "rule/already-held"]) {
      const rows = faults.get(code);
      if (rows !== undefined) throw conflict(code, `row ${rows[0]} of ${system}`, { rows });
    }
    return () => {
      for (const [key, state] of states) this.view.setState(this.id, system, key, state);
      head.held += delta.held;
      head.erased += delta.erased;
      head.reheld += delta.reheld;
    };
  }

  epoch() {
    const { number, root, time } = this.statement.payload;
    const { epoch } = this.log;
    if (number !== epoch.number) throw conflict("rule/epoch-number", `epoch ${number}, the next is ${epoch.number}`);
    const inOrder = time === this.statement.issuedAt && time > epoch.time;
    if (!inOrder || time + this.limits.skew < epoch.latest) {
      throw conflict("rule/epoch-time", `time ${time} is out of order, or too far behind what was claimed`);
    }
    if (!equal(root, this.view.topRoot())) {
      throw refuted("rule/epoch-root", `epoch ${number} commits another root than its entries lead to`);
    }
    return () => {
      this.log.epoch = { number: number + 1, time, latest: 0 };
    };
  }
}

/** @param {string} system @returns {SystemHead} */
const newSystem = (system) => ({
  system,
  status: 1,
  descriptor: ZEROS,
  root: ZEROS,
  held: 0,
  erased: 0,
  reheld: 0,
  entries: 0,
  chain: ZEROS,
  other: ZEROS,
});

/** @typedef {{held: number, erased: number, reheld: number}} Delta */

/** @param {number} counter */
function next(counter) {
  if (counter === MAX_COUNTER) throw conflict("rule/counter", "a counter has reached its end");
  return counter + 1;
}

/**
 * @param {State | null} state @param {Uint8Array} commitment @param {number} at position @param {Delta} delta
 * @returns {State | string} the new state, or the code of what forbids it
 */
function held(state, commitment, at, delta) {
  const position = BigInt(at);
  if (state === null) {
    delta.held += 1;
    return { status: HELD, generation: 1, version: 1, position, commitment };
  }
  const { generation, version } = state;
  if (state.status === ERASED) {
    delta.held += 1;
    delta.erased -= 1;
    delta.reheld += 1;
    return { status: HELD, generation: next(generation), version: 1, position, commitment };
  }
  if (equal(state.commitment, commitment)) return "rule/already-held";
  return { status: HELD, generation, version: next(version), position, commitment };
}

/**
 * @param {State | null} state @param {Uint8Array} commitment @param {number} at position @param {Delta} delta
 * @returns {State | string}
 */
function erased(state, commitment, at, delta) {
  if (state === null || state.status === ERASED) return "rule/not-held";
  if (!equal(state.commitment, commitment)) return "rule/commitment-mismatch";
  delta.held -= 1;
  delta.erased += 1;
  return { ...state, status: ERASED, position: BigInt(at) };
}
