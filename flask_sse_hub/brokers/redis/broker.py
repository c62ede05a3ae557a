"""The broker for many machines, which keeps its log in a Redis stream.

Knows threads, reconnecting and how long a caller waits. Does not know what the stream
looks like; ``stream`` does.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from ...errors import BrokerUnavailable, SSEHubError
from ...events.address import Address
from ...events.record import Cursor, Record, Retention
from ...runtime.coded_log import CodedLog
from ...runtime.per_process import Home
from ...runtime.rare_log import Trouble
from ..base import Broker, LogBatch, LogError, LogState, Replay
from ..thread import BrokerThread, Call
from .stream import StreamLog
from .url import connector, ignored_options

log = CodedLog(__name__)

# A caller may be in a request, so it receives an answer or an error within two seconds.
# Redis has less time than the caller: its errors arrive before the caller gives up.
_CALL_SECONDS = 1.8
_ANSWER_SECONDS = 1.5

# How long a follower waits for new records before it checks that its log still exists.
# Must be less than _ANSWER_SECONDS, or a quiet log would look like a dead server.
_WAIT_SECONDS = 1.0

# How often a follower compares Redis's clock with this machine's. Clocks drift by
# milliseconds in that time.
_COMPARE_SECONDS = 60.0

# The first and the longest wait between attempts to reach a Redis that is down.
_FIRST_RETRY_SECONDS = 0.1
_MAX_RETRY_SECONDS = 2.0


class RedisBroker(Broker):
    """Keep a log in a Redis stream, for any number of machines.

    Each process has three connections: to append, to read and to follow. Redis's own
    persistence settings decide which records survive a crash of Redis.
    """

    reach: ClassVar[Literal["process", "machine", "network"]] = "network"

    def __init__(
        self,
        url: str,
        retention: Retention | None,
        *,
        name: str,
        create: bool = True,
    ) -> None:
        self._connect = connector(url)
        self._ignored = ignored_options(url)
        self._retention = retention
        self._name = name
        self._create = create
        self._clock_ahead = 0.0
        self._closed = threading.Event()
        self._appending = self._stream()
        self._reading = self._stream()
        self._writer = BrokerThread(
            self._append, finish=self._appending.close, within=_CALL_SECONDS
        )
        self._reader = BrokerThread(
            self._read, finish=self._reading.close, within=_CALL_SECONDS
        )

    def _stream(self) -> StreamLog:
        return StreamLog(
            self._connect,
            self._retention,
            name=self._name,
            timeout=_ANSWER_SECONDS,
            create=self._create,
        )

    @property
    def clock_ahead(self) -> float:
        """How many seconds Redis's clock is ahead, as a follower last saw it."""
        return self._clock_ahead

    def publish(self, record: Record) -> Cursor:
        """Append a record. Concurrent publishes share one round trip."""
        cursor: Cursor = self._writer.ask(record)
        return cursor

    def publish_together(self, records: Sequence[Record]) -> list[Cursor | LogError]:
        """Append several records, which share one round trip."""
        return self._writer.ask_together(records)

    def follow(self, after: Cursor) -> Iterator[LogBatch]:
        """Yield the records after a cursor, over a connection of its own."""
        stream = self._stream()
        home = Home()
        trouble = Trouble()
        retry = _FIRST_RETRY_SECONDS
        is_checked = False
        compares_at = float("-inf")
        if self._ignored:
            log.info(
                "options of the Redis URL without an effect here: %s",
                ", ".join(self._ignored),
            )
        try:
            # In a forked child, the copy of a reader ends.
            while not self._closed.is_set() and not home.left:
                try:
                    if not is_checked:
                        _warn_of_eviction(stream.evicts())
                        is_checked = True
                    if time.monotonic() >= compares_at:
                        self._clock_ahead = stream.clock_ahead()
                        compares_at = time.monotonic() + _COMPARE_SECONDS
                    batch = stream.read(after, wait=_WAIT_SECONDS)
                except BrokerUnavailable as error:
                    if trouble.is_news(str(error)):
                        log.warning(
                            "SSE-1204", "cannot follow the log, trying again: %s", error
                        )
                    stream.close()
                    self._closed.wait(retry)
                    retry = min(2 * retry, _MAX_RETRY_SECONDS)
                    continue
                if (count := trouble.is_over()) > 0:
                    retry = _FIRST_RETRY_SECONDS
                    log.info("following the log again, after %d failures", count)
                if batch is not None:
                    after = batch.cursor
                    yield batch
        finally:
            stream.close()

    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return a page of the retained records after a cursor."""
        found: Replay = self._reader.ask(lambda stream: stream.replay(after, page=page))
        return found

    def bridge(self, after: Cursor, addresses: Sequence[Address]) -> Cursor | None:
        """Return where a reader of some addresses goes on after a trim."""
        found: Cursor | None = self._reader.ask(
            lambda stream: stream.bridge(after, addresses)
        )
        return found

    def state(self) -> LogState:
        """Return the newest record of each address and key, in log order."""
        found: LogState = self._reader.ask(StreamLog.state)
        return found

    def head(self) -> Cursor:
        """Return the cursor of the newest record."""
        found: Cursor = self._reader.ask(StreamLog.head)
        return found

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain."""
        found: Cursor = self._reader.ask(lambda stream: stream.tail(max_bytes))
        return found

    def ended(self) -> Sequence[Address]:
        """Return the addresses of the sessions that ended last, the oldest first."""
        found: list[Address] = []
        after = "0-0"
        while after:
            ask = partial(StreamLog.ended, after=after)
            after, page = self._reader.ask(ask)
            if after:
                found += page
        return found

    def concerns(self) -> Iterator[tuple[str, str]]:
        """Yield the faults of the Redis."""
        stream = self._stream()
        try:
            stream.head()
            policy = stream.evicts()
            evicted = 0 if policy is None else stream.evicted()
        except BrokerUnavailable as error:
            yield str(error), "Start Redis, or give this user its rights."
            return
        finally:
            stream.close()
        if policy is not None:
            so_far = f", {evicted} keys so far" if evicted else ""
            text = (
                f"this Redis evicts keys (maxmemory-policy {policy}{so_far}): the log"
                " may go"
            )
            yield text, "Set maxmemory-policy to noeviction."

    def close(self) -> None:
        """End the followers within about a second. The log stays in Redis."""
        self._closed.set()
        self._reader.stop()
        self._writer.stop()

    # The methods below run in the real threads of _writer and _reader

    def _append(self, calls: list[Call]) -> None:
        answers: Sequence[Cursor | SSEHubError]
        try:
            answers = self._appending.append([call.argument for call in calls])
        except BrokerUnavailable as error:
            answers = [error] * len(calls)
        for call, answer in zip(calls, answers, strict=True):
            call.answer(answer)

    def _read(self, calls: list[Call]) -> None:
        # All these calls were made before this read, so one head answers all calls that
        # ask for it. Each new client asks for the head.
        head: Cursor | BrokerUnavailable | None = None
        for call in calls:
            if call.given_up:
                continue
            if call.argument is not StreamLog.head:
                call.answer(self._answer(call.argument))
                continue
            if head is None:
                head = self._answer(StreamLog.head)
            call.answer(head)

    def _answer(self, question: Callable[[StreamLog], Any]) -> Any:
        try:
            return question(self._reading)
        except BrokerUnavailable as error:
            return error


def _warn_of_eviction(policy: str | None) -> None:
    if policy is not None:
        log.warning(
            "SSE-1205",
            "this Redis evicts keys (maxmemory-policy %s): events or idempotency keys"
            " may be lost. Set maxmemory-policy to noeviction",
            policy,
        )
