"""The cost of channel patterns in one worker, compared with plain channels.

Events are read from the log and fanned out to clients whose sockets take everything, so
the kernel's work is left out. Prints ratios to a channel without a dot. Ratios are
comparable between machines; the times are not.
"""

import time
import tracemalloc
from typing import Any, cast

from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.coding import IDENTITY
from flask_sse_hub.events.record import Retention
from tests.kit.hand import HandHub

PAYLOAD = "x" * 100
ROUNDS = 7
EVENTS = 1_000
KEEP = Retention(EVENTS, 3600.0, 100_000_000)

#: name, the channel of the events, the channels of each client, other clients' patterns
SCENES: dict[str, tuple[str, tuple[str, ...], int]] = {
    "news": ("news", ("news",), 0),
    "orders.eu.7": ("orders.eu.7", ("orders.eu.7",), 0),
    "orders.eu.7, 1,000 patterns of others": ("orders.eu.7", ("orders.eu.7",), 1_000),
    "orders.eu.7 by orders.*": ("orders.eu.7", ("orders.*",), 0),
    "orders.eu.7 by three names": (
        "orders.eu.7",
        ("orders.*", "orders.eu.*", "orders.eu.7"),
        0,
    ),
}


class Line:
    """A connection that takes everything."""

    form = IDENTITY.form(chunked=False)

    def send(self, data: bytes, /) -> int:
        """Take all bytes."""
        return len(data)

    def widen(self) -> None:
        """Do nothing: there is no limit."""

    def fileno(self) -> int:
        """Return no descriptor."""
        return -1


def measure(
    name: str, channels: tuple[str, ...], patterns: int, clients: int
) -> tuple[float, float]:
    """Return the microseconds of CPU and the bytes of memory for each event."""
    hub = HandHub(MemoryBroker(KEEP), memory=KEEP)
    for number in range(patterns):
        hub.stream(channels=(f"other{number}.*",))
    for _ in range(clients):
        stream = hub.stream(channels=channels)
        stream.read()
        hub.parts.registry.promote(stream.client, cast("Any", Line()))
    to = address.channel(name)
    hub.publish(PAYLOAD, to=to)
    hub.bring()
    spent = 0.0
    for number in range(EVENTS):
        hub.publish(f"{number}{PAYLOAD}", to=to)
        before = time.process_time()
        hub.bring()
        spent += time.process_time() - before
    again = HandHub(hub.broker, memory=KEEP, begun=False)
    tracemalloc.start()
    again.begin()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return spent / EVENTS * 1e6, held / EVENTS


def main() -> None:
    """Print a table for few and for many clients."""
    for clients in (1, 100):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in SCENES}
        for _ in range(ROUNDS):
            for name, (to, channels, patterns) in SCENES.items():
                found[name].append(measure(to, channels, patterns, clients))
        print(f"{clients} clients of each event, the best of {ROUNDS} rounds in turn")
        print(f"{'':40}{'us':>8}{'ratio':>7}{'bytes':>8}{'ratio':>7}")
        base = [min(each) for each in zip(*found["news"], strict=True)]
        for name, values in found.items():
            cpu, size = map(min, zip(*values, strict=True))
            print(
                f"{name:40}{cpu:8.1f}{cpu / base[0]:7.2f}"
                f"{size:8.0f}{size / base[1]:7.2f}"
            )


if __name__ == "__main__":
    main()
