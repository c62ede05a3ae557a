"""Very many clients in one thread, so that a test sees what each one received."""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.kit.ports import HOST
from tests.kit.sse_parser import ParsedEvent, Parser

# More bytes than one read ever finds.
WHOLE = 1 << 20


class NoStream(Exception):
    """Raised when a client received an answer that is no stream."""


class Member:
    """One client.

    It speaks HTTP/1.0: the body is the stream itself, and ends with the connection.
    """

    def __init__(self, port: int, path: str, user: str, last_event_id: str) -> None:
        self.path = path
        self.events: list[ParsedEvent] = []
        #: The largest number of bytes that one read takes.
        self.at_once = WHOLE
        self._port = port
        self._user = user
        self.open(last_event_id)

    def open(self, last_event_id: str) -> None:
        """Ask for the stream, and forget a half event of the stream before."""
        self.parser = Parser()
        self.parser.last_event_id = last_event_id
        self.ended = False
        self._head: bytes | None = b""
        resume = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
        who = f"{self._login}\r\n"
        self.socket = socket.create_connection((HOST, self._port))
        self.socket.sendall(f"GET {self.path} HTTP/1.0\r\n{who}{resume}\r\n".encode())

    @property
    def _login(self) -> str:
        """The header that logs the client in."""
        return f"Authorization: Bearer {self._user}"

    def read(self) -> None:
        """Read the bytes that have arrived. Raises NoStream."""
        try:
            chunk = self.socket.recv(self.at_once)
        except ConnectionError:
            chunk = b""
        self.ended = not chunk
        if self._head is not None:
            self._head += chunk
            if b"\r\n\r\n" not in self._head:
                return
            head, _, chunk = self._head.partition(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise NoStream(head)
            self._head = None
        self.take(self.parser.feed(chunk))
        assert not self.parser.empty_blocks, "a blank line ended a block without data"

    def take(self, events: list[ParsedEvent]) -> None:
        """Keep events that were received."""
        self.events += events

    @property
    def data(self) -> list[str]:
        """The data of the app's own events so far."""
        return [event.data for event in self.events if event.type == "message"]


class Crowd:
    """Clients that are read together."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self._selector = selectors.DefaultSelector()

    def join(
        self, port: int, *, path: str = "/events", user: str = "alice", last: str = ""
    ) -> Member:
        member = Member(port, path, user, last)
        self.add(member)
        return member

    def join_all(self, count: int, port: int, **options: str) -> None:
        """Let ``count`` more clients join, and wait until all are greeted."""
        for _ in range(count):
            self.join(port, **options)
        self.read_until(lambda member: member.events)

    def add(self, member: Member) -> None:
        """Read this client too from now on."""
        self.members.append(member)
        self._selector.register(member.socket, selectors.EVENT_READ, member)

    def come_back(self, member: Member) -> None:
        """Resume the stream of a client, which has ended, as a browser does."""
        member.socket.close()
        member.open(member.parser.last_event_id)
        self._selector.register(member.socket, selectors.EVENT_READ, member)

    def read_until(
        self, done: Callable[[Member], object], *, within: float = 30.0
    ) -> None:
        """Read until ``done`` is true of each client; fail at the deadline."""
        self.read_some(until=lambda: all(map(done, self.members)), within=within)

    def read_some(self, *, until: Callable[[], bool], within: float = 30.0) -> None:
        """Read all clients until a condition is true; fail at the deadline."""
        deadline = time.monotonic() + within
        while not until():
            left = deadline - time.monotonic()
            assert left > 0, f"it did not come true for {len(self.members)} clients"
            self.read_once(left)

    def read_once(self, timeout: float) -> list[Member]:
        """Read all clients with bytes waiting; return those whose streams ended."""
        ready = [key.data for key, _ in self._selector.select(timeout)]
        for member in ready:
            member.read()
        ended = [member for member in ready if member.ended]
        for member in ended:
            self._selector.unregister(member.socket)
        return ended

    def leave(self) -> None:
        self._selector.close()
        for member in self.members:
            with suppress(OSError):
                member.socket.close()
        self.members.clear()


@contextmanager
def crowd(port: int, count: int, **options: str) -> Iterator[Crowd]:
    """Return ``count`` clients that have been greeted; they leave at the end."""
    them = Crowd()
    try:
        them.join_all(count, port, **options)
        yield them
    finally:
        them.leave()
