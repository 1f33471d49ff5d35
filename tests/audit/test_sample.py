"""Samples from plan to signed result: an honest company passes, and every way to steer or to cheat is noticed."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.audit import sample as samples
from attest.audit.frame import read_frame
from attest.cli import cli
from attest.crypto.keys import SigningKey
from attest.encoding import encode_base64, sha256
from attest.errors import AttestError, Malformed, Refuted, Untrusted
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.policy import Policy
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


# --- a company that cheats ---


def test_what_was_never_committed_is_found(audit: Audit) -> None:
    """Nine of ten rows of the live system are in no map; committing them once they are drawn does not help."""
    frame = the_frame(audit, range(10, 340))
    audit.beacon(audit.plan("forward", "--frame", frame))
    draws = audit.draw("--frame", frame)
    uncommitted = [int(each.locator[len("email:person") : -len("@example.org")]) >= 40 for each in draws]
    assert any(uncommitted)
    audit.answer()
    assert outcomes(audit.check(code=3)) == ["not-held" if each else "held" for each in uncommitted]

    audit.company.hold([{"email": f"person{n}@example.org", "name": "late"} for n in range(40, 340)])
    for path in audit.path("sheet").glob("*.bundle"):
        path.unlink()
    audit.answer()
    assert outcomes(audit.check(code=3)) == ["changed-since" if each else "held" for each in uncommitted]


def test_a_row_that_stands_for_nobody_is_found(audit: Audit) -> None:
    """Whom the company cannot name it cannot open, and says so itself; another one's keepsake does not do."""
    audit.beacon(audit.plan("backward"))
    draws = audit.draw("--log", audit.log)
    # Indexes are random, so only an answer tells who is drawn; then the company forgets the first and the third.
    audit.answer("--locators", everybody(audit))
    named = audit.draws()
    for each in named:
        (audit.path("sheet") / f"{each.number}.keepsake").unlink()
    audit.fill(draws)
    missing = {1, 3}
    known = "".join(f"{each.locator}\n" for each in named if each.number not in missing)
    audit.path("some").write_text(known)
    said = audit.answer("--locators", audit.path("some"), code=1)
    unanswered = [(int(line[1]), line[2]) for line in said if line[0] == "unanswered"]
    assert unanswered == [(number, "sample/unknown") for number in sorted(missing)]

    found = audit.check(code=3)
    assert outcomes(found) == ["unanswered" if each.number in missing else "opened" for each in draws]

    answer = (audit.path("sheet") / "2.keepsake").read_bytes()
    (audit.path("sheet") / "1.keepsake").write_bytes(answer)
    assert outcomes(audit.check(code=3))[0] == "other"


def test_an_answer_that_was_changed_is_refuted(audit: Audit) -> None:
    """Another blind opens nothing; half a file is no answer; what the auditor misses on inspection is missing."""
    audit.beacon(audit.plan("backward"))
    draws = audit.draw("--log", audit.log)
    audit.answer("--locators", everybody(audit))
    forged, cut = (audit.path("sheet") / f"{n}.keepsake" for n in (1, 2))
    kept = json.loads(forged.read_bytes())
    kept["holds"][0]["blind"] = "A" * 43 + "="
    forged.write_text(json.dumps(kept))
    cut.write_bytes(cut.read_bytes()[:-100])
    sheet = audit.draws()
    audit.fill([replace(each, inspected="absent" if each.number == 3 else "present") for each in sheet])

    wanted = ["refuted", "unanswered", "missing", *["opened"] * (len(draws) - 3)]
    assert outcomes(audit.check(code=3)) == wanted


def test_the_company_cannot_choose_what_it_answers_for(audit: Audit) -> None:
    """A worksheet with another position, another row or another locator is not the one that was drawn."""
    audit.beacon(audit.plan("backward"))
    draws = audit.draw("--log", audit.log)
    for code, changed in (
        ("sample/positions", [replace(draws[0], position=(draws[0].position + 1) % 30), *draws[1:]]),
        ("sample/positions", draws[:-1]),
        ("sample/row", [replace(draws[0], row=draws[1].row), *draws[1:]]),
        ("sample/row", [replace(draws[0], row=draws[1].row, opening=draws[1].opening), *draws[1:]]),
        ("sample/row", [replace(draws[0], row=b"", opening=b""), *draws[1:]]),
    ):
        audit.fill(changed)
        with pytest.raises(Refuted) as error:
            audit.check()
        assert error.value.code == code


def test_a_frame_cannot_be_exchanged(audit: Audit) -> None:
    """What the live system is said to hold is fixed before the beacon speaks, one locator at each position."""
    frame = the_frame(audit, range(10, 40))
    plan = audit.plan("forward", "--frame", frame)
    audit.beacon(plan)
    other = audit.path("other")
    audit.run("sample", "frame", "--locators", audit.path("live"), "--output", other)
    with pytest.raises(Refuted) as error:
        audit.draw("--frame", other)
    assert error.value.code == "sample/population"

    draws = audit.draw("--frame", frame)
    audit.fill([replace(draws[0], locator="email:person0@example.org"), *draws[1:]])
    with pytest.raises(Refuted) as error:
        audit.check()
    assert error.value.code == "sample/row"


def test_a_log_with_two_faces_is_caught(audit: Audit) -> None:
    """An answer under another root for the plan's checkpoint is evidence, not a failed draw."""
    frame = the_frame(audit, range(10, 40))
    plan = audit.plan("forward", "--frame", frame)
    audit.beacon(plan)
    shown = encode_base64(plan.checkpoint.checkpoint.root)
    other_face = plan.checkpoint.encode().decode().replace(shown, encode_base64(bytes(32)))
    elsewhere = replace(plan, checkpoint=SignedCheckpoint.parse(other_face)).write()
    beacon = Beacon.parse(audit.path("beacon.json").read_bytes())
    draws = samples.draws_of(elsewhere, beacon)
    draws = samples.with_frame(draws, read_frame(frame, [each.position for each in draws]).rows)
    trust = samples.Trust(Policy.parse(audit.path("policy").read_bytes()), int(audit.company.world.clock()))
    with audit.company.open() as holder, pytest.raises(Refuted) as error:
        samples.judge(elsewhere, beacon, draws, lambda each: holder.lookup([each.locator])[0].encode(), trust)
    assert error.value.code == "sample/fork"


# --- an auditor who cheats ---


def test_another_value_plan_or_round_draws_something_else(audit: Audit) -> None:
    """Of one plan there is one draw, and a round that may be known already cannot be planned with."""
    plan = audit.plan("backward")
    audit.beacon(plan)
    audit.draw("--log", audit.log)
    later = audit.plan("backward", "--allowed", "1", name="later.json")
    assert later.digest != plan.digest
    spoken = json.loads(audit.path("beacon.json").read_text())
    for code, changes in (
        ("sample/round", {"round": plan.round + 1}),
        ("sample/round", {"source": "lottery"}),
        ("sample/value", {"value": "00" * 32}),
        ("sample/value", {"signature": None}),
        ("sample/field", {"value": "00"}),
    ):
        audit.path("beacon.json").write_text(json.dumps({**spoken, **changes}))
        with pytest.raises(AttestError) as error:
            audit.check()
        assert error.value.code == code
    with pytest.raises(Refuted) as error:
        audit.run(
            *("sample", "plan", audit.log, "--policy", audit.path("policy"), "--holder", audit.company.id),
            *("--system", "crm", "--direction", "backward", *TARGET, "--chain", audit.path("drand.json")),
            *("--round", plan.round, "--output", audit.path("past.json")),
        )
    assert error.value.code == "sample/time"


def test_a_result_names_nobody_and_convinces_only_under_the_auditors_key(audit: Audit) -> None:
    """No locator, index or opening is in it; whoever expects another auditor is told."""
    plan = audit.plan("backward")
    audit.beacon(plan)
    draws = audit.draw("--log", audit.log)
    audit.answer("--locators", everybody(audit))
    audit.fill([replace(each, note="called person3@example.org") for each in audit.draws()])
    result, _ = audit.sign()

    assert b"person" not in result.encoded and b"example.org" not in result.encoded
    for each in draws:
        for secret in (each.row[:32], each.row[32:], each.opening):
            assert secret not in result.encoded
    with pytest.raises(Untrusted) as error:
        audit.verify(SigningKey.from_seed(bytes(32)).public.hex())
    assert error.value.code == "sample/key"


def test_a_plan_on_anothers_checkpoint_is_not_anchored(audit: Audit) -> None:
    """Whoever does not trust the log's key gets no verdict."""
    audit.beacon(audit.plan("backward"))
    audit.draw("--log", audit.log)
    audit.answer("--locators", everybody(audit))
    _, public = audit.sign()
    (audit.path("policy")).write_bytes(b"quorum none\n")
    with pytest.raises(Untrusted) as error:
        audit.verify(public)
    assert error.value.code == "checkpoint/unpinned"


# --- worksheets ---


@given(
    st.lists(
        st.builds(
            samples.Draw,
            number=st.just(0),
            position=st.integers(0, 10**9),
            row=st.sampled_from([b"", bytes(64), b"\xff" * 64]),
            locator=st.sampled_from(["", 'record:a"b,c', "phone:+442071838750", "email:ada@example.org"]),
            opening=st.binary(max_size=96),
            inspected=st.sampled_from(samples.INSPECTED),
            note=st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), max_size=20).filter(
                lambda text: not text.startswith(("=", "+", "-", "@"))
            ),
        ),
        max_size=8,
    ),
    st.sampled_from(["plain", "LF", "BOM", "quoted"]),
)
@settings(deadline=None)
def test_a_worksheet_is_read_as_it_was_written(found: list[samples.Draw], spelled: str) -> None:
    """Also as a spreadsheet spells it again."""
    draws = [replace(each, number=n) for n, each in enumerate(found, 1)]
    encoded = samples.encode_worksheet(draws)
    if spelled == "LF":
        encoded = encoded.replace(b"\r\n", b"\n")
    elif spelled == "BOM":
        encoded = b"\xef\xbb\xbf" + encoded
    elif spelled == "quoted":
        text = io.StringIO(newline="")
        csv.writer(text, quoting=csv.QUOTE_ALL).writerows(csv.reader(io.StringIO(encoded.decode(), newline="")))
        encoded = text.getvalue().encode()

    assert samples.parse_worksheet(encoded) == draws


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(start: str) -> None:
    """Neither written nor read: the next one to open the file must not run what somebody put there."""
    evil = f'{start}HYPERLINK("http://evil.example")'
    with pytest.raises(Malformed):
        samples.encode_worksheet([samples.Draw(1, 0, note=evil)])
    text = io.StringIO(newline="")
    csv.writer(text).writerows([samples.COLUMNS, ["1", "0", "", "", "", "", "", evil]])
    with pytest.raises(Malformed) as error:
        samples.parse_worksheet(text.getvalue().encode())
    assert error.value.code == "sample/worksheet" and "evil" not in error.value.message


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [["draw", "position"]],
        [samples.COLUMNS, ["1", "0", "", "", "", "", ""]],
        [samples.COLUMNS, ["2", "0", "", "", "", "", "", ""]],
        [samples.COLUMNS, ["1", "00", "", "", "", "", "", ""]],
        [samples.COLUMNS, ["1", "1e3", "", "", "", "", "", ""]],
        [samples.COLUMNS, ["1", "0", "ab", "", "", "", "", ""]],
        [samples.COLUMNS, ["1", "0", "0xAB", "", "", "", "", ""]],
        [samples.COLUMNS, ["1", "0", "", "", "", "", "gone", ""]],
        [samples.COLUMNS, ["1", "0", "", "", "", "", "", "x" * 5000]],
    ],
)
def test_whatever_is_no_worksheet_is_malformed(lines: list[Any]) -> None:
    """Every cell has one form."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    with pytest.raises(Malformed):
        samples.parse_worksheet(text.getvalue().encode())


# --- beside samples ---


def test_numbers_for_people_are_on_the_command_line(tmp_path: Path) -> None:
    """Sizes, unknown systems, probes; and wrong questions."""

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, ["sample", *words], standalone_mode=False)

    size = run("size", "--population", "30000000", "--tolerable", "0.01%", "--confidence", "99%")
    assert size.stdout == "46015\n"
    assert run("systems", "--declared", "40", "--found", "25", "--both", "20").stdout == "systems\t49.8\t11.0\t4.8\n"
    probes = run("probes", "--hits", "6", "--probes", "60", "--control-hits", "0", "--controls", "60")
    assert probes.stdout == "p\t0.0137\n"
    for wrong in (
        ("size", "--population", "10", "--tolerable", "101%"),
        ("size", "--population", "10", "--tolerable", "1"),
        ("systems", "--declared", "1", "--found", "1", "--both", "2"),
        ("probes", "--hits", "2", "--probes", "1", "--control-hits", "0", "--controls", "1"),
    ):
        assert isinstance(run(*wrong).exception, click.UsageError)
