"""`attest operator` and `attest serve`, as an operator runs them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from attest.cli.operator import confirm_domain, operator
from attest.config import Config
from attest.crypto.keys import thumbprint
from attest.encoding import sha256
from attest.errors import AttestError, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.join import encode_domain
from attest.formats.policy import Policy
from attest.node import Node
from tests.world import Holder, SimulatedClock, check

ORIGIN = "localhost.test/dev"


def run(*arguments: object, fails: str | None = None) -> list[list[str]]:
    """Run a command in this process; return its lines for machines."""
    done = CliRunner().invoke(operator, list(map(str, arguments)))
    if fails is None:
        assert done.exit_code == 0, done.output + repr(done.exception)
    else:
        assert isinstance(done.exception, AttestError) and done.exception.code == fails, repr(done.exception)
    return [line.split("\t") for line in done.stdout.splitlines()]


def fails(*arguments: object, says: str) -> None:
    """Run a command that was not used as it should be."""
    done = CliRunner().invoke(operator, list(map(str, arguments)))
    assert done.exit_code == 2 and says in done.output, done.output


@pytest.fixture
def log(tmp_path: Path) -> Path:
    run("init", "--dir", tmp_path / "log", "--origin", ORIGIN, "--url", "https://log.example")
    return tmp_path / "log"


def join(tmp_path: Path, party: str = "acme.example", **changes: Any) -> tuple[Holder, Path]:
    holder = Holder(party, SimulatedClock(), origin=ORIGIN, **changes)
    path = tmp_path / f"{party}.json"
    path.write_bytes(holder.join_request().encode())
    return holder, path


def test_init_makes_a_log_that_verifies_and_prints_what_to_pin(tmp_path: Path) -> None:
    """Keys for their owner alone, a first checkpoint of two entries, the policy and its digest."""
    lines = dict(run("init", "--dir", tmp_path / "new" / "log", "--origin", ORIGIN))
    directory = tmp_path / "new" / "log"
    policy = (directory / "policy").read_bytes()
    assert lines["policy-sha256"] == sha256(policy).hex()
    assert [log.verifier.name for log in Policy.parse(policy).logs] == [ORIGIN]
    assert policy.count(b"\n") == 2
    assert {oct(path.stat().st_mode & 0o777) for path in (directory / "keys").iterdir()} == {"0o600"}
    assert check(Config.load(directory, {})).size == 2
    assert not list(directory.parent.glob(".*"))


def test_init_never_touches_what_is_there(log: Path, tmp_path: Path) -> None:
    """Neither a log nor anything else, and it leaves nothing when it fails."""
    before = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    run("init", "--dir", log, "--origin", ORIGIN, fails="operator/exists")
    assert {path: path.read_bytes() for path in log.rglob("*") if path.is_file()} == before
    run("init", "--dir", tmp_path / "bad", "--origin", "https://log.example", fails="config/origin")
    run("init", "--dir", tmp_path / "bad", "--origin", ORIGIN, "--database", "mysql://x", fails="config/invalid")
    database = f"sqlite:///{log}/attest.db"
    run("init", "--dir", tmp_path / "bad", "--origin", ORIGIN, "--database", database, fails="sequencer/exists")
    assert not list(tmp_path.glob("*bad*"))


def test_the_logs_public_keys_are_shown(log: Path) -> None:
    """Both keys under which its checkpoints verify, as a policy pins them; without its private keys."""
    shutil.rmtree(log / "keys")
    shown = run("keys", "--dir", log)
    signed = SignedCheckpoint.parse((log / "public/checkpoint").read_bytes())
    assert [line[:2] for line in shown] == [
        ["checkpoints", "Ed25519"], ["checkpoints", "ML-DSA-44"], ["statements", "Ed25519"], ["receipts", "Ed25519"]
    ]  # fmt: skip
    assert (log / "policy").read_text().startswith(f"log {shown[0][2]} ")
    for _, _, vkey in shown[:2]:
        policy = Policy.parse(f"log {vkey}\nquorum none\n".encode())
        assert policy.check(signed).anchor == "logged"


def test_a_passphrase_closes_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file that the settings name, or from the environment."""
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    run("init", "--dir", tmp_path / "log", "--origin", ORIGIN, "--passphrase-file", secret)
    assert b"ENCRYPTED" in (tmp_path / "log/keys/statements.pem").read_bytes()
    run("status", "--dir", tmp_path / "log")
    monkeypatch.setenv("ATTEST_PASSPHRASE", "wrong")
    run("status", "--dir", tmp_path / "log", fails="key/passphrase")


def test_a_party_is_admitted_revoked_and_ended(log: Path, tmp_path: Path) -> None:
    """Without a running service the commands sequence by themselves."""
    holder, path = join(tmp_path)
    assert run("admit", path, "--dir", log) == [["admitted", "acme.example", "2"]]
    run("admit", path, "--dir", log, fails="rule/party-exists")
    _, twin = join(tmp_path, "twin.example", legal_id="XX acme.example")
    run("admit", twin, "--dir", log, fails="operator/legal-id")
    run("revoke", "acme.example", thumbprint(holder.key.public).hex(), "--dir", log, fails="rule/last-key")
    run("revoke", "acme.example", "zz", "--dir", log, fails="encoding/base64url")
    run("end", "acme.example", "--dir", log)
    run("admit", twin, "--dir", log)
    found = json.loads("\n".join("\t".join(line) for line in run("status", "--dir", log, "--json")))
    assert (found["origin"], found["holders"], found["queue-refused"]) == (ORIGIN, 2, 2)
    path.write_bytes(path.read_bytes().replace(b"Acme", b"Evil"))
    run("admit", path, "--dir", log, fails="rule/possession")
    check(Config.load(log, {}))


def test_a_log_is_retired_and_continued(log: Path, tmp_path: Path) -> None:
    """The successor's entry 0 names the last checkpoint, read from files or under the old policy; `/log` shows it."""
    fails("retire", "--dir", log, says="--yes")
    successor = ("init", "--dir", tmp_path / "next", "--origin", "localhost.test/next")
    run(*successor, "--successor-of", log, fails="operator/not-ended")
    _, path = join(tmp_path)
    run("admit", path, "--dir", log)
    ended = dict(run("retire", "--dir", log, "--yes"))
    run("retire", "--dir", log, "--yes", fails="rule/log-ended")
    run("admit", path, "--dir", log, fails="rule/party-exists")
    run("end", "acme.example", "--dir", log, fails="rule/log-ended")
    last = (ended["origin"], ended["size"], ended["root"])
    found = json.loads("\n".join("\t".join(line) for line in run("status", "--dir", log, "--json")))
    assert (found["origin"], found["size"], found["root"]) == (ORIGIN, int(last[1]), last[2])
    assert found["end"] == found["size"] - 2
    run("init", "--dir", tmp_path / "same", "--origin", ORIGIN, "--successor-of", log, fails="operator/same-origin")
    fails(*successor, "--successor-of", log / "public", says="--predecessor-policy")
    run(*successor, "--successor-of", tmp_path / "nowhere", fails="config/missing")

    for number, source in enumerate(
        (
            ("--successor-of", log),
            ("--successor-of", log / "public", "--predecessor-policy", log / "policy"),
            ("--successor-of", log, "--predecessor-checkpoint", log / "public/checkpoint"),
        )
    ):
        directory = tmp_path / f"next{number}"
        lines = run("init", "--dir", directory, "--origin", "localhost.test/next", *source)
        assert ["predecessor", *last] in lines
        node = Node.open(Config.load(directory, {}))
        assert node.browse.log()["predecessor"] == {"origin": last[0], "size": int(last[1]), "root": last[2]}
        node.close()
        check(Config.load(directory, {}))
    assert not list(tmp_path.glob("*same*"))


def test_a_lost_log_is_continued_from_its_last_checkpoint(log: Path, tmp_path: Path) -> None:
    """Only when it is said that it is lost, and only from a checkpoint that the old policy takes."""
    kept = tmp_path / "kept"
    kept.write_bytes((log / "public/checkpoint").read_bytes())
    policy = tmp_path / "policy"
    policy.write_bytes((log / "policy").read_bytes().replace(b" https://log.example", b""))
    root = SignedCheckpoint.parse(kept.read_bytes()).checkpoint.root.hex()
    successor = ("init", "--dir", tmp_path / "next", "--origin", "localhost.test/next")
    given = ("--predecessor-checkpoint", kept, "--predecessor-policy", policy)
    fails(*successor, "--predecessor-lost", says="which log came before")
    fails(*successor, *given, says="does not show that its log has ended")
    fails(*successor, "--predecessor-checkpoint", kept, "--predecessor-lost", says="--predecessor-policy")
    forged = kept.read_bytes().replace(b"\n2\n", b"\n3\n")
    kept.write_bytes(forged)
    run(*successor, *given, "--predecessor-lost", fails="signature/invalid")
    kept.write_bytes(forged.replace(b"\n3\n", b"\n2\n"))
    assert ["predecessor", ORIGIN, "2", root] in run(*successor, *given, "--predecessor-lost")


def test_a_log_is_continued_from_where_it_is_served(log: Path, tmp_path: Path) -> None:
    """Over HTTP, under its policy; also while somebody serves it, who hears of the end."""
    process, url = start(log)
    try:
        successor = ("init", "--dir", tmp_path / "next", "--origin", "localhost.test/next", "--successor-of", url)
        fails(*successor, says="--predecessor-policy")
        run(*successor, "--predecessor-policy", log / "policy", fails="operator/not-ended")
        ended = dict(run("retire", "--dir", log, "--yes"))
        assert httpx.get(f"{url}/log").json()["ended"]
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok", "ended": True}
        lines = run(*successor, "--predecessor-policy", log / "policy")
        assert ["predecessor", ORIGIN, ended["size"], ended["root"]] in lines
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
    check(Config.load(log, {}))


def test_a_domain_confirms_a_join_request_or_does_not(tmp_path: Path) -> None:
    """On this very host, by digest, without redirects."""
    request = Holder("acme.example", SimulatedClock()).join_request()
    right = encode_domain((bytes(32), request.digest()))

    def site(status: int, content: bytes) -> httpx.MockTransport:
        def answer(asked: httpx.Request) -> httpx.Response:
            assert str(asked.url) == "https://acme.example/.well-known/attest.json"
            return httpx.Response(status, content=content, headers={"location": "https://evil.example/"})

        return httpx.MockTransport(answer)

    confirm_domain(request, site(200, right))
    for status, content, kind in (
        (200, encode_domain((bytes(32),)), Refuted),
        (200, b"<html>", Malformed),
        (200, b" " * 100_000, Malformed),
        (404, right, Unavailable),
        (302, right, Unavailable),
    ):
        with pytest.raises(kind):
            confirm_domain(request, site(status, content))


def start(log: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `attest serve`; return it and its URL."""
    environment = {**os.environ, "ATTEST_PORT": "0", "ATTEST_LEASE_S": "3", "ATTEST_WITNESS_TIMEOUT_S": "2"}
    command = [sys.executable, "-m", "attest", "serve", "--dir", str(log)]
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    name, url = process.stdout.readline().rstrip("\n").split("\t")
    assert name == "url"
    return process, url


def test_two_services_on_one_database_make_one_log(log: Path, tmp_path: Path) -> None:
    """One sequences; parties are admitted beside them; SIGTERM ends them in order, SIGKILL not, and the log goes on."""
    first, url = start(log)
    second, other = start(log)
    try:
        assert httpx.get(f"{url}/healthz").status_code == httpx.get(f"{other}/healthz").status_code == 200
        _, path = join(tmp_path)
        run("admit", path, "--dir", log)
        size = httpx.get(f"{url}/log").json()["size"]
        assert size == 4
        first.kill()
        first.wait()
        _, path = join(tmp_path, "next.example")
        run("admit", path, "--dir", log)
        deadline = time.monotonic() + 20
        while httpx.get(f"{other}/log").json()["holders"] != 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        second.send_signal(signal.SIGTERM)
        _, log_lines = second.communicate(timeout=20)
        assert second.returncode == 0
        events = [json.loads(line) for line in log_lines.splitlines()]
        assert [event["event"] for event in events if event["event"] != "request"] == ["serving", "stopping"]
        # What is logged names no party.
        assert "example" not in log_lines
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    check(Config.load(log, {}))
    assert list((log / "private/snapshots").iterdir())
