"""A client: one open stream, as a cursor in the log and a set of addresses.

It holds no events. What a client is to get next is worked out by the dispatcher from
its cursor; how bytes reach it is its sink's business.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, Self, cast

from ...events import address
from ...events.address import BROADCAST, Address
from ...events.coding import IDENTITY, Coding, Form
from ...events.event import checked_name
from ..delivery.history import UNPLACED, Cursor, Disconnect, GapReason

# A write takes microseconds as long as the client reads: a second is beyond doubt, and
# short enough to see trouble coming before the connection timeout.
_LAGGING_SECONDS = 1.0


class CloseReason(StrEnum):
    """Each way in which a stream can end."""

    #: The peer closed or reset the connection, or the server stopped iterating.
    CLIENT_GONE = "client_gone"
    #: The client took no byte for ``SSE_HUB_CONNECTION_TIMEOUT``.
    STALLED = "stalled"
    #: The stream reached its ``SSE_HUB_MAX_AGE``; the client resumes.
    AGE = "age"
    #: The worker is going away; the client resumes elsewhere.
    SHUTDOWN = "shutdown"
    #: The session it was opened with has ended, by a login or a logout.
    SESSION_ENDED = "session_ended"
    #: Its user is gone or locked, or a channel is no longer open to them.
    REVOKED = "revoked"
    #: The app called ``disconnect()``.
    DISCONNECTED = "disconnected"
    #: The same user opened more streams than ``SSE_HUB_MAX_CLIENTS_PER_USER``.
    EVICTED = "evicted"
    #: The log lost records, perhaps a logout among them, so a login is asked for anew.
    GAP = "gap"
    #: The client went on sending after its request; whoever listens does not.
    PROTOCOL = "protocol"
    #: Writing the stream raised an error, which is in the log.
    ERROR = "error"

    @classmethod
    def of(cls, disconnect: Disconnect) -> Self:
        """Return the reason that a control record gives.

        A newer version on another worker may give one that is not known here.
        """
        known = disconnect.reason in cls._value2member_map_
        return cls(disconnect.reason if known else cls.DISCONNECTED)


#: The ends after which what the client is still to get no longer matters, so that a
#: write in progress is cut short rather than waited for.
IMMEDIATE = frozenset(
    {
        CloseReason.STALLED,
        CloseReason.SESSION_ENDED,
        CloseReason.REVOKED,
        CloseReason.DISCONNECTED,
        CloseReason.GAP,
    }
)

#: What may be noted about a client, such as its page or device.
Metadata = Mapping[str, str | int | float | bool | None]


class Sink(Protocol):
    """How the bytes of one client leave this process.

    For callers: every method returns at once and may be called from any greenlet or
    thread. For implementers: only the sink writes to its client.
    """

    #: The name under which statistics count this way of delivery.
    path: str

    #: Since when (monotonic seconds) a write has been in progress; None between writes.
    writing_since: float | None

    def wake(self) -> None:
        """Say that something is due: events, a ping, or the end."""

    def taking(self) -> bool:
        """Tell whether the client took bytes since this was last asked."""

    def cut(self) -> None:
        """End the connection now, in the middle of a write if need be.

        Only called while the client is registered, when its socket is its own.
        """


class Written(NamedTuple):
    """What was written to a client so far, and when last (monotonic seconds)."""

    events: int
    bytes: int
    last_write: float


class Connection(Protocol):
    """A socket that never blocks."""

    @property
    def form(self) -> Form:
        """How a stream goes over it."""

    def send(self, data: bytes, /) -> int:
        """Return how many bytes were taken. Raises BlockingIOError and OSError."""

    def fileno(self) -> int:
        """Return its descriptor."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who opened a stream: the user's id and the session's id, where there are any."""

    user: str | None = None
    session: str | None = None


class Client:
    """One open stream.

    The dispatcher's lock guards everything below ``sink``. A cursor of None means that
    the client keeps up: it has all that concerns it, up to the dispatcher's position.
    """

    __slots__ = (
        "_address",
        "_metadata",
        "addresses",
        "bytes",
        "channels",
        "close_reason",
        "closed_at",
        "coding",
        "connection",
        "cursor",
        "ends_at",
        "events",
        "grant",
        "identity",
        "ip",
        "judged",
        "last_write",
        "loaded_at",
        "look_after",
        "opened_at",
        "ping_after",
        "ping_due",
        "probe_due",
        "reset_due",
        "since",
        "sink",
        "taken_at",
    )

    def __init__(
        self,
        client_id: str,
        *,
        identity: Identity,
        channels: tuple[str, ...] = (),
        personal: bool = True,
        since: Cursor = UNPLACED,
        loaded_at: float = 0.0,
        grant: object = None,
        ip: str | None = None,
        ends_at: float = math.inf,
        metadata: Metadata | None = None,
        coding: Coding = IDENTITY,
        sink: Sink | None = None,
    ) -> None:
        # Its id is kept once, as the address that it is found by.
        self._address = address.client(checked_name(client_id, what="a client's id"))
        self.identity = identity
        self.channels = channels
        #: The log's head before the user was loaded: only control records after it
        #: concern this client. UNPLACED if the broker could not be asked.
        self.since = since
        #: When that was, in seconds since 1970; it counts where the head is not known.
        self.loaded_at = loaded_at
        #: What the app goes by when it is asked whether the client still may listen.
        #: None if there is nothing to ask.
        self.grant = grant
        #: The network address it came from, if those are counted.
        self.ip = ip
        #: When its stream ends by age, at the latest.
        self.ends_at = ends_at
        # Most clients have none, and an empty dict each would cost 64 bytes.
        self._metadata = metadata or None
        self.addresses = tuple(self._all_addresses(personal=personal))
        #: What its stream is encoded by.
        self.coding = coding
        #: How its bytes leave. Whoever delivers them sets it before the client enters.
        self.sink = cast("Sink", sink)

        #: What a fan-out writes to, by the registry. None for whom it must not: those
        #: without a socket of their own, that lag, or whose stream ends.
        self.connection: Connection | None = None
        self.cursor: Cursor | None = None
        #: Whether its cursor is known to be of this log. Not yet, if it came with an id
        #: that only the broker could judge.
        self.judged = True
        self.close_reason: CloseReason | None = None
        #: When the heartbeat first saw that it was closed.
        self.closed_at: float | None = None
        self.reset_due: GapReason | None = None
        self.ping_due = False
        self.probe_due = False
        self.opened_at = 0.0
        self.last_write = 0.0
        self.ping_after = 0.0
        #: While it keeps up, nothing is due before this moment.
        self.look_after = 0.0
        #: When the client was last seen to take bytes of a write that takes long.
        self.taken_at = 0.0
        self.events = 0
        self.bytes = 0

    @property
    def owners(self) -> tuple[Address, ...]:
        """The addresses under which its streams can be ended: client, user, session."""
        return tuple(self._owners())

    def _all_addresses(self, *, personal: bool) -> Iterator[Address]:
        yield from map(address.channel, dict.fromkeys(self.channels))
        if personal:
            yield BROADCAST
            yield from self._owners()
        else:
            yield self._address

    def _owners(self) -> Iterator[Address]:
        yield self._address
        if self.identity.user is not None:
            yield address.user(self.identity.user)
        if self.identity.session is not None:
            yield address.session(self.identity.session)

    @property
    def id(self) -> str:
        """The client's id."""
        return address.name_of(self._address)

    @property
    def written(self) -> Written:
        """What was written to it, but for what its audiences count."""
        return Written(self.events, self.bytes, self.last_write)

    def count(self, *, events: int, bytes: int, now: float) -> None:
        """Note what is written to it."""
        self.events += events
        self.bytes += bytes
        self.last_write = now

    @property
    def metadata(self) -> Metadata:
        """What the app noted about this client."""
        return self._metadata or {}

    def lags(self, now: float) -> bool:
        """Tell whether the client has not taken its last bytes for over a second."""
        since = self.sink.writing_since
        return since is not None and now - since > _LAGGING_SECONDS

    def __repr__(self) -> str:
        return f"<Client {self.id!r} user={self.identity.user!r}>"
