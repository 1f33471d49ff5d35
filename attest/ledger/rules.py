"""The one rule function: what a statement changes at its position, or why it may not stand there.

The service, the auditor and the state witness all call `judge`; they differ only in the view they bring.

Spec: docs/spec/rules.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, assert_never

from attest.crypto import keys
from attest.encoding import ZERO, Hash
from attest.errors import Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.rows import RowFile
from attest.formats.state import (
    ACTIVE,
    ENDED,
    ERASED,
    HELD,
    MAX_KEYS,
    RETIRED,
    KeyItem,
    LogPart,
    PartyHead,
    SystemHead,
    extend_chain,
    pack_state,
)
from attest.formats.statement import (
    RECOVERY,
    Descriptor,
    Epoch,
    Hold,
    Keys,
    Limits,
    Log,
    NewKey,
    Party,
    PartyEnd,
    Policy,
    Statement,
    Systems,
    Tombstone,
    issuer_of,
    possession_message,
)

RULES = "attest-rules/1"
# SHA-256 of docs/spec/rules.md; a test keeps the two together.
RULES_DIGEST = bytes.fromhex("ddf3306f242815bcdc6afb7a82784f917d273015b5a5f7a34fc6cda1b89b655e")
MAX_COUNTER = 2**32 - 1

UNSEEN = RowFile((), (), b"")
"""In place of a row file that nobody looks at, where only the statements of a system are counted."""

SystemId = tuple[str, str]
"""(party id, system id)."""


class View(Protocol):
    """All that a rule may read: the state just before the statement's position."""

    @property
    def origin(self) -> str:
        """The log's name; empty before entry 0."""

    @property
    def limits(self) -> Limits:
        """The limits of entry 0."""

    def party(self, party: str) -> PartyHead | None:
        """Return the head of a party, or of the log under its origin; None if not admitted."""

    def system(self, system: SystemId) -> SystemHead | None:
        """Return a system's head; None if not registered. Its `root` may be older than the view."""

    def descriptor(self, system: SystemId) -> Descriptor:
        """Return the descriptor of a registered system."""

    def states(self, system: SystemId, map_keys: Sequence[Hash]) -> list[bytes | None]:
        """Return the 49-byte state under each key of a registered system, None where there is none."""

    def top_root(self) -> Hash:
        """Return the top map's root over everything before this position. Read by epochs only."""


@dataclass(slots=True)
class Effects:
    """What one statement changes. Whoever applies it replaces heads and states by these."""

    parties: dict[str, PartyHead] = field(default_factory=dict)
    systems: dict[SystemId, SystemHead] = field(default_factory=dict)
    descriptors: dict[SystemId, Descriptor] = field(default_factory=dict)
    states: dict[SystemId, dict[Hash, bytes]] = field(default_factory=dict)
    old: Sequence[bytes | None] = ()  # the states that a hold or tombstone found, by row


def judge(view: View, position: int, statement: Statement, rows: RowFile | None = None) -> Effects:
    """Decide whether `statement` may stand at `position`, and return what it changes.

    Args:
        rows: the row file that a hold or tombstone names; None for all other kinds; `UNSEEN` leaves states alone.

    Raises:
        Malformed, Untrusted, Refuted, Conflict: with a `rule/…` code (docs/errors.md); row rules name the rows.
        Unavailable: `rule/unknown-rules`, `rule/unknown-status`: a rule set not known here is in force.
    """
    if isinstance(statement.payload, Log):
        return _begin(position, statement, statement.payload)
    log = view.party(view.origin)
    if log is None or log.log is None:
        raise Conflict("rule/genesis", "the first entry of a log is its log/1 statement")
    if len(statement.entry) > view.limits.statement:
        raise Malformed("statement/size", f"{len(statement.entry)} bytes, this log takes {view.limits.statement}")
    if statement.audience != view.origin:
        raise Refuted("rule/audience", f"meant for log {statement.audience}, this is {view.origin}")
    if (log.log.rules, log.log.rules_digest) != (RULES, RULES_DIGEST):
        raise Unavailable("rule/unknown-rules", f"rule set {log.log.rules} is in force, known here is {RULES}")
    _check_going_on(log, position, statement)

    issuer = _issuer(view, statement)
    _check_key(issuer, position, statement)
    effects = Effects()
    # Every statement moves the log's head: the greatest claim of time binds the next epoch.
    claims = [statement.issued_at]
    if isinstance(statement.payload, Tombstone):
        claims.append(statement.payload.erased_at)
    effects.parties[view.origin] = replace(log, log=replace(log.log, latest=max(log.log.latest, *claims)))
    _advance(view, effects, issuer, position, statement)
    _apply(view, effects, position, statement, rows)
    return effects


def _begin(position: int, statement: Statement, log: Log) -> Effects:
    """Judge log/1: entry 0, signed by its own key."""
    own = issuer_of(log.origin)
    if position != 0 or statement.seq != 0 or statement.about is not None:
        raise Conflict("rule/genesis", "log/1 is entry 0, with seq 0, about nobody, and stands nowhere else")
    if (statement.issuer, statement.stream, statement.audience) != (own, own, log.origin):
        raise Refuted("rule/genesis", f"log/1 of {log.origin} has other names in its claims")
    ed25519 = (log.statements, log.receipts, log.note_ed25519)
    if len(set(ed25519)) != len(ed25519):
        raise Malformed("rule/genesis", "the log's keys for statements, receipts and notes must differ")
    for key in ed25519:
        keys.check_public_key(key)
    if statement.kid != keys.thumbprint(log.statements):
        raise Untrusted("rule/key", "log/1 is signed by the statements key it names")
    statement.verify_signature(log.statements)
    head = PartyHead(
        party=log.origin,
        role="log",
        status=ACTIVE,
        admitted=0,
        own=1,
        recovery=0,
        keys=(KeyItem(log.statements, "sign", 0, None),),
        vrf=(),
        systems_count=0,
        systems_root=ZERO,
        entries=0,
        chain=ZERO,
        log=LogPart(0, 0, statement.issued_at, RULES, RULES_DIGEST),
    )
    return Effects(parties={log.origin: head.with_entry(0, statement.leaf)})


def final_size(log: PartyHead) -> int | None:
    """Return the size at which a log ends, from its own head; None while it goes on."""
    return log.keys[0].until if log.status == ENDED else None


def has_ended(view: View) -> bool:
    """Tell whether the log has ended; the epoch that commits it may be still to come."""
    log = view.party(view.origin)
    return log is not None and final_size(log) is not None


def _check_going_on(log: PartyHead, position: int, statement: Statement) -> None:
    size = final_size(log)
    if size is not None and (position != size - 1 or not isinstance(statement.payload, Epoch)):
        raise Conflict("rule/log-ended", f"{log.party} has ended with {size} entries; nothing comes after them")


def _issuer(view: View, statement: Statement) -> PartyHead:
    party = statement.issuer.removeprefix("https://")
    head = view.party(party) if issuer_of(party) == statement.issuer else None
    if head is None:
        raise Untrusted("rule/issuer", f"{statement.issuer} is not admitted to this log")
    if head.status == ENDED and head.log is None:
        raise Conflict("rule/party-ended", f"{party} has ended; its state is frozen")
    return head


def _check_key(issuer: PartyHead, position: int, statement: Statement) -> None:
    use = "recover" if statement.stream == statement.issuer + RECOVERY else "sign"
    item = next((item for item in issuer.keys if keys.thumbprint(item.key) == statement.kid), None)
    if item is None:
        raise Untrusted("rule/key", f"{issuer.party} has no key with kid {statement.kid.hex()}")
    if item.use != use:
        raise Untrusted("rule/key-use", f"this stream wants a key admitted to {use}, the key may {item.use}")
    if not item.verifies(position):
        end = "now" if item.until is None else item.until
        raise Untrusted("rule/key-interval", f"the key is in force from {item.from_} to {end}, not at {position}")
    statement.verify_signature(item.key)


def _advance(view: View, effects: Effects, issuer: PartyHead, position: int, statement: Statement) -> None:
    """Check the stream, the seq and whom it is about; count the entry for everybody it belongs to."""
    issuer = effects.parties.get(issuer.party, issuer)
    is_log = issuer.party == view.origin
    payload = statement.payload
    if statement.stream == statement.issuer:
        if isinstance(payload, (Hold, Tombstone)):
            raise Conflict("rule/stream", f"{payload.KIND} belongs to the stream of a system")
        _check_seq(issuer.own, statement)
        changes = {"own": issuer.own + 1}
    elif statement.stream == statement.issuer + RECOVERY:
        if not isinstance(payload, (Keys, PartyEnd)) or is_log:
            raise Conflict("rule/stream", f"a recovery key cannot sign {payload.KIND}")
        _check_seq(issuer.recovery, statement)
        changes = {"recovery": issuer.recovery + 1}
    else:
        if not isinstance(payload, (Hold, Tombstone)):
            raise Conflict("rule/stream", f"{payload.KIND} does not belong to the stream of a system")
        system = _system(view, (issuer.party, statement.stream))
        _check_seq(system.entries, statement)
        changes = {}
    effects.parties[issuer.party] = issuer.with_entry(position, statement.leaf, **changes)

    if statement.about is None:
        return
    if not is_log:
        raise Conflict("rule/about", "only the log speaks about others in this rule set")
    if isinstance(payload, Party):
        return  # the party begins with this entry
    about = view.party(statement.about)
    if about is None or about.party == view.origin:
        raise Conflict("rule/about", f"{statement.about} is not an admitted party")
    effects.parties[about.party] = about.with_entry(position, statement.leaf)


def _apply(view: View, effects: Effects, position: int, statement: Statement, rows: RowFile | None) -> None:
    party = statement.issuer.removeprefix("https://")
    issuer = effects.parties[party]
    payload = statement.payload
    by_log = issuer.role == "log"
    match payload:
        case Epoch() | Policy() | Party():
            if not by_log:
                raise Conflict("rule/role", f"only the log signs {payload.KIND}")
            if not isinstance(payload, Party) and statement.about is not None:
                raise Conflict("rule/about", f"{payload.KIND} is about nobody")
            if isinstance(payload, Epoch):
                _epoch(view, effects, issuer, statement, payload)
            elif isinstance(payload, Policy):
                _policy(effects, issuer, payload)
            else:
                _admit(view, effects, position, statement, payload)
        case Keys() | PartyEnd():
            ends_log = by_log and statement.about is None and isinstance(payload, PartyEnd)
            if by_log == (statement.about is None) and not ends_log:
                raise Conflict("rule/about", f"{payload.KIND} of the log is about a party; a party's is about nobody")
            target = effects.parties[statement.about or party]
            if target.status == ENDED:
                raise Conflict("rule/party-ended", f"{target.party} has ended; its state is frozen")
            by_recovery = statement.stream != statement.issuer
            if isinstance(payload, PartyEnd):
                if not by_log and not by_recovery:
                    raise Untrusted("rule/key-use", "a party ends itself with a recovery key")
                until = position + 2  # after this entry and the epoch that commits it, the log's key signs nothing
                items = tuple(replace(item, until=until) for item in target.keys) if ends_log else target.keys
                effects.parties[target.party] = replace(target, status=ENDED, keys=items)
            else:
                _keys(view, effects, target, position, payload, by_log=by_log, by_recovery=by_recovery)
        case Systems():
            _check_holder(issuer, payload.KIND)
            _systems(view, effects, issuer, payload)
        case Hold() | Tombstone():
            _check_holder(issuer, payload.KIND)
            _rows(view, effects, (party, statement.stream), position, statement, payload, rows)
        case Log():
            raise Conflict("rule/genesis", "log/1 is entry 0 and stands nowhere else")
        case _:
            assert_never(payload)


def _epoch(view: View, effects: Effects, issuer: PartyHead, statement: Statement, epoch: Epoch) -> None:
    # `latest` as it stood before this entry, whose own iat equals its time.
    log = issuer.log
    before = view.party(view.origin)
    if log is None or before is None or before.log is None:
        raise Conflict("rule/role", "only the log signs epoch/1")
    if epoch.number != log.epochs:
        raise Conflict("rule/epoch-number", f"epoch {epoch.number}, the next is {log.epochs}")
    if epoch.time != statement.issued_at:
        raise Conflict("rule/epoch-time", f"epoch time {epoch.time} is not its iat {statement.issued_at}")
    if epoch.time <= log.time:
        raise Conflict("rule/epoch-time", f"epoch time {epoch.time} is not after {log.time}")
    if epoch.time + view.limits.skew < before.log.latest:
        raise Conflict(
            "rule/epoch-time",
            f"epoch time {epoch.time} is over {view.limits.skew} s before a claim of {before.log.latest}",
        )
    if epoch.root != (want := view.top_root()):
        raise Refuted("rule/epoch-root", f"top root {epoch.root.hex()}, the entries lead to {want.hex()}")
    after = replace(log, epochs=log.epochs + 1, time=epoch.time, latest=0)
    effects.parties[issuer.party] = replace(issuer, log=after)


def _policy(effects: Effects, issuer: PartyHead, policy: Policy) -> None:
    if issuer.log is None:
        raise Conflict("rule/role", "only the log signs policy/1")
    after = replace(issuer.log, rules=policy.name, rules_digest=policy.digest)
    effects.parties[issuer.party] = replace(issuer, log=after)


def _admit(view: View, effects: Effects, position: int, statement: Statement, party: Party) -> None:
    if statement.about != party.id:
        raise Conflict("rule/about", f"party/1 of {party.id} is about {statement.about}")
    if party.id == view.origin or view.party(party.id) is not None:
        raise Conflict("rule/party-exists", f"{party.id} is admitted already; an id is admitted once")
    if (len(party.vrf) == 1) != (party.role == "holder"):
        raise Malformed("rule/vrf", "a holder has one VRF series, others have none")
    if {key.use for key in party.keys} != {"sign", "recover"}:
        raise Malformed("rule/keys", "a party begins with at least one signing and one recovery key")
    head = PartyHead(
        party=party.id,
        role=party.role,
        status=ACTIVE,
        admitted=position,
        own=0,
        recovery=0,
        keys=_with_new_keys((), party.keys, position, possession_message(view.origin, party.id, party)),
        vrf=tuple((series.suite, series.hash) for series in party.vrf),
        systems_count=0,
        systems_root=ZERO,
        entries=0,
        chain=ZERO,
    )
    effects.parties[party.id] = head.with_entry(position, statement.leaf)


def _keys(
    view: View, effects: Effects, target: PartyHead, position: int, change: Keys, *, by_log: bool, by_recovery: bool
) -> None:
    if by_log and change.add:
        raise Conflict("rule/keys", "the log only revokes keys of others")
    if not by_recovery and any(new.use == "recover" for new in change.add):
        raise Untrusted("rule/key-use", "a recovery key is added by a recovery key")
    items = _with_new_keys(target.keys, change.add, position, possession_message(view.origin, target.party, change))
    for kid in change.revoke:
        at = next((n for n, item in enumerate(items) if keys.thumbprint(item.key) == kid), None)
        if at is None or items[at].until is not None:
            raise Conflict("rule/keys", f"kid {kid.hex()} is not a key of {target.party} that is in force")
        if items[at].use == "recover" and not by_recovery and not by_log:
            raise Untrusted("rule/key-use", "a signing key cannot revoke a recovery key")
        items = (*items[:at], replace(items[at], until=position + 1), *items[at + 1 :])
    if {item.use for item in items if item.until is None} != {"sign", "recover"}:
        raise Conflict("rule/last-key", "the last signing key and the last recovery key cannot be revoked")
    effects.parties[target.party] = replace(target, keys=items)


def _with_new_keys(
    items: tuple[KeyItem, ...], new_keys: Sequence[NewKey], position: int, message: Hash
) -> tuple[KeyItem, ...]:
    known = {item.key for item in items}
    for new in new_keys:
        if new.key in known:
            raise Conflict("rule/keys", "a key is admitted once, revoked ones included")
        keys.check_public_key(new.key)
        try:
            keys.verify_ed25519(new.key, message, new.proof)
        except Refuted:
            kid = keys.thumbprint(new.key).hex()
            raise Refuted("rule/possession", f"the proof of possession of key {kid} does not verify") from None
        known.add(new.key)
    if len(known) > MAX_KEYS:
        raise Conflict("rule/keys", f"{len(known)} keys, a party has at most {MAX_KEYS}, revoked ones included")
    return items + tuple(KeyItem(new.key, new.use, position + 1, None) for new in new_keys)


def _systems(view: View, effects: Effects, issuer: PartyHead, statement: Systems) -> None:
    registered = 0
    for descriptor in statement.systems:
        name = (issuer.party, descriptor.id)
        head = view.system(name)
        if head is None:
            if descriptor.retired:
                raise Conflict("rule/system-retired", f"{descriptor.id} cannot begin retired")
            head = SystemHead(descriptor.id, ACTIVE, descriptor.digest(), ZERO, 0, 0, 0, 0, ZERO)
            registered += 1
        else:
            _check_descriptor(view.descriptor(name), head, descriptor)
            head = replace(head, descriptor=descriptor.digest(), status=RETIRED if descriptor.retired else head.status)
        effects.systems[name] = head
        effects.descriptors[name] = descriptor
    effects.parties[issuer.party] = replace(issuer, systems_count=issuer.systems_count + registered)


def _check_descriptor(old: Descriptor, head: SystemHead, new: Descriptor) -> None:
    if old.retired:
        raise Conflict("rule/system-retired", f"{new.id} is retired; its descriptor is final")
    if (old.kind, old.locators) != (new.kind, new.locators):
        raise Conflict("rule/system-fixed", f"{new.id}: kind and locators never change; register another system")
    if old.backup_cycle is not None and (new.backup_cycle is None or new.backup_cycle > old.backup_cycle):
        raise Conflict("rule/backup-cycle", f"{new.id}: a backup cycle only shrinks")
    if new.retired and head.held:
        raise Conflict("rule/still-held", f"{new.id} still holds {head.held}; erase them before it is retired")


def _rows(
    view: View,
    effects: Effects,
    name: SystemId,
    position: int,
    statement: Statement,
    payload: Hold | Tombstone,
    rows: RowFile | None,
) -> None:
    system = _system(view, name)
    if system.status == RETIRED:
        raise Conflict("rule/system-retired", f"{name[1]} is retired")
    # Before the file is asked for: what is too large is refused, not undecided, wherever it is.
    if payload.count > view.limits.rows:
        raise Malformed("rows/size", f"{payload.count} rows, this log takes {view.limits.rows}")
    if rows is UNSEEN:
        chain = extend_chain(system.chain, position, statement.leaf)
        effects.systems[name] = replace(system, entries=system.entries + 1, chain=chain)
        return
    if rows is None:
        raise Unavailable("rows/missing", f"row file {payload.root.hex()} is not stored")
    rows.check(payload.count, payload.root)
    map_keys = rows.map_keys()
    old = view.states(name, map_keys)
    change = _hold if isinstance(payload, Hold) else _erase
    states, held, erased, reheld = change(position, rows.commitments, old)
    effects.states[name] = dict(zip(map_keys, states, strict=True))
    effects.old = old
    effects.systems[name] = replace(
        system,
        held=system.held + held,
        erased=system.erased + erased,
        reheld=system.reheld + reheld,
        entries=system.entries + 1,
        chain=extend_chain(system.chain, position, statement.leaf),
    )


def _hold(position: int, commitments: Sequence[Hash], old: Sequence[bytes | None]) -> tuple[list[bytes], int, int, int]:
    """Return the new states and the changes of held, erased and reheld."""
    states: list[bytes] = []
    already: list[int] = []
    fresh = reheld = 0
    tail = position.to_bytes(8, "big")
    begin = b"\x01" + (1).to_bytes(4, "big") * 2 + tail
    if old.count(None) == len(old):
        return [begin + new for new in commitments], len(old), 0, 0
    for row, (new, state) in enumerate(zip(commitments, old, strict=True)):
        if state is None:
            fresh += 1
            states.append(begin + new)
        elif state[0] == HELD:
            if state[17:] == new:
                already.append(row)
            states.append(pack_state(HELD, _u32(state, 1), _next(state, 5), position, new))
        elif state[0] == ERASED:
            reheld += 1
            states.append(pack_state(HELD, _next(state, 1), 1, position, new))
        else:
            raise Unavailable("rule/unknown-status", f"status {state[0]} belongs to a rule set not known here")
    if already:
        raise Conflict(
            "rule/already-held", f"{len(already)} rows are held with this very commitment", rows=already[:16]
        )
    return states, fresh + reheld, -reheld, reheld


def _erase(
    position: int, commitments: Sequence[Hash], old: Sequence[bytes | None]
) -> tuple[list[bytes], int, int, int]:
    """Return the new states and the changes of held, erased and reheld."""
    states: list[bytes] = []
    absent: list[int] = []
    other: list[int] = []
    tail = position.to_bytes(8, "big")
    for row, (new, state) in enumerate(zip(commitments, old, strict=True)):
        if state is not None and state[0] not in (HELD, ERASED):
            raise Unavailable("rule/unknown-status", f"status {state[0]} belongs to a rule set not known here")
        if state is None or state[0] == ERASED:
            absent.append(row)
        elif state[17:] != new:
            other.append(row)
        else:
            states.append(b"\x02" + state[1:9] + tail + new)
    if absent:
        raise Conflict("rule/not-held", f"{len(absent)} rows are not held", rows=absent[:16])
    if other:
        raise Conflict(
            "rule/commitment-mismatch", f"{len(other)} rows are held with another commitment", rows=other[:16]
        )
    return states, -len(states), len(states), 0


def _check_seq(want: int, statement: Statement) -> None:
    if statement.seq != want:
        raise Conflict("rule/seq", f"seq {statement.seq}, the next in stream {statement.stream} is {want}")


def _check_holder(issuer: PartyHead, kind: str) -> None:
    if issuer.role != "holder":
        raise Conflict("rule/role", f"{issuer.role} {issuer.party} cannot sign {kind}")


def _system(view: View, name: SystemId) -> SystemHead:
    head = view.system(name)
    if head is None:
        raise Conflict("rule/system", f"{name[0]} has not registered a system {name[1]}")
    return head


def _u32(state: bytes, at: int) -> int:
    return int.from_bytes(state[at : at + 4], "big")


def _next(state: bytes, at: int) -> int:
    value = _u32(state, at)
    if value == MAX_COUNTER:
        raise Conflict("rule/counter", "a generation or version has reached its end")
    return value + 1
