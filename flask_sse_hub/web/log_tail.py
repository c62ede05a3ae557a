"""The newest records of the log, for a person who reads along.

Knows the broker and the form of its records. Does not know requests.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..brokers import Broker
from ..events import address
from ..events.event import Event
from ..events.record import Cursor, Disconnect, Record

# The end of the log that a first look goes through, and the most records of each look.
# Each look reads them from the broker, while streams wait for nothing.
_FIRST_BYTES = 262_144
_PAGE = 500
_PAGES = 8

# The most records, targets of a record and characters of its data that are shown.
_MOST_SHOWN = 100
_MOST_TARGETS = 5
_MOST_CHARS = 200


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The question for records after a cursor, of some targets and types.

    ``target`` and ``type`` are parts of the texts that the records have, in any case.
    """

    after: Cursor | None = None
    target: str = ""
    type: str = ""

    def wants(self, record: Record) -> bool:
        """Tell whether a record is asked for. Records for workers never are."""
        target = self.target.casefold()
        return (
            not record.is_internal
            and self.type.casefold() in _type_of(record).casefold()
            and any(
                target in each.casefold() for each in address.told(record.addresses)
            )
        )


@dataclass(frozen=True, slots=True)
class LogTail:
    """The records that a query has found, the newest first."""

    records: Sequence[Record]
    #: The cursor for the next query.
    cursor: Cursor
    #: Whether records before these were passed over: too many, or gone from the log.
    skipped: bool


def read_tail(broker: Broker, query: LogQuery) -> LogTail:
    """Return the newest records of a query. Raises BrokerUnavailable.

    Without a cursor they are those at the end of the log.
    """
    found: deque[Record] = deque(maxlen=_MOST_SHOWN)
    cursor, skipped = query.after, False
    if cursor is None:
        cursor = broker.tail(_FIRST_BYTES)
    for _ in range(_PAGES):
        page = broker.replay(cursor, page=_PAGE)
        if page.gap is not None:
            cursor, skipped = broker.tail(_FIRST_BYTES), True
        elif page.cursor == cursor:
            break
        else:
            cursor = page.cursor
            found.extend(filter(query.wants, page.records))
    else:
        # The log grows faster than it is read here: the next look begins at its end.
        cursor, skipped = broker.head(), True
    return LogTail(tuple(reversed(found)), cursor, skipped)


def shown(record: Record, *, payload: bool) -> dict[str, Any]:
    """Return a record as a page shows it, with the beginning of its data if wanted."""
    targets = address.told(record.addresses)
    text = record.content.data if isinstance(record.content, Event) else ""
    seen: dict[str, Any] = {
        "id": str(record.cursor),
        "time": record.time,
        "type": _type_of(record),
        "targets": targets[:_MOST_TARGETS],
        "more_targets": max(0, len(targets) - _MOST_TARGETS),
        "bytes": len(text.encode()),
    }
    if payload:
        seen["data"] = text[:_MOST_CHARS]
    return seen


def _type_of(record: Record) -> str:
    content = record.content
    if isinstance(content, Event):
        return content.type
    return f"({content.reason})" if isinstance(content, Disconnect) else "(subscribe)"
