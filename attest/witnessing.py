"""Asking witnesses to cosign: a thread for each, so that none waits for another.

A witness is asked for the newest checkpoint only. It remembers a size, we remember which, and the proof that leads from
there to the checkpoint goes with it. A state witness is asked in the same way, but may take its time: it gets the same
checkpoint again until it has answered.

Spec: C2SP tlog-witness; docs/spec/witness.md#asking.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import structlog

from attest import __version__
from attest.encoding import Hash, encode_base64, parse_decimal, sha256
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.cosignature import verify_cosignature
from attest.formats.note import (
    Note,
    NoteVerifier,
    SignatureLine,
    decode_text,
    known_lines,
    parse_signature_lines,
)
from attest.formats.policy import Policy
from attest.formats.strict_json import write_json
from attest.merkle import tree
from attest.store.db import Clock

MAX_ANSWER: Final = 1 << 16  # bytes
SKEW_S: Final = 300  # how far a witness's clock may be from ours
SIZE_TYPE: Final = "text/x.tlog.size"
_TRIES: Final = 4  # of one offer, each with the size that the witness named
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_STICKY_S: Final = 200.0  # how long a state witness is asked for the same checkpoint

Connect = Callable[[str], httpx.Client]

_logger = structlog.get_logger("attest.witnessing")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One witness: where it is, and by which keys it is known."""

    url: str
    names: tuple[str, ...]  # in the policies
    verifiers: tuple[NoteVerifier, ...]
    assesses: bool  # a state witness


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A cosignature that we verified."""

    size: int
    verifier: NoteVerifier
    time: int  # Unix seconds
    line: SignatureLine


@dataclass(frozen=True, slots=True)
class Alarm:
    """A witness has seen something of our log that we do not know. Nothing may be signed before that is explained."""

    endpoint: Endpoint
    size: int  # ours
    larger: int | None  # the size it says it has cosigned; None: another root at our size, or below
    evidence: bytes  # JSON: what we sent, and what it answered


@dataclass(frozen=True, slots=True)
class Standing:
    """How we stand with a witness."""

    endpoint: Endpoint
    size: int  # the largest it is known to have cosigned
    problem: AttestError | None  # why there is no cosignature on the newest checkpoint; None while being asked


def endpoints(policy: Policy, state_policy: Policy | None) -> list[Endpoint]:
    """Return the witnesses of both policies that have a URL, one for each URL."""
    found: dict[str, Endpoint] = {}
    for each, assesses in ((policy, False), (state_policy, True)):
        for witness in () if each is None else each.witnesses:
            if witness.url is None:
                continue
            known = found.get(witness.url) or Endpoint(witness.url, (), (), False)
            found[witness.url] = Endpoint(
                witness.url,
                (*known.names, witness.name),
                (*known.verifiers, witness.verifier),
                known.assesses or assesses,
            )
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Offer:
    """A checkpoint to be cosigned."""

    signed: SignedCheckpoint
    time: float  # when it was first offered, of the monotonic clock
    earliest: int  # Unix seconds: no honest cosignature is older

    @property
    def size(self) -> int:
        return self.signed.checkpoint.size


class Witnesses:
    """All witnesses of one log. Its methods are for one thread; the witnesses' own threads are inside."""

    def __init__(
        self,
        policy: Policy,
        state_policy: Policy | None,
        *,
        read: Callable[[int], tree.Read],
        clock: Clock,
        known: Mapping[str, int],
        wait_s: float,
        timeout_s: float,
        connect: Connect | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nobody is asked, and no thread started, before the first `offer`.

        Args:
            read: gives the reader of our log's tiles for a tree size.
            known: the size that each URL is known to have cosigned.
            wait_s: how long `gather` waits for a quorum.
            timeout_s: how long one request may take.
            changed: called by any thread when there is something to `collect`.
        """
        self.policy = policy
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._notify = changed
        self._proofs = _Proofs(read)
        self._cosigned: list[Cosigned] = []
        self._alarms: list[Alarm] = []
        self._closed = False
        self._offered: Checkpoint | None = None
        self._met: tuple[int, set[NoteVerifier]] = (0, set())  # who has cosigned the newest size
        self.timeout_s = timeout_s
        self._workers = [
            _Worker(self, endpoint, known.get(endpoint.url, 0), (connect or self._connect), clock)
            for endpoint in endpoints(policy, state_policy)
        ]

    def _connect(self, _url: str) -> httpx.Client:
        headers = {"User-Agent": f"attest/{__version__}", "Accept-Encoding": "identity"}
        return httpx.Client(timeout=self.timeout_s, follow_redirects=False, headers=headers)

    def offer(self, signed: SignedCheckpoint, earliest: int) -> None:
        """Let all witnesses be asked for this checkpoint, instead of any older one. Twice is fine.

        Args:
            earliest: Unix seconds; no honest cosignature is older.
        """
        offer = _Offer(signed, time.monotonic(), earliest)
        with self._changed:
            if self._offered == signed.checkpoint:
                return
            self._offered = signed.checkpoint
            self._met = offer.size, set()
        for worker in self._workers:
            worker.take(offer)

    def gather(self, signed: SignedCheckpoint, earliest: int) -> None:
        """Offer a checkpoint; wait until the policy's quorum has cosigned, or nobody prompt is left to wait for."""
        self.offer(signed, earliest)
        size = signed.checkpoint.size

        def done() -> bool:
            return self._closed or self._quorum(size) or bool(self._alarms) or not self._awaited(size)

        with self._changed:
            if not self._changed.wait_for(done, self._wait_s):
                for worker in self._workers:
                    worker.prompt = worker.prompt and worker.answered_size >= size

    def confirm(self, signed: SignedCheckpoint, earliest: int) -> None:
        """Offer a checkpoint, and wait until every witness has answered or proved unreachable."""
        self.offer(signed, earliest)
        size = signed.checkpoint.size
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed or bool(self._alarms) or all(worker.settled_size >= size for worker in self._workers)
                ),
                self.timeout_s,
            )

    def collect(self) -> tuple[list[Cosigned], list[Alarm]]:
        """Return what has come since the last time."""
        with self._changed:
            found = self._cosigned, self._alarms
            self._cosigned, self._alarms = [], []
        return found

    def standings(self) -> list[Standing]:
        """Tell how we stand with each witness."""
        with self._changed:
            return [Standing(worker.endpoint, worker.size, worker.standing(self.timeout_s)) for worker in self._workers]

    def close(self) -> None:
        """Ask nobody any more, and let nobody wait. A request on its way is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.stop()

    def _quorum(self, size: int) -> bool:
        return self._met[0] == size and self.policy.is_met_by(self._met[1])

    def _awaited(self, size: int) -> bool:
        return any(
            worker.prompt and worker.answered_size < size for worker in self._workers if not worker.endpoint.assesses
        )

    # --- called by the workers ---

    def answered(
        self, worker: "_Worker", offer: _Offer, found: Sequence[Cosigned], problem: AttestError | None, took_s: float
    ) -> None:
        """Take the outcome of one attempt."""
        with self._changed:
            worker.answered_size = max(worker.answered_size, offer.size)
            # A state witness says "not yet" after it has looked at the size, any other before.
            if not isinstance(problem, _Busy) or worker.endpoint.assesses:
                worker.settled_size = max(worker.settled_size, offer.size)
            worker.prompt = problem is None and took_s <= self._wait_s
            known = worker.problem
            worker.problem = problem
            self._cosigned += found
            if self._met[0] == offer.size:
                self._met[1].update(each.verifier for each in found)
            self._changed.notify_all()
        if (problem and problem.code) != (known and known.code):
            _report(worker.endpoint, problem)
        self._notify()

    def alarm(self, alarm: Alarm) -> None:
        """Take an alarm."""
        with self._changed:
            self._alarms.append(alarm)
            self._changed.notify_all()
        self._notify()

    def proof(self, old: int, checkpoint: Checkpoint) -> list[Hash]:
        """Return the consistency proof from a size to a checkpoint. Raises `Unavailable`: `store/…`."""
        return self._proofs.get(old, checkpoint.size, checkpoint.root)


class _Proofs:
    """Consistency proofs: most witnesses stand at the same size."""

    def __init__(self, read: Callable[[int], tree.Read]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._new = 0
        self._known: dict[int, list[Hash]] = {}

    def get(self, old: int, new: int, root: Hash) -> list[Hash]:
        if old in (0, new):
            return []
        with self._lock:
            if new != self._new:
                self._new, self._known = new, {}
            if old not in self._known:
                self._known[old] = self._prove(old, new, root)
            return self._known[old]

    def _prove(self, old: int, new: int, root: Hash) -> list[Hash]:
        read = self._read(new)
        path = tree.consistency_path(old, new, read)
        # A damaged tile of ours must not look like another history of a witness.
        try:
            tree.verify_consistency(old, tree.Frontier.read(old, read).root(), new, root, path)
        except AttestError:
            raise Unavailable("store/damaged", f"the tiles do not lead from {old} entries to {new}") from None
        return path


class _Worker:
    """The thread that asks one witness."""

    def __init__(self, owner: Witnesses, endpoint: Endpoint, size: int, connect: Connect, clock: Clock) -> None:
        self.endpoint = endpoint
        self.size = size  # the largest it is known to have cosigned
        self.answered_size = 0  # the largest offer it has answered in any way, or proved unreachable
        self.settled_size = 0  # the same, without "not now"
        self.asking_since: float | None = None  # of the monotonic clock
        self.prompt = True  # worth waiting for
        self.problem: AttestError | None = None
        self._owner = owner
        self._connect = connect
        self._clock = clock
        self._offer: _Offer | None = None
        self._awake = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def take(self, offer: _Offer) -> None:
        with self._awake:
            self._offer = offer
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name=f"witness {self.endpoint.names[0]}", daemon=True)
                self._thread.start()
            self._awake.notify_all()

    def standing(self, timeout_s: float) -> AttestError | None:
        since = self.asking_since
        if self.problem is None and since is not None and time.monotonic() - since > timeout_s:
            return Unavailable("witness/unreachable", f"no answer for more than {timeout_s} s")
        return self.problem

    def stop(self) -> None:
        with self._awake:
            self._stopped = True
            self._awake.notify_all()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        offer: _Offer | None = None  # what it was asked for last
        done = True
        with self._connect(self.endpoint.url) as http:
            while (offer := self._next(offer, done=done)) is not None:
                found: list[Cosigned] = []
                problem: AttestError | None = None
                self.asking_since = began = time.monotonic()
                try:
                    found = _Attempt(self, self._owner, http, offer, int(self._clock())).run()
                except AttestError as error:
                    problem = error
                except Exception as error:  # whatever it is, it must not end the thread that asks
                    problem = Unavailable("witness/unreachable", f"{self.endpoint.url}: {type(error).__name__}")
                done, self.asking_since = problem is None, None
                self._owner.answered(self, offer, found, problem, time.monotonic() - began)
                if problem is None:
                    pause = _FIRST_PAUSE_S
                else:
                    wait = max(pause, getattr(problem, "retry_after_s", 0.0))
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
                    if self.endpoint.assesses and isinstance(problem, _Busy):
                        wait, pause = min(wait, 1.0), _FIRST_PAUSE_S
                    with self._awake:
                        self._awake.wait_for(lambda: self._stopped, wait)

    def _next(self, last: _Offer | None, *, done: bool) -> _Offer | None:
        """Wait for something to ask for; None when it is time to end."""
        with self._awake:
            self._awake.wait_for(lambda: self._stopped or not done or self._offer is not last)
            if self._stopped:
                return None
            # A state witness that checks a large epoch would never finish if it were always asked for the newest.
            sticky = not done and self.endpoint.assesses and last is not None
            if sticky and last is not None and time.monotonic() - last.time < _STICKY_S:
                return last
            return self._offer


class _Busy(Unavailable):
    """It will answer later."""

    def __init__(self, code: str, message: str, *, retry_after_s: float) -> None:
        super().__init__(code, message)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Attempt:
    """One offer to one witness, with as many requests as it takes to agree on a size."""

    worker: _Worker
    owner: Witnesses
    http: httpx.Client
    offer: _Offer
    now: int
    sent: str = field(default="", init=False)

    @property
    def endpoint(self) -> Endpoint:
        return self.worker.endpoint

    def run(self) -> list[Cosigned]:
        old = min(self.worker.size, self.offer.size)
        for _ in range(_TRIES):
            status, headers, body = self._post(old)
            if status == 200:
                found = self._cosigned(body)
                self.worker.size = self.offer.size
                return found
            told = self._size(status, headers, body)
            if told is None:
                raise self._refused(status, headers, body, old)
            if told > self.offer.size:
                self._alarm(told, status, headers, body)
                raise Refuted("witness/larger", f"it has cosigned {told} entries of ours, we have {self.offer.size}")
            self.worker.size = told
            if told == old:
                # Some answer so where the specification wants 422.
                if told == self.offer.size:
                    raise self._forked(status, headers, body)
                raise Malformed("witness/answer", f"it wants a proof from size {told}, and does not take it")
            old = told
        raise Malformed("witness/answer", f"it named another size {_TRIES} times")

    def _post(self, old: int) -> tuple[int, httpx.Headers, bytes]:
        proof = self.owner.proof(old, self.offer.signed.checkpoint)
        lines = "".join(f"{encode_base64(node)}\n" for node in proof)
        self.sent = f"old {old}\n{lines}\n{self.offer.signed.encode().decode()}"
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        return self._ask("POST", "add-checkpoint", content=self.sent.encode(), headers=headers)

    def _ask(self, method: str, path: str, **more: Any) -> tuple[int, httpx.Headers, bytes]:
        """Ask once, and read no more than an answer can have, for no longer than it may take."""
        deadline = time.monotonic() + self.owner.timeout_s
        found = bytearray()
        self.http.cookies.clear()
        with self.http.stream(method, f"{self.endpoint.url.rstrip('/')}/{path}", **more) as response:
            # Nothing is decompressed: a few kilobytes could become gigabytes.
            if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
                raise Malformed(
                    "witness/answer", f"an answer in the encoding {encoding[:40]!r}, which nobody asked for"
                )
            for part in response.iter_bytes():
                found += part
                if len(found) > MAX_ANSWER:
                    raise Malformed("witness/answer", f"an answer of more than {MAX_ANSWER} bytes")
                if time.monotonic() > deadline:
                    raise Unavailable("witness/unreachable", f"no end after {self.owner.timeout_s} s")
        return response.status_code, response.headers, bytes(found)

    def _cosigned(self, body: bytes) -> list[Cosigned]:
        """Verify the lines of an answer; those of keys that no policy knows are ignored."""
        checkpoint = self.offer.signed.checkpoint
        try:
            lines = parse_signature_lines(decode_text(body, MAX_ANSWER, "witness"))
        except Malformed as error:
            raise Malformed("witness/answer", f"no signature lines: {error}") from None
        found = []
        for verifier, line in known_lines(Note(checkpoint.encode(), lines), self.endpoint.verifiers):
            cosignature = verify_cosignature(verifier, checkpoint, line)
            # Its time is what says when the checkpoint existed.
            if not self.offer.earliest - SKEW_S <= cosignature.time <= self.now + SKEW_S:
                raise Refuted("witness/time", f"it says {cosignature.time}, our clock says {self.now}")
            found.append(Cosigned(checkpoint.size, verifier, cosignature.time, line))
        if not found:
            names = ", ".join(sorted({line.name for line in lines}))[:200]
            raise Malformed("witness/answer", f"signed by {names}, and by no key that the policy knows")
        return found

    def _size(self, status: int, headers: httpx.Headers, body: bytes) -> int | None:
        if status != 409:
            return None
        try:
            return parse_decimal(body.decode("ascii").removesuffix("\n"))
        except (Malformed, UnicodeDecodeError):
            if headers.get("Content-Type", "").partition(";")[0].strip().lower() != SIZE_TYPE:
                return None
            raise Malformed("witness/answer", f"409 with a body that is no size: {body[:40]!r}") from None

    def _refused(self, status: int, headers: httpx.Headers, body: bytes, old: int) -> AttestError:
        text = body[:300].decode("utf-8", "replace")
        said = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())
        if status in (429, 500, 502, 503, 504):
            asked = headers.get("Retry-After", "")
            after = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0.0
            return _Busy("witness/busy", f"HTTP {status}: {said}", retry_after_s=min(after, _LONGEST_PAUSE_S))
        # The proof is ours and right: what it leads from is not what the witness has cosigned.
        same = old == self.offer.size
        # A state witness says with its first word whether it means the tree or what is in it.
        tree_only = not self.endpoint.assesses or said.startswith("consistency/")
        if (status == 422 and old and (same or tree_only)) or (status == 409 and same):
            return self._forked(status, headers, body)
        if status == 422 and self.endpoint.assesses:
            return Refuted("witness/refuted", f"the state witness refuses this epoch: {said}")
        return Unavailable("witness/refused", f"HTTP {status}: {said}")

    def _forked(self, status: int, headers: httpx.Headers, body: bytes) -> AttestError:
        self._alarm(None, status, headers, body)
        return Refuted("witness/fork", "it has cosigned another tree of ours")

    def _alarm(self, larger: int | None, status: int, headers: httpx.Headers, body: bytes) -> None:
        checkpoint = self.offer.signed.checkpoint
        evidence: dict[str, Any] = {
            "format": "attest-witness-alarm/1",
            "time": self.now,
            "origin": checkpoint.origin,
            "witness": self.endpoint.url,
            "keys": [verifier.encode() for verifier in self.endpoint.verifiers],
            "request": self.sent,
            "status": status,
            "content_type": headers.get("Content-Type", ""),
            "answer": encode_base64(body),
            "witnessed": None,
        }
        self.owner.alarm(Alarm(self.endpoint, checkpoint.size, larger, write_json(evidence)))
        # Only now: whoever waits for the alarm must not wait for this as well.
        evidence["witnessed"] = self._witnessed(checkpoint.origin)
        if evidence["witnessed"] is not None:
            self.owner.alarm(Alarm(self.endpoint, checkpoint.size, larger, write_json(evidence)))

    def _witnessed(self, origin: str) -> str | None:
        """Return in base64 what the witness has cosigned, if it shows it: with both signatures, that is a proof."""
        try:
            status, _, body = self._ask("GET", f"{sha256(origin.encode()).hex()}/checkpoint")
        except (AttestError, httpx.HTTPError):
            return None
        return encode_base64(body) if status == 200 else None


def _report(endpoint: Endpoint, problem: AttestError | None) -> None:
    if problem is None:
        _logger.info("witness cosigns", url=endpoint.url)
    else:
        _logger.warning("witness does not cosign", url=endpoint.url, code=problem.code, problem=problem.message)
