"""The second verifier, docs/examples, and `attest verify` say the same. Skipped without Go 1.27 or later."""

import subprocess
from pathlib import Path

import pytest

from tools.interop import install
from tools.interop.second import OWN_GO, build, compare, find_go


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_both_verifiers_say_the_same(tmp_path: Path) -> None:
    """On the published vectors, on mutations of them, and on what a log binds that it must not."""
    go = find_go()
    if go is None:
        pytest.skip("no Go 1.27 or later; `make interop` installs one")
    try:
        program = build(go, tmp_path, install.go_environment() if go == OWN_GO else None)
    except subprocess.CalledProcessError:
        pytest.skip("cannot build docs/examples: its one module has to be fetched once")
    said: list[str] = []

    assert compare(program, 600, said.append) == 0, "\n".join(said)
