"""`attest holder`: the company's commands. `attest` deletes no data; it commits, and it signs what was erased.

What speaks to vaults and logs is imported by the command that does: `attest sample` has its options from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

import click

from attest.cli import output
from attest.cli.verify import EXIT, Duration, Moment, explain, refuse_existing, write_new
from attest.config import read_passphrase
from attest.crypto import locators
from attest.encoding import parse_hex
from attest.errors import AttestError, Conflict
from attest.formats.statement import CAUSES, METHODS, SYSTEM_KINDS, Descriptor
from attest.holder.sources import (
    FORMATS,
    Located,
    LocatorList,
    Reject,
    RejectsFile,
    Source,
    Template,
    locate,
    open_source,
)

if TYPE_CHECKING:
    from attest.holder.sdk import Holder, KeyStanding, Report

P = ParamSpec("P")
R = TypeVar("R")
_PATH: Final[Any] = click.Path(path_type=Path)
_DIR = click.option(
    "--dir",
    "directory",
    type=_PATH,
    default=".",
    show_default=True,
    envvar="ATTEST_HOLDER_DIR",
    help="the holder's directory",
)
_PASSPHRASE = click.option(
    "--passphrase-file",
    type=_PATH,
    envvar="ATTEST_PASSPHRASE_FILE",
    help="a file with the passphrase of the keys; or ATTEST_PASSPHRASE",
)
_SYSTEM = click.option("--system", required=True, help="the id of a registered system")
FORMAT = click.option("--format", "form", type=click.Choice(FORMATS), help="of the source; by default its name tells")
TEMPLATE = click.option(
    "--locator", "template", help="makes the locator from the fields of a record: email:{mail}, sha256:{sha256}"
)
REGION = click.option("--region", help="country of national phone numbers: GB")
_REJECTS = click.option(
    "--rejects",
    "rejects_file",
    type=_PATH,
    help="go on without what cannot be used, and list it here; without this, it stops the whole run",
)
_WINDOW = click.option(
    "--window",
    type=Duration(),
    help="do not send before the next multiple of this since 1970-01-01 UTC; `attest holder send` does",
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="only count; sign and send nothing")
_RECOVERY = click.option(
    "--recovery", is_flag=True, help="sign with a recovery key: a thief of the signing key cannot stop this"
)
_OUTPUT = click.option("-o", "--output", "target", type=_PATH, required=True, metavar="FILE")


@click.group()
def holder() -> None:
    """Commit what is held, sign what is erased, prove both."""


def passphrase_of(file: Path | None) -> bytes | None:
    """Return the passphrase of keys: of the file, or of ATTEST_PASSPHRASE; None for keys in the clear."""
    value = os.environ.get("ATTEST_PASSPHRASE")
    if file is not None:
        return read_passphrase(file)
    return value.encode() if value else None


def with_holder(command: Callable[Concatenate[Holder, P], R]) -> Callable[..., R]:
    """Open the holder of --dir for a command, with a progress bar."""

    @wraps(command)
    def run(directory: Path, passphrase_file: Path | None, *args: P.args, **kwargs: P.kwargs) -> R:
        from attest.holder.sdk import Holder

        # Tests put a transport and a clock here.
        options = click.get_current_context().obj or {}
        with ExitStack() as stack:
            bars = stack.enter_context(output.bars())
            opened = Holder.at(
                directory, passphrase=passphrase_of(passphrase_file), progress=bars, on_wait=output.say, **options
            )
            return command(stack.enter_context(opened), *args, **kwargs)

    return _DIR(_PASSPHRASE(run))


@holder.command()
@_DIR
@_PASSPHRASE
@click.option("--id", "party", required=True, help="a host name you own: acme.example")
@click.option("--name", required=True, help="the company's name")
@click.option("--legal-id", required=True, help="its entry in a public register")
@click.option("--origin", required=True, help="the log's permanent name")
@click.option("--url", required=True, help="where the log is served")
@click.option("--policy", required=True, type=_PATH, help="the log's policy file, checked by its digest")
@click.option("--vault", help="SQLAlchemy URL of the vault; by default SQLite in the directory")
def init(
    directory: Path,
    passphrase_file: Path | None,
    party: str,
    name: str,
    legal_id: str,
    origin: str,
    url: str,
    policy: Path,
    vault: str | None,
) -> None:
    """Create keys, settings and the vault. Never runs over existing ones."""
    from attest.holder.home import Settings
    from attest.holder.sdk import Holder

    settings = Settings(party, name, legal_id, origin, url, vault)
    options = click.get_current_context().obj or {}
    Holder.init(directory, settings, policy.read_bytes(), passphrase=passphrase_of(passphrase_file), **options)
    output.say(f"{party} is set up in {directory}")
    output.say("copy keys/ to a safe place now: a lost VRF key cannot be replaced (docs/guides/holder.md#backups)")
    output.say("next: attest holder join")


@holder.command()
@click.option("-o", "--output", "target", type=_PATH, default="join.json", show_default=True)
@with_holder
def join(company: Holder, target: Path) -> None:
    """Write the request with which the log's operator admits you."""
    request = company.join_request()
    write_new(target, request.encode(), mode=0o644)
    output.line("join", target, request.digest().hex())
    output.say(
        "send this file to the operator; to confirm your domain, publish its digest (docs/guides/holder.md#join)"
    )


# --- systems ---


@holder.group()
def systems() -> None:
    """Say where you keep copies."""


@systems.command("add")
@click.argument("system")
@click.option("--kind", required=True, type=click.Choice(SYSTEM_KINDS))
@click.option(
    "--indexed-by",
    "types",
    required=True,
    multiple=True,
    type=click.Choice(locators.TYPES),
    help="a locator type under which every subject of this system is committed; repeatable, never changes",
)
@click.option("--asset", "assets", multiple=True, help="a type of data kept there; repeatable")
@click.option("--retention", help="the retention rule, in words")
@click.option("--backup-cycle", type=Duration(), help="after this, erased data is gone from the backup")
@click.option("--processor-log", help="the origin of the log that the processor uses")
@with_holder
def add_system(
    company: Holder,
    system: str,
    kind: str,
    types: tuple[str, ...],
    assets: tuple[str, ...],
    retention: str | None,
    backup_cycle: int | None,
    processor_log: str | None,
) -> None:
    """Register SYSTEM. Its id is public: prefer a neutral one."""
    descriptor = Descriptor(
        system,
        kind,
        tuple(sorted(set(assets))),
        tuple(sorted(set(types))),
        retention,
        backup_cycle,
        processor_log,
        False,
    )
    _print(company.add_systems([descriptor]))


@systems.command("retire")
@click.argument("system")
@with_holder
def retire_system(company: Holder, system: str) -> None:
    """Retire SYSTEM for good, once nothing is held there."""
    _print(company.retire_system(system))


@systems.command("list")
@with_holder
def list_systems(company: Holder) -> None:
    """List the registered systems."""
    for name, each in company.systems().items():
        output.line(name, each.kind, ",".join(each.locators), "retired" if each.retired else "active")


# --- holding and erasing ---


@holder.command()
@_SYSTEM
@click.option("--from", "source", required=True, type=_PATH, help="a CSV, TSV or JSON Lines file, or a folder of files")
@FORMAT
@TEMPLATE
@REGION
@click.option("--group", is_flag=True, help="one holding of all records with one locator")
@click.option("--cause", type=click.Choice(CAUSES), default="collected", show_default=True)
@_REJECTS
@_WINDOW
@_DRY_RUN
@with_holder
def hold(
    company: Holder,
    system: str,
    source: Path,
    form: str | None,
    template: str | None,
    region: str | None,
    group: bool,
    cause: str,
    rejects_file: Path | None,
    window: int | None,
    dry_run: bool,
) -> None:
    """Commit what a source holds: only what is new or changed."""
    from attest.holder.sdk import counted

    with _rejects(rejects_file) as reject:
        report = company.hold(
            system,
            open_source(source, form),
            _template(template, region),
            group=group,
            cause=cause,
            reject=reject,
            window_s=window,
            dry_run=dry_run,
        )
    output.say(
        f"{counted(report.read, 'record')}: {report.new} new, {report.changed} changed, {report.unchanged} unchanged,"
        f" {report.waiting} waiting, {report.rejected} rejected"
    )
    if report.reheld:
        output.say(f"{report.reheld} had been erased and are held again; the log counts them as reheld")
    _print(report, dry_run=dry_run)


@holder.command()
@_SYSTEM
@click.option("--from", "source", type=_PATH, help="the records that were erased, as they were")
@click.option("--locators", "list_file", type=_PATH, help="a file with one locator per line")
@FORMAT
@TEMPLATE
@REGION
@click.option("--method", required=True, type=click.Choice(METHODS))
@click.option("--ground", required=True, help="why: gdpr:17(1)(d)")
@click.option("--erased-at", required=True, type=Moment(), help="when: ISO 8601, UTC without a zone, or POSIX seconds")
@click.option("--check", "check_source", type=_PATH, help="the system as it is now: signs only if they are gone")
@click.option("--check-format", type=click.Choice(FORMATS))
@click.option("--check-locator", help="its template, if other than --locator")
@_REJECTS
@_WINDOW
@_DRY_RUN
@with_holder
def erase(
    company: Holder,
    system: str,
    source: Path | None,
    list_file: Path | None,
    form: str | None,
    template: str | None,
    region: str | None,
    method: str,
    ground: str,
    erased_at: int,
    check_source: Path | None,
    check_format: str | None,
    check_locator: str | None,
    rejects_file: Path | None,
    window: int | None,
    dry_run: bool,
) -> None:
    """Sign that data was erased. It erases nothing: do that first."""
    from attest.holder.sdk import counted

    check: tuple[Source, Template] | None = None
    if check_source is not None:
        pattern = check_locator or template
        check = open_source(check_source, check_format), _template(pattern, region, "--check-locator")
    elif check_locator or check_format:
        raise click.UsageError("--check-locator and --check-format belong to --check")
    with _rejects(rejects_file) as reject:
        report = company.erase(
            system,
            located(source, list_file, form, template, region),
            method=method,
            ground=ground,
            erased_at=erased_at,
            check=check,
            reject=reject,
            window_s=window,
            dry_run=dry_run,
        )
    output.say(
        f"{report.erased} to be declared erased, {report.already} were already, {report.waiting} waiting,"
        f" {report.rejected} rejected"
    )
    if report.checked is not None:
        output.say(f"level logical: {counted(report.checked, 'record')} of the system read, none of them theirs")
    elif report.erased:
        output.say("level none: nobody looked whether they are gone; with --check, attest does")
    _print(report, dry_run=dry_run)


@holder.command()
@with_holder
def send(company: Holder) -> None:
    """Send what is due, and take up what was interrupted."""
    _print(company.send())


@holder.command()
@click.argument("statement", type=int)
@with_holder
def withdraw(company: Holder, statement: int) -> None:
    """Give up STATEMENT, a number that `status` shows, before it is in the log."""
    company.withdraw(statement)


@holder.command()
@click.option("--offline", is_flag=True, help="do not ask the log")
@with_holder
def status(company: Holder, offline: bool) -> None:
    """Show how vault and log stand."""
    found = company.status(online=not offline)
    for name, (descriptor, counts) in found.systems.items():
        state = "retired" if descriptor.retired else "active"
        output.line("system", name, state, f"held={counts.held}", f"erased={counts.erased}")
        if counts.pending_hold or counts.pending_erase:
            output.say(
                f"{name}: {counts.pending_hold} holds and {counts.pending_erase} tombstones are not published yet"
            )
    for each in found.waiting:
        due = "now" if not each.release_at else _time(each.release_at)
        output.line("waiting", each.id, each.kind, each.stream, each.count, f"due={due}", each.status)
    for each in found.refused:
        output.line("refused", each.id, each.kind, each.stream, each.count, each.refusal)
    if found.admitted is False:
        output.say("the log has not admitted this holder yet")


# --- showing ---


@holder.command()
@click.argument("locator", required=False)
@click.option("-o", "--output", "target", type=_PATH, metavar="FILE")
@click.option("--all", "folder", type=_PATH, metavar="DIR", help="one file for each locator of --from or --locators")
@click.option("--from", "source", type=_PATH)
@click.option("--locators", "list_file", type=_PATH)
@FORMAT
@TEMPLATE
@REGION
@with_holder
def keepsake(
    company: Holder,
    locator: str | None,
    target: Path | None,
    folder: Path | None,
    source: Path | None,
    list_file: Path | None,
    form: str | None,
    template: str | None,
    region: str | None,
) -> int:
    """Write what a data subject keeps, to check later without you. Give it to nobody else, keep no copy."""
    if (locator is None) == (folder is None) or (locator is None) != (target is None):
        raise click.UsageError("want either LOCATOR and -o FILE, or --all DIR with --from or --locators")
    if locator is not None and target is not None:
        found = company.keepsake(locators.normalise(locator, region=region))
        write_new(target, found.encode(), mode=0o600)
        output.line("keepsake", target, *(hold.system for hold in found.holds))
        return output.OK
    if folder is None:
        raise click.UsageError("want --all DIR")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    failed = 0
    for each in located(source, list_file, form, template, region):
        if isinstance(each, Reject):
            output.line("rejected", each.line, each.code)
            failed += 1
            continue
        line, found_locator, _ = each
        path = folder / f"{line}.keepsake.json"
        try:
            write_new(path, company.keepsake(found_locator).encode(), mode=0o600)
        except AttestError as error:
            if error.code not in ("keepsake/nothing-held", "file/exists"):
                raise
            output.line("rejected", line, error.code)
            failed += 1
        else:
            output.line("keepsake", line, path)
    return output.UNDECIDED if failed else output.OK


@holder.command()
@click.argument("asked", nargs=-1, required=True, metavar="LOCATOR...")
@_OUTPUT
@REGION
@with_holder
def prove(company: Holder, asked: tuple[str, ...], target: Path, region: str | None) -> None:
    """Fetch what all systems say about LOCATOR... at one checkpoint, whatever it is."""
    refuse_existing(target)
    bundle, verdict = company.lookup([locators.normalise(each, region=region) for each in asked])
    write_new(target, bundle.encode(), mode=0o644)
    output.line("lookup", target, verdict.claim)
    explain(verdict)


@holder.command()
@click.argument("asked", nargs=-1, required=True, metavar="LOCATOR...")
@_OUTPUT
@REGION
@with_holder
def certificate(company: Holder, asked: tuple[str, ...], target: Path, region: str | None) -> int:
    """Fetch a deletion certificate; there is none while anything is held."""
    refuse_existing(target)
    bundle, verdict = company.certificate([locators.normalise(each, region=region) for each in asked])
    write_new(target, bundle.encode(), mode=0o644)
    output.line("certificate", target, verdict.claim)
    explain(verdict)
    return EXIT[verdict.outcome]


# --- keys and backups ---


@holder.group("keys")
def keys_group() -> None:
    """Add and revoke signing and recovery keys."""


@keys_group.command("list")
@click.option("--offline", is_flag=True, help="only the keys in this directory; do not ask the log")
@with_holder
def list_keys(company: Holder, offline: bool) -> None:
    """List your keys: what each may do, how the log has it, and whether it is in this directory."""
    if offline:
        for kid, use, in_use in company.own_keys():
            output.line(kid.hex(), use, "in use" if in_use else "", "here")
        return
    for each in company.all_keys():
        output.line(each.kid.hex(), each.use, _standing(each), "here" if each.here else "elsewhere")


def _standing(key: KeyStanding) -> str:
    if key.since is None:
        return "not admitted"
    if key.until is not None:
        return f"revoked, in force from {key.since} to {key.until}"
    return f"{'in use' if key.in_use else 'in force'} from {key.since}"


@keys_group.command("add")
@click.option("--use", type=click.Choice(["sign", "recover"]), default="sign", show_default=True)
@click.option("--revoke", "revoked", multiple=True, metavar="KID", help="revoke this key with the same statement")
@_RECOVERY
@with_holder
def add_key(company: Holder, use: str, revoked: tuple[str, ...], recovery: bool) -> None:
    """Make a key, have the log admit it, and use it from then on.

    With --recovery and --revoke this is what to do when the signing key is stolen or lost.
    """  # fmt: skip
    kid, report = company.add_key(use, revoke=[parse_hex(kid, 32) for kid in revoked], by_recovery=recovery)
    _print(report)
    output.line("key", kid.hex(), use)


@keys_group.command("revoke")
@click.argument("kid")
@_RECOVERY
@with_holder
def revoke_key(company: Holder, kid: str, recovery: bool) -> None:
    """Revoke the key KID, 64 hex digits, for good."""
    _print(company.revoke_key(parse_hex(kid, 32), by_recovery=recovery))


@holder.command()
@click.option("--yes", is_flag=True, help="for ever")
@with_holder
def end(company: Holder, yes: bool) -> None:
    """End this party in its log, by a recovery key. Nothing more is taken from it; what it holds stays held, frozen."""
    if not yes:
        raise click.UsageError("a party that has ended never comes back under its id; repeat this with --yes")
    _print(company.end())


@holder.command()
@click.argument("target", type=_PATH, metavar="FILE")
@with_holder
def backup(company: Holder, target: Path) -> None:
    """Copy the vault to FILE. It has salts and no keys: what you erase later is in it, so let backups expire."""
    company.backup(target)
    output.line("backup", target)


@holder.command()
@click.argument("source", type=_PATH, metavar="FILE")
@with_holder
def restore(company: Holder, source: Path) -> None:
    """Fill an empty vault from a backup; then run `attest holder catch-up`."""
    company.restore(source)
    output.say("restored; next: attest holder catch-up")


@holder.command("catch-up")
@with_holder
def catch_up(company: Holder) -> None:
    """Take over from the log what this vault does not know: after a restore, or after losing the vault."""
    output.line("adopted", company.catch_up())


# --- shared ---


def _template(pattern: str | None, region: str | None, option: str = "--locator") -> Template:
    if pattern is None:
        raise click.UsageError(f"want {option}, a template such as email:{{mail}}")
    return Template(pattern, region=region)


def located(
    source: Path | None, list_file: Path | None, form: str | None, template: str | None, region: str | None
) -> Iterable[Located | Reject]:
    """Return the locators that the options for sources name. Raises `UsageError`; what sources raise."""
    if (source is None) == (list_file is None):
        raise click.UsageError("want either --from SOURCE or --locators FILE")
    if list_file is not None:
        return LocatorList(list_file, region=region).located()
    if source is None:
        raise click.UsageError("want --from SOURCE")
    return locate(open_source(source, form), _template(template, region))


@contextmanager
def _rejects(path: Path | None) -> Iterator[Callable[[Reject], None] | None]:
    if path is None:
        yield None
        return
    # Each run lists anew, over the list of the last one. A source, a key or a vault is not written over.
    if path.is_file() and path.stat().st_size and not RejectsFile.is_one(path):
        raise Conflict("file/exists", f"{path} exists and is not a list of rejects", hint="name another file")
    with path.open("w", encoding="utf-8", newline="") as file:
        yield RejectsFile(file)


def _print(report: Report, *, dry_run: bool = False) -> None:
    for warning in report.warnings:
        output.say(f"warning: {warning}")
    if dry_run:
        output.say("dry run: nothing was signed or sent")
    if report.release_at is not None:
        output.say(f"held back until {_time(report.release_at)}; run `attest holder send` then")
    for each in report.sent:
        output.line("published", each.kind, each.stream, each.count, each.position, each.entry_id)


def _time(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
