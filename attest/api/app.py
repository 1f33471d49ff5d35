"""Putting the endpoints together: routes, headers, counters, the request log."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import structlog
from flask import Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from attest.api import problems
from attest.api.answers import HOUR, NO_STORE, plain, read_json
from attest.api.backend import Node
from attest.api.inputs import check_query
from attest.api.limits import Uploads, WriteLimit
from attest.api.openapi import document
from attest.api.pages import Pages
from attest.api.reads import Reads
from attest.api.writes import Writes
from attest.errors import Conflict
from attest.store.db import Clock

_SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGES: Final = frozenset({"/", "/verify", "/verify.html", "/lookup", "/proves"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS"})


class Route(NamedTuple):
    """A path, what answers it, and the query parameters it knows."""

    method: str
    rule: str
    view: Callable[..., Response]
    query: frozenset[str] = frozenset()
    open: bool = True  # may pages of other sites ask?

    @property
    def page(self) -> bool:
        """Is it for people, who follow links that others have made?"""
        return self.rule in _PAGES or self.rule.startswith("/browse/")


def create_app(
    node: Node,
    *,
    wait_s: float = 2.0,
    max_waiting: int = 8,
    max_body: int = 64 << 20,
    max_uploads: int = 256 << 20,
    writes_per_minute: int | None = None,
    registry: CollectorRegistry | None = None,
    clock_s: Callable[[], float] = time.monotonic,
    clock: Clock = time.time,
) -> Flask:
    """Serve `node` over HTTP.

    Args:
        wait_s: how long a write waits for its receipt before it answers 202.
        max_waiting: how many writes may wait at once; others are answered 202 immediately.
        max_body: bytes; row files above it are refused even where the log's limits allow them.
        max_uploads: bytes of row files that may be in memory at once, at least `max_body`; beyond, 503.
        writes_per_minute: for each address; None for no limit.
        registry: where request counters go and what /metrics shows; a new one if None.
        clock_s: seconds, never going back; for the limit on writes.
        clock: Unix seconds; for how old pages say that something is.
    """
    app = Flask("attest", static_folder=None, template_folder=None)
    # Redirects would be answers without a body of ours; a path with `//` is simply not found.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    registry = registry or CollectorRegistry()
    writes = Writes(
        node,
        WriteLimit(writes_per_minute, clock_s),
        Uploads(max_uploads),
        threading.Semaphore(max_waiting),
        wait_s,
        max_body,
    )
    pages = Pages(node, clock)
    routes = _routes(Reads(node), writes, pages, registry)
    for route in routes:
        app.add_url_rule(route.rule, _endpoint(route.method, route.rule), route.view, methods=[route.method])
    by_endpoint = {_endpoint(route.method, route.rule): route for route in routes}
    closed = frozenset(_endpoint(route.method, route.rule) for route in routes if not route.open)

    log = structlog.get_logger("attest.api")
    problems.install(app, log, pages.problem)
    _watch(app, registry, log)

    @app.before_request
    def before() -> Response | None:
        # Werkzeug takes all slashes at the front for one, whatever it is told.
        if request.environ.get("PATH_INFO", "").startswith("//"):
            raise Conflict("http/not-found", "nothing is served at this path", hint="see /openapi.json")
        if (place := _place_of(request.path)) is not None and request.method in ("GET", "HEAD"):
            query = request.query_string.decode("ascii", "replace")
            return Response(status=308, headers={"Location": f"{place}?{query}" if query else place})
        if request.method == "OPTIONS" and request.routing_exception is None:
            return _options(closed)
        if (route := by_endpoint.get(request.endpoint or "")) is not None:
            check_query(route.query, strange=route.page)
        return None

    @app.after_request
    def after(response: Response) -> Response:
        for name, value in _SECURITY.items():
            response.headers.setdefault(name, value)
        if request.is_secure:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if request.method != "OPTIONS" and request.endpoint not in closed:
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Access-Control-Expose-Headers"] = "Content-Range, ETag, Location, Retry-After"
        return response

    return app


def _routes(reads: Reads, writes: Writes, pages: Pages, registry: CollectorRegistry) -> list[Route]:
    page = frozenset({"limit"})
    return [
        Route("POST", "/entries", writes.post_entry, open=False),
        Route("PUT", "/rows/<root>", writes.put_rows, open=False),
        Route("GET", "/entries/<entry_id>", writes.get_entry),
        Route("GET", "/entries/<entry_id>/statement", writes.get_statement),
        Route("GET", "/entries/<entry_id>/promise", writes.get_promise),
        Route("GET", "/checkpoint", reads.checkpoint),
        Route("GET", "/tile/<path:rest>", reads.tile),
        Route("GET", "/rows/<root>", reads.rows),
        Route("GET", "/policy", reads.policy),
        Route("GET", "/policy/state", reads.state_policy),
        Route("GET", "/log", reads.log),
        Route("GET", "/checkpoints", reads.checkpoints, page | {"before"}),
        Route("GET", "/holders", reads.holders, page | {"after"}),
        Route("GET", "/holders/<party>", reads.holder),
        Route("GET", "/holders/<party>/systems", reads.systems),
        Route("GET", "/holders/<party>/entries", reads.entries, page | {"before"}),
        Route("GET", "/holders/<party>/proof", reads.party_proof),
        Route("GET", "/holders/<party>/entries/<path:part>", reads.party_list),
        Route("GET", "/proofs/entry/<entry_id>", reads.proof_entry),
        Route("GET", "/proofs/row/<entry_id>/<index>", reads.proof_row, frozenset({"size"})),
        Route("POST", "/proofs/lookup", reads.proof_lookup),
        Route("GET", "/proofs/transition/<epoch>", reads.proof_transition),
        Route("GET", "/.well-known/scitt-keys", reads.keys),
        Route("GET", "/.well-known/scitt-keys/<kid>", reads.key),
        Route("GET", "/holders/<party>/systems/<system>/history", reads.history, page | {"before"}),
        Route("GET", "/holders/<party>/systems/<system>/history.csv", pages.history_csv, frozenset({"before"})),
        Route("GET", "/", pages.home),
        Route("GET", "/browse/holders", pages.holders, frozenset({"q", "after"})),
        Route("GET", "/browse/holders/<party>", pages.holder, frozenset({"after"})),
        Route("GET", "/browse/holders/<party>/feed.atom", pages.atom),
        Route("GET", "/browse/holders/<party>/feed.json", pages.json_feed),
        Route("GET", "/browse/holders/<party>/entries", pages.holder_entries, frozenset({"before"})),
        Route("GET", "/browse/holders/<party>/systems/<system>", pages.system),
        Route("GET", "/browse/entries", pages.entries, frozenset({"before"})),
        Route("GET", "/browse/entries/<position>", pages.entry),
        Route("GET", "/browse/log", pages.log, frozenset({"before"})),
        Route("GET", "/verify", pages.verify),
        Route("GET", "/verify.html", pages.verify_alone),
        Route("GET", "/lookup", pages.lookup),
        Route("GET", "/proves", pages.proves),
        Route("GET", "/assets/<version>/<path:name>", pages.asset),
        Route("GET", "/openapi.json", lambda: read_json(document(), HOUR)),
        Route("GET", "/healthz", reads.healthz),
        Route("GET", "/metrics", lambda: plain(generate_latest(registry), CONTENT_TYPE_LATEST, NO_STORE), open=False),
    ]


def _endpoint(method: str, rule: str) -> str:
    return f"{method} {rule}".replace(".", "_")


def _place_of(path: str) -> str | None:
    """Return where a page is that somebody asks for as people write addresses, None if nobody does."""
    bare = path.rstrip("/").lower()
    if bare == "/browse":
        return "/browse/holders"
    is_page = bare in _PAGES or bare.startswith("/browse/")
    return quote(bare) if is_page and bare != path else None


def _options(closed: frozenset[str]) -> Response:
    """Answer what a path takes; to pages of other sites only what reads."""
    allowed = sorted(current_app.make_default_options_response().allow or ())
    response = Response(status=204)
    del response.headers["Content-Type"]
    response.headers["Allow"] = ", ".join(allowed)
    rule = request.url_rule.rule if request.url_rule else ""
    reading = [m for m in allowed if m not in ("HEAD", "OPTIONS") and _endpoint(m, rule) not in closed]
    if reading:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Allow-Methods"] = ", ".join(reading)
        response.headers["Access-Control-Allow-Headers"] = "Content-Type, If-None-Match, Range"
        response.headers["Access-Control-Max-Age"] = "86400"
    return response


def _watch(app: Flask, registry: CollectorRegistry, log: Any) -> None:
    """Count and log requests by route: no id, no query, no address, no body."""
    count = Counter("attest_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry)
    took = Histogram("attest_http_request_seconds", "Time to answer.", ["method", "route"], registry=registry)

    @app.before_request
    def start() -> None:
        g.started_s = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        seconds = time.perf_counter() - g.started_s
        method = request.method if request.method in _METHODS else "other"
        route = request.url_rule.rule if request.url_rule else "none"
        count.labels(method, route, str(response.status_code)).inc()
        took.labels(method, route).observe(seconds)
        log.info(
            "request", method=method, route=route, status=response.status_code, ms=round(seconds * 1000, 1),
            bytes=response.calculate_content_length(),
        )  # fmt: skip
        return response
