"""Errors as problem documents. The only place that knows HTTP statuses of errors.

Spec: RFC 9457, RFC 9290; docs/spec/http.md#problems; docs/errors.md.
"""

import secrets
import traceback
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestedRangeNotSatisfiable

from attest.api.answers import NO_STORE, PROBLEM_CBOR, PROBLEM_JSON, dump, plain, wants_cbor, wants_html
from attest.api.limits import TooMany
from attest.encoding import encode_base64, encode_cbor
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted

STATUS: Final[dict[type[AttestError], int]] = {
    Malformed: 400,
    Untrusted: 403,
    Conflict: 409,
    Refuted: 422,
    Unavailable: 503,
}
# Codes for which HTTP has a better word than their kind has.
BY_CODE: Final = {
    "http/not-found": 404,
    "http/method": 405,
    "proof/gone": 410,
    "http/length": 411,
    "json/size": 413,
    "rows/limit": 413,
    "statement/size": 413,
    "http/content-encoding": 415,
    "http/content-type": 415,
    "http/range": 416,
    "http/rate": 429,
    "http/internal": 500,
}
_PAGE: Final = "attest.page"  # where the app keeps what shows errors to people
NOT_FOUND: Final = "/unknown"  # a code that ends so: there is no such thing

RETRY_S: Final = 2
DETAIL: Final = "attest:problem"  # our entry in a CBOR problem (RFC 9290 section 3.2)

_TITLE: Final = {
    400: "Malformed request",
    403: "Not trusted",
    404: "Not Found",
    405: "Method not allowed",
    409: "Rejected",
    410: "Gone",
    411: "Length required",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Refuted",
    429: "Too Many Requests",
    500: "Internal error",
    503: "Unavailable",
}
_TITLE_BY_CODE: Final = {
    "statement/alg": "Bad Signature Algorithm",
    "key/unknown": "No such key",
    "encoding/base64url": "Invalid locator",
}


def status_of(error: AttestError) -> int:
    """Return the HTTP status of an error."""
    if error.code.endswith(NOT_FOUND):
        return 404
    return BY_CODE.get(error.code) or next(status for kind, status in STATUS.items() if isinstance(error, kind))


def problem(error: AttestError, refusal: bytes | None = None) -> Response:
    """Answer with a problem document, and the log-signed refusal where there is one."""
    status = status_of(error)
    return _answer(error, status, _TITLE_BY_CODE.get(error.code, _TITLE[status]), refusal)


def registration_failed(error: AttestError, refusal: bytes | None) -> Response:
    """Answer that there is no such entry, because the log refused it."""
    return _answer(error, 404, "Registration Failed", refusal)


def _answer(error: AttestError, status: int, title: str, refusal: bytes | None) -> Response:
    # A message may quote what was sent: lone surrogates would not encode.
    detail, hint = _clean(error.message), None if error.hint is None else _clean(error.hint)
    ours: dict[str, Any] = {"code": error.code}
    if error.rows:
        ours["rows"] = list(error.rows)
    if hint is not None:
        ours["hint"] = hint

    if wants_html():
        response = _page(error, status, title)
    elif wants_cbor():
        if refusal is not None:
            ours["refusal"] = refusal
        concise: dict[Any, Any] = {-1: title, -2: detail, DETAIL: ours}
        response = plain(encode_cbor(concise), PROBLEM_CBOR, NO_STORE, status)
    else:
        if refusal is not None:
            ours["refusal"] = encode_base64(refusal)
        response = plain(
            dump({"title": title, "status": status, "detail": detail, **ours}), PROBLEM_JSON, NO_STORE, status
        )
    response.vary.add("Accept")
    if status in (429, 503):
        response.headers["Retry-After"] = str(error.retry_s if isinstance(error, TooMany) else RETRY_S)
    return response


def _page(error: AttestError, status: int, title: str) -> Response:
    page: Page = current_app.extensions[_PAGE]
    return page(error, status, title)


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


Page: TypeAlias = Callable[[AttestError, int, str], Response]


def install(app: Flask, log: Any, page: Page) -> None:
    """Make every error of `app`, its own and Flask's, a problem document, or for browsers a page.

    Args:
        log: where faults of ours are told as well.
        page: shows an error with its status and title.
    """
    app.register_error_handler(AttestError, problem)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, lambda error: _internal(error, log))
    app.extensions[_PAGE] = page


def _http(error: HTTPException) -> Response:
    """Answer what Flask and werkzeug raise by themselves; their HTML is never sent."""
    match error:
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.valid_methods or ()))
            response = problem(Malformed("http/method", f"this path takes {allowed or 'other methods'}"))
            response.headers["Allow"] = allowed
        case RequestedRangeNotSatisfiable():
            response = problem(Malformed("http/range", f"want one range within {error.length} bytes"))
            response.headers["Content-Range"] = f"bytes */{error.length}"
        case HTTPException(code=404):
            response = problem(Conflict("http/not-found", "nothing is served at this path", hint="see /openapi.json"))
        case _:
            response = problem(Malformed("http/request", "this request cannot be read"))
    return response


def _internal(error: Exception, log: Any) -> Response:
    """Log where it failed, without anything that was sent, and answer with a number to ask for."""
    incident = secrets.token_hex(8)
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    # The exception's message stays out: it may quote the request.
    log.error(
        "internal",
        incident=incident,
        route=request.url_rule.rule if request.url_rule else None,
        error=type(error).__name__,
        where=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )
    return problem(Unavailable("http/internal", f"a fault of ours, logged as incident {incident}"))
