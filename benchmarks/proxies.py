"""The cost of a proxy in front of the hub, compared with no proxy.

Runs the configurations of docs/deploying.md and prints the table of that page. With
``--write``, writes the table into the page. All variants are measured in turn in each
round. Ratios compare medians of the same run.
"""

import argparse
import os
import re
import statistics
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load.crowd import Crowd, CrowdError, stamped
from benchmarks.processes import Server
from tests.kit.ports import HOST
from tests.kit.reader import EndOfStream, StreamReader, wait_until
from tests.live.proxies import IDLE_LIMIT, PROTOCOLS, Curl, Proxy

ROUNDS = 3

#: The number of events for one client, and for many clients.
EVENTS, MANY = 300, 100

#: The number of clients, and how many of them connect one by one.
CLIENTS, ALONE = 200, 50

LEAVING = 10
PAYLOAD = 100

#: The idle limit and the time between two pings, in seconds. A stream is watched for
#: this number of idle limits.
IDLE, PING, LIMITS = 1.0, 0.4, 10

_PAGE = Path(__file__).parents[1] / "docs/deploying.md"
_MARKERS = (
    "<!-- proxies: written by make bench-proxies -->\n",
    "<!-- proxies: end -->\n",
)

_HOW = f"""\
Written by `make bench-proxies`: {{versions}}; medians of {ROUNDS} rounds in turn. Read
the ratios (x, medians compared with no proxy): the machine had other work to do, which
affects the times. *One client*: {EVENTS} events over TLS and HTTP/2, read by curl.
*{CLIENTS} clients*: {MANY} events, plain HTTP/1.1. Each event is published when all
clients have received the one before. A ping is sent every {IDLE:.0f} s.
"""

Figures = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Way:
    """How clients reach the server: directly, or by a proxy, possibly with changes."""

    label: str
    kind: str | None = None
    edit: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def open(self, server: Server, protocol: str) -> Iterator["Front"]:
        """Run the proxy, if there is one."""
        if self.kind is None:
            yield Front(server.port)
            return
        with Proxy(self.kind, server.port, protocol=protocol, edit=self.edit) as proxy:
            yield Front(proxy.port, proxy)


@dataclass(frozen=True, slots=True)
class Front:
    """The port that clients connect to, of a proxy or of the server itself."""

    port: int
    proxy: Proxy | None = None

    def ask(self, path: str) -> Curl:
        """Send a request with curl."""
        if self.proxy is not None:
            return self.proxy.ask(path)
        return Curl(f"http://{HOST}:{self.port}{path}", PROTOCOLS["plain"])


DIRECT = Way("no proxy")
PAGE = [Way("nginx", "nginx"), Way("HAProxy", "haproxy"), Way("Caddy", "caddy")]
_VERSION = "        proxy_http_version 1.1;\n"
_BUFFERED = "        proxy_ignore_headers X-Accel-Buffering;\n"

CHANGED = [
    Way(
        "HAProxy without `http-no-delay`",
        "haproxy",
        {"    option http-no-delay\n": ""},
    ),
    Way(
        "HAProxy without `abortonclose`",
        "haproxy",
        {"    option abortonclose\n": ""},
    ),
    Way(
        "nginx by HTTP/1.0, with `X-Accel-Buffering` ignored",
        "nginx",
        {_VERSION: _BUFFERED},
    ),
]


class Clocked(Iterator[bytes]):
    """The chunks of a stream, and the milliseconds from each stamp to its arrival."""

    def __init__(self, chunks: Curl) -> None:
        self.delays: list[float] = []
        self._chunks = chunks

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        now = time.monotonic_ns()
        for stamp in re.findall(rb"@(\d{19})@", chunk):
            self.delays.append((now - int(stamp)) / 1e6)
        return chunk

    def close(self) -> None:
        """Close the connection."""
        self._chunks.close()


def publish(server: Server) -> None:
    """Publish an event that contains the time."""
    server.ask("POST", "/publish/1", stamped(PAYLOAD))()


def one_client(front: Front, server: Server) -> Figures:
    """Return the delays of events. Each is published when the previous one arrived."""
    chunks = Clocked(front.ask("/events"))
    with StreamReader(chunks) as stream:
        stream.next("connected")
        for _ in range(EVENTS):
            publish(server)
            stream.next("message")
    if len(chunks.delays) != EVENTS:
        raise RuntimeError(f"{len(chunks.delays)} stamps of {EVENTS} events")
    return {
        "one p50": [quantile(chunks.delays, 0.5)],
        "one p99": [quantile(chunks.delays, 0.99)],
    }


def many_clients(front: Front, server: Server) -> Figures:
    """Return the times to the first byte, and the delays of events to all clients."""
    with Crowd() as crowd:
        first = [
            crowd.connect(1, port=front.port, within=5.0).first_byte.p50
            for _ in range(ALONE)
        ]
        crowd.connect(CLIENTS - ALONE, port=front.port)
        wait_until(lambda: server.stats()["connections"] == CLIENTS)
        crowd.reset()
        for number in range(MANY):
            publish(server)
            crowd.wait(number + 1)
        report = crowd.report()
    if report.events != MANY * CLIENTS:
        raise RuntimeError(f"{report.events} events of {MANY * CLIENTS} arrived")
    return {
        "first p50": [quantile(first, 0.5)],
        "many p50": [report.latency.p50],
        "many p99": [report.latency.p99],
    }


def leaving(front: Front, server: Server) -> Figures:
    """Return the time from a client's end until the app's statistics omit it."""
    times = []
    for _ in range(LEAVING):
        wait_until(lambda: server.stats()["connections"] == 0)
        stream = StreamReader(front.ask("/events"))
        stream.next("connected")
        started = time.monotonic()
        stream.close()
        wait_until(lambda: server.stats()["connections"] == 0)
        times.append((time.monotonic() - started) * 1000)
    return {"leaving": [quantile(times, 0.5)]}


def measure(way: Way) -> Figures:
    """Return the figures of one round, or none if no event arrives."""
    found: Figures = {}
    with Server("hub", settings={"heartbeat_interval": str(IDLE)}) as server:
        with way.open(server, "plain") as front, suppress(CrowdError):
            found |= many_clients(front, server)
        if found:
            with way.open(server, "http2") as front:
                found |= one_client(front, server)
                found |= leaving(front, server)
    return found


def quantile(values: list[float], part: float) -> float:
    """Return the quantile of some values, where ``part`` is from 0 to 1."""
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def seconds_open(way: Way, *, ping: float) -> float:
    """Return for how many seconds a stream stays open under an idle limit.

    The stream is watched for ``LIMITS`` times the limit.
    """
    limit = {IDLE_LIMIT: f"{IDLE:.0f}s"}
    with (
        Server("hub", settings={"heartbeat_interval": str(ping)}) as server,
        Way(way.label, way.kind, limit).open(server, "http2") as front,
        StreamReader(front.ask("/events")) as stream,
    ):
        stream.next("connected")
        started = time.monotonic()
        with suppress(EndOfStream):
            while time.monotonic() < started + LIMITS * IDLE:
                stream.next("ping", within=2 * IDLE * LIMITS)
        return time.monotonic() - started


@dataclass(frozen=True, slots=True)
class Resumed:
    """The events that were published, lost and doubled while a proxy was restarted."""

    meanwhile: int
    lost: int
    doubled: int


def restart(way: Way) -> Resumed:
    """Restart the proxy under a stream, while events are published."""
    published: list[str] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.01):
            number = str(len(published))
            server.ask("POST", "/publish/1", number.encode())()
            published.append(number)

    with Server("hub") as server, way.open(server, "http2") as front:
        if front.proxy is None:
            raise ValueError("there is no proxy to restart")
        publisher = threading.Thread(target=go_on)
        stream = StreamReader(front.ask("/events"))
        stream.next("connected")
        publisher.start()
        seen = stream.data(50)
        front.proxy.stop()
        with suppress(EndOfStream):
            while True:
                seen += stream.data(1)
        stream.close()
        front.proxy.start()
        again = front.proxy.stream("/events", Last_Event_ID=stream.last_event_id)
        with again:
            again.next("connected")
            meanwhile = len(published) - len(seen)
            over.set()
            publisher.join()
            while published[-1] not in seen:
                seen += again.data(1)
    return Resumed(
        meanwhile, len(set(published) - set(seen)), len(seen) - len(set(seen))
    )


def medians(rounds: list[dict[str, Figures]], label: str) -> dict[str, float]:
    """Return the median of each figure of a way."""
    found: Figures = defaultdict(list)
    for each in rounds:
        for key, values in each[label].items():
            found[key] += values
    return {key: statistics.median(values) for key, values in found.items()}


def costs(rounds: list[dict[str, Figures]]) -> Iterator[str]:
    """Return the lines of the first table."""
    yield (
        "| | ms to the first byte | x | one client, HTTP/2: ms of an event, p50 | p99 |"
        f" x | {CLIENTS} clients: p50 | p99 | x | ms until the app notices a leave |"
    )
    yield "| --- |" + " ---: |" * 9
    direct = medians(rounds, DIRECT.label)
    for way in (DIRECT, *PAGE, *CHANGED):
        mine = medians(rounds, way.label)
        if not mine:
            yield f"| {way.label} |" + " no event arrives |" + " |" * 8
            continue
        cells = []
        for keys in (("first p50",), ("one p50", "one p99"), ("many p50", "many p99")):
            cells += [f"{mine[key]:.1f}" for key in keys]
            cells.append(f"{mine[keys[0]] / direct[keys[0]]:.1f}")
        cells.append(f"{mine['leaving']:,.0f}")
        yield f"| {way.label} | " + " | ".join(cells) + " |"


def survival() -> Iterator[str]:
    """Return the lines of the second table."""
    yield (
        f"| | with a ping every {PING} s | without"
        " | published during a restart | lost | doubled |"
    )
    yield "| --- |" + " ---: |" * 5
    for way in PAGE:
        pinged = seconds_open(way, ping=PING)
        silent = seconds_open(way, ping=10 * LIMITS)
        resumed = restart(way)
        yield (
            f"| {way.label} | {_limits(pinged)} | {_limits(silent)} |"
            f" {resumed.meanwhile} | {resumed.lost} | {resumed.doubled} |"
        )


def _limits(seconds: float) -> str:
    """Return how long a stream stayed open, as a multiple of the idle limit."""
    if seconds >= LIMITS * IDLE:
        return f"open after {LIMITS} x the limit"
    return f"cut after {seconds / IDLE:.1f} x"


def versions() -> str:
    """Return the versions of the proxies, and the number of cores."""
    asked = {"nginx": "nginx -v", "HAProxy": "haproxy -v", "Caddy": "caddy version"}
    said = []
    for name, words in asked.items():
        found = subprocess.run(
            words.split(), capture_output=True, text=True, check=True, timeout=30
        )
        number = re.search(r"\d+\.\d+\.\d+", found.stdout + found.stderr)
        said.append(f"{name} {number[0] if number else '?'}")
    return ", ".join([*said, f"{os.cpu_count()} cores"])


def tables() -> str:
    """Measure everything; return the part of the page."""
    rounds = [
        {way.label: measure(way) for way in (DIRECT, *PAGE, *CHANGED)}
        for _ in range(ROUNDS)
    ]
    lines = [
        _HOW.format(versions=versions()),
        *costs(rounds),
        "",
        f"Under an idle limit of {IDLE:.0f} s, and when the proxy is restarted:",
        "",
        *survival(),
    ]
    return "\n".join(lines) + "\n"


def write(part: str) -> None:
    """Write the tables between the markers of the page."""
    before, _, rest = _PAGE.read_text().partition(_MARKERS[0])
    _, _, after = rest.partition(_MARKERS[1])
    _PAGE.write_text(f"{before}{_MARKERS[0]}\n{part}\n{_MARKERS[1]}{after}")


def main() -> None:
    """Print the tables, and write them into the page with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="write the tables into docs/deploying.md"
    )
    wanted = parser.parse_args()
    found = tables()
    print(found)
    if wanted.write:
        write(found)


if __name__ == "__main__":
    main()
