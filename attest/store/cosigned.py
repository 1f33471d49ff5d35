"""Which checkpoints are cosigned by whom, and how we stand with each witness."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from attest.formats.note import SignatureLine
from attest.store.db import Database, cosignatures, insert_if_new, witnesses

Mark = tuple[int, str, bytes]
"""Size, key name, key ID: what tells one cosignature from the others."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A cosignature as stored; it was verified before."""

    size: int
    time: int
    line: SignatureLine

    @property
    def mark(self) -> Mark:
        """What tells it from the others."""
        return self.size, self.line.name, self.line.key_id


@dataclass(frozen=True, slots=True)
class WitnessRecord:
    """How we stand with a witness."""

    url: str
    size: int
    problem_code: str | None
    problem: str | None
    since: int


def record(db: Database, found: Iterable[Stored], standings: Iterable[WitnessRecord]) -> None:
    """Store cosignatures, of one key on one checkpoint the first that came, and how we stand with some witnesses."""
    with db.write() as transaction:
        for each in found:
            values = {
                "size": each.size,
                "name": each.line.name,
                "key_id": each.line.key_id,
                "time": each.time,
                "line": each.line.encode(),
            }
            insert_if_new(transaction, cosignatures, values)
        for standing in standings:
            row = asdict(standing)
            if not insert_if_new(transaction, witnesses, row):
                transaction.execute(sa.update(witnesses).where(witnesses.c.url == standing.url).values(**row))


def of_sizes(db: Database, sizes: Sequence[int]) -> list[Stored]:
    """Return the cosignatures on checkpoints of these sizes, in an order that never changes."""
    query = sa.select(cosignatures).where(cosignatures.c.size.in_(sizes))
    order = cosignatures.c.size, cosignatures.c.time, cosignatures.c.name, cosignatures.c.key_id
    with db.read() as transaction:
        return [
            Stored(row.size, row.time, SignatureLine.parse(row.line))
            for row in transaction.execute(query.order_by(*order))
        ]


def marks(db: Database, sizes: Sequence[int]) -> set[Mark]:
    """Tell which cosignatures there are on checkpoints of these sizes."""
    query = sa.select(cosignatures.c.size, cosignatures.c.name, cosignatures.c.key_id)
    with db.read() as transaction:
        return {
            (row.size, row.name, row.key_id) for row in transaction.execute(query.where(cosignatures.c.size.in_(sizes)))
        }


def standings(db: Database) -> dict[str, WitnessRecord]:
    """Return what is recorded of all witnesses there ever were, by URL."""
    with db.read() as transaction:
        return {row.url: WitnessRecord(*row) for row in transaction.execute(sa.select(witnesses))}
