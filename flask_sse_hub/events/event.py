"""An event and its ``text/event-stream`` form, without any input or output.

Knows the WHATWG HTML standard, section 9.2 (server-sent events). Does not know which
clients receive an event, how the log stores it, or how its bytes are sent.
"""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidEvent, InvalidName
from ..runtime.arguments import explaining_class
from . import words
from .seconds import checked_seconds

#: The type that a browser gives an event without an ``event:`` line.
MESSAGE = "message"

#: Types that have another meaning for clients: the hub's own events, and the two events
#: that EventSource itself dispatches.
RESERVED_TYPES = frozenset(
    {"connected", "ping", "reset", "subscribed", "open", "error"}
)

#: The name under which the browser client calls handlers of all types.
EVERY_TYPE = "*"

#: The highest value of ``SSE_HUB_MAX_EVENT_BYTES``. An event is encoded in one piece,
#: and the process does nothing else meanwhile.
LARGEST_BYTES = 16_777_216

# Long enough for any sensible name. Short enough to keep a log line, a Redis field and
# a registry key small.
MAX_NAME_CHARS = 255

#: The longest reconnect delay. A publisher that could name any delay could keep every
#: client away for weeks after the next cut of its connection.
MAX_RETRY_SECONDS = 3600.0

# Attributes of dataclasses, of the models of pydantic, and of the Structs of msgspec.
_MARKS_OF_MODELS = (
    "__dataclass_fields__",
    "__pydantic_validator__",
    "__struct_config__",
)

_NOT_IN_NAMES = re.compile(r"[\r\n\0]")


def checked_name(name: object, *, what: str) -> str:
    """Return a name that fits on one line of the wire.

    A name is a string of 1 to 255 characters without CR, LF or NUL, encodable as UTF-8.
    Raises InvalidName. The text of the error calls the value ``what``.
    """
    if not isinstance(name, str):
        raise InvalidName(f"{what} must be a str, not {type(name).__name__}")
    if not name:
        raise InvalidName(f"{what} is empty")
    if len(name) > MAX_NAME_CHARS:
        raise InvalidName(
            f"{what} has {len(name)} characters; {MAX_NAME_CHARS} are allowed"
        )
    if _NOT_IN_NAMES.search(name):
        # A line end in a name would let its author add fields to the stream.
        raise InvalidName(f"{what} {name!r:.50} contains CR, LF or NUL")
    if not _is_utf8(name):
        raise InvalidName(f"{what} {name!r:.50} cannot be encoded as UTF-8")
    # A subclass of str may format itself as another text than the one checked here: a
    # member of a (str, Enum) class is formatted as the member's name.
    return str.__str__(name)


@explaining_class("Event(data, type=..., retry=...)", words=words.EVENT)
@dataclass(frozen=True, slots=True)
class Event:
    """The content of one publish: data, a type and an optional delay.

    For example::

        sse_hub.publish(Event("hello", type="greeting", retry=5.0))

    Args:
        data: The data as text.
        type: The type, for which pages add a listener.
        retry: The reconnect delay, from 0 to 3600 seconds.

    Raises:
        InvalidName: The type is not usable.
        InvalidEvent: A value cannot be encoded. Encoding an event never fails later.

    """

    data: str
    type: str = MESSAGE
    retry: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "type", checked_name(self.type, what="an event's type")
        )
        if self.type in RESERVED_TYPES:
            raise InvalidName(
                f"the type {self.type!r} is reserved for the stream's own events;"
                " choose another type"
            )
        if self.type == EVERY_TYPE:
            raise InvalidName(
                f"the type {EVERY_TYPE!r} stands for events of all types in the browser"
                " client: choose another type"
            )
        if not isinstance(self.data, str):
            raise InvalidEvent(
                "an event's data must be a str, as json.dumps(data) is, not"
                f" {type(self.data).__name__}"
            )
        if not _is_utf8(self.data):
            raise InvalidEvent(
                "the data has lone surrogates, which UTF-8 cannot encode: remove them"
            )
        if self.retry is not None:
            check_retry(self.retry)

    def encode(
        self,
        event_id: str | None,
        *,
        channel: str | None = None,
        key: str | None = None,
        deleted: bool = False,
    ) -> bytes:
        """Return this event as the block of lines that a client dispatches.

        ``channel`` is the channel to which alone the event was published. ``key`` is
        the key of which the event is the value, or the end if ``deleted``.
        """
        # An EventSource ignores fields that it does not know.
        # Source: WHATWG HTML, section 9.2.6.
        fields = f"channel: {channel}\n" if channel is not None else ""
        fields += f"key: {key}\n" if key is not None else ""
        fields += "deleted: true\n" if deleted else ""
        return encode_block(
            self.data,
            type=self.type,
            event_id=event_id,
            retry=self.retry,
            fields=fields,
        )


def encode_block(
    data: str,
    *,
    type: str = MESSAGE,
    event_id: str | None = None,
    retry: float | None = None,
    fields: str = "",
) -> bytes:
    """Return one block with its blank line. The values must have been checked.

    ``fields`` are further lines, each with its line end.
    """
    lines = []
    if retry is not None:
        lines.append(encode_retry(retry))
    if event_id is not None:
        lines.append(f"id: {event_id}\n")
    lines.append(fields)
    if type != MESSAGE:
        lines.append(f"event: {type}\n")
    # A parser drops one space after the colon. One is always written, so that data
    # which begins with a space keeps it. Empty data needs a data line too: without it,
    # clients dispatch no event. The standard has three line ends; str.splitlines would
    # also split at eight others, such as U+2028, and its list of lines could take a
    # hundred times the memory of the data.
    text = data.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\ndata: ")
    lines.append(f"data: {text}\n\n")
    return "".join(lines).encode()


def encode_retry(seconds: float) -> str:
    """Return the ``retry:`` line. It takes effect without a blank line after it."""
    return f"retry: {round(seconds * 1000)}\n"


def text_of(data: object, *, dumps: Callable[[Any], str]) -> str:
    """Return data as text: a str as it is, bytes decoded, anything else as JSON.

    Raises InvalidEvent if bytes are not UTF-8, if ``dumps`` cannot serialise the data,
    or if the data contains NaN or an infinity, which JSON does not have.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        try:
            return bytes(data).decode()
        except UnicodeDecodeError as error:
            raise InvalidEvent(
                f"data given as bytes must be UTF-8 ({error.reason} at byte"
                f" {error.start}). Encode binary data first, for example as Base64"
            ) from error
    return json_of(data, dumps=dumps)


def json_of(data: object, *, dumps: Callable[[Any], str]) -> str:
    """Return data as JSON. Raises InvalidEvent as ``text_of()`` does."""
    try:
        text = dumps(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(
            f"data of type {type(data).__name__} cannot be serialised as JSON:"
            f" {error}{_hint(data)}"
        ) from error
    if "NaN" in text or "Infinity" in text:
        # Either may also be a part of a string: only a parser can tell.
        _check_finite(text)
    return text


def _hint(data: object) -> str:
    """Return what to do with data that JSON does not know, beginning with a period."""
    if inspect.isawaitable(data):
        if inspect.iscoroutine(data):
            # Python would warn that it was never awaited, which is not the mistake.
            data.close()
        return ". Async is not supported: pass its result"
    if inspect.isgenerator(data):
        return ". A generator is for EventSourceResponse; an event takes a list"
    if inspect.isroutine(data):
        return f". Call the function: {data.__name__}()"
    if hasattr(data, "event") and hasattr(data, "data"):
        return ". Use Event(data, type=...) of flask_sse_hub"
    if any(hasattr(type(data), name) for name in _MARKS_OF_MODELS):
        return '. Declare its class as a typed event: @sse_hub.event("a type")'
    return ". Pass plain values, or a Publisher with dumps="


def _check_finite(text: str) -> None:
    constants: list[str] = []
    try:
        json.loads(text, parse_constant=constants.append)
    except (ValueError, RecursionError):
        # Text that is not JSON is the app's own choice: its ``dumps`` wrote it.
        return
    if constants:
        raise InvalidEvent(
            f"the data cannot be read by a browser: {constants[0]} is no number of"
            " JSON. Send None instead, which becomes null"
        )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_retry(
    retry: object, *, what: str = "retry", error: type[Exception] = InvalidEvent
) -> None:
    """Raise an error for a reconnect delay that is not from 0 to 3600 seconds."""
    try:
        checked_seconds(retry, what=what, most=MAX_RETRY_SECONDS, error=error)
    except error as refusal:
        if isinstance(retry, int | float) and retry > MAX_RETRY_SECONDS:
            # The wire and many libraries count this delay in milliseconds.
            text = (
                f"{refusal}. A number of milliseconds must be divided by 1000"
                " (seconds, not milliseconds?)"
            )
            raise error(text) from None
        raise
