"""The backlog: records that are older than this worker's memory.

Reads them from the broker a page at a time. Clients that resume after a long break
share the pages. Does not know clients.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...brokers import Broker
from ...errors import BrokerUnavailable
from ...events.address import Address
from ...events.record import Cursor, GapReason, Retention
from ...runtime.greenlets import unhurried
from ..tally import Tally
from .history import History
from .stretch import Frame

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


class Page(History):
    """One page of the log.

    A client from before the offset ``missed`` may have lost records with a ttl that the
    log has removed before their time.
    """

    def __init__(self, missed: int, *, clock: Callable[[], float]) -> None:
        super().__init__(_KEEP_ALL, clock=clock)
        self.missed = missed


class Backlog:
    """Pages of one log. One caller at a time reads the broker.

    Only page() waits for the broker.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self._broker = broker
        self._tally = tally
        self._clock = clock
        self._time_of_day = time_of_day
        # Held while the broker is read: a caller that waits for it most likely finds
        # its page afterwards.
        self._reads = threading.Lock()
        self._used_at = 0.0
        self._failed_at = float("-inf")
        # Guards the pages. Nothing waits under it.
        self._lock = threading.Lock()
        self._pages: list[Page] = []
        self._forgotten = 0

    def page(self, after: Cursor, addresses: Sequence[Address]) -> History | GapReason:
        """Return a page for a client of some addresses, or the reason for a gap.

        All events for the client between ``after`` and the page's own cursor are in
        the page. If that cursor equals ``after``, it is the head of the log and the
        page has no more records. Raises BrokerUnavailable.
        """
        with self._reads:
            self._used_at = self._clock()
            while True:
                found = self._at(after)
                may_have_lost = isinstance(found, Page) and after.offset < found.missed
                if found is not GapReason.EXPIRED and not may_have_lost:
                    return found
                with self._noting_failures():
                    place = self._broker.bridge(after, addresses)
                if place is None:
                    return GapReason.EXPIRED
                if place == after:
                    return found
                # The log may be trimmed again meanwhile.
                after = place

    def _at(self, after: Cursor) -> "Page | GapReason":
        with self._lock:
            pages = list(self._pages)
        for page in pages:
            if page.knows(after) and page.cursor != after:
                return page
        return self._read(after)

    @contextmanager
    def _noting_failures(self) -> Iterator[None]:
        if self._clock() - self._failed_at < _AWAY_SECONDS:
            raise BrokerUnavailable("the broker did not answer a moment ago")
        try:
            yield
        except BrokerUnavailable:
            self._tally.broker_errors["replay"] += 1
            self._failed_at = self._clock()
            raise

    def _read(self, after: Cursor) -> "Page | GapReason":
        forgotten = self._forgotten
        with self._noting_failures():
            replay = self._broker.replay(after, page=_PAGE_RECORDS)
        if replay.gap is not None:
            return replay.gap
        page = Page(replay.missed, clock=self._time_of_day)
        page.restart(after)
        page.append(list(unhurried(map(Frame.of, replay.records))), replay.cursor)
        if replay.records:
            self._keep(page, forgotten)
        return page

    def _keep(self, page: "Page", forgotten: int) -> None:
        with self._lock:
            if self._forgotten != forgotten:
                # A gap came while the broker was read.
                return
            pages = self._pages
            pages.append(page)
            while len(pages) > 1 and sum(each.bytes for each in pages) > _MAX_BYTES:
                del pages[0]

    def forget_unused(self) -> None:
        """Drop all pages if none was used lately."""
        if self._pages and self._clock() - self._used_at > _IDLE_SECONDS:
            self.forget()

    def forget(self) -> None:
        """Drop all pages, because after a gap they may no longer match the log."""
        with self._lock:
            self._pages.clear()
            self._forgotten += 1
