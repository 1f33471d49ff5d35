"""The lease: of all processes on one database, one sequences.

It saves work and keeps the log alive; what keeps it from forking is the compare-and-swap in every commit, which also
checks the lease's token, so that a process that slept through the loss of its lease commits nothing.
"""

import secrets
from dataclasses import dataclass, field

import sqlalchemy as sa

from attest.errors import Conflict
from attest.store.db import Clock, Database, Transaction, insert_if_new, lease

_NAME = "sequencer"


@dataclass(slots=True)
class Lease:
    """One process's wish to be the sequencer."""

    db: Database
    clock: Clock
    length_s: int
    owner: str = field(default_factory=lambda: secrets.token_hex(16))
    _token: int | None = None

    def acquire(self) -> bool:
        """Take or renew the lease; tell whether it is ours."""
        now = int(self.clock())
        # A renewal in every step would be a commit in every step.
        mine = (lease.c.owner == self.owner) & (lease.c.expires > now + self.length_s // 2)
        with self.db.read() as transaction:
            found = transaction.execute(sa.select(lease.c.token).where(lease.c.name == _NAME, mine)).scalar()
            other = transaction.execute(
                sa.select(lease.c.owner).where(
                    lease.c.name == _NAME, lease.c.owner != self.owner, lease.c.expires > now
                )
            ).scalar()
        if found is not None and found == self._token:
            return True
        if other is not None:
            self._token = None
            return False
        with self.db.write() as transaction:
            self._token = self._take(transaction, now)
        return self._token is not None

    def _take(self, transaction: Transaction, now: int) -> int | None:
        row = transaction.execute(sa.select(lease).where(lease.c.name == _NAME).with_for_update()).one_or_none()
        if row is None:
            first = {"name": _NAME, "owner": self.owner, "token": 1, "expires": now + self.length_s}
            return 1 if insert_if_new(transaction, lease, first) else None
        if row.owner != self.owner and row.expires > now:
            return None
        # An expired lease of our own may have been lost and won back in between: a new token then, too.
        token: int = row.token + (row.owner != self.owner or row.expires <= now)
        transaction.execute(
            sa.update(lease)
            .where(lease.c.name == _NAME)
            .values(owner=self.owner, token=token, expires=now + self.length_s)
        )
        return token

    def confirm(self, transaction: Transaction) -> None:
        """Check, inside the transaction that needs it, that nobody took over. Raises `Conflict`: `sequencer/lease`."""
        held = transaction.execute(
            sa.update(lease)
            .where(lease.c.name == _NAME, lease.c.owner == self.owner, lease.c.token == (self._token or 0))
            .values(owner=self.owner)
        )
        if held.rowcount != 1:
            raise Conflict("sequencer/lease", "another process sequences this log now")

    def release(self) -> None:
        """Let the next process have it at once."""
        self._token = None
        with self.db.write() as transaction:
            transaction.execute(
                sa.update(lease).where(lease.c.name == _NAME, lease.c.owner == self.owner).values(expires=0)
            )
