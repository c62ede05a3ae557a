"""The backlog: records that are older than this worker's memory.

Reads them from the broker a page at a time. Clients that resume after a long break
share the pages. Does not know clients.
"""

import sys
import threading
import time
from collections.abc import Callable

from ...brokers import Broker
from ...errors import BrokerUnavailable
from ...events.record import Cursor, GapReason, Retention
from .history import Frame, History

# The records of one page, and the memory for all pages: half of the history that a
# worker keeps by default. The newest page stays whatever its size.
_PAGE_RECORDS = 200
_MAX_BYTES = 8_388_608

# Pages that were not used for this time are dropped.
_IDLE_SECONDS = 10.0

# The pause in reading after a failed read. Without it, one caller after the other would
# wait for a broker that does not answer.
_AWAY_SECONDS = 1.0

_KEEP_ALL = Retention(events=sys.maxsize, seconds=float("inf"), bytes=sys.maxsize)


class Backlog:
    """Pages of one log. One caller at a time reads the broker."""

    def __init__(
        self, broker: Broker, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._broker = broker
        self._clock = clock
        # Guards the fields below, and is held while the broker is read: a caller that
        # waits for the lock most likely finds its page afterwards.
        self._lock = threading.Lock()
        self._pages: list[History] = []
        self._used_at = 0.0
        self._failed_at = float("-inf")

    def page(self, after: Cursor) -> History | GapReason:
        """Return a page that begins at a cursor or before it, or the reason for a gap.

        If the page's own cursor equals ``after``, that is the head of the log and the
        page has no more records. Raises BrokerUnavailable.
        """
        with self._lock:
            self._used_at = self._clock()
            for page in self._pages:
                if page.knows(after) and page.cursor != after:
                    return page
            return self._read(after)

    def _read(self, after: Cursor) -> History | GapReason:
        if self._clock() - self._failed_at < _AWAY_SECONDS:
            raise BrokerUnavailable("the broker did not answer a moment ago")
        try:
            replay = self._broker.replay(after, page=_PAGE_RECORDS)
        except BrokerUnavailable:
            self._failed_at = self._clock()
            raise
        if replay.gap is not None:
            return replay.gap
        page = History(_KEEP_ALL)
        page.restart(after)
        page.append(map(Frame.of, replay.records), replay.cursor)
        if replay.records:
            self._pages.append(page)
        while len(self._pages) > 1 and sum(p.bytes for p in self._pages) > _MAX_BYTES:
            del self._pages[0]
        return page

    def forget_unused(self) -> None:
        """Drop all pages if none was used lately."""
        if self._pages and self._clock() - self._used_at > _IDLE_SECONDS:
            self.forget()

    def forget(self) -> None:
        """Drop all pages, because after a gap they may no longer match the log."""
        with self._lock:
            self._pages.clear()
