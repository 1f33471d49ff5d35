"""The page is whole, harmless and readable, whatever strangers have written into the log."""

import re
import shlex
import time
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from attest.audit.audit import Order, audit
from attest.audit.charts import sampled, thinned
from attest.audit.facts import AGES_S
from attest.audit.findings import Finding, Report, Trust
from attest.audit.page import page
from attest.audit.source import DirectorySource
from attest.cli import main
from attest.formats.policy import Policy
from tests.audit.published import policy, publish
from tests.ledger.log import rows_of
from tests.witness.lies import ACME, Operator, stage

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\u202eevil\x00\x1b[2J\ud800" + "W" * 150
VOID = {"meta", "input"}
DAY = 86_400


class Tree(HTMLParser):
    """Reads what a browser would, and is stricter: each element is closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []  # name, attributes, within
        self.texts: list[tuple[str, str]] = []  # the innermost element, text
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs))
        self.elements.append((tag, dict(attrs), tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, name):
        return [attributes for tag, attributes, _ in self.elements if tag == name]

    def text(self, name=None):
        return "\n".join(data for tag, data in self.texts if name in (None, tag))


def system(party, name, n=0, points=40):
    curve = [[1_700_000_000 + DAY * k, 10 * k + n, 3 * k, k // 9] for k in range(points)]
    return {
        "party": party,
        "system": name,
        "kind": "database",
        "retention": None if n % 3 else "30 days after the contract has ended",
        "backup_cycle": None,
        "retired": False,
        "held": 10 * points,
        "erased": 3 * points,
        "reheld": points // 9,
        "statements": 2 * points,
        "old_commitments": n % 2,
        "small_batches": n,
        "by": {"collected": points, "row_delete_committed": points},
        "curve": curve,
        "hold_to_tombstone": {"bounds_s": list(AGES_S), "rows": [1, 0, 5, 0, 0, 2, 1], "mean_s": 90_061},
    }


def facts(holders=2, systems=2, name="acme{}.example", text="Acme"):
    return {
        "entries": {"hold/1": 12},
        "parties": [
            {
                "id": name.format(n),
                "admitted": n,
                "role": "holder",
                "name": text,
                "legal_id": text,
                "checked_by": "operator",
                "checked_at": 2**53 - 1,
                "ended": False,
            }
            for n in range(holders)
        ],
        "same_legal_id": [[name.format(0), name.format(1)]],
        "systems": [system(name.format(n), f"{text}{k}", k) for n in range(holders) for k in range(systems)],
        "keys": [{"entry": 2, "party": name.format(0), "kid": "ab" * 32, "use": "sign", "what": "added"}],
        "far_dated_erasures": {
            "count": 7,
            "beyond_s": 7 * DAY,
            "examples": [{"entry": 5, "party": name.format(0), "system": text, "from_epoch_s": -9 * DAY - 3600}],
        },
        "quiet": [{"from": 1_700_000_000, "to": 1_700_090_061}],
        "silences": [{"from": 1_700_000_000, "to": 1_700_100_000}],
    }


def report(text="Acme", **changed):
    found = Finding(
        "holder/old-commitment",
        "contradiction",
        f"entry 5 {text}",
        (5, 9),
        text,
        text,
        text,
        (1, 2),
        text,
        text,
        kept=f"evidence/ab/{'x' * 40} {text.replace('/', '')}.evidence",
        kept_sha256="cd" * 32,
        kept_bytes=1234,
    )
    values = {
        "origin": text,
        "place": text,
        "audited_at": 1_700_200_000,
        "size": 21,
        "root": "ef" * 32,
        "epoch": 3,
        "epoch_time": 1_700_100_000,
        "existed_by": 1_700_100_001,
        "witnesses": [text],
        "complete": True,
        "findings": [found, Finding("rows/missing", "missing", text)],
        "facts": facts(text=text),
        "proven": [text],
        "eyes": [text],
        "auditor": text,
        "trust": Trust(text, "00" * 32, (text,), (text,), text),
    }
    return Report(**{**values, **changed})


def test_nothing_that_strangers_wrote_is_obeyed():
    """Hostile text in every field adds no element, no attribute and no character that turns or hides others."""
    hostile, plain = page(report(HOSTILE)), page(report("Acme"))
    tree = Tree(hostile)

    assert [(tag, sorted(a), within) for tag, a, within in tree.elements] == [
        (tag, sorted(a), within) for tag, a, within in Tree(plain).elements
    ]
    assert {tag for tag, _, _ in tree.elements}.isdisjoint({"script", "img", "iframe", "link", "base", "object"})
    assert tree.text().count("<script>alert(1)</script>") > 20  # it is shown
    assert all(c.isprintable() or c == "\n" for c in hostile)
    hostile.encode()


def test_nothing_is_fetched_and_nothing_runs():
    """The page forbids itself everything but the one style sheet it has, by digest; links lead into it."""
    tree = Tree(page(report()))
    [style] = [data for tag, data in tree.texts if tag == "style"]
    [rule] = [each["content"] for each in tree.all("meta") if "http-equiv" in each]

    assert rule == f"default-src 'none'; style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
    assert "url(" not in style and "@import" not in style
    names = {attributes["id"] for _, attributes, _ in tree.elements if "id" in attributes}
    assert {each["href"] for each in tree.all("a")} == {f"#{name}" for name in names}
    for _, attributes, _ in tree.elements:
        assert not {"src", "style", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)


def test_the_page_is_read_without_seeing_it():
    """One first heading and no level left out; tables have captions and scopes; charts have words."""
    tree = Tree(page(report()))
    levels = [int(tag[1]) for tag, _, _ in tree.elements if re.fullmatch("h[1-6]", tag)]

    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert tree.all("html") == [{"lang": "en"}]
    assert len(tree.all("table")) == len(tree.all("caption")) == len(tree.all("thead")) > 5
    assert all(each.get("scope") in ("row", "col") for each in tree.all("th"))
    charts = tree.all("svg")
    assert sum(each.get("role") == "img" for each in charts) == 1 + 2 + 4  # all, each holder, each system
    for each in charts:
        assert each.get("aria-hidden") == "true" or re.fullmatch(
            r"held \d.*, erased \d.*, reheld \d.*", each["aria-label"]
        )
    assert [within[-1] for tag, _, within in tree.elements if tag == "input"] == ["label"] * len(tree.all("input"))


def test_what_was_found_comes_with_the_command_that_finds_it_again():
    """Code, severity, expected, found, entries, bytes, digest of the evidence; the command is one for a shell."""
    tree = Tree(page(report("it's")))
    said = tree.text()

    for part in ("holder/old-commitment", "contradiction: ", "5, 9", "1, 2", "cd" * 32, "1,234 bytes", "rows/missing"):
        assert part in said
    [shown] = [data for tag, data in tree.texts if tag == "code" and data.startswith("attest ")]
    assert shlex.split(shown) == ["attest", "verify", f"{'x' * 40} it's.evidence", "--policy", "it's"]
    assert said.rindex("holder/old-commitment") < said.index("In short")
    assert "a contradiction of a holder; a thing that was not there" in tree.text("p")


@pytest.mark.parametrize("facts", [{}, facts(), {"parties": [], "systems": []}])
@pytest.mark.parametrize(
    ("findings", "complete", "word"),
    [
        ([], True, "Nothing was found"),
        ([], False, "Not everything"),
        ([Finding("log/fork", "lie", "")], False, "Found"),
    ],
)
def test_any_report_has_a_page(facts, findings, complete, word):
    """Of an audit that ended early too: there may be no facts, no epoch and no policy."""
    tree = Tree(
        page(Report("log.example", "dir", 0, facts=facts, findings=findings, complete=complete, epoch=None, trust=None))
    )

    assert tree.text("p").startswith(word)


def test_facts_are_on_the_page():
    """Numbers of the whole log are the sums over its systems; what is notable is a box to tick."""
    tree = Tree(page(report()))
    said = tree.text()

    assert "All systems of all holders: held 1,562, erased 468, reheld 16" in said
    assert "Erasures dated more than 7 d before or after their epoch, of 7 the first" in said
    assert "9 d 1 h before the epoch before it" in said
    assert "1 d 1 h" in said  # quiet, and mean time to tombstone
    boxes = [data for tag, data in tree.texts if tag == "span"]
    assert "why 2 systems declare no retention rule" in boxes
    assert "why parties share a legal identifier: acme0.example, acme1.example" in boxes


def test_every_field_of_the_report_is_described(tmp_path):
    """In docs/spec/audit.md, by name; keys that are words of the log's are not fields."""
    log = stage().copy()
    log.tombstone(ACME, "db", rows_of(1))
    log.epoch()
    log.hold(ACME, "db", rows_of(1))
    log.epoch()
    source = DirectorySource(publish(Operator(log), tmp_path / "log"))
    seen = audit(source, Order(policy(), "log", 0, live=False), None, tmp_path / "evidence")
    seen.trust = Trust.of(policy(), "policy", policy().encode())
    spec = (Path(__file__).parents[2] / "docs/spec/audit.md").read_text()

    def fields(value, name=""):
        if isinstance(value, dict):
            for key, part in value.items():
                if name not in ("by", "entries"):
                    yield key
                yield from fields(part, key)
        elif isinstance(value, list):
            for part in value:
                yield from fields(part, name)

    named = set(fields(seen.shown()))
    assert {"sha256", "log_keys", "hold_to_tombstone"} <= named
    assert [name for name in named if f"`{name}`" not in spec] == []


def test_a_curve_is_sampled_as_it_stood():
    """Slowly: the last point that is not later. The last sample is the end, however few are kept."""
    curve = [[10, 1, 0, 0], [20, 5, 0, 0], [21, 4, 1, 0], [90, 2, 3, 1]]
    got = sampled(curve, 0, 100, 10)

    assert got == [
        next(((h, e, r) for t, h, e, r in reversed(curve) if t <= at), (0, 0, 0)) for at in range(10, 101, 10)
    ]
    assert thinned(got, 3) == [got[1], got[5], got[9]]
    assert thinned(got, 10) == got


def test_a_large_log_fits_on_a_page():
    """200 holders of 20 systems with long lives: below 2 MB, and quick."""
    large = report(facts=facts(200, 20, text="sys"))
    curve = [[1_700_000_000 + 3600 * k, k * 7919 % 1000, k, k // 50] for k in range(500)]
    for each in large.facts["systems"]:
        each["curve"] = curve
    started = time.process_time()
    html = page(large)

    assert len(html.encode()) < 2_000_000
    assert time.process_time() - started < 15  # about 2 s
    assert html.count("<svg") > 200 and html.count("sys19") == 200


@pytest.mark.parametrize(("holders", "systems"), [(3000, 2), (1, 6000)])
def test_a_log_of_any_shape_fits_on_a_page(holders, systems):
    """Whoever registers many holders or systems does not keep others from reading; sums are of all of them."""
    html = page(report(facts=facts(holders, systems)))

    assert len(html.encode()) < 2_000_000
    assert f"{holders * systems * 400:,}" in Tree(html).text("td")
    assert f"and {holders * systems - 4000:,} more systems: the JSON report" in html


def test_long_lists_are_cut_with_a_word():
    """A log of many keys does not make a page that no browser opens."""
    many = facts()
    many["keys"] *= 5000
    html = page(report(facts=many))

    assert len(html) < 400_000
    assert "and 4,500 more rows: the JSON report has all of them" in html


def test_the_command_writes_the_page(tmp_path, capsys):
    """Once, beside what it prints; the digest it names is that of the evidence file."""
    log = stage().copy()
    log.tombstone(ACME, "db", rows_of(1))
    log.epoch()
    log.hold(ACME, "db", rows_of(1))
    log.epoch()
    publish(Operator(log), tmp_path / "log")
    (tmp_path / "policy").write_bytes(policy().encode())
    command = ["audit", str(tmp_path / "log"), "--policy", str(tmp_path / "policy"), "--auditor", "Ada & Co"]
    command += ["--html", str(tmp_path / "page.html"), "--evidence", str(tmp_path / "evidence")]

    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 3
    tree = Tree((tmp_path / "page.html").read_text())
    [kept] = (tmp_path / "evidence").rglob("*.evidence")
    assert sha256(kept.read_bytes()).hexdigest() in tree.text("dd")
    assert "Ada & Co" in tree.text("dd")
    assert Policy.parse((tmp_path / "policy").read_bytes()).logs[0].verifier.encode() in tree.text("dd")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("attest: Found in the log")
    assert said.index(next(s for s in said if "holder/old-commitment" in s)) < said.index("attest: facts:")

    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "file/exists" in capsys.readouterr().err
