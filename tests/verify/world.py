"""A small log with real keys, and bundles cut from it: the operator's and the holder's side of a verdict."""

import base64
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from attest.crypto import commitment, locators, vrf
from attest.crypto.keys import MLDSASigningKey, SigningKey, thumbprint
from attest.formats.bundle import Bundle
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, log_verifiers, sign_checkpoint
from attest.formats.cosignature import cosign_ed25519
from attest.formats.keepsake import Keepsake, KeptHold
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyGroup, PolicyLog, PolicyWitness
from attest.formats.rows import RowFile, prove_row
from attest.formats.state import top_key, vrf_key_digest
from attest.formats.statement import (
    Descriptor,
    Epoch,
    Hold,
    Keys,
    Limits,
    Log,
    NewKey,
    Party,
    PartyEnd,
    Predecessor,
    Statement,
    Systems,
    Tombstone,
    VrfSeries,
    issuer_of,
    possession_message,
    sign_statement,
)
from attest.formats.statement import Policy as PolicyStatement
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.rules import RULES, RULES_DIGEST
from attest.ledger.verify import Question, Verdict, verify
from attest.merkle import tree
from attest.statemap import StateMap

ORIGIN = "log.example/deletions"
START = 1_790_000_000  # POSIX seconds
TICK = 10  # seconds from epoch to epoch


def key(name: str) -> SigningKey:
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass
class Holder:
    """A company: its keys, and what it committed under which locator in which system."""

    id: str
    secret: bytes
    own: int = 0
    seqs: dict[str, int] = field(default_factory=dict)
    committed: dict[tuple[str, str], bytes] = field(default_factory=dict)
    history: list[tuple[str, str, str, int, int]] = field(default_factory=list)  # kind, system, locator, entry, row

    def index(self, system: str, locator: str) -> bytes:
        return commitment.index(self.id, system, vrf.evaluate(self.secret, commitment.alpha(locator)))


class World:
    """One log, its entries and epochs. `now` moves by a tick per epoch."""

    def __init__(self, origin: str = ORIGIN, predecessor: Predecessor | None = None) -> None:
        self.origin = origin
        self.now = START
        self.ledger = Ledger(StateMap.empty)
        self.ledgers: dict[int, Ledger] = {}
        self.checkpoints: dict[int, SignedCheckpoint] = {}
        self.entries: list[Statement] = []
        self.rows: dict[bytes, RowFile] = {}
        self.holders: dict[str, Holder] = {}
        self.note, self.mldsa = key(origin + " note"), MLDSASigningKey.from_seed(digest(origin + " pq"))
        self.log_seq = 0
        self.pending: list[Statement] = []
        self.by_log(
            Log(
                origin,
                key(origin).public,
                key(origin + " receipts").public,
                self.note.public,
                self.mldsa.public,
                Limits(),
                predecessor,
            )
        )
        self.epoch()

    # --- saying things ---

    def by_log(self, payload: Any, about: str | None = None) -> int:
        own = issuer_of(self.origin)
        return self._say(
            sign_statement(
                key(self.origin),
                payload,
                issuer=own,
                stream=own,
                audience=self.origin,
                issued_at=self.now,
                seq=self._next_log_seq(),
                about=about,
            )
        )

    def _next_log_seq(self) -> int:
        self.log_seq += 1
        return self.log_seq - 1

    def _say(self, statement: Statement) -> int:
        self.pending.append(statement)
        return len(self.entries) + len(self.pending) - 1

    def epoch(self) -> int:
        """End an epoch; return the size of its checkpoint."""
        draft = Draft(self.ledger)
        for statement in self.pending:
            payload = statement.payload
            draft.add(statement, self.rows[payload.root] if isinstance(payload, Hold | Tombstone) else None)
        self.now += TICK
        head = draft.party(self.origin)
        assert head is not None and head.log is not None
        self.by_log(Epoch(head.log.epochs, self.now, draft.close().root))
        self.ledger = self.ledger.advance(draft, self.pending[-1])
        self.entries += self.pending
        self.pending = []
        size = len(self.entries)
        root = tree.root([statement.leaf for statement in self.entries])
        self.ledgers[size] = self.ledger
        self.checkpoints[size] = sign_checkpoint(Checkpoint(self.origin, size, root), self.note, self.mldsa, self.now)
        return size

    def admit(self, holder: str, name: str = "Acme", *, role: str = "holder") -> Holder:
        company = Holder(holder, digest("vrf " + holder))
        series = VrfSeries(3, vrf_key_digest(3, vrf.public_key(company.secret)))
        uses = {holder: "sign", holder + " recover": "recover"}
        blank = tuple(NewKey(key(each).public, use, bytes(64)) for each, use in uses.items())
        party = Party(
            holder, role, name, f"LEI {holder}", "operator", START, blank, (series,) if role == "holder" else ()
        )
        message = possession_message(self.origin, holder, party)
        proven = tuple(replace(new, proof=key(each).sign(message)) for new, each in zip(blank, uses, strict=True))
        self.by_log(replace(party, keys=proven), about=holder)
        self.holders[holder] = company
        return company

    def by_holder(self, company: Holder, payload: Any, system: str | None = None, *, signer: str | None = None) -> int:
        own = issuer_of(company.id)
        if system is None:
            seq, company.own = company.own, company.own + 1
        else:
            seq = company.seqs.get(system, 0)
            company.seqs[system] = seq + 1
        return self._say(
            sign_statement(
                key(signer or company.id),
                payload,
                issuer=own,
                stream=system or own,
                audience=self.origin,
                issued_at=self.now,
                seq=seq,
            )
        )

    def systems(self, company: Holder, **kinds: Any) -> None:
        """Register systems: name=kind, or name=(kind, {changed fields})."""
        descriptors = []
        for name, kind in sorted(kinds.items()):
            word, changed = (kind, {}) if isinstance(kind, str) else kind
            descriptor = Descriptor(name, word, (), ("email",), None, None, None, False)
            descriptors.append(replace(descriptor, **changed))
        self.by_holder(company, Systems(tuple(descriptors)))

    def hold(self, company: Holder, system: str, *names: str, version: int = 0) -> int:
        rows = {}
        for name in names:
            index = company.index(system, name)
            opening = commitment.blind(digest(f"salt {system} {name} {version}")), self.record_digest(name)
            company.committed[system, name] = rows[index] = commitment.commitment(index, *opening)
        return self._rows(company, system, "hold", rows, names)

    def erase(self, company: Holder, system: str, *names: str, erased_at: int | None = None) -> int:
        rows = {company.index(system, name): company.committed[system, name] for name in names}
        return self._rows(company, system, "tombstone", rows, names, erased_at)

    def _rows(
        self,
        company: Holder,
        system: str,
        kind: str,
        rows: dict[bytes, bytes],
        names: Any,
        erased_at: int | None = None,
    ) -> int:
        file = RowFile.build(rows)
        self.rows[file.root()] = file
        payload: Any = Hold(len(file), file.root(), "collected")
        if kind == "tombstone":
            when = self.now if erased_at is None else erased_at
            payload = Tombstone(len(file), file.root(), when, "logical_delete", "none", "gdpr:17(1)(d)")
        position = self.by_holder(company, payload, system)
        for name in names:
            row = file.indexes.index(company.index(system, name))
            company.history.append((kind, system, name, position, row))
        return position

    def rotate(self, company: Holder, new: str) -> None:
        """Replace the signing key by another."""
        change = Keys((NewKey(key(new).public, "sign", bytes(64)),), (thumbprint(key(company.id).public),))
        message = possession_message(self.origin, company.id, change)
        self.by_holder(company, replace(change, add=(replace(change.add[0], proof=key(new).sign(message)),)))

    def end(self, company: Holder) -> None:
        self.by_log(PartyEnd(), about=company.id)

    def retire(self) -> int:
        """End the log itself, and the epoch; return the size of its last checkpoint."""
        self.by_log(PartyEnd())
        return self.epoch()

    @staticmethod
    def record_digest(name: str) -> bytes:
        return commitment.record_digest([digest("record of " + name)])

    # --- cutting bundles ---

    @property
    def size(self) -> int:
        return len(self.entries)

    def entry(self, position: int, size: int) -> dict[str, Any]:
        leaves = [statement.leaf for statement in self.entries[:size]]
        path = tree.inclusion_path(position, size, tree.subtree_reader(leaves))
        return {"position": position, "entry": b64(self.entries[position].entry), "path": [b64(h) for h in path]}

    def epochs(self, size: int) -> list[int]:
        return [n for n, statement in enumerate(self.entries[:size]) if isinstance(statement.payload, Epoch)]

    def bundle(
        self, kind: str, company: Holder, *names: str, size: int | None = None, system: str = ""
    ) -> dict[str, Any]:
        """Cut a bundle as the spec has it. `system` is for hold and tombstone, whose newest row it takes."""
        size = self.size if size is None else size
        ledger, prover = self.ledgers[size], vrf.Prover(company.secret)
        head = ledger.parties[company.id]
        wanted = {0, head.admitted, size - 1}
        wanted |= {size - 2} if ledger.parties[self.origin].status == 2 else set()
        systems, states, rows = [], [], []
        if kind in ("hold", "tombstone"):
            rows.append(self._row(company, kind, 0, system, names[0], size))
            wanted.add(rows[0]["entry"])
        else:
            heads = ledger.systems_of(company.id)
            systems = [
                {"head": b64(h.encode()), "descriptor": b64(ledger.descriptors[company.id, h.system].encode())}
                for h in heads
            ]
            for place, name in enumerate(names):
                for each in heads:
                    index = company.index(each.system, name)
                    map_key = commitment.map_key(index)
                    states_map = ledger.maps.get((company.id, each.system)) or StateMap.empty()
                    state = states_map.get([map_key])[0]
                    proof = states_map.prove([map_key])[0]
                    shown = None if state is None else b64(state)
                    states.append({"locator": place, "system": each.system, "state": shown, "proof": b64(proof)})
                    if state is not None and state[0] == 2:
                        wanted |= self._around(company, place, each.system, name, state, kind, rows, size)
        return {
            "format": "attest-bundle/1",
            "kind": kind,
            "checkpoint": self.checkpoints[size].encode().decode(),
            "entries": [self.entry(position, size) for position in sorted(wanted)],
            "holder": {
                "party": company.id,
                "head": b64(head.encode()),
                "proof": b64(ledger.top.prove(top_key(company.id)).encode()),
            },
            "vrf": {"suite": 3, "key": b64(prover.public_key)},
            "locators": [
                {"type": locators.parse(name).type, "proof": b64(prover.prove(commitment.alpha(name))[0])}
                for name in names
            ],
            "systems": systems,
            "states": states,
            "rows": rows,
        }

    def _around(
        self, company: Holder, place: int, system: str, name: str, state: bytes, kind: str, rows: Any, size: int
    ) -> set[int]:
        tombstone = int.from_bytes(state[9:17], "big")
        epochs = self.epochs(size)
        wanted = {max(e for e in epochs if e < tombstone)}
        if kind == "certificate":
            hold = self._row(company, "hold", place, system, name, tombstone)
            rows += [hold, self._row(company, "tombstone", place, system, name, size)]
            wanted |= {hold["entry"], tombstone, min(e for e in epochs if e > hold["entry"])}
        return wanted

    def _row(self, company: Holder, kind: str, place: int, system: str, name: str, below: int) -> dict[str, Any]:
        found = [h for h in company.history if h[:3] == (kind, system, name) and h[3] < below]
        _, _, _, position, row = found[-1]
        payload = self.entries[position].payload
        assert isinstance(payload, Hold | Tombstone)
        proof = prove_row(self.rows[payload.root], row)
        return {
            "locator": place,
            "system": system,
            "entry": position,
            "position": row,
            "commitment": b64(proof.commitment),
            "path": [b64(h) for h in proof.path],
        }

    def keepsake(self, company: Holder, name: str, *systems: str, size: int | None = None) -> Keepsake:
        prover = vrf.Prover(company.secret)
        holds = []
        for system in systems:
            bundle = Bundle.from_json(self.bundle("hold", company, name, system=system, size=size))
            blind = commitment.blind(digest(f"salt {system} {name} 0"))
            entry = bundle.rows[0].entry
            records = (digest("record of " + name),)
            holds.append(KeptHold(system, entry, self.entries[entry].entry_id, blind, records, bundle))
        pi, _ = prover.prove(commitment.alpha(name))
        return Keepsake(self.origin, company.id, name, 3, prover.public_key, pi, tuple(holds))

    # --- trust ---

    def policy(self, *witnesses: str, quorum: int = 0) -> Policy:
        ed25519, _ = log_verifiers(self.origin, self.note.public, self.mldsa.public)
        return policy_of([PolicyLog(ed25519)], witnesses, quorum)

    def cosign(self, size: int, *witnesses: str, time: int | None = None) -> None:
        signed = self.checkpoints[size]
        when = self.now if time is None else time
        lines = [cosign_ed25519(name, key(name), signed.checkpoint, when) for name in witnesses]
        self.checkpoints[size] = signed.with_lines(lines)

    def ask(self, bundle: dict[str, Any], company: Holder | str, *names: str, **changed: Any) -> Verdict:
        """Verify a bundle under this log's own policy, a second after its newest epoch, unless told otherwise."""
        asked = {
            "policy": self.policy(),
            "now": self.now + 1,
            "holder": company if isinstance(company, str) else company.id,
            "locators": names,
            **changed,
        }
        encoded = changed.pop("encoded", None) or Bundle.from_json(bundle).encode()
        asked.pop("encoded", None)
        return verify(encoded, Question(**asked))


def after_end(locator: str) -> tuple[World, Holder, dict[str, Any]]:
    """Return a log that ended and went on, against the rules, and a look-up that shows both."""
    world = World()
    acme = world.admit("acme.example")
    world.systems(acme, db="database")
    world.epoch()
    # The ledger would refuse what follows an end; it sees a statement without effect in its place.
    position = world.by_log(PolicyStatement(RULES, RULES_DIGEST))
    world.epoch()
    size = world.epoch()
    world.log_seq = world.entries[position].seq
    world.by_log(PartyEnd())
    world.entries[position] = world.pending.pop()
    root = tree.root([statement.leaf for statement in world.entries])
    world.checkpoints[size] = sign_checkpoint(Checkpoint(world.origin, size, root), world.note, world.mldsa, world.now)
    bundle = world.bundle("lookup", acme, locator)
    bundle["entries"].insert(-1, world.entry(position, size))
    return world, acme, bundle


def policy_of(logs: list[PolicyLog], witnesses: Any, quorum: int) -> Policy:
    named = tuple(
        PolicyWitness(f"w{n}", NoteVerifier.of(name, KeyType.COSIGNATURE, key(name).public))
        for n, name in enumerate(witnesses)
    )
    groups = (PolicyGroup("quorum", quorum, tuple(w.name for w in named)),) if quorum else ()
    return Policy(tuple(logs), named, groups, "quorum" if quorum else None)
