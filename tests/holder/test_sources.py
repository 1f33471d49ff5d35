"""Sources: what is read is what is there; what cannot be used is named by line and code, never by value."""

import csv
import io
import os
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attest.crypto import commitment
from attest.encoding import sha256
from attest.errors import Malformed
from attest.holder import sources
from attest.holder.sources import (
    Contents,
    CsvFile,
    Folder,
    JsonLines,
    LocatorList,
    Record,
    Reject,
    RejectsFile,
    Rows,
    Template,
    listed,
    locate,
    open_source,
)


def outcomes(found: Iterable[Record | Reject]) -> list[tuple[int, object]]:
    """Reduce to (line, fields or code)."""
    return [(each.line, each.code if isinstance(each, Reject) else dict(each.fields)) for each in found]


def test_csv_lines_are_the_lines_of_the_file(tmp_path: Path) -> None:
    """Quoted records may span lines, empty lines are nothing, a record is named by the line it begins on."""
    path = tmp_path / "people.csv"
    path.write_bytes(b'\xef\xbb\xbfemail,note\r\na@b.example,"two\nlines"\r\n\r\nc@d.example\r\ne@f.example,\xff\r\n')

    found = outcomes(CsvFile(path))

    assert found[:2] == [(2, {"email": "a@b.example", "note": "two\nlines"}), (5, "csv/columns")]
    assert found[2][0] == 6
    assert list(locate(CsvFile(path), Template("email:{email}")))[2] == Reject(6, "record/text")


def test_csv_with_stray_quotes_goes_on(tmp_path: Path) -> None:
    """A line that is no CSV is one reject."""
    path = tmp_path / "people.csv"
    path.write_text('email\n"a"b\nc@d.example\n')

    assert outcomes(CsvFile(path)) == [(2, "csv/syntax"), (3, {"email": "c@d.example"})]


@pytest.mark.parametrize("content", ["", "\n", "a,a\n1,2\n"], ids=["empty", "no header", "a name twice"])
def test_csv_needs_a_header(tmp_path: Path, content: str) -> None:
    """Without distinct column names there are no records."""
    path = tmp_path / "people.csv"
    path.write_text(content)

    with pytest.raises(Malformed, match="csv/header"):
        list(CsvFile(path))


@pytest.mark.parametrize(
    ("header", "form", "hint"),
    [
        ("email;name", "csv", "--format csv-semicolon"),
        ("email\tname", "csv", "--format tsv"),
        ("email,name", "csv-semicolon", "--format csv"),
        ("mail,name", "csv", "correct the template, or the first line"),
    ],
)
def test_a_table_without_the_column_has_another_form(tmp_path: Path, header: str, form: str, hint: str) -> None:
    """It is refused as a whole, with the likely remedy and without a word of its first line."""
    (tmp_path / "people.csv").write_text(header + "\nx\n")

    with pytest.raises(Malformed) as caught:
        list(locate(open_source(tmp_path / "people.csv", form), Template("email:{email}")))

    assert (caught.value.code, caught.value.hint) == ("csv/column", hint)
    assert header not in caught.value.message


def test_semicolons_separate_if_told_so(tmp_path: Path) -> None:
    """The same rows are the same records."""
    (tmp_path / "a.csv").write_text("email,name\na@b.example,A\n")
    (tmp_path / "b.csv").write_text("email;name\na@b.example;A\n")

    assert [*open_source(tmp_path / "a.csv")] == [*open_source(tmp_path / "b.csv", "csv-semicolon")]


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), st.text().filter(lambda t: "\0" not in t)), max_size=5))
def test_csv_gives_back_what_was_written(rows: list[dict[str, str]]) -> None:
    """Whatever Python's writer writes comes back value by value."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, ["a", "b"])
    writer.writeheader()
    writer.writerows(rows)
    file.seek(0)

    found = list(CsvFile(Path("unused"))._read(file))

    assert [each.fields for each in found if isinstance(each, Record)] == [
        {"a": row.get("a", ""), "b": row.get("b", "")} for row in rows
    ]


def test_json_lines_are_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers keep their value; what is no object, twice named, not JSON or too long is a reject."""
    monkeypatch.setattr(sources, "MAX_LINE", 60)
    path = tmp_path / "people.jsonl"
    path.write_bytes(
        b'{"n": 12.50, "big": 12345678901234567890}\n\n[1]\n{"a": 1, "a": 2}\n{"a": NaN}\n{"a"\n\xff\n'
        b'{"a": "' + b"x" * 200 + b'"}\n{"last": true}'
    )

    assert outcomes(JsonLines(path)) == [
        (1, {"n": Decimal("12.50"), "big": 12345678901234567890}),
        (3, "json/object"),
        (4, "json/duplicate-key"),
        (5, "json/number"),
        (6, "json/syntax"),
        (7, "encoding/utf8"),
        (8, "json/size"),
        (9, {"last": True}),
    ]


def test_a_folder_is_its_files_in_byte_order_of_paths(tmp_path: Path) -> None:
    """Every regular file below is a record under its SHA-256; links are named and not followed."""
    for name in ("b.jpg", "a/z.jpg", "a.jpg", "ä.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "c.jpg").symlink_to(tmp_path / "b.jpg")

    found = list(Folder(tmp_path))

    assert [each.fields["path"] if isinstance(each, Record) else each.code for each in found] == [
        "a.jpg", "a/z.jpg", "b.jpg", "file/not-regular", "ä.jpg",
    ]  # fmt: skip
    first = found[0]
    assert isinstance(first, Record)
    assert first.digest == sha256(b"a.jpg")
    assert first.fields["sha256"] == sha256(b"a.jpg").hex()
    assert next(iter(locate(Folder(tmp_path), Template("sha256:{sha256}")))) == (
        1,
        f"sha256:{sha256(b'a.jpg').hex()}",
        sha256(b"a.jpg"),
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_reject(tmp_path: Path) -> None:
    """It is named by its number; the others are read."""
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "a").chmod(0)

    assert outcomes(Folder(tmp_path)) == [(1, "file/unreadable")]


def test_rows_are_committed_to_as_canonical_json() -> None:
    """What is hashed is the whole row, in the one spelling of the spec."""
    row = {"n": 1, "email": "A@b.example"}

    (found,) = locate(Rows([row]), Template("email:{email}"))

    assert found == (1, "email:a@b.example", sha256(b'{"email":"A@b.example","n":1}'))
    assert found == (1, "email:a@b.example", sha256(commitment.record_of_row(row)))


def test_rows_from_python_that_are_none_are_rejects_or_errors() -> None:
    """A row that is no mapping is a reject; rows without `Rows` are a mistake in the program."""
    rows: list[Any] = [["a@b.example"], {"email": "a@b.example"}, None]

    found = list(locate(Rows(rows), Template("email:{email}")))

    assert [each for each in found if isinstance(each, Reject)] == [Reject(1, "record/type"), Reject(3, "record/type")]
    with pytest.raises(TypeError, match="Rows"):
        list(locate(rows, Template("email:{email}")))


def test_contents_from_python_are_files() -> None:
    """Bytes are committed to by their SHA-256, which a template may use."""
    assert list(locate(Contents([({"id": 7}, b"x")]), Template("record:{id}"))) == [(1, "record:7", sha256(b"x"))]
    assert list(locate(Contents([({}, b"x")]), Template("sha256:{sha256}"))) == [
        (1, f"sha256:{sha256(b'x').hex()}", sha256(b"x"))
    ]


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("email:{mail", "template/syntax"),
        ("email:{mail!r}", "template/syntax"),
        ("email:{mail:>10}", "template/syntax"),
        ("email:ada@example.org", "template/fields"),
        ("email:{}", "template/fields"),
        ("{type}:{mail}", "template/type"),
        ("mail:{mail}", "template/type"),
    ],
)
def test_templates_are_simple(pattern: str, code: str) -> None:
    """One literal type, plain fields: a cell can choose neither the type nor an attribute."""
    with pytest.raises(Malformed) as caught:
        Template(pattern)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"mail": None}, "template/missing"),
        ({"mail": ""}, "template/missing"),
        ({}, "template/missing"),
        ({"mail": True}, "template/missing"),
        ({"mail": 1.5}, "template/missing"),
        ({"mail": "no address"}, "locator/email"),
        ({"mail": " A@B.example "}, "email:a@b.example"),
    ],
)
def test_templates_fill_in_or_say_what_is_missing(fields: dict[str, object], wanted: str) -> None:
    """Values are normalised; floats and booleans have no one spelling, so they are refused."""
    template = Template("email:{mail}")

    try:
        found = template.locator(fields)
    except Malformed as error:
        found = error.code

    assert found == wanted


def test_phone_numbers_take_a_region() -> None:
    """National numbers become international ones."""
    assert Template("phone:{tel}", region="GB").locator({"tel": "020 7946 0018"}) == "phone:+442079460018"


def test_lists_of_locators_are_normalised(tmp_path: Path) -> None:
    """One a line, from a file or from Python; what is none is a reject."""
    path = tmp_path / "gone.txt"
    path.write_bytes(b"email:A@b.example\r\n\nada\n\xff\n")

    assert list(LocatorList(path).located()) == [
        (1, "email:a@b.example", bytes(32)),
        Reject(3, "locator/type"),
        Reject(4, "encoding/utf8"),
    ]
    assert list(listed(["record:1", "record: "])) == [(1, "record:1", bytes(32)), Reject(2, "locator/record")]


def test_the_form_of_a_source_comes_from_its_name(tmp_path: Path) -> None:
    """Or from the caller; otherwise there is none."""
    assert isinstance(open_source(Path("x.CSV")), CsvFile)
    assert isinstance(open_source(Path("x.tsv")), CsvFile)
    assert isinstance(open_source(Path("x.ndjson")), JsonLines)
    assert isinstance(open_source(Path("x.dat"), "jsonl"), JsonLines)
    assert isinstance(open_source(tmp_path), Folder)
    with pytest.raises(Malformed, match="source/format"):
        open_source(Path("x.xlsx"))
    with pytest.raises(Malformed, match="source/path"):
        open_source(tmp_path / "nowhere", "folder")


def test_a_rejects_file_says_why_and_not_what() -> None:
    """Line, code, reason: nothing of the record."""
    file = io.StringIO()
    take = RejectsFile(file)

    for reject in locate(
        Rows([{"email": "secret@"}, {"email": "x@y.example", "n": object()}]), Template("email:{email}")
    ):
        assert isinstance(reject, Reject)
        take(reject)

    lines = list(csv.reader(io.StringIO(file.getvalue())))
    assert [line[:2] for line in lines] == [["line", "code"], ["1", "locator/email"], ["2", "record/type"]]
    assert "secret" not in file.getvalue()
