"""The figures of one worker, the form in which another worker reads them, and sums.

Knows the hub. Does not know how figures travel.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Self

from ..errors import BrokerUnavailable
from ..events.record import Cursor
from ..hub.clients.client import Client
from ..hub.clients.client_stats import ClientStats
from ..hub.hub import Hub
from ..hub.latency import LatencyCounts
from ..hub.presence.roster import Roster
from ..hub.stats import HooksStats, HubStats, OutboxStats
from ..runtime.greenlets import in_slices, unhurried
from .machine_stats import WorkerStats
from .process import ProcessFacts


@dataclass(frozen=True, slots=True)
class BrokerFigures:
    """The broker as one worker reaches it now."""

    up: bool
    #: How long the broker took to tell the log's head, None if it did not.
    round_trip: float | None
    #: For how long this worker has not moved although the log goes on.
    deaf_seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One worker at one moment."""

    #: The worker's number among the workers of its log on its machine, from 0 on.
    worker: int
    hub: HubStats
    #: The ids of the users whose streams are open here.
    users: tuple[str, ...]
    #: Open streams by pattern of SSE_HUB_METRICS_CHANNELS.
    patterns: Mapping[str, int]
    #: Open streams of one request.
    answers: int
    #: Answers that outlive their readers and run in this worker.
    running_answers: int
    #: People in the channels with presence; None if there are no such channels.
    present: int | None
    #: The most streams of the hub.
    max_clients: int
    broker: BrokerFigures
    process: ProcessFacts

    def stats(self) -> WorkerStats:
        """Return a summary of the worker."""
        hub, broker, process = self.hub, self.broker, self.process
        return WorkerStats(
            worker=self.worker,
            pid=process.pid,
            connections=hub.connections,
            position=hub.position,
            deaf_seconds=broker.deaf_seconds,
            draining=hub.draining,
            users=hub.users,
            lagging=hub.lagging,
            events_out=hub.events_out,
            bytes_out=hub.bytes_out,
            broker_up=broker.up,
            round_trip=broker.round_trip,
            started_at=process.started_at,
            cpu_seconds=process.cpu_seconds,
            resident_bytes=process.resident_bytes,
        )

    def to_json(self) -> bytes:
        """Return the figures as another worker reads them."""
        hub = plain(self.hub)
        hub["clients"] = list(unhurried(map(plain, self.hub.clients)))
        for name in _LATENCIES:
            hub[name] = plain(hub[name])
        for name in _OPTIONAL:
            if hub[name] is not None:
                hub[name] = plain(hub[name])
        parts = {"broker": plain(self.broker), "process": plain(self.process)}
        return json.dumps({**plain(self), **parts, "hub": hub}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the figures that another worker has sent.

        Raises ValueError if they are of another kind: during an upgrade the other
        worker may have another version.
        """
        try:
            given: dict[str, Any] = json.loads(data)
            hub = given.pop("hub")
            clients = tuple(map(read_client, hub.pop("clients")))
            for name in _LATENCIES:
                counts = hub[name]
                hub[name] = LatencyCounts(
                    **{**counts, "ranges": tuple(counts["ranges"])}
                )
            for name, kind in _OPTIONAL.items():
                if hub[name] is not None:
                    hub[name] = kind(**hub[name])
            return cls(
                **{
                    **given,
                    "hub": HubStats(**hub, clients=clients),
                    "users": tuple(given["users"]),
                    "broker": BrokerFigures(**given["broker"]),
                    "process": ProcessFacts(**given["process"]),
                }
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"the figures are of another version: {error}") from error


# The streams that are looked at at once, in much less than a millisecond.
_STREAMS_AT_ONCE = 1000

_LATENCIES = ("publish_latency", "delivery_latency")

# The parts that not every app has.
_OPTIONAL: Mapping[str, Callable[..., Any]] = {
    "outbox": OutboxStats,
    "hooks": HooksStats,
}


def plain(shown: Any) -> dict[str, Any]:
    """Return the fields of a dataclass. asdict() would copy each value, slowly."""
    return {field.name: getattr(shown, field.name) for field in fields(shown)}


def read_client(given: dict[str, Any]) -> ClientStats:
    """Return the statistics of a client that another worker has sent."""
    return ClientStats(**{**given, "channels": tuple(given["channels"])})


def figures_of(
    hub: Hub,
    *,
    worker: int,
    max_clients: int,
    answers: int,
    running_answers: int,
    roster: Roster | None,
    pattern: Callable[[str], str | None] | None,
    clients: bool = False,
) -> Figures:
    """Return the figures of this process. ``clients`` adds an entry for each stream.

    ``pattern`` returns the pattern of a channel, None if it has none. ``roster`` is
    None without channels with presence. Asks the broker
    for the log's head, and waits for it. Lets other work run meanwhile: going through
    ten thousand streams takes many milliseconds.
    """
    streams = hub.clients()
    users: set[str | None] = set()
    for some in in_slices(streams, size=_STREAMS_AT_ONCE):
        users.update([client.user for client in some])
    return Figures(
        worker=worker,
        hub=hub.stats(clients=clients),
        users=tuple(user for user in users if user is not None),
        patterns={} if pattern is None else _by_pattern(streams, pattern),
        answers=answers,
        running_answers=running_answers,
        present=None if roster is None else roster.headcount,
        max_clients=max_clients,
        broker=_broker_figures(hub),
        process=ProcessFacts.now(),
    )


def _by_pattern(
    streams: Iterable[Client], pattern: Callable[[str], str | None]
) -> dict[str, int]:
    """Count streams by the patterns of their channels, each pattern once."""
    counts: Counter[str] = Counter()
    known = cache(pattern)
    for client in unhurried(streams):
        for found in {known(channel) for channel in client.channels}:
            if found is not None:
                counts[found] += 1
    return dict(counts)


def _broker_figures(hub: Hub) -> BrokerFigures:
    begun = hub.clock()
    try:
        head = hub.head()
    except BrokerUnavailable:
        return BrokerFigures(up=False, round_trip=None, deaf_seconds=0.0)
    return BrokerFigures(
        up=True, round_trip=hub.clock() - begun, deaf_seconds=hub.deaf_seconds(head)
    )


def total(figures: Sequence[Figures]) -> HubStats:
    """Return the sums of at least one worker's figures.

    A user with streams on two workers counts once. All workers read the same log, so
    an event that came to each of them counts once too. The position is that of the
    worker that is furthest behind.
    """
    hubs = [each.hub for each in figures]
    return HubStats(
        connections=sum(each.connections for each in hubs),
        users=len(set().union(*(each.users for each in figures))),
        channels=_sums(each.channels for each in hubs),
        delivery=_sums(each.delivery for each in hubs),
        lagging=sum(each.lagging for each in hubs),
        opened=sum(each.opened for each in hubs),
        closed=_sums(each.closed for each in hubs),
        refused=sum(each.refused for each in hubs),
        refusals=_sums(each.refusals for each in hubs),
        resets=_sums(each.resets for each in hubs),
        events_in=max(each.events_in for each in hubs),
        bytes_in=max(each.bytes_in for each in hubs),
        malformed=max(each.malformed for each in hubs),
        events_out=sum(each.events_out for each in hubs),
        bytes_out=sum(each.bytes_out for each in hubs),
        history_events=max(each.history_events for each in hubs),
        history_bytes=max(each.history_bytes for each in hubs),
        position=min((each.position for each in hubs), key=_place),
        publish_latency=_latency(each.publish_latency for each in hubs),
        delivery_latency=_latency(each.delivery_latency for each in hubs),
        broker_errors=_sums(each.broker_errors for each in hubs),
        draining=all(each.draining for each in hubs),
        lost_after_commit=sum(each.lost_after_commit for each in hubs),
        outbox=_outbox([each.outbox for each in hubs if each.outbox is not None]),
        hooks=_hooks([each.hooks for each in hubs if each.hooks is not None]),
        clients=tuple(client for each in hubs for client in each.clients),
    )


def _sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return dict(found)


def _outbox(seen: Sequence[OutboxStats]) -> OutboxStats | None:
    """Return the outbox as the worker saw it that saw the most rows."""
    if not seen:
        return None
    return OutboxStats(
        waiting=max(each.waiting for each in seen),
        age=max(each.age for each in seen),
        relayed=sum(each.relayed for each in seen),
        refused=sum(each.refused for each in seen),
    )


def _hooks(seen: Sequence[HooksStats]) -> HooksStats | None:
    """Return the hooks as the worker knows them that knows most."""
    if not seen:
        return None
    return HooksStats(
        waiting=max(each.waiting for each in seen),
        age=max(each.age for each in seen),
        delivered=sum(each.delivered for each in seen),
        failed=sum(each.failed for each in seen),
        lost=sum(each.lost for each in seen),
    )


def _latency(counts: Iterable[LatencyCounts]) -> LatencyCounts:
    first, *others = counts
    for each in others:
        first = first.plus(each)
    return first


def _place(position: str) -> int:
    """Return the place of a position in the log; -1 if the worker has none yet."""
    cursor = Cursor.parse(position)
    return -1 if cursor is None else cursor.offset
