"""What the tools said, as JSON for machines, and as the tables of docs/interop.md.

A tool *accepts* what is right and *refuses* what is wrong, with its own words; what it *cannot* do with something right
has its words too, and the variant that it can do beside it, which is a check of its own. A witness *answers*. Anything
else is a failure.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tools.interop.processes import Ran

BEGIN: Final = "<!-- begin: written by `make interop-page` -->"
END: Final = "<!-- end -->"
_KINDS: Final = ("accepts", "answers", "cannot", "refuses")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was shown to a tool."""

    kind: str
    what: str
    because: str  # its words, or its answer
    instead: str
    ok: bool
    said: str  # all of them, if it is not ok


@dataclass(slots=True)
class Tool:
    """A tool, and what it was shown."""

    name: str
    version: str
    about: str
    checks: list[Check] = field(default_factory=list)

    def accepts(self, what: str, *done: Ran, saying: str = "") -> None:
        """It took all of this, each time with these words. They may have numbers, and are not on the page."""
        bad = next((each for each in done if each.code != 0 or saying not in each.text), None)
        self._add("accepts", what, ok=bad is None and bool(done), done=bad or Ran(0, b"", "nothing was shown"))

    def finds(self, what: str, *, ok: bool, found: object = "") -> None:
        """Something about its output holds."""
        self._add("accepts", what, ok=ok, done=Ran(0, b"", str(found)))

    def answers(self, what: str, answer: str, *, ok: bool, found: object) -> None:
        """It answered like this."""
        self._add("answers", what, ok=ok, done=Ran(0, b"", str(found)), because=answer)

    def refuses(self, what: str, done: Ran, *, because: str) -> None:
        """It did not take this, for this reason."""
        self._add("refuses", what, ok=done.code != 0 and because in done.text, done=done, because=because)

    def cannot(self, what: str, done: Ran, *, because: str, instead: str) -> None:
        """It does not take this, although it is right."""
        ok = done.code != 0 and because in done.text
        self._add("cannot", what, ok=ok, done=done, because=because, instead=instead)

    def _add(self, kind: str, what: str, *, ok: bool, done: Ran, because: str = "", instead: str = "") -> None:
        said = "" if ok else f"exit {done.code}: {done.text.strip()[-1500:]}"
        self.checks.append(Check(kind, what, because, instead, ok, said))


@dataclass(slots=True)
class Report:
    """All tools."""

    tools: list[Tool] = field(default_factory=list)

    def tool(self, name: str, version: str, about: str) -> Tool:
        """Begin with a tool."""
        self.tools.append(Tool(name, version, about))
        return self.tools[-1]

    def known(self, name: str) -> Tool:
        """Return a tool that was begun with."""
        return next(tool for tool in self.tools if tool.name == name)

    def failures(self) -> list[str]:
        """Return what went otherwise than it should."""
        return [
            f"{tool.name} {tool.version}: {check.kind}: {check.what}"
            + (f" [{check.because}]" if check.because else "")
            + f"\n    {check.said}"
            for tool in self.tools
            for check in tool.checks
            if not check.ok
        ]

    def write(self, path: Path, seconds: dict[str, float]) -> None:
        """Write JSON."""
        took = {name: round(value, 1) for name, value in seconds.items()}
        found = {"seconds": took, "tools": [asdict(tool) for tool in self.tools]}
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def tables(self) -> str:
        """Return the tables of the page: every claim is a check that was just made."""
        return "\n".join([_overview(self.tools), *map(_table, self.tools)])


def page_with(page: str, tables: str) -> str:
    """Return the page with these tables instead of those it has."""
    head, _, rest = page.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{head}{BEGIN}\n\n{tables}\n{END}{tail}"


def _overview(tools: Sequence[Tool]) -> str:
    lines = ["| tool | version | checks | what it cannot take |", "|---|---|---|---|"]
    for tool in tools:
        limits = "; ".join(f"{_cell(check.what)}: {_said(check)}" for check in tool.checks if check.kind == "cannot")
        link = f"[{tool.name}](#{_anchor(tool.name)})"
        lines.append(f"| {link} | {tool.version} | {len(tool.checks)} | {limits or '–'} |")
    return "\n".join([*lines, ""])


def _table(tool: Tool) -> str:
    about = f"{tool.version}. {tool.about}"
    lines = [f"### {tool.name}", "", about, "", "| | what it is shown | what it says |", "|---|---|---|"]
    for check in sorted(tool.checks, key=lambda check: _KINDS.index(check.kind)):
        lines.append(f"| {check.kind} | {_cell(check.what)} | {_said(check)} |")
    return "\n".join([*lines, ""])


def _said(check: Check) -> str:
    if check.kind == "answers":
        return _cell(check.because)
    said = f"`{_cell(check.because)}`" if check.because else ""
    return said + (f"; instead: {_cell(check.instead)}" if check.instead else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _anchor(heading: str) -> str:
    """Return the anchor that Markdown renderers give a heading."""
    return "".join(letter for letter in heading.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
