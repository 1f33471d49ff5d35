"""The register: it keeps a signer from contradicting itself.

The sequencer keeps what it last signed here, a witness what it last cosigned, an auditor what it last verified.
"""

import sqlalchemy as sa

from attest.errors import Conflict
from attest.store.db import Transaction, register


def read(transaction: Transaction, origin: str) -> str | None:
    """Return the stored checkpoint, or None before the first."""
    found: str | None = transaction.execute(
        sa.select(register.c.checkpoint).where(register.c.origin == origin)
    ).scalar_one_or_none()
    return found


def replace(transaction: Transaction, origin: str, old: str | None, new: str) -> None:
    """Store `new` if `old` is still stored. Raises `Conflict`: `register/moved`."""
    if old is None:
        try:
            transaction.execute(sa.insert(register).values(origin=origin, checkpoint=new))
        except sa.exc.IntegrityError:
            raise Conflict("register/moved", f"{origin} has a checkpoint already") from None
        return
    changed = transaction.execute(
        sa.update(register).where(register.c.origin == origin, register.c.checkpoint == old).values(checkpoint=new)
    )
    if changed.rowcount != 1:
        raise Conflict("register/moved", f"another process signed for {origin} in between")
