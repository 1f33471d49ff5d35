import datetime as dt
import hashlib
import json
import re
import struct
import uuid
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.crypto import commitment, vrf
from attest.errors import Malformed
from tests.crypto import make_vectors

rfc8785 = pytest.importorskip("rfc8785")

VECTORS = Path(__file__).parents[1] / "vectors" / "commitments"
CHAIN = json.loads((VECTORS / "chain.json").read_text())["cases"]
DIGESTS = json.loads((VECTORS / "record-digests.json").read_text())["cases"]
ROWS = json.loads((VECTORS / "rows.json").read_text())["cases"]

fixed = settings(derandomize=True, deadline=None, max_examples=60)
hashes = st.binary(min_size=32, max_size=32)
plain = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=12,
)
scalars = (
    st.floats()
    | st.decimals()
    | st.integers()
    | st.binary()
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.datetimes(timezones=st.timezones())
    | st.timedeltas()
    | st.uuids()
)


def value_of(spelled):
    """Read the {type: value} of a vector row."""
    ((kind, value),) = spelled.items()
    match kind:
        case "null" | "bool" | "text":
            return value
        case "int":
            return int(value)
        case "float":
            return struct.unpack(">d", bytes.fromhex(value))[0] if isinstance(value, str) else value
        case "array":
            return [value_of(member) for member in value]
        case "object":
            return {name: value_of(member) for name, member in value}
        case "micros":
            return dt.timedelta(microseconds=value)
    readers = {
        "bytes": bytes.fromhex,
        "decimal": Decimal,
        "uuid": uuid.UUID,
        "date": dt.date.fromisoformat,
        "time": dt.time.fromisoformat,
        "datetime": dt.datetime.fromisoformat,
    }
    return readers[kind](value)


@pytest.mark.parametrize("name", make_vectors.FILES)
def test_the_vector_files_are_what_the_transcriptions_write(name):
    """No vector was edited by hand or forgotten: python -m tests.crypto.make_vectors."""
    assert (make_vectors.VECTORS / name).read_text(encoding="ascii") == make_vectors.text_of(name)


@pytest.mark.parametrize("page", ["vrf", "commitments", "encoding"])
def test_figures_in_the_spec_are_in_the_vectors(page):
    """Whoever checks an implementation against a spec page checks it against a vector."""
    text = (make_vectors.VECTORS.parents[1] / "docs" / "spec" / f"{page}.md").read_text(encoding="utf-8")
    vectors = "".join(make_vectors.text_of(name) for name in make_vectors.FILES)

    figures = re.findall(r"\b[0-9a-f]{32,}\b(?<!27742317777372353535851937790883648493)", text)
    assert figures
    assert [figure for figure in figures if figure not in vectors] == []


@pytest.mark.parametrize("case", CHAIN, ids=lambda case: case["system"])
def test_every_step_from_locator_to_row_is_the_vectors(case):
    """alpha, beta, index, key, record digest, blind and commitment are the transcription's."""
    want = {
        name: bytes.fromhex(case[name])
        for name in ("alpha", "beta", "index", "key", "record_digest", "blind", "commitment")
    }
    records = [hashlib.sha256(bytes.fromhex(record)).digest() for record in case["records"]]

    assert commitment.alpha(case["locator"]) == want["alpha"]
    assert vrf.evaluate(bytes.fromhex(case["vrf_secret"]), want["alpha"]) == want["beta"]
    assert commitment.index(case["holder"], case["system"], want["beta"]) == want["index"]
    assert commitment.map_key(want["index"]) == want["key"]
    assert commitment.record_digest(records) == want["record_digest"]
    assert commitment.blind(bytes.fromhex(case["salt"])) == want["blind"]
    assert commitment.commitment(want["index"], want["blind"], want["record_digest"]) == want["commitment"]


@fixed
@given(st.text(), st.text(), st.lists(st.binary(min_size=64, max_size=64)))
def test_bulk_indexes_and_keys_are_labelled_hashes(holder, system, betas):
    """The precomputed fronts write exactly the labelled hash of the spec, for every column."""
    indexes = [make_vectors.labelled("index", holder.encode(), system.encode(), beta) for beta in betas]

    assert commitment.indexes(holder, system, betas) == indexes
    assert [commitment.index(holder, system, beta) for beta in betas] == indexes
    assert commitment.map_keys(indexes) == [make_vectors.labelled("key", index) for index in indexes]


@fixed
@given(st.lists(st.tuples(hashes, hashes, hashes)))
def test_bulk_commitments_are_labelled_hashes(rows):
    """Each commitment binds its own index, blind and record digest."""
    columns = ([row[column] for row in rows] for column in range(3))

    assert commitment.commitments(*columns) == [make_vectors.labelled("commitment", *row) for row in rows]


def test_columns_of_different_lengths_are_a_mistake():
    """A missing blind never shifts the others."""
    with pytest.raises(ValueError, match="shorter"):
        commitment.commitments([bytes(32)] * 2, [bytes(32)], [bytes(32)] * 2)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_values_of_another_size_are_a_mistake(size):
    """A value of the wrong size is never hashed under the length of the right one."""
    wrong, right = bytes(size), bytes(32)
    for call in (
        lambda: commitment.index("a.b", "s", bytes(size - 1 if size else 0)),
        lambda: commitment.indexes("a.b", "s", [bytes(64), bytes(63)]),
        lambda: commitment.map_key(wrong),
        lambda: commitment.map_keys([right, wrong]),
        lambda: commitment.record_digest([right, wrong]),
        lambda: commitment.blind(wrong),
        lambda: commitment.commitment(wrong, right, right),
        lambda: commitment.commitment(right, wrong, right),
        lambda: commitment.commitment(right, right, wrong),
    ):
        with pytest.raises(ValueError, match="bytes for each"):
            call()


@pytest.mark.parametrize("case", DIGESTS, ids=lambda case: case["name"])
def test_record_digests_are_the_vectors(case):
    """A record digest is SHA-256 of the sorted array of hex hashes, and of nothing else."""
    records = [bytes.fromhex(record) for record in case["hashes"]]
    if "code" in case:
        with pytest.raises(Malformed) as caught:
            commitment.record_digest(records)
        assert caught.value.code == case["code"]
        return

    assert commitment.record_digest(records).hex() == case["record_digest"]


@fixed
@given(st.lists(hashes, min_size=1, max_size=4))
def test_order_and_repeats_of_records_do_not_count(records):
    """The digest is of the set of records, as RFC 8785 JSON."""
    expected = hashlib.sha256(rfc8785.dumps(sorted({record.hex() for record in records}))).digest()

    for order in permutations(records + records[:1]):
        assert commitment.record_digest(iter(order)) == expected


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case["name"])
def test_rows_are_written_as_the_vectors(case):
    """Each kind of value has its spelling, or its code."""
    row = {name: value_of(spelled) for name, spelled in case["row"]}
    if "code" in case:
        with pytest.raises(Malformed) as caught:
            commitment.record_of_row(row)
        assert caught.value.code == case["code"]
        return

    written = commitment.record_of_row(row)
    assert written.decode("utf-8") == case["json"]
    assert hashlib.sha256(written).hexdigest() == case["sha256"]


@fixed
@given(st.dictionaries(st.text(), plain))
def test_plain_rows_are_rfc_8785(row):
    """Where JSON can say a value, the row is what an independent RFC 8785 writer writes."""
    assert commitment.record_of_row(row) == rfc8785.dumps(row)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_spelled_as_ecmascript_does(value):
    """A float's text is ECMAScript's, which RFC 8785 uses for numbers."""
    assert commitment.record_of_row({"f": value}) == b'{"f":"' + rfc8785.dumps(value) + b'"}'


@fixed
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_keep_their_value_and_lose_their_scale(value):
    """Equal decimals are one text, and the text reads back as the same value."""
    text = json.loads(commitment.record_of_row({"d": value}))["d"]
    scaled = value.scaleb(0) if value.is_zero() else Decimal(f"{value:f}0" if "." in f"{value:f}" else f"{value:f}.0")

    assert Decimal(text) == value
    assert "e" not in text.lower() and not (("." in text) and text[-1] in ".0")
    assert commitment.record_of_row({"d": scaled}) == commitment.record_of_row({"d": value})


@fixed
@given(st.datetimes(timezones=st.timezones()), st.timezones())
def test_one_instant_is_one_text_in_every_zone(instant, zone):
    """A database session's time zone does not change a record."""
    try:
        text = commitment.record_of_row({"t": instant})
        elsewhere = instant.astimezone(zone)
    except (Malformed, OverflowError):
        return
    seconds, micros = divmod((instant - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1), 10**6)
    utc = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)  # noqa: DTZ001 - written out below
    fraction = f".{micros:06}".rstrip("0") if micros else ""

    assert json.loads(text)["t"] == f"{utc.isoformat()}{fraction}Z"
    assert commitment.record_of_row({"t": elsewhere}) == text


@fixed
@given(st.dictionaries(st.text(), st.recursive(scalars | plain, lambda values: st.lists(values, max_size=3))))
def test_a_row_is_written_or_malformed(row):
    """No value a driver returns crashes the writer, and what is written is canonical JSON."""
    try:
        written = commitment.record_of_row(row)
    except Malformed as error:
        assert error.code.startswith("record/")
        return

    assert rfc8785.dumps(json.loads(written)) == written


@pytest.mark.parametrize(
    "value",
    [object(), {1}, 1j, range(3), {1: "key is not text"}, type("datetime", (dt.datetime,), {})(2026, 1, 1)],
    ids=lambda value: type(value).__name__,
)
def test_types_without_a_spelling_are_refused(value):
    """What the table does not name is refused, subclasses of date and time too: they may hold more than they show."""
    with pytest.raises(Malformed) as caught:
        commitment.record_of_row({"v": value})

    assert caught.value.code == "record/type"


def test_a_row_that_contains_itself_is_refused():
    """Depth is bounded, so a circular value ends."""
    circle = []
    circle.append(circle)

    with pytest.raises(Malformed) as caught:
        commitment.record_of_row({"v": circle})
    assert caught.value.code == "record/depth"


@pytest.mark.parametrize("digits", [4097, 10_000, 1_000_000])
def test_vast_integers_are_refused_quickly(digits):
    """A number too long to write is malformed before Python refuses to write it."""
    with pytest.raises(Malformed) as caught:
        commitment.record_of_row({"v": 1 << (digits * 10 // 3 + 9)})
    assert caught.value.code == "record/number"
