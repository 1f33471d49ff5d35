"""What every test starts from."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

if sys.dont_write_bytecode:
    # Where bytecode is unwanted beside the code, it is kept elsewhere: every `attest` that a test starts would compile
    # all that it imports, which is most of its time. Workers of pytest-xdist start after this and inherit it.
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(Path(__file__).parent.parent / "var/pycache")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

MEMORY = Path("/dev/shm")
ROOM = 2 << 30  # bytes; a run keeps far less at a time


def pytest_configure() -> None:
    """Keep temporary files in memory, where there is room and TMPDIR names no other place.

    Whatever asks for durability still asks, and is answered at once: it is the disk that most tests would wait for.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return
    found = os.statvfs(MEMORY)
    if not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize >= ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    """Log to the test's own stderr, whatever the test before this one configured."""
    structlog.reset_defaults()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    yield
    structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: one that began last would go on alone."""
    items.sort(key=lambda item: item.path.name not in ("test_docs.py", "test_large.py"))
