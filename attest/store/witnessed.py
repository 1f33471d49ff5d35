"""What a witness stores: the newest checkpoint it cosigned of every log, forks that it was shown, and, for a state
witness, how far it has checked each log.

Spec: docs/spec/witness.md.
"""

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from attest.encoding import Hash
from attest.errors import Conflict
from attest.store import db, register
from attest.store.db import Database, Transaction, insert_if_new

_BATCH: Final = 256  # moves in one transaction
_FORKS: Final = 16  # kept of one log: one is proof enough

_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData()
db.register.to_metadata(metadata)

# Checkpoints that a log signed and that contradict what we cosigned: evidence against the log.
forks = sa.Table(
    "forks",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("size", _Big, primary_key=True, autoincrement=False),
    sa.Column("root", sa.LargeBinary, primary_key=True),
    sa.Column("time", _Big, nullable=False),
    sa.Column("checkpoint", sa.Text, nullable=False),
)


def origins(transaction: Transaction) -> list[str]:
    """List every log that was ever cosigned."""
    return list(transaction.execute(sa.select(db.register.c.origin).order_by(db.register.c.origin)).scalars())


def keep_fork(transaction: Transaction, origin: str, size: int, root: Hash, time: int, checkpoint: str) -> None:
    """Keep a log's signed contradiction, unless it or enough others are kept already."""
    if fork_count(transaction, origin) < _FORKS:
        values = {"origin": origin, "size": size, "root": root, "time": time, "checkpoint": checkpoint}
        insert_if_new(transaction, forks, values)


def fork_count(transaction: Transaction, origin: str) -> int:
    """Say how many contradictions of a log are kept."""
    count = sa.select(sa.func.count()).where(forks.c.origin == origin)
    return int(transaction.execute(count).scalar_one())


@dataclass(slots=True)
class _Move:
    """One log goes from one stored checkpoint to the next."""

    origin: str
    old: str | None
    new: str
    done: Future[bool] = field(default_factory=Future)  # False: something else was stored


class Writer:
    """Moves registers forward, many in one transaction: the disk is waited for once for all who wait at the time."""

    def __init__(self, database: Database) -> None:
        """Start the one thread that writes."""
        self._db = database
        self._moves: queue.SimpleQueue[_Move | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="witness-writer", daemon=True)
        self._thread.start()

    def replace(self, origin: str, old: str | None, new: str) -> None:
        """Store `new` durably if `old` is still stored.

        Raises:
            Conflict: `register/moved`.
            Unavailable: `store/full`, `store/database`; after the latter nobody knows whether it is stored.
        """
        move = _Move(origin, old, new)
        self._moves.put(move)
        if not move.done.result():
            raise Conflict("register/moved", f"another process signed for {origin} in between")

    def close(self) -> None:
        """Write what waits, and stop."""
        self._moves.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (move := self._moves.get()) is not None:
            batch, last = [move], False
            while len(batch) < _BATCH and not last:
                try:
                    more = self._moves.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                else:
                    batch.append(more)
            # A first checkpoint is inserted, and an insert that fails ends its transaction: each has its own.
            for each in batch:
                if each.old is None:
                    self._commit([each])
            self._commit([each for each in batch if each.old is not None])
            if last:
                return

    def _commit(self, moves: list[_Move]) -> None:
        if not moves:
            return
        moved: list[bool] = []
        try:
            with self._db.write() as transaction:
                for move in moves:
                    try:
                        register.replace(transaction, move.origin, move.old, move.new)
                    except Conflict:
                        if move.old is None:
                            raise
                        moved.append(False)
                    else:
                        moved.append(True)
        except Conflict:
            moved = [False]
        except BaseException as error:
            for move in moves:
                move.done.set_exception(error)
            return
        for move, done in zip(moves, moved, strict=True):
            move.done.set_result(done)
