"""The store of maps: whatever is loaded is the version asked for, wherever the writer was cut off."""

import itertools
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attest.errors import Unavailable
from attest.statemap import MapStore, StateMap
from tests.statemap.test_statemap import check_version, some_states

NAMES = ("acme.example/crm", "acme.example/photos")


class Crash(Exception):
    """The power fails."""


class Auditor:
    """Somebody who keeps maps: what is in `stored` is what their own state file says."""

    def __init__(self, directory):
        self.directory = directory
        self.models = {name: {} for name in NAMES}
        self.stored = {}  # name → (token, root, model)
        self.start()

    def start(self):
        """Go on from what is stored, and check all of it against the model."""
        self.store = MapStore(self.directory)
        self.maps = {name: StateMap.empty(roomy=name == NAMES[0]) for name in NAMES}
        self.models = {name: {} for name in NAMES}
        for name, (token, root, model) in self.stored.items():
            self.maps[name] = self.store.load(name, token, root)
            self.models[name] = dict(model)
            check_version(self.maps[name], model, [*list(model)[::50], *some_states(3, "absent")])
            MapStore(self.directory).check(name, token, root)

    def change(self, name, changes):
        delta = self.maps[name].plan(changes)
        self.maps[name] = self.maps[name].apply(delta)
        self.models[name] = {**self.models[name], **changes}

    def save(self):
        saved = {}
        for name, states in self.maps.items():
            saved[name] = (self.store.save(name, states), states.root, dict(self.models[name]))
        self.stored = saved  # one rename
        self.store.keep({name: token for name, (token, *_) in saved.items()})

    def files(self):
        return {path: path.read_bytes() for path in self.directory.rglob("*") if path.is_file()}


STEPS = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(NAMES), st.sampled_from([1, 3, 40, 300]), st.integers(0, 5)),
    st.tuples(st.just("save")),
    st.tuples(st.just("restart")),
)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=3, max_size=12))
def test_whoever_goes_on_from_the_store_has_the_same_maps(tmp_path_factory, steps):
    """Any order of growing, saving and starting again: same states, roots and proofs as if nothing had stopped."""
    auditor = Auditor(tmp_path_factory.mktemp("maps"))
    for step, *arguments in steps:
        if step == "change":
            name, count, seed = arguments
            auditor.change(name, some_states(count, seed))
        elif step == "save":
            auditor.save()
        else:
            auditor.start()
    for name in NAMES:
        assert auditor.maps[name].root == StateMap.build(auditor.models[name]).root
    auditor.save()
    auditor.start()


@pytest.mark.parametrize("leftover", ["whole", "cut", "none"])
def test_a_crash_at_any_write_leaves_the_versions_stored_before(tmp_path, monkeypatch, leftover):
    """Die when the nth file is being made durable, for every n; what it left, whole or not, disturbs nobody."""
    sync = os.fsync
    for nth in itertools.count():
        auditor = Auditor(tmp_path / str(nth))
        for name in NAMES:
            auditor.change(name, some_states(400))
        auditor.save()
        before = set(auditor.files())
        auditor.change(NAMES[0], some_states(300, "later"))
        auditor.change(NAMES[1], some_states(7, "later"))
        left = itertools.count(nth, -1)

        def crash(handle, left=left):
            if next(left) == 0:
                raise Crash
            sync(handle)

        monkeypatch.setattr(os, "fsync", crash)
        try:
            auditor.save()
        except Crash:
            monkeypatch.setattr(os, "fsync", sync)
            for path in set(auditor.files()) - before:
                if leftover == "cut":
                    path.write_bytes(path.read_bytes()[:100])
                elif leftover == "none":
                    path.unlink()
            auditor.start()
            auditor.change(NAMES[0], some_states(5, "after"))
            auditor.save()
            auditor.start()
        else:
            assert nth == 6  # two files, and twice their directories
            return


def test_only_what_is_new_is_written(tmp_path):
    """A few changes of a large map cost a few rows and the nodes above them, not the map."""
    store, states = MapStore(tmp_path), StateMap.build(some_states(20_000))
    states = StateMap.from_rows(states.rows)
    token = store.save("db", states)
    store.keep({"db": token})
    loaded = MapStore(tmp_path)
    states = loaded.load("db", token, states.root)
    before = {path.name for path in tmp_path.rglob("?")}
    states = states.apply(states.plan(some_states(10, "later")))
    token = loaded.save("db", states)
    written = [path for path in tmp_path.rglob("?") if path.name not in before]

    assert sum(path.stat().st_size for path in written) < 20_000
    assert MapStore(tmp_path).load("db", token, states.root).get(list(some_states(10, "later"))) == list(
        some_states(10, "later").values()
    )


def test_an_old_version_that_is_saved_again_is_written_again(tmp_path):
    """What `keep` removed is not taken for written."""
    store, old = MapStore(tmp_path), StateMap.build(some_states(10))
    store.save("db", old)
    new = old.apply(old.plan(some_states(300, "later")))
    store.keep({"db": store.save("db", new)})
    token = store.save("db", old)

    assert MapStore(tmp_path).load("db", token, old.root).size == 10


def test_maps_that_nobody_names_are_removed(tmp_path):
    """And what others left in the directory stays."""
    store = MapStore(tmp_path)
    store.save("db", StateMap.build(some_states(10)))
    (tmp_path / "note").write_text("mine")
    store.keep({})

    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def saved(directory, roomy):
    states = StateMap.empty(roomy=roomy)
    for count, seed in ((3_000, 0), (200, 1), (20, 2)):
        states = states.apply(states.plan(some_states(count, seed)))
    assert len(states._layers) > 1
    return MapStore(directory).save("db", states), states.root


@pytest.mark.parametrize("roomy", [False, True])
def test_a_rotten_byte_is_found_before_anybody_is_accused(tmp_path, roomy):
    """Flip one byte anywhere: the version is refused, or what it says is checked and still true."""
    token, root = saved(tmp_path, roomy)
    MapStore(tmp_path).check("db", token, root)
    found = 0
    for path in sorted(tmp_path.rglob("?")):
        whole = path.read_bytes()
        for at in range(0, len(whole), len(whole) // 13):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
            try:
                MapStore(tmp_path).check("db", token, root)
            except Unavailable as error:
                assert error.code == "statemap/store"
                found += 1
            else:
                # Node 0 does not exist, and what a newer layer says anew is read from there.
                states = MapStore(tmp_path).load("db", token, root)
                assert StateMap.from_rows(states.rows).root == root
        path.write_bytes(whole)

    assert found > 20


@pytest.mark.parametrize("damage", ["cut", "longer", "gone"])
def test_a_damaged_file_is_refused_when_it_is_loaded(tmp_path, damage):
    """Nothing is computed from a file of another length."""
    token, root = saved(tmp_path, True)
    path = max(tmp_path.rglob("?"))
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else path.read_bytes() + b"\0")

    with pytest.raises(Unavailable, match="statemap/store"):
        MapStore(tmp_path).load("db", token, root)


def test_another_version_than_the_one_asked_for_is_refused(tmp_path):
    """By its root."""
    token, root = saved(tmp_path, False)

    with pytest.raises(Unavailable, match="has root"):
        MapStore(tmp_path).load("db", token, bytes(32))
    with pytest.raises(Unavailable, match="statemap/store"):
        MapStore(tmp_path).load("other", token, root)


@pytest.mark.parametrize(
    "token", ["", "1", "1.0.0.1", "1.2.0.1.3", "1.0.0.1.0", "1.0.0.1.49", "1.0.0.1.3.4", "+1.0.0.1.3", "-1.0.0.1.3"]
)
def test_a_token_has_one_form(tmp_path, token):
    """What this store has not written is not read."""
    with pytest.raises(Unavailable, match="token"):
        MapStore(tmp_path).load("db", token, bytes(32))
