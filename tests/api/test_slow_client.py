"""Clients that send 64 MiB slowly keep nobody waiting."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from waitress import wasyncore
from waitress.server import create_server

from attest.formats.rows import ROW
from attest.formats.statement import MAX_ROWS
from tests.api.conftest import Site

LIMIT = MAX_ROWS * ROW  # bytes
PARTS = 16


@pytest.fixture
def address(site: Site) -> Iterator[tuple[str, int]]:
    """Serve on loopback with two threads."""
    sockets: dict[int, object] = {}
    # waitress refuses a body that is as long as its limit.
    server = create_server(
        site.app(), map=sockets, host="127.0.0.1", port=0, threads=2, max_request_body_size=LIMIT + 1
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", server.effective_port
    finally:
        server.trigger.pull_trigger(lambda: wasyncore.close_all(sockets))
        thread.join(10)
        server.task_dispatcher.shutdown()


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
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(LIMIT + 64)}
    status, content_type, _ = _ask(address, "PUT", f"/rows/{'a' * 64}", headers=headers)

    assert status == 413
    assert "html" not in content_type
