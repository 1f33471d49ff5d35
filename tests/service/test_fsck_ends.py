"""`attest operator fsck` where the log's ends are lost: a checkpoint that is held back, a database that is gone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from attest.cli import main
from attest.crypto.keys import SigningKey
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, add_witness
from attest.formats.rows import RowFile
from attest.fsck import Finding, Fsck, Repair
from attest.store.db import Database
from tests.world import World, descriptor, random_rows


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "log", quiet_interval_s=3600)
    acme = world.holder("acme.example", descriptor("db"))
    for _ in range(2):
        rows = RowFile.build(random_rows(2))
        world.publish(acme.hold("db", rows), rows)
    world.node.stop()
    yield world
    world.close()


def check(world: World, repair: Repair | None = None) -> list[Finding]:
    return list(Fsck(world.config, quick=True, clock=world.clock, repair=repair).run())


def named(found: list[Finding]) -> list[tuple[str, str, bool]]:
    return [(each.code, each.where, each.repaired) for each in found]


def hold_back(world: World) -> Path:
    """Serve the checkpoint before the last one."""
    published = world.config.path(world.config.public) / "checkpoint"
    db = Database(world.config.database_url())
    with db.engine.connect() as connection:
        [old] = connection.exec_driver_sql("SELECT checkpoint FROM epochs ORDER BY number DESC LIMIT 1 OFFSET 1").one()
    db.close()
    published.write_text(old)
    return published


def test_a_checkpoint_that_is_held_back_is_found_and_published(world: World) -> None:
    """To readers it looks like a quiet log; only the operator's own database shows that there is a newer one."""
    published = world.config.path(world.config.public) / "checkpoint"
    newest = published.read_bytes()
    hold_back(world)
    world.clock.advance(120)

    [finding] = check(world)
    assert (finding.code, finding.where, finding.severity) == ("fsck/checkpoint", "public/checkpoint", "derived")
    assert f"of {SignedCheckpoint.parse(newest).checkpoint.size} entries was signed 12" in finding.message
    assert named(check(world, Repair())) == [("fsck/checkpoint", "public/checkpoint", True)]
    assert published.read_bytes() == newest
    assert check(world) == []


def test_a_checkpoint_that_is_about_to_be_published_is_none_that_is_held_back(world: World) -> None:
    """Beside a service there is a moment between signing and publishing."""
    hold_back(world)
    assert check(world) == []


def test_a_checkpoint_that_waits_for_its_quorum_is_none_that_is_held_back(world: World) -> None:
    """With `unwitnessed = "hold"` and no cosignature, the older one is the one that may be seen."""
    hold_back(world)
    world.clock.advance(120)
    place = world.config.path(world.config.policy)
    key = NoteVerifier.of("north.example/w", KeyType.COSIGNATURE, SigningKey.generate().public)
    policy = add_witness(Policy.parse(place.read_bytes()), "north", "https://north.example", [key.encode()])
    place.write_bytes(policy.encode())
    waiting = replace(world.config, unwitnessed="hold")
    assert list(Fsck(waiting, quick=True, clock=world.clock).run()) == []
    assert [each.code for each in check(world)] == ["fsck/checkpoint"]  # which publishes all the same


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_lost_database_is_damage_and_is_not_made_anew(
    world: World, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever follows a hint to migrate an empty one would begin a second log under the same keys."""
    place = Path(world.config.database_url().removeprefix("sqlite:///"))
    for aside in place.parent.glob("attest.db-*"):
        aside.unlink()
    if harm == "gone":
        place.unlink()
    else:
        place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])

    with pytest.raises(SystemExit) as ended:
        main(["operator", "fsck", "--dir", str(world.config.directory), "--quick"])
    assert ended.value.code == 3
    said = capsys.readouterr()
    assert said.out.split("\n")[0].startswith("damaged\tfsck/database\tdatabase\t")
    assert "newest backup" in said.out and "migrate" not in said.out + said.err
    assert place.exists() == (harm == "cut")
