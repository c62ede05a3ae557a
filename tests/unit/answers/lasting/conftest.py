"""Workers whose answers a test moves by hand, over one log."""

from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from flask_sse_hub.answers.batch import Batch
from flask_sse_hub.answers.departures import Departing
from flask_sse_hub.answers.lasting.desk import Desk
from flask_sse_hub.answers.lasting.entry import BookEntry
from flask_sse_hub.answers.lasting.press import Press
from flask_sse_hub.answers.lasting.reader import BookReader, position_of
from flask_sse_hub.answers.lasting.records import Begun
from flask_sse_hub.answers.lasting.runner import Runner
from flask_sse_hub.answers.lasting.succession import Restarts
from flask_sse_hub.answers.source import News
from flask_sse_hub.brokers import Broker, MemoryBroker
from flask_sse_hub.hub.clients.client import Client, Identity
from tests.kit.hand import KEEP_ALL, HandHub

#: Each item is due at once.
SINGLY = Batch(size=1)
TEXT = Batch(size=1, merge="".join)


class Given:
    """A supply whose items the test gives, one at a time."""

    def __init__(self, *items: Any) -> None:
        self.items = deque(items)
        self.error: BaseException | None = None
        self.exhausted = False
        self.stopped = False

    def start(self, on_news: News) -> None:
        """Do nothing: the items are there."""

    def end(self, error: BaseException | None = None) -> None:
        self.error, self.exhausted = error, error is None

    def take_ready(self) -> list[Any] | None:
        if self.items:
            return [self.items.popleft()]
        ended = self.exhausted or self.error is not None
        return None if self.stopped or ended else []

    def stop(self) -> None:
        self.stopped = True


def begun(**other: Any) -> Begun:
    values: dict[str, Any] = {
        "id": "answer",
        "run": "0123456789abcdef",
        "runner": "runner",
        "user": "7",
        "session": None,
        "protocol": "events",
        "is_text": True,
        "linger": 30.0,
        "keep": 60.0,
    }
    return Begun(**values | other)


class Watch:
    """A watch for departures without a thread."""

    def __init__(self) -> None:
        self.streams: list[Departing] = []

    def add(self, stream: Departing, connection: None) -> None:
        del connection
        self.streams.append(stream)

    def remove(self, stream: Departing) -> None:
        if stream in self.streams:
            self.streams.remove(stream)


class HandReader:
    """One reader of an answer, read as far as possible without waiting."""

    def __init__(
        self,
        worker: "Worker",
        entry: BookEntry,
        last_id: str | None,
        identity: Identity,
        **options: Any,
    ) -> None:
        self.client = Client(
            f"reader-{id(self)}",
            identity=identity,
            personal=False,
            since=worker.hand.broker.head(),
        )
        self.last_id = last_id
        self.source = BookReader(
            worker.desk,
            entry,
            self.client,
            position=position_of(last_id, entry),
            convert=lambda item, **place: (item, place),
            connection=None,
            announces=False,
            **{"resumes": True} | options,
        )
        self.ended = False
        self.source.start()

    def read(self) -> list[Any]:
        """Return the items that can be read now."""
        found: list[Any] = []
        while items := self.source.take(0.0):
            for item, place in items:
                found.append(item)
                self.last_id = place["event_id"]
                self.is_state = place.get("is_state", False)
        self.ended = items is None
        return found

    def text(self) -> str:
        return "".join(self.read())

    def drop(self) -> str | None:
        self.source.stop()
        return self.last_id


class GivenRestarts:
    """An app's function for restarts, which goes on with items that the test gives."""

    debug = False

    def __init__(self, *items: Any) -> None:
        self.items = items
        self.missing: str | None = None
        #: The contents from which it was asked to go on, and the sources it returned.
        self.calls: list[Any] = []
        self.sources: list[Given] = []

    def lacks(self, begun: Begun, *, running: int) -> str | None:
        del begun, running
        return self.missing

    def source(self, begun: Begun, content: Any) -> Given:
        del begun
        self.calls.append(content)
        self.sources.append(Given(*self.items))
        return self.sources[-1]


class HandPress(Press):
    """A press without a thread: a test moves its runners."""

    def __init__(self, broker: Broker, clock: Callable[[], float]) -> None:
        super().__init__(broker.publish_together, beside=lambda *_: None, clock=clock)
        #: The runners that go on with answers of other workers.
        self.added: list[Runner] = []

    def add(self, runner: Runner) -> None:
        super().add(runner)
        self.added.append(runner)
        _PRESSES[runner] = self

    def step(self, runner: Runner) -> None:
        """Let a runner do what is due, until it would wait."""
        if not runner.over.is_set():
            self.go_on([runner])
            while runner in self._outcomes:
                self.go_on([runner])


_PRESSES: "WeakKeyDictionary[Runner, HandPress]" = WeakKeyDictionary()


def step(runner: Runner) -> bool:
    """Let a runner do what is due. False at its end."""
    _PRESSES[runner].step(runner)
    return not runner.over.is_set()


class Worker:
    """One worker: a hub and a desk, without threads."""

    def __init__(
        self,
        broker: Broker,
        *,
        max_bytes: int = 1000,
        restarts: Restarts | None = None,
        **options: Any,
    ) -> None:
        self.hand = HandHub(broker, begun=False, **options)
        self.watch = Watch()
        self.press = HandPress(broker, self.hand.hub.clock)
        self.desk = Desk(
            self.hand.hub,
            max_bytes=max_bytes,
            restarts=restarts,
            departures=lambda: self.watch,
            beside=lambda *_: None,
            press=self.press,
            patience=0.0,
        )
        self.hand.begin()

    @property
    def runners(self) -> list[Runner]:
        """The runners of this worker, the oldest first."""
        return self.press.added

    def start(self, source: Any, *, batch: Batch = TEXT, **other: Any) -> Runner:
        timeout = other.pop("timeout", 600.0)
        runner = self.desk.enrol(
            begun(runner=self.desk.member_id, **other),
            source,
            batch=batch,
            timeout=timeout,
        ).runner
        self.press.add(runner)
        self.hand.bring()
        return runner

    def look(self) -> None:
        """Do what the desk's thread would do, and read the log."""
        self.hand.bring()
        self.desk.look()
        self.hand.bring()

    def read(
        self,
        answer_id: str = "answer",
        *,
        last_id: str | None = None,
        identity: Identity | None = None,
        **options: Any,
    ) -> HandReader:
        self.hand.bring()
        entry = self.desk.find(answer_id)
        assert entry is not None
        return HandReader(self, entry, last_id, identity or Identity("7"), **options)

    @property
    def entry(self) -> BookEntry:
        self.hand.bring()
        found = self.desk.book.get("answer")
        assert found is not None
        return found

    @property
    def reason(self) -> str | None:
        ended = self.entry.ended
        return None if ended is None else ended.reason


Workers = Callable[..., Worker]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(KEEP_ALL)


@pytest.fixture
def one(broker: MemoryBroker) -> Worker:
    return Worker(broker)


@pytest.fixture
def two(broker: MemoryBroker) -> Worker:
    return Worker(broker)


def run(runner: Runner) -> None:
    """Let a runner do everything that it can without waiting."""
    supply = runner._supply
    assert isinstance(supply, Given)
    while step(runner) and supply.items:
        pass


def finish(runner: Runner) -> None:
    """Let a runner come to its end."""
    for _ in range(1000):
        if not step(runner):
            return
    raise AssertionError("the runner has not ended")
