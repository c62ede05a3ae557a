"""The brokers that the contract suite runs on. Add your own broker here to test it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flask_sse_hub.brokers import Broker, create_broker
from flask_sse_hub.brokers.redis import RedisBroker
from flask_sse_hub.events.record import Retention
from tests.kit.hand import KEEP_ALL
from tests.kit.redis_server import RedisServer
from tests.unit.brokers.redis_logs import Open

MakeBroker = Callable[[Retention], Broker]


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
