"""Dying anywhere, and what is left afterwards."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from attest.config import Config
from attest.formats.receipt import Promise, Refusal
from attest.formats.rows import RowFile
from attest.formats.statement import Statement
from attest.node import Node
from tests.service.crashing import Crash, Writes, crashing_node
from tests.world import Holder, World, check, descriptor, random_rows

WHEN = ["before", "after"]


@dataclass
class Scene:
    """A log with work in its queue, of which copies can be made."""

    world: World
    holder: Holder
    accepted: list[Statement]
    refused: Statement
    copy: Callable[[Path], Config]


@pytest.fixture
def scene(tmp_path: Path, database: str | None) -> Iterator[Scene]:
    world = World(tmp_path / "log", database=database)
    holder = world.holder("acme.example", descriptor("db"), descriptor("search", "search"))
    rows, other = RowFile.build(random_rows(8)), RowFile.build(random_rows(3))
    world.publish(holder.hold("db", rows), rows)
    erase, hold = holder.erase("db", rows), holder.hold("search", other)
    again = holder.sign(hold.payload, "search", seq=1)
    world.submit(erase)
    world.submit(hold, other)
    world.submit(again, other)
    world.close()
    copies = itertools.count()

    def copy(directory: Path) -> Config:
        shutil.copytree(world.directory, directory)
        if database is None:
            return replace(world.config, directory=directory)
        return replace(world.config, directory=directory, database=copy_database(database, next(copies)))

    yield Scene(world, holder, [erase, hold], again, copy)


def copy_database(url: str, number: int) -> str:
    """Copy a PostgreSQL database that nobody is connected to; it goes with its server."""
    name = url.split("@/")[1].split("?")[0]
    server = url.replace(f"@/{name}?", "@/postgres?").replace("postgresql+psycopg:", "postgresql:", 1)
    with psycopg.connect(server, autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(f"{name}_{number}"), sql.Identifier(name)))
    return url.replace(f"@/{name}?", f"@/{name}_{number}?")


@pytest.mark.parametrize("when", WHEN)
def test_a_restart_repairs_a_crash_at_any_write_of_an_epoch(scene: Scene, tmp_path: Path, when: str) -> None:
    """Die at the nth write of sequencing and publishing, for every n: after a restart all of it is published, once."""
    world = scene.world
    for nth in itertools.count(1):
        config = scene.copy(tmp_path / f"copy{nth}")
        clock = replace(world.clock, now=world.clock.now + 60)
        # The files are the same on every database; so there only its own writes are worth dying at.
        on_sqlite = config.database.startswith("sqlite")
        node = crashing_node(config, clock, Writes(nth, when), files=on_sqlite)
        try:
            node.step()
        except Crash:
            node.close()
            # Whatever is visible is complete, at every moment.
            seen = check(config, settled=False).size
            clock.advance(60)
            node = Node.open(config, clock=clock)  # the restart
            node.step()
            _check(scene, config, node)
            # Nobody saw anything that was taken back.
            assert node.view.size >= seen
        else:
            _check(scene, config, node)
            assert nth > (10 if on_sqlite else 2)
            return


def _check(scene: Scene, config: Config, node: Node) -> None:
    for statement in scene.accepted:
        found = node.submission(statement.leaf)
        assert found is not None and found.state == "entry"
        Promise.parse(found.promise or b"").verify(node.genesis.receipts)
    refused = node.submission(scene.refused.leaf)
    assert refused is not None and refused.state == "refused"
    refusal = Refusal.parse(refused.refusal or b"")
    refusal.verify(node.genesis.receipts)
    assert (refusal.code, refusal.rows, refusal.entry) == ("rule/already-held", (0, 1, 2), scene.refused.leaf)
    node.close()
    ledger = check(config)
    assert (ledger.systems["acme.example", "db"].held, ledger.systems["acme.example", "db"].erased) == (0, 8)
    assert ledger.systems["acme.example", "search"].held == 3


@pytest.mark.parametrize("when", WHEN)
def test_what_was_acknowledged_survives_a_crash_at_any_write_of_intake(world: World, tmp_path: Path, when: str) -> None:
    """Die at the nth write while a statement and its row file come in: the client repeats, and it is in there once."""
    acme = world.holder("acme.example", descriptor("db"))
    rows = RowFile.build(random_rows(2))
    statement = acme.hold("db", rows)
    world.close()
    for nth in itertools.count(1):
        directory = tmp_path / f"copy{nth}"
        shutil.copytree(world.directory, directory)
        config = replace(world.config, directory=directory)
        clock = replace(world.clock, now=world.clock.now + 60)
        node = crashing_node(config, clock, Writes(nth, when))
        promised = None
        died = False
        try:
            node.submit(statement.entry)
            (found,) = node.put_rows(rows.root(), rows.encoded)
            promised = found.promise
        except Crash:
            died = True
        node.close()
        node = Node.open(config, clock=clock)
        node.submit(statement.entry)
        (found,) = node.put_rows(rows.root(), rows.encoded)
        assert found.promise is not None
        assert promised in (None, found.promise)
        clock.advance(60)
        node.step()
        again = node.submission(statement.leaf)
        assert again is not None and again.state == "entry"
        node.close()
        assert check(config).systems["acme.example", "db"].entries == 1
        if not died:
            assert nth > 2
            return
