"""The choice of a broker by its URL.

Knows which URL belongs to which broker, checks the URL and constructs the broker. Opens
nothing, and does not know how a broker works.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from ..events.record import Retention
from .base import Broker
from .memory import MemoryBroker

_SQLITE = "sqlite:///"
_REDIS = {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"}


def check_url(url: str) -> None:
    """Raise ValueError if no broker has this URL or its package is not installed.

    For example::

        check_url("sqlite:///events.db")

    Args:
        url: A value for ``SSE_HUB_BROKER_URL``.

    """
    if is_redis(url):
        _check_redis(url)
        return
    path = url.removeprefix(_SQLITE)
    if url != "memory://" and (path == url or not Path(path).name):
        raise ValueError(
            "no broker has this URL; use memory://, sqlite:///a.db (relative to the"
            " instance folder), sqlite:////an/absolute/path.db or redis://host:6379/0"
        )


def check_name(name: str) -> None:
    """Raise ValueError if a value cannot be the name of a log.

    For example::

        check_name("shop")

    Args:
        name: A value for ``SSE_HUB_NAME``.

    """
    if not isinstance(name, str) or not re.fullmatch(r"[\w.:-]{1,100}", name):
        raise ValueError(
            "the name of a log has 1 to 100 characters: letters, digits and _ . : -;"
            " each name is a log of its own"
        )


def is_redis(url: str) -> bool:
    """Tell whether the log is in a Redis, which other apps may share.

    For example::

        assert is_redis("redis://localhost:6379/0")

    Args:
        url: A value for ``SSE_HUB_BROKER_URL``.

    """
    return "://" in url and url.partition(":")[0].lower() in _REDIS


def masked_url(url: str) -> str:
    """Return a URL without its user, password and options, for logs and tracebacks."""
    # Greedy, up to the last @: an unescaped password may have some itself.
    without_password = re.sub("//.*@", "//***@", url, flags=re.DOTALL)
    return re.sub(r"\?.*", "?***", without_password, flags=re.DOTALL)


def _check_redis(url: str) -> None:
    try:
        urlsplit(url)
    except ValueError:
        # The error's own text may repeat a part of the password.
        raise ValueError(
            "the URL cannot be parsed; in a password, write / ? # @ [ ] as %2F %3F %23"
            " %40 %5B %5D, and other characters that are not ASCII in this way too"
        ) from None
    # Imported only if the URL needs it: the import takes a fifth of a second and 22 MB.
    try:
        from .redis.url import connector
    except ImportError as error:
        raise ValueError(
            "the package redis is not installed; install it with"
            " pip install 'flask-sse-hub[redis]'"
        ) from error
    connector(url)


def create_broker(
    url: str,
    retention: Retention | None,
    *,
    folder: Path,
    name: str,
    create: bool = True,
    clock: Callable[[], float] = time.time,
) -> Broker:
    """Construct the broker that a URL names, without opening its log.

    For example::

        broker = create_broker(
            "sqlite:///events.db", None, folder=Path(app.instance_path), name="shop"
        )

    Args:
        url: The broker's URL, in one of the forms that ``check_url()`` accepts.
        retention: How much of the log to keep. None: as much as the app that serves the
            log has noted in the log itself. ``memory://`` needs a retention.
        folder: The folder for the relative path of an SQLite file.
        name: The name of the log in a Redis, where several apps may have logs. Other
            brokers ignore it.
        create: Whether to begin a log that no app has begun. ``memory://`` ignores it.
        clock: The time of day, in seconds since 1970. Redis has a clock of its own.

    Returns:
        A broker that opens its log when it is first used.

    Raises:
        ValueError: No broker has this URL, its package is not installed, the name
            cannot be the name of a log, or ``memory://`` was given no retention.

    """
    check_url(url)
    if url == "memory://":
        if retention is None:
            raise ValueError(
                "memory:// does not leave the app's process; to publish from another"
                " process, use an sqlite:/// or redis:// URL"
            )
        return MemoryBroker(retention, clock=clock)
    # The other brokers are imported late: each needs parts of the system (redis-py,
    # SQLite) that an app on memory:// may not have.
    if is_redis(url):
        check_name(name)
        from .redis.broker import RedisBroker

        return RedisBroker(url, retention, name=name, create=create)
    from .sqlite.broker import SQLiteBroker

    path = folder / url.removeprefix(_SQLITE)
    return SQLiteBroker(path, retention, create=create, clock=clock)
