"""Private keys in files: PKCS#8 PEM, mode 0600, optionally under a passphrase."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.errors import Conflict, Unavailable, Untrusted

STATEMENTS: Final = "statements.pem"
RECEIPTS: Final = "receipts.pem"
NOTE_ED25519: Final = "note-ed25519.pem"
NOTE_MLDSA44: Final = "note-mldsa44.pem"


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The four private keys of a log: one purpose each."""

    statements: SigningKey
    receipts: SigningKey
    note_ed25519: SigningKey
    note_mldsa44: MLDSASigningKey

    @classmethod
    def generate(cls) -> Self:
        """Make fresh keys."""
        return cls(SigningKey.generate(), SigningKey.generate(), SigningKey.generate(), MLDSASigningKey.generate())

    @classmethod
    def load(cls, directory: Path, passphrase: bytes | None) -> Self:
        """Read the four key files. Raises as `read_key_file`, `SigningKey.from_pem` and `MLDSASigningKey.from_pem`."""
        return cls(
            SigningKey.from_pem(read_key_file(directory / STATEMENTS), passphrase),
            SigningKey.from_pem(read_key_file(directory / RECEIPTS), passphrase),
            SigningKey.from_pem(read_key_file(directory / NOTE_ED25519), passphrase),
            MLDSASigningKey.from_pem(read_key_file(directory / NOTE_MLDSA44), passphrase),
        )

    def store(self, directory: Path, passphrase: bytes | None) -> None:
        """Write four new files. Raises `Conflict`: `key/exists`."""
        write_key_file(directory / STATEMENTS, self.statements.to_pem(passphrase))
        write_key_file(directory / RECEIPTS, self.receipts.to_pem(passphrase))
        write_key_file(directory / NOTE_ED25519, self.note_ed25519.to_pem(passphrase))
        write_key_file(directory / NOTE_MLDSA44, self.note_mldsa44.to_pem(passphrase))


def read_key_file(path: Path) -> bytes:
    """Read a key file that nobody but its owner can.

    Raises:
        Unavailable: `key/missing`.
        Untrusted: `key/permissions`, it can be read by its group or by everybody.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise Untrusted(
                    "key/permissions",
                    f"{path} has mode {stat.S_IMODE(mode):04o}, others could read it",
                    hint=f"chmod 600 {path}",
                )
            return file.read()
    except FileNotFoundError:
        raise Unavailable("key/missing", f"no key file {path}") from None


def write_key_file(path: Path, pem: bytes) -> None:
    """Write a new key file durably, mode 0600. Raises `Conflict`: `key/exists`, a key is never overwritten."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict("key/exists", f"{path} exists; a key is never overwritten") from None
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(handle)
