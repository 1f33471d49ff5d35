// Every vector file gives what it has to; a file that nobody runs fails.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { failures, RUNNERS } from "./vectors.js";

const VECTORS = new URL("../../tests/vectors/", import.meta.url);

test("every vector file has a runner, and every runner a file", () => {
  const files = readdirSync(VECTORS, { recursive: true }).map((name) => String(name).replaceAll("\\", "/"));
  // Samples are for auditors: not for a verifier of bundles. Bundle cases: bundles.test.js.
  const wanted = files.filter((name) => name.endsWith(".json") && !/^(sample|bundle)\//.test(name));
  assert.deepEqual(Object.keys(RUNNERS).sort(), wanted.sort());
});

for (const name of Object.keys(RUNNERS)) {
  test(name, () => {
    assert.deepEqual(failures(name, JSON.parse(readFileSync(new URL(name, VECTORS), "utf8"))), []);
  });
}
