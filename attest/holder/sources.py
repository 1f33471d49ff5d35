"""Where records come from: CSV, JSON Lines, a folder of files, or anything iterable in Python.

A source gives `Record`s and `Reject`s in its own order; a template turns a record into a locator. Nothing here keeps
more than one record in memory.

Spec: docs/guides/holder.md#sources.
"""

import csv
import hashlib
import io
import json
import os
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, Protocol, TextIO, TypeAlias

from attest.crypto import commitment, locators
from attest.encoding import Hash, sha256
from attest.errors import AttestError, Malformed

FORMATS: Final = ("csv", "csv-semicolon", "tsv", "jsonl", "folder")
_DELIMITERS: Final = {"csv": ",", "csv-semicolon": ";", "tsv": "\t"}
MAX_LINE: Final = 16 << 20  # bytes of one line of JSON

REASONS: Final = {
    "csv/columns": "not as many columns as the header",
    "csv/syntax": "not CSV, or a field that is too long",
    "json/syntax": "not JSON",
    "json/object": "not a JSON object",
    "json/duplicate-key": "a name stands twice in one object",
    "json/number": "a number that JSON does not have, or far too long a one",
    "json/size": f"a line of more than {MAX_LINE} bytes",
    "encoding/utf8": "not UTF-8",
    "record/text": "not UTF-8",
    "locator/type": "does not begin with a type of locator and a colon",
    "file/unreadable": "the file cannot be read",
    "file/not-regular": "neither a regular file nor a folder; links are not followed",
    "template/missing": "a field of the locator template is missing or null",
    "duplicate-locator": "an earlier record has this locator; --group makes one holding of all of them",
    "not-held": "nothing is held under this locator, so nothing can be declared erased",
    "pending-hold": "its hold is not published yet: `attest holder send` first",
    "pending-tombstone": "its tombstone is not published yet: `attest holder send` first",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One record: where it stands, the fields a template may use, and the SHA-256 that is committed to."""

    line: int  # from 1: the line it begins on, or its number in a folder or iterable
    fields: Mapping[str, object]
    digest: Hash | None = None  # None: `fields` is a table row, hashed as RFC 8785 JSON


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that cannot be used. It repeats nothing of the record."""

    line: int
    code: str

    @property
    def reason(self) -> str:
        """Say what is wrong, for a person."""
        found = REASONS.get(self.code)
        if found is None and self.code.startswith("record/"):
            found = "the record has no canonical JSON"
        return found or "the locator has no canonical spelling"


class Source(Protocol):
    """Anything that yields records. It is read anew on each call."""

    def __iter__(self) -> Iterator[Record | Reject]: ...


Located: TypeAlias = tuple[int, str, Hash]
"""(line, canonical locator, SHA-256 of the record)."""


class Template:
    """A pattern such as `email:{mail}` that makes a locator from the fields of a record."""

    def __init__(self, pattern: str, *, region: str | None = None) -> None:
        """Read the pattern. Raises `Malformed`: `template/syntax`, `template/fields`, `template/type`."""
        try:
            parts = list(string.Formatter().parse(pattern))
        except ValueError as error:
            raise Malformed("template/syntax", f"the locator template is not readable: {error}") from None
        if any(spec or conversion for _, name, spec, conversion in parts if name is not None):
            raise Malformed("template/syntax", "a field of a locator template is a plain name in braces")
        self._parts = [(literal, name) for literal, name, _, _ in parts]
        self.fields = tuple(name for _, name in self._parts if name is not None)
        if not self.fields or "" in self.fields:
            raise Malformed("template/fields", "a locator template has at least one {field}")
        # The type has to be literal: then one source has one type, and a cell cannot choose it.
        kind, colon, _ = self._parts[0][0].partition(":")
        if not colon or kind not in locators.TYPES:
            want = ", ".join(locators.TYPES)
            raise Malformed("template/type", f"want a template that begins with one of {want} and a colon")
        self.type = kind
        self._region = region

    def locator(self, fields: Mapping[str, object]) -> str:
        """Make the canonical locator. Raises `Malformed`: `template/missing`, `locator/…`."""
        text = []
        for literal, name in self._parts:
            text.append(literal)
            if name is not None:
                value = fields.get(name)
                if value is None or value == "":
                    raise Malformed("template/missing", "a field of the locator template is missing")
                text.append(value if isinstance(value, str) else _spelt(value))
        return locators.normalise("".join(text), region=self._region)

    def is_blank(self, fields: Mapping[str, object]) -> bool:
        """Tell whether all fields of the template are empty: such a record names nobody."""
        return all(fields.get(name) in (None, "") for name in self.fields)


def _spelt(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Malformed("template/missing", "a field of the locator template is neither text nor a number")
    return str(value)


def locate(source: Iterable[Record | Reject], template: Template) -> Iterator[Located | Reject]:
    """Turn records into located ones; what fails is a `Reject` with the error's code. Raises as `fits`."""
    fits(source, template)
    for found in source:
        if isinstance(found, Reject):
            yield found
            continue
        if not isinstance(found, Record):
            raise TypeError("a source yields records; wrap rows in attest.holder.sources.Rows")
        try:
            locator = template.locator(found.fields)
            digest = found.digest or sha256(commitment.record_of_row(found.fields))
        except Malformed as error:
            yield Reject(found.line, error.code)
        else:
            yield found.line, locator, digest


def fits(source: Iterable[Record | Reject], template: Template) -> None:
    """Check a template against a header line, if there is one. Raises `Malformed`: `csv/header`, `csv/column`."""
    if isinstance(source, CsvFile):
        source.has(template.fields)


def open_source(path: Path, form: str | None = None) -> Source:
    """Return the source at `path`. Without a form its name tells. Raises `Malformed`: `source/…`."""
    if form is None:
        suffix = path.suffix.lower()
        form = "folder" if path.is_dir() else {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}.get(
            suffix
        )  # fmt: skip
    match form:
        case "csv" | "csv-semicolon" | "tsv":
            return CsvFile(path, _DELIMITERS[form])
        case "jsonl":
            return JsonLines(path)
        case "folder":
            return Folder(path)
    raise Malformed("source/format", f"want a source of format {', '.join(FORMATS)}", hint="--format csv")


class CsvFile:
    """A CSV file with a header. All values are text; a quoted record may span lines."""

    def __init__(self, path: Path, delimiter: str = ",") -> None:
        self._path = path
        self._delimiter = delimiter

    def __iter__(self) -> Iterator[Record | Reject]:
        with self._open() as file:
            yield from self._read(file)

    def _open(self) -> TextIO:
        # Surrogates stand for bytes that are not UTF-8; the record that has them is refused, not the file.
        return self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")

    def has(self, columns: Iterable[str]) -> None:
        """Check that the file has these columns. Raises `Malformed`: `csv/header`, `csv/column`.

        A file without them has not a bad line but another form, and says nothing about anybody.
        """
        with self._open() as file:
            _, header = self._start(file)
        missing = [each for each in columns if each not in header]
        if not missing:
            return
        # The names found are not repeated: without a header line they would be somebody's data.
        other = next((f for f, d in _DELIMITERS.items() if d != self._delimiter and d in header[0]), None)
        raise Malformed(
            "csv/column",
            f"the template wants a column `{missing[0]}`; none of the {len(header)} in the first line is called so",
            hint=f"--format {other}" if len(header) == 1 and other else "correct the template, or the first line",
        )

    def _start(self, file: TextIO) -> tuple[Any, list[str]]:
        reader = csv.reader(file, delimiter=self._delimiter, strict=True)
        try:
            header = next(reader, None)
        except csv.Error:
            header = None
        if not header or len(set(header)) != len(header):
            raise Malformed("csv/header", "want a first line with column names, none of them twice")
        return reader, header

    def _read(self, file: TextIO) -> Iterator[Record | Reject]:
        reader, header = self._start(file)
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield Reject(line, "csv/syntax")
                continue
            if not row:
                continue  # an empty line
            if len(row) != len(header):
                yield Reject(line, "csv/columns")
            else:
                yield Record(line, dict(zip(header, row, strict=True)))


class JsonLines:
    """A file with one JSON object per line. Numbers keep their exact value."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Record | Reject]:
        with self._path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                if line is None:
                    yield Reject(number, "json/size")
                elif line.strip():
                    yield self._record(number, line)

    def _record(self, number: int, line: bytes) -> Record | Reject:
        try:
            value = json.loads(
                line.decode("utf-8-sig" if number == 1 else "utf-8"),
                object_pairs_hook=_object,
                parse_float=_decimal,
                parse_constant=_no_constant,
            )
        except Malformed as error:
            return Reject(number, error.code)
        except UnicodeDecodeError:
            return Reject(number, "encoding/utf8")
        except (ValueError, RecursionError):
            return Reject(number, "json/syntax")
        return Record(number, value) if isinstance(value, dict) else Reject(number, "json/object")


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines of a file, None for one that is too long."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("json/duplicate-key", "a name stands twice")
    return found


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Malformed("json/number", "a number with an exponent beyond all bounds") from None


def _no_constant(_: str) -> NoReturn:
    raise Malformed("json/number", "NaN and Infinity are not JSON")


class Folder:
    """A folder of files, with all folders in it; each file is a record, its SHA-256 is what is committed to.

    Fields: `sha256`, `name`, `stem`, `path` (from the folder, with slashes). Everything but folders is numbered, in the
    byte order of the paths, as `find . ! -type d | LC_ALL=C sort` shows them.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise Malformed("source/path", "want a folder")
        self._path = path

    def __iter__(self) -> Iterator[Record | Reject]:
        for number, (relative, entry) in enumerate(_walk(self._path, ""), 1):
            if entry is None or not entry.is_file(follow_symlinks=False):
                yield Reject(number, "file/unreadable" if entry is None else "file/not-regular")
                continue
            try:
                with Path(entry.path).open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
            except OSError:
                yield Reject(number, "file/unreadable")
                continue
            stem = Path(entry.name).stem
            fields = {"sha256": digest.hex(), "name": entry.name, "stem": stem, "path": relative}
            yield Record(number, fields, digest)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Yield (relative path, entry) in byte order of the paths; None for a folder that cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in entries]
    except OSError:
        yield prefix, None
        return
    for name, entry in sorted(found, key=lambda pair: os.fsencode(pair[0])):
        if name.endswith("/"):
            yield from _walk(Path(entry.path), prefix + name)
        else:
            yield prefix + name, entry


class Rows:
    """Table rows from Python: mappings from column to value, numbered from 1. Give what can be read again."""

    def __init__(self, rows: Iterable[Mapping[str, object]]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Record | Reject]:
        rows: Iterable[Any] = self._rows  # a program may give anything
        for number, row in enumerate(rows, 1):
            yield Record(number, row) if isinstance(row, Mapping) else Reject(number, "record/type")


class Contents:
    """Files from Python: (fields, content) pairs, numbered from 1. `sha256` is added to the fields."""

    def __init__(self, contents: Iterable[tuple[Mapping[str, object], bytes]]) -> None:
        self._contents = contents

    def __iter__(self) -> Iterator[Record | Reject]:
        for number, (fields, content) in enumerate(self._contents, 1):
            digest = sha256(content)
            yield Record(number, {**fields, "sha256": digest.hex()}, digest)


class LocatorList:
    """A file with one locator per line, in any spelling that can be normalised. It has no records."""

    def __init__(self, path: Path, *, region: str | None = None) -> None:
        self._path = path
        self._region = region

    def located(self) -> Iterator[Located | Reject]:
        """Yield the locators; the third member means nothing."""
        with self._path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                if line is None:
                    yield Reject(number, "json/size")
                elif line.strip():
                    yield _listed(number, line, self._region)


def _listed(number: int, line: bytes, region: str | None) -> Located | Reject:
    try:
        text = line.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        return Reject(number, "encoding/utf8")
    try:
        return number, locators.normalise(text, region=region), bytes(32)
    except AttestError as error:
        return Reject(number, error.code)


def listed(texts: Iterable[str], *, region: str | None = None) -> Iterator[Located | Reject]:
    """Take locators from Python."""
    for number, text in enumerate(texts, 1):
        yield _listed(number, text.encode("utf-8", "surrogatepass"), region)


class RejectsFile:
    """Collect rejects in a CSV file: line, code, reason."""

    _HEADER: Final = ("line", "code", "reason")

    def __init__(self, file: io.TextIOBase) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(self._HEADER)

    @classmethod
    def is_one(cls, path: Path) -> bool:
        """Tell whether a file begins as such a list does."""
        first = ",".join(cls._HEADER).encode() + b"\n"
        with path.open("rb") as file:
            return file.read(len(first)) == first

    def __call__(self, reject: Reject) -> None:
        """Write one."""
        self._writer.writerow((reject.line, reject.code, reject.reason))
