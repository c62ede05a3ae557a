"""The streams that a person looks for: searched and sorted by each worker.

A worker answers with the first streams alone, however many it holds. Knows the
statistics of clients. Does not know how questions travel.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ..hub.clients.client_stats import ClientStats
from ..runtime.greenlets import unhurried
from .figures import plain, read_client

#: The orders of a list, by name.
ORDERS: Mapping[str, Callable[[ClientStats], Any]] = {
    "oldest": lambda each: -each.age,
    "newest": lambda each: each.age,
    "lag": lambda each: -each.lag,
    "events": lambda each: -each.events,
    "bytes": lambda each: -each.bytes,
    "user": lambda each: (each.user_id is None, each.user_id or ""),
}


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """The question for the first streams, in an order, that have a text somewhere."""

    #: A part of the id, the user's id, a channel or the metadata, in any case.
    text: str = ""
    #: A name of ORDERS.
    order: str = "oldest"
    #: The most streams of the answer.
    most: int = 50

    def wants(self, stream: ClientStats) -> bool:
        """Tell whether a stream has the text."""
        text = self.text.casefold()
        user = stream.user_id or ""
        seen = (stream.id, user, *stream.channels, *stream.metadata.values())
        return not text or any(text in str(each).casefold() for each in seen)

    def rank(self, stream: ClientStats) -> Any:
        """Return the value by which streams are sorted, the lowest first."""
        # With the id, the streams of one rank keep their places from look to look.
        return ORDERS[self.order](stream), stream.id


@dataclass(frozen=True, slots=True)
class FoundStreams:
    """The first streams of one worker that a query finds, and the count of all."""

    worker: int
    count: int
    streams: tuple[ClientStats, ...]

    @classmethod
    def among(
        cls, streams: Iterable[ClientStats], query: StreamQuery, *, worker: int
    ) -> Self:
        """Search the streams of a worker."""
        count = 0

        def wanted() -> Iterable[ClientStats]:
            nonlocal count
            for stream in streams:
                if query.wants(stream):
                    count += 1
                    yield stream

        first = heapq.nsmallest(query.most, wanted(), key=query.rank)
        return cls(worker, count, tuple(first))

    def to_json(self) -> bytes:
        """Return the answer as another worker reads it."""
        streams = list(unhurried(map(plain, self.streams)))
        return json.dumps({**plain(self), "streams": streams}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the answer of another worker.

        Raises ValueError if it is of another kind: during an upgrade the other worker
        may have another version.
        """
        try:
            given = json.loads(data)
            streams = tuple(map(read_client, given.pop("streams")))
            return cls(**given, streams=streams)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"the streams are of another version: {error}") from error
