"""Write tests/vectors/{statements,rows,state,transition}: `python -m tests.vectors.generate_ledger`.

Expected values come from `tests.ledger.model` and `tests.reference`, or stand here. A test compares the files with what
this writes. Heads commit the digest of the rule set: when it changes, so do state/heads.json and transition/.
"""

import base64
import json
from pathlib import Path
from typing import Any

import cbor2

from attest.ledger.rules import RULES_DIGEST
from tests import reference
from tests.ledger import model
from tests.ledger.log import ORIGIN, START, Log, descriptor, log_fields, row_of, rows_of
from tests.ledger.model import Key
from tests.ledger.samples import ACME, BAD_FIELDS, ENVELOPES, KEY, OTHER_CBOR, envelope, full, put, write
from tests.witness import lies

VECTORS = Path(__file__).parent
BETA, COURT = "beta.example", "court.example"


def plain(value: Any) -> Any:
    """Turn bytes into hex, at any depth."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    return value


# --- statements ---


def parsed(desc: str, entry: bytes, public: bytes) -> dict[str, Any]:
    protected, _, body, _ = cbor2.loads(entry).value
    header, payload = cbor2.loads(protected), cbor2.loads(body)
    claims = header[15]
    return {
        "desc": desc,
        "entry": entry,
        "issuer": claims[1],
        "stream": claims[2],
        "audience": claims[3],
        "issued_at": claims[6],
        "kid": header[4],
        "seq": payload.pop("seq"),
        "about": payload.pop("about", None),
        "ref": payload.pop("ref", []),
        "payload": payload,
        "leaf": model.leaf(entry),
        "entry_id": base64.urlsafe_b64encode(model.leaf(entry)).rstrip(b"=").decode(),
        "to_be_signed": model.to_be_signed(protected, body),
        "public": public,
    }


def bare(kind: str) -> dict[str, Any]:
    """A payload without its optional parts."""
    return {name: value for name, value in full(kind).items() if name not in ("about", "ref")}


KINDS = ("log/1", "policy/1", "party/1", "keys/1", "party-end/1", "systems/1", "hold/1", "tombstone/1", "epoch/1")


def statements_good() -> Any:
    cases = []
    for kind in KINDS:
        cases.append(parsed(kind, write(bare(kind)), KEY.public))
        cases.append(parsed(f"{kind} with about and ref", write(full(kind)), KEY.public))
    least = {"retention": None, "backup_cycle": None, "processor_log": None}
    more = [
        ("log/1 without predecessor", {**bare("log/1"), "predecessor": None}),
        (
            "the widest limits",
            put(
                bare("log/1"), ("limits",), dict(zip(log_fields()["limits"], (2**20, 16384, 3600, 86400), strict=True))
            ),
        ),
        ("a name of 200 characters beyond the basic plane", {**bare("party/1"), "name": "\U0001f600" * 200}),
        ("an auditor without VRF series", {**bare("party/1"), "role": "auditor", "vrf": []}),
        ("keys/1 that only adds", {**bare("keys/1"), "revoke": []}),
        ("keys/1 that only revokes", {**bare("keys/1"), "add": []}),
        ("a system of which little is said", {**bare("systems/1"), "systems": [descriptor("db", **least)]}),
        ("three systems", {**bare("systems/1"), "systems": [descriptor(name) for name in ("a", "a-b", "a.b")]}),
        ("a seq of 2^53 - 1", {**bare("hold/1"), "seq": 2**53 - 1}),
        ("sixteen refs", {**full("hold/1"), "ref": [bytes([n] * 32) for n in range(16)]}),
    ]
    cases += [parsed(desc, write(payload), KEY.public) for desc, payload in more]
    cases.append(parsed("a hold in the stream of a system", envelope(), KEY.public))
    return {
        "about": "Statements with what they say; `public` verifies the signature over `to_be_signed`. Bytes are hex.",
        "cases": plain(cases),
    }


def statements_bad() -> Any:
    cases = [
        {"desc": desc, "entry": entry, "code": code} for desc, (entry, code) in {**ENVELOPES, **OTHER_CBOR}.items()
    ]
    for kind, path, value, code in BAD_FIELDS:
        shown = ascii(value) if len(ascii(value)) <= 40 else ascii(value)[:40] + "…"
        place = ".".join(map(str, path))
        cases.append(
            {"desc": f"{kind}: {place} is {shown}", "entry": write(put(full(kind), path, value)), "code": code}
        )
    many = [descriptor(f"s{n:02}", retention="x" * 500) for n in range(30)]
    cases.append(
        {
            "desc": "a statement too long",
            "entry": write({**bare("systems/1"), "systems": many}),
            "code": "statement/size",
        }
    )
    for kind in KINDS:
        cases.append(
            {"desc": f"{kind}: an unknown field", "entry": write({**full(kind), "x": 0}), "code": "statement/field"}
        )
    cases.append(
        {
            "desc": "keys/1 that changes nothing",
            "entry": write({**bare("keys/1"), "add": [], "revoke": []}),
            "code": "statement/field",
        }
    )
    return {"about": "No statements; the code says why.", "cases": plain(cases)}


def signatures() -> Any:
    entry = envelope()
    order = 2**252 + 27742317777372353535851937790883648493
    twin = (int.from_bytes(entry[-32:], "little") + order).to_bytes(32, "little")
    cases: list[dict[str, Any]] = [
        {"desc": "valid", "entry": entry, "public": KEY.public},
        {"desc": "another key", "entry": entry, "public": Key("other").public, "code": "signature/invalid"},
        {
            "desc": "S plus the group order",
            "entry": entry[:-32] + twin,
            "public": KEY.public,
            "code": "signature/invalid",
        },
        {"desc": "zeros", "entry": entry[:-64] + bytes(64), "public": KEY.public, "code": "signature/invalid"},
        {
            "desc": "R is the identity",
            "entry": entry[:-64] + b"\x01" + bytes(31) + entry[-32:],
            "public": KEY.public,
            "code": "signature/invalid",
        },
    ]
    for at in (-1, -33, -64, 60, entry.index(bytes(32))):
        damaged = bytearray(entry)
        damaged[at] ^= 1
        cases.append(
            {
                "desc": f"a bit flipped at {at}",
                "entry": bytes(damaged),
                "public": KEY.public,
                "code": "signature/invalid",
            }
        )
    return {"about": "Statements that parse, and a key that verifies them or not.", "cases": plain(cases)}


def possession() -> Any:
    cases = []
    log = Log()
    for desc, party, payload in (
        ("an admission", ACME, log.party(ACME)),
        ("an admission, check filled in later", ACME, log.party(ACME, check={"method": "domain", "time": START + 60})),
        ("an auditor's admission", COURT, log.party(COURT, "auditor")),
        ("one key added", ACME, {**log.key_change(ACME, new="sign"), "seq": 4}),
        ("one added, two revoked", ACME, {**log.key_change(ACME, ["one", "two"], new="recover"), "seq": 5}),
    ):
        full_payload = {"seq": 0, **payload}
        new = payload["keys" if payload["kind"] == "party/1" else "add"]
        cases.append(
            {
                "desc": desc,
                "origin": ORIGIN,
                "party": party,
                "payload": model.det(full_payload),
                "message": model.possession(ORIGIN, party, full_payload),
                "proofs": [
                    {"public": key["key"], "kid": model.thumbprint(key["key"]), "proof": key["proof"]} for key in new
                ],
            }
        )
    return {"about": "What new keys sign: `proof` is the signature by `public` over `message`.", "cases": plain(cases)}


# --- rows ---


def row_files() -> Any:
    one, three = model.row_file(rows_of(1)), model.row_file(rows_of(1, 2, 3))
    good = [
        ("one row", one),
        ("three rows", three),
        ("a hundred rows", model.row_file(rows_of(*range(100)))),
        ("the least and the greatest index", bytes(64) + b"\xff" * 64),
    ]
    cases: list[dict[str, Any]] = [
        {"desc": desc, "encoded": encoded, "count": len(encoded) // 64, "root": model.row_root(encoded)}
        for desc, encoded in good
    ]
    cases += [
        {"desc": "no row", "encoded": b"", "code": "rows/size"},
        {"desc": "half a row", "encoded": one[:32], "code": "rows/size"},
        {"desc": "a byte short", "encoded": three[:-1], "code": "rows/size"},
        {"desc": "a byte more", "encoded": three + b"\x00", "code": "rows/size"},
        {
            "desc": "two rows swapped",
            "encoded": three[64:128] + three[:64] + three[128:],
            "code": "rows/order",
            "rows": [1],
        },
        {"desc": "a row twice", "encoded": three[:64] + three, "code": "rows/order", "rows": [1]},
        {
            "desc": "an index twice, with two commitments",
            "encoded": one + one[:32] + bytes([255] * 32),
            "code": "rows/order",
            "rows": [1],
        },
        {
            "desc": "twenty rows descending: sixteen are named",
            "encoded": b"".join(bytes([n]) * 64 for n in range(19, -1, -1)),
            "code": "rows/order",
            "rows": list(range(1, 17)),
        },
    ]
    return {
        "about": "Row files, with the count and root a statement signs; `rows` are the offending ones.",
        "cases": plain(cases),
    }


def row_proofs() -> Any:
    cases: list[dict[str, Any]] = []
    for count in (1, 2, 3, 7, 8):
        rows = model.row_file(rows_of(*range(count)))
        each = [rows[at : at + 64] for at in range(0, len(rows), 64)]
        for position in sorted({0, count // 2, count - 1}):
            cases.append(
                {
                    "desc": f"row {position} of {count}",
                    "count": count,
                    "root": reference.MTH(each),
                    "position": position,
                    "row": each[position],
                    "path": reference.PATH(position, each),
                }
            )
    seven = next(case for case in cases if case["desc"] == "row 3 of 7")
    other = model.row_file(row_of(77))
    cases += [
        {**seven, "desc": "another row", "row": other, "code": "inclusion/root-mismatch"},
        {
            **seven,
            "desc": "another commitment",
            "row": seven["row"][:32] + bytes(32),
            "code": "inclusion/root-mismatch",
        },
        {**seven, "desc": "another position", "position": 2, "code": "inclusion/root-mismatch"},
        {**seven, "desc": "a position beyond the count", "position": 7, "code": "inclusion/index"},
        {**seven, "desc": "another root", "root": bytes(32), "code": "inclusion/root-mismatch"},
        {**seven, "desc": "a path one short", "path": seven["path"][:-1], "code": "inclusion/path-length"},
        {**seven, "desc": "a path one long", "path": [*seven["path"], bytes(32)], "code": "inclusion/path-length"},
        {**seven, "desc": "a path upside down", "path": seven["path"][::-1], "code": "inclusion/root-mismatch"},
        {**seven, "desc": "a row of 63 bytes", "row": seven["row"][:-1], "code": "rows/size"},
        {
            "desc": "an inner node passed off as a row of 65 bytes",
            "count": 1,
            "root": reference.sha256(b"\x00", bytes(65)),
            "position": 0,
            "row": bytes(65),
            "path": [],
            "code": "rows/size",
        },
    ]
    return {
        "about": "One row under a signed count and root; `path` leaf side first; or the code.",
        "cases": plain(cases),
    }


# --- state ---


def states() -> Any:
    shown = [
        ("held for the first time", 1, 1, 1, 5),
        ("a second version", 1, 1, 2, 6),
        ("erased", 2, 1, 2, 7),
        ("held again", 1, 2, 1, 8),
        ("every byte in its place", 2, 0x01020304, 0x05060708, 0x090A0B0C0D0E0F10),
        ("the greatest numbers", 1, 2**32 - 1, 2**32 - 1, 2**64 - 1),
    ]
    commitment = model.sha256(b"commitment")
    cases: list[dict[str, Any]] = []
    for desc, status, generation, version, position in shown:
        encoded = model.pack(status, generation, version, position, commitment)
        cases.append(
            {
                "desc": desc,
                "encoded": encoded,
                "status": status,
                "generation": generation,
                "version": version,
                "position": str(position),
                "commitment": commitment,
                "value": model.label("state", encoded),
            }
        )
    good = model.pack(1, 1, 1, 5, commitment)
    cases += [
        {"desc": f"{len(each)} bytes", "encoded": each, "code": "state/size"} for each in (b"", good[:48], good + b"\0")
    ]
    cases += [
        {"desc": f"status {status}", "encoded": bytes([status]) + good[1:], "code": "state/unknown-status"}
        for status in (0, 3, 4, 5, 255)
    ]
    return {
        "about": "States of 49 bytes and their value in the state map; `position` is decimal text.",
        "cases": plain(cases),
    }


def history() -> Log:
    """A log in which everything happens that can."""
    log = Log()
    log.epoch()
    log.admit(ACME)
    log.admit(BETA)
    log.admit(COURT, "authority")
    log.epoch()
    cycle = descriptor("bak", "backup", backup_cycle=86_400, retention="thirty days")
    log.systems(ACME, cycle, descriptor("db", assets=["customers", "orders"]), descriptor("idle"))
    log.hold(ACME, "db", rows_of(1, 2, 3, 4))
    log.epoch()
    log.hold(ACME, "bak", rows_of(1), cause="backfill")
    log.hold(ACME, "db", row_of(2, 1), cause="corrected")
    log.tombstone(ACME, "db", rows_of(3, 4), erased_at=log.time - 50, method="nist:clear", level="logical")
    log.epoch()
    log.keys(ACME, more="sign")
    log.keys(ACME, [ACME + " recover"], recovery=True, safe="recover")
    log.epoch()
    log.hold(ACME, "db", rows_of(3), cause="retracted", ref=[model.leaf(log.model.entries[-1])])
    log.tombstone(ACME, "db", rows_of(1))
    log.systems(ACME, descriptor("bak", "backup", backup_cycle=3600), descriptor("idle", retired=True))
    log.add(log.sign(log.key_change(ACME, ["more"], about=True)))
    log.end(COURT)
    log.epoch()
    log.epoch()
    return log


def named_head(state: model.Model, name: str | tuple[str, str]) -> bytes:
    return model.det(state.systems[name]) if isinstance(name, tuple) else state.head(name)


def heads() -> Any:
    log = history()
    before = Log()
    cases: list[dict[str, Any]] = []

    def good(desc: str, kind: str, encoded: bytes) -> None:
        fields = cbor2.loads(encoded)
        key = ("system-key", fields["system"]) if kind == "system" else ("top-key", fields["party"])
        cases.append(
            {
                "desc": desc,
                "kind": kind,
                "encoded": encoded,
                "fields": fields,
                "key": model.label(key[0], key[1].encode()),
                "value": model.label(f"{kind}-head", encoded),
            }
        )

    good("the log after entry 0", "party", before.model.head(ORIGIN))
    good("the log after some epochs", "party", log.model.head(ORIGIN))
    ended = log.copy()
    ended.retire()
    ended.epoch()
    good("the log when it has ended", "party", ended.committed.head(ORIGIN))
    good("a holder with systems and revoked keys", "party", log.model.head(ACME))
    good("a holder without systems", "party", log.model.head(BETA))
    good("an authority that ended", "party", log.model.head(COURT))
    good("a system that holds and has erased", "system", model.det(log.model.systems[ACME, "db"]))
    good("a retired system", "system", model.det(log.model.systems[ACME, "idle"]))
    party, system = cbor2.loads(log.model.head(BETA)), log.model.systems[ACME, "db"]
    own = cbor2.loads(log.model.head(ORIGIN))
    for desc, kind, fields, code in (
        ("a system head with a field more", "system", {**system, "x": 0}, "head/fields"),
        ("a system head with a short root", "system", {**system, "root": bytes(31)}, "head/fields"),
        ("a system head with a negative count", "system", {**system, "held": -1}, "head/fields"),
        ("a system head with a boolean count", "system", {**system, "held": True}, "head/fields"),
        ("a system head of status 3", "system", {**system, "status": 3}, "head/unknown-extension"),
        ("a system head with an extension", "system", {**system, "other": bytes([1] * 32)}, "head/unknown-extension"),
        ("a party head of status 0", "party", {**party, "status": 0}, "head/unknown-extension"),
        ("a party head with an extension", "party", {**party, "other": bytes([1] * 32)}, "head/unknown-extension"),
        ("a party head without keys", "party", {k: v for k, v in party.items() if k != "keys"}, "head/fields"),
        (
            "a party head with the log's part",
            "party",
            {**party, "epoch": own["epoch"], "rules": own["rules"]},
            "head/fields",
        ),
        ("the log's head without its part", "party", {**party, "role": "log"}, "head/fields"),
        ("a key without end that says 0", "party", put(own, ("keys", 0, "until"), b""), "head/fields"),
        ("a key to seal", "party", put(own, ("keys", 0, "use"), "seal"), "head/fields"),
        ("65 keys", "party", {**party, "keys": [*party["keys"]] * 33}, "head/fields"),
        ("a role that is none", "party", {**party, "role": "robot"}, "head/fields"),
        ("another VRF suite", "party", put(party, ("vrf", 0, "suite"), 4), "head/fields"),
        ("two VRF series", "party", {**party, "vrf": party["vrf"] * 2}, "head/fields"),
        ("a negative status", "party", {**party, "status": -1}, "head/fields"),
        ("a rule set without a name", "party", put(own, ("rules", "name"), ""), "head/fields"),
        ("a system id in capitals", "system", {**system, "system": "DB"}, "head/fields"),
        ("an extension, and a field too few", "system", {"system": "db", "status": 3}, "head/fields"),
        ("an extension, and a count that is none", "system", {**system, "status": 3, "held": b""}, "head/fields"),
        ("a list for a head", "party", [], "head/fields"),
    ):
        cases.append({"desc": desc, "kind": kind, "encoded": model.det(fields), "code": code})
    loose = log.model.head(BETA)
    for desc, encoded, code in (
        ("fields in another order", cbor2.dumps(dict(reversed(list(party.items())))), "cbor/not-deterministic"),
        ("bytes behind", loose + b"\x00", "cbor/trailing"),
        ("cut short", loose[:-1], "cbor/truncated"),
    ):
        cases.append({"desc": desc, "kind": "party", "encoded": encoded, "code": code})
    return {
        "about": "Heads: `kind` says of what, `key` and `value` are what the system map or top map binds.",
        "cases": plain(cases),
    }


def descriptors() -> Any:
    cases = []
    for shown in (
        descriptor("db"),
        descriptor("bak", "backup", backup_cycle=86_400, retention="thirty days"),
        descriptor(
            "crm.eu-1", "saas", assets=["mail", "orders"], locators=["email", "phone"], processor_log="p.example/log"
        ),
        descriptor("old", "paper", retired=True),
    ):
        encoded = model.det(shown)
        cases.append(
            {"desc": shown["id"], "encoded": encoded, "fields": shown, "digest": model.label("descriptor", encoded)}
        )
    return {"about": "Descriptors as system heads commit them.", "cases": plain(cases)}


def chains() -> Any:
    log = history()
    chain = bytes(32)
    steps = []
    for position in (2, 5, 7):
        entry = model.leaf(log.model.entries[position])
        chain = model.label("chain", chain, position.to_bytes(8, "big"), entry)
        steps.append({"position": position, "leaf": entry, "chain": chain})
    return {
        "about": "A chain from 32 zeros, entry by entry.",
        "cases": plain([{"desc": "three entries, with others between", "steps": steps}]),
    }


# --- transitions ---


def transition_history() -> Any:
    log = history()
    cases = []
    names = [
        "the first: log/1",
        "three parties are admitted",
        "systems and a first hold",
        "a hold, a new version, tombstones",
        "keys added and revoked",
        "held again, retired, a key revoked by the log, an end",
        "nothing but the epoch",
    ]
    for desc, proof in zip(names, log.proofs, strict=True):
        found = cbor2.loads(proof)
        payloads = [cbor2.loads(cbor2.loads(entry).value[2]) for entry in found["entries"]]
        files = {each["root"].hex(): log.files[each["root"]] for each in payloads if "count" in each}
        size = found["size"] + len(payloads)
        cases.append(
            {
                "desc": desc,
                "proof": proof,
                "rows": files,
                "size": size,
                "root": reference.MTH(log.model.entries[:size]),
                "top": payloads[-1]["root"],
            }
        )
    return {
        "about": "One log from entry 0, epoch by epoch. Each proof starts where the last one led: `size` and `root`.",
        "rules": {"name": model.RULES, "digest": RULES_DIGEST.hex()},
        "cases": plain(cases),
    }


def refused_statements(log: Log) -> list[tuple[str, str, bytes]]:
    """What the rules refuse after the history: description, code, statement."""
    hold, erase, sign = log.hold_fields, log.tombstone_fields, log.encode
    new = {"kind": "systems/1", "systems": [descriptor("new")]}
    systems = lambda *found: {"kind": "systems/1", "systems": list(found)}  # noqa: E731
    party = log.party("new.example")
    weak = {"key": bytes(32), "use": "sign", "proof": bytes(64)}
    policy = {"kind": "policy/1", "name": "attest-rules/1", "digest": RULES_DIGEST}
    fields = log.hold_fields(rows_of(*range(100, 165)))
    return [
        ("another log's statement", "rule/audience", sign(new, ACME, aud="other.example/log")),
        ("an issuer nobody admitted", "rule/issuer", sign(new, "nobody.example")),
        ("a foreign key", "rule/key", sign(new, ACME, key=BETA)),
        (
            "a foreign key under the right kid",
            "signature/invalid",
            sign(new, ACME, key=BETA, header={4: Key(ACME).kid}),
        ),
        ("a revoked key", "rule/key-interval", sign(new, ACME, key="more")),
        ("a recovery key at daily work", "rule/key-use", sign(new, ACME, key="safe")),
        (
            "a signing key in the recovery stream",
            "rule/key-use",
            sign(log.key_change(ACME, x="sign"), ACME, stream="#recovery", key=ACME),
        ),
        ("a party that ended", "rule/party-ended", sign(log.key_change(COURT, x="sign"), COURT)),
        ("a seq behind", "rule/seq", sign({**new, "seq": log.seq(ACME) - 1}, ACME)),
        ("a seq ahead", "rule/seq", sign({**new, "seq": log.seq(ACME) + 1}, ACME)),
        (
            "a system's seq behind",
            "rule/seq",
            sign({**hold(rows_of(9)), "seq": log.seq(ACME, "db") - 1}, ACME, stream="db"),
        ),
        ("a hold in the own stream", "rule/stream", sign(hold(rows_of(9)), ACME)),
        ("systems in a system's stream", "rule/stream", sign(new, ACME, stream="db")),
        ("systems in the recovery stream", "rule/stream", sign(new, ACME, stream="#recovery", key="safe")),
        ("a system nobody registered", "rule/system", sign(hold(rows_of(9)), ACME, stream="nowhere")),
        ("a system of another holder", "rule/system", sign(hold(rows_of(9)), BETA, stream="db")),
        ("a retired system", "rule/system-retired", sign(hold(rows_of(9)), ACME, stream="idle")),
        ("a retired system comes back", "rule/system-retired", sign(systems(descriptor("idle")), ACME)),
        ("a system that begins retired", "rule/system-retired", sign(systems(descriptor("x", retired=True)), ACME)),
        ("another kind of system", "rule/system-fixed", sign(systems(descriptor("db", "search")), ACME)),
        ("other locators", "rule/system-fixed", sign(systems(descriptor("db", locators=["phone"])), ACME)),
        (
            "a backup cycle grows",
            "rule/backup-cycle",
            sign(systems(descriptor("bak", "backup", backup_cycle=3601)), ACME),
        ),
        ("a backup cycle is given up", "rule/backup-cycle", sign(systems(descriptor("bak", "backup")), ACME)),
        ("retired while it holds", "rule/still-held", sign(systems(descriptor("db", retired=True)), ACME)),
        ("held already", "rule/already-held", sign(hold(rows_of(3, 9)), ACME, stream="db")),
        ("a tombstone of what was never held", "rule/not-held", sign(erase(rows_of(9)), ACME, stream="db")),
        ("a tombstone of what is erased", "rule/not-held", sign(erase(rows_of(4)), ACME, stream="db")),
        ("a tombstone of an old version", "rule/commitment-mismatch", sign(erase(rows_of(2)), ACME, stream="db")),
        ("more rows than the log takes", "rows/size", sign(fields, ACME, stream="db")),
        ("another count than the file has", "rows/count", sign({**hold(rows_of(9)), "count": 2}, ACME, stream="db")),
        ("about, by a party", "rule/about", sign({**new, "about": ACME}, ACME)),
        ("about nobody admitted", "rule/about", sign({"kind": "party-end/1", "about": "nobody.example"})),
        ("a key of nobody revoked by the log", "rule/about", sign(log.key_change(ACME, [ACME]))),
        ("a policy about a party", "rule/about", sign({**policy, "about": ACME})),
        ("a policy by a party", "rule/role", sign(policy, ACME)),
        ("systems by the log", "rule/role", sign(new)),
        ("a party admitted twice", "rule/party-exists", sign(log.party(ACME))),
        (
            "a party admitted without recovery key",
            "rule/keys",
            sign(log.party("new.example", uses={"a": "sign", "b": "sign"})),
        ),
        ("a holder without VRF series", "rule/vrf", sign(log.party("new.example", vrf=[]))),
        (
            "an auditor with VRF series",
            "rule/vrf",
            sign(log.party("new.example", "auditor", vrf=[{"suite": 3, "hash": bytes(32)}])),
        ),
        ("an admission about another", "rule/about", sign({**party, "about": BETA})),
        (
            "an admission with another name than was signed for",
            "rule/possession",
            sign({**party, "name": "Someone Else"}),
        ),
        ("a key of small order", "key/small-order", sign({**party, "keys": [weak, party["keys"][1]]})),
        ("a key added twice", "rule/keys", sign(log.key_change(ACME, more="sign"), ACME)),
        ("a key added by the log", "rule/keys", sign(log.key_change(ACME, about=True, x="sign"))),
        ("a key revoked that is not in force", "rule/keys", sign(log.key_change(ACME, ["more"]), ACME)),
        ("a recovery key by a signing key", "rule/key-use", sign(log.key_change(ACME, x="recover"), ACME)),
        ("the last signing key revoked", "rule/last-key", sign(log.key_change(ACME, [ACME], about=True))),
        (
            "the last recovery key revoked",
            "rule/last-key",
            sign(log.key_change(ACME, ["safe"]), ACME, stream="#recovery", key="safe"),
        ),
        ("an end by a signing key", "rule/key-use", sign({"kind": "party-end/1"}, ACME)),
        ("a second log/1", "rule/genesis", sign({**log_fields(), "seq": 0})),
    ]


def transition_refused() -> Any:
    log = history()
    cases: list[dict[str, Any]] = []

    def case(desc: str, code: str, proof: Any, rows: dict[bytes, bytes] | None = None) -> None:
        encoded = proof if isinstance(proof, bytes) else model.det(proof)
        cases.append(
            {"desc": desc, "proof": encoded, "rows": {k.hex(): v for k, v in (rows or {}).items()}, "code": code}
        )

    for desc, code, entry in refused_statements(log):
        root = cbor2.loads(cbor2.loads(entry).value[2]).get("root")
        case(desc, code, log.force(entry), {root: log.files[root]} if root in log.files else {})
    policy = log.encode({"kind": "policy/1", "name": "attest-rules/2", "digest": bytes(32)})
    case("an unknown rule set is in force", "rule/unknown-rules", log.force(policy))
    missing = log.encode(log.hold_fields(rows_of(9)), ACME, stream="db")
    case("the row file is not there", "rows/missing", log.force(missing))
    root = cbor2.loads(cbor2.loads(missing).value[2])["root"]
    case("another row file", "rows/root", log.force(missing), {root: model.row_file(rows_of(8))})

    for desc, code, changed, iat in (
        ("an epoch number behind", "rule/epoch-number", {"number": log.epoch_fields()["number"] - 1}, None),
        ("an epoch number ahead", "rule/epoch-number", {"number": log.epoch_fields()["number"] + 1}, None),
        ("an epoch at the time of the last", "rule/epoch-time", {"time": log.time}, None),
        ("an epoch whose time is not its iat", "rule/epoch-time", {}, log.time),
        ("another top root", "rule/epoch-root", {"root": bytes(32)}, None),
        ("the top root of the last epoch", "epoch/old-root", {"root": log.committed.top_root()}, None),
    ):
        epoch = log.sign_epoch(iat, **changed)
        log.time -= 1
        case(desc, code, log.force(epoch=epoch.entry))
    late = log.encode({"kind": "systems/1", "systems": [descriptor("new")]}, ACME, iat=log.time + 302)
    epoch = log.encode({**log.epoch_fields(), "time": log.time + 1}, iat=log.time + 1)
    case("an epoch 301 s before a claim of time", "rule/epoch-time", log.force(late, epoch=epoch))

    # Wrong roots, of which the proof shows the heads: each is named by the first that departs.
    wrong = log.copy()
    wrong.hold(ACME, "db", rows_of(9) | row_of(3, 2))
    wrong.systems(ACME, descriptor("bak", "backup", backup_cycle=60))
    db, first = (ACME, "db"), wrong.epoch_fields()["number"]
    files = {root: wrong.files[root] for root in [wrong.draft.entries[0].payload.root]}
    for desc, code, lie in (
        ("a held row left out", "epoch/omitted", lies.change_state(db, 9, None)),
        ("a held record that is not there", "epoch/states", lies.change_state(db, 3, None)),
        ("one held too few", "epoch/held", lies.head(db, held=lies.more(-1))),
        ("one erased too many", "epoch/erased", lies.head(db, erased=lies.more(1))),
        ("one reheld too many", "epoch/reheld", lies.head(db, reheld=lies.more(1))),
        ("a statement not counted", "epoch/entries", lies.head(ACME, entries=lies.more(-1))),
        ("a chain that is another", "epoch/chain", lies.head(db, chain=bytes(32))),
        ("another descriptor's digest", "epoch/descriptor", lies.head(db, descriptor=bytes(32))),
        ("a head of an earlier epoch", "epoch/old-head", lambda state: state.systems.update(old_system(log, db))),
        ("a changed system dropped", "epoch/dropped", lies.drop_system(db)),
        ("a system dropped that did not change", "epoch/systems", lies.drop_system((ACME, "idle"))),
        ("a key's time in force", "epoch/key-interval", lies.with_keys(lambda key: key | {"from": 0})),
        ("a planted key", "epoch/keys", lies.head(ACME, keys=lies.planted)),
        ("another VRF key", "epoch/vrf", lies.head(ACME, vrf=[{"suite": 3, "hash": bytes(32)}])),
        ("an epoch more", "epoch/clock", lies.head(ORIGIN, epoch=lambda old: old | {"number": first + 1})),
        ("a party changed that no entry is about", "rule/epoch-root", lies.head(BETA, entries=lies.more(1))),
    ):
        after = wrong.model.copy()
        lie(after)
        epoch = wrong.sign_epoch(root=after.top_root())
        wrong.time -= 1
        case(desc, code, wrong.force(epoch=epoch.entry, after=after), files)

    # Honest entries, and a proof that is not.
    busy = log.copy()
    busy.hold(ACME, "db", rows_of(9) | row_of(3, 2))
    busy.systems(ACME, descriptor("bak", "backup", backup_cycle=60))
    good = busy.force_map(epoch=busy.sign_epoch().entry)
    rows = {entry: busy.files[entry] for entry in [cbor2.loads(cbor2.loads(good["entries"][0]).value[2])["root"]]}
    [holder] = good["holders"]
    bak, db = holder["systems"]
    shown = lambda *found: {**good, "holders": [{**holder, "systems": list(found)}]}  # noqa: E731
    held = {**log.committed.systems[ACME, "db"], "held": 1}
    lying = log.committed.copy()
    del lying.states[ACME, "db"][model.map_key(next(iter(row_of(3))))]
    lying.systems[ACME, "db"]["root"] = reference.node(lying.bindings((ACME, "db")))
    assert busy.ledger.previous is not None
    omitted = model.prove(lying, busy.model, busy.ledger.previous.entry, good["entries"], busy.files)
    omitted |= {"size": good["size"], "frontier": good["frontier"]}
    for desc, code, proof in (
        ("another format", "transition/format", {**good, "format": "attest-transition/2"}),
        ("a field more", "transition/format", {**good, "x": 0}),
        ("no entries", "transition/format", {**good, "entries": []}),
        ("a holder twice", "transition/format", {**good, "holders": [holder, holder]}),
        ("systems out of order", "transition/format", shown(db, bak)),
        ("no epoch at the end", "transition/entries", {**good, "entries": good["entries"][:-1]}),
        ("an epoch before the end", "transition/entries", {**good, "entries": [good["previous"], *good["entries"]]}),
        ("a frontier of another length", "transition/frontier", {**good, "frontier": [*good["frontier"], bytes(32)]}),
        ("another frontier", "transition/start", {**good, "frontier": [bytes(32), *good["frontier"][1:]]}),
        ("another previous epoch", "transition/start", {**good, "previous": cbor2.loads(log.proofs[0])["entries"][-1]}),
        ("an old proof", "transition/start", log.proofs[-1]),
        ("a top map of another root", "transition/root", {**good, "top": b"\x00"}),
        ("a held record omitted, consistently", "transition/root", omitted),
        ("a head left out", "transition/party-head", {**good, "heads": good["heads"][1:]}),
        (
            "a party's head of another time",
            "transition/party-head",
            {**good, "heads": [history_head(log), *good["heads"][1:]]},
        ),
        ("a system's head with another count", "transition/system-head", shown(bak, {**db, "head": model.det(held)})),
        ("a system passed off as new", "transition/system-head", shown(bak, {**db, "head": None, "map": b"\x00"})),
        ("a system left out", "transition/missing", shown(bak)),
        ("a descriptor left out", "transition/missing", shown({**bak, "descriptor": None}, db)),
        ("another descriptor", "transition/descriptor", shown({**bak, "descriptor": model.det(descriptor("bak"))}, db)),
        ("an old state left out", "transition/state", shown(bak, {**db, "states": b""})),
        ("half a state", "transition/states", shown(bak, {**db, "states": db["states"][:-1]})),
        (
            "a touched place pruned away",
            "pruned/touched-hash",
            shown(bak, {**db, "map": b"\x01" + log.committed.systems[ACME, "db"]["root"]}),
        ),
    ):
        case(desc, code, proof, rows)
    case("a byte behind", "cbor/trailing", model.det(good) + b"\x00", rows)
    return {
        "about": "Proofs refused where the last case of history.json leads. What is not in `rows` is missing.",
        "cases": plain(cases),
    }


def old_system(log: Log, name: tuple[str, str]) -> dict[tuple[str, str], Any]:
    """The committed head of a system, by its name."""
    return {name: log.committed.systems[name]}


def transition_ended() -> Any:
    log = history()
    log.hold(ACME, "db", rows_of(9))
    log.retire()
    kept = log.pending[:]
    late = log.sign_epoch()
    log.time -= 1
    after = {
        "a hold": log.encode(log.hold_fields(rows_of(10)), ACME, stream="db"),
        "an admission": log.encode(log.party("new.example")),
        "another end": log.encode({"kind": "party-end/1"}),
        "a policy": log.encode({"kind": "policy/1", "name": model.RULES, "digest": RULES_DIGEST}),
    }
    between = [(desc, log.force(entry, epoch=late.entry)) for desc, entry in after.items()]
    proof = log.epoch()
    size = len(log.model.entries)
    files = {
        root.hex(): file for root, file in log.files.items() if any(root in entry for entry in [*kept, *after.values()])
    }
    cases: list[dict[str, Any]] = [
        {
            "desc": "a hold, and the end of the log",
            "after": "history",
            "proof": proof,
            "rows": files,
            "size": size,
            "root": reference.MTH(log.model.entries),
            "top": log.ledger.top.root,
        }
    ]
    for desc, broken in between:
        desc = f"{desc} between the end and its epoch"
        cases.append({"desc": desc, "after": "history", "proof": broken, "rows": files, "code": "rule/log-ended"})
    for desc, entry in after.items():
        desc = f"{desc} after the log has ended"
        broken = log.force(entry)
        cases.append({"desc": desc, "after": "end", "proof": broken, "rows": files, "code": "rule/log-ended"})
    empty = log.force(epoch=log.sign_epoch().entry)
    desc = "one more epoch after the log has ended"
    cases.append({"desc": desc, "after": "end", "proof": empty, "rows": {}, "code": "rule/log-ended"})
    return {
        "about": "`after`: check from where the last case of history.json leads, or the first case here.",
        "cases": plain(cases),
    }


def history_head(log: Log) -> bytes:
    """The head of the holder at an earlier epoch."""
    heads: list[bytes] = cbor2.loads(log.proofs[3])["heads"]
    return next(head for head in heads if cbor2.loads(head)["party"] == ACME)


FILES = {
    "statements/good.json": statements_good,
    "statements/bad.json": statements_bad,
    "statements/signatures.json": signatures,
    "statements/possession.json": possession,
    "rows/files.json": row_files,
    "rows/proofs.json": row_proofs,
    "state/states.json": states,
    "state/heads.json": heads,
    "state/descriptors.json": descriptors,
    "state/chains.json": chains,
    "transition/history.json": transition_history,
    "transition/refused.json": transition_refused,
    "transition/ended.json": transition_ended,
}


def render(name: str) -> str:
    """Return the text of one file."""
    return json.dumps(FILES[name](), indent=1) + "\n"


if __name__ == "__main__":
    for name in FILES:
        (VECTORS / name).parent.mkdir(exist_ok=True)
        (VECTORS / name).write_text(render(name))
