"""The audit of one party, or one system of it, without fetching the rest of the log.

Spec: docs/spec/holder.md, docs/spec/audit.md#one-party.
"""

import contextlib
import time
from pathlib import Path
from typing import Final

from attest.audit.audit import Order, contradiction, keep_all
from attest.audit.facts import Facts
from attest.audit.findings import Finding, Report, Severity
from attest.audit.source import Ahead, Counted, Source, SourceLog, rows_path
from attest.collector import uncollected
from attest.encoding import Hash
from attest.errors import AttestError, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.holder import (
    MAX_LIST,
    MAX_PROOF,
    Listed,
    PartyProof,
    encode_list,
    list_path,
    parse_list,
    proof_path,
)
from attest.formats.rows import ROW, RowFile
from attest.formats.statement import Epoch, Hold, Statement, Tombstone, issuer_of
from attest.ledger.claims import Departure
from attest.ledger.evidence import Evidence
from attest.ledger.evidence.exhibit import Shown
from attest.ledger.evidence.files import rows_wrong
from attest.ledger.evidence.notes import BadNote
from attest.ledger.evidence.parties import BadParty
from attest.ledger.holder import Committed, PartyReplay, check_list, verify_party
from attest.merkle.tiles import FULL
from attest.served import Asked, ServedTree
from attest.statemap import StateMap

_MAX_SHOWN: Final = 256 << 20  # bytes of row files that evidence holds
_DATES: Final = (
    "when the log took in what was signed: times are the holder's own dates here, and an erasure that is dated before"
    " its hold shows only where these say so"
)
_WHOLE_LOG: Final = (
    "that earlier checkpoints showed the right state, or that other parties are right: only the final head is proven,"
    " an audit of the whole log shows the rest"
)


def audit_party(source: Source, order: Order, party: str, system: str | None, evidence: Path | None) -> Report:
    """Audit one party.

    Args:
        system: the one whose row files are fetched; None for all of the party's.
        evidence: a directory for what is found; None keeps nothing.

    Raises:
        Unavailable: as `audit`; `audit/no-proof`, the log does not serve where the party stands.
    """
    counted = Counted(source)
    started = time.monotonic()
    work = _PartyAudit(counted, order, party, system)
    with contextlib.closing(work), uncollected():
        work.run()
    report = work.report
    report.traffic = {"requests": counted.traffic.requests, "bytes": counted.traffic.bytes}
    report.seconds = time.monotonic() - started
    return keep_all(report, evidence, despite=order.despite_disk)


class _PartyAudit:
    """One run."""

    def __init__(self, source: Source, order: Order, party: str, system: str | None) -> None:
        self._source = source
        self._order = order
        self._party = party
        self._system = system
        self._ahead = Ahead(order.workers)
        self._facts = Facts()
        self._shown: dict[Hash, bytes] | None = {}  # row files for evidence; None: too many
        self._listed: list[Listed] = []
        encoded = source.read(proof_path(party), MAX_PROOF)
        if encoded is None:
            raise Unavailable(
                "audit/no-proof",
                f"{order.place} does not say where {party} stands",
                hint="is the party's id right? A log or copy without holders/<id>/proof has to be audited as a whole",
            )
        self._encoded = encoded
        self._proof = PartyProof.parse(encoded)
        whole = self._proof.signed.checkpoint
        self.report = Report(whole.origin, order.place, order.now, "holder" if system is None else "system")
        self.report.party, self.report.system = party, system
        self.report.size, self.report.root = whole.size, whole.root.hex()

    def close(self) -> None:
        """Stop reading."""
        self._ahead.close()

    def run(self) -> None:
        """Check the proof, then the list, then the statements."""
        try:
            self._check_note(self._proof.signed)
            committed = verify_party(self._proof, self._party)
            self._describe(committed)
            self._listed = self._read_list(committed)
            replay = PartyReplay(committed, StateMap.empty, self._system)
            if self._system is not None and self._system not in committed.systems:
                raise Unavailable("audit/no-system", f"{self._party} has not registered a system {self._system}")
            self._replay(replay)
            replay.finish()
            self._check_words()
        except _Stop:
            return
        except (Refuted, Malformed, Untrusted) as error:
            self._find(error)
            return
        self.report.complete = True
        self.report.facts = self._facts.report(replay, only=(self._party, self._system))
        self._say()

    def _check_note(self, signed: SignedCheckpoint) -> None:
        try:
            weighed = self._order.policy.check(signed)
        except (Refuted, Untrusted) as error:
            self._find(error, BadNote())
            raise _Stop from None
        if not weighed.logs:
            raise Untrusted("checkpoint/unpinned", "the policy pins no log key", hint="name the log's keys in it")
        self.report.existed_by = weighed.existed_by
        self.report.witnesses = [witness.name for witness in weighed.witnesses]
        if not weighed.quorum:
            unmet = Untrusted("checkpoint/quorum", "the policy's quorum of witnesses is not met")
            self._find(unmet, BadNote(), missing=True)

    def _describe(self, committed: Committed) -> None:
        epoch = committed.epoch.payload
        if isinstance(epoch, Epoch):
            self.report.epoch, self.report.epoch_time = epoch.number, epoch.time

    def _read_list(self, committed: Committed) -> list[Listed]:
        """Read the list where it is served, or all entries where it is not."""
        count = committed.head.entries
        items = [(index, FULL * 400) for index in range(-(-count // FULL))]
        listed: list[Listed] = []

        def read(index: int) -> bytes:
            found = self._source.read(list_path(self._party, index, min(FULL, count - index * FULL)), MAX_LIST)
            return b"" if found is None else found

        for _, encoded in self._ahead.each(items, read):
            if not encoded:
                listed = self._scan()
                break
            listed += parse_list(encoded)
            self._order.watch("entries", len(listed), count)
        self._listed = listed
        check_list(listed, committed.head)
        self.report.checked["entries"] = len(listed)
        return listed

    def _scan(self) -> list[Listed]:
        """Read all entries of the log and keep those of the party; the chain says whether these are all."""
        size, log = self._proof.signed.checkpoint.size, SourceLog(self._source)
        own, found = issuer_of(self._party), list[Listed]()
        bundles = [(index, 100_000) for index in range(-(-size // FULL))]

        def read(index: int) -> bytes:
            return log.encoded_bundle(index, min(FULL, size - index * FULL))

        for index, encoded in self._ahead.each(bundles, read):
            at = 0
            for position in range(index * FULL, min(size, (index + 1) * FULL)):
                length = int.from_bytes(encoded[at : at + 2], "big")
                entry = encoded[at + 2 : at + 2 + length]
                at += 2 + length
                with contextlib.suppress(Malformed):
                    statement = Statement.parse(entry)
                    if statement.issuer == own or statement.about == self._party:
                        found.append((position, entry))
            self._order.watch("entries", min(size, (index + 1) * FULL), size)
        return found

    def _replay(self, replay: PartyReplay) -> None:
        parsed = [(position, Statement.parse(entry)) for position, entry in self._listed]
        wanted: list[tuple[tuple[int, Hold | Tombstone], int]] = [
            ((position, statement.payload), statement.payload.count * ROW)
            for position, statement in parsed
            if replay.wants(statement) and isinstance(statement.payload, Hold | Tombstone)
        ]
        total = sum(size for _, size in wanted) // ROW

        def read(item: tuple[int, Hold | Tombstone]) -> bytes:
            return self._source.read(rows_path(item[1].root), item[1].count * ROW) or b""

        files = self._ahead.each(wanted, read)
        checked = self.report.checked
        for position, statement in parsed:
            file = None
            if replay.wants(statement):
                (_, payload), served = next(files)
                file = self._row_file(position, statement, payload, served)
                checked["row_files"] += 1
                checked["rows"] += len(file)
                self._order.watch("rows", checked["rows"], total)
            # The epochs are the log's: times are the holder's own dates here.
            self._facts.dated(position, statement.issued_at)
            replay.add(position, statement, file, self._facts.seen)
            if file is not None:
                self._facts.touched(replay, [(self._party, statement.stream)])

    def _check_words(self) -> None:
        """Look for what the party has signed against itself. A log without tiles and bundles cannot show it."""
        log = SourceLog(self._source)
        served = ServedTree(Asked(log), self._proof.signed.checkpoint)

        def shown(position: int) -> Shown:
            return Shown(position, *served.entry(position))

        for suspicion in self._facts.suspicions:
            try:
                dated = suspicion.code == "holder/erased-before-held"
                before = shown(self._epoch_before(served, suspicion.first)) if dated else None
                found = contradiction(self._proof.signed, log, self._facts, suspicion, shown, before)
            except AttestError as error:
                # Whatever is wrong with what would show it: nobody is accused of that.
                found = Finding(
                    "served/entries-missing",
                    "missing",
                    f"what would show {suspicion.code} of entries {suspicion.first} and {suspicion.second}: {error}",
                    (suspicion.first, suspicion.second),
                    suspicion.party,
                    suspicion.system,
                )
            if found is not None:
                self.report.findings.append(found)

    def _epoch_before(self, served: ServedTree, position: int) -> int:
        """Return where the last epoch before an entry is, as it is served. Raises `Unavailable`: `log/tiles`."""
        start = position
        while start > 0:
            index = (start - 1) // FULL
            for at, entry in reversed(list(enumerate(served.bundle(index), index * FULL))):
                with contextlib.suppress(Malformed):
                    if at < position and isinstance(Statement.parse(entry).payload, Epoch):
                        return at
            start = index * FULL
        raise Unavailable("log/tiles", f"no epoch is served before entry {position}")

    def _row_file(self, position: int, statement: Statement, payload: Hold | Tombstone, served: bytes) -> RowFile:
        wrong = rows_wrong(position, payload, served or None)
        if wrong.code != "none":
            # Its evidence is made by an audit of the whole log, which has the paths.
            severity: Severity = "fault" if served else "missing"
            self.report.findings.append(
                Finding(
                    wrong.code,
                    severity,
                    wrong.message,
                    (position,),
                    self._party,
                    statement.stream,
                    rows_path(payload.root),
                )
            )
            raise _Stop
        if self._shown is not None:
            self._shown[payload.root] = served
            if sum(map(len, self._shown.values())) > _MAX_SHOWN:
                self._shown = None
        return RowFile.parse(served)

    def _find(self, error: AttestError, note: BadNote | None = None, *, missing: bool = False) -> None:
        exhibit: BadNote | BadParty | None = note
        if note is None and self._shown is not None:
            exhibit = BadParty(self._party, self._system, self._encoded, encode_list(self._listed), self._shown)
        evidence = None if exhibit is None else Evidence(self._proof.signed, error.code, error.message, exhibit)
        area = error.code.partition("/")[0]
        departure = error if isinstance(error, Departure) else None
        self.report.findings.append(
            Finding(
                error.code,
                "missing" if missing else "lie" if area in ("rule", "epoch", "rows", "genesis", "log") else "fault",
                error.message,
                (),
                self._party,
                self._system,
                rows=error.rows,
                found=None if departure is None else departure.found,
                expected=None if departure is None else departure.expected,
                evidence=evidence,
            )
        )

    def _say(self) -> None:
        which = self._party if self._system is None else f"{self._system} of {self._party}"
        self.report.proven = [
            f"no entry of {self._party} was left out of the {len(self._listed)} seen: the chain in its committed head",
            f"the head of {which} at this checkpoint follows from these statements and their row files",
        ]
        self.report.eyes = [_WHOLE_LOG, _DATES, *self.report.eyes]


class _Stop(Exception):
    """Nothing above this can be checked."""
