"""Chromium, a server of files on an own origin, and pages that fail where a site must not."""

import functools
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
# Nothing that Chromium does by itself may leave this machine.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium: Debian's, or the one that CHROMIUM names."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert program is not None, "no Chromium: tools/setup installs one, or set CHROMIUM to its path"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests; `page` gives each a context of its own."""
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own. The test fails if it logs an error, throws one, or asks another origin.

    The origin is that of the first request.
    """
    context = browser.new_context()
    fresh = context.new_page()
    wrong: list[str] = []
    origins: set[str] = set()

    def asked(request: Any) -> None:
        if request.url.startswith(("http://", "https://", "ws://", "wss://")):
            origins.add("/".join(request.url.split("/")[:3]))

    fresh.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    fresh.on("pageerror", lambda error: wrong.append(str(error)))
    fresh.on("request", asked)
    yield fresh
    context.close()
    assert wrong == []
    assert len(origins) <= 1, f"requests off the origin: {sorted(origins)}"


class _Quiet(SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        # A browser runs a module only if it has the type of one, and the machine's own table may not know it.
        types = {".html": "text/html", ".js": "text/javascript", ".json": "application/json"}
        return types.get(Path(path).suffix, "application/octet-stream")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serve() -> Iterator[str]:
    """Serve the repository's files, and yield the origin: /web/lib/…, /tests/vectors/…"""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(ROOT)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def files() -> Iterator[str]:
    """The origin of a server of the repository's files."""
    with serve() as origin:
        yield origin
