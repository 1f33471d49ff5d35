"""The pictures of the guides are of the site as it is."""

import re
import struct
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from attest.api.pages import _COLUMNS
from tests.web.conftest import ROOT
from tests.web.pictures import PICTURES, TAKEN, WIDTH, story, take

LARGEST = 60_000  # bytes
SHOWN = re.compile(r"!\[([^\]]+)\]\(pictures/([a-z]+)\.png\)")


def size_of(picture: Path) -> tuple[int, int]:
    """Return width and height of a PNG."""
    found = picture.read_bytes()
    assert found.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack_from(">II", found, 16)
    return width, height


@pytest.mark.timeout(300)
def test_the_pictures_can_be_taken_anew(browser: Browser, tmp_path: Path) -> None:
    """The pages say what each picture is to show, and the picture has the size of the one in the repository."""
    with story(tmp_path / "world") as told:
        take(browser, told, tmp_path)

    for name, picture in TAKEN.items():
        fresh = tmp_path / f"{name}.png"
        assert size_of(fresh) == size_of(PICTURES / fresh.name) == (WIDTH, picture.height), name
        assert fresh.stat().st_size <= LARGEST, name


def test_every_picture_is_shown_and_small() -> None:
    """Guides show no picture that nobody takes, none is left over, and each is described for whoever cannot see it."""
    pages = [page.read_text() for page in (ROOT / "docs/guides").glob("*.md")]
    shown = {name for page in pages for _, name in SHOWN.findall(page)}

    assert sum(page.count("](pictures/") for page in pages) == sum(len(SHOWN.findall(page)) for page in pages)
    assert shown == set(TAKEN) == {file.stem for file in PICTURES.iterdir()}
    assert all(file.stat().st_size <= LARGEST for file in PICTURES.iterdir())


def test_the_public_guide_uses_the_words_of_the_site() -> None:
    """What its tables explain in bold type stands on a page, and the columns are those of a CSV file."""
    guide = (ROOT / "docs/guides/public.md").read_text()
    folders = [ROOT / "web/static", ROOT / "web/templates"]
    site = "\n".join(file.read_text() for folder in folders for file in sorted(folder.iterdir()) if file.is_file())
    words = re.findall(r"^\| \*\*([^*]+)\*\* \|", guide, re.MULTILINE)
    columns = re.findall(r"^\| (`.+`) \|", guide, re.MULTILINE)

    assert len(words) == 14
    assert [each for each in words if each not in site] == []
    assert [each for row in columns for each in re.findall(r"`([a-z]+)`", row)] == ["utc", *_COLUMNS]
