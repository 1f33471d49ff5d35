"""Rebuilding a ledger: from a snapshot if a good one is there, and from there by replaying the log.

A snapshot is a directory `<epoch>` with `manifest.json`, `heads` and one directory per state map. It is written aside
and renamed, and loaded only if it leads to the roots that its epoch signed.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from attest.encoding import ZERO, Hash, decode_cbor, encode_cbor, parse_hex, sha256
from attest.errors import AttestError, Malformed, Unavailable
from attest.formats.state import PartyHead, SystemHead
from attest.formats.statement import Descriptor, Epoch, Hold, Log, Statement, Tombstone
from attest.formats.strict_json import parse_json, write_json
from attest.ledger.epoch import Draft, Ledger, replay_epoch
from attest.ledger.rules import SystemId
from attest.ledger.transition import prove_transition
from attest.merkle.sparse import Tree
from attest.merkle.tree import Frontier
from attest.statemap import StateMap, load_snapshot, write_snapshot
from attest.store.blobs import Blobs, DirectoryBlobs
from attest.store.db import Database
from attest.store.log import EpochRecord, LogStore
from attest.store.tiles import stored_frontier

FORMAT: Final = "attest-snapshot/1"
MAX_MANIFEST: Final = 1 << 28  # bytes
_KEPT: Final = 2  # snapshots
_ABANDONED_S: Final = 21_600  # after which a snapshot that nobody renamed is removed


def new_ledger() -> Ledger:
    """Return the ledger before entry 0."""
    return Ledger(StateMap.empty)


def upload_name(root: Hash) -> str:
    """Name a row file that is uploaded and not yet in the log."""
    return f"uploads/{root.hex()}"


def rows_name(root: Hash) -> str:
    """Name a published row file."""
    return f"rows/{root.hex()}"


def transition_name(number: int) -> str:
    """Name a transition proof."""
    return f"transitions/{number}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One epoch, replayed."""

    ledger: Ledger  # after it
    record: EpochRecord
    transition: bytes | None
    changed_rows: int


@dataclass(frozen=True, slots=True)
class History:
    """What is stored of one log."""

    log: LogStore
    public: Blobs
    private: Blobs
    snapshots: Path

    @classmethod
    def of(cls, db: Database, public: Blobs, private: DirectoryBlobs) -> Self:
        """Put together what a service's database and directories hold."""
        return cls(LogStore(db), public, private, private.root / "snapshots")

    def rows(self, root: Hash) -> bytes:
        """Return a row file, published or uploaded. Raises `Unavailable`: `rows/missing`."""
        found = self.public.get(rows_name(root))
        if found is None:
            found = self.private.get(upload_name(root))
        if found is None:
            raise Unavailable("rows/missing", f"row file {root.hex()} is not stored")
        return found

    def replay(self, ledger: Ledger, until: int, *, proofs_from: int) -> Iterator[Replayed]:
        """Run the rules over the committed epochs after `ledger`, up to the size `until`.

        Args:
            proofs_from: the first epoch whose transition proof is made again if it is not stored.

        Raises:
            Refuted, and others of `rules.judge`: the database does not hold the log that was signed.
        """
        number = 0 if ledger.previous is None else _epoch_of(ledger.previous).number + 1
        while ledger.size < until:
            record = self.log.epoch(number)
            if record is None:
                raise Unavailable("store/entries", f"epoch {number} is not in the database")
            yield (done := self._replay_epoch(ledger, record, prove=number >= proofs_from))
            ledger = done.ledger
            number += 1

    def _replay_epoch(self, ledger: Ledger, record: EpochRecord, *, prove: bool) -> Replayed:
        entries = [entry.entry for entry in self.log.entries(ledger.size, record.size)]
        draft = Draft(ledger)
        after = replay_epoch(ledger, draft, entries, self.rows)
        changed = sum(each.payload.count for each in draft.entries if isinstance(each.payload, Hold | Tombstone))
        transition = None
        if after.previous is not None and prove and not self.private.exists(transition_name(record.number)):
            transition = prove_transition(ledger, draft, after.previous)
        check_record(after, record)
        return Replayed(after, record, transition, changed)

    # --- snapshots ---

    def write(self, ledger: Ledger, record: EpochRecord) -> None:
        """Write a snapshot of the ledger after an epoch, durably, and drop all but the newest."""
        target = self.snapshots / str(record.number)
        if target.exists():
            return
        self.snapshots.mkdir(parents=True, exist_ok=True)
        for left in self.snapshots.glob(".new-*"):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
        aside = self.snapshots / f".new-{secrets.token_hex(8)}"
        aside.mkdir(parents=True)
        try:
            digests = {}
            names = sorted(ledger.maps)
            for number, name in enumerate(names):
                place = aside / str(number)
                place.mkdir()
                digests[str(number)] = {
                    file: digest.hex() for file, digest in write_snapshot(_map(ledger, name), place).items()
                }
            heads = _encode_heads(ledger, names)
            _write_file(aside / "heads", heads)
            digests["heads"] = {"heads": sha256(heads).hex()}
            manifest = {
                "format": FORMAT,
                "epoch": record.number,
                "size": record.size,
                "root": record.tree_root.hex(),
                "digests": digests,
            }
            _write_file(aside / "manifest.json", write_json(manifest))
            _sync(aside)
            aside.rename(target)
            _sync(self.snapshots)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            # Another process on the same directory wrote this one first.
            if not target.exists():
                raise
        for number in self.numbers()[:-_KEPT]:
            shutil.rmtree(self.snapshots / str(number), ignore_errors=True)

    def load(self, until: int) -> Ledger:
        """Return the ledger of the newest good snapshot of at most `until` entries, or the one before entry 0."""
        for number in reversed(self.numbers()):
            record = self.log.epoch(number)
            if record is None or record.size > until:
                continue
            try:
                return self.load_one(record)
            except (AttestError, OSError, KeyError, TypeError, ValueError):
                # A snapshot is a convenience: whatever is wrong with it, the log is right.
                continue
        return new_ledger()

    def load_one(self, record: EpochRecord, frontier: Frontier | None = None) -> Ledger:
        """Return the ledger of one epoch's snapshot.

        Args:
            frontier: of the log after that epoch; None: read it from the tiles.

        Raises:
            AttestError, OSError, KeyError, TypeError, ValueError: it is not there, damaged or of another epoch.
        """
        place = self.snapshots / str(record.number)
        manifest = parse_json((place / "manifest.json").read_bytes(), MAX_MANIFEST)
        found = (manifest["format"], manifest["epoch"], manifest["size"], parse_hex(manifest["root"], 32))
        if found != (FORMAT, record.number, record.size, record.tree_root):
            raise Malformed("snapshot/manifest", f"{place} is of another epoch")
        heads = (place / "heads").read_bytes()
        if sha256(heads).hex() != manifest["digests"]["heads"]["heads"]:
            raise Malformed("snapshot/heads", f"{place} is damaged")
        previous = self.log.entry(record.size - 1)
        first = self.log.entry(0)
        if previous is None or first is None:
            raise Unavailable("store/entries", "the epoch's entry is not in the database")
        ledger = _ledger_of(heads, place, record, Statement.parse(first), Statement.parse(previous))
        frontier = frontier or stored_frontier(self.public, record.size, record.size)
        if frontier.root() != record.tree_root or ledger.top.root != record.top_root:
            raise Malformed("snapshot/root", f"{place} does not lead to the signed roots")
        return replace(ledger, frontier=frontier)

    def numbers(self) -> list[int]:
        """List the epochs of which there is a snapshot, good or not, ascending."""
        if not self.snapshots.is_dir():
            return []
        return sorted(
            int(place.name) for place in self.snapshots.iterdir() if place.name.isascii() and place.name.isdigit()
        )


def check_record(ledger: Ledger, record: EpochRecord) -> None:
    """Check that a ledger is the one an epoch signed. Raises `Unavailable`: `store/diverged`."""
    if (ledger.size, ledger.frontier.root(), ledger.top.root) != (record.size, record.tree_root, record.top_root):
        raise Unavailable(
            "store/diverged", f"the entries of epoch {record.number} do not lead to the roots that were signed"
        )


def _epoch_of(statement: Statement) -> Epoch:
    if not isinstance(statement.payload, Epoch):
        raise ValueError("not an epoch entry")
    return statement.payload


def _map(ledger: Ledger, name: SystemId) -> StateMap:
    states = ledger.maps[name]
    if not isinstance(states, StateMap):
        raise TypeError("this ledger does not keep its maps in arrays")
    return states


def _encode_heads(ledger: Ledger, names: list[SystemId]) -> bytes:
    return encode_cbor(
        {
            "parties": [head.encode() for _, head in sorted(ledger.parties.items())],
            "systems": [
                [party, head.encode(), ledger.descriptors[party, system].encode()]
                for (party, system), head in sorted(ledger.systems.items())
            ],
            "maps": [list(name) for name in names],
        }
    )


def _ledger_of(encoded: bytes, place: Path, record: EpochRecord, first: Statement, previous: Statement) -> Ledger:
    found: dict[str, Any] = decode_cbor(encoded)
    parties = {head.party: head for head in map(PartyHead.decode, found["parties"])}
    systems: dict[SystemId, SystemHead] = {}
    descriptors: dict[SystemId, Descriptor] = {}
    system_ids: dict[str, list[str]] = {}
    leaves: dict[str, dict[Hash, Hash]] = {}
    for party, encoded_head, encoded_descriptor in found["systems"]:
        head, descriptor = SystemHead.decode(encoded_head), Descriptor.decode(encoded_descriptor)
        if head.descriptor != descriptor.digest() or descriptor.id != head.system:
            raise Malformed(
                "snapshot/descriptor", f"the descriptor of {head.system} of {party} is not the committed one"
            )
        systems[party, head.system], descriptors[party, head.system] = head, descriptor
        system_ids.setdefault(party, []).append(head.system)
        leaves.setdefault(party, {})[head.key()] = head.value()
    trees = {party: Tree.build(bindings) for party, bindings in leaves.items()}
    for party, tree in trees.items():
        if tree.root != parties[party].systems_root or len(leaves[party]) != parties[party].systems_count:
            raise Malformed("snapshot/systems", f"the systems of {party} do not lead to its head")
    maps = {}
    for number, (party, system) in enumerate(found["maps"]):
        maps[party, system] = load_snapshot(place / str(number), systems[party, system].root)
    for name, head in systems.items():
        if head.root != ZERO and name not in maps:
            raise Malformed("snapshot/maps", f"the state map of {name[1]} of {name[0]} is missing")
    if not isinstance(first.payload, Log):
        raise Malformed("snapshot/genesis", "entry 0 is not log/1")
    return Ledger(
        StateMap.empty,
        genesis=first.payload,
        size=record.size,
        previous=previous,
        parties=parties,
        systems=systems,
        descriptors=descriptors,
        maps=maps,
        system_ids={party: tuple(sorted(names)) for party, names in system_ids.items()},
        trees=trees,
        top=Tree.build({head.key(): head.value() for head in parties.values()}),
    )


def _write_file(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
