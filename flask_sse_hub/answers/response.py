"""The response of an answer: the items of an iterable, as events for one request.

Knows requests. Does not know brokers or hubs. docs/api.md says what clients can rely
on.
"""

import logging
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from flask import abort, current_app, request

from ..errors import ConfigurationError
from ..events.seconds import checked_seconds
from ..runtime.rare_log import RareLog
from ..server.connection import connection_of, last_event_id
from ..server.places import PlaceLedger, place_ledger
from ..server.support import check_server
from ..streams.response import StreamResponse, accepted_coding, refused
from .batch import LONGEST_SECONDS, Batch
from .body import AnswerBody
from .compressed_body import CODING, CompressedBody
from .producer import close_iterable
from .protocols import ProtocolName, is_end_id, protocol_named

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger(__name__)
_rare_log = RareLog(log)

# These iterables yield letters, numbers or keys. No view means those as events, so
# passing one is a mistake.
_NO_ITEMS = (str, bytes, bytearray, memoryview, Mapping)

# The default batch. Each item leaves in a write of its own.
_ONE_BY_ONE = Batch(size=1)


class EventSourceResponse(StreamResponse):
    """A response that sends each item of an iterable as an event, as soon as it comes.

    Create it within a request, for GET or POST::

        @app.post("/ask")
        def ask():
            return EventSourceResponse(answer(request.get_json()["question"]))

    Strings are sent as they are. An ``Event`` is sent with its type. Bytes must be
    UTF-8. Any other item goes through the app's JSON provider. The first bytes of the
    response leave at once, before the first item.

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
        compress: Whether the stream is compressed with gzip for browsers, and for
            programs that ask for it. Each event can still be read as soon as it
            arrives.
        protocol: The clients that read the answer. ``"events"``: this package's own,
            and native EventSources. ``"openai"``: clients of OpenAI's API.
            ``"ai-sdk"``: the AI SDK of Vercel; strings become parts of the message.
            None: items are events as with ``"events"``, but no event tells of the end
            or of an error.

    Raises:
        ConfigurationError: An argument has the wrong type or is out of its range.
        UnsupportedServer: An open stream would block other requests on this server.

    """

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
        _check(iterable, batch)
        spoken = protocol_named(protocol)
        checked_seconds(
            heartbeat,
            what="heartbeat",
            above=0.0,
            most=LONGEST_SECONDS,
            error=ConfigurationError,
        )
        check_server(request.environ)
        places = place_ledger()
        _check_room(iterable, places, for_event_source=spoken.for_event_source)
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        body = AnswerBody(
            iterable,
            heartbeat=heartbeat,
            batch=batch or _ONE_BY_ONE,
            protocol=spoken,
            dumps=app.json.dumps,
            around=app.app_context if app_context else nullcontext,
            connection=connection_of(request.environ),
            name=request.endpoint,
            places=places,
        )
        self._is_over = _had_its_end()
        compress = compress and not self._is_over
        coding = accepted_coding([CODING]) if compress else None
        super().__init__(CompressedBody(body) if coding else body, coding=coding)
        self.headers.update(spoken.headers)
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


def _check(iterable: object, batch: object) -> None:
    if isinstance(iterable, _NO_ITEMS) or not isinstance(iterable, Iterable):
        raise ConfigurationError(
            "EventSourceResponse takes an iterable that yields events, such as a"
            f" generator or a list, not {type(iterable).__name__}"
        )
    if not isinstance(batch, Batch | None):
        raise ConfigurationError(
            f"batch must be a Batch, such as Batch(size=10), not {type(batch).__name__}"
        )


def _check_room(
    iterable: Iterable[Any], places: PlaceLedger, *, for_event_source: bool
) -> None:
    """Abort the request with 503 if the worker has no place for another stream."""
    why = places.full()
    if why is not None:
        _rare_log.say("full", f"an answer was refused: {why}")
        close_iterable(iterable)
        abort(refused(why, status=503, for_event_source=for_event_source))


def _had_its_end() -> bool:
    """Tell whether the client of this request has received the end of an answer."""
    last = last_event_id(request)
    return last is not None and is_end_id(last)
