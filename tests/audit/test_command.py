"""`attest audit` where something is amiss on the auditor's own side: what was found is said all the same."""

import io
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from attest.cli import main
from attest.cli.bars import drawn
from attest.cli.verify import write_new
from attest.encoding import sha256
from tests.audit.published import policy, publish
from tests.ledger.log import ORIGIN, rows_of
from tests.witness.lies import ACME, Operator, stage

Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Audit a log in which a holder contradicts itself; return (exit code, stdout by line, stderr)."""
    log = stage().copy()
    log.tombstone(ACME, "db", rows_of(1))
    log.epoch()
    log.hold(ACME, "db", rows_of(1))
    log.epoch()
    publish(Operator(log), tmp_path / "log/public")
    (tmp_path / "policy").write_bytes(policy().encode())

    def run(*more: object, place: object = tmp_path / "log/public") -> tuple[int, list[str], str]:
        words = ["audit", place, "--policy", tmp_path / "policy", *more]
        if "--evidence" not in more:
            words += ["--evidence", tmp_path / "evidence"]
        with pytest.raises(SystemExit) as ended:
            main([str(each) for each in words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out.splitlines(), said.err

    return run


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_finding_is_told_where_its_evidence_cannot_be_kept(run: Run, tmp_path: Path) -> None:
    """The exit code says found, and the report what is missing."""
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / sha256(ORIGIN.encode()).hex()).write_text("in the way of the folder")
    code, out, err = run("--evidence", tmp_path / "found")
    assert code == 3
    assert out[1].split("\t") == ["finding", "contradiction", "holder/old-commitment", out[1].split("\t")[3], "-"]
    assert "trouble: evidence of holder/old-commitment could not be kept" in err

    _, out, _ = run("--evidence", tmp_path / "found", "--json")
    report = json.loads(out[0])
    assert len(report["troubles"]) == 1 and report["findings"][0]["evidence"] is None


def test_a_finding_is_told_where_the_state_cannot_be_kept(run: Run, tmp_path: Path) -> None:
    """A disk that fails while the state is written must not swallow a lie; without one the audit has failed."""
    place = tmp_path / "log/public/rows"
    rows = sorted(place.iterdir())[0]
    rows.write_bytes(rows.read_bytes()[:-1] + b"!")
    (tmp_path / f"state/{sha256(ORIGIN.encode()).hex()}/ledger.new").mkdir(parents=True)
    code, out, err = run("--state", tmp_path / "state")
    assert code == 3 and out[1].split("\t")[2] == "served/rows"
    assert "trouble: what was verified could not be remembered" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--html", "{}/policy"), "file/exists"),
        (("--html", "{}/nowhere/page.html"), "no directory {}/nowhere"),
        (("--holder", "../../etc"), "want a party's id"),
        (("--holder", ACME, "--system", "../x"), "want a system's id"),
        (("--checkpoint", "{}/policy"), "{}/policy: note/"),
        (("--since", "{}/policy"), "{}/policy: note/"),
        (("--policy", "{}/log/public/checkpoint"), "{}/log/public/checkpoint: policy/"),
    ],
)
def test_what_cannot_be_meant_is_usage(run: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Never the code that says that something was found; and the file is named."""
    code, out, err = run(*(each.format(tmp_path) for each in words))
    assert (code, out) == (2, [])
    assert said.format(tmp_path) in err


def test_what_is_no_log_is_said(run: Run, tmp_path: Path) -> None:
    """The operator's directory in place of its public files; a place that is not there; another kind of URL."""
    code, _, err = run(place=tmp_path / "log")
    assert code == 1 and f"hint: they are in {tmp_path / 'log/public'}" in err
    code, _, err = run(place="log.example/deletions")
    assert code == 1 and "is no directory" in err and "https://" in err
    code, _, err = run(place="ftp://log.example/")
    assert code == 2 and "https://" in err


def test_half_a_file_is_not_left_behind(tmp_path: Path) -> None:
    """It would be in the way of the next attempt."""
    with small_files(1000), pytest.raises(OSError, match=r"page\.html"):
        write_new(tmp_path / "page.html", bytes(100_000), mode=0o644)
    assert list(tmp_path.iterdir()) == []


def test_a_row_file_that_goes_on_is_said_to_be_longer(run: Run, tmp_path: Path) -> None:
    """No more of it is read than shows that; how long it is nobody knows."""
    rows = sorted((tmp_path / "log/public/rows").iterdir())[0]
    want = rows.stat().st_size
    rows.write_bytes(rows.read_bytes() * 100)
    code, _, err = run()
    assert code == 3
    assert f"more than {want} bytes, want {want // 64} rows of 64" in err


@pytest.mark.parametrize("width", [40, 120])
def test_bars_show_their_numbers_on_any_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow one the bar goes, not the numbers."""
    monkeypatch.setenv("COLUMNS", str(width))
    with drawn() as (progress, show):
        show("entries", 123_456, 1_234_567)
        text = io.StringIO()
        Console(file=text, width=width).print(progress.get_renderable())
    assert "123456/1234567" in text.getvalue()
    assert ("━" in text.getvalue()) == (width == 120)
