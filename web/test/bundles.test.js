// The published bundles get the verdicts that are published with them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { verifyAsync } from "../lib/verify.js";
import { difference, judge } from "./bundles.js";

const FOLDER = new URL("../../tests/vectors/bundle/", import.meta.url);
const read = (name) => new Uint8Array(readFileSync(new URL(name, FOLDER)));
const cases = JSON.parse(readFileSync(new URL("cases.json", FOLDER), "utf8"));

test("every case gets its verdict", () => {
  assert.deepEqual(
    cases.map((c) => difference(c, read)).filter((line) => line !== null),
    [],
  );
});

test("steps are told as they are finished, and giving way changes nothing", async () => {
  const c = cases.find(({ desc }) => desc === "a look-up of somebody erased everywhere");
  const at_once = judge(c, read);
  const told = [];
  const { state_policy: statePolicy, max_age: maxAge, ...question } = c.question;
  const asked = { ...question, statePolicy, maxAge };
  const given_way = await verifyAsync(read(`${c.bundle}.bundle`), asked, (step) => told.push(step), { slice: 0 });
  assert.deepEqual(given_way, at_once);
  assert.deepEqual(told, at_once.steps);
  assert.equal(told.length, 14);
});

test("an abandoned verification stops", async () => {
  const c = cases[0];
  const stop = new AbortController();
  stop.abort();
  await assert.rejects(verifyAsync(read(`${c.bundle}.bundle`), c.question, undefined, { signal: stop.signal }), {
    name: "AbortError",
  });
});
