"""Audit samples on the wire: the plan, the beacon's value, and the auditor's signed result.

Spec: docs/spec/sample.md.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from attest.crypto import keys
from attest.encoding import Hash, Value, decode_cbor, encode_cbor, parse_hex, sha256
from attest.errors import Malformed, Refuted, Untrusted
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.statement import ALG_ED25519, Signer, is_party_id, is_system_id, issuer_of
from attest.formats.strict_json import closed, integer, nullable, parse_json, text, write_json

PLAN: Final = "attest-sample-plan/1"
BEACON: Final = "attest-beacon/1"
RESULT: Final = "sample-result/1"
CONTENT_TYPE: Final = "application/vnd.attest.sample-result+cbor"
TYP: Final = "application/vnd.attest.sample-result+cose"
MAX_PLAN: Final = 1 << 20  # bytes; cosignatures by many witnesses
MAX_BEACON: Final = 1 << 16
MAX_RESULT: Final = 16 << 20
MAX_SAMPLE: Final = 100_000
MAX_POPULATION: Final = 10**9
MILLION: Final = 1_000_000

# direction: what a draw that is in order is called
GOOD: Final = {"forward": "held", "backward": "opened", "erased": "absent"}
FAILED: Final = (
    "unanswered",  # no answer, or none that can be read
    "refuted",  # the answer does not verify
    "other",  # it answers for another row than the one drawn
    "not-held",  # forward: the system's map has no live entry
    "changed-since",  # what is shown was set after the plan's checkpoint
    "not-erased",  # erased: the map says otherwise
    "missing",  # backward: opened, but the auditor did not find the record on inspection
    "present",  # erased: the auditor found it on inspection
    "not-inspected",  # erased: the auditor has not filled in what the inspection showed
)

_WORD: Final = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Chain:
    """The parameters of a drand chain, which its hash binds: when each round's value appears."""

    hash: Hash
    public_key: bytes
    genesis_time: int  # POSIX seconds
    period: int  # seconds
    group_hash: bytes
    beacon_id: str

    def __post_init__(self) -> None:
        """Check them against the hash. Raises `Refuted`: `sample/chain`."""
        own = b"" if self.beacon_id == "default" else self.beacon_id.encode()
        front = self.period.to_bytes(4, "big") + self.genesis_time.to_bytes(8, "big")
        if sha256(front + self.public_key + self.group_hash + own) != self.hash:
            raise Refuted("sample/chain", f"these are not the parameters of drand chain {self.hash.hex()}")

    @classmethod
    def from_json(cls, found: Any, where: str) -> Self:
        """Read the JSON value. Raises `Malformed`: `json/field`, `sample/field`; `Refuted`: `sample/chain`."""
        fields = closed(found, where, _CHAIN)
        if not 0 < fields["period"] < 2**32 or fields["genesis_time"] > 2**40:
            raise Malformed("sample/field", f"{where}: period or genesis_time out of range")
        return cls(**fields)

    @classmethod
    def of_drand(cls, encoded: bytes) -> Self:
        """Read what a drand node answers under `/<chain hash>/info`."""
        found = parse_json(encoded, MAX_BEACON)
        try:
            return cls.from_json(
                {
                    "hash": found["hash"],
                    "public_key": found["public_key"],
                    "genesis_time": found["genesis_time"],
                    "period": found["period"],
                    "group_hash": found["groupHash"],
                    "beacon_id": found["metadata"]["beaconID"],
                },
                "chain",
            )
        except (KeyError, TypeError):
            raise Malformed("sample/field", "want the chain information of drand, as its API gives it") from None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value."""
        return {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(self).items()}

    def time_of(self, number: int) -> int:
        """Return when the value of round `number`, from 1, appears: POSIX seconds."""
        return self.genesis_time + (number - 1) * self.period

    def round_after(self, time: int) -> int:
        """Return the first round whose value appears at `time` or later."""
        return max(1, -(-(time - self.genesis_time) // self.period) + 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be drawn, how many, and by which round of which beacon: fixed before the beacon's value is known."""

    made_at: int  # POSIX seconds; the auditor's word
    checkpoint: SignedCheckpoint
    holder: str
    system: str
    direction: str  # forward, backward or erased
    count: int  # of the population
    root: Hash  # of the frame, or of the rows drawn from
    tolerable_ppm: int
    confidence_ppm: int
    recall_ppm: int
    allowed: int  # failures
    size: int  # of the sample
    source: str  # of the beacon; `drand:<chain hash>` if there is a chain
    round: int
    chain: Chain | None
    encoded: bytes = b""

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a plan.

        Raises:
            Malformed: `sample/format`, `sample/field`, `json/…`, `encoding/…`, `note/…`, `checkpoint/…`.
            Refuted: `sample/chain`.
        """
        found = _read(encoded, MAX_PLAN, PLAN, _PLAN)
        population, target, beacon = found["population"], found["target"], found["beacon"]
        plan = cls(
            found["made_at"],
            SignedCheckpoint.parse(found["checkpoint"]),
            found["holder"],
            found["system"],
            found["direction"],
            population["count"],
            population["root"],
            target["tolerable_ppm"],
            target["confidence_ppm"],
            target["recall_ppm"],
            target["allowed"],
            found["size"],
            beacon["source"],
            beacon["round"],
            beacon["chain"],
            encoded,
        )
        plan._check()
        return plan

    def _check(self) -> None:
        """Raises `Malformed`: `sample/field`."""
        chain = self.chain
        wrong = next(
            (
                name
                for name, fits in (
                    ("holder", is_party_id(self.holder)),
                    ("system", is_system_id(self.system)),
                    ("direction", self.direction in GOOD),
                    ("population", 1 <= self.count <= MAX_POPULATION),
                    ("tolerable_ppm", 0 < self.tolerable_ppm < MILLION),
                    ("confidence_ppm", MILLION // 2 <= self.confidence_ppm < MILLION),
                    ("recall_ppm", 0 < self.recall_ppm <= MILLION),
                    ("size", 1 <= self.size <= min(self.count, MAX_SAMPLE)),
                    ("allowed", self.allowed < self.size),
                    ("beacon.source", bool(_WORD.fullmatch(self.source))),
                    ("beacon.round", self.round >= 1),
                    ("beacon.chain", chain is None or self.source == f"drand:{chain.hash.hex()}"),
                    ("made_at", chain is None or self.made_at < chain.time_of(self.round)),
                )
                if not fits
            ),
            None,
        )
        if wrong is not None:
            raise Malformed("sample/field", f"plan: {wrong} is not as docs/spec/sample.md wants it")

    @property
    def digest(self) -> Hash:
        """SHA-256 of the file: what whoever shall believe in the plan has to have before the round."""
        return sha256(self.encoded)

    def write(self) -> Self:
        """Return this plan with its file in `encoded`. Raises as `parse`."""
        return self.parse(
            write_json(
                {
                    "format": PLAN,
                    "made_at": self.made_at,
                    "checkpoint": self.checkpoint.encode().decode(),
                    "holder": self.holder,
                    "system": self.system,
                    "direction": self.direction,
                    "population": {"count": self.count, "root": self.root.hex()},
                    "target": {
                        "tolerable_ppm": self.tolerable_ppm,
                        "confidence_ppm": self.confidence_ppm,
                        "recall_ppm": self.recall_ppm,
                        "allowed": self.allowed,
                    },
                    "size": self.size,
                    "beacon": {
                        "source": self.source,
                        "round": self.round,
                        "chain": None if self.chain is None else self.chain.to_json(),
                    },
                }
            )
        )

    def check_beacon(self, beacon: "Beacon") -> None:
        """Check that this is the value the plan waits for.

        Raises:
            Refuted: `sample/round`, of another source or round; `sample/value`, a drand value is the SHA-256 of its
                signature, and this one is not. Whether that signature is the chain's is for a drand client to check.
        """
        if (beacon.source, beacon.round) != (self.source, self.round):
            raise Refuted(
                "sample/round",
                f"round {beacon.round} of {beacon.source}, the plan says round {self.round} of {self.source}",
            )
        if self.chain is not None and (beacon.signature is None or sha256(beacon.signature) != beacon.value):
            raise Refuted("sample/value", "the value is not the SHA-256 of a signature that comes with it")


@dataclass(frozen=True, slots=True)
class Beacon:
    """What a public beacon said in one round."""

    source: str
    round: int
    value: bytes  # 32 to 64 bytes
    signature: bytes | None
    encoded: bytes

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read the file. Raises `Malformed`: `sample/format`, `sample/field`, `json/…`, `encoding/…`."""
        found = _read(encoded, MAX_BEACON, BEACON, _BEACON)
        if not 32 <= len(found["value"]) <= 64 or not _WORD.fullmatch(found["source"]):
            raise Malformed("sample/field", "beacon: want a value of 32 to 64 bytes and a source without spaces")
        return cls(found["source"], found["round"], found["value"], found["signature"], encoded)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one draw."""

    position: int  # in the population
    outcome: str
    evidence: Hash | None  # SHA-256 of the answer's file; None without one


@dataclass(frozen=True, slots=True)
class Result:
    """What an auditor found, under their signature. It names no person: of the answers it has digests only."""

    auditor: str
    issued_at: int
    kid: Hash
    plan: Plan
    beacon: Beacon
    policy: Hash  # SHA-256 of the policy file under which the answers were judged
    answers: tuple[Answer, ...]  # in the order drawn
    failures: int
    most_wrong: int  # in the population, at the plan's confidence
    encoded: bytes

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a signed result; `verify_signature` checks who signed it.

        Raises:
            Malformed: `sample/format`, `sample/field`, `cbor/…`, and as `Plan.parse` and `Beacon.parse`.
        """
        protected, payload, _ = _open(encoded)
        header, found = decode_cbor(protected), decode_cbor(payload)
        if not isinstance(header, dict) or header.keys() != {1, 3, 4, 15, 16}:
            raise Malformed("sample/format", "want protected labels 1, 3, 4, 15, 16 and no other")
        claims = header[15]
        if (header[1], header[3], header[16]) != (ALG_ED25519, CONTENT_TYPE, TYP):
            raise Malformed("sample/format", f"want alg -19, content type {CONTENT_TYPE} and typ {TYP}")
        if not isinstance(claims, dict) or claims.keys() != {1, 2, 3, 6} or not _is_hash(header[4]):
            raise Malformed("sample/format", "want the claims iss, sub, aud and iat, and a kid of 32 bytes")
        if not isinstance(found, dict) or found.keys() != _RESULT.keys() or found["kind"] != RESULT:
            raise Malformed("sample/format", f"want a payload of {RESULT} with exactly its fields")
        for name, fits in _RESULT.items():
            if not fits(found[name]):
                raise Malformed("sample/field", f"result: {name} is not as docs/spec/sample.md wants it")
        plan, issuer = Plan.parse(found["plan"]), claims[1]
        if not isinstance(issuer, str) or not is_party_id(auditor := issuer.removeprefix("https://")):
            raise Malformed("sample/field", "result: iss is not https:// and a party id")
        expected = {1: issuer_of(auditor), 2: issuer_of(plan.holder), 3: plan.checkpoint.checkpoint.origin}
        if {**claims, **expected} != claims or not _is_uint(claims[6]):
            raise Malformed("sample/field", "result: sub and aud are not the holder and the log of the plan")
        return cls(
            auditor,
            claims[6],
            header[4],
            plan,
            Beacon.parse(found["beacon"]),
            found["policy"],
            tuple(Answer(*answer) for answer in found["answers"]),
            found["failures"],
            found["most_wrong"],
            encoded,
        )

    def verify_signature(self, key: bytes) -> None:
        """Check the signature under the auditor's public key.

        Raises:
            Untrusted: `sample/key`, another key signed.
            Malformed: `key/…`; Refuted: `signature/invalid`.
        """
        keys.check_public_key(key)
        if self.kid != keys.thumbprint(key):
            raise Untrusted("sample/key", f"signed by key {self.kid.hex()}, not by the auditor's key that was given")
        protected, payload, signature = _open(self.encoded)
        keys.verify_ed25519(key, _sig_structure(protected, payload), signature)


def sign_result(
    key: Signer,
    auditor: str,
    *,
    issued_at: int,
    plan: Plan,
    beacon: Beacon,
    policy: Hash,
    answers: tuple[Answer, ...],
    failures: int,
    most_wrong: int,
) -> Result:
    """Sign what was found. The result parses, or this raises what `Result.parse` raises."""
    claims: dict[int, Value] = {
        1: issuer_of(auditor),
        2: issuer_of(plan.holder),
        3: plan.checkpoint.checkpoint.origin,
        6: issued_at,
    }
    protected = encode_cbor({1: ALG_ED25519, 3: CONTENT_TYPE, 4: keys.thumbprint(key.public), 15: claims, 16: TYP})
    payload = encode_cbor(
        {
            "kind": RESULT,
            "plan": plan.encoded,
            "beacon": beacon.encoded,
            "policy": policy,
            "answers": [[answer.position, answer.outcome, answer.evidence] for answer in answers],
            "failures": failures,
            "most_wrong": most_wrong,
        }
    )
    signature = key.sign(_sig_structure(protected, payload))
    return Result.parse(b"\xd2" + encode_cbor([protected, {}, payload, signature]))


def _open(encoded: bytes) -> tuple[bytes, bytes, bytes]:
    if len(encoded) > MAX_RESULT:
        raise Malformed("sample/format", f"{len(encoded)} bytes, at most {MAX_RESULT} are read")
    if encoded[:2] != b"\xd2\x84":
        raise Malformed("sample/format", "want a tagged COSE_Sign1 (d2 84 …)")
    protected, unprotected, payload, signature = decode_cbor(encoded[1:])
    if not isinstance(protected, bytes) or unprotected != {} or not isinstance(payload, bytes):
        raise Malformed("sample/format", "want [protected bstr, empty map, attached payload bstr, signature]")
    if not isinstance(signature, bytes) or len(signature) != keys.ED25519_SIGNATURE:
        raise Malformed("sample/format", "want a signature of 64 bytes")
    return protected, payload, signature


def _sig_structure(protected: bytes, payload: bytes) -> bytes:
    return encode_cbor(["Signature1", protected, b"", payload])


def _read(encoded: bytes, limit: int, form: str, shape: Any) -> dict[str, Any]:
    value = parse_json(encoded, limit)
    if not isinstance(value, dict) or value.get("format") != form:
        raise Malformed("sample/format", f"want {form}")
    return closed(value, form, shape)


def _hex(size: int | None = None) -> Callable[[Any, str], bytes]:
    return lambda found, where: parse_hex(text(found, where), size)


def _is_hash(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) == 32


def _is_uint(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_answers(value: Any) -> bool:
    outcomes = {*GOOD.values(), *FAILED}
    return (
        isinstance(value, list)
        and 1 <= len(value) <= MAX_SAMPLE
        and all(
            isinstance(answer, list)
            and len(answer) == 3
            and _is_uint(answer[0])
            and isinstance(answer[1], str)
            and answer[1] in outcomes
            and (answer[2] is None or _is_hash(answer[2]))
            for answer in value
        )
    )


_CHAIN = {
    "hash": _hex(32),
    "public_key": _hex(),
    "genesis_time": integer,
    "period": integer,
    "group_hash": _hex(),
    "beacon_id": text,
}
_PLAN = {
    "format": text,
    "made_at": integer,
    "checkpoint": text,
    "holder": text,
    "system": text,
    "direction": text,
    "population": lambda found, where: closed(found, where, {"count": integer, "root": _hex(32)}),
    "target": lambda found, where: closed(
        found,
        where,
        {"tolerable_ppm": integer, "confidence_ppm": integer, "recall_ppm": integer, "allowed": integer},
    ),
    "size": integer,
    "beacon": lambda found, where: closed(
        found, where, {"source": text, "round": integer, "chain": nullable(Chain.from_json)}
    ),
}
_BEACON = {"format": text, "source": text, "round": integer, "value": _hex(), "signature": nullable(_hex())}
_RESULT: dict[str, Callable[[Any], bool]] = {
    "kind": lambda value: isinstance(value, str),
    "plan": lambda value: isinstance(value, bytes),
    "beacon": lambda value: isinstance(value, bytes),
    "policy": _is_hash,
    "answers": _are_answers,
    "failures": _is_uint,
    "most_wrong": _is_uint,
}
