"""A response's body, compressed as it comes, for the one client that it is for.

Knows nothing of events. What very many share is compressed in ``coding``.
"""

import zlib
from collections.abc import Callable

from ..events.coding import pieces
from ..streams.response import StreamBody

#: As Content-Encoding has it.
CODING = "gzip"

# A few kilobytes to look back on are enough for events of one stream, which look alike.
# It takes 14 KiB of memory for each stream, and what zlib does by default 88.
_WINDOW_BITS = 12
_MEMORY_LEVEL = 5

# What has zlib begin and end with gzip's head and checksum.
_AS_GZIP = 16


class CompressedBody:
    """A body of which each part can be read as soon as it is there."""

    def __init__(self, body: StreamBody) -> None:
        self._body = body
        self._compressor = zlib.compressobj(
            wbits=_AS_GZIP + _WINDOW_BITS, memLevel=_MEMORY_LEVEL
        )
        self._ended = False

    @property
    def on_close(self) -> Callable[[], None] | None:
        """What is called once when the server is done with the response."""
        return self._body.on_close

    @on_close.setter
    def on_close(self, on_close: Callable[[], None] | None) -> None:
        self._body.on_close = on_close

    def __iter__(self) -> "CompressedBody":
        return self

    def __next__(self) -> bytes:
        if self._ended:
            raise StopIteration
        try:
            chunk = next(self._body)
        except StopIteration:
            self._ended = True
            return self._compressor.flush()
        compressed = b"".join(map(self._compressor.compress, pieces(chunk)))
        return compressed + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def close(self) -> None:
        """Close the body."""
        self._body.close()
