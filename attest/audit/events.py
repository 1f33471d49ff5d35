"""Events: what a monitor tells, each under an id that follows from what happened and not from who saw it.

Spec: docs/spec/audit.md#events.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

from attest.audit.findings import Finding, Report
from attest.crypto import commitment, keys, vrf
from attest.encoding import Hash, encode_base64url, labelled
from attest.errors import Malformed
from attest.formats.keepsake import Keepsake
from attest.formats.rows import RowFile
from attest.formats.state import ERASED, PartyHead, State, vrf_key_digest
from attest.formats.statement import Hold, Keys, Party, PartyEnd, Policy, Statement, Systems
from attest.ledger.evidence.notes import BadNote
from attest.ledger.rules import Effects, SystemId

FORMAT: Final = "attest-event/1"
MAX_NAME: Final = 128  # characters of a keepsake's file name

# What lasts: (kind when it begins, kind when it is over).
LASTING: Final[Mapping[str, tuple[str, str]]] = {
    "log": ("log-unreachable", "log-back"),
    "silent": ("log-silent", "log-speaks"),
    "older": ("log-older", "log-caught-up"),
    "witness": ("witness-gone", "witness-back"),
    "quorum": ("quorum-missing", "quorum-met"),
    "missing": ("files-missing", "files-there"),
    "fault": ("files-wrong", "files-right"),
    "blind": ("watch-blind", "watch-sees"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. One line of JSON, ASCII only, on its way out."""

    origin: str
    kind: str
    subject: str
    message: str
    time: int  # POSIX seconds: the epoch's that committed the entry, else the monitor's
    position: int | None = None  # of the entry; None: no entry says it, the monitor saw it
    since: int | None = None  # of what was only seen: when it began, by the monitor's clock
    severity: str = "news"  # or that of a finding
    details: Mapping[str, Any] = field(default_factory=dict)

    def id(self) -> str:
        """Return its name, 64 hex digits: the same whenever, and whoever computes it."""
        position, since = (b"" if each is None else each.to_bytes(8, "big") for each in (self.position, self.since))
        parts = self.origin.encode(), position, self.kind.encode(), self.subject.encode(), since
        return labelled("event", *parts).hex()

    def encode(self) -> str:
        """Write one line, without its end."""
        shown = {
            "format": FORMAT,
            "id": self.id(),
            "origin": self.origin,
            "position": self.position,
            "kind": self.kind,
            "subject": self.subject,
            "severity": self.severity,
            "time": self.time,
            "message": self.message,
            "details": dict(self.details),
        }
        return json.dumps(shown, separators=(",", ":"))


# --- what is watched ---


@dataclass(frozen=True, slots=True)
class Watch:
    """A keepsake to look out for: what the holder's systems call its subject, computed here and shown to nobody."""

    name: str  # of the file
    holder: str
    vrf_digest: Hash  # what the holder's head binds of its key
    beta: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, keepsake: Keepsake) -> Self:
        """Prepare to look out.

        Raises:
            Refuted, Malformed: `vrf/…`, the keepsake's proof is not one.
            Malformed: `monitor/name`.
        """
        if len(name) > MAX_NAME or not name.isprintable():
            raise Malformed("monitor/name", f"want a file name of at most {MAX_NAME} printable characters")
        beta = vrf.verify(keepsake.vrf_key, commitment.alpha(keepsake.locator), keepsake.vrf_proof)
        return cls(name, keepsake.holder, vrf_key_digest(keepsake.vrf_suite, keepsake.vrf_key), beta)

    def index(self, system: str) -> Hash:
        """Return what a system of the holder calls the subject."""
        return commitment.index(self.holder, system, self.beta)

    def digest(self) -> Hash:
        """Name what is looked for, whatever the file is called."""
        return labelled("watched", self.holder.encode(), self.vrf_digest, self.beta)

    def sees(self, holder: PartyHead | None) -> bool:
        """Tell whether the holder's indexes are those of this keepsake: made under the key that the log binds."""
        return holder is not None and any(digest == self.vrf_digest for _, digest in holder.vrf)

    def event(self, origin: str, system: str, state: State, time: int, said: Statement | None = None) -> Event:
        """Say how its index stands in a system. The index itself is not said: it would name the subject's rows.

        Args:
            said: the statement that did it, if that went by.
        """
        if state.status == ERASED:
            kind, what = "watched-erased", "is erased"
        elif state.version > 1:
            kind, what = "watched-changed", "is held in another version"
        elif state.generation > 1:
            kind, what = "watched-held-anew", "is held anew, after it was erased"
        else:
            kind, what = "watched-held", "is held"
        details = {
            "keepsake": self.name,
            "holder": self.holder,
            "system": system,
            "generation": state.generation,
            "version": state.version,
            "said": None if said is None else _words(said),
            "evidence": {
                "entry": state.position,
                "entry_id": None if said is None else encode_base64url(said.leaf),
                "how": "attest prove KEEPSAKE --url URL shows it to anybody, and tells the log whom you ask about",
            },
        }
        return Event(
            origin,
            kind,
            f"{self.name} {self.holder} {system}",
            f"what {self.name} is about {what} in {system} of {self.holder}, says entry {state.position}",
            time,
            position=state.position,
            details=details,
        )


# --- what entries say ---

_Said: TypeAlias = tuple[str, str, str, Mapping[str, Any]]
"""kind, subject, message, details"""


def of_entry(
    origin: str,
    position: int,
    statement: Statement,
    rows: RowFile | None,
    effects: Effects,
    retired: dict[SystemId, bool],
    watches: Iterable[Watch],
) -> Iterator[Event]:
    """Yield what an accepted entry has to tell, with time 0: the epoch that commits it is still to come.

    Args:
        retired: the systems registered so far; is brought up to date.
    """
    payload, issuer = statement.payload, statement.issuer.removeprefix("https://")
    about = statement.about or issuer
    found: Iterable[_Said] = ()
    match payload:
        case Party():
            admitted = f"{payload.id} is admitted as {payload.role}"
            found = [("party-admitted", payload.id, admitted, {"role": payload.role})]
        case PartyEnd():
            found = [("log-ended" if about == origin else "party-ended", about, f"{about} has ended", {"by": issuer})]
        case Policy():
            found = [("rules-changed", payload.name, f"from here on, rule set {payload.name} is in force", {})]
        case Keys():
            found = _keys(about, issuer, payload)
        case Systems():
            found = _systems(issuer, payload, retired)
        case Hold():
            found = _reheld(issuer, statement.stream, payload, effects)
        case _:
            pass
    for kind, subject, message, details in found:
        yield Event(origin, kind, subject, message, 0, position=position, details=details)
    if rows is not None:
        yield from _watched(origin, position, statement, rows, effects, watches)


def _keys(about: str, issuer: str, payload: Keys) -> Iterator[_Said]:
    for new in payload.add:
        kid = keys.thumbprint(new.key).hex()
        yield "key-added", f"{about} {kid}", f"{about} may now {new.use} with key {kid}", {"use": new.use}
    for revoked in payload.revoke:
        kid = revoked.hex()
        yield "key-revoked", f"{about} {kid}", f"key {kid} of {about} is revoked", {"by": issuer}


def _systems(issuer: str, payload: Systems, retired: dict[SystemId, bool]) -> Iterator[_Said]:
    for each in payload.systems:
        before = retired.get((issuer, each.id))
        retired[issuer, each.id] = each.retired
        subject, what = f"{issuer} {each.id}", f"system {each.id} of {issuer}"
        shown = {"type": each.kind, "retention": each.retention, "backup_cycle": each.backup_cycle}
        if before is None:
            yield "system-registered", subject, f"{what} is registered", shown
        if each.retired and not before:
            yield "system-retired", subject, f"{what} is retired", shown
        elif before is not None:
            yield "system-changed", subject, f"{what} is described anew", shown


def _reheld(issuer: str, system: str, payload: Hold, effects: Effects) -> Iterator[_Said]:
    again = sum(old is not None and old[0] == ERASED for old in effects.old)
    if again:
        message = f"{again} erased records are held again in {system} of {issuer}"
        yield "reheld", f"{issuer} {system}", message, {"rows": again, "cause": payload.cause}


def _watched(
    origin: str, position: int, statement: Statement, rows: RowFile, effects: Effects, watches: Iterable[Watch]
) -> Iterator[Event]:
    party, system = statement.issuer.removeprefix("https://"), statement.stream
    for watch in watches:
        if watch.holder != party:
            continue
        index = watch.index(system)
        at = bisect_left(rows.indexes, index)
        if at < len(rows) and rows.indexes[at] == index:
            state = State.parse(effects.states[party, system][commitment.map_key(index)])
            yield watch.event(origin, system, state, 0, statement)


def _words(statement: Statement) -> dict[str, Any]:
    """Return what a hold or tombstone says of all its rows, without what names them."""
    fields = statement.payload.fields()
    return {"kind": statement.payload.KIND, **{name: fields[name] for name in fields if name not in ("count", "root")}}


# --- what a look says ---


def of_checkpoint(report: Report) -> Event:
    """Say that a newer checkpoint is verified."""
    details = {"size": report.size, "root": report.root, "epoch": report.epoch, "epoch_time": report.epoch_time}
    message = f"checkpoint of {report.size} entries is verified"
    time = report.audited_at if report.epoch_time is None else report.epoch_time
    return Event(report.origin, "checkpoint", report.root, message, time, position=report.size - 1, details=details)


def of_finding(report: Report, finding: Finding) -> Event:
    """Say what an audit has found."""
    evidence, kept = finding.evidence, finding.shown()["evidence"]
    if kept is not None:
        # Where the state directory is, is nobody's business.
        kept = {**kept, "file": "/".join(kept["file"].split("/")[-2:])}
    # A checkpoint that is wrong in itself is another one each time; all other evidence has a name of its own.
    named = evidence is not None and not isinstance(evidence.exhibit, BadNote)
    what = evidence.digest().hex() if evidence is not None and named else f"{report.size} {report.root}"
    return Event(
        report.origin,
        "finding",
        f"{finding.code} {what}",
        finding.message,
        report.audited_at,
        position=min(finding.entries, default=None),
        severity=finding.severity,
        details={**finding.shown(), "evidence": kept},
    )


def of_lasting(origin: str, kind: str, subject: str, message: str, *, since: int, now: int, over: bool) -> Event:
    """Say that something that lasts has begun, or is over."""
    severity = "news" if over else "missing" if kind in ("missing", "quorum", "witness") else "fault"
    details = {"since": since, "until": now if over else None}
    return Event(origin, LASTING[kind][over], subject, message, now, since=since, severity=severity, details=details)
