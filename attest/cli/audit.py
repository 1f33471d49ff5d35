"""`attest audit`: recompute a log from entries and row files, and say what is wrong."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from attest.audit import words
from attest.audit.audit import Order, audit
from attest.audit.charts import SERIES
from attest.audit.findings import Report, Trust
from attest.audit.memory import Memory
from attest.audit.page import page
from attest.audit.party import audit_party
from attest.audit.since import audit_since
from attest.audit.source import DirectorySource, HttpSource, Mirror, Source
from attest.audit.words import count, moment
from attest.cli import output
from attest.cli.verify import read_file, write_new
from attest.errors import AttestError
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.policy import Policy
from attest.formats.statement import is_party_id, is_system_id
from attest.transport import LogClient

EXIT = {"clean": output.OK, "found": output.REFUTED, "incomplete": output.UNDECIDED}
_SYSTEMS = 20  # on a terminal
_T = TypeVar("_T")


@click.command("audit")
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
    type=click.Path(path_type=Path, file_okay=False),
    help="remember what was verified here; the next audit checks only what is new",
)
@click.option("--again", is_flag=True, help="with --state: check everything anew")
@click.option(
    "--mirror",
    type=click.Path(path_type=Path, file_okay=False),
    help="keep a complete copy, which can be audited without network and served by any web server",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="a checkpoint of this log that you got elsewhere, to hold it to; repeatable",
)
@click.option(
    "--since",
    "since_file",
    type=click.Path(path_type=Path),
    help="a checkpoint that was audited: check what came after it, by proofs that a log keeps for a day",
)
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="where evidence is kept  [default: evidence in --state, else attest-evidence]",
)
@click.option("--holder", help="audit this party alone, without fetching the rest")
@click.option("--system", help="with --holder: of its systems, fetch the row files of this one alone")
@click.option("--workers", type=click.IntRange(1, 64), default=8, show_default=True, help="files read at a time")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="write the report for people to a new file, which needs nothing else and prints well",
)
@click.option("--auditor", metavar="TEXT", help="who audits, as the report says")
@click.option("--json", "as_json", is_flag=True, help="print the whole report as JSON")
def command(
    place: str,
    policy_file: Path,
    state: Path | None,
    again: bool,
    mirror: Path | None,
    checkpoints: tuple[Path, ...],
    since_file: Path | None,
    evidence: Path | None,
    holder: str | None,
    system: str | None,
    workers: int,
    html: Path | None,
    auditor: str | None,
    as_json: bool,
) -> int:
    """Recompute a log, at URL or in DIRECTORY, from its entries and row files, trusting nobody.

    Exit codes: 0 nothing was found, 1 something could not be checked, 2 usage, 3 found: every finding names a file of
    evidence for `attest verify`; 5 not anchored.
    """  # fmt: skip
    if html is not None:
        _check_target(html)
    encoded, policy = _parsed(policy_file, Policy.parse)
    since = None if since_file is None else _parsed(since_file, SignedCheckpoint.parse)[1]
    others = [_parsed(path, SignedCheckpoint.parse)[1] for path in checkpoints]
    _check_scope(holder, system)
    if holder is not None and (mirror is not None or state is not None or others):
        raise click.UsageError("--holder looks at one head: it goes without --state, --mirror and --checkpoint")
    if since is not None and (holder is not None or mirror is not None or state is not None):
        raise click.UsageError("--since goes without --state, --mirror and --holder")
    live = place.startswith(("http://", "https://"))
    with _source(place, policy, live=live) as source, output.bars() as watch:
        order = Order(policy, place, int(time.time()), others, live, workers, again, watch, despite_disk=True)
        if mirror is not None:
            source = Mirror(source, mirror)
        if holder is not None:
            report = audit_party(source, order, holder, system, evidence or Path("attest-evidence"))
        elif since is not None:
            report = audit_since(source, order, since, evidence or Path("attest-evidence"))
        elif state is None:
            report = audit(source, order, None, evidence or Path("attest-evidence"))
        else:
            with Memory.open(state) as memory:
                report = audit(source, order, memory, evidence or memory.evidence)
    report.auditor = auditor
    report.trust = Trust.of(policy, policy_file.name, encoded)
    if as_json:
        output.json(report.shown())
    else:
        explain(report)
    if html is not None:
        _write_page(html, report)
    for each in report.troubles:
        output.say(f"trouble: {each}")
    return EXIT[report.outcome] or (output.UNDECIDED if report.troubles else output.OK)


def _parsed(path: Path, parse: Callable[[bytes], _T]) -> tuple[bytes, _T]:
    """Read what an option names; return its bytes, too."""
    try:
        encoded = read_file(path, 1 << 20)
        return encoded, parse(encoded)
    except AttestError as error:
        raise click.UsageError(f"{path}: {error.code}: {error.message}") from None
    except OSError as error:
        raise click.UsageError(f"{error.strerror}: {error.filename}") from None


def _write_page(target: Path, report: Report) -> None:
    """Write the page; a full disk must not swallow what was printed before."""
    try:
        write_new(target, page(report).encode(), mode=0o644)
    except OSError as error:
        report.troubles.append(f"{target} could not be written: {error.strerror}")


def _check_target(html: Path) -> None:
    # As a conflict it would end with the code that says that something was found.
    if html.exists():
        raise click.UsageError(f"file/exists: {html} exists: name another file, or move this one away")
    if not html.parent.is_dir():
        raise click.UsageError(f"--html {html}: there is no directory {html.parent}")


def _check_scope(holder: str | None, system: str | None) -> None:
    if holder is not None and not is_party_id(holder):
        raise click.UsageError(f"--holder {holder}: want a party's id, a lower-case host name: acme.example")
    if system is not None and holder is None:
        raise click.UsageError("--system wants --holder")
    if system is not None and not is_system_id(system):
        raise click.UsageError(f"--system {system}: want a system's id: customers")


@contextmanager
def _source(place: str, policy: Policy, *, live: bool) -> Iterator[Source]:
    if not live:
        if "://" in place:
            raise click.UsageError(f"{place}: want a URL that begins with http:// or https://, or a directory")
        yield DirectorySource(Path(place))
        return
    origins = {log.verifier.name for log in policy.logs}
    origin = next(iter(origins)) if len(origins) == 1 else None
    with LogClient(place, None, origin=origin, on_wait=output.say) as client:
        yield HttpSource(client)


def explain(report: Report) -> None:
    """Print a report: lines for machines on stdout, sentences for people on stderr, what was found first."""
    output.line(report.outcome, report.origin, report.size, report.root)
    output.say(words.verdict(report))
    for finding in report.findings:
        entries = ",".join(map(str, finding.entries)) or "-"
        output.line("finding", finding.severity, finding.code, entries, finding.kept or "-")
        output.say(f"{finding.severity}: {finding.code}: {finding.message}")
        if finding.expected is not None:
            output.say(f"   found {finding.found}, expected {finding.expected}")
        if finding.kept is not None:
            output.say(f"   evidence for everybody: {words.command(finding.kept, report)}")
    checked = report.checked
    entries, epochs = count(checked["entries"], "entry", "entries"), count(checked["epochs"], "epoch")
    files, rows = count(checked["row_files"], "row file"), count(checked["rows"], "row")
    before = f"; {count(report.since, 'entry was', 'entries were')} checked before" if report.since else ""
    output.say(f"checked: {entries}, {epochs}, {files} with {rows}{before}")
    if report.epoch_time is not None:
        output.say(f"as of epoch {report.epoch}, {moment(report.epoch_time)} by the log's own claim")
    if report.existed_by is not None:
        seen = ", ".join(dict.fromkeys(report.witnesses))
        output.say(f"existed by {moment(report.existed_by)}, cosigned by {seen}")
    if report.facts:
        _explain_facts(report)
    for each in report.proven:
        output.say(f"proven: {each}")
    for each in words.to_look_at(report):
        output.say(f"not proven, look yourself: {each}")


def _explain_facts(report: Report) -> None:
    output.say("facts:")
    output.table(words.summary(report.facts))
    systems = report.facts.get("systems", [])
    if not systems:
        return
    lines = [("party", "system", *SERIES, "mean time to tombstone", "")]
    for system in systems[:_SYSTEMS]:
        mean = system["hold_to_tombstone"]["mean_s"]
        counts = (f"{system[name]:,}" for name in SERIES)
        remarks = ", ".join(words.system_remarks(system))
        lines.append((system["party"], system["system"], *counts, "-" if mean is None else words.span(mean), remarks))
    output.say("systems:")
    output.table(lines)
    if len(systems) > _SYSTEMS:
        output.say(f"   and {len(systems) - _SYSTEMS:,} more: --html or --json")
