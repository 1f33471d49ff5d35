"""Lets the JavaScript implementation judge what `attest verify` judges, and compares all that programs may rely on."""

import base64
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from attest.encoding import decode_cbor, encode_cbor
from attest.errors import AttestError, Malformed
from attest.formats.keepsake import Keepsake
from attest.formats.policy import Policy
from attest.ledger.verify import Question, verify

ROOT: Final = Path(__file__).resolve().parents[2]
NODE: Final = Path(sys.executable).with_name("node")
PROGRAM: Final = ROOT / "web/bin/attest-verify.mjs"
# Text for people, which the specification leaves to each implementation.
WORDS: Final = ("reason", "hint", "sentence", "why_not_higher", "not_proven")

Case = dict[str, Any]


def wire(case: Case) -> dict[str, Any]:
    """Return a case as both take it in JSON."""
    kept = case["keepsake"]
    return {
        "question": case["question"],
        "bundle": base64.b64encode(case["bundle"]).decode(),
        "keepsake": None if kept is None else base64.b64encode(kept).decode(),
    }


def theirs(cases: list[Case]) -> list[dict[str, Any]]:
    """Return what JavaScript, under Node, says of them."""
    return answers([wire(case) for case in cases])


def answers(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the program answers, line by line."""
    asked = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([NODE, PROGRAM], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def ours(case: Case) -> dict[str, Any]:
    """Return what `attest verify` says: a verdict, or that the question is wrong."""
    asked = dict(case["question"])
    try:
        for name in ("policy", "state_policy"):
            asked[name] = None if asked[name] is None else Policy.parse(asked[name].encode())
        asked["keepsake"] = None if asked["keepsake"] is None else Keepsake.parse(case["keepsake"])
        kept = asked["keepsake"]
        asked["locators"] = tuple(asked["locators"]) or (() if kept is None else (kept.locator,))
        return json.loads(json.dumps(asdict(verify(case["bundle"], Question(**asked)))))  # type: ignore[no-any-return]
    except Malformed as error:
        return {"outcome": "usage", "code": error.code}


def differences(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the members that differ. A wrong question has only that it is one."""
    if mine["outcome"] == other["outcome"] == "usage":
        return {}
    bare = [{name: member for name, member in verdict.items() if name not in WORDS} for verdict in (mine, other)]
    for verdict in bare:
        verdict["steps"] = [
            {name: step[name] for name in ("number", "name", "ok", "code")} for step in verdict.get("steps", ())
        ]
    names = bare[0].keys() | bare[1].keys()
    return {name: (bare[0].get(name), bare[1].get(name)) for name in names if bare[0].get(name) != bare[1].get(name)}


def recoded(cases: list[Case], count: int) -> Iterator[Case]:
    """Yield `count` cases with something in a head, a descriptor or an entry changed, and encoded again."""
    for number in range(count):
        draw = random.Random(f"recoded {number}")
        case = dict(draw.choice(cases))
        try:
            bundle = json.loads(case["bundle"])
            place, name = draw.choice(
                [(bundle["holder"], "head")]
                + [(system, name) for system in bundle["systems"] for name in ("head", "descriptor")]
                + [(entry, "entry") for entry in bundle["entries"]]
            )
            encoded = base64.b64decode(place[name])
            place[name] = base64.b64encode(_recode(encoded, draw)).decode()
        except (AttestError, ValueError, TypeError, KeyError):
            continue
        yield {**case, "bundle": json.dumps(bundle).encode(), "desc": f"recoded {number} of {case['desc']!r}: {name}"}


_STRANGE: Final = (None, True, 0, 1, 2**53 - 1, -1, b"", bytes(32), "", "x", "log", [], {}, [[]], {"x": 1})


def _recode(encoded: bytes, draw: random.Random) -> bytes:
    if encoded[:2] != b"\xd2\x84":
        return _change(encoded, draw)
    members: Any = decode_cbor(encoded[1:])
    member = draw.randrange(6)
    if member in (0, 2) and isinstance(members[member], bytes):
        members[member] = _change(members[member], draw)
    elif member < 4:
        members[member] = draw.choice((*_STRANGE, members[3][:-1], bytes(64)))
    elif member == 4:
        del members[draw.randrange(4)]
    else:
        members.insert(draw.randrange(5), draw.choice(_STRANGE))
    return b"\xd2" + encode_cbor(members)


def _change(encoded: bytes, draw: random.Random) -> bytes:
    value: Any = decode_cbor(encoded)
    places = list(_places(value))
    if not places:
        return encode_cbor(draw.choice(_STRANGE))
    holder, name = draw.choice(places)
    old = holder[name]
    match draw.randrange(4):
        case 0:
            del holder[name]
        case 1 if isinstance(old, int) and not isinstance(old, bool):
            holder[name] = old + draw.choice((1, -1, 300, 2**40))
        case 2 if isinstance(old, str):
            holder[name] = draw.choice((old + "x", old.upper(), old[:-1], f"{old}\n", "é" + old))
        case 3 if isinstance(holder, dict):
            holder["unknown"] = old
        case _:
            holder[name] = draw.choice(_STRANGE)
    again = encode_cbor(value)
    # Now and then in another order, or with a longer head than needed: not deterministic any more.
    if draw.randrange(8) == 0 and again[:1] < b"\xb8" and again[0] & 31 < 24:
        return bytes((again[0] & 0xE0 | 24, again[0] & 31)) + again[1:]
    return again


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    names = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        yield value, name
        yield from _places(value[name])
