"""`attest operator`: create a log, admit parties, see how it is."""

import json
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import httpx

from attest.cli import output
from attest.cli.verify import read_file
from attest.config import FILE, Config, locked, read_passphrase, write_aside, write_config
from attest.crypto.keys import thumbprint
from attest.encoding import Hash, parse_base64url, parse_hex, sha256
from attest.errors import Conflict, Malformed, Refuted, Unavailable
from attest.formats.checkpoint import SignedCheckpoint, log_verifiers
from attest.formats.join import MAX_JOIN, WELL_KNOWN, JoinRequest, parse_domain
from attest.formats.note import MAX_NOTE, KeyType
from attest.formats.policy import MAX_POLICY, Policy, add_witness, remove_witness
from attest.formats.statement import Keys, PartyEnd, Predecessor, is_origin
from attest.fsck import DAMAGED, DERIVED, Fsck, Repair
from attest.node import Node
from attest.store import counts
from attest.store.blobs import DirectoryBlobs
from attest.store.db import Database
from attest.store.history import History
from attest.transport import LogClient, PublicFiles

_TIMEOUT_S: Final = 10.0

_FILE: Final[click.Path] = click.Path(path_type=Path, exists=True, dir_okay=False)
_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    envvar="ATTEST_DIR",
    help="where attest.toml is",
)


@click.group()
def operator() -> None:
    """Create and run a log."""


@operator.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--origin", required=True, help="the log's name for ever, such as log.example/deletions")
@click.option("--url", help="where it will be served")
@click.option("--database", help="an SQLAlchemy URL; by default SQLite in the directory")
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), help="encrypts the key files")
@click.option("--port", type=int, default=8080)
@click.option("--successor-of", "place", help="the log that this one continues: its directory, or its URL")
@click.option("--predecessor-checkpoint", "checkpoint_file", type=_FILE, help="its last checkpoint, as a file")
@click.option("--predecessor-policy", "policy_file", type=_FILE, help="its policy; by default the one in its directory")
@click.option("--predecessor-lost", "lost", is_flag=True, help="it never ended: its keys, or its operator, are gone")
def init(
    directory: Path,
    origin: str,
    url: str | None,
    database: str | None,
    passphrase_file: Path | None,
    port: int,
    place: str | None,
    checkpoint_file: Path | None,
    policy_file: Path | None,
    lost: bool,
) -> None:
    """Create a log: keys, settings, database, entry 0 and its first checkpoint.

    Prints the SHA-256 of the policy file: publish it where whoever verifies can compare it. A successor's
    entry 0 names the last checkpoint of the log before it, which has to have ended (`attest operator retire`).
    """  # fmt: skip
    if not is_origin(origin):
        raise Malformed("config/origin", "the origin is a schema-less URL without white space, `+` or `#`")
    directory = directory.resolve()
    # A key or an origin is never used for a second log: a new one is made in a new place.
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Conflict("operator/exists", f"{directory} is not empty", hint="name a directory that does not exist yet")
    before = _predecessor(place, checkpoint_file, policy_file, origin, lost=lost)
    values = {"origin": origin, "url": url, "database": database, "port": port}
    if passphrase_file is not None:
        values["passphrase_file"] = str(passphrase_file.resolve())
    given = {name: value for name, value in values.items() if value is not None}
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Made aside and renamed, so that a half-made log never stands where a whole one should.
    aside = directory.parent / f".{directory.name}.new-{secrets.token_hex(4)}"
    aside.mkdir(mode=0o700)
    try:
        config = Config.build(aside, given, {})
        passphrase = config.passphrase() if passphrase_file is None else read_passphrase(passphrase_file)
        write_config(config, aside / FILE)
        policy = Node.create(config, passphrase=passphrase, predecessor=before)
        if directory.exists():
            directory.rmdir()
        aside.rename(directory)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    config = replace(config, directory=directory)
    output.line("origin", origin)
    output.line("policy", config.path(config.policy))
    output.line("policy-sha256", sha256(policy.encode()).hex())
    if before is not None:
        output.line("predecessor", before.origin, before.size, before.root.hex())
        if not lost:
            output.say(f"tell those who ask {before.origin}: put successor = {json.dumps(origin)} into its {FILE}")
    output.say(f"created {directory}; start it with: attest serve --dir {directory}")
    output.say("back up keys/ now, apart from the database; a log that loses its keys ends")


def _predecessor(
    place: str | None, checkpoint_file: Path | None, policy_file: Path | None, origin: str, *, lost: bool
) -> Predecessor | None:
    """Return where the log before ended: by its own signature, as its policy wants it."""
    if place is None and checkpoint_file is None:
        if lost or policy_file is not None:
            raise click.UsageError("say which log came before: --successor-of, or --predecessor-checkpoint")
        return None
    url = place if place is not None and place.startswith(("https://", "http://")) else None
    public: Path | None = None
    if place is not None and url is None:
        public = Path(place)
        if not public.is_dir():
            raise Unavailable("config/missing", f"no directory {public}")
        if (public / FILE).exists():
            old = Config.load(public, {})
            policy_file, public = policy_file or old.path(old.policy), old.path(old.public)
    if policy_file is None:
        raise click.UsageError("whose signatures count as the old log's? say --predecessor-policy")
    policy = Policy.parse(read_file(policy_file, MAX_POLICY))
    url = url or next((log.url for log in policy.logs if log.url is not None), None)
    if public is None and url is None and not lost:
        raise click.UsageError("a checkpoint alone does not show that its log has ended; say --successor-of as well")
    transport = None if public is None else PublicFiles(public)
    with LogClient(url or "http://localhost", policy, transport=transport, patience_s=_TIMEOUT_S) as client:
        if client.origin == origin:
            raise Conflict("operator/same-origin", f"{origin} cannot come after itself: no name is used twice")
        if checkpoint_file is None:
            checkpoint = client.checkpoint()
        else:
            checkpoint = client.believe(SignedCheckpoint.parse(read_file(checkpoint_file, MAX_NOTE)))
        if not lost and not client.ended_with(checkpoint):
            raise Conflict(
                "operator/not-ended",
                f"{checkpoint.origin} has not ended with its {checkpoint.size} entries",
                hint="end it with `attest operator retire`; if nobody can, say --predecessor-lost",
            )
    return Predecessor(checkpoint.origin, checkpoint.size, checkpoint.root)


@operator.command()
@_directory
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--check-domain", is_flag=True, help="the party's web site has to confirm this request")
def admit(directory: Path, file: Path, check_domain: bool) -> None:
    """Admit the party that wrote the join request FILE."""
    with file.open("rb") as opened:
        encoded = opened.read(MAX_JOIN + 1)
    if len(encoded) > MAX_JOIN:
        raise Malformed("join/size", f"{file} is larger than {MAX_JOIN} bytes")
    request = JoinRequest.parse(encoded)
    config = Config.load(directory)
    request.verify(config.origin)
    if check_domain:
        confirm_domain(request)
    node = Node.open(config)
    try:
        if request.id in node.view.ledger.parties:
            raise Conflict("rule/party-exists", f"{request.id} is admitted already; an id is admitted once")
        payload = request.party("domain" if check_domain else "operator", int(time.time()))
        node.operate(payload, request.id)
        head = node.view.ledger.parties[request.id]
        output.line("admitted", request.id, head.admitted)
    finally:
        node.stop()


def confirm_domain(request: JoinRequest, transport: httpx.BaseTransport | None = None) -> None:
    """Check that the party's own web site names this join request.

    Raises:
        Unavailable: `join/domain`, it does not answer.
        Refuted: `join/domain`, it names others.
    """
    url = f"https://{request.id}{WELL_KNOWN}"
    found = b""
    try:
        # No redirects: the file has to be on this very host.
        with (
            httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, transport=transport) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise Unavailable("join/domain", f"{url} answers {response.status_code}")
            for part in response.iter_bytes():
                found += part
                if len(found) > MAX_JOIN:
                    raise Malformed("join/domain", f"{url} is larger than {MAX_JOIN} bytes")
    except httpx.HTTPError as error:
        raise Unavailable("join/domain", f"{url}: {type(error).__name__}") from None
    if request.digest() not in parse_domain(found):
        raise Refuted("join/domain", f"{url} does not name the join request {request.digest().hex()}")


@operator.command()
@_directory
@click.option("--json", "as_json", is_flag=True)
def status(directory: Path, as_json: bool) -> None:
    """Show where the log stands. Changes nothing."""
    node = Node.open(Config.load(directory))
    try:
        view = node.browse.log()
        found = {
            "origin": view["origin"],
            "size": view["size"],
            "root": view["root"],
            "epoch": view["epoch"],
            "time": datetime.fromtimestamp(view["time"], UTC).isoformat(),
            "holders": view["holders"],
            "held": view["held"],
            "erased": view["erased"],
            "reheld": view["reheld"],
            **{f"queue-{state}": count for state, count in node.queue_view().items()},
            "witnessed": view["witnessed"] and view["witnessed"]["size"],
            "checked": view["checked"] and view["checked"]["size"],
            "witnesses": view["witnesses"],
            "end": view["end"],
        }
        said = node.browse.problems_of_witnesses()
    finally:
        node.stop()
    if as_json:
        output.text(json.dumps(found, indent=1))
    else:
        for name, value in found.items():
            if name != "witnesses":
                output.line(name, "none" if value is None else value)
        for each in found["witnesses"]:
            kind = "state-witness" if each["state"] else "witness"
            fault = each["problem"] and f"{each['problem']}: {said.get(each['url'], '')}"
            stands = (
                "cosigns"
                if each["size"] == found["size"]
                else "cosigned an older one"
                if each["size"]
                else "nothing yet"
            )
            output.line(kind, each["url"], f"size {each['size']}", fault or stands)


@operator.group()
def witness() -> None:
    """Say which witnesses this log asks to cosign: they stand in its policy files."""


@witness.command()
@_directory
@click.argument("name")
@click.argument("url")
@click.argument("vkeys", metavar="VKEY...", nargs=-1, required=True)
@click.option("--state", is_flag=True, help="a state witness: it goes into the other policy file")
@click.option("--quorum", type=click.IntRange(1), help="how many witnesses are a quorum; by default more than half")
def add(directory: Path, name: str, url: str, vkeys: tuple[str, ...], state: bool, quorum: int | None) -> None:
    """Ask the witness NAME at URL, which signs with VKEY, for cosignatures.

    All keys of one witness count as one. `attest serve` reads the policy files when it starts.
    """
    _rewrite(Config.load(directory), lambda policy: add_witness(policy, name, url, vkeys, quorum), state=state)


@witness.command("remove")
@_directory
@click.argument("name")
@click.option("--state", is_flag=True, help="a state witness")
@click.option("--quorum", type=click.IntRange(1), help="how many witnesses are a quorum; by default more than half")
def remove_(directory: Path, name: str, state: bool, quorum: int | None) -> None:
    """Ask the witness NAME no more. Its cosignatures stay, and count no longer for those who take over the policy."""
    _rewrite(Config.load(directory), lambda policy: remove_witness(policy, name, quorum), state=state)


def _rewrite(config: Config, change: Callable[[Policy], Policy], *, state: bool) -> None:
    """Change a policy file; one after the other, if several want to. Comments are not kept."""
    with locked(config.directory):
        main = _policy(config.path(config.policy))
        place = config.path(config.state_policy if state else config.policy)
        policy = change(_policy(place) if place.exists() else Policy(main.logs, (), (), None))
        write_aside(place, policy.encode())
    output.line("policy", place)
    output.line("policy-sha256", sha256(policy.encode()).hex())
    for group in policy.groups[-1:]:
        output.line("quorum", f"{group.threshold} of {len(group.members)}", *group.members)


def _policy(path: Path) -> Policy:
    try:
        return Policy.parse(path.read_bytes())
    except FileNotFoundError:
        raise Unavailable("config/missing", f"no policy file {path}") from None


@operator.command()
@_directory
@click.argument("party")
def end(directory: Path, party: str) -> None:
    """End PARTY: nothing more is taken from it, its state stands, frozen. There is no way back."""
    node = Node.open(Config.load(directory))
    try:
        node.operate(PartyEnd(), party)
        output.line("ended", party)
    finally:
        node.stop()


@operator.command()
@_directory
@click.option("--yes", is_flag=True, help="this log, for ever")
@click.option("--drop-pending", is_flag=True, help="refuse statements that wait and cannot come in any more")
def retire(directory: Path, yes: bool, drop_pending: bool) -> None:
    """End this log. Its last checkpoint stands for ever and is served on; nothing more is taken.

    There is no way back. A successor begins with: attest operator init --successor-of DIR.
    """
    if not yes:
        raise click.UsageError("a log that has ended never goes on; repeat this with --yes")
    node = Node.open(Config.load(directory))
    try:
        view = node.retire(drop_pending=drop_pending)
        output.line("origin", node.origin)
        output.line("size", view.size)
        output.line("root", view.record.tree_root.hex())
    finally:
        node.stop()
    output.say("ended; keep serving it: every proof of what it holds comes from here")


@operator.command()
@_directory
def keys(directory: Path) -> None:
    """Show the log's public keys, as entry 0 names them: two to pin in a policy, and the kids of the others."""
    config = Config.load(directory)
    public = PublicFiles(config.path(config.public))
    own = Policy(_policy(config.path(config.policy)).logs, (), (), None)
    with LogClient("http://localhost", own, transport=public) as client:
        genesis = client.genesis()
    for verifier in log_verifiers(genesis.origin, genesis.note_ed25519, genesis.note_mldsa44):
        output.line("checkpoints", "ML-DSA-44" if verifier.type == KeyType.MLDSA44 else "Ed25519", verifier.encode())
    output.line("statements", "Ed25519", thumbprint(genesis.statements).hex())
    output.line("receipts", "Ed25519", thumbprint(genesis.receipts).hex())


@operator.command()
@_directory
@click.argument("party")
@click.argument("kid")
def revoke(directory: Path, party: str, kid: str) -> None:
    """Revoke the key KID (hex or base64url) of PARTY."""
    thumbprint = _kid(kid)
    node = Node.open(Config.load(directory))
    try:
        node.operate(Keys((), (thumbprint,)), party)
        output.line("revoked", party, thumbprint.hex())
    finally:
        node.stop()


def _kid(text: str) -> Hash:
    return parse_hex(text, 32) if len(text) == 64 else parse_base64url(text, 32)


@operator.command()
@_directory
@click.option("--quick", is_flag=True, help="leave out the replay of all rules and states")
@click.option("--repair", is_flag=True, help="write again what follows from the rest; stop `attest serve` first")
@click.option(
    "--from", "source", help="with --repair: where row files are fetched, a URL or a directory of public files"
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object for each finding, and one at the end")
def fsck(directory: Path, quick: bool, repair: bool, source: str | None, as_json: bool) -> int:
    """Check all that is stored of the log against everything else that is stored of it.

    Changes nothing without --repair, and may then run beside the service. Exit code 0: clean; 6: repaired; 3: damaged;
    1: could not be checked.
    """
    if source is not None and not repair:
        raise click.UsageError("--from is where --repair fetches row files")
    found: Counter[str] = Counter()
    with output.bars() as progress:
        check = Fsck(Config.load(directory), quick=quick, repair=Repair(source) if repair else None, progress=progress)
        for finding in check.run():
            state = "repaired" if finding.repaired else finding.severity
            found[state] += 1
            if as_json:
                output.json({"state": state, **asdict(finding)})
            else:
                output.line(state, finding.code, finding.where, finding.message, finding.remedy)
    damaged = found[DAMAGED] + found[DERIVED]
    result = "damaged" if damaged else "repaired" if found["repaired"] else "clean"
    if as_json:
        output.json({"result": result, "found": dict(found), "checked": dict(check.checked)})
    else:
        for what, count in check.checked.items():
            output.line("checked", what, count)
        output.line("result", result)
    if found[DERIVED] and not repair:
        output.say("hint: what is `derived` follows from the rest: stop the service, and run this with --repair")
    return output.REFUTED if damaged else output.REPAIRED if found["repaired"] else output.OK


@operator.command()
@_directory
def migrate(directory: Path) -> None:
    """Bring the database to this version's schema. Stop every `attest serve` on it and make a backup first.

    What a new table holds that follows from the log is made by replaying it once; killed half-way, run it again.
    """
    config = Config.load(directory)
    db = Database(config.database_url())
    try:
        db.migrate()
        public, private = DirectoryBlobs(config.path(config.public)), DirectoryBlobs(config.path(config.private))
        replayed = counts.fill(db, History.of(db, public, private))
    finally:
        db.close()
    if replayed:
        output.say(f"counted held and erased over {replayed:,} epochs")
    output.say("the database has this version's schema")
