"""`attest operator fsck`: whatever is spoilt is found by name, and what follows from the rest comes back."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from attest.config import Config
from attest.crypto.keys import SigningKey
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.cosignature import cosign_ed25519
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, add_witness
from attest.formats.rows import RowFile
from attest.fsck import Finding, Fsck, Repair
from attest.store import cosigned
from attest.store.db import Database, metadata
from tests.postgres import temporary_database
from tests.world import SimulatedClock, World, descriptor, random_rows

Files = dict[str, bytes]
WITNESS = "north.example/w"


@dataclass
class Stored:
    """One stored log that nobody serves, as it was and as it is."""

    config: Config
    clock: SimulatedClock
    good: Path  # a copy that nobody touches

    def path(self, pattern: str, nth: int = 0) -> Path:
        """Return a file by a pattern, the nth in order."""
        return sorted(each for each in self.config.directory.glob(pattern) if each.is_file())[nth]

    def files(self) -> Files:
        """Return all files but those of the database, by name."""
        every = (each for each in self.config.directory.rglob("*") if each.is_file())
        return {each.relative_to(self.config.directory).as_posix(): each.read_bytes()
                for each in every if not each.name.startswith("attest.db")}  # fmt: skip

    def check(self, **how: Any) -> list[Finding]:
        """Check it."""
        return list(Fsck(self.config, clock=self.clock, **how).run())

    def sql(self, *statements: str, **values: object) -> None:
        """Change the database behind everybody's back."""
        db = Database(self.config.database_url())
        try:
            with db.engine.connect() as connection:
                lenient(connection)
                for each in statements:
                    bound = {name: value for name, value in values.items() if f":{name}" in each}
                    connection.execute(sa.text(each), bound)
                connection.commit()
        finally:
            db.close()

    def value(self, query: str) -> Any:
        """Read one value of the database."""
        db = Database(self.config.database_url())
        try:
            with db.read() as transaction:
                found = transaction.execute(sa.text(query)).scalar()
                return bytes(found) if isinstance(found, memoryview) else found
        finally:
            db.close()


def lenient(connection: Connection) -> None:
    """Let rows go that others refer to."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET session_replication_role = replica"))
    else:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")


@pytest.fixture(scope="module")
def template(postgres_or_none: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Any]]:
    """A log with something of everything, stopped; and the rows of its tables."""
    world = World(tmp_path_factory.mktemp("fsck") / "log", database=postgres_or_none, quiet_interval_s=3600)
    fill(world)
    db = Database(world.config.database_url())
    with db.read() as transaction:
        rows = {table: [dict(row) for row in transaction.execute(sa.select(table)).mappings()] for table in tables()}
    yield world, rows
    db.close()
    world.close()


@pytest.fixture(scope="module", params=["sqlite"])
def postgres_or_none(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of an empty database that the module shares; None for a file in the log's directory."""
    if request.param == "sqlite":
        yield None
    else:
        with temporary_database(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture
def stored(template: tuple[World, Any], tmp_path: Path) -> Stored:
    """A fresh copy of the template."""
    world, rows = template
    for name in ("log", "good"):
        shutil.copytree(world.directory, tmp_path / name)
    config = replace(world.config, directory=tmp_path / "log")
    if not config.database.startswith("sqlite"):
        db = Database(config.database_url())
        with db.engine.connect() as connection:
            lenient(connection)
            for table in reversed(tables()):
                connection.execute(sa.delete(table))
            for table in tables():
                if rows[table]:
                    connection.execute(sa.insert(table), rows[table])
            connection.commit()
        db.close()
    return Stored(config, world.clock, tmp_path / "good")


def tables() -> list[sa.Table]:
    return metadata.sorted_tables


def fill(world: World) -> None:
    """Make a log of two bundles, nine epochs, row files in several places, cosignatures, snapshots and a queue."""
    acme = world.holder("acme.example", descriptor("db"), descriptor("search", "search"))
    files = [RowFile.build(random_rows(5)) for _ in range(4)]
    for rows in files[:3]:
        world.publish(acme.hold("db", rows), rows)
    world.publish(acme.erase("db", files[0]))
    world.publish(acme.hold("search", files[0]), files[0])
    world.node.stop()  # writes a snapshot
    world.restart()
    for _ in range(250):
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
DERIVED = {
    "checkpoint": ("public/checkpoint", 0, "fsck/checkpoint"),
    "full tile": ("public/tile/0/000", 0, "fsck/tile"),
    "newest tile": ("public/tile/0/001.p/*", -1, "fsck/tile"),
    "upper tile": ("public/tile/1/000.p/1", 0, "fsck/tile"),
    "older partial tile": ("public/tile/0/000.p/*", 0, "fsck/partial"),
    "full bundle": ("public/tile/entries/000", 0, "fsck/bundle"),
    "newest bundle": ("public/tile/entries/001.p/*", -1, "fsck/bundle"),
    "older partial bundle": ("public/tile/entries/000.p/*", 0, "fsck/partial"),
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


def test_what_is_whole_is_clean(stored: Stored) -> None:
    """No finding, in full and quickly; nothing changes, and all there is has been looked at."""
    before = stored.files()
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


@pytest.mark.parametrize(("pattern", "nth", "code", "harm"), cases(DERIVED))
def test_what_follows_from_the_rest_is_found_and_comes_back(
    stored: Stored, pattern: str, nth: int, code: str, harm: Callable[[Path], None]
) -> None:
    """By its own code and exact name, once; --repair writes the very bytes again, and then all is clean."""
    before, path = stored.files(), stored.path(pattern, nth)
    harm(path)
    where = path.relative_to(stored.config.directory).as_posix()
    spoilt = stored.files()

    findings = stored.check(quick=True)
    assert named(findings) == [(code, where)] and not findings[0].repaired
    assert stored.files() == spoilt
    repaired = stored.check(repair=Repair(), quick=True)
    assert named(repaired) == [(code, where)] and repaired[0].repaired
    assert stored.files() == before
    assert stored.check(quick=True) == []


@pytest.mark.parametrize("harm", [truncate, empty, lengthen])
def test_everything_that_follows_comes_back_at_once(stored: Stored, harm: Callable[[Path], None]) -> None:
    """One fault hides no other: all derived files spoilt together are all named, and all come back."""
    before = stored.files()
    spoilt = [(code, stored.path(pattern, nth)) for pattern, nth, code in DERIVED.values()]
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
