"""Attendance: who came and who left, counted, logged, and told to whoever listens.

Knows clients by what they are; not why one has to go, or how.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ..stats import ClientStats
from .client import Client, CloseReason

log = logging.getLogger(__name__)

# Ends that wait to be told. Listeners that take fewer than come, or never return, shall
# neither fill the memory nor hold back everybody's streams.
_MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Listeners:
    """Called when a stream was opened, and when it ended with its close reason."""

    connected: Callable[[ClientStats], object]
    disconnected: Callable[[ClientStats, CloseReason], object]


class Attendance:
    """The streams that began and ended in one process."""

    def __init__(
        self, listeners: Listeners | None, *, clock: Callable[[], float]
    ) -> None:
        self.opened = 0
        self.ended: Counter[str] = Counter()
        self._listeners = listeners
        self._clock = clock
        self._waiting: deque[tuple[ClientStats, CloseReason]] = deque()
        self._work = threading.Event()
        self._stopped = False

    def came(self, client: Client) -> None:
        """Note that a stream has begun."""
        self.opened += 1
        if self._listeners is not None:
            stats = ClientStats.of(client, client.written, now=self._clock())
            self._tell(self._listeners.connected, stats)

    def left(
        self, client: Client, reason: CloseReason, *, beside: bool = False
    ) -> None:
        """Note that a stream has ended.

        Listeners are the app's own code, and may take their time; with ``beside`` they
        are told by run(), and the caller goes on.
        """
        self.ended[reason] += 1
        stats = ClientStats.of(client, client.written, now=self._clock())
        # Filters and handlers are the app's own, and who calls this serves everybody.
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
            log.error("receivers are too slow to be told of the end of %r", client)

    def run(self) -> None:
        """Tell of the ends that wait to be told, until stop()."""
        while not self._stopped:
            self._work.wait()
            self._work.clear()
            self.tell_waiting()

    def tell_waiting(self) -> None:
        """Tell of the ends that wait to be told."""
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
