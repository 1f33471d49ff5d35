"""Whom a witness cosigns: the file `logs`, in the format of the witness network's log lists, and `urls` beside it.

    logs/v0

    vkey <vkey>
    [origin <origin>]         if it is not the key's name
    qpd <requests a day>
    contact <text>

Spec: witness-network log-list-format; docs/spec/witness.md#logs.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from attest.encoding import parse_utf8
from attest.errors import AttestError, Conflict, Malformed, Unavailable
from attest.formats.note import KeyType, NoteVerifier
from attest.store.blobs import DirectoryBlobs

LOGS: Final = "logs"
URLS: Final = "urls"
HEADER: Final = "logs/v0"
EMPTY: Final = f"# Whom this witness cosigns. docs/guides/witness.md says what may be in here.\n{HEADER}\n"

_QPD: Final = re.compile(r"[1-9][0-9]{0,9}")
_MAX_QPD: Final = 2**31 - 1
_MAX_ORIGIN: Final = 255  # bytes: the ML-DSA-44 message has one byte for the length
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LOOK_S: Final = 1.0  # how often the files are looked at

_logger = structlog.get_logger("attest.witness")


@dataclass(frozen=True, slots=True)
class Followed:
    """A log that is cosigned, and what is known of it."""

    origin: str
    verifiers: tuple[NoteVerifier, ...]  # of types 01 and 06; one that signs is enough
    qpd: int  # requests a day
    contact: str
    url: str | None = None  # where it is read; only a state witness reads


def parse_logs(text: str, known: Mapping[str, NoteVerifier] | None = None) -> dict[str, Followed]:
    """Read a log list. Entries of one origin are one log with several keys, and the largest of their `qpd`.

    Args:
        known: verifiers by vkey that were read before: checking a key takes longer than all the rest.

    Raises:
        Malformed: `witness/logs`, with the number of the line.
    """
    known = known or {}
    lines = _lines(text)
    number, first = next(lines, (1, ""))
    if first != HEADER:
        raise _fault(number, f"want `{HEADER}`, found {first[:40]!r}")
    logs: dict[str, Followed] = {}
    pending = next(lines, None)
    while pending is not None:
        number, line = pending
        vkey = _value(number, line, "vkey", words=1)
        verifier = known.get(vkey) or _verifier(number, vkey)
        origin = verifier.name
        number, line = next(lines, (number, ""))
        if line.startswith("origin "):
            origin = _origin(number, _value(number, line, "origin"))
            number, line = next(lines, (number, ""))
        qpd = _qpd(number, _value(number, line, "qpd", words=1))
        number, line = next(lines, (number, ""))
        contact = _value(number, line, "contact")
        before = logs.get(origin)
        if before is None:
            logs[origin] = Followed(origin, (verifier,), qpd, contact)
        elif any((each.name, each.key_id) == (verifier.name, verifier.key_id) for each in before.verifiers):
            raise _fault(number, f"a key of {origin} is listed twice")
        else:
            logs[origin] = replace(before, verifiers=(*before.verifiers, verifier), qpd=max(before.qpd, qpd))
        pending = next(lines, None)
    return logs


def encode_log(verifier: NoteVerifier, qpd: int, contact: str) -> str:
    """Write one entry of a log list."""
    return f"\nvkey {verifier.encode()}\nqpd {qpd}\ncontact {contact}\n"


def parse_urls(text: str) -> dict[str, str]:
    """Read where logs are: lines of URL, space, origin. Raises `Malformed`: `witness/urls`."""
    found = {}
    for number, line in _lines(text):
        url, space, origin = line.partition(" ")
        if not space or not url.startswith(("https://", "http://")) or not origin.strip():
            raise Malformed("witness/urls", f"line {number} of {URLS}: want an URL, a space and an origin")
        if origin in found:
            raise Malformed("witness/urls", f"line {number} of {URLS}: {origin} stands twice")
        found[origin] = url.rstrip("/")
    return found


def read_urls(directory: Path) -> dict[str, str]:
    """Read where logs are; there need not be a file. Raises `Malformed`: `witness/urls`."""
    place = directory / URLS
    return parse_urls(_text(place)) if place.exists() else {}


class LogList:
    """The files `logs` and `urls` of a directory, read again when they change. Faulty ones change nothing."""

    def __init__(self, directory: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Read them. Raises as `read`."""
        self._directory = directory
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._seen = self._looks()
        self._looked = clock_s()
        self._logs = self._read({})
        self.problem: AttestError | None = None  # what keeps the files from being used as they are now

    def find(self, origin: str) -> Followed | None:
        """Return the log of this origin, None if it is not followed."""
        return self.all().get(origin)

    def all(self) -> Mapping[str, Followed]:
        """Return every followed log by its origin."""
        # Whoever finds the files changed reads them; meanwhile everybody else goes on with what was read before.
        if self._clock_s() - self._looked >= _LOOK_S and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._logs

    def _look(self) -> None:
        self._looked = self._clock_s()
        seen = self._looks()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            logs = self._read({key.encode(): key for log in self._logs.values() for key in log.verifiers})
            for origin in self._logs.keys() & logs.keys():
                _check_keys(self._logs[origin], logs[origin])
        except AttestError as error:
            self.problem = error
            _logger.error("log list not used", code=error.code, problem=error.message, logs=len(self._logs))
            return
        self._logs, self.problem = logs, None
        _logger.info("log list read", logs=len(logs))

    def _looks(self) -> tuple[object, ...]:
        """Return what changes when a file does."""
        found: list[object] = []
        for name in (LOGS, URLS):
            try:
                status = (self._directory / name).stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)

    def _read(self, known: Mapping[str, NoteVerifier]) -> dict[str, Followed]:
        logs = parse_logs(_text(self._directory / LOGS), known)
        for origin, url in read_urls(self._directory).items():
            if origin in logs:
                logs[origin] = replace(logs[origin], url=url)
        return logs


def _check_keys(old: Followed, new: Followed) -> None:
    """Check that a log keeps a key: a list that is fetched by a program may not hand its name to somebody else."""
    if not set(old.verifiers) & set(new.verifiers):
        raise Conflict("witness/keys", f"{new.origin} has other keys than before; start anew to take them all the same")
    if set(old.verifiers) != set(new.verifiers):
        _logger.warning("keys of a log changed", origin=new.origin)


def follow(directory: Path, vkeys: list[str], *, url: str | None, qpd: int, contact: str) -> Followed:
    """Append a log to the list, or do nothing if it is there with these keys.

    Raises:
        Malformed: `note/…`, `key/…`, `encoding/…`; `witness/follow`, not the keys of one log; `witness/logs`.
        Conflict: `witness/keys`, the log is followed with other keys; `store/moved`.
    """
    verifiers = [NoteVerifier.parse(vkey) for vkey in vkeys]
    if len({verifier.name for verifier in verifiers}) != 1 or len(set(verifiers)) != len(verifiers):
        raise Malformed("witness/follow", "want the keys of one log, each once")
    if any(verifier.type is KeyType.COSIGNATURE for verifier in verifiers):
        raise Malformed("witness/follow", "a key of type 04 is a witness's, not a log's")
    if _CONTROL.search(contact) or contact.strip() != contact or not contact:
        raise Malformed("witness/follow", "want a contact on one line")
    if url is not None and any(character.isspace() for character in url):
        raise Malformed("witness/follow", "the URL has spaces")
    files, origin = DirectoryBlobs(directory), verifiers[0].name
    old = files.get(LOGS)
    if old is None:
        raise Unavailable("witness/logs-missing", f"no file {directory / LOGS}")
    text = parse_utf8(old)
    before = parse_logs(text).get(origin)
    if before is not None and set(before.verifiers) != set(verifiers):
        # A name that changes hands would carry on the history of another.
        raise Conflict(
            "witness/keys",
            f"{origin} is followed already, with other keys",
            hint=f"a log keeps its keys for life; to change them all the same, edit {directory / LOGS} by hand",
        )
    if url is not None:
        _keep_url(files, origin, url)
    if before is None:
        entries = "".join(encode_log(verifier, qpd, contact) for verifier in verifiers)
        new = text + ("" if text.endswith("\n") else "\n") + entries
        parse_logs(new)
        files.replace(LOGS, old, new.encode())
    return parse_logs(parse_utf8(files.get(LOGS) or b""))[origin]


def _keep_url(files: DirectoryBlobs, origin: str, url: str) -> None:
    old = files.get(URLS)
    text = parse_utf8(old or b"")
    urls = parse_urls(text)
    if urls.get(origin) == url.rstrip("/"):
        return
    kept = [line for number, line in enumerate(text.split("\n")) if line.partition(" ")[2].strip() != origin and line]
    new = "".join(f"{line}\n" for line in [*kept, f"{url} {origin}"])
    parse_urls(new)
    files.replace(URLS, old, new.encode())


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number the lines that say something."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield number, line


def _value(number: int, line: str, keyword: str, words: int | None = None) -> str:
    found, _, value = line.partition(" ")
    if found != keyword:
        raise _fault(number, f"want `{keyword}`, found {line[:40]!r}")
    if not value or value != value.strip() or (words and " " in value) or _CONTROL.search(value):
        raise _fault(number, f"want one value behind `{keyword}`")
    return value


def _verifier(number: int, vkey: str) -> NoteVerifier:
    try:
        verifier = NoteVerifier.parse(vkey)
    except Malformed as error:
        raise _fault(number, str(error)) from None
    if verifier.type is KeyType.COSIGNATURE:
        raise _fault(number, "a key of type 04 is a witness's, not a log's")
    return verifier


def _origin(number: int, origin: str) -> str:
    if len(origin.encode()) > _MAX_ORIGIN:
        raise _fault(number, f"an origin has at most {_MAX_ORIGIN} bytes")
    return origin


def _qpd(number: int, value: str) -> int:
    if not _QPD.fullmatch(value) or (qpd := int(value)) > _MAX_QPD:
        raise _fault(number, f"want a number from 1 to {_MAX_QPD}, found {value[:40]!r}")
    return qpd


def _fault(number: int, what: str) -> Malformed:
    return Malformed("witness/logs", f"line {number} of {LOGS}: {what}")


def _text(path: Path) -> str:
    try:
        return parse_utf8(path.read_bytes())
    except OSError as error:
        raise Unavailable("witness/logs-missing", f"{path}: {error.strerror}") from None
