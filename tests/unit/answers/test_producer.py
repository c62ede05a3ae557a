"""The producer: runs an iterable in its own thread and closes it exactly once."""

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

from flask_sse_hub.answers.producer import BUFFERED_ITEMS, Producer
from flask_sse_hub.runtime import greenlets
from tests.kit.reader import DEADLINE, wait_until

under_gevent = pytest.mark.skipif(
    not greenlets.patched(), reason="only greenlets are interrupted"
)


class Upstream:
    """An iterable that records how it is used."""

    def __init__(self, steps: Callable[[], Iterator[Any]] = lambda: iter(())) -> None:
        self.closed = 0
        self.closed_in: threading.Thread | None = None
        self._steps = steps
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Self:
        self._iterator = self._steps()
        return self

    def __next__(self) -> Any:
        assert self._iterator is not None
        return next(self._iterator)

    def close(self) -> None:
        self.closed += 1
        self.closed_in = threading.current_thread()
        close: Callable[[], None] | None = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def take_all(producer: Producer) -> list[Any]:
    taken = []
    while (items := producer.take(DEADLINE)) is not None:
        assert items, "nothing came in time"
        taken += items
    return taken


def wait_for_end(producer: Producer) -> None:
    wait_until(lambda: producer._ended)


def test_items_come_in_order_and_then_the_end() -> None:
    """The iterable is closed when the end is reported."""
    upstream = Upstream(lambda: iter(range(100)))
    producer = Producer(upstream)
    producer.start()
    assert take_all(producer) == list(range(100))
    assert producer.exhausted
    assert producer.error is None
    assert upstream.closed == 1
    producer.stop()
    assert upstream.closed == 1


def test_the_producer_runs_ahead_by_the_size_of_the_buffer() -> None:
    """A slow client slows the iterable, and memory stays bounded."""
    asked = 0

    def counting() -> Iterator[int]:
        nonlocal asked
        while True:
            asked += 1
            yield asked

    producer = Producer(counting())
    producer.start()
    wait_until(lambda: asked == BUFFERED_ITEMS)
    assert producer.take(DEADLINE) == [1]
    wait_until(lambda: asked == BUFFERED_ITEMS + 1)
    assert producer.take(DEADLINE) == [2]
    wait_until(lambda: asked == BUFFERED_ITEMS + 2)
    producer.stop()
    wait_for_end(producer)
    assert asked == BUFFERED_ITEMS + 2


def test_taking_gives_up_after_its_timeout() -> None:
    """A wake-up ends the wait too, so that the caller can write something else."""
    never = threading.Event()
    producer = Producer(never.wait() for _ in range(1))
    producer.start()
    assert producer.take(0.001) == []
    producer.wake()
    assert producer.take(DEADLINE) == []
    producer.stop()
    assert producer.take(DEADLINE) is None
    never.set()
    wait_for_end(producer)


def test_an_error_comes_after_the_yielded_items() -> None:
    """The error is handed over unchanged, and the iterable is closed."""

    def failing() -> Iterator[str]:
        yield "a"
        raise LookupError("upstream")

    upstream = Upstream(failing)
    producer = Producer(upstream)
    producer.start()
    assert take_all(producer) == ["a"]
    assert isinstance(producer.error, LookupError)
    assert not producer.exhausted
    assert upstream.closed == 1


class FailsToBegin:
    """An iterable whose iterator cannot be made."""

    closed = 0

    def __iter__(self) -> Iterator[Any]:
        raise LookupError("not even one")

    def close(self) -> None:
        self.closed += 1


def test_an_iterable_that_cannot_begin_is_closed() -> None:
    """The error is handed over like any other."""
    upstream = FailsToBegin()
    producer = Producer(upstream)
    producer.start()
    assert take_all(producer) == []
    assert isinstance(producer.error, LookupError)
    assert upstream.closed == 1


def test_a_close_attribute_that_is_no_method_is_ignored() -> None:
    """A row or a table may have a column with the name `close`."""

    class Prices:
        close = 7.5

        def __iter__(self) -> Iterator[float]:
            return iter([1.0])

    producer = Producer(Prices())
    producer.start()
    assert take_all(producer) == [1.0]
    assert producer.error is None


def test_the_iterator_is_closed_before_its_iterable() -> None:
    """A library's stream may have a generator as __iter__ and a close() besides."""
    order: list[str] = []

    class Stream:
        def __iter__(self) -> Iterator[int]:
            try:
                yield from range(1000)
            finally:
                order.append("iterator")

        def close(self) -> None:
            order.append("stream")

    producer = Producer(Stream())
    producer.start()
    producer.take(DEADLINE)
    producer.stop()
    wait_for_end(producer)
    assert order == ["iterator", "stream"]


def test_a_producer_that_never_starts_closes_its_iterable() -> None:
    """A HEAD request stops a producer without starting it.

    Later calls have no effect.
    """
    upstream = Upstream(lambda: pytest.fail("it was iterated"))
    producer = Producer(upstream)
    producer.stop()
    producer.stop()
    producer.start()
    assert producer.take(0.0) is None
    assert upstream.closed == 1


def test_stopping_wakes_a_producer_that_waits_for_room() -> None:
    """Its `finally` runs at once, once, and in the producer's thread."""
    closed_in: list[threading.Thread] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread())

    upstream = Upstream(endless)
    producer = Producer(upstream)
    producer.start()
    wait_until(lambda: len(producer._items) == BUFFERED_ITEMS)
    producer.stop()
    wait_for_end(producer)
    assert len(closed_in) == upstream.closed == 1
    assert closed_in[0] is upstream.closed_in
    assert closed_in[0] is not threading.current_thread()


def test_items_yielded_before_the_stop_can_be_taken() -> None:
    """A worker that shuts down still sends them."""
    producer = Producer(iter(range(100)))
    producer.start()
    wait_until(lambda: len(producer._items) == BUFFERED_ITEMS)
    producer.stop()
    assert take_all(producer) == list(range(BUFFERED_ITEMS))
    assert not producer.exhausted
    assert producer.error is None


@under_gevent
def test_a_greenlet_is_interrupted_where_it_waits() -> None:
    """An upstream call that would wait for ever ends, and its `finally` runs."""
    ran: list[str] = []

    def waiting() -> Iterator[int]:
        try:
            threading.Event().wait()
            yield 1
        finally:
            ran.append("finally")

    upstream = Upstream(waiting)
    producer = Producer(upstream)
    producer.start()
    wait_until(lambda: producer._inside)
    producer.stop()
    wait_for_end(producer)
    assert ran == ["finally"]
    assert upstream.closed == 1


@under_gevent
def test_a_swallowed_interruption_takes_effect_at_the_next_item() -> None:
    """An iterable that catches everything is closed instead."""
    ran: list[str] = []

    def stubborn() -> Iterator[int]:
        try:
            while True:
                try:
                    threading.Event().wait()
                except BaseException:  # noqa: BLE001 - that is the point
                    ran.append("swallowed")
                yield 1
        finally:
            ran.append("finally")

    upstream = Upstream(stubborn)
    producer = Producer(upstream)
    producer.start()
    wait_until(lambda: producer._inside)
    producer.stop()
    wait_for_end(producer)
    assert ran == ["swallowed", "finally"]
    assert upstream.closed == 1


def test_closing_is_not_interrupted() -> None:
    """A `finally` that writes to a database may wait for it."""
    going_on = threading.Event()
    closing = threading.Event()
    ran: list[str] = []

    class Slow(Upstream):
        def close(self) -> None:
            super().close()
            closing.set()
            going_on.wait()
            ran.append("closed")

    upstream = Slow(lambda: iter([1]))
    producer = Producer(upstream)
    producer.start()
    assert producer.take(DEADLINE) == [1]
    assert closing.wait(DEADLINE)
    producer.stop()
    going_on.set()
    wait_for_end(producer)
    assert ran == ["closed"]


@pytest.mark.skipif(greenlets.patched(), reason="greenlets are interrupted")
def test_a_real_thread_ends_at_its_next_item() -> None:
    """A real thread cannot be interrupted; its next item is dropped."""
    upstream_answers = threading.Event()

    def waiting() -> Iterator[int]:
        upstream_answers.wait()
        yield 1
        pytest.fail("it went on")

    upstream = Upstream(waiting)
    producer = Producer(upstream)
    producer.start()
    wait_until(lambda: producer._inside)
    producer.stop()
    assert producer.take(0.0) is None
    upstream_answers.set()
    wait_for_end(producer)
    assert upstream.closed == 1


def test_an_error_in_closing_is_handed_over() -> None:
    """The error of close() is reported after a normal end and after another error.

    In the second case the first error is its context.
    """

    class FailsToClose(Upstream):
        def close(self) -> None:
            super().close()
            raise ArithmeticError("close")

    def failing() -> Iterator[int]:
        raise LookupError
        yield 1

    for steps, context in ((lambda: iter([1]), None), (failing, LookupError)):
        upstream = FailsToClose(steps)
        producer = Producer(upstream)
        producer.start()
        take_all(producer)
        assert isinstance(producer.error, ArithmeticError)
        if context is not None:
            assert isinstance(producer.error.__context__, context)
        assert upstream.closed == 1


def test_an_error_after_the_stop_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No caller takes the error any more. Being stopped is itself no error."""

    def failing() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise ArithmeticError("in its finally")

    def quiet() -> Iterator[int]:
        while True:
            yield 1

    with caplog.at_level(logging.WARNING):
        for each in (quiet(), failing()):
            producer = Producer(each)
            producer.start()
            producer.take(DEADLINE)
            producer.stop()
            wait_for_end(producer)
        # The line comes after the end that a consumer is told.
        wait_until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ArithmeticError)


def test_everything_runs_within_the_surrounding_context() -> None:
    """Iterating, converting and closing run inside it. It is entered and left once."""
    order: list[str] = []
    threads: set[threading.Thread] = set()

    def note(what: str) -> None:
        order.append(what)
        threads.add(threading.current_thread())

    @contextmanager
    def around() -> Iterator[None]:
        note("enter")
        try:
            yield
        finally:
            note("leave")

    class Noting(Upstream):
        def close(self) -> None:
            note("close")
            super().close()

    def convert(item: int) -> str:
        note(f"convert {item}")
        return str(item)

    upstream = Noting(lambda: iter([1, 2]))
    producer = Producer(upstream, convert=convert, around=around)
    producer.start()
    assert take_all(producer) == ["1", "2"]
    assert order == ["enter", "convert 1", "convert 2", "close", "leave"]
    assert len(threads) == 1


def test_a_context_that_cannot_be_entered_still_closes_the_iterable() -> None:
    """The database of the context may be away when it is entered."""

    @contextmanager
    def around() -> Iterator[None]:
        raise LookupError("nothing to enter")
        yield

    upstream = Upstream()
    producer = Producer(upstream, around=around)
    producer.start()
    assert take_all(producer) == []
    assert isinstance(producer.error, LookupError)
    assert upstream.closed == 1


def test_a_conversion_that_fails_ends_the_iteration() -> None:
    """The error is handled like an error of the iterable itself."""
    upstream = Upstream(lambda: iter(["1", "x", "2"]))
    producer = Producer(upstream, convert=int)
    producer.start()
    assert take_all(producer) == [1]
    assert isinstance(producer.error, ValueError)
    assert upstream.closed == 1


def test_the_iterable_does_not_see_the_callers_context() -> None:
    """The request that started the producer is neither kept nor visible to it."""
    request = contextvars.ContextVar("request", default="none")

    def looking() -> Iterator[str]:
        yield request.get()

    request.set("somebody's")
    producer = Producer(looking())
    producer.start()
    assert take_all(producer) == ["none"]


def test_a_thread_that_cannot_start_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The iterable is closed and the error handed over."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    upstream = Upstream()
    producer = Producer(upstream)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    producer.start()
    assert producer.take(0.0) is None
    assert isinstance(producer.error, RuntimeError)
    assert upstream.closed == 1
