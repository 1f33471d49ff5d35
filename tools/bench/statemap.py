"""What the state map can do, next to what SHA-256 alone would allow."""

import os
import resource
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np

from attest.statemap import StateMap

_SIZE = 1_000_000
_BATCH = 100_000
_SAMPLE = 20_000

_HASHES_PER_KEY = 3.44  # to build: one for the state, one for the leaf, 1.44 for the nodes above it


def run() -> list[dict[str, Any]]:
    """Measure. `peer` is what the number is compared with, `ratio` says how many times better or worse it is."""
    raw = _raw_hashes()
    keys, states = _random(_SIZE, 32), _random(_SIZE, 49)
    results: list[dict[str, Any]] = []

    def add(name: str, value: float, unit: str, peer: str = "", peer_value: float | None = None) -> None:
        ratio = value / peer_value if peer_value else None
        results.append(
            {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}
        )

    add("sha256 of 65 bytes, one by one", raw, "1/s")

    before = _resident()
    seconds, base = _timed(lambda: StateMap.from_arrays(keys, states))
    add("state map: build 1M", _SIZE / seconds, "keys/s", "hashing alone", raw / _HASHES_PER_KEY)
    arrays = (base.rows.prefix, base.rows.rest, base.rows.states, base._heap.hashes, base._heap.kinds)
    add("state map: memory, its arrays", sum(array.nbytes for array in arrays) / _SIZE, "bytes/key")
    add("state map: memory, with what building left behind", (_resident() - before) / _SIZE, "bytes/key")

    changes = dict(zip(_tuple(_random(_BATCH, 32)), _tuple(_random(_BATCH, 49)), strict=True))
    planning, delta = _timed(lambda: base.plan(changes))
    applying, _ = _timed(lambda: base.apply(delta))
    add("state map: plan and apply 100k into 1M", _BATCH / (planning + applying), "keys/s")
    seconds, pruned = _timed(delta.pruned)
    add("state map: pruned tree of 100k in 1M", _BATCH / seconds, "keys/s")
    add("state map: size of that tree", len(pruned) / _BATCH, "bytes/key")

    present = _tuple(keys[:: _SIZE // 65_536][:65_536])
    seconds, _ = _timed(lambda: base.get(present))
    add("state map: get, 65,536 at once", len(present) / seconds, "keys/s")
    seconds, _ = _timed(lambda: base.prove(present[:_SAMPLE]))
    add("state map: prove, 20,000 at once", _SAMPLE / seconds, "proofs/s")
    absent = _tuple(_random(_SAMPLE, 32))
    seconds, proofs = _timed(lambda: base.prove(absent))
    add("state map: prove absence, 20,000 at once", _SAMPLE / seconds, "proofs/s")
    add("state map: absence proof, mean", sum(map(len, proofs)) / len(proofs), "bytes")
    add("state map: absence proof, longest", max(map(len, proofs)), "bytes")
    seconds, _ = _timed(lambda: [base.prove([key]) for key in absent[:500]])
    add("state map: prove, one by one", 500 / seconds, "proofs/s")

    lone = list(changes.items())[:2000]

    def trickle() -> StateMap:
        current = base
        for key, state in lone:
            current = current.apply(current.plan({key: state}))
        return current

    seconds, _ = _timed(trickle)
    add("state map: plan and apply one key into 1M", len(lone) / seconds, "epochs/s")
    return results


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _raw_hashes() -> float:
    nodes = [os.urandom(65) for _ in range(200_000)]
    seconds, _ = _timed(lambda: [sha256(node).digest() for node in nodes])
    return len(nodes) / seconds


def _random(count: int, width: int) -> Any:
    return np.frombuffer(os.urandom(count * width), np.uint8).reshape(count, width)


def _tuple(rows: Any) -> list[bytes]:
    return [row.tobytes() for row in rows]


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()
