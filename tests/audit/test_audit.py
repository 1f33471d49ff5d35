"""Honest logs are clean; an audit begun again goes on where it was."""

import shutil
from pathlib import Path

import pytest

from attest.audit.audit import Order, audit
from attest.audit.findings import Report
from attest.audit.memory import Memory
from attest.audit.party import audit_party
from attest.audit.source import DirectorySource, Mirror, Source
from attest.formats.holder import encode_list, list_path
from attest.ledger.evidence import Evidence
from tests.audit.published import party_list, policy, publish, write
from tests.ledger.log import ORIGIN, rows_of
from tests.witness.lies import ACME, BETA, Operator, stage


def look(directory: Path, state: Path | None = None, mirror: Path | None = None, **order) -> Report:
    """Audit a directory, and check that each finding's evidence is found again from its file alone."""
    source: Source = DirectorySource(directory)
    source = source if mirror is None else Mirror(source, mirror)
    asked = Order(policy(), str(directory), order.pop("now", 0), live=False, **order)
    evidence = directory.parent / "evidence"
    if state is None:
        report = audit(source, asked, None, evidence)
    else:
        with Memory.open(state) as memory:
            report = audit(source, asked, memory, evidence)
    for finding in report.findings:
        if finding.kept is not None:
            seen = Evidence.parse(Path(finding.kept).read_bytes()).check(policy())
            assert seen.refusal.code == finding.code
    return report


def test_an_honest_log_is_clean(tmp_path):
    """Nothing is found, everything is counted."""
    log = stage().copy()
    log.hold(ACME, "db", rows_of(3, version=1) | rows_of(5))
    log.tombstone(ACME, "db", rows_of(1))
    log.end("court.example", by_log=True)
    log.epoch()
    operator = Operator(log)
    report = look(publish(operator, tmp_path / "log"))
    assert (report.outcome, report.findings) == ("clean", [])
    assert report.size == report.checked["entries"] == len(operator.entries)
    assert report.checked["rows"] == 5 + 1 + 2 + 2 + 1
    systems = {each["system"]: each for each in report.facts["systems"]}
    assert (systems["db"]["held"], systems["db"]["erased"], systems["db"]["reheld"]) == (4, 2, 1)


def test_the_next_audit_checks_what_is_new(tmp_path):
    """From the state it has kept; the register remembers the checkpoint."""
    log = stage().copy()
    operator = Operator(log)
    place, state = tmp_path / "log", tmp_path / "state"
    assert look(publish(operator, place), state).outcome == "clean"
    log.hold(ACME, "db", rows_of(70, 71))
    log.epoch()
    operator.publish(log.proofs[-1])
    again = look(publish(operator, place), state)
    assert again.outcome == "clean"
    assert (again.since, again.checked["entries"], again.checked["rows"]) == (len(operator.entries) - 2, 2, 2)
    assert again.facts["entries"] == look(place).facts["entries"]
    assert again.facts == look(place).facts


@pytest.mark.parametrize("path", ["tile/0/000.p/21", "tile/entries/000.p/21", "rows"])
def test_a_flipped_bit_is_found(tmp_path, path):
    """At rest, in a tile, a bundle or a row file."""
    operator = Operator(stage().copy())
    assert len(operator.entries) == 21 or path
    place = publish(operator, tmp_path / "log")
    target = place / path.replace("21", str(len(operator.entries)))
    if path == "rows":
        target = sorted(target.iterdir())[0]
    content = target.read_bytes()
    write(target, content[:40] + bytes([content[40] ^ 1]) + content[41:])
    [finding] = look(place).findings
    assert finding.code == {"tile/0": "served/tile", "tile/e": "served/entries", "rows": "served/rows"}[path[:6]]
    assert finding.kept is not None


def test_a_mirror_is_audited_without_the_log(tmp_path):
    """It is whole, and has the checkpoint last."""
    operator = Operator(stage().copy())
    place, copy = publish(operator, tmp_path / "log"), tmp_path / "copy"
    assert look(place, mirror=copy).outcome == "clean"
    assert look(copy).outcome == "clean"
    for path in (each for each in place.rglob("*") if each.is_file()):
        assert (copy / path.relative_to(place)).read_bytes() == path.read_bytes()


def test_a_mirror_begun_late_is_whole(tmp_path):
    """What was checked before, and is not in the copy, is read again."""
    operator = Operator(stage().copy())
    place, copy, state = publish(operator, tmp_path / "log"), tmp_path / "copy", tmp_path / "state"
    assert look(place, state).outcome == "clean"
    assert look(place, state, copy).since == 0
    assert look(place, state, copy).since == len(operator.entries)
    assert look(copy).outcome == "clean"


def test_a_mirror_has_the_lists_of_all_parties(tmp_path):
    """Made again from what was checked, also where it grows: the same that a log publishes."""
    log = stage().copy()
    operator = Operator(log)
    place, copy, state = tmp_path / "log", tmp_path / "copy", tmp_path / "state"
    for n in range(100, 104):
        log.hold(ACME, "db", rows_of(n))
        log.epoch()
        operator.publish(log.proofs[-1])
        assert look(publish(operator, place), state, copy).outcome == "clean"
        for party in (ACME, BETA):
            report = audit_party(DirectorySource(copy), Order(policy(), "copy", 0), party, None, None)
            assert (report.outcome, report.checked["entries"]) == ("clean", len(party_list(operator, party)))
            width = len(party_list(operator, party))
            assert (copy / list_path(party, 0, width)).read_bytes() == encode_list(party_list(operator, party))


def test_two_histories_are_found(tmp_path):
    """The log has signed something else before, and the auditor still has it."""
    place, state = tmp_path / "log", tmp_path / "state"
    one, other = stage().copy(), stage().copy()
    for log, n in ((one, 80), (other, 81)):
        log.hold(ACME, "db", rows_of(n))
        log.epoch()
    assert look(publish(Operator(one), place), state).outcome == "clean"
    [finding] = look(publish(Operator(other), tmp_path / "other"), state).findings
    assert (finding.code, finding.severity) == ("log/fork", "lie")
    other.epoch()
    [finding] = look(publish(Operator(other), tmp_path / "other"), state).findings
    assert finding.code == "log/fork"
    assert finding.kept is not None
    assert Evidence.parse(Path(finding.kept).read_bytes()).signed.checkpoint.origin == ORIGIN


def test_nobody_is_accused_because_of_our_own_disk(tmp_path):
    """A bit flips in what was kept of the maps: where it matters, the audit begins anew; nothing is found."""
    log = stage().copy()
    operator = Operator(log)
    place, state = tmp_path / "log", tmp_path / "state"
    log.hold(ACME, "db", rows_of(*range(100, 140)))
    log.epoch()
    operator.publish(log.proofs[-1])
    assert look(publish(operator, place), state).outcome == "clean"
    log.tombstone(ACME, "db", rows_of(*range(100, 140)))
    log.epoch()
    operator.publish(log.proofs[-1])
    publish(operator, place)
    kept = max(state.rglob("maps/*/*"), key=lambda path: path.stat().st_size)
    anew = 0
    for at in range(0, kept.stat().st_size, 500):
        own = tmp_path / str(at)
        shutil.copytree(state, own)
        content = bytearray(kept.read_bytes())
        content[at] ^= 1
        (own / kept.relative_to(state)).write_bytes(content)
        report = look(place, own)
        assert (report.outcome, report.findings) == ("clean", [])
        anew += not report.since
    assert anew >= 3
