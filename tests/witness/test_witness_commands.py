"""`attest witness` on the command line."""

import json
import stat
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attest.cli.witness import witness
from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.errors import AttestError, Conflict, Malformed, Untrusted
from attest.formats.note import KeyType, NoteVerifier
from attest.store.db import Database
from attest.witness.loglist import LogList
from attest.witness.settings import Settings, WitnessKeys
from attest.witness.witness import Witness
from tests.witness.conftest import ORIGIN, TIME, Clock, Log


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(witness, [str(each) for each in arguments], catch_exceptions=True)


def fails(*arguments: str | Path) -> AttestError:
    error = run(*arguments).exception
    assert isinstance(error, AttestError), error
    return error


@pytest.fixture
def place(tmp_path: Path) -> Path:
    assert run("init", "--dir", tmp_path / "w", "--name", "wit.example/w1").exit_code == 0
    return tmp_path / "w"


def test_a_witness_is_made_whole(tmp_path: Path):
    """Keys that nobody else can read, settings, a database, an empty list; the keys to publish are printed."""
    said = run("init", "--dir", tmp_path / "a/w", "--name", "wit.example/w1")

    keys = [NoteVerifier.parse(line.split("\t")[1]) for line in said.stdout.split("\n") if line.startswith("vkey\t")]
    assert [key.type for key in keys] == [KeyType.COSIGNATURE, KeyType.MLDSA44]
    assert {key.name for key in keys} == {"wit.example/w1"}
    settings = Settings.load(tmp_path / "a/w")
    assert WitnessKeys.load(settings).verifiers == tuple(keys)
    assert (tmp_path / "a/w/vkeys").read_text().split() == [key.encode() for key in keys]
    for key in (tmp_path / "a/w/keys").iterdir():
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert LogList(tmp_path / "a/w").all() == {}
    db = Database(settings.database_url(), "witness")
    db.check_schema()
    db.close()
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["w"]


def test_nothing_is_made_over_what_is_there(place: Path):
    """Keys of a witness are for life; and a failed attempt leaves nothing behind."""
    assert isinstance(fails("init", "--dir", place, "--name", "wit.example/w2"), Conflict)
    assert isinstance(fails("init", "--dir", place.parent / "x", "--name", "a b"), Malformed)

    assert [each.name for each in place.parent.iterdir()] == ["w"]


def test_keys_under_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The files are encrypted, and the settings say where the passphrase is."""
    (tmp_path / "secret").write_text("correct horse\n")
    run("init", "--dir", tmp_path / "w", "--name", "wit.example/w1", "--passphrase-file", tmp_path / "secret")

    assert b"ENCRYPTED" in (tmp_path / "w/keys/note-ed25519.pem").read_bytes()
    assert b"ENCRYPTED" in (tmp_path / "w/keys/note-mldsa44.pem").read_bytes()
    settings = Settings.load(tmp_path / "w")
    WitnessKeys.load(settings)
    monkeypatch.setenv("ATTEST_PASSPHRASE", "wrong")
    with pytest.raises(Untrusted):
        WitnessKeys.load(settings)


def test_two_witnesses_share_no_key(tmp_path: Path):
    """A state witness has keys of its own, as everybody has."""
    plain = run("init", "--dir", tmp_path / "a", "--name", "wit.example/w1")
    state = run("init", "--dir", tmp_path / "b", "--name", "wit.example/w1", "--state", "--port", "1234")

    assert not set(plain.stdout.split("\n")) & set(state.stdout.split("\n")) - {""}
    settings = Settings.load(tmp_path / "b")
    assert (settings.state, settings.port) == (True, 1234)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "name: missing"),
        ('name = "a b"', "name: "),
        ('name = "w"\nmldsa = 1', "mldsa: want true or false"),
        ('name = "w"\nport = 65536', "port: "),
        ('name = "w"\nport = true', "port: "),
        ('name = "w"\nthreads = 0', "threads: "),
        ('name = "w"\ndatabase = "mysql://x"', "database: "),
        ('name = "w"\nhost = ""', "host: "),
        ('name = "w"\nnoname = 1', "noname: no such setting"),
        ("name = w", ""),
    ],
)
def test_faulty_settings_are_all_named(tmp_path: Path, text: str, fault: str):
    """Nothing starts on settings that cannot be."""
    (tmp_path / "witness.toml").write_text(text)

    error = fails("status", "--dir", tmp_path)

    assert error.code == "witness/settings"
    assert fault in error.message


def test_a_directory_without_settings_is_no_witness(tmp_path: Path):
    """And says how to make one."""
    error = fails("status", "--dir", tmp_path)

    assert (error.code, error.hint) == ("witness/settings-missing", "create one with: attest witness init")


def test_logs_are_followed_and_shown(place: Path):
    """Before and after they are cosigned; forks and a broken list are shown as well."""
    log = Log()
    vkeys = [key.encode() for key in log.verifiers]
    said = run("follow", "--dir", place, *vkeys, "--qpd", "24", "--contact", "ops@log.example")
    assert said.stdout == f"follows\t{ORIGIN}\t" + "\t".join(key.key_id.hex() for key in log.verifiers) + "\n"
    shown = json.loads(run("status", "--dir", place, "--json").stdout)
    assert shown["problem"] is None
    assert shown["logs"] == [{"origin": ORIGIN, "listed": True, "size": None, "root": None, "time": None, "forks": 0}]

    settings = Settings.load(place)
    db = Database(settings.database_url(), "witness")
    running = Witness(WitnessKeys.load(settings), LogList(place), db, Clock())
    running.add_checkpoint(log.request(0, 5))
    with pytest.raises(AttestError):
        running.add_checkpoint(Log(fork="!").request(5, 5))
    running.close()
    db.close()
    (place / "logs").write_text("logs/v0\nvkey\n")

    shown = json.loads(run("status", "--dir", place, "--json").stdout)
    assert shown["problem"].startswith("witness/logs: line 2")
    assert shown["logs"] == [
        {
            "origin": ORIGIN,
            "listed": False,
            "size": 5,
            "root": "GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=",
            "time": "2026-09-21T14:13:20+00:00",
            "forks": 1,
        }
    ]
    assert TIME == 1_790_000_000
    assert run("forks", "--dir", place, ORIGIN).stdout.count(f"{ORIGIN}\n5\n") == 2
    assert run("forks", "--dir", place, "other.example").stdout == ""
    lines = run("status", "--dir", place).stdout.split("\n")
    assert lines[0] == "name\twit.example/w1"
    assert f"log\torigin={ORIGIN}\tlisted=False\tsize=5" in "\n".join(lines)


def test_a_state_witness_needs_to_know_where_a_log_is(tmp_path: Path):
    """It reads what it vouches for."""
    run("init", "--dir", tmp_path / "w", "--name", "wit.example/s1", "--state")
    vkey = Log().verifiers[0].encode()

    assert fails("follow", "--dir", tmp_path / "w", vkey).code == "witness/follow"
    assert run("follow", "--dir", tmp_path / "w", vkey, "--url", "https://log.example").exit_code == 0
    assert Settings.load(tmp_path / "w").urls == {ORIGIN: "https://log.example"}


def test_migrating_what_is_new_changes_nothing(place: Path):
    """The schema is this version's already."""
    assert run("migrate", "--dir", place).exit_code == 0


def test_settings_survive_being_written(tmp_path: Path):
    """What is not the default is in the file, and reads back."""
    settings = Settings(
        tmp_path, "wit.example/w1", state=True, mldsa=False, keys=Path('a\\b"c'), port=1, threads=3, host="::1"
    )
    settings.write(tmp_path / "witness.toml")

    assert Settings.load(tmp_path) == settings


def test_keys_load_in_their_files_only(place: Path):
    """An Ed25519 key in the file of the ML-DSA-44 one is refused."""
    (place / "keys/note-mldsa44.pem").write_bytes(SigningKey.generate().to_pem(None))
    with pytest.raises(Malformed, match="key/pem"):
        WitnessKeys.load(Settings.load(place))
    (place / "keys/note-mldsa44.pem").write_bytes(MLDSASigningKey.generate().to_pem(None))
    WitnessKeys.load(Settings.load(place))


def test_every_setting_is_in_the_guide():
    """No setting without a word about it."""
    page = (Path(__file__).parents[2] / "docs/guides/witness.md").read_text()

    for setting in fields(Settings):
        assert setting.name == "directory" or f"`{setting.name}`" in page, setting.name
