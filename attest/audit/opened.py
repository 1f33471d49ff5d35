"""A Merkle tree over more leaves than memory holds, and the openings of a few of them, in one pass.

Spec: docs/spec/tree.md.
"""

from collections.abc import Collection, Sequence
from typing import Final

from attest.encoding import Hash
from attest.merkle.tree import Frontier, Subtree, inclusion_path, root, subtree_reader

LEVEL: Final = 12
PART: Final = 1 << LEVEL  # leaves kept together, or forgotten together


class OpenedTree:
    """Takes leaf hashes in order; keeps one hash for 4,096 of them, and the leaves beside those that are wanted."""

    def __init__(self, wanted: Collection[int]) -> None:
        """Begin a tree, of which these positions will be opened."""
        self._parts = {position >> LEVEL for position in wanted}
        self._kept: dict[int, bytes] = {}
        self._roots: list[Hash] = []
        self._last: list[Hash] = []  # fewer than a part

    @property
    def size(self) -> int:
        """How many leaves there are so far."""
        return len(self._roots) * PART + len(self._last)

    def append(self, leaves: Sequence[Hash]) -> None:
        """Take more leaves."""
        self._last += leaves
        whole = len(self._last) // PART * PART
        for start in range(0, whole, PART):
            part = self._last[start : start + PART]
            if len(self._roots) in self._parts:
                self._kept[len(self._roots)] = b"".join(part)
            self._roots.append(root(part))
        del self._last[:whole]

    def root(self) -> Hash:
        """Return the RFC 6962 root of all leaves."""
        # The roots of whole parts are the leaves of a tree of their own, whose peaks are peaks of the whole one.
        peaks = *Frontier.empty().append(self._roots).hashes, *Frontier.empty().append(self._last).hashes
        return Frontier.parse(self.size, peaks).root()

    def open(self, positions: Collection[int]) -> dict[int, bytes]:
        """Return the inclusion path of each of these positions, all of them wanted: hashes, leaf side first."""
        above, last = subtree_reader(self._roots), subtree_reader(self._last)
        opened_part, below = -1, last

        def read(subtrees: Sequence[Subtree]) -> list[Hash]:
            hashes = []
            for level, index in subtrees:
                if level >= LEVEL:
                    hashes += above([(level - LEVEL, index)])
                    continue
                part, inside = divmod(index, 1 << (LEVEL - level))
                hashes += (last if part == len(self._roots) else below)([(level, inside)])
            return hashes

        found = {}
        for position in sorted(positions):
            # By position, so that only one part at a time is more than one string.
            if (part := position >> LEVEL) != opened_part and part < len(self._roots):
                kept = self._kept[part]
                below = subtree_reader([kept[at : at + 32] for at in range(0, len(kept), 32)])
                opened_part = part
            found[position] = b"".join(inclusion_path(position, self.size, read))
        return found
