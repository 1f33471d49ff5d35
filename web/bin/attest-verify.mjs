#!/usr/bin/env node
// Judge bundles by the JavaScript implementation: a question a line in, a verdict a line out, both JSON.
//
//     {"question": {"policy", "state_policy", "holder", "locators", "expect", "level", "max_age", "now"},
//      "bundle": base64, "keepsake": base64 | null}

import { createInterface } from "node:readline";
import { AttestError } from "../lib/errors.js";
import { verdictJson, verify } from "../lib/verify.js";

/** @param {string | null | undefined} text */
const bytes = (text) => (text == null ? null : new Uint8Array(Buffer.from(text, "base64")));

for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
  const { question, bundle, keepsake } = JSON.parse(line);
  const { state_policy: statePolicy, max_age: maxAge, ...rest } = question;
  let answer;
  try {
    const asked = { ...rest, statePolicy, maxAge, keepsake: bytes(keepsake) };
    answer = verify(/** @type {Uint8Array} */ (bytes(bundle)), asked);
  } catch (error) {
    if (!(error instanceof AttestError)) throw error;
    answer = { outcome: "usage", code: error.code, reason: error.message };
  }
  process.stdout.write(`${verdictJson(answer)}\n`);
}
