"""Deafness: a worker that no longer follows the log, although the log goes on.

Its streams stay open and are pinged, so nothing else shows that their events are
missing. Knows the position and the log's head. Does not know why the worker stands.
"""

from ..events.record import Cursor
from .delivery.progress import DeliveryProgress

#: The seconds after which a worker is deaf: its position has not moved, although the
#: log has newer records. A follower that is woken by nobody looks at the log at least
#: once a second.
DEAF_SECONDS = 10.0


class Deafness:
    """Tell for how long a worker has not moved although the log goes on.

    Has to be asked now and then, as a load balancer asks for health.
    """

    def __init__(self, progress: DeliveryProgress) -> None:
        self._progress = progress
        # The position at which the worker was first seen behind the log, and when.
        self._behind: tuple[Cursor, float] | None = None

    def seconds(self, head: Cursor, *, now: float) -> float:
        """Return for how long the position is known to stand still before ``head``.

        It is 0 for a worker that has reached the head, or has moved since the last
        call.
        """
        position = self._progress.position
        if position.epoch == head.epoch and position.offset >= head.offset:
            self._behind = None
        elif self._behind is None or self._behind[0] != position:
            self._behind = position, now
        return 0.0 if self._behind is None else now - self._behind[1]
