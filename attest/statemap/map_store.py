"""State maps in a directory of one's own, to go on from: only what is new is written, loading reads next to nothing.

A version consists of a base and of layers above it, which never change: each is a file. A token names the files of one
version. It is good once it is returned, and for as long as `keep` is told of it; so whoever stores the token, aside and
renamed, has all maps or those from before, wherever it is cut off.

What is loaded is believed without being hashed. Whoever finds with it that somebody lied has to `check` it first: it
may be the own disk that lies.
"""

import mmap
import os
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from attest.encoding import Hash, parse_decimal
from attest.errors import Malformed, Unavailable
from attest.statemap.hashing import STATE_SIZE, hash_leaves, hash_values
from attest.statemap.heap import UNKNOWN, Heap, Nodes
from attest.statemap.rows import Bytes, Indexes, Rows
from attest.statemap.statemap import Layer, StateMap

_MAX_DEPTH: Final = 48  # of a heap
_MAX_LAYERS: Final = 64
_CHUNK: Final = 1 << 17  # rows hashed at a time


class MapStore:
    """Versions of state maps, by name, in one directory. For one process at a time."""

    def __init__(self, directory: Path) -> None:
        """Use a directory, which need not exist."""
        self._directory = directory
        # What is in memory and in a file: nobody writes it again. Weak, so that an old base is let go.
        self._files: dict[str, WeakKeyDictionary[Heap | Layer, int]] = {}

    def save(self, name: str, states: StateMap) -> str:
        """Write durably what was not written before. Returns the version's token, ASCII without white space.

        Raises:
            OSError: the disk is full or broken; tokens returned before stay good.
        """
        folder = self._folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        known = self._files.setdefault(name, WeakKeyDictionary())
        heap, base, layers = states._heap, states._rows, states._layers
        if heap not in known:
            known[heap] = self._write(folder, base, None, heap.hashes, heap.kinds)
        for layer in layers:
            if layer not in known:
                nodes = layer.nodes
                known[layer] = self._write(folder, layer.rows, nodes.ids, nodes.hashes, nodes.kinds)
        _sync(folder)
        _sync(self._directory)
        numbers = [states.size, int(states._roomy), known[heap], len(base), heap.depth]
        for layer in layers:
            numbers += known[layer], len(layer.rows), len(layer.nodes.ids)
        return ".".join(map(str, numbers))

    def load(self, name: str, token: str, expected_root: Hash) -> StateMap:
        """Map a version into memory: its rows and nodes are read when they are needed.

        Raises:
            Unavailable: `statemap/store`, it is not there, cut off, or has another root.
        """
        size, roomy, first, count, depth, *rest = self._parse(token)
        base, _, hashes, kinds = self._read(name, first, count, 2 << depth, roomy=bool(roomy), base=True)
        heap = Heap(depth, hashes, kinds)
        layers = []
        known: WeakKeyDictionary[Heap | Layer, int] = WeakKeyDictionary()
        known[heap] = first
        for number, rows, nodes in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            layer_rows, ids, hashes, kinds = self._read(name, number, rows, nodes, roomy=bool(roomy), base=False)
            layers.append(layer := Layer(layer_rows, Nodes(ids, hashes, kinds)))
            known[layer] = number
        states = StateMap(base, heap, tuple(layers), size=size, generation=0, roomy=bool(roomy))
        self._files[name] = known
        if states.root != expected_root:
            raise _unusable(f"the version {token} of {name} has root {states.root.hex()}, want {expected_root.hex()}")
        return states

    def check(self, name: str, token: str, expected_root: Hash) -> None:
        """Hash all of a version, and compare it with everything that was kept.

        Raises:
            Unavailable: `statemap/store`, it is not what was saved.
        """
        states = self.load(name, token, expected_root)
        heap = states._heap
        for rows, ids in ((states._rows, None), *((layer.rows, layer.nodes.ids) for layer in states._layers)):
            # Merging what is out of order would go wrong somewhere else.
            if not rows.ascending() or (ids is not None and not _are_nodes(ids, heap.depth)):
                raise _unusable(f"the keys or nodes kept of {name} do not ascend")
        states = states.compact()
        heap, rows = states._heap, states._rows
        right = Heap.build(replace(rows, leaves=np.empty((len(rows), 0), np.uint8)), heap.depth)
        if right.hashes[1].tobytes() != expected_root or len(rows) != states.size:
            raise _unusable(f"the {len(rows)} rows kept of {name} have root {right.hashes[1].tobytes().hex()}")
        known = heap.kinds != UNKNOWN
        known[0] = False
        if bool((heap.kinds != right.kinds)[known].any()) or bool((heap.hashes != right.hashes)[known].any()):
            raise _unusable(f"the nodes kept of {name} are not those of its rows")
        for start in range(0, len(rows) if states._roomy else 0, _CHUNK):
            part = rows.take(np.arange(start, min(start + _CHUNK, len(rows))))
            if bool((hash_leaves(part.keys, hash_values(part.states)) != part.leaves).any()):
                raise _unusable(f"the leaf hashes kept of {name} are not those of its rows")

    def keep(self, tokens: Mapping[str, str]) -> None:
        """Remove every file that these versions, by name, do not need. To be called once their tokens are stored."""
        wanted: dict[Path, set[int]] = {}
        for name, token in tokens.items():
            _, _, base, _, _, *layers = self._parse(token)
            wanted[self._folder(name)] = {base, *layers[::3]}
        for name, known in self._files.items():
            for kept, number in list(known.items()):
                if number not in wanted.get(self._folder(name), ()):
                    del known[kept]
        for folder in self._directory.glob("?" * 64):
            for path in folder.iterdir():
                if path.name not in map(str, wanted.get(folder, ())):
                    path.unlink()
            if folder not in wanted:
                folder.rmdir()

    def _folder(self, name: str) -> Path:
        return self._directory / sha256(name.encode()).hexdigest()

    def _parse(self, token: str) -> list[int]:
        try:
            numbers = [parse_decimal(part) for part in token.split(".")]
        except Malformed:
            numbers = []
        fits = len(numbers) >= 5 and not (len(numbers) - 5) % 3 and len(numbers) <= 5 + 3 * _MAX_LAYERS
        if not fits or numbers[1] > 1 or not 1 <= numbers[4] <= _MAX_DEPTH:
            raise _unusable("a token that this store has not written")
        return numbers

    def _write(self, folder: Path, rows: Rows, ids: Indexes | None, hashes: Bytes, kinds: Bytes) -> int:
        """Write one file; return its number."""
        number = 1 + max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=-1)
        with (folder / str(number)).open("xb") as file:
            numbers: list[NDArray[Any]] = [rows.prefix] if ids is None else [rows.prefix, ids]
            columns = [column.astype(column.dtype.newbyteorder("<"), copy=False) for column in numbers]
            for column in (*columns, rows.rest, rows.states, rows.leaves, hashes, kinds):
                if column.size:
                    file.write(np.ascontiguousarray(column).data.cast("B"))
            file.flush()
            os.fsync(file.fileno())
        return number

    def _read(
        self, name: str, number: int, rows: int, nodes: int, *, roomy: bool, base: bool
    ) -> tuple[Rows, Indexes, Bytes, Bytes]:
        """Map one file: rows, and the ids (none in a base), hashes and kinds of nodes."""
        width = 32 if roomy else 0
        ids = 0 if base else nodes
        want = rows * (8 + 24 + STATE_SIZE + width) + 8 * ids + 33 * nodes
        try:
            with (self._folder(name) / str(number)).open("rb") as file:
                if os.fstat(file.fileno()).st_size != want:
                    raise _unusable(f"file {number} of {name} has not {want} bytes")
                content = mmap.mmap(file.fileno(), want, access=mmap.ACCESS_READ)
        except OSError as error:
            raise _unusable(f"file {number} of {name}: {error.strerror}") from None
        at = 0

        def column(count: int, width: int, dtype: str = "u1") -> NDArray[Any]:
            nonlocal at
            found = np.frombuffer(content, dtype, count * width, at)
            at += found.nbytes
            return found if dtype != "u1" else found.reshape(count, width)

        prefix, numbers = column(rows, 1, "<u8"), column(ids, 1, "<i8")
        found = Rows(prefix, column(rows, 24), column(rows, STATE_SIZE), column(rows, width))
        return found, numbers, column(nodes, 32), column(nodes, 1).ravel()


def _unusable(what: str) -> Unavailable:
    return Unavailable("statemap/store", what, hint="remove the state directory, and begin again from entry 0")


def _are_nodes(ids: Indexes, depth: int) -> bool:
    return not len(ids) or bool(ids[0] == 1 and ids[-1] < 2 << depth and (ids[1:] > ids[:-1]).all())


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
