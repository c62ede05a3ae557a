"""Delivery by generator: the iterable of a WSGI response, for any server.

The server's own greenlet or thread asks for the next bytes and writes them. Knows the
hub, and uses the socket only to watch its peer and to end the connection. Does not know
requests.
"""

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from ..errors import BrokerUnavailable, ClientRefused
from ..hub.clients.admission import GENERATOR, refusal_stream
from ..hub.clients.client import Client
from ..hub.clients.close_reason import IMMEDIATE, CloseReason
from ..hub.hub import Hub
from ..runtime import sockets

log = logging.getLogger(__name__)


class EventStream(Iterator[bytes]):
    """One client's stream: the iterable for the server, and the client's sink.

    The client is registered when iteration starts, so a HEAD request or a peer that has
    already left leaves nothing behind. The client is removed at the end of the
    iteration or in close(), whichever comes first.
    """

    delivery_kind = GENERATOR

    def __init__(
        self,
        hub: Hub,
        client: Client,
        *,
        last_event_id: str | None,
        connection: socket.socket | None,
        warnings: Sequence[str] = (),
    ) -> None:
        self.writing_since: float | None = None
        #: Called once when the server is done with the response.
        self.on_close: Callable[[], None] | None = None
        self._hub = hub
        self._client = client
        client.sink = self
        self._last_event_id = last_event_id
        self._warnings = warnings
        self._socket = connection
        self._unsent = 0
        self._state: Callable[[], bytes] = self._greet
        # Locked while nothing is due; wake() releases it. Each client has one, and a
        # lock is the smallest object on which both greenlets and threads can wait.
        self._due = threading.Lock()
        self._due.acquire()

    # Called by the server

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        self.writing_since = None
        try:
            chunk = self._state()
        except Exception as error:
            if not isinstance(error, StopIteration):
                self._hub.end(self._client, CloseReason.ERROR)
            raise
        if self._hub.inherited:
            raise not_ours()
        self.writing_since = self._hub.clock()
        if self._client.close_reason in IMMEDIATE:
            # The stream was closed after the chunk was made, and before there was a
            # write that cut() could end. The chunk must not be sent any more.
            return self._end()
        return chunk

    def close(self) -> None:
        """Remove the client. The server calls this however the stream ended."""
        self._state = self._end
        if self._hub.inherited:
            # The parent lets go of the client, and tells the app.
            return
        if self._socket is not None:
            self._hub.forget_peer(self._socket)
        self._hub.leave(self._client, CloseReason.CLIENT_GONE)
        self._socket = None
        self.writing_since = None
        self.wake()
        self._finish_response()

    def _finish_response(self) -> None:
        """Call the functions that the app added with ``call_on_close``, once."""
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()

    # The next bytes

    def _greet(self) -> bytes:
        self._state = self._read
        try:
            greeting = self._hub.connect(
                self._client,
                last_event_id=self._last_event_id,
                warnings=self._warnings,
            )
        except (ClientRefused, BrokerUnavailable) as refusal:
            self._refuse(refusal)
            return self._say_refusal()
        if self._socket is not None:
            self._hub.watch_peer(self._socket, self._client)
        return greeting

    def _refuse(self, refusal: Exception) -> None:
        """Reduce the stream to one line, which sets the reconnect delay."""
        log.info("%r was refused: %s", self._client, refusal)
        self._state = self._say_refusal

    def _say_refusal(self) -> bytes:
        self._state = self._end
        coding = self._client.coding
        return coding.head + coding.encode([refusal_stream()]) + coding.tail

    def _read(self) -> bytes:
        # A client without a cursor keeps up. Each event wakes it, so it waits before it
        # looks for bytes. Changes of its channels are due without another wake.
        if self._client.cursor is None and not self._client.changes:
            self._due.acquire()
        while (chunk := self._hub.take(self._client)) == b"":
            self._due.acquire()
        if chunk is not None:
            return chunk
        self._state = self._end
        return self._hub.farewell(self._client) or self._end()

    def _end(self) -> bytes:
        if self._hub.inherited:
            # After a StopIteration the server would write the end of the response.
            raise not_ours()
        # The server would otherwise wait for the next request on this connection. A
        # worker that is shutting down does not have those seconds.
        if self._socket is not None:
            sockets.shutdown(self._socket.fileno(), socket.SHUT_RD)
        # close() removes the client too, but some middlewares forget to call it.
        self._hub.leave(self._client, CloseReason.CLIENT_GONE)
        raise StopIteration

    # Called by the hub

    def wake(self) -> None:
        """Wake the stream because bytes are due. Waking it twice equals waking once."""
        try:
            self._due.release()
        except RuntimeError:
            # The lock is already released: the stream has not looked since.
            return

    def taking(self) -> bool:
        """Tell whether the kernel holds fewer unsent bytes than at the last call."""
        if self._socket is None:
            return False
        before, self._unsent = (
            self._unsent,
            sockets.unsent_bytes(self._socket.fileno()),
        )
        return self._unsent < before

    def cut(self) -> None:
        """Shut the connection down. A write that blocks ends with an error."""
        if self._socket is not None:
            sockets.shutdown(self._socket.fileno())

    def abandon(self) -> None:
        """Leave the connection to the parent, in a forked child."""
        connection, self._socket = self._socket, None
        if connection is not None:
            sockets.disown(connection.fileno())


def not_ours() -> BrokenPipeError:
    """Return the error for which servers write nothing more to a connection.

    A fork under gevent copies the greenlet that serves a stream. If the child wrote
    too, the client would receive everything twice.
    """
    return BrokenPipeError(errno.EPIPE, "the stream belongs to the parent process")
