"""The one error tree. Five kinds; each instance carries a stable code that docs/errors.md explains."""

from collections.abc import Sequence


class AttestError(Exception):
    """Something a caller can act on: a stable `code`, and what was found and expected.

    Attributes:
        code: `area/name`, stable for ever once published.
        message: one line for a person, without personal data or secrets.
        rows: zero-based offending rows of a row file, at most 16, where rows are at fault.
        hint: what to do next, or None.
    """

    def __init__(self, code: str, message: str, *, rows: Sequence[int] = (), hint: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.rows = tuple(rows)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Malformed(AttestError):
    """The bytes are not what they have to be, whoever made them."""


class Untrusted(AttestError):
    """Well formed, but nobody we were told to trust stands behind it."""


class Conflict(AttestError):
    """Refused because of what is already there: a stale sequence number, a held record, a lost race."""


class Refuted(AttestError):
    """A claim contradicts the evidence that comes with it."""


class Unavailable(AttestError):
    """Cannot be decided or served now: a missing part, an unknown rule set, an overloaded service."""
