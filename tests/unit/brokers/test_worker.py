"""The thread that does a broker's work, one batch of calls at a time."""

import threading
from collections.abc import Callable

import pytest

from flask_sse_hub import BrokerUnavailable
from flask_sse_hub.brokers.thread import BrokerThread, Call
from flask_sse_hub.runtime import native
from tests.kit.reader import DEADLINE, wait_until


def answer(calls: list[Call]) -> None:
    for call in calls:
        call.set(call.argument)


@pytest.fixture
def worker() -> BrokerThread:
    return BrokerThread(answer, finish=lambda: None, within=0.5)


class LateLock:
    """A lock that lets another thread run after its next release."""

    def __init__(self) -> None:
        self._lock = native.native_lock()
        self.other: Callable[[], None] | None = None

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()
        other, self.other = self.other, None
        if other is not None:
            other()


def test_calls_that_come_together_are_all_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each caller makes sure itself that the thread is woken."""
    lock = LateLock()
    monkeypatch.setattr(native, "native_lock", lambda: lock)
    worker = BrokerThread(answer, finish=lambda: None, within=0.5)
    assert worker.ask(0) == 0
    threads = []

    def other() -> None:
        threads.append(threading.Thread(target=worker.ask, args=[1]))
        threads[0].start()
        threads[0].join(0.2)

    lock.other = other
    assert worker.ask(2) == 2
    threads[0].join()
    assert worker.ask(3) == 3


def test_an_unexpected_error_reaches_the_caller() -> None:
    """A thread that fails must not leave its callers waiting."""

    def fail(calls: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        BrokerThread(fail, finish=lambda: None, within=DEADLINE).ask(1)


class CountedFlag(native.NativeFlag):
    """A flag that counts how often it is raised."""

    def __init__(self) -> None:
        super().__init__()
        self.raised = 0

    def set(self) -> None:
        super().set()
        self.raised += 1


def test_stopping_answers_earlier_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last control record of a worker that ends is not lost in a queue."""
    flag, released = CountedFlag(), native.NativeFlag()
    monkeypatch.setattr(native, "NativeFlag", lambda: flag)
    begun: list[int] = []
    answers: list[int] = []
    finished: list[list[int]] = []

    def begin(calls: list[Call]) -> None:
        begun.extend(call.argument for call in calls)
        if begun == [0]:
            released.wait()
        answer(calls)

    worker = BrokerThread(
        begin, finish=lambda: finished.append(list(begun)), within=DEADLINE
    )

    def ask(argument: int) -> threading.Thread:
        asking = lambda: answers.append(worker.ask(argument))  # noqa: E731
        thread = threading.Thread(target=asking)
        thread.start()
        return thread

    threads = [ask(0)]
    wait_until(lambda: begun == [0])
    threads.append(ask(1))
    wait_until(lambda: flag.raised == 2)
    worker.stop()
    released.set()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [0, 1]
    wait_until(lambda: finished == [[0, 1]])


def test_a_thread_that_cannot_be_started_is_tried_again(
    worker: BrokerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller receives an error, and the worker forgets the call."""

    def full(target: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(native, "start_thread", full)
        with pytest.raises(BrokerUnavailable, match="no room for a thread"):
            worker.ask(1)
    assert worker.ask(2) == 2


def test_a_call_whose_caller_has_given_up_is_not_begun() -> None:
    """Its caller was told that it failed; the event must not be published later."""
    begun: list[int] = []
    released = native.NativeFlag()

    def begin(calls: list[Call]) -> None:
        begun.extend(call.argument for call in calls)
        if calls[0].argument == 0:
            released.wait()
        answer(calls)

    worker = BrokerThread(begin, finish=lambda: None, within=0.5)
    first = threading.Thread(target=_give_up, args=[worker, 0])
    first.start()
    wait_until(lambda: begun == [0])
    _give_up(worker, 1)
    first.join()
    released.set()
    assert worker.ask(2) == 2
    assert begun == [0, 2]


def _give_up(worker: BrokerThread, argument: int) -> None:
    with pytest.raises(BrokerUnavailable, match="outcome is unknown"):
        worker.ask(argument)
