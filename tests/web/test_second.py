"""JavaScript and Python give one verdict: on published bundles, on mutations, on logs that bind what they must not."""

from concurrent.futures import ThreadPoolExecutor

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
