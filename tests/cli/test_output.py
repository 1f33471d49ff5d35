"""What a file, a log or a source says never speaks to the terminal, and never passes for a line of ours."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from attest.cli import cli, main, output
from attest.errors import Malformed

HOSTILE = "\x1b]0;owned\x07\x1b[2K\x9b31m\u202egpj\x7f\r\nattest: holds: all is well\ud800"
VECTORS = Path(__file__).parent.parent / "vectors/bundle"


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let click write as it does on a terminal, where it strips nothing."""
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)


def is_harmless(shown: str) -> bool:
    return all(c.isprintable() for line in shown.split("\n") for c in line.replace("\t", ""))


@pytest.mark.parametrize(
    "show",
    [
        output.say,
        output.line,
        lambda text: output.line("ok", text, 1),
        lambda text: output.error(Malformed("a/b", text, hint=text)),
    ],
)
def test_lines_stay_lines(show: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters, marks of direction, line ends and halves of surrogate pairs are spelled out."""
    show(HOSTILE)
    shown = "".join(capsys.readouterr())

    assert is_harmless(shown)
    assert r"\x1b]0;owned\x07" in shown
    assert r"\u202e" in shown
    assert "\nattest: holds" not in shown


def test_blocks_keep_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A block of our own has line ends; whoever fills it takes care of what stands within a line."""
    output.text(f"one\ntwo {HOSTILE}")
    shown, _ = capsys.readouterr()

    assert shown.startswith("one\ntwo ")
    assert is_harmless(shown)


def test_json_says_the_same_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """The value is whole; letters of all scripts stay readable."""
    value = {"é": HOSTILE + "\U000e0001 日本 🙂"}
    output.json(value)
    shown, _ = capsys.readouterr()

    assert is_harmless(shown)
    assert json.loads(shown) == value
    assert "日本 🙂" in shown


def test_usage_errors_are_harmless_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They may quote a keepsake or a policy."""

    def fail(*_: Any, **__: Any) -> None:
        raise click.UsageError(HOSTILE)

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(SystemExit):
        main([])
    _, shown = capsys.readouterr()

    assert is_harmless(shown)


def test_a_bundle_does_not_speak_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of its holder is whatever its maker wrote."""
    bundle = json.loads((VECTORS / "lookup-ada.bundle").read_text())
    bundle["holder"]["party"] = HOSTILE.replace("\ud800", "")
    case = json.loads((VECTORS / "cases.json").read_text())[0]
    (tmp_path / "policy").write_text(case["question"]["policy"])
    (tmp_path / "bundle\x1b[2K").write_text(json.dumps(bundle))
    asked = ["--policy", str(tmp_path / "policy"), "--holder", "acme.example", "--locator", "email:ada@example.org"]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["verify", str(tmp_path / "bundle\x1b[2K"), *asked, *more])
        shown = capsys.readouterr()

        assert ended.value.code == 3
        assert is_harmless(shown.out)
        assert is_harmless(shown.err)
