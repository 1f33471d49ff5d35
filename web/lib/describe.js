// An entry as plain data, for pages.

import { hex } from "./encoding.js";
import { Statement } from "./statement.js";

/**
 * Return what an entry says, bytes in hex; its signature is not verified. Codes: as Statement.
 * @param {Uint8Array} entry
 * @returns {{kind: string, issuer: string, stream: string, audience: string, issued_at: number, kid: string,
 *   seq: number, about: string | null, ref: string[], payload: {[name: string]: any}, leaf: string, entry_id: string,
 *   signature: string, size: number}}
 */
export function describe(entry) {
  const statement = new Statement(entry);
  const { kind, ...payload } = statement.payload;
  return {
    kind,
    issuer: statement.issuer,
    stream: statement.stream,
    audience: statement.audience,
    issued_at: statement.issuedAt,
    kid: hex(statement.kid),
    seq: statement.seq,
    about: statement.about,
    ref: statement.ref.map(hex),
    payload: plain(payload),
    leaf: hex(statement.leaf()),
    entry_id: statement.entryId(),
    signature: hex(statement.signature),
    size: entry.length,
  };
}

/** @param {any} value @returns {any} */
function plain(value) {
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
}
