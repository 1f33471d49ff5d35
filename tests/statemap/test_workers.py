"""Worker processes: they change how long hashing takes, and nothing else."""

import signal
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from attest.statemap import StateMap, hash_worker, parallel
from attest.statemap.hashing import hash_rows
from attest.statemap.workers import Workers, hash_in_parallel
from tests.statemap.test_statemap import some_states


def some_rows(count, width):
    return np.random.default_rng(7).integers(0, 256, (count, width), np.uint8)


def expected(rows):
    return b"".join(sha256(row.tobytes()).digest() for row in rows)


@pytest.fixture
def workers():
    started = Workers(2)
    yield started
    started.close()


@pytest.mark.parametrize("count", [512, 513, 5_000, 65_536 + 600])
@pytest.mark.parametrize("width", [1, 65, 128])
def test_workers_hash_what_hashlib_hashes(workers, count, width):
    """Every row once, in order, however the batch is cut into pieces."""
    rows = some_rows(count, width)
    found = workers.hash_rows(rows)

    assert found is not None
    assert found.tobytes() == expected(rows)


def test_small_and_wide_batches_are_left_to_the_caller(workers):
    """Waking somebody for a few rows costs more than it gains, and memory is laid out for narrow rows."""
    assert workers.hash_rows(some_rows(511, 65)) is None
    assert workers.hash_rows(some_rows(600, 129)) is None


def test_what_a_killed_worker_leaves_is_hashed_all_the_same(workers):
    """Whenever it dies, before a batch or in it, the hashes are right; later batches are left to the caller."""
    rows = some_rows(60_000, 65)
    killer = threading.Timer(0.01, workers._processes[0].kill)
    killer.start()
    found = []
    while (each := workers.hash_rows(rows)) is not None:
        found.append(each.tobytes())
    killer.join()

    assert set(found) == {expected(rows)}


def test_a_batch_that_is_broken_off_is_not_mixed_with_the_next(workers, monkeypatch):
    """Ctrl-C in the middle: no later batch may meet what is still being written."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(hash_worker, "hash_range", interrupted)
    with pytest.raises(KeyboardInterrupt):
        workers.hash_rows(some_rows(60_000, 65))

    assert workers.hash_rows(some_rows(600, 65)) is None
    assert all(process.returncode == 0 for process in workers._processes)


def test_threads_that_hash_at_the_same_time_do_not_mix(workers):
    """Who finds the workers busy hashes alone."""
    batches = [some_rows(5_000, width) for width in (33, 65, 70, 97)]
    wrong = []

    def work(rows):
        for _ in range(10):
            found = workers.hash_rows(rows)
            if found is not None and found.tobytes() != expected(rows):
                wrong.append(rows.shape)

    threads = [threading.Thread(target=work, args=(rows,)) for rows in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_map_is_the_same_map_with_workers():
    """Roots, pruned trees and proofs, while a map grows; and once the block has ended, hashing goes on alone."""
    model, changes = some_states(3_000), some_states(2_000, "later")
    alone = StateMap.build(model)
    with parallel(2):
        shared = StateMap.build(model)
        before, after = alone.plan(changes), shared.plan(changes)
        assert (after.root, after.pruned()) == (before.root, before.pruned())
        shared = shared.apply(after)
        asked = [*model][::100]
        assert shared.prove(asked) == alone.apply(before).prove(asked)
    rows = some_rows(600, 65)
    assert hash_rows(rows).tobytes() == expected(rows)


def test_a_block_inside_another_has_the_workers_of_the_outer_one():
    """And does not end them."""
    rows = some_rows(600, 65)
    with parallel(2):
        with parallel(3):
            pass
        assert hash_in_parallel(rows).tobytes() == expected(rows)
    assert hash_in_parallel(rows) is None


_PARENT = """
import os, signal, sys, numpy
from attest.statemap.workers import Workers, hash_in_parallel
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have left it ignored
workers = Workers(2)
workers.hash_rows(numpy.zeros((4096, 65), numpy.uint8))
print(*(process.pid for process in workers._processes), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(how):
    """However it ends, cleaning up or not."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(how)
        parent.wait(10)
    deadline = time.monotonic() + 10
    while any(map(_runs, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it may end while it is read
        return False
