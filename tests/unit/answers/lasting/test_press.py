"""The press: all answers of a process in one thread, and their parts in one record."""

import threading
from collections.abc import Callable, Sequence

import pytest

from flask_sse_hub import BrokerUnavailable
from flask_sse_hub.answers.batch import Batch
from flask_sse_hub.answers.lasting import records
from flask_sse_hub.answers.lasting.press import Press
from flask_sse_hub.answers.lasting.runner import Runner
from flask_sse_hub.answers.lasting.task import WrittenItems
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.brokers.base import LogError
from flask_sse_hub.events.record import Cursor, Record
from tests.kit.reader import wait_until
from tests.unit.answers.lasting.conftest import TEXT, Given, Worker, begun


def _started(worker: Worker, count: int, *items: str) -> list[Runner]:
    return [
        worker.start(Given(*items), id=f"answer-{number}", run=f"{number:016x}")
        for number in range(count)
    ]


def _parts_in(worker: Worker) -> list[Record]:
    head = worker.hand.broker.head()
    found = worker.hand.broker.replay(Cursor(head.epoch, 0), page=9999).records
    return [each for each in found if each.key is None]


def _text(worker: Worker, number: int) -> object:
    worker.hand.bring()
    entry = worker.desk.book.get(f"answer-{number}")
    assert entry is not None
    return entry.content


def test_parts_that_are_due_together_are_one_record(one: Worker, two: Worker) -> None:
    """A record costs the log and each worker far more than a part in it."""
    many = records.MOST_JOINED + 1
    one.press.go_on(_started(one, many, "text\n"))
    assert [len(each.addresses) for each in _parts_in(one)] == [many - 1, 1]
    assert {_text(two, number) for number in range(many)} == {"text\n"}


def test_large_parts_stay_apart(broker: MemoryBroker) -> None:
    """A record has a largest size, whatever is due."""
    worker = Worker(broker, max_bytes=100_000)
    worker.press.go_on(_started(worker, 3, "x" * 40_000))
    assert [len(each.addresses) for each in _parts_in(worker)] == [2, 1]


def test_a_part_that_cannot_be_read_hides_no_other(one: Worker, two: Worker) -> None:
    """Another program may have written it."""
    first, second = _started(one, 2)
    good = records.part(second.begun, 0, "good")
    bad = records.part(first.begun, 0, ["of another form"])
    ((joined, _),) = records.joined([bad, good])
    one.hand.broker.publish(joined)
    assert (_text(two, 0), _text(two, 1)) == ("", "good")


def test_a_worker_that_begins_reads_parts_that_were_joined(one: Worker) -> None:
    """Also parts of an answer that has its own record later in the state."""
    one.press.go_on(_started(one, 3, "text"))
    late = Worker(one.hand.broker)
    assert [_text(late, number) for number in range(3)] == ["text"] * 3


def test_a_record_that_is_refused_comes_again(
    one: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if it is in the log, and only the answer was lost: it counts once."""
    tried: list[int] = []

    def choosy(wanted: Sequence[Record]) -> list[Cursor | LogError]:
        tried.append(len(wanted))
        found = one.hand.broker.publish_together(wanted)
        return [BrokerUnavailable("away"), *found[1:]] if len(tried) == 1 else found

    press = Press(choosy, beside=lambda *_: None)
    supplies = [Given("x" * 900) for _ in range(2)]
    runners = [
        Runner(
            begun(id=f"answer-{number}", run=f"{number:016x}"),
            supply,
            batch=TEXT,
            timeout=60.0,
            max_bytes=1000,
        )
        for number, supply in enumerate(supplies)
    ]
    for runner, supply in zip(runners, supplies, strict=True):
        one.hand.broker.publish(records.begin(runner.begun))
        supply.end()
        press.add(runner)
    while not all(runner.over.is_set() for runner in runners):
        press.go_on([each for each in runners if not each.over.is_set()])
    # The parts are one record, and were refused. The ends are two.
    assert tried == [1, 1, 2]
    assert [_text(one, number) for number in range(2)] == ["x" * 900] * 2
    assert "wait for the broker" in caplog.text


class Threads:
    """A press with a real thread, over a log in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.names: list[str] = []
        self.press = Press(broker.publish_together, beside=self._beside)

    def _beside(self, function: Callable[[], None], name: str) -> None:
        self.names.append(name)
        threading.Thread(target=function, daemon=True).start()

    def start(self, number: int, batch: Batch = TEXT) -> tuple[Runner, WrittenItems]:
        supply = WrittenItems()
        described = begun(id=f"answer-{number}", run=f"{number:016x}", linger=None)
        runner = Runner(described, supply, batch=batch, timeout=60.0, max_bytes=1000)
        self.press.add(runner)
        return runner, supply


def test_one_thread_serves_all_answers_and_ends_with_them(
    broker: MemoryBroker,
) -> None:
    """The next answer starts another one."""
    threads = Threads(broker)
    started = [threads.start(number) for number in range(5)]
    for _, supply in started:
        supply.put("text")
        supply.finish(None)
    for runner, _ in started:
        assert runner.over.wait(10.0)
    assert threads.names == ["sse-answer"]
    wait_until(lambda: not threads.press.running)
    runner, supply = threads.start(9)
    supply.finish(None)
    assert runner.over.wait(10.0)
    assert threads.names == ["sse-answer"] * 2


def test_items_leave_after_their_interval_without_further_news(
    broker: MemoryBroker,
) -> None:
    """The press wakes by itself for the first item that waits."""
    threads = Threads(broker)
    runner, supply = threads.start(0, Batch(size=9, interval=0.01, merge="".join))
    before = broker.head()
    supply.put("text")
    wait_until(lambda: broker.head() != before)
    supply.finish(None)
    assert runner.over.wait(10.0)


def test_without_room_for_a_thread_nothing_stays(broker: MemoryBroker) -> None:
    """The next answer tries again."""

    def full(function: Callable[[], None], name: str) -> None:
        raise RuntimeError

    press = Press(broker.publish_together, beside=full)
    runner = Runner(begun(), Given(), batch=TEXT, timeout=60.0, max_bytes=1000)
    with pytest.raises(RuntimeError):
        press.add(runner)
    assert not press.running
