"""Show our logs and our witness to programs that others wrote: `make interop`.

What they said goes to var/interop.json; the tables of docs/interop.md must say the same, or this fails.
"""

import argparse
import difflib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from tools.interop import install, readers
from tools.interop.asked import let_others_ask
from tools.interop.asking import ask_all
from tools.interop.cosigned import show_cosigned
from tools.interop.install import HOME, ROOT, Failed
from tools.interop.report import Report, page_with
from tools.interop.verdicts import compare_verdicts
from tools.interop.world import world

PAGE: Final = ROOT / "docs/interop.md"
RESULTS: Final = ROOT / "var/interop.json"
WORK: Final = HOME / "work"


def main() -> int:
    """Install, show, report; 0 if everything went as the page says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write-page", action="store_true", help=f"write what was found into {PAGE.name}")
    options = parser.parse_args()
    # Our client's own log: what it finds is what is checked here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Commands are started often, and nothing is to be left in the product's environment.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(HOME / "pycache")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here is ended
    report = Report()
    seconds: dict[str, float] = {}
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    try:
        show_all(report, seconds)
    except Failed as error:
        return say(f"interop: {error}")
    report.write(RESULTS, seconds)
    for tool in report.tools:
        print(f"{tool.name:<40} {tool.version:<40} {sum(check.ok for check in tool.checks)} of {len(tool.checks)}")
    print(", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()) + f"; {RESULTS.relative_to(ROOT)}")
    if failures := report.failures():
        return say("interop: not as it should be:\n" + "\n".join(failures))
    return compare(report, write=options.write_page)


def show_all(report: Report, seconds: dict[str, float]) -> None:
    """Install what is missing while the logs are made, then show them."""

    def timed(name: str, work: Callable[[], None]) -> None:
        start = time.monotonic()
        work()
        seconds[name] = time.monotonic() - start

    timed("python tools", install.install_python)
    # The Go programs take a while, and making a log is mostly waiting for epochs.
    building = Background(lambda: timed("go tools", install.install_go))
    start = time.monotonic()
    with world(WORK) as shown:
        seconds["logs"] = time.monotonic() - start
        building.join()
        timed("reading", lambda: readers.read_all(report, shown))
        timed("asking others", lambda: ask_all(report, shown, WORK / "asking"))
        timed("others asking", lambda: let_others_ask(report, shown, WORK / "asked"))
        timed("verdicts", lambda: compare_verdicts(report, shown))
        timed("cosigned", lambda: show_cosigned(report, shown, WORK / "cosigned"))


class Background(threading.Thread):
    """A thread whose error comes out where it is joined."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Work."""
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def join(self, timeout: float | None = None) -> None:
        """Wait, and raise what went wrong."""
        super().join(timeout)
        if self._error is not None:
            raise self._error


def compare(report: Report, *, write: bool) -> int:
    """Compare the page with what was found, or write it."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = page_with(page, report.tables())
    if write:
        PAGE.write_text(wanted, encoding="utf-8")
    elif page != wanted:
        lines = difflib.unified_diff(
            page.split("\n"), wanted.split("\n"), str(PAGE.relative_to(ROOT)), "found", lineterm=""
        )
        return say("interop: the page says otherwise; `make interop-page` writes it\n" + "\n".join(lines))
    return 0


def say(message: str) -> int:
    """Tell a person; return the exit code for that."""
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
