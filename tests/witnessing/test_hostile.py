"""Witnesses that mean harm, and moments that are badly chosen."""

import gzip
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from attest.errors import AttestError, Malformed, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.policy import Policy, add_witness
from attest.store import cosigned
from tests.witnessing.conftest import Watched, watched_log
from tests.witnessing.stock import StockWitness
from tests.witnessing.test_client import dead, eventually, everybody, restored, signers
from tests.world import ORIGIN, descriptor


@pytest.fixture
def older(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A log that was put back whole to an older backup, and a statement that wants to be sequenced."""
    watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    restored(watched, published=True)
    monkeypatch.setattr("attest.sequencer.sign_checkpoint", lambda *_: pytest.fail("it signs"))
    watched.world.node = watched.world.open()
    watched.world.submit(watched.acme.systems(descriptor("new"), seq=1))
    watched.world.clock.advance()
    return watched


def test_the_alarm_does_not_wait_for_the_evidence(older: Watched) -> None:
    """Where the witness shows what it has cosigned is slow: nothing is signed meanwhile."""
    for witness in older.witnesses:
        witness.slow_reads_s = 2.5
    with pytest.raises(Unavailable, match="sequencer/rolled-back"):
        older.node.step()


@pytest.mark.parametrize("fault", ["private", "database"])
def test_the_alarm_is_not_lost_with_a_write(older: Watched, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The disk is full, or the database away, in the moment when it is to be kept."""
    down = [True]

    def failing(real: Any) -> Any:
        def write(*arguments: Any) -> Any:
            if down[0]:
                raise Unavailable("store/full", "no space left")
            return real(*arguments)

        return write

    if fault == "private":
        monkeypatch.setattr(older.node._private, "put", failing(older.node._private.put))
    else:
        monkeypatch.setattr(cosigned, "record", failing(cosigned.record))
        log = older.node.sequencer._log
        monkeypatch.setattr(log, "last_epoch", failing(log.last_epoch))
    with pytest.raises(Unavailable):
        older.node.step()
    down[0] = False
    for _ in range(3):
        with pytest.raises(Unavailable, match="sequencer/rolled-back"):
            older.node.step()
    assert older.evidence()


def test_what_could_not_be_stored_is_no_quorum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to hold back, the log does so until its readers would see the quorum."""
    with watched_log(tmp_path, unwitnessed="hold") as watched:
        watched.say()
        eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
        record, failures = cosigned.record, [1]

        def fail_once(db: Any, found: Any, standings: Any) -> None:
            found = list(found)
            if found and failures:
                failures.pop()
                raise Unavailable("store/database", "the database does not answer")
            record(db, found, standings)

        monkeypatch.setattr(cosigned, "record", fail_once)
        watched.world.submit(watched.acme.systems(descriptor("x")))
        watched.world.clock.advance()
        with pytest.raises(Unavailable, match="store/database"):
            watched.node.step()
        for witness in watched.witnesses:
            dead(witness)
        watched.node.step()
        assert len(signers(watched)) >= 3


def test_a_quorum_that_is_missing_is_not_asked_for_all_the_time(tmp_path: Path) -> None:
    with watched_log(tmp_path, unwitnessed="hold") as watched:
        watched.say()
        eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
        for witness in watched.witnesses[:3]:
            dead(witness)
        for witness in watched.witnesses[3:]:
            witness.asked.clear()
        watched.world.submit(watched.acme.systems(descriptor("x")))
        watched.world.clock.advance()
        for _ in range(10):
            with pytest.raises(Unavailable, match="witness/quorum"):
                watched.node.step()
        assert [len(witness.asked) for witness in watched.witnesses[3:]] == [1, 1]


def test_a_witness_that_insists_fills_no_disk(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attest.witnessing._FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr("attest.witnessing._LONGEST_PAUSE_S", 0.02)
    watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    watched.witnesses[0].answer = lambda *_: httpx.Response(409, text="9999999\n")
    watched.world.submit(watched.acme.systems(descriptor("x")))
    watched.world.clock.advance()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        watched.world.clock.advance()
        try:
            watched.node.step()
        except AttestError as error:
            assert error.code == "sequencer/rolled-back"
        time.sleep(0.01)
    assert 1 <= len(watched.evidence()) <= 4


def test_an_error_that_nobody_thought_of_does_not_end_a_witness(watched: Watched) -> None:
    def fall(*_: Any) -> httpx.Response:
        raise OSError(24, "Too many open files")

    watched.witnesses[0].answer = fall
    watched.say()
    eventually(lambda: watched.node.step() and watched.node.browse.log()["witnesses"][0]["problem"])
    watched.witnesses[0].answer = None
    watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))


def test_control_characters_reach_no_record(watched: Watched) -> None:
    """PostgreSQL takes no NUL, and a terminal should not take the rest."""
    watched.witnesses[0].answer = lambda *_: httpx.Response(404, content=b"who\x00are\x1b[31myou")
    watched.say()
    eventually(lambda: watched.node.step() and watched.node.browse.problems_of_witnesses())
    assert watched.node.browse.problems_of_witnesses() == {"https://w0.example": "HTTP 404: who?are?[31myou"}


def test_too_many_witnesses_are_refused_at_the_start(watched: Watched) -> None:
    """A checkpoint has room for a hundred signatures."""
    vkey = watched.world.policy.logs[0].verifier.encode()
    watched.name([StockWitness(f"x{n}.example/w", ORIGIN, vkey, watched.world.clock) for n in range(65)])
    with pytest.raises(Malformed) as error:
        watched.world.open()
    assert error.value.code == "config/witnesses"


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "TEXT/X.TLOG.SIZE"])
def test_a_size_is_a_size_whatever_it_is_called(watched: Watched, kind: str) -> None:
    """A witness put back to a backup names its size; that is no fork."""
    watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))

    def answer(_self: StockWitness, _request: httpx.Request, honest: httpx.Response) -> httpx.Response:
        return httpx.Response(honest.status_code, headers={"Content-Type": kind}, content=honest.content)

    watched.witnesses[0].answer = answer
    watched.witnesses[0].size = 0
    watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    assert not watched.evidence()


@contextmanager
def server(answer: Any) -> Iterator[str]:
    """A real server that answers every request so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def problem_with(watched: Watched, url: str) -> str:
    """What the log says of a witness that is this server."""
    policy = add_witness(Policy(watched.world.policy.logs, (), (), None), "evil", url, [watched.witnesses[0].vkey])
    watched.world.config.path(watched.world.config.policy).write_bytes(policy.encode())
    watched.world.connect = None
    watched.node.stop()
    node = watched.world.node = watched.world.open()
    watched.world.clock.advance(20)
    eventually(lambda: node.step() and node.browse.problems_of_witnesses())
    return str(node.browse.log()["witnesses"][0]["problem"])


def test_nothing_is_decompressed(watched: Watched) -> None:
    bomb = gzip.compress(bytes(1 << 26))

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(bomb)))
        handler.end_headers()
        handler.wfile.write(bomb)

    with server(answer) as url:
        assert problem_with(watched, url) == "witness/answer"


def test_an_answer_that_trickles_ends(watched: Watched) -> None:
    stop = threading.Event()

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(0.1):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    with server(answer) as url:
        assert problem_with(watched, url) == "witness/unreachable"
        stop.set()


def test_no_cookie_is_kept(watched: Watched) -> None:
    sent: list[str | None] = []

    def answer(handler: Any) -> None:
        sent.append(handler.headers["Cookie"])
        body = f"{len(sent) % 3 + 1}\n".encode()
        handler.send_response(409)
        handler.send_header("Set-Cookie", f"c{len(sent)}=x")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with server(answer) as url:
        problem_with(watched, url)
    assert len(sent) > 1 and set(sent) == {None}


def test_evidence_is_what_was_sent_and_answered(older: Watched) -> None:
    with pytest.raises(Unavailable):
        older.node.step()
    found = [json.loads(path.read_bytes()) for path in older.evidence()]
    for each in found:
        note = each["request"].partition("\n\n")[2]
        assert SignedCheckpoint.parse(note).checkpoint.origin == ORIGIN == each["origin"]


def test_not_now_is_no_answer_before_anything_is_signed(older: Watched) -> None:
    """A witness that is busy at the start is asked again before the log goes on."""
    said: dict[str, int] = {}

    def busy_once(self: StockWitness, _request: httpx.Request, honest: httpx.Response) -> httpx.Response:
        said[self.name] = said.get(self.name, 0) + 1
        return httpx.Response(429, text="later") if said[self.name] == 1 else honest

    for witness in older.witnesses:
        witness.answer = busy_once
    with pytest.raises(Unavailable, match="sequencer/rolled-back"):
        older.node.step()


def test_a_state_witness_says_whether_it_means_the_tree(watched: Watched) -> None:
    """`consistency/…` in its answer is another history, whatever else it may refuse."""
    watched.name(watched.witnesses[1:2], state=True)
    watched.name(watched.witnesses[:1])
    watched.node.stop()
    watched.world.restart()
    watched.say()
    eventually(lambda: watched.node.step() and watched.node.view.checked)
    watched.witnesses[1].answer = lambda *_: httpx.Response(422, text="consistency/proof\n")
    watched.world.submit(watched.acme.systems(descriptor("x")))
    watched.world.clock.advance()

    def stopped() -> bool:
        try:
            watched.node.step()
        except AttestError as error:
            return error.code == "sequencer/forked"
        return False

    eventually(stopped)


def test_a_damaged_tile_of_ours_is_no_fork_of_theirs(watched: Watched) -> None:
    for _ in range(4):
        watched.say()
    eventually(lambda: watched.node.step() and signers(watched) == everybody(watched))
    witness = watched.witnesses[0]
    read = watched.node._witnesses._proofs._read  # type: ignore[union-attr]

    def damaged(size: int) -> Any:
        inner = read(size)
        return lambda wanted: [bytes([node[0] ^ 1]) + node[1:] for node in inner(wanted)]

    watched.node._witnesses._proofs._read = damaged  # type: ignore[union-attr]
    watched.say()
    eventually(lambda: watched.node.step() and watched.node.browse.log()["witnesses"][0]["problem"])
    assert watched.node.browse.log()["witnesses"][0]["problem"] == "store/damaged"
    assert not watched.evidence()
    watched.node._witnesses._proofs._read = read  # type: ignore[union-attr]
    watched.say()
    eventually(lambda: watched.node.step() and witness.size == watched.node.view.size)


def test_while_a_quorum_is_missing_nothing_is_promised(tmp_path: Path) -> None:
    with watched_log(tmp_path, unwitnessed="hold") as watched:
        watched.say()
        for witness in watched.witnesses:
            dead(witness)
        watched.world.submit(watched.acme.systems(descriptor("x")))
        watched.world.clock.advance()
        with pytest.raises(Unavailable):
            watched.node.step()
        with pytest.raises(Unavailable, match="witness/quorum"):
            watched.node.submit(watched.acme.systems(descriptor("y")).entry)
