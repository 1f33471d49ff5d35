"""A checkpoint has one spelling, and only its own log's keys speak for it."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.encoding import encode_base64, parse_base64, sha256
from attest.errors import AttestError, Malformed
from attest.formats.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    log_verifiers,
    sign_checkpoint,
    verify_log_signatures,
)
from attest.formats.cosignature import verify_line
from attest.formats.note import KeyType, NoteVerifier, sign_text

VECTORS = Path(__file__).parents[1] / "vectors" / "note"
deterministic = settings(derandomize=True, deadline=None, max_examples=200)

ED25519 = SigningKey.from_seed(bytes(range(32)))
MLDSA44 = MLDSASigningKey.from_seed(bytes(range(96, 128)))
CHECKPOINT = Checkpoint("log.example/deletions", 5, parse_base64("GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw="))
LOG = log_verifiers(CHECKPOINT.origin, ED25519.public, MLDSA44.public)


def cases(name):
    """Return the cases of one vector file as parameters."""
    return [pytest.param(case, id=case["name"]) for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"]]


@pytest.mark.parametrize("case", cases("checkpoint"))
def test_a_checkpoint_parses_to_its_parts_or_is_refused(case):
    """Good bodies give origin, size and root, and encode back; bad ones give their code."""
    if code := case.get("code"):
        with pytest.raises(Malformed) as refusal:
            Checkpoint.parse(case["wire"])
        assert refusal.value.code == code
        return

    checkpoint = Checkpoint.parse(case["wire"])

    assert checkpoint == Checkpoint(case["origin"], int(case["size"]), bytes.fromhex(case["root"]))
    assert checkpoint.encode() == case["wire"]


@pytest.mark.parametrize("case", cases("log-signatures"))
def test_log_signatures_verify_or_are_refused(case):
    """The known keys of this origin that signed come out; a known key that does not verify refuses all."""
    signed = SignedCheckpoint.parse(case["wire"])
    verifiers = [NoteVerifier.parse(vkey) for vkey in case["vkeys"]]
    if code := case.get("code"):
        with pytest.raises(AttestError) as refusal:
            verify_log_signatures(signed, verifiers)
        assert refusal.value.code == code
        return

    assert [verifier.encode() for verifier in verify_log_signatures(signed, verifiers)] == case["verified"]
    assert signed.encode() == case["wire"].encode()


def test_a_log_signs_with_both_keys_ed25519_first():
    """The first line is the one every reader knows, byte for byte; the second is ML-DSA-44 at the time given."""
    signed = sign_checkpoint(CHECKPOINT, ED25519, MLDSA44, 1790000000)
    first, second = signed.note.signatures

    assert signed.note.text == "log.example/deletions\n5\nGqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n"
    assert first.encode() == (
        "— log.example/deletions "
        "WkLAvMTEZDmLGd6RsBCf5Uog0WL1rJ7ywqbTga2OvUQf0zONlp/uyyPNB8qxUmc6RKZIxl32fxDE6lhyASxM9eAXAQ8="
    )
    assert LOG[0].encode() == "log.example/deletions+5a42c0bc+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    assert (second.name, second.key_id) == (CHECKPOINT.origin, LOG[1].key_id)
    assert verify_line(LOG[1], CHECKPOINT, second) == 1790000000
    assert verify_log_signatures(SignedCheckpoint.parse(signed.encode()), LOG) == LOG


def test_the_origin_hash_is_that_of_the_name():
    """Witnesses serve a log's checkpoint under the hash of its origin."""
    assert (
        sha256(CHECKPOINT.origin.encode()).hex() == "85fbf347bc4b0a14fcbfe50c3e1f12044fafd437e3b2d5964e3ec4a637867581"
    )


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", 5, bytes(32)),
        Checkpoint("log.example/a b", 5, bytes(32)),
        Checkpoint("log.example\n6", 5, bytes(32)),
        Checkpoint("log.example", -1, bytes(32)),
        Checkpoint("log.example", 2**63, bytes(32)),
        Checkpoint("log.example", 5, bytes(31)),
    ],
)
def test_a_log_signs_nothing_that_does_not_parse(checkpoint):
    """A signature on an unreadable checkpoint could not be taken back."""
    with pytest.raises(Malformed):
        sign_checkpoint(checkpoint, ED25519, MLDSA44, 1790000000)


def test_a_log_signs_with_a_time():
    """0 would say that this need not be the largest tree."""
    for time in (0, -1, 2**63):
        with pytest.raises(ValueError, match="time"):
            sign_checkpoint(CHECKPOINT, ED25519, MLDSA44, time)


def test_a_witness_key_is_no_log_key():
    """Asking with a type 0x04 key is a mistake of the caller."""
    signed = sign_checkpoint(CHECKPOINT, ED25519, MLDSA44, 1790000000)
    with pytest.raises(ValueError, match="0x04"):
        verify_log_signatures(signed, [NoteVerifier.of("wit.example", KeyType.COSIGNATURE, ED25519.public)])


def test_lines_are_added_below():
    """A copy with another line has the log's lines first, and the original is as it was."""
    signed = sign_checkpoint(CHECKPOINT, ED25519, MLDSA44, 1790000000)
    line = sign_text("other.example", SigningKey.from_seed(bytes(32)), signed.note.text)

    assert signed.with_lines([line]).note.signatures == (*signed.note.signatures, line)
    assert len(signed.note.signatures) == 2


@deterministic
@given(
    st.tuples(
        st.text(max_size=12),
        st.sampled_from(["0", "5", "05", "9223372036854775808", ""]) | st.text(max_size=4),
        st.binary(min_size=30, max_size=34).map(encode_base64) | st.text(max_size=8),
        st.text(max_size=3),
    ).map("\n".join)
    | st.text(max_size=60)
)
def test_a_checkpoint_has_one_spelling(text):
    """Whatever parses encodes back to the same text, so signatures cannot be moved to a variant."""
    try:
        checkpoint = Checkpoint.parse(text)
    except AttestError:
        return

    assert checkpoint.encode() == text


SIGNED = next(
    case["wire"].encode()
    for case in json.loads((VECTORS / "log-signatures.json").read_text())["cases"]
    if case["name"] == "both signatures"
)


@settings(deterministic, max_examples=500)
@given(
    # Half of the mutations fall into the text and the first line; the ML-DSA-44 line has nine tenths of the bytes.
    st.integers(0, 250) | st.integers(0, len(SIGNED) - 1),
    st.binary(max_size=2),
    st.integers(0, 2),
)
def test_a_mutated_checkpoint_says_nothing_new(at, inserted, removed):
    """Any change is refused, or says the same, signed by the same keys or, with a line made unknown, by fewer."""
    mutated = SIGNED[:at] + inserted + SIGNED[at + removed :]
    try:
        signed = SignedCheckpoint.parse(mutated)
        verified = verify_log_signatures(signed, LOG)
    except AttestError:
        return

    assert signed.checkpoint == CHECKPOINT
    assert set(verified) <= set(LOG)
    assert signed.encode() == mutated
    if verified == LOG:
        lines = mutated.split(b"\n")
        assert all(line in lines for line in SIGNED.split(b"\n"))
