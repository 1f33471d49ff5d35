"""Signing keys: Ed25519 and ML-DSA-44, the public keys we admit, and what a valid signature is.

An admitted Ed25519 key is the canonical encoding of a point of the prime-order subgroup, other than the identity. An
honest key always is. Under an admitted key, a signature R || S over a message is valid exactly if S < L, R is not the
identity, and R is the encoding of [S]B - [k]A: RFC 8032 §5.1.7 without the cofactor, compared byte by byte, so a
non-canonical R never passes.

That is what libsodium (through PyNaCl) computes, and it verifies twice as fast as OpenSSL, so it does the verifying
here. OpenSSL, Go and browsers differ from it in one case under an admitted key: they take R = identity, which a signer
makes only by giving the secret scalar away (S = k * a). Whoever verifies with one of those has to refuse that R first.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError

from attest.encoding import Hash, sha256
from attest.errors import Malformed, Refuted, Untrusted

ED25519_PUBLIC: Final = 32  # bytes
ED25519_SIGNATURE: Final = 64
MLDSA44_PUBLIC: Final = 1312
MLDSA44_SIGNATURE: Final = 2420

_IDENTITY: Final = b"\x01" + bytes(31)
_ENCRYPTED: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
# A COSE_Key with exactly kty (1) = OKP (1), crv (-1) = Ed25519 (6), x (-2) = 32 bytes, in deterministic CBOR.
_COSE_KEY_HEAD: Final = bytes.fromhex("a301012006215820")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Sign with Ed25519 (RFC 8032). Equal keys have equal public keys; the secret never prints."""

    public: bytes  # 32 bytes
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a fresh key from the operating system's randomness."""
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Derive the key of a 32-byte seed, the RFC 8032 secret key."""
        return cls._of(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None) -> Self:
        """Read PKCS#8.

        Raises:
            Malformed: `key/pem`, not the PEM of an Ed25519 private key.
            Untrusted: `key/passphrase`, it does not open the key, is missing, or is given for a key in the clear.
        """
        private = _load(pem, passphrase)
        if not isinstance(private, Ed25519PrivateKey):
            raise Malformed("key/pem", f"want a private key for Ed25519, found {type(private).__name__}")
        return cls._of(private)

    @classmethod
    def _of(cls, private: Ed25519PrivateKey) -> Self:
        return cls(private.public_key().public_bytes_raw(), private)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature; the same message gives the same bytes."""
        return self._private.sign(message)

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """Write PKCS#8, encrypted if there is a passphrase.

        The encryption is PBES2 with only 2,048 rounds of PBKDF2: use a passphrase that no dictionary holds.
        """
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _encryption(passphrase))


@dataclass(frozen=True, slots=True)
class MLDSASigningKey:
    """Sign with ML-DSA-44 (FIPS 204, pure, empty context). Equal keys have equal public keys."""

    public: bytes  # 1312 bytes
    _private: MLDSA44PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a fresh key from the operating system's randomness."""
        return cls._of(MLDSA44PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Derive the key of a 32-byte seed, FIPS 204's xi."""
        return cls._of(MLDSA44PrivateKey.from_seed_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None) -> Self:
        """Read PKCS#8. Raises as `SigningKey.from_pem` does."""
        private = _load(pem, passphrase)
        if not isinstance(private, MLDSA44PrivateKey):
            raise Malformed("key/pem", f"want a private key for ML-DSA-44, found {type(private).__name__}")
        return cls._of(private)

    @classmethod
    def _of(cls, private: MLDSA44PrivateKey) -> Self:
        return cls(private.public_key().public_bytes_raw(), private)

    def sign(self, message: bytes) -> bytes:
        """Return a 2,420-byte signature; hedged as FIPS 204 advises, so two of one message differ."""
        return self._private.sign(message)

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """Write PKCS#8 with the seed alone (RFC 9881), encrypted as `SigningKey.to_pem` does."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _encryption(passphrase))


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature under a public key that `check_public_key` admits.

    Raises:
        Malformed: `key/length`.
        Refuted: `signature/invalid`.
    """
    _check_length(public, ED25519_PUBLIC)
    # The identity is the one R that verifiers disagree on under an admitted key: refused by rule, not by library.
    if len(signature) != ED25519_SIGNATURE or signature[:32] == _IDENTITY:
        raise Refuted("signature/invalid", "not an Ed25519 signature")
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError:
        raise Refuted("signature/invalid", "the Ed25519 signature does not fit this key and message") from None


def verify_mldsa44(public: bytes, message: bytes, signature: bytes) -> None:
    """Check an ML-DSA-44 signature (FIPS 204, pure, empty context).

    Raises:
        Malformed: `key/length`.
        Refuted: `signature/invalid`.
    """
    _check_length(public, MLDSA44_PUBLIC)
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise Refuted("signature/invalid", "the ML-DSA-44 signature does not fit this key and message") from None


def check_public_key(public: bytes) -> None:
    """Check that an Ed25519 public key may be admitted: under any other, somebody could forge or disagree.

    Raises:
        Malformed: `key/length`; `key/not-canonical`, another spelling of a point; `key/not-a-point`;
            `key/small-order`, anybody can sign for it; `key/mixed-order`, verifiers disagree about its signatures.

    Spec: docs/spec/checkpoint.md#keys.
    """
    _check_length(public, ED25519_PUBLIC)
    if crypto_core_ed25519_is_valid_point(public):
        return
    raise Malformed(*_diagnose(public))


def thumbprint(public: bytes) -> Hash:
    """Return the COSE Key Thumbprint of an Ed25519 public key: our `kid`.

    Spec: RFC 9679.
    """
    _check_length(public, ED25519_PUBLIC)
    return sha256(_COSE_KEY_HEAD + public)


def _check_length(public: bytes, want: int) -> None:
    if len(public) != want:
        raise Malformed("key/length", f"want a public key of {want} bytes, found {len(public)}")


def _encryption(passphrase: bytes | None) -> KeySerializationEncryption:
    return NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)


def _load(pem: bytes, passphrase: bytes | None) -> object:
    encrypted = _ENCRYPTED in pem
    if encrypted and passphrase is None:
        raise Untrusted(
            "key/passphrase",
            "the key is encrypted and no passphrase was given",
            hint="--passphrase-file, or ATTEST_PASSPHRASE",
        )
    if not encrypted and passphrase is not None and b"-----BEGIN PRIVATE KEY-----" in pem:
        # Whoever gives a passphrase expects it to be needed: this is not the file they wrote.
        raise Untrusted("key/passphrase", "a passphrase was given for a key that is not encrypted")
    try:
        return load_pem_private_key(pem, passphrase)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        # A wrong passphrase now and then decrypts to well-padded noise, so the library's error tells nothing apart.
        if encrypted:
            raise Untrusted("key/passphrase", "the passphrase is wrong, or the file is damaged") from None
        raise Malformed("key/pem", "want a private key as PKCS#8 PEM, found none that can be read") from None


# --- why a key is refused: RFC 8032 §5.1.3 and 5.1.4 on Python integers, off the fast path ---

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P


def _diagnose(public: bytes) -> tuple[str, str]:
    encoded = int.from_bytes(public, "little")
    y, sign = encoded & (2**255 - 1), encoded >> 255
    if y >= _P:
        return "key/not-canonical", "the y coordinate is not below 2^255 - 19"
    x = _recover_x(y)
    if x is None:
        return "key/not-a-point", "no point of the curve has this y coordinate"
    if x == 0 and sign:
        return "key/not-canonical", "x is zero, but its sign bit is set"
    point = (x, y)
    for _ in range(3):
        point = _double(point)
    if point == (0, 1):
        return "key/small-order", "the point has small order: anybody can sign for it"
    return "key/mixed-order", "the point is outside the prime-order subgroup"


def _recover_x(y: int) -> int | None:
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    return x if x * x % _P == square else None


def _double(point: tuple[int, int]) -> tuple[int, int]:
    x, y = point
    z = _D * x * x * y * y
    return 2 * x * y * pow(1 + z, -1, _P) % _P, (y * y + x * x) * pow(1 - z, -1, _P) % _P
