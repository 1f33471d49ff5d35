"""Witnesses on SQLite and PostgreSQL, and logs that talk to them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.encoding import Hash, sha256
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, log_verifiers, sign_checkpoint
from attest.formats.note import Note, NoteVerifier
from attest.merkle.tree import consistency_path, leaf_hash, root, subtree_reader
from attest.store.db import Database
from attest.witness.app import create_app
from attest.witness.loglist import LogList, encode_log
from attest.witness.request import AddCheckpoint
from attest.witness.settings import WitnessKeys
from attest.witness.witness import Assessor, Witness
from tests.postgres import running_postgres, temporary_database

NAME = "wit.example/w1"
ORIGIN = "log.example/deletions"
TIME = 1_790_000_000


class Clock:
    """A clock that moves when told."""

    def __init__(self, now: float = TIME) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Log:
    """A log under keys from seeds; `fork` gives it another history from entry `at` on."""

    def __init__(self, origin: str = ORIGIN, *, fork: str = "", at: int = 0, seed: bytes | None = None) -> None:
        self.origin = origin
        seed = bytes(range(32)) if seed is None else seed
        self.ed25519, self.mldsa44 = SigningKey.from_seed(seed), MLDSASigningKey.from_seed(seed)
        self.verifiers = log_verifiers(origin, self.ed25519.public, self.mldsa44.public)
        self._fork, self._at = fork, at

    def leaves(self, size: int) -> list[Hash]:
        return [leaf_hash(f"entry-{n}{self._fork if n >= self._at else ''}".encode()) for n in range(size)]

    def root(self, size: int) -> Hash:
        return root(self.leaves(size))

    def proof(self, old: int, new: int) -> tuple[Hash, ...]:
        return tuple(consistency_path(old, new, subtree_reader(self.leaves(new))))

    def signed(self, size: int, *, keys: str = "both", head: Hash | None = None) -> SignedCheckpoint:
        """Sign a checkpoint with `both` keys, `ed25519` or `mldsa44`; with another root if told so."""
        checkpoint = Checkpoint(self.origin, size, self.root(size) if head is None else head)
        signed = sign_checkpoint(checkpoint, self.ed25519, self.mldsa44, TIME)
        chosen = {"both": slice(None), "ed25519": slice(0, 1), "mldsa44": slice(1, 2)}[keys]
        return SignedCheckpoint(checkpoint, Note(signed.note.text, signed.note.signatures[chosen]))

    def request(self, old: int, new: int, *, keys: str = "both") -> bytes:
        return AddCheckpoint(old, self.proof(old, new) if old <= new else (), self.signed(new, keys=keys)).encode()


@dataclass
class Site:
    """A witness as its clients see it, and what is behind it."""

    witness: Witness
    directory: Path
    clock: Clock
    ticks: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.client: FlaskClient = create_app(self.witness).test_client()

    def post(self, body: bytes) -> TestResponse:
        return self.client.post("/add-checkpoint", data=body)

    def newest(self, origin: str = ORIGIN) -> TestResponse:
        return self.client.get(f"/{sha256(origin.encode()).hex()}/checkpoint")


def write_list(directory: Path, *verifiers: NoteVerifier, qpd: int = 86_400) -> None:
    entries = "".join(encode_log(verifier, qpd, "-") for verifier in verifiers)
    (directory / "logs").write_text(f"logs/v0\n{entries}")


def witness_keys(*, mldsa: bool = True) -> WitnessKeys:
    """The keys of the vectors in docs/spec/checkpoint.md, seeds 20…3f and 40…5f, here under one name."""
    ed25519, mldsa44 = SigningKey.from_seed(bytes(range(32, 64))), MLDSASigningKey.from_seed(bytes(range(64, 96)))
    return WitnessKeys.of(NAME, ed25519, mldsa44, mldsa=mldsa)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/any.db"
    else:
        with temporary_database(request.getfixturevalue("postgres")) as url:
            yield url


Open = Callable[..., Site]


@pytest.fixture
def open_site(tmp_path: Path, log: Log) -> Iterator[Open]:
    """Open witnesses that follow the log; all are closed in the end."""
    opened: list[tuple[Site, Database]] = []
    write_list(tmp_path, *log.verifiers)

    def open_(
        database: str | None = None, *, keys: WitnessKeys | None = None, assessor: Assessor | None = None
    ) -> Site:
        db = Database(database or f"sqlite:///{tmp_path}/witness.db", "witness")
        db.migrate()
        clock, ticks = Clock(), Clock()
        logs = LogList(tmp_path, clock_s=ticks)
        witness = Witness(keys or witness_keys(), logs, db, clock, assessor, clock_s=ticks)
        opened.append((site := Site(witness, tmp_path, clock, ticks), db))
        return site

    yield open_
    for site, db in opened:
        site.witness.close()
        db.close()


@pytest.fixture
def site(open_site: Open) -> Site:
    return open_site()
