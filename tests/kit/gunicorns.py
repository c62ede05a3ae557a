"""The side of gunicorn's gevent worker in a takeover, without a server."""

import socket

import pytest
from gunicorn.workers.base_async import ALREADY_HANDLED

from flask_sse_hub.streams.takeover import TakeoverStream


class GunicornsResponse:
    """The parts of gunicorn's response that a takeover uses."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.headers: list[tuple[str, str]] = []
        self.chunked = True
        self.headers_sent = False
        self.response_length: int | None = None

    def write(self, data: bytes) -> None:
        """Send data, as the callable that start_response returns."""
        self.sock.sendall(data)

    def force_close(self) -> None:
        """Accept no further request on the connection."""

    def default_headers(self) -> list[str]:
        """Return the status line and the server's own headers."""
        return ["HTTP/1.1 200 OK\r\n"]


def offer(stream: TakeoverStream, connection: socket.socket) -> None:
    """Offer a connection to a stream, as a request under the gevent worker does."""
    environ = {"gunicorn.socket": connection, "REQUEST_METHOD": "GET"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_sse_hub.runtime.greenlets.patched", lambda: True)
        stream.offer(environ, GunicornsResponse(connection).write)


def take_over(stream: TakeoverStream) -> bool:
    """Ask a stream whether it has handled the connection, as the worker does."""
    return bool(stream == ALREADY_HANDLED)
