"""The HTTP server: waitress, with bounds on what silent, slow and greedy connections can hold.

A request and its body are read before a thread sees them, and an answer is written into memory or a temporary file, so
no thread waits for a client. Beyond so many connections the one that has waited longest for its client makes room.
"""

import resource
import time
from typing import Any, Final

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

from attest.formats.statement import MAX_ROWS

_MOST: Final = 4096  # connections, where the process may have that many files open
_FILES: Final = 3  # that a connection may need: itself, and what waits to be read and to be sent
_OTHER_FILES: Final = 192  # of the database and the store
_ACCEPTED: Final = 64  # beyond them, while those that make room are being closed
_MAX_BODY: Final = MAX_ROWS * 64 + 65_536  # bytes: the largest row file, and room for headers
_IN_MEMORY: Final = 1 << 20  # bytes of a request that waitress keeps before it goes on in a temporary file


def make_server(
    app: Flask,
    *,
    host: str,
    port: int,
    threads: int,
    most: int | None = None,
    max_body: int = _MAX_BODY,
    sockets: dict[int, Any] | None = None,
) -> Any:
    """Listen; `run` of what this returns answers. Raises `OSError`.

    Args:
        most: connections; by default as many as the limit on open files lets us have.
        max_body: bytes; what the server stops reading, and answers 413, at.
    """
    sockets = {} if sockets is None else sockets
    most = _affordable() if most is None else most
    server = create_server(
        app,
        map=sockets,
        host=host,
        port=port,
        threads=threads,
        max_request_body_size=max_body,
        inbuf_overflow=_IN_MEMORY,
        connection_limit=most + _ACCEPTED,
        asyncore_use_poll=True,  # select() ends with file descriptor 1023
        ident="attest",
        clear_untrusted_proxy_headers=True,
    )
    bounded = type("Channel", (_Channel,), {"most": most})
    for listening in sockets.values():
        if isinstance(listening, BaseWSGIServer):
            listening.channel_class = bounded
    return server


def _affordable() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = _MOST if files == resource.RLIM_INFINITY else (files - _OTHER_FILES) // _FILES - _ACCEPTED
    return max(16, min(_MOST, room))


class _Channel(HTTPChannel):
    """One connection."""

    most = _MOST

    def __init__(self, server: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(server, *arguments, **named)
        # Bytes that trickle in do not count as a sign of life, a request that was answered does.
        self.waiting_since = time.monotonic()
        others = [each for each in server.active_channels.values() if each is not self and not each.will_close]
        if len(others) >= self.most and (idle := [each for each in others if not each.requests]):
            min(idle, key=lambda each: each.waiting_since).will_close = True

    def service(self) -> None:
        """Answer one request."""
        super().service()
        self.waiting_since = time.monotonic()

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Give up on a client that asks for more and reads nothing: waitress would let this thread wait for it."""
        if self.total_outbufs_len > self.adj.outbuf_high_watermark:
            with self.outbuf_lock:
                # The stubs leave waitress's private methods out.
                self._flush_exception(self._flush_some, do_close=False)  # type: ignore[attr-defined]
                if self.total_outbufs_len > self.adj.outbuf_high_watermark:
                    self.will_close, self.connected = True, False
                    self.server.pull_trigger()
