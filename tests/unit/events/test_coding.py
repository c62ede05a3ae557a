"""Content codings: each block is compressed once and can be read by any client."""

import random
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub.events import coding
from flask_sse_hub.events.coding import IDENTITY, Coding, Codings, Compressed
from flask_sse_hub.runtime import greenlets
from tests.kit.decoding import decoder

CODINGS = ["gzip", "zstd"]

# Blocks of each kind: stored, compressed, and compressed in several pieces.
BLOCKS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.text("ab", min_size=90, max_size=300).map(str.encode),
        st.sampled_from([b"row," * 20_000, bytes(range(256)) * 600]),
    ),
    max_size=8,
)


def compressed(name: str, *, min_bytes: int = 100) -> Compressed:
    found = Codings(min_bytes=min_bytes).named(name)
    assert isinstance(found, Compressed)
    return found


def counted(one: Coding, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that records each piece that a coding compresses from now on."""
    assert isinstance(one, Compressed)
    pieces: list[bytes] = []
    original = one._compress

    def compress(piece: bytes) -> bytes:
        pieces.append(piece)
        return original(piece)

    monkeypatch.setattr(one, "_compress", compress)
    return pieces


@pytest.mark.parametrize("name", CODINGS)
@given(st.lists(BLOCKS, min_size=1, max_size=4), st.randoms())
def test_clients_can_read_any_sequence_of_blocks(
    name: str, streams: list[list[bytes]], random: object
) -> None:
    """Each client decodes its own blocks, whatever blocks other clients received."""
    one = compressed(name)
    coded = [[one.encode([block]) for block in blocks] for blocks in streams]
    every_second = [block for blocks in streams for block in blocks][::2]
    coded_second = [block for blocks in coded for block in blocks][::2]
    for blocks, sent in [
        *zip(streams, coded, strict=True),
        (every_second, coded_second),
    ]:
        decode = decoder(name)
        assert decode(one.head + b"".join(sent)) == b"".join(blocks)


@pytest.mark.parametrize("name", CODINGS)
@given(BLOCKS)
def test_a_block_is_readable_as_soon_as_it_arrives(
    name: str, blocks: list[bytes]
) -> None:
    """Decoding does not need any bytes that come later."""
    one = compressed(name)
    decode = decoder(name)
    decode(one.head)
    for block in blocks:
        assert decode(one.encode([block])) == block


@pytest.mark.parametrize("name", CODINGS)
def test_a_block_is_compressed_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All clients share the compressed block, including those that need it later."""
    one = compressed(name)
    pieces = counted(one, monkeypatch)
    block = b"event " * 100
    assert one.encode([block]) == one.encode([block])
    assert one.encode([bytes(block), b""]) == one.encode([block])
    assert pieces == [block]


def test_small_blocks_are_not_compressed() -> None:
    """Small blocks hardly shrink, and greetings are different for each client."""
    assert b"small" in compressed("gzip").encode([b"small"])


@given(BLOCKS)
def test_each_block_of_gzip_ends_in_a_flush(blocks: list[bytes]) -> None:
    """Some decoders hold bytes back until a flush, such as Go's and therefore Caddy."""
    one = compressed("gzip")
    for block in filter(None, blocks):
        assert one.encode([block]).endswith(b"\0\0\xff\xff")


@pytest.mark.parametrize("size", [1, 100, 65_535, 65_536, 65_537])
def test_a_stored_block_may_have_any_size(size: int) -> None:
    """A stored block's length is written in two bytes."""
    one = compressed("gzip", min_bytes=1_000_000)
    block = b"x" * size
    assert decoder("gzip")(one.head + one.encode([block])) == block


@pytest.mark.parametrize("name", CODINGS)
def test_the_memory_for_compressed_blocks_is_bounded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least recently used blocks are dropped and compressed again if needed."""
    monkeypatch.setattr(coding, "_KEPT_BYTES", 3000)
    one = compressed(name)
    pieces = counted(one, monkeypatch)
    first, second, third = (letter * 1000 for letter in (b"a", b"b", b"c"))
    one.encode([first, second])
    one.encode([first, third])
    assert pieces == [first, second, third]
    one.encode([first])
    assert len(pieces) == 3
    one.encode([second])
    assert len(pieces) == 4
    one.encode([b"d" * 9000, b"e" * 500])
    assert decoder(name)(one.head + one.encode([first])) == first


def test_other_tasks_run_between_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Compressing a megabyte takes longer than a request should wait."""
    breaths: list[None] = []
    monkeypatch.setattr(greenlets, "breathe", lambda: breaths.append(None))
    compressed("gzip").encode([b"x" * 1_000_000])
    assert len(breaths) == 15


@pytest.mark.parametrize("name", CODINGS)
def test_a_block_being_compressed_is_shared(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each client that resumes would compress the same large event."""
    one = compressed(name)
    pieces = counted(one, monkeypatch)
    block = b"".join(b"%d," % number for number in range(50_000))
    meanwhile: list[bytes] = []

    def breathe() -> None:
        monkeypatch.setattr(greenlets, "breathe", lambda: None)
        meanwhile.append(one.encode([block]))

    monkeypatch.setattr(greenlets, "breathe", breathe)
    coded = one.encode([block])
    assert meanwhile == [coded]
    assert b"".join(pieces) == block


@pytest.mark.parametrize("name", CODINGS)
def test_threads_may_encode_at_the_same_time(name: str) -> None:
    """Each thread of a server encodes for its own client."""
    one = compressed(name)
    wrong: list[int] = []

    def ask(number: int) -> None:
        decode = decoder(name)
        decode(one.head)
        for turn in range(50):
            block = f"{(number + turn) % 7} ".encode() * 300
            if decode(one.encode([block])) != block:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class _OutOfMemory:
    """A compressor that fails after it has taken some input."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def compress(self, piece: bytes) -> bytes:
        return self._deflate.compress(piece)

    def flush(self, _: int) -> bytes:
        raise MemoryError


def test_a_failed_block_does_not_leak_into_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All clients share the compressor, which may still hold the failed input."""
    failing = _OutOfMemory()
    with monkeypatch.context() as patch:
        patch.setattr(zlib, "compressobj", lambda **_: failing)
        one = compressed("gzip")
    with pytest.raises(MemoryError):
        one.encode([b"alice " * 100])
    block = b"bob " * 100
    assert decoder("gzip")(one.head + one.encode([block])) == block


def test_the_better_coding_is_offered_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zstd is offered if its module is installed, and no coding without compression."""
    assert Codings(min_bytes=1).names == ("zstd", "gzip")
    assert Codings(min_bytes=None).names == ()
    monkeypatch.setattr(coding, "_zstd", lambda: None)
    assert Codings(min_bytes=1).names == ("gzip",)


def test_each_coding_is_created_once() -> None:
    """All clients that use a coding share its compressed blocks."""
    codings = Codings(min_bytes=1)
    assert codings.named("gzip") is codings.named("gzip")
    assert codings.named(None) is IDENTITY


def test_chunks_frame_the_encoded_bytes() -> None:
    """An empty chunk ends the body, so only the last frame contains one."""
    form = IDENTITY.form(chunked=True)
    assert form is IDENTITY.form(chunked=True)
    assert form.frame(b"0123456789abcdef") == b"10\r\n0123456789abcdef\r\n"
    assert form.frame(b"") == b""
    assert form.frame(b"x", last=True) == b"1\r\nx\r\n0\r\n\r\n"
    assert IDENTITY.form(chunked=False).frame(b"x", last=True) == b"x"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", [None, "gzip"])
def test_clients_that_lag_behind_a_large_event_share_its_bytes(
    name: str | None, chunked: bool
) -> None:
    """Ten of them hold one copy, in chunks and compressed too."""
    coding = Codings(min_bytes=1).named(name)
    form = coding.form(chunked=chunked)
    block = random.Random(1).randbytes(300_000)
    frames = [form.frame(coding.encode([block])) for _ in range(10)]
    assert len({id(each) for each in frames}) == 1
    assert form.frame(coding.encode([block]), last=True) == frames[0] + (
        b"0\r\n\r\n" if chunked else b""
    )


def test_the_shared_frames_are_bounded() -> None:
    """The memory holds the frames that were used last, and the newest of any size."""
    form = IDENTITY.form(chunked=True)
    blocks = [bytes([n]) * 1_000_000 for n in range(8)]
    frames = [form.frame(block) for block in blocks]
    held = [a is form.frame(b) for a, b in zip(frames[-3:], blocks[-3:], strict=True)]
    assert held == [True] * 3
    assert form.frame(blocks[0]) is not frames[0]
    large = bytes(10_000_000)
    assert form.frame(large) is form.frame(large)
