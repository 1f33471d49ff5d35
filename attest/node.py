"""A node: one process of the service below HTTP. It follows the log, answers from it, and takes statements in.

Readers work on a `View`, an immutable picture of the log at one published checkpoint, reached through one reference
that is replaced whole. One thread follows the log, and sequences it while this process holds the lease.

Spec: docs/spec/http.md; docs/DESIGN.md#nodes.
"""

import contextlib
import threading
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import structlog

from attest.browse import Browse
from attest.config import Config
from attest.crypto import commitment
from attest.encoding import Hash, encode_base64
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.holder import PartyProof
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyLog
from attest.formats.receipt import sign_promise, sign_tree_head
from attest.formats.rows import ROW, RowFile
from attest.formats.state import ERASED, PartyHead
from attest.formats.statement import (
    RECOVERY,
    Hold,
    Keys,
    Limits,
    Log,
    Party,
    PartyEnd,
    Predecessor,
    Statement,
    Systems,
    Tombstone,
    issuer_of,
    sign_statement,
)
from attest.formats.tlog_proof import TlogProof
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.rules import judge
from attest.merkle import tree
from attest.sequencer import VIEWS, Sequencer, Step, check_genesis, first_that_fits
from attest.store import cosigned, queue
from attest.store import log as log_store
from attest.store.blobs import Blobs, DirectoryBlobs
from attest.store.cosigned import Stored
from attest.store.db import Clock, Database, Transaction
from attest.store.history import History, rows_name, transition_name, upload_name
from attest.store.keyfiles import LogKeys
from attest.store.lists import PartyLists
from attest.store.log import EpochRecord, LogStore
from attest.store.tiles import read_file, reader
from attest.view import Policies, PolicyFile, View
from attest.witnessing import Connect, Witnesses, endpoints

MAX_LOCATORS: Final = 64  # in one look-up
CLOCK_BEHIND_S: Final = 60
AHEAD: Final = 4096  # how far a statement may number ahead in its stream
_PROVEN: Final = 4096  # entries whose proofs one view remembers
_RECENT: Final = 4  # views among which one is checked while state witnesses keep up
_PARSERS: Final = 2  # row files parsed at a time: the largest takes a few hundred megabytes
_CACHED_ROWS: Final = 1 << 19  # rows of recently proven row files that are kept
_TICK_S: Final = 0.25
_BACK_OFF_S: Final = 2.0

_logger = structlog.get_logger("attest.node")

State = Literal["rows", "pending", "entry", "refused"]


@dataclass(frozen=True, slots=True)
class Submission:
    """Where a statement is on its way into the log."""

    leaf: Hash
    state: State  # rows: waits for its row file
    rows_root: Hash | None
    promise: bytes | None
    refusal: bytes | None
    position: int | None  # in the log, once it is published there
    error: AttestError | None  # why it was refused


@dataclass(frozen=True, slots=True)
class _RowTree:
    """A row file, and the tree over it."""

    file: RowFile
    read: tree.Read

    @classmethod
    def of(cls, file: RowFile) -> Self:
        read = tree.subtree_reader(file.leaves())
        # All levels are hashed now: threads share this reader, which makes them when first asked.
        tree.Frontier.read(len(file), read)
        return cls(file, read)

    def find(self, index: Hash) -> int:
        """Return the position of an index. Raises `Conflict`: `row/unknown`."""
        at = bisect_left(self.file.indexes, index)
        if at == len(self.file) or self.file.indexes[at] != index:
            raise Conflict("row/unknown", "the row file has no row with this index")
        return at


class _RowTrees:
    """The row files that were asked for last: whoever asks for one row of a file often asks for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trees: OrderedDict[Hash, _RowTree] = OrderedDict()

    def get(self, root: Hash) -> _RowTree | None:
        with self._lock:
            if root in self._trees:
                self._trees.move_to_end(root)
            return self._trees.get(root)

    def put(self, root: Hash, rows: _RowTree) -> None:
        with self._lock:
            self._trees[root] = rows
            while len(self._trees) > 1 and sum(len(each.file) for each in self._trees.values()) > _CACHED_ROWS:
                self._trees.popitem(last=False)


class Node:
    """The service below HTTP. Its methods may be called from many threads."""

    origin: str
    genesis: Log

    def __init__(
        self,
        config: Config,
        keys: LogKeys,
        *,
        db: Database,
        public: Blobs,
        private: Blobs,
        snapshots: Path,
        policies: Policies,
        clock: Clock = time.time,
        connect: Connect | None = None,
    ) -> None:
        """Put the parts together; see `open`."""
        self.config = config
        self.origin = config.origin
        self._keys = keys
        self._clock = clock
        self._db = db
        self._public = public
        self._private = private
        self._policies = policies
        self._log = LogStore(db)
        self._history = History(self._log, public, private, snapshots)
        self._views: tuple[View, ...] = ()  # oldest first; replaced whole
        self._parsing = threading.BoundedSemaphore(_PARSERS)
        self._row_trees = _RowTrees()
        self._lists = PartyLists(self._log)
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._stepping = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._writing: threading.Thread | None = None
        self._fault: AttestError | None = None
        self._crash: BaseException | None = None
        self._stepped_at: float | None = None
        self._adopted_at = 0.0  # when the newest view came, of the monotonic clock
        self.leading = False
        main, state = policies.main.policy, None if policies.state is None else policies.state.policy
        self._endpoints = endpoints(main, state)
        self.browse = Browse(lambda: self._views, db, public, policies, self._endpoints, config.successor, config.url)
        self._witnesses = self._hire(main, state, connect) if self._endpoints else None
        self.sequencer = Sequencer(
            config, keys, db, self._history, clock=clock, announce=self._adopt, witnesses=self._witnesses
        )

    def _hire(self, main: Policy, state: Policy | None, connect: Connect | None) -> Witnesses:
        return Witnesses(
            main,
            state,
            read=lambda size: reader(self._public, size, size),
            clock=self._clock,
            known={url: each.size for url, each in cosigned.standings(self._db).items()},
            wait_s=self.config.witness_wait_s,
            timeout_s=self.config.witness_timeout_s,
            connect=connect,
            changed=self._wake.set,
        )

    @classmethod
    def create(
        cls,
        config: Config,
        *,
        passphrase: bytes | None = None,
        limits: Limits | None = None,
        predecessor: Predecessor | None = None,
        clock: Clock = time.time,
    ) -> Policy:
        """Start a log: keys, database, entry 0, the first epoch and its checkpoint; the policy file, which it returns.

        Raises:
            Conflict: `key/exists`, `sequencer/exists`: there is a log already.
        """  # fmt: skip
        for place in (config.public, config.private, config.keys):
            config.path(place).mkdir(mode=0o755 if place == config.public else 0o700, parents=True, exist_ok=True)
        own = LogKeys.generate()
        own.store(config.path(config.keys), passphrase)
        db = Database(config.database_url())
        try:
            db.migrate()
            verifier = NoteVerifier.of(config.origin, KeyType.ED25519, own.note_ed25519.public)
            policy = Policy((PolicyLog(verifier, config.url),), (), (), None)
            node = cls._assemble(config, own, db, Policies(PolicyFile(policy, policy.encode())), clock)
            genesis = Log(
                config.origin,
                own.statements.public,
                own.receipts.public,
                own.note_ed25519.public,
                own.note_mldsa44.public,
                limits or Limits(),
                predecessor,
            )
            name = issuer_of(config.origin)
            first = sign_statement(
                own.statements,
                genesis,
                issuer=name,
                stream=name,
                audience=config.origin,
                issued_at=int(clock()),
                seq=0,
            )
            node.sequencer.begin(first)
            node.sequencer.lease.release()
        finally:
            db.close()
        config.path(config.policy).write_bytes(policy.encode())
        return policy

    @classmethod
    def open(cls, config: Config, *, clock: Clock = time.time, connect: Connect | None = None) -> Self:
        """Open a log that `attest operator init` created, and follow it to its newest published checkpoint.

        Args:
            connect: makes the HTTP client for a witness's URL.

        Raises:
            Unavailable: `store/schema`, `config/…`, `key/missing`, and what `Sequencer.step` raises.
            Refuted: `config/other-log`.
        """
        for place in (config.path(config.public), config.path(config.private)):
            if not place.is_dir():
                raise Unavailable("config/missing", f"no directory {place}")
        keys = LogKeys.load(config.path(config.keys), config.passphrase())
        policies = Policies.load(config)
        db = Database(config.database_url())
        db.check_schema()
        node = cls._assemble(config, keys, db, policies, clock, connect)
        node.step(lead=False)
        if not node._views:
            # Committed and not published: somebody died in between.
            node.step()
        if not node._views:
            raise Unavailable("node/no-log", "nothing is published yet", hint="is `attest operator init` complete?")
        return node

    @classmethod
    def _assemble(
        cls,
        config: Config,
        keys: LogKeys,
        db: Database,
        policies: Policies,
        clock: Clock,
        connect: Connect | None = None,
    ) -> Self:
        private = config.path(config.private)
        return cls(
            config,
            keys,
            db=db,
            public=DirectoryBlobs(config.path(config.public), floor=config.free_bytes),
            private=DirectoryBlobs(private, floor=config.free_bytes),
            snapshots=private / "snapshots",
            policies=policies,
            clock=clock,
            connect=connect,
        )

    # --- the log as it is published ---

    @property
    def view(self) -> View:
        """The log at its newest published checkpoint."""
        views = self._views
        if not views:
            raise Unavailable("node/no-log", "nothing is published yet")
        return views[-1]

    def view_at(self, size: int | None) -> View:
        """Return the view of a tree size, by default the newest. Raises `Conflict`: `proof/gone`."""
        if size is None:
            return self.view
        for view in reversed(self._views):
            if view.size == size:
                return view
        raise Conflict("proof/gone", f"size {size} is not one of the last {VIEWS} checkpoints", hint="ask without size")

    def _adopt(self, ledger: Ledger, record: EpochRecord) -> None:
        """Take over an epoch that has become visible."""
        if not self._views:
            check_genesis(ledger, self.config, self._keys)
            if ledger.genesis is not None:
                self.genesis = ledger.genesis
        before = self._views[-1] if self._views else None
        head = sign_tree_head(
            self._keys.receipts, self.origin, issued_at=record.time, size=record.size, root=record.tree_root
        )
        view = View.of(ledger, record, before, head).cosigned_by(
            cosigned.of_sizes(self._db, [record.size]), self._policies
        )
        views = (*self._views, view)
        kept = views[-VIEWS:]
        kept = kept[first_that_fits([each.ledger for each in kept]) :]
        # The newest that everybody vouches for stays, however far the state witnesses are behind.
        best = next((each for each in reversed(views) if each.checked), None)
        self._adopted_at = time.monotonic()
        self._views = kept if best is None or best in kept else (best, *kept)
        with self._changed:
            self._changed.notify_all()

    def _take_cosignatures(self) -> None:
        """Add to the views what has been cosigned since."""
        views = self._views
        if self._witnesses is None or not views:
            return
        known = {each.mark for view in views for each in view.cosignatures}
        fresh = {size for size, _, _ in cosigned.marks(self._db, [view.size for view in views]) - known}
        if not fresh:
            return
        found: dict[int, list[Stored]] = {size: [] for size in fresh}
        for each in cosigned.of_sizes(self._db, sorted(fresh)):
            found[each.size].append(each)
        self._views = tuple(
            view.cosigned_by(found[view.size], self._policies) if view.size in fresh else view for view in views
        )
        with self._changed:
            self._changed.notify_all()

    def _best_view(self, fits: Callable[[View], bool]) -> View:
        """Return the newest view that fits and is checked; else one that is witnessed; else the newest there is."""
        fitting = [view for view in reversed(self._views) if fits(view)]
        best = next((view for view in fitting if view.checked), None)
        return best or next((view for view in fitting if view.witnessed), None) or self.view

    def _await_cosignatures(self) -> None:
        """Wait a moment after an epoch was published, while state witnesses keep up, for those who ask just then."""

        def settled() -> bool:
            # If they have not kept up lately, nobody waits for them.
            return self.view.checked or not any(view.checked for view in self._views[-_RECENT:])

        with self._changed:
            self._changed.wait_for(settled, self._adopted_at + self.config.witness_wait_s - time.monotonic())

    # --- taking statements in ---

    def submit(self, entry: bytes) -> Submission:
        """Take a statement in: its signature and all that can be judged early are checked first. Twice is fine.

        Raises:
            Malformed, Untrusted, Refuted, Conflict: it will never stand as it is (`statement/…`, `rule/…`); after the
                log's end nothing will: `rule/log-ended`.
            Unavailable: `store/full`, `clock/behind`, `queue/full`, `sequencer/…`: not now.
        """
        statement = Statement.parse(entry)
        leaf = statement.leaf
        known = self.submission(leaf)
        if known is not None:
            return known
        view = self.view
        self._check_going_on(view)
        self._check_early(view, statement)
        self._check_intake()
        now = int(self._clock())
        root = _rows_root(statement)
        # A row file that is published never goes away; one that is merely uploaded may.
        complete = root is None or self._public.exists(rows_name(root))
        by = now + self.config.promise_s
        promise = self._promise(leaf, now, by) if complete else None
        issuer = queue.party_of(statement)
        try:
            with self._db.write() as transaction:
                self._check_room(queue.counts(transaction, issuer), statement, complete=complete)
                if log_store.find(transaction, leaf) is None:
                    queue.add(transaction, statement, now=now, promise=promise, promise_by=by if complete else None)
        except Conflict as error:
            if error.code != "queue/known":
                raise
        if complete:
            self._wake.set()
        return self._known(leaf)

    def put_rows(self, root: Hash, rows: bytes) -> list[Submission]:
        """Take in a row file that pending statements name. Twice is fine.

        Raises:
            Conflict: `rows/unclaimed`, no statement known here names it.
            Malformed: `rows/size`, `rows/order`. Refuted: `rows/root`.
            Unavailable: as `submit`.
        """
        with self._db.read() as transaction:
            claims = queue.claims(transaction, root)
            leaves = log_store.leaves_with_rows(transaction, root)
        # The size is the cheapest thing to be wrong.
        if claims and len(rows) not in {count * ROW for _, count, _ in claims}:
            counts = ", ".join(sorted({str(count) for _, count, _ in claims}))
            raise Malformed("rows/size", f"{len(rows)} bytes, the statement says {counts} rows of {ROW} bytes")
        waiting = [leaf for leaf, _, state in claims if state == queue.ROWS]
        if waiting:
            self._check_going_on(self.view)
            self._check_intake()
            with self._parsing:
                found = RowFile.parse(rows).root()
            if found != root:
                raise Refuted("rows/root", f"the rows have root {found.hex()}, the statement says {root.hex()}")
            self._private.put([(upload_name(root), rows)])
            now = int(self._clock())
            by = now + self.config.promise_s
            with self._db.write() as transaction:
                for leaf in waiting:
                    queue.promise(transaction, leaf, self._promise(leaf, now, by), by)
            self._wake.set()
        # Whoever repeats an upload, since the answer was lost, learns what became of the statements.
        known = [*(leaf for leaf, _, _ in claims), *leaves]
        if not known:
            raise Conflict(
                "rows/unclaimed",
                "no statement names this row file",
                hint="post the statement first; it waits for its row file for an hour",
            )
        return [self._known(leaf) for leaf in dict.fromkeys(known)]

    def submission(self, leaf: Hash) -> Submission | None:
        """Tell where a statement is, None if it is not known."""
        size = self.view.size
        with self._db.read() as transaction:
            # In this order: what leaves the queue is in the log in the same transaction.
            queued = queue.find(transaction, leaf)
            found = log_store.find(transaction, leaf)
        if found is not None:
            published = found.position < size
            return Submission(
                leaf,
                "entry" if published else "pending",
                found.rows_root,
                found.promise,
                None,
                found.position if published else None,
                None,
            )
        if queued is None:
            return None
        state: State = (
            "rows" if queued.state == queue.ROWS else "pending" if queued.state == queue.PENDING else "refused"
        )
        return Submission(leaf, state, queued.rows_root, queued.promise, queued.refusal, None, queued.error)

    def _known(self, leaf: Hash) -> Submission:
        found = self.submission(leaf)
        if found is None:
            raise Conflict("entry/unknown", "the statement expired in this moment", hint="post it again")
        return found

    def wait(self, leaf: Hash, timeout_s: float) -> Submission:
        """Wait until a statement is published or refused, or needs its row file. Raises `Conflict`: `entry/unknown`."""
        deadline = time.monotonic() + timeout_s
        while True:
            # Look at the clock of changes first, so that none is missed between looking and waiting.
            with self._changed:
                seen = self._views[-1:]
            found = self._known(leaf)
            left = deadline - time.monotonic()
            if found.state in ("entry", "refused", "rows") or left <= 0:
                return found
            with self._changed:
                if self._views[-1:] == seen:
                    # Refusals come without a new view, and so does what another process published.
                    self._changed.wait(min(left, _TICK_S))

    def _promise(self, leaf: Hash, now: int, by: int) -> bytes:
        return sign_promise(self._keys.receipts, self.origin, issued_at=now, entry=leaf, by=by).encoded

    def _check_going_on(self, view: View) -> None:
        """Raises `Conflict`: `rule/log-ended`."""
        if view.end is not None:
            successor = self.config.successor
            raise Conflict(
                "rule/log-ended",
                f"{self.origin} has ended with {view.size} entries; it only answers",
                hint=f"go on in its successor, {successor}" if successor else "ask its operator for the successor",
            )

    def _check_early(self, view: View, statement: Statement) -> None:
        """Judge a statement where the log is now, as far as what is still pending cannot change the answer."""
        if statement.issuer == issuer_of(self.origin):
            raise Untrusted("rule/issuer", "the log's own statements do not come over HTTP")
        claims = [statement.issued_at]
        if isinstance(statement.payload, Tombstone):
            claims.append(statement.payload.erased_at)
        latest = int(self._clock()) + view.ledger.limits.skew
        try:
            judge(view.draft, view.size, statement)
        except Unavailable as error:
            if error.code != "rows/missing":
                raise
        except Conflict as error:
            self._check_order(view, statement, error)
        if max(claims) > latest:
            raise Conflict(
                "rule/epoch-time",
                f"iat or erased_at {max(claims)} is more than {view.ledger.limits.skew} s ahead of our clock",
                hint="check the clock",
            )

    def _check_order(self, view: View, statement: Statement, error: Conflict) -> None:
        """Let a statement pass that stands on others which are still to come; otherwise raise what was found."""
        party = queue.party_of(statement)
        expected = _expected_seq(view.draft, party, statement.stream)
        if expected is None:
            # A statement that registers this system may be pending.
            with self._db.read() as transaction:
                registering = queue.is_pending(transaction, party, Systems.KIND)
            if error.code != "rule/system" or not registering or statement.seq > AHEAD:
                raise error
        elif statement.seq <= expected:
            raise error
        elif statement.seq > expected + AHEAD:
            raise Conflict("rule/seq", f"seq {statement.seq}, the next is {expected}; at most {AHEAD} ahead are kept")

    def _check_intake(self) -> None:
        """Raises `Unavailable` while nothing may be acknowledged."""
        if self._fault is not None and self._fault.code in ("sequencer/rolled-back", "sequencer/forked"):
            raise Unavailable(self._fault.code, "this log is stopped; its operator has to look at it")
        if self._fault is not None and self._fault.code == "witness/quorum":
            raise Unavailable(
                self._fault.code, "nothing is published until more witnesses answer", hint="try again later"
            )
        last = self.view.record.time
        if self._clock() < last - CLOCK_BEHIND_S:
            raise Unavailable("clock/behind", f"our clock is over {CLOCK_BEHIND_S} s behind the last epoch of {last}")
        self._public.check_space()
        self._private.check_space()

    def _check_room(self, found: queue.Counts, statement: Statement, *, complete: bool) -> None:
        config = self.config
        if found.pending >= config.pending_statements:
            raise Unavailable("queue/full", f"{found.pending} statements are pending", hint="try again in a minute")
        # What numbers ahead is promised too, and waits for long: one party must not fill the queue of all.
        rows = statement.payload.count if isinstance(statement.payload, Hold | Tombstone) else 0
        full = found.party_rows > 0 and rows > 0 and found.party_rows + rows > config.pending_rows
        # What is next in its stream waits for nothing, and frees what waits for it.
        ahead = _expected_seq(self.view.draft, queue.party_of(statement), statement.stream) != statement.seq
        if (found.party >= config.pending_party and ahead) or full:
            raise Unavailable(
                "queue/full",
                f"{found.party} statements of this party with {found.party_rows} rows are waiting",
                hint="send what comes first in each stream, and its rows; try again in a minute",
            )
        if not complete and found.party_uploads >= config.pending_uploads:
            raise Unavailable(
                "queue/full", f"{found.party_uploads} statements of this party wait for row files", hint="upload them"
            )

    # --- reading entries ---

    def statement(self, leaf: Hash) -> bytes | None:
        """Return a statement's bytes, also of one that is pending or was refused."""
        with self._db.read() as transaction:
            found = log_store.find(transaction, leaf)
            return queue.entry(transaction, leaf) if found is None else found.entry

    def receipt(self, leaf: Hash) -> bytes:
        """Return the COSE receipt of an entry at the newest checkpoint. Raises `Conflict`: `entry/…`."""
        view = self.view
        position = self._position(view, leaf)
        return view.head.receipt(position, self._path(view, position))

    def tlog_proof(self, leaf: Hash) -> str:
        """Return the `.tlog-proof` of an entry at the best checkpoint that has it. Raises `Conflict`: `entry/…`."""
        position = self._position(self.view, leaf)
        view = self._best_view(lambda each: each.size > position)
        return TlogProof(position, tuple(self._path(view, position)), view.signed).encode().decode()

    def _position(self, view: View, leaf: Hash) -> int:
        found = self._log.find(leaf)
        if found is None:
            raise Conflict("entry/unknown", "there is no entry with this id")
        if found.position >= view.size:
            raise Conflict("entry/pending", "the entry is not in a published checkpoint of this size")
        return found.position

    def _path(self, view: View, position: int) -> list[Hash]:
        return tree.inclusion_path(position, view.size, reader(self._public, view.size, self.view.size))

    def blob(self, name: str) -> bytes | None:
        """Return a public file: `checkpoint`, `tile/…`, `rows/<hex>`; None if there is none of this name."""
        if name == "checkpoint":
            return self._public.get(name)
        if name.startswith("rows/") and len(name) == 69 and set(name[5:]) <= set("0123456789abcdef"):
            return self._public.get(name)
        if name.startswith("tile/"):
            try:
                return read_file(self._public, name)
            except Malformed:
                return None
        return None

    def policy(self) -> bytes:
        """Return the log's policy file."""
        return self._policies.main.encoded

    def state_policy(self) -> bytes | None:
        """Return the log's policy file for state witnesses, None if it has none."""
        return None if self._policies.state is None else self._policies.state.encoded

    def transition(self, epoch: int) -> bytes | None:
        """Return the transition proof of an epoch, None if it is not kept (any more)."""
        # Also of the next one, which is published when witnesses have seen it.
        return self._private.get(transition_name(epoch)) if 0 <= epoch < 1 << 63 else None

    def queue_view(self) -> dict[str, int]:
        """Return how many statements are in which state, and whether somebody sequences; for the operator."""
        with self._db.read() as transaction:
            found = queue.states(transaction)
        return {state: found.get(state, 0) for state in (queue.ROWS, queue.PENDING, queue.REFUSED)}

    # --- proofs ---

    def lookup(self, holder: str, locators: list[dict[str, Hash]], size: int | None) -> dict[str, Any]:
        """Answer what all systems of a holder say about some locators, at one checkpoint: members of a bundle.

        Args:
            locators: for each the index in every system.

        Raises:
            Malformed: `lookup/locators`, none or too many, or an index that has not 32 bytes.
            Conflict: `holder/unknown`, `lookup/systems`, not exactly the systems of this holder; `proof/gone`.
        """
        if not 1 <= len(locators) <= MAX_LOCATORS:
            raise Malformed("lookup/locators", f"{len(locators)} locators, want 1 to {MAX_LOCATORS}")
        if size is None:
            self._await_cosignatures()
            # An older view must not know fewer systems: what was registered since would be passed over in silence.
            known = self.view.ledger.system_ids.get(holder)
            view = self._best_view(lambda each: each.ledger.system_ids.get(holder) == known)
        else:
            view = self.view_at(size)
        head = view.holder(holder)
        systems = view.ledger.systems_of(holder)
        names = {system.system for system in systems}
        for indexes in locators:
            if odd := sorted(names ^ indexes.keys()):
                raise Conflict("lookup/systems", f"missing or unknown systems: {', '.join(odd)[:500]}")
            if any(len(index) != 32 for index in indexes.values()):
                raise Malformed("lookup/locators", "an index has 32 bytes")
        positions = {0, head.admitted, view.size - 1} | _end(view)
        answers: dict[tuple[int, str], dict[str, Any]] = {}
        for system in systems:
            map_keys = commitment.map_keys([indexes[system.system] for indexes in locators])
            for n, (state, proof) in enumerate(self._prove(view, (holder, system.system), map_keys)):
                if state is not None and state[0] == ERASED:
                    positions |= self._epoch_before(int.from_bytes(state[9:17], "big"))
                answers[n, system.system] = {
                    "locator": n,
                    "system": system.system,
                    "state": None if state is None else encode_base64(state),
                    "proof": encode_base64(proof),
                }
        return {
            "checkpoint": view.checkpoint,
            "entries": self._entries(view, positions),
            "holder": self._holder_proof(view, head),
            "systems": [
                {
                    "head": encode_base64(system.encode()),
                    "descriptor": encode_base64(view.ledger.descriptors[holder, system.system].encode()),
                }
                for system in systems
            ],
            "states": [answers[n, system.system] for n in range(len(locators)) for system in systems],
        }

    def party_proof(self, party: str) -> bytes:
        """Prove where a party and all its systems stand at the newest checkpoint with both quorums.

        Raises:
            Conflict: `holder/unknown`.
        """
        self._await_cosignatures()
        view = self._best_view(lambda each: party in each.ledger.parties)
        head = view.holder(party)
        read = reader(self._public, view.size, self.view.size)
        places = (0, view.size - 1)
        entries = self._log.entries_at(places)
        own = view.ledger.parties[self.origin]
        return PartyProof(
            view.signed,
            tuple((at, entries[at], tuple(tree.inclusion_path(at, view.size, read))) for at in places),
            head.encode(),
            view.ledger.top.prove(head.key()).encode(),
            (own.encode(), view.ledger.top.prove(own.key()).encode()),
            tuple(
                (system.encode(), view.ledger.descriptors[party, system.system].encode())
                for system in view.ledger.systems_of(party)
            ),
        ).encode()

    def party_list(self, party: str, index: int, width: int) -> bytes:
        """Return a file of the list of a party's entries.

        Raises:
            Conflict: `holder/unknown`, `holder-list/unknown`.
        """
        return self._lists.part(party, self.view.holder(party).entries, index, width)

    def row_proof(self, leaf: Hash, index: Hash, size: int | None) -> dict[str, Any]:
        """Prove a row of a hold or tombstone: members of a bundle.

        Raises:
            Conflict: `entry/unknown`, `entry/pending`; `row/unknown`, the statement has no row file, or no such row in
                it; `proof/gone`.
        """
        view = self.view_at(size)
        position = self._position(view, leaf)
        if size is None:
            view = self._best_view(lambda each: each.size > position)
        entry = self._log.entry(position)
        statement = Statement.parse(entry or b"")
        payload = statement.payload
        if not isinstance(payload, Hold | Tombstone):
            raise Conflict("row/unknown", f"{payload.KIND} has no row file")
        rows = self._row_trees.get(payload.root)
        if rows is None:
            with self._parsing:
                rows = _RowTree.of(RowFile.parse(self._history.rows(payload.root)))
            self._row_trees.put(payload.root, rows)
        at = rows.find(index)
        party = queue.party_of(statement)
        head = view.holder(party)
        after = self._log.epoch_after(position)
        positions = {0, head.admitted, position, view.size - 1, *self._epoch_before(position)} | _end(view)
        if after is not None and after.size <= view.size:
            positions.add(after.size - 1)
        return {
            "checkpoint": view.checkpoint,
            "entries": self._entries(view, positions),
            "holder": self._holder_proof(view, head),
            "rows": [
                {
                    "locator": 0,
                    "system": statement.stream,
                    "entry": position,
                    "position": at,
                    "commitment": encode_base64(rows.file.commitments[at]),
                    "path": [encode_base64(node) for node in tree.inclusion_path(at, len(rows.file), rows.read)],
                }
            ],
        }

    def _prove(self, view: View, name: tuple[str, str], map_keys: list[Hash]) -> list[tuple[bytes | None, bytes]]:
        states = view.ledger.maps.get(name) or view.ledger.new_map()
        return list(zip(states.get(map_keys), states.prove(map_keys), strict=True))

    def _epoch_before(self, position: int) -> set[int]:
        record = self._log.epoch_before(position)
        return set() if record is None else {record.size - 1}

    def _entries(self, view: View, positions: Iterable[int]) -> list[dict[str, Any]]:
        # Every look-up asks for entry 0, the holder's admission and the epoch: they are proven once per view.
        found = {position: view.proven.get(position) for position in sorted(positions)}
        missing = [position for position, proof in found.items() if proof is None]
        if missing:
            entries = self._log.entries_at(missing)
            read = reader(self._public, view.size, self.view.size)
            if len(view.proven) > _PROVEN:
                view.proven.clear()
            for position in missing:
                path = tree.inclusion_path(position, view.size, read)
                found[position] = view.proven[position] = {
                    "position": position,
                    "entry": encode_base64(entries[position]),
                    "path": [encode_base64(node) for node in path],
                }
        return [proof for proof in found.values() if proof is not None]

    def _holder_proof(self, view: View, head: PartyHead) -> dict[str, Any]:
        return {
            "party": head.party,
            "head": encode_base64(head.encode()),
            "proof": encode_base64(view.ledger.top.prove(head.key()).encode()),
        }

    # --- running ---

    def operate(
        self,
        payload: Party | Keys | PartyEnd,
        about: str | None,
        *,
        unless: Callable[[Transaction], None] | None = None,
        timeout_s: float = 60,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Have the log say something about a party, or None, and wait until it is published.

        Whoever holds the lease sequences it; if nobody does, it is done here.

        Args:
            unless: raises if it is not to be said after all, in the transaction that would queue it.

        Raises:
            Conflict, and others: the statement was refused (`rule/…`, `operator/…`).
            Unavailable: `operator/timeout`, it is queued, and not published yet.
        """
        self._check_going_on(self.view)
        now = int(self._clock())
        name = issuer_of(self.origin)
        own = self.view.ledger.parties[self.origin].own
        statement = sign_statement(
            self._keys.statements,
            payload,
            issuer=name,
            stream=name,
            audience=self.origin,
            issued_at=now,
            seq=own,
            about=about,
        )
        by = now + self.config.promise_s
        with self._db.write() as transaction:
            if unless is not None:
                unless(transaction)
            promise = self._promise(statement.leaf, now, by)
            queue.add(transaction, statement, now=now, promise=promise, promise_by=by)
        settled_at: int | None = None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(Conflict):  # another process was first; so it does the work
                self.step()
            with self._db.read() as transaction:
                queued = queue.find(transaction, statement.leaf)
            if queued is not None and queued.error is not None:
                raise queued.error
            if queued is None and settled_at is None:
                last = self._log.last_epoch()
                settled_at = 0 if last is None else last.size
            if settled_at is not None and self.view.size >= settled_at:
                return
            pause(_TICK_S)
        raise Unavailable("operator/timeout", "the statement is queued, and not published yet")

    def retire(
        self, *, drop_pending: bool = False, timeout_s: float = 60, pause: Callable[[float], None] = time.sleep
    ) -> View:
        """End the log for ever; return its last view. It goes on answering, and takes nothing any more.

        Args:
            drop_pending: go on while statements wait. Those whose turn it is come before the end; the others, and
                whatever comes in too late, are refused with `rule/log-ended`, signed by the log.

        Raises:
            Conflict: `rule/log-ended`, it has ended before; `operator/pending`, statements wait.
            Unavailable: `operator/timeout`: it ends as soon as somebody sequences.
        """

        def nothing_waits(transaction: Transaction) -> None:
            waiting = queue.others_waiting(transaction, self.origin)
            if waiting and not drop_pending:
                raise Conflict(
                    "operator/pending",
                    f"{waiting} statements are waiting",
                    hint="let `attest serve` finish them, or refuse those that cannot come in with --drop-pending",
                )

        self._check_going_on(self.view)
        try:
            self.operate(PartyEnd(), None, unless=nothing_waits, timeout_s=timeout_s, pause=pause)
        except Conflict as error:
            # Another command, or one that died, was first with the same.
            if error.code not in ("rule/log-ended", "queue/known"):
                raise
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self._db.read() as transaction:
                waiting = queue.others_waiting(transaction, self.origin)
            if self.view.end is not None and not waiting:
                return self.view
            pause(_TICK_S)
            with contextlib.suppress(Conflict):
                self.step()
        raise Unavailable("operator/timeout", "the log ends, and some statements are not refused yet")

    def step(self, *, lead: bool = True) -> Step:
        """Follow or sequence once, and tell those who wait. Raises what `Sequencer.step` raises."""
        with self._stepping:
            try:
                done = self.sequencer.step(lead=lead)
            except AttestError as error:
                self._fault = error
                raise
            finally:
                self._take_cosignatures()
            self._fault = None
            self.leading = done.leading
            self._stepped_at = self._clock()
        if done.refused:
            with self._changed:
                self._changed.notify_all()
        return done

    def ended(self) -> bool:
        """Tell whether the log has ended."""
        return self.view.end is not None

    def healthy(self) -> None:
        """Check that this node can do its work. Raises `Unavailable`, with what is in the way."""
        if self._fault is not None:
            raise Unavailable(self._fault.code, self._fault.message, hint=self._fault.hint)
        if self._crash is not None:
            raise Unavailable("node/stopped", f"the sequencer thread ended with {type(self._crash).__name__}")
        for undecided in self.sequencer.undecided:
            raise Unavailable(undecided.code, undecided.message)
        view = self.view
        self._check_intake()
        quiet = self._clock() - view.record.time
        # The silence of a log that has ended is no fault.
        if view.end is None and quiet > view.ledger.limits.silence:
            raise Unavailable("node/silent", f"the newest checkpoint is {int(quiet)} s old")
        self._log.last_epoch()

    def start(self) -> None:
        """Follow, and sequence while the lease is ours, in a thread of its own."""
        if self._threads:
            raise ValueError("started already")
        self._stopping.clear()
        thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Finish the step in progress, write a snapshot, let another process have the lease. Twice is fine."""
        self._stopping.set()
        self._wake.set()
        if self._witnesses is not None:
            self._witnesses.close()
        for thread in self._threads:
            thread.join()
        self._threads = []
        with self._stepping:
            self._snapshot(due=True)
            if self.leading:
                self.leading = False
                self.sequencer.lease.release()
        self.close()

    def close(self) -> None:
        """Let go of the database and of the witnesses."""
        if self._witnesses is not None:
            self._witnesses.close()
        self._db.close()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                pause = _TICK_S
                try:
                    self.step()
                    for error in self.sequencer.undecided[:1]:
                        _report("undecided", error)
                    self._snapshot(due=False)
                except AttestError as error:
                    _report("step", error)
                    pause = _TICK_S if isinstance(error, Conflict) else _BACK_OFF_S
                self._wake.wait(pause)
                # The epoch that is due in a moment takes what comes until then.
                self._stopping.wait(0.02)
        except BaseException as error:
            self._crash = error
            raise

    def _snapshot(self, *, due: bool) -> None:
        """Write a snapshot beside the work if much has changed since the last one; when `due`, now if anything has."""
        ours = self.sequencer
        rows, entries = ours.rows_since_snapshot, ours.entries_since_snapshot
        much = rows >= self.config.snapshot_rows or entries >= self.config.snapshot_entries
        busy = self._writing is not None and self._writing.is_alive()
        if self._views and (much or (due and entries)) and not (busy and not due):
            if self._writing is not None:
                self._writing.join()
            ours.rows_since_snapshot = ours.entries_since_snapshot = 0
            self._writing = threading.Thread(target=self._write_snapshot, args=[self.view], name="snapshot")
            self._writing.start()
        if due and self._writing is not None:
            self._writing.join()
            self._writing = None

    def _write_snapshot(self, view: View) -> None:
        try:
            self._private.check_space()
            self._history.write(view.ledger, view.record)
        except (AttestError, OSError) as error:
            # A snapshot only shortens the next start.
            _report("snapshot", error)


def _end(view: View) -> set[int]:
    return set() if view.end is None else {view.end}


def _report(what: str, error: Exception) -> None:
    """Log a problem of the background thread; its message never quotes a statement."""
    code = error.code if isinstance(error, AttestError) else type(error).__name__
    message = error.message if isinstance(error, AttestError) else str(error)
    _logger.warning(what, code=code, problem=message)


def _rows_root(statement: Statement) -> Hash | None:
    payload = statement.payload
    return payload.root if isinstance(payload, Hold | Tombstone) else None


def _expected_seq(draft: Draft, party: str, stream: str) -> int | None:
    head = draft.party(party)
    if head is None:
        return None
    if stream == issuer_of(party):
        return head.own
    if stream == issuer_of(party) + RECOVERY:
        return head.recovery
    system = draft.system((party, stream))
    return None if system is None else system.entries
