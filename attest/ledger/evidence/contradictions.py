"""What a holder has signed against itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, TypeAlias

from attest.crypto import keys as crypto_keys
from attest.encoding import Hash
from attest.errors import Malformed, Refuted
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.rows import RowProof
from attest.formats.statement import Epoch, Hold, Keys, Party, Statement, Tombstone, issuer_of
from attest.ledger.evidence.exhibit import Shown, Sight, many_hashes, members, shaped


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Statements of one holder about one record, which cannot all be true.

    The keys they are signed with are those that the entries shown in `keys` admit.
    """

    KIND: ClassVar[str] = "contradiction"
    keys: Sequence[Shown]  # party/1 or keys/1, one for each statement
    statements: Sequence[Shown]  # ascending
    rows: Sequence[RowProof]  # of the one record in each of them
    epoch: Shown | None = None  # the last before the first statement

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`."""
        whole = signed.checkpoint
        if not 1 <= len(self.statements) == len(self.keys) == len(self.rows):
            raise Malformed("evidence/format", "want a key and a row for each statement")
        for each in (*self.keys, *self.statements, *([] if self.epoch is None else [self.epoch])):
            each.verify(whole)
        statements = [Statement.parse(each.entry) for each in self.statements]
        first = statements[0]
        for shown, key, statement, row in zip(self.statements, self.keys, statements, self.rows, strict=True):
            payload = statement.payload
            if not isinstance(payload, Hold | Tombstone):
                raise Refuted("evidence/differs", f"entry {shown.position} is neither hold nor tombstone")
            if (statement.issuer, statement.stream) != (first.issuer, first.stream):
                raise Refuted("evidence/differs", "statements about two systems")
            _verify_by(key, statement)
            row.verify(payload.count, payload.root)
            if row.index != self.rows[0].index:
                raise Refuted("evidence/differs", "rows of two records")
        told = [
            Told(shown.position, statement, row.commitment)
            for shown, statement, row in zip(self.statements, statements, self.rows, strict=True)
        ]
        before = None if self.epoch is None else (self.epoch.position, Statement.parse(self.epoch.entry))
        refusal = CONTRADICTIONS.get(code, _no_contradiction)(told, before)
        # Nothing here shows that the record was not collected anew in between.
        word = refusal.code == "holder/went-on"
        return Sight(refusal, committed=not word, word=word)

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [*(each.entry for each in self.statements), *(each.row for each in self.rows)]

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {
            "keys": [each.fields() for each in self.keys],
            "statements": [each.fields() for each in self.statements],
            "rows": [[row.position, row.row, list(row.path)] for row in self.rows],
            "epoch": None if self.epoch is None else self.epoch.fields(),
        }

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        found = shaped(found, {"keys": list, "statements": list, "rows": list, "epoch": (list, type(None))})
        rows = [members(each, int, bytes, list) for each in found["rows"]]
        return cls(
            tuple(Shown.read(each) for each in found["keys"]),
            tuple(Shown.read(each) for each in found["statements"]),
            tuple(RowProof(position, row, many_hashes(path)) for position, row, path in rows),
            None if found["epoch"] is None else Shown.read(found["epoch"]),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What a holder said of one record."""

    position: int
    statement: Statement
    commitment: Hash


_Before: TypeAlias = tuple[int, Statement] | None  # an epoch: where, and what


def _old_commitment(told: Sequence[Told], _: _Before) -> Refuted:
    """Erased, and then held again with the very commitment: salt and records have survived."""
    erased, held = _pair(told, Tombstone, Hold)
    if erased.commitment != held.commitment:
        return Refuted("none", "the commitment is another one")
    return Refuted(
        "holder/old-commitment",
        f"entry {erased.position} says erased, entry {held.position} holds the same record under the same commitment:"
        " what opens it was kept",
    )


SKEW_S: Final = 300  # by which an honest clock may be behind
GONE_ON: Final = ("backfill", "corrected", "migrated")


def _went_on(told: Sequence[Told], _: _Before) -> Refuted:
    """Erased, and then held again for a reason that only what was there all the time can have."""
    erased, held = _pair(told, Tombstone, Hold)
    payload = held.statement.payload
    if not isinstance(payload, Hold) or payload.cause not in GONE_ON:
        return Refuted("none", "it may have been collected anew")
    return Refuted(
        "holder/went-on",
        f"entry {erased.position} says erased, entry {held.position} holds the same record again as"
        f" {payload.cause}: it had not gone",
    )


def _erased_before_held(told: Sequence[Told], before: _Before) -> Refuted:
    """A hold, after an epoch; and a tombstone of it that claims a time before that epoch."""
    held, erased = _pair(told, Hold, Tombstone)
    payload = erased.statement.payload
    epoch = None if before is None else before[1].payload
    if (
        before is None
        or not isinstance(epoch, Epoch)
        or not isinstance(payload, Tombstone)
        or before[0] > held.position
    ):
        raise Refuted("evidence/differs", "no epoch before the hold is shown")
    if payload.erased_at + SKEW_S >= epoch.time:
        return Refuted("none", "the erasure is not dated before the hold")
    return Refuted(
        "holder/erased-before-held",
        f"entry {erased.position} says erased at {payload.erased_at}, yet entry {held.position} holds the record after"
        f" the epoch of {epoch.time}",
    )


def _no_contradiction(_: Sequence[Told], __: _Before) -> Refuted:
    return Refuted("none", "no such contradiction is known")


CONTRADICTIONS: Final[Mapping[str, Callable[[Sequence[Told], _Before], Refuted]]] = {
    "holder/old-commitment": _old_commitment,
    "holder/went-on": _went_on,
    "holder/erased-before-held": _erased_before_held,
}


def _pair(told: Sequence[Told], first: type, second: type) -> tuple[Told, Told]:
    if (
        len(told) != 2
        or told[0].position >= told[1].position
        or not isinstance(told[0].statement.payload, first)
        or not isinstance(told[1].statement.payload, second)
    ):
        raise Refuted("evidence/differs", f"want {first.__name__} and then {second.__name__}")
    return told[0], told[1]


def _verify_by(key: Shown, statement: Statement) -> None:
    """Check a signature with a key that an entry has admitted for the issuer."""
    admitting = Statement.parse(key.entry)
    payload = admitting.payload
    if isinstance(payload, Party):
        whose, new = issuer_of(payload.id), payload.keys
    elif isinstance(payload, Keys):
        whose = admitting.issuer if admitting.about is None else issuer_of(admitting.about)
        new = payload.add
    else:
        raise Refuted("evidence/differs", f"entry {key.position} admits no key")
    found = next((each.key for each in new if crypto_keys.thumbprint(each.key) == statement.kid), None)
    if found is None or whose != statement.issuer:
        raise Refuted("evidence/differs", f"entry {key.position} does not admit the key that signed")
    statement.verify_signature(found)
