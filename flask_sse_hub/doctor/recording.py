"""The script of an incident: the events that one page of a user was sent.

``flask sse mock`` plays it with the same gaps. Knows records, the lives of streams and
the lines of a script. Does not know where records and lives come from.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..events import address
from ..events.address import Address, only_channel
from ..events.channel_patterns import heard_at
from ..events.event import MESSAGE, Event
from ..events.record import Record
from ..hub.clients.close_reason import CloseReason
from ..hub.clients.journal import StreamLife

#: One line of a script, as a JSON object.
Line = dict[str, Any]

#: Tell the offset of an id in the log as it is now; None for an id of another log.
Place = Callable[[str], int | None]

# A shorter gap is none: times in a log have milliseconds.
_GAP_SECONDS = 0.001

# The names of fields in data. Anything else in their place may be data itself.
_FIELD = re.compile(r"[A-Za-z_$@:][A-Za-z0-9_$.:-]{0,39}")


def pages_of(lives: Iterable[StreamLife], *, place: Place) -> list[list[StreamLife]]:
    """Return the streams of a user by page, the earliest first.

    A page that reconnects keeps its client id. A native EventSource has another one
    each time: its next stream begins at an event of the one before.
    """
    pages: list[list[StreamLife]] = []
    for life in sorted(lives, key=lambda each: each.opened):
        for page in pages:
            if _goes_on(page[-1], life, place):
                page.append(life)
                break
        else:
            pages.append([life])
    return pages


def _goes_on(before: StreamLife, after: StreamLife, place: Place) -> bool:
    if before.id == after.id:
        return True
    last, begun = place(before.last), place(after.begun)
    return (
        before.ended is not None
        and before.ended <= after.opened
        and last is not None
        and begun is not None
        and begun <= last
        and _heard(before) == _heard(after)
    )


def _heard(life: StreamLife) -> set[Address]:
    return set(life.addresses) - {address.client(life.id)}


def script_of(
    page: Sequence[StreamLife],
    records: Iterable[Record],
    *,
    since: float,
    place: Place,
    payloads: bool,
) -> Iterator[Line]:
    """Yield the lines of what a page was sent since a time.

    Each event comes once, in the last stream that brought it: a stream that resumes at
    an event tells that the page has not read the later ones of the stream before.
    """
    records = list(records)
    for number, life in enumerate(page):
        begun, last = place(life.begun), place(life.last)
        if begun is None or last is None or (life.ended or since) < since:
            continue
        following = page[number + 1] if number + 1 < len(page) else None
        resumed = None if following is None else place(following.begun)
        last = last if resumed is None else min(last, resumed)
        sent = [each for each in records if begun < each.cursor.offset <= last]
        yield from _stream(life, sent, since=since, payloads=payloads)
        if life.ended is not None:
            yield {"comment": f"the stream ended: {life.reason}"}
            if following is not None or life.reason != CloseReason.CLIENT_GONE:
                yield {"drop": True}


def _stream(
    life: StreamLife, records: Sequence[Record], *, since: float, payloads: bool
) -> Iterator[Line]:
    at = max(life.opened, since)
    if life.reset is not None and life.opened >= since:
        # An id of its own: an event before it may have the same place.
        text = json.dumps({"reason": life.reset})
        yield {"data": text, "type": "reset", "id": f"reset-{life.begun}"}
    for record in records:
        event, sent = record.content, max(record.time, life.opened)
        if isinstance(event, Event) and sent >= since and _was_sent(record, life, sent):
            yield from _wait(sent - at)
            at = sent
            yield _line(record, event, payloads=payloads)
    if life.ended is not None:
        yield from _wait(life.ended - at)


def _was_sent(record: Record, life: StreamLife, sent: float) -> bool:
    is_replayed = record.time < life.opened
    return (
        not set(heard_at(record.addresses)).isdisjoint(life.addresses)
        and life.id not in record.exclude
        and not (is_replayed and record.ttl == 0)
        and sent < record.ends
    )


def _wait(seconds: float) -> Iterator[Line]:
    if seconds >= _GAP_SECONDS:
        yield {"wait": round(seconds, 3)}


def _line(record: Record, event: Event, *, payloads: bool) -> Line:
    """Return an event as the line that a mock server sends in the same form."""
    line: Line = {"data": event.data if payloads else masked(event.data)}
    if event.type != MESSAGE:
        line["type"] = event.type
    line["id"] = str(record.cursor)
    if event.retry is not None:
        line["retry"] = event.retry
    channel = only_channel(record.addresses)
    if channel is not None:
        line["channel"] = channel
    if record.key is not None:
        line["key"] = record.key
    if record.deletes:
        line["deleted"] = True
    return line


def masked(text: str) -> str:
    """Return data of the same form and about the same length that says nothing.

    JSON keeps its structure and the names of its fields. Letters become x, and digits
    and numbers 0.
    """
    try:
        return json.dumps(
            _masked(json.loads(text)), ensure_ascii=False, separators=(",", ":")
        )
    except (ValueError, RecursionError):
        return _masked_text(text)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {_masked_field(name): _masked(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if isinstance(value, str):
        return _masked_text(value)
    return None if value is None else type(value)(0)


def _masked_field(name: str) -> str:
    return name if _FIELD.fullmatch(name) else _masked_text(name)


def _masked_text(text: str) -> str:
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "0", text))
