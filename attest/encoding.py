"""Strict codecs. Each value has one spelling; everything else is refused.

Spec: docs/spec/encoding.md.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attest.errors import Malformed

Hash: TypeAlias = bytes
"""32 bytes, SHA-256."""

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | Mapping[str, Value] | Mapping[int, Value] | None"
"""What our CBOR can say: lists and dicts, no floats, no tags, no undefined; map keys are text or integers."""

ZERO: Hash = bytes(32)
MAX_DECIMAL = 2**63 - 1
MAX_INT = 2**53 - 1  # every JSON and JavaScript reader keeps integers up to here exact
MAX_DEPTH = 16

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")


def parse_decimal(text: str) -> int:
    """Read an ASCII decimal from 0 to 2^63 - 1, no sign, no leading zeros. Raises `Malformed`: `encoding/decimal`."""
    if not _DECIMAL.fullmatch(text) or (value := int(text)) > MAX_DECIMAL:
        raise Malformed("encoding/decimal", f"want a decimal below 2^63 without leading zeros, found {_clip(text)}")
    return value


def parse_hex(text: str, size: int | None = None) -> bytes:
    """Read lower-case hex, `size` bytes if given. Raises `Malformed`: `encoding/hex`."""
    if not _HEX.fullmatch(text) or (size is not None and len(text) != 2 * size):
        want = "lower-case hex" if size is None else f"{2 * size} lower-case hex digits"
        raise Malformed("encoding/hex", f"want {want}, found {_clip(text)}")
    return bytes.fromhex(text)


def parse_base64(text: str, size: int | None = None) -> bytes:
    """Read standard padded base64 in its one canonical spelling. Raises `Malformed`: `encoding/base64`."""
    return _strict(text, size, base64.b64decode, encode_base64, "base64")


def encode_base64(value: bytes) -> str:
    """Write standard padded base64."""
    return base64.b64encode(value).decode()


def parse_base64url(text: str, size: int | None = None) -> bytes:
    """Read unpadded base64url in its one canonical spelling. Raises `Malformed`: `encoding/base64url`."""
    return _strict(
        text, size, lambda t: base64.urlsafe_b64decode(t + "=" * (-len(t) % 4)), encode_base64url, "base64url"
    )


def encode_base64url(value: bytes) -> str:
    """Write base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _strict(
    text: str, size: int | None, decode: Callable[[str], bytes], encode: Callable[[bytes], str], name: str
) -> bytes:
    try:
        value = decode(text)
    except (binascii.Error, ValueError):
        value = b""
    # Decoders drop foreign characters and take non-zero tail bits: compare the round trip.
    if encode(value) != text:
        raise Malformed(f"encoding/{name}", f"want canonical {name}, found {_clip(text)}")
    if size is not None and len(value) != size:
        raise Malformed(f"encoding/{name}", f"want {size} bytes of {name}, found {len(value)}")
    return value


def parse_utf8(value: bytes) -> str:
    """Read UTF-8. Raises `Malformed`: `encoding/utf8`."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("encoding/utf8", f"not UTF-8 at byte {error.start}") from None


def sha256(value: bytes) -> Hash:
    """Return SHA-256 of `value`."""
    return hashlib.sha256(value).digest()


def label_prefix(name: str) -> bytes:
    """Return `u8(len label) || label` for `attest/<name>/v1`: how every labelled hash begins."""
    label = f"attest/{name}/v1".encode("ascii")
    return bytes([len(label)]) + label


def labelled(name: str, *parts: bytes) -> Hash:
    """Hash `parts` under the label `attest/<name>/v1`, each part with its length in front.

    Spec: docs/spec/encoding.md#labelled-hash.
    """
    framed = [label_prefix(name)]
    for part in parts:
        framed.append(len(part).to_bytes(4, "big"))
        framed.append(part)
    return sha256(b"".join(framed))


# --- deterministic CBOR (RFC 8949 §4.2.1), the subset that statements and heads need ---


def encode_cbor(value: Value) -> bytes:
    """Write deterministic CBOR. A value outside `Value` is a programmer's mistake: `TypeError`, `ValueError`."""
    out = bytearray()
    _encode(value, out, 0)
    return bytes(out)


def decode_cbor(encoded: bytes) -> Any:
    """Read deterministic CBOR: exactly one value, in exactly the spelling `encode_cbor` writes.

    Raises:
        Malformed: `cbor/truncated`, `cbor/type`, `cbor/depth`, `cbor/range`, `cbor/trailing`,
            `cbor/not-deterministic`, `encoding/utf8`.
    """
    reader = _Reader(encoded)
    value = reader.value(0)
    if reader.at != len(encoded):
        raise Malformed("cbor/trailing", f"{len(encoded) - reader.at} bytes after the value")
    if not reader.deterministic:
        raise Malformed(
            "cbor/not-deterministic", "not the deterministic encoding of its value (RFC 8949 section 4.2.1)"
        )
    return value


def check_items(encoded: bytes, most: int) -> None:
    """Refuse CBOR that would take far more memory than it has bytes, before any of it is taken.

    Raises:
        Malformed: `cbor/items`.
    """
    at = items = 0
    while at < len(encoded):
        major, info = encoded[at] >> 5, encoded[at] & 31
        size = 1 << info - 24 if 24 <= info < 28 else 0
        at += 1 + size
        if major in (2, 3):
            at += int.from_bytes(encoded[at - size : at], "big") if size else info
        items += 1
        if items > most:
            raise Malformed("cbor/items", f"more than {most} CBOR items")


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes((major << 5 | info,)) + argument.to_bytes(size, "big")
    raise ValueError("CBOR argument beyond 64 bits")


def _encode(value: Value, out: bytearray, depth: int) -> None:
    # What the decoder refuses is not written either.
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    # The most frequent first: this is where much of an audit's time goes.
    if isinstance(value, bytes):
        out += _head(2, len(value))
        out += value
    elif isinstance(value, str):
        text = value.encode("utf-8")
        out += _head(3, len(text))
        out += text
    elif value is None:
        out.append(0xF6)
    elif isinstance(value, bool):
        out.append(0xF5 if value else 0xF4)
    elif isinstance(value, int):
        if abs(value) > MAX_INT:
            raise ValueError("integer beyond 2^53 - 1")
        out += _head(0, value) if value >= 0 else _head(1, -1 - value)
    elif isinstance(value, list):
        out += _head(4, len(value))
        for member in value:
            _encode(member, out, depth + 1)
    elif isinstance(value, dict):
        out += _head(5, len(value))
        for key, member in sorted((_encode_key(key), member) for key, member in value.items()):
            out += key
            _encode(member, out, depth + 1)
    else:
        raise TypeError(f"no CBOR for {type(value).__name__}")


def _encode_key(key: Any) -> bytes:
    if not isinstance(key, int | str) or isinstance(key, bool):
        raise TypeError("map keys are text or integers")
    out = bytearray()
    _encode(key, out, 0)
    return bytes(out)


class _Reader:
    """Reads CBOR, and notices where its spelling is not the deterministic one."""

    __slots__ = ("at", "deterministic", "encoded")

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded
        self.at = 0
        self.deterministic = True

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Malformed("cbor/depth", f"nested deeper than {MAX_DEPTH}")
        initial = self._take(1)[0]
        major = initial >> 5
        if major == 7:
            if initial not in _SIMPLE:
                raise Malformed("cbor/type", f"initial byte {initial:#04x} is not used here")
            return _SIMPLE[initial]
        argument = self._argument(initial)
        if major == 2:
            return self._take(argument)
        if major == 3:
            return parse_utf8(self._take(argument))
        if major in (0, 1):
            value = argument if major == 0 else -1 - argument
            if abs(value) > MAX_INT:
                raise Malformed("cbor/range", "integer beyond 2^53 - 1")
            return value
        if major == 4:
            self._check_count(argument)
            return [self.value(depth + 1) for _ in range(argument)]
        if major == 5:
            self._check_count(2 * argument)
            return self._map(argument, depth + 1)
        raise Malformed("cbor/type", "tags are not used here")

    def _argument(self, initial: int) -> int:
        info = initial & 31
        if info < 24:
            return info
        if info > 27:
            raise Malformed("cbor/type", f"initial byte {initial:#04x} is not used here")
        size = 1 << (info - 24)
        argument = int.from_bytes(self._take(size), "big")
        # The least argument that does not fit into the next shorter head.
        if argument < (24 if size == 1 else 1 << 4 * size):
            self.deterministic = False
        return argument

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        pairs: dict[Any, Any] = {}
        previous = b""
        for _ in range(count):
            start = self.at
            key = self.value(depth)
            # 1, 1.0 and True are one key to a Python dict.
            if type(key) not in (int, str):
                raise Malformed("cbor/type", "map keys are text or integers")
            spelling = self.encoded[start : self.at]
            # Strictly ascending, so none is there twice. No key has an empty spelling.
            if spelling <= previous:
                self.deterministic = False
            previous = spelling
            pairs[key] = self.value(depth)
        return pairs

    def _take(self, size: int) -> bytes:
        start = self.at
        if size > len(self.encoded) - start:
            raise Malformed("cbor/truncated", f"{size} bytes wanted at byte {start} of {len(self.encoded)}")
        self.at = start + size
        return self.encoded[start : self.at]

    def _check_count(self, members: int) -> None:
        # Each member takes at least one byte, so a count beyond the rest is refused before any allocation.
        if members > len(self.encoded) - self.at:
            raise Malformed("cbor/truncated", f"{members} members announced at byte {self.at} of {len(self.encoded)}")


_SIMPLE: Final = {0xF4: False, 0xF5: True, 0xF6: None}


def _clip(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def printable(text: str) -> str:
    """Spell out what a terminal or a page would obey, and line ends: text of others stays where it is put."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
