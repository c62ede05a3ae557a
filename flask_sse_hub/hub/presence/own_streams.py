"""The streams of this worker in channels with presence, and which keys to look at.

A stream that begins or ends only changes a number here. Does not know what the log says
of the streams.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..clients.present_client import PresentClient, Seat
from .records import key_of


@dataclass(slots=True)
class Streams:
    """The streams of one user in one channel, on this worker.

    ``is_news`` tells whether the description has not been compared yet with the one
    that others see.
    """

    seat: Seat
    number: int = 0
    changed_at: float = 0.0
    is_news: bool = True


class OwnStreams:
    """The streams by their keys. Safe for greenlets and threads."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Guards the fields below.
        self._lock = threading.Lock()
        self._streams: dict[str, Streams] = {}
        # The moment at which each key is looked at.
        self._due: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._streams)

    def __contains__(self, key: str) -> bool:
        return key in self._streams

    def get(self, key: str) -> Streams | None:
        """Return the streams at a key."""
        return self._streams.get(key)

    def count(self, client: PresentClient, *, ended: bool = False) -> bool:
        """Count a stream at the seats that it has now; tell whether they are others.

        A stream may end, or change its channels, before its begin is noted. The end
        counts, and then the newest seats.
        """
        with self._lock:
            before, after = client.counted, () if ended else client.seats
            if before is None:
                return False
            client.counted = None if ended else after
            left, come = set(before).difference(after), set(after).difference(before)
            for seat in left:
                self._add(seat, -1)
            for seat in come:
                self._add(seat, 1)
            return bool(left or come)

    def _add(self, seat: Seat, step: int) -> None:
        now = self._clock()
        key = key_of(seat.channel, seat.user)
        streams = self._streams.setdefault(key, Streams(seat))
        streams.number += step
        streams.changed_at = now
        if step > 0:
            streams.is_news = streams.is_news or seat != streams.seat
            streams.seat = seat
        self._due[key] = now

    def forget(self, key: str) -> None:
        """Forget the streams at a key if there are none."""
        with self._lock:
            streams = self._streams.get(key)
            if streams is not None and streams.number == 0:
                del self._streams[key]

    def look_at(self, keys: Iterable[str]) -> None:
        """Have keys looked at now."""
        now = self._clock()
        with self._lock:
            self._due.update(dict.fromkeys(keys, now))

    def look_at_all(self, others: Iterable[str]) -> None:
        """Have the keys of all streams looked at now, and some others."""
        with self._lock:
            own = list(self._streams)
        self.look_at([*own, *others])

    def look_again(self, key: str, moment: float) -> None:
        """Have a key looked at later, unless it is looked at before."""
        with self._lock:
            self._due.setdefault(key, moment)

    def due(self, *, most: int) -> list[str]:
        """Return keys to look at now."""
        now = self._clock()
        with self._lock:
            return [key for key, moment in self._due.items() if moment <= now][:most]

    def looked_at(self, key: str) -> None:
        """Note that a key is looked at from now on."""
        with self._lock:
            self._due.pop(key, None)
