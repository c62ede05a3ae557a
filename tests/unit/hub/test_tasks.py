"""The tasks of a hub: each runs in a thread of its own, and its failure is told."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.members import BEAT_SECONDS
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from flask_sse_hub.hub.tasks import Tasks
from flask_sse_hub.runtime.closing import Closing
from tests.kit.hand import KEEP_ALL
from tests.kit.reader import wait_until


class Timeout(BaseException):
    """An error that is no Exception, such as gevent's Timeout."""


@pytest.mark.parametrize("error", [RuntimeError, Timeout, SystemExit, GeneratorExit])
def test_a_task_that_ends_by_any_error_has_failed(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """No task ends silently: health would call its worker ready for ever."""

    def task() -> None:
        raise error

    failed = threading.Event()
    tasks = Tasks()
    tasks.add("follower", task)
    tasks.start(failed=failed.set)
    assert failed.wait(10.0)
    assert "the follower of this worker's hub failed" in caplog.text


def test_a_failure_is_told_even_if_it_cannot_be_logged() -> None:
    """A log filter of the app may raise gevent's Timeout."""

    def refuse(record: logging.LogRecord) -> bool:
        raise Timeout

    def task() -> None:
        raise RuntimeError("a bug")

    failed = threading.Event()
    logger = logging.getLogger("flask_sse_hub.hub.tasks")
    tasks = Tasks()
    tasks.add("follower", task)
    logger.addFilter(refuse)
    try:
        tasks.start(failed=failed.set)
        assert failed.wait(10.0)
    finally:
        logger.removeFilter(refuse)


@pytest.mark.parametrize("name", ["follower", "writer", "heartbeat"])
def test_a_hub_whose_task_is_killed_is_broken_and_drains(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health reports the worker, and its clients go to another one."""

    def killed(*_: Any) -> None:
        raise Timeout

    parts = Parts(MemoryBroker(KEEP_ALL), HubOptions())
    if name != "heartbeat":
        monkeypatch.setattr(getattr(parts, name), "run", killed)
    hub = Hub(parts, patience=0.0)
    if name == "heartbeat":
        hub.run_beside(name, killed)
    hub.start()
    wait_until(lambda: hub.broken and hub.draining)
    hub.close()


def test_a_task_that_is_killed_after_the_close_is_no_failure() -> None:
    """Gevent ends greenlets with GreenletExit when a program is done."""
    closed = threading.Event()
    done = threading.Event()

    def killed() -> None:
        closed.wait(10.0)
        try:
            raise Timeout
        finally:
            done.set()

    hub = Hub(Parts(MemoryBroker(KEEP_ALL), HubOptions()), patience=0.0)
    hub.run_beside("heartbeat", killed)
    hub.start()
    hub.close()
    closed.set()
    assert done.wait(10.0)
    assert not hub.broken


def test_a_task_by_the_clock_waits_for_the_flag_that_a_test_has_put_there() -> None:
    """The test kit's flag follows the clock of a test, so no real seconds pass."""
    tasks = Noted()
    hub = Hub(Parts(MemoryBroker(KEEP_ALL), HubOptions()), tasks=tasks)
    hub.closed = Ended()
    for name in ("members", "receipts", "follower"):
        tasks.named[name]()
    assert hub.closed.waits == [BEAT_SECONDS, 1.0]


class Noted(Tasks):
    """Tasks that a test runs itself."""

    def __init__(self) -> None:
        super().__init__()
        self.named: dict[str, Callable[[], None]] = {}

    def add(self, name: str, task: Callable[[], None]) -> None:
        self.named[name] = task


class Ended(Closing):
    """A flag that is set, and notes for how long tasks wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.set()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return True
