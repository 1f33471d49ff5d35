"""Keepsakes, look-ups and certificates: by the company, and by whoever has a keepsake and no company."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from attest.cli import cli
from attest.crypto import commitment
from attest.errors import AttestError
from attest.formats.bundle import Bundle
from attest.formats.keepsake import Keepsake
from attest.ledger.verify import Question, Verdict, verify
from attest.prover import tombstone_bundle
from tests.holder.company import URL, Company, people
from tests.world import World


def judge(company: Company, bundle: bytes, *locators: str, **changes: Any) -> Verdict:
    """Verify as anybody would."""
    question = Question(company.world.policy, int(company.world.clock()), company.id, locators, **changes)
    return verify(bundle, question)


def keepsake(company: Company, person: str) -> Keepsake:
    """Make a keepsake, by way of its file."""
    with company.open() as holder:
        return Keepsake.parse(holder.keepsake(f"email:{person}").encode())


def attest(company: Company, words: Sequence[str | Path]) -> Result:
    """Run a command in front of this world's log."""
    return CliRunner().invoke(cli, [str(word) for word in words], obj=company.options, standalone_mode=False)


def test_a_keepsake_opens_what_was_committed(company: Company) -> None:
    """Its hold bundles verify, and its blind and records open the commitment in the log; it has no salt."""
    company.hold([{"email": "a@b.example", "n": n} for n in range(2)], group=True)
    company.hold([{"email": "a@b.example"}], "search")

    kept = keepsake(company, "a@b.example")

    assert [hold.system for hold in kept.holds] == ["crm", "search"]
    for hold in kept.holds:
        assert judge(company, hold.bundle.encode(), kept.locator).outcome == "holds"
        state = company.state("a@b.example", hold.system)
        assert state is not None
        index = company.index("a@b.example", hold.system)
        digest = commitment.record_digest(hold.records)
        assert commitment.commitment(index, hold.blind, digest) == state.commitment
        assert hold.entry == state.position


def test_there_is_no_keepsake_of_what_is_not_held(company: Company) -> None:
    """Neither before a hold nor after its tombstone."""
    company.hold(people(3))
    company.erase(["person1@example.org"])

    for person in ("person1@example.org", "stranger@example.org"):
        with company.open() as holder, pytest.raises(AttestError, match="keepsake/nothing-held"):
            holder.keepsake(f"email:{person}")


def test_a_lookup_shows_every_system(company: Company) -> None:
    """Held in one, never committed in the other: not excluded; a stranger is excluded."""
    company.hold(people(12))
    company.hold(people(2), "search")
    with company.open() as holder:
        bundle, verdict = holder.lookup(["email:person5@example.org"])
        _, stranger = holder.lookup(["email:stranger@example.org"])
        both, _ = holder.lookup(["email:person5@example.org", "email:person1@example.org"])

    assert {result.system: result.result for result in verdict.systems} == {"crm": "held", "search": "never-committed"}
    assert (verdict.claim, stranger.claim) == ("not-excluded", "excluded")
    assert judge(company, bundle.encode(), "email:person5@example.org", expect="held").outcome == "holds"
    assert len(both.states) == 4


def test_no_certificate_while_anything_is_held(company: Company) -> None:
    """One system is enough; after the last tombstone there is one, with each hold and tombstone."""
    company.hold(people(12))
    company.hold(people(12), "search")
    company.hold(people(12, name="New"))  # the commitment erased is that of a later hold
    company.erase(["person5@example.org"])
    with company.open() as holder, pytest.raises(AttestError, match="certificate/refused"):
        holder.certificate(["email:person5@example.org"])
    company.erase(["person5@example.org"], "search")

    with company.open() as holder:
        bundle, verdict = holder.certificate(["email:person5@example.org"])

    assert (verdict.outcome, verdict.claim, verdict.level) == ("holds", "excluded", "A1")
    assert [interval.system for interval in verdict.intervals] == ["crm", "search"]
    assert all(interval.apart for interval in verdict.intervals[1:])
    assert judge(company, Bundle.parse(bundle.encode()).encode(), "email:person5@example.org").outcome == "holds"


def test_a_tombstone_can_be_shown_alone(company: Company) -> None:
    """That something was tombstoned at an entry does not age."""
    company.hold(people(12))
    sent = company.erase(["person5@example.org"]).sent[0]
    with company.open() as holder:
        subject = holder.subject("email:person5@example.org")
        bundle = tombstone_bundle(holder.log, company.id, holder.vrf_key, subject, system="crm", entry_id=sent.entry_id)

    verdict = judge(company, bundle.encode(), "email:person5@example.org")

    assert (verdict.outcome, verdict.claim) == ("holds", "erased")
    assert [entry.position for entry in bundle.entries][-2:] == [sent.position, bundle.checkpoint.checkpoint.size - 1]


def test_a_keepsake_is_enough_to_ask(company: Company, tmp_path: Path) -> None:
    """Without keys, vault or company: the look-up first says held, then erased, and at last there is a certificate."""
    company.hold(people(12))
    company.hold(people(12), "search")
    kept = tmp_path / "kept.json"
    kept.write_bytes(keepsake(company, "person5@example.org").encode())
    policy = tmp_path / "policy"
    policy.write_bytes(company.world.policy.encode())
    common: list[str | Path] = [kept, "--url", URL, "--policy", policy, "-o"]

    held = attest(company, ["prove", *common, tmp_path / "held.json"])
    early = attest(company, ["certificate", *common, tmp_path / "none.json"])
    company.erase(["person5@example.org"])
    company.erase(["person5@example.org"], "search")
    blind = attest(company, ["prove", kept, "--url", URL, "-o", tmp_path / "blind.json"])
    over = attest(company, ["prove", kept, "--url", URL, "-o", kept])
    erased = attest(company, ["certificate", *common, tmp_path / "certificate.json"])

    assert held.stdout.startswith(f"lookup\t{tmp_path / 'held.json'}\tnot-excluded")
    assert "sees together the indexes of 1 locator" in held.stderr
    assert getattr(early.exception, "code", None) == "certificate/refused"
    assert getattr(over.exception, "code", None) == "file/exists"
    assert not (tmp_path / "none.json").exists()
    assert "not verified" in blind.stderr
    assert (erased.return_value, erased.exception) == (0, None)
    verdict = judge(
        company,
        (tmp_path / "certificate.json").read_bytes(),
        "email:person5@example.org",
        keepsake=Keepsake.parse(kept.read_bytes()),
    )
    assert (verdict.outcome, verdict.claim) == ("holds", "excluded")


def test_a_certificate_finds_a_hold_that_no_keepsake_names(company: Company, tmp_path: Path) -> None:
    """What changed after the keepsake was made is found among the holder's entries."""
    company.hold(people(12))
    kept = tmp_path / "kept.json"
    kept.write_bytes(keepsake(company, "person5@example.org").encode())
    company.hold(people(12, name="New"))
    company.erase(["person5@example.org"])

    result = attest(company, ["certificate", kept, "--url", URL, "-o", tmp_path / "certificate.json"])

    assert result.exception is None
    bundle = (tmp_path / "certificate.json").read_bytes()
    assert judge(company, bundle, "email:person5@example.org").outcome == "holds"


def test_keepsakes_of_two_holders_do_not_mix(company: Company, tmp_path: Path, world: World) -> None:
    """One bundle is about one holder."""
    other = Company(world, tmp_path / "other", company.id.replace("acme", "mixed"))
    paths = []
    for each in (company, other):
        each.hold(people(2))
        paths.append(tmp_path / f"{each.id}.json")
        paths[-1].write_bytes(keepsake(each, "person1@example.org").encode())

    result = attest(company, ["certificate", *paths, "--url", URL, "-o", tmp_path / "certificate.json"])

    assert getattr(result.exception, "code", None) == "prove/mixed"


def test_a_bundle_is_about_64_locators_at_most(company: Company) -> None:
    """More are refused before anything is asked."""
    with company.open() as holder, pytest.raises(AttestError, match="prove/locators"):
        holder.lookup([f"email:p{n}@example.org" for n in range(65)])
