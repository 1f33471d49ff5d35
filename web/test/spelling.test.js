import assert from "node:assert/strict";
import { test } from "node:test";
import { spell } from "../static/spelling.js";

const DIGEST = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

const MEANT = [
  ["Ada@Example.org", "email:ada@example.org"],
  [" email: Ada@Example.org", "email:ada@example.org"],
  [" +44 20 7946-0018 ", "phone:+442079460018"],
  [DIGEST.toUpperCase(), `sha256:${DIGEST}`],
  ["record:a@b", "record:a@b"],
];

for (const [text, locator] of MEANT)
  test(`${JSON.stringify(text)} is ${locator}`, () => assert.equal(spell(text), locator));

const UNCLEAR = [
  "020 7946 0018",
  "0044 20 7946 0018",
  "+44 (0)20 7946 0018",
  "ada",
  "",
  "a@b.org/c",
  "a@exa_mple.org?x",
];

for (const text of UNCLEAR) {
  test(`${JSON.stringify(text)} is not guessed`, () => assert.throws(() => spell(text), { name: "AttestError" }));
}
