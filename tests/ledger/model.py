"""What statements, rules, heads and transition proofs are, written down once more: slow, in plain dictionaries.

Nothing here comes from `attest`: CBOR is cbor2's, signatures are `cryptography`'s, trees are `tests.reference`'s.
"""

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.reference import MTH, node, pruned, split

ZERO: Final = bytes(32)
CONTENT_TYPE: Final = "application/vnd.attest.statement+cbor"
TYP: Final = "application/scitt-statement+cose"
RULES: Final = "attest-rules/1"


# --- bytes ---


def det(value: Any) -> bytes:
    """Encode as RFC 8949 section 4.2.1 wants it: cbor2 writes maps in the order it is given."""
    return cbor2.dumps(_ordered(value))


def _ordered(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_ordered(member) for member in value]
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=cbor2.dumps)}
    return value


def sha256(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def label(name: str, *parts: bytes) -> bytes:
    text = f"attest/{name}/v1".encode()
    return sha256(bytes([len(text)]) + text + b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry)


class Key:
    """An Ed25519 key made from a name."""

    def __init__(self, name: str) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(sha256(b"attest test key " + name.encode()))
        self.public = self.private.public_key().public_bytes_raw()
        self.kid = thumbprint(self.public)

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


def thumbprint(public: bytes) -> bytes:
    """RFC 9679: SHA-256 of the COSE_Key with only kty, crv and x."""
    return sha256(det({1: 1, -1: 6, -2: public}))


def to_be_signed(protected: bytes, payload: bytes) -> bytes:
    return det(["Signature1", protected, b"", payload])


def claims(issuer: str, stream: str, audience: str, issued_at: int) -> dict[int, Any]:
    return {1: issuer, 2: stream, 3: audience, 6: issued_at}


def header(kid: bytes, claims: Mapping[int, Any]) -> dict[int, Any]:
    return {1: -19, 3: CONTENT_TYPE, 4: kid, 15: dict(claims), 16: TYP}


def sign(key: Key, protected: Any, payload: Any, *, unprotected: Any = None, tag: bytes = b"\xd2") -> bytes:
    """Write a COSE_Sign1; bytes are taken as they are, so that they can be wrong."""
    front = protected if isinstance(protected, bytes) else det(protected)
    body = payload if isinstance(payload, bytes) else det(payload)
    return tag + det([front, {} if unprotected is None else unprotected, body, key.sign(to_be_signed(front, body))])


def possession(origin: str, party: str, payload: Mapping[str, Any]) -> bytes:
    """What a new key signs: the payload without seq, identity check, and the proofs."""
    fields = {name: value for name, value in payload.items() if name not in ("seq", "about", "ref", "check")}
    name = "keys" if payload["kind"] == "party/1" else "add"
    fields[name] = [{"key": key["key"], "use": key["use"]} for key in payload[name]]
    return label("possession", origin.encode(), party.encode(), det(fields))


def pack(status: int, generation: int, version: int, position: int, commitment: bytes) -> bytes:
    numbers = ((status, 1), (generation, 4), (version, 4), (position, 8))
    return b"".join(number.to_bytes(size, "big") for number, size in numbers) + commitment


def map_key(index: bytes) -> bytes:
    return label("key", index)


def row_file(rows: Mapping[bytes, bytes]) -> bytes:
    return b"".join(index + rows[index] for index in sorted(rows))


def row_root(encoded: bytes) -> bytes:
    return MTH([encoded[at : at + 64] for at in range(0, len(encoded), 64)])


def frontier(entries: list[bytes]) -> list[bytes]:
    """The roots of the perfect subtrees that a tree consists of, the largest first."""
    if not entries:
        return []
    size = len(entries)
    if size & (size - 1) == 0:
        return [MTH(entries)]
    return [MTH(entries[: split(size)]), *frontier(entries[split(size) :])]


# --- the rules ---


class Refused(Exception):
    """A statement may not stand where it was offered."""


def need(condition: object, code: str) -> None:
    if not condition:
        raise Refused(code)


class Model:
    """The state after some entries. `take` adds one more, or raises `Refused` and changes nothing."""

    def __init__(self, rules_digest: bytes) -> None:
        self.rules_digest = rules_digest
        self.origin = ""
        self.limits: dict[str, int] = {}
        self.entries: list[bytes] = []
        self.parties: dict[str, dict[str, Any]] = {}
        self.systems: dict[tuple[str, str], dict[str, Any]] = {}
        self.descriptors: dict[tuple[str, str], dict[str, Any]] = {}
        self.states: dict[tuple[str, str], dict[bytes, bytes]] = {}

    def copy(self) -> "Model":
        other = Model(self.rules_digest)
        other.origin, other.limits = self.origin, self.limits
        other.entries = list(self.entries)
        for name in ("parties", "systems", "descriptors"):
            setattr(other, name, copy.deepcopy(getattr(self, name)))
        other.states = {name: dict(states) for name, states in self.states.items()}
        return other

    def take(self, entry: bytes, rows: bytes | None = None) -> None:
        after = self.copy()
        after._take(entry, rows)
        after.entries.append(entry)
        self.__dict__ = after.__dict__

    # Everything below may leave a half-changed copy behind when it refuses.

    def _take(self, entry: bytes, rows: bytes | None) -> None:
        position = len(self.entries)
        protected, _, body, signature = cbor2.loads(entry).value
        head = cbor2.loads(protected)
        payload = cbor2.loads(body)
        iss, sub, aud, iat = (head[15][claim] for claim in (1, 2, 3, 6))
        kind, about = payload["kind"], payload.get("about")
        if kind == "log/1":
            self._begin(position, entry, head, payload)
            return
        need(position > 0, "rule/genesis")
        # An epoch commits the state before itself.
        root = self.top_root() if kind == "epoch/1" else ZERO
        need(len(entry) <= self.limits["statement"], "statement/size")
        need(aud == self.origin, "rule/audience")
        log = self.parties[self.origin]
        need(log["rules"] == {"name": RULES, "digest": self.rules_digest}, "rule/unknown-rules")
        # Behind the end only the epoch that commits it, and that one only.
        ends = [at for at, before in enumerate(self.entries) if self._ends_log(before)]
        need(not ends or (kind == "epoch/1" and ends == [position - 1]), "rule/log-ended")

        # Who signs, with which key, in which stream.
        issuers = [party for party in self.parties if "https://" + party == iss]
        need(issuers, "rule/issuer")
        [who] = issuers
        issuer = self.parties[who]
        need(issuer["status"] == 1 or who == self.origin, "rule/party-ended")
        recovery, own = sub == iss + "#recovery", sub == iss
        keys = [key for key in issuer["keys"] if thumbprint(key["key"]) == head[4]]
        need(keys, "rule/key")
        [key] = keys
        need(key["use"] == ("recover" if recovery else "sign"), "rule/key-use")
        need(key["from"] <= position and (key["until"] is None or position < key["until"]), "rule/key-interval")
        try:
            Ed25519PublicKey.from_public_bytes(key["key"]).verify(signature, to_be_signed(protected, body))
        except InvalidSignature:
            raise Refused("signature/invalid") from None

        by_log, in_system = who == self.origin, kind in ("hold/1", "tombstone/1")
        self._place(who, issuer["role"], kind, sub, about)

        # The seq, and the registers.
        need(in_system is False or (who, sub) in self.systems, "rule/system")
        if in_system:
            counter, field = self.systems[who, sub], "entries"
        else:
            counter, field = issuer, "own" if own else "recovery"
        need(payload["seq"] == counter[field], "rule/seq")
        if not in_system:
            counter[field] += 1
        latest_before = log["epoch"]["latest"]
        log["epoch"]["latest"] = max(latest_before, iat, payload.get("erased_at", 0))
        self._belongs(issuer, position, entry)
        if about is not None and kind != "party/1":
            self._belongs(self.parties[about], position, entry)

        target = self.parties[about] if about is not None and kind != "party/1" else issuer
        need(target["status"] == 1 or kind == "epoch/1", "rule/party-ended")
        if kind == "policy/1":
            log["rules"] = {"name": payload["name"], "digest": payload["digest"]}
        elif kind == "epoch/1":
            self._epoch(payload, iat, latest_before, root)
        elif kind == "party/1":
            self._admit(position, entry, payload, about)
        elif kind == "keys/1":
            self._keys(target, position, payload, by_log=by_log, recovery=recovery)
        elif kind == "party-end/1":
            need(by_log or recovery, "rule/key-use")
            target["status"] = 2
            if target is log:
                log["keys"][0]["until"] = position + 2
        elif kind == "systems/1":
            for descriptor in payload["systems"]:
                self._system(issuer, descriptor)
        else:
            self._rows((who, sub), position, entry, payload, rows)

    def _ends_log(self, entry: bytes) -> bool:
        protected, _, body, _ = cbor2.loads(entry).value
        claims, payload = cbor2.loads(protected)[15], cbor2.loads(body)
        return payload["kind"] == "party-end/1" and "about" not in payload and claims[1] == "https://" + self.origin

    def _place(self, who: str, role: str, kind: str, sub: str, about: str | None) -> None:
        """Which kinds belong where, and whom they are about."""
        recovery, own = sub == f"https://{who}#recovery", sub == f"https://{who}"
        by_log = who == self.origin
        need((kind in ("hold/1", "tombstone/1")) == (not own and not recovery), "rule/stream")
        need(not recovery or kind in ("keys/1", "party-end/1"), "rule/stream")
        if kind in ("party/1", "policy/1", "epoch/1"):
            need(by_log, "rule/role")
        if kind in ("systems/1", "hold/1", "tombstone/1"):
            need(role == "holder", "rule/role")
        need(about is None or by_log, "rule/about")
        if by_log:
            need(about is not None or kind not in ("party/1", "keys/1"), "rule/about")
            need(about is None or kind in ("party/1", "keys/1", "party-end/1"), "rule/about")
            need(about is None or kind == "party/1" or (about in self.parties and about != who), "rule/about")

    def _begin(self, position: int, entry: bytes, head: Any, log: Any) -> None:
        origin = log["origin"]
        own = "https://" + origin
        need(position == 0 and log["seq"] == 0 and "about" not in log, "rule/genesis")
        need(head[15][1] == own and head[15][2] == own and head[15][3] == origin, "rule/genesis")
        separate = {log["keys"][name] for name in ("statements", "receipts", "note_ed25519")}
        need(len(separate) == 3, "rule/genesis")
        statements = log["keys"]["statements"]
        need(head[4] == thumbprint(statements), "rule/key")
        self.origin, self.limits = origin, log["limits"]
        self.parties[origin] = self._new_party(origin, "log", 0, [{"key": statements, "use": "sign", "from": 0}])
        self.parties[origin] |= {
            "own": 1,
            "epoch": {"number": 0, "time": 0, "latest": head[15][6]},
            "rules": {"name": RULES, "digest": self.rules_digest},
        }
        self._belongs(self.parties[origin], 0, entry)

    def _new_party(self, party: str, role: str, position: int, keys: list[Any]) -> dict[str, Any]:
        return {
            "party": party, "role": role, "status": 1, "admitted": position, "own": 0, "recovery": 0,
            "keys": [{"until": None, **key} for key in keys], "vrf": [], "systems": {"count": 0, "root": ZERO},
            "entries": 0, "chain": ZERO, "other": ZERO,
        }  # fmt: skip

    def _belongs(self, head: dict[str, Any], position: int, entry: bytes) -> None:
        head["entries"] += 1
        head["chain"] = label("chain", head["chain"], position.to_bytes(8, "big"), leaf(entry))

    def _epoch(self, epoch: Any, iat: int, latest: int, root: bytes) -> None:
        log = self.parties[self.origin]
        need(epoch["number"] == log["epoch"]["number"], "rule/epoch-number")
        need(epoch["time"] == iat and epoch["time"] > log["epoch"]["time"], "rule/epoch-time")
        need(epoch["time"] >= latest - self.limits["skew"], "rule/epoch-time")
        need(epoch["root"] == root, "rule/epoch-root")
        log["epoch"] = {"number": epoch["number"] + 1, "time": epoch["time"], "latest": 0}

    def _admit(self, position: int, entry: bytes, party: Any, about: str) -> None:
        name = party["id"]
        need(name == about, "rule/about")
        need(name not in self.parties, "rule/party-exists")
        need(len(party["vrf"]) == (1 if party["role"] == "holder" else 0), "rule/vrf")
        need({key["use"] for key in party["keys"]} == {"sign", "recover"}, "rule/keys")
        self.parties[name] = self._new_party(name, party["role"], position, [])
        self.parties[name]["vrf"] = [dict(series) for series in party["vrf"]]
        self._add_keys(self.parties[name], position, party, party["keys"])
        self._belongs(self.parties[name], position, entry)

    def _add_keys(self, head: dict[str, Any], position: int, payload: Any, new_keys: list[Any]) -> None:
        message = possession(self.origin, head["party"], payload)
        for new in new_keys:
            need(all(new["key"] != key["key"] for key in head["keys"]), "rule/keys")
            try:
                Ed25519PublicKey.from_public_bytes(new["key"]).verify(new["proof"], message)
            except InvalidSignature:
                raise Refused("rule/possession") from None
            head["keys"].append({"key": new["key"], "use": new["use"], "from": position + 1, "until": None})
        need(len(head["keys"]) <= 64, "rule/keys")

    def _keys(self, target: dict[str, Any], position: int, change: Any, *, by_log: bool, recovery: bool) -> None:
        need(not by_log or not change["add"], "rule/keys")
        need(recovery or all(new["use"] == "sign" for new in change["add"]), "rule/key-use")
        self._add_keys(target, position, change, change["add"])
        for kid in change["revoke"]:
            found = [key for key in target["keys"] if thumbprint(key["key"]) == kid and key["until"] is None]
            need(found, "rule/keys")
            need(found[0]["use"] == "sign" or recovery or by_log, "rule/key-use")
            found[0]["until"] = position + 1
        for use in ("sign", "recover"):
            need(any(key["use"] == use and key["until"] is None for key in target["keys"]), "rule/last-key")

    def _system(self, issuer: dict[str, Any], new: dict[str, Any]) -> None:
        name = (issuer["party"], new["id"])
        old, head = self.descriptors.get(name), self.systems.get(name)
        if old is None or head is None:
            need(not new["retired"], "rule/system-retired")
            issuer["systems"]["count"] += 1
            head = {
                "system": new["id"], "status": 1, "descriptor": ZERO, "root": ZERO, "held": 0, "erased": 0,
                "reheld": 0, "entries": 0, "chain": ZERO, "other": ZERO,
            }  # fmt: skip
            self.systems[name], self.states[name] = head, {}
        else:
            need(not old["retired"], "rule/system-retired")
            need(old["kind"] == new["kind"] and old["locators"] == new["locators"], "rule/system-fixed")
            if old["backup_cycle"] is not None:
                need(new["backup_cycle"] is not None, "rule/backup-cycle")
                need(new["backup_cycle"] <= old["backup_cycle"], "rule/backup-cycle")
            need(not new["retired"] or self._count(name, 1) == 0, "rule/still-held")
            head["status"] = 2 if new["retired"] else 1
        head["descriptor"] = label("descriptor", det(new))
        self.descriptors[name] = new

    def _count(self, name: tuple[str, str], status: int) -> int:
        return sum(state[0] == status for state in self.states[name].values())

    def _rows(self, name: tuple[str, str], position: int, entry: bytes, payload: Any, rows: bytes | None) -> None:
        head, states = self.systems[name], self.states[name]
        need(head["status"] == 1, "rule/system-retired")
        need(payload["count"] <= self.limits["rows"], "rows/size")
        need(rows is not None, "rows/missing")
        assert rows is not None
        indexes = [rows[at : at + 32] for at in range(0, len(rows), 64)]
        need(indexes == sorted(set(indexes)), "rows/order")
        need(len(rows) == 64 * payload["count"], "rows/count")
        need(row_root(rows) == payload["root"], "rows/root")
        for at in range(0, len(rows), 64):
            key, new = map_key(rows[at : at + 32]), rows[at + 32 : at + 64]
            old = states.get(key, bytes(49))
            status, generation, version, held = old[0], old[1:5], old[5:9], old[17:]
            again, newer = int.from_bytes(generation, "big"), int.from_bytes(version, "big")
            if payload["kind"] == "hold/1":
                need(status != 1 or held != new, "rule/already-held")
                head["reheld"] += status == 2
                # A version within the generation, or a new generation.
                states[key] = pack(1, again, newer + 1, position, new) if status == 1 else pack(
                    1, again + 1, 1, position, new
                )  # fmt: skip
            else:
                need(status == 1, "rule/not-held")
                need(held == new, "rule/commitment-mismatch")
                states[key] = pack(2, again, newer, position, new)
        head["held"], head["erased"] = self._count(name, 1), self._count(name, 2)
        self._belongs(head, position, entry)
        head["root"] = node(self.bindings(name))

    # --- maps, from scratch ---

    def bindings(self, name: tuple[str, str]) -> dict[bytes, bytes]:
        return {key: label("state", state) for key, state in self.states.get(name, {}).items()}

    def system_map(self, party: str) -> dict[bytes, bytes]:
        return {
            label("system-key", system.encode()): label("system-head", det(head))
            for (owner, system), head in self.systems.items()
            if owner == party
        }

    def head(self, party: str) -> bytes:
        """The encoded head of a party or the log."""
        head = self.parties[party]
        systems = {"count": head["systems"]["count"], "root": node(self.system_map(party))}
        return det({**head, "systems": systems})

    def top_map(self) -> dict[bytes, bytes]:
        return {label("top-key", party.encode()): label("party-head", self.head(party)) for party in self.parties}

    def top_root(self) -> bytes:
        return node(self.top_map())


# --- transition proofs ---


def prove(
    before: Model, after: Model, previous: bytes | None, entries: list[bytes], files: Mapping[bytes, bytes]
) -> dict[str, Any]:
    """Write the proof of one epoch as a map, whether the rules accept its entries or not.

    Args:
        before: the state that the previous epoch entry commits: all entries but that one.
        after: the state that this epoch's entry is said to commit.
        previous: the previous epoch entry.
        files: row files by root.
    """
    origin = before.origin or "unknown"
    parties: set[str] = set() if previous is None else {origin}
    rows: dict[tuple[str, str], set[bytes]] = {}
    described: set[tuple[str, str]] = set()
    for entry in entries[:-1]:
        protected, _, body, _ = cbor2.loads(entry).value
        head, payload = cbor2.loads(protected), cbor2.loads(body)
        party, stream = head[15][1].removeprefix("https://"), head[15][2]
        parties |= {party, before.origin or payload.get("origin", origin)}
        parties |= {payload["about"]} if "about" in payload else set()
        parties |= {payload["id"]} if payload["kind"] == "party/1" else set()
        if payload["kind"] in ("hold/1", "tombstone/1"):
            file = files.get(payload["root"], b"")
            keys = {map_key(file[at : at + 32]) for at in range(0, len(file), 64)}
            rows.setdefault((party, stream), set()).update(keys)
        if payload["kind"] == "systems/1":
            described |= {(party, descriptor["id"]) for descriptor in payload["systems"]}
    touched = set(rows) | described
    holders = []
    for party in sorted({party for party, _ in touched}):
        names = sorted(name for name in touched if name[0] == party)
        wanted = [label("system-key", system.encode()) for _, system in names]
        shown = [_prove_system(before, after, name, rows.get(name), described) for name in names]
        holders.append({"party": party, "map": pruned(before.system_map(party), wanted), "systems": shown})
    committed = before.entries if previous is None else [*before.entries, previous]
    return {
        "format": "attest-transition/1",
        "size": len(committed),
        "frontier": frontier(committed),
        "previous": previous,
        "entries": entries,
        "top": pruned(before.top_map(), [label("top-key", party.encode()) for party in parties]),
        "heads": [before.head(party) for party in sorted(parties) if party in before.parties],
        "after": [after.head(party) for party in sorted(parties) if party in after.parties],
        "holders": holders,
    }


def _prove_system(
    before: Model, after: Model, name: tuple[str, str], keys: set[bytes] | None, described: set[tuple[str, str]]
) -> dict[str, Any]:
    head, new = before.systems.get(name), after.systems.get(name)
    states, bindings = before.states.get(name, {}), before.bindings(name)
    return {
        "system": name[1],
        "head": None if head is None else det(head),
        "descriptor": det(before.descriptors[name]) if head is not None and name in described else None,
        "map": pruned(bindings, sorted(keys or ())),
        "states": b"".join(states[key] for key in sorted(keys or ()) if key in states),
        "after": None if new is None else det(new),
    }
