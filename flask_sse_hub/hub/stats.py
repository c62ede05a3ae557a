"""Statistics: a frozen snapshot of a worker's hub and its clients."""

from collections.abc import Mapping
from dataclasses import dataclass

from .clients.client_stats import ClientStats
from .latency import LatencyCounts


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """The app's outbox, as this worker saw it at its last look, and its own part."""

    #: Rows that wait to be published, of all workers.
    waiting: int
    #: For how many seconds the oldest of them has waited. It is 0 if none does.
    age: float
    #: Events that this worker has published from the outbox since its start.
    relayed: int
    #: Rows that this worker has set aside, because they can never be published.
    refused: int


@dataclass(frozen=True, slots=True)
class HooksStats:
    """The hooks of presence, as this worker knows them, and its own part."""

    #: Deliveries that wait, of all workers. Each URL has its own.
    waiting: int
    #: For how many seconds the oldest of them has waited. It is 0 if none does.
    age: float
    #: Deliveries that this worker has made since its start.
    delivered: int
    #: Attempts of this worker that have failed. Each is made again.
    failed: int
    #: Deliveries that this worker has given up, because they waited for a day or too
    #: many others came.
    lost: int


@dataclass(frozen=True, slots=True)
class HubStats:
    """One worker's hub: its totals since the start, and its open streams now."""

    #: Open streams.
    connections: int
    #: Different users among them; anonymous clients are not counted.
    users: int
    #: Open streams by channel.
    channels: Mapping[str, int]
    #: Open streams by the way their bytes leave: socket or generator. The readers of
    #: answers count as answer.
    delivery: Mapping[str, int]
    #: Open streams whose client has not taken its last bytes for over a second.
    lagging: int
    #: Streams opened since the start.
    opened: int
    #: Streams ended since the start, by close reason.
    closed: Mapping[str, int]
    #: Clients refused since the start, because of a limit or a drain.
    refused: int
    #: Clients refused since the start, by reason: ``draining``, ``max_clients``,
    #: ``places``, ``user_limit``, ``ip_limit`` or ``connect_rate``.
    refusals: Mapping[str, int]
    #: ``reset`` events sent, by reason. Each told a client that it lost events.
    resets: Mapping[str, int]
    #: Events that came from the broker, and their bytes as encoded.
    events_in: int
    bytes_in: int
    #: Entries of the log that could not be read, and were passed over.
    malformed: int
    #: Events written to clients, and all bytes written, pings and greetings included,
    #: as they are before compression.
    events_out: int
    bytes_out: int
    #: Events and bytes of history that this worker keeps in memory.
    history_events: int
    history_bytes: int
    #: The id of the last event whose fan-out here has finished.
    position: str
    #: How long calls of ``publish()`` waited for the broker.
    publish_latency: LatencyCounts
    #: How long it took from an event's place in the log to its last direct write, for
    #: each fan-out that reached a client.
    delivery_latency: LatencyCounts
    #: Calls of the broker that failed since the start, by operation: ``publish``,
    #: ``head`` (for each stream that opens) or ``replay`` (of events that are missed).
    broker_errors: Mapping[str, int]
    #: Whether the worker is going away.
    draining: bool
    #: Events of ``publish(after=...)`` that could not be published after their commit.
    lost_after_commit: int = 0
    #: The outbox, if the app has one.
    outbox: OutboxStats | None = None
    #: The hooks of presence, if the app has a URL for them.
    hooks: HooksStats | None = None
    #: One entry for each open stream, if asked for.
    clients: tuple[ClientStats, ...] = ()
