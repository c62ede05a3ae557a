"""The stored form of a record, for every broker whose log leaves the process.

The form is one line of JSON, called the head, followed by the event's data unchanged.
The head holds the addresses and either the event's type and retry or the content of a
control record. Many records have the same head, so encoded and decoded heads are
cached. The place in the app's traces is different in each record: it is the last field
of the head, and put in and taken out beside the caches. This module does not know where
the form is stored.
"""

import json
from functools import lru_cache
from typing import Any, NamedTuple

from ..errors import SSEHubError
from ..events import address
from ..events.address import MAX_TARGETS, Address
from ..events.event import LARGEST_BYTES, MAX_RETRY_SECONDS, Event, checked_name
from ..events.record import (
    ChannelBounds,
    Cursor,
    Disconnect,
    PresencePart,
    Record,
    Subscribe,
)
from ..events.seconds import checked_seconds
from ..runtime import tracing

# One shared encoder: json.dumps with these options would construct an encoder for each
# head, which costs as much as the encoding.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

# How many heads each cache holds. Heads with more names or characters than the limits
# below are not cached: they take much memory and are unlikely to come again.
_HEADS = 1024
_MAX_NAMES = 4
_MAX_HEAD_CHARS = 500

# The longest delay that earlier versions published, in seconds.
_EARLIER_MAX_RETRY = 2_147_483

# The last field of a head with a place in a trace, up to that place, and the length of
# the field with the end of the head.
_TRACE = ',"trace":"'
_TRACE_CHARS = len(_TRACE) + len("00-") + 32 + len("-") + 16 + len("-00") + len('"}')

# The end of the year 9999. Python's datetime has no later dates.
_MAX_TIME = 253_402_300_799.0


class Malformed(SSEHubError):
    """Raised when a stored record was not written by this package."""


class _Head(NamedTuple):
    addresses: tuple[Address, ...]
    exclude: tuple[str, ...]
    type: str
    retry: float | None
    control: Disconnect | Subscribe | None
    key: str | None = None
    deletes: bool = False
    ttl: float | None = None
    receipt: bool = False
    bounds: ChannelBounds | None = None


def encode(record: Record) -> str:
    """Return a record's stored form, without its cursor, time and idempotency key."""
    content = record.content
    if isinstance(content, Event):
        head = _Head(
            record.addresses,
            record.exclude,
            content.type,
            content.retry,
            None,
            record.key,
            record.deletes,
            record.ttl,
            record.receipt,
            record.bounds,
        )
        data = content.data
    else:
        head = _Head(record.addresses, record.exclude, "", None, content)
        data = ""
    few = not isinstance(content, Subscribe) and (
        len(record.addresses) + len(record.exclude) <= _MAX_NAMES
    )
    line = _encode_head(head) if few else _encode_head.__wrapped__(head)
    if record.traceparent is not None:
        line = f'{line[:-1]}{_TRACE}{record.traceparent}"}}'
    return f"{line}\n{data}"


def decode(body: str | bytes, *, cursor: Cursor, time: float) -> Record:
    """Return the record of a stored form. Raises Malformed."""
    try:
        if len(body) > 2 * LARGEST_BYTES:
            raise ValueError("it is larger than any event with its addresses")
        text = body if isinstance(body, str) else body.decode()
        line, newline, data = text.partition("\n")
        if not newline:
            raise ValueError("it has no head")
        line, traceparent = _without_trace(line)
        few = len(line) <= _MAX_HEAD_CHARS
        head = _decode_head(line) if few else _decode_head.__wrapped__(line)
        if not 0 <= time <= _MAX_TIME:
            raise ValueError(f"its time {time} is not between 1970 and 9999")
        return Record(
            addresses=head.addresses,
            content=head.control or Event(data, type=head.type, retry=head.retry),
            exclude=head.exclude,
            key=head.key,
            deletes=head.deletes,
            ttl=head.ttl,
            receipt=head.receipt,
            bounds=head.bounds,
            traceparent=traceparent,
            cursor=cursor,
            time=time,
        )
    except (ValueError, TypeError, LookupError, RecursionError, SSEHubError) as error:
        raise Malformed(f"the record {cursor} cannot be read") from error


def addresses_that_lose(line: bytes, *, age: float) -> tuple[Address, ...]:
    """Return the addresses that lose an event of an age, by the head of its form.

    There are none in the head of a control record, of an event whose time is over, or
    of a form that cannot be read.
    """
    try:
        text, _ = _without_trace(line.decode())
        few = len(text) <= _MAX_HEAD_CHARS
        head = (_decode_head if few else _decode_head.__wrapped__)(text)
    except (ValueError, TypeError, LookupError, RecursionError, SSEHubError):
        return ()
    is_over = head.ttl is not None and (head.ttl == 0 or age >= head.ttl)
    return () if head.control is not None or is_over else head.addresses


def _without_trace(line: str) -> tuple[str, str | None]:
    """Return a head without its place in a trace, and that place."""
    # Quotes within a string are escaped, so this can only be the last field itself.
    if line.startswith(_TRACE, -_TRACE_CHARS) and line.endswith('"}'):
        traceparent = line[len(_TRACE) - _TRACE_CHARS : -len('"}')]
        if tracing.is_traceparent(traceparent):
            return line[:-_TRACE_CHARS] + "}", traceparent
    return line, None


@lru_cache(_HEADS)
def _encode_head(head: _Head) -> str:
    fields: dict[str, Any] = {"to": head.addresses}
    if head.exclude:
        fields["not"] = head.exclude
    if isinstance(head.control, Disconnect):
        fields["disconnect"] = [head.control.reason, head.control.final]
    elif isinstance(head.control, Subscribe):
        fields["subscribe"] = [head.control.added, head.control.removed]
        if head.control.since is not None:
            # A field of its own: earlier versions read the change without it.
            fields["since"] = str(head.control.since)
        if head.control.presence:
            # A field of its own: earlier versions pass over it.
            fields["presence"] = head.control.presence
    else:
        fields["event"] = [head.type, head.retry]
    if head.key is not None:
        fields["key"] = head.key
    if head.deletes:
        fields["deletes"] = True
    if head.ttl is not None:
        fields["ttl"] = head.ttl
    if head.receipt:
        fields["receipt"] = True
    if head.bounds is not None:
        fields["keep"] = [head.bounds.events, head.bounds.seconds]
    return _ENCODER.encode(fields)


@lru_cache(_HEADS)
def _decode_head(line: str) -> _Head:
    fields = json.loads(line)
    type, retry = "", None
    control: Disconnect | Subscribe | None = None
    if "event" in fields:
        type, retry = fields["event"]
        if isinstance(retry, int | float) and retry <= _EARLIER_MAX_RETRY:
            # The event of an earlier version must not be lost for its delay.
            retry = min(retry, MAX_RETRY_SECONDS)
    elif "subscribe" in fields:
        added, removed = map(_channels, fields["subscribe"])
        since = Cursor.parse(fields["since"]) if "since" in fields else None
        presence = tuple(map(_presence_part, fields.get("presence", [])))
        control = Subscribe(added, removed, since, presence)
    else:
        reason, final = fields["disconnect"]
        control = Disconnect(checked_name(reason, what="a reason"), final=bool(final))
    return _Head(
        addresses=_addresses(fields["to"]),
        exclude=_names(fields.get("not", [])),
        type=type,
        retry=retry,
        control=control,
        key=checked_name(fields["key"], what="a key") if "key" in fields else None,
        deletes=bool(fields.get("deletes")),
        ttl=checked_seconds(fields["ttl"], what="a ttl") if "ttl" in fields else None,
        receipt=bool(fields.get("receipt")),
        bounds=_bounds(*fields["keep"]) if "keep" in fields else None,
    )


def _presence_part(value: object) -> PresencePart:
    channel, data, sees = _list(value)
    checked_name(channel, what="a channel's name")
    if data is not None and not isinstance(json.loads(data), dict):
        raise TypeError("a description is needed")
    return PresencePart(channel, data, bool(sees))


def _bounds(events: object, seconds: object) -> ChannelBounds:
    if events is not None and (isinstance(events, bool) or not isinstance(events, int)):
        raise TypeError(f"a number of events is needed, not {type(events).__name__}")
    if seconds is not None:
        seconds = checked_seconds(seconds, what="an age")
    return ChannelBounds(events, seconds)


def _addresses(value: object) -> tuple[Address, ...]:
    found = tuple(map(address.checked, _list(value)))
    if len(found) > MAX_TARGETS:
        raise ValueError(f"it has {len(found)} addresses; {MAX_TARGETS} are allowed")
    return found


def _channels(value: object) -> tuple[str, ...]:
    names = _list(value)
    if len(names) > MAX_TARGETS:
        raise ValueError(f"it has {len(names)} channels; {MAX_TARGETS} are allowed")
    return tuple(checked_name(name, what="a channel's name") for name in names)


def _names(value: object) -> tuple[str, ...]:
    return tuple(checked_name(name, what="a client's id") for name in _list(value))


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list is needed, not {type(value).__name__}")
    return value
