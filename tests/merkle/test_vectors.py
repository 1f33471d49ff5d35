"""The vectors of docs/spec/tree.md and docs/spec/sparse-map.md, for any implementation to check itself with."""

import json

import pytest

from attest.errors import AttestError
from attest.merkle import sparse, tiles, tree
from tests.merkle import make_vectors


def cases(name):
    found = json.loads((make_vectors.VECTORS / name).read_text())["cases"]
    return pytest.mark.parametrize("case", found, ids=[case["desc"] or "empty" for case in found])


def raw(values):
    return [bytes.fromhex(value) for value in values]


def mapping(listed):
    return {bytes.fromhex(key): bytes.fromhex(value) for key, value in listed}


def outcome(case, check):
    """Run `check` and compare its code, if it raises, with the one that the case expects."""
    try:
        found = check()
    except AttestError as error:
        assert error.code == case.get("code"), error
        return None
    assert "code" not in case, f"{case['desc']} was accepted"
    return found


@pytest.mark.parametrize("name", make_vectors.FILES)
def test_the_files_are_what_the_transcriptions_say(name):
    """Nobody has edited an expected value, and running make_vectors changes nothing."""
    assert (make_vectors.VECTORS / name).read_text() == make_vectors.written(name)


@cases("tree/roots.json")
def test_roots(case):
    """The root over the entries."""
    assert tree.root(tree.leaf_hashes(raw(case["entries"]))).hex() == case["root"]


@cases("tree/frontiers.json")
def test_frontiers(case):
    """A frontier is taken, and has this root, or is refused."""
    found = outcome(case, lambda: tree.Frontier.parse(int(case["size"]), raw(case["hashes"])).root().hex())
    assert found == case.get("root")


@cases("tree/inclusion.json")
def test_inclusion(case):
    """The proof holds or fails with this code."""
    leaf, root = raw([case["leaf"], case["root"]])
    outcome(case, lambda: tree.verify_inclusion(leaf, int(case["index"]), int(case["size"]), root, raw(case["path"])))


@cases("tree/consistency.json")
def test_consistency(case):
    """The proof holds or fails with this code."""
    old_size, new_size = int(case["old_size"]), int(case["new_size"])
    old_root, new_root = raw([case["old_root"], case["new_root"]])
    outcome(case, lambda: tree.verify_consistency(old_size, old_root, new_size, new_root, raw(case["path"])))


@cases("tree/tile-paths.json")
def test_tile_paths(case):
    """The path names this tile, and the tile this path; or it is refused."""
    if found := outcome(case, lambda: tiles.parse_tile_path(case["path"])):
        level, index, width = found
        assert (level, str(index), width) == (case["level"], case["index"], case["width"])
        written = tiles.entries_path(index, width) if level is None else tiles.tile_path(level, index, width)
        assert written == case["path"]


@cases("tree/tiles-for.json")
def test_tiles_for(case):
    """These tiles are new."""
    found = tiles.tiles_for(int(case["old_size"]), int(case["new_size"]))
    assert [tiles.tile_path(*tile) for tile in found] == case["tiles"]


@cases("tree/bundles.json")
def test_bundles(case):
    """The bundle has these entries, and they make this bundle; or it is refused."""
    encoded = bytes.fromhex(case["encoded"])
    if (found := outcome(case, lambda: tiles.parse_bundle(encoded, case["count"]))) is not None:
        assert found == raw(case["entries"])
        assert tiles.encode_bundle(found) == encoded


@cases("sparse-map/roots.json")
def test_map_roots(case):
    """The root of the map."""
    assert sparse.root(mapping(case["bindings"])).hex() == case["root"]


@cases("sparse-map/proofs.json")
def test_map_proofs(case):
    """The proof shows this value, or absence, or fails with this code."""
    encoded, root, key = raw([case["proof"], case["root"], case["key"]])
    found = outcome(case, lambda: sparse.verify(sparse.MapProof.parse(encoded), root, key))
    assert (found.hex() if found is not None else None) == case.get("value")
    if "code" not in case:
        assert sparse.MapProof.parse(encoded).encode() == encoded


@cases("sparse-map/pruned.json")
def test_pruned_trees(case):
    """The pruned tree is what the map's prunes to, says this and leads to this root; or it is refused."""
    pruned = outcome(case if "root" not in case else {}, lambda: sparse.parse_pruned(bytes.fromhex(case["pruned"])))
    if pruned is None:
        return
    assert pruned.root().hex() == case["root"]
    if "touch" in case:
        outcome(case, lambda: pruned.get(bytes.fromhex(case["touch"])))
        return
    assert sparse.Tree.build(mapping(case["bindings"])).prune(raw(case["keys"])).hex() == case["pruned"]
    for key, value in case["get"]:
        found = pruned.get(bytes.fromhex(key))
        assert (found.hex() if found is not None else None) == value
    assert pruned.update(mapping(case["changes"])).hex() == case["new_root"]
