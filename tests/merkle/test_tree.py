"""The log tree against RFC 6962's own words, merkletools, pymerkle, and proofs made to deceive."""

import base64
import hashlib
import itertools
import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkletools import MerkleTools
from pymerkle import InmemoryTree

from attest.errors import AttestError, Malformed, Refuted
from attest.merkle.tree import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    leaf_hashes,
    node_hash,
    root,
    root_from_inclusion,
    subtree_reader,
    verify_consistency,
    verify_inclusion,
)
from tests import reference
from tests.merkle.shared import shared_vectors

ENTRIES = [b"entry-%d" % index for index in range(130)]
LEAVES = [hashlib.sha256(b"\x00" + entry).digest() for entry in ENTRIES]
READ = subtree_reader(LEAVES)
SIZES = [*range(1, 41), 63, 64, 65, 100, 127, 128, 129, 130]

# Made with golang.org/x/mod and published with other vectors: the roots over entry-0, entry-1, …
GOLDEN_ROOTS = {
    0: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    1: "QHZrIDNCkCb1PVRQJnmoOXBrR0H43K86i7pfQbX/4HU=",
    2: "LyelCCwdQq+kiKw1Cp/EOQwIT1T3Hs3/hZ6Y24QptHk=",
    3: "pkvybgkSj2/i/m+LLYyAHhZrV8BHp82bK4Ceepai8cs=",
    4: "JWueiCXl03CkrgBdCQHqKRl34pJ/XPjj5yZg3QlRnts=",
    5: "GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=",
    7: "kTlgHMHKirKnoMLBNMBIRfKxulSag9bIRc/NpDnMWF0=",
    8: "38wTubDKkyxo3j1Z6qqP4mapyAkcAwDoQF6/6w0OWDI=",
}

indexed = st.integers(1, 130).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size)))
grown = st.integers(2, 130).flatmap(lambda size: st.tuples(st.integers(1, size - 1), st.just(size)))
steady = settings(derandomize=True, deadline=None, max_examples=100, database=None)


@cache
def known_root(size):
    return reference.MTH(ENTRIES[:size])


def flip(value, bit):
    """Return `value` with one bit changed."""
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")


# --- roots ---


@pytest.mark.parametrize("size", GOLDEN_ROOTS)
def test_roots_are_those_of_another_implementation(size):
    """The published roots over entry-0, entry-1, … come out."""
    assert base64.b64encode(root(leaf_hashes(ENTRIES[:size]))).decode() == GOLDEN_ROOTS[size]


def test_roots_are_rfc_6962s_for_every_size():
    """From 0 to 130 entries the root is MTH, whether from all leaves at once or from a frontier."""
    for size in range(131):
        assert root(LEAVES[:size]) == known_root(size)
        assert Frontier.empty().append(LEAVES[:size]).root() == known_root(size)


def test_hashes_begin_with_their_tag():
    """A leaf hashes 00 and the entry, a node 01 and its children; nothing else is hashed."""
    assert leaf_hash(b"") == hashlib.sha256(b"\x00").digest()
    assert leaf_hashes([b"a", b"b"]) == [hashlib.sha256(b"\x00a").digest(), hashlib.sha256(b"\x00b").digest()]
    assert node_hash(b"l" * 32, b"r" * 32) == hashlib.sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()


@steady
@given(st.integers(0, 130), st.integers(0, 130))
def test_a_frontier_grows_by_any_step(first, second):
    """Appending in two steps is appending at once, and the first frontier stays as it was."""
    first, second = sorted((first, second))
    before = Frontier.empty().append(LEAVES[:first])
    after = before.append(LEAVES[first:second])

    assert after.root() == known_root(second)
    assert before.root() == known_root(first)
    assert Frontier.parse(after.size, after.hashes) == after == Frontier.read(second, READ)


@pytest.mark.parametrize(
    ("size", "hashes", "code"),
    [
        (-1, [], "frontier/size"),
        (MAX_SIZE + 1, [EMPTY_ROOT], "frontier/size"),
        (0, [EMPTY_ROOT], "frontier/count"),
        (5, [EMPTY_ROOT], "frontier/count"),
        (4, [EMPTY_ROOT] * 2, "frontier/count"),
        (4, [EMPTY_ROOT[1:]], "frontier/hash-length"),
    ],
)
def test_a_frontier_has_a_hash_per_set_bit(size, hashes, code):
    """A frontier from outside with more, fewer or longer hashes is refused."""
    with pytest.raises(Malformed) as caught:
        Frontier.parse(size, hashes)
    assert caught.value.code == code


def test_a_frontier_does_not_grow_beyond_the_largest_tree():
    """At 2^63 - 1 entries another one is a programmer's mistake."""
    full = Frontier.parse(MAX_SIZE, [EMPTY_ROOT] * 63)
    with pytest.raises(ValueError, match="at most"):
        full.append(LEAVES[:1])


# --- paths ---


def test_inclusion_paths_are_rfc_6962s():
    """PATH, for every entry of every size tried, and it verifies."""
    for size in SIZES:
        for index in range(size):
            path = inclusion_path(index, size, READ)
            assert path == reference.PATH(index, ENTRIES[:size])
            verify_inclusion(LEAVES[index], index, size, known_root(size), path)


def test_consistency_paths_are_rfc_6962s():
    """PROOF, for every pair of sizes tried, and it verifies."""
    for old, new in itertools.combinations_with_replacement(SIZES, 2):
        path = consistency_path(old, new, READ)
        assert path == reference.PROOF(old, ENTRIES[:new])
        verify_consistency(old, known_root(old), new, known_root(new), path)


def test_every_tree_begins_with_the_empty_one():
    """From size 0 the path is empty and the old root must be the empty one; to any new root."""
    for new in range(131):
        assert consistency_path(0, new, READ) == []
        verify_consistency(0, EMPTY_ROOT, new, known_root(new), [])


def test_a_path_takes_one_read():
    """A prover asks for everything in one batch, and for nothing when there is nothing to prove."""
    calls = []

    def read(subtrees):
        calls.append(subtrees)
        return READ(subtrees)

    inclusion_path(3, 130, read)
    consistency_path(7, 130, read)
    assert len(calls) == 2
    inclusion_path(0, 1, read)
    consistency_path(130, 130, read)
    assert len(calls) == 2


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3), (0, MAX_SIZE + 1)])
def test_there_is_no_path_to_an_entry_outside_the_tree(index, size):
    """Asking for one is a programmer's mistake."""
    with pytest.raises(ValueError, match="no entry"):
        inclusion_path(index, size, READ)


@pytest.mark.parametrize(("old", "new"), [(3, 2), (-1, 2), (0, MAX_SIZE + 1)])
def test_there_is_no_path_to_a_smaller_tree(old, new):
    """Asking for one is a programmer's mistake."""
    with pytest.raises(ValueError, match="extends"):
        consistency_path(old, new, READ)


# --- proofs that prove nothing ---


@steady
@given(indexed, st.data())
def test_an_inclusion_proof_with_a_bit_changed_is_refuted(place, data):
    """Any bit of the leaf, the root or the path matters."""
    index, size = place
    hashes = [LEAVES[index], known_root(size), *inclusion_path(index, size, READ)]
    changed = data.draw(st.integers(0, len(hashes) - 1))
    hashes[changed] = flip(hashes[changed], data.draw(st.integers(0, 255)))
    leaf, claimed, *path = hashes

    with pytest.raises(Refuted) as caught:
        verify_inclusion(leaf, index, size, claimed, path)
    assert caught.value.code == "inclusion/root-mismatch"


@steady
@given(grown, st.data())
def test_a_consistency_proof_with_a_bit_changed_is_refuted(sizes, data):
    """Any bit of either root or of the path matters."""
    old, new = sizes
    hashes = [known_root(old), known_root(new), *consistency_path(old, new, READ)]
    changed = data.draw(st.integers(0, len(hashes) - 1))
    hashes[changed] = flip(hashes[changed], data.draw(st.integers(0, 255)))
    old_root, new_root, *path = hashes

    with pytest.raises(Refuted) as caught:
        verify_consistency(old, old_root, new, new_root, path)
    assert caught.value.code in ("consistency/old-root-mismatch", "consistency/new-root-mismatch")


@steady
@given(indexed, st.data())
def test_an_inclusion_path_has_one_length(place, data):
    """A path with a hash taken out or put in anywhere, even the root itself, is malformed."""
    index, size = place
    path = inclusion_path(index, size, READ)
    at = data.draw(st.integers(0, len(path)))
    longer = [*path[:at], data.draw(st.sampled_from([known_root(size), LEAVES[index], EMPTY_ROOT])), *path[at:]]

    for wrong in [longer] + [path[:at] + path[at + 1 :]] * (at < len(path)):
        with pytest.raises(Malformed) as caught:
            verify_inclusion(LEAVES[index], index, size, known_root(size), wrong)
        assert caught.value.code == "inclusion/path-length"


@steady
@given(st.one_of(grown, st.integers(0, 130).map(lambda size: (size, size)), st.just((0, 7))), st.data())
def test_a_consistency_path_has_one_length(sizes, data):
    """A path with a hash taken out or put in anywhere is malformed, also where it should be empty."""
    old, new = sizes
    path = consistency_path(old, new, READ)
    at = data.draw(st.integers(0, len(path)))
    longer = [*path[:at], data.draw(st.sampled_from([known_root(old), known_root(new), EMPTY_ROOT])), *path[at:]]

    for wrong in [longer] + [path[:at] + path[at + 1 :]] * (at < len(path)):
        with pytest.raises(Malformed) as caught:
            verify_consistency(old, known_root(old), new, known_root(new), wrong)
        assert caught.value.code == "consistency/path-length"


@steady
@given(indexed, st.integers(0, 129))
def test_a_path_belongs_to_one_entry(place, other):
    """The same leaf and path at another index are refused."""
    index, size = place
    path = inclusion_path(index, size, READ)
    if other != index:
        with pytest.raises(AttestError):
            verify_inclusion(LEAVES[index], other, size, known_root(size), path)


@steady
@given(
    st.binary(min_size=32, max_size=32),
    st.integers(-1, MAX_SIZE + 1),
    st.integers(-1, MAX_SIZE + 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=65),
)
def test_made_up_proofs_are_refused_at_any_size(hashed, first, second, path):
    """Whatever the numbers, a made-up proof ends in an error of ours, and never in a yes."""
    with pytest.raises(AttestError):
        verify_inclusion(hashed, first, second, EMPTY_ROOT, path)
    with pytest.raises(AttestError):
        verify_consistency(first, hashed, second, EMPTY_ROOT, path)


def test_the_largest_tree_has_paths_of_63_hashes():
    """At 2^63 - 1 entries the path of entry 0 has 63 hashes, and leads where RFC 6962 says."""
    path = LEAVES[:63]
    claimed = reference.root_of_path(LEAVES[99], 0, MAX_SIZE, path)

    assert root_from_inclusion(LEAVES[99], 0, MAX_SIZE, path) == claimed
    verify_inclusion(LEAVES[99], 0, MAX_SIZE, claimed, path)
    with pytest.raises(Malformed, match="inclusion/size"):
        verify_inclusion(LEAVES[99], 0, MAX_SIZE + 1, claimed, path)


# --- other implementations ---


def merkletools_over(leaves):
    tools = MerkleTools()
    tools.hash_function = lambda value: hashlib.sha256(b"\x01" + value)
    tools.add_leaf([leaf.hex() for leaf in leaves])
    tools.make_tree()
    return tools


def test_merkletools_builds_the_same_tree():
    """With SHA-256 over 01 and its input, merkletools agrees on every root and path up to 130 entries."""
    for size in range(1, 131):
        tools = merkletools_over(LEAVES[:size])
        assert tools.get_merkle_root() == root(LEAVES[:size]).hex()
        for index in range(size):
            theirs = tools.get_proof(index)
            assert [hashed for step in theirs for hashed in step.values()] == [
                hashed.hex() for hashed in inclusion_path(index, size, READ)
            ]
        assert tools.validate_proof(theirs, LEAVES[size - 1].hex(), root(LEAVES[:size]).hex())


def test_pymerkle_builds_the_same_tree():
    """pymerkle agrees on every root, and on the path of every entry it is asked for."""
    theirs = InmemoryTree(algorithm="sha256")
    for size, entry in enumerate(ENTRIES, 1):
        theirs.append_entry(entry)
        assert theirs.get_root(size) == root(LEAVES[:size])
        for index in {0, size // 3, size - 1}:
            # It counts from one, and begins its path with the leaf.
            assert theirs.prove_inclusion(index + 1, size).path == [LEAVES[index], *inclusion_path(index, size, READ)]


def vector_hash(text):
    return base64.b64decode(text or "")


def test_inclusion_vectors_of_transparency_dev():
    """Their good proofs are accepted and their bad ones refused."""
    files = sorted(shared_vectors("rfc6962-merkle/inclusion").rglob("*.json"))
    assert len(files) == 98
    for file in files:
        case = json.loads(file.read_text())
        proof = [vector_hash(text) for text in case["proof"] or []]
        leaf, claimed = vector_hash(case["leafHash"]), vector_hash(case["root"])
        try:
            verify_inclusion(leaf, case["leafIdx"], case["treeSize"], claimed, proof)
            refused = False
        except AttestError:
            refused = True
        assert refused == case["wantErr"], file


def test_consistency_vectors_of_transparency_dev():
    """Their good proofs are accepted and their bad ones refused, and one more: it has roots of 12 bytes."""
    files = sorted(shared_vectors("rfc6962-merkle/consistency").rglob("*.json"))
    assert len(files) == 98
    for file in files:
        case = json.loads(file.read_text())
        proof = [vector_hash(text) for text in case["proof"] or []]
        try:
            verify_consistency(
                case["size1"], vector_hash(case["root1"]), case["size2"], vector_hash(case["root2"]), proof
            )
            refused = False
        except AttestError:
            refused = True
        not_hashes = file.name == "sizes-are-equal-one-and-proof-is-empty.json"
        assert refused == (case["wantErr"] or not_hashes), file
