"""Configuration: one file, `attest.toml`, and `ATTEST_*` over it, validated whole before anything starts."""

import contextlib
import fcntl
import os
import secrets
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, Self

from attest.errors import Malformed, Unavailable
from attest.formats.statement import is_origin

FILE: Final = "attest.toml"
_PREFIX: Final = "ATTEST_"


@dataclass(frozen=True, slots=True)
class Config:
    """How a service runs. Every field is a key of the file and, in capitals behind `ATTEST_`, a variable."""

    directory: Path  # where the file is; relative paths start here
    origin: str
    url: str | None = None  # where the log is served, without a final slash
    successor: str | None = None  # the origin of the log that continues this one after its end
    database: str = "sqlite:///attest.db"  # or postgresql+psycopg://…
    public: Path = Path("public")  # what everybody may read: checkpoint, tiles, row files
    private: Path = Path("private")  # uploads, transition proofs, snapshots
    keys: Path = Path("keys")
    policy: Path = Path("policy")  # whom to trust: this log, its witnesses and where they are, the quorum
    state_policy: Path = Path("state-policy")  # the same with state witnesses; there need not be one
    passphrase_file: Path | None = None  # or the passphrase itself in ATTEST_PASSPHRASE
    host: str = "127.0.0.1"
    port: int = 8080
    threads: int = 16  # that answer requests
    writes_per_minute: int | None = None  # of one client address; None: no limit
    epoch_interval_s: int = 1  # the least time between epochs
    quiet_interval_s: int = 600  # after this long without work an empty epoch shows that the log lives
    epoch_rows: int = 262_144
    epoch_statements: int = 4096
    promise_s: int = 900  # how long an accepted statement may wait for what comes before it
    upload_s: int = 3600  # how long a statement waits for its row file
    wait_s: float = 10.0  # how long POST waits for publication
    pending_statements: int = 65_536  # at most, of all parties
    pending_party: int = 8192  # of one party
    pending_rows: int = 1 << 24  # rows of one party, in several statements
    pending_uploads: int = 1024  # statements of one party that wait for their row file, at most
    unwitnessed: Literal["publish", "hold"] = "publish"  # what happens to a checkpoint without a quorum of witnesses
    witness_wait_s: float = 1.0  # how long a checkpoint waits for its quorum
    witness_timeout_s: float = 10.0  # how long one witness may take to answer
    lease_s: int = 15  # how long a silent sequencer is waited for
    free_bytes: int = 268_435_456  # intake stops below this
    transitions_s: int = 86_400  # how long transition proofs are kept
    snapshot_rows: int = 1_000_000  # changed rows after which a snapshot is written
    snapshot_entries: int = 10_000

    @classmethod
    def load(cls, directory: Path, environment: Mapping[str, str] | None = None) -> Self:
        """Read `attest.toml` in `directory`, with `ATTEST_*` over it.

        Raises:
            Unavailable: `config/missing`, there is no such file.
            Malformed: `config/invalid`, with every problem there is.
        """
        try:
            text = (directory / FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise Unavailable(
                "config/missing", f"no {FILE} in {directory}", hint="create a log with: attest operator init"
            ) from None
        except (UnicodeDecodeError, OSError) as error:
            raise Malformed("config/invalid", f"{directory / FILE}: {error}") from None
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Malformed("config/invalid", f"{directory / FILE}: {error}") from None
        return cls.build(directory, found, os.environ if environment is None else environment)

    @classmethod
    def build(cls, directory: Path, found: Mapping[str, Any], environment: Mapping[str, str]) -> Self:
        """Check the values of a file and of an environment, all of them. Raises `Malformed`: `config/invalid`."""
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name in found.keys() - _READERS.keys():
            problems.append(f"{name}: no such setting")
        for name, read in _READERS.items():
            variable = _PREFIX + name.upper()
            where, value = (variable, environment[variable]) if variable in environment else (name, found.get(name))
            if value is None:
                continue
            try:
                values[name] = read(value)
            except ValueError as error:
                problems.append(f"{where}: {error}")
        if "origin" not in found and _PREFIX + "ORIGIN" not in environment:
            problems.append("origin: missing")
        if not problems:
            config = cls(directory=directory, **values)
            problems = config._contradictions()
            if not problems:
                return config
        raise Malformed("config/invalid", "; ".join(sorted(problems)))

    def _contradictions(self) -> list[str]:
        problems = []
        if self.quiet_interval_s < self.epoch_interval_s:
            problems.append("quiet_interval_s: shorter than epoch_interval_s")
        if self.promise_s < 4 * self.epoch_interval_s:
            problems.append("promise_s: want at least four times epoch_interval_s")
        if self.witness_timeout_s >= self.lease_s:
            problems.append("witness_timeout_s: want less than lease_s, or the lease is lost while witnesses are asked")
        places = [self.path(self.public), self.path(self.private), self.path(self.keys)]
        if len(set(places)) < len(places):
            problems.append("public, private, keys: want three directories")
        # Everything below `public` is for everybody.
        if any(places[0] in place.parents for place in places[1:]):
            problems.append("private, keys: below the public directory")
        return problems

    def path(self, path: Path) -> Path:
        """Return a configured path as an absolute one."""
        return (self.directory / path).resolve()

    def database_url(self) -> str:
        """Return the database URL, with a relative SQLite file made absolute."""
        prefix = "sqlite:///"
        if self.database.startswith(prefix):
            return prefix + str(self.path(Path(self.database.removeprefix(prefix))))
        return self.database

    def passphrase(self, environment: Mapping[str, str] | None = None) -> bytes | None:
        """Return the passphrase of the key files: from `ATTEST_PASSPHRASE`, or the first line of the configured file.

        Raises:
            Unavailable: `config/passphrase`, the file cannot be read or is empty.
        """
        environment = os.environ if environment is None else environment
        if "ATTEST_PASSPHRASE" in environment:
            return environment["ATTEST_PASSPHRASE"].encode()
        return None if self.passphrase_file is None else read_passphrase(self.path(self.passphrase_file))


def read_passphrase(path: Path) -> bytes:
    """Read the first line of a passphrase file. Raises `Unavailable`: `config/passphrase`."""
    try:
        passphrase = path.read_bytes().split(b"\n")[0]
    except OSError as error:
        raise Unavailable("config/passphrase", f"{path}: {error.strerror}") from None
    if not passphrase:
        raise Unavailable("config/passphrase", f"{path} begins with an empty line")
    return passphrase


def write_config(config: Config, path: Path) -> None:
    """Write what differs from the defaults, and what an operator looks for first."""
    shown = ("origin", "url", "database", "passphrase_file", "host", "port")
    defaults = {field.name: field.default for field in fields(Config)}
    lines = ["# The settings of one attest log. docs/guides/operator.md explains every key."]
    for name in _READERS:
        value = getattr(config, name)
        if value is not None and (name in shown or value != defaults[name]):
            lines.append(f"{name} = {value if isinstance(value, int | float) else _quoted(str(value))}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes that take the same directory's lock out of a block."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_aside(path: Path, content: bytes) -> None:
    """Replace a file whole: nobody ever reads half of it."""
    aside = path.with_name(f".{path.name}.new-{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("want text")
    return value


def _origin(value: Any) -> str:
    if not is_origin(value):
        raise ValueError("want a schema-less URL of 1 to 255 bytes without white space, `+` or `#`")
    return str(value)


def _url(value: Any) -> str:
    url = _text(value)
    if not url.startswith(("https://", "http://")) or url.endswith("/") or any(c.isspace() or c == "#" for c in url):
        raise ValueError("want https://… or http://…, without a final slash")
    return url


def _database(value: Any) -> str:
    url = _text(value)
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("want sqlite:///… or postgresql+psycopg://…")
    return url


def _path(value: Any) -> Path:
    return Path(_text(value))


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"want an integer from {low} to {high}")
        return value

    return read


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds <= 300:
        raise ValueError("want seconds from 0 to 300")
    return seconds


def _unwitnessed(value: Any) -> str:
    if value not in ("publish", "hold"):
        raise ValueError("want publish or hold")
    return str(value)


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "origin": _origin,
    "url": _url,
    "successor": _origin,
    "database": _database,
    "public": _path,
    "private": _path,
    "keys": _path,
    "policy": _path,
    "state_policy": _path,
    "passphrase_file": _path,
    "host": _text,
    "port": _integer(0, 65_535),
    "threads": _integer(1, 1024),
    "writes_per_minute": _integer(1, 1 << 20),
    "epoch_interval_s": _integer(1, 3600),
    "quiet_interval_s": _integer(1, 86_400),
    "epoch_rows": _integer(1, 1 << 24),
    "epoch_statements": _integer(1, 1 << 20),
    "promise_s": _integer(10, 86_400),
    "upload_s": _integer(1, 86_400),
    "wait_s": _seconds,
    "pending_statements": _integer(1, 1 << 22),
    "pending_party": _integer(1, 1 << 22),
    "pending_rows": _integer(1, 1 << 40),
    "pending_uploads": _integer(1, 1 << 22),
    "unwitnessed": _unwitnessed,
    "witness_wait_s": _seconds,
    "witness_timeout_s": _seconds,
    "lease_s": _integer(2, 3600),
    "free_bytes": _integer(0, 1 << 50),
    "transitions_s": _integer(0, 86_400 * 366),
    "snapshot_rows": _integer(1, 1 << 40),
    "snapshot_entries": _integer(1, 1 << 40),
}
