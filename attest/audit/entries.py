"""The tree: all entries and tiles against one signed root, before anybody believes an entry.

Entries are kept in a temporary file, so that a log of any size is read once and takes no memory.
"""

import contextlib
import tempfile
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from attest.audit.findings import Finding
from attest.audit.source import Ahead, Source, SourceLog
from attest.encoding import Hash
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.ledger.evidence import Evidence
from attest.ledger.evidence.exhibit import Shown
from attest.ledger.evidence.files import BadFile, BadTree, other_tree, served_wrong, verify_subtree
from attest.merkle.tiles import (
    FULL,
    Tile,
    TileBuilder,
    encode_bundle,
    entries_path,
    parse_bundle,
    tile_path,
    tile_reader,
)
from attest.merkle.tree import Frontier, inclusion_path, leaf_hash, leaf_hashes
from attest.served import Asked, ServedTree
from attest.transport import MAX_BUNDLE

_BUNDLE: Final = 100_000  # bytes, about
_MAX_TREE: Final = 1 << 22  # entries whose hashes are kept as evidence


class Entries:
    """Entries in a temporary file, by position."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self._file = tempfile.TemporaryFile(prefix="attest-audit-")  # noqa: SIM115  # closed by `close`
        self._ends = array("Q", [0])

    def close(self) -> None:
        """Forget them."""
        self._file.close()

    @property
    def size(self) -> int:
        """Behind the last entry."""
        return self.start + len(self._ends) - 1

    def append(self, entries: Sequence[bytes]) -> None:
        """Add entries."""
        end = self._ends[-1]
        for entry in entries:
            end += len(entry)
            self._ends.append(end)
        self._file.write(b"".join(entries))

    def read(self, start: int, end: int) -> list[bytes]:
        """Return the entries from `start` to `end` - 1."""
        bounds = self._ends[start - self.start : end - self.start + 1]
        self._file.seek(bounds[0])
        found = self._file.read(bounds[-1] - bounds[0])
        return [found[a - bounds[0] : b - bounds[0]] for a, b in pairwise(bounds)]


class TreeCheck:
    """Everything under one signed checkpoint, from where an audit before has ended."""

    def __init__(self, source: Source, signed: SignedCheckpoint, frontier: Frontier, edges: Sequence[Sequence[Hash]]):
        """Prepare.

        Args:
            frontier, edges: of the tree that was checked before; empty for all of it.
        """
        self._source = source
        self._log = SourceLog(source)
        self._signed = signed
        self._whole = signed.checkpoint
        self._start = frontier, edges
        self.findings: list[Finding] = []
        self._begin()

    def _begin(self) -> None:
        frontier, edges = self._start
        self._frontier = frontier
        self._wrong: dict[Tile, tuple[bytes | None, bytes]] = {}  # what was served, and what is right
        self._wrong_parts: list[tuple[int, int, bytes, int, Hash]] = []  # bundles: index, width, served, place, truth
        self.builder = TileBuilder(edges, frontier.size)
        self.entries = Entries(frontier.size)

    def run(self, ahead: Ahead, progress: Callable[[int], None]) -> bool:
        """Read all entries; tell whether they, and not only some of them, are those under the checkpoint."""
        good = self._read_all(ahead, progress)
        if not good and self._forget_wrong():
            # It was our own copy that had rotted.
            self.entries.close()
            self._begin()
            good = self._read_all(ahead, progress)
        if good:
            self._report_tiles()
        else:
            self._report_entries()
        return good

    def _forget_wrong(self) -> bool:
        """Drop what we have of the bundles that do not lead to their tiles; tell whether there was anything."""
        wrong = [entries_path(index, width) for level, index, width in self._wrong if level == 0]
        return bool([path for path in wrong if self._source.forget(path)])

    def _read_all(self, ahead: Ahead, progress: Callable[[int], None]) -> bool:
        whole, first = self._whole, self._frontier.size // FULL
        # As they come: a checkpoint may say that there are 2^62.
        bundles = ((index, _BUNDLE) for index in range(first, -(-whole.size // FULL)))
        for index, encoded in ahead.each(bundles, self._encoded):
            start, width = index * FULL, min(FULL, whole.size - index * FULL)
            entries = self._parse(index, width, encoded)
            self._compare_parts(index, entries)
            entries = entries[max(0, self._frontier.size - start) :]
            leaves = leaf_hashes(entries)
            self._frontier = self._frontier.append(leaves)
            self.entries.append(entries)
            for tile, right in self.builder.append(leaves):
                self._compare(tile, right)
            progress(self.entries.size)
        for tile, right in self.builder.partial():
            self._compare(tile, right)
        return self._frontier.root() == whole.root

    def close(self) -> None:
        """Forget the entries."""
        self.entries.close()

    def shown(self, position: int) -> Shown:
        """Return an entry with its path. Raises `Unavailable`: `log/tiles`."""
        if self.entries.start <= position < self.entries.size:
            [entry] = self.entries.read(position, position + 1)
        else:
            entry = self._log.bundle(position // FULL, min(FULL, self._whole.size - position // FULL * FULL))[
                position % FULL
            ]
        return Shown(position, entry, inclusion_path(position, self._whole.size, self._reader()))

    def served_tree(self) -> ServedTree:
        """Return the tree as it is served, tiles that are known to be wrong put right."""
        return ServedTree(Asked(_Patched(self._log, self._wrong)), self._whole)

    def _encoded(self, index: int) -> bytes:
        return self._log.encoded_bundle(index, min(FULL, self._whole.size - index * FULL))

    def _parse(self, index: int, width: int, encoded: bytes) -> list[bytes]:
        try:
            return parse_bundle(encoded, width)
        except Malformed:
            if self._source.forget(entries_path(index, width)):
                return parse_bundle(self._encoded(index), width)
            self._report_bundle(index, width, encoded)
            raise

    def _compare(self, tile: Tile, right: bytes) -> None:
        """Remember a tile that is served otherwise than the entries say."""
        try:
            served: bytes | None = self._log.tile(*tile)
            if served != right and self._source.forget(tile_path(*tile)):
                served = self._log.tile(*tile)
        except Unavailable as error:
            if error.code != "log/tiles":
                raise
            served = None
        if served != right:
            self._wrong[tile] = served, right
        level, index, width = tile
        for narrow in self._source.widths(tile_path(level, index)):
            part = self._source.read(tile_path(level, index, narrow), 32 * FULL) if narrow < width else None
            if part is not None and part != right[: 32 * narrow]:
                self._wrong[level, index, narrow] = part, right[: 32 * narrow]

    def _compare_parts(self, index: int, entries: Sequence[bytes]) -> None:
        """Remember a partial form of a bundle that has other entries."""
        for narrow in self._source.widths(entries_path(index)):
            path = entries_path(index, narrow)
            part = self._source.read(path, MAX_BUNDLE) if narrow < len(entries) else None
            if part is not None and part != encode_bundle(entries[:narrow]):
                place = 0
                with contextlib.suppress(Malformed):
                    found = parse_bundle(part, narrow)
                    place = next(n for n in range(narrow) if found[n] != entries[n])
                self._wrong_parts.append((index, narrow, part, place, leaf_hash(entries[place])))

    def _report_tiles(self) -> None:
        """The entries are right, so what differs from them is wrong."""
        for index, width, part, place, truth in self._wrong_parts:
            path = self._subtree_path(0, index * FULL + place)
            self._keep(BadFile(None, index, width, part, place, truth, path))
        for tile, (served, right) in self._wrong.items():
            name = tile_path(*tile)
            if served is None:
                self.findings.append(Finding("served/tile-missing", "missing", f"{name} is not served", file=name))
                continue
            place = next((n for n in range(tile[2]) if served[32 * n :][:32] != right[32 * n :][:32]), 0)
            truth = right[32 * place :][:32]
            path = self._subtree_path(8 * tile[0], tile[1] * FULL + place)
            self._keep(BadFile(*tile, served, place, truth, path))

    def _report_entries(self) -> None:
        """The entries lead elsewhere: find, with the help of the tiles, which of them is wrong."""
        for tile, (served, right) in self._wrong.items():
            level, index, width = tile
            if level or served is None or len(served) != 32 * width:
                continue
            for place in range(width):
                truth = served[32 * place :][:32]
                if truth != right[32 * place :][:32] and self._is_committed(index * FULL + place, truth):
                    self._report_bundle(index, width, self._encoded(index), place)
                    return
        kept = None
        with_all = self.entries.start == 0 and self._whole.size <= _MAX_TREE
        if with_all:
            leaves = leaf_hashes(self.entries.read(0, self._whole.size))
            kept = Evidence(
                self._signed, "served/tree", other_tree(self._whole.size).message, BadTree(b"".join(leaves))
            )
        self.findings.append(
            Finding("served/tree", "fault", other_tree(self._whole.size).message, file="tile/", evidence=kept)
        )

    def _report_bundle(self, index: int, width: int, encoded: bytes, place: int = 0) -> None:
        try:
            truth = self._log.tile(0, index, width)[32 * place :][:32]
            path = inclusion_path(index * FULL + place, self._whole.size, self._unpatched())
            verify_subtree(truth, 0, index * FULL + place, self._whole, path)
            self._keep(BadFile(None, index, width, encoded, place, truth, path))
        except AttestError:
            name = entries_path(index, width)
            self.findings.append(
                Finding("served/entries", "fault", f"{name} is not the one under the checkpoint", file=name)
            )

    def _keep(self, exhibit: BadFile) -> None:
        error = served_wrong(exhibit)
        first = exhibit.index * FULL + exhibit.place << 8 * (exhibit.level or 0)
        evidence = Evidence(self._signed, error.code, error.message, exhibit)
        self.findings.append(
            Finding(error.code, "fault", error.message, (first,), file=exhibit.name, evidence=evidence)
        )

    def _is_committed(self, position: int, leaf: Hash) -> bool:
        try:
            path = inclusion_path(position, self._whole.size, self._unpatched())
            verify_subtree(leaf, 0, position, self._whole, path)
        except (Malformed, Refuted, Unavailable):
            return False
        return True

    def _subtree_path(self, level: int, number: int) -> list[Hash]:
        """Return the path from the root of a perfect subtree up."""
        return inclusion_path(number << level, self._whole.size, self._reader())[level:]

    def _unpatched(self) -> Callable[[Sequence[tuple[int, int]]], list[Hash]]:
        return tile_reader(self._log.tiles, self._whole.size)

    def _reader(self) -> Callable[[Sequence[tuple[int, int]]], list[Hash]]:
        return tile_reader(_Patched(self._log, self._wrong).tiles, self._whole.size)


class _Patched:
    """A log with its wrong tiles put right."""

    def __init__(self, log: SourceLog, right: dict[Tile, tuple[bytes | None, bytes]]) -> None:
        self._log = log
        self._right = right
        self.bundle = log.bundle
        self.transition = log.transition
        self.rows = log.rows

    def tiles(self, tiles: list[Tile]) -> list[bytes]:
        """Return tiles of hashes."""
        return [self._right[tile][1] if tile in self._right else self._log.tile(*tile) for tile in tiles]
