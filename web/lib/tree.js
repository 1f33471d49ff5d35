// The log tree, which is also the tree over a row file (RFC 6962, SHA-256), and its tiles. Spec: docs/spec/tree.md.
//
// Sizes and indexes are bigints below 2^63: a number would be rounded above 2^53.

import { concat, equal, MAX_U63, sha256 } from "./encoding.js";
import { malformed, refuted } from "./errors.js";

/** @typedef {Uint8Array} Hash 32 bytes */

export const EMPTY_ROOT = sha256(new Uint8Array());

/** @param {Uint8Array} entry */
export function leafHash(entry) {
  const whole = new Uint8Array(1 + entry.length);
  whole.set(entry, 1);
  return sha256(whole);
}

/** @param {Hash} left @param {Hash} right */
export function nodeHash(left, right) {
  const whole = new Uint8Array(65);
  whole[0] = 1;
  whole.set(left, 1);
  whole.set(right, 33);
  return sha256(whole);
}

/**
 * Return the root over leaf hashes, level by level: a last node without a neighbour moves up unchanged.
 * @param {Hash[]} leaves
 */
export function rootOf(leaves) {
  if (leaves.length === 0) return EMPTY_ROOT;
  let level = leaves;
  while (level.length > 1) {
    const above = [];
    for (let i = 0; i < level.length; i += 2) {
      above.push(i + 1 < level.length ? nodeHash(level[i], level[i + 1]) : level[i]);
    }
    level = above;
  }
  return level[0];
}

/** @param {bigint} value not negative */
const bitLength = (value) => (value === 0n ? 0 : value.toString(2).length);

/** @param {bigint} value not negative */
function countOnes(value) {
  let ones = 0;
  for (const digit of value.toString(2)) if (digit === "1") ones++;
  return ones;
}

/** @param {bigint} size */
const isSize = (size) => size >= 0n && size <= MAX_U63;

/** @param {Hash[]} hashes @param {string} code */
function wantHashes(hashes, code) {
  for (const hash of hashes) if (hash.length !== 32) throw malformed(code, `a hash of ${hash.length} bytes, want 32`);
}

/**
 * Check that `leaf` is entry `index` of the tree of `size` entries under `root`.
 *
 * Codes: `inclusion/size`, `inclusion/index`, `inclusion/path-length`, `inclusion/hash-length`; refuted:
 * `inclusion/root-mismatch`.
 * @param {Hash} leaf
 * @param {bigint} index zero-based
 * @param {bigint} size
 * @param {Hash} root
 * @param {Hash[]} path the leaf's neighbour first
 */
export function verifyInclusion(leaf, index, size, root, path) {
  if (!isSize(size)) throw malformed("inclusion/size", `${size} is no tree size`);
  if (index < 0n || index >= size) throw malformed("inclusion/index", `no entry ${index} in a tree of ${size}`);
  const inner = bitLength(index ^ (size - 1n));
  const border = countOnes(index >> BigInt(inner));
  if (path.length !== inner + border) {
    throw malformed("inclusion/path-length", `${path.length} hashes, want ${inner + border} for ${index} of ${size}`);
  }
  wantHashes([leaf, root, ...path], "inclusion/hash-length");
  let hash = leaf;
  path.forEach((sibling, i) => {
    // Above `inner` the way follows the right edge, where every neighbour is on the left.
    const onTheLeft = i >= inner || ((index >> BigInt(i)) & 1n) === 1n;
    hash = onTheLeft ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
  });
  if (!equal(hash, root)) {
    throw refuted("inclusion/root-mismatch", `the path of entry ${index} of ${size} leads to another root`);
  }
}

/**
 * Check that the tree of `newSize` entries under `newRoot` begins with that of `oldSize` entries under `oldRoot`.
 *
 * Codes: `consistency/size`, `consistency/path-length`, `consistency/hash-length`; refuted:
 * `consistency/old-root-mismatch`, `consistency/new-root-mismatch`, `consistency/fork`.
 * @param {bigint} oldSize
 * @param {Hash} oldRoot
 * @param {bigint} newSize
 * @param {Hash} newRoot
 * @param {Hash[]} path
 */
export function verifyConsistency(oldSize, oldRoot, newSize, newRoot, path) {
  if (oldSize < 0n || oldSize > newSize || !isSize(newSize)) {
    throw malformed("consistency/size", `no tree of ${newSize} entries begins with ${oldSize}`);
  }
  const trivial = oldSize === 0n || oldSize === newSize;
  const shift = trivial ? 0 : bitLength(oldSize & -oldSize) - 1;
  const perfect = !trivial && 1n << BigInt(shift) === oldSize;
  const inner = trivial ? 0 : bitLength((oldSize - 1n) ^ (newSize - 1n)) - shift;
  const border = trivial ? 0 : countOnes((oldSize - 1n) >> BigInt(inner + shift));
  const want = trivial ? 0 : inner + border + (perfect ? 0 : 1);
  if (path.length !== want) {
    throw malformed("consistency/path-length", `${path.length} hashes, want ${want} from ${oldSize} to ${newSize}`);
  }
  wantHashes([oldRoot, newRoot, ...path], "consistency/hash-length");
  if (oldSize === 0n && !equal(oldRoot, EMPTY_ROOT)) {
    throw refuted("consistency/old-root-mismatch", "the tree of no entries has another root");
  }
  if (oldSize === newSize && !equal(oldRoot, newRoot)) {
    throw refuted("consistency/fork", `two roots for ${oldSize} entries`);
  }
  if (trivial) return;
  const index = (oldSize - 1n) >> BigInt(shift);
  let [old, now, rest] = perfect ? [oldRoot, oldRoot, path] : [path[0], path[0], path.slice(1)];
  rest.forEach((sibling, i) => {
    if (i >= inner || ((index >> BigInt(i)) & 1n) === 1n) {
      old = nodeHash(sibling, old);
      now = nodeHash(sibling, now);
    } else {
      now = nodeHash(now, sibling);
    }
  });
  if (!equal(old, oldRoot)) throw refuted("consistency/old-root-mismatch", "the path leads to another old root");
  if (!equal(now, newRoot)) throw refuted("consistency/new-root-mismatch", "the path leads to another new root");
}

/** What one must keep of a tree to append to it: its size, and the roots of its perfect subtrees, largest first. */
export class Frontier {
  /**
   * Codes: `frontier/size`, `frontier/count`, `frontier/hash-length`.
   * @param {bigint} size
   * @param {Hash[]} hashes one per set bit of the size
   */
  constructor(size, hashes) {
    if (!isSize(size)) throw malformed("frontier/size", `${size} is no tree size`);
    const want = countOnes(size);
    if (hashes.length !== want) throw malformed("frontier/count", `${hashes.length} hashes, want ${want} for ${size}`);
    wantHashes(hashes, "frontier/hash-length");
    this.size = size;
    this.hashes = hashes;
  }

  root() {
    if (this.size === 0n) return EMPTY_ROOT;
    return this.hashes.reduceRight((right, left) => nodeHash(left, right));
  }

  /** @param {Hash} leaf @returns {Frontier} */
  append(leaf) {
    const hashes = [...this.hashes];
    let hash = leaf;
    for (let rest = this.size; (rest & 1n) === 1n; rest >>= 1n) {
      hash = nodeHash(/** @type {Hash} */ (hashes.pop()), hash);
    }
    return new Frontier(this.size + 1n, [...hashes, hash]);
  }
}

/**
 * A tile of the log, or with level null an entry bundle.
 * @typedef {{level: number | null, index: bigint, width: number}} Tile
 */

/** @param {Tile} tile */
export function tilePath({ level, index, width }) {
  const digits = index.toString();
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.{3}/g) ?? [];
  const last = groups.pop();
  const spelled = [...groups.map((group) => `x${group}`), last].join("/");
  return `tile/${level ?? "entries"}/${spelled}${width === 256 ? "" : `.p/${width}`}`;
}

/**
 * Read the path of a tile or entry bundle. Code: `tile/path`.
 * @param {string} path
 * @returns {Tile}
 */
export function parseTilePath(path) {
  const found = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,6}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path);
  if (found !== null) {
    const level = found[1] === "entries" ? null : Number(found[1]);
    const index = BigInt(found[2].replace(/[x/]/g, ""));
    const width = found[3] === undefined ? 256 : Number(found[3]);
    const last = (index * 256n + BigInt(width)) << BigInt(8 * (level ?? 0));
    const fits = width >= 1 && (found[3] === undefined || width < 256) && last <= MAX_U63;
    // Whatever else spells a tile is not how it is written.
    if (fits && tilePath({ level, index, width }) === path) return { level, index, width };
  }
  throw malformed("tile/path", "not the path of a tile as tlog-tiles spells it");
}

/**
 * Return the paths of the tiles that a tree of `newSize` entries implies and one of `oldSize` does not.
 * @param {bigint} oldSize
 * @param {bigint} newSize
 */
export function tilesFor(oldSize, newSize) {
  const paths = [];
  for (let level = 0; newSize >> BigInt(8 * level) > 0n; level++) {
    const before = oldSize >> BigInt(8 * level);
    const hashes = newSize >> BigInt(8 * level);
    if (hashes === before) continue;
    for (let index = before / 256n; index < hashes / 256n; index++) paths.push(tilePath({ level, index, width: 256 }));
    const width = Number(hashes % 256n);
    if (width > 0) paths.push(tilePath({ level, index: hashes / 256n, width }));
  }
  return paths;
}

/**
 * Read an entry bundle of `count` entries. Codes: `bundle/truncated`, `bundle/trailing`.
 * @param {Uint8Array} encoded
 * @param {number} count
 */
export function parseEntryBundle(encoded, count) {
  const entries = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 2 > encoded.length) throw malformed("bundle/truncated", `${i} entries, want ${count}`);
    const end = at + 2 + encoded[at] * 256 + encoded[at + 1];
    if (end > encoded.length) throw malformed("bundle/truncated", `entry ${i} is cut off`);
    entries.push(encoded.slice(at + 2, end));
    at = end;
  }
  if (at !== encoded.length) throw malformed("bundle/trailing", `${encoded.length - at} bytes after ${count} entries`);
  return entries;
}

/** @param {Uint8Array[]} entries each below 65,536 bytes */
export function encodeEntryBundle(entries) {
  return concat(...entries.flatMap((entry) => [Uint8Array.of(entry.length >> 8, entry.length & 255), entry]));
}
