"""The keeper: sees to it that each hook is in the log, and that one worker delivers it.

Every worker that reads a change notes its hooks. The worker that has caused the change
appends them at once. The others do so a little later if it has not, so that a killed
worker loses none. One worker delivers: the first one that has claimed that in the log.
Does not know how a hook is delivered.
"""

import contextlib
import math
import random
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from ...errors import BrokerUnavailable, StateFull
from ...events.record import Cursor, Record
from ...runtime.closing import Closed
from ...runtime.coded_log import CodedLog
from ...runtime.greenlets import unhurried
from ...runtime.rare_log import RareLog, Trouble
from ...runtime.survival import surviving
from ..members import Members
from ..stats import HooksStats
from ..tally import Tally
from . import records
from .book import HookBook
from .records import Hook

log = CodedLog(__name__)

#: For how many seconds a hook is tried. It is then given up.
GIVE_UP_SECONDS = 86_400.0

#: How many hooks wait at most, for each URL. Of more, the oldest ones are lost.
MOST_WAITING = 10_000

# The pause between two looks at the clock, while there is a reason for it.
_TICK_SECONDS = 1.0

# The worker that has caused a change appends its hooks. The others are later, by a
# random time from this range, and mostly find it done.
_LATER_SECONDS = (3.0, 6.0)

# A worker that begins looks for hooks of the newest changes in the log. Older ones have
# been delivered or forgotten: keys of hooks are remembered for a day.
_RECALL_SECONDS = 3_600.0

# The pause after an append that found no room.
_FULL_SECONDS = 10.0

# How many hooks of each URL one step gives up.
_MOST_GIVEN_UP = 100


@dataclass(slots=True)
class _Due:
    """A hook that is not known to be in the log, and when this worker appends it."""

    hook: Hook
    moment: float


class HookKeeper:
    """This worker's part in the hooks of one log.

    Args:
        members: The workers of the log.
        urls: The URLs to which each hook is delivered.
        append: Appends a record to the log. Raises BrokerUnavailable and StateFull.
        is_draining: Tells whether this worker is going away.
        tally: Counts the hooks that are given up.
        clock: The monotonic clock, in seconds.
        time_of_log: The time of day as the log has it, in seconds since 1970.

    """

    def __init__(
        self,
        members: Members,
        *,
        urls: Collection[str],
        append: Callable[[Record], Cursor],
        is_draining: Callable[[], bool],
        tally: Tally,
        clock: Callable[[], float],
        time_of_log: Callable[[], float],
    ) -> None:
        self._tally = tally
        self._members = members
        self._urls = urls
        self._append = append
        self._is_draining = is_draining
        self._clock = clock
        self._time_of_log = time_of_log
        #: The hooks at this worker's place in the log.
        self.book = HookBook(changed=self._read)
        self._work = threading.Event()
        self._couriers: list[threading.Event] = []
        # Guards the field below.
        self._lock = threading.Lock()
        self._due: dict[str, _Due] = {}
        self._full_until = 0.0
        self._trouble = Trouble()
        self._rare_log = RareLog(log, clock=clock)

    # Changes

    def note(self, type: str, name: str, *, time: float, is_own: bool) -> None:
        """Note a hook that is due, in the order of the log."""
        if not self._urls or time < self._time_of_log() - _RECALL_SECONDS:
            return
        if self.book.is_filling and not self.book.claim.worker:
            # The app had no hooks when the change was made.
            return
        later = 0.0 if is_own else random.uniform(*_LATER_SECONDS)
        moment = self._clock() + later
        for url in self._urls:
            hook = Hook(type, name, time, url)
            if hook not in self.book:
                with self._lock:
                    self._due[hook.key] = _Due(hook, moment)
                    if len(self._due) > MOST_WAITING * len(self._urls):
                        del self._due[next(iter(self._due))]
                        self._say_lost()
        self.wake()

    def _read(self, hook: Hook | None) -> None:
        """Forget a hook that is in the log, or was there."""
        if hook is not None:
            self._forget(hook)
        self.wake()

    def _forget(self, hook: Hook) -> None:
        with self._lock:
            self._due.pop(hook.key, None)

    def _say_lost(self) -> None:
        self._tally.hooks_lost += 1
        self._rare_log.error(
            "SSE-1708", "too many hooks wait for their URLs: the oldest ones are lost"
        )

    # Statistics

    def stats(self) -> HooksStats | None:
        """Return the statistics of the hooks, None if no URL is told of them."""
        if not self._urls:
            return None
        with self._lock:
            times = [each.hook.time for each in self._due.values()]
        # Those that are due are not in the log yet: the broker may be away.
        waiting = len(self.book) + len(times)
        times += filter(None, [self.book.oldest_time()])
        return HooksStats(
            waiting=waiting,
            age=max(0.0, self._time_of_log() - min(times)) if times else 0.0,
            delivered=self._tally.hooks_delivered,
            failed=self._tally.hooks_failed,
            lost=self._tally.hooks_lost,
        )

    # Members

    def needs_members(self) -> bool:
        """Tell whether this worker has hooks to write, or to wait for."""
        return not self._is_draining() and bool(self._due or len(self.book))

    def member_left(self, member_id: str) -> None:
        """Look for another courier if this one is gone."""
        if member_id == self.book.claim.worker:
            self.wake()

    def is_courier(self) -> bool:
        """Tell whether this worker delivers."""
        own_id = self._members.own_id
        return self.book.claim.worker == own_id and own_id in self._members

    # The task

    def listen(self, work: threading.Event) -> None:
        """Have an event set whenever there may be something to deliver."""
        self._couriers.append(work)

    def wake(self) -> None:
        """Have run() and the couriers look at what is due."""
        self._work.set()
        self._wake_couriers()

    def _wake_couriers(self) -> None:
        for work in self._couriers:
            work.set()

    def run(self, closed: Closed) -> None:
        """Write what is due, until ``closed`` is set."""
        while not closed.is_set():
            self._work.wait(_TICK_SECONDS if self.needs_members() else None)
            self._work.clear()
            if not closed.is_set():
                # Streams go on without hooks.
                with surviving(self._say_failure):
                    self.step()

    def _say_failure(self) -> None:
        text = "the look at the hooks failed, and goes on"
        self._rare_log.exception("SSE-1712", text)

    def step(self) -> None:
        """Append the hooks that are due now, claim to be the courier, and give up."""
        now = self._clock()
        if not self.needs_members() or now < self._full_until:
            return
        try:
            # First of all: hooks may leave no room for another claim.
            self._claim()
            self._write(upto=now)
            if self.is_courier():
                self._give_up()
                # They may have looked while this worker was no member, which a beat
                # has changed since.
                self._wake_couriers()
            self._trouble.is_over()
        except BrokerUnavailable as error:
            if self._trouble.is_news(str(error)):
                log.warning(
                    "SSE-1706", "hooks cannot be written to the log yet: %s", error
                )
        except StateFull as error:
            self._full_until = now + _FULL_SECONDS
            self._rare_log.warning("SSE-1707", f"hooks are not delivered yet: {error}")

    def write_all(self) -> None:
        """Write all hooks that this worker knows, because it is going."""
        with contextlib.suppress(BrokerUnavailable, StateFull):
            self._write(upto=math.inf)

    def _write(self, *, upto: float) -> None:
        with self._lock:
            waiting = list(self._due.values())
        for due in unhurried(waiting):
            if due.moment > upto:
                # Hooks are written in their order.
                return
            self._append(records.due(due.hook))
            self._forget(due.hook)

    def _claim(self) -> None:
        """Claim to be the courier, unless another worker is."""
        # Before the claim is looked at: all records up to here are in it.
        place = self.book.place
        before = self.book.claim
        if before.worker in self._members:
            return
        if self._members.own_id not in self._members:
            # Only members count. Claim when the beat has come back.
            self._members.enter()
            return
        record = records.claim(self._members.own_id, before=before)
        cursor = self._append(record)
        if cursor.epoch == place.epoch and cursor.offset <= place.offset:
            # The log has lost a claim, and remembers its idempotency key.
            self._append(replace(record, idempotency_key=None))

    def _give_up(self) -> None:
        before = self._time_of_log() - GIVE_UP_SECONDS
        for hook in self.book.oldest(most=_MOST_GIVEN_UP):
            if hook.time < before:
                self._append(records.done(hook))
                self._tally.hooks_lost += 1
                self._rare_log.error(
                    "SSE-1709",
                    "a hook was not delivered within a day, and is given up: %s",
                    hook.id,
                )
        for hook in self.book.beyond(MOST_WAITING):
            self._append(records.done(hook))
            self._say_lost()
