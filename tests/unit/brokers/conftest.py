"""The brokers that the contract suite runs on. Add your own broker here to test it."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub import Event
from flask_sse_hub.brokers import Broker, create_broker
from flask_sse_hub.brokers.redis import RedisBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.events.record import Cursor, GapReason, Record, Retention
from tests.kit.hand import KEEP_ALL
from tests.kit.redis_server import RedisServer
from tests.unit.brokers.redis_logs import Open

MakeBroker = Callable[[Retention], Broker]

NEWS = address.channel("news")
BUSY = address.channel("busy")
QUIET = address.channel("quiet")
SHORT = Retention(events=3, seconds=3600.0, bytes=10_000_000)


def record(data: str = "x", *, to: Address = BROADCAST, **more: Any) -> Record:
    return Record(addresses=(to,), content=Event(data), **more)


def follow(broker: Broker, after: Cursor, count: int) -> list[Record]:
    """Return the next ``count`` records after a cursor."""
    records = (each for batch in broker.follow(after) for each in batch.records)
    return list(islice(records, count))


def beyond_reach(reason: GapReason, start: Cursor, head: Cursor) -> Cursor:
    """Return a cursor that the log does not reach, for the given reason."""
    return {
        GapReason.EXPIRED: start,
        GapReason.EPOCH: Cursor("another", head.offset),
        GapReason.AHEAD: Cursor(head.epoch, head.offset + 1),
    }[reason]


def memory_url(request: pytest.FixtureRequest, count: int) -> str:
    return "memory://"


def sqlite_url(request: pytest.FixtureRequest, count: int) -> str:
    return f"sqlite:///{count}.db"


def redis_url(request: pytest.FixtureRequest, count: int) -> str:
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture(
    params=[memory_url, sqlite_url, redis_url], ids=lambda p: p.__name__[:-4]
)
def make_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeBroker]:
    """Return a function that makes brokers, each with a log of its own."""
    made: list[Broker] = []

    def make(retention: Retention) -> Broker:
        broker = create_broker(
            request.param(request, len(made)),
            retention,
            folder=tmp_path,
            name=f"{tmp_path.name}-{len(made)}",
        )
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def open_broker(server: RedisServer) -> Iterator[Open]:
    """Return a function that opens the log again, as another process would."""
    opened: list[RedisBroker] = []

    def open_broker(
        url: str = server.url, retention: Retention | None = KEEP_ALL, name: str = "app"
    ) -> RedisBroker:
        opened.append(RedisBroker(url, retention, name=name))
        return opened[-1]

    yield open_broker
    for broker in opened:
        broker.close()
