"""The same code in Chromium: the vectors, and what Python says of a part of the mutations."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.web.second import ROOT, differences, ours, recoded, wire
from tools.interop.second import mutated, published

VECTORS = ROOT / "tests/vectors"
MUTATIONS = 150
RECODED = 50


@pytest.fixture
def lab(page: Page, files: str) -> Page:
    """An empty page of the origin that the library is served from."""
    page.goto(f"{files}/tests/web/empty.html")
    return page


def test_every_vector_file_gives_what_it_has_to(lab: Page) -> None:
    """All that Node runs, in a browser."""
    wrong = lab.evaluate(
        """async () => {
            const { failures, RUNNERS } = await import("/web/test/vectors.js");
            const files = {};
            for (const name of Object.keys(RUNNERS)) {
                files[name] = await (await fetch(`/tests/vectors/${name}`)).json();
            }
            return Object.entries(files).flatMap(([name, file]) =>
                failures(name, file, files).map((line) => `${name}: ${line}`));
        }"""
    )

    assert wrong == []


def test_every_published_bundle_gets_its_verdict(lab: Page) -> None:
    """tests/vectors/bundle/cases.json, in a browser."""
    names = [file.name for file in sorted(VECTORS.glob("bundle/*")) if file.suffix in (".bundle", ".keepsake")]

    wrong = lab.evaluate(
        """async (names) => {
            const { difference } = await import("/web/test/bundles.js");
            const get = async (name) => {
                const answer = await fetch(`/tests/vectors/bundle/${name}`);
                return new Uint8Array(await answer.arrayBuffer());
            };
            const files = new Map();
            for (const name of names) files.set(name, await get(name));
            const cases = JSON.parse(new TextDecoder().decode(await get("cases.json")));
            return cases.map((c) => difference(c, (name) => files.get(name))).filter((line) => line !== null);
        }""",
        names,
    )

    assert wrong == []


def test_mutations_get_the_verdict_of_python(lab: Page) -> None:
    """A part of what test_second.py compares under Node."""
    cases = list(published())
    some = [*mutated(cases, MUTATIONS), *recoded(cases, RECODED)]

    said = lab.evaluate(
        """async (lines) => {
            const { judgeLine } = await import("/web/lib/lines.js");
            return lines.map(judgeLine);
        }""",
        [json.dumps(wire(case)) for case in some],
    )

    verdicts: list[dict[str, Any]] = [json.loads(line) for line in said]
    assert [
        f"{case['desc']}: {different}"
        for case, other in zip(some, verdicts, strict=True)
        if (different := differences(ours(case), other))
    ] == []


def test_a_page_draws_while_it_verifies(lab: Page) -> None:
    """verifyAsync tells each step as it is finished, and frames are drawn between them."""
    case = next(case for case in published() if case["desc"] == "a look-up of somebody erased everywhere")

    drawn, verdict = lab.evaluate(
        """async (line) => {
            const { askedOf, bundleOf } = await import("/web/lib/lines.js");
            const { verifyAsync } = await import("/web/lib/verify.js");
            let frames = 0;
            let running = true;
            const tick = () => { frames++; if (running) requestAnimationFrame(tick); };
            requestAnimationFrame(tick);
            const told = [];
            const verdict = await verifyAsync(bundleOf(line), askedOf(line), (step) => told.push([step.name, frames]));
            running = false;
            return [told, verdict];
        }""",
        json.dumps(wire(case)),
    )

    assert [name for name, _ in drawn] == [step["name"] for step in verdict["steps"]]
    assert verdict["outcome"] == "holds"
    assert drawn[-1][1] > drawn[0][1]
