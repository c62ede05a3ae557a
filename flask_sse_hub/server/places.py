"""The places of the WSGI server, and the streams that take them.

A worker serves a bounded number of requests at once: its places. A stream that the
server itself delivers takes one place for as long as it is open. Such streams are all
answers, and the hub's streams that are delivered by a generator. Each process has one
ledger, which counts them. Does not know events or clients.

Every stream takes a descriptor too, also one whose socket was taken over. At the limit
of open files a worker accepts nothing any more, and only the server's own log says so.
"""

import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from ..runtime.per_process import PerProcess
from .surroundings import KEPT, Places, server_places

log = logging.getLogger(__name__)

# Of the descriptors, at least this many: for requests, the log, the broker, the app's
# database and its libraries.
_KEPT_FILES = 100

# The descriptors of connections that are no streams: as many requests as gunicorn's
# gevent worker serves at once by default.
_REQUESTS = 1000


def open_files() -> int | None:
    """Return how many files this process may open, None if there is no limit."""
    try:
        import resource
    except ImportError:
        # Windows has no such limit.
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def make_room(streams: int) -> None:
    """Raise this process's limit of open files for some streams, where it may be.

    The usual soft limit is 1,024. A process may raise it up to its hard limit.
    """
    soft = open_files()
    wanted = streams + streams // 10 + _REQUESTS
    if soft is None or soft >= wanted:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if raised <= soft:
        return
    # Some systems have a limit below the one that they name.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        log.info("the limit of open files was raised from %d to %d", soft, raised)


def _files_for_streams(most: int) -> int:
    return max(1, most - max(_KEPT_FILES, most // KEPT))


class HasSockets(Protocol):
    """A part that keeps the sockets of streams open."""

    @property
    def sockets(self) -> int:
        """The number of sockets that take no place of the server."""


class PlaceLedger:
    """Count the streams that have taken a place of the server, or a descriptor."""

    def __init__(
        self,
        limit: Callable[[], Places | None] = server_places,
        *,
        files: Callable[[], int | None] = open_files,
    ) -> None:
        self._limit = limit
        self._files = files
        self._known: Places | None = None
        # The hubs of this process, which may be closed and forgotten.
        self._hubs: weakref.WeakSet[HasSockets] = weakref.WeakSet()
        # Guards the hubs and the holders. A holder is a stream, or the client of one;
        # its value tells whether it is the stream of one request.
        self._lock = threading.Lock()
        self._holders: dict[object, bool] = {}

    def __len__(self) -> int:
        """Return how many places are taken."""
        return len(self._holders)

    @property
    def answers(self) -> int:
        """How many places are taken by streams of one request."""
        with self._lock:
            return sum(self._holders.values())

    def take(self, holder: object, *, is_answer: bool = False) -> None:
        """Note that a stream has taken a place. A second call does nothing."""
        with self._lock:
            self._holders[holder] = is_answer

    def give_back(self, holder: object) -> None:
        """Note that a stream has left its place. Does nothing if it has none."""
        with self._lock:
            self._holders.pop(holder, None)

    def full(self) -> str | None:
        """Return why there is no place for another stream, None if there is one."""
        if self._known is None:
            # Cached: finding the worker takes a while, and its settings do not change.
            self._known = self._limit()
        why = None if self._known is None else self._known.full(len(self._holders))
        return why or self._out_of_files()

    def count_sockets_of(self, hub: HasSockets) -> None:
        """Count the sockets of a hub among the descriptors that streams take."""
        with self._lock:
            self._hubs.add(hub)

    def _out_of_files(self) -> str | None:
        most = self._files()
        if most is None:
            return None
        with self._lock:
            taken = len(self._holders) + sum(hub.sockets for hub in self._hubs)
        if taken < _files_for_streams(most):
            return None
        return (
            f"streams have taken {taken} of the {most} files that this worker may open"
            " (RLIMIT_NOFILE); the rest is kept for requests, the log and the broker."
            " Raise the limit (ulimit -n, or systemd's LimitNOFILE) for more streams"
        )


_ledgers = PerProcess(PlaceLedger)


def place_ledger() -> PlaceLedger:
    """Return the ledger of this process."""
    return _ledgers.get()
