"""The protocols of answers: the form of their items, of their end, and of a failure.

Pure. Knows which data and fields each kind of client accepts. Does not know requests,
connections, or batches.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Protocol

from ..errors import InvalidEvent, InvalidOption
from ..events import habits
from ..events.event import Event, encode_block, text_of
from .progress import PROGRESS, Progress

#: The values of ``protocol`` beside None.
ProtocolName = Literal["events", "openai", "ai-sdk"]

Dumps = Callable[[Any], str]

# The ids of a hub's events have another form. Each answer has an end id of its own. A
# client gains nothing by inventing one: it only receives no answer.
_END_ID = re.compile(r"end-[0-9a-f]{16}")

_TEXT = (str, bytes, bytearray, memoryview)

# The data of the last event, for clients that know no types of events.
_DONE = "[DONE]"

_NOTHING = b""


def new_end_id() -> str:
    """Return an id for the end of one answer."""
    return f"end-{secrets.token_hex(8)}"


def is_end_id(event_id: str) -> bool:
    """Tell whether an event id belongs to the last event of an answer."""
    return _END_ID.fullmatch(event_id) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A description of why an answer broke off, for its client.

    It has nothing of the error that was raised. The ``id`` leads to the log.
    """

    message: str
    id: str
    #: A word for programs, if the app is not to blame.
    reason: str | None = None


class AnswerWriter(Protocol):
    """Write one answer: bytes for each item, and bytes for the end.

    ``item()`` is called by one thread. ``end()`` is called after the last item was
    written. ``failure()`` may be called while another thread is in ``item()``, so it
    must not depend on the items.
    """

    def item(
        self, item: Any, *, event_id: str | None = None, is_state: bool = False
    ) -> bytes:
        """Return the events of an item. Raises InvalidEvent for an unsuitable item.

        Protocols whose clients know ids write ``event_id``. ``is_state`` tells that the
        item stands for several ones that came before this reader.
        """

    def end(self, *, reason: str | None = None) -> bytes:
        """Return the last events of an answer; no bytes if there are none.

        ``reason`` tells why the answer ended before it was complete.
        """

    def failure(self, failure: Failure, /) -> bytes:
        """Return the last events of a broken answer; no bytes if there are none."""


class _EventWriter:
    """Write events with types. The last one has the type ``done`` or ``error``."""

    def __init__(self, dumps: Dumps) -> None:
        self._dumps = dumps

    def item(
        self, item: Any, *, event_id: str | None = None, is_state: bool = False
    ) -> bytes:
        if isinstance(item, Progress):
            item = item.event
        if not isinstance(item, Event):
            item = Event(text_of(item, dumps=self._dumps))
        return encode_block(
            item.data,
            type=item.type,
            event_id=event_id,
            retry=item.retry,
            fields="state: true\n" if is_state else "",
        )

    def end(self, *, reason: str | None = None) -> bytes:
        return self._last("done", new_end_id(), **_reason(reason))

    def failure(self, failure: Failure) -> bytes:
        reason = _reason(failure.reason)
        return self._last("error", failure.id, **reason, message=failure.message)

    def _last(self, type: str, end_id: str, **data: str) -> bytes:
        text = json.dumps({**data, "id": end_id})
        return encode_block(text, type=type, event_id=end_id)


def _reason(word: str | None) -> dict[str, str]:
    return {"reason": word} if word else {}


class _BareWriter(_EventWriter):
    """Write the items, and nothing else."""

    def end(self, **_: Any) -> bytes:
        return _NOTHING

    def failure(self, _: Failure) -> bytes:
        return _NOTHING


class _ObjectWriter:
    """Write JSON objects, without the other fields of events.

    Clients of these protocols parse the data of each event. Some also take an ``id`` or
    ``retry`` for an event, with empty data.
    """

    name: ProtocolName
    example: str

    def __init__(self, dumps: Dumps) -> None:
        self._dumps = dumps

    def _object(self, item: Any) -> tuple[dict[str, Any], bytes]:
        """Return an item as an object, and its event."""
        if isinstance(item, Event):
            self._refuse(item, "the type and the delay of an event would be lost")
        try:
            text = text_of(item, dumps=self._dumps)
        except InvalidEvent as error:
            self._refuse(item, str(error))
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            self._refuse(item, f"it is not JSON ({error})")
        if not isinstance(value, dict):
            self._refuse(item, "it is not a JSON object")
        return value, _data(text)

    def _refuse(self, item: Any, why: str) -> NoReturn:
        """Raise InvalidEvent with the form that the client expects."""
        raise InvalidEvent(
            f"an item of type {type(item).__name__} does not suit"
            f' protocol="{self.name}": {why}. Yield a dict, such as {self.example}'
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


class _ChunkWriter(_ObjectWriter):
    """Write the chunks of OpenAI's API.

    Source: the API's reference, and the clients ``openai`` for Python and Node.js.
    """

    name = "openai"
    example = (
        '{"id": ..., "object": "chat.completion.chunk", "created": ..., "model": ...,'
        ' "choices": [{"index": 0, "delta": {"content": ...}, "finish_reason": None}]}'
    )

    def item(self, item: Any, **_: Any) -> bytes:
        if isinstance(item, Progress):
            self._refuse(item, "chunks have no form for progress")
        return self._object(item)[1]

    def end(self, **_: Any) -> bytes:
        return _data(_DONE)

    def failure(self, failure: Failure) -> bytes:
        # Without [DONE]: clients take it for the end of a complete answer.
        error = {
            "message": _with_id(failure),
            "type": "server_error",
            "param": None,
            "code": failure.reason,
        }
        return _part({"error": error})


class _MessageWriter(_ObjectWriter):
    """Write the parts of a UI message stream, and text as parts.

    Source: "Stream Protocols" in the documentation of the AI SDK, and the schema in its
    package ``ai``. Its version 5 refuses parts with further keys.
    """

    name = "ai-sdk"
    example = '{"type": "data-progress", "data": 50}'

    def __init__(self, dumps: Dumps) -> None:
        super().__init__(dumps)
        self._empty = True
        # Whether this writer began the message, and will finish it.
        self._finishes = False
        # The id of the text part that is open.
        self._text_id: str | None = None

    def item(self, item: Any, **_: Any) -> bytes:
        if isinstance(item, Progress):
            # Transient: the message that the page keeps does not hold it.
            data = json.loads(item.data)
            item = {"type": f"data-{PROGRESS}", "data": data, "transient": True}
        if isinstance(item, _TEXT):
            parts = map(_part, self._text(text_of(item, dumps=self._dumps)))
            return b"".join(parts)
        part, encoded = self._object(item)
        if not isinstance(part.get("type"), str):
            self._refuse(item, "it has no type")
        if part["type"] in ("finish", "abort"):
            self._finishes = False
        self._empty = False
        return b"".join(map(_part, self._end_of_text())) + encoded

    def _text(self, text: str) -> Iterator[dict[str, str]]:
        if self._empty:
            self._empty = False
            self._finishes = True
            yield {"type": "start"}
        if self._text_id is None:
            self._text_id = f"text-{secrets.token_hex(4)}"
            yield {"type": "text-start", "id": self._text_id}
        yield {"type": "text-delta", "id": self._text_id, "delta": text}

    def _end_of_text(self) -> Iterator[dict[str, str]]:
        text_id, self._text_id = self._text_id, None
        if text_id is not None:
            yield {"type": "text-end", "id": text_id}

    def end(self, **_: Any) -> bytes:
        parts = [*self._end_of_text()]
        if self._finishes:
            parts.append({"type": "finish"})
        return b"".join(map(_part, parts)) + _data(_DONE)

    def failure(self, failure: Failure) -> bytes:
        # Not the part "abort": the client would ignore it, and take the text so far for
        # the whole answer.
        error = {"type": "error", "errorText": _with_id(failure)}
        return _part(error) + _data(_DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerProtocol:
    """The differences between answers for one kind of client and for another."""

    new_writer: Callable[[Dumps], AnswerWriter]
    #: Headers of the response, beside those of all streams.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The text that ends an answer. The writer writes it, once. Iterables that pass on
    #: the answer of another server yield it too.
    end_text: str | None = None
    #: Whether a native EventSource may be the client. Others handle statuses.
    for_event_source: bool = True
    #: Whether its clients take no text, but objects only.
    refuses_text: bool = False
    #: Returns how to yield an item that is probably meant otherwise, or None.
    remedy: Callable[[object], str | None] = lambda _: None

    def is_end(self, item: Any) -> bool:
        """Tell whether an item is the text that the writer adds by itself."""
        return (
            self.end_text is not None
            and isinstance(item, str | bytes)
            and text_of(item, dumps=str).strip() == self.end_text
        )


def _remedy(item: object) -> str | None:
    if isinstance(item, Event) and item.type == "done":
        return "the type `done` tells clients that the answer has ended: choose another"
    return habits.remedy(item)


_PROTOCOLS: Mapping[str | None, AnswerProtocol] = {
    "events": AnswerProtocol(new_writer=_EventWriter, remedy=_remedy),
    "openai": AnswerProtocol(
        new_writer=_ChunkWriter,
        end_text=_DONE,
        for_event_source=False,
        refuses_text=True,
    ),
    "ai-sdk": AnswerProtocol(
        new_writer=_MessageWriter,
        headers={"x-vercel-ai-ui-message-stream": "v1"},
        end_text=_DONE,
        for_event_source=False,
    ),
    None: AnswerProtocol(new_writer=_BareWriter, remedy=habits.remedy),
}


def protocol_named(name: ProtocolName | None) -> AnswerProtocol:
    """Return a protocol by its name; None is a protocol too.

    Raises InvalidOption, a ValueError, with the list of names.
    """
    if not isinstance(name, str | None) or name not in _PROTOCOLS:
        names = ", ".join(f'"{each}"' for each in _PROTOCOLS if each is not None)
        raise InvalidOption(f"protocol must be {names} or None, not {name!r:.50}")
    return _PROTOCOLS[name]


def _data(text: str) -> bytes:
    # The class Event refuses text that cannot be encoded.
    return encode_block(Event(text).data)


def _part(part: Mapping[str, Any]) -> bytes:
    return _data(json.dumps(part, separators=(",", ":")))


def _with_id(failure: Failure) -> str:
    """Return the message with the id: clients show nothing else of a failure."""
    return f"{failure.message} ({failure.id})"
