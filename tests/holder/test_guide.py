"""Every command of the company's guide works, in its order, as it stands there."""

import re
import shlex
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from attest.api.app import create_app
from attest.cli import cli
from attest.encoding import sha256
from attest.formats.join import JoinRequest
from tests.holder.company import Wire
from tests.world import SimulatedClock, World

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "holder.md"


def commands() -> list[str]:
    """Return the commands of the guide's console blocks."""
    found: list[str] = []
    for block in re.findall(r"```console\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL):
        found += re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE)
    return found


def prepare(folder: Path, world: World) -> None:
    """Write the files that the guide speaks of."""
    (folder / "policy").write_bytes(world.policy.encode())
    customers = "".join(f"person{n}@example.org,Person {n}\n" for n in range(12))
    header, now = "email,name\n", "ada@example.org,Ada\n" + customers
    (folder / "customers.csv").write_text(header + now + "grace@example.org,Grace\n")
    (folder / "customers-now.csv").write_text(header + now)
    (folder / "mixed.csv").write_text(header + now + "Grace@Example.ORG ,Grace\nnobody,X\nada@example.org,Twice\n")
    (folder / "orders.jsonl").write_text('{"customer": "ada@example.org", "total": 12.50}\n' * 3)
    (folder / "gone.csv").write_text(header + "grace@example.org,Grace\n")
    (folder / "gone.txt").write_text("email:grace@example.org\n")
    (folder / "photos" / "more").mkdir(parents=True)
    (folder / "photos" / "a.jpg").write_bytes(b"a picture of Ada")
    (folder / "photos" / "more" / "b.jpg").write_bytes(b"a picture of Grace")
    (folder / "gone-photos.txt").write_text(f"sha256:{sha256(b'a picture of Grace').hex()}\n")


def test_the_guide_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up, commit, keepsakes, erase, prove, keys, backups: each command ends well."""
    world = World(tmp_path / "log", clock=SimulatedClock(time.time() - 10 * 86_400), transitions_s=10_000_000)
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path, world)
    options = {
        "transport": Wire(httpx.WSGITransport(create_app(world.node, wait_s=0))),
        "clock": world.clock,
        "sleep": lambda seconds: world.step(max(1, seconds)),
        "workers": 1,
    }
    run: list[str] = []
    for command in commands():
        words = shlex.split(command)
        run.append(" ".join(words[:3]))
        if words[0] == "export":
            name, value = words[1].split("=")
            monkeypatch.setenv(name, value)
        elif words[0] != "attest":
            subprocess.run(words, check=True)
        else:
            if words[:3] == ["attest", "holder", "send"]:
                world.clock.advance(86_400)
            if words[1] == "verify":
                words += ["--at", str(int(world.clock()))]
            result = CliRunner().invoke(cli, words[1:], obj=options, standalone_mode=False)
            assert result.exception is None, (command, result.exception, result.output)
            assert result.return_value in (None, 0), (command, result.output)
            if words[1:3] == ["holder", "join"]:
                admit(world, Path("join.json"))
    assert len(run) > 25
    assert not list(Path("acme").glob("staging*"))
    world.check()


def admit(world: World, join: Path) -> None:
    """Do the operator's part."""
    request = JoinRequest.parse(join.read_bytes())
    request.verify(request.origin)
    world.clock.advance()
    world.node.operate(request.party("operator", int(world.clock())), request.id, pause=world.clock.advance)
