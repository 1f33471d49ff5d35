"""Worksheets as they come back from a spreadsheet, and what is said of those that cannot be read."""

from collections.abc import Callable

import pytest

from attest.audit.sample import Draw, encode_worksheet, parse_worksheet
from attest.errors import Malformed

DRAWS = [
    Draw(1, 7, bytes(range(64)), "email:ada@example.org", b"\x01" * 32, "absent", 'asked "twice"; saw nothing, nähe'),
    Draw(2, 0, bytes(range(64)), "", b"\x02" * 32),
    Draw(3, 4, bytes(range(64)), "phone:+4930123456", b"\x03" * 32, "present", "a,b"),
]


def spelled(separator: str, end: str, quote: str) -> bytes:
    """Write the worksheet by hand: every cell quoted, or only those that need it."""
    rows = [["draw", "position", "index", "commitment", "locator", "opening", "inspected", "note"]]
    for each in DRAWS:
        rows.append(
            [
                str(each.number), str(each.position), f"0x{each.row[:32].hex()}", f"0x{each.row[32:].hex()}",
                each.locator, f"0x{each.opening.hex()}", each.inspected, each.note,
            ]
        )  # fmt: skip

    def cell(text: str) -> str:
        needs = quote == "all" or any(each in text for each in (separator, '"', "\n"))
        return '"' + text.replace('"', '""') + '"' if needs else text

    return "".join(separator.join(map(cell, row)) + end for row in rows).encode()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("quote", ["all", "few"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_worksheet_comes_back_from_any_spreadsheet(separator: str, end: str, quote: str, mark: bytes) -> None:
    """Also one in a country where cells are separated by semicolons."""
    assert parse_worksheet(mark + spelled(separator, end, quote)) == DRAWS


@pytest.mark.parametrize("typed", ["Absent", "ABSENT ", " absent"])
def test_what_people_type_is_taken(typed: str) -> None:
    """Spreadsheets begin a cell with a capital, and nobody sees a space at its end."""
    text = encode_worksheet(DRAWS).replace(b",absent,", f",{typed},".encode())
    assert parse_worksheet(text) == DRAWS


def swap(text: bytes) -> bytes:
    head, one, two, *rest = text.split(b"\r\n")
    return b"\r\n".join([head, two, one, *rest])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.decode().encode("utf-16"), "UTF-8"),
        (lambda text: text.decode().encode("latin-1"), "UTF-8"),
        (swap, "line 2 is not draw 1"),
        (lambda text: text + text.split(b"\r\n")[1] + b"\r\n", "line 5 is not draw 4"),
        (lambda text: text.replace(b",absent,", b",secret,"), "draw 1: want absent, present or nothing"),
        (lambda text: text.replace(b"a,b", b"-secret"), "draw 3: a cell that begins as a formula does"),
        (lambda text: text.replace(b",", b";", 1), "want a first line of draw,position"),
        (lambda _: b"", "want a first line of draw,position"),
    ],
)
def test_what_cannot_be_read_is_said_by_its_place(spoil: Callable[[bytes], bytes], said: str) -> None:
    """The line and what is wanted there, and nothing of what stands in it: that may be about somebody."""
    with pytest.raises(Malformed) as refused:
        parse_worksheet(spoil(encode_worksheet(DRAWS)))
    shown = f"{refused.value.message} {refused.value.hint}"
    assert refused.value.code == "sample/worksheet"
    assert said in shown and "secret" not in shown and "ada" not in shown
