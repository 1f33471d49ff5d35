"""Dying at the nth write, before or after it lands."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from attest.config import Config
from attest.node import Node, Policies
from attest.store.blobs import DirectoryBlobs
from attest.store.db import Database, Transaction
from attest.store.keyfiles import LogKeys
from attest.witnessing import Connect
from tests.world import SimulatedClock


class Crash(BaseException):
    """The process dies here. Not an `Exception`: nothing on the way may catch it and go on."""


@dataclass
class Writes:
    """Counts writes, and dies at one of them."""

    nth: int
    when: str  # before or after
    count: int = 0
    dead: bool = False

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        if self.dead:
            raise Crash
        self.count += 1
        if self.count == self.nth and self.when == "before":
            self.dead = True
            raise Crash
        yield
        if self.count == self.nth and self.when == "after":
            self.dead = True
            raise Crash


class CrashingBlobs(DirectoryBlobs):
    def __init__(self, inner: DirectoryBlobs, writes: Writes) -> None:
        super().__init__(inner.root)
        self._writes = writes

    def put(self, files: Sequence[tuple[str, bytes]]) -> None:
        # Several files are several writes: each may be the last.
        for file in files:
            with self._writes.one():
                super().put([file])

    def replace(self, name: str, old: bytes | None, new: bytes) -> None:
        with self._writes.one():
            super().replace(name, old, new)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with self._writes.one():
                super().delete([name])


class CrashingDatabase(Database):
    def __init__(self, url: str, writes: Writes) -> None:
        super().__init__(url)
        self._writes = writes

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        self._writes.count += 1
        dies = self._writes.count == self._writes.nth or self._writes.dead
        with super().write() as transaction:
            yield transaction
            if dies and (self._writes.dead or self._writes.when == "before"):
                self._writes.dead = True
                raise Crash
        if dies:
            self._writes.dead = True
            raise Crash


def crashing_node(
    config: Config, clock: SimulatedClock, writes: Writes, *, files: bool = True, connect: Connect | None = None
) -> Node:
    """Open a node that has caught up, and dies at a later write of its database or, unless told not to, its files."""
    keys = LogKeys.load(config.path(config.keys), None)
    private = config.path(config.private)
    quiet, never = Writes(0, "before"), Writes(0, "before")
    counted = quiet if files else never
    node = Node(
        config,
        keys,
        db=CrashingDatabase(config.database_url(), quiet),
        public=CrashingBlobs(DirectoryBlobs(config.path(config.public)), counted),
        private=CrashingBlobs(DirectoryBlobs(private), counted),
        snapshots=private / "snapshots",
        policies=Policies.load(config),
        clock=clock,
        connect=connect,
    )
    node.step(lead=False)
    quiet.nth, quiet.when, quiet.count = writes.nth, writes.when, 0
    return node
