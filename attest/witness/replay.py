"""Replay: from entry 0 to a checkpoint, over the log's tiles and row files, with every state map in memory.

What remains is where it led; the maps are dropped.

Spec: docs/spec/witness.md#replay.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attest.collector import uncollected
from attest.errors import Unavailable
from attest.ledger.epoch import Ledger
from attest.ledger.evidence.epochs import is_epoch
from attest.ledger.refusal import RefusedEpoch, replay_or_refuse
from attest.ledger.transition import Anchor
from attest.merkle.tiles import FULL
from attest.merkle.tree import Frontier, leaf_hashes
from attest.served import ServedTree
from attest.statemap import HashedRows, StateMap
from attest.witness.rowfiles import RowFiles

MAX_ENTRIES: Final = 1 << 20  # of one epoch


def replay(tree: ServedTree, row_files: Callable[[Sequence[bytes]], RowFiles]) -> Iterator[Anchor]:
    """Yield where the log stands after each epoch, up to the last that the checkpoint holds; each row file is kept.

    Args:
        row_files: gives the row files of an epoch's entries.

    Raises:
        RefusedEpoch: the rules refuse one.
        Unavailable: `log/tiles`, `witness/limit`, and what `row_files` raises.
    """
    ledger = Ledger(_new_map)
    pending: list[bytes] = []
    for entries in _bundles(tree):
        for entry in entries:
            pending.append(entry)
            if is_epoch(entry):
                ledger = _epoch(ledger, pending, row_files(pending))
                pending = []
                yield Anchor.of(ledger)
        if len(pending) > MAX_ENTRIES:
            raise Unavailable("witness/limit", f"an epoch of more than {MAX_ENTRIES} entries")


def _new_map() -> StateMap:
    return StateMap.empty(roomy=True)


def _bundles(tree: ServedTree) -> Iterator[list[bytes]]:
    """Yield the entries, some at a time; all of them are proven before anybody reads one."""
    frontier = Frontier.empty()
    for start in range(0, tree.checkpoint.size, FULL):
        entries = tree.bundle(start // FULL)
        frontier = frontier.append(leaf_hashes(entries))
        if tree.root(frontier.size) != frontier.root():
            raise Unavailable("log/tiles", f"the entries from {start} on are not those under the checkpoint")
        yield entries


def _epoch(ledger: Ledger, entries: Sequence[bytes], files: RowFiles) -> Ledger:
    try:
        with uncollected():
            after = replay_or_refuse(ledger, entries, lambda root: HashedRows.parse(files.get(root)))
    except RefusedEpoch:
        files.check_stored()
        raise
    files.keep()
    return after
