"""One party's queue never keeps another party out."""

from pathlib import Path

import pytest

from attest.errors import Unavailable
from attest.formats.rows import RowFile
from tests.world import World, descriptor, random_rows


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "log", pending_party=6, pending_rows=10, pending_statements=100)


def test_a_party_fills_its_own_part_of_the_queue_only(world: World) -> None:
    """Statements that number ahead wait for long: only so many of one party do."""
    greedy = world.holder("greedy.example", descriptor("crm"))
    modest = world.holder("modest.example", descriptor("crm"))
    ahead = [greedy.systems(descriptor(f"s{n}"), seq=5 + n) for n in range(7)]
    for statement in ahead[:6]:
        world.submit(statement)

    with pytest.raises(Unavailable) as refused:
        world.submit(ahead[6])

    assert refused.value.code == "queue/full"
    assert world.submit(ahead[0]).state == "pending"
    assert world.publish(greedy.systems(descriptor("first"))).state == "entry"
    rows = RowFile.build(random_rows(3))
    assert world.publish(modest.hold("crm", rows), rows).state == "entry"


def test_a_party_has_room_for_so_many_rows(world: World) -> None:
    """Whether they are uploaded or not; what is alone is taken, however large it is."""
    greedy = world.holder("greedy.example", descriptor("crm"))
    large = RowFile.build(random_rows(12))
    world.submit(greedy.hold("crm", large, seq=1), large)
    small = RowFile.build(random_rows(1))

    with pytest.raises(Unavailable) as refused:
        world.submit(greedy.hold("crm", small, seq=0), small)
    assert refused.value.code == "queue/full"
