"""Presence through a storm: 300 people with one to four tabs on three real workers.

``python -m tests.chaos.presence_storm --broker redis`` opens, closes and reloads tabs
and logs people out, while workers are killed, reloaded and stopped, and Redis is away
for a minute. At rest each worker's answer has to be the truth. Each tab has to have
seen each join and leave once, in the order of the log, and nobody may have left within
the grace. The exit code is 1 otherwise.
"""

import argparse
import http.client
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import Any

from flask_sse_hub import Event
from flask_sse_hub.brokers import create_broker
from flask_sse_hub.events.record import Cursor, Retention
from tests.chaos.presence_storm.checker import (
    Change,
    faults_of_answer,
    faults_of_graces,
    faults_of_log,
    faults_of_tab,
)
from tests.chaos.presence_storm.tabs import ROOM, People
from tests.kit.redis_server import RedisServer
from tests.live.server import Server

_WORKERS = 3
_GRACE = 8.0
_NAME = "storm"
_KEEP = Retention(events=1_000_000, seconds=36_000.0, bytes=1_000_000_000)
_FAULTS_SHOWN = 20

# Every tenth person has a session, and can log out.
_ONE_IN_LOGGED_IN = 10

# A worker that is stopped for this time is written off, since the workers of the live
# site beat twice a second. It is back before its people leave: that takes four beats of
# the others, and the grace.
_ASLEEP_SECONDS = 6.0
_OUTAGE_SECONDS = 60.0

# A worker that goes on has read the log within this time.
_WAKING_SECONDS = 2.0

# Longer than a worker is missed, a grace, and the tries of all workers.
_REST_SECONDS = 40.0
_BACK_SECONDS = 30.0

_SETTINGS: dict[str, Any] = {
    "presence": [ROOM],
    "presence_grace": _GRACE,
    "public_channels": [ROOM],
    "max_clients_per_user": None,
    "history_events": _KEEP.events,
    "history_bytes": _KEEP.bytes,
    # Otherwise a tab is reset when its user has logged in again.
    "resume_before_login": True,
    "retry": [0.1, 0.5],
    "heartbeat_interval": 5.0,
}


class Storm:
    """One storm over one server."""

    def __init__(
        self, plan: argparse.Namespace, server: Server, redis: RedisServer | None
    ) -> None:
        self._seconds = plan.seconds
        self._server = server
        self._redis = redis
        self._draw = random.Random(plan.seed)
        self._users = [f"person-{number}" for number in range(plan.people)]
        self.people = People(self._draw, server.port)
        self.happened: Counter[str] = Counter()
        # The times in which a worker was stopped.
        self._stops: list[tuple[float, float]] = []

    def run(self) -> list[str]:
        """Let people come, run the storm, wait for the rest, and check."""
        self._register()
        for user in self._users:
            for _ in range(self._draw.randint(1, 4)):
                self.people.open(user)
        self.people.read_some(until=self.people.all_are_back, within=120.0)
        # A reader that is behind would note the ends of streams too late.
        self.people.read_for(_BACK_SECONDS, unless=self.people.is_quiet)
        self._rage()
        self._rest()
        return list(self._faults())

    def _register(self) -> None:
        database = self._server.folder / "users.db"
        with closing(sqlite3.connect(database)) as connection, connection:
            rows = [[user] for user in self._users]
            connection.executemany("INSERT INTO user VALUES (?)", rows)
        for user in self._users[::_ONE_IN_LOGGED_IN]:
            self.people.cookies[user] = self._server.cookie(user)

    # The storm

    def _rage(self) -> None:
        ends = time.monotonic() + self._seconds
        deck: list[Callable[[], None]] = []
        while deck or time.monotonic() < ends:
            if not deck:
                deck = [self._kill, self._kill, self._reload, self._sleep]
                deck += [self._outage] if self._redis else []
                self._draw.shuffle(deck)
            self._live(self._draw.uniform(4.0, 10.0))
            action = deck.pop()
            print(f"{time.time():.1f} {action.__name__}", flush=True)
            action()

    def _live(self, seconds: float) -> None:
        """Let people come and go for a while."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for tab in self.people.draw_tabs(4):
                self.people.close(tab)
                self.happened["closes"] += 1
            for tab in self.people.draw_tabs(6):
                self.people.close(tab)
                self.people.open(tab.user)
                self.happened["reloads of pages"] += 1
            for user in self._draw.sample(self._users, self._draw.randint(0, 4)):
                if self.people.cookies.get(user) != "":
                    self.people.open(user)
                    self.happened["opens"] += 1
            if self._draw.random() < 0.2:
                self._log_out(self._draw.choice(list(self.people.cookies)))
            self.people.read_for(self._draw.uniform(0.2, 1.0))

    def _log_out(self, user: str) -> None:
        """End a session on all workers. Half of the people log in again at once."""
        cookies = self.people.cookies
        with suppress(OSError, http.client.HTTPException, TypeError):
            if cookies[user]:
                self._server.request("POST", "/logout", Cookie=cookies[user])
                self.happened["logouts"] += 1
                cookies[user] = ""
            if self._draw.random() < 0.5:
                cookies[user] = self._server.cookie(user)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._draw.choice(self._server.workers()), signal.SIGKILL)
            self.happened["kills"] += 1

    def _reload(self) -> None:
        self._server.signal(signal.SIGHUP)
        self.happened["reloads"] += 1

    def _sleep(self) -> None:
        """Stop a worker until it is written off. Others go on."""
        victim = self._draw.choice(self._server.workers())
        # A request that the stopped worker has accepted would wait for it.
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGSTOP)
            begun = time.time()
            self.people.read_for(_ASLEEP_SECONDS)
            os.kill(victim, signal.SIGCONT)
            self._stops.append((begun, time.time()))
            self.happened["stops"] += 1

    def _outage(self) -> None:
        if self._redis is None:
            return
        self._redis.kill()
        try:
            self._live(_OUTAGE_SECONDS)
        finally:
            print(f"{time.time():.1f} over", flush=True)
            self._redis.start()
        self.happened["outages"] += 1

    # The end

    def _rest(self) -> None:
        self.people.read_for(_BACK_SECONDS, unless=self.people.all_are_back)
        self.people.read_for(_REST_SECONDS)
        self.people.read_for(_BACK_SECONDS, unless=self.people.all_are_back)

    def _log(self) -> list[Change]:
        url = (
            self._redis.url
            if self._redis
            else f"sqlite:///{self._server.folder}/hub.db"
        )
        broker = create_broker(url, _KEEP, folder=self._server.folder, name=_NAME)
        with closing(broker):
            place = Cursor(broker.head().epoch, 0)
            found = []
            while records := broker.replay(place, page=10_000).records:
                found += [each for each in records if f"p:{ROOM}" in each.addresses]
                place = records[-1].cursor
        told = [
            (each, json.loads(each.content.data))
            for each in found
            if isinstance(each.content, Event)
        ]
        return [
            Change(each.cursor.offset, data["type"], data["user"], each.time)
            for each, data in told
        ]

    def _alive_until(self, ended: float) -> float:
        """Return the moment at which a stream was surely alive.

        A stream whose session has ended closes when its worker goes on. The others have
        written that worker off before, and the grace has begun then.
        """
        for begun, over in self._stops:
            if begun < ended < over + _WAKING_SECONDS:
                return begun
        return ended

    def _faults(self) -> Iterator[str]:
        log, now = self._log(), time.time()
        self.happened["changes in the log"] = len(log)
        yield from faults_of_log(log)
        stays = {
            user: [(opened, self._alive_until(ended)) for opened, ended in each]
            for user, each in self.people.stays_until(now).items()
        }
        yield from faults_of_graces(log, stays, grace=_GRACE)
        for tab in self.people.tabs:
            if not tab.is_greeted:
                yield f"a tab of {tab.user} is not back: {tab.turned_away[-1:]}"
        for tab in self.people.tabs + self.people.gone:
            seen = tab.seen()
            self.happened["changes seen"] += len(seen.changes)
            yield from faults_of_tab(log, seen)
        truth = self.people.truth()
        for worker in self._server.workers():
            with self._server.only(worker):
                answer = self._server.json(f"/present/{ROOM}")
            yield from faults_of_answer(f"worker {worker}", answer["devices"], truth)
            if answer["stale"]:
                yield f"worker {worker} is stale"


@contextmanager
def _storm(plan: argparse.Namespace) -> Iterator[Storm]:
    args = f"--workers {_WORKERS} --graceful-timeout 3 --backlog 2048 --timeout 60"
    with RedisServer() if plan.broker == "redis" else nullcontext() as redis:
        settings = dict(_SETTINGS, socket_takeover=plan.takeover)
        if redis is not None:
            settings |= {"broker_url": redis.url, "name": _NAME}
        with Server(args=args, **settings) as server:
            storm = Storm(plan, server, redis)
            try:
                yield storm
            finally:
                storm.people.leave()


def main() -> int:
    """Run the storm that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=["sqlite", "redis"], required=True)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument(
        "--generator",
        dest="takeover",
        action="store_const",
        const=False,
        default="auto",
        help="deliver by generator, not by taken-over sockets",
    )
    plan = parser.parse_args()
    print(plan, flush=True)
    with _storm(plan) as storm:
        faults = storm.run()
        print(", ".join(f"{name}: {count}" for name, count in storm.happened.items()))
    print(f"{len(faults)} faults", *faults[:_FAULTS_SHOWN], sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
