"""The records of one answer in the log: written and read in one place. Pure.

The answer's own record begins it, and is replaced by its end. Parts say the position
at which they begin: a part that comes twice is passed over, and a part that is missing
is noticed.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...errors import InvalidEvent, InvalidOption
from ...events import address
from ...events.event import Event
from ...events.record import Cursor, Record
from ..batch import Batch
from ..progress import Progress
from ..protocols import is_end_id, protocol_named
from .items import restored_item

#: The types of the records.
ANSWER = "answer"
PART = "part"
PARTS = "parts"
SNAPSHOT = "snapshot"
PROGRESS = "progress"
READERS = "readers"
RELEASE = "release"

#: How often an answer is restarted at most. An answer that kills its worker would kill
#: all of them otherwise.
MOST_RESTARTS = 3

#: The most parts in one record, and the bytes from which it takes no further one.
MOST_JOINED = 200
_JOINED_BYTES = 65_536

#: How long parts stay in the log. Records with a ttl push out no events. Snapshots
#: repeat the parts, for workers that have not read them in this time.
PART_SECONDS = 600.0

# How long the log keeps the newest progress of an answer, and its readers.
_KEPT_SECONDS = 86_400.0

# The end of an answer replaces its beginning in the state of keys. It must fit there
# even if the state is full, so the beginning is longer by the most that an end adds.
_ROOM_FOR_END = 580
_MESSAGE_BYTES = 200

_RUN = re.compile(r"[0-9a-f]{16}")

#: The content of an answer: its text, or its items in the form of stored_item().
Content = str | list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """How another worker goes on with an answer.

    ``function`` is the name under which each worker has the app's function. The other
    fields are those arguments of ``start()`` that the other worker needs.
    """

    function: str
    timeout: float
    app_context: bool
    size: int
    interval: float

    def batch(self, *, is_text: bool) -> Batch:
        """Return when items leave together. Raises InvalidOption."""
        merge = "".join if is_text else None
        return Batch(size=self.size, interval=self.interval, merge=merge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """One answer, as its first record describes it.

    ``run`` is different for each answer, also where an app uses an id again. ``runner``
    is the member that produces the answer. ``turn`` counts the runners of one answer,
    from 0. A record of an earlier turn than the current one is passed over.
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
    turn: int = 0
    restart: Restart | None = None

    @property
    def may_restart(self) -> bool:
        """Whether another worker may go on with the answer."""
        return self.restart is not None and self.turn < MOST_RESTARTS

    @property
    def key(self) -> str:
        """The key of the answer's own record. Each turn has one of its own."""
        return ANSWER_KEYS[self.turn]

    @property
    def empty(self) -> Content:
        """The content of an answer that has just begun."""
        return "" if self.is_text else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of an answer: a word, a text for its readers, and an id for the log.

    ``length`` is that of the whole content, if the runner itself has ended the answer.
    """

    reason: str
    message: str = ""
    id: str = ""
    length: int | None = None


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


def of_turn(key: str, turn: int) -> str:
    """Return a key for one turn of an answer. The first turn has the key itself."""
    return f"{key}-{turn}" if turn else key


#: The keys of an answer's own records and of its snapshots, one for each turn.
ANSWER_KEYS = tuple(of_turn(ANSWER, turn) for turn in range(MOST_RESTARTS + 1))
SNAPSHOT_KEYS = tuple(of_turn(SNAPSHOT, turn) for turn in range(MOST_RESTARTS + 1))


# Writing


def begin(begun: Begun) -> Record:
    """Return the record that begins an answer, or a later turn of it.

    The first worker that begins a later turn has it.
    """
    data = asdict(begun) | {"room": " " * _ROOM_FOR_END}
    record = _record(begun, ANSWER, data, begun.key)
    key = f"turn-{begun.run}-{begun.turn}" if begun.turn else None
    return replace(record, idempotency_key=key)


def release(begun: Begun) -> Record:
    """Return the record by which a runner leaves the answer to another worker."""
    return replace(_record(begun, RELEASE, {}), ttl=PART_SECONDS)


def end(begun: Begun, ended: Ended) -> Record:
    """Return the record that ends an answer in its turn.

    The key is the same for each reason and each worker, so that exactly one end exists.
    """
    message = "".join(filter(str.isprintable, ended.message)).encode()[:_MESSAGE_BYTES]
    told = asdict(ended) | {"message": message.decode(errors="ignore")}
    data = asdict(begun) | {"ended": told}
    record = _record(begun, ANSWER, data, begun.key)
    return replace(record, idempotency_key=of_turn(f"end-{begun.run}", begun.turn))


def part(begun: Begun, position: int, content: Content) -> Record:
    """Return the record of a part, which begins at a position."""
    record = _record(begun, PART, {"at": position, "content": content})
    return replace(record, ttl=PART_SECONDS)


def is_part(record: Record) -> bool:
    """Tell whether a record is a part of one answer."""
    return isinstance(record.content, Event) and record.content.type == PART


def joined(parts: Sequence[Record]) -> Iterator[tuple[Record, int]]:
    """Yield records that have the parts of several answers, in order, with their count.

    A record of the log costs about as much as a hundred parts in it.
    """
    first, size = 0, 0
    for end, each in enumerate(parts, 1):
        size += each.size
        if end - first == MOST_JOINED or size >= _JOINED_BYTES or end == len(parts):
            yield _joined(parts[first:end]), end - first
            first, size = end, 0


def _joined(parts: Sequence[Record]) -> Record:
    if len(parts) == 1:
        return parts[0]
    addresses = tuple(each.addresses[0] for each in parts)
    # JSON has no raw line ends.
    text = "\n".join(map(_text, parts))
    return Record(addresses, Event(text, type=PARTS), ttl=PART_SECONDS)


def separate(record: Record) -> list[Record]:
    """Return the parts of a record as records of their own, or the record itself."""
    content = record.content
    if not isinstance(content, Event) or content.type != PARTS:
        return [record]
    texts = content.data.split("\n")
    return [
        replace(record, addresses=(each,), content=Event(text, type=PART))
        for each, text in zip(record.addresses, texts, strict=False)
    ]


def _text(record: Record) -> str:
    return record.content.data if isinstance(record.content, Event) else ""


def snapshot(begun: Begun, content: Content, *, is_last: bool = False) -> Record:
    """Return the record of everything so far. The last one comes after the last part.

    Each turn has a snapshot of its own, which a runner of an earlier turn that was only
    stopped cannot replace.
    """
    data = {"content": content, "last": is_last}
    record = _record(begun, SNAPSHOT, data, SNAPSHOT_KEYS[begun.turn])
    key = of_turn(f"last-{begun.run}", begun.turn) if is_last else None
    return replace(record, idempotency_key=key)


def progress(begun: Begun, told: Progress) -> Record:
    """Return the record of the newest progress."""
    record = _record(begun, PROGRESS, asdict(told), PROGRESS)
    return replace(record, ttl=_KEPT_SECONDS)


def readers(begun: Begun, member_id: str, *, some: bool) -> Record:
    """Return the record that says whether a member has readers of an answer."""
    record = _record(begun, READERS, {}, f"{READERS}-{member_id}")
    return replace(record, deletes=not some, ttl=_KEPT_SECONDS)


def forget(answer_id: str, key: str, value: Cursor) -> Record:
    """Return the record that removes one key of an answer from the state.

    ``value`` is the place of the newest value: a value that comes later needs a removal
    of its own.
    """
    return Record(
        (address.answer(answer_id),),
        Event("", type="forget"),
        key=key,
        deletes=True,
        idempotency_key=f"forget-{answer_id}-{key}-{value}",
    )


def _record(
    begun: Begun, type: str, data: dict[str, Any], key: str | None = None
) -> Record:
    turn = {"turn": begun.turn} if begun.turn else {}
    text = json.dumps(
        {"run": begun.run, **turn, **data}, ensure_ascii=False, separators=(",", ":")
    )
    return Record((address.answer(begun.id),), Event(text, type=type), key=key)


# Reading. Another program may have written the record, so everything is checked.


class UnreadableRecord(ValueError):
    """Raised for a record that this module has not written."""


def read(record: Record) -> dict[str, Any]:
    """Return the data of a record. Raises UnreadableRecord."""
    try:
        found = json.loads(_text(record))
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
    return Begun(
        id=answer_id, turn=read_turn(data), restart=_read_restart(data), **found
    )


def read_turn(data: dict[str, Any]) -> int:
    """Return the turn in which a record was written. Raises UnreadableRecord."""
    turn = data.get("turn", 0)
    if type(turn) is not int or not 0 <= turn <= MOST_RESTARTS:
        raise UnreadableRecord(f"its turn is {turn!r:.50}")
    return turn


def _read_restart(data: dict[str, Any]) -> Restart | None:
    told = data.get("restart")
    if told is None:
        return None
    try:
        restart = Restart(**told)
        restart.batch(is_text=True)
    except (TypeError, InvalidOption) as error:
        raise UnreadableRecord("its restart is of another form") from error
    if (
        not isinstance(restart.function, str)
        or not isinstance(restart.timeout, float | int)
        or not isinstance(restart.app_context, bool)
    ):
        raise UnreadableRecord(f"its restart is {told!r:.100}")
    return restart


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
    if ended.length is not None and type(ended.length) is not int:
        raise UnreadableRecord(f"its end has the length {ended.length!r:.50}")
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
