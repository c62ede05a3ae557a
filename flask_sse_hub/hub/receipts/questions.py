"""The question for a receipt, asked in the same way inside the app and outside it."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from ...brokers import Broker
from ...errors import InvalidName
from ...events.record import Cursor
from ...runtime.arguments import explaining
from ..folds import Folds
from .fold import Receipt, ReceiptFold

_PAGE = 1_000


class AnswersReceipts(ABC):
    """The method ``receipts()``."""

    @explaining("receipts(event_id)", words={})
    def receipts(self, event_id: str) -> Receipt | None:
        """Return to how many streams and people an event was written, on all workers.

        The event was published with ``receipt=True``. Its receipt is complete three
        seconds later. Written does not mean read: the connection has taken the bytes.

        A worker that serves streams answers from its memory, of the newest 10,000
        receipts. Any other process reads the log from the event on, and knows the
        receipts of the last minute.

        For example::

            event_id = sse_hub.publish("hello", user=42, receipt=True)
            receipt = sse_hub.receipts(event_id)

        Args:
            event_id: The id that ``publish()`` has returned.

        Returns:
            A Receipt. None for an event without a receipt, for a forgotten one, and
            outside the workers also before the first worker has reported.

        Raises:
            InvalidName: ``event_id`` is not the id of an event.
            BrokerUnavailable: This process does not follow the log, and cannot read it.

        """
        cursor = Cursor.parse(event_id) if isinstance(event_id, str) else None
        if cursor is None:
            raise InvalidName(
                f"{event_id!r:.60} is not an event's id: pass the text that publish()"
                " has returned"
            )
        return self._receipts()(cursor)

    @abstractmethod
    def _receipts(self) -> Callable[[Cursor], Receipt | None]:
        """Return the function that finds the receipt of an event."""


def look_up(broker: Broker, cursor: Cursor) -> Receipt | None:
    """Return the receipt of an event as the log has it now.

    Raises BrokerUnavailable.
    """
    now = 0.0
    fold = ReceiptFold(clock=lambda: now)
    folds = Folds()
    folds.add(fold)
    after = broker.resolve(cursor)
    while True:
        replay = broker.replay(after, page=_PAGE)
        for record in replay.records:
            now = record.time
            folds.take((record,))
        if replay.gap is not None or replay.cursor == after:
            now = time.time() + broker.clock_ahead
            return fold.receipt(str(cursor))
        after = replay.cursor
