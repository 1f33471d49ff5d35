"""What a log says is held, or erased, in one system: counted, committed to, and read where a draw points.

The rows of all holds and tombstones of the system are spilled by index into buckets on disk, so memory does not grow
with the log. Then each bucket is folded: the last statement about an index decides.

Spec: docs/spec/sample.md#population.
"""

import tempfile
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from attest.audit.opened import OpenedTree
from attest.encoding import Hash
from attest.errors import Malformed, Refuted
from attest.formats.checkpoint import Checkpoint
from attest.formats.rows import ROW, RowFile
from attest.formats.statement import Hold, Statement, Tombstone, issuer_of
from attest.merkle.tiles import FULL
from attest.merkle.tree import Frontier, leaf_hashes
from attest.transport import LogClient

Progress = Callable[[str, int, int | None], None]

_BUCKETS: Final = 256
_BUCKET: Final = 65_536  # rows in a bucket, if indexes are as even as hashes
_SPILLED: Final = ROW + 8  # bytes: a row, then the order of its statement and whether it is a hold


@dataclass(frozen=True, slots=True)
class Population:
    """Rows ascending by index, as in a row file, however many."""

    count: int
    root: Hash  # RFC 6962, over the rows
    rows: dict[int, tuple[bytes, bytes]]  # position → (row, path), where asked for


def read_population(
    log: LogClient,
    checkpoint: Checkpoint,
    holder: str,
    system: str,
    *,
    erased: bool = False,
    wanted: Collection[int] = (),
    progress: Progress = lambda *_: None,
) -> Population:
    """Read what is held, or erased, in a system at a checkpoint, from entries and row files.

    All entries are read and lead to the checkpoint's root, so no statement is left out; every row file is what its
    statement says. Whether the statements obey the rules is for `attest audit` to say.

    Args:
        wanted: positions whose rows are returned.

    Raises:
        Refuted: `sample/entries`, the entries are not those of the checkpoint; `rows/…`.
        Malformed: `sample/population`, a wanted position is not below the count; `bundle/…`, `statement/…`.
        Unavailable: what `LogClient` raises.
    """
    statements = _statements(log, checkpoint, holder, system, progress)
    total = sum(payload.count for payload in statements)
    wanted_sorted = np.array(sorted(wanted), dtype=np.int64)
    found: dict[int, bytes] = {}
    tree = OpenedTree(wanted)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attest-sample-")))
        buckets = _spill(log, statements, folder, stack, progress, total)
        read = 0
        for bucket in buckets:
            spilled = _load(bucket)
            read += len(spilled)
            rows = _folded(spilled, erased=erased)
            start, end = tree.size, tree.size + len(rows)
            low, high = np.searchsorted(wanted_sorted, (start, end))
            for position in wanted_sorted[low:high].tolist():
                found[position] = rows[position - start].tobytes()
            encoded = rows.tobytes()
            tree.append(leaf_hashes(encoded[at : at + ROW] for at in range(0, len(encoded), ROW)))
            progress("rows counted", read, total)
    if len(found) != len(frozenset(wanted)):
        raise Malformed("sample/population", f"a drawn position is not below {tree.size}")
    paths = tree.open(found)
    return Population(tree.size, tree.root(), {position: (row, paths[position]) for position, row in found.items()})


def _statements(
    log: LogClient, checkpoint: Checkpoint, holder: str, system: str, progress: Progress
) -> list[Hold | Tombstone]:
    """Return the holds and tombstones of one system, in order."""
    found: list[Hold | Tombstone] = []
    frontier = Frontier.empty()
    issuer = issuer_of(holder)
    while frontier.size < checkpoint.size:
        entries = log.bundle(frontier.size // FULL, min(FULL, checkpoint.size - frontier.size))
        frontier = frontier.append(leaf_hashes(entries))
        for entry in entries:
            # What is spelled otherwise in a deterministic encoding is about somebody else.
            if issuer.encode() not in entry or system.encode() not in entry:
                continue
            statement = Statement.parse(entry)
            payload = statement.payload
            mine = (statement.issuer, statement.stream, statement.audience) == (issuer, system, checkpoint.origin)
            if mine and isinstance(payload, Hold | Tombstone):
                found.append(payload)
        progress("entries", frontier.size, checkpoint.size)
    if frontier.root() != checkpoint.root:
        raise Refuted("sample/entries", f"the entries lead to another root at {checkpoint.size}")
    return found


def _spill(
    log: LogClient,
    statements: list[Hold | Tombstone],
    folder: Path,
    stack: ExitStack,
    progress: Progress,
    total: int,
) -> list[BinaryIO]:
    number = 1
    while number < _BUCKETS and number * _BUCKET < total:
        number *= 2
    buckets: list[BinaryIO] = [stack.enter_context((folder / str(n)).open("w+b")) for n in range(number)]
    first = np.arange(number + 1) * (256 // number)  # by the first byte of the index
    done = 0
    for order, payload in enumerate(statements):
        encoded = log.rows(payload.root, payload.count * ROW)
        RowFile.parse(encoded).check(payload.count, payload.root)
        spilled = np.empty((payload.count, _SPILLED), dtype=np.uint8)
        spilled[:, :ROW] = np.frombuffer(encoded, dtype=np.uint8).reshape(-1, ROW)
        mark = order << 1 | isinstance(payload, Hold)
        spilled[:, ROW:] = np.frombuffer(mark.to_bytes(8, "big"), dtype=np.uint8)
        bounds = np.searchsorted(spilled[:, 0], first)
        for bucket, low, high in zip(buckets, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if low < high:
                bucket.write(spilled[low:high].tobytes())
        done += payload.count
        progress("rows read", done, total)
    return buckets


def _load(bucket: BinaryIO) -> NDArray[np.uint8]:
    bucket.seek(0)
    return np.frombuffer(bucket.read(), dtype=np.uint8).reshape(-1, _SPILLED)


def _folded(spilled: NDArray[np.uint8], *, erased: bool) -> NDArray[Any]:
    """Return the rows whose last statement is a hold (or a tombstone), ascending by index: n × 64 bytes."""
    words = spilled.view(">u8")  # n × 9: index in 0–3, order and kind in 8
    words = words[np.lexsort((words[:, 8], words[:, 3], words[:, 2], words[:, 1], words[:, 0]))]
    is_last = np.ones(len(words), dtype=bool)
    is_last[:-1] = np.any(words[1:, :4] != words[:-1, :4], axis=1)
    is_hold = (words[:, 8] & 1).astype(bool)
    kept = words[is_last & (is_hold != erased)]
    return np.ascontiguousarray(kept[:, :8]).view(np.uint8)
