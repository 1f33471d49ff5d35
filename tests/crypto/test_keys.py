"""Signing keys, admitted public keys, and one meaning of a valid signature."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from attest.crypto.keys import (
    MLDSASigningKey,
    SigningKey,
    check_public_key,
    thumbprint,
    verify_ed25519,
    verify_mldsa44,
)
from attest.encoding import sha256
from attest.errors import AttestError, Malformed, Refuted, Untrusted

VECTORS = Path(os.environ.get("ATTEST_SHARED_VECTORS", Path(__file__).parents[2].parent / "shared" / "vectors"))
CCTV = VECTORS / "ed25519" / "cctv-ed25519.json"

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
IDENTITY = b"\x01" + bytes(31)

RFC8032 = [  # section 7.1: secret key, public key, message, signature
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_ed25519_is_rfc_8032(seed, public, message, signature):
    """The RFC's keys, messages and signatures come out, and verify."""
    key = SigningKey.from_seed(bytes.fromhex(seed))

    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    check_public_key(key.public)
    verify_ed25519(key.public, bytes.fromhex(message), bytes.fromhex(signature))


def test_mldsa44_derives_the_key_of_a_seed():
    """Seed 00..1f gives the key that RFC 9881 (its example) prints, by its first bytes and length."""
    key = MLDSASigningKey.from_seed(bytes(range(32)))

    assert key.public.hex().startswith("d7b2b47254aae0db45e7930d4a98d2c9")
    assert len(key.public) == 1312
    assert len(key.sign(b"")) == 2420


@pytest.mark.parametrize(("kind", "verify"), [(SigningKey, verify_ed25519), (MLDSASigningKey, verify_mldsa44)])
def test_only_the_message_signed_verifies(kind, verify):
    """Another message, key, signature or length is refused, under one code."""
    key, other = kind.from_seed(bytes(32)), kind.from_seed(b"\x01" * 32)
    signature = key.sign(b"message")
    verify(key.public, b"message", signature)

    for public, message, changed in [
        (key.public, b"Message", signature),
        (key.public, b"", signature),
        (other.public, b"message", signature),
        (key.public, b"message", bytes([signature[0] ^ 1]) + signature[1:]),
        (key.public, b"message", signature[:-1] + bytes([signature[-1] ^ 1])),
        (key.public, b"message", signature[:-1]),
        (key.public, b"message", signature + b"\0"),
        (key.public, b"message", b""),
        (key.public, b"essage", signature + b"m"),
    ]:
        with pytest.raises(Refuted) as refusal:
            verify(public, message, changed)
        assert refusal.value.code == "signature/invalid"


@pytest.mark.parametrize(("kind", "verify"), [(SigningKey, verify_ed25519), (MLDSASigningKey, verify_mldsa44)])
def test_generated_keys_differ_and_sign(kind, verify):
    """Every generated key is new, and good."""
    one, two = kind.generate(), kind.generate()
    verify(one.public, b"message", one.sign(b"message"))

    assert one.public != two.public
    assert one != two


@pytest.mark.parametrize("kind", [SigningKey, MLDSASigningKey])
@pytest.mark.parametrize("passphrase", [None, b"correct horse", "pässword".encode()])
def test_a_key_survives_its_pem(kind, passphrase):
    """PKCS#8, in the clear or encrypted, gives the same key back."""
    key = kind.from_seed(bytes(range(32)))

    assert kind.from_pem(key.to_pem(passphrase), passphrase) == key


@pytest.mark.parametrize("kind", [SigningKey, MLDSASigningKey])
def test_a_pem_opens_with_its_passphrase_only(kind):
    """None, the empty and the wrong one are told as such; so is one for a key that is not encrypted."""
    key = kind.from_seed(bytes(32))
    encrypted, clear = key.to_pem(b"right"), key.to_pem(None)

    for pem, passphrase in [
        (encrypted, None),
        (encrypted, b""),
        (encrypted, b"wrong"),
        (clear, b"right"),
        (clear, b""),
    ]:
        with pytest.raises(Untrusted) as refusal:
            kind.from_pem(pem, passphrase)
        assert refusal.value.code == "key/passphrase"


@pytest.mark.parametrize("kind", [SigningKey, MLDSASigningKey])
def test_another_file_is_no_key(kind):
    """Junk, broken PEM and keys of other algorithms are told as such."""
    elliptic = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other = {SigningKey: MLDSASigningKey, MLDSASigningKey: SigningKey}[kind].from_seed(bytes(32))
    frame = b"-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n"

    for pem in [b"", b"\xff\xfe", b"junk", frame % b"", frame % b"AAAA", frame % b"****", other.to_pem(None), elliptic]:
        with pytest.raises(Malformed) as refusal:
            kind.from_pem(pem, None)
        assert refusal.value.code == "key/pem"


def test_a_secret_does_not_print():
    """The repr of a key shows its public half only."""
    assert repr(SigningKey.from_seed(bytes(32))) == f"SigningKey(public={SigningKey.from_seed(bytes(32)).public!r})"


def test_the_thumbprint_is_the_hash_of_the_cose_key():
    """RFC 9679: SHA-256 of the deterministic {1: 1, -1: 6, -2: public}."""
    public = bytes.fromhex(RFC8032[0][1])

    assert thumbprint(public) == sha256(b"\xa3\x01\x01\x20\x06\x21\x58\x20" + public)
    with pytest.raises(Malformed):
        thumbprint(public[:31])


def negated(public):
    """Add the point of order 2, (0, -1): both coordinates change sign."""
    y, sign = int.from_bytes(public, "little") & (2**255 - 1), public[31] >> 7
    return ((P - y) | (1 - sign) << 255).to_bytes(32, "little")


@pytest.mark.parametrize(
    ("public", "code"),
    [
        (IDENTITY, "key/small-order"),
        (bytes(32), "key/small-order"),
        (bytes(31) + b"\x80", "key/small-order"),
        ((P - 1).to_bytes(32, "little"), "key/small-order"),
        (bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "key/small-order"),
        (bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "key/small-order"),
        (IDENTITY[:31] + b"\x80", "key/not-canonical"),
        (((P - 1) | 1 << 255).to_bytes(32, "little"), "key/not-canonical"),
        (P.to_bytes(32, "little"), "key/not-canonical"),
        ((P + 1).to_bytes(32, "little"), "key/not-canonical"),
        (b"\xff" * 32, "key/not-canonical"),
        (b"\x02" + bytes(31), "key/not-a-point"),
        (negated(bytes.fromhex(RFC8032[0][1])), "key/mixed-order"),
        (negated(bytes.fromhex(RFC8032[1][1])), "key/mixed-order"),
        (b"", "key/length"),
        (bytes(31), "key/length"),
        (bytes(33), "key/length"),
    ],
)
def test_an_unsafe_key_is_refused_and_told_why(public, code):
    """Under any of these somebody could forge, or two verifiers could disagree."""
    with pytest.raises(Malformed) as refusal:
        check_public_key(public)

    assert refusal.value.code == code


def test_the_same_number_plus_the_order_is_no_second_signature():
    """S + L would be a signature as well; only S < L passes."""
    key = SigningKey.from_seed(bytes(32))
    signature = key.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + L

    with pytest.raises(Refuted):
        verify_ed25519(key.public, b"message", signature[:32] + scalar.to_bytes(32, "little"))


def test_a_signer_cannot_use_the_identity_for_r():
    """R = identity, S = k * a fits RFC 8032, and OpenSSL takes it; verifiers differ, so our rule refuses it."""
    seed = bytes(32)
    key = SigningKey.from_seed(seed)
    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & ((1 << 254) - 8) | 1 << 254
    challenge = int.from_bytes(hashlib.sha512(IDENTITY + key.public + b"message").digest(), "little")
    forged = IDENTITY + (challenge * scalar % L).to_bytes(32, "little")

    Ed25519PublicKey.from_public_bytes(key.public).verify(forged, b"message")
    with pytest.raises(Refuted):
        verify_ed25519(key.public, b"message", forged)


@pytest.fixture(scope="module")
def cctv():
    """914 edge cases of keys and signatures, from C2SP's CCTV."""
    if not CCTV.exists():
        pytest.skip(f"no CCTV vectors at {CCTV}; set ATTEST_SHARED_VECTORS to the folder that has ed25519/")
    return [
        (bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]), set(case["flags"] or []))
        for case in json.loads(CCTV.read_text())
    ]


def outcome(check, *arguments):
    """Return None, or the code of the refusal."""
    try:
        check(*arguments)
    except AttestError as error:
        return error.code
    return None


def test_no_edge_case_key_is_admitted(cctv):
    """Every key flagged as small-order, mixed-order or non-canonical is refused, under the code that says so."""
    admitted = 0
    for public, _, _, flags in cctv:
        code = outcome(check_public_key, public)
        if "non_canonical_A" in flags:
            assert code == "key/not-canonical"
        elif "low_order_A" in flags:
            assert code == "key/small-order"
        elif "low_order_component_A" in flags:
            assert code == "key/mixed-order"
        else:
            assert code is None
            admitted += 1
    assert admitted == 28


def test_two_libraries_agree_on_every_signature_under_an_admitted_key(cctv):
    """libsodium and OpenSSL accept the same edge cases, but for R = identity, which we refuse by rule."""
    accepted = 0
    for public, message, signature, flags in cctv:
        if outcome(check_public_key, public):
            continue
        ours = outcome(verify_ed25519, public, message, signature) is None
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            theirs = signature[:32] != IDENTITY
        except InvalidSignature:
            theirs = False
        assert ours == theirs
        assert not (ours and flags & {"low_order_R", "non_canonical_R", "low_order_residue"})
        accepted += ours
    assert accepted == 1


def test_a_key_that_slipped_in_still_verifies_nothing(cctv):
    """Small-order and non-canonical keys are refused again where signatures are checked."""
    for public, message, signature, flags in cctv:
        if flags & {"low_order_A", "non_canonical_A"}:
            assert outcome(verify_ed25519, public, message, signature) == "signature/invalid"
