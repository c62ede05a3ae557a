"""Decoders of content codings, built on standard tools, not on the package."""

import zlib
from collections.abc import Callable
from typing import Any

#: Takes the next bytes of a coded stream and returns all text that is complete so far.
Decoder = Callable[[bytes], bytes]


def decoder(coding: str | None, *, cut_anywhere: bool = False) -> Decoder:
    """Return a decoder for one stream.

    ``cut_anywhere`` says that the bytes come over a connection, which may cut a stream
    of zstd exactly at the end of a frame.
    """
    match coding:
        case None | "identity":
            return bytes
        case "gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress
        case "zstd":
            return _Frames(cut_anywhere=cut_anywhere).decode
    raise ValueError(f"the tests have no decoder for {coding!r}")


class _Frames:
    """Decode zstd frames that follow each other, as httpx does. Source: RFC 8878, 3.

    httpx starts a new decoder only when bytes follow a frame. A decoder that is at the
    end of its frame therefore fails if it receives more bytes later.
    """

    def __init__(self, *, cut_anywhere: bool) -> None:
        self._cut_anywhere = cut_anywhere
        # Imported here: the benchmarks' other servers use this module without zstd.
        from backports import zstd

        self._new = zstd.ZstdDecompressor
        self._decoder: Any = self._new()

    def decode(self, received: bytes) -> bytes:
        if self._cut_anywhere and self._decoder.eof:
            self._decoder = self._new()
        text: bytes = self._decoder.decompress(received)
        while self._decoder.eof and self._decoder.unused_data:
            rest = self._decoder.unused_data
            self._decoder = self._new()
            text += self._decoder.decompress(rest)
        return text
