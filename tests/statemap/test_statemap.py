"""The state map against its definition: roots, proofs, pruned trees, versions."""

import itertools
import threading
from collections.abc import Iterator, Mapping
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from attest.errors import Conflict, Malformed
from attest.merkle import sparse
from attest.statemap import Delta, StateMap, hashing, heap, rows, statemap
from tests.statemap import oracle

FEW = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def stream(seed: object) -> Iterator[bytes]:
    """Hashes without end, the same for the same seed."""
    return (sha256(f"{seed} {i}".encode()).digest() for i in itertools.count())


def some_state(key: bytes, salt: object = 0) -> bytes:
    return (sha256(b"state" + key + repr(salt).encode()).digest() * 2)[:49]


def some_states(count: int, seed: object = 0) -> dict[bytes, bytes]:
    return {key: some_state(key, seed) for key in itertools.islice(stream(seed), count)}


def flip(key: bytes, depth: int) -> bytes:
    """The key that shares exactly `depth` bits with `key`."""
    return (int.from_bytes(key, "big") ^ 1 << 255 - depth).to_bytes(32, "big")


# Keys that an attacker would choose: near the ends, next to each other, parting at the edges of words.
EDGES = (0, 1, 2, 7, 8, 55, 56, 57, 62, 63, 64, 65, 127, 128, 129, 191, 192, 250, 253, 254)
CENTRES = (bytes(32), b"\xff" * 32, sha256(b"centre").digest())
crafted_keys = st.builds(
    lambda centre, flips: flip(flip(centre, flips[0]), flips[1]) if flips[0] != flips[1] else centre,
    st.sampled_from(CENTRES),
    st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)),
)
keys = st.one_of(st.binary(min_size=32, max_size=32), crafted_keys)


def check_delta(delta: Delta, before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> None:
    """The pruned tree has the old root, answers for the old states, and leads to the new root."""
    pruned = delta.pruned()
    tree = oracle.PrunedTree(pruned)
    assert tree.root() == oracle.root_of_states(before)
    for key in delta.changes:
        old = before.get(key)
        assert delta.old[key] == old
        assert tree.look_up(key) == (None if old is None else oracle.value_of(old))
    for key, state in delta.changes.items():
        tree.bind(key, oracle.value_of(state))
    assert tree.root() == delta.root == oracle.root_of_states(after)

    bindings = {key: oracle.value_of(state) for key, state in before.items()}
    assert pruned == sparse.Tree.build(bindings).prune(delta.changes)
    values = {key: oracle.value_of(state) for key, state in delta.changes.items()}
    assert sparse.parse_pruned(pruned).update(values) == delta.root


def check_version(states: StateMap, model: Mapping[bytes, bytes], asked: list[bytes]) -> None:
    """Whatever a version says about the keys asked for is true of the model."""
    assert states.size == len(model)
    assert states.get(asked) == [model.get(key) for key in asked]
    for key, proof in zip(asked, states.prove(asked), strict=True):
        want = oracle.value_of(model[key]) if key in model else None
        assert oracle.read_proof(proof, states.root, key) == want
        assert sparse.verify(sparse.MapProof.parse(proof), states.root, key) == want


class Life(RuleBasedStateMachine):
    """Any order of planning, applying, giving up and compacting, with old versions kept."""

    @initialize(count=st.sampled_from([0, 1, 2, 3, 40]), roomy=st.booleans())
    def start(self, count: int, roomy: bool) -> None:
        model = some_states(count)
        empty = StateMap.empty(roomy=True)
        self.versions = [(empty.apply(empty.plan(model)) if roomy else StateMap.build(model), model)]
        self.pending: list[Delta] = []

    @property
    def newest(self) -> tuple[StateMap, dict[bytes, bytes]]:
        return self.versions[-1]

    def step(self, changes: dict[bytes, bytes]) -> None:
        states, model = self.newest
        delta = states.plan(changes)
        assert states.root == oracle.root_of_states(model)
        check_delta(delta, model, {**model, **changes})
        after = states.apply(delta)
        assert after.root == delta.root
        self.versions.append((after, {**model, **changes}))

    @rule(changes=st.dictionaries(keys, st.binary(min_size=49, max_size=49), max_size=4))
    def change_some(self, changes: dict[bytes, bytes]) -> None:
        self.step(changes)

    @rule(count=st.sampled_from([30, 70, 150]), salt=st.integers(0, 3))
    def change_many(self, count: int, salt: int) -> None:
        self.step(some_states(count, salt))

    @rule(salt=st.integers(), where=st.integers(0, 10**6))
    def change_one_again(self, salt: int, where: int) -> None:
        _, model = self.newest
        if model:
            key = sorted(model)[where % len(model)]
            self.step({key: some_state(key, salt)})

    @rule(changes=st.dictionaries(keys, st.binary(min_size=49, max_size=49), max_size=3))
    def plan_and_give_up(self, changes: dict[bytes, bytes]) -> None:
        self.pending.append(self.newest[0].plan(changes))

    @rule()
    def apply_what_was_given_up(self) -> None:
        states, _ = self.newest
        for delta in self.pending:
            if delta.before is states:
                assert states.apply(delta).root == delta.root
            else:
                with pytest.raises(Conflict, match="statemap/stale"):
                    states.apply(delta)

    @rule()
    def compact(self) -> None:
        states, model = self.newest
        self.versions.append((states.compact(), model))

    @rule(asked=st.lists(keys, max_size=4), back=st.integers(0, 30), where=st.integers(0, 10**6))
    def ask_a_version(self, asked: list[bytes], back: int, where: int) -> None:
        states, model = self.versions[-1 - back % len(self.versions)]
        held = sorted(model)
        asked += [held[(where + i * 7) % len(held)] for i in range(4) if held]
        check_version(states, model, asked + asked[:1])

    @invariant()
    def the_root_is_right(self) -> None:
        if hasattr(self, "versions"):
            states, model = self.newest
            assert states.root == oracle.root_of_states(model)


Life.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase


def test_the_empty_map_has_no_root_and_proves_that_nothing_is_there():
    """32 zeros, and a proof of two zero bytes for whatever key."""
    empty = StateMap.empty()

    assert empty.root == bytes(32)
    assert empty.prove([b"\xff" * 32]) == [b"\x00\x00"]
    assert empty.get([]) == []
    assert empty.prove([]) == []
    assert empty.plan({}).pruned() == b"\x00"
    assert empty.apply(empty.plan({})).root == empty.root


@FEW
@given(keys, keys)
def test_one_key_is_its_leaf(key, other):
    """The root is the leaf hash, and the leaf answers for every other key too."""
    state = some_state(key)
    one = StateMap.build({key: state})
    value = oracle.value_of(state)

    assert one.root == oracle.leaf(key, value)
    assert one.prove([key, other]) == [b"\x00\x01" + key + value] * 2
    assert one.plan({other: state}).pruned() == b"\x02" + key + value
    assert one.plan({}).pruned() == b"\x01" + one.root


@FEW
@given(st.lists(keys, max_size=12, unique=True), st.lists(keys, min_size=1, max_size=12))
def test_keys_that_somebody_chose_are_only_keys(held, asked):
    """Long common prefixes, in the map and in the question, change neither answers nor proofs."""
    model = {key: some_state(key) for key in held}

    check_version(StateMap.build(model), model, asked + held)


@pytest.mark.parametrize("shared", [64, 66, 200])
def test_equal_prefixes_are_told_apart(shared):
    """300 keys that share 64 bits or more are found, changed, added to and proven like any others."""
    head = sha256(b"ground").digest()
    keep = (1 << 256) - (1 << 256 - shared)

    def ground(count, seed):
        mixed = ((int.from_bytes(head, "big") & keep) | (int.from_bytes(key, "big") & ~keep) for key in stream(seed))
        return {number.to_bytes(32, "big"): some_state(head, (seed, i)) for i, number in zip(range(count), mixed)}  # noqa: B905

    model = ground(300, "a")
    states = StateMap.build(model)
    for changes in (ground(40, "b"), ground(20, "a"), ground(1, "c")):
        delta = states.plan(changes)
        check_delta(delta, model, {**model, **changes})
        states, model = states.apply(delta), {**model, **changes}
    check_version(states, model, [*itertools.islice(model, 20), *ground(10, "d")])


def test_keys_that_differ_in_the_last_bit_have_a_root_but_no_proof():
    """No proof can be 256 deep; everything else about such a pair works, and proofs beside it."""
    key = sha256(b"twin").digest()
    model = {key: some_state(key), flip(key, 255): some_state(key, 1)}
    states = StateMap.build(model)

    assert states.root == oracle.root_of_states(model)
    check_delta(states.plan({flip(key, 254): bytes(49)}), model, {**model, flip(key, 254): bytes(49)})
    check_version(states, model, [flip(key, depth) for depth in range(255)])
    with pytest.raises(Malformed, match="map-proof/depth"):
        states.prove([key])


def test_a_map_grown_in_any_steps_is_the_same_map():
    """Epochs of one key, small and large ones, through many rewrites of the base: one root, and all proofs hold."""
    model: dict[bytes, bytes] = {}
    states = StateMap.empty()
    kept = []
    fresh = stream("grow")
    tree = sparse.Tree.build({})
    for step, count in enumerate([1] * 80 + [40, 200, 1, 1000, 3, 700, 1200] + [1500] * 6 + [1] * 20):
        changes = {key: some_state(key, step) for key in itertools.islice(fresh, count)}
        changes |= {key: some_state(key, step) for key in itertools.islice(model, step % 3)}
        delta = states.plan(changes)
        values = {key: oracle.value_of(state) for key, state in changes.items()}
        assert delta.pruned() == tree.prune(changes)
        states, tree = states.apply(delta), tree.update(values)
        assert states.root == tree.root
        model |= changes
        if step % 10 == 0:
            kept.append((states, dict(model)))

    assert states.root == oracle.root_of_states(model)
    assert states.generation > 5
    kept.append((states, model))
    for version, then in kept:
        assert version.root == oracle.root_of_states(then)
        check_version(version, then, [*itertools.islice(then, 10), *list(then)[-10:], *list(model)[-10:]])


def test_a_heap_grows_without_hashing_what_nobody_touched():
    """After the buckets were split in two, proofs and changes hash the halves they need, and only those."""
    states = StateMap.build(model := some_states(1024))
    fresh = stream("deeper")
    # Everything new goes to one half of the key space, so that the other half's new nodes stay unhashed.
    high = (key for key in fresh if key[0] >= 128)
    before = states._heap.depth
    for _ in range(20):
        changes = {key: some_state(key) for key in itertools.islice(high, 400)}
        states, model = states.apply(delta := states.plan(changes)), {**model, **changes}
        assert delta.root == oracle.root_of_states(model)
        if states._heap.depth == before + 2:
            break

    assert states._heap.depth == before + 2
    low = [key for key in model if key[0] < 128][:50]
    check_version(states, model, low + [flip(key, 9) for key in low] + list(model)[-50:])
    changes = {flip(key, 20): bytes(49) for key in low}
    check_delta(states.plan(changes), model, {**model, **changes})


def test_a_large_roomy_map_has_at_most_two_nodes_a_key(monkeypatch):
    """From some depth on a roomy heap grows one level later, whether it is grown or made at once; roots stay right."""
    monkeypatch.setattr(statemap, "_LARGE", 7)
    model: dict[bytes, bytes] = {}
    fresh = stream("large")
    states = StateMap.empty(roomy=True)
    depths = []
    for step in range(40):
        changes = {key: some_state(key, step) for key in itertools.islice(fresh, 20 + step)}
        changes |= {key: some_state(key, step) for key in itertools.islice(model, 5)}
        delta = states.plan(changes)
        check_delta(delta, model, {**model, **changes})
        states, model = states.apply(delta), {**model, **changes}
        depths.append(states._heap.depth)

    assert states.root == oracle.root_of_states(model)
    assert depths[-1] > 7
    assert len(states._heap.kinds) <= 2 * len(model)
    check_version(states, model, [*list(model)[:20], *list(model)[-20:]])
    at_once = StateMap.empty(roomy=True)
    at_once = at_once.apply(at_once.plan(model))
    assert at_once.root == states.root
    assert len(at_once._heap.kinds) <= 2 * len(model)


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_where_work_is_cut_into_pieces_makes_no_difference(monkeypatch, chunk):
    """Hashing, moving and proving in pieces of a few rows gives what doing it at once gives."""
    model, changes = some_states(400), some_states(60, "more") | some_states(5)
    asked = [*itertools.islice(model, 8), *some_states(8, "absent")]
    whole = StateMap.build(model)
    delta = whole.plan(changes)
    after = whole.apply(delta).compact()

    for module, name in ((rows, "_CHUNK"), (heap, "_CHUNK"), (hashing, "_CHUNK"), (statemap, "_PROVE_CHUNK")):
        monkeypatch.setattr(module, name, chunk)
    cut = StateMap.build(model)
    cut_delta = cut.plan(changes)
    cut_after = cut.apply(cut_delta).compact()

    assert (cut.root, cut_delta.pruned(), cut_after.root) == (whole.root, delta.pruned(), after.root)
    assert cut_after.prove(asked) == after.prove(asked)
    assert (cut_after.rows.keys == after.rows.keys).all()
    assert (cut_after.rows.states == after.rows.states).all()


def test_lone_keys_above_the_buckets_are_shown_as_they_were():
    """Keys far from all others, some changed since the base was written, end up whole in a pruned tree."""
    crowd = {bytes(1) + key[1:]: some_state(key) for key in some_states(300)}
    lone = {bytes([first]) + bytes(31): some_state(bytes([first])) for first in (0x80, 0x40, 0x20, 0x10, 0x08)}
    model = {**crowd, **lone}
    states = StateMap.build(model)
    moved = {key: some_state(key, "moved") for key in list(lone)[1:4]}
    states, model = states.apply(states.plan(moved)), {**model, **moved}
    assert states.generation == 0

    changes = {key[:1] + b"\xff" * 31: some_state(key) for key in lone}
    check_delta(states.plan(changes), model, {**model, **changes})
    check_version(states, model, [*changes, *lone])


def test_a_change_is_applied_to_the_version_it_was_planned_over_or_not_at_all():
    """Of two changes planned over one version the second is stale; over the new version it can be planned again."""
    base = StateMap.build(some_states(10))
    first, second = base.plan(some_states(1, "x")), base.plan(some_states(1, "y"))
    after = base.apply(first)

    with pytest.raises(Conflict) as refusal:
        after.apply(second)
    assert refusal.value.code == "statemap/stale"
    assert base.apply(second).root == second.root
    assert after.apply(after.plan(second.changes)).size == 12


def test_readers_of_a_version_see_that_version_while_others_are_made():
    """Proofs made during planning, applying and compacting all hold under the root read first."""
    current = [StateMap.build(some_states(500))]
    stop = threading.Event()
    failures = []

    def read() -> None:
        asked = [*some_states(20), *some_states(5, "absent")]
        while not stop.is_set():
            version = current[0]
            for key, proof in zip(asked, version.prove(asked), strict=True):
                try:
                    oracle.read_proof(proof, version.root, key)
                except AssertionError as failure:
                    failures.append(failure)

    reader = threading.Thread(target=read)
    reader.start()
    for epoch in range(60):
        current[0] = current[0].apply(current[0].plan(some_states(25, epoch)))
    stop.set()
    reader.join()

    assert not failures
    assert current[0].generation > 0


@pytest.mark.parametrize("changes", [{b"short": bytes(49)}, {bytes(32): bytes(48)}, {bytes(31): b"", bytes(33): b""}])
def test_a_key_has_32_bytes_and_a_state_49(changes):
    """Anything else is a programmer's mistake, found before it is hashed; so is a key given twice."""
    with pytest.raises(ValueError, match="bytes"):
        StateMap.empty().plan(changes)
    with pytest.raises(ValueError, match="twice"):
        StateMap.from_arrays(np.zeros((2, 32), np.uint8), np.zeros((2, 49), np.uint8))
