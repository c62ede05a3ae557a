"""Changes: arrivals in channels and departures, and their meaning for the app.

Also finds the changes near the end of a log that a worker reads when it begins. All
workers may have been killed before they told the app of these. Does not know clocks.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ...events.record import Record
from .attendance import Attendance
from .records import Said, key_of


class PresenceChange(NamedTuple):
    """The arrival of a user in a channel, or the departure from it.

    ``of_user`` tells whether it is the user's first or last channel, ``of_channel``
    whether it is the channel's first or last user. ``time`` is that of the log.
    ``is_own`` tells whether this worker has just written the record.
    """

    channel: str
    user: str
    of_user: bool
    of_channel: bool
    time: float
    is_own: bool = False


class PastChanges:
    """The joins and leaves among the newest records that a worker reads at its begin.

    Older joins are known from the state only. Whether they were the first ones is not
    known any more.
    """

    def __init__(self) -> None:
        # The newest join of each key, and the newest leave of each user and channel: an
        # offset and the time.
        self._joins: dict[str, tuple[int, float]] = {}
        self._user_left: dict[str, tuple[int, float]] = {}
        self._channel_left: dict[str, tuple[int, float]] = {}

    def join(self, key: str, record: Record) -> None:
        """Note the arrival of a user.

        A value of the state comes for one address alone, and is passed over.
        """
        if len(record.addresses) > 1:
            self._joins[key] = record.cursor.offset, record.time

    def leave(self, said: Said, record: Record) -> None:
        """Note the departure of a user."""
        if said.user is not None:
            at = record.cursor.offset, record.time
            self._user_left[said.user] = self._channel_left[said.channel] = at

    def came(self, table: Attendance) -> Iterator[PresenceChange]:
        """Yield the first join of each present user, and of each occupied channel.

        Only those that were the first without a doubt: the joins of all others are
        known too, and nobody has left since.
        """
        people = [table.person(key) for key in self._joins]
        for user in {each.user for each in people if each is not None}:
            keys = [key_of(channel, user) for channel in table.channels(user)]
            time = self._first(keys, self._user_left.get(user))
            if time is not None:
                yield PresenceChange("", user, True, False, time)
        for channel in {each.channel for each in people if each is not None}:
            keys = [key_of(channel, user) for user in table.users(channel)]
            time = self._first(keys, self._channel_left.get(channel))
            if time is not None:
                yield PresenceChange(channel, "", False, True, time)

    def _first(self, keys: list[str], left: tuple[int, float] | None) -> float | None:
        if not all(key in self._joins for key in keys):
            return None
        first = min(self._joins[key] for key in keys)
        return None if left is not None and left > first else first[1]

    def left(self, table: Attendance) -> Iterator[PresenceChange]:
        """Yield the last leave of each user and channel, if nobody is there now."""
        for user, (_, time) in self._user_left.items():
            if not table.channels(user):
                yield PresenceChange("", user, True, False, time)
        for channel, (_, time) in self._channel_left.items():
            if not table.count(channel):
                yield PresenceChange(channel, "", False, True, time)
