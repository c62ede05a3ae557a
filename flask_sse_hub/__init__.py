"""Server-sent events for Flask: the public names, nothing else."""

from typing import TYPE_CHECKING, Any

from .answers.batch import Batch
from .answers.lasting.status import AnswerStatus
from .answers.progress import Progress
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
    TooManyAnswers,
    TooManyStreams,
    UnsupportedServer,
)
from .events.address import Target
from .events.event import Event
from .events.hypermedia import datastar_patch, datastar_signals, turbo_stream
from .events.pending import PendingEvent
from .events.typed.registry import EventTypes
from .hub.clients.client_stats import ClientStats
from .hub.clients.close_reason import CloseReason
from .hub.presence.attendance import Presence, PresenceList
from .hub.receipts.fold import Receipt
from .hub.stats import HubStats
from .metrics.machine_stats import MachineStats, WorkerStats
from .publisher import Publisher
from .runtime.coded_log import JsonFormatter
from .signals import (
    channel_occupied,
    channel_vacated,
    client_connected,
    client_disconnected,
    event_lost,
    event_published,
    event_unheard,
    user_came,
    user_left,
)

if TYPE_CHECKING:
    from .answers.response import EventSourceResponse
    from .database.outbox import Outbox
    from .web.extension import SSEHub

__all__ = [
    "AnswerStatus",
    "Batch",
    "BrokerUnavailable",
    "ClientRefused",
    "ClientStats",
    "CloseReason",
    "ConfigurationError",
    "Event",
    "EventSourceResponse",
    "EventTooLarge",
    "EventTypes",
    "HubStats",
    "InvalidArgument",
    "InvalidEvent",
    "InvalidMetadata",
    "InvalidName",
    "InvalidOption",
    "InvalidSignature",
    "InvalidTarget",
    "InvalidTicket",
    "JsonFormatter",
    "MachineStats",
    "Outbox",
    "PendingEvent",
    "Presence",
    "PresenceList",
    "Progress",
    "Publisher",
    "Receipt",
    "SSEHub",
    "SSEHubError",
    "StateFull",
    "Target",
    "TooManyAnswers",
    "TooManyStreams",
    "UnsupportedServer",
    "WorkerStats",
    "channel_occupied",
    "channel_vacated",
    "client_connected",
    "client_disconnected",
    "datastar_patch",
    "datastar_signals",
    "event_lost",
    "event_published",
    "event_unheard",
    "turbo_stream",
    "user_came",
    "user_left",
]


def __dir__() -> list[str]:
    # Shells and editors complete from this list. It has the lazy names below too.
    return list(__all__)


def __getattr__(name: str) -> Any:
    # SSEHub and EventSourceResponse import Flask, and Outbox imports SQLAlchemy. A
    # process that only publishes, such as a Celery worker or a cron job, does not need
    # them and must not pay for them.
    if name == "SSEHub":
        from .web.extension import SSEHub

        return SSEHub
    if name == "EventSourceResponse":
        from .answers.response import EventSourceResponse

        return EventSourceResponse
    if name == "Outbox":
        try:
            from .database.outbox import Outbox
        except ImportError as error:
            raise ImportError(
                "Outbox needs SQLAlchemy 2: pip install 'flask-sse-hub[sqlalchemy]'"
            ) from error

        return Outbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
