"""The takeover of a socket, tested without a server."""

from typing import Any

import pytest

from flask_sse_hub.events.coding import IDENTITY
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.delivery.socket_sink import (
    MAX_WRITE_BYTES,
    WIDE_WRITE_BYTES,
    SocketSink,
)
from flask_sse_hub.streams.takeover import TakeoverStream
from tests.kit.gunicorns import offer, take_over
from tests.kit.hand import HandHub
from tests.kit.sockets import tcp_pair


@pytest.mark.parametrize("failing", ["adopt", "connect"])
def test_a_takeover_that_fails_leaves_nothing_behind(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers with the error, and no stream is left to be closed."""
    hub = HandHub()
    original = getattr(hub.hub, failing)

    def fail(*args: Any, **options: Any) -> None:
        original(*args, **options)
        raise OSError("too many open files")

    monkeypatch.setattr(hub.hub, failing, fail)
    ours, theirs = tcp_pair()
    client = Client("one", identity=Identity(), since=hub.broker.head())
    stream = TakeoverStream(hub.hub, client, last_event_id=None, connection=ours)
    offer(stream, ours)
    with ours, theirs:
        with pytest.raises(OSError, match="too many"):
            take_over(stream)
        sink: Any = client.sink
        assert sink.descriptor == -1
        hub.bring()
        assert hub.hub.stats().connections == 0
        # The socket still belongs to the server, which answers the error on it.
        theirs.setblocking(True)
        theirs.recv(65536) if failing == "adopt" else None
        assert ours.send(b"HTTP/1.1 500") == 12
        assert theirs.recv(12) == b"HTTP/1.1 500"
    hub.hub.close()


class Sizes:
    """A client's socket that takes every byte and records the size of each write."""

    form = IDENTITY.form(chunked=False)

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.most = MAX_WRITE_BYTES

    def widen(self) -> None:
        self.most = WIDE_WRITE_BYTES

    def send(self, data: bytes) -> int:
        self.sent.append(len(data))
        return len(data)


@pytest.mark.parametrize(
    ("size", "parts"), [(16_384, [16_384]), (140_000, [65_536, 65_536, 8_928])]
)
def test_a_long_write_is_made_in_parts(size: int, parts: list[int]) -> None:
    """The buffer of a client that receives large events has room for each part."""
    connection: Any = Sizes()
    sink = SocketSink(connection, lambda sink: None)
    sink.go_on(b"x" * size)
    assert sink.flush()
    assert connection.sent == parts
