"""Audit samples that neither side can steer: worksheets for what was drawn, answers judged, results recounted.

Spec: docs/spec/sample.md.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from attest.audit.frame import verify_row
from attest.audit.sampling import clopper_pearson, draw, most_wrong, tolerable_count
from attest.audit.words import moment
from attest.crypto import commitment, vrf
from attest.encoding import parse_decimal, parse_hex, parse_utf8, sha256
from attest.errors import AttestError, Malformed, Refuted, Untrusted
from attest.formats.bundle import Bundle
from attest.formats.keepsake import Keepsake
from attest.formats.policy import Policy
from attest.formats.sample import FAILED, GOOD, MILLION, Answer, Beacon, Plan, Result
from attest.ledger.verify import Question, SystemResult, Verdict, verify
from attest.merkle.tree import leaf_hash, verify_inclusion

COLUMNS: Final = ("draw", "position", "index", "commitment", "locator", "opening", "inspected", "note")
INSPECTED: Final = ("", "absent", "present")
MAX_WORKSHEET: Final = 256 << 20  # bytes
MAX_CELL: Final = 4096  # characters
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_EVER: Final = 2**53 - 1  # seconds: an answer may be as old as the plan


# --- worksheets ---


@dataclass(frozen=True, slots=True)
class Draw:
    """One line of a worksheet: what was drawn, and what the company and the auditor have filled in."""

    number: int  # from 1, in the order drawn
    position: int
    row: bytes = b""  # backward and erased: index and commitment
    locator: str = ""
    opening: bytes = b""  # what puts the row, or the frame's locator, under the plan's root
    inspected: str = ""
    note: str = ""


def draws_of(plan: Plan, beacon: Beacon) -> list[Draw]:
    """Draw. Raises `Refuted`: `sample/round`, `sample/value`."""
    plan.check_beacon(beacon)
    positions = draw(beacon.value, plan.checkpoint.checkpoint.encode(), plan.digest, plan.count, plan.size)
    return [Draw(number, position) for number, position in enumerate(positions, 1)]


def with_rows(draws: Iterable[Draw], rows: Mapping[int, tuple[bytes, bytes]]) -> list[Draw]:
    """Fill in what stands at each position, index and commitment, and its path."""
    return [replace(each, row=rows[each.position][0], opening=rows[each.position][1]) for each in draws]


def with_frame(draws: Iterable[Draw], rows: Mapping[int, tuple[str, bytes]]) -> list[Draw]:
    """Fill in the frame's locators and their openings."""
    return [replace(each, locator=rows[each.position][0], opening=rows[each.position][1]) for each in draws]


def encode_worksheet(draws: Iterable[Draw]) -> bytes:
    """Write CSV (RFC 4180). No cell that begins as a formula does is ever written."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for each in draws:
        cells = (
            str(each.number),
            str(each.position),
            _shown(each.row[:32]),
            _shown(each.row[32:]),
            each.locator,
            _shown(each.opening),
            each.inspected,
            each.note,
        )
        for cell in cells:
            _check_cell(cell, each.number)
        writer.writerow(cells)
    return text.getvalue().encode()


def parse_worksheet(encoded: bytes) -> list[Draw]:
    """Read a worksheet, also as a spreadsheet writes it again: quotes, line ends and a byte order mark may differ.

    Raises:
        Malformed: `sample/worksheet`, with the line at fault; `encoding/…`.
    """
    if len(encoded) > MAX_WORKSHEET:
        raise Malformed("sample/worksheet", f"{len(encoded)} bytes, at most {MAX_WORKSHEET} are read")
    try:
        text = parse_utf8(encoded).removeprefix("\ufeff")
    except Malformed as error:
        hint = "in a spreadsheet, save it as `CSV UTF-8`"
        raise Malformed("sample/worksheet", error.message, hint=hint) from None
    # Spreadsheets separate cells by what their country does; no column has that in its name.
    separator = next((each for each in ";\t" if text.startswith((COLUMNS[0] + each, f'"{COLUMNS[0]}"{each}'))), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    draws: list[Draw] = []
    try:
        if tuple(next(lines, ())) != COLUMNS:
            raise Malformed("sample/worksheet", f"want a first line of {','.join(COLUMNS)}")
        for number, cells in enumerate(lines, 1):
            if len(cells) != len(COLUMNS):
                raise Malformed("sample/worksheet", f"draw {number}: {len(cells)} cells, want {len(COLUMNS)}")
            for cell in cells:
                _check_cell(cell, number)
            drawn, position, index, committed, locator, opening, inspected, note = cells
            if drawn != str(number):
                raise Malformed(
                    "sample/worksheet",
                    f"line {number + 1} is not draw {number}: want every draw once, in the order drawn",
                    hint="sort by the first column, and add or remove no line",
                )
            inspected = inspected.strip(" ").lower()  # people type
            if inspected not in INSPECTED:
                raise Malformed("sample/worksheet", f"draw {number}: want absent, present or nothing in `inspected`")
            row = _hidden(index) + _hidden(committed)
            draws.append(Draw(number, parse_decimal(position), row, locator, _hidden(opening), inspected, note))
    except csv.Error as error:
        raise Malformed("sample/worksheet", f"not CSV after {len(draws)} draws: {error}") from None
    return draws


def _shown(value: bytes) -> str:
    # Digits alone, with an `e` among them, would be a number to a spreadsheet, and rounded.
    return f"0x{value.hex()}" if value else ""


def _hidden(cell: str) -> bytes:
    if cell and not cell.startswith("0x"):
        raise Malformed("sample/worksheet", "want hex digits behind 0x")
    return parse_hex(cell[2:])


def _check_cell(cell: str, number: int) -> None:
    # Whoever opens the file in a spreadsheet must not run what somebody else wrote into it.
    if cell.startswith(_FORMULA) or len(cell) > MAX_CELL or not cell.isprintable():
        raise Malformed(
            "sample/worksheet",
            f"draw {number}: a cell that begins as a formula does ({' '.join(_FORMULA[:4])}), has line breaks or other"
            f" control characters, or more than {MAX_CELL} of any",
        )


# --- answers ---


def answer_name(plan: Plan, each: Draw) -> str:
    """Return the name of the file that answers a draw, beside the worksheet."""
    return f"{each.number}.{'keepsake' if plan.direction == 'backward' else 'bundle'}"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a draw, and why."""

    number: int
    answer: Answer
    why: str  # a code of docs/errors.md, or a word


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the auditor trusts, and when this is."""

    policy: Policy
    now: int  # POSIX seconds
    state_policy: Policy | None = None

    def question(self, plan: Plan, locator: str) -> Question:
        """Ask about one locator of the plan's holder, however old the answer."""
        return Question(
            policy=self.policy,
            now=self.now,
            holder=plan.holder,
            locators=(locator,),
            state_policy=self.state_policy,
            expect="held",
            max_age=_EVER,
        )


class _Bad(Exception):
    """A draw failed: the outcome, and why."""

    def __init__(self, outcome: str, why: str) -> None:
        super().__init__(outcome, why)
        self.outcome = outcome
        self.why = why


def judge(
    plan: Plan, beacon: Beacon, draws: Sequence[Draw], answer_to: Callable[[Draw], bytes | None], trust: Trust
) -> list[Judged]:
    """Judge the answer to every draw. A draw without one has failed.

    Args:
        draws: the worksheet, filled in; it has to be of this plan and beacon.
        answer_to: the file that answers a draw, None if there is none: a lookup bundle, or for `backward` a keepsake.

    Raises:
        Refuted: `sample/positions`, the worksheet is not the draw; `sample/row`, what it shows does not stand there;
            `sample/fork`, an answer is under another root for the plan's checkpoint: keep both; and as `draws_of`.
        Malformed: `sample/worksheet`.
    """
    redrawn = draws_of(plan, beacon)
    if [(each.number, each.position) for each in draws] != [(each.number, each.position) for each in redrawn]:
        raise Refuted("sample/positions", "the worksheet is not what plan and beacon draw")
    check = {"forward": _held, "backward": _opened, "erased": _erased}[plan.direction]
    judged = []
    for each in draws:
        _check_row(plan, each)
        encoded = answer_to(each)
        try:
            if encoded is None:
                raise _Bad("unanswered", "no answer")
            check(plan, each, encoded, trust)
        except _Bad as bad:
            outcome, why = bad.outcome, bad.why
        else:
            outcome, why = GOOD[plan.direction], "verified"
        evidence = None if encoded is None else sha256(encoded)
        judged.append(Judged(each.number, Answer(each.position, outcome, evidence), why))
    return judged


def _check_row(plan: Plan, each: Draw) -> None:
    """Check that what the worksheet shows is what was drawn, and not what somebody would rather answer for."""
    forward = plan.direction == "forward"
    if forward and (each.row or each.inspected or bool(each.locator) != bool(each.opening)):
        raise Malformed(
            "sample/worksheet",
            f"draw {each.number}: a forward draw has no index, is not inspected, and has a locator with its opening",
        )
    try:
        if not forward:
            path = [each.opening[at : at + 32] for at in range(0, len(each.opening), 32)]
            verify_inclusion(leaf_hash(each.row), each.position, plan.count, plan.root, path)
        elif each.locator:
            verify_row(each.locator, each.opening, each.position, plan.count, plan.root)
    except AttestError as error:
        raise Refuted(
            "sample/row", f"draw {each.number}: what is shown does not stand at position {each.position}: {error.code}"
        ) from None


def _held(plan: Plan, each: Draw, encoded: bytes, trust: Trust) -> None:
    """Check that a row of the frame was held at the plan's checkpoint."""
    if not each.locator:
        raise _Bad("unanswered", "the worksheet has no locator")
    _, found = _state(plan, each.locator, encoded, trust)
    if found.result != "held":
        raise _Bad("not-held", found.result)
    _check_unchanged(plan, found)


def _erased(plan: Plan, each: Draw, encoded: bytes, trust: Trust) -> None:
    """Check that the locator of an erased index is known, and that the auditor looked and did not find it."""
    if not each.locator:
        raise _Bad("unanswered", "the worksheet has no locator")
    bundle, found = _state(plan, each.locator, encoded, trust)
    beta = vrf.verify(bundle.vrf_key, commitment.alpha(each.locator), bundle.locators[0].proof)
    if commitment.index(plan.holder, plan.system, beta) != each.row[:32]:
        raise _Bad("other", "the locator has another index than the one drawn")
    if found.result != "erased":
        raise _Bad("not-erased", found.result)
    _check_unchanged(plan, found)
    if each.inspected != "absent":
        raise _Bad("present" if each.inspected else "not-inspected", "inspection")


def _state(plan: Plan, locator: str, encoded: bytes, trust: Trust) -> tuple[Bundle, SystemResult]:
    """Return what a verified lookup bundle says of a locator in the plan's system."""
    try:
        question = trust.question(plan, locator)
        verdict = verify(encoded, question)
        bundle = Bundle.parse(encoded)
    except AttestError as error:
        raise _Bad("unanswered", error.code) from None
    # Whether all is held or excluded is not asked here; everything below that question has to hold.
    if verdict.outcome != "holds" and not verdict.code.startswith("claim/"):
        raise _Bad("refuted", verdict.code)
    if bundle.kind != "lookup" or len(bundle.locators) != 1:
        raise _Bad("unanswered", "want a lookup bundle of one locator")
    _check_checkpoint(plan, verdict, bundle)
    result = next((each for each in verdict.systems if each.system == plan.system), None)
    if result is None:
        raise _Bad("not-held", "the system is not registered")
    return bundle, result


def _check_checkpoint(plan: Plan, verdict: Verdict, bundle: Bundle) -> None:
    shown, planned = bundle.checkpoint.checkpoint, plan.checkpoint.checkpoint
    if verdict.origin != planned.origin:
        raise _Bad("refuted", "of another log")
    if shown.size < planned.size:
        raise _Bad("refuted", "of a checkpoint before the plan's")
    if shown.size == planned.size and shown.root != planned.root:
        raise Refuted("sample/fork", f"two roots for size {shown.size}: the plan's and an answer's; keep both")


def _check_unchanged(plan: Plan, found: SystemResult) -> None:
    # What was committed once the draw was known says nothing about before.
    if found.entry is None or found.entry >= plan.checkpoint.checkpoint.size:
        raise _Bad("changed-since", f"set by entry {found.entry}")


def _opened(plan: Plan, each: Draw, encoded: bytes, trust: Trust) -> None:
    """Check that a keepsake opens the drawn commitment, under the index that the VRF gives its locator."""
    try:
        keepsake = Keepsake.parse(encoded)
        beta = vrf.verify(keepsake.vrf_key, commitment.alpha(keepsake.locator), keepsake.vrf_proof)
    except AttestError as error:
        raise _Bad("unanswered" if isinstance(error, Malformed) else "refuted", error.code) from None
    if commitment.index(plan.holder, plan.system, beta) != each.row[:32]:
        raise _Bad("other", "the keepsake is of another index")
    held = (hold for hold in keepsake.holds if hold.system == plan.system)
    hold = next((hold for hold in held if hold.bundle.rows[0].commitment == each.row[32:]), None)
    if hold is None:
        raise _Bad("other", "the keepsake is of another commitment")
    if fault := keepsake.fault(hold):
        raise _Bad("refuted", fault)
    # The log's own proof that this holder is bound to this VRF key.
    verdict = verify(hold.bundle.encode(), trust.question(plan, keepsake.locator))
    if verdict.outcome != "holds":
        raise _Bad("refuted", verdict.code)
    if verdict.origin != plan.checkpoint.checkpoint.origin:
        raise _Bad("refuted", "of another log")
    if hold.entry >= plan.checkpoint.checkpoint.size:
        raise _Bad("changed-since", f"set by entry {hold.entry}")
    if each.inspected == "absent":
        raise _Bad("missing", "inspection")


# --- results ---


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a sample supports. Rates are of the population."""

    failures: int
    most_wrong: int  # upper confidence limit, exact for this population
    too_many: int  # the least number of wrong ones that the plan calls too many
    clopper_pearson: float  # upper limit of the rate, whatever the population: of what is noticed
    supported: bool
    sentence: str
    not_supported: tuple[str, ...]


def assess(plan: Plan, outcomes: Sequence[str]) -> Assessment:
    """Say what these outcomes, one for each draw, support and what not."""
    failures = sum(outcome != GOOD[plan.direction] for outcome in outcomes)
    limit = most_wrong(plan.count, plan.size, failures, plan.confidence_ppm, recall_ppm=plan.recall_ppm)
    too_many = tolerable_count(plan.count, plan.tolerable_ppm)
    supported = limit < too_many
    checkpoint = plan.checkpoint.checkpoint
    what, wrong = _WORDS[plan.direction]
    frame = what.format(count=plan.count, holder=plan.holder, system=plan.system)
    recall = f", if each has a chance of {_percent(plan.recall_ppm)} to be noticed"
    noticed = "" if plan.recall_ppm == MILLION else recall
    verdict = "this supports" if supported else "this does not support"
    sentence = (
        f"Of {frame}, {plan.size} were drawn at checkpoint {checkpoint.size} of log {checkpoint.origin} and {failures}"
        f" failed: with {_percent(plan.confidence_ppm)} confidence at most {limit} ({100 * limit / plan.count:.3g} %)"
        f" {wrong}{noticed}; {verdict} that fewer than {too_many} ({_percent(plan.tolerable_ppm)}) are wrong."
    )
    limits = (
        f"anything about a copy that is not in {plan.system}, or about rows that were not in what was drawn from",
        "anything about one row that was not drawn",
        *_LIMITS[plan.direction],
    )
    return Assessment(
        failures,
        limit,
        too_many,
        clopper_pearson(plan.size, failures, plan.confidence_ppm),
        supported,
        sentence,
        limits,
    )


_WORDS = {
    "forward": (
        "the {count} rows of the frame that {holder} gave for {system}",
        "are not held in the committed inventory",
    ),
    "backward": ("the {count} indexes held in {system} of {holder}", "cannot be opened"),
    "erased": ("the {count} indexes erased in {system} of {holder}", "are still there, or were not shown to be gone"),
}
_LIMITS = {
    "forward": (
        "that the frame is complete, or not diluted: what the company left out of it no draw can find, and what it"
        " put in makes the rest rarer",
    ),
    "backward": ("that what opens is about a person who exists: opened records are digests until somebody looks",),
    "erased": ("that nothing was copied before it was erased, or is held under another locator",),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Of the order that keeps anybody from steering: what was checked, and what is only said."""

    checked: tuple[str, ...]
    claimed: tuple[str, ...]


def standing(plan: Plan, beacon: Beacon, policy: Policy | None) -> Standing:
    """Check what can be checked of the order checkpoint, plan, beacon.

    Raises:
        Untrusted: `checkpoint/…`; Refuted: `signature/…`; as `Policy.check`.
    """
    checked = [f"the draw follows from plan {plan.digest.hex()} and round {beacon.round} of {beacon.source}"]
    claimed = ["that the plan was fixed before the round: whoever had its digest by then can confirm it"]
    due = None if plan.chain is None else plan.chain.time_of(plan.round)
    if due is None:
        claimed.append(
            "that the value is what the beacon said in that round, and when: the plan does not know its rounds"
        )
    else:
        checked.append(
            f"the value is the SHA-256 of its signature; the chain's parameters put the round at {moment(due)}"
        )
        claimed.append("that the signature is the chain's: a drand client checks it")
        checked.append(f"the plan says it was made at {moment(plan.made_at)}, before the round")
    if policy is None:
        claimed.append("that the checkpoint is the log's: no policy was given")
        return Standing(tuple(checked), tuple(claimed))
    weighed = policy.check(plan.checkpoint)
    if not weighed.logs:
        raise Untrusted("checkpoint/unpinned", "the policy pins no log key")
    if due is not None and weighed.quorum and weighed.existed_by is not None and weighed.existed_by < due:
        seen = moment(weighed.existed_by)
        checked.append(f"the checkpoint is the log's, and witnesses saw it by {seen}, before the round")
    else:
        checked.append("the checkpoint is the log's")
        claimed.append("that the checkpoint was there before the round: no quorum of witnesses shows it")
    return Standing(tuple(checked), tuple(claimed))


def recount(result: Result) -> Assessment:
    """Check all of a result that follows from plan and beacon: the draw, the count, the bound.

    Raises:
        Refuted: `sample/positions`, other rows were answered for than were drawn; `sample/count`, the outcomes do not
            lead to the failures or the bound that are signed; `sample/time`, signed before the round's value appeared;
            and as `draws_of`.
        Malformed: `sample/field`, an outcome that this direction does not have.
    """
    plan = result.plan
    drawn = draws_of(plan, result.beacon)
    if [answer.position for answer in result.answers] != [each.position for each in drawn]:
        raise Refuted("sample/positions", "the result is not about what plan and beacon draw")
    possible = {GOOD[plan.direction], *FAILED}
    if any(answer.outcome not in possible for answer in result.answers):
        raise Malformed("sample/field", f"an outcome that a draw {plan.direction} does not have")
    if plan.chain is not None and result.issued_at < plan.chain.time_of(plan.round):
        raise Refuted("sample/time", f"signed at {result.issued_at}, before the round's value appeared")
    found = assess(plan, [answer.outcome for answer in result.answers])
    if (result.failures, result.most_wrong) != (found.failures, found.most_wrong):
        raise Refuted(
            "sample/count",
            f"signed are {result.failures} failures and at most {result.most_wrong} wrong;"
            f" the outcomes make {found.failures} and {found.most_wrong}",
        )
    return found


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:.10g} %"
