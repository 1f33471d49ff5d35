"""What an auditor remembers between two audits: a directory of its own, for one audit at a time.

    audit.db                  the register: the last signed checkpoint verified, by origin
    <hex of the origin>/      how far the replay is: ledger, facts, and the state maps
    evidence/                 what was found

Spec: docs/spec/audit.md#state.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

from attest.audit.facts import Facts
from attest.encoding import Hash, decode_cbor, encode_cbor, sha256
from attest.errors import Malformed, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.state import PartyHead, SystemHead
from attest.formats.statement import Descriptor, Epoch, Log, Statement
from attest.ledger.epoch import Ledger
from attest.ledger.rules import SystemId
from attest.merkle.sparse import Tree
from attest.merkle.tree import Frontier
from attest.statemap import MapStore, StateMap
from attest.store import register
from attest.store.db import Database

FORMAT: Final = "attest-audit-state/1"


@dataclass(slots=True)
class Progress:
    """How far a replay is."""

    ledger: Ledger
    facts: Facts
    edges: list[list[Hash]]  # see `TileBuilder`

    @classmethod
    def empty(cls) -> Self:
        """Before entry 0."""
        return cls(Ledger(_new_map), Facts(), [])


class Memory:
    """One directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self._db = Database(f"sqlite:///{directory}/audit.db", "auditor")
        try:
            self._db.check_schema()
        except Unavailable:
            self._db.migrate()
        self._stores: dict[str, MapStore] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, directory: Path) -> Iterator[Self]:
        """Use a directory alone. Raises `Unavailable`: `audit/busy`."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Unavailable("audit/busy", f"another audit uses {directory}", hint="wait for it") from None
            memory = cls(directory)
            try:
                yield memory
            finally:
                memory.close()
        finally:
            os.close(handle)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @property
    def evidence(self) -> Path:
        """Where evidence is kept."""
        return self.directory / "evidence"

    # --- the register ---

    def verified(self, origin: str) -> SignedCheckpoint | None:
        """Return the last checkpoint verified. Raises `Unavailable`: `audit/state`, it is not what was written."""
        with self._db.read() as transaction:
            found = register.read(transaction, origin)
        try:
            return None if found is None else SignedCheckpoint.parse(found.encode())
        except Malformed as error:
            raise Unavailable("audit/state", f"the last checkpoint verified cannot be read: {error}") from None

    def verify(self, signed: SignedCheckpoint) -> None:
        """Remember a checkpoint as verified. Raises `Conflict`: `register/moved`."""
        origin = signed.checkpoint.origin
        with self._db.write() as transaction:
            register.replace(transaction, origin, register.read(transaction, origin), signed.encode().decode())

    # --- the replay ---

    def load(self, origin: str) -> Progress:
        """Return how far the replay of a log is; what cannot be read is begun again."""
        try:
            return self._read(origin)
        except (Unavailable, Malformed, OSError, KeyError, TypeError, ValueError):
            return Progress.empty()

    def save(self, origin: str, progress: Progress) -> None:
        """Keep how far a replay is. Only what is new is written, and what was kept before stays until it is there."""
        place, store = self._place(origin), self._store(origin)
        place.mkdir(exist_ok=True)
        ledger = progress.ledger
        tokens = {name: store.save(_name(name), cast(StateMap, states)) for name, states in ledger.maps.items()}
        encoded = encode_cbor(_said(progress, tokens))
        aside = place / "ledger.new"
        with aside.open("wb") as file:
            file.write(sha256(encoded) + encoded)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(place / "ledger")
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        store.keep({_name(name): token for name, token in tokens.items()})

    def check(self, origin: str) -> bool:
        """Hash everything that is kept of a log again; tell whether it is what was written. What is not is dropped."""
        try:
            said = _content(self._place(origin))
            store = self._store(origin)
            roots = {(party, head.system): head.root for party, head in _systems(said["systems"])}
            for party, system, token in said["maps"]:
                store.check(_name((party, system)), token, roots[party, system])
        except (Unavailable, Malformed, OSError, KeyError, TypeError, ValueError):
            self.forget(origin)
            return False
        return True

    def forget(self, origin: str) -> None:
        """Drop how far a replay is."""
        self._stores.pop(origin, None)
        shutil.rmtree(self._place(origin), ignore_errors=True)

    def _read(self, origin: str) -> Progress:
        said = _content(self._place(origin))
        systems = {(party, head.system): head for party, head in _systems(said["systems"])}
        parties = {head.party: head for head in map(PartyHead.decode, said["parties"])}
        described = [(party, Descriptor.parse(fields)) for party, fields in said["descriptors"]]
        store = self._store(origin)
        maps = {
            (party, system): store.load(_name((party, system)), token, systems[party, system].root)
            for party, system, token in said["maps"]
        }
        system_ids: dict[str, list[str]] = {}
        for party, system in sorted(systems):
            system_ids.setdefault(party, []).append(system)
        ledger = Ledger(
            new_map=_new_map,
            genesis=None if said["genesis"] is None else Log.parse(said["genesis"]),
            size=said["size"],
            frontier=Frontier.parse(said["size"], said["frontier"]),
            previous=None if said["previous"] is None else Statement.parse(said["previous"]),
            parties=parties,
            systems=systems,
            descriptors={(party, each.id): each for party, each in described},
            maps=maps,
            system_ids={party: tuple(ids) for party, ids in system_ids.items()},
            trees={
                party: Tree.build({systems[party, each].key(): systems[party, each].value() for each in ids})
                for party, ids in system_ids.items()
            },
            top=Tree.build({head.key(): head.value() for head in parties.values()}),
        )
        epoch = None if ledger.previous is None else ledger.previous.payload
        # Rotten state would have us accuse somebody: it has to lead to what the log has signed.
        if not isinstance(epoch, Epoch) or epoch.root != ledger.top.root:
            raise Unavailable("audit/state", "the state does not lead to the root of its epoch")
        return Progress(ledger, Facts.read(said["facts"]), said["edges"])

    def _store(self, origin: str) -> MapStore:
        if origin not in self._stores:
            self._stores[origin] = MapStore(self._place(origin) / "maps")
        return self._stores[origin]

    def _place(self, origin: str) -> Path:
        return self.directory / sha256(origin.encode()).hex()


def _new_map() -> StateMap:
    return StateMap.empty(roomy=True)


def _name(name: SystemId) -> str:
    return " ".join(name)


def _said(progress: Progress, tokens: Mapping[SystemId, str]) -> dict[str, Any]:
    ledger = progress.ledger
    return {
        "format": FORMAT,
        "genesis": None if ledger.genesis is None else ledger.genesis.fields(),
        "size": ledger.size,
        "frontier": list(ledger.frontier.hashes),
        "previous": None if ledger.previous is None else ledger.previous.entry,
        "parties": [head.encode() for head in ledger.parties.values()],
        "systems": [[party, head.encode()] for (party, _), head in ledger.systems.items()],
        "descriptors": [[party, each.fields()] for (party, _), each in ledger.descriptors.items()],
        "maps": [[*name, token] for name, token in tokens.items()],
        "facts": progress.facts.fields(),
        "edges": progress.edges,
    }


def _content(place: Path) -> dict[str, Any]:
    content = (place / "ledger").read_bytes()
    if sha256(content[32:]) != content[:32]:
        raise Unavailable("audit/state", "the state is not what was written")
    said: dict[str, Any] = decode_cbor(content[32:])
    if said["format"] != FORMAT:
        raise Unavailable("audit/state", f"want {FORMAT}")
    return said


def _systems(found: Sequence[Sequence[Any]]) -> Iterator[tuple[str, SystemHead]]:
    for party, encoded in found:
        yield party, SystemHead.decode(encoded)
