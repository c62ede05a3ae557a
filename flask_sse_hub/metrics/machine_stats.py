"""Statistics of all workers of one machine, as apps and ``/events/stats`` read them.

Shapes alone: a process that only publishes imports them with the package, and must not
pay for the hub.
"""

from dataclasses import dataclass

from ..hub.stats import HubStats


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker of the machine."""

    #: The worker's number among the workers of its log on its machine, from 0 on. A
    #: worker that is started in its place has the same.
    worker: int
    #: The id of the process.
    pid: int
    #: Open streams.
    connections: int
    #: The id of the last event whose fan-out in this worker has finished.
    position: str
    #: For how long the worker has not moved although the log goes on.
    deaf_seconds: float
    #: Whether the worker is going away.
    draining: bool
    #: Different users with open streams in this worker.
    users: int
    #: Open streams whose client has not taken its last bytes for over a second.
    lagging: int
    #: Events written to clients, and all bytes written.
    events_out: int
    bytes_out: int
    #: Whether the worker reaches the broker now.
    broker_up: bool
    #: How many seconds the broker took to answer the worker, None if it did not.
    round_trip: float | None
    #: The moment at which the process began, in seconds since 1970.
    started_at: float
    #: The CPU time of the process.
    cpu_seconds: float
    #: The memory of the process, None where the system does not tell.
    resident_bytes: int | None


@dataclass(frozen=True, slots=True)
class MachineStats:
    """All workers of one log on one machine."""

    #: Sums over the workers that answered. A user with streams on two workers counts
    #: once, and so does an event that came to each worker.
    total: HubStats
    #: The workers that answered, by number.
    workers: tuple[WorkerStats, ...]
    #: The numbers of workers that gave no answer in time: stopped, or too busy.
    silent: tuple[int, ...]
