"""The page that verifies: what it says is what `attest verify` says, nothing leaves it, and it works from a file."""

import base64
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from attest.api import words
from tests.verify.world import World as SmallWorld
from tests.web.conftest import Watch
from tests.web.second import ROOT, ours
from tests.web.test_pages import judge
from tests.web.worlds import LONG, Served
from tools.interop.second import published

AGES: Final = (86_400, 604_800, 2_678_400, 31_622_400, 3_162_240_000)  # that the page offers
ADA: Final = "email:ada@example.org"
STEPS: Final = 14


def _chosen() -> list[dict[str, Any]]:
    """Choose published cases that the page can be asked: one per outcome, level, area of reasons, use of a keepsake."""
    found: dict[Any, dict[str, Any]] = {}
    for case in published():
        asked = case["question"]
        verdict = ours(case)
        if verdict["outcome"] == "usage" or asked["expect"] is not None or asked["max_age"] not in AGES:
            continue
        area, _, _ = verdict["code"].partition("/")
        sort = (verdict["outcome"], area, verdict["level"], case["keepsake"] is not None)
        found.setdefault(sort, {**case, "verdict": verdict})
    return list(found.values())


CASES: Final = _chosen()
CERTIFICATE: Final = next(case for case in published() if case["desc"] == "a certificate")


@pytest.fixture
def checker(visitor: Page, sites: dict[str, Served]) -> Iterator[Page]:
    """The page, freshly loaded; it must ask for nothing any more, log no error and throw none."""
    visitor.goto(f"{sites['rich'].url}/verify", wait_until="networkidle")
    watch, asked = Watch(visitor), list[str]()
    note = lambda request: None if request.url.startswith("blob:") else asked.append(request.url)  # noqa: E731
    visitor.on("request", note)
    yield visitor
    visitor.remove_listener("request", note)
    watch.check()
    assert asked == []


def fill(page: Page, asked: dict[str, Any], keepsake: bytes | None) -> None:
    """Type a question in."""
    page.clock.set_fixed_time(asked["now"])
    if keepsake is not None:
        page.set_input_files("#keepsake", {"name": "k", "mimeType": "application/json", "buffer": keepsake})
        expect(page.locator("#locators")).not_to_have_value("")
    page.fill("#holder", asked["holder"] or "")
    page.fill("#locators", "\n".join(asked["locators"]))
    if not page.is_visible("#policy"):
        page.click("summary")
    page.fill("#policy", asked["policy"])
    page.fill("#state-policy", asked["state_policy"] or "")
    page.select_option("#level", asked["level"])
    page.select_option("#age", str(asked["max_age"]))


def give(page: Page, bundle: bytes, *, drop: bool = False) -> None:
    """Give it a bundle: picked, or dropped on it."""
    if drop:
        transfer = page.evaluate_handle(
            """(encoded) => {
                const bytes = Uint8Array.from(atob(encoded), (each) => each.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], "dropped.bundle"));
                return transfer;
            }""",
            base64.b64encode(bundle).decode(),
        )
        page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
        page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    else:
        page.set_input_files("#bundle", {"name": "picked.bundle", "mimeType": "application/json", "buffer": bundle})
    expect(page.locator("#bundle-name")).to_contain_text(f"{len(bundle):,} bytes")


def verdict_of(page: Page) -> dict[str, Any]:
    """Press the button; return what the page shows."""
    page.click("#checker button[type=submit]")
    box = page.locator("#verdict .outcome")
    box.wait_for()
    level = re.search(r"Level ([A-Z]\d)", box.inner_text())
    return {
        "outcome": box.get_attribute("data-outcome"),
        "code": box.get_attribute("data-code"),
        "level": level[1] if level else "",
        "steps": page.locator("#verdict .steps li").evaluate_all(
            "(all) => all.map((li) => [li.dataset.step, li.className === 'ok', li.dataset.code])"
        ),
    }


def told(verdict: dict[str, Any]) -> dict[str, Any]:
    """Return what `attest verify` says, as far as the page shows it."""
    return {
        **{name: verdict[name] for name in ("outcome", "code")},
        "level": verdict["level"] or "",
        "steps": [[step["name"], step["ok"], step["code"]] for step in verdict["steps"]],
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["desc"].replace(" ", "-"))
def test_the_verdict_is_that_of_the_program(checker: Page, case: dict[str, Any]) -> None:
    """Outcome, code, level and every step, for one published bundle of each sort, good and bad."""
    give(checker, case["bundle"])
    fill(checker, case["question"], case["keepsake"])

    assert verdict_of(checker) == told(case["verdict"])


def test_whoever_stands_behind_the_checkpoint_is_named(checker: Page) -> None:
    """Witnesses, and those that checked every change, on whom level A3 rests."""
    case = next(case for case in published() if case["desc"] == "state-checked: certificate")
    give(checker, case["bundle"])
    fill(checker, case["question"], None)
    verdict_of(checker)

    expect(checker.locator("#verdict .facts").first).to_contain_text(
        "Witnesseswit.example/1State witnessesstate.example/1"
    )


def test_what_the_company_did_is_told_in_words(checker: Page) -> None:
    """The same that the page of its statement has."""
    source = (ROOT / "web/static/verdict.js").read_text()
    for name, wanted in (("METHODS", words.METHODS), ("LEVELS", words.LEVELS)):
        found = re.search(rf"^const {name} = {{\n(.*?)^}};", source, flags=re.M | re.S)
        assert found is not None
        assert dict(re.findall(r'^  "?([a-z_:]+?)"?: "(.*)",$', found[1], flags=re.M)) == wanted

    give(checker, CERTIFICATE["bundle"])
    fill(checker, CERTIFICATE["question"], None)
    verdict_of(checker)

    expect(checker.get_by_label("From hold to deletion")).to_contain_text(
        "marked as deleted; not checked afterwards. Ground: gdpr:17(1)(d)."
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("#locators", "email:somebody@else.example"), ("#holder", "rival.example"), ("#policy", ""), ("#bundle", None)],
)
def test_a_verdict_does_not_stay_beside_another_question(checker: Page, field: str, value: str | None) -> None:
    """As soon as file or question change, nothing is said any more, and nothing can be printed."""
    give(checker, CERTIFICATE["bundle"])
    fill(checker, CERTIFICATE["question"], None)
    assert verdict_of(checker)["outcome"] == "holds"
    if value is None:
        give(checker, CERTIFICATE["bundle"][:-40])
        expect(checker.locator("#verdict h2")).to_have_text("This is not a bundle")
    else:
        checker.fill(field, value)
        expect(checker.locator("#verdict")).to_be_hidden()

    expect(checker.locator("#verdict .holds, #verdict .actions")).to_have_count(0)


def test_whoever_is_named_twice_is_asked_about_once(checker: Page) -> None:
    """As `attest verify` does, however often an identifier is given."""
    give(checker, CERTIFICATE["bundle"])
    fill(checker, CERTIFICATE["question"], None)
    checker.fill("#locators", "\n".join([*CERTIFICATE["question"]["locators"] * 2, " "]))

    assert verdict_of(checker) == told(ours(CERTIFICATE))


def test_files_may_be_dropped_together_and_beside_the_box(checker: Page) -> None:
    """A bundle with its keepsake; two bundles are too many, and said to be."""
    case = next(each for each in CASES if each["keepsake"] is not None and each["verdict"]["outcome"] == "holds")
    drop = """(encoded) => {
        const transfer = new DataTransfer();
        for (const each of encoded) {
            const bytes = Uint8Array.from(atob(each), (sign) => sign.charCodeAt(0));
            transfer.items.add(new File([bytes], "dropped.json"));
        }
        return transfer;
    }"""
    both = [base64.b64encode(each).decode() for each in (case["keepsake"], case["bundle"])]
    checker.dispatch_event("h1", "drop", {"dataTransfer": checker.evaluate_handle(drop, both)})
    expect(checker.locator("#bundle-name")).to_contain_text("dropped.json")
    expect(checker.locator("#locators")).not_to_have_value("")
    assert checker.evaluate(
        "[document.querySelector('#bundle'), document.querySelector('#keepsake')].map((each) => each.files.length)"
    ) == [1, 1]

    checker.dispatch_event("h1", "drop", {"dataTransfer": checker.evaluate_handle(drop, [both[1], both[1]])})
    expect(checker.locator("#verdict h2")).to_have_text("Too many files")


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 no bundle", b"{}", b'{"format":"attest-bundle/1"}'])
def test_what_is_no_bundle_is_told_at_once(checker: Page, content: bytes) -> None:
    """Before a question has to be invented for it."""
    checker.set_input_files("#bundle", {"name": "x.bundle", "mimeType": "application/json", "buffer": content})

    expect(checker.locator("#verdict h2")).to_have_text("This is not a bundle")


def test_whoever_comes_back_finds_the_file_taken(visitor: Page, sites: dict[str, Served]) -> None:
    """A browser keeps what was chosen; the page does not forget it beside that."""
    visitor.goto(f"{sites['rich'].url}/verify", wait_until="networkidle")
    give(visitor, CERTIFICATE["bundle"])
    visitor.goto(f"{sites['rich'].url}/proves")
    visitor.go_back(wait_until="networkidle")

    chosen = visitor.evaluate("document.querySelector('#bundle').files.length")
    expect(visitor.locator("#bundle-name")).to_have_text("" if chosen == 0 else re.compile("bytes$"))


def test_all_steps_of_a_good_bundle_are_shown(checker: Page) -> None:
    """Dropped, like picked: all steps, each with its outcome in words, and what is not shown."""
    give(checker, CERTIFICATE["bundle"], drop=True)
    fill(checker, CERTIFICATE["question"], None)
    shown = verdict_of(checker)

    assert len(shown["steps"]) == STEPS
    assert all(ok for _, ok, _ in shown["steps"])
    steps = checker.locator("#verdict .steps li").all_inner_texts()
    assert [text.partition(".")[0] for text in steps] == [str(n + 1) for n in range(STEPS)]
    assert all("Done." in text for text in steps)
    expect(checker.locator("#verdict h2")).to_contain_text(["This holds", "What this does not show"], timeout=1)
    expect(checker.locator("#verdict")).to_be_focused()
    judge(checker, "verdict-holds")


@pytest.mark.parametrize(
    ("what", "code"),
    [("empty", "json/syntax"), ("foreign", None), ("locator", None), ("policy", None), ("flipped", None)],
)
def test_what_is_not_as_it_should_be_is_refused_with_its_reason(checker: Page, what: str, code: str | None) -> None:
    """An empty file, a foreign one, somebody else's locator, another log's policy, one character changed."""
    case = {**CERTIFICATE, "question": dict(CERTIFICATE["question"])}
    if what == "empty":
        case["bundle"] = b""
    elif what == "foreign":
        case["bundle"] = b"%PDF-1.7\n\xff\xfe" + bytes(2000)
    elif what == "locator":
        case["question"]["locators"] = ["email:mallory@example.org"]
    elif what == "policy":
        case["question"]["policy"] = SmallWorld("other.example/log").policy().encode().decode()
    else:
        at = case["bundle"].index(b'"states"') + 200
        while not chr(case["bundle"][at]).isalnum():
            at += 1
        case["bundle"] = (
            case["bundle"][:at] + (b"A" if case["bundle"][at : at + 1] != b"A" else b"B") + case["bundle"][at + 1 :]
        )
    give(checker, case["bundle"], drop=True)
    fill(checker, case["question"], None)
    shown = verdict_of(checker)

    assert shown == told(ours(case))
    assert shown["outcome"] != "holds"
    if what in ("policy", "flipped"):
        judge(checker, f"verdict-{what}")


def test_sixty_mebibytes_of_garbage_are_refused_and_more_are_not_read(checker: Page) -> None:
    """The first as any other file that is none, the second before it is read."""
    size = 60 << 20
    drop = """([size]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(size)], "garbage"));
        const dropped = new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
        document.querySelector("#drop").dispatchEvent(dropped);
    }"""
    checker.evaluate(drop, [size])
    expect(checker.locator("#bundle-name")).to_contain_text(f"{size:,} bytes")
    fill(checker, CERTIFICATE["question"], None)

    assert verdict_of(checker) == told(ours({**CERTIFICATE, "bundle": bytes(size)}))
    checker.evaluate(drop, [65 << 20])
    expect(checker.locator("#verdict .usage")).to_contain_text("at most 64 MiB are read")


def test_a_question_without_a_file_or_with_a_wrong_policy_is_told_so(checker: Page) -> None:
    """Nothing is concluded from it."""
    checker.click("#checker button[type=submit]")
    expect(checker.locator("#verdict .usage")).to_contain_text("Choose a bundle first")
    give(checker, CERTIFICATE["bundle"])
    fill(checker, {**CERTIFICATE["question"], "policy": "quorum <script>"}, None)
    checker.click("#checker button[type=submit]")
    expect(checker.locator("#verdict .usage code")).to_contain_text("policy/")
    assert checker.locator("#verdict script").count() == 0
    judge(checker, "verdict-usage")
    checker.click("#checker button[type=reset]")
    expect(checker.locator("#verdict")).to_be_hidden()
    expect(checker.locator("#bundle-name")).to_be_empty()


def test_the_page_can_talk_to_nobody(visitor: Page, sites: dict[str, Served]) -> None:
    """Its policy stops every way that a script has; even a form that nobody watches goes nowhere."""
    url = sites["rich"].url
    visitor.goto(f"{url}/verify")
    asked: list[str] = []
    visitor.on("response", lambda response: asked.append(response.url))
    tried = visitor.evaluate(
        """async () => {
            const found = {};
            const attempt = async (name, run) => {
                try { found[name] = await run(); } catch (error) { found[name] = "blocked"; }
            };
            await attempt("fetch", () => fetch("/log").then(() => "sent"));
            await attempt("elsewhere", () => fetch("https://example.org/", {mode: "no-cors"}).then(() => "sent"));
            await attempt("xhr", () => new Promise((resolve) => {
                const request = new XMLHttpRequest();
                request.onload = () => resolve("sent");
                request.onerror = () => resolve("blocked");
                request.open("GET", "/log");
                request.send();
            }));
            await attempt("socket", () => new Promise((resolve) => {
                const socket = new WebSocket(`ws://${location.host}/log`);
                socket.onopen = () => resolve("sent");
                socket.onerror = () => resolve("blocked");
            }));
            await attempt("events", () => new Promise((resolve) => {
                const events = new EventSource("/log");
                events.onopen = () => resolve("sent");
                events.onerror = () => resolve("blocked");
            }));
            await attempt("image", () => new Promise((resolve) => {
                const image = new Image();
                image.onload = () => resolve("sent");
                image.onerror = () => resolve("blocked");
                image.src = "/assets/x.png";
            }));
            await attempt("inline", () => {
                const script = document.createElement("script");
                script.textContent = "document.title = 'ran'";
                document.head.append(script);
                return document.title === "ran" ? "ran" : "blocked";
            });
            HTMLFormElement.prototype.submit.call(document.querySelector("form"));
            return found;
        }"""
    )
    visitor.wait_for_timeout(200)

    assert set(tried.values()) == {"blocked"}
    assert asked == []
    assert visitor.url == f"{url}/verify"


# --- paper ---


def printed(page: Page, path: Path) -> list[str]:
    """Print the certificate as its button does; return the text of each page of paper."""
    # A browser without a screen has no dialogue; what the style sheet prints is the same.
    page.evaluate("window.print = () => {}")
    page.click("text=Print the certificate")
    page.pdf(path=path, format="Letter")  # shorter than A4
    encoded = path.read_bytes()
    return re.findall(rb"/Type\s*/Page\b(?!s)", encoded)  # type: ignore[return-value]


def on_paper(page: Page) -> str:
    """Return the text that is printed."""
    page.evaluate("document.documentElement.classList.add('printing')")
    page.emulate_media(media="print")
    try:
        return page.inner_text("body")
    finally:
        page.emulate_media(media="null")


def test_a_certificate_prints_on_one_page(checker: Page, tmp_path: Path) -> None:
    """With the digest of its file, in letters and as a picture, dated, with its level and its limits."""
    give(checker, CERTIFICATE["bundle"])
    fill(checker, CERTIFICATE["question"], None)
    verdict = verdict_of(checker)
    pages = printed(checker, tmp_path / "certificate.pdf")
    text = on_paper(checker)

    assert len(pages) == 1
    assert sha256(CERTIFICATE["bundle"]).hexdigest() in text
    assert f"Level {verdict['level']}" in text
    assert "It does not show" in text
    assert "Verify a proof" not in text
    expect(checker.locator(".certificate svg.qr path")).to_have_attribute("d", re.compile(r"^(M\d+ \d+h1v1h-1z)+$"))


def test_a_long_certificate_prints_on_one_page_too(checker: Page, tmp_path: Path) -> None:
    """Forty systems with the longest names, of a company with the longest name; the rest is in the file."""
    world = SmallWorld()
    company = world.admit("acme.example", LONG)
    names = [f"{n:02}-{'x' * 61}" for n in range(40)]
    world.systems(company, **dict.fromkeys(names, "database"))
    world.epoch()
    for name in names:
        world.hold(company, name, ADA)
    world.epoch()
    world.epoch()
    for name in names:
        world.erase(company, name, ADA)
    world.epoch()
    bundle = json.dumps(world.bundle("certificate", company, ADA)).encode()
    give(checker, bundle)
    asked = {**CERTIFICATE["question"], "policy": world.policy().encode().decode(), "now": world.now + 1}
    fill(checker, asked, None)

    assert verdict_of(checker)["outcome"] == "holds"
    judge(checker, "verdict-long")
    assert len(printed(checker, tmp_path / "long.pdf")) == 1
    text = on_paper(checker)
    assert sha256(bundle).hexdigest() in text
    assert names[0] in text
    assert "and 31 more systems" in text


def test_a_certificate_dates_each_identifier_by_its_own_erasure(checker: Page) -> None:
    """Two identifiers in one system, erased by two statements."""
    world, bob = SmallWorld(), "email:bob@example.org"
    company = world.admit("acme.example")
    world.systems(company, db="database")
    world.hold(company, "db", ADA, bob)
    world.epoch()
    world.epoch()
    erased = []
    for name in (ADA, bob):
        erased.append(world.now)
        world.erase(company, "db", name, erased_at=world.now)
        world.epoch()
    give(checker, json.dumps(world.bundle("certificate", company, ADA, bob)).encode())
    policy = world.policy().encode().decode()
    asked = {**CERTIFICATE["question"], "locators": [ADA, bob], "policy": policy, "now": world.now + 1}
    fill(checker, asked, None)

    assert verdict_of(checker)["outcome"] == "holds"
    shown = checker.locator(".certificate td time").evaluate_all("(all) => all.map((each) => each.title)")
    assert [int(each.rpartition(" ")[2]) for each in shown] == erased


# --- one file ---


def test_the_same_works_from_a_file_without_a_network(
    browser: Browser, sites: dict[str, Served], tmp_path: Path
) -> None:
    """verify.html, saved and opened from disk: same verdicts, nothing asked."""
    saved = tmp_path / "verify.html"
    saved.write_bytes(httpx.get(f"{sites['rich'].url}/verify.html", timeout=60).content)
    context = browser.new_context(offline=True)
    page = context.new_page()
    watch, asked = Watch(page), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(saved.as_uri())
    try:
        for case in (
            {**CERTIFICATE, "verdict": ours(CERTIFICATE)},
            next(each for each in CASES if each["verdict"]["outcome"] == "refuted"),
        ):
            page.reload()
            give(page, case["bundle"], drop=True)
            fill(page, case["question"], case["keepsake"])
            assert verdict_of(page) == told(case["verdict"])
        watch.check()
        assert {each for each in asked if not each.startswith("blob:")} == {saved.as_uri()}
        assert page.evaluate("fetch('file:///etc/hostname').then(() => 'sent', () => 'blocked')") == "blocked"
    finally:
        context.close()


def test_a_slow_telephone_gives_the_same_verdict(checker: Page) -> None:
    """At a quarter of this machine's speed. `tools.bench web` measures how soon such a telephone can use the page."""
    session = checker.context.new_cdp_session(checker)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    try:
        give(checker, CERTIFICATE["bundle"])
        fill(checker, CERTIFICATE["question"], None)

        assert verdict_of(checker) == told(ours(CERTIFICATE))
    finally:
        session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        session.detach()
