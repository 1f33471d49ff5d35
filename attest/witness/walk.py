"""Walking: from the last epoch that was checked to an offered checkpoint, by transition proofs.

Whatever ends a walk, the anchor stands behind the last epoch that was checked and is under a signed checkpoint.

Spec: docs/spec/state-witness.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.checkpoint import SignedCheckpoint, log_verifiers, verify_log_signatures
from attest.formats.statement import Epoch, Hold, Statement, Tombstone
from attest.ledger.transition import Anchor, parse_transition, verify_transition
from attest.store.blobs import Blobs
from attest.witness.served import Log, RowFiles, ServedTree


class Anchors(Protocol):
    """Where anchors are kept."""

    def read(self, origin: str) -> Anchor | None: ...

    def move(self, origin: str, old: Anchor | None, new: Anchor) -> None: ...

    def forget(self, origin: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a log may cost us."""

    transition_bytes: int = 256 << 20
    epoch_rows: int = 1 << 22


class Walker:
    """Checks one log, one epoch after the other. For one thread at a time."""

    def __init__(
        self, origin: str, log: Log, blobs: Blobs, anchors: Anchors, limits: Limits, stopping: Callable[[], bool]
    ) -> None:
        self.origin = origin
        self._log = log
        self._blobs = blobs
        self._anchors = anchors
        self._limits = limits
        self._stopping = stopping
        self._stored: Anchor | None = None
        self.anchor = Anchor.empty()  # read by other threads
        self._load()

    def _load(self) -> None:
        try:
            self._stored = self._anchors.read(self.origin)
        except Malformed:
            # Whatever it said, nothing is lost but time.
            self._anchors.forget(self.origin)
        if self._stored is not None:
            self.anchor = self._stored

    def walk(self, signed: SignedCheckpoint) -> None:
        """Check every epoch up to a checkpoint, whose signatures are checked, and stand behind it.

        Raises:
            Refuted: an epoch is wrong, or the checkpoint does not end with one.
            Unavailable: the log does not serve what it has signed, or rules are not known here.
        """
        tree = ServedTree(self._log, signed.checkpoint)
        while self.anchor.size < signed.checkpoint.size:
            if self._stopping():
                raise Unavailable("witness/stopping", "this witness is being stopped")
            self._step(signed, tree)
        if self.anchor.root != signed.checkpoint.root:
            raise Refuted("witness/fork", f"the epochs checked lead to another tree of {self.anchor.size} entries")

    def _step(self, signed: SignedCheckpoint, tree: ServedTree) -> None:
        number = next_epoch(self.anchor)
        self._blobs.check_space()
        encoded = self._log.transition(number, self._limits.transition_bytes)
        if encoded is None:
            raise Unavailable("transition/unknown", f"the log does not serve the transition proof of epoch {number}")
        files = RowFiles(self._log, self._blobs)
        try:
            proof = parse_transition(encoded)
            self._count_rows(proof, files)
            after = verify_transition(encoded, self.anchor, files.get)
            check_genesis(signed, after)
        except Unavailable:
            raise
        except AttestError as error:
            files.check_stored()
            raise _refuted(error) from error
        self._check_under(after, signed, tree)
        files.keep()
        self._anchors.move(self.origin, self._stored, after)
        self._stored = self.anchor = after

    def _count_rows(self, proof: dict[str, Any], files: RowFiles) -> None:
        for entry in proof["entries"]:
            try:
                payload = Statement.parse(entry).payload
            except Malformed:
                continue  # the checker says so, at its place
            if isinstance(payload, Hold | Tombstone):
                files.counts[payload.root] = max(payload.count, files.counts.get(payload.root, 0))
        if sum(files.counts.values()) > self._limits.epoch_rows:
            raise Unavailable("witness/limit", f"an epoch of more than {self._limits.epoch_rows} rows")

    def _check_under(self, after: Anchor, signed: SignedCheckpoint, tree: ServedTree) -> None:
        """Check that an epoch is in the tree of the checkpoint, where it ends."""
        whole = signed.checkpoint
        if after.size > whole.size:
            entry, _ = tree.entry(whole.size - 1)
            if not _is_epoch(entry):
                raise Refuted("witness/no-epoch", f"the checkpoint of {whole.size} entries does not end with an epoch")
            raise Refuted("witness/fork", f"the log shows two histories before {whole.size} entries")
        found = whole.root if after.size == whole.size else tree.root(after.size)
        if found != after.root:
            raise Refuted("witness/fork", f"the log shows two histories of {after.size} entries")


def next_epoch(anchor: Anchor) -> int:
    """Return the number of the epoch that comes after an anchor."""
    if anchor.previous is None:
        return 0
    if not isinstance(anchor.previous.payload, Epoch):
        raise ValueError("an anchor stands behind an epoch")
    return anchor.previous.payload.number + 1


def check_genesis(signed: SignedCheckpoint, anchor: Anchor) -> None:
    """Check that entry 0 is this log's and names a key that has signed the checkpoint.

    Raises:
        Refuted: `genesis/origin`, `genesis/keys`.
    """
    genesis, origin = anchor.genesis, signed.checkpoint.origin
    if genesis is None or genesis.origin != origin:
        raise Refuted("genesis/origin", f"entry 0 is not log/1 of {origin}")
    try:
        verify_log_signatures(signed, log_verifiers(origin, genesis.note_ed25519, genesis.note_mldsa44))
    except Untrusted:
        raise Refuted("genesis/keys", "the checkpoint is signed by no key that entry 0 names") from None


def _is_epoch(entry: bytes) -> bool:
    try:
        return isinstance(Statement.parse(entry).payload, Epoch)
    except Malformed:
        return False


def _refuted(error: AttestError) -> AttestError:
    """Say the same as a refusal of the checkpoint; a conflict, over HTTP, would be one about sizes."""
    if isinstance(error, Conflict | Untrusted):
        return Refuted(error.code, error.message, rows=error.rows)
    return error
