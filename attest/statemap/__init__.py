"""State maps in memory: what a system's map says, proofs of it, and how it changes from epoch to epoch."""

from attest.statemap.parallel import parallel
from attest.statemap.snapshot import load_snapshot, write_snapshot
from attest.statemap.statemap import Delta, StateMap

__all__ = ["Delta", "StateMap", "load_snapshot", "parallel", "write_snapshot"]
