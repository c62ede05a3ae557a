"""The records of receipts: the report of one worker about an event.

A report has the number of streams to which this worker has written the event. A record
of ``unheard`` says that no worker has written it, and that nobody addressed is there.
Both are at the address of the worker, without a key, and live for a minute.
"""

import json
from typing import NamedTuple

from ...events import address
from ...events.event import Event
from ...events.record import Record
from .headcount import Headcount

_RECEIPT = "receipt"

#: How long a report stays in the log, in seconds.
TTL_SECONDS = 60.0

_encoder = json.JSONEncoder(separators=(",", ":"))


class Report(NamedTuple):
    """The content of a record. See Receipt for the numbers."""

    event_id: str
    streams: int = 0
    late: int = 0
    people: Headcount = Headcount()
    unheard: bool = False


def record_of(worker: str, report: Report, *, once: str | None = None) -> Record:
    """Return the record by which a worker says something."""
    data = {**report._asdict(), "people": str(report.people)}
    return Record(
        (address.worker(worker),),
        Event(_encoder.encode(data), type=_RECEIPT),
        ttl=TTL_SECONDS,
        idempotency_key=once,
    )


def read(record: Record) -> Report | None:
    """Return the content of a record, None if it is not about a receipt.

    Raises ValueError, TypeError and LookupError for a record that another program has
    written.
    """
    content = record.content
    if not isinstance(content, Event) or content.type != _RECEIPT:
        return None
    found = json.loads(content.data)
    return Report(
        str(found["event_id"]),
        _count(found["streams"]),
        _count(found["late"]),
        Headcount.parse(found["people"]),
        bool(found["unheard"]),
    )


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a number of streams is needed")
    return value
