"""What people look at, on both databases."""

import pytest

from attest.errors import Conflict
from attest.formats.rows import RowFile
from attest.formats.statement import Statement
from attest.merkle.tree import verify_inclusion
from tests.world import Holder, World, descriptor, random_rows


def test_companies_are_found_by_words(any_world: World) -> None:
    """All of the words, anywhere in id, name or legal identifier; what SQL takes for wildcards is not special."""
    for party, name, legal in [
        ("faces.example", "100% Faces Inc.", "DE 1"),
        ("rival.example", "Rival_Ltd", "DE 22"),
        ("other.example", "Other Faces", "FR 1"),
    ]:
        admit(any_world, party, name, legal)
    browse = any_world.node.browse

    def found(words: str) -> list[str]:
        return [each["id"] for each in browse.holders_called(words, 100)]

    assert found("faces") == ["faces.example", "other.example"]
    assert found("FACES de") == ["faces.example"]
    assert found("%") == ["faces.example"]
    assert found("_") == ["rival.example"]
    assert found("\\") == [] and found("'") == [] and found("nobody") == []
    assert [each["name"] for each in browse.holders_called("example", 2)] == ["100% Faces Inc.", "Other Faces"]


def admit(world: World, party: str, name: str, legal: str) -> None:
    """Admit somebody of this name."""
    holder = Holder(party, world.clock, name=name, legal_id=legal)
    world.admit(holder)
    world.holders[party] = holder


def test_entries_are_shown_with_what_proves_them(any_world: World) -> None:
    """By position and by leaf hash, and only when they are published."""
    acme = any_world.holder("acme.example", descriptor("db"))
    rows = RowFile.build(random_rows(3))
    statement = acme.hold("db", rows)
    any_world.submit(statement, rows)
    browse = any_world.node.browse
    size = browse.view.size
    assert browse.entry(statement.leaf) is None and browse.entry(size) is None

    any_world.step()
    found = browse.entry(statement.leaf)
    assert found is not None and found == browse.entry(found.record.position)
    verify_inclusion(statement.leaf, found.record.position, found.view.size, found.view.record.tree_root, found.path)
    assert found.epoch.size > found.record.position

    newest = browse.newest_of("acme.example", 2)
    assert [Statement.parse(entry).payload.KIND for _, _, entry in newest] == ["hold/1", "systems/1"]
    assert newest[0][:2] == (found.record.position, found.epoch.time)


def test_all_entries_come_once(any_world: World) -> None:
    """Page after page, newest first."""
    any_world.holder("acme.example", descriptor("db"))
    browse = any_world.node.browse
    shown, before = [], None
    while True:
        page = browse.entries_of_all(before, 2)
        shown += [each["position"] for each in page["entries"]]
        if (before := page["next"]) is None:
            break

    assert shown == list(range(browse.view.size))[::-1]
    assert browse.entries_of_all(0, 2) == {"entries": [], "next": None}


def test_unknown_ones_are_said_to_be_unknown(world: World) -> None:
    """Companies and systems."""
    world.holder("acme.example", descriptor("db"))
    browse = world.node.browse
    for code, ask in [
        ("holder/unknown", lambda: browse.holder("nobody.example")),
        ("holder/unknown", lambda: browse.system(world.node.origin, "db")),
        ("system/unknown", lambda: browse.system("acme.example", "nothing")),
        ("system/unknown", lambda: browse.history("acme.example", "", None, 10)),
    ]:
        with pytest.raises(Conflict, match=code):
            ask()
    assert browse.name_of("nobody.example") == "nobody.example"


def test_a_history_is_paged(world: World) -> None:
    """Every change once, newest first."""
    acme = world.holder("acme.example", descriptor("db"))
    for _ in range(5):
        rows = RowFile.build(random_rows(2))
        world.publish(acme.hold("db", rows), rows)
    browse = world.node.browse
    held, before = [], None
    while True:
        page = browse.history("acme.example", "db", before, 2)
        held += [each["held"] for each in page["history"]]
        if (before := page["next"]) is None:
            break

    assert held == [10, 8, 6, 4, 2, 0]
