"""What witnesses and post-quantum signatures cost the log: real processes, HTTP on loopback, one machine."""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.encoding import encode_base64url
from attest.formats.checkpoint import Checkpoint, log_verifiers, sign_checkpoint, verify_log_signatures
from attest.formats.policy import Policy
from attest.formats.rows import RowFile
from tests.world import Holder, descriptor, random_rows

_ATTEST = Path(sys.executable).with_name("attest")
_ORIGIN = "bench.example/log"
_WITNESSES = 5
_SINGLES = 25
_CHECKPOINTS = 300


def run() -> list[dict[str, Any]]:
    """Measure POST to receipt without and with five witnesses, three a quorum, and signing with and without ML-DSA."""
    alone, witnessed = _publications()
    added = {
        "name": f"{_WITNESSES} witnesses add to POST to receipt, median",
        "value": statistics.median(witnessed) - statistics.median(alone),
        "unit": "ms",
        "note": "seven processes on one machine; every witness writes durably before it answers",
    }
    together = {
        "name": f"POST to receipt with {_WITNESSES} witnesses, median",
        "value": statistics.median(witnessed),
        "unit": "ms",
        "peer": "without",
        "peer_value": statistics.median(alone),
        "ratio": statistics.median(witnessed) / statistics.median(alone),
    }
    return [added, together, *_signatures()]


def _publications() -> tuple[list[float], list[float]]:
    """Post a row now and then, to either log in turn; return the milliseconds to each receipt."""
    spent: tuple[list[float], list[float]] = [], []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        logs = [running.enter_context(_log(Path(folder) / str(n), n)) for n in (0, _WITNESSES)]
        for n in range(_SINGLES):
            for milliseconds, (client, holder) in zip(spent, logs, strict=True):
                time.sleep(random.uniform(0.6, 1.2))
                taken = _publish(client, holder)
                if n > 2:  # the first ones meet
                    milliseconds.append(taken)
        client, _ = logs[1]
        policy = Policy.parse(client.get("/policy").content)
        assert policy.check(client.get("/checkpoint").content).quorum
    return spent


def _publish(client: httpx.Client, holder: Holder) -> float:
    file = RowFile.build(random_rows(1))
    statement = holder.hold("db", file)
    start = time.perf_counter()
    client.post("/entries", content=statement.entry, headers=_COSE).raise_for_status()
    client.put(f"/rows/{file.root().hex()}", content=file.encoded, headers=_OCTETS).raise_for_status()
    while client.get(f"/entries/{encode_base64url(statement.leaf)}").status_code != 200:
        time.sleep(0.005)
    return (time.perf_counter() - start) * 1000


_COSE = {"Content-Type": "application/cose"}
_OCTETS = {"Content-Type": "application/octet-stream"}


@contextmanager
def _log(folder: Path, witnesses: int) -> Iterator[tuple[httpx.Client, Holder]]:
    holder = Holder("acme.example", time.time, origin=_ORIGIN)  # type: ignore[arg-type]  # a clock is a clock
    log = folder / "log"
    folder.mkdir()
    _attest("operator", "init", "--dir", log, "--origin", _ORIGIN)
    (folder / "join.json").write_bytes(holder.join_request().encode())
    _attest("operator", "admit", "--dir", log, folder / "join.json")
    vkey = (log / "policy").read_text().split()[1]
    with ExitStack() as running:
        for n in range(witnesses):
            place = folder / f"w{n}"
            made = _attest("witness", "init", "--dir", place, "--name", f"w{n}.example/w")
            _attest("witness", "follow", "--dir", place, vkey)
            url = running.enter_context(_served("witness", "serve", "--dir", place))
            keys = [line.split()[1] for line in made.splitlines() if line.startswith("vkey")]
            _attest("operator", "witness", "add", f"w{n}", url, *keys, "--dir", log)
        url = running.enter_context(_served("serve", "--dir", log))
        client = running.enter_context(httpx.Client(base_url=url, timeout=60))
        client.post("/entries", content=holder.systems(descriptor("db")).entry, headers=_COSE).raise_for_status()
        yield client, holder


@contextmanager
def _served(*arguments: Any) -> Iterator[str]:
    command = [str(each) for each in (_ATTEST, *arguments, "--port", "0")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if process.stdout is None:
            raise RuntimeError("no stdout")
        yield process.stdout.readline().split("\t")[1].strip()
    finally:
        process.terminate()
        process.wait()


def _attest(*arguments: Any) -> str:
    command = [str(each) for each in (_ATTEST, *arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _signatures() -> list[dict[str, Any]]:
    """Compare a checkpoint's signatures: Ed25519 and ML-DSA-44 against Ed25519 alone."""
    ed25519, mldsa44 = SigningKey.generate(), MLDSASigningKey.generate()
    verifiers = log_verifiers(_ORIGIN, ed25519.public, mldsa44.public)
    checkpoints = [Checkpoint(_ORIGIN, n + 1, bytes(32)) for n in range(_CHECKPOINTS)]
    text = checkpoints[0].encode().encode()
    both, signed = _timed(lambda each: sign_checkpoint(each, ed25519, mldsa44, 1), checkpoints)
    single, _ = _timed(lambda _: ed25519.sign(text), checkpoints)
    checked, _ = _timed(lambda each: verify_log_signatures(each, verifiers), signed)
    first, _ = _timed(lambda each: verify_log_signatures(each, verifiers[:1]), signed)
    return [
        _cost("ML-DSA-44 adds to signing a checkpoint", both, single),
        _cost("ML-DSA-44 adds to verifying a checkpoint", checked, first),
    ]


def _timed(work: Any, items: Sequence[Any]) -> tuple[float, list[Any]]:
    """Return the milliseconds that work on one item takes, and what it gave."""
    start = time.perf_counter()
    found = [work(item) for item in items]
    return (time.perf_counter() - start) * 1000 / len(items), found


def _cost(name: str, both: float, single: float) -> dict[str, Any]:
    peer = {"peer": "Ed25519 alone", "peer_value": single, "ratio": both / single}
    return {"name": name, "value": both - single, "unit": "ms", **peer}
