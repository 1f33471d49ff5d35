"""Facts: what an auditor wants to know even when all is well, gathered while entries go by.

Whatever a holder's statements contradict is noted here too, by position, for evidence to be made of it later.

Spec: docs/spec/audit.md#facts.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from attest.crypto import keys as crypto_keys
from attest.encoding import Hash
from attest.errors import Unavailable
from attest.formats.rows import RowFile
from attest.formats.state import ENDED, ERASED, RETIRED, PartyHead, State, SystemHead
from attest.formats.statement import Descriptor, Epoch, Hold, Keys, Limits, Party, PartyEnd, Statement, Tombstone
from attest.ledger.evidence.contradictions import GONE_ON, SKEW_S
from attest.ledger.rules import Effects

VERSION: Final = 2  # of what is kept between two audits; another one for every change of what a field means
SMALL_BATCH: Final = 10  # rows: fewer may point at a person
FAR_S: Final = 7 * 86_400  # between an erasure's date and its epoch
AGES_S: Final = (3600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400, 365 * 86_400)  # bounds of the histogram
_KEPT: Final = 100  # examples of a kind
_POINTS: Final = 256  # of a curve
_GAPS: Final = 10
if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T", bound="DataclassInstance")


class Heads(Protocol):
    """Where parties and systems stand."""

    @property
    def systems(self) -> Mapping[tuple[str, str], SystemHead]: ...

    @property
    def descriptors(self) -> Mapping[tuple[str, str], Descriptor]: ...

    def party(self, party: str) -> PartyHead | None: ...


class Epochs(Protocol):
    """Where a log stands after an epoch."""

    @property
    def size(self) -> int: ...

    @property
    def previous(self) -> Statement | None: ...

    @property
    def limits(self) -> Limits: ...


@dataclass(slots=True)
class Suspicion:
    """Two statements about one record that cannot both be true."""

    code: str
    party: str
    system: str
    first: int  # positions
    second: int
    index: Hash
    count: int = 1  # of such records in these two statements


@dataclass(slots=True)
class SystemFacts:
    """The life of one system."""

    curve: list[list[int]] = field(default_factory=list)  # [epoch time, held, erased, reheld], ascending
    ages: list[int] = field(default_factory=lambda: [0] * (len(AGES_S) + 1))  # rows by time from hold to tombstone
    age_sum: int = 0  # seconds, over all rows
    statements: dict[str, int] = field(default_factory=dict)  # by kind and cause, method or level
    small: int = 0  # statements of few rows
    old_commitments: int = 0  # rows


@dataclass(slots=True)
class Facts:
    """Everything gathered so far. Plain values: it goes into a file between two audits."""

    systems: dict[str, SystemFacts] = field(default_factory=dict)  # by "party system"
    kinds: dict[str, int] = field(default_factory=dict)
    keys: list[list[Any]] = field(default_factory=list)  # [position, party, kid hex, use, "added" or "revoked"]
    admitted: dict[str, int] = field(default_factory=dict)  # "party kid" → position of the entry that admitted the key
    parties: dict[str, list[Any]] = field(
        default_factory=dict
    )  # id → [position, role, name, legal id, how checked, when]
    ended: list[str] = field(default_factory=list)
    far: list[list[Any]] = field(default_factory=list)  # [position, party, system, erased_at − epoch time]
    far_count: int = 0
    epochs: list[list[int]] = field(default_factory=list)  # [position, time] of those around an entry
    last_epoch: list[int] = field(default_factory=lambda: [0, 0])
    gaps: list[list[int]] = field(default_factory=list)  # [from, to]: the longest times without a statement
    silences: list[list[int]] = field(default_factory=list)  # [from, to]: without an epoch for longer than promised
    suspicions: list[Suspicion] = field(default_factory=list)

    # --- gathering ---

    def seen(self, position: int, statement: Statement, rows: RowFile | None, effects: Effects) -> None:
        """Take an accepted entry."""
        payload = statement.payload
        self.kinds[payload.KIND] = self.kinds.get(payload.KIND, 0) + 1
        party = statement.issuer.removeprefix("https://")
        match payload:
            case Hold() | Tombstone() if rows is not None:
                self._rows(position, statement, rows, effects)
            case Party():
                about = [
                    position,
                    payload.role,
                    payload.name,
                    payload.legal_id,
                    payload.check_method,
                    payload.check_time,
                ]
                self.parties[payload.id] = about
                for new in payload.keys:
                    self._key(position, payload.id, crypto_keys.thumbprint(new.key), new.use, "added")
            case Keys():
                whose = statement.about or party
                for new in payload.add:
                    self._key(position, whose, crypto_keys.thumbprint(new.key), new.use, "added")
                for kid in payload.revoke:
                    self._key(position, whose, kid, "", "revoked")
            case PartyEnd():
                self.ended.append(statement.about or party)
            case _:
                pass

    def epoch(self, ledger: "Epochs", *, entries: int) -> None:
        """Take the end of an epoch of so many entries, its own included."""
        payload = None if ledger.previous is None else ledger.previous.payload
        if not isinstance(payload, Epoch):
            return
        position, time = ledger.size - 1, payload.time
        if self.last_epoch[1] and time - self.last_epoch[1] > ledger.limits.silence:
            self.silences.append([self.last_epoch[1], time])
            self.silences = sorted(self.silences, key=lambda gap: gap[0] - gap[1])[:_KEPT]
        before, self.last_epoch = self.last_epoch, [position, time]
        if entries == 1:
            return
        if self.epochs:
            self.gaps.append([self.epochs[-1][1], time])
            self.gaps = sorted(self.gaps, key=lambda gap: gap[0] - gap[1])[:_GAPS]
        if before[1] and self.epochs[-1:] != [before]:
            self.epochs.append(before)  # a quiet one: these entries came after it
        self.epochs.append([position, time])

    def touched(self, ledger: "Heads", names: Sequence[tuple[str, str]]) -> None:
        """Note how systems stand after an epoch."""
        for name in names:
            head = ledger.systems[name]
            curve = self._system(*name).curve
            curve.append([self.last_epoch[1], head.held, head.erased, head.reheld])
            if len(curve) >= 2 * _POINTS:
                # The last of every two: what stands there was true at its time.
                curve[:] = curve[1::2]

    def dated(self, position: int, time: int) -> None:
        """Take an entry by the date its signer gives, where epochs are not read; before `seen`."""
        # Whoever asks for the time before it, or after it, gets this one.
        self.epochs += [[position - 1, time], [position, time]]
        self.last_epoch = [position, time]

    def _system(self, party: str, system: str) -> SystemFacts:
        return self.systems.setdefault(f"{party} {system}", SystemFacts())

    def _key(self, position: int, party: str, kid: Hash, use: str, what: str) -> None:
        self.keys.append([position, party, kid.hex(), use, what])
        if what == "added":
            self.admitted[f"{party} {kid.hex()}"] = position

    def _rows(self, position: int, statement: Statement, rows: RowFile, effects: Effects) -> None:
        payload, party = statement.payload, statement.issuer.removeprefix("https://")
        facts = self._system(party, statement.stream)
        if len(rows) < SMALL_BATCH:
            facts.small += 1
        if isinstance(payload, Hold):
            facts.statements[payload.cause] = facts.statements.get(payload.cause, 0) + 1
            self._held_again(position, (party, statement.stream), payload, rows, effects, facts)
        elif isinstance(payload, Tombstone):
            for word in (payload.method, f"verified: {payload.level}"):
                facts.statements[word] = facts.statements.get(word, 0) + 1
            self._erased(position, (party, statement.stream), payload, rows, effects)

    def _held_again(
        self,
        position: int,
        name: tuple[str, str],
        payload: Hold,
        rows: RowFile,
        effects: Effects,
        facts: SystemFacts,
    ) -> None:
        for row, old in enumerate(effects.old):
            if old is None or old[0] != ERASED:
                continue
            state = State.parse(old)
            if state.commitment == rows.commitments[row]:
                facts.old_commitments += 1
                self._suspect("holder/old-commitment", name, state.position, position, rows.indexes[row])
            elif payload.cause in GONE_ON:
                self._suspect("holder/went-on", name, state.position, position, rows.indexes[row])

    def _erased(
        self, position: int, name: tuple[str, str], payload: Tombstone, rows: RowFile, effects: Effects
    ) -> None:
        # The epoch that commits this tombstone is still to come; the one before is near enough for months.
        now = max(self.last_epoch[1], payload.erased_at)
        facts = self._system(*name)
        if abs(far := payload.erased_at - self.last_epoch[1]) > FAR_S and self.last_epoch[1]:
            self.far_count += 1
            if len(self.far) < _KEPT:
                self.far.append([position, *name, far])
        holds = Counter(old[9:17] for old in effects.old if old is not None)
        for encoded, count in holds.items():
            held_at = int.from_bytes(encoded, "big")
            before, after = self._around(held_at)
            age = max(0, now - after)
            facts.ages[bisect_left(AGES_S, age)] += count
            facts.age_sum += age * count
            if payload.erased_at + SKEW_S < before:
                row = next(n for n, old in enumerate(effects.old) if old is not None and old[9:17] == encoded)
                self._suspect("holder/erased-before-held", name, held_at, position, rows.indexes[row], count)

    def _suspect(self, code: str, name: tuple[str, str], first: int, second: int, index: Hash, count: int = 1) -> None:
        for known in self.suspicions:
            if (known.code, known.party, known.system, known.first, known.second) == (code, *name, first, second):
                known.count += count
                return
        if len(self.suspicions) < _KEPT:
            self.suspicions.append(Suspicion(code, *name, first, second, index, count))

    def _around(self, position: int) -> tuple[int, int]:
        """Return the time of the last epoch before a position, and of the first after it; 0 where there is none."""
        if position > self.last_epoch[0]:
            return self.last_epoch[1], self.last_epoch[1]
        at = bisect_right(self.epochs, [position, 0])
        after = self.epochs[at] if at < len(self.epochs) else self.last_epoch
        return self.epochs[at - 1][1] if at else 0, after[1]

    def epoch_before(self, position: int) -> int | None:
        """Return the position of the last epoch before an entry; None if there is none."""
        at = bisect_right(self.epochs, [position, 0])
        return self.epochs[at - 1][0] if at else None

    # --- reporting ---

    def report(self, ledger: "Heads", only: tuple[str, str | None] | None = None) -> dict[str, Any]:
        """Return all of it as JSON values.

        Args:
            only: a party and one system of it, or None for all of its; of the log's epochs nothing is known then.
        """
        return {
            "entries": dict(sorted(self.kinds.items())),
            "parties": [
                {
                    "id": party,
                    "admitted": about[0],
                    "role": about[1],
                    "name": about[2],
                    "legal_id": about[3],
                    "checked_by": about[4],
                    "checked_at": about[5],
                    "ended": party in self.ended,
                }
                for party, about in sorted(self.parties.items())
            ],
            "same_legal_id": self._same_legal_id(ledger),
            "systems": list(self._systems(ledger, only)),
            "keys": [
                {"entry": position, "party": party, "kid": kid, "use": use, "what": what}
                for position, party, kid, use, what in self.keys
            ],
            "far_dated_erasures": {
                "count": self.far_count,
                "beyond_s": FAR_S,
                "examples": [
                    {"entry": position, "party": party, "system": system, "from_epoch_s": far}
                    for position, party, system, far in self.far
                ],
            },
            "quiet": None if only else [{"from": start, "to": end} for start, end in self.gaps],
            "silences": None if only else [{"from": start, "to": end} for start, end in self.silences],
        }

    def _systems(self, ledger: "Heads", only: tuple[str, str | None] | None) -> Iterator[dict[str, Any]]:
        for (party, system), head in sorted(ledger.systems.items()):
            if only is not None and (party != only[0] or only[1] not in (None, system)):
                continue
            facts = self.systems.get(f"{party} {system}") or SystemFacts()
            descriptor = ledger.descriptors[party, system]
            yield {
                "party": party,
                "system": system,
                "kind": descriptor.kind,
                "retention": descriptor.retention,
                "backup_cycle": descriptor.backup_cycle,
                "retired": head.status == RETIRED,
                "held": head.held,
                "erased": head.erased,
                "reheld": head.reheld,
                "statements": head.entries,
                "old_commitments": facts.old_commitments,
                "small_batches": facts.small,
                "by": dict(sorted(facts.statements.items())),
                "curve": facts.curve,
                "hold_to_tombstone": {
                    "bounds_s": list(AGES_S),
                    "rows": facts.ages,
                    "mean_s": facts.age_sum // total if (total := sum(facts.ages)) else None,
                },
            }

    def _same_legal_id(self, ledger: "Heads") -> list[list[str]]:
        live: dict[str, list[str]] = {}
        for party, about in self.parties.items():
            head = ledger.party(party)
            if head is not None and head.status != ENDED:
                live.setdefault(about[3], []).append(party)
        return sorted(sorted(same) for same in live.values() if len(same) > 1)

    # --- between two audits ---

    def fields(self) -> dict[str, Any]:
        """Return CBOR values."""
        found = asdict(self)
        return {"version": VERSION, **found}

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "Facts":
        """Read what `fields` returns; it is the auditor's own.

        Raises:
            Unavailable: `audit/state`, it was gathered by another version. What that did not look for is not in it, and
                would be missing from every report to come.
        """
        if found.get("version") != VERSION:
            raise Unavailable("audit/state", f"facts of version {found.get('version')}, want {VERSION}")
        values = {name: value for name, value in found.items() if name != "version"}
        values["systems"] = {name: _whole(SystemFacts, each) for name, each in found["systems"].items()}
        values["suspicions"] = [_whole(Suspicion, each) for each in found["suspicions"]]
        return _whole(cls, values)


def _whole(kind: type[_T], found: Mapping[str, Any]) -> _T:
    """Make a value of which nothing is left to a default: an older shape has to be gathered anew."""
    if found.keys() != {each.name for each in fields(kind)}:
        raise Unavailable("audit/state", f"{kind.__name__} of another shape")
    return kind(**found)
