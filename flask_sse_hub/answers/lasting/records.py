"""The records of one answer in the log: written and read in one place. Pure.

The answer's own record begins it, and is replaced by its end. Parts say the position
at which they begin: a part that comes twice is passed over, and a part that is missing
is noticed.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...errors import InvalidEvent, InvalidOption
from ...events import address
from ...events.event import Event, text_of
from ...events.record import Record
from ..progress import Progress
from ..protocols import is_end_id, protocol_named

#: The types of the records.
ANSWER = "answer"
PART = "part"
SNAPSHOT = "snapshot"
PROGRESS = "progress"
READERS = "readers"

#: How long parts stay in the log. Records with a ttl push out no events. Snapshots
#: repeat the parts, for workers that have not read them in this time.
PART_SECONDS = 600.0

# How long the log keeps the newest progress of an answer, and its readers.
_KEPT_SECONDS = 86_400.0

# The end of an answer replaces its beginning in the state of keys. It must fit there
# even if the state is full, so the beginning is longer by the most that an end adds.
_ROOM_FOR_END = 550
_MESSAGE_BYTES = 200

_RUN = re.compile(r"[0-9a-f]{16}")

#: The content of an answer: its text, or its items in the form of stored_item().
Content = str | list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """One answer, as its first record describes it.

    ``run`` is different for each answer, also where an app uses an id again. ``runner``
    is the member that produces the answer.
    """

    id: str
    run: str
    runner: str
    user: str | None
    session: str | None
    protocol: str | None
    is_text: bool
    linger: float | None
    keep: float

    @property
    def empty(self) -> Content:
        """The content of an answer that has just begun."""
        return "" if self.is_text else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of an answer: a word, a text for its readers, and an id for the log."""

    reason: str
    message: str = ""
    id: str = ""


#: The reasons of ends, and the state of an answer that ended so.
STATES = {
    "done": "done",
    "stopped": "stopped",
    "abandoned": "stopped",
    "failed": "failed",
    "timeout": "failed",
    "too_large": "failed",
    "lost": "lost",
    "shutdown": "lost",
}


# Writing


def begin(begun: Begun) -> Record:
    """Return the record that begins an answer."""
    return _record(begun, ANSWER, asdict(begun) | {"room": " " * _ROOM_FOR_END}, ANSWER)


def end(begun: Begun, ended: Ended) -> Record:
    """Return the record that ends an answer.

    The key is the same for each reason and each worker, so that exactly one end exists.
    """
    message = "".join(filter(str.isprintable, ended.message)).encode()[:_MESSAGE_BYTES]
    told = asdict(ended) | {"message": message.decode(errors="ignore")}
    data = asdict(begun) | {"ended": told}
    record = _record(begun, ANSWER, data, ANSWER)
    return replace(record, idempotency_key=f"end-{begun.run}")


def part(begun: Begun, position: int, content: Content) -> Record:
    """Return the record of a part, which begins at a position."""
    record = _record(begun, PART, {"at": position, "content": content})
    return replace(record, ttl=PART_SECONDS)


def snapshot(begun: Begun, content: Content, *, is_last: bool = False) -> Record:
    """Return the record of everything so far. The last one comes after the end."""
    data = {"content": content, "last": is_last}
    record = _record(begun, SNAPSHOT, data, SNAPSHOT)
    key = f"last-{begun.run}" if is_last else None
    return replace(record, idempotency_key=key)


def progress(begun: Begun, told: Progress) -> Record:
    """Return the record of the newest progress."""
    record = _record(begun, PROGRESS, asdict(told), PROGRESS)
    return replace(record, ttl=_KEPT_SECONDS)


def readers(begun: Begun, member_id: str, *, some: bool) -> Record:
    """Return the record that says whether a member has readers of an answer."""
    record = _record(begun, READERS, {}, f"{READERS}-{member_id}")
    return replace(record, deletes=not some, ttl=_KEPT_SECONDS)


def forget(answer_id: str, run: str, key: str) -> Record:
    """Return the record that removes one key of an answer from the state."""
    return Record(
        (address.answer(answer_id),),
        Event("", type="forget"),
        key=key,
        deletes=True,
        idempotency_key=f"forget-{run}-{key}",
    )


def _record(
    begun: Begun, type: str, data: dict[str, Any], key: str | None = None
) -> Record:
    text = json.dumps(
        {"run": begun.run, **data}, ensure_ascii=False, separators=(",", ":")
    )
    return Record((address.answer(begun.id),), Event(text, type=type), key=key)


def stored_item(item: Any, *, dumps: Callable[[Any], str]) -> Any:
    """Return an item as JSON can hold it. Raises InvalidEvent.

    A str stands for a text, a list for an event, and a dict holds any other item as the
    app's JSON provider writes it.
    """
    if type(item) is str and item.isascii():
        return item
    if isinstance(item, Event):
        return [item.data, item.type, item.retry]
    text = text_of(item, dumps=dumps)
    if isinstance(item, str | bytes | bytearray | memoryview):
        # The class Event refuses text that cannot be encoded.
        return Event(text).data
    return {"json": text}


def restored_item(stored: Any) -> Any:
    """Return the item that stored_item() was given, or an equal one."""
    if isinstance(stored, list):
        data, type_, retry = stored
        return Event(data, type=type_, retry=retry)
    return json.loads(stored["json"]) if isinstance(stored, dict) else stored


# Reading. Another program may have written the record, so everything is checked.


class UnreadableRecord(ValueError):
    """Raised for a record that this module has not written."""


def read(record: Record) -> dict[str, Any]:
    """Return the data of a record. Raises UnreadableRecord."""
    content = record.content
    try:
        found = json.loads(content.data if isinstance(content, Event) else "")
    except ValueError as error:
        raise UnreadableRecord("it is not JSON") from error
    if not isinstance(found, dict) or not _is_run(found.get("run")):
        raise UnreadableRecord("it has no run")
    return found


def _is_run(value: object) -> bool:
    return isinstance(value, str) and _RUN.fullmatch(value) is not None


_FIELDS: dict[str, tuple[type, ...]] = {
    "run": (str,),
    "runner": (str,),
    "user": (str, type(None)),
    "session": (str, type(None)),
    "protocol": (str, type(None)),
    "is_text": (bool,),
    "linger": (float, int, type(None)),
    "keep": (float, int),
}


def read_begun(answer_id: str, data: dict[str, Any]) -> Begun:
    """Return the answer that a record describes. Raises UnreadableRecord."""
    found: dict[str, Any] = {}
    for name, types in _FIELDS.items():
        if not isinstance(data.get(name), types):
            raise UnreadableRecord(f"its {name} is {data.get(name)!r:.50}")
        found[name] = data.get(name)
    try:
        protocol_named(data["protocol"])
    except InvalidOption as error:
        raise UnreadableRecord(str(error)) from error
    return Begun(id=answer_id, **found)


def read_ended(data: dict[str, Any]) -> Ended | None:
    """Return the end in an answer's own record, None at its beginning."""
    told = data.get("ended")
    if told is None:
        return None
    try:
        ended = Ended(**told)
    except TypeError as error:
        raise UnreadableRecord("its end is of another form") from error
    if not isinstance(ended.message, str):
        raise UnreadableRecord("its end has no text")
    if not isinstance(ended.id, str) or not is_end_id(ended.id):
        # It is written as a line of the wire.
        raise UnreadableRecord(f"its end has the id {ended.id!r:.50}")
    if ended.reason not in STATES:
        raise UnreadableRecord(f"its reason is {ended.reason!r:.50}")
    return ended


def read_content(begun: Begun, data: dict[str, Any]) -> Content:
    """Return the content of a part or a snapshot. Raises UnreadableRecord."""
    content: Content | None = data.get("content")
    if isinstance(content, str) and begun.is_text:
        return content
    if isinstance(content, list) and not begun.is_text:
        try:
            for each in content:
                restored_item(each)
        except (TypeError, ValueError, KeyError) as error:
            raise UnreadableRecord("an item is of another form") from error
        return content
    raise UnreadableRecord("its content is of another form")


def read_position(data: dict[str, Any]) -> int:
    """Return the position of a part. Raises UnreadableRecord."""
    at = data.get("at")
    if type(at) is not int or at < 0:
        raise UnreadableRecord(f"its position is {at!r:.50}")
    return at


def read_progress(data: dict[str, Any]) -> Progress:
    """Return the progress in a record. Raises UnreadableRecord."""
    try:
        return Progress(data["done"], data["text"], data["total"])
    except (KeyError, InvalidEvent) as error:
        raise UnreadableRecord("its progress is of another form") from error
