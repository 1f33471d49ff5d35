"""A holder's directory: settings, policy, private keys, the lock, and where its vault is.

    holder.toml   who we are and which log we use; written once
    policy        whose signatures we take for the log's; pinned at init
    keys/         sign-<kid>.pem, recover-<kid>.pem: PKCS#8; vrf.pem: the VRF secret, in a form of its own
    vault.sqlite  unless `vault` in holder.toml names another database

The VRF secret is not written as PKCS#8: no tool shall take it for a signing key.
"""

import contextlib
import fcntl
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from attest.crypto import keys, vrf
from attest.crypto.keys import SigningKey
from attest.encoding import Hash, encode_base64, parse_base64
from attest.errors import AttestError, Conflict, Malformed, Unavailable, Untrusted
from attest.formats.policy import Policy
from attest.formats.statement import is_origin, is_party_id
from attest.holder.vault import sqlite_url
from attest.store.keyfiles import read_key_file, write_key_file

FILE: Final = "holder.toml"
_FIELDS: Final = ("id", "name", "legal_id", "origin", "url", "vault")
_CLEAR: Final = "ATTEST VRF SECRET"
_ENCRYPTED: Final = "ENCRYPTED ATTEST VRF SECRET"
_KID: Final = 16  # hex digits of a kid in a file name


@dataclass(frozen=True, slots=True)
class Settings:
    """Who the holder is, and which log it uses."""

    id: str
    name: str
    legal_id: str
    origin: str
    url: str
    vault: str | None = None  # SQLAlchemy URL; None: vault.sqlite in the directory

    def check(self) -> None:
        """Raises `Malformed`: `holder/id`, `holder/origin`, `holder/name`, `holder/url`."""
        if not is_party_id(self.id) or self.id == self.origin:
            raise Malformed("holder/id", "want a lower-case host name of at least two labels, other than the log's")
        if not is_origin(self.origin):
            raise Malformed("holder/origin", "want the log's origin: a URL without its scheme")
        if not all(0 < len(text) <= 200 and text.isprintable() for text in (self.name, self.legal_id)):
            raise Malformed("holder/name", "want a name and a legal identifier of 1 to 200 printable characters each")
        if not self.url.startswith(("https://", "http://")):
            raise Malformed("holder/url", "want the log's URL, with https://")


@dataclass(frozen=True, slots=True)
class Home:
    """An initialised directory."""

    path: Path
    settings: Settings
    policy: Policy

    @classmethod
    def create(cls, path: Path, settings: Settings, policy: bytes, passphrase: bytes | None) -> Self:
        """Make the directory, with fresh keys. Raises `Conflict`: `holder/exists`; `Malformed`: `policy/…`."""
        settings.check()
        pinned = Policy.parse(policy)
        if settings.origin not in {log.verifier.name for log in pinned.logs}:
            raise Untrusted("policy/log", f"the policy pins no key of log {settings.origin}")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise Conflict("holder/exists", f"{path} is not empty; keys and vaults are never overwritten")
        (path / "keys").mkdir(mode=0o700)
        home = cls(path, settings, pinned)
        for use in ("sign", "recover"):
            home.add_key(use, SigningKey.generate(), passphrase)
        write_key_file(path / "keys" / "vrf.pem", _encode_vrf(os.urandom(vrf.SECRET_SIZE), passphrase))
        (path / "policy").write_bytes(policy)
        # Last: a directory without it was never finished.
        (path / FILE).write_text(_toml(settings), encoding="utf-8")
        return home

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a directory. Raises `Unavailable`: `holder/missing`; `Malformed`: `holder/settings`, `policy/…`."""
        try:
            found = tomllib.loads((path / FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise Unavailable("holder/missing", f"no {FILE} in {path}", hint="attest holder init") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Malformed("holder/settings", f"{path / FILE}: {error}") from None
        if not set(_FIELDS[:-1]) <= found.keys() <= set(_FIELDS) or not all(isinstance(v, str) for v in found.values()):
            raise Malformed("holder/settings", f"{path / FILE}: want {', '.join(_FIELDS)} as text and nothing else")
        settings = Settings(**found)
        settings.check()
        return cls(path, settings, Policy.parse((path / "policy").read_bytes()))

    @property
    def vault_url(self) -> str:
        """The SQLAlchemy URL of the vault."""
        return self.settings.vault or sqlite_url(self.path.resolve() / "vault.sqlite")

    # --- keys ---

    def add_key(self, use: str, key: SigningKey, passphrase: bytes | None) -> None:
        """Write a new signing (`sign`) or recovery (`recover`) key."""
        write_key_file(self._key_path(use, keys.thumbprint(key.public)), key.to_pem(passphrase))

    def key(self, use: str, kid: Hash, passphrase: bytes | None) -> SigningKey:
        """Read a key. Raises as `read_key_file` and `SigningKey.from_pem`."""
        return SigningKey.from_pem(read_key_file(self._key_path(use, kid)), passphrase)

    def keys(self, use: str, passphrase: bytes | None) -> list[SigningKey]:
        """Read all keys of one use, by file name."""
        paths = sorted((self.path / "keys").glob(f"{use}-*.pem"))
        return [SigningKey.from_pem(read_key_file(path), passphrase) for path in paths]

    def _key_path(self, use: str, kid: Hash) -> Path:
        return self.path / "keys" / f"{use}-{kid.hex()[:_KID]}.pem"

    def vrf_secret(self, passphrase: bytes | None) -> bytes:
        """Read the VRF secret. Raises as `read_key_file`; `Malformed`: `key/pem`; `Untrusted`: `key/passphrase`."""
        return _decode_vrf(read_key_file(self.path / "keys" / "vrf.pem"), passphrase)

    # --- one writer ---

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the vault. Raises `Unavailable`: `vault/busy`."""
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable("vault/busy", "another process is working with this vault; wait for it") from None
            yield


def _toml(settings: Settings) -> str:
    # A JSON string is a TOML string, as long as DEL is escaped; `check` lets none pass.
    lines = [
        f"{name} = {json.dumps(getattr(settings, name), ensure_ascii=False)}"
        for name in _FIELDS
        if getattr(settings, name) is not None
    ]
    return "\n".join(lines) + "\n"


def _encode_vrf(secret: bytes, passphrase: bytes | None) -> bytes:
    if passphrase is None:
        return _armoured(_CLEAR, secret)
    salt = os.urandom(argon2id.SALTBYTES)
    return _armoured(_ENCRYPTED, salt + _box(passphrase, salt).encrypt(secret))


def _decode_vrf(pem: bytes, passphrase: bytes | None) -> bytes:
    lines = pem.decode("ascii", "replace").strip().split("\n")
    label = next((label for label in (_CLEAR, _ENCRYPTED) if lines[0] == f"-----BEGIN {label}-----"), None)
    if label is None or lines[-1] != f"-----END {label}-----":
        raise Malformed("key/pem", f"want a file with {_CLEAR}")
    if (label == _ENCRYPTED) != (passphrase is not None):
        what = "is encrypted and no passphrase was given" if passphrase is None else "is not encrypted"
        raise Untrusted(
            "key/passphrase", f"the VRF secret {what}", hint="give it in ATTEST_PASSPHRASE, or name a file with it"
        )
    try:
        body = parse_base64("".join(lines[1:-1]))
        if passphrase is not None:
            body = _box(passphrase, body[: argon2id.SALTBYTES]).decrypt(body[argon2id.SALTBYTES :])
    except (AttestError, CryptoError, ValueError):
        raise Untrusted("key/passphrase", "the passphrase is wrong, or the file is damaged") from None
    if len(body) != vrf.SECRET_SIZE:
        raise Malformed("key/pem", f"want {vrf.SECRET_SIZE} bytes of VRF secret, found {len(body)}")
    return body


def _box(passphrase: bytes, salt: bytes) -> SecretBox:
    return SecretBox(
        argon2id.kdf(
            SecretBox.KEY_SIZE,
            passphrase,
            salt,
            opslimit=argon2id.OPSLIMIT_MODERATE,
            memlimit=argon2id.MEMLIMIT_MODERATE,
        )
    )


def _armoured(label: str, body: bytes) -> bytes:
    text = encode_base64(body)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
