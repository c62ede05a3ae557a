"""A client for tests of endless streams. Each wait has a deadline.

A test does by hand what a browser does: connect, take events, drop, and resume with the
last id. A thread reads the stream while the test runs. Knows events, and the hub only
to close streams and to explain their end. Does not know where the bytes come from.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers

from ..errors import EventMissing, InvalidOption, UnexpectedEvent
from ..hub.hub import Hub
from ..streams.generator import EventStream
from ..web.app_state import AppState
from .listing import listed
from .naming import Types, type_names
from .parser import Parser, ReceivedEvent
from .reading import Reading
from .transport import Request, no_answer, opener

#: The default deadline in seconds. Nothing takes nearly as long on one machine, so only
#: a test that fails waits until the end.
WITHIN = 5.0

# The hub's own events. They are skipped, because tests of an app rarely need them.
_PASSED_OVER = frozenset({"connected", "ping", "subscribed"})

# An id that no log of a hub contains: epochs are drawn at random and longer than this.
_OF_ANOTHER_LOG = "0-0"


class Stream:
    """A stream under test. Creating the object opens the stream.

    For example::

        with Stream("/events?channel=news", client=app.test_client()) as stream:
            sse_hub.publish("hello", channel="news")
            assert stream.next().data == "hello"
            stream.none(within=0.01)
            stream.drop()
            sse_hub.publish("missed", channel="news")
            stream.resume()
            assert stream.events(1)[0].data == "missed"
            with stream.paused():
                sse_hub.drain()
            stream.rest()
            stream.close()

    The server has responded when the constructor returns. The hub knows the client, and
    each event that is published from then on will arrive.

    Args:
        url: A path if there is a ``client``, otherwise the URL of a live server.
        client: The test client that opens the stream, with its cookies.
        headers: More headers of the request.
        method: The method of the request. None: GET, or POST with ``json``.
        json: The body of the request, which is sent as JSON. None: no body.
        last_event_id: The id after which the stream begins.
        within: How long the connection and each later wait may take, in seconds.

    Raises:
        InvalidOption: ``url`` is a path, and there is no ``client``.
        EventMissing: The server did not respond in time.
        OSError: No server listens at the URL.
        Exception: The app raised it instead of responding.

    """

    def __init__(
        self,
        url: str = "/events",
        *,
        client: FlaskClient | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        json: Any = None,
        last_event_id: str = "",
        within: float = WITHIN,
    ) -> None:
        if client is None and not url.startswith(("http://", "https://")):
            raise InvalidOption(
                f"{url!r} is a path and needs a test client: pass"
                " client=app.test_client(), or the full URL of a live server"
            )
        self._url = url
        self._client = client
        self._headers = {"Accept": "text/event-stream", **(headers or {})}
        self._method = method or ("GET" if json is None else "POST")
        self._json = json
        self._within = within
        self._came: deque[ReceivedEvent] = deque()
        self._reading = self._connect(last_event_id)

    # The response

    @property
    def status(self) -> int:
        """The status of the response: 200, or that of a refusal."""
        return self._reading.answer.status if self._reading.answer else 0

    @property
    def headers(self) -> Headers:
        """The headers of the response."""
        return self._reading.answer.headers if self._reading.answer else Headers()

    @property
    def text(self) -> str:
        """The beginning of a response that is not a stream, such as a refusal."""
        reading = self._reading
        with reading.changed:
            reading.changed.wait_for(
                lambda: reading.ended or reading.is_stream, self._within
            )
        return reading.refusal.decode(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether the server has ended the stream, or did not start one."""
        reading = self._reading
        return not reading.dropped and (reading.ended or not reading.is_stream)

    @property
    def last_event_id(self) -> str:
        """The id with which the client would resume: that of the last event."""
        return self._reading.parser.last_event_id

    @property
    def retry(self) -> float | None:
        """The delay in seconds that the server has set for reconnecting."""
        return self._reading.parser.retry

    def next(self, type: Types = None, *, within: float | None = None) -> ReceivedEvent:
        """Return the next event, or the next event of a type or of several types.

        A type is a name, or the class of a typed event of the client's app. Events of
        other types before it are skipped. Without a type, only ``connected``
        and ``ping`` are skipped.

        Args:
            type: The type or several, or the class of a typed event.
            within: The deadline in seconds. None: that of the stream.

        Raises:
            EventMissing: The stream has ended, or time is up. The text lists events.

        """
        limit = self._within if within is None else within
        return self._next(type, limit, time.monotonic() + limit)

    def _next(self, type: Types, limit: float, deadline: float) -> ReceivedEvent:
        names = type_names(type, self._app())
        is_wanted = _of(names)
        passed: list[ReceivedEvent] = []
        for event in self._arriving(deadline):
            if is_wanted(event):
                return event
            passed.append(event)
        raise self._missing(f"no {_named(names)} came", limit, passed)

    def none(self, type: Types = None, *, within: float) -> None:
        """Wait ``within`` seconds, and raise UnexpectedEvent if an event comes.

        Events that come can still be taken afterwards.

        Args:
            type: Only events of this type, or of these, count.
            within: For how many seconds to wait.

        Raises:
            UnexpectedEvent: An event came.
            EventMissing: No event could come: the stream is not open, or is paused().

        """
        names, reading = type_names(type, self._app()), self._reading
        is_wanted = _of(names)

        def came() -> list[ReceivedEvent]:
            return [event for event in self._came if is_wanted(event)]

        with reading.changed:
            reading.changed.wait_for(lambda: reading.ended or came(), within)
            found = came()
        if found:
            raise UnexpectedEvent(
                f"{_named(names)} came from {self._url}:{_listed(found)}"
            )
        if not self._is_open():
            raise self._missing(f"no {_named(names)} could come", within, [])

    def events(
        self, count: int, *, type: Types = None, within: float | None = None
    ) -> list[ReceivedEvent]:
        """Return the next events, as next() does.

        Args:
            count: How many events to wait for.
            type: The type or several, or the class of a typed event.
            within: The deadline in seconds for all of them. None: that of the stream.

        Raises:
            EventMissing: Fewer events came.

        """
        limit = self._within if within is None else within
        deadline = time.monotonic() + limit
        found: list[ReceivedEvent] = []
        while len(found) < count:
            try:
                found.append(self._next(type, limit, deadline))
            except EventMissing as missing:
                missing.add_note(
                    f"{len(found)} of {count} events had come:{_listed(found)}"
                )
                raise
        return found

    def rest(self, *, within: float | None = None) -> list[ReceivedEvent]:
        """Wait for the server to end the stream, and return the remaining events.

        ``connected`` and ``ping`` are left out. The status 204, by which a server says
        that the stream is over, gives an empty list. An exception of the app is raised.

        Args:
            within: The deadline in seconds. None: that of the stream.

        Raises:
            EventMissing: The stream does not end in time, or never began.

        """
        limit = self._within if within is None else within
        deadline = time.monotonic() + limit
        found = list(self._arriving(deadline))
        began = self._reading.is_stream or self.status == 204
        if not self.ended or not began:
            raise self._missing("the end of the stream did not come", limit, found)
        if self._reading.failure is not None:
            raise self._reading.failure
        return [event for event in found if event.type not in _PASSED_OVER]

    # The client's actions

    def drop(self) -> None:
        """Drop the connection, as a closed tab or a lost network does.

        Events that have already arrived can still be taken.
        """
        if not self._reading.cut():
            self._leave_hub()
        self._reading.drop()

    def resume(self, *, gap: bool = False, within: float | None = None) -> None:
        """Connect again with the last id, as a browser does. Drops first if necessary.

        Args:
            gap: Whether the client sends the id of a log that no longer exists, as
                after an outage that is longer than history. A hub then sends a
                ``reset`` event.
            within: The deadline in seconds. None: that of the stream.

        """
        self.drop()
        last_event_id = _OF_ANOTHER_LOG if gap else self.last_event_id
        self._reading = self._connect(last_event_id, within=within)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Read nothing within the block, as a client on a slow line.

        Bytes that are already on their way still arrive: the next chunk of an app, or
        the bytes that the kernel holds for a live connection.
        """
        reading = self._reading
        reading.takes.clear()
        try:
            yield
        finally:
            reading.takes.set()

    def close(self) -> None:
        """Close the stream, as the end of a ``with`` block does."""
        self.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _connect(self, last_event_id: str, within: float | None = None) -> Reading:
        limit = self._within if within is None else within
        headers = self._headers
        if last_event_id:
            headers = {**headers, "Last-Event-ID": last_event_id}
        request = Request(self._url, self._method, headers, self._json)
        reading = Reading(
            opener(self._client, request, within=limit),
            parser=Parser(last_event_id),
            events=self._came,
        )
        with reading.changed:
            reading.changed.wait_for(lambda: reading.answer or reading.ended, limit)
            if reading.answer is not None:
                return reading
            failure = reading.failure
        if failure is not None:
            raise failure
        reading.drop()
        raise EventMissing(no_answer(request, limit))

    def _arriving(self, deadline: float) -> Iterator[ReceivedEvent]:
        """Yield events of all types until the deadline, then those already received."""
        while time.monotonic() < deadline:
            event = self._take(deadline)
            if event is None:
                return
            yield event
        # Only the events received by now: on a busy stream this would never end.
        for _ in range(len(self._came)):
            event = self._take(deadline)
            if event is not None:
                yield event

    def _take(self, deadline: float) -> ReceivedEvent | None:
        """Return the next event of any type; None at the deadline or the end."""
        reading = self._reading
        with reading.changed:
            reading.changed.wait_for(
                lambda: self._came or reading.ended,
                max(0.0, deadline - time.monotonic()),
            )
            # The reading thread may wait for room.
            reading.changed.notify_all()
            return self._came.popleft() if self._came else None

    def _missing(
        self, what: str, limit: float, instead: list[ReceivedEvent]
    ) -> EventMissing:
        missing = EventMissing(
            f"{what} from {self._url} within {limit:.3g} s: {self._described()};"
            f" instead came:{_listed(instead)}"
        )
        missing.__cause__ = self._reading.failure
        return missing

    def _is_open(self) -> bool:
        reading = self._reading
        return reading.is_stream and not reading.ended and reading.takes.is_set()

    def _described(self) -> str:
        """Return the state of the stream, for the text of an error."""
        reading = self._reading
        if not reading.is_stream:
            text = reading.refusal.decode(errors="replace")
            return f"the server answered with {self.status}, {text!r:.200}"
        coding = self.headers.get("Content-Encoding")
        if coding is not None:
            return (
                f"it is in {coding}, which is not read here: leave out the request's"
                " Accept-Encoding"
            )
        if reading.failure is not None:
            return f"the app raised {reading.failure!r}"
        if reading.dropped:
            return "the client has dropped the connection, call resume()"
        if reading.ended:
            return f"the server has ended the stream{self._ends_told()}"
        if not reading.takes.is_set():
            return "the client takes nothing within paused()"
        return "the stream is open"

    def _leave_hub(self) -> None:
        """Close the hub's own iterable, past any middleware that wraps it.

        A wrapping generator cannot be closed while it waits for the next bytes.
        """
        hub, client_id = self._hub(), self._reading.client_id
        for client in hub.clients() if hub and client_id else ():
            if client.id == client_id and isinstance(client.sink, EventStream):
                client.sink.close()

    def _hub(self) -> Hub | None:
        """Return the hub that serves this stream if it runs in this process."""
        app = self._app()
        state = app.extensions.get("sse_hub") if app is not None else None
        return state.hub if isinstance(state, AppState) else None

    def _app(self) -> Flask | None:
        return self._client.application if self._client is not None else None

    def _ends_told(self) -> str:
        """Return the hub's close reasons so far, for the text of an error."""
        hub = self._hub()
        ends = hub.stats().closed if hub is not None else {}
        told = ", ".join(f"{count} {reason}" for reason, count in ends.items())
        return f" (by the hub so far: {told})" if told else ""


def _of(names: Sequence[str] | None) -> Callable[[ReceivedEvent], bool]:
    if names is None:
        return lambda event: event.type not in _PASSED_OVER
    return lambda event: event.type in names


def _named(names: Sequence[str] | None) -> str:
    if names is None:
        return "event"
    return f"event of type {' or '.join(map(repr, names))}"


def _listed(events: list[ReceivedEvent]) -> str:
    return listed((each.type, each) for each in events)
