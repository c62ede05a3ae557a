"""The stream of one request: what a view yields, as events to whoever asked.

Knows requests, and no broker; of a hub only how many places its streams have taken.
What it promises on the wire is in docs/api.md.
"""

import json
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from flask import abort, current_app, request

from ..errors import ConfigurationError
from ..events.event import Event, encode_block, text_of
from ..hub.heartbeat import places_of, serving_worker, worker_threads
from ..runtime import sockets
from ..runtime.rare_log import SparseLog
from ..streams.generator import check_server, connection_of
from ..streams.response import StreamResponse, accepted_coding, refused
from .batch import Batch, Collector, check_seconds
from .compressed_body import CODING, CompressedBody
from .departures import departures
from .producer import Producer, close_iterable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger(__name__)
_sparse_log = SparseLog(log)

# A comment line: no client dispatches anything for it.
_GREETING = _HEARTBEAT = b":\n\n"

# Whether a peer is there, asked without ending a block.
_PROBE = b":\n"

# A hub's event ids have another form. No two streams have the same, and a client that
# invents one only spares itself an answer.
_END_ID = re.compile(r"end-[0-9a-f]{16}")

# As SSE_HUB_CONNECTION_TIMEOUT has it, which needs a hub.
_UNACKNOWLEDGED_SECONDS = 60.0

_FAILED = "the stream ended by an error"
_SHUTDOWN = "the server is restarting"

# What can be iterated, and yields what nobody means: letters, numbers and keys.
_NO_ITEMS = (str, bytes, bytearray, memoryview, Mapping)

# One item is one write, where nothing else is wanted.
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
        check_seconds(heartbeat, what="heartbeat")
        check_server(request.environ, threads=worker_threads)
        _check_room(iterable)
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        body = AnswerStream(
            iterable,
            heartbeat=heartbeat,
            batch=batch or _ONE_BY_ONE,
            dumps=app.json.dumps,
            around=app.app_context if app_context else nullcontext,
            connection=connection_of(request.environ),
            name=request.endpoint,
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


def _check_room(iterable: Iterable[Any]) -> None:
    """Abort where streams have taken what a worker does not keep for other requests."""
    places = places_of(serving_worker())
    why = places.full(_taken()) if places else None
    if why is not None:
        _sparse_log.say("full", f"a stream was refused: {why}")
        close_iterable(iterable)
        abort(refused(why, status=503))


def _taken() -> int:
    """Return how many places streams have taken: such as these, and the hub's."""
    app_hub = current_app.extensions.get("sse_hub")
    return len(departures()) + (0 if app_hub is None else app_hub.places_taken())


def _had_its_end() -> bool:
    """Tell whether this request comes back after the end of a stream."""
    last = request.headers.get("Last-Event-ID") or request.args.get("last_event_id")
    return last is not None and _END_ID.fullmatch(last) is not None


class AnswerStream:
    """The body of the response, as its server iterates it.

    The iterable begins when iteration does, so that a HEAD request starts nothing, and
    is stopped at the end or in close(), whichever comes first.
    """

    def __init__(
        self,
        iterable: Iterable[Any],
        *,
        heartbeat: float,
        batch: Batch,
        dumps: Callable[[Any], str],
        around: Callable[[], AbstractContextManager[Any]],
        connection: socket.socket | None,
        name: str | None,
    ) -> None:
        self.on_close: Callable[[], None] | None = None
        self._heartbeat = heartbeat
        self._collector = Collector(batch)
        self._encode = partial(_encode, dumps=dumps)
        self._merges = batch.merge is not None
        # Encoded at once, since the iterable may go on to change what it has yielded.
        self._producer = (
            Producer(iterable, around=around)
            if self._merges
            else Producer(iterable, around=around, convert=self._encode)
        )
        self._socket = connection
        self._name = name
        self._watch = departures()
        self._silent_since = 0.0
        self._probes = False
        self._worker_left = False
        self._peer_left = False
        self._state: Callable[[], bytes] = self._greet

    # What the server calls

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = self._state()
        except BaseException:
            # Also where a worker at the end of its patience interrupts its requests.
            self._let_go()
            raise
        self._silent_since = time.monotonic()
        return chunk

    def close(self) -> None:
        """Stop the iterable. The server calls this however the stream ended."""
        self._state = self._end
        self._let_go()
        self._socket = None
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()

    def _let_go(self) -> None:
        self._producer.stop()
        self._watch.remove(self)
        error = self._take_error()
        if error is not None:
            log.error(
                "the stream of %s failed, and its client was not there to be told",
                self._name,
                exc_info=error,
            )

    def _take_error(self) -> BaseException | None:
        """Return what ended the iteration, once.

        It is not kept: with its traceback it keeps all that the iterable held.
        """
        error, self._producer.error = self._producer.error, None
        return error

    # What is next

    def _greet(self) -> bytes:
        self._state = self._go_on
        if self._socket is not None:
            sockets.limit_unacknowledged(self._socket, _UNACKNOWLEDGED_SECONDS)
        self._watch.add(self, self._socket)
        self._producer.start()
        return _GREETING

    def _go_on(self) -> bytes:
        try:
            chunk = self._await_chunk()
        except Exception as error:  # noqa: BLE001 - _failed() logs it
            # What was yielded could not be merged.
            self._producer.stop()
            self._state = self._end
            return self._failed(error)
        return self._end() if chunk is None else chunk

    def _await_chunk(self) -> bytes | None:
        """Return what is written next, None when nobody is there to read it."""
        while not self._peer_left:
            now = time.monotonic()
            if now >= self._collector.due:
                return self._collected()
            if self._probes:
                self._probes = False
                return _PROBE
            silent_until = self._silent_since + self._heartbeat
            until = min(silent_until, self._collector.due)
            items = self._producer.take(max(0.0, until - now))
            if items is None:
                return None if self._peer_left else self._rest()
            for item in items:
                self._collector.add(item, now=time.monotonic())
            # Not first of all, or a slow client would get one with each item.
            if not items and time.monotonic() >= silent_until:
                return _HEARTBEAT
        return None

    def _collected(self) -> bytes:
        items = self._collector.take()
        return b"".join(map(self._encode, items) if self._merges else items)

    def _rest(self) -> bytes:
        """Return the rest of what was yielded, and how it ended."""
        rest = self._collected()
        self._state = self._end
        error = self._take_error()
        if error is not None:
            end = self._failed(error)
        elif self._worker_left and not self._producer.exhausted:
            end = _last_block("error", reason="shutdown", message=_SHUTDOWN)
        else:
            end = _last_block("done")
        return rest + end

    def _failed(self, error: BaseException) -> bytes:
        """Log an error, and return what the client is told of it."""
        end_id = _end_id()
        log.error(
            "the stream of %s failed, which its client was told with the id %s",
            self._name,
            end_id,
            exc_info=error,
        )
        return _last_block("error", end_id, message=_FAILED)

    def _end(self) -> bytes:
        if self._watch.worker_is_leaving and self._socket is not None:
            # The server would wait for the next request on this connection, for
            # seconds that a worker on its way out does not have.
            sockets.shutdown(self._socket.fileno(), socket.SHUT_RD)
        # Not only in close(), which some middlewares forget to call.
        self._let_go()
        raise StopIteration

    # What the watch for departures calls

    def probe(self) -> None:
        """Write a comment: a peer that is gone answers it with a reset."""
        self._probes = True
        self._producer.wake()

    def peer_left(self) -> None:
        """End without a word."""
        self._peer_left = True
        self._producer.stop()

    def worker_leaves(self) -> None:
        """End with what has been yielded, and say why."""
        self._worker_left = True
        self._producer.stop()

    def cut(self) -> None:
        """Shut the connection down, which ends a write that blocks."""
        connection = self._socket
        if connection is not None:
            sockets.shutdown(connection.fileno())


def _encode(item: Any, *, dumps: Callable[[Any], str]) -> bytes:
    if not isinstance(item, Event):
        item = Event(text_of(item, dumps=dumps))
    return encode_block(item.data, type=item.type, retry=item.retry)


def _end_id() -> str:
    return f"end-{secrets.token_hex(8)}"


def _last_block(type: str, end_id: str | None = None, **data: str) -> bytes:
    end_id = end_id or _end_id()
    return encode_block(json.dumps({**data, "id": end_id}), type=type, event_id=end_id)
