"""What every command that serves over HTTP does: listen, answer until a signal comes, log."""

import contextlib
import logging
import signal
import socket
import sys
import threading
from types import FrameType
from typing import Any

import structlog
from flask import Flask

from attest.api.server import make_server
from attest.errors import Unavailable


def listen(app: Flask, host: str, port: int, **more: Any) -> Any:
    """Listen, with what else `make_server` takes. Raises `Unavailable`: `serve/address`."""
    try:
        return make_server(app, host=host, port=port, **more)
    except OSError as error:
        raise Unavailable(
            "serve/address",
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="another --port, or 0 for any free one",
        ) from None


def run(server: Any) -> None:
    """Answer until a signal comes."""
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        if not stopped.is_set():
            stopped.set()
            raise SystemExit(0)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with contextlib.suppress(SystemExit):
            server.run()
    finally:
        # Requests that are being answered are finished; no new ones are taken.
        server.close()
        dispatcher = getattr(server, "task_dispatcher", None)
        if dispatcher is not None:
            dispatcher.shutdown(cancel_pending=False, timeout=10)
        for number, handler in before.items():
            signal.signal(number, handler)


def places(server: Any) -> list[str]:
    """List the URLs under which it can be reached from here."""
    found: list[tuple[str, int]] = getattr(server, "effective_listen", None) or []
    if not found:
        found = [(server.effective_host, server.effective_port)]
    return [f"http://{f'[{host}]' if _is_v6(host) else host}:{port}" for host, port in found]


def _is_v6(host: str) -> bool:
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET6, host)
        return True
    return False


def log_to(people: bool) -> None:
    """Write the log to stderr: lines for people on a terminal, JSON otherwise. Nothing that was sent is in it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # waitress reports a full task queue on every request that waits for a moment.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
