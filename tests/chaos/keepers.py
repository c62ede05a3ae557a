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
    """One broker's storage: settings for the site, a reader, and outages by name.

    ``back_up()`` copies the log, and returns the function that puts the copy back while
    the site runs, as an operator in a hurry does.
    """

    settings: Mapping[str, Any]
    read: Callable[[], Log]
    back_up: Callable[[], Callable[[], None]]
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

        def back_up() -> Callable[[], None]:
            old = path.with_name("old.db")
            _copy(path, to=old)
            return lambda: _copy(old, to=path)

        yield Keeper(
            {"broker_url": f"sqlite:///{link}"},
            lambda: read_sqlite(path),
            back_up,
            {"locks": lock, "copies": copy},
        )


def _copy(path: Path, *, to: Path) -> None:
    """Copy a log as SQLite's own shell does with .backup and .restore."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


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

        def back_up() -> Callable[[], None]:
            with server.connect() as client:
                keys = client.keys("sse-hub:*")
                old = {key: client.dump(key) for key in keys}

            def restore() -> None:
                with server.connect() as client, client.pipeline() as step:
                    step.delete(*client.keys("sse-hub:*"))
                    for key, dump in old.items():
                        step.restore(key, 0, dump)
                    step.execute()

            return restore

        yield Keeper(
            {"broker_url": server.url, "name": _NAME},
            read,
            back_up,
            {"restarts": restart, "pauses": pause, "drops": drop},
        )


KEEPERS = {"sqlite": sqlite_keeper, "redis": redis_keeper}
