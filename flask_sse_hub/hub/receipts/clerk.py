"""The clerk: this worker's part in the receipts.

Notes the clients that a fan-out reaches, looks a second later which of them have taken
the event, and reports that in the log. If no worker reports anything, one of all says
that the event is unheard. Does not know how the log is read.
"""

import contextlib
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...brokers import Broker
from ...errors import BrokerUnavailable
from ...events import address
from ...events.event import Event
from ...events.record import Cursor, is_beyond
from ...runtime.closing import Closed
from ...runtime.coded_log import CodedLog
from ...runtime.greenlets import unhurried
from ...runtime.rare_log import RareLog, Trouble
from ..clients.client import Client
from ..clients.registry import ClientRegistry
from ..delivery.progress import DeliveryProgress
from ..delivery.stretch import Frame
from ..presence.roster import Roster
from .fold import COMPLETE_SECONDS, ReceiptFold
from .headcount import Headcount
from .records import TTL_SECONDS, Report, record_of

log = CodedLog(__name__)

#: Receives an event that nobody has heard, its id, and its targets by their kind.
Unheard = Callable[[Event, str, dict[str, list[str]] | str], object]

# The time that an event has to reach its streams, and the pause between two looks.
_REPORT_SECONDS = 1.0
_TICK_SECONDS = 1.0

# A worker says that an event is unheard at a random moment of this range. So the others
# mostly find it said.
_LATER_SECONDS = (0.0, 2.0)

# After an outage of the log, the others have this time to report.
_PATIENCE_SECONDS = 5.0

# A present person may open a stream within the grace, and up to this many seconds
# later. After that the event is not judged any more.
_AFTER_GRACE_SECONDS = 10.0

# The most bytes of events and references to clients that wait to be reported.
_MOST_BYTES = 33_554_432
_NOTE_BYTES = 500
_REFERENCE_BYTES = 8


@dataclass(slots=True)
class _Note:
    """One event that was fanned out here, and the clients that it reached."""

    frame: Frame
    event: Event
    cursor: Cursor
    clients: Sequence[Client]
    since: float
    judged_at: float
    size: int
    is_reported: bool = False
    # The head of the log when this worker first found the event unheard.
    head: Cursor | None = None

    @property
    def event_id(self) -> str:
        return str(self.cursor)


class Clerk:
    """Report this worker's writes, and find the events that nobody has heard.

    Args:
        own_id: The id of this worker among the members.
        broker: The log.
        progress: The position of this worker in the log.
        registry: The clients of this worker.
        roster: The people who are present.
        grace: For how many seconds people who have gone are present.
        tell: Makes a call of the app's code in another thread.
        unheard: The app's function, None without any.
        clock: The monotonic clock, in seconds.

    """

    def __init__(
        self,
        own_id: str,
        *,
        broker: Broker,
        progress: DeliveryProgress,
        registry: ClientRegistry,
        roster: Roster,
        grace: float,
        tell: Callable[..., object],
        unheard: Unheard | None,
        clock: Callable[[], float],
    ) -> None:
        self._own_id = own_id
        self._broker = broker
        self._progress = progress
        self._registry = registry
        self._roster = roster
        self._most_seconds = grace + _AFTER_GRACE_SECONDS
        self._tell = tell
        self._call_app = unheard
        self._clock = clock
        #: The receipts at this worker's place in the log.
        self.fold = ReceiptFold(clock=clock, unheard=self._heard_of_silence)
        # Guards the notes and their size.
        self._lock = threading.Lock()
        self._notes: dict[str, _Note] = {}
        self._size = 0
        # No event is judged before this moment.
        self._not_before = 0.0
        self._trouble = Trouble()
        self._rare_log = RareLog(log, clock=clock)

    # The dispatcher's side

    def note(self, frame: Frame, cursor: Cursor) -> None:
        """Note an event with a receipt that is being fanned out, and its clients."""
        found = self._registry.listening(frame.heard_at, exclude=frame.exclude)
        self._note(frame, cursor, found)

    def note_earlier(self, frame: Frame, cursor: Cursor, *, age: float) -> None:
        """Note an event from before this worker's start, whose worker may be gone.

        Nothing is noted if others have reported, or if their reports may be gone.
        """
        if age < TTL_SECONDS / 2 and self.fold.receipt(str(cursor)) is None:
            self._note(frame, cursor, ())

    def _note(self, frame: Frame, cursor: Cursor, clients: Sequence[Client]) -> None:
        if frame.receipt is None:
            return
        now = self._clock()
        size = _NOTE_BYTES + frame.size + _REFERENCE_BYTES * len(clients)
        later = random.uniform(*_LATER_SECONDS)
        judged_at = now + COMPLETE_SECONDS + later
        note = _Note(frame, frame.receipt, cursor, clients, now, judged_at, size)
        with self._lock:
            is_room = self._size + size <= _MOST_BYTES
            if is_room:
                self._size += size
                self._notes[note.event_id] = note
        if is_room:
            self.fold.expect(note.event_id)
        else:
            self._rare_log.warning(
                "SSE-1513",
                "too many events with a receipt wait for their reports: this worker"
                " reports nothing for some",
            )

    def _forget(self, event_id: str) -> _Note | None:
        with self._lock:
            note = self._notes.pop(event_id, None)
            self._size -= 0 if note is None else note.size
        return note

    # The task

    def run(self, closed: Closed) -> None:
        """Report and judge every second, until ``closed`` is set."""
        while not closed.wait(_TICK_SECONDS):
            self.step()

    @property
    def waits(self) -> bool:
        """Whether events wait to be reported or judged."""
        return bool(self._notes)

    def step(self) -> None:
        """Report and judge the events that are due."""
        if not self.waits:
            return
        now = self._clock()
        try:
            self._report(upto=now - _REPORT_SECONDS)
            if now < self._not_before:
                # The time counts from the end of the outage.
                self._broker.head()
            elif not self._roster.stale:
                self._judge(now)
            self._trouble.is_over()
        except BrokerUnavailable as error:
            self._not_before = now + _PATIENCE_SECONDS
            if self._trouble.is_news(str(error)):
                log.warning(
                    "SSE-1514", "receipts cannot be written to the log yet: %s", error
                )

    def report_all(self) -> None:
        """Report all writes so far at once, because this worker is going."""
        with contextlib.suppress(BrokerUnavailable):
            self._report(upto=self._clock())

    def _waiting(self) -> list[_Note]:
        with self._lock:
            return list(self._notes.values())

    def _report(self, *, upto: float) -> None:
        for note in self._waiting():
            if not note.is_reported and note.since <= upto:
                report = self._report_of(note)
                if report.streams or report.late:
                    self._broker.publish(record_of(self._own_id, report))
                note.is_reported, note.clients = True, ()

    def _report_of(self, note: _Note) -> Report:
        written = [each for each in unhurried(note.clients) if _has_taken(each, note)]
        frame = note.frame
        there = self._registry.listening(frame.heard_at, exclude=frame.exclude)
        users = (each.user for each in written)
        return Report(
            note.event_id,
            streams=len(written),
            late=len(set(there).difference(written)),
            people=Headcount.of(user for user in users if user is not None),
        )

    def _judge(self, now: float) -> None:
        for note in self._waiting():
            if not note.is_reported or now < note.judged_at:
                continue
            is_old = now > note.since + self._most_seconds
            if self.fold.is_heard(note.event_id) or is_old:
                self._forget(note.event_id)
            elif not self._roster.lists(note.frame.addresses):
                self._say_unheard(note)

    def _say_unheard(self, note: _Note) -> None:
        if note.head is None:
            note.head = self._broker.head()
        if is_beyond(note.head, self._progress.position):
            # A report may be among the records that this worker has not read.
            return
        report = Report(note.event_id, unheard=True)
        once = f"unheard-{note.event_id}"
        self._broker.publish(record_of(self._own_id, report, once=once))

    def _heard_of_silence(self, event_id: str, worker: str) -> None:
        """Tell the app that an event is unheard, if this worker has said so first."""
        note = self._forget(event_id)
        if note is None or worker != self._own_id or self._call_app is None:
            return
        target = address.names_of(note.frame.addresses)
        self._tell(self._call_app, note.event, event_id, target)


def _has_taken(client: Client, note: _Note) -> bool:
    """Tell whether the connection of a client has taken an event.

    The client was registered when the event was fanned out. So it has taken the event
    if it keeps up, or has read beyond it. A client that has left keeps its last cursor.
    """
    if client.sink.writing_since is not None:
        return False
    if note.frame.ttl == 0 and client.since.offset >= note.cursor.offset:
        # It lagged, and so passed over the event.
        return False
    return client.cursor is None or client.cursor.offset >= note.cursor.offset
