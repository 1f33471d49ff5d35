"""Logs whose pages are looked at: one with everything in it, and such as stand at the edges."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flask import Flask
from waitress import wasyncore

from attest.api import create_app
from attest.api.server import make_server
from attest.crypto.keys import SigningKey, thumbprint
from attest.formats.policy import Policy, add_witness
from attest.formats.rows import RowFile
from attest.formats.statement import Keys, NewKey, PartyEnd, Tombstone, possession_message
from attest.holder import vault
from attest.holder.sources import Rows, Template
from attest.node import Node
from tests.holder.company import Company
from tests.witnessing.stock import StockWitness, connect_to
from tests.witnessing.test_client import eventually
from tests.world import ORIGIN, Holder, SimulatedClock, World, descriptor, random_rows

DAY: Final = 86_400
# 200 characters: the longest that a party may be called. Hardly a place to break it.
LONG: Final = f"Allgemeine {'Donaudampfschifffahrtselektrizitätenhauptbetriebswerk' * 4}"[:183] + " Gesellschaft mbH"
LONG_ID: Final = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 40}.example"
HEBREW: Final = "חברת המחיקה המאומתת בע״מ \u202e(evil)"
MARKUP: Final = "<script>alert(\"x\")</script> & 'Söhne' <b>GmbH</b>"
SYSTEMS: Final = 30  # of the holder of many: more than a page shows
STATEMENTS: Final = 130  # of the busy one: more than a page shows
WITNESSES: Final = ("witness.example/one", "long-witness-name.transparency.example/two", "state.example/three")
GONE: Final = "gone@example.org"
ADA, BOB, EVE = "ada@example.org", "bob@example.org", "eve@example.org"


@dataclass
class Served:
    """A log and where its pages are."""

    url: str
    world: World
    company: Company | None = None  # with keepsakes
    keepsakes: dict[str, bytes] | None = None  # by e-mail address, made while they were held

    @property
    def node(self) -> Node:
        return self.world.node


def ago(days: float) -> SimulatedClock:
    """Start that long ago: browsers have the clock of the machine."""
    return SimulatedClock(int(time.time() - days * DAY))


@contextmanager
def serving(app: Flask, threads: int = 4) -> Iterator[str]:
    """Serve on loopback, as `attest serve` does."""
    sockets: dict[int, Any] = {}
    server = make_server(app, host="127.0.0.1", port=0, threads=threads, sockets=sockets)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.trigger.pull_trigger(lambda: wasyncore.close_all(sockets))
        thread.join(10)
        server.task_dispatcher.shutdown()


@contextmanager
def served(world: World, company: Company | None = None, keepsakes: dict[str, bytes] | None = None) -> Iterator[Served]:
    """Serve a world, which is closed afterwards."""
    with serving(create_app(world.node, wait_s=0)) as url:
        yield Served(url, world, company, keepsakes)
    world.close()


def empty(directory: Path) -> World:
    """A log with no holder and no witness."""
    world = World(directory, clock=ago(0.001))
    world.step()
    return world


def stale(directory: Path) -> World:
    """A log that has been silent for a month, with one holder whose one system is empty."""
    world = World(directory, clock=ago(30))
    world.holder("quiet.example", descriptor("crm"))
    return world


def ended(directory: Path) -> World:
    """A log that has ended, and names the one that continues it."""
    world = World(directory, clock=ago(2), successor="next.example/log")
    acme = world.holder("acme.example", descriptor("crm"))
    rows = RowFile.build(random_rows(3))
    world.publish(acme.hold("crm", rows), rows)
    world.clock.advance(DAY)
    world.node.retire(pause=world.clock.advance)
    return world


EDGES: Final = {"empty": empty, "stale": stale, "ended": ended}


def rich(directory: Path) -> tuple[World, Company, dict[str, bytes]]:
    """A log with two witnesses and a state witness, and holders of every sort."""
    world = World(directory / "log", clock=ago(90), witness_wait_s=10.0, witness_timeout_s=3.0)
    hire(world, WITNESSES)
    company, keepsakes = _acme(world, directory / "acme")
    keepsakes[GONE] = _beta(world, directory / "beta")
    _strange(world)
    _many(world)
    _busy(world)
    # The newest checkpoint is about now.
    world.clock.now = max(world.clock.now, int(time.time()) - 60)
    world.step()
    # Its state witness cosigns in its own time; what is looked up is answered where it has.
    eventually(lambda: world.node.step() and world.node.view.checked)
    return world, company, keepsakes


def hire(world: World, names: Sequence[str]) -> None:
    """Let the log name witnesses, the last of them a state witness, and ask them from now on."""
    vkey = world.policy.logs[0].verifier.encode()
    witnesses = [StockWitness(name, ORIGIN, vkey, world.clock) for name in names]
    main = state = Policy(world.policy.logs, (), (), None)
    for each in witnesses[:-1]:
        main = add_witness(main, each.name, each.url, [each.vkey])
    state = add_witness(state, witnesses[-1].name, witnesses[-1].url, [witnesses[-1].vkey])
    world.config.path(world.config.policy).write_bytes(main.encode())
    world.config.path(world.config.state_policy).write_bytes(state.encode())
    world.policy = main
    world.connect = connect_to(witnesses)
    world.node.stop()
    world.node = world.open()


def _acme(world: World, directory: Path) -> tuple[Company, dict[str, bytes]]:
    """A company with the real SDK: Ada erased, Bob held, Eve held again; a system that does not know addresses."""
    vault.PRAGMAS["synchronous"] = "OFF"  # power loss is not what these tests look at
    company = Company(world, directory, systems=())
    descriptors = [
        descriptor("crm", assets=("email", "name"), retention="2 years after the last order"),
        descriptor("search", "search"),
        descriptor("tape", "backup", backup_cycle=35 * DAY, retention="5 weeks"),
        descriptor("calls", "log", locators=("phone",)),
        descriptor("legacy"),
        descriptor("vault", "paper"),
    ]
    keepsakes = {}
    with company.open() as holder:
        holder.add_systems(descriptors)
        world.clock.advance(3 * DAY)
    for systems, people in ((("crm", "search", "tape"), (ADA, BOB)), (("crm",), (EVE,)), (("legacy",), (BOB,))):
        rows = [{"email": each, "name": each.partition("@")[0]} for each in people]
        for system in systems:
            company.hold(rows, system)
            world.clock.advance(DAY)
    with company.open() as holder:
        holder.hold("calls", Rows([{"phone": "+4930123456"}]), Template("phone:{phone}"))
        keepsakes = {each: holder.keepsake(f"email:{each}").encode() for each in (ADA, BOB, EVE)}
    for system, person in (("crm", ADA), ("search", ADA), ("tape", ADA), ("legacy", BOB), ("crm", EVE)):
        world.clock.advance(2 * DAY)
        company.erase([person], system)
    world.clock.advance(DAY)
    company.hold([{"email": EVE, "name": "eve"}], "crm", cause="restored")
    with company.open() as holder:
        holder.retire_system("legacy")
        world.clock.advance(DAY)
        old = next(key.kid for key in holder.all_keys() if key.use == "sign" and key.in_use)
        holder.add_key(revoke=[old])
    return company, keepsakes


def _beta(world: World, directory: Path) -> bytes:
    """A company that has erased all that it held of somebody; return their keepsake."""
    company = Company(world, directory, "beta.example")
    company.hold([{"email": GONE, "name": "gone"}, {"email": BOB, "name": "bob"}])
    with company.open() as holder:
        keepsake = holder.keepsake(f"email:{GONE}").encode()
    world.clock.advance(DAY)
    company.erase([GONE])
    return keepsake


def _admit(world: World, party: str, name: str, *, role: str = "holder", legal_id: str = "") -> Holder:
    holder = Holder(party, world.clock, role, name=name, legal_id=legal_id)
    world.admit(holder)
    world.holders[party] = holder
    return holder


def _strange(world: World) -> None:
    """Holders whose names are hard to show, one that has ended, one without systems, and an authority."""
    for party, name in ((LONG_ID, LONG), ("xn--4dbrk0ce.example", HEBREW), ("markup.example", MARKUP)):
        each = _admit(world, party, name, legal_id=name)
        world.publish(each.systems(descriptor("a" * 64 if name == LONG else "db", retention=name)))
        rows = RowFile.build(random_rows(7))
        world.publish(each.hold("a" * 64 if name == LONG else "db", rows), rows)
    gone = _admit(world, "gone.example", "Gone Inc")
    world.publish(gone.systems(descriptor("db")))
    rows = RowFile.build(random_rows(5))
    world.publish(gone.hold("db", rows), rows)
    world.node.operate(PartyEnd(), gone.id, pause=world.clock.advance)
    _admit(world, "bare.example", "Bare Ltd")
    _admit(world, "cnil.example", "A regulator", role="authority")


def _many(world: World) -> None:
    """A holder of more systems than a page shows, the first with thousands of records."""
    many = _admit(world, "many.example", "Many Systems plc")
    world.publish(many.systems(*(descriptor(f"shard-{n:02}") for n in range(SYSTEMS))))
    for n in range(4):
        rows = RowFile.build(random_rows(700 * (n + 1)))
        world.publish(many.hold("shard-00", rows), rows)
        world.clock.advance(4 * DAY)
        some = dict(zip(rows.indexes[: 100 * n + 50], rows.commitments, strict=False))
        part = RowFile.build(some)
        world.publish(many.erase("shard-00", part), part)
        world.clock.advance(2 * DAY)


def _busy(world: World) -> None:
    """A holder with more statements than a page lists, all in a few seals, who has changed its key."""
    busy = _admit(world, "busy.example", "Busy AG")
    world.publish(busy.systems(descriptor("db")))
    for n in range(STATEMENTS):
        rows = RowFile.build(random_rows(1 + n % 3))
        world.submit(busy.hold("db", rows), rows)
        if n % 50 == 49:
            world.step(3_600)
    world.step()
    fresh = SigningKey.generate()
    change = Keys((NewKey(fresh.public, "sign", bytes(64)),), (thumbprint(busy.key.public),))
    proof = fresh.sign(possession_message(ORIGIN, busy.id, change))
    world.publish(busy.sign(Keys((NewKey(fresh.public, "sign", proof),), change.revoke)))
    busy.key = fresh
    last = RowFile.build(random_rows(2))
    world.publish(busy.hold("db", last, "backfill"), last)
    at = int(world.clock())
    payload = Tombstone(len(last), last.root(), at, "nist:purge:cryptographic_erase", "physical", "gdpr:17(1)(b)")
    world.publish(busy.sign(payload, "db"), last)
