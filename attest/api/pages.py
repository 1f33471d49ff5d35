"""Pages for people: HTML that is complete without scripts, CSV and feeds.

Templates and what they load are in web/. Spec: docs/spec/http.md#pages.
"""

import csv
import io
import time
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import jinja2
from flask import Response, request
from markupsafe import Markup

from attest.api import charts, words
from attest.api.answers import IMMUTABLE, MINUTE, NEWEST, NO_STORE, dump, plain, read, read_compressed
from attest.api.assets import Assets
from attest.api.backend import Node
from attest.api.inputs import path_party, path_position, path_system, query_decimal, query_party, query_text
from attest.browse import Entry
from attest.crypto.keys import thumbprint
from attest.encoding import encode_base64, printable, sha256
from attest.errors import AttestError, Conflict
from attest.formats.statement import Statement
from attest.resources import resources
from attest.store.counts import ALL
from attest.store.db import Clock

HTML: Final = "text/html; charset=utf-8"
_ATOM: Final = "application/atom+xml; charset=utf-8"
_JSON_FEED: Final = "application/feed+json"
_CSV: Final = "text/csv; charset=utf-8"

# Scripts and styles are our own files; nothing is inline but pictures, nothing comes from elsewhere.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src {connect};"
    " form-action {form}; base-uri 'none'; frame-ancestors 'none'"
)
TALKS: Final = _POLICY.format(connect="'self'", form="'self'")
# Nothing that a person drops or types on such a page can leave it, not even if its script did not load.
SILENT: Final = _POLICY.format(connect="'none'", form="'none'")

_LINES: Final = 25  # of lists on pages
_CARDS: Final = 24  # systems on a holder's page
_FEED: Final = 50
_COLUMNS: Final = ("time", "epoch", "size", "held", "erased", "reheld")  # of a CSV file, and in JSON
_CSV_ROWS: Final = 10_000
_LATE_S: Final = 60  # how late a checkpoint may be before a page says so


class Pages:
    """The site."""

    def __init__(self, node: Node, clock: Clock = time.time) -> None:
        self.node = node
        self._clock = clock
        web = resources("web")
        self.assets = Assets(web)
        env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(web / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        env.filters.update(
            time=show_time, day=_day, number=_number, short=charts.short, digest=_digest, age=age, said=printable,
            segment=lambda text: quote(text, safe=""),
        )  # fmt: skip
        env.tests.update(
            bytes=lambda value: isinstance(value, bytes), moment=lambda value: isinstance(value, words.Moment)
        )
        env.globals.update(
            origin=node.origin,
            asset=self.assets.url,
            icon="data:image/svg+xml;base64," + encode_base64(self.assets.get("static/icon.svg").content),
            kinds=words.KINDS,
            system_kinds=words.SYSTEM_KINDS,
            roles=words.ROLES,
            checks=words.CHECKS,
            chart_height=charts.HEIGHT,
        )
        self._env = env
        self._front: tuple[int, dict[str, Any]] | None = None  # what the front page shows of a log of this size

    # --- pages ---

    def home(self) -> Response:
        """Show what this log is and where it stands."""
        browse = self.node.browse
        size = browse.view.size
        if self._front is None or self._front[0] != size:
            active = {each.party: each for each in browse.active(8)}
            holders = {each["id"]: each for each in browse.holders_named(list(active))}
            shown = {
                "chart": charts.draw(browse.timeline(self.node.origin, [ALL], charts.COLUMNS), ALL),
                "active": [(holders[party], each.time) for party, each in active.items() if party in holders],
            }
            self._front = size, shown
        return self._current("home.html", checkpoint=browse.checkpoints(None, 1)["checkpoints"][0], **self._front[1])

    def holders(self) -> Response:
        """List companies, or those with some words in their names."""
        # As people see them: a sign that nobody sees is in no name.
        text = "".join(sign if sign.isprintable() else " " for sign in unicodedata.normalize("NFC", query_text("q")))
        if query := " ".join(text.split()):
            found = self.node.browse.holders_called(query, 100)
            return self._current("holders.html", holders=found, next=None, query=query, first=True)
        after = query_party("after")
        page = self.node.browse.holders(after, 100)
        return self._current("holders.html", **page, query="", first=after is None)

    def holder(self, party: str) -> Response:
        """Show one company."""
        browse, after = self.node.browse, query_text("after")
        holder = browse.holder(path_party(party))
        systems = [each for each in holder["systems"] if each["id"] > after]
        shown = systems[:_CARDS]
        timeline = browse.timeline(party, [each["id"] for each in shown], charts.SMALL)
        return self._current(
            "holder.html",
            holder=holder,
            total=None if after else charts.draw(browse.timeline(party, [ALL], charts.COLUMNS), ALL),
            systems=[(each, charts.draw(timeline, each["id"])) for each in shown],
            next_system=shown[-1]["id"] if len(systems) > _CARDS else None,
            first=not after,
            entries=browse.entries(party, None, _LINES)["entries"],
            names={party: holder["name"]},
        )

    def holder_entries(self, party: str) -> Response:
        """List what a company said and what was said about it."""
        before = query_decimal("before")
        page = self.node.browse.entries(path_party(party), before, 100)
        holder = self.node.browse.holder(party)
        return self._current(
            "holder_entries.html", holder=holder, **page, names={party: holder["name"]}, first=before is None
        )

    def system(self, party: str, system: str) -> Response:
        """Show one system."""
        browse = self.node.browse
        found = browse.system(path_party(party), path_system(system))
        timeline = browse.timeline(party, [system], charts.COLUMNS)
        return self._current(
            "system.html",
            holder=browse.holder(party),
            system=found,
            chart=charts.draw(timeline, system),
            changes=browse.history(party, system, None, _LINES)["history"],
        )

    def entries(self) -> Response:
        """List all statements."""
        before = query_decimal("before")
        page = self.node.browse.entries_of_all(before, 100)
        names = {each["issuer"]: self.node.browse.name_of(each["issuer"]) for each in page["entries"]}
        return self._current("entries.html", **page, names=names, first=before is None)

    def entry(self, position: str) -> Response:
        """Show one statement, and what shows that it is in the log."""
        found = self.node.browse.entry(path_position(position))
        if found is None:
            raise Conflict("entry/unknown", f"this log has {self.node.browse.view.size:,} entries, and not this one")
        statement = Statement.parse(found.record.entry)
        told = words.tell(statement, self.node.browse.name_of, self.node.origin)
        issuer = statement.issuer.removeprefix("https://")
        return self._current(
            "entry.html",
            entry=found,
            statement=statement,
            told=told,
            issuer=issuer,
            issuer_name=self.node.browse.name_of(issuer),
            key=_key_of(found, statement, issuer),
        )

    def log(self) -> Response:
        """Show checkpoints, who cosigned them, and how to mirror and audit."""
        before = query_decimal("before")
        return self._current(
            "log.html",
            page=self.node.browse.checkpoints(before, _LINES),
            first=before is None,
            url=self._base(),
            policy=self.node.policy().decode("utf-8", "replace"),
            state_policy=self.node.state_policy() is not None,
        )

    def verify(self) -> Response:
        """Offer verification of a bundle in the browser. The page cannot send anything anywhere."""
        alone, _ = self._alone()
        return self._current(
            "verify.html", content_policy=SILENT, alone=sha256(alone.encode()).hex(), **self._policies()
        )

    def verify_alone(self) -> Response:
        """Answer with the same page as one file, which works from disk."""
        alone, content_policy = self._alone()
        response = read_compressed(alone.encode(), HTML, MINUTE)
        response.headers["Content-Security-Policy"] = content_policy
        return response

    def _alone(self) -> tuple[str, str]:
        style, script = (self.assets.get(name).content.decode() for name in ("static/site.css", "dist/verify.js"))
        # Element contents end at their closing tag, wherever it stands; in a script this spelling means the same.
        script = script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
        by_hash = [f"'sha256-{encode_base64(sha256(each.encode()))}'" for each in (style, script)]
        content_policy = (
            f"default-src 'none'; style-src {by_hash[0]}; script-src {by_hash[1]}; img-src data:; form-action 'none';"
            " base-uri 'none'"
        )
        html = self._env.get_template("alone.html").render(
            style=Markup(style), script=Markup(script), content_policy=content_policy, **self._policies()
        )
        return html, content_policy

    def _policies(self) -> dict[str, str]:
        policy, state = self.node.policy(), self.node.state_policy()
        return {
            "policy": policy.decode("utf-8", "replace"),
            "state_policy": "" if state is None else state.decode("utf-8", "replace"),
        }

    def lookup(self) -> Response:
        """Offer to look somebody up with a keepsake."""
        return self._current("lookup.html", address=self._base(), **self._policies())

    def proves(self) -> Response:
        """Say what all this proves, and what it does not."""
        return self._current("proves.html", cache=MINUTE)

    def asset(self, version: str, name: str) -> Response:
        """Answer with a file that a page loads."""
        found = self.assets.get(name)
        cache = IMMUTABLE if version == self.assets.version else NO_STORE
        if request.accept_encodings.quality("gzip"):
            response = read(found.compressed, found.content_type, cache)
            response.headers["Content-Encoding"] = "gzip"
        else:
            response = read(found.content, found.content_type, cache)
        response.vary.add("Accept-Encoding")
        return response

    # --- for programs ---

    def history_csv(self, party: str, system: str) -> Response:
        """Answer with how a system stood after every epoch that touched it, newest first, as a table."""
        page = self.node.browse.history(path_party(party), path_system(system), query_decimal("before"), _CSV_ROWS)
        out = io.StringIO()
        table = csv.writer(out)  # RFC 4180
        table.writerow(("utc", *_COLUMNS))
        for row in page["history"]:
            table.writerow((_iso(row["time"]), *(row[name] for name in _COLUMNS)))
        response = read_compressed(out.getvalue().encode(), _CSV, NEWEST)
        response.headers["Content-Disposition"] = f'attachment; filename="{party}-{system}.csv"'
        if page["next"] is not None:
            response.headers["Link"] = f'<?before={page["next"]}>; rel="next"'
        return response

    def atom(self, party: str) -> Response:
        """Answer with a company's newest statements as an Atom feed."""
        holder, items = self._news(party)
        text = self._env.get_template("feed.xml").render(
            holder=holder, items=items, base=self._base(), iso=_iso, updated=self.node.browse.view.record.time
        )
        return read_compressed(text.encode(), _ATOM, NEWEST)

    def json_feed(self, party: str) -> Response:
        """Answer with a company's newest statements as a JSON Feed."""
        holder, items = self._news(party)
        base = self._base()
        page = f"{base}/browse/holders/{party}"
        feed = {
            "version": "https://jsonfeed.org/version/1.1",
            "title": f"{printable(holder['name'])} in {self.node.origin}",
            "home_page_url": page,
            "feed_url": f"{page}/feed.json",
            "items": [
                {
                    "id": f"{base}/browse/entries/{position}",
                    "url": f"{base}/browse/entries/{position}",
                    "title": printable(told.title),
                    "content_text": printable(told.sentence),
                    "date_published": _iso(epoch_time),
                }
                for position, epoch_time, told in items
            ],
        }
        return read_compressed(dump(feed), _JSON_FEED, NEWEST)

    def _news(self, party: str) -> tuple[dict[str, Any], list[tuple[int, int, words.Told]]]:
        browse = self.node.browse
        holder = browse.holder(path_party(party))
        found = browse.newest_of(party, _FEED)
        return holder, [
            (position, published, words.tell(Statement.parse(entry), browse.name_of, self.node.origin))
            for position, published, entry in found
        ]

    # --- errors ---

    def problem(self, error: AttestError, status: int, title: str) -> Response:
        """Show an error as a page, which asks nothing of a node that may be in trouble."""
        return self._page("error.html", cache=NO_STORE, status=status, error=error, title=title)

    # --- common ---

    def _page(
        self,
        template: str,
        *,
        cache: str = NEWEST,
        status: int = 200,
        content_policy: str = TALKS,
        log: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Response:
        now = int(self._clock())
        late = log is not None and not log["ended"] and now - log["time"] > log["limits"]["silence"] + _LATE_S
        html = self._env.get_template(template).render(log=log, now=now, late=late, path=request.path, **values)
        if status == 200:
            response = read_compressed(html.encode(), HTML, cache)
        else:
            response = plain(html.encode(), HTML, cache, status)
        response.headers["Content-Security-Policy"] = content_policy
        return response

    def _current(self, template: str, **values: Any) -> Response:
        """Show a page that speaks of the log as it stands."""
        return self._page(template, log=self.node.browse.log(), **values)

    def _base(self) -> str:
        return self.node.browse.url or request.url_root.rstrip("/")


def _key_of(found: Entry, statement: Statement, issuer: str) -> Mapping[str, Any] | None:
    """Return the key that signed a statement, and from where until where it is in force."""
    head = found.view.ledger.parties.get(issuer)
    for item in () if head is None else head.keys:
        if thumbprint(item.key) == statement.kid:
            return {"key": item.key, "use": item.use, "from": item.from_, "until": item.until}
    return None


def show_time(seconds: int) -> Markup:
    """Write a moment: exact for machines and at hand for people; scripts show it in the reader's zone."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return Markup("Unix time {}").format(seconds)
    exact = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    text = f"{moment.day} {moment:%b %Y, %H:%M} UTC"
    return Markup('<time datetime="{}" title="{}, Unix time {}">{}</time>').format(exact, exact, seconds, text)


def _day(seconds: int, span: int) -> Markup:
    """Write a moment as the label of an axis that shows so many seconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    form = "clock" if span < 2 * 86_400 else "day"
    text = f"{moment:%H:%M} UTC" if form == "clock" else f"{moment.day} {moment:%b %Y}"
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(f"{moment:%Y-%m-%dT%H:%M:%SZ}", form, text)


def age(seconds: int) -> str:
    """Write how long ago something was."""
    seconds = max(0, seconds)
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= 2 * size or seconds == size or size == 1:
            return f"{seconds // size:,} {unit}{'' if seconds // size == 1 else 's'}"
    raise AssertionError


def _iso(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _number(value: int) -> str:
    return f"{value:,}"


def _digest(value: bytes | str, what: str = "value") -> Markup:
    """Write a digest: cut off by the style sheet only, so that it is copied whole."""
    text = value if isinstance(value, str) else value.hex()
    return Markup(
        '<span class="digest"><code>{0}</code><button type="button" class="copy" data-copy="{0}"'
        ' aria-label="Copy {1}"></button></span>'
    ).format(text, what)
