"""`attest show` explains every artefact, and is never led by one."""

import json
from pathlib import Path
from typing import Any

import pytest

from attest.audit.audit import Order, audit
from attest.audit.sample import Draw, encode_worksheet
from attest.audit.source import DirectorySource
from attest.cli import main
from attest.crypto.keys import SigningKey
from attest.encoding import encode_cbor
from attest.formats.bundle import Bundle
from attest.formats.rows import RowFile
from attest.formats.sample import Result
from attest.ledger.epoch import Draft
from attest.ledger.transition import FORMAT, prove_transition
from attest.merkle.tiles import encode_bundle
from tests.audit.liars import LIARS
from tests.audit.test_party import party_proof
from tests.ledger.log import ORIGIN
from tests.verify.world import World
from tests.witness.lies import ACME, Operator, stage

VECTORS = Path(__file__).parent.parent / "vectors/bundle"


@pytest.fixture
def show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Write a file, show it; return (exit code, stdout, stderr)."""

    def show(content: bytes, name: str = "file") -> tuple[int, str, str]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            main(["show", str(path)])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return show


@pytest.mark.parametrize("kind", ["hold", "tombstone", "lookup-ada", "certificate"])
def test_bundles_are_explained(show: Any, kind: str) -> None:
    """Kind, checkpoint, holder, states, and every entry in words."""
    code, out, _ = show((VECTORS / f"{kind}.bundle").read_bytes())

    assert code == 0
    assert f"a {kind.partition('-')[0]} bundle" in out
    assert "acme.example" in out
    assert "party/1" in out


def test_the_log_before_is_shown(show: Any) -> None:
    """In entry 0 of a successor, with the checkpoint it ended with; and the end of a log."""
    code, out, _ = show((VECTORS / "ended.bundle").read_bytes())

    assert code == 0
    assert "origin: old.example/log" in out and "size: 1234" in out and bytes(range(32)).hex() in out
    assert "kind: party-end/1" in out


def test_a_keepsake_is_explained_without_its_opening(show: Any) -> None:
    """What opens commitments is not printed on a screen that others may see."""
    content = (VECTORS / "ada.keepsake").read_bytes()
    code, out, _ = show(content)

    assert code == 0
    assert "keep it private" in out
    for hold in json.loads(content)["holds"]:
        assert hold["blind"] not in out
        assert hold["records"][0] not in out


def test_the_parts_of_a_log_are_explained(show: Any) -> None:
    """Checkpoint, proof, policy, statement, row file, tile, entry bundle, transition proof."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", "email:ada@example.org", "email:bob@example.org")
    before = world.ledger
    draft = Draft(before)
    pending = list(world.pending)
    world.epoch()
    for statement in pending:
        rows = world.rows.get(getattr(statement.payload, "root", b""))
        draft.add(statement, rows)
    bundle = Bundle.from_json(world.bundle("hold", acme, "email:ada@example.org", system="db"))
    [rows] = world.rows.values()
    statement = world.entries[-2].entry
    cases = {
        "a signed checkpoint": (bundle.checkpoint.encode(), "checkpoint"),
        ".tlog-proof": (bundle.tlog_proof(0).encode(), "a.tlog-proof"),
        "a policy": (world.policy().encode(), "policy"),
        "a statement, hold/1": (statement, "entry"),
        "a row file": (rows.encoded, f"rows/{rows.root().hex()}"),
        "an entry bundle": (encode_bundle([e.entry for e in world.entries]), "tile/entries/000.p/6"),
        "a tile": (b"".join(e.leaf for e in world.entries), "tile/0/000.p/6"),
        "a transition proof": (prove_transition(before, draft, world.entries[-1]), "transition"),
    }
    for what, (content, name) in cases.items():
        code, out, err = show(content, name)
        assert code == 0, err
        assert what in out


def test_a_private_key_is_not_shown(show: Any) -> None:
    """A key file shown by mistake gives nothing away."""
    pem = SigningKey.generate().to_pem(None)
    code, out, _ = show(pem)

    assert code == 0
    assert "private key" in out
    assert pem.decode().split("\n")[1] not in out


def test_a_file_does_not_speak_to_the_terminal(show: Any) -> None:
    """Escape sequences in names are shown, not sent."""
    code, out, _ = show(json.dumps({"format": "attest-join/1", "name": "x\x1b[2J\u202e"}).encode())

    assert code == 0
    assert "\x1b" not in out
    assert "\u202e" not in out


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xd2\x84", b"\xd2\x84\x40\xa0\x40\x40", b"{}", b"\xff" * 31, b"[" * 9999]
)
def test_foreign_files_are_named_as_such(show: Any, content: bytes) -> None:
    """Exit 1 with a code, never a traceback."""
    code, _, err = show(content)

    assert code == 1
    assert "Traceback" not in err
    assert "/" in err


def test_a_row_file_out_of_order_is_not_called_one(show: Any) -> None:
    """64-byte rows that do not ascend are not a row file."""
    rows = RowFile.build({bytes([n]) * 32: bytes(32) for n in range(4)}).encoded
    assert "a row file" in show(rows)[1]
    assert "a row file" not in show(rows[64:] + rows[:64])[1]


def test_names_of_fields_do_not_speak_to_the_terminal(show: Any) -> None:
    """A join request, and what looks signed by a log, may have any fields."""
    name = "\x1b[2K\u202e\nsize"
    join = json.dumps({"format": "attest-join/1", name: {name: [name]}}).encode()
    promise = encode_cbor({"kind": "promise/1", name: name})
    for content in (join, b"\xd2" + encode_cbor([encode_cbor({1: 1}), {}, promise, bytes(64)])):
        code, out, _ = show(content)

        assert code == 0
        assert all(c.isprintable() for line in out.split("\n") for c in line)
        assert not any(line.startswith("size") for line in out.split("\n"))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"entries": 5},
        {"entries": [1]},
        {"entries": [], "size": 0, "top": 5},
        {"entries": [], "size": "0", "top": b"", "heads": [], "holders": [1]},
        {"entries": [], "size": 0, "top": b"", "heads": [], "holders": [{"party": "a", "systems": [{"map": 1}]}]},
    ],
)
def test_a_broken_transition_proof_is_an_error(show: Any, content: dict[str, Any]) -> None:
    """Not a traceback: one line that says what it is not."""
    code, _, err = show(encode_cbor({"format": FORMAT, **content}))

    assert code == 1
    assert "transition/format" in err


def test_nesting_is_no_trap(show: Any) -> None:
    """What can be read can be shown, or refused."""
    code, _, err = show(b'{"format":"attest-join/1","a":' + b"[" * 900 + b"]" * 900 + b"}")

    assert code in (0, 1)
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["a bit of a row file", "the old commitment returns"])
def test_evidence_is_explained(show: Any, tmp_path: Path, name: str) -> None:
    """What it says, of which log, in which statement; and where to have it checked."""
    lie = LIARS[name]
    told = lie.tell(tmp_path)
    audit(DirectorySource(told.log), Order(told.policy, "here", told.now, live=False), None, tmp_path / "found")
    [path] = (tmp_path / "found").glob("*/*.evidence")
    code, out, err = show(path.read_bytes())

    assert code == 0, err
    assert f"evidence of {lie.code}" in out and f"origin: {ORIGIN}" in out
    assert "hold/1 by https://" in out and "attest verify" in out


def test_the_files_of_a_sample_are_explained(show: Any) -> None:
    """Plan, beacon and result in words; of what names persons, only what it is."""
    results = json.loads((VECTORS.parent / "sample/results.json").read_text())
    encoded = bytes.fromhex(results["cases"][0]["result"])
    result = Result.parse(encoded)
    for content, wanted in (
        (encoded, ("the signed result of a sample", f"auditor: {result.auditor}", f"opened: {result.plan.size}")),
        (result.plan.encoded, ("the plan of a sample", result.plan.digest.hex(), f"round {result.plan.round} of")),
        (result.beacon.encoded, ("what a beacon said", result.beacon.value.hex())),
    ):
        code, out, err = show(content)
        assert code == 0, err
        assert all(each in out for each in wanted), out

    secret = "5a" * 32
    sheet = encode_worksheet([Draw(1, 7, locator="email:ada@example.org", opening=b"x" * 64)])
    for private in (sheet, b"\xef\xbb\xbf" + sheet.replace(b",", b";"), f"attest-frame/1 {secret}\nx\n".encode()):
        code, out, _ = show(private)
        assert code == 0 and "of a sample" in out
        assert "ada@" not in out and secret not in out


def test_where_a_party_stands_is_explained(show: Any) -> None:
    """The proof that a log serves of each party."""
    operator = Operator(stage().copy())
    code, out, err = show(party_proof(operator, operator.log.ledger, ACME))

    assert code == 0, err
    assert "where a party stands" in out and ACME in out and "descriptor: " in out
