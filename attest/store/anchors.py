"""Anchors: up to where a state witness has checked each log. They keep it from starting again from entry 0."""

import sqlalchemy as sa

from attest.encoding import decode_cbor, encode_cbor, labelled
from attest.errors import AttestError, Conflict, Malformed
from attest.formats.statement import Epoch, Log, Statement
from attest.ledger.transition import Anchor
from attest.store.db import Database, Transaction

anchors = sa.Table(
    "anchors",
    sa.MetaData(),
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("previous", sa.LargeBinary, nullable=False),  # the epoch entry at size - 1
    sa.Column("genesis", sa.LargeBinary, nullable=False),  # the payload of entry 0
    sa.Column("digest", sa.LargeBinary, nullable=False),  # over all of these
)


class AnchorStore:
    """Reads and moves anchors. Every method is one transaction."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def read(self, origin: str) -> Anchor | None:
        """Return how far a log has been checked, None if never. Raises `Malformed`: `anchor/damaged`."""
        with self.db.read() as transaction:
            row = transaction.execute(sa.select(anchors).where(anchors.c.origin == origin)).one_or_none()
        if row is None:
            return None
        # A damaged anchor would have us refute an honest log, or vouch for what nobody has checked.
        if row.digest != _digest(origin, row.size, row.root, row.previous, row.genesis):
            raise Malformed("anchor/damaged", f"what is stored of {origin} is not what was written")
        try:
            previous = Statement.parse(row.previous)
            return Anchor(Log.parse(decode_cbor(row.genesis)), row.size, row.root, previous)
        except AttestError as error:
            raise Malformed("anchor/damaged", f"what is stored of {origin} cannot be read: {error.message}") from None

    def move(self, origin: str, old: Anchor | None, new: Anchor) -> None:
        """Store `new` if `old` is still stored. Raises `Conflict`: `anchor/moved`."""
        if new.genesis is None or new.previous is None or not isinstance(new.previous.payload, Epoch):
            raise ValueError("an anchor stands behind an epoch")
        genesis = encode_cbor(new.genesis.fields())
        values = {
            "size": new.size,
            "root": new.root,
            "previous": new.previous.entry,
            "genesis": genesis,
            "digest": _digest(origin, new.size, new.root, new.previous.entry, genesis),
        }
        with self.db.write() as transaction:
            _move(transaction, origin, old, values)

    def forget(self, origin: str) -> None:
        """Forget a log: it is checked again from entry 0."""
        with self.db.write() as transaction:
            transaction.execute(sa.delete(anchors).where(anchors.c.origin == origin))


def _move(transaction: Transaction, origin: str, old: Anchor | None, values: dict[str, object]) -> None:
    if old is None:
        try:
            transaction.execute(sa.insert(anchors).values(origin=origin, **values))
        except sa.exc.IntegrityError:
            raise Conflict("anchor/moved", f"another process has begun to check {origin}") from None
        return
    changed = transaction.execute(
        sa.update(anchors)
        .where(anchors.c.origin == origin, anchors.c.size == old.size, anchors.c.root == old.root)
        .values(**values)
    )
    if changed.rowcount != 1:
        raise Conflict("anchor/moved", f"another process checks {origin}")


def _digest(origin: str, size: int, root: bytes, previous: bytes, genesis: bytes) -> bytes:
    return labelled("anchor", origin.encode(), str(size).encode(), root, previous, genesis)
