"""Write tests/vectors/bundle/*.json: bundles, good and forged, each with the question and the verdict.

    python -m tests.verify.make_vectors

The log's ML-DSA-44 signatures are randomised, so a new run gives other bytes: run it only when the format changes.
Verdicts are stated here by hand or by the forgery's name, not taken from the verifier; a test compares the two.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from attest.encoding import decode_cbor, encode_cbor
from attest.formats.bundle import FORMAT
from attest.formats.cosignature import cosign_ed25519
from attest.formats.note import KeyType, NoteVerifier, SignatureLine, sign_text
from attest.formats.policy import PolicyLog
from attest.formats.statement import PartyEnd, Predecessor
from attest.ledger.verify import DAY
from tests.verify.crooked import OddKey, again, erased_once, mixed_order, recommit, recut, rewrite
from tests.verify.test_verdicts import ADA, BOB, EVE, FORGERIES, Story
from tests.verify.world import World, after_end, b64, key, policy_of

PHONE = "phone:+33123456789"
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

    questions(case, world, acme)
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


def questions(case: Any, world: World, acme: Any) -> None:
    """More questions about the first story, and lines of others under its checkpoint."""
    want = {"claim": "excluded", "level": "A1"}
    case("a look-up, expecting an erasure", "lookup-ada", "holds", "claim/holds", expect="erased", want=want)
    case("an erasure of somebody never committed", "lookup-eve", "refuted", "claim/not-erased", locators=[EVE],
         expect="erased")  # fmt: skip
    case("two locators of one tombstone", "tombstone", "refuted", "question/locators", locators=[ADA, BOB])
    other = World("other.example/log")
    text = world.checkpoints[world.size].checkpoint.encode()
    own = sign_text(world.origin, world.note, text).encode()
    foreign = sign_text(other.origin, other.note, text).encode()
    second = sign_text(world.origin, key("second note key"), text).encode()

    def note(*lines: str) -> dict[str, Any]:
        return {"checkpoint": "\n".join([text, *lines, ""])}

    def pinning(*names: tuple[str, str]) -> str:
        keys = [NoteVerifier.of(origin, KeyType.ED25519, key(name).public) for origin, name in names]
        return policy_of([PolicyLog(each) for each in keys], (), 0).encode().decode()

    only_foreign = pinning((other.origin, other.origin + " note"))
    strange = replace_signature(second, b"x" * 64)
    case("signed by another log alone", "lookup-ada", "not-anchored", "checkpoint/foreign", replace=note(own, foreign),
         policy=only_foreign)  # fmt: skip
    case("lines of unknown keys", "lookup-ada", "holds", "claim/holds", replace=note(foreign, own, strange), want=want)
    both = pinning((world.origin, world.origin + " note"), (world.origin, "second note key"))
    case("a pinned key that entry 0 does not name", "lookup-ada", "refuted", "genesis/keys", replace=note(own, second),
         policy=both)  # fmt: skip
    case(
        "a bad line of such a key",
        "lookup-ada",
        "refuted",
        "signature/invalid",
        replace=note(own, strange),
        policy=both,
    )
    size = text.split("\n")[1]
    small = text.replace(f"\n{size}\n", "\n1\n", 1)
    signed = {"checkpoint": f"{small}\n{sign_text(world.origin, world.note, small).encode()}\n"}
    case("a checkpoint of size 1", "lookup-ada", "refuted", "checkpoint/size", replace=signed)

    # Witnesses, one of them ahead of time; each with a line of its own.
    checkpoint = world.checkpoints[world.size].checkpoint

    def cosigned(name: str, time: int) -> str:
        return cosign_ed25519(name, key(name), checkpoint, time).encode()

    trust = {"policy": world.policy("wit.example/1", quorum=1).encode().decode(), "now": world.now + 1}
    seen = note(own, cosigned("wit.example/1", world.now), cosigned("state.example/1", world.now))
    ahead = note(own, cosigned("wit.example/1", world.now + 302))
    level = {"claim": "excluded", "anchor": "witnessed", "level": "A2"}
    case(
        "witnesses alone reach A2", "lookup-ada", "holds", "claim/holds", replace=seen, level="A2", want=level, **trust
    )
    case("and not A3", "lookup-ada", "not-anchored", "level/too-low", replace=seen, level="A3", want=level, **trust)
    case("a witness ahead of time", "lookup-ada", "undecided", "freshness/clock", replace=ahead, **trust)
    case(
        "by no more than the leeway",
        "lookup-ada",
        "holds",
        "claim/holds",
        replace=ahead,
        **{**trust, "now": world.now + 2},
    )
    nobody = policy_of([], (), 0).encode().decode()
    state = policy_of([], ("state.example/1",), 1).encode().decode()
    want = {"anchor": "witnessed"}
    case("a state policy of nobody", "lookup-ada", "not-anchored", "checkpoint/state-quorum", replace=seen, level="A3",
         state_policy=nobody, want=want, **trust)  # fmt: skip
    case("a state policy without a quorum of witnesses", "lookup-ada", "holds", "claim/holds", replace=seen,
         state_policy=state, want={"anchor": "logged", "level": "A1"})  # fmt: skip
    case("a state policy that pins another log", "lookup-ada", "not-anchored", "checkpoint/unsigned", replace=seen,
         state_policy=only_foreign.replace("quorum none\n", state), want=want, **trust)  # fmt: skip
    bad = note(
        own, cosigned("wit.example/1", world.now), replace_signature(cosigned("state.example/1", world.now), bytes(72))
    )
    case("a bad line of a state witness, and no quorum", "lookup-ada", "refuted", "signature/invalid", replace=bad,
         policy=world.policy("wit.example/2", quorum=1).encode().decode(), state_policy=state)  # fmt: skip
    case("a bad line of a state witness, and no pinned log", "lookup-ada", "refuted", "signature/invalid", replace=bad,
         policy=only_foreign, state_policy=state)  # fmt: skip


def replace_signature(line: str, signature: bytes) -> str:
    """Return a signature line with another signature."""
    found = SignatureLine.parse(line)
    return replace(found, signature=signature).encode()


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
    backups(case)
    crooked(case)

    sizes(case)
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
        ("an array", "[]", "undecided", "bundle/format"),
        (
            "another format, with the words",
            json.dumps({"format": "other/1", "x": FORMAT}),
            "undecided",
            "bundle/format",
        ),
        ("a format that is no text", json.dumps({"format": [FORMAT]}), "undecided", "bundle/format"),
        ("a format and no more", json.dumps({"format": FORMAT}), "refuted", "json/field"),
        ("a keepsake", '{"format": "attest-keepsake/1", "holds": []}', "undecided", "bundle/format"),
        ("a keepsake cut off", '{"format": "attest-keepsake/1", "x": "attest-bundle/1"', "undecided", "bundle/format"),
        ("cut off, the words too far", f'{{"x": "{"x" * 4080}", "format": "{FORMAT}", ', "undecided", "bundle/format"),
        ("a byte order mark", "\ufeff" + json.dumps({"format": FORMAT}), "refuted", "json/syntax"),
        ("half a surrogate pair", json.dumps({"format": FORMAT, "kind": "\ud800"}), "refuted", "encoding/utf8"),
        ("101 arrays deep", f'{{"format": "{FORMAT}", "x": {"[" * 100}{"]" * 100}}}', "refuted", "json/syntax"),
        ("100 deep", f'{{"format": "{FORMAT}", "x": {"[" * 99}{"]" * 99}}}', "refuted", "json/field"),
    ):
        case(f"raw: {desc}", "lookup-ada", outcome, code, raw=raw)


def sizes(case: Any) -> None:
    """Numbers and sizes of bundle.md, judged where the file is read."""
    shown = json.loads((OUT / "lookup-ada.bundle").read_text())
    head = {**shown["holder"], "head": b64(bytes(16_385))}
    entry = {**shown["entries"][0], "path": [b64(bytes(32))] * 64}
    state = {**shown["states"][0], "state": b64(bytes(48))}
    for desc, code, changed in (
        ("no locator", "json/field", {"locators": []}),
        ("65 locators", "json/field", {"locators": [{"type": "x", "proof": b64(bytes(80))}] * 65}),
        ("a proof of 81 bytes", "encoding/base64", {"locators": [{"type": "email", "proof": b64(bytes(81))}]}),
        ("a VRF key of 31 bytes", "encoding/base64", {"vrf": {"suite": 3, "key": b64(bytes(31))}}),
        ("a head of 16,385 bytes", "encoding/base64", {"holder": head}),
        ("a path of 64 hashes", "json/field", {"entries": [entry, *shown["entries"][1:]]}),
        ("a state of 48 bytes", "encoding/base64", {"states": [state, *shown["states"][1:]]}),
    ):
        case(desc, "lookup-ada", "refuted", code, replace=changed)
    reversed_members = json.dumps(dict(reversed(list(json.loads((OUT / "nothing.bundle").read_text()).items()))))
    case(
        "raw: members in another order",
        "nothing",
        "refuted",
        "question/holder",
        raw=reversed_members,
        holder="x.example",
    )


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


def backups(case: Any) -> None:
    """Only a backup holds, and something else is missing besides."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, calls=("log", {"locators": ("phone",)}), db=("database", {"locators": ("email", "phone")}),
                  tape=("backup", {"backup_cycle": DAY}))  # fmt: skip
    world.hold(acme, "calls", PHONE)
    for system in ("db", "tape"):
        world.hold(acme, system, ADA, BOB)
    world.epoch()
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    asked = {"policy": world.policy().encode().decode(), "now": world.now + 1}
    other = "phone:+33111111111"
    write("backup-types.bundle", world.bundle("certificate", acme, ADA, other))
    both = {**asked, "locators": [ADA, other]}
    case("only a backup holds, of two locators", "backup-types", "provisional", "claim/backup", **both)
    case("a backup holds, and one is not indexed", "backup-types", "refuted", "claim/not-excluded", **asked)
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db=("database", {"locators": ("email", "phone")}), tape=("backup", {"backup_cycle": DAY}))
    for system in ("db", "tape"):
        world.hold(acme, system, ADA, BOB)
    world.epoch()
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    asked = {"policy": world.policy().encode().decode(), "now": world.now + 1}
    write("backup-certificate.bundle", world.bundle("certificate", acme, ADA))
    desc = "a certificate that leaves a type out, and a backup"
    case(desc, "backup-certificate", "refuted", "claim/type-not-asked", want={"claim": "not-excluded"}, **asked)


def crooked(case: Any) -> None:
    """What an operator can bind against the rules, and locators that were not asked."""
    world, acme, bundle = erased_once()
    asked = {"policy": world.policy().encode().decode(), "now": world.now + 1}
    honest = recommit(world, acme, bundle, ADA)
    write("crooked.bundle", honest)

    def crook(desc: str, code: str, shown: dict[str, Any], outcome: str = "refuted") -> None:
        changed = {field: value for field, value in shown.items() if value != honest[field]}
        case(f"crooked: {desc}", "crooked", outcome, code, replace=changed, **asked)

    def entry(desc: str, code: str, position: int, signer: Any, **changes: Any) -> None:
        other, _, fresh = erased_once()
        rewrite(other, position, again(other.entries[position], signer, **changes))
        shown = recommit(other, acme, fresh, ADA) if position < other.size - 1 else recut(other, fresh)
        crook(desc, code, shown)

    def bound(desc: str, code: str, outcome: str = "refuted", **changes: Any) -> None:
        other, _, fresh = erased_once()
        crook(desc, code, recommit(other, acme, fresh, ADA, **changes), outcome)

    crook("nothing changed", "claim/holds", honest, "holds")
    first, last = world.entries[0], world.size - 1
    admitted = world.ledger.parties[acme.id].admitted
    hold = bundle["rows"][0]["entry"]
    payload: Any = first.payload
    entry("entry 0 of another kind", "genesis/origin", 0, world.origin, payload=PartyEnd())
    entry(
        "entry 0 of another log",
        "genesis/origin",
        0,
        world.origin,
        payload=replace(payload, origin="other.example/log"),
    )
    odd = replace(payload, statements=mixed_order(payload.statements))
    entry("a statements key of mixed order", "key/mixed-order", 0, world.origin, payload=odd)
    entry("entry 0 by somebody else", "signature/invalid", 0, "somebody")
    entry("no epoch at the end", "entry/kind", last, world.origin, payload=PartyEnd())
    entry("an epoch for another log", "entry/issuer", last, world.origin, audience="other.example/log")
    entry("an epoch by another issuer", "entry/issuer", last, world.origin, issuer="https://acme.example")
    entry("an epoch signed by somebody else", "signature/invalid", last, "somebody")
    party: Any = world.entries[admitted].payload
    entry(
        "the admission of another",
        "holder/admission",
        admitted,
        world.origin,
        payload=replace(party, id="other.example"),
    )
    entry("an admission about another", "holder/admission", admitted, world.origin, about="other.example")
    bound("nobody of this name", "holder/absent", bind="other.example")
    for desc, code, changed in (
        ("the head of another", "holder/head", {"party": "other.example"}),
        ("an auditor", "holder/role", {"role": "auditor"}),
        ("no admission there", "entry/kind", {"admitted": 0}),
        ("an admission that is not shown", "bundle/entry-missing", {"admitted": 3}),
        ("no VRF key", "holder/vrf-key", {"vrf": []}),
        ("a role that is none", "head/fields", {"role": "robot"}),
        ("a party's status", "head/unknown-extension", {"status": 3}),
        (
            "a party's extension, of another besides",
            "head/unknown-extension",
            {"other": bytes(31) + b"\1", "party": "x"},
        ),
    ):
        outcome = "undecided" if code == "head/unknown-extension" else "refuted"
        bound(desc, code, outcome, head=partial(with_fields, changed=changed))
    for desc, code, changed in (
        ("a system's status", "head/unknown-extension", {"status": 3}),
        ("a system's extension", "head/unknown-extension", {"other": bytes(31) + b"\1"}),
        ("a system's fields", "head/fields", {"held": b""}),
        ("a system's fields, and its status", "head/fields", {"held": b"", "status": 3}),
        ("a system's other descriptor", "systems/descriptor", {"descriptor": bytes(32)}),
        (
            "a system's other descriptor, and its status",
            "head/unknown-extension",
            {"descriptor": bytes(32), "status": 3},
        ),
    ):
        outcome = "undecided" if code == "head/unknown-extension" else "refuted"
        bound(desc, code, outcome, system=partial(with_fields, changed=changed))
    for desc, code, changed in (
        ("a descriptor of another system", "systems/descriptor", {"id": "files"}),
        ("a descriptor of no kind", "statement/field", {"kind": "robot"}),
    ):
        bound(desc, code, descriptor=partial(with_encoded, changed=changed))
    bound("a descriptor that is none", "cbor/truncated", descriptor=lambda encoded: encoded[:-1])
    bound("an unknown status", "state/unknown-status", "undecided", state=lambda encoded: b"\x03" + encoded[1:])

    own = key("acme.example").public
    entry("a row for another log", "rows/audience", hold, "acme.example", audience="other.example/log")
    entry("a row by another holder", "rows/issuer", hold, "acme.example", issuer="https://other.example")
    entry("a row signed by the recovery key", "rows/key", hold, "acme.example recover")
    for desc, code, items in (
        ("a key in force", "claim/holds", [(own, "sign", hold, None)]),
        ("a key in force too late", "rows/key", [(own, "sign", hold + 1, None)]),
        ("a key revoked in between", "rows/key", [(own, "sign", 0, hold + 1)]),
        ("a key for recovery only", "rows/key", [(own, "recover", 0, None)]),
        ("a key that was given again", "claim/holds", [(own, "sign", 0, 1), (own, "sign", hold, None)]),
    ):
        names = ("key", "use", "from", "until")
        changed = {"keys": [dict(zip(names, item, strict=True)) for item in items]}
        bound(desc, code, "holds" if code == "claim/holds" else "refuted", head=partial(with_fields, changed=changed))
    other, _, fresh = erased_once()
    rewrite(other, hold, again(other.entries[hold], OddKey("acme.example")))
    changed = {"keys": [{"key": OddKey("acme.example").public, "use": "sign", "from": 0, "until": None}]}
    shown = recommit(other, acme, fresh, ADA, head=partial(with_fields, changed=changed))
    crook("a holder's key of mixed order", "key/mixed-order", shown)

    unasked(case)
    two_logs(case)


def with_fields(fields: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """Return a head with other fields."""
    return {**fields, **changed}


def with_encoded(encoded: bytes, changed: dict[str, Any]) -> bytes:
    """Return a descriptor with other fields."""
    return encode_cbor({**decode_cbor(encoded), **changed})


def unasked(case: Any) -> None:
    """A certificate of two locators, asked about one."""
    world, acme, _ = erased_once()
    asked = {"policy": world.policy().encode().decode(), "now": world.now + 1}
    both = world.bundle("certificate", acme, ADA, BOB)
    write("two-locators.bundle", both)
    want = {"claim": "excluded"}
    case("one of two locators asked", "two-locators", "holds", "claim/holds", want=want, **asked)
    case("both asked", "two-locators", "refuted", "claim/not-excluded", locators=[ADA, BOB], **asked)
    other = [{**each, "state": None, "proof": ""} if each["locator"] else each for each in both["states"]]
    case(
        "states of the other that prove nothing",
        "two-locators",
        "holds",
        "claim/holds",
        replace={"states": other},
        **asked,
    )
    unproven = b64(b"\x02" + bytes(48))
    other = [{**each, "state": unproven} if each["locator"] else each for each in both["states"]]
    code = "rows/order"
    case("states of the other that say erased", "two-locators", "refuted", code, replace={"states": other}, **asked)
    rows = [{**both["rows"][0], "locator": 1, "system": name} for name in ("db", "files") for _ in range(2)]
    shown = {"states": other, "rows": [*both["rows"], *rows]}
    case("and rows for them", "two-locators", "holds", "claim/holds", replace=shown, want=want, **asked)
    case("a row too many", "two-locators", "refuted", code, replace={"rows": [*both["rows"], rows[0]]}, **asked)
    missing = {"states": both["states"][:-1]}
    case("a state of the other left out", "two-locators", "refuted", "states/order", replace=missing, **asked)
    single = world.bundle("hold", acme, ADA, system="db")
    write("one-hold.bundle", single)
    moved = {"rows": [{**single["rows"][0], "locator": 1}]}
    case("a hold's row of another locator", "one-hold", "refuted", code, replace=moved, **asked)


def two_logs(case: Any) -> None:
    """A genuine hold in one log, shown by a keepsake that calls itself of another."""
    there, here = World("there.example/log"), World("here.example/log")
    holder = there.admit("acme.example")
    there.systems(holder, db="database")
    there.hold(holder, "db", ADA)
    kept = there.keepsake(holder, ADA, "db", size=there.epoch())
    same = here.admit("acme.example")
    here.systems(same, db="database")
    for _ in range(4):
        here.epoch()
    write("other-log.keepsake", json.loads(kept.encode()))
    write("moved.keepsake", json.loads(replace(kept, origin=here.origin).encode()))
    write("here.bundle", here.bundle("lookup", same, ADA))
    policy = replace(here.policy(), logs=here.policy().logs + there.policy().logs).encode().decode()
    asked = {"policy": policy, "now": here.now + 1}
    case("a keepsake of another log", "here", "refuted", "question/origin", keepsake="other-log.keepsake", **asked)
    case("a hold in another log", "here", "undecided", "keepsake/hold", keepsake="moved.keepsake", **asked)


def base(forged: dict[str, Any], honest: dict[str, Any]) -> bool:
    """Tell whether `honest` is what was forged: all fields but one are the same, VRF proofs and kinds included."""
    return sum(forged[field] != honest[field] for field in honest) == 1


def write(name: str, value: Any) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
