"""The cost of each broker: latency of events, publishing, and delay of requests.

Prints tables of ratios. Ratios are comparable between machines; the times are not.
"""

import re
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from benchmarks.processes import Server, answer, running
from flask_sse_hub.brokers import check_url
from tests.kit.ports import HOST
from tests.kit.redis_server import RedisServer
from tests.live.crowd import crowd

ROUNDS = 5

#: Events and requests in one round, and the pause after each, in seconds. The pause is
#: long enough for all processes to go to sleep again.
EVENTS = 200
REQUESTS = 200
PAUSE = 0.01

#: Processes with 50 publishers each, and how long they publish at the same time.
PROCESSES = 4
TOGETHER_SECONDS = 3

# The baselines of publishing: a plain loop on the same store.
_BARE = {"sqlite": "sqlite, the commits alone", "redis": "redis, XADD in pipelines"}

#: Clients that are connected while publishers publish without a pause.
CLIENTS = 50

#: A parallel process ends after this time if it is not stopped before.
AT_MOST_SECONDS = 300

#: The load for counting connections to Redis.
REDIS_WORKERS = 4
REDIS_CLIENTS = 400

#: The load beside ordinary requests: a mode of the publishers, and the number of
#: clients of the worker. The first scene is the baseline. The computing process shows
#: the cost of having less of the machine.
SCENES = {
    "nothing, 50 clients": ("", CLIENTS),
    "a computing process, 50 clients": ("compute", CLIENTS),
    "publishing, no clients": ("flood", 0),
    "publishing, 1 client": ("flood", 1),
    "publishing, 50 clients": ("flood", CLIENTS),
}

Settings = dict[str, str]
Times = dict[str, list[float]]


class Rates(NamedTuple):
    """The events that a worker has read from the log and delivered to clients."""

    events: float
    deliveries: float
    resets: float

    @classmethod
    def of(cls, server: Server) -> Self:
        """Return the worker's totals so far."""
        stats = server.stats()
        resets = sum(stats["resets"].values())
        return cls(stats["events_in"], stats["events_out"], resets)

    def since(self, before: Self, seconds: float) -> Self:
        """Return the rates per second since an earlier measurement."""
        pairs = zip(self, before, strict=True)
        return type(self)(*((now - then) / seconds for now, then in pairs))

    @classmethod
    def median(cls, rates: list[Self]) -> Self:
        """Return the median of each rate."""
        return cls(*map(statistics.median, zip(*rates, strict=True)))


class Route:
    """The route of an event from a publish on one server to a client of another."""

    def __init__(self, publisher: Server, server: Server) -> None:
        self._publisher = publisher
        self._socket = socket.create_connection((HOST, server.port), timeout=10.0)
        self._socket.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        self._read_until(rb"connected\n.*\n\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def travel(self) -> float:
        """Return the milliseconds from just before a publish to the client's bytes."""
        answer = self._publisher.ask("POST", "/stamped")
        # The stream is read before the answer, whose reading must not be measured.
        stamp = self._read_until(rb"\ndata: (\d+)\n\n")
        taken = (time.monotonic_ns() - int(stamp[1])) / 1e6
        answer()
        return taken

    def _read_until(self, pattern: bytes) -> re.Match[bytes]:
        received = b""
        while (found := re.search(pattern, received)) is None:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise RuntimeError(f"the stream has ended: {received[-200:]!r}")
            received += chunk
        return found


@contextmanager
def brokers() -> Iterator[dict[str, Settings]]:
    """Return the settings of each available broker."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        found = {
            "memory": {"broker_url": "memory://"},
            "sqlite": {"broker_url": f"sqlite:///{folder}/hub.db"},
        }
        try:
            check_url("redis://localhost/0")
        except ValueError:
            print("redis is left out: there is no such broker")
        else:
            if shutil.which("redis-server") is None:
                print("redis is left out: redis-server is not installed")
            else:
                # Synced to disk once a second, a common setting, and about as safe as
                # SQLite is here.
                server = stack.enter_context(RedisServer("--appendfsync", "everysec"))
                found["redis"] = {"broker_url": server.url, "name": "bench"}
        yield found


def measure_arrival(brokers: dict[str, Settings]) -> Times:
    """Return the milliseconds that each event took, one event at a time."""
    times: Times = {name: [] for name in brokers}
    with ExitStack() as stack:
        routes = {}
        for name, settings in brokers.items():
            server = stack.enter_context(Server("hub", settings=settings))
            publisher = server
            if name != "memory":
                # A second server, so that the publisher is certainly another process.
                publisher = stack.enter_context(Server("hub", settings=settings))
            routes[name] = stack.enter_context(Route(publisher, server))
        for _ in range(ROUNDS):
            for name, route in routes.items():
                times[name] += _paced(route.travel, EVENTS)
    return times


def measure_publishing(brokers: dict[str, Settings]) -> dict[str, dict[str, float]]:
    """Return the median rates and times of publishers in a separate process."""
    rounds: list[dict[str, dict[str, float]]] = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            figures = {
                _BARE["sqlite"]: answer(
                    "publishers", "bare", str(Path(folder, "bare.db"))
                )
            }
        if "redis" in brokers:
            url = brokers["redis"]["broker_url"]
            figures[_BARE["redis"]] = answer("publishers", "pipelined", url)
        for name, settings in brokers.items():
            figures[name] = answer("publishers", "broker", settings=settings)
            if name in _BARE:
                figures[f"{name}, {PROCESSES} processes"] = {
                    "together": _together(settings)
                }
        figures["an idle thread"] = answer("publishers", "thread")
        rounds.append(figures)
    return {
        name: {
            key: statistics.median(each[name][key] for each in rounds)
            for key in rounds[0][name]
        }
        for name in rounds[0]
    }


def _together(settings: Settings) -> float:
    """Return the rate of several processes that publish at the same time."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        asked = [
            pool.submit(
                answer, "publishers", "together", TOGETHER_SECONDS, settings=settings
            )
            for _ in range(PROCESSES)
        ]
        return sum(each.result()["together"] for each in asked)


def measure_requests(settings: Settings) -> tuple[Times, dict[str, Rates]]:
    """Return the milliseconds of ordinary requests, and the worker's event rates."""
    times: Times = {name: [] for name in SCENES}
    rates: dict[str, list[Rates]] = {name: [] for name in SCENES}
    for _ in range(ROUNDS):
        for name, (beside, clients) in SCENES.items():
            with ExitStack() as stack:
                server = stack.enter_context(Server("hub", settings=settings))
                if clients:
                    stack.enter_context(
                        running("listeners", server.port, clients, AT_MOST_SECONDS)
                    )
                if beside:
                    stack.enter_context(
                        running(
                            "publishers", beside, AT_MOST_SECONDS, settings=settings
                        )
                    )
                before, started = Rates.of(server), time.monotonic()
                times[name] += _paced(lambda s=server: _request(s), REQUESTS)  # type: ignore[misc]
                rates[name].append(
                    Rates.of(server).since(before, time.monotonic() - started)
                )
    return times, {name: Rates.median(found) for name, found in rates.items()}


def _request(server: Server) -> float:
    started = time.perf_counter()
    server.get("/")
    return (time.perf_counter() - started) * 1000


def _paced(measure: Callable[[], float], count: int) -> list[float]:
    found = []
    for _ in range(count):
        found.append(measure())
        time.sleep(PAUSE)
    return found


def measure_connections(settings: Settings) -> int:
    """Return how many connections to Redis all workers hold with connected clients."""
    import redis

    with (
        Server("hub", workers=REDIS_WORKERS, settings=settings) as server,
        crowd(server.port, REDIS_CLIENTS),
        redis.Redis.from_url(settings["broker_url"]) as own,
    ):
        return len(own.client_list()) - 1


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def print_arrival(brokers: dict[str, Settings]) -> None:
    """Measure and print how long an event takes to a client of another process."""
    print(f"\nms from a publish to a client's bytes, {ROUNDS * EVENTS} events in turn")
    print(f"{'':32}{'p50':>9}{'ratio':>8}{'p99':>9}{'ratio':>8}{'more':>9}")
    times = measure_arrival(brokers)
    p50, p99 = statistics.median(times["memory"]), _p99(times["memory"])
    for name, found in times.items():
        middle, high = statistics.median(found), _p99(found)
        way = "within one worker" if name == "memory" else "from another server"
        print(
            f"{name + ', ' + way:32}{middle:9.2f}{middle / p50:8.2f}"
            f"{high:9.2f}{high / p99:8.2f}{high - p99:9.2f}"
        )


def print_publishing(brokers: dict[str, Settings]) -> None:
    """Measure and print the rates and times of publishers."""
    print(f"\npublishing, medians of {ROUNDS} rounds in turn")
    print(f"{'':32}{'50: /s':>9}{'ratio':>8}{'1: p50 ms':>10}{'ratio':>8}{'p99 ms':>8}")
    found = measure_publishing(brokers)
    for name, figures in found.items():
        bare = _BARE["redis" if name.startswith("redis") else "sqlite"]
        base = found[bare]
        together = alone = ""
        if "together" in figures:
            ratio = figures["together"] / base["together"]
            together = f"{figures['together']:9.0f}{ratio:8.2f}"
        if "p50" in figures:
            ratio = figures["p50"] / base["p50"]
            alone = f"{figures['p50']:10.3f}{ratio:8.2f}{figures['p99']:8.3f}"
        print(f"{name:32}{together:17}{alone}")


def print_requests(settings: Settings) -> None:
    """Measure and print how long an ordinary request waits during other work."""
    print(f"\nms of a request, sqlite, {ROUNDS * REQUESTS} requests in turn")
    print(
        f"{'other load':32}{'p50':>9}{'ratio':>8}{'p99':>9}{'ratio':>8}"
        f"{'events/s':>10}{'deliv./s':>10}{'resets/s':>10}"
    )
    times, rates = measure_requests(settings)
    quiet = times[next(iter(SCENES))]
    for name, found in times.items():
        middle, high = statistics.median(found), _p99(found)
        print(
            f"{name:32}{middle:9.2f}{middle / statistics.median(quiet):8.2f}"
            f"{high:9.2f}{high / _p99(quiet):8.2f}"
            + "".join(f"{rate:10.0f}" for rate in rates[name])
        )


def print_connections(settings: Settings) -> None:
    """Measure and print the number of connections to Redis."""
    count = measure_connections(settings)
    print(
        f"\n{count} connections to Redis of {REDIS_WORKERS} workers with"
        f" {REDIS_CLIENTS} clients: {count / REDIS_WORKERS:.2f} for each worker"
    )


def main() -> None:
    """Print the tables."""
    with brokers() as found:
        print_arrival(found)
        print_publishing(found)
        print_requests(found["sqlite"])
        if "redis" in found:
            print_connections(found["redis"])


if __name__ == "__main__":
    main()
