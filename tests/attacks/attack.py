"""Attacks on a server, and checks that ordinary clients do not notice them."""

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil

from tests.kit.ports import HOST
from tests.kit.reader import wait_until
from tests.live.server import Server

_TCP_REPAIR = 19

# Files that this process, and a server's, need beside the attackers' connections.
_OTHER_FILES = 500


def room_for(count: int) -> int:
    """Return ``count``, or the most connections that the system allows a process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Servers inherit this limit.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(count, hard - _OTHER_FILES)


@contextmanager
def connections(
    server: Server, count: int, *, sent: bytes = b""
) -> Iterator[list[socket.socket]]:
    """Open ``count`` connections that send these bytes and nothing more."""
    with ExitStack() as stack:
        made = []
        for number in range(count):
            made.append(stack.enter_context(socket.socket()))
            made[-1].setblocking(False)
            made[-1].connect_ex((HOST, server.port))
            if number % 500 == 499:
                # The server's queue holds some thousands of connections.
                wait_until(lambda: is_sent(made[-1], b""))
        for each in made:
            wait_until(lambda each=each: is_sent(each, sent), within=30.0)  # type: ignore[misc]
        yield made


def is_sent(connection: socket.socket, data: bytes) -> bool:
    """Send once connected; return whether sending is over.

    It is over too if the server has ended the connection.
    """
    try:
        connection.getpeername()
        if data:
            connection.send(data)
    except (BrokenPipeError, ConnectionResetError):
        return True
    except OSError:
        return False
    return True


def is_ended(connection: socket.socket) -> bool:
    """Return whether the server has ended a non-blocking connection."""
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def vanish(connection: socket.socket) -> None:
    """Disappear without a FIN, as after a loss of power.

    Raises PermissionError without the capability CAP_NET_ADMIN.
    """
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    connection.close()


@contextmanager
def unharmed(server: Server) -> Iterator[list[object]]:
    """Fail unless ordinary requests and a stream are served during this block.

    Afterwards, the server's workers must have no file or connection left from it.
    Yields the statuses and errors of the ordinary requests so far.
    """
    before = {pid: _descriptors_of_busy(server, pid) for pid in server.workers()}
    answers: list[object] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                answers.append(server.get("/slow")[0])
            except OSError as error:
                answers.append(error)

    with server.stream() as stream:
        stream.next("connected")
        asker = threading.Thread(target=ask)
        asker.start()
        try:
            yield answers
            seen = len(answers)
            server.publish("during")
            # A worker that lags behind still brings earlier events first.
            while stream.data(1) != ["during"]:
                pass
            wait_until(lambda: len(answers) > seen + 5)
        finally:
            over.set()
            asker.join()
    assert set(answers) == {200}, (set(answers), server.log)
    wait_until(lambda: _left(server, before) == {}, within=30.0)
    wait_until(lambda: server.stats()["connections"] == 0)


def _descriptors_of_busy(server: Server, pid: int) -> int:
    """Let a worker open all files that it keeps for its life, and count them."""
    with server.only(pid):
        with server.stream() as stream:
            stream.next("connected")
            server.publish("x")
            assert stream.data(1) == ["x"]
            server.get("/slow")
        wait_until(lambda: server.stats()["connections"] == 0)
    return _descriptors(pid)


def _descriptors(pid: int) -> int:
    return psutil.Process(pid).num_fds()


def _left(server: Server, before: dict[int, int]) -> dict[int, int]:
    """Return the additional files of each worker; fail if a worker was replaced."""
    assert set(server.workers()) == set(before), server.log
    # A request that is being answered, or a connection to the users' database.
    spare = 4
    return {
        pid: more
        for pid, count in before.items()
        if (more := _descriptors(pid) - count) > spare
    }
