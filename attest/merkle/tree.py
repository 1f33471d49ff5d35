"""The log tree of RFC 6962, also used over the rows of one statement: roots, paths, and checking them.

Spec: RFC 9162 §2.1; docs/spec/tree.md.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from typing import Self, TypeAlias

from attest.encoding import Hash
from attest.errors import Malformed, Refuted

EMPTY_ROOT: Hash = _sha256(b"").digest()
MAX_SIZE = 2**63 - 1  # entries; also keeps every path at 63 hashes or fewer

Subtree: TypeAlias = tuple[int, int]
"""(level, index): the perfect subtree over the leaves from index * 2^level, 2^level of them."""

Read: TypeAlias = Callable[[Sequence[Subtree]], list[Hash]]
"""Answer the roots of perfect subtrees, in the order asked."""


def leaf_hash(entry: bytes) -> Hash:
    """Hash one entry, or one row, into a leaf: SHA-256(00 || entry)."""
    return _sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[Hash]:
    """Hash many entries into leaves, in order."""
    return [_sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: Hash, right: Hash) -> Hash:
    """Hash two subtrees into their parent: SHA-256(01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[Hash]) -> Hash:
    """Return the root of the tree over `leaves`, which are leaf hashes; `EMPTY_ROOT` for none."""
    if not leaves:
        return EMPTY_ROOT
    level = leaves
    while len(level) > 1:
        parents = _parents(level)
        # A node without a sibling moves up as it is: that is RFC 6962's split, seen from below.
        if len(level) % 2:
            parents.append(level[-1])
        level = parents
    return level[0]


def _parents(level: Sequence[Hash]) -> list[Hash]:
    """Hash neighbours pairwise; the last of an odd number is left out."""
    return [_sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]


def _fold(peaks: Sequence[Hash]) -> Hash:
    """Join the roots of perfect subtrees, largest first, into the root over all of them."""
    *larger, folded = peaks
    for peak in reversed(larger):
        folded = node_hash(peak, folded)
    return folded


# --- growing a tree without keeping it ---


@dataclass(frozen=True, slots=True)
class Frontier:
    """The least one must keep of a tree to append to it: the roots of the perfect subtrees it consists of."""

    size: int  # entries
    hashes: tuple[Hash, ...]  # one per set bit of `size`, the largest subtree first

    @classmethod
    def empty(cls) -> Self:
        """Return the frontier of the tree without entries."""
        return cls(0, ())

    @classmethod
    def parse(cls, size: int, hashes: Sequence[Hash]) -> Self:
        """Take a frontier from outside.

        Raises:
            Malformed: `frontier/size`, `frontier/count`, `frontier/hash-length`.
        """
        if not 0 <= size <= MAX_SIZE:
            raise Malformed("frontier/size", f"a tree size is between 0 and 2^63 - 1, found {size}")
        if len(hashes) != size.bit_count():
            raise Malformed("frontier/count", f"{len(hashes)} hashes, want {size.bit_count()} for {size} entries")
        _check_hashes("frontier", *hashes)
        return cls(size, tuple(hashes))

    @classmethod
    def read(cls, size: int, read: Read) -> Self:
        """Fetch the frontier of the first `size` entries, with one read."""
        return cls(size, tuple(read(_perfect(0, size))))

    def append(self, leaves: Sequence[Hash]) -> Self:
        """Return the frontier after `leaves`, which are leaf hashes."""
        size = self.size + len(leaves)
        if size > MAX_SIZE:
            raise ValueError("a tree has at most 2^63 - 1 entries")
        pending = list(self.hashes)
        hashes: list[Hash] = []  # smallest subtree first
        level = list(leaves)  # of the subtrees at this level, those not yet part of a larger one
        for bit in range(size.bit_length()):
            if self.size >> bit & 1:
                level.insert(0, pending.pop())
            if len(level) % 2:
                hashes.append(level[-1])
            level = _parents(level)
        return type(self)(size, tuple(reversed(hashes)))

    def root(self) -> Hash:
        """Return the root of the tree."""
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT


# --- proving ---


def subtree_reader(leaves: Sequence[Hash]) -> Read:
    """Serve perfect subtrees over `leaves`, which are leaf hashes; each level is hashed once, when first asked for."""
    levels = [leaves]

    def read(subtrees: Sequence[Subtree]) -> list[Hash]:
        for level, _ in subtrees:
            while len(levels) <= level:
                levels.append(_parents(levels[-1]))
        return [levels[level][index] for level, index in subtrees]

    return read


def inclusion_path(index: int, size: int, read: Read) -> list[Hash]:
    """Prove that a leaf is entry `index` of the tree of `size` entries: sibling hashes, leaf side first.

    Calls `read` once. Spec: RFC 9162 §2.1.3.1.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError(f"no entry {index} in a tree of {size}")
    siblings = []
    start, end = 0, size
    while end - start > 1:
        split = start + _left_width(end - start)
        if index < split:
            siblings.append((split, end))
            end = split
        else:
            siblings.append((start, split))
            start = split
    return _read_roots(siblings[::-1], read)


def consistency_path(old_size: int, new_size: int, read: Read) -> list[Hash]:
    """Prove that the tree of `new_size` entries begins with the tree of `old_size`; empty from 0 or to itself.

    Calls `read` once, and not at all when the path is empty. Spec: RFC 9162 §2.1.4.1.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ValueError(f"no tree of {new_size} entries extends one of {old_size}")
    if old_size in (0, new_size):
        return []
    ranges = []
    start, end = 0, new_size
    while end != old_size:
        split = start + _left_width(end - start)
        if old_size <= split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((start, split))
            start = split
    # The verifier has the root of the old tree already, and only a power of two leaves that as the last range.
    if start:
        ranges.append((start, end))
    return _read_roots(ranges[::-1], read)


def _left_width(width: int) -> int:
    """The largest power of two below `width`: how many leaves go to the left."""
    return 1 << ((width - 1).bit_length() - 1)


def _perfect(start: int, end: int) -> list[Subtree]:
    """Cut the leaves from `start` to `end` into perfect subtrees, the largest first."""
    subtrees = []
    while start < end:
        level = (end - start).bit_length() - 1
        subtrees.append((level, start >> level))
        start += 1 << level
    return subtrees


def _read_roots(ranges: Sequence[tuple[int, int]], read: Read) -> list[Hash]:
    """Return the root over each range of leaves, with one read."""
    if not ranges:
        return []
    parts = [_perfect(start, end) for start, end in ranges]
    hashes = iter(read([subtree for part in parts for subtree in part]))
    return [_fold([next(hashes) for _ in part]) for part in parts]


# --- checking ---


def verify_inclusion(leaf: Hash, index: int, size: int, root: Hash, path: Sequence[Hash]) -> None:
    """Check that `leaf` is entry `index` of the tree of `size` entries under `root`.

    Args:
        index: zero-based, below `size`.
        path: sibling hashes, leaf side first.

    Raises:
        Malformed: `inclusion/size`; `inclusion/index`; `inclusion/hash-length`; `inclusion/path-length`, no path of
            this length fits (index, size).
        Refuted: `inclusion/root-mismatch`, the path leads to another root.

    Spec: RFC 9162 §2.1.3.2; docs/spec/tree.md#inclusion.
    """
    found = root_from_inclusion(leaf, index, size, path)
    _check_hashes("inclusion", root)
    if found != root:
        raise Refuted("inclusion/root-mismatch", f"the path of entry {index} of {size} leads to another root")


def root_from_inclusion(leaf: Hash, index: int, size: int, path: Sequence[Hash]) -> Hash:
    """Return the one root under which `path` proves that `leaf` is entry `index` of `size`.

    Raises:
        Malformed: as `verify_inclusion`.
    """
    if not 0 <= size <= MAX_SIZE:
        raise Malformed("inclusion/size", f"a tree size is between 0 and 2^63 - 1, found {size}")
    if not 0 <= index < size:
        raise Malformed("inclusion/index", f"no entry {index} in a tree of {size}")
    inner, border = _path_shape(index, size)
    if len(path) != inner + border:
        raise Malformed("inclusion/path-length", f"{len(path)} hashes, want {inner + border} for {index} of {size}")
    _check_hashes("inclusion", leaf, *path)

    found = leaf
    for level, sibling in enumerate(path):
        # Above `inner` the path follows the right edge, so every sibling is on the left.
        on_the_left = level >= inner or index >> level & 1
        found = node_hash(sibling, found) if on_the_left else node_hash(found, sibling)
    return found


def verify_consistency(old_size: int, old_root: Hash, new_size: int, new_root: Hash, path: Sequence[Hash]) -> None:
    """Check that the tree of `new_size` entries under `new_root` begins with the one of `old_size` under `old_root`.

    From size 0 nothing but the empty root is checked: every tree begins with the empty one.

    Raises:
        Malformed: `consistency/size`; `consistency/hash-length`; `consistency/path-length`, no path of this length
            fits (old size, new size).
        Refuted: `consistency/fork`, two roots of one size; `consistency/old-root-mismatch`;
            `consistency/new-root-mismatch`.

    Spec: RFC 9162 §2.1.4.2; docs/spec/tree.md#consistency.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise Malformed("consistency/size", f"no tree of {new_size} entries extends one of {old_size}")
    inner, want = _consistency_shape(old_size, new_size)
    if len(path) != want:
        raise Malformed("consistency/path-length", f"{len(path)} hashes, want {want} from {old_size} to {new_size}")
    _check_hashes("consistency", old_root, new_root, *path)

    if old_size == 0 and old_root != EMPTY_ROOT:
        raise Refuted("consistency/old-root-mismatch", "this is not the root of the tree without entries")
    if old_size == new_size and old_root != new_root:
        raise Refuted("consistency/fork", f"two different roots for {old_size} entries")
    if old_size in (0, new_size):
        return

    # 1. Where both trees have the subtree that ends the old one: its root is the old root, or first in the path.
    siblings = list(path)
    old = new = siblings.pop(0) if old_size & (old_size - 1) else old_root
    index = (old_size - 1) >> (old_size & -old_size).bit_length() - 1
    # 2. What is on the left belongs to both trees, what is on the right to the new one only.
    for level, sibling in enumerate(siblings):
        if level >= inner or index >> level & 1:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    if old != old_root:
        raise Refuted("consistency/old-root-mismatch", f"the path leads to another root for {old_size} entries")
    if new != new_root:
        raise Refuted("consistency/new-root-mismatch", f"the path leads to another root for {new_size} entries")


def _path_shape(index: int, size: int) -> tuple[int, int]:
    """How many hashes a path has below and on the right edge of the tree."""
    inner = (index ^ (size - 1)).bit_length()
    return inner, (index >> inner).bit_count()


def _consistency_shape(old_size: int, new_size: int) -> tuple[int, int]:
    """How many hashes, after the first, are below the right edge, and how many there are altogether."""
    if old_size in (0, new_size):
        return 0, 0
    inner, border = _path_shape(old_size - 1, new_size)
    inner -= (old_size & -old_size).bit_length() - 1
    return inner, inner + border + (1 if old_size & (old_size - 1) else 0)


def _check_hashes(area: str, *hashes: Hash) -> None:
    for found in hashes:
        if len(found) != 32:
            raise Malformed(f"{area}/hash-length", f"a hash has 32 bytes, found {len(found)}")
