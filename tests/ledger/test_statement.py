"""Statements on the wire: what parses has one spelling, and everything else its code."""

import json
import os
from pathlib import Path

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.crypto.keys import SigningKey, thumbprint, verify_ed25519
from attest.encoding import encode_base64url
from attest.errors import AttestError, Malformed, Refuted
from attest.formats import statement as formats
from attest.formats.statement import KINDS, METHODS, SYSTEM_KINDS, Descriptor, Statement, sign_statement
from tests.ledger import model
from tests.ledger.log import ORIGIN, descriptor
from tests.ledger.samples import (
    ACME,
    BAD_FIELDS,
    ENVELOPES,
    KEY,
    OTHER_CBOR,
    at,
    full,
    places,
    put,
    shuffled,
    write,
)

steady = settings(derandomize=True, deadline=None, max_examples=150, database=None)


def refused(entry, code=None):
    with pytest.raises(Malformed) as caught:
        Statement.parse(entry)
    if code is not None:
        assert caught.value.code == code
    return caught.value.code


party_ids = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z0-9]{1,9}){1,3}", fullmatch=True)
system_ids = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
codes = st.from_regex(r"[a-z0-9][a-z0-9._/-]{0,63}", fullmatch=True)
hashes = st.binary(min_size=32, max_size=32)
uints = st.integers(0, 2**53 - 1)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=200)
origins = st.from_regex(r"[a-z0-9.-]{1,40}(/[A-Za-zäöü%_-]{0,20})?", fullmatch=True)
ascending = lambda members, low, high: st.lists(members, min_size=low, max_size=high, unique=True).map(sorted)  # noqa: E731
keys = st.fixed_dictionaries(
    {"key": hashes, "use": st.sampled_from(["sign", "recover"]), "proof": st.binary(min_size=64, max_size=64)}
)
descriptors = st.fixed_dictionaries(
    {
        "id": system_ids,
        "kind": st.sampled_from(SYSTEM_KINDS),
        "assets": ascending(codes, 0, 16),
        "locators": ascending(codes, 1, 8),
        "retention": st.none() | texts,
        "backup_cycle": st.none() | uints,
        "processor_log": st.none() | origins,
        "retired": st.booleans(),
    }
)
rows = {"count": st.integers(1, 2**20), "root": hashes}
bodies = {
    "log/1": {
        "origin": origins,
        "keys": st.fixed_dictionaries(
            {
                "statements": hashes,
                "receipts": hashes,
                "note_ed25519": hashes,
                "note_mldsa44": st.binary(min_size=1312, max_size=1312),
            }
        ),
        "limits": st.fixed_dictionaries(
            {
                "rows": st.integers(1, 2**20),
                "statement": st.integers(1024, 16384),
                "skew": st.integers(1, 3600),
                "silence": st.integers(1, 86400),
            }
        ),
        "predecessor": st.none() | st.fixed_dictionaries({"origin": origins, "size": uints, "root": hashes}),
    },
    "policy/1": {"name": codes, "digest": hashes},
    "party/1": {
        "id": party_ids,
        "role": st.sampled_from(["holder", "authority", "auditor"]),
        "name": texts,
        "legal_id": texts,
        "check": st.fixed_dictionaries({"method": st.sampled_from(["operator", "domain"]), "time": uints}),
        "keys": st.lists(keys, min_size=2, max_size=16),
        "vrf": st.lists(st.fixed_dictionaries({"suite": st.just(3), "hash": hashes}), max_size=1),
    },
    "keys/1": {"add": st.lists(keys, min_size=1, max_size=16), "revoke": ascending(hashes, 0, 16)},
    "party-end/1": {},
    "systems/1": {
        "systems": st.lists(descriptors, min_size=1, max_size=3, unique_by=lambda found: found["id"]).map(
            lambda found: sorted(found, key=lambda each: each["id"])
        )
    },
    "hold/1": {
        **rows,
        "cause": st.sampled_from(["collected", "backfill", "restored", "corrected", "retracted", "migrated"]),
    },
    "tombstone/1": {
        **rows,
        "erased_at": uints,
        "method": st.sampled_from(METHODS),
        "level": st.sampled_from(["none", "logical", "physical"]),
        "ground": st.from_regex(r"[a-z0-9][a-z0-9().:_/-]{0,63}", fullmatch=True),
    },
    "epoch/1": {"number": uints, "time": uints, "root": hashes},
}
payloads = st.sampled_from(sorted(bodies)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {"kind": st.just(kind), "seq": uints, **bodies[kind]},
        optional={"about": party_ids, "ref": st.lists(hashes, min_size=1, max_size=16)},
    )
)


@steady
@given(payloads, texts, texts, texts, uints)
def test_what_the_cddl_allows_parses_and_is_written_alike(payload, issuer, stream, audience, issued_at):
    """Our writer, from the parsed parts, makes the very bytes that another CBOR library and signer made."""
    claims = model.claims(issuer, stream, audience, issued_at)
    entry = model.sign(KEY, model.header(KEY.kid, claims), payload)
    parsed = Statement.parse(entry)

    assert parsed.payload_map() == payload
    assert (parsed.issuer, parsed.stream, parsed.audience, parsed.issued_at) == (issuer, stream, audience, issued_at)
    assert (parsed.kid, parsed.leaf, parsed.entry_id) == (KEY.kid, model.leaf(entry), encode_base64url(parsed.leaf))
    parsed.verify_signature(KEY.public)
    again = sign_statement(
        SigningKey.from_seed(model.sha256(b"attest test key " + ACME.encode())),
        parsed.payload,
        issuer=issuer,
        stream=stream,
        audience=audience,
        issued_at=issued_at,
        seq=parsed.seq,
        about=parsed.about,
        ref=parsed.ref,
    )
    assert again == parsed
    assert parsed.to_be_signed() == model.to_be_signed(*(cbor2.loads(entry).value[n] for n in (0, 2)))


@steady
@given(st.data())
def test_damage_is_refused_or_another_statement(data):
    """Whatever parses is its own bytes; and no damage leaves the signature valid."""
    entry = write(full(data.draw(st.sampled_from(sorted(KINDS)))))
    place = data.draw(st.integers(0, len(entry) - 1))
    damaged = entry[:place] + data.draw(st.binary(max_size=2)) + entry[place + data.draw(st.integers(0, 2)) :]
    if damaged == entry:
        return
    try:
        parsed = Statement.parse(damaged)
    except AttestError:
        return
    assert parsed.entry == damaged
    assert cbor2.loads(parsed.entry[1:])[2] == model.det(parsed.payload_map())
    with pytest.raises(Refuted):
        parsed.verify_signature(KEY.public)


@steady
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"\xd2\x84" + tail))
def test_noise_is_malformed(noise):
    """Nothing but `Malformed` comes out of bytes that nobody signed."""
    refused(noise)


# --- every field, wrongly ---

JUNK = [
    None,
    True,
    False,
    -1,
    2**53 - 1,
    "",
    "\n",
    "x" * 600,
    "A",
    b"",
    bytes(31),
    bytes(33),
    bytes(65),
    [],
    {},
    [None],
]
# Where junk is not junk.
FREE_UINT = {"seq", "size", "time", "erased_at", "backup_cycle", "number"}
FREE_TEXT = {"name", "legal_id", "retention"}  # policy/1's name is a code
NULLABLE = {"predecessor", "retention", "backup_cycle", "processor_log"}


def allowed(kind, path, junk):
    name = path[-1]
    if junk is None:
        return name in NULLABLE
    if isinstance(junk, bool):
        return name == "retired"
    if junk == 2**53 - 1:
        return name in FREE_UINT
    if junk == "A":
        return (name in FREE_TEXT and kind != "policy/1") or name in ("origin", "processor_log")
    if junk == []:
        return name in ("assets", "vrf", "add", "revoke")
    return False


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_field_refuses_what_is_not_of_its_kind(kind):
    """Text for bytes, bool for int, null, too short, too long, out of range: at every place of every kind."""
    good = full(kind)
    Statement.parse(write(good))
    for path in places(good):
        for junk in JUNK:
            wrong = put(good, path, junk)
            if wrong == good and all(type(a) is type(b) for a, b in [(junk, at(good, path))]):
                continue
            if allowed(kind, path, junk):
                Statement.parse(write(wrong))
            else:
                assert refused(write(wrong)) in ("statement/field", "statement/kind"), (path, junk)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_maps_are_closed(kind):
    """One field more or one less, at any depth, is refused; `about` and `ref` alone may be left out."""
    good = full(kind)
    for path in [(), *places(good)]:
        found = at(good, path)
        if not isinstance(found, dict):
            continue
        for other in ("x", 7):
            grown = {**found, other: 0}
            assert refused(write(put(good, path, grown) if path else grown)) == "statement/field"
        for name in found:
            shrunk = {key: value for key, value in found.items() if key != name}
            wrong = put(good, path, shrunk) if path else shrunk
            if path == () and name in ("about", "ref"):
                Statement.parse(write(wrong))
            else:
                assert refused(write(wrong)) in ("statement/field", "statement/kind")


@pytest.mark.parametrize(("kind", "path", "value", "code"), BAD_FIELDS)
def test_a_field_out_of_its_bounds_is_refused(kind, path, value, code):
    """The bounds of the CDDL, each by one."""
    assert refused(write(put(full(kind), path, value))) == code


def test_keys_change_something():
    """A keys/1 that neither adds nor revokes is none."""
    assert refused(write({**full("keys/1"), "add": [], "revoke": []})) == "statement/field"
    Statement.parse(write({**full("keys/1"), "add": []}))
    Statement.parse(write({**full("keys/1"), "revoke": []}))


def test_bounds_are_inclusive():
    """What stands in the CDDL as a bound is allowed."""
    Statement.parse(write({**full("party/1"), "name": "\U0001f600" * 200, "id": "a." * 125 + "abc"}))
    Statement.parse(write({**full("log/1"), "origin": "ä" * 127 + "x"}))
    limits = {"rows": 2**20, "statement": 16384, "skew": 3600, "silence": 86400}
    Statement.parse(write({**full("log/1"), "limits": limits}))
    Statement.parse(write({**full("hold/1"), "count": 2**20}))
    Statement.parse(write({**full("systems/1"), "systems": [descriptor(f"s{n:02}") for n in range(64)]}))


# --- the envelope ---


@pytest.mark.parametrize("name", ENVELOPES)
def test_the_envelope_has_one_form(name):
    """Tagged, empty unprotected header, attached payload, Ed25519, a closed set of protected labels and claims."""
    entry, code = ENVELOPES[name]
    assert refused(entry) == code


@pytest.mark.parametrize("name", OTHER_CBOR)
def test_only_deterministic_cbor_is_a_statement(name):
    """Outside, in the header and in the payload: order, lengths, repeats, and the older canonical order."""
    entry, code = OTHER_CBOR[name]
    assert refused(entry) == code


def test_invalid_utf8_is_refused():
    """In a name, and as a surrogate."""
    payload = model.det({**full("party/1"), "name": "Acme"})
    for broken in (b"\xff\xfe\xfd\xfc", b"\xed\xa0\x80a", b"\xc0\x80ab"):
        assert refused(write(payload.replace(b"\x64Acme", b"\x64" + broken))) == "encoding/utf8"


def test_a_statement_has_at_most_16_kib():
    """One byte more is refused before it is read."""
    many = [descriptor(f"s{n:02}", retention="x" * 200) for n in range(40)]
    base = len(write({**full("systems/1"), "systems": many}))
    pad = formats.MAX_STATEMENT - base
    for n in range(40):
        step = min(pad, 300)
        many[n]["retention"] = "x" * (200 + step)
        pad -= step
    while (off := formats.MAX_STATEMENT - len(write({**full("systems/1"), "systems": many}))) != 0:
        many[-1]["retention"] = "x" * (len(many[-1]["retention"]) + off)
    entry = write({**full("systems/1"), "systems": many})
    assert len(entry) == formats.MAX_STATEMENT
    Statement.parse(entry)
    many[-1]["retention"] += "x"
    assert refused(write({**full("systems/1"), "systems": many})) == "statement/size"
    assert refused(entry + b"\x00") == "statement/size"


def test_deep_and_wide_noise_is_cheap():
    """Nesting, announced lengths, many members: refused without recursion or allocation."""
    for body in (
        b"\x81" * 16000,
        b"\xa1\x00" * 8000,
        b"\x9b" + b"\x7f" * 8,
        b"\x5b" + b"\xff" * 8,
        b"\xbb" + b"\x7f" * 8,
    ):
        assert refused(write(body)).startswith("cbor/")
        assert refused(b"\xd2\x84" + body[:16000]).startswith("cbor/")
    assert refused(write(b"\x99\x3a\x98" + bytes(15000))) == "statement/kind"


def test_descriptors_are_written_as_they_are_read():
    """And their digest is over the written form."""
    for found in (descriptor("db"), full("systems/1")["systems"][0]):
        encoded = model.det(found)
        parsed = Descriptor.decode(encoded)
        assert parsed.encode() == encoded
        assert parsed.digest() == model.label("descriptor", encoded)
    for other in (b"\x80", b"\x00", b"\xf6", b"\x62db"):
        with pytest.raises(Malformed) as caught:
            Descriptor.decode(other)
        assert caught.value.code == "statement/field"
    with pytest.raises(Malformed):
        Descriptor.decode(shuffled(encoded))


def test_kids_are_thumbprints():
    """RFC 9679, over the COSE_Key as cbor2 writes it."""
    assert thumbprint(KEY.public) == KEY.kid


def test_possession_covers_everything_but_what_comes_later():
    """Not seq, about, ref, the proofs, or the operator's check; but the log and the party."""
    for kind in ("party/1", "keys/1"):
        payload = full(kind)
        parsed = Statement.parse(write(payload)).payload
        want = model.possession(ORIGIN, ACME, payload)
        assert formats.possession_message(ORIGIN, ACME, parsed) == want
        assert formats.possession_message("x", ACME, parsed) != want
        assert formats.possession_message(ORIGIN, "x", parsed) != want


# --- the COSE working group's examples ---


def cose_vectors():
    root = Path(__file__).parents[2]
    found = Path(os.environ.get("ATTEST_SHARED_VECTORS") or root.parent / "shared" / "vectors") / "cose"
    if not found.is_dir():
        pytest.skip(f"no vectors of other implementations in {found}; set ATTEST_SHARED_VECTORS")
    return {path.stem: json.loads(path.read_text()) for path in sorted(found.glob("*.json"))}


def test_sig_structures_are_the_working_groups():
    """RFC 9052 section 4.4, over their headers and payloads; their Ed25519 signature verifies over ours."""
    seen = 0
    for vector in cose_vectors().values():
        encoded = bytes.fromhex(vector["output"]["cbor"])
        # In the examples that must fail, what was signed is not what is shown.
        if "sign0" not in vector["input"] or vector.get("fail"):
            continue
        protected, _, payload, signature = cbor2.loads(encoded).value
        signed = formats._sig_structure(protected, payload)
        assert signed == bytes.fromhex(vector["intermediates"]["ToBeSign_hex"])
        if vector["input"]["sign0"]["key"]["crv"] == "Ed25519":
            verify_ed25519(bytes.fromhex(vector["input"]["sign0"]["key"]["x_hex"]), signed, signature)
        seen += 1
    assert seen >= 2


def test_the_working_groups_examples_are_not_our_statements():
    """Good or bad: other tags, other algorithms, unprotected headers; each is refused for what it is."""
    for name, vector in cose_vectors().items():
        encoded = bytes.fromhex(vector["output"]["cbor"])
        assert refused(encoded) == "statement/cose", name
        if encoded[0] != 0xD2:
            continue
        protected, _, payload, signature = cbor2.loads(encoded).value
        emptied = b"\xd2" + model.det([protected, {}, payload, signature[:64]])
        assert refused(emptied) == ("statement/cose" if len(signature) < 64 else "statement/alg"), name
