"""What a state witness does: checking epochs by their proofs over a map of a million keys, and replaying all of it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attest.collector import uncollected
from attest.crypto.keys import SigningKey
from attest.encoding import Hash, decode_cbor, encode_cbor
from attest.formats.checkpoint import Checkpoint
from attest.formats.rows import ROW, RowFile
from attest.formats.statement import Epoch, Limits, Log, Statement, issuer_of, sign_statement
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.transition import Anchor, prove_transition, verify_transition
from attest.merkle import tree
from attest.merkle.tiles import FULL, Tile
from attest.served import Asked, ServedTree
from attest.statemap import StateMap
from attest.store.blobs import DirectoryBlobs
from attest.witness.replay import replay
from attest.witness.rowfiles import RowFiles
from tests.world import START, Holder, SimulatedClock, descriptor, random_rows

ORIGIN = "bench.example/log"
KEYS = 1_000_000
BUILD = 100_000  # keys an epoch while the map grows
BATCHES = (1, 100, 1_000, 10_000, 100_000)


@dataclass
class Bench:
    """A log in memory, with every entry, row file and proof."""

    clock: SimulatedClock = field(default_factory=SimulatedClock)
    key: SigningKey = field(default_factory=SigningKey.generate)
    ledger: Ledger = field(default_factory=lambda: Ledger(StateMap.empty))
    entries: list[bytes] = field(default_factory=list)
    files: dict[Hash, bytes] = field(default_factory=dict)
    own: int = 0

    def __post_init__(self) -> None:
        self.holder = Holder("acme.example", self.clock, origin=ORIGIN)
        public = [SigningKey.generate().public for _ in range(2)]
        genesis = Log(ORIGIN, self.key.public, *public, bytes(1312), Limits(rows=1 << 20), None)
        self.epoch(self.sign(genesis))
        request = self.holder.join_request()
        self.epoch(self.sign(request.party("operator", START), about=self.holder.id))
        self.epoch(self.holder.systems(descriptor("db")))

    def sign(self, payload: Any, **changes: Any) -> Statement:
        """Sign as the log."""
        name = issuer_of(ORIGIN)
        self.own += 1
        return sign_statement(self.key, payload, issuer=name, stream=name, audience=ORIGIN,
                              issued_at=int(self.clock()), seq=self.own - 1, **changes)  # fmt: skip

    def epoch(self, *statements: Statement, rows: Sequence[RowFile | None] = ()) -> bytes:
        """Make an epoch of some statements; return its transition proof."""
        draft, base = Draft(self.ledger), self.ledger
        for statement, file in zip(statements, rows or [None] * len(statements), strict=True):
            draft.add(statement, file)
            if file is not None:
                self.files[file.root()] = file.encoded
        self.clock.advance()
        log = draft.party(ORIGIN)
        assert log is not None and log.log is not None
        epoch = self.sign(Epoch(log.log.epochs, int(self.clock()), draft.close().root))
        proof = prove_transition(base, draft, epoch)
        self.ledger = base.advance(draft, epoch)
        self.entries += [each.entry for each in (*statements, epoch)]
        return proof

    @property
    def anchor(self) -> Anchor:
        """Where a checker stands after the last epoch."""
        ledger = self.ledger
        return Anchor(ledger.genesis, ledger.size, ledger.frontier.root(), ledger.previous)

    # --- what a log serves ---

    def tiles(self, tiles: list[Tile]) -> list[bytes]:
        leaves = tree.leaf_hashes(self.entries)
        found = []
        for level, index, width in tiles:
            size = FULL**level
            starts = range(index * FULL * size, (index * FULL + width) * size, size)
            found.append(b"".join(tree.root(leaves[start : start + size]) for start in starts))
        return found

    def bundle(self, index: int, width: int) -> list[bytes]:
        return self.entries[index * FULL : index * FULL + width]

    def transition(self, epoch: int, most: int) -> bytes | None:
        return None

    def rows(self, root: Hash, most: int) -> bytes:
        return self.files[root]


def run() -> list[dict[str, Any]]:
    """Measure."""
    bench = Bench()
    for _ in range(KEYS // BUILD):
        hold(bench, BUILD)
    results = [result for count in BATCHES for result in measure(bench, count)]
    return [*results, *replayed(bench)]


def hold(bench: Bench, count: int) -> tuple[bytes, RowFile]:
    file = RowFile.build(random_rows(count))
    return bench.epoch(bench.holder.hold("db", file), rows=[file]), file


def measure(bench: Bench, count: int) -> list[dict[str, Any]]:
    """Hold some new rows, erase them, and check both epochs."""
    anchor = bench.anchor
    held, file = hold(bench, count)
    between = bench.anchor
    erased = bench.epoch(bench.holder.erase("db", file), rows=[file])
    found = []
    for what, proof, start in (("held", held, anchor), ("erased", erased, between)):
        taken = best(lambda proof=proof, start=start: check(proof, start, file))
        peer = best(lambda proof=proof: [sha256(proof).digest(), file.root()])
        found.append(
            {
                "name": f"epoch checked, {count:,} {what} of {KEYS:,}",
                "value": count / taken,
                "unit": "keys/s",
                "peer": "only hashing proof and rows",
                "peer_value": count / peer,
                "note": f"{len(proof) / count:,.0f} bytes of proof a key, {1000 * taken:,.0f} ms",
            }
        )
    return found


def check(proof: bytes, start: Anchor, file: RowFile) -> None:
    with uncollected():
        verify_transition(proof, start, lambda _: file.encoded)


def best(work: Callable[[], Any], times: int = 5) -> float:
    """Return the seconds of processor time of the fastest run: it is one thread, and others share the machine."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


# --- replay, in a process of its own: it is the memory that matters ---


def replayed(bench: Bench) -> list[dict[str, Any]]:
    """Replay everything from entry 0, row files being fetched, and again with row files that are stored."""
    rows = sum(len(each) for each in bench.files.values()) // ROW
    found = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "log").mkdir()
        (place / "entries").write_bytes(encode_cbor(bench.entries))
        for root, encoded in bench.files.items():
            (place / "log" / root.hex()).write_bytes(encoded)
        for what in ("row files fetched", "row files stored before"):
            command = [sys.executable, "-m", "tools.bench.state_witness", folder]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            assert said["root"] == bench.ledger.frontier.root().hex()
            found.append(
                {
                    "name": f"replay from entry 0, {what}",
                    "value": rows / said["seconds"],
                    "unit": "rows/s",
                    "note": f"{rows:,} rows, {said['megabytes']:,.0f} MB more than at the beginning",
                }
            )
    return found


class Stored:
    """A log in a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.entries: list[bytes] = decode_cbor((place / "entries").read_bytes())

    tiles, bundle = Bench.tiles, Bench.bundle

    def transition(self, epoch: int, most: int) -> bytes | None:
        return None

    def rows(self, root: Hash, most: int) -> bytes:
        return (self.place / "log" / root.hex()).read_bytes()


def child(place: Path) -> None:
    """Replay, and say how long it took and what it needed."""
    log = Stored(place)
    checkpoint = Checkpoint(ORIGIN, len(log.entries), tree.root(tree.leaf_hashes(log.entries)))
    (place / "own").mkdir(exist_ok=True)
    asked, blobs = Asked(log), DirectoryBlobs(place / "own")
    before, start = most_memory(), time.process_time()
    *_, last = replay(ServedTree(asked, checkpoint), lambda entries: RowFiles(asked, blobs, entries, 1 << 22))
    taken = time.process_time() - start
    print(json.dumps({"seconds": taken, "megabytes": most_memory() - before, "root": last.root.hex()}))


def most_memory() -> float:
    """Return the most that this process has had, in megabytes; what getrusage says includes its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    child(Path(sys.argv[1]))
