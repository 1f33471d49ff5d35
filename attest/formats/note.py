"""Signed notes: text with signature lines under it, and the verifier keys that go with them.

    text, ending in LF
    (one empty line)
    — <key name> base64(4-byte key ID || signature)        one or more

Spec: C2SP signed-note; docs/spec/checkpoint.md#note.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from attest.crypto.keys import MLDSA44_PUBLIC, SigningKey, check_public_key, verify_ed25519
from attest.encoding import encode_base64, parse_base64, parse_hex, parse_utf8, sha256
from attest.errors import Malformed

MAX_NOTE: Final = 1 << 20  # bytes
MAX_SIGNATURES: Final = 100
MAX_NAME: Final = 255  # bytes: the ML-DSA-44 message has one byte for the length

# Written out, because Python, Go and JavaScript each have an idea of their own of what a space is.
SPACE: Final = re.compile(r"[\x09-\x0d\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_NOT_IN_NAMES: Final = re.compile(rf"[+\x00-\x1f\x7f-\x9f]|{SPACE.pattern}")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH: Final = "\u2014 "
_KEY_ID: Final = 4  # bytes


class KeyType(IntEnum):
    """What a verifier key verifies. Other types of the C2SP registry are refused."""

    ED25519 = 0x01  # the note text itself
    COSIGNATURE = 0x04  # timestamped Ed25519 cosignature
    MLDSA44 = 0x06  # timestamped ML-DSA-44 cosignature


def name_fault(name: str) -> str | None:
    """Say what keeps `name` from being a key name or an origin, or None."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "not UTF-8"
    if not 1 <= size <= MAX_NAME:
        return f"want 1 to {MAX_NAME} bytes, found {size}"
    if _NOT_IN_NAMES.search(name):
        return f"has a space, a plus or a control character: {name[:40]!r}"
    return None


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A public key, under the name it signs with. On the wire a vkey: `name+<key ID in hex>+base64(type || public)`."""

    name: str
    key_id: bytes  # 4 bytes
    type: KeyType
    public: bytes  # 32 bytes, or 1312 for ML-DSA-44

    @classmethod
    def of(cls, name: str, type: KeyType, public: bytes) -> Self:  # noqa: A002 - the spec's word
        """Name an admissible public key.

        Raises:
            Malformed: `note/name`, and what `check_public_key` raises.
        """
        if fault := name_fault(name):
            raise Malformed("note/name", f"key name: {fault}")
        if type is KeyType.MLDSA44:
            if len(public) != MLDSA44_PUBLIC:
                raise Malformed("key/length", f"want a public key of {MLDSA44_PUBLIC} bytes, found {len(public)}")
        else:
            check_public_key(public)
        return cls(name, sha256(f"{name}\n".encode() + bytes([type]) + public)[:_KEY_ID], type, public)

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a vkey.

        Raises:
            Malformed: `note/vkey`, not three parts; `note/vkey-type`, a signature type we do not verify;
                `note/key-id`, not the ID of this name and key; `note/name`, `encoding/hex`, `encoding/base64`, `key/…`.
        """
        parts = vkey.split("+", 2)  # base64 may have a plus of its own
        if len(parts) != 3:
            raise Malformed("note/vkey", f"want name+hex+base64, found {vkey[:40]!r}")
        name, key_id, material = parts[0], parse_hex(parts[1], _KEY_ID), parse_base64(parts[2])
        # Fail closed: skipping a key that we cannot check would weaken whoever asked for it.
        if material[:1] not in {bytes([known]) for known in KeyType}:
            raise Malformed("note/vkey-type", f"signature type 0x{material[:1].hex()} is not 0x01, 0x04 or 0x06")
        verifier = cls.of(name, KeyType(material[0]), material[1:])
        if verifier.key_id != key_id:
            raise Malformed("note/key-id", f"key ID {key_id.hex()} belongs to another name or key")
        return verifier

    def encode(self) -> str:
        """Write the vkey."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.type]) + self.public)}"


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One signature under a note, not verified. On the wire `— name base64(key ID || signature)`."""

    name: str
    key_id: bytes  # 4 bytes
    signature: bytes  # at least 1 byte; what is in it depends on the key's type

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line without its LF. Raises `Malformed`: `note/signature-line`, `note/name`, `encoding/base64`."""
        name, space, payload = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise Malformed("note/signature-line", f"want `— name base64`, found {line[:40]!r}")
        if fault := name_fault(name):
            raise Malformed("note/name", f"key name: {fault}")
        signed = parse_base64(payload)
        if len(signed) <= _KEY_ID:
            raise Malformed("note/signature-line", f"{len(signed)} bytes are no key ID and signature")
        return cls(name, signed[:_KEY_ID], signed[_KEY_ID:])

    def encode(self) -> str:
        """Write the line without its LF."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}"


@dataclass(frozen=True, slots=True)
class Note:
    """Text and the signatures under it, none of them verified."""

    text: str  # ends in LF; what type 0x01 signs
    signatures: tuple[SignatureLine, ...]  # 1 to 100

    @classmethod
    def parse(cls, wire: bytes | str) -> Self:
        """Read a signed note.

        Raises:
            Malformed: `note/size`, `note/control-character`, `note/blank-line`, `note/final-newline`,
                `note/signatures`, `note/signature-line`, `note/name`, `encoding/utf8`, `encoding/base64`.
        """
        note = decode_text(wire, MAX_NOTE, "note")
        # The text may have empty lines of its own: the last one ends it.
        text, blank, lines = note.rpartition("\n\n")
        if not blank:
            raise Malformed("note/blank-line", "no empty line between text and signatures")
        return cls(text + "\n", parse_signature_lines(lines))

    def encode(self) -> bytes:
        """Write the signed note."""
        if not self.signatures:
            raise ValueError("a note has at least one signature")
        return f"{self.text}\n{encode_signature_lines(self.signatures)}".encode()


def decode_text(wire: bytes | str, limit: int, area: str) -> str:
    """Read UTF-8 of at most `limit` bytes, without control characters other than LF.

    Raises:
        Malformed: `<area>/size`, `<area>/control-character`, `encoding/utf8`.
    """
    if isinstance(wire, str):
        try:
            wire = wire.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Malformed("encoding/utf8", f"no UTF-8 for character {error.start}") from None
    if len(wire) > limit:
        raise Malformed(f"{area}/size", f"want at most {limit} bytes, found {len(wire)}")
    text = parse_utf8(wire)
    if control := _CONTROL.search(text):
        raise Malformed(f"{area}/control-character", f"{control[0]!r} at character {control.start()}")
    return text


def parse_signature_lines(lines: str) -> tuple[SignatureLine, ...]:
    """Read 1 to 100 signature lines, each ended by LF: the foot of a note, or what a witness answers.

    Raises:
        Malformed: `note/final-newline`, `note/signatures`, `note/signature-line`, `note/name`, `encoding/base64`.
    """
    # Never splitlines(): it also splits at U+0085, U+2028 and others that may stand in a text.
    *signatures, rest = lines.split("\n")
    if rest:
        raise Malformed("note/final-newline", "the last line has no LF")
    if not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise Malformed("note/signatures", f"want 1 to {MAX_SIGNATURES} signatures, found {len(signatures)}")
    return tuple(SignatureLine.parse(line) for line in signatures)


def encode_signature_lines(signatures: Iterable[SignatureLine]) -> str:
    """Write signature lines, each ended by LF."""
    return "".join(f"{line.encode()}\n" for line in signatures)


def known_lines(note: Note, verifiers: Iterable[NoteVerifier]) -> Iterator[tuple[NoteVerifier, SignatureLine]]:
    """Pair every line with the verifier of its name and key ID, in the note's order; other lines are left out."""
    # A name or an ID alone is not a match: anybody can put another's name, or a colliding ID, on a line.
    by_name_and_id = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    for line in note.signatures:
        if verifier := by_name_and_id.get((line.name, line.key_id)):
            yield verifier, line


def sign_text(name: str, key: SigningKey, text: str) -> SignatureLine:
    """Sign the note text with type 0x01."""
    return SignatureLine(name, NoteVerifier.of(name, KeyType.ED25519, key.public).key_id, key.sign(text.encode()))


def verify_text(verifier: NoteVerifier, text: str, line: SignatureLine) -> None:
    """Check a type 0x01 signature line over the note text. Raises `Refuted`: `signature/invalid`."""
    if verifier.type is not KeyType.ED25519:
        raise ValueError("only type 0x01 signs the text itself")
    verify_ed25519(verifier.public, text.encode(), line.signature)
