"""JSON as we write it in files: one value, no duplicate keys, no floats, closed objects.

Spec: docs/spec/encoding.md#json.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, NoReturn

from attest.encoding import MAX_INT, parse_base64, parse_utf8
from attest.errors import Malformed

Shape = Mapping[str, Callable[[Any, str], Any]]

MAX_DEPTH = 100  # arrays and objects

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(encoded: bytes, limit: int) -> Any:
    """Read one JSON value of at most `limit` bytes.

    Raises:
        Malformed: `json/size`, `json/syntax`, `json/duplicate-key`, `json/number`, `encoding/utf8`.
    """
    if len(encoded) > limit:
        raise Malformed("json/size", f"{len(encoded)} bytes, at most {limit} are read")
    try:
        value = json.loads(
            parse_utf8(encoded),
            object_pairs_hook=_pairs,
            parse_float=_no_number,
            parse_constant=_no_number,
            parse_int=_integer,
        )
        # Half a surrogate pair has no UTF-8: it would pass for text here and fail wherever it is hashed or printed.
        if _SURROGATE.search(encoded):
            json.dumps(value, ensure_ascii=False).encode()
        _check_depth(value)
        return value
    except UnicodeEncodeError:
        raise Malformed("encoding/utf8", "an escape for half a surrogate pair") from None
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ": nested too deeply"
        raise Malformed("json/syntax", f"not JSON{where}") from None


def write_json(value: Any) -> bytes:
    """Write JSON for people: indented, with a final newline."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _check_depth(value: Any) -> None:
    # How deep a parser can go depends on the machine; what is refused must not.
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        members = chain.from_iterable(each.values() if isinstance(each, dict) else each for each in level)
        level = [member for member in members if isinstance(member, (dict, list))]
        if not level:
            return
    raise Malformed("json/syntax", f"nested more than {MAX_DEPTH} deep")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("json/duplicate-key", "a key stands twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise Malformed("json/number", f"want integers from 0 to 2^53 - 1, found {text[:20]}")


def _integer(text: str) -> int:
    # JavaScript reads -0 as another number than 0.
    if len(text) > 16 or text.startswith("-") or int(text) > MAX_INT:
        _no_number(text)
    return int(text)


# --- shapes: what a field has to be; each returns the parsed value or raises `Malformed`: `json/field` ---


def closed(found: Any, where: str, shape: Shape) -> dict[str, Any]:
    """Read an object with exactly the keys of `shape`."""
    if not isinstance(found, dict):
        raise _wrong(where, "an object")
    if found.keys() != shape.keys():
        odd = ", ".join(sorted(map(repr, found.keys() ^ shape.keys())))
        raise Malformed("json/field", f"{where}: missing or unknown {odd[:200]}")
    return {name: read(found[name], f"{where}.{name}") for name, read in shape.items()}


def text(found: Any, where: str) -> str:
    """Read text."""
    if not isinstance(found, str):
        raise _wrong(where, "text")
    return found


def integer(found: Any, where: str) -> int:
    """Read an integer from 0 to 2^53 - 1."""
    if type(found) is not int:
        raise _wrong(where, "an integer")
    return found


def base64(size: int | None = None, *, limit: int | None = None) -> Callable[[Any, str], bytes]:
    """Read bytes, `size` of them, or at most `limit`, if given."""

    def read(found: Any, where: str) -> bytes:
        value = parse_base64(text(found, where), size)
        if limit is not None and len(value) > limit:
            raise Malformed("encoding/base64", f"{where}: {len(value)} bytes, at most {limit} are read")
        return value

    return read


def nullable(read: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Read a value or null."""
    return lambda found, where: None if found is None else read(found, where)


def many(read: Callable[[Any, str], Any], limit: int, *, least: int = 0) -> Callable[[Any, str], tuple[Any, ...]]:
    """Read a list of `least` to `limit` values."""

    def list_of(found: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(found, list) or not least <= len(found) <= limit:
            raise _wrong(where, f"a list of {least} to {limit}")
        return tuple(read(member, f"{where}[{n}]") for n, member in enumerate(found))

    return list_of


def _wrong(where: str, want: str) -> Malformed:
    return Malformed("json/field", f"{where}: want {want}")
