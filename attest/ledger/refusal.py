"""Replaying an epoch, and proving to whoever has no maps why the rules refuse it.

Spec: docs/spec/transition.md.
"""

from collections.abc import Callable, Sequence

from attest.encoding import Hash
from attest.errors import AttestError, Malformed, Unavailable
from attest.formats.rows import RowFile
from attest.formats.statement import Hold, Statement, Tombstone
from attest.ledger.epoch import Draft, Ledger, Seen, replay_epoch
from attest.ledger.transition import Anchor, prove_refused


class RefusedEpoch(Exception):
    """An epoch that the rules refuse, where it begins, and a transition proof that is refused for the same reason."""

    def __init__(self, error: AttestError, anchor: Anchor, transition: bytes, position: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.anchor = anchor
        self.transition = transition
        self.position = position  # of the entry that is refused


def replay_or_refuse(
    base: Ledger, entries: Sequence[bytes], rows: Callable[[Hash], bytes | RowFile], seen: Seen | None = None
) -> Ledger:
    """Judge the entries of one epoch over everything; return the ledger after it.

    Args:
        rows: gives the row file with a root, parsed or not; may raise `Unavailable`.
        seen: is told of every entry that was accepted.

    Raises:
        RefusedEpoch: the rules refuse it.
        Unavailable: as `rows` and `rules.judge`.
    """
    draft = Draft(base)
    try:
        return replay_epoch(base, draft, entries, rows, seen)
    except Unavailable:
        raise
    except AttestError as error:
        transition = prove_refused(base, draft, entries, _rows_of(entries[len(draft.entries)], rows))
        raise RefusedEpoch(error, Anchor.of(base), transition, draft.position) from error


def _rows_of(entry: bytes, rows: Callable[[Hash], bytes | RowFile]) -> RowFile | None:
    """Return the row file that a refused entry names; None if it names none that is there and can be read."""
    try:
        payload = Statement.parse(entry).payload
        if not isinstance(payload, Hold | Tombstone):
            return None
        found = rows(payload.root)
        return found if isinstance(found, RowFile) else RowFile.parse(found)
    except (Malformed, Unavailable):
        return None
