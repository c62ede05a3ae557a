"""Read an endless stream with a deadline, from any source of bytes."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Self

from tests.kit.decoding import decoder
from tests.kit.sse_parser import ParsedEvent, Parser

#: Far longer than any step takes; only a failing test waits for this long.
DEADLINE = 25.0


class EndOfStream(Exception):
    """Raised when the stream ends while a test waits for an event."""


class StreamReader:
    """Read events from a source of chunks in a thread of its own."""

    def __init__(self, chunks: Iterable[bytes], *, coding: str | None = None) -> None:
        self.parser = Parser()
        self._decode = decoder(coding)
        self.raw = b""
        self.events: list[ParsedEvent] = []
        self._chunks = chunks
        self._arrived: queue.Queue[bytes | None] = queue.Queue()
        self._waiting: deque[ParsedEvent] = deque()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for chunk in self._chunks:
                self._arrived.put(chunk)
        finally:
            self._close_source()
            self._arrived.put(None)

    def next(self, type: str | None = None, *, within: float = DEADLINE) -> ParsedEvent:
        """Return the next event, or the next of a type, skipping those before it."""
        deadline = time.monotonic() + within
        while True:
            while self._waiting:
                event = self._waiting.popleft()
                if type is None or event.type == type:
                    return event
            self._feed(deadline)

    def data(self, count: int, *, within: float = DEADLINE) -> list[str]:
        """Return the data of the app's next events."""
        return [self.next("message", within=within).data for _ in range(count)]

    def wait_for_end(self, *, within: float = DEADLINE) -> None:
        """Read until the stream ends."""
        deadline = time.monotonic() + within
        try:
            while True:
                self._feed(deadline)
        except EndOfStream:
            return

    def _feed(self, deadline: float) -> None:
        chunk = self._arrived.get(timeout=max(0.0, deadline - time.monotonic()))
        if chunk is None:
            self._arrived.put(None)
            raise EndOfStream
        text = self._decode(chunk)
        self.raw += text
        events = self.parser.feed(text)
        assert not self.parser.empty_blocks, "a blank line ended a block without data"
        self.events += events
        self._waiting.extend(events)

    @property
    def last_event_id(self) -> str:
        return self.parser.last_event_id

    def close(self) -> None:
        """Close the source, as a server does when its client has left."""
        self._close_source()
        self._thread.join(DEADLINE)

    def _close_source(self) -> None:
        close: Callable[[], Any] | None = getattr(self._chunks, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def wait_until(condition: Callable[[], object], *, within: float = DEADLINE) -> None:
    """Wait for a condition; fail at the deadline."""
    deadline = time.monotonic() + within
    pause = 0.005
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(pause)
        # A condition often is a request. Asked 200 times a second, it would slow down
        # the server that it waits for, and the tests that run beside it.
        pause = min(2 * pause, 0.05)
