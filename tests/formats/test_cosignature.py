"""A cosignature binds a witness, a time and a checkpoint, byte by byte as C2SP says."""

import json
from pathlib import Path

import pytest

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.encoding import parse_base64
from attest.errors import Refuted
from attest.formats.checkpoint import Checkpoint
from attest.formats.cosignature import (
    MAX_TIME,
    Cosignature,
    cosign_ed25519,
    cosign_mldsa44,
    ed25519_message,
    mldsa44_message,
    subtree_message,
    verify_cosignature,
    verify_line,
)
from attest.formats.note import KeyType, NoteVerifier, SignatureLine

VECTORS = Path(__file__).parents[1] / "vectors" / "note"
CASES = json.loads((VECTORS / "cosignature.json").read_text())["cases"]

CHECKPOINT = Checkpoint("log.example/deletions", 5, parse_base64("GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw="))
TIME = 1790000000
W1 = SigningKey.from_seed(bytes(range(32, 64)))
PQ = MLDSASigningKey.from_seed(bytes(range(64, 96)))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_a_cosignature_verifies_or_is_refused(case):
    """A good line gives its time; any other is refuted under its code."""
    verifier, line = NoteVerifier.parse(case["vkey"]), SignatureLine.parse(case["line"])
    checkpoint = Checkpoint.parse(case["checkpoint"])
    assert (line.name, line.key_id) == (verifier.name, verifier.key_id)
    if code := case.get("code"):
        with pytest.raises(Refuted) as refusal:
            verify_cosignature(verifier, checkpoint, line)
        assert refusal.value.code == code
        return

    cosignature = verify_cosignature(verifier, checkpoint, line)

    assert cosignature == Cosignature(verifier.name, verifier.public, int(case["time"]))
    if message := case.get("message"):
        made = {
            KeyType.COSIGNATURE: ed25519_message(checkpoint, cosignature.time),
            KeyType.MLDSA44: mldsa44_message(verifier.name, checkpoint, cosignature.time),
        }
        assert made[verifier.type].hex() == message


def test_an_ed25519_cosignature_is_made_byte_by_byte():
    """Seed 20..3f, name and time give the line and vkey that Go made."""
    line = cosign_ed25519("wit.example/w1", W1, CHECKPOINT, TIME)

    assert line.encode() == (
        "— wit.example/w1 "
        "ktTxyAAAAABqsTuAEOZwQIbiuuRfMMk54RSHQJWw9/8q63aTtjVwKD3d9/P7FtHj5HmvfP3s+PM8ENiYEcueQBW+EhYZXN8jFClhCQ=="
    )
    assert (
        NoteVerifier.of("wit.example/w1", KeyType.COSIGNATURE, W1.public).encode()
        == "wit.example/w1+92d4f1c8+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
    )


def test_an_mldsa44_cosignature_has_its_fields_in_order():
    """Label, name, time, origin, start, end and root: 105 bytes here; key ID and lengths as others have them."""
    line = cosign_mldsa44("wit.example/pq", PQ, CHECKPOINT, TIME)
    verifier = NoteVerifier.of("wit.example/pq", KeyType.MLDSA44, PQ.public)

    assert mldsa44_message("wit.example/pq", CHECKPOINT, TIME) == bytes.fromhex(
        "737562747265652f76310a00"
        "0e 7769742e6578616d706c652f7071"
        "000000006ab13b80"
        "15 6c6f672e6578616d706c652f64656c6574696f6e73"
        "0000000000000000 0000000000000005"
        "1aa68d3074905a581f84cbbd0f753794904fd80451bc4c13e69d9a53bc59502c"
    )
    assert verifier.key_id.hex() == line.key_id.hex() == "4317e377"
    assert len(verifier.encode()) == 1776
    assert len(line.encode()) + 1 == 3262
    assert verify_cosignature(verifier, CHECKPOINT, line) == Cosignature("wit.example/pq", PQ.public, TIME)


def test_a_type_signs_for_itself_only():
    """An Ed25519 key's cosignature is no log signature, nor the other way round."""
    cosigned = cosign_ed25519("wit.example/w1", W1, CHECKPOINT, TIME)
    log = NoteVerifier.of("wit.example/w1", KeyType.ED25519, W1.public)
    witness = NoteVerifier.of("wit.example/w1", KeyType.COSIGNATURE, W1.public)

    for line in (cosigned, SignatureLine(cosigned.name, log.key_id, cosigned.signature[8:])):
        with pytest.raises(Refuted, match="signature/invalid"):
            verify_line(log, CHECKPOINT, line)
    plain = W1.sign(CHECKPOINT.encode().encode())
    assert verify_line(log, CHECKPOINT, SignatureLine(log.name, log.key_id, plain)) == 0
    with pytest.raises(Refuted, match="signature/invalid"):
        verify_line(witness, CHECKPOINT, SignatureLine(log.name, witness.key_id, TIME.to_bytes(8, "big") + plain))
    with pytest.raises(ValueError, match="no cosignature"):
        verify_cosignature(log, CHECKPOINT, cosigned)


def test_a_witness_signs_times_above_zero():
    """0 claims nothing, and 2^63 is nobody's time; the largest there is passes."""
    for time in (0, -1, MAX_TIME + 1):
        with pytest.raises(ValueError, match="time"):
            cosign_ed25519("wit.example/w1", W1, CHECKPOINT, time)
        with pytest.raises(ValueError, match="time"):
            cosign_mldsa44("wit.example/pq", PQ, CHECKPOINT, time)

    cosign_ed25519("wit.example/w1", W1, CHECKPOINT, MAX_TIME)


def test_a_proper_subtree_has_no_time():
    """Only a tree from entry 0 can be the largest at a time."""
    subtree_message("wit.example/pq", "log.example", 4, 5, root=bytes(32), time=0)
    with pytest.raises(ValueError, match="no time"):
        subtree_message("wit.example/pq", "log.example", 4, 5, root=bytes(32), time=TIME)


def test_an_mldsa44_cosignature_binds_the_name():
    """The same key under another name is another signer. Type 0x04 does not see that: hence one key per witness."""
    line = cosign_mldsa44("wit.example/pq", PQ, CHECKPOINT, TIME)
    renamed = NoteVerifier.of("wit.example/qq", KeyType.MLDSA44, PQ.public)

    with pytest.raises(Refuted, match="signature/invalid"):
        verify_cosignature(renamed, CHECKPOINT, SignatureLine(renamed.name, renamed.key_id, line.signature))
