"""Sockets as the operating system has them, whatever is patched or wrapped around them.

For what must not wait, and what has to reach below gevent's sockets and TLS. Nothing
here waits, and nothing knows what the bytes are.
"""

import _socket
import os
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, Self

from . import greenlets, native


def shutdown(descriptor: int, how: int = socket.SHUT_RDWR) -> None:
    """Shut a socket down by its descriptor, whatever wraps it, TLS and gevent included.

    Works on a copy of the descriptor, and so on the connection itself. A connection
    that is already gone is no error.
    """
    try:
        copy = _socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return
    try:
        copy.shutdown(how)
    except OSError:
        return
    finally:
        copy.close()


class Socket(_socket.socket):
    """A socket as the operating system has it, whatever is patched.

    Closing it never waits for greenlets. Sending and receiving never wait either, if
    the descriptor does not block.
    """

    __slots__ = ()

    @classmethod
    def duplicate(cls, connection: socket.socket) -> Self:
        """Return a second socket for a connection; it never waits. Raises OSError."""
        copy = cls(
            connection.family, connection.type, 0, fileno=os.dup(connection.fileno())
        )
        # An app may have given all sockets a timeout: this one would wait as long, and
        # with it the whole process.
        copy.setblocking(False)
        return copy


class Watcher(Protocol):
    """Calls somebody when a descriptor becomes readable."""

    def close(self) -> None:
        """Stop it."""


def watch(descriptor: int, readable: Callable[[], None]) -> Watcher | None:
    """Have gevent's loop call a function, which must not wait; None without gevent.

    It is called again and again for as long as the descriptor is readable.
    """
    if not greenlets.patched():
        return None
    return _LoopWatcher(descriptor, readable)


class _LoopWatcher:
    def __init__(self, descriptor: int, readable: Callable[[], None]) -> None:
        self._watcher = sys.modules["gevent"].get_hub().loop.io(descriptor, 1)
        self._watcher.start(readable)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()


#: Whether this system can tell of very many connections what happens to them.
HAS_EPOLL = hasattr(select, "EPOLLRDHUP")


def epoll() -> "select.epoll | None":
    """Return a new epoll, which gevent hides from greenlets; None where there is none.

    Only to be asked without waiting: a wait would stop the whole process.
    """
    try:
        make = native.original("select", "epoll")
    except AttributeError:
        return None
    return make()  # type: ignore[no-any-return]


def limit_unacknowledged(connection: _socket.socket, seconds: float) -> None:
    """Have the kernel end a connection whose peer acknowledges nothing for so long.

    For peers that lost their power or network, and those that read nothing at all.
    Only Linux knows it, and only for TCP: elsewhere nothing happens.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


def unsent_bytes(descriptor: int) -> int:
    """Return how many bytes the kernel holds that the peer has not acknowledged.

    0 where that cannot be known: not a socket any more, or a system without the call.
    """
    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except (ImportError, OSError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder)


def readable(descriptor: int) -> bool:
    """Tell whether somebody waits at a socket, or bytes do. Never waits itself."""
    poll = native.original("select", "poll")()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
