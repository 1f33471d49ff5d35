// Row files: what one hold or tombstone is about. Spec: docs/spec/rows.md.

import { compare, equal } from "./encoding.js";
import { malformed, refuted } from "./errors.js";
import { MAX_ROWS } from "./statement.js";
import { leafHash, rootOf, verifyInclusion } from "./tree.js";

export const ROW_SIZE = 64;
const MOST_NAMED = 16;

/** Rows of index[32] ‖ commitment[32], strictly ascending by index. */
export class RowFile {
  /**
   * Codes: `rows/size`, `rows/order`.
   * @param {Uint8Array} encoded
   */
  constructor(encoded) {
    this.encoded = encoded;
    this.count = encoded.length / ROW_SIZE;
    if (!Number.isInteger(this.count) || this.count < 1 || this.count > MAX_ROWS) {
      throw malformed("rows/size", `${encoded.length} bytes, want 1 to ${MAX_ROWS} rows of ${ROW_SIZE}`);
    }
    const astray = [];
    for (let row = 1; row < this.count && astray.length < MOST_NAMED; row++) {
      if (compare(this.index(row - 1), this.index(row)) >= 0) astray.push(row);
    }
    if (astray.length > 0) {
      throw malformed("rows/order", `row ${astray[0]} does not come after the one before`, { rows: astray });
    }
  }

  /** @param {number} row zero-based */
  index(row) {
    return this.encoded.subarray(row * ROW_SIZE, row * ROW_SIZE + 32);
  }

  /** @param {number} row zero-based */
  commitment(row) {
    return this.encoded.subarray(row * ROW_SIZE + 32, (row + 1) * ROW_SIZE);
  }

  root() {
    const leaves = [];
    for (let at = 0; at < this.encoded.length; at += ROW_SIZE) {
      leaves.push(leafHash(this.encoded.subarray(at, at + ROW_SIZE)));
    }
    return rootOf(leaves);
  }

  /**
   * Check that this is the file a statement names. Refuted: `rows/count`, `rows/root`.
   * @param {number} count @param {Uint8Array} root
   */
  wantNamed(count, root) {
    if (this.count !== count) throw refuted("rows/count", `${this.count} rows, but the statement signs ${count}`);
    if (!equal(this.root(), root)) throw refuted("rows/root", "the rows lead to another root than the one signed");
  }
}

/**
 * Check that `row` stands at `position` of the row file with this signed count and root. Codes: `rows/size`,
 * `inclusion/…`.
 * @param {Uint8Array} row @param {number} position zero-based
 * @param {number} count @param {Uint8Array} root @param {Uint8Array[]} path leaf side first
 */
export function verifyRow(row, position, count, root, path) {
  if (row.length !== ROW_SIZE) throw malformed("rows/size", `a row of ${row.length} bytes, want ${ROW_SIZE}`);
  verifyInclusion(leafHash(row), BigInt(position), BigInt(count), root, path);
}
