"""An audit's report as one HTML file: no script, no network, good on paper.

Nearly every word in it comes from strangers. `attest.audit.markup` escapes all of them; should that ever fail, the
page's own policy lets no script run and nothing be fetched.

Spec: docs/spec/audit.md#report.
"""

import hashlib
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from attest import __version__
from attest.audit.charts import SERIES, Counts, added, bar, curves, in_words, sampled, thinned
from attest.audit.findings import Finding, Report
from attest.audit.markup import Html, el, join
from attest.audit.words import (
    SEVERITIES,
    ages,
    command,
    count,
    moment,
    span,
    summary,
    system_remarks,
    to_look_at,
    verdict,
)

_NUMBER: Final = re.compile(r"–|[0-9][0-9,]{0,20}(?: (?:d|h|min|s)(?: [0-9]{1,2} (?:h|min|s))?)?")
_ROWS: Final = 500  # of a list; the JSON report has all
_SYSTEMS: Final = 4000
_COLUMNS: Final = 96  # of a large chart
_HOLDERS: Final = 200  # with a chart and a table of their own
_CHARTS: Final = 1000  # systems: of more, only holders have charts

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1b1f;--soft:#565660;--page:#fff;--box:#f3f3f6;--line:#c9c9d2;--held:#1456a8;\
--erased:#a83a14;--reheld:#7a1f8a;--good:#14602f;--bad:#a3122a}
@media screen and (prefers-color-scheme:dark){:root{--ink:#ececf1;--soft:#b3b3bf;--page:#16161a;--box:#222228;\
--line:#4a4a55;--held:#7db4ff;--erased:#ff9d78;--reheld:#e29cf0;--good:#7fd8a0;--bad:#ff8f9e}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:72rem;background:var(--page);color:var(--ink);\
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1,h2,h3{line-height:1.25;margin:1.6em 0 .5em}h1{margin-top:0;font-size:1.6rem}h2{font-size:1.3rem;\
border-bottom:1px solid var(--line)}h3{font-size:1.05rem}
p,ul,dl,figure{margin:.5em 0}
.verdict{padding:.8rem 1rem;border:2px solid;border-left-width:.6rem;font-size:1.15rem;font-weight:600}
.clean{color:var(--good)}.found,.incomplete{color:var(--bad)}
.soft,caption,figcaption{color:var(--soft)}
dl{display:grid;grid-template-columns:minmax(7rem,13rem) 1fr;gap:.2rem 1rem}dt{color:var(--soft)}dd{margin:0}
article{border:1px solid var(--line);border-left:.4rem solid var(--bad);padding:.1rem 1rem .6rem;margin:1rem 0}\
article h3{margin:.6em 0}
code,pre,.n{font-family:ui-monospace,monospace;font-size:.92em}
pre{background:var(--box);padding:.5rem .7rem;white-space:pre-wrap;margin:.5em 0}
.t{overflow-x:auto;margin:.7em 0}
table{border-collapse:collapse;width:100%}.few{width:auto;min-width:min(100%,30rem)}
caption{text-align:left;padding:.3em 0}
th,td{border-bottom:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top;overflow:clip}
thead th{background:var(--box);vertical-align:bottom}tbody th{font-weight:600}
tbody th:not(.r){min-width:7.5rem}td:not(.r){min-width:4.5rem}
.r{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:normal;white-space:nowrap}
thead th,thead .r{overflow-wrap:normal;white-space:normal}
svg{display:block}.l{width:100%;height:9rem;background:var(--box)}.s{width:8rem;height:1.6rem}.b{width:100%;height:1rem}
rect{fill:var(--held)}path{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
path.h{stroke:var(--held)}path.e{stroke:var(--erased);stroke-dasharray:6 3}\
path.r{stroke:var(--reheld);stroke-dasharray:2 2}
.axis{display:flex;justify-content:space-between;gap:1rem;font-size:.85rem;color:var(--soft)}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;list-style:none;font-size:.85rem}
.key li{display:flex;align-items:center;gap:.4rem}.key svg{width:2rem;height:.6rem}
.check{padding:0;list-style:none}.check li{margin:.6em 0;break-inside:avoid}
.check label{display:flex;gap:.6rem}.check input{flex:none;width:1.1rem;height:1.1rem;margin:.2rem 0 0}
.sign{display:grid;grid-template-columns:repeat(auto-fit,minmax(12rem,1fr));gap:2.5rem 2rem;margin-top:3rem}
.sign p{border-top:1px solid;margin:0;padding-top:.2rem}
a{color:inherit}:focus-visible{outline:3px solid var(--held);outline-offset:2px}
@media screen and (max-width:44rem){dl{display:block}dd{margin:0 0 .5em}.t table{min-width:38rem}.t .few{min-width:0}}
@page{size:A4;margin:16mm 14mm 18mm;@bottom-right{content:counter(page) " / " counter(pages);font:9pt sans-serif}}
@media print{body{max-width:none;padding:0;font-size:9.5pt}.t{overflow:visible}thead{display:table-header-group}\
tr,article,figure,.verdict,.sign{break-inside:avoid}h2,h3,caption{break-after:avoid}nav{display:none}\
th,td{padding:.15rem .3rem}.l{height:28mm}.s{width:24mm}\
thead th,pre,.l,rect,.verdict{print-color-adjust:exact}}
"""


def page(report: Report) -> str:
    """Return the report as a whole HTML document, in which nothing has to be fetched and nothing runs."""
    digest = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    title = f"Audit of {report.origin}"
    sections = [
        ("findings", "Findings", _findings(report)),
        ("facts", "Facts", _facts(report)),
        ("systems", "Holders and systems", _holders(report)),
        ("parties", "Parties and keys", _parties(report.facts)),
        ("proven", "What is proven", _proven(report)),
        ("look", "What is not proven, and has to be looked at", _look(report)),
    ]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=f"default-src 'none'; style-src 'sha256-{digest}'"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        # Not escaped: it is ours alone, and an escaped quote would be none.
        el("style", Html(_STYLE)),
    )
    links = [el("li", el("a", heading, href=f"#{name}")) for name, heading, _ in sections]
    body = el(
        "body",
        el("header", el("h1", title), el("p", verdict(report), class_=f"verdict {report.outcome}")),
        el(
            "main",
            _about(report),
            el("nav", el("ul", *links), aria_label="Contents"),
            *(_section(*s) for s in sections),
        ),
    )
    return f"<!DOCTYPE html>\n{el('html', head, body, lang='en')}\n"


def _section(name: str, heading: str, content: Html) -> Html:
    return el("section", el("h2", heading, id=name), content, aria_labelledby=name)


# --- parts ---


def _about(report: Report) -> Html:
    checked, trust = report.checked, report.trust
    witnesses = ", ".join(dict.fromkeys(report.witnesses)) or "none that the policy names"
    said = [
        ("Log", report.origin),
        ("Read from", report.place),
        ("Audited by", report.auditor or "not said"),
        ("Audited at", moment(report.audited_at)),
        ("With", f"attest-deletion {__version__}, in {report.seconds:,.1f} s"),
        ("Checkpoint", f"{count(report.size, 'entry', 'entries')}, root {report.root}"),
        (
            "Last epoch",
            None
            if report.epoch_time is None
            else f"{report.epoch}, {moment(report.epoch_time)} by the log's own claim",
        ),
        ("Existed by", "no quorum was asked for or met" if report.existed_by is None else moment(report.existed_by)),
        ("Cosigned by", witnesses),
        ("Policy", None if trust is None else f"{trust.file}, SHA-256 {trust.sha256}"),
        (
            "Checked",
            f"{count(checked['entries'], 'entry', 'entries')}, {count(checked['epochs'], 'epoch')},"
            f" {count(checked['row_files'], 'row file')} with {count(checked['rows'], 'row')}",
        ),
        ("Checked before", count(report.since, "entry", "entries") if report.since else None),
        ("Fetched", f"{count(report.traffic['requests'], 'file')}, {count(report.traffic['bytes'], 'byte')}"),
    ]
    keys = [] if trust is None else [("Trusted keys of the log", key) for key in trust.log_keys]
    keys += [] if trust is None else [("Trusted witness", key) for key in trust.witnesses]
    return _pairs([*said, *keys])


def _findings(report: Report) -> Html:
    if not report.findings:
        return el("p", "None.")
    shown = [_finding(finding, report) for finding in report.findings[:_ROWS]]
    return join(*shown, _more(len(report.findings), "findings"))


def _finding(finding: Finding, report: Report) -> Html:
    where = None if finding.party is None else f"{finding.party}{f', {finding.system}' if finding.system else ''}"
    pairs = [
        ("Severity", f"{finding.severity}: {SEVERITIES[finding.severity][0]}"),
        ("Party", where),
        ("Entries", ", ".join(map(str, finding.entries[:_ROWS])) or None),
        ("Rows", ", ".join(map(str, finding.rows[:_ROWS])) or None),
        ("Bytes", finding.file),
        ("Expected", finding.expected),
        ("Found", finding.found),
    ]
    if finding.kept is None:
        evidence = el("p", "No evidence was kept: nobody else can see this from a file.")
    else:
        # Whoever gets the file gets it under its name; our folders are not theirs.
        name = Path(finding.kept).name
        evidence = join(
            _pairs(
                [
                    ("Evidence", name),
                    ("Kept as", finding.kept),
                    ("SHA-256", finding.kept_sha256),
                    ("Size", count(finding.kept_bytes, "byte")),
                ]
            ),
            el("p", "Whoever has this file and a policy of their own finds it again, without network, with:"),
            el("pre", el("code", command(name, report))),
        )
    return el("article", el("h3", finding.code), el("p", finding.message), _pairs(pairs), evidence)


def _facts(report: Report) -> Html:
    facts = report.facts
    if not facts:
        return el("p", "None: no states were replayed.")
    far = facts.get("far_dated_erasures", {"count": 0, "beyond_s": 0, "examples": []})
    beyond = span(far["beyond_s"])
    times = [
        [(moment(gap["from"])), moment(gap["to"]), span(gap["to"] - gap["from"])] for gap in facts.get("quiet") or []
    ]
    silent = [
        [moment(gap["from"]), moment(gap["to"]), span(gap["to"] - gap["from"])] for gap in facts.get("silences") or []
    ]
    return join(
        _table("In short", ["What", "How much"], summary(facts), few=True),
        _table(
            "Entries by kind",
            ["Kind", "Entries"],
            [[k, f"{n:,}"] for k, n in facts.get("entries", {}).items()],
            few=True,
        ),
        _histogram(facts),
        _table(
            f"Erasures dated more than {beyond} before or after their epoch, of {far['count']:,} the first",
            ["Entry", "Party", "System", "Dated"],
            [
                [str(each["entry"]), each["party"], each["system"], _shifted(each["from_epoch_s"])]
                for each in far["examples"]
            ],
        ),
        *(
            []
            if facts.get("quiet") is None
            else [
                _table("The longest times without a statement", ["From", "To", "For"], times),
                _table("Without an epoch for longer than the log promises", ["From", "To", "For"], silent),
            ]
        ),
    )


def _shifted(seconds: int) -> str:
    return f"{span(seconds)} {'before' if seconds < 0 else 'after'} the epoch before it"


def _histogram(facts: Mapping[str, Any]) -> Html:
    systems = [system["hold_to_tombstone"] for system in facts.get("systems", [])]
    if not any(sum(system["rows"]) for system in systems):
        return _table("Time from hold to tombstone", ["Time", "Rows", ""], [])
    rows = [sum(values) for values in zip(*(system["rows"] for system in systems), strict=True)]
    names = ages(systems[0]["bounds_s"])
    drawn = [[name, f"{number:,}", bar(number, max(rows))] for name, number in zip(names, rows, strict=True)]
    return _table("Time from hold to tombstone, all systems", ["Time", "Rows", "Share"], drawn, few=True)


def _holders(report: Report) -> Html:
    systems = report.facts.get("systems", [])
    if not systems:
        return el("p", "None.")
    shown = systems[:_SYSTEMS]
    holders = {holder: list(group) for holder, group in groupby(shown, key=lambda system: str(system["party"]))}
    times = [point[0] for system in shown for point in system["curve"][:1] + system["curve"][-1:]]
    start, end = min(times, default=0), max([*times, report.epoch_time or 0])
    parts: list[Html | None] = []
    totals, rest = [], []
    for holder, members in holders.items():
        samples = [sampled(system["curve"], start, end, _COLUMNS) for system in members]
        totals.append(added(samples, _COLUMNS))
        if len(totals) > _HOLDERS:
            rest.append([holder, f"{len(members):,}", *(f"{number:,}" for number in totals[-1][-1])])
            continue
        parts += [
            el("h3", holder),
            _chart(f"All systems of {holder}", totals[-1], start, end),
            _by(members),
            _systems(holder, members, samples if len(shown) <= _CHARTS else None),
        ]
    which = "All systems of all holders" if len(shown) == len(systems) else f"The first {len(shown):,} systems"
    parts.insert(0, _chart(which, added(totals, _COLUMNS), start, end))
    if rest:
        parts.append(_table("Further holders", ["Holder", "Systems", *map(str.capitalize, SERIES)], rest))
    return join(_key(), *parts, _more(len(systems), "systems", _SYSTEMS))


def _by(systems: Sequence[Mapping[str, Any]]) -> Html | None:
    """Say how often a holder has given each cause, method and level."""
    total: Counter[str] = Counter()
    for system in systems:
        total.update(system["by"])
    words = ", ".join(f"{word} {number:,}" for word, number in sorted(total.items()))
    return el("p", f"Statements by cause, method and level: {words}", class_="soft") if words else None


def _systems(holder: str, systems: Sequence[Mapping[str, Any]], samples: Sequence[Sequence[Counts]] | None) -> Html:
    """Return the table of a holder's systems; with their charts, if there are samples."""
    rows = [_system(system) for system in systems]
    if samples is None:
        return _table(f"Systems of {holder}", _HEADINGS, rows)
    for row, system, sample in zip(rows, systems, samples, strict=True):
        row.append(curves(thinned(sample, _COLUMNS // 4), small=True) if system["curve"] else "–")
    return _table(f"Systems of {holder}", [*_HEADINGS, "Over time"], rows)


_HEADINGS: Final = [
    "System",
    "Held",
    "Erased",
    "Reheld",
    "Statements",
    "Mean time to tombstone",
    "Retention",
    "Notable",
]


def _system(system: Mapping[str, Any]) -> list[object]:
    cycle, mean = system["backup_cycle"], system["hold_to_tombstone"]["mean_s"]
    kind = f"{system['kind']}, cycle {span(cycle)}" if cycle else system["kind"]
    return [
        join(system["system"], " ", el("span", f"({kind})", class_="soft")),
        *(f"{system[name]:,}" for name in SERIES),
        f"{system['statements']:,}",
        "–" if mean is None else span(mean),
        system["retention"] or "none",
        "; ".join(system_remarks(system)),
    ]


def _chart(title: str, samples: Sequence[Counts], start: int, end: int) -> Html:
    most = max(map(max, samples))
    if not most:
        return el("p", f"{title}: nothing was ever held.", class_="soft")
    return el(
        "figure",
        el("figcaption", f"{title}: {in_words(samples)}"),
        el("div", el("span", f"{most:,}"), class_="axis"),
        curves(samples),
        el("div", el("span", moment(start)), el("span", moment(end)), class_="axis"),
    )


def _key() -> Html:
    line = {"viewBox": "0 0 20 2", "preserveAspectRatio": "none", "aria_hidden": "true"}
    kinds = [el("li", el("svg", el("path", class_=name[0], d="M0 1h20"), **line), name) for name in SERIES]
    return el("ul", *kinds, class_="key")


def _parties(facts: Mapping[str, Any]) -> Html:
    return join(
        _table(
            "Parties, and how the operator says that it checked who they are",
            ["Party", "Role", "Name", "Legal identifier", "Checked by", "Checked at", "Entry", "Ended"],
            [
                [
                    party["id"],
                    party["role"],
                    party["name"],
                    party["legal_id"],
                    party["checked_by"],
                    moment(party["checked_at"]),
                    str(party["admitted"]),
                    "ended" if party["ended"] else "",
                ]
                for party in facts.get("parties", [])
            ],
        ),
        _table(
            "Live parties with the same legal identifier",
            ["Parties"],
            [[", ".join(s)] for s in facts.get("same_legal_id", [])],
        ),
        _table(
            "Keys added and revoked",
            ["Entry", "Party", "What", "Use", "Key id"],
            [
                [str(key["entry"]), key["party"], key["what"], key["use"], el("code", key["kid"])]
                for key in facts.get("keys", [])
            ],
        ),
    )


def _proven(report: Report) -> Html:
    if not report.proven:
        return el("p", "Nothing: the audit did not reach the end.")
    return el("ul", *(el("li", each) for each in report.proven))


def _look(report: Report) -> Html:
    boxes = (el("li", el("label", el("input", type="checkbox"), el("span", each))) for each in to_look_at(report))
    lines = (el("p", what) for what in ("Looked at by", "Place and date", "Signature"))
    return join(
        el("p", "No computation shows these. Tick what you have seen."),
        el("ul", *boxes, class_="check"),
        el("div", *lines, class_="sign"),
    )


# --- templates ---


def _pairs(pairs: Iterable[tuple[str, object]]) -> Html:
    return el("dl", *(join(el("dt", name), el("dd", value)) for name, value in pairs if value is not None))


def _table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[object]], *, few: bool = False) -> Html:
    """Return a table, or a sentence that there is nothing to show. The first cell of a row is its heading.

    Args:
        few: its cells are short, so that it needs neither the whole width nor to be scrolled.
    """
    if not rows:
        return el("p", f"{caption}: none.", class_="soft")
    shown = rows[:_ROWS]
    kinds = ["r" if all(map(_is_number, column)) else None for column in zip(*shown, strict=True)]
    first, *rest = kinds
    head = (el("th", heading, scope="col", class_=kind) for heading, kind in zip(headings, kinds, strict=True))
    body = (
        el(
            "tr",
            el("th", row[0], scope="row", class_=first),
            *(el("td", cell, class_=kind) for cell, kind in zip(row[1:], rest, strict=True)),
        )
        for row in shown
    )
    table = el(
        "table",
        el("caption", caption),
        el("thead", el("tr", *head)),
        el("tbody", *body),
        class_="few" if few else None,
    )
    # What can be scrolled has to be reached by keyboard, and to have a name.
    scrolled = el("section", table, class_="t", tabindex=0, aria_label=caption)
    return join(scrolled, _more(len(rows), "rows"))


def _is_number(cell: object) -> bool:
    return isinstance(cell, str) and bool(_NUMBER.fullmatch(cell))


def _more(total: int, what: str, shown: int = _ROWS) -> Html | None:
    if total <= shown:
        return None
    return el("p", f"… and {total - shown:,} more {what}: the JSON report has all of them.", class_="soft")
