"""The log at one published checkpoint, as readers see it; and whom the log names as its witnesses."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from attest.config import Config
from attest.errors import Conflict, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.policy import Policy
from attest.formats.receipt import TreeHead
from attest.formats.state import PartyHead, SystemHead
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.rules import SystemId, final_size
from attest.store.cosigned import Stored
from attest.store.log import EpochRecord

MAX_WITNESS_KEYS: Final = 64  # in both policies: a note has at most 100 signatures


@dataclass(frozen=True)
class View:
    """The log at one published checkpoint. Nothing in it changes but what is remembered of proofs."""

    ledger: Ledger
    record: EpochRecord
    listed: tuple[str, ...]  # ids of holders, ascending
    held: int
    erased: int
    reheld: int
    head: TreeHead
    cosignatures: tuple[Stored, ...] = ()
    witnessed: bool = False  # the witness policy's quorum has cosigned
    checked: bool = False  # and that of the state witnesses
    proven: dict[int, dict[str, Any]] = field(default_factory=dict, compare=False)  # entries by position, a cache

    @property
    def size(self) -> int:
        """Entries."""
        return self.record.size

    @cached_property
    def end(self) -> int | None:
        """The position of the entry that ended the log; None while it goes on."""
        size = final_size(self.ledger.parties[self.ledger.origin])
        return None if size is None else size - 2

    def holder(self, party: str) -> PartyHead:
        """Return where a party stands. Raises `Conflict`: `holder/unknown`."""
        head = self.ledger.parties.get(party)
        if head is None or head.log is not None:
            raise Conflict("holder/unknown", f"{party[:80]} is not admitted to this log")
        return head

    @cached_property
    def draft(self) -> Draft:
        """What rules read after the last epoch. Nobody adds to it."""
        return Draft(self.ledger)

    @cached_property
    def signed(self) -> SignedCheckpoint:
        """The checkpoint, with all cosignatures there are."""
        return SignedCheckpoint.parse(self.record.checkpoint).with_lines(each.line for each in self.cosignatures)

    @cached_property
    def checkpoint(self) -> str:
        """The checkpoint as text."""
        return self.signed.encode().decode()

    def cosigned_by(self, cosignatures: Iterable[Stored], policies: "Policies") -> "View":
        """Return this view with these cosignatures."""
        found = tuple(cosignatures)
        witnessed, checked = policies.weigh(found)
        return replace(self, cosignatures=found, witnessed=witnessed, checked=checked)

    @classmethod
    def of(cls, ledger: Ledger, record: EpochRecord, before: "View | None", head: TreeHead) -> Self:
        """Make the view after `before`, or from nothing."""
        if before is None:
            listed = None
            old: Mapping[SystemId, SystemHead] = {}
            held = erased = reheld = 0
        else:
            listed, old = before.listed, before.ledger.systems
            held, erased, reheld = before.held, before.erased, before.reheld
        for name, system in ledger.systems.items():
            known = old.get(name)
            if known is not system:
                held += system.held - (known.held if known else 0)
                erased += system.erased - (known.erased if known else 0)
                reheld += system.reheld - (known.reheld if known else 0)
        if listed is None or before is None or len(before.ledger.parties) != len(ledger.parties):
            listed = tuple(sorted(party for party, head in ledger.parties.items() if head.role == "holder"))
        return cls(ledger, record, listed, held, erased, reheld, head)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy as its file has it, comments included."""

    policy: Policy
    encoded: bytes

    @classmethod
    def read(cls, path: Path, origin: str) -> Self | None:
        """Read a file; None if there is none. Raises `Malformed`: `policy/…`; `Refuted`: `config/other-log`."""
        try:
            encoded = path.read_bytes()
        except FileNotFoundError:
            return None
        policy = Policy.parse(encoded)
        if origin not in {log.verifier.name for log in policy.logs}:
            raise Refuted("config/other-log", f"{path} has no key of {origin}", hint="begin it with the log's own line")
        return cls(policy, encoded)


@dataclass(frozen=True, slots=True)
class Policies:
    """Whom this log names: its witnesses, and its state witnesses if it has any. What people pin begins as a copy."""

    main: PolicyFile
    state: PolicyFile | None = None

    @classmethod
    def load(cls, config: Config) -> Self:
        """Read both files.

        Raises:
            Unavailable: `config/missing`. Malformed: `config/witnesses`, and as `PolicyFile.read`.
        """
        main = PolicyFile.read(config.path(config.policy), config.origin)
        if main is None:
            raise Unavailable("config/missing", f"no policy file {config.path(config.policy)}")
        found = cls(main, PolicyFile.read(config.path(config.state_policy), config.origin))
        keys = sum(len(file.policy.witnesses) for file in (found.main, found.state) if file is not None)
        if keys > MAX_WITNESS_KEYS:
            raise Malformed("config/witnesses", f"{keys} witness keys; a checkpoint has room for {MAX_WITNESS_KEYS}")
        return found

    def weigh(self, cosignatures: Iterable[Stored]) -> tuple[bool, bool]:
        """Tell whether the witnesses' quorum is met, and whether that of the state witnesses is as well.

        Args:
            cosignatures: on one checkpoint; they were verified before they were stored.
        """
        marks = {(each.line.name, each.line.key_id) for each in cosignatures}
        met = [
            file is None
            or file.policy.is_met_by({each for each in file.policy.verifiers() if (each.name, each.key_id) in marks})
            for file in (self.main, self.state)
        ]
        return met[0], all(met)
