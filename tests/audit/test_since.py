"""What came after a checkpoint, by transition proofs: right, wrong, or not to be said."""

from pathlib import Path

import cbor2
import pytest

from attest.audit.audit import Order
from attest.audit.findings import Report
from attest.audit.since import audit_since
from attest.audit.source import DirectorySource
from attest.errors import Unavailable
from attest.ledger.evidence import Evidence
from tests.audit.published import policy, publish, write
from tests.ledger.log import rows_of
from tests.witness.lies import ACME, LIES, Operator, busy, stage


def look(operator: Operator, place: Path, size: int) -> Report:
    for number, proof in operator.proofs.items():
        write(place / f"proofs/transition/{number}", proof)
    order = Order(policy(), str(place), 0, live=False)
    report = audit_since(DirectorySource(place), order, operator.signed(size), place.parent / "evidence")
    for finding in report.findings:
        assert finding.kept is not None
        assert Evidence.parse(Path(finding.kept).read_bytes()).check(policy()).refusal.code == finding.code
    return report


def ends(operator: Operator) -> list[int]:
    """The sizes at which epochs end."""
    sizes, size = [], 0
    for number in sorted(operator.proofs):
        size += len(cbor2.loads(operator.proofs[number])["entries"])
        sizes.append(size)
    return sizes


def test_what_came_after_is_checked(tmp_path):
    """From every checkpoint on; the last one has nothing after it."""
    log = stage().copy()
    log.hold(ACME, "db", rows_of(90, 91))
    log.epoch()
    operator = Operator(log)
    place = publish(operator, tmp_path / "log")
    for size in ends(operator):
        report = look(operator, place, size)
        assert (report.outcome, report.since) == ("clean", size)
        assert report.checked["entries"] == len(operator.entries) - size


@pytest.mark.parametrize("lie", ["fewer held", "leave a record out", "the log's chain", "another rule set"])
def test_a_lie_after_it_is_found(tmp_path, lie):
    """By the same code as a state witness finds it, with evidence for everybody."""
    log = busy()
    after = log.model.copy()
    LIES[lie][1](after)
    proof = log.force(epoch=log.sign_epoch(root=after.top_root()).entry, after=after)
    operator = Operator(log)
    size = len(operator.entries)
    operator.publish(proof)
    [finding] = look(operator, publish(operator, tmp_path / "log"), size).findings
    assert (finding.code, finding.severity) == (LIES[lie][0], "lie")


def test_without_proofs_nothing_can_be_said(tmp_path):
    """They are gone after a day; and what nobody has signed accuses nobody."""
    operator = Operator(stage().copy())
    place, size = publish(operator, tmp_path / "log"), ends(operator)[1]
    right = operator.proofs[2]
    for wrong in (right[:-1], b"", b"\xa0", operator.proofs[1], operator.proofs[3]):
        operator.proofs[2] = wrong
        with pytest.raises(Unavailable, match="audit/gone"):
            look(operator, place, size)
    del operator.proofs[2]
    (place / "proofs/transition/2").unlink()
    with pytest.raises(Unavailable, match="audit/gone"):
        look(operator, place, size)
