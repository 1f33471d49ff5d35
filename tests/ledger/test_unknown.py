"""Who forges evidence cannot turn "refuted" into "could not decide" by dressing it as something from the future."""

import base64
import json
from pathlib import Path

import pytest

from attest.formats.policy import Policy
from attest.ledger.verify import Question, verify
from tests.ledger import model

BUNDLES = Path(__file__).parents[1] / "vectors" / "bundle"


@pytest.mark.parametrize("forged", [{"other": bytes([1] * 32)}, {"status": 3}])
def test_a_forged_head_is_refuted_whatever_it_says(forged):
    """An unknown extension or status counts only where the maps commit it."""
    bundle = json.loads((BUNDLES / "lookup-ada.bundle").read_text())
    asked = json.loads((BUNDLES / "cases.json").read_text())[2]["question"]
    question = Question(
        policy=Policy.parse(asked["policy"].encode()),
        now=asked["now"],
        holder=asked["holder"],
        locators=tuple(asked["locators"]),
    )
    assert verify(json.dumps(bundle).encode(), question).outcome == "holds"
    shown = bundle["systems"][0]
    head = model.cbor2.loads(base64.b64decode(shown["head"]))
    shown["head"] = base64.b64encode(model.det({**head, **forged})).decode()
    verdict = verify(json.dumps(bundle).encode(), question)
    assert (verdict.outcome, verdict.code) == ("refuted", "systems/root")
