"""The fold of presence: the attendance at this worker's place in the log.

The follower feeds it, and any thread may ask it. It also notes which people have no
stream on any worker, since when, and which entries of workers that are gone are still
in the state of the log. Does not write to the log.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ...events import address
from ...events.address import BROADCAST, Address
from ...events.record import UNPLACED, Record
from ...runtime.greenlets import unhurried
from .attendance import Attendance, Crowds, Person, PresenceList
from .changes import PastChanges, PresenceChange
from .records import GONE, JOIN, LEAVE, Said, key_of, read

# How many leaves are remembered. A worker that has forgotten one may write a join that
# another worker writes too, at the same moment.
_MOST_LEAVES = 10_000


class Vacancy(NamedTuple):
    """A person without a stream: since when, and whether this worker had the last."""

    since: float
    was_here: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """Functions to call for changes. They return at once.

    ``heard`` is called for each record of this worker that comes back. ``own`` receives
    the key of each record, None if all keys may have changed. ``came`` and ``left`` are
    called for each person who was not, or not any more, in a channel, and when the fold
    begins also for those near the end of the log.
    """

    heard: Callable[[], object]
    own: Callable[[str | None], object]
    came: Callable[[PresenceChange], object]
    left: Callable[[PresenceChange], object]


class PresenceFold:
    """The attendance of one log, as one worker knows it.

    ``is_member`` tells whether a worker is known to live, at the place in the log that
    the folds have reached.
    """

    kinds: Collection[str] = ("p", "w")

    def __init__(
        self,
        own_id: str,
        *,
        is_member: Callable[[str], bool],
        changes: Changes,
        clock: Callable[[], float],
    ) -> None:
        self._own_id = own_id
        self._own_address = address.worker(own_id)
        self._is_member = is_member
        self._changes = changes
        self._clock = clock
        #: The moment at which a record of this worker was last read in the log.
        self.heard_at = clock()
        self._taken = UNPLACED
        #: A place up to which all records are in the answers.
        self.place = UNPLACED
        #: Whether the log has been read.
        self.is_known = False
        # Guards the fields below.
        self._lock = threading.RLock()
        self._table = Attendance()
        # The table that is filled after a restart. Meanwhile the old one answers.
        self._filling: Attendance | None = None
        self._past = PastChanges()
        self._vacant: dict[str, Vacancy] = {}
        # The entries that are in the state of the log, but count no longer.
        self._leftover: dict[str, set[str]] = {}
        self._left_at: OrderedDict[str, int] = OrderedDict()

    # The follower's side

    @property
    def _current(self) -> Attendance:
        """The table that records change."""
        return self._table if self._filling is None else self._filling

    def restart(self) -> None:
        """Begin again with an empty table."""
        with self._lock:
            self._filling = Attendance()
            self._past = PastChanges()
            self._taken = UNPLACED
            self._leftover.clear()

    def take(self, record: Record) -> None:
        """Take the next record."""
        said = read(record)
        if said is not None:
            self._take(str(record.key), record, said)
        self._taken = record.cursor
        if self._filling is None:
            self.place = record.cursor
        if self._own_address in record.addresses:
            self.heard_at = self._clock()
            self._changes.heard()

    def _take(self, key: str, record: Record, said: Said) -> None:
        tell = None
        with self._lock:
            for each in record.addresses:
                if each[:1] == "p":
                    tell = self._take_person(key, record, said)
                elif each[:1] == "w":
                    self._take_entry(address.name_of(each), key, record, said)
            if self._filling is None:
                self._look_at(key, was_here=self._is_own_gone(record, said))
        if tell is not None:
            tell()
        self._changes.own(key)

    def _is_own_gone(self, record: Record, said: Said) -> bool:
        return said.kind == GONE and record.addresses == (self._own_address,)

    def _take_person(
        self, key: str, record: Record, said: Said
    ) -> Callable[[], object] | None:
        """Add or remove a person; return the call that tells of it, if it is news."""
        table, is_live = self._current, self._filling is None
        channel, user = said.channel, said.user
        if user is None:
            return None
        if said.kind == LEAVE:
            self._left_at[key] = record.cursor.offset
            self._left_at.move_to_end(key)
            if len(self._left_at) > _MOST_LEAVES:
                self._left_at.popitem(last=False)
            was_there = table.remove(key) is not None
            if not is_live:
                self._past.leave(said, record)
            elif was_there:
                change = self._change(channel, user, record)
                return partial(self._changes.left, change)
            return None
        is_news = table.person(key) is None
        change = self._change(channel, user, record)
        offset = record.cursor.offset
        table.put(key, Person(channel, user, said.since, said.data, offset))
        if not is_live and said.kind == JOIN:
            self._past.join(key, record)
        return partial(self._changes.came, change) if is_news and is_live else None

    def _change(self, channel: str, user: str, record: Record) -> PresenceChange:
        """Return the change of a user outside the table of a channel."""
        return PresenceChange(
            channel,
            user,
            of_user=not self._current.channels(user),
            of_channel=not self._current.count(channel),
            time=record.time,
            is_own=self._own_address in record.addresses,
        )

    def _take_entry(self, worker: str, key: str, record: Record, said: Said) -> None:
        table = self._current
        leftover = self._leftover.get(worker, set())
        leftover.discard(key)
        if record.deletes:
            table.withdraw(worker, key)
        elif self._filling is not None or self._is_member(worker):
            table.enter(worker, key, said.devices)
        else:
            # The worker has said that it is gone: each worker ignores the record.
            self._leftover.setdefault(worker, set()).add(key)
        if not leftover:
            self._leftover.pop(worker, None)

    def caught_up(self) -> None:
        """Drop the entries of workers that are gone, and use the new table."""
        with self._lock:
            table = self._table = self._current
            self._filling = None
            self.place = self._taken
            self.is_known = True
            self.heard_at = self._clock()
            self._vacant.clear()
            for worker in table.workers():
                if not self._is_member(worker):
                    self._drop(worker)
            past, self._past = self._past, PastChanges()
        # Only this thread changes the table.
        for change in unhurried(past.came(table)):
            self._changes.came(change)
        for change in unhurried(past.left(table)):
            self._changes.left(change)
        for key in unhurried(table.people()):
            with self._lock:
                self._look_at(key)
        self._changes.own(None)

    def member_left(self, worker: str) -> None:
        """Drop the entries of a worker that is gone."""
        with self._lock:
            keys = self._drop(worker)
            if self._filling is None:
                for key in keys:
                    self._look_at(key)
        if worker == self._own_id:
            self._changes.own(None)

    def _drop(self, worker: str) -> set[str]:
        keys = self._current.drop(worker)
        if keys:
            self._leftover.setdefault(worker, set()).update(keys)
        return keys

    def _look_at(self, key: str, *, was_here: bool = False) -> None:
        """Note whether a person has streams."""
        if self._table.person(key) is None or self._table.is_attended(key):
            self._vacant.pop(key, None)
        else:
            self._vacant.setdefault(key, Vacancy(self._clock(), was_here))

    # The worker's side

    def begin_vacancies_again(self) -> None:
        """Count all vacancies from now on, because the log could not be read."""
        with self._lock:
            now = self._clock()
            for key in self._vacant:
                self._vacant[key] = Vacancy(now, was_here=False)

    def vacancies(self) -> list[tuple[str, Person, Vacancy]]:
        """Return the people without a stream."""
        with self._lock:
            found = []
            for key, vacancy in self._vacant.items():
                person = self._table.person(key)
                if person is not None:
                    found.append((key, person, vacancy))
            return found

    def is_vacant(self, key: str) -> bool:
        """Tell whether a person has no stream."""
        return key in self._vacant

    def left_at(self, key: str) -> int:
        """Return the offset of the last leave at a key; 0 if it is not known."""
        return self._left_at.get(key, 0)

    def leftover(self) -> set[str]:
        """Return the keys of this worker's entries that do not count any more."""
        with self._lock:
            return set(self._leftover.get(self._own_id, ()))

    def own_keys(self) -> set[str]:
        """Return the keys of this worker's entries."""
        with self._lock:
            return self._table.keys(self._own_id)

    def to_clean(self, *, most: int) -> list[tuple[str, str]]:
        """Return entries of workers that are gone, if this worker has to delete them.

        One worker does so: the first one of those that have entries.
        """
        with self._lock:
            if min(self._table.workers(), default=self._own_id) != self._own_id:
                return []
            return [
                (worker, key)
                for worker, keys in self._leftover.items()
                if worker != self._own_id and not self._is_member(worker)
                for key in keys
            ][:most]

    def own_entry(self, key: str) -> int | None:
        """Return the number of streams in this worker's entry, None without one."""
        with self._lock:
            return self._table.entry(self._own_id, key)

    def person(self, key: str) -> Person | None:
        """Return the person at a key."""
        with self._lock:
            return self._table.person(key)

    # Questions

    def __bool__(self) -> bool:
        return not self._table.is_empty or bool(self._leftover)

    @property
    def headcount(self) -> int:
        """The number of people in all channels. A user counts in each of them."""
        return self._table.headcount

    def count(self, channel: str) -> int:
        """Return the number of people in a channel."""
        with self._lock:
            return self._table.count(channel)

    def lists(self, each: Address) -> bool:
        """Tell whether a user, or anybody in a channel, or at all, is listed."""
        name = address.name_of(each)
        with self._lock:
            if each == BROADCAST:
                return bool(self._table.people())
            if each.startswith("u:"):
                return bool(self._table.channels(name))
            return each.startswith("c:") and self._table.count(name) > 0

    def people(self, channel: str, *, stale: bool = False) -> PresenceList:
        """Return the people in a channel."""
        with self._lock:
            return PresenceList(
                self._table.listed(channel),
                anonymous=self._table.devices(key_of(channel, None)),
                stale=stale,
            )

    def devices(self, key: str) -> int:
        """Return the number of streams at a key, on all workers."""
        with self._lock:
            return self._table.devices(key)

    def channels(self, user: str) -> list[str]:
        """Return the channels in which a user is."""
        with self._lock:
            return self._table.channels(user)

    def crowds(self, most: int, users: int) -> Crowds:
        """Return the fullest channels, and the first users of each."""
        with self._lock:
            return self._table.crowds(most, users)

    def text(self, channel: str) -> str:
        """Return the people in a channel as a JSON array, as clients receive it."""
        with self._lock:
            return self._table.text(channel)
