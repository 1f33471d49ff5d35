"""Who may keep what for how long, and who may read it."""

import gzip
import hashlib

import pytest

from tests.api.conftest import Site

FOREVER = "public, max-age=31536000, immutable"
NEWEST = "public, max-age=2"  # tlog-tiles: at most a few seconds
MINUTE = "public, max-age=60"
KEPT = {
    "/checkpoint": NEWEST,
    "/tile/0/000.p/{width}": FOREVER,
    "/tile/entries/000.p/{width}": FOREVER,
    "/rows/{root}": FOREVER,
    "/policy": MINUTE,
    "/log": NEWEST,
    "/holders": NEWEST,
    "/holders/{party}": NEWEST,
    "/holders/{party}/systems": NEWEST,
    "/holders/{party}/entries": NEWEST,
    "/entries/{entry_id}": MINUTE,
    "/entries/{entry_id}/statement": FOREVER,
    "/entries/{entry_id}/promise": MINUTE,
    "/proofs/entry/{entry_id}": NEWEST,
    "/proofs/row/{entry_id}/{index}": NEWEST,
    "/proofs/row/{entry_id}/{index}?size={size}": MINUTE,
    "/proofs/transition/{epoch}": MINUTE,
    "/.well-known/scitt-keys": "public, max-age=3600",
    "/.well-known/scitt-keys/{kid}": "public, max-age=3600",
    "/openapi.json": "public, max-age=3600",
}
NOT_KEPT = ("/healthz", "/metrics")
ERRORS = (
    "/nothing", "/tile/0/999", "/tile/0/nothing", f"/rows/{'a' * 64}", "/rows/x", "/entries/x", f"/entries/{'A' * 43}",
    "/holders/nobody.example", "/proofs/transition/999999", "/.well-known/scitt-keys/x", "/checkpoint?x=1",
)  # fmt: skip


@pytest.mark.parametrize("path", KEPT)
def test_a_read_may_be_kept_as_long_as_it_stays_true(shared: Site, path: str):
    """Each read has its Cache-Control and an entity tag with which it is not sent twice."""
    client, path_now = shared.client(), path.format(**shared.examples())

    answer = client.get(path_now)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, KEPT[path])
    tag = answer.headers["ETag"]
    assert tag.startswith('"')
    again = client.get(path_now, headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert again.headers["Cache-Control"] == KEPT[path]
    assert client.get(path_now, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", [*KEPT, *NOT_KEPT])
def test_head_says_what_get_would(shared: Site, path: str):
    """HEAD has the headers of GET and no body."""
    client, path_now = shared.client(), path.format(**shared.examples())
    got, head = client.get(path_now), client.head(path_now)

    assert (head.status_code, head.data) == (200, b"")
    names = ["Content-Type", "Cache-Control", "ETag"] + (["Content-Length"] if path != "/metrics" else [])
    assert [head.headers.get(name) for name in names] == [got.headers.get(name) for name in names]


@pytest.mark.parametrize("path", NOT_KEPT)
def test_what_changes_by_the_second_is_not_kept(shared: Site, path: str):
    """Health and counters are of now."""
    answer = shared.client().get(path)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize("path", ERRORS)
def test_errors_are_never_kept(shared: Site, path: str):
    """A tile that is not there yet must not be remembered as missing."""
    answer = shared.client().get(path)

    assert answer.status_code in (400, 404)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("path", KEPT)
def test_pages_of_other_sites_may_read(shared: Site, path: str):
    """Reads are open to every origin, without credentials, and their headers readable."""
    client, path_now = shared.client(), path.format(**shared.examples())
    answer = client.get(path_now, headers={"Origin": "https://elsewhere.example"})

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    asked = client.options(path_now, headers={"Access-Control-Request-Method": "GET"})
    assert (asked.status_code, asked.data) == (204, b"")
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert asked.headers["Access-Control-Allow-Methods"] == "GET"


def test_pages_of_other_sites_may_look_up_and_not_write(shared: Site):
    """A preflight admits the look-up's POST; the writes get no CORS header at all."""
    client = shared.client()

    assert client.options("/proofs/lookup").headers["Access-Control-Allow-Methods"] == "POST"
    assert client.options(f"/rows/{'a' * 64}").headers["Access-Control-Allow-Methods"] == "GET"
    for answer in (
        client.options("/entries"),
        client.options("/metrics"),
        client.post("/entries"),
        client.put(f"/rows/{'a' * 64}"),
        client.get("/metrics"),
    ):
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


@pytest.mark.parametrize("path", ["/checkpoint", "/nothing", "/entries/x", "/metrics"])
def test_every_answer_is_inert_in_a_browser(shared: Site, path: str):
    """No sniffing, no framing, no scripts, no referrer."""
    headers = shared.client().get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Strict-Transport-Security" not in headers
    secure = shared.client().get(path, base_url="https://log.example")
    assert secure.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_entry_bundles_are_compressed_where_taken(shared: Site):
    """Gzip on request, the same bytes inside, another tag, and caches told apart."""
    client, path = shared.client(), "/tile/entries/000.p/{width}".format(**shared.examples())
    plain = client.get(path)
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in client.get(path, headers={"Accept-Encoding": "gzip;q=0"}).headers


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("bytes=0-63", 0, 64), ("bytes=64-", 64, 192), ("bytes=-64", 128, 192), ("bytes=128-999", 128, 192)],
)
def test_a_part_of_a_row_file_can_be_read(shared: Site, wanted: str, start: int, end: int):
    """One byte range answers 206 with exactly those bytes."""
    client, path = shared.client(), "/rows/{root}".format(**shared.examples())
    whole = client.get(path)
    assert (whole.status_code, len(whole.data), whole.headers["Accept-Ranges"]) == (200, 192, "bytes")

    part = client.get(path, headers={"Range": wanted})

    assert (part.status_code, part.data) == (206, whole.data[start:end])
    assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/192"
    assert part.headers["Cache-Control"] == FOREVER


@pytest.mark.parametrize("wanted", ["bytes=192-", "bytes=500-600"])
def test_a_part_beyond_the_end_is_refused(shared: Site, wanted: str):
    """416 with the length there is."""
    answer = shared.client().get("/rows/{root}".format(**shared.examples()), headers={"Range": wanted})

    assert (answer.status_code, answer.json["code"]) == (416, "http/range")
    assert answer.headers["Content-Range"] == "bytes */192"


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,4-5", "bytes=5-1", "bytes", "rows=0-1", "bytes=a-b", "bytes=" + "0-1," * 999]
)
def test_an_odd_range_gets_the_whole(shared: Site, wanted: str):
    """Several ranges, other units and nonsense are ignored, as RFC 9110 allows."""
    answer = shared.client().get("/rows/{root}".format(**shared.examples()), headers={"Range": wanted})

    assert (answer.status_code, len(answer.data)) == (200, 192)


def test_a_part_of_another_file_is_not_sent(shared: Site):
    """If-Range with another tag gets the whole."""
    client, examples = shared.client(), shared.examples()
    answer = client.get(f"/rows/{examples['root']}", headers={"Range": "bytes=0-1", "If-Range": '"other"'})

    assert (answer.status_code, len(answer.data)) == (200, 192)


def test_tags_follow_content(shared: Site):
    """Two checkpoints have two tags."""
    client = shared.client()
    before = client.get("/checkpoint")
    shared.published()
    after = client.get("/checkpoint", headers={"If-None-Match": before.headers["ETag"]})

    assert after.status_code == 200
    assert hashlib.sha256(before.data).digest() != hashlib.sha256(after.data).digest()
