"""What the log signs about single entries, and how a party asks to be admitted."""

import json
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from attest.crypto.keys import SigningKey, thumbprint
from attest.errors import AttestError, Conflict, Malformed, Refuted
from attest.formats.join import JoinRequest, encode_domain, parse_domain
from attest.formats.receipt import (
    Promise,
    Receipt,
    Refusal,
    encode_key,
    encode_key_set,
    parse_key,
    parse_key_set,
    sign_promise,
    sign_refusal,
    sign_tree_head,
)
from attest.merkle.tree import inclusion_path, leaf_hashes, root, subtree_reader
from tests.world import ORIGIN, Holder, SimulatedClock

KEY = SigningKey.from_seed(bytes(range(32)))
LEAVES = leaf_hashes([b"%d" % n for n in range(33)])
LEAF = LEAVES[2]
PROMISE = sign_promise(KEY, ORIGIN, issued_at=7, entry=LEAF, by=9)
REFUSAL = sign_refusal(KEY, ORIGIN, issued_at=7, entry=LEAF, code="rule/seq", rows=[1, 2], position=5)


def receipt(size: int, index: int) -> bytes:
    head = sign_tree_head(KEY, ORIGIN, issued_at=7, size=size, root=root(LEAVES[:size]))
    return head.receipt(index, inclusion_path(index, size, subtree_reader(LEAVES[:size])))


ALL: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "promise": (PROMISE.encoded, lambda found: Promise.parse(found).verify(KEY.public)),
    "refusal": (REFUSAL.encoded, lambda found: Refusal.parse(found).verify(KEY.public)),
    "receipt": (receipt(33, 2), lambda found: Receipt.parse(found).verify(LEAF, KEY.public)),
}


@pytest.mark.parametrize("kind", ALL)
@given(where=st.integers(min_value=0), bit=st.integers(0, 7))
def test_every_changed_bit_is_noticed(kind: str, where: int, bit: int) -> None:
    """What is not signed does not parse."""
    encoded, check = ALL[kind]
    changed = bytearray(encoded)
    changed[where % len(encoded)] ^= 1 << bit
    with pytest.raises(AttestError):
        check(bytes(changed))


@pytest.mark.parametrize("kind", ALL)
def test_anything_cut_off_or_added_is_noticed(kind: str) -> None:
    """At every length."""
    encoded, check = ALL[kind]
    for wrong in (*(encoded[:n] for n in range(len(encoded))), encoded + b"\x00", encoded * 400):
        with pytest.raises(Malformed):
            check(wrong)


@pytest.mark.parametrize("encoded", [PROMISE.encoded, REFUSAL.encoded])
def test_promises_and_refusals_are_cose_as_others_read_it(encoded: bytes) -> None:
    """cbor2 decodes them, and the signature is over the Sig_structure of RFC 9052."""
    found = cbor2.loads(encoded)
    protected, unprotected, payload, signature = found.value
    assert (found.tag, unprotected) == (18, {})
    assert cbor2.loads(protected) == {
        1: -19,
        3: "application/vnd.attest.promise+cbor",
        4: thumbprint(KEY.public),
        15: {1: f"https://{ORIGIN}", 2: ORIGIN, 6: 7},
    }
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    Ed25519PublicKey.from_public_bytes(KEY.public).verify(signature, signed)
    wanted = {
        "promise/1": {"kind": "promise/1", "entry": LEAF, "by": 9},
        "refusal/1": {"kind": "refusal/1", "entry": LEAF, "code": "rule/seq", "rows": [1, 2], "position": 5},
    }
    payload = cbor2.loads(payload)
    assert payload == wanted[payload["kind"]]


def test_a_receipt_is_what_rfc_9942_draws() -> None:
    """Detached payload, proof unprotected, algorithm and tree size protected; the signature is over the root."""
    found = cbor2.loads(receipt(33, 2))
    protected, unprotected, payload, signature = found.value
    assert (found.tag, payload) == (18, None)
    assert cbor2.loads(protected) == {
        1: -19,
        4: thumbprint(KEY.public),
        15: {1: f"https://{ORIGIN}", 2: ORIGIN, 6: 7, -70001: 33},
        16: "application/scitt-receipt+cose",
        395: 1,
    }
    size, index, path = cbor2.loads(unprotected[396][-1][0])
    assert (size, index, path) == (33, 2, inclusion_path(2, 33, subtree_reader(LEAVES)))
    signed = cbor2.dumps(["Signature1", protected, b"", root(LEAVES)])
    Ed25519PublicKey.from_public_bytes(KEY.public).verify(signature, signed)


def test_a_receipt_proves_no_other_index_or_size() -> None:
    """The same path under another size leads to the same root: the signed size is what stops it."""
    protected, unprotected, payload, signature = cbor2.loads(receipt(3, 2)).value
    path = cbor2.loads(unprotected[396][-1][0])[2]
    moved = {396: {-1: [cbor2.dumps([5, 4, path])]}}
    with pytest.raises(Malformed, match="receipt/size"):
        Receipt.parse(cbor2.dumps(cbor2.CBORTag(18, [protected, moved, payload, signature])))
    with pytest.raises(ValueError):
        sign_tree_head(KEY, ORIGIN, issued_at=7, size=1, root=LEAF)


def test_another_key_does_not_vouch() -> None:
    """Neither by its kid nor by its signature."""
    other = SigningKey.generate()
    for check in (
        lambda: PROMISE.verify(other.public),
        lambda: REFUSAL.verify(other.public),
        lambda: Receipt.parse(receipt(33, 2)).verify(LEAF, other.public),
    ):
        with pytest.raises(Refuted, match="receipt/kid"):
            check()
    with pytest.raises(Refuted, match="signature/invalid"):
        Receipt.parse(receipt(33, 2)).verify(LEAVES[3], KEY.public)


def test_keys_are_cose_keys() -> None:
    """With the RFC 9679 thumbprint as kid; small-order keys are not read."""
    wanted = {1: 1, 2: thumbprint(KEY.public), 3: -19, -1: 6, -2: KEY.public}
    assert cbor2.loads(encode_key(KEY.public)) == wanted
    assert cbor2.loads(encode_key_set([KEY.public])) == [wanted]
    assert parse_key(encode_key(KEY.public)) == KEY.public
    assert parse_key_set(encode_key_set([KEY.public])) == (KEY.public,)
    for wrong in ({**wanted, 2: bytes(32)}, {**wanted, 3: -8}, {1: 1}, {**wanted, 4: 1}):
        with pytest.raises(Malformed, match="receipt/key"):
            parse_key(cbor2.dumps(wrong, canonical=True))
    with pytest.raises(Malformed, match="key/small-order"):
        parse_key(cbor2.dumps({**wanted, -2: b"\x01" + bytes(31)}, canonical=True))


# --- join requests ---


@pytest.fixture
def request_() -> JoinRequest:
    return Holder("acme.example", SimulatedClock()).join_request()


def test_a_join_request_reads_back_and_verifies(request_: JoinRequest) -> None:
    """The digest is of the file as we write it, however it was laid out."""
    request_.verify(ORIGIN)
    assert JoinRequest.parse(request_.encode()) == request_
    compact = json.dumps(request_.to_json(), separators=(",", ":")).encode()
    assert JoinRequest.parse(compact).digest() == request_.digest()
    assert parse_domain(encode_domain((request_.digest(), bytes(32)))) == (request_.digest(), bytes(32))


def changed(request: JoinRequest, **changes: Any) -> bytes:
    return json.dumps({**request.to_json(), **changes}).encode()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"format": "attest-join/2"}, "join/format"),
        ({"more": 1}, "json/field"),
        ({"id": "Acme.example"}, "statement/field"),
        ({"id": "acme"}, "statement/field"),
        ({"role": "log"}, "statement/field"),
        ({"name": ""}, "statement/field"),
        ({"legal_id": "a\nb"}, "statement/field"),
        ({"origin": "https://log.example"}, "join/origin"),
        ({"keys": []}, "statement/field"),
        ({"vrf": [{"suite": 4, "hash": "AAAA"}]}, "encoding/base64"),
    ],
)
def test_a_join_request_is_read_strictly(request_: JoinRequest, changes: dict[str, Any], code: str) -> None:
    """It becomes a statement, and obeys what a statement obeys."""
    with pytest.raises(Malformed) as error:
        JoinRequest.parse(changed(request_, **changes))
    assert error.value.code == code


def test_a_join_request_proves_possession_of_its_keys_for_this_log_and_party(request_: JoinRequest) -> None:
    """Nobody is admitted with another's key, a key that anybody can sign for, or a request for another log."""
    with pytest.raises(Conflict, match="join/origin"):
        request_.verify("log.example/other")
    wire = request_.to_json()
    for changes in ({"id": "evil.example"}, {"name": "Other"}, {"legal_id": "XX 2"}):
        with pytest.raises(Refuted, match="rule/possession"):
            JoinRequest.parse(changed(request_, **changes)).verify(ORIGIN)
    small = {**wire["keys"][0], "key": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    with pytest.raises(Malformed, match="key/small-order"):
        JoinRequest.parse(changed(request_, keys=[small, wire["keys"][1]])).verify(ORIGIN)
    for keys, code in (([wire["keys"][0]] * 2, "join/keys"), ([*wire["keys"], wire["keys"][0]], "join/keys")):
        with pytest.raises(AttestError, match=code):
            JoinRequest.parse(changed(request_, keys=keys)).verify(ORIGIN)
    for changes in ({"vrf": []}, {"role": "auditor"}):
        with pytest.raises(Malformed, match="join/vrf"):
            JoinRequest.parse(changed(request_, **changes)).verify(ORIGIN)
