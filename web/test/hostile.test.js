// Files made to hang or exhaust a page are refused in time, and leave nothing behind.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decode } from "../lib/cbor.js";
import { utf8 } from "../lib/encoding.js";
import { parseJson } from "../lib/json.js";
import { PrunedMap } from "../lib/sparse.js";
import { verify } from "../lib/verify.js";

const FOLDER = new URL("../../tests/vectors/bundle/", import.meta.url);
const { question } = JSON.parse(readFileSync(new URL("cases.json", FOLDER), "utf8"))[0];
const HOLD = JSON.parse(readFileSync(new URL("hold.bundle", FOLDER), "utf8"));
const MIB = 2 ** 20;
const asked = { policy: question.policy, now: question.now, holder: question.holder, locators: question.locators };

/** A bundle whose last member is this text. */
const endless = (text) => utf8(`{"format": "attest-bundle/1", "rows": ${text}`);

const judged = (encoded) => {
  const { outcome, code } = verify(encoded, asked);
  return [outcome, code];
};

test("nesting is bounded, however deep it goes", () => {
  assert.deepEqual(judged(endless("[".repeat(8 * MIB))), ["refuted", "json/syntax"]);
  assert.deepEqual(judged(endless('{"a":'.repeat(MIB))), ["refuted", "json/syntax"]);
  parseJson(utf8("[".repeat(100) + "]".repeat(100)), MIB);
  assert.throws(() => parseJson(utf8("[".repeat(101) + "]".repeat(101)), MIB), { code: "json/syntax" });
});

test("many small members are refused before they fill the memory", () => {
  assert.deepEqual(judged(endless(`[${"{},".repeat(5_000_000)}{}]}`)), ["refuted", "json/field"]);
});

test("one long string, plain or of escapes, is read in time", () => {
  for (const unit of ["x", "\\n", "\\u0041"]) {
    const text = `"${unit.repeat(Math.floor((16 * MIB) / unit.length))}"`;
    assert.deepEqual(judged(endless(`${text}}`)), ["refuted", "json/field"]);
    assert.deepEqual(judged(endless(text)), ["refuted", "json/syntax"]);
  }
});

test("a file above the limit is not read", () => {
  const large = new Uint8Array(64 * MIB + 1);
  large.set(endless("["));
  assert.deepEqual(judged(large), ["refuted", "json/size"]);
});

test("keys that mean something to JavaScript are keys like others", () => {
  for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
    assert.deepEqual(judged(utf8(JSON.stringify(HOLD).replace('"format"', `"${key}":{"polluted":1},"format"`))), [
      "refuted",
      "json/field",
    ]);
    assert.deepEqual(judged(utf8(JSON.stringify({ [key]: "attest-bundle/1" }))), ["undecided", "bundle/format"]);
    const map = decode(Uint8Array.from([0xa1, 0x60 + key.length, ...utf8(key), 0xa0]));
    assert.deepEqual([...map.keys()], [key]);
  }
  assert.equal({}.polluted, undefined);
});

test("CBOR that announces more than it has is refused at once", () => {
  for (const head of [0x9b, 0xbb, 0x5b, 0x7b]) {
    const announced = Uint8Array.from([head, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]);
    assert.throws(() => decode(announced), { code: "cbor/truncated" });
  }
});

test("a pruned map is as deep as a key has bits, and no deeper", () => {
  const deep = new Uint8Array(100_000).fill(3);
  assert.throws(() => PrunedMap.parse(deep), { code: "pruned/depth" });
});
