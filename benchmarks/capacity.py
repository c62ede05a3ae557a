"""The constants of ``flask sse plan``, measured on this machine.

Prints them, each from the cheapest of some rounds. ``--write`` writes them into the
package, and their table into docs/capacity.md.
"""

import argparse
import json
import math
import os
import platform
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
from flask import Flask

from benchmarks import sizing
from benchmarks.apps import cookie_of
from benchmarks.compare.scenarios import settled_cpu
from benchmarks.load.crowd import Crowd, stamped
from benchmarks.peers.base import Peer
from benchmarks.peers.ours import SocketLoggedIn
from benchmarks.processes import Server
from benchmarks.requests import Visit, cpu
from flask_sse_hub import Publisher, SSEHub
from flask_sse_hub.doctor.capacity import Constants
from flask_sse_hub.events.record import Cursor
from flask_sse_hub.hub.delivery.own_events import ping

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "flask_sse_hub/doctor/measured.json"
PAGE = ROOT / "docs/capacity.md"
#: The load of the page's example, as the options of the command.
EXAMPLE = "--streams 20000 --events 50 --receivers 1000 --bytes 300"

ROUNDS = 3

#: Clients of one measurement, and its events. Each client is a user of its own.
CLIENTS = 2000
EVENTS = 100
SIZES = (100, 16_100)

#: Streams that are opened at the same time: as many as after a short cut.
AT_ONCE = 50

# The further workers that read from Redis in its second measurement.
_MORE_WORKERS = 8

#: Seconds in which pings are counted, and the heartbeat, which makes each ping one of
#: many looks at a silent stream.
PING_SECONDS = 30.0
HEARTBEAT = "10"

#: The people that ask for a view, and open a stream, and how often all of them do.
PEOPLE = 20
REQUEST_ROUNDS = 20

_USERS = (cookie_of("user%d"),)

#: Each constant's row in the table: its words and its unit.
ROWS = {
    "worker_bytes": ("a worker without streams", "MiB of memory"),
    "stream_bytes": ("an idle stream of a user who is logged in", "KiB of memory"),
    "view_us": ("a request for an empty view, with its login", "µs of CPU"),
    "connect_us": ("opening a stream, with its login", "µs of CPU"),
    "publish_us": ("publishing an event, in the process that publishes", "µs of CPU"),
    "event_us": ("an event, in each worker", "µs of CPU"),
    "delivery_us": ("an event, to each stream that receives it", "µs of CPU"),
    "delivery_kib_us": ("each KiB of its data, to each stream", "µs of CPU"),
    "ping_us": ("a ping to one stream", "µs of CPU"),
    "ping_bytes": ("a ping, on the wire", "bytes"),
    "wire_bytes": ("an event on the wire, beside its data", "bytes"),
    "memory_bytes": ("an event in the memory of a worker, beside its data", "bytes"),
    "sqlite_bytes": ("an event in an SQLite file, beside its data", "bytes"),
    "redis_bytes": ("an event in Redis, beside its data", "bytes"),
    "redis_sent_bytes": (
        "an event from Redis to each worker, beside its data",
        "bytes",
    ),
    "redis_us": ("publishing an event, in Redis", "µs of CPU"),
    "redis_worker_us": ("an event from Redis to each worker, in Redis", "µs of CPU"),
}
_UNITS = {"MiB of memory": 2**20, "KiB of memory": 2**10}


class Pinging(SocketLoggedIn):
    """The same app, with more pings."""

    settings = {"heartbeat_interval": HEARTBEAT}  # noqa: RUF012 - as in the base class


def streams() -> dict[str, float]:
    """Return the costs of one worker and of its streams, in bytes and seconds.

    Those of an event are of one event to one stream, and to all.
    """
    with SocketLoggedIn() as peer, Crowd() as crowd:
        publisher = Publisher(f"sqlite:///{peer.folder}/hub.db")

        def connect(clients: int) -> None:
            crowd.connect(clients, port=peer.port, at_once=AT_ONCE, headers=_USERS)
            settled_cpu(peer)

        def event(size: int) -> float:
            settled_cpu(peer)
            crowd.reset()
            before = settled_cpu(peer)
            for number in range(1, EVENTS + 1):
                publisher.publish(stamped(size).decode())
                crowd.wait(number)
            return (settled_cpu(peer) - before) / EVENTS

        connect(1)
        found = {"event_to_one": event(SIZES[0]), "worker": _private(peer)}
        crowd.close()
        before = peer.memory()
        connect(CLIENTS)
        found["streams"] = peer.memory() - before
        found["event_to_all"] = event(SIZES[0])
        found["large_event_to_all"] = event(SIZES[1])
        report = crowd.report()
        found["wire"] = report.bytes / report.events - SIZES[1]
        before_publishing = time.process_time()
        for _ in range(EVENTS):
            publisher.publish(stamped(SIZES[0]).decode(), channel="nobody")
        found["publish"] = (time.process_time() - before_publishing) / EVENTS
        publisher.close()
        return found


def _private(peer: Peer) -> float:
    """Return the memory of a server's one worker, which it forks last."""
    return float(peer.tree[-1].memory_full_info().pss)


def requests() -> dict[str, float]:
    """Return the costs of an empty view and of a stream behind a login, in seconds."""
    with Server("visitors") as server:
        people = [Visit(server).logged_in(f"user-{n}") for n in range(PEOPLE)]
        views, connects = [], []
        for _ in range(REQUEST_ROUNDS):
            before = cpu(server)
            for visit in people:
                visit.ask("GET /empty")
            # The worker answers before it has put everything away.
            time.sleep(0.02)
            views.append(cpu(server) - before)
            before = cpu(server)
            streams = [visit.open() for visit in people]
            time.sleep(0.02)
            connects.append(cpu(server) - before)
            for each in streams:
                each.close()
        return {"view": min(views) / PEOPLE, "connect": min(connects) / PEOPLE}


def pings() -> dict[str, float]:
    """Return the cost of a ping to a silent stream, in seconds and bytes."""
    size = len(ping(Cursor("0" * 12, 10_000)))
    with Pinging() as peer, Crowd() as crowd:

        def rate(clients: int, seconds: float) -> tuple[float, float]:
            """Return the CPU seconds and the bytes of a second of silence."""
            crowd.connect(clients, port=peer.port, at_once=AT_ONCE, headers=_USERS)
            settled_cpu(peer)
            crowd.reset()
            before, begun = peer.cpu(), time.monotonic()
            time.sleep(seconds)
            taken = time.monotonic() - begun
            return (peer.cpu() - before) / taken, crowd.report().bytes / taken

        # A worker with one stream has work of its own.
        alone, _ = rate(1, PING_SECONDS / 3)
        crowd.close()
        used, sent = rate(CLIENTS, PING_SECONDS)
    return {"ping": max(0.0, used - alone) / (sent / size), "ping_size": size}


def logs() -> dict[str, float]:
    """Return the size of an event in each log, and the costs of Redis."""
    held, sent = sizing.measure_redis(SIZES[0])
    return {
        "in_memory": sizing.measure_memory(SIZES[0]),
        "in_sqlite": sizing.measure_sqlite(SIZES[0]),
        "in_redis": held,
        "from_redis": sent,
        "redis_one": sizing.measure_redis_cpu(1),
        "redis_many": sizing.measure_redis_cpu(1 + _MORE_WORKERS),
    }


def constants_of(low: dict[str, float]) -> Constants:
    """Return the constants for the lowest costs of all rounds."""
    each = (low["event_to_all"] - low["event_to_one"]) / (CLIENTS - 1)
    larger = low["large_event_to_all"] - low["event_to_all"]
    each_kib = max(0.0, larger / CLIENTS / (SIZES[1] - SIZES[0]) * 1024)
    to_worker = max(0.0, low["redis_many"] - low["redis_one"]) / _MORE_WORKERS
    found = {
        "worker_bytes": low["worker"],
        "stream_bytes": low["streams"] / CLIENTS,
        "view_us": low["view"] * 1e6,
        "connect_us": low["connect"] * 1e6,
        "publish_us": low["publish"] * 1e6,
        "event_us": (low["event_to_one"] - each) * 1e6,
        "delivery_us": max(0.0, each - each_kib * SIZES[0] / 1024) * 1e6,
        "delivery_kib_us": each_kib * 1e6,
        "ping_us": low["ping"] * 1e6,
        "ping_bytes": low["ping_size"],
        "wire_bytes": low["wire"],
        "memory_bytes": low["in_memory"] - SIZES[0],
        "sqlite_bytes": low["in_sqlite"] - SIZES[0],
        "redis_bytes": low["in_redis"] - SIZES[0],
        "redis_sent_bytes": low["from_redis"] - SIZES[0],
        "redis_us": max(0.0, low["redis_one"] - to_worker),
        "redis_worker_us": to_worker,
    }
    return Constants(**{name: float(f"{value:.3g}") for name, value in found.items()})


def measure(rounds: int) -> Constants:
    """Return the constants, from the lowest cost of each kind in all rounds.

    Other work on the machine makes a round dearer, and never cheaper.
    """
    low: dict[str, float] = {}
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        for name, value in (streams() | requests() | pings() | logs()).items():
            low[name] = min(value, low.get(name, math.inf))
    return constants_of(low)


def told_of(rounds: int) -> str:
    """Return a description of a measurement on this machine."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"the cheapest of {rounds} rounds on {os.cpu_count()} cores, {memory:.0f} GiB,"
        f" Python {platform.python_version()}"
    )


def table(constants: Constants, *, how: str) -> Iterator[str]:
    """Yield the lines of the table in docs/capacity.md."""
    yield f"One gevent worker with streams over sockets, {how}:"
    yield ""
    yield "| of | | |"
    yield "|---|---:|---|"
    for name, value in asdict(constants).items():
        words, unit = ROWS[name]
        shown = float(f"{value / _UNITS.get(unit, 1):.3g}")
        yield f"| {words} | {shown:,g} | {unit} |"


def example() -> str:
    """Return the command of the page's example, with its output."""
    app = Flask("app")
    app.config.update(SECRET_KEY=secrets.token_hex(), SSE_HUB_BROKER_URL="memory://")
    SSEHub(app)
    words = ["sse", "plan", *EXAMPLE.split()]
    output = app.test_cli_runner().invoke(args=words).output
    return f"```console\n$ flask sse plan {EXAMPLE}\n{output}```"


def page(text: str, part: str, inside: str) -> str:
    """Return the text of docs/capacity.md with another text between a part's marks."""
    mark = f"<!-- {part}: written by make bench-capacity -->\n"
    before, begin, rest = text.partition(mark)
    _, end, after = rest.partition(f"<!-- {part}: end -->\n")
    return f"{before}{begin}\n{inside}\n\n{end}{after}"


def written(text: str) -> str:
    """Return the text of docs/capacity.md for the constants of the package."""
    found = json.loads(MEASURED.read_text())
    constants = Constants(**found["constants"])
    lines = "\n".join(table(constants, how=found["measured"]))
    return page(page(text, "constants", lines), "example", example())


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    constants, how = measure(options.rounds), told_of(options.rounds)
    print("\n".join(table(constants, how=how)))
    if options.write:
        found = {"measured": how, "constants": asdict(constants)}
        MEASURED.write_text(json.dumps(found, indent=2) + "\n")
        PAGE.write_text(written(PAGE.read_text()))


if __name__ == "__main__":
    main()
