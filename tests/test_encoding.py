import base64
import json
from pathlib import Path

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attest import encoding
from attest.errors import Malformed

VECTORS = Path(__file__).parent / "vectors" / "encoding"
TEXTS = json.loads((VECTORS / "texts.json").read_text())["cases"]
LABELLED = json.loads((VECTORS / "labelled.json").read_text())["cases"]
CBOR = json.loads((VECTORS / "cbor.json").read_text())["cases"]

fixed = settings(derandomize=True, deadline=None, max_examples=100)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    st.none() | st.booleans() | integers | st.binary() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(integers, inner, max_size=4)
    ),
    max_leaves=12,
)

PARSERS = {
    "decimal": lambda text, size: str(encoding.parse_decimal(text)),
    "hex": lambda text, size: encoding.parse_hex(text, size).hex(),
    "base64": lambda text, size: encoding.parse_base64(text, size).hex(),
    "base64url": lambda text, size: encoding.parse_base64url(text, size).hex(),
}


def sorted_by_encoding(value):
    """Return `value` with every map in the order of RFC 8949 §4.2.1, for cbor2 to write as it comes."""
    if isinstance(value, list):
        return [sorted_by_encoding(member) for member in value]
    if isinstance(value, dict):
        return {key: sorted_by_encoding(value[key]) for key in sorted(value, key=cbor2.dumps)}
    return value


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: f"{case['codec']}-{ascii(case['text'])[:24]}")
def test_texts_are_read_as_the_vectors(case):
    """Each text codec takes one spelling per value and gives every other its code."""
    parse = PARSERS[case["codec"]]
    if "code" in case:
        with pytest.raises(Malformed) as caught:
            parse(case["text"], case.get("size"))
        assert caught.value.code == case["code"]
        return

    assert parse(case["text"], case.get("size")) == case["value"]


@pytest.mark.parametrize("codec", PARSERS)
@fixed
@given(text=st.text() | st.text("0123456789abcdefABCDEF+/=-_ \n"))
def test_whatever_parses_has_one_spelling(codec, text):
    """A text that parses is what its value is written as; anything else is malformed."""
    try:
        value = PARSERS[codec](text, None)
    except Malformed as error:
        assert error.code == f"encoding/{codec}"
        return

    written = {
        "decimal": lambda: value,
        "hex": lambda: value,
        "base64": lambda: base64.b64encode(bytes.fromhex(value)).decode(),
        "base64url": lambda: base64.urlsafe_b64encode(bytes.fromhex(value)).decode().rstrip("="),
    }
    assert written[codec]() == text


@fixed
@given(st.binary())
def test_bytes_survive_every_text_codec(value):
    """What a codec writes it reads back."""
    assert encoding.parse_hex(value.hex(), len(value)) == value
    assert encoding.parse_base64(encoding.encode_base64(value), len(value)) == value
    assert encoding.parse_base64url(encoding.encode_base64url(value), len(value)) == value
    assert encoding.encode_base64(value) == base64.b64encode(value).decode()


@fixed
@given(st.integers(0, 2**63 - 1))
def test_decimals_survive(value):
    """Every integer below 2^63 has its decimal."""
    assert encoding.parse_decimal(str(value)) == value


@fixed
@given(st.binary())
@example(b"\xef\xbb\xbf")
@example(b"\xed\xa0\x80")
@example(b"\xc0\x80")
def test_utf_8_is_strict(value):
    """Text reads back to the same bytes, byte order marks included; surrogates and overlong forms are refused."""
    try:
        text = encoding.parse_utf8(value)
    except Malformed as error:
        assert error.code == "encoding/utf8"
        return

    assert text.encode("utf-8") == value


@pytest.mark.parametrize("case", LABELLED, ids=lambda case: case["name"])
def test_labelled_hashes_are_the_vectors(case):
    """The label and every part go in with their lengths."""
    assert encoding.labelled(case["name"], *map(bytes.fromhex, case["parts"])).hex() == case["hash"]


@pytest.mark.parametrize("case", CBOR, ids=lambda case: case["name"])
def test_cbor_is_read_and_written_as_the_vectors(case):
    """Each encoding has its value or its code."""
    encoded = bytes.fromhex(case["encoded"])
    if "code" in case:
        with pytest.raises(Malformed) as caught:
            encoding.decode_cbor(encoded)
        assert caught.value.code == case["code"]
        return

    value = encoding.decode_cbor(encoded)
    assert value == cbor2.loads(encoded)
    assert encoding.encode_cbor(value) == encoded


@fixed
@given(values)
def test_cbor_is_what_cbor2_writes_in_our_order(value):
    """The encoding of any value is an independent encoder's, and decodes to the value."""
    encoded = encoding.encode_cbor(value)

    assert encoded == cbor2.dumps(sorted_by_encoding(value))
    assert encoding.decode_cbor(encoded) == value


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from(b"\x00\x17\x18\x20\x40\x41\x61\x7a\x80\x81\x82\xa0\xa1\xa2\xf5\xf6")).map(bytes)
)
def test_random_bytes_are_cbor_in_one_spelling_or_malformed(encoded):
    """Whatever decodes is what its value is written as, and cbor2 reads the same."""
    try:
        value = encoding.decode_cbor(encoded)
    except Malformed as error:
        assert error.code.partition("/")[0] in ("cbor", "encoding")
        return

    assert encoding.encode_cbor(value) == encoded
    assert cbor2.loads(encoded) == value


@fixed
@given(values, st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_is_another_value_or_malformed(value, at, bit):
    """No two encodings, one bit apart or cut short, are one value."""
    encoded = bytearray(encoding.encode_cbor(value))
    with pytest.raises(Malformed):
        encoding.decode_cbor(bytes(encoded[:-1]))
    encoded[at % len(encoded)] ^= 1 << bit
    try:
        other = encoding.decode_cbor(bytes(encoded))
    except Malformed:
        return

    assert (type(other), other) != (type(value), value) or cbor2.dumps(other) != cbor2.dumps(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), {"a": 2**53}, "\ud800", json.loads("[" * 18 + "]" * 18)])
def test_values_outside_the_subset_are_a_mistake(value):
    """The encoder never writes what the decoder refuses."""
    with pytest.raises(ValueError):
        encoding.encode_cbor(value)


@pytest.mark.parametrize("value", [1.0, (1,), {1}, object(), bytearray(b"x"), {True: 1}, {b"x": 1}, {None: 1}])
def test_types_outside_the_subset_are_a_mistake(value):
    """Floats, tuples and other types have no spelling."""
    with pytest.raises(TypeError):
        encoding.encode_cbor(value)
