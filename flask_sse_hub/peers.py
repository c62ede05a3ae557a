"""Which peers have left, told by the kernel instead of by the next write that fails.

Knows sockets and descriptors; not what is written to them. Only Linux has epoll:
elsewhere a peer that left is noticed by the second ping after it.
"""

import select
import threading
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum

from . import _native
from .client import Client

# Told once for each change, and of nothing that the peer sends. Other systems have
# neither of the names, nor an epoll.
_EVENTS = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLET", 0)


class Change(Enum):
    """What happened to a connection."""

    #: The peer will send no more. It may have gone, or only have closed its half: a
    #: write tells, since a peer that is gone answers it with a reset.
    HALF_CLOSED = "half_closed"
    #: The connection is over.
    GONE = "gone"


class PeerWatch:
    """One epoll for the connections of a process, asked without waiting."""

    def __init__(self) -> None:
        # Guards the clients. A descriptor is removed here before its server closes it,
        # so under this lock an event can never be taken for another client's.
        self._lock = threading.Lock()
        self._clients: dict[int, Client] = {}
        self._epoll: select.epoll | None = None

    def add(self, descriptor: int, client: Client) -> None:
        """Watch a client's connection."""
        with self._lock:
            if self._epoll is None:
                self._epoll = _native.epoll()
            if self._epoll is not None and descriptor >= 0:
                # Where the kernel has no room for another one, pings will tell.
                with suppress(OSError):
                    self._epoll.register(descriptor, _EVENTS)
                    self._clients[descriptor] = client

    def remove(self, descriptor: int) -> None:
        """Stop watching a connection; one that is not watched is no error."""
        with self._lock:
            if self._clients.pop(descriptor, None) is not None and self._epoll:
                with suppress(OSError):
                    self._epoll.unregister(descriptor)

    def changes(self) -> Iterator[tuple[Client, Change]]:
        """Yield what happened since this was last asked."""
        with self._lock:
            events = self._epoll.poll(0) if self._epoll is not None else []
            found = [
                (self._clients[descriptor], flags)
                for descriptor, flags in events
                if descriptor in self._clients
            ]
        for client, flags in found:
            over = flags & (select.EPOLLERR | select.EPOLLHUP)
            yield client, Change.GONE if over else Change.HALF_CLOSED

    def close(self) -> None:
        """Release the epoll. Afterwards nothing is watched."""
        with self._lock:
            self._clients.clear()
            if self._epoll is not None:
                self._epoll.close()
                self._epoll = None
