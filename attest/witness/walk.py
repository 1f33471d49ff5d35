"""Checking one log up to an offered checkpoint: by transition proofs where they are kept, else by replay.

Whatever ends a check, the anchor stands behind an epoch that was checked, all row files up to it are stored, and it was
in the tree of a checkpoint that the log signed.

Spec: docs/spec/state-witness.md.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, NoReturn, Protocol

import structlog

from attest.encoding import Hash
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.statement import Epoch
from attest.ledger.claims import Departure
from attest.ledger.transition import Anchor, parse_transition, verify_transition
from attest.store.blobs import Blobs
from attest.store.db import Clock
from attest.witness.evidence import FORK, NO_EPOCH, Evidence, Shown, check_genesis, end_of, is_epoch
from attest.witness.replay import RefusedEpoch, replay
from attest.witness.served import Asked, Log, RowFiles, ServedTree

_PERSIST_S: Final = 10.0  # between two anchors that a replay stores
_SLACK_S: Final = 600  # of clocks, about how long proofs are kept

_logger = structlog.get_logger("attest.witness")


class Anchors(Protocol):
    """Where anchors are kept."""

    def read(self, origin: str) -> Anchor | None: ...

    def move(self, origin: str, old: Anchor | None, new: Anchor) -> None: ...

    def forget(self, origin: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a log may cost us, and what it has to keep."""

    transition_bytes: int = 256 << 20
    epoch_rows: int = 1 << 22
    proofs_kept_s: int = 86_400


class Walker:
    """Checks one log. For one thread at a time, but for `anchor` and `reached`."""

    def __init__(
        self,
        origin: str,
        blobs: Blobs,
        anchors: Anchors,
        evidence: Path,
        *,
        limits: Limits,
        clock: Clock,
        stopping: Callable[[], bool],
    ) -> None:
        """Begin where the last check ended. Raises `Unavailable`: `store/database`."""
        self.origin = origin
        self._blobs = blobs
        self._anchors = anchors
        self._evidence = evidence
        self._limits = limits
        self._clock = clock
        self._stopping = stopping
        self._stored = self._load()
        self.anchor = self._stored or Anchor.empty()  # up to here everything is checked
        self.replaying = 0  # how far a replay is that has not come to the anchor yet

    def _load(self) -> Anchor | None:
        try:
            return self._anchors.read(self.origin)
        except Malformed as error:
            # Whatever it said, nothing is lost but time.
            _logger.error("anchor.damaged", origin=self.origin, problem=error.message)
            self._anchors.forget(self.origin)
            return None

    def check(self, signed: SignedCheckpoint, log: Log) -> None:
        """Check everything up to a checkpoint, whose log signatures are checked.

        Raises:
            Refuted, Malformed: with the code of what is wrong.
            Unavailable: the log does not serve what it has signed, or rules are not known here.
        """
        _Check(self, signed, Asked(log)).run()


class _Check:
    """One checkpoint of one log."""

    def __init__(self, walker: Walker, signed: SignedCheckpoint, log: Asked) -> None:
        self._walker = walker
        self._signed = signed
        self._log = log
        self._tree = ServedTree(log, signed.checkpoint)
        self._files: RowFiles | None = None

    def run(self) -> None:
        walker, whole = self._walker, self._signed.checkpoint
        while walker.anchor.size < whole.size:
            self._go_on()
            number = next_epoch(walker.anchor)
            encoded = self._log.transition(number, walker._limits.transition_bytes)
            if encoded is not None:
                self._step(encoded)
            elif self._may_be_gone():
                self._replay()
            else:
                raise Unavailable(
                    "transition/unknown", f"the log does not serve the transition proof of epoch {number}"
                )
        if walker.anchor.size == whole.size and walker.anchor.root != whole.root:
            self._check_anchor()

    def _go_on(self) -> None:
        if self._walker._stopping():
            raise Unavailable("witness/stopping", "this witness is being stopped")
        self._walker._blobs.check_space()

    # --- by transition proofs ---

    def _step(self, encoded: bytes) -> None:
        """Check one epoch, and stand behind it."""
        walker, whole = self._walker, self._signed.checkpoint
        anchor = walker.anchor
        try:
            files = self._rows_of(parse_transition(encoded)["entries"])
            after = verify_transition(encoded, anchor, files.get)
        except Unavailable:
            raise
        except AttestError as error:
            if error.code == "transition/start":
                self._check_anchor()
            self._refuse(error, anchor, encoded)
        self._check_genesis(after)
        if after.size > whole.size:
            entry, path = self._tree.entry(whole.size - 1)
            last = Shown(whole.size - 1, entry, path)
            if not is_epoch(entry):
                self._refuse(_no_epoch(whole.size), anchor, encoded, [last])
            self._refuse(_fork(whole.size), anchor, encoded, [last])
        if after.root != (whole.root if after.size == whole.size else self._tree.root(after.size)):
            self._refuse(_fork(after.size), anchor, encoded)
        files.keep()
        self._move(after)

    def _rows_of(self, entries: Sequence[bytes]) -> RowFiles:
        walker = self._walker
        self._files = RowFiles(self._log, walker._blobs, entries, walker._limits.epoch_rows)
        return self._files

    def _move(self, anchor: Anchor) -> None:
        walker = self._walker
        walker._anchors.move(walker.origin, walker._stored, anchor)
        walker._stored = walker.anchor = anchor

    def _may_be_gone(self) -> bool:
        """Tell whether the log may have dropped the proof of the next epoch: they are kept for a day."""
        previous = self._walker.anchor.previous
        if previous is None or not isinstance(previous.payload, Epoch):
            return True
        age = self._walker._clock() - previous.payload.time
        return age + _SLACK_S > self._walker._limits.proofs_kept_s

    # --- by replay ---

    def _replay(self) -> None:
        """Check everything again from entry 0."""
        walker, whole = self._walker, self._signed.checkpoint
        self._check_anchor()
        stored_at, reached = monotonic(), walker.anchor
        try:
            for reached in replay(self._tree, self._rows_of):
                self._go_on()
                walker.replaying = reached.size
                if next_epoch(reached) == 1:
                    self._check_genesis(reached)
                if reached.size > walker.anchor.size and monotonic() - stored_at > _PERSIST_S:
                    self._move(reached)
                    stored_at = monotonic()
        except RefusedEpoch as refused:
            self._refuse_replayed(refused)
        finally:
            walker.replaying = 0
        if reached.size < whole.size:
            entry, path = self._tree.entry(whole.size - 1)
            self._refuse(_no_epoch(whole.size), reached, None, [Shown(whole.size - 1, entry, path)])
        self._move(reached)

    def _refuse_replayed(self, refused: RefusedEpoch) -> NoReturn:
        error, files = refused.error, self._files
        try:
            if files is not None:
                verify_transition(refused.transition, refused.anchor, files.get)
        except Unavailable:
            pass
        except AttestError as again:
            error = again
        self._refuse(error, refused.anchor, refused.transition)

    # --- refusing ---

    def _check_genesis(self, after: Anchor) -> None:
        try:
            check_genesis(self._signed, after)
        except Refuted as error:
            entry, path = self._tree.entry(0)
            self._refuse(error, Anchor.empty(), None, [Shown(0, entry, path)])

    def _check_anchor(self) -> None:
        """Check that what was checked before is part of this checkpoint's tree."""
        anchor = self._walker.anchor
        if anchor.size and self._tree.root(anchor.size) != anchor.root:
            self._refuse(_fork(anchor.size), anchor, None)

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
                places = (0, anchor.size - 1)
                shown = [Shown(each, *self._tree.entry(each)) for each in places]
        kept = Evidence(
            self._signed,
            error.code,
            error.message,
            next_epoch(anchor),
            error.found if isinstance(error, Departure) else None,
            error.expected if isinstance(error, Departure) else None,
            anchor,
            transition,
            rows,
            root,
            path,
            shown,
        )
        try:
            place = kept.save(self._walker._evidence)
        except (OSError, AttestError) as problem:
            _logger.error("evidence.lost", origin=self._walker.origin, problem=str(problem))
        else:
            _logger.error("log.refuted", origin=self._walker.origin, code=error.code, evidence=str(place))
        # A conflict, over HTTP, would be one about sizes.
        if isinstance(error, Conflict | Untrusted):
            raise Refuted(error.code, error.message, rows=error.rows) from error
        raise error


def next_epoch(anchor: Anchor) -> int:
    """Return the number of the epoch that comes after an anchor."""
    if anchor.previous is None:
        return 0
    if not isinstance(anchor.previous.payload, Epoch):
        raise ValueError("an anchor stands behind an epoch")
    return anchor.previous.payload.number + 1


def _fork(size: int) -> Refuted:
    return Refuted(FORK, f"the log shows two histories of its first {size} entries")


def _no_epoch(size: int) -> Refuted:
    return Refuted(NO_EPOCH, f"the checkpoint of {size} entries does not end with an epoch")
