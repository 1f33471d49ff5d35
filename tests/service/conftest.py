"""Worlds on SQLite and, where the database matters, on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import running_postgres, temporary_database
from tests.world import World, descriptor


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of an empty database; None for the default, a file in the log's directory."""
    if request.param == "sqlite":
        yield None
    else:
        with temporary_database(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A new log on SQLite."""
    world = World(tmp_path / "log")
    yield world
    world.close()


@pytest.fixture
def any_world(tmp_path: Path, database: str | None) -> Iterator[World]:
    """A new log on each kind of database."""
    world = World(tmp_path / "log", database=database)
    yield world
    world.close()


@pytest.fixture
def acme(world: World):
    """A holder with the systems `db` and `search`."""
    return world.holder("acme.example", descriptor("db"), descriptor("search", "search"))
