"""What an audit finds, and what it reports even when all is well.

Spec: docs/spec/audit.md.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from attest import __version__
from attest.encoding import sha256
from attest.formats.policy import Policy
from attest.ledger.evidence import Evidence

Severity = Literal["lie", "contradiction", "fault", "missing"]
"""Of the log; of a holder; a file that is not the committed one; something that was not there to be checked."""

SCOPES = ("all", "holder", "system")
EYES = (
    "whether everything that is held was committed: sample the live systems (`attest sample`)",
    "whether every system that has copies is registered",
    "whether what a tombstone calls erased is gone, or was copied before",
    "whether the operator's identity checks were careful: see how each party was checked",
    "whether the keys in your policy are those of this log and of witnesses that you trust",
)
"""What no audit proves, and somebody has to look at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and the evidence for it."""

    code: str
    severity: Severity
    message: str
    entries: tuple[int, ...] = ()  # positions
    party: str | None = None
    system: str | None = None
    file: str | None = None  # the path of the bytes concerned
    rows: tuple[int, ...] = ()  # of a row file, from 0
    expected: str | None = None
    found: str | None = None
    evidence: Evidence | None = None  # None: nobody else can see it, or the log does not serve what would show it
    kept: str | None = None  # the file that has the evidence
    kept_sha256: str = ""  # of that file, hex
    kept_bytes: int = 0

    def shown(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "entries": list(self.entries),
            "party": self.party,
            "system": self.system,
            "file": self.file,
            "rows": list(self.rows),
            "expected": self.expected,
            "found": self.found,
            "evidence": None
            if self.kept is None
            else {"file": self.kept, "sha256": self.kept_sha256, "bytes": self.kept_bytes},
        }


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the auditor trusted."""

    file: str  # the policy file's name
    sha256: str  # its digest, hex
    log_keys: tuple[str, ...]  # vkeys
    witnesses: tuple[str, ...]  # "name vkey"
    quorum: str | None

    @classmethod
    def of(cls, policy: Policy, file: str, encoded: bytes) -> "Trust":
        """Return what a policy file, of that name and content, trusts."""
        logs = tuple(log.verifier.encode() for log in policy.logs)
        witnesses = tuple(f"{witness.name} {witness.verifier.encode()}" for witness in policy.witnesses)
        return cls(file, sha256(encoded).hex(), logs, witnesses, policy.quorum)

    def shown(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(slots=True)
class Report:
    """What an audit has seen. `complete`: everything up to the checkpoint was checked."""

    origin: str
    place: str  # where the log was read
    audited_at: int  # POSIX seconds
    scope: str = "all"
    party: str | None = None
    system: str | None = None
    size: int = 0
    root: str = ""  # hex
    epoch: int | None = None  # number of the last
    epoch_time: int | None = None  # the log's claim
    existed_by: int | None = None  # least witness time at which the policy's quorum was met
    witnesses: list[str] = field(default_factory=list)
    since: int = 0  # entries that an audit before had checked
    complete: bool = False
    checked: dict[str, int] = field(default_factory=lambda: {"entries": 0, "epochs": 0, "row_files": 0, "rows": 0})
    traffic: dict[str, int] = field(default_factory=lambda: {"requests": 0, "bytes": 0})
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    proven: list[str] = field(default_factory=list)
    eyes: list[str] = field(default_factory=lambda: list(EYES))
    troubles: list[str] = field(default_factory=list)  # what could not be written on our side
    auditor: str | None = None  # who audited, in their own words
    trust: Trust | None = None

    @property
    def outcome(self) -> str:
        """`clean`, `found` (a lie, a contradiction or a fault), or `incomplete`."""
        if any(finding.severity != "missing" for finding in self.findings):
            return "found"
        return "clean" if self.complete and not self.findings else "incomplete"

    def shown(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "format": "attest-audit/1",
            "outcome": self.outcome,
            "origin": self.origin,
            "place": self.place,
            "audited_at": self.audited_at,
            "auditor": self.auditor,
            "software": f"attest-deletion {__version__}",
            "policy": None if self.trust is None else self.trust.shown(),
            "scope": {"kind": self.scope, "party": self.party, "system": self.system},
            "checkpoint": {
                "size": self.size,
                "root": self.root,
                "epoch": self.epoch,
                "epoch_time": self.epoch_time,
                "existed_by": self.existed_by,
                "witnesses": self.witnesses,
            },
            "since": self.since,
            "complete": self.complete,
            "checked": self.checked,
            "traffic": self.traffic,
            "seconds": round(self.seconds, 3),
            "troubles": list(self.troubles),
            "findings": [finding.shown() for finding in self.findings],
            "facts": self.facts,
            "proven": self.proven,
            "not_proven": self.eyes,
        }
