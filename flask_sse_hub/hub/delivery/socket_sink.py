"""A client's own socket, which was taken over from the server: a sink without a server.

Knows what the kernel says of it; not what is written, or in which order.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from ...events.coding import Form
from ...runtime import sockets
from ...runtime.sockets import Socket
from ..clients.client import Client

# What a client may send after its request, which is thrown away, before it is taken for
# one that does not speak of event streams.
_MAX_RECEIVED_BYTES = 16_384

#: The most of one write. Within one machine the kernel would make segments of 64 KB of
#: larger ones, which fill the small send buffer, and whose receiver waits 40 ms for a
#: second one before it acknowledges the first.
MAX_WRITE_BYTES = 16_384


class ClientSocket(Socket):
    """A client's own socket, with the form in which its stream goes over it."""

    __slots__ = ("form",)

    form: Form

    @classmethod
    def of(cls, connection: socket.socket, form: Form) -> Self:
        """Return a second socket for a client's connection. Raises OSError."""
        copy = cls.duplicate(connection)
        copy.form = form
        return copy


class SocketSink:
    """One client's socket. Only the writer writes to it, once it has adopted it."""

    __slots__ = (
        "_look_at",
        "_offset",
        "_received",
        "_unfinished",
        "_unsent",
        "again",
        "client",
        "cutting",
        "due",
        "ending",
        "gone",
        "reading",
        "socket",
        "waits_for_room",
        "writing_since",
    )

    delivery_kind = "socket"

    def __init__(
        self, connection: ClientSocket, look_at: "Callable[[SocketSink], None]"
    ) -> None:
        #: It does not block.
        self.socket = connection
        self._look_at = look_at
        self._unsent = 0
        self._received = 0
        # What the kernel did not take all of, and from where on.
        self._unfinished = b""
        self._offset = 0
        #: Whose it is; None before the writer adopted it, and once it is closed.
        self.client: Client | None = None
        #: Since when the kernel takes nothing more for this client.
        self.writing_since: float | None = None
        #: Whether the kernel was asked to tell when it takes more.
        self.waits_for_room = False
        #: Whether it stands in the line of those that are to be looked at.
        self.due = False
        #: Whether the broker is being read for this client, and what came meanwhile.
        self.reading = False
        self.again = False
        #: Whether the last bytes of the stream are written, or on their way.
        self.ending = False
        #: Whether the connection is over, or to be ended whatever is unfinished.
        self.gone = False
        self.cutting = False

    @property
    def descriptor(self) -> int:
        """The socket's descriptor, -1 once it is closed."""
        return self.socket.fileno()

    def wake(self) -> None:
        """Say that something is due."""
        self._look_at(self)

    def taking(self) -> bool:
        """Tell whether the kernel holds less for the peer than when last asked."""
        before, self._unsent = self._unsent, sockets.unsent_bytes(self.descriptor)
        return self._unsent < before

    def cut(self) -> None:
        """End the connection, whatever is unfinished or just being fanned out."""
        self.cutting = True
        self._shut_down()
        self._look_at(self)

    @property
    def left(self) -> int:
        """How many bytes are still to be written."""
        return len(self._unfinished) - self._offset

    def begin(self, head: bytes, greeting: bytes) -> None:
        """Have the head of the response written, and the first bytes of its stream."""
        self.put(greeting)
        self._unfinished = head + self._unfinished

    def put(self, coded: bytes, *, last: bool = False) -> None:
        """Have bytes of the stream written next, the last ones if it says so."""
        self.go_on(self.socket.form.frame(coded, last=last))

    def go_on(self, framed: bytes, *, sent: int = 0) -> None:
        """Have the rest written of what goes over the connection as it is."""
        self._unfinished = framed
        self._offset = sent

    def flush(self) -> bool:
        """Write what is left; tell whether that was all."""
        rest = memoryview(self._unfinished)
        while self._offset < len(rest):
            part = rest[self._offset : self._offset + MAX_WRITE_BYTES]
            try:
                sent = self.socket.send(part)
            except BlockingIOError:
                return False
            except OSError:
                self.gone = True
                return False
            self._offset += sent
            if sent < len(part):
                return False
        self._unfinished = b""
        self._offset = 0
        return True

    def discard(self) -> None:
        """Read what the peer has sent and throw it away."""
        while not self.gone and not self.intrusive:
            try:
                received = len(self.socket.recv(_MAX_RECEIVED_BYTES))
            except BlockingIOError:
                return
            except OSError:
                self.gone = True
                return
            if not received:
                return
            self._received += received

    @property
    def intrusive(self) -> bool:
        """Whether the peer has sent more than anybody would who only listens."""
        return self._received > _MAX_RECEIVED_BYTES

    def close(self) -> None:
        """End the connection. A closed socket's descriptor is used by nobody."""
        # A forked child has a copy, which closing alone would leave connected.
        self._shut_down()
        self.abandon()

    def _shut_down(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Let go of this copy of the socket, and leave the connection as it is."""
        self.client = None
        self._unfinished = b""
        self.writing_since = None
        self.socket.close()
