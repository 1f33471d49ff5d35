"""SHA-256 over many rows at once: the one place where a faster hasher would go."""

from hashlib import sha256

import numpy as np

from attest.encoding import label_prefix
from attest.statemap.rows import Bytes
from attest.statemap.workers import hash_in_parallel

STATE_SIZE = 49

_CHUNK = 1 << 14  # rows whose Python objects exist at the same time
_STATE_FRAME = label_prefix("state") + STATE_SIZE.to_bytes(4, "big")


def hash_rows(rows: Bytes) -> Bytes:
    """Return SHA-256 of every row of `rows`, (n, width) to (n, 32).

    Everything the map hashes passes through here, and here alone, in batches.
    """
    if (shared := hash_in_parallel(rows)) is not None:
        return shared
    out = np.empty((len(rows), 32), np.uint8)
    words = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1]))).ravel()
    for start in range(0, len(rows), _CHUNK):
        digests = b"".join([sha256(row).digest() for row in words[start : start + _CHUNK].tolist()])
        out[start : start + _CHUNK] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
    return out


def hash_values(states: Bytes) -> Bytes:
    """Return the leaf value of every state: H_label("state", state)."""
    return hash_rows(framed(_STATE_FRAME, states))


def hash_leaves(keys: Bytes, values: Bytes) -> Bytes:
    """Return the leaf hashes H(02 || key || value)."""
    return hash_rows(framed(b"\x02", keys, values))


def hash_nodes(left: Bytes, right: Bytes) -> Bytes:
    """Return the inner hashes H(03 || left || right)."""
    return hash_rows(framed(b"\x03", left, right))


def framed(head: bytes, *parts: Bytes) -> Bytes:
    """Write `head` and then a row of each part into every row."""
    rows = np.empty((len(parts[0]), len(head) + sum(part.shape[1] for part in parts)), np.uint8)
    rows[:, : len(head)] = np.frombuffer(head, np.uint8)
    at = len(head)
    for part in parts:
        rows[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    return rows
