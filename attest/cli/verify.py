"""`attest verify`: offline, with trust and question from the command line only."""

import os
import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from attest.cli import output
from attest.crypto import locators
from attest.errors import AttestError, Conflict, Malformed, Untrusted
from attest.formats.bundle import MAX_BUNDLE
from attest.formats.keepsake import MAX_KEEPSAKE, Keepsake
from attest.formats.policy import Policy
from attest.ledger.evidence import MAX_EVIDENCE, Evidence, is_evidence
from attest.ledger.evidence.exhibit import Sight
from attest.ledger.verify import LEVELS, Question, SystemResult, Verdict
from attest.ledger.verify import verify as judge

EXIT = {
    "holds": output.OK,
    "undecided": output.UNDECIDED,
    "refuted": output.REFUTED,
    "provisional": output.PROVISIONAL,
    "not-anchored": output.NOT_ANCHORED,
}
# Of several bundles the gravest outcome decides.
GRAVITY = ("holds", "provisional", "not-anchored", "undecided", "refuted")
_OTHER_FILE = "name another file, or move this one away"
_DURATION = re.compile(r"([0-9]{1,9})([smhdwy]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_557_600}


class Duration(click.ParamType[int]):
    """`90`, `15m`, `1d`: seconds, or with a unit of s m h d w y."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail(f"want a number with a unit of s, m, h, d, w or y, found {value!r}", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


class Moment(click.ParamType[int]):
    """POSIX seconds, or an ISO 8601 date or time; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if re.fullmatch(r"[0-9]{1,12}", value):
            return int(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"want POSIX seconds or ISO 8601, found {value!r}", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def read_file(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes. Raises `Malformed`: `file/size`."""
    with path.open("rb") as file:
        # A pipe has no size, so both are asked.
        large = os.fstat(file.fileno()).st_size > limit
        found = b"" if large else file.read(limit + 1)
    if large or len(found) > limit:
        raise Malformed("file/size", f"{path}: more than {limit} bytes")
    return found


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a new file. Raises `Conflict`: `file/exists`, nothing is overwritten."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise Conflict("file/exists", f"{path} exists", hint=_OTHER_FILE) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError as error:
        # Half a file would be in the way of the next attempt.
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def refuse_existing(path: Path) -> None:
    """Refuse a target before anybody is asked for what goes there. Raises `Conflict`: `file/exists`."""
    if path.exists():
        raise Conflict("file/exists", f"{path} exists", hint=_OTHER_FILE)


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@click.option(
    "--policy",
    "policy_file",
    required=True,
    type=click.Path(path_type=Path),
    help="whom you trust: a C2SP tlog-policy file",
)
@click.option(
    "--state-policy", "state_file", type=click.Path(path_type=Path), help="whom you trust to have checked every state"
)
@click.option("--holder", help="the holder you ask about, for example acme.example")
@click.option(
    "--locator", "asked", multiple=True, help="whom you ask about, for example email:ada@example.org; repeatable"
)
@click.option(
    "--keepsake",
    "keepsake_file",
    type=click.Path(path_type=Path),
    help="compare with what a keepsake shows; without --holder and --locator, ask about its own",
)
@click.option(
    "--expect",
    type=click.Choice(["excluded", "erased", "held"]),
    help="what should hold; by default what the bundle's kind shows",
)
@click.option("--level", type=click.Choice(LEVELS), default="A1", show_default=True, help="the least level to accept")
@click.option("--max-age", type=Duration(), default="1d", show_default=True, help="how old the checkpoint may be")
@click.option("--at", type=Moment(), help="judge as of this time instead of now")
@click.option("--json", "as_json", is_flag=True, help="print the whole verdict as JSON")
def verify(
    bundles: tuple[Path, ...],
    policy_file: Path,
    state_file: Path | None,
    holder: str | None,
    asked: tuple[str, ...],
    keepsake_file: Path | None,
    expect: str | None,
    level: str,
    max_age: int,
    at: int | None,
    as_json: bool,
) -> int:
    """Check bundles offline and print what they prove; and evidence, and what it refutes.

    Trust (--policy) and the question (--holder and --locator, or --keepsake) come from you only; nothing
    in a bundle can change them. Evidence needs the policy alone. Exit codes: 0 holds, 1 could not decide,
    2 usage, 3 refuted or not excluded, 4 provisional, 5 not anchored.
    """  # fmt: skip
    policy = _policy(policy_file)
    found = [_is_evidence(path) for path in bundles]
    gravest = "holds"
    for path in (path for path, evidence in zip(bundles, found, strict=True) if evidence):
        gravest = max(gravest, _refute(path, policy, as_json=as_json), key=GRAVITY.index)
    if all(found):
        return EXIT[gravest]
    question = _question(
        policy,
        state_file,
        holder,
        asked,
        keepsake_file,
        expect,
        level,
        max_age,
        int(time.time()) if at is None else at,
    )
    for path in (path for path, evidence in zip(bundles, found, strict=True) if not evidence):
        verdict = _judged(path, question)
        gravest = max(gravest, verdict.outcome, key=GRAVITY.index)
        if as_json:
            output.json({"file": str(path), **asdict(verdict)})
        else:
            output.line(verdict.outcome, path, verdict.code)
            explain(verdict)
    return EXIT[gravest]


def _is_evidence(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_evidence(file.read(4096))
    except OSError:
        return False  # judged, and undecided


def _refute(path: Path, policy: Policy, *, as_json: bool) -> str:
    """Look at evidence, print what is seen, and return the outcome: `refuted` where the lie is found again."""
    evidence: Evidence | None = None
    seen: Sight | None = None
    try:
        evidence = Evidence.parse(read_file(path, MAX_EVIDENCE))
        seen = evidence.check(policy)
        outcome, code, reason = "refuted", seen.refusal.code, seen.refusal.message
    except OSError as error:
        outcome, code, reason = "undecided", "file/unreadable", f"{error.strerror}: {path}"
    except AttestError as error:
        anchored = not isinstance(error, Untrusted) or not error.code.startswith("checkpoint/")
        # Evidence that shows nothing is no reason to believe, or to doubt, anybody.
        outcome, code, reason = "undecided" if anchored else "not-anchored", error.code, error.message
    if seen is not None and seen.word:
        outcome = "undecided"
    checkpoint = None if evidence is None else evidence.signed.checkpoint
    if as_json:
        output.json(
            {
                "file": str(path),
                "outcome": outcome,
                "code": code,
                "reason": reason,
                "origin": None if checkpoint is None else checkpoint.origin,
                "size": None if checkpoint is None else checkpoint.size,
                "committed": seen is not None and seen.committed,
            }
        )
        return outcome
    output.line(outcome, path, code)
    if checkpoint is not None:
        output.say(f"evidence about {checkpoint.origin} at size {checkpoint.size}")
    output.say(f"{outcome}: {reason}")
    if seen is not None:
        output.say(seen.sentence)
    return outcome


def _policy(path: Path) -> Policy:
    try:
        return Policy.parse(read_file(path, 1 << 20))
    except Malformed as error:
        # A policy that cannot be read is a wrong question, not a refuted answer.
        raise click.UsageError(f"{error.code}: {error.message}") from None
    except OSError as error:
        raise click.UsageError(f"{error.strerror}: {error.filename}") from None


def _judged(path: Path, question: Question) -> Verdict:
    """Judge a file. One that cannot be read is undecided, and the next one is judged all the same."""
    try:
        with path.open("rb") as file:
            # One byte too many is refused where it is parsed.
            return judge(file.read(MAX_BUNDLE + 1), question)
    except OSError as error:
        return Verdict(code="file/unreadable", reason=f"{error.strerror}: {path}", holder=question.holder)


def _question(
    policy: Policy,
    state_file: Path | None,
    holder: str | None,
    asked: tuple[str, ...],
    keepsake_file: Path | None,
    expect: str | None,
    level: str,
    max_age: int,
    now: int,
) -> Question:
    keepsake = None
    try:
        if keepsake_file is not None:
            keepsake = Keepsake.parse(read_file(keepsake_file, MAX_KEEPSAKE))
            # Both may be given as well: a certificate may need more locators than one keepsake is about.
            holder, asked = holder or keepsake.holder, asked or (keepsake.locator,)
        if holder is None or not asked:
            raise click.UsageError("say whom you ask about: --holder and --locator, or --keepsake")
        names = tuple(dict.fromkeys(locators.normalise(each) for each in asked))
        state_policy = None if state_file is None else Policy.parse(read_file(state_file, 1 << 20))
        return Question(
            policy=policy,
            now=now,
            holder=holder,
            locators=names,
            keepsake=keepsake,
            state_policy=state_policy,
            expect=expect,  # type: ignore[arg-type]  # click.Choice has checked it
            level=level,
            max_age=max_age,
        )
    except Malformed as error:
        # As with a policy.
        raise click.UsageError(f"{error.code}: {error.message}") from None
    except OSError as error:
        raise click.UsageError(f"{error.strerror}: {error.filename}") from None


def moment(seconds: int) -> str:
    """Return POSIX seconds as a UTC time people read."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return str(seconds)


def _seen(verdict: Verdict) -> str:
    """Tell who stands behind the checkpoint besides the log. A witness may have keys of several kinds, and one name."""
    if verdict.existed_by is None:
        return "no witnessed time"
    seen = f"existed by {moment(verdict.existed_by)}, cosigned by {', '.join(dict.fromkeys(verdict.witnesses))}"
    if verdict.anchor == "state-checked":
        seen += f", every change checked by {', '.join(dict.fromkeys(verdict.state_witnesses))}"
    return seen


def explain(verdict: Verdict) -> None:
    """Tell a person, on stderr, what was checked and what follows."""
    for step in verdict.steps:
        mark = "ok  " if step.ok else "FAIL"
        output.say(f"{step.number:2} {mark} {step.title}: {step.detail if step.ok else f'{step.code}: {step.detail}'}")
    if verdict.sentence:
        output.say(verdict.sentence)
    for result in verdict.systems:
        output.say(f"   {result.system} ({result.kind}): {_words(result.result)}{_aside(result)}")
    for each in verdict.intervals:
        output.say(
            f"   {each.system}: held by entry {each.hold}, erased by entry {each.tombstone};"
            f" the holder says {each.method} on {moment(each.erased_at)}, verified: {each.level}, ground {each.ground}"
        )
        if each.held_by is not None and each.held_until is not None and each.apart:
            output.say(
                f"      in the inventory from {moment(each.held_by)} to {moment(each.held_until)}, by the log's clock"
            )
        elif not each.apart:
            output.say("      hold and tombstone are in the same or neighbouring epochs: a decoy would cost nothing")
    if verdict.holder_name:
        how = {"operator": "the operator's word", "domain": "domain confirmed"}.get(verdict.holder_check, "unknown")
        frozen = "; this party has ended, its state is frozen" if verdict.holder_ended else ""
        output.say(
            f"holder: {verdict.holder}, {verdict.holder_name} ({verdict.holder_legal_id}), identity: {how}{frozen}"
        )
    if verdict.predecessor:
        output.say(
            f"this log continues {verdict.predecessor}, from its checkpoint of {verdict.predecessor_size} entries:"
            " ask there too"
        )
    if verdict.ended and verdict.epoch_time is not None:
        when = moment(verdict.epoch_time)
        output.say(f"this log ended with this checkpoint, by its own claim on {when}: there is no newer one")
    if verdict.epoch_time is not None:
        output.say(f"as of: {moment(verdict.epoch_time)} by the log's own claim; {_seen(verdict)}")
    if verdict.claim is not None:
        output.say(f"claim: {verdict.claim}; anchor: {verdict.anchor}; level: {verdict.level}")
        output.say(f"not higher because {verdict.why_not_higher}")
        for missing in verdict.not_proven:
            output.say(f"not proven: {missing}")
    output.say(f"{verdict.outcome}: {verdict.reason}")
    if verdict.hint:
        output.say(f"hint: {verdict.hint}")


def _words(result: str) -> str:
    return {
        "held": "HELD",
        "erased": "erased",
        "never-committed": "never committed",
        "empty": "empty, holds nothing of anybody",
        "not-indexed": "NOT INDEXED by the kinds of locator asked",
    }[result]


def _aside(result: SystemResult) -> str:
    asides = []
    if result.entry is not None:
        asides.append(f"entry {result.entry}, generation {result.generation}, version {result.version}")
    if result.backup_until is not None:
        asides.append(f"a backup, may hold until {moment(result.backup_until)}")
    if result.retired:
        asides.append("retired: frozen")
    if result.not_asked:
        asides.append(f"also indexes by {', '.join(result.not_asked)}, not asked")
    return f" ({'; '.join(asides)})" if asides else ""
