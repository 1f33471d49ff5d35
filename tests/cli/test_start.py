"""A command imports what it needs, and no more: that is how soon it starts."""

import subprocess
import sys

import pytest

HEAVY = {"alembic", "flask", "httpx", "numpy", "psycopg", "rich", "scipy", "sqlalchemy", "waitress"}
_IMPORTED = """
import sys
from attest.cli import main
sys.stdout = open("/dev/null", "w")
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("verify --help", set()),
        ("show pyproject.toml --help", set()),
        ("--help", set()),
        ("holder hold --help", set()),
        ("prove --help", {"httpx"}),
        ("sample frame --help", {"numpy", "scipy"}),
        ("sample size --population 1000 --tolerable 10% --confidence 95%", {"numpy", "scipy"}),
    ],
)
def test_a_command_imports_only_what_it_needs(command: str, needs: set[str]) -> None:
    """Of what takes long to import."""
    ended = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *command.split()], capture_output=True, text=True, check=True
    )
    found = set(ended.stderr.split()) & HEAVY
    assert found - ({"rich"} if "httpx" in needs else set()) <= needs  # httpx has a command of its own, in colours
