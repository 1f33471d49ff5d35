"""A `.tlog-proof` has one spelling."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.encoding import sha256
from attest.errors import AttestError, Malformed
from attest.formats.tlog_proof import MAX_PROOF, TlogProof

VECTORS = Path(__file__).parents[1] / "vectors" / "tlog-proof"
CASES = json.loads((VECTORS / "tlog-proof.json").read_text())["cases"]
deterministic = settings(derandomize=True, deadline=None, max_examples=200)


def wire(case):
    """Return a case's bytes."""
    return base64.b64decode(case["wire_base64"]) if "wire_base64" in case else case["wire"].encode()


GOOD = wire(CASES[2])
SIGNED = TlogProof.parse(GOOD).signed


def climb(leaf, index, size, path):
    """Walk from a leaf to the root, as RFC 9162 §2.1.3.2 says."""
    fn, sn, node = index, size - 1, leaf
    for sibling in path:
        if fn & 1 or fn == sn:
            node = sha256(b"\1" + sibling + node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = sha256(b"\1" + node + sibling)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return node


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_a_proof_parses_to_its_parts_or_is_refused(case):
    """A good file gives index, path, extra and checkpoint, and encodes back; a bad one gives its code."""
    if code := case.get("code"):
        with pytest.raises(Malformed) as refusal:
            TlogProof.parse(wire(case))
        assert refusal.value.code == code
        return

    proof = TlogProof.parse(wire(case))

    assert proof.index == int(case["index"])
    assert [node.hex() for node in proof.path] == case["path"]
    assert (None if proof.extra is None else proof.extra.hex()) == case["extra"]
    assert proof.encode() == wire(case)
    if entry := case.get("entry"):
        leaf = sha256(b"\0" + bytes.fromhex(entry))
        assert climb(leaf, proof.index, proof.signed.checkpoint.size, proof.path) == proof.signed.checkpoint.root


def test_a_proof_has_a_size_limit():
    """2 MiB is more than a full note and a full path need."""
    with pytest.raises(Malformed, match="tlog-proof/size"):
        TlogProof.parse(b"x" * (MAX_PROOF + 1))


def test_empty_extra_data_cannot_be_written():
    """No extra data is no extra line."""
    with pytest.raises(ValueError, match="None"):
        TlogProof(0, (), SIGNED, b"").encode()


@deterministic
@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.none() | st.binary(min_size=1, max_size=40),
)
def test_a_proof_survives_its_wire_form(index, path, extra):
    """Whatever is written parses to the same."""
    proof = TlogProof(index, tuple(path), SIGNED, extra)

    assert TlogProof.parse(proof.encode()) == proof


@settings(deterministic, max_examples=400)
@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=2) | st.text(max_size=2).map(str.encode), st.integers(0, 2))
def test_a_mutated_proof_is_refused_or_encodes_back(at, inserted, removed):
    """No change of bytes leaves two spellings of one proof."""
    mutated = GOOD[:at] + inserted + GOOD[at + removed :]
    try:
        proof = TlogProof.parse(mutated)
    except AttestError:
        return

    assert proof.encode() == mutated
