"""Verdicts: a bundle, a question and a policy in; what is proven, how firmly, and what is not, out.

Spec: docs/spec/verify.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn, TypeVar

from attest.crypto import commitment, keys, locators, vrf
from attest.encoding import Hash, decode_cbor, labelled
from attest.errors import AttestError, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.bundle import FORMAT, MAX_BUNDLE, Bundle, RowEvidence, StateProof
from attest.formats.checkpoint import SignedCheckpoint, log_verifiers, verify_log_signatures
from attest.formats.keepsake import FORMAT as KEEPSAKE
from attest.formats.keepsake import Keepsake, KeptHold
from attest.formats.policy import Policy, PolicyVerdict
from attest.formats.rows import RowProof
from attest.formats.state import (
    ENDED,
    ERASED,
    HELD,
    RETIRED,
    PartyHead,
    State,
    SystemHead,
    state_value,
    system_key,
    top_key,
    vrf_key_digest,
)
from attest.formats.statement import (
    Descriptor,
    Epoch,
    Hold,
    Log,
    Party,
    PartyEnd,
    Statement,
    Tombstone,
    is_party_id,
    issuer_of,
)
from attest.formats.strict_json import parse_json
from attest.merkle import sparse
from attest.merkle.tree import leaf_hash, verify_inclusion

Claim = Literal["held", "erased", "excluded", "not-excluded", "nothing-registered"]
Anchor = Literal["unpinned", "logged", "witnessed", "state-checked"]
Result = Literal["held", "erased", "never-committed", "empty", "not-indexed"]
Outcome = Literal["holds", "undecided", "refuted", "provisional", "not-anchored"]
Expect = Literal["excluded", "erased", "held"]

LEVELS = ("A0", "A1", "A2", "A3")
EXPECTED: tuple[Expect, ...] = ("excluded", "erased", "held")
DAY = 86_400
CLOCK_SKEW = 300  # seconds a checkpoint may be ahead of the verifier's clock
STEPS = {
    "bundle": "read the bundle",
    "question": "see whether it answers the question",
    "checkpoint": "check the checkpoint's signatures against the policy",
    "entries": "check that every entry is in the log at this checkpoint",
    "genesis": "check who the log is, from entry 0",
    "epoch": "check the epoch entry that commits the state",
    "holder": "check who the holder is, and its head under the top map",
    "index": "derive the indexes from the locators by the holder's VRF",
    "systems": "check that all registered systems are shown",
    "states": "check what every system's state map says",
    "rows": "check the statements and their rows",
    "claim": "judge the claim",
    "freshness": "judge the age",
    "level": "judge the level",
}
NOT_PROVEN = (
    "that the holder committed everything it holds, or registered every system it has",
    "that nothing is held under another spelling or another identifier of the same person",
    "that what a tombstone calls erased is gone, or was not copied before",
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """What the caller wants to know, and whom they trust. Nothing of this comes from the bundle."""

    policy: Policy
    now: int  # POSIX seconds
    holder: str
    locators: tuple[str, ...]  # canonical, at least one
    keepsake: Keepsake | None = None
    state_policy: Policy | None = None
    expect: Expect | None = None  # None: what the bundle's kind shows
    level: str = "A1"
    max_age: int = DAY  # seconds

    def __post_init__(self) -> None:
        """Refuse what is no question. Raises `Malformed`: `question/…`, `locator/…`."""
        if not is_party_id(self.holder):
            raise Malformed("question/holder", f"want a party id, such as acme.example, found {self.holder[:80]!r}")
        if not self.locators:
            raise Malformed("question/locators", "ask about at least one locator")
        if self.level not in LEVELS:
            raise Malformed("question/level", f"want one of {', '.join(LEVELS)}, found {self.level}")
        if self.expect is not None and self.expect not in EXPECTED:
            raise Malformed("question/expect", f"want one of {', '.join(EXPECTED)}, found {self.expect}")
        for locator in self.locators:
            locators.canonical(locator)
        kept = self.keepsake
        # One that is about something else would be passed over in silence.
        if kept is not None and (kept.holder != self.holder or kept.locator not in self.locators):
            raise Malformed("question/keepsake", f"the keepsake is about a locator of {kept.holder} that is not asked")
        if self.state_policy is not None:
            _check_separate(self.policy, self.state_policy)


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it was done: `code` is its stable name, or the failure's."""

    number: int
    name: str
    title: str
    ok: bool
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class SystemResult:
    """What one system's committed inventory says about one locator."""

    system: str
    kind: str
    locator: str
    result: Result
    generation: int | None  # how often it has been held anew, from 1
    version: int | None
    entry: int | None  # position of the entry that set the state
    not_asked: tuple[str, ...]  # locator types this system declares that were not asked
    retired: bool
    backup_until: int | None = None  # while a backup still holds: POSIX seconds


@dataclass(frozen=True, slots=True)
class Interval:
    """From hold to tombstone, as far as epochs bound it. Times are the log's claims."""

    system: str
    locator: str
    hold: int  # positions
    tombstone: int
    held_by: int | None  # time of the first epoch shown after the hold
    held_until: int | None  # time of the last epoch shown before the tombstone
    apart: bool  # at least one whole epoch lies between them
    erased_at: int  # the holder's claim
    method: str
    level: str
    ground: str


@dataclass(slots=True)
class Verdict:
    """What the evidence proves. `outcome` is the answer to the question; everything else says why."""

    outcome: Outcome = "undecided"
    code: str = ""
    reason: str = ""
    hint: str | None = None
    kind: str = ""
    claim: Claim | None = None
    sentence: str = ""
    anchor: Anchor | None = None  # known from step 3 on
    level: str | None = None  # known, as the claim is, from step 12 on; A0 is never given
    why_not_higher: str = ""
    steps: list[Step] = field(default_factory=list)
    systems: list[SystemResult] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    origin: str = ""
    size: int = 0
    epoch: int | None = None
    epoch_time: int | None = None  # the log's claim
    existed_by: int | None = None  # least witness time at which the quorum was met
    witnesses: list[str] = field(default_factory=list)
    state_witnesses: list[str] = field(default_factory=list)
    holder: str = ""
    holder_name: str = ""
    holder_legal_id: str = ""
    holder_check: str = ""
    holder_ended: bool = False
    ended: bool = False  # the log ended with this checkpoint: there is no newer one
    predecessor: str | None = None
    predecessor_size: int | None = None  # where that log ended, as this one says
    predecessor_root: str | None = None  # hex


def verify(encoded: bytes, question: Question) -> Verdict:
    """Judge a bundle. Never raises: whatever the evidence is, there is a verdict."""
    check = _Verification(question)
    with suppress(_Failed):
        check.run(encoded)
    return check.verdict


class _Failed(Exception):
    """A step failed; the verdict already says how."""


def _outcome_of(error: AttestError) -> Outcome:
    if isinstance(error, Unavailable):
        return "undecided"
    return "not-anchored" if isinstance(error, Untrusted) and error.code.startswith("checkpoint/") else "refuted"


class _Verification:
    def __init__(self, question: Question) -> None:
        self.question = question
        self.verdict = Verdict(holder=question.holder, not_proven=list(NOT_PROVEN))
        self.statements: dict[int, Statement] = {}

    def run(self, encoded: bytes) -> None:
        """Do the steps in order; each is one method that returns a sentence about what it found."""
        with self._step("bundle") as found:
            self._read(encoded, found)
        for name, method in (
            ("question", self._question),
            ("checkpoint", self._checkpoint),
            ("entries", self._entries),
            ("genesis", self._genesis),
            ("epoch", self._epoch),
            ("holder", self._holder),
            ("index", self._index),
            ("systems", self._systems),
            ("states", self._states),
            ("rows", self._rows),
            ("claim", self._claim),
            ("freshness", self._freshness),
            ("level", self._level),
        ):
            with self._step(name) as found:
                found.append(method())
        self.verdict.outcome = "holds"
        self.verdict.code = "claim/holds"
        self.verdict.reason = "the claim asked for holds at the level asked for"

    @contextmanager
    def _step(self, name: str) -> Iterator[list[str]]:
        verdict, found = self.verdict, list[str]()
        number = len(verdict.steps) + 1
        try:
            yield found
        except _Stop as stop:
            outcome, error = stop.outcome, stop.error
        except AttestError as problem:
            outcome, error = _outcome_of(problem), problem
        else:
            verdict.steps.append(Step(number, name, STEPS[name], True, name, "; ".join(found)))
            return
        verdict.outcome, verdict.code, verdict.reason, verdict.hint = outcome, error.code, error.message, error.hint
        verdict.steps.append(Step(number, name, STEPS[name], False, error.code, error.message))
        raise _Failed

    # --- the steps ---

    def _read(self, encoded: bytes, found: list[str]) -> None:
        # What never claimed to be a bundle is not a forged one; a broken bundle is. The member `format` says what a
        # file is, and only where there is none to read do the words at its beginning. A keepsake has bundles inside;
        # given by mistake, it is no evidence of forgery.
        try:
            value = parse_json(encoded, MAX_BUNDLE)
        except Malformed as error:
            start = encoded[:4096]
            if FORMAT.encode() not in start or KEEPSAKE.encode() in start:
                raise _no_bundle(error) from None
            raise
        try:
            self.bundle = Bundle.from_json(value)
        except Malformed as error:
            if error.code == "bundle/format":
                raise _no_bundle(error) from None
            raise
        checkpoint = self.bundle.checkpoint.checkpoint
        self.verdict.origin, self.verdict.size = checkpoint.origin, checkpoint.size
        self.verdict.kind = self.bundle.kind
        found.append(f"a {self.bundle.kind} bundle of {len(self.bundle.entries)} entries")

    def _question(self) -> str:
        bundle, question = self.bundle, self.question
        if bundle.party != question.holder:
            raise Refuted("question/holder", f"the bundle is about holder {bundle.party}, asked was {question.holder}")
        shows: tuple[Expect, ...] = _SHOWS[bundle.kind]
        self.expect: Expect = question.expect or shows[0]
        if self.expect not in shows:
            raise Refuted(
                "question/kind", f"a {bundle.kind} bundle cannot show `{self.expect}`; ask for a lookup bundle"
            )
        one = len(question.locators) == len(bundle.locators) == 1
        if bundle.kind in ("hold", "tombstone") and not one:
            raise Refuted("question/locators", f"a {bundle.kind} bundle answers for exactly one locator")
        return f"asked: is it {self.expect}"

    def _checkpoint(self) -> str:
        verdict, question = self.verdict, self.question
        checkpoint = self.bundle.checkpoint.checkpoint
        if checkpoint.size < 2:
            raise Malformed("checkpoint/size", f"size {checkpoint.size}; the first checkpoint has size 2")
        if question.keepsake is not None and question.keepsake.origin != checkpoint.origin:
            raise Refuted("question/origin", f"the keepsake is of log {question.keepsake.origin}")
        # A bad line under either policy refutes, before anything is said to be missing.
        weighed = _weighed(question.policy, self.bundle.checkpoint)
        seen = None if question.state_policy is None else _weighed(question.state_policy, self.bundle.checkpoint)
        if not question.policy.logs:
            verdict.anchor = "unpinned"
            raise _Stop("not-anchored", Untrusted("checkpoint/unpinned", "the policy pins no log key"))
        if isinstance(weighed, Untrusted):
            raise weighed
        verdict.anchor, verdict.existed_by = weighed.anchor, weighed.existed_by
        verdict.witnesses = [witness.name for witness in weighed.witnesses]
        if not weighed.quorum:
            self._not_anchored("checkpoint/quorum", "the policy's quorum of witnesses is not met", weighed)
        self.pinned = [verifier.public for verifier in weighed.logs]
        if seen is not None:
            self._state_checked(seen)
        return f"{checkpoint.origin} at size {checkpoint.size}: {verdict.anchor}"

    def _state_checked(self, seen: PolicyVerdict | Untrusted) -> None:
        if isinstance(seen, Untrusted):
            raise seen
        self.verdict.state_witnesses = [witness.name for witness in seen.witnesses]
        # A quorum of none is met by nobody, and checks nothing.
        if seen.existed_by is None:
            self._not_anchored("checkpoint/state-quorum", "the quorum of state witnesses is not met", seen)
        self.pinned += [verifier.public for verifier in seen.logs]
        if self.verdict.anchor == "witnessed":
            self.verdict.anchor = "state-checked"

    def _not_anchored(self, code: str, message: str, weighed: PolicyVerdict) -> NoReturn:
        names = ", ".join(witness.name for witness in weighed.witnesses) or "none"
        raise _Stop("not-anchored", Untrusted(code, f"{message}; cosigned by: {names}"))

    def _entries(self) -> str:
        checkpoint = self.bundle.checkpoint.checkpoint
        last = -1
        for proof in self.bundle.entries:
            if proof.position <= last:
                raise Malformed("bundle/entries", "positions are not strictly ascending")
            last = proof.position
            verify_inclusion(leaf_hash(proof.entry), proof.position, checkpoint.size, checkpoint.root, proof.path)
            self.statements[proof.position] = Statement.parse(proof.entry)
        return f"entries in the log: {len(self.statements)}"

    def _statement(self, position: int) -> Statement:
        if position not in self.statements:
            raise Malformed("bundle/entry-missing", f"the bundle lacks entry {position}")
        return self.statements[position]

    def _genesis(self) -> str:
        first = self._statement(0)
        checkpoint = self.bundle.checkpoint
        if not isinstance(first.payload, Log) or first.payload.origin != checkpoint.checkpoint.origin:
            raise Refuted("genesis/origin", f"entry 0 is not log/1 of {checkpoint.checkpoint.origin}")
        self.log = log = first.payload
        _verify_signature(first, log.statements)
        if not set(self.pinned) <= {log.note_ed25519, log.note_mldsa44}:
            raise Refuted("genesis/keys", "the policy pins a log key that entry 0 does not name")
        verify_log_signatures(checkpoint, log_verifiers(log.origin, log.note_ed25519, log.note_mldsa44))
        if log.predecessor is not None:
            self.verdict.predecessor = log.predecessor.origin
            self.verdict.predecessor_size = log.predecessor.size
            self.verdict.predecessor_root = log.predecessor.root.hex()
        return "entry 0 names this log and the pinned key"

    def _by_log(self, position: int, kind: type[T]) -> tuple[Statement, T]:
        statement = self._statement(position)
        if not isinstance(statement.payload, kind):
            raise Refuted("entry/kind", f"entry {position} is {statement.payload.KIND}, not what stands there")
        if statement.issuer != issuer_of(self.log.origin) or statement.audience != self.log.origin:
            raise Refuted("entry/issuer", f"entry {position} is not the log's own")
        _verify_signature(statement, self.log.statements)
        return statement, statement.payload

    def _epoch(self) -> str:
        size = self.bundle.checkpoint.checkpoint.size
        _, self.epoch = self._by_log(size - 1, Epoch)
        self.verdict.epoch, self.verdict.epoch_time = self.epoch.number, self.epoch.time
        self.epochs = {size - 1: self.epoch}
        for position, statement in self.statements.items():
            if isinstance(statement.payload, Epoch):
                self.epochs[position] = self._by_log(position, Epoch)[1]
        said = f"epoch {self.epoch.number} commits the state after entry {size - 2}"
        return f"{said}, with which the log ended" if self._ended(size) else said

    def _ended(self, size: int) -> bool:
        """Take note of the log's own end, if it is shown: only one epoch stands behind it."""
        for position, statement in self.statements.items():
            if statement.ends_log(self.log.origin):
                self._by_log(position, PartyEnd)
                if position != size - 2:
                    raise Refuted("entry/after-end", f"the log ended at entry {position}, and has {size} entries")
                self.verdict.ended = True
        return self.verdict.ended

    def _holder(self) -> str:
        bundle, verdict = self.bundle, self.verdict
        proof = sparse.MapProof.parse(bundle.head_proof)
        bound = sparse.verify(proof, self.epoch.root, top_key(bundle.party))
        if bound is None:
            raise Refuted("holder/absent", f"{bundle.party} is not admitted to this log")
        # Bound first: what is not committed does not get to say "unknown extension".
        if labelled("party-head", bundle.head) != bound:
            raise Refuted("holder/head", "the holder's head is not the committed one")
        head = PartyHead.decode(bundle.head)
        if head.party != bundle.party:
            raise Refuted("holder/head", f"the head is {head.party}'s")
        if head.role != "holder":
            raise Refuted("holder/role", f"{head.party} is admitted as {head.role}")
        statement, party = self._by_log(head.admitted, Party)
        if party.id != head.party or statement.about != head.party:
            raise Refuted("holder/admission", f"entry {head.admitted} admits {party.id}")
        if (
            bundle.vrf_suite != vrf.SUITE
            or (bundle.vrf_suite, vrf_key_digest(bundle.vrf_suite, bundle.vrf_key)) not in head.vrf
        ):
            raise Refuted("holder/vrf-key", "the VRF key is not the one the holder's head binds")
        self.head = head
        verdict.holder_name, verdict.holder_legal_id = party.name, party.legal_id
        verdict.holder_check = party.check_method
        verdict.holder_ended = head.status == ENDED
        return f"{head.party} is {party.name} ({party.legal_id}), checked by {party.check_method}"

    def _index(self) -> str:
        """Find for each locator asked the VRF proof that is about it."""
        self.betas: dict[int, tuple[str, bytes]] = {}  # number in the bundle → (locator, beta)
        for number, asked in enumerate(self.question.locators, 1):
            kind = locators.parse(asked).type
            for place, offered in enumerate(self.bundle.locators):
                if offered.type != kind or place in self.betas:
                    continue
                try:
                    beta = vrf.verify(self.bundle.vrf_key, commitment.alpha(asked), offered.proof)
                except Refuted:
                    continue
                self.betas[place] = (asked, beta)
                break
            else:
                raise Refuted("index/other-locator", f"no VRF proof in the bundle is about locator {number} ({kind})")
        return f"indexes derived from their locators: {len(self.betas)}"

    def _key_and_index(self, place: int, system: str) -> tuple[Hash, Hash]:
        index = commitment.index(self.bundle.party, system, self.betas[place][1])
        return commitment.map_key(index), index

    def _systems(self) -> str:
        if self.bundle.kind in ("hold", "tombstone"):
            return "not needed for this kind"
        shown: dict[str, tuple[bytes, bytes]] = {}
        last = ""
        for encoded_head, encoded_descriptor in self.bundle.systems:
            name = _system_of(encoded_head)
            if name <= last:
                raise Malformed("systems/order", "system ids are not strictly ascending")
            last = name
            shown[name] = encoded_head, encoded_descriptor
        if len(shown) != self.head.systems_count:
            raise Refuted("systems/count", f"{len(shown)} systems are shown, {self.head.systems_count} are registered")
        values = {system_key(name): labelled("system-head", head) for name, (head, _) in shown.items()}
        if sparse.root(values) != self.head.systems_root:
            raise Refuted("systems/root", "the systems shown are not the ones the holder's head commits")
        # Bound first, as the holder's head is.
        self.heads: dict[str, tuple[SystemHead, Descriptor]] = {}
        for name, (encoded_head, encoded_descriptor) in shown.items():
            head = SystemHead.decode(encoded_head)
            if labelled("descriptor", encoded_descriptor) != head.descriptor:
                raise Refuted("systems/descriptor", f"the descriptor of {name} is not the committed one")
            descriptor = Descriptor.decode(encoded_descriptor)
            if descriptor.id != name:
                raise Refuted("systems/descriptor", f"the descriptor of {name} is {descriptor.id}'s")
            self.heads[name] = (head, descriptor)
        count = len(self.heads)
        return "the one registered system is shown" if count == 1 else f"all {count} registered systems are shown"

    def _states(self) -> str:
        bundle = self.bundle
        if bundle.kind in ("hold", "tombstone"):
            return "not needed for this kind"
        wanted = [(place, name) for place in range(len(bundle.locators)) for name in self.heads]
        if [(proof.locator, proof.system) for proof in bundle.states] != wanted:
            raise Malformed("states/order", "want one state per locator and system, in order")
        shown = {(proof.locator, proof.system): proof for proof in bundle.states}
        asked = [(place, name) for place in self.betas for name in self.heads]
        bound = {pair: self._bound(shown[pair]) for pair in asked}
        # All bound first: beside a forged state, one with a status not known here decides nothing.
        self.found = {pair: None if state is None else State.parse(state) for pair, state in bound.items()}
        self._check_keepsake()
        return f"states proven: {len(self.found)}"

    def _bound(self, shown: StateProof) -> bytes | None:
        key, _ = self._key_and_index(shown.locator, shown.system)
        bound = sparse.verify(sparse.MapProof.parse(shown.proof), self.heads[shown.system][0].root, key)
        if bound is None:
            if shown.state is not None:
                raise Refuted("states/absent", f"a state is shown for {shown.system}, its map has none")
            return None
        if shown.state is None or state_value(shown.state) != bound:
            raise Refuted("states/value", f"the state shown for {shown.system} is not the committed one")
        return shown.state

    def _result(self, place: int, name: str, state: State | None, asked: set[str]) -> SystemResult:
        head, descriptor = self.heads[name]
        declared = set(descriptor.locators)
        result: Result
        if state is not None:
            result = "held" if state.status == HELD else "erased"
        elif head.held == 0:
            result = "empty"
        elif not declared & asked:
            result = "not-indexed"
        else:
            result = "never-committed"
        return SystemResult(
            system=name,
            kind=descriptor.kind,
            locator=self.betas[place][0],
            result=result,
            generation=None if state is None else state.generation,
            version=None if state is None else state.version,
            entry=None if state is None else state.position,
            not_asked=tuple(sorted(declared - asked)) if head.held else (),
            retired=head.status == RETIRED,
            backup_until=self._backup_until(place, descriptor) if result == "held" else None,
        )

    def _backup_until(self, place: int, descriptor: Descriptor) -> int | None:
        """Return until when a backup may still hold: its cycle after the last tombstone elsewhere."""
        since = self.grace[place]
        if descriptor.kind != "backup" or descriptor.backup_cycle is None or since is None:
            return None
        return since + descriptor.backup_cycle

    def _last_epoch_before_erasure(self, place: int) -> int | None:
        """Bound the time of a locator's last tombstone from below: a bundle that leaves epochs out never buys time."""
        erased = [s.position for (p, _), s in self.found.items() if p == place and s and s.status == ERASED]
        before = [epoch.time for position, epoch in self.epochs.items() if erased and position < max(erased)]
        return max(before, default=None)

    def _check_keepsake(self) -> None:
        """Keys are never removed: what a keepsake proves was held cannot have been never committed later."""
        keepsake = self.question.keepsake
        if keepsake is None:
            return
        place = next(place for place, (asked, _) in self.betas.items() if asked == keepsake.locator)
        unproven = ""
        for hold in keepsake.holds:
            state = self.found.get((place, hold.system))
            # A checkpoint below the hold says nothing about it.
            if hold.entry >= self.verdict.size or (state is not None and state.position >= hold.entry):
                continue
            fault = self._fault_of(keepsake, hold)
            if fault is None:
                raise Refuted(
                    "states/keepsake",
                    f"{hold.system}: the keepsake shows a hold at entry {hold.entry}, the map does not",
                )
            unproven = f"the keepsake's own hold in {hold.system} does not verify: {fault}"
        # Last, so that one forged hold does not hide what another one proves.
        if unproven:
            raise _Stop("undecided", Malformed("keepsake/hold", unproven))

    def _fault_of(self, keepsake: Keepsake, hold: KeptHold) -> str | None:
        """Say why a keepsake's own hold may not be held against anybody, or None if it may."""
        asked = replace(
            self.question, locators=(keepsake.locator,), keepsake=None, state_policy=None, expect="held", level="A1"
        )
        inner = verify(hold.bundle.encode(), asked)
        if inner.outcome != "holds":
            return inner.reason
        row = hold.bundle.rows[0]
        # A policy may pin several logs, and a hold in one is no promise of another.
        shown = (hold.bundle.kind, inner.origin, row.system, row.entry)
        if shown != ("hold", self.verdict.origin, hold.system, hold.entry):
            return f"it is a {shown[0]} in {shown[2]} at entry {shown[3]} of log {shown[1]}"
        return None

    def _rows(self) -> str:
        bundle = self.bundle
        if bundle.kind == "lookup":
            return "not needed for this kind"
        if bundle.kind in ("hold", "tombstone"):
            row = bundle.rows[0]
            if row.locator != 0:
                raise Malformed("rows/order", f"row of locator {row.locator}, there is only 0")
            self._row(row, Hold if bundle.kind == "hold" else Tombstone)
            return f"entry {row.entry} names the row in {row.system}"
        return self._certificate_rows()

    def _row(self, row: RowEvidence, kind: type[T]) -> T:
        """Check that a hold or tombstone of the holder, in force at its position, names the row."""
        statement = self._statement(row.entry)
        payload = statement.payload
        if not isinstance(payload, kind) or not isinstance(payload, Hold | Tombstone):
            raise Refuted("rows/kind", f"entry {row.entry} is {payload.KIND}, not {kind.__name__.lower()}/1")
        if (statement.issuer, statement.stream) != (issuer_of(self.bundle.party), row.system):
            raise Refuted("rows/issuer", f"entry {row.entry} is of {statement.issuer}, system {statement.stream}")
        if statement.audience != self.log.origin:
            raise Refuted("rows/audience", f"entry {row.entry} was made for log {statement.audience}")
        in_force = (item.key for item in self.head.keys if item.use == "sign" and item.verifies(row.entry))
        signer = next((key for key in in_force if keys.thumbprint(key) == statement.kid), None)
        if signer is None:
            raise Refuted("rows/key", f"entry {row.entry} is signed by no key of {self.bundle.party} in force there")
        _verify_signature(statement, signer)
        _, index = self._key_and_index(row.locator, row.system)
        RowProof(row.position, index + row.commitment, row.path).verify(payload.count, payload.root)
        return payload

    def _certificate_rows(self) -> str:
        bundle = self.bundle
        # A state that was not asked is not proven, and counts as what it says; its rows have to be in place, no more.
        erased = [(s.locator, s.system) for s in bundle.states if s.state is not None and s.state[0] == ERASED]
        if [(row.locator, row.system) for row in bundle.rows] != [pair for pair in erased for _ in range(2)]:
            raise Malformed(
                "rows/order", "want per erased system its hold and its tombstone, in the order of the states"
            )
        for hold_row, tombstone_row in zip(bundle.rows[::2], bundle.rows[1::2], strict=True):
            state = self.found.get((hold_row.locator, hold_row.system))
            if state is None:
                continue
            self._row(hold_row, Hold)
            tombstone = self._row(tombstone_row, Tombstone)
            if tombstone_row.entry != state.position or tombstone_row.commitment != state.commitment:
                raise Refuted(
                    "rows/state", f"the tombstone shown for {hold_row.system} is not the one that set its state"
                )
            if hold_row.commitment != tombstone_row.commitment or hold_row.entry >= tombstone_row.entry:
                raise Refuted("rows/hold", f"the hold shown for {hold_row.system} is not what the tombstone erased")
            self.verdict.intervals.append(self._interval(hold_row, tombstone_row, tombstone))
        count = len(self.verdict.intervals)
        return "an erasure, with its hold" if count == 1 else f"{count} erasures, each with its hold"

    def _interval(self, hold: RowEvidence, tombstone: RowEvidence, payload: Tombstone) -> Interval:
        after = [epoch for position, epoch in self.epochs.items() if position > hold.entry]
        before = [epoch for position, epoch in self.epochs.items() if position < tombstone.entry]
        first = min(after, key=lambda epoch: epoch.number, default=None)
        last = max(before, key=lambda epoch: epoch.number, default=None)
        return Interval(
            system=hold.system,
            locator=self.betas[hold.locator][0],
            hold=hold.entry,
            tombstone=tombstone.entry,
            held_by=None if first is None else first.time,
            held_until=None if last is None else last.time,
            apart=first is not None and last is not None and last.number > first.number,
            erased_at=payload.erased_at,
            method=payload.method,
            level=payload.level,
            ground=payload.ground,
        )

    # --- judging ---

    def _claim(self) -> str:
        verdict = self.verdict
        if self.bundle.kind in ("hold", "tombstone"):
            row = self.bundle.rows[0]
            verdict.claim = "held" if self.bundle.kind == "hold" else "erased"
            word = "committed as held" if verdict.claim == "held" else "tombstoned as erased"
            verdict.sentence = (
                f"At entry {row.entry} of log {verdict.origin}, locator {self.question.locators[0]} was {word} "
                f"in system {row.system} of {verdict.holder}."
            )
            self._set_level()
            return verdict.claim
        self.grace = {place: self._last_epoch_before_erasure(place) for place in self.betas}
        asked = {locators.parse(locator).type for locator in self.question.locators}
        results = [self._result(place, name, state, asked) for (place, name), state in self.found.items()]
        verdict.systems = results
        held = [result for result in results if result.result == "held"]
        blocked = [result for result in results if result.result == "not-indexed"]
        if self.expect == "held" and held:
            verdict.claim = "held"
        elif not self.heads:
            verdict.claim = "nothing-registered"
        elif not held and not blocked:
            verdict.claim = "excluded"
        else:
            verdict.claim = "not-excluded"
        verdict.sentence = self._sentence(held, blocked)
        self._set_level()
        self._judge(held, blocked)
        return verdict.claim

    def _sentence(self, held: Sequence[SystemResult], blocked: Sequence[SystemResult]) -> str:
        verdict = self.verdict
        at = f"At checkpoint {verdict.size} of log {verdict.origin}, "
        whose = f"{verdict.holder}'s committed inventory"
        names = ", ".join(self.question.locators)
        if not self.heads:
            return f"{at}{verdict.holder} has registered no system."
        if held:
            places = ", ".join(sorted({result.system for result in held}))
            return f"{at}{whose} has a live entry for {names} in: {places}."
        if blocked:
            places = ", ".join(sorted({result.system for result in blocked}))
            return f"{at}{whose} has no live entry for {names}, but does not index these systems so: {places}."
        count = len(self.heads)
        among = "its one registered system" if count == 1 else f"any of its {count} registered systems"
        return f"{at}{whose} has no live entry for {names} in {among}."

    def _judge(self, held: Sequence[SystemResult], blocked: Sequence[SystemResult]) -> None:
        verdict, expect = self.verdict, self.expect
        if expect == "held":
            if not held:
                raise Refuted("claim/not-held", verdict.sentence)
            return
        if verdict.claim == "nothing-registered":
            raise Refuted("claim/nothing-registered", verdict.sentence)
        until = self._backups_until(held) if held and not blocked else None
        if verdict.claim == "not-excluded" and until is None:
            raise Refuted("claim/not-excluded", verdict.sentence)
        erased = [result for result in verdict.systems if result.result == "erased"]
        if (expect == "erased" or self.bundle.kind == "certificate") and not erased:
            raise Refuted("claim/not-erased", "no system shows an erasure of these locators")
        if self.bundle.kind == "certificate":
            for result in verdict.systems:
                if result.not_asked:
                    kinds = ", ".join(result.not_asked)
                    raise Refuted(
                        "claim/type-not-asked", f"{result.system} also indexes by {kinds}, which was not asked"
                    )
        # Last: what refutes goes before what time will mend.
        if until is not None:
            message = f"only backups still hold, within their declared cycle until {until}"
            raise _Stop("provisional", Refuted("claim/backup", message))

    def _backups_until(self, held: Sequence[SystemResult]) -> int | None:
        """Return until when all these may still hold, as backups; None if that is over, or one is none."""
        times = [result.backup_until for result in held if result.backup_until is not None]
        return min(times) if len(times) == len(held) and min(times) >= self.question.now else None

    def _freshness(self) -> str:
        verdict, question = self.verdict, self.question
        if self.epoch.time > question.now + CLOCK_SKEW:
            raise Unavailable(
                "freshness/clock", f"the checkpoint says {self.epoch.time}, the clock here {question.now}: check it"
            )
        # A witness ahead of time would make the checkpoint fresh for as long.
        if verdict.existed_by is not None and verdict.existed_by > question.now + CLOCK_SKEW:
            raise Unavailable(
                "freshness/clock", f"the witnesses say {verdict.existed_by}, the clock here {question.now}: check it"
            )
        if self.bundle.kind in ("hold", "tombstone"):
            return "a past event does not age"
        since = verdict.existed_by if verdict.existed_by is not None else self.epoch.time
        age = max(0, question.now - since)
        if age > question.max_age:
            message = f"the checkpoint is {age} s old, asked for at most {question.max_age} s"
            hint = "fetch a new proof, or ask with a longer --max-age or with --at"
            if verdict.ended:
                # Final is not fresh: what the holder has done since is in no log, or in another one.
                message += "; the log ended with it, so this log has no newer one"
                hint = "ask the log that names this one as its predecessor; to judge the end itself, ask with --at"
            error = Unavailable("freshness/old", message, hint=hint)
            raise _Stop("provisional", error)
        return f"{age} s old"

    def _set_level(self) -> None:
        """Before the claim is judged: a verdict that it does not hold has a level too."""
        verdict = self.verdict
        verdict.level, verdict.why_not_higher = _level(verdict)
        if verdict.anchor != "state-checked":
            verdict.not_proven.append(
                "that the operator computed the state and keys rightly: not independently checked at this checkpoint"
            )

    def _level(self) -> str:
        verdict = self.verdict
        level = verdict.level or "A0"
        if LEVELS.index(level) < LEVELS.index(self.question.level):
            error = Untrusted(
                "level/too-low", f"asked for {self.question.level}, reached {verdict.level}: {verdict.why_not_higher}"
            )
            raise _Stop("not-anchored", error)
        return level


class _Stop(Exception):
    """Ends a step with an outcome that the error's kind does not tell."""

    def __init__(self, outcome: Outcome, error: AttestError) -> None:
        super().__init__(error)
        self.outcome = outcome
        self.error = error


_SHOWS: dict[str, tuple[Expect, ...]] = {
    "hold": ("held",),
    "tombstone": ("erased",),
    "lookup": ("excluded", "erased", "held"),
    "certificate": ("excluded", "erased"),
}


def _level(verdict: Verdict) -> tuple[str, str]:
    """Return the level, and why it is not higher: a table over claim and anchor."""
    if verdict.anchor == "logged":
        return "A1", "no quorum of independent witnesses has cosigned this checkpoint"
    if verdict.claim != "excluded":
        return "A2", f"A3 is for exclusion; this shows `{verdict.claim}`"
    if verdict.anchor == "witnessed":
        return "A2", "no quorum of state witnesses has checked every state transition"
    if not all(interval.apart for interval in verdict.intervals):
        return "A2", "a hold and its tombstone are in the same or neighbouring epochs: a decoy would cost nothing"
    return "A3", "A4 needs independent sampling, A5 probes over time"


def _system_of(encoded_head: bytes) -> str:
    """Return whose head this says it is, before anything else in it is believed."""
    found = decode_cbor(encoded_head)
    name = found.get("system") if isinstance(found, dict) else None
    if not isinstance(name, str):
        raise Malformed("head/fields", "want a system head, which names its system")
    return name


def _verify_signature(statement: Statement, key: bytes) -> None:
    # The rules admit no other key, but an operator who breaks them can bind one.
    keys.check_public_key(key)
    statement.verify_signature(key)


def _no_bundle(error: Malformed) -> _Stop:
    hint = "this is not an attest bundle; `attest show FILE` tells what it is"
    return _Stop("undecided", Malformed("bundle/format", error.message, hint=hint))


def _weighed(policy: Policy, signed: SignedCheckpoint) -> PolicyVerdict | Untrusted:
    try:
        return policy.check(signed)
    except Untrusted as error:
        return error


def _check_separate(policy: Policy, state_policy: Policy) -> None:
    """Check that no witness of one policy stands in the other: who has checked what has to stay apart."""
    for one, other in ((policy, state_policy), (state_policy, policy)):
        witnesses = {witness.verifier.public for witness in one.witnesses}
        stands = {log.verifier.public for log in other.logs} | {each.verifier.public for each in other.witnesses}
        if witnesses & stands:
            raise Malformed(
                "question/state-policy", "a witness of one policy stands in the other: a key of its own for each"
            )
