"""The world of liars: each lie its own scenario, told by an operator or a holder who has all code and all keys.

A lie is told in a directory, as the log serves it. Beside it stands what the auditor knew before, if the lie is one
only to somebody who has been here already, and the code under which it has to be found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cbor2

from attest.crypto.keys import SigningKey
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.cosignature import cosign_ed25519
from attest.formats.note import KeyType, NoteVerifier, SignatureLine
from attest.formats.policy import Policy, PolicyGroup, PolicyWitness
from tests.audit.published import policy, publish, spell, write
from tests.ledger import model
from tests.ledger.log import ORIGIN, START, Log, log_fields, row_of, rows_of
from tests.ledger.model import Key
from tests.vectors import generate_ledger
from tests.witness.lies import ACME, EPOCHS, LIES, Operator, busy, lying_epoch, stage

NOW = START + 1000


@dataclass(frozen=True)
class Told:
    """A lie, as an auditor meets it."""

    log: Path  # what is served
    before: Path | None = None  # what was served when the auditor was here last
    others: Sequence[SignedCheckpoint] = ()  # checkpoints that the auditor has from somebody else
    policy: Policy = field(default_factory=policy)
    now: int = NOW
    live: bool = False


@dataclass(frozen=True)
class Lie:
    """How a lie is told, and how it is found.

    `weight` says what a third party sees who has the evidence and the policy alone: `committed` (the log has signed
    it), `served` (it is not what the log has signed), `word` (somebody says so, and it stays undecided), `hearsay`
    (there is nothing to show).
    """

    code: str
    tell: Callable[[Path], Told]
    weight: str = "committed"
    listed: bool = False  # shows only where files can be listed: in a directory, not over HTTP


# --- telling ---


def shown(operator: Operator, directory: Path, signed: SignedCheckpoint | None = None) -> Path:
    """Publish a log with its transition proofs."""
    publish(operator, directory, signed)
    for number, proof in operator.proofs.items():
        write(directory / f"proofs/transition/{number}", proof)
    return directory


def refused(log: Log, proof: bytes) -> Callable[[Path], Told]:
    """Publish an epoch whatever the rules say."""

    def tell(where: Path) -> Told:
        operator = Operator(log)
        operator.publish(proof)
        return Told(shown(operator, where / "log"))

    return tell


def state_lie(lie: Callable[[model.Model], None]) -> Callable[[Path], Told]:
    return lambda where: refused(log := busy(), lying_epoch(log, lie))(where)


def epoch_lie(change: Callable[[Log], Mapping[str, Any]]) -> Callable[[Path], Told]:
    """An epoch that says something wrong itself."""

    def tell(where: Path) -> Told:
        log = busy()
        log.time += 1
        fields = {**log.epoch_fields(), **change(log)}
        operator = Operator(log)
        number, proof = log.epoch_fields()["number"], log.force(epoch=log.encode(fields, iat=fields["time"]))
        operator.publish(proof)
        operator.proofs[number] = proof  # where it is looked for
        return Told(shown(operator, where / "log"))

    return tell


@cache
def past() -> Log:
    return generate_ledger.history()


BROKEN = generate_ledger.refused_statements(past().copy())


def statement_lie(n: int) -> Callable[[Path], Told]:
    """An epoch with a statement that the rules refuse."""

    def tell(where: Path) -> Told:
        log = past().copy()
        _, _, entry = generate_ledger.refused_statements(log)[n]
        return refused(log, closed(log, entry))(where)

    return tell


def closed(log: Log, *entries: bytes) -> bytes:
    """Force entries into an epoch that is right otherwise."""
    epoch = log.encode({**log.epoch_fields(), "time": log.time + 1}, iat=log.time + 1)
    return log.force(*entries, epoch=epoch)


def forced(make: Callable[[Log], bytes | Sequence[bytes]]) -> Callable[[Path], Told]:
    """One or some entries that the rules refuse, on the stage."""

    def tell(where: Path) -> Told:
        log = stage().copy()
        made = make(log)
        return refused(log, closed(log, *([made] if isinstance(made, bytes) else made)))(where)

    return tell


def rowed(make: Callable[[Log], bytes], rows: int | None = None) -> Callable[[Log], bytes]:
    """A hold of a row file that no rule lets in, under its right root."""

    def entry(log: Log) -> bytes:
        file = make(log)
        root = model.row_root(file)
        log.files[root] = file
        fields = {"kind": "hold/1", "count": rows or len(file) // 64, "root": root, "cause": "collected"}
        return log.encode(fields, ACME, stream="db")

    return entry


def out_of_turn(log: Log) -> bytes:
    """A hold that the rules refuse whatever its rows are, which nobody is shown."""
    return log.encode(
        {"kind": "hold/1", "count": 1, "root": bytes(32), "cause": "collected", "seq": 77}, ACME, stream="db"
    )


def early(log: Log) -> list[bytes]:
    """A key signs in the entry before the one that admits it."""
    other = log.copy()
    other.systems(ACME, {**generate_ledger.descriptor("new")})
    new = other.sign(other.key_change(ACME, soon="sign"), ACME)
    return [
        log.encode({"kind": "systems/1", "systems": [generate_ledger.descriptor("new")]}, ACME, key="soon"),
        new.entry,
    ]


def bare(*entries: bytes) -> Callable[[Path], Told]:
    """Entries of which no transition proof can be made by whoever does not read them."""

    def tell(where: Path) -> Told:
        log = stage().copy()
        epoch = log.encode({**log.epoch_fields(), "time": log.time + 1}, iat=log.time + 1)
        operator = Operator(log)
        operator.entries += [*entries, epoch]
        return Told(shown(operator, where / "log"))

    return tell


def misspelt() -> bytes:
    """A statement, rightly signed, over a payload with a byte behind it."""
    protected, _, payload, _ = cbor2.loads(past().encode({"kind": "systems/1", "systems": []}, ACME)).value
    return model.sign(Key(ACME), protected, payload + b"\x00")


def past_end(log: Log) -> list[bytes]:
    """The log says that it ends, and goes on."""
    end = log.sign({"kind": "party-end/1"})
    log.add(end)
    entry = log.encode(log.party("late.example"))
    return [entry]


# --- histories ---


def grown(*numbers: int, quiet: int = 0) -> Operator:
    """A log that has held some rows since, in an epoch each."""
    log = stage().copy()
    for n in numbers:
        log.hold(ACME, "db", rows_of(n))
        log.epoch()
    for _ in range(quiet):
        log.epoch()
    return Operator(log)


def two(first: Callable[[], Operator], second: Callable[[], Operator]) -> Callable[[Path], Told]:
    """The log as the auditor has seen it, and as it is now."""
    return lambda where: Told(shown(second(), where / "log"), before=shown(first(), where / "before"))


def elsewhere(first: Callable[[], Operator], second: Callable[[], Operator]) -> Callable[[Path], Told]:
    """Somebody else has another checkpoint of the log."""
    return lambda where: Told(shown(second(), where / "log"), others=[first().signed()])


def ordered(*numbers: int) -> Operator:
    """The same statements of two holders in one epoch, in an order that may be either."""
    log = stage().copy()
    made = {
        0: lambda: log.hold(ACME, "db", rows_of(80)),
        1: lambda: log.hold("beta.example", "crm", rows_of(81)),
    }
    for n in numbers:
        made[n]()
    log.epoch()
    return Operator(log)


def unfinished(where: Path) -> Told:
    operator = grown(80)
    return Told(shown(operator, where / "log", operator.signed(len(operator.entries) - 1)))


def stale(where: Path) -> Told:
    operator = grown(80)
    return Told(shown(operator, where / "log"), now=operator.log.time + 3601, live=True)


def other_genesis(**changed: Any) -> Callable[[Path], Told]:
    """Entry 0 says something else than what the policy pins."""

    def tell(where: Path) -> Told:
        log = Log(begin=False)
        fields = log_fields(ORIGIN, **changed)
        log.add(log.sign(fields))
        log.epoch()
        return Told(shown(Operator(log), where / "log"))

    return tell


def other_origin(where: Path) -> Told:
    """The whole log of somebody else, under a checkpoint of this one."""
    log = Log(origin="other.example/log")
    log.epoch()
    operator = Operator(log)
    made = operator.signed()
    operator.log.origin = ORIGIN
    signed = operator.signed()
    assert signed.checkpoint.root == made.checkpoint.root
    return Told(shown(operator, where / "log", signed))


# --- files ---


def spoiled(
    spoil: Callable[[Path, Operator], None], operator: Callable[[], Operator] = grown
) -> Callable[[Path], Told]:
    """An honest log, some files of which are served otherwise."""

    def tell(where: Path) -> Told:
        made = operator()
        directory = shown(made, where / "log")
        spoil(directory, made)
        return Told(directory)

    return tell


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def tile(directory: Path, operator: Operator, level: int | str = 0, index: int = 0) -> Path:
    below = 1 if isinstance(level, str) else 256**level
    width = min(256, len(operator.entries) // below - 256 * index)
    return directory / f"tile/{level}/{spell(index)}{f'.p/{width}' if width < 256 else ''}"


def change(which: Callable[[Path, Operator], Path], how: Callable[[bytes], bytes]) -> Callable[[Path, Operator], None]:
    def spoil(directory: Path, operator: Operator) -> None:
        path = which(directory, operator)
        path.write_bytes(how(path.read_bytes()))

    return spoil


def remove(which: Callable[[Path, Operator], Path]) -> Callable[[Path, Operator], None]:
    return lambda directory, operator: which(directory, operator).unlink()


def bundle(directory: Path, operator: Operator) -> Path:
    return tile(directory, operator, "entries")


def row_file(directory: Path, operator: Operator, n: int = 0) -> Path:
    """The n-th row file that is named in the log."""
    named = [cbor2.loads(cbor2.loads(entry).value[2]).get("root") for entry in operator.entries]
    roots = [root for root in named if root in operator.log.files]
    return directory / "rows" / roots[n].hex()


def swap_rows(directory: Path, operator: Operator) -> None:
    one, other = row_file(directory, operator), row_file(directory, operator, 1)
    one.write_bytes(other.read_bytes())


def swap_trees(directory: Path, operator: Operator) -> None:
    """Serve the entries and tiles of another history under the checkpoint of this one."""
    signed = operator.signed()
    other = grown(81)
    assert len(other.entries) == signed.checkpoint.size
    shown(other, directory, signed)


def swap_entries(directory: Path, operator: Operator) -> None:
    """Serve the last two entries in the other order."""
    entries = [*operator.entries[:-2], operator.entries[-1], operator.entries[-2]]
    write(bundle(directory, operator), b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries))


def cut_last(content: bytes) -> bytes:
    """Leave the last entry out of a bundle."""
    at = ends = 0
    while at < len(content):
        ends, at = at, at + 2 + int.from_bytes(content[at : at + 2], "big")
    return content[:ends]


@cache
def long() -> Log:
    """A log of more than a tile; cheap, since nothing happens in it."""
    log = Log()
    while len(log.model.entries) + len(log.pending) < 300:
        log.epoch()
    return log


def tall() -> Operator:
    return Operator(long().copy())


def old_part(kind: str, spoil: Callable[[bytes], bytes]) -> Callable[[Path, Operator], None]:
    """A partial form of a tile that is full by now."""

    def tell(directory: Path, operator: Operator) -> None:
        leaves = operator.entries[:17]
        content = (
            b"".join(model.leaf(entry) for entry in leaves)
            if kind == "0"
            else b"".join(len(entry).to_bytes(2, "big") + entry for entry in leaves)
        )
        write(directory / f"tile/{kind}/000.p/17", spoil(content))

    return tell


# --- checkpoints and witnesses ---

WITNESSES = {
    name: SigningKey.from_seed(bytes([n]) * 32) for n, name in enumerate(("wit.example/a", "wit.example/b"), 1)
}


def witnessed_policy(quorum: int = 2) -> Policy:
    """What an auditor knows who wants two witnesses."""
    witnesses = tuple(
        PolicyWitness(name[-1], NoteVerifier.of(name, KeyType.COSIGNATURE, key.public))
        for name, key in WITNESSES.items()
    )
    return Policy(policy().logs, witnesses, (PolicyGroup("both", quorum, ("a", "b")),), "both")


def cosigned(by: str, checkpoint: Checkpoint, time: int = START) -> SignatureLine:
    return cosign_ed25519(by, WITNESSES[by], checkpoint, time)


def note_lie(lines: Callable[[Operator], Sequence[SignatureLine]], **signed: Any) -> Callable[[Path], Told]:
    """An honest log under lines that are not what they should be."""

    def tell(where: Path) -> Told:
        operator = grown(80)
        note = operator.signed(**signed).with_lines(lines(operator))
        return Told(shown(operator, where / "log", note), policy=witnessed_policy())

    return tell


A, B = WITNESSES


def own(operator: Operator) -> Checkpoint:
    return operator.signed().checkpoint


def twin(operator: Operator) -> Checkpoint:
    """Another log with the very same tree."""
    return Checkpoint("other.example/log", own(operator).size, own(operator).root)


def from_before(operator: Operator) -> Checkpoint:
    return operator.signed(len(operator.entries) - 2).checkpoint


def moved(line: SignatureLine, to: str) -> SignatureLine:
    """One witness's word under the name and key ID of another."""
    return SignatureLine(to, NoteVerifier.of(to, KeyType.COSIGNATURE, WITNESSES[to].public).key_id, line.signature)


def unsigned(where: Path) -> Told:
    operator = grown(80)
    return Told(shown(operator, where / "log", operator.signed(key="thief")))


def forged(where: Path) -> Told:
    """The log's own line, with a bit that is another."""
    operator = grown(80)
    signed = operator.signed()
    [line] = signed.note.signatures
    bad = SignatureLine(line.name, line.key_id, flip(line.signature, 5))
    note = SignedCheckpoint(signed.checkpoint, type(signed.note)(signed.note.text, (bad,)))
    return Told(shown(operator, where / "log", note))


# --- holders ---


def history(*steps: Callable[[Log], Any]) -> Callable[[Path], Told]:
    """What a holder signs, an epoch for each step; the log takes all of it, and has to."""

    def tell(where: Path) -> Told:
        log = stage().copy()
        for step in steps:
            step(log)
            log.epoch()
        return Told(shown(Operator(log), where / "log"))

    return tell


def wait(seconds: int) -> Callable[[Log], None]:
    def step(log: Log) -> None:
        log.time += seconds

    return step


LIARS: dict[str, Lie] = {
    # Split views, and histories that change.
    "a split view": Lie("log/fork", elsewhere(lambda: grown(81), lambda: grown(80))),
    "a split view, of fewer entries": Lie("log/fork", elsewhere(lambda: grown(81), lambda: grown(80, 82))),
    "another history than last time": Lie("log/fork", two(lambda: grown(81), lambda: grown(80))),
    "a rewritten history": Lie("log/fork", two(lambda: grown(81, 82), lambda: grown(80, 82, 83))),
    "a history cut off and grown anew": Lie("log/fork", two(lambda: grown(80, 81), lambda: grown(80, 82, 83))),
    "a reordered history": Lie("log/fork", two(lambda: ordered(0, 1), lambda: ordered(1, 0))),
    "a history cut off": Lie("log/older", two(lambda: grown(80, 81), lambda: grown(80)), "word"),
    "somebody else has seen more": Lie("log/older", elsewhere(lambda: grown(80, 81), lambda: grown(80)), "word"),
    "a stale checkpoint for ever": Lie("log/silent", stale, "word"),
    "a checkpoint within an epoch": Lie("log/no-epoch", unfinished),
    # Entry 0.
    "entry 0 names other keys than the policy": Lie(
        "genesis/keys",
        other_genesis(
            keys={
                "statements": Key(ORIGIN).public,
                "receipts": Key(ORIGIN + " receipts").public,
                "note_ed25519": Key("another note").public,
                "note_mldsa44": generate_ledger.log_fields()["keys"]["note_mldsa44"],
            }
        ),
    ),
    "entry 0 of another log": Lie("genesis/origin", other_origin),
    # Checkpoints and witnesses.
    "a checkpoint that the log has not signed": Lie("checkpoint/unsigned", unsigned, "word"),
    "a signature of the log that is none": Lie("signature/invalid", forged, "served"),
    "a witness counted twice": Lie(
        "checkpoint/quorum",
        note_lie(lambda log: [cosigned(A, own(log)), cosigned(A, own(log), START + 1)]),
        "word",
    ),
    "a witness under the name of another": Lie(
        "signature/invalid", note_lie(lambda log: [cosigned(A, own(log)), moved(cosigned(A, own(log)), B)]), "served"
    ),
    "a cosignature of another log": Lie(
        "signature/invalid", note_lie(lambda log: [cosigned(A, own(log)), cosigned(B, twin(log))]), "served"
    ),
    "a cosignature of an earlier checkpoint": Lie(
        "signature/invalid", note_lie(lambda log: [cosigned(A, own(log)), cosigned(B, from_before(log))]), "served"
    ),
    "too few witnesses": Lie("checkpoint/quorum", note_lie(lambda log: [cosigned(A, own(log))]), "word"),
    # Files at rest.
    "a bit of a tile": Lie("served/tile", spoiled(change(tile, lambda found: flip(found, 40))), "served"),
    "a tile cut off": Lie("served/tile", spoiled(change(tile, lambda found: found[:-1])), "served"),
    "a tile with more": Lie("served/tile", spoiled(change(tile, lambda found: found + bytes(32))), "served"),
    "an empty tile": Lie("served/tile", spoiled(change(tile, lambda _: b"")), "served"),
    "no tile": Lie("served/tile-missing", spoiled(remove(tile)), "hearsay"),
    "a bit of a full tile": Lie("served/tile", spoiled(change(tile, lambda found: flip(found, 40)), tall), "served"),
    "a bit of a tile above": Lie(
        "served/tile", spoiled(change(lambda d, o: tile(d, o, 1), lambda found: flip(found, 5)), tall), "served"
    ),
    "a bit of a bundle": Lie("served/entries", spoiled(change(bundle, lambda found: flip(found, 40))), "served"),
    "a bit of a length in a bundle": Lie(
        "served/entries", spoiled(change(bundle, lambda found: flip(found, 0))), "served"
    ),
    "a bundle cut off": Lie("served/entries", spoiled(change(bundle, cut_last)), "served"),
    "a bundle with an entry more": Lie(
        "served/entries", spoiled(change(bundle, lambda found: found + b"\x00\x01x")), "served"
    ),
    "a bit of a full bundle": Lie(
        "served/entries", spoiled(change(bundle, lambda found: flip(found, 40)), tall), "served"
    ),
    "entries in another order": Lie("served/entries", spoiled(swap_entries), "served"),
    "no bundle": Lie("served/entries-missing", spoiled(remove(bundle)), "hearsay"),
    "the tree of another history": Lie("served/tree", spoiled(swap_trees, lambda: grown(80)), "served"),
    "a partial tile that contradicts the full one": Lie(
        "served/tile", spoiled(old_part("0", lambda found: flip(found, 40)), tall), "served", listed=True
    ),
    "a partial bundle that contradicts the full one": Lie(
        "served/entries", spoiled(old_part("entries", lambda found: flip(found, 40)), tall), "served", listed=True
    ),
    "a bit of a row file": Lie("served/rows", spoiled(change(row_file, lambda found: flip(found, 40))), "served"),
    "a row file cut off": Lie("served/rows", spoiled(change(row_file, lambda found: found[:-64])), "served"),
    "half a row": Lie("served/rows", spoiled(change(row_file, lambda found: found[:-1])), "served"),
    "rows in another order": Lie(
        "served/rows", spoiled(change(row_file, lambda found: found[64:128] + found[:64] + found[128:])), "served"
    ),
    "a row file of another statement": Lie("served/rows", spoiled(swap_rows), "served"),
    # Nobody gets away with one lie by telling another beside it.
    "a sequence number out of turn, its row file withheld": Lie("rule/seq", forced(out_of_turn)),
    "a row file withheld": Lie("served/rows-missing", spoiled(remove(row_file)), "word"),
    "an empty row file": Lie("served/rows-missing", spoiled(change(row_file, lambda _: b"")), "word"),
    # Rules broken inside of row files, by whoever signs the right root of the wrong rows.
    "a row file out of order": Lie(
        "rows/order",
        forced(rowed(lambda _: b"".join(sorted((i + c for i, c in rows_of(20, 21).items()), reverse=True)))),
    ),
    "a row file with an index twice": Lie(
        "rows/order",
        forced(rowed(lambda _: b"".join(sorted(i + c for n in (0, 1) for i, c in row_of(20, n).items())))),
    ),
    "a row file of more rows than said": Lie(
        "rows/count", forced(rowed(lambda _: model.row_file(rows_of(20, 21, 22)), rows=2))
    ),
    # What the rules refuse, beyond the list of vectors.
    "a key that is admitted by the next entry": Lie("rule/key", forced(early)),
    "a claim of time from the future": Lie(
        "rule/epoch-time",
        forced(lambda log: log.encode(log.tombstone_fields(rows_of(1), erased_at=log.time + 10**6), ACME, stream="db")),
    ),
    "an entry after the end of the log": Lie("rule/log-ended", forced(past_end)),
    "an entry that is no statement": Lie("statement/cose", bare(b"\x80")),
    "an entry whose words are not spelt as they must be": Lie("cbor/trailing", bare(misspelt())),
    # Holders against themselves.
    "the old commitment returns": Lie(
        "holder/old-commitment",
        history(lambda log: log.tombstone(ACME, "db", rows_of(1)), lambda log: log.hold(ACME, "db", rows_of(1))),
    ),
    "erased, then there all the time": Lie(
        "holder/went-on",
        history(
            lambda log: log.tombstone(ACME, "db", rows_of(1)),
            lambda log: log.hold(ACME, "db", rows_of(1, version=1), cause="backfill"),
        ),
        "word",
    ),
    "a back-dated erasure": Lie(
        "holder/erased-before-held",
        history(
            wait(86_400),
            lambda log: log.hold(ACME, "db", rows_of(30)),
            lambda log: log.tombstone(ACME, "db", rows_of(30), erased_at=START),
        ),
    ),
}
LIARS |= {f"epoch: {name}": Lie(code, state_lie(lie)) for name, (code, lie) in LIES.items()}
LIARS |= {f"epoch: {name}": Lie(code, epoch_lie(change)) for name, (code, change) in EPOCHS.items()}
LIARS |= {f"statement: {desc}": Lie(code, statement_lie(n)) for n, (desc, code, _) in enumerate(BROKEN)}
