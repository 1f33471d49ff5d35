// What holds for every input, on many drawn from a fixed seed; built-ins of Node as oracles where they are strict enough.

import assert from "node:assert/strict";
import crypto from "node:crypto";
import { test } from "node:test";
import { decode, encode } from "../lib/cbor.js";
import * as enc from "../lib/encoding.js";
import { AttestError } from "../lib/errors.js";
import { parseJson } from "../lib/json.js";
import { thumbprint, verifyEd25519 } from "../lib/keys.js";
import { mapRoot, PrunedMap } from "../lib/sparse.js";
import { Frontier, leafHash, nodeHash, rootOf, verifyInclusion } from "../lib/tree.js";

/** Return a function that draws whole numbers below a limit, the same ones every time. */
function drawing(seed) {
  let state = seed;
  return (limit) => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  };
}

const bytes = (draw, length) => Uint8Array.from({ length }, () => draw(256));

/** Run a reader on something and return its code, or null; anything but a value or an AttestError is a fault. */
function refuses(read) {
  try {
    read();
    return null;
  } catch (error) {
    if (error instanceof AttestError) return error.code;
    throw error;
  }
}

test("base64 and hex are those of Node, and have one spelling", () => {
  const draw = drawing(1);
  for (let i = 0; i < 500; i++) {
    const value = bytes(draw, draw(70));
    const text = Buffer.from(value).toString("base64");
    assert.equal(enc.base64(value), text);
    assert.deepEqual(enc.parseBase64(text), value);
    assert.equal(enc.base64url(value), Buffer.from(value).toString("base64url"));
    assert.deepEqual(enc.parseBase64url(enc.base64url(value)), value);
    assert.equal(enc.hex(value), Buffer.from(value).toString("hex"));
    const at = draw(text.length + 1);
    const changed = text.slice(0, at) + "=+/Az-_ \n\0"[draw(10)] + text.slice(at + draw(2));
    refuses(() => assert.equal(enc.base64(enc.parseBase64(changed)), changed));
  }
});

function cborValue(draw, depth) {
  switch (draw(depth > 3 ? 4 : 6)) {
    case 0:
      return [draw(30), draw(2 ** 31) * 2 ** draw(22), -1 - draw(70_000), 2 ** 53 - 1, -(2 ** 53 - 1)][draw(5)];
    case 1:
      return bytes(draw, draw(40));
    case 2:
      return ["", "a", "é", "𐅑", "x".repeat(draw(300))][draw(5)];
    case 3:
      return [true, false, null][draw(3)];
    case 4:
      return Array.from({ length: draw(30) }, () => cborValue(draw, depth + 1));
    default:
      return new Map(Array.from({ length: draw(6) }, () => [draw(2) ? draw(500) - 250 : `k${draw(300)}`, draw(9)]));
  }
}

test("CBOR has one spelling: what is read encodes back, and nothing else is read", () => {
  const draw = drawing(2);
  for (let i = 0; i < 1500; i++) {
    const encoded = encode(cborValue(draw, 0));
    assert.deepEqual(encode(decode(encoded)), encoded);
    const changed = encoded.slice();
    changed[draw(changed.length)] = draw(256);
    refuses(() => assert.deepEqual(encode(decode(changed)), changed));
    refuses(() => decode(encoded.subarray(0, draw(encoded.length))));
  }
});

function jsonValue(draw, depth) {
  switch (draw(depth > 3 ? 3 : 5)) {
    case 0:
      return draw(2 ** 31) * 2 ** draw(22);
    case 1:
      return ["", 'q"\\/\b\f\n\r\t', "\u0000\u001f", "é𐅑\u2028", "x".repeat(draw(50))][draw(5)];
    case 2:
      return [true, false, null][draw(3)];
    case 3:
      return Array.from({ length: draw(5) }, () => jsonValue(draw, depth + 1));
    default:
      return Object.fromEntries(Array.from({ length: draw(5) }, () => [`k${draw(50)}`, jsonValue(draw, depth + 1)]));
  }
}

const fromMaps = (value) =>
  value instanceof Map
    ? Object.fromEntries([...value].map(([key, member]) => [key, fromMaps(member)]))
    : Array.isArray(value)
      ? value.map(fromMaps)
      : value;

test("JSON reads as JSON.parse does, or refuses what that takes too lightly", () => {
  const draw = drawing(3);
  let taken = 0;
  for (let i = 0; i < 3000; i++) {
    const value = jsonValue(draw, 0);
    const text = JSON.stringify(value, null, draw(3));
    assert.deepEqual(fromMaps(parseJson(enc.utf8(text), 1e6)), value);
    const at = draw(text.length + 1);
    const put = ["", "0", ",", '"', "\\", "}", "]", "-", ".", "e", " "][draw(11)];
    const changed = (text.slice(0, at) + put + text.slice(at + 1)).toWellFormed();
    let wanted;
    try {
      wanted = JSON.parse(changed);
    } catch {
      assert.equal(refuses(() => parseJson(enc.utf8(changed), 1e6)) === null, false, changed);
      continue;
    }
    const code = refuses(() => assert.deepEqual(fromMaps(parseJson(enc.utf8(changed), 1e6)), wanted));
    assert.ok([null, "json/duplicate-key", "json/number", "encoding/utf8"].includes(code), `${code}: ${changed}`);
    if (code === null) taken++;
  }
  assert.ok(taken > 300);
});

test("Ed25519 verifies what Node's OpenSSL signs, and nothing with a bit changed", () => {
  const draw = drawing(4);
  for (let i = 0; i < 12; i++) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync("ed25519");
    const key = new Uint8Array(Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url"));
    const message = bytes(draw, draw(300));
    const signature = new Uint8Array(crypto.sign(null, message, privateKey));
    verifyEd25519(key, signature, message);
    const changed = signature.slice();
    changed[draw(64)] ^= 1 << draw(8);
    assert.throws(() => verifyEd25519(key, changed, message), { code: "signature/invalid" });
    assert.equal(thumbprint(key).length, 32);
  }
});

/** The tree of RFC 6962 §2.1, by its recursive definition. */
function recursiveRoot(leaves) {
  if (leaves.length < 2) return rootOf(leaves);
  let split = 1;
  while (2 * split < leaves.length) split *= 2;
  return nodeHash(recursiveRoot(leaves.slice(0, split)), recursiveRoot(leaves.slice(split)));
}

function pathOf(leaves, index) {
  if (leaves.length === 1) return [];
  let split = 1;
  while (2 * split < leaves.length) split *= 2;
  const [left, right] = [leaves.slice(0, split), leaves.slice(split)];
  return index < split
    ? [...pathOf(left, index), recursiveRoot(right)]
    : [...pathOf(right, index - split), recursiveRoot(left)];
}

test("a tree built level by level, or entry by entry, is the one that RFC 6962 defines", () => {
  const draw = drawing(5);
  let frontier = new Frontier(0n, []);
  const leaves = [];
  for (let size = 1; size <= 40; size++) {
    leaves.push(leafHash(bytes(draw, draw(9))));
    frontier = frontier.append(leaves[size - 1]);
    const root = recursiveRoot(leaves);
    assert.deepEqual(rootOf(leaves), root);
    assert.deepEqual(frontier.root(), root);
    const index = draw(size);
    verifyInclusion(leaves[index], BigInt(index), BigInt(size), root, pathOf(leaves, index));
  }
});

test("a map that grows binding by binding has the root of all of them, in any order, and shrinks back", () => {
  const draw = drawing(6);
  for (let round = 0; round < 10; round++) {
    const bindings = Array.from({ length: 1 + draw(25) }, () => [enc.sha256(bytes(draw, 8)), bytes(draw, 32)]);
    let map = new PrunedMap({ tag: 0 });
    for (const [key, value] of bindings) {
      const before = map.root();
      const grown = map.set(key, value);
      assert.deepEqual(grown.without(key).root(), before);
      map = grown;
    }
    assert.deepEqual(map.root(), mapRoot(bindings));
    assert.deepEqual(PrunedMap.parse(map.encode()).root(), mapRoot([...bindings].reverse()));
    for (const [key, value] of bindings) assert.deepEqual(map.get(key), value);
  }
});
