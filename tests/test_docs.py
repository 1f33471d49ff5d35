"""The commands that README and guides show are run, as shown, in an empty folder."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest

from attest.config import Config
from tests.forking import forking

ROOT = Path(__file__).parent.parent
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands_of(page: str, port: int) -> str:
    """Return all `sh` blocks of a page as one script, on ports of our own."""
    script = "\n".join(SHELL.findall((ROOT / page).read_text())).replace("8765", str(port))
    return script.replace("8766", str(free_port())) if "8766" in script else script


def free_port() -> int:
    """Return a port below those that callers get, so that nobody has it until a guide serves there."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Path]:
    """A folder in which the tour of README has been taken; its service runs until the end."""
    where = tmp_path_factory.mktemp("tour")
    process = run(where, commands_of("README.md", port))
    yield where
    os.killpg(process.pid, signal.SIGTERM)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where there is an `attest` that starts at once, for guides of many commands; the others have what users have."""
    with forking(tmp_path_factory.mktemp("bin")) as found:
        yield found


def run(where: Path, script: str, programs: Path = Path(sys.executable).parent) -> subprocess.Popen[str]:
    """Run a script with `attest` on the path; fail with everything it said."""
    said = where / "said"
    with said.open("w") as out:
        process = subprocess.Popen(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=where,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            text=True,
            start_new_session=True,
        )
    if process.wait(timeout=800):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        pytest.fail(said.read_text(errors="replace"))
    return process


def test_the_tour_of_readme_works(folder: Path) -> None:
    """Every command exits 0, and the last verdicts are what the text says."""
    said = (folder / "said").read_text()

    assert "holds\tnow.bundle\tclaim/holds" in said
    assert "holds\tada.certificate\tclaim/holds" in said
    assert "a certificate bundle" in said
    assert said.count("\nclean\tlog.example/deletions") == 3


def test_the_commands_for_verifying_work(folder: Path, port: int) -> None:
    """The verifier's guide runs on what the tour has made."""
    (folder / "policy").write_bytes((folder / "log/policy").read_bytes())
    run(folder, commands_of("docs/guides/verifying.md", port))


@pytest.mark.timeout(900)  # twelve commands, half of them audits
def test_the_commands_for_auditors_work(folder: Path, port: int, quick: Path) -> None:
    """The auditor's guide runs on the tour's log: all is well, and the damage that it does itself is found."""
    (folder / "policy").write_bytes((folder / "log/policy").read_bytes())
    run(folder, commands_of("docs/guides/auditing.md", port), quick)

    said = (folder / "said").read_text()
    assert said.count("\nclean\tlog.example/deletions") == 6
    assert "finding\tfault\tserved/rows" in said
    assert "refuted\tfound/" in said
    assert "A. Auditor, Example Audit Ltd" in (folder / "first.html").read_text()


@pytest.mark.timeout(900)  # twenty-five commands
def test_the_commands_for_samples_work(folder: Path, port: int, quick: Path) -> None:
    """The guide for auditors goes on where the tour ends, from the plan to a result that others check."""
    run(folder, commands_of("docs/guides/sampling.md", port), quick)

    said = (folder / "said").read_text()
    assert said.count("\nsupported\t") == 4
    assert "\n299\n" in said and "draws\topened\t" in said and "this supports that fewer than" in said


def test_the_commands_for_monitoring_work(folder: Path, port: int, quick: Path) -> None:
    """The guide for monitoring runs on what the tour has made; what it says of exit codes is what happens."""
    run(folder, commands_of("docs/guides/monitoring.md", port), quick)

    events = [json.loads(line)["kind"] for line in (folder / "events.jsonl").read_text().split("\n")[:-1]]
    assert {"party-admitted", "system-registered", "watched-held", "watched-erased", "checkpoint"} <= set(events)
    assert "watched-erased" in (folder / "told").read_text()


def test_the_commands_for_operators_work(tmp_path: Path, quick: Path) -> None:
    """The operator's guide runs in an empty folder, the service until the end."""
    process = run(tmp_path, commands_of("docs/guides/operator.md", free_port()), quick)
    os.killpg(process.pid, signal.SIGTERM)

    assert "admitted\tacme.example" in (tmp_path / "said").read_text()


def test_the_commands_for_witnesses_work(tmp_path: Path, quick: Path) -> None:
    """The guide for witnesses runs in an empty folder, with a log that is cosigned in the end."""
    process = run(tmp_path, commands_of("docs/guides/witness.md", free_port()), quick)
    os.killpg(process.pid, signal.SIGTERM)

    assert "origin=log.example/deletions\tlisted=True\tsize=2" in (tmp_path / "said").read_text()


@pytest.mark.timeout(900)  # forty commands
def test_the_commands_about_keys_work(tmp_path: Path, quick: Path) -> None:
    """Keys are replaced, stolen and lost, a log ends and others begin; the first statement verifies all the while."""
    process = run(tmp_path, commands_of("docs/guides/keys.md", free_port()), quick)
    os.killpg(process.pid, signal.SIGTERM)

    said = (tmp_path / "said").read_text()
    assert "holds\tbefore.bundle\tclaim/holds" in said
    assert "holds\tnow.bundle\tclaim/holds" in said and "this log continues log.example/deletions, from" in said
    assert "holds\tlast.bundle\tclaim/holds" in said and "this log ended with this checkpoint" in said
    assert "published\tparty-end/1" in said
    assert 'successor = "log.example/deletions-2"' in (tmp_path / "log/attest.toml").read_text()


def test_every_setting_is_in_the_operators_guide() -> None:
    """No setting without a word about it."""
    page = (ROOT / "docs/guides/operator.md").read_text()

    for setting in fields(Config):
        assert setting.name == "directory" or f"`{setting.name}`" in page, setting.name


def test_no_page_has_commands_that_nothing_runs() -> None:
    """A page with `sh` blocks is run here, or by the test that it names below."""
    here = {
        "README.md",
        *(
            f"docs/guides/{name}.md"
            for name in ("verifying", "auditing", "sampling", "monitoring", "operator", "witness", "keys")
        ),
    }
    run_elsewhere = {"docs/guides/holder.md": "tests/holder", "docs/guides/posting.md": "tests/web"}
    pages = ["README.md", *(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
    shown = {page for page in pages if SHELL.search((ROOT / page).read_text())}

    assert here <= shown
    for page in shown - here:
        tests = ROOT / run_elsewhere[page]
        assert any(Path(page).name in test.read_text() for test in tests.glob("test_*.py")), page
