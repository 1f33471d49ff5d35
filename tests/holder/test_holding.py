"""Committing what is held: what is new or changed, once, whatever the source looks like."""

import pytest

from attest.crypto import vrf
from attest.errors import Conflict, Malformed
from attest.holder import sdk, vault
from attest.holder.sources import Reject, Rows, Template
from tests.holder.company import EMAIL, Company, people


def test_what_is_held_is_in_the_log_and_opens(company: Company) -> None:
    """After a hold each record is held at version 1 under a commitment that the vault opens."""
    report = company.hold(people(12))

    assert (report.new, report.read, report.rejected) == (12, 12, 0)
    assert [(sent.kind, sent.count) for sent in report.sent] == [("hold/1", 12)]
    state = company.state("person3@example.org")
    assert state is not None
    assert (state.status, state.generation, state.version) == (1, 1, 1)
    assert state.position == report.sent[0].position
    company.world.check()


def test_a_repeated_run_changes_nothing(company: Company) -> None:
    """An unchanged record is skipped: no statement, no second salt."""
    company.hold(people(12))
    before = company.state("person3@example.org")

    report = company.hold(reversed(people(12)))

    assert (report.unchanged, report.new, report.sent) == (12, 0, [])
    assert company.state("person3@example.org") == before


def test_a_changed_record_is_a_new_version(company: Company) -> None:
    """Only the changed record is committed anew, and what opened the old commitment is gone from the vault."""
    company.hold(people(12))
    index = company.index("person3@example.org")
    with company.open() as holder:
        old = holder.vault.live("crm", [index])[index][0]

    report = company.hold([*people(12)[:3], {"email": "person3@example.org", "name": "Renamed"}, *people(12)[4:]])

    assert (report.changed, report.unchanged) == (1, 11)
    state = company.state("person3@example.org")
    assert state is not None
    assert (state.generation, state.version) == (1, 2)
    assert all(old.salt not in content for content in company.files())


def test_what_was_erased_and_comes_back_is_reheld(company: Company) -> None:
    """A hold after a tombstone is the next generation, and the run says so."""
    company.hold(people(12))
    company.erase(["person3@example.org"])

    report = company.hold(people(12))

    assert (report.reheld, report.unchanged) == (1, 11)
    state = company.state("person3@example.org")
    assert state is not None
    assert (state.status, state.generation, state.version) == (1, 2, 1)


def test_spellings_of_one_locator_are_one_person(company: Company) -> None:
    """Locators are normalised before anything else."""
    rejects: list[Reject] = []

    company.hold([{"email": "A@Example.org"}, {"email": " a@example.ORG"}], reject=rejects.append)

    assert rejects == [Reject(2, "duplicate-locator")]


def test_without_anybody_to_take_rejects_a_bad_source_is_refused_whole(company: Company) -> None:
    """Nothing is dropped unseen: the error counts and names lines, and nothing was signed."""
    rows = [*people(3), {"email": "nobody"}, {"name": "no address"}, people(1)[0]]

    with pytest.raises(Malformed) as caught:
        company.hold(rows)

    assert caught.value.code == "source/rejects"
    for line, code in ((4, "locator/email"), (5, "template/missing"), (6, "duplicate-locator")):
        assert f"line {line}: {code}" in caught.value.message
    assert company.state("person1@example.org") is None


def test_rejects_are_listed_and_the_rest_is_held(company: Company) -> None:
    """Each unusable record is named once, by line and code; all others are committed."""
    rejects: list[Reject] = []

    report = company.hold([*people(3), {"email": "nobody"}, people(1)[0]], reject=rejects.append)

    assert rejects == [Reject(4, "locator/email"), Reject(5, "duplicate-locator")]
    assert (report.new, report.rejected) == (3, 2)


def test_a_group_is_one_holding_of_all_its_records(company: Company) -> None:
    """With --group the order and repeats of records do not matter; one more record is a new version."""
    orders = [{"email": "a@example.org", "order": n} for n in range(3)]
    company.hold(orders, group=True)

    again = company.hold([*reversed(orders), orders[0]], group=True)
    more = company.hold([*orders, {"email": "a@example.org", "order": 3}], group=True)

    assert (again.unchanged, again.sent) == (1, [])
    assert more.changed == 1
    with company.open() as holder:
        index = holder.subject("email:a@example.org").index(company.id, "crm")
        assert len(holder.vault.live("crm", [index])[index][0].records) == 4 * 32


def test_systems_have_unlinkable_indexes(company: Company) -> None:
    """One person has another index and another salt in each system."""
    company.hold(people(12))
    company.hold(people(12), "search")

    with company.open() as holder:
        subject = holder.subject("email:person3@example.org")
        found = [holder.vault.live(name, [subject.index(company.id, name)]) for name in ("crm", "search")]
    crm, search = (next(iter(each.values()))[0] for each in found)
    assert crm.index != search.index
    assert crm.salt != search.salt
    assert crm.records == search.records


def test_large_sources_become_several_statements(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full statements are sent while the rest is still being prepared; each row is in exactly one."""
    monkeypatch.setattr(sdk, "MAX_ROWS", 10)
    monkeypatch.setattr(vault, "MAX_ROWS", 10)
    monkeypatch.setattr(sdk, "BATCH", 7)

    report = company.hold(people(25))

    assert sorted(sent.count for sent in report.sent) == [5, 10, 10]
    company.world.check()
    assert company.hold(people(25)).unchanged == 25


def test_a_locator_in_two_batches_is_one_person(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are evaluated while the one before is staged; a locator of both is remembered once."""
    monkeypatch.setattr(sdk, "BATCH", 2)
    rows = people(5)

    report = company.hold([rows[0], rows[1], rows[1], rows[2], rows[1], rows[3], rows[0], rows[4]], group=True)

    assert (report.read, report.new) == (8, 5)
    assert company.hold(rows).unchanged == 5


def test_a_dry_run_leaves_no_trace(company: Company) -> None:
    """It counts and warns, and neither vault nor log changes."""
    before = list(company.files())
    size = company.world.node.view.size

    report = company.hold(people(3), dry_run=True)

    assert report.new == 3
    assert [warning.split(":")[0] for warning in report.warnings] == ["small-batch"]
    assert sorted(company.files()) == sorted(before)
    assert company.world.node.view.size == size


def test_small_and_equal_batches_are_warned_about(company: Company) -> None:
    """A few rows, or as many rows in two systems within a day, can give people away."""
    small = company.hold(people(2))
    equal = company.hold(people(12), "search")
    more = company.hold(people(14)[2:])

    assert [warning.split(":")[0] for warning in small.warnings] == ["small-batch"]
    assert equal.warnings == []
    assert [warning.split(":")[0] for warning in more.warnings] == ["equal-batch"]


def test_a_window_collects_until_its_end(lone_company: Company) -> None:
    """Runs within one window become one statement, which is signed and sent after its end and not before."""
    day = 86_400
    clock = lone_company.world.clock
    clock.now = clock.now // day * day + day + 100

    first = lone_company.hold(people(6), window_s=day)
    second = lone_company.hold(people(12), window_s=day)
    changed = lone_company.hold([{"email": "person0@example.org", "name": "New"}], window_s=day)
    early = lone_company.open()
    with early:
        assert early.send().sent == []
    assert first.release_at == second.release_at == clock.now // day * day + day
    assert (second.waiting, second.new, changed.new) == (6, 6, 1)
    assert lone_company.state("person1@example.org") is None

    clock.now = first.release_at
    with lone_company.open() as holder:
        sent = holder.send().sent

    assert [(each.kind, each.count) for each in sent] == [("hold/1", 12)]
    assert lone_company.hold([{"email": "person0@example.org", "name": "New"}]).unchanged == 1
    lone_company.world.check()


def test_a_change_taken_back_within_its_window_is_no_version(lone_company: Company) -> None:
    """What is as published again has nothing to publish."""
    day = 86_400
    lone_company.hold(people(12))
    lone_company.hold(people(12, name="New"), window_s=day)

    report = lone_company.hold(people(12), window_s=day)
    lone_company.world.clock.now += 2 * day
    with lone_company.open() as holder:
        sent = holder.send().sent

    assert (report.unchanged, sent) == (12, [])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"cause": "because"}, "hold/cause"),
        ({"window_s": 0}, "window/length"),
    ],
)
def test_wrong_options_are_refused(company: Company, options: dict[str, object], code: str) -> None:
    """Before anything is read or signed."""
    with pytest.raises(Malformed) as caught:
        company.hold(people(1), **options)

    assert caught.value.code == code


def test_a_system_is_indexed_by_the_types_it_declared(company: Company) -> None:
    """A template of another type would commit rows that no look-up asks for."""
    with company.open() as holder, pytest.raises(Malformed) as caught:
        holder.hold("crm", Rows(people(1)), Template("record:{email}"))

    assert caught.value.code == "hold/locator-type"


def test_unknown_and_retired_systems_take_nothing(company: Company) -> None:
    """Retiring is refused while anything is held, and final afterwards."""
    company.hold(people(12))
    with company.open() as holder:
        with pytest.raises(Conflict, match="systems/still-held"):
            holder.retire_system("crm")
        holder.retire_system("search")
        with pytest.raises(Conflict, match="systems/retired"):
            holder.hold("search", Rows(people(1)), EMAIL)
        with pytest.raises(Conflict, match="vault/system"):
            holder.hold("nowhere", Rows(people(1)), EMAIL)


def test_adding_systems_twice_says_it_once(company: Company) -> None:
    """A descriptor that is registered so already makes no statement."""
    with company.open() as holder:
        assert holder.add_systems(list(holder.systems().values())).sent == []


def test_known_locators_need_no_vrf(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run finds its indexes by tags; without the VRF secret the tags say nothing."""
    company.hold(people(12))

    with company.open() as holder:
        monkeypatch.setattr(vrf.Prover, "evaluate", lambda *_: pytest.fail("evaluated again"))
        report = holder.hold("search", Rows(people(12)), EMAIL)

    assert report.new == 12


def test_workers_give_the_same_indexes() -> None:
    """A pool of processes evaluates as one process does, in the same order."""
    from attest.holder.indexing import Indexer

    locators = [f"email:person{n}@example.org" for n in range(2100)]
    with Indexer(bytes(range(32)), workers=2) as many, Indexer(bytes(range(32)), workers=1) as one:
        assert many.betas(locators)[::300] == one.betas(locators[::300])
