"""One party replayed without the rest of the log: its statements are all there, and lead to its committed head.

The chain in its head proves that nothing was left out of the list, and nothing put in. What is proven is the head at
one checkpoint, and not what earlier ones showed.

Spec: docs/spec/holder.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attest.encoding import ZERO, Hash, labelled
from attest.errors import Malformed, Refuted, Unavailable
from attest.formats.checkpoint import Checkpoint, log_verifiers, verify_log_signatures
from attest.formats.holder import Listed, PartyProof
from attest.formats.rows import RowFile
from attest.formats.state import ACTIVE, KeyItem, LogPart, PartyHead, SystemHead, extend_chain, state_value, top_key
from attest.formats.statement import Descriptor, Epoch, Hold, Limits, Log, Statement, Tombstone, issuer_of
from attest.ledger.claims import Claims, name_departure
from attest.ledger.epoch import Seen, StateMap
from attest.ledger.rules import RULES, RULES_DIGEST, UNSEEN, Effects, SystemId, judge
from attest.merkle import sparse
from attest.merkle.tree import leaf_hash, verify_inclusion


@dataclass(frozen=True, slots=True)
class Committed:
    """What a checkpoint commits of a party."""

    genesis: Log
    epoch: Statement
    head: PartyHead
    systems: Mapping[str, tuple[SystemHead, Descriptor]]


def verify_party(proof: PartyProof, party: str) -> Committed:
    """Check a party's head and systems down from a checkpoint whose signatures are checked.

    Raises:
        Refuted, Malformed: `inclusion/…`, `genesis/…`, `holder/…`, `systems/…`, `head/…`, `map-proof/…`.
    """
    whole = proof.signed.checkpoint
    statements = [_shown(whole, *each) for each in proof.entries]
    if [position for position, _, _ in proof.entries] != [0, whole.size - 1]:
        raise Malformed("holder-proof/format", "want entry 0 and the last one")
    genesis, epoch = statements[0].payload, statements[1].payload
    if not isinstance(genesis, Log) or genesis.origin != whole.origin:
        raise Refuted("genesis/origin", f"entry 0 is not log/1 of {whole.origin}")
    if not isinstance(epoch, Epoch):
        raise Refuted("log/no-epoch", f"the checkpoint of {whole.size} entries does not end with an epoch")
    statements[1].verify_signature(genesis.statements)
    verify_log_signatures(proof.signed, log_verifiers(whole.origin, genesis.note_ed25519, genesis.note_mldsa44))
    log = _head(proof.log[0], proof.log[1], epoch.root, whole.origin)
    if log.log is None or (log.log.rules, log.log.rules_digest) != (RULES, RULES_DIGEST):
        raise Unavailable("rule/unknown-rules", f"other rules than {RULES} are in force in this log")
    head = _head(proof.head, proof.proof, epoch.root, party)
    if head.log is not None:
        raise Refuted("holder/head", f"the head is {head.party}'s")
    systems = _systems(proof, head)
    return Committed(genesis, statements[1], head, systems)


def _head(encoded: bytes, proof: bytes, root: Hash, party: str) -> PartyHead:
    bound = sparse.verify(sparse.MapProof.parse(proof), root, top_key(party))
    if bound is None:
        raise Refuted("holder/absent", f"{party} is not admitted to this log")
    if labelled("party-head", encoded) != bound:
        raise Refuted("holder/head", "the head shown is not the committed one")
    head = PartyHead.decode(encoded)
    if head.party != party:
        raise Refuted("holder/head", f"the head is {head.party}'s")
    return head


def _shown(whole: Checkpoint, position: int, entry: bytes, path: Sequence[Hash]) -> Statement:
    verify_inclusion(leaf_hash(entry), position, whole.size, whole.root, path)
    return Statement.parse(entry)


def _systems(proof: PartyProof, head: PartyHead) -> dict[str, tuple[SystemHead, Descriptor]]:
    found: dict[str, tuple[SystemHead, Descriptor]] = {}
    values: dict[Hash, Hash] = {}
    for encoded_head, encoded_descriptor in proof.systems:
        system = SystemHead.decode(encoded_head)
        descriptor = Descriptor.decode(encoded_descriptor)
        if labelled("descriptor", encoded_descriptor) != system.descriptor or descriptor.id != system.system:
            raise Refuted("systems/descriptor", f"the descriptor of {system.system} is not the committed one")
        found[system.system] = system, descriptor
        values[system.key()] = labelled("system-head", encoded_head)
    if len(found) != head.systems_count or len(proof.systems) != head.systems_count:
        raise Refuted("systems/count", f"{len(proof.systems)} systems are shown, {head.systems_count} are registered")
    if sparse.root(values) != head.systems_root:
        raise Refuted("systems/root", "the systems shown are not the ones the holder's head commits")
    return found


def check_list(listed: Sequence[Listed], head: PartyHead) -> None:
    """Check that a list has all entries of a party, and no other. Raises `Refuted`: `holder/list`."""
    chain = ZERO
    for position, entry in listed:
        chain = extend_chain(chain, position, leaf_hash(entry))
    if (len(listed), chain) != (head.entries, head.chain):
        raise Refuted(
            "holder/list",
            f"{len(listed)} entries are listed, their chain is {chain.hex()};"
            f" the committed head has {head.entries} and {head.chain.hex()}",
        )


class PartyReplay:
    """A party from its admission on, as its own entries and those about it tell."""

    def __init__(self, committed: Committed, new_map: Callable[[], StateMap], only: str | None = None) -> None:
        """Begin before its admission.

        Args:
            only: of one system rows are replayed; of the others it is checked that no statement is missing.
        """
        self._committed = committed
        self._party = committed.head.party
        self._only = only
        self._new_map = new_map
        self._heads: dict[str, PartyHead] = {}
        self.systems: dict[SystemId, SystemHead] = {}
        self.descriptors: dict[SystemId, Descriptor] = {}
        self.maps: dict[SystemId, StateMap] = {}
        genesis = committed.genesis
        # The log's own stream is not replayed: each of its statements about the party is taken at its own seq.
        key = KeyItem(genesis.statements, "sign", 0, None)
        self._log = PartyHead(
            genesis.origin, "log", ACTIVE, 0, 0, 0, (key,), (), 0, ZERO, 0, ZERO,
            LogPart(0, 0, 0, RULES, RULES_DIGEST),
        )  # fmt: skip

    def wants(self, statement: Statement) -> bool:
        """Tell whether the row file of a statement is needed."""
        return isinstance(statement.payload, Hold | Tombstone) and self._only in (None, statement.stream)

    def add(self, position: int, statement: Statement, rows: RowFile | None, seen: Seen | None = None) -> None:
        """Judge the next entry of the party. Raises as `rules.judge`."""
        if statement.issuer == issuer_of(self.origin):
            self._log = replace(self._log, own=statement.seq)
        if isinstance(statement.payload, Hold | Tombstone) and not self.wants(statement):
            rows = UNSEEN
        effects = judge(self, position, statement, rows)
        self._heads.update({party: head for party, head in effects.parties.items() if party == self._party})
        self.systems.update(effects.systems)
        self.descriptors.update(effects.descriptors)
        for name, changes in effects.states.items():
            states = self.maps.get(name) or self._new_map()
            self.maps[name] = states.apply(states.plan(changes))
            self.systems[name] = replace(self.systems[name], root=self.maps[name].root)
        if seen is not None:
            seen(position, statement, rows, effects)

    def finish(self) -> None:
        """Compare with what is committed. Raises `Refuted`: `epoch/…`, what differs."""
        committed = self._committed
        for name, head in self.systems.items():
            if self._only not in (None, name[1]) and (found := committed.systems.get(name[1])) is not None:
                # Its rows were not looked at.
                counted = found[0]
                self.systems[name] = replace(
                    head, root=counted.root, held=counted.held, erased=counted.erased, reheld=counted.reheld
                )
        values = {head.key(): head.value() for head in self.systems.values()}
        own = replace(self._heads[self._party], systems_root=sparse.root(values))
        claims = Claims(
            {self._party: committed.head.encode()},
            {(self._party, name): head.encode() for name, (head, _) in committed.systems.items()},
        )
        wrong = name_departure(claims, Effects({self._party: own}, self.systems), lambda _: None, lambda _: None)
        if wrong is not None:
            raise wrong

    # --- the view that rules read ---

    @property
    def origin(self) -> str:
        """See `View`."""
        return self._committed.genesis.origin

    @property
    def limits(self) -> Limits:
        """See `View`."""
        return self._committed.genesis.limits

    def party(self, party: str) -> PartyHead | None:
        """See `View`."""
        return self._log if party == self.origin else self._heads.get(party)

    def system(self, system: SystemId) -> SystemHead | None:
        """See `View`."""
        return self.systems.get(system)

    def descriptor(self, system: SystemId) -> Descriptor:
        """See `View`."""
        return self.descriptors[system]

    def states(self, system: SystemId, map_keys: Sequence[Hash]) -> list[bytes | None]:
        """See `View`."""
        states = self.maps.get(system)
        return [None] * len(map_keys) if states is None else states.get(map_keys)

    def top_root(self) -> Hash:
        """See `View`; a party's own entries are no epochs."""
        raise Unavailable("rule/unknown-rules", "an epoch is not replayed here")


class SmallMap:
    """A state map for as many keys as evidence has."""

    def __init__(self, states: Mapping[Hash, bytes] | None = None, tree: sparse.Tree | None = None) -> None:
        self._states = dict(states or {})
        self._tree = tree or sparse.Tree.build({})

    @property
    def root(self) -> Hash:
        """The root."""
        return self._tree.root

    def get(self, keys: Sequence[Hash]) -> list[bytes | None]:
        """Return states."""
        return [self._states.get(key) for key in keys]

    def prove(self, keys: Sequence[Hash]) -> list[bytes]:
        """Return proofs."""
        return [self._tree.prove(key).encode() for key in keys]

    def plan(self, changes: Mapping[Hash, bytes]) -> Any:
        """Return the next version."""
        tree = self._tree.update({key: state_value(state) for key, state in changes.items()})
        return SmallMap({**self._states, **changes}, tree)

    def apply(self, delta: Any) -> "SmallMap":
        """Return it."""
        if not isinstance(delta, SmallMap):
            raise TypeError("not a version of this map")
        return delta


def replay_party(
    proof: PartyProof, party: str, listed: Iterable[Listed], rows: Callable[[Hash], bytes], only: str | None = None
) -> None:
    """Check a party as a whole: its head, its list, its statements. Raises what is wrong first."""
    committed = verify_party(proof, party)
    listed = list(listed)
    check_list(listed, committed.head)
    replay = PartyReplay(committed, SmallMap, only)
    for position, entry in listed:
        statement = Statement.parse(entry)
        file = None
        if replay.wants(statement) and isinstance(statement.payload, Hold | Tombstone):
            file = RowFile.parse(rows(statement.payload.root))
        replay.add(position, statement, file)
    replay.finish()
