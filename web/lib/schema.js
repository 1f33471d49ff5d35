// Shapes of CBOR values, closed: what CDDL says, as functions that return the value or throw.
//
//     const head = record({ system: systemId, held: uint, until: nullable(uint) });
//     read(head, decode(encoded), "head/fields", "a system head");

import { compare } from "./encoding.js";
import { malformed } from "./errors.js";

/** @typedef {import("./cbor.js").Value} Value */
/**
 * @template T
 * @typedef {(value: Value | undefined) => T} Shape
 */

class Misfit extends Error {}

/** @param {string} want @returns {never} */
function misfit(want) {
  throw new Misfit(want);
}

/**
 * Return the value as this shape has it.
 * @template T
 * @param {Shape<T>} shape
 * @param {Value} value
 * @param {string} code of the refusal
 * @param {string} what for people
 * @returns {T}
 */
export function read(shape, value, code, what) {
  try {
    return shape(value);
  } catch (error) {
    if (!(error instanceof Misfit)) throw error;
    throw malformed(code, `${what}: ${error.message}`);
  }
}

/** @param {number} least @param {number} most @returns {Shape<number>} */
export const integer =
  (least, most = Number.MAX_SAFE_INTEGER) =>
  (value) => {
    if (typeof value === "number" && value >= least && value <= most) return value;
    return misfit(`want an integer from ${least} to ${most}`);
  };

export const uint = integer(0);

/** @type {Shape<boolean>} */
export const bool = (value) => (typeof value === "boolean" ? value : misfit("want true or false"));

/** @param {number} size @returns {Shape<Uint8Array>} */
export const bytes = (size) => (value) =>
  value instanceof Uint8Array && value.length === size ? value : misfit(`want ${size} bytes`);

/** @type {Shape<Uint8Array>} */
export const anyBytes = (value) => (value instanceof Uint8Array ? value : misfit("want bytes"));

export const hash = bytes(32);

/** @type {Shape<string>} */
export const anyText = (value) => (typeof value === "string" ? value : misfit("want a text"));

/** @param {number} most code points, none a control character @returns {Shape<string>} */
export const text = (most) => (value) => {
  const fits =
    typeof value === "string" &&
    value.length > 0 &&
    value.length <= 2 * most &&
    [...value].length <= most &&
    !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(value);
  return fits ? value : misfit(`want a text of 1 to ${most} characters, none a control character`);
};

/** @param {(value: string) => boolean} fits @param {string} want @returns {Shape<string>} */
export const textThat = (fits, want) => (value) => (typeof value === "string" && fits(value) ? value : misfit(want));

/** @template {Value} T @param {...T} values @returns {Shape<T>} */
export const oneOf =
  (...values) =>
  (value) =>
    values.includes(/** @type {T} */ (value)) ? /** @type {T} */ (value) : misfit(`want one of ${values.join(", ")}`);

/** @template T @param {Shape<T>} shape @returns {Shape<T | null>} */
export const nullable = (shape) => (value) => (value === null ? null : shape(value));

/** @template T @param {Shape<T>} shape @returns {{optional: Shape<T>}} a member that may be left out */
export const optional = (shape) => ({ optional: shape });

/** @template T @param {Shape<T>} member @param {number} least @param {number} most @returns {Shape<T[]>} */
export const list =
  (member, least, most = Number.POSITIVE_INFINITY) =>
  (value) => {
    if (!Array.isArray(value) || value.length < least || value.length > most) {
      return misfit(`want a list of ${least} to ${most}`);
    }
    return value.map(member);
  };

/**
 * A list whose members strictly ascend by the text or bytes that `by` takes of them.
 * @template T @param {Shape<T[]>} shape @param {(member: T) => string | Uint8Array} by @returns {Shape<T[]>}
 */
export const ascending = (shape, by) => (value) => {
  const members = shape(value);
  for (let i = 1; i < members.length; i++) {
    const [before, here] = [by(members[i - 1]), by(members[i])];
    const inOrder =
      before instanceof Uint8Array && here instanceof Uint8Array ? compare(before, here) < 0 : before < here;
    if (!inOrder) return misfit("want a strictly ascending list");
  }
  return members;
};

/**
 * A map with exactly these members. An optional one that is left out is null.
 * @template {{[name: string]: Shape<any> | {optional: Shape<any>}}} F
 * @param {F} fields
 * @returns {Shape<{[K in keyof F]: F[K] extends Shape<infer T> ? T : F[K] extends {optional: Shape<infer T>} ? T | null : never}>}
 */
export const record = (fields) => (value) => {
  if (!(value instanceof Map)) return misfit("want a map");
  /** @type {any} */
  const members = {};
  let seen = 0;
  for (const [name, shape] of Object.entries(fields)) {
    if (!value.has(name)) {
      if (typeof shape === "function") return misfit(`${name} is missing`);
      members[name] = null;
      continue;
    }
    seen++;
    try {
      members[name] = (typeof shape === "function" ? shape : shape.optional)(value.get(name));
    } catch (error) {
      if (error instanceof Misfit) throw new Misfit(`${name}: ${error.message}`);
      throw error;
    }
  }
  if (seen !== value.size) return misfit("a member that is not known");
  return members;
};
