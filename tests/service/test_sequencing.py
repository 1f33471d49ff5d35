"""One log, several processes, clocks and disks that misbehave."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import attest.sequencer
from attest.encoding import encode_base64
from attest.errors import Conflict, Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from attest.formats.rows import RowFile
from attest.node import Node
from attest.store.keyfiles import LogKeys
from attest.store.lease import Lease
from tests.world import Holder, World, descriptor, random_rows


def refused(error: Any) -> str:
    return str(error.value.code)


# --- several processes ---


def test_of_two_processes_one_sequences_and_the_other_follows(any_world: World) -> None:
    """Both answer alike; the second takes over when the first falls silent, and nothing is lost or forked."""
    world = any_world
    acme = world.holder("acme.example", descriptor("db"))
    second = world.open()
    rows = RowFile.build(random_rows(4))
    statement = acme.hold("db", rows)
    # Either takes statements in.
    second.submit(statement.entry)
    second.put_rows(rows.root(), rows.encoded)
    world.clock.advance()
    assert not second.step().leading
    assert second.submission(statement.leaf).state == "pending"  # type: ignore[union-attr]
    assert world.node.step().leading
    second.step()
    assert second.submission(statement.leaf).state == "entry"  # type: ignore[union-attr]
    assert second.browse.log() == world.node.browse.log()
    assert second.receipt(statement.leaf) == world.node.receipt(statement.leaf)

    erase = acme.erase("db", rows)
    second.submit(erase.entry)
    world.clock.advance(world.config.lease_s + 1)  # the first is silent
    assert second.step().leading
    assert not world.node.step().leading
    assert world.node.submission(erase.leaf).state == "entry"  # type: ignore[union-attr]
    world.check()


class Everybody(Lease):
    """A lease that everybody has: what is left is the compare-and-swap."""

    def acquire(self) -> bool:
        return True

    def confirm(self, transaction: Any) -> None:
        pass


@pytest.mark.parametrize("lease", [Lease, Everybody])
def test_a_process_that_slept_while_another_sequenced_commits_nothing(
    any_world: World, monkeypatch: pytest.MonkeyPatch, lease: type[Lease]
) -> None:
    """It loses the swap, drops what it had in memory, and starts afresh from what is stored."""
    world = any_world
    acme = world.holder("acme.example", descriptor("db"))
    first, second = world.node, world.open()
    for node in (first, second):
        world.clock.advance(world.config.lease_s + 1)
        node.sequencer.lease = lease(node._db, world.clock, world.config.lease_s)
    rows = RowFile.build(random_rows(4))
    world.submit(acme.hold("db", rows), rows)
    sign = attest.sequencer.sign_checkpoint

    def sleep_before_signing(*arguments: Any) -> Any:
        monkeypatch.setattr(attest.sequencer, "sign_checkpoint", sign)
        world.clock.advance(world.config.lease_s + 1)
        assert second.step().epoch is not None
        return sign(*arguments)

    monkeypatch.setattr(attest.sequencer, "sign_checkpoint", sleep_before_signing)
    world.clock.advance(world.config.lease_s + 1)
    with pytest.raises(Conflict) as error:
        first.step()
    assert refused(error) == ("sequencer/lease" if lease is Lease else "register/moved")
    assert first.sequencer._ledger is None
    world.step()
    assert first.browse.log() == second.browse.log()
    world.check()


def test_a_process_that_slept_while_publishing_does_not_put_its_old_checkpoint_back(
    any_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody has seen a larger checkpoint by then."""
    world = any_world
    acme = world.holder("acme.example", descriptor("db"))
    first, second = world.node, world.open()
    rows = RowFile.build(random_rows(4))
    world.submit(acme.hold("db", rows), rows)
    write = attest.sequencer.write_tiles

    def sleep_after_writing(*arguments: Any) -> None:
        monkeypatch.setattr(attest.sequencer, "write_tiles", write)
        write(*arguments)
        world.clock.advance(world.config.lease_s + 1)
        second.step()
        second.submit(acme.erase("db", rows).entry)
        world.clock.advance()
        assert second.step().entries == 1

    monkeypatch.setattr(attest.sequencer, "write_tiles", sleep_after_writing)
    world.clock.advance()
    with pytest.raises(Conflict) as error:
        first.step()
    assert refused(error) == "store/moved"
    assert SignedCheckpoint.parse(world.published("checkpoint")).checkpoint.size == second.view.size
    first.step()
    assert first.browse.log() == second.browse.log()
    world.check()


def test_a_standby_never_takes_the_leaders_next_epoch_for_a_rolled_back_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published is read first: an epoch that appears in between is only seen later."""
    world.step()  # takes the lease
    second = world.open()
    get = second._public.get

    def publish_after_reading(name: str) -> bytes | None:
        found = get(name)
        if name == "checkpoint":
            world.step(world.config.quiet_interval_s)
        return found

    monkeypatch.setattr(second._public, "get", publish_after_reading)
    second.step()
    monkeypatch.undo()
    second.step()
    assert second.view.size == world.node.view.size == 3


def test_a_stopped_leader_hands_the_lease_over_at_once(any_world: World) -> None:
    """A restart does not wait for a lease to run out."""
    second = any_world.open()
    any_world.step()
    assert not second.step().leading
    any_world.node.stop()
    assert second.step().leading


# --- what must stop a log ---


def test_a_rolled_back_database_stops_signing(world: World, tmp_path: Path, acme: Holder) -> None:
    """More is published than the database knows: signing on would show the world two histories."""
    world.close()
    shutil.copy(world.directory / "attest.db", tmp_path / "backup")
    world.restart()
    rows = RowFile.build(random_rows(2))
    world.publish(acme.hold("db", rows), rows)
    before = world.published("checkpoint")
    late = acme.erase("db", rows)
    world.close()
    for left in world.directory.glob("attest.db-*"):
        left.unlink()
    shutil.copy(tmp_path / "backup", world.directory / "attest.db")

    # The running process notices, and so does one that starts.
    with pytest.raises(Unavailable) as error:
        world.step()
    assert refused(error) == "sequencer/rolled-back"
    with pytest.raises(Unavailable) as error:
        world.node.submit(late.entry)
    assert refused(error) == "sequencer/rolled-back"
    with pytest.raises(Unavailable):
        world.node.healthy()
    with pytest.raises(Unavailable) as error:
        world.restart()
    assert refused(error) == "sequencer/rolled-back"
    assert world.published("checkpoint") == before


def test_a_published_checkpoint_of_another_history_stops_signing(world: World) -> None:
    """Same size, another root: the log has forked, and nobody here may decide which branch is right."""
    keys = LogKeys.load(world.config.path(world.config.keys), None)
    other = Checkpoint(world.config.origin, world.node.view.size, bytes(32))
    forged = sign_checkpoint(other, keys.note_ed25519, keys.note_mldsa44, int(world.clock()))
    (world.config.path(world.config.public) / "checkpoint").write_bytes(forged.encode())
    with pytest.raises(Unavailable) as error:
        world.step()
    assert refused(error) == "sequencer/forked"


def test_a_damaged_tile_is_not_published_over(world: World, acme: Holder) -> None:
    """What readers will get is read back before the checkpoint that vouches for it."""
    size = world.node.view.size
    tile = world.config.path(world.config.public) / f"tile/0/000.p/{size}"
    rows = RowFile.build(random_rows(1))
    world.submit(acme.hold("db", rows), rows)
    before = world.published("checkpoint")
    target = tile.with_name(str(size + 2))
    target.write_bytes(tile.read_bytes() + bytes(64))
    with pytest.raises(Conflict) as error:
        world.step()
    assert refused(error) == "store/immutable"
    assert world.published("checkpoint") == before


def test_keys_or_settings_of_another_log_are_refused_at_start(world: World, tmp_path: Path) -> None:
    """A copied directory with fresh keys would sign for a log it is not."""
    other = World(tmp_path / "other")
    shutil.rmtree(world.directory / "keys")
    shutil.copytree(other.directory / "keys", world.directory / "keys")
    other.close()
    with pytest.raises(Exception, match="config/other-log"):
        world.open()
    with pytest.raises(Exception, match="config/other-log"):
        other.open(origin="log.example/another")
    with pytest.raises(Exception, match="config/silence"):
        other.open(quiet_interval_s=7200)
    other.close()


# --- clocks ---


def test_a_clock_that_goes_backwards_signs_nothing_until_it_has_passed_the_last_epoch(
    world: World, acme: Holder
) -> None:
    """Epoch times only grow; over a minute behind, nothing is taken in either."""
    rows = RowFile.build(random_rows(2))
    hold = acme.hold("db", rows)
    size, now = world.node.view.size, world.clock.now
    world.clock.now -= 30
    world.submit(hold, rows)
    assert world.node.step().behind
    world.clock.now -= 60
    with pytest.raises(Unavailable) as error:
        world.node.submit(acme.erase("db", rows).entry)
    assert refused(error) == "clock/behind"
    with pytest.raises(Unavailable):
        world.node.healthy()
    world.node.step()
    assert world.node.view.size == size
    world.clock.now = now + 1
    world.node.step()
    assert world.outcome(hold).state == "entry"
    world.check()


def test_a_quiet_interval_publishes_an_empty_epoch_and_no_shorter_one_does(world: World) -> None:
    """Silence is visible, and costs one entry per interval."""
    size = world.node.view.size
    world.step(world.config.quiet_interval_s - 2)
    assert world.node.view.size == size
    world.step(2)
    assert world.node.view.size == size + 1
    world.node.step()
    assert world.node.view.size == size + 1
    world.check()


def test_there_is_at_most_one_epoch_in_a_second(world: World, acme: Holder) -> None:
    """Its time is in whole seconds and has to grow."""
    rows = RowFile.build(random_rows(1))
    world.publish(acme.hold("db", rows), rows)
    erase = acme.erase("db", rows)
    world.submit(erase)
    assert world.node.step().epoch is None
    world.step()
    assert world.outcome(erase).state == "entry"


# --- full disks ---


def test_below_the_floor_of_free_space_nothing_new_is_acknowledged(world: World, acme: Holder) -> None:
    """What was acknowledged before is still sequenced, from the reserve."""
    rows = RowFile.build(random_rows(1))
    hold = acme.hold("db", rows)
    world.submit(hold, rows)
    for blobs in (world.node._public, world.node._private):
        blobs._floor = 1 << 60  # type: ignore[attr-defined]
    with pytest.raises(Unavailable) as error:
        world.node.submit(acme.erase("db", rows).entry)
    assert refused(error) == "store/full"
    with pytest.raises(Unavailable):
        world.node.healthy()
    world.step()
    assert world.outcome(hold).state == "entry"


@pytest.mark.parametrize("nth", range(1, 6))
def test_a_full_disk_loses_nothing_that_was_acknowledged(
    world: World, acme: Holder, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """The disk fills at the nth file: whoever was told yes is in the log once there is space again."""
    rows = RowFile.build(random_rows(1))
    hold = acme.hold("db", rows)
    world.node.submit(hold.entry)
    fsync, calls = os.fsync, 0

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    acknowledged = False
    try:
        world.node.put_rows(rows.root(), rows.encoded)
        acknowledged = True
        world.step()
    except Unavailable as error:
        assert error.code == "store/full"
    monkeypatch.undo()
    world.step()
    assert world.outcome(hold).state == ("entry" if acknowledged else "rows")
    world.check()


def test_a_full_database_answers_503_and_recovers(world: World, acme: Holder) -> None:
    """SQLite's own word for it becomes `store/full`."""
    statements = [acme.sign(acme.systems(descriptor("db", retention="x" * 400)).payload, seq=1 + n) for n in range(40)]
    with world.node._db.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable) as error:
        for statement in statements:
            world.node.submit(statement.entry)
    assert refused(error) == "store/full"
    with world.node._db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    for statement in statements:
        world.node.submit(statement.entry)
    world.step()
    assert all(world.outcome(statement).state == "entry" for statement in statements)


# --- snapshots ---


def snapshot(world: World) -> Path:
    """Write one, and return where it is."""
    world.node._snapshot(due=True)
    folder = world.config.path(world.config.private) / "snapshots"
    return max(folder.iterdir(), key=lambda path: int(path.name))


def test_a_start_from_a_snapshot_leads_where_a_replay_does(world: World, acme: Holder, monkeypatch: Any) -> None:
    """And reads only what came after it."""
    rows = RowFile.build(random_rows(50))
    world.publish(acme.hold("db", rows), rows)
    place = snapshot(world)
    world.publish(acme.erase("db", rows))
    replayed = []
    replay = attest.store.history.History._replay_epoch
    monkeypatch.setattr(
        attest.store.history.History,
        "_replay_epoch",
        lambda self, ledger, record, **how: replayed.append(record.number) or replay(self, ledger, record, **how),
    )
    node = world.open()
    assert replayed == [int(place.name) + 1]
    assert node.browse.log() == world.node.browse.log()
    world.restart()
    again = RowFile.build(random_rows(5))
    world.publish(acme.hold("db", again), again)
    world.check()


@pytest.mark.parametrize("damage", ["manifest.json", "heads", "0/states.npy", "0", "epoch"])
def test_a_snapshot_that_is_not_right_is_ignored(world: World, acme: Holder, damage: str) -> None:
    """It is a convenience: the log decides."""
    rows = RowFile.build(random_rows(50))
    world.publish(acme.hold("db", rows), rows)
    place = snapshot(world)
    if damage == "0":
        shutil.rmtree(place / "0")
    elif damage == "epoch":
        place.rename(place.with_name(str(int(place.name) - 1)))
    else:
        content = bytearray((place / damage).read_bytes())
        content[-10] ^= 1
        (place / damage).write_bytes(content)
    assert world.open().browse.log() == world.node.browse.log()


def test_a_running_node_writes_a_snapshot_when_enough_has_changed(tmp_path: Path) -> None:
    """So that the next start is short, and only the newest two are kept."""
    world = World(tmp_path / "log", snapshot_rows=10)
    acme = world.holder("acme.example", descriptor("db"))
    for _ in range(4):
        rows = RowFile.build(random_rows(10))
        world.publish(acme.hold("db", rows), rows)
        world.node._snapshot(due=False)
        world.node._writing.join()
    found = sorted(int(place.name) for place in (tmp_path / "log/private/snapshots").iterdir())
    assert found == [world.node.view.record.number - 1, world.node.view.record.number]
    world.close()


def test_old_transition_proofs_and_unclaimed_uploads_are_forgotten(tmp_path: Path) -> None:
    """A day of epochs and an hour of waiting, by default."""
    world = World(tmp_path / "log", transitions_s=120, upload_s=60)
    acme = world.holder("acme.example", descriptor("db"))
    rows, late = RowFile.build(random_rows(1)), RowFile.build(random_rows(1))
    statement, forgotten = acme.hold("db", rows), acme.hold("db", late, seq=0)
    world.node.submit(forgotten.entry)
    world.publish(statement, rows)
    orphan = tmp_path / "log/private/uploads" / late.root().hex()
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(late.encoded)
    os.utime(orphan, (1, 1))
    assert world.node.transition(0) is not None
    world.step(300)
    world.step(300)
    world.step(61)
    assert world.node.transition(0) is None
    assert world.node.transition(world.node.view.record.number) is not None
    assert world.node.submission(forgotten.leaf) is None
    assert not orphan.exists()
    world.close()


def test_a_node_in_its_own_thread_publishes_and_stops(tmp_path: Path) -> None:
    """The loop that `attest serve` runs, with a real clock's thread and the simulated time."""
    world = World(tmp_path / "log")
    acme = world.holder("acme.example", descriptor("db"))
    rows = RowFile.build(random_rows(1))
    statement = acme.hold("db", rows)
    world.node.start()
    world.clock.advance(2)
    world.node.submit(statement.entry)
    world.node.put_rows(rows.root(), rows.encoded)
    assert world.node.wait(statement.leaf, 20).state == "entry"
    world.node.healthy()
    world.node.stop()
    world.check()
    assert encode_base64(Node.open(world.config, clock=world.clock).view.record.tree_root)
    world.close()
