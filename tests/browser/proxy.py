"""A proxy between a browser and its server that fails on demand."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.kit.ports import HOST


class Proxy:
    """A proxy that passes on all bytes, unless a test makes it fail."""

    def __init__(self, port: int) -> None:
        #: The answer to every new connection, which is then not passed on.
        self.answer: bytes | None = None
        #: Whether new connections are not answered at all.
        self.is_silent = False
        #: The method and the target of each request that was passed on.
        self.requests: list[str] = []
        self._server_port = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        # Both ends of each connection. Bytes from swallowed ends are not passed on.
        self._ends: dict[socket.socket, socket.socket] = {}
        self._swallowed: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self, status: str, *headers: str) -> None:
        """Answer new connections with an error, and cut the open ones."""
        lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0"]
        self.answer = "\r\n".join([*lines, "Connection: close\r\n\r\n"]).encode()
        self.cut()

    def cut(self) -> None:
        """End all connections."""
        for end in [*self._ends]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def swallow(self) -> None:
        """Stop passing on bytes of the open connections, but leave them open."""
        self._swallowed.update(self._ends)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.is_silent:
                while client.recv(65536):
                    pass
                return
            if self.answer is not None:
                client.recv(65536)
                client.sendall(self.answer)
                return
            with socket.create_connection((HOST, self._server_port)) as server:
                self._ends |= {client: server, server: client}
                back = threading.Thread(target=self._pass_on, args=[server])
                back.start()
                self._pass_on(client, note=self._note)
                back.join()
                del self._ends[client], self._ends[server]

    def _note(self, chunk: bytes) -> None:
        # A browser sends no request before the last one of a connection is answered.
        words = chunk.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) == 3 and words[2].startswith("HTTP/"):
            self.requests.append(f"{words[0]} {words[1]}")

    def _pass_on(
        self, source: socket.socket, *, note: Callable[[bytes], None] | None = None
    ) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                if note is not None:
                    note(chunk)
                if source not in self._swallowed:
                    self._ends[source].sendall(chunk)
        with suppress(OSError):
            self._ends[source].shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        self.cut()
