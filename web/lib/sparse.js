// The sparse map under every map of the protocol: its proofs, and pruned trees. Spec: docs/spec/sparse-map.md.

import { compare, concat, equal, hex, sha256 } from "./encoding.js";
import { malformed, refuted } from "./errors.js";

/** @typedef {Uint8Array} Hash 32 bytes */

export const ZEROS = new Uint8Array(32);

const MAX_PRUNED = 2 ** 30; // bytes

/** @param {Hash} key @param {Hash} value */
export const mapLeaf = (key, value) => hash65(2, key, value);

/** @param {Hash} left @param {Hash} right */
const mapNode = (left, right) => hash65(3, left, right);

/** @param {number} first @param {Hash} a @param {Hash} b */
function hash65(first, a, b) {
  const whole = new Uint8Array(65);
  whole[0] = first;
  whole.set(a, 1);
  whole.set(b, 33);
  return sha256(whole);
}

/** @param {Hash} key @param {number} depth 0 is the most significant bit of the first byte */
const bit = (key, depth) => (key[depth >> 3] >> (7 - (depth & 7))) & 1;

/** @param {Hash} a @param {Hash} b @param {number} depth */
function shareBits(a, b, depth) {
  for (let i = 0; i < depth; i++) if (bit(a, i) !== bit(b, i)) return false;
  return true;
}

/**
 * Return the root of a map.
 * @param {[Hash, Hash][]} bindings key and value, each key once
 */
export function mapRoot(bindings) {
  const sorted = [...bindings].sort((a, b) => compare(a[0], b[0]));

  /** @param {number} start @param {number} end @param {number} depth @returns {Hash} */
  const subtree = (start, end, depth) => {
    if (start === end) return ZEROS;
    if (end - start === 1) return mapLeaf(...sorted[start]);
    let middle = start;
    while (middle < end && bit(sorted[middle][0], depth) === 0) middle++;
    return mapNode(subtree(start, middle, depth + 1), subtree(middle, end, depth + 1));
  };
  return subtree(0, sorted.length, 0);
}

/**
 * Return the value that `root` binds `key` to, or null if the proof shows that it is bound to nothing.
 *
 * Codes: `map-proof/truncated`, `map-proof/bitmap`, `map-proof/zero-sibling`, `map-proof/terminal`,
 * `map-proof/trailing`, `map-proof/hash-length`, `map-proof/foreign-terminal`; refuted: `map-proof/root-mismatch`.
 * @param {Hash} root
 * @param {Hash} key
 * @param {Uint8Array} proof
 * @returns {Hash | null}
 */
export function verifyMapProof(root, key, proof) {
  const { siblings, terminal } = parseMapProof(proof);
  if (root.length !== 32 || key.length !== 32)
    throw malformed("map-proof/hash-length", "want a root and key of 32 bytes");
  if (terminal !== null && !shareBits(terminal.key, key, siblings.length)) {
    throw malformed("map-proof/foreign-terminal", "the leaf shown does not lie on the key's way");
  }
  let hash = terminal === null ? ZEROS : mapLeaf(terminal.key, terminal.value);
  for (let i = siblings.length - 1; i >= 0; i--) {
    hash = bit(key, i) === 1 ? mapNode(siblings[i], hash) : mapNode(hash, siblings[i]);
  }
  if (!equal(hash, root)) throw refuted("map-proof/root-mismatch", "the way from the key leads to another root");
  return terminal !== null && equal(terminal.key, key) ? terminal.value : null;
}

/** @param {Uint8Array} proof */
function parseMapProof(proof) {
  const cut = () => malformed("map-proof/truncated", "the proof ends early");
  if (proof.length === 0) throw cut();
  const depth = proof[0];
  let at = 1 + Math.ceil(depth / 8);
  if (at > proof.length) throw cut();
  const bitmap = proof.subarray(1, at);
  for (let i = depth; i < 8 * bitmap.length; i++) {
    if (bit(bitmap, i) === 1) throw malformed("map-proof/bitmap", `bit ${i}, but the depth is ${depth}`);
  }
  const take = () => {
    if (at + 32 > proof.length) throw cut();
    at += 32;
    return proof.slice(at - 32, at);
  };
  const siblings = [];
  for (let i = 0; i < depth; i++) {
    const sibling = bit(bitmap, i) === 1 ? take() : ZEROS;
    if (sibling !== ZEROS && equal(sibling, ZEROS)) {
      throw malformed("map-proof/zero-sibling", "an empty sibling is written out");
    }
    siblings.push(sibling);
  }
  if (at === proof.length) throw cut();
  const end = proof[at++];
  if (end > 1) throw malformed("map-proof/terminal", `a terminal of ${end}, want 0 or 1`);
  const terminal = end === 0 ? null : { key: take(), value: take() };
  if (at !== proof.length) throw malformed("map-proof/trailing", `${proof.length - at} bytes after the proof`);
  return { siblings, terminal };
}

/**
 * A subtree of a pruned map: empty, a hash of which nothing else is told, one leaf, or its two sides.
 * @typedef {{tag: 0} | {tag: 1, hash: Hash} | {tag: 2, key: Hash, value: Hash} | {tag: 3, left: Subtree, right: Subtree}} Subtree
 */

/** @type {Subtree} */
const EMPTY = { tag: 0 };

/** The part of a map that is needed to look up, replace and insert some keys. It never changes. */
export class PrunedMap {
  /** @param {Subtree} top */
  constructor(top) {
    this.top = top;
  }

  /**
   * Read the wire form. Codes: `pruned/…`.
   * @param {Uint8Array} encoded
   */
  static parse(encoded) {
    if (encoded.length > MAX_PRUNED) throw malformed("pruned/size", `more than ${MAX_PRUNED} bytes`);
    let at = 0;
    const way = new Uint8Array(33); // the bits that lead here

    /** @param {number} count */
    const take = (count) => {
      if (at + count > encoded.length) throw malformed("pruned/truncated", "the tree ends early");
      at += count;
      return encoded.slice(at - count, at);
    };

    /** @param {number} depth @returns {Subtree} */
    const subtree = (depth) => {
      const tag = take(1)[0];
      if (tag === 0) return EMPTY;
      if (tag === 1) {
        const hash = take(32);
        if (equal(hash, ZEROS)) throw malformed("pruned/zero-hash", "an empty subtree is written as a hash");
        return { tag, hash };
      }
      if (tag === 2) {
        const [key, value] = [take(32), take(32)];
        if (!shareBits(key, way, depth)) throw malformed("pruned/foreign-leaf", "a leaf does not lie on its key's way");
        return { tag, key, value };
      }
      if (tag !== 3) throw malformed("pruned/tag", `a subtree begins with ${tag}, want 0 to 3`);
      if (depth === 256) throw malformed("pruned/depth", "deeper than a key has bits");
      const left = subtree(depth + 1);
      way[depth >> 3] |= 0x80 >> (depth & 7);
      const right = subtree(depth + 1);
      way[depth >> 3] &= ~(0x80 >> (depth & 7));
      if ((left.tag === 0 && right.tag !== 1 && right.tag !== 3) || (right.tag === 0 && left.tag === 2)) {
        throw malformed("pruned/not-canonical", "a subtree of at most one leaf is written as two sides");
      }
      return { tag, left, right };
    };

    const top = subtree(0);
    if (at !== encoded.length) throw malformed("pruned/trailing", `${encoded.length - at} bytes after the tree`);
    return new PrunedMap(top);
  }

  /** Return the root, computed. */
  root() {
    return hashOf(this.top);
  }

  /**
   * Return the value of a key, or null where it is shown to have none. Code: `pruned/touched-hash`.
   * @param {Hash} key
   * @returns {Hash | null}
   */
  get(key) {
    let here = this.top;
    for (let depth = 0; here.tag === 3; depth++) here = bit(key, depth) === 1 ? here.right : here.left;
    if (here.tag === 1) throw touched(key);
    return here.tag === 2 && equal(here.key, key) ? here.value : null;
  }

  /**
   * Return the map with one binding replaced or inserted. Code: `pruned/touched-hash`.
   * @param {Hash} key
   * @param {Hash} value
   */
  set(key, value) {
    /** @type {Subtree} */
    const leaf = { tag: 2, key, value };

    /** @param {Subtree} here @param {number} depth @returns {Subtree} */
    const changed = (here, depth) => {
      if (here.tag === 1) throw touched(key);
      if (here.tag === 0 || (here.tag === 2 && equal(here.key, key))) return leaf;
      const right = bit(key, depth) === 1;
      if (here.tag === 3) {
        return right
          ? { tag: 3, left: here.left, right: changed(here.right, depth + 1) }
          : { tag: 3, left: changed(here.left, depth + 1), right: here.right };
      }
      // The leaf of another key: both move down to where their keys part.
      if ((bit(here.key, depth) === 1) === right) {
        const below = changed(here, depth + 1);
        return right ? { tag: 3, left: EMPTY, right: below } : { tag: 3, left: below, right: EMPTY };
      }
      return right ? { tag: 3, left: here, right: leaf } : { tag: 3, left: leaf, right: here };
    };
    return new PrunedMap(changed(this.top, 0));
  }

  /**
   * Return the map without the binding of a key that `set` inserted. Code: `pruned/touched-hash`.
   * @param {Hash} key
   */
  without(key) {
    /** @param {Subtree} here @param {number} depth @returns {Subtree} */
    const cut = (here, depth) => {
      if (here.tag === 1) throw touched(key);
      if (here.tag !== 3) return here.tag === 2 && equal(here.key, key) ? EMPTY : here;
      const isRight = bit(key, depth) === 1;
      const left = isRight ? here.left : cut(here.left, depth + 1);
      const right = isRight ? cut(here.right, depth + 1) : here.right;
      // A lone leaf moves up. A lone hash does not: it has two leaves at least, or would not stand beside an empty side.
      if (left.tag === 0 && (right.tag === 0 || right.tag === 2)) return right;
      if (right.tag === 0 && left.tag === 2) return left;
      return { tag: 3, left, right };
    };
    return new PrunedMap(cut(this.top, 0));
  }

  /** Return the wire form, in preorder. */
  encode() {
    /** @type {Uint8Array[]} */
    const parts = [];

    /** @param {Subtree} here */
    const write = (here) => {
      parts.push(Uint8Array.of(here.tag));
      if (here.tag === 1) parts.push(here.hash);
      if (here.tag === 2) parts.push(here.key, here.value);
      if (here.tag === 3) {
        write(here.left);
        write(here.right);
      }
    };
    write(this.top);
    return concat(...parts);
  }
}

/** @param {Hash} key */
const touched = (key) => malformed("pruned/touched-hash", `the place of key ${hex(key)} was pruned away`);

/** @type {WeakMap<Subtree, Hash>} hashes of sides: a changed map shares most of its subtrees with the old one */
const hashes = new WeakMap();

/** @param {Subtree} here @returns {Hash} */
function hashOf(here) {
  if (here.tag === 0) return ZEROS;
  if (here.tag === 1) return here.hash;
  if (here.tag === 2) return mapLeaf(here.key, here.value);
  const known = hashes.get(here);
  if (known !== undefined) return known;
  const hash = mapNode(hashOf(here.left), hashOf(here.right));
  hashes.set(here, hash);
  return hash;
}
