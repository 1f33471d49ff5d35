"""Where events go, and what a hostile or broken receiver can do: hold them up, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from attest.audit.delivery import Command, Webhook
from attest.audit.events import Watch
from attest.cli import cli
from attest.crypto import commitment
from attest.errors import AttestError, Malformed, Unavailable
from attest.formats.keepsake import Keepsake
from attest.store.audited import Stored
from tests.audit.published import policy, publish
from tests.ledger.log import ORIGIN, row_of, rows_of
from tests.witness.lies import ACME, Operator, stage

VECTORS = Path(__file__).parents[1] / "vectors/bundle"
EVENT = Stored(1, "ab" * 32, '{"id":"x"}')
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def receiver(answer: Answer) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An HTTP server on this machine that answers as told; yields its URL and what it was sent."""
    taken: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            try:
                answer(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook/secret-token", taken
    finally:
        server.shutdown()
        server.server_close()


def status(number: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(number)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_a_webhook_takes_an_event_with_its_id():
    """Any 2xx will do."""
    with receiver(status(204)) as (url, taken):
        Webhook(url).send([EVENT])
    [(headers, body)] = taken
    assert (headers["Idempotency-Key"], body) == (EVENT.id, EVENT.event.encode())


@pytest.mark.parametrize("number", [302, 307, 400, 500])
def test_a_webhook_that_refuses_is_not_followed_and_not_named(number):
    """No redirects, and no secret of the address in the error."""
    answer = status(number, Location="http://127.0.0.1:1/elsewhere")
    with receiver(answer) as (url, taken), pytest.raises(Unavailable) as error:
        Webhook(url).send([EVENT])
    assert len(taken) == 1
    assert error.value.code == "monitor/undelivered" and "secret" not in str(error.value)


def drip(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(200):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        handler.wfile.flush()
        time.sleep(0.05)


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def test_a_webhook_that_drips_is_left():
    """However steadily."""
    with receiver(drip) as (url, _):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            Webhook(url, timeout_s=0.3).send([EVENT])
        assert time.monotonic() - started < 5


def test_an_endless_answer_is_an_answer():
    """Its status counts; its body is nobody's business."""
    with receiver(endless) as (url, _):
        Webhook(url, timeout_s=5).send([EVENT])


def test_no_answer_is_no_acknowledgement():
    with pytest.raises(Unavailable) as error:
        Webhook("http://127.0.0.1:1/secret").send([EVENT])
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://hooks.example/x", True),
        ("http://localhost:80/x", True),
        ("http://127.9.9.9/x", True),
        ("http://[::1]/x", True),
        ("http://hooks.example/x", False),
        ("http://127.0.0.1.example/x", False),
        ("http://10.0.0.1/x", False),
        ("ftp://127.0.0.1/x", False),
        ("https:///x", False),
        ("/x", False),
        ("http://[::1/x", False),
    ],
)
def test_webhooks_are_encrypted_or_stay_here(url, good):
    """Unless somebody allows it."""
    if good:
        Webhook(url)
    else:
        with pytest.raises(Malformed, match="monitor/webhook"):
            Webhook(url)


def test_plain_http_can_be_allowed():
    Webhook("http://hooks.example/x", anywhere=True)


def script(folder: Path, text: str) -> str:
    """Write a program that a command can name, in a folder whose name has a space."""
    place = folder / "a program.py"
    place.write_text(text)
    return f"{sys.executable} '{place}'"


def test_a_command_gets_the_event_and_no_shell(tmp_path):
    """The id in the environment, the line on stdin, arguments as they stand."""
    out = tmp_path / "out"
    text = "import os, sys\nseen = os.environ['ATTEST_EVENT_ID'], sys.stdin.read(), sys.argv[1]\n"
    text += f"open({str(out)!r}, 'w').write(repr(seen))"
    Command(script(tmp_path, text) + " '$(touch x); `id`'").send([EVENT])
    assert out.read_text() == repr((EVENT.id, EVENT.event + "\n", "$(touch x); `id`"))


@pytest.mark.parametrize("text", ["raise SystemExit(3)", "import time; time.sleep(60)"])
def test_a_command_that_fails_or_hangs_has_not_taken_it(tmp_path, text):
    """What it started is ended with it."""
    with pytest.raises(Unavailable, match="monitor/undelivered"):
        Command(script(tmp_path, text), timeout_s=1).send([EVENT])


def test_a_command_that_does_not_read_has_taken_it(tmp_path):
    """It is its exit code that counts."""
    Command(script(tmp_path, "")).send([Stored(1, "x", json.dumps("x" * 1_000_000))])


@pytest.mark.parametrize("text", ["", "  ", "echo 'x"])
def test_a_command_can_be_read(text):
    with pytest.raises(Malformed, match="monitor/command"):
        Command(text)


def test_a_command_that_is_not_there():
    with pytest.raises(Unavailable, match="monitor/undelivered"):
        Command("/nonexistent/program").send([EVENT])


# --- keepsakes ---


def test_a_keepsake_is_watched_by_what_its_proof_shows():
    """Its index is that of its own hold, and another locator's proof is none."""
    keepsake = Keepsake.parse((VECTORS / "ada.keepsake").read_bytes())
    watch = Watch.of("ada", keepsake)
    hold = keepsake.holds[0]
    index, digest = watch.index(hold.system), commitment.record_digest(hold.records)
    assert commitment.commitment(index, hold.blind, digest) == hold.bundle.rows[0].commitment
    assert "ada@" not in repr(watch)
    with pytest.raises(AttestError, match="vrf/"):
        Watch.of("ada", replace(keepsake, locator="email:bob@example.org"))
    for name in ("x" * 129, "a\nb", "a\u202eb"):
        with pytest.raises(Malformed, match="monitor/name"):
            Watch.of(name, keepsake)


# --- the command ---


@pytest.fixture
def place(tmp_path: Path) -> tuple[Operator, list[str]]:
    operator = Operator(stage().copy())
    publish(operator, tmp_path / "log")
    (tmp_path / "policy").write_bytes(policy().encode())
    arguments = [str(tmp_path / "log"), "--policy", str(tmp_path / "policy"), "--state", str(tmp_path / "state")]
    return operator, ["monitor", *arguments]


def run(arguments: list[str], code: int) -> tuple[str, str]:
    found = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert found.exception is None, found.exception
    assert found.return_value == code, found.output
    return found.stdout, found.stderr


def test_once_says_by_its_exit_code_what_there_is(tmp_path, place):
    """4 something, 0 nothing new, 3 a contradiction, 1 could not look."""
    operator, arguments = place
    out, err = run([*arguments, "--once"], 4)
    assert out.split("\n")[0].split("\t")[:4] == ["party-admitted", "news", "2", ACME]
    assert "bytes a day" in err
    assert run([*arguments, "--once"], 0)[0] == ""
    operator.log.hold(ACME, "db", row_of(3))
    operator.publish(operator.log.epoch())
    publish(operator, tmp_path / "log")
    out, _ = run([*arguments, "--once", "--jsonl", "-"], 3)
    events = [json.loads(line) for line in out.split("\n")[:-1]]
    assert [event["severity"] for event in events] == ["news", "news", "contradiction"]
    run([*arguments, "--once"], 0)
    checkpoint = tmp_path / "log/checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(ORIGIN.encode(), b"other.example/log"))
    run([*arguments, "--once"], 1)


def test_a_delivery_that_fails_is_undecided_and_made_good(tmp_path, place):
    """Nothing is lost meanwhile."""
    _, arguments = place
    assert "monitor/undelivered" in run([*arguments, "--once", "--command", "false"], 1)[1]
    lines = tmp_path / "lines"
    run([*arguments, "--once", "--jsonl", str(lines)], 4)
    assert len(lines.read_text().split("\n")) == 10


def test_kill_9_while_a_command_has_an_event(tmp_path, place):
    """The event comes again, under the same id, and nothing else does."""
    _, arguments = place
    out = tmp_path / "out"
    program = tmp_path / "program"
    program.write_text(f"echo $ATTEST_EVENT_ID >> {out}; test $(wc -l < {out}) -ne 3 || kill -9 $PPID")
    attest = [sys.executable, "-m", "attest", *arguments, "--once", "--command", f"sh {program}"]
    assert subprocess.run(attest, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert subprocess.run(attest, check=False, capture_output=True).returncode == 4
    ids = out.read_text().split()
    assert len(ids) == 10 and ids[2] == ids[3] and len(set(ids)) == 9


def test_it_runs_until_told_to_stop(tmp_path, place):
    """It tells what comes meanwhile, and keeps what it knows when SIGTERM comes."""
    operator, arguments = place
    lines = tmp_path / "lines"
    attest = [sys.executable, "-m", "attest", *arguments, "--every", "1s", "--jsonl", str(lines)]
    process = subprocess.Popen(attest, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})
    try:
        wait(lambda: lines.exists() and lines.read_text().count("\n") == 9)
        operator.log.hold(ACME, "db", rows_of(99))
        operator.publish(operator.log.epoch())
        publish(operator, tmp_path / "log")
        wait(lambda: lines.read_text().count("\n") == 10)
    finally:
        process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    run([*arguments, "--once"], 0)


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_way_out_at_a_time(tmp_path, place):
    _, arguments = place
    found = CliRunner().invoke(cli, [*arguments, "--jsonl", "-", "--command", "true"])
    assert found.exit_code == 2 and "choose one" in found.output
    found = CliRunner().invoke(cli, [*arguments, "--webhook", "http://hooks.example/secret"])
    assert found.exit_code == 2 and "secret" not in found.output


def test_the_keepsake_must_be_one(tmp_path, place):
    """One whose proof is another's is refused before anything is read, without a word about whom it is about."""
    _, arguments = place
    forged = tmp_path / "forged"
    keepsake = Keepsake.parse((VECTORS / "ada.keepsake").read_bytes())
    forged.write_bytes(replace(keepsake, locator="email:bob@example.org").encode())
    found = CliRunner().invoke(cli, [*arguments, "--once", "--watch", str(forged)])
    assert found.exit_code == 2 and "vrf/" in found.output and "bob" not in found.output
    assert not (tmp_path / "state").exists()
