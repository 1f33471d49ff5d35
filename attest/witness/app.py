"""The witness over HTTP: what C2SP tlog-witness asks for, and a page that says what this is.

Spec: C2SP tlog-witness; docs/spec/witness.md#http.
"""

import secrets
import traceback
from typing import Any, Final

import structlog
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.witness.quotas import TooMany
from attest.witness.request import MAX_BODY
from attest.witness.witness import Stale, Witness

_STATUS: Final[dict[type[AttestError], int]] = {
    Malformed: 400,
    Untrusted: 403,
    Conflict: 404,
    Refuted: 422,
    Unavailable: 503,
}
_TEXT: Final = "text/plain; charset=utf-8"
_SIZE: Final = "text/x.tlog.size"
_RETRY_S: Final = 2
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(witness: Witness) -> Flask:
    """Serve `witness` over HTTP."""
    app = Flask("attest.witness", static_folder=None, template_folder=None)
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    log = structlog.get_logger("attest.witness")

    registry = CollectorRegistry()
    count = Counter(
        "attest_witness_answers", "Requests to cosign, by what became of them.", ["answer"], registry=registry
    )
    good = Gauge("attest_witness_list_good", "1 if the list of logs is used as it is now.", registry=registry)
    good.set_function(lambda: float(witness.logs.problem is None))

    def add_checkpoint() -> Response:
        body = request.get_data(cache=False)
        try:
            lines = witness.add_checkpoint(body)
        except AttestError as error:
            count.labels(error.code).inc()
            raise
        count.labels("cosigned").inc()
        return _answer(lines)

    def newest(digest: str) -> Response:
        found = witness.newest(digest)
        if found is None:
            return _answer("no checkpoint of this log was cosigned here\n", 404)
        response = _answer(found.decode(), cache="public, max-age=2")
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    def about() -> Response:
        keys = "".join(f"{verifier.encode()}\n" for verifier in witness.keys.verifiers)
        kind = "state witness" if witness.assesses else "witness"
        what = f"{witness.keys.name}: a {kind} of {len(witness.logs.all())} logs (c2sp.org/tlog-witness)"
        return _answer(f"{what}\n{keys}")

    def metrics() -> Response:
        return _answer(generate_latest(registry).decode(), content_type=CONTENT_TYPE_LATEST)

    def healthz() -> Response:
        witness.check()
        return _answer("ok\n")

    for rule, view, method in (
        ("/add-checkpoint", add_checkpoint, "POST"),
        ("/<digest>/checkpoint", newest, "GET"),
        ("/healthz", healthz, "GET"),
        ("/metrics", metrics, "GET"),
        ("/", about, "GET"),
    ):
        app.add_url_rule(rule, rule.replace(".", "_"), view, methods=[method], provide_automatic_options=False)
    app.register_error_handler(AttestError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, lambda error: _internal(error, log))

    @app.after_request
    def after(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return app


def _answer(body: str, status: int = 200, content_type: str = _TEXT, cache: str = "no-store") -> Response:
    response = Response(body, status, content_type=content_type)
    response.headers["Cache-Control"] = cache
    return response


def _refused(error: AttestError) -> Response:
    """Answer with the code on the first line and the words below it; with the size alone if that is what differs."""
    if isinstance(error, Stale):
        return _answer(f"{error.size}\n", 409, _SIZE)
    kind = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    status = 429 if isinstance(error, TooMany) else kind
    said = "".join(f"{line}\n" for line in (error.code, error.message, error.hint) if line)
    response = _answer(said.encode("utf-8", "replace").decode(), status)
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(error.retry_s if isinstance(error, TooMany) else _RETRY_S)
    return response


def _http(error: HTTPException) -> Response:
    """Answer what Flask and werkzeug raise by themselves; their HTML is never sent."""
    match error:
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.valid_methods or ()))
            response = _answer(f"this path takes {allowed}\n", 405)
            response.headers["Allow"] = allowed
        case RequestEntityTooLarge():
            response = _answer(f"want at most {MAX_BODY} bytes\n", 413)
        case HTTPException(code=404):
            response = _answer("nothing is served at this path\n", 404)
        case _:
            response = _answer("this request cannot be read\n", 400)
    return response


def _internal(error: Exception, log: Any) -> Response:
    """Log where it failed, without anything that was sent, and answer with a number to ask for."""
    incident = secrets.token_hex(8)
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    log.error(
        "internal",
        incident=incident,
        error=type(error).__name__,
        where=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )
    return _answer(f"a fault of ours, logged as incident {incident}\n", 500)
