"""Pages from a log of 200 companies and 100,000 entries stay small, page through everything, and say what happened."""

import re
from collections.abc import Iterator
from typing import Final

import httpx
import pytest
from playwright.sync_api import Page

from tests.biglog import big_world
from tests.web.conftest import Watch
from tests.web.test_pages import WIDTHS, faults, fit
from tests.web.worlds import Served, served

HOLDERS: Final = 200
ENTRIES: Final = 100_000
BUDGET: Final = 100_000  # bytes of HTML, before compression
BROWSER: Final = {"Accept": "text/html"}
PAGES: Final = (
    "/",
    "/browse/holders",
    "/browse/holders?after=company-0099.example",
    "/browse/holders?q=company-01",
    "/browse/holders/company-0123.example",
    "/browse/holders/company-0123.example/entries?before=90000",
    "/browse/holders/company-0123.example/systems/database-1",
    "/browse/entries",
    "/browse/entries?before=50000",
    "/browse/entries/77777",
    "/browse/log",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(big_world(tmp_path_factory.mktemp("large") / "log", HOLDERS, ENTRIES)) as found:
        yield found


@pytest.mark.parametrize("path", PAGES)
def test_pages_of_a_large_log_fit(large: Served, visitor: Page, path: str) -> None:
    """In their budget, on every screen, and accessible."""
    watch = Watch(visitor)
    answer = visitor.goto(large.url + path)
    assert answer is not None and answer.status == 200 and len(answer.body()) < BUDGET
    for width in WIDTHS:
        visitor.set_viewport_size({"width": width, "height": 900})
        fit(visitor)
    assert faults(visitor, runOnly={"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag22aa"]}) == []
    watch.check()


def test_lists_end(large: Served) -> None:
    """Whoever goes on gets every company once, and every statement of one, newest first."""
    with httpx.Client(base_url=large.url, headers=BROWSER) as client:
        companies = walk(client, "/browse/holders", r'/browse/holders/(company-\d{4}\.example)"')
        statements = walk(client, "/browse/holders/company-0007.example/entries", r'/browse/entries/(\d+)"')

    assert companies == [f"company-{n:04}.example" for n in range(HOLDERS)]
    positions = [int(each) for each in statements]
    assert positions == sorted(set(positions), reverse=True)
    assert len(positions) == sum(large.world.holders["company-0007.example"].seqs.values()) + 1  # its admission


def walk(client: httpx.Client, path: str, pattern: str) -> list[str]:
    """Follow `Older` to the end; return what the pages list."""
    found: list[str] = []
    while True:
        text = client.get(path).text
        found += re.findall(pattern, text)
        following = re.search(r'<a href="([^"]+)" rel="next"', text)
        if following is None:
            return found
        path = following[1].replace("&amp;", "&")


def test_numbers_are_those_of_the_statements(large: Served) -> None:
    """Held and erased of a system, and of all, from what was signed."""
    node = large.node
    system = node.browse.system("company-0123.example", "database-1")
    said = {"hold/1": 0, "tombstone/1": 0}
    before = None
    while True:
        page = node.browse.entries("company-0123.example", before, 500)
        for each in page["entries"]:
            if each["system"] == "database-1":
                said[each["kind"]] += each["count"]
        before = page["next"]
        if before is None:
            break

    assert (system["held"], system["erased"]) == (said["hold/1"] - said["tombstone/1"], said["tombstone/1"])
    newest = node.browse.history("company-0123.example", "database-1", None, 1)["history"][0]
    assert (newest["held"], newest["erased"]) == (system["held"], system["erased"])
    log = node.browse.log()
    assert (log["held"], log["erased"]) == (system["held"] * HOLDERS * 5, system["erased"] * HOLDERS * 5)
    text = httpx.get(large.url, headers=BROWSER).text
    assert f"{log['held']:,}" in text and f"{log['erased']:,}" in text
