"""Other people's witnesses, alive, and ours: each follows the logs it is told."""

import contextlib
import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from attest.encoding import encode_base64, sha256
from tools.interop.install import AICS, LITE, OURS, Failed
from tools.interop.processes import answers, free_port, must, running, wait_until

ATTEST: Final = Path(sys.executable).with_name("attest")
_EMPTY: Final = encode_base64(sha256(b""))


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness that runs."""

    name: str
    url: str
    vkeys: tuple[str, ...]

    @property
    def ed25519(self) -> str:
        """Its key of type 04."""
        return self.vkeys[0]


@contextlib.contextmanager
def attest_witness(where: Path, *logs: Sequence[str]) -> Iterator[Cosigner]:
    """Run ours."""
    directory = where / "attest"
    port = free_port()
    must(ATTEST, "witness", "init", "--dir", directory, "--name", "witness.example/attest", "--port", port)
    for vkeys in logs:
        must(ATTEST, "witness", "follow", "--dir", directory, *vkeys)
    command = (ATTEST, "witness", "serve", "--dir", directory)
    with running(*command, said=where / "attest.log", ready=lambda _: answers(port)):
        vkeys = tuple((directory / "vkeys").read_text().split())
        yield Cosigner("attest", f"http://127.0.0.1:{port}", vkeys)


@contextlib.contextmanager
def aics_witness(where: Path, *logs: Sequence[str]) -> Iterator[Cosigner]:
    """Run aics-witness, with the Ed25519 keys of the logs: it knows no others."""
    directory = where / "aics"
    directory.mkdir()
    config = ("--config", directory / "witness.json")
    port = free_port()
    vkey = must(AICS / "aics-witness", "init", *config, "--name", "witness.example/aics")
    for vkeys in logs:
        origin = vkeys[0].split("+")[0]
        must(AICS / "aics-witness", "add-log", *config, "--origin", origin, "--vkey", vkeys[0])
    with running(
        *(AICS / "aics-witness", "serve", *config, "--listen", f"127.0.0.1:{port}"),
        said=where / "aics.log",
        ready=lambda _: answers(port),
    ):
        yield Cosigner("aics", f"http://127.0.0.1:{port}", (vkey.output.decode().split()[-1],))


@contextlib.contextmanager
def litewitness(where: Path, *logs: Sequence[str]) -> Iterator[Cosigner]:
    """Run litewitness, with its key in an agent, and all keys of the logs.

    The command that names logs to it, witnessctl, needs modules that have nothing to do with us: two rows are the same.
    """
    directory = where / "lite"
    directory.mkdir()
    port = free_port()
    socket, database = directory / "agent", directory / "witness.db"
    with (
        running(OURS, "agent", socket, said=where / "agent.log", ready=lambda said: "SHA256:" in said),
        running(
            *(LITE, "-name", "witness.example/lite", "-db", database, "-ssh-agent", socket),
            *("-key", (where / "agent.log").read_text().strip(), "-listen", f"127.0.0.1:{port}"),
            said=where / "lite.log",
            ready=lambda _: answers(port),
        ),
    ):
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            for vkeys in logs:
                origin = vkeys[0].split("+")[0]
                db.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (origin, _EMPTY))
                db.executemany("INSERT INTO key (origin, key) VALUES (?, ?)", [(origin, vkey) for vkey in vkeys])
        found = re.search(r'vkey="?(\S+?)"?$', (where / "lite.log").read_text(), re.MULTILINE)
        if found is None:
            raise Failed("litewitness does not say its key")
        yield Cosigner("lite", f"http://127.0.0.1:{port}", (found[1],))


@contextlib.contextmanager
def omniwitness(where: Path, *logs: Sequence[str]) -> Iterator[Cosigner]:
    """Run the witness that the omniwitness is made of; it takes one key of a log."""
    said = where / "omni.log"
    vkeys = [vkeys[0] for vkeys in logs]
    with running(
        *(OURS, "witness", "witness.example/omni", *vkeys), said=said, ready=lambda found: found.count("\n") == 3
    ):
        url, *keys = said.read_text().split()
        wait_until(lambda: answers(int(url.rpartition(":")[2])), "omniwitness")
        yield Cosigner("omni", url, tuple(keys))
