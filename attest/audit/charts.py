"""Charts as inline SVG: no script, no style of their own, every number also in words beside them.

A chart is stretched to whatever room there is, so it contains lines only; what has to be read is HTML around it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias, TypeVar

from attest.audit.markup import Html, el, join

T = TypeVar("T")

SERIES: Final = ("held", "erased", "reheld")
Counts: TypeAlias = tuple[int, int, int]  # held, erased, reheld
_HEIGHT: Final = 40  # of a curve, in units of its own


def sampled(curve: Sequence[Sequence[int]], start: int, end: int, columns: int) -> list[Counts]:
    """Return how a system stood at evenly spaced times, the last of them `end`.

    Args:
        curve: [time, held, erased, reheld], ascending by time.
    """
    times = [point[0] for point in curve]
    found: list[Counts] = []
    for column in range(columns):
        at = bisect_right(times, start + (end - start) * (column + 1) // columns)
        held, erased, reheld = curve[at - 1][1:4] if at else (0, 0, 0)
        found.append((held, erased, reheld))
    return found


def added(parts: Iterable[Sequence[Counts]], columns: int) -> list[Counts]:
    """Return the sum of what `sampled` returns for so many columns."""
    total = [(0, 0, 0)] * columns
    for part in parts:
        total = [(a + x, b + y, c + z) for (a, b, c), (x, y, z) in zip(total, part, strict=True)]
    return total


def thinned(samples: Sequence[T], columns: int) -> list[T]:
    """Return the last of every few samples, at most so many."""
    step = -(-len(samples) // columns)
    return list(reversed(samples[::-1][::step]))


def in_words(samples: Sequence[Counts]) -> str:
    """Say what a curve shows: where it ends, and the most there was."""
    return ", ".join(
        f"{name} {last:,}" + (f" (at most {most:,})" if (most := max(point[n] for point in samples)) > last else "")
        for n, (name, last) in enumerate(zip(SERIES, samples[-1], strict=True))
    )


def curves(samples: Sequence[Counts], *, small: bool = False) -> Html:
    """Draw held, erased and reheld over time as steps; what is nowhere above 0 is not drawn."""
    top = max(1, *map(max, samples))
    lines = [
        el("path", class_=name[0], d=steps([point[n] for point in samples], top))
        for n, name in enumerate(SERIES)
        if any(point[n] for point in samples)
    ]
    # One unit above and below, so that no line is cut at its edge.
    return el(
        "svg",
        join(*lines),
        class_="s" if small else "l",
        role="img",
        aria_label=in_words(samples),
        viewBox=f"0 -1 {len(samples)} {_HEIGHT + 2}",
        preserveAspectRatio="none",
    )


def steps(values: Sequence[int], top: int, height: int = _HEIGHT) -> str:
    """Return the path of a line of steps, one unit wide each, `height` units for `top`."""
    heights = [height - value * height // top for value in values]
    path, x = f"M0 {heights[0]}", 0
    for n in range(1, len(heights)):
        if heights[n] != heights[n - 1]:
            path += f"h{n - x}v{heights[n] - heights[n - 1]}"
            x = n
    return f"{path}h{len(heights) - x}"


def bar(value: int, most: int) -> Html:
    """Draw a bar; its number stands beside it."""
    width = 100 * value / max(1, most)
    return el(
        "svg",
        el("rect", width=f"{max(width, 0.5) if value else 0:.4g}", height=10),
        class_="b",
        aria_hidden="true",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
    )
