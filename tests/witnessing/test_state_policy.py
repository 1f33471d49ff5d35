"""At which checkpoint the log answers, while its state witnesses keep up, fall behind, or refuse."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.policy import Policy
from attest.formats.rows import RowFile
from attest.formats.tlog_proof import TlogProof
from attest.sequencer import VIEWS
from tests.witnessing.conftest import TIMEOUT_S, WAIT_S, Watched
from tests.witnessing.stock import StockWitness, connect_to
from tests.witnessing.test_client import eventually
from tests.world import ORIGIN, World, descriptor, random_rows


@pytest.fixture
def checked(tmp_path: Path) -> Iterator[Watched]:
    """A log with one witness and one state witness."""
    world = World(tmp_path / "log", witness_wait_s=WAIT_S, witness_timeout_s=TIMEOUT_S)
    acme = world.holder("acme.example", descriptor("db"))
    vkey = world.policy.logs[0].verifier.encode()
    witnesses = [StockWitness(name, ORIGIN, vkey, world.clock) for name in ("plain.example/w", "state.example/w")]
    found = Watched(world, witnesses, acme)
    found.name(witnesses[:1])
    found.name(witnesses[1:], state=True)
    world.connect = connect_to(witnesses)
    world.node.stop()
    world.node = world.open()
    yield found
    world.close()


def looked_up(watched: Watched) -> SignedCheckpoint:
    answer = watched.node.lookup("acme.example", [{"db": bytes(32)}], None)
    return SignedCheckpoint.parse(answer["checkpoint"])


def quorums(watched: Watched, signed: SignedCheckpoint) -> tuple[bool, bool]:
    policies = [
        watched.world.config.path(name) for name in (watched.world.config.policy, watched.world.config.state_policy)
    ]
    main, state = (Policy.parse(path.read_bytes()).check(signed).quorum for path in policies)
    return main, state


def hold(watched: Watched) -> None:
    rows = RowFile.build(random_rows(2))
    watched.world.publish(watched.acme.hold("db", rows), rows)


def settle(watched: Watched) -> None:
    eventually(lambda: watched.node.step() and watched.node.view.checked)


def test_a_look_up_is_answered_where_both_quorums_are(checked: Watched) -> None:
    hold(checked)
    settle(checked)
    signed = looked_up(checked)
    assert quorums(checked, signed) == (True, True)
    assert signed.checkpoint.size == checked.node.view.size
    view = checked.node.browse.log()
    assert view["checked"] == view["witnessed"] == {"size": view["size"], "time": view["time"]}
    assert [each["state"] for each in view["witnesses"]] == [False, True]
    assert checked.node.state_policy() == checked.world.config.path(checked.world.config.state_policy).read_bytes()


def test_a_look_up_waits_a_moment_for_a_state_witness_that_keeps_up(checked: Watched) -> None:
    """Whoever asks just after a tombstone learns of the tombstone."""
    hold(checked)
    settle(checked)
    checked.witnesses[1].delay_s = 0.2
    checked.node.start()
    statement = checked.acme.systems(descriptor("more"))
    checked.node.submit(statement.entry)
    checked.world.clock.advance()
    eventually(lambda: checked.world.outcome(statement).state == "entry")
    size = checked.node.view.size
    answer = checked.node.lookup("acme.example", [{"db": bytes(32), "more": bytes(32)}], None)
    signed = SignedCheckpoint.parse(answer["checkpoint"])
    assert (signed.checkpoint.size, quorums(checked, signed)) == (size, (True, True))
    checked.node.stop()


def test_the_last_checked_answer_stays_however_far_the_state_witness_is_behind(checked: Watched) -> None:
    """And nobody waits for it any more."""
    hold(checked)
    settle(checked)
    size = checked.node.view.size
    checked.witnesses[1].answer = lambda *_: httpx.Response(503, headers={"Retry-After": "1"}, text="witness/behind")
    for _ in range(VIEWS + 5):
        checked.world.step(checked.world.config.quiet_interval_s)
    assert checked.node.view.size > size + VIEWS
    started = time.monotonic()
    signed = looked_up(checked)
    assert time.monotonic() - started < WAIT_S
    assert signed.checkpoint.size == size
    assert quorums(checked, signed) == (True, True)
    # Entries that are newer are proven all the same, where the witnesses are.
    statement = checked.acme.systems(descriptor("late"))
    checked.world.publish(statement)
    assert quorums(checked, TlogProof.parse(checked.node.tlog_proof(statement.leaf)).signed) == (True, False)
    checked.witnesses[1].answer = None
    eventually(lambda: checked.node.step() and checked.node.view.checked)


def test_a_refusal_is_on_record_and_does_not_stop_the_log(checked: Watched) -> None:
    refused = lambda *_: httpx.Response(422, text="rule/epoch-root\n")  # noqa: E731
    checked.witnesses[1].answer = refused
    for _ in range(3):
        hold(checked)
    eventually(
        lambda: checked.node.step() and checked.node.browse.log()["witnesses"][1]["problem"] == "witness/refuted"
    )
    assert "rule/epoch-root" in checked.node.browse.problems_of_witnesses()["https://state.example"]
    assert checked.node.browse.log()["checked"] is None
    signed = looked_up(checked)
    assert quorums(checked, signed) == (True, False)


def test_a_state_witness_that_knows_another_tree_stops_the_log(checked: Watched) -> None:
    """It is a witness like any other, besides."""
    hold(checked)
    settle(checked)
    checked.witnesses[1].size += 50
    hold_it: Any = checked.acme.systems(descriptor("x"))
    checked.world.submit(hold_it)
    checked.world.clock.advance()

    def stopped() -> bool:
        try:
            checked.node.step()
        except Exception as error:
            return "sequencer/rolled-back" in str(error)
        return False

    eventually(stopped)
    assert checked.evidence()


def test_an_answer_carries_the_cosignatures(checked: Watched) -> None:
    hold(checked)
    settle(checked)
    signed = looked_up(checked)
    assert {line.name for line in signed.note.signatures} == {ORIGIN, "plain.example/w", "state.example/w"}


def test_who_is_newer_than_the_last_checked_answer_is_answered_all_the_same(checked: Watched) -> None:
    """A holder or system that state witnesses have not seen yet: at the newest checkpoint that has it."""
    hold(checked)
    settle(checked)
    checked.witnesses[1].answer = lambda *_: httpx.Response(503, text="down")
    checked.world.holder("beta.example", descriptor("crm"))
    checked.world.publish(checked.acme.systems(descriptor("db2")))
    for _ in range(5):
        checked.world.step(checked.world.config.quiet_interval_s)
    for holder, names in (("beta.example", ["crm"]), ("acme.example", ["db", "db2"])):
        answer = checked.node.lookup(holder, [dict.fromkeys(names, bytes(32))], None)
        assert quorums(checked, SignedCheckpoint.parse(answer["checkpoint"])) == (True, False)


def test_nobody_waits_long_after_the_epoch(checked: Watched) -> None:
    """A state witness that stops on a quiet log costs nobody anything."""
    hold(checked)
    settle(checked)
    checked.witnesses[1].answer = lambda *_: httpx.Response(503, text="down")
    checked.world.step(checked.world.config.quiet_interval_s)
    checked.node._adopted_at -= WAIT_S  # so long ago
    started = time.monotonic()
    for _ in range(10):
        looked_up(checked)
    assert time.monotonic() - started < WAIT_S
