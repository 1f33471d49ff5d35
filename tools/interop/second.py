"""Let the second verifier (docs/examples, in Go) judge what `attest verify` judges, and compare.

    python -m tools.interop.second [--go PATH] [--mutations N]

First the published vectors; then every case of tests/vectors/bundle/cases.json through both; then thousands of mutated
bundles and questions, and half as many of a log that binds what it must not, the same ones every time. Outcomes have to
be the same always, and codes and results too, unless both codes are of reading one and the same file, where the
specification lets any apply. Needs Go 1.27 or later.
"""

import argparse
import base64
import copy
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from attest.errors import Malformed
from attest.formats.keepsake import Keepsake
from attest.formats.policy import Policy
from attest.ledger.verify import Question, verify
from tools.interop.bound import bound

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = ROOT / "docs/examples"
VECTORS: Final = ROOT / "tests/vectors"
OWN_GO: Final = ROOT / "var/interop/go/go/bin/go"
MUTATIONS: Final = 6000
COMPARED: Final = (
    "claim",
    "anchor",
    "level",
    "origin",
    "size",
    "kind",
    "epoch_time",
    "existed_by",
    "ended",
    "predecessor",
)
# What several faults of one text can each be refused as: docs/spec/verify.md, Steps.
READING: Final = re.compile(
    r"(json|encoding|note|cbor|statement)/.*|checkpoint/(lines|extension|origin)|bundle/kind|cosignature/time"
    r"|map-proof/(?!root-mismatch).*|vrf/.*|signature/invalid"
)

Case = dict[str, Any]


def find_go() -> Path | None:
    """Return a Go of 1.27 or later: the one of `make interop`, or the user's."""
    for each in (OWN_GO, shutil.which("go")):
        if each is not None and Path(each).exists():
            said = subprocess.run([each, "version"], capture_output=True, text=True, check=False).stdout
            found = re.search(r"go(\d+)\.(\d+)", said)
            if found is not None and (int(found[1]), int(found[2])) >= (1, 27):
                return Path(each)
    return None


def build(go: Path, where: Path, environment: dict[str, str] | None = None) -> Path:
    """Build the second verifier. Its one package comes from the module proxy, checked by go.sum."""
    program = where / "attest-verify"
    subprocess.run([go, "build", "-o", program, "."], cwd=SOURCES, env=environment, check=True)
    return program


# --- cases ---


def published() -> Iterator[Case]:
    """Yield the published cases as the batch mode of both takes them."""
    folder = VECTORS / "bundle"
    for case in json.loads((folder / "cases.json").read_text()):
        encoded = (folder / f"{case['bundle']}.bundle").read_bytes()
        if case["replace"]:
            encoded = json.dumps({**json.loads(encoded), **case["replace"]}).encode()
        if case["raw"] is not None:
            encoded = case["raw"].encode()
        keepsake = case["question"]["keepsake"]
        kept = None if keepsake is None else (folder / keepsake).read_bytes()
        yield {"desc": case["desc"], "question": case["question"], "bundle": encoded, "keepsake": kept}


def mutated(cases: list[Case], count: int) -> Iterator[Case]:
    """Yield `count` cases with a part changed, the same ones every time."""
    for number in range(count):
        draw = random.Random(number)
        case = copy.deepcopy(draw.choice(cases))
        kind = draw.choice((_bytes, _json, _json, _json, _splice, _checkpoint, _question, _question, _keepsake))
        case["desc"] = f"{kind.__name__[1:]} {number} of {case['desc']!r}"
        kind(case, draw, cases)
        yield case


def _bytes(case: Case, draw: random.Random, _: list[Case]) -> None:
    wire = bytearray(case["bundle"])
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(wire) + 1)
        match draw.randrange(5):
            case 0 if at < len(wire):
                wire[at] ^= 1 << draw.randrange(8)
            case 1:
                wire[at:at] = draw.choice(
                    (b" ", b",", b"}", b"\\u0000", b"\xff", b"0", b'"', b'"format": "attest-bundle/1",')
                )
            case 2:
                del wire[at : at + draw.choice((1, 2, 30, 5000))]
            case 3:
                wire[at:at] = wire[at : at + draw.choice((1, 10, 200))]
            case _ if at < len(wire):
                wire[at] = draw.randrange(256)
    case["bundle"] = bytes(wire)


def _leaves(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if way:
        yield way
    for name, member in members:
        yield from _leaves(member, (*way, name))


def _json(case: Case, draw: random.Random, _: list[Case], part: str = "bundle") -> None:
    try:
        value = json.loads(case[part])
    except ValueError:
        return
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        leaves = list(_leaves(value))
        if not leaves:
            break
        *way, last = draw.choice(leaves)
        holder = value
        for name in way:
            holder = holder[name]
        _change(holder, last, draw)
    case[part] = json.dumps(value).encode()


def _change(holder: Any, last: Any, draw: random.Random) -> None:
    old = holder[last]
    match draw.randrange(8):
        case 0:
            del holder[last]
        case 1:
            holder[last] = draw.choice((None, True, 0, 1, 2**53, -1, 1.5, "", [], {}, "A" * 8, "AA==", [[]]))
        case 2 if isinstance(holder, list):
            holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(old))
        case 3 if isinstance(holder, list):
            draw.shuffle(holder)
        case _ if isinstance(old, bool) or old is None:
            holder[last] = not old
        case _ if isinstance(old, int | float):
            holder[last] = draw.choice((int(old) + 1, max(0, int(old) - 1), draw.randrange(40), 2**53 - 1))
        case _ if isinstance(old, str):
            holder[last] = _text(old, draw)
        case _ if isinstance(old, dict):
            old[draw.choice(("x", "kind", "format"))] = 1
        case _:
            holder[last] = old[: draw.randrange(len(old) + 1)]


def _text(old: str, draw: random.Random) -> str:
    if re.fullmatch(r"[A-Za-z0-9+/]{4,}=*", old) and len(old) % 4 == 0 and draw.randrange(4):
        wire = bytearray(base64.b64decode(old))
        match draw.randrange(4):
            case 0:
                wire = wire[: draw.randrange(len(wire) + 1)]
            case 1:
                wire.append(draw.randrange(256))
            case _ if wire:
                wire[draw.choice((0, draw.randrange(len(wire))))] ^= 1 << draw.randrange(8)
        return base64.b64encode(wire).decode()
    at = draw.randrange(len(old) + 1)
    return old[:at] + draw.choice(("", "a", "\n", " ", "\ud800", "é", "=")) + old[at + draw.randrange(2) :]


def _splice(case: Case, draw: random.Random, cases: list[Case]) -> None:
    """Take a part from another bundle."""
    try:
        mine, other = json.loads(case["bundle"]), json.loads(draw.choice(cases)["bundle"])
        for name in draw.sample(sorted(mine), draw.choice((1, 1, 2, 5))):
            mine[name] = other[name]
    except (ValueError, TypeError, KeyError):
        return
    case["bundle"] = json.dumps(mine).encode()


def _checkpoint(case: Case, draw: random.Random, cases: list[Case]) -> None:
    """Move lines of the signed checkpoint about."""
    try:
        mine, other = json.loads(case["bundle"]), json.loads(draw.choice(cases)["bundle"])
        lines = mine["checkpoint"].split("\n")
        strange = draw.choice(other["checkpoint"].split("\n"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return
    at = draw.randrange(len(lines))
    match draw.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, strange)
        case 2:
            lines.insert(draw.randrange(3, len(lines) + 1), lines[at])
        case _:
            lines[at] = _text(lines[at], draw)
    mine["checkpoint"] = "\n".join(lines)
    case["bundle"] = json.dumps(mine).encode()


def _question(case: Case, draw: random.Random, cases: list[Case]) -> None:
    asked, other = case["question"], draw.choice(cases)["question"]
    for _ in range(draw.choice((1, 1, 2, 3))):
        match draw.randrange(10):
            case 0:
                asked["expect"] = draw.choice((None, "excluded", "erased", "held", "gone"))
            case 1:
                asked["level"] = draw.choice(("A0", "A1", "A2", "A3", "A4"))
            case 2:
                asked["now"] += draw.choice((-86_400, -301, -300, -1, 1, 86_400, 172_800, 10**9))
            case 3:
                asked["max_age"] = draw.choice((0, 1, 10, 10**6, 10**9))
            case 4:
                asked["locators"] = draw.choice(
                    (other["locators"], [*asked["locators"], *other["locators"]], [], ["x"])
                )
            case 5:
                asked["holder"] = draw.choice((other["holder"], "other.example", "Other", "x"))
            case 6:
                asked["policy"] = draw.choice(
                    (other["policy"], "quorum none\n", asked["state_policy"] or "quorum none\n")
                )
            case 7:
                asked["state_policy"] = draw.choice((None, other["state_policy"], "quorum none\n", asked["policy"]))
            case 8:
                asked["locators"] = [draw.choice((f"record:{n}", each)) for n, each in enumerate(asked["locators"])]
            case _:
                lines = asked["policy"].split("\n")
                at = draw.randrange(len(lines))
                lines[at] = draw.choice(("", lines[at][:-3], f"# {lines[at]}", f"{lines[at]} x"))
                asked["policy"] = "\n".join(lines)


def _keepsake(case: Case, draw: random.Random, cases: list[Case]) -> None:
    """Ask with a keepsake, changed or not."""
    kept = [each for each in cases if each["keepsake"] is not None]
    chosen = draw.choice(kept)
    case["keepsake"], case["question"]["keepsake"] = chosen["keepsake"], "given"
    if draw.randrange(3):
        case["question"]["holder"] = chosen["question"]["holder"]
        case["question"]["locators"] = chosen["question"]["locators"]
    if draw.randrange(2):
        _json(case, draw, cases, part="keepsake")


# --- both verifiers ---


def ours(case: Case) -> dict[str, Any]:
    """Judge as `attest verify` does."""
    asked = dict(case["question"])
    try:
        for name in ("policy", "state_policy"):
            asked[name] = None if asked[name] is None else Policy.parse(asked[name].encode())
        asked["keepsake"] = None if asked["keepsake"] is None else Keepsake.parse(case["keepsake"])
        kept = asked["keepsake"]
        asked["locators"] = tuple(asked["locators"]) or (() if kept is None else (kept.locator,))
        verdict = verify(case["bundle"], Question(**asked))
    except Malformed as error:
        return {"outcome": "usage", "code": error.code}
    return asdict(verdict)


def theirs(program: Path, cases: list[Case]) -> list[dict[str, Any]]:
    """Let the second verifier judge them all."""

    def encode(wire: bytes | None) -> str | None:
        return None if wire is None else base64.b64encode(wire).decode()

    lines = [
        json.dumps(
            {
                "question": case["question"],
                "bundle": encode(case["bundle"]),
                "keepsake": encode(case["keepsake"]),
            }
        )
        for case in cases
    ]
    with tempfile.TemporaryFile("w+") as questions:
        questions.write("\n".join(lines) + "\n")
        questions.seek(0)
        done = subprocess.run([program, "--batch", "-"], stdin=questions, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(cases):
        raise RuntimeError(f"{len(answers)} answers to {len(cases)} questions: {done.stderr[-2000:]}")
    return answers


def disagreements(mine: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Say what two verdicts differ in, beyond what the specification leaves open."""
    if mine["outcome"] != other["outcome"]:
        yield f"outcome {mine['outcome']} ({mine['code']}) and {other['outcome']} ({other['code']})"
        return
    if mine["outcome"] == "usage":
        return
    if mine["code"] != other["code"]:
        either = READING.fullmatch(mine["code"]) and READING.fullmatch(other["code"])
        if not either or len(mine["steps"]) != len(other["steps"]):
            yield f"code {mine['code']} and {other['code']}"
    for name in COMPARED:
        if (mine[name] or None) != (other.get(name) or None):
            yield f"{name} {mine[name]!r} and {other.get(name)!r}"
    steps = [[(step["name"], step["ok"]) for step in verdict["steps"]] for verdict in (mine, other)]
    if steps[0] != steps[1]:
        yield f"steps {steps[0][-1]} and {steps[1][-1]}"
    results = [
        [
            (each["locator"], each["system"], each["kind"], each["result"], list(each["not_asked"]))
            for each in verdict["systems"] or ()
        ]
        for verdict in (mine, other)
    ]
    if results[0] != results[1]:
        yield f"results {results[0]} and {results[1]}"


def compare(program: Path, count: int, say: Callable[[str], None]) -> int:
    """Run all parts; return the number of disagreements."""
    vectors = subprocess.run([program, "--vectors", VECTORS], capture_output=True, text=True, check=False)
    wrong = 0 if vectors.returncode == 0 else 1
    if wrong:
        say(vectors.stdout)
    say(vectors.stdout.strip().split("\n")[-1])
    cases = list(published())
    parts = {"published cases": cases, "mutations": list(mutated(cases, count)), "bound": list(bound(count // 2))}
    for name, some in parts.items():
        outcomes: Counter[str] = Counter()
        codes: set[str] = set()
        for case, other in zip(some, theirs(program, some), strict=True):
            mine = ours(case)
            outcomes[mine["outcome"]] += 1
            codes.add(mine["code"])
            for what in disagreements(mine, other):
                wrong += 1
                say(f"{case['desc']}: {what}")
        counted = ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items()))
        say(f"{len(some)} {name}: {counted}; {len(codes)} codes")
    return wrong


def main() -> int:
    """Build, compare, and exit with 1 on any disagreement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--go", type=Path, default=None, help="the Go command to build with")
    parser.add_argument("--mutations", type=int, default=MUTATIONS)
    options = parser.parse_args()
    go = options.go or find_go()
    if go is None:
        print("second: no Go 1.27 or later; `make interop` installs one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as where:
        wrong = compare(build(go, Path(where)), options.mutations, print)
    print(f"{wrong} disagreements")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
