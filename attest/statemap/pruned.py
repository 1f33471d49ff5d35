"""Pruned trees: of a tree before a change, what it takes to look up and change the touched keys.

The subtrees left out are untouched, so their hashes are the same after the change and are not made twice: only the
*shape* is taken from before.

Spec: docs/spec/sparse-map.md#pruned-trees.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from attest.statemap.forest import key_bits
from attest.statemap.hashing import hash_values
from attest.statemap.heap import EMPTY, INNER, LEAF, Buckets, Nodes, prefix_ranges
from attest.statemap.rows import Bytes, Flags, Indexes, Prefixes, Rows, spans

_EMPTY, _HASH, _LEAF, _INNER = range(4)  # tags on the wire
_SIZES = np.array([1, 33, 65, 1])

_PACKED = 56  # as long as no path is longer, it and its length fit in one number to sort by


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What planning a change came across."""

    depth: int  # of the buckets
    before: Nodes  # before the change: the root, and both sides of every node above the buckets that changed
    on_way: Indexes  # which of those changed
    between: Callable[[Prefixes, Prefixes], Rows]  # cuts rows out of the version before
    rows: Rows  # of all touched buckets, after the change
    buckets: Buckets  # hashed from `rows`
    changed: Indexes  # which of `rows` the change wrote
    found: Flags  # which of those were there before
    old_states: Bytes  # of those found


@dataclass(slots=True, eq=False)
class _Parts:
    """The nodes of a pruned tree, in no order yet."""

    words: int  # how many 64-bit words of a path tell nodes apart: 1 or 4
    depths: list[Indexes] = field(default_factory=list)
    tags: list[Bytes] = field(default_factory=list)
    paths: list[Prefixes] = field(default_factory=list)  # (n, words): the bits leading to a node, then zeros
    payloads: list[Bytes] = field(default_factory=list)  # of the nodes in one `add`

    def add(self, tag: int, depth: int | Indexes, paths: Prefixes, payload: Bytes) -> None:
        """Add nodes of one tag. A path may be given by its first word alone where that is all of it."""
        if not len(paths):
            return
        if paths.ndim == 1:
            first, paths = paths, np.zeros((len(paths), self.words), np.uint64)
            paths[:, 0] = first
        self.depths.append(np.broadcast_to(depth, len(paths)))
        self.tags.append(np.full(len(paths), tag, np.uint8))
        self.paths.append(paths)
        self.payloads.append(payload)

    def encode(self) -> bytes:
        """Write all nodes in preorder: by path, and on one path from the top down."""
        depths, tags, paths = np.concatenate(self.depths), np.concatenate(self.tags), np.concatenate(self.paths)
        if self.words == 1:
            order = np.argsort(paths[:, 0] | depths.astype(np.uint64))
        else:
            order = np.lexsort((depths, paths[:, 3], paths[:, 2], paths[:, 1], paths[:, 0]))
        sizes = _SIZES[tags]
        offsets = np.empty(len(order), np.int64)
        offsets[order] = np.cumsum(sizes[order]) - sizes[order]
        out = np.empty(int(sizes.sum()), np.uint8)
        out[offsets] = tags
        start = 0
        for payload in self.payloads:
            if payload.size:
                windows = sliding_window_view(out, payload.shape[1], writeable=True)
                windows[offsets[start : start + len(payload)] + 1] = payload
            start += len(payload)
        return out.tobytes()


def prune(evidence: Evidence) -> bytes:
    """Write the pruned tree."""
    deepest = max(evidence.buckets.levels, default=evidence.depth) + 1
    parts = _Parts(words=1 if deepest <= _PACKED else 4)
    starts, ends = _prune_heap(evidence, parts)
    _prune_buckets(evidence, parts, starts, ends)
    return parts.encode()


def _nothing(count: int) -> Bytes:
    return np.empty((count, 0), np.uint8)


def _prune_heap(evidence: Evidence, parts: _Parts) -> tuple[Indexes, Indexes]:
    """Add the nodes above the buckets. Returns the ranges of rows of the buckets that the tree goes down to."""
    ids, kinds = evidence.before.ids, evidence.before.kinds
    depths = np.frexp(ids)[1].astype(np.int64) - 1
    paths, highest = prefix_ranges(ids, depths)
    # Where there is more than one leaf there is more than one in all nodes above, too: the parent alone decides.
    reached = kinds[np.searchsorted(ids, np.maximum(ids >> 1, 1))] == INNER
    reached[0] = True
    on_way = np.zeros(len(ids), np.bool_)
    on_way[evidence.on_way] = True
    inside = reached & (depths < evidence.depth)

    empty = np.flatnonzero((inside | reached & ~on_way) & (kinds == EMPTY))
    parts.add(_EMPTY, depths[empty], paths[empty], _nothing(len(empty)))
    cut = np.flatnonzero(reached & ~on_way & (kinds != EMPTY))
    parts.add(_HASH, depths[cut], paths[cut], evidence.before.hashes[cut])
    inner = np.flatnonzero(inside & on_way & (kinds == INNER))
    parts.add(_INNER, depths[inner], paths[inner], _nothing(len(inner)))
    lone = np.flatnonzero(inside & on_way & (kinds == LEAF))
    lone = lone[np.argsort(paths[lone])]
    rows = evidence.between(paths[lone], highest[lone])
    parts.add(_LEAF, depths[lone], paths[lone], np.concatenate((rows.keys, hash_values(rows.states)), axis=1))

    starts = np.append(evidence.buckets.starts, len(evidence.rows))
    at = np.searchsorted(evidence.buckets.ids, ids[reached & on_way & (depths == evidence.depth)])
    return starts[at], starts[at + 1]


def _prune_buckets(evidence: Evidence, parts: _Parts, starts: Indexes, ends: Indexes) -> None:
    """Add the nodes from the buckets down. All nodes on the way are ranges of rows with something changed in them."""
    rows, buckets = evidence.rows, evidence.buckets
    old, changed = np.ones(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    old[evidence.changed[~evidence.found]] = False
    changed[evidence.changed] = True
    old_rows = np.flatnonzero(old)
    olds, changes = _running(old), _running(changed)
    states = rows.states.copy()
    states[evidence.changed[evidence.found]] = evidence.old_states
    depth = evidence.depth
    while True:
        count = olds[ends] - olds[starts]
        paths = _paths(rows, starts, depth, parts.words)
        parts.add(_EMPTY, depth, paths[count == 0], _nothing(int((count == 0).sum())))
        lone = old_rows[olds[starts[count == 1]]]
        payload = np.concatenate((rows.take(lone).keys, hash_values(states[lone])), axis=1)
        parts.add(_LEAF, depth, paths[count == 1], payload)
        inner = count > 1
        parts.add(_INNER, depth, paths[inner], _nothing(int(inner.sum())))
        # Both sides of the inner nodes, one level down.
        starts, ends, paths = starts[inner], ends[inner], paths[inner]
        if not len(starts):
            return
        middles = _middles(rows, starts, ends, depth)
        right = paths.copy()
        right[:, depth // 64] |= np.uint64(1 << 63 - depth % 64)
        depth += 1
        starts, ends = np.concatenate((starts, middles)), np.concatenate((middles, ends))
        paths = np.concatenate((paths, right))
        empty = starts == ends
        parts.add(_EMPTY, depth, paths[empty], _nothing(int(empty.sum())))
        further = changes[ends] > changes[starts]
        cut = ~empty & ~further
        hashes = buckets.leaves[starts[cut]]
        wide = ends[cut] - starts[cut] > 1
        if wide.any():
            level = buckets.levels[depth]
            hashes[wide] = level.hashes[np.searchsorted(level.starts, starts[cut][wide])]
        parts.add(_HASH, depth, paths[cut], hashes)
        starts, ends = starts[further], ends[further]


def _running(flags: Flags) -> Indexes:
    """Count the flags before each place, and at the end all."""
    return np.concatenate(([0], np.cumsum(flags)))


def _paths(rows: Rows, which: Indexes, depth: int, words: int) -> Prefixes:
    """Return the first `depth` bits of some keys, then zeros, (n, words)."""
    paths = np.empty((len(which), words), np.uint64)
    paths[:, 0] = rows.prefix[which]
    if words > 1:
        paths[:, 1:] = rows.rest[which].view(">u8")
    for word in range(words):
        kept = min(max(depth - 64 * word, 0), 64)
        paths[:, word] &= np.uint64(2**64 - (1 << 64 - kept))
    return paths


def _middles(rows: Rows, starts: Indexes, ends: Indexes, depth: int) -> Indexes:
    """Return where the keys of each range (none is empty) begin to have bit `depth` set."""
    lengths = ends - starts
    zeros = ~key_bits(rows, spans(starts, ends), depth)
    return starts + np.add.reduceat(zeros, np.cumsum(lengths) - lengths, dtype=np.int64)
