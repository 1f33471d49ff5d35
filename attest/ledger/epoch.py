"""Epochs: from the state after one to the state after the next, for whoever holds all maps or only proofs.

A `Draft` runs the rules over a `Base`, entry by entry, and closes into the top root that the epoch entry
commits. The sequencer and the auditor bring a `Ledger`, which has everything; the state witness brings
the pruned maps of a transition proof (`attest.ledger.transition`).

Spec: docs/spec/state.md#epochs.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeAlias

from attest.encoding import Hash
from attest.errors import Malformed, Unavailable
from attest.formats.rows import RowFile
from attest.formats.state import PartyHead, SystemHead
from attest.formats.statement import Descriptor, Epoch, Hold, Limits, Log, Statement, Tombstone
from attest.ledger.rules import RULES, RULES_DIGEST, Effects, SystemId, View, judge
from attest.merkle.sparse import Tree
from attest.merkle.tree import Frontier


class Delta(Protocol):
    """A planned change of one state map."""

    @property
    def root(self) -> Hash: ...

    def pruned(self) -> bytes: ...


class StateMap(Protocol):
    """The state map of one system: key → 49-byte state. Immutable; `apply` returns the next version."""

    @property
    def root(self) -> Hash: ...

    def get(self, keys: Sequence[Hash]) -> list[bytes | None]: ...

    def prove(self, keys: Sequence[Hash]) -> list[bytes]: ...

    def plan(self, changes: Mapping[Hash, bytes]) -> Any: ...

    def apply(self, delta: Any) -> "StateMap": ...


class Base(View, Protocol):
    """The state at the end of an epoch, able to plan the roots of the next."""

    @property
    def genesis(self) -> Log | None:
        """Entry 0; None before it."""

    @property
    def size(self) -> int:
        """Entries in the log."""

    @property
    def previous(self) -> Statement | None:
        """The epoch entry at size - 1; None before the first."""

    def plan_states(self, system: SystemId, changes: Mapping[Hash, bytes]) -> tuple[Hash, "Planned | None"]:
        """Return the root of a system's state map after `changes`, and how to get there if the map is here."""

    def plan_systems(self, party: str, changes: Mapping[Hash, Hash]) -> Hash:
        """Return the root of a holder's system map after `changes`."""

    def plan_top(self, changes: Mapping[Hash, Hash]) -> Hash:
        """Return the root of the top map after `changes`."""


Planned = tuple[StateMap, Delta]
"""A version of a state map, and a change planned over that version."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What one epoch changed: complete new heads, states, and the root over them."""

    root: Hash
    effects: Effects
    planned: Mapping[SystemId, Planned]


Seen: TypeAlias = Callable[[int, Statement, RowFile | None, Effects], None]
"""Is told of an entry that was accepted: its position, the statement, its row file, and what it changed."""


class Draft:
    """The entries of the epoch being made, judged one after the other over a base."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._effects = Effects()
        self._closing: Closing | None = None
        self.genesis = base.genesis
        self.entries: list[Statement] = []
        if base.previous is not None:
            # The previous epoch committed everything before its own entry; its own effect shows here.
            self._take(judge(base, base.size - 1, base.previous))

    @property
    def position(self) -> int:
        """Where the next entry stands in the log."""
        return self._base.size + len(self.entries)

    def add(self, statement: Statement, rows: RowFile | None = None) -> Effects:
        """Judge `statement` at the next position, take its effects and return them; on an error nothing changes."""
        effects = judge(self, self.position, statement, rows)
        if isinstance(statement.payload, Log):
            self.genesis = statement.payload
        self._take(effects)
        self.entries.append(statement)
        return effects

    def take(
        self, entries: Sequence[bytes], rows: Callable[[Hash], bytes | RowFile], seen: "Seen | None" = None
    ) -> Statement:
        """Judge the entries of one whole epoch but the last, which is its epoch/1 and returned unjudged.

        Args:
            rows: gives the row file with a root, parsed or not; may raise `Unavailable`.
            seen: is told of every entry that was accepted.

        Raises:
            Malformed: `transition/entries`, an epoch/1 before the end or none there; and whatever `add` raises.
        """
        for at, entry in enumerate(entries, 1):
            statement = self._parse(entry)
            payload = statement.payload
            if isinstance(payload, Epoch) != (at == len(entries)):
                raise Malformed("transition/entries", f"an epoch ends with its epoch/1, entry {at} is {payload.KIND}")
            if at == len(entries):
                return statement
            file = None
            # The rules refuse a larger one, so nobody has to have it; and they check that this is the file named.
            if isinstance(payload, Hold | Tombstone) and payload.count <= self.limits.rows:
                try:
                    found = rows(payload.root)
                except Unavailable:
                    # What the rules refuse whatever its rows are is refused: nobody hides it by withholding them.
                    with suppress(Unavailable):
                        self.add(statement)
                    raise
                file = found if isinstance(found, RowFile) else RowFile.parse(found)
            position = self.position
            effects = self.add(statement, file)
            if seen is not None:
                seen(position, statement, file, effects)
        raise Malformed("transition/entries", "an epoch without entries")

    def finish(self, epoch: Statement) -> Closing:
        """Judge the epoch entry that ends this draft, and return what the epoch changed.

        The closing holds the effects of the entries before `epoch`; its own shows in the next draft.
        """
        closing = self.close()
        judge(self, self.position, epoch)
        return closing

    def close(self) -> Closing:
        """Plan all maps over what the entries so far have changed."""
        if self._closing is not None:
            return self._closing
        effects, planned = self._effects, {}
        systems, parties = dict(effects.systems), dict(effects.parties)
        for name, changes in effects.states.items():
            root, plan = self._base.plan_states(name, changes)
            systems[name] = replace(systems[name], root=root)
            if plan is not None:
                planned[name] = plan
        for party, leaves in _leaves(systems).items():
            parties[party] = replace(parties[party], systems_root=self._base.plan_systems(party, leaves))
        root = self._base.plan_top({head.key(): head.value() for head in parties.values()})
        self._closing = Closing(root, Effects(parties, systems, effects.descriptors, effects.states), planned)
        return self._closing

    def _parse(self, entry: bytes) -> Statement:
        try:
            return Statement.parse(entry)
        except Malformed:
            log = self.party(self.origin)
            if log is None or log.log is None or (log.log.rules, log.log.rules_digest) == (RULES, RULES_DIGEST):
                raise
            # A later rule set has kinds that nobody can read here: that is no reason to refute.
            raise Unavailable("rule/unknown-rules", f"rule set {log.log.rules} is in force, known is {RULES}") from None

    def _take(self, effects: Effects) -> None:
        own = self._effects
        own.parties.update(effects.parties)
        own.systems.update(effects.systems)
        own.descriptors.update(effects.descriptors)
        for name, states in effects.states.items():
            own.states.setdefault(name, {}).update(states)
        self._closing = None

    # --- the view that rules read ---

    @property
    def origin(self) -> str:
        """The log's name; empty before entry 0."""
        return "" if self.genesis is None else self.genesis.origin

    @property
    def limits(self) -> Limits:
        """The limits of entry 0."""
        return Limits() if self.genesis is None else self.genesis.limits

    def party(self, party: str) -> PartyHead | None:
        """See `View`."""
        return self._effects.parties.get(party) or self._base.party(party)

    def system(self, system: SystemId) -> SystemHead | None:
        """See `View`."""
        return self._effects.systems.get(system) or self._base.system(system)

    def descriptor(self, system: SystemId) -> Descriptor:
        """See `View`."""
        return self._effects.descriptors.get(system) or self._base.descriptor(system)

    def states(self, system: SystemId, map_keys: Sequence[Hash]) -> list[bytes | None]:
        """See `View`."""
        changed = self._effects.states.get(system)
        # A system registered within this epoch is not in the base.
        fresh = self._base.system(system) is None
        below: list[bytes | None] = [None] * len(map_keys) if fresh else self._base.states(system, map_keys)
        if not changed:
            return below
        return [changed.get(key) or state for key, state in zip(map_keys, below, strict=True)]

    def top_root(self) -> Hash:
        """See `View`."""
        return self.close().root


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything, at the end of one epoch. Immutable: `advance` returns the next one and shares what it can."""

    new_map: Callable[[], StateMap]
    genesis: Log | None = None
    size: int = 0
    frontier: Frontier = field(default_factory=Frontier.empty)
    previous: Statement | None = None
    parties: Mapping[str, PartyHead] = field(default_factory=dict)
    systems: Mapping[SystemId, SystemHead] = field(default_factory=dict)
    descriptors: Mapping[SystemId, Descriptor] = field(default_factory=dict)
    maps: Mapping[SystemId, StateMap] = field(default_factory=dict)
    system_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of each holder, ascending
    trees: Mapping[str, Tree] = field(default_factory=dict)  # the system map of each holder
    top: Tree = field(default_factory=lambda: Tree.build({}))

    @property
    def origin(self) -> str:
        """The log's name; empty before entry 0."""
        return "" if self.genesis is None else self.genesis.origin

    @property
    def limits(self) -> Limits:
        """The limits of entry 0."""
        return Limits() if self.genesis is None else self.genesis.limits

    def party(self, party: str) -> PartyHead | None:
        """See `View`."""
        return self.parties.get(party)

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
        """See `View`."""
        return self.top.root

    def systems_of(self, party: str) -> list[SystemHead]:
        """Return the heads of a holder's systems, ids ascending."""
        return [self.systems[party, system] for system in self.system_ids.get(party, ())]

    def plan_states(self, system: SystemId, changes: Mapping[Hash, bytes]) -> tuple[Hash, Planned | None]:
        """See `Base`."""
        states = self.maps.get(system)
        if states is None:
            states = self.new_map()
        delta: Delta = states.plan(changes)
        return delta.root, (states, delta)

    def plan_systems(self, party: str, changes: Mapping[Hash, Hash]) -> Hash:
        """See `Base`."""
        return self._tree(party).update(changes).root

    def plan_top(self, changes: Mapping[Hash, Hash]) -> Hash:
        """See `Base`."""
        return self.top.update(changes).root

    def advance(self, draft: Draft, epoch: Statement) -> Self:
        """Return the ledger after the epoch that `draft`, made over this ledger, ends with `epoch`."""
        closing = draft.finish(epoch)
        entries = [*draft.entries, epoch]
        effects = closing.effects
        maps, trees, system_ids = dict(self.maps), dict(self.trees), dict(self.system_ids)
        for party, system in effects.systems.keys() - self.systems.keys():
            system_ids[party] = tuple(sorted((*system_ids.get(party, ()), system)))
        for name, (states, delta) in closing.planned.items():
            maps[name] = states.apply(delta)
        for party, leaves in _leaves(effects.systems).items():
            trees[party] = self._tree(party).update(leaves)
        return replace(
            self,
            genesis=draft.genesis,
            size=self.size + len(entries),
            frontier=self.frontier.append([entry.leaf for entry in entries]),
            previous=epoch,
            parties={**self.parties, **effects.parties},
            systems={**self.systems, **effects.systems},
            descriptors={**self.descriptors, **effects.descriptors},
            maps=maps,
            system_ids=system_ids,
            trees=trees,
            top=self.top.update({head.key(): head.value() for head in effects.parties.values()}),
        )

    def _tree(self, party: str) -> Tree:
        return self.trees.get(party) or Tree.build({})


def replay_epoch(
    base: Ledger,
    draft: Draft,
    entries: Sequence[bytes],
    rows: Callable[[Hash], bytes | RowFile],
    seen: Seen | None = None,
) -> Ledger:
    """Judge the entries of one epoch over everything; return the ledger after it.

    Args:
        draft: over `base`, and empty. On an error it holds the entries before the one that is refused.
        seen: is told of every entry that was accepted, but for the epoch itself.

    Raises:
        AttestError: as `Draft.take` and `rules.judge`.
    """
    last = draft.take(entries, rows, seen)
    return base.advance(draft, last)


def _leaves(systems: Mapping[SystemId, SystemHead]) -> dict[str, dict[Hash, Hash]]:
    """Return what these heads bind in the system map of each holder."""
    leaves: dict[str, dict[Hash, Hash]] = {}
    for (party, _), head in systems.items():
        leaves.setdefault(party, {})[head.key()] = head.value()
    return leaves
