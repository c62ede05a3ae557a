"""Very many clients in one thread, to see what becomes of all of them."""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.live.server import HOST
from tests.sse_parser import ParsedEvent, Parser


class Member:
    """One client; HTTP/1.0, so that the body is the stream and ends with it."""

    def __init__(self, port: int, path: str, user: str, last_event_id: str) -> None:
        self.socket = socket.create_connection((HOST, port))
        resume = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
        head = f"GET {path} HTTP/1.0\r\nAuthorization: Bearer {user}\r\n{resume}\r\n"
        self.socket.sendall(head.encode())
        self.parser = Parser()
        self.events: list[ParsedEvent] = []
        self.ended = False
        self._head: bytes | None = b""

    def read(self) -> None:
        try:
            chunk = self.socket.recv(1 << 20)
        except ConnectionError:
            chunk = b""
        self.ended = not chunk
        if self._head is not None:
            self._head += chunk
            if b"\r\n\r\n" not in self._head:
                return
            head, _, chunk = self._head.partition(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n")[0], head
            self._head = None
        self.events += self.parser.feed(chunk)

    @property
    def data(self) -> list[str]:
        """The data of the app's own events so far."""
        return [event.data for event in self.events if event.type == "message"]


class Crowd:
    """The members, read together."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self._selector = selectors.DefaultSelector()

    def join(
        self, port: int, *, path: str = "/events", user: str = "alice", last: str = ""
    ) -> Member:
        member = Member(port, path, user, last)
        self.members.append(member)
        self._selector.register(member.socket, selectors.EVENT_READ, member)
        return member

    def come_back(self, member: Member, port: int) -> None:
        """Have a client that was disconnected resume, as a browser does."""
        member.socket.close()
        self.members.remove(member)
        back = self.join(port, last=member.parser.last_event_id)
        back.events += member.events

    def read_until(
        self, done: Callable[[Member], object], *, within: float = 30.0
    ) -> None:
        """Read everybody until it is true of each; fail at the deadline."""
        self.read_some(until=lambda: all(map(done, self.members)), within=within)

    def read_some(self, *, until: Callable[[], bool], within: float = 30.0) -> None:
        """Read everybody until something is true; fail at the deadline."""
        deadline = time.monotonic() + within
        while not until():
            left = deadline - time.monotonic()
            assert left > 0, f"it did not come true for {len(self.members)} clients"
            for key, _ in self._selector.select(left):
                key.data.read()
                if key.data.ended:
                    self._selector.unregister(key.data.socket)

    def leave(self) -> None:
        self._selector.close()
        for member in self.members:
            with suppress(OSError):
                member.socket.close()
        self.members.clear()


@contextmanager
def crowd(port: int, count: int, **options: str) -> Iterator[Crowd]:
    """Return so many clients that all have been greeted; they leave at the end."""
    them = Crowd()
    try:
        for _ in range(count):
            them.join(port, **options)
        them.read_until(lambda member: member.events)
        yield them
    finally:
        them.leave()
