// Policies: whose signatures are taken for a log's, and whose for a quorum of witnesses. Spec: docs/spec/policy.md.

import { hex, parseDecimal, parseUtf8 } from "./encoding.js";
import { malformed, untrusted } from "./errors.js";
import { ED25519_COSIGNATURE, ED25519_NOTE, VerifierKey } from "./note.js";

/** @typedef {import("./checkpoint.js").SignedCheckpoint} SignedCheckpoint */
/** @typedef {{key: VerifierKey, url: string | null}} PolicyLog */
/** @typedef {{name: string, key: VerifierKey, url: string | null}} PolicyWitness */
/** @typedef {{name: string, threshold: number, members: string[]}} PolicyGroup */

/**
 * What the signatures of one checkpoint amount to under one policy.
 * @typedef {object} Weighed
 * @property {VerifierKey[]} logs log keys of the policy that signed under this origin
 * @property {boolean} foreign a log key signed whose name is another origin
 * @property {{key: VerifierKey, time: bigint}[]} witnesses that cosigned, each with its earliest time
 * @property {boolean} quorum whether these witnesses meet the quorum
 * @property {bigint | null} existedBy Unix seconds: the least time by which they met it
 */

const MAX_POLICY = 2 ** 20; // bytes
const MAX_DEFINED = 1000; // logs, witnesses and groups

// Names are opaque bytes: the file is read as Latin-1, one character a byte, and these are spaces in UTF-8.
const SPACES = /\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80/;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/;

/** @param {Uint8Array} bytes */
function latin1(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** @param {string} text */
const fromLatin1 = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** Whom a verifier trusts. It comes from the verifier, never from the proof. */
export class Policy {
  /** @type {PolicyLog[]} */
  logs = [];
  /** @type {PolicyWitness[]} */
  witnesses = [];
  /** @type {PolicyGroup[]} a group stands behind those that are its members */
  groups = [];
  /** @type {string | null} name of a witness or group; null: none */
  quorum = null;

  /**
   * Read a policy file. Codes: `policy/…`, and those of vkeys, keys, decimals and base64.
   * @param {Uint8Array} encoded
   */
  static parse(encoded) {
    if (encoded.length > MAX_POLICY) throw malformed("policy/size", "more than 1 MiB");
    const text = latin1(encoded);
    if (CONTROLS.test(text)) throw malformed("policy/character", "a control character other than tab and LF");
    if (!text.endsWith("\n")) throw malformed("policy/final-newline", "the last line has no LF: is the file complete?");
    return new Reader(text.split("\n").slice(0, -1)).policy;
  }

  /** Return the file, as it is written: single spaces, logs first, no comments. */
  encode() {
    /** @param {string | null} url */
    const behind = (url) => (url === null ? "" : ` ${url}`);
    const vkey = (/** @type {VerifierKey} */ key) => latin1(new TextEncoder().encode(key.encode()));
    const lines = [
      ...this.logs.map(({ key, url }) => `log ${vkey(key)}${behind(url)}`),
      ...this.witnesses.map(({ name, key, url }) => `witness ${name} ${vkey(key)}${behind(url)}`),
      ...this.groups.map(({ name, threshold, members }) => {
        return `group ${name} ${threshold === members.length ? "all" : threshold} ${members.join(" ")}`;
      }),
      `quorum ${this.quorum ?? "none"}`,
    ];
    return fromLatin1(`${lines.join("\n")}\n`);
  }

  /**
   * Verify every line of a key listed here, and say what they amount to.
   *
   * Refuted: `signature/invalid`, `cosignature/time`, whether the line was needed or not.
   * @param {SignedCheckpoint} signed
   * @returns {Weighed}
   */
  weigh(signed) {
    const { origin } = signed.checkpoint;
    const signers = this.logs.map(({ key }) => key).filter((key) => signed.verifyLines(key, false).length > 0);
    /** @type {Map<string, bigint>} */
    const times = new Map();
    const witnesses = [];
    for (const { name, key } of this.witnesses) {
      // A key under the log's name is the log's, whatever the policy calls it.
      const isWitness = key.name !== origin;
      const [time] = signed.verifyLines(key, isWitness);
      if (!isWitness || typeof time !== "bigint") continue;
      witnesses.push({ key, time });
      times.set(name, time);
    }
    for (const { name, threshold, members } of this.groups) {
      const known = members.flatMap((member) => times.get(member) ?? []);
      known.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      if (known.length >= threshold) times.set(name, known[threshold - 1]);
    }
    return {
      logs: signers.filter((key) => key.name === origin),
      foreign: signers.some((key) => key.name !== origin),
      witnesses,
      quorum: this.quorum === null || times.has(this.quorum),
      existedBy: this.quorum === null ? null : (times.get(this.quorum) ?? null),
    };
  }
}

/**
 * Check that a log key of the policy signed. Untrusted: `checkpoint/unsigned`, `checkpoint/foreign`.
 * @param {Weighed} weighed
 */
export function wantLog(weighed) {
  if (weighed.logs.length > 0) return;
  if (weighed.foreign) throw untrusted("checkpoint/foreign", "signed by the key of another log");
  throw untrusted("checkpoint/unsigned", "no line of a log key that the policy lists");
}

/**
 * Return how firmly a checkpoint stands, of one policy alone.
 * @param {Policy} policy
 * @param {Weighed} weighed
 * @returns {"unpinned" | "logged" | "witnessed"}
 */
export function anchorOf(policy, weighed) {
  if (policy.logs.length === 0) return "unpinned";
  return weighed.existedBy === null ? "logged" : "witnessed";
}

class Reader {
  /** @param {string[]} lines */
  constructor(lines) {
    this.policy = new Policy();
    /** @type {Set<string>} */
    this.names = new Set();
    /** @type {Set<string>} */
    this.members = new Set();
    /** @type {Set<string>} */
    this.keys = new Set();
    let quorums = 0;
    for (const line of lines) {
      const fields = line.split(/[ \t]+/).filter((field) => field !== "");
      if (fields.length === 0 || fields[0].startsWith("#")) continue;
      if (line.includes("#")) throw malformed("policy/hash-sign", "a # outside a comment line");
      if (SPACES.test(line)) throw malformed("policy/character", "a space that is neither space nor tab");
      this.read(fields);
      if (fields[0] === "quorum" && ++quorums > 1) throw malformed("policy/quorum", "several quorum lines");
    }
    if (quorums === 0) throw malformed("policy/quorum", "no quorum line");
    const origins = new Set(this.policy.logs.map(({ key }) => key.name));
    if (this.policy.witnesses.some(({ key }) => origins.has(key.name))) {
      throw malformed("policy/log-as-witness", "a witness under the name of a log");
    }
  }

  /** @param {string[]} fields */
  read([keyword, ...rest]) {
    switch (keyword) {
      case "log":
        return this.log(rest);
      case "witness":
        return this.witness(rest);
      case "group":
        return this.group(rest);
      case "quorum":
        return this.quorum(rest);
      default:
        throw malformed("policy/keyword", "want log, witness, group or quorum at the beginning of a line");
    }
  }

  /** @param {string[]} fields @param {number} least @param {number} [most] */
  want(fields, least, most = least) {
    if (fields.length < least || fields.length > most) {
      throw malformed("policy/fields", `${fields.length} fields behind the keyword, want ${least} to ${most}`);
    }
  }

  /** @param {string} name */
  define(name) {
    if (name === "none") throw malformed("policy/name", "nothing can be named none");
    if (this.names.has(name)) throw malformed("policy/name-twice", "a name is defined twice");
    this.names.add(name);
  }

  /** @param {string} text @param {number} ownType the type that only this kind of line takes */
  key(text, ownType) {
    const key = VerifierKey.parse(parseUtf8(fromLatin1(text)));
    const otherType = ownType === ED25519_NOTE ? ED25519_COSIGNATURE : ED25519_NOTE;
    if (key.type === otherType)
      throw malformed("policy/key-type", `a key of type ${key.type} cannot stand on this line`);
    const raw = hex(key.key);
    if (this.keys.has(raw)) throw malformed("policy/key-twice", "a public key stands on two lines");
    this.keys.add(raw);
    return key;
  }

  counted() {
    const { logs, witnesses, groups } = this.policy;
    if (logs.length + witnesses.length + groups.length > MAX_DEFINED) {
      throw malformed("policy/size", `more than ${MAX_DEFINED} logs, witnesses and groups`);
    }
  }

  /** @param {string[]} fields */
  log(fields) {
    this.want(fields, 1, 2);
    this.policy.logs.push({ key: this.key(fields[0], ED25519_NOTE), url: fields[1] ?? null });
    this.counted();
  }

  /** @param {string[]} fields */
  witness(fields) {
    this.want(fields, 2, 3);
    const [name, vkey, url] = fields;
    this.define(name);
    this.policy.witnesses.push({ name, key: this.key(vkey, ED25519_COSIGNATURE), url: url ?? null });
    this.counted();
  }

  /** @param {string[]} fields */
  group(fields) {
    this.want(fields, 3, Number.POSITIVE_INFINITY);
    const [name, word, ...members] = fields;
    for (const member of members) {
      if (!this.names.has(member)) throw malformed("policy/undefined", "a member that is not defined above");
      if (this.members.has(member)) throw malformed("policy/member-twice", "a member counts twice");
      this.members.add(member);
    }
    this.define(name);
    const threshold = word === "any" ? 1 : word === "all" ? members.length : Number(parseDecimal(word));
    if (threshold < 1 || threshold > members.length) {
      throw malformed("policy/threshold", `${word} of ${members.length} members`);
    }
    this.policy.groups.push({ name, threshold, members });
    this.counted();
  }

  /** @param {string[]} fields */
  quorum(fields) {
    this.want(fields, 1);
    const [name] = fields;
    if (name !== "none" && !this.names.has(name)) {
      throw malformed("policy/undefined", "the quorum is not defined above");
    }
    this.policy.quorum = name === "none" ? null : name;
  }
}
