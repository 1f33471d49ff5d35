"""Bundles of a log whose operator binds what the rules forbid: signatures and hashes fit, what they say does not."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from attest.encoding import decode_cbor, encode_cbor
from attest.errors import Malformed
from tests.verify.crooked import Fields, again, erased_once, recommit, recut, rewrite
from tests.verify.test_verdicts import ADA, BOB, EVE

Case = dict[str, Any]

_STRANGE = (None, True, False, 0, 1, 2, 3, -1, 2**53 - 1, b"", bytes(32), "", "x", "log", "db", [], {}, [0])
_WORDS = (
    "db",
    "files",
    "acme.example",
    "holder",
    "auditor",
    "log",
    "backup",
    "other",
    "phone",
    "email",
    "sign",
    "recover",
)
_NAMES = ((ADA,), (BOB,), (ADA, BOB), (BOB, ADA), (EVE,), (EVE, ADA))


def bound(count: int) -> Iterator[Case]:
    """Yield at most `count` cases, the same ones every time; what cannot be signed at all is left out."""
    world, acme, _ = erased_once()
    entries, checkpoints = list(world.entries), dict(world.checkpoints)
    policy = world.policy().encode().decode()
    for number in range(count):
        draw = random.Random(number)
        world.entries[:], world.checkpoints = entries, dict(checkpoints)
        names = draw.choice(_NAMES)
        bundle = world.bundle(draw.choice(("lookup", "certificate", "certificate")), acme, *names)
        changed = [part for part in ("state", "descriptor", "system", "head") if not draw.randrange(4)]
        try:
            if not draw.randrange(4):
                position = draw.choice(bundle["entries"])["position"]
                rewrite(world, position, _statement(world.entries[position], draw))
                changed.append(f"entry {position}")
            change: dict[str, Callable[[Any], Any]] = {
                "state": lambda encoded, draw=draw: _bytes(encoded, draw),
                "descriptor": lambda encoded, draw=draw: encode_cbor(_fields(decode_cbor(encoded), draw)),
                "system": lambda found, draw=draw: _fields(found, draw, kept=("root", "system")),
                "head": lambda found, draw=draw: _fields(found, draw),
            }
            shown = recommit(world, acme, bundle, *names, **{name: change[name] for name in changed if name in change})
        except (Malformed, ValueError, TypeError, AttributeError, KeyError):
            continue
        _leave_out(shown, draw)
        yield {
            "desc": f"bound {number}: {', '.join(changed) or 'nothing'}",
            "question": {
                "policy": policy,
                "now": world.now + draw.choice((1, 1, 1, -400, 10**6)),
                "holder": acme.id,
                "locators": draw.choice(
                    (list(names), list(names), list(names), [names[0]], [names[-1]], list(names[::-1]))
                ),
                "max_age": 86_400,
                "level": draw.choice(("A1", "A1", "A2")),
                "expect": draw.choice((None, None, None, None, "excluded", "erased", "held")),
                "state_policy": None,
                "keepsake": None,
            },
            "bundle": json.dumps(recut(world, shown)).encode(),
            "keepsake": None,
        }


def _bytes(encoded: bytes, draw: random.Random) -> bytes:
    found = bytearray(encoded)
    found[draw.choice((0, 0, draw.randrange(len(found))))] = draw.choice((0, 1, 2, 3, 255))
    return bytes(found)


def _fields(found: Fields, draw: random.Random, kept: tuple[str, ...] = ()) -> Fields:
    """Change one field of a map, or one of a map in it."""
    found = copy.deepcopy(found)
    name = draw.choice([name for name in found if name not in kept])
    inner = found[name]
    if isinstance(inner, list) and inner and isinstance(inner[0], dict) and draw.randrange(3):
        inner[0] = _fields(inner[0], draw)
    elif isinstance(inner, dict) and inner and draw.randrange(3):
        found[name] = _fields(inner, draw)
    elif not draw.randrange(8):
        found[name] = draw.choice(_STRANGE)
    elif not draw.randrange(12):
        del found[name]
    elif isinstance(inner, bool):
        found[name] = not inner
    elif isinstance(inner, int):
        found[name] = draw.choice((inner + 1, max(0, inner - 1), draw.randrange(12)))
    elif isinstance(inner, bytes):
        found[name] = draw.choice((bytes(32), bytes(31) + b"\1", inner[:-1] + b"\1"))
    elif isinstance(inner, str):
        found[name] = draw.choice(_WORDS)
    elif isinstance(inner, list):
        found[name] = draw.choice((inner * 2, inner[:-1], inner * 40, inner[::-1], [*inner, draw.choice(_WORDS)]))
    else:
        found[name] = draw.choice((None, 0, 86_400, 10**6))
    return found


def _statement(old: Any, draw: random.Random) -> Any:
    """Say something else in a statement, and sign it as one of those who might."""
    signer = draw.choice(("log.example/deletions", "acme.example", "acme.example recover", "somebody"))
    match draw.randrange(4):
        case 0:
            claim = draw.choice(("issuer", "stream", "audience"))
            changes: Fields = {
                claim: draw.choice(("https://acme.example", "acme.example", "db", "log.example/deletions"))
            }
        case 1:
            changes = {"about": draw.choice((None, "acme.example", "other.example"))}
        case 2:
            names = [field.name for field in fields(old.payload)]
            name = draw.choice(names)
            changes = {"payload": replace(old.payload, **{name: draw.choice(_STRANGE)})}
        case _:
            changes = {}
    return again(old, signer, **changes)


def _leave_out(bundle: Fields, draw: random.Random) -> None:
    """Leave out or repeat something, now and then."""
    if not draw.randrange(4):
        members = bundle[draw.choice(("entries", "systems", "states", "rows", "locators"))]
        if members:
            at = draw.randrange(len(members))
            if draw.randrange(2):
                del members[at]
            else:
                members.insert(at, copy.deepcopy(members[at]))
