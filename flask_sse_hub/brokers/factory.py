"""Which broker a URL names. Constructs it; opens nothing."""

import re
import time
from collections.abc import Callable
from pathlib import Path

from ..events.record import Retention
from .base import Broker
from .memory import MemoryBroker

_SQLITE = "sqlite:///"
_REDIS = {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"}


def check_url(url: str) -> None:
    """Raise ValueError for a URL that names no broker, or one that is not installed."""
    if is_redis(url):
        _check_redis(url)
        return
    path = url.removeprefix(_SQLITE)
    if url != "memory://" and (path == url or not Path(path).name):
        raise ValueError(
            "there are memory://, sqlite:///a.db (relative to the instance folder),"
            " sqlite:////an/absolute/path.db and redis://host:6379/0"
        )


def check_name(name: str) -> None:
    """Raise ValueError for what cannot be the name of a log."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w.:-]{1,100}", name):
        raise ValueError(
            "up to 100 letters, digits and _ . : - are needed; each name is a log"
        )


def is_redis(url: str) -> bool:
    """Tell whether the log is in a Redis, where others may have logs too."""
    return url.partition(":")[0].lower() in _REDIS


def _check_redis(url: str) -> None:
    # Imported only where it is asked for: that takes a fifth of a second and 22 MB.
    try:
        from .redis.url import connector
    except ImportError as error:
        raise ValueError(
            "the package redis is not installed: pip install 'flask-sse-hub[redis]'"
        ) from error
    connector(url)


def create_broker(
    url: str,
    retention: Retention | None,
    *,
    folder: Path,
    name: str,
    clock: Callable[[], float] = time.time,
) -> Broker:
    """Return the broker for a URL; a relative path of a file is below ``folder``.

    ``name`` tells the logs in one Redis apart. Without a retention it is what the app
    has noted in the log. ``clock`` tells the time of day, in seconds since 1970. Raises
    ValueError for a URL that names no broker.
    """
    check_url(url)
    if url == "memory://":
        if retention is None:
            raise ValueError("memory:// does not leave the process of the app")
        return MemoryBroker(retention, clock=clock)
    # Only here: both need more of the system than an app on memory:// may have.
    if is_redis(url):
        check_name(name)
        from .redis.broker import RedisBroker

        return RedisBroker(url, retention, name=name, clock=clock)
    from .sqlite.broker import SQLiteBroker

    path = folder / url.removeprefix(_SQLITE)
    return SQLiteBroker(path, retention, clock=clock)
