"""Transition proofs: check one epoch, rules and roots, without holding any map.

Spec: docs/spec/transition.md.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from attest.crypto.commitment import map_keys
from attest.encoding import ZERO, Hash, check_items, decode_cbor, encode_cbor
from attest.errors import Malformed, Refuted
from attest.formats.rows import RowFile
from attest.formats.state import STATE, PartyHead, SystemHead, state_value, system_key, top_key
from attest.formats.statement import (
    Descriptor,
    Epoch,
    Hold,
    Limits,
    Log,
    Party,
    Statement,
    Systems,
    Tombstone,
    issuer_of,
)
from attest.ledger.claims import Claims, Departure, name_departure, name_left_out
from attest.ledger.epoch import Closing, Draft, Ledger, Planned
from attest.ledger.rules import SystemId
from attest.merkle.sparse import Pruned, parse_pruned
from attest.merkle.tree import Frontier, leaf_hashes

FORMAT = "attest-transition/1"
MAX_ITEMS = 1 << 21  # CBOR items of a proof: an entry is one, a head is one, a map is one


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a checker stands: the log after an epoch it has checked. Start from `Anchor.empty()`."""

    genesis: Log | None
    size: int
    root: Hash
    previous: Statement | None  # the epoch entry at size - 1

    @classmethod
    def empty(cls) -> "Anchor":
        """The log before entry 0."""
        return cls(None, 0, Frontier.empty().root(), None)

    @classmethod
    def of(cls, ledger: Ledger) -> "Anchor":
        """Where whoever has everything stands."""
        return cls(ledger.genesis, ledger.size, ledger.frontier.root(), ledger.previous)


def prove_transition(base: Ledger, draft: Draft, epoch: Statement) -> bytes:
    """Write the proof of the epoch that `draft`, made over `base`, ends with `epoch`."""
    effects = draft.close().effects
    shown = _Shown(
        set(effects.parties),
        {name: list(effects.states.get(name, {})) for name in effects.systems},
        effects.descriptors.keys() & effects.systems.keys(),
    )
    return _write(base, draft, [entry.entry for entry in draft.entries] + [epoch.entry], shown)


def prove_refused(base: Ledger, draft: Draft, entries: Sequence[bytes], rows: RowFile | None) -> bytes:
    """Write the proof of an epoch that the rules refuse, so that a checker without maps refuses it for the same reason.

    Args:
        draft: the entries before the refused one, over `base`.
        entries: of the whole epoch.
        rows: the row file that the refused one names, if it names one.
    """
    effects = draft.close().effects
    parties, described = set(effects.parties), effects.descriptors.keys() & effects.systems.keys()
    keys = {name: list(effects.states.get(name, {})) for name in effects.systems}
    with contextlib.suppress(Malformed):
        refused = Statement.parse(entries[len(draft.entries)])
        party, payload = refused.issuer.removeprefix("https://"), refused.payload
        parties |= {party, draft.origin, *([] if refused.about is None else [refused.about])}
        if isinstance(payload, Party):
            parties.add(payload.id)
        if isinstance(payload, Hold | Tombstone):
            touched = [] if rows is None else map_keys(rows.indexes)
            keys[party, refused.stream] = sorted({*keys.get((party, refused.stream), []), *touched})
        if isinstance(payload, Systems):
            named = {(party, descriptor.id) for descriptor in payload.systems}
            described |= named
            keys = {**{name: [] for name in named}, **keys}
    return _write(base, draft, entries, _Shown(parties, keys, described))


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a proof shows of the state before."""

    parties: Set[str]
    keys: Mapping[SystemId, list[Hash]]  # of the state map of each system
    described: Set[SystemId]


def _write(base: Ledger, draft: Draft, entries: Sequence[bytes], shown: _Shown) -> bytes:
    closing = draft.close()
    holders: list[dict[str, Any]] = []
    for party, group in groupby(sorted(shown.keys), lambda name: name[0]):
        names = list(group)
        tree = base.trees.get(party)
        holders.append(
            {
                "party": party,
                "map": b"\x00" if tree is None else tree.prune([system_key(system) for _, system in names]),
                "systems": [_prove_system(base, name, closing, shown) for name in names],
            }
        )
    proof: dict[str, Any] = {
        "format": FORMAT,
        "size": base.size,
        "frontier": list(base.frontier.hashes),
        "previous": None if base.previous is None else base.previous.entry,
        "entries": list(entries),
        "top": base.top.prune([top_key(party) for party in shown.parties]),
        "heads": [base.parties[party].encode() for party in sorted(shown.parties) if party in base.parties],
        "after": [head.encode() for _, head in sorted(closing.effects.parties.items())],
        "holders": holders,
    }
    return encode_cbor(proof)


def _prove_system(base: Ledger, name: SystemId, closing: Closing, shown: _Shown) -> dict[str, Any]:
    head, keys, after = base.systems.get(name), shown.keys[name], closing.effects.systems.get(name)
    old = base.states(name, sorted(keys)) if head is not None else []
    return {
        "system": name[1],
        "head": None if head is None else head.encode(),
        "descriptor": base.descriptors[name].encode() if head is not None and name in shown.described else None,
        "map": _prune_states(base, name, closing, keys),
        "states": b"".join(state for state in old if state is not None),
        "after": None if after is None else after.encode(),
    }


def _prune_states(base: Ledger, name: SystemId, closing: Closing, keys: list[Hash]) -> bytes:
    planned, head = closing.planned.get(name), base.systems.get(name)
    if planned is not None and len(keys) == len(closing.effects.states[name]):
        return planned[1].pruned()
    if head is None or head.root == ZERO:
        return b"\x00"
    if not keys:
        return b"\x01" + head.root
    # Any other state will do: what is pruned is the map before.
    _, plan = base.plan_states(name, dict.fromkeys(keys, bytes(STATE)))
    if plan is None:
        raise ValueError("no map to prune")
    return plan[1].pruned()


def verify_transition(encoded: bytes, anchor: Anchor, rows: Callable[[Hash], bytes]) -> Anchor:
    """Check one epoch from what the checker vouched for last; return where it stands now.

    Args:
        rows: gives the row file with a root; may raise `Unavailable`.

    Raises:
        Malformed: `transition/…`, the proof is not well formed or leaves something out.
        Refuted: `transition/…`, it does not start at `anchor`; `epoch/…`, what is wrong with a wrong root; and whatever
            `rules.judge` raises.
    """
    return verify_parsed(parse_transition(encoded), anchor, rows)


def verify_parsed(proof: dict[str, Any], anchor: Anchor, rows: Callable[[Hash], bytes]) -> Anchor:
    """Check what `parse_transition` has read, as `verify_transition` does."""
    try:
        frontier = Frontier.parse(proof["size"], proof["frontier"])
    except Malformed as error:
        raise Malformed("transition/frontier", error.message) from None
    previous = None if proof["previous"] is None else Statement.parse(proof["previous"])
    if (frontier.size, frontier.root()) != (anchor.size, anchor.root) or previous != anchor.previous:
        raise Refuted("transition/start", f"starts from size {frontier.size}, checked so far is {anchor.size}")
    base = _PrunedBase(anchor, previous, proof)
    draft = Draft(base)
    last = draft.take(proof["entries"], rows)
    try:
        closing = draft.finish(last)
    except Refuted as error:
        if error.code != "rule/epoch-root":
            raise
        raise _departure(base, draft, last, proof, rows) or error from None
    if _claims(proof) != Claims.of(closing.effects):
        raise Malformed("transition/after", "the heads shown as those after the epoch are not those it leads to")
    after = frontier.append(leaf_hashes(proof["entries"]))
    return Anchor(draft.genesis, after.size, after.root(), last)


def _claims(proof: dict[str, Any]) -> Claims:
    """Read the heads that a proof shows as those after the epoch. Raises `Malformed`: `transition/after`."""
    systems = {
        (holder["party"], system["system"]): system["after"]
        for holder in proof["holders"]
        for system in holder["systems"]
        if system["after"] is not None
    }
    return Claims.parse(proof["after"], systems)


def _departure(
    base: "_PrunedBase", draft: Draft, last: Statement, proof: dict[str, Any], rows: Callable[[Hash], bytes]
) -> Departure | None:
    """Name what is wrong with an epoch whose root is wrong; None if nothing that the proof shows tells."""
    closing = draft.close()
    effects = closing.effects
    if isinstance(last.payload, Epoch) and last.payload.root == base.top_root():
        return Departure("epoch/old-root", "the top root", "that of the epoch before", closing.root.hex())
    try:
        claims = _claims(proof)
    except Malformed:
        return None
    for name, changes in effects.states.items():
        claimed = claims.map_root(name)
        if claimed is not None and claimed != effects.systems[name].root:
            key = name_left_out(base.state_map(name), changes, claimed)
            if key is not None:
                return _omitted(draft, name, key, rows)
    return name_departure(claims, effects, base.party, base.system)


def _omitted(draft: Draft, name: SystemId, key: Hash, rows: Callable[[Hash], bytes]) -> Departure | None:
    """Say whose row it is that a state map leaves out."""
    begin = draft.position - len(draft.entries)
    for position, entry in reversed(list(enumerate(draft.entries, begin))):
        payload = entry.payload
        if isinstance(payload, Hold | Tombstone) and (entry.issuer, entry.stream) == (issuer_of(name[0]), name[1]):
            keys = map_keys(RowFile.parse(rows(payload.root)).indexes)
            if key in keys:
                what = f"row {(row := keys.index(key))} of entry {position} in the state map of {name[1]} of {name[0]}"
                return Departure("epoch/omitted", what, "left out", "its state", rows=[row])
    return None


class _PrunedBase:
    """The base of one epoch, as far as its proof shows it; every part is checked against the root above."""

    def __init__(self, anchor: Anchor, previous: Statement | None, proof: dict[str, Any]) -> None:
        self.genesis = anchor.genesis
        self.size = anchor.size
        self.previous = previous
        self._top = _pruned(proof["top"], _top_root(previous))
        heads = [PartyHead.decode(head) for head in proof["heads"]]
        _check_ascending("heads", [head.party for head in heads])
        self._heads = {head.party: head for head in heads}
        self._holders: dict[str, tuple[Pruned, dict[str, dict[str, Any]]]] = {}
        self._systems: dict[SystemId, SystemHead | None] = {}
        self._states: dict[SystemId, tuple[Pruned, dict[Hash, bytes]]] = {}
        for holder in proof["holders"]:
            self._take_holder(holder)

    def _take_holder(self, holder: dict[str, Any]) -> None:
        party = holder["party"]
        head = self.party(party)
        pruned = _pruned(holder["map"], ZERO if head is None else head.systems_root)
        self._holders[party] = (pruned, {system["system"]: system for system in holder["systems"]})
        for system in holder["systems"]:
            name = (party, system["system"])
            old = None if system["head"] is None else SystemHead.decode(system["head"])
            bound = pruned.get(system_key(name[1]))
            if bound != (None if old is None else old.value()) or (old is not None and old.system != name[1]):
                raise Refuted("transition/system-head", f"the head of {name[1]} of {party} is not the committed one")
            self._systems[name] = old
            self._states[name] = (_pruned(system["map"], ZERO if old is None else old.root), _states(system["states"]))

    @property
    def origin(self) -> str:
        return "" if self.genesis is None else self.genesis.origin

    @property
    def limits(self) -> Limits:
        return Limits() if self.genesis is None else self.genesis.limits

    def party(self, party: str) -> PartyHead | None:
        bound = self._top.get(top_key(party))
        if bound is None:
            return None
        head = self._heads.get(party)
        if head is None or head.value() != bound:
            raise Refuted("transition/party-head", f"the head of {party} is missing or not the committed one")
        return head

    def system(self, system: SystemId) -> SystemHead | None:
        if system not in self._systems:
            # An unregistered system must be shown absent too.
            raise Malformed("transition/missing", f"system {system[1]} of {system[0]} is not shown")
        return self._systems[system]

    def descriptor(self, system: SystemId) -> Descriptor:
        head = self.system(system)
        shown = self._holders[system[0]][1][system[1]]["descriptor"]
        if head is None or shown is None:
            raise Malformed("transition/missing", f"the descriptor of {system[1]} of {system[0]} is not shown")
        descriptor = Descriptor.decode(shown)
        if descriptor.digest() != head.descriptor:
            raise Refuted("transition/descriptor", f"the descriptor of {system[1]} is not the committed one")
        return descriptor

    def state_map(self, system: SystemId) -> Pruned:
        """Return the state map of a system, as far as it is shown."""
        return self._states[system][0]

    def states(self, system: SystemId, map_keys: Sequence[Hash]) -> list[bytes | None]:
        pruned, known = self._states[system]
        found = []
        for bound in pruned.get_many(map_keys):
            state = known.get(bound) if bound is not None else None
            if bound is not None and state is None:
                raise Refuted("transition/state", f"a state of {system[1]} of {system[0]} is not the committed one")
            found.append(state)
        return found

    def top_root(self) -> Hash:
        return _top_root(self.previous)

    def plan_states(self, system: SystemId, changes: Mapping[Hash, bytes]) -> tuple[Hash, Planned | None]:
        values = {key: state_value(state) for key, state in changes.items()}
        return self._states[system][0].update(values), None

    def plan_systems(self, party: str, changes: Mapping[Hash, Hash]) -> Hash:
        return self._holders[party][0].update(changes)

    def plan_top(self, changes: Mapping[Hash, Hash]) -> Hash:
        return self._top.update(changes)


def _top_root(previous: Statement | None) -> Hash:
    return previous.payload.root if previous is not None and isinstance(previous.payload, Epoch) else ZERO


def _states(shown: bytes) -> dict[Hash, bytes]:
    """Return the shown old states by their map value; the map says which key each belongs to."""
    if len(shown) % STATE:
        raise Malformed("transition/states", f"{len(shown)} bytes, want whole states of {STATE}")
    states = [shown[at : at + STATE] for at in range(0, len(shown), STATE)]
    return {state_value(state): state for state in states}


def _pruned(encoded: bytes, root: Hash) -> Pruned:
    pruned = parse_pruned(encoded)
    if pruned.root() != root:
        raise Refuted("transition/root", f"a pruned map has root {pruned.root().hex()}, committed is {root.hex()}")
    return pruned


_SHAPE = {
    "format": str, "size": int, "frontier": list, "previous": (bytes, type(None)), "entries": list, "top": bytes,
    "heads": list, "after": list, "holders": list,
}  # fmt: skip
_HOLDER = {"party": str, "map": bytes, "systems": list}
_SYSTEM = {
    "system": str, "head": (bytes, type(None)), "descriptor": (bytes, type(None)), "map": bytes, "states": bytes,
    "after": (bytes, type(None)),
}  # fmt: skip


def parse_transition(encoded: bytes) -> dict[str, Any]:
    """Read the fields of a proof; nothing of it is checked. Raises `Malformed`: `transition/format`, `cbor/…`."""
    check_items(encoded, MAX_ITEMS)
    proof = _shaped(decode_cbor(encoded), _SHAPE)
    if proof["format"] != FORMAT or proof["size"] < 0 or not proof["entries"]:
        raise Malformed("transition/format", f"want {FORMAT} with at least one entry")
    for name in ("frontier", "entries", "heads", "after"):
        if not all(isinstance(member, bytes) for member in proof[name]):
            raise Malformed("transition/format", f"{name}: want byte strings")
    for holder in proof["holders"]:
        for system in _shaped(holder, _HOLDER)["systems"]:
            _shaped(system, _SYSTEM)
        _check_ascending("systems", [system["system"] for system in holder["systems"]])
    _check_ascending("holders", [holder["party"] for holder in proof["holders"]])
    return proof


def _check_ascending(where: str, names: Sequence[str]) -> None:
    # Shown twice, a holder could tell two halves of a story, each without what the other half needs.
    if any(a >= b for a, b in pairwise(names)):
        raise Malformed("transition/format", f"{where}: want names strictly ascending")


def _shaped(found: Any, shape: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(found, dict) or found.keys() != shape.keys():
        raise Malformed("transition/format", f"want exactly the fields {', '.join(sorted(shape))}")
    for name, kind in shape.items():
        if not isinstance(found[name], kind) or isinstance(found[name], bool):
            raise Malformed("transition/format", f"{name} is not of its type")
    return found
