"""The backlog: what lies further back in the log than this worker's memory.

Read from the broker a page at a time, and shared by all clients that are there, as they
are after a long break. Does not know clients.
"""

import sys
import threading
import time
from collections.abc import Callable

from ...brokers import Broker
from ...errors import BrokerUnavailable
from ...events.record import Cursor, GapReason, Retention
from .history import Frame, History

# One page, and what all together hold of memory: half of what a worker keeps of the log
# by default. The one in use stays whatever its size.
_PAGE_RECORDS = 200
_MAX_BYTES = 8_388_608

# Pages that nobody has asked for are dropped after so many seconds.
_IDLE_SECONDS = 10.0

# After a failed read nobody asks again for so long: each would wait for a broker that
# does not answer, one after the other.
_AWAY_SECONDS = 1.0

_KEEP_ALL = Retention(events=sys.maxsize, seconds=float("inf"), bytes=sys.maxsize)


class Backlog:
    """Pages of one log, read by one at a time."""

    def __init__(
        self, broker: Broker, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._broker = broker
        self._clock = clock
        # Guards all below, and is held while the broker is read: who waits for it most
        # likely finds the page there that it wants.
        self._lock = threading.Lock()
        self._pages: list[History] = []
        self._used_at = 0.0
        self._failed_at = float("-inf")

    def page(self, after: Cursor) -> History | GapReason:
        """Return a page that begins at a cursor or before it, or why there is none.

        A page whose own cursor is the one asked for has nothing more: it is the head.
        Raises BrokerUnavailable.
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
        """Drop what nobody has asked for lately."""
        if self._pages and self._clock() - self._used_at > _IDLE_SECONDS:
            self.forget()

    def forget(self) -> None:
        """Drop all pages: the log is not what it was."""
        with self._lock:
            self._pages.clear()
