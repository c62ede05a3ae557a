"""Progress: how far this worker has delivered the log.

One lock guards it, and with it each client's cursor and dues. Does not know clients.
"""

import threading

from ...events.record import UNPLACED, Cursor, is_beyond
from .history import History


class Progress:
    """The position in the log, and the history that leads to it."""

    def __init__(self, history: History) -> None:
        #: Guards the history, the position, and each client's cursor and dues. Code
        #: under the lock never blocks, so it is held for microseconds.
        self.lock = threading.Lock()
        self.history = history
        #: The last record that was fanned out in this worker. While the writer is still
        #: busy with it, it writes nothing else, and a client that enters in between
        #: begins after it.
        self.position = UNPLACED

    def is_ahead(self, cursor: Cursor | None) -> bool:
        """Tell whether a cursor lies beyond the position of this worker."""
        return is_beyond(cursor, self.position)

    def forget_expired(self) -> None:
        """Let go of events that are too old, also while no new ones come."""
        with self.lock:
            self.history.trim(upto=self.position.offset)
