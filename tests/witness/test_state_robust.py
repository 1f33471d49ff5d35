"""Whatever a log serves or leaves out, and wherever the process dies: nothing wrong is vouched for, nobody refuted."""

import itertools
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from attest.cli import main
from attest.encoding import decode_cbor
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyLog
from attest.ledger.rules import RULES
from attest.store.anchors import AnchorStore
from attest.store.blobs import DirectoryBlobs
from attest.witness.walk import Limits
from tests.ledger import model
from tests.ledger.log import ORIGIN, Log, rows_of
from tests.ledger.model import Key
from tests.witness.lies import ACME, LIES, Operator, busy, stage
from tests.witness.statewitness import StateWitness


@pytest.fixture
def witness(tmp_path: Path):
    """A state witness of an honest operator."""
    found = StateWitness(Operator(stage().copy()), tmp_path / "state")
    yield found
    found.assessor.close()
    found.db.close()


def grow(operator: Operator, *numbers: int) -> None:
    """Publish an honest epoch."""
    log = operator.log
    log.hold(ACME, "db", rows_of(*numbers))
    operator.publish(log.epoch())


def requests(operator: Operator, kind: str) -> list[str]:
    return [asked for asked in operator.asked if asked.startswith(kind)]


# --- what is checked, and how ---


def test_epochs_without_a_checkpoint_are_walked(witness):
    """An orphan epoch is checked like any other."""
    witness.assess(2)
    for n in (11, 12, 13):
        grow(witness.operator, n)
    witness.assess()
    assert witness.size == len(witness.operator.entries)


def test_walking_and_replaying_lead_to_the_same(witness, tmp_path):
    """Proofs that are kept, or none of them, or only the last ones."""
    grow(witness.operator, 21)
    witness.assess()
    walked = witness.anchors.read(ORIGIN)
    for kept in (0, 2, 4):
        late = StateWitness(witness.operator, tmp_path / f"late{kept}")
        proofs = dict(witness.operator.proofs)
        for number in sorted(proofs)[: len(proofs) - kept]:
            del witness.operator.proofs[number]
        late.assess()
        assert late.anchors.read(ORIGIN) == walked
        assert set(late.blobs.names("rows")) == set(witness.blobs.names("rows"))
        witness.operator.proofs.update(proofs)
        late.db.close()


def test_who_is_a_day_behind_replays(witness):
    """Proofs are kept for a day: a missing one is the log's failure before that, and to be expected after it."""
    witness.assess()
    grow(witness.operator, 31)
    witness.operator.proofs.clear()
    assert witness.refuses().code == "transition/unknown"
    assert not requests(witness.operator, "bundle")
    witness.operator.log.time += 86_400
    grow(witness.operator, 32)
    witness.operator.proofs.clear()
    witness.assess()
    assert witness.size == len(witness.operator.entries)


def test_a_lost_database_costs_a_replay(witness, tmp_path):
    """Row files are there still, and are not fetched again."""
    witness.assess()
    witness.operator.proofs.clear()
    with witness.db.write() as transaction:
        transaction.execute(text("DELETE FROM anchors"))
    witness.open()
    witness.operator.asked.clear()
    witness.assess()
    assert witness.size == len(witness.operator.entries)
    assert requests(witness.operator, "bundle") and not requests(witness.operator, "rows")


@pytest.mark.parametrize("column", ["size", "root", "previous", "genesis", "digest"])
def test_a_damaged_anchor_costs_a_check_from_entry_0(witness, column):
    """It is neither believed nor held against the log."""
    witness.assess()
    with witness.db.write() as transaction:
        new = "size + 1" if column == "size" else f"CAST(x'00' || {column} AS BLOB)"
        transaction.execute(text(f"UPDATE anchors SET {column} = {new}"))
    witness.open()
    grow(witness.operator, 41)
    witness.assess()
    assert witness.size == len(witness.operator.entries)


@pytest.mark.parametrize("way", ["walk", "replay"])
def test_unknown_rules_are_not_refuted(witness, way):
    """Whoever does not know the rule set in force cannot decide, not even about entries that it cannot read."""
    log = witness.operator.log
    policy = log.encode({"kind": "policy/1", "name": "attest-rules/2", "digest": bytes(32)})
    later = b"\xd2\x84\x40\xa0\x40\x40"
    epoch = log.encode({**log.epoch_fields(), "time": log.time + 1}, iat=log.time + 1)
    witness.assess()
    if way == "replay":
        witness.anchors.forget(ORIGIN)
        witness.open()
    proof = decode_cbor(log.force(policy, epoch=epoch))
    proof["entries"].insert(-1, later)
    witness.operator.publish(model.det(proof))
    if way == "replay":
        witness.operator.proofs.clear()
    error = witness.refuses()
    assert (type(error), error.code) == (Unavailable, "rule/unknown-rules")
    assert RULES in error.message
    assert not witness.evidence()


# --- which checkpoint ---


def test_the_checkpoint_is_where_an_epoch_ends(witness):
    """A checkpoint between two epochs is refused; the log signed it, so that is evidence."""
    witness.assess()
    grow(witness.operator, 51)
    error = witness.refuses(len(witness.operator.entries) - 1)
    assert (type(error), error.code) == (Refuted, "log/no-epoch")
    finding = witness.finding()
    assert (finding.refusal.code, finding.committed) == ("log/no-epoch", True)
    witness.assess()


def test_a_checkpoint_between_epochs_is_found_by_replay_as_well(witness):
    """The last entry is shown."""
    witness.operator.proofs.clear()
    assert witness.refuses(len(witness.operator.entries) - 1).code == "log/no-epoch"
    assert witness.finding().committed


def test_an_older_checkpoint_is_not_vouched_for_again(witness):
    """What it would say, the newest says too."""
    witness.assess()
    error = witness.refuses(5)
    assert (type(error), error.code) == (Unavailable, "witness/ahead")


@pytest.mark.parametrize("off", [-301, 301])
def test_the_last_epoch_is_near_our_clock(witness, off):
    """Not 301 seconds off, either way; what is checked stays checked, and a fresh epoch cures it."""
    witness.now = witness.operator.log.time + off
    error = witness.refuses()
    assert (type(error), error.code) == (Unavailable, "witness/epoch-time")
    assert witness.size == len(witness.operator.entries)
    witness.now = witness.operator.log.time + off // 301 * 300
    witness.assess()


def test_a_fork_is_refused(witness):
    """Two histories after one epoch: who checked one does not vouch for the other, of the same size or a larger one."""
    fork = Operator(witness.operator.log.copy())
    grow(witness.operator, 61)
    grow(fork, 62)
    witness.assess()
    witness.log = witness.operator = fork
    for n in (63, 64):
        error = witness.refuses()
        assert (type(error), error.code) == (Refuted, "log/fork")
        grow(fork, n)
    assert {each.check(witness.policy).refusal.code for each in witness.kept()} == {"log/fork"}


def test_proofs_of_another_history_do_not_move_the_anchor(witness):
    """They check, but are not in the tree of the checkpoint that was offered."""
    other = Operator(witness.operator.log.copy())
    grow(witness.operator, 71)
    grow(witness.operator, 72)
    grow(other, 73)
    grow(other, 74)
    before = len(stage().model.entries)
    witness.assess(before)
    honest = dict(witness.operator.proofs)
    witness.operator.proofs.update(other.proofs)
    witness.operator.log.files.update(other.log.files)
    assert witness.refuses().code == "log/fork"
    assert witness.size == before
    assert witness.finding().refusal.code == "log/fork"
    witness.operator.proofs.update(honest)
    witness.open()
    witness.assess()


def test_another_logs_proofs_are_refused(witness):
    """With other names and keys, from the first entry."""
    other = Log(origin="other.example/log")
    other.epoch()
    witness.operator.proofs.update(Operator(other).proofs)
    assert witness.refuses().code == "genesis/origin"
    assert witness.size == 0


def test_another_logs_later_proofs_are_refused(witness):
    """They start elsewhere."""
    other = Log(origin="other.example/log")
    witness.assess(2)
    for _ in range(8):
        other.epoch()
    witness.operator.proofs.update(Operator(other).proofs)
    assert witness.refuses().code == "transition/start"


@pytest.mark.parametrize("way", ["walk", "replay"])
def test_a_checkpoint_is_signed_by_a_key_of_entry_0(tmp_path, way):
    """A witness that was given another key by somebody else's hand vouches for nothing."""

    class Impostor(Operator):
        def signed(self, size=None, *, key=None):
            return super().signed(size, key="thief")

    witness = StateWitness(Impostor(stage().copy()), tmp_path / "state")
    if way == "replay":
        witness.operator.proofs.clear()
    assert witness.refuses().code == "genesis/keys"
    [evidence] = witness.kept()
    thief = NoteVerifier.of(ORIGIN, KeyType.ED25519, Key("thief").public)
    assert evidence.check(Policy((PolicyLog(thief),), (), (), None)).refusal.code == "genesis/keys"
    witness.db.close()


# --- after a refusal ---


def test_nothing_above_a_lie_is_vouched_for(witness):
    """Later epochs do not heal it, by proofs or by replay; the check of the wrong epoch is not made again."""
    log = busy()
    witness.operator = witness.log = Operator(log)
    witness.assess()
    after = log.model.copy()
    LIES["fewer held"][1](after)
    proof = log.force(epoch=log.sign_epoch(root=after.top_root()).entry, after=after)
    witness.operator.publish(proof)
    assert witness.refuses().code == "epoch/held"
    asked = len(requests(witness.operator, "transition"))
    for n in range(3):
        epoch = log.encode({**log.epoch_fields(), "time": log.time + n}, iat=log.time + n)
        witness.operator.entries.append(epoch)
        assert witness.refuses().code == "epoch/held"
    assert len(requests(witness.operator, "transition")) == asked
    assert len(witness.evidence()) == 1
    witness.open()
    assert witness.refuses().code == "epoch/held"
    assert len(witness.evidence()) == 1


def test_a_log_that_comes_back_to_the_truth_is_vouched_for(witness):
    """From the last good epoch on, under a checkpoint without the lie."""
    log = busy()
    truth = log.force(epoch=log.sign_epoch().entry)
    log.time -= 1
    witness.operator = witness.log = Operator(log)
    witness.assess()
    after = log.model.copy()
    LIES["fewer held"][1](after)
    before = list(witness.operator.entries)
    witness.operator.publish(log.force(epoch=log.sign_epoch(root=after.top_root()).entry, after=after))
    assert witness.refuses().code == "epoch/held"
    witness.operator.entries = before
    witness.operator.publish(truth)
    witness.assess()


def test_the_same_checkpoint_is_refused_again_without_another_look(witness):
    """For a while: the log may repeat itself as often as it likes."""
    now = [0.0]
    witness.open(clock_s=lambda: now[0], repeat_s=30)
    witness.operator.proofs[0] = b"junk"
    assert witness.refuses().code == "cbor/truncated"
    asked = len(witness.operator.asked)
    now[0] = 29
    assert witness.refuses().code == "cbor/truncated"
    assert len(witness.operator.asked) == asked
    now[0] = 31
    assert witness.refuses().code == "cbor/truncated"
    assert len(witness.operator.asked) > asked


def test_evidence_is_kept_within_bounds(witness):
    """Each refusal once, 64 of one log; the refusals go on."""
    for n in range(70):
        witness.operator.proofs[0] = b"junk" + bytes([n])
        witness.open()
        assert isinstance(witness.refuses(), Malformed)
    assert len(witness.evidence()) == 64


def test_evidence_that_was_touched_shows_nothing(witness, tmp_path):
    """Every file of it is needed as it is."""
    log = busy()
    witness.operator = witness.log = Operator(log)
    after = log.model.copy()
    LIES["fewer held"][1](after)
    witness.operator.publish(log.force(epoch=log.sign_epoch(root=after.top_root()).entry, after=after))
    witness.refuses()
    assert witness.finding().committed
    [place] = witness.evidence()
    whole = place.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 200)):
        place.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = witness.finding()
        except AttestError:
            continue
        # Words for people are nobody's proof.
        assert found.refusal.code == "epoch/held"
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        place.write_bytes(whole[:size])
        with pytest.raises(AttestError):
            witness.finding()
    place.write_bytes(whole)
    assert witness.finding().committed


def test_evidence_is_checked_on_the_command_line(witness, capsys, tmp_path):
    """By anybody who has the files and knows the log's key."""
    log = busy()
    witness.operator = witness.log = Operator(log)
    after = log.model.copy()
    LIES["leave a record out"][1](after)
    witness.operator.publish(log.force(epoch=log.sign_epoch(root=after.top_root()).entry, after=after))
    witness.refuses()
    [place] = witness.evidence()
    policy = tmp_path / "policy"

    def run(key: Key) -> tuple[int, str, str]:
        verifier = NoteVerifier.of(ORIGIN, KeyType.ED25519, key.public)
        policy.write_bytes(Policy((PolicyLog(verifier),), (), (), None).encode())
        with pytest.raises(SystemExit) as ended:
            capsys.readouterr()
            main(["verify", str(place), "--policy", str(policy)])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    code, out, err = run(Key(ORIGIN + " note"))
    assert (code, out) == (3, f"refuted\t{place}\tepoch/omitted\n")
    assert "left out" in err
    assert run(Key("thief"))[:2] == (5, f"not-anchored\t{place}\tcheckpoint/unsigned\n")
    place.write_bytes(place.read_bytes()[:-1])
    assert run(Key(ORIGIN + " note"))[:2] == (1, f"undecided\t{place}\tcbor/truncated\n")


# --- row files ---


def test_a_missing_row_file_is_a_failure_of_the_log(witness):
    """Not a lie: it may come back."""
    root, file = next(iter(witness.operator.log.files.items()))
    del witness.operator.log.files[root]
    error = witness.refuses()
    assert (type(error), error.code) == (Unavailable, "rows/missing")
    assert not witness.evidence()
    witness.operator.log.files[root] = file
    witness.assess()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda file: file[:-64], "rows/count"),
        (lambda file: file[:32] + bytes(32) + file[64:], "rows/root"),
        (lambda file: file[64:128] + file[:64] + file[128:], "rows/order"),
        (lambda file: file[:-1], "rows/size"),
        (lambda file: b"", "rows/size"),
    ],
)
def test_another_row_file_than_the_named_one_is_refused(witness, change, code):
    """It is not kept, and the right one is taken when it comes."""
    root = max(witness.operator.log.files, key=lambda each: len(witness.operator.log.files[each]))
    file = witness.operator.log.files[root]
    witness.operator.log.files[root] = change(file)
    assert witness.refuses().code == code
    assert root.hex() not in witness.blobs.names("rows")
    assert witness.finding().refusal.code == code
    witness.operator.log.files[root] = file
    witness.open()
    witness.assess()


def test_a_damaged_copy_of_ours_refutes_nobody(witness):
    """It is thrown away and fetched again."""
    witness.assess()
    witness.anchors.forget(ORIGIN)
    witness.open()
    [name, *_] = witness.blobs.names("rows")
    path = witness.directory / "rows" / name
    path.write_bytes(bytes(len(path.read_bytes())))
    error = witness.refuses()
    assert (type(error), error.code) == (Unavailable, "store/damaged")
    assert not witness.evidence()
    witness.assess()


# --- a log that serves what it should not ---


class Hostile:
    """Serves what an operator serves, but for one kind of answer."""

    def __init__(self, operator: Operator, kind: str, answer) -> None:
        self.operator, self.kind, self.answer = operator, kind, answer

    def __getattr__(self, name):
        honest = getattr(self.operator, name)
        return honest if name != self.kind else lambda *asked: self.answer(honest, *asked)


def flipped(encoded: bytes) -> bytes:
    return encoded[:-1] + bytes([encoded[-1] ^ 1])


def raising(error):
    def answer(honest, *_):
        raise error

    return answer


WRONG = {
    "tiles of zeros": ("tiles", lambda honest, tiles: [bytes(32 * width) for _, _, width in tiles]),
    "tiles with a bit flipped": ("tiles", lambda honest, tiles: [flipped(each) for each in honest(tiles)]),
    "tiles too short": ("tiles", lambda honest, tiles: [each[:-32] for each in honest(tiles)]),
    "no tiles": ("tiles", raising(Unavailable("http/not-found", "no tiles"))),
    "tiles refused": ("tiles", raising(Refuted("rule/epoch-root", "so it says"))),
    "entries with a bit flipped": ("bundle", lambda honest, *at: [flipped(each) for each in honest(*at)]),
    "entries in another order": ("bundle", lambda honest, *at: honest(*at)[::-1]),
    "fewer entries": ("bundle", lambda honest, *at: honest(*at)[:-1]),
    "entries refused": ("bundle", raising(Refuted("rule/seq", "so it says"))),
    "row files refused": ("rows", raising(Refuted("rule/seq", "so it says"))),
    "row files untrusted": ("rows", raising(Malformed("log/answer", "too long"))),
    "proofs refused": ("transition", raising(Refuted("epoch/held", "so it says"))),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_nobody_signed_refutes_nobody(witness, name):
    """Wrong tiles, entries that are not in the tree, and errors of the log's choice are failures of the log."""
    kind, answer = WRONG[name]
    if kind == "bundle":
        witness.operator.proofs.clear()
    witness.log = Hostile(witness.operator, kind, answer)
    error = witness.refuses()
    assert isinstance(error, Unavailable), error
    assert error.code in ("log/tiles", "log/unreachable", "log/transition", "rows/missing")
    assert not witness.evidence()
    assert witness.size < len(witness.operator.entries)
    witness.log = witness.operator
    witness.open()
    witness.assess()


def test_proofs_beyond_all_bounds_are_not_decoded(witness):
    """Millions of items, or pruned maps larger than the rows can need."""
    witness.operator.proofs[0] = b"\x9a\x00\x40\x00\x00" + b"\x80" * (1 << 22)
    assert "CBOR items" in witness.refuses().message
    witness.operator = witness.log = Operator(stage().copy())
    proof = decode_cbor(witness.operator.proofs[0])
    proof["top"] = b"\x03" + b"\x00" * (1 << 20)
    witness.operator.proofs[0] = model.det(proof)
    witness.open()
    error = witness.refuses()
    assert (type(error), error.code) == (Unavailable, "witness/limit")


def test_more_rows_than_we_check_are_not_refuted(witness):
    """It is our bound, not a rule."""
    witness.open(limits=Limits(epoch_rows=3))
    error = witness.refuses()
    assert (type(error), error.code) == (Unavailable, "witness/limit")


def test_a_full_disk_stops_it(witness):
    """Before anything more is fetched."""
    witness.blobs = DirectoryBlobs(witness.directory, floor=1 << 62)
    witness.open()
    assert witness.refuses().code == "store/full"
    assert not witness.operator.asked


# --- time, and threads ---


def test_what_takes_long_goes_on_in_the_background(witness):
    """The log is told how far it is, and finds the work done later; there is one worker however often it asks."""
    gate, busy_now, most = threading.Event(), [0], [0]

    def slowly(honest, *asked):
        busy_now[0] += 1
        most[0] = max(most[0], busy_now[0])
        gate.wait(20)
        busy_now[0] -= 1
        return honest(*asked)

    witness.log = Hostile(witness.operator, "transition", slowly)
    witness.open(wait_s=0.05)
    errors: list[AttestError] = []
    askers = [threading.Thread(target=lambda: errors.append(witness.refuses())) for _ in range(8)]
    for each in askers:
        each.start()
    for each in askers:
        each.join()
    assert {(type(error), error.code) for error in errors} == {(Unavailable, "witness/behind")}
    assert "0 of" in errors[0].message
    gate.set()
    deadline = time.monotonic() + 30
    while witness.size < len(witness.operator.entries) and time.monotonic() < deadline:
        time.sleep(0.01)
    witness.assess()
    assert most[0] == 1


def test_a_newer_checkpoint_finds_the_work_done(witness):
    """What was begun for an older one counts."""
    witness.open(wait_s=0)
    first = len(witness.operator.entries)
    assert witness.refuses().code == "witness/behind"
    grow(witness.operator, 81)
    deadline = time.monotonic() + 30
    while witness.size < first and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(Unavailable):
        witness.assess()
    witness.assessor.close()
    witness.open()
    asked = len(requests(witness.operator, "transition/0"))
    witness.assess()
    assert len(requests(witness.operator, "transition/0")) == asked


def test_stopping_ends_a_check_between_epochs(witness):
    """And what was checked is kept."""
    witness.assess(2)
    witness.assessor.close()
    error = witness.refuses()
    assert (type(error), error.code) == (Unavailable, "witness/stopping")
    assert witness.size == 2


# --- dying ---


class Crash(BaseException):
    """The process is gone."""


class Dying:
    """Blobs or anchors that die at the nth write, before or after it."""

    def __init__(self, inner, nth: list[int], when: str) -> None:
        self._inner, self._nth, self._when = inner, nth, when

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name not in ("put", "move"):
            return found

        def call(*arguments):
            self._nth[0] -= 1
            if self._nth[0] == 0 and self._when == "before":
                raise Crash
            result = found(*arguments)
            if self._nth[0] == 0:
                raise Crash
            return result

        return call


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", ["walk", "replay"])
def test_a_restart_goes_on_after_death_at_any_write(tmp_path, when, way):
    """Die at the nth write, for every n; the next process ends where one that never died does, with all row files."""
    operator = Operator(stage().copy())
    if way == "replay":
        operator.proofs.clear()
    for nth in itertools.count(1):
        witness = StateWitness(operator, tmp_path / f"{nth}")
        left = [nth]
        witness.blobs = Dying(witness.blobs, left, when)
        witness.anchors = Dying(witness.anchors, left, when)
        witness.open()
        try:
            witness.assess()
        except Crash:
            check_rows(witness)
            witness.blobs = DirectoryBlobs(witness.directory)
            witness.anchors = AnchorStore(witness.db)
            witness.open()
            witness.assess()
            check_rows(witness)
            assert witness.size == len(operator.entries)
            witness.db.close()
        else:
            witness.db.close()
            assert nth > 5
            return


def check_rows(witness: StateWitness) -> None:
    """Check that every row file up to the anchor is stored."""
    anchor = AnchorStore(witness.db).read(ORIGIN)
    entries = witness.operator.entries[: 0 if anchor is None else anchor.size]
    named = [root for root in witness.operator.log.files if any(root in entry for entry in entries)]
    assert {root.hex() for root in named} <= set(DirectoryBlobs(witness.directory).names("rows"))


def test_a_replay_that_was_killed_does_not_fetch_again(tmp_path):
    """At any row file; those that are stored are not asked for again."""
    operator = Operator(stage().copy())
    operator.proofs.clear()
    witness = StateWitness(operator, tmp_path / "state")
    for stop in range(1, len(operator.log.files)):

        def answer(honest, root, most, stop=stop):
            if len(set(requests(operator, "rows"))) >= stop:
                raise Crash
            return honest(root, most)

        witness.log = Hostile(operator, "rows", answer)
        witness.open()
        with pytest.raises(Crash):
            witness.assess()
    witness.log = operator
    witness.open()
    witness.assess()
    asked = requests(operator, "rows")
    # Files of an epoch that was not finished are asked for twice, and no others.
    assert len(set(asked)) == len(operator.log.files)
    assert len(asked) <= 2 * len(operator.log.files)
    witness.db.close()
