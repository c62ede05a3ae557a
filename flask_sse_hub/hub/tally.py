"""The tally of one hub: each counter of its statistics, counted in one place."""

from collections import Counter


class Tally:
    """Counters since the hub was started. None of them ever falls."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "closed",
        "events_in",
        "events_out",
        "malformed",
        "opened",
        "refused",
        "resets",
    )

    def __init__(self) -> None:
        #: Streams opened.
        self.opened = 0
        #: Streams ended, by close reason.
        self.closed: Counter[str] = Counter()
        #: Clients refused, because of a limit or a drain.
        self.refused = 0
        #: ``reset`` events sent, by reason.
        self.resets: Counter[str] = Counter()
        #: Events that came from the broker, and their bytes as encoded.
        self.events_in = 0
        self.bytes_in = 0
        #: Entries of the log that could not be read.
        self.malformed = 0
        #: Events and bytes written to clients. The dispatcher's lock or the writer
        #: guards them.
        self.events_out = 0
        self.bytes_out = 0

    def written(self, *, events: int, bytes: int) -> None:
        """Count events and bytes that were written to clients."""
        self.events_out += events
        self.bytes_out += bytes
