"""Where the test vectors of other implementations are."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shared_vectors(folder: str) -> Path:
    """Return a folder of other people's vectors, or skip the test and name what is missing.

    They are not part of this repository: `ATTEST_SHARED_VECTORS` says where they are, else `../shared/vectors`.
    """
    found = Path(os.environ.get("ATTEST_SHARED_VECTORS") or ROOT.parent / "shared" / "vectors") / folder
    if not found.is_dir():
        pytest.skip(f"no vectors of other implementations in {found}; set ATTEST_SHARED_VECTORS")
    return found
