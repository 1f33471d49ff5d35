import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseLocator } from "../lib/locators.js";
import { spell } from "../static/spelling.js";

const { cases } = JSON.parse(
  readFileSync(new URL("../../tests/vectors/locators/normalised.json", import.meta.url), "utf8"),
);

// A page has no telephone book of the world, and helps with a type that is left out.
const skipped = (each) => each.needs === "phonenumbers" || each.code === "locator/type";

for (const each of cases.filter((each) => !skipped(each))) {
  test(`${JSON.stringify(each.text)} is ${each.locator ?? "refused"}`, () => {
    if (each.locator !== undefined) return assert.equal(spell(each.text), each.locator);
    assert.throws(() => parseLocator(spell(each.text)), { code: each.code });
  });
}

const GUESSED = [
  ["Ada@Example.org", "email:ada@example.org"],
  [" +44 20 7946-0018 ", "phone:+442079460018"],
  [
    "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824",
    "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
  ],
];

for (const [text, locator] of GUESSED) test(`${text} is guessed`, () => assert.equal(spell(text), locator));

const NOT_GUESSED = [
  "020 7946 0018",
  "0044 20 7946 0018",
  "+44 (0)20 7946 0018",
  "ada",
  "",
  "email:a@b.org/c",
  "a@exa_mple.org?x",
];

for (const text of NOT_GUESSED)
  test(`${JSON.stringify(text)} stays wrong`, () => assert.throws(() => parseLocator(spell(text))));
