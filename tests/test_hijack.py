"""The takeover of a socket, without a server."""

from types import SimpleNamespace
from typing import Any

import pytest

from flask_sse_hub.events.coding import IDENTITY
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.delivery.socket_sink import SocketSink
from flask_sse_hub.streams.takeover import HijackedStream
from tests.hand import HandHub
from tests.sockets import tcp_pair


@pytest.mark.parametrize("failing", ["adopt", "connect"])
def test_a_takeover_that_fails_leaves_nothing_behind(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers the error, and asks nobody to close what was not begun."""
    hub = HandHub()
    original = getattr(hub.hub, failing)

    def fail(*args: Any, **options: Any) -> None:
        original(*args, **options)
        raise OSError("too many open files")

    monkeypatch.setattr(hub.hub, failing, fail)
    ours, theirs = tcp_pair()
    client = Client("one", identity=Identity(), since=hub.broker.head())
    stream = HijackedStream(hub.hub, client, last_event_id=None, connection=ours)
    response: Any = SimpleNamespace(
        sock=ours,
        headers=[],
        chunked=True,
        force_close=lambda: None,
        default_headers=list,
    )
    stream._response = response
    with ours, theirs:
        with pytest.raises(OSError, match="too many"):
            stream._take_over()
        sink: Any = client.sink
        assert sink.descriptor == -1
        hub.bring()
        assert hub.hub.stats().connections == 0
        # It is still the server's own, to answer the error on.
        theirs.setblocking(True)
        theirs.recv(65536) if failing == "adopt" else None
        assert ours.send(b"HTTP/1.1 500") == 12
        assert theirs.recv(12) == b"HTTP/1.1 500"
    hub.hub.close()


class Sizes:
    """A socket that takes all, and notes how much at once."""

    form = IDENTITY.form(chunked=False)

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send(self, data: bytes) -> int:
        self.sent.append(len(data))
        return len(data)


def test_a_long_write_is_made_in_parts() -> None:
    """Segments that fill the send buffer are acknowledged 40 ms late, each of them."""
    connection: Any = Sizes()
    sink = SocketSink(connection, lambda sink: None)
    sink.go_on(b"x" * 40_000, sent=1)
    assert sink.flush()
    assert connection.sent == [16_384, 16_384, 7_231]
