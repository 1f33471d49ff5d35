"""Where events go: a file of JSON lines, a command, a webhook. In order, and each until it is acknowledged.

Spec: docs/spec/audit.md#delivery.
"""

import contextlib
import fcntl
import ipaddress
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import httpx

from attest import __version__
from attest.errors import Malformed, Unavailable
from attest.store.audited import Stored

COMMAND_S: Final = 60.0
WEBHOOK_S: Final = 30.0
_SILENT_S: Final = 10.0  # how long a webhook may send nothing
_MAX_ANSWER: Final = 64 << 10  # bytes of a webhook's answer; nothing in it is used
ID: Final = "ATTEST_EVENT_ID"


class Target(Protocol):
    """Takes events."""

    most: int  # events that are sent at a time

    def send(self, events: Sequence[Stored]) -> None:
        """Deliver events; they were delivered if this returns, and some may have been if it does not.

        Raises:
            Unavailable: `monitor/undelivered`.
        """


class Lines:
    """A file with one event a line, which only this monitor writes."""

    most = 256

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, events: Sequence[Stored]) -> None:
        """See `Target`. A line that is there already, after a crash, is not written again."""
        lines = [each.event.encode("ascii") + b"\n" for each in events]
        try:
            with self._path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                written = self._written(file.fileno(), lines)
                file.write(b"".join(line for line in lines if line not in written))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable("monitor/undelivered", f"the file cannot be written: {error.strerror}") from None

    def _written(self, file: int, lines: Sequence[bytes]) -> set[bytes]:
        """Return the lines that end the file; cut off one that was only begun."""
        size = os.fstat(file).st_size
        # Whatever of these events was written was written last.
        start = max(0, size - sum(map(len, lines)) - 1)
        tail = os.pread(file, size - start, start)
        whole, begun = tail[: tail.rfind(b"\n") + 1], tail[tail.rfind(b"\n") + 1 :]
        if begun:
            if not any(line.startswith(begun) for line in lines):
                raise Unavailable(
                    "monitor/undelivered",
                    "the file does not end with a line of this monitor",
                    hint="name a file of its own",
                )
            os.ftruncate(file, size - len(begun))
        return {line + b"\n" for line in whole.split(b"\n")}


class Command:
    """A program that is started for every event, with the event on its stdin. No shell."""

    most = 1

    def __init__(self, command: str, timeout_s: float = COMMAND_S) -> None:
        """Prepare. Raises `Malformed`: `monitor/command`."""
        try:
            self._command = shlex.split(command)
        except ValueError:
            self._command = []
        if not self._command:
            raise Malformed("monitor/command", "want a program and its arguments, quoted as in a shell")
        self._timeout_s = timeout_s

    def send(self, events: Sequence[Stored]) -> None:
        """See `Target`: exit code 0 acknowledges."""
        for each in events:
            self._run(each)

    def _run(self, event: Stored) -> None:
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env={**os.environ, ID: event.id},
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable("monitor/undelivered", f"the command cannot be started: {error.strerror}") from None
        with process:
            try:
                process.communicate(event.event.encode("ascii") + b"\n", timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                # All that it has started.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise Unavailable(
                    "monitor/undelivered", f"the command took longer than {self._timeout_s:.0f} s"
                ) from None
        if process.returncode:
            raise Unavailable("monitor/undelivered", f"the command ended with {process.returncode}")


class Webhook:
    """An HTTP address that events are posted to. It may have a secret in it, and is never named."""

    most = 1

    def __init__(
        self,
        url: str,
        *,
        anywhere: bool = False,
        transport: httpx.BaseTransport | None = None,
        timeout_s: float = WEBHOOK_S,
    ) -> None:
        """Prepare.

        Args:
            anywhere: allow plain HTTP to other machines.
            timeout_s: how long one delivery may take, however steadily the answer drips.

        Raises:
            Malformed: `monitor/webhook`.
        """
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL:
            raise Malformed("monitor/webhook", "not a URL") from None
        plain = self._url.scheme == "http" and (anywhere or _is_loopback(self._url.host))
        if not self._url.host or not (plain or self._url.scheme == "https"):
            raise Malformed("monitor/webhook", "want https://…, or http://… to this machine")
        self._transport = transport
        self._timeout_s = timeout_s

    def send(self, events: Sequence[Stored]) -> None:
        """See `Target`: any 2xx acknowledges."""
        for each in events:
            self._post(each)

    def _post(self, event: Stored) -> None:
        client = httpx.Client(
            transport=self._transport, timeout=min(_SILENT_S, self._timeout_s), follow_redirects=False, trust_env=False
        )
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": event.id,
            "Accept-Encoding": "identity",
            "User-Agent": f"attest/{__version__}",
        }
        late = threading.Timer(self._timeout_s, client.close)
        late.daemon = True
        late.start()
        try:
            with client.stream("POST", self._url, content=event.event.encode("ascii"), headers=headers) as response:
                status, length = response.status_code, 0
                for chunk in response.iter_raw():
                    length += len(chunk)
                    if length > _MAX_ANSWER:
                        break  # what it says does not matter, that it took the event does
        except (httpx.HTTPError, httpx.StreamError, OSError, RuntimeError) as error:
            # The text of the error may have the address in it.
            raise Unavailable("monitor/undelivered", f"the webhook does not answer: {type(error).__name__}") from None
        finally:
            late.cancel()
            client.close()
        if not 200 <= status < 300:
            raise Unavailable("monitor/undelivered", f"the webhook answered with status {status}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
