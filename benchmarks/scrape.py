"""The cost of metrics: a fan-out with a scrape each second, and without one.

``python -m benchmarks.scrape [STREAMS] [ROUNDS]``. Prints, for both, the CPU time of
four workers for each delivery, and the time from an event's place in the log to its
last write. The rounds alternate, since the machine may have other work to do.
"""

import statistics
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

import psutil

from flask_sse_hub.hub.latency import BOUNDS
from tests.live.server import SQLITE, Server

_SECONDS = 5.0
_PAUSE_SECONDS = 0.05

# Scrapes that meet each of four workers most probably.
_WARMING = 30


class Measured(NamedTuple):
    """The costs of one round."""

    cpu_us: float
    mean_ms: float
    p99_ms: float


def main(streams: int = 10_000, rounds: int = 5) -> None:
    """Print both costs and their ratio."""
    settings: dict[str, Any] = {"broker_url": SQLITE, "max_clients_per_user": None}
    with Server(args="--workers 4", **settings) as server:
        seconds = 60.0 + 2 * rounds * (_SECONDS + 2.0) + streams / 100
        words = ["benchmarks.listeners", server.port, streams, seconds]
        listeners = subprocess.Popen(
            [sys.executable, "-m", *map(str, words)], stdout=subprocess.PIPE
        )
        try:
            if listeners.stdout is not None:
                listeners.stdout.readline()
            for _ in range(_WARMING):
                # Each worker imports prometheus_client at its first scrape.
                server.get("/events/metrics")
            found: dict[bool, list[Measured]] = {False: [], True: []}
            for _ in range(rounds):
                for scraping in found:
                    found[scraping].append(measure(server, scraping=scraping))
        finally:
            listeners.kill()
            listeners.wait()
    without, scraped = (
        Measured(*map(statistics.median, zip(*found[scraping], strict=True)))
        for scraping in (False, True)
    )
    for name, unscraped, value in zip(Measured._fields, without, scraped, strict=True):
        print(f"{name}: {unscraped:.2f} without, {value:.2f} with a scrape each second")
    print(f"ratio of CPU for each delivery: {scraped.cpu_us / without.cpu_us:.3f}")


def measure(server: Server, *, scraping: bool) -> Measured:
    """Publish for some seconds, and return what each delivery cost."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(1.0):
            server.get("/events/metrics")

    scraper = threading.Thread(target=scrape)
    before, cpu = server.stats(), _cpu(server)
    if scraping:
        scraper.start()
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        server.publish("x" * 100)
        time.sleep(_PAUSE_SECONDS)
    ended.set()
    if scraping:
        scraper.join()
    # The last fan-outs end.
    time.sleep(1.0)
    used, after = _cpu(server) - cpu, server.stats()
    deliveries = after["events_out"] - before["events_out"]
    old, new = before["delivery_latency"], after["delivery_latency"]
    ranges = [b - a for a, b in zip(old["ranges"], new["ranges"], strict=True)]
    count = new["count"] - old["count"]
    return Measured(
        used * 1e6 / deliveries,
        (new["seconds"] - old["seconds"]) * 1e3 / count,
        _quantile(ranges, 0.99) * 1e3,
    )


def _cpu(server: Server) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in server.workers()]
    return sum(each.user + each.system for each in times)


def _quantile(ranges: list[int], part: float) -> float:
    """Return the upper bound of the range that a part of the times does not exceed."""
    below = 0
    for bound, count in zip(BOUNDS, ranges, strict=False):
        below += count
        if below >= part * sum(ranges):
            return bound
    return float("inf")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
