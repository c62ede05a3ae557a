"""The cost and the savings of compressing an answer, for different forms of events.

``python -m benchmarks.answers`` prints the sizes relative to the uncompressed events,
and the memory that the compressor of each stream holds.
"""

import json
import random
import statistics
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
from backports import zstd

from flask_sse_hub.answers.compressed_body import CompressedBody

_ROUNDS = 5
_EVENTS = 500
_STREAMS = 200

#: Compresses the next event of one stream, so that it can be read at once.
Step = Callable[[bytes], bytes]


class _Body:
    """A response's body whose next event is set by the caller."""

    on_close: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.event = b""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self.event

    def close(self) -> None:
        """Do nothing, since nothing is held."""


def ours() -> Step:
    """Return the compression of an EventSourceResponse."""
    body = _Body()
    compressed = CompressedBody(body)

    def step(event: bytes) -> bytes:
        body.event = event
        return next(compressed)

    return step


def largest_window() -> Step:
    """Return gzip with zlib's defaults."""
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return lambda event: (
        compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
    )


def small_zstd() -> Step:
    """Return zstd with as little memory as possible."""
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: 1,
        parameter.window_log: 10,
        parameter.hash_log: 8,
    }
    compressor = zstd.ZstdCompressor(options=options)
    return lambda event: compressor.compress(event, compressor.FLUSH_BLOCK)


WAYS: dict[str, Callable[[], Step]] = {
    "EventSourceResponse": ours,
    "gzip, zlib's defaults": largest_window,
    "zstd, least memory": small_zstd,
}


def answers() -> dict[str, list[bytes]]:
    """Return the events of one answer in each form that chats use."""
    draw = random.Random(1)
    words = Path(__file__).with_name("README.md").read_text().split()
    tokens = [f"{draw.choice(words)} " for _ in range(_EVENTS)]
    texts = ["".join(tokens[: count + 1]) for count in range(_EVENTS)]
    forms = {
        "tokens": tokens,
        "chunks of JSON": [json.dumps(_chunk(token)) for token in tokens],
        "all text so far": [json.dumps({"content": t, "done": False}) for t in texts],
    }
    return {
        form: [f"data: {data}\n\n".encode() for data in found]
        for form, found in forms.items()
    }


def _chunk(token: str) -> dict[str, object]:
    """Return the data that OpenAI-compatible servers send for a token."""
    choice = {"index": 0, "delta": {"content": token}, "finish_reason": None}
    return {
        "id": "chatcmpl-8f14e45fceea167a",
        "object": "chat.completion.chunk",
        "created": 1_780_000_000,
        "model": "stand-in",
        "choices": [choice],
    }


def _measure(make: Callable[[], Step], events: Sequence[bytes]) -> tuple[float, float]:
    """Return the compressed size relative to the original, and us per event."""
    times, size = [], 0
    for _ in range(_ROUNDS):
        step = make()
        started = time.perf_counter()
        size = sum(len(step(event)) for event in events)
        times.append((time.perf_counter() - started) / len(events) * 1e6)
    return size / sum(map(len, events)), statistics.median(times)


def _memory(make: Callable[[], Step], events: Sequence[bytes]) -> float:
    """Return how many KiB one stream's compressor holds after some events."""
    process = psutil.Process()
    before = process.memory_info().rss
    steps = [make() for _ in range(_STREAMS)]
    for step in steps:
        for event in events[:20]:
            step(event)
    return (process.memory_info().rss - before) / len(steps) / 1024


def main() -> None:
    """Print the table."""
    forms = answers()
    # Measured first: memory that other measurements free would be reused unseen.
    held = {way: _memory(make, forms["chunks of JSON"]) for way, make in WAYS.items()}
    print(f"{'':24}{'form':18}{'x bytes':>8}{'us an event':>13}{'KiB a stream':>14}")
    for way, make in WAYS.items():
        for form, events in forms.items():
            part, took = _measure(make, events)
            print(f"{way:24}{form:18}{part:8.3f}{took:13.1f}{held[way]:14.0f}")


if __name__ == "__main__":
    main()
