"""A parser of ``text/event-stream``, as the WHATWG HTML standard describes it.

Source: sections 9.2.5 (parsing) and 9.2.6 (interpreting). Knows bytes and events. Does
not know where the bytes come from, or what this package writes.
"""

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any

from ..events.event import MESSAGE

# "end-of-line = ( cr lf / cr / lf )". Other line ends of Unicode do not count.
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event as a script in a page sees it: its type, its data and its id.

    ``channel`` is the channel to which alone the event was published. ``key`` is the
    key of which the event is the value, or the end if ``deleted``. ``state`` tells that
    the value is from before the stream began. ``earlier`` is the event's own id, if the
    event is from before the stream listened to its channel: ``id`` stays as it was. A
    browser's EventSource does not show these five.
    """

    type: str
    data: str
    id: str
    key: str | None = None
    deleted: bool = False
    state: bool = False
    channel: str | None = None
    earlier: str | None = None

    def json(self) -> Any:
        """Return the data, decoded from JSON. Raises ValueError if it is not JSON."""
        return json.loads(self.data)


class Parser:
    r"""Parse the bytes of one stream into events. Chunks may be cut anywhere.

    ``last_event_id`` is the id with which a client would resume. ``retry`` is the
    reconnect delay in seconds that the stream has set, None if it has set none. For
    example::

        parser = Parser()
        [event] = parser.feed(b"event: greeting\ndata: hello\n\n")
        assert (event.type, event.data) == ("greeting", "hello")
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: float | None = None
        # "Streams must be decoded using the UTF-8 decode algorithm": it drops one byte
        # order mark at the start, and replaces malformed bytes.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._after_cr = False
        # The pieces of the unfinished line.
        self._line: list[str] = []
        self._data: list[str] = []
        self._type = ""
        self._key: str | None = None
        self._channel: str | None = None
        self._earlier: str | None = None
        self._marks: set[str] = set()
        self._id = last_event_id

    def feed(self, chunk: bytes) -> list[ReceivedEvent]:
        """Return the events that the bytes of ``chunk`` complete.

        An event that is unfinished when the stream ends is never returned: "any pending
        data must be discarded".
        """
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if self._after_cr:
            # The CR has ended the line already. This LF is the second half of CR LF.
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        first, *others = _LINE_END.split(text)
        self._line.append(first)
        events = []
        for piece in others:
            event = self._interpret("".join(self._line))
            self._line = [piece]
            if event is not None:
                events.append(event)
        return events

    def _interpret(self, line: str) -> ReceivedEvent | None:
        if not line:
            return self._dispatch()
        # A comment begins with a colon. It is treated as a field without a name.
        name, _, value = line.partition(":")
        # "If value starts with a U+0020 SPACE character, remove it": only the first.
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value) / 1000
            case "key":
                self._key = value
            case "channel":
                self._channel = value
            case "earlier":
                self._earlier = value
            case "deleted" | "state":
                self._marks.add(name)
            case _:
                # "Otherwise: the field is ignored."
                pass
        return None

    def _dispatch(self) -> ReceivedEvent | None:
        # The id counts from here on, even if there is no data and so no event.
        self.last_event_id = self._id
        lines, self._data = self._data, []
        type, self._type = self._type, ""
        key, self._key = self._key, None
        channel, self._channel = self._channel, None
        earlier, self._earlier = self._earlier, None
        marks, self._marks = self._marks, set()
        # No ``data`` line at all means no event. One ``data`` line without a value is
        # an event whose data is empty.
        if not lines:
            return None
        return ReceivedEvent(
            type or MESSAGE,
            "\n".join(lines),
            self.last_event_id,
            key=key,
            deleted="deleted" in marks,
            state="state" in marks,
            channel=channel,
            earlier=earlier,
        )
