"""Signing what was erased: only of what is held, only at the level that was looked at."""

from collections.abc import Mapping

import pytest

from attest.errors import Conflict, Malformed
from attest.formats.statement import Statement, Tombstone
from attest.holder.sources import Reject, Rows, Template
from tests.holder.company import EMAIL, Company, people


def tombstone(company: Company) -> Tombstone:
    """Return the last tombstone."""
    with company.open() as holder:
        entry = holder.vault.statements("published")[-1].entry
    assert entry is not None
    payload = Statement.parse(entry).payload
    assert isinstance(payload, Tombstone)
    return payload


def test_erasing_is_one_tombstone_and_repeats_nothing(company: Company) -> None:
    """The state becomes erased at the tombstone's position; a second run finds nothing to say."""
    company.hold(people(12))

    report = company.erase([f"person{n}@example.org" for n in range(10)])
    again = company.erase([f"person{n}@example.org" for n in range(10)])

    assert (report.erased, again.erased, again.already, again.sent) == (10, 0, 10, [])
    state = company.state("person3@example.org")
    assert state is not None
    assert (state.status, state.position) == (2, report.sent[0].position)
    assert tombstone(company).level == "none"


def test_what_is_not_held_cannot_be_erased(company: Company) -> None:
    """It is a reject: the run stops without somebody to take it, and nothing is signed."""
    company.hold(people(3))
    rejects: list[Reject] = []

    with pytest.raises(Malformed, match="source/rejects"):
        company.erase(["person1@example.org", "stranger@example.org"])
    report = company.erase(["person1@example.org", "stranger@example.org"], reject=rejects.append)

    assert rejects == [Reject(2, "not-held")]
    assert report.erased == 1


def test_a_check_that_still_finds_somebody_refuses_to_sign(company: Company) -> None:
    """While the locator is in the system in any spelling, nothing is signed; lines are named, values are not."""
    company.hold(people(12))
    system = Rows([*people(3), {"email": " Person7@EXAMPLE.org", "name": "again"}])

    with pytest.raises(Conflict) as caught:
        company.erase(["person7@example.org", "person9@example.org"], check=(system, EMAIL))

    assert caught.value.code == "erase/still-present"
    assert "lines 4" in caught.value.message
    assert "person7" not in str(caught.value).lower()
    state = company.state("person9@example.org")
    assert state is not None
    assert state.status == 1


def test_only_a_check_claims_level_logical(company: Company) -> None:
    """A system that was read again and does not have them is level logical; rows without any locator are nobody's."""
    company.hold(people(12))
    empty: list[Mapping[str, object]] = [{"email": "", "name": "nobody"}, *people(3)]

    company.erase(["person7@example.org"], check=(Rows(empty), EMAIL))

    assert tombstone(company).level == "logical"


def test_a_check_that_cannot_read_a_locator_refuses_to_sign(company: Company) -> None:
    """A broken locator might be anybody's."""
    company.hold(people(12))

    with pytest.raises(Malformed, match="erase/check-unreadable"):
        company.erase(["person7@example.org"], check=(Rows([{"email": "person7(at)example.org"}]), EMAIL))


def test_a_check_may_have_other_columns(company: Company) -> None:
    """The system as it is now has a template of its own."""
    company.hold(people(12))

    with pytest.raises(Conflict, match="erase/still-present"):
        company.erase(
            ["person7@example.org"], check=(Rows([{"mail": "person7@example.org"}]), Template("email:{mail}"))
        )


def test_a_check_that_could_find_nobody_refuses_to_sign(company: Company) -> None:
    """A misspelt field, or another type of locator, would make every check pass."""
    company.hold(people(12))

    with pytest.raises(Malformed, match="erase/check-unreadable"):
        company.erase(["person7@example.org"], check=(Rows(people(12)), Template("email:{mail}")))
    with pytest.raises(Malformed, match="erase/check-type"):
        company.erase(["person7@example.org"], check=(Rows(people(12)), Template("record:{name}")))
    state = company.state("person7@example.org")
    assert state is not None
    assert state.status == 1


def test_a_check_of_an_empty_system_finds_nobody(company: Company) -> None:
    """Whoever erased the last one has an empty table; the report says that nothing was read."""
    company.hold(people(12))

    report = company.erase(["person7@example.org"], check=(Rows([]), EMAIL))

    assert report.checked == 0
    assert tombstone(company).level == "logical"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"method": "shredded"}, "erase/method"),
        ({"erased_at": 4_000_000_000}, "erase/time"),
        ({"ground": "Because"}, "statement/field"),
    ],
)
def test_wrong_claims_are_refused_before_anything_is_signed(
    company: Company, options: dict[str, object], code: str
) -> None:
    """Unknown methods, the future, and grounds that no code can be."""
    company.hold(people(2))

    with pytest.raises(Malformed) as caught:
        company.erase(["person1@example.org"], **options)

    assert caught.value.code == code


def test_pending_holds_and_tombstones_wait_for_each_other(lone_company: Company) -> None:
    """One index has one change under way: the other run says which."""
    company, day, rejects = lone_company, 86_400, list[Reject]()
    company.hold(people(5))
    company.hold(people(2, name="New"), window_s=day)
    company.erase(["person4@example.org"], window_s=day)

    company.erase(["person0@example.org"], reject=rejects.append)
    company.hold(people(5, name="New")[4:], reject=rejects.append)

    assert rejects == [Reject(1, "pending-hold"), Reject(1, "pending-tombstone")]
    company.world.clock.now += 2 * day
    with company.open() as holder:
        assert sorted(each.kind for each in holder.send().sent) == ["hold/1", "tombstone/1"]


def test_a_withdrawn_tombstone_leaves_the_record_held(company: Company) -> None:
    """What was not sent can be taken back; the vault still opens the commitment."""
    company.hold(people(3))
    company.erase(["person1@example.org"], window_s=86_400)
    with company.open() as holder:
        (waiting,) = holder.vault.statements("open")
        holder.withdraw(waiting.id)
        with pytest.raises(Conflict, match="vault/statement"):
            holder.withdraw(waiting.id)

    assert company.hold(people(3)).unchanged == 3
    assert company.erase(["person1@example.org"]).erased == 1
