"""Starting programs, and ending them again."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.interop.install import Failed


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a program."""

    code: int
    output: bytes
    said: str  # on stderr

    @property
    def text(self) -> str:
        """Its output as text, and what it said."""
        return self.output.decode("utf-8", "replace") + self.said


def run(*command: str | Path | int, stdin: bytes = b"", where: Path | None = None, timeout_s: float = 120) -> Ran:
    """Run a program to its end; code 124 if it does not end."""
    arguments = [str(part) for part in command]
    try:
        done = subprocess.run(arguments, input=stdin, cwd=where, capture_output=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Ran(124, b"", f"nothing within {timeout_s:.0f} s")
    return Ran(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def must(*command: str | Path | int, stdin: bytes = b"", where: Path | None = None) -> Ran:
    """Run a program that has to succeed. Raises `Failed`."""
    done = run(*command, stdin=stdin, where=where)
    if done.code != 0:
        raise Failed(f"{Path(str(command[0])).name} {' '.join(map(str, command[1:4]))}: {done.text.strip()[-2000:]}")
    return done


@contextlib.contextmanager
def running(
    *command: str | Path | int,
    said: Path,
    ready: Callable[[str], bool],
    environment: Mapping[str, str] | None = None,
    where: Path | None = None,
) -> Iterator[None]:
    """Run a program in the background until the block ends.

    Args:
        said: the file for its output and errors.
        ready: asked with the contents of that file until it agrees.
    """
    with said.open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=where,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: process.poll() is not None or ready(said.read_text(errors="replace")), str(command[0]))
        if process.poll() is not None:
            raise Failed(f"{Path(str(command[0])).name} ended: {said.read_text(errors='replace').strip()[-2000:]}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(done: Callable[[], bool], what: str, limit_s: float = 60) -> None:
    """Wait. Raises `Failed` when it takes too long."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: nothing within {limit_s:.0f} s")
        time.sleep(0.05)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Tell whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
