"""The prefix tree of draft-ietf-keytrans-protocol: the one map from 256-bit keys to hashes that every state uses.

A subtree with one leaf is that leaf's hash, an empty one is 32 zeros, any other splits by the next bit of the keys,
most significant first. A root binds every key to one value or to its absence; whether the tree is also the *right*
one, and canonical, is what replaying or checking each transition shows.

Spec: docs/spec/sparse-map.md.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from typing import Self, TypeAlias

from attest.encoding import ZERO, Hash
from attest.errors import Malformed, Refuted

BITS = 256  # of a key: no subtree is deeper
MAX_DEPTH = 255  # of a proof; only keys that share 255 bits lie deeper, and nobody can find such SHA-256 outputs
MAX_PRUNED = 2**30  # bytes of a pruned tree


def map_leaf(key: Hash, value: Hash) -> Hash:
    """Hash one binding: SHA-256(02 || key || value)."""
    return _sha256(b"\x02" + key + value).digest()


def map_node(left: Hash, right: Hash) -> Hash:
    """Hash two subtrees into their parent: SHA-256(03 || left || right)."""
    return _sha256(b"\x03" + left + right).digest()


def root(bindings: Mapping[Hash, Hash]) -> Hash:
    """Return the root of a map; 32 zeros for the empty one."""
    return Tree.build(bindings).root


def prove(bindings: Mapping[Hash, Hash], key: Hash) -> "MapProof":
    """Prove what the map binds `key` to, or that it binds it to nothing. For many proofs keep a `Tree`."""
    return Tree.build(bindings).prove(key)


# --- proofs ---


@dataclass(frozen=True, slots=True)
class MapProof:
    """What a map says about one key: the siblings on the way from the root, and where the way ends.

    On the wire: depth u8 || bitmap[ceil(depth / 8)] || siblings that are not 32 zeros || 00, or 01 || key || value.
    """

    siblings: tuple[Hash, ...]  # from the root down; ZERO for an empty subtree
    terminal: tuple[Hash, Hash] | None  # key and value of the leaf, which may be another key's; None for an empty end

    @property
    def depth(self) -> int:
        """How many bits of the key lead to the end of the way."""
        return len(self.siblings)

    def __post_init__(self) -> None:
        if self.depth > MAX_DEPTH:
            raise Malformed("map-proof/depth", f"{self.depth} bits deep, a proof says at most {MAX_DEPTH}")

    def encode(self) -> bytes:
        """Write the wire form."""
        size = -(-self.depth // 8)
        bitmap = 0
        for level, sibling in enumerate(self.siblings):
            if sibling != ZERO:
                bitmap |= 1 << (8 * size - 1 - level)
        present = [sibling for sibling in self.siblings if sibling != ZERO]
        end = [b"\x00"] if self.terminal is None else [b"\x01", *self.terminal]
        return b"".join([bytes([self.depth]), bitmap.to_bytes(size, "big"), *present, *end])

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read the wire form, and nothing but what `encode` writes.

        Raises:
            Malformed: `map-proof/truncated`; `map-proof/bitmap`, a bit beyond the depth; `map-proof/zero-sibling`, an
                empty subtree spelled out; `map-proof/terminal`, neither 00 nor 01; `map-proof/trailing`.
        """
        at = 0

        def take(size: int) -> bytes:
            nonlocal at
            if len(encoded) - at < size:
                raise Malformed("map-proof/truncated", f"{size} bytes wanted at byte {at} of {len(encoded)}")
            at += size
            return encoded[at - size : at]

        depth = take(1)[0]
        size = -(-depth // 8)
        bitmap = int.from_bytes(take(size), "big")
        if bitmap & ((1 << (8 * size - depth)) - 1):
            raise Malformed("map-proof/bitmap", f"the bitmap has bits beyond depth {depth}")
        siblings = tuple(take(32) if bitmap >> (8 * size - 1 - level) & 1 else ZERO for level in range(depth))
        if siblings.count(ZERO) != depth - bitmap.bit_count():
            raise Malformed("map-proof/zero-sibling", "a sibling of 32 zeros is left out, not written")
        kind = take(1)[0]
        if kind > 1:
            raise Malformed("map-proof/terminal", f"want 00 or 01 for where the way ends, found {kind:02x}")
        terminal = (take(32), take(32)) if kind else None
        if at != len(encoded):
            raise Malformed("map-proof/trailing", f"{len(encoded) - at} bytes after the proof")
        return cls(siblings, terminal)


def verify(proof: MapProof, root: Hash, key: Hash) -> Hash | None:
    """Return the value that the map under `root` binds to `key`, or None: it is proven to bind none.

    Raises:
        Malformed: `map-proof/hash-length`; `map-proof/foreign-terminal`, the leaf at the end of the way is not on the
            way to `key`, so it says nothing about it.
        Refuted: `map-proof/root-mismatch`.

    Spec: docs/spec/sparse-map.md#proofs.
    """
    if len(root) != 32 or len(key) != 32:
        raise Malformed("map-proof/hash-length", "a root and a key have 32 bytes")
    bits = int.from_bytes(key, "big")
    found, value = ZERO, None
    if proof.terminal is not None:
        other, bound = proof.terminal
        if (int.from_bytes(other, "big") ^ bits) >> (BITS - proof.depth):
            raise Malformed("map-proof/foreign-terminal", f"the leaf does not share the first {proof.depth} bits")
        found = map_leaf(other, bound)
        # Another key's leaf where this key's would be: there is no room for this key.
        value = bound if other == key else None
    for level in range(proof.depth - 1, -1, -1):
        sibling = proof.siblings[level]
        found = map_node(sibling, found) if _bit(bits, level) else map_node(found, sibling)
    if found != root:
        raise Refuted("map-proof/root-mismatch", "the way from this key leads to another root")
    return value


def _bit(bits: int, level: int) -> int:
    return bits >> (BITS - 1 - level) & 1


# --- trees, whole and pruned: nodes never change, an update shares what it does not touch ---


# A node begins with its hash. Plain tuples, because Python's garbage collector soon stops visiting those: with a class
# for each kind a batch takes twice the time. Their lengths tell them apart, and the type checker follows.
_Stub: TypeAlias = tuple[Hash]  # a subtree of which a pruned tree says nothing else
_Leaf: TypeAlias = tuple[Hash, bytes]  # key || value
_Inner: TypeAlias = tuple[Hash, "_Node", "_Node"]  # left, right
_Node: TypeAlias = _Stub | _Leaf | _Inner
_EMPTY: _Stub = (ZERO,)


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole map in memory, for up to some 100,000 keys. Immutable: an update is a new tree, the old one stays."""

    node: _Node

    @classmethod
    def build(cls, bindings: Mapping[Hash, Hash]) -> Self:
        """Make the tree of a map."""
        return cls(_apply(_EMPTY, bindings))

    @property
    def root(self) -> Hash:
        """The root; 32 zeros for the empty map."""
        return self.node[0]

    def get(self, key: Hash) -> Hash | None:
        """Return the value bound to `key`, or None."""
        return _get(self.node, key)

    def update(self, changes: Mapping[Hash, Hash]) -> Self:
        """Return the tree with `changes` bound, replacing or new. Nothing is ever removed."""
        return type(self)(_apply(self.node, changes))

    def prove(self, key: Hash) -> MapProof:
        """Prove what `key` is bound to, or that it is bound to nothing.

        Raises:
            Malformed: `map-proof/depth`, for a key that shares 255 bits with another: no proof can say that.
        """
        bits = int.from_bytes(key, "big")
        node = self.node
        siblings: list[Hash] = []
        while len(node) == 3:
            _, left, right = node
            near, far = (right, left) if _bit(bits, len(siblings)) else (left, right)
            siblings.append(far[0])
            node = near
        return MapProof(tuple(siblings), (node[1][:32], node[1][32:]) if len(node) == 2 else None)

    def prune(self, keys: Iterable[Hash]) -> bytes:
        """Write the part of the tree that is needed to look up, change or insert `keys`: see `parse_pruned`."""
        out: list[bytes] = []
        touched = _bits(sorted(set(keys)))
        _prune(self.node, 0, touched, 0, len(touched), out)
        return b"".join(out)


@dataclass(frozen=True, slots=True)
class Pruned:
    """A map of which only some subtrees are known. What a root says about them, it says as surely as the whole."""

    node: _Node

    def root(self) -> Hash:
        """Return the root of the whole map."""
        return self.node[0]

    def get(self, key: Hash) -> Hash | None:
        """Return the value bound to `key`, or None.

        Raises:
            Malformed: `pruned/touched-hash`, the key's place was pruned away.
        """
        return _get(self.node, key)

    def get_many(self, keys: Sequence[Hash]) -> list[Hash | None]:
        """Return `get` of each key, in order, going down every way once. Raises as `get` does."""
        ordered = sorted(set(keys))
        found = dict.fromkeys(ordered)
        _get_many(self.node, 0, _bits(ordered), ordered, 0, len(ordered), found)
        return [found[key] for key in keys]

    def update(self, changes: Mapping[Hash, Hash]) -> Hash:
        """Return the root of the whole map with `changes` bound, replacing or new.

        Raises:
            Malformed: `pruned/touched-hash`.
        """
        return _apply(self.node, changes)[0]


def parse_pruned(encoded: bytes) -> Pruned:
    """Read a pruned tree. In preorder: 00 empty, 01 hash, 02 key value, 03 and then its left and its right side.

    Raises:
        Malformed: `pruned/size`; `pruned/truncated`; `pruned/tag`; `pruned/zero-hash`, an empty subtree as 01;
            `pruned/foreign-leaf`, a leaf that is not on its key's way; `pruned/depth`; `pruned/not-canonical`, a 03
            over fewer than two leaves; `pruned/trailing`.

    Spec: docs/spec/sparse-map.md#pruned-trees.
    """
    if len(encoded) > MAX_PRUNED:
        raise Malformed("pruned/size", f"{len(encoded)} bytes, at most {MAX_PRUNED} are read")
    node, end = _reader(encoded)(0, 0, 0)
    if end != len(encoded):
        raise Malformed("pruned/trailing", f"{len(encoded) - end} bytes after the tree")
    return Pruned(node)


def _reader(encoded: bytes) -> Callable[[int, int, int], tuple[_Node, int]]:
    """Return what reads the subtree that starts at a byte; `prefix` is the `depth` bits leading to it.

    It returns where the subtree ends. A closure, because checkers spend most of their time here.
    """
    sha, size, empty, zero = _sha256, len(encoded), _EMPTY, ZERO

    def read(at: int, depth: int, prefix: int) -> tuple[_Node, int]:
        if at >= size:
            raise Malformed("pruned/truncated", "a subtree is missing at the end")
        tag = encoded[at]
        if tag == 3:
            if depth == BITS:
                raise Malformed("pruned/depth", f"a key has only {BITS} bits to split by")
            left, at = read(at + 1, depth + 1, prefix << 1)
            right, at = read(at, depth + 1, prefix << 1 | 1)
            if left is empty or right is empty:
                other = right if left is empty else left
                if other is empty or len(other) == 2:
                    raise Malformed(
                        "pruned/not-canonical", "a subtree with one leaf is that leaf, one without is empty"
                    )
            return (sha(b"\x03" + left[0] + right[0]).digest(), left, right), at
        if tag == 1:
            found = encoded[at + 1 : at + 33]
            if found == zero:
                raise Malformed("pruned/zero-hash", "an empty subtree is written 00")
            _check_end(at + 33, size)
            return (found,), at + 33
        if tag == 2:
            binding = encoded[at + 1 : at + 65]
            _check_end(at + 65, size)
            if int.from_bytes(binding[:32], "big") >> (BITS - depth) != prefix:
                raise Malformed("pruned/foreign-leaf", f"the leaf at byte {at + 1} is not on its key's way")
            return (sha(b"\x02" + binding).digest(), binding), at + 65
        if tag == 0:
            return empty, at + 1
        raise Malformed("pruned/tag", f"want 00 to 03, found {tag:02x} at byte {at}")

    return read


def _check_end(end: int, size: int) -> None:
    if end > size:
        raise Malformed("pruned/truncated", f"a subtree ends at byte {end} of {size}")


def _leaf(binding: bytes) -> _Leaf:
    return _sha256(b"\x02" + binding).digest(), binding


def _join(left: _Node, right: _Node) -> _Inner:
    return _sha256(b"\x03" + left[0] + right[0]).digest(), left, right


def _bits(keys: Sequence[Hash]) -> list[int]:
    """Keys as integers, so that their bits can be compared in ranges."""
    if any(len(key) != 32 for key in keys):
        raise ValueError("a key has 32 bytes")
    return [int.from_bytes(key, "big") for key in keys]


def _apply(node: _Node, changes: Mapping[Hash, Hash]) -> _Node:
    """Return the whole tree `node` with `changes` bound."""
    if any(len(value) != 32 for value in changes.values()):
        raise ValueError("a value has 32 bytes")
    ordered = sorted(changes.items())
    leaves = [_leaf(key + value) for key, value in ordered]
    return _update(node, 0, _bits([key for key, _ in ordered]), leaves, 0, len(leaves)) if leaves else node


def _split(depth: int, keys: Sequence[int], low: int, high: int) -> int:
    """Where the keys from `low` to `high`, which share `depth` bits, begin to have a 1 as the next."""
    shift = BITS - 1 - depth
    return bisect_left(keys, (keys[low] >> shift | 1) << shift, low, high)


def _build(depth: int, keys: list[int], leaves: list[_Leaf], low: int, high: int) -> _Node:
    """Make the subtree of the leaves from `low` to `high`."""
    if high - low < 2:
        return leaves[low] if low < high else _EMPTY
    split = _split(depth, keys, low, high)
    left = _build(depth + 1, keys, leaves, low, split)
    right = _build(depth + 1, keys, leaves, split, high)
    return _join(left, right)


def _update(node: _Node, depth: int, keys: list[int], leaves: list[_Leaf], low: int, high: int) -> _Node:
    """Return the subtree `node` with the leaves from `low` to `high` in it, of which there is at least one."""
    if high - low == 1:
        return _set(node, depth, keys[low], leaves[low])
    if len(node) == 3:
        _, left, right = node
        split = _split(depth, keys, low, high)
        if low < split:
            left = _update(left, depth + 1, keys, leaves, low, split)
        if split < high:
            right = _update(right, depth + 1, keys, leaves, split, high)
        return _join(left, right)
    if len(node) == 2:
        own = int.from_bytes(node[1][:32], "big")
        at = bisect_left(keys, own, low, high)
        if at == high or keys[at] != own:
            # Another key lives here: it moves down together with the new ones.
            keys = [*keys[low:at], own, *keys[at:high]]
            leaves = [*leaves[low:at], node, *leaves[at:high]]
            low, high = 0, len(keys)
    elif node is not _EMPTY:
        raise _touched(depth)
    return _build(depth, keys, leaves, low, high)


def _set(node: _Node, depth: int, bits: int, leaf: _Leaf) -> _Node:
    """Return the subtree `node` with one leaf in it: most of any way is this."""
    way: list[_Inner] = []
    while len(node) == 3:
        way.append(node)
        node = node[2] if _bit(bits, depth) else node[1]
        depth += 1
    found: _Node = leaf
    if len(node) == 2:
        own = int.from_bytes(node[1][:32], "big")
        if own < bits:
            found = _build(depth, [own, bits], [node, leaf], 0, 2)
        elif own > bits:
            found = _build(depth, [bits, own], [leaf, node], 0, 2)
    elif node is not _EMPTY:
        raise _touched(depth)
    while way:
        depth -= 1
        _, left, right = way.pop()
        found = _join(left, found) if _bit(bits, depth) else _join(found, right)
    return found


def _touched(depth: int) -> Malformed:
    return Malformed("pruned/touched-hash", f"this key's place was pruned away at depth {depth}")


def _get_many(
    node: _Node, depth: int, bits: list[int], keys: list[Hash], low: int, high: int, found: dict[Hash, Hash | None]
) -> None:
    """Look up the keys from `low` to `high`, which share the way to `node`."""
    if low == high:
        return
    while len(node) == 3:
        split = _split(depth, bits, low, high)
        depth += 1
        if low < split < high:
            _get_many(node[1], depth, bits, keys, low, split, found)
            low = split
        node = node[1] if split == high else node[2]
    if len(node) == 2:
        key = node[1][:32]
        if key in found:
            found[key] = node[1][32:]
    elif node is not _EMPTY:
        raise _touched(depth)


def _get(node: _Node, key: Hash) -> Hash | None:
    bits = int.from_bytes(key, "big")
    depth = 0
    while len(node) == 3:
        node = node[2] if _bit(bits, depth) else node[1]
        depth += 1
    if len(node) == 2:
        return node[1][32:] if node[1][:32] == key else None
    if node is not _EMPTY:
        raise _touched(depth)
    return None


def _prune(node: _Node, depth: int, keys: list[int], low: int, high: int, out: list[bytes]) -> None:
    """Write the subtree `node` as far as the keys from `low` to `high` need it."""
    if node is _EMPTY:
        out.append(b"\x00")
    elif low == high:
        out += (b"\x01", node[0])
    elif len(node) == 3:
        out.append(b"\x03")
        split = _split(depth, keys, low, high)
        _prune(node[1], depth + 1, keys, low, split, out)
        _prune(node[2], depth + 1, keys, split, high, out)
    elif len(node) == 2:
        out += (b"\x02", node[1])
