// From a bundle to a verdict, step by step. Spec: docs/spec/verify.md.

import { Bundle, parseBundleJson } from "./bundle.js";
import { decode } from "./cbor.js";
import { indexOf, keyOf } from "./commitments.js";
import { compareText, concat, equal, hex } from "./encoding.js";
import { AttestError, malformed, refuted, unavailable, untrusted } from "./errors.js";
import { admitEd25519, admitMldsa44, thumbprint } from "./keys.js";
import { alphaOf, parseLocator } from "./locators.js";
import { ED25519_NOTE, MLDSA44_COSIGNATURE, VerifierKey } from "./note.js";
import { anchorOf, wantLog } from "./policy.js";
import { LEVELS, Question } from "./question.js";
import { verifyRow } from "./rows.js";
import { mapRoot, verifyMapProof } from "./sparse.js";
import {
  descriptorDigest,
  ERASED,
  HELD,
  parsePartyHead,
  parseState,
  parseSystemHead,
  partyValue,
  stateValue,
  systemKey,
  systemValue,
  topKey,
  vrfKeyDigest,
} from "./state.js";
import { parseDescriptor, Statement } from "./statement.js";
import { leafHash, verifyInclusion } from "./tree.js";
import { VRF_SUITE, VrfVerifier } from "./vrf.js";
import * as words from "./words.js";

/** @typedef {import("./question.js").Asked} Asked */
/** @typedef {import("./policy.js").Policy} Policy */
/** @typedef {import("./policy.js").Weighed} Weighed */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").SystemHead} SystemHead */
/** @typedef {import("./statement.js").Descriptor} Descriptor */
/** @typedef {"holds" | "undecided" | "refuted" | "provisional" | "not-anchored"} Outcome */
/** @typedef {"held" | "erased" | "excluded" | "not-excluded" | "nothing-registered"} Claim */
/** @typedef {{number: number, name: string, title: string, ok: boolean, code: string, detail: string}} Step */
/** @typedef {number | bigint} Whole a bigint where it is above 2^53 − 1 */
/**
 * @typedef {object} Result
 * @property {string} system @property {string} kind of the system @property {string} locator
 * @property {"held" | "erased" | "empty" | "not-indexed" | "never-committed"} result
 * @property {number | null} generation @property {number | null} version @property {Whole | null} entry
 * @property {string[]} not_asked declared locator types that were not asked, if anything is held
 * @property {boolean} retired @property {number | null} backup_until Unix seconds
 */
/**
 * @typedef {object} Interval
 * @property {string} system @property {string} locator
 * @property {number} hold @property {number} tombstone positions
 * @property {number | null} held_by @property {number | null} held_until times of the epochs between
 * @property {boolean} apart @property {number} erased_at @property {string} method @property {string} level
 * @property {string} ground
 */
/**
 * What a verifier concludes; the members are those of docs/spec/verify.md.
 * @typedef {object} Verdict
 * @property {Outcome} outcome @property {string} code @property {string} reason @property {string | null} hint
 * @property {string} kind @property {Claim | null} claim @property {string} sentence
 * @property {"unpinned" | "logged" | "witnessed" | "state-checked" | null} anchor
 * @property {string | null} level @property {string} why_not_higher
 * @property {Step[]} steps @property {Result[]} systems @property {Interval[]} intervals @property {string[]} not_proven
 * @property {string} origin @property {Whole} size
 * @property {number | null} epoch @property {number | null} epoch_time @property {Whole | null} existed_by
 * @property {string[]} witnesses @property {string[]} state_witnesses
 * @property {string} holder @property {string} holder_name @property {string} holder_legal_id
 * @property {string} holder_check @property {boolean} holder_ended @property {boolean} ended
 * @property {string | null} predecessor @property {number | null} predecessor_size
 * @property {string | null} predecessor_root
 */

const CLOCK_SKEW_S = 300;

/** What each kind can show; the first is what is expected if nothing else is. */
const SHOWS = {
  hold: ["held"],
  tombstone: ["erased"],
  lookup: ["excluded", "erased", "held"],
  certificate: ["excluded", "erased"],
};

/** @type {{[code: string]: Outcome}} where the kind of the error does not say it */
const OUTCOMES = {
  "bundle/format": "undecided",
  "claim/backup": "provisional",
  "freshness/old": "provisional",
  "keepsake/hold": "undecided",
};

/** @param {AttestError} error @returns {Outcome} */
function outcomeOf(error) {
  const other = OUTCOMES[error.code];
  if (other !== undefined) return other;
  if (error.kind === "unavailable") return "undecided";
  return error.kind === "untrusted" ? "not-anchored" : "refuted";
}

/**
 * Verify a bundle at once.
 *
 * Throws an AttestError where the question, a policy or the keepsake cannot be read or contradicts itself.
 * @param {Uint8Array} encoded the bundle
 * @param {Asked} asked
 * @param {(step: Step) => void} [onStep] told of each step as it is finished
 * @returns {Verdict}
 */
export function verify(encoded, asked, onStep = () => {}) {
  const run = verifySteps(encoded, asked);
  for (;;) {
    const { done, value } = run.next();
    if (done) return value;
    if (value !== null) onStep(value);
  }
}

/**
 * Verify a bundle as `verify` does, giving way to whatever else the page does at least every `slice` milliseconds.
 * @param {Uint8Array} encoded @param {Asked} asked @param {(step: Step) => void} [onStep]
 * @param {{slice?: number, signal?: AbortSignal}} [more]
 * @returns {Promise<Verdict>}
 */
export async function verifyAsync(encoded, asked, onStep = () => {}, { slice = 12, signal } = {}) {
  const run = verifySteps(encoded, asked);
  let since = performance.now();
  for (;;) {
    const { done, value } = run.next();
    if (done) return value;
    if (value !== null) onStep(value);
    if (value !== null || performance.now() - since > slice) {
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      since = performance.now();
    }
  }
}

/**
 * Verify a bundle step by step: yields each finished step, and null now and then within a long one.
 * @param {Uint8Array} encoded @param {Asked} asked
 * @returns {Generator<Step | null, Verdict, void>}
 */
export function* verifySteps(encoded, asked) {
  return yield* new Verification(new Question(asked)).run(() => parseBundleJson(encoded));
}

/**
 * An entry of the bundle, once it is known to be in the log.
 * @typedef {{position: number, statement: Statement}} Entry
 */
/** @typedef {{id: string, head: SystemHead, descriptor: Descriptor}} System */
/** @typedef {{locator: string, system: System, state: State | null, index: Uint8Array}} Shown */

/** @typedef {{position: number, number: number, time: number, root: Uint8Array}} Epoch */

/** The epochs shown, by position: what stands before or behind an entry, found without going through all of them. */
class Epochs {
  /** @param {Epoch[]} epochs ascending by position */
  constructor(epochs) {
    this.epochs = epochs;
    /** @type {Epoch[]} of each and those before it, the one with the greatest number */
    this.greatest = [];
    /** @type {number[]} likewise the greatest time */
    this.latest = [];
    /** @type {Epoch[]} of each and those behind it, the one with the least number */
    this.least = [];
    for (const [i, epoch] of epochs.entries()) {
      this.greatest.push(i > 0 && this.greatest[i - 1].number >= epoch.number ? this.greatest[i - 1] : epoch);
      this.latest.push(i > 0 ? Math.max(this.latest[i - 1], epoch.time) : epoch.time);
    }
    for (let i = epochs.length - 1; i >= 0; i--) {
      this.least[i] =
        i + 1 < epochs.length && this.least[i + 1].number < epochs[i].number ? this.least[i + 1] : epochs[i];
    }
  }

  /** @param {number | bigint} position @returns {number} how many stand before it */
  countBefore(position) {
    let [low, high] = [0, this.epochs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.epochs[middle].position < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {number} position */
  leastAfter(position) {
    return this.least[this.countBefore(position + 1)] ?? null;
  }

  /** @param {number} position */
  greatestBefore(position) {
    return this.greatest[this.countBefore(position) - 1] ?? null;
  }

  /** @param {bigint} position @returns {number | null} the greatest time of those before it */
  latestBefore(position) {
    return this.latest[this.countBefore(position) - 1] ?? null;
  }
}

class Verification {
  /** @type {Bundle} */ bundle = /** @type {any} */ (null);
  /** @type {Map<number, Entry>} by position */ entries = new Map();
  /** @type {Epochs} */ epochs = new Epochs([]);
  /** @type {Uint8Array} */ statementsKey = new Uint8Array();
  /** @type {VerifierKey[]} log keys of either policy that signed */ logKeys = [];
  /** @type {bigint | null} */ existedBy = null;
  /** @type {import("./state.js").PartyHead} */ head = /** @type {any} */ (null);
  /** @type {{key: Uint8Array, kid: Uint8Array, from: number, until: number | null}[]} signing keys of the head */
  signers = [];
  /** @type {Uint8Array} what the last epoch commits */ topRoot = new Uint8Array();
  /** @type {Uint8Array[]} of each locator asked */ betas = [];
  /** @type {number[]} of each locator asked, its number in the bundle */ numbers = [];
  /** @type {System[]} */ systems = [];
  /** @type {Map<string, bigint>} of each locator, where its newest erased state was set */ newestErased = new Map();
  /** @type {Shown[]} for each locator asked and each system */ shown = [];

  /** @param {Question} question */
  constructor(question) {
    this.question = question;
    this.typesAsked = new Set(question.locators.map((locator) => parseLocator(locator).type));
    /** @type {Verdict} */
    this.verdict = {
      outcome: "holds",
      code: "claim/holds",
      reason: "the claim asked for holds at the level asked for",
      hint: null,
      kind: "",
      claim: null,
      sentence: "",
      anchor: null,
      level: null,
      why_not_higher: "",
      steps: [],
      systems: [],
      intervals: [],
      not_proven: [],
      origin: "",
      size: 0,
      epoch: null,
      epoch_time: null,
      existed_by: null,
      witnesses: [],
      state_witnesses: [],
      holder: question.holder,
      holder_name: "",
      holder_legal_id: "",
      holder_check: "",
      holder_ended: false,
      ended: false,
      predecessor: null,
      predecessor_size: null,
      predecessor_root: null,
    };
  }

  /** @returns {[string, () => Generator<null, string, void>][]} names and what each does; it returns its detail */
  steps() {
    return [
      ["question", this.checkQuestion],
      ["checkpoint", this.checkCheckpoint],
      ["entries", this.checkEntries],
      ["genesis", this.checkGenesis],
      ["epoch", this.checkEpochs],
      ["holder", this.checkHolder],
      ["index", this.checkIndexes],
      ["systems", this.checkSystems],
      ["states", this.checkStates],
      ["rows", this.checkRows],
      ["claim", this.judgeClaim],
      ["freshness", this.judgeAge],
      ["level", this.judgeLevel],
    ];
  }

  /**
   * @param {() => import("./json.js").Json | null | Bundle} source of the bundle
   * @returns {Generator<Step | null, Verdict, void>}
   */
  *run(source) {
    /** @type {[string, () => Generator<null, string, void>][]} */
    const steps = [["bundle", () => this.readBundle(source)], ...this.steps()];
    const { verdict } = this;
    for (const [name, check] of steps) {
      const title = words.TITLES[name];
      const number = verdict.steps.length + 1;
      /** @type {Step} */
      let step;
      let failed = false;
      try {
        const detail = yield* check.call(this);
        step = { number, name, title, ok: true, code: name, detail };
      } catch (error) {
        if (!(error instanceof AttestError)) throw error;
        failed = true;
        step = { number, name, title, ok: false, code: error.code, detail: error.message };
        verdict.outcome = outcomeOf(error);
        verdict.code = error.code;
        verdict.reason = error.message;
        verdict.hint = error.hint || words.hintFor(verdict.outcome, error.code);
      }
      verdict.steps.push(step);
      yield step;
      if (failed) break;
    }
    verdict.not_proven = words.notProven(verdict);
    return verdict;
  }

  // 1
  /** @param {() => import("./json.js").Json | null | Bundle} source @returns {Generator<null, string, void>} */
  *readBundle(source) {
    const read = source();
    if (read === null) throw malformed("bundle/format", "not an attest bundle");
    yield null;
    this.bundle = read instanceof Bundle ? read : new Bundle(read);
    const { kind, signed, entries } = this.bundle;
    this.verdict.kind = kind;
    this.verdict.origin = signed.checkpoint.origin;
    this.verdict.size = whole(signed.checkpoint.size);
    return `a ${kind} bundle of ${entries.length} entries`;
  }

  // 2
  *checkQuestion() {
    const { bundle, question } = this;
    if (bundle.holder.party !== question.holder) {
      throw refuted("question/holder", `the bundle is about another holder than ${question.holder}`);
    }
    const shows = SHOWS[bundle.kind];
    if (question.expect !== null && !shows.includes(question.expect)) {
      throw refuted("question/kind", `a ${bundle.kind} bundle cannot show whether it is ${question.expect}`);
    }
    if (this.isOfOneRow() && (bundle.locators.length !== 1 || question.locators.length !== 1)) {
      const count = `${bundle.locators.length} locators, asked: ${question.locators.length}`;
      throw refuted("question/locators", `a ${bundle.kind} bundle is about one locator; it has ${count}`);
    }
    return `asked: is it ${this.expected()}`;
  }

  isOfOneRow() {
    return this.bundle.kind === "hold" || this.bundle.kind === "tombstone";
  }

  expected() {
    return this.question.expect ?? SHOWS[this.bundle.kind][0];
  }

  // 3
  *checkCheckpoint() {
    const { question, verdict } = this;
    const { policy, statePolicy } = question;
    const { signed } = this.bundle;
    const { origin, size } = signed.checkpoint;
    if (size < 2n) throw malformed("checkpoint/size", `size ${size}, but no checkpoint is below 2`);
    if (question.keepsake !== null && question.keepsake.origin !== origin) {
      throw refuted("question/origin", `the keepsake is of another log than ${origin}`);
    }
    const weighed = policy.weigh(signed);
    yield null;
    const stateWeighed = statePolicy === null ? null : statePolicy.weigh(signed);
    if (policy.logs.length === 0) {
      verdict.anchor = "unpinned";
      throw untrusted("checkpoint/unpinned", "the policy pins no log key");
    }
    wantLog(weighed);
    const anchor = anchorOf(policy, weighed);
    verdict.anchor = anchor;
    this.existedBy = weighed.existedBy;
    verdict.existed_by = weighed.existedBy === null ? null : whole(weighed.existedBy);
    verdict.witnesses = weighed.witnesses.map(({ key }) => key.name);
    if (!weighed.quorum) throw untrusted("checkpoint/quorum", "the policy's quorum of witnesses is not met");
    this.logKeys = weighed.logs;
    if (statePolicy !== null && stateWeighed !== null) {
      if (statePolicy.logs.length > 0) wantLog(stateWeighed);
      verdict.state_witnesses = stateWeighed.witnesses.map(({ key }) => key.name);
      if (stateWeighed.existedBy === null) {
        throw untrusted("checkpoint/state-quorum", "the quorum of state witnesses is not met");
      }
      if (anchor === "witnessed") verdict.anchor = "state-checked";
      this.logKeys = [...weighed.logs, ...stateWeighed.logs];
    }
    return `${origin} at size ${size}: ${verdict.anchor}`;
  }

  // 4
  /** @returns {Generator<null, string, void>} */
  *checkEntries() {
    const { size, root } = this.bundle.signed.checkpoint;
    let before = -1;
    for (const { position, entry, path } of this.bundle.entries) {
      if (position <= before) throw malformed("bundle/entries", `entry ${position} stands behind ${before}`);
      before = position;
      verifyInclusion(leafHash(entry), BigInt(position), size, root, path);
      this.entries.set(position, { position, statement: new Statement(entry) });
      yield null;
    }
    return `entries in the log: ${this.entries.size}`;
  }

  /** @param {number | bigint} position @returns {Entry} */
  entry(position) {
    // Number() rounds what is above 2^53, to something that no position in a bundle can be.
    const found = this.entries.get(Number(position));
    if (found === undefined) throw malformed("bundle/entry-missing", `entry ${position} is needed and not shown`);
    return found;
  }

  logIssuer() {
    return `https://${this.bundle.signed.checkpoint.origin}`;
  }

  // 5
  /** @returns {Generator<null, string, void>} */
  *checkGenesis() {
    const { signed } = this.bundle;
    const { origin } = signed.checkpoint;
    const { statement } = this.entry(0);
    const { payload } = statement;
    if (payload.kind !== "log/1" || payload.origin !== origin) {
      throw refuted("genesis/origin", `entry 0 is not the log/1 of ${origin}`);
    }
    statement.verify(payload.keys.statements);
    const { note_ed25519, note_mldsa44 } = payload.keys;
    for (const { type, key } of this.logKeys) {
      if (!equal(key, type === ED25519_NOTE ? note_ed25519 : note_mldsa44)) {
        throw refuted("genesis/keys", "a log key signed that entry 0 does not name");
      }
    }
    admitEd25519(note_ed25519);
    admitMldsa44(note_mldsa44);
    yield null;
    signed.verifyLines(new VerifierKey(origin, ED25519_NOTE, note_ed25519), false);
    signed.verifyLines(new VerifierKey(origin, MLDSA44_COSIGNATURE, note_mldsa44), false);
    this.statementsKey = payload.keys.statements;
    if (payload.predecessor !== null) {
      this.verdict.predecessor = payload.predecessor.origin;
      this.verdict.predecessor_size = payload.predecessor.size;
      this.verdict.predecessor_root = hex(payload.predecessor.root);
    }
    return "entry 0 names this log and the pinned key";
  }

  /**
   * Check that an entry is the log's own, of this kind.
   * @param {Entry} entry @param {string} kind
   */
  wantOfLog({ position, statement }, kind) {
    if (statement.payload.kind !== kind) {
      throw refuted("entry/kind", `entry ${position} is ${statement.payload.kind}, want ${kind}`);
    }
    if (!this.isOfLog(statement)) throw refuted("entry/issuer", `entry ${position} is not this log's own`);
    statement.verify(this.statementsKey);
  }

  /** @param {Statement} statement */
  isOfLog({ issuer, audience }) {
    return issuer === this.logIssuer() && audience === this.bundle.signed.checkpoint.origin;
  }

  // 6
  /** @returns {Generator<null, string, void>} */
  *checkEpochs() {
    const { verdict } = this;
    const { size } = this.bundle.signed.checkpoint;
    const last = this.entry(size - 1n);
    this.wantOfLog(last, "epoch/1");
    const { number, time, root } = last.statement.payload;
    this.topRoot = root;
    verdict.epoch = number;
    verdict.epoch_time = time;
    const shown = [];
    for (const entry of this.entries.values()) {
      if (entry.statement.payload.kind !== "epoch/1") continue;
      if (entry !== last) this.wantOfLog(entry, "epoch/1");
      shown.push({ position: entry.position, ...entry.statement.payload });
      yield null;
    }
    this.epochs = new Epochs(/** @type {any} */ (shown));
    for (const { position, statement } of this.entries.values()) {
      if (statement.payload.kind !== "party-end/1" || !this.isOfLog(statement) || statement.about !== null) continue;
      statement.verify(this.statementsKey);
      if (BigInt(position) !== size - 2n) {
        throw refuted("entry/after-end", `the log ended with entry ${position}, but there are ${size} entries`);
      }
      verdict.ended = true;
    }
    return `epoch ${number} commits the state after entry ${size - 2n}`;
  }

  // 7
  /** @returns {Generator<null, string, void>} */
  *checkHolder() {
    const { bundle, verdict } = this;
    const { party, head, proof } = bundle.holder;
    const value = verifyMapProof(this.topRoot, topKey(party), proof);
    if (value === null) throw refuted("holder/absent", `${party} is not admitted at this checkpoint`);
    if (!equal(value, partyValue(head))) throw refuted("holder/head", "the head shown is not the committed one");
    this.head = parsePartyHead(head);
    this.signers = this.head.keys
      .filter(({ use }) => use === "sign")
      .map(({ key, from, until }) => ({ key, kid: thumbprint(key), from, until }));
    if (this.head.party !== party) throw refuted("holder/head", `the head is that of another party than ${party}`);
    if (this.head.role !== "holder") throw refuted("holder/role", `${party} is of role ${this.head.role}`);
    const admission = this.entry(this.head.admitted);
    this.wantOfLog(admission, "party/1");
    yield null;
    const { about, payload } = admission.statement;
    if (payload.id !== party || about !== party) {
      throw refuted("holder/admission", `entry ${admission.position} does not admit ${party}`);
    }
    const bound = this.head.vrf[0]?.hash;
    const { suite, key } = bundle.vrf;
    if (bound === undefined || suite !== VRF_SUITE || !equal(bound, vrfKeyDigest(VRF_SUITE, key))) {
      throw refuted("holder/vrf-key", "the VRF key shown is not the one the head binds");
    }
    verdict.holder_name = payload.name;
    verdict.holder_legal_id = payload.legal_id;
    verdict.holder_check = payload.check.method;
    verdict.holder_ended = this.head.status === 2;
    return `${party} is ${payload.name} (${payload.legal_id}), checked by ${payload.check.method}`;
  }

  // 8
  /** @returns {Generator<null, string, void>} */
  *checkIndexes() {
    const { bundle, question } = this;
    /** @type {VrfVerifier | null} */
    let verifier = null;
    for (const locator of question.locators) {
      const { type } = parseLocator(locator);
      const alpha = alphaOf(locator);
      /** @type {Uint8Array | null} */
      let beta = null;
      for (let number = 0; number < bundle.locators.length && beta === null; number++) {
        if (bundle.locators[number].type !== type || this.numbers.includes(number)) continue;
        verifier ??= new VrfVerifier(bundle.vrf.key);
        try {
          beta = verifier.verify(alpha, bundle.locators[number].proof);
          this.numbers.push(number);
        } catch (error) {
          if (!(error instanceof AttestError) || error.code !== "vrf/mismatch") throw error;
        }
        yield null;
      }
      if (beta === null) throw refuted("index/other-locator", "no VRF proof in the bundle is about a locator asked");
      this.betas.push(beta);
    }
    return `indexes derived from their locators: ${this.betas.length}`;
  }

  // 9
  /** @returns {Generator<null, string, void>} */
  *checkSystems() {
    if (this.isOfOneRow()) return "not needed for this kind";
    const { systems } = this.bundle;
    /** @type {string[]} */
    const ids = [];
    for (const { head } of systems) {
      const id = systemNamed(head);
      if (ids.length > 0 && compareText(ids[ids.length - 1], id) >= 0) {
        throw malformed("systems/order", `system ${ids.length} does not ascend`);
      }
      ids.push(id);
    }
    const { count, root } = this.head.systems;
    if (systems.length !== count) {
      throw refuted("systems/count", `${systems.length} systems are shown, but ${count} are registered`);
    }
    yield null;
    const bindings = systems.map(({ head }, i) => {
      return /** @type {[Uint8Array, Uint8Array]} */ ([systemKey(ids[i]), systemValue(head)]);
    });
    if (!equal(mapRoot(bindings), root)) throw refuted("systems/root", "the systems shown are not the committed ones");
    for (const [i, { head: encoded, descriptor: described }] of systems.entries()) {
      const head = parseSystemHead(encoded);
      if (!equal(head.descriptor, descriptorDigest(described))) {
        throw refuted("systems/descriptor", `the descriptor of ${ids[i]} is not the committed one`);
      }
      const descriptor = parseDescriptor(described);
      if (descriptor.id !== ids[i]) throw refuted("systems/descriptor", `${ids[i]} has the descriptor of another`);
      this.systems.push({ id: ids[i], head, descriptor });
      yield null;
    }
    return `all ${count} registered systems are shown`;
  }

  // 10
  /** @returns {Generator<null, string, void>} */
  *checkStates() {
    if (this.isOfOneRow()) return "not needed for this kind";
    const { bundle, question, systems } = this;
    const { locators, states } = bundle;
    const inOrder = states.every(
      ({ locator, system }, i) =>
        locator === Math.floor(i / systems.length) && system === systems[i % systems.length].id,
    );
    if (states.length !== locators.length * systems.length || !inOrder) {
      throw malformed("states/order", "not one state per locator and system, in order");
    }
    /** @type {{locator: string, system: System, encoded: Uint8Array | null, index: Uint8Array}[]} */
    const proven = [];
    for (const [asked, locator] of question.locators.entries()) {
      for (const [i, system] of systems.entries()) {
        const { state, proof } = states[this.numbers[asked] * systems.length + i];
        const index = indexOf(question.holder, system.id, this.betas[asked]);
        const value = verifyMapProof(system.head.root, keyOf(index), proof);
        if (state !== null && value === null) {
          throw refuted("states/absent", `a state is shown for ${system.id}, where the map has none`);
        }
        if (value !== null && (state === null || !equal(value, stateValue(state)))) {
          throw refuted("states/value", `the state shown for ${system.id} is not the committed one`);
        }
        proven.push({ locator, system, encoded: state, index });
        yield null;
      }
    }
    this.shown = proven.map(({ encoded, ...rest }) => ({ ...rest, state: encoded && parseState(encoded) }));
    yield* this.checkKeepsake();
    return `states proven: ${this.shown.length}`;
  }

  /** @returns {Generator<null, void, void>} */
  *checkKeepsake() {
    const { question } = this;
    const { keepsake } = question;
    if (keepsake === null) return;
    const { origin, size } = this.bundle.signed.checkpoint;
    const states = new Map(
      this.shown.filter(({ locator }) => locator === keepsake.locator).map(({ system, state }) => [system.id, state]),
    );
    let unproven = null;
    for (const hold of keepsake.holds) {
      const state = states.get(hold.system);
      if (BigInt(hold.entry) >= size || (state != null && state.position >= BigInt(hold.entry))) continue;
      const { bundle } = hold;
      const [row] = bundle.rows;
      const isIt = bundle.signed.checkpoint.origin === origin && row.system === hold.system && row.entry === hold.entry;
      if (isIt && (yield* this.holds(bundle, keepsake.locator))) {
        throw refuted("states/keepsake", `the keepsake proves a hold in ${hold.system}, which the map does not show`);
      }
      unproven = hold;
    }
    if (unproven !== null) {
      throw refuted("keepsake/hold", `the keepsake does not prove its hold in ${unproven.system}`);
    }
  }

  /**
   * Say whether a keepsake's own bundle holds, under the same policy and clock.
   * @param {Bundle} bundle @param {string} locator
   * @returns {Generator<null, boolean, void>}
   */
  *holds(bundle, locator) {
    const asked = Object.assign(Object.create(Question.prototype), this.question, {
      statePolicy: null,
      keepsake: null,
      locators: [locator],
      expect: null,
      level: "A1",
    });
    const run = new Verification(asked).run(() => bundle);
    for (;;) {
      const { done, value } = run.next();
      if (done) return value.outcome === "holds";
      yield null;
    }
  }

  // 11
  /** @returns {Generator<null, string, void>} */
  *checkRows() {
    const { bundle, question } = this;
    if (this.isOfOneRow()) {
      const [row] = bundle.rows;
      if (row.locator !== 0) throw malformed("rows/order", `the row is of locator ${row.locator}, want 0`);
      const index = indexOf(question.holder, row.system, this.betas[0]);
      this.checkRow(row, `${bundle.kind}/1`, index);
      return `entry ${row.entry} names the row in ${row.system}`;
    }
    if (bundle.kind === "lookup") return "not needed for this kind";
    // A hold and then a tombstone for each erased state, of locators not asked as well.
    const erased = bundle.states.filter(({ state }) => state?.[0] === ERASED);
    const inOrder = bundle.rows.every(({ locator, system }, i) => {
      const state = erased[i >> 1];
      return state !== undefined && state.locator === locator && state.system === system;
    });
    if (bundle.rows.length !== 2 * erased.length || !inOrder) {
      throw malformed("rows/order", "not a hold and a tombstone for each erased state, in order");
    }
    const numberOf = new Map(this.systems.map(({ id }, number) => [id, number]));
    for (const [i, { locator, system }] of erased.entries()) {
      const asked = this.numbers.indexOf(locator);
      if (asked < 0) continue;
      const shown = this.shown[asked * this.systems.length + Number(numberOf.get(system))];
      const [hold, tombstone] = [bundle.rows[2 * i], bundle.rows[2 * i + 1]];
      this.checkRow(hold, "hold/1", shown.index);
      yield null;
      const { payload } = this.checkRow(tombstone, "tombstone/1", shown.index);
      const { position, commitment } = /** @type {State} */ (shown.state);
      if (BigInt(tombstone.entry) !== position || !equal(tombstone.commitment, commitment)) {
        throw refuted("rows/state", `the tombstone shown for ${shown.system.id} did not set its state`);
      }
      if (hold.entry >= tombstone.entry || !equal(hold.commitment, commitment)) {
        throw refuted("rows/hold", `the hold shown for ${shown.system.id} is not what the tombstone erased`);
      }
      this.verdict.intervals.push(this.interval(shown, hold.entry, tombstone.entry, payload));
      yield null;
    }
    return `${this.verdict.intervals.length} erasures, each with its hold`;
  }

  /**
   * @param {import("./bundle.js").BundleRow} row @param {string} kind of its statement @param {Uint8Array} index
   * @returns {Statement}
   */
  checkRow(row, kind, index) {
    const { statement } = this.entry(row.entry);
    const { payload } = statement;
    if (payload.kind !== kind) throw refuted("rows/kind", `entry ${row.entry} is ${payload.kind}, want ${kind}`);
    if (statement.issuer !== `https://${this.question.holder}` || statement.stream !== row.system) {
      throw refuted("rows/issuer", `entry ${row.entry} is of another holder or system`);
    }
    if (statement.audience !== this.bundle.signed.checkpoint.origin) {
      throw refuted("rows/audience", `entry ${row.entry} was made for another log`);
    }
    const signer = this.signers.find(
      ({ kid, from, until }) => equal(kid, statement.kid) && from <= row.entry && (until === null || row.entry < until),
    );
    if (signer === undefined) throw refuted("rows/key", `entry ${row.entry} is signed by no key in force there`);
    statement.verify(signer.key);
    verifyRow(concat(index, row.commitment), row.position, payload.count, payload.root, row.path);
    return statement;
  }

  /**
   * @param {Shown} shown @param {number} hold @param {number} tombstone positions
   * @param {{[name: string]: any}} payload of the tombstone
   * @returns {Interval}
   */
  interval({ system, locator }, hold, tombstone, payload) {
    const first = this.epochs.leastAfter(hold);
    const last = this.epochs.greatestBefore(tombstone);
    return {
      system: system.id,
      locator,
      hold,
      tombstone,
      held_by: first?.time ?? null,
      held_until: last?.time ?? null,
      apart: first !== null && last !== null && last.number > first.number,
      erased_at: payload.erased_at,
      method: payload.method,
      level: payload.level,
      ground: payload.ground,
    };
  }

  // 12
  *judgeClaim() {
    const { bundle, verdict } = this;
    for (const { locator, state } of this.shown) {
      if (state?.status !== ERASED) continue;
      const newest = this.newestErased.get(locator);
      if (newest === undefined || state.position > newest) this.newestErased.set(locator, state.position);
    }
    verdict.systems = this.shown.map((shown) => this.result(shown));
    verdict.claim = this.claim(verdict.systems);
    verdict.level = this.level(verdict.claim);
    verdict.why_not_higher = words.whyNotHigher(verdict);
    verdict.sentence = words.sentence(verdict, this.question.locators, bundle.rows[0], this.systems.length);
    if (!this.isOfOneRow()) this.wantClaim(verdict.claim, verdict.systems);
    return verdict.claim;
  }

  /** @param {Shown} shown @returns {Result} */
  result({ locator, system, state }) {
    const { descriptor, head, id } = system;
    const asked = this.typesAsked;
    /** @returns {Result["result"]} */
    const result = () => {
      if (state !== null) return state.status === HELD ? "held" : "erased";
      if (head.held === 0) return "empty";
      return descriptor.locators.some((type) => asked.has(type)) ? "never-committed" : "not-indexed";
    };
    const found = result();
    return {
      system: id,
      kind: descriptor.kind,
      locator,
      result: found,
      generation: state?.generation ?? null,
      version: state?.version ?? null,
      entry: state === null ? null : whole(state.position),
      not_asked: head.held > 0 ? descriptor.locators.filter((type) => !asked.has(type)) : [],
      retired: head.status === 2,
      backup_until: found === "held" ? this.backupUntil(locator, descriptor) : null,
    };
  }

  /**
   * Return until when a backup may still hold this locator, or null: it is no backup, or nothing says when its cycle
   * began.
   * @param {string} locator @param {Descriptor} descriptor
   */
  backupUntil(locator, { kind, backup_cycle }) {
    if (kind !== "backup" || backup_cycle === null) return null;
    const newest = this.newestErased.get(locator);
    const begun = newest === undefined ? null : this.epochs.latestBefore(newest);
    return begun === null ? null : begun + backup_cycle;
  }

  /** @param {Result[]} results @returns {Claim} */
  claim(results) {
    if (this.bundle.kind === "hold") return "held";
    if (this.bundle.kind === "tombstone") return "erased";
    if (this.systems.length === 0) return "nothing-registered";
    if (this.expected() === "held" && results.some(({ result }) => result === "held")) return "held";
    return results.some(({ result }) => result === "held" || result === "not-indexed") ? "not-excluded" : "excluded";
  }

  /** @param {Claim} claim @param {Result[]} results */
  wantClaim(claim, results) {
    if (this.expected() === "held") {
      if (claim !== "held") throw refuted("claim/not-held", "nothing is held under these locators");
      return;
    }
    if (claim === "nothing-registered") {
      throw refuted("claim/nothing-registered", "the holder has registered no system, so nothing is excluded");
    }
    const onlyBackups = claim === "not-excluded" && this.onlyBackupsHold(results);
    if (claim === "not-excluded" && !onlyBackups) {
      const still = results.filter(({ result }) => result === "held" || result === "not-indexed");
      const named = still.slice(0, 5).map(({ system, result }) => `${system} (${result})`);
      throw refuted("claim/not-excluded", `not excluded: ${named.join(", ")}`);
    }
    const wantsErased = this.expected() === "erased" || this.bundle.kind === "certificate";
    if (wantsErased && !results.some(({ result }) => result === "erased")) {
      throw refuted("claim/not-erased", "no system shows an erasure of these locators");
    }
    const open = results.find(({ not_asked }) => not_asked.length > 0);
    if (this.bundle.kind === "certificate" && open !== undefined) {
      throw refuted("claim/type-not-asked", `${open.system} also indexes by ${open.not_asked.join(", ")}`);
    }
    if (onlyBackups) throw refuted("claim/backup", "only backups still hold, within their declared cycle");
  }

  /** @param {Result[]} results */
  onlyBackupsHold(results) {
    return results.every(({ result, backup_until }) => {
      if (result === "held") return backup_until !== null && backup_until >= this.question.now;
      return result !== "not-indexed";
    });
  }

  /** @param {Claim} claim */
  level(claim) {
    const { anchor, intervals } = this.verdict;
    if (anchor === "logged") return "A1";
    return anchor === "state-checked" && claim === "excluded" && intervals.every(({ apart }) => apart) ? "A3" : "A2";
  }

  // 13
  *judgeAge() {
    const { existedBy, verdict } = this;
    const { maxAge, now } = this.question;
    const epochTime = /** @type {number} */ (verdict.epoch_time);
    const latest = existedBy !== null && existedBy > epochTime ? existedBy : BigInt(epochTime);
    if (latest > BigInt(now + CLOCK_SKEW_S)) {
      throw unavailable("freshness/clock", `the checkpoint is of ${latest}, but the clock says ${now}`);
    }
    if (this.isOfOneRow()) return "a past event does not age";
    const age = now - Number(existedBy ?? epochTime);
    if (age > maxAge) {
      const end = verdict.ended ? "; the log has ended, and there is no newer one" : "";
      throw unavailable("freshness/old", `the checkpoint is ${age} s old, asked for at most ${maxAge} s${end}`);
    }
    return `${age} s old`;
  }

  // 14
  *judgeLevel() {
    const { level } = this.verdict;
    if (level === null || LEVELS.indexOf(level) < LEVELS.indexOf(this.question.level)) {
      throw untrusted("level/too-low", `${level} is reached, ${this.question.level} was asked for`);
    }
    return level;
  }
}

/** @param {bigint} value @returns {Whole} a number where it is exact */
const whole = (value) => (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value);

/**
 * Return the id in a system head, of which nothing else is known yet.
 * @param {Uint8Array} encoded
 */
function systemNamed(encoded) {
  const head = decode(encoded);
  const id = head instanceof Map ? head.get("system") : null;
  if (typeof id !== "string") throw malformed("head/fields", "a system head without the id of its system");
  return id;
}

/**
 * Write a verdict as JSON. JSON.stringify refuses bigints, which sizes and times above 2^53 − 1 are.
 * @param {any} value
 * @returns {string}
 */
export function verdictJson(value) {
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return `[${value.map(verdictJson).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, member]) => `${JSON.stringify(name)}:${verdictJson(member)}`)
    .join(",")}}`;
}
