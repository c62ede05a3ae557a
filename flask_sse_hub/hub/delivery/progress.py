"""DeliveryProgress: how far this worker has delivered the log.

One lock guards it, together with each client's cursor and the flags that say what is
due to the client.
"""

import threading

from ...events.record import UNPLACED, Cursor, is_beyond
from ..clients.client import Client
from .history import History, NextBlocks
from .run import Run
from .state import State


class DeliveryProgress:
    """The position in the log, and the history that leads to it."""

    def __init__(self, history: History) -> None:
        #: Guards the history, the position, each client's cursor, and the flags that
        #: say what is due to it. Code under the lock never blocks, so it is held for
        #: microseconds.
        self.lock = threading.Lock()
        self.history = history
        #: The state as of the position.
        self.state = State()
        #: The place of the last record that was fanned out in this worker. The writer
        #: may still be writing it. Until that is done it writes nothing else, and a
        #: client that enters meanwhile begins after this record.
        self.position = UNPLACED
        #: The last run that was fanned out.
        self.run = Run(UNPLACED, UNPLACED)

    def is_ahead(self, cursor: Cursor | None) -> bool:
        """Tell whether a cursor lies beyond the position of this worker."""
        return is_beyond(cursor, self.position)

    def last_run_for(self, client: Client) -> NextBlocks | None:
        """Return the last run, if its events are all that a client has to read.

        None if history has to be read. Reading it takes a fifth of each delivery by
        generator. The caller holds the lock.
        """
        run = self.run
        if (
            client.cursor is run.before
            and self.position is run.after
            and not client.changes
            and not client.names_channels
            and client.not_before <= (run.published_at or 0.0)
        ):
            return run.reading
        return None

    def events_after(self, client: Client) -> int:
        """Return how many events in this memory a client has not received yet."""
        with self.lock:
            cursor = client.cursor
            if cursor is None or cursor.epoch != self.position.epoch:
                return 0
            return self.history.count(client.addresses, cursor, upto=self.position)

    def forget_expired(self) -> None:
        """Forget events that are too old, even while no new ones come."""
        with self.lock:
            self.history.trim(upto=self.position.offset)
