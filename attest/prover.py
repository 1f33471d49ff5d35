"""Asking a log for evidence and putting it into bundles: what the holder and anybody with a keepsake have in common.

Nothing here decides whether evidence is good: `attest.ledger.verify` does, under the asker's own policy.

Spec: docs/spec/bundle.md, docs/spec/http.md#reads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from attest.crypto import commitment, locators, vrf
from attest.encoding import Hash, encode_base64
from attest.errors import Conflict, Malformed, Unavailable
from attest.formats.bundle import FORMAT, MAX_LOCATORS, Bundle, StateProof
from attest.formats.keepsake import Keepsake
from attest.formats.state import ERASED, PartyHead, State

_TRIES = 4  # a checkpoint is kept for a while only, and systems may be added meanwhile


class Asked(Protocol):
    """The questions that need an answer from the log."""

    def systems(self, party: str) -> list[str]: ...

    def entries(self, party: str, before: int | None = None, limit: int = 500) -> dict[str, Any]: ...

    def lookup(self, party: str, locators: Sequence[Mapping[str, Hash]], size: int | None = None) -> dict[str, Any]: ...

    def row(self, entry_id: str, index: Hash, size: int | None = None) -> dict[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """A locator and the VRF proof of its place; `beta` gives its index in every system of the holder."""

    locator: str
    proof: bytes
    beta: bytes

    @classmethod
    def of(cls, prover: vrf.Prover, locator: str) -> Self:
        """Prove a locator's place, as the holder."""
        proof, beta = prover.prove(commitment.alpha(locator))
        return cls(locator, proof, beta)

    @classmethod
    def kept(cls, keepsake: Keepsake) -> Self:
        """Take the proof from a keepsake. Raises what `vrf.verify` raises: the keepsake is not what it was."""
        beta = vrf.verify(keepsake.vrf_key, commitment.alpha(keepsake.locator), keepsake.vrf_proof)
        return cls(keepsake.locator, keepsake.vrf_proof, beta)

    @property
    def type(self) -> str:
        """The locator's type: all that a bundle says about it."""
        return locators.parse(self.locator).type

    def index(self, holder: str, system: str) -> Hash:
        """Return its index in a system."""
        return commitment.index(holder, system, self.beta)


Hint = Callable[[Subject, str, Hash], str | None]
"""(subject, system, commitment) → the entry id of the hold, if the asker knows it."""


def lookup_bundle(log: Asked, holder: str, vrf_key: bytes, subjects: Sequence[Subject]) -> Bundle:
    """Ask what all systems of the holder say about these locators, at one checkpoint.

    The operator sees their indexes together.

    Raises:
        Malformed: `prove/locators`, none or more than 64; what `Bundle.from_json` raises.
        Unavailable, Conflict: what the log answers.
    """
    if not 1 <= len(subjects) <= MAX_LOCATORS:
        raise Malformed("prove/locators", f"{len(subjects)} locators, a bundle is about 1 to {MAX_LOCATORS}")
    for left in reversed(range(_TRIES)):
        systems = log.systems(holder)
        question = [{system: subject.index(holder, system) for system in systems} for subject in subjects]
        try:
            found = log.lookup(holder, question)
        except Conflict as error:
            # A system was registered between the two questions.
            if error.code != "lookup/systems" or not left:
                raise
            continue
        return _bundle("lookup", vrf_key, subjects, found)
    raise AssertionError("the last try returns or raises")


def hold_bundle(
    log: Asked, holder: str, vrf_key: bytes, subject: Subject, *, system: str, entry_id: str, size: int | None = None
) -> Bundle:
    """Ask for the proof that a hold names the subject's row. Raises `Unavailable`: `prove/row`."""
    return _one_row("hold", log, holder, vrf_key, subject, system=system, entry_id=entry_id, size=size)


def tombstone_bundle(
    log: Asked, holder: str, vrf_key: bytes, subject: Subject, *, system: str, entry_id: str, size: int | None = None
) -> Bundle:
    """Ask for the proof that a tombstone names the subject's row. Raises `Unavailable`: `prove/row`."""
    return _one_row("tombstone", log, holder, vrf_key, subject, system=system, entry_id=entry_id, size=size)


def erasure_bundle(log: Asked, holder: str, vrf_key: bytes, subject: Subject, *, system: str) -> Bundle:
    """Ask for the tombstone that set the subject's state in a system, whatever entry it is.

    Raises:
        Conflict: `prove/not-erased`, the system's newest state of the subject is not an erasure.
        Unavailable: `prove/tombstone`, `prove/row`; and as `lookup_bundle`.
    """
    looked_up = lookup_bundle(log, holder, vrf_key, [subject])
    shown = next((each.state for each in looked_up.states if each.system == system), None)
    state = None if shown is None else State.parse(shown)
    if state is None or state.status != ERASED:
        raise Conflict("prove/not-erased", f"the newest state in {system} is not an erasure")
    entry_id = _entry_id(log, holder, state.position)
    return tombstone_bundle(log, holder, vrf_key, subject, system=system, entry_id=entry_id)


def _one_row(
    kind: str,
    log: Asked,
    holder: str,
    vrf_key: bytes,
    subject: Subject,
    *,
    system: str,
    entry_id: str,
    size: int | None,
) -> Bundle:
    found = log.row(entry_id, subject.index(holder, system), size)
    if found is None:
        raise Unavailable("prove/row", f"entry {entry_id} has no row for this locator in {system}")
    bundle = _bundle(kind, vrf_key, [subject], found)
    row = bundle.rows[0]
    wanted = {0, PartyHead.decode(bundle.head).admitted, row.entry, bundle.checkpoint.checkpoint.size - 1}
    return _with(bundle, kind, entries=[entry for entry in found["entries"] if entry["position"] in wanted])


def certificate_bundle(
    log: Asked, holder: str, vrf_key: bytes, subjects: Sequence[Subject], hint: Hint = lambda *_: None
) -> Bundle:
    """Ask for a look-up and, for each erased state, the tombstone that set it and the hold that it erased.

    Args:
        hint: where the asker knows the hold, so that the holder's entries need not be searched.

    Raises:
        Unavailable: `prove/hold`, `prove/tombstone`: the log does not show one of them.
        Malformed, Conflict: as `lookup_bundle`.
    """
    for left in reversed(range(_TRIES)):
        looked_up = lookup_bundle(log, holder, vrf_key, subjects)
        try:
            return _certificate(log, holder, looked_up, subjects, hint)
        except Unavailable as error:
            # The log moved on faster than we asked.
            if error.code != "proof/gone" or not left:
                raise
    raise AssertionError("the last try returns or raises")


def _certificate(log: Asked, holder: str, looked_up: Bundle, subjects: Sequence[Subject], hint: Hint) -> Bundle:
    value = looked_up.to_json()
    size = looked_up.checkpoint.checkpoint.size
    entries = {entry["position"]: entry for entry in value["entries"]}
    rows: list[dict[str, Any]] = []
    for shown in looked_up.states:
        state = None if shown.state is None else State.parse(shown.state)
        if state is None or state.status != ERASED:
            continue
        subject = subjects[shown.locator]
        tombstone = _find_tombstone(log, holder, shown, state, subject, size)
        hold = _find_hold(log, holder, shown, state, subject, size, hint)
        base = {0, PartyHead.decode(looked_up.head).admitted, size - 1}
        for found, wanted in ((hold, _from(hold)), (tombstone, _until(tombstone))):
            rows.append({**found["rows"][0], "locator": shown.locator})
            entries.update(
                (e["position"], e) for e in found["entries"] if e["position"] in base or wanted(e["position"])
            )
    ordered = [entries[position] for position in sorted(entries)]
    return _with(looked_up, "certificate", entries=ordered, rows=rows)


def _from(found: dict[str, Any]) -> Callable[[int], bool]:
    """The hold and the first epoch after it."""
    entry: int = found["rows"][0]["entry"]
    return lambda position: position >= entry


def _until(found: dict[str, Any]) -> Callable[[int], bool]:
    """The last epoch before the tombstone, and the tombstone."""
    entry: int = found["rows"][0]["entry"]
    first = max((e["position"] for e in found["entries"] if e["position"] < entry), default=entry)
    return lambda position: first <= position <= entry


def _find_tombstone(
    log: Asked, holder: str, shown: StateProof, state: State, subject: Subject, size: int
) -> dict[str, Any]:
    found = log.row(_entry_id(log, holder, state.position), subject.index(holder, shown.system), size)
    if found is None:
        raise Unavailable("prove/tombstone", f"entry {state.position} has no row for this locator in {shown.system}")
    return found


def _entry_id(log: Asked, holder: str, position: int) -> str:
    page = log.entries(holder, before=position + 1, limit=1)["entries"]
    if not page or page[0]["position"] != position:
        raise Unavailable("prove/tombstone", f"the log does not list entry {position} as one of {holder}")
    entry_id: str = page[0]["entry_id"]
    return entry_id


def _find_hold(
    log: Asked, holder: str, shown: StateProof, state: State, subject: Subject, size: int, hint: Hint
) -> dict[str, Any]:
    """Find the hold that made the commitment: the one hinted at, or the newest before the tombstone that has it."""
    index, wanted = subject.index(holder, shown.system), encode_base64(state.commitment)

    def proven(entry_id: str) -> dict[str, Any] | None:
        found = log.row(entry_id, index, size)
        return found if found is not None and found["rows"][0]["commitment"] == wanted else None

    hinted = hint(subject, shown.system, state.commitment)
    if hinted is not None and (found := proven(hinted)) is not None:
        return found
    before: int | None = state.position
    while before is not None:
        page = log.entries(holder, before=before)
        for entry in page["entries"]:
            if (entry["kind"], entry["system"]) == ("hold/1", shown.system):
                found = proven(entry["entry_id"])
                if found is not None:
                    return found
        before = page["next"]
    raise Unavailable("prove/hold", f"the log shows no hold in {shown.system} of what its tombstone erased")


def _bundle(kind: str, vrf_key: bytes, subjects: Sequence[Subject], found: dict[str, Any]) -> Bundle:
    return Bundle.from_json(
        {
            "format": FORMAT,
            "kind": kind,
            "checkpoint": found.get("checkpoint"),
            "entries": found.get("entries"),
            "holder": found.get("holder"),
            "vrf": {"suite": vrf.SUITE, "key": encode_base64(vrf_key)},
            "locators": [{"type": subject.type, "proof": encode_base64(subject.proof)} for subject in subjects],
            "systems": found.get("systems", []),
            "states": found.get("states", []),
            "rows": found.get("rows", []),
        }
    )


def _with(bundle: Bundle, kind: str, **members: Any) -> Bundle:
    return Bundle.from_json({**bundle.to_json(), "kind": kind, **members})
