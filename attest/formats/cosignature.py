"""Cosignatures: a witness's word that at a second this was the largest consistent tree it had seen of a log.

    key ID[4] || time u64be || signature        Ed25519 (type 0x04, 64 bytes) or ML-DSA-44 (type 0x06, 2420 bytes)

The log's own ML-DSA-44 signature has the same form, under the origin as its name.

Spec: C2SP tlog-cosignature; docs/spec/checkpoint.md#cosignatures.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never

from attest.crypto.keys import MLDSASigningKey, SigningKey, verify_ed25519, verify_mldsa44
from attest.encoding import Hash
from attest.errors import Refuted
from attest.formats.note import KeyType, NoteVerifier, SignatureLine, verify_text

if TYPE_CHECKING:  # checkpoint.py stands above: a checkpoint carries cosignatures
    from attest.formats.checkpoint import Checkpoint

MAX_TIME: Final = 2**63 - 1  # Unix seconds

_LABEL: Final = b"subtree/v1\n\0"
_TIME: Final = 8  # bytes


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified cosignature: whose, and when."""

    name: str
    key: bytes  # the raw public key: who a witness is, whatever name it goes by
    time: int  # Unix seconds, above 0


def ed25519_message(checkpoint: "Checkpoint", time: int) -> bytes:
    """Return what type 0x04 signs: a header line, a time line and the checkpoint, but not the signer's name."""
    _check_time(time)
    return f"cosignature/v1\ntime {time}\n{checkpoint.encode()}".encode()


def mldsa44_message(name: str, checkpoint: "Checkpoint", time: int) -> bytes:
    """Return what type 0x06 signs for the whole tree."""
    return subtree_message(name, checkpoint.origin, 0, checkpoint.size, root=checkpoint.root, time=time)


def subtree_message(name: str, origin: str, start: int, end: int, *, root: Hash, time: int) -> bytes:
    """Return what type 0x06 signs: entries `start` to `end` - 1 of the log `origin` have this `root`."""
    _check_time(time)
    if start and time:
        raise ValueError("a subtree that does not start at 0 has no time")
    return b"".join(
        (
            _LABEL,
            _counted(name),
            time.to_bytes(8, "big"),
            _counted(origin),
            start.to_bytes(8, "big"),
            end.to_bytes(8, "big"),
            root,
        )
    )


def cosign_ed25519(name: str, key: SigningKey, checkpoint: "Checkpoint", time: int) -> SignatureLine:
    """Cosign a checkpoint as witness `name` with type 0x04. A key that serves two names signs for both: do not."""
    if not time:
        raise ValueError("a witness's time is above 0")
    signature = key.sign(ed25519_message(checkpoint, time))
    key_id = NoteVerifier.of(name, KeyType.COSIGNATURE, key.public).key_id
    return SignatureLine(name, key_id, time.to_bytes(_TIME, "big") + signature)


def cosign_mldsa44(name: str, key: MLDSASigningKey, checkpoint: "Checkpoint", time: int) -> SignatureLine:
    """Cosign a checkpoint as witness, or sign it as log, `name` with type 0x06."""
    if not time:
        raise ValueError("a witness's time is above 0")
    signature = key.sign(mldsa44_message(name, checkpoint, time))
    key_id = NoteVerifier.of(name, KeyType.MLDSA44, key.public).key_id
    return SignatureLine(name, key_id, time.to_bytes(_TIME, "big") + signature)


def verify_cosignature(verifier: NoteVerifier, checkpoint: "Checkpoint", line: SignatureLine) -> Cosignature:
    """Check a witness's line, which has the verifier's name and key ID, and return what it says.

    Raises:
        Refuted: `signature/invalid`; `cosignature/time`, above 2^63 - 1, or 0, which claims nothing.
    """
    if verifier.type is KeyType.ED25519:
        raise ValueError("type 0x01 is no cosignature")
    if not (time := verify_line(verifier, checkpoint, line)):
        raise Refuted("cosignature/time", f"{verifier.name} does not say when: its time is 0")
    return Cosignature(verifier.name, verifier.public, time)


def verify_line(verifier: NoteVerifier, checkpoint: "Checkpoint", line: SignatureLine) -> int:
    """Check a line of any type we know, which has the verifier's name and key ID; return its time, 0 if it says none.

    Raises:
        Refuted: `signature/invalid`; `cosignature/time`, above 2^63 - 1.
    """
    if verifier.type is KeyType.ED25519:
        verify_text(verifier, checkpoint.encode(), line)
        return 0
    # A line too short for a time is too short for a signature, and is refused as one.
    time, signature = int.from_bytes(line.signature[:_TIME], "big"), line.signature[_TIME:]
    if time > MAX_TIME:
        raise Refuted("cosignature/time", f"{verifier.name} says a time above 2^63 - 1")
    match verifier.type:
        case KeyType.COSIGNATURE:
            verify_ed25519(verifier.public, ed25519_message(checkpoint, time), signature)
        case KeyType.MLDSA44:
            verify_mldsa44(verifier.public, mldsa44_message(verifier.name, checkpoint, time), signature)
        case _:
            assert_never(verifier.type)
    return time


def _check_time(time: int) -> None:
    if not 0 <= time <= MAX_TIME:
        raise ValueError("time outside 0 to 2^63 - 1")


def _counted(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return bytes([len(encoded)]) + encoded
