"""What an audit costs: a log in a directory from entry 0, and again after a day, each in a process of its own.

ATTEST_BENCH_ROWS=10000000 measures 10 M rows as well, which takes minutes to make.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attest.audit.audit import Order, audit
from attest.audit.memory import Memory
from attest.audit.source import DirectorySource
from attest.collector import uncollected
from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.formats.checkpoint import Checkpoint, sign_checkpoint
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyLog
from attest.formats.rows import ROW, RowFile
from attest.formats.statement import Epoch, Limits, Log, Payload, Statement, issuer_of, sign_statement
from attest.ledger.epoch import Draft, Ledger
from attest.merkle.tiles import FULL, TileBuilder, encode_bundle, entries_path, tile_path
from attest.merkle.tree import leaf_hashes
from attest.statemap import HashedRows, StateMap, parallel
from tests.world import START, Holder, SimulatedClock, descriptor

ORIGIN = "bench.example/log"
SYSTEMS = ("crm", "photos", "search", "warehouse")
PROCESSES = min(4, len(os.sched_getaffinity(0)))  # as many as an audit starts
SHAPES = (("65,536 rows a statement", 1_000_000, 65_536, 4), ("1,000 rows a statement", 250_000, 1_000, 64))
DAY = 10_000  # rows that are new when an audit is made again


@dataclass
class PublishedLog:
    """A log that is written into a directory as it is served."""

    place: Path
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey.generate() for _ in range(3)])
    mldsa: MLDSASigningKey = field(default_factory=MLDSASigningKey.generate)
    ledger: Ledger = field(default_factory=lambda: Ledger(lambda: StateMap.empty(roomy=True)))
    entries: list[bytes] = field(default_factory=list)
    own: int = 0
    holds: int = 0

    def __post_init__(self) -> None:
        (self.place / "rows").mkdir(parents=True)
        self.holder = Holder("acme.example", self.clock, origin=ORIGIN)
        own, *others = (key.public for key in self.keys)
        self.epoch([(self.sign(Log(ORIGIN, own, *others, self.mldsa.public, Limits(rows=1 << 20), None)), None)])
        party = self.holder.join_request().party("operator", START)
        self.epoch([(self.sign(party, about=self.holder.id), None)])
        self.epoch([(self.holder.systems(*map(descriptor, SYSTEMS)), None)])

    def sign(self, payload: Payload, **changes: Any) -> Statement:
        """Sign as the log."""
        name = issuer_of(ORIGIN)
        self.own += 1
        return sign_statement(self.keys[0], payload, issuer=name, stream=name, audience=ORIGIN,
                              issued_at=int(self.clock()), seq=self.own - 1, **changes)  # fmt: skip

    def epoch(self, statements: list[tuple[Statement, RowFile | None]]) -> None:
        """Make an epoch."""
        draft = Draft(self.ledger)
        for statement, file in statements:
            draft.add(statement, file)
            if file is not None:
                (self.place / "rows" / file.root().hex()).write_bytes(file.encoded)
        self.clock.advance()
        log = draft.party(ORIGIN)
        assert log is not None and log.log is not None
        epoch = self.sign(Epoch(log.log.epochs, int(self.clock()), draft.close().root))
        self.ledger = self.ledger.advance(draft, epoch)
        self.entries += [each.entry for each in (*draft.entries, epoch)]

    def fill(self, rows: int, batch: int, per_epoch: int) -> int:
        """Hold rows in batches, system by system, and erase half of every tenth batch. Returns how many there were."""
        done = 0
        while done < rows:
            statements: list[tuple[Statement, RowFile | None]] = []
            for _ in range(per_epoch):
                system, file = SYSTEMS[self.holds % 4], random_file(batch)
                statements.append((self.holder.hold(system, file), file))
                self.holds += 1
                if self.holds % 10 == 0:
                    half = HashedRows.parse(b"".join(rows_of(file)[::2]))
                    statements.append((self.holder.erase(system, half), half))
            self.epoch(statements)
            done += sum(len(file) for _, file in statements if file is not None)
        return done

    def publish(self) -> None:
        """Write tiles, bundles and the checkpoint of all there is."""
        builder = TileBuilder()
        for (level, index, width), content in [*builder.append(leaf_hashes(self.entries)), *builder.partial()]:
            self._write(tile_path(level, index, width), content)
        for start in range(0, len(self.entries), FULL):
            some = self.entries[start : start + FULL]
            self._write(entries_path(start // FULL, len(some)), encode_bundle(some))
        checkpoint = Checkpoint(ORIGIN, self.ledger.size, self.ledger.frontier.root())
        self._write("checkpoint", sign_checkpoint(checkpoint, self.keys[2], self.mldsa, int(self.clock())).encode())
        key = NoteVerifier.of(ORIGIN, KeyType.ED25519, self.keys[2].public)
        self._write("policy", Policy((PolicyLog(key),), (), (), None).encode())

    def _write(self, name: str, content: bytes) -> None:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def random_file(count: int) -> RowFile:
    return HashedRows.parse(b"".join(sorted(rows_of(secrets.token_bytes(count * ROW)))))


def rows_of(file: RowFile | bytes) -> list[bytes]:
    encoded = file if isinstance(file, bytes) else file.encoded
    return [encoded[at : at + ROW] for at in range(0, len(encoded), ROW)]


def run() -> list[dict[str, Any]]:
    """Measure."""
    wanted = int(os.environ.get("ATTEST_BENCH_ROWS", "0"))
    shapes = [*SHAPES, *([("65,536 rows a statement", wanted, 65_536, 4)] if wanted else [])]
    return [result for shape in shapes for result in measure(*shape)]


def measure(name: str, count: int, batch: int, per_epoch: int) -> Iterator[dict[str, Any]]:
    """Audit a log from entry 0, then once more when it has grown."""
    with TemporaryDirectory() as folder:
        place, state = Path(folder) / "log", Path(folder) / "state"
        with uncollected(), parallel(PROCESSES):
            log = PublishedLog(place)
            rows = log.fill(count, batch, per_epoch)
            log.publish()
            bare = read_and_hash(place)
            first = child(place, state)
            yield {
                "name": f"audit from entry 0, {rows:,} rows, {name}",
                "value": rows / first["seconds"],
                "unit": "rows/s",
                "peer": "only reading and hashing the same bytes",
                "peer_value": rows / bare,
                "note": f"{first['cpu'] / rows * 1e6:.1f} µs of processor a row, {PROCESSES} processes,"
                f" {first['mebibytes']:,.0f} MiB at most",
            }
            more = log.fill(DAY, DAY // 10, 10)
            log.publish()
        again = child(place, state)
        yield {
            "name": f"audit again, {more:,} rows more",
            "value": again["seconds"],
            "unit": "s",
            "peer": "all of it, from entry 0",
            "peer_value": first["seconds"],
            "ratio": again["seconds"] / first["seconds"],
        }


def read_and_hash(place: Path) -> float:
    """Return the seconds it takes to read all files and to hash each once."""
    start = time.perf_counter()
    for path in place.rglob("*"):
        if path.is_file():
            sha256(path.read_bytes()).digest()
    return time.perf_counter() - start


def child(place: Path, state: Path) -> dict[str, Any]:
    """Audit in another process; return how long it took, and the most memory it had with its workers."""
    command = [sys.executable, "-m", "tools.bench.audit", str(place), str(state)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert said["outcome"] == "clean"
    return dict(said)


def main(place: Path, state: Path) -> None:
    """Audit, and say how it went."""
    order = Order(Policy.parse((place / "policy").read_bytes()), str(place), 0, live=False)
    start = time.perf_counter()
    # The audit would start its workers itself; here they are left until they have been asked.
    with parallel(PROCESSES):
        with Memory.open(state) as memory:
            report = audit(DirectorySource(place), order, memory, None)
        seconds = time.perf_counter() - start
        mebibytes = highest()
    cpu = sum(os.times()[:4])
    outcome = {"outcome": report.outcome, "seconds": seconds, "cpu": cpu, "mebibytes": mebibytes}
    print(json.dumps(outcome))


def highest() -> float:
    """Return the most memory, in MiB, that this process and its workers had, each at its own time."""
    # Not from getrusage: what it says of a process begins with what the parent had when it was started.
    workers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    statuses = [Path(f"/proc/{process}/status").read_text() for process in ("self", *workers)]
    return sum(int(status.split("VmHWM:")[1].split()[0]) for status in statuses) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
