"""The contract of a server that is compared, and the handling of its processes.

This module starts a server, publishes, and stops the server. It knows nothing of the
measurements.
"""

import http.client
import os
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

import psutil

from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until

ROOT = Path(__file__).parents[2]

# Seconds after which an inactive server counts as stuck; publishing a burst takes some.
_PATIENCE = 60.0

# CPUCLOCK_SCHED of include/linux/posix-timers_types.h counts the nanoseconds of all
# threads of a process, including those that have ended. /proc counts hundredths of a
# second.
_SCHED = 2


class PeerDied(Exception):
    """Raised when a server has ended, or did not start."""


class Peer(ABC):
    """One server that listens on this machine only, within a ``with`` block.

    Implementers provide the names and the command. They override the methods to publish
    if the usual way does not fit. ``start`` may first start other programs that the
    server needs.
    """

    #: Its name on the command line.
    name: ClassVar[str]
    #: Its name in tables.
    label: ClassVar[str]
    #: The path of its streams, with ``%d`` for the number of a channel.
    path: ClassVar[str] = "/events"
    channel_path: ClassVar[str | None] = None
    #: The most clients that it has to serve.
    most_clients: ClassVar[int] = 15_000
    #: The share of the events that it is given: slow servers would take hours for all.
    share: ClassVar[float] = 1.0
    #: Whether it sends no head before the first event.
    silent: ClassVar[bool] = False
    #: Whether it runs an app that also answers ordinary requests.
    is_app_server: ClassVar[bool] = False

    def __init__(self) -> None:
        self.port = free_port()
        self._started: list[subprocess.Popen[bytes]] = []
        #: All its processes at the time of its first answer.
        self.tree: list[psutil.Process] = []
        self._connection: http.client.HTTPConnection | None = None
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)

    @classmethod
    @abstractmethod
    def absence(cls) -> str | None:
        """Return why it cannot run on this machine, or None if it can."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the names and versions of its parts. Not called if it is absent."""

    @abstractmethod
    def start(self) -> None:
        """Start its processes with ``run``, so that they are stopped at the end."""

    def publish(self, data: bytes, *, channel: int | None = None) -> None:
        """Publish one event as the server's users do, and return after the answer.

        The event goes to a channel, or to all clients on ``path``.
        """
        self.publish_burst(data, 1, channel=channel)

    def publish_burst(
        self, data: bytes, count: int, *, channel: int | None = None
    ) -> None:
        """Publish the same event many times by one request to an app."""
        to = "" if channel is None else f"&channel=c{channel}"
        self.request("POST", f"/publish?count={count}{to}", data)

    def served(self) -> str:
        """Return how the server delivers its streams, for the page."""
        return ""

    def __enter__(self) -> Self:
        try:
            self.start()
            wait_until(self._answers, within=_PATIENCE)
        except BaseException:
            self.stop()
            raise
        for process in self._started:
            one = psutil.Process(process.pid)
            self.tree += [one, *one.children(recursive=True)]
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def run(
        self, command: Sequence[str | Path], *, environ: Mapping[str, str] | None = None
    ) -> None:
        """Start a process in the folder; its output is kept for error messages."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                env=os.environ | (environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own process group: all of it can be killed, and Ctrl-C does not
                # reach it.
                start_new_session=True,
            )
        self._started.append(process)

    def stop(self) -> None:
        """End all processes and delete the folder. May be called more than once."""
        if self._connection is not None:
            self._connection.close()
        for process in reversed(self._started):
            with suppress(ProcessLookupError):
                # A graceful end is not measured, and takes some servers half a minute.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_PATIENCE)
        self._started.clear()
        self._folder.cleanup()

    def request(self, method: str, target: str, body: bytes | None = None) -> bytes:
        """Return the answer to a request. All requests share one open connection.

        Raises PeerDied if there is no answer, or if its status is not a success.
        """
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                HOST, self.port, timeout=_PATIENCE
            )
        try:
            self._connection.request(method, target, body)
            response = self._connection.getresponse()
            found = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise PeerDied(f"{self.label}: {error!r}; {self.last_words()}") from error
        if not 200 <= response.status < 300:
            raise PeerDied(f"{self.label}: {target}: {response.status} {found[:200]!r}")
        return found

    def cpu(self) -> float:
        """Return the CPU seconds that the process tree has used so far.

        Raises PeerDied if any process has ended, even if another one replaced it.
        """
        try:
            used = sum(
                time.clock_gettime_ns((~process.pid << 3) | _SCHED) / 1e9
                for process in self.tree
            )
        except OSError as error:
            raise PeerDied(f"{self.label} is not whole: {self.last_words()}") from error
        if any(process.poll() is not None for process in self._started):
            raise PeerDied(f"{self.label} has ended: {self.last_words()}")
        return used

    def memory(self) -> int:
        """Return the PSS of the tree: private bytes, and its part of shared bytes."""
        return sum(process.memory_full_info().pss for process in self.tree)

    def last_words(self) -> str:
        """Return the end of the output of its processes."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text[-1000:].strip() or "it printed nothing"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _answers(self) -> bool:
        for process in self._started:
            if process.poll() is not None:
                raise PeerDied(f"{self.label} does not start: {self.last_words()}")
        try:
            self.request("GET", "/")
        except PeerDied:
            return False
        return True
