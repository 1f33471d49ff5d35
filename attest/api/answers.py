"""Bodies, media types and how long they may be kept.

Spec: docs/spec/http.md#caching.
"""

import gzip
import json
from typing import Any, Final

from flask import Response, request

from attest.encoding import encode_base64url, sha256

IMMUTABLE: Final = "public, max-age=31536000, immutable"  # named by its content, or by its place in the log
NEWEST: Final = "public, max-age=2"  # moves with the checkpoint
MINUTE: Final = "public, max-age=60"
HOUR: Final = "public, max-age=3600"
NO_STORE: Final = "no-store"

JSON: Final = "application/json"
CBOR: Final = "application/cbor"
COSE: Final = "application/cose"
STATEMENT: Final = "application/scitt-statement+cose"
RECEIPT: Final = "application/scitt-receipt+cose"
HTML: Final = "text/html"
OCTETS: Final = "application/octet-stream"
TEXT: Final = "text/plain; charset=utf-8"
PROBLEM_JSON: Final = "application/problem+json"
PROBLEM_CBOR: Final = "application/concise-problem-details+cbor"

_CBOR_CLIENT: Final = (CBOR, COSE, STATEMENT, RECEIPT, PROBLEM_CBOR)
_JSON_CLIENT: Final = (JSON, PROBLEM_JSON)


def wants_cbor() -> bool:
    """Tell whether the client likes CBOR strictly better than JSON; no or a careless `Accept` gets JSON."""
    accept = request.accept_mimetypes
    return max(accept.quality(t) for t in _CBOR_CLIENT) > max(accept.quality(t) for t in _JSON_CLIENT)


def wants_html() -> bool:
    """Tell whether a browser asks: the client likes HTML strictly better than what programs read."""
    accept = request.accept_mimetypes
    return accept.quality(HTML) > max(accept.quality(t) for t in (*_JSON_CLIENT, *_CBOR_CLIENT))


def prefer(usual: str, other: str) -> str:
    """Choose `usual` unless the client names `other` and likes it at least as well."""
    accept = request.accept_mimetypes
    named = any(value == other for value, _ in accept)
    return other if named and accept.quality(other) >= accept.quality(usual) else usual


def plain(body: bytes, content_type: str, cache: str, status: int = 200) -> Response:
    """Answer bytes as they are."""
    response = Response(body, status, content_type=content_type)
    response.headers["Cache-Control"] = cache
    return response


def read(body: bytes, content_type: str, cache: str) -> Response:
    """Answer a read: with an entity tag, and 304 where the client has it."""
    response = plain(body, content_type, cache)
    response.set_etag(_tag(body))
    response.make_conditional(request)
    return response


def read_json(value: Any, cache: str) -> Response:
    """Answer a JSON read."""
    return read(dump(value), JSON, cache)


def read_compressed(body: bytes, content_type: str, cache: str) -> Response:
    """Answer a read, compressed where the client takes gzip."""
    if not request.accept_encodings.quality("gzip"):
        response = read(body, content_type, cache)
    else:
        # mtime=0: the same bytes, and so the same tag, every time.
        response = read(gzip.compress(body, 6, mtime=0), content_type, cache)
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    return response


def read_range(body: bytes, content_type: str, cache: str, tag: str) -> Response:
    """Answer a read of which the client may ask a part. Several parts at once are answered whole (RFC 9110 §14.2)."""
    response = plain(body, content_type, cache)
    response.set_etag(tag)
    wanted = request.range
    single = wanted is not None and wanted.units == "bytes" and len(wanted.ranges) == 1
    response.make_conditional(request, accept_ranges="bytes" if single else False, complete_length=len(body))
    response.headers["Accept-Ranges"] = "bytes"
    return response


def dump(value: Any) -> bytes:
    """Write JSON for machines."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _tag(body: bytes) -> str:
    return encode_base64url(sha256(body)[:16])
