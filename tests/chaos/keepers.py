"""The storage of a storm's log: settings of the site, a reader, and outages."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.log import Log, read_redis, read_sqlite
from tests.kit.redis_server import RedisServer

#: A time in which the storage of the log fails.
Outage = Callable[[], AbstractContextManager[None]]

_NAME = "chaos"


@dataclass(frozen=True, slots=True)
class Keeper:
    """One broker's storage: settings for the site, a reader, and outages by name."""

    settings: Mapping[str, Any]
    read: Callable[[], Log]
    outages: Mapping[str, Outage] = field(default_factory=dict)


@contextmanager
def sqlite_keeper() -> Iterator[Keeper]:
    """Keep the log in a SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hub.db")
        yield Keeper({"broker_url": f"sqlite:///{path}"}, lambda: read_sqlite(path))


@contextmanager
def redis_keeper() -> Iterator[Keeper]:
    """Keep the log in a Redis of its own, which can be killed and paused."""
    with RedisServer() as server:

        @contextmanager
        def restart() -> Iterator[None]:
            server.kill()
            try:
                yield
            finally:
                server.start()

        @contextmanager
        def pause() -> Iterator[None]:
            server.pause()
            try:
                yield
            finally:
                server.resume()

        def read() -> Log:
            with server.connect() as client:
                return read_redis(client, _NAME)

        yield Keeper(
            {"broker_url": server.url, "name": _NAME},
            read,
            {"restarts": restart, "pauses": pause},
        )


KEEPERS = {"sqlite": sqlite_keeper, "redis": redis_keeper}
