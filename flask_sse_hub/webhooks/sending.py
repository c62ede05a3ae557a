"""The sender of signed deliveries: one POST request to one URL, with a deadline.

Follows no redirect: a signed delivery is for the URL that the app has named. Does not
know what a delivery is about, or when it is tried again.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from .schemes import StandardWebhooks

# The longest silence of the receiver, and the longest time of one attempt once it is
# connected: a receiver could send a byte now and then for ever.
_SILENCE_SECONDS = 10.0
_ATTEMPT_SECONDS = 20.0

# How much of an answer is read. The connection is not used again if there is more.
_MOST_BYTES = 16_384


class Sender:
    """Send deliveries to one URL, over one connection. Creating it connects nothing.

    For one thread at a time. ``time_of_day`` is in seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        scheme: StandardWebhooks,
        *,
        time_of_day: Callable[[], float] = time.time,
        silence: float = _SILENCE_SECONDS,
        most_seconds: float = _ATTEMPT_SECONDS,
    ) -> None:
        parts = urlsplit(url)
        self._is_encrypted = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        query = f"?{parts.query}" if parts.query else ""
        self._target = (parts.path or "/") + query
        self._scheme = scheme
        self._time_of_day = time_of_day
        self._silence = silence
        self._most_seconds = most_seconds
        self._connection: http.client.HTTPConnection | None = None

    def send(self, delivery_id: str, body: bytes) -> str | None:
        """Make one attempt; return the problem, None if the receiver has accepted it.

        Raises ConfigurationError if a function for the secrets returned a wrong one.
        """
        signed = self._scheme.sign(delivery_id, body, now=self._time_of_day())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "flask-sse-hub",
            **signed,
        }
        kept = self._connection is not None
        try:
            try:
                return self._post(body, headers)
            except (ConnectionError, http.client.BadStatusLine):
                self.close()
                if not kept:
                    raise
                # The receiver has closed a connection that was idle.
                return self._post(body, headers)
        except TimeoutError:
            self.close()
            return "no answer in time"
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return f"{type(error).__name__}: {error}"[:200]

    def _post(self, body: bytes, headers: dict[str, str]) -> str | None:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        is_late = threading.Event()
        deadline = threading.Timer(self._most_seconds, _cut, (connection.sock, is_late))
        deadline.daemon = True
        deadline.start()
        try:
            connection.request("POST", self._target, body, headers)
            response = connection.getresponse()
            response.read(_MOST_BYTES)
        finally:
            deadline.cancel()
        if is_late.is_set():
            # Headers that are cut off would pass for whole ones.
            raise TimeoutError
        if not response.isclosed() or response.will_close:
            self.close()
        if 200 <= response.status < 300:
            return None
        if 300 <= response.status < 400:
            return f"it answered {response.status}, and redirects are not followed"
        return f"it answered {response.status}"

    def _connect(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._is_encrypted:
            connection = http.client.HTTPSConnection(
                self._host,
                self._port,
                timeout=self._silence,
                context=ssl.create_default_context(),
            )
        else:
            connection = http.client.HTTPConnection(
                self._host, self._port, timeout=self._silence
            )
        connection.connect()
        return connection

    def close(self) -> None:
        """Close the connection. The next delivery opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _cut(connection: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    # A close alone would not wake a reader. The shutdown() of a TLS socket's own class
    # would take the encryption away from the reader.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
