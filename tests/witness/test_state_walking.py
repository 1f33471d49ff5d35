"""A state witness in front of a real log: it cosigns what it has checked, and the log publishes that."""

import time
from pathlib import Path

import httpx
import pytest

from attest.api.app import create_app
from attest.errors import AttestError, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.policy import Policy, add_witness
from attest.formats.rows import RowFile
from attest.ledger.transition import Anchor
from attest.store.anchors import AnchorStore
from attest.store.blobs import DirectoryBlobs
from attest.store.db import Database
from attest.transport import LogClient
from attest.witness.app import create_app as create_witness_app
from attest.witness.loglist import LogList, encode_log
from attest.witness.settings import Settings, WitnessKeys
from attest.witness.state import StateAssessor, open_assessor
from attest.witness.witness import Witness
from tests.world import ORIGIN, World, descriptor, random_rows


class StateWitness:
    """A state witness of one world, whose process may be ended and begun again."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.db = Database(f"sqlite:///{directory}/witness.db", "witness")
        self.db.migrate()
        self.blobs = DirectoryBlobs(directory)
        self.transport: httpx.BaseTransport = httpx.WSGITransport(create_app(world.node, wait_s=0))
        self.open()

    def open(self) -> None:
        client = LogClient("http://log.example", None, origin=ORIGIN, transport=self.transport, patience_s=0)
        self.assessor = StateAssessor(
            lambda _: client,
            self.blobs,
            AnchorStore(self.db),
            self.directory / "evidence",
            clock=self.world.clock,
            wait_s=60,
        )

    def assess(self, signed: SignedCheckpoint | None = None) -> None:
        self.assessor.assess(ORIGIN, signed or SignedCheckpoint.parse(self.world.published("checkpoint")))

    def anchor(self) -> Anchor:
        found = AnchorStore(self.db).read(ORIGIN)
        assert found is not None
        return found

    def refuses(self) -> str:
        with pytest.raises(AttestError) as caught:
            self.assess()
        return caught.value.code


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "log")
    yield world
    world.close()


@pytest.fixture
def witness(world, tmp_path):
    return StateWitness(world, tmp_path / "witness")


def test_an_honest_log_is_vouched_for(world, witness):
    """From its first checkpoint, through all kinds of statements, to the last; every row file is kept."""
    witness.assess()
    holder = world.holder("acme.example", descriptor("db"), descriptor("search", "search"))
    witness.assess()
    rows = [RowFile.build(random_rows(n)) for n in (1, 5, 50)]
    for each in rows:
        world.publish(holder.hold("db", each), each)
        world.publish(holder.hold("search", each), each)
        witness.assess()
    world.publish(holder.erase("db", rows[1]), rows[1])
    witness.assess()
    assert {each.root().hex() for each in rows} == set(witness.blobs.names("rows"))


def test_what_was_checked_is_remembered(world, witness):
    """After a restart it goes on where it was, without asking for what it knows."""
    holder = world.holder("acme.example", descriptor("db"))
    witness.assess()
    witness.open()
    witness.assess()
    rows = RowFile.build(random_rows(3))
    world.publish(holder.hold("db", rows), rows)
    witness.assess()


def test_an_old_epoch_is_not_vouched_for(world, witness):
    """The last epoch is at most 300 s away from the clock; the log cures it by a fresh one."""
    witness.assess()
    world.clock.advance(300)
    assert witness.refuses() == "witness/epoch-time"
    world.clock.advance(world.config.quiet_interval_s)
    world.step()
    witness.assess()


def test_a_log_that_is_away_is_not_refuted(world, witness):
    """It is asked again later."""

    class Away(httpx.BaseTransport):
        def handle_request(self, request):
            raise httpx.ConnectError("away")

    witness.transport, there = Away(), witness.transport
    witness.open()
    with pytest.raises(Unavailable) as caught:
        witness.assess()
    assert caught.value.code == "log/unreachable"
    witness.transport = there
    witness.open()
    witness.assess()


def test_who_was_away_for_a_day_replays_over_http(world, witness, tmp_path):
    """The log has dropped its proofs; what comes out is what a witness has that saw every epoch."""
    always = StateWitness(world, tmp_path / "always")
    witness.assess()
    holder = world.holder("acme.example", descriptor("db"))
    rows = [RowFile.build(random_rows(n)) for n in (300, 2, 40)]
    for each in rows:
        world.publish(holder.hold("db", each), each)
    world.publish(holder.erase("db", rows[0]), rows[0])
    always.assess()
    for _ in range(25 * 3600 // world.config.quiet_interval_s):
        world.step(world.config.quiet_interval_s)
        always.assess()
    assert world.node.transition(1) is None
    witness.assess()
    assert witness.anchor() == always.anchor()
    assert set(witness.blobs.names("rows")) == set(always.blobs.names("rows"))
    fresh = StateWitness(world, tmp_path / "fresh")
    fresh.assess()
    assert fresh.anchor() == always.anchor()


# --- both of them whole: the log offers, the witness checks and cosigns, the log publishes ---


class Site(httpx.BaseTransport):
    """A witness as `attest witness serve` runs it, but for the sockets."""

    def __init__(self, world: World, directory: Path) -> None:
        directory.mkdir()
        self.url = "https://state.example"
        (directory / "keys").mkdir()
        keys = WitnessKeys.create("state.example/w", directory / "keys", None)
        verifier = world.policy.logs[0].verifier
        (directory / "logs").write_text(f"logs/v0\n{encode_log(verifier, 86_400, '-')}")
        (directory / "urls").write_text(f"http://log.example {ORIGIN}\n")
        (directory / "witness.toml").write_text('name = "state.example/w"\nstate = true\n')
        settings = Settings.load(directory)
        self.db = Database(settings.database_url(), "witness")
        self.db.migrate()
        reads = httpx.WSGITransport(create_app(world.node, wait_s=0))
        self.assessor = open_assessor(settings, self.db, world.clock, transports={ORIGIN: reads})
        self.witness = Witness(keys, LogList(directory), self.db, world.clock, self.assessor)
        self.vkeys = [each.encode() for each in keys.verifiers]
        self._inner = httpx.WSGITransport(create_witness_app(self.witness))
        self.answers: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        self.answers.append(response.status_code)
        return response

    def close(self) -> None:
        self.witness.close()
        self.assessor.close()
        self.db.close()


@pytest.fixture
def site(world, tmp_path):
    """A log whose one state witness is a real one."""
    found = Site(world, tmp_path / "state")
    policy = Policy(world.policy.logs, (), (), None)
    policy = add_witness(policy, "state.example/w", found.url, found.vkeys, None)
    world.config.path(world.config.state_policy).write_bytes(policy.encode())
    world.connect = lambda url: httpx.Client(transport=found)
    world.node.stop()
    world.restart()
    yield found
    found.close()


def test_a_log_and_its_state_witness_find_each_other(world, site):
    """Every checkpoint that is published has been checked; a look-up is answered at one of them."""
    holder = world.holder("acme.example", descriptor("db"))
    for count in (1, 40, 3):
        rows = RowFile.build(random_rows(count))
        world.publish(holder.hold("db", rows), rows)
        world.publish(holder.erase("db", rows), rows)
    deadline = time.monotonic() + 30
    while not (world.node.step() and world.node.view.checked) and time.monotonic() < deadline:
        time.sleep(0.02)
    view = world.node.browse.log()
    assert view["checked"]["size"] == view["size"]
    assert 422 not in site.answers
    policy = Policy.parse(world.config.path(world.config.state_policy).read_bytes())
    answer = world.node.lookup("acme.example", [{"db": bytes(32)}], None)
    assert policy.check(SignedCheckpoint.parse(answer["checkpoint"])).quorum
