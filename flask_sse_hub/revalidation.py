"""Revalidation: asking again and again whether those who listen still may.

Decides when, and ends the streams of those who may not. What is asked of whom is the
app's business; it comes as one function.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from . import _native
from .client import Client, CloseReason
from .hub import Hub

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

# A database that is away answers nobody; one user whose loading fails is no reason not
# to ask about the others.
_MAX_FAILURES = 3

_CLIENTS_AT_ONCE = 500


class Revalidation:
    """Ask about each user of one hub once within an interval, spread over it."""

    def __init__(self, hub: Hub, judge: Judge, *, interval: float) -> None:
        self._hub = hub
        self._judge = judge
        self._interval = interval
        self._period = interval * _PERIOD
        self._every = min(interval / _LOOKS, _MAX_LOOK_SECONDS)
        # Whom the app is being asked about.
        self._asked: str | None = None
        # Who could not be asked about, to be tried again at the next look.
        self._again: set[str] = set()

    def run(self) -> None:
        """Ask until the hub is closed or its worker goes away."""
        last = self._hub.clock()
        while not self._hub.closed.wait(self._every) and not self._hub.draining:
            now = self._hub.clock()
            self.look(since=last, now=now)
            last = now

    def look(self, *, since: float, now: float) -> None:
        """Ask about those who became due since the last look."""
        again, self._again = self._again, set()
        groups = list(self._due(since, now, again).items())
        # Or the same few whose loading fails could be first each time.
        random.shuffle(groups)
        if groups:
            with self._watched():
                self._ask_all(groups, again)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Have the log hear of it if the app's answers take longer than promised.

        A loader may never return, so this cannot be said by who waits for it.
        """
        watch = threading.Timer(
            min(self._interval, threading.TIMEOUT_MAX), self._say_slow
        )
        watch.daemon = True
        # Without room for a thread it is only not said.
        with suppress(RuntimeError):
            watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _say_slow(self) -> None:
        log.warning(
            "asking who may still listen takes longer than the"
            " SSE_HUB_REVALIDATE_INTERVAL of %g s, now about %r: who is deleted or"
            " locked meanwhile listens on. A user_loader or a rule for channels is"
            " slow, or waits for something without a timeout",
            self._interval,
            self._asked,
        )

    def _ask_all(
        self, groups: Iterable[tuple[str, list[Client]]], again: set[str]
    ) -> None:
        failures = 0
        for key, clients in groups:
            if failures == _MAX_FAILURES:
                self._again.add(key)
                continue
            self._asked = key
            try:
                self._ask(clients)
                failures = 0
            except Exception:
                # That they may not listen is not known, and a database that is away
                # shall not sign everybody out. At the latest they end by age.
                self._again.add(key)
                failures += 1
                if key not in again:
                    log.exception("cannot tell yet whether %r may still listen", key)
            _native.breathe()

    def _due(
        self, since: float, now: float, again: set[str]
    ) -> dict[str, list[Client]]:
        due: dict[str, list[Client]] = {}
        clients = self._hub.registry.clients()
        for start in range(0, len(clients), _CLIENTS_AT_ONCE):
            for client in clients[start : start + _CLIENTS_AT_ONCE]:
                if client.grant is not None:
                    key = client.identity.user or client.id
                    if key in again or self._comes_up(key, since, now):
                        due.setdefault(key, []).append(client)
            _native.breathe()
        return due

    def _comes_up(self, key: str, since: float, now: float) -> bool:
        """Tell whether a user's moment lies between two others.

        It is the same in every period, wherever the user's name happens to fall: very
        many are spread evenly, and nothing is kept for each of them.
        """
        moment = hash(key) % 2**20 / 2**20 * self._period
        return (now - moment) // self._period > (since - moment) // self._period

    def _ask(self, clients: Sequence[Client]) -> None:
        for client in self._judge(clients):
            self._hub.dispatcher.close(client, CloseReason.REVOKED)
