"""The row files of one epoch, kept by whoever vouches for them."""

from collections.abc import Sequence

from attest.encoding import Hash
from attest.errors import Malformed, Unavailable
from attest.formats.rows import ROW, RowFile
from attest.formats.statement import Hold, Statement, Tombstone
from attest.served import Asked
from attest.store.blobs import Blobs


def rows_name(root: Hash) -> str:
    """Name a row file in our store."""
    return f"rows/{root.hex()}"


class RowFiles:
    """The row files of one epoch: from our store, or from the log, and then kept."""

    def __init__(self, log: Asked, blobs: Blobs, entries: Sequence[bytes], most: int) -> None:
        """Look at what the entries name. Raises `Unavailable`: `witness/limit`, more than `most` rows."""
        self._log = log
        self._blobs = blobs
        self._fetched: dict[Hash, bytes] = {}
        self._stored: set[Hash] = set()
        self._counts: dict[Hash, int] = {}
        for entry in entries:
            try:
                payload = Statement.parse(entry).payload
            except Malformed:
                continue  # the rules say so, at its place
            if isinstance(payload, Hold | Tombstone):
                self._counts[payload.root] = max(payload.count, self._counts.get(payload.root, 0))
        self.row_count = sum(self._counts.values())
        if self.row_count > most:
            raise Unavailable("witness/limit", f"an epoch of {self.row_count} rows, at most {most} are checked here")

    def get(self, root: Hash) -> bytes:
        """Return a row file. Nobody has checked that it is the right one: the rules do."""
        found = self._fetched.get(root)
        if found is None:
            found = self._blobs.get(rows_name(root))
            if found is not None:
                self._stored.add(root)
                return found
            self._blobs.check_space()
            found = self._fetched[root] = self._log.rows(root, self._counts[root] * ROW)
        return found

    def keep(self) -> None:
        """Store durably what the rules have accepted."""
        self._blobs.put([(rows_name(root), encoded) for root, encoded in self._fetched.items()])

    def read(self) -> dict[Hash, bytes]:
        """Return those that were read so far."""
        stored = {root: self._blobs.get(rows_name(root)) for root in self._stored}
        return {**{root: found for root, found in stored.items() if found is not None}, **self._fetched}

    def check_stored(self) -> None:
        """Check that it is the log's row files that are wrong, and not our copies.

        Raises:
            Unavailable: `store/damaged`. To refute a log for our own fault would be a lie.
        """
        for root in self._stored:
            try:
                found = RowFile.parse(self._blobs.get(rows_name(root)) or b"").root()
            except Malformed:
                found = None
            if found != root:
                self._blobs.delete([rows_name(root)])
                raise Unavailable("store/damaged", f"our copy of row file {root.hex()} is damaged; it is fetched again")
