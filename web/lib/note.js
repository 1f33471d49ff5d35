// Verifier keys and signed notes, as C2SP has them. Spec: docs/spec/checkpoint.md.

import { base64, concat, equal, hex, parseBase64, parseHex, sha256, utf8 } from "./encoding.js";
import { malformed } from "./errors.js";
import { admitEd25519, admitMldsa44 } from "./keys.js";

/** Signature types: what a key signs, and how. */
export const ED25519_NOTE = 1;
export const ED25519_COSIGNATURE = 4;
export const MLDSA44_COSIGNATURE = 6;

const MAX_NOTE = 2 ** 20; // bytes
const MAX_SIGNATURES = 100;

const FORBIDDEN = /[+\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/**
 * Say whether a text can be the name of a key, or an origin: 1 to 255 bytes without plus, controls and spaces.
 * @param {string} name
 */
export function isKeyName(name) {
  return name !== "" && name.length <= 255 && !FORBIDDEN.test(name) && utf8(name).length <= 255;
}

/**
 * Return the key ID: the first four bytes of SHA-256(name ‖ 0A ‖ type ‖ key).
 * @param {string} name @param {number} type @param {Uint8Array} key
 */
const keyIdOf = (name, type, key) => sha256(concat(utf8(name), Uint8Array.of(10, type), key)).slice(0, 4);

/** A public key under a name, admissible. On the wire: `name+<key ID>+base64(type ‖ key)`. */
export class VerifierKey {
  /**
   * Codes: `note/name`, `key/…`.
   * @param {string} name @param {number} type 1, 4 or 6 @param {Uint8Array} key
   */
  constructor(name, type, key) {
    if (!isKeyName(name))
      throw malformed("note/name", "want 1 to 255 bytes without plus, control characters and spaces");
    if (type === MLDSA44_COSIGNATURE) admitMldsa44(key);
    else admitEd25519(key);
    this.name = name;
    this.type = type;
    this.key = key;
    this.keyId = keyIdOf(name, type, key);
  }

  /**
   * Read the wire form. Codes: `note/vkey`, `encoding/hex`, `encoding/base64`, `note/vkey-type`, `note/name`, `key/…`,
   * `note/key-id`.
   * @param {string} text
   */
  static parse(text) {
    const [name, id, ...rest] = text.split("+"); // base64 has plus signs of its own
    if (rest.length === 0) throw malformed("note/vkey", "want name, key ID and key between plus signs");
    const keyId = parseHex(id, 4);
    const typed = parseBase64(rest.join("+"));
    const type = typed[0];
    if (type !== ED25519_NOTE && type !== ED25519_COSIGNATURE && type !== MLDSA44_COSIGNATURE) {
      throw malformed("note/vkey-type", `signature type ${type ?? "missing"}, want 1, 4 or 6`);
    }
    const made = new VerifierKey(name, type, typed.slice(1));
    if (!equal(made.keyId, keyId)) throw malformed("note/key-id", `${id}, but this is key ${hex(made.keyId)}`);
    return made;
  }

  encode() {
    return `${this.name}+${hex(this.keyId)}+${base64(concat(Uint8Array.of(this.type), this.key))}`;
  }
}

/**
 * One signature line: whose, and what follows the key ID.
 * @typedef {{name: string, keyId: Uint8Array, signature: Uint8Array}} SignatureLine
 */

/** A signed note, not verified. */
export class Note {
  /** @param {string} text @param {SignatureLine[]} lines */
  constructor(text, lines) {
    this.text = text;
    this.lines = lines;
  }

  /**
   * Read the wire form. Codes: `note/…`, `encoding/base64`.
   * @param {string} wire of well-formed Unicode
   */
  static parse(wire) {
    if (wire.length > MAX_NOTE || utf8(wire).length > MAX_NOTE) throw malformed("note/size", "more than 1 MiB");
    if (/[\u0000-\u0009\u000b-\u001f]/.test(wire)) {
      throw malformed("note/control-character", "a control character other than LF");
    }
    const blank = wire.lastIndexOf("\n\n");
    if (blank < 0) throw malformed("note/blank-line", "no empty line between text and signatures");
    if (!wire.endsWith("\n")) throw malformed("note/final-newline", "no LF after the last line");
    const lines = wire
      .slice(blank + 2)
      .split("\n")
      .slice(0, -1);
    if (lines.length === 0 || lines.length > MAX_SIGNATURES) {
      throw malformed("note/signatures", `${lines.length} signature lines, want 1 to ${MAX_SIGNATURES}`);
    }
    return new Note(wire.slice(0, blank + 1), lines.map(parseLine));
  }

  /**
   * Return the lines under the name and key ID of this key.
   * @param {VerifierKey} key
   */
  linesOf(key) {
    return this.lines.filter((line) => line.name === key.name && equal(line.keyId, key.keyId));
  }

  encode() {
    const lines = this.lines.map(({ name, keyId, signature }) => `— ${name} ${base64(concat(keyId, signature))}\n`);
    return `${this.text}\n${lines.join("")}`;
  }
}

/** @param {string} line @returns {SignatureLine} */
function parseLine(line) {
  const end = line.indexOf(" ", 2);
  if (!line.startsWith("— ") || end < 0) {
    throw malformed("note/signature-line", "want a dash, a name and base64 between spaces");
  }
  const name = line.slice(2, end);
  if (!isKeyName(name)) throw malformed("note/name", "a signature line without the name of a key");
  const signed = parseBase64(line.slice(end + 1));
  if (signed.length < 5) throw malformed("note/signature-line", "a key ID and no signature");
  return { name, keyId: signed.slice(0, 4), signature: signed.slice(4) };
}
