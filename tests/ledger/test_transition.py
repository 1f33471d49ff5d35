"""Transition proofs by an operator who has all the keys and lies: none is accepted with another outcome."""

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
from tests.ledger.log import Log, rows_of
from tests.ledger.model import Refused
from tests.witness.lies import ACME, BETA, DB, LIES, busy, stage

steady = settings(derandomize=True, deadline=None, max_examples=300, database=None)


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
    """The proof is honest but for the root, which commits a state that does not follow: named by what the log shows."""
    log = busy()
    after = log.model.copy()
    code, lie = LIES[name]
    lie(after)
    root = after.top_root()
    assert root != log.model.top_root()
    epoch = log.sign_epoch(root=root)
    assert refused(log, log.force(epoch=epoch.entry)) == "rule/epoch-root"
    assert refused(log, log.force(epoch=epoch.entry, after=after)) == code


def test_heads_that_cannot_be_read_do_not_hide_a_wrong_root():
    """A wrong root is wrong whatever is shown with it; under a right one they are refused."""
    log = busy()
    wrong, right = log.sign_epoch(root=bytes(32)), log.sign_epoch()
    for epoch, code in ((wrong, "rule/epoch-root"), (right, "transition/after")):
        proof = log.force_map(epoch=epoch.entry)
        for after in ([], proof["after"][::-1], proof["after"] * 2, [b"x"], [b"\xa0"]):
            shown = {**proof, "after": after}
            assert refused(log, shown) == (code if after or code == "transition/after" else "epoch/dropped")


@pytest.mark.parametrize("name", LIES)
def test_heads_shown_after_an_epoch_are_those_it_leads_to(name):
    """Nobody is told wrong heads under a right root."""
    log = busy()
    after = log.model.copy()
    LIES[name][1](after)
    epoch = log.sign_epoch()
    honest_proof, lying = log.force(epoch=epoch.entry), log.force(epoch=epoch.entry, after=after)
    if lying != honest_proof:
        assert refused(log, lying) == "transition/after"


@pytest.mark.parametrize("name", [name for name, (code, _) in LIES.items() if code != "epoch/omitted"])
def test_a_lie_about_the_past_is_refused(name):
    """The state before is another than the committed one, told consistently, in any mixture with the truth."""
    log = busy()
    before = log.committed.copy()
    before.entries = list(log.committed.entries)
    LIES[name][1](before)
    assert before.top_root() != log.committed.top_root()
    previous = log.ledger.previous.entry
    roots = {log.model.top_root(), continued(log, before, log.pending).top_root()}
    for root in roots:
        epoch = log.sign_epoch(root=root)
        log.time -= 1
        truth = log.force_map(epoch=epoch.entry)
        lying = model.prove(before, log.model, previous, truth["entries"], log.files)
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
