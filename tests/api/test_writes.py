"""Writes, as SCRAPI has them: every status of docs/spec/http.md."""

import threading
import time
from pathlib import Path

import cbor2
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from attest.encoding import parse_base64, parse_base64url
from attest.formats.rows import RowFile
from attest.formats.statement import Statement
from tests.api.conftest import Site

COSE = "application/cose"
OCTETS = "application/octet-stream"


def _post(client: FlaskClient, statement: Statement, **headers: str) -> TestResponse:
    return client.post("/entries", data=statement.entry, content_type=COSE, headers=headers)


def _put(client: FlaskClient, rows: RowFile, **headers: str) -> TestResponse:
    return client.put(f"/rows/{rows.root().hex()}", data=rows.encoded, content_type=OCTETS, headers=headers)


def test_a_statement_waits_for_its_rows_then_for_its_checkpoint(site: Site):
    """202 with what is missing, 202 with a promise, 204, and in the end 201 and 200 with a receipt."""
    client, rows = site.client(), site.rows(3)
    statement = site.hold(rows)
    location = f"/entries/{statement.entry_id}"

    asked = _post(client, statement)
    assert (asked.status_code, asked.headers["Location"], asked.headers["Retry-After"]) == (202, location, "1")
    assert asked.json == {
        "entry": statement.entry_id, "missing": ["rows"], "rows": rows.root().hex(), "promise": None,
    }  # fmt: skip
    assert client.get(location).status_code == 204

    promised = _put(client, rows)
    assert (promised.status_code, promised.headers["Location"]) == (202, location)
    assert promised.json["missing"] == []
    promise = parse_base64(promised.json["promise"])
    assert client.get(f"{location}/promise").data == promise

    pending = client.get(location)
    assert (pending.status_code, pending.data) == (204, b"")
    assert (pending.headers["Retry-After"], pending.headers["Cache-Control"]) == ("1", "no-store")

    site.step()
    published = client.get(location)
    assert (published.status_code, published.content_type) == (200, COSE)
    assert published.headers["Location"] == location
    again = _post(client, statement)
    assert (again.status_code, again.headers["Location"], again.content_type) == (201, location, COSE)
    assert cbor2.loads(again.data).tag == 18
    assert _put(client, rows).status_code == 201
    assert client.get(f"{location}/statement").data == statement.entry
    assert client.get(f"{location}/promise").data == promise


def test_the_same_statement_has_the_same_location(site: Site):
    """Before, while and after it is published, one statement is one entry."""
    client, rows = site.client(), site.rows()
    statement = site.hold(rows)
    first = _post(client, statement)
    second = _post(client, statement)

    assert first.status_code == second.status_code == 202
    assert first.headers["Location"] == second.headers["Location"]
    assert first.json == second.json
    assert parse_base64url(first.json["entry"]) == statement.leaf


def test_whoever_waits_a_moment_gets_the_receipt_at_once(site: Site):
    """While the sequencer runs, the write that completes a statement answers 201."""
    client, rows = site.client(wait_s=10.0), site.rows()
    statement = site.hold(rows)
    _post(client, statement)
    sequencer = threading.Timer(0.2, site.step)
    sequencer.start()
    try:
        answer = _put(client, rows)
    finally:
        sequencer.join()

    assert (answer.status_code, answer.content_type) == (201, COSE)


def test_a_wait_ends(site: Site):
    """Without a checkpoint within the moment the answer is 202."""
    client, rows = site.client(wait_s=0.1), site.rows()
    _post(client, site.hold(rows))
    start = time.monotonic()

    assert _put(client, rows).status_code == 202
    assert 0.05 < time.monotonic() - start < 5


def test_cbor_clients_get_cbor(site: Site):
    """202 in CBOR says the same, with byte strings."""
    client, rows = site.client(), site.rows()
    statement = site.hold(rows)

    answer = _post(client, statement, Accept=COSE)

    assert (answer.status_code, answer.content_type) == (202, "application/cbor")
    assert cbor2.loads(answer.data) == {
        "entry": statement.entry_id, "missing": ["rows"], "rows": rows.root(), "promise": None,
    }  # fmt: skip


def test_one_row_file_serves_several_statements(site: Site):
    """A row file that two statements name is sent once; the answer lists both."""
    client, rows = site.client(), site.rows(2)
    first, second = site.hold(rows, system="crm"), site.hold(rows, system="search")
    _post(client, first)
    _post(client, second)

    answer = _put(client, rows)

    assert answer.status_code == 200
    assert answer.json["rows"] == rows.root().hex()
    assert {entry["entry"] for entry in answer.json["entries"]} == {first.entry_id, second.entry_id}
    assert all(entry["missing"] == [] and entry["promise"] for entry in answer.json["entries"])
    concise = _put(client, rows, Accept="application/cbor")
    assert cbor2.loads(concise.data)["rows"] == rows.root()


@pytest.mark.parametrize("accept", ["application/json", "application/cbor"])
def test_a_refusal_is_kept_and_served(site: Site, accept: str):
    """A refused statement has a signed refusal: 404 where its entry would be, 409 to whoever sends it again."""
    client = site.client()
    statement, rows = site.refused()
    _post(client, statement)
    _put(client, rows)
    site.step()

    def refusal(answer: TestResponse) -> tuple[str, list[int], bytes]:
        if accept.endswith("cbor"):
            ours = cbor2.loads(answer.data)["attest:problem"]
            return ours["code"], ours["rows"], ours["refusal"]
        return answer.json["code"], answer.json["rows"], parse_base64(answer.json["refusal"])

    absent = client.get(f"/entries/{statement.entry_id}", headers={"Accept": accept})
    again = _post(client, statement, Accept=accept)
    assert (absent.status_code, again.status_code) == (404, 409)
    assert refusal(absent)[:2] == ("rule/already-held", [0])
    assert refusal(absent) == refusal(again)
    assert refusal(absent)[2]


def test_an_unknown_entry_is_not_found(shared: Site):
    """404, with a code, for an entry nobody submitted; also below it."""
    client = shared.client()
    for path in ("", "/statement", "/promise"):
        answer = client.get(f"/entries/{'A' * 43}{path}")

        assert (answer.status_code, answer.json["code"]) == (404, "entry/unknown")


@pytest.mark.parametrize("entry_id", ["A", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "é" * 43, "..", "a b"])
def test_an_entry_id_has_one_spelling(shared: Site, entry_id: str):
    """Anything but canonical base64url of 32 bytes is malformed."""
    answer = shared.client().get(f"/entries/{entry_id}")

    assert (answer.status_code, answer.json["code"]) == (400, "encoding/base64url")
    assert answer.json["title"] == "Invalid locator"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, COSE),
        ("*/*", COSE),
        (COSE, COSE),
        ("application/scitt-statement+cose", "application/scitt-statement+cose"),
        ("application/cose;q=0.9, application/scitt-statement+cose;q=0.1", COSE),
    ],
)
def test_statements_have_two_media_types(site: Site, accept: str | None, content_type: str):
    """`application/cose` unless the client names the registered type, in both directions."""
    client, rows = site.client(), site.rows()
    statement = site.hold(rows)
    client.post("/entries", data=statement.entry, content_type="application/scitt-statement+cose")
    _put(client, rows)
    site.step()

    answer = client.get(f"/entries/{statement.entry_id}/statement", headers={"Accept": accept} if accept else {})

    assert (answer.status_code, answer.content_type) == (200, content_type)


def test_receipts_have_two_media_types(site: Site):
    """A client that names the registered type gets it."""
    client, entry_id = site.client(), site.published()[0].entry_id

    answer = client.get(f"/entries/{entry_id}", headers={"Accept": "application/scitt-receipt+cose"})

    assert (answer.status_code, answer.content_type) == (200, "application/scitt-receipt+cose")


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/json", "application/cose+x", "*/*"])
def test_a_body_of_another_type_is_refused(shared: Site, content_type: str | None):
    """415 for anything but the types of the contract."""
    client, rows = shared.client(), shared.rows()
    answers = [
        client.post("/entries", data=shared.hold(rows).entry, content_type=content_type),
        client.put(f"/rows/{rows.root().hex()}", data=rows.encoded, content_type=content_type),
        client.post(
            "/proofs/lookup", data=b"{}", content_type=content_type if content_type != "application/json" else ""
        ),
    ]

    assert [(a.status_code, a.json["code"]) for a in answers] == [(415, "http/content-type")] * 3


def test_content_codings_are_refused(shared: Site):
    """A body counts as it is: nothing is unpacked here."""
    client, rows = shared.client(), shared.rows()
    answer = _put(client, rows, **{"Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json["code"]) == (415, "http/content-encoding")


@pytest.mark.parametrize(
    ("path", "method", "content_type", "limit", "code"),
    [
        ("/entries", "POST", COSE, 16_384, "statement/size"),
        (f"/rows/{'a' * 64}", "PUT", OCTETS, 64 << 20, "rows/limit"),
        ("/proofs/lookup", "POST", "application/json", 8 << 20, "json/size"),
    ],
)
def test_no_body_is_read_beyond_its_bound(
    shared: Site, path: str, method: str, content_type: str, limit: int, code: str
):
    """413 by the declared length alone: not a byte of the body is read."""

    class Body:
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("read")

    environ = {"wsgi.input": Body(), "CONTENT_LENGTH": str(limit + 64)}
    answer = shared.client().open(path, method=method, content_type=content_type, environ_overrides=environ)

    assert (answer.status_code, answer.json["code"]) == (413, code)


@pytest.mark.parametrize("length", ["", "-1", "+5", " 5", "0x10", "5,5", "1e3", "٥", "99999999999999999999"])
@pytest.mark.parametrize(
    ("path", "method", "content_type"),
    [
        ("/entries", "POST", COSE),
        (f"/rows/{'a' * 64}", "PUT", OCTETS),
        ("/proofs/lookup", "POST", "application/json"),
    ],
)
def test_a_body_needs_its_length(shared: Site, path: str, method: str, content_type: str, length: str):
    """411 without a decimal Content-Length."""
    answer = shared.client().open(
        path, method=method, content_type=content_type, environ_overrides={"CONTENT_LENGTH": length}
    )

    assert (answer.status_code, answer.json["code"]) == (411, "http/length")


def test_a_body_that_ends_early_is_refused(site: Site):
    """A dropped upload is no row file."""
    client, rows = site.client(), site.rows(2)
    _post(client, site.hold(rows))
    answer = client.put(
        f"/rows/{rows.root().hex()}",
        data=rows.encoded[:64],
        content_type=OCTETS,
        environ_overrides={"CONTENT_LENGTH": "128"},
    )

    assert (answer.status_code, answer.json["code"]) == (400, "http/truncated")


@pytest.mark.parametrize("size", [1, 63, 65, 127])
def test_a_row_file_is_whole_rows(shared: Site, size: int):
    """400 for a length that is no multiple of 64."""
    answer = shared.client().put(f"/rows/{'a' * 64}", data=b"x" * size, content_type=OCTETS)

    assert (answer.status_code, answer.json["code"]) == (400, "rows/size")


@pytest.mark.parametrize("root", ["a", "A" * 64, "a" * 63, "a" * 65, "g" * 64, "..", "%00" * 32])
def test_a_root_has_one_spelling(shared: Site, root: str):
    """400 for anything but 64 lower-case hex digits."""
    client = shared.client()

    for answer in (client.put(f"/rows/{root}", data=b"x" * 64, content_type=OCTETS), client.get(f"/rows/{root}")):
        assert (answer.status_code, answer.json["code"]) == (400, "encoding/hex")


def test_a_row_file_that_nobody_asked_for_is_refused(shared: Site):
    """409: only a pending statement opens the door."""
    answer = _put(shared.client(), shared.rows())

    assert answer.status_code == 409
    assert answer.json["code"].startswith("rows/")


def test_a_row_file_must_be_the_one_named(site: Site):
    """Another count or another content is refused, and the right file is still welcome."""
    client, rows = site.client(), site.rows(2)
    _post(client, site.hold(rows))
    path = f"/rows/{rows.root().hex()}"
    short = client.put(path, data=rows.encoded[:64], content_type=OCTETS)
    other = client.put(path, data=rows.encoded[:-1] + b"\0", content_type=OCTETS)

    assert (short.status_code, short.json["code"]) == (400, "rows/size")
    assert (other.status_code, other.json["code"]) == (422, "rows/root")
    assert _put(client, rows).status_code == 202


def test_a_row_file_is_in_order(site: Site):
    """400 with the rows at fault."""
    client, rows = site.client(), site.rows(2)
    _post(client, site.hold(rows))
    answer = client.put(f"/rows/{rows.root().hex()}", data=rows.encoded[64:] + rows.encoded[:64], content_type=OCTETS)

    assert (answer.status_code, answer.json["code"], answer.json["rows"]) == (400, "rows/order", [1])


def test_a_stranger_is_not_trusted(site: Site):
    """403 for a key that the issuer does not have, 422 for a signature that does not verify."""
    client, rows = site.client(), site.rows()
    stranger = _post(client, site.stranger(rows))
    good = site.hold(rows).entry
    forged = client.post("/entries", data=good[:-1] + bytes([good[-1] ^ 1]), content_type=COSE)

    assert (stranger.status_code, stranger.json["code"].split("/")[0]) == (403, "rule")
    assert (forged.status_code, forged.json["code"]) == (422, "signature/invalid")


def test_garbage_is_malformed(shared: Site):
    """400 for bytes that are no statement."""
    for body in (b"\xd2", b"x" * 100, b"\xd2\x84" + b"\x9f" * 1000, b"\xd2" + b"\x81" * 1000):
        answer = shared.client().post("/entries", data=body, content_type=COSE)

        assert answer.status_code == 400
        assert answer.json["code"].split("/")[0] in ("statement", "cbor")


def test_an_address_that_writes_too_often_waits(site: Site):
    """429 with Retry-After, for writes only and one address only."""
    client, rows = site.client(writes_per_minute=1), site.rows()
    assert _post(client, site.hold(rows)).status_code == 202

    refused = _put(client, rows)
    assert (refused.status_code, refused.json["code"]) == (429, "http/rate")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert client.get("/checkpoint").status_code == 200
    other = client.put(
        f"/rows/{rows.root().hex()}",
        data=rows.encoded,
        content_type=OCTETS,
        environ_overrides={"REMOTE_ADDR": "192.0.2.7"},
    )
    assert other.status_code == 202


def test_locations_follow_the_mount_point_and_no_header(site: Site):
    """Below a prefix, Location names it; a forged Host or forwarding header changes nothing."""
    rows = site.rows()
    statement = site.hold(rows)
    answer = site.client().post(
        "/entries",
        data=statement.entry,
        content_type=COSE,
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"},
        environ_overrides={"SCRIPT_NAME": "/log"},
    )

    assert answer.headers["Location"] == f"/log/entries/{statement.entry_id}"
    assert "evil" not in str(answer.headers)


def test_too_many_uploads_at_once_are_put_off(site: Site):
    """503 with Retry-After where a row file would not fit into memory beside the others."""
    client, rows = site.client(max_uploads=100), site.rows(2)
    _post(client, site.hold(rows))

    answer = _put(client, rows)

    assert (answer.status_code, answer.json["code"]) == (503, "http/busy")
    assert answer.headers["Retry-After"]


def test_those_who_wait_do_not_take_every_thread(site: Site):
    """Beyond so many waiting writes, the next is answered 202 at once."""
    client = site.client(wait_s=30.0, max_waiting=0)
    rows = site.rows()
    _post(client, site.hold(rows))
    start = time.monotonic()

    assert _put(client, rows).status_code == 202
    assert time.monotonic() - start < 10


def test_a_log_that_has_ended_takes_nothing_and_answers(tmp_path: Path):
    """409 for whatever comes, with the successor's name; reads go on, and say that it has ended."""
    site = Site(tmp_path / "log", successor="next.example/deletions")
    statement, rows = site.published(2)
    waiting, more = site.hold(site.rows(), seq=7), site.rows(1)
    client = site.client()
    client.post("/entries", data=waiting.entry, content_type="application/cose")
    view = site.node.retire(drop_pending=True, pause=lambda _: site.world.clock.advance())
    late = site.hold(more)

    answer = client.post("/entries", data=late.entry, content_type="application/cose")

    assert (answer.status_code, answer.json["code"]) == (409, "rule/log-ended")
    assert "next.example/deletions" in answer.json["hint"]
    assert client.get(f"/entries/{late.entry_id}").json["code"] == "entry/unknown"
    answer = client.put(f"/rows/{more.root().hex()}", data=more.encoded, content_type="application/octet-stream")
    assert answer.json["code"] == "rows/unclaimed"
    refused = client.get(f"/entries/{waiting.entry_id}")
    assert (refused.status_code, refused.json["code"]) == (404, "rule/log-ended")
    assert refused.json["refusal"]
    assert client.post("/entries", data=statement.entry, content_type="application/cose").status_code == 201
    log = client.get("/log").json
    assert (log["ended"], log["end"]) == (True, view.size - 2)
    assert (log["predecessor"], log["successor"]) == (None, "next.example/deletions")
    site.world.clock.advance(40_000)
    assert client.get("/healthz").json == {"status": "ok", "ended": True}
    assert client.get(f"/proofs/row/{statement.entry_id}/{rows.indexes[0].hex()}").status_code == 200
