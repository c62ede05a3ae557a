"""The statistics of one client: a frozen snapshot of its stream."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from .client import Client, Metadata


class Written(NamedTuple):
    """The events and bytes written to a client, and the last write (monotonic)."""

    events: int
    bytes: int
    last_write: float


@dataclass(frozen=True, slots=True)
class ClientStats:
    """One open stream, at the moment when the statistics were taken."""

    id: str
    user_id: str | None
    channels: tuple[str, ...]
    metadata: Metadata
    #: Seconds since the stream was opened.
    age: float
    events: int
    bytes: int
    #: The way in which its bytes leave: ``socket`` or ``generator``.
    delivery: str = ""
    #: For how many seconds the client has not taken its last bytes; 0 if it keeps up.
    lag: float = 0.0
    #: How many events for the client are waiting in this worker's memory; 0 if it keeps
    #: up. The statistics of a stream that has just opened or ended do not count them.
    lag_events: int = 0

    @classmethod
    def of(
        cls, client: Client, written: Written, *, now: float, lag_events: int = 0
    ) -> Self:
        """Describe a client at a moment of the monotonic clock."""
        return cls(
            id=client.id,
            user_id=client.user,
            channels=client.channels,
            metadata=client.metadata,
            age=now - client.opened_at,
            events=written.events,
            bytes=written.bytes,
            delivery=client.sink.delivery_kind,
            lag=client.lag(now),
            lag_events=lag_events,
        )
