"""`attest serve`: HTTP and the sequencer in one process."""

import contextlib
import logging
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import click
import structlog

from attest.api import create_app
from attest.api.server import make_server
from attest.cli import output
from attest.config import Config
from attest.errors import Unavailable
from attest.node import Node


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    envvar="ATTEST_DIR",
    help="where attest.toml is",
)
@click.option("--host", help="instead of the configured one")
@click.option("--port", type=int, help="instead of the configured one; 0 takes a free one")
def serve(directory: Path, host: str | None, port: int | None) -> None:
    """Serve the log in DIR until SIGTERM or Ctrl-C.

    Several may serve one database: one of them sequences, the others stand by and answer.
    """
    config = Config.load(directory)
    log_to(sys.stderr.isatty())
    logger = structlog.get_logger("attest.serve")
    node = Node.open(config)
    try:
        app = create_app(node, wait_s=config.wait_s, writes_per_minute=config.writes_per_minute)
        address = host or config.host, config.port if port is None else port
        try:
            server = make_server(app, host=address[0], port=address[1], threads=config.threads)
        except OSError as error:
            raise Unavailable(
                "serve/address",
                f"cannot listen on {address[0]}:{address[1]}: {error.strerror}",
                hint="another --port, or 0 for any free one",
            ) from None
        node.start()
        for place in _places(server):
            logger.info("serving", url=place, origin=config.origin, size=node.view.size)
            output.line("url", place)
        sys.stdout.flush()
        _run(server)
        logger.info("stopping")
    finally:
        node.stop()


def _run(server: Any) -> None:
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


def _places(server: Any) -> list[str]:
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
        cache_logger_on_first_use=True,
    )
    # waitress reports a full task queue on every request that waits for a moment.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
