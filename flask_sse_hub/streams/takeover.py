"""Delivery by hijack: the client's socket is taken over from gunicorn's gevent worker.

The greenlet of the request ends then, and a stream costs neither it nor one of the
worker's connections. Knows gunicorn by what its own parts ask of a response: the worker
asks whether the iterable is its ALREADY_HANDLED, and what start_response returns is
bound to the response that knows the final headers. Where anything is otherwise, the
iterable is simply iterated.
"""

import logging
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

from ..errors import BrokerUnavailable, ClientRefused
from ..hub.delivery.socket_sink import ClientSocket
from ..runtime import greenlets, sockets
from .generator import EventStream

log = logging.getLogger(__name__)

# What the kernel holds for a client that does not read: the kernel doubles both. Enough
# for what is in flight, and for the longest of joined writes.
_SEND_BUFFER_BYTES = 16_384
# A client sends nothing after its request.
_RECEIVE_BUFFER_BYTES = 4_096

_IN_THE_WAY = (
    "streams are delivered by generator: each one takes a greenlet, and one of the"
    " worker's connections (worker_connections). Leave the stream's URL out of that"
    " middleware, or set SSE_HUB_SOCKET_TAKEOVER = False if it is meant"
)

# What a middleware did, which its users would learn of only when the worker is full.
_HIDDEN = "a middleware has its own start_response, which hides gunicorn's"
_MEASURED = "something has given the stream a Content-Length"


class TakeoverStream(EventStream):
    """An event stream that takes its socket over if the worker lets it.

    As an iterable it is an EventStream like any other.
    """

    # gunicorn's response, while its worker may still ask for the takeover.
    _response: Any = None
    _in_browser = False

    def offer(self, environ: Mapping[str, Any], write: object) -> None:
        """Be ready for the takeover, if this server's connection can be taken over.

        ``write`` is what start_response returned.
        """
        obstacle = _obstacle(environ, write)
        if obstacle is None:
            self._response = getattr(write, "__self__", None)
            # All of them begin so, and Sec-Fetch-Mode is not sent over plain HTTP.
            agent = environ.get("HTTP_USER_AGENT", "")
            self._in_browser = agent.startswith("Mozilla/")
        elif obstacle in (_HIDDEN, _MEASURED):
            self._warn(obstacle)
        else:
            self._say_once(logging.INFO, "streams are delivered by generator", obstacle)

    def _warn(self, obstacle: str) -> None:
        self._say_once(logging.WARNING, _IN_THE_WAY, obstacle)

    def _say_once(self, level: int, what: str, why: str) -> None:
        if self._hub.first_time(why):
            log.log(level, "%s: %s", what, why)

    @property
    def fileno(self) -> Callable[[], int] | None:
        """Where a takeover is possible, the descriptor, as iterables of files have it.

        Middlewares leave those unwrapped that a server may send by itself. Sentry's is
        one of them.
        """
        if self._response is None:
            return None
        return self._response.sock.fileno  # type: ignore[no-any-return]

    __hash__ = EventStream.__hash__

    def __eq__(self, other: object) -> bool:
        """Answer the worker's question whether the response was handled already.

        The answer is StopIteration: it ends the greenlet of the connection at once,
        where True would have it wait for the next request.
        """
        if self._response is not None and other is _already_handled():
            self._take_over()
        return self is other

    def __next__(self) -> bytes:
        if self._response is not None:
            self._response = None
            wrapper = _wrapper(sys._getframe(1))  # noqa: SLF001
            self._warn(f"{wrapper} wraps the response")
        return super().__next__()

    def close(self) -> None:
        """Let go of the client, unless the writer has it now."""
        if self._client.sink is self:
            super().close()
        else:
            self._finish_response()

    def _take_over(self) -> None:
        response, self._response = self._response, None
        connection: socket.socket = response.sock
        # Programs read a body by the buffer and wait until one is full, unless it comes
        # in chunks. A browser takes what is there, but shows an error where a stream
        # is cut off in the middle of chunks, as at a logout.
        chunked = response.chunked and not self._in_browser
        try:
            form = self._client.coding.form(chunked=chunked)
            copy = ClientSocket.of(connection, form)
        except OSError as error:
            self._say_once(logging.WARNING, "cannot take a socket over", str(error))
            return
        client = self._client
        client.sink = sink = self._hub.sink(copy)
        try:
            greeting = self._hub.connect(client, last_event_id=self._last_event_id)
            _limit_buffers(connection)
            head = _head(response, chunked=chunked)
            self._hub.adopt(client, sink, head=head, greeting=greeting)
        except (ClientRefused, BrokerUnavailable) as refusal:
            copy.close()
            client.sink = self
            self._refuse(refusal)
            return
        except BaseException:
            # The connection is left to the server, which answers the error. It does not
            # call close() here.
            self._hub.give_back(client, sink)
            raise
        try:
            self.close()
        except Exception:
            # The server would answer it, on a connection that is the writer's now.
            log.exception("the end of a response failed")
        raise StopIteration


def _obstacle(environ: Mapping[str, Any], write: object) -> str | None:
    """Return why a connection cannot be taken over, None if it can."""
    if "gunicorn.socket" not in environ or not greenlets.patched():
        return "only gunicorn's gevent worker hands over its connections"
    if not sockets.HAS_EPOLL:
        return "this system has no epoll"
    connection = environ["gunicorn.socket"]
    if isinstance(connection, ssl.SSLSocket):
        return "gunicorn itself speaks TLS on this connection"
    response: Any = getattr(write, "__self__", None)
    if getattr(response, "sock", None) is not connection:
        return _HIDDEN
    if not hasattr(response, "default_headers"):
        return "this version of gunicorn is not known"
    if environ["REQUEST_METHOD"] == "HEAD" or response.headers_sent:
        return "there is no stream to be sent in this response"
    if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
        return "the request has a body, which nobody may have read"
    if response.response_length is not None:
        return _MEASURED
    return None


def _already_handled() -> object:
    module = sys.modules.get("gunicorn.workers.base_async")
    return getattr(module, "ALREADY_HANDLED", None)


def _head(response: Any, *, chunked: bool) -> bytes:
    """Return the head of a response as gunicorn would send it now."""
    response.chunked = chunked
    response.force_close()
    lines = response.default_headers()
    lines += [f"{name}: {value}\r\n" for name, value in response.headers]
    return ("".join(lines) + "\r\n").encode("latin-1")


def _limit_buffers(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES
        )


def _wrapper(frame: FrameType | None) -> str:
    """Return the module that asks for the stream's bytes in the worker's place."""
    while frame is not None:
        module: str = frame.f_globals.get("__name__", "")
        if not module.startswith(__package__ or ""):
            return module
        frame = frame.f_back
    return "something"
