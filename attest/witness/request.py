"""What a log sends to a witness: where the witness stands, the way from there, and the checkpoint at its end.

    old <size>
    base64(hash)              0 to 63 lines, the consistency proof
    (empty line)
    signed checkpoint

Spec: C2SP tlog-witness; docs/spec/witness.md#request.
"""

from dataclasses import dataclass
from typing import Final, Self

from attest.encoding import Hash, encode_base64, parse_base64, parse_decimal
from attest.errors import Malformed
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.note import Note, decode_text

MAX_BODY: Final = 1 << 16  # bytes
MAX_PROOF: Final = 63  # hashes
_OLD: Final = "old "
_LINES: Final = 3  # of a checkpoint, before its extension lines


@dataclass(frozen=True, slots=True)
class ExtendedCheckpoint(Checkpoint):
    """A checkpoint with extension lines, which other logs than ours may write. They count only where a key signs them.

    Type 01 and type 04 sign them, type 06 does not.
    """

    extension: tuple[str, ...]  # at least one line, none empty

    def encode(self) -> str:
        """Write all lines."""
        return Checkpoint.encode(self) + "".join(f"{line}\n" for line in self.extension)


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The body of `POST /add-checkpoint`; no signature in it is verified yet."""

    old_size: int
    proof: tuple[Hash, ...]
    signed: SignedCheckpoint

    @classmethod
    def parse(cls, wire: bytes) -> Self:
        """Read a body.

        Raises:
            Malformed: `witness/size`, `witness/control-character`; `witness/blank-line`, no empty line after the proof;
                `witness/old`, no old size where it belongs; `witness/proof-length`, more than 63 hashes;
                `encoding/…`; `checkpoint/lines`, `checkpoint/origin`; and what `Note.parse` raises.
        """
        head, blank, note = decode_text(wire, MAX_BODY, "witness").partition("\n\n")
        if not blank:
            raise Malformed("witness/blank-line", "no empty line between proof and checkpoint")
        old, *hashes = head.split("\n")
        if not old.startswith(_OLD):
            raise Malformed("witness/old", f"want `old` and a size, found {old[:40]!r}")
        if len(hashes) > MAX_PROOF:
            raise Malformed("witness/proof-length", f"{len(hashes)} hashes, want at most {MAX_PROOF}")
        proof = tuple(parse_base64(each, 32) for each in hashes)
        return cls(parse_decimal(old.removeprefix(_OLD)), proof, parse_signed(note))

    def encode(self) -> bytes:
        """Write the body."""
        proof = "".join(f"{encode_base64(each)}\n" for each in self.proof)
        return f"{_OLD}{self.old_size}\n{proof}\n".encode() + self.signed.encode()


def parse_signed(wire: str) -> SignedCheckpoint:
    """Read anybody's signed checkpoint, or one that a witness stored.

    Raises:
        Malformed: `checkpoint/lines`, `checkpoint/origin`, `encoding/…`, and what `Note.parse` raises.
    """
    note = Note.parse(wire)
    return SignedCheckpoint(_checkpoint(note.text), note)


def _checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint as tlog-checkpoint has it: any origin, any extension lines. `Checkpoint.parse` is stricter."""
    *lines, rest = text.split("\n")
    if rest or len(lines) < _LINES or not all(lines[_LINES:]):
        raise Malformed("checkpoint/lines", "want three lines and more, none empty, each ended by LF")
    origin, size, root, *extension = lines
    if not origin:
        raise Malformed("checkpoint/origin", "the origin is empty")
    first = origin, parse_decimal(size), parse_base64(root, 32)
    return ExtendedCheckpoint(*first, tuple(extension)) if extension else Checkpoint(*first)
