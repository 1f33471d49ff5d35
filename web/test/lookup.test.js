// From a keepsake to a look-up that verifies.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseHex, utf8 } from "../lib/encoding.js";
import { checkKeepsake, indexesOf, Keepsake, lookupBundle, lookupRequest } from "../lib/lookup.js";
import { verify } from "../lib/verify.js";

const FOLDER = new URL("../../tests/vectors/bundle/", import.meta.url);
const read = (name) => new Uint8Array(readFileSync(new URL(name, FOLDER)));
const lookup = JSON.parse(readFileSync(new URL("lookup-ada.bundle", FOLDER), "utf8"));
const { question } = JSON.parse(readFileSync(new URL("cases.json", FOLDER), "utf8")).find(
  ({ desc }) => desc === "a look-up of somebody erased everywhere",
);
const keepsake = new Keepsake(read("ada.keepsake"));
const answered = ({ checkpoint, entries, holder, systems, states }) => ({
  checkpoint,
  entries,
  holder,
  systems,
  states,
});

test("indexes are those that the holder computes with its secret", () => {
  const vectors = (name) => JSON.parse(readFileSync(new URL(`../${name}`, FOLDER), "utf8")).cases;
  const { pk, pi } = vectors("vrf/proofs.json").find(({ name }) => name === "locator");
  const chains = vectors("commitments/chain.json").filter(({ locator }) => locator === "email:ada@example.org");
  assert.ok(chains.length > 0);
  for (const { holder, system, locator, index } of chains) {
    const vrf = { key: parseHex(pk), proof: parseHex(pi) };
    assert.deepEqual(indexesOf(holder, [system], { locator, vrf }), { [system]: index });
  }
});

test("a request has one index for each system, and a size only if one is wanted", () => {
  const systems = ["db", "search", "tape"];
  const asked = JSON.parse(lookupRequest(keepsake.holder, systems, [keepsake]));
  assert.deepEqual(asked, { holder: "acme.example", locators: [indexesOf("acme.example", systems, keepsake)] });
  assert.equal(JSON.parse(lookupRequest(keepsake.holder, systems, [keepsake], 22)).size, 22);
});

test("an answer becomes a bundle that verifies as the published one does", () => {
  for (const space of ["", "\n  "]) {
    const bundle = lookupBundle(utf8(space + JSON.stringify(answered(lookup), null, space) + space), [keepsake]);
    const asked = { policy: question.policy, now: question.now, keepsake: read("ada.keepsake") };
    const verdict = verify(bundle, asked);
    assert.deepEqual([verdict.outcome, verdict.claim], ["holds", "excluded"]);
    assert.deepEqual(JSON.parse(new TextDecoder().decode(bundle)), lookup);
  }
});

test("an answer with other members makes no bundle", () => {
  for (const [answer, code] of [
    [{ ...answered(lookup), rows: [] }, "json/field"],
    [{ ...answered(lookup), kind: "hold" }, "json/field"],
    [[answered(lookup)], "json/field"],
  ]) {
    assert.throws(() => lookupBundle(utf8(JSON.stringify(answer)), [keepsake]), { code });
  }
});

test("a keepsake fits itself, and does not once a part is another's", () => {
  checkKeepsake(keepsake);
  const [first, ...rest] = keepsake.holds;
  for (const changed of [
    { ...first, blind: new Uint8Array(32) },
    { ...first, records: [new Uint8Array(32)] },
    { ...first, entry: first.entry + 1 },
    { ...first, entryId: rest[0].entryId },
    { ...first, system: rest[0].system },
  ]) {
    assert.throws(() => checkKeepsake({ ...keepsake, holds: [changed, ...rest] }), { code: "keepsake/hold" });
  }
  assert.throws(() => checkKeepsake({ ...keepsake, locator: "email:bob@example.org" }), { code: "vrf/mismatch" });
});
