"""How long the site's pages take in process, from a large log.

A million entries take ten minutes to make; ATTEST_BENCH_ENTRIES says another number.
"""

import logging
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

from attest.api import create_app
from tests.biglog import big_world

HOLDERS = 1_000
ENTRIES = int(os.environ.get("ATTEST_BENCH_ENTRIES", "1000000"))
RUNS = 300
MEDIAN_MS, P99_MS = 25, 120
BROWSER = {"Accept": "text/html", "Accept-Encoding": "gzip"}


def run() -> list[dict[str, Any]]:
    """Measure every page, each time of other companies, systems and statements."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder:
        world = big_world(Path(folder) / "log", HOLDERS, ENTRIES)
        try:
            client = create_app(world.node).test_client()
            draw = random.Random(1)  # which pages are asked for, the same in every run
            size = world.node.view.size
            holders = sorted(world.holders)
            results = []
            for name, make in _pages(draw, holders, size).items():
                spent = []
                for _ in range(RUNS):
                    path = make()
                    start = time.perf_counter()
                    answer = client.get(path, headers=BROWSER)
                    spent.append((time.perf_counter() - start) * 1000)
                    if answer.status_code != 200:
                        raise RuntimeError(f"{path}: {answer.status_code}")
                results.append(_result(name, spent, size))
            return results
        finally:
            world.close()


def _pages(draw: random.Random, holders: list[str], size: int) -> dict[str, Any]:
    def system() -> str:
        return draw.choice(("backup-1", "database-1", "processor-1", "search-1", "warehouse-1"))

    return {
        "home": lambda: "/",
        "companies": lambda: f"/browse/holders?after={draw.choice(holders[:-1])}",
        "a search": lambda: f"/browse/holders?q={draw.choice(holders)[8:10]}",
        "a company": lambda: f"/browse/holders/{draw.choice(holders)}",
        "a system": lambda: f"/browse/holders/{draw.choice(holders)}/systems/{system()}",
        "a company's statements": lambda: (
            f"/browse/holders/{draw.choice(holders)}/entries?before={draw.randrange(size)}"
        ),
        "all statements": lambda: f"/browse/entries?before={draw.randrange(2, size)}",
        "a statement": lambda: f"/browse/entries/{draw.randrange(size)}",
        "the log": lambda: f"/browse/log?before={draw.randrange(3, size)}",
        "verify": lambda: "/verify",
    }


def _result(name: str, spent: list[float], size: int) -> dict[str, Any]:
    spent.sort()
    p99 = spent[len(spent) * 99 // 100]
    return {
        "name": f"page from {size:,} entries, {HOLDERS:,} companies: {name}",
        "value": statistics.median(spent),
        "unit": "ms",
        "limit": MEDIAN_MS,
        "p99": p99,
        "note": f"p99 {p99:.1f} ms (at most {P99_MS})",
    }
