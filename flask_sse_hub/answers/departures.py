"""The watch for departures: of the peers of open streams, and of the serving worker.

It serves streams of one request, which belong to no hub. It notifies them; each stream
decides by itself how it ends.
"""

import atexit
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ..runtime import sockets
from ..runtime.bell import Bell, new_bell
from ..runtime.coded_log import CodedLog
from ..runtime.peer_watch import Change, PeerWatch
from ..runtime.per_process import Home, PerProcess, abandon_after_fork
from ..runtime.rare_log import RareLog
from ..runtime.survival import surviving
from ..server.worker import ServerWorker, serving_worker
from .producer import any_running

log = CodedLog(__name__)

# A departure takes two looks: the first sees a peer that closed its half, the second
# sees the reset by which it answered a probe. Both fit into a tenth of a second, also
# where the kernel cannot wake this thread.
_TICK_SECONDS = 0.04

# How often to look where the kernel and the worker's stop wake this thread. A look also
# finds connections that were closed without a word.
_LOOK_SECONDS = 1.0

# Streams are told this long before the end of graceful_timeout, when gunicorn ends the
# worker by force. gunicorn checks only once a second whether its worker is done.
_LAST_SECONDS = 2.0

# The client of a stream that is still open this long after it was told takes no bytes.
# Iterables also have this long to clean up when a process exits.
_PATIENCE_SECONDS = 0.25


class Departing(Protocol):
    """A stream that can be told of departures. No method may block."""

    def probe(self) -> None:
        """Write something: it shows whether the peer left or only closed its half."""

    def peer_left(self) -> None:
        """End the stream, because its connection is over."""

    def worker_leaves(self) -> None:
        """End the stream, and tell the client that the worker is shutting down.

        May be called more than once.
        """

    def cut(self) -> None:
        """Shut the connection down. A write that blocks ends with an error."""


class Watching(Protocol):
    """The watch for departures, for an answer without a connection."""

    def add(self, stream: Departing, connection: None) -> None:
        """Tell an answer when its worker is leaving."""

    def remove(self, stream: Departing) -> None:
        """Tell an answer no longer."""


class Departures:
    """The watch of one process. Its thread runs as long as any stream is open."""

    def __init__(
        self,
        *,
        find_worker: Callable[[], ServerWorker | None] = serving_worker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find_worker = find_worker
        self._clock = clock
        self._home = Home()
        # Guards all fields below.
        self._lock = threading.Lock()
        self._streams: dict[Departing, socket.socket | None] = {}
        self._peers: PeerWatch[Departing] | None = None
        self._leave_at: float | None = None
        self._rare_log = RareLog(log, clock=clock)

    @property
    def worker_is_leaving(self) -> bool:
        """Whether the worker was told to stop. It may still finish its requests."""
        return self._leave_at is not None

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    def add(self, stream: Departing, connection: socket.socket | None) -> None:
        """Watch for departures that concern a stream.

        A stream without a connection is told only that its worker is leaving.
        """
        with self._lock:
            if self._peers is None:
                self._start()
            self._streams[stream] = connection
            if connection is not None and self._peers is not None:
                self._peers.add(connection.fileno(), stream)

    def remove(self, stream: Departing) -> None:
        """Stop watching for a stream. To be called before its connection is closed."""
        with self._lock:
            connection = self._streams.pop(stream, None)
            if connection is not None and self._peers is not None:
                self._peers.remove(connection.fileno())

    def _start(self) -> None:
        abandon_after_fork(self)
        bell = new_bell()
        peers: PeerWatch[Departing] = PeerWatch(bell.ring)
        threading.Thread(
            target=self._run, args=(peers, bell), name="sse-departures", daemon=True
        ).start()
        # Set last: where the system cannot start another thread, start() raises, and
        # the next stream tries again.
        self._peers = peers

    def _run(self, peers: PeerWatch[Departing], bell: Bell) -> None:
        worker = self._find_worker()
        watcher = None if worker is None else worker.on_stop(bell.ring)
        while self._needed():
            is_told = (worker is None or watcher is not None) and peers.watched
            bell.wait(_LOOK_SECONDS if is_told else _TICK_SECONDS)
            # Ending a stream closes an iterable of the app, and its errors are logged
            # by handlers of the app.
            with surviving(self._say_failure):
                self.look(peers, worker)
            if watcher is not None and self.worker_is_leaving:
                # From now on the streams are told by the clock.
                watcher.close()
                watcher = None
        if watcher is not None:
            watcher.close()
        bell.close()

    def _say_failure(self) -> None:
        self._rare_log.exception(
            "SSE-1604", "the watch for departures failed, and goes on"
        )

    def _needed(self) -> bool:
        with self._lock:
            if self._streams and not self._home.left:
                return True
            if self._peers is not None:
                self._peers.close()
                self._peers = None
            return False

    def look(self, peers: PeerWatch[Departing], worker: ServerWorker | None) -> None:
        """Look once at all peers and at the worker, and tell the streams of changes."""
        if self._home.left:
            # A fork copies greenlets too, and the events of this epoll belong to the
            # parent process.
            return
        for stream, change in peers.changes():
            if Change.GONE in change:
                stream.peer_left()
            else:
                stream.probe()
        for stream in self._forgotten():
            stream.peer_left()
            self.remove(stream)
        if worker is not None and not worker.alive:
            self._part_from(worker)

    def _forgotten(self) -> list[Departing]:
        """Return the streams whose connection was closed without a call of close().

        A middleware around the stream may not pass close() on.
        """
        with self._lock:
            return [
                stream
                for stream, connection in self._streams.items()
                if connection is not None and connection.fileno() < 0
            ]

    def _part_from(self, worker: ServerWorker) -> None:
        now = self._clock()
        if self._leave_at is None:
            self._leave_at = now + max(0.0, worker.grace - _LAST_SECONDS)
        if now < self._leave_at:
            return
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.worker_leaves()
            if now >= self._leave_at + _PATIENCE_SECONDS:
                stream.cut()

    def say_farewell(self) -> None:
        """End all streams, and wait briefly until they and their iterables are done.

        Runs when the process exits. Iterables of streams that ended earlier may still
        clean up, and are waited for too. It is needed because gunicorn stops a worker
        at once after QUIT and INT, as other servers do after Ctrl-C.
        """
        if self._home.left:
            return
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.worker_leaves()
        until = self._clock() + _PATIENCE_SECONDS
        while (self._streams or any_running()) and self._clock() < until:
            time.sleep(_TICK_SECONDS)

    def abandon(self) -> None:
        """Release the parent's watch and connections in a forked child."""
        if self._peers is not None:
            self._peers.abandon()
        for connection in self._streams.values():
            if connection is not None:
                sockets.disown(connection.fileno())
        self._streams.clear()


def _new_watch() -> Departures:
    watch = Departures()
    atexit.register(watch.say_farewell)
    return watch


_watches = PerProcess(_new_watch)


def departures() -> Departures:
    """Return the watch of this process. A forked child creates its own."""
    return _watches.get()
