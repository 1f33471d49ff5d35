"""Whatever is changed in an evidence file, it never crashes who reads it, and never accuses of anything else."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.cli import main
from attest.errors import AttestError, Malformed
from attest.ledger.evidence import MAX_EVIDENCE, Evidence
from attest.ledger.evidence.exhibit import Sight
from tests.audit.liars import LIARS
from tests.audit.test_liars import look

steady = settings(derandomize=True, deadline=None, max_examples=150, database=None)

# One of each kind, and of each way to be found.
KINDS = {
    "note": "a signature of the log that is none",
    "quorum": "a witness counted twice",
    "fork": "a split view, of fewer entries",
    "older": "a history cut off",
    "silence": "a stale checkpoint for ever",
    "epoch": "epoch: leave a record out",
    "statement": "statement: a seq behind",
    "genesis": "entry 0 names other keys than the policy",
    "end": "a checkpoint within an epoch",
    "rows": "a row file of more rows than said",
    "file": "a bit of a tile",
    "bundle": "a bit of a bundle",
    "tree": "the tree of another history",
    "served": "a bit of a row file",
    "withheld": "a row file withheld",
    "contradiction": "a back-dated erasure",
}


@cache
def kept(kind: str, where: Path) -> tuple[bytes, object]:
    told = LIARS[KINDS[kind]].tell(where)
    [finding] = look(told, where, "directory").findings
    assert finding.kept is not None
    return Path(finding.kept).read_bytes(), told.policy


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_accuses_of_nothing_else(folder: Path, kind: str) -> None:
    """At any byte: what is then found, if anything is, is the lie that was found before, of the same log."""
    where = folder / kind
    where.mkdir()
    encoded, policy = kept(kind, where)
    before = Evidence.parse(encoded)
    seen = before.check(policy)

    @steady
    @given(st.data())
    def change(data) -> None:
        at = data.draw(st.integers(0, len(encoded) - 1))
        way = data.draw(st.sampled_from(["flip", "set", "drop", "insert", "cut"]))
        byte = data.draw(st.integers(0, 255))
        spoilt = {
            "flip": encoded[:at] + bytes([encoded[at] ^ (1 << byte % 8)]) + encoded[at + 1 :],
            "set": encoded[:at] + bytes([byte]) + encoded[at + 1 :],
            "drop": encoded[:at] + encoded[at + 1 :],
            "insert": encoded[:at] + bytes([byte]) + encoded[at:],
            "cut": encoded[:at],
        }[way]
        try:
            made = Evidence.parse(spoilt)
            found: Sight = made.check(policy)
        except AttestError:
            return
        assert found.refusal.code == before.code
        assert (found.committed, found.word) in ((seen.committed, seen.word), (False, seen.word))
        # What a signature covers is what it was.
        if kind not in ("note", "quorum"):
            assert made.signed.checkpoint == before.signed.checkpoint

    change()


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is too large before it is anything else; so is one of very many parts."""
    with (tmp_path / "big.evidence").open("wb") as file:
        file.write(b"\xa6\x66format\x71attest-evidence/1")
        file.truncate(MAX_EVIDENCE + 1)
    told = LIARS["a bit of a tile"].tell(tmp_path)
    (tmp_path / "policy").write_bytes(told.policy.encode())
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(tmp_path / "big.evidence"), "--policy", str(tmp_path / "policy")])
    assert ended.value.code == 1
    assert "file/size" in capsys.readouterr().out
    with pytest.raises(Malformed, match="cbor/items"):
        Evidence.parse(b"\xa6\x66format\x71attest-evidence/1" + b"\x9a\x00\xff\xff\xff" + b"\x00" * 0xFFFFFF)
    with pytest.raises(Malformed):
        Evidence.parse(b"\x81" * 100_000)
