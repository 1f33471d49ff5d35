"""Python's garbage collector, kept away from large trees."""

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_running = 0


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from visiting, again and again, millions of tuples in which there are no cycles.

    It doubles the time of a check. For seconds, not for hours: what others leave in cycles is freed afterwards.
    """
    global _running
    with _lock:
        _running += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if not _running:
                gc.enable()
