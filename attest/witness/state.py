"""The state witness: it vouches for a checkpoint once it has checked, itself, everything from entry 0 up to it.

Spec: docs/spec/witness.md#state-witnesses.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import httpx
import structlog

from attest.errors import AttestError, Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.statement import Epoch
from attest.ledger.transition import Anchor
from attest.served import Log
from attest.store.anchors import AnchorStore
from attest.store.blobs import Blobs, DirectoryBlobs
from attest.store.db import Clock, Database
from attest.transport import LogClient
from attest.witness.walk import Anchors, Limits, Walker

EPOCH_AGE_S: Final = 300  # between the last epoch's time and our clock
_KEPT: Final = "state"  # the directory of row files
_FLOOR: Final = 256 << 20  # bytes that stay free

_logger = structlog.get_logger("attest.witness")


class Settings(Protocol):
    """What a state witness needs of the settings of a witness."""

    @property
    def directory(self) -> Path: ...

    @property
    def urls(self) -> Mapping[str, str]: ...  # origin → where the log is served; read anew for every log


@dataclass(slots=True)
class _Work:
    """One walk, in a thread of its own."""

    target: Checkpoint
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class _Desk:
    """One log, and the one thread that checks it."""

    def __init__(self, walker: Walker) -> None:
        self.walker = walker
        self.lock = threading.Lock()
        self.work: _Work | None = None
        self.refused: tuple[Checkpoint, float, AttestError] | None = None


class StateAssessor:
    """Decides, for each checkpoint a log offers, whether all below it has been checked. For many threads."""

    def __init__(
        self,
        open_log: Callable[[str], Log],
        blobs: Blobs,
        anchors: Anchors,
        evidence: Path,
        *,
        clock: Clock = time.time,
        wait_s: float = 5.0,
        repeat_s: float = 30.0,
        limits: Limits | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            open_log: gives the log of an origin. Raises `Unavailable`: `witness/no-url`.
            evidence: a directory for what refuted a log.
            wait_s: how long `assess` waits for its turn and for the check.
            repeat_s: how long a refusal is repeated for the same checkpoint without another look.
        """
        self._open_log = open_log
        self._blobs = blobs
        self._anchors = anchors
        self._evidence = evidence
        self._clock = clock
        self._wait_s = wait_s
        self._repeat_s = repeat_s
        self._limits = limits or Limits()
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._desks: dict[str, _Desk] = {}
        self._stopping = threading.Event()
        self._turn = threading.Lock()

    def assess(self, origin: str, signed: SignedCheckpoint) -> None:
        """Return if this checkpoint, whose log signature is checked, may be cosigned.

        Raises:
            Refuted, Malformed: with the code of what is wrong.
            Unavailable: `witness/behind`, still checking; `witness/epoch-time`, too old or too new by our clock;
                `witness/ahead`; and what the log does not serve.
        """
        desk = self._desk(origin)
        until = self._clock_s() + self._wait_s
        while not _covers(desk.walker.anchor, signed.checkpoint):
            work = self._work(desk, signed)
            if not work.done.wait(max(0.0, until - self._clock_s())):
                raise _behind(desk.walker, signed.checkpoint)
            if work.error is not None and work.target == signed.checkpoint:
                raise work.error
            if work.error is not None and self._clock_s() >= until:
                raise _behind(desk.walker, signed.checkpoint)
        self._check(desk, signed.checkpoint)

    def close(self, timeout_s: float = 10.0) -> None:
        """Let the threads end after the epoch they are at; wait for them, but not for ever."""
        self._stopping.set()
        with self._lock:
            running = [desk.work for desk in self._desks.values() if desk.work is not None]
        until = self._clock_s() + timeout_s
        for work in running:
            work.done.wait(max(0.0, until - self._clock_s()))

    def _desk(self, origin: str) -> _Desk:
        with self._lock:
            if origin not in self._desks:
                walker = Walker(
                    origin,
                    self._blobs,
                    self._anchors,
                    self._evidence,
                    limits=self._limits,
                    clock=self._clock,
                    stopping=self._stopping,
                    turn=self._turn,
                )
                self._desks[origin] = _Desk(walker)
            return self._desks[origin]

    def _work(self, desk: _Desk, signed: SignedCheckpoint) -> _Work:
        """Return the check that is running, or start one for this checkpoint."""
        with desk.lock:
            if desk.refused is not None:
                target, again, error = desk.refused
                if target == signed.checkpoint and self._clock_s() < again:
                    raise error
                desk.refused = None
            if desk.work is None or desk.work.done.is_set():
                work = _Work(signed.checkpoint)
                name = f"state-{desk.walker.origin}"
                threading.Thread(target=self._run, args=(desk, work, signed), name=name, daemon=True).start()
                desk.work = work
            return desk.work

    def _run(self, desk: _Desk, work: _Work, signed: SignedCheckpoint) -> None:
        try:
            desk.walker.check(signed, self._open_log(desk.walker.origin))
        except BaseException as error:
            work.error = error
            if isinstance(error, AttestError) and not isinstance(error, Unavailable):
                desk.refused = work.target, self._clock_s() + self._repeat_s, error
            _logger.warning("not checked", origin=desk.walker.origin, size=work.target.size, problem=str(error))
        finally:
            work.done.set()

    def _check(self, desk: _Desk, checkpoint: Checkpoint) -> None:
        """Check that it is this checkpoint where we stand, and that it is fresh."""
        anchor = desk.walker.anchor
        if anchor.size > checkpoint.size:
            raise Unavailable(
                "witness/ahead", f"{anchor.size} entries are checked already; offer the newest checkpoint"
            )
        if anchor.previous is None or not isinstance(anchor.previous.payload, Epoch):
            raise Unavailable("witness/epoch-time", "a checkpoint without an epoch")
        now, made = int(self._clock()), anchor.previous.payload.time
        if abs(now - made) > EPOCH_AGE_S:
            raise Unavailable(
                "witness/epoch-time", f"the last epoch is of {made}, our clock says {now}; offer a fresh epoch"
            )


def _covers(anchor: Anchor, checkpoint: Checkpoint) -> bool:
    return anchor.size > checkpoint.size or (anchor.size, anchor.root) == (checkpoint.size, checkpoint.root)


def _behind(walker: Walker, checkpoint: Checkpoint) -> Unavailable:
    doing = f", replaying entry {walker.replaying}" if walker.replaying else ""
    return Unavailable(
        "witness/behind", f"{walker.anchor.size} of {checkpoint.size} entries are checked{doing}", hint="ask again"
    )


def open_assessor(
    settings: Settings,
    db: Database,
    clock: Clock = time.time,
    *,
    transports: Mapping[str, httpx.BaseTransport] | None = None,
) -> StateAssessor:
    """Put a state witness together.

    Args:
        transports: by origin, in place of the network.
    """
    place = settings.directory / _KEPT
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    clients: dict[tuple[str, str], LogClient] = {}

    def open_log(origin: str) -> LogClient:
        url = settings.urls.get(origin)
        if url is None:
            raise Unavailable("witness/no-url", f"no address is configured for {origin}")
        if (origin, url) not in clients:
            transport = (transports or {}).get(origin)
            clients[origin, url] = LogClient(
                url, None, origin=origin, transport=transport, timeout_s=20, patience_s=10, answer_s=300
            )
        return clients[origin, url]

    blobs = DirectoryBlobs(place, floor=_FLOOR)
    return StateAssessor(open_log, blobs, AnchorStore(db), settings.directory / "evidence", clock=clock)
