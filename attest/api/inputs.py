"""What a request brings, read strictly and within bounds."""

from typing import Any, Final

from flask import request

from attest.encoding import Hash, parse_base64url, parse_decimal, parse_hex
from attest.errors import Malformed
from attest.formats.bundle import MAX_LOCATORS, MAX_SYSTEMS
from attest.formats.statement import is_party_id, is_system_id
from attest.formats.strict_json import closed, integer, many, parse_json, text

MAX_LOOKUP: Final = 8 << 20  # bytes of a look-up's question
MAX_PAGE: Final = 500
MAX_TEXT: Final = 200  # characters that people search for
_PAGE: Final = 100
_CHUNK: Final = 1 << 20


def check_query(allowed: frozenset[str], *, strange: bool = False) -> None:
    """Refuse parameters that mean nothing here, and repeated ones. Raises `Malformed`: `http/query`.

    Args:
        strange: may there be others? Newsletters and social networks add them to links.
    """
    for name, values in request.args.lists():
        # A misspelt `size` would otherwise be answered with a proof for another checkpoint.
        if (name not in allowed and not strange) or (name in allowed and len(values) > 1):
            want = ", ".join(sorted(allowed)) or "no parameters"
            raise Malformed("http/query", f"want {want}, each at most once")


def query_decimal(name: str) -> int | None:
    """Read a decimal parameter. Raises `Malformed`: `http/query`."""
    value = request.args.get(name)
    if value is None:
        return None
    try:
        return parse_decimal(value)
    except Malformed as error:
        raise Malformed("http/query", f"{name}: {error.message}") from None


def query_size() -> int | None:
    """Read the checkpoint size asked for; the first checkpoint has size 2."""
    size = query_decimal("size")
    if size is not None and size < 2:
        raise Malformed("http/query", "size: no checkpoint is that small, the first has size 2")
    return size


def query_limit() -> int:
    """Read the size of a page, 1 to 500."""
    limit = query_decimal("limit")
    if limit is None:
        return _PAGE
    if not 1 <= limit <= MAX_PAGE:
        raise Malformed("http/query", f"limit: want 1 to {MAX_PAGE}")
    return limit


def query_party(name: str) -> str | None:
    """Read a party id as a parameter."""
    value = request.args.get(name)
    if value is not None and not is_party_id(value):
        raise Malformed("http/query", f"{name}: want a party id")
    return value


def path_party(party: str) -> str:
    """Check a party id from the path. Raises `Malformed`: `http/path`."""
    if not is_party_id(party):
        raise Malformed("http/path", "want a party id: a lower-case host name of at least two labels")
    return party


def path_leaf(entry_id: str) -> Hash:
    """Read an entry id from the path. Raises `Malformed`: `encoding/base64url`."""
    return parse_base64url(entry_id, 32)


def path_hash(digits: str) -> Hash:
    """Read 32 bytes of lower-case hex from the path. Raises `Malformed`: `encoding/hex`."""
    return parse_hex(digits, 32)


def check_body(*content_types: str) -> None:
    """Check the body's media type.

    Raises:
        Malformed: `http/content-type`, `http/content-encoding`.
    """
    if request.mimetype not in content_types:
        raise Malformed("http/content-type", f"want a body of type {' or '.join(content_types)}")
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise Malformed("http/content-encoding", "want the body as it is, without content coding")


def body_length() -> int:
    """Return the declared length of the body. Raises `Malformed`: `http/length`."""
    declared = request.environ.get("CONTENT_LENGTH") or ""
    if not declared:
        raise Malformed("http/length", "want a Content-Length")
    try:
        return parse_decimal(declared)
    except Malformed:
        raise Malformed("http/length", "Content-Length is not a decimal") from None


def read_body(length: int) -> bytes:
    """Read exactly `length` bytes; callers bound it first. Raises `Malformed`: `http/truncated`."""
    stream, parts, missing = request.environ["wsgi.input"], [], length
    while missing:
        try:
            part = stream.read(min(missing, _CHUNK))
        except OSError:
            part = b""
        if not part:
            raise Malformed("http/truncated", f"the body ends {missing} bytes early")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def read_lookup() -> tuple[str, list[dict[str, Hash]], int | None]:
    """Read the question of a look-up: holder, per locator its index in each system, checkpoint size or None.

    Raises:
        Malformed: `http/…`, `json/…`, `encoding/…`.
    """
    check_body("application/json")
    if (length := body_length()) > MAX_LOOKUP:
        raise Malformed("json/size", f"{length} bytes, at most {MAX_LOOKUP} are read")
    value = parse_json(read_body(length), MAX_LOOKUP)
    optional = {"size": _size} if isinstance(value, dict) and "size" in value else {}
    found = closed(value, "lookup", {"holder": _party, "locators": many(_indexes, MAX_LOCATORS), **optional})
    if not found["locators"]:
        raise Malformed("json/field", f"lookup.locators: want 1 to {MAX_LOCATORS}")
    return found["holder"], list(found["locators"]), found.get("size")


def _party(found: Any, where: str) -> str:
    if not is_party_id(found):
        raise Malformed("json/field", f"{where}: want a party id")
    return text(found, where)


def _size(found: Any, where: str) -> int:
    size = integer(found, where)
    if size < 2:
        raise Malformed("json/field", f"{where}: no checkpoint is that small, the first has size 2")
    return size


def _indexes(found: Any, where: str) -> dict[str, Hash]:
    if not isinstance(found, dict) or len(found) > MAX_SYSTEMS or not all(map(is_system_id, found)):
        raise Malformed("json/field", f"{where}: want an object from at most {MAX_SYSTEMS} system ids to indexes")
    return {system: parse_hex(text(index, f"{where}.{system}"), 32) for system, index in found.items()}


def query_text(name: str) -> str:
    """Read a short text as a parameter; empty if it is not there."""
    value = request.args.get(name, "")
    if len(value) > MAX_TEXT:
        raise Malformed("http/query", f"{name}: want at most {MAX_TEXT} characters")
    return value


def path_position(position: str) -> int:
    """Read a log position from the path. Raises `Malformed`: `http/path`."""
    try:
        return parse_decimal(position)
    except Malformed as error:
        raise Malformed("http/path", f"position: {error.message}") from None


def path_system(system: str) -> str:
    """Check a system id from the path. Raises `Malformed`: `http/path`."""
    if not is_system_id(system):
        raise Malformed("http/path", "want a system id: up to 64 of a-z, 0-9, '.', '_' and '-'")
    return system
