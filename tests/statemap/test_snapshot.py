"""Snapshots: whatever is read back is the version asked for, or nothing."""

import hashlib

import numpy as np
import pytest

from attest.errors import Unavailable
from attest.statemap import StateMap, load_snapshot, write_snapshot
from tests.statemap.test_statemap import check_version, some_states


@pytest.mark.parametrize("memory_map", [False, True])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_a_snapshot_is_the_version_it_was_taken_of(tmp_path, count, memory_map):
    """With layers above the base or without, read or mapped, it proves and goes on."""
    model = some_states(count)
    states = StateMap.build(model)
    if count:
        states, model = states.apply(states.plan(some_states(5, "late"))), {**model, **some_states(5, "late")}
    digests = write_snapshot(states, tmp_path)
    loaded = load_snapshot(tmp_path, states.root, memory_map=memory_map)

    assert {path.name: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.iterdir()} == digests
    assert loaded.root == states.root
    check_version(loaded, model, [*list(model)[:20], *some_states(5, "absent")])
    further = some_states(400, "further")
    after = loaded.apply(loaded.plan(further))
    assert after.root == states.plan(further).root
    check_version(after, {**model, **further}, list(further)[:20])


def _flip_a_bit(directory):
    path = directory / "states.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _swap_rows(directory):
    for name in ("prefix.npy", "rest.npy", "states.npy"):
        column = np.load(directory / name)
        column[[3, 4]] = column[[4, 3]]
        np.save(directory / name, column)


def _cut(directory):
    path = directory / "rest.npy"
    path.write_bytes(path.read_bytes()[:-1])


def _drop_a_row(directory):
    np.save(directory / "prefix.npy", np.load(directory / "prefix.npy")[:-1])


def _transpose(directory):
    np.save(directory / "states.npy", np.asfortranarray(np.load(directory / "states.npy")))


def _change_type(directory):
    np.save(directory / "prefix.npy", np.load(directory / "prefix.npy").astype(np.int64))


def _pickle(directory):
    np.save(directory / "rest.npy", np.array([{}], dtype=object), allow_pickle=True)


def _empty_file(directory):
    (directory / "states.npy").write_bytes(b"")


def _remove(directory):
    (directory / "states.npy").unlink()


@pytest.mark.parametrize("memory_map", [False, True])
@pytest.mark.parametrize(
    "damage",
    [_flip_a_bit, _swap_rows, _cut, _drop_a_row, _transpose, _change_type, _pickle, _empty_file, _remove],
)
def test_a_damaged_snapshot_is_refused(tmp_path, damage, memory_map):
    """Nothing of it is used, whatever is wrong with it."""
    states = StateMap.build(some_states(50))
    write_snapshot(states, tmp_path)
    damage(tmp_path)

    with pytest.raises(Unavailable) as refusal:
        load_snapshot(tmp_path, states.root, memory_map=memory_map)
    assert refusal.value.code == "statemap/snapshot"


def test_a_snapshot_of_another_version_is_refused(tmp_path):
    """A sound snapshot of yesterday is not today's map."""
    states = StateMap.build(some_states(50))
    write_snapshot(states, tmp_path)
    after = states.apply(states.plan(some_states(1, "more")))

    with pytest.raises(Unavailable):
        load_snapshot(tmp_path, after.root)
    with pytest.raises(FileExistsError):
        write_snapshot(after, tmp_path)
