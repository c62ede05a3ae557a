"""What the blocks of a stream become on their way: content codings, and chunks.

A compressed block can be read whatever was before it, so that it is compressed once and
shared by all clients. Does not know who asks for which coding, or what blocks say.
"""

import threading
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..runtime import greenlets

# What is compressed before everything else in the process gets its turn: a millisecond
# or two, as a slice of a fan-out.
_PIECE_BYTES = 65_536

# Compressed pieces that are kept, and what they were made of: for clients that lag, and
# for storms of clients that resume and all ask for the same.
_KEPT_BYTES = 4_194_304

# What ends a body in chunks.
_LAST_CHUNK = b"0\r\n\r\n"


def pieces(block: bytes) -> Iterator[bytes]:
    """Yield the parts of a block, and let everything else run between them."""
    for start in range(0, len(block), _PIECE_BYTES):
        if start:
            greenlets.breathe()
        yield block[start : start + _PIECE_BYTES]


class Coding(ABC):
    """A content coding of hub streams. Source: RFC 9110, section 8.4.1."""

    #: The value of Content-Encoding; None where there is nothing to say.
    name: str | None = None

    #: What a stream begins with, before its first block.
    head = b""

    #: What it ends with, where the hub ends it.
    tail = b""

    def __init__(self) -> None:
        self._forms = (Form(self, chunked=False), Form(self, chunked=True))

    @abstractmethod
    def encode(self, blocks: Sequence[bytes]) -> bytes:
        """Return blocks as they follow each other in a stream; b"" for none.

        From any thread. Gives way to others where it takes long, so not to be called
        under a lock.
        """

    def form(self, *, chunked: bool) -> "Form":
        """Return how it goes over one kind of connection, always the same object."""
        return self._forms[chunked]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """How a stream goes over a connection: by which coding, and whether in chunks."""

    coding: Coding
    chunked: bool

    def frame(self, coded: bytes, *, last: bool = False) -> bytes:
        """Return encoded blocks as they are sent; ``last`` ends the body."""
        if not self.chunked:
            return coded
        return as_chunk(coded) + (_LAST_CHUNK if last else b"")


def as_chunk(coded: bytes) -> bytes:
    """Return bytes framed as a chunk. Source: RFC 9112, section 7.1."""
    # One without bytes would be the last.
    return b"%x\r\n%b\r\n" % (len(coded), coded) if coded else b""


class _Identity(Coding):
    def encode(self, blocks: Sequence[bytes]) -> bytes:
        return b"".join(blocks)


#: Blocks as they are.
IDENTITY: Coding = _Identity()


class Compressed(Coding):
    """A coding that compresses the blocks that are large enough for it to pay."""

    def __init__(self, *, min_bytes: int) -> None:
        super().__init__()
        self._min_bytes = min_bytes
        # Guards the compressor and what is kept.
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0

    @abstractmethod
    def _compress(self, piece: bytes) -> bytes:
        """Return a piece compressed by itself. One at a time."""

    @abstractmethod
    def _store(self, block: bytes) -> bytes:
        """Return a small block in the form that the coding has for what it leaves."""

    def encode(self, blocks: Sequence[bytes]) -> bytes:
        """Return them compressed, each once for all who ask for it."""
        return b"".join(map(self._encoded, blocks))

    def _encoded(self, block: bytes) -> bytes:
        if len(block) < self._min_bytes:
            return self._store(block) if block else b""
        return b"".join(map(self._compressed, pieces(block)))

    def _compressed(self, piece: bytes) -> bytes:
        # A piece, and not a block, is what is looked up: who asks while others have
        # their turn goes on from what is there.
        with self._lock:
            coded = self._kept.get(piece)
            if coded is None:
                coded = self._compress(piece)
                self._keep(piece, coded)
            else:
                self._kept.move_to_end(piece)
            return coded

    def _keep(self, piece: bytes, coded: bytes) -> None:
        """Keep a piece, and let go of those that were not asked for longest."""
        self._kept[piece] = coded
        self._kept_bytes += len(piece) + len(coded)
        while self._kept_bytes > _KEPT_BYTES:
            piece, coded = self._kept.popitem(last=False)
            self._kept_bytes -= len(piece) + len(coded)


# An empty stored block, with which each flush ends. Decoders in Go, Caddy's among them,
# keep what they have until one comes.
_FLUSH = b"\0\0\0\xff\xff"


class Gzip(Compressed):
    """One gzip member for each stream, of blocks that end in a full flush.

    Its end is missing: that has a checksum of all that one client got. Who reads a
    stream does not wait for its end, and takes one that is cut off.
    """

    name = "gzip"

    # Source: RFC 1952, section 2.3: no flags, no time, an unknown system.
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"

    def __init__(self, *, min_bytes: int) -> None:
        # What is stored has its length in two bytes.
        super().__init__(min_bytes=min(min_bytes, _PIECE_BYTES))
        # Made once: that takes ten times as long as to compress a kilobyte.
        self._deflate = _deflate()

    def _compress(self, piece: bytes) -> bytes:
        try:
            taken: bytes = self._deflate.compress(piece)
            # Forgets all before it, which a sync flush would refer to.
            flushed: bytes = self._deflate.flush(zlib.Z_FULL_FLUSH)
        except BaseException:
            # What it has taken by now would come out in somebody else's event.
            self._deflate = _deflate()
            raise
        return taken + flushed

    def _store(self, block: bytes) -> bytes:
        # Source: RFC 1951, section 3.2.4: not the last block, and its length twice.
        size = len(block)
        lengths = size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
        return b"\0" + lengths + block + _FLUSH


def _deflate() -> Any:
    return zlib.compressobj(wbits=-zlib.MAX_WBITS)


# What each frame begins with. Source: RFC 8878, section 3.1.1.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Zstd(Compressed):
    """A frame for each piece, which follow each other. Source: RFC 8878, section 3.

    With each goes the beginning of the next: decoders such as httpx's fail when there
    is more after they have read to the end of a frame, and no further.
    """

    name = "zstd"

    head = _ZSTD_MAGIC

    # The rest of a frame without content: its size in one byte, and a last, raw block.
    # Source: RFC 8878, sections 3.1.1.1 and 3.1.1.2.
    tail = b"\x20\0\x01\0\0"

    def __init__(self, *, min_bytes: int) -> None:
        super().__init__(min_bytes=min_bytes)
        self._compressor = _zstd().ZstdCompressor()

    def _compress(self, piece: bytes) -> bytes:
        frame: bytes = self._compressor.compress(piece, self._compressor.FLUSH_FRAME)
        return frame[len(_ZSTD_MAGIC) :] + _ZSTD_MAGIC

    def _store(self, block: bytes) -> bytes:
        # It takes microseconds, and leaves by itself what does not shrink.
        with self._lock:
            return self._compress(block)


def _zstd() -> Any:
    """Return the module of the standard library, or its backport; None for neither."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


class Codings:
    """The codings that one hub offers, each made when it is first asked for."""

    def __init__(self, *, min_bytes: int | None) -> None:
        self._min_bytes = min_bytes or 0
        self._kinds: dict[str, type[Compressed]] = {}
        if min_bytes is not None:
            # The better one first: it is smaller, and takes a tenth of the time.
            kinds = (Zstd, Gzip) if _zstd() else (Gzip,)
            self._kinds = {kind.name: kind for kind in kinds}
        self._made: dict[str, Coding] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What can be asked for beside the identity, the best first."""
        return tuple(self._kinds)

    def named(self, name: str | None) -> Coding:
        """Return a coding by its name; None is the identity."""
        if name is None:
            return IDENTITY
        coding = self._made.get(name)
        if coding is None:
            made = self._kinds[name](min_bytes=self._min_bytes)
            # Of two made at once one is dropped.
            coding = self._made.setdefault(name, made)
        return coding
