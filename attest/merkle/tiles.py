"""C2SP tlog-tiles: how a log tree and its entries are cut into static files, and read back.

A tile of level l holds up to 256 roots of subtrees with 256^l entries each; a bundle holds the entries of a tile of
level 0. What tiles say is unchecked: only a path that leads to a trusted root proves anything.

Spec: C2SP tlog-tiles; docs/spec/tree.md#tiles.
"""

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from attest.encoding import Hash
from attest.errors import Malformed
from attest.merkle.tree import MAX_SIZE, Read, Subtree, root, subtree_reader

FULL = 256  # hashes in a full tile, entries in a full bundle
MAX_ENTRY = 65_535  # bytes, what the two-byte length in a bundle can say

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


Tile: TypeAlias = tuple[int, int, int]
"""(level, index, width): `width` hashes of a level, from number index * 256."""

Fetch: TypeAlias = Callable[[list[Tile]], list[bytes]]
"""Answer the bytes of tiles, in the order asked."""


def tile_path(level: int, index: int, width: int = FULL) -> str:
    """Spell the path of a tile: `tile/0/x001/067`, and `.p/<width>` behind it where it is partial."""
    return _path(str(level), level, index, width)


def entries_path(index: int, width: int = FULL) -> str:
    """Spell the path of a bundle: `tile/entries/x001/067.p/12`."""
    return _path("entries", 0, index, width)


def _path(kind: str, level: int, index: int, width: int) -> str:
    if not _exists(level, index, width):
        raise ValueError(f"no tree has a tile {index} of level {level} and width {width}")
    path = f"{index % 1000:03}"
    while index := index // 1000:
        path = f"x{index % 1000:03}/{path}"
    return f"tile/{kind}/{path}" + (f".p/{width}" if width < FULL else "")


def _exists(level: int, index: int, width: int) -> bool:
    """Say whether a tree of at most 2^63 - 1 entries can have this tile."""
    return level >= 0 and index >= 0 and 1 <= width <= FULL and (index * FULL + width) << 8 * level <= MAX_SIZE


def parse_tile_path(path: str) -> tuple[int | None, int, int]:
    """Read the path of a tile or a bundle: (level or None for entries, index, width).

    Raises:
        Malformed: `tile/path`, any other spelling, or a tile that no tree of up to 2^63 - 1 entries has.
    """
    if match := _PATH.fullmatch(path):
        kind, digits, partial = match.groups()
        level = None if kind == "entries" else int(kind)
        index = int(digits.replace("x", "").replace("/", ""))
        width = int(partial) if partial else FULL
        # A leading x000 and a partial tile of width 256 are other spellings: write it again and compare.
        if _exists(level or 0, index, width) and _path(kind, level or 0, index, width) == path:
            return level, index, width
    raise Malformed("tile/path", f"not the path of a tile: {path[:60]!r}")


def tiles_for(old_size: int, new_size: int) -> list[Tile]:
    """List every tile that a checkpoint of `new_size` entries implies and one of `old_size` did not.

    Partial tiles of all levels included; levels ascending, then indexes. The tiles of level 0 are also the bundles.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ValueError(f"no tree of {new_size} entries extends one of {old_size}")
    tiles = []
    level = 0
    # Where a level has no new hash, no level above it has one.
    while (old := old_size >> 8 * level) < (new := new_size >> 8 * level):
        for index in range(old // FULL, -(-new // FULL)):
            tiles.append((level, index, min(FULL, new - index * FULL)))
        level += 1
    return tiles


class TileBuilder:
    """Makes the tiles of a tree that grows, and keeps only those that are not full."""

    def __init__(self, edges: Sequence[Sequence[Hash]] = (), size: int = 0) -> None:
        """Begin empty, or where another builder ended.

        Args:
            edges: by level, the hashes of the tile that is not full.
            size: entries so far.
        """
        self.edges = [list(edge) for edge in edges]
        self.size = size

    def append(self, leaves: Sequence[Hash]) -> list[tuple[Tile, bytes]]:
        """Add leaf hashes; return the tiles that have become full, those of one level ascending."""
        full: list[tuple[Tile, bytes]] = []
        for leaf in leaves:
            self.size += 1
            level, new = 0, leaf
            while True:
                if level == len(self.edges):
                    self.edges.append([])
                edge = self.edges[level]
                edge.append(new)
                if len(edge) < FULL:
                    break
                full.append(((level, (self.size >> 8 * (level + 1)) - 1, FULL), b"".join(edge)))
                new = root(edge)
                edge.clear()
                level += 1
        return full

    def partial(self) -> list[tuple[Tile, bytes]]:
        """Return the tiles that are not full."""
        return [
            ((level, self.size >> 8 * (level + 1), len(edge)), b"".join(edge))
            for level, edge in enumerate(self.edges)
            if edge
        ]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Write the entries of one tile of level 0: for each u16 length, then the bytes."""
    if not 1 <= len(entries) <= FULL or any(len(entry) > MAX_ENTRY for entry in entries):
        raise ValueError("a bundle has 1 to 256 entries of at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(encoded: bytes, count: int) -> list[bytes]:
    """Read exactly `count` entries.

    Raises:
        Malformed: `bundle/truncated`, `bundle/trailing`.
    """
    entries: list[bytes] = []
    at = 0
    for _ in range(count):
        start = at + 2
        end = start + int.from_bytes(encoded[at:start], "big")
        if start > len(encoded) or end > len(encoded):
            raise Malformed("bundle/truncated", f"{len(entries)} whole entries, want {count}")
        entries.append(encoded[start:end])
        at = end
    if at != len(encoded):
        raise Malformed("bundle/trailing", f"{len(encoded) - at} bytes after {count} entries")
    return entries


def tile_reader(fetch: Fetch, size: int) -> Read:
    """Serve perfect subtrees of the tree of `size` entries from its tiles.

    One `fetch` for each call, each tile once; only tiles that a checkpoint of `size` implies are asked for.
    The reader raises `Malformed`: `tile/length`, a tile does not have width * 32 bytes.
    """

    def read(subtrees: Sequence[Subtree]) -> list[Hash]:
        places = [_place(subtree, size) for subtree in subtrees]
        tiles = list(dict.fromkeys(tile for tile, _ in places))
        inside = {tile: _tile_subtrees(tile, encoded) for tile, encoded in zip(tiles, fetch(tiles), strict=True)}
        return [inside[tile]([subtree])[0] for tile, subtree in places]

    return read


def _place(subtree: Subtree, size: int) -> tuple[Tile, Subtree]:
    """Find the tile with the hashes of a subtree, and the subtree's level and index inside that tile."""
    level, index = subtree
    if level < 0 or index < 0 or (index + 1) << level > size:
        raise ValueError(f"no perfect subtree {index} of level {level} in a tree of {size}")
    tile_level, height = divmod(level, 8)
    per_tile = FULL >> height
    tile_index = index // per_tile
    width = min(FULL, (size >> 8 * tile_level) - tile_index * FULL)
    return (tile_level, tile_index, width), (height, index % per_tile)


def _tile_subtrees(tile: Tile, encoded: bytes) -> Read:
    want = tile[2] * 32
    if len(encoded) != want:
        raise Malformed("tile/length", f"{tile_path(*tile)} has {len(encoded)} bytes, want {want}")
    return subtree_reader([encoded[at : at + 32] for at in range(0, len(encoded), 32)])
