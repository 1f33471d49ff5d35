"""A log whose operator signs what the rules forbid: what is bound, but should never have been."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from attest.crypto import commitment
from attest.encoding import decode_cbor, encode_cbor, labelled
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.note import Note, sign_text
from attest.formats.state import state_value, system_key, top_key
from attest.formats.statement import Epoch, Signer, Statement, sign_statement
from attest.merkle import sparse, tree
from tests.verify.world import Holder, World, b64, key

Fields = dict[str, Any]


def unchanged(value: Any) -> Any:
    return value


def raw(text: str) -> bytes:
    return base64.b64decode(text)


def again(old: Statement, signer: str | Signer, **changes: Any) -> Statement:
    """Return a statement as it was but for `changes`, signed anew."""
    said = {
        "issuer": old.issuer, "stream": old.stream, "audience": old.audience, "issued_at": old.issued_at,
        "seq": old.seq, "about": old.about, "payload": old.payload, **changes,
    }  # fmt: skip
    return sign_statement(key(signer) if isinstance(signer, str) else signer, said.pop("payload"), **said)


def mixed_order(public: bytes) -> bytes:
    """Return the key plus the point of order 2, about whose signatures verifiers disagree."""
    found = int.from_bytes(public, "little")
    y, sign = found & (2**255 - 1), found >> 255
    return (2**255 - 19 - y | (1 - sign) << 255).to_bytes(32, "little")


@dataclass(frozen=True)
class OddKey:
    """A key of a party, shown as its mixed-order twin."""

    name: str

    @property
    def public(self) -> bytes:
        return mixed_order(key(self.name).public)

    def sign(self, message: bytes) -> bytes:
        return key(self.name).sign(message)


def erased_once() -> tuple[World, Holder, Fields]:
    """Return a world with one erasure in one of two systems, and the certificate of it."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database", files="saas")
    world.hold(acme, "db", "email:ada@example.org", "email:bob@example.org")
    world.hold(acme, "files", "email:bob@example.org")
    world.epoch()
    world.epoch()
    world.erase(acme, "db", "email:ada@example.org")
    world.epoch()
    return world, acme, world.bundle("certificate", acme, "email:ada@example.org")


def rewrite(world: World, position: int, statement: Statement, size: int | None = None) -> None:
    """Put another entry in the place of one, and sign the checkpoint over that."""
    size = world.size if size is None else size
    world.entries[position] = statement
    root = tree.root([each.leaf for each in world.entries[:size]])
    text = Checkpoint(world.origin, size, root).encode()
    world.checkpoints[size] = SignedCheckpoint.parse(Note(text, (sign_text(world.origin, world.note, text),)).encode())


def recut(world: World, bundle: Fields, size: int | None = None) -> Fields:
    """Return the bundle with its entries and checkpoint as they are now."""
    size = world.size if size is None else size
    entries = [world.entry(each["position"], size) for each in bundle["entries"]]
    return {**bundle, "entries": entries, "checkpoint": world.checkpoints[size].encode().decode()}


def recommit(
    world: World,
    company: Holder,
    bundle: Fields,
    *names: str,
    state: Callable[[bytes], bytes] = unchanged,
    descriptor: Callable[[bytes], bytes] = unchanged,
    system: Callable[[Fields], Fields] = unchanged,
    head: Callable[[Fields], Fields] = unchanged,
    bind: str | None = None,
) -> Fields:
    """Return a look-up or certificate with states, descriptors and heads changed, all bound by the newest epoch.

    The maps then hold what the bundle shows and nothing else.

    Args:
        names: the locators of the bundle.
        bind: the party whose head this is in the top map, if not the holder.
    """
    bundle = json.loads(json.dumps(bundle))
    heads = {}
    for shown in bundle["systems"]:
        fields = decode_cbor(raw(shown["head"]))
        name = fields["system"]
        bound = {}
        for each in bundle["states"]:
            if each["system"] == name and each["state"] is not None:
                each["state"] = b64(state(raw(each["state"])))
                index = company.index(name, names[each["locator"]])
                bound[commitment.map_key(index)] = state_value(raw(each["state"]))
        for each in bundle["states"]:
            if each["system"] == name:
                index = company.index(name, names[each["locator"]])
                each["proof"] = b64(sparse.prove(bound, commitment.map_key(index)).encode())
        shown["descriptor"] = b64(descriptor(raw(shown["descriptor"])))
        digest = labelled("descriptor", raw(shown["descriptor"]))
        fields = system({**fields, "root": sparse.root(bound), "descriptor": digest})
        shown["head"] = b64(encode_cbor(fields))
        heads[system_key(fields["system"])] = labelled("system-head", raw(shown["head"]))
    fields = decode_cbor(raw(bundle["holder"]["head"]))
    encoded = encode_cbor(head({**fields, "systems": {"count": len(heads), "root": sparse.root(heads)}}))
    top = {top_key(company.id if bind is None else bind): labelled("party-head", encoded)}
    proof = sparse.prove(top, top_key(company.id)).encode()
    bundle["holder"] = {**bundle["holder"], "head": b64(encoded), "proof": b64(proof)}
    epoch = world.entries[world.size - 1]
    assert isinstance(epoch.payload, Epoch)
    payload = replace(epoch.payload, root=sparse.root(top))
    rewrite(world, world.size - 1, again(epoch, world.origin, payload=payload))
    return recut(world, bundle)
