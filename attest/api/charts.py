"""Charts for pages: what is drawn, what stands beside it, and the same in words and numbers."""

from typing import Final, NamedTuple

from attest.audit.charts import SERIES, Counts, in_words, steps, thinned
from attest.browse import Timeline
from attest.store.counts import Count

COLUMNS: Final = 61
SMALL: Final = 25
HEIGHT: Final = 600  # of the drawing, in units of its own; it is stretched to its room
_ROWS: Final = 13  # of the table of numbers


class Line(NamedTuple):
    """One series: its name, where it ends, its path, and the area under it."""

    name: str
    last: int
    path: str
    area: str


class Chart(NamedTuple):
    """Held, erased and reheld over time."""

    words: str
    width: int
    lines: list[Line]
    top: int  # at the upper edge; the lower is 0
    start: int  # Unix seconds
    end: int
    rows: list[tuple[int, Counts]]  # time and numbers, ascending


def draw(timeline: Timeline, system: str) -> Chart | None:
    """Return the chart of a system, None if nothing ever happened there."""
    samples = [_counts(each) for each in timeline.counts.get(system, [])]
    if not any(map(any, samples)):
        return None
    top = _round_up(max(map(max, samples)))
    lines = []
    for n, name in enumerate(SERIES):
        values = [sample[n] for sample in samples]
        if any(values):
            path = steps(values, top, HEIGHT)
            lines.append(Line(name, values[-1], path, f"{path}V{HEIGHT}H0Z"))
    rows = thinned(list(zip(timeline.times, samples, strict=True)), _ROWS)
    return Chart(in_words(samples), len(samples), lines, top, timeline.times[0], timeline.times[-1], rows)


def _counts(found: Count | None) -> Counts:
    return (0, 0, 0) if found is None else (found.held, found.erased, found.reheld)


def _round_up(most: int) -> int:
    """Return the next of 2, 4, 6, 8, 10, 20, …: half of it is whole."""
    power = 1
    while most > 10 * power:
        power *= 10
    return next(step * power for step in (2, 4, 6, 8, 10) if step * power >= most)


def short(number: int) -> str:
    """Write a number in few characters: 950, 12.5 k, 3 M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
