"""One company against itself: what it has signed is found without the rest of the log, and dated by its own dates."""

from pathlib import Path

import pytest

from attest.audit.audit import Order, audit
from attest.audit.memory import Memory
from attest.audit.page import page
from attest.audit.since import audit_since
from attest.audit.source import DirectorySource
from attest.audit.words import summary, to_look_at
from attest.formats.checkpoint import SignedCheckpoint
from tests.audit.published import policy
from tests.audit.test_party import look, publish_party
from tests.ledger.log import START, Log, rows_of
from tests.witness.lies import ACME, Operator, stage

DAY = 86_400


def returned(log: Log) -> None:
    """The old commitment again."""
    log.tombstone(ACME, "db", rows_of(1))
    log.epoch()
    log.hold(ACME, "db", rows_of(1))


def went_on(log: Log) -> None:
    """Erased, and there all the time."""
    log.tombstone(ACME, "db", rows_of(1))
    log.epoch()
    log.hold(ACME, "db", rows_of(1, version=1), cause="backfill")


def backdated(log: Log) -> None:
    """Erased before it was held."""
    log.time += DAY
    log.epoch()
    log.hold(ACME, "db", rows_of(30))
    log.epoch()
    log.tombstone(ACME, "db", rows_of(30), erased_at=START)


def told(change, place: Path) -> Path:
    log = stage().copy()
    change(log)
    log.epoch()
    log.epoch()
    return publish_party(Operator(log), place)


@pytest.mark.parametrize(
    ("code", "change"),
    [("holder/old-commitment", returned), ("holder/went-on", went_on), ("holder/erased-before-held", backdated)],
)
def test_what_a_company_signs_against_itself_is_found_without_the_rest(tmp_path, code, change) -> None:
    """As in an audit of all, with the very same evidence; `look` has checked that it refutes."""
    place = told(change, tmp_path / "log")
    for system in (None, "db"):
        [finding] = look(place, system=system).findings
        assert (finding.code, finding.severity, finding.system) == (code, "contradiction", "db")

    whole = audit(DirectorySource(place), Order(policy(), "here", START + 10 * DAY, live=False), None, None)
    [same] = whole.findings
    assert (same.entries, same.message) == (finding.entries, finding.message)
    assert same.evidence is not None and finding.evidence is not None
    assert same.evidence.digest() == finding.evidence.digest()


def test_what_would_show_it_may_be_withheld(tmp_path) -> None:
    """Without tiles and bundles nobody is accused, and nothing is called clean."""
    place = told(returned, tmp_path / "log")
    for path in (place / "tile").rglob("*"):
        if path.is_file():
            path.unlink()
    report = look(place)
    assert [(each.code, each.severity) for each in report.findings] == [("served/entries-missing", "missing")]
    assert report.outcome == "incomplete"


def test_times_of_one_company_are_its_own_dates(tmp_path) -> None:
    """From hold to tombstone as it has dated them; of the log's silences it knows nothing, and says so."""
    log = stage().copy()
    log.hold(ACME, "db", rows_of(30, 31))
    log.epoch()
    log.time += 3 * DAY
    log.tombstone(ACME, "db", rows_of(30, 31))
    log.epoch()
    log.epoch()
    report = look(publish_party(Operator(log), tmp_path / "log"), system="db")

    [system] = report.facts["systems"]
    ages = system["hold_to_tombstone"]
    assert ages["rows"][ages["bounds_s"].index(7 * DAY)] == 2
    assert sum(ages["rows"]) == 4 and 1.5 * DAY <= ages["mean_s"] < 1.5 * DAY + 3600  # two are gone on the stage
    assert report.facts["quiet"] is None and report.facts["silences"] is None
    said = dict(summary(report.facts))
    assert said["longest time without a statement"] == said["silences longer than promised"] == "-"
    assert "for longer than the log promises" not in page(report)
    assert any("own dates" in each for each in to_look_at(report))


def test_an_audit_since_a_checkpoint_claims_no_more_than_it_has_seen(tmp_path) -> None:
    """It knows no states: no facts, and proven is what came after, if all before was right."""
    operator = Operator(stage().copy())
    place = publish_party(operator, tmp_path / "log")
    since = SignedCheckpoint.parse((place / "checkpoint").read_bytes())
    report = audit_since(DirectorySource(place), Order(policy(), "here", START, live=False), since, None)

    assert report.outcome == "clean" and report.facts == {}
    [proven] = report.proven
    assert proven.endswith("if everything up to that one was right")
    assert any(f"checkpoint of {since.checkpoint.size} entries was right" in each for each in to_look_at(report))
    assert "no states were replayed" in page(report)


class Counting(DirectorySource):
    """Remembers what was read."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.paths: list[str] = []

    def read(self, path: str, most: int) -> bytes | None:
        """See `Source`."""
        self.paths.append(path)
        return super().read(path, most)


@pytest.mark.parametrize("spoil", [False, True])
def test_evidence_that_is_kept_is_not_made_again(tmp_path: Path, spoil: bool) -> None:
    """An audit that goes on reads no row file for what was found before, unless what was kept of it has rotted."""
    place = told(returned, tmp_path / "log")
    order = Order(policy(), "here", START + 10 * DAY, live=False)
    found = []
    for turn in range(2):
        with Memory.open(tmp_path / "state") as memory:
            source = Counting(place)
            report = audit(source, order, memory, memory.evidence)
        [finding] = report.findings
        assert finding.kept is not None
        found.append((finding.code, finding.message, finding.entries, finding.kept_sha256))
        read = [path for path in source.paths if path.startswith("rows/")]
        assert bool(read) == (turn == 0 or spoil)
        if spoil and turn == 0:
            kept = Path(finding.kept)
            kept.write_bytes(kept.read_bytes()[:-1])
    assert found[0] == found[1]  # its file, too, is as it was
