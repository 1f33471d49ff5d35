"""A company with the real SDK, in front of a real log in the same process; time passes only where it sleeps."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from attest.api.app import create_app
from attest.crypto import commitment
from attest.encoding import Hash
from attest.formats.state import State
from attest.holder.home import Settings
from attest.holder.sdk import Holder, Report
from attest.holder.sources import Rows, Template, listed
from tests.world import ORIGIN, World, descriptor

URL = "http://log.example"
EMAIL = Template("email:{email}")


@dataclass
class Wire(httpx.BaseTransport):
    """Carries requests to the app, keeps all of them, and lets a test step in."""

    inner: httpx.BaseTransport
    exchanges: list[tuple[httpx.Request, httpx.Response]] = field(default_factory=list)
    before: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    after: Callable[[httpx.Request, httpx.Response], httpx.Response] = lambda _, response: response

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        response = self.before(request)
        if response is None:
            response = self.inner.handle_request(request)
            response.read()
        response = self.after(request, response)
        self.exchanges.append((request, response))
        return response


class Company:
    """A holder of the world, admitted, with systems `crm` and `search`."""

    def __init__(
        self,
        world: World,
        path: Path,
        party: str = "acme.example",
        *,
        name: str = "Acme Ltd",
        systems: Iterable[str] = ("crm", "search"),
        **settings: Any,
    ) -> None:
        self.world = world
        self.path = path
        self.id = party
        self.wire = Wire(httpx.WSGITransport(create_app(world.node, wait_s=0)))
        chosen = Settings(party, name, f"XX {party}", ORIGIN, URL, **settings)
        Holder.init(path, chosen, world.policy.encode(), **self.options)
        with self.open() as holder:
            request = holder.join_request()
        party_statement = request.party("operator", int(world.clock()))
        world.clock.advance()
        world.node.operate(party_statement, party, pause=world.clock.advance)
        if systems:
            with self.open() as holder:
                holder.add_systems([descriptor(system) for system in systems])

    @property
    def options(self) -> dict[str, Any]:
        """What the SDK and, as `obj`, the command line take."""
        return {
            "transport": self.wire,
            "clock": self.world.clock,
            "sleep": self.sleep,
            "workers": 1,
            "patience_s": 30,
        }

    def sleep(self, seconds: float) -> None:
        """Let time pass, and the log do its work."""
        self.world.step(max(seconds, 1))

    def open(self, **changes: Any) -> Holder:
        """Open the SDK."""
        return Holder.at(self.path, **{**self.options, **changes})

    def hold(self, rows: Iterable[Mapping[str, object]], system: str = "crm", **options: Any) -> Report:
        """Hold table rows by e-mail address."""
        with self.open() as holder:
            return holder.hold(system, Rows(list(rows)), EMAIL, **options)

    def erase(self, people: Iterable[str], system: str = "crm", **options: Any) -> Report:
        """Sign that people are erased."""
        claims = {"method": "logical_delete", "ground": "gdpr:17(1)(d)", "erased_at": int(self.world.clock()) - 1}
        with self.open() as holder:
            return holder.erase(system, listed(f"email:{person}" for person in people), **{**claims, **options})

    def index(self, person: str, system: str = "crm") -> Hash:
        """Return the public pseudonym of a person."""
        with self.open() as holder:
            return holder.subject(f"email:{person}").index(self.id, system)

    def state(self, person: str, system: str = "crm") -> State | None:
        """Return what the log says of a person."""
        return self._state(self.index(person, system), system)

    def state_of(self, holder: Holder, person: str, system: str = "crm") -> State:
        """Return what the log says of a person it knows, while the holder is open."""
        found = self._state(holder.subject(f"email:{person}").index(self.id, system), system)
        assert found is not None
        return found

    def _state(self, index: Hash, system: str) -> State | None:
        key = commitment.map_key(index)
        found = self.world.node.view.draft.states((self.id, system), [key])[0]
        return None if found is None else State.parse(found)

    def files(self) -> Iterator[bytes]:
        """Yield the bytes of every file in the company's directory, whatever its name."""
        for path in self.path.rglob("*"):
            if path.is_file():
                yield path.read_bytes()


def people(count: int, **changes: object) -> list[dict[str, object]]:
    """Make table rows."""
    return [{"email": f"person{n}@example.org", "name": f"Person {n}", **changes} for n in range(count)]
