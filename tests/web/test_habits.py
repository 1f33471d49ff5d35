"""What pages do for people with a keyboard, without scripts, and with a clipboard."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.conftest import Watch
from tests.web.test_pages import KINDS, RICH, address, fit, judge
from tests.web.worlds import Served

FOCUSED: Final = """() => {
    const at = document.activeElement;
    if (at === document.body) return null;
    const style = getComputedStyle(at);
    const box = at.getBoundingClientRect();
    const seen = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    const what = at.getAttribute("href") ?? at.id ?? "";
    return {tag: at.tagName, what, text: at.textContent.slice(0, 40), seen, marked};
}"""
OPERABLE: Final = "a[href], button, input, select, textarea, summary, [tabindex='0']"


def tabbed(page: Page, most: int = 400) -> Iterator[dict[str, Any]]:
    """Press Tab until the page is left, or begins again; yield what has the focus."""
    for n in range(most):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None or (n and found["what"] == "#main"):
            return
        yield found
    raise AssertionError("the keyboard is trapped")


@pytest.mark.parametrize("name", ["home", "holder", "system", "log-older", "verify", "lookup", "proves"])
@pytest.mark.parametrize("width", [320, 1280])
def test_everything_is_reached_by_keyboard_and_seen_there(
    visitor: Page, sites: dict[str, Served], name: str, width: int
) -> None:
    """Tab after Tab: each operable thing once, in the page's order, in view, with its focus marked."""
    visitor.set_viewport_size({"width": width, "height": 800})
    visitor.goto(address(sites, "rich", RICH[name]))
    visitor.wait_for_function("document.documentElement.classList.contains('js')")
    found = list(tabbed(visitor))
    operable = visitor.locator(OPERABLE).evaluate_all("(all) => all.filter((each) => each.checkVisibility()).length")

    assert found[0]["what"] == "#main"
    assert [each for each in found if not (each["seen"] and each["marked"])] == []
    assert len(found) == operable


def test_the_skip_link_leads_to_the_content(visitor: Page, sites: dict[str, Served]) -> None:
    """First of all, past the navigation; the next Tab is inside."""
    visitor.goto(f"{sites['rich'].url}/browse/holders/acme.example")
    visitor.keyboard.press("Tab")
    expect(visitor.locator(".skip")).to_be_in_viewport()
    visitor.keyboard.press("Enter")
    expect(visitor.locator("#main")).to_be_focused()
    visitor.keyboard.press("Tab")

    assert visitor.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_navigation_search_and_details_work_by_keyboard(visitor: Page, sites: dict[str, Served]) -> None:
    """To the companies, to one of them by its name, and its numbers opened."""
    visitor.goto(sites["rich"].url + "/")
    visitor.locator("nav a", has_text="Companies").focus()
    visitor.keyboard.press("Enter")
    expect(visitor.locator("h1")).to_have_text("Companies")
    visitor.locator("#q").focus()
    visitor.keyboard.type("many systems")
    visitor.keyboard.press("Enter")
    expect(visitor.locator("[role=status]")).to_contain_text("1 found for")
    visitor.locator("tbody a").focus()
    visitor.keyboard.press("Enter")
    expect(visitor.locator("h1")).to_have_text("Many Systems plc")
    visitor.locator("summary").focus()
    visitor.keyboard.press("Enter")
    expect(visitor.locator("details table")).to_be_visible()
    judge(visitor, "holder-numbers")


def test_digests_are_copied_whole(visitor: Page, sites: dict[str, Served]) -> None:
    """By the button, with a key; and by selecting what is cut off only to the eye."""
    rich = sites["rich"]
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=rich.url)
    visitor.goto(f"{rich.url}/browse/log")
    root = rich.node.browse.log()["root"]
    button = visitor.get_by_role("button", name="Copy root").first
    button.focus()
    visitor.keyboard.press("Enter")
    expect(button).to_have_class("copy done")

    assert visitor.evaluate("navigator.clipboard.readText()") == root
    visitor.context.clear_permissions()
    code = visitor.locator(".digest code").first
    assert code.evaluate("(each) => each.scrollWidth > each.clientWidth")  # it is cut off
    code.click(click_count=3)
    assert visitor.evaluate("getSelection().toString().trim()") == root
    visitor.evaluate("getSelection().removeAllRanges()")
    visitor.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    button.click()
    assert visitor.evaluate("getSelection().toString()") == root


def test_exact_times_are_shown_on_demand(visitor: Page, sites: dict[str, Served]) -> None:
    """For those who cannot point at a time: every one of them in UTC to the second, and back."""
    visitor.set_viewport_size({"width": 320, "height": 900})
    visitor.goto(address(sites, "rich", RICH["system"]))
    times = visitor.locator("time")
    before = times.all_text_contents()
    toggle = visitor.get_by_role("button", name="Show exact times, in UTC")
    toggle.focus()
    visitor.keyboard.press("Enter")
    exact = times.all_text_contents()
    fit(visitor)
    visitor.keyboard.press("Enter")

    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each) for each in exact)
    assert times.all_text_contents() == before != exact


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("Europe/Berlin", "UTC+1"),
        ("Asia/Kathmandu", "UTC+5:45"),
        ("America/St_Johns", "UTC−3:30"),
        ("Pacific/Kiritimati", "UTC+14"),
        ("Africa/Abidjan", "UTC"),
    ],
)
def test_times_are_in_the_readers_zone_with_the_exact_value_at_hand(
    browser: Browser, sites: dict[str, Served], place: str, name: str
) -> None:
    """Everybody reads their own clock; the title has UTC and Unix seconds."""
    rich = sites["rich"]
    at = rich.node.view.record.time
    there = datetime.fromtimestamp(at, ZoneInfo(place))
    exact = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    # Winter and summer: what the zone is called depends on the moment.
    if there.dst():
        name = {"UTC+1": "UTC+2", "UTC−3:30": "UTC−2:30"}[name]
    context = browser.new_context(locale="de-DE", timezone_id=place)
    page = context.new_page()
    page.goto(rich.url + "/")
    shown = page.locator("section[aria-labelledby=newest] time").first

    expect(shown).to_have_attribute("datetime", exact)
    expect(shown).to_have_attribute("title", f"{exact}, Unix time {at}")
    expect(shown).to_have_text(f"{there.day} {there:%b %Y, %H:%M} {name}")
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_statement_is_checked_in_the_browser(visitor: Page, sites: dict[str, Served], kind: str) -> None:
    """Its id, its signature, its place in the tree, and who signed that tree."""
    watch = Watch(visitor)
    visitor.goto(address(sites, "rich", f"kind:{kind}"))
    visitor.click("#check button")
    expect(visitor.locator("#check button")).to_have_text("Check again", timeout=20_000)

    assert visitor.locator("#check .steps li").evaluate_all("(all) => all.map((li) => li.className)") == ["ok"] * 5
    expect(visitor.locator("#check .steps li").last).to_contain_text("the log, and")
    if kind == "hold/1":
        visitor.locator("summary").click()
        judge(visitor, "statement-checked")
    watch.check()


def test_a_statement_that_was_changed_on_the_way_is_noticed(visitor: Page, sites: dict[str, Served]) -> None:
    """One bit of it: the page says which step failed."""
    visitor.goto(address(sites, "rich", "kind:hold/1"))

    def change(route: Any) -> None:
        answer = route.fetch()
        body = bytearray(answer.body())
        body[-1] ^= 1
        route.fulfill(response=answer, body=bytes(body))

    visitor.route("**/statement", change)
    visitor.click("#check button")
    expect(visitor.locator("#check button")).to_have_text("Try again")
    visitor.unroute_all()

    expect(visitor.locator("#check .steps li.bad")).to_contain_text("the one with this id")


# --- without scripts ---


@pytest.fixture(scope="module")
def reader(browser: Browser) -> Iterator[Page]:
    """Somebody whose browser runs no scripts."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 900})
    yield context.new_page()
    context.close()


def plain(page: Page) -> str:
    """Return what can be read in the main part, but for times, which scripts write in the reader's zone."""
    return str(
        page.evaluate(
            """() => {
                const copy = document.querySelector("main").cloneNode(true);
                for (const each of copy.querySelectorAll("time, noscript, #check")) each.remove();
                return copy.textContent.replace(/\\(.* ago\\)/g, "").replace(/\\s+/g, " ");
            }"""
        )
    )


@pytest.mark.parametrize(
    "name", ["home", "holder", "holder-many", "system", "entries", "log", "proves", "holders-found"]
)
def test_pages_say_everything_without_scripts(reader: Page, visitor: Page, sites: dict[str, Served], name: str) -> None:
    """The same words; times in UTC; nothing that only a script could operate."""
    url = address(sites, "rich", RICH[name])
    reader.goto(url)
    visitor.goto(url)

    assert plain(reader) == plain(visitor)
    assert len(plain(reader)) > 200
    assert all(re.search(r"UTC$|^\d+ \w{3,4} \d{4}$", each) for each in reader.locator("main time").all_text_contents())
    expect(reader.locator("button.copy:visible")).to_have_count(0)
    details = reader.locator("details")
    if details.count():
        reader.locator("summary").first.click()
        expect(details.first.locator("tbody, ul, ol").first).to_be_visible()


@pytest.mark.parametrize(
    ("name", "words"),
    [("verify", "attest verify FILE"), ("lookup", "attest prove FILE"), ("verify-alone", "attest verify FILE")],
)
def test_pages_that_need_scripts_say_how_else(reader: Page, sites: dict[str, Served], name: str, words: str) -> None:
    """The command of the program, and no form that could be filled in for nothing."""
    reader.goto(address(sites, "rich", RICH[name]))

    expect(reader.locator("noscript .banner")).to_contain_text(words)
    expect(reader.locator("noscript .banner")).to_be_visible()
    expect(reader.locator(".checker")).to_be_hidden()


def test_a_statement_needs_no_script_to_be_read_and_downloaded(reader: Page, sites: dict[str, Served]) -> None:
    """Words, fields, key, position, proof; the button that checks is not there."""
    reader.goto(address(sites, "rich", "kind:tombstone/1"))
    expect(reader.locator("main")).to_contain_text("purged by destroying the encryption key")
    expect(reader.locator("#check")).to_be_hidden()
    with reader.expect_download() as download:
        reader.click("text=The statement, as it was signed")
    assert download.value.path().read_bytes()[:2] == b"\xd2\x84"
