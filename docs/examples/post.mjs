// Commit what a company holds, and sign what it erased, over plain HTTP: docs/guides/posting.md, step by step.
//
//     node post.mjs hold     HOME SYSTEM RECORDS KEPT [--cause collected]
//     node post.mjs erase    HOME SYSTEM LOCATORS KEPT --method M --ground G --erased-at TIME [--level none]
//     node post.mjs send     HOME KEPT          go on where a run was interrupted
//     node post.mjs withdraw HOME KEPT          give up what the log refused
//     node post.mjs keepsake HOME LOCATOR KEPT  what a person keeps, on standard output
//
// HOME is what `attest holder init` made. RECORDS has one JSON object a line, {"locator", "records": [SHA-256 in hex]};
// LOCATORS one locator a line. KEPT is a file of ours: salts, and what was signed. Node 20 or later, and web/ of this
// repository; no other package.

import { createPrivateKey, createPublicKey, sign as signEd25519 } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { encode } from "../../web/lib/cbor.js";
import { TlogProof } from "../../web/lib/checkpoint.js";
import { blindOf, commitmentOf, indexOf, recordDigest } from "../../web/lib/commitments.js";
import { encodeToCurve } from "../../web/lib/vrf.js";
import { leToBigint, ORDER, Point, sha512 } from "../../web/lib/curve.js";
import { base64, compare, concat, equal, hex, parseBase64, parseHex, parseUtf8, utf8 } from "../../web/lib/encoding.js";
import { thumbprint } from "../../web/lib/keys.js";
import { alphaOf, parseLocator } from "../../web/lib/locators.js";
import { Policy, wantLog } from "../../web/lib/policy.js";
import { RowFile } from "../../web/lib/rows.js";
import { Statement, toCbor } from "../../web/lib/statement.js";
import { verifyInclusion } from "../../web/lib/tree.js";
import { verify } from "../../web/lib/verify.js";

/** @typedef {{salt: string, records: string[], commitment: string}} Opening base64, hex, hex */
/** @typedef {{position: number, entry_id: string}} Placed */
/**
 * A statement that was signed, and is not known to be in the log.
 * @typedef {object} Pending
 * @property {string} system @property {string} kind @property {number} seq
 * @property {string} entry base64 @property {string} rows base64
 * @property {{[index: string]: Opening}} openings of a hold's rows
 */
/**
 * What has to be kept. `next` is the seq after the last statement that is proven to be in the log.
 * @typedef {object} Kept
 * @property {"post-kept/1"} format @property {string} holder @property {string} origin
 * @property {Pending | null} pending
 * @property {{[system: string]: {next: number, statements: (Placed & {entry: string})[], held: {[index: string]: Opening & Placed}}}} systems
 */

const MAX_INPUT = 256 * 2 ** 20; // bytes
const MAX_ANSWER = 16 * 2 ** 20; // bytes
const PATIENCE_S = 300;
const TIMEOUT_S = 30; // of one request, besides what its body takes
const SLOWEST = 2 ** 17; // bytes a second

// --- the VRF: RFC 9381, ECVRF-EDWARDS25519-SHA512-TAI; docs/spec/vrf.md#proving ---

/** A holder's VRF key. The point arithmetic takes the same steps for every scalar, as far as JavaScript allows. */
export class VrfKey {
  /** @param {Uint8Array} secret 32 bytes */
  constructor(secret) {
    const expanded = sha512(secret);
    const clamped = expanded.slice(0, 32);
    clamped[0] &= 0xf8;
    clamped[31] = (clamped[31] & 0x7f) | 0x40;
    this.nonceKey = expanded.slice(32);
    // Every point that it is multiplied with is of the group of this order.
    this.x = leToBigint(clamped) % ORDER;
    this.public = Point.BASE.multiply(this.x).toBytes();
  }

  /**
   * Return beta, the VRF's output at `alpha`, 64 bytes.
   * @param {Uint8Array} alpha
   */
  evaluate(alpha) {
    return betaOf(encodeToCurve(this.public, alpha).multiply(this.x));
  }

  /**
   * Return the proof that beta is the output at `alpha`, 80 bytes: Gamma ‖ c ‖ s. The nonce is that of section 5.4.2.2.
   * @param {Uint8Array} alpha
   */
  prove(alpha) {
    const H = encodeToCurve(this.public, alpha);
    const gamma = H.multiply(this.x);
    const k = leToBigint(sha512(concat(this.nonceKey, H.toBytes()))) % ORDER;
    const points = [this.public, ...[H, gamma, Point.BASE.multiply(k), H.multiply(k)].map((point) => point.toBytes())];
    const c = sha512(concat(Uint8Array.of(3, 2), ...points, Uint8Array.of(0))).slice(0, 16);
    return concat(gamma.toBytes(), c, littleEndian((k + leToBigint(c) * this.x) % ORDER));
  }
}

/** @param {import("../../web/lib/curve.js").EdwardsPoint} gamma */
const betaOf = (gamma) => sha512(concat(Uint8Array.of(3, 3), gamma.clearCofactor().toBytes(), Uint8Array.of(0)));

/** @param {bigint} value below 2^256 */
const littleEndian = (value) => parseHex(value.toString(16).padStart(64, "0")).reverse();

// --- the company: its directory, its keys ---

/** @param {string} path @param {number} [most] bytes */
function read(path, most = MAX_INPUT) {
  const { size } = fs.statSync(path);
  if (size > most) throw new Error(`${path}: ${size} bytes, at most ${most} are read`);
  return new Uint8Array(fs.readFileSync(path));
}

class Company {
  /** @param {string} home the directory that `attest holder init` made */
  constructor(home) {
    this.home = home;
    // Each line that matters here is `name = "text"`, and that text is JSON too.
    const lines = parseUtf8(read(join(home, "holder.toml"), 65_536)).split("\n");
    /** @param {string} name */
    const setting = (name) => {
      const line = lines.find((each) => each.startsWith(`${name} = `));
      if (line === undefined) throw new Error(`holder.toml says no ${name}`);
      return JSON.parse(line.slice(name.length + 3));
    };
    /** @type {string} */
    this.id = setting("id");
    /** @type {string} */
    this.origin = setting("origin");
    /** @type {string} */
    this.url = setting("url").replace(/\/+$/, "");
    this.policyFile = read(join(home, "policy"), 2 ** 20);
    this.policy = Policy.parse(this.policyFile);
    this.vrf = new VrfKey(armoured(parseUtf8(read(join(home, "keys/vrf.pem"), 65_536))));
  }

  /**
   * Return the signing key that the log has in force, and its public half.
   * @param {{key: string, use: string, until: number | null}[]} known of `GET /holders/{id}`
   */
  signer(known) {
    const inForce = known.filter(({ use, until }) => use === "sign" && until === null).map(({ key }) => key);
    const folder = join(this.home, "keys");
    for (const name of fs.readdirSync(folder).filter((each) => /^sign-.*\.pem$/.test(each))) {
      const secret = createPrivateKey(parseUtf8(read(join(folder, name), 65_536)));
      const { x } = createPublicKey(secret).export({ format: "jwk" });
      const key = Buffer.from(String(x), "base64url");
      if (inForce.includes(key.toString("base64"))) return { secret, key: new Uint8Array(key) };
    }
    throw new Error("the log has none of the signing keys in this directory in force");
  }

  /** @param {string} system @param {string} locator canonical */
  index(system, locator) {
    return indexOf(this.id, system, this.vrf.evaluate(alphaOf(locator)));
  }
}

/** @param {string} pem the VRF secret, in a form of its own: no tool shall take it for a signing key */
function armoured(pem) {
  const found = /^-----BEGIN ATTEST VRF SECRET-----\n([A-Za-z0-9+/=\n]+)\n-----END ATTEST VRF SECRET-----\n$/.exec(pem);
  if (found === null)
    throw new Error("keys/vrf.pem is encrypted, or none of ours: this example reads keys in the clear");
  return parseBase64(found[1].replaceAll("\n", ""), 32);
}

// --- the log: requests that may be repeated ---

class Log {
  /** @param {string} url */
  constructor(url) {
    this.url = url;
    this.deadline = Date.now() + PATIENCE_S * 1000;
  }

  /**
   * Ask, and ask again while the log is busy or out of reach: every request made here may be repeated, because the same
   * bytes are the same entry.
   * @param {string} method @param {string} path @param {Uint8Array} [body] @param {string} [type] of the body
   * @returns {Promise<{status: number, body: Uint8Array, wait: number}>} wait: seconds
   */
  async ask(method, path, body, type) {
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await fetch(this.url + path, {
          method,
          redirect: "error",
          signal: AbortSignal.timeout(1000 * (TIMEOUT_S + Math.ceil((body?.length ?? 0) / SLOWEST))),
          headers: { Accept: "application/json", ...(type && { "Content-Type": type }) },
          ...(body && { body: new Uint8Array(body) }),
        });
        const asked = Number(answer.headers.get("Retry-After")) || 0;
        const wait = Math.min(Math.max(asked, 1), 60);
        const whole = await bounded(answer);
        // 429: too many writes from this address. 503: not now. Other 5xx come from whatever stands in between.
        if (answer.status !== 429 && answer.status < 500) return { status: answer.status, body: whole, wait };
        await this.pause(asked > 0 ? wait : 2 ** attempt, `status ${answer.status}: ${problemOf(whole).code}`);
      } catch (error) {
        if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
        // Nobody knows whether it arrived.
        await this.pause(2 ** attempt, "no answer");
      }
    }
  }

  /** @param {number} seconds @param {string} why */
  async pause(seconds, why) {
    const wait = Math.min(seconds, 60) * 1000;
    if (Date.now() + wait > this.deadline) {
      throw new Error(`the log did not settle it in time (${why}); run \`send\` later: nothing is sent twice`);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }

  /** @param {string} path @returns {Promise<any>} */
  async json(path) {
    const { status, body } = await this.ask("GET", path);
    if (status !== 200) throw refusal(body);
    return JSON.parse(parseUtf8(body));
  }
}

/** @param {Response} answer */
async function bounded(answer) {
  const parts = [];
  let length = 0;
  for await (const part of answer.body ?? []) {
    length += part.length;
    if (length > MAX_ANSWER) throw new Error(`an answer of more than ${MAX_ANSWER} bytes`);
    parts.push(part);
  }
  return concat(...parts);
}

/** @param {Uint8Array} body of a problem document */
function problemOf(body) {
  try {
    const { code, detail, hint } = JSON.parse(parseUtf8(body));
    // For a terminal, which a control character could tell to do something.
    const plain = (/** @type {unknown} */ text) => String(text).slice(0, 500).replace(/\p{C}/gu, "?");
    return { code: plain(code), detail: plain(detail), hint: hint ? `; ${plain(hint)}` : "" };
  } catch {
    return { code: "unknown", detail: "not an answer of a log", hint: "" };
  }
}

/** @param {Uint8Array} body */
function refusal(body) {
  const { code, detail, hint } = problemOf(body);
  return Object.assign(new Error(`${code}: ${detail}${hint}`), { code });
}

// --- what is kept ---

/**
 * Run `work` with the file of what is kept, alone: two runs at once would sign two statements with one number.
 * @param {string} path @param {Company} company @param {(kept: Kept, save: () => void) => Promise<void>} work
 */
async function keeping(path, company, work) {
  const lock = `${path}.lock`;
  try {
    fs.closeSync(fs.openSync(lock, "wx"));
  } catch {
    throw new Error(`${lock} is there: another run is at work, or one was killed; if so, remove it`);
  }
  try {
    /** @type {Kept} */
    const kept = fs.existsSync(path)
      ? JSON.parse(parseUtf8(read(path)))
      : { format: "post-kept/1", holder: company.id, origin: company.origin, pending: null, systems: {} };
    if (kept.format !== "post-kept/1" || kept.holder !== company.id || kept.origin !== company.origin) {
      throw new Error(`${path} is of another holder or log, or not ours`);
    }
    await work(kept, () => save(path, kept));
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

/** Write it whole or not at all, and durably. @param {string} path @param {Kept} kept */
function save(path, kept) {
  const file = fs.openSync(`${path}.new`, "w", 0o600);
  fs.writeFileSync(file, JSON.stringify(kept, null, 1));
  fs.fsyncSync(file);
  fs.closeSync(file);
  fs.renameSync(`${path}.new`, path);
  const folder = fs.openSync(dirname(path), "r");
  fs.fsyncSync(folder);
  fs.closeSync(folder);
}

/** @param {Kept} kept @param {string} system */
const systemOf = (kept, system) => (kept.systems[system] ??= { next: 0, statements: [], held: {} });

// --- statements ---

/**
 * Sign a statement (docs/spec/statements.md), and keep it before anybody sees it.
 * @param {Company} company @param {Log} log @param {Kept} kept @param {string} system @param {Uint8Array[]} rows
 * @param {{kind: string, [name: string]: string | number}} fields without count, root and seq
 * @param {{[index: string]: Opening}} openings
 */
async function signed(company, log, kept, system, rows, fields, openings) {
  const encoded = new Uint8Array(64 * rows.length);
  rows.sort(compare).forEach((row, at) => encoded.set(row, 64 * at));
  const file = new RowFile(encoded);
  const { systems } = await log.json(`/holders/${company.id}/systems`);
  const found = systems.find((/** @type {{id: string}} */ { id }) => id === system);
  if (found === undefined) throw new Error(`no system ${system}: attest holder systems add`);
  const { keys } = await log.json(`/holders/${company.id}`);
  const { secret, key } = company.signer(keys);
  if (!Number.isSafeInteger(found.entries)) throw new Error(`the log numbers statements about ${system} by no number`);
  // What the log shows may be some seconds old.
  const seq = Math.max(found.entries, systemOf(kept, system).next);
  /** @type {[number, any][]} */
  const claims = [
    [1, `https://${company.id}`],
    [2, system],
    [3, company.origin],
    [6, now()],
  ];
  /** @type {[number, any][]} */
  const labels = [
    [1, -19], // Ed25519
    [3, "application/vnd.attest.statement+cbor"],
    [4, thumbprint(key)],
    [15, new Map(claims)],
    [16, "application/scitt-statement+cose"],
  ];
  const header = encode(new Map(labels));
  const payload = encode(toCbor({ ...fields, seq, count: file.count, root: file.root() }));
  const signature = signEd25519(null, encode(["Signature1", header, new Uint8Array(), payload]), secret);
  const entry = concat(Uint8Array.of(0xd2), encode([header, new Map(), payload, new Uint8Array(signature)]));
  new Statement(entry).verify(key); // as everybody will read it
  kept.pending = { system, kind: fields.kind, seq, entry: base64(entry), rows: base64(file.encoded), openings };
}

const now = () => Math.floor(Date.now() / 1000);

/**
 * Bring the pending statement into the log, see the proof, and carry it out in what is kept.
 * @param {Company} company @param {Log} log @param {Kept} kept @param {() => void} save
 */
async function settle(company, log, kept, save) {
  const { pending } = kept;
  if (pending === null) return;
  const statement = new Statement(parseBase64(pending.entry));
  await deliver(log, statement, parseBase64(pending.rows));
  const position = await proven(company, log, statement);
  const placed = { position, entry_id: statement.entryId() };
  const system = systemOf(kept, pending.system);
  system.next = pending.seq + 1;
  system.statements.push({ ...placed, entry: pending.entry });
  // A salt whose record is erased, or committed anew, is gone from here on.
  for (const index of indexesOf(parseBase64(pending.rows))) {
    if (pending.kind === "hold/1") system.held[index] = { ...pending.openings[index], ...placed };
    else delete system.held[index];
  }
  kept.pending = null;
  save();
  console.log(`published\t${pending.kind}\t${pending.system}\t${placed.entry_id}\t${position}`);
}

/** @param {Uint8Array} rows @returns {string[]} */
function indexesOf(rows) {
  const file = new RowFile(rows);
  return Array.from({ length: file.count }, (_, row) => hex(file.index(row)));
}

/**
 * Send a statement and its row file until it is in a published checkpoint. What the log answers is believed only as far
 * as asking goes: `proven` decides.
 * @param {Log} log @param {Statement} statement @param {Uint8Array} rows
 */
async function deliver(log, statement, rows) {
  const id = statement.entryId();
  let step = "post";
  for (;;) {
    const answer =
      step === "post"
        ? await log.ask("POST", "/entries", statement.entry, "application/cose")
        : step === "rows"
          ? await log.ask("PUT", `/rows/${hex(statement.payload.root)}`, rows, "application/octet-stream")
          : await log.ask("GET", `/entries/${id}`);
    if (answer.status === 201 || (answer.status === 200 && step === "look")) return;
    const lost =
      answer.status >= 400 &&
      step !== "post" &&
      ["entry/unknown", "rows/unclaimed"].includes(problemOf(answer.body).code);
    if (answer.status >= 400 && !lost) throw refusal(answer.body);
    const missing = answer.status === 202 ? JSON.parse(parseUtf8(answer.body)).missing : [];
    if (step === "post" && missing.includes("rows")) {
      step = "rows";
      continue;
    }
    // A statement whose rows do not come is forgotten after an hour: then it is posted again.
    step = lost || missing.includes("rows") ? "post" : "look";
    await log.pause(answer.wait, "pending");
  }
}

/**
 * Wait for a proof that the statement is in the log, under a checkpoint that satisfies the policy; return where.
 * @param {Company} company @param {Log} log @param {Statement} statement
 */
async function proven(company, log, statement) {
  for (;;) {
    const { status, body, wait } = await log.ask("GET", `/proofs/entry/${statement.entryId()}`);
    if (status === 200) {
      const { index, path, signed } = TlogProof.parse(body);
      const { origin, size, root } = signed.checkpoint;
      if (origin !== company.origin) throw new Error(`a checkpoint of ${origin}, want ${company.origin}`);
      const weighed = company.policy.weigh(signed);
      wantLog(weighed);
      verifyInclusion(statement.leaf(), index, size, root, path);
      if (weighed.quorum) return Number(index);
    } else if (status !== 404) throw refusal(body);
    await log.pause(Math.max(wait, 2), "not published, or not yet cosigned by the policy's quorum");
  }
}

// --- commands ---

/**
 * Commit to records: new ones, and those whose records are not what was committed.
 * @param {Company} company @param {Log} log @param {Kept} kept @param {string} system @param {string} path
 * @param {string} cause
 */
async function hold(company, log, kept, system, path, cause) {
  const { held } = systemOf(kept, system);
  /** @type {{[index: string]: Opening}} */
  const openings = {};
  const rows = [];
  for (const [number, line] of linesOf(path)) {
    const { locator, records } = subject(line, path, number);
    const index = company.index(system, locator);
    if (Object.hasOwn(openings, hex(index))) throw new Error(`${path}, line ${number}: a locator for the second time`);
    if (held[hex(index)] !== undefined && equal(digestOf(held[hex(index)].records), digestOf(records))) continue;
    const salt = crypto.getRandomValues(new Uint8Array(32));
    const commitment = commitmentOf(index, blindOf(salt), digestOf(records));
    openings[hex(index)] = { salt: base64(salt), records, commitment: hex(commitment) };
    rows.push(concat(index, commitment));
  }
  if (rows.length === 0) return console.log("nothing to commit: all is as it was");
  await signed(company, log, kept, system, rows, { kind: "hold/1", cause }, openings);
}

/** @param {string[]} records hex */
const digestOf = (records) => recordDigest(records.map((record) => parseHex(record, 32)));

/** @param {string} path @returns {[number, string][]} numbers from 1, and lines that are not empty */
function linesOf(path) {
  const lines = parseUtf8(read(path)).split("\n");
  return lines.map((line, at) => /** @type {[number, string]} */ ([at + 1, line])).filter(([, line]) => line !== "");
}

/** @param {string} line @param {string} path @param {number} number @returns {{locator: string, records: string[]}} */
function subject(line, path, number) {
  try {
    const { locator, records } = JSON.parse(line);
    parseLocator(locator);
    digestOf(records);
    return { locator, records };
  } catch {
    // Without the line: a message is no place for names.
    throw new Error(`${path}, line ${number}: want {"locator": canonical, "records": [SHA-256 in hex, …]}`);
  }
}

/**
 * Sign that these are erased. Erase them first.
 * @param {Company} company @param {Log} log @param {Kept} kept @param {string} system @param {string} path
 * @param {{method: string, ground: string, level: string, erased_at: number}} claims
 */
async function erase(company, log, kept, system, path, claims) {
  const { held } = systemOf(kept, system);
  const rows = new Map();
  for (const [number, locator] of linesOf(path)) {
    const index = company.index(system, locator);
    const found = held[hex(index)];
    if (found === undefined) throw new Error(`${path}, line ${number}: not held in ${system}, as far as is kept here`);
    rows.set(hex(index), concat(index, parseHex(found.commitment, 32)));
  }
  await signed(company, log, kept, system, [...rows.values()], { kind: "tombstone/1", ...claims }, {});
}

/**
 * Give up a statement that the log does not have.
 * @param {Log} log @param {Kept} kept
 */
async function withdraw(log, kept) {
  if (kept.pending === null) throw new Error("nothing is pending");
  const { status } = await log.ask("GET", `/entries/${new Statement(parseBase64(kept.pending.entry)).entryId()}`);
  if (status !== 404) throw new Error("the log has it, or may still take it: run `send`");
  kept.pending = null;
}

/**
 * Return a keepsake (docs/spec/bundle.md): with it the person checks later without the company.
 * @param {Company} company @param {Log} log @param {Kept} kept @param {string} locator
 */
async function keepsake(company, log, kept, locator) {
  const vrf = { suite: 3, key: base64(company.vrf.public) };
  const proof = base64(company.vrf.prove(alphaOf(locator)));
  const holds = [];
  for (const [system, { held }] of Object.entries(kept.systems)) {
    const index = company.index(system, locator);
    const found = held[hex(index)];
    if (found === undefined) continue;
    const shown = await log.json(`/proofs/row/${found.entry_id}/${hex(index)}`);
    const type = parseLocator(locator).type;
    const bundle = {
      format: "attest-bundle/1",
      kind: "hold",
      vrf,
      locators: [{ type, proof }],
      systems: [],
      states: [],
      ...shown,
    };
    const asked = { policy: company.policyFile, holder: company.id, locators: [locator], now: now() };
    const { outcome, code } = verify(utf8(JSON.stringify(bundle)), asked);
    if (outcome !== "holds") throw new Error(`what the log shows of ${system} does not verify: ${code}`);
    const { entry_id, records, salt } = found;
    holds.push({ system, entry: found.position, entry_id, blind: base64(blindOf(parseBase64(salt))), records, bundle });
  }
  if (holds.length === 0) throw new Error("nothing is held under this locator");
  const warning = "Keep this file private. Whoever sees it can follow this pseudonym in all systems of this holder.";
  const { id: holder, origin } = company;
  return JSON.stringify({
    format: "attest-keepsake/1",
    warning,
    origin,
    holder,
    locator,
    vrf: { ...vrf, proof },
    holds,
  });
}

/** @param {string[]} words the command line */
async function main(words) {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: {
      cause: { type: "string", default: "collected" },
      method: { type: "string" },
      ground: { type: "string" },
      level: { type: "string", default: "none" },
      "erased-at": { type: "string" },
    },
  });
  const [command, home, ...rest] = positionals;
  const wanted = { hold: 3, erase: 3, send: 1, withdraw: 1, keepsake: 2 }[command ?? ""];
  const { method, ground, "erased-at": when = "" } = values;
  const erasedAt = Date.parse(when) / 1000;
  if (wanted === undefined || rest.length !== wanted) throw new Error("usage: see the head of this file");
  if (command === "erase" && (!method || !ground || Number.isNaN(erasedAt))) {
    throw new Error("erase: want --method, --ground and --erased-at, as 2026-09-20T08:00:00Z");
  }
  const company = new Company(home);
  const log = new Log(company.url);
  await keeping(rest[rest.length - 1], company, async (kept, save) => {
    if (command === "withdraw") {
      await withdraw(log, kept);
      return save();
    }
    await settle(company, log, kept, save);
    if (command === "keepsake") return console.log(await keepsake(company, log, kept, rest[0]));
    if (command === "hold") await hold(company, log, kept, rest[0], rest[1], String(values.cause));
    if (command === "erase") {
      const claims = {
        method: String(method),
        ground: String(ground),
        level: String(values.level),
        erased_at: Math.floor(erasedAt),
      };
      await erase(company, log, kept, rest[0], rest[1], claims);
    }
    if (kept.pending === null) return;
    save();
    await settle(company, log, kept, save);
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(`post: ${error.message}`);
    process.exitCode = 1;
  });
}
