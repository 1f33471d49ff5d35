"""What `attest operator fsck` reads of the tables, a part at a time, and the columns that it may write again.

What comes out is as stored, of any type a damaged database may give back: the reader checks it.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from attest.encoding import Hash
from attest.errors import Unavailable
from attest.store.db import (
    Database,
    Transaction,
    cosignatures,
    counts,
    entries,
    epochs,
    parties,
    queue,
    register,
    witnesses,
)
from attest.store.lease import Lease

Row = Mapping[str, Any]

PART: Final = 1000  # rows read at a time
_STRAYS: Final = 100  # rows named that have no business in a table
_DERIVED: Final = ("leaf", "issuer", "stream", "about", "kind", "seq", "issued_at", "epoch", "rows_root", "row_count")


class Scan:
    """Reads every table in the order of its key. Every method is one short transaction.

    All methods raise `Unavailable`: `store/database`, also where what is stored cannot be read at all.
    """

    def __init__(self, db: Database) -> None:
        """Read from `db`, which somebody else closes."""
        self._db = db

    def lost(self) -> str | None:
        """Say why the database is no database: there is no file, or it is damaged; None if it can be asked.

        Asking SQLite itself would make the file that is missing. PostgreSQL answers, or nobody can tell.
        """
        if self._db.engine.dialect.name != "sqlite":
            return None
        if not Path(self._db.engine.url.database or "").is_file():
            return "is missing"
        try:
            with self._reading() as transaction:
                transaction.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        except Unavailable as error:
            # Its subclasses are about a file that is locked, or may not be read.
            if type(error.__cause__) is sa.exc.DatabaseError:
                return f"cannot be read: {error.__cause__.orig}"
            raise
        return None

    def faults(self) -> list[str]:
        """Say what the database itself finds wrong with its file; nothing where it cannot be asked (PostgreSQL)."""
        if self._db.engine.dialect.name != "sqlite":
            return []
        with self._reading() as transaction:
            found = transaction.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
        return [str(each) for each in found if each != "ok"]

    def head(self, origin: str) -> tuple[Row | None, str | None]:
        """Return the last epoch, and what the register holds, as of one moment."""
        kept = sa.select(register.c.checkpoint).where(register.c.origin == origin).scalar_subquery()
        query = sa.select(epochs, kept.label("register")).order_by(epochs.c.number.desc()).limit(1)
        with self._reading() as transaction:
            row = transaction.execute(query).mappings().one_or_none()
            if row is None:
                return None, transaction.execute(sa.select(kept)).scalar_one()
        return dict(row), row["register"]

    def registered(self) -> list[str]:
        """List the logs that the register knows."""
        with self._reading() as transaction:
            return list(transaction.execute(sa.select(register.c.origin).order_by(register.c.origin)).scalars())

    def epochs(self, until: int) -> Iterator[Row]:
        """Yield the epochs up to the one with the number `until`, ascending."""
        last: int | None = None
        while True:
            query = sa.select(epochs).where(epochs.c.number <= until).order_by(epochs.c.number).limit(PART)
            rows = self._all(query if last is None else query.where(epochs.c.number > last))
            yield from rows
            if len(rows) < PART:
                return
            last = rows[-1]["number"]

    def entries(self, start: int, end: int) -> dict[int, Row]:
        """Return the entries from `start` to before `end` that there are, by position."""
        rows = self._all(sa.select(entries).where(entries.c.position >= start, entries.c.position < end))
        return {row["position"]: row for row in rows}

    def strays(self) -> list[str]:
        """Name rows beyond the last epoch, where nothing can be: what an epoch adds comes with it."""
        size = sa.select(sa.func.max(epochs.c.size)).scalar_subquery()
        named = [
            ("entries", sa.select(entries.c.position).where((entries.c.position < 0) | (entries.c.position >= size))),
            ("parties", sa.select(parties.c.id).where((parties.c.position < 0) | (parties.c.position >= size))),
            ("epochs", sa.select(epochs.c.number).where(epochs.c.number < 0)),
        ]
        with self._reading() as transaction:
            return [
                f"{table} {key}"
                for table, query in named
                for key in transaction.execute(query.limit(_STRAYS)).scalars()
            ]

    def parties(self, start: int, end: int) -> list[Row]:
        """Return the parties admitted at positions from `start` to before `end`."""
        return self._all(sa.select(parties).where(parties.c.position >= start, parties.c.position < end))

    def queue(self) -> Iterator[Row]:
        """Yield what is in the queue, in the order of arrival."""
        last = -1
        while rows := self._all(sa.select(queue).where(queue.c.id > last).order_by(queue.c.id).limit(PART)):
            yield from rows
            last = rows[-1]["id"]

    def still_queued(self, number: int) -> Row | None:
        """Return one row of the queue again: it may have gone or changed since."""
        found = self._all(sa.select(queue).where(queue.c.id == number))
        return found[0] if found else None

    def cosignatures(self) -> Iterator[Row]:
        """Yield all cosignatures, sizes ascending."""
        last: tuple[Any, ...] | None = None
        key = (cosignatures.c.size, cosignatures.c.name, cosignatures.c.key_id)
        while True:
            query = sa.select(cosignatures).order_by(*key).limit(PART)
            rows = self._all(query if last is None else query.where(sa.tuple_(*key) > sa.tuple_(*last)))
            yield from rows
            if len(rows) < PART:
                return
            last = tuple(rows[-1][column.name] for column in key)

    def cosigned_sizes(self) -> list[tuple[str, int]]:
        """Return the largest tree that each witness is known to have cosigned, by URL."""
        return [(row["url"], row["size"]) for row in self._all(sa.select(witnesses).order_by(witnesses.c.url))]

    def named_rows(self, roots: Sequence[Hash]) -> dict[Hash, int | None]:
        """Return those row files that entries or statements in the queue name, with their number of rows."""
        found: dict[Hash, int | None] = {}
        for table in (queue, entries):
            query = sa.select(table.c.rows_root, table.c.row_count).where(table.c.rows_root.in_(roots))
            found.update({row["rows_root"]: row["row_count"] for row in self._all(query)})
        return found

    def has_entry(self, leaf: Hash) -> bool:
        """Tell whether the log has an entry with this leaf hash."""
        return bool(self._all(sa.select(entries.c.position).where(entries.c.leaf == leaf).limit(1)))

    def counts(self, epoch: int) -> list[Row]:
        """Return what is counted after an epoch."""
        return self._all(sa.select(counts).where(counts.c.epoch == epoch).order_by(counts.c.party, counts.c.system))

    # --- repair ---

    def restore_counts(self, lease: Lease, epoch: int, rows: Sequence[Row]) -> None:
        """Write again what is counted after an epoch. Raises `Conflict`: `sequencer/lease`."""
        with self._db.write() as transaction:
            lease.confirm(transaction)
            transaction.execute(sa.delete(counts).where(counts.c.epoch == epoch))
            if rows:
                transaction.execute(sa.insert(counts), rows)

    def restore_entry(self, lease: Lease, position: int, columns: Row) -> None:
        """Write again what follows from the bytes of an entry. Raises `Conflict`: `sequencer/lease`."""
        values = {name: columns[name] for name in _DERIVED if name in columns}
        with self._db.write() as transaction:
            lease.confirm(transaction)
            transaction.execute(sa.update(entries).where(entries.c.position == position).values(**values))

    def restore_party(self, lease: Lease, row: Row) -> None:
        """Write again how a party is called. Raises `Conflict`: `sequencer/lease`."""
        with self._db.write() as transaction:
            lease.confirm(transaction)
            gone = (parties.c.id == row["id"]) | (parties.c.position == row["position"])
            transaction.execute(sa.delete(parties).where(gone))
            transaction.execute(sa.insert(parties).values(**row))

    def remove_party(self, lease: Lease, party: str) -> None:
        """Remove the name of somebody whom no entry admits. Raises `Conflict`: `sequencer/lease`."""
        with self._db.write() as transaction:
            lease.confirm(transaction)
            transaction.execute(sa.delete(parties).where(parties.c.id == party))

    # --- reading ---

    def _all(self, query: "sa.Select[Any]") -> list[Row]:
        with self._reading() as transaction:
            return [dict(row) for row in transaction.execute(query).mappings()]

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Transaction]:
        try:
            with self._db.read() as transaction:
                yield transaction
        except (sa.exc.SQLAlchemyError, TypeError, ValueError, OverflowError) as error:
            # A torn page, or a value of another type than its column has.
            raise Unavailable(
                "store/database", f"the database cannot give back what it holds: {type(error).__name__}"
            ) from error
