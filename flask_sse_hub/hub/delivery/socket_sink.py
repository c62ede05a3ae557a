"""A sink without a server: it writes to a client's own socket, after a takeover.

Knows the socket, and what the kernel reports about it. Does not know what is written,
or in which order.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from ...events.coding import Form
from ...runtime import sockets
from ...runtime.sockets import Socket
from ..clients.client import Client

# The bytes that a client may send after its request. They are thrown away. A client
# that sends more does not know event streams, and its stream ends.
_MAX_RECEIVED_BYTES = 16_384

#: The most bytes of one write. Within one machine the kernel would send larger writes
#: as segments of 64 KB. One of them fills the small send buffer, and the receiver waits
#: 40 ms for a second one before it acknowledges the first.
MAX_WRITE_BYTES = 16_384

#: The same for a client that receives larger events, and its send buffer, which the
#: kernel doubles. With the small one, each of these events would wait for room, which
#: costs more than the rest of its delivery.
WIDE_WRITE_BYTES = 65_536


class ClientSocket(Socket):
    """A client's own socket, with the form in which its stream is sent."""

    __slots__ = ("form", "most")

    form: Form
    #: The most bytes of one write.
    most: int

    @classmethod
    def of(cls, connection: socket.socket, form: Form) -> Self:
        """Return a second socket for a client's connection. Raises OSError."""
        copy = cls.duplicate(connection)
        copy.form = form
        copy.most = MAX_WRITE_BYTES
        return copy

    def widen(self) -> None:
        """Write more bytes at once from now on, of which the kernel holds more."""
        if self.most < WIDE_WRITE_BYTES:
            self.most = WIDE_WRITE_BYTES
            with suppress(OSError):
                self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WIDE_WRITE_BYTES)


class SocketSink:
    """The sink of one client's own socket. Once adopted, only the writer writes to it.

    put() and go_on() replace the bytes to write: call them only when none are left.
    """

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
        #: The client's socket, which does not block.
        self.socket = connection
        self._look_at = look_at
        self._unsent = 0
        self._received = 0
        # The bytes being written, and how many of them the kernel has taken.
        self._unfinished = b""
        self._offset = 0
        #: The client; None before the writer adopts the sink, and once it is closed.
        self.client: Client | None = None
        #: The moment when the kernel took no more bytes; None while it takes all.
        self.writing_since: float | None = None
        #: Whether the kernel has been asked to report when it takes bytes again.
        self.waits_for_room = False
        #: Whether the sink is in the writer's queue.
        self.due = False
        #: Whether the broker is being read for this client, and whether the writer has
        #: to look at the sink again after the read.
        self.reading = False
        self.again = False
        #: Whether the last bytes of the stream are written, or on their way.
        self.ending = False
        #: Whether the connection is over, and whether it has to end at once even if
        #: bytes are unfinished.
        self.gone = False
        self.cutting = False

    @property
    def descriptor(self) -> int:
        """The socket's descriptor; -1 once the socket is closed."""
        return self.socket.fileno()

    def wake(self) -> None:
        """Have the writer look at this sink, because something is due."""
        self._look_at(self)

    def taking(self) -> bool:
        """Tell whether the kernel holds fewer bytes for the peer than at the last call.

        The peer has then taken some of them.
        """
        before, self._unsent = self._unsent, sockets.unsent_bytes(self.descriptor)
        return self._unsent < before

    def cut(self) -> None:
        """End the connection now, in the middle of a write or a fan-out if need be."""
        self.cutting = True
        self._shut_down()
        self._look_at(self)

    @property
    def left(self) -> int:
        """The number of bytes still to be written."""
        return len(self._unfinished) - self._offset

    def begin(self, head: bytes, greeting: bytes) -> None:
        """Set the first bytes to write: the response's head, then the greeting."""
        self.put(greeting)
        self._unfinished = head + self._unfinished

    def put(self, coded: bytes, *, last: bool = False) -> None:
        """Set the next bytes of the stream to write; ``last`` ends the stream."""
        self.go_on(self.socket.form.frame(coded, last=last))

    def go_on(self, framed: bytes, *, sent: int = 0) -> None:
        """Set framed bytes to write, of which the kernel has taken ``sent`` already."""
        self._unfinished = framed
        self._offset = sent
        if len(framed) > MAX_WRITE_BYTES:
            self.socket.widen()

    def flush(self) -> bool:
        """Write the bytes that are left; tell whether the kernel took all of them."""
        rest = memoryview(self._unfinished)
        while self._offset < len(rest):
            part = rest[self._offset : self._offset + self.socket.most]
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
        """Read the bytes that the peer has sent, and throw them away."""
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
        """Whether the peer has sent more than a client of an event stream does."""
        return self._received > _MAX_RECEIVED_BYTES

    def close(self) -> None:
        """End the connection. Later writes raise OSError and reach no other socket."""
        # A forked child has a copy of the socket. Closing ours alone would leave the
        # peer connected.
        self._shut_down()
        self.abandon()

    def _shut_down(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Close this copy of the socket, and leave the connection as it is."""
        self.client = None
        self._unfinished = b""
        self.writing_since = None
        self.socket.close()
