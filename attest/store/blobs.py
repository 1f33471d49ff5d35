"""Immutable files by name, durable before anybody learns of them.

The interface is small enough for object storage: `get`, `put` (never other bytes under a known name), `replace` (for
the checkpoint alone), `exists`, `delete`, `names`.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from attest.errors import Conflict, Unavailable

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}(?:/[a-z0-9][a-z0-9._-]{0,254}){0,15}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY = ".new-"


class Blobs(Protocol):
    """Immutable files by name, and one that is replaced."""

    def get(self, name: str) -> bytes | None:
        """Return a file, None if there is none."""

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of this name."""

    def put(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Store files durably; they are all there when this returns.

        Raises:
            Conflict: `store/immutable`, one is there already with other bytes.
            Unavailable: `store/full`.
        """

    def replace(self, name: str, old: bytes | None, new: bytes) -> None:
        """Store a file durably in place of the one there is.

        Raises:
            Conflict: `store/moved`, it is no longer `old` (None: no file) that is there.
            Unavailable: `store/full`.
        """

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there do not matter."""

    def names(self, folder: str, older_than_s: float = 0) -> list[str]:
        """List the names in a folder, not in folders below it, of files not written in the last seconds."""

    def sweep(self, folder: str, older_than_s: float) -> None:
        """Remove what writers that died have left half-written in a folder, not in folders below it."""

    def check_space(self) -> None:
        """Raises `Unavailable`: `store/full`, when less than the configured floor is free."""


class DirectoryBlobs:
    """Files in a directory of one machine, or of a file system that several share and that renames atomically."""

    def __init__(self, root: Path, *, floor: int = 0) -> None:
        """Use `root`, which exists; `floor` bytes stay free."""
        self.root = root
        self._floor = floor

    def get(self, name: str) -> bytes | None:
        """See `Blobs`."""
        try:
            return self._path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def exists(self, name: str) -> bool:
        """See `Blobs`."""
        return self._path(name).is_file()

    def put(self, files: Sequence[tuple[str, bytes]]) -> None:
        """See `Blobs`."""
        folders: set[Path] = set()
        with _full_disk():
            for name, content in files:
                path = self._path(name)
                if self._is_there(path, content):
                    # Written by a process that may have died before it made the directory durable.
                    folders.add(path.parent)
                    os.utime(path)
                    continue
                folders.update(self._make_folder(path.parent))
                with _written(path, content) as temporary:
                    # A hard link, unlike a rename, never takes the place of a file that came in between.
                    try:
                        os.link(temporary, path)
                    except FileExistsError:
                        self._is_there(path, content)
                folders.add(path.parent)
            for folder in folders:
                _sync_folder(folder)

    def replace(self, name: str, old: bytes | None, new: bytes) -> None:
        """See `Blobs`."""
        path = self._path(name)
        with _full_disk():
            folders = self._make_folder(path.parent)
            # A process that slept while another took over would put its old file back.
            with _written(path, new) as temporary, _locked(path.parent):
                if self.get(name) != old:
                    raise Conflict("store/moved", f"another process replaced {name}")
                temporary.replace(path)
            for folder in (*folders, path.parent):
                _sync_folder(folder)

    def overwrite(self, name: str, content: bytes) -> None:
        """Store a file durably in place of whatever is there: a reader gets the one or the other, never half of it.

        For repair alone, and not of `Blobs`: nothing else may put other bytes under a known name.

        Raises:
            Unavailable: `store/full`.
        """
        path = self._path(name)
        with _full_disk():
            folders = self._make_folder(path.parent)
            with _written(path, content) as temporary:
                temporary.replace(path)
            for folder in (*folders, path.parent):
                _sync_folder(folder)

    def delete(self, names: Iterable[str]) -> None:
        """See `Blobs`."""
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def names(self, folder: str, older_than_s: float = 0) -> list[str]:
        """See `Blobs`."""
        oldest = time.time() - older_than_s
        found = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._path(folder)) as entries:
            for entry in entries:
                # Another process may remove what we list.
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file() and entry.stat().st_mtime <= oldest and _NAME.fullmatch(entry.name):
                        found.append(entry.name)
        return sorted(found)

    def sweep(self, folder: str, older_than_s: float) -> None:
        """See `Blobs`."""
        oldest = time.time() - older_than_s
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._path(folder)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.name.startswith(_TEMPORARY) and entry.stat().st_mtime <= oldest:
                        Path(entry.path).unlink()

    def check_space(self) -> None:
        """See `Blobs`."""
        free = shutil.disk_usage(self.root).free
        if free < self._floor:
            raise Unavailable("store/full", f"{free >> 20} MiB are free, {self._floor >> 20} MiB are kept")

    def _path(self, name: str) -> Path:
        # Nothing here can leave the directory: no `..`, no empty part, no leading dot or slash.
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name for a stored file: {name[:80]!r}")
        return self.root / name

    def _is_there(self, path: Path, content: bytes) -> bool:
        try:
            found = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if found != content:
            raise Conflict("store/immutable", f"{path.relative_to(self.root)} is stored with other bytes")
        return True

    def _make_folder(self, folder: Path) -> list[Path]:
        """Make a directory and those above it; return the directories that gained a new one."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
        return [each.parent for each in missing]


@contextlib.contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """Write a temporary file beside `path`, durably; it is gone when the block ends."""
    temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            # After a failed fsync the page cache may look clean: the error ends the write, and nobody retries it here.
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a block that takes the same folder's lock."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable("store/full", "no space left for files") from None
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
