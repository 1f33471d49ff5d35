"""A witness as a process: over real connections, and killed at any moment."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from attest.cli.witness import witness
from attest.encoding import encode_base64
from attest.formats.cosignature import verify_cosignature
from attest.formats.note import Note, NoteVerifier, known_lines, parse_signature_lines
from attest.store import register
from attest.store.db import Database
from attest.witness.request import parse_signed
from tests.witness.conftest import Log, write_list

ATTEST = (sys.executable, "-m", "attest")


class Served:
    """A witness in a directory, and its process while it runs."""

    process: subprocess.Popen[str] | None = None

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        made = CliRunner().invoke(witness, ["init", "--dir", str(directory), "--name", "wit.example/w1"])
        self.verifiers = [
            NoteVerifier.parse(line.split("\t")[1]) for line in made.stdout.split("\n") if line.startswith("vkey")
        ]

    def start(self) -> None:
        with (self.directory / "said").open("a") as said:
            self.process = subprocess.Popen(
                [*ATTEST, "witness", "serve", "--dir", self.directory, "--port", "0"],
                stdout=subprocess.PIPE, stderr=said, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        host, port = self.process.stdout.readline().split("\t")[1].strip().removeprefix("http://").split(":")
        self.address = host, int(port)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self.address[0]}:{self.address[1]}", timeout=30)


def post(client: httpx.Client, body: bytes) -> tuple[int, str]:
    answer = client.post("/add-checkpoint", content=body)
    return answer.status_code, answer.text


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "witness")
    yield served
    if served.process is not None and served.process.poll() is None:
        served.stop(signal.SIGKILL)


def test_a_witness_serves_until_it_is_told_to_end(served: Served):
    """Keep-alive, chunks, limits; a log that is named while it runs; SIGTERM ends it cleanly."""
    served.start()
    log = Log()
    with served.client() as client:
        assert post(client, log.request(0, 3))[0] == 404
        vkeys = [key.encode() for key in log.verifiers]
        assert CliRunner().invoke(witness, ["follow", "--dir", str(served.directory), *vkeys]).exit_code == 0
        deadline = time.monotonic() + 30
        while post(client, log.request(0, 3))[0] == 404:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert post(client, log.request(0, 3)) == (409, "3\n")
        status, text = post(client, log.request(3, 7))
        assert status == 200
        for verifier, line in known_lines(Note("", parse_signature_lines(text)), served.verifiers):
            assert abs(verify_cosignature(verifier, log.signed(7).checkpoint, line).time - time.time()) < 60

        # In chunks, as a proxy may send it.
        body = log.request(7, 8)
        answer = client.post("/add-checkpoint", content=iter([body[:10], body[10:]]))
        assert (answer.status_code, len(parse_signature_lines(answer.text))) == (200, 2)
        # Too much, whoever notices first.
        for size in ((1 << 16) + 1, 1 << 20):
            answer = client.post("/add-checkpoint", content=b"x" * size)
            assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (413, "text/plain")

    assert served.stop() == 0


def test_garbage_on_the_connection_is_answered_in_plain_text(served: Served):
    """What is no HTTP, and what is no HTTP that anybody should send."""
    served.start()
    for sent in (b"\x00\x01\r\n\r\n", b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"GET\r\n\r\n"):
        with socket.create_connection(served.address, timeout=30) as connection:
            connection.sendall(sent)
            answer = connection.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.")
        assert answer.split(b" ")[1][:1] == b"4"
        assert b"html" not in answer.lower()


@pytest.mark.slow
def test_a_witness_that_is_killed_never_contradicts_itself(served: Served):
    """Killed again and again while three logs and their forks drive it: whatever was answered still stands."""
    origins = [f"log.example/{n}" for n in range(3)]
    histories = {o: [Log(o, fork=fork, seed=bytes([n]) * 32) for fork in ("", "!")] for n, o in enumerate(origins)}
    requests = {
        origin: [{old: log.request(old, old + 1, keys="ed25519") for old in range(150)} for log in logs]
        for origin, logs in histories.items()
    }
    sizes = dict.fromkeys(origins, 0)
    answered: list[tuple[str, int, str, int]] = []
    write_list(served.directory, *(logs[0].verifiers[0] for logs in histories.values()))

    def drive(origin: str, which: int, end: threading.Event, chance: random.Random) -> None:
        log, size = histories[origin][which], sizes[origin]
        with contextlib.suppress(httpx.HTTPError), served.client() as client:
            while not end.is_set() and size < 149:
                status, text = post(client, requests[origin][which][size])
                if status == 200:
                    (verifier, line), *_ = known_lines(Note("", parse_signature_lines(text)), served.verifiers)
                    size += 1
                    seen = verify_cosignature(verifier, log.signed(size).checkpoint, line).time
                    answered.append((origin, size, encode_base64(log.root(size)), seen))
                    sizes[origin] = max(sizes[origin], size)
                elif status == 409:
                    size = int(text)
                else:
                    assert status == 422
                    time.sleep(chance.random() / 50)
                    size = max(0, size - chance.randrange(3))

    chance = random.Random(3)
    for _ in range(6):
        served.start()
        end = threading.Event()
        threads = [
            threading.Thread(target=drive, args=(origin, which, end, random.Random(which)))
            for origin in origins
            for which in (0, 1)
        ]
        for thread in threads:
            thread.start()
        enough, deadline = len(answered) + chance.randrange(5, 40), time.monotonic() + 60
        while len(answered) < enough and any(thread.is_alive() for thread in threads):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        served.stop(signal.SIGKILL)
        end.set()
        for thread in threads:
            thread.join()

    assert len(answered) >= 6 * 5
    db = Database(f"sqlite:///{served.directory}/witness.db", "witness")
    for origin in origins:
        mine = [each for each in answered if each[0] == origin]
        with db.read() as transaction:
            kept = parse_signed(register.read(transaction, origin) or "").checkpoint
        # One history, and it is the one of the register, which is at least as far as any answer.
        roots: dict[int, str] = {}
        for _, size, root, _ in mine:
            assert roots.setdefault(size, root) == root
        assert kept.size >= max(roots)
        log = next(log for log in histories[origin] if log.root(kept.size) == kept.root)
        assert all(encode_base64(log.root(size)) == root for size, root in roots.items())
        times = [seen for _, _, _, seen in sorted(mine, key=lambda each: each[1])]
        assert times == sorted(times)
    db.close()


SIGNING = """
import os, signal, sys, time
from attest.crypto.keys import MLDSASigningKey, verify_mldsa44
from attest.witness.signers import SigningProcesses

def parent(process):
    try:
        with open(f"/proc/{process}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:  # it has just ended
        return None

def children():
    return [int(each) for each in os.listdir("/proc") if each.isdigit() and parent(each) == os.getpid()]

key = MLDSASigningKey.generate()
signers = SigningProcesses(key, 2)
mine = children()
assert len(mine) == 2, mine
for killed in (None, *mine):
    if killed:
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
    for count in range(6):
        messages = [b"%d" % n for n in range(count)]
        for message, signature in zip(messages, signers.sign_all(messages), strict=True):
            verify_mldsa44(key.public, message, signature)
again = SigningProcesses(key, 1)
again.sign_all([b"x"])
print(children()[0], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_signing_processes_come_and_go_with_the_witness():
    """Killed one after the other, signatures still come; when the witness is killed, they end."""
    done = subprocess.run([sys.executable, "-c", SIGNING], capture_output=True, text=True, check=False)

    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 30
    while _runs(int(done.stdout.split()[-1])):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ValueError):
        return False
