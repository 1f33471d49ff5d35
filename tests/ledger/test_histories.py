"""Random histories: the rules, their slow model and the stateless checker never disagree."""

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attest.errors import AttestError
from attest.formats.rows import RowFile
from attest.formats.statement import Epoch, Hold, Statement, Tombstone
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.rules import RULES, RULES_DIGEST
from attest.ledger.transition import Anchor, prove_refused, verify_transition
from tests.ledger import model
from tests.ledger.log import MAPS, ORIGIN, Log, descriptor, rows_of
from tests.ledger.model import Refused

steady = settings(derandomize=True, deadline=None, max_examples=30, database=None)

ROLES = {"acme.example": "holder", "beta.example": "holder", "court.example": "auditor"}
PARTIES = list(ROLES)
SYSTEMS = ["bak", "db", "idle"]
KEYS = ["one", "two", "three"]
KINDS = ["admit", "systems", "hold", "tombstone", "add", "revoke", "end", "policy", "epoch"]

# Mostly sensible numbers, so that histories get somewhere.
small = st.integers(0, 2)
slips = st.sampled_from([0] * 12 + [-1, 1])
actions = st.tuples(
    st.sampled_from(KINDS + ["hold", "tombstone", "tombstone"] * 2 + ["epoch"]),
    small,
    small,
    st.integers(1, 63),
    small,
    slips,
)
BEGINNING = [
    ("epoch", 0, 0, 1, 0, 0),
    ("admit", 0, 0, 1, 0, 0),
    ("admit", 1, 0, 1, 0, 0),
    ("admit", 2, 0, 1, 0, 0),
    ("systems", 0, 0, 7, 0, 0),
    ("systems", 1, 0, 7, 0, 0),
    ("hold", 0, 0, 21, 0, 0),
    ("hold", 0, 1, 63, 0, 0),
    ("hold", 1, 1, 63, 0, 0),
    ("hold", 1, 2, 63, 0, 0),
    ("epoch", 0, 0, 1, 0, 0),
]


def statement(log, action):
    """Turn numbers into a statement, which may well be refused."""
    kind, a, b, bits, c, slip = action
    party, system = PARTIES[a], SYSTEMS[b]
    numbers = [n for n in range(6) if bits >> n & 1]
    stream, by, key = None, party, None
    if kind == "admit":
        payload, by = log.party(party, ROLES[party]), None
    elif kind == "systems":
        chosen = [name for n, name in enumerate(SYSTEMS) if bits >> n & 1] or [system]
        cycle = [None, 3600, 60][c]
        shown = [descriptor(name, backup_cycle=cycle, retired=slip == 0 and bits > 55) for name in chosen]
        payload = {"kind": "systems/1", "systems": shown}
    elif kind == "hold":
        payload, stream = log.hold_fields(rows_of(*numbers, version=c)), system
    elif kind == "tombstone":
        rows = rows_of(*numbers, version=c)
        live = {index: new for index, new in rows.items() for new in held(log, party, system, index)}
        payload, stream = log.tombstone_fields(live if c and live else rows), system
    elif kind == "policy":
        payload, by = {"kind": "policy/1", "name": RULES, "digest": RULES_DIGEST}, None
    elif kind == "end":
        payload, by, stream = {"kind": "party-end/1"}, party, "#recovery"
        if c == 2:
            payload, by, stream = {"kind": "party-end/1", "about": party}, None, None
            if bits % 4 == 3:  # the log itself
                del payload["about"]
    else:
        by_log, stream = c == 2 and bits % 3 == 0, "#recovery" if c else None
        names = {} if kind == "revoke" else {KEYS[b]: "recover" if c and bits & 1 else "sign"}
        gone = [KEYS[b], party, party + " recover"][bits // 3 % 3]
        payload = log.key_change(party, [gone] if kind == "revoke" else [], about=by_log, **names)
        by, stream = (None, None) if by_log else (party, stream)
    if slip:
        payload["seq"] = max(0, log.seq(by or ORIGIN, stream) + slip)
    # Now and then another key of the party, or another's.
    if stream != "#recovery" and by and bits % 11 == 6:
        key = KEYS[b]
    return log.sign(payload, by, stream=stream, key=key)


def held(log, party, system, index):
    """The commitment held under an index, in a list; none if nothing is."""
    state = log.model.states.get((party, system), {}).get(model.map_key(index))
    return [state[17:]] if state and state[0] == 1 else []


def offer(log, found):
    """Offer a statement to everybody; they must agree, and what one takes all take."""
    file = log._file_of(found)
    try:
        log.model.copy().take(found.entry, file)
    except Refused:
        before = log.draft.close().root
        with pytest.raises(AttestError) as whole:
            log.draft.add(found, None if file is None else RowFile.parse(file))
        with pytest.raises(AttestError) as stateless:
            verify_transition(log.force(found.entry), log.anchor, log.rows)
        assert whole.value.code == stateless.value.code
        entries = [*log.pending, found.entry, log.encode(log.epoch_fields())]
        proof = prove_refused(log.ledger, log.draft, entries, None if file is None else RowFile.parse(file))
        with pytest.raises(AttestError) as shown:
            verify_transition(proof, log.anchor, log.rows)
        assert shown.value.code == whole.value.code
        assert log.draft.close().root == before
        return
    log.add(found)


@pytest.mark.parametrize("maps", MAPS)
@steady
@given(st.lists(actions, min_size=5, max_size=25))
@example([("end", 0, 0, 3, 2, 0), *BEGINNING[1:], BEGINNING[0], *BEGINNING])  # the log itself
def test_every_reader_of_a_history_agrees(maps, history):
    """Same refusals, same heads, same states, same roots and proofs, epoch by epoch; then replayed from the entries."""
    log = Log(MAPS[maps])
    for action in [*BEGINNING, *history, ("epoch", 0, 0, 1, 0, 0)]:
        if action[0] != "epoch":
            offer(log, statement(log, action))
        elif not log.closed:
            log.epoch()

    replay(log)
    recount(log)


def replay(log):
    """Entries and row files alone lead to the same ledger."""
    ledger = Ledger(log.ledger.new_map)
    draft = Draft(ledger)
    for entry in log.model.entries:
        found = Statement.parse(entry)
        if isinstance(found.payload, Epoch):
            ledger = ledger.advance(draft, found)
            draft = Draft(ledger)
        else:
            rows = isinstance(found.payload, Hold | Tombstone)
            draft.add(found, RowFile.parse(log.files[found.payload.root]) if rows else None)
    assert (ledger.size, ledger.frontier, ledger.top.root) == (
        log.ledger.size,
        log.ledger.frontier,
        log.ledger.top.root,
    )
    anchor = Anchor.empty()
    for proof in log.proofs:
        anchor = verify_transition(proof, anchor, log.rows)
    assert anchor == log.anchor


def recount(log):
    """Counters and chains, from the entries as they lie there."""
    chains, counts, last = {}, {}, len(log.model.entries) - 1
    for position, entry in enumerate(log.model.entries[:last]):
        protected, _, body, _ = cbor2.loads(entry).value
        claims, payload = cbor2.loads(protected)[15], cbor2.loads(body)
        issuer = claims[1].removeprefix("https://")
        belongs = [issuer] + ([payload["about"]] if payload.get("about", issuer) != issuer else [])
        belongs += [(issuer, claims[2])] if payload["kind"] in ("hold/1", "tombstone/1") else []
        for name in belongs:
            step = position.to_bytes(8, "big"), model.leaf(entry)
            chains[name] = model.label("chain", chains.get(name, bytes(32)), *step)
            counts[name] = counts.get(name, 0) + 1
    for name, head in [*log.ledger.parties.items(), *log.ledger.systems.items()]:
        assert (head.entries, head.chain) == (counts.get(name, 0), chains.get(name, bytes(32)))
    for name, head in log.ledger.systems.items():
        statuses = [state[0] for state in log.model.states[name].values()]
        assert (head.held, head.erased) == (statuses.count(1), statuses.count(2))
        again = sum(int.from_bytes(state[1:5], "big") - 1 for state in log.model.states[name].values())
        assert head.reheld == again


def test_histories_reach_what_they_are_for():
    """The beginning of every history is accepted, so that what follows meets parties, systems and rows."""
    log = Log()
    for action in BEGINNING:
        if action[0] == "epoch":
            log.epoch()
        else:
            log.add(statement(log, action))
    assert log.ledger.systems["beta.example", "db"].held == 6
