"""Coverage-guided fuzzing of every parser of hostile bytes: no crash, no hang, and no two spellings of one value.

    make fuzz                  every target for half a minute
    make fuzz SECONDS=600      for ten minutes each
    make fuzz TARGETS=policy   one of them

Seeds are the test vectors; what is found is kept in var/fuzz/<target>-*. `make fuzz` puts atheris beside the
environment, not into it: it comes for few versions of Python, and nothing else needs it.
"""

import argparse
import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "var/fuzz"
VECTORS = ROOT / "tests/vectors"
LARGEST = 1 << 14  # bytes of an input
SLOW_S = 5  # one input may not take longer


def targets() -> dict[str, Callable[[bytes], object]]:
    """Name what is fuzzed: each takes bytes, and asserts what it can of the value they parse to."""
    from attest.encoding import decode_cbor, encode_cbor
    from attest.formats.bundle import Bundle
    from attest.formats.checkpoint import SignedCheckpoint
    from attest.formats.join import JoinRequest
    from attest.formats.keepsake import Keepsake
    from attest.formats.policy import Policy
    from attest.formats.receipt import Promise, Receipt, Refusal
    from attest.formats.rows import RowFile
    from attest.formats.state import PartyHead, State, SystemHead
    from attest.formats.statement import Descriptor, Statement
    from attest.formats.tlog_proof import TlogProof
    from attest.ledger.transition import parse_transition
    from attest.merkle.sparse import MapProof, parse_pruned
    from attest.merkle.tiles import encode_bundle, parse_bundle
    from attest.witness.loglist import parse_logs
    from attest.witness.request import AddCheckpoint

    def one_spelling(parse: Callable[[bytes], Any], encode: Callable[[Any], bytes]) -> Callable[[bytes], object]:
        def check(data: bytes) -> None:
            assert encode(parse(data)) == data

        return check

    def policy(data: bytes) -> None:
        found = Policy.parse(data)
        assert Policy.parse(found.encode()) == found

    return {
        "add-checkpoint": one_spelling(AddCheckpoint.parse, AddCheckpoint.encode),
        "bundle": Bundle.parse,
        "cbor": one_spelling(decode_cbor, encode_cbor),
        "checkpoint": one_spelling(SignedCheckpoint.parse, SignedCheckpoint.encode),
        "descriptor": one_spelling(Descriptor.decode, Descriptor.encode),
        "entry-bundle": one_spelling(lambda data: parse_bundle(data, 2), encode_bundle),
        "join": JoinRequest.parse,
        "keepsake": Keepsake.parse,
        "log-list": lambda data: parse_logs(data.decode("utf-8", "replace")),
        "map-proof": one_spelling(MapProof.parse, MapProof.encode),
        "party-head": one_spelling(PartyHead.decode, PartyHead.encode),
        "policy": policy,
        "promise": Promise.parse,
        "pruned": parse_pruned,
        "receipt": Receipt.parse,
        "refusal": Refusal.parse,
        "rows": one_spelling(RowFile.parse, lambda file: file.encoded),
        "state": one_spelling(State.parse, State.encode),
        "statement": one_spelling(Statement.parse, lambda statement: statement.entry),
        "system-head": one_spelling(SystemHead.decode, SystemHead.encode),
        "tlog-proof": one_spelling(TlogProof.parse, TlogProof.encode),
        "transition": parse_transition,
    }


def seeds() -> Iterator[bytes]:
    """Give every text and every byte string of the vectors, so that no fuzzer starts from nothing."""
    for path in sorted(VECTORS.rglob("*")):
        if path.suffix in (".bundle", ".keepsake"):
            yield path.read_bytes()
        elif path.suffix == ".json":
            yield from texts(json.loads(path.read_text()))


def texts(value: Any) -> Iterator[bytes]:
    if isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")
        try:
            yield bytes.fromhex(value)
        except ValueError:
            with contextlib.suppress(ValueError):
                yield base64.b64decode(value, validate=True)
    elif isinstance(value, list | dict):
        for member in value.values() if isinstance(value, dict) else value:
            yield from texts(member)


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    import atheris

    from attest.errors import AttestError

    with atheris.instrument_imports(include=["attest"]):
        target = targets()[name]

    def once(data: bytes) -> None:
        with contextlib.suppress(AttestError):
            target(data)

    corpus = WORK / name
    corpus.mkdir(parents=True, exist_ok=True)
    for n, seed in enumerate(dict.fromkeys(seeds())):
        if len(seed) <= LARGEST:
            (corpus / f"seed-{n}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", f"-timeout={SLOW_S}", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *limits, "-verbosity=0", f"-artifact_prefix={WORK}/{name}-", str(corpus)], once)
    atheris.Fuzz()


def main() -> int:
    """Fuzz all, or some, each in a process of its own; exit 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--here", action="store_true", help="fuzz the one target in this process")
    options = parser.parse_args()
    known = sorted(targets())
    if unknown := set(options.names) - set(known):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    if options.here:
        fuzz(options.names[0], options.seconds)
        return 0
    failed = []
    for name in options.names or known:
        command = [sys.executable, __file__, "--here", "--seconds", str(options.seconds), name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        print(f"{name:<16} {'ok' if done.returncode == 0 else 'FOUND SOMETHING'}", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stderr[-4000:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
