"""A monitor tells what happens in a log: all of it, once, in order, and whatever dies in between."""

import base64
import itertools
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext

from attest.audit.delivery import Lines
from attest.audit.events import Watch
from attest.audit.memory import Progress
from attest.audit.monitor import Kept, Look, Monitor
from attest.audit.source import DirectorySource, HttpSource
from attest.crypto import commitment
from attest.errors import Conflict, Malformed, Unavailable
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyGroup, PolicyWitness
from attest.formats.state import vrf_key_digest
from attest.resources import resources
from attest.store import audited, register
from attest.store.audited import Stored
from attest.store.db import Database
from attest.transport import LogClient
from tests.audit.published import policy, publish
from tests.ledger import model
from tests.ledger.log import ORIGIN, START, Log, descriptor, row_of, rows_of
from tests.ledger.model import Key
from tests.service.crashing import Crash, Writes
from tests.witness.lies import ACME, BETA, Operator, busy, stage

BETA_OUT = bytes(range(64))


@dataclass
class Taken:
    """A target in memory."""

    most = 3
    events: list[dict] = field(default_factory=list)
    open: bool = True

    def send(self, events: Sequence[Stored]) -> None:
        if not self.open:
            raise Unavailable("monitor/undelivered", "not now")
        for each in events:
            event = json.loads(each.event)
            assert event["id"] == each.id
            self.events.append(event)

    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events]


@dataclass
class Scene:
    """A log in a directory, and a clock."""

    folder: Path
    operator: Operator
    now: int = START + 100
    policy: Policy = field(default_factory=policy)

    @property
    def log(self) -> Log:
        return self.operator.log

    @property
    def place(self) -> Path:
        return self.folder / "log"

    def publish(self) -> None:
        """Close the epoch, and publish."""
        self.operator.publish(self.log.epoch())
        publish(self.operator, self.place)

    def memory(self) -> Kept:
        (self.folder / "state").mkdir(exist_ok=True)
        return Kept(self.folder / "state")

    def monitor(self, memory: Kept, **more) -> Monitor:
        source = more.pop("source", None) or DirectorySource(self.place)
        live = more.pop("live", False)
        return Monitor(source, self.policy, "here", memory, live=live, clock=lambda: self.now, **more)

    def once(self, **more) -> tuple[Look, list[dict]]:
        """Look and deliver in a process of its own."""
        taken, memory = Taken(), self.memory()
        try:
            monitor = self.monitor(memory, **more)
            look = monitor.look()
            monitor.deliver(taken)
        finally:
            memory.flush()
            memory.close()
        return look, taken.events


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    operator = Operator(stage().copy())
    publish(operator, tmp_path / "log")
    return Scene(tmp_path, operator)


def watch(name: str = "ada.keepsake", holder: str = ACME) -> Watch:
    """A keepsake whose holder is known by the VRF key of tests/ledger/log.py."""
    return Watch(name, holder, model.sha256(holder.encode()), BETA_OUT)


def ada(system: str, version: int = 0) -> dict[bytes, bytes]:
    """The row of the watched subject."""
    return {commitment.index(ACME, system, BETA_OUT): model.sha256(b"ada %d" % version)}


def b64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def kinds(events: list[dict]) -> list[str]:
    return [event["kind"] for event in events]


def test_what_happens_is_told_once_and_in_order(scene):
    """All of the past at the first look, then what is new, then nothing."""
    look, events = scene.once()
    assert look.problem is None
    assert kinds(events) == [
        *["party-admitted"] * 3,
        *["system-registered"] * 3,
        "key-added",
        "system-registered",
        "checkpoint",
    ]
    assert [event["position"] for event in events] == sorted(event["position"] for event in events)
    assert scene.once()[1] == []

    scene.operator.log = busy()
    scene.log.epoch()
    scene.operator.publish(scene.log.proofs[-1])
    publish(scene.operator, scene.place)
    _, events = scene.once()
    assert kinds(events) == [
        "reheld",
        "system-changed",
        "key-revoked",
        "party-ended",
        "party-admitted",
        "checkpoint",
        "finding",  # one of them with the commitment that was erased
    ]
    assert events[0]["details"] == {"rows": 1, "cause": "collected"}
    assert events[0]["time"] == scene.log.time
    assert scene.once()[1] == []


def test_ids_are_those_of_whoever_looks(scene, tmp_path):
    """One who looks at every epoch and one who comes late tell the same, except for checkpoints one did not see."""
    often: list[dict] = []
    often += scene.once()[1]
    for number in range(3):
        scene.log.hold(ACME, "db", rows_of(50 + number))
        scene.log.keys(ACME, **{f"key{number}": "sign"})
        scene.publish()
        often += scene.once()[1]
    late = Scene(tmp_path / "late", scene.operator)
    late.folder.mkdir()
    publish(scene.operator, late.place)
    found = late.once()[1]
    assert [event for event in often if event["kind"] != "checkpoint"] == found[:-1]
    assert often[-1] == found[-1]
    # Docs/spec/audit.md#events, transcribed.
    event = found[0]
    parts = [ORIGIN.encode(), event["position"].to_bytes(8, "big"), b"party-admitted", ACME.encode(), b""]
    assert event["id"] == model.label("event", *parts).hex()


def test_the_past_may_be_skipped(scene):
    """Even where the first look is interrupted."""
    memory = scene.memory()
    monitor = scene.monitor(memory, skip_past=True)
    monitor.stopped.set()
    with pytest.raises(Unavailable, match="monitor/stopped"):
        monitor.look()
    memory.close()
    assert kinds(scene.once(skip_past=True)[1]) == ["checkpoint"]
    scene.log.admit("new.example", "auditor")
    scene.publish()
    assert kinds(scene.once()[1]) == ["party-admitted", "checkpoint"]


def test_a_memory_that_somebody_else_took_further_is_read_again(scene):
    """An audit in the same directory tells nothing: the monitor does."""
    scene.once()
    scene.log.admit("new.example", "auditor")
    scene.publish()
    from attest.audit.audit import Order, audit

    memory = scene.memory()
    audit(DirectorySource(scene.place), Order(scene.policy, "here", 0, live=False), memory, None)
    memory.close()
    assert kinds(scene.once()[1]) == ["party-admitted", "checkpoint"]


# --- watched keepsakes ---


def live(scene: Scene) -> Iterator[list[dict]]:
    """The life of a watched subject, epoch by epoch."""
    log = scene.log
    log.hold(ACME, "db", ada("db") | rows_of(20))
    yield ["watched-held"]
    log.hold(ACME, "db", ada("db", 1))
    yield ["watched-changed"]
    log.tombstone(ACME, "db", ada("db", 1))
    yield ["watched-erased"]
    log.systems(ACME, descriptor("later"))
    log.hold(ACME, "later", ada("later"))
    yield ["system-registered", "watched-held"]
    log.hold(ACME, "db", ada("db", 2))
    yield ["reheld", "watched-held-anew"]
    log.hold(BETA, "crm", rows_of(30))
    yield []


def test_a_watched_keepsake_is_followed(scene):
    """Held, changed, erased, held in a system registered later, held anew; and what others do is nothing."""
    scene.once(watches=[watch()])
    for expected in live(scene):
        scene.publish()
        _, events = scene.once(watches=[watch()])
        assert kinds(events) == [*expected, "checkpoint"]
        for event in events:
            if event["kind"].startswith("watched"):
                assert event["details"]["keepsake"] == "ada.keepsake"
                assert event["details"]["holder"] == ACME
                entry = scene.operator.entries[event["position"]]
                erased = event["kind"] == "watched-erased"
                assert event["details"]["said"]["kind"] == ("tombstone/1" if erased else "hold/1")
                assert event["details"]["said"].keys().isdisjoint({"count", "root"})
                assert event["details"]["evidence"]["entry_id"] == b64url(model.leaf(entry))


def test_events_name_no_pseudonym(scene):
    """Neither the index nor the key nor the VRF output is in what leaves, or in an id that one could try indexes on."""
    told: list[dict] = []
    for _ in live(scene):
        scene.publish()
        told += scene.once(watches=[watch()])[1]
    text = json.dumps(told)
    for system in ("db", "later"):
        index = commitment.index(ACME, system, BETA_OUT)
        for secret in (index, commitment.map_key(index), BETA_OUT, ada(system)[index]):
            assert secret.hex() not in text
            assert b64url(secret) not in text


def test_who_comes_late_learns_how_it_stands(scene):
    """A keepsake that is watched later: its latest state in each system, under the ids of who watched all the time."""
    early: list[dict] = []
    for _ in live(scene):
        scene.publish()
        early += scene.once(watches=[watch()])[1]
    other = Scene(scene.folder / "other", scene.operator)
    other.folder.mkdir()
    publish(scene.operator, other.place)
    other.once()
    _, found = other.once(watches=[watch()])
    ids = {event["id"] for event in early}
    assert kinds(found) == ["watched-held", "watched-held-anew"]
    assert {event["id"] for event in found} <= ids
    assert {event["time"] for event in found} <= {event["time"] for event in early}
    assert other.once(watches=[watch()])[1] == []
    # One that is dropped and taken up again is not told twice.
    assert other.once()[1] == []
    assert other.once(watches=[watch()])[1] == []


def test_another_keepsake_of_the_same_name_is_refused(scene):
    """Its events would have the ids of those of the first."""
    scene.once(watches=[watch()])
    other = Watch("ada.keepsake", ACME, model.sha256(ACME.encode()), bytes(64))
    with pytest.raises(Conflict, match="monitor/watch"):
        scene.once(watches=[other])
    with pytest.raises(Malformed, match="monitor/name"):
        scene.once(watches=[watch(), other])


def test_a_watch_that_sees_nothing_is_told(scene):
    """The keepsake was made under a VRF key that the holder does not have."""
    blind = Watch("ada.keepsake", ACME, vrf_key_digest(3, bytes(32)), BETA_OUT)
    assert kinds(scene.once(watches=[blind])[1])[-1] == "watch-blind"
    assert scene.once(watches=[blind])[1] == []
    assert kinds(scene.once()[1]) == []


def test_watching_reads_what_an_audit_reads(scene):
    """The log sees the same requests whether somebody watches or not."""

    class Recording(DirectorySource):
        def __init__(self, place: Path) -> None:
            super().__init__(place)
            self.asked: set[str] = set()

        def read(self, path: str, most: int) -> bytes | None:
            self.asked.add(path)
            return super().read(path, most)

    for _ in live(scene):
        scene.publish()
    asked = []
    for name, watches in (("a", []), ("b", [watch()])):
        other = Scene(scene.folder / name, scene.operator)
        other.folder.mkdir()
        source = Recording(scene.place)
        other.once(watches=watches, source=source)
        other.once(watches=watches, source=source)
        asked.append(source.asked)
    assert asked[0] == asked[1]


# --- what lasts ---


class Absent:
    """A log that does not answer, as somebody else has it."""

    def __init__(self, error) -> None:
        self.error = error

    def read(self, path: str, most: int) -> bytes | None:
        raise self.error

    def forget(self, path: str) -> bool:
        return False

    def widths(self, path: str) -> list[int]:
        return []


def test_a_log_that_does_not_answer_is_told_after_a_while(scene):
    """And told again when it is back; what it says meanwhile is nobody's code."""
    scene.once()
    said = {"code": "store/full", "detail": "we are the log, and say this to stop you"}
    client = LogClient(
        "http://log.example", None, transport=httpx.MockTransport(lambda _: httpx.Response(409, json=said))
    )
    absent = HttpSource(client)
    look, events = scene.once(source=absent)
    assert events == [] and look.problem is not None and look.problem.code == "audit/unreadable"
    scene.now += 599
    assert scene.once(source=absent)[1] == []
    scene.now += 1
    [event] = scene.once(source=absent)[1]
    assert (event["kind"], event["details"]["since"]) == ("log-unreachable", START + 100)
    scene.now += 1000
    assert scene.once(source=absent)[1] == []
    [event] = scene.once()[1]
    assert (event["kind"], event["details"]["until"]) == ("log-back", scene.now)
    # The next time is another event.
    scene.once(source=absent)
    scene.now += 600
    assert kinds(scene.once(source=absent)[1]) == ["log-unreachable"]


def test_a_short_absence_is_not_told(scene):
    scene.once()
    scene.once(source=Absent(Unavailable("log/unreachable", "")))
    scene.now += 10
    assert scene.once()[1] == []
    scene.now += 10_000
    assert scene.once(source=Absent(Unavailable("log/unreachable", "")))[1] == []


def test_a_log_that_drips_is_unreachable(scene):
    """A look has a time: fifteen minutes, and longer only while enough comes in."""
    seconds = itertools.count(step=400)
    look, _ = scene.once(clock_s=lambda: next(seconds))
    assert look.problem is not None and look.problem.code == "log/stalled"


def test_silence_is_told_and_its_end(scene):
    """The log's own promise decides, here 3600 s."""
    scene.once()
    scene.now = scene.log.time + 3600
    assert scene.once(live=True)[1] == []
    scene.now += 1
    [event] = scene.once(live=True)[1]
    assert (event["kind"], event["severity"]) == ("log-silent", "fault")
    assert scene.once(live=True)[1] == []
    scene.log.time = scene.now
    scene.publish()
    assert kinds(scene.once(live=True)[1]) == ["checkpoint", "log-speaks"]


def test_witnesses_that_go_and_come_back_are_told(scene):
    """Each by name, and the quorum by itself."""
    from attest.formats.checkpoint import SignedCheckpoint
    from attest.formats.cosignature import cosign_ed25519
    from attest.formats.note import Note

    names = ("one", "two")
    witnesses = tuple(
        PolicyWitness(n, NoteVerifier.of(f"{n}.example/w", KeyType.COSIGNATURE, Key(n).public)) for n in names
    )
    scene.policy = Policy(policy().logs, witnesses, (PolicyGroup("q", 2, names),), "q")

    def sign(*by: str) -> None:
        scene.log.time += 10
        scene.operator.publish(scene.log.epoch())
        signed = scene.operator.signed()
        lines = [cosign_ed25519(f"{n}.example/w", Key(n), signed.checkpoint, START) for n in by]
        note = Note(signed.note.text, (*signed.note.signatures, *lines))
        publish(scene.operator, scene.place, SignedCheckpoint(signed.checkpoint, note))

    sign("one", "two")
    scene.once()
    sign("one")
    assert kinds(scene.once()[1]) == ["checkpoint"]
    scene.now += 600
    events = scene.once()[1]
    assert [(event["kind"], event["subject"]) for event in events] == [
        ("quorum-missing", ""),
        ("witness-gone", "two"),
    ]
    sign("one", "two")
    assert kinds(scene.once()[1]) == ["checkpoint", "quorum-met", "witness-back"]


def test_files_that_are_missing_or_wrong_are_told_and_so_is_their_end(scene):
    """What is missing after a while, what is wrong at once; neither hides what comes after it is repaired."""
    scene.once()
    scene.log.hold(ACME, "db", rows_of(70))
    scene.publish()
    [root] = [root for root in scene.log.files if root not in stage().files]
    file = scene.place / "rows" / root.hex()
    rows = file.read_bytes()
    file.unlink()
    look, events = scene.once()
    assert look.problem is not None and not look.grave and events == []
    scene.now += 600
    assert [(event["kind"], event["severity"]) for event in scene.once()[1]] == [("files-missing", "missing")]
    file.write_bytes(rows[:63] + bytes([rows[63] ^ 1]))
    [event] = scene.once()[1]
    assert (event["kind"], event["severity"], event["subject"]) == (
        "files-wrong",
        "fault",
        f"served/rows rows/{root.hex()}",
    )
    file.write_bytes(rows)
    assert kinds(scene.once()[1]) == ["checkpoint", "files-right", "files-there"]


def test_what_fails_is_asked_less_and_less_often(scene):
    """Every minute, then after two, four, eight, and at most ten; and every minute again when it is back."""

    class Waiting(threading.Event):
        """Time passes when one waits."""

        def wait(self, timeout: float | None = None) -> bool:
            scene.now += int(timeout or 0)
            return self.is_set()

    asked: list[int] = []

    class Sometimes(DirectorySource):
        def read(self, path: str, most: int) -> bytes | None:
            if path == "checkpoint":
                asked.append(scene.now - START)
            if START + 200 < scene.now < START + 3000:
                raise Unavailable("log/unreachable", "")
            return super().read(path, most)

    memory, taken = scene.memory(), Taken()
    monitor = scene.monitor(memory, source=Sometimes(scene.place), clock_s=lambda: float(scene.now))
    monitor.stopped = Waiting()

    def said(_) -> None:
        if len(asked) == 11:
            monitor.stopped.set()

    assert monitor.run(taken, 60, said) is False
    memory.close()
    assert asked == [100, 160, 220, 340, 580, 1060, 1660, 2260, 2860, 3460, 3520]
    assert taken.kinds()[-2:] == ["log-unreachable", "log-back"]
    assert [event["time"] - START for event in taken.events[-2:]] == [1060, 3460]


# --- lies ---


def test_a_lie_is_told_once_with_its_evidence(scene):
    """Two histories: the finding names a file in the state directory."""
    scene.once()
    for log in (one := scene.log.copy(), other := scene.log.copy()):
        log.hold(ACME, "db", rows_of(80 if log is one else 81))
        log.epoch()
    publish(Operator(one), scene.place)
    scene.once()
    publish(Operator(other), scene.place)
    look, [event] = scene.once()
    assert look.grave
    assert (event["kind"], event["severity"], event["details"]["code"]) == ("finding", "lie", "log/fork")
    assert (scene.folder / "state" / "evidence" / event["details"]["evidence"]["file"]).is_file()
    look, events = scene.once()
    assert look.grave and events == []


def test_a_contradiction_is_told_and_the_log_followed_on(scene):
    """A holder takes up the commitment that it had erased."""
    scene.once()
    scene.log.hold(ACME, "db", row_of(3))
    scene.publish()
    look, events = scene.once()
    assert not look.grave and look.problem is None
    assert [(event["kind"], event["severity"]) for event in events] == [
        ("reheld", "news"),
        ("checkpoint", "news"),
        ("finding", "contradiction"),
    ]
    scene.log.hold(ACME, "db", rows_of(90))
    scene.publish()
    assert kinds(scene.once()[1]) == ["checkpoint"]


# --- the store ---


def test_a_memory_of_the_first_version_is_brought_up_to_date(tmp_path):
    """What was verified stays; the tables are those that the code speaks of."""
    state = tmp_path / "state"
    state.mkdir()
    db = Database(f"sqlite:///{state}/audit.db", "auditor")
    with db.write() as transaction:
        config = AlembicConfig()
        config.set_main_option("script_location", str(resources("migrations") / "auditor"))
        config.attributes["connection"] = transaction
        command.upgrade(config, "auditor_0001")
    note = Operator(stage().copy()).signed()
    with db.write() as transaction:
        register.replace(transaction, ORIGIN, None, note.encode().decode())
    db.close()
    memory = Kept(state)
    memory.close()
    assert memory.verified(ORIGIN) == note
    with Database(f"sqlite:///{state}/audit.db", "auditor").read() as transaction:
        context = MigrationContext.configure(transaction)
        assert compare_metadata(context, audited.metadata) == []


def test_a_rotten_replay_hides_and_repeats_nothing(scene):
    """Whatever file of it is damaged, in the middle or at the end: it is made anew, and what is new is told."""
    scene.once(watches=[watch()])
    state = scene.folder / "state"
    kept = scene.folder / "kept"
    shutil.copytree(state, kept)
    scene.log.systems(ACME, descriptor("db", assets=["more"]))
    scene.log.hold(ACME, "db", ada("db") | rows_of(1, version=1))
    scene.publish()
    _, expected = scene.once(watches=[watch()])
    assert kinds(expected) == ["system-changed", "watched-held", "checkpoint"]
    files = [path for path in sorted(kept.rglob("*")) if path.is_file() and not path.name.startswith("audit.db")]
    assert len(files) > 3
    for path in files:
        content = path.read_bytes()
        for at in {len(content) // 2, max(0, len(content) - 1)}:
            shutil.rmtree(state)
            shutil.copytree(kept, state)
            damaged = content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] if content else b"x"
            (state / path.relative_to(kept)).write_bytes(damaged)
            look, events = scene.once(watches=[watch()])
            assert (look.problem, events) == (None, expected), path


# --- crashes ---


class CrashingKept(Kept):
    """Dies at the nth write: of the database, of a state on disk, of a checkpoint."""

    def __init__(self, directory: Path, writes: Writes) -> None:
        super().__init__(directory)
        self.writes = writes

    def verify(self, signed) -> None:
        with self.writes.one():
            super().verify(signed)

    def save(self, origin: str, progress: Progress) -> None:
        with self.writes.one():
            super().save(origin, progress)

    def tell(self, *told) -> int:
        with self.writes.one():
            return super().tell(*told)

    def acknowledge(self, *told) -> None:
        with self.writes.one():
            super().acknowledge(*told)


class CrashingLines(Lines):
    def __init__(self, path: Path, writes: Writes) -> None:
        super().__init__(path)
        self.path, self.writes = path, writes
        self.most = 4

    def send(self, events: Sequence[Stored]) -> None:
        with self.writes.one():
            super().send(events)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, int]]:
    """A log at two times: where it is published, and its size."""
    operator, folder = Operator(stage().copy()), tmp_path_factory.mktemp("past")
    found = []
    for name in ("one", "two"):
        operator.log.time += 10
        if name == "one":
            operator.log.hold(ACME, "db", ada("db") | row_of(3))
            operator.log.admit("new.example", "auditor")
        else:
            operator.log.tombstone(ACME, "db", ada("db"))
        operator.publish(operator.log.epoch())
        found.append((publish(operator, folder / name), len(operator.entries)))
    return found


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_missed_or_repeated_whatever_dies(tmp_path, past, when):
    """Die at the nth write, for every n; after a restart the file is what it would have been."""
    expected: list[str] = []
    for nth in itertools.count(0):
        folder, writes = tmp_path / str(nth), Writes(nth, when)
        folder.mkdir()
        lines, places, crashed = folder / "events", list(past), False
        while places:
            memory = CrashingKept(folder / "state", writes)
            try:
                while places:
                    source = DirectorySource(places[0][0])
                    options = {"watches": [watch()], "live": False, "clock": lambda: START + 100}
                    monitor = Monitor(source, policy(), "here", memory, **options)
                    monitor.look()
                    monitor.deliver(CrashingLines(lines, writes))
                    places.pop(0)
            except Crash:
                crashed = True
                writes.dead, writes.nth = False, -1  # the restart
            finally:
                memory.close()
        found = lines.read_text().split("\n")
        if not expected:
            expected = found
            kinds = [json.loads(line)["kind"] for line in found[:-1]]
            assert kinds[-6:] == [
                "watched-held",
                "party-admitted",
                "checkpoint",
                "finding",
                "watched-erased",
                "checkpoint",
            ]
        assert found == expected, nth
        if nth and not crashed:
            assert nth > 15
            return


def test_a_line_half_written_is_written_whole(tmp_path):
    """And a file that is not ours is left alone."""
    events = [Stored(n, f"{n}", json.dumps({"id": n})) for n in range(3)]
    path = tmp_path / "events"
    Lines(path).send(events[:1])
    whole = path.read_bytes()
    path.write_bytes(whole + events[1].event.encode()[:4])
    Lines(path).send(events[1:])
    assert path.read_text() == "".join(each.event + "\n" for each in events)
    Lines(path).send(events[1:])
    assert path.read_text() == "".join(each.event + "\n" for each in events)
    path.write_bytes(b"somebody's notes")
    with pytest.raises(Unavailable, match="does not end"):
        Lines(path).send(events)
    assert path.read_bytes() == b"somebody's notes"


def test_what_is_not_delivered_comes_first_the_next_time(scene):
    """In order, whatever comes meanwhile."""
    memory, taken = scene.memory(), Taken(open=False)
    monitor = scene.monitor(memory)
    monitor.look()
    with pytest.raises(Unavailable, match="monitor/undelivered"):
        monitor.deliver(taken)
    scene.log.admit("new.example", "auditor")
    scene.publish()
    monitor.look()
    taken.open = True
    monitor.deliver(taken)
    assert taken.kinds()[0] == "party-admitted" and taken.kinds()[-2:] == ["party-admitted", "checkpoint"]
    assert len(taken.kinds()) == 11
    assert len({event["id"] for event in taken.events}) == 11
    memory.close()
