"""How often a log may ask: as many times a day as its list says.

Requests need no secret: whoever sees a checkpoint can send it again. So steps forward, which only the log can bring
about, are counted apart from everything else, and nobody can use them up by repeating what is known.
"""

import math
import threading
from collections.abc import Callable
from typing import Final

from attest.errors import Unavailable

_DAY_S: Final = 86_400
_BURST: Final = 60  # of what is no step forward


class TooMany(Unavailable):
    """Not now: `retry_s` seconds from now there is room again."""

    def __init__(self, retry_s: int) -> None:
        super().__init__("witness/rate", "more requests of this log than its list allows a day")
        self.retry_s = retry_s


class Quotas:
    """A bucket for each log and kind of request; it fills in a day."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """Begin full."""
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, bool], tuple[float, float]] = {}  # (tokens, when counted)

    def take(self, origin: str, qpd: int, *, step: bool) -> None:
        """Count a request of a log that may ask `qpd` times a day. Raises `TooMany`: `witness/rate`."""
        most, rate_s = float(qpd if step else min(qpd, _BURST)), qpd / _DAY_S
        with self._lock:
            now = self._clock_s()
            tokens, counted = self._buckets.get((origin, step), (most, now))
            tokens = min(most, tokens + (now - counted) * rate_s)
            enough = tokens >= 1
            self._buckets[origin, step] = (tokens - enough, now)
        if not enough:
            raise TooMany(max(1, math.ceil((1 - tokens) / rate_s)))
