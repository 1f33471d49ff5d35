// Checkpoints, what signs them, and .tlog-proof files. Spec: docs/spec/checkpoint.md.

import { base64, concat, MAX_U63, parseBase64, parseDecimal, parseU64, parseUtf8, u64, utf8 } from "./encoding.js";
import { malformed, refuted } from "./errors.js";
import { verifyEd25519, verifyMldsa44 } from "./keys.js";
import { ED25519_COSIGNATURE, ED25519_NOTE, isKeyName, Note } from "./note.js";

/** @typedef {import("./note.js").VerifierKey} VerifierKey */

/** A log's claim that its first `size` entries have this `root`. */
export class Checkpoint {
  /** @param {string} origin @param {bigint} size entries, below 2^63 @param {Uint8Array} root */
  constructor(origin, size, root) {
    this.origin = origin;
    this.size = size;
    this.root = root;
  }

  /**
   * Read the text of a note. Codes: `checkpoint/lines`, `checkpoint/extension`, `checkpoint/origin`,
   * `encoding/decimal`, `encoding/base64`.
   * @param {string} text
   */
  static parse(text) {
    const lines = text.split("\n");
    if (lines.length < 4 || lines.pop() !== "") throw malformed("checkpoint/lines", "want three lines, each with LF");
    if (lines.length > 3) throw malformed("checkpoint/extension", `${lines.length} lines, want three`);
    const [origin, size, root] = lines;
    if (!isKeyName(origin)) throw malformed("checkpoint/origin", "the first line is not the name of a log");
    return new Checkpoint(origin, parseDecimal(size), parseBase64(root, 32));
  }

  encode() {
    return `${this.origin}\n${this.size}\n${base64(this.root)}\n`;
  }
}

/** A checkpoint with its signature lines, not verified. */
export class SignedCheckpoint {
  /** @param {Note} note */
  constructor(note) {
    this.note = note;
    this.checkpoint = Checkpoint.parse(note.text);
    /** @type {Map<string, (bigint | null)[]>} what was verified before: two policies may list one key */
    this.verified = new Map();
  }

  /**
   * Codes: `note/…`, `checkpoint/…`, `encoding/…`.
   * @param {string} wire of well-formed Unicode
   */
  static parse(wire) {
    return new SignedCheckpoint(Note.parse(wire));
  }

  /**
   * Verify every line of this key. Return when it signed, earliest first; [null] for a key that says no times, and []
   * where it did not sign.
   *
   * Refuted: `signature/invalid`, `cosignature/time`.
   * @param {VerifierKey} key
   * @param {boolean} isWitness a witness has to say when; a log need not
   * @returns {(bigint | null)[]}
   */
  verifyLines(key, isWitness) {
    const name = `${isWitness} ${key.encode()}`;
    const times = this.verified.get(name) ?? this.verifyAnew(key, isWitness);
    this.verified.set(name, times);
    return times;
  }

  /** @param {VerifierKey} key @param {boolean} isWitness @returns {(bigint | null)[]} */
  verifyAnew(key, isWitness) {
    const lines = this.note.linesOf(key);
    if (key.type === ED25519_NOTE) {
      for (const { signature } of lines) verifyEd25519(key.key, signature, utf8(this.note.text));
      return lines.length > 0 ? [null] : [];
    }
    const times = lines.map(({ signature }) => this.verifyTimed(key, signature, isWitness));
    return times.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  }

  /** @param {VerifierKey} key @param {Uint8Array} signature @param {boolean} isWitness */
  verifyTimed(key, signature, isWitness) {
    if (signature.length <= 8) throw refuted("signature/invalid", `the line of ${key.name} is too short for its time`);
    const time = parseU64(signature);
    const message = cosignatureMessage(this.checkpoint, key, time);
    const verify = key.type === ED25519_COSIGNATURE ? verifyEd25519 : verifyMldsa44;
    verify(key.key, signature.subarray(8), message);
    if (time > MAX_U63 || (isWitness && time === 0n)) {
      throw refuted("cosignature/time", `${key.name} signed with the impossible time ${time}`);
    }
    return time;
  }
}

/**
 * Return what a key of type 04 or 06 signs.
 * @param {Checkpoint} checkpoint
 * @param {{name: string, type: number}} key
 * @param {bigint} time Unix seconds
 */
export function cosignatureMessage(checkpoint, key, time) {
  if (key.type === ED25519_COSIGNATURE) return utf8(`cosignature/v1\ntime ${time}\n${checkpoint.encode()}`);
  const [name, origin] = [utf8(key.name), utf8(checkpoint.origin)];
  return concat(
    utf8("subtree/v1\n\0"),
    concat(Uint8Array.of(name.length), name, u64(time)),
    concat(Uint8Array.of(origin.length), origin, u64(0)),
    concat(u64(checkpoint.size), checkpoint.root),
  );
}

const MAX_PROOF = 2 * 2 ** 20; // bytes
const MAX_PATH = 63;
const HEADER = "c2sp.org/tlog-proof@v1";

/** A C2SP .tlog-proof file: that an entry is in a log. Parsing says nothing about truth. */
export class TlogProof {
  /**
   * @param {bigint} index @param {Uint8Array[]} path leaf side first
   * @param {SignedCheckpoint} signed @param {Uint8Array | null} [extra] nothing vouches for it
   */
  constructor(index, path, signed, extra = null) {
    this.index = index;
    this.path = path;
    this.signed = signed;
    this.extra = extra;
  }

  /**
   * Codes: `tlog-proof/…`, `encoding/…`, `note/…`, `checkpoint/…`.
   * @param {Uint8Array} encoded
   */
  static parse(encoded) {
    if (encoded.length > MAX_PROOF) throw malformed("tlog-proof/size", "more than 2 MiB");
    const wire = parseUtf8(encoded);
    if (/[\u0000-\u0009\u000b-\u001f]/.test(wire)) {
      throw malformed("tlog-proof/control-character", "a control character other than LF");
    }
    const blank = wire.indexOf("\n\n");
    if (blank < 0) throw malformed("tlog-proof/blank-line", "no empty line before the checkpoint");
    const [header, ...lines] = wire.slice(0, blank).split("\n");
    if (header !== HEADER) throw malformed("tlog-proof/header", `the first line is not ${HEADER}`);
    let extra = null;
    if (lines[0]?.startsWith("extra ")) {
      extra = parseBase64(lines[0].slice(6));
      if (extra.length === 0) throw malformed("tlog-proof/extra", "an extra line without data");
      lines.shift();
    }
    const line = lines.shift();
    if (!line?.startsWith("index ")) throw malformed("tlog-proof/index", "no index line where it belongs");
    const index = parseDecimal(line.slice(6));
    if (lines.length > MAX_PATH)
      throw malformed("tlog-proof/path-length", `${lines.length} hashes, at most ${MAX_PATH}`);
    const path = lines.map((hash) => parseBase64(hash, 32));
    return new TlogProof(index, path, SignedCheckpoint.parse(wire.slice(blank + 2)), extra);
  }

  encode() {
    const extra = this.extra === null ? [] : [`extra ${base64(this.extra)}`];
    const lines = [HEADER, ...extra, `index ${this.index}`, ...this.path.map(base64)];
    return `${lines.join("\n")}\n\n${this.signed.note.encode()}`;
  }
}
