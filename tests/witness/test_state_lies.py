"""An operator with all code and keys lies: every lie is refused, each by its own name, and what is kept proves it."""

from functools import cache
from pathlib import Path

import pytest

from attest.errors import AttestError, Malformed, Refuted
from attest.formats.note import KeyType, NoteVerifier
from attest.store.anchors import AnchorStore
from attest.store.blobs import DirectoryBlobs
from attest.store.db import Database
from attest.witness.evidence import check_evidence
from attest.witness.request import AddCheckpoint
from attest.witness.state import StateAssessor
from tests.ledger.log import ORIGIN
from tests.ledger.model import Key
from tests.vectors import generate_ledger
from tests.witness.conftest import Open, Site, write_list
from tests.witness.lies import LIES, Operator, busy


class Witnesses:
    """A state witness and a stock witness of one operator."""

    def __init__(self, operator: Operator, directory: Path, stock: Site) -> None:
        self.operator = operator
        self.stock = stock
        self.directory = directory
        self.db = Database(f"sqlite:///{directory}/state.db", "witness")
        self.db.migrate()
        self.anchors = AnchorStore(self.db)
        self.open()

    def open(self, **settings) -> StateAssessor:
        """Begin, as after a restart."""
        self.assessor = StateAssessor(
            lambda _: self.operator,
            DirectoryBlobs(self.directory),
            self.anchors,
            self.directory / "evidence",
            clock=lambda: self.operator.log.time,
            wait_s=60,
            **settings,
        )
        return self.assessor

    def assess(self) -> None:
        self.assessor.assess(self.operator.log.origin, self.operator.signed())

    def refuses(self) -> AttestError:
        with pytest.raises(AttestError) as caught:
            self.assess()
        return caught.value

    def stock_cosigns(self, old: int) -> None:
        """Check that a witness which checks no states is content."""
        size = len(self.operator.entries)
        body = AddCheckpoint(old, self.operator.consistency(old, size), self.operator.signed()).encode()
        assert self.stock.post(body).status_code == 200

    def evidence(self) -> Path:
        [place] = (self.directory / "evidence").glob("*/*")
        return place


@pytest.fixture
def state(open_site: Open, tmp_path: Path):
    """Make the witnesses of an operator who has been honest up to where a log stands."""
    made = []

    def make(log) -> Witnesses:
        operator = Operator(log)
        site = open_site()
        write_list(tmp_path, NoteVerifier.of(ORIGIN, KeyType.ED25519, Key(ORIGIN + " note").public))
        site.ticks.now += 2
        (tmp_path / "state").mkdir()
        made.append(witnesses := Witnesses(operator, tmp_path / "state", site))
        return witnesses

    yield make
    for each in made:
        each.db.close()


def lying_epoch(log, lie) -> bytes:
    """The proof of an epoch that commits a state which does not follow; it shows the heads that it commits."""
    after = log.model.copy()
    lie(after)
    epoch = log.sign_epoch(root=after.top_root())
    return log.force(epoch=epoch.entry, after=after)


def walks_into(state, log, proof) -> tuple[AttestError, Witnesses]:
    """Let both witnesses see the honest past, and then an epoch; the stock one cosigns, the other refuses."""
    witnesses = state(log)
    witnesses.assess()
    before = len(witnesses.operator.entries)
    witnesses.stock_cosigns(0)
    witnesses.operator.publish(proof)
    witnesses.stock_cosigns(before)
    error = witnesses.refuses()
    anchor = witnesses.anchors.read(ORIGIN)
    assert anchor is not None and anchor.size == before
    return error, witnesses


def check_kept(witnesses: Witnesses, code: str, *, proven: bool = True) -> None:
    """Check that a third party repeats the refusal from the files alone, under the key that it knows."""
    verifier = NoteVerifier.of(ORIGIN, KeyType.ED25519, Key(ORIGIN + " note").public)
    found = check_evidence(witnesses.evidence(), [verifier])
    assert (found.refusal.code, found.proven) == (code, proven)
    assert found.checkpoint == witnesses.operator.signed().checkpoint


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_the_state_is_refused_by_its_name(state, name):
    """Signed epoch, right tree, right proof but for what it commits; a stock witness cosigns it."""
    code, lie = LIES[name]
    log = busy()
    error, witnesses = walks_into(state, log, lying_epoch(log, lie))

    assert isinstance(error, Refuted)
    assert error.code == code
    check_kept(witnesses, code)


@pytest.mark.parametrize("name", ["leave a record out", "fewer held", "drop a party", "a planted key"])
def test_a_lie_in_the_past_is_found_by_replay(state, name):
    """Whoever comes late, when proofs are gone, finds that the root is wrong; nobody shows any more in what."""
    log = busy()
    witnesses = state(log)
    witnesses.operator.publish(lying_epoch(log, LIES[name][1]))
    witnesses.operator.proofs.clear()

    assert witnesses.refuses().code == "rule/epoch-root"
    check_kept(witnesses, "rule/epoch-root")


@cache
def past():
    return generate_ledger.history()


BROKEN = generate_ledger.refused_statements(past().copy())


@pytest.mark.parametrize("way", ["walk", "replay"])
@pytest.mark.parametrize("n", range(len(BROKEN)), ids=[f"{desc}" for desc, _, _ in BROKEN])
def test_an_entry_against_the_rules_is_refused_by_its_name(state, n, way):
    """Foreign and revoked keys, skipped seqs, holds of what is held, and all else that rules refuse."""
    log = past().copy()
    _, code, entry = generate_ledger.refused_statements(log)[n]
    epoch = log.encode({**log.epoch_fields(), "time": log.time + 1}, iat=log.time + 1)
    proof = log.force(entry, epoch=epoch)
    if way == "walk":
        error, witnesses = walks_into(state, log, proof)
    else:
        witnesses = state(log)
        witnesses.operator.publish(proof)
        witnesses.operator.proofs.clear()
        error = witnesses.refuses()

    assert isinstance(error, Refuted | Malformed)
    assert error.code == code
    check_kept(witnesses, code)


EPOCHS = {
    "a number too low": ("rule/epoch-number", lambda log: {"number": log.epoch_fields()["number"] - 1}),
    "a number too high": ("rule/epoch-number", lambda log: {"number": log.epoch_fields()["number"] + 1}),
    "the time of the last": ("rule/epoch-time", lambda log: {"time": log.time - 1}),
    "the root of the last": ("epoch/old-root", lambda log: {"root": log.committed.top_root()}),
    "the root of an earlier one": ("rule/epoch-root", lambda log: {"root": log.ledger.previous.payload.root[::-1]}),
    "no root": ("rule/epoch-root", lambda log: {"root": bytes(32)}),
}


@pytest.mark.parametrize("name", EPOCHS)
def test_an_epoch_that_is_wrong_itself_is_refused_by_its_name(state, name):
    """Number, time, or the root of something else."""
    log = busy()
    code, change = EPOCHS[name]
    log.time += 1
    fields = {**log.epoch_fields(), **change(log)}
    proof = log.force(epoch=log.encode(fields, iat=fields["time"]))
    witnesses = state(log)
    witnesses.assess()
    # A proof of another number is served where the next one is looked for.
    next_number = log.epoch_fields()["number"]
    witnesses.operator.publish(proof)
    witnesses.operator.proofs[next_number] = proof

    assert witnesses.refuses().code == code
    check_kept(witnesses, code)
