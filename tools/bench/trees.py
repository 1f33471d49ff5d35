"""Log-tree and row-file roots, next to hashing alone and to other implementations."""

import hashlib
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from attest.formats.rows import RowFile
from attest.merkle import tree

_LEAVES = 400_000
_PEER_LEAVES = 20_000
_ROWS = 65_536


def run() -> list[dict[str, Any]]:
    """Measure. A root takes two hashes per leaf: one for the leaf, one for a node."""
    entries = [os.urandom(300) for _ in range(_LEAVES)]
    leaves = [os.urandom(32) for _ in range(_LEAVES)]
    raw = _LEAVES / _seconds(lambda: [hashlib.sha256(b"\x01" + leaf + leaf).digest() for leaf in leaves])
    own = _LEAVES / _seconds(lambda: tree.root(leaves))
    rows = RowFile.build({os.urandom(32): os.urandom(32) for _ in range(_ROWS)})
    row_rate = _ROWS / _seconds(rows.root)
    parse_rate = _ROWS / _seconds(lambda: RowFile.parse(rows.encoded))
    few = leaves[:_PEER_LEAVES]
    tools = _PEER_LEAVES / _seconds(lambda: _merkletools(few))
    python = _PEER_LEAVES / _seconds(lambda: _pymerkle(few))
    hashed = _LEAVES / _seconds(lambda: tree.leaf_hashes(entries))
    return [
        _result("log tree: root from leaf hashes", own, "leaves/s", "one sha256 per leaf", raw),
        _result("log tree: the same, merkletools", tools, "leaves/s", "ours", own),
        _result("log tree: leaf hashes of 300-byte entries", hashed, "leaves/s"),
        _result("log tree: append and root, pymerkle", python, "leaves/s", "ours", own),
        _result("row file: root of 65,536 rows", row_rate, "rows/s", "two sha256 per row", raw / 2),
        _result("row file: parse and check order", parse_rate, "rows/s"),
    ]


def _merkletools(leaves: list[bytes]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from merkletools import MerkleTools
    tools = MerkleTools()
    tools.hash_function = lambda value: hashlib.sha256(b"\x01" + value)
    tools.add_leaf([leaf.hex() for leaf in leaves])
    tools.make_tree()


def _pymerkle(leaves: list[bytes]) -> None:
    from pymerkle import InmemoryTree

    theirs = InmemoryTree(algorithm="sha256")
    for leaf in leaves:
        theirs.append_entry(leaf)
    theirs.get_root(len(leaves))


def _result(name: str, value: float, unit: str, peer: str = "", peer_value: float | None = None) -> dict[str, Any]:
    ratio = value / peer_value if peer_value else None
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _seconds(work: Callable[[], Any]) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
