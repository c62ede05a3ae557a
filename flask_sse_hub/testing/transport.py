"""How a stream under test gets its bytes: from Flask's test client or a live server.

Knows requests and answers; nothing of events.
"""

import copy
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from ..errors import EventMissing

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """What a stream is asked for with; ``body`` is sent as JSON unless it is None."""

    url: str
    method: str
    headers: Mapping[str, str]
    body: Any = None


class Answer(Protocol):
    """An answer whose body is read piece by piece, perhaps for ever."""

    status: int
    headers: Headers

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes; blocks in between."""

    def cut(self) -> bool:
        """Go away, from any thread; tell whether chunks() can be ended, and so ends."""

    def close(self) -> None:
        """Let go of everything, in the thread that read."""


class AppAnswer:
    """The answer of an app, called in this process."""

    def __init__(self, response: TestResponse) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        # Guards what follows: what an app hung onto the end shall run once.
        self._lock = threading.Lock()
        self._closed = False

    def chunks(self) -> Iterator[bytes]:
        """Yield what the app's iterable does."""
        return iter(self._response.iter_encoded())

    def cut(self) -> bool:
        """Do what a server does whose client has left.

        A plain generator that runs right now cannot be ended from outside. It goes on
        until it yields, as under a real server.
        """
        try:
            self.close()
        except ValueError:
            return False
        return True

    def close(self) -> None:
        """Have the app's iterable closed, once."""
        with self._lock:
            if not self._closed:
                self._response.close()
                self._closed = True


class LiveAnswer:
    """The answer of a server, over a connection of its own."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        connected: socket.socket,
    ) -> None:
        self.status = response.status
        self.headers = Headers(response.getheaders())
        self._connection = connection
        self._response = response
        self._socket = connected

    def chunks(self) -> Iterator[bytes]:
        """Yield what comes; a connection that breaks is an end like any other."""
        with suppress(OSError, http.client.HTTPException):
            while chunk := self._response.read1(_READ_BYTES):
                yield chunk

    def cut(self) -> bool:
        """Shut the connection down, which ends a read that blocks."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        return True

    def close(self) -> None:
        """Close the connection."""
        self.cut()
        self._response.close()
        self._connection.close()


def open_app(client: FlaskClient, request: Request) -> Answer:
    """Ask an app through its test client."""
    body = {} if request.body is None else {"json": request.body}
    return AppAnswer(
        _without_contexts(client).open(
            request.url, method=request.method, headers=dict(request.headers), **body
        )
    )


def _without_contexts(client: FlaskClient) -> FlaskClient:
    """Return a client with the same cookies that keeps no request's context.

    In a ``with client:`` block that of each request is kept until the next one, in the
    thread that made it. A stream lasts longer, and has a thread of its own.
    """
    twin = copy.copy(client)
    twin.preserve_context = False
    twin._context_stack = ExitStack()  # noqa: SLF001 - there is no public way
    return twin


def open_live(request: Request, *, within: float) -> Answer:
    """Ask a server; raises OSError where none is, and EventMissing if it is silent."""
    parts = urlsplit(request.url)
    kind = (
        http.client.HTTPSConnection
        if parts.scheme == "https"
        else http.client.HTTPConnection
    )
    connection = kind(parts.hostname or "", parts.port, timeout=within)
    headers = dict(request.headers)
    body = None
    if request.body is not None:
        body = json.dumps(request.body)
        headers["Content-Type"] = "application/json"
    path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    try:
        connection.connect()
        connected = connection.sock
        connection.request(request.method, path, body=body, headers=headers)
        response = connection.getresponse()
    except TimeoutError as error:
        connection.close()
        raise EventMissing(no_answer(request, within)) from error
    except BaseException:
        connection.close()
        raise
    # A stream may be silent for as long as it likes; who waits for an event does not.
    connected.settimeout(None)
    return LiveAnswer(connection, response, connected)


def no_answer(request: Request, within: float) -> str:
    """Return what is said of who does not answer in time."""
    return f"{request.url} did not answer within {within:g} s"


def opener(
    client: FlaskClient | None, request: Request, *, within: float
) -> Callable[[], Answer]:
    """Return what makes a request: through a client, or to the URL itself."""
    if client is None:
        return lambda: open_live(request, within=within)
    return lambda: open_app(client, request)
