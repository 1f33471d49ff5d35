"""The monitor: looks at a log again and again, as an audit does, and tells what has happened since.

Events are stored before the replay that found them is: whatever a crash takes back is found again, under the same ids.

Spec: docs/spec/audit.md#monitoring.
"""

import json
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from attest.audit.audit import Order, Watcher, audit
from attest.audit.delivery import Target
from attest.audit.events import LASTING, Event, Watch, of_checkpoint, of_entry, of_finding, of_lasting
from attest.audit.findings import Finding, Report
from attest.audit.memory import Memory, Progress
from attest.audit.source import Source
from attest.crypto import commitment
from attest.errors import AttestError, Conflict, Malformed, Unavailable, Untrusted
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.policy import Policy
from attest.formats.rows import RowFile
from attest.formats.state import State
from attest.formats.statement import Epoch, Statement
from attest.ledger.epoch import Ledger
from attest.ledger.rules import Effects
from attest.store import audited
from attest.store.audited import Condition, Standing

PATIENCE_S: Final = 600  # how long something may be amiss before anybody is told
_SLOW_S: Final = 900.0  # how long a look may take, and longer only
_SLOW_RATE: Final = 64 << 10  # while so many bytes a second come in
_BUFFER: Final = 10_000  # events
_SAVE_SHARE: Final = 20  # of the time, at most one part in so many goes into saving state maps
_LONGEST_PAUSE_S: Final = 600.0
_AT_ONCE: Final = ("silent", "fault", "blind")  # here the log has had its time already, or patience does not help
_GRAVE: Final = ("lie", "contradiction")


class Kept(Memory):
    """A memory that a running monitor has at hand: a replay is not read from disk at every look, nor always written."""

    _now: tuple[str, Progress] | None = None
    _unwritten = False
    _next_s = 0.0

    def load(self, origin: str) -> Progress:
        """See `Memory`."""
        if self._now is None or self._now[0] != origin:
            self._now = (origin, super().load(origin))
        return self._now[1]

    def save(self, origin: str, progress: Progress) -> None:
        """See `Memory`; on disk it is once in a while, and after `flush`."""
        self._now, self._unwritten = (origin, progress), True
        if time.monotonic() >= self._next_s:
            self.flush()

    def flush(self) -> None:
        """Write what is only in memory so far."""
        if self._now is None or not self._unwritten:
            return
        started = time.monotonic()
        super().save(*self._now)
        self._unwritten = False
        self._next_s = time.monotonic() + _SAVE_SHARE * (time.monotonic() - started)

    def forget(self, origin: str) -> None:
        """See `Memory`."""
        self.drop()
        super().forget(origin)

    def drop(self) -> None:
        """Forget what is not on disk: somebody has begun to change it."""
        self._now, self._unwritten = None, False

    # --- what a monitor stores ---

    def standing(self, origin: str) -> Standing | None:
        """Return how far a log is told."""
        with self._db.read() as transaction:
            return audited.standing(transaction, origin)

    def tell(self, origin: str, now: Standing, events: Sequence[Event], more: "_Changes | None" = None) -> int:
        """Store events and how far they go, all or nothing; return how many of them are new."""
        with self._db.write() as transaction:
            told = audited.tell(transaction, origin, [(event.id(), event.encode()) for event in events])
            audited.stand(transaction, origin, now)
            if more is not None:
                for condition in more.begun:
                    audited.last(transaction, origin, condition)
                for condition in more.over:
                    audited.over(transaction, origin, condition)
                if more.watches is not None:
                    audited.watch(transaction, origin, more.watches)
        return told

    def lasting(self, origin: str) -> list[Condition]:
        """Return what lasts."""
        with self._db.read() as transaction:
            return audited.lasting(transaction, origin)

    def watched(self, origin: str) -> dict[str, bytes]:
        """Return which keepsakes were watched at the last look."""
        with self._db.read() as transaction:
            return audited.watched(transaction, origin)

    def pending(self, origin: str, most: int) -> list[audited.Stored]:
        """Return the first events that are not delivered."""
        with self._db.read() as transaction:
            return audited.pending(transaction, origin, most)

    def acknowledge(self, events: Sequence[audited.Stored], now: int) -> None:
        """Note that events were delivered."""
        with self._db.write() as transaction:
            audited.acknowledge(transaction, [event.number for event in events], now)


@dataclass(slots=True)
class _Changes:
    begun: list[Condition] = field(default_factory=list)
    over: list[Condition] = field(default_factory=list)
    watches: dict[str, bytes] | None = None


class Steady:
    """A source that may be neither too slow nor asked after the monitor was told to stop. For one look."""

    def __init__(self, source: Source, stopped: threading.Event, clock_s: Callable[[], float]) -> None:
        self._source = source
        self._stopped = stopped
        self._clock_s = clock_s
        self._started = clock_s()
        self._lock = threading.Lock()
        self.bytes = 0
        self.checkpoint: bytes | None = None

    def read(self, path: str, most: int) -> bytes | None:
        """See `Source`. Raises `Unavailable`: `log/stalled`, `monitor/stopped`, too."""
        if self._stopped.is_set():
            raise Unavailable("monitor/stopped", "the monitor was told to stop")
        found = self._source.read(path, most)
        with self._lock:
            self.bytes += 0 if found is None else len(found)
            lasts_s = self._clock_s() - self._started
            if lasts_s > _SLOW_S + self.bytes / _SLOW_RATE:
                raise Unavailable("log/stalled", f"{self.bytes} bytes in {lasts_s:.0f} s: the log keeps us waiting")
        if path == "checkpoint":
            self.checkpoint = found
        return found

    def forget(self, path: str) -> bool:
        """See `Source`."""
        return self._source.forget(path)

    def widths(self, path: str) -> list[int]:
        """See `Source`."""
        return self._source.widths(path)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has brought."""

    told: int = 0  # new events
    grave: bool = False  # the log cannot be followed further: it has lied
    problem: AttestError | None = None  # why not everything could be looked at
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What monitoring has cost so far."""

    bytes: int  # read from the log
    watched_bytes: int  # of these, row files of the holders of watched keepsakes
    seconds: int

    def a_day(self, number: int) -> int:
        """Return so many bytes as bytes a day; the first day counts as a whole one."""
        return number * 86_400 // max(self.seconds, 86_400)


class Monitor:
    """Watches one log."""

    def __init__(
        self,
        source: Source,
        policy: Policy,
        place: str,
        memory: Kept,
        *,
        watches: Sequence[Watch] = (),
        patience_s: int = PATIENCE_S,
        skip_past: bool = False,
        workers: int = 4,
        live: bool = True,
        clock: Callable[[], float] = time.time,
        clock_s: Callable[[], float] = time.monotonic,
        show: Watcher | None = None,
    ) -> None:
        """Prepare.

        Args:
            patience_s: how long something may be amiss before there is an event.
            skip_past: tell nothing of what was in the log before the first look, except how watched indexes stand.
            live: the log is asked now, so that its newest checkpoint has to be fresh.

        Raises:
            Untrusted: `policy/log`, the policy does not pin one log.
            Malformed: `monitor/name`, two keepsakes of one file name.
        """
        origins = {log.verifier.name for log in policy.logs}
        if len(origins) != 1:
            raise Untrusted("policy/log", f"a monitor follows one log, the policy pins {len(origins)}")
        if len({watch.name for watch in watches}) < len(watches):
            raise Malformed("monitor/name", "two watched keepsakes have one file name", hint="rename one")
        self._source = source
        self._policy = policy
        self._place = place
        self._memory = memory
        self._watches = watches
        self._patience_s = patience_s
        self._skip_past = skip_past
        self._workers = workers
        self._live = live
        self._clock = clock
        self._clock_s = clock_s
        self._show = show
        self.origin = next(iter(origins))
        self.stopped = threading.Event()

    # --- looking ---

    def look(self) -> Look:
        """Audit what is new, and store what there is to tell.

        Raises:
            Conflict: `monitor/watch`, another keepsake was watched under this file name.
            Unavailable: `store/…`: nothing can be remembered.
        """
        now = int(self._clock())
        known = self._memory.watched(self.origin)
        for watch in self._watches:
            if known.get(watch.name, watch.digest()) != watch.digest():
                raise Conflict(
                    "monitor/watch",
                    f"{watch.name} was about something else at the last look",
                    hint="give the new keepsake a name of its own",
                )
        standing = self._memory.standing(self.origin) or Standing(0, 0, self._skip_past, now, 0, 0)
        progress = self._memory.load(self.origin)
        # Somebody else has gone on with this memory, and told nothing.
        fresh = progress.ledger.size > standing.size
        look = _Gathered(self, standing, Progress.empty() if fresh else progress, now)
        source = Steady(self._source, self.stopped, self._clock_s)
        order = Order(
            self._policy,
            self._place,
            now,
            live=self._live,
            workers=self._workers,
            fresh=fresh,
            seen=look.seen,
            ended=look.ended,
            saving=look.saving,
        )
        if self._show is not None:
            order.watch = self._show
        try:
            report = audit(source, order, self._memory, self._memory.evidence)
        except AttestError as error:
            look.forget_unsaved()
            if error.code == "monitor/stopped" or error.code.startswith(("store/", "register/")):
                raise
            return Look(look.failed(error, source), problem=error)
        except OSError as error:
            look.forget_unsaved()
            raise Unavailable("system/refused", f"the state cannot be kept: {error.strerror}") from None
        told = look.settle(report, source)
        grave = not report.complete and any(finding.severity in _GRAVE for finding in report.findings)
        problem = None if report.complete or grave else _first(report)
        return Look(told, grave, problem, report)

    def cost(self) -> Cost:
        """Return what it has cost so far."""
        found = self._memory.standing(self.origin)
        if found is None:
            return Cost(0, 0, 0)
        return Cost(found.bytes, found.watched_bytes, max(0, int(self._clock()) - found.since))

    # --- telling ---

    def deliver(self, target: Target) -> list[str]:
        """Deliver what is not delivered yet; return the severity of each event.

        Raises:
            Unavailable: `monitor/undelivered`; the event is delivered again, before any later one.
        """
        severities: list[str] = []
        while not self.stopped.is_set() and (events := self._memory.pending(self.origin, target.most)):
            target.send(events)
            self._memory.acknowledge(events, int(self._clock()))
            severities += [json.loads(each.event)["severity"] for each in events]
        return severities

    def run(self, target: Target, every_s: float, said: Callable[[Look | AttestError], None]) -> bool:
        """Look and deliver until told to stop; tell whether anything grave was told.

        Args:
            said: is told of every look, and of what went wrong with it or with a delivery.
        """
        grave = False
        due = {"look": self._clock_s(), "deliver": self._clock_s()}
        failures = {"look": 0, "deliver": 0}
        while not self.stopped.is_set():
            for what in ("look", "deliver"):
                if self._clock_s() < due[what] or self.stopped.is_set():
                    continue
                problem: AttestError | None = None
                try:
                    if what == "look":
                        found = self.look()
                        problem = found.problem
                        said(found)
                        if found.told:
                            due["deliver"] = self._clock_s()
                    else:
                        grave |= any(each in _GRAVE for each in self.deliver(target))
                except Conflict:
                    raise
                except AttestError as error:
                    if error.code == "monitor/stopped":
                        break
                    problem = error
                    said(error)
                failures[what] = 0 if problem is None else failures[what] + 1
                # What fails is asked for less and less often.
                pause_s = min(every_s * 2 ** min(failures[what], 12), max(every_s, _LONGEST_PAUSE_S))
                due[what] = self._clock_s() + pause_s
            self.stopped.wait(max(0.0, min(due.values()) - self._clock_s()))
        return grave


class _Gathered:
    """What one look has to tell, on its way into the store."""

    def __init__(self, monitor: Monitor, standing: Standing, progress: Progress, now: int) -> None:
        self._monitor = monitor
        self._memory = monitor._memory
        self._origin = monitor.origin
        self._standing = standing
        self._ledger = progress.ledger
        self._retired = {name: each.retired for name, each in progress.ledger.descriptors.items()}
        self._now = now
        self._epoch: list[Event] = []  # of the epoch that is taken just now
        self._events: list[Event] = []  # of whole epochs
        self._holders = {watch.holder for watch in monitor._watches}
        self._watched_bytes = 0
        self._told = 0
        self._clean = True  # what the memory has at hand is where the replay is

    # --- while the audit replays ---

    def seen(self, position: int, statement: Statement, rows: RowFile | None, effects: Effects) -> None:
        """Take an accepted entry."""
        self._clean = False
        if position == 0:
            self._retired.clear()  # what was kept has rotted, and is read anew
        # Even what is not told has to go by, for the systems there are.
        watches = self._monitor._watches
        events = list(of_entry(self._origin, position, statement, rows, effects, self._retired, watches))
        if rows is not None and statement.issuer.removeprefix("https://") in self._holders:
            self._watched_bytes += len(rows.encoded)
        if position >= self._standing.size and not self._standing.muted:
            self._epoch += events

    def ended(self, ledger: Ledger) -> None:
        """Take the end of an epoch: now there is a time for what was in it."""
        self._clean = False
        epoch = None if ledger.previous is None else ledger.previous.payload
        time = epoch.time if isinstance(epoch, Epoch) else self._now
        self._events += [replace(event, time=time) for event in self._epoch]
        self._epoch.clear()
        self._ledger = ledger
        if len(self._events) > _BUFFER:
            self._flush()

    def saving(self) -> None:
        """Store what is told so far: the memory is about to be as far."""
        self._flush()
        self._clean = True

    def forget_unsaved(self) -> None:
        """After a failure: what was taken and not saved has to be read and taken again."""
        if not self._clean:
            self._memory.drop()

    def _flush(self) -> None:
        events, self._events = self._events, []
        self._store(events, size=max(self._standing.size, self._ledger.size))

    def _store(self, events: Sequence[Event], changes: _Changes | None = None, **standing: int) -> None:
        now = replace(self._standing, **standing)  # type: ignore[arg-type]  # names of its int fields
        self._told += self._memory.tell(self._origin, now, events, changes)
        self._standing = now

    # --- when it has ended ---

    def failed(self, error: AttestError, source: Steady) -> int:
        """Store that the log could not be looked at; return how many events that makes."""
        changes = _Changes()
        # The log's own words are not repeated: they may be anything.
        events = self._conditions({("log", ""): f"{self._origin} cannot be looked at: {error.code}"}, set(), changes)
        self._store(events, changes, bytes=self._standing.bytes + source.bytes)
        return self._told

    def settle(self, report: Report, source: Steady) -> int:
        """Store what the audit has found; return how many events there are."""
        events: list[Event] = []
        if report.complete and report.size > self._standing.told:
            events.append(of_checkpoint(report))
        events += [of_finding(report, each) for each in report.findings if each.severity in _GRAVE]
        amiss = dict(map(_amiss, (each for each in report.findings if each.severity not in _GRAVE)))
        judged = {"log"}
        if weighed := self._witnesses(source.checkpoint, amiss):
            judged |= weighed
        if report.complete:
            judged |= {"silent", "older", "missing", "fault"}
        changes = _Changes()
        if self._ledger.size:
            events += self._new_watches(changes)
            judged.add("blind")
            for watch in self._monitor._watches:
                if not watch.sees(self._ledger.parties.get(watch.holder)):
                    message = f"{watch.name} was made under a key that {watch.holder} does not have in this log"
                    amiss["blind", watch.name] = message
        events += self._conditions(amiss, judged, changes)
        self._store(
            events,
            changes,
            told=max(self._standing.told, report.size) if report.complete else self._standing.told,
            muted=self._standing.muted and not report.complete,
            bytes=self._standing.bytes + source.bytes,
            watched_bytes=self._standing.watched_bytes + self._watched_bytes,
        )
        return self._told

    def _witnesses(self, encoded: bytes | None, amiss: dict[tuple[str, str], str]) -> set[str]:
        """Note which witnesses of the policy have not cosigned; return what could be judged."""
        policy = self._monitor._policy
        if encoded is None:
            return set()
        try:
            weighed = policy.check(SignedCheckpoint.parse(encoded))
        except AttestError:
            return set()  # a lie, and told as one
        there = {witness.key for witness in weighed.witnesses}
        for witness in policy.witnesses:
            if witness.verifier.public not in there:
                # A policy may spell names in bytes that are no UTF-8.
                name = witness.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                amiss["witness", name] = f"witness {name} has not cosigned the newest checkpoint"
        return {"witness", "quorum"}

    def _new_watches(self, changes: _Changes) -> list[Event]:
        """Say how the indexes of keepsakes stand that were not watched before: what changed them has gone by."""
        known = self._memory.watched(self._origin)
        watches = {watch.name: watch.digest() for watch in self._monitor._watches}
        if watches != known:
            changes.watches = watches
        found: list[Event] = []
        for watch in self._monitor._watches:
            if watch.name in known:
                continue
            for system in self._ledger.system_ids.get(watch.holder, ()):
                key = commitment.map_key(watch.index(system))
                [encoded] = self._ledger.states((watch.holder, system), [key])
                if encoded is not None:
                    state = State.parse(encoded)
                    found.append(watch.event(self._origin, system, state, self._time_of(state.position)))
        return sorted(found, key=lambda event: event.position or 0)

    def _time_of(self, position: int) -> int:
        """Return the time of the epoch that committed an entry."""
        facts = self._memory.load(self._origin).facts
        at = bisect_right(facts.epochs, [position, 0])
        return facts.epochs[at][1] if at < len(facts.epochs) else facts.last_epoch[1]

    def _conditions(self, amiss: dict[tuple[str, str], str], judged: set[str], changes: _Changes) -> list[Event]:
        """Hold what is amiss to what was; return what began or is over, after patience.

        Args:
            judged: the kinds that could be looked at: of these, what is not amiss is over.
        """
        events: list[Event] = []
        names = {watch.name for watch in self._monitor._watches}
        lasting = {(each.kind, each.subject): each for each in self._memory.lasting(self._origin)}
        for (kind, subject), message in amiss.items():
            condition = lasting.pop((kind, subject), None) or Condition(kind, subject, self._now, told=False)
            patience_s = 0 if kind in _AT_ONCE else self._monitor._patience_s
            if not condition.told and self._now - condition.since >= patience_s:
                events.append(self._lasting(condition, message, over=False))
                changes.begun.append(replace(condition, told=True))
            elif condition.since == self._now:
                changes.begun.append(condition)
        for (kind, subject), condition in lasting.items():
            if kind in judged:
                # What is no longer watched is not better for it.
                if condition.told and (kind != "blind" or subject in names):
                    events.append(self._lasting(condition, f"over: {LASTING[kind][0]} {subject}".rstrip(), over=True))
                changes.over.append(condition)
        return events

    def _lasting(self, condition: Condition, message: str, *, over: bool) -> Event:
        return of_lasting(
            self._origin,
            condition.kind,
            condition.subject,
            message,
            since=condition.since,
            now=self._now,
            over=over,
        )


def _amiss(finding: Finding) -> tuple[tuple[str, str], str]:
    """Say which condition a finding is."""
    known = {"log/silent": "silent", "log/older": "older", "checkpoint/quorum": "quorum"}.get(finding.code)
    if known is not None:
        return (known, ""), finding.message
    kind = "missing" if finding.severity == "missing" else "fault"
    what = finding.file or finding.party or ""
    return (kind, f"{finding.code} {what}".rstrip()), finding.message


def _first(report: Report) -> AttestError:
    finding = next(iter(report.findings), None)
    if finding is None:
        return Unavailable("audit/limit", "the audit is not complete")
    return Unavailable(finding.code, finding.message)
