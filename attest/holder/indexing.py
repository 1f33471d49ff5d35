"""From locators to VRF outputs, in bulk: known locators by their tag, the others on all cores.

The tag of a locator is a MAC under a key derived from the VRF secret. It costs a few microseconds where the VRF costs
some two hundred, so a nightly run over mostly unchanged tables is bound by reading, not by curve arithmetic. Whoever
has the vault without the VRF secret can do nothing with tags; whoever has the secret does not need them.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Final, Self

from attest.crypto import commitment, vrf
from attest.encoding import labelled

BATCH: Final = 4096  # locators staged at a time
_PARALLEL_FROM: Final = 2048  # below this a pool costs more than it saves
_CHUNK: Final = 256

_worker: vrf.Prover | None = None


def tag_key(secret: bytes) -> bytes:
    """Derive the key of tags from the VRF secret."""
    return labelled("vault-tag", secret)


class Indexer:
    """Evaluates locators, with a pool of processes once there is work for it. The secret never leaves this machine."""

    def __init__(self, secret: bytes, *, workers: int | None = None) -> None:
        """Take the VRF secret. `workers`: processes; None for one per core, 1 for none besides this one."""
        self.prover = vrf.Prover(secret)
        self._secret = secret
        self._key = tag_key(secret)
        self._workers = workers if workers is not None else _cores()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def tag(self, locator: str) -> bytes:
        """Return the 16-byte tag of a canonical locator."""
        return hashlib.blake2b(locator.encode("ascii"), key=self._key, digest_size=16).digest()

    def betas(self, locators: Sequence[str]) -> list[bytes]:
        """Evaluate each locator, in order."""
        return self.start(locators)()

    def start(self, locators: Sequence[str]) -> Callable[[], list[bytes]]:
        """Begin to evaluate, if there is a pool in the background; call the result for the VRF outputs, in order."""
        if self._workers < 2 or (self._pool is None and len(locators) < _PARALLEL_FROM):
            return lambda: [self.prover.evaluate(commitment.alpha(locator)) for locator in locators]
        if self._pool is None:
            # Not forked: this process may have threads, and a forked child would inherit their locks.
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(self._secret,)
            )
        parts = [locators[at : at + _CHUNK] for at in range(0, len(locators), _CHUNK)]
        found = self._pool.map(_evaluate, parts)
        return lambda: [beta for part in found for beta in part]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(secret: bytes) -> None:
    global _worker
    _worker = vrf.Prover(secret)


def _evaluate(locators: Sequence[str]) -> list[bytes]:
    if _worker is None:
        raise RuntimeError("the pool was not started")
    return [_worker.evaluate(commitment.alpha(locator)) for locator in locators]
