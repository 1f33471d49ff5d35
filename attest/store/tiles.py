"""The log's tiles and bundles among the public files: written ahead of each checkpoint, read back for proofs.

Spec: C2SP tlog-tiles; docs/spec/tree.md#tiles.
"""

from collections.abc import Sequence
from typing import Final

from attest.encoding import Hash
from attest.errors import Unavailable
from attest.merkle import tiles, tree
from attest.store.blobs import Blobs
from attest.store.log import LogStore

_BATCH: Final = 64 * tiles.FULL  # entries written at a time


def write_tiles(public: Blobs, log: LogStore, old_size: int, new_size: int) -> None:
    """Write every tile and bundle that a checkpoint of `new_size` implies and one of `old_size` did not."""
    while old_size < new_size:
        size = min(new_size, old_size // tiles.FULL * tiles.FULL + _BATCH)
        _write(public, log, old_size, size)
        old_size = size


def _write(public: Blobs, log: LogStore, old_size: int, new_size: int) -> None:
    start = old_size // tiles.FULL * tiles.FULL
    records = log.entries(start, new_size)
    if [record.position for record in records] != list(range(start, new_size)):
        raise Unavailable("store/entries", f"entries {start} to {new_size} are not all in the database")
    fresh: dict[tiles.Tile, bytes] = {}
    files = []
    for tile in tiles.tiles_for(old_size, new_size):
        level, index, width = tile
        if level == 0:
            held = records[index * tiles.FULL - start :][:width]
            fresh[tile] = b"".join(record.leaf for record in held)
            files.append((tiles.entries_path(index, width), tiles.encode_bundle([record.entry for record in held])))
        else:
            fresh[tile] = _upper(public, fresh, tile, (old_size >> 8 * level) - index * tiles.FULL)
        files.append((tiles.tile_path(*tile), fresh[tile]))
    public.put(files)
    _drop_partials(public, fresh)


def _upper(public: Blobs, fresh: dict[tiles.Tile, bytes], tile: tiles.Tile, known: int) -> bytes:
    """Make a tile above level 0 from the one it continues, `known` hashes wide, and from the full tiles below it."""
    level, index, width = tile
    begin = public.get(tiles.tile_path(level, index, known)) if known > 0 else None
    hashes = [] if begin is None else [begin]
    for below in range(0 if begin is None else known, width):
        full = (level - 1, index * tiles.FULL + below, tiles.FULL)
        encoded = fresh.get(full) or public.get(tiles.tile_path(*full))
        if encoded is None:
            raise Unavailable("store/tile", f"{tiles.tile_path(*full)} is missing")
        hashes.append(tree.root(_split(encoded)))
    return b"".join(hashes)


def _drop_partials(public: Blobs, fresh: dict[tiles.Tile, bytes]) -> None:
    """Remove the partial tiles that the *previous* full tile replaced: whoever races gets the full one for a while."""
    for level, index, width in fresh:
        if width < tiles.FULL or not index:
            continue
        folders = [tiles.tile_path(level, index - 1) + ".p"]
        if level == 0:
            folders.append(tiles.entries_path(index - 1) + ".p")
        for folder in folders:
            public.delete(f"{folder}/{name}" for name in public.names(folder))


def stored_root(public: Blobs, size: int) -> Hash:
    """Recompute the root of the first `size` entries from the tiles as they can be read."""
    return tree.Frontier.read(size, reader(public, size, size)).root()


def stored_frontier(public: Blobs, size: int, stored_size: int) -> tree.Frontier:
    """Read the frontier of the first `size` entries from tiles written for a log of `stored_size`."""
    return tree.Frontier.read(size, reader(public, size, stored_size))


def reader(public: Blobs, size: int, stored_size: int) -> tree.Read:
    """Serve perfect subtrees of the first `size` entries from tiles written for a log of at least `stored_size`.

    The reader raises `Unavailable`: `store/tile`.
    """

    def fetch(wanted: list[tiles.Tile]) -> list[bytes]:
        return [_fetch(public, tile, stored_size) for tile in wanted]

    return tiles.tile_reader(fetch, size)


def _fetch(public: Blobs, tile: tiles.Tile, stored_size: int) -> bytes:
    level, index, width = tile
    # Partial tiles are removed once the full one is there, and the newest partial one begins like all before it.
    newest = min(tiles.FULL, (stored_size >> 8 * level) - index * tiles.FULL)
    for candidate in dict.fromkeys((tiles.FULL, newest, width)):
        if candidate >= width and (encoded := public.get(tiles.tile_path(level, index, candidate))) is not None:
            return encoded[: width * 32]
    raise Unavailable("store/tile", f"{tiles.tile_path(*tile)} is missing")


def read_file(public: Blobs, name: str) -> bytes | None:
    """Return a tile or bundle by its path, also a partial one that the full one has replaced."""
    level, index, width = tiles.parse_tile_path(name)
    found = public.get(name)
    if found is not None or width == tiles.FULL:
        return found
    if level is not None:
        full = public.get(tiles.tile_path(level, index))
        return None if full is None else full[: width * 32]
    full = public.get(tiles.entries_path(index))
    return None if full is None else tiles.encode_bundle(tiles.parse_bundle(full, tiles.FULL)[:width])


def _split(encoded: bytes) -> Sequence[Hash]:
    return [encoded[at : at + 32] for at in range(0, len(encoded), 32)]
