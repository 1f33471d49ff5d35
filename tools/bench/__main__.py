"""Measure everything: a table on stdout, the figures as JSON in var/bench.json.

Each module has `run() -> list[dict]` with name, value, unit and, from the same run, a peer or a limit beside it.
"""

import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

MODULES = (
    "trees", "vrf", "statemap", "audit", "party", "verify", "holder", "service", "witness", "state_witness",
    "witnessing", "web", "pages",
)  # fmt: skip


def main(names: list[str]) -> int:
    """Run the named modules, or all."""
    results: list[dict[str, Any]] = []
    for name in names or MODULES:
        print(f"# {name}", flush=True)
        start = time.perf_counter()
        for result in importlib.import_module(f"tools.bench.{name}").run():
            results.append({"module": name, **result})
            print(row(result), flush=True)
        print(f"  ({time.perf_counter() - start:.0f} s)\n", flush=True)
    out = Path("var/bench.json")
    out.parent.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    out.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    print(f"written: {out}")
    return 0


def row(result: dict[str, Any]) -> str:
    """Return one line of the table."""
    line = f"  {result['name']:<52} {figure(result['value']):>12} {result['unit']}"
    if result.get("peer"):
        line += f"   | {result['peer']}: {figure(result['peer_value'])}"
    if result.get("ratio"):
        line += f" (x {result['ratio']:.2f})"
    if result.get("note"):
        line += f"\n      {result['note']}"
    return line


def figure(value: float) -> str:
    """Return a number with three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
