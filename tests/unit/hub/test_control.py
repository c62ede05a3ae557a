"""Control records: one thread sends them, from a bounded queue."""

import threading
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Disconnect, Record
from flask_sse_hub.hub.control import ControlSender
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL
from tests.kit.reader import wait_until


class Away(MemoryBroker):
    """A memory broker that takes nothing while it is away."""

    def __init__(self, *, away: bool = True) -> None:
        super().__init__(KEEP_ALL)
        self.away = away
        self.tries = 0

    def publish(self, record: Any) -> Cursor:
        self.tries += 1
        if self.away:
            raise BrokerUnavailable("away")
        return super().publish(record)


class Held(Away):
    """A memory broker whose publish() waits until the test lets it go."""

    def __init__(self) -> None:
        super().__init__(away=False)
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def publish(self, record: Any) -> Cursor:
        self.entered.set()
        assert self.let_go.wait(30.0)
        return super().publish(record)


def ended(name: str = "alice", *, final: bool = False) -> Record:
    return Record((address.user(name),), Disconnect("session_ended", final=final))


def names_in(broker: MemoryBroker) -> list[str]:
    start = Cursor(broker.head().epoch, 0)
    records = broker.replay(start, page=1000).records
    return [address.name_of(record.addresses[0]) for record in records]


def test_a_record_is_tried_until_the_broker_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Logging out neither fails nor waits. One line says that the broker is away."""
    broker = Away()
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        broker.away = len(waits) < 3

    sender = ControlSender(broker, pause=pause)
    sender.send(ended())
    assert sender.flush(30.0)
    assert waits == [1.0, 2.0, 4.0]
    assert names_in(broker) == ["alice"]
    assert caplog.text.count("not ended yet") == 1
    sender.close()


def test_records_are_given_up_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """The thread ends even if the broker never comes back."""
    broker, clock = Away(), Clock()
    sender = ControlSender(broker, clock=clock, pause=clock.advance)
    sender.send(ended("alice"))
    sender.send(ended("bob"))
    assert sender.flush(30.0)
    assert "could not be ended" in caplog.text
    sender.close()


def test_one_thread_sends_all_records_in_order() -> None:
    """A flood of logouts while the broker hangs starts no thread for each of them."""
    broker = Held()
    sender = ControlSender(broker)
    before = threading.active_count()
    names = [f"user-{number}" for number in range(200)]
    for name in names:
        sender.send(ended(name))
    assert threading.active_count() == before + 1
    broker.let_go.set()
    assert sender.flush(30.0)
    assert names_in(broker) == names
    sender.close()


def test_equal_records_wait_once() -> None:
    """A logout that is repeated while the broker hangs takes no place in the queue.

    The record that is being sent may be in the log already, so one more is queued.
    """
    broker = Held()
    sender = ControlSender(broker)
    sender.send(ended())
    assert broker.entered.wait(30.0)
    for _ in range(100):
        sender.send(ended())
    broker.let_go.set()
    assert sender.flush(30.0)
    assert names_in(broker) == ["alice", "alice"]
    sender.close()


def test_the_queue_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Each record that finds no place is logged as an error."""
    broker = Held()
    sender = ControlSender(broker, most=2)
    sender.send(ended("first"))
    assert broker.entered.wait(30.0)
    for name in ("second", "third", "fourth"):
        sender.send(ended(name))
    assert caplog.text.count("2 control records wait") == 1
    broker.let_go.set()
    assert sender.flush(30.0)
    assert names_in(broker) == ["first", "second", "third"]
    sender.close()


def test_only_records_that_could_end_newer_streams_take_a_key() -> None:
    """A broker remembers a bounded number of idempotency keys: those of events."""
    broker = MemoryBroker(KEEP_ALL)
    sender = ControlSender(broker)
    sender.send(ended("alice", final=True))
    sender.send(ended("bob"))
    assert sender.flush(30.0)
    start = Cursor(broker.head().epoch, 0)
    keys = [r.idempotency_key for r in broker.replay(start, page=9).records]
    assert keys[0] is None
    assert keys[1] is not None
    sender.close()


def test_a_record_after_an_idle_time_starts_a_thread_again() -> None:
    """The thread ends when nothing waits."""
    broker = MemoryBroker(KEEP_ALL)
    sender = ControlSender(broker)
    for count in (1, 2):
        sender.send(ended())
        assert sender.flush(30.0)
        assert broker.head().offset == count
        wait_until(lambda: "sse-hub-control" not in thread_names())
    sender.close()


def thread_names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_an_error_of_the_broker_does_not_stop_the_queue(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records behind the one that failed are still sent."""
    broker = MemoryBroker(KEEP_ALL)
    publish = broker.publish

    def fail_once(record: Record) -> Cursor:
        if address.user("alice") in record.addresses:
            raise ValueError("a bug of the broker")
        return publish(record)

    monkeypatch.setattr(broker, "publish", fail_once)
    sender = ControlSender(broker)
    sender.send(ended("alice"))
    sender.send(ended("bob"))
    assert sender.flush(30.0)
    assert names_in(broker) == ["bob"]
    assert "a bug of the broker" in caplog.text
    sender.close()


def test_append_is_over_when_it_returns() -> None:
    """A script may end right after it. It sees the error of a broker that is away."""
    broker = Away(away=False)
    sender = ControlSender(broker)
    sender.append(ended())
    assert names_in(broker) == ["alice"]
    broker.away = True
    with pytest.raises(BrokerUnavailable):
        sender.append(ended())
