"""How long a verdict takes in JavaScript, and how soon a slow telephone can use a page. Nothing is remembered."""

import json
import logging
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import structlog
from playwright.sync_api import Browser

from attest.formats.bundle import Bundle
from tests.web.conftest import chromium, serve
from tests.web.second import NODE, ROOT, wire
from tests.web.worlds import rich, served
from tools.bench.verify import ADA, _world

SYSTEMS = 10
ROWS = 10_000
RUNS = 9
FLOOR_MS = 150
SLOWER = 4
INTERACTIVE_MS = 1000
PAGES = {
    "verify": "/verify",
    "a company of many systems": "/browse/holders/many.example",
    "home": "/",
}

# Modules are loaded and a frame is drawn before the clock starts; the code is as cold as a first verdict finds it.
_TIMED = """
const { askedOf, bundleOf } = await import(`${base}/web/lib/lines.js`);
const { verify } = await import(`${base}/web/lib/verify.js`);
const [bundle, asked] = [bundleOf(line), askedOf(line)];
const start = performance.now();
const verdict = verify(bundle, asked);
const spent = performance.now() - start;
"""


def run() -> list[dict[str, Any]]:
    """Measure a look-up over ten systems under three witnesses and two state witnesses."""
    line = json.dumps(wire(_case()))
    program = f'const base = "file://{ROOT}"; const line = {json.dumps(line)};' + _TIMED
    program += 'if (verdict.outcome !== "holds") throw new Error(verdict.reason); console.log(spent);'
    node = [
        float(
            subprocess.run(
                [NODE, "--input-type=module"], input=program, capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(RUNS)
    ]
    pages = []
    with serve() as origin, chromium() as browser:
        for _ in range(RUNS):
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"{origin}/tests/web/empty.html")
            outcome, spent = page.evaluate(
                f"async (line) => {{ const base = ''; {_TIMED} return [verdict.outcome, spent]; }}", line
            )
            if outcome != "holds":
                raise RuntimeError(f"the bench's own bundle is {outcome}")
            pages.append(spent)
            context.close()
        interactive = _interactive(browser)
    name = f"look-up over {SYSTEMS} systems of {ROWS:,} keys, first verdict"
    return [
        {"name": f"{name}: Chromium", "value": statistics.median(pages), "unit": "ms", "limit": FLOOR_MS},
        {"name": f"{name}: Node", "value": statistics.median(node), "unit": "ms"},
        *interactive,
    ]


def _interactive(browser: Browser) -> list[dict[str, Any]]:
    """Measure from the navigation's start until the page's scripts have run and it answers clicks."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    results = []
    with tempfile.TemporaryDirectory() as folder, serve() as files, served(*rich(Path(folder) / "rich")) as site:
        urls = {name: site.url + path for name, path in PAGES.items()}
        for name, url in {"an empty page": f"{files}/tests/web/empty.html", **urls}.items():
            spent = []
            for _ in range(RUNS):
                context = browser.new_context()
                page = context.new_page()
                page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
                page.goto(url, wait_until="domcontentloaded")
                timing = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
                spent.append(page.evaluate(f"() => {timing}"))
                context.close()
            title = f"page interactive in Chromium, processor {SLOWER} times slower: {name}"
            results.append({"name": title, "value": statistics.median(spent), "unit": "ms", "limit": INTERACTIVE_MS})
    return results


def _case() -> dict[str, Any]:
    world, acme = _world(SYSTEMS, ROWS)
    witnesses, checkers = ("wit.example/1", "wit.example/2", "wit.example/3"), ("check.example/1", "check.example/2")
    world.cosign(world.size, *witnesses, *checkers)
    question = {
        "policy": world.policy(*witnesses, quorum=2).encode().decode(),
        "state_policy": world.policy(*checkers, quorum=2).encode().decode(),
        "holder": acme.id,
        "locators": [ADA],
        "expect": "held",
        "level": "A2",
        "max_age": 86_400,
        "now": world.now + 1,
    }
    bundle = Bundle.from_json(world.bundle("lookup", acme, ADA)).encode()
    return {"question": question, "bundle": bundle, "keepsake": None}
