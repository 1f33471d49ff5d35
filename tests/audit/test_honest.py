"""Honest worlds: nothing is found, in one go or in many, and whatever interrupts."""

import os
import shutil
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.audit.audit import Order, audit
from attest.audit.findings import Report
from attest.audit.memory import Memory
from attest.audit.source import DirectorySource, Mirror, Source
from attest.crypto.keys import SigningKey, thumbprint
from attest.errors import Unavailable
from attest.formats.policy import Policy
from attest.formats.rows import RowFile
from attest.formats.statement import Epoch, Hold, Keys, NewKey, PartyEnd, Statement, possession_message
from tests.audit.liars import flip
from tests.audit.published import policy, publish
from tests.ledger import model
from tests.ledger.log import Log, rows_of
from tests.ledger.log import descriptor as fields
from tests.ledger.model import Refused
from tests.ledger.test_histories import BEGINNING, actions, statement
from tests.witness.lies import ACME, Operator, stage
from tests.world import ORIGIN, World, descriptor, random_rows

steady = settings(derandomize=True, deadline=None, max_examples=12, database=None)


def look(directory: Path | Source, state: Path | None = None, trust: Policy | None = None) -> Report:
    source = DirectorySource(directory) if isinstance(directory, Path) else directory
    order = Order(trust or policy(), "log", 0, live=False)
    if state is None:
        return audit(source, order, None, None)
    with Memory.open(state) as memory:
        return audit(source, order, memory, None)


def returns(log: Log, found: Statement) -> bool:
    """Tell whether a hold brings back a commitment that was erased, which no honest holder does."""
    if not isinstance(found.payload, Hold):
        return False
    file = RowFile.parse(log.files[found.payload.root])
    party = found.issuer.removeprefix("https://")
    states = log.model.states.get((party, found.stream), {})
    old = [states.get(model.map_key(index)) for index in file.indexes]
    return any(s and s[0] == 2 and s[17:] == new for s, new in zip(old, file.commitments, strict=True))


def lived(history) -> tuple[Operator, list[int]]:
    """Let a history happen, what the rules refuse left out; return the log, and where its epochs end."""
    log = Log()
    for action in [*BEGINNING, *history, ("epoch", 0, 0, 1, 0, 0)]:
        if log.closed:
            break
        if action[0] == "epoch":
            log.epoch()
            continue
        found = statement(log, action)
        try:
            log.model.copy().take(found.entry, log._file_of(found))
        except Refused:
            continue
        if not returns(log, found):
            log.add(found)
    operator = Operator(log)
    ends = [n for n, e in enumerate(operator.entries, 1) if isinstance(Statement.parse(e).payload, Epoch)]
    return operator, ends


@steady
@given(st.lists(actions, min_size=5, max_size=25), st.data())
def test_honest_histories_are_clean_however_they_are_cut(tmp_path_factory, history, data):
    """Whole, and at any checkpoints in between, epochs without a checkpoint included: the same facts, no finding."""
    where = tmp_path_factory.mktemp("honest")
    operator, ends = lived(history)
    cuts = data.draw(st.sets(st.sampled_from(ends), max_size=3)) | {ends[-1]}
    for size in sorted(cuts):
        part = look(publish(operator, where / "log", operator.signed(size)), where / "state")
        assert (part.outcome, part.findings, part.size) == ("clean", [], size)
    whole = look(where / "log")
    assert (whole.outcome, whole.findings) == ("clean", [])
    assert part.facts == whole.facts
    assert whole.checked["entries"] == len(operator.entries)


def rich() -> Operator:
    """A log with everything in it that happens to honest holders."""
    log = stage().copy()
    log.hold(ACME, "db", rows_of(3, version=1) | rows_of(5))
    log.epoch()
    log.epoch()
    log.keys(ACME, next="sign")
    log.tombstone(ACME, "db", rows_of(1, 2))
    log.epoch()
    log.end("court.example", by_log=True)
    log.systems(ACME, fields("idle", retired=True))
    log.epoch()
    return Operator(log)


class Crash(Exception):
    """The process ends here."""


class Dying:
    """A source that gives so many files, and then nothing more."""

    def __init__(self, source: Source, reads: int) -> None:
        self._source = source
        self._reads = count(reads, -1)
        self.forget, self.widths = source.forget, source.widths

    def read(self, path: str, most: int) -> bytes | None:
        if next(self._reads) <= 0:
            raise Crash
        return self._source.read(path, most)


def test_an_audit_that_dies_while_it_reads_goes_on(tmp_path):
    """At every read: afterwards the report is that of an audit which did not die."""
    operator = rich()
    middle = len(stage().model.entries)
    place = publish(operator, tmp_path / "log")
    whole = look(place)
    for reads in count():
        state = tmp_path / f"state-{reads}"
        look(publish(operator, tmp_path / "early", operator.signed(middle)), state)
        try:
            look(Dying(DirectorySource(place), reads), state)
        except Crash:
            again = look(place, state)
            assert (again.outcome, again.findings, again.facts) == ("clean", [], whole.facts)
        else:
            assert reads > 5
            return


def dying(step, state: Path, left):
    """A system call that is the last one of its process, if it is the nth on our state."""

    def made(*args, **kwargs):
        if (isinstance(args[0], int) or str(state) in str(args[0])) and next(left) <= 1:
            raise Crash
        return step(*args, **kwargs)

    return made


def test_an_audit_that_dies_while_it_saves_goes_on(tmp_path, monkeypatch):
    """Before every step on the disk: the next audit finds nothing, and reports the same."""
    operator = rich()
    place = publish(operator, tmp_path / "log")
    middle = len(stage().model.entries)
    early = publish(operator, tmp_path / "early", operator.signed(middle))
    whole = look(place)
    for nth in count(1):
        state = tmp_path / f"state-{nth}"
        look(early, state)
        with monkeypatch.context() as patch:
            left = count(nth, -1)
            for name in ("rename", "fsync", "mkdir"):
                patch.setattr(os, name, dying(getattr(os, name), state, left))
            try:
                look(place, state)
            except Crash:
                pass
            else:
                assert nth > 4
                return
        again = look(place, state)
        assert (again.outcome, again.findings, again.facts) == ("clean", [], whole.facts)


def test_a_service_that_does_everything_is_clean(tmp_path, monkeypatch):
    """Over SQLite, what it publishes: holds, tombstones, rehelds, keys, retirement, ends, quiet epochs."""
    monkeypatch.setattr("attest.audit.audit._PROCESSES", 2)  # as many as an auditor with two cores has
    world = World(tmp_path / "world")
    try:
        acme = world.holder("acme.example", descriptor("db"), descriptor("idle"))
        beta = world.holder("beta.example", descriptor("crm"))
        state = tmp_path / "state"
        trust = Policy.parse(world.config.path(world.config.policy).read_bytes())
        public = world.config.path(world.config.public)
        rows = random_rows(30)
        file = RowFile.build(rows)
        world.publish(acme.hold("db", file), file)
        assert look(public, state, trust).outcome == "clean"
        world.step(world.config.quiet_s + 1 if hasattr(world.config, "quiet_s") else 3600)
        world.publish(acme.erase("db", file), file)
        again = RowFile.build({index: random_rows(1).popitem()[0] for index in list(rows)[:5]})
        world.publish(acme.hold("db", again), again)
        key = SigningKey.generate()
        draft = Keys((NewKey(key.public, "sign", bytes(64)),), (thumbprint(acme.key.public),))
        proof = key.sign(possession_message(ORIGIN, acme.id, draft))
        world.publish(acme.sign(Keys((NewKey(key.public, "sign", proof),), draft.revoke)))
        acme.key = key
        world.publish(acme.systems(descriptor("idle", retired=True)))
        world.publish(beta.sign(PartyEnd(), beta.issuer + "#recovery", key=beta.recovery))
        report = look(public, state, trust)
        assert (report.outcome, report.findings) == ("clean", [])
        assert report.facts == look(public, None, trust).facts
        [db] = [each for each in report.facts["systems"] if each["system"] == "db"]
        assert (db["held"], db["erased"], db["reheld"]) == (5, 25, 5)
    finally:
        world.close()


@pytest.mark.parametrize("way", ["flip", "cut", "empty", "gone", "more"])
def test_a_rotten_state_accuses_nobody(tmp_path, way):
    """Whatever file of the auditor's own is damaged, and wherever: the log is checked anew, or the audit says so."""
    operator = rich()
    early = publish(operator, tmp_path / "early", operator.signed(len(stage().model.entries)))
    place = publish(operator, tmp_path / "log")
    whole = look(place)
    state = tmp_path / "state"
    look(early, state)
    files = sorted(path for path in state.rglob("*") if path.is_file())
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        step = max(1, len(content) // 6)
        for at in range(0, max(1, len(content)), step) if way in ("flip", "cut") else [0]:
            damaged = {
                "flip": content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] if content else b"x",
                "cut": content[:at],
                "empty": b"",
                "gone": None,
                "more": content + bytes(64),
            }[way]
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(state, copy)
            target = copy / path.relative_to(state)
            if damaged is None:
                target.unlink()
            else:
                target.write_bytes(damaged)
            try:
                report = look(place, copy)
            except Unavailable:
                assert path.name == "audit.db"  # where the auditor is told to look at the disk
                continue
            assert (report.outcome, report.findings) == ("clean", [])
            assert report.facts == whole.facts


@pytest.mark.parametrize("way", ["flip", "cut", "empty", "gone", "more", "huge"])
def test_a_rotten_mirror_accuses_nobody(tmp_path, way):
    """Whatever file of the copy is damaged: it is fetched again, nothing is found, and the copy is right."""
    operator = rich()
    place = publish(operator, tmp_path / "log")
    mirror = tmp_path / "mirror"
    assert look(Mirror(DirectorySource(place), mirror)).outcome == "clean"
    right = {path.relative_to(mirror): path.read_bytes() for path in mirror.rglob("*") if path.is_file()}
    assert any(path.parts[0] == "rows" for path in right)
    # A huge file takes its time: one of each kind.
    kinds = {name.parts[:2] if name.parts[0] == "tile" else name.parts[0]: name for name in right}
    for name, content in right.items():
        if way == "huge" and name not in kinds.values():
            continue
        if way == "gone":
            (mirror / name).unlink()
        else:
            damaged = {
                "flip": flip(content, len(content) // 2),
                "cut": content[: len(content) // 2],
                "empty": b"",
                "more": content + bytes(64),
                "huge": bytes(20 << 20),
            }
            (mirror / name).write_bytes(damaged[way])
        report = look(Mirror(DirectorySource(place), mirror))
        assert (report.outcome, report.findings, name) == ("clean", [], name)
        assert (mirror / name).read_bytes() == content


def test_the_bound_of_an_epoch_is_not_one_of_the_log(tmp_path, monkeypatch):
    """A log may have any number of entries, an epoch not."""
    place = publish(rich(), tmp_path / "log")
    monkeypatch.setattr("attest.audit.audit.MAX_EPOCH", 5)
    assert look(place).outcome == "clean"
    monkeypatch.setattr("attest.audit.audit.MAX_EPOCH", 3)
    with pytest.raises(Unavailable, match="audit/limit"):
        look(place)
