"""The audit of what came after a checkpoint that somebody has audited, from transition proofs and without any state.

A log keeps these proofs for a day of epochs.

Spec: docs/spec/transition.md.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from attest.audit.audit import MAX_TRANSITION, Audit, Order, Stop, keep_all
from attest.audit.findings import Finding, Report
from attest.audit.source import Counted, Source, rows_path
from attest.collector import uncollected
from attest.encoding import Hash
from attest.errors import AttestError, Malformed, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.rows import ROW
from attest.formats.statement import Epoch, Hold, Log, Statement, Tombstone
from attest.ledger.claims import Departure
from attest.ledger.evidence.epochs import BadEpoch, end_of
from attest.ledger.evidence.exhibit import Shown
from attest.ledger.transition import Anchor, parse_transition, verify_transition
from attest.served import Asked, ServedTree

_SIGNED: Final = frozenset({"epoch", "genesis", "key", "rule", "signature", "statement"})  # what no other file can cure


def audit_since(source: Source, order: Order, since: SignedCheckpoint, evidence: Path | None) -> Report:
    """Audit what came after a checkpoint.

    Args:
        since: everything up to it is taken as right.
        evidence: a directory for what is found; None keeps nothing.

    Raises:
        Unavailable: as `audit`; `audit/gone`, the log no longer serves the proofs from there on.
    """
    counted = Counted(source)
    started = time.monotonic()
    work = _Since(counted, replace(order, others=[*order.others, since]), since)
    with contextlib.closing(work), uncollected():
        work.run()
    report = work.report
    report.traffic = {"requests": counted.traffic.requests, "bytes": counted.traffic.bytes}
    report.seconds = time.monotonic() - started
    return keep_all(report, evidence, despite=order.despite_disk)


class _Since(Audit):
    """One run."""

    def __init__(self, source: Source, order: Order, since: SignedCheckpoint) -> None:
        super().__init__(source, order, None, None)
        self._since = since.checkpoint
        self._served = ServedTree(Asked(self._log), self._whole)
        self._rows: dict[Hash, bytes] = {}

    def run(self) -> None:
        """Walk from epoch to epoch."""
        report, whole = self.report, self._whole
        report.size, report.root, report.since = whole.size, whole.root.hex(), self._since.size
        try:
            self._check_note()
            self._check_history()
            anchor = self._begin()
            while anchor.size < whole.size:
                anchor = self._step(anchor)
                self._order.watch("entries", anchor.size - self._since.size, whole.size - self._since.size)
            epoch = None if anchor.previous is None else anchor.previous.payload
            if isinstance(epoch, Epoch):
                report.epoch, report.epoch_time = epoch.number, epoch.time
            report.checked["entries"] = whole.size - self._since.size
            report.complete = True
            report.proven = [
                f"the {report.checked['entries']} entries after the checkpoint of {self._since.size} obey the rules and"
                " lead to this one, if everything up to that one was right"
            ]
        except Stop:
            pass
        # There are no facts: without states nobody knows what is held, and the list of parties would be that of a day.
        report.eyes = [
            f"whether everything up to the checkpoint of {self._since.size} entries was right: this audit begins there",
            "whether holders contradict what they signed: an audit of the whole log shows it, and the facts",
            *report.eyes,
        ]

    def _begin(self) -> Anchor:
        """Stand behind the last epoch of the checkpoint that was audited."""
        size = self._since.size
        first, last = (Statement.parse(self._shown(at).entry) for at in (0, size - 1))
        if not isinstance(first.payload, Log) or not isinstance(last.payload, Epoch):
            raise Unavailable("audit/gone", f"no epoch ends with entry {size - 1}", hint="audit all of the log")
        return Anchor(first.payload, size, self._since.root, last)

    def _step(self, anchor: Anchor) -> Anchor:
        """Check one epoch."""
        previous = None if anchor.previous is None else anchor.previous.payload
        number = previous.number + 1 if isinstance(previous, Epoch) else 0
        encoded = self._log.transition(number, MAX_TRANSITION)
        if encoded is None:
            raise Unavailable(
                "audit/gone",
                f"the proof of epoch {number} is not served: logs keep them for a day",
                hint="audit all of the log, with --state, so that the next audit needs no proofs",
            )
        self._rows = {}
        try:
            after = verify_transition(encoded, anchor, self._reader(encoded))
        except Unavailable:
            raise
        except AttestError as error:
            self._refuse_step(error, anchor, number, encoded)
            raise Stop from None
        if after.size > self._whole.size or self._served.root(after.size) != after.root:
            # Nobody has signed a proof: that it is of another log is no lie of this one.
            raise Unavailable("audit/gone", f"the proof of epoch {number} is not of this log")
        self.report.checked["epochs"] += 1
        self.report.checked["row_files"] += len(self._rows)
        self.report.checked["rows"] += sum(map(len, self._rows.values())) // ROW
        return after

    def _reader(self, encoded: bytes) -> Callable[[Hash], bytes]:
        counts: dict[Hash, int] = {}
        with contextlib.suppress(Malformed):
            for entry in parse_transition(encoded)["entries"]:
                payload = Statement.parse(entry).payload
                if isinstance(payload, Hold | Tombstone):
                    counts[payload.root] = payload.count

        def read(root: Hash) -> bytes:
            if root not in self._rows:
                found = self._source.read(rows_path(root), counts.get(root, 1) * ROW)
                if found is None:
                    raise Unavailable("rows/missing", f"row file {root.hex()} is not served")
                self._rows[root] = found
            return self._rows[root]

        return read

    def _refuse_step(self, error: AttestError, anchor: Anchor, number: int, encoded: bytes) -> None:
        after = end_of(encoded, anchor)
        ours = after is not None and after.size <= self._whole.size and self._served.root(after.size) == after.root
        if after is None or not ours or error.code.partition("/")[0] not in _SIGNED:
            raise Unavailable("audit/gone", f"what is served of epoch {number} proves nothing: {error}") from None
        root, path = self._served.consistency(after.size)
        named = error if isinstance(error, Departure) else None
        exhibit = BadEpoch(
            anchor=anchor,
            epoch=number,
            transition=encoded,
            rows=self._rows,
            root=root,
            path=path,
            shown=[self._shown(at) for at in (0, anchor.size - 1)],
            found=None if named is None else named.found,
            expected=None if named is None else named.expected,
        )
        self.report.findings.append(
            Finding(
                error.code,
                "lie",
                error.message,
                tuple(range(anchor.size, after.size))[:16],
                rows=error.rows,
                found=exhibit.found,
                expected=exhibit.expected,
                evidence=self._evidence(error, exhibit),
            )
        )

    def _shown(self, position: int) -> Shown:
        return Shown(position, *self._served.entry(position))
