"""The storage of a storm's log: settings of the site, a reader, and outages."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
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
    """Keep the log in a SQLite file, which workers reach through a link."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shared", "hub.db")
        path.parent.mkdir()
        link = Path(folder, "linked.db")
        link.symlink_to(path)

        @contextmanager
        def lock() -> Iterator[None]:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("PRAGMA busy_timeout = 10000")
                other.execute("BEGIN IMMEDIATE")
                yield

        @contextmanager
        def copy() -> Iterator[None]:
            shutil.copytree(
                path.parent,
                Path(folder, "backup"),
                ignore=shutil.ignore_patterns("*.bells"),
                dirs_exist_ok=True,
            )
            yield

        yield Keeper(
            {"broker_url": f"sqlite:///{link}"},
            lambda: read_sqlite(path),
            {"locks": lock, "copies": copy},
        )


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

        @contextmanager
        def drop() -> Iterator[None]:
            server.run("CLIENT", "KILL", "TYPE", "normal")
            yield
            server.run("CLIENT", "KILL", "TYPE", "normal")

        def read() -> Log:
            with server.connect() as client:
                return read_redis(client, _NAME)

        yield Keeper(
            {"broker_url": server.url, "name": _NAME},
            read,
            {"restarts": restart, "pauses": pause, "drops": drop},
        )


KEEPERS = {"sqlite": sqlite_keeper, "redis": redis_keeper}
