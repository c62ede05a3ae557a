"""Foreign entries in the log reach no client and stop no worker."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pytest

from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer
from tests.live.server import DELIVERIES, Server
from tests.unit.brokers.test_codec import HOSTILE_BODIES
from tests.unit.brokers.test_hostile import RedisLog, SQLiteLog

pytestmark = pytest.mark.live

Running = AbstractContextManager[tuple[Server, SQLiteLog | RedisLog]]


@contextmanager
def on_sqlite(kind: str) -> Iterator[tuple[Server, SQLiteLog]]:
    """A server with two workers, and a way to write foreign rows into its log."""
    with Server(kind, args="--workers 2") as server:
        log = SQLiteLog(server.folder / "hub.db")
        yield server, log
        log.broker.close()


@contextmanager
def on_redis(redis: RedisServer, kind: str) -> Iterator[tuple[Server, RedisLog]]:
    """A server with two workers, and a way to write foreign entries into its Redis."""
    name = f"records-{kind}"
    settings: dict[str, Any] = {"broker_url": redis.url, "name": name}
    with Server(kind, args="--workers 2", **settings) as server:
        log = RedisLog(redis, name)
        yield server, log
        log.broker.close()


@pytest.fixture(params=["sqlite", "redis"])
def run(request: pytest.FixtureRequest) -> Callable[[str], Running]:
    if request.param == "sqlite":
        return on_sqlite
    return partial(on_redis, request.getfixturevalue("redis_server"))


@pytest.mark.parametrize("kind", DELIVERIES)
def test_hostile_records_are_skipped_and_counted(
    kind: str, run: Callable[[str], Running]
) -> None:
    """Open and resuming streams receive the events around them, on every worker."""
    with run(kind) as (server, log):
        with server.stream() as stream:
            first = stream.next("connected").id or ""
            server.publish("before")
            for body in HOSTILE_BODIES:
                log.write(body=body)
            server.publish("after")
            assert stream.data(2) == ["before", "after"]
            with server.stream(Last_Event_ID=first) as again:
                assert again.data(2) == ["before", "after"]
        for worker in server.workers():
            with server.only(worker):
                with server.stream() as stream:
                    stream.next("connected")
                wait_until(lambda: server.stats()["malformed"] >= len(HOSTILE_BODIES))
        assert "entries of the log could not be read" in server.log
