"""A policy reads one way, and counts every witness once."""

import base64
import contextlib
import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.errors import AttestError, Malformed
from attest.formats.checkpoint import Checkpoint, log_verifiers, sign_checkpoint
from attest.formats.cosignature import cosign_ed25519
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyGroup, PolicyLog, PolicyWitness

VECTORS = Path(__file__).parents[1] / "vectors" / "policy"
deterministic = settings(derandomize=True, deadline=None, max_examples=200)

CHECKPOINT = Checkpoint("log.example/deletions", 5, bytes(32))
ED25519, MLDSA44 = SigningKey.from_seed(bytes(32)), MLDSASigningKey.from_seed(bytes(32))
LOG = log_verifiers(CHECKPOINT.origin, ED25519.public, MLDSA44.public)
SIGNED = sign_checkpoint(CHECKPOINT, ED25519, MLDSA44, 1)
KEYS = [SigningKey.from_seed(bytes([number]) * 32) for number in range(1, 8)]
NAMES = [f"wit.example/{number}" for number in range(len(KEYS))]
WITNESSES = tuple(
    PolicyWitness(f"w{number}", NoteVerifier.of(NAMES[number], KeyType.COSIGNATURE, key.public))
    for number, key in enumerate(KEYS)
)


def cases(name):
    """Return the cases of one vector file as parameters."""
    return [pytest.param(case, id=case["name"]) for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"]]


def octets(case, name):
    """Return a case's bytes under `name`."""
    return base64.b64decode(case[f"{name}_base64"]) if f"{name}_base64" in case else case[name].encode()


@pytest.mark.parametrize("case", cases("policy"))
def test_a_policy_parses_or_is_refused(case):
    """A good file encodes to its canonical form, which parses to the same; a bad one gives its code."""
    if code := case.get("code"):
        with pytest.raises(Malformed) as refusal:
            Policy.parse(octets(case, "wire"))
        assert refusal.value.code == code
        return

    policy = Policy.parse(octets(case, "wire"))

    assert policy.encode() == octets(case, "canonical")
    assert Policy.parse(policy.encode()) == policy


@pytest.mark.parametrize("case", cases("verdict"))
def test_a_checkpoint_is_weighed_or_refused(case):
    """Log keys, witnesses with times, quorum, since when, and the anchor; or the code of a line that is false."""
    policy = Policy.parse(case["policy"].encode())
    if code := case.get("code"):
        with pytest.raises(AttestError) as refusal:
            policy.check(case["note"].encode())
        assert refusal.value.code == code
        return

    verdict = policy.check(case["note"].encode())

    assert [verifier.encode() for verifier in verdict.logs] == case["logs"]
    assert [[witness.name, witness.time] for witness in verdict.witnesses] == case["witnesses"]
    assert (verdict.quorum, verdict.existed_by, verdict.anchor) == (case["quorum"], case["existed_by"], case["anchor"])


def test_limits_are_beyond_what_others_support():
    """32 logs, witnesses and groups pass, as the specification asks; a thousand and one definitions do not."""
    public = [SigningKey.from_seed(number.to_bytes(32, "big")).public for number in range(1001)]
    witnesses = tuple(
        PolicyWitness(f"w{number}", NoteVerifier.of(f"wit.example/{number}", KeyType.COSIGNATURE, key))
        for number, key in enumerate(public)
    )
    logs = tuple(PolicyLog(NoteVerifier.of("log.example", KeyType.ED25519, key)) for key in public[:32])
    groups = tuple(PolicyGroup(f"g{number}", 1, (f"w{number + 40}",)) for number in range(32))

    assert len(Policy.parse(Policy(logs, witnesses[40:72], groups, "g0").encode()).groups) == 32
    with pytest.raises(Malformed, match="policy/size"):
        Policy((), witnesses, (), None)
    with pytest.raises(Malformed, match="policy/size"):
        Policy.parse(b"#" * (1 << 20) + b"\nquorum none\n")


def test_a_policy_made_by_code_obeys_the_same_rules():
    """One key twice, an undefined name or a wrong threshold is refused where no file was read."""
    twin = PolicyWitness("twin", NoteVerifier.of("wit.example/twin", KeyType.COSIGNATURE, KEYS[0].public))
    for witnesses, groups, quorum, code in [
        ((WITNESSES[0], twin), (), "w0", "policy/key-twice"),
        (WITNESSES, (), "g", "policy/undefined"),
        (WITNESSES, (PolicyGroup("g", 3, ("w0", "w1")),), "g", "policy/threshold"),
        (WITNESSES, (PolicyGroup("g", 0, ()),), "g", "policy/threshold"),
        (WITNESSES, (PolicyGroup("g", 2, ("w0", "w0")),), "g", "policy/member-twice"),
        (WITNESSES, (PolicyGroup("none", 1, ("w0",)),), "w0", "policy/name"),
    ]:
        with pytest.raises(Malformed) as refusal:
            Policy((), witnesses, groups, quorum)
        assert refusal.value.code == code


@pytest.mark.parametrize(("name", "url"), [("a b", None), ("a", "https://wit.example/ x"), ("a", "x\nquorum none")])
def test_a_field_cannot_smuggle_another(name, url):
    """A name or URL with a space or line in it is not written."""
    witness = PolicyWitness(name, WITNESSES[0].verifier, url)
    with pytest.raises((Malformed, ValueError)):
        Policy((), (witness,), (), name).encode()


@deterministic
@given(
    st.permutations(range(len(KEYS))),
    st.lists(st.integers(1, 5), min_size=len(KEYS), max_size=len(KEYS)),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 2),
)
def test_existed_by_is_the_least_time_with_a_quorum(order, times, left, right, both):
    """Among all times, the one named is the first by which some witnesses that meet the quorum had signed."""
    groups = (
        PolicyGroup("left", left, ("w0", "w1", "w2")),
        PolicyGroup("right", right, ("w3", "w4", "w5", "w6")),
        PolicyGroup("both", both, ("left", "right")),
    )
    policy = Policy((PolicyLog(LOG[0]),), WITNESSES, groups, "both")
    present = order[: times[0] + 2]
    lines = [cosign_ed25519(NAMES[number], KEYS[number], CHECKPOINT, times[number]) for number in present]

    def met(time):
        signed = [number for number in present if times[number] <= time]
        votes = (sum(number < 3 for number in signed) >= left) + (sum(number >= 3 for number in signed) >= right)
        return votes >= both

    verdict = policy.check(SIGNED.with_lines(lines).encode())

    assert verdict.existed_by == next((time for time in range(1, 6) if met(time)), None)
    assert verdict.quorum == (verdict.existed_by is not None)
    assert verdict.anchor == ("witnessed" if verdict.quorum else "logged")
    assert [witness.time for witness in verdict.witnesses] == sorted(times[number] for number in present)


def test_more_cosignatures_never_weaken_a_verdict():
    """For every set of witnesses, adding one keeps the quorum met and its time as early."""
    policy = Policy((PolicyLog(LOG[0]),), WITNESSES[:4], (PolicyGroup("g", 2, ("w0", "w1", "w2", "w3")),), "g")
    lines = [cosign_ed25519(NAMES[number], KEYS[number], CHECKPOINT, 10 - number) for number in range(4)]
    for size in range(1, 4):
        for chosen in combinations(range(4), size):
            before = policy.check(SIGNED.with_lines(lines[number] for number in chosen))
            for more in set(range(4)) - set(chosen):
                after = policy.check(SIGNED.with_lines(lines[number] for number in (*chosen, more)))
                assert after.quorum >= before.quorum
                assert before.existed_by is None or after.existed_by <= before.existed_by


VKEY = WITNESSES[0].verifier.encode()
WORDS = st.sampled_from(
    [
        "log",
        "witness",
        "group",
        "quorum",
        "none",
        "all",
        "any",
        "1",
        "a",
        "b",
        VKEY,
        LOG[0].encode(),
        "#",
        "\u00a0",
        "\xff",
    ]
)


@deterministic
@given(
    st.lists(st.lists(WORDS, max_size=5).map(" ".join), max_size=6).map("\n".join)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
)
def test_random_text_is_refused_or_has_a_canonical_form(text):
    """Any text parses, and then its encoding parses to the same policy, or is malformed; nothing else happens."""
    try:
        policy = Policy.parse(text.encode() + b"\n")
    except AttestError:
        return

    assert Policy.parse(policy.encode()) == policy
    assert policy.encode() == Policy.parse(policy.encode()).encode()


@deterministic
@given(st.binary(max_size=60))
def test_random_bytes_never_crash_the_parser(junk):
    """Junk is malformed, and nothing worse."""
    with contextlib.suppress(AttestError):
        Policy.parse(junk)
    with pytest.raises(AttestError):
        Policy((), (), (), None).check(junk)
