"""Records and cursors: the entries of the log, and the places between entries.

Every broker stores records, and every worker reads them. Does not know how a log is
stored, or which clients a record concerns.
"""

import math
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple, Self

from .address import Address, is_internal, is_of_workers
from .event import Event

# The memory of one name and its place in an index. Retention counts it: otherwise a log
# of events with thousands of addresses each would have no bound in bytes.
NAME_BYTES = 150

#: How many seconds an event with a ``ttl`` of 0 has to reach the clients that are
#: connected: far longer than it takes a worker that keeps up.
FAN_OUT_SECONDS = 5.0

#: The highest offset that the text of a cursor can hold.
MAX_OFFSET = 10**18 - 1

_CURSOR = re.compile(r"([0-9a-z]{1,32})-(0|[1-9][0-9]{0,17})", re.ASCII)


class Cursor(NamedTuple):
    """A place in the log: behind the record with this offset, in this epoch.

    The epoch identifies one log. Records of different epochs have no order: compare
    offsets only between cursors of the same epoch.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return an event id as a cursor, None if the id is malformed."""
        match = _CURSOR.fullmatch(text)
        return match and cls(match[1], int(match[2]))


def is_beyond(cursor: Cursor | None, other: Cursor) -> bool:
    """Tell whether a cursor is later than another cursor of the same epoch."""
    return (
        cursor is not None
        and cursor.epoch == other.epoch
        and cursor.offset > other.offset
    )


#: The cursor of a record that no broker has appended yet.
UNPLACED = Cursor("", 0)


class GapReason(StrEnum):
    """Why the history has a gap after a cursor; the event ``reset`` carries it."""

    EXPIRED = "expired"
    EPOCH = "epoch"
    AHEAD = "ahead"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The content of a control record: it ends the streams at the record's addresses.

    ``reason`` is the value of a close reason. ``final`` means that the addresses are
    never used again, such as those of a session that has ended: a stream that opens at
    such an address later must be ended too.
    """

    reason: str
    final: bool = False


class PresencePart(NamedTuple):
    """The part of a client's streams in the presence of one channel.

    ``data`` is the app's description of the user, as the text of a JSON object. None:
    nobody sees the user there. ``sees`` tells whether the client hears of the people.
    """

    channel: str
    data: str | None
    sees: bool


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The content of a control record: it changes the channels of a client's streams.

    The record's address is the client's own. The added channels begin after the place
    ``since``; None stands for the record's own place. Each added channel with presence
    has a part in ``presence``.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    since: Cursor | None = None
    presence: tuple[PresencePart, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelBounds:
    """How many of its newest events one channel keeps, and for how many seconds.

    None is no bound of the channel's own. The bounds of the whole log apply too.
    """

    events: int | None = None
    seconds: float | None = None

    def excess(self, held: int) -> int:
        """Return how many of a number of events are too many."""
        return 0 if self.events is None else max(0, held - self.events)

    def oldest(self, now: float) -> float:
        """Return the time before which events are too old."""
        return -math.inf if self.seconds is None else now - self.seconds


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the log. ``time`` is the broker's, in seconds since 1970.

    The newest record of each address and ``key`` is kept beyond history, as the state
    of that key. A record that ``deletes`` ends it instead.

    A record with a ``ttl`` is short-lived: that many seconds after its time no client
    receives it any more. With 0, only clients that keep up when it comes receive it.

    Workers tell each other to how many streams they have written an event with a
    ``receipt``.

    An event with ``bounds`` has one address, the channel that they bound, and no ttl.

    ``is_shared`` marks a record of the state, which has one address alone, as published
    to others too.

    ``traceparent`` is the place of the publish in the traces of the app, None without
    traces. Records that differ only by it are the same.
    """

    addresses: tuple[Address, ...]
    content: Event | Disconnect | Subscribe
    exclude: tuple[str, ...] = ()
    idempotency_key: str | None = None
    key: str | None = None
    deletes: bool = False
    ttl: float | None = None
    receipt: bool = False
    bounds: ChannelBounds | None = None
    is_shared: bool = False
    traceparent: str | None = field(default=None, compare=False)
    cursor: Cursor = UNPLACED
    time: float = 0.0

    @property
    def ends(self) -> float:
        """The time from which no client receives the record; infinity without a ttl."""
        return ending(self.time, self.ttl)

    def is_loss(self, now: float) -> bool:
        """Tell whether a client that reads on loses something if this is trimmed.

        Control records end streams that were open when they came. A client that comes
        back later has lost nothing by them.
        """
        return isinstance(self.content, Event) and (
            self.ttl is None or (self.ttl > 0 and now < self.ends)
        )

    @property
    def sets_state(self) -> bool:
        """Whether the record becomes the value of its key. Otherwise it ends that."""
        return not self.deletes and self.ttl != 0

    def kept_at(self, address: Address) -> Self:
        """Return the record as the state of its key at one of its addresses."""
        is_shared = len(self.addresses) > 1
        return replace(self, addresses=(address,), is_shared=is_shared)

    @property
    def kept_size(self) -> int:
        """How many bytes the state of this record's key counts, for each address."""
        text = self.content.data if isinstance(self.content, Event) else ""
        return len(text.encode()) + NAME_BYTES

    @property
    def is_control(self) -> bool:
        """Whether this is a control record, which has bounds of its own in the log."""
        return not isinstance(self.content, Event)

    @property
    def is_internal(self) -> bool:
        """Whether this record is for workers only: no client receives it."""
        return bool(self.addresses) and all(map(is_internal, self.addresses))

    @property
    def is_of_workers(self) -> bool:
        """Whether a worker wrote this record by itself: no app has published it."""
        return any(map(is_of_workers, self.addresses))

    @property
    def ended(self) -> tuple[Address, ...]:
        """The addresses that this record makes final: those of an ended session."""
        is_final = isinstance(self.content, Disconnect) and self.content.final
        return self.addresses if is_final else ()

    @property
    def size(self) -> int:
        """How many bytes retention counts for this record; 0 for a control record."""
        if not isinstance(self.content, Event):
            return 0
        names = len(self.addresses) + len(self.exclude)
        return len(self.content.data.encode()) + NAME_BYTES * names


def ending(time: float, ttl: float | None) -> float:
    """Return the time from which no client receives a record of a time and a ttl."""
    return math.inf if ttl is None else time + (ttl or FAN_OUT_SECONDS)


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a log is kept. The bound that is reached first applies.

    ``state_keys`` and ``state_bytes`` bound the state, which is kept beside history.
    """

    events: int
    seconds: float
    bytes: int
    state_keys: int = 100_000
    state_bytes: int = 16_777_216

    def exceeded(self, *, events: int, bytes: int, oldest: float, now: float) -> bool:
        """Tell whether a log with these figures must drop its oldest entry."""
        return events > self.events or bytes > self.bytes or now - oldest > self.seconds
