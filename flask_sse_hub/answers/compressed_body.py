"""A response's body, compressed for one client as it comes.

Does not know events. Events that clients share are compressed in ``events.coding``.
"""

import zlib
from collections.abc import Callable

from ..events.coding import pieces
from ..streams.response import StreamBody

#: The value of Content-Encoding.
CODING = "gzip"

# The events of one stream look alike, so a window of 4 KiB is enough. Each stream takes
# 14 KiB of memory with these values; it would take 88 KiB with zlib's defaults.
_WINDOW_BITS = 12
_MEMORY_LEVEL = 5

# Added to the window bits, this makes zlib write gzip's header and checksum.
_AS_GZIP = 16


class CompressedBody:
    """Compress a body so that each part can be read as soon as it arrives."""

    def __init__(self, body: StreamBody) -> None:
        self._body = body
        self._compressor = zlib.compressobj(
            wbits=_AS_GZIP + _WINDOW_BITS, memLevel=_MEMORY_LEVEL
        )
        self._ended = False

    @property
    def on_close(self) -> Callable[[], None] | None:
        """The function that is called once, when the server is done."""
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
        """Close the body that is compressed."""
        self._body.close()
