"""States, heads, row files, row proofs and our JSON: written and read, each in one spelling."""

import json

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.encoding import MAX_INT, ZERO
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats import strict_json
from attest.formats.rows import RowFile, RowProof, prove_row
from attest.formats.state import (
    KeyItem,
    LogPart,
    PartyHead,
    State,
    SystemHead,
    extend_chain,
    pack_state,
    state_value,
    system_key,
    top_key,
    vrf_key_digest,
)
from tests import reference
from tests.ledger import model
from tests.ledger.log import rows_of

steady = settings(derandomize=True, deadline=None, max_examples=150, database=None)

hashes = st.binary(min_size=32, max_size=32)
uints = st.integers(0, MAX_INT)
u32 = st.integers(0, 2**32 - 1)


def code_of(call, *args):
    with pytest.raises(AttestError) as caught:
        call(*args)
    return caught.value.code


# --- states ---


@steady
@given(st.sampled_from([1, 2]), u32, u32, st.integers(0, 2**64 - 1), hashes)
def test_states_are_49_bytes(status, generation, version, position, commitment):
    """status u8, generation u32, version u32, position u64, commitment: big-endian; the value is over them."""
    state = State(status, generation, version, position, commitment)
    want = model.pack(status, generation, version, position, commitment)
    assert state.encode() == want == pack_state(status, generation, version, position, commitment)
    assert State.parse(want) == state
    assert state_value(want) == model.label("state", want)


def test_other_states_are_refused_or_not_decided():
    """By length first, then by status."""
    good = model.pack(1, 1, 1, 1, bytes(32))
    for wrong in (b"", good[:-1], good + b"\x00"):
        assert code_of(State.parse, wrong) == "state/size"
    for status in (0, 3, 4, 5, 255):
        with pytest.raises(Unavailable) as caught:
            State.parse(bytes([status]) + good[1:])
        assert caught.value.code == "state/unknown-status"


def test_keys_and_chains_are_labelled_hashes():
    """With text as UTF-8 and positions as eight bytes."""
    assert top_key("löschen.example") == model.label("top-key", "löschen.example".encode())
    assert system_key("db") == model.label("system-key", b"db")
    assert extend_chain(ZERO, 7, bytes([1] * 32)) == model.label("chain", ZERO, bytes(7) + b"\x07", bytes([1] * 32))
    assert vrf_key_digest(3, bytes(32)) == model.label("vrf-key", b"\x03", bytes(32))


# --- heads ---

codes = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
items = st.builds(KeyItem, hashes, st.sampled_from(["sign", "recover"]), uints, st.none() | uints)
system_heads = st.builds(SystemHead, codes, st.sampled_from([1, 2]), hashes, hashes, uints, uints, uints, uints, hashes)
party_heads = st.builds(
    PartyHead,
    party=st.text(max_size=64),
    role=st.sampled_from(["holder", "authority", "auditor"]),
    status=st.sampled_from([1, 2]),
    admitted=uints,
    own=uints,
    recovery=uints,
    keys=st.lists(items, max_size=4).map(tuple),
    vrf=st.lists(st.tuples(st.just(3), hashes), max_size=1).map(tuple),
    systems_count=uints,
    systems_root=hashes,
    entries=uints,
    chain=hashes,
)
log_heads = st.builds(
    lambda head, part: PartyHead(
        **{name: getattr(head, name) for name in head.__slots__} | {"role": "log", "log": part}
    ),
    party_heads,
    st.builds(LogPart, uints, uints, uints, codes, hashes),
)


@steady
@given(system_heads | party_heads | log_heads)
def test_heads_are_read_as_they_are_written(head):
    """In deterministic CBOR as another library writes it; key and value are labelled hashes."""
    encoded = head.encode()
    assert type(head).decode(encoded) == head
    assert encoded == model.det(cbor2.loads(encoded))
    kind, name = ("system", head.system) if isinstance(head, SystemHead) else ("party", head.party)
    assert head.value() == model.label(f"{kind}-head", encoded)
    assert head.key() == model.label("system-key" if kind == "system" else "top-key", name.encode())


SYSTEM = SystemHead("db", 1, ZERO, ZERO, 0, 0, 0, 0, ZERO)
PARTY = PartyHead("a.example", "holder", 1, 2, 0, 0, (KeyItem(ZERO, "sign", 3, None),), ((3, ZERO),), 0, ZERO, 1, ZERO)
LOG = PartyHead(
    "log.example",
    "log",
    1,
    0,
    1,
    0,
    (KeyItem(ZERO, "sign", 0, 9),),
    (),
    0,
    ZERO,
    1,
    ZERO,
    LogPart(1, 2, 3, "r/1", ZERO),
)
JUNK = [None, True, -1, b"", bytes(31), bytes(33), [], {}, [None], [{}]]


def places(value, path=()):
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*path, key))


def put(value, path, new):
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(value[path[0]], path[1:], new) if path[1:] else new
    return copied


@pytest.mark.parametrize("head", [SYSTEM, PARTY, LOG], ids=["system", "party", "log"])
def test_heads_are_closed_and_typed(head):
    """Every field of every other type, missing or too many, at any depth."""
    wire = cbor2.loads(head.encode())
    for path in places(wire):
        for junk in JUNK:
            if (path[-1] == "until" and junk is None) or (path in (("keys",), ("vrf",)) and junk == []):
                head.decode(model.det(put(wire, path, junk)))
                continue
            assert code_of(head.decode, model.det(put(wire, path, junk))) == "head/fields", (path, junk)
    for name in wire:
        assert code_of(head.decode, model.det({k: v for k, v in wire.items() if k != name})) == "head/fields"
    assert code_of(head.decode, model.det({**wire, "x": 0})) == "head/fields"
    for other in (b"\x80", b"\x00", b"\x40", b"\xf6"):
        assert code_of(head.decode, other) == "head/fields"
    for unknown in ({"other": bytes([1] * 32)}, {"status": 0}, {"status": 3}):
        with pytest.raises(Unavailable) as caught:
            head.decode(model.det({**wire, **unknown}))
        assert caught.value.code == "head/unknown-extension"


def test_only_the_log_has_the_logs_part():
    """A party's head with an epoch, or the log's without one, is none."""
    party, log = cbor2.loads(PARTY.encode()), cbor2.loads(LOG.encode())
    assert (
        code_of(PartyHead.decode, model.det({**party, "epoch": log["epoch"], "rules": log["rules"]})) == "head/fields"
    )
    assert code_of(PartyHead.decode, model.det({**log, "role": "holder"})) == "head/fields"
    assert code_of(PartyHead.decode, model.det({**party, "role": "log"})) == "head/fields"


# --- row files ---

row_maps = st.dictionaries(hashes, hashes, min_size=1, max_size=20)


@steady
@given(row_maps)
def test_row_files_are_sorted_rows(rows):
    """And their root is RFC 6962's over the rows."""
    file = RowFile.build(rows)
    assert file.encoded == model.row_file(rows)
    assert RowFile.parse(file.encoded) == file
    assert dict(zip(file.indexes, file.commitments, strict=True)) == rows
    assert (len(file), file.root()) == (len(rows), model.row_root(file.encoded))
    file.check(len(rows), file.root())


@steady
@given(st.binary(max_size=400) | st.lists(st.binary(min_size=64, max_size=64), max_size=5).map(b"".join))
def test_what_parses_as_a_row_file_is_one(encoded):
    """Whole rows, at least one, strictly ascending by index; anything else has its code."""
    indexes = [encoded[at : at + 32] for at in range(0, len(encoded), 64)]
    whole = len(encoded) % 64 == 0 and encoded
    try:
        file = RowFile.parse(encoded)
    except Malformed as error:
        assert error.code == ("rows/order" if whole else "rows/size")
        assert not whole or indexes != sorted(set(indexes))
        return
    assert file.encoded == encoded
    assert whole
    assert indexes == sorted(set(indexes))


def test_a_row_file_has_at_most_2_to_the_20_rows():
    """More is refused before it is looked at."""
    assert code_of(RowFile.parse, bytes(64 * (2**20 + 1))) == "rows/size"


def test_rows_out_of_order_are_named():
    """The first sixteen that do not come after the row before them."""
    rows = [bytes([n]) * 32 + bytes(32) for n in range(40)]
    with pytest.raises(Malformed) as caught:
        RowFile.parse(b"".join(reversed(rows)))
    assert caught.value.rows == tuple(range(1, 17))
    with pytest.raises(Malformed) as caught:
        RowFile.parse(b"".join([*rows[:3], rows[2], *rows[3:]]))
    assert caught.value.rows == (3,)
    # The commitment is no part of the order.
    RowFile.parse(rows[0][:32] + bytes([9] * 32) + rows[1])


@steady
@given(row_maps, st.data())
def test_a_row_proof_shows_one_row_at_one_place(rows, data):
    """Under the signed count and root; not another row, place, count or root."""
    file = RowFile.build(rows)
    position = data.draw(st.integers(0, len(rows) - 1))
    proof = prove_row(file, position)
    assert list(proof.path) == reference.PATH(
        position, [file.encoded[at : at + 64] for at in range(0, 64 * len(file), 64)]
    )
    assert (proof.index, proof.commitment) == (file.indexes[position], file.commitments[position])
    proof.verify(len(file), file.root())

    other = data.draw(hashes)
    wrong = [
        RowProof(position, proof.index + other, proof.path),
        RowProof(position, other + proof.commitment, proof.path),
        RowProof(position, proof.row, (*proof.path, other)),
        RowProof(position, proof.row, proof.path[1:] or (other,)),
    ]
    wrong += [RowProof(place, proof.row, proof.path) for place in (-1, *range(len(rows) + 1)) if place != position]
    for each in wrong:
        if each != proof:
            with pytest.raises(AttestError):
                each.verify(len(file), file.root())
    for count in {1, len(rows) - 1, len(rows) + 1, 2 * len(rows)} - {len(rows)}:
        if reference_size_matters(position, len(rows), count):
            with pytest.raises(AttestError):
                proof.verify(count, file.root())
    with pytest.raises(Refuted):
        proof.verify(len(file), bytes(32))


def reference_size_matters(position, count, other):
    """Whether a path has another shape in a tree of another size: where not, the signed count must decide."""
    return (
        other < 1
        or position >= other
        or len(reference.PATH(position, [b""] * count)) != len(reference.PATH(position, [b""] * other))
    )


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_a_row_has_64_bytes(size):
    """A leaf of another length is no row, whatever root it leads to."""
    proof = RowProof(0, bytes(size), ())
    assert code_of(proof.verify, 1, model.leaf(bytes(size))) == "rows/size"


def test_a_single_row_is_its_own_tree():
    """Path of no hashes."""
    file = RowFile.build(rows_of(1))
    assert prove_row(file, 0).path == ()
    prove_row(file, 0).verify(1, file.root())


# --- JSON ---

plain = st.recursive(
    st.none() | st.booleans() | st.integers(0, MAX_INT) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)
LIMIT = 100_000


@steady
@given(plain, st.booleans())
def test_json_is_read_as_it_is_written(value, escaped):
    """By us for people, and by others with escapes."""
    assert strict_json.parse_json(strict_json.write_json(value), LIMIT) == value
    assert strict_json.parse_json(json.dumps(value, ensure_ascii=escaped).encode(), LIMIT) == value


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        (b"", "json/syntax"),
        (b"{", "json/syntax"),
        (b"{}{}", "json/syntax"),
        (b"{} x", "json/syntax"),
        (b"[1,]", "json/syntax"),
        (b"{'a':1}", "json/syntax"),
        (b"\xef\xbb\xbf{}", "json/syntax"),
        (b'"\x01"', "json/syntax"),
        (b"[" * 50_000, "json/syntax"),
        (b'{"a":' * 15_000, "json/syntax"),
        (b"[" * 101 + b"]" * 101, "json/syntax"),
        (b'{"a":' * 100 + b"[]" + b"}" * 100, "json/syntax"),
        (b"01", "json/syntax"),
        (b"+1", "json/syntax"),
        (b"NaN", "json/number"),
        (b"Infinity", "json/number"),
        (b"-Infinity", "json/number"),
        (b"1.0", "json/number"),
        (b"1e3", "json/number"),
        (b"-1", "json/number"),
        (b"-0", "json/number"),
        (b"9007199254740992", "json/number"),
        (b"1" * 90_000, "json/number"),
        (b'{"a":1,"a":1}', "json/duplicate-key"),
        (b'{"a":1,"\\u0061":1}', "json/duplicate-key"),
        (b'[{"b":{"a":1,"a":2}}]', "json/duplicate-key"),
        (b'"\xff"', "encoding/utf8"),
        (b'"\xed\xa0\x80"', "encoding/utf8"),
        (b'"\\ud800"', "encoding/utf8"),
        (b'"\\uDFFF x"', "encoding/utf8"),
        (b'{"\\udc00":1}', "encoding/utf8"),
        (b'["\\ude00\\ud83d"]', "encoding/utf8"),
        (b" " * 100_001, "json/size"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_json_that_others_read_differently_is_refused(encoded, code):
    """Repeated keys, floats, signs, big numbers, lone surrogates, anything behind the value."""
    assert code_of(strict_json.parse_json, encoded, LIMIT) == code


def test_pairs_of_surrogates_are_one_character():
    """Escaped, as JavaScript writes them; and an escaped backslash in front is no escape."""
    assert strict_json.parse_json(b"[" * 100 + b"1" + b"]" * 100, LIMIT) != []
    assert strict_json.parse_json(b'["\\ud83d\\ude00", "\\\\ud800"]', LIMIT) == ["\U0001f600", "\\ud800"]


@steady
@given(st.binary(max_size=60) | st.text('{}[]",:0123456789.eE-+ \\ud8a"tfn', max_size=40).map(str.encode))
def test_json_noise_is_malformed(noise):
    """No other error comes out; and what is read can be written as UTF-8."""
    try:
        value = strict_json.parse_json(noise, LIMIT)
    except Malformed:
        return
    strict_json.write_json(value)


def test_shapes_are_closed():
    """An object has its keys; text is text, an integer no bool, a list no longer than said."""
    shape = {"a": strict_json.text, "b": strict_json.many(strict_json.integer, 2)}
    read = lambda found: strict_json.closed(found, "x", shape)  # noqa: E731
    assert read({"a": "t", "b": [1, 2]}) == {"a": "t", "b": (1, 2)}
    for wrong in (
        None, [], {}, {"a": "t"}, {"a": "t", "b": [], "c": 0}, {"a": 1, "b": []}, {"a": None, "b": []},
        {"a": "t", "b": {}}, {"a": "t", "b": [1, 2, 3]}, {"a": "t", "b": [True]}, {"a": "t", "b": ["1"]},
    ):  # fmt: skip
        assert code_of(read, wrong) == "json/field"
    assert strict_json.nullable(strict_json.text)(None, "x") is None
    assert code_of(strict_json.nullable(strict_json.text), 1, "x") == "json/field"
    assert strict_json.base64(1)("AA==", "x") == b"\x00"
    assert code_of(strict_json.base64(1), "AAA=", "x") == "encoding/base64"
    assert code_of(strict_json.base64(), 1, "x") == "json/field"


def test_messages_quote_unknown_keys():
    """What a file says is not sent to a terminal as it is."""
    with pytest.raises(Malformed) as caught:
        strict_json.closed({"\x1b[2Jfine\n": 0}, "x", {})
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message
