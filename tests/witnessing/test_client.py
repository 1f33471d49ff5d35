"""What the log makes of witnesses that are well, slow, dead, lying or rolled back."""

import json
import shutil
import threading
import time
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attest.cli.show import explain
from attest.errors import AttestError, Malformed, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, add_witness, remove_witness
from attest.formats.tlog_proof import TlogProof
from tests.witnessing.conftest import WAIT_S, Watched, watched_log
from tests.witnessing.stock import StockWitness
from tests.world import descriptor

SHORT_S = 0.1  # to wait in vain


def eventually(true: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def signers(watched: Watched) -> set[str]:
    """Who has cosigned what everybody can see."""
    signed = SignedCheckpoint.parse(watched.world.published("checkpoint"))
    verdict = watched.world.policy.check(signed)
    assert len(signed.note.signatures) == 2 + len(verdict.witnesses), "nothing that was not verified is published"
    return {cosignature.name for cosignature in verdict.witnesses}


def everybody(watched: Watched) -> set[str]:
    return {witness.name for witness in watched.witnesses}


# --- all is well ---


def test_a_published_checkpoint_has_a_quorum_and_soon_everybody(watched: Watched) -> None:
    """The quorum is there at once; whoever is later is added."""
    watched.say()
    assert len(signers(watched)) >= 3
    eventually(lambda: watched.node.step(lead=True) and signers(watched) == everybody(watched))
    assert watched.world.policy.check(watched.node.view.signed).anchor == "witnessed"
    view = watched.node.browse.log()
    assert view["witnessed"] == {"size": view["size"], "time": view["time"]}
    assert [each["problem"] for each in view["witnesses"]] == [None] * 5
    assert {each["size"] for each in view["witnesses"]} == {view["size"]}
    watched.world.check()


def test_entry_proofs_and_the_list_of_checkpoints_carry_cosignatures(watched: Watched) -> None:
    statement = watched.acme.systems(descriptor("db"))
    watched.world.publish(statement)
    proof = TlogProof.parse(watched.node.tlog_proof(statement.leaf).encode())
    assert watched.world.policy.check(proof.signed).quorum
    newest, *older = watched.node.browse.checkpoints(None, 100)["checkpoints"]
    assert newest["witnessed"] and newest["checked"] and len(newest["cosignatures"]) >= 3
    assert older and older[-1]["cosignatures"] == [] and not older[-1]["witnessed"]
    page = watched.node.browse.checkpoints(None, 1)
    assert watched.node.browse.checkpoints(page["next"], 500)["checkpoints"] == older


def test_sizes_are_remembered_over_a_restart(watched: Watched) -> None:
    """So that a witness is asked once and not to name its size first."""
    watched.say()
    eventually(lambda: watched.node.step() and all(w.size == watched.node.view.size for w in watched.witnesses))
    watched.node.step()
    for witness in watched.witnesses:
        witness.asked.clear()
    watched.node.stop()
    watched.world.restart()
    watched.say()
    eventually(lambda: all(w.size == watched.node.view.size for w in watched.witnesses))
    # Once for the start, once for the new checkpoint.
    assert [len(witness.asked) for witness in watched.witnesses] == [2] * 5


def test_a_witness_that_stands_elsewhere_is_given_the_proof_it_needs(watched: Watched) -> None:
    """409 names its size; it may be any that we have had, or 0."""
    for _ in range(5):
        watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    first = watched.witnesses[0]
    first.size, first.root = 0, first.root  # it forgot us
    watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))


def test_a_second_node_serves_the_cosignatures_of_the_first(watched: Watched) -> None:
    second = watched.world.open()
    watched.say()
    second.step()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    second.step()
    assert not second.leading
    assert second.view.checkpoint == watched.node.view.checkpoint
    assert second.browse.log() == watched.node.browse.log()


# --- some are not well ---


def slow(witness: StockWitness) -> None:
    witness.delay_s = 3 * SHORT_S


def dead(witness: StockWitness) -> None:
    witness.dead = True


def lying(witness: StockWitness) -> None:
    """It signs another tree."""

    def answer(self: StockWitness, request: httpx.Request, honest: httpx.Response) -> httpx.Response:
        text = request.read().decode().partition("\n\n")[2].rpartition("\n\n")[0] + "\n"
        return httpx.Response(200, text=self.cosign(text.replace("\n", "\n1", 1), int(self.clock())))

    witness.answer = answer


def rolled_back(witness: StockWitness) -> None:
    """It forgets what it has just cosigned."""

    def answer(self: StockWitness, _request: httpx.Request, honest: httpx.Response) -> httpx.Response:
        self.size = 0
        return honest

    witness.answer = answer


FAULTS = [slow, dead, lying, rolled_back]


@pytest.mark.parametrize("faults", [dict(enumerate(each)) for each in product([0, 1], repeat=5)], ids=str)
def test_any_subset_may_fail(tmp_path: Path, faults: dict[int, int]) -> None:
    """With three of five well there is a quorum in time; with fewer the log goes on; nothing false is shown."""

    def spoil(witnesses: list[StockWitness]) -> None:
        for n, witness in enumerate(witnesses):
            if faults[n]:
                FAULTS[(n + sum(faults.values())) % len(FAULTS)](witness)

    enough = sum(faults.values()) <= 2
    with watched_log(tmp_path, spoil, witness_wait_s=WAIT_S if enough else SHORT_S) as watched:
        for _ in range(3):
            started = time.monotonic()
            watched.say()
            assert time.monotonic() - started < WAIT_S
            assert watched.world.policy.check(watched.node.view.signed).quorum or not enough
            signers(watched)
        well = {w.name for w in watched.witnesses if w.answer is None and not w.dead and not w.delay_s}
        late = {w.name for w in watched.witnesses if w.delay_s}
        honest = (
            well
            | late
            | {w.name for w in watched.witnesses if w.answer is not None and w.answer.__qualname__.startswith("rolled")}
        )
        eventually(lambda: watched.node.step() and signers(watched) >= well | late)
        assert signers(watched) <= honest
        watched.node.step()
        problems = {name: each["problem"] for each in watched.node.browse.log()["witnesses"] for name in each["names"]}
        for witness in watched.witnesses:
            if witness.dead:
                assert problems[witness.name] == "witness/unreachable"
            elif witness.answer is not None and witness.answer.__qualname__.startswith("lying"):
                assert problems[witness.name] == "signature/invalid"
            else:
                assert problems[witness.name] is None
        assert not watched.evidence()
        watched.world.check()


def test_nobody_waits_twice_for_one_who_is_late(tmp_path: Path) -> None:
    """Four dead and one slow: the first checkpoint waits for it in vain, the others do not, and it is added later."""
    go = threading.Event()

    def answer(_self: StockWitness, _request: httpx.Request, honest: httpx.Response) -> httpx.Response:
        assert go.wait(60)
        return honest

    with watched_log(tmp_path, witness_wait_s=SHORT_S) as watched:
        for witness in watched.witnesses[1:]:
            dead(witness)
        watched.witnesses[0].answer = answer
        watched.say()
        watched.node._witnesses._wait_s = WAIT_S  # type: ignore[union-attr]
        started = time.monotonic()
        watched.say()
        assert time.monotonic() - started < WAIT_S
        go.set()
        eventually(lambda: watched.node.step() and signers(watched) == {"w0.example/w"})


def test_a_witness_that_comes_back_is_waited_for_again(watched: Watched) -> None:
    for witness in watched.witnesses:
        dead(witness)
    watched.say()
    assert signers(watched) == set()
    for witness in watched.witnesses:
        witness.dead = False
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    watched.say()
    assert len(signers(watched)) >= 3


def test_without_a_quorum_the_log_holds_back_if_told_to(tmp_path: Path) -> None:
    """Fail closed: nothing new is visible, statements wait, health says why; it goes on by itself."""
    with watched_log(tmp_path, unwitnessed="hold") as watched:
        watched.say()
        shown = watched.world.published("checkpoint")
        for witness in watched.witnesses[:3]:
            dead(witness)
        statement = watched.acme.systems(descriptor("late"))
        watched.world.submit(statement)
        for _ in range(3):
            with pytest.raises(Unavailable) as error:
                watched.world.step()
            assert error.value.code == "witness/quorum"
            with pytest.raises(Unavailable, match="witness/quorum"):
                watched.node.healthy()
        now, before = (
            SignedCheckpoint.parse(each).checkpoint for each in (watched.world.published("checkpoint"), shown)
        )
        assert now == before
        assert watched.world.outcome(statement).state == "pending"
        # A process that starts in this state signs nothing either.
        watched.node.stop()
        with pytest.raises(Unavailable, match="witness/quorum"):
            watched.world.restart().step()
        watched.witnesses[0].dead = False

        def published() -> bool:
            try:
                watched.world.step()
            except Unavailable:
                return False
            return watched.world.outcome(statement).state == "entry"

        eventually(published)
        assert len(signers(watched)) >= 3
        watched.world.check()


# --- what an answer may be ---


def reply(status: int, body: str | bytes, kind: str = "text/plain") -> Any:
    def answer(_self: StockWitness, _request: httpx.Request, _honest: httpx.Response) -> httpx.Response:
        return httpx.Response(
            status, headers={"Content-Type": kind}, content=body if isinstance(body, bytes) else body.encode()
        )

    return answer


def resigned(**changes: Any) -> Any:
    def answer(self: StockWitness, request: httpx.Request, _honest: httpx.Response) -> httpx.Response:
        text = request.read().decode().partition("\n\n")[2].rpartition("\n\n")[0] + "\n"
        at = int(self.clock()) + changes.get("seconds", 0)
        return httpx.Response(200, text=self.cosign(text, changes.get("at", at), changes.get("key")))

    return answer


ANSWERS: list[tuple[str, Any, str]] = [
    ("another key under its name", resigned(key=Ed25519PrivateKey.generate()), "signature/invalid"),
    ("a time of long ago", resigned(seconds=-5000), "witness/time"),
    ("a time to come", resigned(seconds=301), "witness/time"),
    ("no time", resigned(at=0), "cosignature/time"),
    ("a page", reply(200, "<!doctype html><p>welcome"), "witness/answer"),
    ("nothing", reply(200, ""), "witness/answer"),
    ("no UTF-8", reply(200, b"\xff\xfe"), "witness/answer"),
    ("a line of somebody else", reply(200, "— other.example/x AAAAAAAAAAA=\n"), "witness/answer"),
    ("more than anybody reads", reply(200, "— " + "x" * 70_000), "witness/answer"),
    ("a size that is none", reply(409, "1_0\n", "text/x.tlog.size"), "witness/answer"),
    ("a size with junk", reply(409, " 7 \n", "text/x.tlog.size"), "witness/answer"),
    ("no such log", reply(404, "who are you?"), "witness/refused"),
    ("not your key", reply(403, ""), "witness/refused"),
    ("bad request", reply(400, "?"), "witness/refused"),
    ("a redirect", reply(302, ""), "witness/refused"),
    ("too often", reply(429, "slow down"), "witness/busy"),
    ("out of order", reply(500, "oops"), "witness/busy"),
    ("busy", reply(503, ""), "witness/busy"),
]


@pytest.mark.parametrize(("answer", "code"), [each[1:] for each in ANSWERS], ids=[each[0] for each in ANSWERS])
def test_what_is_no_cosignature_is_not_stored(watched: Watched, answer: Any, code: str) -> None:
    """And the problem is on record, for the operator and the public."""
    watched.witnesses[0].answer = answer
    watched.say()
    eventually(lambda: watched.node.step() and watched.node.browse.log()["witnesses"][0]["problem"] == code)
    assert signers(watched) <= everybody(watched) - {"w0.example/w"}
    assert not watched.evidence()
    watched.world.check()


def test_a_witness_that_names_one_size_after_the_other_is_left(watched: Watched) -> None:
    """It cannot keep us busy for ever."""
    sizes = iter(range(1, 1000))

    def answer(_self: StockWitness, _request: httpx.Request, _honest: httpx.Response) -> httpx.Response:
        return httpx.Response(409, headers={"Content-Type": "text/x.tlog.size"}, text=f"{next(sizes) % 3 + 1}\n")

    watched.witnesses[0].answer = answer
    watched.say()
    eventually(lambda: watched.node.step() and watched.node.browse.log()["witnesses"][0]["problem"] == "witness/answer")


# --- a witness that knows better ---


def restored(watched: Watched, *, published: bool) -> None:
    """Put back the database of three epochs ago, and what was published if told to."""
    world = watched.world
    config = world.config
    watched.node.stop()
    kept = world.directory.with_name("kept")
    shutil.copytree(world.directory, kept)
    world.node = world.open()
    for _ in range(3):
        watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    watched.node.stop()
    for path in world.directory.glob("attest.db*"):
        path.unlink()
    for path in kept.glob("attest.db*"):
        shutil.copy(path, world.directory / path.name)
    if published:
        for place in (config.public, config.private):
            shutil.rmtree(config.path(place))
            shutil.copytree(kept / place, config.path(place))
    world.clock.advance(world.config.lease_s + 1)


@pytest.mark.parametrize("published", [False, True])
def test_a_database_restored_from_an_old_backup_is_noticed_before_anything_is_signed(
    watched: Watched, published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the published files were put back with it: witnesses remember."""
    watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    restored(watched, published=published)
    monkeypatch.setattr("attest.sequencer.sign_checkpoint", lambda *_: pytest.fail("it signs"))
    monkeypatch.setattr("attest.sequencer.sign_statement", lambda *_, **__: pytest.fail("it signs"))
    if not published:
        with pytest.raises(Unavailable) as error:
            watched.world.open()
    else:
        node = watched.world.node = watched.world.open()
        watched.world.submit(watched.acme.systems(descriptor("new"), seq=1))
        watched.world.clock.advance()
        with pytest.raises(Unavailable) as error:
            node.step()
        for path in watched.evidence():
            what, said = explain(path.read_bytes(), path)
            assert "contradicts" in what and said["it answered"].isdecimal()
        evidence = [json.loads(path.read_bytes()) for path in watched.evidence()]
        assert {each["status"] for each in evidence} == {409}
        assert all(each["request"].startswith("old ") for each in evidence)
        with pytest.raises(Unavailable):
            node.step()
        with pytest.raises(Unavailable, match="sequencer/rolled-back"):
            node.healthy()
        with pytest.raises(Unavailable, match="sequencer/rolled-back"):
            node.submit(watched.acme.systems(descriptor("more"), seq=1).entry)
    assert error.value.code == "sequencer/rolled-back"


def test_another_tree_of_our_size_stops_the_log(watched: Watched) -> None:
    watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    watched.witnesses[2].root = bytes(32)
    statement = watched.acme.systems(descriptor("db"))
    watched.world.submit(statement)
    watched.world.clock.advance()

    def stopped() -> str | None:
        try:
            watched.node.step()
        except AttestError as error:
            return error.code
        watched.world.clock.advance(watched.world.config.quiet_interval_s + 1)
        return None

    eventually(lambda: stopped() == "sequencer/forked")
    [evidence] = watched.evidence()
    found = json.loads(evidence.read_bytes())
    assert (found["status"], found["witness"], found["origin"]) == (
        422,
        "https://w2.example",
        watched.world.config.origin,
    )
    assert stopped() == "sequencer/forked"


def test_an_old_offer_of_a_process_that_lost_its_lease_is_no_alarm(watched: Watched) -> None:
    """Another process has gone on, and the witness with it."""
    first = watched.node
    watched.say()
    second = watched.world.open()
    late = threading.Event()
    record = first.view.record

    watched.world.clock.advance(watched.world.config.lease_s + 1)
    statement = watched.acme.systems(descriptor("other"))
    second.submit(statement.entry)
    watched.world.clock.advance()
    assert second.step().epoch is not None
    # The first wakes up and offers what it had.
    first._witnesses._offered = None  # type: ignore[union-attr]
    first._witnesses.offer(SignedCheckpoint.parse(record.checkpoint), record.time)  # type: ignore[union-attr]
    eventually(lambda: any(a.asked[-1:] == [record.size] for a in watched.witnesses))
    late.wait(0.2)
    watched.world.clock.advance(watched.world.config.lease_s + 1)
    assert first.step().leading
    assert not watched.evidence()


# --- policies ---


def test_witnesses_are_added_and_removed(watched: Watched) -> None:
    log = Policy(watched.world.policy.logs, (), (), None)
    a, b, c = watched.witnesses[:3]
    one = add_witness(log, "a", a.url, [a.vkey])
    second = NoteVerifier.of(b.name, KeyType.COSIGNATURE, NoteVerifier.parse(c.vkey).public).encode()
    two = add_witness(one, "b", b.url, [b.vkey, second], 2)
    assert [(group.name, group.threshold, group.members) for group in two.groups] == [
        ("b", 1, ("b.1", "b.2")),
        ("witnesses", 2, ("a", "b")),
    ]
    assert remove_witness(two, "b", 1) == one
    three = add_witness(add_witness(log, "a", a.url, [a.vkey]), "b", b.url, [b.vkey], 1)
    assert add_witness(three, "c", c.url, [c.vkey]).groups[-1].threshold == 1, "a chosen quorum is kept"
    assert remove_witness(one, "a") == log
    assert watched.node._endpoints[0].names == ("w0.example/w",)
    for wrong, code in (
        (lambda: add_witness(one, "a", b.url, [b.vkey]), "policy/name-twice"),
        (lambda: add_witness(one, "b", b.url, [a.vkey]), "policy/key-twice"),
        (lambda: add_witness(one, "b", "ftp://b", [b.vkey]), "policy/url"),
        (lambda: add_witness(one, "b", b.url, [b.vkey, c.vkey]), "policy/url"),
        (lambda: add_witness(one, "b c", b.url, [b.vkey]), "policy/fields"),
        (lambda: add_witness(one, "b", b.url, [b.vkey], 3), "policy/threshold"),
        (lambda: remove_witness(one, "b"), "policy/undefined"),
        (lambda: add_witness(Policy(log.logs, one.witnesses, (), "a"), "b", b.url, [b.vkey]), "policy/by-hand"),
    ):
        with pytest.raises(Malformed) as error:
            wrong()
        assert error.value.code == code
