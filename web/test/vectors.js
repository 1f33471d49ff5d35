// Runs the files of tests/vectors, in Node and in browsers: a file's JSON in, what disagrees with it out.

import { decode, encode } from "../lib/cbor.js";
import { Checkpoint, cosignatureMessage, SignedCheckpoint, TlogProof } from "../lib/checkpoint.js";
import { blindOf, commitmentOf, indexOf, keyOf, recordArray, recordDigest } from "../lib/commitments.js";
import * as enc from "../lib/encoding.js";
import { AttestError } from "../lib/errors.js";
import { thumbprint, verifyEd25519 } from "../lib/keys.js";
import { alphaOf, normaliseLocator, parseLocator } from "../lib/locators.js";
import { Note, VerifierKey } from "../lib/note.js";
import { anchorOf, Policy, wantLog } from "../lib/policy.js";
import { RowFile, verifyRow } from "../lib/rows.js";
import { mapRoot, PrunedMap, verifyMapProof } from "../lib/sparse.js";
import * as state from "../lib/state.js";
import { encodeDescriptor, parseDescriptor, possessionMessage, Statement } from "../lib/statement.js";
import * as tree from "../lib/tree.js";
import { BEGINNING, verifyTransition } from "../lib/transition.js";
import { encodeToCurve, verifyVrf } from "../lib/vrf.js";

const { hex } = enc;
const unhex = (text) => enc.parseHex(text);

/** Write any value of ours as plain JSON: bytes in hex, bigints as decimals, Maps as objects. */
export function plain(value) {
  if (value instanceof Uint8Array) return hex(value);
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, member]) => [key, plain(member)]));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
  }
  return value;
}

/** Sort the keys of objects, so that equal values have equal texts. */
const canonical = (value) =>
  JSON.stringify(value, (_, member) =>
    member !== null && typeof member === "object" && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );

export function same(actual, wanted, what = "result") {
  const [a, b] = [canonical(plain(actual)), canonical(wanted)];
  if (a !== b) throw new Error(`${what} is ${a?.slice(0, 500)}, want ${b?.slice(0, 500)}`);
}

/** CBOR in diagnostic notation, as the vectors write it. */
export function diagnostic(value) {
  if (value instanceof Uint8Array) return `h'${hex(value)}'`;
  if (Array.isArray(value)) return `[${value.map(diagnostic).join(", ")}]`;
  if (value instanceof Map) {
    return `{${[...value].map(([key, member]) => `${diagnostic(key)}: ${diagnostic(member)}`).join(", ")}}`;
  }
  // Non-ASCII as escapes, as the vectors have it.
  return JSON.stringify(value).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const wireOf = (c) => (c.wire_base64 === undefined ? enc.utf8(c.wire) : enc.parseBase64(c.wire_base64));
const textOf = (c) => enc.parseUtf8(wireOf(c));
const path = (hashes) => hashes.map(unhex);

const CODECS = {
  decimal: (c) => enc.parseDecimal(c.text).toString(),
  hex: (c) => hex(enc.parseHex(c.text, c.size)),
  base64: (c) => hex(enc.parseBase64(c.text, c.size)),
  base64url: (c) => hex(enc.parseBase64url(c.text, c.size)),
};

/** Each file's runner: takes one case, throws an AttestError with its code, or an Error where a value differs. */
export const RUNNERS = {
  "encoding/texts.json": (c) => same(CODECS[c.codec](c), c.value),
  "encoding/labelled.json": (c) => same(enc.labelled(c.name, ...c.parts.map(unhex)), c.hash),
  "encoding/cbor.json": (c) => {
    const value = decode(unhex(c.encoded));
    same(diagnostic(value), c.value);
    same(encode(value), c.encoded, "encoded again");
  },
  "locators/canonical.json": (c) => {
    same(parseLocator(c.locator), { type: c.type, value: c.value });
    same(alphaOf(c.locator), c.alpha);
  },
  "locators/normalised.json": (c) => {
    // Help may differ: without a table of the world's telephone numbers, those that need it are refused.
    if (c.needs === "phonenumbers") {
      const said = (() => {
        try {
          return normaliseLocator(c.text);
        } catch (error) {
          return error.code;
        }
      })();
      same(said, "locator/phone");
    } else {
      same(normaliseLocator(c.text), c.locator);
    }
  },
  "vrf/rfc9381-b3.json": vrfProof,
  "vrf/proofs.json": vrfProof,
  "vrf/refused.json": (c) => verifyVrf(unhex(c.pk), unhex(c.alpha), unhex(c.pi)),
  "commitments/chain.json": (c) => {
    same(alphaOf(c.locator), c.alpha, "alpha");
    const index = indexOf(c.holder, c.system, unhex(c.beta));
    same(index, c.index, "index");
    same(keyOf(index), c.key, "key");
    const digest = recordDigest(c.records.map((record) => enc.sha256(unhex(record))));
    same(digest, c.record_digest, "record digest");
    same(blindOf(unhex(c.salt)), c.blind, "blind");
    same(commitmentOf(index, unhex(c.blind), digest), c.commitment, "commitment");
  },
  "commitments/record-digests.json": (c) => {
    same(recordDigest(c.hashes.map(unhex)), c.record_digest);
    same(recordArray(c.hashes.map(unhex)), c.array);
  },
  "tree/roots.json": (c) => same(tree.rootOf(c.entries.map((entry) => tree.leafHash(unhex(entry)))), c.root),
  "tree/inclusion.json": (c) =>
    tree.verifyInclusion(unhex(c.leaf), BigInt(c.index), BigInt(c.size), unhex(c.root), path(c.path)),
  "tree/consistency.json": (c) =>
    tree.verifyConsistency(BigInt(c.old_size), unhex(c.old_root), BigInt(c.new_size), unhex(c.new_root), path(c.path)),
  "tree/frontiers.json": (c) => same(new tree.Frontier(BigInt(c.size), path(c.hashes)).root(), c.root),
  "tree/tile-paths.json": (c) => {
    const tile = tree.parseTilePath(c.path);
    same({ ...tile, index: tile.index.toString() }, { level: c.level, index: c.index, width: c.width });
    same(tree.tilePath(tile), c.path);
  },
  "tree/tiles-for.json": (c) => same(tree.tilesFor(BigInt(c.old_size), BigInt(c.new_size)), c.tiles),
  "tree/bundles.json": (c) => {
    const entries = tree.parseEntryBundle(unhex(c.encoded), c.count);
    same(entries, c.entries);
    same(tree.encodeEntryBundle(entries), c.encoded);
  },
  "sparse-map/roots.json": (c) => same(mapRoot(c.bindings.map((binding) => binding.map(unhex))), c.root),
  "sparse-map/proofs.json": (c) => same(verifyMapProof(unhex(c.root), unhex(c.key), unhex(c.proof)), c.value),
  "sparse-map/pruned.json": (c) => {
    let map = PrunedMap.parse(unhex(c.pruned));
    if (c.root !== undefined) same(map.root(), c.root, "root");
    same(map.encode(), c.pruned, "encoded again");
    if (c.touch !== undefined) map.get(unhex(c.touch));
    for (const [key, value] of c.get ?? []) same(map.get(unhex(key)), value, `value of ${key}`);
    for (const [key, value] of c.changes ?? []) map = map.set(unhex(key), unhex(value));
    if (c.new_root !== undefined) same(map.root(), c.new_root, "new root");
  },
  "note/vkey.json": (c) => {
    const key = VerifierKey.parse(textOf(c));
    same([key.name, key.keyId, key.type, key.key], [c.key_name, c.key_id, c.type, c.public]);
    same(key.encode(), c.wire);
  },
  "note/note.json": (c) => {
    const note = Note.parse(textOf(c));
    same([note.text, note.lines.length], [c.text, c.signatures]);
    same(note.encode(), c.wire);
  },
  "note/checkpoint.json": (c) => {
    const checkpoint = Checkpoint.parse(textOf(c));
    same([checkpoint.origin, checkpoint.size, checkpoint.root], [c.origin, c.size, c.root]);
    same(checkpoint.encode(), c.wire);
  },
  "note/log-signatures.json": (c) => {
    const signed = SignedCheckpoint.parse(textOf(c));
    const policy = new Policy();
    policy.logs = c.vkeys.map((vkey) => ({ key: VerifierKey.parse(vkey), url: null }));
    const weighed = policy.weigh(signed);
    wantLog(weighed);
    same(
      weighed.logs.map((key) => key.encode()),
      c.verified,
    );
  },
  "note/cosignature.json": (c) => {
    const key = VerifierKey.parse(c.vkey);
    const signed = SignedCheckpoint.parse(`${c.checkpoint}\n${c.line}\n`);
    const [time] = signed.verifyLines(key, true);
    same(time, c.time);
    if (c.message !== undefined) same(cosignatureMessage(signed.checkpoint, key, time), c.message);
  },
  "policy/policy.json": (c) => {
    const canonicalWire = c.canonical_base64 ? enc.parseBase64(c.canonical_base64) : enc.utf8(c.canonical ?? "");
    same(Policy.parse(wireOf(c)).encode(), hex(canonicalWire));
  },
  "policy/verdict.json": (c) => {
    const policy = Policy.parse(enc.utf8(c.policy));
    const weighed = policy.weigh(SignedCheckpoint.parse(c.note));
    if (policy.logs.length > 0) wantLog(weighed);
    same(
      {
        anchor: anchorOf(policy, weighed),
        quorum: weighed.quorum,
        existed_by: weighed.existedBy === null ? null : Number(weighed.existedBy),
        logs: weighed.logs.map((key) => key.encode()),
        witnesses: weighed.witnesses.map(({ key, time }) => [key.name, Number(time)]),
      },
      { anchor: c.anchor, quorum: c.quorum, existed_by: c.existed_by, logs: c.logs, witnesses: c.witnesses },
    );
  },
  "tlog-proof/tlog-proof.json": (c) => {
    const proof = TlogProof.parse(wireOf(c));
    same([proof.index, proof.path, proof.extra], [c.index, c.path, c.extra]);
    same(proof.encode(), c.wire);
    if (c.entry) {
      const { size, root } = proof.signed.checkpoint;
      tree.verifyInclusion(tree.leafHash(unhex(c.entry)), proof.index, size, root, proof.path);
    }
  },
  "statements/good.json": (c) => {
    const s = new Statement(unhex(c.entry));
    same(
      [s.issuer, s.stream, s.audience, s.issuedAt.toString(), s.kid, s.seq.toString(), s.about, s.ref],
      [c.issuer, c.stream, c.audience, `${c.issued_at}`, c.kid, `${c.seq}`, c.about, c.ref],
    );
    same(s.payload, c.payload, "payload");
    same([s.leaf(), s.entryId(), s.toBeSigned()], [c.leaf, c.entry_id, c.to_be_signed]);
    s.verify(unhex(c.public));
    same(thumbprint(unhex(c.public)), c.kid, "kid");
  },
  "statements/bad.json": (c) => new Statement(unhex(c.entry)),
  "statements/signatures.json": (c) => new Statement(unhex(c.entry)).verify(unhex(c.public)),
  "statements/possession.json": (c) => {
    const message = possessionMessage(c.origin, c.party, asPayload(decode(unhex(c.payload))));
    same(message, c.message);
    for (const { public: key, kid, proof } of c.proofs) {
      verifyEd25519(unhex(key), unhex(proof), message);
      same(thumbprint(unhex(key)), kid);
    }
  },
  "rows/files.json": (c) => {
    try {
      const file = new RowFile(unhex(c.encoded));
      same([file.count, file.root()], [c.count, c.root]);
      file.wantNamed(c.count, unhex(c.root));
    } catch (error) {
      if (c.rows !== undefined) same(error.rows, c.rows, "rows");
      throw error;
    }
  },
  "rows/proofs.json": (c) => verifyRow(unhex(c.row), c.position, c.count, unhex(c.root), path(c.path)),
  "state/states.json": (c) => {
    const { status, generation, version, position, commitment } = state.parseState(unhex(c.encoded));
    same(
      [status, generation, version, position, commitment],
      [c.status, c.generation, c.version, c.position, c.commitment],
    );
    same(state.encodeState({ status, generation, version, position, commitment }), c.encoded);
    same(state.stateValue(unhex(c.encoded)), c.value);
  },
  "state/heads.json": (c) => {
    const encoded = unhex(c.encoded);
    const head = c.kind === "system" ? state.parseSystemHead(encoded) : state.parsePartyHead(encoded);
    same(head, c.fields);
    same(state.encodeHead(head), c.encoded);
    const [key, value] =
      c.kind === "system"
        ? [state.systemKey(head.system), state.systemValue(encoded)]
        : [state.topKey(head.party), state.partyValue(encoded)];
    same([key, value], [c.key, c.value]);
  },
  "state/descriptors.json": (c) => {
    const descriptor = parseDescriptor(unhex(c.encoded));
    same(descriptor, c.fields);
    same(encodeDescriptor(descriptor), c.encoded);
    same(state.descriptorDigest(unhex(c.encoded)), c.digest);
  },
  "state/chains.json": (c) => {
    let chain = new Uint8Array(32);
    for (const step of c.steps) {
      chain = state.nextChain(chain, BigInt(step.position), unhex(step.leaf));
      same(chain, step.chain);
    }
  },
  "transition/history.json": (c, file) => {
    const anchor = transitionTo(file.cases, file.cases.indexOf(c) + 1);
    same([anchor.size, anchor.root, new Statement(anchor.previous).payload.root], [Number(c.size), c.root, c.top]);
  },
  "transition/refused.json": (c, file, others) => {
    const history = others["transition/history.json"].cases;
    follow(c, transitionTo(history, history.length));
  },
  "transition/ended.json": (c, file, others) => {
    const history = others["transition/history.json"].cases;
    const ended = c.after === "history" ? history : [...history, file.cases[0]];
    const anchor = follow(c, transitionTo(ended, ended.length));
    same([anchor.size, anchor.root, new Statement(anchor.previous).payload.root], [Number(c.size), c.root, c.top]);
  },
};

/** Check one transition proof. */
function follow(c, anchor) {
  return verifyTransition(unhex(c.proof), anchor, (root) => {
    const rows = c.rows[hex(root)];
    return rows === undefined ? null : unhex(rows);
  });
}

/** Return where checking stands after so many cases. */
const transitionTo = (cases, count) => cases.slice(0, count).reduce((anchor, c) => follow(c, anchor), BEGINNING);

/** A payload's CBOR as plain data, without what Statement takes out of it. */
function asPayload(value) {
  const plainly = (member) =>
    member instanceof Map
      ? Object.fromEntries([...member].map(([name, inner]) => [name, plainly(inner)]))
      : Array.isArray(member)
        ? member.map(plainly)
        : member;
  const { seq: _, about: __, ref: ___, ...payload } = plainly(value);
  return payload;
}

function vrfProof(c) {
  same(encodeToCurve(unhex(c.pk), unhex(c.alpha)).toBytes(), c.h, "H");
  same(verifyVrf(unhex(c.pk), unhex(c.alpha), unhex(c.pi)), c.beta, "beta");
}

/**
 * Run the cases of one file. Return a line for each that does not give what it has to.
 * @param {string} name of the file in tests/vectors
 * @param {any} file its JSON
 * @param {{[name: string]: any}} others the JSON of other files, by name
 */
export function failures(name, file, others = {}) {
  const wrong = [];
  const cases = Array.isArray(file) ? file : file.cases;
  for (const c of cases) {
    let code;
    try {
      RUNNERS[name](c, file, others);
    } catch (error) {
      code = error instanceof AttestError ? error.code : `${error}`;
    }
    if (code !== c.code) wrong.push(`${c.desc ?? c.name}: ${code ?? "accepted"}, want ${c.code ?? "accepted"}`);
  }
  return wrong;
}
