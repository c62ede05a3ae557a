"""Answers that a process outside the app produces, over a broker of its own."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from flask import Flask
from flask.json.provider import DefaultJSONProvider

from flask_sse_hub import (
    BrokerUnavailable,
    EventTypes,
    InvalidEvent,
    InvalidName,
    InvalidOption,
    InvalidTarget,
    Publisher,
    TooManyAnswers,
)
from flask_sse_hub.answers.batch import Batch
from flask_sse_hub.answers.lasting.arguments import BATCH, converter
from flask_sse_hub.answers.lasting.task import TaskAnswer, WrittenItems
from flask_sse_hub.answers.progress import Progress
from flask_sse_hub.answers.protocols import protocol_named
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.record import Retention
from flask_sse_hub.hub.members import MISSED_BEATS
from flask_sse_hub.testing import Clock
from tests.kit.reader import wait_until
from tests.unit.answers.lasting.conftest import TEXT, Worker, begun

TIMELY = Batch(size=1)


def a_task(broker: MemoryBroker, *, is_text: bool = True, **other: Any) -> TaskAnswer:
    return TaskAnswer(
        lambda: broker,
        begun(is_text=is_text, linger=None, **other),
        convert=converter(protocol_named("events"), dumps=str, is_text=is_text),
        batch=TEXT if is_text else BATCH,
        timeout=600.0,
        max_bytes=1000,
        clock=Clock(),
    )


def test_pages_read_what_a_task_writes(broker: MemoryBroker, one: Worker) -> None:
    """The block's end is the answer's end. No member and no key stays."""
    with a_task(broker) as out:
        out.write("a")
        out.progress(1, "half", total=2)
        out.write("b")
    reader = one.read()
    assert reader.read() == ["ab", Progress(1, "half", 2)]
    assert reader.source.exhausted
    assert one.reason == "done"
    assert begun().runner not in one.hand.hub.members
    one.look()
    one.hand.clock.advance(99.0)
    one.look()
    assert broker.state().records == ()


def test_a_failing_task_tells_its_readers(
    broker: MemoryBroker, one: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """They see an id, and the log has the rest. The exception goes on."""

    def fail() -> None:
        with a_task(broker) as out:
            out.write("a")
            raise ValueError("secret")

    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="secret"):
        fail()
    ended = one.entry.ended
    assert ended is not None
    assert (ended.reason, one.entry.content) == ("failed", "a")
    assert "secret" not in ended.message
    assert ended.id in caplog.text


@pytest.mark.parametrize("how", ["read on", "after a gap"])
def test_a_task_learns_that_it_was_stopped(how: str) -> None:
    """At its next look. Items that come later are dropped, and the end stays."""
    few = MemoryBroker(Retention(events=6, seconds=3600.0, bytes=10_000_000))
    one = Worker(few)
    with a_task(few) as out:
        out.write("a")
        wait_until(lambda: one.entry.content == "a")
        assert one.desk.stop("answer")
        for _ in range(8 if how == "after a gap" else 1):
            one.hand.publish("other")
        assert not out.stopped
        out.look()
        assert out.stopped
        out.write("late")
    assert (one.reason, one.entry.content) == ("stopped", "a")


def test_a_look_without_a_stop_goes_on(broker: MemoryBroker, one: Worker) -> None:
    """Others publish meanwhile, and other answers end."""
    with a_task(broker) as out:
        with a_task(broker, id="other", run="f" * 16):
            one.hand.publish("other")
        out.look()
        assert not out.stopped


def test_a_task_that_dies_is_lost(broker: MemoryBroker, one: Worker) -> None:
    """The workers miss its beats."""
    out = a_task(broker)
    out.__enter__()
    out.write("a")
    wait_until(lambda: one.entry.content == "a")
    for _ in range(MISSED_BEATS + 2):
        one.hand.hub.members.beat()
        one.hand.bring()
    one.look()
    assert (one.reason, one.entry.content) == ("lost", "a")
    out.look()
    assert out.stopped
    out.__exit__(None, None, None)


def test_a_running_id_is_refused(broker: MemoryBroker) -> None:
    """A task that is started again waits for the end of the first one."""
    with (
        a_task(broker),
        pytest.raises(TooManyAnswers, match="runs already"),
        a_task(broker),
    ):
        raise AssertionError
    with a_task(broker, run="f" * 16):
        pass


def test_a_full_buffer_waits_until_it_is_stopped() -> None:
    """And gives all items that wait in one go."""
    written = WrittenItems()
    for number in range(3):
        written.put(number)
    assert written.take_ready() == [0, 1, 2]
    assert written.take_ready() == []
    written.put(3)
    written.finish(None)
    assert written.take_ready() == [3]
    assert written.take_ready() is None
    written.stop()
    written.put(4)
    assert written.take_ready() is None


def _publisher(path: Path) -> Publisher:
    return Publisher(f"sqlite:///{path}/log.db", create=True)


def test_a_publisher_makes_answers(tmp_path: Path) -> None:
    """Its id is random unless it is given."""
    publisher = _publisher(tmp_path)
    with publisher.answer(user=42, batch=TIMELY) as out:
        out.write({"row": 1})
        assert len(out.id) == 22
    publisher.close()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda each: each.answer("a b", user=1), InvalidName),
        (lambda each: each.answer("x" * 65, user=1), InvalidName),
        (lambda each: each.answer(7, user=1), InvalidName),
        (lambda each: each.answer("a"), InvalidTarget),
        (lambda each: each.answer("a", user=1, keep=-1), InvalidOption),
        (lambda each: each.answer("a", user=1, timeout=0), InvalidOption),
        (lambda each: each.answer("a", user=1, protocol="telnet"), InvalidOption),
        (lambda each: each.answer("a", user=1, merge=len, batch=TEXT), InvalidOption),
        (
            lambda each: each.answer("a", user=1, merge="".join, protocol="openai"),
            InvalidOption,
        ),
    ],
)
def test_bad_arguments_of_a_publishers_answer(
    tmp_path: Path, call: Callable[[Publisher], object], error: type[Exception]
) -> None:
    """Each is refused before anything is written."""
    publisher = _publisher(tmp_path)
    with pytest.raises(error):
        call(publisher)
    publisher.close()


def test_no_log_refuses_the_block(tmp_path: Path) -> None:
    """The path is probably mistyped."""
    publisher = Publisher(f"sqlite:///{tmp_path}/log.db")
    with pytest.raises(BrokerUnavailable), publisher.answer("a", user=1):
        raise AssertionError
    publisher.close()


@pytest.mark.parametrize("item", [7, object(), "\ud800"])
def test_an_unsuitable_item_of_text_is_refused_where_it_is_written(
    broker: MemoryBroker, item: Any
) -> None:
    """The task gets the error, and with it the end of its answer."""
    with pytest.raises(InvalidEvent), a_task(broker) as out:
        out.write(item)


def test_typed_events_are_items_of_the_protocol_of_events_alone() -> None:
    """Clients of other protocols have types of their own."""
    types = EventTypes()

    @types.event("shipped")
    @dataclass
    class Shipped:
        number: int

    def stored(protocol: Literal["events", "ai-sdk"], item: Any) -> Any:
        spoken = protocol_named(protocol)
        convert = converter(
            spoken,
            dumps=DefaultJSONProvider(Flask("x")).dumps,
            is_text=False,
            event_types=types,
        )
        return convert(item)

    assert stored("events", Shipped(7)) == ['{"number": 7}', "shipped", None]
    assert stored("events", {"n": 1}) == {"json": '{"n": 1}'}
    with pytest.raises(InvalidEvent, match="does not fit Shipped"):
        stored("events", Shipped("x"))  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent, match='does not suit protocol="ai-sdk"'):
        stored("ai-sdk", Shipped(7))
