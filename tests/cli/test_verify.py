"""`attest verify` as a person or a script runs it: exit codes, output, wrong files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from attest.cli import main
from attest.cli.verify import EXIT, GRAVITY

VECTORS = Path(__file__).parent.parent / "vectors/bundle"
CASES = {case["desc"]: case for case in json.loads((VECTORS / "cases.json").read_text())}


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `attest`; return (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def arguments_of(case: dict[str, Any], where: Path) -> list[str]:
    """Write a vector's files and return the command line that asks its question."""
    asked = case["question"]
    bundle = {**json.loads((VECTORS / f"{case['bundle']}.bundle").read_text()), **case["replace"]}
    (where / "a.bundle").write_text(case["raw"] or json.dumps(bundle))
    (where / "policy").write_text(asked["policy"])
    line = ["verify", str(where / "a.bundle"), "--policy", str(where / "policy"), "--level", asked["level"]]
    line += ["--at", str(asked["now"]), "--max-age", f"{asked['max_age']}s"]
    if asked["state_policy"] is not None:
        (where / "state").write_text(asked["state_policy"])
        line += ["--state-policy", str(where / "state")]
    if asked["expect"] is not None:
        line += ["--expect", asked["expect"]]
    if asked["keepsake"] is not None:
        return [*line, "--keepsake", str(VECTORS / asked["keepsake"])]
    line += ["--holder", asked["holder"]]
    return line + [word for locator in asked["locators"] for word in ("--locator", locator)]


@pytest.mark.parametrize(
    ("desc", "words"),
    [
        ("a certificate", "claim; no witnessed time\n"),
        ("witnesses alone reach A2", ", cosigned by wit.example/1\n"),
        ("state-checked: certificate", ", cosigned by wit.example/1, every change checked by state.example/1\n"),
        ("a state policy without a quorum of witnesses", "claim; no witnessed time\n"),
    ],
)
def test_whoever_stands_behind_the_checkpoint_is_named(run: Any, tmp_path: Path, desc: str, words: str) -> None:
    """On the line that says of when it is."""
    _, _, err = run(*arguments_of(CASES[desc], tmp_path))

    assert words in err


# The command line asks about a locator once, however often it is given.
@pytest.mark.parametrize("desc", [d for d in CASES if not d.startswith("forged") and d != "one locator twice"])
def test_each_outcome_has_its_exit_code(run: Any, tmp_path: Path, desc: str) -> None:
    """0 holds, 1 undecided, 3 refuted, 4 provisional, 5 not anchored; stdout is one line for machines."""
    case = CASES[desc]
    code, out, err = run(*arguments_of(case, tmp_path))

    assert code == EXIT[case["want"]["outcome"]]
    assert out == f"{case['want']['outcome']}\t{tmp_path / 'a.bundle'}\t{case['want']['code']}\n"
    assert f"{case['want']['outcome']}: " in err


def test_the_whole_verdict_is_json(run: Any, tmp_path: Path) -> None:
    """--json prints one object per bundle, with every step."""
    code, out, _ = run(*arguments_of(CASES["a certificate"], tmp_path), "--json")
    verdict = json.loads(out)

    assert (code, verdict["outcome"], verdict["claim"], verdict["level"]) == (0, "holds", "excluded", "A1")
    assert len(verdict["steps"]) == 14
    assert verdict["not_proven"]
    assert verdict["why_not_higher"]


def test_the_page_names_every_member_of_a_verdict(run: Any, tmp_path: Path) -> None:
    """docs/spec/verify.md, Verdict as JSON: programs rely on these names, and on null for what is not known."""
    page = Path("docs/spec/verify.md").read_text().partition("## Verdict as JSON")[2]
    table, _, results = page.partition("`systems` has the results")
    intervals = next(line for line in table.split("\n") if line.startswith("| `intervals`"))
    named = re.findall(r"`([a-z_]+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)))
    _, good, _ = run(*arguments_of(CASES["a certificate"], tmp_path), "--json")
    line = arguments_of(CASES["a certificate"], tmp_path)
    _, missing, _ = run("verify", str(tmp_path / "no.bundle"), *line[2:], "--json")
    verdict, unread = json.loads(good), json.loads(missing)

    assert sorted(named) == sorted(verdict) == sorted(unread)
    assert set(verdict["systems"][0]) <= set(re.findall(r"`([a-z_]+)`", results))
    assert set(verdict["intervals"][0]) <= set(re.findall(r"`([a-z_]+)`", intervals))
    assert (unread["outcome"], unread["code"], unread["holder"]) == ("undecided", "file/unreadable", "acme.example")
    assert [unread[name] for name in ("claim", "anchor", "level", "epoch_time", "existed_by")] == [None] * 5


def test_a_person_reads_where_a_log_ended_and_what_came_before(run: Any, tmp_path: Path) -> None:
    """Also when the answer is too old; then the reason names the end."""
    _, _, fresh = run(*arguments_of(CASES["a log that ended"], tmp_path))
    _, _, old = run(*arguments_of(CASES["its last checkpoint is old"], tmp_path))

    for err in (fresh, old):
        assert "this log continues old.example/log, from its checkpoint of 1234 entries" in err
        assert "this log ended with this checkpoint, by its own claim on 2026-" in err
    assert "the log ended with it" in old and "attest: hint: ask the log that names this one" in old


def test_a_person_reads_what_is_and_is_not_proven(run: Any, tmp_path: Path) -> None:
    """The sentence never says that a company does not have something."""
    _, _, err = run(*arguments_of(CASES["a certificate"], tmp_path))

    assert "committed inventory has no live entry for email:ada@example.org" in err
    assert "not proven: that the holder committed everything it holds" in err
    assert "level: A1" in err
    assert "identity: the operator's word" in err
    assert "does not have" not in err


def test_of_several_bundles_the_gravest_decides(run: Any, tmp_path: Path) -> None:
    """One refuted bundle among good ones exits 3, and each has its line."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    bad = {**json.loads((tmp_path / "a.bundle").read_text()), **CASES["forged: a system's head"]["replace"]}
    (tmp_path / "b.bundle").write_text(json.dumps(bad))
    code, out, _ = run(*line[:2], str(tmp_path / "b.bundle"), *line[2:])

    assert code == 3
    assert [row.split("\t")[0] for row in out.splitlines()] == ["holds", "refuted"]
    assert GRAVITY[-1] == "refuted"


@pytest.mark.parametrize(
    ("drop", "add", "says"),
    [
        ("--holder", [], "--holder and --locator"),
        ("--locator", [], "--holder and --locator"),
        ("--policy", [], "--policy"),
        ("--holder", ["--holder", "other.example", "--keepsake", str(VECTORS / "ada.keepsake")], "question/keepsake"),
        (
            "--locator",
            ["--locator", "phone:+442079460018", "--keepsake", str(VECTORS / "ada.keepsake")],
            "question/keepsake",
        ),
        (None, ["--locator", "email:not an address"], "locator/email"),
        (None, ["--level", "A9"], "A9"),
        (None, ["--max-age", "soon"], "soon"),
        (None, ["--at", "yesterday"], "yesterday"),
        (None, ["--no-such-option"], "no-such-option"),
    ],
)
def test_a_wrong_question_is_a_usage_error(
    run: Any, tmp_path: Path, drop: str | None, add: list[str], says: str
) -> None:
    """Exit 2 before anything is judged, naming what is wrong."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    if drop is not None:
        at = line.index(drop)
        del line[at : at + 2]
    code, out, err = run(*line, *add)

    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize("option", ["--policy", "--state-policy", "--keepsake"])
def test_a_question_that_is_not_there_is_a_usage_error(run: Any, tmp_path: Path, option: str) -> None:
    """Without it nothing is asked, so nothing can be undecided."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    code, out, err = run(*line, option, str(tmp_path / "missing"))

    assert (code, out) == (2, "")
    assert "missing" in err


def test_a_keepsake_goes_with_more_locators(run: Any, tmp_path: Path) -> None:
    """A certificate may need more than the one locator of a keepsake; its own has to be among them."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    line += ["--keepsake", str(VECTORS / "ada.keepsake")]
    _, alone, _ = run(*line)
    _, more, _ = run(*line, "--locator", "phone:+442079460018")

    assert (alone.split("\t")[0], more.split("\t")[2]) == ("holds", "index/other-locator\n")


def test_a_policy_that_cannot_be_read_is_a_usage_error(run: Any, tmp_path: Path) -> None:
    """Somebody else's file as policy: exit 2, with the policy's own code."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    (tmp_path / "policy").write_text("hello\n")
    code, _, err = run(*line)

    assert code == 2
    assert "policy/" in err


def test_files_that_are_not_there_cannot_be_decided(run: Any, tmp_path: Path) -> None:
    """A missing file is exit 1, with its name and no traceback."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    line[1] = str(tmp_path / "missing.bundle")
    code, _, err = run(*line)

    assert code == 1
    assert "missing.bundle" in err
    assert "Traceback" not in err


def test_a_file_that_cannot_be_read_does_not_hide_the_next(run: Any, tmp_path: Path) -> None:
    """Each file has its line, in the order of the command; the gravest decides."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    forged = tmp_path / "forged.bundle"
    forged.write_bytes(Path(line[1]).read_bytes()[:-40])
    code, out, _ = run(line[0], str(tmp_path / "missing"), str(tmp_path), str(forged), *line[1:])

    assert code == 3
    assert [each.split("\t")[0] for each in out.strip().split("\n")] == ["undecided", "undecided", "refuted", "holds"]
    assert out.split("\n")[0].endswith("\tfile/unreadable")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"hello", b'{"format":"other"}', b"\xff" * 50])
def test_foreign_files_cannot_be_decided(run: Any, tmp_path: Path, content: bytes) -> None:
    """What is not a bundle at all is exit 1: nothing was refuted."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    (tmp_path / "a.bundle").write_bytes(content)
    code, out, _ = run(*line)

    assert code == 1
    assert out.startswith("undecided\t")


def test_sloppy_locators_are_put_right(run: Any, tmp_path: Path) -> None:
    """What a person types is brought to its one spelling before it is asked about."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    line[line.index("--locator") + 1] = "Email: ADA@Example.ORG "
    code, _, _ = run(*line)

    assert code == 0


def test_times_are_iso_or_posix(run: Any, tmp_path: Path) -> None:
    """--at takes both, and a time without a zone is UTC."""
    line = arguments_of(CASES["a look-up of somebody erased everywhere"], tmp_path)
    line[line.index("--at") + 1] = "2026-09-21T14:15:01"
    assert run(*line)[0] == 0
    line[line.index("--at") + 1] = "2026-09-21T16:15:01+02:00"
    assert run(*line)[0] == 0
