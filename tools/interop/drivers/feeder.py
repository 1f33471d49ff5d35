"""Runs with aics-tlog and aics-witness, in their environment: what their commands do not do.

audit LOG-URL FILE                                      check all tiles and bundles against this checkpoint
submit WITNESS-URL WITNESS-VKEY LOG-URL FILE [OLD]      offer this checkpoint to a witness, with their client

Proofs are made by aics-tlog from the log's tiles. The witness's lines go to stdout, each answer's status to stderr.
"""

import sys
from pathlib import Path

from aics_tlog import HttpTileReader, audit_tiles, consistency_proof_from_tiles, parse_checkpoint, parse_note
from aics_witness.feeder import FeederError, WitnessClient


class Client(WitnessClient):
    """Tells what the witness answered."""

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        status, content_type, found = super()._post(body)
        print(status, file=sys.stderr)
        return status, content_type, found


def submit(url: str, vkey: str, log: str, file: str, old: str | None = None) -> None:
    """Offer a checkpoint; without `old`, begin as if nothing were known."""
    note = Path(file).read_bytes()
    size = parse_checkpoint(parse_note(note).text).size

    def proof(old_size: int, new_size: int) -> list[bytes]:
        return consistency_proof_from_tiles(HttpTileReader([log]), old_size, new_size, size)

    with Client(url, vkey, max_attempts=1) as client:
        try:
            print(client.submit(note, proof, old_size=None if old is None else int(old)), end="")
        except FeederError as error:
            raise SystemExit(f"{type(error).__name__}: {error}") from None


def audit(log: str, file: str) -> None:
    """Prove every tile and every entry."""
    checkpoint = parse_checkpoint(parse_note(Path(file).read_bytes()).text)
    print(audit_tiles(HttpTileReader([log]), checkpoint.size, checkpoint.root))


{"audit": audit, "submit": submit}[sys.argv[1]](*sys.argv[2:])
