"""Revalidation: asking again and again whether those who listen still may.

Decides when, and ends the streams of those who may not. What is asked of whom is the
app's business; it comes as one function.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterable, Sequence

from ..runtime.greenlets import in_slices
from .clients.client import Client
from .clients.close_reason import CloseReason
from .parts import Parts

log = logging.getLogger(__name__)

#: Told the streams of one user, or one stream of nobody in particular; returns those
#: that have to end.
Judge = Callable[[Sequence[Client]], Iterable[Client]]

# Everybody is asked about once in this part of the interval, and who is due is looked
# for twenty times in it, so that together they stay within the promise.
_PERIOD = 0.9
_LOOKS = 20
# A look goes through all clients: even if the interval is a day, it need not be rarer.
_MAX_LOOK_SECONDS = 5.0

# So many users are asked about at one time: a loader that is slow, or never returns,
# does not keep the others, and they take few of the app's database connections.
_AT_ONCE = 4

# A database that is away answers nobody; one user whose loading fails is no reason not
# to ask about the others.
_MAX_FAILURES = 3

_CLIENTS_AT_ONCE = 500


class Revalidation:
    """Ask about each user of one hub once within an interval, spread over it."""

    def __init__(self, parts: Parts, judge: Judge, *, interval: float) -> None:
        self._clock = parts.clock
        self._registry = parts.registry
        self._lifecycle = parts.lifecycle
        self._judge = judge
        self._interval = interval
        self._period = interval * _PERIOD
        self._every = min(interval / _LOOKS, _MAX_LOOK_SECONDS)
        self._free = threading.Semaphore(_AT_ONCE)
        # Who is being asked about, since when, and of whom that was said to take long.
        self._asked: dict[str, float] = {}
        self._slow: set[str] = set()
        # Who could not be asked about, to be tried again at the next look.
        self._again: set[str] = set()
        # Failures in a row.
        self._failures = 0

    def run(self, closed: threading.Event) -> None:
        """Ask until ``closed`` is set or the worker goes away."""
        last = self._clock()
        while not closed.wait(self._every) and not self._lifecycle.draining:
            now = self._clock()
            self.look(since=last, now=now)
            last = now

    def look(self, *, since: float, now: float) -> None:
        """Ask about those who became due since the last look.

        Waits for the answers, but not for those that take their time.
        """
        self._say_slow(now)
        again, self._again = self._again, set()
        groups = list(self._due(since, now, again).items())
        # Or the same few whose loading fails could be first each time.
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
                log.warning(
                    "it takes longer than the SSE_HUB_REVALIDATE_INTERVAL of %g s to"
                    " tell whether %r may still listen: a user_loader or a rule for"
                    " channels is slow, or waits for something without a timeout",
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
                    key = client.identity.user or client.id
                    if key in again or self._comes_up(key, since, now):
                        due.setdefault(key, []).append(client)
        return due

    def _comes_up(self, key: str, since: float, now: float) -> bool:
        """Tell whether a user's moment lies between two others.

        It is the same in every period, wherever the user's name happens to fall: very
        many are spread evenly, and nothing is kept for each of them.
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
            # The process has no room for another thread, for now.
            self._not_told(key, first=first)
            self._asked_about(key)
            return None
        return thread

    def _ask(self, key: str, clients: Sequence[Client], first: bool) -> None:
        try:
            for client in self._judge(clients):
                self._lifecycle.close(client, CloseReason.REVOKED)
            self._failures = 0
        except Exception:  # noqa: BLE001 - it is logged
            self._not_told(key, first=first)
        finally:
            self._asked_about(key)

    def _not_told(self, key: str, *, first: bool) -> None:
        # That they may not listen is not known, and a database that is away shall not
        # sign everybody out. At the latest they end by age.
        self._again.add(key)
        self._failures += 1
        if first:
            log.exception("cannot tell yet whether %r may still listen", key)

    def _asked_about(self, key: str) -> None:
        del self._asked[key]
        self._slow.discard(key)
        self._free.release()
