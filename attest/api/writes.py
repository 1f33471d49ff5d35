"""Taking statements and row files, and saying what became of them: SCRAPI.

Spec: draft-ietf-scitt-scrapi-11; docs/spec/http.md#writes.
"""

import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from flask import Response, request

from attest.api.answers import (
    CBOR,
    COSE,
    IMMUTABLE,
    JSON,
    MINUTE,
    NO_STORE,
    OCTETS,
    RECEIPT,
    STATEMENT,
    dump,
    plain,
    prefer,
    read,
    wants_cbor,
)
from attest.api.backend import Node, Submission
from attest.api.inputs import body_length, check_body, path_hash, path_leaf, read_body
from attest.api.limits import Uploads, WriteLimit
from attest.api.problems import problem, registration_failed
from attest.encoding import encode_base64, encode_base64url, encode_cbor
from attest.errors import AttestError, Conflict, Malformed
from attest.formats.rows import ROW

RETRY_S: Final = 1


@dataclass(frozen=True, slots=True)
class Writes:
    """The endpoints that change something, and those that follow what they took."""

    node: Node
    limit: WriteLimit
    uploads: Uploads
    waiting: threading.Semaphore
    wait_s: float
    max_body: int

    def post_entry(self) -> Response:
        """Take a statement."""
        self.limit.take(request.remote_addr)
        check_body(COSE, STATEMENT)
        most = self.node.genesis.limits.statement
        if (length := body_length()) > most:
            raise Malformed("statement/size", f"{length} bytes, at most {most} are taken")
        submission = self.node.submit(read_body(length))
        return self._became(self._wait(submission, time.monotonic() + self.wait_s))

    def put_rows(self, root: str) -> Response:
        """Take the row file that a pending statement names."""
        self.limit.take(request.remote_addr)
        root_hash = path_hash(root)
        check_body(OCTETS)
        most = min(self.max_body, self.node.genesis.limits.rows * ROW)
        if (length := body_length()) > most:
            raise Malformed("rows/limit", f"{length} bytes, at most {most} are taken")
        if not length or length % ROW:
            raise Malformed("rows/size", f"{length} bytes, want whole rows of {ROW} bytes and at least one")
        with self.uploads.hold(length):
            submissions = self.node.put_rows(root_hash, read_body(length))
        deadline = time.monotonic() + self.wait_s
        submissions = [self._wait(submission, deadline) for submission in submissions]
        if len(submissions) == 1:
            return self._became(submissions[0])
        return _say(
            200, {"rows": _bytes(root_hash, hexadecimal=True), "entries": [_status(each) for each in submissions]}
        )

    def _wait(self, submission: Submission, deadline: float) -> Submission:
        if submission.state != "pending" or (left := deadline - time.monotonic()) <= 0:
            return submission
        # Statements that number ahead never come up while they wait: they must not take every thread with them.
        if not self.waiting.acquire(blocking=False):
            return submission
        try:
            return self.node.wait(submission.leaf, left)
        finally:
            self.waiting.release()

    def _became(self, submission: Submission) -> Response:
        if submission.state == "refused":
            return problem(_why(submission), submission.refusal)
        if submission.state == "entry":
            response = _receipt(self.node.receipt(submission.leaf), NO_STORE, 201)
        else:
            response = _say(202, _status(submission))
            response.headers["Retry-After"] = str(RETRY_S)
        response.headers["Location"] = _location(submission)
        return response

    def get_entry(self, entry_id: str) -> Response:
        """Answer with a receipt, or what keeps it."""
        submission = self._submission(entry_id)
        if submission.state == "refused":
            return registration_failed(_why(submission), submission.refusal)
        if submission.state == "entry":
            response = _receipt(self.node.receipt(submission.leaf), MINUTE, 200)
            response.headers["Location"] = _location(submission)
            return response
        response = plain(b"", COSE, NO_STORE, 204)
        del response.headers["Content-Type"]
        response.headers["Retry-After"] = str(RETRY_S)
        return response

    def get_statement(self, entry_id: str) -> Response:
        """Answer with a statement's bytes."""
        found = self.node.statement(path_leaf(entry_id))
        if found is None:
            raise Conflict("entry/unknown", "no such statement here")
        response = read(found, prefer(COSE, STATEMENT), IMMUTABLE)
        response.vary.add("Accept")
        return response

    def get_promise(self, entry_id: str) -> Response:
        """Answer with the promise given for a statement."""
        submission = self._submission(entry_id)
        if submission.promise is None:
            raise Conflict("promise/unknown", "no promise was given for this statement")
        return read(submission.promise, COSE, MINUTE)

    def _submission(self, entry_id: str) -> Submission:
        submission = self.node.submission(path_leaf(entry_id))
        if submission is None:
            raise Conflict(
                "entry/unknown",
                "no such statement here",
                hint="unclaimed statements expire after an hour; send it again",
            )
        return submission


def _why(submission: Submission) -> AttestError:
    return submission.error or Conflict("entry/refused", "the log refused this statement; see the refusal")


def _location(submission: Submission) -> str:
    # Relative, so that no Host header decides where clients go.
    return f"{request.script_root}/entries/{encode_base64url(submission.leaf)}"


def _receipt(receipt: bytes, cache: str, status: int) -> Response:
    content_type = prefer(COSE, RECEIPT)
    response = read(receipt, content_type, cache) if status == 200 else plain(receipt, content_type, cache, status)
    response.vary.add("Accept")
    return response


def _status(submission: Submission) -> dict[str, Any]:
    return {
        "entry": encode_base64url(submission.leaf),
        "missing": ["rows"] if submission.state == "rows" else [],
        "rows": _bytes(submission.rows_root, hexadecimal=True),
        "promise": _bytes(submission.promise),
    }


def _bytes(value: bytes | None, *, hexadecimal: bool = False) -> bytes | str | None:
    """Byte strings in CBOR, text in JSON."""
    if value is None or wants_cbor():
        return value
    return value.hex() if hexadecimal else encode_base64(value)


def _say(status: int, value: dict[str, Any]) -> Response:
    if wants_cbor():
        response = plain(encode_cbor(value), CBOR, NO_STORE, status)
    else:
        response = plain(dump(value), JSON, NO_STORE, status)
    response.vary.add("Accept")
    return response
