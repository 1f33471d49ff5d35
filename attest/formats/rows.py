"""Row files: what one statement holds or erases. count x 64 bytes, index then commitment, ascending by index.

Spec: docs/spec/rows.md.
"""

from dataclasses import dataclass
from itertools import chain, pairwise
from operator import lt
from struct import iter_unpack
from typing import Self

from attest.crypto import commitment
from attest.encoding import Hash
from attest.errors import Malformed, Refuted
from attest.formats.statement import MAX_ROWS
from attest.merkle import tree

ROW = 64  # bytes


@dataclass(frozen=True, slots=True)
class RowFile:
    """Sorted rows. `indexes` and `commitments` are parallel; `encoded` is the wire form."""

    indexes: tuple[Hash, ...]
    commitments: tuple[Hash, ...]
    encoded: bytes

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a row file.

        Raises:
            Malformed: `rows/size`, not 1 to 1,048,576 whole rows; `rows/order`, not strictly ascending by
                index, with the first offending rows.
        """
        if not encoded or len(encoded) % ROW or len(encoded) > MAX_ROWS * ROW:
            raise Malformed("rows/size", f"{len(encoded)} bytes, want 1 to {MAX_ROWS} rows of {ROW} bytes")
        halves = tuple(chain.from_iterable(iter_unpack("32s32s", encoded)))
        indexes, commitments = halves[::2], halves[1::2]
        if not all(map(lt, indexes, indexes[1:])):
            wrong = [n for n, (a, b) in enumerate(pairwise(indexes), 1) if a >= b]
            raise Malformed(
                "rows/order", f"row {wrong[0]} does not come after row {wrong[0] - 1} by index", rows=wrong[:16]
            )
        return cls(indexes, commitments, encoded)

    @classmethod
    def build(cls, rows: dict[Hash, Hash]) -> Self:
        """Make the row file of index → commitment."""
        return cls.parse(b"".join(index + rows[index] for index in sorted(rows)))

    def __len__(self) -> int:
        return len(self.indexes)

    def leaves(self) -> list[Hash]:
        """Return the leaf hash of each row."""
        return tree.leaf_hashes(self.encoded[at : at + ROW] for at in range(0, len(self.encoded), ROW))

    def root(self) -> Hash:
        """Return the RFC 6962 root over the rows."""
        return rows_root(self.encoded)

    def map_keys(self) -> list[Hash]:
        """Return where each row lives in its system's state map."""
        return commitment.map_keys(self.indexes)

    def check(self, count: int, root: Hash) -> None:
        """Check that this is the file a statement names. Raises `Refuted`: `rows/count`, `rows/root`."""
        if len(self) != count:
            raise Refuted("rows/count", f"{len(self)} rows, the statement says {count}")
        if (found := self.root()) != root:
            raise Refuted("rows/root", f"the rows have root {found.hex()}, the statement says {root.hex()}")


def rows_root(encoded: bytes) -> Hash:
    """Return the root over any bytes cut into rows: whether they are the file that is named, right or wrong."""
    return tree.root(tree.leaf_hashes(encoded[at : at + ROW] for at in range(0, len(encoded), ROW)))


@dataclass(frozen=True, slots=True)
class RowProof:
    """One row, and its path in the tree of its row file; the signed count fixes the tree's size."""

    position: int
    row: bytes
    path: tuple[Hash, ...]  # leaf side first

    @property
    def index(self) -> Hash:
        """The row's index."""
        return self.row[:32]

    @property
    def commitment(self) -> Hash:
        """The row's commitment."""
        return self.row[32:]

    def verify(self, count: int, root: Hash) -> None:
        """Check the row against a statement's row file. Raises `rows/size`, and what `tree.verify_inclusion` raises."""
        # A signed root may lie over leaves of any length; only 64 bytes are an index and a commitment.
        if len(self.row) != ROW:
            raise Malformed("rows/size", f"a row of {len(self.row)} bytes, want {ROW}")
        tree.verify_inclusion(tree.leaf_hash(self.row), self.position, count, root, list(self.path))


def prove_row(rows: RowFile, position: int) -> RowProof:
    """Prove the row at `position`."""
    path = tree.inclusion_path(position, len(rows), tree.subtree_reader(rows.leaves()))
    return RowProof(position, rows.encoded[position * ROW : (position + 1) * ROW], tuple(path))
