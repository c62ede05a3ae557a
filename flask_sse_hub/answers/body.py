"""The body of an answer: the items of an iterable, as the bytes of an event stream.

The server iterates the body. Knows batches, the source of the items, and the watch for
departures. Does not know requests.
"""

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from ..errors import InvalidEvent, SSEHubError
from ..runtime import sockets
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog
from ..server.places import PlaceLedger
from .batch import Batch, Collector
from .departures import departures
from .protocols import AnswerProtocol, Dumps, Failure, new_end_id
from .source import Convert, Source

log = CodedLog(__name__)
_rare_log = RareLog(log)

#: A comment line, written between blocks. No blank line follows it, because some
#: clients dispatch an empty event at each blank line. A peer that has left answers with
#: a reset.
COMMENT = b":\n"

# The default of SSE_HUB_CONNECTION_TIMEOUT. The setting itself belongs to a hub.
_UNACKNOWLEDGED_SECONDS = 60.0

# No bytes. They are never handed to the server: it might take them for the end.
_NOTHING = b""

_FAILED = "the stream ended by an error"
_SHUTDOWN = "the server is restarting"
_CLOSED = "the server has closed the stream"
_UNTOLD = "its client was told nothing, because its protocol has no event for errors"

# Stands for an item that is not sent.
_LEFT_OUT = object()


class AnswerBody:
    """The body of the response. The server iterates it.

    ``new_source`` makes the source of the items; it is given the function that encodes
    them. The source starts when the server starts to iterate, so a HEAD request starts
    nothing. It is stopped at the end or in close(), whichever comes first.

    ``greeting`` is the first bytes. ``resumes`` tells whether a client that lost its
    connection comes back by itself, and then receives the rest of this answer.
    """

    def __init__(
        self,
        new_source: Callable[[Convert], Source],
        *,
        heartbeat: float,
        batch: Batch,
        protocol: AnswerProtocol,
        dumps: Dumps,
        connection: socket.socket | None,
        name: str | None,
        places: PlaceLedger,
        debug: bool,
        greeting: bytes = COMMENT,
        resumes: bool = False,
    ) -> None:
        self.on_close: Callable[[], None] | None = None
        self._heartbeat = heartbeat
        self._collector = Collector(batch)
        self._writer = protocol.new_writer(dumps)
        self._remedy = protocol.remedy
        self._merges = batch.merge is not None
        # Without a merge, the source encodes each item: a producer does so before its
        # iterable goes on and perhaps changes the item.
        encode = _same if self._merges else self._written
        convert = partial(_unless_end, is_end=protocol.is_end, convert=encode)
        self._source = new_source(convert)
        self._greeting = greeting
        self._resumes = resumes
        self._socket = connection
        self._name = name
        self._debug = debug
        self._habit_told = False
        self._places = places
        self._watch = departures()
        self._silent_since = 0.0
        self._probes = False
        self._worker_left = False
        self._peer_left = False
        # Whether the answer is incomplete, and no event could say so.
        self._breaks_off = False
        self._state: Callable[[], bytes] = self._greet

    # Called by the server

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = self._state()
        except BaseException:
            # BaseException, because a worker that stops waiting may interrupt its
            # requests with one.
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
        self._source.stop()
        self._watch.remove(self)
        self._places.give_back(self)
        error = self._take_error()
        if error is not None:
            _rare_log.exception(
                "SSE-1601",
                "the answer of endpoint %s failed after its client had left",
                self._name,
                error=error,
            )

    def _take_error(self) -> BaseException | None:
        """Return the error that ended the iteration, and forget it.

        Its traceback would keep everything alive that the iterable referenced.
        """
        error, self._source.error = self._source.error, None
        return error

    # The next bytes

    def _greet(self) -> bytes:
        self._state = self._go_on
        if self._socket is not None:
            sockets.limit_unacknowledged(self._socket, _UNACKNOWLEDGED_SECONDS)
        self._watch.add(self, self._socket)
        self._places.take(self, is_answer=True)
        self._source.start()
        return self._greeting

    def _go_on(self) -> bytes:
        try:
            chunk = self._await_chunk()
        except Exception as error:  # noqa: BLE001 - _failed() logs it
            # The app's merge or the JSON provider failed.
            self._source.stop()
            self._state = self._end
            chunk = self._failed(error)
        return chunk or self._end()

    def _await_chunk(self) -> bytes:
        """Return the bytes to write next; none at the end, or if the peer has left."""
        while not self._peer_left:
            now = time.monotonic()
            if now >= self._collector.due:
                return self._collected()
            if self._probes:
                self._probes = False
                return COMMENT
            silent_until = self._silent_since + self._heartbeat
            until = min(silent_until, self._collector.due)
            items = self._source.take(max(0.0, until - now))
            if items is None:
                return _NOTHING if self._peer_left else self._rest()
            for item in items:
                if item is not _LEFT_OUT:
                    self._collector.add(item, now=time.monotonic())
            # The heartbeat comes last. Otherwise a slow client would receive one with
            # each item.
            if not items and time.monotonic() >= silent_until:
                return COMMENT
        return _NOTHING

    def _collected(self) -> bytes:
        items = self._collector.take()
        return b"".join(map(self._written, items) if self._merges else items)

    def _rest(self) -> bytes:
        """Return the items that are still to be sent, and the bytes for the end."""
        rest = self._collected()
        self._state = self._end
        error = self._take_error()
        if error is not None:
            end = self._failed(error)
        elif self._source.failure is not None:
            end = self._break_off(self._source.failure)
        elif self._source.exhausted:
            end = self._writer.end(reason=self._source.reason)
        elif self._resumes:
            # The client comes back, and is served or refused by another response.
            end = _NOTHING
        elif self._worker_left:
            shutdown = Failure(message=_SHUTDOWN, reason="shutdown", id=new_end_id())
            end = self._break_off(shutdown)
        else:
            closed = Failure(message=_CLOSED, reason="closed", id=new_end_id())
            end = self._break_off(closed)
        return rest + end

    def _failed(self, error: BaseException) -> bytes:
        """Log an error, and return the bytes that tell the client of it."""
        end_id = new_end_id()
        # Only a developer's own page may show the text: it can name values of the app.
        shown = self._debug and isinstance(error, SSEHubError)
        text = str(error) if shown else _FAILED
        told = self._break_off(Failure(message=text, id=end_id))
        how = f"its client was told with the id {end_id}" if told else _UNTOLD
        line = "the answer of endpoint %s failed; %s"
        if not _rare_log.exception("SSE-1602", line, self._name, how, error=error):
            log.error("SSE-1602", line, self._name, how)
        return told

    def _break_off(self, failure: Failure) -> bytes:
        told = self._writer.failure(failure)
        self._breaks_off = not told
        return told

    def _written(self, item: Any, **place: Any) -> bytes:
        self._look_at(item)
        return self._writer.item(item, **place)

    def _look_at(self, item: object) -> None:
        """Tell of an item in the form of another package, once for each response.

        In debug mode it ends the answer by an error, which the page shows.
        """
        remedy = None if self._habit_told else self._remedy(item)
        if remedy is None:
            return
        if self._debug:
            raise InvalidEvent(remedy)
        self._habit_told = True
        _rare_log.warning(
            "SSE-1603",
            "the answer of endpoint %s is probably not as meant: %s",
            self._name,
            remedy,
            kind=(self._name, remedy),
        )

    def _end(self) -> bytes:
        if self._breaks_off:
            # Otherwise the client would take what it has for the whole answer.
            self.cut()
        if self._watch.worker_is_leaving and self._socket is not None:
            # The server would otherwise wait for the next request on this connection. A
            # worker that is shutting down does not have those seconds.
            sockets.shutdown(self._socket.fileno(), socket.SHUT_RD)
        # close() releases everything too, but some middlewares forget to call it.
        self._let_go()
        raise StopIteration

    # Called by the watch for departures

    def probe(self) -> None:
        """Write a comment. A peer that has left answers it with a reset."""
        self._probes = True
        self._source.wake()

    def peer_left(self) -> None:
        """End without another byte, because nobody would read it."""
        self._peer_left = True
        self._source.stop()

    def worker_leaves(self) -> None:
        """Send the items yielded so far, then the reason, and end."""
        self._worker_left = True
        self._source.stop()

    def cut(self) -> None:
        """Shut the connection down. A write that blocks ends with an error."""
        connection = self._socket
        if connection is not None:
            sockets.shutdown(connection.fileno())


def _same(item: Any) -> Any:
    return item


def _unless_end(
    item: Any, *, is_end: Callable[[Any], bool], convert: Convert, **place: Any
) -> Any:
    return _LEFT_OUT if is_end(item) else convert(item, **place)
