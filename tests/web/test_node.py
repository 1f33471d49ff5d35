"""The JavaScript implementation's own tests, under Node: one test here for each of their files."""

import subprocess
from pathlib import Path

import pytest

from tests.web.second import NODE, ROOT

FILES = sorted((ROOT / "web/test").glob("*.test.js"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_node(file: Path) -> None:
    """`node --test` passes."""
    done = subprocess.run([NODE, "--test", file], capture_output=True, text=True, check=False, cwd=ROOT / "web")

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
