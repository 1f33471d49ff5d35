"""A crash at any write, of the vault or on the wire, loses nothing and does nothing twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from attest.crypto import commitment
from attest.holder.vault import SIGNED, Vault
from tests.holder.company import Company, people

ROWS = people(5)
POINTS = 40  # more than any step has writes


def rows(number: int) -> list[dict[str, object]]:
    """Five people of their own for each point at which the process dies."""
    return [{"email": f"p{number}-{n}@example.org", "name": "Old"} for n in range(5)]


def hold(company: Company, number: int) -> None:
    company.hold(rows(number))


def change(company: Company, number: int) -> None:
    company.hold([{**row, "name": "New"} for row in rows(number)[:2]] + rows(number)[2:], cause="corrected")


def erase(company: Company, number: int) -> None:
    company.erase([f"p{number}-1@example.org", f"p{number}-4@example.org"])


HELD, ERASED = 1, 2
# What is done before for all points at once, what is interrupted, and then status and version of the five.
STEPS: list[tuple[bool, Callable[[Company, int], None], list[tuple[int, int]]]] = [
    (False, hold, [(HELD, 1)] * 5),
    (True, change, [(HELD, 2)] * 2 + [(HELD, 1)] * 3),
    (True, erase, [(HELD, 1), (ERASED, 1), (HELD, 1), (HELD, 1), (ERASED, 1)]),
]


class Crash(BaseException):
    """The process dies here; nothing may catch this."""


@contextmanager
def dying(company: Company, nth: int, *, after: bool) -> Iterator[list[int]]:
    """Die at the nth write of the vault or request to the log, before or after it lands."""
    writes = [0]

    def write(land: Callable[[], Any]) -> Any:
        writes[0] += 1
        if writes[0] == nth and not after:
            raise Crash
        landed = land()
        if writes[0] == nth:
            raise Crash
        return landed

    transport, opened = company.wire.inner, Vault.open.__func__  # type: ignore[attr-defined]

    class Dying(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            found: httpx.Response = write(lambda: transport.handle_request(request))
            return found

    def open_dying(cls: type[Vault], url: str) -> Vault:
        vault: Vault = opened(cls, url)
        commit = vault.engine.dialect.do_commit
        vault.engine.dialect.do_commit = lambda connection: write(lambda: commit(connection))  # type: ignore[method-assign]
        return vault

    company.wire.inner = Dying()
    Vault.open = classmethod(open_dying)  # type: ignore[method-assign, assignment]
    try:
        yield writes
    finally:
        company.wire.inner = transport
        Vault.open = classmethod(opened)  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(("prepared", "step", "wanted"), STEPS, ids=["hold", "change", "erase"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_write_is_taken_up_by_the_next_run(
    company: Company,
    prepared: bool,
    step: Callable[[Company, int], None],
    wanted: list[tuple[int, int]],
    after: bool,
) -> None:
    """Die at the nth write, for every n, then run the same again: each change is in the log once, and opens."""
    if prepared:
        company.hold([row for number in range(1, POINTS) for row in rows(number)])
    for number in range(1, POINTS):
        try:
            with dying(company, number, after=after):
                step(company, number)
        except Crash:
            step(company, number)
        else:
            break
    assert 10 < number < POINTS - 1
    check(company, [(row, *fate) for done in range(1, number) for row, fate in zip(rows(done), wanted, strict=True)])
    if prepared and after:
        company.world.check()


def check(company: Company, wanted: list[tuple[dict[str, object], int, int]]) -> None:
    """Compare log and vault with what each person's status and version shall be."""
    with company.open() as holder:
        assert holder.vault.statements(SIGNED) == []
        counts = holder.vault.counts("crm")
        assert (counts.pending_hold, counts.pending_erase) == (0, 0)
        for row, status, version in wanted:
            state = company.state_of(holder, str(row["email"]))
            assert (state.status, state.generation, state.version) == (status, 1, version), row
            index = holder.subject(f"email:{row['email']}").index(company.id, "crm")
            (found,) = holder.vault.live("crm", [index])[index]
            assert found.commitment == state.commitment
            assert found.opens == (status == HELD)
            if found.opens:
                digest = commitment.record_digest([found.records])
                assert commitment.commitment(index, commitment.blind(found.salt), digest) == state.commitment


def test_an_interrupted_upload_is_finished_by_send(company: Company) -> None:
    """A statement whose row file never arrived is taken up without the source."""

    def lose(request: httpx.Request) -> httpx.Response | None:
        if request.method == "PUT":
            raise httpx.ConnectError("the line is cut")
        return None

    company.wire.before = lose
    with pytest.raises(Exception, match="log/unreachable"):
        company.hold(ROWS)

    company.wire.before = lambda _: None
    with company.open() as holder:
        sent = holder.send().sent

    assert [(each.kind, each.count) for each in sent] == [("hold/1", 5)] or sent == []
    assert company.hold(ROWS).unchanged == 5


def test_busy_logs_are_asked_again(company: Company) -> None:
    """429 and 503 are answers to wait for, with the pause that the log asks for."""
    refusals = iter([429, 503, 503])
    pauses: list[float] = []

    def busy(request: httpx.Request) -> httpx.Response | None:
        status = next(refusals, None) if request.method == "POST" else None
        return (
            None if status is None else httpx.Response(status, headers={"Retry-After": "7"}, json={"code": "http/rate"})
        )

    company.wire.before = busy
    sleep = company.sleep
    company.sleep = lambda seconds: (pauses.append(seconds), sleep(seconds))[1]  # type: ignore[method-assign]

    assert company.hold(ROWS).new == 5
    assert pauses[:3] == [7, 7, 7]


def test_one_process_at_a_time(company: Company) -> None:
    """A second process is sent away while the first works with the vault."""
    with company.open(), pytest.raises(Exception, match="vault/busy"), company.open():
        pass
