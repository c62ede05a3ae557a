"""A TCP proxy that forgets its connections, as a NAT or a load balancer does."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Literal, Self

from tests.kit.ports import HOST

# Closing a socket with this option sends a reset.
_RESET = struct.pack("ii", 1, 0)


class ForgetfulProxy:
    """Forward connections to a local port, until the test has them forgotten."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._forgotten: dict[socket.socket, Literal["silent", "reset"]] = {}
        #: How many connections were opened.
        self.opened = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        for each in self._sockets:
            each.close()

    def forget(self, way: Literal["silent", "reset"]) -> None:
        """Forward nothing more on all connections that are open now.

        ``silent`` throws away all that comes, ``reset`` answers it by a reset.
        """
        self._forgotten |= dict.fromkeys(self._sockets, way)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection((HOST, self._target))
                self._sockets += [here, there]
                self.opened += 1
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                way = self._forgotten.get(source)
                if way == "reset":
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    source.close()
                    return
                if way is None:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
