"""Checkpoints that are wrong by themselves, or beside another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from attest.encoding import Hash
from attest.errors import Refuted, Untrusted
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.policy import Policy
from attest.formats.statement import Epoch, Log, Statement
from attest.ledger.evidence.exhibit import Shown, Sight, many_hashes, one_hash, shaped
from attest.merkle.tree import verify_consistency

FORK = "log/fork"


@dataclass(frozen=True, slots=True)
class BadNote:
    """A checkpoint with a line that does not verify under the policy, or without the policy's quorum."""

    KIND: ClassVar[str] = "note"

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return []

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {}

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`; it takes the whole policy."""
        raise Refuted("evidence/differs", "a note is weighed under a whole policy")

    def weigh(self, signed: SignedCheckpoint, policy: Policy) -> Sight:
        """Check the checkpoint under the policy."""
        # Anybody can leave a signature out.
        try:
            weighed = policy.check(signed)
        except (Refuted, Untrusted) as error:
            return Sight(error, committed=False, word=isinstance(error, Untrusted))
        if not weighed.quorum:
            missing = Untrusted("checkpoint/quorum", "the policy's quorum of witnesses is not met")
            return Sight(missing, committed=False, word=True)
        return Sight(Refuted("none", "the policy takes this checkpoint"), committed=False)

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        shaped(found, {})
        return cls()


@dataclass(frozen=True, slots=True)
class Fork:
    """Another checkpoint that the log has signed, of two histories that cannot both be true.

    The path proves which root the first checkpoint has for as many entries as the other one; empty for equal sizes.
    """

    KIND: ClassVar[str] = "fork"
    other: SignedCheckpoint  # of at most as many entries
    root: Hash  # of that many entries under the first checkpoint
    path: Sequence[Hash]

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [self.other.checkpoint.size, self.root, self.other.checkpoint.root]

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {"other": self.other.encode(), "root": self.root, "path": list(self.path)}

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`. Both signatures are checked before."""
        whole, other = signed.checkpoint, self.other.checkpoint
        if whole.origin != other.origin:
            raise Refuted("evidence/differs", "two checkpoints of two logs")
        verify_consistency(other.size, self.root, whole.size, whole.root, self.path)
        if self.root == other.root:
            return Sight(Refuted("none", "both checkpoints are of one history"), committed=True)
        return Sight(
            Refuted(FORK, f"the log has signed two histories of its first {other.size} entries"), committed=True
        )

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        found = shaped(found, {"other": bytes, "root": bytes, "path": list})
        return cls(SignedCheckpoint.parse(found["other"]), one_hash(found["root"]), many_hashes(found["path"]))


@dataclass(frozen=True, slots=True)
class Silence:
    """A checkpoint that witnesses still saw as the newest, long after its epoch: entry 0 says how long is too long.

    The time is that of the quorum in the auditor's policy, or, where no witness is, the auditor's own word.
    """

    KIND: ClassVar[str] = "silence"
    genesis: Shown
    epoch: Shown
    seen: int  # POSIX seconds, as the auditor says

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [self.epoch.position]

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {"genesis": self.genesis.fields(), "epoch": self.epoch.fields(), "seen": self.seen}

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`."""
        whole = signed.checkpoint
        for each in (self.genesis, self.epoch):
            each.verify(whole)
        log, epoch = Statement.parse(self.genesis.entry).payload, Statement.parse(self.epoch.entry).payload
        if self.genesis.position != 0 or not isinstance(log, Log):
            raise Refuted("evidence/differs", "entry 0 is not shown")
        if self.epoch.position != whole.size - 1 or not isinstance(epoch, Epoch):
            raise Refuted("evidence/differs", "the last epoch is not shown")
        return Sight(silent(log, epoch, self.seen), committed=False, word=True)

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        found = shaped(found, {"genesis": list, "epoch": list, "seen": int})
        return cls(Shown.read(found["genesis"]), Shown.read(found["epoch"]), found["seen"])


def silent(log: Log, epoch: Epoch, seen: int) -> Refuted:
    """Say that a log has been silent for longer than it promised, or that it has not (code `none`)."""
    silence = seen - epoch.time
    if silence <= log.limits.silence:
        return Refuted("none", f"silent for {silence} s, promised is at most {log.limits.silence} s")
    return Refuted(
        "log/silent", f"the newest checkpoint is {silence} s old, the log promised one every {log.limits.silence} s"
    )


@dataclass(frozen=True, slots=True)
class Older:
    """A newer checkpoint of the same log, which was signed before the older one was served."""

    KIND: ClassVar[str] = "older"
    newer: SignedCheckpoint

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [self.newer.checkpoint.size]

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`. Both signatures are checked before."""
        old, new = signed.checkpoint, self.newer.checkpoint
        if old.origin != new.origin or old.size >= new.size:
            raise Refuted("evidence/differs", "not an older checkpoint of the same log")
        return Sight(older(old.size, new.size), committed=False, word=True)

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {"newer": self.newer.encode()}

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        return cls(SignedCheckpoint.parse(shaped(found, {"newer": bytes})["newer"]))


def older(size: int, known: int) -> Refuted:
    """Say that a log serves less than it had signed before."""
    return Refuted("log/older", f"a checkpoint of {size} entries is served; one of {known} was signed before")
