"""The body of an answer: the items of an iterable, as the bytes of an event stream.

The server iterates the body. Knows producers, batches and the watch for departures.
Does not know requests.
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

# A comment line. Clients dispatch no event for it.
_GREETING = _HEARTBEAT = b":\n\n"

# A comment that does not end a block. A peer that has left answers it with a reset.
_PROBE = b":\n"

# The ids of a hub's events have another form. Each answer has an end id of its own. A
# client gains nothing by inventing one: it only receives no answer.
_END_ID = re.compile(r"end-[0-9a-f]{16}")

# The default of SSE_HUB_CONNECTION_TIMEOUT. The setting itself belongs to a hub.
_UNACKNOWLEDGED_SECONDS = 60.0

_FAILED = "the stream ended by an error"
_SHUTDOWN = "the server is restarting"


class AnswerBody:
    """The body of the response. The server iterates it.

    The app's iterable starts when the server starts to iterate, so a HEAD request
    starts nothing. The iterable is stopped at the end or in close(), whichever comes
    first.
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
        # Without a merge, each item is encoded in the producer's thread, before the
        # iterable goes on and perhaps changes it.
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
        self._producer.stop()
        self._watch.remove(self)
        self._places.give_back(self)
        error = self._take_error()
        if error is not None:
            log.error(
                "the answer of endpoint %s failed after its client had left",
                self._name,
                exc_info=error,
            )

    def _take_error(self) -> BaseException | None:
        """Return the error that ended the iteration, and forget it.

        Its traceback would keep everything alive that the iterable referenced.
        """
        error, self._producer.error = self._producer.error, None
        return error

    # The next bytes

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
            # The app's merge or the JSON provider failed.
            self._producer.stop()
            self._state = self._end
            return self._failed(error)
        return self._end() if chunk is None else chunk

    def _await_chunk(self) -> bytes | None:
        """Return the bytes to write next, None when the peer has left."""
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
            # The heartbeat comes last. Otherwise a slow client would receive one with
            # each item.
            if not items and time.monotonic() >= silent_until:
                return _HEARTBEAT
        return None

    def _collected(self) -> bytes:
        items = self._collector.take()
        return b"".join(map(self._encode, items) if self._merges else items)

    def _rest(self) -> bytes:
        """Return the items that are still to be sent, and the event for the end."""
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
        """Log an error, and return the event that tells the client of it."""
        end_id = _end_id()
        log.error(
            "the answer of endpoint %s failed; its client was told with the id %s",
            self._name,
            end_id,
            exc_info=error,
        )
        return _last_block("error", end_id, message=_FAILED)

    def _end(self) -> bytes:
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
        self._producer.wake()

    def peer_left(self) -> None:
        """End without another byte, because nobody would read it."""
        self._peer_left = True
        self._producer.stop()

    def worker_leaves(self) -> None:
        """Send the items yielded so far, then the reason, and end."""
        self._worker_left = True
        self._producer.stop()

    def cut(self) -> None:
        """Shut the connection down. A write that blocks ends with an error."""
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
    """Tell whether an event id belongs to the last event of an answer."""
    return _END_ID.fullmatch(event_id) is not None
