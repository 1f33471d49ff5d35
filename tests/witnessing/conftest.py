"""A log with five witnesses, three of which are a quorum."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from attest.formats.policy import Policy, add_witness
from attest.node import Node
from tests.witnessing.stock import StockWitness, connect_to
from tests.world import ORIGIN, Holder, World, descriptor

# Whoever answers is not waited for any longer, so a busy machine may take its time; to wait in vain, say so.
WAIT_S = 10.0
TIMEOUT_S = 3.0


@dataclass
class Watched:
    """A log and its witnesses."""

    world: World
    witnesses: list[StockWitness]
    acme: Holder

    @property
    def node(self) -> Node:
        return self.world.node

    def name(self, chosen: list[StockWitness], *, state: bool = False, quorum: int | None = None) -> None:
        """Let the log ask these witnesses from its next start on."""
        config = self.world.config
        policy = Policy(self.world.policy.logs, (), (), None)
        for witness in chosen:
            policy = add_witness(policy, witness.name, witness.url, [witness.vkey], quorum)
        config.path(config.state_policy if state else config.policy).write_bytes(policy.encode())
        self.world.policy = policy if not state else self.world.policy

    def evidence(self) -> list[Path]:
        return sorted((self.world.config.path(self.world.config.private) / "evidence").glob("*"))

    def say(self, **changes: Any) -> None:
        """Have the company say something, and publish it."""
        self.world.publish(
            self.acme.systems(descriptor(f"s{len(self.acme.seqs)}{self.world.clock.now:.0f}"), **changes)
        )


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with watched_log(tmp_path) as found:
        yield found


@contextlib.contextmanager
def watched_log(
    directory: Path, before: Callable[[list[StockWitness]], None] = lambda _: None, **settings: Any
) -> Iterator[Watched]:
    """Make one; `before` the log asks its witnesses for the first time."""
    chosen = {"witness_wait_s": WAIT_S, "witness_timeout_s": TIMEOUT_S, **settings}
    world = World(directory / "log", **chosen)
    acme = world.holder("acme.example")
    vkey = world.policy.logs[0].verifier.encode()
    witnesses = [StockWitness(f"w{n}.example/w", ORIGIN, vkey, world.clock) for n in range(5)]
    before(witnesses)
    found = Watched(world, witnesses, acme)
    found.name(witnesses)
    world.connect = connect_to(witnesses)
    world.node.stop()
    world.node = world.open()
    try:
        yield found
    finally:
        world.close()
