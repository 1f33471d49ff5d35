"""What the SDK does not take the log's word for."""

from collections.abc import Callable

import httpx
import pytest

from attest.crypto.keys import SigningKey
from attest.encoding import encode_base64
from attest.errors import AttestError
from attest.formats.checkpoint import Checkpoint
from attest.formats.receipt import sign_refusal
from attest.formats.tlog_proof import TlogProof
from tests.holder.company import Company, people
from tests.world import ORIGIN


def rewriting(path: str, change: Callable[[bytes], bytes]) -> Callable[[httpx.Request, httpx.Response], httpx.Response]:
    """Change the body of answers to requests for a path."""

    def after(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if response.status_code == 200 and request.url.path.startswith(path):
            return httpx.Response(200, content=change(response.content))
        return response

    return after


def other_position(body: bytes) -> bytes:
    proof = TlogProof.parse(body)
    return TlogProof(proof.index - 1, proof.path, proof.signed).encode()


def other_root(body: bytes) -> bytes:
    return body.replace(b"\n\nlog.example", b"\n\nlog.exbmple")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (other_position, "inclusion/"),
        (other_root, "signature/"),
        (lambda body: body[:-40], ""),
        (lambda body: b"{}", "tlog-proof/"),
    ],
    ids=["another position", "another log", "cut off", "something else"],
)
def test_nothing_is_carried_out_without_a_proof(company: Company, change: Callable[[bytes], bytes], code: str) -> None:
    """A statement counts as published, and salts are destroyed, only under a proof that verifies."""
    company.hold(people(12))
    company.wire.after = rewriting("/proofs/entry/", change)

    with pytest.raises(AttestError) as caught:
        company.erase(["person3@example.org"])

    assert caught.value.code.startswith(code)
    with company.open() as holder:
        index = holder.subject("email:person3@example.org").index(company.id, "crm")
        assert holder.vault.live("crm", [index])[index][0].opens
    company.wire.after = lambda _, response: response
    with company.open() as holder:
        assert [sent.kind for sent in holder.send().sent] == []
        assert not holder.vault.live("crm", [index])[index][0].opens


def test_a_log_that_forgets_is_noticed(company: Company) -> None:
    """A checkpoint that does not extend the newest one believed is refused, whoever signed it."""
    company.hold(people(12))
    with company.open() as holder:
        known = Checkpoint.parse((holder.vault.get("checkpoint") or b"").decode())
        forked = Checkpoint(known.origin, known.size, bytes(32))
        holder.vault.put("checkpoint", forked.encode().encode())

    with pytest.raises(AttestError, match="consistency/"):
        company.hold(people(13))


def test_a_log_that_shows_fewer_statements_is_noticed(company: Company) -> None:
    """The log's counters may not fall behind what it has proven."""
    company.hold(people(12))
    company.wire.after = rewriting("/holders/", lambda body: body.replace(b'"entries":1', b'"entries":0'))

    with pytest.raises(AttestError, match="log/forgot"):
        company.hold(people(13))


def test_a_refusal_that_the_log_did_not_sign_destroys_nothing(company: Company) -> None:
    """Only a signed refusal gives rows up; anything else is hearsay, and the statement is tried again."""
    forger = SigningKey.generate()

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/entries":
            return None
        refusal = sign_refusal(forger, ORIGIN, issued_at=1, entry=bytes(32), code="rule/x", rows=(), position=1)
        body = {"code": "rule/system-retired", "detail": "no", "refusal": encode_base64(refusal.encoded)}
        return httpx.Response(409, json=body)

    company.wire.before = refuse
    with pytest.raises(AttestError, match="receipt/kid"):
        company.hold(people(5))
    company.wire.before = lambda _: None

    assert company.hold(people(5)).unchanged == 5


def test_a_plain_no_is_tried_again_and_can_be_withdrawn(company: Company) -> None:
    """An unsigned refusal stops the run with a way out; withdrawing frees the records for another statement."""

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/entries":
            return None
        return httpx.Response(409, json={"code": "rule/system-retired", "detail": "no"})

    company.wire.before = refuse
    with pytest.raises(AttestError) as caught:
        company.hold(people(5))
    assert "withdraw" in str(caught.value.hint)
    company.wire.before = lambda _: None
    with company.open() as holder:
        (signed,) = holder.vault.statements("signed")
        holder.withdraw(signed.id)

    assert company.hold(people(5)).new == 5


def test_a_keepsake_of_a_lying_log_is_not_written(company: Company) -> None:
    """Evidence is verified as anybody would before it is handed out."""
    company.hold(people(12))
    company.wire.after = rewriting(
        "/proofs/row/", lambda body: body.replace(b'"commitment":"', b'"commitment":"AAAA', 1)
    )
    with company.open() as holder, pytest.raises(AttestError):
        holder.keepsake("email:person3@example.org")


def test_a_lookup_about_another_holder_is_not_written(company: Company) -> None:
    """The answer has to be about us, at a checkpoint we believe."""
    company.hold(people(12))
    name = company.id.encode()
    company.wire.after = rewriting(
        "/proofs/lookup", lambda body: body.replace(b'"party":"' + name, b'"party":"x' + name[1:])
    )
    with company.open() as holder, pytest.raises(AttestError, match="question/holder"):
        holder.lookup(["email:person3@example.org"])
