"""Sockets of the operating system, below gevent's patching and TLS.

Used where code must not wait, or must reach below gevent's sockets and TLS. No function
here waits. Does not know the content of the bytes.
"""

import _socket
import os
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from . import greenlets, native


def shutdown(descriptor: int, how: int = socket.SHUT_RDWR) -> None:
    """Shut a socket down by its descriptor, below TLS and gevent.

    Works on a copy of the descriptor, and so on the connection itself. Does nothing if
    the connection is already gone.
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


def disown(descriptor: int) -> None:
    """Make an inherited connection a dead end, in a forked child.

    Greenlets that the fork has copied may be in the middle of a write. Their writes
    fail from now on, with BrokenPipeError. The parent and the peer notice nothing.
    """
    with suppress(OSError):
        ours, theirs = _socket.socketpair()
        try:
            theirs.close()
            if descriptor >= 0:
                os.dup2(ours.fileno(), descriptor, inheritable=False)
        finally:
            ours.close()


class Socket(_socket.socket):
    """A socket of the operating system, even if gevent has patched the module.

    Closing it never waits for greenlets. Sending and receiving never wait either, if
    the descriptor does not block.
    """

    __slots__ = ()

    @classmethod
    def duplicate(cls, connection: socket.socket) -> Self:
        """Return a second socket for a connection. It never waits. Raises OSError."""
        copy = cls(
            connection.family, connection.type, 0, fileno=os.dup(connection.fileno())
        )
        # An app may have set a default timeout for sockets. This socket would wait for
        # that long, and the whole process with it.
        copy.setblocking(False)
        return copy


def watch(descriptor: int, readable: Callable[[], None]) -> greenlets.Watcher | None:
    """Have gevent's loop call a function while a descriptor is readable.

    The function is called again and again, and must not wait. Without gevent, returns
    None and never calls it.
    """
    if not greenlets.patched():
        return None
    loop = sys.modules["gevent"].get_hub().loop
    return greenlets.Watcher(loop.io(descriptor, 1), readable)


#: Whether this system has epoll, and so can watch very many connections for peers that
#: leave.
HAS_EPOLL = hasattr(select, "EPOLLRDHUP")


def epoll() -> "select.epoll | None":
    """Return a new epoll, which gevent hides from greenlets; None without epoll.

    Poll it without waiting: a wait would stop the whole process.
    """
    try:
        make = native.original("select", "epoll")
    except AttributeError:
        return None
    return make()  # type: ignore[no-any-return]


def limit_unacknowledged(connection: _socket.socket, seconds: float) -> None:
    """Have the kernel end a connection whose peer acknowledges nothing for ``seconds``.

    Ends connections to peers that lost their power or network, or that read nothing.
    Works only for TCP on Linux, and does nothing elsewhere.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


def unsent_bytes(descriptor: int) -> int:
    """Return how many bytes the kernel holds that the peer has not acknowledged.

    Returns 0 if that is unknown: the socket is closed, or the system lacks the call.
    """
    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except (ImportError, OSError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder)


def readable(descriptor: int) -> bool:
    """Tell whether a socket has bytes or a connection to accept. Never waits."""
    poll = native.original("select", "poll")()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
