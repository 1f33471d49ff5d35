"""ECVRF-EDWARDS25519-SHA512-TAI: one place to look per locator, and a proof that it is the one.

The group is libsodium's. It refuses more than RFC 9381 does: keys and Gammas outside the prime-order subgroup. Honest
proofs never have such points, and beta would be the same, so a verdict can only become stricter.

Names with capitals (Y, H, U, V) are points as RFC 9381 writes them, 32-byte encodings.

Spec: RFC 9381; docs/spec/vrf.md.
"""

import hashlib
from dataclasses import dataclass

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import RuntimeError as SodiumRefusal

from attest.errors import Malformed, Refuted

SUITE = 3
SECRET_SIZE = 32
KEY_SIZE = 32
PROOF_SIZE = 80

FIELD_PRIME = 2**255 - 19  # p
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # q

_IDENTITY = b"\x01" + bytes(31)
_EIGHT = b"\x08" + bytes(31)
_Y_BITS = 2**255 - 1
_ENCODE_FRONT = bytes([SUITE, 1])
_CHALLENGE_FRONT = bytes([SUITE, 2])
_BETA_FRONT = bytes([SUITE, 3])
_BACK = b"\x00"


@dataclass(frozen=True, slots=True, repr=False)
class Steps:
    """Everything computed on the way to one proof, under RFC 9381's names. `x` and `k` are secret: for tests only."""

    x: bytes  # secret scalar, clamped, not reduced
    H: bytes
    Gamma: bytes
    k: bytes  # nonce, 64 bytes, not reduced
    U: bytes  # k times the base point
    V: bytes  # k times H
    c: bytes  # 16 bytes
    s: bytes
    pi: bytes
    beta: bytes


class Prover:
    """A VRF secret key, expanded once. The key must not be used for anything else, signatures least of all."""

    __slots__ = ("_eight_x", "_nonce_key", "_x", "public_key")

    def __init__(self, secret: bytes) -> None:
        """Expand `secret`, 32 uniformly random bytes (the seed of RFC 8032)."""
        if len(secret) != SECRET_SIZE:
            raise ValueError(f"a VRF secret is {SECRET_SIZE} bytes, not {len(secret)}")
        expanded = hashlib.sha512(secret).digest()
        self._x = bytes([expanded[0] & 0xF8]) + expanded[1:31] + bytes([expanded[31] & 0x7F | 0x40])
        self._eight_x = crypto_core_ed25519_scalar_mul(_EIGHT, self._x)
        self._nonce_key = expanded[32:]
        self.public_key: bytes = crypto_scalarmult_ed25519_base(self._x)

    def __repr__(self) -> str:
        return f"Prover(public_key={self.public_key.hex()})"

    def evaluate(self, alpha: bytes) -> bytes:
        """Return beta, 64 bytes, without a proof: what bulk indexing needs."""
        H = encode_to_curve(self.public_key, alpha)
        # beta hashes 8·Gamma = 8·(x·H). H has prime order, so (8x mod q)·H is the same point, in one multiplication.
        return _beta(crypto_scalarmult_ed25519_noclamp(self._eight_x, H))

    def prove(self, alpha: bytes) -> tuple[bytes, bytes]:
        """Return (pi, beta), 80 and 64 bytes."""
        steps = self.steps(alpha)
        return steps.pi, steps.beta

    def steps(self, alpha: bytes) -> Steps:
        """Prove, and return every intermediate value. Spec: RFC 9381 §5.1."""
        Y, x = self.public_key, self._x
        H = encode_to_curve(Y, alpha)
        Gamma = crypto_scalarmult_ed25519_noclamp(x, H)
        k = hashlib.sha512(self._nonce_key + H).digest()
        # Secret scalars stay in libsodium's constant-time arithmetic; Python's integers are not.
        k_scalar = crypto_core_ed25519_scalar_reduce(k)
        U = crypto_scalarmult_ed25519_base_noclamp(k_scalar)
        V = crypto_scalarmult_ed25519_noclamp(k_scalar, H)
        c = _challenge(Y, H, Gamma, U, V)
        s = crypto_core_ed25519_scalar_add(k_scalar, crypto_core_ed25519_scalar_mul(c + bytes(16), x))
        return Steps(x, H, Gamma, k, U, V, c, s, Gamma + c + s, _beta(_times_8(Gamma)))


def public_key(secret: bytes) -> bytes:
    """Return the public key of `secret`."""
    return Prover(secret).public_key


def evaluate(secret: bytes, alpha: bytes) -> bytes:
    """Return beta, 64 bytes, without a proof. For many alphas keep a `Prover`."""
    return Prover(secret).evaluate(alpha)


def prove(secret: bytes, alpha: bytes) -> tuple[bytes, bytes]:
    """Return (pi, beta), 80 and 64 bytes. For many alphas keep a `Prover`."""
    return Prover(secret).prove(alpha)


def validate_key(public: bytes) -> None:
    """Check that `public` is a point of the prime-order subgroup, canonically encoded, and not the identity.

    Raises:
        Malformed: `vrf/key`.

    Spec: RFC 9381 §5.4.5; docs/spec/vrf.md#keys.
    """
    if len(public) != KEY_SIZE or not _is_canonical(public) or not crypto_core_ed25519_is_valid_point(public):
        raise _bad_key()


def verify(public: bytes, alpha: bytes, pi: bytes) -> bytes:
    """Check that `pi` proves the one beta of `alpha` under the key `public`, and return that beta, 64 bytes.

    Raises:
        Malformed: `vrf/key`, `vrf/proof-length`, `vrf/scalar` (s not below q), `vrf/gamma` (not canonical, not on the
            curve or not in the prime-order subgroup).
        Refuted: `vrf/mismatch`, the proof is for another key or another alpha, or forged.

    Spec: RFC 9381 §5.3 with key validation; docs/spec/vrf.md#verifying.
    """
    if len(public) != KEY_SIZE or not _is_canonical(public):
        raise _bad_key()
    if len(pi) != PROOF_SIZE:
        raise Malformed("vrf/proof-length", f"a proof is {PROOF_SIZE} bytes, found {len(pi)}")
    Gamma, c, s = pi[:32], pi[32:48], pi[48:]
    # s + q would verify as well: one proof, one spelling.
    if int.from_bytes(s, "little") >= GROUP_ORDER:
        raise Malformed("vrf/scalar", "the proof's s is not below the group order")
    if not _is_canonical(Gamma):
        raise _bad_gamma()
    if not any(c) or not any(s):
        # libsodium has no product with zero. Nobody can make a proof with one that verifies.
        validate_key(public)
        if not crypto_core_ed25519_is_valid_point(Gamma):
            raise _bad_gamma()
        raise _mismatch()

    # Multiplying also checks that the point is in the prime-order subgroup, so a check of its own would be a second.
    c_scalar = c + bytes(16)
    try:
        c_Y = crypto_scalarmult_ed25519_noclamp(c_scalar, public)
    except SodiumRefusal:
        raise _bad_key() from None
    try:
        c_Gamma = crypto_scalarmult_ed25519_noclamp(c_scalar, Gamma)
    except SodiumRefusal:
        raise _bad_gamma() from None

    H = encode_to_curve(public, alpha)
    U = crypto_core_ed25519_sub(crypto_scalarmult_ed25519_base_noclamp(s), c_Y)
    V = crypto_core_ed25519_sub(crypto_scalarmult_ed25519_noclamp(s, H), c_Gamma)
    if _challenge(public, H, Gamma, U, V) != c:
        raise _mismatch()
    return _beta(_times_8(Gamma))


def encode_to_curve(salt: bytes, alpha: bytes) -> bytes:
    """Return H, a point of the prime-order subgroup nobody knows a logarithm of, by try and increment.

    Spec: RFC 9381 §5.4.1.1, with the public key as salt.
    """
    front = _ENCODE_FRONT + salt + alpha
    for ctr in range(256):
        candidate = hashlib.sha512(front + bytes((ctr, 0))).digest()[:32]
        # libsodium takes y >= p; the RFC does not.
        if not _is_canonical(candidate):
            continue
        try:
            H = _times_8(candidate)
        except SodiumRefusal:
            continue  # not on the curve: every other candidate
        if H != _IDENTITY:
            return H
    raise Malformed("vrf/alpha", "no point in 256 tries; the chance of this is 2^-256")


def _times_8(point: bytes) -> bytes:
    # Candidates are outside the prime-order subgroup and libsodium refuses to multiply those, but it adds them.
    point = crypto_core_ed25519_add(point, point)
    point = crypto_core_ed25519_add(point, point)
    return crypto_core_ed25519_add(point, point)


def _challenge(Y: bytes, H: bytes, Gamma: bytes, U: bytes, V: bytes) -> bytes:
    return hashlib.sha512(b"".join((_CHALLENGE_FRONT, Y, H, Gamma, U, V, _BACK))).digest()[:16]


def _beta(eight_gamma: bytes) -> bytes:
    return hashlib.sha512(_BETA_FRONT + eight_gamma + _BACK).digest()


def _is_canonical(point: bytes) -> bool:
    return int.from_bytes(point, "little") & _Y_BITS < FIELD_PRIME


def _bad_key() -> Malformed:
    return Malformed("vrf/key", "not a VRF public key: want 32 bytes, a canonical point of the prime-order subgroup")


def _bad_gamma() -> Malformed:
    return Malformed("vrf/gamma", "the proof's Gamma is not a canonical point of the prime-order subgroup")


def _mismatch() -> Refuted:
    return Refuted("vrf/mismatch", "the proof does not belong to this key and this locator")
