"""The book: each worker's copy of all answers in the log, folded from their records.

All readers of a worker read from its book, so a late reader costs no read of the log.
Pure: no input or output, no clock, no Flask.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from ...events import address
from ...events.event import LARGEST_BYTES, Event
from ...events.record import Record
from ..progress import Progress
from . import records
from .records import Begun, Content, Ended, UnreadableRecord


class Living(Protocol):
    """The processes of the log that are not known to be gone."""

    def __contains__(self, member_id: str) -> bool: ...


class Passage(NamedTuple):
    """The content of an answer from one position to another.

    ``is_joined`` tells whether it has several parts.
    """

    content: Content
    upto: int
    is_joined: bool


class BookEntry:
    """One answer in the book. Only the book changes it.

    A position is a number of characters in an answer of text, and of items otherwise.
    """

    def __init__(
        self,
        begun: Begun,
        *,
        time: float,
        is_whole: bool,
        traceparent: str | None = None,
    ) -> None:
        self.begun = begun
        #: The place in the app's traces where the answer began.
        self.traceparent = traceparent
        #: The times at which the broker appended the first and the last record.
        self.begun_at = time
        self.ended_at: float | None = None
        self.ended: Ended | None = None
        #: The members that have readers, and whether there was ever one.
        self.readers: set[str] = set()
        self.was_read = False
        #: The newest progress, and how many there were.
        self.progress: Progress | None = None
        self.progress_count = 0
        #: The keys of this answer that the state of the log has.
        self.keys: set[str] = set()
        #: The lengths up to which there is content, and a snapshot of it.
        self.length = 0
        self.snapshot_length = 0
        #: The bytes of the content.
        self.size = 0
        # The length up to which there is content in the log, as far as is known here.
        self._known_length = 0
        #: Whether the content is known to have no unseen end.
        self.is_whole = is_whole
        #: Whether the member that produces the answer is gone.
        self.runner_is_gone = False
        #: Whether the book has removed the answer.
        self.is_forgotten = False
        # Whether the state of a restart has named this answer.
        self.is_confirmed = True
        self._lock = threading.Lock()
        self._starts: list[int] = []
        self._parts: list[Content] = []
        # Whether the first part was joined from several ones.
        self._is_joined = False
        self._listeners: dict[Callable[[], None], None] = {}

    @property
    def is_running(self) -> bool:
        """Whether the answer has not ended."""
        return self.ended is None

    @property
    def has_hole(self) -> bool:
        """Whether a part is missing here. The next snapshot brings it."""
        return self._known_length > self.length

    @property
    def is_complete(self) -> bool:
        """Whether a reader that has all content may be told of the end."""
        return self.ended is not None and not self.has_hole

    @property
    def lacks_snapshot(self) -> bool:
        """Whether the end is in the log, but the content before it only in parts."""
        whole = self.is_complete and self.is_whole
        return whole and self.snapshot_length < self.length

    def after(self, position: int) -> Passage | None:
        """Return the content after a position, None if there is none."""
        with self._lock:
            if position >= self.length:
                return None
            first = bisect_right(self._starts, position) - 1
            found = self._parts[first:]
            found[0] = found[0][position - self._starts[first] :]
            is_joined = len(found) > 1 or (position == 0 and self._is_joined)
            return Passage(self._joined(found), self.length, is_joined)

    @property
    def content(self) -> Content:
        """All content so far."""
        found = self.after(0)
        return self.begun.empty if found is None else found.content

    def _joined(self, parts: list[Content]) -> Content:
        if len(parts) == 1:
            return parts[0]
        if self.begun.is_text:
            return "".join(parts)  # type: ignore[arg-type]
        return [item for part in parts for item in part]

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a function after each change. It must not block."""
        with self._lock:
            self._listeners[listener] = None

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Stop calling a function."""
        with self._lock:
            self._listeners.pop(listener, None)

    def tell(self) -> None:
        """Call the listeners."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    # Called by the book

    def add(self, at: int, content: Content) -> None:
        """Add a part that begins at a position, or the rest of it that is new."""
        self._known_length = max(self._known_length, at + len(content))
        if at > self.length:
            return
        fresh = content[self.length - at :]
        if fresh:
            self._append(fresh)
            # The part follows the content here, so nothing was missing before it.
            self.is_whole = True

    def fill(self, content: Content, *, is_newest: bool) -> None:
        """Take everything so far. ``is_newest`` says that nothing came after it."""
        fresh = content[self.length :]
        if fresh:
            self._append(fresh)
        self.snapshot_length = max(self.snapshot_length, len(content))
        self._known_length = max(self._known_length, self.length)
        if is_newest:
            self._known_length = self.length
            self.is_whole = True
        with self._lock:
            if len(self._parts) > 1:
                self._parts = [self._joined(self._parts)]
                self._starts = [0]
                self._is_joined = True

    def _append(self, fresh: Content) -> None:
        size = self.size + size_of(fresh)
        if size > LARGEST_BYTES:
            raise UnreadableRecord(f"the answer has {size} bytes")
        with self._lock:
            self.size = size
            self._starts.append(self.length)
            self._parts.append(fresh)
            self.length += len(fresh)


class Book:
    """The answers of one log.

    ``changed`` is called when an answer begins or ends, or its runner is gone.
    """

    kinds: Collection[str] = ("a",)

    def __init__(
        self, members: Living, *, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._members = members
        self._changed = changed
        # The follower changes it. Others make copies of it.
        self._entries: dict[str, BookEntry] = {}
        self._restarting = False
        # The records of answers whose own record comes later in the state.
        self._early: dict[str, list[Record]] = {}
        #: Keys in the state of the log that belong to no answer: (answer, run, key).
        self.strays: set[tuple[str, str, str]] = set()

    def get(self, answer_id: str) -> BookEntry | None:
        """Return an answer, None if it is unknown."""
        return self._entries.get(answer_id)

    def entries(self) -> list[BookEntry]:
        """Return all answers, the oldest first."""
        return list(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    # The fold

    def restart(self) -> None:
        """Begin again. Open readers keep their entry, if the answer is still there."""
        self._restarting = True
        self._early.clear()
        self.strays.clear()
        for entry in self._entries.values():
            entry.is_confirmed = False
            entry.keys.clear()
            entry.readers.clear()

    def caught_up(self) -> None:
        """Forget the answers that are gone, and look which runners are."""
        self._restarting = False
        for answer_id, early in self._early.items():
            for record in early:
                self._note_stray(answer_id, records.read(record)["run"], record.key)
        self._early.clear()
        for entry in self.entries():
            if not entry.is_confirmed:
                self._forget(entry.begun.id)
                continue
            entry.readers = {each for each in entry.readers if each in self._members}
            entry.runner_is_gone = entry.begun.runner not in self._members
            entry.tell()
        self._changed()

    def member_left(self, member_id: str) -> None:
        """Note that a member is gone, with its readers and the answers it produced."""
        for entry in self.entries():
            if member_id in entry.readers:
                entry.readers.discard(member_id)
                entry.tell()
            if entry.begun.runner == member_id and entry.is_running:
                entry.runner_is_gone = True
                self._changed()

    def take(self, record: Record) -> None:
        """Take the next record. Raises UnreadableRecord."""
        answer_id = address.name_of(record.addresses[0])
        if record.deletes:
            self._removed(answer_id, record.key)
            return
        data = records.read(record)
        content = record.content
        kind = content.type if isinstance(content, Event) else ""
        if kind == records.ANSWER:
            self._take_answer(answer_id, record, data)
            return
        entry = self._entries.get(answer_id)
        if entry is None or not entry.is_confirmed or entry.begun.run != data["run"]:
            if self._restarting:
                self._early.setdefault(answer_id, []).append(record)
            else:
                self._note_stray(answer_id, data["run"], record.key)
            return
        if record.key is not None:
            entry.keys.add(record.key)
        if kind == records.SNAPSHOT:
            self._take_snapshot(entry, data)
        elif entry.is_running:
            self._take_news(entry, kind, record, data)
        entry.tell()

    def _take_answer(
        self, answer_id: str, record: Record, data: dict[str, object]
    ) -> None:
        begun = records.read_begun(answer_id, data)
        ended = records.read_ended(data)
        entry = self._entries.get(answer_id)
        if entry is None or (entry.begun.run != begun.run and not entry.is_running):
            entry = self._begin(begun, record, replaced=entry)
        elif entry.begun.run != begun.run:
            if entry.is_confirmed or not self._restarting:
                # An app has used one id twice at the same moment: the first one counts.
                return
            entry = self._begin(begun, record, replaced=entry)
        entry.is_confirmed = True
        entry.keys.add(records.ANSWER)
        for early in self._early.pop(answer_id, ()):
            self.take(early)
        if ended is not None and entry.is_running:
            entry.ended, entry.ended_at = ended, record.time
        entry.tell()
        self._changed()

    def _begin(
        self, begun: Begun, record: Record, *, replaced: BookEntry | None
    ) -> BookEntry:
        entry = BookEntry(
            begun,
            time=record.time,
            is_whole=not self._restarting,
            traceparent=record.traceparent,
        )
        if replaced is not None:
            entry.keys |= replaced.keys
            self._forget(begun.id)
        self._entries[begun.id] = entry
        return entry

    def _take_snapshot(self, entry: BookEntry, data: dict[str, object]) -> None:
        is_last = data.get("last") is True
        # Everything after the end is ignored, but for the content as it was at the end.
        if entry.is_running or is_last:
            content = records.read_content(entry.begun, data)
            entry.fill(content, is_newest=is_last or not self._restarting)

    def _take_news(
        self, entry: BookEntry, kind: str, record: Record, data: dict[str, object]
    ) -> None:
        if kind == records.PART:
            content = records.read_content(entry.begun, data)
            entry.add(records.read_position(data), content)
        elif kind == records.PROGRESS:
            entry.progress = records.read_progress(data)
            entry.progress_count += 1
        elif kind == records.READERS and record.key is not None:
            entry.readers.add(record.key.removeprefix(f"{records.READERS}-"))
            entry.was_read = True

    def _removed(self, answer_id: str, key: str | None) -> None:
        self.strays = {each for each in self.strays if each[::2] != (answer_id, key)}
        early = self._early.get(answer_id, [])
        early[:] = [each for each in early if each.key != key]
        entry = self._entries.get(answer_id)
        if entry is None or key is None:
            return
        if key == records.ANSWER:
            self._forget(answer_id)
            return
        entry.keys.discard(key)
        entry.readers.discard(key.removeprefix(f"{records.READERS}-"))
        entry.tell()

    def _forget(self, answer_id: str) -> None:
        entry = self._entries.pop(answer_id)
        entry.is_forgotten = True
        entry.tell()

    def _note_stray(self, answer_id: str, run: str, key: str | None) -> None:
        if key is not None:
            self.strays.add((answer_id, run, key))
            self._changed()


def size_of(content: Content) -> int:
    """Return how many bytes some content takes."""
    if isinstance(content, str):
        return len(content.encode())
    return sum(_item_size(item) for item in content)


def _item_size(stored: object) -> int:
    if isinstance(stored, list):
        stored = stored[0]
    elif isinstance(stored, dict):
        stored = stored["json"]
    return len(str(stored).encode())
