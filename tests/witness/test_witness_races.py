"""However many ask at once, in however many processes: a log has one history here, and it only grows."""

import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from attest.encoding import encode_base64, parse_base64
from attest.errors import Conflict, Unavailable
from attest.formats.checkpoint import SignedCheckpoint, verify_log_signatures
from attest.formats.cosignature import verify_cosignature
from attest.formats.note import Note, known_lines, parse_signature_lines
from attest.store import register, witnessed
from attest.store.db import Database
from attest.witness.loglist import LogList
from attest.witness.request import AddCheckpoint
from attest.witness.witness import Witness
from tests.witness.conftest import ORIGIN, TIME, Clock, Log, Open, Site, witness_keys, write_list

FORKS = [Log(fork=fork) for fork in ("", "a", "b", "c")]


def together(*works) -> None:
    """Run all at once; whatever one raises is raised."""
    gate, errors = threading.Barrier(len(works)), []

    def run(work) -> None:
        gate.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def answers(sites: list[Site], body: bytes) -> list[int]:
    """Send the same to all at once."""
    found: list[int] = []
    together(*(lambda site=site: found.append(site.post(body).status_code) for site in sites))
    return found


def test_forks_that_race_do_not_both_win(any_database: str, open_site: Open):
    """Two processes, sixteen threads, four histories: one of them is cosigned, at every size, and only it."""
    sites = [open_site(any_database), open_site(any_database)]
    cosigned: list[tuple[int, str]] = []

    def work(number: int) -> None:
        log, site, size = FORKS[number % 4], sites[number // 4 % 2], 0
        for _ in range(12):
            answer = site.post(log.request(size, size + 1 + number % 2, keys="ed25519"))
            if answer.status_code == 409:
                size = int(answer.text)
            elif answer.status_code == 200:
                size += 1 + number % 2
                cosigned.append((size, encode_base64(log.root(size))))
            else:
                assert answer.status_code in (422, 429, 503)
                if answer.status_code == 422:
                    return  # on the wrong history

    together(*(lambda number=number: work(number) for number in range(16)))

    roots: dict[int, str] = {}
    for size, root in cosigned:
        assert roots.setdefault(size, root) == root
    winner = next(log for log in FORKS if encode_base64(log.root(max(roots))) == roots[max(roots)])
    assert all(encode_base64(winner.root(size)) == root for size, root in roots.items())
    for site in sites:
        assert int(site.newest().text.split("\n")[1]) == max(roots)


def test_of_two_that_step_together_one_is_told_the_size(any_database: str, open_site: Open, log: Log):
    """200 for one and 409 for the other, whichever process they ask."""
    sites = [open_site(any_database), open_site(any_database)]
    for old, new in itertools.pairwise(range(12)):
        assert sorted(answers(sites, log.request(old, new))) == [200, 409]


def test_what_a_process_remembers_is_only_a_guess(any_database: str, open_site: Open, log: Log):
    """Where another one has gone on, it finds out, and refuses nothing for what is no longer so."""
    one, other = open_site(any_database), open_site(any_database)
    assert one.post(log.request(0, 3)).status_code == 200
    assert other.post(log.request(3, 5)).status_code == 200

    assert one.post(log.request(3, 7)).text == "5\n"
    assert other.post(log.request(5, 6)).status_code == 200
    assert one.post(log.request(6, 7)).status_code == 200
    assert other.post(log.request(7, 7)).status_code == 200
    assert one.post(log.request(7, 7)).status_code == 200


def test_times_of_a_log_never_decrease(any_database: str, open_site: Open, log: Log):
    """Whichever process signs, and however their clocks differ within the seconds that are let pass."""
    sites, chance = [open_site(any_database), open_site(any_database)], random.Random(1)
    open_site(any_database).post(log.request(0, 3))
    last = 0
    for _ in range(40):
        site = chance.choice(sites)
        site.clock.now = TIME + chance.randrange(5)
        site.ticks.now += 86_400
        line = parse_signature_lines(site.post(log.request(3, 3)).text)[0]
        time = int.from_bytes(line.signature[:8], "big")
        assert time >= last
        last = time


def test_refreshes_that_race_are_all_answered(any_database: str, open_site: Open, log: Log):
    """The same checkpoint again, from many at once: each gets a good cosignature."""
    sites = [open_site(any_database), open_site(any_database)]
    sites[0].post(log.request(0, 3))
    answers: list[tuple[int, str]] = []

    def work(site: Site) -> None:
        for _ in range(5):
            answer = site.post(log.request(3, 3))
            answers.append((answer.status_code, answer.text))

    together(*(lambda site=site: work(site) for site in sites * 4))

    assert len(answers) == 40
    assert {status for status, _ in answers} <= {200, 503}
    good = [text for status, text in answers if status == 200]
    assert len(good) >= 20
    for text in good:
        for verifier, line in known_lines(Note("", parse_signature_lines(text)), witness_keys().verifiers):
            verify_cosignature(verifier, log.signed(3).checkpoint, line)


class _Slow:
    """An assessor that waits until it is told."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

    def assess(self, origin: str, signed: SignedCheckpoint) -> None:
        if origin == ORIGIN:
            self.asked.set()
            assert self.go.wait(30)


def test_a_slow_assessor_keeps_no_other_log_waiting(any_database: str, open_site: Open, log: Log):
    """While one log's states are checked, others are cosigned; the same log is told to come back."""
    assessor, other = _Slow(), Log("other.example/log", seed=bytes(32))
    site = open_site(any_database, assessor=assessor)
    write_list(site.directory, *log.verifiers, *other.verifiers)
    site.ticks.now += 2
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(site.post(log.request(0, 3)).status_code))
    thread.start()
    assert assessor.asked.wait(30)

    assert site.post(other.request(0, 3)).status_code == 200
    busy = site.post(log.request(0, 3))
    assert (busy.status_code, busy.text.split("\n")[0]) == (503, "witness/busy")
    # Nothing holds the database meanwhile.
    with site.witness._db.write() as transaction:
        register.replace(transaction, "third.example", None, "x")
    assert site.newest().status_code == 404

    assessor.go.set()
    thread.join()
    assert first == [200]


def test_a_log_that_moved_on_while_it_was_checked_is_stale(any_database: str, open_site: Open, log: Log):
    """The compare-and-swap comes last: what another process stored meanwhile is not overwritten."""
    assessor = _Slow()
    slow, fast = open_site(any_database, assessor=assessor), open_site(any_database)
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(slow.post(log.request(0, 3)).text))
    thread.start()
    assert assessor.asked.wait(30)
    assert fast.post(log.request(0, 5)).status_code == 200

    assessor.go.set()
    thread.join()

    assert answers == ["5\n"]
    assert fast.newest().text.split("\n")[1] == "5"


# --- the store ---


def _as_asked(asked: list[str]) -> list[tuple[str, None]]:
    return [(text, None) for text in asked]


def test_many_moves_are_stored_as_if_one_by_one(any_database: str):
    """First ones, next ones, ones that come too late and two of the same log, from many threads."""
    db = Database(any_database, "witness")
    db.migrate()
    writer = witnessed.Writer(db, _as_asked)
    won: list[tuple[str, int]] = []
    lost: list[tuple[str, int]] = []

    def work(number: int) -> None:
        origin = f"log.example/{number % 5}"
        for step in range(10):
            try:
                writer.replace(origin, None if step == 0 else f"{step - 1}", f"{step}")
            except Conflict as error:
                assert error.code == "register/moved"
                lost.append((origin, step))
            else:
                won.append((origin, step))

    together(*(lambda number=number: work(number) for number in range(20)))
    writer.close()

    # Every step of every log was stored once, though four tried.
    assert sorted(won) == sorted((f"log.example/{number}", step) for number in range(5) for step in range(10))
    assert len(won) + len(lost) == 200
    with db.read() as transaction:
        assert witnessed.origins(transaction) == [f"log.example/{number}" for number in range(5)]
        assert register.read(transaction, "log.example/0") == "9"
    db.close()


@pytest.mark.parametrize("old", [None, "0"])
def test_a_move_that_fails_does_not_hold_up_others(any_database: str, old: str | None):
    """The writer goes on after an error, and says which move it was."""
    db = Database(any_database, "witness")
    db.migrate()
    writer = witnessed.Writer(db, _as_asked)
    if old is not None:
        writer.replace("log.example", None, old)
    with db.write() as transaction:
        transaction.exec_driver_sql("ALTER TABLE register RENAME TO away")
    with pytest.raises((Unavailable, ProgrammingError)):
        writer.replace("log.example", old, "1")
    with db.write() as transaction:
        transaction.exec_driver_sql("ALTER TABLE away RENAME TO register")

    writer.replace("log.example", old, "1")
    writer.close()
    db.close()


def test_what_cannot_be_made_takes_no_other_move_with_it(tmp_path: Path):
    """Of moves that are made together, only the one that fails is refused, with its own error."""
    db = Database(f"sqlite:///{tmp_path}/any.db", "witness")
    db.migrate()
    begun, go = threading.Event(), threading.Event()
    batches: list[list[str]] = []

    def make(asked: list[str]) -> list[tuple[str, None]]:
        batches.append(asked)
        begun.set()
        assert go.wait(30)
        if "bad" in asked:
            raise ValueError("bad")
        return _as_asked(asked)

    writer = witnessed.Writer(db, make)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(writer.replace, "first.example", None, "first")
        assert begun.wait(30)
        others = {text: pool.submit(writer.replace, f"{text}.example", None, text) for text in ("good", "bad", "fair")}
        while writer._moves.qsize() < len(others):
            time.sleep(0.001)
        go.set()
    writer.close()

    assert sorted(batches[1]) == ["bad", "fair", "good"]
    assert first.result() == ("first", None)
    assert isinstance(others["bad"].exception(), ValueError)
    assert [others[text].result() for text in ("good", "fair")] == [("good", None), ("fair", None)]
    with db.read() as transaction:
        assert witnessed.origins(transaction) == ["fair.example", "first.example", "good.example"]
    db.close()


def test_forks_are_kept_once_and_not_without_end(any_database: str, open_site: Open, log: Log):
    """What a log signed against itself is evidence; sixteen are enough."""
    site = open_site(any_database)
    site.post(log.request(0, 5))
    fork = Log(fork="!").request(5, 5)
    for _ in range(3):
        assert site.post(fork).status_code == 422
    cosigned = site.newest().text
    site.post(log.request(5, 7))
    with site.witness._db.read() as transaction:
        (kept,) = witnessed.kept_forks(transaction, ORIGIN)
    # Two checkpoints of one size, both under the log's signature: nobody needs to believe us.
    assert kept.cosigned == cosigned
    assert SignedCheckpoint.parse(kept.checkpoint) == AddCheckpoint.parse(fork).signed
    both = SignedCheckpoint.parse(kept.cosigned), SignedCheckpoint.parse(kept.checkpoint)
    assert [signed.checkpoint.size for signed in both] == [5, 5]
    for signed in both:
        verify_log_signatures(signed, log.verifiers)

    for number in range(30):
        site.ticks.now += 86_400
        site.post(Log(fork=f"!{number}").request(7, 7))
    with site.witness._db.read() as transaction:
        assert witnessed.fork_count(transaction, ORIGIN) == 16


def test_an_older_schema_is_not_served(any_database: str, tmp_path):
    """A database without tables is no witness's; nor is a file that is not there made into one."""
    write_list(tmp_path)
    db = Database(any_database, "witness")

    def serve() -> tuple[str, str]:
        with pytest.raises(Unavailable) as caught:
            Witness(witness_keys(), LogList(tmp_path), db, Clock())
        return caught.value.code, str(caught.value.hint)

    if any_database.startswith("sqlite"):
        assert serve()[0] == "store/missing"
        with db.write() as transaction:
            transaction.execute(sa.text("CREATE TABLE another (id INTEGER)"))
    code, hint = serve()
    db.close()

    assert code == "store/schema" and "attest witness migrate" in hint


def test_fast_logs_share_commits(open_site: Open):
    """The disk is waited for once for all who wait: many logs at once take fewer transactions than steps."""
    logs = [Log(f"log.example/{number}", seed=bytes([number]) * 32) for number in range(12)]
    site = open_site()
    write_list(site.directory, *(log.verifiers[0] for log in logs))
    site.ticks.now += 2
    for log in logs:
        assert site.post(log.request(0, 1, keys="ed25519")).status_code == 200
    commits, write = [], site.witness._db.write

    def counted():
        commits.append(1)
        time.sleep(0.02)  # a disk that takes its time
        return write()

    site.witness._db.write = counted  # type: ignore[method-assign]
    requests = {log.origin: [log.request(n, n + 1, keys="ed25519") for n in range(1, 6)] for log in logs}

    def work(log: Log) -> None:
        for request in requests[log.origin]:
            assert site.post(request).status_code == 200

    together(*(lambda log=log: work(log) for log in logs))

    assert len(commits) < 30
    for log in logs:
        assert parse_base64(site.newest(log.origin).text.split("\n")[2]) == log.root(6)
