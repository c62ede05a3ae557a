"""The places of the server around us, and the streams that take them.

A worker serves a bounded number of requests at once. Each stream that the server itself
delivers takes one of these places for as long as it is open: a hub's stream by
generator, and every answer. One ledger for each process counts them all.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

from ..runtime.per_process import PerProcess
from .worker import serving_worker

# The part of a server's places that streams leave to ordinary requests.
_KEPT = 20


class Places(NamedTuple):
    """How many requests a server serves at once, and the setting that says so."""

    at_once: int
    setting: str

    @property
    def for_streams(self) -> int:
        """How many of the places streams may take."""
        return max(1, self.at_once - max(1, self.at_once // _KEPT))

    def full(self, taken: int) -> str | None:
        """Return why another stream finds no place, None if it finds one."""
        if taken < self.for_streams:
            return None
        return (
            f"streams have taken {self.for_streams} of the {self.at_once} requests that"
            f" this worker serves at once ({self.setting}); the rest is kept for"
            " ordinary requests"
        )


def server_places() -> Places | None:
    """Return the places of the server of this process, None where they are unknown."""
    worker = serving_worker()
    found = None if worker is None else worker.places()
    return None if found is None else Places(*found)


class PlaceLedger:
    """Count the streams that have taken a place of the server."""

    def __init__(self, limit: Callable[[], Places | None] = server_places) -> None:
        self._limit = limit
        self._known: Places | None = None
        # Guards the holders: each is a stream, or the client of one.
        self._lock = threading.Lock()
        self._holders: set[object] = set()

    def __len__(self) -> int:
        """Return how many places are taken."""
        return len(self._holders)

    def take(self, holder: object) -> None:
        """Note that a stream has taken a place. Twice is once."""
        with self._lock:
            self._holders.add(holder)

    def give_back(self, holder: object) -> None:
        """Note that a stream has left its place. A stream without one is no error."""
        with self._lock:
            self._holders.discard(holder)

    def full(self) -> str | None:
        """Return why another stream finds no place, None if it finds one."""
        if self._known is None:
            # A worker's settings do not change, and finding it takes a while.
            self._known = self._limit()
        return None if self._known is None else self._known.full(len(self._holders))


_ledgers = PerProcess(PlaceLedger)


def place_ledger() -> PlaceLedger:
    """Return the ledger of this process."""
    return _ledgers.get()
