"""What all exhibits have in common.

Spec: docs/spec/evidence.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, Self

from attest.encoding import ZERO, Hash
from attest.errors import AttestError, Malformed
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.merkle.tree import leaf_hash, verify_inclusion

_MAX_PATH: Final = 64  # hashes


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry and the path that proves it under the checkpoint."""

    position: int
    entry: bytes
    path: Sequence[Hash]

    def verify(self, checkpoint: Checkpoint) -> None:
        """Raises as `verify_inclusion`."""
        verify_inclusion(leaf_hash(self.entry), self.position, checkpoint.size, checkpoint.root, self.path)

    def fields(self) -> list[Any]:
        """Return what goes into a file."""
        return [self.position, self.entry, list(self.path)]

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns. Raises `Malformed`: `evidence/format`."""
        position, entry, path = members(found, int, bytes, list)
        return cls(position, entry, many_hashes(path))


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody sees who looks at an exhibit.

    Attributes:
        refusal: the lie, under its code.
        committed: the log's signature stands under it. Otherwise the evidence shows what somebody says the log has
            served, and what it should have been.
        word: that it is so at all is the word of whoever kept it: nobody can prove that something was not served, or
            that nothing newer was.
    """

    refusal: AttestError
    committed: bool
    word: bool = False

    @property
    def sentence(self) -> str:
        """Say whose word it is."""
        if self.committed:
            return "the log's own signature stands under this; it does not show that what came before was right"
        if self.word:
            return "that it was so is the word of whoever kept this; see for yourself"
        return "these bytes are not what the log has committed; that it served them is the word of whoever kept this"


class Exhibit(Protocol):
    """One kind of exhibit."""

    KIND: ClassVar[str]

    def fields(self) -> dict[str, Any]:
        """Return what goes into a file, as CBOR values."""

    def identity(self) -> list[Any]:
        """Return what makes it this lie and no other, whichever later checkpoint it is shown under."""

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """Find the lie again, beside a checkpoint whose signatures by the log are checked.

        Raises:
            AttestError: the exhibit does not show it.
        """


# --- shapes: each returns what it has checked, or raises `Malformed`: `evidence/format` ---


def shaped(found: Any, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Read a map with exactly these fields of these types."""
    if not isinstance(found, dict) or found.keys() != shape.keys():
        raise Malformed("evidence/format", f"want exactly the fields {', '.join(sorted(shape)) or '(none)'}")
    for name, kind in shape.items():
        _check_type(name, found[name], kind)
    return found


def members(found: Any, *kinds: Any) -> tuple[Any, ...]:
    """Read a list with exactly these types."""
    if not isinstance(found, list) or len(found) != len(kinds):
        raise Malformed("evidence/format", f"want a list of {len(kinds)}")
    for number, (member, kind) in enumerate(zip(found, kinds, strict=True)):
        _check_type(str(number), member, kind)
    return tuple(found)


def _check_type(name: str, found: Any, kind: Any) -> None:
    if not isinstance(found, kind) or isinstance(found, bool) or (isinstance(found, int) and found < 0):
        raise Malformed("evidence/format", f"{name} is not of its type")


def one_hash(found: bytes) -> Hash:
    """Read 32 bytes."""
    if len(found) != len(ZERO):
        raise Malformed("evidence/format", f"want a hash, found {len(found)} bytes")
    return found


def many_hashes(found: Sequence[Any]) -> tuple[Hash, ...]:
    """Read the hashes of a path."""
    if len(found) > _MAX_PATH or not all(isinstance(each, bytes) for each in found):
        raise Malformed("evidence/format", f"want at most {_MAX_PATH} hashes")
    return tuple(one_hash(each) for each in found)
