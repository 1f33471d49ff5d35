"""More than one core for hashing: worker processes that take a share of every large batch.

Rows and digests lie in memory that all processes share. Tickets, each for some rows, lie in a pipe that all of them
read, so whoever is free takes the next one and nobody waits for long. What a worker that dies leaves behind is hashed
here: the result never depends on workers, only the time does.
"""

import contextlib
import mmap
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from attest.statemap import hash_worker
from attest.statemap.hash_worker import ANSWER, TICKET
from attest.statemap.rows import Bytes

_ROWS: Final = 1 << 16  # hashed at a time
_WIDTH: Final = 128  # bytes of the widest row
_FEWEST: Final = 512  # rows that are worth waking somebody for
_OUTPUTS: Final = _ROWS * _WIDTH
_SIZE: Final = _OUTPUTS + _ROWS * 32
_END_S: Final = 5.0  # for a worker to end


class Workers:
    """Processes that hash for this one. Any thread may ask; who finds them busy hashes alone."""

    def __init__(self, count: int) -> None:
        """Start `count` processes."""
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._answers: list[int] = []
        self._file = os.memfd_create("attest") if hasattr(os, "memfd_create") else _unnamed()
        os.truncate(self._file, _SIZE)
        self._arena = mmap.mmap(self._file, _SIZE)
        self._tickets, self._counter = os.pipe()
        os.set_blocking(self._tickets, False)
        self._open = True
        for _ in range(count):
            self._start()

    def _start(self) -> None:
        read, write = os.pipe()
        self._answers.append(read)
        try:
            passed = (self._file, self._tickets, write)
            numbers = [str(number) for number in (*passed, _SIZE, _OUTPUTS)]
            # Not a fork: the parent may have threads. Not our package: a worker is ready in some 20 ms and 10 MB.
            command = [sys.executable, "-I", "-S", str(Path(hash_worker.__file__)), *numbers]
            self._processes.append(subprocess.Popen(command, pass_fds=passed, stdin=subprocess.DEVNULL))
        finally:
            os.close(write)

    def hash_rows(self, rows: Bytes) -> Bytes | None:
        """Return SHA-256 of every row, or None if it has to be done elsewhere."""
        if len(rows) < _FEWEST or rows.shape[1] > _WIDTH or not self._lock.acquire(blocking=False):
            return None
        try:
            if not self._open:
                return None
            out = np.empty((len(rows), 32), np.uint8)
            for start in range(0, len(rows), _ROWS):
                part = rows[start : start + _ROWS]
                self._hash(part)
                digests = np.frombuffer(self._arena, np.uint8, 32 * len(part), _OUTPUTS)
                out[start : start + _ROWS] = digests.reshape(-1, 32)
                del digests  # or the arena could not be closed
            return out
        except BaseException:
            # Somebody may still be writing into the arena: nothing after this may rely on it.
            self._close()
            raise
        finally:
            self._lock.release()

    def _hash(self, rows: Bytes) -> None:
        count, width = rows.shape
        self._arena[: count * width] = rows.tobytes()
        step = min(max(count // (8 * (1 + len(self._processes))), _FEWEST // 4), 4096)
        missing = {start: min(start + step, count) for start in range(0, count, step)}
        os.write(self._counter, b"".join(TICKET.pack(start, stop, width) for start, stop in missing.items()))
        while ticket := hash_worker.take_ticket(self._tickets):
            start, stop, _ = TICKET.unpack(ticket)
            hash_worker.hash_range(self._arena, _OUTPUTS, start, stop, width)
            del missing[start]
        while missing:
            for answers in select.select(self._answers, [], [])[0]:
                said = os.read(answers, 1 << 12)
                for (start,) in ANSWER.iter_unpack(said):
                    del missing[start]
                if not said:
                    self._finish(missing, width)
                    return

    def _finish(self, missing: dict[int, int], width: int) -> None:
        """Hash what a worker that died has left, and go on without any."""
        self._end()
        for start, stop in missing.items():
            hash_worker.hash_range(self._arena, _OUTPUTS, start, stop, width)

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._end()
        with contextlib.suppress(BufferError):  # an exception on its way may hold a view; it goes with it
            self._arena.close()

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        for handle in (self._counter, self._tickets, *self._answers, self._file):
            os.close(handle)
        for process in self._processes:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _unnamed() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


_current: Workers | None = None


@contextlib.contextmanager
def parallel(processes: int) -> Iterator[None]:
    """Let state maps hash with so many processes, this one included, until the block ends.

    Roots, proofs and errors are the same with any number. Inside another such block it changes nothing.
    """
    global _current
    if _current is not None:
        yield
        return
    workers = Workers(processes - 1) if processes > 1 else None
    _current = workers
    try:
        yield
    finally:
        _current = None
        if workers is not None:
            workers.close()


def hash_in_parallel(rows: Bytes) -> Bytes | None:
    """Return SHA-256 of every row, (n, width) to (n, 32); None where a single process is to do it."""
    return None if _current is None else _current.hash_rows(rows)
