"""Join requests: how a party asks an operator to be admitted, and how its domain confirms that it asked.

    {"format": "attest-join/1", "origin", "id", "role", "name", "legal_id",
     "keys": [{"key": base64, "use": "sign" | "recover", "proof": base64}], "vrf": [{"suite": 3, "hash": base64}]}

    https://<id>/.well-known/attest.json: {"format": "attest-domain/1", "joins": [hex SHA-256 of a join request, …]}

Spec: docs/spec/statements.md#join-requests.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

from attest.crypto import keys
from attest.encoding import Hash, encode_base64, parse_hex, sha256
from attest.errors import Conflict, Malformed, Refuted
from attest.formats.statement import NewKey, Party, VrfSeries, is_origin, possession_message
from attest.formats.strict_json import base64, closed, integer, many, parse_json, text, write_json

FORMAT: Final = "attest-join/1"
DOMAIN_FORMAT: Final = "attest-domain/1"
MAX_JOIN: Final = 65_536  # bytes
WELL_KNOWN: Final = "/.well-known/attest.json"

_JOIN = {
    "format": text,
    "origin": text,
    "id": text,
    "role": text,
    "name": text,
    "legal_id": text,
    "keys": many(lambda found, where: closed(found, where, {"key": base64(32), "use": text, "proof": base64(64)}), 16),
    "vrf": many(lambda found, where: closed(found, where, {"suite": integer, "hash": base64(32)}), 1),
}
_DOMAIN = {"format": text, "joins": many(lambda found, where: parse_hex(text(found, where), 32), 64)}


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a party says about itself, with a proof of possession for each of its keys."""

    origin: str
    id: str
    role: str
    name: str
    legal_id: str
    keys: tuple[NewKey, ...]
    vrf: tuple[VrfSeries, ...]

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a join request; `verify` checks its proofs.

        Raises:
            Malformed: `join/format`, `json/…`, `statement/field`.
        """
        found = parse_json(encoded, MAX_JOIN)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise Malformed("join/format", f"want {FORMAT}")
        found = closed(found, "join", _JOIN)
        if not is_origin(found["origin"]):
            raise Malformed("join/origin", "origin is not the name of a log")
        request = cls(
            found["origin"],
            found["id"],
            found["role"],
            found["name"],
            found["legal_id"],
            tuple(NewKey(**key) for key in found["keys"]),
            tuple(VrfSeries(**series) for series in found["vrf"]),
        )
        # The statement that will carry these fields has the stricter rules.
        wire = request.party("operator", 0).fields()
        Party.parse(wire)
        return request

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value that `parse` reads."""
        return {
            "format": FORMAT,
            "origin": self.origin,
            "id": self.id,
            "role": self.role,
            "name": self.name,
            "legal_id": self.legal_id,
            "keys": [{"key": encode_base64(k.key), "use": k.use, "proof": encode_base64(k.proof)} for k in self.keys],
            "vrf": [{"suite": series.suite, "hash": encode_base64(series.hash)} for series in self.vrf],
        }

    def encode(self) -> bytes:
        """Write the file."""
        return write_json(self.to_json())

    def digest(self) -> Hash:
        """Return what the party's domain publishes: SHA-256 of the file as `encode` writes it."""
        return sha256(self.encode())

    def party(self, check_method: str, check_time: int) -> Party:
        """Return the statement payload that admits this party."""
        return Party(self.id, self.role, self.name, self.legal_id, check_method, check_time, self.keys, self.vrf)

    def possession(self) -> Hash:
        """Return what every key of the request signs to prove possession."""
        return possession_message(self.origin, self.id, self.party("operator", 0))

    def verify(self, origin: str) -> None:
        """Check that this party can be admitted to the log `origin`, as its rules will.

        Raises:
            Malformed: `key/…`, a key nobody should have; `join/keys`, not at least one of each use; `join/vrf`.
            Conflict: `join/origin`, meant for another log; `join/keys`, one key twice.
            Refuted: `rule/possession`, a proof does not verify.
        """
        if self.origin != origin:
            raise Conflict("join/origin", f"this request is for {self.origin}, this log is {origin}")
        if {key.use for key in self.keys} != {"sign", "recover"}:
            raise Malformed("join/keys", "want at least one signing and one recovery key")
        if (len(self.vrf) == 1) != (self.role == "holder"):
            raise Malformed("join/vrf", "a holder has one VRF key, others have none")
        if len({key.key for key in self.keys}) != len(self.keys):
            raise Conflict("join/keys", "one key stands twice")
        message = self.possession()
        for key in self.keys:
            keys.check_public_key(key.key)
            try:
                keys.verify_ed25519(key.key, message, key.proof)
            except Refuted:
                kid = keys.thumbprint(key.key).hex()
                raise Refuted("rule/possession", f"the proof of possession of key {kid} does not verify") from None


def encode_domain(joins: tuple[Hash, ...]) -> bytes:
    """Write the well-known file that confirms these join requests, by digest."""
    return write_json({"format": DOMAIN_FORMAT, "joins": [join.hex() for join in joins]})


def parse_domain(encoded: bytes) -> tuple[Hash, ...]:
    """Read a well-known file. Raises `Malformed`: `join/format`, `json/…`, `encoding/hex`."""
    found = parse_json(encoded, MAX_JOIN)
    if not isinstance(found, dict) or found.get("format") != DOMAIN_FORMAT:
        raise Malformed("join/format", f"want {DOMAIN_FORMAT}")
    joins: tuple[Hash, ...] = closed(found, "domain", _DOMAIN)["joins"]
    return joins
