"""The operator's own check: everything that is stored of one log, against everything else that is stored of it.

    signed checkpoints -> entries -> tiles and bundles, derived columns, names of parties
    entries -> row files -> states -> snapshots, transition proofs

What is signed or hashed into what is signed is the truth: entries, row files, checkpoints, cosignatures, keys. It is
never written here, with one exception: a row file whose root proves it may be fetched from elsewhere. All else follows
from it and can be written again. Memory is bounded but for the replay, which needs what a node needs.

Spec: docs/guides/operator.md#check.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from attest.config import Config
from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.encoding import Hash, sha256
from attest.errors import AttestError, Conflict, Malformed, Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, log_verifiers, verify_log_signatures
from attest.formats.cosignature import verify_line
from attest.formats.note import MAX_NOTE, MAX_SIGNATURES, KeyType, NoteVerifier, SignatureLine, known_lines
from attest.formats.policy import Policy
from attest.formats.receipt import Promise, Refusal
from attest.formats.rows import ROW, RowFile
from attest.formats.statement import MAX_ROWS, Epoch, Hold, Log, Party, Statement, Tombstone
from attest.formats.strict_json import parse_json
from attest.ledger.epoch import Draft, Ledger, replay_epoch
from attest.ledger.transition import Anchor, prove_transition, verify_transition
from attest.merkle import tiles, tree
from attest.store import cosigned, keyfiles
from attest.store import log as log_store
from attest.store.blobs import DirectoryBlobs
from attest.store.counts import changed
from attest.store.db import Clock, Database
from attest.store.history import (
    MAX_MANIFEST,
    History,
    check_record,
    new_ledger,
    rows_name,
    transition_name,
    upload_name,
)
from attest.store.lease import Lease
from attest.store.log import EpochRecord, LogStore
from attest.store.queue import PENDING, REFUSED, ROWS
from attest.store.scan import Row, Scan
from attest.store.tiles import stored_frontier
from attest.transport import LogClient, PublicFiles

DAMAGED: Final = "damaged"  # truth is lost or wrong: restore it
DERIVED: Final = "derived"  # wrong, and follows from what is right: --repair writes it again
NOTICE: Final = "notice"  # nothing is wrong with the log; a person should look

SEVERITY: Final[Mapping[str, str]] = {
    "fsck/beyond": DAMAGED,
    "fsck/bundle": DERIVED,
    "fsck/checkpoint": DERIVED,
    "fsck/columns": DERIVED,
    "fsck/counts": DERIVED,
    "fsck/cosignature": DAMAGED,
    "fsck/database": DAMAGED,
    "fsck/entry": DAMAGED,
    "fsck/epoch": DAMAGED,
    "fsck/evidence": NOTICE,
    "fsck/foreign": NOTICE,
    "fsck/forked": DAMAGED,
    "fsck/key": DAMAGED,
    "fsck/key-permissions": DAMAGED,
    "fsck/left-over": NOTICE,
    "fsck/not-replayed": NOTICE,
    "fsck/partial": DERIVED,
    "fsck/party": DERIVED,
    "fsck/policy": DAMAGED,
    "fsck/promise": DAMAGED,
    "fsck/queue": DAMAGED,
    "fsck/register": DAMAGED,
    "fsck/replay": DAMAGED,
    "fsck/rolled-back": DAMAGED,
    "fsck/root": DAMAGED,
    "fsck/rows": DAMAGED,
    "fsck/signature": DAMAGED,
    "fsck/snapshot": DERIVED,
    "fsck/strays": DAMAGED,
    "fsck/tile": DERIVED,
    "fsck/transition": DERIVED,
    "fsck/upload": DAMAGED,
}

_PART: Final = 4 * tiles.FULL  # entries read at a time: at most 16 MiB
_PARTIAL: Final = tiles.FULL * (2 + tiles.MAX_ENTRY)  # bytes of the largest bundle
_MAX_TRANSITION: Final = 1 << 28  # bytes
_MAX_EVIDENCE: Final = 1 << 24  # bytes
_ABANDONED_S: Final = 21_600  # a file half-written for so long has no writer any more
_PUBLISHED_S: Final = 60.0  # a checkpoint that waits for nobody is published long before
_PATIENCE_S: Final = 20.0  # with whoever is asked for row files
_MAX_BAD: Final = 10_000  # entries that are wrong: beyond this, nobody wants a list
_HEX: Final = frozenset("0123456789abcdef")
_RESTORE_ROW: Final = "restore this row from a backup of the database"
_RESTORE_DATABASE: Final = "restore the database from the newest backup"
_ROWS_REMEDY: Final = (
    "restore it from a backup, or run with --repair --from a mirror, a state witness, or its holder's copy"
)

Progress = Callable[[str, int, int | None], None]


class _Wrong(Exception):
    """What was found is not what should be there; says so to a person."""


# What reading a damaged row or file may raise: it holds anything, of any type.
_FAULTS: Final = (_Wrong, AttestError, AttributeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what was found and expected, and what to do."""

    code: str
    where: str  # a file, below the log's directory if it is there; or `table key`
    message: str
    remedy: str
    repaired: bool = False

    @property
    def severity(self) -> str:
        """How bad it is: `damaged`, `derived` or `notice`."""
        return SEVERITY[self.code]


@dataclass(frozen=True, slots=True)
class Repair:
    """Permission to write, and where row files may be fetched from."""

    source: str | None = None  # a URL, or a directory: public files of this log


class Fsck:
    """One check of one log. Reads only, unless there is a `Repair`; a running service does not disturb it."""

    def __init__(
        self,
        config: Config,
        *,
        quick: bool = False,
        repair: Repair | None = None,
        clock: Clock = time.time,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        """Prepare; nothing is read before `run`.

        Args:
            quick: leave out the replay of all rules and states.
        """
        self.checked: Counter[str] = Counter()  # how many of what have been looked at
        self._config = config
        self._quick = quick
        self._repair = repair
        self._clock = clock
        self._progress = progress
        self._db = Database(config.database_url())
        self._scan = Scan(self._db)
        self._log = LogStore(self._db)
        self._public = DirectoryBlobs(config.path(config.public))
        self._private = DirectoryBlobs(config.path(config.private))
        self._history = History.of(self._db, self._public, self._private)
        self._lease = Lease(self._db, clock, config.lease_s)
        self._head: EpochRecord | None = None
        self._published = 0  # entries under the published checkpoint, or all, where it cannot be read
        self._genesis: Log | None = None
        self._verifiers: tuple[NoteVerifier, ...] = ()
        self._witnesses: dict[tuple[str, bytes], NoteVerifier] = {}
        self._policy: Policy | None = None
        self._bad: dict[int, Hash | None] = {}  # entries that are not as signed: the right leaf hash, if known
        self._ends = array("q")  # where epochs end, ascending
        self._numbers = array("q")  # and their numbers
        self._corrected: dict[int, EpochRecord] = {}  # epochs whose rows are wrong, by number
        self._frontiers: dict[int, tree.Frontier] = {}  # after the epochs of which there are snapshots
        self._unproven: list[range] = []  # entries that no signed root was found over
        self._wanted_rows: set[Hash] = set()  # row files that are not there
        self._hidden: dict[Hash, int] = {}  # row files whose entries the database does not show, with their rows
        self._lost = False  # nobody knows what all entries were, and so not which row files they name
        self._truth_lost = False  # the replay cannot succeed
        self._transitions: dict[int, list[Finding]] = {}  # to be made again by the replay
        self._snapshots: dict[int, list[Finding]] = {}  # likewise

    def run(self) -> Iterator[Finding]:
        """Check everything, and yield what is wrong as it is found; repaired already, if it may be and can.

        Raises:
            Unavailable: `store/schema`, `config/missing`, `store/database`: nothing can be said.
            Conflict: `sequencer/lease`, a service is running, or has not been dead for long: no repair beside it.
        """
        for place in (self._public.root, self._private.root):
            if not place.is_dir():
                raise Unavailable("config/missing", f"no directory {place}")
        if (lost := self._scan.lost()) is not None:
            yield self._finding("database", "database", lost, _RESTORE_DATABASE)
            self._db.close()
            return
        self._db.check_schema()
        self._hold_lease()
        try:
            for finding in self._run():
                self._truth_lost |= finding.severity == DAMAGED and not finding.repaired
                yield finding
        finally:
            if self._repair is not None:
                self._lease.release()
            self._db.close()

    def _run(self) -> Iterator[Finding]:
        faults = self._scan.faults()
        for fault in faults:
            yield self._finding("database", "database", fault, _RESTORE_DATABASE)
        try:
            yield from self._check_start()
            yield from self._check_log()
            yield from self._check_published()
            yield from self._check_cosignatures()
            yield from self._check_queue()
            yield from self._check_tiles()
        except Unavailable as error:
            if error.code != "store/database":
                raise
            yield self._finding("database", "database", error.message, _RESTORE_DATABASE)
            return
        yield from self._check_row_files()
        yield from self._check_transitions()
        yield from self._check_snapshots()
        yield from self._replay()
        yield from self._check_files()

    # --- the ends that hold it all: keys, policies, register, published checkpoint ---

    def _check_start(self) -> Iterator[Finding]:
        origin = self._config.origin
        row, registered = self._scan.head(origin)
        if row is None:
            raise Unavailable("node/no-log", "the database has no epoch", hint="is `attest operator init` complete?")
        self._head = _record(row)
        self._published = self._head.size
        yield from self._check_policies()
        yield from self._check_keys()
        if registered != self._head.checkpoint:
            found = "nothing" if registered is None else _describe(registered)
            yield self._finding(
                "register",
                f"register {origin}",
                f"holds {found}, the last epoch is {self._head.number} of {self._head.size} entries",
                "restore the newest database; nothing is signed over this one",
            )
        for other in self._scan.registered():
            if other != origin:
                yield self._finding(
                    "register", f"register {other}", f"this is the database of {origin}", "find out who wrote here"
                )
        for stray in self._scan.strays():
            yield self._finding(
                "strays",
                stray,
                f"beyond the last epoch, which ends at {self._head.size}",
                "epochs are missing: restore the newest database",
            )
        for url, size in self._scan.cosigned_sizes():
            if size > self._now():
                yield self._finding(
                    "rolled-back",
                    f"witnesses {url}",
                    f"has cosigned {size} entries, the database has {self._head.size}",
                    "restore the newest database; never sign over this one",
                )
        encoded = _read(self._public.root / "checkpoint", MAX_NOTE)
        with contextlib.suppress(AttestError):
            self._published = min(self._head.size, SignedCheckpoint.parse(encoded or b"").checkpoint.size)

    def _check_policies(self) -> Iterator[Finding]:
        for path, may_miss in ((self._config.policy, False), (self._config.state_policy, True)):
            place = self._config.path(path)
            encoded = _read(place, 1 << 20)
            if encoded is None:
                if not may_miss:
                    yield self._finding("policy", self._where(place), "is missing", "restore it from a backup")
                continue
            try:
                policy = Policy.parse(encoded)
            except AttestError as error:
                yield self._finding("policy", self._where(place), str(error), "restore it from a backup")
                continue
            if not may_miss:
                self._policy = policy
            self._witnesses.update({(each.name, each.key_id): each for each in policy.verifiers()})
            genesis = self._find_genesis()
            if genesis is None:
                continue
            own = NoteVerifier.of(self._config.origin, KeyType.ED25519, genesis.note_ed25519)
            if own not in {log.verifier for log in policy.logs}:
                yield self._finding(
                    "policy",
                    self._where(place),
                    f"does not pin {own.encode()}, which entry 0 names",
                    "restore it from a backup, or write that key into its `log` line",
                )

    def _find_genesis(self) -> Log | None:
        """Return entry 0 from the database or, where it is not there, as published; roots prove it later."""
        if self._genesis is None:
            row = self._scan.entries(0, 1).get(0)
            candidates = [] if row is None or type(row["entry"]) is not bytes else [row["entry"]]
            head = self._head
            candidates += self._stored_bundle(0, tiles.FULL if head is None else min(head.size, tiles.FULL))[:1]
            logs = [
                log for log in map(_genesis_of, candidates) if log is not None and log.origin == self._config.origin
            ]
            # A flipped bit in a key would make every signature look wrong.
            for log in sorted(logs, key=self._has_signed, reverse=True)[:1]:
                self._genesis = log
                self._verifiers = log_verifiers(log.origin, log.note_ed25519, log.note_mldsa44)
        return self._genesis

    def _has_signed(self, log: Log) -> bool:
        """Tell whether the keys of this entry 0 are those that signed the log, at its end or at its beginning."""
        for record in (self._head, self._log.epoch(0)):
            with contextlib.suppress(*_FAULTS):
                verifiers = log_verifiers(log.origin, log.note_ed25519, log.note_mldsa44)
                if record and verify_log_signatures(SignedCheckpoint.parse(record.checkpoint), verifiers) == verifiers:
                    return True
        return False

    def _check_keys(self) -> Iterator[Finding]:
        genesis = self._find_genesis()
        folder = self._config.path(self._config.keys)
        secret = self._config.passphrase_file
        places = [folder] if secret is None else [folder, self._config.path(secret)]
        for place in places:
            mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else 0
            if mode & 0o077:
                yield self._finding(
                    "key-permissions", self._where(place), f"has mode {mode:04o}", f"chmod go= {self._where(place)}"
                )
        wanted: list[tuple[str, type[SigningKey | MLDSASigningKey], bytes | None]] = [
            (keyfiles.STATEMENTS, SigningKey, None if genesis is None else genesis.statements),
            (keyfiles.RECEIPTS, SigningKey, None if genesis is None else genesis.receipts),
            (keyfiles.NOTE_ED25519, SigningKey, None if genesis is None else genesis.note_ed25519),
            (keyfiles.NOTE_MLDSA44, MLDSASigningKey, None if genesis is None else genesis.note_mldsa44),
        ]
        for name, kind, public in wanted:
            self.checked["keys"] += 1
            where = self._where(folder / name)
            try:
                found = kind.from_pem(keyfiles.read_key_file(folder / name), self._config.passphrase())
            except AttestError as error:
                code = "key-permissions" if error.code == "key/permissions" else "key"
                yield self._finding(code, where, str(error), error.hint or "restore it from the backup of the keys")
                continue
            except OSError as error:
                yield self._finding("key", where, str(error.strerror), "restore it from the backup of the keys")
                continue
            if public is not None and found.public != public:
                yield self._finding(
                    "key", where, "is not the key that entry 0 names", "restore it from the backup of the keys"
                )
        known = {name for name, _, _ in wanted}
        for left in sorted(folder.iterdir()) if folder.is_dir() else ():
            if left.name not in known:
                yield self._finding("foreign", self._where(left), "is not a key of this log", "find out what it is")

    def _check_published(self) -> Iterator[Finding]:
        head = self._required_head()
        where = self._where(self._public.root / "checkpoint")
        encoded = _read(self._public.root / "checkpoint", MAX_NOTE)
        try:
            if encoded is None:
                raise _Wrong("is missing")
            signed = SignedCheckpoint.parse(encoded)
            self._verify(signed)
            if signed.checkpoint.origin != self._config.origin:
                raise _Wrong(f"is of {signed.checkpoint.origin}")
            self._verify_cosignatures(signed)
        except _FAULTS as error:
            self._published = head.size
            yield self._repaired("checkpoint", where, str(error), self._restore_checkpoint)
            return
        visible = signed.checkpoint
        # It may be newer than what was read of the database a moment ago.
        newest = self._log.last_epoch() or head
        record = self._epoch_of_size(visible.size)
        if visible.size > newest.size:
            yield self._finding(
                "rolled-back",
                where,
                f"{visible.size} entries are published, the database has {newest.size}",
                "restore the newest database; never sign over this one",
            )
        elif record is None or record.tree_root != visible.root:
            yield self._finding(
                "forked",
                where,
                f"the database has no checkpoint of {visible.size} entries with root {visible.root.hex()}",
                "restore the newest database; never sign over this one",
            )
        else:
            yield from self._check_newest(where, visible)
            kept = {mark[1:] for mark in cosigned.marks(self._db, [visible.size])}
            kept |= {(each.name, each.key_id) for each in self._verifiers}
            for line in signed.note.signatures:
                if (line.name, line.key_id) not in kept:
                    yield self._finding(
                        "cosignature",
                        f"cosignatures {visible.size} {line.name}",
                        f"is published in {where}, and missing in the database",
                        "restore the newest database",
                    )

    def _verify(self, signed: SignedCheckpoint) -> None:
        """Check that both keys of entry 0 have signed."""
        if verify_log_signatures(signed, self._verifiers) != self._verifiers:
            raise _Wrong("is signed by one of the log's two keys only")

    def _verify_cosignatures(self, signed: SignedCheckpoint) -> None:
        for verifier, line in known_lines(signed.note, self._witnesses.values()):
            verify_line(verifier, signed.checkpoint, line)

    def _check_newest(self, where: str, visible: Checkpoint) -> Iterator[Finding]:
        """Check that a newer checkpoint has not been held back: readers cannot tell an old one from a quiet log."""
        try:
            found = self._publishable(visible.size)
        except _FAULTS:
            return  # the row of that epoch is wrong, which is said where epochs are checked
        if found is None:
            return
        record, _ = found
        waited = self._clock() - record.time
        if waited > _PUBLISHED_S + self._config.witness_wait_s:
            yield self._repaired(
                "checkpoint",
                where,
                f"has {visible.size} entries; the one of {record.size} entries was signed {waited:.0f} s ago and is not"
                " published",
                self._restore_checkpoint,
            )

    def _publishable(self, above: int = 0) -> tuple[EpochRecord, SignedCheckpoint] | None:
        """Return the newest committed checkpoint of more than so many entries that may be published."""
        record = self._log.last_epoch()
        while record is not None and record.size > above:
            signed = SignedCheckpoint.parse(record.checkpoint)
            self._verify(signed)
            lines = [each.line for each in cosigned.of_sizes(self._db, [record.size])]
            met = {self._witnesses[mark] for line in lines if (mark := (line.name, line.key_id)) in self._witnesses}
            if self._config.unwitnessed == "publish" or (self._policy is not None and self._policy.is_met_by(met)):
                room = MAX_SIGNATURES - len(signed.note.signatures)
                return record, signed.with_lines(lines[:room])
            record = next(iter(self._log.epochs_below(record.size, 1)), None)
        return None

    def _restore_checkpoint(self) -> bool:
        """Publish the newest committed checkpoint that may be published."""
        if (found := self._publishable()) is None:
            return False
        record, signed = found
        self._public.overwrite("checkpoint", signed.encode())
        self._published = record.size
        return True

    # --- entries, and what stands beside them in the database ---

    def _check_log(self) -> Iterator[Finding]:
        """Check entries against the roots that were signed, epoch by epoch."""
        head = self._required_head()
        frontier: tree.Frontier | None = tree.Frontier.empty()
        start, number = 0, 0
        before: Hash | None = None
        snapshots = set(self._history.numbers())
        for row in self._scan.epochs(head.number):
            if row["number"] != number:
                yield self._finding(
                    "epoch",
                    f"epochs {number}",
                    f"epochs {number} to before {row['number']} are missing",
                    _RESTORE_DATABASE,
                )
            number = row["number"] + 1
            record = _record(row)
            self.checked["epochs"] += 1
            signed, faults = self._signed(record)
            yield from faults
            end = self._end_of(record, signed, start)
            if end is None:
                yield self._finding(
                    "epoch",
                    f"epochs {record.number}",
                    f"ends at {record.size} entries, behind one that ends at {start}",
                    _RESTORE_DATABASE,
                )
                continue
            if frontier is None:
                frontier = self._resume(start, before)
            roots = {record.tree_root}
            if signed is not None and signed.size == end:
                roots.add(signed.root)
            leaves, last = yield from self._check_entries(start, end, frontier, roots)
            frontier = None if leaves is None or frontier is None else frontier.append(leaves)
            yield from self._check_epoch(record, signed, end, frontier, last)
            if frontier is not None and record.number in snapshots:
                self._frontiers[record.number] = frontier
            self._ends.append(end)
            self._numbers.append(record.number)
            start, before = end, record.tree_root if frontier is None else frontier.root()
            self._progress("entries", end, head.size)
            self._hold_lease()
        if start != head.size:
            yield self._finding(
                "epoch", f"epochs {number}", f"the epochs end at {start} entries, want {head.size}", _RESTORE_DATABASE
            )

    def _check_entries(
        self, start: int, end: int, frontier: tree.Frontier | None, roots: set[Hash]
    ) -> Generator[Finding, None, tuple[list[Hash] | None, bytes | None]]:
        """Find the entries of one epoch that lead to a root that was signed, and name those that are not so.

        Returns the leaf hashes, None where nobody has the right ones; and the last entry, if it is right.
        """
        hashed: list[Hash | None] = []
        columns: list[Hash | None] = []
        last: bytes | None = None
        for begin in range(start, end, _PART):
            rows = self._scan.entries(begin, min(end, begin + _PART))
            for position in range(begin, min(end, begin + _PART)):
                row = rows.get(position)
                last = None if row is None or type(row["entry"]) is not bytes else row["entry"]
                hashed.append(None if last is None else tree.leaf_hash(last))
                columns.append(None if row is None or type(row["leaf"]) is not bytes else row["leaf"])
        self.checked["entries"] += end - start
        if frontier is None:
            self._unproven.append(range(start, end))
            return None, last
        if (leaves := _leading(frontier, hashed, roots)) is not None:
            return leaves, last
        # Who has the right ones? The hashes beside them, the tiles, the bundles, or for each entry most of these.
        stored = self._stored_entries(start, end)
        tile_leaves = self._stored_leaves(start, end)
        sources = [
            columns,
            [tile_leaves.get(position) for position in range(start, end)],
            [tree.leaf_hash(stored[each]) if each in stored else None for each in range(start, end)],
        ]
        most = [Counter(filter(None, each)).most_common(1) for each in zip(hashed, *sources, strict=True)]
        sources.append([each[0][0] if each else None for each in most])
        right = next((found for each in sources if (found := _leading(frontier, each, roots)) is not None), None)
        for position, each in enumerate(hashed, start):
            want = None if right is None else right[position - start]
            doubted = right is None and any(other[position - start] not in (None, each) for other in sources)
            if each == want or not (right or doubted):
                continue
            if len(self._bad) == _MAX_BAD:
                raise Unavailable("store/database", f"more than {_MAX_BAD} entries are not those that were signed")
            self._bad[position] = want
            what = "is missing" if each is None else f"its bytes have leaf hash {each.hex()}"
            remedy: str = _RESTORE_ROW
            if position in stored and tree.leaf_hash(stored[position]) == want:
                width = min(tiles.FULL, self._published - position // tiles.FULL * tiles.FULL)
                place = self._public.root / tiles.entries_path(position // tiles.FULL, width)
                remedy += f"; {self._where(place)} has its bytes"
            yield self._finding(
                "entry",
                f"entries {position}",
                what + (", and another one elsewhere" if want is None else f", signed is {want.hex()}"),
                remedy,
            )
        if right is None:
            self._unproven.append(range(start, end))
            yield self._finding(
                "root",
                f"entries {start} to {end - 1}",
                "do not lead to the root that was signed, and nothing else stored here does",
                _RESTORE_DATABASE,
            )
        return right, None if end - 1 in self._bad else last

    def _signed(self, record: EpochRecord) -> tuple[Checkpoint | None, list[Finding]]:
        """Return what the log signed for an epoch, if it did."""
        where = f"epochs {record.number}"
        try:
            signed = SignedCheckpoint.parse(record.checkpoint)
            self._verify(signed)
        except _FAULTS as error:
            message = f"its checkpoint is not one that this log signed: {error}"
            return None, [self._finding("signature", where, message, _RESTORE_ROW)]
        if signed.checkpoint.origin != self._config.origin:
            message = f"its checkpoint is of {signed.checkpoint.origin}"
            return None, [self._finding("signature", where, message, _RESTORE_ROW)]
        return signed.checkpoint, []

    def _end_of(self, record: EpochRecord, signed: Checkpoint | None, start: int) -> int | None:
        """Tell where an epoch ends: as its row and its checkpoint say or, if they differ, where there is an epoch."""
        head = self._required_head()
        sizes = [size for size in (record.size, signed and signed.size) if size and start < size <= head.size]
        if len(set(sizes)) > 1:
            for size in sizes:
                row = self._scan.entries(size - 1, size).get(size - 1)
                if row is not None and row["kind"] == Epoch.KIND and row["epoch"] == record.number:
                    return size
        return sizes[0] if sizes else None

    def _check_epoch(
        self,
        record: EpochRecord,
        signed: Checkpoint | None,
        end: int,
        frontier: tree.Frontier | None,
        entry: bytes | None,
    ) -> Iterator[Finding]:
        """Check the row of an epoch against its signed checkpoint and its entry."""
        found: dict[str, object] = {"number": record.number, "size": record.size, "time": record.time}
        found |= {"tree_root": record.tree_root, "top_root": record.top_root}
        want: dict[str, object] = {"size": end}
        if frontier is not None:
            want["tree_root"] = frontier.root()
        if entry is not None and frontier is not None:
            with contextlib.suppress(AttestError):
                payload = Statement.parse(entry).payload
                if isinstance(payload, Epoch):
                    want |= {"number": payload.number, "time": payload.time, "top_root": payload.root}
        wrong = [f"{name} is {_shown(found[name])}, want {_shown(each)}" for name, each in want.items()
                 if found[name] != each]  # fmt: skip
        if signed is not None and signed.size != end:
            wrong.append(f"its checkpoint is of {signed.size} entries, want {end}")
        if wrong:
            values: dict[str, Any] = want
            self._corrected[record.number] = replace(record, **values)
            yield self._finding("epoch", f"epochs {record.number}", "; ".join(wrong), _RESTORE_ROW)

    def _resume(self, start: int, root: Hash | None) -> tree.Frontier | None:
        """Go on behind entries that led nowhere: from the tiles, if they lead to the root signed there."""
        with contextlib.suppress(AttestError, OSError, ValueError):
            frontier = stored_frontier(self._public, start, self._required_head().size)
            if frontier.root() == root:
                return frontier
        return None

    def _epoch(self, number: int) -> EpochRecord | None:
        """Return an epoch as it was signed."""
        return self._corrected.get(number) or self._log.epoch(number)

    def _epoch_of_size(self, size: int) -> EpochRecord | None:
        right = next((each for each in self._corrected.values() if each.size == size), None)
        return right or self._log.epoch_of_size(size)

    def _statement(self, position: int) -> Statement | None:
        """Return an entry that is as it was signed."""
        if position not in self._bad:
            entry = self._log.entry(position)
            with contextlib.suppress(AttestError, TypeError):
                return Statement.parse(entry or b"")
        return None

    def _stored_bundle(self, index: int, width: int) -> list[bytes]:
        """Return the entries of a published bundle, none if it cannot be read."""
        for candidate in dict.fromkeys((tiles.FULL, width)):
            encoded = _read(self._public.root / tiles.entries_path(index, candidate), _PARTIAL)
            with contextlib.suppress(Malformed):
                if encoded is not None:
                    return tiles.parse_bundle(encoded, candidate)[:width]
        return []

    def _stored_entries(self, start: int, end: int) -> dict[int, bytes]:
        """Return entries as they are published, as far as they can be read."""
        found: dict[int, bytes] = {}
        for index in range(start // tiles.FULL, -(-end // tiles.FULL)):
            first = index * tiles.FULL
            for width in dict.fromkeys(min(tiles.FULL, size - first) for size in (self._published, end)):
                if width > 0:
                    found |= dict(enumerate(self._stored_bundle(index, width), first))
        return {position: entry for position, entry in found.items() if start <= position < end}

    def _stored_leaves(self, start: int, end: int) -> dict[int, Hash]:
        """Return leaf hashes as the published tiles have them, as far as they can be read."""
        found: dict[int, Hash] = {}
        for index in range(start // tiles.FULL, -(-end // tiles.FULL)):
            first = index * tiles.FULL
            widths = [tiles.FULL, *(min(tiles.FULL, size - first) for size in (self._published, end))]
            for width in dict.fromkeys(each for each in widths if each > 0):
                encoded = _read(self._public.root / tiles.tile_path(0, index, width), tiles.FULL * 32) or b""
                found |= {first + at // 32: encoded[at : at + 32] for at in range(0, len(encoded) // 32 * 32, 32)}
        return {position: leaf for position, leaf in found.items() if start <= position < end}

    def _check_columns(self, position: int, row: Row, statement: Statement, epoch: int | None) -> Iterator[Finding]:
        """Check the columns beside an entry, and the row file that it names."""
        want = log_store.entry_row(position, statement, epoch or 0, {})
        del want["promise"]
        if epoch is None:
            del want["epoch"]
        wrong = [name for name, each in want.items() if row[name] != each]
        if wrong:
            if isinstance(statement.payload, Hold | Tombstone):
                self._hidden[statement.payload.root] = statement.payload.count
            message = "; ".join(f"{name} is {_shown(row[name])}, want {_shown(want[name])}" for name in wrong)
            yield self._repaired(
                "columns",
                f"entries {position}",
                message,
                lambda: self._scan.restore_entry(self._lease, position, want),
            )
        if row["promise"] is not None:
            try:
                self._check_promise(row["promise"], None if row["issuer"] == self._config.origin else statement.leaf)
            except _FAULTS as error:
                yield self._finding("promise", f"entries {position}", str(error), _RESTORE_ROW)
        payload = statement.payload
        if isinstance(payload, Hold | Tombstone):
            yield from self._find_rows(position, payload)

    def _check_parties(self, start: int, end: int, admitted: Mapping[int, Party]) -> Iterator[Finding]:
        """Check how parties are called against the entries that admit them."""
        found = self._scan.parties(start, end)
        named = {row["position"]: dict(row) for row in found}
        for position, party in admitted.items():
            want = log_store.party_row(position, party)
            self.checked["parties"] += 1
            if named.get(position) != want:
                have = named.get(position)
                message = "is missing" if have is None else ", ".join(
                    f"{name} is not what entry {position} says" for name in want if have[name] != want[name]
                )  # fmt: skip
                yield self._repaired(
                    "party",
                    f"parties {party.id}",
                    message,
                    partial(self._scan.restore_party, self._lease, want),
                )
        for row in found:
            if row["position"] not in admitted and row["position"] not in self._bad:
                yield self._repaired(
                    "party",
                    f"parties {row['id']}",
                    f"entry {row['position']} admits nobody",
                    partial(self._scan.remove_party, self._lease, row["id"]),
                )

    def _check_promise(self, encoded: bytes, leaf: Hash | None, by: int | None = None) -> None:
        promise = Promise.parse(encoded)
        if self._genesis is not None:
            promise.verify(self._genesis.receipts)
        if leaf is not None and promise.entry != leaf:
            raise _Wrong("the promise is of another statement")
        if by is not None and promise.by != by:
            raise _Wrong(f"promised by {promise.by}, the row says {by}")

    # --- cosignatures and the queue ---

    def _check_cosignatures(self) -> Iterator[Finding]:
        head = self._required_head()
        signed: tuple[int, Checkpoint | None] = (-1, None)
        for row in self._scan.cosignatures():
            if row["size"] > head.size:
                break  # has come since
            if signed[0] != row["size"]:
                record = self._epoch_of_size(row["size"])
                signed = row["size"], None if record is None else self._signed(record)[0]
            self.checked["cosignatures"] += 1
            try:
                if signed[1] is None:
                    raise _Wrong(f"no good checkpoint of {row['size']} entries")
                line = SignatureLine.parse(row["line"])
                if (line.name, line.key_id) != (row["name"], row["key_id"]):
                    raise _Wrong(f"the line is by {line.name}")
                verifier = self._witnesses.get((line.name, line.key_id))
                # Of a witness that no policy names any more nobody here has the key.
                if verifier is None:
                    self.checked["cosignatures-unknown"] += 1
                elif (when := verify_line(verifier, signed[1], line)) != row["time"]:
                    raise _Wrong(f"the row says time {row['time']}, signed is {when}")
            except _FAULTS as error:
                yield self._finding(
                    "cosignature",
                    f"cosignatures {row['size']} {row['name']}",
                    str(error),
                    _RESTORE_ROW,
                )

    def _check_queue(self) -> Iterator[Finding]:
        for row in self._scan.queue():
            self.checked["queue"] += 1
            if (fault := self._queue_fault(row)) is None:
                continue
            # It may have left the queue meanwhile, or its row file may have come.
            again = self._scan.still_queued(row["id"])
            if again is None or (again != row and (fault := self._queue_fault(again)) is None):
                continue
            yield fault

    def _queue_fault(self, row: Row) -> Finding | None:
        where = f"queue {row['id']}"
        try:
            statement = Statement.parse(row["entry"])
            want = log_store.entry_row(0, statement, 0, {})
            names = ("leaf", "issuer", "stream", "seq", "kind", "rows_root", "row_count")
            if wrong := [name for name in names if row[name] != want[name]]:
                return self._finding(
                    "queue",
                    where,
                    f"{', '.join(wrong)}: not what its statement says",
                    "ask the issuer to send it again",
                )
            if row["state"] not in (ROWS, PENDING, REFUSED):
                return self._finding("queue", where, f"state {row['state']!r}", "restore the database")
            if row["state"] == PENDING:
                if row["promise"] is None:
                    raise _Wrong("pending, and nothing is promised")
                self._check_promise(row["promise"], statement.leaf, row["promise_by"])
            if row["state"] == ROWS and row["promise"] is not None:
                raise _Wrong("promised before its row file came")
            if row["state"] == REFUSED:
                refusal = Refusal.parse(row["refusal"])
                if self._genesis is not None:
                    refusal.verify(self._genesis.receipts)
                if (refusal.entry, refusal.code) != (statement.leaf, row["refused_code"]):
                    raise _Wrong("the refusal is of another statement, or for another reason")
            elif self._scan.has_entry(statement.leaf):
                raise _Wrong("waits, and is in the log")
        except _FAULTS as error:
            return self._finding("queue", where, str(error), "restore this row, or have the issuer send it again")
        payload = statement.payload
        if row["state"] == PENDING and isinstance(payload, Hold | Tombstone):
            have = (self._public.root / rows_name(payload.root), self._private.root / upload_name(payload.root))
            if not any(path.is_file() for path in have):
                return self._finding(
                    "upload",
                    self._where(have[1]),
                    f"the statement in {where} was promised, and its row file is gone",
                    "ask its holder to send the row file again",
                )
        return None

    # --- row files ---

    def _find_rows(self, position: int, payload: Hold | Tombstone) -> Iterator[Finding]:
        """Check that the row file of an entry is there; what is in it is checked once, for all who name it."""
        name = rows_name(payload.root)
        if (self._public.root / name).exists() or payload.root in self._wanted_rows:
            return
        uploaded = (self._private.root / upload_name(payload.root)).is_file()
        if uploaded and position >= self._published:
            return  # about to be published
        self._wanted_rows.add(payload.root)
        where = self._where(self._public.root / name)
        message = f"is missing; entry {position} names it, with {payload.count} rows"
        yield self._repaired(
            "rows", where, message, lambda: self._restore_rows(payload.root, payload.count), remedy=_ROWS_REMEDY
        )

    def _check_row_files(self) -> Iterator[Finding]:
        for blobs, folder in ((self._public, "rows"), (self._private, "uploads")):
            names: list[str] = []
            for path in _files(blobs.root / folder):
                if _is_root(path.name):
                    names.append(path.name)
                if len(names) == 256:
                    yield from self._check_rows_of(blobs, folder, names)
                    names = []
            yield from self._check_rows_of(blobs, folder, names)

    def _check_rows_of(self, blobs: DirectoryBlobs, folder: str, names: list[str]) -> Iterator[Finding]:
        named = self._scan.named_rows([bytes.fromhex(name) for name in names])
        named |= {root: count for root, count in self._hidden.items() if root.hex() in names}
        for name in names:
            root = bytes.fromhex(name)
            path = blobs.root / folder / name
            self.checked["row files"] += 1
            fault = self._rows_fault(path, root)
            self._progress("row files", self.checked["row files"], None)
            if folder == "rows" and root not in named:
                if self._lost:
                    continue
                yield self._finding(
                    "foreign", self._where(path), "no entry names this row file, and everybody can read it", "remove it"
                )
            elif fault is not None and folder == "rows":
                count = named[root]
                yield self._repaired(
                    "rows",
                    self._where(path),
                    fault,
                    partial(self._restore_rows, root, count or MAX_ROWS),
                    remedy=_ROWS_REMEDY,
                )
            elif fault is not None and path.exists():
                yield self._finding(
                    "upload", self._where(path), fault, "remove it, and ask its holder to send the row file again"
                )
        self._hold_lease()

    def _rows_fault(self, path: Path, root: Hash) -> str | None:
        try:
            encoded = _read(path, MAX_ROWS * ROW)
            if encoded is None:
                return "is missing"
            self.checked["rows"] += len(encoded) // ROW
            if (found := RowFile.parse(encoded).root()) != root:
                return f"has root {found.hex()}"
        except AttestError as error:
            return str(error)
        return None

    def _restore_rows(self, root: Hash, count: int) -> bool:
        """Take a row file from our uploads or from elsewhere; its root proves it."""
        uploaded = self._private.root / upload_name(root)
        if self._rows_fault(uploaded, root) is None:
            self._public.overwrite(rows_name(root), uploaded.read_bytes())
            return True
        if self._repair is None or self._repair.source is None:
            return False
        source = self._repair.source
        remote = source.startswith(("https://", "http://"))
        with LogClient(
            source if remote else "http://localhost",
            None,
            transport=None if remote else PublicFiles(Path(source)),
            patience_s=_PATIENCE_S,
        ) as client:
            try:
                encoded = client.rows(root, most=count * ROW)
                if RowFile.parse(encoded).root() != root:
                    return False
            except AttestError:
                return False
        self._public.overwrite(rows_name(root), encoded)
        self._wanted_rows.discard(root)
        return True

    # --- tiles and bundles ---

    def _check_tiles(self) -> Iterator[Finding]:
        """Make every tile and bundle from the entries again and compare, the upper levels along the way."""
        size = self._required_head().size
        levels: list[list[Hash | None]] = []  # of each level, the hashes of the tile that is being filled
        counts: list[int] = []
        for first in range(0, size, tiles.FULL):
            index, width = first // tiles.FULL, min(tiles.FULL, size - first)
            rows = self._scan.entries(first, first + width)
            unproven = any(first < each.stop and each.start < first + width for each in self._unproven)
            self._lost |= unproven
            if not unproven:
                yield from self._check_rows_beside(first, first + width, rows)
            entries = self._good_entries(first, first + width, rows)
            leaves = [
                self._bad.get(position) if entry is None else tree.leaf_hash(entry)
                for position, entry in enumerate(entries, first)
            ]
            if unproven:
                leaves = [None] * width
            yield from self._check_bundle(index, leaves, entries)
            level, at, hashes = 0, index, leaves
            while True:
                yield from self._check_tile(level, at, hashes)
                if len(hashes) < tiles.FULL:
                    break
                whole = [each for each in hashes if each is not None]
                level += 1
                if len(levels) < level:
                    levels.append([])
                    counts.append(0)
                above = levels[level - 1]
                above.append(tree.root(whole) if len(whole) == tiles.FULL else None)
                if len(above) < tiles.FULL:
                    break
                at, hashes = counts[level - 1], above
                levels[level - 1] = []
                counts[level - 1] += 1
            self._progress("tiles", first + width, size)
            self._hold_lease()
        for level, (left, at) in enumerate(zip(levels, counts, strict=True), 1):
            if left:
                yield from self._check_tile(level, at, left)

    def _check_rows_beside(self, start: int, end: int, rows: Mapping[int, Row]) -> Iterator[Finding]:
        """Check what stands beside entries in the database: columns, promises, parties; and row files."""
        admitted: dict[int, Party] = {}
        for position in range(start, end):
            if position in self._bad:
                continue
            row = rows[position]
            try:
                statement = Statement.parse(row["entry"])
            except Malformed as error:
                yield self._finding(
                    "entry", f"entries {position}", f"was signed so, and is none: {error}", "keep everything"
                )
                continue
            at = bisect_right(self._ends, position)
            whole = at < len(self._ends) and (at == 0 or self._numbers[at - 1] == self._numbers[at] - 1)
            yield from self._check_columns(position, row, statement, self._numbers[at] if whole else None)
            if isinstance(statement.payload, Party):
                admitted[position] = statement.payload
        yield from self._check_parties(start, end, admitted)

    def _good_entries(self, start: int, end: int, rows: Mapping[int, Row]) -> list[bytes | None]:
        """Return entries as they were signed: from the database or, where it is wrong, as they are published."""
        bad = [position for position in range(start, end) if position in self._bad]
        stored = self._stored_entries(start, end) if bad else {}
        found: list[bytes | None] = []
        for position in range(start, end):
            if position not in self._bad:
                found.append(rows[position]["entry"])
            else:
                entry = stored.get(position)
                right = entry is not None and tree.leaf_hash(entry) == self._bad[position]
                found.append(entry if right else None)
                self._lost |= not right
                with contextlib.suppress(AttestError):
                    payload = Statement.parse(entry or b"").payload
                    if right and isinstance(payload, Hold | Tombstone):
                        self._hidden[payload.root] = payload.count
        return found

    def _check_bundle(
        self, index: int, leaves: Sequence[Hash | None], entries: Sequence[bytes | None]
    ) -> Iterator[Finding]:
        whole = [entry for entry, leaf in zip(entries, leaves, strict=True) if entry is not None and leaf is not None]
        if len(whole) < len(entries):
            return  # not known what it should be
        self.checked["bundles"] += 1
        yield from self._compare(
            "bundle",
            lambda width: tiles.entries_path(index, width),
            len(entries),
            0,
            index,
            lambda width: tiles.encode_bundle(whole[:width]),
        )

    def _check_tile(self, level: int, index: int, hashes: Sequence[Hash | None]) -> Iterator[Finding]:
        whole = [each for each in hashes if each is not None]
        if len(whole) < len(hashes):
            return
        self.checked["tiles"] += 1
        yield from self._compare(
            "tile",
            lambda width: tiles.tile_path(level, index, width),
            len(hashes),
            level,
            index,
            lambda width: b"".join(whole[:width]),
        )

    def _compare(
        self,
        kind: str,
        path_of: Callable[[int], str],
        known: int,
        level: int,
        index: int,
        content: Callable[[int], bytes],
    ) -> Iterator[Finding]:
        """Compare a full tile or bundle, and all partial ones of the same index, with what they should be.

        Args:
            known: how many of its hashes or entries there are.
            content: what one of this width should be.
        """
        published = min(tiles.FULL, (self._published >> 8 * level) - index * tiles.FULL)
        full = self._public.root / path_of(tiles.FULL)
        if known == tiles.FULL:
            required = published == tiles.FULL
            if required or full.exists():
                yield from self._compare_one(f"{kind}", path_of(tiles.FULL), content(tiles.FULL))
        elif full.exists() and (self._now() >> 8 * level) - index * tiles.FULL < tiles.FULL:
            yield self._beyond(full)
        if 0 < published < tiles.FULL and not full.exists() and not (self._public.root / path_of(published)).exists():
            yield from self._compare_one(kind, path_of(published), content(published))
        for name in sorted(path.name for path in _files(full.with_name(full.name + ".p"))):
            if not (name.isascii() and name.isdigit()):
                continue  # named among the foreign files
            width = int(name)
            if 0 < width <= min(known, tiles.FULL - 1):
                code = kind if width == published else "partial"
                yield from self._compare_one(code, path_of(width), content(width))
            elif width < tiles.FULL and (self._now() >> 8 * level) - index * tiles.FULL < width:
                yield self._beyond(self._public.root / path_of(width))

    def _compare_one(self, kind: str, name: str, want: bytes) -> Iterator[Finding]:
        found = _read(self._public.root / name, len(want) + 1)
        if found == want:
            return
        if found is None:
            message = "is missing or cannot be read"
        elif len(found) != len(want):
            more = len(found) > len(want)
            message = f"has {f'more than {len(want)}' if more else len(found)} bytes, want {len(want)}"
        else:
            at = next(n for n, (a, b) in enumerate(zip(found, want, strict=True)) if a != b)
            message = f"differs from byte {at} on"
        yield self._repaired(
            kind, self._where(self._public.root / name), message, lambda: self._public.overwrite(name, want)
        )

    def _beyond(self, path: Path) -> Finding:
        return self._finding(
            "beyond",
            self._where(path),
            f"belongs to a log of more than {self._required_head().size} entries",
            "the database is older than what was written: restore the newest",
        )

    def _now(self) -> int:
        """Return how many entries the log has at this moment."""
        record = self._log.last_epoch()
        return 0 if record is None else record.size

    # --- transition proofs and snapshots ---

    def _check_transitions(self) -> Iterator[Finding]:
        """Verify every proof that is promised, each from what its epoch was signed over."""
        head = self._required_head()
        first = self._first_promised()
        total = head.number + 1 - first
        for number in range(first, head.number + 1):
            record = self._epoch(number)
            if record is None or record.size > self._published or self._touches_bad(number, record):
                continue
            self.checked["transitions"] += 1
            message = self._transition_fault(number, record)
            self._progress("transitions", number + 1 - first, total)
            # It may have become too old meanwhile.
            if message is not None and number >= self._first_promised():
                where = self._where(self._private.root / transition_name(number))
                yield from self._by_replay(self._transitions, number, "transition", where, message)
            self._hold_lease()

    def _first_promised(self) -> int:
        return self._log.first_epoch_since(int(self._clock()) - self._config.transitions_s)

    def _touches_bad(self, number: int, record: EpochRecord) -> bool:
        before = 0 if number == 0 else getattr(self._epoch(number - 1), "size", 0)
        return any(before - 1 <= position < record.size for position in self._bad) or any(
            each.start < record.size and before - 1 < each.stop for each in self._unproven
        )

    def _transition_fault(self, number: int, record: EpochRecord) -> str | None:
        encoded = _read(self._private.root / transition_name(number), _MAX_TRANSITION)
        if encoded is None:
            return "is missing"
        before = self._epoch(number - 1) if number else None
        anchor = Anchor.empty()
        if number:
            previous = None if before is None else self._statement(before.size - 1)
            if before is None or previous is None:
                return None
            anchor = Anchor(self._genesis, before.size, before.tree_root, previous)
        try:
            after = verify_transition(encoded, anchor, self._history.rows)
        except Unavailable as error:
            return None if error.code.startswith("rows/") else str(error)
        except AttestError as error:
            return None if error.code.startswith("rows/") else str(error)
        if (after.size, after.root) != (record.size, record.tree_root):
            return f"leads to {after.size} entries, root {after.root.hex()}"
        return None

    def _check_snapshots(self) -> Iterator[Finding]:
        for number in self._history.numbers():
            place = self._history.snapshots / str(number)
            record = self._epoch(number)
            if record is None:
                remedy = "remove it; if it is newer than the last epoch, the database was rolled back"
                yield self._finding("foreign", self._where(place), "no epoch has this number", remedy)
                continue
            if self._bad or self._unproven:
                continue
            self.checked["snapshots"] += 1
            for where, message in self._snapshot_faults(place, record):
                if place.exists():  # the service keeps two
                    yield from self._by_replay(self._snapshots, number, "snapshot", self._where(where), message)
            self._hold_lease()

    def _snapshot_faults(self, place: Path, record: EpochRecord) -> Iterator[tuple[Path, str]]:
        """Name the files of a snapshot that are not what was written."""
        try:
            encoded = _read(place / "manifest.json", MAX_MANIFEST)
            if encoded is None:
                raise _Wrong("is missing")
            digests = parse_json(encoded, MAX_MANIFEST)["digests"]
            wanted = {
                place / folder / name if folder != "heads" else place / name: digest
                for folder, files in digests.items()
                for name, digest in files.items()
            }
        except _FAULTS as error:
            yield place / "manifest.json", str(error)
            return
        if any(path.parent not in (place, *(place / folder for folder in digests)) for path in wanted):
            yield place / "manifest.json", "names files elsewhere"
            return
        faults = [
            (path, fault) for path, digest in wanted.items() if (fault := _digest_fault(path, digest)) is not None
        ]
        try:
            self._history.load_one(record, self._frontiers.get(record.number))
        except (*_FAULTS, OSError) as error:
            yield from faults or [(place / "manifest.json", str(error))]
        else:
            # The maps lead to the signed roots: it is their digests that are wrong.
            if faults:
                yield place / "manifest.json", f"has other digests than {', '.join(path.name for path, _ in faults)}"

    def _by_replay(
        self, found: dict[int, list[Finding]], number: int, code: str, where: str, message: str
    ) -> Iterator[Finding]:
        """Report at once what nobody repairs; leave the rest to the replay."""
        finding = self._finding(code, where, message, "run with --repair")
        if self._repair is None:
            yield finding
        else:
            found.setdefault(number, []).append(finding)

    # --- the replay ---

    def _replay(self) -> Iterator[Finding]:
        """Run all rules over all entries again, and make again what can only be made on the way."""
        head = self._required_head()
        broken = {**self._transitions, **self._snapshots}
        if self._quick and not broken:
            return
        ledger = new_ledger()
        if self._quick:
            below = self._epoch(min(broken) - 1)
            damaged = set(self._snapshots)
            ledger = new_ledger() if below is None or damaged else self._history.load(below.size)
        number = 0 if ledger.previous is None else _number_of(ledger.previous) + 1
        until = max(broken) if self._quick else head.number
        try:
            while number <= until:
                record = self._epoch(number)
                if record is None:
                    raise Unavailable("store/entries", f"epoch {number} is not in the database")
                ledger = yield from self._replay_epoch(ledger, record)
                number += 1
                self._progress("replay", ledger.size, head.size)
                self._hold_lease()
        except (Conflict, Malformed, AttestError) as error:
            if error.code == "sequencer/lease":
                raise
            code = "not-replayed" if self._truth_lost else "replay"
            yield self._finding(
                code,
                f"epochs {number}",
                f"the rules do not get beyond it: {error}",
                "restore what is named above" if self._truth_lost else "keep everything; see docs/errors.md",
            )
        # What the replay did not reach.
        for left in (*self._transitions.values(), *self._snapshots.values()):
            yield from left

    def _replay_epoch(self, base: Ledger, record: EpochRecord) -> Generator[Finding, None, Ledger]:
        entries = [each.entry for each in self._log.entries(base.size, record.size)]
        draft = Draft(base)
        after = replay_epoch(base, draft, entries, self._history.rows)
        check_record(after, record)
        self.checked["replayed"] += len(entries)
        counted = sorted(changed(base, after, record.number), key=lambda row: (row["party"], row["system"]))
        if self._scan.counts(record.number) != counted:
            yield self._repaired(
                "counts",
                f"counts {record.number}",
                "what is counted after this epoch is not what its entries lead to",
                lambda: self._scan.restore_counts(self._lease, record.number, counted),
            )
        if (found := self._transitions.pop(record.number, None)) is not None and after.previous is not None:
            proof = prove_transition(base, draft, after.previous)
            yield from self._done(found, lambda: self._private.overwrite(transition_name(record.number), proof))
        if (found := self._snapshots.pop(record.number, None)) is not None:
            yield from self._done(found, lambda: self._rewrite_snapshot(after, record))
        return after

    def _rewrite_snapshot(self, ledger: Ledger, record: EpochRecord) -> None:
        place = self._history.snapshots / str(record.number)
        # Aside first: a snapshot that is half removed must not stand under its name.
        aside = self._history.snapshots / f".new-{sha256(str(record).encode()).hex()[:16]}"
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
        self._history.write(ledger, record)
        shutil.rmtree(aside, ignore_errors=True)

    # --- files that nobody asked for ---

    def _check_files(self) -> Iterator[Finding]:
        for path in _walk(self._public.root):
            name = path.relative_to(self._public.root).as_posix()
            if name == "checkpoint" or (name.startswith("rows/") and _is_root(name.removeprefix("rows/"))):
                continue
            with contextlib.suppress(Malformed):
                level, index, _ = tiles.parse_tile_path(name)
                begins = (index * tiles.FULL) << 8 * (level or 0)
                if begins < self._required_head().size or begins < self._now():
                    continue
                yield self._beyond(path)
                continue
            yield from self._foreign(path)
        for path in _walk(self._private.root):
            folder, _, name = path.relative_to(self._private.root).as_posix().partition("/")
            if folder == "uploads" and _is_root(name):
                continue
            if folder == "transitions" and name.isascii() and name.isdigit():
                if int(name) > self._required_head().number and self._epoch(int(name)) is None:
                    yield self._beyond(path)
                continue
            if folder == "snapshots" and self._is_of_snapshot(name):
                continue
            if folder == "evidence" and "/" not in name and not name.startswith("."):
                yield self._evidence(path)
                continue
            yield from self._foreign(path)

    def _is_of_snapshot(self, name: str) -> bool:
        number, _, rest = name.partition("/")
        folder, _, file = rest.partition("/")
        if not (number.isascii() and number.isdigit()):
            return False
        if not file:
            return folder in ("manifest.json", "heads")
        return folder.isascii() and folder.isdigit() and file in ("prefix.npy", "rest.npy", "states.npy")

    def _evidence(self, path: Path) -> Finding:
        digest = sha256(_read(path, _MAX_EVIDENCE) or b"").hex()[:16]
        message = "a witness contradicts this log" if path.name.endswith(f"-{digest}") else "is not what was written"
        return self._finding("evidence", self._where(path), message, "see docs/guides/operator.md#witnesses")

    def _foreign(self, path: Path) -> Iterator[Finding]:
        where = self._where(path)
        if any(part.startswith(".new-") for part in path.parts):
            # Somebody may be writing it.
            try:
                old = time.time() - path.stat().st_mtime > _ABANDONED_S
            except FileNotFoundError:
                return
            if old:
                yield self._repaired(
                    "left-over", where, "a write that was never finished", path.unlink, remedy="remove it"
                )
            return
        yield self._finding("foreign", where, "is no file of this log", "find out what it is, and move it elsewhere")

    # --- findings and repairs ---

    def _finding(self, code: str, where: str, message: str, remedy: str) -> Finding:
        return Finding(f"fsck/{code}", where, message, remedy)

    def _repaired(
        self,
        code: str,
        where: str,
        message: str,
        write: Callable[[], bool | None],
        *,
        remedy: str = "run with --repair",
    ) -> Finding:
        """Report something that `write` makes right, if that is allowed."""
        return next(self._done([self._finding(code, where, message, remedy)], write))

    def _done(self, findings: Sequence[Finding], write: Callable[[], bool | None]) -> Iterator[Finding]:
        """Report things that `write` makes right together, if that is allowed; it returns False where it could not."""
        if self._repair is None:
            yield from findings
            return
        self._hold_lease()
        try:
            changes: dict[str, Any] = {"repaired": write() is not False}
        except AttestError as error:
            if error.code == "sequencer/lease":
                raise
            changes = {"remedy": f"repair failed, {error}"}
        except OSError as error:
            changes = {"remedy": f"repair failed: {error.strerror}"}
        yield from (replace(finding, **changes) for finding in findings)

    def _hold_lease(self) -> None:
        """Keep everybody else from writing while we do. Raises `Conflict`: `sequencer/lease`."""
        if self._repair is not None and not self._lease.acquire():
            raise Conflict(
                "sequencer/lease",
                "a service is running, or was until a moment ago",
                hint=f"stop `attest serve` on all machines; one that was killed counts as running for "
                f"{self._config.lease_s} s",
            )

    def _where(self, path: Path) -> str:
        """Name a file as the operator does."""
        base = self._config.directory.resolve()
        return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)

    def _required_head(self) -> EpochRecord:
        if self._head is None:
            raise ValueError("nothing is read yet")
        return self._head


def _record(row: Row) -> EpochRecord:
    names = ("number", "size", "time", "tree_root", "top_root", "checkpoint")
    return EpochRecord(*(row[name] for name in names))


def _leading(frontier: tree.Frontier, leaves: Sequence[Hash | None], roots: set[Hash]) -> list[Hash] | None:
    """Return leaf hashes if all are there and lead to one of these roots."""
    whole = [leaf for leaf in leaves if leaf is not None and len(leaf) == 32]
    return whole if len(whole) == len(leaves) and frontier.append(whole).root() in roots else None


def _genesis_of(entry: bytes) -> Log | None:
    with contextlib.suppress(AttestError):
        payload = Statement.parse(entry).payload
        return payload if isinstance(payload, Log) else None
    return None


def _number_of(statement: Statement) -> int:
    return statement.payload.number if isinstance(statement.payload, Epoch) else -1


def _describe(note: str) -> str:
    try:
        checkpoint = SignedCheckpoint.parse(note).checkpoint
    except AttestError as error:
        return f"no checkpoint ({error.code})"
    return f"a checkpoint of {checkpoint.size} entries, root {checkpoint.root.hex()}"


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)[:80]


def _is_root(name: str) -> bool:
    return len(name) == 64 and set(name) <= _HEX


def _read(path: Path, most: int) -> bytes | None:
    """Return at most so many bytes of a file, and one more if there are more; None if there is no file to read."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError:
        return None


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder, not in those below it."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        for entry in found:
            if entry.is_file():
                yield folder / entry.name


def _walk(root: Path) -> Iterator[Path]:
    """Yield all files below a folder, each folder in the order of names; symbolic links to folders as files."""
    for folder, folders, files in os.walk(root):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(files))
        yield from (Path(folder) / name for name in folders if (Path(folder) / name).is_symlink())


def _digest_fault(path: Path, digest: object) -> str | None:
    """Say how a file differs from the one with this SHA-256; it may be large."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "is missing or cannot be read"
    return None if found == digest else f"has SHA-256 {found}, want {_shown(digest)}"
