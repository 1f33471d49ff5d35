"""Bounds on what clients can make this process do: how often they write, how much it reads and how many wait."""

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from attest.errors import Unavailable

MAX_ADDRESSES: Final = 10_000


class TooMany(Unavailable):
    """Not now: `retry_s` seconds from now there is room again."""

    def __init__(self, retry_s: int) -> None:
        super().__init__("http/rate", "too many writes from this address", hint=f"try again in {retry_s} s")
        self.retry_s = retry_s


class WriteLimit:
    """Lets each address write `per_minute` times a minute, all at once if it likes; None lets everything pass."""

    def __init__(self, per_minute: int | None, clock_s: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → (tokens, when counted)

    def take(self, address: str | None) -> None:
        """Count one write. Raises `TooMany`: `http/rate`."""
        if self._per_minute is None:
            return
        rate_s = self._per_minute / 60
        with self._lock:
            now = self._clock_s()
            key = _network(address or "")
            tokens, counted = self._buckets.pop(key, (float(self._per_minute), now))
            tokens = min(float(self._per_minute), tokens + (now - counted) * rate_s)
            enough = tokens >= 1
            self._buckets[key] = (tokens - enough, now)
            # Forgetting the longest-silent address bounds memory and forgives only whoever waited longest.
            if len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)
        if not enough:
            raise TooMany(max(1, math.ceil((1 - tokens) / rate_s)))


class Uploads:
    """Lets bodies into memory, all at once at most `most` bytes; the servers in front keep the rest on disk."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Reserve room for a body while it is worked on. Raises `Unavailable`: `http/busy`."""
        with self._lock:
            if size > self._free:
                raise Unavailable("http/busy", "too many uploads at once", hint="try again in a moment")
            self._free -= size
        try:
            yield
        finally:
            with self._lock:
                self._free += size


def _network(address: str) -> str:
    """Return the address, or its /64: one IPv6 subscriber has that many."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
