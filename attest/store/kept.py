"""Evidence on disk: a file for each lie, kept once, of each log not without end.

<directory>/<hex SHA-256 of the origin>/<code>-<hex of what it shows>.evidence
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attest.encoding import sha256
from attest.errors import AttestError
from attest.ledger.evidence import Evidence
from attest.store.blobs import DirectoryBlobs

MAX_KEPT: Final = 64  # of one log
_MAX_READ: Final = 1 << 20  # bytes of evidence that is read again


def keep(evidence: Evidence, directory: Path, most: int = MAX_KEPT) -> Path | None:
    """Store evidence durably, unless it is there; return its place, None where enough of this log is kept already."""
    folder = _folder(evidence.signed.checkpoint.origin)
    name = f"{_stem(evidence.code)}-{evidence.digest().hex()[:16]}.evidence"
    place = directory / folder / name
    if place.exists():
        if not _is_whole(place):
            DirectoryBlobs(directory).overwrite(f"{folder}/{name}", evidence.encode())
        return place
    if len(list((directory / folder).glob("*.evidence"))) >= most:
        return None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    DirectoryBlobs(directory).put([(f"{folder}/{name}", evidence.encode())])
    return place


def kept(directory: Path, origin: str, code: str) -> Iterator[Evidence]:
    """Yield what is kept of a log under a code, as far as it can be read; whoever relies on it checks it."""
    for place in sorted((directory / _folder(origin)).glob(f"{_stem(code)}-*.evidence")):
        with contextlib.suppress(OSError, AttestError):
            if place.stat().st_size <= _MAX_READ:
                yield Evidence.parse(place.read_bytes())


def _is_whole(place: Path) -> bool:
    try:
        Evidence.parse(place.read_bytes())
    except AttestError:
        return False
    return True


def _folder(origin: str) -> str:
    return sha256(origin.encode()).hex()


def _stem(code: str) -> str:
    return code.replace("/", "-")
