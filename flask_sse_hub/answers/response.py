"""The response of an answer: the items of an iterable, as events for one request.

Knows requests. Does not know brokers or hubs. docs/responses.md says what clients can
rely on.
"""

import functools
import inspect
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, abort, current_app, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from ..errors import InvalidOption
from ..events.seconds import LONGEST_SHORT, checked_seconds
from ..events.typed.registry import EventTypes
from ..runtime.arguments import explaining
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog
from ..server.connection import connection_of, last_event_id
from ..server.places import PlaceLedger, place_ledger
from ..server.support import check_server
from ..streams.response import StreamResponse, accepted_coding, refused
from .batch import LONGEST_SECONDS, Batch
from .body import AnswerBody
from .compressed_body import CODING, CompressedBody
from .producer import Producer, close_iterable
from .protocols import ProtocolName, is_end_id, protocol_named

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = CodedLog(__name__)
_rare_log = RareLog(log)

# These iterables yield letters, numbers or keys. No view means those as events, so
# passing one is a mistake.
_NO_ITEMS = (str, bytes, bytearray, memoryview, Mapping)

#: The default batch. Each item leaves in a write of its own.
ONE_BY_ONE = Batch(size=1)


_HEADERS = (
    "Set it on the response: response = EventSourceResponse(items);"
    ' response.headers["X-Name"] = "value"'
)
_STATUS = "Return it with the response: return EventSourceResponse(items), 202"
_NO_MEDIA_TYPE = "Leave it out: the response is text/event-stream"
_HEARTBEAT = "Use heartbeat=, in seconds."
_FIRST = "Pass the iterable first, without a keyword."
_EVENT = "Each item has its own: yield Event(data, type=..., retry=...)"

# The keywords of other packages' responses.
_WORDS = {
    "headers": _HEADERS,
    "status": _STATUS,
    "status_code": _STATUS,
    "mimetype": _NO_MEDIA_TYPE,
    "media_type": _NO_MEDIA_TYPE,
    "content_type": _NO_MEDIA_TYPE,
    "ping": _HEARTBEAT,
    "ping_interval": _HEARTBEAT,
    "keepalive": _HEARTBEAT,
    "keep_alive": _HEARTBEAT,
    "content": _FIRST,
    "response": _FIRST,
    "generator": _FIRST,
    "event": _EVENT,
    "type": _EVENT,
    "retry": _EVENT,
    "background": "Do it in the iterable, in a `finally`.",
    "sep": "Leave it out: lines end with LF.",
    "send_timeout": "Leave it out: a client that takes nothing is cut off.",
}


class AnswerResponse(StreamResponse):
    """The response of an answer. Its status is 204 for a client that had the end.

    A native EventSource reconnects after the end, with the id of the last event.
    """

    def __init__(
        self,
        body: AnswerBody,
        *,
        compress: bool,
        headers: Mapping[str, str],
    ) -> None:
        self._is_over = _had_its_end()
        compress = compress and not self._is_over
        coding = accepted_coding([CODING]) if compress else None
        super().__init__(CompressedBody(body) if coding else body, coding=coding)
        self.headers.update(headers)
        if self._is_over:
            self.status_code = 204

    def get_wsgi_response(
        self, environ: "WSGIEnvironment"
    ) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Keep the status 204 after an end: only then does a browser not reconnect.

        A view that returns ``EventSourceResponse(...), 200`` sets another status, which
        is meant for the first request only.
        """
        if self._is_over:
            self.status_code = 204
        return super().get_wsgi_response(environ)


class LastingResponse(AnswerResponse):
    """The response of one reader of an answer that outlives its readers."""

    def __init__(self, *args: Any, keeps_cookies: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self._keeps_cookies = keeps_cookies

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        """Return the headers; with cookies for the visitor that started the answer.

        An anonymous visitor's session may begin with the answer. The response of a
        client that reconnects sets no cookie.
        """
        headers = super().get_wsgi_headers(environ)
        if self._keeps_cookies:
            for cookie in self.headers.getlist("Set-Cookie"):
                headers.add("Set-Cookie", cookie)
        return headers


class EventSourceResponse(AnswerResponse):
    """A response that sends each item of an iterable as an event, as soon as it comes.

    Create it within a request, for GET or POST::

        @app.post("/ask")
        def ask():
            return EventSourceResponse(answer(request.get_json()["question"]))

    Strings are sent as they are. An ``Event`` is sent with its type. Bytes must be
    UTF-8. An instance of a typed event is checked, and sent with its type. Any other
    item goes through the app's JSON provider. The first bytes of the response leave at
    once, before the first item.

    With the default protocol, the last event has the type ``done`` after a clean end,
    and the type ``error`` after an exception. The id of the ``error`` event is also in
    the log, with the traceback. A native EventSource reconnects after the end, with the
    id of the last event. Such a request is answered with 204, and the iterable is
    closed without being iterated.

    The iterable runs in a thread of its own, without the request's context. Where
    gevent has patched threads, it runs in a greenlet. Its ``close()`` is called exactly
    once, also when the client leaves. In that case a greenlet is interrupted where it
    waits, by GreenletExit; a thread ends at its next item.

    Args:
        iterable: The items, such as a generator or a list.
        heartbeat: A comment is sent after this many seconds without an event.
        batch: When several events leave together. None: each event leaves at once.
        app_context: Whether the iterable runs in an app context of its own. It needs
            one to use the database.
        compress: Whether the stream is compressed if the client accepts gzip. Each
            event can still be read as soon as it arrives.
        protocol: The clients that read the answer. ``"events"``: this package's own,
            and native EventSources. ``"openai"``: clients of OpenAI's API.
            ``"ai-sdk"``: the AI SDK of Vercel; strings become parts of the message.
            None: items are events as with ``"events"``, but no event tells of the end
            or of an error.

    Raises:
        InvalidOption: An argument has the wrong type or is out of its range.
        UnsupportedServer: An open stream would block other requests on this server.

    """

    @explaining("EventSourceResponse(items, heartbeat=15.0)", words=_WORDS)
    def __init__(
        self,
        iterable: Iterable[Any],
        *,
        heartbeat: float = 15.0,
        batch: Batch | None = None,
        app_context: bool = False,
        compress: bool = True,
        protocol: ProtocolName | None = "events",
    ) -> None:
        check_items(iterable, batch)
        spoken = protocol_named(protocol)
        check_heartbeat(heartbeat)
        check_server(request.environ)
        places = place_ledger()
        try:
            check_room(places, for_event_source=spoken.for_event_source)
        except HTTPException:
            close_iterable(iterable)
            raise
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        typed = _event_types(app) if spoken.for_event_source else EventTypes()
        body = AnswerBody(
            lambda convert: Producer(
                iterable,
                convert=lambda item: convert(typed.item(item, dumps=app.json.dumps)),
                around=app.app_context if app_context else nullcontext,
            ),
            heartbeat=heartbeat,
            batch=batch or ONE_BY_ONE,
            protocol=spoken,
            dumps=app.json.dumps,
            connection=connection_of(request.environ),
            name=request.endpoint,
            places=places,
            debug=app.debug,
        )
        super().__init__(body, compress=compress, headers=spoken.headers)


def _event_types(app: Flask) -> EventTypes:
    """Return the typed events of the app's hub. An app without one has none."""
    state = app.extensions.get("sse_hub")
    return EventTypes() if state is None else cast("EventTypes", state.event_types)


def check_heartbeat(heartbeat: float) -> None:
    """Raise InvalidOption for a heartbeat that is no number of seconds."""
    checked_seconds(
        heartbeat,
        what="heartbeat",
        above=0.0,
        most=LONGEST_SECONDS,
        error=InvalidOption,
    )
    if heartbeat > LONGEST_SHORT:
        _rare_log.warning(
            "SSE-1606",
            f"EventSourceResponse has heartbeat={heartbeat} (seconds, not"
            " milliseconds?)",
        )


def check_items(iterable: object, batch: object) -> None:
    """Raise InvalidOption for an iterable or a batch that is none."""
    if isinstance(iterable, _NO_ITEMS) or not isinstance(iterable, Iterable):
        raise InvalidOption(_no_iterable(iterable))
    if not isinstance(batch, Batch | None):
        raise InvalidOption(
            f"batch must be a Batch, such as Batch(size=10), not {type(batch).__name__}"
        )


def _no_iterable(given: object) -> str:
    """Return the text of the error for a value that yields no events."""
    if inspect.isasyncgenfunction(given) or inspect.iscoroutinefunction(given):
        return _no_async(f"the async function {given.__name__}")
    if isinstance(given, AsyncIterable):
        return _no_async(f"an {type(given).__name__}")
    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            # Python would warn that it was never awaited, which is not the mistake.
            given.close()
        return _no_async(f"a {type(given).__name__}")
    if inspect.isroutine(given) or isinstance(given, type | functools.partial):
        return (
            "EventSourceResponse takes an iterable, not a function; call it:"
            f" `{_call_of(given)}`"
        )
    hint = ". Does the function lack a `yield`?" if given is None else ""
    return (
        "EventSourceResponse takes an iterable that yields events, such as a generator"
        f" or a list, not {type(given).__name__}{hint}"
    )


def _no_async(what: str) -> str:
    return (
        f"async is not supported: EventSourceResponse takes a plain generator, not"
        f" {what}. Write `def` and `for` in place of `async def` and `async for`, and"
        " use the blocking client of your library: each stream runs in a greenlet or"
        " thread of its own"
    )


def _call_of(function: Callable[..., Any]) -> str:
    """Return the call of a function with the names of its parameters."""
    name = getattr(function, "__name__", type(function).__name__)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return f"{name}(...)"
    needed = [each.name for each in parameters if each.default is each.empty]
    return f"{name}({', '.join(needed)})"


def check_room(places: PlaceLedger, *, for_event_source: bool) -> None:
    """Abort the request with 503 if the worker has no place for another stream."""
    why = places.full()
    if why is not None:
        _rare_log.warning("SSE-1607", f"an answer was refused: {why}")
        abort(refused(why, status=503, for_event_source=for_event_source))


def _had_its_end() -> bool:
    """Tell whether the client of this request has received the end of an answer."""
    last = last_event_id(request)
    return last is not None and is_end_id(last)
