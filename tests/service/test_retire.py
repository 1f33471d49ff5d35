"""The end of a log: what is promised is kept or refused, nothing follows, and everything is still served."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from attest.config import Config
from attest.errors import AttestError, Conflict
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.receipt import Refusal
from attest.formats.rows import RowFile
from attest.formats.statement import PartyEnd, Statement
from attest.node import Node
from tests.service.crashing import Crash, Writes, crashing_node
from tests.service.test_crash import Scene, scene  # noqa: F401  a fixture
from tests.witnessing.conftest import watched_log
from tests.world import Holder, World, check, descriptor, random_rows

WHEN = ["before", "after"]


@pytest.fixture
def acme(any_world: World) -> Iterator[Holder]:
    yield any_world.holder("acme.example", descriptor("db"))


def retire(node: Node, world: World, **options: Any) -> Any:
    """End the log, with a clock that passes while it waits."""
    world.clock.advance()
    return node.retire(pause=lambda _: world.clock.advance(), **options)


def refused(node: Node, statement: Statement) -> Refusal:
    """Return the log-signed refusal of a statement, checked."""
    found = node.submission(statement.leaf)
    assert found is not None and found.state == "refused", found
    refusal = Refusal.parse(found.refusal or b"")
    refusal.verify(node.genesis.receipts)
    assert refusal.entry == statement.leaf
    return refusal


def code(call: Any) -> str:
    with pytest.raises(AttestError) as raised:
        call()
    return raised.value.code


def test_a_log_that_has_ended_answers_and_takes_nothing(any_world: World, acme: Holder) -> None:
    """The last entries are its end and an epoch; it stays silent, healthy and readable, whatever restarts."""
    world, rows = any_world, RowFile.build(random_rows(3))
    hold = acme.hold("db", rows)
    world.publish(hold, rows)
    before = world.node.lookup(acme.id, [{"db": rows.indexes[0]}], None)["entries"]

    view = retire(world.node, world)

    assert view.end == view.size - 2
    assert isinstance(Statement.parse(world.node._log.entry(view.end) or b"").payload, PartyEnd)
    for node in (world.node, world.restart()):
        world.clock.advance(20_000)
        assert node.step().epoch is None
        assert (node.view.size, node.ended()) == (view.size, True)
        node.healthy()
        late = acme.erase("db", rows, seq=1)
        assert code(partial(node.submit, late.entry)) == "rule/log-ended"
        assert code(partial(retire, node, world)) == "rule/log-ended"
        assert code(partial(node.operate, PartyEnd(), acme.id)) == "rule/log-ended"
        assert node.submission(late.leaf) is None
        assert node.submit(hold.entry).state == "entry"
        shown = node.lookup(acme.id, [{"db": rows.indexes[0]}], None)["entries"]
        # The end is shown beside what a look-up has always shown.
        assert {each["position"] for each in shown} >= {view.end, view.size - 1}
        assert len(shown) == len(before) + 1
        assert node.row_proof(hold.leaf, rows.indexes[0], None)["entries"][-2]["position"] == view.end
        log = node.browse.log()
        assert (log["ended"], log["end"], log["size"]) == (True, view.end, view.size)
    world.check()


def test_a_snapshot_remembers_the_end(world: World) -> None:
    """Nothing of it is lost between two starts."""
    view = retire(world.node, world)
    world.node.stop()
    node = world.open()

    assert (node.view.end, node.sequencer._ledger.previous) == (view.end, view.ledger.previous)  # type: ignore[union-attr]
    assert code(lambda: retire(node, world)) == "rule/log-ended"


def test_a_log_does_not_end_over_what_waits(any_world: World, acme: Holder) -> None:
    """Neither over a promise nor over a statement without its row file; nothing has happened then."""
    world, rows = any_world, RowFile.build(random_rows(3))
    ahead, unclaimed = acme.systems(descriptor("more"), seq=7), acme.hold("db", rows)
    world.submit(ahead)
    assert code(lambda: retire(world.node, world)) == "operator/pending"
    world.submit(unclaimed)
    world.step(1000)
    refused(world.node, ahead)  # its time was over
    assert code(lambda: retire(world.node, world)) == "operator/pending"
    assert not world.node.ended()
    world.submit(unclaimed, rows)
    world.step()
    retire(world.node, world)
    world.check()


def test_what_cannot_come_in_any_more_is_refused_with_the_logs_signature(any_world: World, acme: Holder) -> None:
    """With `drop_pending`: whose turn it is comes in before the end, the others get their refusal with it."""
    world, rows = any_world, RowFile.build(random_rows(3))
    waiting = [
        acme.systems(descriptor("late"), seq=9),
        acme.hold("nowhere", rows, seq=0),
        acme.sign(acme.hold("db", RowFile.build(random_rows(2))).payload, "db", seq=4),
    ]
    first = acme.systems(descriptor("more"), seq=1)
    world.submit(waiting[0])
    world.node._check_order = lambda *_: None  # type: ignore[method-assign]  # as if its system were to come
    world.submit(waiting[1], rows)
    world.submit(waiting[2])
    world.submit(first)

    view = retire(world.node, world, drop_pending=True)

    assert world.outcome(first).state == "entry"
    for statement in waiting:
        refusal = refused(world.node, statement)
        # Those without a row file have no promise, and are refused behind the last epoch.
        assert refusal.code == "rule/log-ended"
        assert refusal.position == view.size - (statement is not waiting[2])
    assert world.node.queue_view()["pending"] == 0
    world.check(settled=False)


def test_no_more_than_an_epoch_takes_comes_in_before_the_end(tmp_path: Path) -> None:
    """What does not fit waits for the next epoch, and the end waits behind it."""
    world = World(tmp_path / "log", epoch_statements=2)
    acme = world.holder("acme.example", descriptor("db"))
    many = [acme.systems(descriptor(f"s{n}")) for n in range(5)]
    for statement in many:
        world.submit(statement)
    view = retire(world.node, world, drop_pending=True)
    assert [world.outcome(statement).state for statement in many] == ["entry"] * 5
    assert view.end == view.size - 2
    world.check()
    world.close()


def test_who_did_not_hear_of_the_end_is_refused_all_the_same(any_world: World, acme: Holder) -> None:
    """A process that has not followed yet promises an answer: the next step of any process gives it."""
    world, rows = any_world, RowFile.build(random_rows(3))
    behind = world.open()
    missing = acme.hold("db", rows)
    view = retire(world.node, world)
    late = acme.systems(descriptor("late"))
    assert behind.submit(late.entry).promise is not None
    behind.submit(missing.entry)

    world.step()

    for statement in (late, missing):
        refusal = refused(behind, statement)
        assert (refusal.code, refusal.position) == ("rule/log-ended", view.size)
    assert behind.step().epoch is None
    assert [each.state for each in behind.put_rows(rows.root(), rows.encoded)] == ["refused"]
    assert code(lambda: behind.submit(acme.systems(descriptor("later")).entry)) == "rule/log-ended"
    world.check(settled=False)


def test_the_process_that_leads_ends_the_log_for_a_command_beside_it(any_world: World, acme: Holder) -> None:
    """The command has no lease; it queues the end, and sees it published. Who comes later is told."""
    world = any_world
    world.step()  # takes the lease
    command, other = world.open(), world.open()

    def lead(_: float) -> None:
        world.clock.advance()
        world.node.step()

    view = command.retire(pause=lead)

    assert (view.end, world.node.view.end) == (view.size - 2, view.size - 2)
    assert not command.leading
    other.step(lead=False)
    assert code(lambda: other.retire(pause=lead)) == "rule/log-ended"
    world.check()


def test_two_commands_at_once_end_it_once(any_world: World) -> None:
    """Both say that it has ended; it has one end."""
    world = any_world
    first, second = world.open(), world.open()
    seen = []

    def also(_: float) -> None:
        world.clock.advance()
        if not seen:
            seen.append(None)
            seen.append(second.retire(pause=lambda _: world.clock.advance()))

    world.clock.advance()
    world.step()
    view = first.retire(pause=also)
    kinds = [entry.kind for entry in world.node._log.entries(0, view.size)]
    assert kinds.count("party-end/1") == 1
    world.node.step()
    assert world.node.view.end == view.end
    world.check()


@pytest.mark.parametrize("when", WHEN)
def test_a_restart_finishes_an_end_that_crashed_at_any_write(
    scene: Scene,  # noqa: F811
    tmp_path: Path,
    when: str,
) -> None:
    """Die at the nth write of the command: it can be repeated, or the service finishes it; promises are kept."""
    world = scene.world
    for nth in itertools.count(1):
        config = scene.copy(tmp_path / f"copy{nth}")
        clock = replace(world.clock, now=world.clock.now + 60)
        on_sqlite = config.database.startswith("sqlite")
        node = crashing_node(config, clock, Writes(nth, when), files=on_sqlite)
        died = False
        try:
            node.retire(drop_pending=True, pause=clock.advance)
        except Crash:
            died = True
            seen = check(config, settled=False).size
            clock.advance(60)
            again = Node.open(config, clock=clock)
            assert again.view.size >= seen
            try:
                again.retire(drop_pending=True, pause=clock.advance)
            except Conflict as error:
                assert error.code == "rule/log-ended"
            again.close()
        node.close()
        _check_ended(scene, config, clock)
        if not died:
            assert nth > (10 if on_sqlite else 2)
            return


def _check_ended(scene: Scene, config: Config, clock: Any) -> None:  # noqa: F811
    clock.advance(60)
    node = Node.open(config, clock=clock)
    node.step()
    assert node.view.end == node.view.size - 2
    assert node.queue_view()["pending"] == 0
    for statement in scene.accepted:
        found = node.submission(statement.leaf)
        assert found is not None and found.state == "entry"
    assert refused(node, scene.refused).code == "rule/already-held"
    node.close()
    ledger = check(config)
    assert ledger.parties[ledger.origin].keys[0].until == ledger.size


@pytest.mark.parametrize("unwitnessed", ["publish", "hold"])
def test_the_last_checkpoint_is_cosigned_like_any_other(tmp_path: Path, unwitnessed: str) -> None:
    """By its quorum at once, and later by a witness that was away; with `hold` it waits for its quorum."""
    with watched_log(tmp_path, unwitnessed=unwitnessed) as watched:
        world, late = watched.world, watched.witnesses[4]
        late.dead = True
        view = retire(watched.node, world)
        assert view.witnessed
        late.dead = False
        deadline = time.monotonic() + 20
        while len(watched.node.view.cosignatures) < 5:
            assert time.monotonic() < deadline
            world.step(60)
            time.sleep(0.05)
        assert watched.node.view.end == watched.node.view.size - 2
        seen = SignedCheckpoint.parse(world.published("checkpoint"))
        assert len(seen.note.signatures) == 2 + 5
