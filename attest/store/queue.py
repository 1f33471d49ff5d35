"""The queue: statements that are accepted for sequencing, wait for their row file, or were refused."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from attest.encoding import Hash
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.statement import Hold, Statement, Tombstone
from attest.store.db import Transaction, insert_if_new, queue

ROWS: Final = "rows"
PENDING: Final = "pending"
REFUSED: Final = "refused"

_KINDS: Final = {kind.__name__.lower(): kind for kind in (Malformed, Untrusted, Conflict, Refuted, Unavailable)}
_CHUNK: Final = 500  # bound variables in one query


@dataclass(frozen=True, slots=True)
class Queued:
    """What the queue says about one statement."""

    leaf: Hash
    state: str
    rows_root: Hash | None
    promise: bytes | None
    promise_by: int | None
    refusal: bytes | None
    error: AttestError | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending statement, without its bytes."""

    id: int  # ascending by arrival
    issuer: str
    stream: str
    seq: int
    kind: str
    row_count: int
    promise_by: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How much waits."""

    pending: int  # statements of anybody, complete
    party: int  # statements of one party, complete or not
    party_rows: int  # the rows they name
    party_uploads: int  # those of them that wait for their row file


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal that is to be stored."""

    leaf: Hash
    refusal: bytes
    error: AttestError


def add(
    transaction: Transaction, statement: Statement, *, now: int, promise: bytes | None, promise_by: int | None
) -> None:
    """Queue a statement: as pending if there is a promise, otherwise as waiting for its row file.

    Raises:
        Conflict: `queue/known`, it is here already.
    """
    payload = statement.payload
    rows = payload if isinstance(payload, Hold | Tombstone) else None
    values = {
        "leaf": statement.leaf,
        "entry": statement.entry,
        "issuer": party_of(statement),
        "stream": statement.stream,
        "seq": statement.seq,
        "kind": payload.KIND,
        "rows_root": None if rows is None else rows.root,
        "row_count": None if rows is None else rows.count,
        "state": ROWS if promise is None else PENDING,
        "received": now,
        "promise": promise,
        "promise_by": promise_by,
    }
    if not insert_if_new(transaction, queue, values):
        raise Conflict("queue/known", "the statement is queued already")


def find(transaction: Transaction, leaf: Hash) -> Queued | None:
    """Return what is known of a statement, None if it is not here."""
    row = transaction.execute(sa.select(queue).where(queue.c.leaf == leaf)).one_or_none()
    return None if row is None else _queued(row)


def entry(transaction: Transaction, leaf: Hash) -> bytes | None:
    """Return a statement's bytes, None if it is not here."""
    found: bytes | None = transaction.execute(sa.select(queue.c.entry).where(queue.c.leaf == leaf)).scalar_one_or_none()
    return found


def claims(transaction: Transaction, root: Hash) -> list[tuple[Hash, int, str]]:
    """Return leaf hash, row count and state of the statements that name a row file."""
    rows = transaction.execute(
        sa.select(queue.c.leaf, queue.c.row_count, queue.c.state).where(queue.c.rows_root == root).order_by(queue.c.id)
    )
    return [(row.leaf, row.row_count, row.state) for row in rows]


def promise(transaction: Transaction, leaf: Hash, promise: bytes, by: int) -> None:
    """Make a statement pending whose row file has come; nothing happens to one that is no longer waiting for it."""
    transaction.execute(
        sa.update(queue)
        .where(queue.c.leaf == leaf, queue.c.state == ROWS)
        .values(state=PENDING, promise=promise, promise_by=by)
    )


def waiting(transaction: Transaction, limit: int, *, unclaimed: bool = False) -> list[Waiting]:
    """Return pending statements in the order of arrival; `unclaimed` ones, without their row file, too if asked."""
    columns = (
        queue.c.id, queue.c.issuer, queue.c.stream, queue.c.seq, queue.c.kind, queue.c.row_count, queue.c.promise_by
    )  # fmt: skip
    states = (PENDING, ROWS) if unclaimed else (PENDING,)
    rows = transaction.execute(sa.select(*columns).where(queue.c.state.in_(states)).order_by(queue.c.id).limit(limit))
    return [
        Waiting(row.id, row.issuer, row.stream, row.seq, row.kind, row.row_count or 0, row.promise_by or 0)
        for row in rows
    ]


def entries(transaction: Transaction, ids: Sequence[int]) -> dict[int, tuple[bytes, bytes | None]]:
    """Return bytes and promise of pending statements by id."""
    found: dict[int, tuple[bytes, bytes | None]] = {}
    for start in range(0, len(ids), _CHUNK):
        chosen = ids[start : start + _CHUNK]
        for row in transaction.execute(
            sa.select(queue.c.id, queue.c.entry, queue.c.promise).where(queue.c.id.in_(chosen))
        ):
            found[row.id] = row.entry, row.promise
    return found


def counts(transaction: Transaction, issuer: str) -> Counts:
    """Count what waits, of anybody and of one issuer."""
    pending = sa.select(sa.func.count()).select_from(queue).where(queue.c.state == PENDING)
    own = sa.select(queue.c.state, sa.func.count(), sa.func.coalesce(sa.func.sum(queue.c.row_count), 0))
    own = own.where(queue.c.issuer == issuer, queue.c.state.in_((ROWS, PENDING))).group_by(queue.c.state)
    found = {row[0]: (int(row[1]), int(row[2])) for row in transaction.execute(own)}
    uploads, rows_awaited = found.get(ROWS, (0, 0))
    party_pending, rows_here = found.get(PENDING, (0, 0))
    return Counts(transaction.execute(pending).scalar_one(), party_pending + uploads, rows_awaited + rows_here, uploads)


def states(transaction: Transaction) -> dict[str, int]:
    """Return how many statements are in which state."""
    query = sa.select(queue.c.state, sa.func.count()).group_by(queue.c.state)
    return {row[0]: row[1] for row in transaction.execute(query)}


def others_waiting(transaction: Transaction, issuer: str) -> int:
    """Count what waits, complete or not, of all but one issuer."""
    query = sa.select(sa.func.count()).select_from(queue).where(queue.c.state.in_((PENDING, ROWS)))
    found: int = transaction.execute(query.where(queue.c.issuer != issuer)).scalar_one()
    return found


def is_pending(transaction: Transaction, issuer: str, kind: str) -> bool:
    """Tell whether a statement of this kind by this issuer is pending."""
    query = sa.select(queue.c.id).where(queue.c.issuer == issuer, queue.c.state == PENDING, queue.c.kind == kind)
    return transaction.execute(query.limit(1)).first() is not None


def remove(transaction: Transaction, leaves: Iterable[Hash]) -> None:
    """Take statements out: they are in the log now."""
    gone = list(leaves)
    for start in range(0, len(gone), _CHUNK):
        transaction.execute(sa.delete(queue).where(queue.c.leaf.in_(gone[start : start + _CHUNK])))


def refuse(transaction: Transaction, rejections: Iterable[Rejection]) -> None:
    """Store refusals."""
    for each in rejections:
        transaction.execute(
            sa.update(queue)
            .where(queue.c.leaf == each.leaf)
            .values(
                state=REFUSED,
                refusal=each.refusal,
                refused_as=type(each.error).__name__.lower(),
                refused_code=each.error.code,
                refused_message=each.error.message,
                refused_rows=" ".join(map(str, each.error.rows)),
            )
        )


def expire(transaction: Transaction, before: int) -> int:
    """Forget statements that have waited for their row file since `before`; return how many."""
    gone = transaction.execute(sa.delete(queue).where(queue.c.state == ROWS, queue.c.received < before))
    return gone.rowcount


def wanted_roots(transaction: Transaction, roots: Collection[Hash]) -> set[Hash]:
    """Return those row files that a statement in the queue, not refused, still names."""
    query = sa.select(queue.c.rows_root).where(queue.c.rows_root.in_(list(roots)), queue.c.state != REFUSED)
    return set(transaction.execute(query).scalars())


def party_of(statement: Statement) -> str:
    """Return the party id, or the origin, that a statement's issuer stands for."""
    return statement.issuer.removeprefix("https://")


def _queued(row: Any) -> Queued:
    error = None
    if row.state == REFUSED:
        kind = _KINDS.get(row.refused_as, Conflict)
        error = kind(row.refused_code, row.refused_message, rows=[int(n) for n in row.refused_rows.split(" ") if n])
    return Queued(row.leaf, row.state, row.rows_root, row.promise, row.promise_by, row.refusal, error)
