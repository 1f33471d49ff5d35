"""`attest operator fsck`: whatever is spoilt is found by name, and what follows from the rest comes back."""

import contextlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, partialmethod
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from attest.cli import main
from attest.config import Config
from attest.crypto.keys import SigningKey
from attest.encoding import sha256
from attest.errors import Conflict
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.cosignature import cosign_ed25519
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, add_witness
from attest.formats.rows import RowFile
from attest.fsck import Finding, Fsck, Repair
from attest.node import Node
from attest.store import cosigned
from attest.store.db import Database, metadata
from tests.postgres import temporary_database
from tests.service.crashing import Crash
from tests.world import SimulatedClock, World, descriptor, random_rows

Files = dict[str, bytes]
WITNESS = "north.example/w"


@dataclass
class Stored:
    """One stored log that nobody serves, as it was and as it is."""

    config: Config
    clock: SimulatedClock

    def path(self, pattern: str, nth: int = 0) -> Path:
        """Return a file by a pattern, the nth in order."""
        return sorted(each for each in self.config.directory.glob(pattern) if each.is_file())[nth]

    def files(self) -> Files:
        """Return all files but those of the database, by name."""
        every = (each for each in self.config.directory.rglob("*") if each.is_file())
        return {each.relative_to(self.config.directory).as_posix(): each.read_bytes()
                for each in every if not each.name.startswith("attest.db")}  # fmt: skip

    def put_back(self, files: Files) -> None:
        """Make the files these, and no others."""
        for name in self.files().keys() - files.keys():
            (self.config.directory / name).unlink()
        for name, content in files.items():
            path = self.config.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for folder in (self.config.directory / "private/snapshots").glob(".new-*"):
            shutil.rmtree(folder)

    def check(self, **how: Any) -> list[Finding]:
        """Check it."""
        return list(Fsck(self.config, clock=self.clock, **how).run())

    def sql(self, *statements: str, **values: object) -> None:
        """Change the database behind everybody's back."""
        with self._connect() as connection:
            lenient(connection)
            for each in statements:
                bound = {name: value for name, value in values.items() if f":{name}" in each}
                connection.execute(sa.text(each), bound)
            connection.commit()

    def value(self, query: str) -> Any:
        """Read one value of the database."""
        with self._connect() as connection:
            return connection.execute(sa.text(query)).scalar()

    def flip(self, table: str, column: str, where: str) -> None:
        """Flip a bit in the middle of a value."""
        value = self.value(f"SELECT {column} FROM {table} WHERE {where}")
        if isinstance(value, str):
            middle = len(value) // 2
            flipped: Any = value[:middle] + ("A" if value[middle] != "A" else "B") + value[middle + 1 :]
        else:
            middle = len(value) // 2
            flipped = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
        self.sql(f"UPDATE {table} SET {column} = :flipped WHERE {where}", flipped=flipped)

    def rows(self) -> dict[str, list[Any]]:
        """Return all rows of all tables but of the lease, which a repair takes."""
        with self._connect() as connection:
            return {
                table.name: sorted(connection.execute(sa.select(table)).all(), key=repr)
                for table in tables()
                if table.name != "lease"
            }

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        db = Database(self.config.database_url())
        try:
            with db.engine.connect() as connection:
                yield connection
        finally:
            db.close()


def lenient(connection: Connection) -> None:
    """Let rows go that others refer to."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET session_replication_role = replica"))
    else:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")


@dataclass
class Template:
    """A log with something of everything, stopped; and the rows of its tables."""

    world: World
    rows: dict[sa.Table, list[dict[str, Any]]]

    @classmethod
    def make(cls, directory: Path, database: str | None, statements: int) -> "Template":
        world = World(directory, database=database, quiet_interval_s=3600)
        fill(world, statements)
        world.close()
        db = Database(world.config.database_url())
        with db.read() as transaction:
            rows = {
                table: [dict(row) for row in transaction.execute(sa.select(table)).mappings()] for table in tables()
            }
        db.close()
        return cls(world, rows)

    def copy(self, directory: Path) -> Stored:
        """Make a fresh copy; of a PostgreSQL database there is one, and it gets its rows back."""
        shutil.copytree(self.world.directory, directory / "log")
        config = replace(self.world.config, directory=directory / "log")
        if not config.database.startswith("sqlite"):
            db = Database(config.database_url())
            with db.engine.connect() as connection:
                lenient(connection)
                for table in reversed(tables()):
                    connection.execute(sa.delete(table))
                for table in tables():
                    if self.rows[table]:
                        connection.execute(sa.insert(table), self.rows[table])
                connection.commit()
            db.close()
        return Stored(config, self.world.clock)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template.make(tmp_path_factory.mktemp("fsck") / "log", None, 245)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template.make(tmp_path_factory.mktemp("fsck") / "log", None, 3)


@pytest.fixture(scope="module")
def on_postgresql(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with temporary_database(postgres) as url:
        yield Template.make(tmp_path_factory.mktemp("fsck") / "log", url, 3)


@pytest.fixture
def stored(on_sqlite: Template, tmp_path: Path) -> Stored:
    """A small log of which something is spoilt."""
    return on_sqlite.copy(tmp_path)


@pytest.fixture
def two_bundles(large: Template, tmp_path: Path) -> Stored:
    """A log with a full bundle, and so tiles of two levels."""
    return large.copy(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    """A small log on each kind of database."""
    template: Template = request.getfixturevalue(f"on_{request.param}")
    return template.copy(tmp_path)


def tables() -> list[sa.Table]:
    return metadata.sorted_tables


def fill(world: World, statements: int) -> None:
    """Make a log of ten epochs, one with so many statements, with a cosignature, snapshots and a queue."""
    acme = world.holder("acme.example", descriptor("db"), descriptor("search", "search"))
    files = [RowFile.build(random_rows(5)) for _ in range(4)]
    for rows in files[:3]:
        world.publish(acme.hold("db", rows), rows)
    world.publish(acme.erase("db", files[0]))
    world.publish(acme.hold("search", files[0]), files[0])
    world.node.stop()  # writes a snapshot
    world.restart()
    for _ in range(statements):
        one = RowFile.build(random_rows(1))
        world.submit(acme.hold("db", one), one)
    world.step()
    world.publish(acme.hold("db", files[3]), files[3])
    # One is refused, one waits for what comes before it, one for its row file.
    world.submit(acme.hold("search", files[0]), files[0])
    world.step()
    seq = acme.seqs["search"]
    world.submit(acme.hold("search", ahead := RowFile.build(random_rows(2)), seq=seq + 1), ahead)
    world.submit(acme.hold("search", RowFile.build(random_rows(2)), seq=seq + 2))
    world.node.stop()
    key = SigningKey.generate()
    verifier = NoteVerifier.of(WITNESS, KeyType.COSIGNATURE, key.public)
    place = world.config.path(world.config.policy)
    policy = add_witness(Policy.parse(place.read_bytes()), "north", "https://north.example", [verifier.encode()])
    place.write_bytes(policy.encode())
    db = Database(world.config.database_url())
    published = SignedCheckpoint.parse(world.published("checkpoint"))
    line = cosign_ed25519(WITNESS, key, published.checkpoint, int(world.clock()))
    cosigned.record(db, [cosigned.Stored(published.checkpoint.size, int(world.clock()), line)], [])
    with db.engine.connect() as connection:  # what SQLite keeps aside would not be copied
        if db.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    (world.config.path(world.config.public) / "checkpoint").write_bytes(published.with_lines([line]).encode())


# --- ways to spoil a file ---


def flip(path: Path) -> None:
    """Flip a bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Lose the second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    """Lose everything, as after a power cut."""
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    """Gain a byte."""
    path.write_bytes(path.read_bytes() + b"\x00")


def delete(path: Path) -> None:
    """Lose the file."""
    path.unlink()


HARMS = [flip, truncate, empty, lengthen, delete]
TILES = {
    "full tile": ("public/tile/0/000", 0, "fsck/tile"),
    "newest tile": ("public/tile/0/001.p/*", -1, "fsck/tile"),
    "upper tile": ("public/tile/1/000.p/1", 0, "fsck/tile"),
    "older partial tile": ("public/tile/0/000.p/*", 0, "fsck/partial"),
    "full bundle": ("public/tile/entries/000", 0, "fsck/bundle"),
    "newest bundle": ("public/tile/entries/001.p/*", -1, "fsck/bundle"),
    "older partial bundle": ("public/tile/entries/000.p/*", 0, "fsck/partial"),
}
DERIVED = {
    "checkpoint": ("public/checkpoint", 0, "fsck/checkpoint"),
    "only tile": ("public/tile/0/000.p/22", 0, "fsck/tile"),
    "only bundle": ("public/tile/entries/000.p/22", 0, "fsck/bundle"),
    "first transition": ("private/transitions/0", 0, "fsck/transition"),
    "transition": ("private/transitions/5", 0, "fsck/transition"),
    "manifest": ("private/snapshots/*/manifest.json", 0, "fsck/snapshot"),
    "heads": ("private/snapshots/*/heads", 0, "fsck/snapshot"),
    "keys of a map": ("private/snapshots/*/0/prefix.npy", 0, "fsck/snapshot"),
    "rest of the keys": ("private/snapshots/*/0/rest.npy", -1, "fsck/snapshot"),
    "states of a map": ("private/snapshots/*/1/states.npy", -1, "fsck/snapshot"),
}
TRUTH = {
    "row file": ("public/rows/*", 3, "fsck/rows"),
    "upload": ("private/uploads/*", 0, "fsck/upload"),
    "statements key": ("keys/statements.pem", 0, "fsck/key"),
    "receipts key": ("keys/receipts.pem", 0, "fsck/key"),
    "note key": ("keys/note-ed25519.pem", 0, "fsck/key"),
    "post-quantum note key": ("keys/note-mldsa44.pem", 0, "fsck/key"),
    "policy": ("policy", 0, "fsck/policy"),
}
TOLERATED = {
    # Partial tiles may go as soon as the full one is there.
    ("older partial tile", delete), ("older partial bundle", delete),
    # PEM goes on until its end line.
    *((name, lengthen) for name in TRUTH if "key" in name),
}  # fmt: skip


def cases(kinds: dict[str, tuple[str, int, str]]) -> list[Any]:
    return [
        pytest.param(*kinds[name], harm, id=f"{name}-{harm.__name__}")
        for name in kinds
        for harm in (flip, delete)
        if (name, harm) not in TOLERATED
    ]


def named(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.code, each.where) for each in findings]


def test_what_is_whole_is_clean(any_stored: Stored) -> None:
    """No finding, in full and quickly; nothing changes, and all there is has been looked at."""
    stored, before = any_stored, any_stored.files()
    for quick in (False, True):
        check = Fsck(stored.config, clock=stored.clock, quick=quick)
        assert list(check.run()) == []
        assert check.checked["entries"] == stored.value("SELECT count(*) FROM entries")
        assert check.checked["epochs"] == stored.value("SELECT count(*) FROM epochs") == check.checked["transitions"]
        assert check.checked["queue"] == 3 and check.checked["cosignatures"] == 1 and check.checked["snapshots"] == 2
        assert check.checked["row files"] == len(list((stored.config.directory / "public/rows").iterdir())) + 1
        assert check.checked["replayed"] == (0 if quick else check.checked["entries"])
    assert stored.files() == before
    assert stored.check(repair=Repair()) == []
    assert stored.files() == before


def test_two_bundles_are_clean(two_bundles: Stored) -> None:
    """The larger log too, before something is spoilt."""
    assert two_bundles.check(quick=True) == []


@pytest.mark.parametrize(("pattern", "nth", "code", "harm"), cases(DERIVED))
def test_what_follows_from_the_rest_is_found_and_comes_back(
    stored: Stored, pattern: str, nth: int, code: str, harm: Callable[[Path], None]
) -> None:
    """By its own code and exact name, once; --repair writes the very bytes again, and then all is clean."""
    comes_back(stored, stored.path(pattern, nth), code, harm)


@pytest.mark.parametrize(("pattern", "nth", "code", "harm"), cases(TILES))
def test_tiles_and_bundles_are_found_and_come_back(
    two_bundles: Stored, pattern: str, nth: int, code: str, harm: Callable[[Path], None]
) -> None:
    """Full and partial ones, of every level, likewise."""
    comes_back(two_bundles, two_bundles.path(pattern, nth), code, harm)


def comes_back(stored: Stored, path: Path, code: str, harm: Callable[[Path], None]) -> None:
    """Afterwards all is as it was when nothing was found."""
    before, rows = stored.files(), stored.rows()
    harm(path)
    where = path.relative_to(stored.config.directory).as_posix()
    spoilt = stored.files()

    findings = stored.check(quick=True)
    assert named(findings) == [(code, where)] and not findings[0].repaired
    assert stored.files() == spoilt
    repaired = stored.check(repair=Repair(), quick=True)
    assert named(repaired) == [(code, where)] and repaired[0].repaired
    assert (stored.files(), stored.rows()) == (before, rows)


@pytest.mark.parametrize("harm", [truncate, empty, lengthen])
def test_everything_that_follows_comes_back_at_once(two_bundles: Stored, harm: Callable[[Path], None]) -> None:
    """One fault hides no other: all derived files spoilt together are all named, and all come back."""
    stored, before = two_bundles, two_bundles.files()
    kinds = {name: case for name, case in {**DERIVED, **TILES}.items() if not name.startswith("only ")}
    spoilt = [(code, stored.path(pattern, nth)) for pattern, nth, code in kinds.values()]
    for _, path in spoilt:
        harm(path)

    repaired = stored.check(repair=Repair())
    wanted = sorted((code, path.relative_to(stored.config.directory).as_posix()) for code, path in spoilt)
    # What a manifest names cannot be known without it; the whole snapshot is written again.
    bare = [each for each in wanted if not is_shadowed(each[1], wanted)]
    assert sorted(named(repaired)) == bare and all(each.repaired for each in repaired)
    assert stored.files() == before
    assert stored.check() == []


def is_shadowed(where: str, wanted: list[tuple[str, str]]) -> bool:
    """Tell whether a file of a snapshot stands beside a spoilt manifest."""
    place = "/".join(where.split("/")[:3])
    manifest = f"{place}/manifest.json"
    return where.startswith("private/snapshots/") and where != manifest and ("fsck/snapshot", manifest) in wanted


@pytest.mark.parametrize(("pattern", "nth", "code", "harm"), cases(TRUTH))
def test_what_nothing_else_tells_is_found_and_left_alone(
    stored: Stored, pattern: str, nth: int, code: str, harm: Callable[[Path], None]
) -> None:
    """By its own code and exact name; --repair does not touch it."""
    path = stored.path(pattern, nth)
    harm(path)
    where = path.relative_to(stored.config.directory).as_posix()
    spoilt = stored.files()

    for repair in (None, Repair()):
        findings = stored.check(quick=True, repair=repair)
        assert named(findings) == [(code, where)]
        assert findings[0].severity == "damaged" and not findings[0].repaired
    assert stored.files() == spoilt


# --- the database ---


def swap_entries(log: Stored) -> None:
    """Swap two statements whole."""
    log.sql("UPDATE entries SET position = -1 WHERE position = 8")
    log.sql("UPDATE entries SET position = 8 WHERE position = 10")
    log.sql("UPDATE entries SET position = 10 WHERE position = -1")


def swap_checkpoints(log: Stored) -> None:
    """Swap what was signed for two epochs."""
    third, fourth = (log.value(f"SELECT checkpoint FROM epochs WHERE number = {number}") for number in (3, 4))
    log.sql("UPDATE epochs SET checkpoint = :c WHERE number = 3", c=fourth)
    log.sql("UPDATE epochs SET checkpoint = :c WHERE number = 4", c=third)


Spoil = Callable[[Stored], None]


def sql(*statements: str) -> Spoil:
    return lambda log: log.sql(*statements)


def flipped(table: str, column: str, where: str) -> Spoil:
    return lambda log: log.flip(table, column, where)


COSIGNATURE = [("fsck/cosignature", "cosignatures 22 " + WITNESS)]
EPOCH = [("fsck/epoch", "epochs 4")]
REGISTER = [("fsck/register", "register log.example/deletions")]
# What is done; what is found; whether --repair makes it right. Entries: 6, 8, 10 hold, 12 erases, odd ones are epochs.
SPOILT: dict[str, tuple[Spoil, list[tuple[str, str]], bool]] = {
    "entry flipped": (flipped("entries", "entry", "position = 8"), [("fsck/entry", "entries 8")], False),
    "entry 0 flipped": (flipped("entries", "entry", "position = 0"), [("fsck/entry", "entries 0")], False),
    "epoch entry flipped": (flipped("entries", "entry", "position = 9"), [("fsck/entry", "entries 9")], False),
    "entry gone": (sql("DELETE FROM entries WHERE position = 8"), [("fsck/entry", "entries 8")], False),
    "entry empty": (sql("UPDATE entries SET entry = '' WHERE position = 8"), [("fsck/entry", "entries 8")], False),
    "entries swapped": (swap_entries, [("fsck/entry", "entries 8"), ("fsck/entry", "entries 10")], False),
    **{
        f"{column} of an entry": (
            sql(f"UPDATE entries SET {column} = {value} WHERE position = 8"), [("fsck/columns", "entries 8")], True
        )
        for column, value in {
            "issuer": "'evil.example'", "stream": "'search'", "about": "'evil.example'", "kind": "'tombstone/1'",
            "seq": "77", "issued_at": "5", "epoch": "1", "row_count": "6", "rows_root": "NULL",
        }.items()
    },
    "leaf of an entry": (flipped("entries", "leaf", "position = 8"), [("fsck/columns", "entries 8")], True),
    "row file of an entry": (flipped("entries", "rows_root", "position = 8"), [("fsck/columns", "entries 8")], True),
    "promise of an entry": (flipped("entries", "promise", "position = 8"), [("fsck/promise", "entries 8")], False),
    "epoch gone": (sql("DELETE FROM epochs WHERE number = 4"), EPOCH, False),
    "tree root": (flipped("epochs", "tree_root", "number = 4"), EPOCH, False),
    "newest tree root": (flipped("epochs", "tree_root", "size = 22"), [("fsck/epoch", "epochs 9")], False),
    "top root": (flipped("epochs", "top_root", "number = 4"), EPOCH, False),
    "time of an epoch": (sql("UPDATE epochs SET time = time + 1 WHERE number = 4"), EPOCH, False),
    "size of an epoch": (sql("UPDATE epochs SET size = size + 1 WHERE number = 4"), EPOCH, False),
    "checkpoint": (flipped("epochs", "checkpoint", "number = 4"), [("fsck/signature", "epochs 4")], False),
    "checkpoints swapped": (swap_checkpoints, [("fsck/epoch", "epochs 3"), ("fsck/epoch", "epochs 4")], False),
    "cosignature": (flipped("cosignatures", "line", "size > 0"), COSIGNATURE, False),
    "cosignature's time": (
        sql("UPDATE cosignatures SET time = 5"), COSIGNATURE, False
    ),
    "cosignature gone": (sql("DELETE FROM cosignatures"), COSIGNATURE, False),
    "register": (flipped("register", "checkpoint", "origin <> ''"), REGISTER, False),
    "register gone": (sql("DELETE FROM register"), REGISTER, False),
    "another log's register": (
        sql("INSERT INTO register VALUES ('other.example/log', 'x')"),
        [("fsck/register", "register other.example/log")], False,
    ),
    "name of a party": (sql("UPDATE parties SET name = 'Evil'"), [("fsck/party", "parties acme.example")], True),
    "party gone": (sql("DELETE FROM parties"), [("fsck/party", "parties acme.example")], True),
    "party too many": (
        sql("INSERT INTO parties VALUES ('evil.example', 6, 'holder', 'Evil', 'X', 'operator', 5)"),
        [("fsck/party", "parties evil.example")], True,
    ),
    "party from nowhere": (
        sql("INSERT INTO parties VALUES ('evil.example', 600, 'holder', 'Evil', 'X', 'operator', 5)"),
        [("fsck/strays", "parties evil.example")], False,
    ),
    "entry too many": (
        sql("INSERT INTO entries SELECT 600, entry, 'x', issuer, stream, about, kind, seq, issued_at, epoch, "
            "NULL, NULL, NULL FROM entries WHERE position = 9"),
        [("fsck/strays", "entries 600")], False,
    ),
    "witness ahead": (
        sql("INSERT INTO witnesses VALUES ('https://north.example', 600, NULL, NULL, 5)"),
        [("fsck/rolled-back", "witnesses https://north.example")], False,
    ),
    **{
        f"{column} of what is {state}": (flipped("queue", column, f"state = '{state}'"), [("fsck/queue", state)], False)
        for state, columns in {
            "pending": ("entry", "leaf", "stream", "rows_root", "promise"), "rows": ("entry", "issuer"),
            "refused": ("entry", "refusal", "refused_code"),
        }.items()
        for column in columns
    },
    "no promise": (sql("UPDATE queue SET promise = NULL WHERE state = 'pending'"), [("fsck/queue", "pending")], False),
    "another time promised": (
        sql("UPDATE queue SET promise_by = 5 WHERE state = 'pending'"), [("fsck/queue", "pending")], False
    ),
    "unknown state": (sql("UPDATE queue SET state = 'lost' WHERE state = 'rows'"), [("fsck/queue", "rows")], False),
}  # fmt: skip


# Each code, each table and each type of column; every other case would differ from these in values alone.
ON_POSTGRESQL = [
    "entry flipped", "entry gone", "entries swapped", "kind of an entry", "seq of an entry", "rows_root of an entry",
    "promise of an entry", "tree root", "epoch gone", "checkpoint", "cosignature", "register", "party gone",
    "party too many", "entry too many", "witness ahead", "refusal of what is refused", "unknown state",
]  # fmt: skip


def test_each_code_of_a_row_is_met_on_postgresql() -> None:
    """However few cases run there."""
    codes = [{code for name in names for code, _ in SPOILT[name][1]} for names in (SPOILT, ON_POSTGRESQL)]
    assert codes[0] == codes[1]


@pytest.mark.parametrize(
    "spoil",
    [
        sql("UPDATE counts SET held = 4 WHERE epoch = 5 AND system = 'db'"),
        sql("DELETE FROM counts WHERE epoch = 5"),
        sql("INSERT INTO counts VALUES ('evil.example', 'db', 5, 1, 1, 1)"),
    ],
)
def test_counts_are_those_of_a_replay(any_stored: Stored, spoil: Spoil) -> None:
    """A number on a chart follows from the entries; a quick check, which replays nothing, cannot tell."""
    before = any_stored.rows()
    spoil(any_stored)

    assert any_stored.check(quick=True) == []
    assert named(any_stored.check()) == [("fsck/counts", "counts 5")]
    assert [each.repaired for each in any_stored.check(repair=Repair())] == [True]
    assert any_stored.rows() == before


@pytest.mark.parametrize(
    ("any_stored", "name"),
    [*(("sqlite", name) for name in SPOILT), *(("postgresql", name) for name in ON_POSTGRESQL)],
    indirect=["any_stored"],
)
def test_a_spoilt_row_is_found(any_stored: Stored, name: str) -> None:
    """By its own code, the very row, and nothing else; what follows from the entries comes back, the rest stays."""
    stored, before = any_stored, any_stored.files()
    spoil, wanted, repairs = SPOILT[name]
    ids = {
        state: stored.value(f"SELECT id FROM queue WHERE state = '{state}'") for state in ("pending", "rows", "refused")
    }
    wanted = [(code, f"queue {ids[where]}" if where in ids else where) for code, where in wanted]
    spoil(stored)
    spoilt = stored.rows()

    assert named(stored.check(quick=True)) == wanted
    assert stored.rows() == spoilt
    found = stored.check(quick=True, repair=Repair())
    assert named(found) == wanted and [each.repaired for each in found] == [repairs] * len(wanted)
    if repairs:
        assert stored.check(quick=True) == []
    else:
        assert stored.rows() == spoilt
    assert stored.files() == before


# --- files that stand where others should, and such that should not be there ---


def test_files_that_were_swapped_are_both_named(two_bundles: Stored) -> None:
    """What is whole and in the wrong place is found by its place; all of it comes back."""
    stored, before = two_bundles, two_bundles.files()
    pairs = [
        ("public/tile/0/000", "public/tile/1/000.p/1", "tile"),
        ("public/tile/entries/000", stored.path("public/tile/entries/001.p/*", -1), "bundle"),
        ("private/transitions/3", "private/transitions/4", "transition"),
    ]
    directory, wanted = stored.config.directory, []
    for first, second, code in pairs:
        one, other = directory / first, directory / second
        one_bytes, other_bytes = one.read_bytes(), other.read_bytes()
        one.write_bytes(other_bytes)
        other.write_bytes(one_bytes)
        wanted += [(f"fsck/{code}", each.relative_to(directory).as_posix()) for each in (one, other)]
    snapshots = directory / "private/snapshots"
    (snapshots / "7").rename(snapshots / "x")
    (snapshots / "9").rename(snapshots / "7")
    (snapshots / "x").rename(snapshots / "9")
    wanted += [("fsck/snapshot", f"private/snapshots/{number}/manifest.json") for number in (7, 9)]

    assert sorted(named(stored.check(quick=True))) == sorted(wanted)
    assert all(each.repaired for each in stored.check(repair=Repair()))
    assert stored.files() == before


def test_a_row_file_comes_back_from_elsewhere(stored: Stored, tmp_path: Path) -> None:
    """From a directory or over HTTP, and only if its root is the one that was signed."""
    directory = stored.config.directory
    mirror = tmp_path / "mirror"
    shutil.copytree(directory / "public", mirror)
    before, (first, second) = stored.files(), sorted((directory / "public/rows").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    second.unlink()
    wanted = sorted(("fsck/rows", path.relative_to(directory).as_posix()) for path in (first, second))

    assert sorted(named(stored.check())) == [
        ("fsck/not-replayed", stored.check()[-1].where), *wanted
    ]  # fmt: skip
    liar = tmp_path / "liar"
    (liar / "rows").mkdir(parents=True)
    for path in (first, second):
        (liar / "rows" / path.name).write_bytes((mirror / "rows" / first.name).read_bytes()[::-1])
    assert not any(each.repaired for each in stored.check(quick=True, repair=Repair(str(liar))))
    assert stored.path(f"public/rows/{first.name}").read_bytes() != before[f"public/rows/{first.name}"]

    found = stored.check(quick=True, repair=Repair(str(mirror)))
    assert sorted(named(found)) == wanted and all(each.repaired for each in found)
    assert stored.files() == before
    first.unlink()
    handler = partial(QuietFiles, directory=str(mirror))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            found = stored.check(quick=True, repair=Repair(f"http://127.0.0.1:{server.server_port}"))
        finally:
            server.shutdown()
            thread.join()
    assert [each.repaired for each in found] == [True]
    assert stored.files() == before


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *args: object) -> None:
        pass


def test_what_belongs_to_nobody_is_named(stored: Stored) -> None:
    """Foreign files anywhere, unfinished writes once they are old, evidence; none of it makes a log damaged."""
    directory = stored.config.directory
    strange = [
        "public/robots.txt", "public/tile/0/x000/000", "public/rows/README", "public/rows/" + "ab" * 32,
        "private/uploads/note", "private/snapshots/7/9/other.npy", "private/transitions/x", "keys/statements.pem.bak",
    ]  # fmt: skip
    left = ["public/rows/.new-0123456789abcdef", "private/transitions/.new-0123456789abcdef"]
    for name in (*strange, *left):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"x")
    evidence = directory / "private/evidence" / f"5-{sha256(b'liar').hex()[:16]}"
    evidence.parent.mkdir()
    evidence.write_bytes(b"liar")
    os.utime(directory / left[0], (5, 5))

    found = stored.check(quick=True)
    wanted = [*(("fsck/foreign", name) for name in strange), ("fsck/left-over", left[0])]
    wanted.append(("fsck/evidence", evidence.relative_to(directory).as_posix()))
    assert sorted(named(found)) == sorted(wanted)
    assert {each.severity for each in found} == {"notice"}
    stored.check(quick=True, repair=Repair())
    assert not (directory / left[0]).exists() and all((directory / name).exists() for name in (*strange, left[1]))


def test_keys_that_others_can_read_are_named(stored: Stored) -> None:
    """A key file, their folder, a key that is another one's."""
    keys = stored.config.directory / "keys"
    (keys / "receipts.pem").chmod(0o640)
    keys.chmod(0o755)
    other = (keys / "statements.pem").read_bytes()
    (keys / "note-ed25519.pem").write_bytes(other)
    assert named(stored.check(quick=True)) == [
        ("fsck/key-permissions", "keys"),
        ("fsck/key-permissions", "keys/receipts.pem"),
        ("fsck/key", "keys/note-ed25519.pem"),
    ]


def test_an_older_database_is_never_repaired_into_a_fork(stored: Stored) -> None:
    """Restored from a backup, it has fewer entries than are published: that is said, and nothing published changes."""
    before = stored.files()
    last = stored.value("SELECT max(number) FROM epochs")
    size = stored.value(f"SELECT size FROM epochs WHERE number = {last - 1}")
    stored.sql(
        "DELETE FROM cosignatures",
        f"DELETE FROM entries WHERE position >= {size}",
        f"DELETE FROM epochs WHERE number = {last}",
        "UPDATE register SET checkpoint = (SELECT checkpoint FROM epochs ORDER BY number DESC LIMIT 1)",
    )
    for repair in (None, Repair()):
        found = stored.check(quick=True, repair=repair)
        assert ("fsck/rolled-back", "public/checkpoint") in named(found)
        assert {each.code for each in found} <= {"fsck/rolled-back", "fsck/beyond", "fsck/foreign", "fsck/queue"}
        assert not any(each.repaired for each in found)
    assert stored.files() == before


def test_nothing_is_repaired_beside_a_service(stored: Stored) -> None:
    """A check beside a service that works finds nothing; a repair has to wait until it has stopped."""
    node = Node.open(stored.config, clock=stored.clock)
    try:
        stored.clock.advance(3601)
        assert node.step().epoch is not None
        before = stored.files()
        assert stored.check() == []
        with pytest.raises(Conflict) as refused:
            stored.check(repair=Repair())
        assert refused.value.code == "sequencer/lease" and "attest serve" in (refused.value.hint or "")
        assert stored.files() == before
    finally:
        node.leading = True
        node.stop()
    assert stored.check(quick=True, repair=Repair()) == []


@pytest.mark.parametrize("harm", [truncate, delete])
def test_a_repair_that_dies_leaves_nothing_half_written(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    """Die at the nth rename, for every n: each file is as it was or as it should be, and the next repair ends it."""
    good = stored.files()
    for pattern, nth, _ in DERIVED.values():
        if "snapshots/*/" not in pattern or "states" in pattern:
            harm(stored.path(pattern, nth))
    spoilt = stored.files()
    renames = {"replace": Path.replace, "rename": Path.rename}
    for dies_at in itertools.count(1):
        stored.put_back(spoilt)
        left = dies_at

        def dying(path: Path, target: Path, how: str = "replace") -> Path:
            nonlocal left
            left -= 1
            if not left:
                raise Crash
            return renames[how](path, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", dying)
            patched.setattr(Path, "rename", partialmethod(dying, how="rename"))
            with contextlib.suppress(Crash):
                stored.check(quick=True, repair=Repair())
        stored.clock.advance(stored.config.lease_s + 1)  # the dead one's lease runs out
        whole = {name: content for name, content in stored.files().items() if ".new-" not in name}
        for name, content in whole.items():
            assert content in (spoilt.get(name), good.get(name)), name
        if left > 0:
            break  # no rename left to die at
        stored.check(quick=True, repair=Repair())
        whole = {name: content for name, content in stored.files().items() if ".new-" not in name}
        # A snapshot may go: it only shortens a start.
        assert whole == {name: content for name, content in good.items() if name in whole}
        assert all(name.startswith("private/snapshots/") for name in good.keys() - whole.keys())
    assert dies_at > len([each for each in DERIVED if each != "manifest"]) - 2
    assert stored.files() == good


def test_the_command_says_what_is_wrong_and_exits_by_it(
    stored: Stored, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 clean, 3 damaged, 6 repaired, 1 undecided; lines for machines, or JSON."""
    monkeypatch.setenv("ATTEST_TRANSITIONS_S", str(86_400 * 366))
    directory = stored.config.directory

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["operator", "fsck", "--dir", str(directory), "--quick", *arguments])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, said = run()
    assert code == 0 and said.endswith("result\tclean\n")
    (directory / "public/robots.txt").write_bytes(b"")
    code, said = run()
    assert code == 0 and said.startswith("notice\tfsck/foreign\tpublic/robots.txt\t")
    flip(tile := stored.path("public/tile/0/000.p/22"))
    code, said = run("--json")
    lines = [json.loads(line) for line in said.splitlines()]
    where = tile.relative_to(directory).as_posix()
    assert code == 3 and (lines[0]["state"], lines[0]["where"]) == ("derived", where)
    assert lines[-1]["result"] == "damaged" and lines[-1]["checked"]["entries"] == 22
    code, said = run("--repair")
    assert code == 6 and said.startswith(f"repaired\tfsck/tile\t{where}\t") and said.endswith("result\trepaired\n")
    (directory / "keys/receipts.pem").unlink()
    assert run("--repair")[0] == 3
    assert run("--from", "x")[0] == 2
    stored.sql("UPDATE alembic_version SET version_num = 'other'")
    assert run()[0] == 1
