"""Strict codecs. Each value has one spelling; everything else is refused.

Spec: docs/spec/encoding.md.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

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
    value, end = _decode(encoded, 0, 0)
    if end != len(encoded):
        raise Malformed("cbor/trailing", f"{len(encoded) - end} bytes after the value")
    # One rule instead of many: duplicate keys, key order and long heads all change the bytes.
    if encode_cbor(value) != encoded:
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
        return bytes([major << 5 | argument])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes([major << 5 | info]) + argument.to_bytes(size, "big")
    raise ValueError("CBOR argument beyond 64 bits")


def _encode(value: Value, out: bytearray, depth: int) -> None:
    # What the decoder refuses is not written either.
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    match value:
        case None:
            out.append(0xF6)
        case bool():
            out.append(0xF5 if value else 0xF4)
        case int():
            if abs(value) > MAX_INT:
                raise ValueError("integer beyond 2^53 - 1")
            out += _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            out += _head(2, len(value)) + value
        case str():
            text = value.encode("utf-8")
            out += _head(3, len(text)) + text
        case list():
            out += _head(4, len(value))
            for member in value:
                _encode(member, out, depth + 1)
        case dict():
            if not all(isinstance(key, int | str) and not isinstance(key, bool) for key in value):
                raise TypeError("map keys are text or integers")
            out += _head(5, len(value))
            for key, member in sorted((encode_cbor(key), member) for key, member in value.items()):
                out += key
                _encode(member, out, depth + 1)
        case _:
            raise TypeError(f"no CBOR for {type(value).__name__}")


def _decode(encoded: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise Malformed("cbor/depth", f"nested deeper than {MAX_DEPTH}")
    initial = _take(encoded, at, 1)[0]
    major, info = initial >> 5, initial & 31
    at += 1
    if major == 7:
        if info not in (20, 21, 22):
            raise Malformed("cbor/type", f"initial byte {initial:#04x} is not used here")
        return {20: False, 21: True, 22: None}[info], at
    if info < 24:
        argument = info
    elif info < 28:
        size = 1 << (info - 24)
        argument = int.from_bytes(_take(encoded, at, size), "big")
        at += size
    else:
        raise Malformed("cbor/type", f"initial byte {initial:#04x} is not used here")
    if major in (0, 1):
        value = argument if major == 0 else -1 - argument
        if abs(value) > MAX_INT:
            raise Malformed("cbor/range", "integer beyond 2^53 - 1")
        return value, at
    if major in (2, 3):
        body = _take(encoded, at, argument)
        return (body if major == 2 else parse_utf8(body)), at + argument
    if major == 4:
        _check_count(encoded, at, argument)
        members = []
        for _ in range(argument):
            member, at = _decode(encoded, at, depth + 1)
            members.append(member)
        return members, at
    if major == 5:
        _check_count(encoded, at, 2 * argument)
        pairs: dict[Any, Any] = {}
        for _ in range(argument):
            key, at = _decode(encoded, at, depth + 1)
            # 1, 1.0 and True are one key to a Python dict.
            if type(key) not in (int, str):
                raise Malformed("cbor/type", "map keys are text or integers")
            pairs[key], at = _decode(encoded, at, depth + 1)
        return pairs, at
    raise Malformed("cbor/type", "tags are not used here")


def _take(encoded: bytes, at: int, size: int) -> bytes:
    if size > len(encoded) - at:
        raise Malformed("cbor/truncated", f"{size} bytes wanted at byte {at} of {len(encoded)}")
    return encoded[at : at + size]


def _check_count(encoded: bytes, at: int, members: int) -> None:
    # Each member takes at least one byte, so a count beyond the rest is refused before any allocation.
    if members > len(encoded) - at:
        raise Malformed("cbor/truncated", f"{members} members announced at byte {at} of {len(encoded)}")


def _clip(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def printable(text: str) -> str:
    """Spell out what a terminal or a page would obey, and line ends: text of others stays where it is put."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
