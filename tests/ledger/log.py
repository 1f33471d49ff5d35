"""A log in memory, for tests: every statement goes to the rules, to their slow model, and into a transition proof."""

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from attest.encoding import Hash
from attest.errors import AttestError, Malformed, Unavailable
from attest.formats.rows import RowFile
from attest.formats.state import state_value
from attest.formats.statement import Hold, Statement, Tombstone
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.rules import RULES_DIGEST
from attest.ledger.transition import Anchor, prove_refused, prove_transition, verify_transition
from attest.merkle.sparse import Tree
from attest.statemap import StateMap
from tests import reference
from tests.ledger import model
from tests.ledger.model import Key, Model, Refused

ORIGIN = "log.example/deletions"
START = 1_790_000_000  # POSIX seconds
LIMITS = {"rows": 64, "statement": 8192, "skew": 300, "silence": 3600}
MLDSA = bytes(range(256)) * 5 + bytes(32)  # nobody here looks at it


class ToyMap:
    """A state map as one would write it without thinking of millions of keys."""

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

    def plan(self, changes: Mapping[Hash, bytes]) -> "ToyDelta":
        return ToyDelta(self, changes)

    def apply(self, delta: "ToyDelta") -> "ToyMap":
        return delta.after


class ToyDelta:
    def __init__(self, before: ToyMap, changes: Mapping[Hash, bytes]) -> None:
        self.before, self.changes = before, changes
        self.after = ToyMap({**before.states, **changes})
        self.root = self.after.root

    def pruned(self) -> bytes:
        return self.before.tree.prune(list(self.changes))


MAPS: dict[str, Callable[[], Any]] = {"toy": ToyMap, "statemap": StateMap.empty}


def log_fields(origin: str = ORIGIN, **changed: Any) -> dict[str, Any]:
    """The payload of log/1 without seq."""
    own = {
        "statements": Key(origin).public, "receipts": Key(origin + " receipts").public,
        "note_ed25519": Key(origin + " note").public, "note_mldsa44": MLDSA,
    }  # fmt: skip
    return {"kind": "log/1", "origin": origin, "keys": own, "limits": LIMITS, "predecessor": None, **changed}


def descriptor(system: str, kind: str = "database", **changed: Any) -> dict[str, Any]:
    return {
        "id": system, "kind": kind, "assets": [], "locators": ["email"], "retention": None, "backup_cycle": None,
        "processor_log": None, "retired": False, **changed,
    }  # fmt: skip


def row_of(n: int, version: int = 0) -> dict[bytes, bytes]:
    """One row: an index named by a number, and a commitment of it."""
    return {model.sha256(b"index %d" % n): model.sha256(b"commitment %d %d" % (n, version))}


def rows_of(*numbers: int, version: int = 0) -> dict[bytes, bytes]:
    return {index: new for n in numbers for index, new in row_of(n, version).items()}


class Log:
    """What a log and its parties do, with keys made from names.

    A party signs with the key of its name, and recovers with that of `<name> recover`, unless told otherwise.
    """

    def __init__(self, new_map: Callable[[], Any] = ToyMap, *, origin: str = ORIGIN, begin: bool = True) -> None:
        self.origin = origin
        self.time = START
        self.ledger = Ledger(new_map)
        self.anchor = Anchor.empty()
        self.model = Model(RULES_DIGEST)
        self.files: dict[bytes, bytes] = {}
        self.proofs: list[bytes] = []
        self._start()
        if begin:
            self.begin()

    def copy(self) -> "Log":
        """Return a log that goes on from here, at the beginning of an epoch, on its own."""
        assert not self.pending
        other = copy.copy(self)
        other.model, other.files, other.proofs = self.model.copy(), dict(self.files), list(self.proofs)
        other._start()
        return other

    def _start(self) -> None:
        self.draft = Draft(self.ledger)
        self.pending: list[bytes] = []

    def rows(self, root: bytes) -> bytes:
        if root not in self.files:
            raise Unavailable("rows/missing", "not stored")
        return self.files[root]

    # --- signing ---

    def sign(
        self,
        payload: Mapping[str, Any],
        by: str | None = None,
        *,
        stream: str | None = None,
        key: str | None = None,
        header: Mapping[int, Any] | None = None,
        **claims: Any,
    ) -> Statement:
        """Sign as the protocol wants it, except for what is overridden: iss, aud, iat, or seq in the payload."""
        return Statement.parse(self.encode(payload, by, stream=stream, key=key, header=header, **claims))

    def encode(
        self,
        payload: Mapping[str, Any],
        by: str | None = None,
        *,
        stream: str | None = None,
        key: str | None = None,
        header: Mapping[int, Any] | None = None,
        iss: str | None = None,
        aud: str | None = None,
        iat: int | None = None,
    ) -> bytes:
        who = by or self.origin
        issuer = "https://" + who if iss is None else iss
        sub = issuer if stream is None else issuer + stream if stream == "#recovery" else stream
        signer = Key(key or (who + " recover" if stream == "#recovery" else who))
        claims = model.claims(issuer, sub, self.origin if aud is None else aud, self.time if iat is None else iat)
        protected = {**model.header(signer.kid, claims), **(header or {})}
        return model.sign(signer, protected, {"seq": self.seq(who, stream), **payload})

    def seq(self, party: str, stream: str | None = None) -> int:
        """The next seq of a stream."""
        if stream is not None and stream != "#recovery":
            head = self.model.systems.get((party, stream))
            return 0 if head is None else head["entries"]
        if party not in self.model.parties:
            return 0
        return self.model.parties[party]["recovery" if stream else "own"]

    def new_keys(self, party: str, payload: Mapping[str, Any], **uses: str) -> dict[str, Any]:
        """Fill the new keys, name → use, with their proofs of possession into a payload."""
        field = "keys" if payload["kind"] == "party/1" else "add"
        keys = [{"key": Key(name).public, "use": use, "proof": bytes(64)} for name, use in uses.items()]
        filled = {**payload, field: keys}
        message = model.possession(self.origin, party, filled)
        for new, name in zip(keys, uses, strict=True):
            new["proof"] = Key(name).sign(message)
        return filled

    # --- payloads ---

    def party(self, party: str, role: str = "holder", **changed: Any) -> dict[str, Any]:
        payload = {
            "kind": "party/1", "id": party, "role": role, "name": "Name of " + party, "legal_id": "LEI " + party,
            "check": {"method": "operator", "time": START}, "about": party,
            "vrf": [{"suite": 3, "hash": model.sha256(party.encode())}] if role == "holder" else [],
        }  # fmt: skip
        uses = changed.pop("uses", {party: "sign", party + " recover": "recover"})
        return self.new_keys(party, {**payload, **changed}, **uses)

    def key_change(self, party: str, revoke: Sequence[str] = (), about: bool = False, **add: str) -> dict[str, Any]:
        """A keys/1 payload: names of keys to revoke, and names → uses to add."""
        payload: dict[str, Any] = {"kind": "keys/1", "revoke": sorted(Key(name).kid for name in revoke)}
        return self.new_keys(party, payload | ({"about": party} if about else {}), **add)

    def file(self, rows: Mapping[bytes, bytes]) -> dict[str, Any]:
        """Store a row file, and return what names it."""
        encoded = model.row_file(rows)
        root = model.row_root(encoded)
        self.files[root] = encoded
        return {"count": len(rows), "root": root}

    def hold_fields(self, rows: Mapping[bytes, bytes], **changed: Any) -> dict[str, Any]:
        return {"kind": "hold/1", **self.file(rows), "cause": "collected", **changed}

    def tombstone_fields(self, rows: Mapping[bytes, bytes], **changed: Any) -> dict[str, Any]:
        return {
            "kind": "tombstone/1", **self.file(rows), "erased_at": self.time, "method": "logical_delete",
            "level": "none", "ground": "gdpr:17(1)(d)", **changed,
        }  # fmt: skip

    # --- statements that are accepted ---

    def begin(self) -> None:
        self.add(self.sign(log_fields(self.origin)))

    def admit(self, party: str, role: str = "holder", **changed: Any) -> Statement:
        return self.add(self.sign(self.party(party, role, **changed)))

    def systems(self, party: str, *descriptors: Mapping[str, Any]) -> Statement:
        return self.add(self.sign({"kind": "systems/1", "systems": list(descriptors)}, party))

    def hold(self, party: str, system: str, rows: Mapping[bytes, bytes], **changed: Any) -> Statement:
        return self.add(self.sign(self.hold_fields(rows, **changed), party, stream=system))

    def tombstone(self, party: str, system: str, rows: Mapping[bytes, bytes], **changed: Any) -> Statement:
        return self.add(self.sign(self.tombstone_fields(rows, **changed), party, stream=system))

    def keys(self, party: str, revoke: Sequence[str] = (), *, recovery: bool = False, **add: str) -> Statement:
        stream = "#recovery" if recovery else None
        return self.add(self.sign(self.key_change(party, revoke, **add), party, stream=stream))

    def end(self, party: str, *, by_log: bool = False) -> Statement:
        if by_log:
            return self.add(self.sign({"kind": "party-end/1", "about": party}))
        return self.add(self.sign({"kind": "party-end/1"}, party, stream="#recovery"))

    def retire(self) -> Statement:
        """End the log itself; the next epoch is its last entry."""
        return self.add(self.sign({"kind": "party-end/1"}))

    @property
    def closed(self) -> bool:
        """Has the log ended, with its last epoch?"""
        return not self.pending and self.model.parties[self.origin]["status"] == 2

    def add(self, statement: Statement) -> Statement:
        """Take a statement that everybody has to accept."""
        self.draft.add(statement, self._row_file(statement))
        self.model.take(statement.entry, self._file_of(statement))
        self.pending.append(statement.entry)
        return statement

    def refuses(self, code: str, statement: Statement) -> None:
        """Check that the rules refuse a statement with this code, over the whole state and over a proof alike."""
        with pytest.raises(Refused):
            self.model.copy().take(statement.entry, self._file_of(statement))
        with pytest.raises(AttestError) as whole:
            self.draft.add(statement, self._row_file(statement))
        with pytest.raises(AttestError) as stateless:
            verify_transition(self.force(statement.entry), self.anchor, self.rows)

        assert (whole.value.code, stateless.value.code) == (code, code)
        # Whoever has everything proves the refusal to whoever has nothing.
        entries = [*self.pending, statement.entry, self.encode(self.epoch_fields())]
        file = None
        with contextlib.suppress(Malformed):
            file = self._row_file(statement)
        proof = prove_refused(self.ledger, self.draft, entries, file)
        with pytest.raises(AttestError) as shown:
            verify_transition(proof, self.anchor, self.rows)
        assert shown.value.code == code

    def _row_file(self, statement: Statement) -> RowFile | None:
        file = self._file_of(statement)
        return None if file is None else RowFile.parse(file)

    def _file_of(self, statement: Statement) -> bytes | None:
        rows = isinstance(statement.payload, Hold | Tombstone)
        return self.files.get(statement.payload.root) if rows else None

    # --- epochs ---

    def epoch_fields(self, **changed: Any) -> dict[str, Any]:
        head = self.model.parties.get(self.origin)
        number = 0 if head is None else head["epoch"]["number"]
        return {"kind": "epoch/1", "number": number, "time": self.time, "root": self.model.top_root(), **changed}

    def sign_epoch(self, iat: int | None = None, **changed: Any) -> Statement:
        self.time += 1
        fields = self.epoch_fields(**changed)
        return self.sign(fields, iat=fields["time"] if iat is None else iat)

    def epoch(self, **changed: Any) -> bytes:
        """Close the epoch, check that everybody computes the same, and return the transition proof."""
        epoch = self.sign_epoch(**changed)
        proof = prove_transition(self.ledger, self.draft, epoch)
        assert proof == self.force(epoch=epoch.entry)
        self.ledger = self.ledger.advance(self.draft, epoch)
        self._check_heads()
        self.anchor = verify_transition(proof, self.anchor, self.rows)
        self.committed = self.model.copy()
        self.model.take(epoch.entry)
        assert self.anchor == Anchor(self.ledger.genesis, self.ledger.size, self.ledger.frontier.root(), epoch)
        assert (self.anchor.size, self.anchor.root) == (len(self.model.entries), reference.MTH(self.model.entries))
        self.proofs.append(proof)
        self._start()
        return proof

    def force(self, *entries: bytes, epoch: bytes | None = None, after: Model | None = None) -> bytes:
        """Prove the epoch so far with `entries` at its end, as somebody would who does not ask the rules.

        Args:
            after: the state that is said to be committed, where it is another than the right one.
        """
        return model.det(self.force_map(*entries, epoch=epoch, after=after))

    def force_map(self, *entries: bytes, epoch: bytes | None = None, after: Model | None = None) -> dict[str, Any]:
        last = self.encode(self.epoch_fields()) if epoch is None else epoch
        previous = None if self.ledger.previous is None else self.ledger.previous.entry
        before = self.committed if previous is not None else Model(RULES_DIGEST)
        return model.prove(before, after or self.model, previous, [*self.pending, *entries, last], self.files)

    def _check_heads(self) -> None:
        """The whole ledger is what the model says, head by head and state by state."""
        ledger, expected = self.ledger, self.model
        assert ledger.top.root == expected.top_root()
        assert {name: head.encode() for name, head in ledger.parties.items()} == {
            name: expected.head(name) for name in expected.parties
        }
        assert {name: head.encode() for name, head in ledger.systems.items()} == {
            name: model.det(head) for name, head in expected.systems.items()
        }
        assert {name: each.encode() for name, each in ledger.descriptors.items()} == {
            name: model.det(each) for name, each in expected.descriptors.items()
        }
        for name, states in expected.states.items():
            assert ledger.states(name, list(states)) == list(states.values())
