"""The size of an event in each history, and on the way to each worker.

Prints the bytes for events of two sizes, which are the same on any machine, and the CPU
time of Redis per event by the number of workers.
"""

import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from flask_sse_hub import Event
from flask_sse_hub.brokers import Broker
from flask_sse_hub.brokers.redis import RedisBroker
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Record, Retention
from flask_sse_hub.hub.delivery.stretch import Frame
from tests.kit.redis_server import RedisServer

EVENTS = 10_000
SIZES = (100, 1000)
FOLLOWERS = 4

#: How many followers wait for each event while the CPU time of Redis is measured.
CROWDS = (1, 8, 32)
PUBLISHED = 2000

KEEP_ALL = Retention(events=10 * EVENTS, seconds=3600.0, bytes=1 << 30)
NAME = "sizing"


def record(size: int) -> Record:
    """Return an event for a user, with this number of bytes as data."""
    return Record((address.user(42),), Event("x" * size, type="notification"))


def publish(broker: Broker, size: int) -> Cursor:
    """Publish the events; return the cursor before them."""
    start = broker.head()
    for _ in range(EVENTS):
        broker.publish(record(size))
    return start


def follow(broker: Broker, after: Cursor, count: int) -> None:
    """Read this number of events as a worker's follower does."""
    records: Iterator[Record] = (r for b in broker.follow(after) for r in b.records)
    deque(islice(records, count), maxlen=0)


def measure_memory(size: int) -> float:
    """Return the bytes that the memory of a worker counts for one event."""
    return Frame.of(record(size)).size


def measure_sqlite(size: int) -> float:
    """Return the bytes of the SQLite files per event."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hub.db")
        broker = SQLiteBroker(path, KEEP_ALL)
        publish(broker, size)
        files = [path, path.with_name("hub.db-wal")]
        total = sum(each.stat().st_size for each in files if each.exists())
        broker.close()
    return total / EVENTS


def measure_redis(size: int) -> tuple[float, float]:
    """Return the bytes per event in Redis's memory, and sent to each follower."""
    with RedisServer("--appendonly", "no") as server:
        broker = RedisBroker(server.url, KEEP_ALL, name=NAME)
        start = publish(broker, size)
        held = server.run("MEMORY", "USAGE", f"sse-hub:{{{NAME}}}:log", "SAMPLES", 0)
        before = _sent(server)
        for _ in range(FOLLOWERS):
            follow(broker, start, EVENTS)
        sent = _sent(server) - before
        broker.close()
    return held / EVENTS, sent / FOLLOWERS / EVENTS


def _sent(server: RedisServer) -> int:
    with server.connect() as client:
        return int(client.info("stats")["total_net_output_bytes"])


def measure_redis_cpu(followers: int) -> float:
    """Return the microseconds of Redis per event. Events are published one by one."""
    with RedisServer("--appendonly", "no") as server:
        broker = RedisBroker(server.url, KEEP_ALL, name=NAME)
        start = broker.head()
        threads = [
            threading.Thread(target=follow, args=(broker, start, PUBLISHED))
            for _ in range(followers)
        ]
        for thread in threads:
            thread.start()
        before = _cpu(server)
        for _ in range(PUBLISHED):
            broker.publish(record(SIZES[0]))
        for thread in threads:
            thread.join()
        used = _cpu(server) - before
        broker.close()
    return used / PUBLISHED * 1e6


def _cpu(server: RedisServer) -> float:
    with server.connect() as client:
        times = client.info("cpu")
        return float(times["used_cpu_user"] + times["used_cpu_sys"])


def main() -> None:
    """Print the tables."""
    print(f"bytes per event, {EVENTS} events to one user")
    print(f"{'data':>8}{'worker':>9}{'sqlite':>9}{'redis':>9}{'to each worker':>17}")
    for size in SIZES:
        held, sent = measure_redis(size)
        print(
            f"{size:8}{measure_memory(size):9.0f}{measure_sqlite(size):9.0f}"
            f"{held:9.0f}{sent:17.0f}"
        )
    print(f"\nus of CPU that Redis uses for one event of {SIZES[0]} bytes")
    print(f"{'workers':>8}{'us':>9}{'ratio':>9}")
    base = measure_redis_cpu(CROWDS[0])
    for followers in CROWDS:
        used = measure_redis_cpu(followers)
        print(f"{followers:8}{used:9.0f}{used / base:9.2f}")


if __name__ == "__main__":
    main()
