"""Real logs for others to read: made by `attest operator` and `attest serve`, filled by holders, served on loopback.

The large one is seen at each size from 255 to 258, where the first tile fills and the second begins, and ends beyond
two full tiles; the small one has a single epoch, two entries.
"""

import contextlib
import csv
import os
import secrets
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx

from attest.crypto import vrf
from attest.crypto.keys import SigningKey
from attest.encoding import encode_base64url
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, log_verifiers
from attest.formats.join import JoinRequest
from attest.formats.note import NoteVerifier
from attest.formats.policy import Policy
from attest.formats.rows import RowFile
from attest.formats.state import vrf_key_digest
from attest.formats.statement import (
    Descriptor,
    Hold,
    Log,
    NewKey,
    Payload,
    Statement,
    Systems,
    VrfSeries,
    issuer_of,
    possession_message,
    sign_statement,
)
from attest.merkle.tiles import FULL, entries_path, parse_bundle
from attest.merkle.tree import leaf_hash
from attest.transport import LogClient
from tools.interop.install import Failed
from tools.interop.processes import answers, free_port, must, running, wait_until

ATTEST: Final = Path(sys.executable).with_name("attest")
CROSSED: Final = (255, 256, 257, 258)
ENOUGH: Final = 2 * FULL + 40
_QUIET: Final = "3600"


@dataclass(frozen=True)
class Served:
    """A log, its directory, and where it is served."""

    directory: Path
    url: str

    @property
    def policy(self) -> Path:
        """The policy file that `attest operator init` wrote."""
        return self.directory / "policy"

    @property
    def public(self) -> Path:
        """What is published."""
        return self.directory / "public"

    @property
    def seen(self) -> Path:
        """Earlier checkpoints, one file each, by size."""
        return self.directory / "seen"

    def checkpoint(self) -> bytes:
        """Return the newest checkpoint, as served."""
        return httpx.get(f"{self.url}/checkpoint").raise_for_status().content

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self.parsed().size

    def parsed(self) -> Checkpoint:
        """Return the newest checkpoint's three lines."""
        return SignedCheckpoint.parse(self.checkpoint()).checkpoint

    def entries(self) -> list[bytes]:
        """Return all entries, as served."""
        found: list[bytes] = []
        for start in range(0, size := self.size, FULL):
            width = min(FULL, size - start)
            bundle = httpx.get(f"{self.url}/{entries_path(start // FULL, width)}").raise_for_status().content
            found += parse_bundle(bundle, width)
        return found

    def proof(self, entry: bytes) -> bytes:
        """Return the `.tlog-proof` that the service gives for an entry."""
        place = f"{self.url}/proofs/entry/{encode_base64url(leaf_hash(entry))}"
        return httpx.get(place).raise_for_status().content

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        return Policy.parse(self.policy.read_bytes()).logs[0].verifier.name

    def verifiers(self) -> tuple[NoteVerifier, NoteVerifier]:
        """Return the log's keys, Ed25519 and ML-DSA-44, as entry 0 names them."""
        genesis = Statement.parse(self.entries()[0]).payload
        if not isinstance(genesis, Log):
            raise Failed("entry 0 is not the log's own")
        return log_verifiers(genesis.origin, genesis.note_ed25519, genesis.note_mldsa44)


def create(directory: Path, origin: str, *, port: int) -> Served:
    """Create a log."""
    url = f"http://127.0.0.1:{port}"
    must(ATTEST, "operator", "init", "--dir", directory, "--origin", origin, "--url", url, "--port", port)
    log = Served(directory, url)
    log.seen.mkdir()
    return log


@contextlib.contextmanager
def serving(log: Served, **settings: str) -> Iterator[Served]:
    """Run its service."""
    port = int(log.url.rpartition(":")[2])
    wanted = {"ATTEST_QUIET_INTERVAL_S": _QUIET, "ATTEST_FREE_BYTES": "0", **settings}
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("ATTEST_")}, **wanted}
    with running(
        *(ATTEST, "serve", "--dir", log.directory),
        said=log.directory / "serve.log",
        ready=lambda _: answers(port),
        environment=environment,
    ):
        yield log


@contextlib.contextmanager
def small(where: Path) -> Iterator[Served]:
    """Serve a log of one epoch: entry 0 and the epoch's own."""
    with serving(create(where, "small.example/interop", port=free_port())) as log:
        (log.seen / "000002").write_bytes(log.checkpoint())
        yield log


@contextlib.contextmanager
def large(where: Path) -> Iterator[Served]:
    """Serve a log of a few hundred statements, filled as a user would and then some more."""
    log = create(where, "log.example/interop", port=free_port())
    crowd = Crowd(log)
    with serving(log, ATTEST_WAIT_S="0"):
        _tell_a_story(log, where / "story")
        crowd.join()
        with crowd.client() as client:
            # A statement may take an epoch of its own, which is an entry too.
            while (missing := CROSSED[0] - log.size) > 8:
                crowd.submit(client, (missing - 6) // 2)
                crowd.settle(client)
    # With an empty epoch every second every size comes by.
    with serving(log, ATTEST_QUIET_INTERVAL_S="1"):
        _watch(log)
    with serving(log, ATTEST_WAIT_S="0"):
        with crowd.client() as client:
            crowd.submit(client, ENOUGH - log.size)
            crowd.settle(client)
        yield log


def _watch(log: Served) -> None:
    """Keep the checkpoints of the sizes that count; look-ups can be asked at each of the last sixty."""
    wait_until(lambda: log.size >= CROSSED[-1], f"{log.url} to grow")
    with _client(log) as client:
        for size in CROSSED:
            found = client.lookup("acme.example", [{"customers": bytes(32)}], size)
            (log.seen / f"{size:06}").write_text(found["checkpoint"])


def _client(log: Served) -> LogClient:
    return LogClient(log.url, Policy.parse(log.policy.read_bytes()))


def _tell_a_story(log: Served, where: Path) -> None:
    """A company commits a table and erases half of it, with the commands of README."""
    where.mkdir()
    people = [f"person{number}@example.org" for number in range(20)]
    for name, chosen in (("all.csv", people), ("half.csv", people[:10])):
        with (where / name).open("w", newline="") as file:
            csv.writer(file).writerows([["email"], *([each] for each in chosen)])
    origin = log.origin
    company = ("--dir", where / "acme")
    must(
        *(ATTEST, "holder", "init", *company, "--id", "acme.example", "--name", "Acme", "--legal-id", "HRB 1"),
        *("--origin", origin, "--url", log.url, "--policy", log.policy),
    )
    must(ATTEST, "holder", "join", *company, "--output", where / "join.json")
    must(ATTEST, "operator", "admit", "--dir", log.directory, where / "join.json")
    must(ATTEST, "holder", "systems", "add", "customers", *company, "--kind", "database", "--indexed-by", "email")
    table = ("--locator", "email:{email}", "--system", "customers")
    must(ATTEST, "holder", "hold", *company, *table, "--from", where / "all.csv")
    must(ATTEST, "holder", "keepsake", f"email:{people[0]}", *company, "--output", where / "first.keepsake")
    must(
        *(ATTEST, "holder", "erase", *company, *table, "--from", where / "half.csv"),
        *("--method", "row_delete_committed", "--ground", "gdpr:17(1)(b)", "--erased-at", int(time.time())),
    )
    must(ATTEST, "certificate", where / "first.keepsake", "--url", log.url, "--output", where / "first.certificate")
    must(
        *(ATTEST, "verify", where / "first.certificate", "--policy", log.policy),
        *("--keepsake", where / "first.keepsake"),
    )


@dataclass
class Crowd:
    """A company that posts many statements without waiting for each, each with a row file of its own."""

    log: Served
    id: str = "crowd.example"
    key: SigningKey = field(default_factory=SigningKey.generate)
    posted: list[Statement] = field(default_factory=list)

    def client(self) -> LogClient:
        """Return a client of the log, under its policy."""
        return _client(self.log)

    def join(self) -> None:
        """Have the operator admit it, and register its one system."""
        origin = self.log.origin
        recovery = SigningKey.generate()
        draft = JoinRequest(
            *(origin, self.id, "holder", "Crowd", "HRB 2"),
            keys=tuple(NewKey(key.public, use, bytes(64)) for key, use in ((self.key, "sign"), (recovery, "recover"))),
            vrf=(VrfSeries(3, vrf_key_digest(3, vrf.public_key(secrets.token_bytes(32)))),),
        )
        message = possession_message(origin, self.id, draft.party("operator", 0))
        proofs = (self.key.sign(message), recovery.sign(message))
        keys = tuple(replace(new, proof=proof) for new, proof in zip(draft.keys, proofs, strict=True))
        request = self.log.directory / "crowd.join"
        request.write_bytes(replace(draft, keys=keys).encode())
        must(ATTEST, "operator", "admit", "--dir", self.log.directory, request)
        system = Descriptor("records", "database", (), ("email",), None, None, None, False)
        with self.client() as client:
            client.submit(self._sign(Systems((system,)), issuer_of(self.id), 0))
            self.settle(client)

    def submit(self, client: LogClient, count: int) -> None:
        """Post some statements, and their row files, in no order."""
        files = [
            RowFile.build({secrets.token_bytes(32): secrets.token_bytes(32) for _ in range(3)}) for _ in range(count)
        ]
        signed = [
            (self._sign(Hold(len(rows), rows.root(), "collected"), "records", len(self.posted) - 1), rows)
            for rows in files
        ]

        def post(each: tuple[Statement, RowFile]) -> None:
            statement, rows = each
            client.submit(statement)
            client.put_rows(rows.root(), rows.encoded, statement.leaf)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(post, signed))

    def settle(self, client: LogClient) -> None:
        """Wait until the last of them is published; a company's statements are in its order."""
        last = self.posted[-1].leaf
        wait_until(lambda: client.became(last).state == "published", "the log to publish what was posted")

    def _sign(self, payload: Payload, stream: str, seq: int) -> Statement:
        claims = {"issuer": issuer_of(self.id), "audience": self.log.origin, "issued_at": int(time.time())}
        statement = sign_statement(self.key, payload, stream=stream, seq=seq, **claims)
        self.posted.append(statement)
        return statement
