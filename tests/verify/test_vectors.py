"""The published bundle vectors get the verdicts that are published with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from attest.formats.bundle import Bundle
from attest.formats.keepsake import Keepsake
from attest.formats.policy import Policy
from attest.ledger.verify import Question, verify

VECTORS = Path(__file__).parent.parent / "vectors/bundle"
CASES = json.loads((VECTORS / "cases.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["desc"])
def test_a_vector_gets_its_verdict(case: dict[str, Any]) -> None:
    """Bundle, question and policy in; outcome, code and what else is stated out."""
    bundle = {**json.loads((VECTORS / f"{case['bundle']}.bundle").read_text()), **case["replace"]}
    asked = dict(case["question"])
    for name in ("policy", "state_policy"):
        asked[name] = None if asked[name] is None else Policy.parse(asked[name].encode())
    if asked["keepsake"] is not None:
        asked["keepsake"] = Keepsake.parse((VECTORS / asked["keepsake"]).read_bytes())
    asked["locators"] = tuple(asked["locators"])
    encoded = json.dumps(bundle) if case["raw"] is None else case["raw"]
    verdict = verify(encoded.encode(), Question(**asked))

    assert {name: getattr(verdict, name) for name in case["want"]} == case["want"]


@pytest.mark.parametrize("file", sorted(VECTORS.glob("*.bundle")), ids=lambda file: file.name)
def test_a_bundle_encodes_back(file: Path) -> None:
    """A bundle read and written again is the same JSON value."""
    assert json.loads(Bundle.parse(file.read_bytes()).encode()) == json.loads(file.read_text())


def test_a_keepsake_encodes_back() -> None:
    """A keepsake read and written again is the same file."""
    encoded = Keepsake.parse((VECTORS / "ada.keepsake").read_bytes()).encode()
    assert json.loads(encoded) == json.loads((VECTORS / "ada.keepsake").read_text())
