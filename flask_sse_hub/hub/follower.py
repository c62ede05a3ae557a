"""The follower: reads the log, and hands each batch to the folds and the dispatcher.

First fills the worker's memory from the log's tail. Does not know clients.
"""

import threading
import time
from collections.abc import Iterator

from ..brokers import Broker, LogBatch, LogState
from ..errors import BrokerUnavailable
from ..events.record import UNPLACED, Cursor
from ..runtime.closing import Closed, Closing
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog, Trouble
from .delivery.backlog import Backlog
from .delivery.dispatcher import Dispatcher
from .delivery.ends import Ends
from .delivery.state import State
from .folds import Folds

log = CodedLog(__name__)

# The pause before the follower asks again a broker that was away.
_RETRY_SECONDS = 1.0


class Follower:
    """Follow one log for one process."""

    def __init__(
        self,
        broker: Broker,
        dispatcher: Dispatcher,
        backlog: Backlog,
        ends: Ends,
        folds: Folds,
        *,
        memory_bytes: int,
    ) -> None:
        self._rare_log = RareLog(log)
        self._broker = broker
        self._dispatcher = dispatcher
        self._backlog = backlog
        self._ends = ends
        self._folds = folds
        self._memory_bytes = memory_bytes
        self._batches: Iterator[LogBatch] = iter(())
        self._closed: Closed = Closing()
        self._ready = threading.Event()
        # Set when the first attempt to read the log has ended, whether it succeeded or
        # not.
        self._tried = threading.Event()
        #: The cursor up to which the log was read.
        self.cursor = UNPLACED
        # The cursor up to which the folds have taken the log.
        self._folded = UNPLACED

    @property
    def ready(self) -> bool:
        """Whether this process follows the log, and so can serve streams."""
        return self._ready.is_set()

    def run(self, closed: Closed) -> None:
        """Fill the memory, then follow the log, until ``closed`` is set."""
        trouble = Trouble()
        self._closed = closed
        while not closed.is_set():
            try:
                filled = self.fill()
            except BrokerUnavailable as error:
                if trouble.is_news(str(error)):
                    log.warning("SSE-1201", "cannot read the log yet: %s", error)
                closed.wait(_RETRY_SECONDS)
                continue
            if (count := trouble.is_over()) and filled:
                log.info("the log can be read now, after %d failures", count)
            while filled and not closed.is_set() and self.take():
                continue
            return

    def fill(self) -> bool:
        """Read the log's tail into the memory, and begin there.

        Returns False if the broker was closed meanwhile. Raises BrokerUnavailable.
        """
        try:
            # The tail leads beyond the place of the state.
            found = self._broker.state()
            start, head = self._start()
            # After the start was chosen: a session that ends now ends in a record.
            self._ends.remember(self._broker.ended())
        except BrokerUnavailable:
            self._tried.set()
            raise
        self._batches = self._broker.follow(start)
        tail: list[LogBatch] = []
        self.cursor = start
        while self.cursor.offset < head.offset:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self.cursor = batch.cursor
            if batch.gap is not None:
                head = start = batch.cursor
                tail.clear()
                found = self._broker.state()
            else:
                tail.append(batch)
        self._folds.begin(found.records, tail, upto=self.cursor)
        self._folded = self.cursor
        self._dispatcher.begin(start, tail, state=State.of(found))
        self._ready.set()
        self._tried.set()
        return True

    def _start(self) -> tuple[Cursor, Cursor]:
        """Return the cursor at which the memory begins, and the head to reach."""
        while True:
            head = self._broker.head()
            start = self._broker.tail(self._memory_bytes)
            if start.epoch == head.epoch:
                return start, head

    def take(self) -> bool:
        """Take the next batch of the log, waiting for it; False after the last one."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        self.cursor = batch.cursor
        state = None
        if batch.gap is not None:
            self._backlog.forget()
            self._learn_ended()
            found = self._state_after_gap()
            if found is not None:
                self._folds.begin(found.records, (), upto=batch.cursor)
                state = State.of(found)
        self._folds.take(batch.records)
        self._folded = batch.cursor
        self._dispatcher.accept(batch, state=state)
        return True

    def _state_after_gap(self) -> LogState | None:
        """Read the state again; None if the broker was closed meanwhile."""
        trouble = Trouble()
        while not self._closed.is_set():
            try:
                return self._broker.state()
            except BrokerUnavailable as error:
                if trouble.is_news(str(error)):
                    log.warning(
                        "SSE-1202", "cannot read the state of keys yet: %s", error
                    )
                self._closed.wait(_RETRY_SECONDS)
        return None

    def _learn_ended(self) -> None:
        """Learn which sessions ended in the records that are lost."""
        try:
            self._ends.remember(self._broker.ended())
        except BrokerUnavailable as error:
            self._rare_log.warning(
                "SSE-1203", "cannot read which sessions have ended: %s", error
            )

    def wait(self, seconds: float) -> None:
        """Wait until the memory is filled, or the broker was found to be away.

        Waits once: later calls return at once.
        """
        if not self._tried.wait(seconds):
            self._tried.set()

    def wait_until_folded(self, head: Cursor, seconds: float) -> None:
        """Wait until the folds have taken the log up to a head of it.

        Raises BrokerUnavailable if that takes longer.
        """
        until = time.monotonic() + seconds
        while self._folded.epoch != head.epoch or self._folded.offset < head.offset:
            if time.monotonic() >= until:
                raise BrokerUnavailable("this worker is behind the log")
            time.sleep(0.005)
