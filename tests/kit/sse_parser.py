"""A parser of text/event-stream that follows the WHATWG HTML standard to the letter.

It is written from sections 9.2.5 (parsing) and 9.2.6 (interpreting), in their order and
with their names, so that each line can be checked against the text. It shares no code
with the package under test: the two may meet on the wire alone.
"""

import codecs
import re
from dataclasses import dataclass, field

# Captured, so that a split returns each end behind its line.
_LINE_END = re.compile("([\r\n])")


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """One event as a script sees it: its type, data and lastEventId.

    ``ignored`` has the fields of its block that the standard ignores. No script sees
    them, so they make no difference.
    """

    type: str
    data: str
    id: str
    ignored: tuple[tuple[str, str], ...] = field(default=(), compare=False)


class Parser:
    """One event source's view of one stream, fed in chunks cut at any byte.

    ``last_event_id`` and ``retry_ms`` are the "last event ID string" and the
    "reconnection time"; ``retry_ms`` is None until the stream sets it. ``comments``
    holds each comment line without its colon; a client would ignore them.
    ``empty_blocks`` counts the blank lines that dispatched nothing. Some clients
    dispatch an empty event for each.
    """

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self.comments: list[str] = []
        self.empty_blocks = 0
        # 9.2.5: "Streams must be decoded using the UTF-8 decode algorithm", which
        # replaces malformed bytes and never fails.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._at_start = True
        self._after_cr = False
        self._line: list[str] = []
        # 9.2.6: three buffers, "initialized to the empty string". The data buffer is
        # kept as its pieces, or large data would be copied once per line.
        self._data_buffer: list[str] = []
        self._event_type_buffer = ""
        self._last_event_id_buffer = ""
        self._ignored: list[tuple[str, str]] = []

    @property
    def midway(self) -> bool:
        """Whether an event or a line has begun and not ended."""
        return bool(self._line or self._data_buffer)

    def feed(self, chunk: bytes) -> list[ParsedEvent]:
        """Return the events that this chunk completes.

        There is no call for the end of a stream: "any pending data must be discarded".
        """
        events = []
        text = self._without_bom(self._decoder.decode(chunk))
        *ended, rest = _LINE_END.split(text)
        for part, end in zip(ended[::2], ended[1::2], strict=True):
            # 9.2.5: a line ends with CRLF, with LF, or with CR. The line is over at
            # the CR; a LF right behind it, perhaps in a later chunk, belongs to it.
            second_half = end == "\n" and part == "" and self._after_cr
            self._after_cr = end == "\r"
            if second_half:
                continue
            line = "".join([*self._line, part])
            self._line.clear()
            event = self._process_line(line)
            if event is not None:
                events.append(event)
        if rest:
            self._after_cr = False
            self._line.append(rest)
        return events

    def _without_bom(self, text: str) -> str:
        # The UTF-8 decode algorithm drops one leading byte order mark, and no other.
        if not self._at_start or not text:
            return text
        self._at_start = False
        return text.removeprefix("\ufeff")

    def _process_line(self, line: str) -> ParsedEvent | None:
        # "If the line is empty (a blank line): dispatch the event."
        if not line:
            return self._dispatch()
        # "If the line starts with a U+003A COLON character: ignore the line."
        if line.startswith(":"):
            self.comments.append(line[1:])
            return None
        # "If the line contains a colon": the field is the text before the first one,
        # the value is the rest; "if value starts with a space, remove it from value".
        # "Otherwise": the whole line is the field, and the value is empty.
        field, _, value = line.partition(":")
        self._process_field(field, value.removeprefix(" "))
        return None

    def _process_field(self, field: str, value: str) -> None:
        # "Field names must be compared literally, with no case folding performed."
        if field == "event":
            self._event_type_buffer = value
        elif field == "data":
            # The value, "then a single U+000A LINE FEED".
            self._data_buffer += [value, "\n"]
        elif field == "id":
            # "If the field value does not contain U+0000 NULL"; "otherwise, ignore".
            if "\0" not in value:
                self._last_event_id_buffer = value
        elif field == "retry" and value.isascii() and value.isdigit():
            # "If the field value consists of only ASCII digits"; "otherwise, ignore".
            # int() alone would also take a sign, spaces, underscores, other digits.
            self.retry_ms = int(value)
        elif field != "retry":
            # "Otherwise: the field is ignored."
            self._ignored.append((field, value))

    def _dispatch(self) -> ParsedEvent | None:
        # Step 1: the last event ID string is set to the buffer. The buffer is not
        # reset, so the value stays until the server sets another one.
        self.last_event_id = self._last_event_id_buffer
        data, event_type = "".join(self._data_buffer), self._event_type_buffer
        ignored, self._ignored = tuple(self._ignored), []
        # Steps 2 and 7: both buffers are emptied, whether there is an event or not.
        self._data_buffer.clear()
        self._event_type_buffer = ""
        # Step 2: "If the data buffer is an empty string", return.
        if not data:
            self.empty_blocks += 1
            return None
        # Steps 3 to 6: drop the last line feed; the type is "message" by default.
        return ParsedEvent(
            type=event_type or "message",
            data=data.removesuffix("\n"),
            id=self.last_event_id,
            ignored=ignored,
        )


def parse(stream: bytes) -> list[ParsedEvent]:
    """Return the events of a whole stream."""
    return Parser().feed(stream)
