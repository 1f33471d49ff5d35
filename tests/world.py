"""A simulated world in one process: an operator, holders, a clock. `World.check` trusts nothing but published files."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from attest.config import Config, write_config
from attest.crypto import vrf
from attest.crypto.keys import SigningKey
from attest.encoding import Hash, sha256
from attest.formats.checkpoint import SignedCheckpoint, log_verifiers, verify_log_signatures
from attest.formats.join import JoinRequest
from attest.formats.policy import Policy
from attest.formats.rows import RowFile
from attest.formats.state import state_value, vrf_key_digest
from attest.formats.statement import (
    Descriptor,
    Epoch,
    Hold,
    Limits,
    Log,
    NewKey,
    Payload,
    Statement,
    Systems,
    Tombstone,
    VrfSeries,
    issuer_of,
    possession_message,
    sign_statement,
)
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.transition import Anchor, verify_transition
from attest.merkle import tiles, tree
from attest.merkle.sparse import Tree
from attest.node import Node, Submission

ORIGIN = "log.example/deletions"
START = 1_790_000_000


@dataclass
class SimulatedClock:
    """Unix seconds that pass only when told to."""

    now: float = START

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float = 1) -> None:
        """Let time pass."""
        self.now += seconds


class PlainMap:
    """A state map as a dict and a prefix tree: slow, and independent of the one that the service uses."""

    def __init__(self, states: Mapping[Hash, bytes] | None = None) -> None:
        self.states = dict(states or {})
        self.tree = Tree.build({key: state_value(state) for key, state in self.states.items()})

    @property
    def root(self) -> Hash:
        return self.tree.root

    def get(self, keys: Sequence[Hash]) -> list[bytes | None]:
        return [self.states.get(key) for key in keys]

    def prove(self, keys: Sequence[Hash]) -> list[bytes]:
        return [self.tree.prove(key).encode() for key in keys]

    def plan(self, changes: Mapping[Hash, bytes]) -> "PlainDelta":
        return PlainDelta(self, dict(changes))

    def apply(self, delta: "PlainDelta") -> "PlainMap":
        return PlainMap({**self.states, **delta.changes})


@dataclass
class PlainDelta:
    before: PlainMap
    changes: dict[Hash, bytes]

    @property
    def root(self) -> Hash:
        return self.before.tree.update({key: state_value(state) for key, state in self.changes.items()}).root

    def pruned(self) -> bytes:
        return self.before.tree.prune(list(self.changes))


def descriptor(system: str, kind: str = "database", **changes: Any) -> Descriptor:
    """Make the descriptor of a system whose subjects are all known by e-mail address."""
    return replace(Descriptor(system, kind, (), ("email",), None, None, None, False), **changes)


def random_rows(count: int) -> dict[Hash, Hash]:
    """Make index → commitment."""
    return {secrets.token_bytes(32): secrets.token_bytes(32) for _ in range(count)}


@dataclass
class Holder:
    """A company: its keys, and the next seq of each of its streams."""

    id: str
    clock: SimulatedClock
    role: str = "holder"
    origin: str = ORIGIN
    name: str = "Acme"
    legal_id: str = ""
    key: SigningKey = field(default_factory=SigningKey.generate)
    recovery: SigningKey = field(default_factory=SigningKey.generate)
    vrf_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    seqs: dict[str, int] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return issuer_of(self.id)

    def join_request(self) -> JoinRequest:
        """Ask to be admitted."""
        series = (VrfSeries(3, vrf_key_digest(3, vrf.public_key(self.vrf_secret))),) if self.role == "holder" else ()
        keys = ((self.key, "sign"), (self.recovery, "recover"))
        draft = JoinRequest(
            self.origin,
            self.id,
            self.role,
            self.name,
            self.legal_id or f"XX {self.id}",
            tuple(NewKey(key.public, use, bytes(64)) for key, use in keys),
            series,
        )
        message = possession_message(self.origin, self.id, draft.party("operator", 0))
        return replace(draft, keys=tuple(NewKey(key.public, use, key.sign(message)) for key, use in keys))

    def sign(self, payload: Payload, stream: str | None = None, *, seq: int | None = None, **changes: Any) -> Statement:
        """Sign a statement; without a `seq` it takes the next of its stream."""
        stream = stream or self.issuer
        if seq is None:
            seq = self.seqs.get(stream, 0)
            self.seqs[stream] = seq + 1
        claims = {"issuer": self.issuer, "audience": self.origin, "issued_at": int(self.clock())}
        key = changes.pop("key", self.key)
        return sign_statement(key, payload, stream=stream, seq=seq, **{**claims, **changes})

    def systems(self, *descriptors: Descriptor, **changes: Any) -> Statement:
        """Register systems."""
        return self.sign(Systems(tuple(sorted(descriptors, key=lambda each: each.id))), **changes)

    def hold(self, system: str, rows: RowFile, cause: str = "collected", **changes: Any) -> Statement:
        """Commit rows."""
        return self.sign(Hold(len(rows), rows.root(), cause), system, **changes)

    def erase(self, system: str, rows: RowFile, *, erased_at: int | None = None, **changes: Any) -> Statement:
        """Tombstone rows."""
        at = int(self.clock()) if erased_at is None else erased_at
        payload = Tombstone(len(rows), rows.root(), at, "logical_delete", "none", "gdpr:17(1)(d)")
        return self.sign(payload, system, **changes)


def check(config: Config, *, settled: bool = True) -> Ledger:
    """Verify the log in a directory, as `World.check` does."""
    world = object.__new__(World)
    world.config = config
    return world.check(settled=settled)


class World:
    """One log, its operator and its holders."""

    def __init__(
        self,
        directory: Path,
        *,
        database: str | None = None,
        limits: Limits | None = None,
        clock: SimulatedClock | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock or SimulatedClock()
        self.directory = directory
        chosen = {"free_bytes": 0, **settings}
        if database is not None:
            chosen["database"] = database
        self.config = Config(directory=directory, origin=ORIGIN, **chosen)
        directory.mkdir(parents=True, exist_ok=True)
        write_config(self.config, directory / "attest.toml")
        self.policy = Node.create(self.config, limits=limits, clock=self.clock)
        self.holders: dict[str, Holder] = {}
        self.clock.advance()
        self._nodes: list[Node] = []
        self.connect: Callable[[str], httpx.Client] | None = None  # to witnesses, for nodes opened from now on
        self.node = self.open()

    def open(self, **changes: Any) -> Node:
        """Open one more node on the same database and files."""
        node = Node.open(replace(self.config, **changes), clock=self.clock, connect=self.connect)
        self._nodes.append(node)
        return node

    def close(self) -> None:
        """Close all nodes."""
        for node in self._nodes:
            node.close()

    def restart(self) -> Node:
        """Let the node die without a word, and start another."""
        self.clock.advance(self.config.lease_s + 1)
        self.node = self.open()
        return self.node

    def step(self, seconds: float = 1) -> Any:
        """Let a second pass and the node do its work."""
        self.clock.advance(seconds)
        return self.node.step()

    def holder(self, party: str = "acme.example", *systems: Descriptor, role: str = "holder") -> Holder:
        """Admit a party and register its systems."""
        holder = Holder(party, self.clock, role)
        self.admit(holder)
        self.holders[party] = holder
        if systems:
            self.publish(holder.systems(*systems))
        return holder

    def admit(self, holder: Holder) -> None:
        """Let the operator admit a party."""
        request = holder.join_request()
        request.verify(ORIGIN)
        party = request.party("operator", int(self.clock()))
        self.clock.advance()
        self.node.operate(party, holder.id, pause=self.clock.advance)

    def submit(self, statement: Statement, rows: RowFile | None = None) -> Submission:
        """Submit a statement, and its row file if there is one."""
        found = self.node.submit(statement.entry)
        if rows is not None and found.state == "rows":
            self.node.put_rows(rows.root(), rows.encoded)
        return self.outcome(statement)

    def publish(self, statement: Statement, rows: RowFile | None = None) -> Submission:
        """Submit a statement and make the next epoch."""
        self.submit(statement, rows)
        self.step()
        found = self.outcome(statement)
        assert found.state == "entry", found
        return found

    def outcome(self, statement: Statement) -> Submission:
        """Return where a statement is."""
        found = self.node.submission(statement.leaf)
        assert found is not None
        return found

    def published(self, name: str) -> bytes:
        """Return a published file."""
        return (self.config.path(self.config.public) / name).read_bytes()

    # --- checking ---

    def check(self, *, settled: bool = True) -> Ledger:
        """Verify the whole log from published files and the policy; return the ledger they lead to.

        Args:
            settled: nothing is committed that is not published yet.
        """
        signed = SignedCheckpoint.parse(self.published("checkpoint"))
        checkpoint = signed.checkpoint
        policy = Policy.parse(self.config.path(self.config.policy).read_bytes())
        assert policy.check(signed).logs
        entries = self._entries(checkpoint.size)
        genesis = Statement.parse(entries[0]).payload
        assert isinstance(genesis, Log)
        verifiers = log_verifiers(checkpoint.origin, genesis.note_ed25519, genesis.note_mldsa44)
        assert verify_log_signatures(signed, verifiers) == verifiers
        self._check_tiles(entries, checkpoint.root)
        ledger = self._replay([Statement.parse(entry) for entry in entries])
        assert ledger.size == checkpoint.size
        assert ledger.frontier.root() == checkpoint.root
        if settled:
            self._check_row_files(entries)
        self._check_transitions(checkpoint.size, checkpoint.root)
        return ledger

    def _entries(self, size: int) -> list[bytes]:
        entries: list[bytes] = []
        for start in range(0, size, tiles.FULL):
            width = min(tiles.FULL, size - start)
            entries += tiles.parse_bundle(self.published(tiles.entries_path(start // tiles.FULL, width)), width)
        return entries

    def _check_tiles(self, entries: list[bytes], root: Hash) -> None:
        level, hashes = 0, tree.leaf_hashes(entries)
        assert tree.root(hashes) == root
        while hashes:
            for start in range(0, len(hashes), tiles.FULL):
                part = hashes[start : start + tiles.FULL]
                assert self.published(tiles.tile_path(level, start // tiles.FULL, len(part))) == b"".join(part)
            full = len(hashes) // tiles.FULL * tiles.FULL
            hashes = [tree.root(hashes[start : start + tiles.FULL]) for start in range(0, full, tiles.FULL)]
            level += 1

    def _replay(self, statements: list[Statement]) -> Ledger:
        ledger = Ledger(PlainMap)
        draft = Draft(ledger)
        for statement in statements:
            if isinstance(statement.payload, Epoch):
                ledger = ledger.advance(draft, statement)
                draft = Draft(ledger)
            else:
                draft.add(statement, self._rows(statement))
        return ledger

    def _rows(self, statement: Statement) -> RowFile | None:
        payload = statement.payload
        if not isinstance(payload, Hold | Tombstone):
            return None
        return RowFile.parse(self.published(f"rows/{payload.root.hex()}"))

    def _check_row_files(self, entries: list[bytes]) -> None:
        """No row file is public whose statement is not."""
        named = {p.root.hex() for p in (Statement.parse(e).payload for e in entries) if isinstance(p, Hold | Tombstone)}
        folder = self.config.path(self.config.public) / "rows"
        assert {path.name for path in folder.glob("*")} == named

    def _check_transitions(self, size: int, root: Hash) -> None:
        anchor, number = Anchor.empty(), 0
        private = self.config.path(self.config.private) / "transitions"
        while anchor.size < size:
            proof = (private / str(number)).read_bytes()
            anchor = verify_transition(proof, anchor, lambda wanted: self.published(f"rows/{wanted.hex()}"))
            number += 1
        assert (anchor.size, anchor.root) == (size, root)


def digest_of(paths: Iterable[Path], read: Callable[[Path], bytes] = Path.read_bytes) -> Hash:
    """Digest some files, to see whether anything changed."""
    return sha256(b"".join(sha256(read(path)) for path in sorted(paths)))
