"""A parser of ``text/event-stream``, as the WHATWG HTML standard describes it.

Sections 9.2.5 (parsing) and 9.2.6 (interpreting). Knows bytes and events; neither where
the bytes come from nor what this package writes.
"""

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any

from ..events.event import MESSAGE

# "end-of-line = ( cr lf / cr / lf )", and nothing else that Unicode calls a line end.
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event as a script in a page sees it: its type, data and lastEventId."""

    type: str
    data: str
    id: str

    def json(self) -> Any:
        """Return what the data is in JSON; raises ValueError where it is none."""
        return json.loads(self.data)


class Parser:
    """What one client has understood of one stream, whose bytes may be cut anywhere.

    ``last_event_id`` is what it would come back with, ``retry`` the delay in seconds
    that it was told, None as long as it was told none.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: float | None = None
        # "Streams must be decoded using the UTF-8 decode algorithm": it drops one byte
        # order mark at the start, and replaces what is malformed.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._after_cr = False
        # The unfinished line, in the pieces that came.
        self._line: list[str] = []
        self._data: list[str] = []
        self._type = ""
        self._id = last_event_id

    def feed(self, chunk: bytes) -> list[ReceivedEvent]:
        """Return the events that are complete with these bytes.

        What is unfinished when a stream ends is no event: "any pending data must be
        discarded".
        """
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if self._after_cr:
            # The line was over with the CR; this is the other half of its end.
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
        # A comment, which begins with a colon, is a field without a name.
        name, _, value = line.partition(":")
        # "If value starts with a U+0020 SPACE character, remove it": one, not all.
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
            case _:
                # "Otherwise: the field is ignored."
                pass
        return None

    def _dispatch(self) -> ReceivedEvent | None:
        # The id holds from here on, also where there is no data and so no event.
        self.last_event_id = self._id
        lines, self._data = self._data, []
        type, self._type = self._type, ""
        # Not one line, that is: a single ``data`` without a value is an empty text.
        if not lines:
            return None
        return ReceivedEvent(type or MESSAGE, "\n".join(lines), self.last_event_id)
