"""Chromium, a server of files on an own origin, and pages that fail where a site must not."""

import contextlib
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
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.web.worlds import EDGES, Served, rich, served

ROOT = Path(__file__).resolve().parents[2]
# A machine that runs other tests as well, or other machines, may be slow; what never comes is still told.
expect.set_options(timeout=60_000)
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


class Watch:
    """What a page does that a page of ours must not."""

    def __init__(self, page: Page) -> None:
        self.wrong: list[str] = []  # errors that it logs or throws
        self.origins: set[str] = set()  # that it asks
        page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if request.url.startswith(("http://", "https://", "ws://", "wss://")):
            self.origins.add("/".join(request.url.split("/")[:3]))

    def check(self, status: int = 200) -> None:
        """Fail if there was an error, or more than one origin was asked; then forget what was.

        Args:
            status: of the page itself, which Chromium logs as an error if it is one.
        """
        expected = f"Failed to load resource: the server responded with a status of {status} "
        wrong = [each for each in self.wrong if not (status >= 400 and each.startswith(expected))]
        origins = sorted(self.origins)
        self.wrong.clear()
        self.origins.clear()
        assert wrong == []
        assert len(origins) <= 1, f"requests off the origin: {origins}"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own. The test fails if it logs an error, throws one, or asks another origin."""
    context = browser.new_context()
    fresh = context.new_page()
    watch = Watch(fresh)
    yield fresh
    context.close()
    watch.check()


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> Iterator[Page]:
    """A page that the tests of a module share: they watch it themselves."""
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Logs with their sites: `rich`, `empty`, `stale`, `ended`."""
    directory = tmp_path_factory.mktemp("sites")
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(served(make(directory / name))) for name, make in EDGES.items()}
        found["rich"] = stack.enter_context(served(*rich(directory / "rich")))
        yield found


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
