"""The audit: from a signed checkpoint down to every row, recomputed from entries and row files alone.

Spec: docs/spec/audit.md.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from attest.audit.entries import TreeCheck
from attest.audit.facts import Facts, Suspicion
from attest.audit.findings import Finding, Report, Severity
from attest.audit.lists import PartyLists
from attest.audit.memory import Memory, Progress
from attest.audit.source import MAX_CHECKPOINT, Ahead, Counted, Mirror, Source, SourceLog, rows_path
from attest.collector import uncollected
from attest.encoding import Hash, sha256
from attest.errors import AttestError, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.checkpoint import SignedCheckpoint, verify_log_signatures
from attest.formats.policy import Policy, PolicyVerdict
from attest.formats.rows import ROW, RowFile, prove_row, rows_root
from attest.formats.statement import MAX_ROWS, Epoch, Hold, Statement, Tombstone
from attest.ledger.claims import Departure
from attest.ledger.epoch import Ledger
from attest.ledger.evidence import Evidence
from attest.ledger.evidence.contradictions import Contradiction
from attest.ledger.evidence.epochs import BadEpoch, check_genesis, end_of, no_epoch
from attest.ledger.evidence.exhibit import Exhibit, Shown
from attest.ledger.evidence.files import BadRows, rows_wrong
from attest.ledger.evidence.notes import FORK, BadNote, Fork, Older, Silence, older, silent
from attest.ledger.refusal import RefusedEpoch, replay_or_refuse
from attest.ledger.rules import Effects, SystemId
from attest.ledger.transition import Anchor, verify_transition
from attest.merkle.tiles import TileBuilder
from attest.merkle.tree import leaf_hashes
from attest.served import Asked, ServedTree
from attest.statemap import HashedRows, parallel
from attest.store.kept import keep, kept

MAX_EPOCH: Final = 1 << 20  # entries
_SAVE_S: Final = 120.0  # between two states that are saved
_PROCESSES: Final = 4  # that hash
MAX_TRANSITION: Final = 256 << 20
_MAX_KEPT: Final = 1000  # findings of one log whose evidence is kept


Watcher: TypeAlias = Callable[[str, int, int | None], None]
"""Is told how far an audit is: what is counted, how many are done, of how many."""


@dataclass(slots=True)
class Order:
    """What to audit, and how."""

    policy: Policy
    place: str  # where the log is read, for the report
    now: int
    others: Sequence[SignedCheckpoint] = ()  # checkpoints of this log seen elsewhere
    live: bool = True  # the log is asked now, so that its newest checkpoint has to be fresh
    workers: int = 4
    fresh: bool = False  # check everything anew, whatever was checked before
    watch: Watcher = field(default=lambda what, done, total: None)
    seen: Callable[[int, Statement, RowFile | None, Effects], None] | None = None  # is told of every accepted entry
    ended: Callable[[Ledger], None] | None = None  # is told of every epoch
    despite_disk: bool = (
        False  # what is found is reported even where our own disk fails; a monitor has to remember first
    )
    saving: Callable[[], None] | None = None  # is told before the memory learns how far the replay is


def audit(source: Source, order: Order, memory: Memory | None, evidence: Path | None) -> Report:
    """Audit a whole log.

    Args:
        memory: where the audit before has ended, and this one ends; None to begin with nothing and keep nothing.
        evidence: a directory for what is found; None keeps nothing.

    Raises:
        Unavailable: the log or the disk is not there. What was checked until then is remembered.
        Malformed, Untrusted: what is there is not a log's checkpoint, or not this log's.
    """
    counted = Counted(source)
    started = time.monotonic()
    work = Audit(counted, order, memory, source if isinstance(source, Mirror) else None, evidence)
    report = work.report
    with contextlib.closing(work), uncollected(), parallel(min(_PROCESSES, len(os.sched_getaffinity(0)))):
        try:
            work.run()
        except (Unavailable, OSError) as error:
            if not order.despite_disk or not report.findings or not _is_ours(error):
                raise
            report.complete = False
            report.troubles.append(f"what was verified could not be remembered: {error}")
    report.traffic = {"requests": counted.traffic.requests, "bytes": counted.traffic.bytes}
    report.seconds = time.monotonic() - started
    return keep_all(report, evidence, despite=order.despite_disk)


def _is_ours(error: Exception) -> bool:
    """Tell trouble with our own disk from trouble with a log."""
    return isinstance(error, OSError) or (isinstance(error, Unavailable) and error.code.startswith("store/"))


def keep_all(report: Report, directory: Path | None, *, despite: bool) -> Report:
    """Keep the evidence of all findings.

    Args:
        despite: a finding whose evidence cannot be kept is reported all the same.
    """
    if directory is None:
        return report
    for number, finding in enumerate(report.findings):
        try:
            report.findings[number] = _kept(finding, directory)
        except (Unavailable, OSError) as error:
            if not despite:
                raise
            report.troubles.append(f"evidence of {finding.code} could not be kept in {directory}: {error}")
    return report


def _kept(finding: Finding, directory: Path) -> Finding:
    if finding.evidence is None:
        return finding
    place = keep(finding.evidence, directory, _MAX_KEPT)
    if place is None:
        return finding
    encoded = place.read_bytes()
    return replace(finding, kept=str(place), kept_sha256=sha256(encoded).hex(), kept_bytes=len(encoded))


def contradiction(
    signed: SignedCheckpoint,
    log: SourceLog,
    facts: Facts,
    suspicion: Suspicion,
    shown: Callable[[int], Shown],
    epoch: Shown | None,
) -> Finding | None:
    """Make evidence of what a holder has signed against itself; None if it does not come to that.

    Args:
        shown: proves an entry.
        epoch: the last one before the first of the two statements.
    """
    statements = [shown(position) for position in (suspicion.first, suspicion.second)]
    proofs, keys = [], []
    for each in statements:
        statement = Statement.parse(each.entry)
        payload = statement.payload
        if not isinstance(payload, Hold | Tombstone):
            raise Unavailable("audit/state", "what was remembered of a statement is not so")
        file = RowFile.parse(log.rows(payload.root, payload.count * ROW))
        file.check(payload.count, payload.root)
        proofs.append(prove_row(file, file.indexes.index(suspicion.index)))
        keys.append(shown(facts.admitted[f"{suspicion.party} {statement.kid.hex()}"]))
    exhibit = Contradiction(tuple(keys), tuple(statements), tuple(proofs), epoch)
    refusal = exhibit.look(signed, suspicion.code).refusal
    if refusal.code == "none":
        return None
    return _contradicts(suspicion, Evidence(signed, refusal.code, refusal.message, exhibit))


def known_contradiction(suspicion: Suspicion, origin: str, policy: Policy, directory: Path | None) -> Finding | None:
    """Find evidence of it that was kept before: to make it again, row files are read that are not new."""
    if directory is None:
        return None
    for evidence in kept(directory, origin, suspicion.code):
        exhibit = evidence.exhibit
        if (
            isinstance(exhibit, Contradiction)
            and tuple(each.position for each in exhibit.statements) == (suspicion.first, suspicion.second)
            and exhibit.rows[0].index == suspicion.index
        ):
            with contextlib.suppress(AttestError):
                evidence.check(policy)
                return _contradicts(suspicion, evidence)
    return None


def _contradicts(suspicion: Suspicion, evidence: Evidence) -> Finding:
    return Finding(
        suspicion.code,
        "contradiction",
        evidence.message + (f" ({suspicion.count} such rows)" if suspicion.count > 1 else ""),
        (suspicion.first, suspicion.second),
        suspicion.party,
        suspicion.system,
        evidence=evidence,
    )


_Accepted: TypeAlias = tuple[int, Statement, RowFile | None, Effects]


def _getter(rows: Mapping[Hash, bytes | None]) -> Callable[[Hash], bytes]:
    def get(root: Hash) -> bytes:
        found = rows.get(root)
        if found is None:
            raise Unavailable("rows/missing", f"row file {root.hex()} is not there")
        return found

    return get


def _parser(rows: Mapping[Hash, bytes | None]) -> Callable[[Hash], RowFile]:
    def get(root: Hash) -> RowFile:
        return HashedRows.parse(_getter(rows)(root))

    return get


class Stop(Exception):
    """Nothing above this can be checked."""


class Audit:
    """One run."""

    def __init__(
        self, source: Source, order: Order, memory: Memory | None, mirror: Mirror | None, kept: Path | None = None
    ) -> None:
        self._mirror = mirror
        self._kept = kept
        self._source = source
        self._order = order
        self._memory = memory
        self._log = SourceLog(source)
        self._ahead = Ahead(order.workers)
        try:
            encoded = source.read("checkpoint", MAX_CHECKPOINT)
            if encoded is None:
                raise Malformed("checkpoint/lines", "nothing is there")
            self._signed = SignedCheckpoint.parse(encoded)
        except Malformed as error:
            # Without a signature it is nobody's word, so nobody is refuted.
            raise Unavailable(
                "audit/no-log", f"{order.place} serves no checkpoint: {error}", hint="is the address right?"
            ) from None
        self._whole = self._signed.checkpoint
        self._progress = Progress.empty()
        self._tree: TreeCheck | None = None
        self._rows_total = 0
        self._lists: PartyLists | None = None
        self._torn = False  # an epoch is taken, and not everybody has been told
        self.report = Report(self._whole.origin, order.place, order.now)

    def close(self) -> None:
        """Stop reading, and forget the entries."""
        self._ahead.close()
        if self._tree is not None:
            self._tree.close()

    def run(self) -> None:
        """Check everything that can be."""
        report, whole = self.report, self._whole
        report.size, report.root = whole.size, whole.root.hex()
        try:
            self._check_note()
            if self._memory is not None and not self._order.fresh:
                self._progress = self._memory.load(whole.origin)
                if self._mirror is not None and self._mirror.size() < self._progress.ledger.size:
                    # What was checked before is not in the copy.
                    self._progress = Progress.empty()
            self._check_history()
            tree = self._checked()
            self._check_end(tree)
            report.complete = True
            self._copy(tree)
            if self._memory is not None:
                self._memory.verify(self._signed)
        except Stop:
            pass
        finally:
            self._report_facts()

    def _checked(self) -> TreeCheck:
        """Read and replay everything that is new, or all of it if what was kept has rotted."""
        self.report.since = self._progress.ledger.size
        tree = self._read_entries()
        self._lists = None if self._mirror is None else PartyLists(self._mirror, self._progress.ledger)
        try:
            self._replay(tree)
        except (Stop, IndexError, ValueError):
            # Nobody is accused because of our own disk; and over maps that are out of order we may stumble anywhere.
            if not self.report.since or self._memory is None or self._memory.check(self._whole.origin):
                raise
            self.report.findings.clear()
            self._progress = Progress.empty()
            tree.close()
            return self._checked()
        finally:
            self._save()
        return tree

    # --- the checkpoint ---

    def _check_note(self) -> None:
        policy = self._order.policy
        if whole_origin := next((log.verifier.name for log in policy.logs), None):
            if all(log.verifier.name != self._whole.origin for log in policy.logs):
                raise Untrusted(
                    "checkpoint/foreign", f"a checkpoint of log {self._whole.origin}, the policy pins {whole_origin}"
                )
        else:
            raise Untrusted("checkpoint/unpinned", "the policy pins no log key", hint="name the log's keys in it")
        try:
            weighed = policy.check(self._signed)
        except (Refuted, Untrusted) as error:
            # Whoever serves a note may have changed its lines: that is no word of the log.
            self._find(error, "fault", BadNote())
            raise Stop from None
        self._weigh(weighed)
        if self._whole.size < 2:
            raise Malformed("checkpoint/size", f"size {self._whole.size}; the first checkpoint has size 2")

    def _weigh(self, weighed: PolicyVerdict) -> None:
        self.report.existed_by = weighed.existed_by
        self.report.witnesses = [witness.name for witness in weighed.witnesses]
        if not weighed.quorum:
            names = ", ".join(self.report.witnesses) or "none"
            error = Untrusted("checkpoint/quorum", f"the policy's quorum of witnesses is not met; cosigned by: {names}")
            # It may still come, so everything else is looked at.
            self._find(error, "missing", BadNote())

    def _check_history(self) -> None:
        """Hold the log to what it has signed before, here and elsewhere."""
        known = None if self._memory is None else self._memory.verified(self._whole.origin)
        verifiers = [log.verifier for log in self._order.policy.logs]
        if known is not None:
            try:
                verify_log_signatures(known, verifiers)
            except AttestError as error:
                # What we have kept wrongly is no word of the log.
                raise Unavailable("audit/state", f"the last checkpoint verified is not signed: {error}") from None
            self._compare(known)
        for other in self._order.others:
            if other.checkpoint.origin != self._whole.origin:
                raise Untrusted("checkpoint/foreign", f"another checkpoint is of log {other.checkpoint.origin}")
            verify_log_signatures(other, verifiers)
            self._compare(other)
        ledger = self._progress.ledger
        if ledger.size > self._whole.size:
            self._find(older(self._whole.size, ledger.size), "fault", None if known is None else Older(known))
            raise Stop

    def _compare(self, other: SignedCheckpoint) -> None:
        whole, old = self._whole, other.checkpoint
        if old.size > whole.size:
            self._find(older(whole.size, old.size), "fault", Older(other))
            raise Stop
        root, path = (
            ServedTree(Asked(self._log), whole).consistency(old.size)
            if old.size != whole.size
            else (
                whole.root,
                [],
            )
        )
        if root != old.root:
            error = Refuted(FORK, f"the log has signed two histories of its first {old.size} entries")
            self._find(error, "lie", Fork(other, root, path))
            raise Stop

    # --- the tree ---

    def _read_entries(self) -> TreeCheck:
        ledger = self._progress.ledger
        tree = self._tree = TreeCheck(self._source, self._signed, ledger.frontier, self._progress.edges)
        total = self._whole.size - ledger.size
        try:
            good = tree.run(self._ahead, lambda size: self._order.watch("entries", size - ledger.size, total))
        except (Malformed, Unavailable) as error:
            self.report.findings += tree.findings
            if tree.findings:
                raise Stop from None
            if error.code != "log/tiles":
                raise
            self.report.findings.append(Finding("served/entries-missing", "missing", error.message))
            raise Stop from None
        self.report.findings += tree.findings
        self.report.checked["entries"] = total
        if not good:
            raise Stop
        return tree

    # --- the rules ---

    def _replay(self, tree: TreeCheck) -> None:
        saved_at = time.monotonic()
        for entries, rows in self._epochs(tree):
            self._take(tree, entries, rows)
            if time.monotonic() - saved_at > _SAVE_S:
                self._save()
                saved_at = time.monotonic()

    def _take(self, tree: TreeCheck, entries: list[bytes], rows: dict[Hash, bytes | None]) -> None:
        """Replay one epoch, and tell everybody. Of its rows nothing is left in memory while the next is replayed."""
        order = self._order
        before, facts = self._progress.ledger, self._progress.facts
        ledger, accepted = self._epoch(tree, entries, rows)
        builder = TileBuilder(self._progress.edges, before.size)
        builder.append(leaf_hashes(entries))
        self._torn = True
        self._progress = Progress(ledger, facts, builder.edges)
        touched: set[SystemId] = set()
        for each in accepted:
            facts.seen(*each)
            touched.update(each[3].systems)
            if self._lists is not None:
                self._lists.add(*each[:2])
            if order.seen is not None:
                order.seen(*each)
        facts.epoch(ledger, entries=len(entries))
        facts.touched(ledger, sorted(touched))
        files = [file for _, _, file, _ in accepted if file is not None]
        self.report.checked["epochs"] += 1
        self.report.checked["row_files"] += len(files)
        self.report.checked["rows"] += sum(map(len, files))
        order.watch("rows", self.report.checked["rows"], self._rows_total)
        if order.ended is not None:
            order.ended(ledger)
        self._torn = False

    def _epochs(self, tree: TreeCheck) -> Iterator[tuple[list[bytes], dict[Hash, bytes | None]]]:
        """Yield the entries of each epoch, and the row files they name as they are served."""
        start = tree.entries.start
        wanted: list[tuple[tuple[int, Hash | None], int]] = []  # row files and ends of epochs, in order
        begin = start
        for position in range(start, tree.entries.size):
            if position - begin >= MAX_EPOCH:
                raise Unavailable("audit/limit", f"an epoch of more than {MAX_EPOCH} entries")
            [entry] = tree.entries.read(position, position + 1)
            try:
                payload = Statement.parse(entry).payload
            except Malformed:
                continue  # the rules say so, at its place
            if isinstance(payload, Hold | Tombstone):
                size = payload.count * ROW
                wanted.append(((position, payload.root), size))
                self._rows_total += payload.count
            elif isinstance(payload, Epoch):
                wanted.append(((position, None), 0))
                begin = position + 1
        begin, rows = start, dict[Hash, bytes | None]()
        sizes: dict[Hash, int] = {}  # several statements may name one file, and some may say less than it has
        for (_, root), size in wanted:
            if root is not None:
                sizes[root] = max(size, sizes.get(root, 0))

        def read(item: tuple[int, Hash | None]) -> bytes:
            root = item[1]
            if root is None:
                return b""
            return self._row_file(root, sizes[root]) or b""

        for (position, root), content in self._ahead.each(wanted, read):
            if root is not None:
                rows[root] = content or None
                continue
            yield tree.entries.read(begin, position + 1), rows
            begin, rows = position + 1, {}
        if begin < tree.entries.size:
            # What comes after the last epoch: nobody has committed what it does.
            self._find(
                no_epoch(self._whole.size),
                "lie",
                BadEpoch(
                    anchor=Anchor.of(self._progress.ledger),
                    epoch=0,
                    shown=[tree.shown(self._whole.size - 1)],
                ),
            )
            raise Stop

    def _epoch(
        self, tree: TreeCheck, entries: list[bytes], rows: dict[Hash, bytes | None]
    ) -> tuple[Ledger, list["_Accepted"]]:
        """Replay one epoch; return the ledger after it, and what was accepted."""
        before = self._progress.ledger
        accepted: list[_Accepted] = []
        while True:
            accepted.clear()
            try:
                after = replay_or_refuse(before, entries, _parser(rows), lambda *each: accepted.append(each))
            except Unavailable as error:
                if error.code != "rows/missing" or not self._look_again(tree, before.size, entries, rows):
                    raise
            except RefusedEpoch as refused:
                # A file that is not the one named is no lie of the statement that names it.
                if refused.error.code.startswith("rows/") and self._look_again(tree, before.size, entries, rows):
                    continue
                self._refuse(tree, refused, entries, rows)
                raise Stop from None
            else:
                if before.size == 0:
                    self._check_genesis(tree, after)
                return after, accepted

    def _row_file(self, root: Hash, most: int) -> bytes | None:
        """Return what is served as a row file; None for nothing, zeros in place of one longer than `most` bytes."""
        try:
            return self._source.read(rows_path(root), most) or None
        except Malformed:
            return bytes(most + 1)

    def _longer(self, root: Hash) -> bytes | None:
        """Return what is served as a row file of whatever length there can be; None for more."""
        with contextlib.suppress(Malformed):
            return self._source.read(rows_path(root), MAX_ROWS * ROW)
        return None

    def _look_again(
        self, tree: TreeCheck, start: int, entries: Sequence[bytes], rows: dict[Hash, bytes | None]
    ) -> bool:
        """Look at row files that are not what their statements name. Tell whether a second look brought the right one.

        Raises:
            Stop: it did not, and that is found.
        """
        again = False
        for position, entry in enumerate(entries, start):
            try:
                statement = Statement.parse(entry)
            except Malformed:
                break  # the rules refuse it
            payload = statement.payload
            if not isinstance(payload, Hold | Tombstone):
                continue
            served, path = rows[payload.root], rows_path(payload.root)
            wrong = rows_wrong(position, payload, served)
            if wrong.code == "none":
                continue
            if self._source.forget(path):
                served = rows[payload.root] = self._row_file(payload.root, payload.count * ROW)
                wrong = rows_wrong(position, payload, served)
                if wrong.code == "none":
                    again = True
                    continue
            if served is not None and len(served) > payload.count * ROW:
                # Longer than it is said to be: is that who serves it, or who signed?
                served = self._longer(payload.root)
                if served is not None and rows_root(served) == payload.root:
                    rows[payload.root] = served
                    continue
                served = None if served is None else served[: payload.count * ROW + 1]
            severity: Severity = "missing" if wrong.code == "served/rows-missing" else "fault"
            party = statement.issuer.removeprefix("https://")
            # One that does not end is nothing that can be shown.
            endless = served is None and wrong.code == "served/rows"
            evidence = None if endless else self._evidence(wrong, BadRows(tree.shown(position), served))
            self.report.findings.append(
                Finding(
                    wrong.code, severity, wrong.message, (position,), party, statement.stream, path, evidence=evidence
                )
            )
            raise Stop
        return again

    def _check_genesis(self, tree: TreeCheck, after: Ledger) -> None:
        try:
            check_genesis(self._signed, Anchor.of(after))
        except Refuted as error:
            self._find(error, "lie", BadEpoch(anchor=Anchor.empty(), epoch=0, shown=[tree.shown(0)]), (0,))
            raise Stop from None

    def _refuse(
        self, tree: TreeCheck, refused: RefusedEpoch, entries: Sequence[bytes], rows: dict[Hash, bytes | None]
    ) -> None:
        """Find the lie, with the proof that names it best."""
        anchor, error, transition = refused.anchor, refused.error, refused.transition
        number = (
            0
            if anchor.previous is None or not isinstance(anchor.previous.payload, Epoch)
            else (anchor.previous.payload.number + 1)
        )
        if error.code == "rule/epoch-root":
            # The log's own proof shows the heads that it has committed: which of them is wrong, only it can say.
            with contextlib.suppress(AttestError):
                own = self._log.transition(number, MAX_TRANSITION)
                if own is not None:
                    try:
                        verify_transition(own, anchor, _getter(rows))
                    except Departure as departure:
                        error, transition = departure, own
        else:
            # Whoever has no maps has to be refused for the same reason.
            try:
                verify_transition(transition, anchor, _getter(rows))
            except AttestError as again:
                error = again
        after = end_of(transition, anchor)
        served = tree.served_tree()
        root, path = (None, None) if after is None else served.consistency(after.size)
        shown = [] if not anchor.size else [tree.shown(at) for at in (0, anchor.size - 1)]
        named = error if isinstance(error, Departure) else None
        exhibit = BadEpoch(
            anchor=anchor,
            epoch=number,
            transition=transition,
            rows={root: content for root, content in rows.items() if content is not None},
            root=root,
            path=path,
            shown=shown,
            found=None if named is None else named.found,
            expected=None if named is None else named.expected,
        )
        statement = entries[refused.position - anchor.size]
        party = system = None
        with contextlib.suppress(Malformed):
            parsed = Statement.parse(statement)
            party = parsed.issuer.removeprefix("https://")
            system = parsed.stream if isinstance(parsed.payload, Hold | Tombstone) else None
        self.report.findings.append(
            Finding(
                error.code,
                "lie",
                error.message,
                (refused.position,),
                party,
                system,
                rows=error.rows,
                expected=exhibit.expected,
                found=exhibit.found,
                evidence=self._evidence(error, exhibit),
            )
        )

    # --- the end ---

    def _check_end(self, tree: TreeCheck) -> None:
        ledger, report = self._progress.ledger, self.report
        epoch = None if ledger.previous is None else ledger.previous.payload
        if not isinstance(epoch, Epoch) or ledger.genesis is None:
            raise Unavailable("audit/limit", "a checkpoint without an epoch")
        report.epoch, report.epoch_time = epoch.number, epoch.time
        head = ledger.parties[ledger.origin]
        if self._order.live and head.status == 1:
            error = silent(ledger.genesis, epoch, self._order.now)
            if error.code != "none":
                exhibit = Silence(tree.shown(0), tree.shown(self._whole.size - 1), self._order.now)
                self._find(error, "fault", exhibit, (self._whole.size - 1,))
        facts, order = self._progress.facts, self._order
        for suspicion in facts.suspicions:
            if (again := known_contradiction(suspicion, self._whole.origin, order.policy, self._kept)) is not None:
                report.findings.append(again)
                continue
            before = facts.epoch_before(suspicion.first)
            shown = None if before is None else tree.shown(before)
            found = contradiction(self._signed, self._log, facts, suspicion, tree.shown, shown)
            if found is not None:
                report.findings.append(found)

    def _copy(self, tree: TreeCheck) -> None:
        if self._mirror is None or self._lists is None:
            return
        ends = [tree.shown(at) for at in (0, self._whole.size - 1)]
        self._lists.finish(self._signed, self._progress.ledger, ends)
        self._mirror.finish()

    def _report_facts(self) -> None:
        report, ledger = self.report, self._progress.ledger
        report.facts = self._progress.facts.report(ledger)
        if report.complete:
            report.proven = [
                f"all {ledger.size} entries are under the checkpoint that the log has signed",
                "every statement is signed by a key that was in force at its entry, and obeys the rules",
                "every epoch's root, heads, chains and counters follow from the entries and row files before it",
            ]

    def _save(self) -> None:
        if self._memory is not None and self._progress.ledger.size > self.report.since and not self._torn:
            if self._order.saving is not None:
                self._order.saving()
            self._memory.save(self._whole.origin, self._progress)

    # --- findings ---

    def _find(
        self, error: AttestError, severity: Severity, exhibit: Exhibit | None, entries: tuple[int, ...] = ()
    ) -> None:
        evidence = None if exhibit is None else self._evidence(error, exhibit)
        self.report.findings.append(Finding(error.code, severity, error.message, entries, evidence=evidence))

    def _evidence(self, error: AttestError, exhibit: Exhibit) -> Evidence:
        return Evidence(self._signed, error.code, error.message, exhibit)
