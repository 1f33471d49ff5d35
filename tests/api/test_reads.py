"""What is read over HTTP is what was published, and proves it."""

from typing import Any

import cbor2
import pytest

from attest.api.inputs import MAX_PAGE
from attest.crypto.keys import thumbprint
from attest.encoding import decode_cbor, encode_base64, encode_base64url, parse_base64
from attest.errors import Unavailable
from attest.formats.bundle import Bundle
from attest.formats.checkpoint import SignedCheckpoint, log_verifiers, verify_log_signatures
from attest.formats.policy import Policy
from attest.formats.receipt import Receipt
from attest.formats.rows import RowProof
from attest.formats.statement import Statement
from attest.formats.tlog_proof import TlogProof
from attest.merkle import tiles, tree
from tests.api.conftest import Site
from tests.world import descriptor


def _json(site: Site, path: str, status: int = 200) -> Any:
    answer = site.client().get(path)
    assert answer.status_code == status, answer.json
    return answer.json


def _checkpoint(site: Site) -> SignedCheckpoint:
    return SignedCheckpoint.parse(site.client().get("/checkpoint").data)


def _entries(site: Site) -> list[bytes]:
    size = _checkpoint(site).checkpoint.size
    answer = site.client().get("/" + tiles.entries_path(0, size))
    return tiles.parse_bundle(answer.data, size)


def test_the_checkpoint_is_signed_twice(shared: Site):
    """The signed checkpoint is tlog-tiles text under both keys of entry 0."""
    answer = shared.client().get("/checkpoint")
    genesis = shared.node.genesis
    verifiers = log_verifiers(genesis.origin, genesis.note_ed25519, genesis.note_mldsa44)

    assert answer.content_type == "text/plain; charset=utf-8"
    assert verify_log_signatures(SignedCheckpoint.parse(answer.data), verifiers) == verifiers


def test_tiles_and_entries_lead_to_the_checkpoint(shared: Site):
    """Level 0 is the leaf hashes of the entries, and their root is signed."""
    checkpoint, entries = _checkpoint(shared).checkpoint, _entries(shared)
    tile = shared.client().get("/" + tiles.tile_path(0, 0, checkpoint.size))
    leaves = [tree.leaf_hash(entry) for entry in entries]

    assert tile.content_type == "application/octet-stream"
    assert tile.data == b"".join(leaves)
    assert tree.root(leaves) == checkpoint.root


@pytest.mark.parametrize("path", ["/tile/0/000.p/255", "/tile/1/000.p/1", "/tile/0/001", "/tile/entries/x001/000"])
def test_a_tile_that_is_not_implied_is_not_there(shared: Site, path: str):
    """404 for well-formed paths beyond the checkpoint."""
    assert _json(shared, path, 404)["code"] == "tile/unknown"


def test_a_row_file_is_public_once_its_statement_is(site: Site):
    """404 while the statement is pending, then the bytes."""
    rows = site.rows(2)
    statement = site.hold(rows)
    site.world.submit(statement, rows)
    path = f"/rows/{rows.root().hex()}"
    assert _json(site, path, 404)["code"] == "rows/unknown"
    site.step()

    assert site.client().get(path).data == rows.encoded


def test_the_policy_names_this_log(shared: Site):
    """The policy file weighs the checkpoint as logged."""
    answer = shared.client().get("/policy")

    assert answer.content_type == "text/plain; charset=utf-8"
    assert Policy.parse(answer.data).check(_checkpoint(shared)).anchor == "logged"


def test_receipts_verify_under_the_published_key(shared: Site):
    """A receipt verifies under the key that scitt-keys lists, by the id it names."""
    examples = shared.examples()
    client = shared.client()
    key_set = cbor2.loads(client.get("/.well-known/scitt-keys").data)
    kid = encode_base64url(key_set[0][2])
    key = cbor2.loads(client.get(f"/.well-known/scitt-keys/{kid}").data)
    statement = Statement.parse(client.get(f"/entries/{examples['entry_id']}/statement").data)
    receipt = Receipt.parse(client.get(f"/entries/{examples['entry_id']}").data)

    assert key_set == [key]
    assert key == {1: 1, 2: thumbprint(key[-2]), 3: -19, -1: 6, -2: key[-2]}
    assert decode_cbor(client.get("/.well-known/scitt-keys").data) == key_set
    receipt.verify(statement.leaf, key[-2])
    assert _json(shared, "/.well-known/scitt-keys/AAAA", 404)["title"] == "No such key"


def test_a_tlog_proof_leads_to_the_checkpoint(shared: Site):
    """The `.tlog-proof` text verifies; one of an entry that is pending or unknown is not given."""
    examples = shared.examples()
    answer = shared.client().get(f"/proofs/entry/{examples['entry_id']}")
    proof = TlogProof.parse(answer.data)
    checkpoint = proof.signed.checkpoint
    statement = shared.client().get(f"/entries/{examples['entry_id']}/statement").data

    assert answer.content_type == "text/plain; charset=utf-8"
    tree.verify_inclusion(tree.leaf_hash(statement), proof.index, checkpoint.size, checkpoint.root, list(proof.path))
    assert _json(shared, f"/proofs/entry/{'A' * 43}", 404)["code"] == "entry/unknown"


def test_a_pending_entry_has_no_proof_yet(site: Site):
    """404 until a checkpoint has it."""
    rows = site.rows()
    statement = site.hold(rows)
    site.world.submit(statement, rows)

    assert _json(site, f"/proofs/entry/{statement.entry_id}", 404)["code"] == "entry/unknown"


def test_the_log_is_described_by_its_checkpoint(shared: Site):
    """`GET /log` repeats the newest checkpoint and counts what is held."""
    shared.examples()
    found, signed = _json(shared, "/log"), _checkpoint(shared)

    assert found["checkpoint"] == signed.encode().decode()
    assert (found["origin"], found["size"]) == (signed.checkpoint.origin, signed.checkpoint.size)
    assert found["root"] == signed.checkpoint.root.hex()
    assert found["limits"] == {"rows": 1_048_576, "statement": 16_384, "skew": 300, "silence": 3600}
    assert (found["held"], found["holders"]) == (3, 1)


def test_a_holder_is_described_alike_everywhere(shared: Site):
    """The line in the list, the page and the list of systems agree."""
    shared.examples()
    [line] = _json(shared, "/holders")["holders"]
    page, systems = _json(shared, f"/holders/{shared.party}"), _json(shared, f"/holders/{shared.party}/systems")

    assert {name: page[name] for name in line if name != "systems"} == {
        name: value for name, value in line.items() if name != "systems"
    }
    assert page["systems"] == systems["systems"]
    assert line["systems"] == len(systems["systems"]) == 2
    assert [(system["id"], system["held"], system["entries"]) for system in systems["systems"]] == [
        ("crm", 3, 1), ("search", 0, 0),
    ]  # fmt: skip
    assert parse_base64(page["keys"][0]["key"]) == shared.holder.key.public
    assert page["own"] == 1


@pytest.mark.parametrize("end", ["", "/systems", "/entries"])
def test_an_unknown_holder_is_not_found(shared: Site, end: str):
    """404 for a party that is not admitted."""
    assert _json(shared, f"/holders/nobody.example{end}", 404)["code"] == "holder/unknown"


def test_holders_come_in_pages(site: Site):
    """Following `next` shows every holder once, in order; without a limit all fit."""
    for name in ("b", "c", "d"):
        site.world.holder(f"{name}.example")
    seen, after = [], ""
    while after is not None:
        found = _json(site, f"/holders?limit=2{after and '&after=' + after}")
        seen += [holder["id"] for holder in found["holders"]]
        assert len(found["holders"]) <= 2
        after = found["next"]

    assert seen == ["acme.example", "b.example", "c.example", "d.example"]
    assert [holder["id"] for holder in _json(site, f"/holders?limit={MAX_PAGE}")["holders"]] == seen
    assert _json(site, "/holders?after=zzz.example") == {"holders": [], "next": None}


def test_entries_come_in_pages_newest_first(site: Site):
    """Following `next` shows every entry of a holder once."""
    statements = [site.published()[0] for _ in range(3)]
    seen, before = [], ""
    while before is not None:
        found = _json(site, f"/holders/{site.party}/entries?limit=2{before and f'&before={before}'}")
        seen += found["entries"]
        before = found["next"]
    positions = [entry["position"] for entry in seen]

    assert positions == sorted(positions, reverse=True)
    assert [entry["entry_id"] for entry in seen[:3]] == [s.entry_id for s in reversed(statements)]
    assert [entry["kind"] for entry in seen[3:]] == ["systems/1", "party/1"]
    assert (seen[0]["system"], seen[0]["count"]) == ("crm", 1)


def _bundle(parts: dict[str, Any], kind: str) -> Bundle:
    """Complete a bundle as an asker does; the VRF parts are its own business."""
    empty = {
        "vrf": {"suite": 3, "key": encode_base64(bytes(32))},
        "locators": [{"type": "email", "proof": encode_base64(bytes(80))}],
        "systems": [],
        "states": [],
        "rows": [],
    }
    return Bundle.from_json({"format": "attest-bundle/1", "kind": kind, **empty, **parts})


def test_a_row_proof_is_part_of_a_bundle(shared: Site):
    """The answer fits into a bundle, and the row leads to the statement's root, at the size asked for."""
    examples = shared.examples()
    path = f"/proofs/row/{examples['entry_id']}/{examples['index']}"
    newest = _json(shared, path)
    shared.published()
    older = _json(shared, f"{path}?size={examples['size']}")
    bundle = _bundle(newest, "hold")
    [row] = bundle.rows
    entry = next(each.entry for each in bundle.entries if each.position == row.entry)
    payload: Any = Statement.parse(entry).payload

    RowProof(row.position, bytes.fromhex(examples["index"]) + row.commitment, row.path).verify(
        payload.count, payload.root
    )
    assert older == newest
    assert _bundle(older, "hold").checkpoint.checkpoint.size == examples["size"]
    assert _json(shared, path)["checkpoint"] != older["checkpoint"]


def test_a_row_that_is_not_there_has_no_proof(shared: Site):
    """404 for another index, for an entry without rows, and for no entry."""
    examples = shared.examples()
    systems = _json(shared, f"/holders/{shared.party}/entries")["entries"][-2]["entry_id"]

    assert _json(shared, f"/proofs/row/{examples['entry_id']}/{'a' * 64}", 404)["code"] == "row/unknown"
    assert _json(shared, f"/proofs/row/{systems}/{'a' * 64}", 404)["code"] == "row/unknown"
    assert _json(shared, f"/proofs/row/{'A' * 43}/{'a' * 64}", 404)["code"] == "entry/unknown"


def test_a_lookup_is_part_of_a_bundle(shared: Site):
    """One state per system and locator, all at one checkpoint, and nobody may keep the answer."""
    examples = shared.examples()
    indexes = [{"crm": examples["index"], "search": "b" * 64}, {"crm": "c" * 64, "search": "d" * 64}]
    answer = shared.client().post("/proofs/lookup", json={"holder": shared.party, "locators": indexes})
    bundle = _bundle(answer.json, "lookup")

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert [(state.locator, state.system, state.state is None) for state in bundle.states] == [
        (0, "crm", False), (0, "search", True), (1, "crm", True), (1, "search", True),
    ]  # fmt: skip
    assert len(bundle.systems) == 2
    size = bundle.checkpoint.checkpoint.size
    again = shared.client().post("/proofs/lookup", json={"holder": shared.party, "locators": indexes, "size": size})
    assert again.json == answer.json


@pytest.mark.parametrize(
    ("question", "status", "code"),
    [
        ({"holder": "nobody.example", "locators": [{}]}, 404, "holder/unknown"),
        ({"locators": [{"crm": "a" * 64}]}, 409, "lookup/systems"),
        ({"locators": [{}]}, 409, "lookup/systems"),
        ({"locators": [{"crm": "a" * 64, "search": "a" * 64, "other": "a" * 64}]}, 409, "lookup/systems"),
        ({"locators": [{"crm": "a" * 64, "search": "a" * 64}], "size": 3}, 410, "proof/gone"),
    ],
)
def test_a_lookup_that_cannot_be_answered_says_why(shared: Site, question: dict[str, Any], status: int, code: str):
    """404 for strangers, 409 for other systems than the holder's, 410 for a size that is not kept."""
    answer = shared.client().post("/proofs/lookup", json={"holder": shared.party, **question})

    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_the_largest_lookup_is_answered(shared: Site):
    """64 locators at once."""
    indexes = [{"crm": f"{n:064x}", "search": f"{n:064x}"} for n in range(64)]
    answer = shared.client().post("/proofs/lookup", json={"holder": shared.party, "locators": indexes})

    assert (answer.status_code, len(answer.json["states"])) == (200, 128)


def test_proofs_outlive_sixty_checkpoints_and_no_more(site: Site):
    """A size is answered while it is one of the last 60, then it is gone."""
    examples = site.examples()
    path = f"/proofs/row/{examples['entry_id']}/{examples['index']}?size={examples['size']}"
    for n in range(59):
        site.world.publish(site.holder.systems(descriptor(f"s{n}")))
    assert _json(site, path)["checkpoint"]
    site.world.publish(site.holder.systems(descriptor("last")))

    assert _json(site, path, 410)["code"] == "proof/gone"


def test_transition_proofs_are_served_by_epoch(shared: Site):
    """Each epoch's proof is CBOR; an epoch that is not there is not found."""
    newest = shared.examples()["epoch"]
    answer = shared.client().get(f"/proofs/transition/{newest}")

    assert (answer.status_code, answer.content_type) == (200, "application/cbor")
    assert answer.data == shared.node.transition(newest)
    assert _json(shared, f"/proofs/transition/{newest + 1}", 404)["code"] == "transition/unknown"


def test_health_follows_the_node(site: Site):
    """200 while the node works; 503 with the reason once the log has been silent too long."""
    assert _json(site, "/healthz") == {"status": "ok", "ended": False}
    site.world.clock.advance(4000)
    answer = site.client().get("/healthz")

    assert (answer.status_code, answer.json["code"]) == (503, "node/silent")
    assert answer.headers["Retry-After"]


def test_an_unhealthy_node_takes_nothing_in(site: Site):
    """503 with Retry-After while the clock runs behind; what is published can still be read."""
    rows = site.rows()
    statement = site.hold(rows)
    site.world.clock.advance(-100)
    answer = site.client().post("/entries", data=statement.entry, content_type="application/cose")

    assert (answer.status_code, answer.json["code"]) == (503, "clock/behind")
    assert answer.headers["Retry-After"]
    with pytest.raises(Unavailable):
        site.node.healthy()
    assert site.client().get("/checkpoint").status_code == 200
