"""One company, without the rest: complete by its chain, and refuted by its own statements."""

from pathlib import Path

import pytest

from attest.audit.audit import Order
from attest.audit.findings import Report
from attest.audit.party import audit_party
from attest.audit.source import DirectorySource
from attest.errors import Unavailable
from attest.formats.holder import PartyProof, encode_list, list_path, parse_list, proof_path
from attest.ledger.epoch import Ledger
from attest.ledger.evidence import Evidence
from attest.merkle import tree
from tests import reference
from tests.audit.published import party_list, policy, publish, write
from tests.ledger import model as slow
from tests.ledger.log import ORIGIN, rows_of
from tests.witness.lies import ACME, BETA, Operator, head, stage


def party_proof(operator: Operator, ledger: Ledger, party: str) -> bytes:
    """What an operator publishes of a party, from the ledger that it has committed."""
    signed = operator.signed()
    size = signed.checkpoint.size
    read = tree.subtree_reader(tree.leaf_hashes(operator.entries))
    return PartyProof(
        signed,
        tuple((at, operator.entries[at], tuple(tree.inclusion_path(at, size, read))) for at in (0, size - 1)),
        ledger.parties[party].encode(),
        ledger.top.prove(ledger.parties[party].key()).encode(),
        (ledger.parties[ORIGIN].encode(), ledger.top.prove(ledger.parties[ORIGIN].key()).encode()),
        tuple((each.encode(), ledger.descriptors[party, each.system].encode()) for each in ledger.systems_of(party)),
    ).encode()


def publish_party(operator: Operator, place: Path, party: str = ACME, listed=None) -> Path:
    publish(operator, place)
    write(place / proof_path(party), party_proof(operator, operator.log.ledger, party))
    listed = party_list(operator, party) if listed is None else listed
    for at in range(0, len(listed), 256):
        part = listed[at : at + 256]
        write(place / list_path(party, at // 256, len(part)), encode_list(part))
    return place


def look(place: Path, party: str = ACME, system: str | None = None) -> Report:
    evidence = place.parent / "evidence"
    report = audit_party(DirectorySource(place), Order(policy(), str(place), 0, live=False), party, system, evidence)
    for finding in report.findings:
        if finding.kept is not None:
            seen = Evidence.parse(Path(finding.kept).read_bytes()).check(policy())
            assert seen.refusal.code == finding.code
    return report


@pytest.fixture
def operator():
    log = stage().copy()
    log.hold(ACME, "db", rows_of(50, 51))
    log.keys(ACME, ["more"])
    log.epoch()
    log.epoch()
    return Operator(log)


@pytest.mark.parametrize("system", [None, "db", "bak", "idle"])
@pytest.mark.parametrize("lists", [True, False])
def test_a_company_is_audited_by_itself(tmp_path, operator, system, lists):
    """From its list, or from a scan of all entries where there is none."""
    place = publish_party(operator, tmp_path / "log")
    if not lists:
        for path in (place / f"holders/{ACME}/entries").rglob("*"):
            if path.is_file():
                path.unlink()
    report = look(place, system=system)
    assert (report.outcome, report.findings) == ("clean", [])
    assert report.checked["entries"] == len(party_list(operator, ACME))
    assert report.checked["row_files"] == {None: 4, "db": 3, "bak": 1, "idle": 0}[system]
    assert [each["system"] for each in report.facts["systems"]] == ([system] if system else ["bak", "db", "idle"])


def test_a_hidden_entry_is_missed(tmp_path, operator):
    """One left out, one put in, one moved, one changed: the chain says so."""
    right = party_list(operator, ACME)
    other = party_list(operator, BETA)
    position, entry = right[2]
    for n, listed in enumerate(
        (
            right[:-1],
            right[1:],
            right[:2] + right[3:],
            sorted([*right, other[-1]]),
            [*right[:2], (position, entry[:-1] + bytes([entry[-1] ^ 1])), *right[3:]],
            [*right[:2], (position + 1, entry), *right[3:]] if right[3][0] > position + 1 else right[:1],
        )
    ):
        place = publish_party(operator, tmp_path / str(n) / "log", listed=listed)
        count = operator.log.ledger.parties[ACME].entries
        write(place / list_path(ACME, 0, count), encode_list(listed))
        [finding] = look(place).findings
        assert finding.code == "holder/list"
        assert finding.kept is not None


def test_a_wrong_head_is_refuted(tmp_path):
    """The log commits another count than the statements lead to: so does its proof."""
    log = stage().copy()
    log.hold(ACME, "db", rows_of(60))
    after = log.model.copy()
    head((ACME, "db"), held=1)(after)
    proof = log.force(epoch=log.sign_epoch(root=after.top_root()).entry, after=after)
    operator = Operator(log)
    operator.publish(proof)
    place = publish(operator, tmp_path / "log")
    signed = operator.signed()
    write(place / proof_path(ACME), lying_proof(operator, after, signed))
    write(place / list_path(ACME, 0, len(party_list(operator, ACME))), encode_list(party_list(operator, ACME)))
    [finding] = look(place).findings
    assert (finding.code, finding.severity) == ("epoch/held", "lie")
    assert finding.kept is not None
    assert Evidence.parse(Path(finding.kept).read_bytes()).check(policy()).committed
    [other] = look(place, system="db").findings
    assert other.code == "epoch/held"


def lying_proof(operator, model, signed) -> bytes:
    """A party's proof from the state that a lying operator has committed, written by the slow model."""
    size = signed.checkpoint.size
    read = tree.subtree_reader(tree.leaf_hashes(operator.entries))
    top = model.top_map()
    key = slow.label("top-key", ACME.encode())
    systems = sorted(name for name in model.systems if name[0] == ACME)
    return PartyProof(
        signed,
        tuple((at, operator.entries[at], tuple(tree.inclusion_path(at, size, read))) for at in (0, size - 1)),
        model.head(ACME),
        reference.map_proof(top, key),
        (model.head(ORIGIN), reference.map_proof(top, slow.label("top-key", ORIGIN.encode()))),
        tuple((slow.det(model.systems[name]), slow.det(model.descriptors[name])) for name in systems),
    ).encode()


def test_lists_are_read_strictly():
    """Positions ascend, and nothing is cut off."""
    listed = [(1, b"a"), (7, b""), (300, b"bcd")]
    assert parse_list(encode_list(listed)) == listed


def test_other_rules_accuse_nobody(tmp_path):
    """Where the log has gone on to rules that are not known here, nothing can be said of a party."""
    log = stage().copy()
    log.hold(ACME, "db", rows_of(60))
    after = log.model.copy()
    head(ORIGIN, rules={"name": "attest-rules/2", "digest": bytes(32)})(after)
    operator = Operator(log)
    operator.publish(log.force(epoch=log.sign_epoch(root=after.top_root()).entry, after=after))
    place = publish(operator, tmp_path / "log")
    write(place / proof_path(ACME), lying_proof(operator, after, operator.signed()))
    with pytest.raises(Unavailable, match="rule/unknown-rules"):
        look(place)
