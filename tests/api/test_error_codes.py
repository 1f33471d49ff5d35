"""docs/errors.md and the code name the same errors."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attest import errors
from attest.api.problems import status_of

ROOT = Path(__file__).parents[2]
KINDS = {kind.__name__: kind for kind in errors.AttestError.__subclasses__() if kind.__module__ == errors.__name__}
CODE = re.compile(r"[a-z][a-z0-9-]*/[a-z][a-z0-9-]*")
ROW = re.compile(r"\| `([a-z0-9/-]+)` \| ([a-z, ]+|–) \| ([0-9, –]+) \| ([^|]+) \| ([^|]+) \|")
# Literals that look like codes and are paths or media types.
NOT_CODES = {"tile/entries", "text/plain"}


def _table() -> dict[str, tuple[set[str], set[str]]]:
    """Read docs/errors.md: code → (kinds, statuses)."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for line in (ROOT / "docs/errors.md").read_text().split("\n"):
        if line.startswith("| `"):
            match = ROW.fullmatch(line)
            assert match, f"not a row of the table: {line}"
            code, kinds, statuses, *_ = match.groups()
            assert code not in found, f"{code} stands twice"
            found[code] = set(kinds.split(", ")), set(statuses.split(", "))
    return found


@cache
def _modules() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in sorted((ROOT / "attest").rglob("*.py"))]


def _kind_of(name: str | None, bases: dict[str, set[str]]) -> str | None:
    """Find which of the five kinds a class is, by its name."""
    if name in KINDS:
        return name
    return next((kind for base in bases.get(name, ()) if (kind := _kind_of(base, bases))), None)


def _name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def _raised() -> Iterator[tuple[str, re.Pattern[str]]]:
    """List what is raised: (kind, pattern of the code). Parts filled in at run time are wild in the pattern."""
    modules = _modules()
    classes = [node for module in modules for node in ast.walk(module) if isinstance(node, ast.ClassDef)]
    bases = {each.name: {name for base in each.bases if (name := _name(base))} for each in classes}
    for module in modules:
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and node.args and (kind := _kind_of(_name(node.func), bases)):
                yield from ((kind, pattern) for pattern in _patterns(node.args[0]))
    # A kind's own class hands its code to `super().__init__`.
    for each in classes:
        if kind := _kind_of(each.name, bases):
            for node in ast.walk(each):
                if isinstance(node, ast.Call) and node.args and _name(node.func) == "__init__":
                    yield from ((kind, pattern) for pattern in _patterns(node.args[0]))


def _patterns(argument: ast.expr) -> list[re.Pattern[str]]:
    match argument:
        case ast.Constant(value=str(code)) if CODE.fullmatch(code):
            return [re.compile(re.escape(code))]
        case ast.JoinedStr(values=parts):
            source = "".join(
                re.escape(part.value) if isinstance(part, ast.Constant) else "[a-z0-9-]+" for part in parts
            )
            return [re.compile(source)]
        case ast.IfExp(body=body, orelse=other):
            return _patterns(body) + _patterns(other)
        case _:
            return []


def _literals() -> set[str]:
    """List every literal of the form of a code, wherever it stands."""
    return {
        node.value
        for module in _modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
    }


def test_every_code_is_in_the_table():
    """Whatever code a reader meets, docs/errors.md says what it means."""
    table = _table()
    missing = {
        pattern.pattern.replace("\\", "")
        for _, pattern in _raised()
        if not any(pattern.fullmatch(code) for code in table)
    }
    # Codes that reach an error through a variable show only as literals of a known area.
    areas = {code.split("/")[0] for code in table}
    missing |= {code for code in _literals() - NOT_CODES if code.split("/")[0] in areas and code not in table}

    assert not missing, "say in docs/errors.md what these mean and what to do"


def test_the_table_lists_no_code_that_nobody_raises():
    """A code in docs/errors.md is one that can be met."""
    literals = _literals()
    wild = [pattern for _, pattern in _raised()]

    assert [code for code in _table() if code not in literals and not any(p.fullmatch(code) for p in wild)] == []


def test_the_table_tells_kind_and_status_of_each_code():
    """Kind and HTTP status in docs/errors.md are those of the code."""
    table = _table()
    kinds: dict[str, set[str]] = defaultdict(set)
    for kind, pattern in _raised():
        for code in filter(pattern.fullmatch, table):
            kinds[code].add(kind)
    wrong = {}
    for code, (said_kinds, said_statuses) in table.items():
        if code not in kinds:
            continue  # raised through a variable
        statuses = {str(status_of(KINDS[kind](code, ""))) for kind in kinds[code]}
        names = {kind.lower() for kind in kinds[code]}
        if said_kinds != names or said_statuses not in (statuses, {"–"}):
            wrong[code] = (names, statuses)

    assert wrong == {}


def test_codes_sound_alike():
    """A code is an area and a name, in lower case; the table is in order."""
    codes = list(_table())

    assert codes == sorted(codes)
    assert all(CODE.fullmatch(code) for code in codes)
