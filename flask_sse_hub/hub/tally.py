"""The tally of one hub: each counter of its statistics, counted in one place."""

from collections import Counter

from .latency import Latency


class Tally:
    """Counters since the hub was started. None of them ever falls."""

    __slots__ = (
        "broker_errors",
        "bytes_in",
        "bytes_out",
        "closed",
        "delivery_latency",
        "events_in",
        "events_out",
        "hooks_delivered",
        "hooks_failed",
        "hooks_lost",
        "lost_after_commit",
        "malformed",
        "opened",
        "publish_latency",
        "refusals",
        "resets",
    )

    def __init__(self) -> None:
        #: Streams opened.
        self.opened = 0
        #: Streams ended, by close reason.
        self.closed: Counter[str] = Counter()
        #: Clients refused, by reason: a limit or a drain.
        self.refusals: Counter[str] = Counter()
        #: ``reset`` events sent, by reason.
        self.resets: Counter[str] = Counter()
        #: Events that came from the broker, and their bytes as encoded.
        self.events_in = 0
        self.bytes_in = 0
        #: Entries of the log that could not be read.
        self.malformed = 0
        #: Events that could not be published after the commit that they waited for.
        self.lost_after_commit = 0
        #: Hooks delivered, attempts that failed, and hooks that were given up.
        self.hooks_delivered = self.hooks_failed = self.hooks_lost = 0
        #: Events and bytes written to clients. The dispatcher's lock or the writer
        #: guards them.
        self.events_out = 0
        self.bytes_out = 0
        #: How long a call of publish() waits for the broker.
        self.publish_latency = Latency()
        #: How long it takes from an event's place in the log to the last write of its
        #: fan-out.
        self.delivery_latency = Latency()
        #: Calls of the broker that failed, by operation.
        self.broker_errors: Counter[str] = Counter()

    def written(self, *, events: int, bytes: int) -> None:
        """Count events and bytes that were written to clients."""
        self.events_out += events
        self.bytes_out += bytes
