"""Workers that share one log and tell each other who is present, moved by hand.

The checker compares the answer of each worker with the streams that are open.
"""

import json
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask_sse_hub.brokers import Broker, MemoryBroker
from flask_sse_hub.events.record import PresencePart, Subscribe
from flask_sse_hub.hub.clients.present_client import Seat
from flask_sse_hub.hub.members import BEAT_SECONDS
from flask_sse_hub.hub.presence.announcer import Arrivals
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL, HandHub, HandStream

# Rounds in which workers with hundreds of tabs come to rest.
_MOST_ROUNDS = 50

#: The channel of most tests.
ROOM = "room.7"


@dataclass(eq=False)
class Tab:
    """One open tab, and the presence events that it has received, such as "join ann".

    It reads whenever its worker has worked, so it never lags.
    """

    stream: HandStream
    seen: list[str] = field(default_factory=list)

    def read(self) -> None:
        for event in self.stream.read():
            if event.type == "presence":
                found = json.loads(event.data)
                self.seen.append(f"{found['type']} {found['user']}")

    def changes(self) -> list[str]:
        """Return the events since the last call."""
        seen, self.seen = self.seen, []
        return seen


class Worker(HandHub):
    """One worker whose beats and steps the test makes."""

    def __init__(self, broker: Broker, clock: Clock, **options: Any) -> None:
        self.told: list[str] = []
        self.tabs: list[Tab] = []
        self.is_stopped = False
        super().__init__(
            broker,
            clock=clock,
            arrivals=Arrivals(
                user_came=self._note("came"),
                user_left=self._note("left"),
                channel_occupied=self._note("occupied"),
                channel_vacated=self._note("vacated"),
            ),
            unheard=lambda event, _, target: self.told.append(
                f"unheard {event.data} {target}"
            ),
            presence=True,
            **options,
        )
        self.roster = self.parts.roster

    def _note(self, what: str) -> Callable[[str], object]:
        return lambda name: self.told.append(f"{what} {name}")

    def tab(
        self, user: str | None, *channels: str, data: str = "{}", sees: bool = True
    ) -> Tab:
        """Open a tab of a user in some channels."""
        channels = channels or (ROOM,)
        stream = self.stream(
            # Of all workers, this one alone has the tab.
            client_id=secrets.token_hex(8),
            user=user,
            channels=channels,
            regrant=lambda grant: grant,
            seats=[Seat(name, user, data) for name in channels],
            sees=channels if sees else (),
        )
        self.tabs.append(tab := Tab(stream))
        return tab

    def move_tab(
        self, tab: Tab, *, to: str = "", away: str = "", data: str | None = "{}"
    ) -> None:
        """Have a tab enter a channel and leave another one, as its page asks."""
        added = tuple(filter(None, [to]))
        change = Subscribe(
            added,
            tuple(filter(None, [away])),
            presence=tuple(PresencePart(name, data, sees=True) for name in added),
        )
        self.hub.change_channels(tab.stream.client.id, change)

    def close_tab(self, tab: Tab) -> None:
        self.tabs.remove(tab)
        tab.stream.drop()

    def bring(self) -> None:
        super().bring()
        for tab in self.tabs:
            tab.read()

    def deliver(self) -> None:
        """Write and deliver the hooks that are due."""
        self.parts.hooks.step()
        for courier in self.parts.couriers:
            while courier.step():
                pass

    def users(self, channel: str = ROOM) -> list[str]:
        """Return the people that this worker knows."""
        return [each.user for each in self.roster.people(channel)]

    def devices(self, channel: str = ROOM) -> dict[str, int]:
        return {each.user: each.devices for each in self.roster.people(channel)}


class Company:
    """The workers of one log."""

    def __init__(
        self, broker: Broker | None = None, *, workers: int = 2, **options: Any
    ) -> None:
        self.broker = broker or MemoryBroker(KEEP_ALL)
        self._options = options
        self.clock = Clock()
        self.workers: list[Worker] = []
        self._killed: list[Worker] = []
        for _ in range(workers):
            self.hire()

    def hire(self, **options: Any) -> Worker:
        worker = Worker(self.broker, self.clock, **self._options | options)
        self.workers.append(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """End a worker as SIGKILL does: it says nothing."""
        self.workers.remove(worker)
        # Collected as garbage, its follower would take the lock of the log at any time.
        self._killed.append(worker)

    def close(self) -> None:
        """Close the log, and let all followers end."""
        self.broker.close()
        for worker in self.workers + self._killed:
            while worker.parts.follower.take():
                pass

    @property
    def moving(self) -> list[Worker]:
        return [each for each in self.workers if not each.is_stopped]

    def settle(self) -> None:
        """Let all workers work until none has anything to do now."""
        before, rounds = None, 0
        while (head := self.broker.head()) != before:
            before, rounds = head, rounds + 1
            assert rounds < _MOST_ROUNDS, "the workers never come to rest"
            # The second step finds what the first one has read.
            for worker in self.moving * 2:
                worker.bring()
                worker.roster.step()
                worker.deliver()

    def wait(self, seconds: float) -> None:
        """Let some seconds pass, with the beats of all workers."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            if self.clock.now % BEAT_SECONDS == 0:
                for worker in self.moving:
                    worker.bring()
                    worker.parts.members.beat()
            for worker in self.moving:
                worker.parts.clerk.step()
            self.settle()

    def truth(self, channel: str = ROOM) -> Counter[str | None]:
        """Return the number of open tabs of each user in a channel."""
        clients = [tab.stream.client for each in self.workers for tab in each.tabs]
        return Counter(
            client.identity.user for client in clients if channel in client.channels
        )

    def check(self, channel: str = ROOM) -> None:
        """Fail if a worker's answer differs from the open tabs."""
        truth = self.truth(channel)
        anonymous = truth.pop(None, 0)
        for worker in self.moving:
            assert worker.devices(channel) == truth
            assert worker.roster.people(channel).anonymous == anonymous


def check_order(seen: list[str]) -> None:
    """Fail if a person comes twice without leaving, or leaves without coming."""
    present: set[str] = set()
    for change in seen:
        kind, user = change.split()
        if kind == "join":
            assert user not in present, f"{user} came twice"
            present.add(user)
        elif kind == "leave":
            assert user in present, f"{user} left twice"
            present.remove(user)
