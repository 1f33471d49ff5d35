import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.crypto import vrf
from attest.errors import AttestError, Malformed, Refuted
from tests import reference_vrf as reference

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "vrf"
SHARED = Path(os.environ.get("ATTEST_SHARED_VECTORS", ROOT.parent / "shared" / "vectors"))

RFC = json.loads((VECTORS / "rfc9381-b3.json").read_text())["cases"]
PROOFS = RFC + json.loads((VECTORS / "proofs.json").read_text())["cases"]
REFUSED = json.loads((VECTORS / "refused.json").read_text())["cases"]

secrets = st.binary(min_size=32, max_size=32)
fixed = settings(derandomize=True, deadline=None, max_examples=60)
few = settings(derandomize=True, deadline=None, max_examples=6)

SECRET = bytes(range(32))
ALPHA = b"attest/locator/1 email:ada@example.org"
PROVER = vrf.Prover(SECRET)
PI, BETA = PROVER.prove(ALPHA)


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


@named(PROOFS)
def test_every_intermediate_value_is_the_vectors(case):
    """x, H, k, U, V, pi and beta are those of RFC 9381 B.3, or of its slow transcription."""
    prover, alpha = vrf.Prover(bytes.fromhex(case["sk"])), bytes.fromhex(case["alpha"])
    steps = prover.steps(alpha)

    assert prover.public_key.hex() == case["pk"]
    assert (steps.x.hex(), steps.H.hex(), steps.k.hex()) == (case["x"], case["h"], case["k"])
    assert (steps.U.hex(), steps.V.hex()) == (case["u"], case["v"])
    assert (steps.pi.hex(), steps.beta.hex()) == (case["pi"], case["beta"])
    assert steps.Gamma + steps.c + steps.s == steps.pi


@named(PROOFS)
def test_each_way_to_beta_gives_the_vectors(case):
    """The bulk short cut, the prover and the verifier agree with the vector."""
    secret, alpha, beta = (bytes.fromhex(case[name]) for name in ("sk", "alpha", "beta"))
    public, pi = bytes.fromhex(case["pk"]), bytes.fromhex(case["pi"])

    assert vrf.public_key(secret) == public
    assert vrf.evaluate(secret, alpha) == beta
    assert vrf.prove(secret, alpha) == (pi, beta)
    assert vrf.verify(public, alpha, pi) == beta


def test_our_rfc_figures_are_the_published_ones():
    """The figures in our vectors are those of the shared copy of RFC 9381 B.3."""
    path = SHARED / "vrf" / "rfc9381-b3.json"
    if not path.exists():
        pytest.skip(f"no shared vectors in {SHARED}")
    published = json.loads(path.read_text())["vectors"]

    assert [{"name": f"example-{case.pop('example')}"} | case for case in published] == RFC


@named(REFUSED)
def test_bad_keys_and_proofs_are_refused_with_their_code(case):
    """Each kind of bad key or proof has its code, and the slow transcription says the same."""
    public, alpha, pi = (bytes.fromhex(case[name]) for name in ("pk", "alpha", "pi"))

    with pytest.raises(AttestError) as caught:
        vrf.verify(public, alpha, pi)

    assert caught.value.code == case["code"] == reference.verify(public, alpha, pi)
    assert type(caught.value) is (Refuted if case["code"] == "vrf/mismatch" else Malformed)


@named([case for case in REFUSED if case["code"] == "vrf/key"])
def test_bad_keys_are_not_admitted(case):
    """A key that could never verify is refused when it is admitted."""
    with pytest.raises(Malformed) as caught:
        vrf.validate_key(bytes.fromhex(case["pk"]))

    assert caught.value.code == "vrf/key"


def test_every_y_from_p_upwards_is_refused():
    """libsodium takes some of the 38 encodings with y >= p; we take none, as key or as Gamma."""
    for y in range(vrf.FIELD_PRIME, 2**255):
        for sign in (0, 1):
            encoded = (y | sign << 255).to_bytes(32, "little")
            with pytest.raises(Malformed, match="vrf/key"):
                vrf.validate_key(encoded)
            with pytest.raises(Malformed, match="vrf/gamma"):
                vrf.verify(PROVER.public_key, ALPHA, encoded + PI[32:])


def test_candidates_are_decoded_as_the_rfc_decodes_them(monkeypatch):
    """No hash can be found for them, so they are dealt: y >= p, small order and off the curve are all passed over."""
    on_curve = [y for y in range(2, 19) if reference.string_to_point(y.to_bytes(32, "little"))]
    off_curve = next(y for y in range(2, 19) if y not in on_curve)
    small = [reference.point_to_string(T) for T in reference.torsion()]
    dealt = iter(
        [
            *((vrf.FIELD_PRIME + y).to_bytes(32, "little") for y in on_curve),
            *small,
            (1 | 1 << 255).to_bytes(32, "little"),
            off_curve.to_bytes(32, "little"),
            on_curve[0].to_bytes(32, "little"),
        ]
    )
    monkeypatch.setattr(vrf, "hashlib", SimpleNamespace(sha512=lambda _: SimpleNamespace(digest=lambda: next(dealt))))
    expected = reference.multiply(8, reference.string_to_point(on_curve[0].to_bytes(32, "little")))

    assert vrf.encode_to_curve(PROVER.public_key, ALPHA) == reference.point_to_string(expected)
    assert next(dealt, None) is None


def test_every_single_bit_of_a_proof_counts():
    """None of the 640 proofs one bit away verifies."""
    for bit in range(640):
        mutated = (int.from_bytes(PI, "big") ^ 1 << bit).to_bytes(80, "big")
        with pytest.raises((Malformed, Refuted)):
            vrf.verify(PROVER.public_key, ALPHA, mutated)


def test_every_single_bit_of_a_key_counts():
    """A proof verifies under no key one bit away."""
    for bit in range(256):
        mutated = (int.from_bytes(PROVER.public_key, "big") ^ 1 << bit).to_bytes(32, "big")
        with pytest.raises((Malformed, Refuted)):
            vrf.verify(mutated, ALPHA, PI)


def test_a_cheat_with_a_twisted_gamma_gains_nothing():
    """RFC 9381 to the letter accepts Gamma plus a small-order point, with the same beta; we refuse the proof."""
    order_8, order_4, order_2 = (reference.torsion()[n] for n in (1, 2, 4))
    for T in (order_8, order_4, order_2):
        proof = reference.prove(SECRET, ALPHA, T)["pi"]

        assert reference.verify(PROVER.public_key, ALPHA, proof, strict=False) == BETA
        with pytest.raises(Malformed, match="vrf/gamma"):
            vrf.verify(PROVER.public_key, ALPHA, proof)


@few
@given(secrets, st.binary(max_size=300))
def test_proving_agrees_with_the_slow_transcription(secret, alpha):
    """For any key and input the proof and beta are those of RFC 9381, byte for byte."""
    expected = reference.prove(secret, alpha)

    assert vrf.public_key(secret) == expected["pk"]
    assert vrf.prove(secret, alpha) == (expected["pi"], expected["beta"])


@fixed
@given(secrets, st.binary(max_size=300))
def test_a_proof_verifies_to_the_evaluated_beta(secret, alpha):
    """Evaluating, proving and verifying give one beta."""
    prover = vrf.Prover(secret)
    pi, beta = prover.prove(alpha)

    assert prover.evaluate(alpha) == beta == vrf.verify(prover.public_key, alpha, pi)


@few
@given(st.binary(max_size=80), st.integers(0, 79))
def test_verifying_agrees_with_the_slow_transcription_on_damaged_proofs(patch, at):
    """Whatever bytes are patched into a proof, the verdict and its code are those of the spec."""
    damaged = (PI[:at] + patch + PI[at + len(patch) :])[:80]
    expected = reference.verify(PROVER.public_key, ALPHA, damaged)
    try:
        outcome = vrf.verify(PROVER.public_key, ALPHA, damaged)
    except AttestError as error:
        outcome = error.code

    assert outcome == expected


@fixed
@given(
    st.binary(max_size=40) | secrets,
    st.binary(max_size=40),
    st.binary(max_size=90) | st.binary(min_size=80, max_size=80),
)
def test_random_bytes_never_crash_the_verifier(public, alpha, pi):
    """Garbage is refused as malformed or refuted and by no other exception."""
    with pytest.raises((Malformed, Refuted)):
        vrf.verify(public, alpha, pi)


def test_a_secret_of_another_size_is_a_mistake():
    """A secret that is not 32 bytes never becomes a key."""
    for size in (0, 31, 33, 64):
        with pytest.raises(ValueError, match="32 bytes"):
            vrf.Prover(bytes(size))


def test_a_prover_never_prints_its_secret():
    """Neither a prover nor its steps show a secret when printed or logged."""
    steps = PROVER.steps(ALPHA)

    assert repr(PROVER) == f"Prover(public_key={PROVER.public_key.hex()})"
    assert steps.x.hex() not in repr(steps) and repr(steps.x) not in repr(steps)
