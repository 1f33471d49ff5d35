"""Checking one log up to an offered checkpoint: by transition proofs where they are kept, else by replay.

Whatever ends a check, the anchor stands behind an epoch that was checked, all row files up to it are stored, and it was
in the tree of a checkpoint that the log signed.

Spec: docs/spec/witness.md#state-witnesses.
"""

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final, NoReturn, Protocol

import structlog

from attest.collector import uncollected
from attest.encoding import Hash
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.statement import Epoch
from attest.ledger.claims import Departure
from attest.ledger.evidence import Evidence
from attest.ledger.evidence.epochs import BadEpoch, check_genesis, end_of, forked, is_epoch, no_epoch
from attest.ledger.evidence.exhibit import Shown
from attest.ledger.refusal import RefusedEpoch
from attest.ledger.transition import Anchor, parse_transition, verify_parsed, verify_transition
from attest.served import Asked, Log, ServedTree
from attest.store.blobs import Blobs
from attest.store.db import Clock
from attest.store.kept import keep
from attest.witness.replay import replay
from attest.witness.rowfiles import RowFiles

_PERSIST_S: Final = 10.0  # between two anchors that a replay stores
_PAUSE_S: Final = 1.0
_PATIENCE_S: Final = 600.0  # for a log that is away during a replay
_SLACK_S: Final = 600  # of clocks, about how long proofs are kept
_SIGNED: Final = frozenset({"epoch", "key", "rule", "signature", "statement"})  # what no other file can cure
_WAY: Final = 64 * 34  # bytes of a pruned map for each key: nobody can find hashes that share 64 bits in numbers

_logger = structlog.get_logger("attest.witness")


class Anchors(Protocol):
    """Where anchors are kept."""

    def read(self, origin: str) -> Anchor | None: ...

    def move(self, origin: str, old: Anchor | None, new: Anchor) -> None: ...

    def forget(self, origin: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a log may cost us, and how long it keeps its proofs."""

    transition_bytes: int = 256 << 20  # of one proof; checking takes some ten times that in memory
    epoch_rows: int = 1 << 22
    proofs_kept_s: int = 86_400


class Walker:
    """What is known of one log. For one thread at a time, but for `anchor` and `replaying`."""

    def __init__(
        self,
        origin: str,
        blobs: Blobs,
        anchors: Anchors,
        evidence: Path,
        *,
        limits: Limits,
        clock: Clock,
        stopping: threading.Event,
        turn: threading.Lock,
    ) -> None:
        """Begin where the last check ended. Raises `Unavailable`: `store/database`.

        Args:
            stopping: set when this process ends.
            turn: of all logs, one is replayed at a time: it takes the memory of all its states.
        """
        self.origin = origin
        self.blobs = blobs
        self.evidence = evidence
        self.limits = limits
        self.clock = clock
        self.stopping = stopping
        self.turn = turn
        self.refused: _RefusedTree | None = None
        self._anchors = anchors
        self.replaying = 0  # how far a replay is
        self.anchor = Anchor.empty()  # up to here everything is checked
        self._stored: Anchor | None = None
        self._refresh()

    def _load(self) -> Anchor | None:
        try:
            return self._anchors.read(self.origin)
        except Malformed as error:
            # Whatever it said, nothing is lost but time.
            _logger.error("anchor damaged", origin=self.origin, problem=error.message)
            self._anchors.forget(self.origin)
            return None

    def _refresh(self) -> None:
        # Another process on the same database may have gone on, and a damaged anchor is not worth less from memory.
        self._stored = self._load()
        self.anchor = self._stored or Anchor.empty()

    def move(self, anchor: Anchor) -> None:
        """Stand behind another epoch, durably. Raises `Unavailable`: `witness/busy`, another process does so too."""
        try:
            self._anchors.move(self.origin, self._stored, anchor)
        except Conflict:
            self._refresh()
            raise Unavailable("witness/busy", "another process checks the same log", hint="ask again") from None
        self._stored = self.anchor = anchor

    def check(self, signed: SignedCheckpoint, log: Log) -> None:
        """Check everything up to a checkpoint, whose log signatures are checked.

        Raises:
            Refuted, Malformed: with the code of what is wrong.
            Unavailable: the log does not serve what it has signed, or rules are not known here.
        """
        self._refresh()
        _Check(self, signed, Asked(log, self.stopping.wait)).run()


@dataclass(frozen=True, slots=True)
class _RefusedTree:
    """A tree that ends with an epoch which no right entry can follow; who checks has to check it once."""

    size: int
    root: Hash
    error: AttestError


class _Check:
    """One checkpoint of one log."""

    def __init__(self, walker: Walker, signed: SignedCheckpoint, log: Asked) -> None:
        self._walker = walker
        self._signed = signed
        self._log = log
        self._tree = ServedTree(log, signed.checkpoint)
        self._files: RowFiles | None = None  # of the epoch at hand

    def run(self) -> None:
        walker, whole = self._walker, self._signed.checkpoint
        known = walker.refused
        if known is not None and known.size <= whole.size and self._tree.root(known.size) == known.root:
            raise known.error
        while walker.anchor.size < whole.size:
            self._go_on()
            number = next_epoch(walker.anchor)
            encoded = self._log.transition(number, walker.limits.transition_bytes)
            if encoded is not None:
                self._step(encoded)
            elif self._may_be_gone():
                self._replay()
            else:
                raise Unavailable("transition/unknown", f"the log does not serve the proof of epoch {number}")
        if walker.anchor.size == whole.size:
            self._check_anchor()

    def _go_on(self) -> None:
        if self._walker.stopping.is_set():
            raise Unavailable("witness/stopping", "this witness is being stopped")
        self._walker.blobs.check_space()

    # --- by transition proofs ---

    def _step(self, encoded: bytes) -> None:
        """Check one epoch, and stand behind it."""
        walker, whole = self._walker, self._signed.checkpoint
        anchor = walker.anchor
        self._files = None
        try:
            proof = parse_transition(encoded)
            files = self._rows_of(proof["entries"])
            _check_maps(proof, files)
            with uncollected():
                after = verify_parsed(proof, anchor, files.get)
        except Unavailable:
            raise
        except AttestError as error:
            if error.code == "transition/start":
                self._check_anchor()
            self._refuse(error, anchor, encoded)
        self._check_genesis(after)
        if after.size > whole.size:
            last = Shown(whole.size - 1, *self._tree.entry(whole.size - 1))
            self._refuse(forked(whole.size) if is_epoch(last.entry) else no_epoch(whole.size), anchor, encoded, [last])
        if after.root != self._tree.root(after.size):
            self._refuse(forked(after.size), anchor, encoded)
        files.keep()
        walker.move(after)

    def _rows_of(self, entries: Sequence[bytes]) -> RowFiles:
        self._files = RowFiles(self._log, self._walker.blobs, entries, self._walker.limits.epoch_rows)
        return self._files

    def _may_be_gone(self) -> bool:
        """Tell whether the log may have dropped the proof of the next epoch: they are kept for a day."""
        previous = self._walker.anchor.previous
        if previous is None or not isinstance(previous.payload, Epoch):
            return True
        age = self._walker.clock() - previous.payload.time
        return age + _SLACK_S > self._walker.limits.proofs_kept_s

    # --- by replay ---

    def _replay(self) -> None:
        """Check everything again from entry 0."""
        walker, whole = self._walker, self._signed.checkpoint
        self._check_anchor()
        while not walker.turn.acquire(timeout=_PAUSE_S):
            self._go_on()
        _logger.info("replaying", origin=walker.origin, size=whole.size)
        stored_at, reached = monotonic(), Anchor.empty()
        # A log that is away for a minute would have us begin again.
        self._log.patience_s = _PATIENCE_S
        try:
            for reached in replay(self._tree, self._rows_of):
                walker.replaying = reached.size
                self._go_on()
                if next_epoch(reached) == 1:
                    self._check_genesis(reached)
                if monotonic() - stored_at > _PERSIST_S:
                    self._advance(reached)
                    stored_at = monotonic()
        except RefusedEpoch as refused:
            self._advance(reached)
            self._refuse_replayed(refused)
        finally:
            walker.replaying, self._log.patience_s = 0, 0
            walker.turn.release()
        if reached.size < whole.size:
            last = Shown(whole.size - 1, *self._tree.entry(whole.size - 1))
            self._refuse(no_epoch(whole.size), reached, None, [last])
        self._advance(reached)

    def _advance(self, anchor: Anchor) -> None:
        if anchor.size > self._walker.anchor.size:
            self._walker.move(anchor)

    def _refuse_replayed(self, refused: RefusedEpoch) -> NoReturn:
        """Refuse an epoch for the reason that its proof, made from the replayed state, is refused for."""
        error, files = refused.error, self._files
        if files is not None:
            with contextlib.suppress(Unavailable):
                try:
                    verify_transition(refused.transition, refused.anchor, files.get)
                except (Malformed, Untrusted, Refuted, Conflict) as again:
                    error = again
        self._refuse(error, refused.anchor, refused.transition)

    # --- refusing ---

    def _check_genesis(self, after: Anchor) -> None:
        """Check that entry 0 is of this log. Raises `Refuted`: `genesis/…`."""
        try:
            check_genesis(self._signed, after)
        except Refuted as error:
            self._refuse(error, Anchor.empty(), None, [Shown(0, *self._tree.entry(0))])

    def _check_anchor(self) -> None:
        """Check that what was checked before is in this checkpoint's tree. Raises `Refuted`: `log/fork`."""
        anchor = self._walker.anchor
        if self._tree.root(anchor.size) != anchor.root:
            self._refuse(forked(anchor.size), anchor, None)

    def _refuse(
        self, error: AttestError, anchor: Anchor, transition: bytes | None, shown: Sequence[Shown] = ()
    ) -> NoReturn:
        """Keep evidence, and refuse."""
        rows: dict[Hash, bytes] = {}
        if self._files is not None and transition is not None:
            self._files.check_stored()
            rows = self._files.read()
        root, path = None, None
        after = anchor if transition is None else end_of(transition, anchor)
        # Whether it is proven or not: it is refused.
        with contextlib.suppress(Unavailable):
            if after is not None and after.size <= self._signed.checkpoint.size:
                root, path = self._tree.consistency(after.size)
            if not shown and anchor.size:
                shown = [Shown(at, *self._tree.entry(at)) for at in (0, anchor.size - 1)]
        departure = error if isinstance(error, Departure) else None
        kept = Evidence(
            self._signed,
            error.code,
            error.message,
            BadEpoch(
                anchor=anchor,
                epoch=next_epoch(anchor),
                transition=transition,
                rows=rows,
                root=root,
                path=path,
                shown=shown,
                found=None if departure is None else departure.found,
                expected=None if departure is None else departure.expected,
            ),
        )
        place = None
        try:
            place = keep(kept, self._walker.evidence)
        except (OSError, AttestError) as problem:
            _logger.error("evidence not kept", origin=self._walker.origin, problem=str(problem))
        _logger.error("log refuted", origin=self._walker.origin, code=error.code, evidence=str(place))
        if isinstance(error, Conflict | Untrusted):
            # A conflict, over HTTP, would be one about sizes.
            error = Refuted(error.code, error.message, rows=error.rows)
        if after is not None and after.root == root and error.code.partition("/")[0] in _SIGNED:
            self._walker.refused = _RefusedTree(after.size, after.root, error)
        raise error


def next_epoch(anchor: Anchor) -> int:
    """Return the number of the epoch that comes after an anchor."""
    if anchor.previous is None:
        return 0
    if not isinstance(anchor.previous.payload, Epoch):
        raise ValueError("an anchor stands behind an epoch")
    return anchor.previous.payload.number + 1


def _check_maps(proof: dict[str, Any], files: RowFiles) -> None:
    """Check that pruned maps are no larger than the rows and heads need. Raises `Unavailable`: `witness/limit`."""
    shown = [system for holder in proof["holders"] for system in holder["systems"]]
    maps = [proof["top"], *(holder["map"] for holder in proof["holders"]), *(system["map"] for system in shown)]
    keys = files.row_count + len(shown) + len(proof["holders"]) + 3 * len(proof["entries"]) + 1
    if (found := sum(map(len, maps))) > keys * _WAY:
        raise Unavailable("witness/limit", f"{found} bytes of pruned maps, for {keys} keys at most")
