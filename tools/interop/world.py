"""What every check is given: two logs, what they published, and copies with faults."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from attest.encoding import encode_base64
from attest.merkle.tiles import FULL, entries_path, tile_path
from tools.interop import copies
from tools.interop.logs import Served, large, small

SHOWN: Final = (0, 1, 254, 255, 256, 257, 511, 512)


@dataclass
class World:
    """All that is shown to others."""

    where: Path
    small: Served
    large: Served
    faults: dict[str, str] = field(default_factory=dict)  # URLs of copies of the large log, by what is wrong with them

    @cached_property
    def vkeys(self) -> tuple[str, str]:
        """The large log's keys, Ed25519 and ML-DSA-44."""
        ed25519, mldsa44 = self.large.verifiers()
        return ed25519.encode(), mldsa44.encode()

    @cached_property
    def other_vkey(self) -> str:
        """The small log's Ed25519 key."""
        return self.small.verifiers()[0].encode()

    @cached_property
    def checkpoint(self) -> Path:
        """The large log's newest checkpoint."""
        return self.file("checkpoint", self.large.checkpoint())

    @cached_property
    def proofs(self) -> dict[int, tuple[Path, Path]]:
        """Some entries of the large log, each with the `.tlog-proof` that the service gives."""
        return self._proofs(self.large, "large")

    @cached_property
    def small_proofs(self) -> dict[int, tuple[Path, Path]]:
        """The same of the small log."""
        return self._proofs(self.small, "small")

    def _proofs(self, log: Served, name: str) -> dict[int, tuple[Path, Path]]:
        entries = log.entries()
        shown = {index for index in (*SHOWN, len(entries) - 1) if index < len(entries)}
        return {
            index: (
                self.file(f"{name}-{index}.entry", entries[index]),
                self.file(f"{name}-{index}.tlog-proof", log.proof(entries[index])),
            )
            for index in sorted(shown)
        }

    def file(self, name: str, content: bytes | str) -> Path:
        """Write a file to be shown."""
        path = self.where / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


@contextlib.contextmanager
def world(where: Path) -> Iterator[World]:
    """Make logs, serve them, and copies with faults."""
    with small(where / "small") as one, large(where / "large") as other, copies.served(where / "copies") as url:
        found = World(where, one, other)
        for name, path, change in _faults(other):
            copies.copy(other.public, where / "copies" / name, path=path, change=change)
            found.faults[name] = f"{url}/{name}"
        yield found


def _faults(log: Served) -> Iterator[tuple[str, str, copies.Change]]:
    size, root = log.size, log.parsed().encode().split("\n")[2].encode()
    yield "intact", "checkpoint", lambda found: found
    yield "tile", tile_path(0, 0), copies.flip(100 * 32)
    yield "partial-tile", tile_path(0, size // FULL, size % FULL), copies.flip()
    yield "upper-tile", tile_path(1, 0, size // FULL), copies.flip()
    yield "bundle", entries_path(1), copies.flip(100)
    yield "partial-bundle", entries_path(size // FULL, size % FULL), copies.flip()
    yield "root", "checkpoint", copies.replace(root, encode_base64(bytes(32)).encode())
