"""The figures of a machine as metrics, in the formats of Prometheus and OpenMetrics.

Each worker has series of its own, by its number. A worker that takes a dead one's place
begins its counters at 0, as Prometheus expects of a counter; a sum over workers would
fall instead, and look like a burst. Imports prometheus_client, which is an extra, when
it is first used.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError
from ..events.record import GapReason
from ..hub.clients.close_reason import CloseReason
from ..hub.latency import BOUNDS, LatencyCounts
from ..runtime.greenlets import unhurried
from .figures import Figures, total
from .machine import MachineFigures

_REFUSALS = (
    *("draining", "max_clients", "places"),
    *("user_limit", "ip_limit", "connect_rate"),
)
_OPERATIONS = ("publish", "head", "replay")

# The name of each gauge and counter with one series for each worker, its help, and the
# function that returns its value; None leaves the series out.
_Value = Callable[[Figures], float | None]
_GAUGES: Sequence[tuple[str, str, _Value]] = (
    (
        "lagging",
        "Open streams whose client has not taken its last bytes for over a second.",
        lambda of: of.hub.lagging,
    ),
    ("max_clients", "SSE_HUB_MAX_CLIENTS.", lambda of: of.max_clients),
    ("answers", "Open streams of one request.", lambda of: of.answers),
    (
        "running_answers",
        "Answers that outlive their readers and run in the worker.",
        lambda of: of.running_answers,
    ),
    (
        "present",
        "People in channels with presence, once for each channel, as the worker knows.",
        lambda of: of.present,
    ),
    ("history_events", "Events in memory.", lambda of: of.hub.history_events),
    ("history_bytes", "Bytes of events in memory.", lambda of: of.hub.history_bytes),
    ("draining", "1 if the worker is going away.", lambda of: of.hub.draining),
    ("broker_up", "1 if the worker reaches the broker.", lambda of: of.broker.up),
    (
        "broker_round_trip_seconds",
        "How long the broker took to tell the log's head for these metrics.",
        lambda of: of.broker.round_trip,
    ),
    (
        "deaf_seconds",
        "For how long the worker has not moved although the log goes on.",
        lambda of: of.broker.deaf_seconds,
    ),
    (
        "outbox_waiting",
        "Rows of the outbox that wait to be published, as the worker saw them.",
        lambda of: getattr(of.hub.outbox, "waiting", None),
    ),
    (
        "outbox_age_seconds",
        "For how long the oldest of them has waited.",
        lambda of: getattr(of.hub.outbox, "age", None),
    ),
    (
        "hooks_waiting",
        "Deliveries of presence that wait, as the worker knows them.",
        lambda of: getattr(of.hub.hooks, "waiting", None),
    ),
    (
        "hooks_age_seconds",
        "For how long the oldest of them has waited.",
        lambda of: getattr(of.hub.hooks, "age", None),
    ),
    (
        "process_resident_memory_bytes",
        "Memory of the worker's process.",
        lambda of: of.process.resident_bytes,
    ),
    (
        "process_open_fds",
        "Open descriptors of the worker's process.",
        lambda of: of.process.open_files,
    ),
    (
        "process_max_fds",
        "The limit of its descriptors.",
        lambda of: of.process.max_files,
    ),
    (
        "process_start_time_seconds",
        "When the worker's process began, in seconds since 1970.",
        lambda of: of.process.started_at,
    ),
)
_COUNTERS: Sequence[tuple[str, str, _Value]] = (
    ("opened", "Streams opened.", lambda of: of.hub.opened),
    ("events_in", "Events that came from the broker.", lambda of: of.hub.events_in),
    ("bytes_in", "Their bytes as encoded.", lambda of: of.hub.bytes_in),
    ("events_out", "Events written to clients.", lambda of: of.hub.events_out),
    (
        "bytes_out",
        "Bytes written to clients, before compression.",
        lambda of: of.hub.bytes_out,
    ),
    (
        "malformed",
        "Entries of the log that could not be read.",
        lambda of: of.hub.malformed,
    ),
    (
        "lost_after_commit",
        "Events that could not be published after their commit.",
        lambda of: of.hub.lost_after_commit,
    ),
    (
        "outbox_relayed",
        "Events published from the outbox.",
        lambda of: getattr(of.hub.outbox, "relayed", None),
    ),
    (
        "outbox_refused",
        "Rows of the outbox that can never be published.",
        lambda of: getattr(of.hub.outbox, "refused", None),
    ),
    (
        "hooks_delivered",
        "Deliveries of presence that the worker has made.",
        lambda of: getattr(of.hub.hooks, "delivered", None),
    ),
    (
        "hooks_failed",
        "Attempts to deliver presence that have failed. Each is made again.",
        lambda of: getattr(of.hub.hooks, "failed", None),
    ),
    (
        "hooks_lost",
        "Deliveries of presence that were given up.",
        lambda of: getattr(of.hub.hooks, "lost", None),
    ),
    (
        "process_cpu_seconds",
        "CPU time of the worker's process.",
        lambda of: of.process.cpu_seconds,
    ),
)

# The same with one series for each worker and word. A word that has not occurred yet is
# 0, so that a rate shows its first occurrence.
_Values = Callable[[Figures], Mapping[str, int]]
_WORD_GAUGES: Sequence[tuple[str, str, str, Sequence[str], _Values]] = (
    (
        "connections",
        "Open streams, by the way their bytes leave.",
        "delivery",
        ("socket", "generator"),
        lambda of: of.hub.delivery,
    ),
    (
        "channel_connections",
        "Open streams, by pattern of SSE_HUB_METRICS_CHANNELS.",
        "pattern",
        (),
        lambda of: of.patterns,
    ),
)
_WORD_COUNTERS: Sequence[tuple[str, str, str, Sequence[str], _Values]] = (
    (
        "closed",
        "Streams ended, by close reason.",
        "reason",
        tuple(CloseReason),
        lambda of: of.hub.closed,
    ),
    (
        "refused",
        "Clients refused, because of a limit or a drain.",
        "reason",
        _REFUSALS,
        lambda of: of.hub.refusals,
    ),
    (
        "resets",
        "reset events sent. Each told a client that it lost events.",
        "reason",
        tuple(GapReason),
        lambda of: of.hub.resets,
    ),
    (
        "broker_errors",
        "Calls of the broker that failed.",
        "operation",
        _OPERATIONS,
        lambda of: of.hub.broker_errors,
    ),
)
_LATENCIES: Sequence[tuple[str, str, Callable[[Figures], LatencyCounts]]] = (
    (
        "publish_seconds",
        "How long calls of publish() waited for the broker.",
        lambda of: of.hub.publish_latency,
    ),
    (
        "delivery_seconds",
        "From an event's place in the log to its last direct write, by fan-out.",
        lambda of: of.hub.delivery_latency,
    ),
)


def exposition(figures: MachineFigures, *, accept: str) -> tuple[bytes, str]:
    """Return the metrics in the format that an Accept header asks for, and its type.

    Raises ConfigurationError if prometheus_client is not installed.
    """
    try:
        import prometheus_client
        from prometheus_client.exposition import choose_encoder
    except ImportError:
        raise ConfigurationError(
            "metrics need the package prometheus_client: pip install"
            " 'flask-sse-hub[metrics]'"
        ) from None
    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    """The figures as families of metrics."""

    def __init__(self, figures: MachineFigures) -> None:
        self._workers = figures.workers
        self._silent = figures.silent

    def describe(self) -> Iterable[Any]:
        """Return nothing: the registry is used for one exposition."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Yield the families. Other work runs meanwhile: many take milliseconds."""
        yield from unhurried(self._families())

    def _families(self) -> Iterator[Any]:
        from prometheus_client import core

        gauge, counter = core.GaugeMetricFamily, core.CounterMetricFamily
        yield gauge("sse_hub_workers", "Workers that answer.", len(self._workers))
        yield gauge(
            "sse_hub_workers_silent",
            "Workers that gave no answer: stopped, or too busy.",
            len(self._silent),
        )
        if self._workers:
            users = total(self._workers).users
            yield gauge("sse_hub_users", "Different users with open streams.", users)
        info = core.InfoMetricFamily(
            "sse_hub_worker", "The worker's process.", labels=["worker"]
        )
        for each in self._workers:
            info.add_metric([str(each.worker)], {"pid": str(each.process.pid)})
        yield info
        for family, rows in ((gauge, _GAUGES), (counter, _COUNTERS)):
            for name, text, value in rows:
                yield self._by_worker(family, name, text, value)
        for family, word_rows in ((gauge, _WORD_GAUGES), (counter, _WORD_COUNTERS)):
            for name, text, label, words, values in word_rows:
                found = family(f"sse_hub_{name}", text, labels=["worker", label])
                for each in self._workers:
                    counts = {**dict.fromkeys(map(str, words), 0), **values(each)}
                    for word, count in counts.items():
                        found.add_metric([str(each.worker), word], count)
                yield found
        for name, text, latency in _LATENCIES:
            histogram = core.HistogramMetricFamily(
                f"sse_hub_{name}", text, labels=["worker"]
            )
            for each in self._workers:
                counted = latency(each)
                buckets = list(_buckets(counted))
                histogram.add_metric([str(each.worker)], buckets, counted.seconds)
            yield histogram

    def _by_worker(self, family: Any, name: str, text: str, value: _Value) -> Any:
        found = family(f"sse_hub_{name}", text, labels=["worker"])
        for each in self._workers:
            number = value(each)
            if number is not None:
                found.add_metric([str(each.worker)], float(number))
        return found


def _buckets(counts: LatencyCounts) -> Iterator[tuple[str, float]]:
    """Yield the buckets of a histogram, each with the counts of those before it."""
    below = 0
    for bound, count in zip((*BOUNDS, float("inf")), counts.ranges, strict=True):
        below += count
        yield ("+Inf" if bound == float("inf") else str(bound)), below
