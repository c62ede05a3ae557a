"""One answer in the book: its content so far, its runner, its readers and its end.

Only the book changes it. Readers read from it in any thread. Pure: no clock, no Flask.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from ...events.event import LARGEST_BYTES
from ...events.record import Cursor
from ..progress import Progress
from . import records
from .records import Begun, Content, Ended, UnreadableRecord


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
        #: The answer with its present turn, and whether its runner is gone.
        self.begun = begun
        self.runner_is_gone = False
        #: The place in the app's traces where the answer began.
        self.traceparent = traceparent
        #: The times at which the broker appended the first record, that of the present
        #: turn, and the last one.
        self.begun_at = time
        self.turn_at = time
        self.ended_at: float | None = None
        self.ended: Ended | None = None
        #: The members that have readers, and whether there was ever one.
        self.readers: set[str] = set()
        self.was_read = False
        #: The newest progress, and how many there were.
        self.progress: Progress | None = None
        self.progress_count = 0
        #: The keys of this answer in the state of the log, with the places of their
        #: values.
        self.keys: dict[str, Cursor] = {}
        #: The lengths up to which there is content, and a snapshot of it.
        self.length = 0
        self.snapshot_length = 0
        #: Whether the log has a snapshot of the content as it was at the end.
        self.has_last_snapshot = False
        #: The bytes of the content.
        self.size = 0
        # The length up to which there is content in the log, as far as is known here.
        self._known_length = 0
        #: Whether the content is known to have no unseen end.
        self.is_whole = is_whole
        #: Whether the book has removed the answer.
        self.is_forgotten = False
        # Whether the state of a restart has named this answer.
        self.is_confirmed = True
        #: Whether the log was told last that this process has readers; None if
        #: ``readers`` is newer.
        self.is_told: bool | None = None
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
        if self.ended is None or self.has_hole:
            return False
        return self.is_whole or self.ended.length == self.length

    @property
    def can_go_on(self) -> bool:
        """Whether all content is here, so that another runner can go on from it."""
        return self.is_running and self.is_whole and not self.has_hole

    @property
    def useless_keys(self) -> list[str]:
        """The keys of other turns that nobody needs any more."""
        turn = self.begun.turn
        if not turn and self.is_running:
            return []
        useless: list[str] = []
        if records.SNAPSHOT_KEYS[turn] in self.keys:
            useless += records.SNAPSHOT_KEYS[:turn]
        if not self.is_running:
            # Another worker wanted the next turn when the end was in the log already.
            useless += records.ANSWER_KEYS[turn + 1 :]
        return [key for key in useless if key in self.keys]

    @property
    def lacks_snapshot(self) -> bool:
        """Whether the end is in the log, but the content before it only in parts."""
        if self.ended is None or not self.is_complete or self.has_last_snapshot:
            return False
        # Workers that have missed something cannot tell how long the content is.
        is_open = self.ended.length is None
        return is_open or self.snapshot_length < self.length

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

    def begin_again(self) -> None:
        """Prepare for another reading of the log, after parts may have been missed."""
        self.is_confirmed = self.is_whole = False
        self.is_told = None
        self.keys.clear()
        self.readers.clear()

    def end(self, ended: Ended, *, time: float) -> None:
        """Take the end, and the length of the whole content if it is known."""
        self.ended, self.ended_at = ended, time
        self._known_length = max(self._known_length, ended.length or 0)

    def fill(self, content: Content, *, is_newest: bool, is_last: bool) -> None:
        """Take everything so far. ``is_newest`` says that nothing came after it.

        ``is_last`` says that it was written after the end.
        """
        fresh = content[self.length :]
        if fresh:
            self._append(fresh)
        self.snapshot_length = max(self.snapshot_length, len(content))
        self._known_length = max(self._known_length, self.length)
        self.has_last_snapshot = self.has_last_snapshot or is_last
        if is_newest:
            self._known_length = self.length
            self.is_whole = True
        with self._lock:
            if len(self._parts) > 1:
                self._parts = [self._joined(self._parts)]
                self._starts = [0]
                self._is_joined = True

    def begin_turn(self, begun: Begun) -> None:
        """Take another runner, which goes on with the content so far."""
        self.begun = begun
        self.runner_is_gone = False
        self.ended = self.ended_at = None
        self.snapshot_length = 0
        self.has_last_snapshot = False

    def drop_unless_in(self, content: Content) -> None:
        """Drop the content if another one does not begin with it."""
        if self.content != content[: self.length]:
            with self._lock:
                self._starts, self._parts = [], []
                self.size = self.length = self._known_length = 0

    def _append(self, fresh: Content) -> None:
        size = self.size + size_of(fresh)
        if size > LARGEST_BYTES:
            raise UnreadableRecord(f"the answer has {size} bytes")
        with self._lock:
            self.size = size
            self._starts.append(self.length)
            self._parts.append(fresh)
            self.length += len(fresh)


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
