"""The only place that prints, and the only one that knows exit codes. Machines read stdout, people stderr."""

import sys
from json import dumps

import click

from attest.errors import AttestError, Conflict, Malformed, Refuted, Untrusted

OK = 0
UNDECIDED = 1  # I/O, crash, not one of our artefacts, unknown rule set or status
USAGE = 2
REFUTED = 3  # malformed, forged, inconsistent, contradicted; or exclusion asked and not given
PROVISIONAL = 4
NOT_ANCHORED = 5


def exit_code(error: AttestError) -> int:
    """Return the exit code for an error that ends a command."""
    if isinstance(error, (Malformed, Refuted, Conflict)):
        return REFUTED
    return NOT_ANCHORED if isinstance(error, Untrusted) else UNDECIDED


def line(*columns: object) -> None:
    """Print one tab-separated line for machines."""
    click.echo("\t".join(map(str, columns)))


def text(block: str) -> None:
    """Print a block of text on stdout."""
    click.echo(block)


def json(value: object) -> None:
    """Print one JSON value on one line."""
    click.echo(dumps(value, ensure_ascii=False))


def say(message: str) -> None:
    """Tell a person something."""
    click.echo(f"attest: {message}", err=True)


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
