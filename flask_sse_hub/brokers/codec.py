"""The stored form of a record, for every broker that leaves the process.

JSON with short names. Does not know where it is kept.
"""

import json
from typing import Any

from ..address import Address
from ..errors import SSEHubError
from ..event import Event
from ..history import Cursor, Disconnect, Record

# Made once: json.dumps would make one for each record, which costs as much as its work.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Malformed(SSEHubError):
    """Raised when a stored record is none that this package wrote."""


def encode(record: Record) -> str:
    """Return a record's stored form, without its cursor, time and idempotency key."""
    content = record.content
    body: dict[str, Any] = {"to": record.addresses}
    if record.exclude:
        body["not"] = record.exclude
    if isinstance(content, Event):
        body["event"] = [content.type, content.data, content.retry]
    else:
        body["disconnect"] = [content.reason, content.final]
    return _ENCODER.encode(body)


def decode(body: str | bytes, *, cursor: Cursor, time: float) -> Record:
    """Return the record that a stored form stands for. Raises Malformed."""
    try:
        stored = json.loads(body)
        if "event" in stored:
            type, data, retry = stored["event"]
            content: Event | Disconnect = Event(data, type=type, retry=retry)
        else:
            reason, final = stored["disconnect"]
            content = Disconnect(_text(reason), final=bool(final))
        return Record(
            addresses=tuple(Address(_text(each)) for each in stored["to"]),
            content=content,
            exclude=tuple(map(_text, stored.get("not", ()))),
            cursor=cursor,
            time=time,
        )
    except (ValueError, TypeError, LookupError, RecursionError, SSEHubError) as error:
        raise Malformed(f"the record {cursor} cannot be read") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value
