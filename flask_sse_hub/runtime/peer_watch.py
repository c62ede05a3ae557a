"""Which peers have left, told by the kernel instead of by the next write that fails.

Knows sockets and descriptors; not what is written to them. Only Linux has epoll:
elsewhere a peer that left is noticed by the second ping after it.
"""

import functools
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Flag, auto
from typing import Generic, Protocol, TypeVar

from . import sockets

#: The owner of a connection: a client, or a stream.
Owner = TypeVar("Owner")


class HasFileno(Protocol):
    """A connection, as far as the watch has to know it."""

    def fileno(self) -> int:
        """Return the connection's descriptor."""


# Told once for each change. Other systems have neither of the names, nor an epoll.
_LEAVING = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLET", 0)


class Change(Flag):
    """What happened to a connection; nothing of it where it only takes bytes again."""

    #: The peer will send no more. It may have gone, or only have closed its half: a
    #: write tells, since a peer that is gone answers it with a reset.
    HALF_CLOSED = auto()
    #: The connection is over.
    GONE = auto()
    #: The peer has sent something.
    SENT = auto()


class PeerWatch(Generic[Owner]):
    """One epoll for the connections of a process, asked without waiting.

    Under gevent ``changed`` is called as soon as there is something to ask for;
    elsewhere somebody has to ask again and again.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        # Guards the owners. A descriptor is removed here before its server closes it,
        # so under this lock an event can never be taken for another's.
        self._lock = threading.Lock()
        self._owners: dict[int, Owner] = {}
        self._changed = changed
        self._epoll: select.epoll | None = None
        self._watcher: sockets.Watcher | None = None

    @property
    def watched(self) -> bool:
        """Whether ``changed`` is called, so that nobody has to ask."""
        return self._watcher is not None

    def add(self, descriptor: int, owner: Owner, *, reads: bool = False) -> None:
        """Watch somebody's connection; with ``reads`` also for what the peer sends."""
        with self._lock:
            if self._epoll is None:
                self._open()
            if self._epoll is not None and descriptor >= 0:
                self._owners[descriptor] = owner
                # Where the kernel has no room for another one, pings will tell.
                with suppress(OSError):
                    self._epoll.register(descriptor, _events(reads=reads))

    def _open(self) -> None:
        self._epoll = sockets.epoll()
        if self._epoll is not None:
            self._watcher = sockets.watch(self._epoll.fileno(), self._changed)

    def owner(self, connection: HasFileno) -> Owner | None:
        """Return the one whose connection this is, if it is watched."""
        return self._owners.get(connection.fileno())

    def await_room(self, descriptor: int, *, waiting: bool) -> None:
        """Have it told, or no more, when a connection takes bytes again."""
        with self._lock:
            if self._epoll is not None and descriptor in self._owners:
                with suppress(OSError):
                    self._epoll.modify(descriptor, _events(reads=True, room=waiting))

    def remove(self, descriptor: int) -> None:
        """Stop watching a connection; one that is not watched is no error."""
        with self._lock:
            if self._owners.pop(descriptor, None) is not None and self._epoll:
                with suppress(OSError):
                    self._epoll.unregister(descriptor)

    def changes(self) -> Iterator[tuple[Owner, Change]]:
        """Yield what happened since this was last asked."""
        with self._lock:
            events = self._epoll.poll(0) if self._epoll is not None else []
            found = [
                (self._owners[descriptor], flags)
                for descriptor, flags in events
                if descriptor in self._owners
            ]
        for owner, flags in found:
            yield owner, _change(flags)

    def abandon(self) -> list[Owner]:
        """Let go of a parent's epoll in a forked child; return who was watched.

        The epoll is the parent's too: nothing is taken out of it.
        """
        # Whoever held the lock does not exist here.
        self._lock = threading.Lock()
        owners = list(self._owners.values())
        self.close()
        return owners

    def close(self) -> None:
        """Release the epoll. Afterwards nothing is watched."""
        with self._lock:
            self._owners.clear()
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
            if self._epoll is not None:
                self._epoll.close()
                self._epoll = None


def _events(*, reads: bool, room: bool = False) -> int:
    return _LEAVING | reads * select.EPOLLIN | room * select.EPOLLOUT


# Putting flags together takes longer than asking the kernel for them.
@functools.cache
def _change(flags: int) -> Change:
    change = Change(0)
    if flags & (select.EPOLLERR | select.EPOLLHUP):
        change |= Change.GONE
    if flags & select.EPOLLRDHUP:
        change |= Change.HALF_CLOSED
    if flags & select.EPOLLIN:
        change |= Change.SENT
    return change
