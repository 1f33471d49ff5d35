"""Both implementations of the rules follow the same epochs of a log, and no other."""

import copy
import json
import random
from pathlib import Path
from typing import Any

from attest.encoding import decode_cbor, encode_cbor
from attest.errors import AttestError
from attest.ledger.transition import Anchor, verify_transition
from tests.ledger.test_vectors import rows_of_case
from tests.web.second import answers

VECTORS = Path(__file__).parent.parent / "vectors/transition"
HISTORY, REFUSED, ENDED = (
    json.loads((VECTORS / f"{name}.json").read_text())["cases"] for name in ("history", "refused", "ended")
)
MUTATIONS = 600
_STRANGE = (None, True, 0, 1, -1, 2**53 - 1, b"", bytes(32), "", "x", "acme.example", [], {})


def _anchors() -> list[Anchor]:
    anchors = [Anchor.empty()]
    for case in [*HISTORY, ENDED[0]]:
        anchors.append(verify_transition(bytes.fromhex(case["proof"]), anchors[-1], rows_of_case(case)))
    return anchors


def _mutated(published: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    found = []
    for number in range(MUTATIONS):
        draw = random.Random(f"transition {number}")
        at, case = draw.choice(published)
        try:
            proof: Any = decode_cbor(bytes.fromhex(case["proof"]))
            for _ in range(draw.choice((1, 1, 2))):
                _change(proof, draw)
            found.append((at, {**case, "proof": encode_cbor(proof).hex()}))
        except AttestError:
            continue
    return found


def _change(value: Any, draw: random.Random) -> None:
    """Change something, within the heads and descriptors that stand in it as byte strings too."""
    holder, name = draw.choice(list(_places(value)))
    old = holder[name]
    if isinstance(old, bytes) and len(old) > 60 and draw.randrange(3):
        try:
            inner: Any = decode_cbor(old)
            _change(inner, draw)
            holder[name] = encode_cbor(inner)
            return
        except (AttestError, IndexError):
            pass
    match draw.randrange(6):
        case 0:
            del holder[name]
        case 1 if isinstance(old, int) and not isinstance(old, bool):
            holder[name] = max(0, old + draw.choice((1, -1, 5)))
        case 2 if isinstance(old, bytes) and old:
            at = draw.randrange(len(old))
            holder[name] = old[:at] + bytes((old[at] ^ 1 << draw.randrange(8),)) + old[at + 1 :]
        case 3 if isinstance(holder, list):
            draw.shuffle(holder)
        case 4 if isinstance(holder, list):
            holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(old))
        case _:
            holder[name] = draw.choice(_STRANGE)


def _places(value: Any) -> Any:
    names = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        yield value, name
        yield from _places(value[name])


def test_both_follow_the_same_epochs() -> None:
    """Published proofs and mutations: what one refuses the other refuses; what both take leads to one place.

    Which of several faults is named is left open by the specification.
    """
    anchors = _anchors()
    first: Any = decode_cbor(bytes.fromhex(HISTORY[0]["proof"]))
    genesis = first["entries"][0].hex()
    published = [*enumerate(HISTORY), *((len(HISTORY), case) for case in REFUSED)]
    published += [(len(HISTORY) + (case["after"] == "end"), case) for case in ENDED]
    cases = [*published, *_mutated([(at, case) for at, case in published if case.get("code") != "cbor/trailing"])]
    lines = []
    for at, case in cases:
        anchor = anchors[at]
        previous = None if anchor.previous is None else anchor.previous.entry.hex()
        where = {"size": anchor.size, "root": anchor.root.hex(), "previous": previous}
        lines.append({"transition": case["proof"], "genesis": genesis if at else None, **where, "rows": case["rows"]})

    different = []
    for (at, case), other in zip(cases, answers(lines), strict=True):
        try:
            stands = verify_transition(bytes.fromhex(case["proof"]), anchors[at], rows_of_case(case))
            mine = {"size": stands.size, "root": stands.root.hex()}
        except AttestError as error:
            mine = {"code": error.code}
        if ("code" in mine) != ("code" in other) or ("size" in mine and mine != other):
            different.append(f"{case['desc']}: {mine} and {other}")
    assert different == []
