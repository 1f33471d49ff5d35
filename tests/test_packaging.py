"""The wheel, installed into an empty environment, is the offline verifier and nothing more."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests/vectors/bundle"
UV = Path(sys.executable).with_name("uv")


def run(*arguments: str | Path, code: int = 0, **more: object) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    assert done.returncode == code, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", out, cwd=ROOT)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def attest(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, in an environment with the base dependencies only, at their pinned versions."""
    venv = tmp_path_factory.mktemp("empty") / "venv"
    run(UV, "venv", "--python", sys.executable, venv)
    pins = ROOT / "requirements/dev.txt"
    run(UV, "pip", "install", "--python", venv / "bin/python", "--constraint", pins, wheel)
    return venv / "bin/attest"


def test_the_wheel_carries_migrations_and_pages(wheel: Path) -> None:
    """What the service needs besides code is inside."""
    names = zipfile.ZipFile(wheel).namelist()

    assert any("/migrations/service/" in name for name in names)
    assert any("holder/migrations/" in name or "/migrations/vault/" in name for name in names)
    assert any("/web/" in name for name in names)
    assert not any(name.startswith(("tests/", "tools/")) for name in names)


def test_the_base_install_verifies(attest: Path, tmp_path: Path) -> None:
    """`attest verify` works with four packages, and says what the rest needs."""
    case = next(c for c in json.loads((VECTORS / "cases.json").read_text()) if c["desc"] == "a certificate")
    (tmp_path / "policy").write_text(case["question"]["policy"])
    said = run(
        *(attest, "verify", VECTORS / "certificate.bundle", "--policy", tmp_path / "policy"),
        *("--holder", "acme.example", "--locator", "email:ada@example.org", "--at", str(case["question"]["now"])),
    )

    assert "holds\t" in said
    assert "attest-deletion[server]" in run(attest, "serve", code=2)
    assert "attest-deletion[holder]" in run(attest, "holder", "status", code=2)
    assert "a certificate bundle" in run(attest, "show", VECTORS / "certificate.bundle")
