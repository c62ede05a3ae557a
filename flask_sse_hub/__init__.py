"""Server-sent events for Flask: the public names, nothing else."""

from typing import TYPE_CHECKING, Any

from .batch import Batch
from .client import CloseReason
from .errors import (
    BrokerUnavailable,
    ClientRefused,
    ConfigurationError,
    EventTooLarge,
    InvalidEvent,
    InvalidMetadata,
    InvalidName,
    InvalidSignature,
    InvalidTarget,
    InvalidTicket,
    SSEHubError,
    TooManyStreams,
    UnsupportedServer,
)
from .event import Event
from .hypermedia import datastar_patch, datastar_signals, turbo_stream
from .publisher import Publisher
from .signals import client_connected, client_disconnected, event_published
from .stats import ClientStats, HubStats

if TYPE_CHECKING:
    from .event_source import EventSourceResponse
    from .extension import SSEHub

__all__ = [
    "Batch",
    "BrokerUnavailable",
    "ClientRefused",
    "ClientStats",
    "CloseReason",
    "ConfigurationError",
    "Event",
    "EventSourceResponse",
    "EventTooLarge",
    "HubStats",
    "InvalidEvent",
    "InvalidMetadata",
    "InvalidName",
    "InvalidSignature",
    "InvalidTarget",
    "InvalidTicket",
    "Publisher",
    "SSEHub",
    "SSEHubError",
    "TooManyStreams",
    "UnsupportedServer",
    "client_connected",
    "client_disconnected",
    "datastar_patch",
    "datastar_signals",
    "event_published",
    "turbo_stream",
]


def __getattr__(name: str) -> Any:
    # Whoever only publishes, from Celery or a cron job, has no use for Flask.
    if name == "SSEHub":
        from .extension import SSEHub

        return SSEHub
    if name == "EventSourceResponse":
        from .event_source import EventSourceResponse

        return EventSourceResponse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
