"""The list of a party's entries, in files of 256, for auditors who want no others.

Spec: docs/spec/holder.md#the-list.
"""

import threading
from array import array
from collections import OrderedDict
from typing import Final

from attest.errors import Conflict
from attest.formats.holder import encode_list
from attest.merkle.tiles import FULL
from attest.store.log import LogStore

_KEPT: Final = 64  # parties whose positions are kept in memory, 8 bytes for each entry


class PartyLists:
    """Cuts lists out of the log. For many threads."""

    def __init__(self, log: LogStore) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._positions: OrderedDict[str, array[int]] = OrderedDict()

    def part(self, party: str, count: int, index: int, width: int) -> bytes:
        """Return the first `width` entries of a file of a party's list.

        Args:
            count: how many entries the party has at the newest checkpoint.

        Raises:
            Conflict: `holder-list/unknown`, there are not so many.
        """
        start, end = index * FULL, index * FULL + width
        if end > count:
            raise Conflict("holder-list/unknown", f"{count} entries, the file asked for ends with number {end}")
        with self._lock:
            positions = self._positions.setdefault(party, array("Q"))
            self._positions.move_to_end(party)
            if len(positions) < end:
                positions.extend(self._log.positions_of(party, positions[-1] if positions else -1))
            while len(self._positions) > _KEPT:
                self._positions.popitem(last=False)
            chosen = positions[start:end].tolist()
        entries = self._log.entries_at(chosen)
        return encode_list([(position, entries[position]) for position in chosen])
