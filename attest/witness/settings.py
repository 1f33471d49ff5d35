"""The settings of a witness, `witness.toml`, validated whole; and its keys."""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from attest.config import read_passphrase
from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.errors import Malformed, Unavailable
from attest.formats.checkpoint import Checkpoint
from attest.formats.cosignature import ed25519_message, mldsa44_message
from attest.formats.note import KeyType, NoteVerifier, SignatureLine, name_fault
from attest.store.keyfiles import NOTE_ED25519, NOTE_MLDSA44, read_key_file, write_key_file
from attest.witness.loglist import read_urls

FILE: Final = "witness.toml"
VKEYS: Final = "vkeys"  # what to publish


@dataclass(frozen=True, slots=True)
class Settings:
    """How a witness runs. Every field but the first is a key of the file."""

    directory: Path  # where the file is; relative paths start here
    name: str  # that it signs with
    state: bool = False  # a state witness: it cosigns only what it has checked entry by entry
    mldsa: bool = True  # cosign with ML-DSA-44 as well
    database: str = "sqlite:///witness.db"  # or postgresql+psycopg://…
    keys: Path = Path("keys")
    passphrase_file: Path | None = None  # or the passphrase itself in ATTEST_PASSPHRASE
    host: str = "127.0.0.1"
    port: int = 8090
    threads: int = 16  # that answer requests

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read `witness.toml` in `directory`.

        Raises:
            Unavailable: `witness/settings-missing`, there is no such file.
            Malformed: `witness/settings`, with every problem there is.
        """
        try:
            text = (directory / FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise Unavailable(
                "witness/settings-missing", f"no {FILE} in {directory}", hint="create one with: attest witness init"
            ) from None
        except (UnicodeDecodeError, OSError) as error:
            raise Malformed("witness/settings", f"{directory / FILE}: {error}") from None
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Malformed("witness/settings", f"{directory / FILE}: {error}") from None
        return cls.build(directory, found)

    @classmethod
    def build(cls, directory: Path, found: Mapping[str, Any]) -> Self:
        """Check the values of a file, all of them. Raises `Malformed`: `witness/settings`."""
        problems = [f"{name}: no such setting" for name in found.keys() - _READERS.keys()]
        values: dict[str, Any] = {}
        for name, read in _READERS.items():
            if name in found:
                try:
                    values[name] = read(found[name])
                except ValueError as error:
                    problems.append(f"{name}: {error}")
        if "name" not in found:
            problems.append("name: missing")
        if problems:
            raise Malformed("witness/settings", "; ".join(sorted(problems)))
        return cls(directory=directory, **values)

    @property
    def urls(self) -> Mapping[str, str]:
        """Where logs are, by origin, as the file `urls` says now. Raises `Malformed`: `witness/urls`."""
        return read_urls(self.directory)

    def path(self, path: Path | str) -> Path:
        """Return a configured path as an absolute one."""
        return (self.directory / path).resolve()

    def database_url(self) -> str:
        """Return the database URL, with a relative SQLite file made absolute."""
        prefix = "sqlite:///"
        if self.database.startswith(prefix):
            return prefix + str(self.path(self.database.removeprefix(prefix)))
        return self.database

    def passphrase(self) -> bytes | None:
        """Return the passphrase of the key files: from `ATTEST_PASSPHRASE`, or the first line of the configured file.

        Raises:
            Unavailable: `config/passphrase`, the file cannot be read or is empty.
        """
        if "ATTEST_PASSPHRASE" in os.environ:
            return os.environ["ATTEST_PASSPHRASE"].encode()
        return None if self.passphrase_file is None else read_passphrase(self.path(self.passphrase_file))

    def write(self, path: Path) -> None:
        """Write what differs from the defaults, and what an operator looks for first."""
        shown = ("name", "state", "database", "host", "port")
        defaults = {each.name: each.default for each in fields(self)}
        lines = ["# The settings of one attest witness. docs/guides/witness.md explains every key."]
        for name in _READERS:
            value = getattr(self, name)
            if value is not None and (name in shown or value != defaults[name]):
                lines.append(f"{name} = {_toml(value)}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


SignAll: TypeAlias = Callable[[Sequence[bytes]], list[bytes]]
"""Gives the signature of each message."""


def _one_by_one(key: MLDSASigningKey) -> SignAll:
    return lambda messages: [key.sign(message) for message in messages]


@dataclass(frozen=True, slots=True)
class WitnessKeys:
    """The two private keys of a witness, under its name."""

    name: str
    ed25519: SigningKey
    mldsa44: SignAll
    verifiers: tuple[NoteVerifier, ...]  # type 04, and 06 if it is used

    @classmethod
    def of(
        cls,
        name: str,
        ed25519: SigningKey,
        mldsa44: MLDSASigningKey,
        *,
        mldsa: bool = True,
        signing: Callable[[MLDSASigningKey], SignAll] = _one_by_one,
    ) -> Self:
        """Name two keys; with `mldsa` false the second never signs, otherwise it does through `signing`."""
        verifiers = [NoteVerifier.of(name, KeyType.COSIGNATURE, ed25519.public)]
        if mldsa:
            verifiers.append(NoteVerifier.of(name, KeyType.MLDSA44, mldsa44.public))
        return cls(name, ed25519, (signing if mldsa else _one_by_one)(mldsa44), tuple(verifiers))

    @classmethod
    def create(cls, name: str, directory: Path, passphrase: bytes | None) -> Self:
        """Make fresh keys in two new files. Raises `Conflict`: `key/exists`."""
        ed25519, mldsa44 = SigningKey.generate(), MLDSASigningKey.generate()
        write_key_file(directory / NOTE_ED25519, ed25519.to_pem(passphrase))
        write_key_file(directory / NOTE_MLDSA44, mldsa44.to_pem(passphrase))
        return cls.of(name, ed25519, mldsa44)

    @classmethod
    def load(cls, settings: Settings, signing: Callable[[MLDSASigningKey], SignAll] = _one_by_one) -> Self:
        """Read the key files. Raises as `read_key_file`, `SigningKey.from_pem` and `Settings.passphrase`.

        Args:
            signing: makes of the second key what signs with it.
        """
        directory, passphrase = settings.path(settings.keys), settings.passphrase()
        first = SigningKey.from_pem(read_key_file(directory / NOTE_ED25519), passphrase)
        second = MLDSASigningKey.from_pem(read_key_file(directory / NOTE_MLDSA44), passphrase)
        return cls.of(settings.name, first, second, mldsa=settings.mldsa, signing=signing)

    def cosign(self, steps: Sequence[tuple[Checkpoint, int]]) -> list[tuple[SignatureLine, ...]]:
        """Say of each checkpoint, with each key, that at this time it was the largest tree seen of its log."""
        lines = []
        for verifier in self.verifiers:
            if verifier.type is KeyType.COSIGNATURE:
                signatures = [self.ed25519.sign(ed25519_message(*step)) for step in steps]
            else:
                signatures = self.mldsa44([mldsa44_message(self.name, *step) for step in steps])
            lines.append(
                [
                    SignatureLine(self.name, verifier.key_id, time.to_bytes(8, "big") + signature)
                    for (_, time), signature in zip(steps, signatures, strict=True)
                ]
            )
        return list(zip(*lines, strict=True))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("want text")
    return value


def _name(value: Any) -> str:
    if fault := name_fault(name := _text(value)):
        raise ValueError(fault)
    return name


def _database(value: Any) -> str:
    url = _text(value)
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("want sqlite:///… or postgresql+psycopg://…")
    return url


def _path(value: Any) -> Path:
    return Path(_text(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("want true or false")
    return value


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"want an integer from {low} to {high}")
        return value

    return read


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": _name,
    "state": _flag,
    "mldsa": _flag,
    "database": _database,
    "keys": _path,
    "passphrase_file": _path,
    "host": _text,
    "port": _integer(0, 65_535),
    "threads": _integer(1, 1024),
}
