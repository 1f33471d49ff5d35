// A verdict on a page: steps as they are computed, then what they lead to.

import { hex, sha256 } from "../lib/encoding.js";
import { AttestError } from "../lib/errors.js";
import { generate } from "../vendor/qr.js";
import { FORMS, digest, el, number, time } from "./dom.js";

/** @typedef {import("../lib/verify.js").Verdict} Verdict */
/** @typedef {import("../lib/verify.js").Step} Step */

const HEADINGS = {
  holds: "This holds",
  refuted: "Refuted",
  undecided: "This cannot be decided",
  provisional: "Not yet",
  "not-anchored": "Nobody you trust stands behind this",
};

/** @type {{[code: string]: string}} codes that say more than the outcome */
const HEADINGS_OF = {
  "index/other-locator": "Not about whom you asked",
};

/** @type {{[check: string]: string}} */
const CHECKS = {
  operator: "the operator of the log",
  domain: "the company’s own domain, where the operator found the request",
};

/** @type {{[code: string]: string}} as on the page of a statement */
const METHODS = {
  logical_delete: "marked as deleted",
  row_delete_committed: "rows deleted, and the deletion committed",
  compacted: "deleted and compacted",
  overwritten: "overwritten",
  "nist:clear": "cleared (NIST SP 800-88)",
  "nist:purge": "purged (NIST SP 800-88)",
  "nist:purge:cryptographic_erase": "purged by destroying the encryption key (NIST SP 800-88)",
  "nist:destroy": "the medium was destroyed (NIST SP 800-88)",
  anonymised: "anonymised",
  aggregated: "kept only in aggregates",
  deidentified: "de-identified",
  returned: "returned",
  expired_by_retention: "expired by the retention rule",
};

/** @type {{[code: string]: string}} likewise */
const LEVELS = {
  none: "not checked afterwards",
  logical: "checked: it can no longer be read through the system",
  physical: "checked: it is gone from the medium",
};

const CLAIMS = {
  excluded: "No live entry in any registered system",
  erased: "Stated as erased",
  held: "Held",
  "not-excluded": "Not excluded",
  "nothing-registered": "No system registered",
};

/** @type {{[result: string]: string}} */
const RESULTS = {
  held: "Held",
  erased: "Erased",
  "never-committed": "Never committed",
  empty: "Empty",
  "not-indexed": "Not indexed by this",
};

const ANCHORS = {
  unpinned: "by no log that the policy names",
  logged: "signed by the log",
  witnessed: "signed by the log, and cosigned by a quorum of witnesses",
  "state-checked": "signed by the log, witnessed, and every change checked by state witnesses",
};

/** Show each step of a verification as it is done. */
export class Steps {
  constructor() {
    this.list = el("ol", { class: "steps" });
    this.element = el("section", { "aria-label": "Steps" }, el("h2", {}, "Step by step"), this.list);
  }

  /** @param {Step} step */
  add(step) {
    const outcome = step.ok ? "" : ` Failed: ${step.code}.`;
    this.list.append(
      el(
        "li",
        { class: step.ok ? "ok" : "bad", "data-step": step.name, "data-code": step.code },
        el(
          "span",
          {},
          `${step.number}. ${capital(step.title)}`,
          el("span", { class: "hidden" }, step.ok ? " Done." : outcome),
        ),
        step.detail || !step.ok
          ? el("span", { class: "why" }, [step.detail, step.ok ? "" : step.code].filter(Boolean).join(" · "))
          : null,
      ),
    );
  }
}

/**
 * Show what a verification concludes.
 * @param {Verdict} verdict
 * @param {{answer?: (result: any) => (Node | string)[], links?: boolean, heading?: string | null}} [more]
 *   answer: words for one system; links: the page is of the log's own site; heading: instead of the usual one, where
 *   the outcome is an answer like any other
 */
export function outcome(verdict, { answer = answerOf, links = false, heading = null } = {}) {
  const said = verdict.sentence || verdict.reason;
  return [
    el(
      "div",
      {
        class: `outcome ${classOf(verdict, heading)}`,
        "data-outcome": verdict.outcome,
        "data-code": verdict.code,
      },
      el("h2", {}, heading ?? HEADINGS_OF[verdict.code] ?? HEADINGS[verdict.outcome]),
      el("p", {}, capital(said)),
      verdict.outcome === "holds"
        ? null
        : el("p", {}, verdict.sentence ? capital(verdict.reason) : "", " ", el("code", {}, verdict.code)),
      verdict.hint ? el("p", {}, ended(verdict.hint)) : null,
      verdict.level
        ? el("p", {}, el("strong", {}, `Level ${verdict.level}`), ". Why not higher: ", verdict.why_not_higher, ".")
        : null,
    ),
    facts(verdict),
    verdict.systems.length > 0
      ? el(
          "section",
          { "aria-label": "System by system" },
          el("h2", {}, "System by system"),
          el(
            "ul",
            { class: "answers" },
            ...verdict.systems.map((result) => answerItem(result, answer, verdict, links)),
          ),
        )
      : null,
    intervals(verdict),
    el(
      "section",
      { "aria-label": "What this does not show" },
      el("h2", {}, "What this does not show"),
      el("ul", {}, ...verdict.not_proven.map((each) => el("li", {}, capital(each), "."))),
    ),
  ];
}

/** @param {Verdict} verdict @param {string | null} heading */
function classOf(verdict, heading) {
  if (heading !== null && verdict.outcome !== "holds") return "answer";
  return verdict.code in HEADINGS_OF ? "undecided" : verdict.outcome;
}

/** @param {any} result @param {(result: any) => (Node | string)[]} answer @param {Verdict} verdict @param {boolean} links */
function answerItem(result, answer, verdict, links) {
  const name = links
    ? el(
        "a",
        { href: `/browse/holders/${encodeURIComponent(verdict.holder)}/systems/${encodeURIComponent(result.system)}` },
        result.system,
      )
    : result.system;
  const several = new Set(verdict.systems.map(({ locator }) => locator)).size > 1;
  return el(
    "li",
    { class: result.result, "data-system": result.system, "data-result": result.result },
    el("strong", {}, RESULTS[result.result]),
    el("span", {}, name, ` (${result.kind})`, several ? ` for ${result.locator}` : ""),
    el("p", {}, ...answer(result)),
  );
}

/** @param {any} result @returns {(Node | string)[]} */
export function answerOf(result) {
  const words = {
    held: ["The company has committed to holding this, and has not stated that it erased it."],
    erased: [`The company has stated, in statement no. ${result.entry}, that it erased this.`],
    "never-committed": [
      "The company has never committed to holding this here. If it does hold it, that is a lie in public.",
    ],
    empty: ["What the company has committed for this system has no live entry at all, about anybody."],
    "not-indexed": [
      "People in this system are found by other identifiers. This says nothing about it: ask with those, too.",
    ],
  }[/** @type {"held"} */ (result.result)];
  const more = [];
  if (result.generation > 1)
    more.push(
      ` It was held again ${result.generation === 2 ? "once" : `${result.generation - 1} times`} after having been erased.`,
    );
  if (result.not_asked.length > 0) more.push(` Not asked: ${result.not_asked.join(", ")}.`);
  if (result.retired) more.push(" The system is retired, and frozen.");
  if (result.backup_until !== null)
    more.push(" A backup; by its declared cycle it is gone by ", time(result.backup_until), ".");
  return [...words, ...more];
}

/** @param {Verdict} verdict */
function facts(verdict) {
  /** @type {[string, (Node | string)[]][]} */
  const rows = [];
  if (verdict.claim) rows.push(["What was asked", [CLAIMS[verdict.claim]]]);
  if (verdict.holder_name) {
    rows.push(["Company", [`${verdict.holder_name} (${verdict.holder}), ${verdict.holder_legal_id}`]]);
    rows.push(["Who says that this is them", [CHECKS[verdict.holder_check ?? ""] ?? verdict.holder_check]]);
  }
  if (verdict.anchor) rows.push(["Anchor", [ANCHORS[verdict.anchor]]]);
  if (verdict.witnesses.length > 0) rows.push(["Witnesses", [[...new Set(verdict.witnesses)].join(", ")]]);
  if (verdict.state_witnesses.length > 0)
    rows.push(["State witnesses", [[...new Set(verdict.state_witnesses)].join(", ")]]);
  if (verdict.existed_by !== null) rows.push(["Existed by, as witnessed", [time(verdict.existed_by)]]);
  if (verdict.epoch_time !== null) rows.push(["As of, in the log’s word", [time(verdict.epoch_time)]]);
  if (verdict.origin) rows.push(["Log", [`${verdict.origin}, checkpoint ${number(verdict.size)}`]]);
  if (verdict.ended) rows.push(["The log", ["ended with this checkpoint"]]);
  if (verdict.holder_ended) rows.push(["The company", ["has ended: it states nothing more, and what stood is frozen"]]);
  if (verdict.predecessor)
    rows.push([
      "The log continues",
      [`${verdict.predecessor}, which ended with ${verdict.predecessor_size} statements`],
    ]);
  if (rows.length === 0) return null;
  return el(
    "dl",
    { class: "facts" },
    ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, ...value))),
  );
}

/** @param {Verdict} verdict */
function intervals(verdict) {
  if (verdict.intervals.length === 0) return null;
  return el(
    "section",
    { "aria-label": "From hold to deletion" },
    el("h2", {}, "From hold to deletion"),
    ...verdict.intervals.map((each) =>
      el(
        "p",
        {},
        el("strong", {}, each.system),
        ": in the inventory from ",
        each.held_by === null ? "a time not shown" : time(each.held_by),
        " to ",
        each.held_until === null ? "a time not shown" : time(each.held_until),
        ", by the log’s clock. The company says that it erased it on ",
        time(each.erased_at),
        `: ${METHODS[each.method] ?? each.method}; ${LEVELS[each.level] ?? each.level}. Ground: ${each.ground}.`,
        each.apart ? "" : " The two are in the same or neighbouring seals: this shows little.",
      ),
    ),
  );
}

/**
 * Say that the question is wrong, or that it could not be asked: nothing is concluded.
 * @param {unknown} error @param {string} [heading]
 */
export function complaint(error, heading = "This cannot be asked so") {
  const code = error instanceof AttestError ? error.code : null;
  return el(
    "div",
    { class: "outcome usage", role: "alert", "data-code": code ?? "" },
    el("h2", {}, heading),
    el(
      "p",
      {},
      error instanceof Error ? capital(error.message) : String(error),
      " ",
      code === null ? null : el("code", {}, code),
    ),
    error instanceof AttestError && error.hint ? el("p", {}, ended(error.hint)) : null,
  );
}

/** @param {string} name of what is saved @param {BlobPart} content @param {string} label */
export function saved(name, content, label) {
  const url = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  return el("a", { class: "button plain", href: url, download: name }, label);
}

/** @param {string} text of a policy, as somebody pasted it @returns {string | null} null if there is none */
export const policyText = (text) => (text.trim() === "" ? null : `${text.trimEnd()}\n`);

const SHOWN = 9; // systems on a printed certificate: it is one page

/**
 * Make what is printed of a verified certificate: one page, with a QR code of its digest.
 * @param {Verdict} verdict @param {Uint8Array} encoded the bundle @param {number} now Unix seconds
 */
export function certificate(verdict, encoded, now) {
  const fingerprint = hex(sha256(encoded));
  const shown = verdict.systems.slice(0, SHOWN);
  const left = verdict.systems.length - shown.length;
  /** @param {number | bigint | null} entry a tombstone; several identifiers in one system may have several */
  const whenOf = (entry) => {
    const interval = verdict.intervals.find((each) => each.tombstone === entry);
    return interval === undefined ? [] : [": erased on ", time(interval.erased_at, FORMS.day)];
  };
  return el(
    "article",
    { class: "certificate" },
    el("h1", {}, "Certificate of committed deletion"),
    el("p", { class: "lead" }, verdict.sentence),
    el("p", {}, el("strong", {}, `Level ${verdict.level}`), `. Why not higher: ${verdict.why_not_higher}.`),
    facts(verdict),
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el("tr", {}, ...["System", "Kind", "Result", "Statement"].map((name) => el("th", { scope: "col" }, name))),
      ),
      el(
        "tbody",
        {},
        ...shown.map((each) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, each.system),
            el("td", {}, each.kind),
            el("td", {}, RESULTS[each.result]),
            el("td", {}, each.entry === null ? "–" : `no. ${each.entry}`, ...whenOf(each.entry)),
          ),
        ),
      ),
    ),
    left > 0
      ? el(
          "p",
          {},
          `and ${left} more ${left === 1 ? "system, which does not hold it" : "systems, none of which holds it"}.`,
        )
      : null,
    el(
      "div",
      { class: "seal" },
      qr(`sha256:${fingerprint}`),
      el(
        "div",
        {},
        el(
          "p",
          {},
          "Verified at ",
          time(now),
          ", in the browser of whoever printed this, under a policy of their choice. This paper proves nothing by itself: verify the file with this digest.",
        ),
        el("p", {}, el("code", {}, fingerprint)),
        el("p", { class: "quiet" }, `It does not show ${verdict.not_proven.join("; nor ")}.`),
      ),
    ),
  );
}

/** @param {string} text */
function qr(text) {
  const code = generate(text);
  let path = "";
  for (let y = 0; y < code.size; y++) {
    for (let x = 0; x < code.size; x++) if (code.get(x, y)) path += `M${x} ${y}h1v1h-1z`;
  }
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("viewBox", `-2 -2 ${code.size + 4} ${code.size + 4}`);
  drawing.setAttribute("class", "qr");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", `QR code of ${text}`);
  const squares = document.createElementNS("http://www.w3.org/2000/svg", "path");
  squares.setAttribute("d", path);
  drawing.append(squares);
  return drawing;
}

/** Print one element of the page by itself. @param {HTMLElement} page */
export function print(page) {
  document.documentElement.classList.add("printing");
  addEventListener("afterprint", () => document.documentElement.classList.remove("printing"), { once: true });
  page.ownerDocument.defaultView?.print();
}

/** @param {string} text @returns {string} it as a sentence */
const ended = (text) => `${capital(text)}${/[.?!]$/.test(text) ? "" : "."}`;

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
