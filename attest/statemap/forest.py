"""The subtrees below the heap: hashed for many buckets at once, or taken apart for one key.

A bucket is the set of keys that share their first `top` bits. Inside it there is nothing to look up: its subtree is
hashed from its rows whenever it is needed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attest.encoding import ZERO, Hash
from attest.statemap.hashing import hash_nodes
from attest.statemap.rows import Bytes, Flags, Indexes, Prefixes, Rows

BITS = 256


# --- all buckets at once, level by level ---


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The inner nodes of one depth, named by the row where each begins."""

    starts: Indexes  # ascending
    hashes: Bytes


def grow(rows: Rows, leaves: Bytes, top: int) -> tuple[Bytes, dict[int, Level]]:
    """Hash the subtrees of all buckets of depth `top`.

    Returns:
        For every row the hash of the widest subtree that begins there, so at the first row of a bucket the bucket's;
        and the inner nodes by depth, from `top` down.
    """
    shared = shared_bits(rows)
    joints = np.flatnonzero(shared >= top)  # between rows i and i + 1 of one bucket
    joints = joints[np.argsort(shared[joints], kind="stable")]
    depths = shared[joints]
    widest = leaves.copy()
    first = np.arange(len(rows))  # by last row of a subtree: its first row
    last = np.arange(len(rows))  # by first row: its last row
    merged = np.zeros(len(rows), np.bool_)
    levels: dict[int, Level] = {}
    alive = np.empty(0, np.int64)  # first rows of the inner nodes one level deeper
    for depth in range(int(depths[-1]) if len(depths) else -1, top - 1, -1):
        low, high = np.searchsorted(depths, [depth, depth + 1])
        right = joints[low:high] + 1
        left = first[right - 1]
        merged[left] = merged[right] = True
        # A node whose keys all go the same way has one child and an empty side: nothing is compressed away.
        chain = alive[~merged[alive]]
        merged[left] = merged[right] = False
        alive = np.concatenate((left, chain))
        near, far = widest[alive], np.zeros((len(alive), 32), np.uint8)
        far[: len(left)] = widest[right]
        turned = np.zeros(len(alive), np.bool_)
        turned[len(left) :] = key_bits(rows, chain, depth)
        near[turned], far[turned] = far[turned], near[turned]
        widest[alive] = hashes = hash_nodes(near, far)
        ends = last[right]
        last[left], first[ends] = ends, left
        order = np.argsort(alive)
        alive = alive[order]
        levels[depth] = Level(alive, hashes[order])
    return widest, levels


def shared_bits(rows: Rows) -> Indexes:
    """Count the leading bits that each key shares with the next one."""
    if len(rows) < 2:
        return np.empty(0, np.int64)
    bits = _leading_zeros(rows.prefix[1:] ^ rows.prefix[:-1])
    for i in np.flatnonzero(bits == 64).tolist():
        differing = int.from_bytes(rows.rest[i].tobytes(), "big") ^ int.from_bytes(rows.rest[i + 1].tobytes(), "big")
        bits[i] = BITS - differing.bit_length()
    return bits


def _leading_zeros(words: Prefixes) -> Indexes:
    smeared = words.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        smeared |= smeared >> np.uint64(shift)
    return 64 - np.bitwise_count(smeared).astype(np.int64)


def key_bits(rows: Rows, which: Indexes, depth: int) -> Flags:
    """Return bit `depth` of some keys, most significant first."""
    if depth < 64:
        return _truth(rows.prefix[which] & np.uint64(1 << 63 - depth))
    return _truth(rows.rest[which, depth // 8 - 8] & np.uint8(0x80 >> depth % 8))


def _truth(masked: NDArray[Any]) -> Flags:
    return masked.astype(np.bool_)


# --- one bucket, for proofs ---


class Fork(NamedTuple):
    """A subtree with at least two leaves, which share `split` bits: a chain of one-sided nodes, then two sides."""

    hash: Hash  # at the depth where the subtree hangs
    split: int
    bits: int  # one of its keys
    forked: Hash  # at depth `split`
    left: "Subtree"
    right: "Subtree"


class Leaf(NamedTuple):
    """A subtree with one leaf."""

    hash: Hash
    bits: int  # its key as an integer
    row: int


Subtree: TypeAlias = Fork | Leaf


def build_subtree(bits: Sequence[int], leaves: Sequence[Hash], low: int, high: int, depth: int) -> Subtree:
    """Build the subtree at `depth` over the rows from `low` to `high`, at least one. `bits`: all keys as integers."""
    if high - low == 1:
        return Leaf(leaves[low], bits[low], low)
    split = BITS - (bits[low] ^ bits[high - 1]).bit_length()
    shift = BITS - 1 - split
    middle = bisect_left(bits, bits[high - 1] >> shift << shift, low, high)
    left = build_subtree(bits, leaves, low, middle, split + 1)
    right = build_subtree(bits, leaves, middle, high, split + 1)
    forked = sha256(b"\x03" + left.hash + right.hash).digest()
    return Fork(_lift(forked, bits[low], split, depth), split, bits[low], forked, left, right)


def _lift(hashed: Hash, bits: int, depth: int, upto: int) -> Hash:
    """Hash a lone child from `depth` up to depth `upto`, along the bits of its keys."""
    for level in range(depth - 1, upto - 1, -1):
        one = bits >> (BITS - 1 - level) & 1
        hashed = sha256(b"\x03" + ZERO + hashed if one else b"\x03" + hashed + ZERO).digest()
    return hashed


class Way(NamedTuple):
    """What a key meets inside a bucket."""

    siblings: dict[int, Hash]  # by depth, from the top; without the empty ones
    depth: int  # where the way ends
    row: int | None  # of the leaf there


def descend(subtree: Subtree | None, depth: int, bits: int) -> Way:
    """Follow a key from `depth` down."""
    siblings: dict[int, Hash] = {}
    while isinstance(subtree, Fork):
        shared = BITS - (bits ^ subtree.bits).bit_length()
        if shared < subtree.split:
            siblings[shared + 1] = _lift(subtree.forked, subtree.bits, subtree.split, shared + 1)
            return Way(siblings, shared + 1, None)
        depth = subtree.split + 1
        one = bits >> (BITS - depth) & 1
        subtree, far = (subtree.right, subtree.left) if one else (subtree.left, subtree.right)
        siblings[depth] = far.hash
    return Way(siblings, depth, None if subtree is None else subtree.row)
