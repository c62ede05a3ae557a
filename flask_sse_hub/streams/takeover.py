"""Delivery by takeover: a stream takes its socket over from gunicorn's gevent worker.

The request's greenlet ends after a takeover. The stream then costs neither a greenlet
nor one of the worker's connections.

Knows two things about gunicorn, both of which gunicorn's own parts rely on. The worker
compares the iterable with its ALREADY_HANDLED. The callable that start_response returns
is bound to the response object, which knows the final headers. Where either differs,
the server iterates the stream as usual. Does not know how the socket is written to
afterwards: that is the hub's writer.
"""

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
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog
from .generator import EventStream, not_ours

log = CodedLog(__name__)
_rare_log = RareLog(log)

# The kernel doubles both of these sizes. The send buffer is all that it holds for a
# client that does not read. This much is enough for the bytes in flight and for the
# longest joined write; a client of larger events gets a larger one.
_SEND_BUFFER_BYTES = 16_384
# A client sends nothing after its request.
_RECEIVE_BUFFER_BYTES = 4_096

_IN_THE_WAY = (
    "streams are delivered by generator: each one takes a greenlet, and one of the"
    " worker's connections (worker_connections). Exclude the stream's URL from the"
    " middleware, or set SSE_HUB_SOCKET_TAKEOVER = False to accept this: %s"
)

# These obstacles come from a middleware. They are warnings, because nobody would notice
# them before the worker is full.
_HIDDEN = "a middleware has its own start_response, which hides gunicorn's"
_MEASURED = "something has given the stream a Content-Length"


class TakeoverStream(EventStream):
    """An event stream that takes its socket over if the server allows it.

    Otherwise the server iterates it like any other EventStream.
    """

    # gunicorn's response, as long as a takeover is possible.
    _response: Any = None
    _in_browser = False

    def offer(self, environ: Mapping[str, Any], write: object) -> None:
        """Prepare for a takeover if this server's connection allows one.

        ``write`` is the callable that start_response returned.
        """
        obstacle = _obstacle(environ, write)
        if obstacle is None:
            self._response = getattr(write, "__self__", None)
            # The user agent of every browser begins with "Mozilla/". Sec-Fetch-Mode
            # would be clearer, but browsers do not send it over plain HTTP.
            agent = environ.get("HTTP_USER_AGENT", "")
            self._in_browser = agent.startswith("Mozilla/")
        elif obstacle in (_HIDDEN, _MEASURED):
            self._warn(obstacle)
        elif self._hub.first_time(obstacle):
            log.info("streams are delivered by generator: %s", obstacle)

    def _warn(self, obstacle: str) -> None:
        if self._hub.first_time(obstacle):
            log.warning("SSE-1103", _IN_THE_WAY, obstacle)

    @property
    def fileno(self) -> Callable[[], int] | None:
        """The socket's ``fileno`` where a takeover is possible, None elsewhere.

        Iterables of files have this attribute, so that a server can send them by
        itself. Some middlewares, such as Sentry's, leave such iterables unwrapped.
        """
        if self._response is None:
            return None
        return self._response.sock.fileno  # type: ignore[no-any-return]

    __hash__ = EventStream.__hash__

    def __eq__(self, other: object) -> bool:
        """Take the socket over when the worker compares this with ALREADY_HANDLED.

        A takeover raises StopIteration, which ends the connection's greenlet at once.
        After True the greenlet would wait for the connection's next request.
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
        """Remove the client from the hub, unless the hub's writer owns it by now."""
        if self._client.sink is self:
            super().close()
        else:
            self._finish_response()

    def _take_over(self) -> None:
        response, self._response = self._response, None
        connection: socket.socket = response.sock
        # Many programs wait for a full buffer before they read, unless the body is
        # chunked. Browsers read at once, but they report an error if a chunked stream
        # is cut off before its last chunk, as at a logout.
        chunked = response.chunked and not self._in_browser
        try:
            form = self._client.coding.form(chunked=chunked)
            copy = ClientSocket.of(connection, form)
        except OSError as error:
            if self._hub.first_time(str(error)):
                log.warning("SSE-1105", "cannot take a socket over: %s", error)
            return
        client = self._client
        client.sink = sink = self._hub.sink(copy)
        try:
            greeting = self._hub.connect(
                client, last_event_id=self._last_event_id, warnings=self._warnings
            )
            if self._hub.inherited:
                raise not_ours()
            _limit_buffers(connection)
            head = _head(response, chunked=chunked)
            self._hub.adopt(client, sink, head=head, greeting=greeting)
        except (ClientRefused, BrokerUnavailable) as refusal:
            copy.close()
            client.sink = self
            self._refuse(refusal)
            return
        except BaseException:
            # The server still owns the connection and answers with the error. It does
            # not call close() in this case.
            self._hub.give_back(client, sink)
            raise
        try:
            self.close()
        except Exception:  # noqa: BLE001 - it is logged
            # If this were raised, the server would answer with the error, on a
            # connection that the writer owns by now.
            _rare_log.exception(
                "SSE-1104", "closing a response failed after its socket was taken over"
            )
        raise StopIteration


def _obstacle(environ: Mapping[str, Any], write: object) -> str | None:
    """Return the reason why a connection cannot be taken over, None if it can."""
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
        return "this version of gunicorn is not supported"
    if environ["REQUEST_METHOD"] == "HEAD" or response.headers_sent:
        return "this response has no stream to send"
    if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
        return "the request has a body, which may still be unread"
    if response.response_length is not None:
        return _MEASURED
    return None


def _already_handled() -> object:
    module = sys.modules.get("gunicorn.workers.base_async")
    return getattr(module, "ALREADY_HANDLED", None)


def _head(response: Any, *, chunked: bool) -> bytes:
    """Return the status line and headers as gunicorn would send them."""
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
    """Return the name of the module outside this package that iterates the stream."""
    while frame is not None:
        module: str = frame.f_globals.get("__name__", "")
        if not module.startswith(__package__ or ""):
            return module
        frame = frame.f_back
    return "something"
