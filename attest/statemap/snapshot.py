"""Snapshots of a state map: three .npy files, which can be mapped into memory.

The caller writes into a directory aside, keeps the digests in its manifest, and renames the directory. A snapshot is a
convenience, never evidence: loading hashes every row, and the root decides.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attest.encoding import Hash
from attest.errors import Unavailable
from attest.statemap.hashing import STATE_SIZE
from attest.statemap.rows import Rows
from attest.statemap.statemap import StateMap

_SHAPES: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
    "prefix.npy": (np.dtype("<u8"), ()),
    "rest.npy": (np.dtype("u1"), (24,)),
    "states.npy": (np.dtype("u1"), (STATE_SIZE,)),
}


def write_snapshot(states: StateMap, directory: Path) -> dict[str, Hash]:
    """Write one version durably into an existing directory. Returns SHA-256 by file name."""
    rows = states.rows
    digests = {}
    columns: tuple[NDArray[Any], ...] = (rows.prefix, rows.rest, rows.states)
    for name, column in zip(_SHAPES, columns, strict=True):
        path = directory / name
        with path.open("xb") as file:
            np.lib.format.write_array(file, column, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").digest()
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return digests


def load_snapshot(directory: Path, expected_root: Hash, *, memory_map: bool = False) -> StateMap:
    """Read a snapshot back and hash all of it.

    Args:
        memory_map: leave the rows in the page cache, which several processes share, and read them as needed. Nobody
            may change the files as long as the map lives; removing them is fine.

    Raises:
        Unavailable: `statemap/snapshot`, it is incomplete or not of the version with this root.
    """
    columns = [_load(directory / name, dtype, shape, memory_map) for name, (dtype, shape) in _SHAPES.items()]
    if len({len(column) for column in columns}) > 1:
        raise Unavailable("statemap/snapshot", f"the files in {directory} have different lengths")
    prefix, rest, states = columns
    rows = Rows(prefix, rest, states, np.empty((len(prefix), 0), np.uint8))
    # Hashing cuts by position and by prefix, which agree only in order.
    if not rows.ascending():
        raise Unavailable("statemap/snapshot", f"the keys in {directory} do not ascend")
    loaded = StateMap.from_rows(rows)
    if loaded.root != expected_root:
        raise Unavailable("statemap/snapshot", f"{directory} has root {loaded.root.hex()}, want {expected_root.hex()}")
    return loaded


def _load(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], memory_map: bool) -> NDArray[Any]:
    try:
        if memory_map:
            column = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with path.open("rb") as file:
                column = np.load(file, allow_pickle=False)
                if file.read(1):
                    raise ValueError("goes on behind its array")
    except (OSError, ValueError, EOFError) as error:
        raise Unavailable("statemap/snapshot", f"{path}: {error}") from None
    if not isinstance(column, np.ndarray) or column.dtype != dtype or column.shape[1:] != shape:
        raise Unavailable("statemap/snapshot", f"{path} holds something else")
    if not column.ndim or not column.flags.c_contiguous:
        raise Unavailable("statemap/snapshot", f"{path} is not stored row by row")
    return column.view(np.ndarray)
