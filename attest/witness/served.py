"""What a log serves, believed only as far as it leads to the root of one signed checkpoint."""

from collections.abc import Sequence
from typing import Protocol

from attest.encoding import Hash
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import Checkpoint
from attest.formats.rows import ROW, RowFile
from attest.merkle.tiles import FULL, Tile, tile_reader
from attest.merkle.tree import (
    Frontier,
    Subtree,
    consistency_path,
    inclusion_path,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from attest.store.blobs import Blobs


class Log(Protocol):
    """The log over HTTP; nothing it answers has been checked."""

    def tiles(self, tiles: list[Tile]) -> list[bytes]: ...

    def bundle(self, index: int, width: int) -> list[bytes]: ...

    def transition(self, epoch: int, most: int) -> bytes | None: ...

    def rows(self, root: Hash, most: int) -> bytes: ...


class ServedTree:
    """The tree under one checkpoint, read from tiles. Each answer is proven, or it is `Unavailable`: `log/tiles`."""

    def __init__(self, log: Log, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._log = log
        self._tiles: dict[Tile, bytes] = {}

    def root(self, size: int) -> Hash:
        """Return the root of the first `size` entries."""
        found, _ = self.consistency(size)
        return found

    def consistency(self, size: int) -> tuple[Hash, list[Hash]]:
        """Return the root of the first `size` entries, and the path that proves it."""
        whole = self.checkpoint
        try:
            found = Frontier.read(size, self._read).root()
            path = consistency_path(size, whole.size, self._read)
            verify_consistency(size, found, whole.size, whole.root, path)
        except (Malformed, Refuted) as error:
            raise _bad_tiles(error) from None
        return found, path

    def entry(self, position: int) -> tuple[bytes, list[Hash]]:
        """Return an entry, and the path that proves it."""
        whole = self.checkpoint
        index = position // FULL
        try:
            found = self._log.bundle(index, min(FULL, whole.size - index * FULL))[position % FULL]
            path = inclusion_path(position, whole.size, self._read)
            verify_inclusion(leaf_hash(found), position, whole.size, whole.root, path)
        except (Malformed, Refuted) as error:
            raise _bad_tiles(error) from None
        return found, path

    def _read(self, subtrees: Sequence[Subtree]) -> list[Hash]:
        return tile_reader(self._fetch, self.checkpoint.size)(subtrees)

    def _fetch(self, wanted: list[Tile]) -> list[bytes]:
        missing = [tile for tile in wanted if tile not in self._tiles]
        self._tiles.update(zip(missing, self._log.tiles(missing), strict=True))
        return [self._tiles[tile] for tile in wanted]


def _bad_tiles(error: AttestError) -> Unavailable:
    # Nobody has signed a tile: that it is wrong shows a broken log, and proves no lie.
    return Unavailable("log/tiles", f"what the log serves does not lead to its checkpoint: {error}")


def rows_name(root: Hash) -> str:
    """Name a row file in our store."""
    return f"rows/{root.hex()}"


class RowFiles:
    """The row files of one epoch: from our store, or from the log, and then kept."""

    def __init__(self, log: Log, blobs: Blobs) -> None:
        self._log = log
        self._blobs = blobs
        self.counts: dict[Hash, int] = {}  # what the statements say
        self._fetched: dict[Hash, bytes] = {}
        self._stored: set[Hash] = set()

    def get(self, root: Hash) -> bytes:
        """Return a row file. Nobody has checked that it is the right one: the rules do."""
        if root in self._fetched:
            return self._fetched[root]
        found = self._blobs.get(rows_name(root))
        if found is not None:
            self._stored.add(root)
            return found
        self._blobs.check_space()
        found = self._log.rows(root, self.counts[root] * ROW)
        self._fetched[root] = found
        return found

    def keep(self) -> None:
        """Store durably what the rules have accepted."""
        self._blobs.put([(rows_name(root), encoded) for root, encoded in self._fetched.items()])

    def check_stored(self) -> None:
        """Check that it is the log's row files that are wrong, and not our copies.

        Raises:
            Unavailable: `store/damaged`. To refute a log for our own fault would be a lie.
        """
        for root in self._stored:
            try:
                found = RowFile.parse(self._blobs.get(rows_name(root)) or b"").root()
            except Malformed:
                found = None
            if found != root:
                self._blobs.delete([rows_name(root)])
                raise Unavailable("store/damaged", f"our copy of row file {root.hex()} is damaged; it is fetched again")
