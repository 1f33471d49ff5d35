"""`attest monitor`: audit a log continuously, and tell what happens in it."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from attest.audit.delivery import Command, Lines, Target, Webhook
from attest.audit.events import Watch
from attest.audit.monitor import Kept, Look, Monitor
from attest.audit.source import DirectorySource, HttpSource, Source
from attest.cli import output
from attest.cli.verify import Duration, read_file
from attest.errors import AttestError
from attest.formats.keepsake import MAX_KEEPSAKE, Keepsake
from attest.formats.policy import Policy
from attest.store.audited import Stored
from attest.transport import LogClient

_GRAVE = ("lie", "contradiction")
_PATIENCE_S = 30.0  # of one request: the next look tries again
_ANSWER_S = 300.0


class _Printed:
    """Prints events: a line each, for machines."""

    most = 256

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def send(self, events: Sequence[Stored]) -> None:
        for each in events:
            event = json.loads(each.event)
            if self._as_json:
                output.json(event)
            else:
                position = "-" if event["position"] is None else event["position"]
                output.line(event["kind"], event["severity"], position, event["subject"] or "-", event["id"])
                output.say(event["message"])
        sys.stdout.flush()


@click.command("monitor")
@click.argument("place", metavar="URL|DIRECTORY")
@click.option(
    "--policy",
    "policy_file",
    required=True,
    type=click.Path(path_type=Path),
    help="whom you trust: a C2SP tlog-policy file",
)
@click.option(
    "--state",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="what was verified and told is remembered here",
)
@click.option("--every", type=Duration(), default="60s", show_default=True, help="how often to look")
@click.option("--once", is_flag=True, help="look once, tell, and exit")
@click.option(
    "--watch",
    "keepsakes",
    multiple=True,
    type=click.Path(path_type=Path),
    help="a keepsake to look out for; repeatable. Nobody learns that it is watched",
)
@click.option("--command", "program", help="a program to start for each event, with the event on its stdin; no shell")
@click.option("--webhook", envvar="ATTEST_WEBHOOK", help="a URL to post each event to; or ATTEST_WEBHOOK")
@click.option("--allow-http", is_flag=True, help="allow a webhook on another machine without TLS")
@click.option("--jsonl", help="a file to append each event to as a line of JSON; - for stdout")
@click.option(
    "--patience",
    type=Duration(),
    default="10m",
    show_default=True,
    help="how long something may be amiss before it is told: no answer, a missing file, witness or quorum",
)
@click.option("--skip-past", is_flag=True, help="at the first look, tell nothing of what was in the log before")
@click.option("--workers", type=click.IntRange(1, 64), default=8, show_default=True, help="files read at a time")
def command(
    place: str,
    policy_file: Path,
    state: Path,
    every: int,
    once: bool,
    keepsakes: tuple[Path, ...],
    program: str | None,
    webhook: str | None,
    allow_http: bool,
    jsonl: str | None,
    patience: int,
    skip_past: bool,
    workers: int,
) -> int:
    """Audit a log, at URL or in DIRECTORY, again and again, and tell each event once.

    Exit codes of --once: 0 nothing new, 1 could not look or not tell, 2 usage, 3 a lie or a contradiction, 4 something
    happened. Without --once it runs until SIGTERM or Ctrl-C, and exits with 3 if a lie or contradiction was told.
    """  # fmt: skip
    try:
        policy = Policy.parse(read_file(policy_file, 1 << 20))
        watches = [_watch(path) for path in keepsakes]
        target = _target(program, webhook, jsonl, anywhere=allow_http)
    except AttestError as error:
        raise click.UsageError(f"{error.code}: {error.message}") from None
    except OSError as error:
        raise click.UsageError(f"{error.strerror}: {error.filename}") from None
    live = place.startswith(("http://", "https://"))
    with Kept.open(state) as memory, output.bars() as show:
        client = None
        source: Source
        if live:
            client = LogClient(place, None, patience_s=_PATIENCE_S, answer_s=_ANSWER_S)
            source = HttpSource(client)
        else:
            source = DirectorySource(Path(place))
        try:
            monitor = Monitor(
                source,
                policy,
                place,
                memory,
                watches=watches,
                patience_s=patience,
                skip_past=skip_past,
                workers=workers,
                live=live,
                show=show,
            )
            return _once(monitor, target) if once else _run(monitor, target, max(1, every))
        finally:
            memory.flush()
            if client is not None:
                client.close()


def _watch(path: Path) -> Watch:
    return Watch.of(path.name, Keepsake.parse(read_file(path, MAX_KEEPSAKE)))


def _target(program: str | None, webhook: str | None, jsonl: str | None, *, anywhere: bool) -> Target:
    if sum(each is not None for each in (program, webhook, jsonl)) > 1:
        raise click.UsageError("choose one: --command, --webhook or --jsonl")
    if program is not None:
        return Command(program)
    if webhook is not None:
        return Webhook(webhook, anywhere=anywhere)
    if jsonl is not None and jsonl != "-":
        return Lines(Path(jsonl))
    return _Printed(as_json=jsonl is not None)


def _once(monitor: Monitor, target: Target) -> int:
    look = monitor.look()
    problem = look.problem
    told: list[str] = []
    try:
        told = monitor.deliver(target)
    except AttestError as error:
        output.error(error)
        problem = error
    _say(look, monitor)
    if look.grave or any(each in _GRAVE for each in told):
        return output.REFUTED
    if problem is not None:
        return output.UNDECIDED
    return output.PROVISIONAL if told else output.OK


def _run(monitor: Monitor, target: Target, every_s: float) -> int:
    def stop(_number: int, _frame: FrameType | None) -> None:
        monitor.stopped.set()

    def said(found: Look | AttestError) -> None:
        if isinstance(found, AttestError):
            output.error(found)
        elif found.problem is not None or found.told:
            _say(found, monitor)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        grave = monitor.run(target, every_s, said)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return output.REFUTED if grave else output.OK


def _say(look: Look, monitor: Monitor) -> None:
    if look.problem is not None:
        output.error(look.problem)
    report = look.report
    if report is not None:
        output.say(f"verified up to {report.size} entries of {report.origin}; {look.told} new events")
    cost = monitor.cost()
    output.say(
        f"read from the log: {cost.a_day(cost.bytes)} bytes a day so far, of which {cost.a_day(cost.watched_bytes)} are"
        " row files of holders whose keepsakes are watched, read whole: nobody learns which row is looked for"
    )
