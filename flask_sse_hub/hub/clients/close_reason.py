"""Close reasons: each way in which a stream can end."""

from enum import StrEnum
from typing import Self

from ...events.record import Disconnect


class CloseReason(StrEnum):
    """Each way in which a stream can end."""

    #: The peer closed or reset the connection, or the server stopped iterating.
    CLIENT_GONE = "client_gone"
    #: The client took no byte for ``SSE_HUB_CONNECTION_TIMEOUT``.
    STALLED = "stalled"
    #: The stream reached its ``SSE_HUB_MAX_AGE``; the client resumes.
    AGE = "age"
    #: The worker is going away; the client resumes on another one.
    SHUTDOWN = "shutdown"
    #: The session of the stream has ended, by a login or a logout.
    SESSION_ENDED = "session_ended"
    #: The user is gone or locked, or a channel is no longer open to the user.
    REVOKED = "revoked"
    #: The app called ``disconnect()``.
    DISCONNECTED = "disconnected"
    #: The same user opened more streams than ``SSE_HUB_MAX_CLIENTS_PER_USER``.
    EVICTED = "evicted"
    #: The log lost records, perhaps a logout among them: the client connects again.
    GAP = "gap"
    #: The client went on sending after its request; an event stream takes no input.
    PROTOCOL = "protocol"
    #: Writing the stream raised an error, which is in the log.
    ERROR = "error"

    @classmethod
    def of(cls, disconnect: Disconnect) -> Self:
        """Return the reason in a control record.

        A newer version on another worker may write a reason that is unknown here. It
        counts as ``DISCONNECTED``.
        """
        known = disconnect.reason in cls._value2member_map_
        return cls(disconnect.reason if known else cls.DISCONNECTED)


#: The reasons after which the rest of the stream no longer matters: a write in progress
#: is cut short rather than waited for.
IMMEDIATE = frozenset(
    {
        CloseReason.STALLED,
        CloseReason.SESSION_ENDED,
        CloseReason.REVOKED,
        CloseReason.DISCONNECTED,
        CloseReason.GAP,
    }
)
