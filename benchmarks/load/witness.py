"""One client that reads what others only count: streams in a content coding.

Decodes by the standard tools, not by anything of the package.
"""

import http.client
import json
import random
from collections.abc import Sequence
from typing import Any, Self

from benchmarks.load.crowd import CrowdError
from tests.decoding import decoder
from tests.ports import HOST


def rows(size: int, *, seed: int) -> bytes:
    """Return JSON of about so many bytes: rows of orders, as a page would show them."""
    draw = random.Random(seed)
    found: list[dict[str, Any]] = []
    text = "[]"
    while len(text) < size:
        found.append(
            {
                "order": draw.randrange(10**6),
                "customer": f"customer{draw.randrange(10_000)}",
                "status": draw.choice(("open", "paid", "shipped", "returned")),
                "total": round(draw.uniform(1, 1000), 2),
                "at": f"2026-05-{draw.randrange(1, 29):02}T{draw.randrange(24):02}:30Z",
            }
        )
        text = json.dumps(found, separators=(",", ":"))
    return text.encode()


class Witness:
    """One stream, read as it comes, with the bytes that it took on its way."""

    def __init__(self, port: int, headers: Sequence[str]) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=30.0)
        fields = dict(header.split(": ", 1) for header in headers)
        self._connection.request("GET", "/events", headers=fields)
        self._response = self._connection.getresponse()
        self._decode = decoder(self._response.headers.get("Content-Encoding"))
        self._text = b""
        self._until(b"event: connected\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def take(self, data: bytes) -> int:
        """Return the bytes that an event took. Raises CrowdError if it is not next."""
        taken = self._until(b"data: " + data + b"\n\n")
        if self._text.count(b"data: ") != 1:
            raise CrowdError("more has come than was published")
        return taken

    def _until(self, text: bytes) -> int:
        """Read on until a text has come; return the bytes that this took."""
        self._text = b""
        taken = 0
        while text not in self._text or not self._text.endswith(b"\n\n"):
            received = self._response.read1(65_536)
            if not received:
                raise CrowdError("the stream has ended")
            taken += len(received)
            self._text += self._decode(received)
        return taken
