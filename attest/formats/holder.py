"""What a log publishes of one party: where it stands, and the list of its entries.

Spec: docs/spec/holder.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from attest.encoding import MAX_INT, Hash, check_items, decode_cbor, encode_cbor
from attest.errors import Malformed
from attest.formats.checkpoint import SignedCheckpoint
from attest.merkle.tiles import FULL, MAX_ENTRY

FORMAT: Final = "attest-holder/1"
MAX_PROOF: Final = 1 << 28  # bytes
MAX_LIST: Final = FULL * (10 + MAX_ENTRY)  # bytes of a file of a list
_MAX_ITEMS: Final = 1 << 18
_MAX_PATH: Final = 64

Listed = tuple[int, bytes]
"""A position and the entry there."""


@dataclass(frozen=True, slots=True)
class PartyProof:
    """The head of a party under a checkpoint, with all its systems; nothing of it is checked yet."""

    signed: SignedCheckpoint
    entries: tuple[tuple[int, bytes, tuple[Hash, ...]], ...]  # entry 0 and the last: position, entry, inclusion path
    head: bytes
    proof: bytes  # of the head, in the top map
    log: tuple[bytes, bytes]  # the log's own head, which says what rules are in force, and its proof
    systems: tuple[tuple[bytes, bytes], ...]  # heads and descriptors, ids ascending

    def encode(self) -> bytes:
        """Write deterministic CBOR."""
        return encode_cbor(
            {
                "format": FORMAT,
                "checkpoint": self.signed.encode(),
                "entries": [[position, entry, list(path)] for position, entry, path in self.entries],
                "head": self.head,
                "proof": self.proof,
                "log": list(self.log),
                "systems": [list(system) for system in self.systems],
            }
        )

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read what `encode` writes. Raises `Malformed`: `holder-proof/format`, `cbor/…`, and those of a checkpoint."""
        if len(encoded) > MAX_PROOF:
            raise Malformed("holder-proof/format", f"more than {MAX_PROOF} bytes")
        check_items(encoded, _MAX_ITEMS)
        found = decode_cbor(encoded)
        if not isinstance(found, dict) or found.keys() != {
            "format", "checkpoint", "entries", "head", "proof", "log", "systems"
        }:  # fmt: skip
            raise Malformed("holder-proof/format", "other fields than those of a proof")
        if found["format"] != FORMAT or not all(
            isinstance(found[name], bytes) for name in ("checkpoint", "head", "proof")
        ):
            raise Malformed("holder-proof/format", f"want {FORMAT}")
        return cls(
            SignedCheckpoint.parse(found["checkpoint"]),
            tuple(_entry(each) for each in _list(found["entries"], 2)),
            found["head"],
            found["proof"],
            _pair(found["log"]),
            tuple(_pair(each) for each in _list(found["systems"], None)),
        )


def _list(found: Any, count: int | None) -> list[Any]:
    if not isinstance(found, list) or (count is not None and len(found) != count):
        raise Malformed("holder-proof/format", "a list is not as long as it has to be")
    return found


def _entry(found: Any) -> tuple[int, bytes, tuple[Hash, ...]]:
    position, entry, path = _list(found, 3)
    if type(position) is not int or position < 0 or not isinstance(entry, bytes):
        raise Malformed("holder-proof/format", "want a position and an entry")
    if len(_list(path, None)) > _MAX_PATH or not all(isinstance(each, bytes) and len(each) == 32 for each in path):
        raise Malformed("holder-proof/format", f"want at most {_MAX_PATH} hashes")
    return position, entry, tuple(path)


def _pair(found: Any) -> tuple[bytes, bytes]:
    head, descriptor = _list(found, 2)
    if not isinstance(head, bytes) or not isinstance(descriptor, bytes):
        raise Malformed("holder-proof/format", "want a head and a descriptor")
    return head, descriptor


# --- the list of a party's entries, in files of 256 ---


def proof_path(party: str) -> str:
    """Spell where a party's proof is published."""
    return f"holders/{party}/proof"


def list_path(party: str, index: int, width: int = FULL) -> str:
    """Spell where a file of a party's list is published: `holders/acme.example/entries/000.p/17`."""
    digits = f"{index % 1000:03}"
    while index := index // 1000:
        digits = f"x{index % 1000:03}/{digits}"
    return f"holders/{party}/entries/{digits}" + (f".p/{width}" if width < FULL else "")


_LIST: Final = re.compile(r"((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def parse_list_path(party: str, rest: str) -> tuple[int, int]:
    """Read what comes behind `entries/`: (index, width). Raises `Malformed`: `holder-list/path`."""
    if match := _LIST.fullmatch(rest):
        index = int(match[1].replace("x", "").replace("/", ""))
        width = int(match[2]) if match[2] else FULL
        if width <= FULL and list_path(party, index, width) == f"holders/{party}/entries/{rest}":
            return index, width
    raise Malformed("holder-list/path", f"not a file of a list: {rest[:60]!r}")


def encode_list(listed: Sequence[Listed]) -> bytes:
    """Write some entries: for each its position u64, its length u16, and its bytes."""
    return b"".join(position.to_bytes(8, "big") + len(entry).to_bytes(2, "big") + entry for position, entry in listed)


def parse_list(encoded: bytes) -> list[Listed]:
    """Read entries. Raises `Malformed`: `holder-list/format`, also where positions do not strictly ascend."""
    listed: list[Listed] = []
    at, last = 0, -1
    while at < len(encoded):
        position = int.from_bytes(encoded[at : at + 8], "big")
        start = at + 10
        end = start + int.from_bytes(encoded[at + 8 : start], "big")
        if end > len(encoded) or start > len(encoded):
            raise Malformed("holder-list/format", f"{len(listed)} whole entries, and a part of one")
        if not last < position <= MAX_INT:
            raise Malformed("holder-list/format", f"position {position} does not come after {last}")
        listed.append((position, encoded[start:end]))
        at, last = end, position
    return listed
