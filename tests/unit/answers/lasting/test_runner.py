"""Runners: one answer in the log, from its items to its one end."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable, Event, InvalidEvent
from flask_sse_hub.answers.batch import Batch
from flask_sse_hub.answers.lasting import records
from flask_sse_hub.answers.progress import Progress
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.record import Cursor, Record
from tests.kit.hand import KEEP_ALL
from tests.unit.answers.lasting.conftest import (
    SINGLY,
    TEXT,
    Given,
    Worker,
    finish,
    run,
    step,
)


class SlowBroker(MemoryBroker):
    """A memory broker that takes some records, and says so or not."""

    def __init__(self) -> None:
        super().__init__(KEEP_ALL)
        self.trouble: list[str] = []

    def publish(self, record: Record) -> Cursor:
        kind = self.trouble.pop(0) if self.trouble and record.key != "beat" else ""
        if kind == "away":
            raise BrokerUnavailable("away")
        cursor = super().publish(record)
        if kind == "answer lost":
            raise BrokerUnavailable("away")
        return cursor


def types_in(worker: Worker) -> list[str]:
    """Return the types of the records in the log, without those of members."""
    head = worker.hand.broker.head()
    found = worker.hand.broker.replay(Cursor(head.epoch, 0), page=9999)
    contents = [each.content for each in found.records if each.key != "beat"]
    return [each.type for each in contents if isinstance(each, Event)]


def test_an_answer_is_done_with_its_last_item(one: Worker) -> None:
    """Everything that was yielded is in the log before the end."""
    source = Given("a", "b", "c")
    runner = one.start(source, batch=Batch(size=2, interval=9.0, merge="".join))
    run(runner)
    source.end()
    finish(runner)
    assert (one.reason, one.entry.content) == ("done", "abc")
    assert types_in(one) == ["answer", "part", "part", "answer"]


def test_items_wait_for_their_batch(one: Worker) -> None:
    """But not longer than its interval."""
    runner = one.start(
        Given("a", "b"), batch=Batch(size=9, interval=0.1, merge="".join)
    )
    run(runner)
    assert one.entry.content == ""
    one.hand.clock.advance(0.1)
    step(runner)
    assert one.entry.content == "ab"


def test_only_the_newest_progress_is_said(one: Worker) -> None:
    """A job may yield it for each row: it leaves once in an interval."""
    runner = one.start(Given(Progress(1), "a", Progress(2), Progress(3)), batch=TEXT)
    run(runner)
    one.hand.clock.advance(0.1)
    step(runner)
    assert one.entry.progress == Progress(3)
    assert types_in(one).count("progress") <= 2


def test_a_job_that_yields_nothing_but_progress_is_heard(one: Worker) -> None:
    """However quickly it does. A timeout ends it too."""

    class Busy(Given):
        def take_ready(self) -> list[Any] | None:
            one.hand.clock.advance(0.03)
            return None if self.stopped else [Progress(one.hand.clock())]

    runner = one.start(Busy(), timeout=1.0, linger=None)
    finish(runner)
    assert types_in(one).count("progress") >= 5
    assert one.reason == "timeout"


def test_text_doubles_between_two_snapshots(broker: MemoryBroker) -> None:
    """From four kilobytes on. So all snapshots together are twice the text at most."""
    worker = Worker(broker, max_bytes=100_000)
    runner = worker.start(Given(*["x" * 1000] * 40))
    run(runner)
    assert types_in(worker).count("snapshot") == 4
    assert worker.entry.snapshot_length == 40_000


def test_a_busy_log_makes_snapshots_more_frequent(one: Worker) -> None:
    """Other records push the parts out of the log. A pause bounds the cost."""
    source = Given("a")
    runner = one.start(source)
    run(runner)
    for _ in range(1000):
        one.hand.publish("other")
    source.items.append("b")
    run(runner)
    assert types_in(one).count("snapshot") == 0
    one.hand.clock.advance(5.0)
    source.items.append("c")
    run(runner)
    assert types_in(one).count("snapshot") == 1
    assert one.entry.content == "abc"


def test_a_slow_answer_outlives_its_parts(one: Worker) -> None:
    """They leave the log after a while, also of an answer that stands still."""
    runner = one.start(Given("a"), linger=None)
    run(runner)
    one.hand.clock.advance(records.PART_SECONDS / 2)
    assert one.entry.snapshot_length == 0
    step(runner)
    assert one.entry.snapshot_length == 1
    one.hand.clock.advance(records.PART_SECONDS / 4)
    step(runner)
    assert types_in(one).count("snapshot") == 1


def failing_merge(items: list[Any]) -> Any:
    raise ValueError("secret")


@pytest.mark.parametrize(
    "way", ["error", "merge fails", "merge returns an int", "bad item"]
)
def test_a_failure_is_told_with_an_id_and_logged(
    one: Worker, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """Readers see none of its text."""
    merge: Callable[[list[Any]], Any] = "".join
    if way == "merge fails":
        merge = failing_merge
    elif way == "merge returns an int":
        merge = len
    source = Given("a")
    if way == "error":
        source.end(ValueError("secret"))
    elif way == "bad item":
        source.end(InvalidEvent("secret"))
    runner = one.start(source, batch=Batch(size=1, merge=merge))
    with caplog.at_level(logging.ERROR):
        finish(runner)
    ended = one.entry.ended
    assert ended is not None
    assert (ended.reason, ended.message) == ("failed", "the answer ended by an error")
    assert ended.id in caplog.text
    assert len(caplog.records) == 1


def test_a_timeout_ends_an_answer(one: Worker) -> None:
    """The items so far stay."""
    source = Given("a")
    runner = one.start(source, timeout=60.0, linger=None)
    run(runner)
    one.hand.clock.advance(60.0)
    finish(runner)
    assert (one.reason, one.entry.content) == ("timeout", "a")
    assert source.stopped


def test_an_answer_has_a_largest_size(
    one: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """The part that would be too much is not appended, and the operator is told."""
    source = Given("x" * 900, "y" * 101, "z")
    runner = one.start(source)
    finish(runner)
    assert (one.reason, one.entry.size) == ("too_large", 900)
    assert "SSE_HUB_ANSWERS_BYTES allows 1000" in caplog.text


@pytest.mark.parametrize("trouble", ["away", "answer lost"])
def test_nothing_is_lost_or_doubled_while_the_broker_is_away(
    trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each append is repeated. The iterable waits meanwhile."""
    broker = SlowBroker()
    worker = Worker(broker)
    source = Given("a", "b")
    runner = worker.start(source)
    broker.trouble = [trouble, "", trouble, trouble]
    run(runner)
    assert worker.entry.content == "ab"
    broker.trouble = [trouble]
    source.end()
    finish(runner)
    assert (worker.reason, worker.entry.content) == ("done", "ab")
    # Four failures of one cause are one line.
    assert caplog.text.count("answers wait for the broker") == 1


@pytest.mark.parametrize("linger", [0.0, 30.0])
def test_an_answer_without_readers_lingers(one: Worker, linger: float) -> None:
    """Before its first reader it waits longer, and a reload is no end."""
    source = Given("a")
    runner = one.start(source, linger=linger)
    one.hand.clock.advance(29.0)
    run(runner)
    reader = one.read()
    one.look()
    one.hand.clock.advance(100.0)
    run(runner)
    last = reader.drop()
    if linger:
        one.look()
        one.hand.clock.advance(29.0)
        run(runner)
        reader = one.read(last_id=last)
        one.look()
        one.hand.clock.advance(29.0)
        run(runner)
        assert one.reason is None
        reader.drop()
    one.look()
    one.hand.clock.advance(linger)
    finish(runner)
    assert one.reason == "abandoned"


def test_an_answer_nobody_reads_is_left_alone_with_linger_none(one: Worker) -> None:
    """It always finishes."""
    source = Given("a")
    runner = one.start(source, linger=None)
    one.hand.clock.advance(500.0)
    run(runner)
    source.end()
    finish(runner)
    assert one.reason == "done"


def test_items_of_an_answer_without_merge_stay_apart(one: Worker) -> None:
    """Each is an event of its own."""
    source = Given("a", ["b", "type", None])
    runner = one.start(source, batch=SINGLY, is_text=False)
    run(runner)
    assert one.entry.content == ["a", ["b", "type", None]]
