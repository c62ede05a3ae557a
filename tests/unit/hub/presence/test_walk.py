"""Presence after any chaos: every worker knows the open streams, and no other ones."""

import random

import pytest

from flask_sse_hub.brokers import Broker
from tests.kit.hand import KEEP_ALL
from tests.kit.people import ROOM, Company, Tab, Worker, check_order
from tests.unit.brokers.conftest import MakeBroker

ROOMS = [ROOM, "room.8"]
NAMES = [f"user-{number}" for number in range(8)]


class Walk:
    """A random walk. Two workers stay, and an observer on each reads all the time."""

    def __init__(self, broker: Broker | None, seed: int) -> None:
        self.random = random.Random(seed)
        self.company = Company(broker)
        self.observers = [
            worker.tab(f"observer-{number}")
            for number, worker in enumerate(self.company.workers)
        ]
        self.company.settle()
        self.company.hire()
        self.company.hire()

    @property
    def _mortal(self) -> list[Worker]:
        return self.company.workers[2:]

    def step(self) -> None:
        action = self.random.choice(
            [
                *(self.open, self.open, self.close, self.close, self.move),
                *(self.enter, self.leave),
                *(self.end, self.drain, self.stop),
                *(self.wait, self.wait, self.wait),
            ]
        )
        action()
        if self.random.random() < 0.5:
            self.company.settle()

    def open(self) -> None:
        worker = self.random.choice(self.company.moving)
        worker.tab(self.random.choice([*NAMES, None]), sees=False)

    def close(self) -> None:
        for worker in self.random.sample(self.company.moving, 1):
            for tab in worker.tabs[:]:
                if tab not in self.observers and self.random.random() < 0.5:
                    worker.close_tab(tab)

    def _any_tab(self) -> tuple[Worker, Tab] | None:
        worker = self.random.choice(self.company.moving)
        tabs = [each for each in worker.tabs if each not in self.observers]
        return (worker, self.random.choice(tabs)) if tabs else None

    def enter(self) -> None:
        """Have an open tab enter a channel, or say again that it is there."""
        if (found := self._any_tab()) is not None:
            worker, tab = found
            data = self.random.choice(["{}", '{"page":1}'])
            worker.move_tab(tab, to=self.random.choice(ROOMS), data=data)

    def leave(self) -> None:
        """Have an open tab leave a channel."""
        if (found := self._any_tab()) is not None:
            worker, tab = found
            worker.move_tab(tab, away=self.random.choice(ROOMS))

    def check(self) -> None:
        for room in ROOMS:
            self.company.check(room)

    def move(self) -> None:
        """Reload each page of a worker, on any worker."""
        worker = self.random.choice(self.company.moving)
        for tab in worker.tabs[:]:
            if tab not in self.observers:
                worker.close_tab(tab)
                other = self.random.choice(self.company.moving)
                other.tab(tab.stream.client.identity.user, sees=False)

    def end(self) -> None:
        """Kill a worker, and let another one begin."""
        if self._mortal:
            self.company.kill(self.random.choice(self._mortal))
            self.company.hire()

    def drain(self) -> None:
        """Stop a worker in an orderly way. Some of its people come back at once."""
        if not self._mortal:
            return
        worker = self.random.choice(self._mortal)
        if worker.is_stopped:
            return
        tabs = worker.tabs[:]
        for tab in tabs:
            worker.close_tab(tab)
        worker.hub.drain()
        self.company.kill(worker)
        new = self.company.hire()
        for tab in tabs:
            if self.random.random() < 0.7:
                new.tab(tab.stream.client.identity.user, sees=False)

    def stop(self) -> None:
        """Stop a worker, or let it go on."""
        if self._mortal:
            worker = self.random.choice(self._mortal)
            worker.is_stopped = not worker.is_stopped

    def wait(self) -> None:
        self.company.wait(self.random.randint(1, 12))

    def rest(self) -> None:
        for worker in self.company.workers:
            worker.is_stopped = False
        self.company.wait(60)


@pytest.mark.parametrize("seed", range(6))
def test_a_random_walk_ends_in_the_truth(seed: int) -> None:
    """Each worker's answer is right at rest, and each change came once to everybody."""
    walk = Walk(None, seed)
    for _ in range(60):
        walk.step()
    walk.rest()
    walk.check()
    first, second = (tab.changes() for tab in walk.observers)
    check_order(first)
    assert second == first[len(first) - len(second) :]
    walk.company.hire()
    walk.check()


def test_a_walk_over_a_stored_log(make_broker: MakeBroker) -> None:
    """Records and the state come back from files and from Redis as they were."""
    walk = Walk(make_broker(KEEP_ALL), 1)
    for _ in range(6):
        walk.step()
    walk.rest()
    walk.check()
    walk.company.close()
