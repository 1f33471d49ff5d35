"""A witness as its logs see it: a real process, HTTP on loopback, SQLite on disk, fsync before every answer."""

import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.encoding import encode_base64, sha256
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, log_verifiers, sign_checkpoint
from attest.formats.cosignature import verify_line
from attest.formats.note import Note, NoteVerifier, known_lines, sign_text
from attest.merkle.tree import Frontier, consistency_path, leaf_hash, subtree_reader
from attest.witness.request import AddCheckpoint
from attest.witness.settings import WitnessKeys

_ATTEST = Path(sys.executable).with_name("attest")
_LOGS = 48
_STEPS = 50  # that each log takes
_CLIENTS = 24
_BARE = 500


def run() -> list[dict[str, Any]]:
    """Measure add-checkpoint over HTTP, and what cryptography and disk alone would allow."""
    results = []
    for kind, both in (("Ed25519", False), ("Ed25519 and ML-DSA-44", True)):
        with tempfile.TemporaryDirectory() as folder:
            logs = [_Log(n, both=both) for n in range(_LOGS)]
            with _witness(Path(folder), logs) as address:
                results += _drive(address, logs, kind, _signatures(logs[0]), _commits(Path(folder)))
    return results


class _Log:
    """A log with every request it will send."""

    def __init__(self, number: int, *, both: bool) -> None:
        self.origin = f"bench.example/{number}"
        self.ed25519 = SigningKey.from_seed(sha256(self.origin.encode()))
        self.mldsa44 = MLDSASigningKey.from_seed(sha256(self.origin.encode()))
        self.verifiers: tuple[NoteVerifier, ...] = log_verifiers(self.origin, self.ed25519.public, self.mldsa44.public)[
            : 1 + both
        ]
        self.steps = [_request(self, old, new, path) for old, new, path in _TREE]

    def vkeys(self) -> list[str]:
        return [verifier.encode() for verifier in self.verifiers]


def _tree() -> list[tuple[int, tuple[int, bytes], tuple[bytes, ...]]]:
    """Let one tree grow, for all logs: (old size, (size, root), consistency proof)."""
    leaves = [leaf_hash(n.to_bytes(4, "big")) for n in range(_STEPS * 37)]
    read, sizes = subtree_reader(leaves), range(0, len(leaves) + 1, 37)
    roots = {size: Frontier.empty().append(leaves[:size]).root() for size in sizes}
    return [
        (old, (new, roots[new]), tuple(consistency_path(old, new, read)) if old else ()) for old, new in pairwise(sizes)
    ]


_TREE = _tree()


def _request(log: _Log, old: int, new: tuple[int, bytes], path: tuple[bytes, ...]) -> bytes:
    checkpoint = Checkpoint(log.origin, *new)
    if len(log.verifiers) == 1:
        line = sign_text(log.origin, log.ed25519, checkpoint.encode())
        signed = SignedCheckpoint(checkpoint, Note(checkpoint.encode(), (line,)))
    else:
        signed = sign_checkpoint(checkpoint, log.ed25519, log.mldsa44, 1)
    body = AddCheckpoint(old, path, signed).encode()
    return f"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def _witness(folder: Path, logs: list[_Log]) -> Iterator[tuple[str, int]]:
    place = folder / "witness"
    subprocess.run(
        [_ATTEST, "witness", "init", "--dir", place, "--name", "bench.example/w"], check=True, capture_output=True
    )
    entries = "".join(f"\nvkey {vkey}\nqpd 1000000\ncontact -\n" for log in logs for vkey in log.vkeys())
    (place / "logs").write_text(f"logs/v0\n{entries}")
    process = subprocess.Popen(
        [_ATTEST, "witness", "serve", "--dir", place, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no stdout")
        host, port = process.stdout.readline().split("\t")[1].strip().removeprefix("http://").split(":")
        yield host, int(port)
    finally:
        process.terminate()
        process.wait()


def _drive(
    address: tuple[str, int], logs: list[_Log], kind: str, signatures: float, commits: float
) -> list[dict[str, Any]]:
    """Let every log take its steps, several logs on each connection; every answer has to be 200."""
    spent: list[float] = []

    def work(mine: list[_Log]) -> None:
        with socket.create_connection(address) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for requests in zip(*(log.steps for log in mine), strict=True):
                for request in requests:
                    start = time.perf_counter()
                    connection.sendall(request)
                    _read(connection)
                    spent.append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=work, args=(logs[n::_CLIENTS],)) for n in range(_CLIENTS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(spent) / (time.perf_counter() - start)
    if len(spent) != _LOGS * _STEPS:
        raise RuntimeError("a client gave up")
    spent.sort()
    return [
        {
            "name": f"add-checkpoint, {_LOGS} logs ({kind})",
            "value": rate,
            "unit": "1/s",
            "peer": "its cryptography alone, one core",
            "peer_value": signatures,
            "ratio": rate / signatures,
            "note": f"{_CLIENTS} clients; sqlite3 alone makes {commits:,.0f} such commits a second, one by one",
        },
        {"name": "add-checkpoint: median", "value": statistics.median(spent), "unit": "ms"},
        {"name": "add-checkpoint: p99", "value": spent[int(len(spent) * 0.99)], "unit": "ms"},
    ]


def _read(connection: socket.socket) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _more(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(answer.decode())
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += _more(connection)


def _more(connection: socket.socket) -> bytes:
    if not (found := connection.recv(1 << 16)):
        raise RuntimeError("the connection ended")
    return found


def _signatures(log: _Log) -> float:
    """What a request needs of cryptography: the log's signatures verified, two made."""
    keys = WitnessKeys.of("bench.example/w", log.ed25519, log.mldsa44)
    sent = [AddCheckpoint.parse(step.partition(b"\r\n\r\n")[2]).signed for step in log.steps]
    start = time.perf_counter()
    for n in range(_BARE):
        signed = sent[n % len(sent)]
        for verifier, line in known_lines(signed.note, log.verifiers):
            verify_line(verifier, signed.checkpoint, line)
        keys.cosign([(signed.checkpoint, 1)])
    return _BARE / (time.perf_counter() - start)


def _commits(folder: Path) -> float:
    """What the disk allows: one row replaced and one fsync a commit, with sqlite3 alone."""
    with sqlite3.connect(folder / "bare.db", isolation_level=None) as bare:
        bare.execute("PRAGMA journal_mode = WAL")
        bare.execute("PRAGMA synchronous = FULL")
        bare.execute("CREATE TABLE register (origin TEXT PRIMARY KEY, checkpoint TEXT NOT NULL)")
        for n in range(_LOGS):
            bare.execute("INSERT INTO register VALUES (?, '')", (f"bench.example/{n}",))
        text = encode_base64(os.urandom(5000))
        start = time.perf_counter()
        for n in range(_BARE):
            bare.execute(
                "UPDATE register SET checkpoint = ? WHERE origin = ?", (f"{n}{text}", f"bench.example/{n % _LOGS}")
            )
        rate = _BARE / (time.perf_counter() - start)
    bare.close()
    return rate
