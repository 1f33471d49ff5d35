"""A log's public files in a directory, written by a slow transcription of tlog-tiles."""

from pathlib import Path

import cbor2

from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyLog
from tests import reference
from tests.ledger.log import ORIGIN
from tests.ledger.model import Key
from tests.witness.lies import Operator


def policy(key: str = ORIGIN + " note", origin: str = ORIGIN) -> Policy:
    """What an auditor knows: the log's key."""
    return Policy((PolicyLog(NoteVerifier.of(origin, KeyType.ED25519, Key(key).public)),), (), (), None)


def publish(operator: Operator, directory: Path, signed: SignedCheckpoint | None = None) -> Path:
    """Write everything that a checkpoint implies, partial tiles of the last size alone."""
    signed = operator.signed() if signed is None else signed
    size = signed.checkpoint.size
    entries = operator.entries[:size]
    for index in range(0, size, 256):
        part = entries[index : index + 256]
        width = f".p/{len(part)}" if len(part) < 256 else ""
        content = b"".join(len(entry).to_bytes(2, "big") + entry for entry in part)
        write(directory / f"tile/entries/{spell(index // 256)}{width}", content)
    level, width = 0, 1  # entries below each hash
    while size // width:
        hashes = [reference.MTH(entries[at : at + width]) for at in range(0, size // width * width, width)]
        for index in range(0, len(hashes), 256):
            part = hashes[index : index + 256]
            suffix = f".p/{len(part)}" if len(part) < 256 else ""
            write(directory / f"tile/{level}/{spell(index // 256)}{suffix}", b"".join(part))
        level, width = level + 1, width * 256
    for root, rows in operator.log.files.items():
        write(directory / "rows" / root.hex(), rows)
    write(directory / "checkpoint", signed.encode())
    return directory


def party_list(operator: Operator, party: str) -> list[tuple[int, bytes]]:
    """The entries that a party issued and those about it, by a slow look at all of them."""
    found = []
    for position, entry in enumerate(operator.entries):
        message = cbor2.loads(entry).value
        claims, payload = cbor2.loads(message[0])[15], cbor2.loads(message[2])
        if claims[1] == f"https://{party}" or payload.get("about") == party:
            found.append((position, entry))
    return found


def spell(index: int) -> str:
    """Spell the number of a tile."""
    digits = f"{index:03}" if index < 1000 else f"x{index // 1000:03}/{index % 1000:03}"
    assert index < 10**6
    return digits


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
