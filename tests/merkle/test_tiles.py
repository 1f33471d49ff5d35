"""Tiles and bundles: one spelling of each path, exactly the files a checkpoint implies, and paths read from them."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.errors import Malformed
from attest.merkle.tiles import (
    encode_bundle,
    entries_path,
    parse_bundle,
    parse_tile_path,
    tile_path,
    tile_reader,
    tiles_for,
)
from attest.merkle.tree import Frontier, consistency_path, inclusion_path, root, subtree_reader, verify_inclusion

steady = settings(derandomize=True, deadline=None, max_examples=100, database=None)
sizes = st.one_of(st.integers(0, 700), st.integers(65_000, 70_000), st.sampled_from([255, 256, 257, 65_535, 65_536]))

LEAVES = [hashlib.sha256(b"%d" % index).digest() for index in range(66_000)]


def tiles_of(size):
    """Per level l, floor(size / 256^(l+1)) full tiles and one of width floor(size / 256^l) mod 256."""
    found = set()
    for level in range(8):
        found |= {(level, index, 256) for index in range(size // 256 ** (level + 1))}
        if width := size // 256**level % 256:
            found.add((level, size // 256 ** (level + 1), width))
    return found


def served(size):
    """All tiles of the tree over the first `size` leaves, as bytes."""
    levels = [LEAVES[:size]]
    while len(levels[-1]) >= 256:
        below = levels[-1]
        levels.append([root(below[at : at + 256]) for at in range(0, len(below) // 256 * 256, 256)])
    return {
        (level, index, width): b"".join(levels[level][index * 256 : index * 256 + width])
        for level, index, width in tiles_of(size)
    }


# --- paths ---


@pytest.mark.parametrize(
    ("path", "level", "index", "width"),
    [
        ("tile/0/000", 0, 0, 256),
        ("tile/0/255.p/1", 0, 255, 1),
        ("tile/1/x001/000", 1, 1000, 256),
        ("tile/2/x001/x234/067.p/255", 2, 1_234_067, 255),
        ("tile/entries/x001/067", None, 1067, 256),
        ("tile/entries/000.p/12", None, 0, 12),
        ("tile/7/000.p/127", 7, 0, 127),
    ],
)
def test_a_tile_has_one_path(path, level, index, width):
    """Both ways, for tiles and for bundles."""
    assert parse_tile_path(path) == (level, index, width)
    assert path == (entries_path(index, width) if level is None else tile_path(level, index, width))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/-1/000",
        "tile/8/000.p/1",  # 2^64 entries
        "tile/64/000",
        "tile/7/000.p/128",  # 2^63 entries
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/X001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000\n",
        "/tile/0/000",
        "tile/0/000/",
        "tile//000",
        "tile/entries/000.p/999",
        "tile/entries/../checkpoint",
        "tile/0/٠٠٠",
        "tile/0/" + "x999/" * 5 + "999",
        "tile/0/" + "x001/" * 1000 + "000",
    ],
)
def test_another_spelling_is_refused(path):
    """So that a server can hand a parsed path to its storage."""
    with pytest.raises(Malformed) as caught:
        parse_tile_path(path)
    assert caught.value.code == "tile/path"


@steady
@given(st.integers(0, 6), st.integers(0, 2**20), st.integers(1, 256))
def test_paths_return(level, index, width):
    """What is written is read."""
    index >>= 3 * level
    assert parse_tile_path(tile_path(level, index, width)) == (level, index, width)
    assert parse_tile_path(entries_path(index, width)) == (None, index, width)


@pytest.mark.parametrize("tile", [(0, 0, 0), (0, 0, 257), (0, -1, 256), (-1, 0, 256), (8, 0, 1), (7, 0, 128)])
def test_a_tile_that_no_tree_has_cannot_be_written(tile):
    """A programmer's mistake."""
    with pytest.raises(ValueError, match="no tree"):
        tile_path(*tile)


# --- which tiles ---


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        (1, {0: (0, 1)}),
        (255, {0: (0, 255)}),
        (256, {0: (1, 0), 1: (0, 1)}),
        (257, {0: (1, 1), 1: (0, 1)}),
        (65_536, {0: (256, 0), 1: (1, 0), 2: (0, 1)}),
        (70_000, {0: (273, 112), 1: (1, 17), 2: (0, 1)}),
    ],
)
def test_a_checkpoint_implies_these_tiles(size, counts):
    """Full tiles and the width of the partial one, per level."""
    found = {}
    for level, _, width in tiles_for(0, size):
        full, partial = found.get(level, (0, 0))
        found[level] = (full + 1, partial) if width == 256 else (full, width)
    assert found == counts


@steady
@given(sizes, sizes)
def test_new_tiles_are_those_the_old_checkpoint_did_not_imply(old, new):
    """Nothing is missing and nothing is written twice, on every level."""
    old, new = sorted((old, new))
    found = tiles_for(old, new)

    assert found == sorted(tiles_of(new) - tiles_of(old))


@pytest.mark.parametrize(("old", "new"), [(2, 1), (-1, 1), (0, 2**63)])
def test_there_are_no_new_tiles_in_a_smaller_tree(old, new):
    """A programmer's mistake."""
    with pytest.raises(ValueError, match="extends"):
        tiles_for(old, new)


# --- reading ---


@pytest.mark.parametrize("size", [1, 2, 100, 255, 256, 257, 511, 600, 65_535, 65_536, 66_000])
def test_paths_from_tiles_are_paths_from_leaves(size):
    """A client with nothing but tiles of one checkpoint makes the same proofs, fetching each tile once per proof."""
    tiles = served(size)
    fetched = []

    def fetch(wanted):
        fetched.append(wanted)
        assert len(set(wanted)) == len(wanted)
        return [tiles[tile] for tile in wanted]

    read, expected = tile_reader(fetch, size), subtree_reader(LEAVES[:size])
    claimed = Frontier.read(size, read).root()
    assert claimed == root(LEAVES[:size])
    for index in {0, 1 % size, size // 3, size // 2, max(0, size - 257), size - 1}:
        before = len(fetched)
        path = inclusion_path(index, size, read)
        assert path == inclusion_path(index, size, expected)
        verify_inclusion(LEAVES[index], index, size, claimed, path)
        assert consistency_path(index, size, read) == consistency_path(index, size, expected)
        assert len(fetched) <= before + 2


@pytest.mark.parametrize("subtree", [(0, 300), (8, 1), (9, 0), (-1, 0), (0, -1)])
def test_a_subtree_beyond_the_size_cannot_be_read(subtree):
    """A programmer's mistake, seen before anything is fetched."""
    with pytest.raises(ValueError, match="no perfect subtree"):
        tile_reader(lambda wanted: [], 300)([subtree])


@pytest.mark.parametrize("change", [lambda tile: tile[:-1], lambda tile: tile + b"\0", lambda tile: b""])
def test_a_tile_of_another_length_is_refused(change):
    """A server may send anything."""
    tiles = served(300)
    with pytest.raises(Malformed) as caught:
        inclusion_path(299, 300, tile_reader(lambda wanted: [change(tiles[tile]) for tile in wanted], 300))
    assert caught.value.code == "tile/length"


# --- bundles ---


def test_a_bundle_is_lengths_and_entries():
    """The example of two entries, byte for byte."""
    encoded = bytes.fromhex("0007656e7472792d300007656e7472792d31")
    assert encode_bundle([b"entry-0", b"entry-1"]) == encoded
    assert parse_bundle(encoded, 2) == [b"entry-0", b"entry-1"]


@steady
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256), st.data())
def test_a_bundle_is_whole_or_refused(entries, data):
    """It reads back, and neither a cut, nor more bytes, nor another count passes."""
    encoded = encode_bundle(entries)
    assert parse_bundle(encoded, len(entries)) == entries

    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    for wrong, count, code in [
        (cut, len(entries), "bundle/truncated"),
        (encoded, len(entries) + 1, "bundle/truncated"),
        (encoded + b"\0", len(entries), "bundle/trailing"),
        (encoded, len(entries) - 1, "bundle/trailing"),
    ]:
        with pytest.raises(Malformed) as caught:
            parse_bundle(wrong, count)
        assert caught.value.code == code


@pytest.mark.parametrize("entries", [[], [b""] * 257, [bytes(65_536)]])
def test_a_bundle_that_cannot_be_written(entries):
    """No entries, too many, or one too long: refused before it reaches a file."""
    with pytest.raises(ValueError, match="a bundle has"):
        encode_bundle(entries)
