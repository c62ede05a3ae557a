"""Server-sent events for Flask: the public names, nothing else."""

from typing import TYPE_CHECKING, Any

from .answers.batch import Batch
from .errors import (
    BrokerUnavailable,
    ClientRefused,
    ConfigurationError,
    EventTooLarge,
    InvalidArgument,
    InvalidEvent,
    InvalidMetadata,
    InvalidName,
    InvalidOption,
    InvalidSignature,
    InvalidTarget,
    InvalidTicket,
    SSEHubError,
    StateFull,
    TooManyStreams,
    UnsupportedServer,
)
from .events.address import Target
from .events.event import Event
from .events.hypermedia import datastar_patch, datastar_signals, turbo_stream
from .hub.clients.client_stats import ClientStats
from .hub.clients.close_reason import CloseReason
from .hub.stats import HubStats
from .publisher import Publisher
from .signals import client_connected, client_disconnected, event_published

if TYPE_CHECKING:
    from .answers.response import EventSourceResponse
    from .web.extension import SSEHub

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
    "InvalidArgument",
    "InvalidEvent",
    "InvalidMetadata",
    "InvalidName",
    "InvalidOption",
    "InvalidSignature",
    "InvalidTarget",
    "InvalidTicket",
    "Publisher",
    "SSEHub",
    "SSEHubError",
    "StateFull",
    "Target",
    "TooManyStreams",
    "UnsupportedServer",
    "client_connected",
    "client_disconnected",
    "datastar_patch",
    "datastar_signals",
    "event_published",
    "turbo_stream",
]


def __dir__() -> list[str]:
    # Shells and editors complete from this list. It has the two lazy names below too.
    return list(__all__)


def __getattr__(name: str) -> Any:
    # These two names import Flask. A process that only publishes, such as a Celery
    # worker or a cron job, does not need Flask and must not pay for it.
    if name == "SSEHub":
        from .web.extension import SSEHub

        return SSEHub
    if name == "EventSourceResponse":
        from .answers.response import EventSourceResponse

        return EventSourceResponse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
