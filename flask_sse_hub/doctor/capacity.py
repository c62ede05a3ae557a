"""The machines that a number of streams and events needs, from measured constants.

The constants are in ``measured.json``, which ``python -m benchmarks.capacity --write``
writes. Knows arithmetic alone: no app, no log, no machine.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ..events.record import NAME_BYTES

#: The share of a core that streams may take in each worker. The rest is for requests of
#: the app, for reconnects, and for the uneven moments of a second.
MOST_CPU = 0.5

_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """The measured costs of one worker, in microseconds of CPU and in bytes.

    ``benchmarks.capacity`` says how each is measured.
    """

    #: A worker without streams.
    worker_bytes: float
    #: An idle stream of a logged-in user.
    stream_bytes: float
    #: A request for an empty view with a login, to compare with, and the opening of a
    #: stream with the same login.
    view_us: float
    connect_us: float
    #: The publish of an event, in the process that publishes.
    publish_us: float
    #: An event that a worker reads from the log.
    event_us: float
    #: The write of an event to one stream, and of each KiB of data in it.
    delivery_us: float
    delivery_kib_us: float
    #: A ping to one stream, which is due after a heartbeat without events.
    ping_us: float
    ping_bytes: float
    #: The bytes of an event beside its data: on the wire, in a worker's memory, in an
    #: SQLite file, in Redis's memory, and on the way from Redis to each worker.
    wire_bytes: float
    memory_bytes: float
    sqlite_bytes: float
    redis_bytes: float
    redis_sent_bytes: float
    #: Redis's part in the publish of an event, and in its way to each worker.
    redis_us: float
    redis_worker_us: float


@cache
def measured() -> Constants:
    """Return the constants of this release."""
    text = (resources.files(__package__) / "measured.json").read_text()
    return Constants(**json.loads(text)["constants"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The peak that is planned for.

    ``events`` are published in a second, each to ``receivers`` streams with ``bytes``
    of data. ``connects`` are streams opened in a second. ``workers`` of 0 stands for as
    many as the load needs.
    """

    streams: int
    events: float
    receivers: float
    bytes: float
    connects: float
    heartbeat: float
    history_events: int
    history_seconds: float
    history_bytes: int
    memory_history_bytes: int
    max_clients: int
    workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The need of all workers together, and of each of them.

    CPU is in cores of the measured kind, and ``requests`` is the same CPU time as a
    number of empty requests a second. Rates are in bytes per second. A client can
    resume after ``reach_seconds`` at this rate of events. After a restart of all, the
    workers need ``return_seconds`` to take in all streams again.
    """

    workers: int
    cpu: float
    cpu_of_each: float
    requests: float
    memory: float
    memory_of_each: float
    streams_of_each: int
    descriptors_of_each: int
    sent: float
    publish_cpu: float
    reach_seconds: float
    history_bytes: float
    sqlite_bytes: float
    redis_cpu: float
    redis_memory: float
    redis_sent: float
    return_seconds: float


def plan(load: Load, constants: Constants) -> Plan:
    """Return the need of a load."""
    workers = load.workers or _workers(load, constants)
    cpu = _cpu(load, constants, workers)
    held = _held(load)
    history = min(
        held * (load.bytes + constants.memory_bytes), load.memory_history_bytes
    )
    streams = math.ceil(load.streams / workers)
    memory = (
        workers * (constants.worker_bytes + history)
        + load.streams * constants.stream_bytes
    )
    deliveries = load.events * load.receivers
    pings = _pings(load)
    return Plan(
        workers=workers,
        cpu=cpu,
        cpu_of_each=cpu / workers,
        requests=cpu / constants.view_us * 1e6,
        memory=memory,
        memory_of_each=memory / workers,
        streams_of_each=streams,
        # One for each stream, and two while it begins.
        descriptors_of_each=streams + math.ceil(load.connects / workers),
        sent=deliveries * (load.bytes + constants.wire_bytes)
        + pings * constants.ping_bytes,
        publish_cpu=load.events * constants.publish_us / 1e6,
        reach_seconds=min(
            load.history_seconds, held / load.events if load.events else math.inf
        ),
        history_bytes=history,
        sqlite_bytes=held * (load.bytes + constants.sqlite_bytes),
        redis_cpu=load.events
        * (constants.redis_us + workers * constants.redis_worker_us)
        / 1e6,
        redis_memory=held * (load.bytes + constants.redis_bytes),
        redis_sent=load.events * workers * (load.bytes + constants.redis_sent_bytes),
        return_seconds=load.streams * constants.connect_us / 1e6 / workers,
    )


def _workers(load: Load, constants: Constants) -> int:
    """Return how many workers a load needs by its streams and by its CPU time."""
    by_streams = math.ceil(load.streams / load.max_clients)
    # Each worker reads every event. The rest of its share is for its streams.
    left = MOST_CPU - _cpu_of_events(load, constants)
    by_cpu = math.ceil(_cpu(load, constants, 0) / left) if left > 0 else 1
    return max(1, by_streams, by_cpu)


def _cpu(load: Load, constants: Constants, workers: int) -> float:
    """Return the cores that all workers use, without publishing."""
    each = constants.delivery_us + load.bytes / _KIB * constants.delivery_kib_us
    return workers * _cpu_of_events(load, constants) + 1e-6 * (
        load.events * load.receivers * each
        + _pings(load) * constants.ping_us
        + load.connects * constants.connect_us
    )


def _cpu_of_events(load: Load, constants: Constants) -> float:
    return load.events * constants.event_us / 1e6


def _pings(load: Load) -> float:
    """Return the pings of a second: streams that hear events often need none."""
    heard = load.events * load.receivers / load.streams
    return load.streams / load.heartbeat * math.exp(-heard * load.heartbeat)


def _held(load: Load) -> float:
    """Return how many events the log keeps while they come at this rate."""
    by_bytes = load.history_bytes / (load.bytes + NAME_BYTES)
    return min(load.history_events, load.events * load.history_seconds, by_bytes)
