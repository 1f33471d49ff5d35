"""A real service on SQLite, and what tests of its HTTP side need of it."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from attest.api import create_app
from attest.crypto.keys import SigningKey, thumbprint
from attest.encoding import encode_base64url
from attest.formats.rows import RowFile
from attest.formats.statement import Statement
from tests.world import World, descriptor, random_rows

LAST = b"\xff" * 32  # an index behind every other


class Site:
    """One log with one holder of two systems, `crm` and `search`."""

    party = "acme.example"

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.world = World(directory, **settings)
        self.holder = self.world.holder(self.party, descriptor("crm"), descriptor("search"))
        self._examples: dict[str, Any] = {}

    @property
    def node(self) -> Any:
        return self.world.node

    def app(self, **options: Any) -> Flask:
        """Serve the node; writes do not wait unless asked to."""
        return create_app(self.node, **{"wait_s": 0.0, **options})

    def client(self, **options: Any) -> FlaskClient:
        return self.app(**options).test_client()

    def step(self) -> None:
        """Publish what is pending."""
        self.world.step()

    def rows(self, count: int = 1) -> RowFile:
        """Make rows that nobody holds yet."""
        return RowFile.build(random_rows(count))

    def hold(self, rows: RowFile, system: str = "crm", **changes: Any) -> Statement:
        """Sign that the holder holds rows."""
        return self.holder.hold(system, rows, **changes)

    def published(self, count: int = 1) -> tuple[Statement, RowFile]:
        """Publish a hold."""
        rows = self.rows(count)
        statement = self.hold(rows)
        self.world.publish(statement, rows)
        return statement, rows

    def refused(self) -> tuple[Statement, RowFile]:
        """Sign a statement that a rule will refuse because of its row 0: that is held already."""
        _, held = self.published()
        again = RowFile.build({held.indexes[0]: held.commitments[0], LAST: secrets.token_bytes(32)})
        return self.hold(again), again

    def examples(self) -> dict[str, Any]:
        """Return ids of things that are in this log, by the names of parameters."""
        if not self._examples:
            statement, rows = self.published(3)
            self._examples = {
                "entry_id": statement.entry_id,
                "root": rows.root().hex(),
                "index": rows.indexes[1].hex(),
                "party": self.party,
                "kid": encode_base64url(thumbprint(self.node.genesis.receipts)),
                "level": 0,
                "n": "000",
            }
        view = self.node.view
        return {**self._examples, "size": view.size, "width": view.size, "epoch": view.record.number}

    def stranger(self, rows: RowFile) -> Statement:
        """Sign in the holder's name with a key of somebody else."""
        return self.hold(rows, seq=0, key=SigningKey.generate())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A log of this test's own."""
    return Site(tmp_path / "log")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A log for tests that only read, or are refused."""
    return Site(tmp_path_factory.mktemp("api") / "log")
