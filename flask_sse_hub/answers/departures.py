"""Who goes away while streams are open: their peers, and the worker that serves them.

For streams of one request, which belong to no hub. Tells them; how a stream ends is its
own matter.
"""

import atexit
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ..runtime.bell import Bell, new_bell
from ..runtime.peer_watch import Change, PeerWatch
from ..runtime.per_process import PerProcess
from ..server.worker import ServerWorker, serving_worker
from .producer import any_running

# A peer that left is told of twice: it has closed its half, and it answered a write by
# a reset. Both are to come within a tenth of a second, where nothing tells at once.
_TICK_SECONDS = 0.04

# gunicorn looks once a second whether its worker is done, and kills it at the end of
# graceful_timeout: so much before that streams are told.
_LAST_SECONDS = 2.0

# A stream that was told and is still here has a client that takes nothing. So long may
# iterables clean up when a process exits.
_PATIENCE_SECONDS = 0.25


class Departing(Protocol):
    """A stream, as it is told of departures. Nothing of this may wait."""

    def probe(self) -> None:
        """Write something: the peer has left, or has only closed its half."""

    def peer_left(self) -> None:
        """End: the connection is over."""

    def worker_leaves(self) -> None:
        """Say that the worker goes away, and end; more than once is no error."""

    def cut(self) -> None:
        """Shut the connection down, which ends a write that blocks."""


class Departures:
    """One watch for the streams of a process; its thread runs while there are any."""

    def __init__(
        self,
        *,
        find_worker: Callable[[], ServerWorker | None] = serving_worker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find_worker = find_worker
        self._clock = clock
        self._pid = os.getpid()
        # Guards all below.
        self._lock = threading.Lock()
        self._streams: dict[Departing, socket.socket | None] = {}
        self._peers: PeerWatch[Departing] | None = None
        self._leave_at: float | None = None

    @property
    def worker_is_leaving(self) -> bool:
        """Whether the worker has been told to go; it may still finish what it does."""
        return self._leave_at is not None

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    def add(self, stream: Departing, connection: socket.socket | None) -> None:
        """Tell a stream of departures from now on.

        Without its connection, it is told only of its worker's.
        """
        with self._lock:
            if self._peers is None:
                self._start()
            self._streams[stream] = connection
            if connection is not None and self._peers is not None:
                self._peers.add(connection.fileno(), stream)

    def remove(self, stream: Departing) -> None:
        """Tell it nothing more, before its server closes the connection."""
        with self._lock:
            connection = self._streams.pop(stream, None)
            if connection is not None and self._peers is not None:
                self._peers.remove(connection.fileno())

    def _start(self) -> None:
        bell = new_bell()
        peers: PeerWatch[Departing] = PeerWatch(bell.ring)
        threading.Thread(
            target=self._run, args=(peers, bell), name="sse-departures", daemon=True
        ).start()
        # Not before: where the system has no room for a thread, the next stream tries.
        self._peers = peers

    def _run(self, peers: PeerWatch[Departing], bell: Bell) -> None:
        worker = self._find_worker()
        while self._needed():
            bell.wait(_TICK_SECONDS)
            self.look(peers, worker)
        bell.close()

    def _needed(self) -> bool:
        with self._lock:
            if self._streams and self._pid == os.getpid():
                return True
            if self._peers is not None:
                self._peers.close()
                self._peers = None
            return False

    def look(self, peers: PeerWatch[Departing], worker: ServerWorker | None) -> None:
        """Tell each stream what has become of its peer and worker."""
        if self._pid != os.getpid():
            # A fork copies greenlets too. What the epoll tells is for the parent.
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
        """Return those whose server closed the connection, and not the stream.

        A middleware between them may not pass close() on.
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
        """End all streams and wait a moment for that: the last that a process does.

        Also for what their iterables clean up, and those of streams that have ended.

        gunicorn ends a worker at once after QUIT and INT, and others at a Ctrl-C.
        """
        if self._pid != os.getpid():
            return
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.worker_leaves()
        until = self._clock() + _PATIENCE_SECONDS
        while (self._streams or any_running()) and self._clock() < until:
            time.sleep(_TICK_SECONDS)

    def abandon(self) -> None:
        """Let go of a parent's watch in a forked child."""
        if self._peers is not None:
            self._peers.abandon()


def _new_watch() -> Departures:
    watch = Departures()
    atexit.register(watch.say_farewell)
    return watch


_watches = PerProcess(_new_watch, abandon=Departures.abandon)


def departures() -> Departures:
    """Return the watch of this process; a forked child makes one of its own."""
    return _watches.get()
