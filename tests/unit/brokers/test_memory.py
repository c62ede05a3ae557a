"""Behaviour of the memory broker alone."""

from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.event import Event
from flask_sse_hub.events.record import GapReason, Record, Retention
from flask_sse_hub.runtime import native
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL

EVENT = Record((BROADCAST,), Event("x"))


def test_each_broker_is_a_log_of_its_own() -> None:
    """A restart begins a new epoch, so no id is ever used twice."""
    one, two = MemoryBroker(KEEP_ALL), MemoryBroker(KEEP_ALL)
    assert one.publish(EVENT).epoch != two.publish(EVENT).epoch


def test_events_expire_by_age() -> None:
    """Events expire by the broker's clock, even while nothing is published."""
    clock = Clock()
    broker = MemoryBroker(Retention(100, 60.0, 10_000), clock=clock)
    start = broker.head()
    broker.publish(EVENT)
    clock.advance(61.0)
    replay = broker.replay(start, page=10)
    assert replay.gap is GapReason.EXPIRED


def test_an_idempotency_key_holds_for_a_day() -> None:
    """After a day, the same key stands for a new event."""
    clock = Clock()
    broker = MemoryBroker(KEEP_ALL, clock=clock)
    keyed = Record((BROADCAST,), Event("x"), idempotency_key="k")
    first = broker.publish(keyed)
    clock.advance(86_399.0)
    assert broker.publish(keyed) == first
    clock.advance(2.0)
    assert broker.publish(keyed) != first


def test_a_follower_that_ended_leaves_no_bell() -> None:
    """Publishers ring only the bells of living followers."""
    broker = MemoryBroker(KEEP_ALL)
    follower = broker.follow(broker.head())
    broker.publish(EVENT)
    next(follower)
    assert len(broker._bells) == 1
    follower.close()  # type: ignore[attr-defined]
    assert not broker._bells


def test_a_real_thread_wakes_a_follower() -> None:
    """A thread that gevent does not patch wakes it too.

    Patched primitives would take up to a second.
    """
    broker = MemoryBroker(KEEP_ALL)
    follower = broker.follow(broker.head())
    start_thread = native.original("_thread", "start_new_thread")
    start_thread(broker.publish, (EVENT,))
    assert next(follower).records[0].content == Event("x")
