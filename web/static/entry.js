// Check a statement's signature and its place in the log, in the reader's browser.

import { TlogProof } from "../lib/checkpoint.js";
import { hex, parseHex } from "../lib/encoding.js";
import { Policy, wantLog } from "../lib/policy.js";
import { Statement } from "../lib/statement.js";
import { leafHash, verifyInclusion } from "../lib/tree.js";
import { byId } from "./dom.js";
import { Steps } from "./verdict.js";

const box = byId("check");
const button = box.querySelector("button");

box.hidden = false;
button.addEventListener("click", check);

async function check() {
  const { entry: id, key, position } = box.dataset;
  const steps = new Steps();
  box.querySelector("section")?.remove();
  box.append(steps.element);
  button.disabled = true;
  let number = 0;
  /** @param {string} title @param {() => Promise<string> | string} run @returns {Promise<boolean>} */
  const step = async (title, run) => {
    number += 1;
    try {
      steps.add({ number, name: `entry-${number}`, title, ok: true, code: "", detail: await run() });
      return true;
    } catch (error) {
      const { code = "fetch", message } = /** @type {any} */ (error);
      steps.add({ number, name: `entry-${number}`, title, ok: false, code, detail: message });
      return false;
    }
  };
  /** @type {any} */
  let statement;
  /** @type {any} */
  let proof;
  const fits =
    (await step("fetch the statement and its proof", async () => {
      statement = new Statement(await get(`/entries/${id}/statement`));
      proof = TlogProof.parse(await get(`/proofs/entry/${id}`));
      return `${statement.entry.length} bytes`;
    })) &&
    (await step("hash the statement: it is the one with this id", () => {
      if (statement.entryId() !== id) throw new Error("the log served another statement");
      return hex(statement.leaf());
    })) &&
    (await step("check the signature by the key shown above", () => {
      if (!key) throw new Error("the page shows no key for it");
      statement.verify(parseHex(key, 32));
      return "an audit shows whether this key was in force";
    })) &&
    (await step("check the path from it to the root of a checkpoint", () => {
      const { root, size } = proof.signed.checkpoint;
      if (proof.index !== BigInt(position)) throw new Error(`the proof is of entry ${proof.index}`);
      verifyInclusion(leafHash(statement.entry), proof.index, size, root, proof.path);
      return `entry ${position} of ${size}, ${proof.path.length} hashes`;
    })) &&
    (await step("check who signed that checkpoint, by the log’s own policy", async () => {
      const weighed = Policy.parse(await get("/policy")).weigh(proof.signed);
      wantLog(weighed);
      const witnesses = [...new Set(weighed.witnesses.map((each) => each.key.name))].join(", ");
      return witnesses === "" ? "the log alone" : `the log, and ${witnesses}`;
    }));
  button.disabled = false;
  button.textContent = fits ? "Check again" : "Try again";
}

/** @param {string} path */
async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answers with status ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}
