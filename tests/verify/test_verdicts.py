"""What bundles prove and what they do not: every outcome, every code, and forgeries."""

import base64
import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.errors import Malformed
from attest.formats.bundle import Bundle
from attest.formats.checkpoint import Checkpoint, log_verifiers, sign_checkpoint
from attest.formats.keepsake import Keepsake
from attest.formats.note import KeyType, NoteVerifier, sign_text
from attest.formats.policy import Policy, PolicyLog, PolicyWitness
from attest.formats.state import PartyHead, State, SystemHead
from attest.formats.statement import Descriptor, Predecessor
from attest.ledger.verify import DAY, STEPS
from tests.verify.world import START, World, after_end, b64, key, policy_of

ADA, BOB, EVE = "email:ada@example.org", "email:bob@example.org", "email:eve@example.org"


class Story:
    """Acme holds Ada and Bob in a database, a search index and a backup, and erases Ada step by step."""

    def __init__(self) -> None:
        world = self.world = World()
        acme = self.acme = world.admit("acme.example")
        self.other = world.admit("other.example", "Other")
        world.epoch()
        self.registered_nothing = world.size
        world.systems(acme, db="database", search="search", tape=("backup", {"backup_cycle": DAY}))
        world.systems(self.other, db="database")
        world.epoch()
        for system in ("db", "search", "tape"):
            world.hold(acme, system, ADA, BOB)
        world.hold(self.other, "db", BOB)
        world.epoch()
        self.all_hold = world.epoch()
        world.erase(acme, "db", ADA)
        self.search_holds = world.epoch()
        world.erase(acme, "search", ADA)
        world.epoch()
        self.backup_holds = world.epoch()
        world.erase(acme, "tape", ADA)
        world.epoch()
        self.gone = world.epoch()


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


# --- what honest bundles prove ---


def test_a_hold_is_held(story: Story) -> None:
    """A hold bundle shows that this locator was committed in this system, and by whom."""
    verdict = story.world.ask(story.world.bundle("hold", story.acme, ADA, system="db"), story.acme, ADA)

    assert (verdict.outcome, verdict.claim, verdict.anchor, verdict.level) == ("holds", "held", "logged", "A1")
    assert (verdict.holder_name, verdict.holder_legal_id, verdict.holder_check) == (
        "Acme",
        "LEI acme.example",
        "operator",
    )
    assert [step.name for step in verdict.steps] == list(STEPS)


def test_a_tombstone_is_erased(story: Story) -> None:
    """A tombstone bundle shows that this locator was tombstoned, and never ages."""
    verdict = story.world.ask(
        story.world.bundle("tombstone", story.acme, ADA, system="db"), story.acme, ADA, now=START + 1000 * DAY
    )

    assert (verdict.outcome, verdict.claim, verdict.level) == ("holds", "erased", "A1")


@pytest.mark.parametrize(
    ("size", "outcome", "code", "results"),
    [
        ("registered_nothing", "refuted", "claim/nothing-registered", {}),
        ("all_hold", "refuted", "claim/not-excluded", {"db": "held", "search": "held", "tape": "held"}),
        ("search_holds", "refuted", "claim/not-excluded", {"db": "erased", "search": "held", "tape": "held"}),
        ("backup_holds", "provisional", "claim/backup", {"db": "erased", "search": "erased", "tape": "held"}),
        ("gone", "holds", "claim/holds", {"db": "erased", "search": "erased", "tape": "erased"}),
    ],
)
def test_a_lookup_follows_the_story(story: Story, size: str, outcome: str, code: str, results: dict[str, str]) -> None:
    """Excluded only when no system holds; provisional while only a backup within its cycle does."""
    at = getattr(story, size)
    verdict = story.world.ask(story.world.bundle("lookup", story.acme, ADA, size=at), story.acme, ADA, now=START + 200)

    assert (verdict.outcome, verdict.code) == (outcome, code)
    assert {result.system: result.result for result in verdict.systems} == results


def test_never_committed_and_empty_are_told_apart() -> None:
    """A system without any live key is empty; one with others' keys never committed this one."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database", idle=("search", {"locators": ("phone",)}))
    world.hold(acme, "db", BOB)
    world.epoch()
    verdict = world.ask(world.bundle("lookup", acme, EVE), acme, EVE)

    assert (verdict.outcome, verdict.claim) == ("holds", "excluded")
    assert {r.system: r.result for r in verdict.systems} == {"db": "never-committed", "idle": "empty"}


def test_a_system_under_other_locator_types_blocks() -> None:
    """A system that does not index by the types asked is no evidence of absence; asking its type too is."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, calls=("log", {"locators": ("phone",)}), db="database")
    world.hold(acme, "calls", "phone:+33123456789")
    world.hold(acme, "db", BOB)
    world.epoch()
    alone = world.ask(world.bundle("lookup", acme, EVE), acme, EVE)
    both = world.ask(world.bundle("lookup", acme, EVE, "phone:+33111111111"), acme, EVE, "phone:+33111111111")

    assert (alone.outcome, alone.code, alone.claim) == ("refuted", "claim/not-excluded", "not-excluded")
    assert {r.system: r.result for r in alone.systems} == {"calls": "not-indexed", "db": "never-committed"}
    assert alone.systems[0].not_asked == ("phone",)
    assert (both.outcome, both.claim) == ("holds", "excluded")


def test_a_certificate_shows_each_erasure_with_its_hold(story: Story) -> None:
    """Hold and tombstone of each system, with the interval between them as epochs bound it."""
    verdict = story.world.ask(story.world.bundle("certificate", story.acme, ADA), story.acme, ADA)

    assert (verdict.outcome, verdict.claim) == ("holds", "excluded")
    assert [interval.system for interval in verdict.intervals] == ["db", "search", "tape"]
    for interval in verdict.intervals:
        assert interval.apart
        assert interval.held_by is not None and interval.held_until is not None
        assert interval.held_by < interval.held_until
        assert interval.hold < interval.tombstone


def test_a_certificate_needs_an_erasure() -> None:
    """What was never committed gets no deletion certificate."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", BOB)
    world.epoch()
    verdict = world.ask(world.bundle("certificate", acme, EVE), acme, EVE)

    assert (verdict.outcome, verdict.code) == ("refuted", "claim/not-erased")


def test_a_certificate_needs_every_declared_type() -> None:
    """A type that a non-empty system declares and nobody asked about blocks a certificate, not a lookup."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db=("database", {"locators": ("email", "phone")}))
    world.hold(acme, "db", ADA, BOB)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()

    assert world.ask(world.bundle("lookup", acme, ADA), acme, ADA).outcome == "holds"
    verdict = world.ask(world.bundle("certificate", acme, ADA), acme, ADA)
    assert (verdict.outcome, verdict.code) == ("refuted", "claim/type-not-asked")


def test_reheld_is_held_again(story: Story) -> None:
    """What returns after its tombstone is held, in the next generation."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    world.hold(acme, "db", ADA, version=1)
    world.epoch()
    verdict = world.ask(world.bundle("lookup", acme, ADA), acme, ADA)

    assert verdict.outcome == "refuted"
    assert [(r.result, r.generation) for r in verdict.systems] == [("held", 2)]


def test_expectations_other_than_exclusion(story: Story) -> None:
    """`held` and `erased` are claims of their own."""
    world, acme = story.world, story.acme
    held = world.bundle("lookup", acme, BOB)
    erased = world.bundle("lookup", acme, ADA)

    assert world.ask(held, acme, BOB, expect="held").outcome == "holds"
    assert world.ask(held, acme, BOB, expect="held").claim == "held"
    assert world.ask(erased, acme, ADA, expect="held").code == "claim/not-held"
    assert world.ask(erased, acme, ADA, expect="erased").outcome == "holds"
    assert world.ask(held, acme, BOB, expect="erased").code == "claim/not-excluded"


def test_a_party_that_ended_is_printed_as_frozen() -> None:
    """The state of a party that ended still verifies, and the verdict says that it is frozen."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", BOB)
    world.epoch()
    world.end(acme)
    world.epoch()
    world.epoch()
    verdict = world.ask(world.bundle("lookup", acme, EVE), acme, EVE)

    assert (verdict.outcome, verdict.holder_ended) == ("holds", True)


def test_a_statement_by_a_key_revoked_since_still_verifies() -> None:
    """Keys verify at the statement's position, not at the checkpoint's."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    world.rotate(acme, "acme new")
    world.epoch()
    verdict = world.ask(world.bundle("hold", acme, ADA, system="db"), acme, ADA)

    assert verdict.outcome == "holds"


# --- time ---


def test_the_backup_cycle_ends(story: Story) -> None:
    """Once the declared cycle is over, a backup that still holds is a plain hold."""
    bundle = story.world.bundle("lookup", story.acme, ADA, size=story.backup_holds)
    late = story.world.ask(bundle, story.acme, ADA, now=START + 2 * DAY, max_age=9 * DAY)

    assert (late.outcome, late.code) == ("refuted", "claim/not-excluded")


def test_leaving_out_epochs_never_buys_a_backup_time(story: Story) -> None:
    """Without an epoch before the last tombstone there is no grace at all."""
    bundle = story.world.bundle("lookup", story.acme, ADA, size=story.backup_holds)
    world = story.world
    keep = {0, world.ledgers[story.backup_holds].parties["acme.example"].admitted, story.backup_holds - 1}
    bundle["entries"] = [entry for entry in bundle["entries"] if entry["position"] in keep]
    verdict = world.ask(bundle, story.acme, ADA, now=START + 200)

    assert verdict.code == "claim/not-excluded"


def test_an_old_checkpoint_is_provisional(story: Story) -> None:
    """A lookup older than asked for is not the answer to the question, but not a lie either."""
    bundle = story.world.bundle("lookup", story.acme, ADA)
    verdict = story.world.ask(bundle, story.acme, ADA, now=story.world.now + DAY + 1)

    assert (verdict.outcome, verdict.code) == ("provisional", "freshness/old")
    assert story.world.ask(bundle, story.acme, ADA, now=story.world.now + DAY).outcome == "holds"
    assert story.world.ask(bundle, story.acme, ADA, now=story.world.now + 5 * DAY, max_age=9 * DAY).outcome == "holds"


@pytest.fixture
def ended() -> tuple[World, Any]:
    """A log that ended after an erasure."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.retire()
    return world, acme


def test_the_last_checkpoint_of_a_log_is_called_final(ended: Any) -> None:
    """Its end is its last entry but one. It ages like any other, and the reason says that there is none after it."""
    world, acme = ended
    bundle = world.bundle("lookup", acme, ADA)
    fresh = world.ask(bundle, acme, ADA)
    old = world.ask(bundle, acme, ADA, now=world.now + 400 * DAY)
    then = world.ask(bundle, acme, ADA, now=world.now + 400 * DAY, max_age=401 * DAY)
    before = world.ask(world.bundle("hold", acme, ADA, system="db"), acme, ADA)

    assert (fresh.outcome, fresh.ended) == (then.outcome, then.ended) == ("holds", True)
    assert (old.outcome, old.code, old.ended) == ("provisional", "freshness/old", True)
    assert "the log ended with it" in old.reason and "predecessor" in (old.hint or "")
    assert before.ended


def test_an_earlier_checkpoint_of_a_log_that_ended_is_not_final(ended: Any) -> None:
    """What was old before the end stays old."""
    world, acme = ended
    size = min(size for size in world.ledgers if size > 3)
    verdict = world.ask(world.bundle("lookup", acme, ADA, size=size), acme, ADA, expect="held", max_age=9 * DAY)

    assert (verdict.outcome, verdict.ended) == ("holds", False)


def test_a_bundle_need_not_show_the_end(ended: Any) -> None:
    """Without it nothing is said about it."""
    world, acme = ended
    bundle = world.bundle("lookup", acme, ADA)
    bundle["entries"] = [entry for entry in bundle["entries"] if entry["position"] != world.size - 2]

    assert (world.ask(bundle, acme, ADA).outcome, world.ask(bundle, acme, ADA).ended) == ("holds", False)


def test_a_log_that_goes_on_after_its_end_is_refuted() -> None:
    """Its own word and a later checkpoint, both signed by it, contradict each other."""
    world, acme, bundle = after_end(ADA)

    assert (world.ask(bundle, acme, ADA).outcome, world.ask(bundle, acme, ADA).code) == ("refuted", "entry/after-end")


def test_the_end_of_a_party_is_not_the_end_of_the_log() -> None:
    """Said by the log about a party, directly before the epoch."""
    world = World()
    acme = world.admit("acme.example")
    world.epoch()
    world.end(acme)
    size = world.epoch()
    bundle = world.bundle("lookup", acme, ADA)
    bundle["entries"].insert(-1, world.entry(size - 2, size))

    assert not world.ask(bundle, acme, ADA).ended


def test_a_successors_verdict_names_its_predecessor() -> None:
    """And where that ended, as entry 0 says."""
    before = Predecessor("old.example/log", 1234, bytes(range(32)))
    world = World(predecessor=before)
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    verdict = world.ask(world.bundle("hold", acme, ADA, system="db"), acme, ADA)

    assert (verdict.outcome, verdict.predecessor) == ("holds", before.origin)
    assert (verdict.predecessor_size, verdict.predecessor_root) == (1234, before.root.hex())


def test_a_checkpoint_of_the_future_cannot_be_decided(story: Story) -> None:
    """A verifier whose clock is far behind says so instead of guessing."""
    verdict = story.world.ask(story.world.bundle("lookup", story.acme, ADA), story.acme, ADA, now=START - DAY)

    assert (verdict.outcome, verdict.code) == ("undecided", "freshness/clock")


# --- anchors and levels ---


@pytest.fixture
def small() -> tuple[World, Any, dict[str, Any]]:
    """A world with one erasure, far from its hold."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA, BOB)
    world.epoch()
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    return world, acme, {}


def test_without_a_pinned_key_nothing_is_anchored(small: Any) -> None:
    """A policy without a log anchors nothing, whatever the bundle says about itself."""
    world, acme, _ = small
    verdict = world.ask(world.bundle("lookup", acme, ADA), acme, ADA, policy=policy_of([], (), 0))

    assert (verdict.outcome, verdict.code, verdict.level) == ("not-anchored", "checkpoint/unpinned", None)


def test_another_logs_key_does_not_anchor(small: Any) -> None:
    """A bundle of one log under the policy of another is not anchored."""
    world, acme, _ = small
    other = World("other.example/log")
    verdict = world.ask(world.bundle("lookup", acme, ADA), acme, ADA, policy=other.policy())

    assert (verdict.outcome, verdict.code) == ("not-anchored", "checkpoint/unsigned")


def test_a_quorum_of_witnesses_makes_a2(small: Any) -> None:
    """Two of three witnesses: A2, with the least time at which the quorum was met."""
    world, acme, _ = small
    policy = world.policy("wit.example/1", "wit.example/2", "wit.example/3", quorum=2)
    without = world.ask(world.bundle("lookup", acme, ADA), acme, ADA, policy=policy)
    assert (without.outcome, without.code) == ("not-anchored", "checkpoint/quorum")

    world.cosign(world.size, "wit.example/1", time=world.now + 3)
    assert world.ask(world.bundle("lookup", acme, ADA), acme, ADA, policy=policy).code == "checkpoint/quorum"

    world.cosign(world.size, "wit.example/3", time=world.now + 7)
    verdict = world.ask(world.bundle("lookup", acme, ADA), acme, ADA, policy=policy, level="A2", now=world.now + 9)
    assert (verdict.outcome, verdict.anchor, verdict.level) == ("holds", "witnessed", "A2")
    assert verdict.existed_by == world.now + 7
    assert (verdict.witnesses, verdict.state_witnesses) == (["wit.example/1", "wit.example/3"], [])
    assert "state witnesses" in verdict.why_not_higher


def test_state_witnesses_make_a3(small: Any) -> None:
    """Both quorums on this checkpoint: A3, and the verdict no longer doubts the operator's computation."""
    world, acme, _ = small
    policy = world.policy("wit.example/1", quorum=1)
    state_policy = policy_of([], ("state.example/1",), 1)
    asked = {"policy": policy, "state_policy": state_policy, "level": "A3", "now": world.now + 9}
    world.cosign(world.size, "wit.example/1")
    assert world.ask(world.bundle("lookup", acme, ADA), acme, ADA, **asked).code == "checkpoint/state-quorum"

    world.cosign(world.size, "state.example/1")
    verdict = world.ask(world.bundle("certificate", acme, ADA), acme, ADA, **asked)
    assert (verdict.outcome, verdict.anchor, verdict.level) == ("holds", "state-checked", "A3")
    assert (verdict.witnesses, verdict.state_witnesses) == (["wit.example/1"], ["state.example/1"])
    assert not any("operator" in each for each in verdict.not_proven)


def test_a_decoy_stays_at_a2() -> None:
    """Held and erased in neighbouring epochs costs nothing, so it never reaches A3."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    world.cosign(world.size, "wit.example/1", "state.example/1")
    asked = {"policy": world.policy("wit.example/1", quorum=1), "state_policy": policy_of([], ("state.example/1",), 1)}
    verdict = world.ask(world.bundle("certificate", acme, ADA), acme, ADA, **asked)

    assert (verdict.outcome, verdict.anchor, verdict.level) == ("holds", "state-checked", "A2")
    assert not verdict.intervals[0].apart
    assert world.ask(world.bundle("certificate", acme, ADA), acme, ADA, **asked, level="A3").code == "level/too-low"


def test_a_state_witness_key_is_its_own(small: Any) -> None:
    """One key cannot be a witness and a state witness: the question is refused."""
    world, acme, _ = small
    policy = world.policy("wit.example/1", quorum=1)
    with pytest.raises(Malformed, match="question/state-policy"):
        world.ask(
            world.bundle("lookup", acme, ADA),
            acme,
            ADA,
            policy=policy,
            state_policy=policy_of([], ("wit.example/1",), 1),
        )


def test_no_witness_of_one_policy_stands_in_the_other(small: Any) -> None:
    """Not as a log either: a witness would check what it has signed as the log. Both may pin the same log."""
    world, acme, _ = small
    bundle = world.bundle("lookup", acme, ADA)
    _, mldsa = log_verifiers(world.origin, world.note.public, world.mldsa.public)
    witness = PolicyWitness("w", NoteVerifier.of("wit.example/pq", KeyType.MLDSA44, world.mldsa.public))
    alone = Policy((), (witness,), (), "w")
    pins = Policy((PolicyLog(mldsa),), (), (), None)
    for policy, state_policy in ((pins, alone), (replace(alone, logs=world.policy().logs), pins)):
        with pytest.raises(Malformed, match="question/state-policy"):
            world.ask(bundle, acme, ADA, policy=policy, state_policy=state_policy)

    world.cosign(world.size, "wit.example/1", "state.example/1")
    asked = {
        "policy": world.policy("wit.example/1", quorum=1),
        "state_policy": replace(policy_of([], ("state.example/1",), 1), logs=world.policy().logs),
    }
    assert world.ask(world.bundle("lookup", acme, ADA), acme, ADA, level="A3", **asked).outcome == "holds"


def test_a_state_policy_of_nobody_checks_nothing(small: Any) -> None:
    """A quorum of none is met by nobody; a log key that a state policy pins has to sign and to stand in entry 0."""
    world, acme, _ = small
    world.cosign(world.size, "wit.example/1", "state.example/1")
    bundle = world.bundle("lookup", acme, ADA)
    witnessed = {"policy": world.policy("wit.example/1", quorum=1)}
    nobody = world.ask(bundle, acme, ADA, state_policy=policy_of([], (), 0), **witnessed)
    other = replace(policy_of([], ("state.example/1",), 1), logs=World("other.example/log").policy().logs)
    foreign = world.ask(bundle, acme, ADA, state_policy=other, **witnessed)

    assert (nobody.outcome, nobody.code, nobody.anchor) == ("not-anchored", "checkpoint/state-quorum", "witnessed")
    assert (foreign.outcome, foreign.code, foreign.anchor) == ("not-anchored", "checkpoint/unsigned", "witnessed")


def test_a_state_policys_log_key_stands_in_entry_0(small: Any) -> None:
    """A second signature by a key that the log does not name contradicts it, whichever policy pins the key."""
    world, acme, _ = small
    world.cosign(world.size, "wit.example/1", "state.example/1")
    second = key("second note key")
    signed = world.checkpoints[world.size]
    world.checkpoints[world.size] = signed.with_lines([sign_text(world.origin, second, signed.note.text)])
    pinned = NoteVerifier.of(world.origin, KeyType.ED25519, second.public)
    asked = {
        "policy": world.policy("wit.example/1", quorum=1),
        "state_policy": replace(policy_of([], ("state.example/1",), 1), logs=(PolicyLog(pinned),)),
    }
    verdict = world.ask(world.bundle("lookup", acme, ADA), acme, ADA, **asked)

    assert (verdict.outcome, verdict.code) == ("refuted", "genesis/keys")


def test_a_bad_line_refutes_before_a_missing_one_is_named(small: Any) -> None:
    """A forged line of any listed key goes before an unsigned checkpoint, whichever policy lists which."""
    world, acme, _ = small
    world.cosign(world.size, "wit.example/1", "state.example/1")
    signed = world.checkpoints[world.size]
    lines = [
        replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]))
        for line in signed.note.signatures
        if line.name == "state.example/1"
    ]
    world.checkpoints[world.size] = signed.with_lines(lines)
    bundle = world.bundle("lookup", acme, ADA)
    state_policy = policy_of([], ("state.example/1",), 1)
    unsigned, unpinned = World("other.example/log").policy(), policy_of([], (), 0)
    for policy in (unsigned, unpinned, world.policy("wit.example/2", quorum=1)):
        verdict = world.ask(bundle, acme, ADA, policy=policy, state_policy=state_policy)
        assert (verdict.outcome, verdict.code) == ("refuted", "signature/invalid")
    for policy in (replace(state_policy, logs=unsigned.logs), state_policy):
        assert world.ask(bundle, acme, ADA, policy=policy).code == "signature/invalid"


def test_a_witness_in_the_future_cannot_be_decided(small: Any) -> None:
    """Its time would make the checkpoint fresh for as long as it lies ahead."""
    world, acme, _ = small
    world.cosign(world.size, "wit.example/1", time=world.now + 1000)
    asked = {"policy": world.policy("wit.example/1", quorum=1)}
    for kind, system in (("lookup", ""), ("hold", "db")):
        bundle = world.bundle(kind, acme, ADA, system=system)
        early = world.ask(bundle, acme, ADA, now=world.now + 699, **asked)
        assert (early.outcome, early.code) == ("undecided", "freshness/clock")
        assert world.ask(bundle, acme, ADA, now=world.now + 700, **asked).outcome == "holds"


def test_what_no_step_has_shown_is_not_said(small: Any) -> None:
    """The anchor is known from step 3 on, the claim and its level from step 12 on; before, they are null."""
    world, acme, _ = small
    bundle = world.bundle("lookup", acme, ADA)

    def said(**asked: Any) -> tuple[Any, ...]:
        verdict = world.ask(bundle, acme, ADA, **asked)
        return verdict.code, verdict.anchor, verdict.level, verdict.claim

    assert said(policy=policy_of([], (), 0)) == ("checkpoint/unpinned", "unpinned", None, None)
    assert said(policy=World("other.example/log").policy()) == ("checkpoint/unsigned", None, None, None)
    assert said(policy=world.policy("wit.example/1", quorum=1)) == ("checkpoint/quorum", "logged", None, None)
    assert said(expect="held") == ("claim/not-held", "logged", "A1", "excluded")


def test_a_level_not_reached_is_not_anchored(small: Any) -> None:
    """Asking for A2 of a log that nobody witnesses fails, and says why."""
    world, acme, _ = small
    verdict = world.ask(world.bundle("lookup", acme, ADA), acme, ADA, level="A2")

    assert (verdict.outcome, verdict.code, verdict.level) == ("not-anchored", "level/too-low", "A1")


# --- keepsakes ---


def test_a_keepsake_answers_like_its_locator(story: Story) -> None:
    """A keepsake asks about its own holder and locator."""
    keepsake = story.world.keepsake(story.acme, ADA, "db", "search", size=story.all_hold)
    verdict = story.world.ask(story.world.bundle("lookup", story.acme, ADA), story.acme, ADA, keepsake=keepsake)

    assert verdict.outcome == "holds"


def test_a_keepsake_refutes_never_committed(story: Story) -> None:
    """An operator that drops a key from a map is contradicted by whoever kept the hold."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA, BOB)
    honest = world.epoch()
    keepsake = world.keepsake(acme, ADA, "db", size=honest)
    # The same keys tell another story from here on: Ada was never in it.
    liar = World()
    other = liar.admit("acme.example")
    liar.systems(other, db="database")
    liar.hold(other, "db", BOB)
    for _ in range(3):
        liar.epoch()
    verdict = liar.ask(liar.bundle("lookup", other, ADA), other, ADA, keepsake=keepsake)

    assert (verdict.outcome, verdict.code) == ("refuted", "states/keepsake")


def test_a_forged_keepsake_accuses_nobody(story: Story) -> None:
    """A keepsake whose own hold does not verify is no evidence against anybody."""
    world, acme = story.world, story.acme
    keepsake = world.keepsake(acme, ADA, "db", size=story.all_hold)
    [hold] = keepsake.holds
    # Eve was never committed; Ada's hold with Eve's name on it is no evidence that she was.
    forged = replace(keepsake, locator=EVE, vrf_proof=world.keepsake(acme, EVE).vrf_proof)
    verdict = world.ask(world.bundle("lookup", acme, EVE), acme, EVE, keepsake=forged)
    assert (verdict.outcome, verdict.code) == ("undecided", "keepsake/hold")

    moved = replace(keepsake, holds=(replace(hold, entry=world.size - 1),))
    verdict = world.ask(world.bundle("lookup", acme, ADA), acme, ADA, keepsake=moved)
    assert (verdict.outcome, verdict.code) == ("undecided", "keepsake/hold")


def test_a_proven_hold_goes_before_an_unproven_one(story: Story) -> None:
    """All holds of a keepsake are judged: one forged hold in front does not hide what another one proves."""
    liar = World()
    other = liar.admit("acme.example")
    liar.systems(other, db="database", search="search")
    liar.hold(other, "db", BOB)
    for _ in range(8):
        liar.epoch()
    keepsake = story.world.keepsake(story.acme, ADA, "db", "search", size=story.all_hold)
    forged = replace(keepsake.holds[0], entry=keepsake.holds[0].entry - 1)
    first = replace(keepsake, holds=(forged, keepsake.holds[1]))
    last = replace(keepsake, holds=(keepsake.holds[1], forged))
    alone = replace(keepsake, holds=(forged,))

    def code(kept: Keepsake) -> str:
        return liar.ask(liar.bundle("lookup", other, ADA), other, ADA, keepsake=kept).code

    assert (code(first), code(last), code(alone)) == ("states/keepsake", "states/keepsake", "keepsake/hold")


def test_a_hold_in_another_log_accuses_nobody() -> None:
    """With two logs pinned, a genuine hold in one is no contradiction in the other, whatever the keepsake says."""
    there, here = World("there.example/log"), World("here.example/log")
    holder = there.admit("acme.example")
    there.systems(holder, db="database")
    there.hold(holder, "db", ADA)
    kept = replace(there.keepsake(holder, ADA, "db", size=there.epoch()), origin=here.origin)
    same = here.admit("acme.example")
    here.systems(same, db="database")
    for _ in range(4):
        here.epoch()
    both = replace(here.policy(), logs=here.policy().logs + there.policy().logs)
    verdict = here.ask(here.bundle("lookup", same, ADA), same, ADA, keepsake=kept, policy=both)

    assert (verdict.outcome, verdict.code) == ("undecided", "keepsake/hold")


@pytest.mark.parametrize(("holder", "asked"), [("other.example", (ADA,)), ("acme.example", (BOB,))])
def test_a_keepsake_of_somebody_else_is_no_question(story: Story, holder: str, asked: tuple[str, ...]) -> None:
    """A keepsake that is not about what is asked would be passed over in silence."""
    keepsake = story.world.keepsake(story.acme, ADA, "db", size=story.all_hold)
    with pytest.raises(Malformed, match="question/keepsake"):
        story.world.ask(story.world.bundle("lookup", story.acme, BOB), holder, *asked, keepsake=keepsake)


def test_a_keepsake_tells_what_in_it_does_not_fit(story: Story) -> None:
    """Proof, row, entry and opening belong together; whether the log has the entry is for a verdict."""
    kept = story.world.keepsake(story.acme, ADA, "db", "search", size=story.all_hold)
    hold, other = kept.holds
    assert [kept.fault(each) for each in kept.holds] == [None, None]

    for changed, word in (
        (replace(hold, system="search"), "system"),
        (replace(hold, entry=hold.entry + 1), "entry"),
        (replace(hold, entry_id=other.entry_id), "entry_id"),
        (replace(hold, bundle=other.bundle), "system"),
        (replace(hold, blind=other.blind), "open"),
        (replace(hold, records=(bytes(32),)), "open"),
        (replace(hold, records=()), "no-records"),
    ):
        assert word in (kept.fault(changed) or "")
    for keepsake in (
        replace(kept, origin="x"),
        replace(kept, holder="other.example"),
        replace(kept, vrf_key=bytes(32)),
    ):
        assert "another log, holder or VRF key" in (keepsake.fault(hold) or "")
    assert "vrf/mismatch" in (replace(kept, locator=BOB).fault(hold) or "")


def test_an_old_keepsake_serves_under_a_newer_policy(story: Story) -> None:
    """A keepsake made before there were witnesses still asks: its own hold matters only where the map denies it."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    keepsake = world.keepsake(acme, ADA, "db", size=world.epoch())
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    world.cosign(world.size, "wit.example/1")
    policy = world.policy("wit.example/1", quorum=1)
    verdict = world.ask(world.bundle("lookup", acme, ADA), acme, ADA, keepsake=keepsake, policy=policy, level="A2")

    assert verdict.outcome == "holds"


# --- forgeries: each names the code that stops it ---


def edit(bundle: dict[str, Any], path: str, value: Any) -> None:
    """Set `a/0/b` of nested JSON; a callable gets the old value."""
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    at: Any = bundle
    for part in way:
        at = at[part]
    at[last] = value(at[last]) if callable(value) else value


def flip(text: str) -> str:
    found = bytearray(base64.b64decode(text))
    found[len(found) // 2] ^= 1
    return b64(bytes(found))


def change_system_head(text: str) -> str:
    return b64(replace(SystemHead.decode(base64.b64decode(text)), held=0).encode())


def change_head(text: str) -> str:
    head = PartyHead.decode(base64.b64decode(text))
    return b64(replace(head, systems_count=head.systems_count - 1).encode())


def change_descriptor(text: str) -> str:
    return b64(replace(Descriptor.decode(base64.b64decode(text)), kind="other").encode())


def erase_state(text: str) -> str:
    return b64(replace(State.parse(base64.b64decode(text)), status=2).encode())


Forgery = Callable[[Story], tuple[dict[str, Any], Any, tuple[str, ...]]]


def of(kind: str, path: str, value: Any, name: str = ADA, **cut: Any) -> Forgery:
    def forge(story: Story) -> tuple[dict[str, Any], Any, tuple[str, ...]]:
        bundle = story.world.bundle(kind, story.acme, name, **cut)
        edit(bundle, path, value)
        return bundle, story.acme, (name,)

    return forge


ROWS = [{"locator": 0, "system": "db", "entry": 1, "position": 0, "commitment": b64(bytes(32)), "path": []}]
FORGERIES: dict[str, tuple[str, Forgery]] = {
    "a checkpoint's root": (
        "signature/invalid",
        of("lookup", "checkpoint", lambda text: text.replace(text.split("\n")[2], b64(bytes(32)))),
    ),
    "an entry's bytes": ("inclusion/root-mismatch", of("lookup", "entries/1/entry", flip)),
    "an entry's path": ("inclusion/root-mismatch", of("lookup", "entries/1/path/0", flip)),
    "a path too long": ("inclusion/path-length", of("lookup", "entries/1/path", lambda path: [*path, path[0]])),
    "entries out of order": ("bundle/entries", of("lookup", "entries", lambda entries: entries[::-1])),
    "entry 0 left out": ("bundle/entry-missing", of("lookup", "entries", lambda entries: entries[1:])),
    "the epoch left out": ("bundle/entry-missing", of("lookup", "entries", lambda entries: entries[:-1])),
    "the holder's head": ("holder/head", of("lookup", "holder/head", change_head)),
    "the head's proof": ("map-proof/root-mismatch", of("lookup", "holder/proof", flip)),
    "another VRF key": ("holder/vrf-key", of("lookup", "vrf/key", flip)),
    "a VRF suite": ("holder/vrf-key", of("lookup", "vrf/suite", 4)),
    "a VRF suite beyond a byte": ("holder/vrf-key", of("lookup", "vrf/suite", 2**40)),
    "a VRF proof": ("index/other-locator", of("lookup", "locators/0/proof", flip)),
    "a locator's type": ("index/other-locator", of("lookup", "locators/0/type", "phone")),
    "a system left out": ("systems/count", of("lookup", "systems", lambda systems: systems[1:])),
    "a system twice": ("systems/order", of("lookup", "systems", lambda systems: [systems[0], *systems])),
    "a system's head": ("systems/root", of("lookup", "systems/0/head", change_system_head)),
    "a descriptor": ("systems/descriptor", of("lookup", "systems/0/descriptor", change_descriptor)),
    "a state called erased": ("states/value", of("lookup", "states/0/state", erase_state, name=BOB)),
    "a state called never committed": ("states/value", of("lookup", "states/0/state", None, name=BOB)),
    "a state invented": ("states/absent", of("lookup", "states/0/state", b64(b"\x02" + bytes(48)), name=EVE)),
    "a state's proof": ("map-proof/root-mismatch", of("lookup", "states/0/proof", flip, name=BOB)),
    "a state left out": ("states/order", of("lookup", "states", lambda states: states[1:])),
    "states of another locator": ("states/order", of("lookup", "states/0/locator", 1)),
    "a row's commitment": ("inclusion/root-mismatch", of("hold", "rows/0/commitment", flip, system="db")),
    "a row's place": ("inclusion/root-mismatch", of("hold", "rows/0/position", lambda n: 1 - n, system="db")),
    "a row of another system": ("rows/issuer", of("hold", "rows/0/system", "search", system="db")),
    "a tombstone called a hold": ("rows/kind", of("tombstone", "kind", "hold", system="db")),
    "a hold called a tombstone": ("rows/kind", of("hold", "kind", "tombstone", system="db")),
    "two rows": ("bundle/kind", of("hold", "rows", lambda rows: rows * 2, system="db")),
    "rows in a lookup": ("bundle/kind", of("lookup", "rows", ROWS)),
    "a certificate without a tombstone": ("rows/order", of("certificate", "rows", lambda rows: rows[:1])),
    "hold and tombstone swapped": ("rows/kind", of("certificate", "rows", lambda rows: [rows[1], rows[0], *rows[2:]])),
    "an unknown kind": ("bundle/kind", of("lookup", "kind", "proof")),
    "an unknown field": ("json/field", of("lookup", "systems/0", lambda s: {**s, "x": 1})),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refuted_by_its_code(story: Story, name: str) -> None:
    """Whoever changes any part of a bundle is refuted, and the step says by what."""
    code, forge = FORGERIES[name]
    bundle, holder, names = forge(story)
    verdict = story.world.ask({}, holder, *names, encoded=json.dumps(bundle).encode())

    assert (verdict.outcome, verdict.code) == ("refuted", code)


def test_a_tombstone_is_of_one_person_only(story: Story) -> None:
    """Ada's tombstone does not answer for Bob."""
    bundle = story.world.bundle("tombstone", story.acme, ADA, system="db")
    verdict = story.world.ask(bundle, story.acme, BOB)

    assert (verdict.outcome, verdict.code) == ("refuted", "index/other-locator")


def test_a_proof_is_of_one_holder_only(story: Story) -> None:
    """Another holder's exclusion does not answer for this one."""
    bundle = story.world.bundle("lookup", story.other, ADA)
    assert story.world.ask(bundle, story.other, ADA).outcome == "holds"

    assert story.world.ask(bundle, story.acme, ADA).code == "question/holder"
    edit(bundle, "holder/party", "acme.example")
    assert story.world.ask(bundle, story.acme, ADA).outcome == "refuted"


def test_a_foreign_rows_statement_is_refused(story: Story) -> None:
    """A hold by another holder, in its system of the same name, does not count."""
    world = story.world
    bundle = world.bundle("hold", story.acme, BOB, system="db")
    foreign = world.bundle("hold", story.other, BOB, system="db")
    bundle["rows"] = foreign["rows"]
    bundle["entries"] = sorted(
        {e["position"]: e for e in bundle["entries"] + foreign["entries"]}.values(), key=lambda e: e["position"]
    )
    verdict = world.ask(bundle, story.acme, BOB)

    assert (verdict.outcome, verdict.code) == ("refuted", "rows/issuer")


def test_a_bundle_shows_only_what_its_kind_can(story: Story) -> None:
    """A hold or tombstone never shows exclusion, and answers for one locator only."""
    world, acme = story.world, story.acme
    tombstone = world.bundle("tombstone", acme, ADA, system="db")

    assert world.ask(tombstone, acme, ADA, expect="excluded").code == "question/kind"
    assert world.ask(tombstone, acme, ADA, BOB).code == "question/locators"


def test_a_certificate_of_another_tombstone_is_refuted() -> None:
    """The tombstone must be the one that set the state, the hold the one it erased."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    early = world.bundle("certificate", acme, ADA)
    world.hold(acme, "db", ADA, version=1)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    late = world.bundle("certificate", acme, ADA)
    positions = {row["entry"] for row in early["rows"]}
    late["entries"] = [world.entry(p, world.size) for p in sorted({e["position"] for e in late["entries"]} | positions)]
    old_tombstone, old_hold = copy.deepcopy(late), copy.deepcopy(late)
    old_tombstone["rows"] = early["rows"]
    old_hold["rows"] = [early["rows"][0], late["rows"][1]]

    assert world.ask(late, acme, ADA).outcome == "holds"
    assert world.ask(old_tombstone, acme, ADA).code == "rows/state"
    assert world.ask(old_hold, acme, ADA).code == "rows/hold"


def test_entry_0_must_name_the_pinned_key() -> None:
    """A log that signs with a pinned key over somebody else's beginning is refuted."""
    world = World()
    acme = world.admit("acme.example")
    world.epoch()
    impostor = World("log.example/impostor")
    bundle = world.bundle("lookup", acme, ADA)
    checkpoint = world.checkpoints[world.size].checkpoint
    signed = sign_checkpoint(
        Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root), impostor.note, impostor.mldsa, world.now
    )
    bundle["checkpoint"] = signed.encode().decode()
    pinned, _ = log_verifiers(world.origin, impostor.note.public, impostor.mldsa.public)
    verdict = world.ask(bundle, acme, ADA, policy=policy_of([PolicyLog(pinned)], (), 0))

    assert (verdict.outcome, verdict.code) == ("refuted", "genesis/keys")


def test_what_is_not_a_bundle_cannot_be_decided(story: Story) -> None:
    """Foreign files are not forgeries; a broken bundle is."""
    whole = json.dumps(story.world.bundle("lookup", story.acme, ADA)).encode()
    deep = b"[" * 5000, b"[" * 200 + b"]" * 200
    for foreign in (b"", b"hello", b"\xff\xfe", b"{}", b'{"format": "other/1"}', *deep):
        assert story.world.ask({}, story.acme, ADA, encoded=foreign or b" ").outcome == "undecided"
    keepsake = story.world.keepsake(story.acme, ADA, "db", size=story.all_hold).encode()
    assert story.world.ask({}, story.acme, ADA, encoded=keepsake).outcome == "undecided"
    for broken in (
        whole[:-1],
        whole[: len(whole) // 2],
        whole + b"x",
        whole.replace(b'"kind"', b'"format": "attest-bundle/1", "kind"', 1),
    ):
        assert story.world.ask({}, story.acme, ADA, encoded=broken).outcome == "refuted"


def test_the_format_member_says_what_a_file_is(story: Story) -> None:
    """Of a JSON object its member `format`, wherever it stands; of what is none, the words at its beginning."""
    honest = story.world.bundle("lookup", story.acme, ADA)

    def code(value: Any, *, cut: int = 0) -> str:
        encoded = json.dumps(value).encode()
        verdict = story.world.ask({}, story.acme, ADA, encoded=encoded[: len(encoded) - cut])
        assert (verdict.outcome == "undecided") == (verdict.code == "bundle/format")
        return verdict.code

    last = {**{name: part for name, part in honest.items() if name != "format"}, "format": "attest-bundle/1"}
    assert code(last) == "claim/holds"
    assert code({**last, "kind": "proof"}) == "bundle/kind"
    assert code({**last, "checkpoint": "attest-keepsake/1"}) == "note/blank-line"
    assert code({**honest, "format": "other/1", "kind": "attest-bundle/1"}) == "bundle/format"
    assert code({**honest, "format": ["attest-bundle/1"]}) == "bundle/format"
    assert code([honest]) == "bundle/format"
    assert code(honest, cut=1) == "json/syntax"
    assert code(last, cut=1) == "bundle/format"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("locators", [], "json/field"),
        ("locators", [{"type": "phone", "proof": b64(bytes(80))}] * 65, "json/field"),
        ("holder/head", b64(bytes(16_385)), "encoding/base64"),
        ("systems/0/head", b64(bytes(16_385)), "encoding/base64"),
        ("systems/0/descriptor", b64(bytes(16_385)), "encoding/base64"),
        ("systems", [{"head": "", "descriptor": ""}] * 10_001, "json/field"),
        ("entries/0/path", [b64(bytes(32))] * 64, "json/field"),
        ("entries/0/path/0", b64(bytes(31)), "encoding/base64"),
        ("vrf/key", b64(bytes(33)), "encoding/base64"),
        ("locators/0/proof", b64(bytes(79)), "encoding/base64"),
        ("states/0/state", b64(bytes(50)), "encoding/base64"),
    ],
)
def test_a_bundle_has_limits(story: Story, path: str, value: Any, code: str) -> None:
    """Sizes and counts are judged where the file is read, before anything is computed from it."""
    bundle = story.world.bundle("lookup", story.acme, ADA)
    edit(bundle, path, value)
    verdict = story.world.ask({}, story.acme, ADA, encoded=json.dumps(bundle).encode())

    assert (verdict.outcome, verdict.code, verdict.steps[-1].name) == ("refuted", code, "bundle")


def test_a_kind_shows_in_what_a_bundle_has(story: Story) -> None:
    """Rows of a look-up, or a second row of a hold, are no bundle at all, whatever was asked."""
    bundle = story.world.bundle("hold", story.acme, ADA, system="db")
    bundle["rows"] *= 2
    verdict = story.world.ask({}, "other.example", ADA, encoded=json.dumps(bundle).encode())

    assert (verdict.code, verdict.steps[-1].name) == ("bundle/kind", "bundle")
    with pytest.raises(Malformed, match="bundle/kind"):
        Bundle.from_json(bundle)


def leaves_of(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [leaf for name, member in value.items() for leaf in leaves_of(member, f"{path}/{name}".strip("/"))]
    if isinstance(value, list):
        return [leaf for n, member in enumerate(value) for leaf in leaves_of(member, f"{path}/{n}")]
    return [path]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_no_mutation_of_a_bundle_holds(story: Story, data: st.DataObject) -> None:
    """Change any one value of an honest bundle: the claim no longer holds."""
    kind = data.draw(st.sampled_from(["lookup", "certificate", "hold", "tombstone"]))
    bundle = story.world.bundle(kind, story.acme, ADA, system="db" if kind in ("hold", "tombstone") else "")
    path = data.draw(st.sampled_from(leaves_of(bundle)))
    changed = copy.deepcopy(bundle)

    def mutate(old: Any) -> Any:
        if isinstance(old, int):
            return data.draw(st.integers(0, 50).filter(lambda new: new != old))
        if old is None:
            return b64(bytes(49))
        if path != "checkpoint" and re.fullmatch(r"[A-Za-z0-9+/]+=*", old) and len(old) >= 40:
            wire = bytearray(base64.b64decode(old))
            wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            return b64(bytes(wire))
        at = data.draw(st.integers(0, len(old) - 1))
        return old[:at] + data.draw(st.sampled_from("aZ0\n ").filter(lambda c: c != old[at])) + old[at + 1 :]

    edit(changed, path, mutate)
    verdict = story.world.ask({}, story.acme, ADA, encoded=json.dumps(changed).encode())

    if verdict.outcome == "holds":
        # Only a signature nobody asked for may change: the checkpoint then has lines of an unknown key.
        assert path == "checkpoint"
        assert Bundle.from_json(changed).checkpoint.checkpoint == Bundle.from_json(bundle).checkpoint.checkpoint


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.binary(max_size=300), st.integers(0, 5000), st.integers(0, 300))
def test_hostile_bytes_get_a_verdict(story: Story, noise: bytes, at: int, drop: int) -> None:
    """Whatever is spliced into a bundle, there is a verdict and no crash."""
    whole = json.dumps(story.world.bundle("certificate", story.acme, ADA)).encode()
    at %= len(whole)
    verdict = story.world.ask({}, story.acme, ADA, encoded=whole[:at] + noise + whole[at + drop :])

    assert verdict.outcome in ("undecided", "refuted", "not-anchored") or not (noise or drop)


def test_every_code_of_a_verdict_is_in_the_spec() -> None:
    """docs/spec/verify.md names every code that the verifier can give of its own."""
    source = Path("attest/ledger/verify.py").read_text()
    page = Path("docs/spec/verify.md").read_text() + Path("docs/spec/bundle.md").read_text()
    codes = set(
        re.findall(
            r'"((?:question|checkpoint|genesis|entry|holder|index|systems|states|rows|claim|freshness|level|keepsake)/[a-z0-9-]+)"',
            source,
        )
    )

    assert len(codes) > 40
    assert {code for code in codes if code not in page} - {
        "claim/holds",
        "question/expect",
        "question/keepsake",
        "question/level",
        "question/state-policy",
    } == set()
