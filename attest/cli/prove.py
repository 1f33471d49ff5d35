"""`attest prove` and `attest certificate`: evidence for a keepsake, without the company."""

import time
from pathlib import Path
from typing import Any

import click

from attest.cli import output
from attest.cli.verify import EXIT, explain, read_file, refuse_existing, write_new
from attest.encoding import Hash
from attest.errors import AttestError, Conflict, Malformed, Refuted, Untrusted
from attest.formats.bundle import Bundle
from attest.formats.keepsake import MAX_KEEPSAKE, Keepsake
from attest.formats.policy import MAX_POLICY, Policy
from attest.ledger.verify import Question, Verdict, verify
from attest.prover import Subject, certificate_bundle, erasure_bundle, hold_bundle, lookup_bundle
from attest.transport import LogClient

_PATH: Any = click.Path(path_type=Path)
_URL = click.option("--url", help="where the log, or a mirror, is served; by default https:// and the log's origin")
_POLICY = click.option(
    "--policy", "policy_file", type=_PATH, help="whom you trust; the answer is then verified before it is written"
)
_OUTPUT = click.option("-o", "--output", "target", type=_PATH, required=True, metavar="FILE")


@click.command()
@click.argument("keepsake_file", type=_PATH, metavar="KEEPSAKE")
@_URL
@_POLICY
@click.option(
    "--kind",
    type=click.Choice(["lookup", "hold", "tombstone"]),
    default="lookup",
    show_default=True,
    help="the state in all systems, or one system's hold or tombstone",
)
@click.option("--system", help="for a hold or tombstone: in which system")
@_OUTPUT
def prove(
    keepsake_file: Path, url: str | None, policy_file: Path | None, kind: str, system: str | None, target: Path
) -> None:
    """Fetch what all systems of the holder say about the subject of KEEPSAKE, or one system's hold or tombstone."""
    if (kind == "lookup") != (system is None):
        raise click.UsageError("--system goes with --kind hold or tombstone, and these need it")
    refuse_existing(target)
    keepsakes = _read((keepsake_file,))
    with _client(keepsakes, url, policy_file) as log:
        bundle = _fetch(log, keepsakes[0], kind, system)
    verdict = _checked(bundle, keepsakes, log.policy)
    write_new(target, bundle.encode(), mode=0o644)
    output.line(kind, target, "unverified" if verdict is None else verdict.claim)
    _explain(verdict)


@click.command()
@click.argument("keepsake_files", type=_PATH, nargs=-1, required=True, metavar="KEEPSAKE...")
@_URL
@_POLICY
@_OUTPUT
def certificate(keepsake_files: tuple[Path, ...], url: str | None, policy_file: Path | None, target: Path) -> int:
    """Fetch a deletion certificate for the subject of KEEPSAKE...; several are several locators of one subject."""
    refuse_existing(target)
    keepsakes = _read(keepsake_files)
    with _client(keepsakes, url, policy_file) as log:
        first = keepsakes[0]
        known = {(k.locator, hold.system): hold.entry_id for k in keepsakes for hold in k.holds}

        def hint(subject: Subject, system: str, _: Hash) -> str | None:
            return known.get((subject.locator, system))

        bundle = certificate_bundle(log, first.holder, first.vrf_key, _subjects(keepsakes), hint)
    verdict = _checked(bundle, keepsakes, log.policy)
    if verdict is not None and verdict.outcome == "refuted":
        raise Conflict("certificate/refused", f"no certificate: {verdict.reason}", hint=verdict.hint)
    write_new(target, bundle.encode(), mode=0o644)
    output.line("certificate", target, "unverified" if verdict is None else verdict.claim)
    _explain(verdict)
    return output.OK if verdict is None else EXIT[verdict.outcome]


def _fetch(log: LogClient, keepsake: Keepsake, kind: str, system: str | None) -> Bundle:
    subject = Subject.kept(keepsake)
    if system is None:
        return lookup_bundle(log, keepsake.holder, keepsake.vrf_key, [subject])
    if kind == "tombstone":
        return erasure_bundle(log, keepsake.holder, keepsake.vrf_key, subject, system=system)
    kept = next((hold for hold in keepsake.holds if hold.system == system), None)
    if kept is None:
        raise click.UsageError(f"the keepsake has no hold in {system}")
    return hold_bundle(log, keepsake.holder, keepsake.vrf_key, subject, system=system, entry_id=kept.entry_id)


def _read(paths: tuple[Path, ...]) -> list[Keepsake]:
    """Read keepsakes of one holder at one log. Raises `Malformed`: `prove/mixed`, `keepsake/…`."""
    found = [Keepsake.parse(read_file(path, MAX_KEEPSAKE)) for path in paths]
    if len({(each.origin, each.holder, each.vrf_key) for each in found}) != 1:
        raise Malformed("prove/mixed", "these keepsakes are of several holders or logs")
    return found


def _subjects(keepsakes: list[Keepsake]) -> list[Subject]:
    # The index comes from the VRF output that the keepsake proves: the company is not needed.
    return [Subject.kept(each) for each in keepsakes]


def _client(keepsakes: list[Keepsake], url: str | None, policy_file: Path | None) -> LogClient:
    first = keepsakes[0]
    policy = None if policy_file is None else Policy.parse(read_file(policy_file, MAX_POLICY))
    output.say(
        f"whoever serves {url or 'https://' + first.origin} now sees together the indexes of "
        f"{len(keepsakes)} locator{'s' * (len(keepsakes) != 1)} in all systems of {first.holder}; they stay pseudonyms"
    )
    options = click.get_current_context().obj or {}
    transport = options.get("transport")
    return LogClient(
        url or f"https://{first.origin}", policy, origin=first.origin, transport=transport, on_wait=output.say
    )


def _checked(bundle: Bundle, keepsakes: list[Keepsake], policy: Policy | None) -> Verdict | None:
    """Verify if there is a policy. What fails before the claim is judged is not worth writing down."""
    if policy is None:
        return None
    clock = (click.get_current_context().obj or {}).get("clock", time.time)
    first, asked = keepsakes[0], tuple(each.locator for each in keepsakes)
    only = first if len(keepsakes) == 1 else None
    verdict = verify(bundle.encode(), Question(policy, int(clock()), first.holder, asked, keepsake=only))
    if verdict.outcome != "holds" and not verdict.code.startswith(("claim/", "freshness/", "level/")):
        kind: type[AttestError] = Untrusted if verdict.outcome == "not-anchored" else Refuted
        raise kind(verdict.code, f"the log's evidence does not verify: {verdict.reason}", hint=verdict.hint)
    return verdict


def _explain(verdict: Verdict | None) -> None:
    if verdict is None:
        output.say("not verified: run `attest verify` with the policy and the keepsake")
    else:
        explain(verdict)
