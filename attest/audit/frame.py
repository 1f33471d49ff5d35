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
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from attest.crypto import locators
from attest.encoding import Hash
from attest.errors import Conflict, Malformed, Refuted
from attest.formats.sample import MAX_POPULATION
from attest.merkle.tree import Frontier, Subtree, inclusion_path, leaf_hash, root, subtree_reader, verify_inclusion

FORMAT: Final = "attest-frame/1"
MAX_LOCATOR: Final = 512  # bytes, more than any type allows
_SORTED: Final = 500_000  # locators sorted in memory at a time
_LEVEL: Final = 12  # leaves are kept in parts of 2^12
_PART: Final = 1 << _LEVEL
_HEAD: Final = re.compile(rb"attest-frame/1 ([0-9a-f]{64})\n")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a plan says of a frame, and the rows that were asked for."""

    count: int
    root: Hash
    rows: dict[int, tuple[str, bytes]]  # position → (locator, opening)


def write_frame(path: Path, found: Iterable[str], secret: bytes) -> int:
    """Write the frame of these canonical locators, in any order, repeats dropped; return how many there are.

    Sorts on disk, beside `path`: nothing of it lies where others can read.

    Raises:
        Conflict: `file/exists`.
        Malformed: `sample/frame`, there is nothing in it; `locator/…`.
    """
    if path.exists():
        raise Conflict("file/exists", f"{path} exists", hint="name another file, or move this one away")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent)))
        parts: list[Iterable[bytes]] = []
        lines = (locators.parse(each).encode().encode() + b"\n" for each in found)
        while part := sorted(set(islice(lines, _SORTED))):
            if len(part) < _SORTED and not parts:
                parts.append(part)
                break
            spilled = stack.enter_context((folder / str(len(parts))).open("w+b"))
            spilled.writelines(part)
            spilled.seek(0)
            parts.append(spilled)
        count, last = 0, b""
        with open(os.open(folder / "frame", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:  # noqa: PTH123
            target.write(f"{FORMAT} {secret.hex()}\n".encode())
            for line in heapq.merge(*parts):
                if line != last:
                    target.write(line)
                    count, last = count + 1, line
        if not 0 < count <= MAX_POPULATION:
            raise Malformed("sample/frame", f"{count} locators, want 1 to {MAX_POPULATION}")
        os.link(folder / "frame", path)
    return count


def read_frame(path: Path, wanted: Collection[int] = ()) -> Frame:
    """Read a frame once, in little memory: how many rows, under which root, and the rows at the wanted positions.

    Raises:
        Malformed: `sample/frame`, not a frame, not ascending, or without a wanted row; `locator/…`.
    """
    kept: dict[int, list[Hash]] = {}
    shown: dict[int, str] = {}
    roots: list[Hash] = []
    parts = {position >> _LEVEL for position in wanted}
    positions = frozenset(wanted)
    frontier = Frontier.empty()
    leaves: list[Hash] = []
    with path.open("rb") as file:
        secret = _secret(file)
        for position, locator in enumerate(_lines(file)):
            if position in positions:
                shown[position] = locator
            leaves.append(leaf_hash(_salt(secret, position) + locator.encode()))
            if len(leaves) == _PART:
                if position >> _LEVEL in parts:
                    kept[position >> _LEVEL] = leaves
                frontier = frontier.append(leaves)
                roots.append(root(leaves))
                leaves = []
    frontier = frontier.append(leaves)
    kept[len(roots)] = leaves
    if not frontier.size or len(shown) != len(positions):
        raise Malformed("sample/frame", f"{frontier.size} rows, and not all that are asked for")
    top = subtree_reader(roots)
    below = {part: subtree_reader(each) for part, each in kept.items()}

    def read(subtrees: Iterable[Subtree]) -> list[Hash]:
        return [
            top([(level - _LEVEL, index)])[0]
            if level >= _LEVEL
            else below[index >> (_LEVEL - level)]([(level, index & ((1 << (_LEVEL - level)) - 1))])[0]
            for level, index in subtrees
        ]

    rows = {
        position: (locator, _salt(secret, position) + b"".join(inclusion_path(position, frontier.size, read)))
        for position, locator in shown.items()
    }
    return Frame(frontier.size, frontier.root(), rows)


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
