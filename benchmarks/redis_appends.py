"""The CPU time of Redis for an event that is appended to a log, compared with XADD.

Events of 100 bytes are appended alone and in groups, as publishes that wait together
are. One log is far below its bounds. The other one is at its bounds, so each append
trims it. A bare XADD writes as many bytes, and trims with MAXLEN. Prints ratios, which
are comparable between machines; the times are not.
"""

import shutil
import statistics
import sys

import redis

from flask_sse_hub import Event
from flask_sse_hub.brokers import codec
from flask_sse_hub.brokers.redis.stream import StreamLog
from flask_sse_hub.brokers.redis.url import connector
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Record, Retention
from tests.kit.redis_server import RedisServer

ROUNDS = 5
EVENTS = 2_000
GROUPS = (1, 10, 50)
RECORD = Record((address.channel("news"),), Event("x" * 100))

#: How many events each log keeps.
LOGS = {"below its bounds": 10_000_000, "at its bounds": 1_000}


def spent(client: redis.Redis) -> float:
    """Return the seconds of CPU that the Redis has taken so far."""
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def append_bare(client: redis.Redis, keep: int, group: int) -> None:
    """Append a group by XADD, with the fields of an entry of a log."""
    pipeline = client.pipeline(transaction=False)
    fields = {"e": "abcdefghijkl", "p": "1234567890123-123456", "t": "123456", "s": 100}
    body = codec.encode(RECORD)
    for _ in range(group):
        pipeline.xadd(f"bare-{keep}", {**fields, "b": body}, maxlen=keep)
    pipeline.execute()


def main() -> None:
    """Print a table of groups for each log."""
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is not installed")
    print(f"CPU of Redis for each event, medians of {ROUNDS} rounds in turn")
    print(f"{'log':20}{'group':>6}{'us':>8}{'XADD us':>9}{'ratio':>7}")
    with RedisServer() as server:
        client = redis.Redis.from_url(server.url)
        for name, keep in LOGS.items():
            retention = Retention(keep, 3600.0, 10**9)
            log = StreamLog(
                connector(server.url), retention, name=f"{keep}", timeout=10.0
            )
            for group in GROUPS:
                rounds = []
                for _ in range(ROUNDS):
                    before = spent(client)
                    for _ in range(EVENTS // group):
                        log.append([RECORD] * group)
                    between = spent(client)
                    for _ in range(EVENTS // group):
                        append_bare(client, keep, group)
                    after = spent(client)
                    rounds.append((between - before, after - between))
                ours, bare = map(statistics.median, zip(*rounds, strict=True))
                print(
                    f"{name:20}{group:6}{ours / EVENTS * 1e6:8.1f}"
                    f"{bare / EVENTS * 1e6:9.1f}{ours / bare:7.2f}"
                )
            log.close()


if __name__ == "__main__":
    main()
