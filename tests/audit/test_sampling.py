"""The mathematics of samples, against golden tables, vectors and exact fractions; and the formats, against vectors."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.audit import frame as frames
from attest.audit import opened, population, sampling
from attest.audit.sample import assess, recount
from attest.crypto.keys import SigningKey
from attest.encoding import sha256
from attest.errors import AttestError, Malformed
from attest.formats.checkpoint import Checkpoint
from attest.formats.rows import RowFile
from attest.formats.sample import Chain, Plan, Result
from attest.formats.statement import Hold, Tombstone, sign_statement
from attest.merkle import tiles, tree
from attest.transport import LogClient, PublicFiles
from tests.audit import make_vectors as slow

# docs: audit literature's zero-failure sizes at 95 % and 99 %; a row per population, a column per tolerable rate.
RATES = (100_000, 50_000, 10_000, 1_000, 100)
SIZES = {
    1_000: ((29, 43), (57, 86), (258, 368), (951, 991), None),
    10_000: ((29, 44), (59, 90), (294, 448), (2_588, 3_689), (9_501, 9_901)),
    1_000_000: ((29, 44), (59, 90), (299, 459), (2_990, 4_593), (29_512, 45_006)),
    30_000_000: ((29, 44), (59, 90), (299, 459), (2_995, 4_603), (29_941, 46_015)),
}


def cases(name: str) -> list[Any]:
    found: list[Any] = json.loads((slow.VECTORS / "sample" / f"{name}.json").read_text())["cases"]
    return found


def described(case: Any) -> str:
    return str(case["desc"])


@pytest.mark.parametrize("name", slow.FILES)
def test_the_vectors_are_what_the_slow_transcription_writes(name: str) -> None:
    """No vector was edited by hand or forgotten: python -m tests.audit.make_vectors."""
    assert (slow.VECTORS / name).read_text(encoding="ascii") == slow.text_of(name)


# --- sizes and bounds ---


@pytest.mark.parametrize("count", SIZES)
def test_sizes_are_those_of_the_table(count: int) -> None:
    """Finite populations, no failure allowed."""
    for rate, wanted in zip(RATES, SIZES[count], strict=True):
        if wanted is not None:
            assert tuple(sampling.sample_size(count, rate, each) for each in (950_000, 990_000)) == wanted


@pytest.mark.parametrize(
    ("failures", "size", "wanted"),
    [(0, 59, 4.95), (1, 93, 5.0), (2, 124, 5.0), (0, 299, 1.0), (1, 473, 1.0), (1, 300, 1.6)],
)
def test_clopper_pearson_limits_are_those_of_the_table(failures: int, size: int, wanted: float) -> None:
    """Upper 95 % limits, in percent, to the digits of the table."""
    digits = len(str(wanted).partition(".")[2])
    found = 100 * sampling.clopper_pearson(size, failures, 950_000)
    assert round(found, digits) == wanted


def test_clopper_pearson_99_percent_limits_are_those_of_the_table() -> None:
    """The two that the table has."""
    assert round(100 * sampling.clopper_pearson(59, 0, 990_000), 1) == 7.5
    assert round(100 * sampling.clopper_pearson(299, 0, 990_000), 1) == 1.5


@given(st.integers(2, 60), st.data(), st.sampled_from([800_000, 950_000, 990_000]))
@settings(max_examples=30, deadline=None)
def test_clopper_pearson_is_where_the_binomial_leaves_the_confidence(size: int, data: Any, confidence: int) -> None:
    """At the limit so few failures are as improbable as the confidence says, by exact arithmetic."""
    failures = data.draw(st.integers(0, size - 1))
    rate = Fraction(sampling.clopper_pearson(size, failures, confidence))
    few = sum(comb(size, k) * rate**k * (1 - rate) ** (size - k) for k in range(failures + 1))
    assert abs(few - (1 - Fraction(confidence, 10**6))) < Fraction(1, 10**9)


@pytest.mark.parametrize(("recall", "wanted"), [(900_000, 332), (700_000, 427)])
def test_a_weaker_test_takes_a_larger_sample(recall: int, wanted: int) -> None:
    """As ln(alpha) / ln(1 - r f) says where the population is large."""
    assert sampling.sample_size(30_000_000, 10_000, 950_000, recall_ppm=recall) == wanted


@pytest.mark.parametrize("case", cases("bounds"), ids=described)
def test_sizes_and_limits_are_those_of_exact_fractions(case: Any) -> None:
    """The vectors, ties included."""
    arguments = case["count"], case["tolerable_ppm"], case["confidence_ppm"]
    if "code" in case:
        with pytest.raises(Malformed) as error:
            sampling.sample_size(*arguments, recall_ppm=case["recall_ppm"], allowed=case["allowed"])
        assert error.value.code == case["code"]
        return
    size = sampling.sample_size(*arguments, recall_ppm=case["recall_ppm"], allowed=case["allowed"])
    limit = sampling.most_wrong(
        case["count"], size, case["failures"], case["confidence_ppm"], recall_ppm=case["recall_ppm"]
    )
    assert (size, limit) == (case["size"], case["most_wrong"])
    assert sampling.tolerable_count(case["count"], case["tolerable_ppm"]) == case["too_many"]


@given(st.integers(1, 60), st.data(), st.sampled_from([10**6, 900_000, 333_333]))
@settings(deadline=None)
def test_chances_are_exact(count: int, data: Any, recall: int) -> None:
    """The hypergeometric distribution, thinned, against fractions."""
    wrong, size = data.draw(st.integers(0, count)), data.draw(st.integers(1, count))
    failures = data.draw(st.integers(0, size))
    exact = slow.probability(count, wrong, size, failures, recall)
    assert sampling.chance(count, wrong, size, failures, recall) == pytest.approx(float(exact), rel=1e-9)


@given(st.integers(2, 50), st.data(), st.sampled_from([500_000, 900_000, 950_000]))
@settings(deadline=None)
def test_a_limit_is_exceeded_as_rarely_as_its_confidence_says(count: int, data: Any, confidence: int) -> None:
    """Coverage: whatever the number of wrong ones, the chance that the limit is below it is less than alpha."""
    size, wrong = data.draw(st.integers(1, count)), data.draw(st.integers(0, count))
    misses = sum(
        Fraction(comb(wrong, f) * comb(count - wrong, size - f), comb(count, size))
        for f in range(min(size, wrong) + 1)
        if size - f <= count - wrong and sampling.most_wrong(count, size, f, confidence) < wrong
    )
    assert misses < 1 - Fraction(confidence, 10**6)


def test_limits_grow_with_failures_and_shrink_with_size() -> None:
    """One more failure never helps, one more draw never hurts."""
    by_failures = [sampling.most_wrong(5_000, 200, f, 950_000) for f in range(6)]
    by_size = [sampling.most_wrong(5_000, n, 1, 950_000) for n in range(50, 400, 50)]

    assert all(a < b for a, b in pairwise(by_failures))
    assert all(a > b for a, b in pairwise(by_size))


def test_scipy_is_as_exact_as_the_tolerance_needs_at_the_largest_population() -> None:
    """A billion rows: the error is far below what counts as a tie."""
    count, wrong, size = 10**9, 100_000, 29_956
    # The product form of the hypergeometric, whatever is larger in front.
    exact = Fraction(comb(count - size, 300), comb(count, 300))
    assert sampling.chance(count, 300, size, 0) == pytest.approx(float(exact), rel=sampling._TOLERANCE / 10)
    assert 0.049 < sampling.chance(count, wrong, size, 0) < 0.051


def test_chapman_estimates_what_nobody_listed() -> None:
    """40 declared, 25 found, 20 in both: about 49.8, so about 5 that stand in neither list."""
    estimate, variance = sampling.chapman(40, 25, 20)
    assert Fraction(41 * 26, 21) - 1 == pytest.approx(estimate)
    assert round(estimate - 45) == 5 and round(variance) == 11
    assert sampling.chapman(7, 7, 7) == (7, 0)
    with pytest.raises(ValueError, match="in both"):
        sampling.chapman(3, 2, 3)


@pytest.mark.parametrize(
    ("table", "wanted"), [((6, 60, 0, 60), "0.014"), ((3, 60, 0, 300), "0.0044"), ((3, 60, 0, 60), "0.12")]
)
def test_probes_are_compared_by_fishers_exact_test(table: tuple[int, int, int, int], wanted: str) -> None:
    """The golden values, and the sum of the tail in fractions."""
    hits, probes, control_hits, controls = table
    found = sampling.fisher(*table)
    all_hits = hits + control_hits
    tail = sum(
        Fraction(comb(probes, k) * comb(controls, all_hits - k), comb(probes + controls, all_hits))
        for k in range(hits, all_hits + 1)
    )
    assert f"{found:.2g}" == wanted
    assert found == pytest.approx(float(tail))


# --- the draw ---


@pytest.mark.parametrize("case", cases("draws"), ids=described)
def test_anybody_draws_the_same_positions(case: Any) -> None:
    """The vectors."""
    value, digest = bytes.fromhex(case["value"]), bytes.fromhex(case["plan"])
    assert sampling.draw(value, case["checkpoint"], digest, case["count"], case["size"]) == case["positions"]


@given(st.integers(1, 300), st.data(), st.binary(min_size=32, max_size=64))
@settings(deadline=None)
def test_a_draw_is_of_distinct_positions(count: int, data: Any, value: bytes) -> None:
    """All below the population, none twice; a shorter draw is the beginning of a longer one."""
    size = data.draw(st.integers(1, count))
    positions = sampling.draw(value, slow.CHECKPOINT, bytes(32), count, size)

    assert len(set(positions)) == size and set(positions) <= set(range(count))
    assert sampling.draw(value, slow.CHECKPOINT, bytes(32), count, 1) == positions[:1]


def test_every_position_is_drawn_alike() -> None:
    """Chi-squared over 10 positions in 2,000 draws of 3: below the 99.9 % limit of 27.9. The values are fixed."""
    seen: Counter[int] = Counter()
    for n in range(2_000):
        seen.update(sampling.draw(sha256(b"%d" % n), slow.CHECKPOINT, bytes(32), 10, 3))
    assert sum((each - 600) ** 2 / 600 for each in seen.values()) < 27.9


def test_any_change_of_checkpoint_plan_or_value_is_another_draw() -> None:
    """Nothing that enters can be exchanged afterwards."""
    value, digest = sha256(b"value"), sha256(b"plan")
    draws = {
        tuple(sampling.draw(*each, 10**6, 5))
        for each in (
            (value, slow.CHECKPOINT, digest),
            (sha256(b"other"), slow.CHECKPOINT, digest),
            (value, slow.CHECKPOINT.replace("7", "8"), digest),
            (value, slow.CHECKPOINT, sha256(b"other plan")),
        )
    }
    assert len(draws) == 4


# --- trees, frames, populations ---


@given(st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_an_opened_tree_is_the_whole_tree(count: int, data: Any) -> None:
    """Whatever the parts it keeps: root and paths are those of a tree with all leaves."""
    leaves = [sha256(b"%d" % n) for n in range(count)]
    wanted = data.draw(st.sets(st.integers(0, count - 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened, "LEVEL", 2)
        patch.setattr(opened, "PART", 4)
        made = opened.OpenedTree(wanted)
        at = 0
        while at < count:
            step = data.draw(st.integers(1, 9))
            made.append(leaves[at : at + step])
            at += step

        assert (made.size, made.root()) == (count, slow.root(leaves))
        assert made.open(wanted) == {n: b"".join(slow.path(n, leaves)) for n in wanted}


@pytest.mark.parametrize("case", cases("frames"), ids=described)
def test_frames_open_row_by_row(case: Any, tmp_path: Path) -> None:
    """The vectors: root and openings, or the code."""
    path = tmp_path / "frame"
    path.write_bytes(case["file"].encode())
    if "code" in case:
        with pytest.raises(Malformed) as error:
            frames.read_frame(path)
        assert error.value.code == case["code"]
        return
    found = frames.read_frame(path, range(case["count"]))

    assert (found.count, found.root.hex()) == (case["count"], case["root"])
    assert [found.rows[n][1].hex() for n in range(case["count"])] == case["openings"]
    for n, (locator, opening) in found.rows.items():
        frames.verify_row(locator, opening, n, found.count, found.root)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80))
@settings(max_examples=40, deadline=None)
def test_a_frame_is_sorted_on_disk(numbers: list[int]) -> None:
    """In any order, with repeats, in parts of any size: each locator once, ascending."""
    wanted = sorted({f"email:p{n}@example.org" for n in numbers})
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "_SORTED", 7)
        path = Path(folder) / "frame"
        frames.write_frame(path, (f"email:p{n}@example.org" for n in numbers), bytes(32))

        assert path.read_text().split("\n") == [f"attest-frame/1 {'00' * 32}", *wanted, ""]
        assert path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in Path(folder).iterdir()] == ["frame"]


def test_a_frame_of_one_row_cannot_be_guessed_from_its_root(tmp_path: Path) -> None:
    """The secret enters every leaf: the same locators make another root each time."""
    roots = set()
    for n in range(2):
        path = tmp_path / str(n)
        frames.write_frame(path, ["email:ada@example.org"], sha256(b"%d" % n))
        roots.add(frames.read_frame(path).root)

    assert len(roots) == 2 and tree.leaf_hash(b"email:ada@example.org") not in roots


ORIGIN = "log.example/deletions"


def publish(folder: Path, history: list[tuple[str, list[bytes]]], **changes: Any) -> Checkpoint:
    """Write the public files of a log with these statements of acme.example about system crm, and some of others."""
    key = SigningKey.from_seed(bytes(32))
    entries: list[bytes] = []
    (folder / "rows").mkdir()
    for n, (kind, rows) in enumerate(history):
        made = RowFile.build({row[:32]: row[32:] for row in rows})
        (folder / "rows" / made.root().hex()).write_bytes(made.encoded)
        payload = (
            Hold(len(made), made.root(), "collected")
            if kind == "hold"
            else Tombstone(len(made), made.root(), 1, "logical_delete", "none", "x")
        )
        for issuer, stream in (("acme.example", "crm"), ("acme.example", "crm2"), ("crm.acme.example", "search")):
            claims = {"issuer": f"https://{issuer}", "stream": stream, "audience": ORIGIN, "issued_at": 1, **changes}
            entries.append(sign_statement(key, payload, seq=n, **claims).entry)
    for start in range(0, len(entries), tiles.FULL):
        part = entries[start : start + tiles.FULL]
        target = folder / tiles.entries_path(start // tiles.FULL, len(part))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(tiles.encode_bundle(part))
    return Checkpoint(ORIGIN, len(entries), tree.root(tree.leaf_hashes(entries)))


def read(folder: Path, checkpoint: Checkpoint, **options: Any) -> population.Population:
    with LogClient("http://localhost", None, origin=ORIGIN, transport=PublicFiles(folder)) as log:
        return population.read_population(log, checkpoint, "acme.example", "crm", **options)


@pytest.mark.parametrize("case", cases("populations"), ids=described)
def test_populations_are_what_the_last_statements_leave(case: Any, tmp_path: Path) -> None:
    """The vectors: count and root, and every row with a path under it."""
    history = [(each["kind"], [bytes.fromhex(row) for row in each["rows"]]) for each in case["statements"]]
    checkpoint = publish(tmp_path, history)
    found = read(tmp_path, checkpoint, erased=case["direction"] == "erased", wanted=range(case["count"]))

    assert (found.count, found.root.hex()) == (case["count"], case["root"])
    assert [found.rows[n][0].hex() for n in range(case["count"])] == case["rows"]
    for n, (row, path) in found.rows.items():
        hashes = [path[at : at + 32] for at in range(0, len(path), 32)]
        tree.verify_inclusion(tree.leaf_hash(row), n, found.count, found.root, hashes)


@given(
    st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12, unique=True), min_size=1, max_size=8), st.booleans()
)
@settings(max_examples=30, deadline=None)
def test_populations_do_not_depend_on_their_buckets(batches: list[list[int]], erased: bool) -> None:
    """Random histories, spilled into many buckets, against a dict."""
    history, held = [], dict[int, int]()
    for n, numbers in enumerate(batches):
        gone = [each for each in numbers if n % 2 and each in held]
        if gone:
            history.append(("tombstone", [slow.row(each, held.pop(each)) for each in gone]))
        fresh = [each for each in numbers if each not in gone]
        if fresh:
            held |= dict.fromkeys(fresh, n)
            history.append(("hold", [slow.row(each, n) for each in fresh]))
    wanted = slow.population(history, "tombstone" if erased else "hold")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "_BUCKET", 3)
        checkpoint = publish(Path(folder), history)
        found = read(Path(folder), checkpoint, erased=erased, wanted=range(len(wanted)))

    assert (found.count, found.root) == (len(wanted), slow.root([slow.leaf(row) for row in wanted]))
    assert [found.rows[n][0] for n in range(found.count)] == wanted


def damage_entry(folder: Path) -> str:
    path = next((folder / "tile/entries").rglob("*.p/*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in a signature: it still parses
    path.write_bytes(content)
    return "sample/entries"


def damage_row(folder: Path) -> str:
    path = next((folder / "rows").iterdir())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return "rows/root"


def shorten_row(folder: Path) -> str:
    path = next((folder / "rows").iterdir())
    path.write_bytes(path.read_bytes()[:-64])
    return "rows/count"


@pytest.mark.parametrize("damage", [damage_entry, damage_row, shorten_row])
def test_a_log_that_serves_something_else_is_noticed(damage: Any, tmp_path: Path) -> None:
    """Entries that lead to another root, rows that are not their statement's."""
    checkpoint = publish(tmp_path, [slow.HISTORY[0]])
    code = damage(tmp_path)
    with pytest.raises(AttestError) as error:
        read(tmp_path, checkpoint)
    assert error.value.code == code


def test_statements_for_another_log_do_not_count(tmp_path: Path) -> None:
    """A statement made for another log says nothing here."""
    assert read(tmp_path, publish(tmp_path, slow.HISTORY, audience="other.example/log")).count == 0


# --- plans and results ---


@pytest.mark.parametrize("case", cases("chains"), ids=described)
def test_a_chains_parameters_are_those_of_its_hash(case: Any) -> None:
    """So nobody moves a round in time."""
    try:
        chain = Chain.from_json(case["chain"], "chain")
    except AttestError as error:
        assert error.code == case.get("code")
        return
    assert "code" not in case
    for number, moment in case["rounds"]:
        assert chain.time_of(number) == moment
        assert (chain.round_after(moment), chain.round_after(moment - 1)) == (number, number)
        assert chain.round_after(moment + 1) == number + 1


RESULTS = json.loads((slow.VECTORS / "sample/results.json").read_text())


@pytest.mark.parametrize("case", RESULTS["cases"], ids=described)
def test_a_result_is_counted_again(case: Any) -> None:
    """The vectors: what a result supports, or the code of what is wrong with it."""
    try:
        result = Result.parse(bytes.fromhex(case["result"]))
        result.verify_signature(bytes.fromhex(RESULTS["public"]))
        found = recount(result)
    except AttestError as error:
        assert error.code == case.get("code")
        return
    assert "code" not in case
    assert (found.failures, found.most_wrong, found.supported) == (
        case["failures"],
        case["most_wrong"],
        case["supported"],
    )


def mutations() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "a float", {"size": 25.0}
    yield "an unknown key", {"more": 1}
    yield "another direction", {"direction": "sideways"}
    yield "more than there are", {"size": 101}
    yield "none", {"size": 0}
    yield "nothing to draw from", {"population": {"count": 0, "root": "00" * 32}}
    yield "too much to draw from", {"population": {"count": 10**9 + 1, "root": "00" * 32}}
    yield "a certainty", {"target": {"tolerable_ppm": 1, "confidence_ppm": 10**6, "recall_ppm": 10**6, "allowed": 0}}
    yield "more allowed than drawn", {"target": {**slow.plan_of()["target"], "allowed": 25}}
    yield "no holder", {"holder": "acme"}
    yield "another source than the chain", {"beacon": {**slow.plan_of()["beacon"], "source": "drand:00"}}
    yield "round zero", {"beacon": {**slow.plan_of()["beacon"], "round": 0}}
    yield "a source with an escape", {"beacon": {"source": "a\x1b[2J", "round": 1, "chain": None}}
    yield "another format", {"format": "attest-sample-plan/2"}


@pytest.mark.parametrize(("what", "changes"), list(mutations()), ids=[what for what, _ in mutations()])
def test_a_plan_with_a_fault_is_refused(what: str, changes: dict[str, Any]) -> None:
    """Closed, bounded, and nothing that could be taken in two ways."""
    plan = json.dumps({**slow.plan_of(), **changes})
    with pytest.raises(Malformed):
        Plan.parse(plan.encode())


def test_a_plan_is_written_as_it_is_read() -> None:
    """What `write` makes parses to the same plan."""
    plan = Plan.parse(json.dumps(slow.plan_of()).encode())
    again = plan.write()

    assert Plan.parse(again.encoded) == again
    assert json.loads(again.encoded) == slow.plan_of()


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_whatever_is_no_result_is_malformed(encoded: bytes) -> None:
    """No other error from any bytes."""
    for start in (b"", b"\xd2\x84"):
        with pytest.raises(Malformed):
            Result.parse(start + encoded)


def test_the_sentence_says_what_is_supported_and_what_is_not() -> None:
    """With the numbers, in both cases."""
    plan = Plan.parse(json.dumps(slow.plan_of()).encode())
    good, bad = assess(plan, ["opened"] * 25), assess(plan, ["opened"] * 24 + ["unanswered"])

    assert good.supported and "this supports that fewer than 10 (10 %) are wrong" in good.sentence
    assert "at most 9 (9 %) cannot be opened" in good.sentence
    assert not bad.supported and "1 failed" in bad.sentence and "this does not support" in bad.sentence
    assert any("not drawn" in each for each in good.not_supported)
