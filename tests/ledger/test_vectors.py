"""The vector files of statements, rows, state and transitions, run as another implementation would run them."""

import json
from functools import cache

import pytest

from attest.crypto.keys import thumbprint, verify_ed25519
from attest.encoding import decode_cbor, encode_base64url
from attest.errors import AttestError, Unavailable
from attest.formats.rows import RowFile, RowProof, prove_row
from attest.formats.state import PartyHead, State, SystemHead, extend_chain, state_value
from attest.formats.statement import KINDS, Descriptor, Statement, possession_message
from attest.ledger.rules import RULES, RULES_DIGEST
from attest.ledger.transition import Anchor, verify_transition
from tests.vectors import generate_ledger


@cache
def read(name):
    return json.loads((generate_ledger.VECTORS / name).read_text())


def cases(name):
    return pytest.mark.parametrize("case", read(name)["cases"], ids=lambda case: ascii(case["desc"])[1:60])


def run(case, check):
    """Run a check that has to succeed, or to fail with the case's code."""
    if "code" not in case:
        return check()
    with pytest.raises(AttestError) as caught:
        check()
    assert caught.value.code == case["code"]
    return caught.value


def plain(value):
    return generate_ledger.plain(value)


@pytest.mark.parametrize("name", generate_ledger.FILES)
def test_the_files_are_what_the_generator_writes(name):
    """Nobody has edited an expected value, and `python -m tests.vectors.generate_ledger` changes nothing."""
    assert (generate_ledger.VECTORS / name).read_text() == generate_ledger.render(name)


@cases("statements/good.json")
def test_statements_say_what_the_vectors_say(case):
    """Every part of them, and their signature is valid."""
    found = Statement.parse(bytes.fromhex(case["entry"]))
    for name in ("issuer", "stream", "audience", "issued_at", "seq", "about"):
        assert getattr(found, name) == case[name]
    assert (found.kid.hex(), plain(found.ref), found.leaf.hex()) == (case["kid"], case["ref"], case["leaf"])
    payload = plain({"kind": found.payload.KIND, **found.payload.fields()})
    assert payload == case["payload"]
    assert found.entry_id == case["entry_id"] == encode_base64url(found.leaf)
    assert found.to_be_signed().hex() == case["to_be_signed"]
    found.verify_signature(bytes.fromhex(case["public"]))
    assert thumbprint(bytes.fromhex(case["public"])) == found.kid


@cases("statements/bad.json")
def test_what_is_no_statement_has_its_code(case):
    """Envelope, header, fields and CBOR."""
    run(case, lambda: Statement.parse(bytes.fromhex(case["entry"])))


def test_every_kind_has_vectors():
    """Good ones and bad ones."""
    assert {case["payload"]["kind"] for case in read("statements/good.json")["cases"]} == set(KINDS)
    assert all(any(kind in case["desc"] for case in read("statements/bad.json")["cases"]) for kind in KINDS)


@cases("statements/signatures.json")
def test_signatures_verify_or_not(case):
    """Under the key given."""
    found = Statement.parse(bytes.fromhex(case["entry"]))
    run(case, lambda: found.verify_signature(bytes.fromhex(case["public"])))


@cases("statements/possession.json")
def test_new_keys_sign_what_the_vectors_say(case):
    """And their proofs verify over it."""
    fields = decode_cbor(bytes.fromhex(case["payload"]))
    kind = KINDS[fields["kind"]]
    payload = kind.parse({name: value for name, value in fields.items() if name not in ("kind", "seq", "about", "ref")})
    message = possession_message(case["origin"], case["party"], payload)
    assert message.hex() == case["message"]
    for proof in case["proofs"]:
        public = bytes.fromhex(proof["public"])
        verify_ed25519(public, message, bytes.fromhex(proof["proof"]))
        assert thumbprint(public).hex() == proof["kid"]


@cases("rows/files.json")
def test_row_files_are_read_as_the_vectors(case):
    """With count and root, or a code and the offending rows."""
    found = run(case, lambda: RowFile.parse(bytes.fromhex(case["encoded"])))
    if "code" in case:
        assert list(found.rows) == case.get("rows", [])
        return
    assert (len(found), found.root().hex()) == (case["count"], case["root"])


@cases("rows/proofs.json")
def test_row_proofs_verify_or_not(case):
    """Under the signed count and root; we make the same ones."""
    path = tuple(map(bytes.fromhex, case["path"]))
    proof = RowProof(case["position"], bytes.fromhex(case["row"]), path)
    run(case, lambda: proof.verify(case["count"], bytes.fromhex(case["root"])))


@cases("rows/files.json")
def test_row_proofs_are_made_for_every_row(case):
    """Of the good files; each verifies."""
    if "code" not in case:
        file = RowFile.parse(bytes.fromhex(case["encoded"]))
        for position in range(len(file)):
            prove_row(file, position).verify(case["count"], bytes.fromhex(case["root"]))


@cases("state/states.json")
def test_states_are_read_as_the_vectors(case):
    """49 bytes, and their value."""
    encoded = bytes.fromhex(case["encoded"])
    found = run(case, lambda: State.parse(encoded))
    if "code" not in case:
        want = (case["status"], case["generation"], case["version"], int(case["position"]), case["commitment"])
        assert (found.status, found.generation, found.version, found.position, found.commitment.hex()) == want
        assert (found.encode(), state_value(encoded).hex()) == (encoded, case["value"])


@cases("state/heads.json")
def test_heads_are_read_as_the_vectors(case):
    """With their key and value in the map above them."""
    encoded = bytes.fromhex(case["encoded"])
    found = run(case, lambda: {"system": SystemHead, "party": PartyHead}[case["kind"]].decode(encoded))
    if "code" not in case:
        assert plain(decode_cbor(found.encode())) == case["fields"]
        assert (found.encode(), found.key().hex(), found.value().hex()) == (encoded, case["key"], case["value"])


@cases("state/descriptors.json")
def test_descriptors_are_read_as_the_vectors(case):
    """With their digest."""
    found = Descriptor.decode(bytes.fromhex(case["encoded"]))
    assert (found.fields(), found.encode().hex()) == (case["fields"], case["encoded"])
    assert found.digest().hex() == case["digest"]


@cases("state/chains.json")
def test_chains_grow_as_the_vectors_say(case):
    """Entry by entry, from 32 zeros."""
    chain = bytes(32)
    for step in case["steps"]:
        chain = extend_chain(chain, step["position"], bytes.fromhex(step["leaf"]))
        assert chain.hex() == step["chain"]


def rows_of_case(case):
    files = {bytes.fromhex(root): bytes.fromhex(file) for root, file in case["rows"].items()}

    def rows(root):
        if root not in files:
            raise Unavailable("rows/missing", "not in this case")
        return files[root]

    return rows


@cache
def anchors():
    """Where each case of the history leads, beginning with nothing."""
    found = [Anchor.empty()]
    for case in read("transition/history.json")["cases"]:
        found.append(verify_transition(bytes.fromhex(case["proof"]), found[-1], rows_of_case(case)))
    return found


def test_the_history_is_checked_from_the_first_entry():
    """Each proof leads where the vector says, under the rule set it names."""
    history = read("transition/history.json")
    assert history["rules"] == {"name": RULES, "digest": RULES_DIGEST.hex()}
    for case, anchor in zip(history["cases"], anchors()[1:], strict=True):
        assert (anchor.size, anchor.root.hex()) == (case["size"], case["root"])
        assert anchor.previous.payload.root.hex() == case["top"]


@cases("transition/refused.json")
def test_what_does_not_follow_is_refused(case):
    """From where the history leads, for the reason the vector names."""
    run(case, lambda: verify_transition(bytes.fromhex(case["proof"]), anchors()[-1], rows_of_case(case)))


@cases("transition/ended.json")
def test_nothing_follows_the_end_of_a_log(case):
    """The end follows the history; nothing comes between it and its epoch, nothing after."""
    first = read("transition/ended.json")["cases"][0]
    start = anchors()[-1]
    if case["after"] == "end":
        start = verify_transition(bytes.fromhex(first["proof"]), start, rows_of_case(first))
    found = run(case, lambda: verify_transition(bytes.fromhex(case["proof"]), start, rows_of_case(case)))
    if "code" not in case:
        assert (found.size, found.root.hex()) == (case["size"], case["root"])
        assert found.previous.payload.root.hex() == case["top"]
