"""Naming a wrong root: where the heads that a log shows for an epoch depart from those that its entries lead to.

Nothing here decides whether an epoch is right: its root has been refused before anybody asks. What the log shows is its
own word, signed or not; it only says which of the ways to be wrong this is.

Spec: docs/spec/transition.md#a-wrong-root.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self, TypeAlias

from attest.encoding import ZERO, Hash, decode_cbor
from attest.errors import Malformed, Refuted
from attest.formats.state import PartyHead, SystemHead, state_value
from attest.ledger.rules import Effects, SystemId
from attest.merkle.sparse import Pruned, Tree

MAX_SEARCHED: Final = 1 << 16  # changes of one state map among which the one left out is looked for

MAX_TEXT: Final = 256  # characters of what was found and expected

# By field of the head, in the order in which they are compared: the deepest cause first.
_SYSTEM: Final = {
    "status": "status", "descriptor": "descriptor", "root": "states", "held": "held",
    "erased": "erased", "reheld": "reheld", "entries": "entries", "chain": "chain", "other": "extension",
}  # fmt: skip
_PARTY: Final = {
    "role": "role", "status": "status", "admitted": "admitted", "keys": "keys", "vrf": "vrf",
    "own": "seq", "recovery": "seq", "epoch": "clock", "rules": "rules", "entries": "entries", "chain": "chain",
    "other": "extension", "systems": "systems",
}  # fmt: skip


_Head: TypeAlias = PartyHead | SystemHead
_Compared: TypeAlias = tuple[str, _Head | None, _Head, bytes | None, Mapping[str, str]]


class Departure(Refuted):
    """An epoch whose root does not follow, and in what."""

    def __init__(self, code: str, message: str, found: str, expected: str, *, rows: Sequence[int] = ()) -> None:
        super().__init__(code, f"{message}: {found}, the entries lead to {expected}", rows=rows)
        self.found = found
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Claims:
    """The heads that a log shows as those after an epoch, encoded; of what the epoch changed."""

    parties: Mapping[str, bytes]
    systems: Mapping[SystemId, bytes]

    @classmethod
    def parse(cls, parties: Sequence[bytes], systems: Mapping[SystemId, bytes]) -> Self:
        """Take what a proof shows. Raises `Malformed`: `transition/after`, a head without a name, or out of order."""
        names = [str((_decode(head) or {}).get("party", "")) for head in parties]
        if "" in names or any(a >= b for a, b in pairwise(names)):
            raise Malformed("transition/after", "want heads by party id, strictly ascending")
        return cls(dict(zip(names, parties, strict=True)), systems)

    @classmethod
    def of(cls, effects: Effects) -> Self:
        """Return what an honest log shows."""
        return cls(
            {party: head.encode() for party, head in effects.parties.items()},
            {name: head.encode() for name, head in effects.systems.items()},
        )

    def map_root(self, system: SystemId) -> Hash | None:
        """Return the root of a system's state map; None if no head says so."""
        root = (_decode(self.systems.get(system, b"")) or {}).get("root")
        return root if isinstance(root, bytes) and len(root) == len(ZERO) else None


def name_departure(
    claims: Claims,
    effects: Effects,
    old_parties: Callable[[str], PartyHead | None],
    old_systems: Callable[[SystemId], SystemHead | None],
) -> Departure | None:
    """Say where claims depart from the heads that the entries lead to; None if they do not.

    Args:
        effects: what the entries lead to.
        old_parties, old_systems: the heads before.
    """
    heads: list[_Compared] = []
    for name, system in sorted(effects.systems.items()):
        what = f"system {name[1]} of {name[0]}"
        heads.append((what, old_systems(name), system, claims.systems.get(name), _SYSTEM))
    for party, own in sorted(effects.parties.items()):
        heads.append((party, old_parties(party), own, claims.parties.get(party), _PARTY))
    for what, old, head, claimed, _ in heads:
        if claimed is None:
            return Departure("epoch/dropped", f"the head of {what}", "none", "one")
        found = _decode(claimed) or {}
        if found.get("system") != getattr(head, "system", None):
            return Departure("epoch/other-head", f"the head of {what}", "that of another system", "its own")
        if old is not None and _is_old(found, old, head):
            return Departure("epoch/old-head", f"the head of {what}", "one of an earlier epoch", "another")
    for what, _, head, claimed, fields in heads:
        found, want = _decode(claimed or b"") or {}, decode_cbor(head.encode())
        if found.keys() != want.keys():
            return Departure("epoch/head-fields", f"the head of {what}", "other fields", "those of its kind")
        for field, code in fields.items():
            if field in want and found[field] != want[field]:
                if field == "keys":
                    code = _keys_code(found[field], want[field])
                return Departure(f"epoch/{code}", f"{field} of {what}", _text(found[field]), _text(want[field]))
    more = [*(claims.parties.keys() - effects.parties.keys()), *(claims.systems.keys() - effects.systems.keys())]
    if more:
        return Departure("epoch/added", f"the head of {more[0]}", "there", "none, or the one before")
    return None


def name_left_out(before: Pruned, changes: Mapping[Hash, bytes], root: Hash) -> Hash | None:
    """Return the key whose change alone is missing in the state map with `root`; None if it is not that."""
    if not 0 < len(changes) <= MAX_SEARCHED:
        return None
    values = sorted((key, state_value(state)) for key, state in changes.items())
    return _left_out(Tree(before.node), values, root)


def _left_out(tree: Tree, missing: Sequence[tuple[Hash, Hash]], root: Hash) -> Hash | None:
    # All but one of n changes, for each of the n: each half is applied on the way to all of the other.
    if len(missing) == 1:
        return missing[0][0] if tree.root == root else None
    half = len(missing) // 2
    first, second = missing[:half], missing[half:]
    found = _left_out(tree.update(dict(second)), first, root)
    return found or _left_out(tree.update(dict(first)), second, root)


def _is_old(found: dict[Any, Any], old: _Head, head: _Head) -> bool:
    counted = found.get("entries")
    if type(counted) is int and counted < old.entries:
        return True
    return old != head and found == decode_cbor(old.encode())


def _decode(encoded: bytes) -> dict[Any, Any] | None:
    try:
        found = decode_cbor(encoded)
    except Malformed:
        return None
    return found if isinstance(found, dict) else None


def _keys_code(found: Any, want: Any) -> str:
    """Tell keys that were swapped or planted from keys whose time in force was changed."""
    try:
        same = [(key["key"], key["use"]) for key in found] == [(key["key"], key["use"]) for key in want]
    except (TypeError, KeyError):
        same = False
    return "key-interval" if same else "keys"


def _text(value: Any) -> str:
    text = _spelled(value)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def _spelled(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return ", ".join(f"{name} {_spelled(member)}" for name, member in value.items())
    if isinstance(value, list):
        return f"[{'; '.join(map(_spelled, value))}]"
    return ascii(value) if isinstance(value, str) else str(value)
