// The rule set that is known here is the one of the page.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex } from "../lib/encoding.js";
import { RULES_DIGEST } from "../lib/rules.js";

test("the digest of the rules is that of docs/spec/rules.md", () => {
  const page = readFileSync(new URL("../../docs/spec/rules.md", import.meta.url));
  assert.equal(hex(RULES_DIGEST), createHash("sha256").update(page).digest("hex"));
});
