"""The pictures of the guides, taken of the real pages of a log whose story is always the same.

`python -m tests.web.pictures` (`make pictures`) writes them anew.
"""

import base64
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page

from attest.api.app import create_app
from attest.formats.rows import RowFile
from tests.holder.company import Company
from tests.web.conftest import ROOT, Watch, chromium
from tests.web.worlds import DAY, hire, serving
from tests.world import Holder, SimulatedClock, World, descriptor, random_rows

PICTURES: Final = ROOT / "docs/guides/pictures"
WIDTH: Final = 880  # CSS pixels, and of a picture
ABOVE: Final = 12  # pixels of margin
ADA, BOB = "ada@example.org", "bob@example.org"
WITNESSES: Final = ("university.example/witness", "library.example/witness", "regulator.example/state-witness")


@dataclass
class Story:
    """A log, and what its people have in their hands."""

    url: str
    now: datetime  # some minutes after the last checkpoint
    keepsakes: dict[str, bytes]  # by e-mail address
    certificate: bytes  # of Ada's deletion


@contextmanager
def story(directory: Path) -> Iterator[Story]:
    """Faces Inc. collects pictures of people from January on; in May, a regulator orders it to delete some."""
    began = datetime(2026, 1, 12, 9, tzinfo=UTC).timestamp()
    world = World(directory / "log", clock=SimulatedClock(began), witness_wait_s=10.0, url="https://log.example")
    hire(world, WITNESSES)
    faces = Company(world, directory / "faces", "faces.example", name="Faces Inc.", systems=())
    with faces.open() as holder:
        holder.add_systems(
            [
                descriptor("photos", assets=("images",), retention="until the person objects"),
                descriptor("search", "search", retention="as the photos"),
                descriptor("tape", "backup", backup_cycle=30 * DAY, retention="30 days"),
                descriptor("cloud", "processor", retention="as the photos"),
            ]
        )
    _others(world)
    people: list[str] = []
    for month in range(4):
        people += [f"person{month}-{n}@example.org" for n in range(40 + 30 * month)] + [ADA, BOB][: 2 * (month == 1)]
        for system in ("photos", "search", "tape"):
            faces.hold(_records(people), system)
            world.clock.advance(2 * DAY)
        faces.hold(_records([each for each in people if each != BOB][::2] + [ADA][: month > 0]), "cloud", group=True)
        world.clock.advance(22 * DAY)
    with faces.open() as holder:
        keepsakes = {each: holder.keepsake(f"email:{each}").encode() for each in (ADA, BOB)}
    ordered = [ADA, BOB, *(each for each in people if each.startswith("person1"))]
    for system in ("photos", "search"):
        faces.erase(ordered, system, method="overwritten", ground="gdpr:17(1)(d)")
        world.clock.advance(DAY)
    faces.erase([ADA], "cloud", method="returned", ground="gdpr:17(1)(d)")
    world.clock.advance(5 * DAY)
    faces.erase([ADA], "tape", method="expired_by_retention", ground="gdpr:17(1)(d)")
    _settle(world)
    with faces.open() as holder:
        certificate = holder.certificate([f"email:{ADA}"])[0].encode()
    now = int(world.clock()) + 240
    with serving(create_app(world.node, wait_s=0, clock=lambda: now)) as url:
        yield Story(url, datetime.fromtimestamp(now, UTC), keepsakes, certificate)
    world.close()


def _settle(world: World) -> None:
    """Wait until the state witness, which takes its time, has cosigned the newest checkpoint."""
    deadline = time.monotonic() + 60
    while (log := world.node.browse.log())["checked"] is None or log["checked"]["size"] < log["size"]:
        assert time.monotonic() < deadline, log
        time.sleep(0.05)
        world.node.step()


def _records(people: list[str]) -> list[dict[str, str]]:
    return [{"email": each, "picture": f"picture of {each}"} for each in people]


def _others(world: World) -> None:
    """Two companies that nothing is told of."""
    for party, name, count in (
        ("post.example", "Nordlicht Versand GmbH", 4_211),
        ("library.example", "Stadtbücherei", 960),
    ):
        other = Holder(party, world.clock, name=name)
        world.admit(other)
        world.holders[party] = other
        world.publish(other.systems(descriptor("db-1", retention="2 years after the last loan or order")))
        rows = RowFile.build(random_rows(count))
        world.publish(other.hold("db-1", rows), rows)
        gone = RowFile.build(dict(list(zip(rows.indexes, rows.commitments, strict=True))[: count // 9]))
        world.clock.advance(3 * DAY)
        world.publish(other.erase("db-1", gone), gone)


# --- pictures ---


@dataclass(frozen=True)
class Picture:
    """What a picture shows: `height` pixels of a page, from above where `top` begins."""

    height: int
    go: Callable[[Page, Story], None]
    top: str  # selector
    shows: tuple[str, ...]  # words that stand in it


def _open(path: str) -> Callable[[Page, Story], None]:
    def go(page: Page, story: Story) -> None:
        page.goto(story.url + path)

    return go


def _look_up(page: Page, story: Story) -> None:
    page.goto(f"{story.url}/lookup")
    page.set_input_files("#keepsake", {"name": "bob.keepsake", "mimeType": "", "buffer": story.keepsakes[BOB]})
    page.click("#lookup button[type=submit]")
    page.wait_for_selector(".outcome[data-outcome]")


def _verify(page: Page, story: Story) -> None:
    page.goto(f"{story.url}/verify")
    page.set_input_files("#bundle", {"name": "ada.certificate", "mimeType": "", "buffer": story.certificate})
    page.set_input_files("#keepsake", {"name": "ada.keepsake", "mimeType": "", "buffer": story.keepsakes[ADA]})
    page.wait_for_function("document.getElementById('locators').value !== ''")
    page.click("#checker button[type=submit]")
    page.wait_for_selector(".outcome[data-outcome]")


def _print(page: Page, story: Story) -> None:
    _verify(page, story)
    page.emulate_media(media="print")
    page.evaluate("document.documentElement.classList.add('printing')")  # as the button does, before the dialogue
    page.locator("header.site").evaluate("header => header.remove()")


def _tombstone(page: Page, story: Story) -> None:
    page.goto(f"{story.url}/browse/holders/faces.example")
    page.click("#statements ~ * a[href^='/browse/entries/']")
    page.click("#check button")
    page.wait_for_selector("#check .steps li >> nth=2")


TAKEN: Final = {
    "home": Picture(590, _open("/"), "header.site", ("Newest checkpoint", "every change checked", *WITNESSES)),
    "company": Picture(700, _open("/browse/holders/faces.example"), ".crumbs", ("Faces Inc.", "1,051", "held again")),
    "systems": Picture(680, _open("/browse/holders/faces.example"), "#systems", ("photos", "tape", "Kept")),
    "lookup": Picture(590, _look_up, "[aria-label='System by system']", ("tape", "Never committed", "Erased", "Held")),
    "verify": Picture(845, _verify, "[aria-label=Steps]", ("14. Judge the level",)),
    "certificate": Picture(830, _print, ".certificate", ("Certificate of committed deletion", "photos", "tape")),
    "log": Picture(630, _open("/browse/log"), "#witnesses", WITNESSES),
    "entry": Picture(690, _tombstone, "h2:has-text('In the log')", ("Position",)),
}


def take(browser: Browser, told: Story, folder: Path) -> None:
    """Take every picture. Fails where a page shows other words than it should, logs an error or asks elsewhere."""
    for name, picture in TAKEN.items():
        viewport: Any = {"width": WIDTH, "height": picture.height}
        context = browser.new_context(
            viewport=viewport, locale="en-GB", timezone_id="UTC", color_scheme="light", reduced_motion="reduce"
        )
        page = context.new_page()
        page.clock.set_fixed_time(told.now)
        watch = Watch(page)
        picture.go(page, told)
        top = page.locator(picture.top).first.bounding_box()
        said = page.locator("main").inner_text()
        missing = [words for words in picture.shows if words not in said]
        assert top is not None and not missing, (name, missing, said)
        y = max(0, round(top["y"] + page.evaluate("scrollY")) - ABOVE)
        taken = page.screenshot(full_page=True, clip={"x": 0, "y": y, "width": WIDTH, "height": picture.height})
        watch.check()
        (folder / f"{name}.png").write_bytes(_smaller(page, taken))
        context.close()


# A page has few colours, and many more on the edges of its letters. Those few are kept as they are; of the others that
# are nearly alike, the most frequent one stands for all.
_REDUCE: Final = """async (png) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))]));
    const { width, height } = bitmap;
    const canvas = new OffscreenCanvas(width, height).getContext("2d");
    canvas.drawImage(bitmap, 0, 0);
    const bytes = canvas.getImageData(0, 0, width, height).data;
    const pixels = Array.from({ length: width * height }, (_, i) =>
        (bytes[4 * i] << 16) | (bytes[4 * i + 1] << 8) | bytes[4 * i + 2]);
    const counts = new Map();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
    const colours = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
    const kept = new Set(colours.slice(0, 32));
    for (let bits = 5; ; bits--) {
        const mask = 0x010101 * ((0xff << (8 - bits)) & 0xff);
        const place = new Map(); // of a colour in the palette
        const first = new Map(); // of those that are alike, the most frequent one
        for (const colour of colours) {
            const group = kept.has(colour) ? -colour : colour & mask;
            if (!first.has(group)) first.set(group, [first.size, colour]);
            place.set(colour, first.get(group)[0]);
        }
        if (first.size > 256) continue;
        const lines = [];
        for (let at = 0; at < pixels.length; at += width) {
            const line = pixels.slice(at, at + width).map((pixel) => place.get(pixel));
            lines.push(btoa(String.fromCharCode(...line)));
        }
        return { width, height, palette: [...first.values()].map(([_, colour]) => colour), lines };
    }
}"""


def _smaller(page: Page, png: bytes) -> bytes:
    """Write a screenshot as a PNG with a palette: a third of what Chromium writes."""
    page.goto("about:blank")
    found = page.evaluate(_REDUCE, base64.b64encode(png).decode())
    pixels = b"".join(b"\0" + base64.b64decode(line) for line in found["lines"])  # 0: no filter
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", found["width"], found["height"], 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(colour.to_bytes(3, "big") for colour in found["palette"])),
        (b"IDAT", zlib.compress(pixels, 9)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def main() -> None:
    """Write the pictures of the guides anew."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, story(Path(folder)) as told, chromium() as browser:
        take(browser, told, PICTURES)


if __name__ == "__main__":
    main()
