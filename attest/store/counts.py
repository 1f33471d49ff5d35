"""How many are held and erased, over time: what charts and tables of numbers show. It all follows from the log.

A row says how a system stood after an epoch that touched it. System "" is all systems of a party together, and the
origin as the party is the whole log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from attest.formats.state import SystemHead
from attest.ledger.epoch import Ledger
from attest.store.db import Database, counts, epochs
from attest.store.history import History, new_ledger

ALL: Final = ""


@dataclass(frozen=True, slots=True)
class Count:
    """How a system stood after an epoch."""

    epoch: int
    time: int
    size: int  # of the log after that epoch
    held: int
    erased: int
    reheld: int


@dataclass(frozen=True, slots=True)
class Active:
    """When a party's systems were last touched."""

    party: str
    epoch: int
    time: int


def changed(before: Ledger, after: Ledger, epoch: int) -> list[dict[str, Any]]:
    """Return the rows of one epoch, between the ledgers before and after it."""
    touched = [name for name, head in after.systems.items() if before.systems.get(name) is not head]
    found = [_row(*name, epoch, [after.systems[name]]) for name in touched]
    found += [_row(party, ALL, epoch, after.systems_of(party)) for party in sorted({party for party, _ in touched})]
    if touched:
        found.append(_row(after.origin, ALL, epoch, list(after.systems.values())))
    return found


def fill(db: Database, history: History) -> int:
    """Make up for the epochs of a log that is older than this table; return how many were replayed.

    Raises:
        AttestError: the log cannot be replayed.
    """
    head = history.log.last_epoch()
    with db.read() as transaction:
        known = transaction.execute(sa.select(counts.c.epoch).limit(1)).first()
    if head is None or known is not None:
        return 0
    ledger = new_ledger()
    with db.write() as transaction:
        for done in history.replay(ledger, head.size, proofs_from=head.number + 1):
            if rows := changed(ledger, done.ledger, done.record.number):
                transaction.execute(sa.insert(counts), rows)
            ledger = done.ledger
    return head.number + 1


class Counts:
    """Reads the table. Every method is one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def page(self, party: str, system: str, before: int, limit: int) -> list[Count]:
        """Return how a system stood after the epochs below `before` that touched it, newest first."""
        query = (
            sa.select(*_COUNT)
            .join_from(counts, epochs, epochs.c.number == counts.c.epoch)
            .where(counts.c.party == party, counts.c.system == system, counts.c.epoch < before)
            .order_by(counts.c.epoch.desc())
            .limit(limit)
        )
        with self._db.read() as transaction:
            return [Count(*row) for row in transaction.execute(query)]

    def first(self, party: str, system: str) -> Count | None:
        """Return how a system first stood."""
        query = (
            sa.select(*_COUNT)
            .join_from(counts, epochs, epochs.c.number == counts.c.epoch)
            .where(counts.c.party == party, counts.c.system == system)
            .order_by(counts.c.epoch)
            .limit(1)
        )
        with self._db.read() as transaction:
            row = transaction.execute(query).first()
        return None if row is None else Count(*row)

    def sampled(self, party: str, systems: Sequence[str], times: Sequence[int]) -> dict[str, list[Count | None]]:
        """Return how each system stood at each of some ascending times; None: it was not touched before.

        One seek for each, however long the history is.
        """
        if not systems or not times:
            return {}
        moments = sorted(set(times))
        values = {f"t{n}": time for n, time in enumerate(moments)} | {f"s{n}": name for n, name in enumerate(systems)}
        query = _sampling(len(moments), len(systems))
        found: dict[tuple[str, int], Count] = {}
        with self._db.read() as transaction:
            for system, asked, *rest in transaction.execute(query, {"party": party, **values}):
                found[system, asked] = Count(*rest)
        return {system: [found.get((system, time)) for time in times] for system in systems}

    def active(self, origin: str, limit: int) -> list[Active]:
        """Return the parties whose systems were touched last, newest first; from the last changes."""
        query = (
            sa.select(counts.c.party, counts.c.epoch, epochs.c.time)
            .join_from(counts, epochs, epochs.c.number == counts.c.epoch)
            .where(counts.c.system == ALL, counts.c.party != origin)
            .order_by(counts.c.epoch.desc(), counts.c.party)
            .limit(_LOOKED_AT)
        )
        found: dict[str, Active] = {}
        with self._db.read() as transaction:
            for row in transaction.execute(query):
                found.setdefault(row.party, Active(*row))
        return list(found.values())[:limit]


_LOOKED_AT: Final = 200
_COUNT: Final = (counts.c.epoch, epochs.c.time, epochs.c.size, counts.c.held, counts.c.erased, counts.c.reheld)


@lru_cache(maxsize=64)
def _sampling(times: int, systems: int) -> sa.TextClause:
    """Return the query of `Counts.sampled` for so many of each. Written out: built, it took longer than to run."""
    moments = ", ".join(f"(CAST(:t{n} AS BIGINT))" for n in range(times))
    names = ", ".join(f"(CAST(:s{n} AS TEXT))" for n in range(systems))
    return sa.text(
        f"""
        WITH asked(moment) AS (VALUES {moments}), named(name) AS (VALUES {names}), ends AS (
            SELECT moment, (
                SELECT number FROM epochs WHERE epochs.time <= moment ORDER BY epochs.time DESC LIMIT 1
            ) AS number FROM asked
        )
        SELECT name, moment, counts.epoch, epochs.time, epochs.size, counts.held, counts.erased, counts.reheld
        FROM named CROSS JOIN ends
        JOIN counts ON counts.party = :party AND counts.system = name AND counts.epoch = (
            SELECT MAX(up_to.epoch) FROM counts AS up_to
            WHERE up_to.party = :party AND up_to.system = name AND up_to.epoch <= ends.number
        )
        JOIN epochs ON epochs.number = counts.epoch
        """  # noqa: S608  # numbers only
    )


def _row(party: str, system: str, epoch: int, heads: Sequence[SystemHead]) -> dict[str, Any]:
    return {
        "party": party,
        "system": system,
        "epoch": epoch,
        "held": sum(head.held for head in heads),
        "erased": sum(head.erased for head in heads),
        "reheld": sum(head.reheld for head in heads),
    }
