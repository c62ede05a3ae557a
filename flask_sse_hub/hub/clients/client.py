"""A client: one open stream, as a cursor in the log and a set of addresses.

A client holds no events. Catch-up works out the next events from its cursor, and the
client's sink brings the bytes to the socket.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self, cast

from ...events import address
from ...events.address import BROADCAST, Address
from ...events.coding import IDENTITY, Coding, Form
from ...events.event import checked_name
from ...events.record import UNPLACED, Cursor, GapReason, PresencePart
from .close_reason import CloseReason

# A write takes microseconds as long as the client reads. After a second the client is
# lagging beyond doubt, and the trouble still shows before the connection timeout.
_LAGGING_SECONDS = 1.0

#: Metadata that the app notes about a client, such as its page or device.
Metadata = Mapping[str, str | int | float | bool | None]


class Sink(Protocol):
    """The sink of one client: it brings the client's bytes out of this process.

    For callers: every method returns at once, and may be called from any greenlet or
    thread. For implementers: only the sink writes to its client.
    """

    #: The name of this kind of delivery in the statistics.
    delivery_kind: str

    #: The start of the write in progress, in monotonic seconds; None between writes.
    writing_since: float | None

    def wake(self) -> None:
        """Wake the sink, because something is due: events, a ping, or the end."""

    def taking(self) -> bool:
        """Tell whether the client took bytes since this was last asked."""

    def cut(self) -> None:
        """End the connection now, in the middle of a write if need be.

        Called only while the client is registered, when its socket is its own.
        """

    def abandon(self) -> None:
        """Let go of the connection in a forked child, and leave it as it is."""


class Connection(Protocol):
    """A socket that never blocks."""

    @property
    def form(self) -> Form:
        """The form in which a stream goes over the socket."""

    def send(self, data: bytes, /) -> int:
        """Return how many bytes were taken. Raises BlockingIOError and OSError."""

    def widen(self) -> None:
        """Write more bytes at once from now on."""

    def fileno(self) -> int:
        """Return the socket's descriptor."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The ids of the user and the session that opened a stream, None without one."""

    user: str | None = None
    session: str | None = None


class StateDue(NamedTuple):
    """The part of the state that a client has not received yet.

    These are the values after an offset, as of the place ``upto``. None: of the place
    where the client is first served. ``addresses`` are new ones of an open stream; None
    stands for all of the client's.
    """

    after: int = 0
    upto: Cursor | None = None
    addresses: tuple[Address, ...] | None = None


# Most clients never change their channels, and share this.
_NONE_JOINED: Mapping[Address, int] = {}

#: A client that asked for the state receives all of it, or has received it.
ALL_STATE = StateDue()
NO_STATE = StateDue(upto=UNPLACED)


class ChannelChange(NamedTuple):
    """A change of a client's channels at a place in the log, not confirmed to it yet.

    Up to the place, the client receives the events of the addresses ``before``. The
    addresses ``added`` are new from there on. ``channels`` are the client's channels
    then, and ``refused`` the names that were neither added nor removed as asked.

    The client receives the events of the added addresses after ``since`` first, None
    without any. The ``lost`` ones have a gap there, for the reason ``gap``.
    The client receives the people of the channels in ``lists``.
    """

    place: Cursor
    before: tuple[Address, ...]
    added: tuple[Address, ...]
    channels: tuple[str, ...]
    refused: tuple[str, ...]
    since: Cursor | None = None
    lost: tuple[Address, ...] = ()
    gap: GapReason | None = None
    lists: tuple[str, ...] = ()

    def is_reached(self, cursor: Cursor | None) -> bool:
        """Tell whether a client with this cursor has read up to the change."""
        return cursor is None or self.place.offset <= cursor.offset

    def without_state(self) -> Self:
        """Return the change of a client that has the state of the new channels."""
        return self._replace(added=(), since=None)

    def after_reset(self) -> Self:
        """Return the change of a client that was moved to the position."""
        return self._replace(place=UNPLACED, since=None)

    def go_on(self, since: Cursor) -> Self:
        """Return the change of a client that has the earlier events up to a place."""
        if since.offset < self.place.offset:
            return self._replace(since=since)
        # The earlier events stand for the state.
        return self._replace(since=None, added=self.lost)

    def without_lost(self, lost: tuple[Address, ...], gap: GapReason) -> Self:
        """Return the change of a client that lost events of some addresses."""
        rest = tuple(each for each in self.added if each not in lost)
        return self._replace(added=rest, lost=self.lost + lost, gap=gap)


class Client:
    """One open stream.

    The dispatcher's lock guards everything below ``sink``. A cursor of None means that
    the client keeps up: it has all of its events up to the dispatcher's position.
    """

    __slots__ = (
        "_metadata",
        "_unheard",
        "addresses",
        "begun",
        "bytes",
        "changes",
        "channels",
        "close_reason",
        "closed_at",
        "coding",
        "connection",
        "cursor",
        "ends_at",
        "events",
        "grant",
        "ip",
        "joined",
        "judged",
        "last_write",
        "loaded_at",
        "names_channels",
        "next_look_at",
        "not_before",
        "opened_at",
        "ping_after",
        "ping_due",
        "probe_due",
        "regrant",
        "reset_due",
        "reset_type",
        "resumed",
        "since",
        "sink",
        "state",
        "taken_at",
        "traceparent",
        "was_reset",
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
        not_before: float = 0.0,
        grant: object = None,
        regrant: Callable[[object], object] | None = None,
        ip: str | None = None,
        ends_at: float = math.inf,
        metadata: Metadata | None = None,
        coding: Coding = IDENTITY,
        state: bool = False,
        reset_type: str = "reset",
        names_channels: bool = False,
        sink: Sink | None = None,
    ) -> None:
        self.channels = channels
        #: The offsets after which it listens to the addresses that were added later.
        self.joined: Mapping[Address, int] = _NONE_JOINED
        #: The log's head before the user was loaded: only control records after it
        #: concern this client, and only events with a ttl of 0 after it. It moves on
        #: past such events while the client lags. UNPLACED if the broker could not be
        #: asked.
        self.since = since
        #: The time at which the user was loaded, in seconds since 1970. It is used if
        #: the log's head at that moment is not known.
        self.loaded_at = loaded_at
        #: The time before which no event is for this client, in seconds since 1970. A
        #: client whose id would bring it such an event is reset.
        self.not_before = not_before
        #: The app's own value for checking again whether the client may listen. None if
        #: there is nothing to check.
        self.grant = grant
        #: Returns the grant for other channels, which the app's rule has opened. None:
        #: the channels cannot be changed while the stream is open.
        self.regrant = regrant
        #: The network address of the client, if streams are counted by address.
        self.ip = ip
        #: The latest moment at which the stream ends by age.
        self.ends_at = ends_at
        # Most clients have no metadata. An empty dict for each would cost 64 bytes.
        self._metadata = metadata or None
        owners = tuple(_owners(client_id, identity))
        heard = tuple(map(address.channel, dict.fromkeys(self.channels)))
        # The owners are kept within the addresses, and the ids of the user and the
        # session within the owners: each stream would need 250 bytes for its own copy.
        if personal:
            self.addresses: tuple[Address, ...] = (*heard, BROADCAST, *owners)
            self._unheard: tuple[Address, ...] = ()
        else:
            self.addresses = (*heard, owners[0])
            self._unheard = owners[1:]
        #: The content coding of the stream.
        self.coding = coding
        #: The state that is due to a client that asked for it. None: it did not ask.
        self.state: StateDue | None = NO_STATE if state else None
        #: The type of the event that tells the client of a gap.
        self.reset_type = reset_type
        #: Whether events with several targets name the client's channels among them.
        self.names_channels = names_channels
        #: The sink of the client's bytes; set before the client enters.
        self.sink = cast("Sink", sink)

        #: The socket that a fan-out writes to directly; the registry sets it. None if
        #: the server has the socket, the client lags, or the stream ends.
        self.connection: Connection | None = None
        self.cursor: Cursor | None = None
        #: Whether the cursor is known to be of this log. False for an id that only the
        #: broker can judge.
        self.judged = True
        self.close_reason: CloseReason | None = None
        #: The moment at which the heartbeat first saw that the client was closed.
        self.closed_at: float | None = None
        #: The changes of its channels that the client has not been told yet, in order.
        self.changes: tuple[ChannelChange, ...] = ()
        self.reset_due: GapReason | None = None
        #: The place after which the stream's events begin, and the reason of the reset
        #: that moved it there.
        self.begun: Cursor = UNPLACED
        #: Whether the client itself named that place.
        self.resumed = False
        self.was_reset: GapReason | None = None
        self.ping_due = False
        self.probe_due = False
        self.opened_at = 0.0
        self.last_write = 0.0
        self.ping_after = 0.0
        #: While the client keeps up, nothing is due before this moment.
        self.next_look_at = 0.0
        #: The last moment at which the client was seen to take bytes of a long write.
        self.taken_at = 0.0
        #: Events and bytes written to this client alone, less the counts of its
        #: audiences from before the client joined them. The registry adds the counts of
        #: the audiences.
        self.events = 0
        self.bytes = 0
        #: The place in the app's traces where the stream was opened.
        self.traceparent: str | None = None

    @property
    def lists(self) -> Sequence[str]:
        """The channels whose people the client receives in a list."""
        return ()

    def listen(
        self,
        channels: tuple[str, ...],
        presence: Sequence[PresencePart] = (),  # noqa: ARG002 - it is in none
    ) -> None:
        """Listen to other channels, with this part in the presence of new ones.

        Only the registry calls this.
        """
        others = self.addresses[len(dict.fromkeys(self.channels)) :]
        self.channels = channels
        self.addresses = (*map(address.channel, dict.fromkeys(channels)), *others)

    def heard_since(self, each: Address, place: Cursor) -> float:
        """Return the offset after which the client has had the events of an address.

        Infinity if that is not known in the log of a place.
        """
        if each in self.joined:
            return self.joined[each]
        return self.begun.offset if self.begun.epoch == place.epoch else math.inf

    def addresses_at(self, place: Cursor) -> tuple[Address, ...]:
        """Return the addresses whose events the client receives after a place."""
        for change in self.changes:
            if change.place.offset > place.offset:
                return change.before
        return self.addresses

    @property
    def state_due(self) -> StateDue | None:
        """The part of the state that the client is still owed, None without any."""
        return None if self.state is NO_STATE else self.state

    @property
    def owners(self) -> tuple[Address, ...]:
        """The addresses at which the stream can be ended: client, user, session."""
        return (*self.addresses[self._own_address :], *self._unheard)

    @property
    def unheard(self) -> tuple[Address, ...]:
        """The addresses that can end the stream, but bring it no events."""
        return self._unheard

    @property
    def _own_address(self) -> int:
        """The place of the client's own address, before those of user and session."""
        if self._unheard:
            return -1
        place = -1
        while not address.is_of_client(self.addresses[place]):
            place -= 1
        return place

    @property
    def identity(self) -> Identity:
        """The ids of the user and the session that opened the stream."""
        _, *others = self.owners
        session = None
        if others and address.is_of_session(others[-1]):
            session = address.name_of(others.pop())
        return Identity(address.name_of(others[0]) if others else None, session)

    @property
    def user(self) -> str | None:
        """The id of the user that opened the stream, None for an anonymous one."""
        for each in self.owners[1:]:
            if address.is_of_user(each):
                return address.name_of(each)
        return None

    @property
    def id(self) -> str:
        """The client's id."""
        return address.name_of(self.addresses[self._own_address])

    def count(self, *, events: int, bytes: int, now: float) -> None:
        """Count a write to this client alone."""
        self.events += events
        self.bytes += bytes
        self.last_write = now

    @property
    def metadata(self) -> Metadata:
        """The metadata that the app noted about this client."""
        return self._metadata or {}

    def lag(self, now: float) -> float:
        """Return for how many seconds the client has not taken its last bytes."""
        since = self.sink.writing_since
        return 0.0 if since is None else max(0.0, now - since)

    def lags(self, now: float) -> bool:
        """Tell whether the client has not taken its last bytes for over a second."""
        return self.lag(now) > _LAGGING_SECONDS

    def __repr__(self) -> str:
        return f"<Client {self.id!r} user={self.user!r}>"


def _owners(client_id: str, identity: Identity) -> Iterator[Address]:
    yield address.client(checked_name(client_id, what="a client's id"))
    if identity.user is not None:
        yield address.user(identity.user)
    if identity.session is not None:
        yield address.session(identity.session)
