"""Evidence on disk: a file for each lie, kept once, of each log not without end.

<directory>/<hex SHA-256 of the origin>/<code>-<hex of what it shows>.evidence
"""

from pathlib import Path
from typing import Final

from attest.encoding import sha256
from attest.ledger.evidence import Evidence
from attest.store.blobs import DirectoryBlobs

MAX_KEPT: Final = 64  # of one log


def keep(evidence: Evidence, directory: Path, most: int = MAX_KEPT) -> Path | None:
    """Store evidence durably, unless it is there; return its place, None where enough of this log is kept already."""
    folder = sha256(evidence.signed.checkpoint.origin.encode()).hex()
    name = f"{evidence.code.replace('/', '-')}-{evidence.digest().hex()[:16]}.evidence"
    place = directory / folder / name
    if place.exists():
        return place
    if len(list((directory / folder).glob("*.evidence"))) >= most:
        return None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    DirectoryBlobs(directory).put([(f"{folder}/{name}", evidence.encode())])
    return place
