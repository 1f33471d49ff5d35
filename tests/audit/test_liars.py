"""Whoever lies to an audit is found, by the name of the lie, and refuted by what the audit keeps."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from attest.audit.audit import Order, audit
from attest.audit.findings import Finding, Report
from attest.audit.memory import Memory
from attest.audit.source import DirectorySource, HttpSource, Source
from attest.cli import main
from attest.transport import LogClient
from tests.audit.liars import LIARS, Lie, Told

SENTENCES = {
    "committed": "the log's own signature stands under this",
    "served": "these bytes are not what the log has committed",
    "word": "that it was so is the word of whoever kept this",
}


def over_http(directory: Path) -> httpx.MockTransport:
    """Serve a directory as any static web server does."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = directory / request.url.path.lstrip("/")
        return httpx.Response(200, content=path.read_bytes()) if path.is_file() else httpx.Response(404)

    return httpx.MockTransport(answer)


@contextmanager
def reached(directory: Path, way: str) -> Iterator[Source]:
    if way == "directory":
        yield DirectorySource(directory)
    else:
        with LogClient("http://log.example", None, transport=over_http(directory), patience_s=0) as client:
            yield HttpSource(client)


def look(told: Told, where: Path, way: str) -> Report:
    """Audit what is told, after what was told before; over HTTP with a memory only if there is something in it."""
    evidence = where / "evidence"
    order = Order(told.policy, "log", told.now, told.others, live=told.live)
    if told.before is None and way == "http":
        with reached(told.log, way) as source:
            return audit(source, order, None, evidence)
    with Memory.open(where / "state") as memory:
        if told.before is not None:
            with reached(told.before, way) as source:
                first = audit(source, Order(told.policy, "before", told.now, live=False), memory, evidence)
            assert (first.outcome, first.findings) == ("clean", [])
        with reached(told.log, way) as source:
            return audit(source, order, memory, evidence)


@pytest.fixture
def verify(tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], monkeypatch):
    """Run `attest verify` where there is nothing but the evidence and the policy."""

    def run(evidence: bytes, policy: bytes) -> tuple[int, str, str]:
        where = tmp_path_factory.mktemp("third-party")
        (where / "found.evidence").write_bytes(evidence)
        (where / "policy").write_bytes(policy)
        monkeypatch.chdir(where)
        with pytest.raises(SystemExit) as ended:
            main(["verify", "found.evidence", "--policy", "policy"])
        assert sorted(path.name for path in where.iterdir()) == ["found.evidence", "policy"]
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.mark.parametrize("name", LIARS)
def test_a_lie_is_found_by_its_name_and_refuted_by_its_evidence(name: str, tmp_path: Path, verify) -> None:
    """One finding, its code, and a file in which a third party finds it again: or reads that it is somebody's word."""
    lie = LIARS[name]
    told = lie.tell(tmp_path)
    [finding] = look(told, tmp_path, "directory").findings
    assert finding.code == lie.code
    check_evidence(lie, told, finding, verify)


SERVED = [name for name, lie in LIARS.items() if not name.startswith(("epoch: ", "statement: ")) and not lie.listed]


@pytest.mark.parametrize("name", SERVED)
def test_a_lie_is_found_over_http(name: str, tmp_path: Path, verify) -> None:
    """As in a directory, wherever the lie is about what is served."""
    lie = LIARS[name]
    told = lie.tell(tmp_path)
    [finding] = look(told, tmp_path, "http").findings
    assert finding.code == lie.code
    check_evidence(lie, told, finding, verify)


def check_evidence(lie: Lie, told: Told, finding: Finding, verify) -> None:
    assert (finding.kept is None) == (lie.weight == "hearsay")
    if finding.kept is None:
        return
    assert finding.severity != "missing" or lie.weight == "word"
    code, out, err = verify(Path(finding.kept).read_bytes(), told.policy.encode())
    outcome, ends = ("undecided", 1) if lie.weight == "word" else ("refuted", 3)
    assert (code, out) == (ends, f"{outcome}\tfound.evidence\t{lie.code}\n")
    assert SENTENCES[lie.weight] in err


PAGE = Path(__file__).parent.parent.parent / "docs/THREAT-MODEL.md"
ROW = re.compile(r"^\| `([a-z-]+/[a-z-]+)` \| (\w+) \| (.+) \|$", re.MULTILINE)


def test_the_page_lists_every_lie():
    """By the code that names it and by what a third party sees, each with the scenario that proves it."""
    [listed] = re.findall(r"^## Lies that an audit finds$(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    rows = ROW.findall(listed)
    found = [(name, code, weight) for code, weight, names in rows for name in names.split("; ")]
    assert sorted(found) == sorted((name, lie.code, lie.weight) for name, lie in LIARS.items())
