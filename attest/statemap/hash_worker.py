"""A process that hashes for another: a script that `attest.statemap.workers` runs with the standard library alone.

Arguments: file descriptors of the arena, of the pipe of tickets and of the pipe for answers, and the arena's layout.
It ends when the other end of the tickets is closed, so with its parent, however that ends.
"""

import mmap
import os
import select
import signal
import struct
import sys
from hashlib import sha256

TICKET = struct.Struct("<III")  # first row, row behind the last, width of a row in bytes
ANSWER = struct.Struct("<I")  # first row of the ticket that is done


def hash_range(arena: mmap.mmap, outputs: int, start: int, stop: int, width: int) -> None:
    """Hash rows `start` to `stop`, which lie from 0 on in the arena; their digests lie from `outputs` on."""
    rows = struct.iter_unpack(f"{width}s", arena[start * width : stop * width])
    arena[outputs + 32 * start : outputs + 32 * stop] = b"".join([sha256(row).digest() for (row,) in rows])


def take_ticket(tickets: int) -> bytes | None:
    """Take the next ticket; None if there is none now, empty once there will be no more."""
    try:
        return os.read(tickets, TICKET.size)
    except BlockingIOError:
        return None


def main(arena_file: int, tickets: int, answers: int, size: int, outputs: int) -> None:
    """Work until there are no more tickets."""
    # Ctrl-C reaches the whole foreground group; when to stop is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    arena = mmap.mmap(arena_file, size)
    while True:
        select.select([tickets], [], [])
        # Another worker may have been quicker.
        if (ticket := take_ticket(tickets)) is None:
            continue
        if not ticket:
            return
        start, stop, width = TICKET.unpack(ticket)
        hash_range(arena, outputs, start, stop, width)
        try:
            os.write(answers, ANSWER.pack(start))
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
