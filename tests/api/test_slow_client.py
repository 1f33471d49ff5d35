"""Clients that send 64 MiB slowly keep nobody waiting."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from waitress import wasyncore

from attest.api.server import make_server
from attest.formats.rows import ROW
from attest.formats.statement import MAX_ROWS
from tests.api.conftest import Site

LIMIT = MAX_ROWS * ROW  # bytes
PARTS = 16
MOST = 24  # connections


@pytest.fixture
def address(site: Site) -> Iterator[tuple[str, int]]:
    """Serve on loopback with two threads."""
    sockets: dict[int, object] = {}
    server = make_server(site.app(), host="127.0.0.1", port=0, threads=2, most=MOST, sockets=sockets)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", int(server.effective_port)
    finally:
        server.trigger.pull_trigger(lambda: _close(server, sockets))
        thread.join(10)
        server.task_dispatcher.shutdown()


def _close(server: Any, sockets: dict[int, object]) -> None:
    # What nobody has read is in temporary files, which waitress leaves to the garbage collector.
    for channel in list(server.active_channels.values()):
        for buffer in channel.outbufs:
            buffer.close()
    wasyncore.close_all(sockets)


def _ask(address: tuple[str, int], method: str, path: str, **more: object) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request(method, path, **more)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()
    finally:
        connection.close()


def test_slow_uploads_block_nobody(site: Site, address: tuple[str, int]):
    """Four uploads of 64 MiB trickle in over two threads; reads between their parts are answered at once."""
    head = (
        f"PUT /rows/{'a' * 64} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {LIMIT}\r\n\r\n"
    ).encode()
    part = bytes(LIMIT // PARTS)
    uploads = [socket.create_connection(address, timeout=60) for _ in range(4)]
    slowest_s = 0.0
    try:
        for upload in uploads:
            upload.sendall(head)
        for _ in range(PARTS):
            for upload in uploads:
                upload.sendall(part)
            start = time.monotonic()
            assert _ask(address, "GET", "/checkpoint")[0] == 200
            slowest_s = max(slowest_s, time.monotonic() - start)
        for upload in uploads:
            # Nobody asked for these rows: refused, with all of them read.
            assert upload.recv(1 << 16).startswith(b"HTTP/1.1 409 ")
    finally:
        for upload in uploads:
            upload.close()

    assert slowest_s < 5


def test_a_large_row_file_arrives_whole(site: Site, address: tuple[str, int]):
    """4 MiB of rows for a statement that names them are taken, published, and read back."""
    rows = site.rows(65_536)
    headers = {"Content-Type": "application/cose"}
    assert _ask(address, "POST", "/entries", body=site.hold(rows).entry, headers=headers)[0] == 202

    path, headers = f"/rows/{rows.root().hex()}", {"Content-Type": "application/octet-stream"}
    assert _ask(address, "PUT", path, body=rows.encoded, headers=headers)[0] == 202
    site.step()
    assert _ask(address, "GET", path) == (200, "application/octet-stream", rows.encoded)


def test_a_body_beyond_every_limit_is_cut_off(address: tuple[str, int]):
    """The server does not read beyond 64 MiB, and says so, not in HTML."""
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(LIMIT + (1 << 20))}
    status, content_type, _ = _ask(address, "PUT", f"/rows/{'a' * 64}", headers=headers)

    assert status == 413
    assert "html" not in content_type


@pytest.mark.parametrize("sent", [b"", b"GET /checkpoint HTTP/1.1\r\n"])
def test_connections_that_say_nothing_make_room(address: tuple[str, int], sent: bytes):
    """More of them than are kept, some sending a header now and then: everybody else is answered at once."""
    silent = [socket.create_connection(address, timeout=60) for _ in range(5 * MOST)]
    try:
        for connection in silent:
            connection.sendall(sent)
        for _ in range(3):
            for connection in silent:
                with contextlib.suppress(OSError):
                    connection.sendall(b"X: y\r\n" if sent else b"")
            start = time.monotonic()
            assert _ask(address, "GET", "/checkpoint")[0] == 200
            assert time.monotonic() - start < 5
    finally:
        for connection in silent:
            connection.close()


def test_who_reads_no_answers_keeps_no_thread(site: Site, address: tuple[str, int], caplog: pytest.LogCaptureFixture):
    """Requests for much, one after the other on a connection that is never read, hold none of the two threads."""
    rows = site.rows(65_536)
    headers = {"Content-Type": "application/cose"}
    assert _ask(address, "POST", "/entries", body=site.hold(rows).entry, headers=headers)[0] == 202
    path, headers = f"/rows/{rows.root().hex()}", {"Content-Type": "application/octet-stream"}
    assert _ask(address, "PUT", path, body=rows.encoded, headers=headers)[0] == 202
    site.step()
    greedy = []
    try:
        for _ in range(4):
            connection = socket.socket()
            greedy.append(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(address)
            connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode() * 20)
        time.sleep(2)
        start = time.monotonic()
        assert _ask(address, "GET", "/checkpoint")[0] == 200
        assert time.monotonic() - start < 5
    finally:
        for connection in greedy:
            connection.close()

    assert "Exception" not in caplog.text
