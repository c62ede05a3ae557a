"""Every error that the package raises on purpose, under one root.

Knows nothing of what raises them; the texts are written where the values are known.
"""


class SSEHubError(Exception):
    """The root: ``except SSEHubError`` catches whatever this package raises."""


class ConfigurationError(SSEHubError):
    """Raised when a setting, or the server it meets, cannot work as it stands."""


class UnsupportedServer(ConfigurationError):
    """Raised when the WSGI server cannot hold a stream open beside other requests."""


class InvalidName(SSEHubError):
    """Raised when a type, channel, key or id is no usable name."""


class InvalidTarget(SSEHubError):
    """Raised when it cannot be told whom an event is meant for."""


class InvalidEvent(SSEHubError):
    """Raised when an event's data or retry has no form on the wire."""


class InvalidMetadata(SSEHubError):
    """Raised when what an app notes about a client is no small, plain dict."""


class InvalidTicket(SSEHubError):
    """Raised when a ticket cannot be made of what was given."""


class InvalidScript(SSEHubError):
    """Raised when a script of ``flask sse mock`` has lines that cannot be played."""


class InvalidSignature(SSEHubError):
    """Raised when a webhook's delivery does not prove who sent it, and when."""


class EventMissing(SSEHubError, AssertionError):
    """Raised when a stream under test did not bring what a test waits for."""


class UnexpectedEvent(SSEHubError, AssertionError):
    """Raised when a stream under test brought what a test said would not come."""


class EventTooLarge(InvalidEvent):
    """Raised when an event's data is longer than ``SSE_HUB_MAX_EVENT_BYTES``."""


class BrokerUnavailable(SSEHubError):
    """Raised when the broker cannot be reached, so that the outcome is unknown."""


class ClientRefused(SSEHubError):
    """Raised when a worker takes no further client for now; the text says why."""


class TooManyStreams(ClientRefused):
    """Raised when a user already has as many streams open as one may have."""
