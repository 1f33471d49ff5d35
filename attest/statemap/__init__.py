"""State maps in memory: what a system's map says, proofs of it, and how it changes from epoch to epoch."""

from attest.statemap.map_store import MapStore
from attest.statemap.row_files import HashedRows
from attest.statemap.snapshot import load_snapshot, write_snapshot
from attest.statemap.statemap import Delta, StateMap
from attest.statemap.workers import parallel

__all__ = ["Delta", "HashedRows", "MapStore", "StateMap", "load_snapshot", "parallel", "write_snapshot"]
