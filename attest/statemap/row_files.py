"""Row files whose hashes are made in batches, like those of state maps, and so by all cores."""

from dataclasses import dataclass

import numpy as np

from attest.crypto.commitment import KEY_FRONT
from attest.encoding import Hash
from attest.formats.rows import ROW, RowFile
from attest.statemap.hashing import framed, hash_rows
from attest.statemap.rows import Bytes, to_bytes_list


@dataclass(frozen=True, slots=True)
class HashedRows(RowFile):
    """A row file that checks itself and finds its map keys faster; otherwise the one it is made from."""

    def root(self) -> Hash:
        """See `RowFile`."""
        level = hash_rows(framed(b"\x00", self._rows()))
        while len(level) > 1:
            parents = hash_rows(framed(b"\x01", level[: len(level) // 2 * 2].reshape(-1, 64)))
            # A node without a sibling moves up as it is.
            level = np.concatenate((parents, level[-1:])) if len(level) % 2 else parents
        root: Hash = level[0].tobytes()
        return root

    def map_keys(self) -> list[Hash]:
        """See `RowFile`."""
        return to_bytes_list(hash_rows(framed(KEY_FRONT, self._rows()[:, :32])))

    def _rows(self) -> Bytes:
        return np.frombuffer(self.encoded, np.uint8).reshape(-1, ROW)
