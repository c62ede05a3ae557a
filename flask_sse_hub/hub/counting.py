"""The statistics and streams of one hub, collected from its parts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from ..runtime.greenlets import in_slices, unhurried
from .clients.client_stats import ClientStats
from .clients.journal import StreamLife
from .parts import Parts
from .stats import HubStats, OutboxStats

# The streams that are counted at once: about a millisecond.
_STREAMS_AT_ONCE = 1000


def stats_of(
    parts: Parts, *, outbox: OutboxStats | None, clients: Sequence[ClientStats]
) -> HubStats:
    """Return the statistics of a hub, with entries for streams that were collected."""
    tally, registry = parts.tally, parts.registry
    now = parts.clock()
    streams = registry.clients()
    users: set[str | None] = set()
    channels: Counter[str] = Counter()
    lagging = 0
    for some in in_slices(streams, size=_STREAMS_AT_ONCE):
        users.update([client.user for client in some])
        channels.update(chain.from_iterable([client.channels for client in some]))
        lagging += sum([client.lags(now) for client in some])
    return HubStats(
        connections=len(streams),
        users=len(users - {None}),
        channels=dict(channels),
        delivery=dict(+registry.delivery),
        lagging=lagging,
        opened=tally.opened,
        closed=dict(tally.closed),
        refused=tally.refusals.total(),
        refusals=dict(tally.refusals),
        resets=dict(tally.resets),
        events_in=tally.events_in,
        bytes_in=tally.bytes_in,
        malformed=tally.malformed,
        events_out=tally.events_out,
        bytes_out=tally.bytes_out,
        history_events=len(parts.history),
        history_bytes=parts.history.bytes,
        position=str(parts.progress.position),
        publish_latency=tally.publish_latency.counts(),
        delivery_latency=tally.delivery_latency.counts(),
        broker_errors=dict(tally.broker_errors),
        draining=parts.lifecycle.draining,
        lost_after_commit=tally.lost_after_commit,
        outbox=outbox,
        hooks=parts.hooks.stats(),
        clients=tuple(clients),
    )


def client_stats_of(parts: Parts) -> Iterator[ClientStats]:
    """Yield the statistics of each stream of a hub, the oldest first."""
    now, registry = parts.clock(), parts.registry
    for client in unhurried(registry.clients()):
        yield ClientStats.of(
            client,
            registry.written(client),
            now=now,
            lag_events=parts.progress.events_after(client),
        )


def lives_of(parts: Parts, user: str) -> tuple[float, Iterator[StreamLife]]:
    """Return since when a hub knows all streams, and those of a user, open first."""
    own = (each for each in parts.registry.clients() if each.user == user)
    position = parts.progress.position
    open_ones = (parts.journal.life(each, position) for each in own)
    return parts.journal.since, chain(open_ones, parts.journal.ended_of(user))
