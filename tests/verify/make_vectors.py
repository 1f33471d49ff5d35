"""Write tests/vectors/bundle/*.json: bundles, good and forged, each with the question and the verdict.

    python -m tests.verify.make_vectors

The log's ML-DSA-44 signatures are randomised, so a new run gives other bytes: run it only when the format changes.
Verdicts are stated here by hand or by the forgery's name, not taken from the verifier; a test compares the two.
"""

import json
from pathlib import Path
from typing import Any

from attest.ledger.verify import DAY
from tests.verify.test_verdicts import ADA, BOB, EVE, FORGERIES, Story
from tests.verify.world import World, policy_of

OUT = Path(__file__).parent.parent / "vectors/bundle"


def main() -> None:
    """Write the files."""
    story = Story()
    world, acme = story.world, story.acme
    policy = world.policy().encode().decode()
    now = world.now + 1
    honest = {
        "hold": world.bundle("hold", acme, ADA, system="db"),
        "tombstone": world.bundle("tombstone", acme, ADA, system="db"),
        "lookup-ada": world.bundle("lookup", acme, ADA),
        "lookup-bob": world.bundle("lookup", acme, BOB),
        "lookup-eve": world.bundle("lookup", acme, EVE),
        "lookup-backup": world.bundle("lookup", acme, ADA, size=story.backup_holds),
        "certificate": world.bundle("certificate", acme, ADA),
    }
    for name, bundle in honest.items():
        write(f"{name}.bundle", bundle)
    write("ada.keepsake", json.loads(world.keepsake(acme, ADA, "db", "search", size=story.all_hold).encode()))

    cases: list[dict[str, Any]] = []

    def case(desc: str, bundle: str, outcome: str, code: str, **other: Any) -> None:
        asked = {"policy": policy, "now": now, "holder": acme.id, "locators": [ADA], "max_age": DAY, "level": "A1",
                 "expect": None, "state_policy": None, "keepsake": None}  # fmt: skip
        want = {"outcome": outcome, "code": code, **other.pop("want", {})}
        replaced = other.pop("replace", {})
        cases.append(
            {"desc": desc, "bundle": bundle, "replace": replaced, "question": {**asked, **other}, "want": want}
        )

    excluded = {"claim": "excluded", "anchor": "logged", "level": "A1"}
    case("a hold", "hold", "holds", "claim/holds", want={"claim": "held", "anchor": "logged", "level": "A1"})
    case("a tombstone", "tombstone", "holds", "claim/holds", want={"claim": "erased", "level": "A1"})
    case("a look-up of somebody erased everywhere", "lookup-ada", "holds", "claim/holds", want=excluded)
    case("the same with a keepsake", "lookup-ada", "holds", "claim/holds", keepsake="ada.keepsake", want=excluded)
    case("a look-up of somebody never committed", "lookup-eve", "holds", "claim/holds", locators=[EVE], want=excluded)
    case("a look-up of somebody held", "lookup-bob", "refuted", "claim/not-excluded", locators=[BOB])
    case("the same, expecting that", "lookup-bob", "holds", "claim/holds", locators=[BOB], expect="held")
    case("only a backup holds", "lookup-backup", "provisional", "claim/backup")
    case("its cycle is over", "lookup-backup", "refuted", "claim/not-excluded", now=now + 2 * DAY, max_age=9 * DAY)
    case("a certificate", "certificate", "holds", "claim/holds", want=excluded)
    case("too old", "lookup-ada", "provisional", "freshness/old", now=now + 2 * DAY)
    case("from the future", "lookup-ada", "undecided", "freshness/clock", now=now - DAY)
    case("another person", "tombstone", "refuted", "index/other-locator", locators=[BOB])
    case("another holder", "lookup-ada", "refuted", "question/holder", holder="other.example")
    case("a kind that cannot show it", "tombstone", "refuted", "question/kind", expect="excluded")
    case("no log key is pinned", "lookup-ada", "not-anchored", "checkpoint/unpinned", policy="quorum none\n")
    other = World("other.example/log").policy().encode().decode()
    case("another log's key is pinned", "lookup-ada", "not-anchored", "checkpoint/unsigned", policy=other)
    witnessed = world.policy("wit.example/1", quorum=1).encode().decode()
    case("no witness cosigned", "lookup-ada", "not-anchored", "checkpoint/quorum", policy=witnessed)
    case("the level is too low", "lookup-ada", "not-anchored", "level/too-low", level="A2")

    for name, (code, forge) in FORGERIES.items():
        forged, _, names = forge(story)
        kind = next(n for n, b in honest.items() if b["locators"][0]["type"] and base(forged, b))
        changed = {field: value for field, value in forged.items() if value != honest[kind][field]}
        case(f"forged: {name}", kind, "refuted", code, replace=changed, locators=list(names))
    # Last, because the witnesses' lines change the checkpoint that all bundles above carry.
    asked = {"wit": world.policy("wit.example/1", quorum=1), "state": policy_of([], ("state.example/1",), 1)}
    world.cosign(world.size, "wit.example/1", "state.example/1")
    checkpoint = world.checkpoints[world.size].encode().decode()
    trust = {"policy": asked["wit"].encode().decode(), "state_policy": asked["state"].encode().decode()}
    for kind in ("lookup-ada", "certificate"):
        want = {"claim": "excluded", "anchor": "state-checked", "level": "A3"}
        case(f"state-checked: {kind}", kind, "holds", "claim/holds", replace={"checkpoint": checkpoint}, level="A3",
             want=want, **trust)  # fmt: skip
    write("cases.json", cases)


def base(forged: dict[str, Any], honest: dict[str, Any]) -> bool:
    """Tell whether `honest` is what was forged: all fields but one are the same, VRF proofs and kinds included."""
    return sum(forged[field] != honest[field] for field in honest) == 1


def write(name: str, value: Any) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
