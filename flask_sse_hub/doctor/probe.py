"""A probe: one stream, opened and read as a browser does, with the time of each chunk.

Runs in a thread of its own. Does not know faults.
"""

import http.client
import secrets
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

# How long a connection may take to open. A stream's head may be held back for longer.
_CONNECT_SECONDS = 10.0


class Unreachable(Exception):
    """Raised when no HTTP answer comes from an address."""


def connection_to(
    url: str, *, timeout: float, insecure: bool
) -> http.client.HTTPConnection:
    """Return a new connection to the server of a URL. Raises Unreachable."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return http.client.HTTPConnection(parts.netloc, timeout=timeout)
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)


def path_of(url: str, **query: str) -> str:
    """Return the path of a URL with a query, as the request line has it."""
    return f"{urlsplit(url).path}?{urlencode(query)}"


class Probe:
    """One stream. All times are of the monotonic clock."""

    def __init__(
        self,
        url: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        insecure: bool = False,
    ) -> None:
        self.url = url
        self.begun = time.monotonic()
        self.head_at: float | None = None
        self.ended_at: float | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}
        #: Why the stream could not be opened, or broke.
        self.error = ""
        self.last_at = self.begun
        self._path = path_of(url, **query)
        self._asked = dict(headers)
        self._connection = connection_to(
            url, timeout=_CONNECT_SECONDS, insecure=insecure
        )
        self._socket: socket.socket | None = None
        self._decode: Callable[[bytes], bytes] = bytes
        # Guards the text, and tells of news.
        self._news = threading.Condition()
        self._text = ""
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._read()
        except (OSError, ValueError, http.client.HTTPException, zlib.error) as error:
            self.error = "" if self._closing else f"{error or type(error).__name__}"
        finally:
            with self._news:
                self.ended_at = time.monotonic()
                self._news.notify_all()

    def _read(self) -> None:
        self._connection.connect()
        # http.client forgets the socket of an answer that ends with the connection.
        self._socket = self._connection.sock
        # A stream may be silent for longer than any timeout.
        self._socket.settimeout(None)
        self._connection.request("GET", self._path, headers=self._asked)
        response = self._connection.getresponse()
        coding = response.headers.get("Content-Encoding", "identity").lower()
        if coding in ("gzip", "x-gzip"):
            self._decode = zlib.decompressobj(wbits=31).decompress
        with self._news:
            self.status = response.status
            self.headers = {k.lower(): v for k, v in response.headers.items()}
            self.head_at = self.last_at = time.monotonic()
            self._news.notify_all()
        while chunk := response.read1(65_536):
            with self._news:
                self._text += self._decode(chunk).decode(errors="replace")
                self.last_at = time.monotonic()
                self._news.notify_all()

    def wait_for_head(self, seconds: float) -> bool:
        """Wait for the answer's head; tell whether it has come."""
        with self._news:
            self._news.wait_for(lambda: self.head_at or self.ended_at, seconds)
        return self.head_at is not None

    def wait_for(self, text: str, seconds: float) -> float | None:
        """Wait for a text in the stream; return the time at which it was there."""
        with self._news:
            found = self._news.wait_for(
                lambda: text in self._text or self.ended_at is not None, seconds
            )
            return time.monotonic() if found and text in self._text else None

    def close(self) -> None:
        """Leave, as a page that is closed."""
        self._closing = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)
        self._connection.close()


def get(
    url: str, query: Mapping[str, str], *, timeout: float, insecure: bool = False
) -> tuple[int, bytes, Mapping[str, str]]:
    """Return the status, the body and the headers of one answer. Raises Unreachable."""
    connection = connection_to(url, timeout=timeout, insecure=insecure)
    try:
        connection.request("GET", path_of(url, **query))
        response = connection.getresponse()
        headers = {k.lower(): v for k, v in response.headers.items()}
        return response.status, response.read(1_000_000), headers
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{error or type(error).__name__}") from error
    finally:
        connection.close()


def nonce() -> str:
    """Return a text that no other event has."""
    return secrets.token_hex(8)
