"""The fold of receipts: the reports of all workers, added up for each event."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from ...events import address
from ...events.record import Record
from .headcount import Headcount
from .records import Report, read

#: A receipt is complete this many seconds after the event. A worker looks once a second
#: for events whose first second is over, and its report takes a moment.
COMPLETE_SECONDS = 3.0

# How many receipts are remembered: those that are not complete, with a headcount each,
# and those that are.
_MOST_OPEN = 1_000
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far an event has come on all workers, a second after it was published."""

    #: The streams to which it was written: their connections have taken it.
    streams: int = 0
    #: The different users of these streams. More than a thousand are estimated.
    people: int = 0
    #: Further streams at its addresses: they lag, or have opened since.
    late: int = 0
    #: Whether the event found no stream, and no present person, at its addresses.
    unheard: bool = False
    #: Whether all workers have reported.
    complete: bool = False


@dataclass(slots=True)
class _Open:
    """A receipt that is not complete, since a moment of the clock."""

    since: float
    receipt: Receipt = field(default_factory=Receipt)
    people: Headcount = Headcount()


class ReceiptFold:
    """The receipts of one log, as one worker knows them.

    ``unheard`` is called for each event that nobody has heard, with its id and the
    worker that says so. It returns at once.
    """

    kinds: Collection[str] = ("w",)

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        unheard: Callable[[str, str], object] = lambda *_: None,
    ) -> None:
        self._clock = clock
        self._unheard = unheard
        # Guards the fields below.
        self._lock = threading.Lock()
        # In the order of their moments.
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._complete: OrderedDict[str, Receipt] = OrderedDict()

    # The follower's side

    def restart(self) -> None:
        """Forget everything. The reports that are still in the log follow."""
        with self._lock:
            self._open.clear()
            self._complete.clear()

    def take(self, record: Record) -> None:
        """Take the next record."""
        report = read(record)
        if report is None:
            return
        with self._lock:
            self._add(report)
        if report.unheard:
            self._unheard(report.event_id, address.name_of(record.addresses[0]))

    def caught_up(self) -> None:
        """Do nothing: each report counts by itself."""

    def _add(self, report: Report) -> None:
        found = self._found(report.event_id)
        if found is None:
            # A worker that could not reach the log reports later. Its people may have
            # been counted before.
            before = self._complete[report.event_id]
            people = before.people + report.people.people
        else:
            before = found.receipt
            found.people = found.people.merged(report.people)
            people = found.people.people
        after = replace(
            before,
            streams=before.streams + report.streams,
            people=people,
            late=before.late + report.late,
            unheard=before.unheard or report.unheard,
        )
        if found is None:
            self._complete[report.event_id] = after
        else:
            found.receipt = after

    def _found(self, event_id: str) -> _Open | None:
        """Return the open receipt of an event, None if it is complete."""
        self._settle()
        if event_id in self._complete:
            return None
        return self._open.setdefault(event_id, _Open(self._clock()))

    def _settle(self) -> None:
        """Close the receipts that are complete, and forget the oldest ones."""
        now = self._clock()
        while self._open:
            event_id, oldest = next(iter(self._open.items()))
            is_due = now >= oldest.since + COMPLETE_SECONDS
            if not is_due and len(self._open) <= _MOST_OPEN:
                break
            del self._open[event_id]
            self._complete[event_id] = replace(oldest.receipt, complete=True)
        while len(self._complete) > _MOST:
            self._complete.popitem(last=False)

    # The worker's side

    def expect(self, event_id: str) -> None:
        """Note that an event with a receipt was fanned out."""
        with self._lock:
            self._found(event_id)

    def receipt(self, event_id: str) -> Receipt | None:
        """Return the receipt of an event, None for an unknown one."""
        with self._lock:
            self._settle()
            found = self._open.get(event_id)
            return self._complete.get(event_id) if found is None else found.receipt

    def is_heard(self, event_id: str) -> bool:
        """Tell whether any worker has, or had, a stream for an event."""
        receipt = self.receipt(event_id)
        return receipt is not None and receipt.streams + receipt.late > 0
