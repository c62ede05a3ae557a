"""Notices: counts and logs the streams that begin and end, and tells the app.

Knows clients and their statistics. Does not know why or how a stream ends.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ..tally import Tally
from .client import Client
from .client_stats import ClientStats, Written
from .close_reason import CloseReason

log = logging.getLogger(__name__)

# The most ends that wait for the app's listeners. Listeners that are too slow, or never
# return, must neither fill the memory nor hold back other streams.
_MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Listeners:
    """The app's functions for a stream that has begun and for one that has ended."""

    connected: Callable[[ClientStats], object]
    disconnected: Callable[[ClientStats, CloseReason], object]


class Notices:
    """Count, log and announce the streams that begin and end in one process."""

    def __init__(
        self,
        listeners: Listeners | None,
        *,
        tally: Tally,
        clock: Callable[[], float],
    ) -> None:
        self._listeners = listeners
        self._tally = tally
        self._clock = clock
        self._waiting: deque[tuple[ClientStats, CloseReason]] = deque()
        self._work = threading.Event()
        self._stopped = False

    def came(self, client: Client, written: Written) -> None:
        """Note that a stream has begun."""
        self._tally.opened += 1
        if self._listeners is not None:
            stats = ClientStats.of(client, written, now=self._clock())
            self._tell(self._listeners.connected, stats)

    def left(
        self,
        client: Client,
        written: Written,
        reason: CloseReason,
        *,
        beside: bool = False,
    ) -> None:
        """Note that a stream has ended.

        Listeners are the app's own code, and may be slow. With ``beside``, run() calls
        them in another thread, and the caller does not wait.
        """
        self._tally.closed[reason] += 1
        stats = ClientStats.of(client, written, now=self._clock())
        # A log filter or handler of the app may raise an error, and the caller also
        # serves other streams.
        with suppress(Exception):
            log.info(
                "stream of %r ended: %s after %.1f s, %d events, %d bytes",
                client,
                reason.value,
                stats.age,
                stats.events,
                stats.bytes,
            )
        if self._listeners is None:
            return
        if not beside:
            self._tell(self._listeners.disconnected, stats, reason)
        elif len(self._waiting) < _MAX_WAITING:
            self._waiting.append((stats, reason))
            self._work.set()
        else:
            log.error(
                "receivers of client_disconnected are too slow: the signal for %r is"
                " not sent. Let a receiver hand long work to another thread",
                client,
            )

    def run(self) -> None:
        """Call the listeners for the ends that wait, until stop()."""
        while not self._stopped:
            self._work.wait()
            self._work.clear()
            self.tell_waiting()

    def tell_waiting(self) -> None:
        """Call the listeners for the ends that wait."""
        while self._waiting and self._listeners is not None:
            self._tell(self._listeners.disconnected, *self._waiting.popleft())

    def stop(self) -> None:
        """End run()."""
        self._stopped = True
        self._work.set()

    def _tell(self, listener: Callable[..., object], *args: object) -> None:
        try:
            listener(*args)
        except Exception:
            log.exception("a receiver of a client signal failed")
