"""The state map of one system, in memory: key → state, proofs, and the next version.

Spec: docs/spec/state.md, docs/spec/sparse-map.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self
from weakref import ref

import numpy as np

from attest.encoding import Hash
from attest.errors import Conflict, Malformed
from attest.statemap.forest import build_subtree, descend
from attest.statemap.hashing import STATE_SIZE, hash_leaves, hash_values
from attest.statemap.heap import (
    EMPTY,
    INNER,
    UNKNOWN,
    Buckets,
    Heap,
    Nodes,
    climb,
    distinct,
    ids_at,
    prefix_ranges,
)
from attest.statemap.pruned import Evidence, prune
from attest.statemap.rows import (
    Bytes,
    Indexes,
    Prefixes,
    Rows,
    merged_positions,
    no_rows,
    split_keys,
    to_bytes_array,
    to_bytes_list,
)

MAX_PROOF_DEPTH = 255

_PROVE_CHUNK = 1 << 13  # keys proven at a time
_ROOMY = 2  # levels more in the heap of a roomy map
_LARGE = 20  # the depth of a roomy heap from which on it is one level more: a node takes 33 bytes, a hash a row less


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Layer:
    """What some epochs changed: rows and nodes that stand above those of the base."""

    rows: Rows
    nodes: Nodes

    def merge(self, newer: "Layer") -> "Layer":
        """Return one layer for two."""
        return Layer(self.rows.merge(newer.rows), self.nodes.merge(newer.nodes))


class Delta:
    """A planned change of one version of a map: nothing has happened yet.

    Attributes:
        before: the version it was planned over, the only one it can be applied to.
        root: the root after it.
        changes: key → new state.
    """

    def __init__(
        self, before: "StateMap", after: "StateMap", changes: Mapping[Hash, bytes], evidence: Evidence | None = None
    ) -> None:
        self.before = before
        self.root: Hash = after.root
        self.changes = changes
        self._after = after
        self._evidence = evidence

    @cached_property
    def old(self) -> dict[Hash, bytes | None]:
        """The states before, of the changed keys; None for a new key."""
        keys = list(self.changes)
        return dict(zip(keys, self.before.get(keys), strict=True))

    def pruned(self) -> bytes:
        """Write the tree before the change, as far as looking up and changing these keys needs it.

        In preorder: 00 empty, 01 hash, 02 key value, 03 and then its left and its right side.

        Spec: docs/spec/sparse-map.md#pruned-trees.
        """
        if not self.changes:
            return b"\x01" + self.root if self.before.size else b"\x00"
        return prune(self._evidence or self.before._changed(self.changes)[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Ways:
    """The ways of some keys through a heap, and where they leave it."""

    nodes: Indexes  # where each ends
    ends: Indexes  # at which depth
    bitmaps: list[bytes]  # which siblings are not empty; the first is the most significant bit
    siblings: bytes  # those of all ways, from the root down, without the empty ones
    offsets: list[int]  # where those of each way begin


class StateMap:
    """One version of a map from keys (32 bytes) to states (49 bytes). Nothing changes it; keys are never removed.

    Keep the current version in one variable and replace it by what `apply` returns: whoever read the variable before
    goes on proving against the version it got, and nobody waits for anybody. Versions share what they have in common.

    Attributes:
        root: the root of the prefix tree over all keys.
        size: how many keys there are.
        generation: how often the rows were rewritten (see `compact`). Versions of one generation share its memory; an
            old version keeps an old generation alive, so do not hold on to many.
    """

    root: Hash
    size: int
    generation: int

    def __init__(
        self, rows: Rows, heap: Heap, layers: tuple[Layer, ...] = (), *, size: int, generation: int, roomy: bool
    ) -> None:
        """Not for callers: see `empty`, `build` and `load_snapshot`."""
        self._rows = rows
        self._roomy = roomy
        self._heap = heap
        self._layers = layers  # oldest first, each several times as large as the next
        self.size = size
        self.generation = generation
        top = next((layer.nodes.hashes for layer in reversed(layers)), heap.hashes[1:])
        self.root = top[0].tobytes()

    @classmethod
    def empty(cls, *, roomy: bool = False) -> Self:
        """Return the map without keys.

        Args:
            roomy: it and what follows from it remember the leaf hashes and more of the nodes. Changes then take half
                the hashes, and a key takes some 100 bytes more. For whoever does nothing but change maps.
        """
        return cls.from_rows(no_rows(roomy), roomy=roomy)

    @classmethod
    def build(cls, states: Mapping[Hash, bytes]) -> Self:
        """Make a map at once."""
        return cls.from_arrays(to_bytes_array(list(states), 32), to_bytes_array(list(states.values()), STATE_SIZE))

    @classmethod
    def from_arrays(cls, keys: Bytes, states: Bytes) -> Self:
        """Make a map of keys (n, 32) and their states (n, 49), in any order. Raises `ValueError` for a repeated key."""
        return cls.from_rows(Rows.sort(keys, states))

    @classmethod
    def from_rows(cls, rows: Rows, *, roomy: bool = False) -> Self:
        """Make a map of rows in order; see `empty`."""
        heap = Heap.build(rows, heap_depth(len(rows), roomy))
        return cls(rows, heap, size=len(rows), generation=0, roomy=roomy)

    # --- reading ---

    @property
    def rows(self) -> Rows:
        """All keys in order with their states; copied together unless this version is compact."""
        return self.compact()._rows

    def get(self, keys: Sequence[Hash]) -> list[bytes | None]:
        """Return the states of `keys`, None for a key that is not there."""
        found: list[bytes | None] = [None] * len(keys)
        if not keys:
            return found
        prefix, rest = split_keys(to_bytes_array(keys, 32))
        # In order: to search here and there in a large map takes five times as long.
        missing = np.argsort(prefix)
        for rows in (*(layer.rows for layer in reversed(self._layers)), self._rows):
            at, here = rows.locate(prefix[missing], rest[missing])
            states = to_bytes_list(rows.states[at[here]])
            for i, state in zip(missing[here].tolist(), states, strict=True):
                found[i] = state
            missing = missing[~here]
        return found

    def prove(self, keys: Sequence[Hash]) -> list[bytes]:
        """Prove the state of every key, or that it has none: the wire form of a `MapProof` each.

        Raises:
            Malformed: `map-proof/depth`, for a key that shares 255 bits with another: no proof can say that.

        Spec: docs/spec/sparse-map.md#proofs.
        """
        proofs: list[bytes] = []
        for start in range(0, len(keys), _PROVE_CHUNK):
            proofs += self._prove(keys[start : start + _PROVE_CHUNK])
        return proofs

    def _prove(self, keys: Sequence[Hash]) -> list[bytes]:
        ways = self._follow(split_keys(to_bytes_array(keys, 32))[0])
        # The rows below the ends. Ends are buckets or hold at most one leaf, so no end is below another.
        depth = self._heap.depth
        _, once, which = np.unique(ways.nodes << depth - ways.ends, return_index=True, return_inverse=True)
        low, high = prefix_ranges(ways.nodes[once], ways.ends[once])
        rows = self._between(low, high)
        values, all_keys = hash_values(rows.states), rows.keys
        leaves = to_bytes_list(hash_leaves(all_keys, values))
        bindings = list(zip(to_bytes_list(all_keys), to_bytes_list(values), strict=True))
        bits = [int.from_bytes(key, "big") for key, _ in bindings]
        bounds = (np.searchsorted(rows.prefix, low), np.searchsorted(rows.prefix, high, "right"), ways.ends[once])
        subtrees = [
            build_subtree(bits, leaves, first, end, hung) if first < end else None
            for first, end, hung in zip(*(bound.tolist() for bound in bounds), strict=True)
        ]
        proofs = []
        for i, (key, subtree) in enumerate(zip(keys, which.tolist(), strict=True)):
            way = descend(subtrees[subtree], int(ways.ends[i]), int.from_bytes(key, "big"))
            if way.depth > MAX_PROOF_DEPTH:
                raise Malformed("map-proof/depth", f"{way.depth} bits deep, a proof says at most {MAX_PROOF_DEPTH}")
            size = -(-way.depth // 8)
            bitmap = int.from_bytes(ways.bitmaps[i], "big") << 8 * size >> 8 * len(ways.bitmaps[i])
            for level in way.siblings:
                bitmap |= 1 << 8 * size - level
            above = ways.siblings[ways.offsets[i] : ways.offsets[i + 1]]
            terminal = (b"\x00",) if way.row is None else (b"\x01", *bindings[way.row])
            proofs.append(
                b"".join((bytes((way.depth,)), bitmap.to_bytes(size, "big"), above, *way.siblings.values(), *terminal))
            )
        return proofs

    def _follow(self, prefix: Prefixes) -> "_Ways":
        """Follow keys through the heap, as far as it goes or until at most one leaf is left."""
        depth = self._heap.depth
        nodes = np.stack([ids_at(prefix, level) for level in range(depth + 1)], axis=1)
        _, kinds = self._nodes(nodes.ravel())
        forks = kinds.reshape(nodes.shape) == INNER
        ends = np.where(forks.all(axis=1), depth, forks.argmin(axis=1))
        hashes, kinds = self._nodes((nodes[:, 1:] ^ 1).ravel())
        present = (kinds.reshape(-1, depth) != EMPTY) & (np.arange(depth) < ends[:, None])
        return _Ways(
            nodes=np.take_along_axis(nodes, ends[:, None], axis=1).ravel(),
            ends=ends,
            bitmaps=to_bytes_list(np.packbits(present, axis=1)),
            siblings=hashes[present.ravel()].tobytes(),
            offsets=np.concatenate(([0], np.cumsum(32 * present.sum(axis=1)))).tolist(),
        )

    def _between(self, low: Prefixes, high: Prefixes) -> Rows:
        """Cut out the rows of disjoint ascending prefix ranges, bounds included."""
        rows = self._rows.between(low, high)
        for layer in self._layers:
            rows = rows.merge(layer.rows.between(low, high))
        return rows

    def _nodes(self, ids: Indexes) -> tuple[Bytes, Bytes]:
        """Return the hashes and kinds of some nodes of the heap."""
        hashes, kinds = np.take(self._heap.hashes, ids, axis=0), np.take(self._heap.kinds, ids)
        for layer in self._layers:
            layer.nodes.override(ids, hashes, kinds)
        unknown = np.flatnonzero(kinds == UNKNOWN)
        if len(unknown):
            wanted, inverse = np.unique(ids[unknown], return_inverse=True)
            buckets = Buckets.hash(self._between(*prefix_ranges(wanted, self._heap.depth)), self._heap.depth)
            found = Nodes(wanted, np.zeros((len(wanted), 32), np.uint8), np.full(len(wanted), EMPTY, np.uint8))
            Nodes(buckets.ids, buckets.hashes, buckets.kinds).override(found.ids, found.hashes, found.kinds)
            hashes[unknown], kinds[unknown] = found.hashes[inverse], found.kinds[inverse]
        return hashes, kinds

    # --- the next version ---

    def plan(self, changes: Mapping[Hash, bytes]) -> Delta:
        """Work out the version in which `changes` are bound, replacing or new. Changes nothing.

        Raises:
            ValueError: a key that has not 32 bytes, or a state that has not 49.
        """
        if not changes:
            return Delta(self, self, changes)
        after, evidence = self._changed(changes)
        # Who only changes a map hardly ever asks for evidence, and has several hundred bytes a key less without it.
        return Delta(self, after, changes, None if self._roomy else evidence)

    def _changed(self, changes: Mapping[Hash, bytes]) -> tuple["StateMap", Evidence]:
        newer = Rows.sort(to_bytes_array(list(changes), 32), to_bytes_array(list(changes.values()), STATE_SIZE))
        if self._roomy:
            newer = newer.with_leaves(hash_leaves(newer.keys, hash_values(newer.states)))
        # A change that dwarfs the map gets a heap fit for what comes.
        deep = self if len(newer) < 2 * self.size else self._redrawn(self.size + len(newer))
        return deep._plan(newer)

    def _plan(self, newer: Rows) -> tuple["StateMap", Evidence]:
        depth = self._heap.depth
        # 1. Hash the buckets as they will be.
        touched = distinct(ids_at(newer.prefix, depth))
        older = self._between(*prefix_ranges(touched, depth))
        at, found = older.locate(newer.prefix, newer.rest)
        rows = older.merge(newer)
        buckets = Buckets.hash(rows, depth)
        # 2. Look up what stands above them: the root, and both sides of every node that will change.
        levels = [touched]
        while levels[0][0] != 1:
            levels.insert(0, distinct(levels[0] >> 1))
        ids = np.concatenate([np.array([1]), *(np.stack((2 * up, 2 * up + 1), axis=1).ravel() for up in levels[:-1])])
        before = Nodes(ids, *self._nodes(ids))
        # 3. Hash these nodes again, from the buckets up to the root.
        places = [np.searchsorted(ids, level) for level in levels]
        hashes, kinds = before.hashes.copy(), before.kinds.copy()
        hashes[places[-1]], kinds[places[-1]] = buckets.hashes, buckets.kinds
        climb(places[:-1], hashes, kinds)
        changed = np.concatenate(places)
        after = StateMap(
            self._rows,
            self._heap,
            (*self._layers, Layer(newer, Nodes(ids[changed], hashes[changed], kinds[changed]))),
            size=self.size + int((~found).sum()),
            generation=self.generation,
            roomy=self._roomy,
        )
        evidence = Evidence(
            depth=depth,
            before=before,
            on_way=changed,
            between=self._between,
            rows=rows,
            buckets=buckets,
            changed=merged_positions(at, ~found),
            found=found,
            old_states=older.states[at[found]],
        )
        return after, evidence

    def apply(self, delta: Delta) -> "StateMap":
        """Return the version that `delta` planned. This one stays as it is.

        Raises:
            Conflict: `statemap/stale`, it was planned over another version.
        """
        if delta.before is not self:
            raise Conflict(
                "statemap/stale",
                f"planned over the version with root {delta.before.root.hex()}, this one has {self.root.hex()}",
            )
        return delta._after._tidied()

    def _tidied(self) -> "StateMap":
        """Merge layers until each is four times as large as the next, so that there are few and merging is rare."""
        layers = list(self._layers)
        overlay, limit = sum(len(layer.rows) for layer in layers), _overlay_limit(len(self._rows), self._roomy)
        if overlay > limit and (not self._roomy or overlay > 2 * limit or _replaced() is None):
            return self.compact()
        while len(layers) > 1 and 4 * len(layers[-1].rows) >= len(layers[-2].rows):
            newer = layers.pop()
            layers[-1] = layers[-1].merge(newer)
        return self._with(self._rows, self._heap, tuple(layers), self.generation)

    def compact(self) -> "StateMap":
        """Return the same version with all rows in one run: as much memory again, until this one is let go."""
        global _replaced
        if not self._layers:
            return self
        if self._roomy:
            _replaced = ref(self._heap)
        # The nodes of the layers are written one after the other: merging them first would cost a copy of all.
        heap = self._heap.overlaid([layer.nodes for layer in self._layers])
        runs = [layer.rows for layer in self._layers]
        while len(runs) > 1:
            newer = runs.pop()
            runs[-1] = runs[-1].merge(newer)
        rows = self._rows.merge(runs[0])
        compact = self._with(rows, heap, (), self.generation + 1)
        return compact if len(rows) < _most(heap.depth, self._roomy) else compact._deepened()

    def _deepened(self) -> "StateMap":
        """Return the same version with a level more. Changes hash its nodes when they touch them, so nobody waits."""
        heap = self._heap
        unknown = (1 << heap.depth) + np.flatnonzero(heap.kinds[1 << heap.depth :] == UNKNOWN)
        for start in range(0, len(unknown), 1 << 16):
            ids = unknown[start : start + (1 << 16)]
            heap.hashes[ids], heap.kinds[ids] = self._nodes(ids)
        return self._with(self._rows, heap.deeper(), (), self.generation)

    def _redrawn(self, size: int) -> "StateMap":
        """Return the same version with a heap fit for another size, hashed anew."""
        rows = self.compact()._rows
        return self._with(rows, Heap.build(rows, heap_depth(size, self._roomy)), (), self.generation + 1)

    def _with(self, rows: Rows, heap: Heap, layers: tuple[Layer, ...], generation: int) -> "StateMap":
        return StateMap(rows, heap, layers, size=self.size, generation=generation, roomy=self._roomy)


# The base that was last replaced, while older versions keep it in memory. Systems of a replay grow side by side: if all
# were compacted in one epoch, all would be in memory twice.
_replaced: Callable[[], Heap | None] = lambda: None  # noqa: E731


def _overlay_limit(size: int, roomy: bool) -> int:
    """Return how many rows may stand in layers above a base of `size`, before it is worth copying the base."""
    # A quarter of a small map is soon copied; of a large one, a sixteenth is what memory has room for. A roomy map has
    # several hundred bytes a row in its layers, and is changed so much that copying it more often would be felt.
    return max(64, size // 8, min(size // 4, 1 << 18)) if roomy else max(64, size // 16, min(size // 4, 1 << 20))


def heap_depth(size: int, roomy: bool) -> int:
    """Return the depth at which a map of `size` keys has two to four keys in a bucket; in a roomy one, fewer."""
    depth = max(1, (size // 2).bit_length() - 1)
    return max(min(depth + _ROOMY, _LARGE), depth + 1) if roomy else depth


def _most(depth: int, roomy: bool) -> int:
    """Return with how many keys a heap of some depth gets a level more."""
    more = _ROOMY if depth < _LARGE else 1
    return 6 << depth - more * roomy
