"""The cost of state by key, and of a publish without the arguments that came with it.

In one process, with clients whose reads are called by hand, so the kernel's work is
left out. Prints ratios to a plain event, and counts that are the same on any machine.
"""

import math
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Retention
from tests.kit.hand import HandHub

PAYLOAD = "x" * 100
PRICES = address.channel("prices")
KEEP = Retention(100_000, 3600.0, 1 << 30)

KEYS, CLIENTS = 10_000, 1_000
EVENTS, ROUNDS = 2_000, 7

#: A lagging client's seconds without a read, at 1,000 updates of 100 keys a second.
AWAY = (0.1, 1.0, 10.0)
RATE, RATE_KEYS = 1_000, 100

#: name, the arguments of each publish, by the number of the event
PUBLISHED: dict[str, Callable[[int], dict[str, Any]]] = {
    "a plain event": lambda _: {},
    "with a ttl": lambda _: {"ttl": 60.0},
    "with a key": lambda number: {"key": f"k{number % RATE_KEYS}"},
}


def measure_publish(options: Callable[[int], dict[str, Any]]) -> float:
    """Return the microseconds of CPU from a publish to the read of one client."""
    hub = HandHub(MemoryBroker(KEEP), memory=KEEP)
    stream = hub.stream(channels=("prices",))
    before = time.process_time()
    for number in range(EVENTS):
        hub.publish(PAYLOAD, to=PRICES, **options(number))
        hub.bring()
        hub.hub.take(stream.client)
    return (time.process_time() - before) / EVENTS * 1e6


def measure_idle(**options: Any) -> float:
    """Return the bytes that an idle client's own object takes, with its tuples."""
    hub = HandHub(MemoryBroker(KEEP), memory=KEEP)
    client = hub.stream(**options).client
    return sum(map(sys.getsizeof, (client, client.channels, client.addresses)))


def measure_state() -> tuple[float, int]:
    """Return the milliseconds of CPU for each client's whole state, and its bytes."""
    hub = HandHub(MemoryBroker(KEEP), memory=KEEP)
    for number in range(KEYS):
        hub.publish(PAYLOAD, to=PRICES, key=f"k{number}")
    hub.bring()
    spent, size = 0.0, 0
    for _ in range(CLIENTS):
        stream = hub.stream(channels=("prices",), state=True)
        before, size = time.process_time(), 0
        while chunk := hub.hub.take(stream.client):
            size += len(chunk)
        spent += time.process_time() - before
        stream.drop()
    return spent / CLIENTS * 1e3, size


def measure_lagging(away: float) -> tuple[int, int, int]:
    """Return the updates while a client was away, the keys, and the events it read."""
    rng = random.Random(7)
    hub = HandHub(MemoryBroker(KEEP), memory=KEEP)
    stream = hub.stream(channels=("prices",))
    changed = set()
    for _ in range(math.ceil(away * RATE)):
        key = f"k{rng.randrange(RATE_KEYS)}"
        changed.add(key)
        hub.publish(PAYLOAD, to=PRICES, key=key)
    hub.bring()
    read = len(stream.data())
    if read > len(changed):
        raise SystemExit(f"{read} events were read, and {len(changed)} keys changed")
    return math.ceil(away * RATE), len(changed), read


def main() -> None:
    """Print a table for each of the four."""
    found: dict[str, list[float]] = {name: [] for name in PUBLISHED}
    for _ in range(ROUNDS):
        for name, options in PUBLISHED.items():
            found[name].append(measure_publish(options))
    base = min(found["a plain event"])
    print(f"From publish to read, the best of {ROUNDS} rounds in turn")
    for name, values in found.items():
        print(f"{name:24}{min(values):8.1f} us{min(values) / base:7.2f}")
    print("An idle client's own object")
    for channel in ("orders.eu", "orders.*"):
        print(f"{channel:24}{measure_idle(channels=(channel,)):8.0f} bytes")
    spent, size = measure_state()
    print(f"The state of {KEYS:,} keys, for each of {CLIENTS:,} clients")
    print(f"{spent:32.1f} ms{size:12,} bytes")
    print(f"A client that lags, at {RATE:,} updates/s of {RATE_KEYS} keys")
    print(f"{'away':>8}{'updates':>10}{'changed keys':>14}{'events read':>13}")
    for away in AWAY:
        updates, changed, read = measure_lagging(away)
        print(f"{away:6.1f} s{updates:10,}{changed:14}{read:13}")


if __name__ == "__main__":
    main()
