"""Write tests/vectors/sample: `python -m tests.audit.make_vectors`.

A slow transcription of docs/spec/sample.md that shares no code with the package: fractions, recursive trees, cbor2.
"""

import hashlib
import hmac
import json
from fractions import Fraction
from math import ceil, comb
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VECTORS = Path(__file__).parents[1] / "vectors"
CHECKPOINT = "log.example/deletions\n7\n" + "A" * 43 + "=\n"
MILLION = 10**6

# The parameters of drand's quicknet and of its first chain, as their nodes publish them.
QUICKNET = {
    "hash": "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971",
    "public_key": "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1f"
    "ec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
    "genesis_time": 1692803367,
    "period": 3,
    "group_hash": "f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e",
    "beacon_id": "quicknet",
}


def sha(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


# --- the draw ---


def draw(value: bytes, checkpoint: str, digest: bytes, count: int, size: int) -> list[int]:
    text = checkpoint.encode()
    message = b"\x15attest/sample-seed/v1" + len(text).to_bytes(4, "big") + text + (32).to_bytes(4, "big") + digest
    seed = mac(value, message)
    positions: list[int] = []
    i = 0
    while True:
        block = mac(seed, i.to_bytes(8, "big"))
        for number in (int.from_bytes(block[8 * k : 8 * k + 8], "big") for k in range(4)):
            if number >= (2**64 // count) * count or number % count in positions:
                continue
            positions.append(number % count)
            if len(positions) == size:
                return positions
        i += 1


def draws() -> Any:
    cases = []
    for n, (count, size, length) in enumerate(
        [(1, 1, 32), (2, 2, 32), (5, 5, 64), (256, 16, 32), (1000, 29, 48), (30_000_000, 59, 32), (10**9, 20, 64)]
    ):
        value, digest = hashlib.shake_256(b"value %d" % n).digest(length), sha(b"plan %d" % n)
        cases.append(
            {
                "desc": f"{size} of {count}",
                "value": value.hex(),
                "checkpoint": CHECKPOINT,
                "plan": digest.hex(),
                "count": count,
                "size": size,
                "positions": draw(value, CHECKPOINT, digest, count, size),
            }
        )
    return {"about": "The positions that a beacon's value draws, in their order.", "cases": cases}


# --- trees, populations and frames ---


def leaf(entry: bytes) -> bytes:
    return sha(b"\x00" + entry)


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\x01" + root(leaves[:split]) + root(leaves[split:]))


def path(position: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if position < split:
        return [*path(position, leaves[:split]), root(leaves[split:])]
    return [*path(position - split, leaves[split:]), root(leaves[:split])]


def population(statements: list[tuple[str, list[bytes]]], wanted: str) -> list[bytes]:
    last: dict[bytes, tuple[str, bytes]] = {}
    for kind, rows in statements:
        for row in rows:
            last[row[:32]] = kind, row
    return sorted(row for kind, row in last.values() if kind == wanted)


def row(index: int, version: int = 0) -> bytes:
    return sha(b"index %d" % index) + sha(b"commitment %d %d" % (index, version))


HISTORY = [
    ("hold", [row(n) for n in range(12)]),
    ("tombstone", [row(n) for n in range(5)]),
    ("hold", [row(n, 1) for n in (3, 7, 20)]),  # held again, changed, new
    ("tombstone", [row(20, 1)]),
]


def populations() -> Any:
    statements = [{"kind": kind, "rows": [each.hex() for each in sorted(rows)]} for kind, rows in HISTORY]
    cases = []
    for direction, kind in (("backward", "hold"), ("erased", "tombstone")):
        rows = population(HISTORY, kind)
        cases.append(
            {
                "desc": direction,
                "direction": direction,
                "statements": statements,
                "count": len(rows),
                "root": root([leaf(each) for each in rows]).hex(),
                "rows": [each.hex() for each in rows],
            }
        )
    return {"about": "What there is to draw from after the statements of one system, in order.", "cases": cases}


def frames() -> Any:
    cases = []
    for count in (1, 2, 7):
        secret = sha(b"secret %d" % count)
        locators = sorted(f"email:person{n}@example.org" for n in range(count))
        salts = [mac(secret, n.to_bytes(8, "big")) for n in range(count)]
        leaves = [leaf(salt + locator.encode()) for salt, locator in zip(salts, locators, strict=True)]
        cases.append(
            {
                "desc": f"{count} rows",
                "file": f"attest-frame/1 {secret.hex()}\n" + "".join(f"{each}\n" for each in locators),
                "count": count,
                "root": root(leaves).hex(),
                "openings": [(salts[n] + b"".join(path(n, leaves))).hex() for n in range(count)],
            }
        )
    for desc, file in (
        ("nothing in it", f"attest-frame/1 {'00' * 32}\n"),
        ("not ascending", f"attest-frame/1 {'00' * 32}\nemail:b@example.org\nemail:a@example.org\n"),
        ("twice", f"attest-frame/1 {'00' * 32}\nemail:a@example.org\nemail:a@example.org\n"),
        ("no final newline", f"attest-frame/1 {'00' * 32}\nemail:a@example.org"),
        ("a short secret", "attest-frame/1 00\nemail:a@example.org\n"),
        ("no secret", "email:a@example.org\n"),
        ("CR LF", f"attest-frame/1 {'00' * 32}\r\nemail:a@example.org\r\n"),
    ):
        cases.append({"desc": desc, "file": file, "code": "sample/frame"})
    not_canonical = f"attest-frame/1 {'00' * 32}\nemail:A@example.org\n"
    cases.append({"desc": "not canonical", "file": not_canonical, "code": "locator/email"})
    return {"about": "Frames, their roots, and an opening (salt, then path) for each row.", "cases": cases}


# --- bounds ---


def probability(population: int, wrong: int, size: int, failures: int, recall: int) -> Fraction:
    """Return P(D) as a fraction."""
    seen = Fraction(recall, MILLION)
    total = Fraction(0)
    for j in range(min(wrong, size) + 1):
        if size - j > population - wrong:
            continue
        drawn = Fraction(comb(wrong, j) * comb(population - wrong, size - j), comb(population, size))
        few = sum(comb(j, k) * seen**k * (1 - seen) ** (j - k) for k in range(min(j, failures) + 1))
        total += drawn * few
    return total


def bounds() -> Any:
    cases = []
    for count, tolerable, confidence, recall, allowed, failures in (
        (1, 500_000, 950_000, MILLION, 0, 0),
        (20, 50_000, 950_000, MILLION, 0, 0),
        (20, 50_000, 950_000, MILLION, 0, 1),
        (100, 100_000, 950_000, MILLION, 0, 2),
        (100, 100_000, 950_000, 900_000, 0, 0),
        (60, 100_000, 990_000, 700_000, 0, 1),
        (120, 50_000, 900_000, MILLION, 1, 1),
        (150, 33_333, 950_000, 999_999, 0, 0),
    ):
        alpha = 1 - Fraction(confidence, MILLION)
        too_many = max(1, ceil(Fraction(count * tolerable, MILLION)))
        size = next(
            (n for n in range(allowed + 1, count + 1) if probability(count, too_many, n, allowed, recall) < alpha), None
        )
        case = {
            "desc": f"{count}, {tolerable} ppm, {failures} failures",
            "count": count,
            "tolerable_ppm": tolerable,
            "confidence_ppm": confidence,
            "recall_ppm": recall,
            "allowed": allowed,
        }
        if size is None:
            cases.append({**case, "code": "sample/size"})
            continue
        limit = max(d for d in range(failures, count + 1) if probability(count, d, size, failures, recall) >= alpha)
        cases.append({**case, "size": size, "failures": failures, "most_wrong": limit, "too_many": too_many})
    return {"about": "The size of a sample, and what its failures mean; computed with exact fractions.", "cases": cases}


# --- chains and results ---


def chains() -> Any:
    return {
        "about": "Parameters of drand chains, and when some rounds appear.",
        "cases": [
            {"desc": "quicknet", "chain": QUICKNET, "rounds": [[1, 1692803367], [1000, 1692806364]]},
            {"desc": "another period", "chain": {**QUICKNET, "period": 30}, "code": "sample/chain"},
            {"desc": "another beginning", "chain": {**QUICKNET, "genesis_time": 1692803366}, "code": "sample/chain"},
            {"desc": "another beacon", "chain": {**QUICKNET, "beacon_id": "default"}, "code": "sample/chain"},
            {"desc": "no period", "chain": {**QUICKNET, "period": 0}, "code": "sample/field"},
        ],
    }


def signed_note() -> str:
    """Return a checkpoint as a log publishes it; nobody here looks at its signature."""
    line = "\u2014 log.example/deletions AAAAAAAA" + "A" * 86 + "=="
    return f"{CHECKPOINT}\n{line}\n"


def plan_of(**changes: Any) -> dict[str, Any]:
    plan = {
        "format": "attest-sample-plan/1",
        "made_at": 1_790_000_000,
        "checkpoint": signed_note(),
        "holder": "acme.example",
        "system": "crm",
        "direction": "backward",
        "population": {"count": 100, "root": sha(b"population").hex()},
        "target": {"tolerable_ppm": 100_000, "confidence_ppm": 950_000, "recall_ppm": MILLION, "allowed": 0},
        "size": 25,
        "beacon": {"source": f"drand:{QUICKNET['hash']}", "round": 32_500_000, "chain": QUICKNET},
    }
    return {**plan, **changes}


def results() -> Any:
    key = Ed25519PrivateKey.from_private_bytes(sha(b"auditor"))
    public = key.public_key().public_bytes_raw()
    plan = json.dumps(plan_of()).encode()
    spoken = {
        "format": "attest-beacon/1",
        "source": plan_of()["beacon"]["source"],
        "round": 32_500_000,
        "value": sha(b"signature").hex(),
        "signature": b"signature".hex(),
    }
    beacon = json.dumps(spoken).encode()
    positions = draw(sha(b"signature"), CHECKPOINT, sha(plan), 100, 25)
    alpha = Fraction(5, 100)
    limit = [max(d for d in range(f, 101) if probability(100, d, 25, f, MILLION) >= alpha) for f in range(3)]
    answers = [[each, "opened", sha(b"answer %d" % each)] for each in positions]
    good = {
        "kind": "sample-result/1",
        "plan": plan,
        "beacon": beacon,
        "policy": sha(b"policy"),
        "answers": answers,
        "failures": 0,
        "most_wrong": limit[0],
    }
    claims = {1: "https://audit.example", 2: "https://acme.example", 3: "log.example/deletions", 6: 1_790_400_000}
    head = {
        1: -19,
        3: "application/vnd.attest.sample-result+cbor",
        4: sha(bytes.fromhex("a301012006215820") + public),
        15: claims,
        16: "application/vnd.attest.sample-result+cose",
    }

    def encode(value: Any) -> bytes:
        # RFC 8949's order; cbor2's canonical form has the older one.
        if isinstance(value, dict):
            pairs = sorted((encode(k), encode(v)) for k, v in value.items())
            return cbor2.dumps(dict.fromkeys(range(len(pairs)), 0))[:1] + b"".join(k + v for k, v in pairs)
        if isinstance(value, list):
            front = cbor2.dumps([0] * len(value))
            return front[: len(front) - len(value)] + b"".join(map(encode, value))
        return cbor2.dumps(value)

    def sign(payload: dict[str, Any], header: dict[int, Any] = head) -> bytes:
        protected, body = encode(header), encode(payload)
        signature = key.sign(encode(["Signature1", protected, b"", body]))
        return b"\xd2" + encode([protected, {}, body, signature])

    two = [
        [each, "opened" if n > 1 else "unanswered", None if n < 2 else sha(b"x")] for n, each in enumerate(positions)
    ]
    swapped = [answers[1], answers[0], *answers[2:]]
    other_value = json.dumps({**spoken, "value": sha(b"other").hex()}).encode()
    other_round = json.dumps({**spoken, "round": 32_500_001}).encode()
    loose = json.dumps(plan_of(target={"tolerable_ppm": 0, "confidence_ppm": 950_000, "recall_ppm": 1, "allowed": 0}))
    late = json.dumps(plan_of(made_at=1_790_400_000)).encode()
    cases: list[dict[str, Any]] = [
        {"desc": "all opened", "result": sign(good), "failures": 0, "most_wrong": limit[0], "supported": True},
        {
            "desc": "two unanswered",
            "result": sign({**good, "answers": two, "failures": 2, "most_wrong": limit[2]}),
            "failures": 2,
            "most_wrong": limit[2],
            "supported": False,
        },
        {"desc": "a failure uncounted", "result": sign({**good, "answers": two}), "code": "sample/count"},
        {"desc": "a better bound", "result": sign({**good, "most_wrong": limit[0] - 1}), "code": "sample/count"},
        {"desc": "another order", "result": sign({**good, "answers": swapped}), "code": "sample/positions"},
        {"desc": "a draw left out", "result": sign({**good, "answers": answers[1:]}), "code": "sample/positions"},
        {"desc": "another value", "result": sign({**good, "beacon": other_value}), "code": "sample/value"},
        {"desc": "another round", "result": sign({**good, "beacon": other_round}), "code": "sample/round"},
        {
            "desc": "an outcome of another direction",
            "result": sign({**good, "answers": [[answers[0][0], "held", None], *answers[1:]]}),
            "code": "sample/field",
        },
        {
            "desc": "an outcome that is none",
            "result": sign({**good, "answers": [[answers[0][0], "fine", None], *answers[1:]]}),
            "code": "sample/field",
        },
        {"desc": "no tolerable rate", "result": sign({**good, "plan": loose.encode()}), "code": "sample/field"},
        {"desc": "a plan made after the round", "result": sign({**good, "plan": late}), "code": "sample/field"},
        {
            "desc": "signed before the round",
            "result": sign(good, {**head, 15: {**claims, 6: 1_790_000_001}}),
            "code": "sample/time",
        },
        {
            "desc": "about another holder",
            "result": sign(good, {**head, 15: {**claims, 2: "https://other.example"}}),
            "code": "sample/field",
        },
        {"desc": "another content type", "result": sign(good, {**head, 3: "text/plain"}), "code": "sample/format"},
        {"desc": "one more field", "result": sign({**good, "note": "x"}), "code": "sample/format"},
        {"desc": "by another key", "result": sign(good, {**head, 4: sha(b"other")}), "code": "sample/key"},
        {"desc": "a broken signature", "result": sign(good)[:-1] + b"\x00", "code": "signature/invalid"},
        {"desc": "not a COSE_Sign1", "result": sign(good)[1:], "code": "sample/format"},
    ]
    return {
        "about": "Signed results, for the auditor's public key; and what follows from each, or its code.",
        "public": public.hex(),
        "cases": [{**case, "result": case["result"].hex()} for case in cases],
    }


FILES = {
    "sample/draws.json": draws,
    "sample/populations.json": populations,
    "sample/frames.json": frames,
    "sample/bounds.json": bounds,
    "sample/chains.json": chains,
    "sample/results.json": results,
}


def text_of(name: str) -> str:
    """Return what the vector file `name` has to contain."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=True) + "\n"


def main() -> None:
    for name in FILES:
        target = VECTORS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text_of(name), encoding="ascii")


if __name__ == "__main__":
    main()
