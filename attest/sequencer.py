"""The sequencer: one epoch after the other, from the queue into the log.

    plan (pure) -> sign -> one transaction, if the last checkpoint is still the last -> publish

A signature that never left the process harms nobody. What is committed is published by whoever comes next, so a crash
anywhere leaves either nothing or something to finish. Processes without the lease only follow.

Spec: docs/DESIGN.md#sequencer.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from attest.config import Config
from attest.encoding import Hash, sha256
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from attest.formats.note import MAX_SIGNATURES
from attest.formats.receipt import sign_refusal
from attest.formats.rows import RowFile
from attest.formats.state import ACTIVE
from attest.formats.statement import (
    RECOVERY,
    Epoch,
    Hold,
    Keys,
    Party,
    PartyEnd,
    Policy,
    Statement,
    Systems,
    Tombstone,
    issuer_of,
    sign_statement,
)
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.rules import SystemId, has_ended
from attest.ledger.transition import prove_transition
from attest.statemap import StateMap
from attest.store import cosigned, counts, queue
from attest.store import log as log_store
from attest.store.db import Clock, Database
from attest.store.history import History, new_ledger, rows_name, transition_name, upload_name
from attest.store.keyfiles import LogKeys
from attest.store.lease import Lease
from attest.store.log import EpochRecord, LogStore
from attest.store.tiles import stored_root, write_tiles
from attest.witnessing import Alarm, Cosigned, Witnesses

CHECKPOINT: Final = "checkpoint"
VIEWS: Final = 60  # published checkpoints that readers can go back to
MARGIN_S: Final = 5  # a refusal comes this long before the promise runs out
_READ_AHEAD: Final = 200  # statements fetched at a time
_CLEAN_S: Final = 60
_ABANDONED_S: Final = 3600  # a file half-written for so long has no writer any more
_GENERATIONS: Final = 3  # rewritten copies of large maps that older ledgers may keep in memory
_LARGE: Final = 100_000  # keys
_EVIDENCE: Final = 4  # pieces kept of what one witness says against us

Announce = Callable[[Ledger, EpochRecord], None]


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did."""

    leading: bool  # we hold the lease
    entries: int  # sequenced, without the epoch's own
    refused: int
    epoch: EpochRecord | None  # the one made in this step
    behind: bool = False  # the clock is not past the last epoch


@dataclass(slots=True)
class _Plan:
    """The next epoch, as far as it is decided."""

    draft: Draft
    time: int
    promises: dict[Hash, bytes] = field(default_factory=dict)
    settled: list[Hash] = field(default_factory=list)
    rejections: list[queue.Rejection] = field(default_factory=list)
    uploads: dict[Hash, bytes] = field(default_factory=dict)
    undecided: list[AttestError] = field(default_factory=list)
    row_count: int = 0


class Sequencer:
    """Follows one log, and sequences it while it holds the lease. Not for two threads at once."""

    def __init__(
        self,
        config: Config,
        keys: LogKeys,
        db: Database,
        history: History,
        *,
        clock: Clock,
        announce: Announce,
        lease: Lease | None = None,
        witnesses: Witnesses | None = None,
    ) -> None:
        """Prepare; nothing is read before the first `step`.

        Args:
            announce: called with every epoch that has become visible, and the ledger after it.
            witnesses: who is asked to cosign; None for nobody.
        """
        self._config = config
        self._keys = keys
        self._db = db
        self._history = history
        self._log = LogStore(db)
        self._clock = clock
        self._announce = announce
        self.lease = lease or Lease(db, clock, config.lease_s)
        self._witnesses = witnesses
        self._confirmed = witnesses is None  # all witnesses were asked since we lead
        self._standings: dict[str, cosigned.WitnessRecord] = {}
        self._cosigned: list[Cosigned] = []  # not stored yet
        self._alarms: list[Alarm] = []  # not looked into yet
        self._evidence: dict[str, bytes] = {}  # not stored yet
        self._accusers: Counter[str] = Counter()  # URLs of witnesses whose evidence is kept
        self._stopped: Unavailable | None = None  # for good: a witness knows another history
        self._ledger: Ledger | None = None
        self._unannounced: deque[tuple[Ledger, EpochRecord]] = deque(maxlen=VIEWS)
        self._uploads: dict[Hash, bytes] = {}  # row files of the epoch that is about to be published
        self._transition: tuple[int, bytes] | None = None  # the proof of that epoch, by number
        self._checked: Checkpoint | None = None  # the published checkpoint that is known to be ours
        self._cleaned = 0
        self.undecided: list[AttestError] = []  # why pending statements could not be judged, when last tried
        self.rows_since_snapshot = 0
        self.entries_since_snapshot = 0

    # --- one step ---

    def step(self, *, lead: bool = True) -> Step:
        """Follow the log to its end; with the lease also finish what was left unpublished, and make the next epoch.

        Args:
            lead: take the lease if nobody has it.

        Raises:
            Unavailable: `sequencer/rolled-back`, `sequencer/forked`, the database is not the one we published from:
                nothing is signed any more; `witness/quorum`, the newest checkpoint is held back; `store/…`.
            Conflict: `register/moved`, `sequencer/lease`: another process was first; the next step starts afresh.
        """
        leading = lead and self.lease.acquire()
        # In this order: what is published was committed before.
        published = self._history.public.get(CHECKPOINT)
        head = self._log.last_epoch()
        visible = self._check_published(published, head)
        if head is None:
            return Step(leading, 0, 0, None)
        size = 0 if visible is None else visible.size
        self._follow(head.size if leading else size, head, leading=leading)
        if not leading:
            self._confirmed = self._witnesses is None
            self._tell(size)
            return Step(False, 0, 0, None)
        self._collect()
        if size < head.size:
            published = self._publish(published, size, head)
        self._tell(head.size)
        self._clean()
        self._confirm(head)
        published = self._add_cosignatures(published, head)
        return self._sequence(head, published)

    def begin(self, genesis: Statement) -> EpochRecord:
        """Start a log with its entry 0 and its first epoch. Raises `Conflict`: `sequencer/exists`."""
        if not self.lease.acquire():
            raise Conflict("sequencer/lease", "another process sequences this log")
        if self._log.last_epoch() is not None or self._history.public.exists(CHECKPOINT):
            raise Conflict("sequencer/exists", "there is a log already")
        self._ledger = new_ledger()
        plan = _Plan(Draft(self._ledger), int(self._clock()))
        plan.draft.add(genesis)
        return self._commit(plan, None, None)

    def _check_published(self, encoded: bytes | None, head: EpochRecord | None) -> Checkpoint | None:
        """Compare what everybody can see with what the database says we signed."""
        visible = None if encoded is None else SignedCheckpoint.parse(encoded).checkpoint
        known = max(0 if visible is None else visible.size, 0 if self._ledger is None else self._ledger.size)
        if known > (0 if head is None else head.size):
            # Signing on would show two histories to the world. Restored from a backup, most likely.
            raise Unavailable(
                "sequencer/rolled-back",
                f"the database ends at {0 if head is None else head.size}, but {known} entries were signed",
                hint="restore the newest database, or end this log and start a successor",
            )
        if visible is not None and visible != self._checked:
            if visible.origin != self._config.origin:
                raise Refuted("config/other-log", f"published is {visible.origin}, configured is {self._config.origin}")
            record = self._log.epoch_of_size(visible.size)
            if record is None or record.tree_root != visible.root:
                raise Unavailable(
                    "sequencer/forked", f"the published checkpoint of {visible.size} is not in the database"
                )
            self._checked = visible
        return visible

    def _follow(self, size: int, head: EpochRecord, *, leading: bool) -> None:
        """Bring the ledger up to the size of an epoch; as the leader also make up for missing transition proofs."""
        if self._ledger is None:
            self._unannounced.clear()
            self._ledger = self._history.load(size)
            record = self._log.epoch_of_size(self._ledger.size)
            if record is not None:
                self._unannounced.append((self._ledger, record))
        if self._ledger.size >= size:
            return
        since = head.time - self._config.transitions_s if leading else head.time + 1
        first = self._log.first_epoch_since(since)
        for done in self._history.replay(self._ledger, size, proofs_from=first):
            if done.transition is not None:
                self._history.private.put([(transition_name(done.record.number), done.transition)])
            self.rows_since_snapshot += done.changed_rows
            self.entries_since_snapshot += done.ledger.size - self._ledger.size
            self._ledger = done.ledger
            self._unannounced.append((done.ledger, done.record))
            for _ in range(first_that_fits([ledger for ledger, _ in self._unannounced])):
                self._unannounced.popleft()

    def _tell(self, size: int) -> None:
        while self._unannounced and self._unannounced[0][1].size <= size:
            self._announce(*self._unannounced.popleft())

    # --- publishing ---

    def _publish(self, old: bytes | None, old_size: int, head: EpochRecord) -> bytes:
        """Make an epoch visible: first all it implies, durably, and only then its checkpoint. Twice is fine.

        Args:
            old: the published checkpoint, of `old_size` entries.
        """
        public, private = self._history.public, self._history.private
        if self._transition is not None:
            private.put([(transition_name(self._transition[0]), self._transition[1])])
            self._transition = None
        roots = self._log.roots(old_size, head.size)
        for root in roots:
            if not public.exists(rows_name(root)):
                encoded = self._uploads.get(root) or self._history.rows(root)
                public.put([(rows_name(root), encoded)])
        write_tiles(public, self._log, old_size, head.size)
        # What readers will get, not what we remember: a flipped bit stops here, before anybody relies on it.
        if stored_root(public, head.size) != head.tree_root:
            raise Unavailable("sequencer/tiles", f"the tiles do not lead to the signed root of {head.size} entries")
        self._gather(head)
        public.replace(CHECKPOINT, old, new := self._with_cosignatures(head))
        self._uploads = {}
        private.delete(map(upload_name, roots))
        return new

    # --- witnesses ---

    def _gather(self, head: EpochRecord) -> None:
        """Let witnesses cosign an epoch whose tiles, row files and transition proof can be read."""
        if self._witnesses is None:
            return
        self._witnesses.gather(SignedCheckpoint.parse(head.checkpoint), head.time)
        self._collect()
        self._check_quorum(head)

    def _check_quorum(self, head: EpochRecord) -> None:
        if self._witnesses is None or self._config.unwitnessed != "hold":
            return
        # What is stored is what readers will get.
        marks = {(name, key_id) for _, name, key_id in cosigned.marks(self._db, [head.size])}
        policy = self._witnesses.policy
        if not policy.is_met_by({v for v in policy.verifiers() if (v.name, v.key_id) in marks}):
            raise Unavailable(
                "witness/quorum",
                f"the checkpoint of {head.size} entries has no quorum of witnesses, and nothing goes on without",
                hint="see `attest operator status` for what each witness says",
            )

    def _confirm(self, head: EpochRecord) -> None:
        """Before anything is signed after a start: ask all witnesses whether they know more of this log than we do."""
        if self._witnesses is not None and not self._confirmed:
            self._witnesses.confirm(SignedCheckpoint.parse(head.checkpoint), head.time)
            self._collect()
            self._check_quorum(head)
        self._confirmed = True

    def _collect(self) -> None:
        """Store what witnesses have answered. Raises `Unavailable`, now and ever after, if one contradicts us."""
        if self._witnesses is None:
            return
        found, alarms = self._witnesses.collect()
        # Kept until they are dealt with: whatever fails below is tried again in the next step.
        self._cosigned += found
        self._alarms += alarms
        now = int(self._clock())
        while self._alarms:
            self._look_into(self._alarms[0], now)
            del self._alarms[0]
        changed = []
        for each in self._witnesses.standings():
            code, problem = (None, None) if each.problem is None else (each.problem.code, each.problem.message[:1000])
            known = self._standings.get(each.endpoint.url)
            since = now if known is None or known.problem_code != code else known.since
            standing = cosigned.WitnessRecord(each.endpoint.url, each.size, code, problem, since)
            if standing != known:
                changed.append(standing)
        if self._cosigned or changed:
            stored = [cosigned.Stored(each.size, each.time, each.line) for each in self._cosigned]
            cosigned.record(self._db, stored, changed)
            self._standings.update({each.url: each for each in changed})
            self._cosigned = []
        if self._stopped is not None:
            for name, evidence in list(self._evidence.items()):
                self._history.private.put([(name, evidence)])
                del self._evidence[name]
            raise self._stopped

    def _look_into(self, alarm: Alarm, now: int) -> None:
        """Sign nothing any more, if a witness has indeed seen what our database does not have."""
        head = self._log.last_epoch()
        if alarm.larger is not None and head is not None and alarm.larger <= head.size:
            return  # another process had made the newer epoch, and offered it before our older one
        name = f"evidence/{now}-{sha256(alarm.evidence).hex()[:16]}"
        if alarm.larger is not None:
            code, what = (
                "sequencer/rolled-back",
                f"has cosigned {alarm.larger} entries of this log, we have {alarm.size}",
            )
        else:
            code, what = "sequencer/forked", f"has cosigned another tree than ours of {alarm.size} entries, or below"
        self._stopped = self._stopped or Unavailable(
            code,
            f"{alarm.endpoint.url} {what}; the evidence is in {name}",
            hint="restore the newest database, or end this log and start a successor",
        )
        # It repeats itself: what it answered, and what it shows as cosigned, are enough of each.
        self._accusers[alarm.endpoint.url] += 1
        if self._accusers[alarm.endpoint.url] <= _EVIDENCE:
            self._evidence[name] = alarm.evidence

    def _with_cosignatures(self, head: EpochRecord) -> bytes:
        signed = SignedCheckpoint.parse(head.checkpoint)
        if self._witnesses is None:
            return signed.encode()
        lines = [each.line for each in cosigned.of_sizes(self._db, [head.size])]
        return signed.with_lines(lines[: MAX_SIGNATURES - len(signed.note.signatures)]).encode()

    def _add_cosignatures(self, published: bytes | None, head: EpochRecord) -> bytes | None:
        """Publish what has come since the checkpoint was published."""
        if self._witnesses is None or published is None:
            return published
        if not cosigned.marks(self._db, [head.size]) - _marks(published):
            return published
        new = self._with_cosignatures(head)
        if new != published:
            self._history.public.replace(CHECKPOINT, published, new)
        return new

    def _clean(self) -> None:
        """Forget uploads that nobody wants and transition proofs that are older than promised."""
        now = int(self._clock())
        if 0 <= now - self._cleaned < _CLEAN_S:
            return
        private = self._history.private
        if not self._cleaned:
            self._history.public.sweep("rows", _ABANDONED_S)
        self._cleaned = now
        for folder in ("uploads", "transitions"):
            private.sweep(folder, _ABANDONED_S)
        with self._db.write() as transaction:
            queue.expire(transaction, now - self._config.upload_s)
        old = {bytes.fromhex(name): name for name in private.names("uploads", self._config.upload_s) if len(name) == 64}
        roots = list(old)
        for start in range(0, len(roots), _READ_AHEAD):
            chosen = roots[start : start + _READ_AHEAD]
            with self._db.read() as transaction:
                wanted = queue.wanted_roots(transaction, chosen)
            private.delete(f"uploads/{old[root]}" for root in chosen if root not in wanted)
        first = self._log.first_epoch_since(now - self._config.transitions_s)
        private.delete(
            f"transitions/{name}" for name in private.names("transitions") if name.isdigit() and int(name) < first
        )

    # --- sequencing ---

    def _sequence(self, head: EpochRecord, published: bytes | None) -> Step:
        now = int(self._clock())
        # An epoch's time only grows. A clock that was set back has to come past it again.
        if now <= head.time:
            return Step(True, 0, 0, None, behind=True)
        if now - head.time < self._config.epoch_interval_s:
            return Step(True, 0, 0, None)
        self.undecided = []
        ended = self._ledger is not None and has_ended(self._ledger)
        with self._db.read() as transaction:
            pending = queue.waiting(transaction, self._config.pending_statements, unclaimed=ended)
        # A log that has ended is silent. What came in too late is refused all the same: it was promised an answer.
        quiet = not ended and now - head.time >= self._config.quiet_interval_s
        if not pending and not quiet:
            return Step(True, 0, 0, None)
        plan = self._plan(pending, now)
        self.undecided = plan.undecided
        count, refused = len(plan.draft.entries), len(plan.rejections)
        if count or quiet:
            return Step(True, count, refused, self._commit(plan, head, published))
        if plan.rejections:
            with self._db.write() as transaction:
                self.lease.confirm(transaction)
                queue.refuse(transaction, plan.rejections)
        return Step(True, 0, refused, None)

    def _plan(self, pending: Sequence[queue.Waiting], now: int) -> _Plan:
        """Decide which statements come next, in which order, and which are refused. Changes nothing."""
        if self._ledger is None:
            raise ValueError("no ledger to plan over")
        return _Planner(self, _Plan(Draft(self._ledger), now)).run(pending)

    def _commit(self, plan: _Plan, head: EpochRecord | None, published: bytes | None) -> EpochRecord:
        """Sign the planned epoch, commit it, publish it."""
        base, draft = self._ledger, plan.draft
        if base is None or draft.genesis is None:
            raise ValueError("no ledger to commit over")
        origin = draft.genesis.origin
        previous = self._log.register(origin)
        if previous != (None if head is None else head.checkpoint):
            raise Unavailable("sequencer/forked", "the register does not hold the last epoch's checkpoint")
        own = draft.party(origin)
        if own is None or own.log is None:
            raise ValueError("a log without a head")
        # 1. Sign.
        payload = Epoch(own.log.epochs, plan.time, draft.close().root)
        epoch = self._sign(origin, payload, plan.time, own.own, None)
        after = base.advance(draft, epoch)
        transition = prove_transition(base, draft, epoch)
        checkpoint = Checkpoint(origin, after.size, after.frontier.root())
        signed = sign_checkpoint(checkpoint, self._keys.note_ed25519, self._keys.note_mldsa44, plan.time)
        record = EpochRecord(
            payload.number, after.size, plan.time, checkpoint.root, after.top.root, signed.encode().decode()
        )
        # 2. Commit.
        change = log_store.Commit(
            origin=origin,
            record=record,
            first=base.size,
            statements=[*draft.entries, epoch],
            promises=plan.promises,
            settled=plan.settled,
            rejections=plan.rejections,
            counts=counts.changed(base, after, record.number),
            previous=previous,
        )
        try:
            log_store.commit(self._db, self.lease, change)
        except BaseException:
            # Lost to another process, or nobody knows: what is in memory may be of a history that never was.
            self._ledger = self._transition = None
            raise
        self._ledger = after
        self._uploads = plan.uploads
        self._unannounced.append((after, record))
        self.rows_since_snapshot += plan.row_count
        self.entries_since_snapshot += after.size - base.size
        self._transition = record.number, transition
        # 3. Publish.
        self._publish(published, 0 if head is None else head.size, record)
        self._tell(record.size)
        return record

    def _sign(
        self, origin: str, payload: Epoch | Party | Keys | PartyEnd | Policy, time: int, seq: int, about: str | None
    ) -> Statement:
        own = issuer_of(origin)
        return sign_statement(
            self._keys.statements,
            payload,
            issuer=own,
            stream=own,
            audience=origin,
            issued_at=time,
            seq=seq,
            about=about,
        )

    # --- what the planner needs ---

    def fetch(self, ids: Sequence[int]) -> dict[int, tuple[bytes, bytes | None]]:
        """Return bytes and promise of pending statements."""
        with self._db.read() as transaction:
            return queue.entries(transaction, ids)

    def rows(self, root: Hash) -> RowFile:
        """Return the row file of a pending statement."""
        return RowFile.parse(self._history.rows(root))

    def check_upload(self, statement: Statement) -> None:
        """Check that it is the statement which is wrong, and not our copy of its row file.

        Raises:
            Unavailable: `store/damaged`. A refusal for our own fault would be a lie with our signature under it.
        """
        if isinstance(statement.payload, Hold | Tombstone):
            root = statement.payload.root
            try:
                found = RowFile.parse(self._history.rows(root)).root()
            except Malformed:
                found = None
            if found != root:
                raise Unavailable("store/damaged", f"the stored row file {root.hex()} is damaged")

    def refusal(self, plan: _Plan, leaf: Hash, error: AttestError) -> queue.Rejection:
        """Sign a refusal at the plan's position."""
        signed = sign_refusal(
            self._keys.receipts,
            self._config.origin,
            issued_at=plan.time,
            entry=leaf,
            code=error.code,
            rows=error.rows,
            position=plan.draft.position,
        )
        return queue.Rejection(leaf, signed.encoded, error)

    def operator_statement(self, plan: _Plan, statement: Statement) -> Statement:
        """Sign an operator's wish again, at its place in the log's own stream, which moves with every epoch.

        Raises:
            Refuted: `signature/invalid`, it was not the operator who put it there.
            Conflict: `operator/legal-id`, `operator/kind`.
        """
        origin, draft = self._config.origin, plan.draft
        statement.verify_signature(self._keys.statements.public)
        payload = statement.payload
        if not isinstance(payload, Party | Keys | PartyEnd | Policy) or statement.audience != origin:
            raise Conflict("operator/kind", f"an operator does not put {payload.KIND} into the queue")
        if isinstance(payload, Party):
            self._check_legal_id(draft, payload)
        own = draft.party(origin)
        if own is None:
            raise ValueError("a log without a head")
        return self._sign(origin, payload, plan.time, own.own, statement.about)

    def _check_legal_id(self, draft: Draft, party: Party) -> None:
        admitted = [each.payload.id for each in draft.entries
                    if isinstance(each.payload, Party) and each.payload.legal_id == party.legal_id]  # fmt: skip
        for known in (*self._log.parties_called(party.legal_id), *admitted):
            head = draft.party(known)
            if known != party.id and head is not None and head.status == ACTIVE:
                raise Conflict(
                    "operator/legal-id", f"{known} is admitted with this legal identifier, and has not ended"
                )

    @property
    def limits(self) -> tuple[int, int]:
        """How many statements and rows one epoch takes."""
        return self._config.epoch_statements, self._config.epoch_rows


class _Planner:
    """Goes through the queue once, in the order of arrival, and lets those wait that are early."""

    def __init__(self, sequencer: Sequencer, plan: _Plan) -> None:
        self._sequencer = sequencer
        self._plan = plan
        self._origin = plan.draft.origin
        self._fetched: dict[int, tuple[bytes, bytes | None]] = {}
        # By issuer, stream and seq; a seq of -1 waits for its system to be registered.
        self._parked: defaultdict[tuple[str, str, int], list[queue.Waiting]] = defaultdict(list)

    def run(self, pending: Sequence[queue.Waiting]) -> _Plan:
        statements, _ = self._sequencer.limits
        for start in range(0, len(pending), _READ_AHEAD):
            chosen = pending[start : start + _READ_AHEAD]
            self._fetched = self._sequencer.fetch([each.id for each in chosen])
            ready = deque(chosen)
            while ready:
                if len(self._plan.draft.entries) >= statements:
                    return self._plan
                ready.extendleft(reversed(self._take(ready.popleft())))
        return self._plan

    def _take(self, waiting: queue.Waiting) -> list[queue.Waiting]:
        """Sequence, refuse or leave one statement; return those whose turn has come with it."""
        plan = self._plan
        expected = self._expected(waiting)
        # Its promise runs out: let the rules say what is wrong with it now.
        late = has_ended(plan.draft) or plan.time + MARGIN_S >= waiting.promise_by
        if (expected is None or waiting.seq > expected) and not late:
            self._parked[waiting.issuer, waiting.stream, -1 if expected is None else waiting.seq].append(waiting)
            return []
        _, rows = self._sequencer.limits
        if plan.row_count and plan.row_count + waiting.row_count > rows and not has_ended(plan.draft):
            return []  # in the next epoch, where it comes first among those left
        found = self._fetched.get(waiting.id) or self._sequencer.fetch([waiting.id]).get(waiting.id)
        if found is None:
            return []
        entry, promise = found
        statement = Statement.parse(entry)
        try:
            try:
                accepted = self._judge(statement, late=late)
            except (Malformed, Refuted) as error:
                if error.code.startswith("rows/"):
                    self._sequencer.check_upload(statement)
                raise
        except Unavailable as error:
            # Not judged, and not refused: the row file may come back. The others go on.
            plan.undecided.append(error)
            return []
        except AttestError as error:
            plan.rejections.append(self._sequencer.refusal(plan, statement.leaf, error))
            return []
        if accepted is None:
            return []
        plan.settled.append(statement.leaf)
        if promise is not None:
            plan.promises[accepted.leaf] = promise
        if has_ended(plan.draft):
            turns = [each for parked in self._parked.values() for each in parked]
            self._parked.clear()
            return turns  # nobody's turn comes any more: they are refused
        turns = self._parked.pop((waiting.issuer, waiting.stream, accepted.seq + 1), [])
        if isinstance(accepted.payload, Systems):
            for descriptor in accepted.payload.systems:
                turns += self._parked.pop((waiting.issuer, descriptor.id, -1), [])
        return turns

    def _expected(self, waiting: queue.Waiting) -> int | None:
        """Return the next seq of a statement's stream, None if there is no such stream yet."""
        draft, issuer = self._plan.draft, issuer_of(waiting.issuer)
        if waiting.issuer == self._origin:
            return waiting.seq
        head = draft.party(waiting.issuer)
        if head is None:
            return None
        if waiting.stream == issuer:
            return head.own
        if waiting.stream == issuer + RECOVERY:
            return head.recovery
        system = draft.system((waiting.issuer, waiting.stream))
        return None if system is None else system.entries

    def _judge(self, statement: Statement, *, late: bool) -> Statement | None:
        """Add a statement to the draft; None if it has to wait for the clock."""
        plan, draft = self._plan, self._plan.draft
        if queue.party_of(statement) == self._origin:
            statement = self._sequencer.operator_statement(plan, statement)
        if has_ended(draft):
            draft.add(statement)  # refused, whatever it waits for
            return statement
        payload = statement.payload
        claims = [statement.issued_at, payload.erased_at if isinstance(payload, Tombstone) else 0]
        # With this entry no epoch could be signed before the clock gets there.
        if max(claims) > plan.time + draft.limits.skew:
            if late:
                raise Conflict("rule/epoch-time", f"a claim of {max(claims)} is too far ahead of {plan.time}")
            return None
        rows = None
        if isinstance(payload, Hold | Tombstone):
            rows = self._sequencer.rows(payload.root)
        draft.add(statement, rows)
        if rows is not None and isinstance(payload, Hold | Tombstone):
            plan.row_count += len(rows)
            plan.uploads[payload.root] = rows.encoded
        return statement


def _marks(published: bytes) -> set[cosigned.Mark]:
    signed = SignedCheckpoint.parse(published)
    return {(signed.checkpoint.size, line.name, line.key_id) for line in signed.note.signatures}


def first_that_fits(ledgers: Sequence[Ledger]) -> int:
    """Return where to cut a list, oldest first, so that it keeps few rewritten copies of large maps alive."""
    generations: defaultdict[SystemId, set[int]] = defaultdict(set)
    for n in range(len(ledgers) - 1, -1, -1):
        for name, states in ledgers[n].maps.items():
            if isinstance(states, StateMap) and states.size >= _LARGE:
                generations[name].add(states.generation)
                if len(generations[name]) > _GENERATIONS:
                    return n + 1
    return 0


def check_genesis(ledger: Ledger, config: Config, keys: LogKeys) -> None:
    """Check that keys and configuration are those of this log. Raises `Refuted`: `config/other-log`."""
    genesis = ledger.genesis
    if genesis is None or genesis.origin != config.origin:
        raise Refuted("config/other-log", f"the database holds the log {ledger.origin}, configured is {config.origin}")
    named = (genesis.statements, genesis.receipts, genesis.note_ed25519, genesis.note_mldsa44)
    own = (keys.statements.public, keys.receipts.public, keys.note_ed25519.public, keys.note_mldsa44.public)
    if named != own:
        raise Refuted("config/other-log", "the key files are not the keys that entry 0 names")
    if config.quiet_interval_s > genesis.limits.silence:
        raise Refuted(
            "config/silence",
            f"quiet_interval_s is {config.quiet_interval_s}, entry 0 allows {genesis.limits.silence} at most",
        )
