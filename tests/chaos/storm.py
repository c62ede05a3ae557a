"""The storm: each part that can break is broken while events are published.

A storm takes a bounded time and stops everything that it has started. The checker then
judges whether the promises were kept.
"""

import http.client
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from tests.chaos.audience import Audience, Listener
from tests.chaos.checker import (
    Fault,
    Kind,
    Published,
    faults_of_clients,
    faults_of_publishers,
    faults_of_values,
)
from tests.chaos.keepers import KEEPERS, Keeper
from tests.chaos.log import Log, Recorder
from tests.chaos.publisher import (
    BOUNDED_CHANNEL,
    CHANNELS,
    PATTERN,
    QUIET_CHANNEL,
    QUIET_USER,
    USERS,
)
from tests.chaos.publishers import Publishers
from tests.kit.sse_parser import ParsedEvent
from tests.live.server import Server

_PUBLISHERS = 3

# gunicorn loses a TERM to a worker that is just starting, and then waits for it.
_ARGS = "--workers 4 --graceful-timeout 3 --backlog 2048"

# Nothing expires, so every reset is false. A worker's memory reaches back only some ten
# seconds, so a client that was away for longer is served from the broker.
_SETTINGS: Mapping[str, Any] = {
    "history_events": 1_000_000,
    "history_bytes": 1_000_000_000,
    "max_event_bytes": 10_000,
    "memory_history_bytes": 400_000,
    "public_channels": ["news.*", QUIET_CHANNEL],
    "max_clients_per_user": None,
    "retry": [0.05, 0.5],
    # Streams end by age too, and a heartbeat ends even a short silence.
    "max_age": 20.0,
    "heartbeat_interval": 1.0,
}

# A few seconds of events, so that a client that sleeps may lose some.
_SCARCE = {"history_events": 100}

# A channel with bounds of its own, which it does not reach. Its events are apart from
# all others: a scarce log keeps them, and would not tell how far it is trimmed.
_ROOMY = {"history": {BOUNDED_CHANNEL: {"events": 1_000_000}}}

# How often each fault is drawn, per one reload and one of each outage.
_CUTS = 6
_KILLS = 2

# Seconds between two faults: some hit a server still busy with the last one.
_CALM = (0.2, 1.8)
_OUTAGE = (0.5, 2.0)

_MOST_CUTS = 40
# About half an event, so that a read soon ends inside an event.
_CUT_BYTES = 40

# The number of clients that are addressed or excluded by their own id.
_ADDRESSED = 8

# The share of clients that begin with the state, and of those with few events.
_ASK_STATE = 0.4
_QUIET = 0.2

# The share of clients that listen to a pattern too.
_WITH_PATTERN = 0.2

_START_SECONDS = 60.0
_CATCH_UP_SECONDS = 30.0

_OPENING = "the opening value"
_KEY = "opening"
_END = "the end"
_RESTORED = "the event after the restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of a storm; the seed decides the faults, not their exact time."""

    broker: str
    seconds: float
    clients: int = 400
    seed: int = 0
    #: The delivery of streams: a value of SSE_HUB_SOCKET_TAKEOVER.
    takeover: str | bool = "auto"
    #: Whether the log trims events that sleeping clients have not received.
    scarce: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The number of happenings by name, and the broken promises."""

    counts: Mapping[str, int]
    faults: list[Fault]


def run(plan: Plan) -> Outcome:
    """Run a storm and check every event."""
    settings = {**_SETTINGS, **(_SCARCE if plan.scarce else _ROOMY)}
    with (
        KEEPERS[plan.broker]() as keeper,
        Server(
            args=_ARGS, socket_takeover=plan.takeover, **settings, **keeper.settings
        ) as server,
    ):
        storm = Storm(plan, server, keeper)
        try:
            return storm.run()
        finally:
            storm.audience.leave()


class Storm:
    """One storm over one server."""

    def __init__(self, plan: Plan, server: Server, keeper: Keeper) -> None:
        self._plan = plan
        self._server = server
        self._keeper = keeper
        self._recorder = Recorder(keeper.read)
        self._rng = random.Random(plan.seed)
        self._listeners: list[Listener] = []
        self._counts: Counter[str] = Counter()
        self.audience = Audience(random.Random(plan.seed))

    def run(self) -> Outcome:
        """Connect the clients, run the storm, wait until all have caught up, check."""
        opening = self._tell(_OPENING, key=_KEY)
        self._fill()
        restore = self._keeper.back_up()
        some = self._rng.sample(self._listeners, _ADDRESSED)
        names = [f"{self._plan.seed}-{number}" for number in range(_PUBLISHERS)]
        ids = [listener.client_id for listener in some]
        to_all = not self._plan.scarce
        with (
            self._recorder if self._plan.scarce else nullcontext(),
            Publishers(self._server.port, names, ids, to_all=to_all) as publishers,
        ):
            self._rage()
            publishers.stop()
            self.audience.read_some(until=publishers.ended)
            calls = [opening, *publishers.calls()]
        calls.append(self._tell(_END))
        self.audience.read_for(
            _CATCH_UP_SECONDS, unless=lambda: self._are_at(str(calls[-1].id))
        )
        outcome = self._outcome(self._recorder.read(), calls)
        return Outcome(outcome.counts, outcome.faults + self._turn_back(restore))

    def _turn_back(self, restore: Callable[[], None]) -> list[Fault]:
        """Put an old log in place of the newest one, and return the faults.

        Each client has read events that the log has lost. It must be reset, and receive
        the next event. A page with values must show those of the old log.
        """
        before = {each: len(each.resets) for each in self._listeners}
        restore()

        def is_reset(listener: Listener) -> bool:
            return listener.is_whole and len(listener.resets) > before[listener]

        self.audience.read_for(
            _CATCH_UP_SECONDS, unless=lambda: all(map(is_reset, self._listeners))
        )
        told = self._tell(_RESTORED)
        self.audience.read_for(
            _CATCH_UP_SECONDS, unless=lambda: self._have_all(_RESTORED)
        )
        lost = [
            Fault(
                Kind.LOST,
                f"client {number}",
                str(told.id),
                f"after the restore, {len(listener.resets) - before[listener]} resets",
            )
            for number, listener in enumerate(self._listeners)
            if not (is_reset(listener) and _has(listener, _RESTORED))
        ]
        wrong = [
            Fault(Kind.WRONG_VALUE, f"client {number}", "", f"{listener.shown.values}")
            for number, listener in enumerate(self._listeners)
            if listener.shown and listener.shown.values != {("", _KEY): _OPENING}
        ]
        return lost + wrong

    def _fill(self) -> None:
        shared: dict[ParsedEvent, ParsedEvent] = {}
        for _ in range(self._plan.clients):
            is_quiet = self._rng.random() < _QUIET
            channels = self._rng.sample(CHANNELS, self._rng.randrange(4))
            if self._rng.random() < _WITH_PATTERN:
                channels.append(PATTERN)
            listener = Listener(
                self._server.port,
                user=QUIET_USER if is_quiet else self._rng.choice(USERS),
                channels=[QUIET_CHANNEL] if is_quiet else channels,
                state=self._rng.random() < _ASK_STATE,
                shared=shared,
            )
            self._listeners.append(listener)
            self.audience.add(listener)
        self.audience.read_some(
            until=lambda: all(each.is_whole for each in self._listeners),
            within=_START_SECONDS,
        )

    def _rage(self) -> None:
        """Break one part after another, each kind at least once."""
        ends = time.monotonic() + self._plan.seconds
        deck: list[Callable[[], None]] = []
        while deck or time.monotonic() < ends:
            self.audience.read_for(self._rng.uniform(*_CALM))
            if not deck:
                deck = [self._cut] * _CUTS + [self._kill] * _KILLS + [self._reload]
                deck += [self._fork]
                deck += [partial(self._suffer, name) for name in self._keeper.outages]
                self._rng.shuffle(deck)
            deck.pop()()

    def _cut(self) -> None:
        """Let some clients leave in the middle of an event."""
        some = self._rng.randint(1, min(_MOST_CUTS, len(self._listeners)))
        for listener in self._rng.sample(self._listeners, some):
            listener.cut_soon(_CUT_BYTES)

    def _kill(self) -> None:
        """Kill one worker, or all; some are just starting or ending."""
        workers = psutil.Process(self._server.process.pid).children()
        count = self._rng.choice([1, 1, 1, len(workers)])
        for worker in self._rng.sample(workers, min(count, len(workers))):
            with suppress(psutil.NoSuchProcess):
                worker.kill()
                self._counts["kills"] += 1

    def _reload(self) -> None:
        """Replace all workers, as an operator does for new code."""
        self._server.signal(signal.SIGHUP)
        self._counts["reloads"] += 1

    def _fork(self) -> None:
        """Have a worker fork, as subprocess does. The child copies all greenlets."""

        def fork() -> bool:
            # All workers may just have been killed.
            with suppress(OSError, http.client.HTTPException):
                self._server.request("POST", "/fork")
                self._counts["forks"] += 1
            return self._counts["forks"] > before

        before = self._counts["forks"]
        self.audience.read_some(until=fork)

    def _suffer(self, name: str) -> None:
        """Make the log unreachable for a while, and break another part meanwhile."""
        with self._keeper.outages[name]():
            self.audience.read_for(self._rng.uniform(*_OUTAGE))
            self._rng.choice([self._cut, self._kill, self._reload])()
            self.audience.read_for(self._rng.uniform(*_OUTAGE))
        self._counts[name] += 1

    def _tell(self, data: str, **options: str) -> Published:
        """Publish an event to all, when all calls before it are over."""
        told: list[str] = []

        def tell() -> bool:
            with suppress(OSError, http.client.HTTPException, AssertionError):
                told.append(self._server.publish(data, idempotency_key=data, **options))
            return bool(told)

        self.audience.read_some(until=tell)
        return Published(data, told[0])

    def _have_all(self, data: str) -> bool:
        return all(_has(listener, data) for listener in self._listeners)

    def _are_at(self, event_id: str) -> bool:
        place = _number(event_id)
        return all(
            each.is_whole and _number(each.place) >= place for each in self._listeners
        )

    def _outcome(self, log: Log, calls: list[Published]) -> Outcome:
        parts = [
            listener.part(who=f"client {number}", stopped=str(calls[-1].id))
            for number, listener in enumerate(self._listeners)
        ]
        faults = faults_of_publishers(log, calls) + faults_of_clients(log, parts)
        faults += faults_of_values(log, parts)
        counts = {
            "events": sum(not entry.is_control for entry in log.entries),
            "disconnects": sum(entry.is_control for entry in log.entries),
            "values": sum(len(part.shown or ()) for part in parts),
            "deliveries": sum(len(each.received) for each in self._listeners),
            "publish calls": len(calls),
            "unknown outcomes": sum(call.id is None for call in calls),
            "epochs": len(log.epochs),
            "resumes": sum(each.resumes for each in self._listeners),
            "resets": sum(len(each.resets) for each in self._listeners),
            "quiet resets": sum(
                len(each.resets) for each in self._listeners if each.user == QUIET_USER
            ),
            "refusals": sum(each.refusals for each in self._listeners),
            "cuts": sum(each.cuts for each in self._listeners),
            **self._counts,
            "faults": len(faults),
        }
        return Outcome(counts, faults)


def _number(event_id: str) -> int:
    """Return the number of an id, which only rises, also over epochs."""
    return int(event_id.rpartition("-")[2])


def _has(listener: Listener, data: str) -> bool:
    # A call that its publisher gave up may still be appended after the last event.
    return data in [event.data for event in listener.received[-_PUBLISHERS - 1 :]]
