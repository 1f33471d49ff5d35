"""A company for each test, in a world that the tests of a module share."""

import itertools
from pathlib import Path

import pytest

from attest.holder import vault
from tests.holder.company import Company
from tests.world import World

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def fast_vaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power loss is not what these tests look at."""
    monkeypatch.setitem(vault.PRAGMAS, "synchronous", "OFF")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A log."""
    return World(tmp_path_factory.mktemp("world") / "log")


@pytest.fixture
def company(world: World, tmp_path: Path) -> Company:
    """An admitted company with two systems."""
    return Company(world, tmp_path / "company", f"acme{next(_numbers)}.example")


@pytest.fixture
def lone_company(tmp_path: Path) -> Company:
    """A company in a world of its own, whose days may pass."""
    return Company(World(tmp_path / "log", transitions_s=10_000_000), tmp_path / "company")
