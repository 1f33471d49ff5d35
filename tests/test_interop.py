"""`make interop` itself runs elsewhere; here, what it would not notice about itself."""

import re
from pathlib import Path

import pytest

from tools.interop.processes import Ran
from tools.interop.report import BEGIN, END, Report, Tool, page_with

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/interop.md").read_text()
FINE, BAD = Ran(0, b"all is well", ""), Ran(1, b"", "no: the root differs")


def shown(kind: str, done: Ran) -> Tool:
    tool = Tool("a tool", "1", "")
    if kind == "accepts":
        tool.accepts("it", done)
    elif kind == "refuses":
        tool.refuses("it", done, because="the root differs")
    else:
        tool.cannot("it", done, because="the root differs", instead="that")
    return tool


@pytest.mark.parametrize(("kind", "right"), [("accepts", FINE), ("refuses", BAD), ("cannot", BAD)])
def test_a_check_fails_when_the_tool_does_the_opposite(kind: str, right: Ran) -> None:
    """What is to be accepted must not be refused, and the other way round."""
    wrong = BAD if right is FINE else FINE

    assert not Report([shown(kind, right)]).failures()
    assert len(Report([shown(kind, wrong)]).failures()) == 1


def test_a_refusal_for_another_reason_fails() -> None:
    """A tool that ends because it was called wrongly has not noticed anything."""
    tool = shown("refuses", Ran(2, b"", "usage: …"))

    assert Report([tool]).failures()


def test_one_bad_answer_of_many_fails() -> None:
    """A check over several entries is right only if all are; over none it is not."""
    tool = Tool("a tool", "1", "")
    tool.accepts("all", FINE, BAD, FINE)
    tool.accepts("nothing")
    tool.accepts("other words", FINE, saying="not said")

    assert len(Report([tool]).failures()) == 3


def test_the_page_takes_new_tables_and_keeps_its_words() -> None:
    """What stands around the tables is a person's."""
    page = page_with(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new\n")

    assert page == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_the_page_names_the_pinned_versions() -> None:
    """A tool that is pinned anew without `make interop-page` is noticed before anything is installed."""
    found = dict(re.findall(r"^\| \[(.+?)\]\(#.*?\) \| (\S+) \|", PAGE, re.MULTILINE))
    pins = (ROOT / "requirements/interop-tools.txt").read_text() + (ROOT / "requirements/interop-aics.txt").read_text()
    modules = (ROOT / "tools/interop/go/go.mod").read_text()

    for package in ("tlog-scales", "proofbundle", "aics-tlog", "aics-witness"):
        assert f"\n{package}=={found[package]} " in f"\n{pins}"
    for module in ("golang.org/x/mod", "github.com/transparency-dev/tessera", "filippo.io/torchwood"):
        assert f"\t{module} {found[module]}\n" in modules
    assert f"\tgithub.com/transparency-dev/witness {found['omniwitness']}\n" in modules


def test_every_tool_is_shown_something_wrong() -> None:
    """A tool that accepts everything proves nothing."""
    for section in PAGE.split("\n### ")[1:]:
        assert re.search(r"^\| (refuses|answers) \|", section, re.MULTILINE), section.split("\n")[0]


def test_no_address_of_a_package_index_is_written_down() -> None:
    """Whoever installs has an index of their own."""
    text = "".join(file.read_text() for file in ROOT.glob("requirements/*.txt"))

    assert not re.search(r"https?://", text)
