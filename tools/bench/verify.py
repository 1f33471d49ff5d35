"""Sizes of what travels, and how long a verdict takes."""

import os
import time
from typing import Any

from attest.crypto import vrf
from attest.formats.bundle import Bundle
from attest.formats.rows import RowFile
from attest.formats.statement import Descriptor, Epoch, Hold, Statement, Systems, issuer_of, sign_statement
from attest.ledger.epoch import Draft
from attest.ledger.transition import Anchor, prove_transition, verify_transition
from tests.verify.world import World, key

ADA = "email:ada@example.org"
_ROUNDS = 30


def run() -> list[dict[str, Any]]:
    """Measure on one core; the VRF verification of one locator stands beside each verdict."""
    results: list[dict[str, Any]] = []
    prover = vrf.Prover(bytes(32))
    pi, _ = prover.prove(b"x")
    floor = _milliseconds(lambda: vrf.verify(prover.public_key, b"x", pi))
    for count, rows in ((3, 20_000), (10, 10_000), (40, 2_000), (400, 200)):
        world, acme = _world(count, rows)
        encoded = Bundle.from_json(world.bundle("lookup", acme, ADA)).encode()
        verdict = world.ask({}, acme, ADA, encoded=encoded, expect="held")
        if verdict.outcome != "holds":
            raise RuntimeError(f"the bench's own bundle is {verdict.outcome}: {verdict.reason}")
        spent = _milliseconds(lambda: world.ask({}, acme, ADA, encoded=encoded, expect="held"))  # noqa: B023
        name = f"look-up over {count} systems of {rows:,} keys"
        peer = {"peer": "one VRF verify", "peer_value": floor, "ratio": spent / floor}
        results.append({"name": f"{name}: verdict", "value": spent, "unit": "ms", **peer})
        results.append({"name": f"{name}: file", "value": len(encoded), "unit": "bytes"})
        if count == 3:
            results += _sizes(world, acme)
    return results


def _world(systems: int, rows: int) -> tuple[World, Any]:
    """Return a world with one holder of so many systems, each with so many strangers and Ada."""
    world = World()
    acme = world.admit("acme.example")
    names = [f"system-{n:03}" for n in range(systems)]
    for start in range(0, systems, 50):
        some = [Descriptor(n, "database", (), ("email",), None, None, None, False) for n in names[start : start + 50]]
        world.by_holder(acme, Systems(tuple(some)))
    for name in names:
        file = RowFile.build({os.urandom(32): os.urandom(32) for _ in range(rows)})
        world.rows[file.root()] = file
        world.by_holder(acme, Hold(len(file), file.root(), "backfill"), name)
        world.hold(acme, name, ADA)
    world.epoch()
    return world, acme


def _sizes(world: World, acme: Any) -> list[dict[str, Any]]:
    ledger = world.ledger
    kinds = {statement.payload.KIND: len(statement.entry) for statement in world.entries}
    results = [{"name": f"statement {kind}", "value": size, "unit": "bytes"} for kind, size in sorted(kinds.items())]
    results += [
        {"name": "party head of a holder", "value": len(ledger.parties[acme.id].encode()), "unit": "bytes"},
        {"name": "system head", "value": len(ledger.systems_of(acme.id)[0].encode()), "unit": "bytes"},
    ]
    for count in (1, 1_000, 20_000):
        file = RowFile.build({os.urandom(32): os.urandom(32) for _ in range(count)})
        world.rows[file.root()] = file
        world.by_holder(acme, Hold(len(file), file.root(), "backfill"), "system-000")
        draft = Draft(ledger)
        draft.add(world.pending[-1], file)
        epoch = _epoch(world, draft)
        proof = prove_transition(ledger, draft, epoch)
        anchor = _anchor(world)
        start = time.perf_counter()
        verify_transition(proof, anchor, lambda root: world.rows[root].encoded)
        seconds = time.perf_counter() - start
        world.pending.clear()
        acme.seqs["system-000"] -= 1
        name = f"transition proof, {count:,} keys into 20,000"
        results.append({"name": name, "value": len(proof) / count, "unit": "bytes/key"})
        results.append({"name": f"{name}: check", "value": count / seconds, "unit": "keys/s"})
    return results


def _epoch(world: World, draft: Draft) -> Statement:
    head = draft.party(world.origin)
    if head is None or head.log is None:
        raise RuntimeError("the log has no head")
    own, later = issuer_of(world.origin), world.now + 10
    payload = Epoch(head.log.epochs, later, draft.close().root)
    return sign_statement(
        key(world.origin), payload, issuer=own, stream=own, audience=world.origin, issued_at=later, seq=head.own
    )


def _anchor(world: World) -> Anchor:
    ledger = world.ledger
    return Anchor(ledger.genesis, ledger.size, ledger.frontier.root(), ledger.previous)


def _milliseconds(work: Any) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best * 1000
