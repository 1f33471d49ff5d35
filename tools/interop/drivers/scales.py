"""Runs with tlog-scales, in its environment: what its command has no option for.

checkpoint VKEY FILE                verify the signature of this key
consistency VKEY URL FILE...        verify that the log at URL extends each of these checkpoints, by its tiles
"""

import sys
from pathlib import Path

from tlog_scales.backend import make_backend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint


def checkpoint(vkey: str, file: str) -> None:
    """Verify one signature."""
    Checkpoint.from_text(Path(file).read_text()).verify(Vkey.from_string(vkey))


def consistency(vkey: str, url: str, *files: str) -> None:
    """Verify the newest checkpoint, that its tiles have its root, and that it extends earlier ones."""
    key = Vkey.from_string(vkey)
    reader = TilesReader(make_backend(url))
    newest = reader.get_checkpoint()
    newest.verify(key)
    if reader.calculate_root_hash() != newest.root_hash:
        raise SystemExit("the tiles have another root")
    for file in files:
        older = Checkpoint.from_text(Path(file).read_text())
        older.verify(key)
        reader.get_consistency_proof(older.size, newest.size).check(older.root_hash, newest.root_hash)
    print(f"{len(files)} consistent")


{"checkpoint": checkpoint, "consistency": consistency}[sys.argv[1]](*sys.argv[2:])
