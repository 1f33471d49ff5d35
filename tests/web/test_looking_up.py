"""The page that looks somebody up: with real keepsakes of a real company, from a real log."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, Route, expect

from attest.formats.keepsake import Keepsake
from attest.formats.policy import Policy
from attest.ledger.verify import Question, verify
from tests.web.conftest import ROOT, Watch
from tests.web.test_pages import judge
from tests.web.worlds import ADA, BOB, EVE, GONE, Served
from tools.interop.second import published

VECTORS: Final = ROOT / "tests/vectors/bundle"
BUNDLE: Final = next(case["bundle"] for case in published() if case["desc"] == "a certificate")
# What the rich log's company says of each: tests/web/worlds.py.
STANDING: Final = {
    ADA: {
        "calls": "not-indexed",
        "crm": "erased",
        "legacy": "empty",
        "search": "erased",
        "tape": "erased",
        "vault": "empty",
    },
    BOB: {"calls": "not-indexed", "crm": "held", "legacy": "erased", "search": "held", "tape": "held"},
    EVE: {"calls": "not-indexed", "crm": "held", "legacy": "empty", "search": "never-committed"},
}


class Asking:
    """The page, and what it asks."""

    def __init__(self, page: Page, site: Served) -> None:
        self.page, self.site = page, site
        self.requests: list[tuple[str, str, str | None]] = []  # method, address, body
        self._note = lambda request: self.requests.append((request.method, request.url, request.post_data))

    def open(self) -> None:
        self.page.goto(f"{self.site.url}/lookup", wait_until="networkidle")
        self.page.on("request", self._note)

    def close(self) -> None:
        self.page.remove_listener("request", self._note)
        self.page.unroute_all()

    def give(self, keepsake: bytes) -> None:
        """Pick a file."""
        self.page.set_input_files(
            "#keepsake", {"name": "my.keepsake", "mimeType": "application/json", "buffer": keepsake}
        )

    def ask(self) -> None:
        """Press the button and wait for what comes."""
        self.page.click("#ask button")
        self.page.locator("#verdict .outcome").wait_for()

    def complaint(self) -> str:
        """Return what the page says if it cannot go on."""
        return self.page.locator("#verdict .usage").inner_text()


@pytest.fixture
def asking(visitor: Page, sites: dict[str, Served]) -> Iterator[Callable[[str], Asking]]:
    """Open the page of a site; it may log no error but what a test expects."""
    opened: list[Asking] = []

    def go(site: str) -> Asking:
        found = Asking(visitor, sites[site])
        found.open()
        opened.append(found)
        return found

    yield go
    for each in opened:
        each.close()


def kept(sites: dict[str, Served], person: str) -> bytes:
    """Return the keepsake that somebody got while they were held."""
    keepsakes = sites["rich"].keepsakes
    assert keepsakes is not None
    return keepsakes[person]


@pytest.mark.parametrize("person", STANDING)
def test_every_system_is_answered_in_plain_words(
    asking: Callable[[str], Asking], sites: dict[str, Served], visitor: Page, person: str
) -> None:
    """Held, erased, never committed, not indexed so: as the company's own statements have it, checked in the page."""
    watch = Watch(visitor)
    at = asking("rich")
    at.give(kept(sites, person))
    expect(visitor.locator("#keepsake-name")).to_contain_text(f"email:{person}, at acme.example")
    expect(visitor.locator("#ask")).to_contain_text("will see that these pseudonyms belong together")
    before = len(at.requests)
    at.ask()
    watch.check()
    items = visitor.locator(".answers li")
    found = dict(items.evaluate_all("(all) => all.map((li) => [li.dataset.system, li.dataset.result])"))
    words = {each.split("\n")[0] for each in items.all_inner_texts()}

    assert before == 0  # the file alone asks for nothing
    assert {**found, **STANDING[person]} == found
    assert words <= {"Held", "Erased", "Never committed", "Empty", "Not indexed by this"}
    assert all(visitor.locator(".steps li").evaluate_all("(all) => all.map((li) => li.dataset.step !== '')"))
    headings = {ADA: "Not all of it can be answered with this identifier", BOB: "You are held", EVE: "You are held"}
    expect(visitor.locator(".outcome h2")).to_have_text(headings[person])
    judge(visitor, f"lookup-{person.partition('@')[0]}")
    for system, result in STANDING[person].items():
        item = visitor.locator(f".answers li[data-system={system}]")
        expect(item.locator("a").first).to_have_attribute("href", f"/browse/holders/acme.example/systems/{system}")
        if result == "erased":
            seals = item.locator("time").evaluate_all("(all) => all.map((each) => each.dateTime)")
            assert len(seals) in (1, 2) and seals == sorted(seals)
            at_entry = item.locator("a[href^='/browse/entries/']").get_attribute("href")
            assert at_entry is not None
            entry = sites["rich"].node.browse.entry(int(at_entry.rpartition("/")[2]))
            assert entry is not None
            assert entry.record.kind == "tombstone/1"


def test_who_it_is_never_leaves(asking: Callable[[str], Asking], sites: dict[str, Served]) -> None:
    """Of the whole look-up, one request has a body, and that has the holder's id and one index for each system."""
    at = asking("rich")
    at.give(kept(sites, ADA))
    at.ask()
    company = sites["rich"].company
    assert company is not None
    systems = ("calls", "crm", "legacy", "search", "tape", "vault")
    bodies = [json.loads(body) for _, _, body in at.requests if body is not None]
    indexes = {system: company.index(ADA, system).hex() for system in systems}
    said = " ".join(f"{method} {url} {body or ''}" for method, url, body in at.requests)

    assert bodies == [{"holder": "acme.example", "locators": [indexes]}]
    # Sixty hexadecimal digits spell "ada" by chance now and then.
    for index in indexes.values():
        said = said.replace(index, "")
    assert not any(word in said.lower() for word in ("ada", "@", "%40", "email"))
    assert Keepsake.parse(kept(sites, ADA)).vrf_key.hex() not in said


def test_a_system_registered_in_between_is_asked_for_too(
    asking: Callable[[str], Asking], sites: dict[str, Served], visitor: Page
) -> None:
    """The log refuses the first question with 409; the page asks again, and shows the answer."""
    at = asking("rich")
    posts: list[str] = []

    def refuse_once(route: Route) -> None:
        posts.append(route.request.post_data or "")
        if len(posts) == 1:
            problem = {"title": "Rejected", "status": 409, "detail": "a system is missing", "code": "lookup/systems"}
            route.fulfill(status=409, content_type="application/problem+json", body=json.dumps(problem))
        else:
            route.continue_()

    visitor.route("**/proofs/lookup", refuse_once)
    at.give(kept(sites, GONE))
    at.ask()

    assert len(posts) == 2
    expect(visitor.locator(".outcome.holds h2")).to_have_text("No live entry about you")


@pytest.mark.parametrize(("status", "posts"), [(503, 1), (429, 1), (409, 4)])
def test_a_log_that_does_not_answer_is_told_with_when_to_try_again(
    asking: Callable[[str], Asking], sites: dict[str, Served], visitor: Page, status: int, posts: int
) -> None:
    """Nothing is concluded; the button can be pressed again, and then it works. Not for ever does it ask by itself."""
    at = asking("rich")
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        problem = {"detail": "the log is <b>busy</b>", "code": "x/y", "hint": "wait"}
        headers = {"Retry-After": "7", "Content-Type": "application/problem+json"}
        route.fulfill(status=status, headers=headers, body=json.dumps(problem))

    visitor.route("**/proofs/lookup", refuse)
    at.give(kept(sites, GONE))
    at.ask()

    assert "the log is <b>busy</b>; wait; try again in 7 s" in at.complaint()
    assert len(asked) == posts
    visitor.unroute_all()
    visitor.click("#ask button")
    expect(visitor.locator("#verdict .outcome")).to_have_attribute("data-outcome", "holds")


def test_a_log_that_cannot_be_reached_is_not_a_wrong_question(
    asking: Callable[[str], Asking], sites: dict[str, Served], visitor: Page
) -> None:
    """It is said so in words, and asked again when somebody says so."""
    at = asking("rich")
    visitor.route("**/proofs/lookup", lambda route: route.abort())
    at.give(kept(sites, GONE))
    at.ask()

    assert "The log does not answer this now" in at.complaint()
    assert "It cannot be reached" in at.complaint()
    visitor.unroute_all()
    at.ask()
    expect(visitor.locator("#verdict .outcome.holds")).to_be_visible()


def test_a_bundle_is_told_from_a_keepsake(
    asking: Callable[[str], Asking], sites: dict[str, Served], visitor: Page
) -> None:
    """A wrong file after a good one leaves nothing of the good one on the page."""
    at = asking("rich")
    at.give(kept(sites, ADA))
    expect(visitor.locator("#keepsake-name")).to_contain_text(ADA)
    at.give(BUNDLE)

    expect(visitor.locator("#verdict h2")).to_have_text("Nobody can be looked up with this file")
    assert "This is a bundle" in at.complaint()
    expect(visitor.locator("#keepsake-name")).to_have_text("")
    expect(visitor.locator("#ask")).to_be_hidden()


def test_a_lie_of_the_server_is_refuted(
    asking: Callable[[str], Asking], sites: dict[str, Served], visitor: Page
) -> None:
    """An answer in which a state is hidden does not verify, and the page says where."""
    at = asking("rich")

    def lie(route: Route) -> None:
        answer = route.fetch()
        parts: dict[str, Any] = answer.json()
        for state in parts["states"]:
            state["state"] = None
        route.fulfill(response=answer, body=json.dumps(parts))

    visitor.route("**/proofs/lookup", lie)
    at.give(kept(sites, BOB))
    at.ask()

    expect(visitor.locator("#verdict .outcome")).to_have_attribute("data-outcome", "refuted")
    expect(visitor.locator(".steps li.bad")).to_have_count(1)


def test_a_log_that_names_no_such_holder_says_so(asking: Callable[[str], Asking], sites: dict[str, Served]) -> None:
    """The keepsake is of a holder that this server does not know."""
    at = asking("empty")
    at.give(kept(sites, ADA))
    at.ask()

    assert "acme.example is not admitted to this log" in at.complaint()
    judge(at.page, "lookup-unknown")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("other", "of another log"),
        ("truncated", ""),
        ("forged", ""),
        ("empty", ""),
        ("picture", ""),
    ],
)
def test_what_is_no_keepsake_of_this_log_is_refused_before_anything_is_asked(
    asking: Callable[[str], Asking], sites: dict[str, Served], visitor: Page, what: str, words: str
) -> None:
    """Another log's, a broken one, one whose proof does not fit, an empty file, a picture."""
    good = json.loads(kept(sites, ADA))
    files = {
        "other": (VECTORS / "other-log.keepsake").read_bytes(),
        "truncated": kept(sites, ADA)[:-20],
        "forged": json.dumps({**good, "locator": "email:bob@example.org"}).encode(),
        "empty": b"",
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(500),
    }
    at = asking("rich")
    at.give(files[what])
    visitor.locator("#verdict .usage").wait_for()

    assert words in at.complaint()
    expect(visitor.locator("#ask")).to_be_hidden()
    assert at.requests == []


def test_the_proof_can_be_kept_and_verified_by_the_program(
    asking: Callable[[str], Asking], sites: dict[str, Served], visitor: Page, tmp_path: Path
) -> None:
    """What the page saves is a bundle that `attest verify` finds good."""
    at = asking("rich")
    at.give(kept(sites, GONE))
    at.ask()
    with visitor.expect_download() as download:
        visitor.click("text=Keep this proof")
    saved = tmp_path / "lookup.bundle"
    download.value.save_as(saved)
    world = sites["rich"].world
    config = world.config
    state = Policy.parse(config.path(config.state_policy).read_bytes())
    question = Question(
        policy=world.policy,
        state_policy=state,
        now=int(world.clock()) + 1,
        holder="beta.example",
        locators=(f"email:{GONE}",),
    )
    verdict = verify(saved.read_bytes(), question)

    assert download.value.suggested_filename == "lookup.bundle"
    assert (verdict.outcome, verdict.claim, verdict.anchor) == ("holds", "excluded", "state-checked")
    expect(visitor.locator("#verdict")).to_contain_text(f"Level {verdict.level}")
