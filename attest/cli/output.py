"""The only place that prints, and the only one that knows exit codes. Machines read stdout, people stderr."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING, TypeAlias

import click

from attest.encoding import printable as printable
from attest.errors import AttestError, Conflict, Malformed, Refuted, Untrusted

if TYPE_CHECKING:
    from rich.progress import Progress

OK = 0
UNDECIDED = 1  # I/O, crash, not one of our artefacts, unknown rule set or status
USAGE = 2
REFUTED = 3  # malformed, forged, inconsistent, contradicted; or exclusion asked and not given
PROVISIONAL = 4
NOT_ANCHORED = 5
REPAIRED = 6  # something was wrong, and is right again


_live: "Progress | None" = None  # the bars on the terminal, if there are any


def exit_code(error: AttestError) -> int:
    """Return the exit code for an error that ends a command."""
    if isinstance(error, (Malformed, Refuted, Conflict)):
        return REFUTED
    return NOT_ANCHORED if isinstance(error, Untrusted) else UNDECIDED


def _settle() -> None:
    """Leave the bars as they are and go on below them: a line printed while they are drawn would land in one."""
    if _live is not None:
        _live.stop()


def line(*columns: object) -> None:
    """Print one tab-separated line for machines."""
    _settle()
    click.echo("\t".join(printable(str(column)) for column in columns))


def text(block: str) -> None:
    """Print a block of text on stdout."""
    click.echo("\n".join(map(printable, block.split("\n"))))


def json(value: object) -> None:
    """Print one JSON value on one line."""
    shown = dumps(value, ensure_ascii=False)
    # Only strings have such characters, and there an escape means the same.
    click.echo(shown if shown.isprintable() else "".join(c if c.isprintable() else dumps(c)[1:-1] for c in shown))


def say(message: str) -> None:
    """Tell a person something."""
    _settle()
    click.echo(f"attest: {printable(message)}", err=True)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Tell a person a table: columns aligned, those of numbers to the right."""
    from rich.cells import cell_len  # most commands print none

    shown = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(*shown, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    # The first row may be a heading.
    numbers = [all(cell[:1].isdigit() or cell in ("", "-") for cell in column[1:] or column) for column in columns]
    for row in shown:
        cells = (
            (" " * (width - cell_len(cell)) + cell) if right else cell + " " * (width - cell_len(cell))
            for cell, width, right in zip(row, widths, numbers, strict=True)
        )
        say(("   " + "  ".join(cells)).rstrip())


def error(problem: AttestError) -> None:
    """Tell a person what went wrong, where, and what to do."""
    say(f"{problem.code}: {problem.message}")
    if problem.rows:
        say(f"rows: {', '.join(map(str, problem.rows))}{' …' if len(problem.rows) == 16 else ''}")
    if problem.hint:
        say(f"hint: {problem.hint}")


def is_terminal() -> bool:
    """Tell whether a person watches stderr."""
    return sys.stderr.isatty()


Bars: TypeAlias = Callable[[str, int, int | None], None]
"""Shows of what is being done how much, out of how much; of that, None is not known."""


def _silent(what: str, done: int, total: int | None) -> None:
    """Show nothing."""


@contextmanager
def bars() -> Iterator[Bars]:
    """Show progress on stderr to a person; keep silent in a pipe."""
    if not is_terminal():
        yield _silent
        return
    # Imported where somebody watches: it takes longer than most commands.
    from attest.cli.bars import drawn

    global _live
    with drawn() as (progress, shown):
        _live = progress
        try:
            yield shown
        finally:
            _live = None
