"""What a witness stores: the newest checkpoint it cosigned of every log, forks that it was shown, and, for a state
witness, how far it has checked each log.

Spec: docs/spec/witness.md.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import sqlalchemy as sa

from attest.errors import Conflict
from attest.formats.checkpoint import Checkpoint
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
    sa.Column("cosigned", sa.Text),  # what it contradicts; null where it contradicts itself
)

_REPLACE: Final = (
    sa.update(db.register)
    .where(db.register.c.origin == sa.bindparam("of"), db.register.c.checkpoint == sa.bindparam("old"))
    .values(checkpoint=sa.bindparam("new"))
)


def origins(transaction: Transaction) -> list[str]:
    """List every log that was ever cosigned."""
    return list(transaction.execute(sa.select(db.register.c.origin).order_by(db.register.c.origin)).scalars())


@dataclass(frozen=True, slots=True)
class Fork:
    """Two checkpoints of one size that a log signed, as notes."""

    checkpoint: str
    cosigned: str | None  # what we had cosigned; None: the empty tree with another root, which contradicts itself


def keep_fork(transaction: Transaction, signed: Checkpoint, fork: Fork, time: int) -> None:
    """Keep a log's signed contradiction, unless it or enough others are kept already."""
    if fork_count(transaction, signed.origin) < _FORKS:
        place = {"origin": signed.origin, "size": signed.size, "root": signed.root}
        notes = {"checkpoint": fork.checkpoint, "cosigned": fork.cosigned}
        insert_if_new(transaction, forks, {**place, "time": time, **notes})


def kept_forks(transaction: Transaction, origin: str) -> list[Fork]:
    """List a log's contradictions, the smallest first."""
    columns = forks.c.checkpoint, forks.c.cosigned
    kept = transaction.execute(sa.select(*columns).where(forks.c.origin == origin).order_by(forks.c.size, forks.c.root))
    return [Fork(checkpoint, cosigned) for checkpoint, cosigned in kept]


def fork_count(transaction: Transaction, origin: str) -> int:
    """Say how many contradictions of a log are kept."""
    count = sa.select(sa.func.count()).where(forks.c.origin == origin)
    return int(transaction.execute(count).scalar_one())


def standings(transaction: Transaction) -> dict[str, tuple[str | None, int]]:
    """Return what is stored of every log: the newest checkpoint cosigned, and how many forks are kept."""
    kept = transaction.execute(sa.select(forks.c.origin, sa.func.count()).group_by(forks.c.origin))
    found: dict[str, tuple[str | None, int]] = {origin: (None, count) for origin, count in kept}
    for origin, checkpoint in transaction.execute(sa.select(db.register.c.origin, db.register.c.checkpoint)):
        found[origin] = checkpoint, found.get(origin, (None, 0))[1]
    return found


Asked = TypeVar("Asked")
Made = TypeVar("Made")


@dataclass(slots=True, eq=False)
class _Move(Generic[Asked, Made]):
    """One log goes from one stored checkpoint to the next."""

    origin: str
    old: str | None
    asked: Asked
    done: Future[tuple[str, Made]] = field(default_factory=Future)


class Writer(Generic[Asked, Made]):
    """Moves registers forward, many at a time: signers and disk are waited for once for all who wait."""

    def __init__(self, database: Database, make: Callable[[list[Asked]], list[tuple[str, Made]]]) -> None:
        """Start the one thread that writes.

        Args:
            make: makes of each thing asked what is stored of its log, and what else the asker wants to know.
        """
        self._db = database
        self._make = make
        self._moves: queue.SimpleQueue[_Move[Asked, Made] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="witness-writer", daemon=True)
        self._thread.start()

    def replace(self, origin: str, old: str | None, asked: Asked) -> tuple[str, Made]:
        """Store what is made of `asked` durably if `old` is still stored, and return it.

        Raises:
            Conflict: `register/moved`.
            Unavailable: `store/full`, `store/database`; after the latter nobody knows whether it is stored.
        """
        move = _Move[Asked, Made](origin, old, asked)
        self._moves.put(move)
        return move.done.result()

    def close(self) -> None:
        """Write what waits, and stop."""
        self._moves.put(None)
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            # Those who came while the last ones were made and stored are the next.
            batch = [self._moves.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH:
                    batch.append(self._moves.get_nowait())
            moves = [move for move in batch if move is not None]
            last = len(moves) < len(batch)
            self._make_and_store(moves)

    def _make_and_store(self, moves: list[_Move[Asked, Made]]) -> None:
        try:
            made = self._make([move.asked for move in moves])
        except BaseException as error:
            # What cannot be made takes nobody else's move with it.
            if len(moves) == 1:
                moves[0].done.set_exception(error)
            else:
                for move in moves:
                    self._make_and_store([move])
            return
        self._store(list(zip(moves, made, strict=True)))

    def _store(self, made: list[tuple[_Move[Asked, Made], tuple[str, Made]]]) -> None:
        # Two moves of one log, or one that fails, are told apart one by one.
        together = [each for each in made if each[0].old is not None]
        if len({move.origin for move, _ in together}) < len(together) or not self._replace_all(together):
            together = []
        for each in made:
            if each not in together:
                self._replace(*each)

    def _replace_all(self, made: list[tuple[_Move[Asked, Made], tuple[str, Made]]]) -> bool:
        """Store all in one transaction, or none: then what went wrong shows when each is stored by itself."""
        if not made:
            return True
        rows = [{"of": move.origin, "old": move.old, "new": new} for move, (new, _) in made]
        try:
            with self._db.write() as transaction:
                if transaction.execute(_REPLACE, rows).rowcount != len(rows):
                    raise Conflict("register/moved", "one of them has moved")
        except Exception:
            return False
        for move, stored in made:
            move.done.set_result(stored)
        return True

    def _replace(self, move: _Move[Asked, Made], made: tuple[str, Made]) -> None:
        try:
            with self._db.write() as transaction:
                register.replace(transaction, move.origin, move.old, made[0])
        except BaseException as error:
            move.done.set_exception(error)
        else:
            move.done.set_result(made)
