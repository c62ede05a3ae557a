"""What attackers do, and how a server shows that it does not mind."""

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil

from tests.live.server import Server
from tests.ports import HOST
from tests.reader import wait_until

_TCP_REPAIR = 19

# What this process, and a server's, needs beside the attackers' connections.
_OTHER_FILES = 500


def room_for(count: int) -> int:
    """Return so many connections, or as many as the system lets a process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Servers inherit it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(count, hard - _OTHER_FILES)


@contextmanager
def connections(
    server: Server, count: int, *, sent: bytes = b""
) -> Iterator[list[socket.socket]]:
    """Return so many connections on which nothing more comes than these bytes."""
    with ExitStack() as stack:
        made = []
        for number in range(count):
            made.append(stack.enter_context(socket.socket()))
            made[-1].setblocking(False)
            made[-1].connect_ex((HOST, server.port))
            if number % 500 == 499:
                # The server's queue holds some thousands.
                wait_until(lambda: is_sent(made[-1], b""))
        for each in made:
            wait_until(lambda each=each: is_sent(each, sent), within=30.0)  # type: ignore[misc]
        yield made


def is_sent(connection: socket.socket, data: bytes) -> bool:
    """Send once the connection is there; what the server ended is none of ours."""
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
    """Tell whether the server has ended a connection that does not block."""
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def vanish(connection: socket.socket) -> None:
    """Be gone without a FIN, as after a loss of power. Raises PermissionError."""
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    connection.close()


@contextmanager
def unharmed(server: Server) -> Iterator[list[object]]:
    """Fail unless ordinary requests and a stream are served during this block.

    Afterwards nothing of it is left in the server's workers. Returns what the requests
    were answered so far.
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
            # A worker that is behind still brings what was published before.
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
    """Have a worker open all files that it needs while it lives, and count them."""
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
    """Return what each worker has more than before, the same workers as before."""
    assert set(server.workers()) == set(before), server.log
    # A request that is being answered, or a connection to the users' database.
    spare = 4
    return {
        pid: more
        for pid, count in before.items()
        if (more := _descriptors(pid) - count) > spare
    }
