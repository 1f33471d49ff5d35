"""`attest witness`: create a witness, name the logs it cosigns, run it, see how it is."""

import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import structlog

from attest.cli import output
from attest.config import read_passphrase
from attest.encoding import encode_base64
from attest.errors import AttestError, Conflict, Malformed
from attest.formats.note import NoteVerifier
from attest.store import witnessed
from attest.store.db import Database
from attest.witness import loglist
from attest.witness.loglist import Followed, LogList
from attest.witness.request import MAX_BODY
from attest.witness.settings import FILE, VKEYS, Settings, WitnessKeys
from attest.witness.witness import Standing, Witness, standings

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    envvar="ATTEST_DIR",
    help=f"where {FILE} is",
)


@click.group()
def witness() -> None:
    """Run a witness: it cosigns checkpoints of logs that never take anything back."""


@witness.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--name", required=True, help="the witness's name for ever, such as wit.example/w1")
@click.option("--state", is_flag=True, help="a state witness: it checks logs of attest entry by entry")
@click.option("--database", help="an SQLAlchemy URL; by default SQLite in the directory")
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), help="encrypts the key files")
@click.option("--port", type=int)
def init(
    directory: Path, name: str, state: bool, database: str | None, passphrase_file: Path | None, port: int | None
) -> None:
    """Create a witness: keys, settings, database, an empty list of logs.

    Prints the keys to publish. Who a witness is, is its keys: a state witness has others than a witness.
    """
    directory = directory.resolve()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Conflict("witness/exists", f"{directory} is not empty", hint="name a directory that does not exist yet")
    values: dict[str, Any] = {"name": name, "state": state, "database": database, "port": port}
    if passphrase_file is not None:
        values["passphrase_file"] = str(passphrase_file.resolve())
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Made aside and renamed, so that a half-made witness never stands where a whole one should.
    aside = directory.parent / f".{directory.name}.new-{secrets.token_hex(4)}"
    aside.mkdir(mode=0o700)
    try:
        settings = Settings.build(aside, {key: value for key, value in values.items() if value is not None})
        passphrase = settings.passphrase() if passphrase_file is None else read_passphrase(passphrase_file)
        settings.write(aside / FILE)
        settings.path(settings.keys).mkdir(mode=0o700)
        keys = WitnessKeys.create(name, settings.path(settings.keys), passphrase)
        (aside / VKEYS).write_text("".join(f"{each.encode()}\n" for each in keys.verifiers), encoding="utf-8")
        (aside / loglist.LOGS).write_text(loglist.EMPTY, encoding="utf-8")
        with _database(settings) as db:
            db.migrate()
        if directory.exists():
            directory.rmdir()
        aside.rename(directory)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for verifier in keys.verifiers:
        output.line("vkey", verifier.encode())
    output.say(f"created {directory}; name a log with: attest witness follow --dir {directory} VKEY")
    output.say("publish the keys; back them up now, apart from the database")


@witness.command()
@_directory
@click.argument("vkeys", nargs=-1, required=True, metavar="VKEY...")
@click.option("--url", help="where the log is read; a state witness needs it")
@click.option("--qpd", type=int, default=86_400, show_default=True, help="requests a day")
@click.option("--contact", default="-", help="of the log's operator")
def follow(directory: Path, vkeys: tuple[str, ...], url: str | None, qpd: int, contact: str) -> None:
    """Cosign the log with these keys: Ed25519, ML-DSA-44 or both. A running witness takes notice by itself."""
    settings = Settings.load(directory)
    if settings.state and url is None:
        raise Malformed("witness/follow", "a state witness reads its logs: give the --url")
    log = loglist.follow(settings.directory, list(vkeys), url=url, qpd=qpd, contact=contact)
    output.line("follows", log.origin, *(verifier.key_id.hex() for verifier in log.verifiers))


@witness.command()
@_directory
@click.option("--host", help="instead of the configured one")
@click.option("--port", type=int, help="instead of the configured one; 0 takes a free one")
def serve(directory: Path, host: str | None, port: int | None) -> None:
    """Serve the witness in DIR until SIGTERM or Ctrl-C."""
    # The other commands start in half the time without these.
    from attest.cli import serving
    from attest.witness.app import create_app
    from attest.witness.signers import SigningProcesses

    settings = Settings.load(directory)
    serving.log_to(sys.stderr.isatty())
    logger = structlog.get_logger("attest.witness")
    # The processes that sign are forks of this one: they come before its threads.
    keys = WitnessKeys.load(settings, lambda key: SigningProcesses(key).sign_all)
    logs = LogList(settings.directory)
    with _database(settings) as db:
        assessor = None
        if settings.state:
            # It needs most of what a log does; a witness of anybody's logs does not.
            from attest.witness.state import open_assessor

            assessor = open_assessor(settings, db, time.time)
        running = Witness(keys, logs, db, time.time, assessor)
        try:
            address = host or settings.host, settings.port if port is None else port
            # The server counts the frames of chunks as well: what is too large to the byte, the application says.
            server = serving.listen(create_app(running), *address, threads=settings.threads, max_body=2 * MAX_BODY)
            for place in serving.places(server):
                logger.info("serving", url=place, name=keys.name, logs=len(logs.all()))
                output.line("url", place)
            sys.stdout.flush()
            serving.run(server)
            logger.info("stopping")
        finally:
            running.close()
            if assessor is not None:
                assessor.close()


@witness.command()
@_directory
@click.option("--json", "as_json", is_flag=True)
def status(directory: Path, as_json: bool) -> None:
    """Show the keys, and where every log stands. Changes nothing."""
    settings = Settings.load(directory)
    problem, logs = "", dict[str, Followed]()
    try:
        logs = dict(LogList(settings.directory).all())
    except AttestError as error:
        problem = str(error)
    vkeys = settings.path(VKEYS).read_text(encoding="utf-8").split()
    with _database(settings) as db:
        db.check_schema()
        found = [_shown(each) for each in standings(db, logs, tuple(map(NoteVerifier.parse, vkeys)))]
    if as_json:
        shown = {"name": settings.name, "state": settings.state, "vkeys": vkeys, "problem": problem or None}
        output.json({**shown, "logs": found})
        return
    output.line("name", settings.name)
    for vkey in vkeys:
        output.line("vkey", vkey)
    output.line("list", problem or "good")
    for log in found:
        output.line("log", *(f"{name}={'-' if value is None else value}" for name, value in log.items()))


def _shown(log: Standing) -> dict[str, Any]:
    cosigned = log.cosigned
    return {
        "origin": log.origin,
        "listed": log.listed,
        "size": None if cosigned is None else cosigned.checkpoint.size,
        "root": None if cosigned is None else encode_base64(cosigned.checkpoint.root),
        "time": None if cosigned is None else datetime.fromtimestamp(cosigned.time, UTC).isoformat(),
        "forks": log.forks,
    }


@witness.command()
@_directory
@click.argument("origin")
def forks(directory: Path, origin: str) -> None:
    """Print what the log ORIGIN has signed against itself: the checkpoint we cosigned, and the other one."""
    with _database(Settings.load(directory)) as db, db.read() as transaction:
        kept = witnessed.kept_forks(transaction, origin)
    for fork in kept:
        for note in (fork.cosigned, fork.checkpoint):
            if note is not None:
                output.text(note)


@witness.command()
@_directory
def migrate(directory: Path) -> None:
    """Bring the database to this version's schema. Stop the witness and make a backup first."""
    with _database(Settings.load(directory)) as db:
        db.migrate()
    output.say("the database has this version's schema")


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    db = Database(settings.database_url(), "witness")
    try:
        yield db
    finally:
        db.close()
