"""The second verifier (docs/examples, in Go, written from docs/spec alone) judges what `attest verify` judges."""

import json
import time
from typing import Any, Final

from tools.interop.install import SECOND
from tools.interop.processes import run
from tools.interop.readers import go_version
from tools.interop.report import Report, Tool
from tools.interop.second import VECTORS, disagreements, mutated, ours, published, theirs
from tools.interop.world import World

MUTATIONS: Final = 1000  # of the 6,000 that tools/interop/second.py makes when it is run by itself
_SHOWN: Final = 5

Case = dict[str, Any]


def compare_verdicts(report: Report, world: World) -> None:
    """Compare them on the vectors, on mutations of these, and on what the log at hand has just made."""
    tool = report.tool(
        "docs/examples",
        go_version("go"),
        "The second verifier, with this Go. It is of this project, and shares nothing with `attest verify` but "
        "docs/spec. What both say of a bundle has to be the same: outcome, code, level, steps, what is proven of "
        "each system.",
    )
    tool.accepts("the published test vectors", run(SECOND, "--vectors", VECTORS), saying=", 0 disagree")
    cases = list(published())
    _agree(tool, "the published bundles, good, forged and old", cases, {"holds", "refuted", "undecided"})
    fresh = list(_fresh(world))
    outcomes = _agree(tool, "a certificate of a deletion that was just made", fresh[:1], {"holds"})
    outcomes = _agree(
        tool, "the same with another policy, another person, another time, a changed bit", fresh[1:], set()
    )
    tool.answers("…of which none holds", "refuted and the like", ok="holds" not in outcomes, found=outcomes)
    _agree(tool, f"{MUTATIONS:,} bundles and questions with something changed", list(mutated(cases, MUTATIONS)), set())


def _agree(tool: Tool, what: str, cases: list[Case], among: set[str]) -> set[str]:
    """Judge all with both; return the outcomes, which include `among`."""
    mine = [ours(case) for case in cases]
    found = [
        f"{case['desc']}: {each}"
        for case, verdict, other in zip(cases, mine, theirs(SECOND, cases), strict=True)
        for each in disagreements(verdict, other)
    ]
    outcomes = {str(verdict["outcome"]) for verdict in mine}
    missing = among - outcomes
    said = "\n    ".join([f"{len(found)} disagreements", *found[:_SHOWN], *(f"nothing {each}" for each in missing)])
    tool.answers(what, "the same verdicts", ok=not found and not missing, found=said)
    return outcomes


def _fresh(world: World) -> list[Case]:
    """Take the certificate of the story, and ask wrongly too."""
    story = world.large.directory / "story"
    bundle = (story / "first.certificate").read_bytes()
    asked = {
        "policy": world.large.policy.read_text(),
        "now": int(time.time()),
        "holder": "acme.example",
        "locators": ["email:person0@example.org"],
        "max_age": 86_400,
        "level": "A1",
        "expect": None,
        "state_policy": None,
        "keepsake": None,
    }

    def case(desc: str, wire: bytes = bundle, **changes: object) -> Case:
        return {"desc": desc, "question": {**asked, **changes}, "bundle": wire, "keepsake": None}

    parts = json.loads(bundle)
    parts["entries"][1]["path"][0] = "A" * 43 + "="
    return [
        case("as it is"),
        case("another policy", policy=world.small.policy.read_text()),
        case("another person", locators=["email:person1@example.org"]),
        case("too old", max_age=1, now=asked["now"] + 1_000_000),
        case("a level it does not reach", level="A2"),
        case("another path", json.dumps(parts).encode()),
    ]
