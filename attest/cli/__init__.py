"""The `attest` command. Each group is imported when it is used, so that verifying needs the base install only."""

import importlib
import io
import sys
from collections.abc import Sequence
from typing import Any

import click

from attest import __version__
from attest.cli import output
from attest.errors import AttestError, Unavailable

# command: (module, attribute, what it does, the extra it needs)
COMMANDS = {
    "verify": ("attest.cli.verify", "verify", "check bundles offline and print the verdict", None),
    "show": ("attest.cli.show", "show", "explain any artefact in readable form", None),
    "prove": ("attest.cli.prove", "prove", "fetch the proof for a keepsake, without the company", "holder"),
    "certificate": ("attest.cli.prove", "certificate", "fetch a deletion certificate for a keepsake", "holder"),
    "holder": ("attest.cli.holder", "holder", "commit what is held, sign what is erased", "holder"),
    "sample": ("attest.cli.sample", "sample", "audit a sample that neither side can steer", "audit"),
    "operator": ("attest.cli.operator", "operator", "create and run a log", "server"),
    "witness": ("attest.cli.witness", "witness", "run a witness, which cosigns logs", "server"),
    "audit": ("attest.cli.audit", "command", "recompute a log from entries and row files, trusting nobody", "audit"),
    "monitor": ("attest.cli.monitor", "command", "audit a log continuously, and tell what happens in it", "audit"),
    "serve": ("attest.cli.serve", "serve", "serve a log over HTTP and sequence it", "server"),
}


def _lacking(name: str, error: ModuleNotFoundError) -> click.UsageError:
    """Return what to say of a command that misses a module of its extra. Raises `error` if it is no such module."""
    extra = COMMANDS[name][3] if name in COMMANDS else None
    if extra is None or (error.name or "").startswith("attest"):
        raise error
    return click.UsageError(
        f"`attest {name}` needs {error.name}; install it with: pip install 'attest-deletion[{extra}]'"
    )


class _Commands(click.Group):
    """Imports a command's module on its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _, _ = COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise _lacking(cmd_name, error) from None
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            # Some commands import what they need no earlier than they need it.
            raise _lacking(ctx.invoked_subcommand or "", error) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, _, what, _) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="attest")
def cli() -> None:
    """Commit what is held, sign what is erased, prove both to anybody."""


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run the command line and exit: docs/errors.md lists the exit codes."""
    try:
        code = cli.main(arguments, prog_name="attest", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        # It may quote a file or an argument.
        said, shown = error.format_message(), io.StringIO()
        error.show(shown)
        click.echo(shown.getvalue().replace(said, output.printable(said)), err=True, nl=False)
        code = output.USAGE
    except (click.Abort, KeyboardInterrupt):
        output.say("interrupted")
        code = output.UNDECIDED
    except AttestError as error:
        output.error(error)
        code = output.exit_code(error)
    except BrokenPipeError:
        sys.stderr.close()
        code = output.UNDECIDED
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        output.error(Unavailable("system/refused", f"{error.strerror or error}{where}"))
        code = output.UNDECIDED
    sys.exit(code if isinstance(code, int) else 0)
