"""Delivery by generator: the iterable of a WSGI response, for any server.

The server's own greenlet or thread asks for the next bytes and writes them. Knows the
hub, and the socket only to end it. Does not know requests.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self

from ..errors import BrokerUnavailable, ClientRefused
from ..hub.clients.admission import GENERATOR, refusal_stream
from ..hub.clients.client import Client
from ..hub.clients.close_reason import IMMEDIATE, CloseReason
from ..hub.hub import Hub
from ..runtime import sockets

log = logging.getLogger(__name__)


class EventStream(Iterator[bytes]):
    """One client's stream, as the server iterates it; also that client's sink.

    The client is registered when iteration starts, so that a HEAD request or a peer
    that has already left leave nothing behind, and let go at the end or in close(),
    whichever comes first.
    """

    delivery_kind = GENERATOR

    def __init__(
        self,
        hub: Hub,
        client: Client,
        *,
        last_event_id: str | None,
        connection: socket.socket | None,
    ) -> None:
        self.writing_since: float | None = None
        #: Called once when the server is done with the response.
        self.on_close: Callable[[], None] | None = None
        self._hub = hub
        self._client = client
        client.sink = self
        self._last_event_id = last_event_id
        self._socket = connection
        self._unsent = 0
        self._state: Callable[[], bytes] = self._greet
        # Held while nothing is due. A lock is the smallest thing that both a greenlet
        # and a thread can wait on, and each client has one.
        self._due = threading.Lock()
        self._due.acquire()

    # What the server calls

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
        self.writing_since = self._hub.clock()
        if self._client.close_reason in IMMEDIATE:
            # It came after the chunk was made, and before it could cut a write.
            return self._end()
        return chunk

    def close(self) -> None:
        """Let go of the client. The server calls this however the stream ended."""
        self._state = self._end
        if self._socket is not None:
            self._hub.forget_peer(self._socket)
        self._hub.leave(self._client, CloseReason.CLIENT_GONE)
        self._socket = None
        self.writing_since = None
        self.wake()
        self._finish_response()

    def _finish_response(self) -> None:
        """Run what the app hung onto the end of the response."""
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()

    # What is next

    def _greet(self) -> bytes:
        self._state = self._read
        try:
            greeting = self._hub.connect(
                self._client, last_event_id=self._last_event_id
            )
        except (ClientRefused, BrokerUnavailable) as refusal:
            self._refuse(refusal)
            return self._say_refusal()
        if self._socket is not None:
            self._hub.watch_peer(self._socket, self._client)
        return greeting

    def _refuse(self, refusal: Exception) -> None:
        """Have the stream be only the line that says when to come back."""
        log.info("%r was refused: %s", self._client, refusal)
        self._state = self._say_refusal

    def _say_refusal(self) -> bytes:
        self._state = self._end
        coding = self._client.coding
        return coding.head + coding.encode([refusal_stream()]) + coding.tail

    def _read(self) -> bytes:
        # A client that keeps up is woken for whatever comes, so it need not look first.
        if self._client.cursor is None:
            self._due.acquire()
        while (chunk := self._hub.take(self._client)) == b"":
            self._due.acquire()
        if chunk is not None:
            return chunk
        self._state = self._end
        return self._hub.farewell(self._client) or self._end()

    def _end(self) -> bytes:
        # After a response the server would wait for the next request on this
        # connection, for seconds that a worker on its way out does not have.
        if self._socket is not None:
            sockets.shutdown(self._socket.fileno(), socket.SHUT_RD)
        # Not only in close(), which some middlewares forget to call.
        self._hub.leave(self._client, CloseReason.CLIENT_GONE)
        raise StopIteration

    # What the hub calls

    def wake(self) -> None:
        """Say that something is due; twice before it is looked at is once."""
        try:
            self._due.release()
        except RuntimeError:
            # It was released before, and not waited for since.
            return

    def taking(self) -> bool:
        """Tell whether the kernel holds less for the peer than when last asked."""
        if self._socket is None:
            return False
        before, self._unsent = (
            self._unsent,
            sockets.unsent_bytes(self._socket.fileno()),
        )
        return self._unsent < before

    def cut(self) -> None:
        """Shut the connection down, which ends a write that blocks."""
        if self._socket is not None:
            sockets.shutdown(self._socket.fileno())
