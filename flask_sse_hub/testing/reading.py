"""One connection of a stream under test, read in a thread of its own.

Knows when to read and when to stop. What is waited for, and what is said where it does
not come, is the stream's.
"""

import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from .parser import Parser, ReceivedEvent
from .transport import Answer

# Who has gone is let go of at once. Only a generator that waits cannot be ended.
_PATIENCE = 2.0

_SHOWN_BYTES = 2_000

# A view that never stops would fill the memory; more than any test asks for at once.
_MAX_WAITING = 20_000


class Reading:
    """What came over one connection so far; ``changed`` guards it and tells of more."""

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
        #: What the app raised, instead of an answer or in the middle of one.
        self.failure: BaseException | None = None
        self.ended = False
        self.dropped = False
        #: The beginning of an answer that is no stream.
        self.refusal = b""
        #: Clear while the client takes nothing.
        self.takes = threading.Event()
        self.takes.set()
        #: What the hub calls this client, once it has said so.
        self.client_id: str | None = None
        self._ask = ask
        self._events = events
        self._thread = threading.Thread(
            target=self._run, name="sse-test-stream", daemon=True
        )
        self._thread.start()

    @property
    def is_stream(self) -> bool:
        """Whether the answer is an event stream, and no refusal."""
        return (
            self.answer is not None
            and self.answer.status == 200
            and self.answer.headers.get("Content-Type", "").startswith(
                "text/event-stream"
            )
        )

    def cut(self) -> bool:
        """Go away; tell whether what is read can be ended."""
        with self.changed:
            self.dropped = True
            answer = self.answer
            self.changed.notify_all()
        self.takes.set()
        return answer is None or answer.cut()

    def drop(self) -> None:
        """Go away, and wait until nothing is left of the connection."""
        self.cut()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            warnings.warn(
                "a view's generator waits for something although its client has gone,"
                " and holds a thread until it yields: give what it waits for a timeout",
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
        except BaseException as error:  # noqa: BLE001 - who waits for events raises it
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
            # Asked for only now: who takes nothing does not even ask for the next one.
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
                # A view may have events of that name of its own.
                with suppress(ValueError, TypeError, LookupError):
                    self.client_id = str(event.json()["client_id"])
