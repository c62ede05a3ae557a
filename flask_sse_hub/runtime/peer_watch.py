"""A watch for peers that leave: the kernel reports them before a write fails.

Knows descriptors and epoll. Does not know what is written to a connection. Only Linux
has epoll: on other systems the second ping after a peer has left finds out.
"""

import functools
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Flag, auto
from typing import Generic, Protocol, TypeVar

from . import sockets
from .greenlets import Watcher

#: The owner of a connection: a client, or a stream.
Owner = TypeVar("Owner")


class HasFileno(Protocol):
    """The part of a connection that the watch needs."""

    def fileno(self) -> int:
        """Return the connection's descriptor."""


# Edge-triggered: epoll reports each change once. Systems without epoll have neither of
# the two names.
_LEAVING = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLET", 0)


class Change(Flag):
    """The change of a connection. No flag is set if it only takes bytes again."""

    #: The peer will send no more bytes. It may be gone, or may have closed only its own
    #: half. A write finds out: a peer that is gone answers it with a reset.
    HALF_CLOSED = auto()
    #: The connection is over.
    GONE = auto()
    #: The peer has sent bytes.
    SENT = auto()


class PeerWatch(Generic[Owner]):
    """One epoll for the connections of a process, polled without waiting.

    Under gevent, ``changed`` is called as soon as ``changes()`` has a result. Without
    gevent, the owner of the watch must call ``changes()`` regularly.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        # Guards the owners. A descriptor is removed here before its server closes it.
        # Under this lock, an event therefore never reaches the owner of another
        # connection that has been given the same descriptor.
        self._lock = threading.Lock()
        # The owners, by descriptor. A dict would take 70 bytes for each, with its key.
        self._owners: list[Owner | None] = []
        self._changed = changed
        self._epoll: select.epoll | None = None
        self._watcher: Watcher | None = None

    @property
    def watched(self) -> bool:
        """Whether ``changed`` is called, so that no polling is needed."""
        return self._watcher is not None

    def add(self, descriptor: int, owner: Owner, *, reads: bool = False) -> None:
        """Watch an owner's connection; with ``reads``, also for bytes from the peer."""
        with self._lock:
            if self._epoll is None:
                self._open()
            if self._epoll is not None and descriptor >= 0:
                self._owners += [None] * (descriptor + 1 - len(self._owners))
                self._owners[descriptor] = owner
                # The kernel may refuse another descriptor. Pings then find out that the
                # peer has left.
                with suppress(OSError):
                    self._epoll.register(descriptor, _events(reads=reads))

    def _open(self) -> None:
        self._epoll = sockets.epoll()
        if self._epoll is not None:
            self._watcher = sockets.watch(self._epoll.fileno(), self._changed)

    def owner(self, connection: HasFileno) -> Owner | None:
        """Return the owner of a connection, None if it is not watched."""
        return self._owner_of(connection.fileno())

    def _owner_of(self, descriptor: int) -> Owner | None:
        # The descriptor of a closed socket is -1.
        known = 0 <= descriptor < len(self._owners)
        return self._owners[descriptor] if known else None

    def await_room(self, descriptor: int, *, waiting: bool) -> None:
        """Report, or no longer report, that a connection takes bytes again."""
        with self._lock:
            if self._epoll is not None and self._owner_of(descriptor) is not None:
                with suppress(OSError):
                    self._epoll.modify(descriptor, _events(reads=True, room=waiting))

    def remove(self, descriptor: int) -> None:
        """Stop watching a connection. Does nothing if it is not watched."""
        with self._lock:
            if self._epoll is not None and self._owner_of(descriptor) is not None:
                self._owners[descriptor] = None
                with suppress(OSError):
                    self._epoll.unregister(descriptor)

    def changes(self) -> Iterator[tuple[Owner, Change]]:
        """Yield the changes since the last call, each with its connection's owner."""
        with self._lock:
            events = self._epoll.poll(0) if self._epoll is not None else []
            found = [
                (owner, flags)
                for descriptor, flags in events
                if (owner := self._owner_of(descriptor)) is not None
            ]
        for owner, flags in found:
            yield owner, _change(flags)

    def abandon(self) -> list[Owner]:
        """Release the parent's epoll in a forked child; return the owners watched.

        The parent shares the epoll, so no descriptor is removed from it.
        """
        # A thread that held the lock does not exist in the child and cannot release it.
        self._lock = threading.Lock()
        owners = [each for each in self._owners if each is not None]
        self.close()
        return owners

    def close(self) -> None:
        """Release the epoll. Afterwards no connection is watched."""
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


# Cached: combining flags takes longer than getting them from the kernel.
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
