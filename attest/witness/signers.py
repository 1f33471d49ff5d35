"""ML-DSA-44 signatures by processes of their own.

One takes longer than all else that an answer needs, and the library holds the interpreter meanwhile: in another process
it uses another core.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import socket
from typing import Final

import structlog

from attest.crypto.keys import MLDSA44_SIGNATURE, MLDSASigningKey

_MOST: Final = 2  # they keep up with one process that does the rest
_PATIENCE_S: Final = 10.0
_LENGTH: Final = 4  # bytes before a message

_logger = structlog.get_logger("attest.witness")


class SigningProcesses:
    """Sign as the key does. Start them before any thread: they are forks, so the key never leaves memory.

    They end when this process does, however it ends; where none is left, this process signs by itself.
    """

    def __init__(self, key: MLDSASigningKey, count: int | None = None) -> None:
        """Start them; by default as many as there are cores to spare."""
        self.public = key.public
        self._key = key
        self._free: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._left = 0
        context = multiprocessing.get_context("fork")
        for _ in range(min(_MOST, _cores() - 1) if count is None else count):
            ours, theirs = socket.socketpair()
            context.Process(target=_sign, args=(key, theirs, ours), daemon=True).start()
            theirs.close()
            ours.settimeout(_PATIENCE_S)
            self._free.put(ours)
            self._left += 1

    def sign(self, message: bytes) -> bytes:
        """Return the 2,420-byte signature."""
        while self._left:
            try:
                other = self._free.get(timeout=_PATIENCE_S)
            except queue.Empty:
                break
            try:
                other.sendall(len(message).to_bytes(_LENGTH, "big") + message)
                signature = _receive(other, MLDSA44_SIGNATURE)
            except OSError:
                self._left -= 1
                other.close()
                _logger.warning("a signing process is gone", left=self._left)
                continue
            self._free.put(other)
            return signature
        return self._key.sign(message)


def _sign(key: MLDSASigningKey, other: socket.socket, not_ours: socket.socket) -> None:
    not_ours.close()
    # Ctrl-C goes to every process of the terminal; the one that serves says when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        while True:
            length = int.from_bytes(_receive(other, _LENGTH), "big")
            other.sendall(key.sign(_receive(other, length)))


def _receive(other: socket.socket, size: int) -> bytes:
    """Read so many bytes. Raises `OSError`, also where the other side is gone."""
    found = other.recv(size)
    while len(found) < size:
        if not (more := other.recv(size - len(found))):
            raise ConnectionError("the other side is gone")
        found += more
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0))
