"""The thread that does a broker's work, one batch of calls at a time."""

import threading
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable
from flask_sse_hub.brokers.thread import BrokerThread, Call
from flask_sse_hub.runtime import native
from tests.kit.reader import wait_until


def answer(calls: list[Call]) -> None:
    for call in calls:
        call.set(call.argument)


@pytest.fixture
def worker() -> BrokerThread:
    return BrokerThread(answer, finish=lambda: None, within=0.5)


class LateLock:
    """A lock that lets another thread run after its first release."""

    def __init__(self, lock: Any, other: Any) -> None:
        self._lock, self._other = lock, other

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()
        other, self._other = self._other, None
        if other is not None:
            other()


def test_calls_that_come_together_are_all_answered(worker: BrokerThread) -> None:
    """Each caller makes sure itself that the thread is woken."""
    assert worker.ask(0) == 0
    threads = []

    def other() -> None:
        threads.append(threading.Thread(target=worker.ask, args=[1]))
        threads[0].start()
        threads[0].join(0.2)

    worker._lock = LateLock(worker._lock, other)  # type: ignore[assignment]
    assert worker.ask(2) == 2
    threads[0].join()
    assert worker.ask(3) == 3


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
