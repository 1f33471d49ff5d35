"""The JavaScript implementation names its errors as docs/errors.md does, and of the same kinds."""

import re

from tests.web.second import ROOT

_THROWN = re.compile(r"\b(malformed|untrusted|conflict|refuted|unavailable)\(\s*\"([a-z0-9-]+/[a-z0-9-]+)\"")
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|", re.MULTILINE)


def test_every_code_is_explained_and_of_its_kind() -> None:
    """Scripts match on codes, and what a verdict comes to depends on kinds."""
    explained = {code: set(kinds.split(", ")) for code, kinds in _ROW.findall((ROOT / "docs/errors.md").read_text())}
    thrown = {
        (code, kind) for file in (ROOT / "web/lib").glob("*.js") for kind, code in _THROWN.findall(file.read_text())
    }

    assert len(thrown) > 100
    assert {(code, kind) for code, kind in thrown if kind not in explained.get(code, set())} == set()
