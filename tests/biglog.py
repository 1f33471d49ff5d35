"""A large log in little time: real statements through the real sequencer, queued in bulk instead of over HTTP."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from attest.formats.rows import RowFile
from attest.formats.statement import Descriptor, Hold, Statement, Tombstone, issuer_of, sign_statement
from attest.store.db import queue
from attest.store.history import rows_name
from attest.store.queue import PENDING, party_of
from tests.world import Holder, World, descriptor, random_rows

BATCH = 4096  # statements in one epoch


def big_world(directory: Path, holders: int, entries: int, *, rows: int = 3, systems: int = 5) -> World:
    """Make a world of so many companies and at least so many entries, each company with so many systems.

    All systems hold and erase the same row files, a different number of times: what a row file says depends on whose it
    is, so they need not be made for each.
    """
    world = World(directory, epoch_statements=BATCH, pending_party=1 << 30, promise_s=1 << 30)
    companies = [Holder(f"company-{n:04}.example", world.clock) for n in range(holders)]
    _queue(world, _admissions(world, companies))
    _queue(world, (company.systems(*_systems(n, systems)) for n, company in enumerate(companies)))
    each = -(-entries // (holders * systems))  # statements of one system
    files = [RowFile.build(random_rows(rows)) for _ in range(each)]
    public = world.node._public
    public.put([(rows_name(file.root()), file.encoded) for file in files])
    _queue(world, _statements(companies, systems, files))
    world.holders = {company.id: company for company in companies}
    return world


def _systems(company: int, count: int) -> Sequence[Descriptor]:
    kinds = ("database", "search", "warehouse", "backup", "processor")
    return sorted(
        (
            descriptor(f"{kinds[n % 5]}-{n // 5 + 1}", kinds[n % 5], retention=None if company % 3 else "two years")
            for n in range(count)
        ),
        key=lambda each: each.id,
    )


def _admissions(world: World, companies: Sequence[Holder]) -> Iterator[Statement]:
    node = world.node
    head = node.view.draft.party(node.origin)
    assert head is not None
    for seq, company in enumerate(companies, head.own):
        party = company.join_request().party("operator", int(world.clock()))
        yield sign_statement(
            node._keys.statements, party, issuer=issuer_of(node.origin), stream=issuer_of(node.origin),
            audience=node.origin, issued_at=int(world.clock()), seq=seq, about=company.id,
        )  # fmt: skip


def _statements(companies: Sequence[Holder], systems: int, files: Sequence[RowFile]) -> Iterator[Statement]:
    """Hold file after file, and erase every third one again, in all systems side by side."""
    held: list[RowFile] = []
    fresh = iter(files)
    for turn in range(len(files)):
        erased = held.pop(0) if turn % 3 == 2 else None
        file = erased or next(fresh)
        for number, company in enumerate(companies):
            for each in _systems(number, systems):
                yield company.hold(each.id, file) if erased is None else company.erase(each.id, file)
        if erased is None:
            held.append(file)


def _queue(world: World, statements: Iterator[Statement]) -> None:
    """Queue statements as the service does once nothing is missing, and let them be sequenced."""
    node = world.node
    while batch := list(islice(statements, BATCH)):
        now = int(world.clock())
        with node._db.write() as transaction:
            transaction.execute(sa.insert(queue), [_row(each, now) for each in batch])
        world.step(3600)
    with node._db.read() as transaction:
        refused = transaction.execute(sa.select(queue.c.refused_message)).first()
    assert refused is None, refused


def _row(statement: Statement, now: int) -> dict[str, Any]:
    rows = statement.payload if isinstance(statement.payload, Hold | Tombstone) else None
    return {
        "leaf": statement.leaf,
        "entry": statement.entry,
        "issuer": party_of(statement),
        "stream": statement.stream,
        "seq": statement.seq,
        "kind": statement.payload.KIND,
        "rows_root": None if rows is None else rows.root,
        "row_count": None if rows is None else rows.count,
        "state": PENDING,
        "received": now,
        "promise": b"none",
        "promise_by": now + (1 << 30),
    }
