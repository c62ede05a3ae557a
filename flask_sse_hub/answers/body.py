"""The body of an answer: an iterable of the app, as the bytes of an event stream.

Its server iterates it. Knows producers, batches and the watch for departures. Does not
know requests.
"""

import json
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Self

from ..events.event import Event, encode_block, text_of
from ..runtime import sockets
from ..server.places import PlaceLedger
from .batch import Batch, Collector
from .departures import departures
from .producer import Producer

log = logging.getLogger(__name__)

# A comment line: no client dispatches anything for it.
_GREETING = _HEARTBEAT = b":\n\n"

# A question whether the peer is there, without ending a block.
_PROBE = b":\n"

# A hub's event ids have another form. No two answers have the same end id, and a client
# that invents one only spares itself an answer.
_END_ID = re.compile(r"end-[0-9a-f]{16}")

# The default of SSE_HUB_CONNECTION_TIMEOUT, which belongs to a hub.
_UNACKNOWLEDGED_SECONDS = 60.0

_FAILED = "the stream ended by an error"
_SHUTDOWN = "the server is restarting"


class AnswerBody:
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
        places: PlaceLedger,
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
        self._places = places
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
        self._places.give_back(self)
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
        self._places.take(self)
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


def is_end_id(event_id: str) -> bool:
    """Tell whether an event id is that of an answer's end."""
    return _END_ID.fullmatch(event_id) is not None
