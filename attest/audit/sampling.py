"""The mathematics of audit samples: how many to draw, which ones, and what the failures among them mean.

Rates, confidences and recalls are whole millionths (`ppm`), so that they are written in one way and compared exactly.

Spec: docs/spec/sample.md.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import numpy as np
import scipy

from attest.encoding import Hash, label_prefix
from attest.errors import Malformed
from attest.formats.sample import MAX_POPULATION, MAX_SAMPLE, MILLION

# `scipy.stats` is loaded where it is first used: it takes a second, and most commands of a sample need no distribution.
# SciPy's hypergeometric distribution is right to about 1e-7 at a billion. What is this near to the limit is not below.
_TOLERANCE: Final = 1e-6


# --- the draw ---


def draw(beacon: bytes, checkpoint: str, plan: Hash, population: int, size: int) -> list[int]:
    """Return `size` distinct positions below `population`, in the order they are drawn.

    Args:
        beacon: the beacon's value.
        checkpoint: the three lines of the checkpoint.
        plan: SHA-256 of the plan file.

    Spec: docs/spec/sample.md#draw.
    """
    if not 0 < size <= population <= MAX_POPULATION:
        raise ValueError(f"no draw of {size} from {population}")
    text = checkpoint.encode()
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in (text, plan))
    seed = hmac.digest(beacon, label_prefix("sample-seed") + framed, hashlib.sha256)
    # A number at or above the greatest multiple of `population` would favour the first positions.
    fair = 2**64 // population * population
    drawn: dict[int, None] = {}
    counter = 0
    while True:
        block = hmac.digest(seed, counter.to_bytes(8, "big"), hashlib.sha256)
        counter += 1
        for at in range(0, 32, 8):
            number = int.from_bytes(block[at : at + 8], "big")
            if number < fair:
                drawn[number % population] = None
            if len(drawn) == size:
                return list(drawn)


# --- sizes and bounds ---


def tolerable_count(population: int, tolerable_ppm: int) -> int:
    """Return the least number of wrong ones that is too many: the tolerable rate of the population, at least 1."""
    return max(1, -(-population * tolerable_ppm // MILLION))


def chance(population: int, wrong: int, size: int, failures: int, recall_ppm: int = MILLION) -> float:
    """Return the probability that a sample shows at most `failures`, if `wrong` of the population are.

    A wrong one that is drawn is noticed with the probability of `recall_ppm`, independently of the others. Without
    replacement: hypergeometric, thinned by a binomial.
    """
    if recall_ppm == MILLION:
        return float(scipy.stats.hypergeom.cdf(failures, population, wrong, size))
    drawn = np.arange(max(0, size - (population - wrong)), min(size, wrong) + 1)
    seen = scipy.stats.binom.cdf(failures, drawn, recall_ppm / MILLION)
    return float(np.sum(scipy.stats.hypergeom.pmf(drawn, population, wrong, size) * seen))


def sample_size(
    population: int, tolerable_ppm: int, confidence_ppm: int, *, recall_ppm: int = MILLION, allowed: int = 0
) -> int:
    """Return the least sample in which too many wrong ones show more than `allowed` failures with this confidence.

    Raises:
        Malformed: `sample/size`, not even the whole population would do, or it takes more than 100,000.
    """
    wrong = tolerable_count(population, tolerable_ppm)
    most = min(population, MAX_SAMPLE)

    def is_enough(size: int) -> bool:
        return _is_unlikely(chance(population, wrong, size, allowed, recall_ppm), confidence_ppm)

    if not is_enough(most):
        raise Malformed(
            "sample/size",
            f"no sample of up to {most} of {population} shows {wrong} wrong ones with this confidence and recall",
            hint="a higher tolerable rate, a lower confidence, fewer allowed failures, or a test of better recall",
        )
    return _first(is_enough, 1, most)


def most_wrong(population: int, size: int, failures: int, confidence_ppm: int, *, recall_ppm: int = MILLION) -> int:
    """Return the upper confidence limit: the greatest number of wrong ones that is still compatible with the failures.

    Exact, for this population and without replacement. One-sided.
    """

    def is_refuted(wrong: int) -> bool:
        return _is_unlikely(chance(population, wrong, size, failures, recall_ppm), confidence_ppm)

    return _first(is_refuted, failures, population + 1) - 1 if failures < population else population


def clopper_pearson(size: int, failures: int, confidence_ppm: int) -> float:
    """Return the one-sided upper limit of the rate for `failures` of `size`, whatever the population's size.

    Spec: Clopper and Pearson, Biometrika 26 (1934).
    """
    if failures >= size:
        return 1.0
    return float(scipy.stats.beta.ppf(confidence_ppm / MILLION, failures + 1, size - failures))


def _is_unlikely(probability: float, confidence_ppm: int) -> bool:
    return probability < (MILLION - confidence_ppm) / MILLION * (1 - _TOLERANCE)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the least number from `low` to below `high` from which on it holds; `high` if there is none."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


# --- what nobody listed, and probes ---


def chapman(declared: int, found: int, both: int) -> tuple[float, float]:
    """Estimate how many systems there are, from two lists made independently: (estimate, variance).

    Args:
        declared: how many the company lists.
        found: how many the auditor found without that list.
        both: how many stand in both.

    Spec: Chapman 1951; variance by Seber 1970.
    """
    if not 0 <= both <= min(declared, found):
        raise ValueError(f"{both} in both of {declared} and {found}")
    estimate = (declared + 1) * (found + 1) / (both + 1) - 1
    spread = (declared + 1) * (found + 1) * (declared - both) * (found - both)
    return estimate, spread / ((both + 1) ** 2 * (both + 2))


def fisher(hits: int, probes: int, control_hits: int, controls: int) -> float:
    """Return the chance that probes hit at least this often, if they were no more likely to than the controls.

    Fisher's exact test, one-sided. Controls are probes that never were in the database.
    """
    if not 0 <= hits <= probes or not 0 <= control_hits <= controls:
        raise ValueError("more hits than probes")
    table = [[hits, probes - hits], [control_hits, controls - control_hits]]
    return float(scipy.stats.fisher_exact(table, alternative="greater").pvalue)
