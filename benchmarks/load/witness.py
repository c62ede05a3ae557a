"""One client that decodes a compressed stream, of which other clients count the bytes.

It decodes with standard tools, not with code of the package.
"""

import http.client
import json
import random
from collections.abc import Sequence
from typing import Any, Self

from benchmarks.load.crowd import CrowdError
from tests.kit.decoding import decoder
from tests.kit.ports import HOST


def rows(size: int, *, seed: int) -> bytes:
    """Return JSON of about ``size`` bytes: rows of orders, as a page shows them."""
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
    """One stream that is read and decoded, and whose compressed bytes are counted."""

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
        """Return the bytes of the next event; raise CrowdError if the data differs."""
        taken = self._until(b"data: " + data + b"\n\n")
        if self._text.count(b"data: ") != 1:
            raise CrowdError("more events arrived than were published")
        return taken

    def _until(self, text: bytes) -> int:
        """Read until a text has arrived; return the number of compressed bytes."""
        self._text = b""
        taken = 0
        while text not in self._text or not self._text.endswith(b"\n\n"):
            received = self._response.read1(65_536)
            if not received:
                raise CrowdError("the stream has ended")
            taken += len(received)
            self._text += self._decode(received)
        return taken
