"""A log over HTTP that stalls, drips, never ends, compresses or redirects: it costs us what we allow it to cost."""

import gzip
from collections.abc import Iterator

import httpx
import pytest

from attest.errors import AttestError, Malformed, Unavailable
from attest.transport import MAX_PROBLEM, LogClient
from tests.ledger.log import ORIGIN


class Body(httpx.SyncByteStream):
    """A body that is counted as it is read."""

    def __init__(self, chunks) -> None:
        self._chunks = chunks
        self.read = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.read += len(chunk)
            yield chunk

    def close(self) -> None:
        self.closed = True


def endless(chunk: bytes = bytes(1 << 16)) -> Iterator[bytes]:
    while True:
        yield chunk


class Server(httpx.BaseTransport):
    """Answers all requests alike."""

    def __init__(self, status: int, body: Body, **headers: str) -> None:
        self.status, self.body, self.headers = status, body, headers
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, headers=self.headers, stream=self.body)


class Seconds:
    """A clock that moves by itself."""

    def __init__(self, step: float = 0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def client(server: httpx.BaseTransport, seconds: Seconds | None = None, **settings) -> LogClient:
    seconds = seconds or Seconds()
    return LogClient(
        "http://log.example", None, origin=ORIGIN, transport=server, clock_s=seconds, sleep=seconds.sleep, **settings
    )


def ask(log: LogClient, what: str):
    calls = {
        "rows": lambda: log.rows(bytes(32), 6400),
        "transition": lambda: log.transition(0, 1 << 20),
        "bundle": lambda: log.bundle(0, 7),
        "tiles": lambda: log.tiles([(0, 0, 7)]),
    }
    return calls[what]()


KINDS = ["rows", "transition", "bundle", "tiles"]


@pytest.mark.parametrize("what", KINDS)
def test_a_body_without_end_is_read_to_its_limit(what):
    """And one chunk further, to see that there is more."""
    server = Server(200, Body(endless()))
    with pytest.raises(Malformed) as caught:
        ask(client(server), what)
    assert caught.value.code == "log/answer"
    limit = {"rows": 6400, "transition": 1 << 20, "bundle": 256 * 65_537, "tiles": 8192}[what]
    assert limit < server.body.read <= limit + (1 << 17)
    assert server.body.closed


@pytest.mark.parametrize("what", KINDS)
def test_a_body_that_drips_ends_with_our_patience(what):
    """However steadily: the whole answer has its time."""
    server = Server(200, Body(endless(b".")))
    with pytest.raises(Unavailable) as caught:
        ask(client(server, Seconds(step=1), answer_s=100), what)
    assert caught.value.code == "log/stalled"
    assert server.body.read < 200


@pytest.mark.parametrize("what", KINDS)
def test_a_body_that_stalls_is_a_log_that_is_away(what):
    """The connection is given up, the request repeated for a while."""

    def stalling() -> Iterator[bytes]:
        yield b"x"
        raise httpx.ReadTimeout("nothing more")

    class Stalling(Server):
        def handle_request(self, request):
            self.body = Body(stalling())
            return super().handle_request(request)

    server = Stalling(200, Body([]))
    with pytest.raises(Unavailable) as caught:
        ask(client(server, patience_s=10), what)
    assert caught.value.code == "log/unreachable"
    assert 3 < len(server.requests) < 20


def test_who_waits_is_told_once_what_for():
    """A minute without a word looks like a program that hangs."""

    class Away(Server):
        def handle_request(self, request):
            raise httpx.ConnectError("refused")

    told: list[str] = []
    for patience in (1, 60):
        log = client(Away(200, Body([])), patience_s=patience, on_wait=told.append)
        with pytest.raises(Unavailable):
            log.rows(bytes(32), 6400)

    assert told == ["log/unreachable: no answer from http://log.example/: ConnectError; it is asked again for 60 s"]


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_a_problem_without_end_is_read_to_its_own_limit(status):
    """An error is small."""
    server = Server(status, Body(endless()))
    with pytest.raises(Malformed):
        client(server).transition(0, 1 << 30)
    assert server.body.read <= MAX_PROBLEM + (1 << 17)


def test_what_is_compressed_is_not_unpacked():
    """We ask for none: a few bytes may hide gigabytes."""
    server = Server(200, Body([gzip.compress(bytes(1 << 24))]), **{"Content-Encoding": "gzip"})
    with pytest.raises(Malformed):
        client(server).rows(bytes(32), 1 << 30)
    assert server.requests[0].headers["Accept-Encoding"] == "identity"
    assert server.body.read == 0


def test_redirects_lead_nowhere():
    """A log does not send us to its neighbours."""
    server = Server(302, Body([b""]), Location="http://169.254.169.254/")
    with pytest.raises(AttestError):
        client(server).rows(bytes(32), 6400)
    assert len(server.requests) == 1


@pytest.mark.parametrize("size", [0, 1, 31, 8191])
def test_tiles_of_other_sizes_are_noticed_by_whoever_proves(size):
    """The client returns what came; a proof is made of whole hashes only."""
    assert len(client(Server(200, Body([bytes(size)]))).tiles([(0, 0, 7)])[0]) == size


def test_a_partial_tile_or_bundle_is_the_beginning_of_the_full_one():
    """Logs drop partial ones once there are full ones."""

    class Full(httpx.BaseTransport):
        def handle_request(self, request):
            if ".p/" in request.url.path:
                return httpx.Response(404, json={"code": "tile/unknown"})
            return httpx.Response(200, content=bytes(range(256)) * 32)

    assert client(Full()).tiles([(0, 0, 7)]) == [(bytes(range(256)) * 32)[: 7 * 32]]
