"""Samples from plan to signed result: an honest company passes, and every way to steer or to cheat is noticed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from attest.audit import sample as samples
from attest.cli import cli
from attest.encoding import sha256
from attest.formats.sample import Beacon, Plan, Result
from attest.holder import vault
from tests.holder.company import Company, people
from tests.world import World

QUICKNET = {
    "public_key": "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1f"
    "ec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
    "period": 3,
    "genesis_time": 1692803367,
    "hash": "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971",
    "groupHash": "f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e",
    "schemeID": "bls-unchained-g1-rfc9380",
    "metadata": {"beaconID": "quicknet"},
}
TARGET = ("--tolerable", "25%", "--confidence", "90%")  # 7 of 30, 8 of 40


@dataclass
class Audit:
    """An auditor in front of a company: both use the command line."""

    company: Company
    folder: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.log = str(self.company.world.config.path(self.company.world.config.public))
        (self.folder / "policy").write_bytes(self.company.world.policy.encode())
        (self.folder / "drand.json").write_text(json.dumps(QUICKNET))

    def run(self, *words: object, code: int | None = 0) -> list[list[str]]:
        """Run a command; return the columns it printed. A code of None: any that is a verdict."""
        options = self.company.options
        result = CliRunner().invoke(cli, [str(word) for word in words], obj=options, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        self.said = result.stderr.split("\n")
        assert code is None or (result.return_value or 0) == code, result.output
        return [line.split("\t") for line in result.stdout.splitlines()]

    def path(self, name: str) -> Path:
        return self.folder / name

    def plan(self, direction: str, *more: object, name: str = "plan.json") -> Plan:
        """Fix a plan for system crm."""
        self.run(
            *("sample", "plan", self.log, "--policy", self.path("policy"), "--holder", self.company.id),
            *("--system", "crm", "--direction", direction, *TARGET, "--chain", self.path("drand.json"), "--in", "1h"),
            *(*more, "--output", self.path(name)),
        )
        return Plan.parse(self.path(name).read_bytes())

    def beacon(self, plan: Plan, signature: bytes = b"a signature") -> Beacon:
        """Let the hour pass and the beacon speak."""
        assert plan.chain is not None
        self.company.world.clock.now = max(self.company.world.clock.now, plan.chain.time_of(plan.round))
        spoken = {
            "format": "attest-beacon/1",
            "source": plan.source,
            "round": plan.round,
            "value": sha256(signature).hex(),
            "signature": signature.hex(),
        }
        self.path("beacon.json").write_text(json.dumps(spoken))
        return Beacon.parse(self.path("beacon.json").read_bytes())

    def draw(self, *more: object) -> list[samples.Draw]:
        """Draw into the folder `sheet`."""
        files = self.path("plan.json"), self.path("beacon.json")
        self.run("sample", "draw", *files, *more, "--output", self.path("sheet"))
        return self.draws()

    def draws(self) -> list[samples.Draw]:
        return samples.parse_worksheet((self.path("sheet") / "worksheet.csv").read_bytes())

    def fill(self, draws: list[samples.Draw]) -> None:
        (self.path("sheet") / "worksheet.csv").write_bytes(samples.encode_worksheet(draws))

    def answer(self, *more: object, code: int = 0) -> list[list[str]]:
        """Let the company answer."""
        place = "--dir", self.company.path
        return self.run("sample", "answer", self.path("plan.json"), self.path("sheet"), *place, *more, code=code)

    def check(self, code: int = 0) -> list[list[str]]:
        """Judge the answers; return a line per draw, and the verdict's."""
        return self.run("sample", "check", *self._judged(), code=code)

    def _judged(self) -> tuple[object, ...]:
        return (*(self.path(name) for name in ("plan.json", "beacon.json", "sheet")), "--policy", self.path("policy"))

    def sign(self, code: int = 0) -> tuple[Result, str]:
        """Sign; return the result and the auditor's public key."""
        public = self.run("sample", "key", "--output", self.path("auditor.pem"))[0][2]
        self.run(
            *("sample", "sign", *self._judged(), "--key", self.path("auditor.pem"), "--auditor", "audit.example"),
            *("--output", self.path("result.cose")),
            code=code,
        )
        return Result.parse(self.path("result.cose").read_bytes()), public

    def verify(self, public: str, code: int = 0) -> list[list[str]]:
        return self.run(
            *("sample", "verify", self.path("result.cose"), "--key", public, "--policy", self.path("policy")), code=code
        )


@pytest.fixture(autouse=True)
def fast_vaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power loss is not what these tests look at."""
    monkeypatch.setitem(vault.PRAGMAS, "synchronous", "OFF")


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    """A company that holds forty people, and has erased ten of them."""
    company = Company(World(tmp_path / "log", transitions_s=10_000_000), tmp_path / "company")
    company.hold(people(40))
    company.erase([f"person{n}@example.org" for n in range(10)])
    yield Audit(company, tmp_path / "audit")
    company.world.close()


def the_frame(audit: Audit, numbers: Any) -> Path:
    """Let the company write its frame."""
    audit.path("live").write_text("".join(f"email:person{n}@example.org\n" for n in numbers))
    audit.run("sample", "frame", "--locators", audit.path("live"), "--output", audit.path("frame"))
    return audit.path("frame")


def everybody(audit: Audit) -> Path:
    """List everybody the company has ever known: it finds the drawn ones among them."""
    audit.path("known").write_text("".join(f"email:person{n}@example.org\n" for n in range(40)))
    return audit.path("known")


def outcomes(lines: list[list[str]]) -> list[str]:
    return [line[3] for line in lines if line[0] == "draw"]


# --- honest ---


def test_rows_of_the_live_system_are_found_in_the_log(audit: Audit) -> None:
    """Forward, from the frame to a result that a third person checks offline."""
    frame = the_frame(audit, range(10, 40))
    audit.beacon(audit.plan("forward", "--frame", frame))
    draws = audit.draw("--frame", frame)
    audit.answer()

    assert outcomes(audit.check()) == ["held"] * len(draws)
    _, public = audit.sign()
    lines = audit.verify(public)
    assert lines[0] == ["draws", "held", str(len(draws))] and lines[-1][0] == "supported"
    assert any("with 90 % confidence at most" in line and "not held" in line for line in audit.said)


def test_held_indexes_are_opened(audit: Audit) -> None:
    """Backward: every drawn row stands for records that the company can show the digests of."""
    plan = audit.plan("backward")
    audit.beacon(plan)
    draws = audit.draw("--log", audit.log)
    audit.answer("--locators", everybody(audit))

    assert plan.count == 30
    assert outcomes(audit.check()) == ["opened"] * len(draws)
    _, public = audit.sign()
    assert audit.verify(public)[-1][0] == "supported"


def test_erased_indexes_are_looked_for(audit: Audit) -> None:
    """Erased: the company names whose index it was, the auditor looks, and what they found decides."""
    plan = audit.plan("erased")
    audit.beacon(plan)
    audit.draw("--log", audit.log)
    audit.answer("--locators", everybody(audit))
    draws = audit.draws()
    audit.fill([replace(each, inspected="absent") for each in draws])

    assert plan.count == 10
    assert outcomes(audit.check()) == ["absent"] * len(draws)

    audit.fill([replace(each, inspected="present" if each.number == 2 else "") for each in draws])
    assert outcomes(audit.check(code=3)) == ["present" if each.number == 2 else "not-inspected" for each in draws]
