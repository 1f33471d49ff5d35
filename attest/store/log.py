"""The log as the database has it: entries, epochs, and what names the parties."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from attest.encoding import Hash
from attest.errors import Unavailable
from attest.formats.statement import Hold, Party, Statement, Tombstone
from attest.store import queue, register
from attest.store.db import Database, Transaction, counts, entries, epochs, parties
from attest.store.lease import Lease

_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One committed epoch."""

    number: int
    size: int  # of the log after it
    time: int
    tree_root: Hash
    top_root: Hash
    checkpoint: str  # with the log's signatures


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """Where one statement stands."""

    position: int
    entry: bytes
    leaf: Hash
    kind: str
    epoch: int
    rows_root: Hash | None
    promise: bytes | None


@dataclass(frozen=True, slots=True)
class PartyRecord:
    """How a party is called, and how that was checked."""

    id: str
    position: int
    role: str
    name: str
    legal_id: str
    check_method: str
    check_time: int


@dataclass(frozen=True, slots=True)
class Commit:
    """All that one epoch changes in the database."""

    origin: str
    record: EpochRecord
    first: int  # position of the first entry
    statements: Sequence[Statement]  # the epoch entry included
    promises: Mapping[Hash, bytes]  # by leaf hash
    settled: Sequence[Hash]  # leaf hashes that leave the queue
    rejections: Sequence[queue.Rejection]
    counts: Sequence[dict[str, Any]]  # rows of `counts.changed`
    previous: str | None  # the checkpoint before


def commit(db: Database, lease: Lease, change: Commit) -> None:
    """Store an epoch in one transaction, if its predecessor is still the last.

    Raises:
        Conflict: `register/moved`, `sequencer/lease`: another process was there first.
        Unavailable: `store/full`, `store/database`.
    """
    with db.write() as transaction:
        lease.confirm(transaction)
        register.replace(transaction, change.origin, change.previous, change.record.checkpoint)
        record = change.record
        transaction.execute(
            sa.insert(epochs).values(
                number=record.number,
                size=record.size,
                time=record.time,
                tree_root=record.tree_root,
                top_root=record.top_root,
                checkpoint=record.checkpoint,
            )
        )
        rows = [
            entry_row(position, statement, record.number, change.promises)
            for position, statement in enumerate(change.statements, change.first)
        ]
        transaction.execute(sa.insert(entries), rows)
        admitted = [
            party_row(position, statement.payload)
            for position, statement in enumerate(change.statements, change.first)
            if isinstance(statement.payload, Party)
        ]
        if admitted:
            transaction.execute(sa.insert(parties), admitted)
        if change.counts:
            transaction.execute(sa.insert(counts), change.counts)
        queue.remove(transaction, change.settled)
        queue.refuse(transaction, change.rejections)


def entry_row(position: int, statement: Statement, epoch: int, promises: Mapping[Hash, bytes]) -> dict[str, Any]:
    """Return the row of an entry: all but the promise follows from its bytes and from where it stands."""
    payload = statement.payload
    rows = payload if isinstance(payload, Hold | Tombstone) else None
    return {
        "position": position,
        "entry": statement.entry,
        "leaf": statement.leaf,
        "issuer": queue.party_of(statement),
        "stream": statement.stream,
        "about": statement.about,
        "kind": payload.KIND,
        "seq": statement.seq,
        "issued_at": statement.issued_at,
        "epoch": epoch,
        "rows_root": None if rows is None else rows.root,
        "row_count": None if rows is None else rows.count,
        "promise": promises.get(statement.leaf),
    }


def party_row(position: int, party: Party) -> dict[str, Any]:
    """Return the row of a party that the entry at `position` admits."""
    return {
        "id": party.id,
        "position": position,
        "role": party.role,
        "name": party.name,
        "legal_id": party.legal_id,
        "check_method": party.check_method,
        "check_time": party.check_time,
    }


class LogStore:
    """Reads the log. Every method is one transaction."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def last_epoch(self) -> EpochRecord | None:
        """Return the newest committed epoch, None before the first."""
        return self._epoch(sa.select(epochs).order_by(epochs.c.number.desc()).limit(1))

    def epoch(self, number: int) -> EpochRecord | None:
        """Return an epoch by number."""
        return self._epoch(sa.select(epochs).where(epochs.c.number == number))

    def epoch_of_size(self, size: int) -> EpochRecord | None:
        """Return the epoch that ends at this tree size."""
        return self._epoch(sa.select(epochs).where(epochs.c.size == size))

    def epoch_before(self, position: int) -> EpochRecord | None:
        """Return the last epoch whose entry stands before `position`."""
        return self._epoch(sa.select(epochs).where(epochs.c.size <= position).order_by(epochs.c.size.desc()).limit(1))

    def epoch_after(self, position: int) -> EpochRecord | None:
        """Return the first epoch whose entry stands after `position`."""
        return self._epoch(sa.select(epochs).where(epochs.c.size > position + 1).order_by(epochs.c.size).limit(1))

    def epochs_below(self, size: int, limit: int) -> list[EpochRecord]:
        """Return the epochs that end at sizes below `size`, newest first."""
        query = sa.select(epochs).where(epochs.c.size < size).order_by(epochs.c.size.desc()).limit(limit)
        with self.db.read() as transaction:
            return [_record(row) for row in transaction.execute(query)]

    def times_of(self, numbers: Collection[int]) -> dict[int, int]:
        """Return the times of at most a few hundred epochs, by number."""
        query = sa.select(epochs.c.number, epochs.c.time).where(epochs.c.number.in_(numbers))
        with self.db.read() as transaction:
            return {row.number: row.time for row in transaction.execute(query)}

    def first_epoch_since(self, time: int) -> int:
        """Return the number of the first epoch at or after a time; that of the next one, if there is none."""
        query = sa.select(sa.func.min(epochs.c.number)).where(epochs.c.time >= time)
        with self.db.read() as transaction:
            found: int | None = transaction.execute(query).scalar_one()
            if found is None:
                last = transaction.execute(sa.select(sa.func.max(epochs.c.number))).scalar_one()
                found = 0 if last is None else last + 1
        return found

    def _epoch(self, query: "sa.Select[Any]") -> EpochRecord | None:
        with self.db.read() as transaction:
            row = transaction.execute(query).one_or_none()
        return None if row is None else _record(row)

    def entry(self, position: int) -> bytes | None:
        """Return the entry at a position."""
        with self.db.read() as transaction:
            found: bytes | None = transaction.execute(
                sa.select(entries.c.entry).where(entries.c.position == position)
            ).scalar_one_or_none()
        return found

    def entries_at(self, positions: Sequence[int]) -> dict[int, bytes]:
        """Return the entries at some positions. Raises `Unavailable`: `store/entries`."""
        found: dict[int, bytes] = {}
        with self.db.read() as transaction:
            for start in range(0, len(positions), _CHUNK):
                query = sa.select(entries.c.position, entries.c.entry)
                chosen = positions[start : start + _CHUNK]
                rows = transaction.execute(query.where(entries.c.position.in_(chosen)))
                found.update({row.position: row.entry for row in rows})
        if len(found) != len(set(positions)):
            raise Unavailable("store/entries", "an entry is not in the database")
        return found

    def entries(self, start: int, end: int) -> list[EntryRecord]:
        """Return the entries from `start` to before `end`."""
        query = sa.select(*_ENTRY).where(entries.c.position >= start, entries.c.position < end)
        with self.db.read() as transaction:
            return [EntryRecord(*row) for row in transaction.execute(query.order_by(entries.c.position))]

    def find(self, leaf: Hash) -> EntryRecord | None:
        """Return the entry with a leaf hash."""
        with self.db.read() as transaction:
            return find(transaction, leaf)

    def roots(self, start: int, end: int) -> list[Hash]:
        """Return the row files that the entries from `start` to before `end` name."""
        query = sa.select(entries.c.rows_root).where(
            entries.c.position >= start, entries.c.position < end, entries.c.rows_root.is_not(None)
        )
        with self.db.read() as transaction:
            return list(dict.fromkeys(transaction.execute(query.order_by(entries.c.position)).scalars()))

    def entries_of(self, party: str, before: int, limit: int) -> list[Any]:
        """Return what a party said and what was said about it, newest first, from before a position."""
        # One index each; an OR over both would scan.
        branches = [
            sa.select(*_LISTED)
            .where(column == party, entries.c.position < before)
            .order_by(entries.c.position.desc())
            .limit(limit)
            for column in (entries.c.issuer, entries.c.about)
        ]
        with self.db.read() as transaction:
            rows = {row.position: row for query in branches for row in transaction.execute(query)}
        return [rows[position] for position in sorted(rows, reverse=True)[:limit]]

    def entries_below(self, before: int, limit: int) -> list[Any]:
        """Return the entries below a position, newest first."""
        query = sa.select(*_LISTED).where(entries.c.position < before).order_by(entries.c.position.desc()).limit(limit)
        with self.db.read() as transaction:
            return list(transaction.execute(query))

    def positions_of(self, party: str, after: int) -> list[int]:
        """Return where what a party said and what was said about it stands, ascending, from behind a position."""
        found: set[int] = set()
        with self.db.read() as transaction:
            for column in (entries.c.issuer, entries.c.about):
                query = sa.select(entries.c.position).where(column == party, entries.c.position > after)
                found.update(transaction.execute(query).scalars())
        return sorted(found)

    def parties(self, ids: Sequence[str]) -> dict[str, PartyRecord]:
        """Return how parties are called."""
        found = {}
        with self.db.read() as transaction:
            for start in range(0, len(ids), _CHUNK):
                query = sa.select(parties).where(parties.c.id.in_(ids[start : start + _CHUNK]))
                found.update({row.id: PartyRecord(*row) for row in transaction.execute(query)})
        return found

    def parties_with(self, words: Sequence[str], limit: int) -> list[str]:
        """Return the ids of the parties whose id, name or legal identifier has all these words, ids ascending."""
        query = sa.select(parties.c.id).order_by(parties.c.id).limit(limit)
        for word in words:
            fields = parties.c.id, parties.c.name, parties.c.legal_id
            query = query.where(sa.or_(*(field.icontains(word, autoescape=True) for field in fields)))
        with self.db.read() as transaction:
            return list(transaction.execute(query).scalars())

    def parties_called(self, legal_id: str) -> list[str]:
        """Return the ids of the parties with a legal identifier."""
        with self.db.read() as transaction:
            return list(transaction.execute(sa.select(parties.c.id).where(parties.c.legal_id == legal_id)).scalars())

    def register(self, origin: str) -> str | None:
        """Return the checkpoint we last put our name to."""
        with self.db.read() as transaction:
            return register.read(transaction, origin)


_ENTRY = (
    entries.c.position, entries.c.entry, entries.c.leaf, entries.c.kind, entries.c.epoch, entries.c.rows_root,
    entries.c.promise,
)  # fmt: skip
_LISTED = (
    entries.c.position, entries.c.leaf, entries.c.issuer, entries.c.kind, entries.c.stream, entries.c.seq,
    entries.c.issued_at, entries.c.epoch, entries.c.row_count, entries.c.rows_root,
)  # fmt: skip


def find(transaction: Transaction, leaf: Hash) -> EntryRecord | None:
    """Return the entry with a leaf hash, inside a transaction."""
    row = transaction.execute(sa.select(*_ENTRY).where(entries.c.leaf == leaf)).one_or_none()
    return None if row is None else EntryRecord(*row)


def leaves_with_rows(transaction: Transaction, root: Hash) -> list[Hash]:
    """Return the leaf hashes of some entries that name a row file, oldest first."""
    query = sa.select(entries.c.leaf).where(entries.c.rows_root == root).order_by(entries.c.position).limit(16)
    return list(transaction.execute(query).scalars())


def _record(row: Any) -> EpochRecord:
    return EpochRecord(row.number, row.size, row.time, row.tree_root, row.top_root, row.checkpoint)
