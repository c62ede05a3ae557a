"""The places of the WSGI server, and the streams that take them.

A worker serves a bounded number of requests at once: its places. A stream that the
server itself delivers takes one place for as long as it is open. Such streams are all
answers, and the hub's streams that are delivered by a generator. Each process has one
ledger, which counts them. Does not know events or clients.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

from ..runtime.per_process import PerProcess
from .worker import serving_worker

# One place in this many is kept for ordinary requests, and at least one.
_KEPT = 20


class Places(NamedTuple):
    """The number of requests that a server serves at once, and its setting for it."""

    at_once: int
    setting: str

    @property
    def for_streams(self) -> int:
        """How many of the places streams may take."""
        return max(1, self.at_once - max(1, self.at_once // _KEPT))

    def full(self, taken: int) -> str | None:
        """Return why there is no place for another stream, None if there is one."""
        if taken < self.for_streams:
            return None
        return (
            f"streams have taken {self.for_streams} of the {self.at_once} requests that"
            f" this worker serves at once ({self.setting}); the rest is kept for"
            f" ordinary requests. Raise {self.setting} for more streams"
        )


def server_places() -> Places | None:
    """Return the places of this process's server, None if they are unknown."""
    worker = serving_worker()
    found = None if worker is None else worker.places()
    return None if found is None else Places(*found)


class PlaceLedger:
    """Count the streams that have taken a place of the server."""

    def __init__(self, limit: Callable[[], Places | None] = server_places) -> None:
        self._limit = limit
        self._known: Places | None = None
        # Guards the holders. A holder is a stream, or the client of a stream.
        self._lock = threading.Lock()
        self._holders: set[object] = set()

    def __len__(self) -> int:
        """Return how many places are taken."""
        return len(self._holders)

    def take(self, holder: object) -> None:
        """Note that a stream has taken a place. A second call does nothing."""
        with self._lock:
            self._holders.add(holder)

    def give_back(self, holder: object) -> None:
        """Note that a stream has left its place. Does nothing if it has none."""
        with self._lock:
            self._holders.discard(holder)

    def full(self) -> str | None:
        """Return why there is no place for another stream, None if there is one."""
        if self._known is None:
            # Cached: finding the worker takes a while, and its settings do not change.
            self._known = self._limit()
        return None if self._known is None else self._known.full(len(self._holders))


_ledgers = PerProcess(PlaceLedger)


def place_ledger() -> PlaceLedger:
    """Return the ledger of this process."""
    return _ledgers.get()
