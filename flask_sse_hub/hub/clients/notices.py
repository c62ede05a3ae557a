"""Notices: streams that begin and end are counted, logged, and told to the app.

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

# Ends that wait for their listeners. Listeners that are slower than streams end, or
# never return, must neither fill the memory nor hold back other streams.
_MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Listeners:
    """Called when a stream was opened, and when it ended with its close reason."""

    connected: Callable[[ClientStats], object]
    disconnected: Callable[[ClientStats, CloseReason], object]


class Notices:
    """Tell of the streams that began and ended in one process."""

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

        Listeners are the app's own code, and may take their time. With ``beside`` run()
        tells them, and the caller goes on.
        """
        self._tally.closed[reason] += 1
        stats = ClientStats.of(client, written, now=self._clock())
        # Filters and handlers are the app's own, and the caller serves other streams.
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
                "receivers of client_disconnected are too slow: they are not told of"
                " the end of %r",
                client,
            )

    def run(self) -> None:
        """Tell listeners of the ends that wait, until stop()."""
        while not self._stopped:
            self._work.wait()
            self._work.clear()
            self.tell_waiting()

    def tell_waiting(self) -> None:
        """Tell listeners of the ends that wait."""
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
