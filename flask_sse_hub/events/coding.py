"""Content codings and chunks: the form in which blocks are sent.

A compressed block can be read without the blocks before it. It is therefore compressed
once and shared by all clients. Does not know which client accepts which coding, or the
content of a block.
"""

import threading
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..runtime import greenlets

# How many bytes are compressed before the rest of the process may run. They take a
# millisecond or two, like a slice of a fan-out.
_PIECE_BYTES = 65_536

# How many bytes of pieces, compressed and uncompressed, are kept. Lagging clients need
# them again, and so do many clients that resume at once and read the same events.
_KEPT_BYTES = 4_194_304

# A frame of this size or more is shared by the clients that lag behind it, and how many
# bytes of such frames are kept for others. Each client would hold a copy otherwise.
_LARGE_BYTES = 65_536
_KEPT_FRAME_BYTES = 4_194_304

# The end of a body in chunks.
_LAST_CHUNK = b"0\r\n\r\n"


def pieces(block: bytes) -> Iterator[bytes]:
    """Yield the parts of a block. The rest of the process may run between them."""
    for start in range(0, len(block), _PIECE_BYTES):
        if start:
            greenlets.breathe()
        yield block[start : start + _PIECE_BYTES]


class Coding(ABC):
    """A content coding of hub streams. Source: RFC 9110, section 8.4.1."""

    #: The value of Content-Encoding. None: the header is left out.
    name: str | None = None

    #: The bytes before the first block of a stream.
    head = b""

    #: The bytes after the last block of a stream that the hub ends.
    tail = b""

    def __init__(self) -> None:
        self._forms = (Form(self, chunked=False), Form(self, chunked=True))

    @abstractmethod
    def encode(self, blocks: Sequence[bytes]) -> bytes:
        """Return the encoded blocks, in order, as one part of a stream.

        Without blocks, returns ``b""``. May be called in any thread. A long call lets
        other greenlets run: do not hold a lock.
        """

    def form(self, *, chunked: bool) -> "Form":
        """Return the form of this coding for a kind of connection.

        It is the same object each time.
        """
        return self._forms[chunked]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The form of a stream on a connection: its coding, and whether in chunks."""

    coding: Coding
    chunked: bool
    _shared: "_SharedFrames" = field(
        default_factory=lambda: _SharedFrames(), repr=False
    )

    def frame(self, coded: bytes, *, last: bool = False) -> bytes:
        """Return encoded blocks as the bytes to send. ``last`` ends the body.

        A large frame is the same object for all clients that receive it.
        """
        if len(coded) >= _LARGE_BYTES and not last:
            return self._shared.of(coded, self._framed)
        return self._framed(coded) + (_LAST_CHUNK if last and self.chunked else b"")

    def _framed(self, coded: bytes) -> bytes:
        return as_chunk(coded) if self.chunked else coded


class _SharedFrames:
    """The large frames of one form that were used last."""

    def __init__(self) -> None:
        # Guards the fields below.
        self._lock = threading.Lock()
        self._frames: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def of(self, coded: bytes, make: Callable[[bytes], bytes]) -> bytes:
        """Return the frame of encoded blocks, made once."""
        with self._lock:
            frame = self._frames.get(coded)
            if frame is None:
                self._frames[coded] = frame = make(coded)
                self._bytes += len(frame)
                # The newest one stays, whatever its size.
                while self._bytes > _KEPT_FRAME_BYTES and len(self._frames) > 1:
                    self._bytes -= len(self._frames.popitem(last=False)[1])
            else:
                self._frames.move_to_end(coded)
            return frame


def as_chunk(coded: bytes) -> bytes:
    """Return bytes framed as a chunk. Source: RFC 9112, section 7.1."""
    # A chunk without bytes would end the body.
    return b"%x\r\n%b\r\n" % (len(coded), coded) if coded else b""


class _Identity(Coding):
    def encode(self, blocks: Sequence[bytes]) -> bytes:
        return b"".join(blocks)


#: The coding that leaves blocks as they are.
IDENTITY: Coding = _Identity()


class Compressed(Coding):
    """A coding that compresses blocks of ``min_bytes`` or more, and stores the rest."""

    def __init__(self, *, min_bytes: int) -> None:
        super().__init__()
        self._min_bytes = min_bytes
        # Guards the compressor and the kept pieces.
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0

    @abstractmethod
    def _compress(self, piece: bytes) -> bytes:
        """Return a piece, compressed by itself. Called with the lock held."""

    @abstractmethod
    def _store(self, block: bytes) -> bytes:
        """Return a small block as the coding holds bytes that it does not compress."""

    def encode(self, blocks: Sequence[bytes]) -> bytes:
        """Return the encoded blocks. Each is compressed once for all clients."""
        return b"".join(map(self._encoded, blocks))

    def _encoded(self, block: bytes) -> bytes:
        if len(block) < self._min_bytes:
            return self._store(block) if block else b""
        return b"".join(map(self._compressed, pieces(block)))

    def _compressed(self, piece: bytes) -> bytes:
        # Pieces are kept, not whole blocks. While one caller is half-way through a
        # block and lets others run, they use the pieces that it has compressed.
        with self._lock:
            coded = self._kept.get(piece)
            if coded is None:
                coded = self._compress(piece)
                self._keep(piece, coded)
            else:
                self._kept.move_to_end(piece)
            return coded

    def _keep(self, piece: bytes, coded: bytes) -> None:
        """Keep a piece, and drop those that have not been used for longest."""
        self._kept[piece] = coded
        self._kept_bytes += len(piece) + len(coded)
        while self._kept_bytes > _KEPT_BYTES:
            piece, coded = self._kept.popitem(last=False)
            self._kept_bytes -= len(piece) + len(coded)


# An empty stored block; each flush ends with one. Decoders in Go, Caddy's among them,
# hold their output back until they read one.
_FLUSH = b"\0\0\0\xff\xff"


class Gzip(Compressed):
    """One gzip member for each stream; each block ends with a full flush.

    The end of the member is left out: it would hold a checksum of all bytes that one
    client received, and blocks are shared. Clients of a stream do not wait for its end,
    and accept a member that is cut off.
    """

    name = "gzip"

    # Source: RFC 1952, section 2.3: no flags, no time, an unknown system.
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"

    def __init__(self, *, min_bytes: int) -> None:
        # A stored block has its length in two bytes, so it must not be longer than a
        # piece.
        super().__init__(min_bytes=min(min_bytes, _PIECE_BYTES))
        # Made once: making a compressor takes ten times as long as compressing 1 kB.
        self._deflate = _deflate()

    def _compress(self, piece: bytes) -> bytes:
        try:
            taken: bytes = self._deflate.compress(piece)
            # A full flush: after a sync flush, later blocks would refer to earlier
            # blocks, which other clients may not have received.
            flushed: bytes = self._deflate.flush(zlib.Z_FULL_FLUSH)
        except BaseException:
            # The old compressor may hold bytes of this piece, and would write them into
            # the next event, which other clients receive.
            self._deflate = _deflate()
            raise
        return taken + flushed

    def _store(self, block: bytes) -> bytes:
        # Source: RFC 1951, section 3.2.4. The block is not the last one; its length is
        # written twice.
        size = len(block)
        lengths = size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
        return b"\0" + lengths + block + _FLUSH


def _deflate() -> Any:
    return zlib.compressobj(wbits=-zlib.MAX_WBITS)


# The first bytes of each frame. Source: RFC 8878, section 3.1.1.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Zstd(Compressed):
    """One frame for each piece, one after another. Source: RFC 8878, section 3.

    The first bytes of each frame are sent together with the frame before it. A decoder
    such as httpx's fails if its input ends exactly with a frame and more input follows.
    """

    name = "zstd"

    head = _ZSTD_MAGIC

    # The rest of an empty frame: a size in one byte, and a last raw block.
    # Source: RFC 8878, sections 3.1.1.1 and 3.1.1.2.
    tail = b"\x20\0\x01\0\0"

    def __init__(self, *, min_bytes: int) -> None:
        super().__init__(min_bytes=min_bytes)
        self._compressor = _zstd().ZstdCompressor()

    def _compress(self, piece: bytes) -> bytes:
        frame: bytes = self._compressor.compress(piece, self._compressor.FLUSH_FRAME)
        return frame[len(_ZSTD_MAGIC) :] + _ZSTD_MAGIC

    def _store(self, block: bytes) -> bytes:
        # Compressing a small block takes microseconds, and Zstandard itself stores a
        # block that does not shrink.
        with self._lock:
            return self._compress(block)


def _zstd() -> Any:
    """Return the module of the standard library or its backport, None if not found."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


class Codings:
    """The codings that one hub offers. Each is made when it is first needed.

    ``min_bytes`` is the size from which blocks are compressed; None turns compression
    off.
    """

    def __init__(self, *, min_bytes: int | None) -> None:
        self._min_bytes = min_bytes or 0
        self._kinds: dict[str, type[Compressed]] = {}
        if min_bytes is not None:
            # Zstandard is preferred: it compresses better, in a tenth of the time.
            kinds = (Zstd, Gzip) if _zstd() else (Gzip,)
            self._kinds = {kind.name: kind for kind in kinds}
        self._made: dict[str, Coding] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all codings but the identity, the best first."""
        return tuple(self._kinds)

    def named(self, name: str | None) -> Coding:
        """Return a coding by its name. None is the identity."""
        if name is None:
            return IDENTITY
        coding = self._made.get(name)
        if coding is None:
            made = self._kinds[name](min_bytes=self._min_bytes)
            # Two threads may make one at the same time: both use the first.
            coding = self._made.setdefault(name, made)
        return coding
