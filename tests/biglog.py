"""A large log in little time: real statements through the real sequencer, queued in bulk instead of over HTTP."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest.mock import patch

import sqlalchemy as sa

from attest.crypto.keys import thumbprint
from attest.encoding import encode_cbor
from attest.formats.rows import RowFile
from attest.formats.statement import (
    ALG_ED25519,
    CONTENT_TYPE,
    TYP,
    Descriptor,
    Hold,
    Statement,
    Tombstone,
    issuer_of,
    payload_map,
    sign_statement,
)
from attest.merkle.tree import leaf_hash
from attest.store.db import queue
from attest.store.history import rows_name
from attest.store.queue import PENDING, party_of
from tests.world import Holder, World, descriptor, random_rows

BATCH = 4096  # statements in one epoch
ROUNDS = 3  # how often each system is touched


class Entry(NamedTuple):
    """A statement as the queue has it."""

    entry: bytes
    issuer: str  # party id
    stream: str
    seq: int
    kind: str
    rows_root: bytes | None
    row_count: int | None

    @classmethod
    def of(cls, statement: Statement) -> Self:
        """Take a statement."""
        payload = statement.payload
        root, count = (payload.root, payload.count) if isinstance(payload, Hold | Tombstone) else (None, None)
        return cls(statement.entry, party_of(statement), statement.stream, statement.seq, payload.KIND, root, count)


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
        issuer = issuer_of(node.origin)
        yield sign_statement(
            node._keys.statements, party, issuer=issuer, stream=issuer, audience=node.origin,
            issued_at=int(world.clock()), seq=seq, about=company.id,
        )  # fmt: skip


def _statements(companies: Sequence[Holder], systems: int, files: Sequence[RowFile]) -> Iterator[Statement]:
    """Hold file after file and erase every third, a few at a time in each system, one system after the other."""
    script: list[tuple[bool, int, bytes]] = []  # whether it is erased, how many rows, their root
    held: list[RowFile] = []
    fresh = iter(files)
    for turn in range(len(files)):
        erased = turn % 3 == 2
        file = held.pop(0) if erased else next(fresh)
        if not erased:
            held.append(file)
        script.append((erased, len(file), file.root()))
    step = -(-len(script) // ROUNDS)
    for start in range(0, len(script), step):
        for number, company in enumerate(companies):
            for each in _systems(number, systems):
                yield from _signed(company, each.id, script[start : start + step])


def _signed(company: Holder, system: str, script: Sequence[tuple[bool, int, bytes]]) -> Iterator[Statement]:
    """Sign as `sign_statement` does, which also parses what it made, and makes each header anew."""
    now = int(company.clock())
    claims: dict[Any, Any] = {1: company.issuer, 2: system, 3: company.origin, 6: now}
    kid = thumbprint(company.key.public)
    header = encode_cbor({1: ALG_ED25519, 3: CONTENT_TYPE, 4: kid, 15: claims, 16: TYP})
    for erased, count, root in script:
        seq = company.seqs.get(system, 0)
        company.seqs[system] = seq + 1
        payload = (
            Tombstone(count, root, now, "logical_delete", "none", "gdpr:17(1)(d)")
            if erased
            else Hold(count, root, "collected")
        )
        body = encode_cbor(payload_map(payload, seq, None, ()))
        signature = company.key.sign(encode_cbor(["Signature1", header, b"", body]))
        entry = b"\xd2" + encode_cbor([header, {}, body, signature])
        yield Statement(company.issuer, system, company.origin, now, kid, seq, None, (), payload, entry)


@contextmanager
def _known(statements: Sequence[Statement]) -> Iterator[None]:
    """Let the service take these as read, with their signatures: they were made here, a moment ago."""
    known = {each.entry: each for each in statements}
    parse, verify = Statement.parse, Statement.verify_signature
    with (
        patch.object(Statement, "parse", lambda entry: known.get(entry) or parse(entry)),
        patch.object(
            Statement, "verify_signature", lambda self, key: None if self.entry in known else verify(self, key)
        ),
    ):
        yield


def _queue(world: World, statements: Iterable[Statement]) -> None:
    """Queue statements as the service does once nothing is missing, and let them be sequenced."""
    node, waiting = world.node, iter(statements)
    while batch := list(islice(waiting, BATCH)):
        now = int(world.clock())
        rows = [
            {
                **Entry.of(each)._asdict(),
                "leaf": leaf_hash(each.entry),
                "state": PENDING,
                "received": now,
                "promise": b"none",
                "promise_by": now + (1 << 30),
            }
            for each in batch
        ]
        with node._db.write() as transaction:
            transaction.execute(sa.insert(queue), rows)
        with _known(batch):
            world.step(3600)
    with node._db.read() as transaction:
        refused = transaction.execute(sa.select(queue.c.refused_message)).first()
    assert refused is None, refused
