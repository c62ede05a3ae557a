"""One connection of a stream under test. A thread of its own reads it.

Knows when to read and when to stop. Does not know which events the test waits for, or
what to report if they do not come: that is the stream's part.
"""

import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from .parser import Parser, ReceivedEvent
from .transport import Answer

# Seconds until drop() warns. A connection normally ends at once; only a generator that
# waits for something cannot be ended.
_PATIENCE = 2.0

_SHOWN_BYTES = 2_000

# More events than any test takes at once. Without a bound, a view that yields without
# end would fill the memory.
_MAX_WAITING = 20_000


class Reading:
    """The events that one connection has received so far.

    ``changed`` guards all fields, and is notified of each change.
    """

    def __init__(
        self,
        ask: Callable[[], Answer],
        *,
        parser: Parser,
        events: deque[ReceivedEvent],
    ) -> None:
        self.changed = threading.Condition()
        self.parser = parser
        self.answer: Answer | None = None
        #: The exception that the app raised, before or within its response.
        self.failure: BaseException | None = None
        self.ended = False
        self.dropped = False
        #: The beginning of a response that is not a stream.
        self.refusal = b""
        #: Set while the client reads; clear while it is paused.
        self.takes = threading.Event()
        self.takes.set()
        #: The client's id, once the hub's greeting has named it.
        self.client_id: str | None = None
        self._ask = ask
        self._events = events
        self._thread = threading.Thread(
            target=self._run, name="sse-test-stream", daemon=True
        )
        self._thread.start()

    @property
    def is_stream(self) -> bool:
        """Whether the response is an event stream, and not a refusal."""
        return (
            self.answer is not None
            and self.answer.status == 200
            and self.answer.headers.get("Content-Type", "").startswith(
                "text/event-stream"
            )
        )

    def cut(self) -> bool:
        """Leave the connection. Returns False if its reading cannot be ended now."""
        with self.changed:
            self.dropped = True
            answer = self.answer
            self.changed.notify_all()
        self.takes.set()
        return answer is None or answer.cut()

    def drop(self) -> None:
        """Leave the connection, and wait until its thread has ended.

        Warns if a generator of the app keeps the thread.
        """
        self.cut()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            warnings.warn(
                "a view's generator still waits although its client has left, and holds"
                " a thread until it yields: add a timeout to its wait",
                ResourceWarning,
                stacklevel=3,
            )

    def _run(self) -> None:
        try:
            answer = self._ask()
            with self.changed:
                self.answer = answer
                self.changed.notify_all()
            try:
                self._read(answer.chunks())
            finally:
                answer.close()
        except BaseException as error:  # noqa: BLE001 - the stream raises it
            with self.changed:
                self.failure = None if self.dropped else error
        finally:
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    def _has_room(self) -> bool:
        return self.dropped or len(self._events) < _MAX_WAITING

    def _read(self, chunks: Iterator[bytes]) -> None:
        while True:
            self.takes.wait()
            with self.changed:
                self.changed.wait_for(self._has_room)
            # Only here: a paused client must not even ask the app for its next chunk.
            chunk = None if self.dropped else next(chunks, None)
            with self.changed:
                if chunk is None or self.dropped:
                    return
                if self.is_stream:
                    events = self.parser.feed(chunk)
                    self._look_for_id(events)
                    self._events.extend(events)
                elif len(self.refusal) < _SHOWN_BYTES:
                    self.refusal += chunk
                self.changed.notify_all()

    def _look_for_id(self, events: list[ReceivedEvent]) -> None:
        for event in events:
            if event.type == "connected" and self.client_id is None:
                # A view's own events may have the type ``connected`` too.
                with suppress(ValueError, TypeError, LookupError):
                    self.client_id = str(event.json()["client_id"])
