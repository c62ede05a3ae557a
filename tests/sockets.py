"""Clients of a hand-moved hub whose sockets the writer has, and the peers' ends."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask_sse_hub._sockets import duplicate
from flask_sse_hub.client import Client, Identity
from flask_sse_hub.socket_sink import SocketSink
from tests.hand import HandHub
from tests.reader import wait_until
from tests.sse_parser import ParsedEvent, Parser

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def tcp_pair(*, buffers: int = 4096) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection that holds little."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    ours.setblocking(False)
    return ours, theirs


class Peer:
    """A client's own end of its connection."""

    def __init__(self, hub: HandHub, client: Client, sock: socket.socket) -> None:
        self.hub = hub
        self.client = client
        self.socket = sock
        self.parser = Parser()
        self.raw = b""
        self.events: list[ParsedEvent] = []
        self.ended = False
        sock.setblocking(False)

    @property
    def sink(self) -> SocketSink:
        sink = self.client.sink
        assert isinstance(sink, SocketSink)
        return sink

    def read(self, at_most: int = 1 << 20) -> None:
        """Take what has arrived."""
        try:
            chunk = self.socket.recv(at_most)
        except BlockingIOError:
            return
        except ConnectionError:
            chunk = b""
        self.ended = not chunk
        before = len(self.raw)
        self.raw += chunk
        self.events += self.parser.feed(self.raw[max(before, len(HEAD)) :])

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events if event.type == "message"]

    def read_until(self, data: list[str]) -> None:
        """Read, and have the hub write, until these events have arrived."""

        def look() -> bool:
            turn(self.hub)
            self.read()
            return len(self.data) >= len(data)

        wait_until(look)
        assert self.data == data

    def read_to_the_end(self) -> None:
        def look() -> bool:
            turn(self.hub)
            self.read()
            return self.ended

        wait_until(look)


def turn(hub: HandHub) -> None:
    """Do all that the writer has to do now."""
    hub.hub.writer.look_after_peers()
    hub.bring()


@contextmanager
def peers(hub: HandHub, count: int = 1, **options: Any) -> Iterator[list[Peer]]:
    """Return so many clients that have been greeted; they are gone at the end."""
    found = [join(hub, f"peer-{number}", **options) for number in range(count)]
    try:
        yield found
    finally:
        for peer in found:
            peer.socket.close()
        hub.hub.close()
        hub.hub.writer.run()


def join(
    hub: HandHub, name: str, *, last_event_id: str | None = None, **options: Any
) -> Peer:
    """Have a client come whose socket was taken over."""
    ours, theirs = tcp_pair()
    identity = Identity(options.pop("user", None), options.pop("session", None))
    client = Client(name, identity=identity, since=hub.broker.head(), **options)
    client.sink = sink = SocketSink(duplicate(ours), hub.hub.writer.look_at)
    ours.close()
    greeting = hub.hub.connect(client, last_event_id=last_event_id)
    hub.hub.adopt(client, sink, HEAD + greeting)
    peer = Peer(hub, client, theirs)

    def look() -> bool:
        turn(hub)
        peer.read()
        return bool(peer.events)

    wait_until(look)
    return peer
