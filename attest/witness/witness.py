"""The witness: what a log sends is checked against what was last cosigned of it, stored, and only then answered.

The register holds one note a log: the newest checkpoint cosigned, with the log's lines that verified and our own.

Spec: C2SP tlog-witness; docs/spec/witness.md.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

import structlog

from attest.encoding import Hash, sha256
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.cosignature import verify_line
from attest.formats.note import KeyType, Note, NoteVerifier, SignatureLine, encode_signature_lines, known_lines
from attest.merkle.tree import EMPTY_ROOT, verify_consistency
from attest.store import register, witnessed
from attest.store.db import Clock, Database
from attest.witness.loglist import Followed, LogList
from attest.witness.quotas import Quotas
from attest.witness.request import AddCheckpoint, ExtendedCheckpoint, parse_signed
from attest.witness.settings import WitnessKeys

_BEHIND_S: Final = 5  # how far the clock may be behind our last cosignature of a log; then its time is used again
_TRIES: Final = 4  # to store, while other processes store for the same log
_KNOWN: Final = 4096  # logs whose newest checkpoint is in memory

_logger = structlog.get_logger("attest.witness")


class Assessor(Protocol):
    """What a state witness checks beyond the tree."""

    def assess(self, origin: str, signed: SignedCheckpoint) -> None:
        """Called after every check of the protocol and before anything is stored; raises `AttestError` to refuse.

        It may take seconds: nothing but this log waits for it. `Unavailable` says "not yet, ask again", every other
        kind "never". The checkpoint has no extension lines, its signatures are those of the log that verified.
        """


class Stale(Conflict):
    """The log thinks we are somewhere else."""

    def __init__(self, size: int) -> None:
        super().__init__("witness/stale", f"the newest checkpoint cosigned has size {size}")
        self.size = size


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What is stored of a log."""

    text: str  # as it is stored: the note
    checkpoint: Checkpoint
    time: int  # of our cosignature

    @classmethod
    def parse(cls, text: str, verifiers: tuple[NoteVerifier, ...]) -> "Cosigned":
        """Read what is stored."""
        signed = parse_signed(text)
        times = [int.from_bytes(line.signature[:8], "big") for _, line in known_lines(signed.note, verifiers)]
        return cls(text, signed.checkpoint, max(times, default=0))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a log stands with us."""

    origin: str
    listed: bool  # it is cosigned if it asks
    cosigned: Cosigned | None  # None: it never was
    forks: int  # signed contradictions that are kept: one is proof


def standings(database: Database, logs: Iterable[str], verifiers: tuple[NoteVerifier, ...]) -> list[Standing]:
    """List every log that is listed or was ever cosigned."""
    with database.read() as transaction:
        stored = witnessed.standings(transaction)
    listed = set(logs)
    found = []
    for origin in sorted(listed | stored.keys()):
        text, forks = stored.get(origin, (None, 0))
        cosigned = None if text is None else Cosigned.parse(text, verifiers)
        found.append(Standing(origin, origin in listed, cosigned, forks))
    return found


class Witness:
    """Cosigns the logs of a list, under one name."""

    def __init__(
        self,
        keys: WitnessKeys,
        logs: LogList,
        database: Database,
        clock: Clock,
        assessor: Assessor | None = None,
        *,
        clock_s: Callable[[], float] = monotonic,
    ) -> None:
        """Begin where the database ends. Raises `Unavailable`: `store/schema`, `store/database`.

        Args:
            assessor: makes this a state witness.
            clock_s: seconds, never going back; for quotas.
        """
        database.check_schema()
        self.keys = keys
        self.logs = logs
        self._db = database
        self._clock = clock
        self._assessor = assessor
        self._quotas = Quotas(clock_s)
        self._writer = witnessed.Writer(database, self._cosign_all)
        self._turns: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._known: dict[str, Cosigned] = {}  # what was stored when we last looked
        with database.read() as transaction:
            self._origins = {_digest(origin): origin for origin in witnessed.origins(transaction)}
        self._listed: Mapping[str, Followed] = {}  # whose digests are among them

    @property
    def assesses(self) -> bool:
        """Say whether this is a state witness."""
        return self._assessor is not None

    def check(self) -> None:
        """Raises what keeps this witness from cosigning: `Unavailable`, `store/…`."""
        with self._db.read() as transaction:
            register.read(transaction, "")

    def close(self) -> None:
        """Finish what is being stored."""
        self._writer.close()

    def add_checkpoint(self, body: bytes) -> str:
        """Check what a log sent, store its checkpoint, and return our signature lines.

        Raises:
            Malformed: the body is not what it has to be.
            Conflict: `witness/unknown`, not a log that we follow; `Stale`.
            Untrusted: `checkpoint/unsigned`, `witness/extension`, `witness/signature`.
            Refuted: `consistency/…`, and what the assessor finds.
            Unavailable: `witness/clock`, `witness/busy`, `store/…`, what the assessor says; `TooMany`.
        """
        sent = AddCheckpoint.parse(body)
        checkpoint = sent.signed.checkpoint
        log = self.logs.find(checkpoint.origin)
        if log is None:
            raise Conflict("witness/unknown", "this log is not followed here")
        signed = self._signed_by(log, sent.signed)
        # SPEC: "The old size MUST be equal to or lower than the checkpoint size."
        if sent.old_size > checkpoint.size:
            raise Malformed("witness/old", f"old size {sent.old_size} is above the checkpoint's, {checkpoint.size}")
        with self._turn(log.origin):
            for _ in range(_TRIES):
                known = self._known.get(log.origin) or self._read(log.origin)
                try:
                    return encode_signature_lines(self._cosign(log, sent, signed, known))
                except AttestError as error:
                    # What is in memory was true once: another process may have gone on, or stored in our place.
                    if self._read(log.origin) == known:
                        self._refuse(log, signed, known, error)
                        raise
        raise Unavailable("witness/busy", "other processes cosign the same log", hint="ask again")

    def newest(self, digest: str) -> bytes | None:
        """Return the newest checkpoint cosigned of the log whose origin has this SHA-256, lower-case hex."""
        # Another process may have been the first to cosign a log that is listed.
        if (logs := self.logs.all()) is not self._listed:
            self._origins.update((_digest(origin), origin) for origin in logs)
            self._listed = logs
        origin = self._origins.get(digest)
        if origin is None:
            return None
        with self._db.read() as transaction:
            text = register.read(transaction, origin)
        return None if text is None else text.encode()

    def _signed_by(self, log: Followed, signed: SignedCheckpoint) -> SignedCheckpoint:
        """Check every line of a key of the log; return the checkpoint with those lines alone, one a key."""
        verified: dict[NoteVerifier, SignatureLine] = {}
        for verifier, line in known_lines(signed.note, log.verifiers):
            if verified.get(verifier) == line:
                continue
            try:
                verify_line(verifier, signed.checkpoint, line)
            except Refuted as error:
                raise Untrusted("witness/signature", f"a line of a key of this log: {error.message}") from None
            verified[verifier] = line
        if not verified:
            raise Untrusted("checkpoint/unsigned", f"no signature by a key known for {log.origin}")
        if isinstance(signed.checkpoint, ExtendedCheckpoint):
            if self._assessor is not None:
                raise Malformed("checkpoint/extension", "logs with checked states write no extension lines")
            # Type 06 does not sign them: under it alone anybody could put words in the log's mouth, and in ours.
            if not any(verifier.type is KeyType.ED25519 for verifier in verified):
                raise Untrusted("witness/extension", "the extension lines are signed by no key of the log")
        return SignedCheckpoint(signed.checkpoint, Note(signed.checkpoint.encode(), tuple(verified.values())))

    @contextlib.contextmanager
    def _turn(self, origin: str) -> Iterator[None]:
        """Let one request of a log in at a time. While a log's states are checked, others of it are turned away."""
        lock = self._turns.setdefault(origin, threading.Lock())
        if not lock.acquire(blocking=self._assessor is None):
            raise Unavailable("witness/busy", "another checkpoint of this log is being checked", hint="ask again")
        try:
            yield
        finally:
            lock.release()

    def _read(self, origin: str) -> Cosigned | None:
        with self._db.read() as transaction:
            text = register.read(transaction, origin)
        if text is None:
            return None
        return self._remember(origin, Cosigned.parse(text, self.keys.verifiers))

    def _remember(self, origin: str, cosigned: Cosigned) -> Cosigned:
        with self._lock:
            self._known[origin] = cosigned
            if len(self._known) > _KNOWN:
                del self._known[next(iter(self._known))]
        return cosigned

    def _cosign(
        self, log: Followed, sent: AddCheckpoint, signed: SignedCheckpoint, known: Cosigned | None
    ) -> tuple[SignatureLine, ...]:
        """Sign and store a step from what is known of a log. Raises `Unavailable`: `witness/busy`, `store/…`."""
        checkpoint = signed.checkpoint
        _check_step(sent, known)
        self._assess(log.origin, signed)
        self._quotas.take(log.origin, log.qpd, step=checkpoint.size > sent.old_size)
        time = self._time(known)
        try:
            # SPEC: "The witness MUST persist the new checkpoint before responding", atomically with the check.
            text, lines = self._writer.replace(log.origin, None if known is None else known.text, (signed, time))
        except Conflict:
            raise Unavailable("witness/busy", "other processes cosign the same log", hint="ask again") from None
        self._remember(log.origin, Cosigned(text, checkpoint, time))
        self._origins[_digest(log.origin)] = log.origin
        return lines

    def _cosign_all(self, steps: list[tuple[SignedCheckpoint, int]]) -> list[tuple[str, tuple[SignatureLine, ...]]]:
        """Make the note to store of each step, and our lines in it."""
        cosigned = self.keys.cosign([(signed.checkpoint, time) for signed, time in steps])
        return [
            (signed.with_lines(lines).encode().decode(), lines)
            for (signed, _), lines in zip(steps, cosigned, strict=True)
        ]

    def _refuse(self, log: Followed, signed: SignedCheckpoint, known: Cosigned | None, error: AttestError) -> None:
        """Count what was asked in vain; keep what a log should not have signed. Raises `TooMany`."""
        if isinstance(error, Unavailable):
            return
        self._quotas.take(log.origin, log.qpd, step=False)
        if isinstance(error, Stale):
            return  # how a log learns where we are
        checkpoint = signed.checkpoint
        _logger.warning("refused", origin=log.origin, size=checkpoint.size, code=error.code)
        if error.code == "consistency/fork":
            fork = witnessed.Fork(signed.encode().decode(), None if known is None else known.text)
            with contextlib.suppress(Unavailable), self._db.write() as transaction:
                witnessed.keep_fork(transaction, checkpoint, fork, int(self._clock()))

    def _assess(self, origin: str, signed: SignedCheckpoint) -> None:
        if self._assessor is None:
            return
        try:
            self._assessor.assess(origin, signed)
        except Unavailable:
            raise
        except AttestError as error:
            raise Refuted(error.code, error.message, rows=error.rows, hint=error.hint) from None

    def _time(self, known: Cosigned | None) -> int:
        """Return the time to sign with, which never decreases for a log."""
        now, last = int(self._clock()), 1 if known is None else known.time
        if now < last - _BEHIND_S:
            raise Unavailable("witness/clock", f"our clock is {last - now} s behind what we signed last")
        return max(now, last)


def _check_step(sent: AddCheckpoint, known: Cosigned | None) -> None:
    """Check that a log's step forward begins where we are, and is one."""
    size, root = (0, EMPTY_ROOT) if known is None else (known.checkpoint.size, known.checkpoint.root)
    # SPEC: "The witness MUST check that the old size matches the size of the latest checkpoint it cosigned …
    # (or zero if it never cosigned a checkpoint for that origin)."
    if sent.old_size != size:
        raise Stale(size)
    # That of two trees of one size the roots are the same, that the empty tree has the empty root, and that the proof
    # from size 0 is empty: verify_consistency checks all of it.
    try:
        verify_consistency(size, root, sent.signed.checkpoint.size, sent.signed.checkpoint.root, sent.proof)
    except Malformed as error:
        raise Refuted(error.code, error.message) from None


def _digest(origin: str) -> str:
    found: Hash = sha256(origin.encode())
    return found.hex()
