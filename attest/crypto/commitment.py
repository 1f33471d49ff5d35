"""From records to commitments: what a holder computes, and what an opening lets anybody recompute.

    locator -> alpha -> (VRF) beta -> index -> map key
    records -> record digest; index, blind(salt), record digest -> commitment

Spec: docs/spec/commitments.md.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attest.crypto import locators
from attest.encoding import MAX_INT, Hash, encode_base64, label_prefix, labelled, sha256
from attest.errors import Malformed

ALPHA_PREFIX = b"attest/locator/1 "
SALT_SIZE = 32
MAX_DEPTH = 16  # nesting inside one row
MAX_NUMBER = 4096  # characters of a number written as text

_U32_32 = (32).to_bytes(4, "big")
_U32_64 = (64).to_bytes(4, "big")
KEY_FRONT = label_prefix("key") + _U32_32
_COMMITMENT_FRONT = label_prefix("commitment") + _U32_32
_BLIND_FRONT = label_prefix("blind") + _U32_32


# --- indexes and keys ---


def alpha(locator: str) -> bytes:
    """Return the VRF input of a canonical locator. Raises `Malformed` `locator/…` for any other spelling."""
    locators.canonical(locator)
    return ALPHA_PREFIX + locator.encode("ascii")


def index(holder: str, system: str, beta: bytes) -> Hash:
    """Return the public pseudonym, in one system of one holder, of the locator whose VRF output is `beta`."""
    _check_sizes((beta,), 64, "beta")
    return labelled("index", holder.encode(), system.encode(), beta)


def indexes(holder: str, system: str, betas: Sequence[bytes]) -> list[Hash]:
    """Return `index` of each beta, in order."""
    _check_sizes(betas, 64, "beta")
    front = label_prefix("index") + _framed(holder.encode()) + _framed(system.encode()) + _U32_64
    return [hashlib.sha256(front + beta).digest() for beta in betas]


def map_key(index: Hash) -> Hash:
    """Return where `index` lives in its system's state map."""
    return map_keys((index,))[0]


def map_keys(indexes: Sequence[Hash]) -> list[Hash]:
    """Return `map_key` of each index, in order."""
    _check_sizes(indexes, 32, "index")
    sha = hashlib.sha256
    return [sha(KEY_FRONT + index).digest() for index in indexes]


# --- commitments ---


def record_digest(records: Iterable[Hash]) -> Hash:
    """Digest one subject's records in one system, given the SHA-256 of each: their order and repeats do not count.

    Raises:
        Malformed: `commitment/no-records`, there is nothing to commit to.

    Spec: docs/spec/commitments.md#record-digest.
    """
    distinct = set(records)
    if not distinct:
        raise Malformed("commitment/no-records", "a record digest needs at least one record")
    _check_sizes(distinct, 32, "record hash")
    # RFC 8785 of an array of hex strings; bytes sort as their hex does.
    return sha256(('["' + '","'.join(record.hex() for record in sorted(distinct)) + '"]').encode("ascii"))


def blind(salt: bytes) -> Hash:
    """Return what opens a commitment in public: it shows nothing about `salt`, 32 fresh random bytes."""
    _check_sizes((salt,), SALT_SIZE, "salt")
    return sha256(_BLIND_FRONT + salt)


def commitment(index: Hash, blind: Hash, record_digest: Hash) -> Hash:
    """Commit to a record digest under an index: the second half of a row."""
    return commitments((index,), (blind,), (record_digest,))[0]


def commitments(indexes: Sequence[Hash], blinds: Sequence[Hash], record_digests: Sequence[Hash]) -> list[Hash]:
    """Return `commitment` of each index with its blind and record digest, in order."""
    for name, column in (("index", indexes), ("blind", blinds), ("record digest", record_digests)):
        _check_sizes(column, 32, name)
    sha = hashlib.sha256
    return [
        sha(b"".join((_COMMITMENT_FRONT, index, _U32_32, blind, _U32_32, record_digest))).digest()
        for index, blind, record_digest in zip(indexes, blinds, record_digests, strict=True)
    ]


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def _check_sizes(values: Iterable[bytes], size: int, name: str) -> None:
    if not set(map(len, values)) <= {size}:
        raise ValueError(f"want {size} bytes for each {name}")


# --- table rows as records ---


def record_of_row(row: Mapping[str, object]) -> bytes:
    """Write one table row, column name to value, as the RFC 8785 JSON that is hashed as a record.

    Null, booleans, text and integers below 2^53 are themselves, arrays and objects of such values too; all else is
    text by the table in the spec.

    Raises:
        Malformed: `record/type`, `record/text` (a lone surrogate), `record/number` (more than 4,096 characters),
            `record/time`, `record/depth`.

    Spec: docs/spec/commitments.md#table-rows.
    """
    try:
        # Python escapes strings as RFC 8785 wants; the order of keys is ours.
        return json.dumps(_plain_object(row, 0), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("record/text", "text with a lone surrogate has no UTF-8") from None


def _plain_object(members: Mapping[Any, object], depth: int) -> dict[str, object]:
    if not all(isinstance(name, str) for name in members):
        raise Malformed("record/type", "names of columns and members are text")
    return {name: _plain(members[name], depth) for name in sorted(members, key=_utf16)}


def _utf16(name: str) -> bytes:
    # RFC 8785 sorts by UTF-16 code units: U+1F600 comes before U+FB33.
    return name.encode("utf-16-be")


def _plain(value: Any, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise Malformed("record/depth", f"nested deeper than {MAX_DEPTH}")
    match value:
        case None | bool() | str():
            return value
        case int():
            return int(value) if abs(value) <= MAX_INT else _int_text(value)
        case float():
            return _float_text(value)
        case bytes() | bytearray() | memoryview():
            return encode_base64(bytes(value))
        case list() | tuple():
            return [_plain(member, depth + 1) for member in value]
        case Mapping():
            return _plain_object(value, depth + 1)
    # By name, not by import: these floors import no clock. And exactly these classes: a pandas Timestamp is a datetime
    # that would lose its nanoseconds here without a word.
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if name not in _TEXT_OF:
        raise Malformed("record/type", f"no spelling for a value of type {name}; turn it into text first")
    return _TEXT_OF[name](value)


def _int_text(value: int) -> str:
    # Bits first: Python refuses to write far longer integers, and takes quadratic time for them.
    if value.bit_length() > 13_607 or len(text := str(int(value))) > MAX_NUMBER:
        raise _long_number()
    return text


def _float_text(value: float) -> str:
    """Write a float as ECMAScript's `String(value)` does: the shortest digits that read back as the same float."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))  # the value is 0.digits × 10^point
    digits = digits.rstrip("0")
    if not digits:
        return "0"
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1:+d}"


def _decimal_text(value: Any) -> str:
    """Write a Decimal without exponent and without trailing zeros: 1.50 and 1.5 are one value, so one spelling."""
    if value.is_nan():
        return "NaN"
    if value.is_infinite():
        return "Infinity" if value > 0 else "-Infinity"
    if not value:
        return "0"
    _, digits, exponent = value.as_tuple()
    if len(digits) + abs(exponent) > MAX_NUMBER:
        raise _long_number()
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _datetime_text(value: Any) -> str:
    offset = value.utcoffset()
    local = value.replace(tzinfo=None)
    if offset is None:
        return _without_zeros(str(local.isoformat()))
    try:
        return _without_zeros(str((local - offset).isoformat())) + "Z"
    except OverflowError:
        raise Malformed("record/time", "in UTC this time is outside the years 1 to 9999") from None


def _time_text(value: Any) -> str:
    if value.tzinfo is not None:
        raise Malformed("record/time", "a time of day with a zone has no spelling; turn it into text first")
    return _without_zeros(str(value.isoformat()))


def _duration_text(value: Any) -> str:
    micros = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    sign = "-" if micros < 0 else ""
    seconds, fraction = divmod(abs(micros), 1_000_000)
    return f"{sign}PT{_without_zeros(f'{seconds}.{fraction:06}')}S"


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _long_number() -> Malformed:
    return Malformed("record/number", f"a number of more than {MAX_NUMBER} characters")


_TEXT_OF: dict[str, Callable[[Any], str]] = {
    "decimal.Decimal": _decimal_text,
    "datetime.date": lambda value: str(value.isoformat()),
    "datetime.datetime": _datetime_text,
    "datetime.time": _time_text,
    "datetime.timedelta": _duration_text,
    "uuid.UUID": str,
}
