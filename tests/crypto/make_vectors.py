"""Write tests/vectors/{vrf,locators,commitments,encoding}: `python -m tests.crypto.make_vectors`.

vrf/rfc9381-b3.json holds the RFC's own figures and is not written here.

Expected values are literals, figures from RFCs, or computed by transcriptions of the spec pages that share nothing with
the code under test. A test compares the files with what this writes.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import cbor2

from tests import reference_vrf as reference

VECTORS = Path(__file__).parent.parent / "vectors"

SECRET = bytes(range(32))
SALT = bytes(range(32, 64))
HOLDER, SYSTEM, LOCATOR = "shop.example", "crm", "email:ada@example.org"


# --- transcriptions ---


def labelled(name: str, *parts: bytes) -> bytes:
    label = b"attest/" + name.encode() + b"/v1"
    message = struct.pack(">B", len(label)) + label
    for part in parts:
        message += struct.pack(">I", len(part)) + part
    return hashlib.sha256(message).digest()


def record_digest(*hashes: bytes) -> bytes:
    array = json.dumps(sorted({each.hex() for each in hashes}), separators=(",", ":"))
    return hashlib.sha256(array.encode()).digest()


def example_beta() -> bytes:
    return reference.prove(SECRET, b"attest/locator/1 " + LOCATOR.encode())["beta"]


# --- vrf ---


def vrf_proofs() -> Any:
    cases = []
    for name, alpha in {
        "locator": b"attest/locator/1 " + LOCATOR.encode(),
        "long-alpha": b"attest/locator/1 record:" + b"r" * 256,
    }.items():
        values = {key: value.hex() for key, value in reference.prove(SECRET, alpha).items()}
        cases.append({"name": name, "sk": SECRET.hex(), "alpha": alpha.hex()} | values)
    return {
        "about": "ECVRF-EDWARDS25519-SHA512-TAI; fields as RFC 9381 B.3 names them, hex. x and s are little-endian.",
        "cases": cases,
    }


def vrf_refused() -> Any:
    alpha = b"attest/locator/1 " + LOCATOR.encode()
    honest = reference.prove(SECRET, alpha)
    pk, pi = honest["pk"], honest["pi"]
    gamma, c, s = pi[:32], pi[32:48], pi[48:]
    order_8 = next(T for T in reference.torsion() if reference.multiply(4, T) != reference.IDENTITY)
    order_2 = (0, reference.p - 1)
    Y = reference.string_to_point(pk)
    assert Y is not None
    off_curve = next(
        y.to_bytes(32, "little") for y in range(2, 99) if reference.string_to_point(y.to_bytes(32, "little")) is None
    )
    s_plus_q = (int.from_bytes(s, "little") + reference.q).to_bytes(32, "little")
    cases: list[tuple[str, str, bytes, bytes, bytes]] = [
        ("key-empty", "vrf/key", b"", alpha, pi),
        ("key-short", "vrf/key", pk[:31], alpha, pi),
        ("key-long", "vrf/key", pk + b"\x00", alpha, pi),
        ("key-off-curve", "vrf/key", off_curve, alpha, pi),
        ("key-y-equals-p", "vrf/key", reference.p.to_bytes(32, "little"), alpha, pi),
        ("key-y-equals-p-plus-1", "vrf/key", (reference.p + 1).to_bytes(32, "little"), alpha, pi),
        ("key-y-largest", "vrf/key", (2**255 - 1).to_bytes(32, "little"), alpha, pi),
        ("key-minus-zero", "vrf/key", (1 | 1 << 255).to_bytes(32, "little"), alpha, pi),
        ("key-plus-order-8", "vrf/key", reference.point_to_string(reference.add(Y, order_8)), alpha, pi),
        ("key-plus-order-2", "vrf/key", reference.point_to_string(reference.add(Y, order_2)), alpha, pi),
        ("proof-empty", "vrf/proof-length", pk, alpha, b""),
        ("proof-short", "vrf/proof-length", pk, alpha, pi[:-1]),
        ("proof-long", "vrf/proof-length", pk, alpha, pi + b"\x00"),
        ("s-plus-q", "vrf/scalar", pk, alpha, gamma + c + s_plus_q),
        ("s-equals-q", "vrf/scalar", pk, alpha, gamma + c + reference.q.to_bytes(32, "little")),
        ("s-largest", "vrf/scalar", pk, alpha, gamma + c + b"\xff" * 32),
        ("gamma-off-curve", "vrf/gamma", pk, alpha, off_curve + c + s),
        ("gamma-y-equals-p", "vrf/gamma", pk, alpha, reference.p.to_bytes(32, "little") + c + s),
        ("gamma-order-8-twist", "vrf/gamma", pk, alpha, reference.prove(SECRET, alpha, order_8)["pi"]),
        ("gamma-order-2-twist", "vrf/gamma", pk, alpha, reference.prove(SECRET, alpha, order_2)["pi"]),
        ("gamma-negated", "vrf/mismatch", pk, alpha, gamma[:31] + bytes([gamma[31] ^ 0x80]) + c + s),
        ("c-zero", "vrf/mismatch", pk, alpha, gamma + bytes(16) + s),
        ("s-zero", "vrf/mismatch", pk, alpha, gamma + c + bytes(32)),
        ("s-largest-below-q", "vrf/mismatch", pk, alpha, gamma + c + (reference.q - 1).to_bytes(32, "little")),
        ("other-alpha", "vrf/mismatch", pk, alpha + b"x", pi),
        ("other-key", "vrf/mismatch", reference.public_key(SALT), alpha, pi),
    ]
    for number, T in enumerate(reference.torsion()):
        small = reference.point_to_string(T)
        cases.append((f"key-small-order-{number}", "vrf/key", small, alpha, pi))
        cases.append((f"gamma-small-order-{number}", "vrf/gamma", pk, alpha, small + c + s))
    return {
        "about": "Keys and proofs to refuse. The two twists verify under RFC 9381 to the letter, with the same beta.",
        "cases": [
            {"name": name, "pk": key.hex(), "alpha": a.hex(), "pi": proof.hex(), "code": code}
            for name, code, key, a, proof in cases
        ],
    }


# --- locators ---

_SHA = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

LOCATORS_GOOD = [
    "email:ada@example.org",
    "email:a@b.c",
    "email:ada.lovelace+news@mail.example.org",
    "email:.dots..anywhere.@example.org",
    "email:!#$%&'*+/=?^_`{|}~-@example.org",
    "email:0@0.example",
    "email:ada@xn--bcher-kva.example",
    "email:ada@ex--ample.org",
    "email:ada@example.xn--p1ai",
    f"email:{'l' * 64}@example.org",
    f"email:ada@{'d' * 63}.example",
    f"email:ada@example.{'t' * 63}",
    f"email:l@{'.'.join(['d' * 63] * 3 + ['d' * 60])}",
    "phone:+1234567",
    "phone:+123456789012345",
    "phone:+442079460018",
    _SHA,
    "sha256:" + "0" * 64,
    "record:4711",
    "record:!",
    "record:~",
    "record:a:b",
    "record:Case-Kept",
    "record:" + "r" * 256,
]

LOCATORS_BAD = {
    "locator/type": [
        "",
        ":",
        "email",
        "ada@example.org",
        ":ada@example.org",
        "Email:ada@example.org",
        "EMAIL:ada@example.org",
        " email:ada@example.org",
        "email :ada@example.org",
        "mailto:ada@example.org",
        "tel:+442079460018",
        "sha512:00",
        "iban:GB33BUKB20201555555555",
        "\ufeffemail:ada@example.org",
    ],
    "locator/email": [
        "email:",
        "email:ada",
        "email:@example.org",
        "email:ada@",
        "email:ada@@example.org",
        "email:ada@b@example.org",
        "email: ada@example.org",
        "email:ada@example.org ",
        "email:ada@example.org\n",
        "email:ada @example.org",
        "email:Ada@example.org",
        "email:ada@Example.org",
        'email:"ada"@example.org',
        "email:ada(home)@example.org",
        "email:<ada@example.org>",
        "email:ada,bob@example.org",
        "email:ada;bob@example.org",
        "email:ada:bob@example.org",
        "email:ada\\bob@example.org",
        "email:[ada]@example.org",
        "email:ada\x7f@example.org",
        "email:ad\u00e4@example.org",
        "email:ada@b\u00fccher.example",
        "email:ada@example\u3002org",
        "email:ada@\u212aelvin.example",
        "email:ada@localhost",
        "email:ada@.org",
        "email:ada@example.",
        "email:ada@example.org.",
        "email:ada@example..org",
        "email:ada@-example.org",
        "email:ada@example-.org",
        "email:ada@exam_ple.org",
        "email:ada@127.0.0.1",
        "email:ada@[127.0.0.1]",
        "email:ada@[ipv6:2001:db8::1]",
        "email:ada@example.0x7f",
        "email:ada@example.1com",
        "email:ada@example.c-",
        f"email:{'l' * 65}@example.org",
        f"email:ada@{'d' * 64}.example",
        f"email:ada@example.{'t' * 64}",
        f"email:l@{'.'.join(['d' * 63] * 3 + ['d' * 61])}",
    ],
    "locator/phone": [
        "phone:",
        "phone:+",
        "phone:442079460018",
        "phone:00442079460018",
        "phone:+123456",
        "phone:+1234567890123456",
        "phone:+0123456789",
        "phone:+44 2079460018",
        "phone:+44-2079460018",
        "phone: +442079460018",
        "phone:+442079460018\n",
        "phone:++442079460018",
        "phone:+4420794600I8",
        "phone:+\u0664\u0664\u0662\u0660\u0667\u0669\u0664\u0666\u0660",
        "phone:\uff0b442079460018",
    ],
    "locator/sha256": [
        "sha256:",
        _SHA.upper().replace("SHA", "sha"),
        _SHA[:-1],
        _SHA + "0",
        _SHA + "\n",
        "sha256:0x" + "0" * 62,
        "sha256:" + "g" * 64,
        "sha256:" + "\u0660" * 64,
    ],
    "locator/record": [
        "record:",
        "record: 4711",
        "record:47 11",
        "record:4711\n",
        "record:\x7f",
        "record:\x1f",
        "record:\x00",
        "record:\u00e4",
        "record:\ud800",
        "record:" + "r" * 257,
    ],
}

NORMALISED = [
    ("Email:  Ada@Example.ORG ", LOCATOR),
    ("email:ada@example.org", LOCATOR),
    ("\t EMAIL\r\n: a d a\x0b@\x0cexample.org\n", LOCATOR),
    ("email:Ada.Lovelace+News@example.org", "email:ada.lovelace+news@example.org"),
    ("phone: +44 20 7946-0018", "phone:+442079460018"),
    ("Phone:+1 (555) 010.9999", "phone:+15550109999"),
    ("phone:+44/20/79460018", "phone:+442079460018"),
    ("SHA256: " + _SHA[7:].upper() + "\n", _SHA),
    ("Record: Case-Kept ", "record:Case-Kept"),
]

NORMALISED_WITH_IDNA = [
    ("email:Ada@B\u00dcCHER.example", "email:ada@xn--bcher-kva.example"),
    ("email:ada@bu\u0308cher.example", "email:ada@xn--bcher-kva.example"),
    ("email:ada@stra\u00dfe.example", "email:ada@xn--strae-oqa.example"),
    ("email:ada@b\u00fccher\u3002example", "email:ada@xn--bcher-kva.example"),
]

NORMALISED_WITH_PHONENUMBERS = [
    ("phone:020 7946 0018", "GB", "phone:+442079460018"),
    ("phone:+44 (0)20 7946 0018", None, "phone:+442079460018"),
    ("phone:00 44 20 7946 0018", "DE", "phone:+442079460018"),
    ("phone:+39 (06) 6982", None, "phone:+39066982"),
]

NOT_NORMALISED = [
    ("ada@example.org", "locator/type"),
    ("e-mail:ada@example.org", "locator/type"),
    ("\u00a0email:ada@example.org", "locator/type"),
    ("email:\u00a0ada@example.org", "locator/email"),
    ("email:ad\u00c4@example.org", "locator/email"),
    ("email:Ada Lovelace <ada@example.org>", "locator/email"),
    ("email:ada@example.org.", "locator/email"),
    ("phone:020 7946 0018", "locator/phone"),
    ("phone:0044 20 7946 0018", "locator/phone"),
    ("phone:+44\u00a02079460018", "locator/phone"),
    ("sha256:abc", "locator/sha256"),
    ("record:47 11", "locator/record"),
]


def locators_canonical() -> Any:
    cases: list[Any] = []
    for locator in LOCATORS_GOOD:
        kind, value = locator.split(":", 1)
        alpha = b"attest/locator/1 " + locator.encode("ascii")
        cases.append({"locator": locator, "type": kind, "value": value, "alpha": alpha.hex()})
    cases += [{"locator": locator, "code": code} for code, bad in LOCATORS_BAD.items() for locator in bad]
    return {"about": "Canonical locators, and texts that are not (with `code`).", "cases": cases}


def locators_normalised() -> Any:
    cases: list[Any] = [{"text": text, "locator": locator} for text, locator in NORMALISED]
    cases += [{"text": text, "locator": locator, "needs": "idna"} for text, locator in NORMALISED_WITH_IDNA]
    cases += [
        {"text": text, "region": region, "locator": locator, "needs": "phonenumbers"}
        for text, region, locator in NORMALISED_WITH_PHONENUMBERS
    ]
    cases += [{"text": text, "code": code} for text, code in NOT_NORMALISED]
    return {"about": "Sloppy text and the locator meant. Help in front of the check, not part of it.", "cases": cases}


# --- commitments ---


def commitments_chain() -> Any:
    cases: list[Any] = []
    for holder, system, locator, records in [
        (HOLDER, SYSTEM, LOCATOR, [b"hello"]),
        (HOLDER, "orders.eu-1", LOCATOR, [b"hello", b'{"id":1}', b""]),
        ("a.b", "0", "record:" + "r" * 256, [b"x"]),
    ]:
        beta = reference.prove(SECRET, b"attest/locator/1 " + locator.encode())["beta"]
        index = labelled("index", holder.encode(), system.encode(), beta)
        digest = record_digest(*(hashlib.sha256(record).digest() for record in records))
        blind = labelled("blind", SALT)
        cases.append(
            {
                "holder": holder,
                "system": system,
                "locator": locator,
                "vrf_secret": SECRET.hex(),
                "alpha": (b"attest/locator/1 " + locator.encode()).hex(),
                "beta": beta.hex(),
                "index": index.hex(),
                "key": labelled("key", index).hex(),
                "records": [record.hex() for record in records],
                "record_digest": digest.hex(),
                "salt": SALT.hex(),
                "blind": blind.hex(),
                "commitment": labelled("commitment", index, blind, digest).hex(),
            }
        )
    return {"about": "From locator and records to one row, index ‖ commitment. All bytes in hex.", "cases": cases}


def commitments_record_digests() -> Any:
    one, two = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()
    cases: list[Any] = []
    for name, hashes in {
        "one": [one],
        "two": [one, two],
        "order-does-not-count": [two, one],
        "repeats-do-not-count": [one, two, one],
        "extremes": [b"\xff" * 32, bytes(32)],
    }.items():
        array = json.dumps(sorted({each.hex() for each in hashes}), separators=(",", ":"))
        digest = hashlib.sha256(array.encode()).hexdigest()
        cases.append({"name": name, "hashes": [h.hex() for h in hashes], "array": array, "record_digest": digest})
    cases.append({"name": "none", "hashes": [], "code": "commitment/no-records"})
    return {"about": "Record digests from the SHA-256 of each record.", "cases": cases}


ROWS_GOOD: list[tuple[str, list[Any], str]] = [
    ("empty", [], "{}"),
    ("plain", [["b", {"text": "x"}], ["a", {"null": None}], ["c", {"bool": True}]], '{"a":null,"b":"x","c":true}'),
    ("example-of-the-spec", [["id", {"int": "4711"}], ["paid", {"decimal": "12.50"}], ["name", {"text": "Ada"}]],
     '{"id":4711,"name":"Ada","paid":"12.5"}'),
    ("no-names-merged", [["", {"int": "1"}], [" ", {"int": "2"}]], '{"":1," ":2}'),
    ("int-largest", [["n", {"int": "9007199254740991"}]], '{"n":9007199254740991}'),
    ("int-too-large", [["n", {"int": "9007199254740992"}]], '{"n":"9007199254740992"}'),
    ("int-smallest", [["n", {"int": "-9007199254740991"}]], '{"n":-9007199254740991}'),
    ("int-too-small", [["n", {"int": "-9007199254740992"}]], '{"n":"-9007199254740992"}'),
    ("int-4096-digits", [["n", {"int": "9" * 4096}]], '{"n":"' + "9" * 4096 + '"}'),
    ("utf-16-order", [["\ufb33", {"int": "1"}], ["\U0001f600", {"int": "2"}]], '{"\U0001f600":2,"\ufb33":1}'),
    ("case-order", [["a", {"int": "1"}], ["B", {"int": "2"}], ["_", {"int": "3"}]], '{"B":2,"_":3,"a":1}'),
    (
        "escapes",
        [["t", {"text": '\x00\x07\b\t\n\x0b\f\r\x1f"\\/\x7f\u2028\u00e9\U0001f600'}]],
        '{"t":"\\u0000\\u0007\\b\\t\\n\\u000b\\f\\r\\u001f\\"\\\\/\x7f\u2028\u00e9\U0001f600"}',
    ),
    ("name-escaped", [['"\n', {"int": "0"}]], '{"\\"\\n":0}'),
    ("text-not-normalised", [["t", {"text": "e\u0301"}], ["u", {"text": "\u00e9"}]], '{"t":"e\u0301","u":"\u00e9"}'),
    ("float-half", [["f", {"float": 1.5}]], '{"f":"1.5"}'),
    ("float-whole", [["f", {"float": 5.0}]], '{"f":"5"}'),
    ("float-minus-zero", [["f", {"float": -0.0}]], '{"f":"0"}'),
    ("float-tenth", [["f", {"float": 0.1}]], '{"f":"0.1"}'),
    ("float-small", [["f", {"float": 1e-06}]], '{"f":"0.000001"}'),
    ("float-smaller", [["f", {"float": -1.5e-07}]], '{"f":"-1.5e-7"}'),
    ("float-large", [["f", {"float": 123456789012345680000.0}]], '{"f":"123456789012345680000"}'),
    ("float-larger", [["f", {"float": 1e21}]], '{"f":"1e+21"}'),
    ("float-smallest", [["f", {"float": 5e-324}]], '{"f":"5e-324"}'),
    ("float-largest", [["f", {"float": 1.7976931348623157e308}]], '{"f":"1.7976931348623157e+308"}'),
    ("float-nan", [["f", {"float": "7ff8000000000000"}]], '{"f":"NaN"}'),
    ("float-infinite", [["f", {"float": "fff0000000000000"}]], '{"f":"-Infinity"}'),
    ("decimal-zeros", [["d", {"decimal": "1.50"}]], '{"d":"1.5"}'),
    ("decimal-whole", [["d", {"decimal": "100.00"}]], '{"d":"100"}'),
    ("decimal-exponent", [["d", {"decimal": "1E+3"}]], '{"d":"1000"}'),
    ("decimal-small", [["d", {"decimal": "-1E-7"}]], '{"d":"-0.0000001"}'),
    ("decimal-minus-zero", [["d", {"decimal": "-0.00"}]], '{"d":"0"}'),
    ("decimal-many", [["d", {"decimal": "12345678901234567890.123456789012345678901234567890"}]],
     '{"d":"12345678901234567890.12345678901234567890123456789"}'),
    ("decimal-nan", [["d", {"decimal": "NaN"}]], '{"d":"NaN"}'),
    ("decimal-infinite", [["d", {"decimal": "-Infinity"}]], '{"d":"-Infinity"}'),
    ("bytes", [["x", {"bytes": "00fffe"}], ["y", {"bytes": ""}]], '{"x":"AP/+","y":""}'),
    ("uuid", [["u", {"uuid": "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"}]], '{"u":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}'),
    ("date", [["d", {"date": "0987-06-05"}]], '{"d":"0987-06-05"}'),
    ("time", [["t", {"time": "07:08:09"}], ["u", {"time": "23:59:59.120000"}]],
     '{"t":"07:08:09","u":"23:59:59.12"}'),
    ("instant", [["t", {"datetime": "2026-06-30T23:30:00+02:00"}]], '{"t":"2026-06-30T21:30:00Z"}'),
    ("instant-fraction", [["t", {"datetime": "2026-06-30T00:30:00.500000+01:00"}]], '{"t":"2026-06-29T23:30:00.5Z"}'),
    ("instant-utc", [["t", {"datetime": "2026-06-30T00:30:00.000001+00:00"}]], '{"t":"2026-06-30T00:30:00.000001Z"}'),
    ("local-time", [["t", {"datetime": "2026-06-30T00:30:10"}]], '{"t":"2026-06-30T00:30:10"}'),
    ("durations", [["a", {"micros": 0}], ["b", {"micros": 93784500000}], ["c", {"micros": -1}]],
     '{"a":"PT0S","b":"PT93784.5S","c":"-PT0.000001S"}'),
    ("nested",
     [["a", {"array": [{"int": "1"}, {"float": 1.0}, {"array": []}]}],
      ["o", {"object": [["z", {"null": None}], ["b", {"bool": False}]]}]],
     '{"a":[1,"1",[]],"o":{"b":false,"z":null}}'),
    ("depth-16", [["a", json.loads('{"array":[' * 17 + "]}" * 17)]], '{"a":' + "[" * 17 + "]" * 17 + "}"),
]  # fmt: skip

ROWS_BAD: list[tuple[str, list[Any], str]] = [
    ("lone-surrogate", [["t", {"text": "\ud800"}]], "record/text"),
    ("lone-surrogate-in-name", [["\udfff", {"int": "1"}]], "record/text"),
    ("int-4097-digits", [["n", {"int": "1" + "0" * 4096}]], "record/number"),
    ("decimal-huge", [["n", {"decimal": "1E+999999"}]], "record/number"),
    ("decimal-tiny", [["n", {"decimal": "1E-999999"}]], "record/number"),
    ("before-year-1", [["t", {"datetime": "0001-01-01T00:00:00+01:00"}]], "record/time"),
    ("after-year-9999", [["t", {"datetime": "9999-12-31T23:59:59-01:00"}]], "record/time"),
    ("time-with-zone", [["t", {"time": "07:08:09+01:00"}]], "record/time"),
    ("depth-17", [["a", json.loads('{"array":[' * 18 + "]}" * 18)]], "record/depth"),
]


def commitments_rows() -> Any:
    cases: list[Any] = [
        {"name": name, "row": row, "json": expected, "sha256": hashlib.sha256(expected.encode()).hexdigest()}
        for name, row, expected in ROWS_GOOD
    ]
    cases += [{"name": name, "row": row, "code": code} for name, row, code in ROWS_BAD]
    return {
        "about": (
            "Table rows as records. `row` lists [column, {type: value}]; a float is a JSON number or the hex of its "
            "8 bytes, `micros` a duration in microseconds, bytes are hex, integers and decimals text."
        ),
        "cases": cases,
    }


# --- encoding ---


def encoding_texts() -> Any:
    cases: list[Any] = []
    for text, value in {
        "0": 0,
        "1": 1,
        "10": 10,
        "9223372036854775807": 2**63 - 1,
    }.items():
        cases.append({"codec": "decimal", "text": text, "value": str(value)})
    for text in [
        "", "-", "-0", "-1", "+1", "00", "01", " 1", "1 ", "1\n", "1_000", "1.0", "1e3", "0x1", "\u0663", "\uff11",
        "9223372036854775808", "10000000000000000000", "9" * 5000,
    ]:  # fmt: skip
        cases.append({"codec": "decimal", "text": text, "code": "encoding/decimal"})
    for text in ["", "00", "00ff", "deadbeef"]:
        cases.append({"codec": "hex", "text": text, "value": text})
    for text in ["0", "0F", "0x00", " 00", "00 ", "00\n", "0g", "00 ff", "\u0660\u0660"]:
        cases.append({"codec": "hex", "text": text, "code": "encoding/hex"})
    cases.append({"codec": "hex", "text": "00ff", "size": 2, "value": "00ff"})
    cases.append({"codec": "hex", "text": "00ff", "size": 3, "code": "encoding/hex"})
    # RFC 4648 section 10, and the characters in which the two alphabets differ.
    for text, value in {
        "": b"", "Zg==": b"f", "Zm8=": b"fo", "Zm9v": b"foo", "Zm9vYg==": b"foob", "Zm9vYmE=": b"fooba",
        "Zm9vYmFy": b"foobar", "+/8=": b"\xfb\xff",
    }.items():  # fmt: skip
        cases.append({"codec": "base64", "text": text, "value": value.hex()})
        url = text.rstrip("=").replace("+", "-").replace("/", "_")
        cases.append({"codec": "base64url", "text": url, "value": value.hex()})
    for text in [
        "Zg",
        "Zg=",
        "Zh==",
        "Zm9=",
        "Zg==\n",
        " Zg==",
        "Zg= =",
        "Z*g==",
        "-_8=",
        "Zg==Zg==",
        "====",
        "Z",
        "\u00e4",
    ]:
        cases.append({"codec": "base64", "text": text, "code": "encoding/base64"})
    for text in ["Zg==", "Zh", "Zm9=", "Zg\n", " Zg", "+/8", "Z", "Zm9vY", "Z*g", "\u00e4"]:
        cases.append({"codec": "base64url", "text": text, "code": "encoding/base64url"})
    for codec, text in {"base64": "AAA=", "base64url": "AAA"}.items():
        cases.append({"codec": codec, "text": text, "size": 2, "value": "0000"})
        cases.append({"codec": codec, "text": text, "size": 32, "code": f"encoding/{codec}"})
    return {
        "about": "Text codecs. `value` is decimal text or hex bytes; `size`, where given, is the bytes wanted.",
        "cases": cases,
    }


def encoding_labelled() -> Any:
    cases = []
    for name, parts in [
        ("possession", []),
        ("index", [b"shop.example", b"crm", bytes(64)]),
        ("key", [bytes(32)]),
        ("blind", [b""]),
        ("chain", [bytes(32), (2**64 - 1).to_bytes(8, "big"), b"\xff" * 32]),
    ]:
        hashed = labelled(name, *parts).hex()
        cases.append({"name": name, "parts": [part.hex() for part in parts], "hash": hashed})
    return {"about": "Labelled SHA-256.", "cases": cases}


CBOR_GOOD: list[tuple[str, Any, str]] = [
    ("zero", 0, "00"),
    ("23", 23, "17"),
    ("24", 24, "1818"),
    ("255", 255, "18ff"),
    ("256", 256, "190100"),
    ("65535", 65535, "19ffff"),
    ("65536", 65536, "1a00010000"),
    ("2^32-1", 2**32 - 1, "1affffffff"),
    ("2^32", 2**32, "1b0000000100000000"),
    ("largest", 2**53 - 1, "1b001fffffffffffff"),
    ("minus-1", -1, "20"),
    ("minus-25", -25, "3818"),
    ("smallest", -(2**53) + 1, "3b001ffffffffffffe"),
    ("false", False, "f4"),
    ("true", True, "f5"),
    ("null", None, "f6"),
    ("no-bytes", b"", "40"),
    ("bytes", b"\x01\x02", "420102"),
    ("no-text", "", "60"),
    ("text", "\u00fc\U00010151", "66c3bcf0908591"),
    ("text-with-bom", "\ufeff", "63efbbbf"),
    ("text-with-nul", "\x00", "6100"),
    ("array", [1, [2, 3], []], "8301820203 80".replace(" ", "")),
    ("no-map", {}, "a0"),
    # RFC 8949 §4.2.1, its example without the kinds of key we do not use.
    ("map-order", {10: 0, 100: 0, -1: 0}, "a30a001864002000"),
    ("text-map-order", {"z": 1, "aa": 2}, "a2617a0162616102"),
    ("depth-16", json.loads("[" * 17 + "]" * 17), "81" * 16 + "80"),
]

CBOR_BAD: list[tuple[str, str, str]] = [
    ("nothing", "", "cbor/truncated"),
    ("head-cut", "18", "cbor/truncated"),
    ("head-cut-8", "1b00000000000000", "cbor/truncated"),
    ("bytes-cut", "4201", "cbor/truncated"),
    ("text-cut", "6261", "cbor/truncated"),
    ("array-cut", "8201", "cbor/truncated"),
    ("map-cut", "a10a", "cbor/truncated"),
    ("array-vast", "9bffffffffffffffff", "cbor/truncated"),
    ("bytes-vast", "5bffffffffffffffff", "cbor/truncated"),
    ("map-vast", "bb7fffffffffffffff0000", "cbor/truncated"),
    ("trailing", "0000", "cbor/trailing"),
    ("trailing-break", "00ff", "cbor/trailing"),
    ("reserved-info", "1c", "cbor/type"),
    ("indefinite-bytes", "5f4100ff", "cbor/type"),
    ("indefinite-text", "7f6100ff", "cbor/type"),
    ("indefinite-array", "9fff", "cbor/type"),
    ("indefinite-map", "bfff", "cbor/type"),
    ("break", "ff", "cbor/type"),
    ("undefined", "f7", "cbor/type"),
    ("simple-0", "e0", "cbor/type"),
    ("simple-32", "f820", "cbor/type"),
    ("false-in-two-bytes", "f814", "cbor/type"),
    ("half", "f93c00", "cbor/type"),
    ("single", "fa3f800000", "cbor/type"),
    ("double", "fb3ff0000000000000", "cbor/type"),
    ("tag", "c11a514b67b0", "cbor/type"),
    ("bignum", "c249010000000000000000", "cbor/type"),
    ("key-bytes", "a1410000", "cbor/type"),
    ("key-null", "a1f600", "cbor/type"),
    ("key-true", "a1f500", "cbor/type"),
    ("key-array", "a18000", "cbor/type"),
    ("too-large", "1b0020000000000000", "cbor/range"),
    ("too-small", "3b001fffffffffffff", "cbor/range"),
    ("depth-17", "81" * 17 + "80", "cbor/depth"),
    ("long-head-0", "1800", "cbor/not-deterministic"),
    ("long-head-23", "1817", "cbor/not-deterministic"),
    ("long-head-255", "1900ff", "cbor/not-deterministic"),
    ("long-head-65535", "1a0000ffff", "cbor/not-deterministic"),
    ("long-head-2^32-1", "1b00000000ffffffff", "cbor/not-deterministic"),
    ("long-head-negative", "3800", "cbor/not-deterministic"),
    ("long-head-bytes", "580100", "cbor/not-deterministic"),
    ("long-head-text", "780161", "cbor/not-deterministic"),
    ("long-head-array", "980100", "cbor/not-deterministic"),
    ("long-head-map", "b8010000", "cbor/not-deterministic"),
    ("long-head-key", "a1180000", "cbor/not-deterministic"),
    ("duplicate-key", "a200000001", "cbor/not-deterministic"),
    ("duplicate-text-key", "a2616100616101", "cbor/not-deterministic"),
    ("order", "a201000000", "cbor/not-deterministic"),
    ("order-of-rfc7049", "a3 0a00 2000 186400".replace(" ", ""), "cbor/not-deterministic"),
    ("text-order", "a262616102617a01", "cbor/not-deterministic"),
    ("not-utf-8", "61ff", "encoding/utf8"),
    ("surrogate", "63eda080", "encoding/utf8"),
    ("overlong", "62c080", "encoding/utf8"),
]


def diagnostic(value: Any) -> str:
    """Write a value in RFC 8949's diagnostic notation."""
    match value:
        case bytes():
            return f"h'{value.hex()}'"
        case list():
            return "[" + ", ".join(map(diagnostic, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{diagnostic(k)}: {diagnostic(v)}" for k, v in value.items()) + "}"
        case _:
            return json.dumps(value)


def encoding_cbor() -> Any:
    cases: list[Any] = []
    for name, value, encoded in CBOR_GOOD:
        assert cbor2.loads(bytes.fromhex(encoded)) == value, name
        cases.append({"name": name, "encoded": encoded, "value": diagnostic(value)})
    cases += [{"name": name, "encoded": encoded, "code": code} for name, encoded, code in CBOR_BAD]
    return {"about": "Deterministic CBOR in hex, with its value in diagnostic notation or its code.", "cases": cases}


FILES = {
    "vrf/proofs.json": vrf_proofs,
    "vrf/refused.json": vrf_refused,
    "locators/canonical.json": locators_canonical,
    "locators/normalised.json": locators_normalised,
    "commitments/chain.json": commitments_chain,
    "commitments/record-digests.json": commitments_record_digests,
    "commitments/rows.json": commitments_rows,
    "encoding/texts.json": encoding_texts,
    "encoding/labelled.json": encoding_labelled,
    "encoding/cbor.json": encoding_cbor,
}


def text_of(name: str) -> str:
    """Return what the vector file `name` has to contain."""
    # ASCII, so that no editor and no checkout touches a vector.
    return json.dumps(FILES[name](), indent=1, ensure_ascii=True) + "\n"


def main() -> None:
    for name in FILES:
        path = VECTORS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(name), encoding="ascii")


if __name__ == "__main__":
    main()
