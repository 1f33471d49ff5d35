"""Subtree hashes down to the buckets: a full heap for the base, sorted overrides for what came after.

Node 1 is the root, nodes 2i and 2i + 1 are the sides of node i, so depth d holds the nodes from 2^d to 2^(d+1) - 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import numpy as np

from attest.statemap.forest import Level, grow
from attest.statemap.hashing import hash_leaves, hash_nodes, hash_values
from attest.statemap.rows import (
    Bytes,
    Flags,
    Indexes,
    Prefixes,
    Rows,
    merged_positions,
    splice,
    to_bytes_array,
    to_bytes_list,
)

# What a subtree holds: no leaf, exactly one (whose hash it then is), or more.
EMPTY, LEAF, INNER = 0, 1, 2
# Nobody looked yet: nodes of the deepest level after the heap grew by it, until a change below them.
UNKNOWN = 3

_CHUNK = 1 << 17  # rows or nodes hashed at a time
_NARROW = 64  # nodes of one depth that are still made one by one


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """Some nodes of a heap."""

    ids: Indexes  # ascending
    hashes: Bytes
    kinds: Bytes

    def merge(self, newer: "Nodes") -> Self:
        """Return the union; where both have a node, that of `newer`."""
        at, found = _locate(self.ids, newer.ids)
        fresh = ~found
        gaps, final = at[fresh], merged_positions(at, fresh)[found]
        hashes, kinds = splice(self.hashes, gaps, newer.hashes[fresh]), splice(self.kinds, gaps, newer.kinds[fresh])
        hashes[final], kinds[final] = newer.hashes[found], newer.kinds[found]
        return type(self)(splice(self.ids, gaps, newer.ids[fresh]), hashes, kinds)

    def override(self, ids: Indexes, hashes: Bytes, kinds: Bytes) -> None:
        """Write the nodes that are here over those given."""
        at, found = _locate(self.ids, ids)
        at = at[found]
        hashes[found], kinds[found] = np.take(self.hashes, at, axis=0), np.take(self.kinds, at)


def _locate(ids: Indexes, wanted: Indexes) -> tuple[Indexes, Flags]:
    at = np.searchsorted(ids, wanted)
    if not len(ids):
        return at, np.zeros(len(wanted), np.bool_)
    return at, ids[np.minimum(at, len(ids) - 1)] == wanted


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Heap:
    """All nodes down to depth `depth`, 33 bytes each; node 0 is not used."""

    depth: int  # at least 1
    hashes: Bytes
    kinds: Bytes

    @classmethod
    def build(cls, rows: Rows, depth: int) -> Self:
        """Hash a whole map."""
        heap = cls(depth, np.zeros((2 << depth, 32), np.uint8), np.zeros(2 << depth, np.uint8))
        start = 0
        while start < len(rows):
            # Whole buckets only: go on to the end of the one in which the chunk ends.
            last = min(start + _CHUNK, len(rows)) - 1
            _, bound = prefix_ranges(ids_at(rows.prefix[last : last + 1], depth), depth)
            stop = int(np.searchsorted(rows.prefix, bound[0], "right"))
            buckets = Buckets.hash(rows.take(np.arange(start, stop)), depth)
            heap.hashes[buckets.ids], heap.kinds[buckets.ids] = buckets.hashes, buckets.kinds
            start = stop
        for level in range(depth - 1, -1, -1):
            for low in range(1 << level, 2 << level, _CHUNK):
                high = min(low + _CHUNK, 2 << level)
                heap.hashes[low:high], heap.kinds[low:high] = join(
                    heap.hashes[2 * low : 2 * high].reshape(-1, 2, 32), heap.kinds[2 * low : 2 * high].reshape(-1, 2)
                )
        return heap

    def overlaid(self, newer: Sequence[Nodes]) -> Self:
        """Return a copy with nodes written over it, oldest first."""
        hashes, kinds = self.hashes.copy(), self.kinds.copy()
        for nodes in newer:
            hashes[nodes.ids], kinds[nodes.ids] = nodes.hashes, nodes.kinds
        return type(self)(self.depth, hashes, kinds)

    def deeper(self) -> Self:
        """Return a heap with one level more, whose nodes nobody has hashed yet."""
        size = 2 << self.depth
        hashes, kinds = np.zeros((2 * size, 32), np.uint8), np.full(2 * size, UNKNOWN, np.uint8)
        hashes[:size], kinds[:size] = self.hashes, self.kinds
        return type(self)(self.depth + 1, hashes, kinds)


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """The subtrees at one depth that have leaves, and all that was hashed for them."""

    ids: Indexes
    hashes: Bytes
    kinds: Bytes
    starts: Indexes  # the first row of each bucket
    leaves: Bytes  # of each row
    levels: dict[int, Level]  # the inner nodes

    @classmethod
    def hash(cls, rows: Rows, depth: int) -> Self:
        """Hash all buckets of some rows."""
        leaves = rows.leaves if rows.leaves.shape[1] else hash_leaves(rows.keys, hash_values(rows.states))
        widest, levels = grow(rows, leaves, depth)
        ids, starts, counts = np.unique(ids_at(rows.prefix, depth), return_index=True, return_counts=True)
        kinds = np.where(counts > 1, INNER, LEAF).astype(np.uint8)
        return cls(ids, widest[starts], kinds, starts, leaves, levels)


def join(hashes: Bytes, kinds: Bytes) -> tuple[Bytes, Bytes]:
    """Make nodes from their sides: hashes (n, 2, 32) and kinds (n, 2) to hashes (n, 32) and kinds (n,)."""
    # At most one leaf below: the hash is that of the side which has it, and the other side is zeros.
    joined = hashes[:, 0] | hashes[:, 1]
    kind = kinds.max(axis=1)
    inner = (kind == INNER) | (kinds.min(axis=1) != EMPTY)
    kind[inner] = INNER
    joined[inner] = hash_nodes(hashes[inner, 0], hashes[inner, 1])
    return joined, kind


def climb(places: list[Indexes], hashes: Bytes, kinds: Bytes) -> None:
    """Make nodes anew, level by level up to the root, in arrays that hold the root and then both sides of each of them.

    Args:
        places: by depth, from 0: where in the arrays the nodes to be made lie.
    """
    starts = np.cumsum([1, *(2 * len(level) for level in places)]).tolist()  # of the sides of the nodes of each depth
    narrow = sum(len(level) <= _NARROW for level in places)
    for depth in range(len(places) - 1, narrow - 1, -1):
        sides = slice(starts[depth], starts[depth + 1])
        hashes[places[depth]], kinds[places[depth]] = join(
            hashes[sides].reshape(-1, 2, 32), kinds[sides].reshape(-1, 2)
        )
    # A few nodes are made faster one by one.
    some, some_kinds = to_bytes_list(hashes[: starts[narrow]]), kinds[: starts[narrow]].tolist()
    for depth in range(narrow - 1, -1, -1):
        for left, place in zip(range(starts[depth], starts[depth + 1], 2), places[depth].tolist(), strict=True):
            (near, far), (kind, other) = some[left : left + 2], some_kinds[left : left + 2]
            if kind == INNER or other == INNER or (kind != EMPTY and other != EMPTY):
                some[place], some_kinds[place] = sha256(b"\x03" + near + far).digest(), INNER
            else:
                some[place], some_kinds[place] = (near, kind) if other == EMPTY else (far, other)
    hashes[: starts[narrow]], kinds[: starts[narrow]] = to_bytes_array(some, 32), some_kinds


def ids_at(prefix: Prefixes, depth: int) -> Indexes:
    """Return the nodes of depth `depth` (at most 63) on the way to some keys."""
    return (prefix >> np.uint64(1) >> np.uint64(63 - depth)).astype(np.int64) | 1 << depth


def prefix_ranges(ids: Indexes, depth: int | Indexes) -> tuple[Prefixes, Prefixes]:
    """Return the least and the greatest prefix of a key below each node."""
    depths = np.asarray(depth, np.uint64)
    low = ids.astype(np.uint64) - (np.uint64(1) << depths) << np.uint64(63) - depths << np.uint64(1)
    return low, low | np.uint64(2**64 - 1) >> depths


def distinct(ids: Indexes) -> Indexes:
    """Drop repetitions from ascending numbers."""
    return ids[np.concatenate(([True], ids[1:] != ids[:-1]))]
