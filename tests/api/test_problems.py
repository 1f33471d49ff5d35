"""Problem documents: one status for each kind, CBOR or JSON by what the client likes, never HTML."""

import json

import cbor2
import pytest
import structlog
from flask import Flask, Response

from attest.api import problems
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted


def _answer(error: Exception, accept: str | None = None, method: str = "GET") -> Response:
    """Answer a request that ends in `error`."""
    app = Flask("test")
    problems.install(app, structlog.get_logger(), lambda error, status, title: Response(error.message, status))

    @app.route("/", methods=[method])
    def view() -> str:
        raise error

    return app.test_client().open("/", method=method, headers={"Accept": accept} if accept else {})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Malformed("cbor/trailing", "m"), 400),
        (Untrusted("rule/issuer", "m"), 403),
        (Conflict("entry/unknown", "m"), 404),
        (Conflict("http/not-found", "m"), 404),
        (Malformed("http/method", "m"), 405),
        (Conflict("rule/seq", "m"), 409),
        (Conflict("proof/gone", "m"), 410),
        (Malformed("http/length", "m"), 411),
        (Malformed("statement/size", "m"), 413),
        (Malformed("rows/limit", "m"), 413),
        (Malformed("json/size", "m"), 413),
        (Malformed("rows/size", "m"), 400),
        (Malformed("http/content-type", "m"), 415),
        (Malformed("http/content-encoding", "m"), 415),
        (Malformed("http/range", "m"), 416),
        (Refuted("signature/invalid", "m"), 422),
        (Unavailable("http/rate", "m"), 429),
        (Unavailable("http/internal", "m"), 500),
        (Unavailable("store/full", "m"), 503),
        (Unavailable("rule/unknown-rules", "m"), 503),
    ],
)
def test_a_code_has_its_status(error: AttestError, status: int):
    """The status follows from the kind, or from the code where HTTP has a better word."""
    answer = _answer(error)

    assert answer.status_code == status
    assert answer.json == {"title": answer.json["title"], "status": status, "detail": "m", "code": error.code}
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Retry-After" in answer.headers) == (status in (429, 503))


def test_rows_and_hints_travel():
    """Offending rows and what to do next reach the client in both forms."""
    error = Conflict("rule/not-held", "m", rows=(3, 9), hint="look")

    assert _answer(error).json | {"rows": [3, 9], "hint": "look"} == _answer(error).json
    assert cbor2.loads(_answer(error, "application/cbor").data) == {
        -1: "Rejected",
        -2: "m",
        "attest:problem": {"code": "rule/not-held", "rows": [3, 9], "hint": "look"},
    }


def test_browsers_get_a_page():
    """Who likes HTML best is a person."""
    answer = _answer(Conflict("entry/unknown", "no such entry"), "text/html,application/xhtml+xml,*/*;q=0.8")

    assert (answer.status_code, answer.text) == (404, "no such entry")


@pytest.mark.parametrize(
    ("accept", "cbor"),
    [
        (None, False),
        ("*/*", False),
        ("text/html;q=0.5, application/json", False),
        ("application/json", False),
        ("application/problem+json", False),
        ("application/json, application/cbor", False),
        ("application/cbor;q=0.5, application/json", False),
        ("application/cbor", True),
        ("application/cose", True),
        ("application/scitt-receipt+cose, */*;q=0.1", True),
        ("application/concise-problem-details+cbor", True),
        ("application/json;q=0.5, application/cbor", True),
        ("application/cbor;q=0", False),
        ("\x00, ;;;q=x", False),
    ],
)
def test_the_client_chooses_the_form(accept: str | None, cbor: bool):
    """CBOR goes to clients that like it strictly better than JSON."""
    answer = _answer(Malformed("cbor/type", "m"), accept)

    assert answer.content_type == f"application/{'concise-problem-details+cbor' if cbor else 'problem+json'}"
    assert "Accept" in answer.headers["Vary"]


@pytest.mark.parametrize("accept", ["application/json", "application/cbor"])
def test_a_message_that_quotes_bad_text_is_still_answered(accept: str):
    """Lone surrogates from a hostile request do not turn a 400 into a 500."""
    answer = _answer(Malformed("json/field", "found \ud800", hint="\udfff"), accept)

    assert answer.status_code == 400
    assert "found ?" in (cbor2.loads(answer.data)[-2] if accept.endswith("cbor") else answer.json["detail"])


def test_a_fault_of_ours_leaks_nothing(capsys: pytest.CaptureFixture[str]):
    """A 500 names an incident that the log has too; neither quotes the exception, which may quote the request."""
    structlog.reset_defaults()  # to stdout, where capsys reads
    answer = _answer(RuntimeError("ada@example.org"))

    assert answer.status_code == 500
    assert answer.json["code"] == "http/internal"
    incident = answer.json["detail"].rpartition(" ")[2]
    logged = capsys.readouterr().out
    assert incident in logged
    assert "RuntimeError" in logged
    assert "ada@" not in logged + answer.text


def test_json_problems_are_plain_json():
    """A problem document is one line of UTF-8 JSON."""
    assert json.loads(_answer(Malformed("cbor/type", "“é”")).data)["detail"] == "“é”"
