"""Payloads and envelopes of every kind, good and bad, as the CDDL has them."""

import cbor2

from tests.ledger import model
from tests.ledger.log import MLDSA, ORIGIN, START, descriptor
from tests.ledger.model import Key

ACME = "acme.example"
ISSUER = "https://" + ACME
KEY = Key(ACME)


def new_key(name="new", use="sign"):
    return {"key": Key(name).public, "use": use, "proof": bytes(64)}


def full(kind):
    """A payload of this kind with every optional part."""
    fields = {
        "log/1": {
            "origin": ORIGIN,
            "keys": {
                "statements": bytes(32), "receipts": bytes(32), "note_ed25519": bytes(32), "note_mldsa44": MLDSA,
            },
            "limits": {"rows": 1, "statement": 1024, "skew": 1, "silence": 1},
            "predecessor": {"origin": "old.example", "size": 0, "root": bytes(32)},
        },
        "policy/1": {"name": "attest-rules/1", "digest": bytes(32)},
        "party/1": {
            "id": ACME, "role": "holder", "name": "Acme", "legal_id": "LEI 1",
            "check": {"method": "operator", "time": START}, "keys": [new_key(), new_key("r", "recover")],
            "vrf": [{"suite": 3, "hash": bytes(32)}],
        },
        "keys/1": {"add": [new_key()], "revoke": [bytes(32)]},
        "party-end/1": {},
        "systems/1": {
            "systems": [
                descriptor("db", assets=["mail"], retention="a week", backup_cycle=0, processor_log="p.example/x")
            ]
        },
        "hold/1": {"count": 1, "root": bytes(32), "cause": "collected"},
        "tombstone/1": {
            "count": 1, "root": bytes(32), "erased_at": 0, "method": "nist:purge:cryptographic_erase",
            "level": "none", "ground": "gdpr:17(1)(d)",
        },
        "epoch/1": {"number": 0, "time": 0, "root": bytes(32)},
    }  # fmt: skip
    return {"kind": kind, "seq": 0, **fields[kind], "about": "beta.example", "ref": [bytes(32)]}


def write(payload, **how):
    """Sign a payload, however wrong, in an envelope that is right."""
    protected = model.header(KEY.kid, model.claims(ISSUER, ISSUER, ORIGIN, START))
    return model.sign(KEY, protected, payload, **how)


def places(value, path=()):
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*path, key))


def put(value, path, new):
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(value[path[0]], path[1:], new) if path[1:] else new
    return copied


def at(value, path):
    for key in path:
        value = value[key]
    return value


def shuffled(encoded):
    """The same map with its members in reverse order."""
    found = cbor2.loads(encoded)
    return cbor2.dumps(dict(reversed(list(found.items()))))


BAD_FIELDS = [
    ("hold/1", ("kind",), "hold/2", "statement/kind"),
    ("hold/1", ("kind",), b"hold/1", "statement/kind"),
    ("hold/1", ("kind",), "HOLD/1", "statement/kind"),
    ("hold/1", ("about",), None, "statement/field"),
    ("hold/1", ("about",), "Beta.example", "statement/field"),
    ("hold/1", ("about",), "beta", "statement/field"),
    ("hold/1", ("ref",), [], "statement/field"),
    ("hold/1", ("ref",), [bytes(32)] * 17, "statement/field"),
    ("hold/1", ("count",), 0, "statement/field"),
    ("hold/1", ("count",), 2**20 + 1, "statement/field"),
    ("hold/1", ("cause",), "found", "statement/field"),
    ("tombstone/1", ("count",), 0, "statement/field"),
    ("tombstone/1", ("count",), 2**20 + 1, "statement/field"),
    ("tombstone/1", ("method",), "shredded", "statement/field"),
    ("tombstone/1", ("level",), "deep", "statement/field"),
    ("tombstone/1", ("ground",), "because I say so", "statement/field"),
    ("tombstone/1", ("ground",), "x" * 65, "statement/field"),
    ("party/1", ("id",), "localhost", "statement/field"),
    ("party/1", ("id",), "a.b.", "statement/field"),
    ("party/1", ("id",), "-a.example", "statement/field"),
    ("party/1", ("id",), "a-.example", "statement/field"),
    ("party/1", ("id",), "a..example", "statement/field"),
    ("party/1", ("id",), "a_b.example", "statement/field"),
    ("party/1", ("id",), "a.example\n", "statement/field"),
    ("party/1", ("id",), "ä.example", "statement/field"),
    ("party/1", ("id",), "a" * 64 + ".example", "statement/field"),
    ("party/1", ("id",), "a." * 126 + "aa", "statement/field"),
    ("party/1", ("role",), "log", "statement/field"),
    ("party/1", ("name",), "x" * 201, "statement/field"),
    ("party/1", ("name",), "a\x1b[2J", "statement/field"),
    ("party/1", ("name",), "a\x85b", "statement/field"),
    ("party/1", ("name",), "a\u2028b", "statement/field"),
    ("party/1", ("keys",), [new_key()], "statement/field"),
    ("party/1", ("keys",), [new_key()] * 17, "statement/field"),
    ("party/1", ("keys", 0, "use"), "note", "statement/field"),
    ("party/1", ("vrf",), [{"suite": 3, "hash": bytes(32)}] * 2, "statement/field"),
    ("party/1", ("vrf", 0, "suite"), 4, "statement/field"),
    ("party/1", ("check", "method"), "passport", "statement/field"),
    ("keys/1", ("revoke",), [bytes(32), bytes(32)], "statement/field"),
    ("keys/1", ("revoke",), [b"\x01" * 32, bytes(32)], "statement/field"),
    ("keys/1", ("revoke",), [bytes([n] * 32) for n in range(17)], "statement/field"),
    ("keys/1", ("add",), [new_key()] * 17, "statement/field"),
    ("systems/1", ("systems",), [], "statement/field"),
    ("systems/1", ("systems",), [descriptor("b"), descriptor("a")], "statement/field"),
    ("systems/1", ("systems",), [descriptor("a"), descriptor("a")], "statement/field"),
    ("systems/1", ("systems",), [descriptor(f"s{n:02}") for n in range(65)], "statement/field"),
    ("systems/1", ("systems", 0, "id"), "DB", "statement/field"),
    ("systems/1", ("systems", 0, "id"), ".db", "statement/field"),
    ("systems/1", ("systems", 0, "id"), "d" * 65, "statement/field"),
    ("systems/1", ("systems", 0, "kind"), "brain", "statement/field"),
    ("systems/1", ("systems", 0, "assets"), ["b", "a"], "statement/field"),
    ("systems/1", ("systems", 0, "assets"), ["a", "a"], "statement/field"),
    ("systems/1", ("systems", 0, "assets"), [f"a{n:02}" for n in range(17)], "statement/field"),
    ("systems/1", ("systems", 0, "locators"), [], "statement/field"),
    ("systems/1", ("systems", 0, "locators"), ["phone", "email"], "statement/field"),
    ("systems/1", ("systems", 0, "locators"), [f"a{n}" for n in range(9)], "statement/field"),
    ("systems/1", ("systems", 0, "retention"), "x" * 501, "statement/field"),
    ("systems/1", ("systems", 0, "processor_log"), "https://p.example", "statement/field"),
    ("systems/1", ("systems", 0, "retired"), 0, "statement/field"),
    ("log/1", ("origin",), "https://log.example", "statement/field"),
    ("log/1", ("origin",), "log example", "statement/field"),
    ("log/1", ("origin",), "log.example+x", "statement/field"),
    ("log/1", ("origin",), "log.example#x", "statement/field"),
    ("log/1", ("origin",), "log.example\u3000x", "statement/field"),
    ("log/1", ("origin",), "log.example\x00", "statement/field"),
    ("log/1", ("origin",), "ä" * 128, "statement/field"),
    ("log/1", ("limits", "rows"), 0, "statement/field"),
    ("log/1", ("limits", "rows"), 2**20 + 1, "statement/field"),
    ("log/1", ("limits", "statement"), 1023, "statement/field"),
    ("log/1", ("limits", "statement"), 16385, "statement/field"),
    ("log/1", ("limits", "skew"), 0, "statement/field"),
    ("log/1", ("limits", "skew"), 3601, "statement/field"),
    ("log/1", ("limits", "silence"), 0, "statement/field"),
    ("log/1", ("limits", "silence"), 86401, "statement/field"),
    ("log/1", ("keys", "note_mldsa44"), bytes(1311), "statement/field"),
]


def envelope(protected=None, *, claims=None, **how):
    """A hold with a protected header in which something is changed; a value of `...` takes a label away."""
    front = model.header(KEY.kid, model.claims(ISSUER, "db", ORIGIN, START))
    front[15] |= claims or {}
    front |= protected or {}
    if isinstance(front[15], dict):
        front[15] = {label: value for label, value in front[15].items() if value is not ...}
    return model.sign(KEY, {label: value for label, value in front.items() if value is not ...}, hold(), **how)


def hold():
    return {name: value for name, value in full("hold/1").items() if name not in ("about", "ref")}


ENVELOPES = {
    "another algorithm: EdDSA": (envelope({1: -8}), "statement/alg"),
    "another algorithm: ES256": (envelope({1: -7}), "statement/alg"),
    "another algorithm: ML-DSA-44": (envelope({1: -48}), "statement/alg"),
    "the algorithm as text": (envelope({1: "Ed25519"}), "statement/alg"),
    "the algorithm as bytes": (envelope({1: b"\x32"}), "statement/alg"),
    "no algorithm": (envelope({1: ...}), "statement/alg"),
    "a list for a header": (model.sign(KEY, b"\x80", hold()), "statement/alg"),
    "an empty header": (model.sign(KEY, b"\xa0", hold()), "statement/alg"),
    "no header bytes": (model.sign(KEY, b"", hold()), "cbor/truncated"),
    "crit": (envelope({2: [15]}), "statement/header"),
    "an x5chain": (envelope({33: b"x"}), "statement/header"),
    "a private label": (envelope({-70001: 1}), "statement/header"),
    "a label as text": (envelope({"alg": -19}), "statement/header"),
    "no content type": (envelope({3: ...}), "statement/header"),
    "another content type": (envelope({3: "application/json"}), "statement/header"),
    "the content type as a number": (envelope({3: 60}), "statement/header"),
    "the content type as bytes": (envelope({3: model.CONTENT_TYPE.encode()}), "statement/header"),
    "no typ": (envelope({16: ...}), "statement/header"),
    "a receipt's typ": (envelope({16: "application/scitt-receipt+cose"}), "statement/header"),
    "no kid": (envelope({4: ...}), "statement/header"),
    "a short kid": (envelope({4: bytes(31)}), "statement/header"),
    "a long kid": (envelope({4: bytes(33)}), "statement/header"),
    "a kid as text": (envelope({4: "x" * 32}), "statement/header"),
    "no claims": (envelope({15: ...}), "statement/header"),
    "claims in a list": (envelope({15: []}), "statement/header"),
    "no issuer": (envelope(claims={1: ...}), "statement/header"),
    "no subject": (envelope(claims={2: ...}), "statement/header"),
    "no audience": (envelope(claims={3: ...}), "statement/header"),
    "no time": (envelope(claims={6: ...}), "statement/header"),
    "an expiry": (envelope(claims={4: START}), "statement/header"),
    "an issuer as bytes": (envelope(claims={1: ISSUER.encode()}), "statement/header"),
    "an empty issuer": (envelope(claims={1: ""}), "statement/header"),
    "an empty subject": (envelope(claims={2: ""}), "statement/header"),
    "an empty audience": (envelope(claims={3: ""}), "statement/header"),
    "an issuer of 513 characters": (envelope(claims={1: "x" * 513}), "statement/header"),
    "a subject with a line break": (envelope(claims={2: "db\nok"}), "statement/header"),
    "an issuer with an escape": (envelope(claims={1: ISSUER + "\x1b[1m"}), "statement/header"),
    "an audience with U+2028": (envelope(claims={3: ORIGIN + "\u2028"}), "statement/header"),
    "audiences in a list": (envelope(claims={3: [ORIGIN]}), "statement/header"),
    "a time before 1970": (envelope(claims={6: -1}), "statement/header"),
    "a time as bool": (envelope(claims={6: True}), "statement/header"),
    "a time as text": (envelope(claims={6: "now"}), "statement/header"),
    "a time as float": (envelope(claims={6: float(START)}), "cbor/type"),
    "an unprotected kid": (envelope(unprotected={4: KEY.kid}), "statement/cose"),
    "an unprotected receipt": (envelope(unprotected={394: [b"x"]}), "statement/cose"),
    "an unprotected list": (envelope(unprotected=[]), "statement/cose"),
    "no tag": (envelope(tag=b""), "statement/cose"),
    "the tag in two bytes": (envelope(tag=b"\xd8\x12"), "statement/cose"),
    "the tag of COSE_Mac0": (envelope(tag=b"\xd1"), "statement/cose"),
    "the tag twice": (envelope(tag=b"\xd2\xd2"), "statement/cose"),
    "a tag within": (b"\xd2\x84" + b"\xc0" + envelope()[2:], "cbor/type"),
    "a detached payload": (b"\xd2" + model.det([b"\xa0", {}, None, bytes(64)]), "statement/cose"),
    "a header that is no byte string": (b"\xd2" + model.det([{}, {}, b"", bytes(64)]), "statement/cose"),
    "a payload that is text": (b"\xd2" + model.det([b"\xa0", {}, "x", bytes(64)]), "statement/cose"),
    "a signature of 63 bytes": (b"\xd2" + model.det([b"\xa0", {}, b"\xa0", bytes(63)]), "statement/cose"),
    "a signature of 65 bytes": (b"\xd2" + model.det([b"\xa0", {}, b"\xa0", bytes(65)]), "statement/cose"),
    "a signature that is text": (b"\xd2" + model.det([b"\xa0", {}, b"\xa0", "x" * 64]), "statement/cose"),
    "three members": (b"\xd2" + model.det([b"\xa0", {}, b"\xa0"]), "statement/cose"),
    "five members": (b"\xd2" + model.det([b"\xa0", {}, b"\xa0", bytes(64), 0]), "statement/cose"),
    "nothing": (b"", "statement/cose"),
    "one byte": (b"\xd2", "statement/cose"),
    "bytes behind": (envelope() + b"\x00", "cbor/trailing"),
    "a byte short": (envelope()[:-1], "cbor/truncated"),
    "an array without length": (b"\xd2\x9f" + envelope()[2:] + b"\xff", "statement/cose"),
    "a payload that is no map": (write(b"\x80"), "statement/kind"),
    "an empty payload": (write(b""), "cbor/truncated"),
    "a payload with bytes behind": (write(model.det(hold()) + b"\x00"), "cbor/trailing"),
    "no kind": (write({"seq": 0}), "statement/kind"),
}

PAYLOAD = model.det(hold())
HEADER = model.det(model.header(KEY.kid, model.claims(ISSUER, "db", ORIGIN, START)))
SEQ = b"\x63seq"
LOOSE = "cbor/not-deterministic"

OTHER_CBOR = {
    "payload keys in another order": (write(shuffled(PAYLOAD)), LOOSE),
    "header labels in another order": (model.sign(KEY, shuffled(HEADER), hold()), LOOSE),
    "a number in two bytes": (write(PAYLOAD.replace(SEQ + b"\x00", SEQ + b"\x18\x00")), LOOSE),
    "a number in nine bytes": (write(PAYLOAD.replace(SEQ + b"\x00", SEQ + b"\x1b" + bytes(8))), LOOSE),
    "a text with a long length": (write(PAYLOAD.replace(SEQ, b"\x78\x03seq")), LOOSE),
    "a map with a long length": (write(bytes([0xB8, PAYLOAD[0] & 31]) + PAYLOAD[1:]), LOOSE),
    "a byte string with a long length": (envelope().replace(b"\x58\x40", b"\x59\x00\x40"), LOOSE),
    "a key twice": (write(bytes([PAYLOAD[0] + 1]) + PAYLOAD[1:] + SEQ + b"\x00"), LOOSE),
    "a map without length": (write(b"\xbf" + PAYLOAD[1:] + b"\xff"), "cbor/type"),
    "a float for a number": (write(PAYLOAD.replace(SEQ + b"\x00", SEQ + b"\xf9\x00\x00")), "cbor/type"),
    "undefined": (write(PAYLOAD.replace(SEQ + b"\x00", SEQ + b"\xf7")), "cbor/type"),
    "an integer of 2^53": (write(PAYLOAD.replace(SEQ + b"\x00", SEQ + b"\x1b\x00\x20" + bytes(6))), "cbor/range"),
    "an array of four with a long length": (b"\xd2\x98\x04" + envelope()[2:], "statement/cose"),
    "a map key that is true": (model.sign(KEY, b"\xa1\xf5\x00", hold()), "cbor/type"),
    "invalid UTF-8": (write(PAYLOAD.replace(b"collected", b"collecte\xff")), "encoding/utf8"),
    "nested deeper than 16": (write(b"\x81" * 17 + b"\x00"), "cbor/depth"),
}
