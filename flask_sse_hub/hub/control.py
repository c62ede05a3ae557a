"""Control records: sent in order by one thread, from a bounded queue, with retries.

A logout neither fails nor waits because the broker is away. Does not know the contents
of the records.
"""

import atexit
import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

from ..brokers import Broker, traced
from ..errors import BrokerUnavailable
from ..events.record import Cursor, Disconnect, Record
from ..runtime.coded_log import CodedLog
from ..runtime.per_process import Home
from ..runtime.rare_log import RareLog, Trouble

log = CodedLog(__name__)

# How long a record is tried while the broker is away, and the longest wait between two
# tries.
_PATIENCE_SECONDS = 90.0
_MAX_WAIT_SECONDS = 30.0

# The most records that wait for the broker. At ten logouts a second, the queue is full
# when its first record is given up.
_MAX_WAITING = 1_000

# How long a process that ends waits until its records are in the log. gunicorn gives a
# worker 30 seconds to end.
_EXIT_SECONDS = 2.0


class ControlSender:
    """Append control records to a broker's log, as soon as the broker takes them.

    ``pause`` waits for some seconds between two tries.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
        most: int = _MAX_WAITING,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._closed = threading.Event()
        # A closed sender waits for nothing.
        self._pause = self._closed.wait if pause is None else pause
        self._most = most
        self._rare_log = RareLog(log, clock=clock)
        # Guards the fields below, except for the event.
        self._lock = threading.Lock()
        # The records that wait, with the moment at which each one is given up.
        self._waiting: OrderedDict[Record, float] = OrderedDict()
        self._running = False
        # The process that has the exit function.
        self._home: Home | None = None
        # Set while no record waits and none is being sent.
        self._idle = threading.Event()
        self._idle.set()

    def append(self, record: Record) -> Cursor:
        """Append a record at once, and return its cursor. Raises BrokerUnavailable."""
        return traced.append(self._broker, record)

    def send(self, record: Record) -> None:
        """Append a record in the background.

        A record that equals one that waits already is left out: the waiting one will be
        appended later than now. So a logout that is repeated while the broker is away
        costs nothing.
        """
        record = traced.placed(record)
        with self._lock:
            if self._closed.is_set() or record in self._waiting:
                return
            full = len(self._waiting) >= self._most
            if not full:
                self._waiting[record] = self._clock() + _PATIENCE_SECONDS
                self._idle.clear()
            begins, self._running = not self._running, True
        if full:
            self._rare_log.error(
                "SSE-1404",
                "streams on other workers cannot be ended: %d control records wait for"
                " the broker already. Each stream stays open until its SSE_HUB_MAX_AGE",
                self._most,
            )
        if begins:
            self._begin()

    def _begin(self) -> None:
        if self._home is None:
            self._home = Home()
            atexit.register(self._flush_at_exit)
        sender = threading.Thread(target=self._run, name="sse-hub-control", daemon=True)
        try:
            sender.start()
        except RuntimeError:
            self._rare_log.exception(
                "SSE-1405", "no thread for ending streams on other workers: trying once"
            )
            # The caller waits for one try of each record. The next record tries to
            # start the thread again.
            with self._lock:
                waiting, self._waiting = self._waiting, OrderedDict()
                self._running = False
                self._idle.set()
            for record in waiting:
                with contextlib.suppress(BrokerUnavailable):
                    self.append(record)

    def _run(self) -> None:
        try:
            self.send_waiting()
        except BaseException:
            with self._lock:
                self._running = False
                self._idle.set()
            raise

    def send_waiting(self) -> None:
        """Append the waiting records in their order, until none is left."""
        trouble = Trouble()
        while (waiting := self._next()) is not None:
            record, given_up_at = waiting
            repeatable = _safe_to_repeat(record)
            for wait in _waits():
                if self._try(repeatable, trouble):
                    break
                if self._clock() >= given_up_at or self._closed.is_set():
                    self._rare_log.error(
                        "SSE-1406",
                        "streams on other workers could not be ended: each stays open"
                        " until its SSE_HUB_MAX_AGE",
                    )
                    break
                self._pause(wait)

    def _next(self) -> tuple[Record, float] | None:
        """Take the next record, with the moment at which it is given up."""
        with self._lock:
            if self._waiting and not self._closed.is_set():
                return self._waiting.popitem(last=False)
            # A record that comes from now on starts another thread.
            self._running = False
            self._idle.set()
            return None

    def _try(self, record: Record, trouble: Trouble) -> bool:
        """Append a record; False if the broker is away."""
        try:
            self.append(record)
        except BrokerUnavailable as error:
            if trouble.is_news(str(error)):
                log.warning(
                    "SSE-1407", "streams on other workers are not ended yet: %s", error
                )
            return False
        except Exception:  # noqa: BLE001 - it is logged
            # The records behind this one must still be sent.
            self._rare_log.exception(
                "SSE-1408", "a control record could not be appended"
            )
        trouble.is_over()
        return True

    def flush(self, seconds: float) -> bool:
        """Wait until no record waits; False if some still do after these seconds."""
        return self._idle.wait(seconds)

    def _flush_at_exit(self) -> None:
        # A forked child has a copy of this exit function, but not of the thread.
        if self._home is None or self._home.left:
            return
        if not self.flush(_EXIT_SECONDS):
            log.error(
                "SSE-1409",
                "this process ends before streams on other workers could be ended: each"
                " stays open until its SSE_HUB_MAX_AGE",
            )

    def close(self) -> None:
        """Send nothing more. Records that wait are dropped."""
        self._closed.set()
        atexit.unregister(self._flush_at_exit)


def _safe_to_repeat(record: Record) -> Record:
    """Return the record with a key, if a second one could end the wrong streams.

    The broker may append a record and its answer be lost. Without a key, the next try
    would append the record again, and end streams that were opened in between. At final
    addresses no stream opens any more.
    """
    if isinstance(record.content, Disconnect) and record.content.final:
        # The broker remembers a bounded number of keys: those of the app's events.
        return record
    return replace(record, idempotency_key=f"control-{secrets.token_hex(8)}")


def _waits() -> Iterator[float]:
    """Yield the waits between the tries of one record, without an end."""
    for attempt in count():
        yield min(2.0**attempt, _MAX_WAIT_SECONDS)
