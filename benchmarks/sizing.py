"""What an event takes where it is kept, and on its way to each worker.

Prints bytes for events of two sizes; they are the same on any machine.
"""

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from flask_sse_hub import Event, address
from flask_sse_hub.brokers import Broker
from flask_sse_hub.brokers.redis import RedisBroker
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.history import Cursor, Frame, Record, Retention
from tests.redis_server import RedisServer

EVENTS = 10_000
SIZES = (100, 1000)
FOLLOWERS = 4

KEEP_ALL = Retention(events=10 * EVENTS, seconds=3600.0, bytes=1 << 30)
NAME = "sizing"


def record(size: int) -> Record:
    """Return an event of so many bytes to a user."""
    return Record((address.user(42),), Event("x" * size, type="notification"))


def publish(broker: Broker, size: int) -> Cursor:
    """Publish the events; return the cursor before them."""
    start = broker.head()
    for _ in range(EVENTS):
        broker.publish(record(size))
    return start


def follow(broker: Broker, after: Cursor) -> None:
    """Read the events as a worker's follower does."""
    records: Iterator[Record] = (r for b in broker.follow(after) for r in b.records)
    assert len(list(islice(records, EVENTS))) == EVENTS  # noqa: S101 - or it is no size


def measure_memory(size: int) -> float:
    """Return the bytes that a worker's memory counts for one."""
    return Frame.of(record(size)).size


def measure_sqlite(size: int) -> float:
    """Return the bytes of the file for each event."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hub.db")
        broker = SQLiteBroker(path, KEEP_ALL)
        publish(broker, size)
        files = [path, path.with_name("hub.db-wal")]
        total = sum(each.stat().st_size for each in files if each.exists())
        broker.close()
    return total / EVENTS


def measure_redis(size: int) -> tuple[float, float]:
    """Return the bytes of memory for each event, and those sent to each follower."""
    with RedisServer("--appendonly", "no") as server:
        broker = RedisBroker(server.url, KEEP_ALL, name=NAME)
        start = publish(broker, size)
        held = server.run("MEMORY", "USAGE", f"sse-hub:{{{NAME}}}:log", "SAMPLES", 0)
        before = _sent(server)
        for _ in range(FOLLOWERS):
            follow(broker, start)
        sent = _sent(server) - before
        broker.close()
    return held / EVENTS, sent / FOLLOWERS / EVENTS


def _sent(server: RedisServer) -> int:
    with server.connect() as client:
        return int(client.info("stats")["total_net_output_bytes"])


def main() -> None:
    """Print the table."""
    print(f"bytes for each event, {EVENTS} events to one user")
    print(f"{'data':>8}{'worker':>9}{'sqlite':>9}{'redis':>9}{'to each worker':>17}")
    for size in SIZES:
        held, sent = measure_redis(size)
        print(
            f"{size:8}{measure_memory(size):9.0f}{measure_sqlite(size):9.0f}"
            f"{held:9.0f}{sent:17.0f}"
        )


if __name__ == "__main__":
    main()
