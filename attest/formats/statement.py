"""Statements: what parties and the log sign. A COSE_Sign1 around one of nine closed payloads.

Spec: docs/spec/statements.md, docs/spec/statements.cddl.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol, Self, TypeAlias

from attest.crypto import keys
from attest.encoding import Hash, decode_cbor, encode_base64url, encode_cbor, labelled
from attest.errors import Malformed
from attest.formats.note import name_fault
from attest.merkle.tree import leaf_hash

MAX_STATEMENT = 16_384  # bytes
MAX_ROWS = 1_048_576
ALG_ED25519 = -19
CONTENT_TYPE = "application/vnd.attest.statement+cbor"
TYP = "application/scitt-statement+cose"
RECOVERY = "#recovery"

SYSTEM_KINDS = (
    "database", "search", "warehouse", "cache", "log", "model", "backup", "processor", "saas", "paper", "other",
)  # fmt: skip
ROLES = ("holder", "authority", "auditor")
CAUSES = ("collected", "backfill", "restored", "corrected", "retracted", "migrated")
METHODS = (
    "logical_delete", "row_delete_committed", "compacted", "overwritten", "nist:clear", "nist:purge",
    "nist:purge:cryptographic_erase", "nist:destroy", "anonymised", "aggregated", "deidentified", "returned",
    "expired_by_retention",
)  # fmt: skip
LEVELS = ("none", "logical", "physical")

_PARTY_ID = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SYSTEM_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NAME_CODE = re.compile(r"[a-z0-9][a-z0-9._/-]{0,63}")
_GROUND = re.compile(r"[a-z0-9][a-z0-9().:_/-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Check: TypeAlias = Callable[[Any], bool]


class Signer(Protocol):
    """What signing needs of a key."""

    @property
    def public(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


# --- small checks, one per CDDL rule ---


def _uint(value: Any) -> bool:
    return type(value) is int and value >= 0


def _between(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _bytes(size: int) -> Check:
    return lambda value: isinstance(value, bytes) and len(value) == size


def _text(limit: int) -> Check:
    return lambda value: isinstance(value, str) and 1 <= len(value) <= limit and not _CONTROL.search(value)


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _one_of(*words: str) -> Check:
    return lambda value: value in words and isinstance(value, str)


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check, low: int, high: int, *, ascending: bool = False) -> Check:
    def accepts(value: Any) -> bool:
        if not isinstance(value, list) or not low <= len(value) <= high or not all(map(check, value)):
            return False
        return not ascending or all(a < b for a, b in pairwise(value))

    return accepts


def _any_map(value: Any) -> bool:
    return isinstance(value, dict)


def is_party_id(text: Any) -> bool:
    """Tell whether `text` is a party id: a lower-case host name of at least two labels, at most 253 bytes."""
    return isinstance(text, str) and len(text) <= 253 and bool(_PARTY_ID.fullmatch(text))


def is_origin(text: Any) -> bool:
    """Tell whether `text` can name a log: what a checkpoint takes for an origin, without schema and fragment."""
    return isinstance(text, str) and name_fault(text) is None and "://" not in text and "#" not in text


def is_system_id(text: Any) -> bool:
    """Tell whether `text` is a system id."""
    return isinstance(text, str) and bool(_SYSTEM_ID.fullmatch(text))


def is_name_code(text: Any) -> bool:
    """Tell whether `text` is a name code: of a rule set, a locator type, a kind of asset."""
    return isinstance(text, str) and bool(_NAME_CODE.fullmatch(text))


_HASH = _bytes(32)
_KEY = _bytes(32)
_LOG_KEYS = {"statements": _KEY, "receipts": _KEY, "note_ed25519": _KEY, "note_mldsa44": _bytes(1312)}


def _fields(where: str, value: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the map `value` if it has exactly the keys of `checks` and each value passes its check."""
    if not isinstance(value, dict):
        raise Malformed("statement/field", f"{where}: want a map, found {type(value).__name__}")
    if value.keys() != checks.keys():
        odd = sorted(map(repr, value.keys() ^ checks.keys()))
        raise Malformed("statement/field", f"{where}: missing or unknown {', '.join(odd)[:200]}")
    for name, check in checks.items():
        if not check(value[name]):
            raise Malformed("statement/field", f"{where}: {name} is not as docs/spec/statements.cddl wants it")
    return value


# --- the payloads ---


@dataclass(frozen=True, slots=True)
class Limits:
    """What rules and clients read from entry 0. Rows per row file, bytes per statement, seconds, seconds."""

    rows: int = MAX_ROWS
    statement: int = MAX_STATEMENT
    skew: int = 300
    silence: int = 3600


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The log that this one continues, and where it ended."""

    origin: str
    size: int
    root: Hash


@dataclass(frozen=True, slots=True)
class Log:
    """Entry 0: who this log is, with which keys and limits."""

    KIND: ClassVar[str] = "log/1"
    origin: str
    statements: bytes
    receipts: bytes
    note_ed25519: bytes
    note_mldsa44: bytes
    limits: Limits
    predecessor: Predecessor | None

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        before = self.predecessor
        return {
            "origin": self.origin,
            "keys": {name: getattr(self, name) for name in _LOG_KEYS},
            "limits": asdict(self.limits),
            "predecessor": None if before is None else asdict(before),
        }

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        _fields(
            "log/1",
            found,
            {"origin": is_origin, "keys": _any_map, "limits": _any_map, "predecessor": _or_null(_any_map)},
        )
        own = _fields("log/1 keys", found["keys"], _LOG_KEYS)
        limits = _fields(
            "log/1 limits",
            found["limits"],
            {
                "rows": _between(1, MAX_ROWS),
                "statement": _between(1024, MAX_STATEMENT),
                "skew": _between(1, 3600),
                "silence": _between(1, 86_400),
            },
        )
        before = found["predecessor"]
        if before is not None:
            _fields("log/1 predecessor", before, {"origin": is_origin, "size": _uint, "root": _HASH})
        return cls(
            origin=found["origin"],
            **own,
            limits=Limits(**limits),
            predecessor=None if before is None else Predecessor(**before),
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """From the next position on, the rule set `name` with this digest is in force."""

    KIND: ClassVar[str] = "policy/1"
    name: str
    digest: Hash

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return asdict(self)

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        return cls(**_fields("policy/1", found, {"name": _matches(_NAME_CODE), "digest": _HASH}))


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be admitted, with its proof of possession."""

    key: bytes
    use: str  # sign or recover
    proof: bytes

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return asdict(self)

    @classmethod
    def parse(cls, found: Any) -> Self:
        """Read the wire fields."""
        return cls(**_fields("new key", found, {"key": _KEY, "use": _one_of("sign", "recover"), "proof": _bytes(64)}))


@dataclass(frozen=True, slots=True)
class VrfSeries:
    """The digest of a holder's VRF public key."""

    suite: int
    hash: Hash

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return asdict(self)

    @classmethod
    def parse(cls, found: Any) -> Self:
        """Read the wire fields."""
        return cls(**_fields("vrf series", found, {"suite": _between(3, 3), "hash": _HASH}))


@dataclass(frozen=True, slots=True)
class Party:
    """The log admits a party. How its identity was checked is the operator's word."""

    KIND: ClassVar[str] = "party/1"
    id: str
    role: str
    name: str
    legal_id: str
    check_method: str  # operator or domain
    check_time: int
    keys: tuple[NewKey, ...]
    vrf: tuple[VrfSeries, ...]

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return {
            "id": self.id,
            "role": self.role,
            "name": self.name,
            "legal_id": self.legal_id,
            "check": {"method": self.check_method, "time": self.check_time},
            "keys": [key.fields() for key in self.keys],
            "vrf": [series.fields() for series in self.vrf],
        }

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        _fields(
            "party/1",
            found,
            {
                "id": is_party_id,
                "role": _one_of(*ROLES),
                "name": _text(200),
                "legal_id": _text(200),
                "check": _any_map,
                "keys": _list(_any_map, 2, 16),
                "vrf": _list(_any_map, 0, 1),
            },
        )
        check = _fields("party/1 check", found["check"], {"method": _one_of("operator", "domain"), "time": _uint})
        return cls(
            found["id"],
            found["role"],
            found["name"],
            found["legal_id"],
            check["method"],
            check["time"],
            tuple(map(NewKey.parse, found["keys"])),
            tuple(map(VrfSeries.parse, found["vrf"])),
        )


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys added to or revoked from the issuer (or, by the log, revoked from the party spoken about)."""

    KIND: ClassVar[str] = "keys/1"
    add: tuple[NewKey, ...]
    revoke: tuple[Hash, ...]

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return {"add": [key.fields() for key in self.add], "revoke": list(self.revoke)}

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        _fields("keys/1", found, {"add": _list(_any_map, 0, 16), "revoke": _list(_HASH, 0, 16, ascending=True)})
        if not found["add"] and not found["revoke"]:
            raise Malformed("statement/field", "keys/1: neither adds nor revokes a key")
        return cls(tuple(map(NewKey.parse, found["add"])), tuple(found["revoke"]))


@dataclass(frozen=True, slots=True)
class PartyEnd:
    """Nothing more from this party; its state stands, frozen."""

    KIND: ClassVar[str] = "party-end/1"

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return {}

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        _fields("party-end/1", found, {})
        return cls()


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One place where a holder keeps copies."""

    id: str
    kind: str
    assets: tuple[str, ...]
    locators: tuple[str, ...]  # the types under which every subject of this system is indexed
    retention: str | None
    backup_cycle: int | None  # seconds
    processor_log: str | None
    retired: bool

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return {**asdict(self), "assets": list(self.assets), "locators": list(self.locators)}

    @classmethod
    def parse(cls, found: Any) -> Self:
        """Read the wire fields."""
        _fields(
            "descriptor",
            found,
            {
                "id": is_system_id,
                "kind": _one_of(*SYSTEM_KINDS),
                "assets": _list(_matches(_NAME_CODE), 0, 16, ascending=True),
                "locators": _list(_matches(_NAME_CODE), 1, 8, ascending=True),
                "retention": _or_null(_text(500)),
                "backup_cycle": _or_null(_uint),
                "processor_log": _or_null(is_origin),
                "retired": lambda value: isinstance(value, bool),
            },
        )
        return cls(**{**found, "assets": tuple(found["assets"]), "locators": tuple(found["locators"])})

    def encode(self) -> bytes:
        """Write deterministic CBOR."""
        return encode_cbor(self.fields())

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Read what `encode` writes. Raises `Malformed`."""
        return cls.parse(decode_cbor(encoded))

    def digest(self) -> Hash:
        """Return what the system head commits to."""
        return labelled("descriptor", self.encode())


@dataclass(frozen=True, slots=True)
class Systems:
    """Whole descriptors of systems, new or changed, ids ascending."""

    KIND: ClassVar[str] = "systems/1"
    systems: tuple[Descriptor, ...]

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return {"systems": [descriptor.fields() for descriptor in self.systems]}

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        _fields("systems/1", found, {"systems": _list(_any_map, 1, 64)})
        systems = tuple(map(Descriptor.parse, found["systems"]))
        if any(a.id >= b.id for a, b in pairwise(systems)):
            raise Malformed("statement/field", "systems/1: ids are not strictly ascending")
        return cls(systems)


@dataclass(frozen=True, slots=True)
class Hold:
    """The rows of this row file are held in the system that the stream names."""

    KIND: ClassVar[str] = "hold/1"
    count: int
    root: Hash
    cause: str

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return asdict(self)

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        checks = {"count": _between(1, MAX_ROWS), "root": _HASH, "cause": _one_of(*CAUSES)}
        return cls(**_fields("hold/1", found, checks))


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The rows of this row file are erased from the system that the stream names."""

    KIND: ClassVar[str] = "tombstone/1"
    count: int
    root: Hash
    erased_at: int
    method: str
    level: str
    ground: str

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return asdict(self)

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        checks = {
            "count": _between(1, MAX_ROWS),
            "root": _HASH,
            "erased_at": _uint,
            "method": _one_of(*METHODS),
            "level": _one_of(*LEVELS),
            "ground": _matches(_GROUND),
        }
        return cls(**_fields("tombstone/1", found, checks))


@dataclass(frozen=True, slots=True)
class Epoch:
    """The last entry of a checkpoint: the root of the top map after all entries before it."""

    KIND: ClassVar[str] = "epoch/1"
    number: int
    time: int
    root: Hash

    def fields(self) -> dict[str, Any]:
        """Return the wire fields."""
        return asdict(self)

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Self:
        """Read the wire fields."""
        return cls(**_fields("epoch/1", found, {"number": _uint, "time": _uint, "root": _HASH}))


Payload: TypeAlias = Log | Policy | Party | Keys | PartyEnd | Systems | Hold | Tombstone | Epoch
KINDS: dict[str, type[Payload]] = {
    kind.KIND: kind for kind in (Log, Policy, Party, Keys, PartyEnd, Systems, Hold, Tombstone, Epoch)
}


# --- the envelope ---


@dataclass(frozen=True, slots=True)
class Statement:
    """A signed statement. `entry` is its wire form and its log entry, byte for byte."""

    issuer: str
    stream: str  # the claim `sub`
    audience: str
    issued_at: int
    kid: Hash
    seq: int
    about: str | None
    ref: tuple[Hash, ...]
    payload: Payload
    entry: bytes

    @property
    def leaf(self) -> Hash:
        """Its leaf hash in the log; base64url of it is the entry id."""
        return leaf_hash(self.entry)

    @property
    def entry_id(self) -> str:
        """The entry id as URLs show it."""
        return encode_base64url(self.leaf)

    @classmethod
    def parse(cls, entry: bytes) -> Self:
        """Read a statement; its signature is checked by `verify_signature`.

        Raises:
            Malformed: `statement/size`, `statement/cose`, `statement/alg`, `statement/header`,
                `statement/kind`, `statement/field`, and the `cbor/…` codes.
        """
        protected, payload, _ = _open(entry)
        header = decode_cbor(protected)
        if not isinstance(header, dict) or header.get(1) != ALG_ED25519:
            raise Malformed("statement/alg", "want protected header alg -19 (Ed25519) and no other")
        if header.keys() != {1, 3, 4, 15, 16} or not isinstance(header[15], dict) or header[15].keys() != {1, 2, 3, 6}:
            raise Malformed("statement/header", "want protected labels 1, 3, 4, 15 {1, 2, 3, 6}, 16 and no other")
        claims = header[15]
        if header[3] != CONTENT_TYPE or header[16] != TYP:
            raise Malformed("statement/header", f"want content type {CONTENT_TYPE} and typ {TYP}")
        if not _HASH(header[4]):
            raise Malformed("statement/header", "want a kid of 32 bytes (RFC 9679 thumbprint)")
        # Messages quote them, and people read messages in terminals.
        if not all(map(_text(512), (claims[1], claims[2], claims[3]))):
            raise Malformed("statement/header", "want iss, sub and aud as text of 1 to 512 characters, none a control")
        if not _uint(claims[6]):
            raise Malformed("statement/header", "want iat in whole POSIX seconds")

        fields = decode_cbor(payload)
        if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str) or fields["kind"] not in KINDS:
            raise Malformed("statement/kind", f"want a kind of {', '.join(KINDS)}")
        kind = KINDS[fields.pop("kind")]
        empty = fields.get("about", "") is None or fields.get("ref") == []
        seq, about, ref = fields.pop("seq", None), fields.pop("about", None), fields.pop("ref", [])
        if not _uint(seq):
            raise Malformed("statement/field", "seq is missing or not an unsigned integer")
        if about is not None and not is_party_id(about):
            raise Malformed("statement/field", "about is not a party id")
        if not _list(_HASH, 0, 16)(ref):
            raise Malformed("statement/field", "ref is not a list of at most 16 leaf hashes")
        parsed = cls(
            claims[1], claims[2], claims[3], claims[6], header[4], seq, about, tuple(ref), kind.parse(fields), entry
        )
        # `about: null` and `ref: []` would be second spellings of their absence.
        if empty:
            raise Malformed("statement/field", "about and ref are left out when empty")
        return parsed

    def ends_log(self, origin: str) -> bool:
        """Tell whether this is the end of the log `origin`, said by itself; whether it signed that is not checked."""
        about_itself = isinstance(self.payload, PartyEnd) and self.about is None
        return about_itself and (self.issuer, self.audience) == (issuer_of(origin), origin)

    def payload_map(self) -> dict[str, Any]:
        """Return the payload as a map."""
        return payload_map(self.payload, self.seq, self.about, self.ref)

    def to_be_signed(self) -> bytes:
        """Return the Sig_structure of RFC 9052 section 4.4."""
        protected, payload, _ = _open(self.entry)
        return _sig_structure(protected, payload)

    def verify_signature(self, key: bytes) -> None:
        """Check the signature. Raises `Refuted`: `signature/invalid`."""
        protected, payload, signature = _open(self.entry)
        keys.verify_ed25519(key, _sig_structure(protected, payload), signature)


def payload_map(payload: Payload, seq: int, about: str | None, ref: tuple[Hash, ...]) -> dict[str, Any]:
    """Return the wire form of a payload as a map; an absent `about` or empty `ref` is left out."""
    fields = {"kind": payload.KIND, "seq": seq, **payload.fields()}
    if about is not None:
        fields["about"] = about
    if ref:
        fields["ref"] = list(ref)
    return fields


def sign_statement(
    key: Signer,
    payload: Payload,
    *,
    issuer: str,
    stream: str,
    audience: str,
    issued_at: int,
    seq: int,
    about: str | None = None,
    ref: tuple[Hash, ...] = (),
) -> Statement:
    """Sign `payload`. The result parses, or this raises what `Statement.parse` raises."""
    protected = encode_cbor(
        {
            1: ALG_ED25519,
            3: CONTENT_TYPE,
            4: keys.thumbprint(key.public),
            15: {1: issuer, 2: stream, 3: audience, 6: issued_at},
            16: TYP,
        }
    )
    body = encode_cbor(payload_map(payload, seq, about, ref))
    signature = key.sign(_sig_structure(protected, body))
    return Statement.parse(b"\xd2" + encode_cbor([protected, {}, body, signature]))


def issuer_of(party: str) -> str:
    """Return the claim `iss` of a party id or an origin."""
    return "https://" + party


def possession_message(origin: str, party: str, payload: Party | Keys) -> Hash:
    """Return what a new key signs to prove possession: the payload without seq, proofs and identity check.

    The check is left out because the operator fills it in after the keys have signed; the party is
    bound so that nobody can admit another's key, with its proof, as their own.
    """
    fields = {"kind": payload.KIND, **payload.fields()}
    fields.pop("check", None)
    name = "keys" if isinstance(payload, Party) else "add"
    fields[name] = [{"key": key["key"], "use": key["use"]} for key in fields[name]]
    return labelled("possession", origin.encode(), party.encode(), encode_cbor(fields))


def _open(entry: bytes) -> tuple[bytes, bytes, bytes]:
    if len(entry) > MAX_STATEMENT:
        raise Malformed("statement/size", f"{len(entry)} bytes, at most {MAX_STATEMENT} are taken")
    if entry[:2] != b"\xd2\x84":
        raise Malformed("statement/cose", "want a tagged COSE_Sign1 (d2 84 …)")
    protected, unprotected, payload, signature = decode_cbor(entry[1:])
    if not isinstance(protected, bytes) or unprotected != {} or not isinstance(payload, bytes) or not _SIG(signature):
        raise Malformed(
            "statement/cose", "want [protected bstr, empty map, attached payload bstr, signature of 64 bytes]"
        )
    return protected, payload, signature


_SIG = _bytes(64)


def _sig_structure(protected: bytes, payload: bytes) -> bytes:
    return encode_cbor(["Signature1", protected, b"", payload])
