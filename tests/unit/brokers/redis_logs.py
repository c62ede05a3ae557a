"""Records, positions and gaps, for the tests of the Redis broker."""

from collections.abc import Callable, Iterator

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import LogBatch
from flask_sse_hub.brokers.redis import RedisBroker
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, GapReason, Record

EVENT = Record((BROADCAST,), Event("x"))


Open = Callable[..., RedisBroker]


def publish(broker: RedisBroker, count: int = 1) -> Cursor:
    """Publish some events; return the last one's cursor."""
    for _ in range(count):
        cursor = broker.publish(EVENT)
    return cursor


def first_gap(follower: Iterator[LogBatch]) -> GapReason | None:
    return next(batch.gap for batch in follower if batch.gap is not None)


def gap_after(broker: RedisBroker, cursor: Cursor) -> GapReason | None:
    return broker.replay(cursor, page=9).gap


def works(broker: RedisBroker) -> bool:
    try:
        publish(broker)
    except BrokerUnavailable:
        return False
    return True
