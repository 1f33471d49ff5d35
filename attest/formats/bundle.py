"""Bundles: one file with everything an offline verifier needs, besides trust and the question.

Spec: docs/spec/bundle.md.
"""

from dataclasses import dataclass
from typing import Any, Self

from attest.encoding import Hash, encode_base64
from attest.errors import Malformed
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.strict_json import base64, closed, integer, many, nullable, parse_json, text, write_json
from attest.formats.tlog_proof import TlogProof

FORMAT = "attest-bundle/1"
KINDS = ("hold", "tombstone", "lookup", "certificate")
MAX_BUNDLE = 64 << 20  # bytes
MAX_LOCATORS = 64
MAX_SYSTEMS = 10_000
_MANY = MAX_LOCATORS * MAX_SYSTEMS
MAX_HEAD = 16_384  # bytes, of a head and of a descriptor
_PATH = 63  # hashes


@dataclass(frozen=True, slots=True)
class EntryProof:
    """A log entry and its inclusion path at the bundle's checkpoint, leaf side first."""

    position: int
    entry: bytes
    path: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class LocatorProof:
    """The VRF proof of one locator that the asker knows; the bundle only says its type."""

    type: str
    proof: bytes


@dataclass(frozen=True, slots=True)
class StateProof:
    """What one system's state map says about one locator's index. `state` is 49 bytes, or None: never committed."""

    locator: int
    system: str
    state: bytes | None
    proof: bytes


@dataclass(frozen=True, slots=True)
class RowEvidence:
    """One locator's row in the row file of a statement. `position` is the row's, `entry` the statement's."""

    locator: int
    system: str
    entry: int
    position: int
    commitment: Hash
    path: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A parsed bundle; nothing in it is verified."""

    kind: str
    checkpoint: SignedCheckpoint
    entries: tuple[EntryProof, ...]
    party: str
    head: bytes
    head_proof: bytes
    vrf_suite: int
    vrf_key: bytes
    locators: tuple[LocatorProof, ...]
    systems: tuple[tuple[bytes, bytes], ...]  # (system head, descriptor)
    states: tuple[StateProof, ...]
    rows: tuple[RowEvidence, ...]

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a bundle. Raises `Malformed`: `bundle/format`, `bundle/kind`, `json/…`, `encoding/…`, `note/…`."""
        return cls.from_json(parse_json(encoded, MAX_BUNDLE))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read the JSON value of a bundle. Raises as `parse`."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            found = value.get("format") if isinstance(value, dict) else None
            named = isinstance(found, str) and found.startswith("attest-")
            raise Malformed("bundle/format", f"want {FORMAT}{f', found {str(found)[:32]}' * named}")
        found = closed(value, "bundle", _BUNDLE)
        if found["kind"] not in KINDS:
            raise Malformed("bundle/kind", f"want one of {', '.join(KINDS)}")
        if found["kind"] in ("hold", "tombstone"):
            if found["systems"] or found["states"] or len(found["rows"]) != 1:
                raise Malformed("bundle/kind", f"a {found['kind']} bundle has one row and no systems or states")
        elif found["kind"] == "lookup" and found["rows"]:
            raise Malformed("bundle/kind", "a lookup bundle has no rows")
        holder, vrf = found["holder"], found["vrf"]
        return cls(
            kind=found["kind"],
            checkpoint=SignedCheckpoint.parse(found["checkpoint"]),
            entries=tuple(EntryProof(**entry) for entry in found["entries"]),
            party=holder["party"],
            head=holder["head"],
            head_proof=holder["proof"],
            vrf_suite=vrf["suite"],
            vrf_key=vrf["key"],
            locators=tuple(LocatorProof(**locator) for locator in found["locators"]),
            systems=tuple((system["head"], system["descriptor"]) for system in found["systems"]),
            states=tuple(StateProof(**state) for state in found["states"]),
            rows=tuple(RowEvidence(**row) for row in found["rows"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value that `from_json` reads."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "checkpoint": self.checkpoint.encode().decode(),
            "entries": [
                {"position": e.position, "entry": encode_base64(e.entry), "path": _path(e.path)} for e in self.entries
            ],
            "holder": {
                "party": self.party,
                "head": encode_base64(self.head),
                "proof": encode_base64(self.head_proof),
            },
            "vrf": {"suite": self.vrf_suite, "key": encode_base64(self.vrf_key)},
            "locators": [{"type": each.type, "proof": encode_base64(each.proof)} for each in self.locators],
            "systems": [
                {"head": encode_base64(head), "descriptor": encode_base64(descriptor)}
                for head, descriptor in self.systems
            ],
            "states": [
                {
                    "locator": each.locator,
                    "system": each.system,
                    "state": None if each.state is None else encode_base64(each.state),
                    "proof": encode_base64(each.proof),
                }
                for each in self.states
            ],
            "rows": [
                {
                    "locator": row.locator,
                    "system": row.system,
                    "entry": row.entry,
                    "position": row.position,
                    "commitment": encode_base64(row.commitment),
                    "path": _path(row.path),
                }
                for row in self.rows
            ],
        }

    def encode(self) -> bytes:
        """Write the file."""
        return write_json(self.to_json())

    def tlog_proof(self, position: int) -> TlogProof:
        """Rebuild the `.tlog-proof` of the entry at `position`. Raises `Malformed`: `bundle/entry-missing`."""
        entry = self.entry(position)
        return TlogProof(entry.position, entry.path, self.checkpoint)

    def entry(self, position: int) -> EntryProof:
        """Return the entry at `position`. Raises `Malformed`: `bundle/entry-missing`."""
        for entry in self.entries:
            if entry.position == position:
                return entry
        raise Malformed("bundle/entry-missing", f"the bundle lacks entry {position}")


def _path(hashes: tuple[Hash, ...]) -> list[str]:
    return [encode_base64(node) for node in hashes]


_HASHES = many(base64(32), _PATH)
_BUNDLE = {
    "format": text,
    "kind": text,
    "checkpoint": text,
    "entries": many(
        lambda found, where: closed(found, where, {"position": integer, "entry": base64(), "path": _HASHES}), _MANY
    ),
    "holder": lambda found, where: closed(
        found, where, {"party": text, "head": base64(limit=MAX_HEAD), "proof": base64()}
    ),
    "vrf": lambda found, where: closed(found, where, {"suite": integer, "key": base64(32)}),
    "locators": many(
        lambda found, where: closed(found, where, {"type": text, "proof": base64(80)}), MAX_LOCATORS, least=1
    ),
    "systems": many(
        lambda found, where: closed(
            found, where, {"head": base64(limit=MAX_HEAD), "descriptor": base64(limit=MAX_HEAD)}
        ),
        MAX_SYSTEMS,
    ),
    "states": many(
        lambda found, where: closed(
            found, where, {"locator": integer, "system": text, "state": nullable(base64(49)), "proof": base64()}
        ),
        _MANY,
    ),
    "rows": many(
        lambda found, where: closed(
            found,
            where,
            {
                "locator": integer,
                "system": text,
                "entry": integer,
                "position": integer,
                "commitment": base64(32),
                "path": _HASHES,
            },
        ),
        2 * _MANY,
    ),
}
