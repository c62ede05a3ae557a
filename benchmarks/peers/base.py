"""What a server has to offer to be compared, and the life of its processes.

Knows nothing of what is measured, only how to start a server, to publish and to stop.
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

from tests.ports import HOST, free_port
from tests.reader import wait_until

ROOT = Path(__file__).parents[2]

# A server that does nothing for so long is stuck; a publish of a burst takes seconds.
_PATIENCE = 60.0

# CPUCLOCK_SCHED of include/linux/posix-timers_types.h: all threads of a process, those
# that have ended too, to the nanosecond. /proc counts in hundredths of a second.
_SCHED = 2


class PeerDied(Exception):
    """Raised when a server has ended, or did not start."""


class Peer(ABC):
    """One server, listening to this machine only, from entering until leaving it.

    Implementers give the names, the command and, where it is not the usual one, the way
    to publish; ``start`` may begin with others that the server needs.
    """

    #: How it is chosen on the command line.
    name: ClassVar[str]
    #: How it is called in tables.
    label: ClassVar[str]
    #: What its streams are asked from, ``%d`` for the number of a channel.
    path: ClassVar[str] = "/events"
    channel_path: ClassVar[str | None] = None
    #: The most clients that it is asked to serve.
    most_clients: ClassVar[int] = 15_000
    #: What part of the events it gets: slow servers would take hours for all.
    share: ClassVar[float] = 1.0
    #: Whether it sends no head before the first event.
    silent: ClassVar[bool] = False
    #: Whether it answers ordinary requests beside its streams by running an app.
    is_app_server: ClassVar[bool] = False

    def __init__(self) -> None:
        self.port = free_port()
        self._started: list[subprocess.Popen[bytes]] = []
        #: All its processes, as they were once it answered.
        self.tree: list[psutil.Process] = []
        self._connection: http.client.HTTPConnection | None = None
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)

    @classmethod
    @abstractmethod
    def absence(cls) -> str | None:
        """Return why it cannot be run on this machine, None if it can."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the names and versions of what is run; only asked if not absent."""

    @abstractmethod
    def start(self) -> None:
        """Run what is needed; ``run`` sees to its end."""

    def publish(self, data: bytes, *, channel: int | None = None) -> None:
        """Publish one event as the server's users do, and return when it has answered.

        To a channel, or to everybody on the path of all.
        """
        self.publish_burst(data, 1, channel=channel)

    def publish_burst(
        self, data: bytes, count: int, *, channel: int | None = None
    ) -> None:
        """Publish the same many times at once: one request to an app that does so."""
        to = "" if channel is None else f"&channel=c{channel}"
        self.request("POST", f"/publish?count={count}{to}", data)

    def served(self) -> str:
        """Return what the server says about how it serves, to be put into the page."""
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
        """Start a process in the folder; what it says is kept for when it ends."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                env=os.environ | (environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: it can be ended whole, and Ctrl-C is ours alone.
                start_new_session=True,
            )
        self._started.append(process)

    def stop(self) -> None:
        """End all processes, and what they have left; nothing if they are not there."""
        if self._connection is not None:
            self._connection.close()
        for process in reversed(self._started):
            with suppress(ProcessLookupError):
                # Nothing is to be seen of how it ends, and some take half a minute.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_PATIENCE)
        self._started.clear()
        self._folder.cleanup()

    def request(self, method: str, target: str, body: bytes | None = None) -> bytes:
        """Return the answer to a request on the one connection that is kept for these.

        Raises PeerDied when there is none, or one that is no success.
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
        """Return the seconds of CPU that the tree of processes has taken so far.

        Raises PeerDied if any of them has ended, even if another took its place.
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
        """Return the bytes of the tree: private ones, and its part of shared ones."""
        return sum(process.memory_full_info().pss for process in self.tree)

    def last_words(self) -> str:
        """Return the end of what its processes have said."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text[-1000:].strip() or "it said nothing"

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
