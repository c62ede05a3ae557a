"""Notices: counts and logs the streams that begin and end, and tells the app.

Knows clients and their statistics. Does not know why or how a stream ends.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ...runtime import tracing
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog
from ...runtime.survival import surviving
from ..tally import Tally
from .client import Client
from .client_stats import ClientStats, Written
from .close_reason import CloseReason

log = CodedLog(__name__)

# The most ends that wait for the app's listeners, or for its log handlers. Code of the
# app that is too slow, or never returns, must neither fill the memory nor hold back
# other streams.
_MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Listeners:
    """The app's functions for a stream that has begun and for one that has ended.

    While ``listen()`` is false, neither is called: most apps listen to nothing, and a
    call in another thread is half of the price of a stream's end.
    """

    connected: Callable[[ClientStats], object]
    disconnected: Callable[[ClientStats, CloseReason], object]
    listen: Callable[[], bool] = lambda: True


class Notices:
    """Count, log and announce the streams that begin and end in one process.

    Log handlers and listeners are the app's own code: they may be slow, and raise
    anything.
    """

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
        self._signals = _Calls()
        # Listeners that never return must not keep the log from telling so.
        self._lines = _Calls()
        self._lost_lines = 0
        self._rare_log = RareLog(log, clock=clock)

    def came(self, client: Client, written: Written) -> None:
        """Note that a stream has begun."""
        self._tally.opened += 1
        if self._listeners is not None and self._listeners.listen():
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

        With ``beside``, other threads write the log's line and call the listeners, and
        the caller does not wait.
        """
        self._tally.closed[reason] += 1
        is_told = self._listeners is not None and self._listeners.listen()
        is_logged = log.logs_info()
        if not (is_told or is_logged):
            return
        stats = ClientStats.of(client, written, now=self._clock())
        line = partial(_log_end, repr(client), stats, reason, client.traceparent)
        if not beside:
            line()
        elif is_logged:
            self._log_beside(line)
        if self._listeners is None or not is_told:
            return
        tell = partial(self._tell, self._listeners.disconnected, stats, reason)
        if not beside:
            tell()
        elif not self._signals.add(tell):
            self._log_beside(partial(self._log_lost_signal, repr(client)))

    def tell(self, listener: Callable[..., object], *args: object) -> None:
        """Call a function of the app in the thread of the signals."""
        if not self._signals.add(partial(self._tell_of_people, listener, *args)):
            self._log_beside(partial(self._log_lost_signal, " ".join(map(str, args))))

    def _log_beside(self, line: Callable[[], object]) -> None:
        if not self._lines.add(line):
            self._lost_lines += 1

    def _tell(self, listener: Callable[..., object], *args: object) -> None:
        text = "a receiver of a client signal failed"
        with surviving(lambda: self._rare_log.exception("SSE-1304", text)):
            listener(*args)

    def _tell_of_people(self, listener: Callable[..., object], *args: object) -> None:
        text = "a receiver of a presence signal failed"
        with surviving(lambda: self._rare_log.exception("SSE-1305", text)):
            listener(*args)

    def _log_lost_signal(self, client: str) -> None:
        with surviving():
            self._rare_log.error(
                "SSE-1306",
                "receivers of signals are too slow: the signal for %s is not"
                " sent. Let a receiver hand long work to another thread",
                client,
            )

    def run(self) -> None:
        """Call the listeners for the ends that wait, until stop()."""
        self._signals.run()

    def run_log(self) -> None:
        """Log the ends that wait, until stop()."""
        while self._lines.wait():
            self.log_waiting()

    def tell_waiting(self) -> None:
        """Call the listeners for the ends that wait."""
        self._signals.call_waiting()

    def log_waiting(self) -> None:
        """Log the ends that wait."""
        self._lines.call_waiting()
        lost, self._lost_lines = self._lost_lines, 0
        if lost:
            with surviving():
                log.error(
                    "SSE-1303",
                    "log handlers are too slow: %d lines about streams that ended are"
                    " missing. Let a handler write from a queue",
                    lost,
                )

    @property
    def waiting(self) -> bool:
        """Whether ends wait to be logged, or for their listeners."""
        return bool(self._lines or self._signals)

    def abandon(self) -> None:
        """Forget, in a forked child, all that waits: the parent tells and logs it."""
        self._signals.abandon()
        self._lines.abandon()

    def stop(self) -> None:
        """End run() and run_log()."""
        self._signals.stop()
        self._lines.stop()


class _Calls:
    """Calls of the app's code that wait for a thread of their own: a bounded queue."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._work = threading.Event()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, call: Callable[[], object]) -> bool:
        """Add a call; tell whether there was room for it."""
        if len(self._waiting) >= _MAX_WAITING:
            return False
        self._waiting.append(call)
        self._work.set()
        return True

    def run(self) -> None:
        """Make the calls as they come, until stop()."""
        while self.wait():
            self.call_waiting()

    def wait(self) -> bool:
        """Wait for calls, or for stop(); False once it was stopped before."""
        if self._stopped:
            return False
        self._work.wait()
        self._work.clear()
        return True

    def call_waiting(self) -> None:
        """Make the calls that wait."""
        while self._waiting:
            self._waiting.popleft()()

    def abandon(self) -> None:
        """Forget all calls in a forked child, and make none any more."""
        self._stopped = True
        self._waiting.clear()

    def stop(self) -> None:
        """End run() and all waiting."""
        self._stopped = True
        self._work.set()


def _log_end(
    client: str, stats: ClientStats, reason: CloseReason, traceparent: str | None
) -> None:
    # A log filter or handler of the app may raise an error, and the caller also serves
    # other streams.
    with surviving(), tracing.within(traceparent):
        log.info(
            "stream of %s ended: %s after %.1f s, %d events, %d bytes",
            client,
            reason.value,
            stats.age,
            stats.events,
            stats.bytes,
        )
