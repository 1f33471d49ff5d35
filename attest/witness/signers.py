"""ML-DSA-44 signatures by processes of their own.

One takes longer than all else that an answer needs, and the library holds the interpreter meanwhile: in another process
it uses another core. They are asked for many signatures at a time: whoever waits for one waits once, and no process
waits for a thread between two.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from typing import Final

import structlog

from attest.crypto.keys import MLDSA44_SIGNATURE, MLDSASigningKey

_MOST: Final = 2  # they keep up with one process that does the rest
_PATIENCE_S: Final = 10.0
_LENGTH: Final = 4  # bytes before a message, and before all of them

_logger = structlog.get_logger("attest.witness")


class SigningProcesses:
    """Sign as the key does. Start them before any thread: they are forks, so the key never leaves memory.

    They end when this process does, however it ends; where none is left, this process signs by itself.
    """

    def __init__(self, key: MLDSASigningKey, count: int | None = None) -> None:
        """Start them; by default as many as there are cores to spare."""
        self._key = key
        self._others: list[socket.socket] = []
        context = multiprocessing.get_context("fork")
        for _ in range(min(_MOST, _cores() - 1) if count is None else count):
            ours, theirs = socket.socketpair()
            context.Process(target=_sign, args=(key, theirs, ours), daemon=True).start()
            theirs.close()
            ours.settimeout(_PATIENCE_S)
            self._others.append(ours)

    def sign_all(self, messages: Sequence[bytes]) -> list[bytes]:
        """Return the 2,420-byte signature of each message. For one thread at a time."""
        others = self._others[: len(messages)]
        if not others:
            return [self._key.sign(message) for message in messages]
        signatures = [b""] * len(messages)
        shares = [messages[n :: len(others)] for n in range(len(others))]
        for other, share in zip(others, shares, strict=True):
            # Who is gone does not answer either.
            with contextlib.suppress(OSError):
                other.sendall(_counted(b"".join(map(_counted, share))))
        for n, (other, share) in enumerate(zip(others, shares, strict=True)):
            try:
                found = [_receive(other, MLDSA44_SIGNATURE) for _ in share]
            except OSError:
                self._others.remove(other)
                other.close()
                _logger.warning("a signing process is gone", left=len(self._others))
                found = [self._key.sign(message) for message in share]
            signatures[n :: len(others)] = found
        return signatures


def _sign(key: MLDSASigningKey, other: socket.socket, not_ours: socket.socket) -> None:
    not_ours.close()
    # Ctrl-C goes to every process of the terminal; the one that serves says when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        while True:
            # All is read before anything is written, so neither side waits for the other to read.
            rest = _receive(other, int.from_bytes(_receive(other, _LENGTH), "big"))
            while rest:
                end = _LENGTH + int.from_bytes(rest[:_LENGTH], "big")
                other.sendall(key.sign(rest[_LENGTH:end]))
                rest = rest[end:]


def _counted(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH, "big") + message


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
