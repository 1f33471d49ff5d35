"""Every page, on a telephone, a tablet and a desk, by day and by night."""

import os
from collections.abc import Iterator
from typing import Any, Final, Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from tests.web.conftest import ROOT, Watch
from tests.web.worlds import HEBREW, LONG_ID, Served

AXE: Final = (ROOT / "web/node_modules/axe-core/axe.min.js").read_text()
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# PICTURES=var/screenshots keeps pictures of all pages there.
PICTURES: Final = os.environ.get("PICTURES")
WIDTHS: Final = (320, 768, 1280)
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
HEBREW_ID: Final = "xn--4dbrk0ce.example"

# The rows of a table are alike: what is wrong with one is wrong with the first dozen.
ONCE: Final = {"include": [["html"]], "exclude": [["tbody tr:nth-child(n+13)"]]}

# Of the rich log, by what is special about each.
RICH: Final = {
    "home": "/",
    "holders": "/browse/holders",
    "holders-found": "/browse/holders?q=%3Cscript",
    "holders-none": "/browse/holders?q=" + quote(HEBREW * 4),
    "holder": "/browse/holders/acme.example",
    "holder-long": f"/browse/holders/{LONG_ID}",
    "holder-hebrew": f"/browse/holders/{HEBREW_ID}",
    "holder-markup": "/browse/holders/markup.example",
    "holder-gone": "/browse/holders/gone.example",
    "holder-bare": "/browse/holders/bare.example",
    "holder-many": "/browse/holders/many.example",
    "holder-many-more": "/browse/holders/many.example?after=shard-23",
    "authority": "/browse/holders/cnil.example",
    "holder-entries": "/browse/holders/busy.example/entries",
    "system": "/browse/holders/acme.example/systems/crm",
    "system-empty": "/browse/holders/acme.example/systems/vault",
    "system-retired": "/browse/holders/acme.example/systems/legacy",
    "system-long": f"/browse/holders/{LONG_ID}/systems/{'a' * 64}",
    "system-large": "/browse/holders/many.example/systems/shard-00",
    "entries": "/browse/entries",
    "log": "/browse/log",
    "log-older": "/browse/log?before=100",
    "verify": "/verify",
    "verify-alone": "/verify.html",
    "lookup": "/lookup",
    "proves": "/proves",
    "not-found": "/browse/holders/nobody.example",
    "malformed": "/browse/entries?before=" + "9" * 200,
}
KINDS: Final = ("log/1", "party/1", "systems/1", "hold/1", "tombstone/1", "keys/1", "party-end/1", "epoch/1")
OTHERS: Final = [
    ("empty", "/"),
    ("empty", "/browse/holders"),
    ("empty", "/browse/log"),
    ("stale", "/"),
    ("stale", "/browse/holders/quiet.example"),
    ("ended", "/"),
    ("ended", "/browse/log"),
]
PAGES: Final = [
    *(pytest.param("rich", path, id=name) for name, path in RICH.items()),
    *(pytest.param("rich", f"kind:{kind}", id=kind.partition("/")[0]) for kind in KINDS),
    *(pytest.param(site, path, id=site + path.replace("/", "-")) for site, path in OTHERS),
]


def address(sites: dict[str, Served], site: str, path: str) -> str:
    """Return where a page is; `kind:K` is the newest statement of a kind."""
    at = sites[site]
    if path.startswith("kind:"):
        found = (each for each in entries(at) if each["kind"] == path.removeprefix("kind:"))
        path = f"/browse/entries/{next(found)['position']}"
    return at.url + path


def entries(at: Served) -> Iterator[dict[str, Any]]:
    """Yield all statements of a log, newest first."""
    before = None
    while True:
        page = at.node.browse.entries_of_all(before, 500)
        yield from page["entries"]
        before = page["next"]
        if before is None:
            return


def fit(page: Page) -> None:
    """Check that nothing has to be scrolled sideways."""
    wide = page.evaluate(
        """() => {
            const room = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= room) return [];
            return [...document.querySelectorAll("body *")]
                .filter((each) => each.getBoundingClientRect().right > room + 0.5)
                .map((each) => each.outerHTML.slice(0, 120));
        }"""
    )
    assert wide == []


SHIFT: Final = """() => new Promise((resolve) => {
    let sum = 0;
    const add = (list) => { for (const each of list.getEntries()) sum += each.value; };
    const observer = new PerformanceObserver(add);
    observer.observe({ type: "layout-shift", buffered: true });
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => {
        add({ getEntries: () => observer.takeRecords() });
        resolve(sum);
    }, 30)));
})"""


def faults(page: Page, **options: Any) -> list[str]:
    """Return what axe-core finds."""
    # Through the debugger, which no Content-Security-Policy holds back.
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("([where, options]) => axe.run(where, options)", [ONCE, options])
    return [
        f"{each['id']}: {node['html'][:160]}: {node['failureSummary'][:300]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def judge(page: Page, name: str) -> None:
    """Check a page as it stands: at every width nothing to scroll sideways, and no barrier by day or by night.

    Args:
        name: of its pictures, if they are wanted.
    """
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            fit(page)
            if PICTURES is not None:
                page.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png", full_page=True)
    # Colours are all that changes at night.
    assert faults(page, runOnly={"type": "rule", "values": ["color-contrast"]}) == []
    page.emulate_media(color_scheme="light")
    assert faults(page, resultTypes=["violations"], runOnly=TAGS) == []


@pytest.mark.parametrize(("site", "path"), PAGES)
def test_a_page_fits_and_is_accessible(
    visitor: Page, sites: dict[str, Served], site: str, path: str, request: pytest.FixtureRequest
) -> None:
    """At every width and in both schemes: no error, no other origin, no sideways scrolling, no shift, no barrier."""
    watch = Watch(visitor)
    url = address(sites, site, path)
    for width in WIDTHS[0], WIDTHS[-1]:
        visitor.set_viewport_size({"width": width, "height": 900})
        answer = visitor.goto(url)
        assert visitor.evaluate(SHIFT) < 0.02
    judge(visitor, request.node.callspec.id)
    assert answer is not None
    watch.check(answer.status)
