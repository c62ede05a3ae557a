"""The journal: when the streams of one worker began, ended, and how far they came.

It answers the question why an event did not arrive. It is as bounded as history, and
does not outlive its process. Does not know how the question travels.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...events.address import Address
from ...events.record import Cursor
from .client import Client
from .close_reason import CloseReason

# The most ended streams that are kept, about 500 bytes each. History has as many events
# by default.
_MOST_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class StreamLife:
    """One stream from its beginning to its end. Times are seconds since 1970.

    The stream was sent the events of its addresses after ``begun`` up to ``last``.
    """

    id: str
    user_id: str | None
    addresses: tuple[Address, ...]
    opened: float
    begun: str
    last: str
    ended: float | None = None
    #: Its close reason, None while it is open.
    reason: str | None = None
    #: Whether the client itself named the place at which it began.
    resumed: bool = False
    #: The reason of the reset after which it began, None without one.
    reset: str | None = None
    #: For how many seconds it has not taken its last bytes.
    lag: float = 0.0


class Journal:
    """The streams that have ended in one process, the newest ones.

    ``seconds`` is how far history reaches back.
    """

    def __init__(
        self,
        *,
        seconds: float,
        clock: Callable[[], float],
        time_of_day: Callable[[], float],
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._time_of_day = time_of_day
        # Guards the fields below: streams end in many threads. Reentrant, because the
        # garbage collector may end one at any place.
        self._lock = threading.RLock()
        self._ended: deque[StreamLife] = deque(maxlen=_MOST_ENDED)
        #: The time from which the journal knows all streams of the process.
        self.since = time_of_day()

    def note_end(self, client: Client, reason: CloseReason, position: Cursor) -> None:
        """Note a stream that has ended at this worker's position."""
        life = self.life(client, position, reason=reason)
        oldest = self._time_of_day() - self._seconds
        with self._lock:
            self._ended.append(life)
            if len(self._ended) == _MOST_ENDED:
                self.since = max(self.since, self._ended[0].ended or 0.0)
            while self._ended and (self._ended[0].ended or 0.0) < oldest:
                self._ended.popleft()
                self.since = max(self.since, oldest)

    def life(
        self, client: Client, position: Cursor, *, reason: CloseReason | None = None
    ) -> StreamLife:
        """Describe a client's stream as of now."""
        now, today = self._clock(), self._time_of_day()
        return StreamLife(
            id=client.id,
            user_id=client.user,
            addresses=client.addresses,
            opened=today - (now - client.opened_at),
            begun=str(client.begun),
            last=str(client.cursor or position),
            ended=None if reason is None else today,
            reason=reason,
            resumed=client.resumed,
            reset=client.was_reset,
            lag=client.lag(now),
        )

    def ended_of(self, user: str) -> Iterator[StreamLife]:
        """Yield the ended streams of a user, the newest first."""
        with self._lock:
            ended = tuple(self._ended)
        for life in reversed(ended):
            if life.user_id == user:
                yield life
