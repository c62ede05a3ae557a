"""Clients of a hand-moved hub whose sockets the writer owns, and their peers' ends."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.present_client import PresentClient
from flask_sse_hub.hub.delivery.socket_sink import ClientSocket, SocketSink
from tests.kit.decoding import decoder
from tests.kit.hand import HandHub
from tests.kit.reader import wait_until
from tests.kit.sse_parser import ParsedEvent, Parser

#: Our end of a connection, and the peer's end.
Pair = tuple[socket.socket, socket.socket]

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"

#: More than the kernel buffers for a peer that does not read, with buffers of 4 KiB.
LARGE = "x" * 30_000


def tcp_pair(*, buffers: int = 4096) -> Pair:
    """Return both ends of a connection with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    ours.setblocking(False)
    return ours, theirs


class Chunks:
    """Decode the chunked transfer coding as it arrives. Source: RFC 9112, 7.1."""

    def __init__(self) -> None:
        self._rest = b""
        #: Whether the last chunk has arrived.
        self.complete = False

    def feed(self, received: bytes) -> bytes:
        """Return the content of all complete chunks, and keep the rest for later."""
        self._rest += received
        body = b""
        while b"\r\n" in self._rest:
            size, _, rest = self._rest.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            assert not self.complete
            assert rest[length : length + 2] == b"\r\n"
            self.complete = length == 0
            body += rest[:length]
            self._rest = rest[length + 2 :]
        return body


class Peer:
    """A client's own end of its connection.

    ``raw`` holds the bytes that arrived: head and body, without chunk framing and
    content coding.
    """

    def __init__(
        self, hub: HandHub, client: Client, sock: socket.socket, *, chunked: bool
    ) -> None:
        self.hub = hub
        self.client = client
        self.socket = sock
        self.parser = Parser()
        self.raw = b""
        self.chunks = Chunks() if chunked else None
        self.decode = decoder(client.coding.name, cut_anywhere=True)
        self.events: list[ParsedEvent] = []
        self.ended = False
        sock.setblocking(False)

    @property
    def sink(self) -> SocketSink:
        sink = self.client.sink
        assert isinstance(sink, SocketSink)
        return sink

    def read(self, at_most: int = 1 << 20) -> None:
        """Read the bytes that have arrived."""
        try:
            chunk = self.socket.recv(at_most)
        except BlockingIOError:
            return
        except ConnectionError:
            chunk = b""
        self.ended = not chunk
        head = chunk[: len(HEAD) - len(self.raw)] if len(self.raw) < len(HEAD) else b""
        body = chunk[len(head) :]
        if self.chunks is not None:
            body = self.chunks.feed(body)
        body = self.decode(body)
        self.raw += head + body
        self.events += self.parser.feed(body)
        assert not self.parser.empty_blocks, "a blank line ended a block without data"

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events if event.type == "message"]

    def read_until(self, data: list[str]) -> None:
        """Let the hub write and read from it until these events have arrived."""

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
    """Do all the work that the writer has now."""
    hub.parts.writer.look_after_peers()
    hub.bring()


@contextmanager
def peers(
    hub: HandHub,
    count: int = 1,
    *,
    codings: Sequence[str | None] = (None,),
    **options: Any,
) -> Iterator[list[Peer]]:
    """Yield ``count`` greeted clients; their connections are closed at the end.

    Every second client receives its stream in chunks. The codings go round: each is
    used by two clients in a row.
    """
    found = [
        join(
            hub,
            f"peer-{number}",
            chunked=number % 2 == 1,
            coding=codings[number // 2 % len(codings)],
            **options,
        )
        for number in range(count)
    ]
    try:
        yield found
    finally:
        for peer in found:
            peer.socket.close()
        hub.hub.close()
        hub.parts.writer.run()


def join(
    hub: HandHub,
    name: str,
    *,
    last_event_id: str | None = None,
    chunked: bool = False,
    coding: str | None = None,
    buffers: int = 4096,
    **options: Any,
) -> Peer:
    """Connect a client whose socket has been taken over."""
    ours, theirs = tcp_pair(buffers=buffers)
    identity = Identity(options.pop("user", None), options.pop("session", None))
    make = PresentClient if "seats" in options else Client
    client = make(
        name,
        identity=identity,
        since=hub.broker.head(),
        coding=hub.parts.codings.named(coding),
        **options,
    )
    copy = ClientSocket.of(ours, client.coding.form(chunked=chunked))
    client.sink = sink = SocketSink(copy, hub.parts.writer.look_at)
    ours.close()
    greeting = hub.hub.connect(client, last_event_id=last_event_id)
    hub.hub.adopt(client, sink, head=HEAD, greeting=greeting)
    peer = Peer(hub, client, theirs, chunked=chunked)

    def look() -> bool:
        turn(hub)
        peer.read()
        return bool(peer.events)

    wait_until(look)
    return peer


def block(peer: Peer, *others: Peer) -> None:
    """Fill the kernel's buffer for a peer, while the other peers read."""
    while peer.sink.writing_since is None:
        peer.hub.publish(LARGE)
        turn(peer.hub)
        for other in others:
            read_all(other, LARGE, count=len(other.data) + 1)


def read_all(peer: Peer, last: str, *, count: int = 0) -> None:
    """Read, and let the hub write, until an event has arrived."""

    def look() -> bool:
        turn(peer.hub)
        peer.read()
        return len(peer.data) >= count and peer.data[-1:] == [last]

    wait_until(look)
