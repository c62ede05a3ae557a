"""Records and cursors: the entries of the log, and places between them.

Every broker stores records, and every worker reads them. Does not know how a log is
stored, or which clients a record concerns.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

from .address import Address
from .event import Event

# The memory that one name takes with its place in an index. Without it, a log of events
# to thousands of people each would have no bound in bytes.
NAME_BYTES = 150

#: The highest offset that a cursor has room for in its text.
MAX_OFFSET = 10**18 - 1

_CURSOR = re.compile(r"([0-9a-z]{1,32})-(0|[1-9][0-9]{0,17})", re.ASCII)


class Cursor(NamedTuple):
    """A place in the log: after the record with this offset, in this epoch.

    The epoch is the identity of one log. Records of different epochs have no order, so
    compare offsets only between cursors of the same epoch.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the cursor that an event id stands for, None if it is malformed."""
        match = _CURSOR.fullmatch(text)
        return match and cls(match[1], int(match[2]))


def is_beyond(cursor: Cursor | None, other: Cursor) -> bool:
    """Tell whether a cursor is later than another one of the same epoch."""
    return (
        cursor is not None
        and cursor.epoch == other.epoch
        and cursor.offset > other.offset
    )


#: The cursor of a record that no broker has appended yet.
UNPLACED = Cursor("", 0)


class GapReason(StrEnum):
    """Why history does not reach back to a cursor; clients read it in ``reset``."""

    EXPIRED = "expired"
    EPOCH = "epoch"
    AHEAD = "ahead"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The content of a control record: streams at its addresses end, for a reason.

    ``final`` says that the addresses are never used again, as those of a session that
    has ended. A stream that is opened at a final address later has no right to be.
    """

    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the log; ``time`` is in seconds since 1970, by the broker."""

    addresses: tuple[Address, ...]
    content: Event | Disconnect
    exclude: tuple[str, ...] = ()
    idempotency_key: str | None = None
    cursor: Cursor = UNPLACED
    time: float = 0.0

    @property
    def size(self) -> int:
        """The bytes that retention counts for this record."""
        text = self.content.data if isinstance(self.content, Event) else ""
        names = len(self.addresses) + len(self.exclude)
        return len(text.encode()) + NAME_BYTES * names


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a log is kept. The bound that is reached first counts."""

    events: int
    seconds: float
    bytes: int

    def exceeded(self, *, events: int, bytes: int, oldest: float, now: float) -> bool:
        """Tell whether the oldest entry has to go."""
        return events > self.events or bytes > self.bytes or now - oldest > self.seconds
