"""Whoever serves a log, or has made a copy, sends what it likes: the audit ends soon, and accuses nobody."""

import os
import socketserver
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from attest.audit.audit import Order, audit
from attest.audit.findings import Report
from attest.audit.source import DirectorySource, HttpSource
from attest.errors import Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.note import Note, sign_text
from attest.transport import LogClient
from tests.audit.liars import grown, row_file, shown, tile
from tests.audit.published import policy, write
from tests.ledger.log import ORIGIN
from tests.ledger.model import Key

GOOD = ("served/tile", "served/tile-missing", "served/entries", "served/entries-missing", "served/rows", "served/tree")


def endless(size: int = 1 << 40):
    """A body that does not end."""
    sent = 0
    while sent < size:
        yield bytes(1 << 16)
        sent += 1 << 16


def refuses(request: httpx.Request) -> httpx.Response:
    problem = {"code": "log/fork", "detail": "the log has signed two histories"}
    return httpx.Response(422, json=problem)


ANSWERS: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "endless": lambda _: httpx.Response(200, content=endless()),
    "an endless error": lambda _: httpx.Response(404, content=endless()),
    "a bomb": lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"\x1f\x8b"),
    "a redirect": lambda _: httpx.Response(302, headers={"Location": "http://169.254.169.254/"}),
    "not UTF-8": lambda _: httpx.Response(200, content=b"\xff\xfe\x00" * 50),
    "nested": lambda _: httpx.Response(500, content=b"[" * 60_000),
    "a code of its choice": refuses,
    "nothing": lambda _: httpx.Response(200, content=b""),
    "a page": lambda _: httpx.Response(200, content=b"<html>" * 100),
}
PLACES = {
    "checkpoint": lambda path: path == "/checkpoint",
    "tiles": lambda path: path.startswith("/tile/0"),
    "bundles": lambda path: path.startswith("/tile/entries"),
    "row files": lambda path: path.startswith("/rows/"),
    "proofs": lambda path: path.startswith("/proofs/"),
}


def over_http(answer: Callable[[httpx.Request], httpx.Response]) -> Report:
    transport = httpx.MockTransport(answer)
    with LogClient("http://log.example", None, transport=transport, patience_s=0) as client:
        return audit(HttpSource(client), Order(policy(), "log", 0, live=False), None, None)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return shown(grown(80), tmp_path_factory.mktemp("log"))


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_is_answered_the_log_is_not_accused(place: Path, name: str, where: str) -> None:
    """What is served wrong is a fault of whoever serves it, or nothing at all; and it costs little."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        assert request.url.host == "log.example"
        if PLACES[where](path):
            return ANSWERS[name](request)
        file = place / path.lstrip("/")
        return httpx.Response(200, content=file.read_bytes()) if file.is_file() else httpx.Response(404)

    tracemalloc.start()
    begun = time.monotonic()
    try:
        found = over_http(answer).findings
    except Unavailable:
        found = []
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert {each.code for each in found} <= {*GOOD, "served/rows-missing"}
    assert {each.severity for each in found} <= {"fault", "missing"}
    assert peak < 300 << 20
    assert time.monotonic() - begun < 60


def look(directory: Path) -> Report:
    return audit(DirectorySource(directory), Order(policy(), "log", 0, live=False), None, None)


def test_a_copy_does_not_lead_out_of_its_directory(tmp_path: Path) -> None:
    """A link to a file of ours would put it into evidence that we publish; to a link inside there is no objection."""
    operator = grown(80)
    place = shown(operator, tmp_path / "log")
    target = row_file(place, operator)
    inside = target.rename(place / "elsewhere")
    target.symlink_to(inside)
    assert look(place).outcome == "clean"
    secret = write_secret(tmp_path / "secret", inside.read_bytes())
    target.unlink()
    target.symlink_to(secret)
    with pytest.raises(Unavailable, match="out of the directory"):
        look(place)


def write_secret(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("make", ["pipe", "loop", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: str) -> None:
    """A pipe would be read for ever."""
    operator = grown(80)
    place = shown(operator, tmp_path / "log")
    target = tile(place, operator, "entries")
    target.unlink()
    if make == "pipe":
        os.mkfifo(target)
    elif make == "loop":
        target.symlink_to(target)
    elif make == "device":
        target.symlink_to("/dev/zero")
    else:
        target.mkdir()
    try:
        found = look(place).findings
    except Unavailable:
        found = []
    assert {each.severity for each in found} <= {"missing"}


def resigned(size: int, root: bytes) -> SignedCheckpoint:
    checkpoint = Checkpoint(ORIGIN, size, root)
    return SignedCheckpoint(
        checkpoint, Note(text := checkpoint.encode(), (sign_text(ORIGIN, Key(ORIGIN + " note"), text),))
    )


@pytest.mark.parametrize("size", [2, 2**40, 2**62, 2**63 - 1])
def test_a_log_of_any_size_costs_what_it_serves(tmp_path: Path, size: int) -> None:
    """The checkpoint may say what it likes."""
    place = shown(grown(80), tmp_path / "log")
    write(place / "checkpoint", resigned(size, bytes(32)).encode())
    tracemalloc.start()
    begun = time.monotonic()
    try:
        found = look(place).findings
    except Unavailable:
        found = []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {each.severity for each in found} <= {"missing", "fault"}
    assert peak < 100 << 20
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: note + b"\n" * 1_000_000,
        lambda note: note + b"\xe2\x80\x94 x eHh4\n" * 100_000,
        lambda note: note.replace(b"\n", b"\r\n"),
        lambda note: note[:-20],
        lambda note: b"\xff" + note,
        lambda note: note[:30] + b"\x00" + note[30:],
        lambda note: b"",
        lambda note: note * 1000,
    ],
)
def test_what_is_no_checkpoint_accuses_nobody(tmp_path: Path, spoil) -> None:
    """A million lines, or half of them."""
    place = shown(grown(80), tmp_path / "log")
    write(place / "checkpoint", spoil((place / "checkpoint").read_bytes()))
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        look(place)
    assert time.monotonic() - begun < 20


class Raw(socketserver.BaseRequestHandler):
    """Answers every request with the same bytes, whatever they are."""

    answer = b""

    def handle(self) -> None:
        self.request.recv(65_536)
        self.request.sendall(self.answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nlog.example",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nlog.example",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlog.example",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nlog",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
        b"\x00" * 100_000,
        b"",
    ],
)
def test_what_is_no_answer_accuses_nobody(answer: bytes) -> None:
    """Lengths that are none, headers without end, no HTTP at all."""
    handler = type("Handler", (Raw,), {"answer": answer})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            with LogClient(url, None, patience_s=0, timeout_s=5) as client, pytest.raises(Unavailable):
                audit(HttpSource(client), Order(policy(), url, 0), None, None)
        finally:
            server.shutdown()
            thread.join()
