"""Keepsakes: what a data subject keeps, to check later without the company.

Spec: docs/spec/bundle.md.
"""

from dataclasses import dataclass
from typing import Any, Self

from attest.crypto import commitment, locators, vrf
from attest.encoding import Hash, encode_base64, encode_base64url, parse_hex
from attest.errors import AttestError, Malformed
from attest.formats.bundle import Bundle
from attest.formats.statement import is_origin, is_party_id, is_system_id
from attest.formats.strict_json import base64, closed, integer, many, parse_json, text, write_json
from attest.merkle.tree import leaf_hash

FORMAT = "attest-keepsake/1"
MAX_KEEPSAKE = 64 << 20  # bytes
WARNING = (
    "Keep this file private. Whoever sees it can follow this pseudonym in all systems of this holder, past and future;"
    " blind and records also open what was committed. The holder keeps no copy and, once erased, can make no other."
)


@dataclass(frozen=True, slots=True)
class KeptHold:
    """One system's published hold of the subject's records, and what opens its commitment."""

    system: str
    entry: int  # position of the hold in the log
    entry_id: str
    blind: Hash
    records: tuple[Hash, ...]  # SHA-256 of each record, ascending
    bundle: Bundle  # of kind hold


@dataclass(frozen=True, slots=True)
class Keepsake:
    """A locator, the proof of its place in the holder's maps, and the holds it was found in."""

    origin: str
    holder: str
    locator: str
    vrf_suite: int
    vrf_key: bytes
    vrf_proof: bytes
    holds: tuple[KeptHold, ...]

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a keepsake. Raises `Malformed`: `keepsake/format`, `keepsake/field`, and as `Bundle.parse`."""
        value = parse_json(encoded, MAX_KEEPSAKE)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise Malformed("keepsake/format", f"want {FORMAT}")
        found = closed(value, "keepsake", _KEEPSAKE)
        locators.canonical(found["locator"])
        if not is_origin(found["origin"]) or not is_party_id(found["holder"]):
            raise Malformed("keepsake/field", "origin or holder is not a valid name")
        vrf = found["vrf"]
        holds = tuple(_hold(hold) for hold in found["holds"])
        return cls(found["origin"], found["holder"], found["locator"], vrf["suite"], vrf["key"], vrf["proof"], holds)

    def fault(self, hold: KeptHold) -> str | None:
        """Say what of a hold does not fit the rest of this keepsake, or None. No policy, so nothing about the log."""
        bundle, row = hold.bundle, hold.bundle.rows[0]
        if (bundle.checkpoint.checkpoint.origin, bundle.party, bundle.vrf_key) != (
            self.origin,
            self.holder,
            self.vrf_key,
        ):
            return "its bundle is of another log, holder or VRF key"
        if (row.system, row.entry) != (hold.system, hold.entry):
            return "its bundle is of another system or entry"
        try:
            entry_id = encode_base64url(leaf_hash(bundle.entry(hold.entry).entry))
            beta = vrf.verify(self.vrf_key, commitment.alpha(self.locator), self.vrf_proof)
            digest = commitment.record_digest(hold.records)
        except AttestError as error:
            return str(error)
        if entry_id != hold.entry_id:
            return "entry_id is that of another entry"
        index = commitment.index(self.holder, hold.system, beta)
        if commitment.commitment(index, hold.blind, digest) != row.commitment:
            return "blind and records do not open the row's commitment"
        return None

    def encode(self) -> bytes:
        """Write the file."""
        return write_json(
            {
                "format": FORMAT,
                "warning": WARNING,
                "origin": self.origin,
                "holder": self.holder,
                "locator": self.locator,
                "vrf": {
                    "suite": self.vrf_suite,
                    "key": encode_base64(self.vrf_key),
                    "proof": encode_base64(self.vrf_proof),
                },
                "holds": [
                    {
                        "system": hold.system,
                        "entry": hold.entry,
                        "entry_id": hold.entry_id,
                        "blind": encode_base64(hold.blind),
                        "records": [record.hex() for record in hold.records],
                        "bundle": hold.bundle.to_json(),
                    }
                    for hold in self.holds
                ],
            }
        )


def _hold(found: dict[str, Any]) -> KeptHold:
    if not is_system_id(found["system"]) or found["bundle"].kind != "hold":
        raise Malformed("keepsake/field", "holds: want a system id and a bundle of kind hold")
    return KeptHold(**found)


def _record(found: Any, where: str) -> Hash:
    return parse_hex(text(found, where), 32)


_HOLD = {
    "system": text,
    "entry": integer,
    "entry_id": text,
    "blind": base64(32),
    "records": many(_record, 1_000_000),
    "bundle": lambda found, _: Bundle.from_json(found),
}
_KEEPSAKE = {
    "format": text,
    "warning": text,
    "origin": text,
    "holder": text,
    "locator": text,
    "vrf": lambda found, where: closed(found, where, {"suite": integer, "key": base64(32), "proof": base64(80)}),
    "holds": many(lambda found, where: closed(found, where, _HOLD), 10_000),
}
