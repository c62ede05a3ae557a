"""Events that Redis appends in one run of a script."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers.redis.arguments import runs
from flask_sse_hub.brokers.redis.stream import StreamLog
from flask_sse_hub.brokers.redis.url import connector
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import ChannelBounds, Cursor, Disconnect, Record
from tests.kit.hand import KEEP_ALL
from tests.kit.redis_server import RedisServer
from tests.unit.brokers.conftest import NEWS


def event(data: object, **more: Any) -> Record:
    return Record((NEWS,), Event(str(data)), **more)


APART = {
    "control": Record((BROADCAST,), Disconnect("over")),
    "ttl": event("ttl", ttl=60.0),
    "bounds": event("bounds", bounds=ChannelBounds(events=9)),
    "key": event("key", key="k"),
    "idempotency key": event("once", idempotency_key="once"),
}


@pytest.fixture
def log(server: RedisServer) -> Iterator[StreamLog]:
    log = StreamLog(connector(server.url), KEEP_ALL, name="app", timeout=5.0)
    yield log
    log.close()


def read(log: StreamLog, after: Cursor) -> list[tuple[Cursor, object]]:
    """Return all records after a cursor, in the order of the log."""
    return [(each.cursor, each.content) for each in log.replay(after, page=999).records]


@pytest.mark.parametrize("apart", APART.values(), ids=APART)
def test_only_events_with_nothing_beside_them_share_a_run(apart: Record) -> None:
    """The order stays as it is."""
    one, two, three = map(event, range(3))
    assert list(runs([one, two, apart, three])) == [[one, two], [apart], [three]]
    assert list(runs([apart, apart])) == [[apart], [apart]]


def test_a_run_is_bounded() -> None:
    """Redis does nothing else while a script runs."""
    assert list(runs([])) == []
    assert [len(run) for run in runs([event("x")] * 150)] == [64, 64, 22]
    large = event("x" * 200_000)
    assert [len(run) for run in runs([event("x"), large, large])] == [2, 1]


@pytest.mark.parametrize("apart", APART.values(), ids=APART)
def test_each_record_has_a_cursor_of_its_own(log: StreamLog, apart: Record) -> None:
    """Events of several runs and of none arrive once, in order, with their bodies."""
    head = log.head()
    records = [*map(event, range(70)), apart, *map(event, range(3))]
    cursors = log.append(records)
    assert read(log, head) == [
        (cursor, each.content) for cursor, each in zip(cursors, records, strict=True)
    ]
    assert log.head() == cursors[-1]
    batch = log.read(cursors[1], wait=0.0)  # type: ignore[arg-type]
    assert batch is not None
    assert batch.gap is None
    assert batch.records[0].cursor == cursors[2]


def test_a_run_may_begin_a_log(log: StreamLog) -> None:
    """Its first entry begins the epoch."""
    one, two = log.append([event(1), event(2)])
    assert read(log, one) == [(two, Event("2"))]  # type: ignore[arg-type]


def test_the_next_append_trims_a_run_that_is_beyond_the_bounds(
    server: RedisServer,
) -> None:
    """History is never shorter than its bounds."""
    keep = replace(KEEP_ALL, events=5)
    log = StreamLog(connector(server.url), keep, name="app", timeout=5.0)
    held = []
    for count in (3, 1, 4, 9, 1, 5, 2):
        log.append([event(number) for number in range(count)])
        held.append(server.run("XLEN", "sse-hub:{app}:log"))
    assert held == [3, 4, 5, 9, 5, 5, 5]
    log.close()


def test_a_refused_run_appends_nothing(log: StreamLog, server: RedisServer) -> None:
    """Each of its events has the error."""
    (before,) = log.append([event("before")])
    server.run("CONFIG", "SET", "maxmemory", 1)
    errors = log.append([event(1), event(2)])
    server.run("CONFIG", "SET", "maxmemory", 0)
    assert [type(each) for each in errors] == [BrokerUnavailable] * 2
    assert log.head() == before


def test_a_script_that_redis_forgot_is_loaded_for_the_run(
    log: StreamLog, server: RedisServer
) -> None:
    """The run is sent again, and is in the log once."""
    (before,) = log.append([event("before")])
    server.run("SCRIPT", "FLUSH")
    cursors = log.append([event(1), event(2)])
    assert [cursor for cursor, _ in read(log, before)] == cursors  # type: ignore[arg-type]
