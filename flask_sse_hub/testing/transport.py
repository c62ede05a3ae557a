"""The source of a stream's bytes in a test: Flask's test client or a live server.

Knows requests and responses. Does not know events.
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
    """The request for a stream. ``body`` is sent as JSON unless it is None."""

    url: str
    method: str
    headers: Mapping[str, str]
    body: Any = None


class Answer(Protocol):
    """A response whose body is read piece by piece, and may have no end."""

    status: int
    headers: Headers

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes. Blocks while there are no bytes."""

    def cut(self) -> bool:
        """Leave, as a client does, and end chunks().

        May be called from any thread. Returns False if chunks() cannot be ended now.
        """

    def close(self) -> None:
        """Release everything. To be called in the thread that read."""


class AppAnswer:
    """The response of an app that runs in this process."""

    def __init__(self, response: TestResponse) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        # Guards _closed, so that functions of call_on_close run only once.
        self._lock = threading.Lock()
        self._closed = False

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks of the app's iterable."""
        return iter(self._response.iter_encoded())

    def cut(self) -> bool:
        """Close the app's iterable, as a server does when its client leaves.

        Returns False for a plain generator that is running at the moment. It cannot be
        ended from outside, and goes on until it yields, as under a real server.
        """
        try:
            self.close()
        except ValueError:
            return False
        return True

    def close(self) -> None:
        """Close the app's iterable, once."""
        with self._lock:
            if not self._closed:
                self._response.close()
                self._closed = True


class LiveAnswer:
    """The response of a live server, over a connection of its own."""

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
        """Yield the body as it comes. A broken connection is an end, not an error."""
        with suppress(OSError, http.client.HTTPException):
            while chunk := self._response.read1(_READ_BYTES):
                yield chunk

    def cut(self) -> bool:
        """Shut the connection down. A read that blocks ends."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        return True

    def close(self) -> None:
        """Close the connection."""
        self.cut()
        self._response.close()
        self._connection.close()


def open_app(client: FlaskClient, request: Request) -> Answer:
    """Send a request to an app through its test client."""
    body = {} if request.body is None else {"json": request.body}
    return AppAnswer(
        _without_contexts(client).open(
            request.url, method=request.method, headers=dict(request.headers), **body
        )
    )


def _without_contexts(client: FlaskClient) -> FlaskClient:
    """Return a client with the same cookies that does not preserve request contexts.

    In a ``with client:`` block, Flask keeps the context of a request until the next
    one, in the thread that made it. A stream lasts longer and has a thread of its own.
    """
    twin = copy.copy(client)
    twin.preserve_context = False
    twin._context_stack = ExitStack()  # noqa: SLF001 - there is no public way
    return twin


def open_live(request: Request, *, within: float) -> Answer:
    """Send a request to a live server.

    Raises OSError if no server listens there, and EventMissing if it does not respond
    within ``within`` seconds.
    """
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
    # Reading has no deadline, since a stream may be silent for any time. The deadline
    # belongs to the test that waits for an event.
    connected.settimeout(None)
    return LiveAnswer(connection, response, connected)


def no_answer(request: Request, within: float) -> str:
    """Return the text of the error for a request without a response."""
    return f"{request.url} did not answer within {within:g} s"


def opener(
    client: FlaskClient | None, request: Request, *, within: float
) -> Callable[[], Answer]:
    """Return a function that sends the request: by the test client, or to the URL."""
    if client is None:
        return lambda: open_live(request, within=within)
    return lambda: open_app(client, request)
