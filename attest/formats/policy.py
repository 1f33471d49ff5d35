"""Policies: whose signatures a verifier takes for a log's and for a quorum of witnesses.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <member>…
    quorum <name>|none

Spec: C2SP tlog-policy; docs/spec/policy.md.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from attest.encoding import parse_decimal
from attest.errors import Malformed
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, verify_log_signatures
from attest.formats.cosignature import Cosignature, verify_cosignature, verify_line
from attest.formats.note import SPACE, KeyType, NoteVerifier, known_lines

MAX_POLICY: Final = 1 << 20  # bytes
MAX_LINES: Final = 1000  # logs, witnesses and groups together

Anchor = Literal["unpinned", "logged", "witnessed"]

_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_BLANK: Final = re.compile(r"[ \t]+")
_NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log whose signature counts. `log <vkey> [<url>]`."""

    verifier: NoteVerifier  # its name is the log's origin
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness whose cosignature counts. `witness <name> <vkey> [<url>]`."""

    name: str  # within the policy only; bytes that are not UTF-8 are surrogate-escaped
    verifier: NoteVerifier
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """A group, met when `threshold` of its members are. `group <name> <threshold> <member>…`."""

    name: str
    threshold: int  # 1 to the number of members
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """What the signatures of one checkpoint amount to under one policy."""

    checkpoint: Checkpoint
    logs: tuple[NoteVerifier, ...]  # pinned log keys that signed it; empty if the policy pins none
    witnesses: tuple[Cosignature, ...]  # per witness its earliest, ascending by time; counted or not
    quorum: bool  # is the policy's quorum met; trivially so for `quorum none`
    existed_by: int | None  # Unix seconds: the least time at which the quorum was met; None if none was, or asked for

    @property
    def anchor(self) -> Anchor:
        """Name how firmly the checkpoint stands: nobody pinned, signed by its log, or seen by a quorum as well."""
        if not self.logs:
            return "unpinned"
        return "logged" if self.existed_by is None else "witnessed"


@dataclass(frozen=True, slots=True)
class Policy:
    """Whom a verifier trusts. No logs: the policy is about witnesses alone, and verdicts stay unpinned."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]  # members stand before their group
    quorum: str | None  # a witness or a group; None for `quorum none`

    def __post_init__(self) -> None:
        """Check what holds between the lines. Raises `Malformed` as `parse` does, whoever made the policy."""
        if len(self.logs) + len(self.witnesses) + len(self.groups) > MAX_LINES:
            raise Malformed("policy/size", f"more than {MAX_LINES} logs, witnesses and groups")
        _check_keys(self.logs, self.witnesses)
        defined: set[str] = set()
        for witness in self.witnesses:
            _define(witness.name, defined)
        free = set(defined)
        for group in self.groups:
            for member in group.members:
                if member not in defined:
                    raise Malformed("policy/undefined", f"group {group.name!r}: {member!r} is not defined above it")
                # A member counted twice would be two witnesses.
                if member not in free:
                    raise Malformed("policy/member-twice", f"group {group.name!r}: {member!r} is a member already")
                free.remove(member)
            if not 1 <= group.threshold <= len(group.members):
                raise Malformed("policy/threshold", f"group {group.name!r}: {group.threshold} of {len(group.members)}")
            _define(group.name, defined)
            free.add(group.name)
        if self.quorum is not None and self.quorum not in defined:
            raise Malformed("policy/undefined", f"quorum {self.quorum!r} is not defined above it")

    @classmethod
    def parse(cls, wire: bytes) -> Self:
        """Read a policy file. Comments and spacing are not kept: the one format here that people write by hand.

        Raises:
            Malformed: `policy/size`, `policy/character`, `policy/final-newline`, `policy/hash-sign`,
                `policy/keyword`, `policy/fields`, `policy/name`, `policy/name-twice`, `policy/undefined`,
                `policy/member-twice`, `policy/threshold`, `policy/quorum`, `policy/key-type`, `policy/key-twice`,
                `policy/log-as-witness`, `note/…`, `key/…`, `encoding/…`.
        """
        logs: list[PolicyLog] = []
        witnesses: list[PolicyWitness] = []
        groups: list[PolicyGroup] = []
        quorums: list[str] = []
        defined: set[str] = set()
        for fields in _lines(wire):
            match fields:
                case ["log", vkey, *url] if len(url) <= 1:
                    logs.append(PolicyLog(NoteVerifier.parse(vkey), *url))
                case ["witness", name, vkey, *url] if len(url) <= 1:
                    witnesses.append(PolicyWitness(name, NoteVerifier.parse(vkey), *url))
                    defined.add(name)
                case ["group", name, threshold, *members] if members:
                    _check_defined(members, defined)
                    groups.append(PolicyGroup(name, _threshold(threshold, members), tuple(members)))
                    defined.add(name)
                case ["quorum", name]:
                    if name != _NONE:
                        _check_defined([name], defined)
                    quorums.append(name)
                case ["log" | "witness" | "group" | "quorum" as keyword, *_]:
                    raise Malformed("policy/fields", f"{keyword} line with {len(fields)} fields")
                case _:
                    raise Malformed("policy/keyword", f"want log, witness, group or quorum, found {fields[0][:40]!r}")
        if len(quorums) != 1:
            raise Malformed("policy/quorum", f"want exactly one quorum line, found {len(quorums)}")
        quorum = None if quorums[0] == _NONE else quorums[0]
        return cls(tuple(logs), tuple(witnesses), tuple(groups), quorum)

    def encode(self) -> bytes:
        """Write the policy so that every parser reads it alike: single spaces, no comments, definitions first."""
        lines = [["log", log.verifier.encode(), log.url] for log in self.logs]
        lines += [["witness", witness.name, witness.verifier.encode(), witness.url] for witness in self.witnesses]
        lines += [["group", group.name, _spell(group), *group.members] for group in self.groups]
        lines += [["quorum", self.quorum or _NONE]]
        text = "".join(" ".join(field for field in line if field is not None) + "\n" for line in lines)
        wire = text.encode("utf-8", "surrogateescape")
        if self.parse(wire) != self:
            raise ValueError("a name or URL in this policy is not one field")
        return wire

    def check(self, note: bytes | SignedCheckpoint) -> PolicyVerdict:
        """Weigh the signatures of a signed checkpoint. A quorum that is not met is an answer, not an error.

        Raises:
            Malformed: as `SignedCheckpoint.parse`.
            Refuted: `signature/invalid`, `cosignature/time`: a line of a key in this policy does not verify.
            Untrusted: `checkpoint/unsigned`, `checkpoint/foreign`: the policy has logs, and none of them signed.

        Spec: docs/spec/policy.md#verdict.
        """
        signed = note if isinstance(note, SignedCheckpoint) else SignedCheckpoint.parse(note)
        # Before the logs: a bad line refutes, whoever else has not signed.
        seen = sorted(self._cosignatures(signed).items(), key=lambda pair: pair[1].time)
        logs = verify_log_signatures(signed, [log.verifier for log in self.logs]) if self.logs else ()
        quorum, existed_by = self.quorum is None, None
        for count, (_, cosignature) in enumerate(seen, 1):
            if not quorum and self._met({name for name, _ in seen[:count]}):
                quorum, existed_by = True, cosignature.time
        return PolicyVerdict(signed.checkpoint, logs, tuple(cosignature for _, cosignature in seen), quorum, existed_by)

    def _cosignatures(self, signed: SignedCheckpoint) -> dict[str, Cosignature]:
        """Verify all cosignatures by witnesses of this policy; keep the earliest of each, by policy name."""
        names = {witness.verifier: witness.name for witness in self.witnesses}
        earliest: dict[str, Cosignature] = {}
        for verifier, line in known_lines(signed.note, names):
            # Under the origin's name it is the log that signs: it need not say when, and is not its own witness.
            if verifier.name == signed.checkpoint.origin:
                verify_line(verifier, signed.checkpoint, line)
                continue
            cosignature = verify_cosignature(verifier, signed.checkpoint, line)
            known = earliest.get(names[verifier])
            if known is None or cosignature.time < known.time:
                earliest[names[verifier]] = cosignature
        return earliest

    def verifiers(self) -> list[NoteVerifier]:
        """Return the keys of all witnesses."""
        return [witness.verifier for witness in self.witnesses]

    def is_met_by(self, verifiers: Collection[NoteVerifier]) -> bool:
        """Tell whether cosignatures by these keys, each of them verified, are the quorum."""
        return self.quorum is None or self._met({each.name for each in self.witnesses if each.verifier in verifiers})

    def _met(self, names: Collection[str]) -> bool:
        met = set(names)
        for group in self.groups:  # members stand before their group, so one pass is enough
            if len(met.intersection(group.members)) >= group.threshold:
                met.add(group.name)
        return self.quorum in met


MAX_LINE: Final = 65_535  # bytes with LF, of a file for everybody
MAX_NUMBER: Final = 255  # for the threshold of a group, in a file for everybody
_WORDS: Final = frozenset({"log", "witness", "group", "quorum", "any", "all", _NONE})
_PORTABLE_URL: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/([!$&-;=@-Z_a-z~]|%[0-9A-Fa-f]{2})*)?"
)

ALL: Final = "witnesses"
"""The group that `add_witness` and `remove_witness` keep: one member for each witness, however many keys it has."""


def add_witness(policy: Policy, name: str, url: str, vkeys: Sequence[str], quorum: int | None = None) -> Policy:
    """Return the policy with one more witness.

    Args:
        quorum: how many witnesses it takes from now on; None: more than half, or as many as it took if that was another
            number.

    Raises:
        Malformed: `policy/…`, `note/…`; `policy/by-hand`, its groups are not those that this function makes.
    """
    members = _members(policy)
    if name in _WORDS:
        raise Malformed("policy/name", f"{name!r} is a word of the format, and no name to every parser")
    if not _PORTABLE_URL.fullmatch(url):
        raise Malformed("policy/url", f"want https://… or http://…, without query, found {url[:80]!r}")
    added = [
        PolicyWitness(_key_name(name, n, len(vkeys)), NoteVerifier.parse(vkey), url) for n, vkey in enumerate(vkeys)
    ]
    keys = [PolicyGroup(name, 1, tuple(each.name for each in added))] if len(added) > 1 else []
    return _with(policy, (*policy.witnesses, *added), [*_keys(policy), *keys], [*members, name], quorum)


def remove_witness(policy: Policy, name: str, quorum: int | None = None) -> Policy:
    """Return the policy without a witness. Raises `Malformed`: `policy/undefined`, and as `add_witness`."""
    members = _members(policy)
    if name not in members:
        raise Malformed(
            "policy/undefined", f"no witness {name[:40]!r}; there are: {', '.join(members)[:500] or 'none'}"
        )
    gone = {name, *(member for group in _keys(policy) if group.name == name for member in group.members)}
    witnesses = tuple(each for each in policy.witnesses if each.name not in gone)
    groups = [group for group in _keys(policy) if group.name != name]
    return _with(policy, witnesses, groups, [member for member in members if member != name], quorum)


def _members(policy: Policy) -> list[str]:
    """Return the names of the witnesses that count, if it is a policy of `add_witness`."""
    groups = {group.name: group for group in policy.groups}
    if policy.quorum is None and not policy.witnesses:
        return []
    if policy.quorum != ALL or ALL not in groups or any(each.threshold != 1 for each in _keys(policy)):
        raise Malformed(
            "policy/by-hand",
            f"its quorum is not a group {ALL!r} of witnesses",
            hint="edit the file as it was made: by hand",
        )
    return list(groups[ALL].members)


def _keys(policy: Policy) -> list[PolicyGroup]:
    return [group for group in policy.groups if group.name != ALL]


def _key_name(name: str, n: int, count: int) -> str:
    return name if count == 1 else f"{name}.{n + 1}"


def _with(
    policy: Policy,
    witnesses: tuple[PolicyWitness, ...],
    keys: list[PolicyGroup],
    members: list[str],
    quorum: int | None,
) -> Policy:
    if not members:
        return Policy(policy.logs, (), (), None)
    known = next((group for group in policy.groups if group.name == ALL), None)
    if quorum is None:
        quorum = len(members) // 2 + 1
        # What somebody chose is not lowered in passing.
        if known is not None and known.threshold != len(known.members) // 2 + 1:
            quorum = min(known.threshold, len(members))
    counted = PolicyGroup(ALL, quorum, tuple(members))
    changed = Policy(policy.logs, witnesses, (*keys, counted), ALL)
    try:
        wire = changed.encode()
    except ValueError as error:
        raise Malformed("policy/fields", str(error)) from None
    _check_for_everybody(changed, wire)
    return changed


def _check_for_everybody(policy: Policy, wire: bytes) -> None:
    """Refuse to write what some parser we know refuses to read (docs/spec/policy.md#writing)."""
    if any(len(line) >= MAX_LINE for line in wire.split(b"\n")):
        raise Malformed("policy/size", f"a line of more than {MAX_LINE} bytes: too many names, or too long ones")
    key_names: dict[str, str] = {}
    for witness in policy.witnesses:
        known = key_names.setdefault(witness.url or "", witness.verifier.name)
        if witness.url is not None and known != witness.verifier.name:
            raise Malformed("policy/url", f"{witness.url} is the witness {known!r} and {witness.verifier.name!r}")
    for group in policy.groups:
        if MAX_NUMBER < group.threshold < len(group.members):
            raise Malformed("policy/threshold", f"group {group.name!r}: a number of at most {MAX_NUMBER}, or all")


def _lines(wire: bytes) -> list[list[str]]:
    """Split a policy file into the fields of its lines, without comments and empty lines."""
    if len(wire) > MAX_POLICY:
        raise Malformed("policy/size", f"want at most {MAX_POLICY} bytes, found {len(wire)}")
    if forbidden := _FORBIDDEN.search(wire):
        raise Malformed("policy/character", f"control character {forbidden[0]!r} at byte {forbidden.start()}")
    # A file cut off in its last line may still read: as another, weaker policy.
    if not wire.endswith(b"\n"):
        raise Malformed("policy/final-newline", "the last line has no LF: is the file complete?")
    # Bytes above 0x7f are opaque; escaping keeps each of them apart.
    lines = [line.strip(" \t") for line in wire.decode("utf-8", "surrogateescape").split("\n")]
    split = [_BLANK.split(line) for line in lines if line and not line.startswith("#")]
    for field in (field for fields in split for field in fields):
        # Here some parsers start a comment, others go on.
        if "#" in field:
            raise Malformed("policy/hash-sign", f"`#` outside a comment line, in {field[:40]!r}")
        # Here some parsers start a new field, others go on.
        if SPACE.search(field):
            raise Malformed("policy/character", f"a Unicode space in {field[:40]!r}")
    return split


def _check_defined(names: list[str], defined: set[str]) -> None:
    for name in names:
        if name not in defined:
            raise Malformed("policy/undefined", f"{name[:40]!r} is not defined on a line above")


def _threshold(spelling: str, members: list[str]) -> int:
    match spelling:
        case "any":
            return 1
        case "all":
            return len(members)
        case _:
            return parse_decimal(spelling)


def _spell(group: PolicyGroup) -> str:
    return "all" if group.threshold == len(group.members) else str(group.threshold)


def _define(name: str, defined: set[str]) -> None:
    if name == _NONE:
        raise Malformed("policy/name", f"`{_NONE}` is reserved")
    if name in defined:
        raise Malformed("policy/name-twice", f"{name[:40]!r} is defined twice")
    defined.add(name)


def _check_keys(logs: tuple[PolicyLog, ...], witnesses: tuple[PolicyWitness, ...]) -> None:
    for log in logs:
        if log.verifier.type is KeyType.COSIGNATURE:
            raise Malformed("policy/key-type", f"log {log.verifier.name}: type 0x04 is for witnesses")
    origins = {log.verifier.name for log in logs}
    for witness in witnesses:
        if witness.verifier.type is KeyType.ED25519:
            raise Malformed("policy/key-type", f"witness {witness.name!r}: type 0x01 has no time, and is for logs")
        if witness.verifier.name in origins:
            raise Malformed("policy/log-as-witness", f"witness {witness.name!r} has the name of a log")
    # One key under two names would count twice, and a log's key would make the log its own witness.
    keys: set[bytes] = set()
    for verifier in [log.verifier for log in logs] + [witness.verifier for witness in witnesses]:
        if verifier.public in keys:
            raise Malformed("policy/key-twice", f"{verifier.name}: a line above has the same public key")
        keys.add(verifier.public)
