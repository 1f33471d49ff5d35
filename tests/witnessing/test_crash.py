"""The log dies between its witnesses and its readers."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from attest.formats.checkpoint import SignedCheckpoint
from attest.node import Node
from tests.service.crashing import Crash, Writes, crashing_node
from tests.witnessing.conftest import Watched, watched_log
from tests.witnessing.stock import connect_to
from tests.witnessing.test_client import eventually
from tests.world import check, descriptor


@pytest.mark.parametrize("unwitnessed", ["publish", "hold"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_write_forks_nothing(tmp_path: Path, when: str, unwitnessed: str) -> None:
    """Witnesses may have cosigned what nobody has seen; after a restart that is what is published."""
    with watched_log(tmp_path / "origin", unwitnessed=unwitnessed) as watched:
        watched.say()
        statement = watched.acme.systems(descriptor("db"))
        watched.world.submit(statement)
        watched.node.stop()
        for nth in itertools.count(1):
            if not _dies(watched, tmp_path / f"copy{nth}", Writes(nth, when)):
                break
    assert nth > 8


def _dies(watched: Watched, place: Path, writes: Writes) -> bool:
    """Let a copy of the log and its witnesses die at a write, start it again, and check everything."""
    shutil.copytree(watched.world.directory, place)
    config = replace(watched.world.config, directory=place)
    clock = replace(watched.world.clock, now=watched.world.clock.now + 60)
    witnesses = [
        replace(each, clock=clock, asked=[], key=each.key, size=each.size, root=each.root) for each in watched.witnesses
    ]
    connect = connect_to(witnesses)
    node = crashing_node(config, clock, writes, connect=connect)
    died = False
    try:
        node.step()
    except Crash:
        died = True
    node.close()
    check(config, settled=False)
    clock.advance(60)
    node = Node.open(config, clock=clock, connect=connect)

    def complete() -> bool:
        node.step()
        signed = SignedCheckpoint.parse((config.path(config.public) / "checkpoint").read_bytes())
        return len(watched.world.policy.check(signed).witnesses) == len(witnesses)

    eventually(complete)
    assert {each.size for each in witnesses} == {node.view.size}
    assert not list((config.path(config.private) / "evidence").glob("*"))
    node.close()
    check(config)
    return died
