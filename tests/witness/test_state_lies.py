"""An operator with all code and keys lies: every lie is refused, each by its own name, and what is kept proves it."""

from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from attest.errors import AttestError, Malformed, Refuted
from attest.formats.note import KeyType, NoteVerifier
from attest.witness.request import AddCheckpoint
from tests.ledger.log import ORIGIN
from tests.ledger.model import Key
from tests.vectors import generate_ledger
from tests.witness.conftest import Open
from tests.witness.lies import EPOCHS, LIES, Operator, busy, lying_epoch
from tests.witness.statewitness import StateWitness


@pytest.fixture
def log():
    """What the stock witness knows of the operator: its key."""
    return SimpleNamespace(verifiers=[NoteVerifier.of(ORIGIN, KeyType.ED25519, Key(ORIGIN + " note").public)])


@pytest.fixture
def witness(tmp_path: Path):
    """Make the state witness of an operator who has been honest up to where a log stands."""
    made = []

    def make(log) -> StateWitness:
        made.append(found := StateWitness(Operator(log), tmp_path / "state"))
        return found

    yield make
    for each in made:
        each.db.close()


def stock_cosigns(open_site: Open, operator: Operator, *sizes: int) -> None:
    """Check that a witness which checks no states is content, at every step."""
    site = open_site()
    for old, new in pairwise((0, *sizes)):
        body = AddCheckpoint(old, operator.consistency(old, new), operator.signed(new)).encode()
        assert site.post(body).status_code == 200


def walks_into(witness: StateWitness, proof: bytes) -> AttestError:
    """Let it see the honest past, and then an epoch that it refuses; it stays where it was."""
    witness.assess()
    before = len(witness.operator.entries)
    witness.operator.publish(proof)
    error = witness.refuses()
    assert witness.size == before
    return error


def comes_late_to(witness: StateWitness, proof: bytes) -> AttestError:
    """Let it begin when no proof is served any more."""
    witness.operator.publish(proof)
    witness.operator.proofs.clear()
    return witness.refuses()


def check_kept(witness: StateWitness, code: str) -> None:
    """Check that a third party repeats the refusal, and sees it committed by the signed checkpoint."""
    found = witness.finding()
    assert (found.refusal.code, found.committed) == (code, True)
    assert witness.kept()[0].signed == witness.operator.signed()


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_the_state_is_refused_by_its_name(witness, open_site, name):
    """Signed epoch, right tree, right proof but for what it commits; a stock witness cosigns it."""
    code, lie = LIES[name]
    log = busy()
    found = witness(log)
    before = len(found.operator.entries)
    error = walks_into(found, lying_epoch(log, lie))

    assert isinstance(error, Refuted)
    assert error.code == code
    check_kept(found, code)
    stock_cosigns(open_site, found.operator, before, len(found.operator.entries))


@pytest.mark.parametrize("name", ["leave a record out", "fewer held", "drop a party", "a planted key"])
def test_a_lie_in_the_past_is_found_by_replay(witness, name):
    """Whoever comes late, when proofs are gone, finds that the root is wrong; nobody shows any more in what."""
    log = busy()
    found = witness(log)

    assert comes_late_to(found, lying_epoch(log, LIES[name][1])).code == "rule/epoch-root"
    check_kept(found, "rule/epoch-root")


@cache
def past():
    return generate_ledger.history()


BROKEN = generate_ledger.refused_statements(past().copy())


@pytest.mark.parametrize("way", ["walk", "replay"])
@pytest.mark.parametrize("n", range(len(BROKEN)), ids=[f"{desc}" for desc, _, _ in BROKEN])
def test_an_entry_against_the_rules_is_refused_by_its_name(witness, n, way):
    """Foreign and revoked keys, skipped seqs, holds of what is held, and all else that rules refuse."""
    log = past().copy()
    _, code, entry = generate_ledger.refused_statements(log)[n]
    epoch = log.encode({**log.epoch_fields(), "time": log.time + 1}, iat=log.time + 1)
    found = witness(log)
    error = (walks_into if way == "walk" else comes_late_to)(found, log.force(entry, epoch=epoch))

    assert isinstance(error, Refuted | Malformed)
    assert error.code == code
    check_kept(found, code)


@pytest.mark.parametrize("name", EPOCHS)
def test_an_epoch_that_is_wrong_itself_is_refused_by_its_name(witness, name):
    """Number, time, or the root of something else."""
    log = busy()
    code, change = EPOCHS[name]
    log.time += 1
    fields = {**log.epoch_fields(), **change(log)}
    proof = log.force(epoch=log.encode(fields, iat=fields["time"]))
    found = witness(log)
    found.assess()
    # A proof of another number is served where the next one is looked for.
    next_number = log.epoch_fields()["number"]
    found.operator.publish(proof)
    found.operator.proofs[next_number] = proof

    assert found.refuses().code == code
    check_kept(found, code)
