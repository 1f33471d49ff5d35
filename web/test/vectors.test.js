// Every vector file gives what it has to; a file that nobody runs fails.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { failures, RUNNERS } from "./vectors.js";

const VECTORS = new URL("../../tests/vectors/", import.meta.url);

test("every vector file has a runner, and every runner a file", () => {
  const files = readdirSync(VECTORS, { recursive: true }).map((name) => String(name).replaceAll("\\", "/"));
  // Samples are for auditors, and how a table's row becomes a record is for holders: a verifier is shown bytes. Bundle
  // cases: bundles.test.js.
  const elsewhere = /^(sample|bundle)\/|^commitments\/rows\.json$/;
  const wanted = files.filter((name) => name.endsWith(".json") && !elsewhere.test(name));
  assert.deepEqual(Object.keys(RUNNERS).sort(), wanted.sort());
});

const files = Object.fromEntries(
  Object.keys(RUNNERS).map((name) => [name, JSON.parse(readFileSync(new URL(name, VECTORS), "utf8"))]),
);

for (const [name, file] of Object.entries(files)) {
  test(name, () => assert.deepEqual(failures(name, file, files), []));
}
