"""Our client asks other people's witnesses, through every answer that they have.

The client is the sequencer's own. What it is made to offer, it would never offer by itself: older checkpoints than the
witness knows, other trees, other keys. How many requests it took is counted on the wire.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from attest.encoding import Hash, sha256
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from attest.formats.note import NoteVerifier
from attest.formats.policy import Policy, add_witness
from attest.merkle import tree
from attest.store.keyfiles import LogKeys
from attest.witnessing import Witnesses
from tools.interop import cosigners
from tools.interop.cosigners import Cosigner
from tools.interop.install import AICS
from tools.interop.processes import run, wait_until
from tools.interop.readers import go_version, python_version
from tools.interop.report import Report, Tool
from tools.interop.world import World

_PATIENCE_S: Final = 20.0
_OTHERS: Final = tuple(sha256(b"%d" % index) for index in range(300))  # the leaves of another history


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one offer."""

    statuses: tuple[int, ...]  # of each request, on the wire
    cosigned: tuple[NoteVerifier, ...]  # keys whose cosignatures our client verified
    lines: str  # these cosignatures, as in a note
    problem: str  # the code of why there is none
    alarm: str  # `larger`, `fork`, or nothing: what stops the log


@dataclass(frozen=True)
class Offers:
    """What is offered: checkpoints of the large log, and lies that only its keys can tell."""

    world: World
    keys: LogKeys
    leaves: tuple[Hash, ...]

    @classmethod
    def of(cls, world: World) -> "Offers":
        """Take the log's keys and entries."""
        keys = LogKeys.load(world.large.directory / "keys", None)
        return cls(world, keys, tuple(tree.leaf_hashes(world.large.entries())))

    def read(self, _: int) -> tree.Read:
        """Return the reader of the real tree."""
        return tree.subtree_reader(self.leaves)

    def true(self, size: int) -> SignedCheckpoint:
        """Return the checkpoint of a size that the log was seen at."""
        return SignedCheckpoint.parse((self.world.large.seen / f"{size:06}").read_bytes())

    def newest(self) -> SignedCheckpoint:
        """Return the newest."""
        return SignedCheckpoint.parse(self.world.checkpoint.read_bytes())

    def without_ed25519(self) -> SignedCheckpoint:
        """Return the newest with its second line only."""
        lines = self.newest().encode().split(b"\n")
        return SignedCheckpoint.parse(b"\n".join(lines[:4] + lines[5:]))

    def read_others(self, _: int) -> tree.Read:
        """Return the reader of the tree of another history."""
        return tree.subtree_reader(_OTHERS)

    def lie(self, size: int) -> SignedCheckpoint:
        """Return a checkpoint of that history, which the log has signed."""
        checkpoint = Checkpoint(self.world.large.origin, size, tree.root(_OTHERS[:size]))
        return sign_checkpoint(checkpoint, self.keys.note_ed25519, self.keys.note_mldsa44, int(time.time()))

    def other_key(self, size: int) -> SignedCheckpoint:
        """Return a true checkpoint under keys that are not the log's."""
        other = LogKeys.generate()
        true = self.true(size).checkpoint
        return sign_checkpoint(true, other.note_ed25519, other.note_mldsa44, int(time.time()))


def ask(
    witness: Cosigner, signed: SignedCheckpoint, *, known: int, read: Callable[[int], tree.Read], log_vkey: str
) -> Asked:
    """Let our client offer one checkpoint to one witness, believing that it stands at `known`."""
    policy = add_witness(Policy.parse(f"log {log_vkey}\nquorum none\n".encode()), "it", witness.url, witness.vkeys)
    statuses: list[int] = []

    def connect(_: str) -> httpx.Client:
        def count(response: httpx.Response) -> None:
            if response.request.method == "POST":
                statuses.append(response.status_code)

        return httpx.Client(timeout=_PATIENCE_S, event_hooks={"response": [count]})

    asking = Witnesses(
        policy,
        None,
        read=read,
        clock=time.time,
        known={witness.url: known},
        wait_s=_PATIENCE_S,
        timeout_s=_PATIENCE_S,
        connect=connect,
    )
    try:
        asking.offer(signed, int(time.time()) - 86_400)
        cosigned, alarms = [], []
        problem = None

        def answered() -> bool:
            nonlocal problem
            problem = asking.standings()[0].problem
            for known, new in zip((cosigned, alarms), asking.collect(), strict=True):
                known += new
            return bool(cosigned) or problem is not None

        wait_until(answered, f"an answer of {witness.name}")
    finally:
        asking.close()
    alarm = "" if not alarms else "fork" if alarms[0].larger is None else "larger"
    return Asked(
        tuple(statuses),
        tuple(each.verifier for each in cosigned),
        "".join(f"{each.line.encode()}\n" for each in cosigned),
        "" if problem is None else problem.code,
        alarm,
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """How a witness answers what specifications leave open, or what it does not follow."""

    fork: tuple[int, ...] = (422,)  # another tree of the size it has cosigned
    other_key: int = 403
    other_key_problem: str = "witness/refused"
    mldsa: bool = False  # it knows the log's ML-DSA-44 key too


def show(tool: Tool, witness: Cosigner, offers: Offers, known: Answers) -> None:
    """Drive one witness through all its answers."""
    vkey = offers.world.vkeys[0]

    def offer(signed: SignedCheckpoint, known: int, read: Callable[[int], tree.Read] = offers.read) -> Asked:
        return ask(witness, signed, known=known, read=read, log_vkey=vkey)

    def expect(what: str, asked: Asked, statuses: Sequence[int], problem: str = "", alarm: str = "") -> None:
        cosigned = len(witness.vkeys) if statuses[-1] == 200 else 0
        wanted = (tuple(statuses), cosigned, problem, alarm)
        found = (asked.statuses, len(asked.cosigned), asked.problem, asked.alarm)
        tool.answers(what, _told(statuses, problem, alarm), ok=found == wanted, found=f"{found}, want {wanted}")

    expect("the first checkpoint of a log", offer(offers.true(255), 0), [200])
    expect("the next, with a proof", offer(offers.true(256), 255), [200])
    expect("the next, from a client that has forgotten where it stood", offer(offers.true(257), 0), [409, 200])
    expect("the next, from a client that remembers an older size", offer(offers.true(258), 255), [409, 200])
    expect("the same again, for a newer time", offer(offers.true(258), 258), [200])
    expect("an older one: the log was rolled back", offer(offers.true(256), 0), [409], "witness/larger", "larger")
    expect(
        "another tree of the same size, signed by the log",
        offer(offers.lie(258), 258),
        known.fork,
        "witness/fork",
        "fork",
    )
    expect(
        "a larger tree that does not extend the cosigned one, signed by the log",
        offer(offers.lie(300), 258, offers.read_others),
        [422],
        "witness/fork",
        "fork",
    )
    expect(
        "the checkpoint under keys that are not the log's",
        offer(offers.other_key(258), 258),
        [known.other_key],
        known.other_key_problem,
    )
    small = SignedCheckpoint.parse(offers.world.small.checkpoint())
    asked = ask(witness, small, known=0, read=offers.read, log_vkey=offers.world.other_vkey)
    expect("a log that it does not follow", asked, [404], "witness/refused")
    expect("the newest, after all that", offer(offers.newest(), 258), [200])
    if known.mldsa:
        expect("the newest, with the log's ML-DSA-44 line alone", offer(offers.without_ed25519(), 258), [409, 200])
    text = offers.newest().encode()
    for what, body, status in (
        ("an old size above the checkpoint's", b"old 9999999\n\n" + text, 400),
        ("a body that is none", b"nonsense", 400),
    ):
        found = httpx.post(f"{witness.url}/add-checkpoint", content=body).status_code
        tool.answers(what, str(status), ok=found == status, found=found)


def _told(statuses: Sequence[int], problem: str, alarm: str) -> str:
    """Say what came over the wire, and what our client makes of it."""
    told = " → ".join(map(str, statuses)) or "nothing"
    stops = "; the log stops, with evidence" if alarm else ""
    return told + (f": `{problem}`{stops}" if problem else "")


Start = Callable[..., AbstractContextManager[Cosigner]]


def ask_all(report: Report, world: World, where: Path) -> None:
    """Run the witnesses, one after the other, and drive each."""
    where.mkdir()
    offers = Offers.of(world)
    shown: tuple[tuple[str, str, str, Start, Answers], ...] = (
        (
            "aics-witness",
            python_version(AICS / "python", "aics-witness"),
            "A witness that our client asks. It cosigns with Ed25519 and knows the log by its Ed25519 key.",
            cosigners.aics_witness,
            Answers(),
        ),
        (
            "litewitness",
            go_version("filippo.io/torchwood"),
            "A witness that our client asks, of filippo.io/torchwood. It cosigns with Ed25519 and knows both keys of "
            "the log. Its own key comes from an agent.",
            cosigners.litewitness,
            Answers(mldsa=True),
        ),
        (
            "omniwitness",
            go_version("github.com/transparency-dev/witness"),
            "A witness that our client asks: the library of github.com/transparency-dev/witness. It cosigns with "
            "Ed25519 and ML-DSA-44, and knows a log by one key. For keys that are not the log's it answers 500 instead "
            "of 403, and for another tree of the same size 409 without a size, as the protocol once wanted, instead of "
            "422.",
            cosigners.omniwitness,
            Answers(fork=(409,), other_key=500, other_key_problem="witness/busy"),
        ),
    )
    for name, version, about, start, known in shown:
        tool = report.tool(name, version, about)
        directory = where / name
        directory.mkdir()
        with start(directory, world.vkeys) as witness:
            show(tool, witness, offers, known)
        gone = ask(witness, offers.newest(), known=0, read=offers.read, log_vkey=world.vkeys[0])
        found = (gone.statuses, gone.problem, gone.alarm)
        ok = found == ((), "witness/unreachable", "")
        tool.answers("anything, when it is down", _told((), gone.problem, ""), ok=ok, found=found)
    aics = ("--config", where / "aics-witness/aics/witness.json", "--origin", world.large.origin)
    report.known("aics-witness").cannot(
        "the ML-DSA-44 key of a log",
        run(AICS / "aics-witness", "add-log", *aics, "--vkey", world.vkeys[1]),
        because="has signature type 0x06; supported: 0x01",
        instead="its Ed25519 key, as above",
    )
