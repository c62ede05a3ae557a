"""The runner: makes the records of one answer from its items, in batches.

At its end it makes the end of the answer. If the worker is going away, and another one
can go on, it leaves the answer to that one.

Knows batches, supplies and records. Does not know hubs or brokers, and never waits: the
press appends its records, and tells it when to go on.
"""

import math
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from ...errors import InvalidEvent, SSEHubError, StateFull
from ...events.record import Cursor, Record
from ...runtime import tracing
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog
from ..batch import Batch, Collector
from ..progress import Progress
from ..protocols import new_end_id
from ..source import Supply
from . import records
from .entry import size_of
from .records import Begun, Content, Ended

log = CodedLog(__name__)
_rare_log = RareLog(log)

# A snapshot is written when the content has doubled since the last one, from this many
# bytes on. All snapshots together then are twice the content.
_FIRST_SNAPSHOT_BYTES = 4096

# A snapshot is written too when the log has gone on by this many records, because they
# push the parts out. With this pause a busy log is not filled by the snapshots.
_SNAPSHOT_RECORDS = 1000
_SNAPSHOT_SECONDS = 5.0

# A snapshot is written in any case before the parts since the last one leave the log.
_OLDEST_PART_SECONDS = records.PART_SECONDS / 2

# The first reader has this long to come, also where an answer stops with its last one.
_FIRST_READER_SECONDS = 30.0

_FAILED = "the answer ended by an error"
_MESSAGES = {
    "abandoned": "nobody read the answer any more",
    "timeout": "the answer took too long",
    "too_large": "the answer is too large",
    "shutdown": "the server is restarting",
}

#: The steps of a runner. Each yields a record, and is sent the record's cursor, the
#: error that kept it out of the log, or None if the answer is over. Or it yields the
#: time until which nothing is to do unless items come.
Steps = Generator[Record | float, Cursor | Exception | None, None]


class Runner:
    """Run one answer until its end is in the log.

    ``end_now()`` may be called from any thread. The reader's side of the answer is told
    by ``note_readers()`` and ``note_end()``.

    Args:
        begun: The answer.
        supply: The items. Text is checked, other items are in their stored form.
        batch: When items leave together.
        timeout: The longest time that the answer may take, in seconds.
        max_bytes: The most bytes that the answer may have.
        content: The content so far, where this runner goes on with an answer.
        debug: Whether readers may see the text of an error of this package.
        clock: The monotonic clock, in seconds.
        on_look: Called about once a second, between two steps.

    """

    def __init__(
        self,
        begun: Begun,
        supply: Supply,
        *,
        batch: Batch,
        timeout: float,
        max_bytes: int,
        content: Content | None = None,
        debug: bool = False,
        clock: Callable[[], float] = time.monotonic,
        on_look: Callable[[], None] | None = None,
    ) -> None:
        self.begun = begun
        #: The place in the app's traces to which the records belong.
        self.traceparent = tracing.here()
        self._supply = supply
        self._collector = Collector(batch)
        self._max_bytes = max_bytes
        self._debug = debug
        self._clock = clock
        self._on_look = on_look
        self._look_at = clock() if on_look else math.inf
        # Tells the press how soon to go on, in seconds.
        self._go_on: Callable[[float], None] = _ignored
        # The moment at which the first of the items that wait came.
        self._news_at: float | None = None
        # Set when the end is in the log, whoever has appended it, or nobody waits for
        # the broker any longer.
        self.over = threading.Event()
        # The reason of an end that was asked for here.
        self._asked: str | None = None
        self._ends_at = clock() + timeout
        self._idle_since: float | None = clock()
        self._was_read = False
        # The content in the log, for snapshots.
        content = content or begun.empty
        self._parts: list[Any] = [content] if begun.is_text else list(content)
        self._length = len(content)
        self._size = size_of(content)
        self._snapshot_size = 0
        self._snapshot_offset: int | None = None
        self._snapshot_at = clock()
        # The moment at which the oldest part that no snapshot has needs one.
        # A later turn begins with a snapshot: a worker that reads the state later must
        # not take the one of an earlier turn.
        self._unkept_until = clock() if begun.turn else math.inf
        self._progress: Progress | None = None
        self._progress_due = math.inf

    # Called from outside

    def start(self, go_on: Callable[[float], None]) -> None:
        """Start the items. ``go_on`` asks for a step in a number of seconds."""
        self._go_on = go_on
        self._supply.start(self._note_news)

    def _note_news(self, *, urgent: bool) -> None:
        if self._news_at is None:
            self._news_at = self._clock()
        self._go_on(0.0 if urgent else self._collector.interval)

    def end_now(self, reason: str) -> None:
        """End the answer for a reason, as soon as the log takes the end."""
        self._asked = self._asked or reason
        self._supply.stop()

    def note_end(self) -> None:
        """Note that the end is in the log: nothing more is appended."""
        self.over.set()
        self._supply.stop()
        self._go_on(0.0)

    def note_readers(self, *, some: bool, was_read: bool) -> None:
        """Note whether the answer has readers anywhere, and whether it ever had one."""
        before = self._idle_since
        if some:
            self._idle_since = None
        elif before is None or was_read != self._was_read:
            self._idle_since = self._clock()
        self._was_read = was_read
        if before != self._idle_since:
            self._go_on(0.0)

    def check_patience(self) -> None:
        """End the answer if it takes too long, or nobody reads it any more."""
        now = self._clock()
        if now >= self._ends_at:
            self._ends_at = math.inf
            self.end_now("timeout")
        elif now >= self._linger_until():
            self.end_now("abandoned")

    # The steps, in the thread of the press

    def steps(self) -> Steps:
        """Make the records of the answer, up to its end."""
        try:
            yield from self._go()
            yield from self._finish(None)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - _ended() logs it
            # The app's merge failed, or it returned something else than text.
            self._supply.stop()
            yield from self._finish(error)

    def _go(self) -> Steps:
        while not self.over.is_set():
            now = self._clock()
            if now >= self._look_at and self._on_look is not None:
                self._look_at = now + 1.0
                self._on_look()
            self.check_patience()
            if now >= min(self._collector.due, self._progress_due):
                yield from self._flush()
            if now >= self._unkept_until:
                yield from self._append_snapshot()
            came, self._news_at = self._news_at, None
            items = self._supply.take_ready()
            if items is None:
                if not self.over.is_set():
                    yield from self._flush()
                return
            for item in items:
                self._take(item, now=now if came is None else came)
                if self._collector.is_full:
                    yield from self._flush()
            if not items:
                yield min(
                    self._collector.due,
                    self._progress_due,
                    self._unkept_until,
                    self._ends_at,
                    self._linger_until(),
                    self._look_at,
                )

    def _take(self, item: Any, *, now: float) -> None:
        if isinstance(item, Progress):
            self._progress = item
            self._progress_due = min(self._progress_due, now + self._collector.interval)
        else:
            self._collector.add(item, now=now)

    def _linger_until(self) -> float:
        linger = self.begun.linger
        if linger is None or self._idle_since is None or self._asked:
            return math.inf
        if not self._was_read:
            linger = max(linger, _FIRST_READER_SECONDS)
        return self._idle_since + linger

    def _flush(self) -> Steps:
        """Append the items that have been collected, and the newest progress."""
        told, self._progress, self._progress_due = self._progress, None, math.inf
        items = self._collector.take()
        if items:
            yield from self._append_part(items)
        if told is not None:
            yield from self._append_kept(records.progress(self.begun, told))

    def _append_part(self, items: list[Any]) -> Steps:
        part: Content = items
        if self.begun.is_text:
            (part,) = items
            if not isinstance(part, str):
                raise InvalidEvent(
                    "merge must return a str, as ''.join does, not"
                    f" {type(part).__name__}"
                )
        size = self._size + size_of(part)
        if self._asked == "too_large":
            return
        if size > self._max_bytes:
            _rare_log.warning(
                "SSE-1611",
                "the answer %s ends, because it would have %d bytes;"
                " SSE_HUB_ANSWERS_BYTES allows %d",
                self.begun.id,
                size,
                self._max_bytes,
            )
            self.end_now("too_large")
            return
        if not part:
            return
        cursor = yield from self._append(records.part(self.begun, self._length, part))
        self._parts += [part] if self.begun.is_text else part
        self._length += len(part)
        self._size = size
        if cursor is not None:
            yield from self._snapshot_if_due(cursor)

    def _snapshot_if_due(self, cursor: Cursor) -> Steps:
        now = self._clock()
        if self._snapshot_offset is None:
            self._snapshot_offset = cursor.offset
        if self._unkept_until == math.inf:
            self._unkept_until = now + _OLDEST_PART_SECONDS
        grown = self._size >= max(2 * self._snapshot_size, _FIRST_SNAPSHOT_BYTES)
        behind = cursor.offset - self._snapshot_offset >= _SNAPSHOT_RECORDS
        if grown or (behind and now - self._snapshot_at >= _SNAPSHOT_SECONDS):
            self._snapshot_offset = cursor.offset
            yield from self._append_snapshot()

    def _append_snapshot(self, *, is_last: bool = False) -> Steps:
        """Append everything so far, if the state has room for it."""
        self._snapshot_size = self._size
        self._snapshot_at = self._clock()
        self._unkept_until = math.inf
        if self.begun.is_text:
            self._parts = ["".join(self._parts)]
        content = self._parts[0] if self.begun.is_text else self._parts
        yield from self._append_kept(
            records.snapshot(self.begun, content, is_last=is_last)
        )

    def _append_kept(self, record: Record) -> Steps:
        """Append a record that the state keeps, if it has room."""
        try:
            yield from self._append(record)
        except StateFull as error:
            # Readers still have the parts, for as long as the log keeps them.
            _rare_log.warning(
                "SSE-1612", f"an answer's text so far is not kept: {error}"
            )

    def _append(
        self, record: Record
    ) -> Generator[Record, Cursor | Exception | None, Cursor | None]:
        """Have a record appended. Returns None if the answer is over."""
        if self.over.is_set():
            return None
        answer = yield record
        if isinstance(answer, Exception):
            raise answer
        return answer

    # The end

    def _finish(self, error: BaseException | None) -> Steps:
        if error is None:
            error, self._supply.error = self._supply.error, None
        if self._asked is None and error is None and not self._supply.exhausted:
            self._asked = "stopped"
        if self._asked == "shutdown" and self._supply.exhausted:
            # The last item came in time.
            self._asked = None
        if self._asked == "shutdown" and self.begun.may_restart and error is None:
            yield from self._append_snapshot(is_last=True)
            yield from self._append(records.release(self.begun))
        else:
            yield from self._append(records.end(self.begun, self._ended(error)))
        self.over.set()

    def _ended(self, error: BaseException | None) -> Ended:
        """Return the end. An error is logged here, and its id is what readers see."""
        end_id = new_end_id()
        if error is not None:
            shown = self._debug and isinstance(error, SSEHubError)
            text = "the answer %s failed; its readers are told the id %s"
            told = self.begun.id, end_id
            if not _rare_log.exception("SSE-1614", text, *told, error=error):
                log.error("SSE-1614", text, *told)
            text = str(error) if shown else _FAILED
            reason = "failed"
        else:
            reason = self._asked or "done"
            text = _MESSAGES.get(reason, "")
        return Ended(reason=reason, message=text, id=end_id, length=self._length)


def _ignored(seconds: float) -> None:
    """Do nothing: the runner has not started."""
