"""A client of an endless stream, for tests: each wait has a deadline.

What a browser does, by hand: it connects, takes events, drops and comes back with its
last id. Reading goes on beside the test, in a thread.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from flask.testing import FlaskClient
from werkzeug.datastructures import Headers

from ..errors import ConfigurationError, EventMissing, UnexpectedEvent
from ..hub.hub import Hub
from ..streams.generator import EventStream
from ..web.app_state import AppState
from .listing import listed
from .parser import Parser, ReceivedEvent
from .reading import Reading
from .transport import Request, no_answer, opener

#: Far longer than anything takes on one machine; only a test that fails waits for it.
WITHIN = 5.0

# What the hub says for itself, and tests of an app seldom ask for.
_PASSED_OVER = frozenset({"connected", "ping"})

# An id of a log that no hub has: epochs are drawn at random and longer than this.
_OF_ANOTHER_LOG = "0-0"


#: One type of event or several; None is each but what the hub says for itself.
Types = str | Collection[str] | None


class Stream:
    """A stream under test, opened at once.

    For example::

        with Stream("/events?channel=news", client=app.test_client()) as stream:
            sse_hub.publish("hello", channel="news")
            assert stream.next().data == "hello"

    ``url`` is a path for a test client, whose cookies are used; without a ``client`` it
    is the address of a live server. ``json`` makes it a POST, unless ``method`` says
    otherwise. ``within`` is how long this and each later wait may take, in seconds.

    When it was made the server has answered: a hub knows the client, and what is
    published from now on will come. Raises what the app raised instead of an answer,
    OSError where no server is, and EventMissing without any answer in time.
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
            raise ConfigurationError(
                f"{url!r} is a path: give the client that opens it,"
                " client=app.test_client(), or the whole address of a server"
            )
        self._url = url
        self._client = client
        self._headers = {"Accept": "text/event-stream", **(headers or {})}
        self._method = method or ("GET" if json is None else "POST")
        self._json = json
        self._within = within
        self._came: deque[ReceivedEvent] = deque()
        self._reading = self._connect(last_event_id)

    # What the server said

    @property
    def status(self) -> int:
        """The status of the answer: 200, or that of a refusal."""
        return self._reading.answer.status if self._reading.answer else 0

    @property
    def headers(self) -> Headers:
        """The headers of the answer."""
        return self._reading.answer.headers if self._reading.answer else Headers()

    @property
    def text(self) -> str:
        """The beginning of an answer that is no stream, such as a refusal."""
        reading = self._reading
        with reading.changed:
            reading.changed.wait_for(
                lambda: reading.ended or reading.is_stream, self._within
            )
        return reading.refusal.decode(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether the server has ended the stream, or never began one."""
        reading = self._reading
        return not reading.dropped and (reading.ended or not reading.is_stream)

    @property
    def last_event_id(self) -> str:
        """The id that the client would come back with: of the last event that came."""
        return self._reading.parser.last_event_id

    @property
    def retry(self) -> float | None:
        """How long the server has told the client to wait before it comes back."""
        return self._reading.parser.retry

    # Events

    def next(self, type: Types = None, *, within: float | None = None) -> ReceivedEvent:
        """Return the next event, or the next one of a type, or of several.

        What comes before one of these is passed over; without a type it is only
        ``connected`` and ``ping``. Raises EventMissing at the deadline, or as soon as
        the stream has ended, and tells what came instead.
        """
        limit = self._within if within is None else within
        return self._next(type, limit, time.monotonic() + limit)

    def _next(self, type: Types, limit: float, deadline: float) -> ReceivedEvent:
        is_wanted = _of(type)
        passed: list[ReceivedEvent] = []
        for event in self._arriving(deadline):
            if is_wanted(event):
                return event
            passed.append(event)
        raise self._missing(f"no {_named(type)} came", limit, passed)

    def none(self, type: Types = None, *, within: float) -> None:
        """Wait for so long, and raise UnexpectedEvent if an event of a type comes.

        Nothing is taken: what came can still be asked for. Raises EventMissing where
        nothing could come, because the stream is not open or is paused().
        """
        is_wanted, reading = _of(type), self._reading

        def came() -> list[ReceivedEvent]:
            return [event for event in self._came if is_wanted(event)]

        with reading.changed:
            reading.changed.wait_for(lambda: reading.ended or came(), within)
            found = came()
        if found:
            raise UnexpectedEvent(
                f"{_named(type)} came from {self._url}:{_listed(found)}"
            )
        if not self._is_open():
            raise self._missing(f"no {_named(type)} could come", within, [])

    def events(
        self, count: int, *, type: Types = None, within: float | None = None
    ) -> list[ReceivedEvent]:
        """Return the next events, as next() does; the deadline is for all of them."""
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
        """Wait for the server to end the stream, and return the events up to there.

        Without ``connected`` and ``ping``; a 204, by which a server says that there is
        nothing more, has none. Raises EventMissing where the stream does not end, or
        never began, and what the app raised in the middle of it.
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

    # What clients do

    def drop(self) -> None:
        """Go away, as a closed tab or a lost network does.

        Events that came before can still be taken.
        """
        if not self._reading.cut():
            self._leave_hub()
        self._reading.drop()

    def resume(self, *, gap: bool = False, within: float | None = None) -> None:
        """Come back with the last id, as a browser does; drops first if need be.

        With ``gap`` it is the id of a log that is gone, as after an outage that history
        does not reach back over: a hub answers with ``reset``.
        """
        self.drop()
        last_event_id = _OF_ANOTHER_LOG if gap else self.last_event_id
        self._reading = self._connect(last_event_id, within=within)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take nothing within the block, as a client on a slow line.

        What is on its way already is still taken: the next chunk of an app, or what the
        kernel holds for a live connection.
        """
        reading = self._reading
        reading.takes.clear()
        try:
            yield
        finally:
            reading.takes.set()

    def close(self) -> None:
        """Go away for good; nothing is left open. Closing twice does nothing more."""
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
        """Yield events of all types until the deadline, and what had come by then."""
        while time.monotonic() < deadline:
            event = self._take(deadline)
            if event is None:
                return
            yield event
        # Not what comes meanwhile: a busy stream would never let it end.
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
            # There is room for another one.
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
        """Return how the stream stands, for the text of an error."""
        reading = self._reading
        if not reading.is_stream:
            text = reading.refusal.decode(errors="replace")
            return f"it was answered with {self.status}, {text!r:.200}"
        coding = self.headers.get("Content-Encoding")
        if coding is not None:
            return f"it is in {coding}, which is not read here: ask for no such thing"
        if reading.failure is not None:
            return f"the app raised {reading.failure!r}"
        if reading.dropped:
            return "the client has dropped, call resume()"
        if reading.ended:
            return f"the server has ended the stream{self._ends_told()}"
        if not reading.takes.is_set():
            return "the client takes nothing within paused()"
        return "the stream is open"

    def _leave_hub(self) -> None:
        """Have the hub's own iterable closed, whatever a middleware put around it.

        A generator around it cannot be closed while it waits for the next bytes.
        """
        hub, client_id = self._hub(), self._reading.client_id
        for client in hub.clients() if hub and client_id else ():
            if client.id == client_id and isinstance(client.sink, EventStream):
                client.sink.close()

    def _hub(self) -> Hub | None:
        """Return the hub of this process that the stream is of, if it is of one."""
        app = self._client.application if self._client is not None else None
        state = app.extensions.get("sse_hub") if app is not None else None
        return state.hub if isinstance(state, AppState) else None

    def _ends_told(self) -> str:
        """Return why a hub of this process has ended streams so far, if it has any."""
        hub = self._hub()
        ends = hub.stats().closed if hub is not None else {}
        told = ", ".join(f"{count} {reason}" for reason, count in ends.items())
        return f" (by the hub so far: {told})" if told else ""


def _of(type: Types) -> Callable[[ReceivedEvent], bool]:
    if type is None:
        return lambda event: event.type not in _PASSED_OVER
    wanted = {type} if isinstance(type, str) else set(type)
    return lambda event: event.type in wanted


def _named(type: Types) -> str:
    if type is None:
        return "event"
    wanted = [type] if isinstance(type, str) else type
    return f"event of type {' or '.join(map(repr, wanted))}"


def _listed(events: list[ReceivedEvent]) -> str:
    return listed((each.type, each) for each in events)
