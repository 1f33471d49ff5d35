"""Where an auditor reads a log: over HTTP, from a directory, or from one while a copy is made in the other.

A source answers with bytes by path, as docs/spec/http.md and tlog-tiles name them. Nothing it says is believed.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from attest.encoding import Hash
from attest.errors import AttestError, Malformed, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.merkle.tiles import FULL, Tile, entries_path, parse_bundle, tile_path
from attest.store.blobs import DirectoryBlobs
from attest.transport import MAX_BUNDLE, LogClient

MAX_CHECKPOINT: Final = 1 << 20  # bytes
_OURS: Final = frozenset({"log/unreachable", "log/stalled"})
_WINDOW: Final = 128 << 20  # bytes that are read ahead
_WIDTH: Final = re.compile(r"[1-9][0-9]{0,2}")
_T = TypeVar("_T")


class Source(Protocol):
    """Gives the files of a log. For several threads at once."""

    def read(self, path: str, most: int) -> bytes | None:
        """Return a file of at most `most` bytes; None if it is not there.

        Raises:
            Unavailable: nobody answers, or the file cannot be read.
            Malformed: `log/answer`, it is larger.
        """

    def forget(self, path: str) -> bool:
        """Drop a copy that turned out wrong; tell whether there may be another one where it came from."""

    def widths(self, path: str) -> list[int]:
        """Return which partial forms of a tile are there, as far as that can be listed."""


class DirectorySource:
    """A copy of a log in a directory."""

    def __init__(self, directory: Path) -> None:
        """Use it. Raises `Unavailable`: `audit/no-log`, it has no checkpoint."""
        if not directory.is_dir():
            hint = "name a directory of published files, or a URL that begins with https:// or http://"
            raise Unavailable("audit/no-log", f"{directory} is no directory", hint=hint)
        if not (directory / "checkpoint").is_file():
            below = directory / "public"
            hint = f"they are in {below}" if (below / "checkpoint").is_file() else "name the published files of a log"
            raise Unavailable("audit/no-log", f"{directory} has no file `checkpoint`", hint=hint)
        self._directory = directory.resolve()

    def read(self, path: str, most: int) -> bytes | None:
        """See `Source`."""
        try:
            place = (self._directory / path).resolve(strict=True)
            # Whoever made the copy could have us put a file of ours into evidence, or wait for ever at a pipe.
            if not place.is_relative_to(self._directory):
                raise Unavailable("audit/unreadable", f"{path} leads out of the directory")
            if place.is_dir():
                return None
            if not place.is_file():
                raise Unavailable("audit/unreadable", f"{path} is no file")
            with place.open("rb") as file:
                found = file.read(most + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise Unavailable("audit/unreadable", f"{path}: {error}") from None
        return _bounded(found, path, most)

    def forget(self, _: str) -> bool:
        """See `Source`."""
        return False

    def widths(self, path: str) -> list[int]:
        """See `Source`."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = [entry.name for entry in (self._directory / f"{path}.p").iterdir()]
            return sorted(int(name) for name in names if _WIDTH.fullmatch(name) and int(name) < FULL)
        return []


class HttpSource:
    """A log over HTTP."""

    def __init__(self, client: LogClient) -> None:
        self._client = client

    def read(self, path: str, most: int) -> bytes | None:
        """See `Source`."""
        try:
            return self._client.file(path, most)
        except AttestError as error:
            if error.code in _OURS or (isinstance(error, Malformed) and error.code == "log/answer"):
                raise
            # Whoever answers with a code of its choice would have us refute the log, or somebody else.
            raise Unavailable("audit/unreadable", f"{path}: {error}") from None

    def forget(self, _: str) -> bool:
        """See `Source`."""
        return False

    def widths(self, _: str) -> list[int]:
        """See `Source`."""
        return []


class Mirror:
    """A copy that is made while it is read: what is there is not fetched again, and the checkpoint comes last."""

    def __init__(self, source: Source, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._source = source
        self._directory = directory
        self._blobs = DirectoryBlobs(directory)
        self._checkpoint: bytes | None = None

    def read(self, path: str, most: int) -> bytes | None:
        """See `Source`."""
        if path == "checkpoint":
            self._checkpoint = self._source.read(path, most)
            return self._checkpoint
        found = self.kept(path)
        if found is None:
            found = self._source.read(path, most)
            # A transition proof is kept for a day, and by nobody after that.
            if found is not None and not path.startswith("proofs/"):
                self._blobs.put([(path, found)])
        return found

    def forget(self, path: str) -> bool:
        """See `Source`."""
        if self.kept(path) is None:
            return False
        self._blobs.delete([path])
        return True

    def widths(self, path: str) -> list[int]:
        """See `Source`."""
        return self._source.widths(path)

    def finish(self) -> None:
        """Publish the copy: the checkpoint, once everything it implies is there."""
        if self._checkpoint is not None:
            self.write("checkpoint", self._checkpoint)

    def size(self) -> int:
        """Return of how many entries the copy is."""
        found = self.kept("checkpoint")
        return 0 if found is None else SignedCheckpoint.parse(found).checkpoint.size

    def kept(self, path: str) -> bytes | None:
        """Return a file of the copy."""
        return self._blobs.get(path)

    def write(self, path: str, content: bytes) -> None:
        """Put a file into the copy, in place of the one there is."""
        if (old := self.kept(path)) != content:
            self._blobs.replace(path, old, content)


@dataclass(slots=True)
class Traffic:
    """What has been read so far."""

    requests: int = 0
    bytes: int = 0


class Counted:
    """Counts what is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self.traffic = Traffic()

    def read(self, path: str, most: int) -> bytes | None:
        """See `Source`."""
        found = self._source.read(path, most)
        with self._lock:
            self.traffic.requests += 1
            self.traffic.bytes += 0 if found is None else len(found)
        return found

    def forget(self, path: str) -> bool:
        """See `Source`."""
        return self._source.forget(path)

    def widths(self, path: str) -> list[int]:
        """See `Source`."""
        return self._source.widths(path)


class SourceLog:
    """A source as `attest.served` wants a log."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def _read(self, path: str, most: int) -> bytes | None:
        """Read a file; what is larger than it can be is as good as nothing. Raises `Unavailable`."""
        try:
            return self._source.read(path, most)
        except Malformed as error:
            raise Unavailable("log/tiles", error.message) from None

    def tiles(self, tiles: list[Tile]) -> list[bytes]:
        """Return tiles of hashes."""
        return [self.tile(*tile) for tile in tiles]

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return one tile. Raises `Unavailable`: `log/tiles`."""
        found = self._read(tile_path(level, index, width), 32 * FULL)
        if found is None and width < FULL:
            # Once a tile is full its partial forms may go; they are its beginning.
            found = self._read(tile_path(level, index), 32 * FULL)
            found = None if found is None else found[: 32 * width]
        if found is None:
            raise Unavailable("log/tiles", f"{tile_path(level, index, width)} is not there")
        return found

    def encoded_bundle(self, index: int, width: int) -> bytes:
        """Return the bytes of a bundle, of exactly `width` entries. Raises `Unavailable`: `log/tiles`."""
        found = self._read(entries_path(index, width), MAX_BUNDLE)
        if found is None and width < FULL:
            whole = self._read(entries_path(index), MAX_BUNDLE)
            found = None if whole is None else _cut(whole, width)
        if found is None:
            raise Unavailable("log/tiles", f"{entries_path(index, width)} is not there")
        return found

    def bundle(self, index: int, width: int) -> list[bytes]:
        """Return the entries of a bundle. Raises `Malformed`: `bundle/…`."""
        return parse_bundle(self.encoded_bundle(index, width), width)

    def transition(self, epoch: int, most: int) -> bytes | None:
        """Return the transition proof of an epoch, None where it is not kept."""
        return self._source.read(f"proofs/transition/{epoch}", most)

    def rows(self, root: Hash, most: int) -> bytes:
        """Return a row file. Raises `Unavailable`: `rows/missing`."""
        found = self._source.read(rows_path(root), most)
        if found is None:
            raise Unavailable("rows/missing", f"row file {root.hex()} is not there")
        return found


def rows_path(root: Hash) -> str:
    """Spell the path of a row file."""
    return f"rows/{root.hex()}"


def _cut(whole: bytes, width: int) -> bytes:
    """Return the first `width` entries of a bundle, or all where it is broken."""
    at = 0
    for _ in range(width):
        at += 2 + int.from_bytes(whole[at : at + 2], "big")
    return whole[:at]


def _bounded(found: bytes, path: str, most: int) -> bytes:
    if len(found) > most:
        raise Malformed("log/answer", f"{path}: more than the {most} bytes there can be")
    return found


class Ahead:
    """Reads files before they are asked for, in order, several at once and never more than fits."""

    def __init__(self, workers: int, window: int = _WINDOW) -> None:
        """Prepare.

        Args:
            workers: how many are read at a time.
            window: bytes that may wait to be taken.
        """
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="audit")
        self._workers = workers
        self._window = window

    def close(self) -> None:
        """Stop reading."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def each(self, items: Iterable[tuple[_T, int]], read: Callable[[_T], bytes]) -> Iterator[tuple[_T, bytes]]:
        """Yield every item with its bytes, in order.

        Args:
            items: what to read, and about how many bytes that will be; taken as they are needed.
        """
        waiting: list[tuple[_T, int, Future[bytes]]] = []
        held = 0
        left = iter(items)
        upcoming = next(left, None)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: [future.cancel() for _, _, future in waiting])
            while waiting or upcoming is not None:
                while upcoming is not None and (not waiting or held + upcoming[1] <= self._window):
                    if len(waiting) >= 4 * self._workers:
                        break
                    item, size = upcoming
                    waiting.append((item, size, self._pool.submit(read, item)))
                    held += size
                    upcoming = next(left, None)
                item, size, future = waiting.pop(0)
                held -= size
                yield item, future.result()
