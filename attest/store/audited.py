"""What an auditor stores of each log: the last signed checkpoint it has verified, and, of a log that it monitors, how
far its events are told, the events themselves, what lasts for now, and which keepsakes are watched.

Spec: docs/spec/audit.md#monitoring.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import sqlalchemy as sa

from attest.encoding import Hash
from attest.store import db
from attest.store.db import Transaction, insert_if_new

_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData()
db.register.to_metadata(metadata)

monitored = sa.Table(
    "monitored",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("size", _Big, nullable=False),  # the events of all entries below are stored
    sa.Column("told", _Big, nullable=False),  # size of the newest checkpoint of which there is an event
    sa.Column("muted", sa.Boolean, nullable=False),  # what is past is not told, until all of it has gone by
    sa.Column("since", _Big, nullable=False),
    sa.Column("bytes", _Big, nullable=False),  # read from the log since then
    sa.Column("watched_bytes", _Big, nullable=False),  # of these, row files of holders of whom a keepsake is watched
)

# In the order in which they are delivered; `delivered` is null until that was acknowledged.
events = sa.Table(
    "events",
    metadata,
    sa.Column("number", _Big, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("delivered", _Big),
    sa.Index("ix_events_pending", "origin", "number", sqlite_where=sa.text("delivered IS NULL")),
    sqlite_autoincrement=True,
)

# What began and is not over: a log that does not answer, a witness that is gone.
conditions = sa.Table(
    "conditions",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("since", _Big, nullable=False),
    sa.Column("told", sa.Boolean, nullable=False),
)

watches = sa.Table(
    "watches",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),  # of what is looked for
)

_AT_ONCE: Final = 500  # numbers in one statement


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a monitor has come with a log: a row of `monitored`."""

    size: int
    told: int
    muted: bool
    since: int  # POSIX seconds
    bytes: int
    watched_bytes: int


def standing(transaction: Transaction, origin: str) -> Standing | None:
    """Return how far a log is told; None before the first look."""
    columns = [monitored.c[name] for name in Standing.__dataclass_fields__]
    found = transaction.execute(sa.select(*columns).where(monitored.c.origin == origin)).first()
    return None if found is None else Standing(*found)


def stand(transaction: Transaction, origin: str, now: Standing) -> None:
    """Store how far a log is told."""
    if not insert_if_new(transaction, monitored, {"origin": origin, **asdict(now)}):
        transaction.execute(sa.update(monitored).where(monitored.c.origin == origin).values(asdict(now)))


# --- events ---


@dataclass(frozen=True, slots=True)
class Stored:
    """An event on its way: its place in the order, its id, and its JSON on one line."""

    number: int
    id: str
    event: str


def tell(transaction: Transaction, origin: str, told: Iterable[tuple[str, str]]) -> int:
    """Store events, id and JSON, behind those that are there; return how many were new."""
    return sum(
        insert_if_new(transaction, events, {"id": each, "origin": origin, "event": event}) for each, event in told
    )


def pending(transaction: Transaction, origin: str, most: int) -> list[Stored]:
    """Return the first events that are not delivered."""
    found = transaction.execute(
        sa.select(events.c.number, events.c.id, events.c.event)
        .where(events.c.origin == origin, events.c.delivered.is_(None))
        .order_by(events.c.number)
        .limit(most)
    )
    return [Stored(*row) for row in found]


def acknowledge(transaction: Transaction, numbers: Sequence[int], time: int) -> None:
    """Note that events were delivered."""
    for start in range(0, len(numbers), _AT_ONCE):
        part = numbers[start : start + _AT_ONCE]
        transaction.execute(sa.update(events).where(events.c.number.in_(part)).values(delivered=time))


# --- conditions ---


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that lasts."""

    kind: str
    subject: str
    since: int  # POSIX seconds
    told: bool  # there is an event of its beginning


def lasting(transaction: Transaction, origin: str) -> list[Condition]:
    """Return what lasts, in a fixed order."""
    columns = [conditions.c[name] for name in Condition.__dataclass_fields__]
    found = transaction.execute(
        sa.select(*columns).where(conditions.c.origin == origin).order_by(conditions.c.kind, conditions.c.subject)
    )
    return [Condition(*row) for row in found]


def last(transaction: Transaction, origin: str, condition: Condition) -> None:
    """Store that something lasts."""
    name = {"origin": origin, "kind": condition.kind, "subject": condition.subject}
    if not insert_if_new(transaction, conditions, {**name, "since": condition.since, "told": condition.told}):
        transaction.execute(sa.update(conditions).where(_is(origin, condition)).values(told=condition.told))


def over(transaction: Transaction, origin: str, condition: Condition) -> None:
    """Store that something is over."""
    transaction.execute(sa.delete(conditions).where(_is(origin, condition)))


def _is(origin: str, condition: Condition) -> sa.ColumnElement[bool]:
    return sa.and_(
        conditions.c.origin == origin, conditions.c.kind == condition.kind, conditions.c.subject == condition.subject
    )


# --- watches ---


def watched(transaction: Transaction, origin: str) -> dict[str, Hash]:
    """Return which keepsakes are watched: name → digest of what is looked for."""
    found = transaction.execute(sa.select(watches.c.name, watches.c.digest).where(watches.c.origin == origin))
    return {each.name: each.digest for each in found}


def watch(transaction: Transaction, origin: str, wanted: dict[str, Hash]) -> None:
    """Store which keepsakes are watched from now on."""
    transaction.execute(sa.delete(watches).where(watches.c.origin == origin))
    for name, digest in wanted.items():
        transaction.execute(sa.insert(watches).values(origin=origin, name=name, digest=digest))
