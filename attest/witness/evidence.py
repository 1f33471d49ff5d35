"""Evidence: what a state witness keeps of a checkpoint it refuses, so that anybody can repeat the refusal offline.

    evidence/<hex SHA-256 of the origin>/<size>-<n>/
        checkpoint          as the log signed it
        refusal.json        the code, where it arose, and from where to start
        transition          the proof of the refused epoch
        rows/<hex root>     the row files it names

Spec: docs/spec/witness.md#evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from attest.encoding import ZERO, Hash, decode_cbor, encode_base64, encode_cbor, parse_hex, sha256
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, log_verifiers, verify_log_signatures
from attest.formats.note import NoteVerifier
from attest.formats.statement import Epoch, Log, Statement
from attest.formats.strict_json import base64, closed, integer, many, nullable, parse_json, text, write_json
from attest.ledger.transition import Anchor, parse_transition, verify_transition
from attest.merkle.tree import Frontier, leaf_hash, leaf_hashes, verify_consistency, verify_inclusion
from attest.store.blobs import DirectoryBlobs

FORMAT: Final = "attest-evidence/1"
FORK, NO_EPOCH = "log/fork", "log/no-epoch"
MAX_KEPT: Final = 64  # of one log
_MAX_REFUSAL: Final = 1 << 24  # bytes
_MAX_PATH: Final = 64  # hashes


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry and the path that proves it under the checkpoint."""

    position: int
    entry: bytes
    path: Sequence[Hash]

    def verify(self, checkpoint: Checkpoint) -> None:
        """Raises as `verify_inclusion`."""
        verify_inclusion(leaf_hash(self.entry), self.position, checkpoint.size, checkpoint.root, self.path)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A refused checkpoint, and all that is needed to refuse it again."""

    signed: SignedCheckpoint
    code: str
    message: str
    epoch: int  # the number of the refused one
    found: str | None
    expected: str | None
    anchor: Anchor  # where the refused epoch begins
    transition: bytes | None  # its proof
    rows: Mapping[Hash, bytes]  # row files it names
    root: Hash | None  # of the tree that ends with the epoch, or with the anchor, under the checkpoint
    path: Sequence[Hash] | None  # from that tree to the checkpoint; None where the log did not serve it
    shown: Sequence[Shown]  # entry 0, the anchor's epoch, or the last entry

    def check(self, verifiers: Sequence[NoteVerifier] = ()) -> "Finding":
        """Repeat the refusal.

        Args:
            verifiers: the keys of the log, where they are known; those that entry 0 names are taken otherwise.

        Raises:
            Refuted: `evidence/differs`, another refusal, or none, comes out. And what says that it was not this log
                which signed: `signature/…`, `inclusion/…`, `consistency/…`.
            Untrusted: `checkpoint/unsigned`.
        """
        found, after = self._refuse()
        if found.code != self.code:
            raise Refuted("evidence/differs", f"kept as {self.code}, found {found.code}")
        proven = self._is_proven(after)
        genesis = self.anchor.genesis if after is None or after.genesis is None else after.genesis
        if not verifiers and genesis is not None and not found.code.startswith("genesis/"):
            verifiers = log_verifiers(self.signed.checkpoint.origin, genesis.note_ed25519, genesis.note_mldsa44)
        if verifiers:
            verify_log_signatures(self.signed, verifiers)
        return Finding(self.signed.checkpoint, self.epoch, found, proven)

    def _refuse(self) -> tuple[AttestError, Anchor | None]:
        """Return the refusal, and where the epoch would have led, as far as that can be said."""
        whole = self.signed.checkpoint
        if self.code == NO_EPOCH:
            last = next((each for each in self.shown if each.position == whole.size - 1), None)
            if last is None or is_epoch(last.entry):
                return Refuted("evidence/differs", "the last entry is not shown, or is an epoch"), None
            return Refuted(NO_EPOCH, self.message), None
        if self.transition is None and self.code.startswith("genesis/"):
            first = next((each.entry for each in self.shown if each.position == 0), b"")
            payload = Statement.parse(first).payload
            genesis = Anchor(payload if isinstance(payload, Log) else None, 0, ZERO, None)
            try:
                check_genesis(self.signed, genesis)
            except Refuted as error:
                return error, None
            return Refuted("none", "entry 0 is right"), None
        if self.transition is None:
            return Refuted(FORK if self.root != self.anchor.root else "none", self.message), self.anchor
        try:
            after = verify_transition(self.transition, self.anchor, self._row_file)
            check_genesis(self.signed, after)
        except AttestError as error:
            return error, end_of(self.transition, self.anchor)
        return Refuted(FORK if self.root != after.root else "none", self.message), after

    def _row_file(self, root: Hash) -> bytes:
        found = self.rows.get(root)
        if found is None:
            raise Unavailable("rows/missing", f"row file {root.hex()} is not kept here")
        return found

    def _is_proven(self, after: Anchor | None) -> bool:
        """Tell whether the checkpoint commits what was refused. Raises if it is said to and does not."""
        whole = self.signed.checkpoint
        for each in self.shown:
            each.verify(whole)
        if self.code == NO_EPOCH or self.code.startswith("genesis/"):
            return bool(self.shown)
        if after is None or self.root is None or self.path is None:
            return False
        verify_consistency(after.size, self.root, whole.size, whole.root, self.path)
        if self.code == FORK:
            return True
        shown = {each.position: each.entry for each in self.shown}
        if self.anchor.previous is not None:
            genesis = Statement.parse(shown.get(0, b"")).payload
            if shown.get(self.anchor.size - 1) != self.anchor.previous.entry or genesis != self.anchor.genesis:
                return False
        return after.root == self.root

    # --- files ---

    def save(self, directory: Path) -> Path | None:
        """Store it durably below `directory`, unless it is there or enough of this log are; return its place."""
        folder = sha256(self.signed.checkpoint.origin.encode()).hex()
        said = self._said()
        kept = sorted((directory / folder).glob("*-*/refusal.json"))
        for each in kept:
            known = _read_json(each)
            if all(known.get(name) == said[name] for name in ("code", "epoch", "transition", "root")):
                return each.parent
        if len(kept) >= MAX_KEPT:
            return None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        blobs, size = DirectoryBlobs(directory), self.signed.checkpoint.size
        taken = {each.parent.name for each in kept}
        place = next(name for n in range(MAX_KEPT + 1) if (name := f"{size}-{n}") not in taken)
        files = [("checkpoint", self.signed.encode())]
        if self.transition is not None:
            files.append(("transition", self.transition))
        files += [(f"rows/{root.hex()}", encoded) for root, encoded in self.rows.items()]
        files.append(("refusal.json", write_json(said)))
        # What a process that died has left behind has no refusal.json, and may have other bytes.
        blobs.delete(f"{folder}/{place}/{name}" for name, _ in files)
        blobs.put([(f"{folder}/{place}/{name}", content) for name, content in files])
        return directory / folder / place

    def _said(self) -> dict[str, Any]:
        anchor = self.anchor
        return {
            "format": FORMAT,
            "origin": self.signed.checkpoint.origin,
            "size": self.signed.checkpoint.size,
            "code": self.code,
            "message": self.message,
            "epoch": self.epoch,
            "found": self.found,
            "expected": self.expected,
            "anchor": None
            if anchor.genesis is None or anchor.previous is None
            else {
                "size": anchor.size,
                "root": encode_base64(anchor.root),
                "previous": encode_base64(anchor.previous.entry),
                "genesis": encode_base64(encode_cbor(anchor.genesis.fields())),
            },
            "transition": None if self.transition is None else sha256(self.transition).hex(),
            "rows": [root.hex() for root in self.rows],
            "root": None if self.root is None else encode_base64(self.root),
            "path": None if self.path is None else [encode_base64(each) for each in self.path],
            "shown": [
                {"position": each.position, "entry": encode_base64(each.entry),
                 "path": [encode_base64(hash_) for hash_ in each.path]}
                for each in self.shown
            ],
        }  # fmt: skip

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` has stored. Raises `Malformed`: `evidence/…`, `json/…`."""
        found = closed(_read_json(directory / "refusal.json"), "refusal", _SHAPE)
        if found["format"] != FORMAT:
            raise Malformed("evidence/format", f"want {FORMAT}")
        signed = SignedCheckpoint.parse(_read(directory / "checkpoint"))
        if (signed.checkpoint.origin, signed.checkpoint.size) != (found["origin"], found["size"]):
            raise Malformed("evidence/format", "the refusal is of another checkpoint")
        transition = None
        if found["transition"] is not None:
            transition = _read(directory / "transition")
            if sha256(transition) != parse_hex(found["transition"], 32):
                raise Malformed("evidence/format", "the transition proof is another")
        rows = {root: _read(directory / "rows" / root.hex()) for root in (parse_hex(r, 32) for r in found["rows"])}
        return cls(
            signed,
            found["code"],
            found["message"],
            found["epoch"],
            found["found"],
            found["expected"],
            _anchor(found["anchor"]),
            transition,
            rows,
            found["root"],
            found["path"],
            tuple(Shown(each["position"], each["entry"], each["path"]) for each in found["shown"]),
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out when evidence was checked."""

    checkpoint: Checkpoint
    epoch: int
    refusal: AttestError
    proven: bool  # the signed checkpoint commits what was refused: not merely served, but said


def check_evidence(directory: Path, verifiers: Sequence[NoteVerifier] = ()) -> Finding:
    """Repeat, from what a state witness has kept, its refusal of a checkpoint.

    Raises:
        AttestError: as `Evidence.load` and `Evidence.check`; the evidence shows nothing then.
    """
    return Evidence.load(directory).check(verifiers)


def check_genesis(signed: SignedCheckpoint, anchor: Anchor) -> None:
    """Check that entry 0 is this log's and names a key that has signed the checkpoint.

    Raises:
        Refuted: `genesis/origin`, `genesis/keys`.
    """
    genesis, origin = anchor.genesis, signed.checkpoint.origin
    if genesis is None or genesis.origin != origin:
        raise Refuted("genesis/origin", f"entry 0 is not log/1 of {origin}")
    try:
        verify_log_signatures(signed, log_verifiers(origin, genesis.note_ed25519, genesis.note_mldsa44))
    except AttestError:
        raise Refuted("genesis/keys", "the checkpoint is signed by no key that entry 0 names") from None


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


def _anchor(found: dict[str, Any] | None) -> Anchor:
    if found is None:
        return Anchor.empty()
    genesis = Log.parse(decode_cbor(found["genesis"]))
    return Anchor(genesis, found["size"], found["root"], Statement.parse(found["previous"]))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Malformed("evidence/missing", f"{path}: {error.strerror}") from None


def _read_json(path: Path) -> dict[str, Any]:
    found = parse_json(_read(path), _MAX_REFUSAL)
    return found if isinstance(found, dict) else {}


def _object(shape: Mapping[str, Any]) -> Any:
    return lambda found, where: closed(found, where, shape)


_PATH: Final = many(base64(32), _MAX_PATH)
_SHAPE: Final[dict[str, Any]] = {
    "format": text, "origin": text, "size": integer, "code": text, "message": text, "epoch": integer,
    "found": nullable(text), "expected": nullable(text),
    "anchor": nullable(_object({"size": integer, "root": base64(32), "previous": base64(), "genesis": base64()})),
    "transition": nullable(text), "rows": many(text, 1 << 20), "root": nullable(base64(32)), "path": nullable(_PATH),
    "shown": many(_object({"position": integer, "entry": base64(), "path": _PATH}), 3),
}  # fmt: skip
