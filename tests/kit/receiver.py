"""A real HTTP server that receives deliveries, on a port of its own."""

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.kit.ports import HOST


class Receiver:
    """Notes the path, headers and body of each request. ``answer`` makes the answers.

    The names of headers are in lower case. With a folder of ``cert.pem`` and
    ``key.pem`` it speaks TLS.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answer: Callable[[Any], object] = lambda handler: reply(handler, 204)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): v for name, v in self.headers.items()}
                outer.received.append((self.path, headers, body))
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                """Say nothing: senders cut connections."""

        self._listener = Listener((HOST, 0), Handler)
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
            plain = self._listener.socket
            self._listener.socket = context.wrap_socket(plain, server_side=True)
        self.url = f"{scheme}://{HOST}:{self._listener.server_port}/hooks?of=presence"

    def __enter__(self) -> Self:
        serve = self._listener.serve_forever
        threading.Thread(target=serve, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()


def reply(handler: Any, status: int, **headers: str) -> None:
    """Answer a request with a status and headers."""
    handler.send_response(status)
    if status != 204:
        headers.setdefault("Content-Length", "0")
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
