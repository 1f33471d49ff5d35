"""Frames: the list of what a company's live system holds, committed to before the beacon speaks, opened row by row.

    attest-frame/1 <64 hex digits: a secret>
    <locator>            canonical, ascending by bytes, each once
    …

The file stays at the company. Its root goes into the plan; a drawn row is shown with the salt and the path that put it
under that root, which tell nothing about its neighbours.

Spec: docs/spec/sample.md#frames.
"""

import hashlib
import heapq
import hmac
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from attest.audit.opened import PART, OpenedTree
from attest.crypto import locators
from attest.encoding import Hash
from attest.errors import Conflict, Malformed, Refuted
from attest.formats.sample import MAX_POPULATION
from attest.merkle.tree import leaf_hash, verify_inclusion

FORMAT: Final = "attest-frame/1"
MAX_LOCATOR: Final = 512  # bytes, more than any type allows
_SORTED: Final = 500_000  # locators sorted in memory at a time
_HEAD: Final = re.compile(rb"attest-frame/1 ([0-9a-f]{64})\n")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a plan says of a frame, and the rows that were asked for."""

    count: int
    root: Hash
    rows: dict[int, tuple[str, bytes]]  # position → (locator, opening)


def write_frame(path: Path, found: Iterable[str], secret: bytes) -> None:
    """Write the frame of these canonical locators, in any order, repeats dropped.

    Sorts on disk, in a folder beside `path` that nobody else can read, and that is gone afterwards.

    Raises:
        Conflict: `file/exists`.
        Malformed: `sample/frame`, there is nothing in it, or too much; `locator/…`.
    """
    if path.exists():
        raise Conflict("file/exists", f"{path} exists", hint="name another file, or move this one away")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent)))
        parts: list[BinaryIO] = []
        lines = (locators.parse(each).encode().encode() + b"\n" for each in found)
        while part := list(islice(lines, _SORTED)):
            spilled = stack.enter_context((folder / str(len(parts))).open("w+b"))
            spilled.writelines(sorted(set(part)))
            spilled.seek(0)
            parts.append(spilled)
        count, last = 0, b""
        sorted_path = folder / "frame"
        with sorted_path.open("xb") as target:
            target.write(f"{FORMAT} {secret.hex()}\n".encode())
            for line in heapq.merge(*parts):
                if line != last:
                    target.write(line)
                    count, last = count + 1, line
        if not 0 < count <= MAX_POPULATION:
            raise Malformed("sample/frame", f"{count} locators, want 1 to {MAX_POPULATION}")
        sorted_path.chmod(0o600)
        sorted_path.rename(path)


def read_frame(path: Path, wanted: Collection[int] = ()) -> Frame:
    """Read a frame once, in little memory: how many rows, under which root, and the rows at the wanted positions.

    Raises:
        Malformed: `sample/frame`, not a frame, not ascending, or without a wanted row; `locator/…`.
    """
    tree = OpenedTree(wanted)
    positions = frozenset(wanted)
    shown: dict[int, str] = {}
    leaves: list[Hash] = []
    with path.open("rb") as file:
        secret = _secret(file)
        for position, locator in enumerate(_lines(file)):
            if position in positions:
                shown[position] = locator
            leaves.append(leaf_hash(_salt(secret, position) + locator.encode()))
            if len(leaves) == PART:
                tree.append(leaves)
                leaves = []
    tree.append(leaves)
    if not tree.size or len(shown) != len(positions):
        raise Malformed("sample/frame", f"{tree.size} rows, and not all that are asked for")
    rows = {
        position: (shown[position], _salt(secret, position) + opening)
        for position, opening in tree.open(positions).items()
    }
    return Frame(tree.size, tree.root(), rows)


def verify_row(locator: str, opening: bytes, position: int, count: int, frame: Hash) -> None:
    """Check that a locator stands at `position` of the frame of `count` rows with this root.

    Args:
        opening: its salt, 32 bytes, then the path, leaf side first.

    Raises:
        Malformed: `sample/frame`, `inclusion/path-length`, `locator/…`.
        Refuted: `inclusion/root-mismatch`.
    """
    if not opening or len(opening) % 32:
        raise Malformed("sample/frame", f"an opening of {len(opening)} bytes, want a salt and hashes of 32 bytes")
    locators.canonical(locator)
    salt, *path = (opening[at : at + 32] for at in range(0, len(opening), 32))
    verify_inclusion(leaf_hash(salt + locator.encode()), position, count, frame, path)


def check_frame(frame: Frame, count: int, wanted: Hash) -> None:
    """Check that a frame is the one a plan names. Raises `Refuted`: `sample/population`."""
    if (frame.count, frame.root) != (count, wanted):
        raise Refuted(
            "sample/population",
            f"{frame.count} rows under {frame.root.hex()}, the plan says {count} under {wanted.hex()}",
        )


def _salt(secret: bytes, position: int) -> bytes:
    return hmac.digest(secret, position.to_bytes(8, "big"), hashlib.sha256)


def _secret(file: BinaryIO) -> bytes:
    head = _HEAD.fullmatch(file.readline(MAX_LOCATOR))
    if head is None:
        raise Malformed("sample/frame", f"the first line is not {FORMAT} and a secret", hint="attest sample frame")
    return bytes.fromhex(head[1].decode())


def _lines(file: BinaryIO) -> Iterator[str]:
    last = b""
    for number in range(2, MAX_POPULATION + 2):
        line = file.readline(MAX_LOCATOR)
        if not line:
            return
        # Which line, not what stands there: it is somebody's address.
        if not line.endswith(b"\n") or not line.isascii() or line <= last:
            raise Malformed("sample/frame", f"line {number} is not a locator after the one before it")
        last = line
        yield locators.parse(line[:-1].decode()).encode()
