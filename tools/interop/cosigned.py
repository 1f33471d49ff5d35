"""A log that asks four witnesses, three of them other people's: what it publishes is read by others again."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from attest.formats.checkpoint import SignedCheckpoint, log_verifiers
from attest.formats.note import KeyType, NoteVerifier
from attest.store.keyfiles import LogKeys
from tools.interop import cosigners
from tools.interop.cosigners import Cosigner
from tools.interop.install import AICS, OURS, TOOLS
from tools.interop.logs import ATTEST, Served, create, serving
from tools.interop.processes import Ran, free_port, must, run, wait_until
from tools.interop.readers import DRIVERS
from tools.interop.report import Report
from tools.interop.world import World

_ORIGIN: Final = "witnessed.example/interop"
_GROWN: Final = 4  # entries at least


@dataclass(frozen=True)
class Witnessed:
    """The log, its keys and its witnesses."""

    log: Served
    vkeys: tuple[str, str]
    witnesses: tuple[Cosigner, ...]

    def keys(self, kind: KeyType) -> list[str]:
        """Return the witnesses' keys of one type."""
        every = [vkey for witness in self.witnesses for vkey in witness.vkeys]
        return [vkey for vkey in every if NoteVerifier.parse(vkey).type is kind]


@contextlib.contextmanager
def witnessed(where: Path) -> Iterator[Witnessed]:
    """Run a log and four witnesses; it has grown a little, and every checkpoint since has all cosignatures."""
    log = create(where / "log", _ORIGIN, port=free_port())
    keys = LogKeys.load(log.directory / "keys", None)
    ed25519, mldsa44 = (
        each.encode() for each in log_verifiers(_ORIGIN, keys.note_ed25519.public, keys.note_mldsa44.public)
    )
    every = (cosigners.attest_witness, cosigners.aics_witness, cosigners.litewitness, cosigners.omniwitness)
    with ExitStack() as stack:
        witnesses = tuple(stack.enter_context(start(where, (ed25519, mldsa44))) for start in every)
        for count, witness in enumerate(witnesses, 1):
            named = (witness.name, witness.url, *witness.vkeys, "--quorum", count)
            must(ATTEST, "operator", "witness", "add", *named, "--dir", log.directory)
        # An empty epoch every second, and none is published without the quorum: all of them.
        with serving(log, ATTEST_QUIET_INTERVAL_S="1", ATTEST_UNWITNESSED="hold", ATTEST_WITNESS_WAIT_S="10"):
            wait_until(lambda: log.size >= _GROWN, "a witnessed checkpoint")
        with serving(log):
            yield Witnessed(log, (ed25519, mldsa44), witnesses)


def show_cosigned(report: Report, world: World, where: Path) -> None:
    """Show what it publishes to those who read the other logs."""
    where.mkdir()
    with witnessed(where) as found:
        entry = found.log.entries()[1]
        shown = _Shown(
            world.file("witnessed.checkpoint", found.log.checkpoint()),
            world.file("witnessed.entry", entry),
            world.file("witnessed.tlog-proof", found.log.proof(entry)),
        )
        for show in (_ours, _sumdb, _tessera, _torchwood, _tlog_scales, _proofbundle, _aics_tlog):
            show(report, found, shown)


@dataclass(frozen=True, slots=True)
class _Shown:
    checkpoint: Path
    entry: Path
    proof: Path


_FOUR: Final = "a checkpoint with the cosignatures of four witnesses, two of them with ML-DSA-44 too"


def _ours(report: Report, found: Witnessed, shown: _Shown) -> None:
    """Each witness did what it was asked for by a log that runs."""
    names = {line.name for line in SignedCheckpoint.parse(shown.checkpoint.read_bytes()).note.signatures}
    for tool, name in (("aics-witness", "aics"), ("litewitness", "lite"), ("omniwitness", "omni")):
        wanted = f"witness.example/{name}"
        what = "the checkpoints of `attest serve`, with three other witnesses and a quorum of all"
        report.known(tool).finds(what, ok=wanted in names, found=names)


def _sumdb(report: Report, found: Witnessed, shown: _Shown) -> None:
    opened = run(OURS, "note", found.vkeys[0], stdin=shown.checkpoint.read_bytes())
    report.known("golang.org/x/mod").accepts(
        f"{_FOUR}, all of which it ignores", opened, saying="ignored witness.example"
    )


def _tessera(report: Report, found: Witnessed, shown: _Shown) -> None:
    tool = report.known("github.com/transparency-dev/tessera")

    def quorum(policy: Path, checkpoint: bytes) -> Ran:
        return run(OURS, "quorum", policy, stdin=checkpoint)

    newest = shown.checkpoint.read_bytes()
    tool.accepts(
        f"{_FOUR}, under the policy that `attest operator witness add` wrote", quorum(found.log.policy, newest)
    )
    few = newest.split(b"\n")
    del few[6:]
    tool.refuses(
        "the checkpoint without most cosignatures, under the same policy",
        quorum(found.log.policy, b"\n".join([*few, b""])),
        because="the quorum is not met",
    )


def _torchwood(report: Report, found: Witnessed, shown: _Shown) -> None:
    tool = report.known("filippo.io/torchwood")
    policy = found.log.policy.read_text()

    def proof(text: str) -> Ran:
        changed = shown.proof.with_name("witnessed.policy")
        changed.write_text(text)
        return run(OURS, "proof", changed, shown.entry, shown.proof)

    tool.accepts(
        "a `.tlog-proof` with the cosignatures of four witnesses, two of them with ML-DSA-44 too, under the policy "
        "that `attest operator witness add` wrote",
        proof(policy),
    )
    for kind, name in ((KeyType.COSIGNATURE, "Ed25519"), (KeyType.MLDSA44, "ML-DSA-44")):
        vkeys = found.keys(kind)
        lines = [f"log {found.vkeys[0]}", *(f"witness w{n} {vkey}" for n, vkey in enumerate(vkeys))]
        group = " ".join(f"w{n}" for n in range(len(vkeys)))
        tool.accepts(
            f"a `.tlog-proof` under a policy that wants the {name} cosignatures of all of them",
            proof("\n".join([*lines, f"group all-of-them all {group}", "quorum all-of-them", ""])),
        )
    silent = NoteVerifier.of("witness.example/silent", KeyType.MLDSA44, LogKeys.generate().note_mldsa44.public).encode()
    tool.refuses(
        "a `.tlog-proof` under a policy that wants a witness that has not cosigned",
        proof(f"log {found.vkeys[0]}\nwitness silent {silent}\nquorum silent\n"),
        because="policy components satisfied",
    )


def _tlog_scales(report: Report, found: Witnessed, shown: _Shown) -> None:
    def verify(vkey: str) -> Ran:
        return run(TOOLS / "python", DRIVERS / "scales.py", "checkpoint", vkey, shown.checkpoint)

    tool = report.known("tlog-scales")
    for kind, name in ((KeyType.COSIGNATURE, "Ed25519"), (KeyType.MLDSA44, "ML-DSA-44")):
        tool.accepts(f"the {name} cosignatures of a witnessed checkpoint", *map(verify, found.keys(kind)))


def _proofbundle(report: Report, found: Witnessed, shown: _Shown) -> None:
    vkeys = [*found.keys(KeyType.COSIGNATURE), *found.keys(KeyType.MLDSA44)]

    def verify(threshold: int) -> Ran:
        return run(
            *(TOOLS / "proofbundle", "verify-proof", "--log-vkey", found.vkeys[0], "--payload-file", shown.entry),
            *(part for vkey in vkeys for part in ("--witness-vkey", vkey)),
            *("--threshold", threshold, shown.proof),
        )

    tool = report.known("proofbundle")
    tool.accepts(
        "a `.tlog-proof` with the cosignatures of four witnesses, two of them with ML-DSA-44 too, and six keys wanted",
        verify(len(vkeys)),
        saying=f"witness-quorum: {len(vkeys)} valid",
    )
    tool.refuses("the same with seven wanted", verify(len(vkeys) + 1), because="[FAIL] witness-quorum")


def _aics_tlog(report: Report, found: Witnessed, shown: _Shown) -> None:
    def verify(quorum: int, *vkeys: str) -> Ran:
        return run(
            *(AICS / "aics-tlog", "verify-checkpoint", "--tiles", found.log.url, "--log-key", found.vkeys[0]),
            *(part for vkey in vkeys for part in ("--witness-key", vkey)),
            *("--quorum", quorum),
        )

    tool = report.known("aics-tlog")
    ed25519 = found.keys(KeyType.COSIGNATURE)
    tool.accepts("the Ed25519 cosignatures of four witnesses", verify(4, *ed25519), saying='"cosignatures": 4')
    tool.refuses("the same with five wanted", verify(5, *ed25519), because="quorum")
    tool.cannot(
        "an ML-DSA-44 key of a witness",
        verify(1, *found.keys(KeyType.MLDSA44)),
        because="is not an Ed25519 cosignature key (0x04)",
        instead="the witness's Ed25519 key, as above",
    )
