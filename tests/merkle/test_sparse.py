"""The map's prefix tree against its definition, with keys chosen to hurt, and evidence made to deceive."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.encoding import ZERO
from attest.errors import AttestError, Malformed, Refuted
from attest.merkle import sparse
from attest.merkle.sparse import MapProof, Tree, map_leaf, map_node, parse_pruned
from tests import reference

steady = settings(derandomize=True, deadline=None, max_examples=100, database=None)

hashes = st.binary(min_size=32, max_size=32)
BASE = int.from_bytes(hashlib.sha256(b"base").digest(), "big")


def near(shared, tail):
    """A key that has exactly the first `shared` bits of BASE, and then the last bits of `tail`."""
    below = 1 << 255 - shared
    return ((BASE ^ below) & -below | tail % below).to_bytes(32, "big")


def twin(key):
    """The one key that shares 255 bits with this one."""
    return (int.from_bytes(key, "big") ^ 1).to_bytes(32, "big")


near_keys = st.builds(near, st.integers(0, 254), st.integers(0, 2**256 - 1))
keys = st.one_of(hashes, near_keys, near_keys, st.just(BASE.to_bytes(32, "big")))
maps = st.dictionaries(keys, hashes, max_size=12)
MANY = {reference.sha256(b"key-%d" % n): reference.sha256(b"value-%d" % n) for n in range(300)}
OTHERS = [reference.sha256(b"other-%d" % n) for n in range(300)]


# --- roots ---


def test_hashes_begin_with_their_tag():
    """A leaf hashes 02, key and value, a node 03 and its children."""
    assert map_leaf(b"k" * 32, b"v" * 32) == hashlib.sha256(b"\x02" + b"k" * 32 + b"v" * 32).digest()
    assert map_node(b"l" * 32, b"r" * 32) == hashlib.sha256(b"\x03" + b"l" * 32 + b"r" * 32).digest()


@steady
@given(maps)
def test_roots_are_the_definitions(bindings):
    """For any map, even of keys that share 255 bits."""
    assert sparse.root(bindings) == Tree.build(bindings).root == reference.node(bindings)


def test_small_roots():
    """The empty map is 32 zeros, a map of one binding is its leaf."""
    assert sparse.root({}) == Tree.build({}).root == bytes(32)
    assert sparse.root({ZERO: ZERO}) == map_leaf(ZERO, ZERO)


def test_two_keys_that_share_255_bits_meet_at_the_last():
    """256 nodes lie between them and the root; a lookup works, but no proof can be that deep."""
    last = (BASE ^ 1).to_bytes(32, "big")
    first = BASE.to_bytes(32, "big")
    bindings = {first: ZERO, last: ZERO}
    tree = Tree.build(bindings)

    assert tree.root == reference.node(bindings)
    assert tree.get(first) == tree.get(last) == ZERO
    with pytest.raises(Malformed) as caught:
        tree.prove(last)
    assert caught.value.code == "map-proof/depth"
    assert parse_pruned(tree.prune([last])).update({last: first}) == reference.node({first: ZERO, last: first})


@steady
@given(maps, maps, maps)
def test_an_update_is_a_rebuild_and_leaves_the_old_tree(bindings, changes, more):
    """Replacing and inserting, twice; each version keeps its root and its bindings."""
    first = Tree.build(bindings)
    second = first.update(changes)
    third = second.update(more)

    assert second.root == reference.node(bindings | changes)
    assert third.root == reference.node(bindings | changes | more)
    assert first.root == reference.node(bindings)
    for key in [*bindings, *changes, *more]:
        assert first.get(key) == bindings.get(key)
        assert third.get(key) == (bindings | changes | more).get(key)


@pytest.mark.parametrize("bindings", [{b"short": ZERO}, {ZERO: b"short"}])
def test_keys_and_values_have_32_bytes(bindings):
    """Anything else is a programmer's mistake."""
    with pytest.raises(ValueError, match="32 bytes"):
        Tree.build(bindings)


# --- proofs ---


@steady
@given(maps, keys)
def test_proofs_are_the_definitions_and_verify(bindings, key):
    """For present and absent keys: these bytes, which read back, and say what the map says."""
    tree = Tree.build(bindings)
    for asked in [key, *bindings]:
        try:
            proof = tree.prove(asked)
        except Malformed:
            assert asked in bindings and twin(asked) in bindings
            continue
        assert proof.encode() == reference.map_proof(bindings, asked)
        assert MapProof.parse(proof.encode()) == proof == sparse.prove(bindings, asked)
        assert sparse.verify(proof, tree.root, asked) == bindings.get(asked)


def test_many_proofs():
    """Each of 300 keys has its value, and 300 others are shown absent, by proofs of the definition's bytes."""
    tree = Tree.build(MANY)
    for key in [*MANY, *OTHERS]:
        assert sparse.verify(tree.prove(key), tree.root, key) == MANY.get(key)
    for key in [*MANY][:20] + OTHERS[:20]:
        assert tree.prove(key).encode() == reference.map_proof(MANY, key)


@pytest.mark.parametrize("key", [next(iter(MANY)), *OTHERS[:4]])
def test_a_proof_with_any_bit_changed_is_refused(key):
    """Each of its bits, one by one; so are all its beginnings, and any byte behind it."""
    tree = Tree.build(MANY)
    encoded = tree.prove(key).encode()
    value = int.from_bytes(encoded, "big")
    wrong = [(value ^ 1 << bit).to_bytes(len(encoded), "big") for bit in range(8 * len(encoded))]
    wrong += [encoded[:end] for end in range(len(encoded))] + [encoded + b"\0"]

    for each in wrong:
        with pytest.raises(AttestError):
            sparse.verify(MapProof.parse(each), tree.root, key)


@steady
@given(st.dictionaries(keys, hashes, min_size=1, max_size=8), keys, keys)
def test_a_proof_speaks_for_the_keys_on_its_way_only(bindings, key, other):
    """Shown for another key, a proof is refused, or its answer for that key is right as well."""
    tree = Tree.build(bindings)
    try:
        proof = tree.prove(key)
        said = sparse.verify(proof, tree.root, other)
    except AttestError:
        return
    assert said == bindings.get(other)


@steady
@given(maps, keys, hashes)
def test_a_proof_speaks_for_one_root(bindings, key, claimed):
    """Under another root it is refuted."""
    tree = Tree.build(bindings)
    if tree.root != claimed and twin(key) not in bindings:
        with pytest.raises(Refuted) as caught:
            sparse.verify(tree.prove(key), claimed, key)
        assert caught.value.code == "map-proof/root-mismatch"


@steady
@given(st.binary(max_size=200))
def test_a_proof_has_one_spelling(encoded):
    """Whatever parses encodes back to the same bytes."""
    try:
        proof = MapProof.parse(encoded)
    except Malformed:
        return
    assert proof.encode() == encoded


def test_a_key_of_another_length_is_refused():
    """Neither a short key nor a short root can be checked."""
    tree = Tree.build(MANY)
    proof = tree.prove(OTHERS[0])
    for claimed, key in [(tree.root[1:], OTHERS[0]), (tree.root, OTHERS[0][1:]), (tree.root, OTHERS[0] + b"\0")]:
        with pytest.raises(Malformed) as caught:
            sparse.verify(proof, claimed, key)
        assert caught.value.code == "map-proof/hash-length"


# --- pruned trees ---


@steady
@given(maps, maps, st.lists(keys, max_size=4))
def test_a_pruned_tree_is_the_definitions_and_enough(bindings, changes, looked_up):
    """For the keys it was made for, it has the root, the values, and the root after any change of them."""
    touched = [*changes, *looked_up]
    encoded = Tree.build(bindings).prune(touched)
    assert encoded == reference.pruned(bindings, sorted(set(touched)))

    pruned = parse_pruned(encoded)
    assert pruned.root() == reference.node(bindings)
    assert [pruned.get(key) for key in touched] == [bindings.get(key) for key in touched]
    assert pruned.update(changes) == reference.node(bindings | changes)
    assert pruned.root() == reference.node(bindings)


def test_a_large_batch_in_a_pruned_tree():
    """Two hundred replacements and insertions among 300 keys."""
    changes = {key: reference.sha256(key) for key in [*MANY][:100] + OTHERS[:100]}
    encoded = Tree.build(MANY).prune(changes)
    assert encoded == reference.pruned(MANY, sorted(changes))
    assert parse_pruned(encoded).update(changes) == reference.node(MANY | changes)


def test_what_was_pruned_away_cannot_be_touched():
    """A key outside the pruned part is neither looked up nor changed: absent and unknown are not the same."""
    present, absent = next(iter(MANY)), OTHERS[0]
    pruned = parse_pruned(Tree.build(MANY).prune([]))
    assert pruned.root() == reference.node(MANY)
    for touch in [
        lambda: pruned.get(present),
        lambda: pruned.get(absent),
        lambda: pruned.update({present: ZERO}),
        lambda: pruned.update({absent: ZERO}),
    ]:
        with pytest.raises(Malformed) as caught:
            touch()
        assert caught.value.code == "pruned/touched-hash"


def test_a_pruned_tree_with_any_bit_changed_has_another_root():
    """Or does not parse: each of its bits, one by one; so do all its beginnings."""
    small = dict(list(MANY.items())[:20])
    encoded = Tree.build(small).prune([*small][:2] + OTHERS[:2])
    root = parse_pruned(encoded).root()
    value = int.from_bytes(encoded, "big")
    wrong = [(value ^ 1 << bit).to_bytes(len(encoded), "big") for bit in range(8 * len(encoded))]

    for each in wrong:
        try:
            assert parse_pruned(each).root() != root
        except Malformed as error:
            assert error.code.startswith("pruned/")
    for each in [encoded[:end] for end in range(len(encoded))]:
        with pytest.raises(Malformed, match="pruned/truncated"):
            parse_pruned(each)


@steady
@given(st.lists(st.sampled_from([b"\x00", b"\x01" + bytes([7]) * 32, b"\x02" + bytes(64), b"\x03", b"\x04"])))
def test_any_bytes_are_read_or_refused(parts):
    """No bytes lead to another error, and what is read has nothing to say about the rest."""
    try:
        pruned = parse_pruned(b"".join(parts))
    except Malformed as error:
        assert error.code.startswith("pruned/")
    else:
        assert len(pruned.root()) == 32


def test_a_deep_pruned_tree_is_refused_before_it_hurts():
    """A million nested nodes stop at 256."""
    with pytest.raises(Malformed) as caught:
        parse_pruned(b"\x03" * 1_000_000)
    assert caught.value.code == "pruned/depth"


def test_a_pruned_tree_has_a_largest_size(monkeypatch):
    """Beyond it nothing is parsed."""
    monkeypatch.setattr(sparse, "MAX_PRUNED", 64)
    with pytest.raises(Malformed) as caught:
        parse_pruned(b"\x02" + bytes(64))
    assert caught.value.code == "pruned/size"
