"""Write tests/vectors/bundle/*.json: bundles, good and forged, each with the question and the verdict.

    python -m tests.verify.make_vectors

The log's ML-DSA-44 signatures are randomised, so a new run gives other bytes: run it only when the format changes.
Verdicts are stated here by hand or by the forgery's name, not taken from the verifier; a test compares the two.
"""

import json
from pathlib import Path
from typing import Any

from attest.formats.statement import Predecessor
from attest.ledger.verify import DAY
from tests.verify.test_verdicts import ADA, BOB, EVE, FORGERIES, Story
from tests.verify.world import World, after_end, policy_of

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
        parts = {"replace": other.pop("replace", {}), "raw": other.pop("raw", None)}
        cases.append({"desc": desc, "bundle": bundle, **parts, "question": {**asked, **other}, "want": want})

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

    others(case)
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


def others(case: Any) -> None:
    """Stories of their own: other systems, other types, decoys, keepsakes, broken JSON."""
    world, acme = types()
    phone = "phone:+33111111111"
    asked = {"policy": world.policy().encode().decode(), "now": world.now + 1}
    write("two-types.bundle", world.bundle("lookup", acme, EVE, phone))
    write("one-type.bundle", world.bundle("lookup", acme, EVE))
    write("certificate-one-type.bundle", world.bundle("certificate", acme, ADA))
    write("certificate-none.bundle", world.bundle("certificate", acme, EVE, phone))
    write("rotated-hold.bundle", world.bundle("hold", acme, BOB, system="db"))
    both = {**asked, "locators": [EVE, phone]}
    excluded = {"claim": "excluded", "level": "A1"}
    case("two locators of two types", "two-types", "holds", "claim/holds", want=excluded, **both)
    case("asked in the other order", "two-types", "holds", "claim/holds", **{**both, "locators": [phone, EVE]})
    case("one locator twice", "two-types", "refuted", "index/other-locator", **{**both, "locators": [EVE, EVE]})
    only = {**asked, "locators": [EVE]}
    blocked = {"claim": "not-excluded"}
    case("not indexed by the type asked", "one-type", "refuted", "claim/not-excluded", want=blocked, **only)
    case("only one of two is asked", "two-types", "refuted", "claim/not-excluded", want=blocked, **only)
    case("a certificate leaves a type out", "certificate-one-type", "refuted", "claim/not-excluded", **asked)
    case("a certificate of nobody erased", "certificate-none", "refuted", "claim/not-erased", **both)
    case("expected held, but excluded", "two-types", "refuted", "claim/not-held", expect="held", **both)
    case("a key revoked later", "rotated-hold", "holds", "claim/holds", **{**asked, "locators": [BOB]})

    twice, early, late = erased_twice()
    asked = {"policy": twice.policy().encode().decode(), "now": twice.now + 1}
    write("reheld.bundle", late)
    mixed = [early["rows"][0], late["rows"][1]]
    case("held and erased twice", "reheld", "holds", "claim/holds", want=excluded, **asked)
    case("an older tombstone", "reheld", "refuted", "rows/state", replace={"rows": early["rows"]}, **asked)
    case("an older hold", "reheld", "refuted", "rows/hold", replace={"rows": mixed}, **asked)

    nothing = World()
    bare = nothing.admit("acme.example")
    nothing.epoch()
    write("nothing.bundle", nothing.bundle("lookup", bare, ADA))
    asked = {"policy": nothing.policy().encode().decode(), "now": nothing.now + 1}
    want = {"claim": "nothing-registered"}
    case("nothing is registered", "nothing", "refuted", "claim/nothing-registered", want=want, **asked)

    ends(case)
    decoys(case)
    contradictions(case)

    good = (OUT / "lookup-ada.bundle").read_text()
    first = '"position": 0'
    for desc, raw, outcome, code in (
        ("not JSON", "hello", "undecided", "bundle/format"),
        ("another format", '{"format": "other/1"}', "undecided", "bundle/format"),
        ("cut off", good[: len(good) // 2], "refuted", "json/syntax"),
        ("something after it", good + "x", "refuted", "json/syntax"),
        ("a key twice", good.replace('"kind"', '"kind": "hold", "kind"', 1), "refuted", "json/duplicate-key"),
        ("a fraction", good.replace(first, first + ".0", 1), "refuted", "json/number"),
        ("minus zero", good.replace(first, '"position": -0', 1), "refuted", "json/number"),
        ("an unknown key", good.replace('"kind"', '"note": 1, "kind"', 1), "refuted", "json/field"),
        ("text for a number", good.replace(first, '"position": "0"', 1), "refuted", "json/field"),
    ):
        case(f"raw: {desc}", "lookup-ada", outcome, code, raw=raw)


def types() -> tuple[World, Any]:
    """Return a world with two locator types, an empty system, and a signing key that was replaced."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, calls=("log", {"locators": ("phone",)}), db="database", idle="search")
    world.hold(acme, "calls", "phone:+33123456789")
    world.hold(acme, "db", ADA, BOB)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    world.rotate(acme, "acme new")
    world.epoch()
    return world, acme


def erased_twice() -> tuple[World, dict[str, Any], dict[str, Any]]:
    """Return certificates of somebody's first and second erasure; the second shows the entries of both."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    certificates = []
    for version in (0, 1):
        world.hold(acme, "db", ADA, version=version)
        world.epoch()
        world.erase(acme, "db", ADA)
        world.epoch()
        certificates.append(world.bundle("certificate", acme, ADA))
    early, late = certificates
    shown = {entry["position"] for entry in late["entries"]} | {row["entry"] for row in early["rows"]}
    late["entries"] = [world.entry(position, world.size) for position in sorted(shown)]
    return world, early, late


def ends(case: Any) -> None:
    """A successor that has ended itself, and a log that goes on after its end."""
    world = World(predecessor=Predecessor("old.example/log", 1234, bytes(range(32))))
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    world.epoch()
    world.erase(acme, "db", ADA)
    world.retire()
    write("ended.bundle", world.bundle("certificate", acme, ADA))
    want = {"ended": True, "predecessor": "old.example/log", "predecessor_size": 1234}
    asked = {"policy": world.policy().encode().decode(), "now": world.now + 1, "want": want}
    case("a log that ended", "ended", "holds", "claim/holds", **asked)
    case("its last checkpoint is old", "ended", "provisional", "freshness/old", **{**asked, "now": world.now + 9 * DAY})
    world, _, bundle = after_end(ADA)
    write("after-end.bundle", bundle)
    asked = {"policy": world.policy().encode().decode(), "now": world.now + 1}
    case("a log that goes on after its end", "after-end", "refuted", "entry/after-end", **asked)


def decoys(case: Any) -> None:
    """Held and erased in neighbouring epochs, under both quorums."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    world.cosign(world.size, "wit.example/1", "state.example/1", time=world.now + 5)
    write("decoy.bundle", world.bundle("certificate", acme, ADA))
    trust = {
        "policy": world.policy("wit.example/1", quorum=1).encode().decode(),
        "state_policy": policy_of([], ("state.example/1",), 1).encode().decode(),
        "now": world.now + 6,
    }
    want = {"anchor": "state-checked", "level": "A2"}
    case("a decoy reaches A2", "decoy", "holds", "claim/holds", level="A2", want=want, **trust)
    case("a decoy does not reach A3", "decoy", "not-anchored", "level/too-low", level="A3", **trust)
    case("age counts from the witness", "decoy", "holds", "claim/holds", max_age=1, **trust)
    others = policy_of([], ("state.example/2",), 1).encode().decode()
    code = "checkpoint/state-quorum"
    case("other state witnesses", "decoy", "not-anchored", code, **{**trust, "state_policy": others})


def contradictions(case: Any) -> None:
    """A log that forgot what a keepsake shows, and a keepsake that accuses without a hold of its own."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database", search="search", tape="backup")
    world.hold(acme, "db", BOB)
    for _ in range(8):
        world.epoch()
    write("forgetful.bundle", world.bundle("lookup", acme, ADA))
    asked = {"policy": world.policy().encode().decode(), "now": world.now + 1}
    forged = json.loads((OUT / "ada.keepsake").read_text())
    forged["holds"][0]["entry"] -= 1
    write("half-forged.keepsake", forged)
    write("forged.keepsake", {**forged, "holds": forged["holds"][:1]})
    case("a keepsake contradicts", "forgetful", "refuted", "states/keepsake", keepsake="ada.keepsake", **asked)
    desc = "a forged hold does not hide what another one proves"
    case(desc, "forgetful", "refuted", "states/keepsake", keepsake="half-forged.keepsake", **asked)
    case("a forged keepsake does not", "forgetful", "undecided", "keepsake/hold", keepsake="forged.keepsake", **asked)


def base(forged: dict[str, Any], honest: dict[str, Any]) -> bool:
    """Tell whether `honest` is what was forged: all fields but one are the same, VRF proofs and kinds included."""
    return sum(forged[field] != honest[field] for field in honest) == 1


def write(name: str, value: Any) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
