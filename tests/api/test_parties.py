"""What a log serves of one party, and audits over HTTP that use it."""

import httpx

from attest.audit.audit import Order, audit
from attest.audit.party import audit_party
from attest.audit.source import HttpSource, Mirror
from attest.formats.holder import PartyProof, list_path, parse_list, proof_path
from attest.formats.rows import RowFile
from attest.ledger.holder import check_list, verify_party
from attest.merkle.tree import leaf_hash
from attest.transport import LogClient
from tests.api.conftest import Site
from tests.world import descriptor, random_rows


def source(site: Site) -> HttpSource:
    transport = httpx.WSGITransport(app=site.app(), raise_app_exceptions=True)
    return HttpSource(LogClient("http://log.example", None, origin=site.node.origin, transport=transport))


def order(site: Site) -> Order:
    return Order(site.world.policy, "http://log.example", int(site.world.clock()))


def fill(site: Site, statements: int) -> None:
    """Publish holds of this party, and entries of another between them."""
    other = site.world.holder("other.example", descriptor("web"))
    for n in range(statements):
        site.published(2)
        if n % 3 == 0:
            site.world.publish(other.systems(descriptor("web", assets=(f"a{n}",))))


def test_a_party_is_served_by_itself(site: Site):
    """Its head leads to the checkpoint, and its list to its head."""
    fill(site, 5)
    client = site.client()
    proof = PartyProof.parse(client.get(f"/{proof_path(site.party)}").data)
    committed = verify_party(proof, site.party)
    assert sorted(committed.systems) == ["crm", "search"]
    count = committed.head.entries
    served = client.get(f"/{list_path(site.party, 0, count)}")
    assert "immutable" in served.headers["Cache-Control"]
    listed = parse_list(served.data)
    check_list(listed, committed.head)
    first = parse_list(client.get(f"/{list_path(site.party, 0, 2)}").data)
    assert first == listed[:2]
    assert leaf_hash(first[0][1]) == leaf_hash(site.node._log.entry(first[0][0]))


def test_what_is_not_there_is_404(site: Site):
    """Another party, more entries than there are, other spellings."""
    client = site.client()
    for path, status, code in (
        ("/holders/nobody.example/proof", 404, "holder/unknown"),
        ("/holders/nobody.example/entries/000.p/1", 404, "holder/unknown"),
        (f"/holders/{site.party}/entries/000.p/250", 404, "holder-list/unknown"),
        (f"/holders/{site.party}/entries/001", 404, "holder-list/unknown"),
        (f"/holders/{site.party}/entries/0", 400, "holder-list/path"),
        (f"/holders/{site.party}/entries/000.p/256", 400, "holder-list/path"),
        (f"/holders/{site.party}/entries/x000/001", 400, "holder-list/path"),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.json["code"]) == (status, code), path


def test_a_long_list_comes_in_parts(site: Site):
    """Two full files and a part, however the log grew meanwhile."""
    client = site.client()
    for _ in range(3):
        for _ in range(100):
            rows = RowFile.build(random_rows(1))
            site.world.submit(site.hold(rows), rows)
        site.step()
        client.get(f"/{list_path(site.party, 0, 9)}")  # remembers where its entries stand
    proof = PartyProof.parse(client.get(f"/{proof_path(site.party)}").data)
    head = verify_party(proof, site.party).head
    listed = parse_list(client.get(f"/{list_path(site.party, 0)}").data)
    listed += parse_list(client.get(f"/{list_path(site.party, 1, head.entries - 256)}").data)
    check_list(listed, head)


def test_audits_over_http_are_clean(site: Site, tmp_path):
    """Of the whole log, of a party, of one system; and of the mirror of it."""
    fill(site, 4)
    whole = audit(Mirror(source(site), tmp_path / "mirror"), order(site), None, None)
    assert (whole.outcome, whole.findings) == ("clean", [])
    alone = audit_party(source(site), order(site), site.party, None, None)
    assert (alone.outcome, alone.checked["rows"]) == ("clean", 8)
    part = audit_party(source(site), order(site), site.party, "search", None)
    assert (part.outcome, part.checked["rows"]) == ("clean", 0)
    assert part.traffic["bytes"] < alone.traffic["bytes"] < whole.traffic["bytes"]
