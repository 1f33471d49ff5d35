// Every refusal is an AttestError with a stable code. Spec: docs/errors.md.

/**
 * What is wrong: with the bytes, with who stands behind them, with what is there already, with the claim; or nothing
 * can be said now.
 * @typedef {"malformed" | "untrusted" | "conflict" | "refuted" | "unavailable"} Kind
 */

/** A refusal, with the stable `code` that docs/errors.md explains. */
export class AttestError extends Error {
  /**
   * @param {Kind} kind
   * @param {string} code `area/name`; programs may rely on it
   * @param {string} message what was found and what was expected, for people
   * @param {{hint?: string, rows?: number[]}} [more] what to do; the zero-based rows at fault, at most 16
   */
  constructor(kind, code, message, { hint = "", rows = [] } = {}) {
    super(message);
    this.name = "AttestError";
    this.kind = kind;
    this.code = code;
    this.hint = hint;
    this.rows = rows;
  }
}

/** @param {Kind} kind @returns {(code: string, message: string, more?: {hint?: string, rows?: number[]}) => AttestError} */
const maker = (kind) => (code, message, more) => new AttestError(kind, code, message, more);

export const malformed = maker("malformed");
export const untrusted = maker("untrusted");
export const conflict = maker("conflict");
export const refuted = maker("refuted");
export const unavailable = maker("unavailable");
