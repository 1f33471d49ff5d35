"""The log over HTTP, and what we believe of its answers: only what its signed checkpoints prove.

Requests are repeated with growing pauses while the network or the log is not available; all of them may be repeated
safely. A checkpoint counts if the pinned policy says so and it extends every checkpoint seen before.

Spec: docs/spec/http.md.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import httpx

from attest import __version__
from attest.encoding import Hash, encode_base64url, parse_base64
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.policy import Policy
from attest.formats.receipt import Promise, Refusal
from attest.formats.statement import Epoch, Log, Statement
from attest.formats.tlog_proof import TlogProof
from attest.merkle.tiles import FULL, MAX_ENTRY, Tile, entries_path, parse_bundle, tile_path, tile_reader
from attest.merkle.tree import consistency_path, inclusion_path, leaf_hash, verify_consistency, verify_inclusion

MAX_ANSWER: Final = 128 << 20  # bytes, where the caller does not know better
MAX_PROBLEM: Final = 1 << 20  # bytes of an answer that is not the one hoped for
MAX_BUNDLE: Final = FULL * (2 + MAX_ENTRY)  # bytes of a bundle of entries
_RETRIED: Final = frozenset({429, 502, 503, 504})
_KINDS: Final[dict[int, type[AttestError]]] = {400: Malformed, 403: Untrusted, 409: Conflict, 422: Refuted}
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 30.0
_TOLD_S: Final = 2.0  # a pause that somebody who waits would like to know about


class Memory(Protocol):
    """Where the newest checkpoint that we believed is kept, so that a log that forgets is noticed."""

    def read(self) -> Checkpoint | None:
        """Return it; None before the first."""

    def write(self, checkpoint: Checkpoint) -> None:
        """Keep a newer one."""


@dataclass(slots=True)
class Forgetful:
    """Remembers for the life of a process."""

    checkpoint: Checkpoint | None = None

    def read(self) -> Checkpoint | None:
        """Return the newest one seen."""
        return self.checkpoint

    def write(self, checkpoint: Checkpoint) -> None:
        """Keep it."""
        self.checkpoint = checkpoint


@dataclass(frozen=True, slots=True)
class Answer:
    """What the log says became of a statement. Only a `refusal` that verifies is more than hearsay."""

    state: str  # published, pending, rows or refused
    promise: Promise | None = None
    refusal: Refusal | None = None
    error: AttestError | None = None


class PublicFiles(httpx.BaseTransport):
    """Answers as a log would whose public files are in a directory; it serves no views and no proofs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer with a file, or 404."""
        try:
            return httpx.Response(200, content=(self._directory / request.url.path.lstrip("/")).read_bytes())
        except FileNotFoundError:
            return httpx.Response(404)


class LogClient:
    """Talks to one log under one policy."""

    def __init__(
        self,
        url: str,
        policy: Policy | None,
        *,
        origin: str | None = None,
        memory: Memory | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout_s: float = 60.0,
        patience_s: float = 120.0,
        answer_s: float = 900.0,
        sleep: Callable[[float], None] = time.sleep,
        clock_s: Callable[[], float] = time.monotonic,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            policy: whose signatures count as the log's. None: nothing this log says is believed, it can only be asked.
            origin: the log's name; None for the one that the policy pins.
            timeout_s: how long the log may send nothing.
            patience_s: how long a request is repeated before the log counts as unavailable.
            answer_s: how long the log may take over one answer, however steadily it drips.
            on_wait: is told, once a request, that the log is asked again and again, and why.
        """
        pinned = set() if policy is None else {log.verifier.name for log in policy.logs}
        if origin is None and len(pinned) == 1:
            origin = next(iter(pinned))
        if policy is not None and origin not in pinned:
            raise Untrusted("policy/log", f"the policy pins no key of log {origin or '(none named)'}")
        self.origin = origin
        self.policy = policy
        self._memory = memory or Forgetful()
        self._patience_s = patience_s
        self._answer_s = answer_s
        self._sleep = sleep
        self._clock_s = clock_s
        self._on_wait = on_wait
        self._genesis: Log | None = None
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/",
            transport=transport,
            timeout=timeout_s,
            follow_redirects=False,
            # Uncompressed: a few bytes that unpack to gigabytes would pass every limit on what is received.
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"attest/{__version__}",
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    # --- writes ---

    def submit(self, statement: Statement) -> Answer:
        """Send a statement; sending the same bytes again does nothing new."""
        response = self._ask("POST", "entries", statement.entry, "application/cose")
        return self._answer(response, statement.leaf)

    def put_rows(self, root: Hash, rows: bytes, leaf: Hash) -> Answer:
        """Send the row file that the statement with this leaf hash names."""
        response = self._ask("PUT", f"rows/{root.hex()}", rows, "application/octet-stream")
        if response.status_code == 200:
            return Answer("pending")  # several statements wait for this file; ask for ours
        return self._answer(response, leaf)

    def became(self, leaf: Hash) -> Answer:
        """Ask what became of a statement. State `unknown`: the log has never seen it."""
        response = self._ask("GET", f"entries/{encode_base64url(leaf)}")
        if response.status_code == 200:
            return Answer("published")
        if response.status_code == 204:
            return Answer("pending")
        return self._answer(response, leaf)

    def _answer(self, response: httpx.Response, leaf: Hash) -> Answer:
        if response.status_code == 201:
            return Answer("published")
        found = _json(response)
        if response.status_code == 202:
            promise = found.get("promise")
            kept = None if promise is None else self._promise(_bytes(promise), leaf)
            return Answer("rows" if found.get("missing") else "pending", promise=kept)
        error = _problem(response.status_code, found)
        if error.code == "entry/unknown":
            return Answer("unknown", error=error)
        refusal = found.get("refusal")
        if refusal is None:
            raise error
        return Answer("refused", refusal=self._refusal(_bytes(refusal), leaf), error=error)

    def _promise(self, encoded: bytes, leaf: Hash) -> Promise:
        promise = Promise.parse(encoded)
        promise.verify(self.genesis().receipts)
        if promise.entry != leaf:
            raise Refuted("promise/entry", "the log promised another statement than the one sent")
        return promise

    def _refusal(self, encoded: bytes, leaf: Hash) -> Refusal:
        refusal = Refusal.parse(encoded)
        refusal.verify(self.genesis().receipts)
        if refusal.entry != leaf:
            raise Refuted("refusal/entry", "the log refused another statement than the one sent")
        return refusal

    # --- what the log proves ---

    def prove(self, leaf: Hash) -> TlogProof:
        """Return the proof that the statement with this leaf hash is in the log: checked, under a believed checkpoint.

        Raises:
            Untrusted: `checkpoint/…`; Refuted: `inclusion/…`, `consistency/…`, `signature/…`.
            Unavailable: `log/quorum`, the policy's witnesses have not cosigned yet.
        """
        response = self._read(f"proofs/entry/{encode_base64url(leaf)}")
        proof = TlogProof.parse(response.content)
        checkpoint = self.believe(proof.signed)
        verify_inclusion(leaf, proof.index, checkpoint.size, checkpoint.root, proof.path)
        return proof

    def believe(self, signed: SignedCheckpoint) -> Checkpoint:
        """Check a checkpoint under the policy and against the newest one believed before; remember the larger.

        Raises:
            Untrusted: `checkpoint/…`.
            Refuted: `signature/…`; `consistency/…`, the log contradicts itself: keep what this says, it is evidence.
            Unavailable: `log/quorum`.
        """
        if self.policy is None:
            raise Untrusted("policy/log", "no policy was given, so no checkpoint is believed")
        weighed = self.policy.check(signed)
        checkpoint = weighed.checkpoint
        if checkpoint.origin != self.origin:
            raise Untrusted("checkpoint/foreign", f"a checkpoint of log {checkpoint.origin}, want {self.origin}")
        if not weighed.quorum:
            raise Unavailable("log/quorum", "the policy's witnesses have not cosigned this checkpoint yet")
        known = self._memory.read()
        if known is None or known == checkpoint:
            if known is None:
                self._memory.write(checkpoint)
            return checkpoint
        old, new = sorted((known, checkpoint), key=lambda each: each.size)
        path = consistency_path(old.size, new.size, tile_reader(self.tiles, new.size))
        verify_consistency(old.size, old.root, new.size, new.root, path)
        if new is checkpoint:
            self._memory.write(checkpoint)
        return checkpoint

    def checkpoint(self) -> Checkpoint:
        """Fetch the newest checkpoint. Raises as `believe`."""
        return self.believe(self.signed_checkpoint())

    def signed_checkpoint(self) -> SignedCheckpoint:
        """Fetch the newest checkpoint with its signatures, of which none is verified yet."""
        return SignedCheckpoint.parse(self._read("checkpoint").content)

    def genesis(self) -> Log:
        """Return entry 0, proven: it names the log's keys."""
        if self._genesis is None:
            payload = self.entry(0, self.checkpoint()).payload
            if not isinstance(payload, Log) or payload.origin != self.origin:
                raise Refuted("genesis/origin", f"entry 0 is not log/1 of {self.origin}")
            self._genesis = payload
        return self._genesis

    def entry(self, position: int, checkpoint: Checkpoint) -> Statement:
        """Return the entry at a position, proven under a believed checkpoint. Raises `Refuted`: `inclusion/…`."""
        size, index = checkpoint.size, position // FULL
        entry = self.bundle(index, min(FULL, size - index * FULL))[position % FULL]
        path = inclusion_path(position, size, tile_reader(self.tiles, size))
        verify_inclusion(leaf_hash(entry), position, size, checkpoint.root, path)
        return Statement.parse(entry)

    def ended_with(self, checkpoint: Checkpoint) -> bool:
        """Tell whether the log ended with a checkpoint that was believed: the last entries are its end and an epoch."""
        if checkpoint.size < 3:
            return False
        end, epoch = (self.entry(checkpoint.size - back, checkpoint) for back in (2, 1))
        if not end.ends_log(checkpoint.origin) or not isinstance(epoch.payload, Epoch):
            return False
        key = self.genesis().statements
        end.verify_signature(key)
        epoch.verify_signature(key)
        return True

    # --- reads that are only hearsay until something is proven from them ---

    def tiles(self, tiles: list[Tile]) -> list[bytes]:
        """Return tiles of hashes, in the order asked."""
        return [self._tile(*tile) for tile in tiles]

    def _tile(self, level: int, index: int, width: int) -> bytes:
        response = self._ask("GET", tile_path(level, index, width), most=FULL * 32)
        if response.status_code == 404 and width < FULL:
            # Once a tile is full its partial forms may go; they are its beginning.
            return self._read(tile_path(level, index), most=FULL * 32).content[: 32 * width]
        return _good(response).content

    def bundle(self, index: int, width: int) -> list[bytes]:
        """Return the first `width` entries of a bundle. Raises `Malformed`: `bundle/…`."""
        response = self._ask("GET", entries_path(index, width), most=MAX_BUNDLE)
        if response.status_code == 404 and width < FULL:
            return parse_bundle(self._read(entries_path(index), most=MAX_BUNDLE).content, FULL)[:width]
        return parse_bundle(_good(response).content, width)

    def transition(self, epoch: int, most: int = MAX_ANSWER) -> bytes | None:
        """Return the transition proof of an epoch, of at most so many bytes; None if the log does not have it."""
        response = self._ask("GET", f"proofs/transition/{epoch}", most=most)
        return None if response.status_code == 404 else _good(response).content

    def file(self, path: str, most: int = MAX_ANSWER) -> bytes | None:
        """Return what is published under a path, of at most so many bytes; None if nothing is."""
        response = self._ask("GET", path, most=most)
        return None if response.status_code in (404, 410) else _good(response).content

    def holder(self, party: str) -> dict[str, Any] | None:
        """Return the log's view of a holder; None if it is not admitted."""
        return self._view(f"holders/{party}")

    def systems(self, party: str) -> list[str]:
        """Return the ids of all systems of a holder."""
        found = self._view(f"holders/{party}/systems")
        if found is None:
            raise Unavailable("holder/unknown", f"{party} is not admitted to this log")
        return [str(system["id"]) for system in found["systems"]]

    def entries(self, party: str, before: int | None = None, limit: int = 500) -> dict[str, Any]:
        """Return a page of a holder's entries, newest first."""
        query = f"?limit={limit}" + ("" if before is None else f"&before={before}")
        found = self._view(f"holders/{party}/entries{query}")
        if found is None:
            raise Unavailable("holder/unknown", f"{party} is not admitted to this log")
        return found

    def statement(self, leaf: Hash) -> Statement:
        """Return the statement with this leaf hash."""
        statement = Statement.parse(self._read(f"entries/{encode_base64url(leaf)}/statement").content)
        if statement.leaf != leaf:
            raise Refuted("entry/leaf", "the log answered with another statement")
        return statement

    def rows(self, root: Hash, most: int = MAX_ANSWER) -> bytes:
        """Return the row file with this root, of at most so many bytes; the caller checks it."""
        return self._read(f"rows/{root.hex()}", most=most).content

    def lookup(self, party: str, locators: Sequence[Mapping[str, Hash]], size: int | None = None) -> dict[str, Any]:
        """Return what every system says about some indexes."""
        question: dict[str, Any] = {
            "holder": party,
            "locators": [{system: index.hex() for system, index in each.items()} for each in locators],
        }
        if size is not None:
            question["size"] = size
        response = self._ask("POST", "proofs/lookup", json.dumps(question).encode(), "application/json")
        return _json(_good(response))

    def row(self, entry_id: str, index: Hash, size: int | None = None) -> dict[str, Any] | None:
        """Return the proof of a row of a statement; None if the statement has no such row."""
        query = "" if size is None else f"?size={size}"
        response = self._ask("GET", f"proofs/row/{entry_id}/{index.hex()}{query}")
        return None if response.status_code == 404 else _json(_good(response))

    def _view(self, path: str) -> dict[str, Any] | None:
        response = self._ask("GET", path)
        return None if response.status_code == 404 else _json(_good(response))

    def _read(self, path: str, most: int = MAX_ANSWER) -> httpx.Response:
        return _good(self._ask("GET", path, most=most))

    # --- asking ---

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        *,
        most: int = MAX_ANSWER,
    ) -> httpx.Response:
        """Ask until there is an answer.

        Raises:
            Unavailable: `log/unreachable`, `log/stalled`, or the log's own code.
            Malformed: `log/answer`, it goes on for more than `most` bytes.
        """
        headers = {} if content_type is None else {"Content-Type": content_type}
        deadline = self._clock_s() + self._patience_s
        pause, told = _FIRST_PAUSE_S, False
        while True:
            asked = 0.0
            try:
                response = self._exchange(self._http.build_request(method, path, content=body, headers=headers), most)
            except httpx.TransportError as error:
                problem: AttestError = Unavailable(
                    "log/unreachable", f"no answer from {self._http.base_url}: {type(error).__name__}"
                )
            else:
                if response.status_code not in _RETRIED:
                    return response
                problem = _problem(response.status_code, _json(response))
                asked = _retry_after(response)
            wait = min(max(pause, asked), _LONGEST_PAUSE_S)
            if self._clock_s() + wait > deadline:
                raise problem
            if wait >= _TOLD_S and not told:
                told = True
                self._on_wait(f"{problem}; it is asked again for {self._patience_s:.0f} s")
            self._sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _exchange(self, request: httpx.Request, most: int) -> httpx.Response:
        """Send one request and read its answer, never more of it than was asked for."""
        until = self._clock_s() + self._answer_s
        response = self._http.send(request, stream=True)
        try:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Malformed("log/answer", "a compressed answer, where an uncompressed one was asked for")
            if response.status_code != 200:
                most = MAX_PROBLEM
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > most:
                    raise Malformed("log/answer", f"an answer of more than the {most} bytes there can be")
                if self._clock_s() > until:
                    raise Unavailable("log/stalled", f"an answer that takes longer than {self._answer_s:.0f} s")
        finally:
            response.close()
        return httpx.Response(response.status_code, headers=response.headers, content=bytes(content))


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0


def _good(response: httpx.Response) -> httpx.Response:
    if response.is_redirect:
        where = response.headers.get("Location", "nowhere")[:500]
        raise Malformed("log/answer", f"HTTP status {response.status_code}, a redirect to {where}; is the URL right?")
    if response.status_code != 200:
        raise _problem(response.status_code, _json(response))
    return response


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    if response.status_code < 400:
        raise Malformed("log/answer", "the log answered with something else than a JSON object; is the URL right?")
    return {}


def _problem(status: int, found: Mapping[str, Any]) -> AttestError:
    """Turn a problem document back into the error it was."""
    code, detail, hint = found.get("code"), found.get("detail"), found.get("hint")
    rows = found.get("rows")
    return _KINDS.get(status, Unavailable)(
        code if isinstance(code, str) else "log/answer",
        str(detail)[:500] if detail else f"the log answered with HTTP status {status}",
        rows=[row for row in rows if isinstance(row, int)][:16] if isinstance(rows, list) else (),
        hint=str(hint)[:500] if hint else None,
    )


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise Malformed("log/answer", "want base64 text")
    return parse_base64(value)
