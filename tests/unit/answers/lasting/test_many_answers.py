"""Many answers on workers that die, drain and sleep, with readers that drop anywhere.

Everything is drawn from a seed, and moved by hand: no threads, and no waiting. The log
is a real one.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub.answers.lasting.records import MOST_RESTARTS, Begun, Restart
from flask_sse_hub.answers.lasting.runner import Runner
from flask_sse_hub.answers.source import News
from flask_sse_hub.brokers import Broker, create_broker
from flask_sse_hub.hub.members import farewell_of
from tests.kit.hand import KEEP_ALL
from tests.unit.answers.lasting.conftest import HandReader, Worker, step

_ANSWERS = 12
_WORDS = 25
_ROUNDS = 40
_RESTART = Restart(
    function="app.go_on", timeout=6000.0, app_context=False, size=1, interval=0.1
)


class Words:
    """The words of an answer from a number on, a few at a time."""

    error: BaseException | None = None

    def __init__(self, draw: random.Random, first: int) -> None:
        self._draw = draw
        self._next = first
        self._has_given = False
        self.exhausted = False
        self.stopped = False

    def start(self, on_news: News) -> None:
        """Do nothing: the words are there."""

    def take_ready(self) -> list[Any] | None:
        if self.stopped:
            return None
        if self._next == _WORDS:
            self.exhausted = True
            return None
        # The runner asks again until nothing is there.
        self._has_given = not self._has_given and self._draw.random() < 0.6
        if not self._has_given:
            return []
        self._next += 1
        return [f"{self._next - 1}."]

    def stop(self) -> None:
        self.stopped = True


class GoingOn:
    """The restarts of one worker."""

    debug = False

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def lacks(self, begun: Begun, *, running: int) -> str | None:
        del begun, running
        return None

    def source(self, begun: Begun, content: Any) -> Words:
        del begun
        return Words(self._draw, content.count("."))


class Reader:
    """A client that reads one answer to its end, wherever it is connected."""

    def __init__(self, fleet: "Fleet", answer_id: str) -> None:
        self._fleet = fleet
        self._answer_id = answer_id
        self._at: HandReader | None = None
        self._worker: Worker | None = None
        self._last_id: str | None = None
        self.text = ""
        self.end: str | None = None

    def move(self, draw: random.Random) -> None:
        """Read on, drop the connection, or lose what is on its way."""
        if self.end is not None or (self._at is None and draw.random() < 0.5):
            return
        if self._worker not in self._fleet.workers:
            self._drop()
        if self._at is None:
            self._worker = draw.choice(self._fleet.workers)
            self._at = self._worker.read(self._answer_id, last_id=self._last_id)
        if draw.random() < 0.15:
            # The last bytes have not arrived.
            self._at.read()
            self._drop()
            return
        self.text += self._at.text()
        self._last_id = self._at.last_id
        if self._at.ended:
            self._note_end(self._at)
            self._drop()
        elif draw.random() < 0.2:
            self._drop()

    def _drop(self) -> None:
        if self._at is not None:
            self._at.drop()
        self._at = None

    def _note_end(self, at: HandReader) -> None:
        if at.source.failure is not None:
            self.end = at.source.failure.reason or "failed"
        elif at.source.exhausted:
            self.end = at.source.reason or "done"


class Fleet:
    """The workers of one log, and what happens to them."""

    def __init__(self, open_broker: Callable[[], Broker], seed: int) -> None:
        self.draw = random.Random(seed)
        self._open_broker = open_broker
        self.workers = [self._new_worker() for _ in range(3)]
        self._asleep: list[Worker] = []
        self.ids = [f"answer-{number}" for number in range(_ANSWERS)]
        for number, answer_id in enumerate(self.ids):
            worker = self.draw.choice(self.workers)
            worker.start(
                Words(self.draw, 0),
                id=answer_id,
                run=f"{number:016x}",
                restart=_RESTART,
                linger=None,
            )
        self.readers = [Reader(self, each) for each in self.ids for _ in range(3)]
        self.bring()

    def _new_worker(self) -> Worker:
        worker = Worker(
            self._open_broker(), max_bytes=10_000, restarts=GoingOn(self.draw)
        )
        worker.hand.stream()
        return worker

    def bring(self) -> None:
        for worker in self.workers:
            worker.hand.bring()

    def _runners(self, worker: Worker) -> list[Runner]:
        return [each for each in worker.runners if not each.over.is_set()]

    def go_on(self, *, happens: bool) -> None:
        """Let everybody do a little; perhaps something happens to a worker."""
        for worker in self.workers:
            worker.hand.clock.advance(0.05)
            runners = self._runners(worker)
            worker.press.go_on([it for it in runners if self.draw.random() < 0.7])
        if happens and self.draw.random() < 0.15:
            self.draw.choice([self._kill, self._drain, self._sleep, self._stop])()
        if self._asleep and self.draw.random() < 0.3:
            self._wake()
        for worker in self.workers:
            if self.draw.random() < 0.8:
                worker.look()
        for reader in self.readers:
            if self.draw.random() < 0.3:
                reader.move(self.draw)

    def _lose_worker(self) -> Worker:
        worker = self.workers.pop(self.draw.randrange(len(self.workers)))
        if len(self.workers) < 3:
            self.workers.append(self._new_worker())
        return worker

    def _write_off(self, worker: Worker) -> None:
        self.workers[0].hand.broker.publish(farewell_of(worker.desk.member_id))

    def _kill(self) -> None:
        self._write_off(self._lose_worker())

    def _sleep(self) -> None:
        self._asleep.append(self._lose_worker())
        self._write_off(self._asleep[-1])

    def _wake(self) -> None:
        """Let a worker that was stopped write what it still has, before it reads."""
        worker = self._asleep.pop()
        worker.hand.clock.advance(9.0)
        late = self._runners(worker)
        for runner in late * 3:
            step(runner)
        worker.look()
        assert all(runner.over.is_set() for runner in late)
        self.workers.append(worker)

    def _drain(self) -> None:
        worker = self._lose_worker()
        for stream in list(worker.watch.streams):
            stream.worker_leaves()
        for runner in self._runners(worker):
            while step(runner):
                pass
        worker.hand.hub.members.leave()

    def _stop(self) -> None:
        worker = self.draw.choice(self.workers)
        worker.hand.bring()
        entry = worker.desk.book.get(self.draw.choice(self.ids))
        if entry is not None and entry.is_running:
            # As the call does it, which would wait for a follower.
            worker.desk.end(entry, "stopped")

    @property
    def is_over(self) -> bool:
        return all(reader.end for reader in self.readers) and not self._asleep


@pytest.fixture(params=["sqlite", "redis"])
def open_broker(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], Broker]]:
    """Return a function that opens one log again, as each worker does."""
    url = "sqlite:///log.db"
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
    opened: list[Broker] = []

    def open_it() -> Broker:
        broker = create_broker(url, KEEP_ALL, folder=tmp_path, name=tmp_path.name)
        opened.append(broker)
        return broker

    yield open_it
    for broker in opened:
        broker.close()


def test_every_reader_receives_everything_once_and_one_end(
    open_broker: Callable[[], Broker],
) -> None:
    """Workers die, drain and sleep. A worker that begins later agrees."""
    fleet = Fleet(open_broker, seed=1)
    rounds = itertools.count()
    while (number := next(rounds)) < _ROUNDS or not fleet.is_over:
        fleet.go_on(happens=number < _ROUNDS)
        assert number < 20 * _ROUNDS, "some readers wait for an end"
    fleet.bring()
    late = Worker(open_broker())
    whole = "".join(f"{number}." for number in range(_WORDS))
    ends = set()
    for index, answer_id in enumerate(fleet.ids):
        entries = [each.desk.book.get(answer_id) for each in (*fleet.workers, late)]
        found = {(each.ended, each.content) for each in entries if each is not None}
        assert len(found) == 1
        ((ended, content),) = found
        assert ended is not None
        assert isinstance(content, str)
        ends.add(ended.reason)
        assert content == whole if ended.reason == "done" else whole.startswith(content)
        if ended.reason == "lost":
            assert {e.begun.turn for e in entries if e is not None} == {MOST_RESTARTS}
        for reader in fleet.readers[3 * index : 3 * index + 3]:
            assert (reader.text, reader.end) == (content, ended.reason)
    assert {"done", "stopped"} <= ends
    _nothing_is_left(fleet)


def _nothing_is_left(fleet: Fleet) -> None:
    """After keep seconds no answer, run or key is there."""
    for _ in range(3):
        for worker in fleet.workers:
            worker.hand.clock.advance(61.0)
            worker.look()
    for worker in fleet.workers:
        assert len(worker.desk.book) == worker.desk.running == 0
        assert worker.watch.streams == []
        assert len(worker.hand.hub.clients()) == 1  # its own
        worker.hand.hub.members.beat()
    kept = fleet.workers[0].hand.broker.state().records
    assert [each.key for each in kept] == []
