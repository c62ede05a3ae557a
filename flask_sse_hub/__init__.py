"""Server-sent events for Flask: the public names, nothing else."""

from .client import CloseReason
from .errors import (
    BrokerUnavailable,
    ClientRefused,
    ConfigurationError,
    EventTooLarge,
    InvalidEvent,
    InvalidMetadata,
    InvalidName,
    InvalidTarget,
    SSEHubError,
    TooManyStreams,
    UnsupportedServer,
)
from .event import Event
from .extension import SSEHub
from .signals import client_connected, client_disconnected, event_published
from .stats import ClientStats, HubStats

__all__ = [
    "BrokerUnavailable",
    "ClientRefused",
    "ClientStats",
    "CloseReason",
    "ConfigurationError",
    "Event",
    "EventTooLarge",
    "HubStats",
    "InvalidEvent",
    "InvalidMetadata",
    "InvalidName",
    "InvalidTarget",
    "SSEHub",
    "SSEHubError",
    "TooManyStreams",
    "UnsupportedServer",
    "client_connected",
    "client_disconnected",
    "event_published",
]
