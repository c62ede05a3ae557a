"""The response of an answer: what a view yields, as events to the client that asked.

Knows requests. Does not know brokers or hubs. docs/api.md has the promises on the wire.
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
from .body import AnswerBody, is_end_id
from .compressed_body import CODING, CompressedBody
from .producer import close_iterable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger(__name__)
_rare_log = RareLog(log)

# Iterables that yield letters, numbers or keys, which no view means as events.
_NO_ITEMS = (str, bytes, bytearray, memoryview, Mapping)

# The default: each item leaves in a write of its own.
_ONE_BY_ONE = Batch(size=1)


class EventSourceResponse(StreamResponse):
    """A response that sends what an iterable yields, each as an event, as it comes.

    Strings are sent as they are, an ``Event`` with its type, bytes must be UTF-8, and
    anything else goes through the app's JSON provider. The first bytes leave at once,
    and after ``heartbeat`` seconds without an event a comment does. ``batch`` has
    several events leave together.

    A clean end is told by an event of the type ``done``, an exception by one of the
    type ``error``, whose id is in the log with the traceback. A GET that comes back
    with the id of either, as a native EventSource does, is answered 204, and the
    iterable is closed without being iterated.

    The iterable runs in a thread of its own, or a greenlet where gevent has patched
    threads, without the request's context; with ``app_context`` in an app context of
    its own, so that it can use the database. Its ``close()`` is called exactly once,
    also when the client leaves: a greenlet is then interrupted, by GreenletExit, where
    it waits; a thread ends at its next item.

    It is compressed for clients that accept gzip, each event as it comes, unless
    ``compress`` is False.

    To be made in a request, for GET and POST. Raises ConfigurationError, and
    UnsupportedServer where an open stream would block other requests::

        @app.post("/ask")
        def ask():
            return EventSourceResponse(answer(request.get_json()["question"]))
    """

    def __init__(
        self,
        iterable: Iterable[Any],
        *,
        heartbeat: float = 15.0,
        batch: Batch | None = None,
        app_context: bool = False,
        compress: bool = True,
    ) -> None:
        _check(iterable, batch)
        checked_seconds(
            heartbeat,
            what="heartbeat",
            above=0.0,
            most=LONGEST_SECONDS,
            error=ConfigurationError,
        )
        check_server(request.environ)
        places = place_ledger()
        _check_room(iterable, places)
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        body = AnswerBody(
            iterable,
            heartbeat=heartbeat,
            batch=batch or _ONE_BY_ONE,
            dumps=app.json.dumps,
            around=app.app_context if app_context else nullcontext,
            connection=connection_of(request.environ),
            name=request.endpoint,
            places=places,
        )
        self._is_over = request.method in ("GET", "HEAD") and _had_its_end()
        compress = compress and not self._is_over
        coding = accepted_coding([CODING]) if compress else None
        super().__init__(CompressedBody(body) if coding else body, coding=coding)
        if self._is_over:
            self.status_code = 204

    def get_wsgi_response(
        self, environ: "WSGIEnvironment"
    ) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Stay with 204, the one answer after which a browser does not come back.

        A view that returns ``EventSourceResponse(...), 200`` means the first answer.
        """
        if self._is_over:
            self.status_code = 204
        return super().get_wsgi_response(environ)


def _check(iterable: object, batch: object) -> None:
    if isinstance(iterable, _NO_ITEMS) or not isinstance(iterable, Iterable):
        raise ConfigurationError(
            "EventSourceResponse takes what can be iterated and yields events, such as"
            f" a generator or a list, and not {type(iterable).__name__}"
        )
    if not isinstance(batch, Batch | None):
        raise ConfigurationError(
            f"batch must be a Batch, not {type(batch).__name__}: Batch(size=10)"
        )


def _check_room(iterable: Iterable[Any], places: PlaceLedger) -> None:
    """Abort where streams have taken all places that a worker has for them."""
    why = places.full()
    if why is not None:
        _rare_log.say("full", f"an answer was refused: {why}")
        close_iterable(iterable)
        abort(refused(why, status=503))


def _had_its_end() -> bool:
    """Tell whether this request comes back after the end of an answer."""
    last = last_event_id(request)
    return last is not None and is_end_id(last)
