"""JavaScript and Python give one verdict: on published bundles, on mutations, on logs that bind what they must not."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

from attest.formats.bundle import Bundle
from attest.formats.checkpoint import Checkpoint, sign_checkpoint
from tests.verify.world import World
from tests.web.second import Case, differences, ours, recoded, theirs
from tools.interop.bound import bound
from tools.interop.second import mutated, published

MUTATIONS = 2000
RECODED = 600
BOUND = 400


def disagreements(cases: list[Case]) -> list[str]:
    """Let both judge, each in a process of its own, and say where they differ."""
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(theirs, cases)
        mine = [ours(case) for case in cases]
    return [
        f"{case['desc']}: {different}"
        for case, own, other in zip(cases, mine, others.result(), strict=True)
        if (different := differences(own, other))
    ]


def test_published_bundles_and_mutations_of_them_get_one_verdict() -> None:
    """Outcome, code, steps, claim, anchor, level, results, intervals: all members but text for people are equal."""
    cases = list(published())

    assert disagreements([*cases, *mutated(cases, MUTATIONS), *recoded(cases, RECODED)]) == []


def test_what_a_crooked_log_binds_gets_one_verdict() -> None:
    """All signatures and hashes fit, so faults are found deep inside: heads, states, statements, keys."""
    assert disagreements(list(bound(BOUND))) == []


def test_numbers_beyond_what_javascript_can_count_get_one_verdict() -> None:
    """Sizes and times go to 2^63 − 1; a reader that rounded them would mistake one checkpoint for another."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", "email:ada@example.org")
    world.epoch()
    true = world.checkpoints[world.size].checkpoint
    question = {
        "policy": world.policy("wit.example/1", quorum=1).encode().decode(),
        "state_policy": None,
        "holder": acme.id,
        "locators": ["email:ada@example.org"],
        "keepsake": None,
        "expect": "held",
        "level": "A2",
        "max_age": 86_400,
        "now": world.now,
    }
    cases: list[Case] = []
    for size, time in product((2, world.size, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1), (1, 2**53 + 1, 2**63 - 1)):
        checkpoint = Checkpoint(true.origin, size, true.root)
        world.checkpoints[world.size] = sign_checkpoint(checkpoint, world.note, world.mldsa, time)
        world.cosign(world.size, "wit.example/1", time=time)
        bundle = Bundle.from_json(world.bundle("lookup", acme, "email:ada@example.org")).encode()
        cases.append({"desc": f"size {size}, time {time}", "question": question, "bundle": bundle, "keepsake": None})

    assert {ours(case)["code"] for case in cases} >= {"freshness/clock", "freshness/old", "inclusion/path-length"}
    assert disagreements(cases) == []
