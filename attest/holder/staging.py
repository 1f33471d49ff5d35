"""A scratch file that sorts a source by index, so that millions of records need no memory. It never holds a locator.

It lives beside the vault for the time of one run, is readable by its owner only and has no salts. After a crash it is
worthless: the next run removes it.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from attest.encoding import Hash

NAME: Final = "staging.sqlite"


class Staging:
    """Records by index, and the tags of locators that are looked for again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._path.unlink(missing_ok=True)
        self._path.touch(mode=0o600)
        self._db = sqlite3.connect(self._path, isolation_level=None)
        # Worthless after a crash, so nothing is synced; a table in index order, so nothing is sorted in /tmp.
        for line in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "PRAGMA cache_size=-65536",
            "PRAGMA temp_store=MEMORY",
            'CREATE TABLE staged ("index" BLOB, line INTEGER, record BLOB, tag BLOB, PRIMARY KEY ("index", line))'
            " WITHOUT ROWID",
            "CREATE TABLE wanted (tag BLOB PRIMARY KEY) WITHOUT ROWID",
        ):
            self._db.execute(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self._path.unlink(missing_ok=True)

    def add(self, staged: Iterable[tuple[Hash, int, Hash, bytes]]) -> None:
        """Add (index, line, record, tag)."""
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO staged VALUES (?, ?, ?, ?)", staged)
        self._db.execute("COMMIT")

    def distinct(self) -> int:
        """Count the indexes."""
        return int(self._db.execute('SELECT count(DISTINCT "index") FROM staged').fetchone()[0])

    def groups(self, size: int) -> Iterator[list[tuple[Hash, list[int], list[Hash], bytes]]]:
        """Yield (index, lines, records, tag) by ascending index, lines ascending, `size` of them at a time."""
        part: list[tuple[Hash, list[int], list[Hash], bytes]] = []
        for index, line, record, tag in self._db.execute('SELECT * FROM staged ORDER BY "index", line'):
            if part and part[-1][0] == index:
                part[-1][1].append(line)
                part[-1][2].append(record)
                continue
            if len(part) == size:
                yield part
                part = []
            part.append((index, [line], [record], tag))
        if part:
            yield part

    def repeated(self) -> Iterator[int]:
        """Yield the lines whose index an earlier line has, ascending by index."""
        for (line,) in self._db.execute(
            "SELECT line FROM staged AS s WHERE EXISTS"
            ' (SELECT 1 FROM staged AS t WHERE t."index" = s."index" AND t.line < s.line)'
        ):
            yield line

    def want(self, tags: Iterable[bytes]) -> None:
        """Remember tags to look for."""
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", ((tag,) for tag in tags))
        self._db.execute("COMMIT")

    def is_wanted(self, tag: bytes) -> bool:
        """Tell whether a tag is looked for."""
        return self._db.execute("SELECT 1 FROM wanted WHERE tag = ?", (tag,)).fetchone() is not None
