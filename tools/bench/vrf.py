"""The VRF, next to the libsodium calls it cannot do without."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import RuntimeError as SodiumRefusal

from attest.crypto import commitment, vrf

_COUNT = 400
_ROUNDS = 5


def run() -> list[dict[str, Any]]:
    """Measure on one core. The limit is the same libsodium calls on the same points, and nothing else."""
    secret = hashlib.sha256(b"bench").digest()
    prover = vrf.Prover(secret)
    alphas = [commitment.alpha(f"email:person{n}@example.org") for n in range(_COUNT)]
    points = [vrf.encode_to_curve(prover.public_key, alpha) for alpha in alphas]
    proofs = [prover.prove(alpha)[0] for alpha in alphas]
    scalar = b"\x07" * 31 + b"\x00"
    doubles = _tries(prover.public_key, alphas)

    def encode() -> None:
        # On average two candidates are tried; each costs one addition, which fails or is the first of three doublings.
        for *refused, point in doubles:
            for candidate in refused:
                with suppress(SodiumRefusal):
                    crypto_core_ed25519_add(candidate, candidate)
            for _ in range(3):
                point = crypto_core_ed25519_add(point, point)

    def bare_evaluate() -> None:
        encode()
        for point in points:
            crypto_scalarmult_ed25519_noclamp(scalar, point)

    def bare_prove() -> None:
        encode()
        for point in points:
            gamma = crypto_scalarmult_ed25519_noclamp(scalar, point)
            crypto_scalarmult_ed25519_base_noclamp(scalar)
            crypto_scalarmult_ed25519_noclamp(scalar, point)
            crypto_core_ed25519_scalar_add(scalar, crypto_core_ed25519_scalar_mul(scalar, scalar))
            for _ in range(3):
                gamma = crypto_core_ed25519_add(gamma, gamma)

    def bare_verify() -> None:
        encode()
        for point in points:
            crypto_core_ed25519_is_valid_point(point)
            first = crypto_scalarmult_ed25519_base_noclamp(scalar)
            second = crypto_scalarmult_ed25519_noclamp(scalar, prover.public_key)
            crypto_core_ed25519_sub(first, second)
            third = crypto_scalarmult_ed25519_noclamp(scalar, point)
            crypto_core_ed25519_sub(third, crypto_scalarmult_ed25519_noclamp(scalar, point))

    crypto_scalarmult_ed25519_base(secret)
    ours: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("evaluate", lambda: [prover.evaluate(alpha) for alpha in alphas], bare_evaluate),
        ("prove", lambda: [prover.prove(alpha) for alpha in alphas], bare_prove),
        (
            "verify",
            lambda: [vrf.verify(prover.public_key, a, pi) for a, pi in zip(alphas, proofs, strict=True)],
            bare_verify,
        ),
    ]
    results = []
    for name, work, bare in ours:
        value, limit = _rates(work, bare)
        results.append(
            {
                "name": f"VRF: {name}",
                "value": value,
                "unit": "1/s",
                "peer": "bare libsodium calls",
                "peer_value": limit,
                "ratio": value / limit,
            }
        )
    return results


def _tries(key: bytes, alphas: list[bytes]) -> list[list[bytes]]:
    """Return per alpha the candidate points that try-and-increment goes through, the last one on the curve."""
    found = []
    for alpha in alphas:
        candidates = []
        for counter in range(256):
            digest = hashlib.sha512(b"\x03\x01" + key + alpha + bytes([counter, 0])).digest()[:32]
            candidates.append(digest)
            try:
                crypto_core_ed25519_add(digest, digest)
            except SodiumRefusal:  # not on the curve
                continue
            break
        found.append(candidates)
    return found


def _rates(work: Callable[[], Any], bare: Callable[[], Any]) -> tuple[float, float]:
    """Time both in turns, so that whatever else the machine does falls on both; return the best rates."""
    best, limit = float("inf"), float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        middle = time.perf_counter()
        bare()
        end = time.perf_counter()
        best, limit = min(best, middle - start), min(limit, end - middle)
    return _COUNT / best, _COUNT / limit
