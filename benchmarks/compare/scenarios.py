"""The scenarios: the load on each server, and the figures that are measured.

A scenario runs one round on a server that has just been started, and returns figures by
name. A fault is an error: a stream that ends, an event too few or too many, or a
deadline that passes. A server that fails therefore never has a figure.
"""

import http.client
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.apps import cookie_of
from benchmarks.load.crowd import Crowd, CrowdError, Report, stamped
from benchmarks.load.witness import Witness, rows
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.ours import (
    GeneratorLoggedIn,
    Gzip,
    SocketLoggedIn,
    Uncompressed,
    Unyielding,
    Zstd,
)
from benchmarks.peers.queues import Queues
from tests.kit.ports import HOST

#: Bytes of data of every event.
SIZE = 100

#: Bytes of data of events in different sizes, and the number of events of each.
SIZES = (100, 1000, 15_000, 17_000, 24_000, 64_000, 256_000)
_EVENTS_OF_A_SIZE = 10

#: How many clients are opening their streams at any time of a storm.
STORM = 500

#: Bytes of the JSON in events that are compressed, and the number of events per size.
JSON_SIZES = (200, 2000, 20_000)
_JSON_EVENTS = 10

#: Clients of each of many channels.
_EACH = 5

#: How long requests are made during a fan-out, and the time between two requests, in
#: seconds. Each request costs a worker as much as a hundred deliveries: more requests
#: would lower the throughput of servers that answer them soon.
REQUEST_SECONDS = 4.0
REQUEST_EVERY = 0.025

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load, and the servers that it is run on."""

    name: str
    peers: tuple[type[Peer], ...]
    run: Callable[[Any, Crowd], Figures]


def pace(peer: Peer, crowd: Crowd, *, clients: int, events: int) -> Figures:
    """Open streams, and send each event once all clients have the previous one."""
    clients = min(clients, peer.most_clients)
    events = max(10, round(events * peer.share))
    _warm(peer, crowd)
    idle = peer.memory()
    before = peer.cpu()
    opened = crowd.connect(
        clients, port=peer.port, path=peer.path, silent=peer.silent, at_once=STORM
    )
    used = settled_cpu(peer) - before
    figures: Figures = {"clients": clients}
    if not peer.silent:
        figures |= {
            "connect_us": used / clients * 1e6,
            "connects_per_second": clients / opened.seconds,
            "first_byte_p99_ms": opened.first_byte.p99,
        }
    _greet(peer, crowd)
    settled_cpu(peer)
    figures["memory_kib"] = (peer.memory() - idle) / clients / 1024
    crowd.reset()
    before = settled_cpu(peer)
    for number in range(1, events + 1):
        peer.publish(stamped(SIZE))
        crowd.wait(number)
    used = settled_cpu(peer) - before
    report = _checked(crowd, clients * events)
    return figures | _delivery(report, used) | _last(report)


def paced(peer: Peer, crowd: Crowd) -> Figures:
    """Send one event at a time to 5,000 idle clients."""
    return pace(peer, crowd, clients=5000, events=50)


def many(peer: Peer, crowd: Crowd) -> Figures:
    """Send one event at a time to 15,000 clients."""
    return pace(peer, crowd, clients=15_000, events=15)


def burst(peer: Peer, crowd: Crowd) -> Figures:
    """Send 500 events at once to 1,000 clients."""
    clients = min(1000, peer.most_clients)
    count = round(500 * peer.share)
    _warm(peer, crowd)
    crowd.connect(clients, port=peer.port, path=peer.path, silent=peer.silent)
    _greet(peer, crowd)
    crowd.reset()
    before = settled_cpu(peer)
    peer.publish_burst(stamped(SIZE), count)
    crowd.wait(count)
    used = settled_cpu(peer) - before
    report = _checked(crowd, clients * count)
    figures: Figures = {"clients": clients, "events": count}
    return figures | _delivery(report, used) | {"whole_ms": report.latency.max}


def sizes(peer: Peer, crowd: Crowd) -> Figures:
    """Send one event at a time to 1,000 clients, in sizes from 0.1 to 256 kB."""
    clients = 1000
    _warm(peer, crowd)
    crowd.connect(clients, port=peer.port, path=peer.path)
    _greet(peer, crowd)
    figures: Figures = {"clients": clients}
    for size in SIZES:
        settled_cpu(peer)
        crowd.reset()
        before = settled_cpu(peer)
        for number in range(1, _EVENTS_OF_A_SIZE + 1):
            peer.publish(stamped(size))
            crowd.wait(number)
        used = settled_cpu(peer) - before
        report = _checked(crowd, clients * _EVENTS_OF_A_SIZE)
        figures[f"delivery_us_{size}"] = used / report.events * 1e6
    return figures


def channels(peer: Peer, crowd: Crowd) -> Figures:
    """Send events to one channel with 5 clients: the only one, and one of 1,000."""
    nobody = _to_channels(peer, crowd, count=0)
    alone = _to_channels(peer, crowd, count=1) / _EACH
    among = _to_channels(peer, crowd, count=1000) / _EACH
    return {
        "nobody_us": nobody,
        "alone_us": alone,
        "among_us": among,
        "ratio": among / alone,
    }


def _to_channels(peer: Peer, crowd: Crowd, *, count: int) -> float:
    """Return the CPU microseconds per event, sent to one channel after the other.

    With no channels, the events go to a channel without clients, which measures the
    publishing alone.
    """
    events = 500
    crowd.close()
    path = peer.channel_path or peer.path
    crowd.connect(_EACH * count, port=peer.port, path=path, groups=max(count, 1))
    # One event first, so that the server has done the work of a first event, and has
    # noticed the clients that left.
    peer.publish(stamped(SIZE), channel=0)
    crowd.wait(1, group=0)
    crowd.reset()
    before = settled_cpu(peer)
    for number in range(events):
        channel = number % max(count, 1)
        peer.publish(stamped(SIZE), channel=channel)
        crowd.wait(number // max(count, 1) + 1, group=channel)
    used = settled_cpu(peer) - before
    _checked(crowd, _EACH * events if count else 0)
    return used / events * 1e6


def requests(peer: Peer, crowd: Crowd) -> Figures:
    """Request / while events are fanned out to 10,000 clients without a pause."""
    clients = min(10_000, peer.most_clients)
    _warm(peer, crowd)
    crowd.connect(clients, port=peer.port, path=peer.path, silent=peer.silent)
    _greet(peer, crowd)
    quiet = _ask(peer, until=time.monotonic() + 1.0)
    crowd.reset()
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        fan_out = pool.submit(_fan_out, peer, crowd, over)
        try:
            busy = _ask(peer, until=time.monotonic() + REQUEST_SECONDS)
        finally:
            over.set()
        seconds, events = fan_out.result()
    _checked(crowd, clients * events)
    return {
        "clients": clients,
        "quiet_p50_ms": statistics.median(quiet),
        "p50_ms": statistics.median(busy),
        "p99_ms": _p99(busy),
        "deliveries_per_second": clients * events / seconds,
    }


def _fan_out(peer: Peer, crowd: Crowd, over: threading.Event) -> tuple[float, int]:
    """Publish each event once all clients have the previous one.

    Returns the seconds and the number of events. If two events waited at once, a server
    could join them in one write, and a server that never yields could do so more often.
    """
    started = time.monotonic()
    events = 0
    while not over.is_set():
        peer.publish(stamped(SIZE))
        events += 1
        crowd.wait(events)
    return time.monotonic() - started, events


def _ask(peer: Peer, *, until: float) -> list[float]:
    """Return the milliseconds of ordinary requests, each on its own connection."""
    times = []
    while (now := time.monotonic()) < until:
        started = time.perf_counter()
        connection = http.client.HTTPConnection(HOST, peer.port, timeout=30.0)
        connection.request("GET", "/")
        connection.getresponse().read()
        times.append((time.perf_counter() - started) * 1000)
        connection.close()
        time.sleep(max(0.0, now + REQUEST_EVERY - time.monotonic()))
    return times


def memory(peer: Peer, crowd: Crowd) -> Figures:
    """Open 5,000 streams, each for a separate user with a separate session."""
    clients = 5000
    who = (cookie_of("user%d"),)
    _warm(peer, crowd, headers=who)
    idle = peer.memory()
    crowd.connect(clients, port=peer.port, path=peer.path, headers=who)
    _greet(peer, crowd)
    settled_cpu(peer)
    return {"clients": clients, "memory_kib": (peer.memory() - idle) / clients / 1024}


def compression(peer: Uncompressed, crowd: Crowd) -> Figures:
    """Send JSON events of three sizes to 5,000 clients with a content coding."""
    _warm(peer, crowd)
    clients = 5000
    crowd.connect(clients, port=peer.port, at_once=STORM, headers=peer.headers)
    figures: Figures = {"clients": clients}
    with Witness(peer.port, peer.headers) as witness:
        for size in JSON_SIZES:
            events = [rows(size, seed=seed) for seed in range(_JSON_EVENTS)]
            # Bytes of earlier events must not count here.
            settled_cpu(peer)
            crowd.reset()
            before = settled_cpu(peer)
            sent = 0
            for event in events:
                peer.publish(event)
                sent += witness.take(event)
                _await_bytes(crowd, clients * sent)
            used = settled_cpu(peer) - before
            figures[f"bytes_{size}"] = sent / len(events)
            figures[f"delivery_us_{size}"] = used / len(events) / clients * 1e6
    return figures


def _await_bytes(crowd: Crowd, expected: int) -> None:
    """Wait until the clients have received exactly this number of bytes."""
    deadline = time.monotonic() + 30.0
    while (got := crowd.report().bytes) < expected and time.monotonic() < deadline:
        time.sleep(0.001)
    if got != expected:
        raise CrowdError(f"{got} bytes instead of {expected}")


def settled_cpu(peer: Peer) -> float:
    """Return the CPU seconds that a server has used, once it is idle."""
    deadline = time.monotonic() + 10.0
    used = peer.cpu()
    while time.monotonic() < deadline:
        time.sleep(0.05)
        before, used = used, peer.cpu()
        # The background work of a server, such as pings, takes less than this.
        if used - before < 0.002:
            break
    return used


def _warm(peer: Peer, crowd: Crowd, *, headers: tuple[str, ...] = ()) -> None:
    """Connect the first clients, for which a server does extra work, and close them."""
    crowd.connect(
        50, port=peer.port, path=peer.path, silent=peer.silent, headers=headers
    )
    _greet(peer, crowd)
    crowd.close()
    # Some servers notice only at the next write that a client has left.
    peer.publish(stamped(SIZE))
    settled_cpu(peer)


def _greet(peer: Peer, crowd: Crowd) -> None:
    """Send an event to all clients that does not count.

    A silent server may not have registered all clients yet. For such a server, the
    event is sent again until every client has received one.
    """
    attempts = 30 if peer.silent else 1
    for left in range(attempts - 1, -1, -1):
        peer.publish(stamped(SIZE))
        try:
            crowd.wait(1, within=1.0 if left else 30.0)
        except CrowdError:
            if not left:
                raise
        else:
            return


def _checked(crowd: Crowd, expected: int) -> Report:
    """Return the report; raise CrowdError unless each event arrived exactly once."""
    report = crowd.report()
    if report.events != expected:
        raise CrowdError(f"{report.events} deliveries instead of {expected}")
    return report


def _delivery(report: Report, used: float) -> Figures:
    return {"delivery_us": used / report.events * 1e6, "p50_ms": report.latency.p50}


def _last(report: Report) -> Figures:
    times = [last for _, last in report.last]
    return {"last_p50_ms": statistics.median(times), "last_p99_ms": _p99(times)}


def _p99(times: Iterable[float]) -> float:
    """Return the 99th percentile by nearest rank: the longest of fewer than 100."""
    ordered = sorted(times)
    return ordered[-(-99 * len(ordered) // 100) - 1]


_OF_MANY = tuple(peer for peer in PEERS if peer.most_clients >= 15_000)
_OF_REQUESTS = tuple(peer for peer in PEERS if peer.most_clients >= 10_000)
_OF_SIZES = tuple(peer for peer in PEERS if peer.name in ("floor", "socket"))
_OF_CHANNELS = tuple(peer for peer in PEERS if peer.channel_path)

SCENARIOS = (
    Scenario("paced", (*PEERS, Queues), paced),
    Scenario("burst", PEERS, burst),
    Scenario("many", _OF_MANY, many),
    Scenario("sizes", _OF_SIZES, sizes),
    Scenario("channels", _OF_CHANNELS, channels),
    Scenario("requests", (*_OF_REQUESTS, Unyielding), requests),
    Scenario("memory", (SocketLoggedIn, GeneratorLoggedIn), memory),
    Scenario("compression", (Uncompressed, Gzip, Zstd), compression),
)
