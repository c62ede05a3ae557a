"""Decoders of content codings, by the standard tools and nothing of the package."""

import zlib
from collections.abc import Callable
from typing import Any

#: Takes the next bytes of a coded stream and returns all that can be read by then.
Decoder = Callable[[bytes], bytes]


def decoder(coding: str | None) -> Decoder:
    """Return a decoder for one stream."""
    match coding:
        case None | "identity":
            return bytes
        case "gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress
        case "zstd":
            return _Frames().decode
    raise ValueError(f"nobody here reads {coding}")


class _Frames:
    """Frames that follow each other, as httpx takes them: RFC 8878, 3.

    It makes a new decoder when there is more than a frame, so one that is at its end
    with nothing left is asked once more, and fails.
    """

    def __init__(self) -> None:
        # Here, as servers that benchmarks compare with import this module without it.
        from backports import zstd

        self._new = zstd.ZstdDecompressor
        self._decoder: Any = self._new()

    def decode(self, received: bytes) -> bytes:
        text: bytes = self._decoder.decompress(received)
        while self._decoder.eof and self._decoder.unused_data:
            rest = self._decoder.unused_data
            self._decoder = self._new()
            text += self._decoder.decompress(rest)
        return text
