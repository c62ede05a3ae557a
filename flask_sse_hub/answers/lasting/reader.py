"""One reader of an answer: a source of items that reads from the book.

It is also the sink of a client of the hub: the client listens to nothing, but a logout,
a disconnect and the limits concern it as they concern each stream.
"""

import json
import logging
import math
import socket
import threading
from typing import Any

from ...errors import BrokerUnavailable, ClientRefused
from ...events.event import Event
from ...hub.clients.client import Client
from ...hub.clients.close_reason import CloseReason
from ...runtime import sockets
from ..protocols import Failure, new_end_id
from ..source import Convert
from . import records
from .desk import Desk
from .entry import BookEntry
from .items import restored_item

log = logging.getLogger(__name__)

# After the end, a reader waits this long for a part that is missing in the book. The
# worker that has it may be some seconds behind, on a busy machine.
_MISSING_SECONDS = 20.0

_MISSING = "a part of the answer is missing"


class BookReader:
    """Read one answer from the book, from a position on.

    Args:
        desk: The desk of this process.
        entry: The answer.
        client: The client of the hub that stands for this reader.
        position: The position from which the reader goes on.
        convert: Encodes an item.
        connection: The socket of the reader, if it is known.
        announces: Whether the reader is told the answer's id in an event.
        resumes: Whether the client comes back by itself when its worker goes away.

    """

    delivery_kind = "answer"

    def __init__(
        self,
        desk: Desk,
        entry: BookEntry,
        client: Client,
        *,
        position: int,
        convert: Convert,
        connection: socket.socket | None,
        announces: bool,
        resumes: bool,
    ) -> None:
        self.error: BaseException | None = None
        self.exhausted = False
        self.failure: Failure | None = None
        self.reason: str | None = None
        # The server's thread writes, and nothing here knows when.
        self.writing_since: float | None = None
        self._desk = desk
        self._hub = desk.hub
        self._entry = entry
        self._client = client
        client.sink = self
        self._position = position
        self._progress_count = 0
        self._convert = convert
        self._connection = connection
        self._announces = announces
        self._resumes = resumes
        self._missing_since = math.inf
        # Guards the fields below, and is notified of each change.
        # Its own lock: with a plain one, gevent lets others run at each notify.
        self._changed = threading.Condition()
        self._woken = True
        self._started = False
        self._stopped = False

    # Called by the body

    def start(self) -> None:
        """Enter the hub, and begin to read."""
        with self._changed:
            if self._stopped:
                return
            self._started = True
        self._desk.reader_came(self._entry)
        self._entry.listen(self.wake)
        try:
            self._hub.connect(self._client, last_event_id=None)
        except (ClientRefused, BrokerUnavailable) as refusal:
            log.info("%r was refused: %s", self._client, refusal)
            self.stop()

    def take(self, timeout: float) -> list[Any] | None:
        """Return the next items, encoded. None at the end, and when reading ends."""
        found = self._due()
        if found is None or found:
            return found
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._stopped, timeout)
            self._woken = False
        return self._due()

    def wake(self) -> None:
        """Make take() look again."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Leave the hub, and read no more."""
        with self._changed:
            started, self._started = self._started, False
            self._stopped = True
            self._changed.notify_all()
        if not started or self._hub.inherited:
            return
        self._entry.unlisten(self.wake)
        self._desk.reader_left(self._entry)
        self._hub.leave(self._client, CloseReason.CLIENT_GONE)

    # The next items

    def _due(self) -> list[Any] | None:
        if self._stopped or self._must_leave():
            return None
        entry = self._entry
        # Noted first: then the content that is read next is all of the answer.
        is_complete = entry.is_complete
        items = self._announcement()
        passage = entry.after(self._position)
        if passage is not None:
            items += self._converted(passage.content, is_state=passage.is_joined)
            self._position = passage.upto
        if entry.progress_count > self._progress_count and entry.progress is not None:
            self._progress_count = entry.progress_count
            items.append(self._placed(entry.progress))
        if items:
            # The caller takes again before it waits.
            self.wake()
            return items
        if is_complete or self._waits_in_vain():
            self._note_end()
            return None
        return None if entry.is_forgotten else []

    def _must_leave(self) -> bool:
        """Tell whether the hub has closed this reader's client."""
        if self._may_stay():
            # A logout still ends it.
            return any(map(self._hub.has_ended, self._client.owners))
        return self._client.close_reason is not None

    def _may_stay(self) -> bool:
        """Tell whether the reader goes on while its worker finishes its requests.

        That is for a client that would not come back. Also, an answer that this worker
        runs may finish only as long as the server waits for a request.
        """
        is_draining = self._client.close_reason is CloseReason.SHUTDOWN
        return is_draining and (not self._resumes or self._desk.runs(self._entry))

    def _announcement(self) -> list[Any]:
        if not self._announces:
            return []
        self._announces = False
        return [self._placed(Event(json.dumps({"id": self._entry.begun.id}), "answer"))]

    def _converted(self, content: records.Content, *, is_state: bool) -> list[Any]:
        if isinstance(content, str):
            place = self._id(self._position + len(content))
            is_state = is_state and self._position == 0
            return [self._convert(content, event_id=place, is_state=is_state)]
        return [
            self._convert(restored_item(stored), event_id=self._id(position))
            for position, stored in enumerate(content, start=self._position + 1)
        ]

    def _placed(self, item: object) -> Any:
        return self._convert(item, event_id=self._id(self._position))

    def _id(self, position: int) -> str:
        return event_id(self._entry, position)

    def _waits_in_vain(self) -> bool:
        """Tell whether the end has come, and a missing part has not come since."""
        if self._entry.is_running:
            return False
        now = self._hub.clock()
        self._missing_since = min(self._missing_since, now)
        return now - self._missing_since >= _MISSING_SECONDS

    def _note_end(self) -> None:
        ended = self._entry.ended
        if ended is None or not self._entry.is_complete:
            self.failure = Failure(message=_MISSING, id=new_end_id(), reason="lost")
        elif records.STATES[ended.reason] in ("failed", "lost"):
            # Where nothing more is to say, an error has no word for programs.
            reason = None if ended.reason == "failed" else ended.reason
            self.failure = Failure(message=ended.message, id=ended.id, reason=reason)
        else:
            self.reason = None if ended.reason == "done" else ended.reason
            self.exhausted = True

    # Called by the hub, to which this is a sink

    def taking(self) -> bool:
        """Tell nothing: the server's thread writes."""
        return False

    def cut(self) -> None:
        """Shut the connection down, unless the reader may stay to the worker's end."""
        if self._connection is not None and not self._may_stay():
            sockets.shutdown(self._connection.fileno())

    def abandon(self) -> None:
        """Do nothing: the watch for departures lets go of connections."""


def event_id(entry: BookEntry, position: int) -> str:
    """Return the id of an event that ends at a position of an answer."""
    return f"{entry.begun.run}:{position}"


def position_of(event_id: str | None, entry: BookEntry) -> int:
    """Return the position from which a reader with an id goes on; 0 without one."""
    run, _, position = (event_id or "").partition(":")
    if run != entry.begun.run or not position.isdecimal() or len(position) > 9:
        return 0
    return int(position) if position.isascii() else 0
