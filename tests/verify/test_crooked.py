"""What a log that breaks its own rules can sign, and what a verdict says of it: each step in its order."""

from dataclasses import replace
from typing import Any

import pytest

from attest.encoding import decode_cbor, encode_cbor
from attest.formats.statement import Log, Party, PartyEnd
from tests.verify.crooked import OddKey, again, erased_once, mixed_order, recommit, recut, rewrite
from tests.verify.test_verdicts import ADA, BOB, EVE
from tests.verify.world import World, b64, key

PHONE = "phone:+442079460018"


@pytest.fixture
def erased() -> tuple[World, Any, dict[str, Any]]:
    """A world with one erasure in one of two systems, and the certificate of it."""
    return erased_once()


def test_a_crooked_log_can_be_honest(erased: Any) -> None:
    """Bound anew without a change, the certificate still holds: what the tests below see is their change alone."""
    world, acme, bundle = erased
    verdict = world.ask(recommit(world, acme, bundle, ADA), acme, ADA)

    assert (verdict.outcome, verdict.claim) == ("holds", "excluded")


# --- step 5 and 6: the log's own entries ---


@pytest.mark.parametrize("name", ["statements", "note_ed25519"])
def test_the_keys_of_entry_0_are_admissible(erased: Any, name: str) -> None:
    """Under a key of mixed order, verifiers with and without the cofactor disagree."""
    world, acme, bundle = erased
    first = world.entries[0]
    assert isinstance(first.payload, Log)
    payload = replace(first.payload, **{name: mixed_order(getattr(first.payload, name))})
    rewrite(world, 0, again(first, world.origin, payload=payload))
    verdict = world.ask(recut(world, bundle), acme, ADA)

    assert (verdict.outcome, verdict.code) == ("refuted", "key/mixed-order" if name == "statements" else "genesis/keys")


def test_entry_0_is_the_logs_own(erased: Any) -> None:
    """Another kind there, or a log/1 of another origin, is no beginning of this log."""
    world, acme, bundle = erased
    first = world.entries[0]
    for payload in (PartyEnd(), replace(first.payload, origin="other.example/log")):
        rewrite(world, 0, again(first, world.origin, payload=payload))
        assert world.ask(recut(world, bundle), acme, ADA).code == "genesis/origin"


def test_the_last_entry_is_the_logs_epoch(erased: Any) -> None:
    """Of this kind, by this log, for this log."""
    world, acme, bundle = erased
    last = world.entries[-1]
    for code, changes in {
        "entry/kind": {"payload": PartyEnd()},
        "entry/issuer": {"audience": "other.example/log"},
        "signature/invalid": {"signer": "somebody"},
    }.items():
        rewrite(world, world.size - 1, again(last, **{"signer": world.origin, **changes}))
        assert world.ask(recut(world, bundle), acme, ADA).code == code


# --- step 7: the holder ---


def test_the_holder_is_who_the_log_admitted(erased: Any) -> None:
    """Bound under its name, with its own head, in the role of a holder, by an admission of its own."""
    world, acme, bundle = erased
    admission = world.entries[world.ledger.parties[acme.id].admitted]
    assert isinstance(admission.payload, Party)

    def code(**changes: Any) -> str:
        return world.ask(recommit(world, acme, bundle, ADA, **changes), acme, ADA).code

    assert code(bind="other.example") == "holder/absent"
    assert code(head=lambda fields: {**fields, "party": "other.example"}) == "holder/head"
    assert code(head=lambda fields: {**fields, "role": "auditor"}) == "holder/role"
    assert code(head=lambda fields: {**fields, "vrf": []}) == "holder/vrf-key"
    assert code(head=lambda fields: {**fields, "admitted": 0}) == "entry/kind"
    changed = again(admission, world.origin, payload=replace(admission.payload, id="other.example"))
    rewrite(world, world.ledger.parties[acme.id].admitted, changed)
    assert code() == "holder/admission"


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "robot"},
        {"keys": [{"key": bytes(32), "use": "seal", "from": 0, "until": None}]},
        {"keys": [{"key": bytes([n, *bytes(31)]), "use": "sign", "from": 0, "until": None} for n in range(65)]},
        {"vrf": [{"suite": 4, "hash": bytes(32)}]},
        {"vrf": [{"suite": 3, "hash": bytes(32)}] * 2},
        {"status": -1},
        {"role": "log"},
    ],
)
def test_a_head_has_the_fields_of_the_page(erased: Any, changed: dict[str, Any]) -> None:
    """A role, a use, a suite or a number that the page does not have is no head, though it is bound."""
    world, acme, bundle = erased
    verdict = world.ask(recommit(world, acme, bundle, ADA, head=lambda fields: {**fields, **changed}), acme, ADA)

    assert (verdict.outcome, verdict.code) == ("refuted", "head/fields")


@pytest.mark.parametrize("changed", [{"status": 3}, {"status": 0}, {"other": bytes(31) + b"\x01"}])
def test_an_extension_cannot_be_decided(erased: Any, changed: dict[str, Any]) -> None:
    """Of a head that is bound; what else is wrong with what it says is not judged any more."""
    world, acme, bundle = erased
    for level in ("head", "system"):
        change = {level: lambda fields: {**fields, **changed}}
        verdict = world.ask(recommit(world, acme, bundle, ADA, **change), acme, ADA)
        assert (verdict.outcome, verdict.code) == ("undecided", "head/unknown-extension")
    broken = recommit(
        world, acme, bundle, ADA, head=lambda fields: {**fields, **changed, "party": "other.example", "role": "auditor"}
    )
    assert world.ask(broken, acme, ADA).code == "head/unknown-extension"


# --- step 9 and 10: systems and states ---


def test_a_system_head_is_bound_before_it_is_read(erased: Any) -> None:
    """What nobody committed does not get to say that it cannot be decided, or that its fields are others."""
    world, acme, bundle = erased
    strange = recommit(world, acme, bundle, ADA, system=lambda fields: {**fields, "status": 9})["systems"][0]["head"]
    honest = recommit(world, acme, bundle, ADA)
    for head in (strange, b64(encode_cbor({"system": "db"}))):
        systems = [{**honest["systems"][0], "head": head}, honest["systems"][1]]
        assert world.ask({**honest, "systems": systems}, acme, ADA).code == "systems/root"


def test_a_descriptor_is_bound_before_it_is_read(erased: Any) -> None:
    """One that is not the committed one is called so, whatever it says; a committed one has to be of its system."""
    world, acme, bundle = erased
    bundle["systems"][0]["descriptor"] = b64(b"\xff")
    assert world.ask(bundle, acme, ADA).code == "systems/descriptor"

    def code(**fields: Any) -> str:
        def change(encoded: bytes) -> bytes:
            return encode_cbor({**decode_cbor(encoded), **fields})

        return world.ask(
            recommit(world, acme, world.bundle("certificate", acme, ADA), ADA, descriptor=change), acme, ADA
        ).code

    assert code(kind="robot") == "statement/field"
    assert code(id="files") == "systems/descriptor"


def test_a_system_id_is_one(erased: Any) -> None:
    """A bound head may not name a system that no statement could."""
    world, acme, bundle = erased
    strange = recommit(world, acme, bundle, ADA, system=lambda fields: {**fields, "system": fields["system"].upper()})

    assert world.ask(strange, acme, ADA).code == "head/fields"


def test_states_are_bound_before_they_are_read(erased: Any) -> None:
    """A status not known here cannot be decided, but a forged state beside it refutes."""
    world, acme, _ = erased
    lookup = world.bundle("lookup", acme, BOB)
    strange = recommit(world, acme, lookup, BOB, state=lambda encoded: b"\x03" + encoded[1:])
    verdict = world.ask(strange, acme, BOB)
    assert (verdict.outcome, verdict.code) == ("undecided", "state/unknown-status")

    strange["states"][1]["state"] = None
    assert world.ask(strange, acme, BOB).code == "states/value"


# --- step 11: rows ---


def test_a_row_is_of_the_holders_own_statement(erased: Any) -> None:
    """For this log, and signed by a signing key of the holder that was in force."""
    world, acme, bundle = erased
    hold = next(row["entry"] for row in bundle["rows"])
    old = world.entries[hold]
    for code, changes in {
        "rows/audience": {"audience": "other.example/log"},
        "rows/key": {"signer": "acme.example recover"},
        "rows/issuer": {"issuer": "https://other.example"},
    }.items():
        rewrite(world, hold, again(old, **{"signer": "acme.example", **changes}))
        assert world.ask(recut(world, bundle), acme, ADA).code == code


def test_a_key_signs_while_it_is_in_force(erased: Any) -> None:
    """From its first position to before its last, whatever else is said of the same key."""
    world, acme, bundle = erased
    hold, tombstone = (row["entry"] for row in bundle["rows"])

    def code(*intervals: tuple[int, int | None], public: bytes | None = None) -> str:
        own = key("acme.example").public if public is None else public
        items = [{"key": own, "use": "sign", "from": a, "until": b} for a, b in intervals]
        return world.ask(recommit(world, acme, bundle, ADA, head=lambda f: {**f, "keys": items}), acme, ADA).code

    assert code((hold, tombstone + 1)) == "claim/holds"
    assert code((hold + 1, None)) == "rows/key"
    assert code((0, tombstone)) == "rows/key"
    assert code((0, 1), (hold, None)) == "claim/holds"


def test_a_holders_key_is_admissible(erased: Any) -> None:
    """A head may bind what the rules would not have admitted."""
    world, acme, bundle = erased
    hold = bundle["rows"][0]["entry"]
    rewrite(world, hold, again(world.entries[hold], OddKey("acme.example")))
    items = [{"key": OddKey("acme.example").public, "use": "sign", "from": 0, "until": None}]
    shown = recommit(world, acme, bundle, ADA, head=lambda fields: {**fields, "keys": items})

    assert world.ask(shown, acme, ADA).code == "key/mixed-order"


def test_rows_are_in_their_place(erased: Any) -> None:
    """A hold's row is of locator 0; rows and states of a locator that was not asked have to be in place, too."""
    world, acme, _ = erased
    single = world.bundle("hold", acme, ADA, system="db")
    single["rows"][0]["locator"] = 1
    assert world.ask(single, acme, ADA).code == "rows/order"

    both = world.bundle("certificate", acme, ADA, BOB)
    assert world.ask(both, acme, ADA).code == "claim/holds"
    extra = {**both["rows"][0], "locator": 1}
    assert world.ask({**both, "rows": [*both["rows"], extra]}, acme, ADA).code == "rows/order"
    # What is not asked is not proven, and its state counts as what it says.
    said = b64(b"\x02" + bytes(48))
    states = [{**each, "state": said} if each["locator"] == 1 else each for each in both["states"]]
    assert world.ask({**both, "states": states}, acme, ADA).code == "rows/order"
    rows = [{**extra, "system": name} for name in ("db", "files") for _ in range(2)]
    shown = world.ask({**both, "states": states, "rows": [*both["rows"], *rows]}, acme, ADA)
    assert (shown.code, len(shown.systems)) == ("claim/holds", 2)


# --- step 12: the claim ---


def test_what_refutes_goes_before_what_may_pass() -> None:
    """A certificate that leaves a type out will not hold when the backup's cycle is over."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db=("database", {"locators": ("email", "phone")}), tape=("backup", {"backup_cycle": 86_400}))
    for system in ("db", "tape"):
        world.hold(acme, system, ADA, BOB)
    world.epoch()
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()

    assert world.ask(world.bundle("lookup", acme, ADA), acme, ADA).code == "claim/backup"
    assert world.ask(world.bundle("certificate", acme, ADA), acme, ADA).code == "claim/type-not-asked"


def test_results_stand_in_the_order_asked() -> None:
    """Locators as asked, then systems by id; none before the claim is judged, and none for a hold or tombstone."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, calls=("log", {"locators": ("phone",)}), db="database")
    world.hold(acme, "db", ADA)
    world.epoch()
    world.erase(acme, "db", ADA)
    world.epoch()
    bundle = world.bundle("certificate", acme, ADA, PHONE)
    asked = world.ask(bundle, acme, PHONE, ADA)
    assert [(r.locator, r.system) for r in asked.systems] == [
        (PHONE, "calls"), (PHONE, "db"), (ADA, "calls"), (ADA, "db")
    ]  # fmt: skip

    bundle["rows"][0]["entry"] += 1
    assert world.ask(bundle, acme, PHONE, ADA).systems == []
    assert world.ask(world.bundle("hold", acme, ADA, system="db"), acme, ADA).systems == []
    assert (
        world.ask(world.bundle("lookup", acme, EVE, PHONE), acme, EVE, PHONE, expect="erased").code
        == "claim/not-erased"
    )
