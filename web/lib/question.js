// What a verifier is asked, and by whom it is told to trust: never by the bundle. Spec: docs/spec/verify.md.

import { Keepsake } from "./bundle.js";
import { hex, utf8 } from "./encoding.js";
import { malformed } from "./errors.js";
import { parseLocator } from "./locators.js";
import { Policy } from "./policy.js";
import { isPartyId } from "./statement.js";

/** @typedef {"excluded" | "erased" | "held"} Expected */
/** @typedef {"A0" | "A1" | "A2" | "A3"} Level */

/**
 * @typedef {object} Asked
 * @property {string | Uint8Array} policy a C2SP tlog-policy file: whom the asker trusts
 * @property {string | Uint8Array | null} [statePolicy] another one, for state witnesses
 * @property {string | null} [holder] id; may be left out beside a keepsake
 * @property {string[]} [locators] canonical; may be left out beside a keepsake
 * @property {Uint8Array | null} [keepsake] the file
 * @property {Expected | null} [expect] null: what the bundle's kind shows
 * @property {Level} [level] the least; A1 if left out
 * @property {number} [maxAge] seconds; a day if left out
 * @property {number} now Unix seconds
 */

export const EXPECTED = ["excluded", "erased", "held"];
export const LEVELS = ["A0", "A1", "A2", "A3"];
export const DAY = 86_400;

/** A question that can be asked. */
export class Question {
  /**
   * Codes: `policy/…`, `question/…`, `locator/…`, and those of a keepsake: the question is wrong, not the bundle.
   * @param {Asked} asked
   */
  constructor(asked) {
    this.policy = policyOf(asked.policy);
    this.statePolicy = asked.statePolicy == null ? null : policyOf(asked.statePolicy);
    this.keepsake = asked.keepsake == null ? null : new Keepsake(asked.keepsake);
    const locators = asked.locators ?? [];
    this.holder = asked.holder ?? this.keepsake?.holder ?? "";
    this.locators = locators.length > 0 ? [...locators] : this.keepsake === null ? [] : [this.keepsake.locator];
    this.expect = asked.expect ?? null;
    this.level = asked.level ?? "A1";
    this.maxAge = asked.maxAge ?? DAY;
    this.now = asked.now;
    this.check();
  }

  check() {
    if (!isPartyId(this.holder)) throw malformed("question/holder", "want the holder's id, a host name");
    if (this.locators.length === 0) throw malformed("question/locators", "want at least one locator");
    for (const locator of this.locators) parseLocator(locator);
    if (this.expect !== null && !EXPECTED.includes(this.expect)) {
      throw malformed("question/expect", `want one of ${EXPECTED.join(", ")}`);
    }
    if (!LEVELS.includes(this.level)) throw malformed("question/level", `want one of ${LEVELS.join(", ")}`);
    if (!Number.isSafeInteger(this.now) || !Number.isSafeInteger(this.maxAge))
      throw new TypeError("want whole seconds");
    const kept = this.keepsake;
    if (kept !== null && (kept.holder !== this.holder || !this.locators.includes(kept.locator))) {
      throw malformed("question/keepsake", "the keepsake is of another holder, or of a locator that was not asked");
    }
    this.checkStatePolicy();
  }

  /** One key in both would make one party vouch for itself. */
  checkStatePolicy() {
    if (this.statePolicy === null) return;
    /** @param {{key: {key: Uint8Array}}[]} lines */
    const keysOf = (lines) => lines.map(({ key }) => hex(key.key));
    for (const [one, other] of [
      [this.policy, this.statePolicy],
      [this.statePolicy, this.policy],
    ]) {
      const elsewhere = new Set([...keysOf(other.witnesses), ...keysOf(other.logs)]);
      if (keysOf(one.witnesses).some((key) => elsewhere.has(key))) {
        throw malformed("question/state-policy", "a key of a witness of one policy stands in the other");
      }
    }
  }
}

/** @param {string | Uint8Array} file */
const policyOf = (file) => Policy.parse(typeof file === "string" ? utf8(file) : file);
