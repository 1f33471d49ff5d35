"""The service as its clients see it: a real process, HTTP on loopback, SQLite on disk."""

import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from attest.encoding import encode_base64url
from attest.formats.rows import RowFile
from attest.formats.statement import Statement
from tests.world import Holder, descriptor, random_rows

_ATTEST = Path(sys.executable).with_name("attest")
_ORIGIN = "bench.example/log"
_ROWS = 65_536
_FILES = 8
_SINGLES = 200
_CLIENTS = 8
_LOOKUPS = 400
_SYSTEMS = [f"system-{n}" for n in range(10)]


def run() -> list[dict[str, Any]]:
    """Measure upload to published checkpoint, POST to receipt, and look-ups."""
    with tempfile.TemporaryDirectory() as folder, _service(Path(folder)) as (client, holder):
        _publish(client, holder.systems(*(descriptor(name) for name in _SYSTEMS)))
        files = [RowFile.build(random_rows(_ROWS)) for _ in range(_FILES)]
        results = [_bulk(client, holder, files)]
        results += _singles(client, holder)
        results += _concurrent(client, holder)
        results += _lookups(client, holder, files[0])
        return results


@contextmanager
def _service(folder: Path) -> Iterator[tuple[httpx.Client, Holder]]:
    holder = Holder("acme.example", time.time, origin=_ORIGIN)  # type: ignore[arg-type]  # a clock is a clock
    _attest("operator", "init", "--dir", str(folder / "log"), "--origin", _ORIGIN)
    (folder / "join.json").write_bytes(holder.join_request().encode())
    _attest("operator", "admit", "--dir", str(folder / "log"), str(folder / "join.json"))
    process = subprocess.Popen(
        [_ATTEST, "serve", "--dir", str(folder / "log"), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no stdout")
        url = process.stdout.readline().split("\t")[1].strip()
        with httpx.Client(base_url=url, timeout=120) as client:
            yield client, holder
    finally:
        process.terminate()
        process.wait()


def _bulk(client: httpx.Client, holder: Holder, files: list[RowFile]) -> dict[str, Any]:
    """Eight statements of 65,536 rows, one after the other into one system: from the first POST to the last receipt."""
    start = time.perf_counter()
    waiting = []
    for file in files:
        statement = holder.hold(_SYSTEMS[0], file)
        _post(client, statement)
        _put(client, file)
        waiting.append(statement)
    for statement in waiting:
        _wait(client, statement)
    rate = sum(map(len, files)) / (time.perf_counter() - start)
    note = "limited by the state map: about 16 hashes a row, in Python (see statemap)"
    return {"name": f"rows held over HTTP, {_FILES} x {_ROWS:,}", "value": rate, "unit": "rows/s", "note": note}


def _singles(client: httpx.Client, holder: Holder) -> list[dict[str, Any]]:
    """One row now and then, waiting for its receipt: what a small client sees."""
    spent = []
    for _ in range(20):
        time.sleep(random.uniform(1, 2))
        file = RowFile.build(random_rows(1))
        statement = holder.hold(_SYSTEMS[1], file)
        start = time.perf_counter()
        _publish(client, statement, file)
        spent.append((time.perf_counter() - start) * 1000)
    note = "epoch times are whole seconds and only grow: one a second at most; a lone one is made at once"
    return _spread("POST to receipt, one client", spent, note)


def _concurrent(client: httpx.Client, holder: Holder) -> list[dict[str, Any]]:
    """Single-row statements from several clients at once, each in a system of its own."""
    spent: list[float] = []
    prepared = {
        name: [(f := RowFile.build(random_rows(1)), holder.hold(name, f)) for _ in range(_SINGLES // _CLIENTS)]
        for name in _SYSTEMS[2 : 2 + _CLIENTS]
    }

    def work(name: str) -> None:
        with httpx.Client(base_url=client.base_url, timeout=120) as own:
            for file, statement in prepared[name]:
                start = time.perf_counter()
                _publish(own, statement, file)
                spent.append((time.perf_counter() - start) * 1000)

    start = time.perf_counter()
    threads = [threading.Thread(target=work, args=(name,)) for name in prepared]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(spent) / (time.perf_counter() - start)
    return [
        *_spread(f"POST to receipt, {_CLIENTS} clients", spent),
        {"name": f"single-row statements, {_CLIENTS} clients", "value": rate, "unit": "1/s"},
    ]


def _lookups(client: httpx.Client, holder: Holder, file: RowFile) -> list[dict[str, Any]]:
    """Look-ups over ten systems, one locator each; the cheapest answer of the same server stands beside."""
    floor = _rate(lambda _: client.get("/checkpoint").raise_for_status())

    def look(n: int) -> None:
        index = file.indexes[n].hex()
        question = {"holder": holder.id, "locators": [dict.fromkeys(_SYSTEMS, index)]}
        client.post("/proofs/lookup", json=question).raise_for_status()

    rate = _rate(look)
    peer = {"peer": "GET /checkpoint", "peer_value": floor, "ratio": rate / floor}
    return [{"name": "look-up proofs over 10 systems, one client", "value": rate, "unit": "1/s", **peer}]


def _rate(work: Any) -> float:
    start = time.perf_counter()
    for n in range(_LOOKUPS):
        work(n)
    return _LOOKUPS / (time.perf_counter() - start)


def _post(client: httpx.Client, statement: Statement) -> httpx.Response:
    answer = client.post("/entries", content=statement.entry, headers={"Content-Type": "application/cose"})
    return answer.raise_for_status()


def _put(client: httpx.Client, file: RowFile) -> httpx.Response:
    kind = {"Content-Type": "application/octet-stream"}
    return client.put(f"/rows/{file.root().hex()}", content=file.encoded, headers=kind).raise_for_status()


def _publish(client: httpx.Client, statement: Statement, file: RowFile | None = None) -> None:
    answer = _post(client, statement)
    if file is not None:
        answer = _put(client, file)
    if answer.status_code != 201:
        _wait(client, statement)


def _wait(client: httpx.Client, statement: Statement) -> None:
    while client.get(f"/entries/{encode_base64url(statement.leaf)}").raise_for_status().status_code != 200:
        time.sleep(0.02)


def _spread(name: str, spent: list[float], note: str = "") -> list[dict[str, Any]]:
    ordered = sorted(spent)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return [
        {"name": f"{name}: median", "value": statistics.median(spent), "unit": "ms", "note": note},
        {"name": f"{name}: p99", "value": p99, "unit": "ms"},
    ]


def _attest(*arguments: str) -> None:
    subprocess.run([_ATTEST, *arguments], check=True, capture_output=True)
