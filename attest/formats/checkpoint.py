"""Checkpoints: a log's claim about its tree, and the note that carries it.

    <origin>
    <size>
    base64(root)

Spec: C2SP tlog-checkpoint; docs/spec/checkpoint.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.encoding import Hash, encode_base64, parse_base64, parse_decimal
from attest.errors import Malformed, Untrusted
from attest.formats.cosignature import cosign_mldsa44, verify_line
from attest.formats.note import KeyType, Note, NoteVerifier, SignatureLine, known_lines, name_fault, sign_text

_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's claim that its first `size` entries have this `root`. Three lines on the wire."""

    origin: str
    size: int  # entries
    root: Hash

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the three lines, each ended by LF.

        Raises:
            Malformed: `checkpoint/lines`; `checkpoint/extension`, a fourth line; `checkpoint/origin`;
                `encoding/decimal`, `encoding/base64`.
        """
        *lines, rest = text.split("\n")
        if rest or len(lines) < _LINES:
            raise Malformed("checkpoint/lines", "want three lines, each ended by LF")
        # An ML-DSA-44 signature does not cover extension lines: anybody could put words in the log's mouth.
        if len(lines) > _LINES:
            raise Malformed("checkpoint/extension", f"{len(lines) - _LINES} extension lines: this log never writes any")
        origin, size, root = lines
        if fault := name_fault(origin):
            raise Malformed("checkpoint/origin", f"origin: {fault}")
        return cls(origin, parse_decimal(size), parse_base64(root, 32))

    def encode(self) -> str:
        """Write the three lines."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as published: the note that carries it, with signatures of which none is verified yet."""

    checkpoint: Checkpoint
    note: Note

    @classmethod
    def parse(cls, wire: bytes | str) -> Self:
        """Read a signed checkpoint. Raises as `Note.parse` and `Checkpoint.parse` do."""
        note = Note.parse(wire)
        return cls(Checkpoint.parse(note.text), note)

    def encode(self) -> bytes:
        """Write the note."""
        return self.note.encode()

    def with_lines(self, lines: Iterable[SignatureLine]) -> Self:
        """Return a copy with these lines below the others. Copy no line that you did not verify."""
        return type(self)(self.checkpoint, Note(self.note.text, (*self.note.signatures, *lines)))


def log_verifiers(origin: str, ed25519: bytes, mldsa44: bytes) -> tuple[NoteVerifier, NoteVerifier]:
    """Name a log's two public keys by its origin. Raises as `NoteVerifier.of` does."""
    return NoteVerifier.of(origin, KeyType.ED25519, ed25519), NoteVerifier.of(origin, KeyType.MLDSA44, mldsa44)


def sign_checkpoint(
    checkpoint: Checkpoint, ed25519: SigningKey, mldsa44: MLDSASigningKey, time: int
) -> SignedCheckpoint:
    """Sign as the log: Ed25519 first, for every reader there is, then ML-DSA-44 at `time`, above 0, for the long run.

    Spec: docs/spec/checkpoint.md#log-signatures.
    """
    # A log that signs what nobody can read cannot take it back.
    Checkpoint.parse(text := checkpoint.encode())
    lines = sign_text(checkpoint.origin, ed25519, text), cosign_mldsa44(checkpoint.origin, mldsa44, checkpoint, time)
    return SignedCheckpoint(checkpoint, Note(text, lines))


def verify_log_signatures(signed: SignedCheckpoint, verifiers: Iterable[NoteVerifier]) -> tuple[NoteVerifier, ...]:
    """Check every signature by one of these log keys; return the keys that speak for the origin, in their given order.

    Raises:
        Refuted: `signature/invalid`, `cosignature/time`, a line under a known name and key ID does not verify.
        Untrusted: `checkpoint/unsigned`, no known key signed; `checkpoint/foreign`, one did, but of another log.
    """
    verifiers, origin = tuple(verifiers), signed.checkpoint.origin
    if any(verifier.type is KeyType.COSIGNATURE for verifier in verifiers):
        raise ValueError("type 0x04 is for witnesses")
    verified = set()
    for verifier, line in known_lines(signed.note, verifiers):
        verify_line(verifier, signed.checkpoint, line)
        verified.add(verifier)
    if not verified:
        raise Untrusted("checkpoint/unsigned", f"no signature by a key known for {origin}")
    # A key speaks only for the origin that is its name, or one log could publish as another.
    own = tuple(verifier for verifier in verifiers if verifier in verified and verifier.name == origin)
    if not own:
        raise Untrusted("checkpoint/foreign", f"signed by another log's key, not by one of {origin}")
    return own
