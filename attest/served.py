"""What a log serves, believed only as far as it leads to the root of one signed checkpoint."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from attest.encoding import Hash
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import Checkpoint
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

_T = TypeVar("_T")

_PAUSE_S: Final = 5.0
_ABSENT: Final = ("/not-found", "/unknown", "log/answer")
_OURS: Final = frozenset({"log/unreachable", "log/stalled"})
_CACHED: Final = 1024  # tiles, of 8 KiB


class Log(Protocol):
    """The log over HTTP; nothing it answers has been checked."""

    def tiles(self, tiles: list[Tile]) -> list[bytes]: ...

    def bundle(self, index: int, width: int) -> list[bytes]: ...

    def transition(self, epoch: int, most: int) -> bytes | None: ...

    def rows(self, root: Hash, most: int) -> bytes: ...


class Asked:
    """A log that is asked: whatever it answers, that it does not serve is all there is to say of it."""

    def __init__(self, log: Log, pause: Callable[[float], bool] = lambda _: True) -> None:
        """Ask a log.

        Args:
            pause: waits for some seconds; true if there is no more time.
        """
        self._log = log
        self._pause = pause
        self.patience_s = 0.0  # for which a log that is not there is asked again

    def tiles(self, tiles: list[Tile]) -> list[bytes]:
        """Return tiles of hashes."""
        return self._ask("log/tiles", lambda: self._log.tiles(tiles))

    def bundle(self, index: int, width: int) -> list[bytes]:
        """Return the first entries of a bundle."""
        return self._ask("log/tiles", lambda: self._log.bundle(index, width))

    def transition(self, epoch: int, most: int) -> bytes | None:
        """Return a transition proof, None if the log has none."""
        return self._ask("log/transition", lambda: self._log.transition(epoch, most))

    def rows(self, root: Hash, most: int) -> bytes:
        """Return a row file."""
        return self._ask("rows/missing", lambda: self._log.rows(root, most))

    def _ask(self, code: str, ask: Callable[[], _T]) -> _T:
        """Ask, again and again while there is patience; `code` says what is not served."""
        waited = 0.0
        while True:
            try:
                return ask()
            except AttestError as error:
                away = isinstance(error, Unavailable) and not error.code.endswith(_ABSENT)
                if not away or waited >= self.patience_s or self._pause(_PAUSE_S):
                    if isinstance(error, Unavailable) and error.code in _OURS:
                        raise
                    # A log that answers 422 with a code of its choice would have us refute it, or somebody else.
                    raise Unavailable(code, f"the log does not serve it: {error}") from None
            waited += _PAUSE_S


class ServedTree:
    """The tree under one checkpoint, read from tiles. Each answer is proven, or it is `Unavailable`: `log/tiles`."""

    def __init__(self, log: Asked, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._log = log
        self._tiles: dict[Tile, bytes] = {}

    def root(self, size: int) -> Hash:
        """Return the root of the first `size` entries."""
        if size == self.checkpoint.size:
            return self.checkpoint.root
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
            found = self.bundle(index)[position % FULL]
            path = inclusion_path(position, whole.size, self._read)
            verify_inclusion(leaf_hash(found), position, whole.size, whole.root, path)
        except (Malformed, Refuted) as error:
            raise _bad_tiles(error) from None
        return found, path

    def bundle(self, index: int) -> list[bytes]:
        """Return the entries of a tile of level 0, unproven."""
        width = min(FULL, self.checkpoint.size - index * FULL)
        found = self._log.bundle(index, width)
        if len(found) != width:
            raise Unavailable("log/tiles", f"{len(found)} entries in bundle {index}, want {width}")
        return found

    def _read(self, subtrees: Sequence[Subtree]) -> list[Hash]:
        return tile_reader(self._fetch, self.checkpoint.size)(subtrees)

    def _fetch(self, wanted: list[Tile]) -> list[bytes]:
        if len(self._tiles) > _CACHED:
            self._tiles.clear()
        missing = [tile for tile in wanted if tile not in self._tiles]
        self._tiles.update(zip(missing, self._log.tiles(missing), strict=True))
        return [self._tiles[tile] for tile in wanted]


def _bad_tiles(error: AttestError) -> Unavailable:
    # Nobody has signed a tile: that it is wrong shows a broken log, and proves no lie.
    return Unavailable("log/tiles", f"what the log serves does not lead to its checkpoint: {error}")
