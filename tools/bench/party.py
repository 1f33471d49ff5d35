"""What an audit of one company reads of a log of a hundred equal ones, small statements and large."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attest.audit.audit import Order, audit
from attest.audit.party import audit_party
from attest.audit.source import DirectorySource, Mirror
from attest.formats.policy import Policy
from tests.world import START, Holder, descriptor
from tools.bench.audit import ORIGIN, PublishedLog, random_file

_HOLDERS = 100
_STATEMENTS = 10  # of each
_SHAPES = (10, 1_000)  # rows a statement


def run() -> list[dict[str, Any]]:
    """Measure."""
    results = []
    for rows in _SHAPES:
        with TemporaryDirectory() as folder:
            place, copy = Path(folder) / "log", Path(folder) / "copy"
            _fill(place, rows)
            policy = Policy.parse((place / "policy").read_bytes())
            order = Order(policy, str(place), 0, live=False)
            whole = audit(Mirror(DirectorySource(place), copy), order, None, None)
            alone = audit_party(DirectorySource(copy), order, "holder-7.example", None, None)
            if (whole.outcome, alone.outcome) != ("clean", "clean"):
                raise RuntimeError("an honest log was not clean")
            share = 100 * alone.traffic["bytes"] / whole.traffic["bytes"]
            results.append(
                {
                    "name": f"bytes read for one of {_HOLDERS} holders, {rows:,} rows a statement",
                    "value": share,
                    "unit": "%",
                    "peer": "an equal share",
                    "peer_value": 100 / _HOLDERS,
                    "note": f"{alone.traffic['bytes']:,} of {whole.traffic['bytes']:,} bytes,"
                    f" {alone.traffic['requests']} of {whole.traffic['requests']} requests,"
                    f" {alone.seconds:.2f} of {whole.seconds:.2f} s",
                }
            )
    return results


def _fill(place: Path, rows: int) -> None:
    log = PublishedLog(place)
    holders = [Holder(f"holder-{n}.example", log.clock, origin=ORIGIN) for n in range(_HOLDERS)]
    for holder in holders:
        party = holder.join_request().party("operator", START)
        log.epoch([(log.sign(party, about=holder.id), None)])
        log.epoch([(holder.systems(descriptor("crm")), None)])
    for _ in range(_STATEMENTS):
        for some in (holders[at : at + 20] for at in range(0, _HOLDERS, 20)):
            files = [random_file(rows) for _ in some]
            log.epoch([(holder.hold("crm", file), file) for holder, file in zip(some, files, strict=True)])
    log.publish()
