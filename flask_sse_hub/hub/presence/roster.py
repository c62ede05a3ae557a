"""The roster: the people in the channels of one log, and this worker's part in it.

A stream that comes or ends only changes a number. One task compares the numbers with
the worker's entries in the log, and appends the records that make them equal. So no
stream waits for the broker, and a worker that the others have written off by mistake
heals by itself. Does not know how the log is read.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ...errors import BrokerUnavailable, StateFull
from ...events.address import Address
from ...events.record import UNPLACED, Cursor, Record, is_beyond
from ...runtime.closing import Closed, Closing
from ...runtime.coded_log import CodedLog
from ...runtime.greenlets import unhurried
from ...runtime.rare_log import RareLog, Trouble
from ..clients.client import Client
from ..clients.present_client import PresentClient
from ..members import BEAT_SECONDS, Members
from ..options import HubOptions
from . import records
from .announcer import Announcer
from .attendance import Crowds, Person, PresenceList
from .fold import Changes, PresenceFold
from .own_streams import OwnStreams, Streams
from .records import Said, key_of

log = CodedLog(__name__)

# A further stream of a user, or the end of the last one, is told to the others after
# this time: a page that reloads changes nothing.
_SETTLE_SECONDS = 2.0

# The seconds between two looks at the clock.
_TICK_SECONDS = 1.0

# A worker that has not read its own beats for this time is stale. When it reads again,
# all graces begin again: the others could not say meanwhile that people are there.
_STALE_SECONDS = 2 * BEAT_SECONDS

# No leave is written this long after the last own beat. A worker whose broker is just
# back could otherwise be quicker than the workers that have news of people.
_FRESH_SECONDS = BEAT_SECONDS + 1.0

# The worker that had a person's last stream ends the grace. The others are later, by a
# random time from this range, and mostly find it done.
_LATER_SECONDS = (1.0, 3.0)

# How long a worker waits for its records to come back before it writes others.
_PATIENCE_SECONDS = 10.0

# The most records of each kind in one step, and the most deletes of entries that other
# workers have left. The next step waits until these have come back: a worker that had
# thousands of people fills neither the log's queue nor the clients' sockets at once.
_MOST_RECORDS = 500
_MOST_CLEANED = 100

# The pause after an append that found no room.
_FULL_SECONDS = 60.0


class Roster:
    """The people in the channels of one log, and this worker's part in it.

    Args:
        options: The hub's settings.
        members: The workers of the log.
        append: Appends a record to the log. Raises BrokerUnavailable.
        is_draining: Tells whether this worker is going away.
        announcer: Hears of users who come and leave.
        clock: The monotonic clock, in seconds.
        time_of_day: The time of day, in seconds since 1970.

    """

    def __init__(
        self,
        options: HubOptions,
        members: Members,
        *,
        append: Callable[[Record], Cursor],
        is_draining: Callable[[], bool],
        announcer: Announcer,
        clock: Callable[[], float],
        time_of_day: Callable[[], float],
    ) -> None:
        self._options = options
        self._members = members
        self._own_id = members.own_id
        self._append = append
        self._is_draining = is_draining
        self._clock = clock
        self._time_of_day = time_of_day
        #: The attendance at this worker's place in the log.
        self.fold = PresenceFold(
            members.own_id,
            is_member=members.__contains__,
            changes=Changes(
                heard=self.wake,
                own=self._note,
                came=announcer.came,
                left=announcer.left,
            ),
            clock=clock,
        )
        self._closed: Closed = Closing()
        self._work = threading.Event()
        self._own = OwnStreams(clock=clock)
        # The rest belongs to the task. The place of the last record of a step, and
        # until when the task waits to read it.
        self._upto = UNPLACED
        self._waits_until = 0.0
        # The joins of a step, which the fold has not read yet.
        self._joining: Counter[str] = Counter()
        self._full_until = 0.0
        self._stale = False
        self._trouble = Trouble()
        self._rare_log = RareLog(log, clock=clock)

    # Streams

    def moved(self, client: Client) -> None:
        """Note that a stream has begun, or has changed its channels."""
        if isinstance(client, PresentClient) and self._own.count(client):
            self.wake()

    def left(self, client: Client) -> None:
        """Note that a stream has ended."""
        if isinstance(client, PresentClient) and self._own.count(client, ended=True):
            self.wake()

    def _note(self, key: str | None) -> None:
        """Note that the log has news of a key, or of all keys."""
        if key is None:
            self._own.look_at_all(self.fold.leftover() | self.fold.own_keys())
        elif key in self._own or self.fold.own_entry(key) is not None:
            self._own.look_at((key,))
        self.wake()

    # Members

    def needs_members(self) -> bool:
        """Tell whether this worker has streams to tell of, or others to look at."""
        return not self._is_draining() and bool(self._own or self.fold)

    def member_left(self, member_id: str) -> None:
        """Drop the entries of a worker that is gone."""
        self.fold.member_left(member_id)

    # The task

    def tick(self, closed: Closed) -> None:
        """Have run() look at the clock every second, until ``closed`` is set."""
        while not closed.wait(_TICK_SECONDS):
            self.wake()
        self.wake()

    def wake(self) -> None:
        """Have run() look at what is due."""
        self._work.set()

    def run(self, closed: Closed) -> None:
        """Write what is due, until ``closed`` is set."""
        self._closed = closed
        while not closed.is_set():
            self._work.wait()
            self._work.clear()
            self.step()

    def step(self) -> None:
        """Append the records that are due now, if those of the last step are read."""
        now = self._clock()
        # Before the fold is asked: all records up to here are in it.
        place = self.fold.place
        self._look_at_silence(now)
        if self._closed.is_set() or not self.needs_members():
            return
        is_back = place == self._upto or is_beyond(place, self._upto)
        if now < self._waits_until and not is_back:
            return
        self._waits_until = 0.0
        self._joining.clear()
        try:
            if self._own_id not in self._members:
                # The entries of others than members do not count. Go on when the beat
                # comes back. Each further beat would count against the others.
                self._members.enter()
                return
            self._write_own(place, now)
            self._write_leaves(place, now)
            self._clean()
        except BrokerUnavailable as error:
            # A part of the step may be written. Its rest must not wait for that part to
            # come back: other workers could end the graces of people with streams here.
            self._waits_until = 0.0
            if not self._closed.is_set() and self._trouble.is_news(str(error)):
                log.warning(
                    "SSE-1701", "presence cannot be written to the log yet: %s", error
                )
            self.fold.begin_vacancies_again()
        except StateFull as error:
            self._say_full(error)
        except Exception as error:  # noqa: BLE001 - streams go on without presence
            self._rare_log.error("SSE-1702", f"presence is not written: {error!r:.200}")

    def _look_at_silence(self, now: float) -> None:
        if not self.needs_members():
            # Without beats there is nothing to hear.
            self.fold.heard_at = now
        is_silent = now - self.fold.heard_at > _STALE_SECONDS
        if self._stale and not is_silent:
            self.fold.begin_vacancies_again()
        self._stale = is_silent

    def _write(self, record: Record) -> Cursor:
        cursor = self._append(record)
        self._trouble.is_over()
        if not is_beyond(self._upto, cursor):
            self._upto = cursor
        self._waits_until = self._clock() + _PATIENCE_SECONDS
        return cursor

    # This worker's own streams

    def _write_own(self, place: Cursor, now: float) -> None:
        for key in unhurried(self._own.due(most=_MOST_RECORDS)):
            self._own.looked_at(key)
            try:
                if self._make_equal(key, place, now):
                    # A record may be lost with a part of the log.
                    self._own.look_again(key, now + _PATIENCE_SECONDS)
            except StateFull as error:
                self._full_until = now + _FULL_SECONDS
                self._own.look_again(key, self._full_until)
                self._say_full(error)
            except Exception:
                self._own.look_again(key, now + _TICK_SECONDS)
                raise

    def _say_full(self, error: StateFull) -> None:
        self._rare_log.warning(
            "SSE-1703", f"some people are present and not listed: {error}"
        )

    def _make_equal(self, key: str, place: Cursor, now: float) -> bool:
        """Append the record that brings the log nearer to the streams, if any.

        Tells whether one was appended.
        """
        streams, entry = self._own.get(key), self.fold.own_entry(key)
        if streams is None or streams.number <= 0:
            return self._make_empty(key, streams, entry, now)
        seat, number = streams.seat, streams.number
        person = self.fold.person(key)
        if entry is None or (person is None and seat.user is not None):
            if now < self._full_until:
                self._own.look_again(key, self._full_until)
                return False
            if person is None and seat.user is not None:
                return self._join(key, streams, place, now)
        elif person is not None and streams.is_news and seat.data != person.data:
            said = Said(records.UPDATE, seat.channel, seat.user, person.since)
            self._write(records.update(said._replace(data=seat.data)))
            streams.is_news = streams.seat is not seat
            return True
        elif entry == number:
            streams.is_news = False
            return False
        elif self._unsettled(key, streams, now):
            return False
        self._write(records.here(self._own_id, seat.channel, seat.user, number))
        return True

    def _unsettled(self, key: str, streams: Streams, now: float) -> bool:
        """Tell whether a number has changed just now, and look at it again later."""
        settled = streams.changed_at + _SETTLE_SECONDS
        if now < settled:
            self._own.look_again(key, settled)
        return now < settled

    def _make_empty(
        self, key: str, streams: Streams | None, entry: int | None, now: float
    ) -> bool:
        if entry is None and key not in self.fold.leftover():
            self._own.forget(key)
            return False
        if streams is not None and self._unsettled(key, streams, now):
            return False
        self._write(records.gone(self._own_id, key))
        return True

    def _join(self, key: str, streams: Streams, place: Cursor, now: float) -> bool:
        seat = streams.seat
        people = self.fold.count(seat.channel) + self._joining[seat.channel]
        if people >= self._options.presence_people:
            self._own.look_again(key, now + _FULL_SECONDS)
            self._rare_log.warning(
                "SSE-1704",
                "a channel has SSE_HUB_PRESENCE_PEOPLE people: further ones are present"
                " and not listed",
            )
            return False
        self._joining[seat.channel] += 1
        since = round(self._time_of_day(), 3)
        said = Said(records.JOIN, seat.channel, seat.user, since, seat.data)
        record = records.join(self._own_id, said)
        # Another worker may see this user come at the same moment: one join results.
        once = records.once("join", place.epoch, key, self.fold.left_at(key))
        cursor = self._write(replace(record, idempotency_key=once))
        if cursor.epoch == place.epoch and cursor.offset <= place.offset:
            # It is the join of an earlier time, and this worker does not remember the
            # leave that followed it.
            self._write(record)
        return True

    # People without a stream, and entries of workers that are gone

    def _write_leaves(self, place: Cursor, now: float) -> None:
        if now - self.fold.heard_at > _FRESH_SECONDS:
            return
        for key, person in unhurried(self._due_leaves(now)):
            if not self.fold.is_vacant(key):
                continue
            said = Said(records.LEAVE, person.channel, person.user, person.since)
            once = records.once("leave", place.epoch, key, person.offset)
            record = records.leave(self._own_id, said)
            self._write(replace(record, idempotency_key=once))

    def _due_leaves(self, now: float) -> list[tuple[str, Person]]:
        """Return the people whose grace is over, as many as one step writes.

        One channel comes after the other: its clients receive leaves that follow each
        other in one write. Workers that come in different orders share the work.
        """
        since = now - self._options.presence_grace
        later = random.uniform(*_LATER_SECONDS)
        due = [
            (key, person)
            for key, person, vacancy in self.fold.vacancies()
            if vacancy.since <= (since if vacancy.was_here else since - later)
        ]
        due.sort(key=lambda each: hash((self._own_id, each[1].channel)))
        return due[:_MOST_RECORDS]

    def _clean(self) -> None:
        for worker, key in self.fold.to_clean(most=_MOST_CLEANED):
            self._write(records.gone(worker, key))

    # Questions

    @property
    def stale(self) -> bool:
        """Whether answers may be out of date, because the log cannot be read."""
        return self._stale

    @property
    def headcount(self) -> int:
        """The number of people in all channels. A user counts in each of them."""
        return self.fold.headcount

    def people(self, channel: str) -> PresenceList:
        """Return the people in a channel."""
        return self.fold.people(channel, stale=self._stale)

    def lists(self, addresses: Iterable[Address]) -> bool:
        """Tell whether anybody at one of these addresses is listed as present."""
        return any(map(self.fold.lists, addresses))

    def channels(self, user: str) -> list[str]:
        """Return the channels in which a user is."""
        return self.fold.channels(user)

    def crowds(self, most: int, users: int) -> Crowds:
        """Return the channels with most people, and the first users of each."""
        return self.fold.crowds(most, users)

    def listing(self, channels: Sequence[str]) -> str | None:
        """Return the people in some channels as JSON.

        None without channels, and before this worker knows the people.
        """
        if not channels or not self.fold.is_known:
            return None
        lists = (
            f'{json.dumps(name)}:{{"people":{self.fold.text(name)},'
            f'"anonymous":{self.fold.devices(key_of(name, None))}}}'
            for name in channels
        )
        return f"{{{','.join(lists)}}}"
