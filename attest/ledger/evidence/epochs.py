"""Epochs that the rules refuse, and what stands where an epoch should."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from attest.encoding import ZERO, Hash, decode_cbor, encode_cbor
from attest.errors import AttestError, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, log_verifiers, verify_log_signatures
from attest.formats.note import NoteVerifier
from attest.formats.rows import rows_root
from attest.formats.statement import Epoch, Log, Statement
from attest.ledger.evidence.exhibit import Shown, Sight, many_hashes, members, one_hash, shaped
from attest.ledger.evidence.notes import FORK
from attest.ledger.transition import Anchor, parse_transition, verify_transition
from attest.merkle.tree import Frontier, leaf_hashes, verify_consistency

NO_EPOCH = "log/no-epoch"
# What is wrong with entries, or with what they lead to. All else is wrong with a proof, which nobody has signed.
_SIGNED: Final = frozenset({"rule", "epoch", "signature", "key"})

_EPOCH: Final = {
    "anchor": (list, type(None)), "epoch": int, "transition": (bytes, type(None)), "rows": list,
    "root": (bytes, type(None)), "path": (list, type(None)), "shown": list, "found": (str, type(None)),
    "expected": (str, type(None)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BadEpoch:
    """An epoch that the rules refuse, from the epoch before it; or what stands where an epoch should."""

    KIND: ClassVar[str] = "epoch"
    anchor: Anchor  # where the refused epoch begins
    epoch: int  # its number
    transition: bytes | None = None  # its proof
    rows: Mapping[Hash, bytes] = field(default_factory=dict)  # row files it names
    root: Hash | None = None  # of the tree that ends with the epoch, or with the anchor, under the checkpoint
    path: Sequence[Hash] | None = None  # from that tree to the checkpoint; None where the log did not serve it
    shown: Sequence[Shown] = ()  # entry 0, the anchor's epoch, or the last entry
    found: str | None = None  # where the heads that the log shows depart from those that its entries lead to
    expected: str | None = None

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`."""
        refusal, after = self._refuse(signed, code)
        committed = refusal.code == code and self._is_committed(signed.checkpoint, code, after)
        # Nobody has signed where the witness stood, and a proof that starts there is no better.
        return Sight(refusal, committed, word=refusal.code == FORK)

    def _refuse(self, signed: SignedCheckpoint, code: str) -> tuple[AttestError, Anchor | None]:
        """Return the refusal, and where the epoch would have led, as far as that can be said."""
        whole = signed.checkpoint
        if code == NO_EPOCH:
            last = next((each for each in self.shown if each.position == whole.size - 1), None)
            if last is None or is_epoch(last.entry):
                return Refuted("none", "the last entry is not shown, or is an epoch"), None
            return no_epoch(whole.size), None
        if code.startswith("genesis/"):
            first = next((each.entry for each in self.shown if each.position == 0), b"")
            payload = Statement.parse(first).payload
            genesis = Anchor(payload if isinstance(payload, Log) else None, 0, ZERO, None)
            try:
                check_genesis(signed, genesis)
            except Refuted as error:
                return error, None
            return Refuted("none", "entry 0 is right"), None
        if self.transition is None:
            return self._forked(self.anchor), self.anchor
        try:
            after = verify_transition(self.transition, self.anchor, self._row_file)
        except Unavailable:
            raise  # whoever cannot decide refutes nobody
        except AttestError as error:
            return error, end_of(self.transition, self.anchor)
        return self._forked(after), after

    def _forked(self, after: Anchor) -> Refuted:
        if self.root == after.root:
            return Refuted("none", "the epoch is right, and in the tree")
        return forked(after.size)

    def _row_file(self, root: Hash) -> bytes:
        found = self.rows.get(root)
        if found is None:
            raise Unavailable("rows/missing", f"row file {root.hex()} is not kept here")
        return found

    def _is_committed(self, whole: Checkpoint, code: str, after: Anchor | None) -> bool:
        """Tell whether the checkpoint commits what was refused. Raises if it is said to and does not."""
        for each in self.shown:
            each.verify(whole)
        if code == NO_EPOCH or code.startswith("genesis/"):
            return bool(self.shown)
        if after is None or self.root is None or self.path is None:
            return False
        verify_consistency(after.size, self.root, whole.size, whole.root, self.path)
        if code == FORK or not self._is_signed(code):
            return False
        shown = {each.position: each.entry for each in self.shown}
        if self.anchor.previous is not None:
            genesis = Statement.parse(shown.get(0, b"")).payload
            if shown.get(self.anchor.size - 1) != self.anchor.previous.entry or genesis != self.anchor.genesis:
                return False
        return after.root == self.root

    def _is_signed(self, code: str) -> bool:
        """Tell whether the code is about the entries of the proof, and not about the proof."""
        if code.startswith("rows/"):
            # No statement is wrong because of bytes that it does not name.
            return all(rows_root(rows) == root for root, rows in self.rows.items())
        if code.partition("/")[0] in _SIGNED or code == "statement/size":
            return True
        return any(_fault(entry) == code for entry in parse_transition(self.transition or b"")["entries"])

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [self.epoch, self.transition, self.root]

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        anchor = self.anchor
        return {
            "anchor": None
            if anchor.genesis is None or anchor.previous is None
            else [anchor.size, anchor.root, anchor.previous.entry, encode_cbor(anchor.genesis.fields())],
            "epoch": self.epoch,
            "transition": self.transition,
            "rows": [[root, rows] for root, rows in self.rows.items()],
            "root": self.root,
            "path": None if self.path is None else list(self.path),
            "shown": [each.fields() for each in self.shown],
            "found": self.found,
            "expected": self.expected,
        }

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns. Raises `Malformed`: `evidence/format`, and those of its parts."""
        found = shaped(found, _EPOCH)
        anchor = Anchor.empty()
        if found["anchor"] is not None:
            size, root, previous, genesis = members(found["anchor"], int, bytes, bytes, bytes)
            anchor = Anchor(Log.parse(decode_cbor(genesis)), size, one_hash(root), Statement.parse(previous))
            if not is_epoch(previous):
                # Behind any other entry nothing is committed, and an honest entry would be against the rules.
                raise Malformed("evidence/format", "an anchor stands behind an epoch")
        return cls(
            anchor=anchor,
            epoch=found["epoch"],
            transition=found["transition"],
            rows={one_hash(root): rows for root, rows in (members(each, bytes, bytes) for each in found["rows"])},
            root=None if found["root"] is None else one_hash(found["root"]),
            path=None if found["path"] is None else many_hashes(found["path"]),
            shown=tuple(Shown.read(each) for each in found["shown"]),
            found=found["found"],
            expected=found["expected"],
        )


def forked(size: int) -> Refuted:
    """Say that a log shows two histories."""
    return Refuted(FORK, f"the log shows two histories of its first {size} entries")


def no_epoch(size: int) -> Refuted:
    """Say that a checkpoint ends in the middle of an epoch."""
    return Refuted(NO_EPOCH, f"the checkpoint of {size} entries does not end with an epoch")


def check_genesis(signed: SignedCheckpoint, anchor: Anchor) -> None:
    """Check that entry 0 is this log's and names a key that has signed the checkpoint.

    Raises:
        Refuted: `genesis/origin`, `genesis/keys`.
    """
    genesis, origin = anchor.genesis, signed.checkpoint.origin
    if genesis is None or genesis.origin != origin:
        raise Refuted("genesis/origin", f"entry 0 is not log/1 of {origin}")
    verifiers = log_verifiers(origin, genesis.note_ed25519, genesis.note_mldsa44)
    # Each by itself: anybody can add a line that does not verify.
    if not any(_has_signed(each, signed) for each in verifiers):
        raise Refuted("genesis/keys", "the checkpoint is signed by no key that entry 0 names")


def _has_signed(verifier: NoteVerifier, signed: SignedCheckpoint) -> bool:
    try:
        return bool(verify_log_signatures(signed, [verifier]))
    except (Refuted, Untrusted):
        return False


def _fault(entry: bytes) -> str | None:
    """Return the code under which an entry is no statement; None if it is one."""
    try:
        Statement.parse(entry)
    except Malformed as error:
        return error.code
    return None


def is_epoch(entry: bytes) -> bool:
    """Tell whether an entry is an epoch/1."""
    try:
        return isinstance(Statement.parse(entry).payload, Epoch)
    except Malformed:
        return False


def end_of(transition: bytes, anchor: Anchor) -> Anchor | None:
    """Return the tree that the entries of a refused proof end; None if it does not even show that."""
    try:
        proof = parse_transition(transition)
        frontier = Frontier.parse(proof["size"], proof["frontier"])
    except AttestError:
        return None
    if (frontier.size, frontier.root()) != (anchor.size, anchor.root):
        return None
    after = frontier.append(leaf_hashes(proof["entries"]))
    return Anchor(anchor.genesis, after.size, after.root(), None)
