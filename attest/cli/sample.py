"""`attest sample`: audit samples that neither side can steer. docs/guides/sampling.md walks through one."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from attest.audit import sample as samples
from attest.audit import sampling
from attest.audit.frame import Frame, check_frame, read_frame, write_frame
from attest.cli import output
from attest.cli.holder import FORMAT, REGION, TEMPLATE, located, passphrase_of, with_holder
from attest.cli.verify import Duration, Moment, moment, read_file, refuse_existing, write_new
from attest.crypto import keys
from attest.crypto.keys import SigningKey
from attest.encoding import parse_hex, sha256
from attest.errors import AttestError, Malformed, Refuted
from attest.formats.bundle import MAX_BUNDLE
from attest.formats.policy import MAX_POLICY, Policy
from attest.formats.sample import (
    GOOD,
    MAX_BEACON,
    MAX_PLAN,
    MAX_POPULATION,
    MAX_RESULT,
    MILLION,
    Beacon,
    Chain,
    Plan,
    Result,
    sign_result,
)
from attest.formats.statement import is_party_id
from attest.holder.indexing import BATCH
from attest.holder.sources import Located, Reject
from attest.store.keyfiles import read_key_file, write_key_file

if TYPE_CHECKING:
    from attest.audit.population import Population
    from attest.holder.sdk import Holder
    from attest.transport import LogClient

_PATH: Final[Any] = click.Path(path_type=Path)
_FOLDER: Final[Any] = click.Path(path_type=Path, file_okay=False, exists=True)
_WORKSHEET: Final = "worksheet.csv"
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?) ?%")
_OUTPUT = click.option("-o", "--output", "target", type=_PATH, required=True, metavar="FILE")
_POLICY = click.option("--policy", "policy_file", type=_PATH, required=True, help="whom you trust: a tlog-policy file")
_PASSPHRASE = click.option(
    "--passphrase-file",
    type=_PATH,
    envvar="ATTEST_PASSPHRASE_FILE",
    help="a file with the passphrase of the key; or ATTEST_PASSPHRASE",
)


class Percent(click.ParamType[int]):
    """`1%`, `0.05%`, `99.9%`: read as millionths."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _PERCENT.fullmatch(value)
        if match is None or (ppm := int(Decimal(match[1]) * 10_000)) > MILLION:
            self.fail(f"want a percentage such as 1% or 0.05%, found {value!r}", param, ctx)
        return ppm


def _targets(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--allowed", type=click.IntRange(0), default=0, show_default=True, help="failures that are allowed"
        ),
        click.option(
            "--recall",
            type=Percent(),
            default="100%",
            show_default=True,
            help="how probably a wrong one that is drawn is noticed",
        ),
        click.option("--confidence", type=Percent(), default="95%", show_default=True),
        click.option("--tolerable", type=Percent(), required=True, help="the rate that would be too many"),
    ):
        command = option(command)
    return command


@click.group()
def sample() -> None:
    """Audit a sample that neither side can steer."""


# --- before ---


@sample.command("size")
@click.option("--population", type=click.IntRange(1, MAX_POPULATION), required=True)
@_targets
def size_of(population: int, tolerable: int, confidence: int, recall: int, allowed: int) -> None:
    """Say how many to draw."""
    output.line(sampling.sample_size(population, tolerable, confidence, recall_ppm=recall, allowed=allowed))


@sample.command()
@_OUTPUT
@_PASSPHRASE
def key(target: Path, passphrase_file: Path | None) -> None:
    """Make a key to sign results with. Publish what this prints where people look for you."""
    made = SigningKey.generate()
    write_key_file(target, made.to_pem(passphrase_of(passphrase_file)))
    output.line("key", target, made.public.hex())


@sample.command()
@click.option("--from", "source", type=_PATH, help="the live system: a CSV, TSV or JSON Lines file, or a folder")
@click.option("--locators", "list_file", type=_PATH, help="a file with one locator per line")
@FORMAT
@TEMPLATE
@REGION
@_OUTPUT
def frame(
    source: Path | None,
    list_file: Path | None,
    form: str | None,
    template: str | None,
    region: str | None,
    target: Path,
) -> None:
    """List what the live system holds, as the company. The file is personal data and stays where it is."""
    found = located(source, list_file, form, template, region)
    write_frame(target, (locator for _, locator in _all(found)), secrets.token_bytes(32))
    made = read_frame(target)
    output.line("frame", target, made.count, made.root.hex())


def _all(found: Iterable[Located | Reject]) -> Iterator[tuple[int, str]]:
    """Yield line and locator; what cannot be used stops it."""
    for each in found:
        if isinstance(each, Reject):
            raise Malformed(
                "sample/frame", f"record {each.line}: {each.code}, {each.reason}", hint="correct the source"
            )
        yield each[:2]


@sample.command()
@click.argument("log")
@_POLICY
@click.option("--holder", required=True, help="whom you audit: acme.example")
@click.option("--system", required=True)
@click.option(
    "--direction",
    type=click.Choice(list(GOOD)),
    required=True,
    help="forward: from the company's frame to the log; backward: what is held in the log, to be opened;"
    " erased: what is erased in the log, to be looked for",
)
@click.option("--frame", "frame_file", type=_PATH, help="forward: the frame, if you may see it")
@click.option("--frame-count", type=click.IntRange(1), help="forward: what `attest sample frame` printed")
@click.option("--frame-root")
@_targets
@click.option("--chain", "chain_file", type=_PATH, help="of drand: the answer to /<chain hash>/info")
@click.option("--source", help="another beacon: a name or URL that everybody understands")
@click.option("--round", "number", type=click.IntRange(1), help="of the beacon; its value must not be known yet")
@click.option("--in", "wait", type=Duration(), help="instead of --round: the first of the chain after so long")
@_OUTPUT
@click.pass_context
def plan(
    ctx: click.Context,
    log: str,
    policy_file: Path,
    holder: str,
    system: str,
    direction: str,
    frame_file: Path | None,
    frame_count: int | None,
    frame_root: str | None,
    tolerable: int,
    confidence: int,
    recall: int,
    allowed: int,
    chain_file: Path | None,
    source: str | None,
    number: int | None,
    wait: int | None,
    target: Path,
) -> None:
    """Fix what will be drawn from LOG, a URL or a directory of public files, at its newest checkpoint."""
    refuse_existing(target)
    if (chain_file is None) == (source is None) or (number is None) == (wait is None):
        raise click.UsageError("want either --chain FILE or --source NAME, and either --round or --in")
    if wait is not None and chain_file is None:
        raise click.UsageError("--in needs --chain: only of a drand chain is it known when a round comes")
    now = _now(ctx)
    chain = None if chain_file is None else Chain.of_drand(read_file(chain_file, MAX_BEACON))
    if chain is not None:
        source = f"drand:{chain.hash.hex()}"
        number = number or chain.round_after(now + (wait or 0))
        if chain.time_of(number) <= now:
            raise Refuted("sample/time", f"round {number} was at {chain.time_of(number)}: its value may be known")
    with _log(ctx, log, _policy(policy_file)) as client:
        signed = client.signed_checkpoint()
        client.believe(signed)
        if direction == "forward":
            count, root = _frame_of(frame_file, frame_count, frame_root)
        elif frame_file or frame_count or frame_root:
            raise click.UsageError("a frame is for --direction forward")
        else:
            from attest.audit.population import read_population

            with output.bars() as bars:
                found = read_population(
                    client, signed.checkpoint, holder, system, erased=direction == "erased", progress=bars
                )
            count, root = found.count, found.root
            if not count:
                raise Malformed("sample/population", f"nothing is there to draw from: {holder}, {system}, {direction}")
    size = sampling.sample_size(count, tolerable, confidence, recall_ppm=recall, allowed=allowed)
    made = Plan(
        now, signed, holder, system, direction, count, root, tolerable, confidence, recall, allowed, size,
        source or "", number or 0, chain,
    ).write()  # fmt: skip
    write_new(target, made.encoded, mode=0o644)
    output.line("plan", target, made.digest.hex(), count, size, made.round)
    output.say(f"{size} of {count} will be drawn by round {made.round} of {made.source}")
    if chain is not None:
        output.say(f"that is at {moment(chain.time_of(made.round))}")
    output.say("give the digest, or the plan, to everybody who shall believe in it, before that round")


def _frame_of(path: Path | None, count: int | None, root: str | None) -> tuple[int, bytes]:
    if path is not None and count is None and root is None:
        found = read_frame(path)
        return found.count, found.root
    if path is None and count is not None and root is not None:
        return count, parse_hex(root, 32)
    raise click.UsageError("want either --frame FILE, or --frame-count and --frame-root")


# --- after ---


@sample.command()
@click.argument("plan_file", metavar="PLAN", type=_PATH)
@click.argument("beacon_file", metavar="BEACON", type=_PATH)
@click.option("--log", help="backward and erased: a URL or a directory of public files")
@click.option("--frame", "frame_file", type=_PATH, help="forward: the company's frame")
@click.option("-o", "--output", "target", type=_PATH, required=True, metavar="FOLDER")
@click.pass_context
def draw(
    ctx: click.Context, plan_file: Path, beacon_file: Path, log: str | None, frame_file: Path | None, target: Path
) -> None:
    """Draw, and write worksheet.csv into a new FOLDER. Whoever does this gets the same one."""
    refuse_existing(target)
    made, beacon = _plan(plan_file), _beacon(beacon_file)
    draws = samples.draws_of(made, beacon)
    wanted = [each.position for each in draws]
    if made.direction == "forward":
        if log is not None:
            raise click.UsageError("a forward sample is drawn from --frame FILE")
        if frame_file is not None:
            listed: Frame = read_frame(frame_file, wanted)
            check_frame(listed, made.count, made.root)
            draws = samples.with_frame(draws, listed.rows)
    else:
        if log is None or frame_file is not None:
            raise click.UsageError(f"a sample {made.direction} is drawn from --log URL|DIR")
        draws = samples.with_rows(draws, _drawn_rows(ctx, made, log, wanted).rows)
    target.mkdir(mode=0o700)
    write_new(target / _WORKSHEET, samples.encode_worksheet(draws), mode=0o600)
    output.line("worksheet", target / _WORKSHEET, len(draws))
    if frame_file is not None:
        output.say("it has locators: personal data. Give it to nobody who need not see them")
    elif made.direction == "forward":
        output.say("without --frame it has positions alone; the one to be answered is drawn by whoever has the frame")


def _drawn_rows(ctx: click.Context, made: Plan, log: str, wanted: list[int]) -> Population:
    from attest.audit.population import read_population

    checkpoint = made.checkpoint.checkpoint
    # No policy: all that is read has to lead to the roots that are in the plan.
    with _log(ctx, log, None) as client, output.bars() as bars:
        found = read_population(
            client,
            checkpoint,
            made.holder,
            made.system,
            erased=made.direction == "erased",
            wanted=wanted,
            progress=bars,
        )
    if (found.count, found.root) != (made.count, made.root):
        raise Refuted(
            "sample/population",
            f"{found.count} rows under {found.root.hex()}, the plan says {made.count} under {made.root.hex()}",
        )
    return found


@sample.command()
@click.argument("plan_file", metavar="PLAN", type=_PATH)
@click.argument("folder", metavar="FOLDER", type=_FOLDER)
@click.option("--from", "source", type=_PATH, help="backward, erased: records among which the drawn ones are")
@click.option("--locators", "list_file", type=_PATH, help="backward, erased: a file with one locator per line")
@FORMAT
@TEMPLATE
@REGION
@with_holder
def answer(
    company: Holder,
    plan_file: Path,
    folder: Path,
    source: Path | None,
    list_file: Path | None,
    form: str | None,
    template: str | None,
    region: str | None,
) -> int:
    """Answer every draw in FOLDER, as the company. Answers that are there already stay as they are."""
    made = _plan(plan_file)
    if made.holder != company.id:
        raise click.UsageError(f"the plan is about {made.holder}, this is {company.id}")
    draws = samples.parse_worksheet(read_file(folder / _WORKSHEET, samples.MAX_WORKSHEET))
    if made.direction != "forward":
        draws = _named(company, made, draws, _all(located(source, list_file, form, template, region)))
        aside = folder / f"{_WORKSHEET}.new"
        write_new(aside, samples.encode_worksheet(draws), mode=0o600)
        aside.rename(folder / _WORKSHEET)
    missing = 0
    for each in draws:
        target = folder / samples.answer_name(made, each)
        if target.exists():
            output.line("answered", each.number, target)
            continue
        try:
            if not each.locator:
                raise Malformed("sample/unknown", "none of the locators given has this index")
            write_new(target, _answer(company, made, each.locator), mode=0o600)
        except AttestError as error:
            missing += 1
            output.line("unanswered", each.number, error.code)
        else:
            output.line("answered", each.number, target)
    return output.UNDECIDED if missing else output.OK


def _named(
    company: Holder, made: Plan, draws: Sequence[samples.Draw], candidates: Iterator[tuple[int, str]]
) -> list[samples.Draw]:
    """Fill in whose index each drawn one is, which only the company can tell."""
    wanted = {each.row[:32] for each in draws}
    names: dict[bytes, str] = {}
    while batch := [locator for _, locator in islice(candidates, BATCH)]:
        found = zip(company.indexes(made.system, batch), batch, strict=True)
        names |= {index: locator for index, locator in found if index in wanted}
    return [replace(each, locator=names.get(each.row[:32], each.locator)) for each in draws]


def _answer(company: Holder, made: Plan, locator: str) -> bytes:
    if made.direction != "backward":
        return company.lookup([locator])[0].encode()
    kept = company.keepsake(locator)
    # No more is opened than was drawn.
    return replace(kept, holds=tuple(hold for hold in kept.holds if hold.system == made.system)).encode()


def _judging(command: Callable[..., Any]) -> Callable[..., Any]:
    for add in (
        click.option("--at", type=Moment(), help="judge as of this time instead of now"),
        click.option("--state-policy", "state_file", type=_PATH, help="whom you trust to have checked every state"),
        _POLICY,
        click.argument("folder", metavar="FOLDER", type=_FOLDER),
        click.argument("beacon_file", metavar="BEACON", type=_PATH),
        click.argument("plan_file", metavar="PLAN", type=_PATH),
    ):
        command = add(command)
    return command


@sample.command()
@_judging
@click.pass_context
def check(
    ctx: click.Context,
    plan_file: Path,
    beacon_file: Path,
    folder: Path,
    policy_file: Path,
    state_file: Path | None,
    at: int | None,
) -> int:
    """Judge the answers in FOLDER, and say what the sample supports.

    `1.bundle` answers draw 1; backward, `1.keepsake` does. A draw without an answer has failed.
    """
    made, beacon = _plan(plan_file), _beacon(beacon_file)
    trust = _trust(policy_file, state_file, _now(ctx) if at is None else at)
    stands = samples.standing(made, beacon, trust.policy)
    judged = _judge(made, beacon, folder, trust)
    return _report(made, stands, samples.assess(made, [each.answer.outcome for each in judged]))


@sample.command()
@_judging
@click.option("--key", "key_file", type=_PATH, required=True, help="the auditor's key, as `attest sample key` makes it")
@click.option("--auditor", required=True, help="who signs, a host name: audit.example")
@_PASSPHRASE
@_OUTPUT
@click.pass_context
def sign(
    ctx: click.Context,
    plan_file: Path,
    beacon_file: Path,
    folder: Path,
    policy_file: Path,
    state_file: Path | None,
    at: int | None,
    key_file: Path,
    auditor: str,
    passphrase_file: Path | None,
    target: Path,
) -> int:
    """Check, and sign what was found. Nobody is named in the result: of answers it has digests."""
    refuse_existing(target)
    if not is_party_id(auditor):
        raise click.UsageError("--auditor: want a lower-case host name, such as audit.example")
    own = SigningKey.from_pem(read_key_file(key_file), passphrase_of(passphrase_file))
    made, beacon = _plan(plan_file), _beacon(beacon_file)
    trust = _trust(policy_file, state_file, _now(ctx) if at is None else at)
    stands = samples.standing(made, beacon, trust.policy)
    judged = _judge(made, beacon, folder, trust)
    found = samples.assess(made, [each.answer.outcome for each in judged])
    result = sign_result(
        own,
        auditor,
        issued_at=trust.now,
        plan=made,
        beacon=beacon,
        policy=sha256(read_file(policy_file, MAX_POLICY)),
        answers=tuple(each.answer for each in judged),
        failures=found.failures,
        most_wrong=found.most_wrong,
    )
    samples.recount(result)
    write_new(target, result.encoded, mode=0o644)
    output.line("result", target, own.public.hex())
    return _report(made, stands, found)


@sample.command()
@click.argument("result_file", metavar="RESULT", type=_PATH)
@click.option("--key", "public", required=True, help="the auditor's public key, from a source of your own")
@_POLICY
def verify(result_file: Path, public: str, policy_file: Path) -> int:
    """Check a signed result offline: who signed it, the draw, the count, the bound; and say what it supports."""
    try:
        key = parse_hex(public, keys.ED25519_PUBLIC)
    except Malformed as error:
        raise click.UsageError(f"--key: {error.message}: it is what `attest sample key` prints last") from None
    result = Result.parse(read_file(result_file, MAX_RESULT))
    result.verify_signature(key)
    found = samples.recount(result)
    for outcome in sorted({answer.outcome for answer in result.answers}):
        output.line("draws", outcome, sum(answer.outcome == outcome for answer in result.answers))
    output.say(f"signed by {result.auditor} at {moment(result.issued_at)}, by their own clock")
    stands = samples.standing(result.plan, result.beacon, _policy(policy_file))
    code = _report(result.plan, stands, found)
    if result.policy != sha256(read_file(policy_file, MAX_POLICY)):
        output.say(f"the answers were judged under another policy than yours, SHA-256 {result.policy.hex()}")
    output.say("not in the file: the answers themselves; with them, `attest sample check` judges again")
    return code


def _trust(policy_file: Path, state_file: Path | None, now: int) -> samples.Trust:
    return samples.Trust(_policy(policy_file), now, None if state_file is None else _policy(state_file))


def _judge(made: Plan, beacon: Beacon, folder: Path, trust: samples.Trust) -> list[samples.Judged]:
    def answer_to(each: samples.Draw) -> bytes | None:
        try:
            return read_file(folder / samples.answer_name(made, each), MAX_BUNDLE)
        except (FileNotFoundError, Malformed):
            return None

    draws = samples.parse_worksheet(read_file(folder / _WORKSHEET, samples.MAX_WORKSHEET))
    judged = samples.judge(made, beacon, draws, answer_to, trust)
    for each in judged:
        output.line("draw", each.number, each.answer.position, each.answer.outcome, each.why)
    return judged


def _report(made: Plan, stands: samples.Standing, found: samples.Assessment) -> int:
    outcome = "supported" if found.supported else "not-supported"
    output.line(outcome, made.digest.hex(), made.count, made.size, found.failures, found.most_wrong, found.too_many)
    output.say(found.sentence)
    output.say(
        f"whatever the population (Clopper-Pearson): at most {100 * found.clopper_pearson:.3g} % would be noticed"
    )
    for each in stands.checked:
        output.say(f"checked: {each}")
    for each in stands.claimed:
        output.say(f"only claimed: {each}")
    for each in found.not_supported:
        output.say(f"not supported: {each}")
    return output.OK if found.supported else output.REFUTED


# --- beside samples ---


@sample.command()
@click.option("--declared", type=click.IntRange(0), required=True, help="systems that the company lists")
@click.option("--found", type=click.IntRange(0), required=True, help="systems that you found without that list")
@click.option("--both", type=click.IntRange(0), required=True, help="systems in both")
def systems(declared: int, found: int, both: int) -> None:
    """Estimate how many systems nobody listed (Chapman's capture-recapture)."""
    if both > min(declared, found):
        raise click.UsageError("more in both than in one of them")
    estimate, variance = sampling.chapman(declared, found, both)
    listed = declared + found - both
    output.line("systems", f"{estimate:.1f}", f"{variance:.1f}", f"{estimate - listed:.1f}")
    output.say(
        f"about {estimate - listed:.1f} systems that neither of you lists, variance {variance:.1f};"
        " crude: it assumes that both lists were made independently"
    )


@sample.command()
@click.option("--hits", type=click.IntRange(0), required=True)
@click.option("--probes", type=click.IntRange(1), required=True, help="probes that hit before the deletion")
@click.option("--control-hits", type=click.IntRange(0), required=True)
@click.option("--controls", type=click.IntRange(1), required=True, help="probes that never were in the database")
def probes(hits: int, probes: int, control_hits: int, controls: int) -> None:
    """Compare probes with controls (Fisher's exact test, one-sided)."""
    if hits > probes or control_hits > controls:
        raise click.UsageError("more hits than probes")
    chance = sampling.fisher(hits, probes, control_hits, controls)
    output.line("p", f"{chance:.3g}")
    output.say(f"were probes no more likely to hit than controls, so many hits would have a chance of {chance:.3g}")


# --- shared ---


def _log(ctx: click.Context, where: str, policy: Policy | None) -> LogClient:
    """Open a log at a URL, or in a directory of its public files."""
    from attest.transport import LogClient, PublicFiles

    if where.startswith(("https://", "http://")):
        # Tests put a transport here.
        return LogClient(where, policy, transport=(ctx.obj or {}).get("transport"), on_wait=output.say)
    if not Path(where).is_dir():
        raise click.UsageError("want the log's URL, with https://, or a directory of its public files")
    return LogClient("http://localhost", policy, transport=PublicFiles(Path(where)))


def _now(ctx: click.Context) -> int:
    clock: Callable[[], float] = (ctx.obj or {}).get("clock", time.time)
    return int(clock())


def _policy(path: Path) -> Policy:
    return Policy.parse(read_file(path, MAX_POLICY))


def _plan(path: Path) -> Plan:
    return Plan.parse(read_file(path, MAX_PLAN))


def _beacon(path: Path) -> Beacon:
    return Beacon.parse(read_file(path, MAX_BEACON))
