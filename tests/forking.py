"""A process that has all of `attest` imported, and becomes each command that a guide starts by forking.

A command is a process of its own all the same, in the caller's folder and environment and with its files, and the
caller's `attest` ends as it ends; only the second of imports is spent once. `with forking(folder) as path:` gives a
directory for PATH.
"""

import contextlib
import gc
import importlib
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# What commands import when they need it.
LATE = ["alembic.command", "httpcore", "attest.audit.population", "attest.holder.sdk", "scipy.stats"]

# Isolated and without site: it is ready in 20 ms.
CLIENT = """#!{python} -IS
import marshal, os, signal, socket, sys

server = socket.socket(socket.AF_UNIX)
server.connect({place!r})
asked = marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))
socket.send_fds(server, [len(asked).to_bytes(8, "big")], [0, 1, 2])
server.sendall(asked)
pid = int.from_bytes(server.recv(8), "big")
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: os.kill(pid, number))
said = server.recv(2)
assert said, "the command was lost"
code = int.from_bytes(said, "big", signed=True)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextlib.contextmanager
def forking(folder: Path) -> Iterator[Path]:
    """Run such a process; give the directory in which there is an `attest` that asks it."""
    place = str(folder / "socket")
    program = folder / "attest"
    program.write_text(CLIENT.format(python=sys.executable, place=place))
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)  # callers may come before it is ready
        listening.listen(64)
        # More threads would be lost in a fork.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.forking", str(listening.fileno())]
        root = Path(__file__).parent.parent
        server = subprocess.Popen(
            command, cwd=root, env=environment, pass_fds=[listening.fileno()], stdin=subprocess.PIPE
        )
    with server:  # which closes its standard input in the end
        yield folder


def serve(listening: socket.socket) -> None:
    """Fork for each caller, until standard input ends, as it does when the tests' process does.

    Returns only in a process that is to be a command, with its arguments in `sys.argv`.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    while listening in select.select([listening, 0], [], [])[0]:
        caller, _ = listening.accept()
        if os.fork():
            caller.close()
            continue
        listening.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asked, files, _, _ = socket.recv_fds(caller, 8, 3)
        left, parts = int.from_bytes(asked, "big"), []
        while left:
            parts.append(caller.recv(left))
            left -= len(parts[-1])
        pid = os.fork()
        if pid:
            for file in (0, 1, 2, *files):
                os.close(file)  # whoever reads what the command writes waits for the last writer
            caller.sendall(pid.to_bytes(8, "big"))
            _, status = os.waitpid(pid, 0)
            with contextlib.suppress(BrokenPipeError):
                caller.sendall(os.waitstatus_to_exitcode(status).to_bytes(2, "big", signed=True))
            os._exit(0)
        caller.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        arguments, folder, environment = marshal.loads(b"".join(parts))
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["attest", *arguments]
        return
    sys.exit()


def main() -> None:
    """Import everything, then serve."""
    from attest.cli import COMMANDS
    from attest.cli import main as command

    listening = socket.socket(fileno=int(sys.argv[1]))
    for name in (*(module for module, *_ in COMMANDS.values()), *LATE):
        importlib.import_module(name)
    # Else each command would go through all of it once more, when it ends, and copy every page on the way.
    gc.collect()
    gc.freeze()
    serve(listening)
    command()


if __name__ == "__main__":
    main()
