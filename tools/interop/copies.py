"""Copies of a log's public directory with a fault in them, served from this process."""

import contextlib
import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Change = Callable[[bytes], bytes]


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory's files; the URL has no final slash."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def copy(public: Path, target: Path, *, path: str | None = None, change: Change | None = None) -> Path:
    """Copy what is published, without row files; change one file."""
    shutil.copytree(public, target, ignore=shutil.ignore_patterns("rows"))
    if path is not None and change is not None:
        (target / path).write_bytes(change((target / path).read_bytes()))
    return target


def flip(at: int = -1) -> Change:
    """Return a change of one bit of one byte."""

    def change(found: bytes) -> bytes:
        bad = bytearray(found)
        bad[at] ^= 1
        return bytes(bad)

    return change


def replace(old: bytes, new: bytes) -> Change:
    """Return a change of the first occurrence of `old`, which must be there."""

    def change(found: bytes) -> bytes:
        if old not in found:
            raise ValueError(f"no {old!r} to change")
        return found.replace(old, new, 1)

    return change
