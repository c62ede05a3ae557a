"""Revalidation: checks at an interval that users may still listen.

Decides when a user is checked, and ends the streams of users who may no longer listen.
Does not know how the app decides: the check is one function of the app.
"""

import random
import threading
from collections.abc import Callable, Iterable, Sequence

from ..runtime.closing import Closed
from ..runtime.coded_log import CodedLog
from ..runtime.greenlets import in_slices
from ..runtime.rare_log import RareLog
from .clients.client import Client
from .clients.close_reason import CloseReason
from .parts import Parts

log = CodedLog(__name__)

#: The app's check. Receives the streams of one user, or one anonymous stream, and
#: returns the streams that have to end.
Judge = Callable[[Sequence[Client]], Iterable[Client]]

# Each user is checked once in this part of the interval. Twenty times per interval a
# look finds the users due for a check. Both together stay in the promised interval.
_PERIOD = 0.9
_LOOKS = 20
# The longest time between two looks. A look goes through all clients, and every five
# seconds is rare enough for that, even if the interval is a day.
_MAX_LOOK_SECONDS = 5.0

# The number of users checked at one time. A loader that is slow, or never returns, does
# not hold up the other users, and the checks take few of the app's database
# connections.
_AT_ONCE = 4

# Failures in a row after which a look gives up, because the database is probably away.
# One user whose loading fails is no reason to skip the others.
_MAX_FAILURES = 3

_CLIENTS_AT_ONCE = 500


class Revalidation:
    """Check each user of one hub once within an interval, spread over the interval."""

    def __init__(self, parts: Parts, judge: Judge, *, interval: float) -> None:
        self._clock = parts.clock
        self._registry = parts.registry
        self._lifecycle = parts.lifecycle
        self._judge = judge
        self._interval = interval
        self._period = interval * _PERIOD
        self._every = min(interval / _LOOKS, _MAX_LOOK_SECONDS)
        self._free = threading.Semaphore(_AT_ONCE)
        # The users under check, with the start of each check, and those whose
        # check was logged as slow.
        self._asked: dict[str, float] = {}
        self._slow: set[str] = set()
        # The users whose check failed or found no thread: the next look tries again.
        self._again: set[str] = set()
        self._rare_log = RareLog(log, clock=parts.clock)
        # Failures in a row.
        self._failures = 0

    def run(self, closed: Closed) -> None:
        """Check users until ``closed`` is set or the worker goes away."""
        last = self._clock()
        while not closed.wait(self._every) and not self._lifecycle.draining:
            now = self._clock()
            self.look(since=last, now=now)
            last = now

    def look(self, *, since: float, now: float) -> None:
        """Check the users due since the last look.

        Waits for the checks, but not for slow ones.
        """
        self._say_slow(now)
        again, self._again = self._again, set()
        groups = list(self._due(since, now, again).items())
        # Without shuffling, the same few users whose loading fails could come first in
        # each look, and the look would give up before the others.
        random.shuffle(groups)
        self._failures = 0
        asking = []
        patience = self._every
        for key, clients in groups:
            if key in self._asked:
                continue
            if self._failures >= _MAX_FAILURES:
                self._again.add(key)
            elif self._free.acquire(timeout=patience):
                self._asked[key] = now
                first = key not in again
                if (thread := self._ask_beside(key, clients, first=first)) is not None:
                    asking.append(thread)
            else:
                self._again.add(key)
                patience = 0.0
        for each in asking:
            each.join(self._every)

    def _say_slow(self, now: float) -> None:
        for key, since in list(self._asked.items()):
            if now - since > self._interval and key not in self._slow:
                self._slow.add(key)
                self._rare_log.warning(
                    "SSE-1402",
                    "SSE_HUB_REVALIDATE_INTERVAL is %g s, but it takes longer to check"
                    " whether %r may still listen: a user_loader or a channel rule is"
                    " slow, or waits without a timeout. Set a timeout there, or a"
                    " longer interval",
                    self._interval,
                    key,
                )

    def _due(
        self, since: float, now: float, again: set[str]
    ) -> dict[str, list[Client]]:
        due: dict[str, list[Client]] = {}
        for some in in_slices(self._registry.clients(), size=_CLIENTS_AT_ONCE):
            for client in some:
                if client.grant is not None:
                    key = client.user or client.id
                    if key in again or self._comes_up(key, since, now):
                        due.setdefault(key, []).append(client)
        return due

    def _comes_up(self, key: str, since: float, now: float) -> bool:
        """Tell whether a user becomes due between two moments.

        A hash of the key places the user in the period, at the same point of every
        period. Many users are spread evenly, and nothing is stored for each of them.
        """
        moment = hash(key) % 2**20 / 2**20 * self._period
        return (now - moment) // self._period > (since - moment) // self._period

    def _ask_beside(
        self, key: str, clients: Sequence[Client], *, first: bool
    ) -> threading.Thread | None:
        thread = threading.Thread(
            target=self._ask, args=(key, clients, first), daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            # For now the process has no room for another thread.
            self._not_told(key, first=first)
            self._asked_about(key)
            return None
        return thread

    def _ask(self, key: str, clients: Sequence[Client], first: bool) -> None:
        try:
            for client in self._judge(clients):
                self._lifecycle.close(client, CloseReason.REVOKED)
            self._failures = 0
        except BaseException:  # noqa: BLE001 - a rule may raise gevent's Timeout
            self._not_told(key, first=first)
        finally:
            self._asked_about(key)

    def _not_told(self, key: str, *, first: bool) -> None:
        # The user may still be allowed to listen, and a database that is away must not
        # end every stream. At the latest these streams end by age.
        self._again.add(key)
        self._failures += 1
        if first:
            self._rare_log.exception(
                "SSE-1403",
                "cannot check whether %r may still listen; trying again",
                key,
            )

    def _asked_about(self, key: str) -> None:
        del self._asked[key]
        self._slow.discard(key)
        self._free.release()
