"""The cost of metrics and of the console: a fan-out with scrapes, and without.

``python -m benchmarks.scrape [--streams 10000] [--rounds 9]``. Prints the table in
docs/operations.md: the CPU time of four workers for each delivery, and the time from an
event's place in the log to its last write. Rounds with and without scrapes alternate,
since the machine may have other work to do.
"""

import argparse
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

# A pace that two cores keep up with, together with the clients of 10,000 streams. A
# fan-out that waits for the one before would measure the queue.
_PAUSE_SECONDS = 0.25

# The clients stay until they are killed.
_LONG_SECONDS = 3600

# Scrapes that meet each of four workers most probably.
_WARMING = 30

# Enough for a clock that counts CPU time in steps of 10 ms.
_REQUESTS = 100

# A search that looks at each text of each stream.
_CONSOLE = "/events/console/streams?text=no%20such%20text&order=lag"


class Measured(NamedTuple):
    """The costs of one round."""

    cpu_us: float
    mean_ms: float
    p99_ms: float


_NAMES = {
    "cpu_us": "CPU µs per delivery",
    "mean_ms": "ms to the last write, mean",
    "p99_ms": "ms to the last write, p99 at most",
}


def main(streams: int, rounds: int) -> None:
    """Print both costs and their ratios."""
    settings: dict[str, Any] = {"broker_url": SQLITE, "max_clients_per_user": None}
    with Server(args="--workers 4", **settings) as server:
        words = ["benchmarks.listeners", server.port, streams, _LONG_SECONDS]
        listeners = subprocess.Popen(
            [sys.executable, "-m", *map(str, words)], stdout=subprocess.PIPE
        )
        found: dict[bool, list[Measured]] = {False: [], True: []}
        try:
            if listeners.stdout is None or not listeners.stdout.readline():
                raise RuntimeError("the clients could not connect")
            for _ in range(_WARMING):
                # Each worker imports prometheus_client at its first scrape.
                server.get("/events/metrics")
            for number in range(rounds):
                # Each kind is the first one of every other round.
                for scraping in sorted(found, reverse=bool(number % 2)):
                    found[scraping].append(measure(server, scraping=scraping))
            scrape_ms = cost_of(server, "/events/metrics")
            console_ms = cost_of(server, _CONSOLE)
        finally:
            listeners.kill()
            listeners.wait()
    print(
        f"{streams:,} streams, 4 workers, {rounds} rounds of {_SECONDS:g} s each way:\n"
    )
    print("|  | no scrape | a scrape each second | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for index, name in enumerate(_NAMES.values()):
        without, scraped = (
            [each[index] for each in found[scraping]] for scraping in (False, True)
        )
        ratio = statistics.median(scraped) / statistics.median(without)
        print(f"| {name} | {_shown(without)} | {_shown(scraped)} | {ratio:.2f} |")
    print(
        f"\nOne scrape takes {scrape_ms:.1f} ms of CPU time, of all workers together."
        f" One search of the console through all streams takes {console_ms:.1f} ms."
    )


def _shown(values: list[float]) -> str:
    """Return the median, and the lowest and the highest value, as in other tables."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} - {max(values):.1f})"


def cost_of(server: Server, path: str) -> float:
    """Return the CPU time of a request in milliseconds, while nothing is published."""
    before = _cpu(server)
    for _ in range(_REQUESTS):
        status, _ = server.get(path)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}")
    return (_cpu(server) - before) * 1e3 / _REQUESTS


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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrape")
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    main(**vars(parser.parse_args()))
