"""How many are held and erased over time, as the database keeps it for charts."""

from typing import Any

import sqlalchemy as sa
from click.testing import CliRunner

from attest.cli.operator import operator
from attest.formats.rows import RowFile
from attest.store.counts import ALL, Counts, fill
from attest.store.db import counts
from tests.world import World, descriptor, random_rows


def told(world: World) -> list[tuple[str, int, int, int, int]]:
    """Let two companies hold, erase and hold again; return what happened (system, time, held, erased, reheld)."""
    acme = world.holder("acme.example", descriptor("db"), descriptor("search", "search"))
    beta = world.holder("beta.example", descriptor("db"))
    happened = []

    def note(name: str, *numbers: int) -> None:
        happened.append((name, int(world.clock()), *numbers))

    first, second = RowFile.build(random_rows(7)), RowFile.build(random_rows(3))
    world.publish(acme.hold("db", first), first)
    note("acme.example/db", 7, 0, 0)
    world.publish(acme.hold("search", second), second)
    note("acme.example/search", 3, 0, 0)
    world.publish(beta.hold("db", second), second)
    note("beta.example/db", 3, 0, 0)
    world.step(30)
    world.publish(acme.erase("db", first), first)
    note("acme.example/db", 0, 7, 0)
    again = RowFile.build(dict(zip(first.indexes[:2], [bytes([n]) * 32 for n in (1, 2)], strict=True)))
    world.publish(acme.hold("db", again), again)
    note("acme.example/db", 2, 5, 2)
    return happened


def test_rows_are_what_happened(any_world: World) -> None:
    """After every epoch that touched a system, its party and the whole log, and at any time in between."""
    happened = told(any_world)
    read = Counts(any_world.node._db)
    origin = any_world.node.origin

    for name in {name for name, *_ in happened}:
        party, system = name.split("/")
        page = read.page(party, system, 1 << 62, 100)
        assert [(each.held, each.erased, each.reheld) for each in page if each.held + each.erased] == [
            tuple(numbers) for found, _, *numbers in reversed(happened) if found == name
        ]
        assert page == sorted(page, key=lambda each: -each.epoch)
        assert read.page(party, system, page[0].epoch, 2) == page[1:3]
        assert read.first(party, system) == page[-1]

    for number, (_, time, *_) in enumerate(happened, 1):
        last = {name: numbers for name, _, *numbers in happened[:number]}
        for party in ("acme.example", "beta.example", origin):
            names = [name for name in last if party in (origin, name.split("/")[0])]
            want = tuple(sum(last[name][n] for name in names) for n in range(3))
            found = read.sampled(party, [ALL], [0, time])[ALL]
            assert found[0] is None
            assert want == (0, 0, 0) if found[1] is None else (found[1].held, found[1].erased, found[1].reheld) == want
        found = read.sampled("acme.example", ["search", "db", "none"], [time])
        for system in ("search", "db"):
            held = last.get(f"acme.example/{system}", [0])[0]
            assert (found[system][0].held if found[system][0] else 0) == held
        assert found["none"] == [None]

    assert [each.party for each in read.active(origin, 5)] == ["acme.example", "beta.example"]
    assert [each.party for each in read.active(origin, 1)] == ["acme.example"]


def test_an_older_log_is_made_up_for(any_world: World) -> None:
    """From its entries, once, and the same rows."""
    told(any_world)
    node = any_world.node
    db = node._db

    def rows() -> list[Any]:
        with db.read() as transaction:
            return sorted(tuple(row) for row in transaction.execute(sa.select(counts)))

    kept = rows()
    assert fill(db, node._history) == 0
    with db.write() as transaction:
        transaction.execute(sa.delete(counts))

    assert fill(db, node._history) == node.view.record.number + 1
    assert rows() == kept
    assert fill(db, node._history) == 0


def test_migrate_fills_the_table(world: World) -> None:
    """`attest operator migrate` on a database of the version before."""
    told(world)
    with world.node._db.write() as transaction:
        kept = sorted(tuple(row) for row in transaction.execute(sa.select(counts)))
        transaction.execute(sa.text("DROP TABLE counts"))
        transaction.execute(sa.text("UPDATE alembic_version SET version_num = '0002'"))

    done = CliRunner().invoke(operator, ["migrate", "--dir", str(world.node.config.directory)])

    assert done.exit_code == 0, done.output
    with world.node._db.read() as transaction:
        assert sorted(tuple(row) for row in transaction.execute(sa.select(counts))) == kept
