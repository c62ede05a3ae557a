"""The memory of presence in one worker, for each person in a channel.

``python -m benchmarks.presence_memory`` prints bytes as tracemalloc counts them: of the
people whom a worker knows, without its history of events, and of the streams that it
has itself, beside the same streams without presence. The descriptions are ``{}``.
"""

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.presence import KEEP, open_stream, settle, worker
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.hub.clients.present_client import Seat

_STREAMS = 5_000
_SHORT = replace(KEEP, events=1)
_SHAPES = (
    ("10,000 people in one channel", 1, 10_000),
    ("10,000 channels of 5 people", 10_000, 5),
)


def _bytes(make: Callable[[], Any]) -> tuple[int, Any]:
    """Return how many bytes a thing keeps, and the thing itself."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size, made


def _known(name: str, channels: int, people: int) -> None:
    count = channels * people
    broker = MemoryBroker(KEEP)
    one = worker(broker)
    for number in range(count):
        open_stream(one, number, f"room.{number % channels}", seated=True)
    settle(one)
    empty, _ = _bytes(lambda: worker(MemoryBroker(KEEP), memory=_SHORT))
    # All keys are in the state of the log. The memory of this worker holds one event.
    size, _ = _bytes(lambda: worker(broker, memory=_SHORT))
    print(f"{name}: {(size - empty) / count:.0f} bytes for each in a worker that knows")


def _stream(**options: Any) -> float:
    """Return the bytes of one stream in the channel "news"."""
    hub = worker()

    def work() -> None:
        for number in range(_STREAMS):
            user = f"user-{number}"
            seats = [Seat(name, user) for name in options.get("present_in", ())]
            seated = {"seats": seats} if options else {}
            hub.stream(user=user, channels=("news",), **seated)

    size, _ = _bytes(work)
    return size / _STREAMS


def main() -> None:
    """Print all figures."""
    for name, channels, people in _SHAPES:
        _known(name, channels, people)
    plain = _stream()
    print(
        f"a stream has {plain:.0f} bytes; one that may enter channels"
        f" {_stream(present_in=()) - plain:.0f} more, one that is in a channel"
        f" {_stream(present_in=('news',)) - plain:.0f} more"
    )


if __name__ == "__main__":
    main()
