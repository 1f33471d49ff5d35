"""What the server sends: valid HTML, small and kept by caches; lists without gaps; feeds, tables and charts that say
what the log says.
"""

import csv
import gzip
import io
import json
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, Final

import httpx
import pytest

from attest.formats.rows import RowFile
from attest.formats.statement import Epoch, Hold, Statement, Tombstone
from attest.merkle import tiles
from tests.web.second import NODE, ROOT
from tests.web.test_pages import KINDS, OTHERS, RICH, address
from tests.web.worlds import HEBREW, LONG, MARKUP, STATEMENTS, SYSTEMS, Served, empty, served
from tests.world import ORIGIN

WEB: Final = ROOT / "web"
BROWSER: Final = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
ALL_PAGES: Final = [
    *(("rich", path) for path in RICH.values()),
    *(("rich", f"kind:{kind}") for kind in KINDS),
    *OTHERS,
]
BUDGET: Final = 100_000  # bytes of a page and what it loads


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A browser without a cache."""
    with httpx.Client(headers=BROWSER, timeout=60) as found:
        yield found


@pytest.fixture(scope="module")
def pages(sites: dict[str, Served], client: httpx.Client) -> dict[str, httpx.Response]:
    """Every page, as it was sent."""
    return {f"{site} {path}": client.get(address(sites, site, path)) for site, path in ALL_PAGES}


def test_every_page_is_valid_html(pages: dict[str, httpx.Response]) -> None:
    """html-validate, with the rules of the standard, of documents and of accessibility, finds nothing."""
    encoded = json.dumps({name: page.text for name, page in pages.items()})
    done = subprocess.run([NODE, WEB / "tools/validate.mjs"], input=encoded, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == []


class _Links(HTMLParser):
    """What a page loads, where it leads, and what stands in it that must not."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.inline: list[str] = []
        self._script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.inline += [f"{tag} {name}" for name in found if name == "style" or name.startswith("on")]
        if tag == "script":
            self._script = True
            self.loads += [found["src"] or ""] if "src" in found else []
        if tag == "link" and found["rel"] in ("stylesheet", "icon"):
            self.loads += [href for href in [found["href"] or ""] if not href.startswith("data:")]
        if tag == "style":
            self.inline.append(tag)
        if tag == "a":
            self.leads.append(found["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._script = self._script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(f"script: {data[:40]}")


def test_pages_load_files_of_their_own_and_nothing_is_inline(pages: dict[str, httpx.Response]) -> None:
    """The policy allows no more, and nothing on a page asks for more. The one file is a page of its own kind."""
    talks = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'"
    for name, page in pages.items():
        policy = page.headers["Content-Security-Policy"]
        links = _Links(page.text)
        if name.endswith("/verify.html"):
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "connect-src" not in policy
            assert links.loads == []
            continue
        wanted = talks.replace("connect-src 'self'", "connect-src 'none'") if name.endswith("/verify") else talks
        assert policy.startswith(wanted), name
        assert links.inline == [], name
        assert all(
            re.fullmatch(r"/assets/[0-9a-f]{12}/(static/site\.css|dist/[a-z]+\.js)", each) for each in links.loads
        ), name


def test_every_page_is_light(pages: dict[str, httpx.Response], client: httpx.Client) -> None:
    """A page and all that it loads, the verifier included, is under 100 kB as it is sent."""
    for name, page in pages.items():
        loads = [client.get(page.url.join(each)) for each in _Links(page.text).loads]
        for answer in loads:
            assert answer.status_code == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["Content-Encoding"] == "gzip"
        assert sum(answer.num_bytes_downloaded for answer in [page, *loads]) < BUDGET, name


def test_what_is_known_is_not_sent_again(sites: dict[str, Served], client: httpx.Client) -> None:
    """Pages, feeds and assets have entity tags: one that still fits is answered 304, without a body."""
    url = sites["ended"].url
    style = _Links(client.get(f"{url}/").text).loads[0]
    for path in ("/browse/holders", "/verify", "/proves", "/browse/holders/acme.example/feed.atom", style):
        first = client.get(url + path)
        again = client.get(url + path, headers={"If-None-Match": first.headers["ETag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b""), path
        assert client.get(url + path, headers={"If-None-Match": '"other"'}).status_code == 200, path
        assert "Accept-Encoding" in first.headers["Vary"]


def test_clients_without_gzip_get_the_same(sites: dict[str, Served], client: httpx.Client) -> None:
    """Compression changes the bytes on the wire and nothing else."""
    url = f"{sites['ended'].url}/browse/holders/acme.example"
    plain = client.get(url, headers={"Accept-Encoding": "identity"})
    with client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())

    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content
    assert plain.headers["ETag"] != packed.headers["ETag"]


def test_every_link_of_the_site_leads_somewhere(pages: dict[str, httpx.Response], client: httpx.Client) -> None:
    """What a page links to on its own site is there."""
    targets = {
        str(page.url.join(link))
        for page in pages.values()
        for link in _Links(page.text).leads
        if link.startswith("/") and not link.startswith("/browse/entries/")
    }
    wrong = {url for url in targets if client.get(url).status_code != 200}

    assert len(targets) > 60
    assert wrong == set()


# --- lists ---


def _walk(client: httpx.Client, url: str, pattern: str) -> list[list[str]]:
    """Follow `rel=next` and return what a pattern finds in the main part of each page."""
    found = []
    while True:
        page = client.get(url)
        assert page.status_code == 200
        main = page.text[page.text.index("<main") : page.text.index("</main>")]
        found.append(re.findall(pattern, main))
        more = re.search(r'<a href="([^"]+)" rel="next">', main)
        if more is None:
            return found
        url = str(page.url.join(more[1].replace("&amp;", "&")))


def test_all_statements_are_listed_once_newest_first(sites: dict[str, Served], client: httpx.Client) -> None:
    """From the first page to the last: every position, in order, without gaps."""
    rich = sites["rich"]
    listed = _walk(client, f"{rich.url}/browse/entries", r'<th scope="row"><a href="/browse/entries/(\d+)">')

    assert len(listed) > 2
    assert [int(each) for page in listed for each in page] == list(range(rich.node.view.size))[::-1]


def test_all_statements_of_a_holder_are_listed_once(sites: dict[str, Served], client: httpx.Client) -> None:
    """Those that it signed and those about it, as they are in the published entries."""
    rich = sites["rich"]
    pattern = r'<th scope="row"><a href="/browse/entries/(\d+)">'
    listed = _walk(client, f"{rich.url}/browse/holders/busy.example/entries", pattern)
    wanted = [
        position
        for position, statement in enumerate(_published(rich))
        if "busy.example" in (statement.issuer.removeprefix("https://"), statement.about)
    ]

    assert len(listed) == 2
    assert len(wanted) > STATEMENTS
    assert [int(each) for page in listed for each in page] == wanted[::-1]


def test_all_holders_are_listed_once(sites: dict[str, Served], client: httpx.Client) -> None:
    """By id; whoever is admitted as something else is not among them."""
    rich = sites["rich"]
    found = _walk(client, f"{rich.url}/browse/holders", r'<th scope="row"><a href="/browse/holders/([^"]+)">')
    admitted = [each.payload for each in _published(rich) if each.payload.KIND == "party/1"]

    assert found == [sorted(each.id for each in admitted if each.role == "holder")]


def test_all_systems_of_a_holder_are_listed_once(sites: dict[str, Served], client: httpx.Client) -> None:
    """In cards, so many to a page."""
    url = f"{sites['rich'].url}/browse/holders/many.example"
    found = _walk(client, url, r'<h3><a href="/browse/holders/many.example/systems/([^"]+)">')

    assert [len(page) for page in found] == [24, SYSTEMS - 24]
    assert [each for page in found for each in page] == [f"shard-{n:02}" for n in range(SYSTEMS)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/browse/entries?before=0", 200),
        ("/browse/entries?before=9007199254740991", 200),
        ("/browse/entries?before=-1", 400),
        ("/browse/entries?before=1e3", 400),
        ("/browse/entries?before=%D9%A3", 400),
        ("/browse/entries?before=" + "9" * 400, 400),
        ("/browse/entries?before=1&before=2", 400),
        ("/browse/entries?after=1", 200),  # no parameter of this page: somebody else's
        ("/browse/log?before=0", 200),
        ("/browse/log?before=%00", 400),
        ("/browse/holders?after=zzzz.example", 200),
        ("/browse/holders?after=%3Cscript%3E", 400),
        ("/browse/holders?q=%25%5F%5C", 200),
        ("/browse/holders?q=" + "%F0%9F%92%A9" * 50, 200),
        ("/browse/holders?q=" + "x" * 5000, 400),
        ("/browse/holders?q=%00", 200),
        ("/browse/holders?q=%22%3E%3Csvg%20onload%3Dx%3E", 200),
        ("/browse/holders/many.example?after=%22%3E%3Csvg%3E", 200),
        ("/browse/holders/many.example?after=zzz", 200),
        ("/browse/holders/..%2F..", 404),
        ("/browse/entries/99999999999999999999", 400),
        ("/browse/entries/01", 400),
    ],
)
def test_hostile_queries_are_answered(sites: dict[str, Served], client: httpx.Client, path: str, status: int) -> None:
    """With what fits or with what is wrong; nothing comes back as markup."""
    answer = client.get(sites["rich"].url + path)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<svg onload" not in answer.text
    assert "<svg>" not in answer.text
    assert 'alert("x")' not in answer.text


@pytest.mark.parametrize("path", ["/", "/browse/holders", "/verify", "/browse/holders?after=acme.example"])
def test_links_work_as_newsletters_make_them(sites: dict[str, Served], client: httpx.Client, path: str) -> None:
    """With parameters that say where the reader comes from."""
    url = sites["rich"].url + path
    plain, marked = client.get(url), client.get(f"{url}{'&' if '?' in path else '?'}utm_source=x&utm_source=y&fbclid=1")

    assert plain.status_code == marked.status_code == 200
    # All but how old the newest checkpoint is.
    first, second = (re.sub(r"\([^()]* ago\)", "", answer.text) for answer in (plain, marked))
    assert first == second


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/verify/", "/verify"),
        ("/browse", "/browse/holders"),
        ("/browse/holders/", "/browse/holders"),
        ("/browse/holders/ACME.Example", "/browse/holders/acme.example"),
        ("/Browse/Holders/?q=acme", "/browse/holders?q=acme"),
        ("/browse/%5Cevil.example/", "/browse/%5Cevil.example"),
    ],
)
def test_addresses_as_people_write_them_lead_to_the_page(
    sites: dict[str, Served], client: httpx.Client, path: str, place: str
) -> None:
    """A slash too many, capitals: to the page, never off the site."""
    answer = client.get(sites["rich"].url + path)

    assert answer.status_code == 308
    assert answer.headers["Location"] == place


@pytest.mark.parametrize("query", ["SÖHNE", "so\u0308hne", "\x00 söhne"])
def test_the_search_knows_letters_of_all_sorts(sites: dict[str, Served], client: httpx.Client, query: str) -> None:
    """Capital or small, in one sign or two; what nobody sees finds nothing more."""
    page = client.get(f"{sites['rich'].url}/browse/holders", params={"q": query})

    assert "1 found for" in page.text
    assert "Söhne" in page.text


@pytest.mark.parametrize(
    "query", ["Donau", "schiff mbh", "acme", "XX many", "<script>", "מחיקה", "%", "_", "\\", "' or 1=1"]
)
def test_the_search_finds_what_has_all_the_words(sites: dict[str, Served], client: httpx.Client, query: str) -> None:
    """In an id, a name or a legal identifier; a wildcard of SQL is a character like any other."""
    rich = sites["rich"]
    page = client.get(f"{rich.url}/browse/holders", params={"q": query})
    found = re.findall(r'<th scope="row"><a href="/browse/holders/([^"]+)">', page.text)
    admitted = [each.payload for each in _published(rich) if each.payload.KIND == "party/1"]
    wanted = {
        each.id
        for each in admitted
        if each.role == "holder"
        and all(
            any(word.casefold() in text.casefold() for text in (each.id, each.name, each.legal_id))
            for word in query.split()
        )
    }

    assert (set(found), len(found)) == (wanted, len(wanted))


# --- feeds, tables, charts ---

_PARSED: dict[tuple[str, int], list[Statement]] = {}


def _published(at: Served) -> list[Statement]:
    """Read all entries from the published tiles."""
    size = at.node.view.size
    if (at.url, size) not in _PARSED:
        entries: list[bytes] = []
        for start in range(0, size, tiles.FULL):
            width = min(tiles.FULL, size - start)
            path = tiles.entries_path(start // tiles.FULL, width)
            entries += tiles.parse_bundle(at.world.published(path), width)
        _PARSED[at.url, size] = [Statement.parse(entry) for entry in entries]
    return _PARSED[at.url, size]


def _counted(at: Served, party: str) -> dict[str, list[dict[str, int]]]:
    """Replay what a holder said, by a model of its own: how each system stood after each epoch that touched it."""
    told: dict[str, list[dict[str, int]]] = {}
    lives: dict[str, dict[bytes, str]] = {}
    reheld: dict[str, int] = {}
    touched: set[str] = set()
    for position, statement in enumerate(_published(at)):
        payload = statement.payload
        if isinstance(payload, Hold | Tombstone) and statement.issuer == f"https://{party}":
            system = statement.stream
            life = lives.setdefault(system, {})
            rows = RowFile.parse(at.world.published(f"rows/{payload.root.hex()}"))
            for index in rows.indexes:
                if isinstance(payload, Hold) and life.get(index) == "erased":
                    reheld[system] = reheld.get(system, 0) + 1
                life[index] = "held" if isinstance(payload, Hold) else "erased"
            touched.add(system)
        elif payload.KIND == "systems/1" and statement.issuer == f"https://{party}":
            touched |= {each.id for each in payload.systems}
        elif isinstance(payload, Epoch):
            for system in touched:
                life = lives.get(system, {})
                told.setdefault(system, []).append(
                    {
                        "epoch": payload.number,
                        "time": payload.time,
                        "size": position + 1,
                        "held": sum(each == "held" for each in life.values()),
                        "erased": sum(each == "erased" for each in life.values()),
                        "reheld": reheld.get(system, 0),
                    }
                )
            touched = set()
    return told


COUNTED: Final = [
    ("acme.example", "crm"),
    ("acme.example", "legacy"),
    ("many.example", "shard-00"),
    ("busy.example", "db"),
]


@pytest.mark.parametrize(("party", "system"), COUNTED)
def test_the_history_is_what_the_statements_say(
    sites: dict[str, Served], client: httpx.Client, party: str, system: str
) -> None:
    """As CSV, as JSON, and by a replay of the published entries and row files."""
    rich = sites["rich"]
    url = f"{rich.url}/holders/{party}/systems/{system}/history"
    table = client.get(f"{url}.csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    listed = client.get(url, params={"limit": 500}).json()["history"]
    wanted = _counted(rich, party)[system][::-1]

    assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert [{name: int(row[name]) for name in wanted[0]} for row in rows] == wanted
    assert [{name: row[name] for name in wanted[0]} for row in listed] == wanted


@pytest.mark.parametrize(("party", "system"), COUNTED)
def test_the_chart_shows_what_the_statements_say(
    sites: dict[str, Served], client: httpx.Client, party: str, system: str
) -> None:
    """Every row of the chart's numbers is how the system stood then; the line ends where the counts are."""
    rich = sites["rich"]
    page = client.get(f"{rich.url}/browse/holders/{party}/systems/{system}").text
    table = page[page.index("The numbers of this chart") : page.index("Every change as CSV")]
    found = re.findall(
        r'Unix time (\d+)">.*?<td class="n">([\d,]+)</td><td class="n">([\d,]+)</td><td class="n">([\d,]+)</td>', table
    )
    history = _counted(rich, party)[system]
    for row in found:
        at, *shown = (int(each.replace(",", "")) for each in row)
        then = [each for each in history if each["time"] <= at]
        wanted = [then[-1][name] for name in ("held", "erased", "reheld")] if then else [0, 0, 0]
        assert shown == wanted, at
    assert len(found) > 5
    figures = re.findall(r"<dt>(held|erased|held again)</dt><dd>([\d,]+)</dd>", page)
    last = history[-1]
    assert [int(each.replace(",", "")) for _, each in figures] == [last["held"], last["erased"], last["reheld"]]
    for name, path in re.findall(r'<path class="(held|erased|reheld)" d="([^"]+)"', page):
        if path == "M0 4h24":  # of the legend
            continue
        top = re.search(r'<div class="y" aria-hidden="true"><span>([^<]+)</span>', page)
        start = re.match(r"M0 (\d+)", path)
        assert top is not None
        assert start is not None
        y = int(start[1]) + sum(map(int, re.findall(r"v(-?\d+)", path)))
        assert abs(600 - y - last[name] * 600 / int(top[1].replace(" k", "000"))) <= 1, name


ATOM: Final = "{http://www.w3.org/2005/Atom}"


@pytest.mark.parametrize(
    "party", ["acme.example", "markup.example", "xn--4dbrk0ce.example", "bare.example", "busy.example"]
)
def test_the_atom_feed_has_what_rfc_4287_requires(sites: dict[str, Served], client: httpx.Client, party: str) -> None:
    """Of the feed and of each entry: exactly one id, title and updated; an author; links; ids that differ."""
    url = f"{sites['rich'].url}/browse/holders/{party}/feed.atom"
    answer = client.get(url)
    feed = ET.fromstring(answer.content)
    items = feed.findall(f"{ATOM}entry")

    assert answer.headers["Content-Type"] == "application/atom+xml; charset=utf-8"
    assert feed.tag == f"{ATOM}feed"
    for each in (feed, *items):
        for name in ("id", "title", "updated"):
            assert len(each.findall(ATOM + name)) == 1
        assert re.fullmatch(r"https?://\S+", each.findtext(f"{ATOM}id") or "")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each.findtext(f"{ATOM}updated") or "")
    assert feed.findtext(f"{ATOM}author/{ATOM}name")
    links = {each.get("rel"): each.get("href") for each in feed.findall(f"{ATOM}link")}
    assert links["self"] == url
    assert len({each.findtext(f"{ATOM}id") for each in items}) == len(items)
    assert all(each.find(f"{ATOM}link").get("rel") == "alternate" for each in items)  # type: ignore[union-attr]
    times = [each.findtext(f"{ATOM}updated") for each in items]
    assert times == sorted(times, reverse=True)  # type: ignore[type-var]
    assert 0 < len(items) <= 50


@pytest.mark.parametrize("party", ["acme.example", "markup.example", "xn--4dbrk0ce.example", "bare.example"])
def test_the_json_feed_has_what_version_1_1_requires(
    sites: dict[str, Served], client: httpx.Client, party: str
) -> None:
    """version, title, items; of each item an id as text, unlike the others, and a content; and it agrees with Atom."""
    url = f"{sites['rich'].url}/browse/holders/{party}"
    answer = client.get(f"{url}/feed.json")
    feed = answer.json()
    atom = ET.fromstring(client.get(f"{url}/feed.atom").content)

    assert answer.headers["Content-Type"] == "application/feed+json"
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    assert feed["feed_url"] == f"{url}/feed.json"
    assert feed["title"] == atom.findtext(f"{ATOM}title")
    assert all(isinstance(each["id"], str) and each["content_text"] for each in feed["items"])
    assert len({each["id"] for each in feed["items"]}) == len(feed["items"])
    assert [(each["id"], each["title"], each["content_text"], each["date_published"]) for each in feed["items"]] == [
        tuple(each.findtext(ATOM + name) for name in ("id", "title", "summary", "updated"))
        for each in atom.findall(f"{ATOM}entry")
    ]


def test_names_are_text_wherever_they_stand(sites: dict[str, Served], client: httpx.Client) -> None:
    """On pages, in feeds, in titles: a name that looks like markup is shown so; marks that turn text are spelled."""
    url = sites["rich"].url
    page = client.get(f"{url}/browse/holders/markup.example").text
    hebrew = client.get(f"{url}/browse/holders/xn--4dbrk0ce.example").text
    feed = ET.fromstring(client.get(f"{url}/browse/holders/markup.example/feed.atom").content)

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert feed.findtext(f"{ATOM}title") == f"{MARKUP} in {ORIGIN}"
    assert "\u202e" not in hebrew
    assert HEBREW.partition("\u202e")[0] in hebrew
    assert LONG in client.get(f"{url}/browse/holders").text


# --- errors ---


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nowhere", 404, "http/not-found"),
        ("/browse/holders/nobody.example", 404, "holder/unknown"),
        ("/browse/holders/acme.example/systems/none", 404, "system/unknown"),
        ("/browse/entries/123456789", 404, "entry/unknown"),
        ("/browse/entries?before=x", 400, None),
        ("/assets/000000000000/static/none.css", 404, "asset/unknown"),
    ],
)
def test_errors_are_pages_for_browsers_and_documents_for_programs(
    sites: dict[str, Served], client: httpx.Client, path: str, status: int, code: str | None
) -> None:
    """Both say the same; neither is kept."""
    url = sites["rich"].url + path
    page = client.get(url)
    document = client.get(url, headers={"Accept": "*/*"})

    assert (page.status_code, document.status_code) == (status, status)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert document.headers["Content-Type"] == "application/problem+json"
    assert f"<code>{document.json()['code']}</code>" in page.text
    assert code in (None, document.json()["code"])
    assert {page.headers["Cache-Control"], document.headers["Cache-Control"]} == {"no-store"}


def test_a_database_that_does_not_answer_is_told_as_such(tmp_path: Any, client: httpx.Client) -> None:
    """503, as a page and as a document, with when to try again; what asks no database is still there."""
    with served(empty(tmp_path / "log")) as site:
        database = next((tmp_path / "log").glob("*.db"))
        site.node.close()
        for each in (tmp_path / "log").glob("*.db*"):
            each.unlink()
        database.mkdir()  # nothing that a database can be opened in
        page = client.get(f"{site.url}/browse/log")
        document = client.get(f"{site.url}/checkpoints", headers={"Accept": "application/json"})

        assert (page.status_code, document.status_code) == (503, 503)
        assert "<code>store/database</code>" in page.text
        assert document.json()["code"] == "store/database"
        assert int(page.headers["Retry-After"]) > 0
        assert client.get(f"{site.url}/checkpoint").status_code == 200


def test_a_fault_of_ours_is_a_page_with_a_number_to_ask_for(tmp_path: Any, client: httpx.Client) -> None:
    """500, without a word of what went wrong inside."""
    with served(empty(tmp_path / "log")) as site:
        # Published files that a running node cannot have lost by itself.
        object.__setattr__(site.node.browse, "_counts", None)
        page = client.get(f"{site.url}/")
        document = client.get(f"{site.url}/", headers={"Accept": "application/json"})

    assert (page.status_code, document.status_code) == (500, 500)
    assert "<code>http/internal</code>" in page.text
    assert "NoneType" not in page.text
    assert re.search("incident [0-9a-f]{16}", page.text)
    assert document.json()["code"] == "http/internal"


def test_other_versions_of_assets_are_not_kept(sites: dict[str, Served], client: httpx.Client) -> None:
    """A page from before an update gets today's file, and its browser keeps it under no wrong name."""
    url = f"{sites['rich'].url}/assets/000000000000/static/site.css"
    assert client.get(url).headers["Cache-Control"] == "no-store"


def test_the_log_that_is_silent_or_has_ended_says_so_on_every_page(
    sites: dict[str, Served], client: httpx.Client
) -> None:
    """A log that promised to speak every hour and has been silent for a month; one that names its successor."""
    for path in ("/", "/browse/holders", "/browse/log", "/verify", "/lookup", "/browse/entries/0"):
        stale, over, well = (client.get(sites[name].url + path).text for name in ("stale", "ended", "rich"))
        assert "The newest checkpoint is 30 days old." in stale
        assert "This log has ended." in over
        assert 'href="https://next.example/log"' in over
        assert 'class="banner' not in re.sub(r"<noscript>.*?</noscript>", "", well)
