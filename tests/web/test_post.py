"""docs/examples/post.mjs: what docs/guides/posting.md shows works, and whatever goes wrong, nothing is said twice."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from attest.api.app import create_app
from attest.crypto import vrf
from attest.encoding import sha256
from attest.formats.statement import Hold, Statement, Tombstone
from tests.forking import forking
from tests.holder.company import Company
from tests.test_docs import commands_of, free_port, run
from tests.web.second import NODE, ROOT
from tests.world import SimulatedClock, World

POST = ROOT / "docs/examples/post.mjs"
LIMIT_S = 60
Wsgi = Callable[[dict[str, Any], Any], Any]


def test_the_vrf_is_that_of_the_rfc() -> None:
    """Keys, proofs and outputs of RFC 9381, appendix B.3; and proofs at other inputs verify in Python."""
    cases = json.loads((ROOT / "tests/vectors/vrf/rfc9381-b3.json").read_text())["cases"]
    others = [{"sk": sha256(bytes([n])).hex(), "alpha": bytes(range(n)).hex()} for n in range(8)]
    script = f"""
        import {{ VrfKey }} from {json.dumps(POST.as_uri())};
        const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));
        const hex = (value) => Buffer.from(value).toString("hex");
        console.log(JSON.stringify({json.dumps([*cases, *others])}.map(({{ sk, alpha }}) => {{
            const key = new VrfKey(bytes(sk));
            return [key.public, key.prove(bytes(alpha)), key.evaluate(bytes(alpha))].map(hex);
        }})));"""

    done = subprocess.run(
        [NODE, "--input-type=module"], input=script, capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    made = json.loads(done.stdout)

    assert made[: len(cases)] == [[case["pk"], case["pi"], case["beta"]] for case in cases]
    for other, (key, proof, beta) in zip(others, made[len(cases) :], strict=True):
        assert vrf.public_key(bytes.fromhex(other["sk"])).hex() == key
        assert vrf.verify(bytes.fromhex(key), bytes.fromhex(other["alpha"]), bytes.fromhex(proof)).hex() == beta


@pytest.mark.timeout(300)  # twenty commands
def test_the_commands_for_posting_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide runs in an empty folder: a look-up says held, then erased, and an audit finds nothing."""
    monkeypatch.setenv("REPOSITORY", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(NODE).parent}:{os.environ['PATH']}")
    folder = tmp_path / "guide"
    folder.mkdir()
    (tmp_path / "bin").mkdir()
    with forking(tmp_path / "bin") as quick:
        process = run(folder, commands_of("docs/guides/posting.md", free_port()), quick)
        os.killpg(process.pid, signal.SIGTERM)

    said = (folder / "said").read_text()
    assert said.count("\npublished\thold/1\tdb-1\t") == 1 and "nothing to commit: all is as it was" in said
    assert "db-1 (database): HELD (entry 6" in said and "holds\theld.bundle\tclaim/holds" in said
    assert "db-1 (database): erased (entry 8" in said and "holds\terased.bundle\tclaim/holds" in said
    assert "\nclean\tlog.example/deletions\t10\t" in said
    assert "\nlookup\tbob.bundle\tnot-excluded" in said and "\ncertificate\tbob.certificate\texcluded" in said
    kept = json.loads((folder / "kept.json").read_text())
    assert len(kept["systems"]["db-1"]["held"]) == 1  # Bob
    blind = json.loads((folder / "ada.keepsake").read_text())["holds"][0]["blind"]
    assert blind not in (folder / "kept.json").read_text()


class Wire:
    """What a company's requests go through: each is kept, and a test steps in before or after the log has seen it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app: Wsgi = create_app(world.node, wait_s=0)
        self.sent: list[tuple[str, str, bytes]] = []
        self.before: Callable[[str, str], tuple[str, str] | None] = lambda *_: None  # status and code instead
        self.after: Callable[[str, str], bool] = lambda *_: True  # whether the answer gets through

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = _Body(body)
        self.sent.append((method, path, body))
        if (instead := self.before(method, path)) is not None:
            status, code = instead
            start(status, [("Retry-After", "1"), ("Content-Type", "application/problem+json")])
            return [json.dumps({"code": code, "detail": "\x1b[2J"}).encode()]
        answer = b"".join(self.app(environ, start))
        if method == "GET" and path.startswith("/entries/"):
            self.world.step()  # while it asks, the log does its work
        if not self.after(method, path):
            environ["test.connection"].shutdown(socket.SHUT_RDWR)
        return [answer]

    def count(self, method: str, front: str = "/") -> int:
        return sum(1 for one, path, _ in self.sent if one == method and path.startswith(front))


class _Body:
    def __init__(self, left: bytes) -> None:
        self.left = left

    def read(self, size: int = -1) -> bytes:
        size = len(self.left) if size < 0 else size
        part, self.left = self.left[:size], self.left[size:]
        return part


class _Quiet(WSGIRequestHandler):
    def get_environ(self) -> Any:
        return {**super().get_environ(), "test.connection": self.connection}

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(wire: Wire) -> Iterator[str]:
    with make_server("127.0.0.1", 0, wire, handler_class=_Quiet) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Shop:
    """A company that posts by the example, and the log that it posts to."""

    def __init__(self, folder: Path, url: str, wire: Wire, company: Company) -> None:
        self.folder, self.url, self.wire, self.company = folder, url, wire, company
        self.world = company.world
        (folder / "people.jsonl").write_text(
            "".join(
                f'{{"locator": "email:{name}@example.org", "records": ["{sha256(name.encode()).hex()}"]}}\n'
                for name in ("ada", "bob", "eve")
            )
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [NODE, str(POST), words[0], "company", *words[1:], "kept.json"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def post(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=LIMIT_S)
        return process.returncode, out, err

    @property
    def kept(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "kept.json").read_text())
        return found

    def statements(self) -> list[Statement]:
        """Return what the log has about the system, once it has been verified whole."""
        ledger = self.world.check()
        found = [Statement.parse(entry) for entry in self.world._entries(ledger.size)]
        return [each for each in found if isinstance(each.payload, Hold | Tombstone)]


HOLD = ("hold", "crm", "people.jsonl")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    world = World(tmp_path / "log", clock=SimulatedClock(int(time.time()) - 30))
    company = Company(world, tmp_path / "company", systems=["crm"])
    wire = Wire(world)
    with serving(wire) as url:
        settings = tmp_path / "company/holder.toml"
        settings.write_text(settings.read_text().replace("http://log.example", url))
        yield Shop(tmp_path, url, wire, company)
    world.close()


def test_a_busy_and_broken_log_gets_each_statement_once(shop: Shop) -> None:
    """503, 429, a proxy's 502, rows nobody claims, and answers lost after the log has taken what was sent."""
    instead = [
        ("POST", "503 Busy", "http/busy"),
        ("PUT", "429 Slow", "http/rate"),
        ("PUT", "409 Late", "rows/unclaimed"),
        ("GET", "502 Gone", "none"),
    ]
    lost = ["POST", "PUT"]

    def before(method: str, _: str) -> tuple[str, str] | None:
        if instead and instead[0][0] == method and shop.wire.count("POST"):
            return instead.pop(0)[1:]
        return None

    def after(method: str, _: str) -> bool:
        return not (lost and lost[0] == method and lost.pop(0))

    shop.wire.before, shop.wire.after = before, after

    code, out, err = shop.post(*HOLD)

    assert (code, err) == (0, "") and out.startswith("published\thold/1\tcrm\t")
    assert not instead and not lost and shop.wire.count("POST") == 4  # refused, lost, taken, unclaimed
    assert len({body for method, _, body in shop.wire.sent if method == "POST"}) == 1
    assert [each.payload.count for each in shop.statements()] == [3]  # type: ignore[union-attr]
    names = (b"ada", b"bob", b"eve", b"example.org")
    assert not [name for _, path, body in shop.wire.sent for name in names if name in path.encode() + body]


def test_a_run_that_is_killed_is_taken_up(shop: Shop) -> None:
    """It dies as the log takes its statement. The next run sends the same one, whatever else it is asked for."""
    died = threading.Event()

    def after(method: str, _: str) -> bool:
        if method == "POST" and not died.is_set():
            os.killpg(process.pid, signal.SIGKILL)  # `node` may be a process behind another
            process.wait()
            died.set()
        return True

    shop.wire.after = after
    process = shop.start(*HOLD)
    assert died.wait(LIMIT_S)
    process.communicate()

    code, _, err = shop.post(*HOLD)
    assert code == 1 and err.startswith("post: kept.json.lock is there: ")
    (shop.folder / "kept.json.lock").unlink()
    (shop.folder / "gone").write_text("email:ada@example.org\n")
    when = datetime.now(UTC).replace(microsecond=0)
    claims = ("--method=overwritten", "--ground=gdpr:17(1)(b)", f"--erased-at={when:%Y-%m-%dT%H:%M:%SZ}")
    code, out, err = shop.post("erase", "crm", "gone", *claims)

    assert (code, err) == (0, "")
    assert [line.split("\t")[1] for line in out.splitlines()] == ["hold/1", "tombstone/1"]
    hold, tombstone = shop.statements()
    assert (hold.seq, tombstone.seq) == (0, 1)
    assert isinstance(tombstone.payload, Tombstone) and tombstone.payload.erased_at == when.timestamp()
    held = shop.kept["systems"]["crm"]["held"]
    assert shop.company.index("ada@example.org").hex() not in held and len(held) == 2


def test_what_another_program_signed_first_stops_it(shop: Shop) -> None:
    """Two writers: it stops with the log's code, gives nothing up by itself, and goes on once told to."""

    def after(method: str, path: str) -> bool:
        if path.endswith("/systems"):
            shop.wire.after = lambda *_: True
            shop.company.hold([{"email": "mallory@example.org"}])
        return True

    shop.wire.after = after

    code, _, err = shop.post(*HOLD)
    assert code == 1 and err.startswith("post: rule/seq: ")
    assert shop.kept["pending"]["seq"] == 0
    assert shop.post(*HOLD)[0] == 1  # still that one
    assert shop.post("withdraw") == (0, "", "")
    assert shop.kept["pending"] is None
    code, out, _ = shop.post(*HOLD)

    assert code == 0 and out.startswith("published\thold/1\tcrm\t")
    assert [each.seq for each in shop.statements()] == [0, 1]


def test_a_log_that_the_policy_does_not_name_is_not_believed(shop: Shop, tmp_path: Path) -> None:
    """The log says published; its checkpoint is signed by nobody whom the company trusts."""
    other = World(tmp_path / "other")
    (shop.company.path / "policy").write_bytes(other.policy.encode())
    other.close()

    code, out, err = shop.post(*HOLD)

    assert (code, out) == (1, "") and "no line of a log key that the policy lists" in err
    assert shop.kept["pending"] is not None and shop.kept["systems"]["crm"]["statements"] == []


def test_only_what_changed_is_committed_anew(shop: Shop) -> None:
    """A changed record is a new version under a fresh salt; the old salt is gone; nothing else is sent."""
    assert shop.post(*HOLD)[0] == 0
    before = shop.kept["systems"]["crm"]["held"]
    people = (shop.folder / "people.jsonl").read_text()
    (shop.folder / "people.jsonl").write_text(people.replace(sha256(b"eve").hex(), sha256(b"Eve").hex()))

    assert shop.post(*HOLD)[0] == 0

    after = shop.kept["systems"]["crm"]["held"]
    eve = shop.company.index("eve@example.org").hex()
    assert [index for index in before if before[index] != after[index]] == [eve]
    assert before[eve]["salt"] not in (shop.folder / "kept.json").read_text()
    assert [each.payload.count for each in shop.statements()] == [3, 1]  # type: ignore[union-attr]
    state = shop.company.state("eve@example.org")
    assert state is not None and state.version == 2


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ('{"locator": "email:Ada@example.org", "records": ["00"]}', "people.jsonl, line 1: want"),
        ('{"locator": "email:ada@example.org", "records": []}', "people.jsonl, line 1: want"),
        (('{"locator": "email:ada@example.org", "records": ["' + "00" * 32 + '"]}\n') * 2, "line 2: a locator for"),
        ("ada@example.org", "people.jsonl, line 1: want"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_used_is_named_by_its_line_only(shop: Shop, people: str, said: str) -> None:
    """Nothing is signed, nothing is sent, and the message names nobody."""
    (shop.folder / "people.jsonl").write_text(people)

    code, out, err = shop.post(*HOLD)

    assert (code, out) == (1, "") and said in err and "ada" not in err.lower()
    assert shop.wire.sent == []
