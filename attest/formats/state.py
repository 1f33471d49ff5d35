"""States and heads: what the maps commit to.

Spec: docs/spec/state.md.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from attest.crypto.vrf import SUITE
from attest.encoding import ZERO, Hash, decode_cbor, encode_cbor, label_prefix, labelled, sha256
from attest.errors import Malformed, Unavailable
from attest.formats.statement import ROLES, is_name_code, is_system_id

STATE = 49  # bytes: status u8, generation u32, version u32, position u64, commitment[32]
HELD, ERASED = 1, 2
ACTIVE, ENDED = 1, 2  # of a party; a system is active or retired with the same numbers
RETIRED = ENDED
MAX_KEYS = 64  # of one party, revoked ones included: heads stay small

_STATE_PREFIX = label_prefix("state") + STATE.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class State:
    """The life of one index in one system, as 49 bytes on the wire."""

    status: int
    generation: int
    version: int
    position: int  # of the entry that set it
    commitment: Hash

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read 49 bytes. Raises `Malformed`: `state/size`; `Unavailable`: `state/unknown-status`."""
        if len(encoded) != STATE:
            raise Malformed("state/size", f"{len(encoded)} bytes, want {STATE}")
        if encoded[0] not in (HELD, ERASED):
            raise Unavailable("state/unknown-status", f"status {encoded[0]} belongs to a rule set not known here")
        number = int.from_bytes
        return cls(
            encoded[0],
            number(encoded[1:5], "big"),
            number(encoded[5:9], "big"),
            number(encoded[9:17], "big"),
            encoded[17:],
        )

    def encode(self) -> bytes:
        """Write 49 bytes."""
        return pack_state(self.status, self.generation, self.version, self.position, self.commitment)


def pack_state(status: int, generation: int, version: int, position: int, commitment: Hash) -> bytes:
    """Write the 49 bytes of a state without building an object."""
    return b"%c%b%b%b%b" % (
        status,
        generation.to_bytes(4, "big"),
        version.to_bytes(4, "big"),
        position.to_bytes(8, "big"),
        commitment,
    )


def state_value(encoded: bytes) -> Hash:
    """Return the state map's leaf value of a 49-byte state."""
    return sha256(_STATE_PREFIX + encoded)


@dataclass(frozen=True, slots=True)
class KeyItem:
    """A key of a party. It verifies position e iff from_ <= e < until (until None: no end)."""

    key: bytes
    use: str  # sign or recover
    from_: int
    until: int | None

    def verifies(self, position: int) -> bool:
        """Tell whether it is in force at `position`."""
        return self.from_ <= position and (self.until is None or position < self.until)


@dataclass(frozen=True, slots=True)
class SystemHead:
    """What a holder's system map commits to for one system."""

    system: str
    status: int
    descriptor: Hash
    root: Hash
    held: int
    erased: int
    reheld: int
    entries: int  # statements in its stream: the next seq
    chain: Hash
    other: Hash = ZERO

    def encode(self) -> bytes:
        """Write deterministic CBOR."""
        return encode_cbor(asdict(self))

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Read what `encode` writes. Raises `Malformed`, or `Unavailable`: `head/unknown-extension`."""
        found = _closed(decode_cbor(encoded), cls.__dataclass_fields__.keys())
        if not is_system_id(found["system"]):
            raise Malformed("head/fields", "system is not a system id")
        _uints(found, "status", "held", "erased", "reheld", "entries")
        _hashes(found, "descriptor", "root", "chain", "other")
        _known(found)
        return cls(**found)

    def key(self) -> Hash:
        """Return its key in the system map."""
        return system_key(self.system)

    def value(self) -> Hash:
        """Return its value in the system map."""
        return labelled("system-head", self.encode())


@dataclass(frozen=True, slots=True)
class LogPart:
    """What the log's own head has beyond a party's."""

    epochs: int  # so far: the next epoch's number
    time: int  # of the last epoch, 0 before the first
    latest: int  # the greatest iat or erased_at since the last epoch, 0 if none
    rules: str  # the rule set in force
    rules_digest: Hash


@dataclass(frozen=True, slots=True)
class PartyHead:
    """What the top map commits to for one party, or, with a `log` part, for the log itself."""

    party: str
    role: str
    status: int
    admitted: int  # position of its party/1 (log/1 for the log)
    own: int  # next seq of its own stream
    recovery: int  # next seq of its recovery stream
    keys: tuple[KeyItem, ...]
    vrf: tuple[tuple[int, Hash], ...]  # (suite, key digest)
    systems_count: int
    systems_root: Hash
    entries: int
    chain: Hash
    log: LogPart | None = None
    other: Hash = field(default=ZERO)

    def encode(self) -> bytes:
        """Write deterministic CBOR."""
        wire: dict[str, Any] = {
            "party": self.party,
            "role": self.role,
            "status": self.status,
            "admitted": self.admitted,
            "own": self.own,
            "recovery": self.recovery,
            "keys": [{"key": k.key, "use": k.use, "from": k.from_, "until": k.until} for k in self.keys],
            "vrf": [{"suite": suite, "hash": digest} for suite, digest in self.vrf],
            "systems": {"count": self.systems_count, "root": self.systems_root},
            "entries": self.entries,
            "chain": self.chain,
            "other": self.other,
        }
        if self.log is not None:
            wire["epoch"] = {"number": self.log.epochs, "time": self.log.time, "latest": self.log.latest}
            wire["rules"] = {"name": self.log.rules, "digest": self.log.rules_digest}
        return encode_cbor(wire)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Read what `encode` writes. Raises `Malformed`, or `Unavailable`: `head/unknown-extension`."""
        found = decode_cbor(encoded)
        names = {"party", "role", "status", "admitted", "own", "recovery", "keys", "vrf", "systems", "entries",
                 "chain", "other"}  # fmt: skip
        if isinstance(found, dict) and found.get("role") == "log":
            names |= {"epoch", "rules"}
        _closed(found, names)
        _text(found, "party")
        _words(found, "role", (*ROLES, "log"))
        _uints(found, "status", "admitted", "own", "recovery", "entries")
        _hashes(found, "chain", "other")
        systems = _closed(found["systems"], {"count", "root"})
        _uints(systems, "count")
        _hashes(systems, "root")
        log = None
        if "epoch" in found:
            epoch = _closed(found["epoch"], {"number", "time", "latest"})
            rules = _closed(found["rules"], {"name", "digest"})
            _uints(epoch, "number", "time", "latest")
            if not is_name_code(rules["name"]):
                raise Malformed("head/fields", "the name of the rules is no name")
            _hashes(rules, "digest")
            log = LogPart(epoch["number"], epoch["time"], epoch["latest"], rules["name"], rules["digest"])
        keys, series = _members(found["keys"], MAX_KEYS), _members(found["vrf"], 1)
        head = cls(
            found["party"],
            found["role"],
            found["status"],
            found["admitted"],
            found["own"],
            found["recovery"],
            tuple(map(_key_item, keys)),
            tuple(map(_vrf_series, series)),
            systems["count"],
            systems["root"],
            found["entries"],
            found["chain"],
            log,
            found["other"],
        )
        # Last: only of what has all its fields may it be said that a later rule set has more.
        _known(found)
        return head

    def key(self) -> Hash:
        """Return its key in the top map."""
        return top_key(self.party)

    def value(self) -> Hash:
        """Return its value in the top map."""
        return labelled("party-head", self.encode())

    def with_entry(self, position: int, leaf: Hash, **changes: Any) -> Self:
        """Return this head after one more entry, with other fields replaced."""
        return replace(self, entries=self.entries + 1, chain=extend_chain(self.chain, position, leaf), **changes)


def top_key(party: str) -> Hash:
    """Return a party's (or the log's) key in the top map."""
    return labelled("top-key", party.encode())


def system_key(system: str) -> Hash:
    """Return a system's key in its holder's system map."""
    return labelled("system-key", system.encode())


def extend_chain(chain: Hash, position: int, leaf: Hash) -> Hash:
    """Return the chain after the entry with this leaf hash at this position."""
    return labelled("chain", chain, position.to_bytes(8, "big"), leaf)


def vrf_key_digest(suite: int, public: bytes) -> Hash:
    """Return what a party head binds of a VRF public key."""
    return labelled("vrf-key", bytes([suite]), public)


def _key_item(found: Any) -> KeyItem:
    _closed(found, {"key", "use", "from", "until"})
    _hashes(found, "key")
    _words(found, "use", ("sign", "recover"))
    _uints(found, "from")
    if found["until"] is not None:
        _uints(found, "until")
    return KeyItem(found["key"], found["use"], found["from"], found["until"])


def _vrf_series(found: Any) -> tuple[int, Hash]:
    _closed(found, {"suite", "hash"})
    _hashes(found, "hash")
    if type(found["suite"]) is not int or found["suite"] != SUITE:
        raise Malformed("head/fields", f"suite is not {SUITE}")
    return found["suite"], found["hash"]


def _closed(found: Any, names: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or found.keys() != set(names):
        raise Malformed("head/fields", f"want exactly the fields {', '.join(sorted(names))}")
    return found


def _members(found: Any, limit: int) -> list[Any]:
    if not isinstance(found, list) or len(found) > limit:
        raise Malformed("head/fields", f"want a list of at most {limit}")
    return found


def _words(found: dict[str, Any], name: str, words: tuple[str, ...]) -> None:
    if not isinstance(found[name], str) or found[name] not in words:
        raise Malformed("head/fields", f"{name} is none of {', '.join(words)}")


def _text(found: dict[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(found[name], str):
            raise Malformed("head/fields", f"{name} is not text")


def _uints(found: dict[str, Any], *names: str) -> None:
    for name in names:
        if type(found[name]) is not int or found[name] < 0:
            raise Malformed("head/fields", f"{name} is not an unsigned integer")


def _hashes(found: dict[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(found[name], bytes) or len(found[name]) != 32:
            raise Malformed("head/fields", f"{name} is not 32 bytes")


def _known(found: dict[str, Any]) -> None:
    # A later rule set puts what it adds under `other`; guessing past it could turn "held" into "excluded".
    if found["other"] != ZERO or found["status"] not in (ACTIVE, ENDED):
        raise Unavailable("head/unknown-extension", "this head belongs to a rule set not known here")
