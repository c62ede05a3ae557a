"""Every error that the package raises on purpose, under one root.

Does not know the code that raises the errors: each text is written where the values
are known. A call with unknown keywords is Python's own TypeError, in better words.
"""


class SSEHubError(Exception):
    """The root: ``except SSEHubError`` catches every error of this package."""


class InvalidArgument(SSEHubError, TypeError, ValueError):
    """Raised when an argument has the wrong type or value; most have a class below.

    It is a TypeError and a ValueError too, so that code which expects Python's own
    errors for bad arguments catches it.
    """


class ConfigurationError(SSEHubError):
    """Raised when a setting is invalid or does not work with the server in use."""


class InvalidOption(ConfigurationError, InvalidArgument):
    """Raised when an argument that sets up an object, a rule or a page is invalid.

    The objects are ``SSEHub``, ``Publisher``, ``EventSourceResponse``, ``Batch``, and
    those of the test kit.
    """


class UnsupportedServer(ConfigurationError):
    """Raised when the WSGI server cannot hold a stream open beside other requests."""


class InvalidName(InvalidArgument):
    """Raised when a type, channel, key or id is not a usable name."""


class InvalidTarget(InvalidArgument):
    """Raised when a target is missing, None, not a name, or has too many addresses."""


class InvalidEvent(InvalidArgument):
    """Raised when an event's data or retry cannot be encoded for the stream."""


class InvalidMetadata(InvalidArgument):
    """Raised when a client's metadata is not a small dict of plain values."""


class InvalidTicket(InvalidArgument):
    """Raised when a ticket cannot be made from the arguments given."""


class InvalidScript(SSEHubError):
    """Raised when a script of ``flask sse mock`` has lines that cannot be played."""


class InvalidSignature(SSEHubError):
    """Raised when a webhook's delivery does not prove its sender and its time."""


class EventMissing(SSEHubError, AssertionError):
    """Raised when a stream under test did not receive the event that a test expects."""


class UnexpectedEvent(SSEHubError, AssertionError):
    """Raised when a stream under test received an event that a test rules out."""


class EventTooLarge(InvalidEvent):
    """Raised when an event's data is longer than ``SSE_HUB_MAX_EVENT_BYTES``."""


class StateFull(SSEHubError):
    """Raised when an event with a key does not fit into the state that is kept."""


class BrokerUnavailable(SSEHubError):
    """Raised when the broker cannot be reached. The outcome of the call is unknown."""


class ClientRefused(SSEHubError):
    """Raised when a worker refuses another client for now; the text says why."""


class TooManyStreams(ClientRefused):
    """Raised when a user or a network address has too many streams open."""


class TooManyAnswers(ClientRefused):
    """Raised when a user or a worker has too many answers running.

    A request that lets it out is answered with 429 and ``Retry-After``.
    """
