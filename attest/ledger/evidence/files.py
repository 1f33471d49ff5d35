"""Files that are not what the log has committed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from attest.encoding import Hash
from attest.errors import Malformed, Refuted
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.rows import ROW, RowFile, rows_root
from attest.formats.statement import Hold, Statement, Tombstone
from attest.ledger.evidence.exhibit import Shown, Sight, many_hashes, one_hash, shaped
from attest.merkle.tiles import FULL, entries_path, parse_bundle, tile_path
from attest.merkle.tree import leaf_hash, root, root_from_inclusion

_FILE: Final = {
    "level": (int, type(None)), "index": int, "width": int, "served": bytes, "place": int, "truth": bytes,
    "path": list,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BadFile:
    """Bytes that were served under a path of tlog-tiles, and the true hash of the one part in which they differ.

    Of a tile, the part is a hash; of a bundle, the leaf hash of an entry.
    """

    KIND: ClassVar[str] = "file"
    level: int | None  # None for a bundle
    index: int
    width: int
    served: bytes
    place: int  # from 0 to width - 1: which part
    truth: Hash
    path: Sequence[Hash]  # proves it under the checkpoint

    @property
    def name(self) -> str:
        """The path under which the bytes were served."""
        if self.level is None:
            return entries_path(self.index, self.width)
        return tile_path(self.level, self.index, self.width)

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`."""
        if not (0 <= self.place < self.width <= FULL and self.index >= 0 and 0 <= (self.level or 0) <= 7):
            raise Malformed("evidence/format", "no such place in a tile")
        level, number = 8 * (self.level or 0), self.index * FULL + self.place
        verify_subtree(self.truth, level, number, signed.checkpoint, self.path)
        return Sight(served_wrong(self), committed=False)

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [self.name, self.served]

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {
            "level": self.level,
            "index": self.index,
            "width": self.width,
            "served": self.served,
            "place": self.place,
            "truth": self.truth,
            "path": list(self.path),
        }

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        found = shaped(found, _FILE)
        return cls(
            found["level"],
            found["index"],
            found["width"],
            found["served"],
            found["place"],
            one_hash(found["truth"]),
            many_hashes(found["path"]),
        )


def served_wrong(file: BadFile) -> Refuted:
    """Say what is wrong with a tile or bundle beside one true hash; code `none` if that one is right."""
    at = file.index * FULL + file.place
    if file.level is not None:
        if len(file.served) != 32 * file.width:
            return Refuted("served/tile", f"{file.name}: {len(file.served)} bytes, want {32 * file.width}")
        if file.served[32 * file.place :][:32] == file.truth:
            return Refuted("none", f"{file.name} is right at {file.place}")
        return Refuted("served/tile", f"{file.name}: hash {at} of level {file.level} is not the committed one")
    try:
        entries = parse_bundle(file.served, file.width)
    except Malformed as error:
        return Refuted("served/entries", f"{file.name}: {error.message}")
    if leaf_hash(entries[file.place]) == file.truth:
        return Refuted("none", f"{file.name} is right at {file.place}")
    return Refuted("served/entries", f"{file.name}: entry {at} is not the committed one")


def verify_subtree(node: Hash, level: int, number: int, checkpoint: Checkpoint, path: Sequence[Hash]) -> None:
    """Check the root of a perfect subtree under a checkpoint. Raises `Malformed`, `Refuted`: `inclusion/…`.

    Args:
        level: 2^level entries are below it.
        number: which one of its level, from 0.
        path: siblings, from the subtree up.
    """
    if (number + 1) << level > checkpoint.size:
        raise Malformed("inclusion/index", f"no perfect subtree {number} of level {level} in {checkpoint.size} entries")
    # Above the subtree a tree over subtrees looks like one over entries; the last of them may be cut short.
    found = root_from_inclusion(node, number, -(-checkpoint.size >> level), path)
    if found != checkpoint.root:
        raise Refuted("inclusion/root-mismatch", f"the path of subtree {number} of level {level} leads to another root")


@dataclass(frozen=True, slots=True)
class BadRows:
    """Bytes that were served as the row file of a statement, and are not the file it names."""

    KIND: ClassVar[str] = "rows"
    statement: Shown
    served: bytes | None  # None: nothing was served, and that is the auditor's word

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`."""
        self.statement.verify(signed.checkpoint)
        payload = Statement.parse(self.statement.entry).payload
        if not isinstance(payload, Hold | Tombstone):
            raise Refuted("evidence/differs", "the entry shown names no row file")
        wrong = rows_wrong(self.statement.position, payload, self.served)
        return Sight(wrong, committed=False, word=self.served is None)

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [self.statement.entry, self.served]

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {"statement": self.statement.fields(), "served": self.served}

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        found = shaped(found, {"statement": list, "served": (bytes, type(None))})
        return cls(Shown.read(found["statement"]), found["served"])


def rows_wrong(position: int, payload: Hold | Tombstone, served: bytes | None) -> Refuted:
    """Say what is wrong with a row file; code `none` if it is the one."""
    name = f"rows/{payload.root.hex()}, of entry {position},"
    if served is None:
        return Refuted("served/rows-missing", f"{name} is not served")
    try:
        RowFile.parse(served).check(payload.count, payload.root)
    except (Malformed, Refuted) as error:
        if rows_root(served) == payload.root:
            return Refuted("none", f"{name} is the one that is named, and the statement is wrong: {error.message}")
        want = payload.count * ROW
        if len(served) > want or len(served) % ROW:
            # Of a longer one no more is read than shows that it is longer.
            size = f"more than {want}" if len(served) > want else f"{len(served)}"
            return Refuted("served/rows", f"{name} is another file: {size} bytes, want {payload.count} rows of {ROW}")
        return Refuted("served/rows", f"{name} is another file: {error.message}")
    return Refuted("none", f"{name} is right")


@dataclass(frozen=True, slots=True)
class BadTree:
    """All hashes of level 0, as they were served: they lead to another root than the checkpoint's."""

    KIND: ClassVar[str] = "tree"
    leaves: bytes  # 32 for each entry

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [self.leaves]

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`."""
        whole = signed.checkpoint
        if len(self.leaves) != 32 * whole.size:
            raise Malformed("evidence/format", f"{len(self.leaves)} bytes of hashes, want {32 * whole.size}")
        hashes = [self.leaves[at : at + 32] for at in range(0, len(self.leaves), 32)]
        if root(hashes) == whole.root:
            return Sight(Refuted("none", "the hashes lead to the checkpoint"), committed=False)
        return Sight(other_tree(whole.size), committed=False)

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {"leaves": self.leaves}

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        return cls(shaped(found, {"leaves": bytes})["leaves"])


def other_tree(size: int) -> Refuted:
    """Say that what is served is not what the checkpoint commits, wherever it departs."""
    return Refuted("served/tree", f"the tiles served for {size} entries do not lead to the checkpoint's root")
