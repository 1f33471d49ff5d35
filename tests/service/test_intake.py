"""What comes in, in which order, and what is said about it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attest.crypto.keys import SigningKey, thumbprint
from attest.encoding import Hash
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable
from attest.formats.receipt import Promise, Receipt, Refusal
from attest.formats.rows import RowFile
from attest.formats.statement import Epoch, Hold, Keys, PartyEnd, Statement, sign_statement
from attest.formats.tlog_proof import TlogProof
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.rules import judge
from attest.merkle.tree import verify_inclusion
from attest.store import queue
from tests.world import ORIGIN, Holder, PlainMap, World, descriptor, random_rows


def some_rows(count: int = 2) -> RowFile:
    return RowFile.build(random_rows(count))


def states(world: World, *statements: Statement) -> list[str]:
    return [world.outcome(statement).state for statement in statements]


# --- the way in ---


def test_a_statement_goes_from_its_rows_over_a_promise_to_a_receipt(any_world: World) -> None:
    """Each step is what docs/spec/http.md says, and every signature verifies."""
    world = any_world
    acme = world.holder("acme.example", descriptor("db"))
    rows = some_rows()
    statement = acme.hold("db", rows)
    first = world.node.submit(statement.entry)
    assert (first.leaf, first.state, first.rows_root, first.promise) == (statement.leaf, "rows", rows.root(), None)
    (second,) = world.node.put_rows(rows.root(), rows.encoded)
    assert second.state == "pending"
    promise = Promise.parse(second.promise or b"")
    promise.verify(world.node.genesis.receipts)
    now = int(world.clock())
    assert (promise.origin, promise.entry, promise.by) == (ORIGIN, statement.leaf, now + world.config.promise_s)
    assert world.node.blob(f"rows/{rows.root().hex()}") is None
    world.step()
    third = world.node.wait(statement.leaf, 0)
    assert (third.state, third.position, third.promise) == ("entry", 6, second.promise)
    assert world.node.statement(statement.leaf) == statement.entry
    assert world.node.blob(f"rows/{rows.root().hex()}") == rows.encoded
    root = world.node.view.record.tree_root
    assert Receipt.parse(world.node.receipt(statement.leaf)).verify(statement.leaf, world.node.genesis.receipts) == root
    proof = TlogProof.parse(world.node.tlog_proof(statement.leaf))
    verify_inclusion(statement.leaf, proof.index, proof.signed.checkpoint.size, root, proof.path)
    world.check()


def test_the_same_bytes_are_the_same_submission_at_every_stage(world: World, acme: Holder) -> None:
    """One promise, one entry, one refusal."""
    rows = some_rows()
    hold = acme.hold("db", rows)
    assert world.node.submit(hold.entry) == world.node.submit(hold.entry)
    pending = world.node.put_rows(rows.root(), rows.encoded)
    assert world.node.put_rows(rows.root(), rows.encoded) == pending
    assert [world.node.submit(hold.entry)] == pending
    world.step()
    entry = world.outcome(hold)
    assert world.node.submit(hold.entry) == entry
    assert world.node.put_rows(rows.root(), rows.encoded) == [entry]
    again = acme.hold("db", rows)
    world.submit(again)
    world.step()
    refused = world.outcome(again)
    assert refused.state == "refused"
    assert world.node.submit(again.entry).refusal == refused.refusal
    assert world.check().systems["acme.example", "db"].entries == 1


def test_a_published_row_file_need_not_come_twice(world: World, acme: Holder) -> None:
    """Erasing all rows of a hold names the same file."""
    rows = some_rows()
    world.publish(acme.hold("db", rows), rows)
    assert world.node.submit(acme.erase("db", rows).entry).state == "pending"


# --- order ---


def test_statements_that_number_ahead_wait_for_what_comes_before_them(world: World, acme: Holder) -> None:
    """They may arrive in any order, and stand in the log in theirs."""
    files = [some_rows() for _ in range(5)]
    holds = [acme.hold("db", rows) for rows in files]
    for hold, rows in reversed(list(zip(holds[1:], files[1:], strict=True))):
        world.submit(hold, rows)
    world.step()
    assert states(world, *holds[1:]) == ["pending"] * 4
    world.submit(holds[0], files[0])
    world.step()
    positions = [world.outcome(hold).position for hold in holds]
    assert positions == list(range(positions[0], positions[0] + 5))
    world.check()


def test_whoever_waits_in_vain_is_refused_before_the_promise_runs_out(world: World, acme: Holder) -> None:
    """The refusal says `rule/seq`, and holds at its position."""
    rows = some_rows()
    hold = acme.hold("db", rows, seq=3)
    promise = Promise.parse(world.submit(hold, rows).promise or b"")
    world.clock.now = promise.by - 6
    world.node.step()
    assert states(world, hold) == ["pending"]
    world.clock.now = promise.by - 5
    world.node.step()
    found = world.outcome(hold)
    assert found.state == "refused" and found.error is not None and found.error.code == "rule/seq"
    assert Refusal.parse(found.refusal or b"").issued_at <= promise.by


def test_a_system_and_what_is_held_in_it_may_come_in_one_epoch(world: World) -> None:
    """In either order, once the registration is in the queue."""
    acme = world.holder("acme.example")
    rows = some_rows()
    registration, hold = acme.systems(descriptor("db")), acme.hold("db", rows)
    with pytest.raises(Conflict, match="rule/system"):
        world.node.submit(hold.entry)
    world.submit(registration)
    world.submit(hold, rows)
    world.step()
    assert states(world, registration, hold) == ["entry", "entry"]
    world.check()


def test_an_epoch_takes_so_many_rows_and_statements_and_no_more(tmp_path: Path) -> None:
    """The rest comes in the next one; a file that is larger than an epoch comes alone."""
    world = World(tmp_path / "log", epoch_rows=10, epoch_statements=3)
    acme = world.holder("acme.example", descriptor("db"))
    files = [some_rows(count) for count in (4, 6, 1, 25, 1, 1, 1, 1)]
    holds = [acme.hold("db", rows) for rows in files]
    for hold, rows in zip(holds, files, strict=True):
        world.submit(hold, rows)
    epochs = []
    while "pending" in states(world, *holds):
        epochs.append(world.step().entries)
    assert epochs == [2, 1, 1, 3, 1]
    world.check()
    world.close()


# --- refusals ---


def test_of_two_statements_under_one_number_the_first_stands(world: World, acme: Holder) -> None:
    """And of two holds of one index the second is refused, with its rows."""
    shared = random_rows(1)
    one, two = RowFile.build({**shared, **random_rows(2)}), RowFile.build({**shared, **random_rows(2)})
    first, twin, second = acme.hold("db", one), acme.hold("db", two, seq=0), acme.hold("db", two)
    for statement, rows in ((first, one), (twin, two), (second, two)):
        world.submit(statement, rows)
    world.step()
    assert states(world, first, twin, second) == ["entry", "refused", "refused"]
    assert world.outcome(twin).error.code == "rule/seq"  # type: ignore[union-attr]
    error = world.outcome(second).error
    assert error is not None and error.code == "rule/already-held"
    assert error.rows == (two.indexes.index(next(iter(shared))),)


def test_anybody_can_judge_a_refusal_again_at_its_position(world: World, acme: Holder) -> None:
    """Log-signed, with code and rows, and true of the log as it stood there."""
    held, fresh = some_rows(3), some_rows(3)
    world.publish(acme.hold("db", held), held)
    other = RowFile.build({**dict(zip(held.indexes, held.commitments, strict=True)), **random_rows(1)})
    wrong = [
        (acme.hold("db", held, seq=1), held),
        (acme.erase("db", fresh, seq=1), fresh),
        (acme.erase("db", RowFile.build(dict.fromkeys(held.indexes, bytes(32))), seq=1), None),
        (acme.hold("db", other, seq=1), other),
    ]
    wrong[2] = wrong[2][0], RowFile.build(dict.fromkeys(held.indexes, bytes(32)))
    for statement, rows in wrong:
        world.submit(statement, rows)
    world.step()
    codes = []
    for statement, rows in wrong:
        found = world.outcome(statement)
        refusal = Refusal.parse(found.refusal or b"")
        refusal.verify(world.node.genesis.receipts)
        assert refusal.entry == statement.leaf
        with pytest.raises(AttestError) as error:
            judge(draft_at(world, refusal.position), refusal.position, statement, rows)
        assert (error.value.code, error.value.rows) == (refusal.code, refusal.rows)
        codes.append(refusal.code)
    assert codes == ["rule/already-held", "rule/not-held", "rule/commitment-mismatch", "rule/already-held"]
    # Its number is free again.
    world.publish(acme.hold("db", fresh, seq=1), fresh)


def draft_at(world: World, position: int) -> Draft:
    """Replay the log to just before a position."""
    ledger = Ledger(PlainMap)
    draft = Draft(ledger)
    for entry in world._entries(world.node.view.size)[:position]:
        statement = Statement.parse(entry)
        if isinstance(statement.payload, Epoch):
            ledger = ledger.advance(draft, statement)
            draft = Draft(ledger)
        else:
            draft.add(statement, world._rows(statement))
    return draft


STRANGER = SigningKey.generate()
EARLY: dict[str, tuple[str, Callable[[Holder, RowFile], Statement]]] = {
    "unknown party": ("rule/issuer", lambda acme, rows: dataclasses.replace(acme, id="other.example").hold("db", rows)),
    "unknown key": ("rule/key", lambda acme, rows: acme.hold("db", rows, key=STRANGER)),
    "recovery key": ("rule/key-use", lambda acme, rows: acme.hold("db", rows, key=acme.recovery)),
    "other's stream": ("rule/system", lambda acme, rows: acme.hold("theirs", rows)),
    "own stream": ("rule/stream", lambda acme, rows: acme.sign(Hold(2, rows.root(), "collected"))),
    "other log": ("rule/audience", lambda acme, rows: acme.hold("db", rows, audience="log.example/other")),
    "about somebody": ("rule/about", lambda acme, rows: acme.hold("db", rows, about="other.example")),
    "future iat": ("rule/epoch-time", lambda acme, rows: acme.hold("db", rows, issued_at=int(acme.clock()) + 302)),
    "future erasure": (
        "rule/epoch-time",
        lambda acme, rows: acme.erase("db", rows, erased_at=int(acme.clock()) + 302),
    ),
    "far ahead": ("rule/seq", lambda acme, rows: acme.hold("db", rows, seq=5000)),
    "already counted": ("rule/seq", lambda acme, rows: acme.systems(descriptor("more"), seq=0)),
    "the log itself": ("rule/issuer", lambda acme, rows: acme.sign(PartyEnd(), issuer=f"https://{ORIGIN}")),
}


@pytest.mark.parametrize("case", EARLY)
def test_what_can_never_stand_is_refused_at_once(world: World, acme: Holder, case: str) -> None:
    """Nothing is queued, and no promise made."""
    code, make = EARLY[case]
    with pytest.raises(AttestError) as error:
        world.node.submit(make(acme, some_rows()).entry)
    assert error.value.code == code
    assert set(world.node.queue_view().values()) == {0}


def test_a_forged_signature_is_refused_at_once(world: World, acme: Holder) -> None:
    """One flipped bit of it."""
    entry = bytearray(acme.hold("db", some_rows()).entry)
    entry[-1] ^= 1
    with pytest.raises(Refuted, match="signature/invalid"):
        world.node.submit(bytes(entry))


def test_a_revoked_key_and_an_ended_party_are_refused(world: World, acme: Holder) -> None:
    """From the checkpoint on that shows it."""
    fresh = SigningKey.generate()
    kid = thumbprint(acme.key.public)
    with pytest.raises(Conflict, match="rule/last-key"):
        world.node.operate(Keys((), (kid,)), acme.id, pause=world.clock.advance)
    rows = some_rows()
    statement = acme.hold("db", rows)
    world.node.operate(PartyEnd(), acme.id, pause=world.clock.advance)
    with pytest.raises(Conflict, match="rule/party-ended"):
        world.node.submit(statement.entry)
    assert fresh.public != acme.key.public
    assert world.node.browse.holder(acme.id)["status"] == "ended"  # type: ignore[index]
    world.check()


def test_a_claim_that_the_clock_has_not_reached_waits_in_the_queue(world: World, acme: Holder) -> None:
    """No epoch could be signed over it; the others go on."""
    rows, other = some_rows(), some_rows()
    ahead = acme.hold("db", rows, issued_at=int(world.clock()) + 300)
    world.submit(ahead, rows)
    world.submit(acme.hold("search", other), other)
    world.clock.now -= 20  # set back after the statement came in
    world.node.step()
    world.clock.now += 21
    world.node.step()
    assert states(world, ahead) == ["entry"]
    world.check()


# --- row files ---


def test_a_row_file_that_nobody_asked_for_is_refused(world: World, acme: Holder) -> None:
    """Also one whose statement is only on its way."""
    rows = some_rows()
    with pytest.raises(Conflict, match="rows/unclaimed"):
        world.node.put_rows(rows.root(), rows.encoded)
    with pytest.raises(Conflict, match="rows/unclaimed"):
        world.node.put_rows(bytes(32), b"")


@pytest.mark.parametrize(
    ("wrong", "kind", "code"),
    [
        (lambda rows: rows.encoded[:64], Malformed, "rows/size"),
        (lambda rows: rows.encoded[:-1], Malformed, "rows/size"),
        (lambda rows: rows.encoded + bytes(64), Malformed, "rows/size"),
        (lambda rows: b"", Malformed, "rows/size"),
        (lambda rows: rows.encoded[64:] + rows.encoded[:64], Malformed, "rows/order"),
        (lambda rows: rows.encoded[:64] * 2, Malformed, "rows/order"),
        (lambda rows: rows.encoded[:-1] + bytes([rows.encoded[-1] ^ 1]), Refuted, "rows/root"),
    ],
)
def test_a_wrong_row_file_is_refused_and_the_right_one_still_taken(
    world: World, acme: Holder, wrong: Callable[[RowFile], bytes], kind: type[AttestError], code: str
) -> None:
    """With the code for what is wrong, and nothing stored."""
    rows = some_rows()
    world.node.submit(acme.hold("db", rows).entry)
    with pytest.raises(kind) as error:
        world.node.put_rows(rows.root(), wrong(rows))
    assert error.value.code == code
    assert not list((world.config.path(world.config.private) / "uploads").glob("*"))
    (found,) = world.node.put_rows(rows.root(), rows.encoded)
    assert found.state == "pending"


def test_a_statement_with_a_wrong_count_is_refused_for_it(world: World, acme: Holder) -> None:
    """The root alone does not say how many rows there are."""
    rows = some_rows(3)
    right, wrong = acme.hold("db", rows), acme.sign(Hold(4, rows.root(), "collected"), "db")
    world.submit(right, rows)
    world.submit(wrong)
    world.node.put_rows(rows.root(), rows.encoded)
    world.step()
    assert states(world, right, wrong) == ["entry", "refused"]
    assert world.outcome(wrong).error.code == "rows/count"  # type: ignore[union-attr]


def test_a_damaged_upload_is_our_fault_and_never_a_refusal(world: World, acme: Holder) -> None:
    """The statement waits; a refusal would be a lie with our signature under it."""
    rows = some_rows()
    hold = acme.hold("db", rows)
    world.submit(hold, rows)
    stored = world.config.path(world.config.private) / "uploads" / rows.root().hex()
    stored.write_bytes(rows.encoded[:-1] + b"\x00")
    fine = acme.systems(descriptor("more"))
    world.submit(fine)
    world.step()
    assert states(world, hold, fine) == ["pending", "entry"]
    with pytest.raises(Unavailable, match="store/damaged"):
        world.node.healthy()
    stored.write_bytes(rows.encoded)
    world.step()
    assert states(world, hold) == ["entry"]


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    """For everybody together, and for uploads of one party."""
    world = World(tmp_path / "log", pending_statements=2, pending_uploads=2)
    acme = world.holder("acme.example", descriptor("db"))
    for _ in range(2):
        world.submit(acme.hold("db", some_rows()))
    with pytest.raises(Unavailable, match="queue/full"):
        world.submit(acme.hold("db", some_rows()))
    for n in range(2):
        world.submit(acme.systems(descriptor("db", retention=f"{n} days")))
    with pytest.raises(Unavailable, match="queue/full"):
        world.submit(acme.systems(descriptor("db")))
    world.close()


# --- the operator ---


def test_admission_works_beside_a_node_that_sequences(any_world: World) -> None:
    """The wish goes through the queue; whoever holds the lease signs it in its place."""
    world = any_world
    world.holder("first.example")
    beside = world.open()

    def pause(seconds: float) -> None:
        world.step()

    holder = Holder("second.example", world.clock)
    beside.operate(holder.join_request().party("domain", 7), holder.id, pause=pause)
    assert not beside.leading and world.node.leading
    view = beside.browse.holder("second.example")
    assert view is not None and view["check"] == {"method": "domain", "time": 7}
    world.check()


def test_a_legal_identifier_is_admitted_once_until_its_party_ends(world: World) -> None:
    """Two live parties with one would be one company with two inventories."""
    first, second = Holder("a.example", world.clock, legal_id="FR 1"), Holder("b.example", world.clock, legal_id="FR 1")
    world.admit(first)
    with pytest.raises(Conflict, match="operator/legal-id"):
        world.admit(second)
    with pytest.raises(Conflict, match="rule/party-exists"):
        world.admit(first)
    world.node.operate(PartyEnd(), "a.example", pause=world.clock.advance)
    world.clock.advance()
    world.admit(second)
    world.check()


def test_what_the_operator_did_not_sign_is_not_sequenced_as_theirs(world: World) -> None:
    """Whoever can write the database cannot admit parties."""
    own = f"https://{ORIGIN}"
    party = Holder("evil.example", world.clock).join_request().party("operator", 0)
    forged = sign_statement(
        STRANGER, party, issuer=own, stream=own, audience=ORIGIN, issued_at=0, seq=9, about="evil.example"
    )
    with world.node._db.write() as transaction:
        queue.add(transaction, forged, now=0, promise=b"x", promise_by=int(world.clock()) + 900)
    world.step()
    error = world.outcome(forged).error
    assert error is not None and error.code == "signature/invalid"
    with pytest.raises(Conflict, match="holder/unknown"):
        world.node.browse.holder("evil.example")


# --- views and proofs ---


def test_lists_are_paged_by_key(world: World) -> None:
    """Every page follows the last one, and the last says so."""
    names = [f"h{n}.example" for n in range(5)]
    for name in names:
        world.holder(name)
    world.holder("auditor.example", role="auditor")
    seen: list[str] = []
    after: Any = None
    while True:
        page = world.node.browse.holders(after, 2)
        seen += [holder["id"] for holder in page["holders"]]
        after = page["next"]
        if after is None:
            break
    assert seen == names
    assert world.node.browse.log()["holders"] == 5
    holder = world.holders["h0.example"]
    for n in range(5):
        world.publish(holder.systems(descriptor(f"s{n}")))
    positions: list[int] = []
    before: int | None = None
    while True:
        page = world.node.browse.entries("h0.example", before, 2)
        positions += [entry["position"] for entry in page["entries"]]
        before = page["next"]
        if before is None:
            break
    assert len(positions) == 6 and positions == sorted(positions, reverse=True)
    with pytest.raises(Conflict, match="holder/unknown"):
        world.node.browse.entries("nobody.example", None, 2)


def test_a_lookup_answers_every_system_or_nothing(world: World, acme: Holder) -> None:
    """At a size that is still kept."""
    rows = some_rows()
    world.publish(acme.hold("db", rows), rows)
    size = world.node.view.size
    asked: list[dict[str, Hash]] = [{"db": rows.indexes[0], "search": bytes(32)}]
    found = world.node.lookup("acme.example", asked, None)
    world.publish(acme.erase("db", rows))
    assert world.node.lookup("acme.example", asked, size) == found
    assert world.node.lookup("acme.example", asked, None) != found
    for n in range(60):
        world.step(world.config.quiet_interval_s + n % 2)
    with pytest.raises(Conflict, match="proof/gone"):
        world.node.lookup("acme.example", asked, size)
    for wrong in ([{"db": bytes(32)}], [{**asked[0], "more": bytes(32)}]):
        with pytest.raises(Conflict, match="lookup/systems"):
            world.node.lookup("acme.example", wrong, None)
    with pytest.raises(Malformed, match="lookup/locators"):
        world.node.lookup("acme.example", asked * 65, None)
    with pytest.raises(Conflict, match="holder/unknown"):
        world.node.lookup("nobody.example", asked, None)


def test_row_proofs_are_for_rows_that_are_there(world: World, acme: Holder) -> None:
    """And for statements that have any."""
    rows = some_rows(5)
    hold = acme.hold("db", rows)
    world.publish(hold, rows)
    for at, index in enumerate(rows.indexes):
        found = world.node.row_proof(hold.leaf, index, None)["rows"][0]
        assert (found["position"], found["entry"]) == (at, world.outcome(hold).position)
    with pytest.raises(Conflict, match="row/unknown"):
        world.node.row_proof(hold.leaf, bytes(32), None)
    registration = acme.systems(descriptor("more"))
    world.publish(registration)
    with pytest.raises(Conflict, match="row/unknown"):
        world.node.row_proof(registration.leaf, bytes(32), None)
    with pytest.raises(Conflict, match="entry/unknown"):
        world.node.row_proof(bytes(32), bytes(32), None)


def test_only_public_files_are_served(world: World) -> None:
    """No name leads anywhere else."""
    for name in (
        "",
        "checkpoint",
        "rows/../checkpoint",
        "../attest.db",
        "rows/" + "0" * 64,
        "tile/0/../../x",
        "/etc/passwd",
    ):
        assert (world.node.blob(name) is not None) == (name == "checkpoint")
