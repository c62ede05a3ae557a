"""The takeover of a socket, without a server."""

import select
import socket
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from flask_sse_hub._sockets import duplicate
from flask_sse_hub.client import Client, Identity
from flask_sse_hub.delivery import HijackedStream
from flask_sse_hub.socket_sink import SocketSink
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
        sock=ours, headers=[], force_close=lambda: None, default_headers=list
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


def test_a_long_write_does_not_wait_for_acknowledgements() -> None:
    """Segments that fill the send buffer are acknowledged 40 ms late, each of them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    with theirs:
        sink = SocketSink(duplicate(ours), lambda sink: None)
        ours.close()
        sink.put(b"x" * 4_000_000)
        room = select.poll()
        room.register(sink.descriptor, select.POLLOUT)
        thread = threading.Thread(target=read_whole, args=(theirs, 4_000_000))
        thread.start()
        began = time.monotonic()
        while not sink.flush():
            room.poll(1000)
        thread.join(10.0)
        # It took two seconds.
        assert time.monotonic() - began < 1.0
        sink.close()


def read_whole(sock: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(sock.recv(1 << 20))
