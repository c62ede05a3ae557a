"""An answer that a process outside the app produces, such as a Celery task.

Knows brokers and the beats of members. Such a process follows no log, so it looks once
a second whether its answer was stopped. Does not know hubs.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from ...brokers import Broker, traced
from ...errors import BrokerUnavailable, TooManyAnswers
from ...events import address
from ...events.record import Record
from ...hub.members import BEAT_SECONDS, beat_of, farewell_of
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog
from ..batch import Batch
from ..progress import Progress
from ..source import News
from . import records
from .own_run import in_thread
from .press import Press
from .records import Begun
from .runner import Runner

log = CodedLog(__name__)
_rare_log = RareLog(log)

# The most items that wait for the log. With this many, write() waits too.
_BUFFERED_ITEMS = 1000

# The records that one look reads at a time.
_PAGE = 1000

# How long the end of the `with` block waits for the broker.
_END_SECONDS = 30.0


class TaskAnswer:
    """One answer, for a ``with`` block. Write its items, and look at ``stopped``.

    An exception in the block ends the answer as failed. If the process dies, the app's
    workers end it as lost, about twenty seconds later. For example::

        with publisher.answer(user=42) as out:
            for number, token in enumerate(tokens, 1):
                if out.stopped:
                    break
                out.write(token)
                out.progress(number, "tokens", total=len(tokens))
    """

    def __init__(
        self,
        broker: Callable[[], Broker],
        begun: Begun,
        *,
        convert: Callable[[Any], Any],
        batch: Batch,
        timeout: float,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: The answer's id.
        self.id = begun.id
        self._begun = begun
        self._open_broker = broker
        self._convert = convert
        self._options: dict[str, Any] = {
            "batch": batch,
            "timeout": timeout,
            "max_bytes": max_bytes,
            "clock": clock,
        }
        self._clock = clock
        self._written = WrittenItems()
        self._runner: Runner | None = None
        self._beat_at = 0.0

    def __enter__(self) -> Self:
        """Begin the answer. Raises BrokerUnavailable, StateFull, TooManyAnswers."""
        self._broker = broker = self._open_broker()
        self._seen = broker.head()
        if self._is_running(broker.state().records):
            raise TooManyAnswers(f"the answer {self.id!r} runs already")
        # The workers must know that this process lives before the answer begins.
        broker.publish(beat_of(self._begun.runner))
        self._beat_at = self._clock() + BEAT_SECONDS
        traced.append(broker, records.begin(self._begun))
        self._runner = Runner(
            self._begun,
            self._written,
            on_look=self.look,
            **self._options,
        )
        press = Press(
            partial(traced.append_together, broker), beside=in_thread, clock=self._clock
        )
        press.add(self._runner)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the answer, and wait until the end is in the log."""
        self._written.finish(error)
        if self._runner is None:
            return
        if not self._runner.over.wait(_END_SECONDS):
            self._runner.note_end()
            _rare_log.error(
                "SSE-1615",
                "the end of the answer %s could not be written: readers will be told"
                " that it is lost",
                self.id,
            )
        with contextlib.suppress(BrokerUnavailable):
            self._broker.publish(farewell_of(self._begun.runner))

    @property
    def stopped(self) -> bool:
        """Whether the answer has ended already, and the task should end too.

        It was stopped or took too long, or this process was taken for dead. Known about
        a second later.
        """
        return self._written.stopped

    def write(self, item: Any) -> None:
        """Add an item to the answer; does nothing once it is ``stopped``.

        Waits while the broker is away and many items wait already.

        Args:
            item: Text, an ``Event``, a ``Progress``, or data for JSON.

        Raises:
            InvalidEvent: The item cannot be sent.

        """
        self._written.put(self._convert(item))

    def progress(self, done: float, text: str = "", *, total: float = 1.0) -> None:
        """Tell how far the task has come.

        Args:
            done: How much is done.
            text: A short text for people.
            total: How much there is to do.

        Raises:
            InvalidEvent: A value has the wrong type, or is negative or not finite.

        """
        self.write(Progress(done, text, total))

    # The runner's thread

    def look(self) -> None:
        """Beat, and look whether somebody else has ended the answer."""
        with contextlib.suppress(BrokerUnavailable):
            now = self._clock()
            if now >= self._beat_at:
                self._beat_at = now + BEAT_SECONDS
                self._broker.publish(beat_of(self._begun.runner))
            self._read_on()

    def _read_on(self) -> None:
        while True:
            page = self._broker.replay(self._seen, page=_PAGE)
            if page.gap is not None:
                found = self._broker.state()
                self._seen = found.cursor
                if not self._is_running(found.records):
                    self._note_end()
                return
            if any(map(self._ends, page.records)):
                self._note_end()
            if page.cursor == self._seen:
                return
            self._seen = page.cursor

    def _note_end(self) -> None:
        if self._runner is not None:
            self._runner.note_end()

    def _own(self, record: Record) -> dict[str, Any] | None:
        """Return the data of this answer's own record, None for another record."""
        is_own = address.answer(self.id) in record.addresses
        if not is_own or record.key not in records.ANSWER_KEYS or record.deletes:
            return None
        try:
            data = records.read(record)
            return data | {"turn": records.read_turn(data)}
        except records.UnreadableRecord:
            return None

    def _ends(self, record: Record) -> bool:
        data = self._own(record)
        return data is not None and data["run"] == self._begun.run and "ended" in data

    def _is_running(self, found: tuple[Record, ...]) -> bool:
        own = [data for data in map(self._own, found) if data is not None]
        last = max(own, key=lambda data: data["turn"], default=None)
        return last is not None and "ended" not in last


class WrittenItems:
    """A supply of items that another thread writes."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.exhausted = False
        #: Whether no more items are wanted.
        self.stopped = False
        # Guards all fields, and is notified when there is room again.
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
        self._on_news: News | None = None

    # The writing thread

    def put(self, item: Any) -> None:
        """Add an item, when there is room; drop it after stop()."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.stopped or len(self._items) < _BUFFERED_ITEMS
            )
            if self.stopped:
                return
            self._items.append(item)
            waiting = len(self._items)
        if waiting in (1, _BUFFERED_ITEMS):
            self._tell(urgent=waiting == _BUFFERED_ITEMS)

    def finish(self, error: BaseException | None) -> None:
        """End the items, by an error or without one."""
        with self._changed:
            self.exhausted = error is None
            if not self.stopped:
                self.error = error
        self._tell(urgent=True)

    # The taking thread

    def start(self, on_news: News) -> None:
        """Tell of items from now on, and of those that wait already."""
        self._on_news = on_news
        self._tell(urgent=True)

    def take_ready(self) -> list[Any] | None:
        """Return all items that wait, None when there are no more."""
        with self._changed:
            found, self._items = list(self._items), deque()
            self._changed.notify_all()
            is_over = self.stopped or self.exhausted or self.error is not None
            return found or (None if is_over else [])

    def _tell(self, *, urgent: bool) -> None:
        if self._on_news is not None:
            self._on_news(urgent=urgent)

    def stop(self) -> None:
        """Want no more items."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()
        self._tell(urgent=True)
