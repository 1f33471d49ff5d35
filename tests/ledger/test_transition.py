"""Transition proofs by an operator who has all the keys and lies: none is accepted with another outcome."""

from collections.abc import Callable
from functools import cache
from itertools import chain, combinations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.encoding import decode_cbor
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats.statement import Statement
from attest.ledger.transition import Anchor, verify_transition
from tests import reference
from tests.ledger import model
from tests.ledger.log import ORIGIN, Log, descriptor, row_of, rows_of
from tests.ledger.model import Key, Model, Refused

steady = settings(derandomize=True, deadline=None, max_examples=300, database=None)

ACME, BETA, COURT = "acme.example", "beta.example", "court.example"
DB, BAK = (ACME, "db"), (ACME, "bak")


@cache
def stage():
    """A log with a past, and an epoch begun in which something happens to most things there are."""
    log = Log()
    log.epoch()
    log.admit(ACME)
    log.admit(BETA)
    log.admit(COURT, "authority")
    log.systems(ACME, descriptor("bak", "backup", backup_cycle=86_400), descriptor("db"), descriptor("idle"))
    log.epoch()
    log.hold(ACME, "db", rows_of(1, 2, 3, 4, 6))
    log.hold(ACME, "bak", rows_of(1))
    log.keys(ACME, more="sign")
    log.epoch()
    log.tombstone(ACME, "db", rows_of(3, 6))
    log.systems(BETA, descriptor("crm"))
    log.epoch()
    return log


def busy():
    log = stage().copy()
    log.hold(ACME, "db", rows_of(3, 5) | row_of(2, 1))
    log.tombstone(ACME, "db", rows_of(1))
    log.systems(ACME, descriptor("bak", "backup", backup_cycle=3600))
    log.keys(ACME, ["more"])
    log.end(COURT, by_log=True)
    log.admit("new.example", "auditor")
    return log


def refused(log, proof, rows=None):
    """Check that a proof is refused, with an error of ours, and return the code."""
    encoded = proof if isinstance(proof, bytes) else model.det(proof)
    with pytest.raises(AttestError) as caught:
        verify_transition(encoded, log.anchor, rows or log.rows)
    return caught.value.code


def never_otherwise(log, encoded, honest):
    """Check that a proof is refused or leads to the very anchor that the honest one leads to."""
    try:
        found = verify_transition(encoded, log.anchor, log.rows)
    except AttestError:
        return
    assert found == honest


@cache
def honest():
    """The stage, one honest proof from it as a map, and where it leads."""
    log = busy()
    proof = log.force_map(epoch=log.sign_epoch().entry)
    return log, proof, verify_transition(model.det(proof), log.anchor, log.rows)


# --- damage ---


@cache
def small():
    """A log, an honest proof of an epoch with one hold, and where it leads."""
    log = stage().copy()
    log.hold(ACME, "db", rows_of(3))
    proof = log.force(epoch=log.sign_epoch().entry)
    return log, proof, verify_transition(proof, log.anchor, log.rows)


@pytest.mark.parametrize("part", range(8))
def test_no_flipped_bit_changes_the_outcome(part):
    """Every byte of a proof, one bit each."""
    log, proof, anchor = small()
    for at in range(part, len(proof), 8):
        damaged = bytearray(proof)
        damaged[at] ^= 1 << at // 8 % 8
        never_otherwise(log, bytes(damaged), anchor)


def test_no_cut_is_accepted():
    """A proof that ends early, at any byte, or goes on after its end."""
    log, proof, _ = small()
    for at in range(len(proof)):
        assert refused(log, proof[:at]).startswith("cbor/")
    assert refused(log, proof + b"\x00") == "cbor/trailing"


def places(value, path=()):
    """Every place in a decoded proof."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def replaced(value, path, new):
    """Return a copy with the value at `path` replaced, or left out if `new` is None twice over."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = replaced(value[path[0]], path[1:], new)
    return copied


@steady
@given(st.data())
def test_no_exchange_of_parts_changes_the_outcome(data):
    """Parts of proofs in the place of others: of this proof, of those before it, of other types, cut or doubled."""
    log, proof, anchor = honest()
    donors = [proof, *map(decode_cbor, log.proofs)]
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(places(proof))[1:]))
        donor = data.draw(st.sampled_from(donors))
        old = at(proof, path)
        same = [other for other in (at(donor, place) for place in places(donor)) if type(other) is type(old)]
        choice = st.sampled_from([*same, None, 0, 1, b"", b"\x00", "", [], {}])
        if isinstance(old, bytes):
            choice |= st.integers(0, len(old)).map(lambda n, old=old: old[:n] + old[n + 1 :])
        if isinstance(old, list):
            choice |= st.permutations(old) | st.just(old * 2) | st.just(old[1:]) | st.just(old[:-1])
        proof = replaced(proof, path, data.draw(choice))
    never_otherwise(log, model.det(proof), anchor)


# --- where a proof starts ---


def test_a_proof_starts_where_the_checker_stands():
    """Not at an earlier epoch, not at a later one, not in another log, not from nothing."""
    log, proof, _ = honest()
    elsewhere = Log(origin="other.example/log")
    elsewhere.epoch()
    for old in log.proofs:
        assert refused(log, old) == "transition/start"
    with pytest.raises(Refuted):
        verify_transition(model.det(proof), Anchor.empty(), log.rows)
    with pytest.raises(Refuted):
        verify_transition(model.det(proof), elsewhere.anchor, log.rows)


def test_a_fork_is_refused():
    """Two epochs follow one; who checked one of them does not take what follows the other."""
    log = stage().copy()
    fork = log.copy()
    log.hold(ACME, "db", rows_of(7))
    log.epoch()
    fork.hold(ACME, "db", rows_of(8))
    fork.epoch()
    fork.epoch()
    assert refused(log, fork.proofs[-1]) == "transition/start"


def test_the_past_is_not_restated():
    """Another size, frontier or previous epoch entry than the one checked last."""
    log, proof, _ = honest()
    hashes = proof["frontier"]
    others = [decode_cbor(old)["entries"][-1] for old in log.proofs[:-1]]
    forged = Statement.parse(log.encode({**log.epoch_fields(), "number": 3, "root": bytes(32)}))
    for changed in (
        {"size": proof["size"] - 1},
        {"size": proof["size"] + 1},
        {"size": 0, "frontier": []},
        {"frontier": hashes[:-1]},
        {"frontier": [*hashes, bytes(32)]},
        {"frontier": [bytes(32), *hashes[1:]]},
        {"frontier": [b"", *hashes[1:]]},
        {"previous": None},
        {"previous": proof["entries"][0]},
        {"previous": proof["entries"][-1]},
        {"previous": forged.entry},
        *({"previous": other} for other in others),
    ):
        assert refused(log, {**proof, **changed}).startswith("transition/")


def test_the_first_proof_starts_from_nothing():
    """From the empty map, with log/1."""
    log = Log()
    proof = decode_cbor(log.epoch())
    fresh = Log(begin=False)
    assert verify_transition(model.det(proof), Anchor.empty(), log.rows) == log.anchor
    leaf = b"\x02" + bytes(64)
    assert refused(fresh, {**proof, "top": leaf}) == "transition/root"
    assert refused(fresh, {**proof, "entries": proof["entries"][1:]}) == "rule/genesis"
    assert refused(fresh, {**proof, "entries": proof["entries"][:1]}) == "transition/entries"


# --- lies about state, told consistently ---


def change_state(name, n, new):
    """Set or take away the state of row `n` in a system, as if it had always been so."""

    def lie(state: Model):
        key = model.map_key(next(iter(row_of(n))))
        old = state.states[name].pop(key, None)
        found = new(old) if callable(new) else new
        if found is not None:
            state.states[name][key] = found
        state.systems[name]["root"] = reference.node(state.bindings(name))

    return lie


def head(name, **changed):
    """Change fields of a party's or system's head; a callable gets the old value."""

    def lie(state: Model):
        found = state.systems[name] if isinstance(name, tuple) else state.parties[name]
        for field, new in changed.items():
            found[field] = new(found[field]) if callable(new) else new

    return lie


def drop_system(name, *, miscount=False):
    def lie(state: Model):
        for part in (state.systems, state.descriptors, state.states):
            del part[name]
        state.parties[name[0]]["systems"]["count"] -= 0 if miscount else 1

    return lie


def drop_party(name):
    def lie(state: Model):
        del state.parties[name]

    return lie


def extra_party(state: Model):
    state.parties["ghost.example"] = {**state.parties[BETA], "party": "ghost.example"}


def extra_system(state: Model):
    name = (ACME, "ghost")
    state.systems[name] = {**state.systems[DB], "system": "ghost"}
    state.descriptors[name], state.states[name] = state.descriptors[DB], {}
    state.parties[ACME]["systems"]["count"] += 1


def swap_systems(state: Model):
    for part in (state.systems, state.states):
        part[DB], part[BAK] = part[BAK], part[DB]


def redescribe(state: Model):
    new = {**state.descriptors[DB], "locators": ["phone"]}
    state.descriptors[DB] = new
    state.systems[DB]["descriptor"] = model.label("descriptor", model.det(new))


def regrow(state: Model):
    new = {**state.descriptors[BAK], "backup_cycle": 2**40}
    state.descriptors[BAK] = new
    state.systems[BAK]["descriptor"] = model.label("descriptor", model.det(new))


def old_head(name):
    """Replay the head of an earlier epoch."""

    def lie(state: Model):
        past = Model(state.rules_digest)
        for entry in state.entries[:10]:
            past.take(entry, stage().files.get(cbor2.loads(cbor2.loads(entry).value[2]).get("root", b"")))
        which = "systems" if isinstance(name, tuple) else "parties"
        getattr(state, which)[name] = getattr(past, which)[name]

    return lie


def with_keys(change):
    return head(ACME, keys=lambda keys: [change(dict(key)) for key in keys])


def planted(keys):
    return [*keys, {"key": Key("thief").public, "use": "sign", "from": 1, "until": None}]


def more(n):
    return lambda old: old + n


LIES: dict[str, Callable[[Model], None]] = {
    "omit a held record": change_state(DB, 2, None),
    "omit a record that is touched": change_state(DB, 1, None),
    "omit an untouched record": change_state(DB, 4, None),
    "omit an erased record": change_state(DB, 3, None),
    "invent a held record": change_state(DB, 77, model.pack(1, 1, 1, 9, bytes(32))),
    "an erased record is held": change_state(DB, 6, lambda old: b"\x01" + (old or bytes(49))[1:]),
    "a held record is erased": change_state(DB, 4, lambda old: b"\x02" + (old or bytes(49))[1:]),
    "an unknown status": change_state(DB, 4, lambda old: b"\x05" + (old or bytes(49))[1:]),
    "another commitment": change_state(DB, 1, lambda old: (old or bytes(49))[:17] + bytes(32)),
    "another position": change_state(DB, 4, lambda old: (old or bytes(49))[:16] + b"\x01" + (old or bytes(49))[17:]),
    "another generation": change_state(DB, 3, lambda old: b"\x02" + bytes(4) + (old or bytes(49))[5:]),
    "fewer held": head(DB, held=more(-1)),
    "more held": head(DB, held=more(1)),
    "nothing held": head(DB, held=0),
    "fewer erased": head(DB, erased=0),
    "more reheld": head(DB, reheld=more(1)),
    "a system's seq ahead": head(DB, entries=more(1)),
    "a system's seq behind": head(DB, entries=more(-1)),
    "a system's chain": head(DB, chain=bytes(32)),
    "a system's chain extended twice": head(DB, chain=lambda old: model.label("chain", old, bytes(8), bytes(32))),
    "a system retired": head(DB, status=2),
    "a system of an unknown extension": head(DB, other=bytes([1] * 32)),
    "the map of an empty system": head(DB, root=bytes(32)),
    "the map of another system": lambda state: state.systems[DB].update(root=state.systems[BAK]["root"]),
    "an untouched system's count": head((ACME, "idle"), held=more(1)),
    "drop a system": drop_system((ACME, "idle")),
    "drop a touched system": drop_system(DB),
    "drop a system, keep the count": drop_system((ACME, "idle"), miscount=True),
    "invent a system": extra_system,
    "swap two systems": swap_systems,
    "another descriptor": redescribe,
    "a backup cycle grown": regrow,
    "replay a system's old head": old_head(DB),
    "replay a party's old head": old_head(ACME),
    "replay the log's old head": old_head(ORIGIN),
    "drop a party": drop_party(BETA),
    "drop a party spoken about": drop_party(COURT),
    "invent a party": extra_party,
    "own seq ahead": head(ACME, own=more(1)),
    "own seq behind": head(ACME, own=more(-1)),
    "recovery seq ahead": head(ACME, recovery=more(1)),
    "a party's chain": head(ACME, chain=bytes(32)),
    "a party's entries": head(ACME, entries=more(1)),
    "the chain of one spoken about": head(COURT, chain=bytes(32)),
    "an untouched party's entries": head(BETA, entries=more(1)),
    "a party ended": head(ACME, status=2),
    "a party of another role": head(COURT, role="holder"),
    "a party admitted elsewhere": head(ACME, admitted=1),
    "a key from the beginning": with_keys(lambda key: key | {"from": 0}),
    "keys revoked before": with_keys(lambda key: key | {"until": key["from"]}),
    "keys revoked after": with_keys(lambda key: key | {"until": 2**40}),
    "keys of the other use": with_keys(lambda key: key | {"use": "sign"}),
    "no keys": head(ACME, keys=[]),
    "a planted key": head(ACME, keys=planted),
    "a planted key of the log": head(ORIGIN, keys=planted),
    "another VRF key": head(ACME, vrf=[{"suite": 3, "hash": bytes(32)}]),
    "a second VRF key": head(ACME, vrf=lambda old: [*old, {"suite": 3, "hash": bytes(32)}]),
    "the log's seq": head(ORIGIN, own=more(1)),
    "the log's entries": head(ORIGIN, entries=more(-1)),
    "the log's chain": head(ORIGIN, chain=bytes(32)),
    "an epoch more": head(ORIGIN, epoch=lambda old: old | {"number": old["number"] + 1}),
    "an earlier epoch time": head(ORIGIN, epoch=lambda old: old | {"time": 0}),
    "a forgotten claim of time": head(ORIGIN, epoch=lambda old: old | {"latest": 0}),
    "another rule set": head(ORIGIN, rules={"name": "attest-rules/2", "digest": bytes(32)}),
}


def continued(log, state, entries):
    """The state after entries that are taken as far as the rules, over a lie, let them."""
    state = state.copy()
    if log.ledger.previous is not None:
        take(state, log, log.ledger.previous.entry)
    for entry in entries:
        take(state, log, entry)
    return state


def take(state, log, entry):
    try:
        state.take(entry, log.files.get(cbor2.loads(cbor2.loads(entry).value[2]).get("root", b"")))
    except Refused:
        state.entries.append(entry)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_what_an_epoch_changed_is_refused(name):
    """The proof is honest but for the root, which commits a state that does not follow."""
    log = busy()
    after = log.model.copy()
    LIES[name](after)
    root = after.top_root()
    assert root != log.model.top_root()
    epoch = log.sign_epoch(root=root)
    assert refused(log, log.force(epoch=epoch.entry)) == "rule/epoch-root"


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_the_past_is_refused(name):
    """The state before is another than the committed one, told consistently, in any mixture with the truth."""
    log = busy()
    before = log.committed.copy()
    before.entries = list(log.committed.entries)
    LIES[name](before)
    assert before.top_root() != log.committed.top_root()
    previous = log.ledger.previous.entry
    roots = {log.model.top_root(), continued(log, before, log.pending).top_root()}
    for root in roots:
        epoch = log.sign_epoch(root=root)
        log.time -= 1
        truth = log.force_map(epoch=epoch.entry)
        lying = model.prove(before, previous, truth["entries"], log.files)
        # The transition of the log itself never changes here: same size, frontier and entries.
        lying |= {"size": truth["size"], "frontier": truth["frontier"]}
        anchor = None
        if root == log.model.top_root():
            anchor = verify_transition(model.det(truth), log.anchor, log.rows)
        for mixed in mixtures(truth, lying):
            if anchor is None:
                refused(log, mixed)
            else:
                never_otherwise(log, model.det(mixed), anchor)
        if truth != lying:
            refused(log, lying)


def mixtures(truth, lying):
    """The lying proof in every mixture with the true one, part by part; entries are the same in both."""
    parts = [path for path in differing(truth, lying) if path]
    for chosen in chain.from_iterable(combinations(parts, n) for n in range(1, len(parts) + 1)):
        mixed = truth
        for path in chosen:
            mixed = replaced(mixed, path, at(lying, path))
        yield mixed


def differing(one, other, path=()):
    """The smallest places where two proofs differ."""
    if one == other:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one:
            yield from differing(one[key], other[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for key in range(len(one)):
            yield from differing(one[key], other[key], (*path, key))
    else:
        yield path


# --- entries and row files ---


def test_entries_are_neither_left_out_nor_added_nor_moved():
    """Each has its seq, its place in the chains and its effect."""
    log, proof, _ = honest()
    entries, last = proof["entries"][:-1], proof["entries"][-1]
    for n in range(len(entries)):
        assert refused(log, {**proof, "entries": [*entries[:n], *entries[n + 1 :], last]})
        assert refused(log, {**proof, "entries": [*entries[: n + 1], *entries[n:], last]})
        for k in range(n):
            swapped = list(entries)
            swapped[n], swapped[k] = swapped[k], swapped[n]
            assert refused(log, {**proof, "entries": [*swapped, last]})
    extra = log.encode(log.hold_fields(rows_of(9)), ACME, stream="db")
    assert refused(log, {**proof, "entries": [*entries, extra, last]})
    assert refused(log, {**proof, "entries": [*entries, last, extra]}) == "transition/entries"
    assert refused(log, {**proof, "entries": entries}) == "transition/entries"
    assert refused(log, {**proof, "entries": [*entries, last, last]}) == "transition/entries"
    assert refused(log, {**proof, "entries": [proof["previous"], *entries, last]}) == "transition/entries"
    assert refused(log, {**proof, "entries": []}) == "transition/format"


def test_a_row_file_is_the_one_signed():
    """Another file, a part of it, none, or one in another order."""
    log, proof, anchor = honest()
    good = {root: log.files[root] for root in log.files}
    roots = [Statement.parse(entry).payload.root for entry in proof["entries"][:2]]
    for root in roots:
        others = [file for other, file in good.items() if other != root]
        for file in (*others, good[root][:-64], good[root][:-1], b"", good[root] + good[root][-64:], bytes(64)):
            code = refused(log, proof, {**good, root: file}.__getitem__)
            assert code in ("rows/size", "rows/order", "rows/count", "rows/root")

    def unavailable(root):
        raise Unavailable("rows/missing", "not stored")

    assert refused(log, proof, unavailable) == "rows/missing"
    assert verify_transition(model.det(proof), log.anchor, good.__getitem__) == anchor


# --- what a proof leaves out, repeats or spells otherwise ---


def test_nothing_needed_may_be_left_out():
    """Heads, holders, systems, descriptors, states, places in maps."""
    log, proof, _ = honest()
    for n in range(len(proof["heads"])):
        heads = proof["heads"][:n] + proof["heads"][n + 1 :]
        assert refused(log, {**proof, "heads": heads}) == "transition/party-head"
    assert refused(log, {**proof, "holders": []}) == "transition/missing"
    [holder] = proof["holders"]
    for n in range(len(holder["systems"])):
        systems = holder["systems"][:n] + holder["systems"][n + 1 :]
        assert refused(log, {**proof, "holders": [{**holder, "systems": systems}]}) == "transition/missing"
    described = replaced(proof, ("holders", 0, "systems", 0, "descriptor"), None)
    assert refused(log, described) == "transition/missing"
    states = replaced(proof, ("holders", 0, "systems", 1, "states"), b"")
    assert refused(log, states) == "transition/state"
    for path in (("top",), ("holders", 0, "map"), ("holders", 0, "systems", 1, "map")):
        root = {
            ("top",): log.committed.top_root(),
            ("holders", 0, "map"): reference.node(log.committed.system_map(ACME)),
        }.get(path, log.committed.systems[DB]["root"])
        assert refused(log, replaced(proof, path, b"\x01" + root)) == "pruned/touched-hash"


def test_nothing_is_shown_twice_or_out_of_order():
    """A proof has one spelling of which holders and systems it is about, and no room for two stories."""
    log, proof, _ = honest()
    [holder] = proof["holders"]
    bak, db = holder["systems"]
    one = {**holder, "systems": [bak]}
    other = {**holder, "systems": [db]}
    for holders in ([holder, holder], [one, other], [other, one], [{**holder, "systems": [db, bak]}]):
        assert refused(log, {**proof, "holders": holders}) == "transition/format"
    assert refused(log, {**proof, "holders": [{**holder, "systems": [bak, db, db]}]}) == "transition/format"
    assert refused(log, {**proof, "heads": proof["heads"] * 2}) == "transition/format"
    assert refused(log, {**proof, "heads": proof["heads"][::-1]}) == "transition/format"


def test_what_is_shown_in_excess_changes_nothing():
    """The head of a party that no entry touches is not read."""
    log, proof, anchor = honest()
    never_otherwise(log, model.det({**proof, "heads": sorted([*proof["heads"], log.committed.head(BETA)])}), anchor)


def test_another_head_of_the_same_name_is_refused():
    """The head of one party under the name of another, or of a system."""
    log, proof, _ = honest()
    assert refused(log, replaced(proof, ("holders", 0, "party"), BETA))
    assert refused(log, replaced(proof, ("holders", 0, "party"), "nobody.example"))
    assert refused(log, replaced(proof, ("holders", 0, "systems", 1, "system"), "dc"))
    assert refused(log, replaced(proof, ("holders", 0, "systems", 1, "head"), None)) == "transition/system-head"
    idle = model.det(log.committed.systems[ACME, "idle"])
    assert refused(log, replaced(proof, ("holders", 0, "systems", 1, "head"), idle)) == "transition/system-head"


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "attest-transition/2"},
        {"format": None},
        {"size": -1},
        {"size": True},
        {"size": "8"},
        {"frontier": None},
        {"frontier": ["x"]},
        {"previous": "x"},
        {"entries": {}},
        {"entries": [1]},
        {"top": "00"},
        {"heads": [None]},
        {"holders": [None]},
        {"holders": [{}]},
        {"holders": [{"party": "a.b", "map": b"\x00", "systems": [0]}]},
        {"holders": [{"party": b"a.b", "map": b"\x00", "systems": []}]},
        {"more": 1},
    ],
    ids=str,
)
def test_a_proof_has_its_fields_and_no_other(changed):
    """Closed maps, each field of its one type."""
    log, proof, _ = honest()
    assert refused(log, {**proof, **changed}) == "transition/format"
    for missing in proof:
        assert refused(log, {name: value for name, value in proof.items() if name != missing}) == "transition/format"
    for other in (b"\x80", b"\xa0", b"\x00", b"\x40"):
        assert refused(log, other) == "transition/format"


def test_states_come_whole():
    """49 bytes each."""
    log, proof, _ = honest()
    states = at(proof, ("holders", 0, "systems", 1, "states"))
    assert refused(log, replaced(proof, ("holders", 0, "systems", 1, "states"), states[:-1])) == "transition/states"


def test_a_frontier_is_judged_as_part_of_the_proof():
    """Its faults have a code of the proof."""
    log, proof, _ = honest()
    with pytest.raises(Malformed) as caught:
        verify_transition(model.det({**proof, "frontier": []}), log.anchor, log.rows)
    assert caught.value.code == "transition/frontier"
