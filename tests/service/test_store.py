"""Files, keys, settings, the database: each on its own."""

import itertools
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from attest.config import Config, write_config
from attest.crypto.keys import SigningKey
from attest.errors import AttestError, Conflict, Malformed, Unavailable, Untrusted
from attest.merkle import tiles, tree
from attest.resources import resources
from attest.store import register
from attest.store.blobs import DirectoryBlobs
from attest.store.db import HEADS, Database, metadata
from attest.store.keyfiles import LogKeys, read_key_file, write_key_file
from attest.store.lease import Lease
from attest.store.tiles import read_file, reader, stored_root, write_tiles
from tests.world import SimulatedClock

# --- files ---


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path)


def test_a_file_is_stored_once_and_never_changes(blobs: DirectoryBlobs) -> None:
    """The same bytes again are fine; others are refused, and leave it as it is."""
    blobs.put([("rows/ab", b"one"), ("tile/0/x001/067.p/3", b"")])
    blobs.put([("rows/ab", b"one")])
    with pytest.raises(Conflict, match="store/immutable"):
        blobs.put([("rows/ab", b"two")])
    assert (blobs.get("rows/ab"), blobs.get("tile/0/x001/067.p/3"), blobs.get("rows/cd")) == (b"one", b"", None)
    assert blobs.exists("rows/ab") and not blobs.exists("rows")
    assert blobs.names("rows") == ["ab"] and blobs.names("none") == []
    assert not list(blobs.root.rglob(".new-*"))
    blobs.delete(["rows/ab", "rows/cd"])
    assert blobs.get("rows/ab") is None


def test_only_the_file_that_is_there_is_replaced(blobs: DirectoryBlobs) -> None:
    """Whoever read an older one has to look again."""
    blobs.replace("checkpoint", None, b"1")
    blobs.replace("checkpoint", b"1", b"2")
    for old in (None, b"1"):
        with pytest.raises(Conflict, match="store/moved"):
            blobs.replace("checkpoint", old, b"3")
    assert blobs.get("checkpoint") == b"2"


def test_half_written_files_of_dead_writers_go(blobs: DirectoryBlobs) -> None:
    """A sweep takes old temporary files, never a stored file or one that is being written."""
    blobs.put([("uploads/aa", b"whole")])
    old, fresh = (blobs.root / "uploads" / name for name in (".new-old", ".new-fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    for path in (old, blobs.root / "uploads/aa"):
        os.utime(path, (1, 1))
    blobs.sweep("uploads", 3600)
    blobs.sweep("nowhere", 3600)

    assert not old.exists()
    assert fresh.exists()
    assert blobs.get("uploads/aa") == b"whole"


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "A", "a\n", "a b", "ä", "a" * 256])
def test_no_name_leaves_the_directory(blobs: DirectoryBlobs, name: str) -> None:
    """A wrong one is a programmer's mistake."""
    with pytest.raises(ValueError):
        blobs.put([(name, b"")])


def test_a_file_is_durable_before_its_name_and_its_name_before_the_answer(
    blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync of the file, then the link; fsync of its folder and of every folder that gained one."""
    events: list[tuple[str, str]] = []
    fsync, link, replace = os.fsync, os.link, Path.replace

    def record_fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        events.append(("sync", "new" if path.name.startswith(".new-") else path.name))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "link", lambda a, b: (events.append(("name", Path(b).name)), link(a, b)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (events.append(("name", Path(b).name)), replace(a, b)))
    blobs.put([("a/b/file", b"x")])
    assert events[:2] == [("sync", "new"), ("name", "file")]
    assert {name for what, name in events[2:] if what == "sync"} == {blobs.root.name, "a", "b"}
    events.clear()
    blobs.replace("checkpoint", None, b"x")
    assert events == [("sync", "new"), ("name", "checkpoint"), ("sync", blobs.root.name)]


# --- tiles ---


@dataclass
class Entry:
    position: int
    entry: bytes
    leaf: bytes


class Entries:
    """A log of entries in memory."""

    def __init__(self, count: int) -> None:
        self.all = [Entry(n, b"%d" % n, tree.leaf_hash(b"%d" % n)) for n in range(count)]

    def entries(self, start: int, end: int) -> list[Any]:
        return self.all[start:end]


def test_tiles_grow_as_the_specification_cuts_them(blobs: DirectoryBlobs) -> None:
    """Over three levels, in uneven steps: all that a checkpoint implies is there, and leads to its root."""
    log: Any = Entries(66_000)
    leaves = [entry.leaf for entry in log.all]
    sizes = [0, 1, 2, 255, 256, 257, 511, 512, 700, 5000, 65_535, 65_536, 65_537, 66_000]
    for old, new in itertools.pairwise(sizes):
        write_tiles(blobs, log, old, new)
        for tile in tiles.tiles_for(old, new):
            assert len(blobs.get(tiles.tile_path(*tile)) or b"") == 32 * tile[2]
        assert stored_root(blobs, new) == tree.root(leaves[:new])
    # Again from anywhere is fine, since a crash may have come in between.
    write_tiles(blobs, log, 65_000, 66_000)
    for size in (2, 300, 65_600):
        path = tree.inclusion_path(1, size, reader(blobs, size, 66_000))
        tree.verify_inclusion(leaves[1], 1, size, tree.root(leaves[:size]), path)


def test_partial_tiles_go_when_they_are_two_full_tiles_old_and_are_still_served(blobs: DirectoryBlobs) -> None:
    """From the full one, byte for byte."""
    log: Any = Entries(800)
    kept = {}
    for old, new in ((0, 100), (100, 300), (300, 600), (600, 800)):
        write_tiles(blobs, log, old, new)
        for name in ("tile/0/000.p/100", "tile/entries/000.p/100", "tile/0/001.p/44", "tile/entries/001.p/44"):
            kept.setdefault(name, blobs.get(name))
            if kept[name] is None:
                del kept[name]
    assert len(kept) == 4
    assert blobs.get("tile/0/000.p/100") is None
    for name, content in kept.items():
        assert read_file(blobs, name) == content
    assert read_file(blobs, "tile/0/003.p/33") is None
    with pytest.raises(Malformed):
        read_file(blobs, "tile/0/0")


# --- keys ---


def test_key_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, never overwritten, refused where others could read them, closed by a passphrase."""
    keys = LogKeys.generate()
    keys.store(tmp_path, b"open sesame")
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert LogKeys.load(tmp_path, b"open sesame") == keys
    for passphrase in (None, b"wrong"):
        with pytest.raises(Untrusted, match="key/passphrase"):
            LogKeys.load(tmp_path, passphrase)
    with pytest.raises(Conflict, match="key/exists"):
        keys.store(tmp_path, None)
    for mode in (0o640, 0o604, 0o660):
        (tmp_path / "receipts.pem").chmod(mode)
        with pytest.raises(Untrusted, match="key/permissions"):
            LogKeys.load(tmp_path, b"open sesame")
    with pytest.raises(Unavailable, match="key/missing"):
        read_key_file(tmp_path / "none.pem")


def test_a_key_is_written_without_a_moment_in_which_others_can_read_it(tmp_path: Path) -> None:
    """Whatever the umask."""
    before = os.umask(0)
    try:
        write_key_file(tmp_path / "key.pem", SigningKey.generate().to_pem(None))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


# --- settings ---


def test_settings_are_checked_whole_and_every_problem_is_named(tmp_path: Path) -> None:
    """Before anything starts."""
    found = {"url": "log.example", "port": "http", "database": "mysql://", "colour": 1, "free_bytes": -1}
    with pytest.raises(Malformed) as error:
        Config.build(tmp_path, found, {"ATTEST_PROMISE_S": "soon"})
    assert error.value.code == "config/invalid"
    for name in ("origin: missing", "url:", "port:", "database:", "colour:", "free_bytes:", "ATTEST_PROMISE_S:"):
        assert name in error.value.message
    for wrong in (
        {"quiet_interval_s": 1, "epoch_interval_s": 2},
        {"private": "public"},
        {"keys": "public/keys"},
    ):
        with pytest.raises(Malformed, match="config/invalid"):
            Config.build(tmp_path, {"origin": "log.example", **wrong}, {})


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    """And what is written is read back."""
    config = Config.build(tmp_path, {"origin": "log.example/a", "passphrase_file": 'a"\\b'}, {"ATTEST_PORT": "1"})
    write_config(config, tmp_path / "attest.toml")
    assert Config.load(tmp_path, {}) == config
    assert Config.load(tmp_path, {"ATTEST_PORT": "2"}).port == 2
    assert Config.load(tmp_path, {}).database_url() == f"sqlite:///{tmp_path}/attest.db"
    with pytest.raises(Unavailable, match="config/missing"):
        Config.load(tmp_path / "none", {})
    (tmp_path / "attest.toml").write_text("origin = ")
    with pytest.raises(Malformed, match="config/invalid"):
        Config.load(tmp_path, {})


def test_a_passphrase_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """The first line of it."""
    config = Config(tmp_path, "log.example", passphrase_file=Path("secret"))
    with pytest.raises(Unavailable, match="config/passphrase"):
        config.passphrase({})
    (tmp_path / "secret").write_text("sesame\n")
    assert config.passphrase({}) == b"sesame"
    assert config.passphrase({"ATTEST_PASSPHRASE": "other"}) == b"other"


# --- the database ---


@pytest.fixture
def db(tmp_path: Path, database: str | None) -> Any:
    found = Database(database or f"sqlite:///{tmp_path}/attest.db")
    yield found
    found.close()


def test_migrations_lead_to_the_tables_that_the_code_uses(db: Database) -> None:
    """On both databases, and an unmigrated one is refused."""
    with pytest.raises(Unavailable, match="store/missing" if db.url.startswith("sqlite") else "store/schema"):
        db.check_schema()
    db.migrate()
    db.migrate()
    db.check_schema()
    with db.read() as transaction:
        context = MigrationContext.configure(transaction, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_sqlite_is_durable_and_checks_its_keys(tmp_path: Path) -> None:
    """WAL, synchronous FULL, foreign keys, a busy timeout: on every connection."""
    db = Database(f"sqlite:///{tmp_path}/attest.db")
    with db.read() as transaction:
        pragmas = {
            name: transaction.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    db.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_register_moves_only_from_what_it_holds(db: Database) -> None:
    """The compare-and-swap that keeps a signer from contradicting itself."""
    db.migrate()
    with db.write() as transaction:
        assert register.read(transaction, "log") is None
        register.replace(transaction, "log", None, "1")
    for old in (None, "0"):
        with pytest.raises(Conflict, match="register/moved"), db.write() as transaction:
            register.replace(transaction, "log", old, "2")
    with db.write() as transaction:
        register.replace(transaction, "log", "1", "2")
        assert register.read(transaction, "log") == "2"


def test_a_lease_has_one_owner(db: Database) -> None:
    """It is renewed by its owner, lost by silence, and a lost one confirms nothing."""
    db.migrate()
    clock = SimulatedClock()
    one, two = Lease(db, clock, 10), Lease(db, clock, 10)

    def confirmed(lease: Lease) -> bool:
        try:
            with db.write() as transaction:
                lease.confirm(transaction)
        except AttestError:
            return False
        return True

    assert one.acquire() and not two.acquire()
    clock.advance(8)
    assert one.acquire()
    clock.advance(8)
    assert not two.acquire() and confirmed(one) and not confirmed(two)
    clock.advance(3)
    assert two.acquire() and confirmed(two) and not confirmed(one) and not one.acquire()
    # One that slept through the loss and won it back is another owner.
    clock.advance(11)
    assert one.acquire() and not confirmed(two)
    one.release()
    assert two.acquire()


def test_a_transaction_that_fails_leaves_nothing(db: Database) -> None:
    """Not even what came before in it."""
    db.migrate()
    with pytest.raises(ZeroDivisionError), db.write() as transaction:
        register.replace(transaction, "log", None, "1")
        raise ZeroDivisionError
    with db.read() as transaction:
        assert register.read(transaction, "log") is None


@pytest.mark.parametrize("schema", HEADS)
def test_the_newest_revisions_are_known(schema: str) -> None:
    """What a database is compared with is what migrating leads to."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(resources("migrations") / schema))
    assert ScriptDirectory.from_config(config).get_current_head() == HEADS[schema]
