"""Requests that no honest client sends: each gets the error it deserves, as a problem document, and nothing else."""

import json
from typing import Any

import cbor2
import pytest
from werkzeug.test import TestResponse

from attest.api.inputs import MAX_LOOKUP
from tests.api.conftest import Site

INDEX = "a" * 64
LOOKUP = f'{{"holder": "acme.example", "locators": [{{"crm": "{INDEX}"}}]}}'


def _ask(shared: Site, body: bytes | str) -> TestResponse:
    return shared.client().post("/proofs/lookup", data=body, content_type="application/json")


def _locators(value: Any) -> str:
    return json.dumps({"holder": "acme.example", "locators": value})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("[", "json/syntax"),
        (LOOKUP + " x", "json/syntax"),
        (LOOKUP + LOOKUP, "json/syntax"),
        ("[" * 100_000, "json/syntax"),
        ('{"a":' * 100_000, "json/syntax"),
        (b"\xef\xbb\xbf" + LOOKUP.encode(), "json/syntax"),
        (LOOKUP.encode("utf-16"), "encoding/utf8"),
        (b'{"holder": "\xff"}', "encoding/utf8"),
        (b'{"holder": "\xed\xa0\x80"}', "encoding/utf8"),
        ('{"holder": "\\ud800", "locators": []}', "encoding/utf8"),
        ('{"holder": "acme.example", "holder": "acme.example", "locators": []}', "json/duplicate-key"),
        (f'{{"holder": "acme.example", "locators": [{{"crm": "{INDEX}", "crm": "{INDEX}"}}]}}', "json/duplicate-key"),
        (LOOKUP[:-1] + ', "extra": 1}', "json/field"),
        (LOOKUP[:-1] + ', "\\ud800": 1}', "encoding/utf8"),
        (LOOKUP[:-1] + ', "size": null}', "json/field"),
        (LOOKUP[:-1] + ', "size": true}', "json/field"),
        (LOOKUP[:-1] + ', "size": "4"}', "json/field"),
        (LOOKUP[:-1] + ', "size": 0}', "json/field"),
        (LOOKUP[:-1] + ', "size": 1}', "json/field"),
        (LOOKUP[:-1] + ', "size": 4.0}', "json/number"),
        (LOOKUP[:-1] + ', "size": -1}', "json/number"),
        (LOOKUP[:-1] + ', "size": 1e3}', "json/number"),
        (LOOKUP[:-1] + ', "size": NaN}', "json/number"),
        (LOOKUP[:-1] + ', "size": 9007199254740992}', "json/number"),
        (LOOKUP[:-1] + ', "size": ' + "9" * 5000 + "}", "json/number"),
        ("null", "json/field"),
        ("[]", "json/field"),
        ("1", "json/field"),
        ("{}", "json/field"),
        ('{"holder": "acme.example"}', "json/field"),
        ('{"holder": ["acme.example"], "locators": []}', "json/field"),
        ('{"holder": "ACME.example", "locators": []}', "json/field"),
        ('{"holder": "' + "a." * 200 + 'example", "locators": []}', "json/field"),
        (_locators([]), "json/field"),
        (_locators({}), "json/field"),
        (_locators([[]]), "json/field"),
        (_locators([{"crm": INDEX}] * 65), "json/field"),
        (_locators([{"CRM": INDEX}]), "json/field"),
        (_locators([{"a" * 65: INDEX}]), "json/field"),
        (_locators([{"../../etc": INDEX}]), "json/field"),
        (_locators([{"crm": 1}]), "json/field"),
        (_locators([{"crm": None}]), "json/field"),
        (_locators([{"crm": INDEX.upper()}]), "encoding/hex"),
        (_locators([{"crm": INDEX[:-1]}]), "encoding/hex"),
        (_locators([{f"s{n}": INDEX for n in range(10_001)}]), "json/field"),
    ],
)
def test_a_lookup_is_read_strictly(shared: Site, body: bytes | str, code: str):
    """400 for a question that is anything but the one form of the contract."""
    answer = _ask(shared, body)

    assert (answer.status_code, answer.json["code"]) == (400, code)


def test_a_long_lookup_is_not_read(shared: Site):
    """413 above 8 MiB."""
    answer = _ask(shared, b" " * (MAX_LOOKUP + 1))

    assert (answer.status_code, answer.json["code"]) == (413, "json/size")


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/../../checkpoint",
        "/tile/0/%2e%2e/%2e%2e/keys/statements.pem",
        "/tile/..%2f..%2fkeys/statements.pem",
        "/tile/%00",
        "/tile/0/000%00",
        "/tile/0/000/",
        "/tile/0/0",
        "/tile/0/x000/000",
        "/tile/00/000",
        "/tile/64/000",
        "/tile/-1/000",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/0/000.p/01",
        "/tile/0/000.P/1",
        "/tile/entries/0.p/1",
        "/tile/0/" + "x999/" * 500 + "999",
        "/tile/0/x999/x999/x999/x999/x999/999",
        "/tile/%D9%A3/000",
        "/tile/0/%FF%FF%FF",
    ],
)
def test_a_tile_path_leads_nowhere_else(shared: Site, path: str):
    """Other spellings, climbing out, zero bytes and Arabic digits are malformed, never a file."""
    answer = shared.client().get(path)

    assert (answer.status_code, answer.json["code"]) == (400, "tile/path")


@pytest.mark.parametrize(
    "path",
    [
        "/rows/../checkpoint",
        "/tile//etc/passwd",
        "/tile/0/000%0a",
        "/entries/../checkpoint",
        "/../checkpoint",
    ],
)
def test_paths_are_not_normalised(shared: Site, path: str):
    """No redirect and no second name for anything."""
    answer = shared.client().get(path)

    assert answer.status_code in (400, 404)
    assert "Location" not in answer.headers


def test_slashes_are_not_merged(shared: Site):
    """As a server gets it: a client takes what is behind two slashes for a host."""
    answer = shared.client().get("/", environ_overrides={"PATH_INFO": "//checkpoint"})

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=501", "limit=-1", "limit=+5", "limit=05", "limit=5.0", "limit=1e1", "limit=%D9%A3", "limit=",
        "limit=%205", "limit=1_0", "limit=5&limit=5", "limit=" + "9" * 5000, "after=ACME.example", "after=", "after=x",
        "after=a.example&after=b.example", "before=5", "size=5", "Limit=5", "limit[]=5", "limit;=5", "=5", "%00=1",
    ],
)  # fmt: skip
def test_parameters_are_read_strictly(shared: Site, query: str):
    """400 for parameters that are unknown here, repeated, or not one plain decimal or party id."""
    answer = shared.client().get(f"/holders?{query}")

    assert (answer.status_code, answer.json["code"]) == (400, "http/query")


@pytest.mark.parametrize("size", ["0", "1", "-2", "2.0", "02", "", "9223372036854775808", "٢"])
def test_a_checkpoint_size_is_a_size(shared: Site, size: str):
    """400 for a `size` that no checkpoint can have."""
    examples = shared.examples()
    answer = shared.client().get(f"/proofs/row/{examples['entry_id']}/{examples['index']}", query_string={"size": size})

    assert (answer.status_code, answer.json["code"]) == (400, "http/query")


@pytest.mark.parametrize(
    "party", ["ACME.example", "acme", "acme.example.", "-a.example", "a" * 254 + ".example", "é.eu"]
)
@pytest.mark.parametrize("end", ["", "/systems", "/entries"])
def test_a_party_id_is_a_host_name(shared: Site, party: str, end: str):
    """400 for anything that cannot be a party."""
    answer = shared.client().get(f"/holders/{party}{end}")

    assert (answer.status_code, answer.json["code"]) == (400, "http/path")


@pytest.mark.parametrize("epoch", ["x", "-1", "00", "1.0", "9" * 30])
def test_an_epoch_is_a_number(shared: Site, epoch: str):
    """400 for anything but a decimal."""
    answer = shared.client().get(f"/proofs/transition/{epoch}")

    assert (answer.status_code, answer.json["code"]) == (400, "encoding/decimal")


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW", "get"]
)
@pytest.mark.parametrize(
    "path", ["/", "/checkpoint", "/entries", "/index.html", "/tile/", "/static/x.css", "/%ff", "/\u202e"]
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_every_error_is_ours(shared: Site, path: str, method: str, accept: str):
    """Also where Flask would answer by itself: unknown paths, other methods, odd characters. Pages are for browsers."""
    answer = shared.client().open(path, method=method, headers={"Accept": accept})

    assert answer.status_code in (200, 400, 404, 405, 415)
    if answer.status_code >= 400 and accept == "text/html":
        assert answer.content_type == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert method == "HEAD" or "Code: <code>" in answer.text
    elif answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
    if answer.status_code == 405:
        assert answer.headers["Allow"]
        assert method == "HEAD" or accept == "text/html" or answer.json["code"] == "http/method"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "PUT"},
        {"X-Original-URL": "/metrics"},
        {"Content-Type": "application/cose; charset=\x00"},
        {"Accept": "x" * 5000},
        {"Accept": "application/cbor;q=nan"},
        {"Accept": ",".join(["a/b"] * 2000)},
        {"Accept-Encoding": "gzip;q=1e999"},
        {"If-None-Match": '"' * 3000},
        {"If-Modified-Since": "Thu, 99 Foo 9999 99:99:99 GMT"},
        {"Range": "bytes=" + "9" * 5000 + "-"},
        {"Cookie": "session=" + "a" * 4000},
        {"Authorization": "Basic !!!"},
        {"Transfer-Encoding": "chunked"},
        {"Content-Length": "zzz"},
        {"Host": "[::1"},
        {"Host": "a b/c"},
        {"Forwarded": "for=unknown"},
    ],
)
def test_odd_headers_do_no_harm(shared: Site, headers: dict[str, str]):
    """A read is answered, or the request refused as malformed; never a 500, never something else."""
    for path in ("/checkpoint", "/rows/{root}".format(**shared.examples()), "/entries/x"):
        answer = shared.client().get(path, headers=headers)

        assert answer.status_code in (200, 400, 404)


def test_a_hostile_message_survives_cbor(shared: Site):
    """What is quoted from a request fits into a CBOR problem too."""
    answer = shared.client().post(
        "/proofs/lookup",
        data=LOOKUP[:-1] + ', "\\u0000\\u202e\\uffff": 1}',
        content_type="application/json",
        headers={"Accept": "application/cbor"},
    )

    assert answer.status_code == 400
    assert cbor2.loads(answer.data)["attest:problem"]["code"] == "json/field"
