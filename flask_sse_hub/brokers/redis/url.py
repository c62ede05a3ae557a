"""Where a Redis is: from a URL to what opens connections to it.

Knows redis-py's own URLs, and one form more for Sentinels. Opens nothing.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

#: Opens a client with one connection, whose answers are waited for so many seconds.
Connect = Callable[[float], "redis.Redis"]

# How long a connection may take to be opened. A publisher waits for two seconds in all.
_CONNECT_SECONDS = 1.0

_SENTINEL_PORT = 26379

# What is taken for a number may be a part of the password: no error may repeat it.
_NO_NUMBER = (
    "its port or database is no number; in a password / ? # @ are written as"
    " %2F %3F %23 %40"
)


def connector(url: str) -> Connect:
    """Return what connects to the Redis of a URL. Raises ValueError.

    ``redis://``, ``rediss://`` (TLS) and ``unix://`` with all that redis-py takes in
    them, and ``redis+sentinel://user:password@host:port,host:port/service/0``, or
    ``rediss+sentinel://``, for the master that Sentinels know.
    """
    if urlsplit(url).scheme in ("redis+sentinel", "rediss+sentinel"):
        return _sentinel_connector(url)
    try:
        urlsplit(url).port  # noqa: B018 - it is read again where it is used
    except ValueError:
        raise ValueError(_NO_NUMBER) from None
    options: dict[str, Any] = dict(parse_url(url))
    connection_class = options.pop("connection_class", redis.Connection)

    def settings(timeout: float) -> dict[str, Any]:
        known = options | _settings(timeout)
        if connection_class is redis.UnixDomainSocketConnection:
            del known["socket_keepalive"]
        return known

    try:
        connection_class(**settings(_CONNECT_SECONDS))
    except TypeError as error:
        raise ValueError(f"an option in it is not known: {error}") from error

    def connect(timeout: float) -> "redis.Redis":
        return redis.Redis(
            connection_pool=redis.ConnectionPool(
                connection_class=connection_class,
                max_connections=1,
                **settings(timeout),
            )
        )

    return connect


def _sentinel_connector(url: str) -> Connect:
    parts = urlsplit(url)
    hosts = [
        _host_and_port(each) for each in parts.netloc.rpartition("@")[2].split(",")
    ]
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not hosts[0][0]:
        raise ValueError(
            "redis+sentinel://host:port,host:port/service/0 is needed, with the name of"
            " the service that the Sentinels watch"
        )
    if parts.query:
        raise ValueError("with Sentinels no options can be given after ?")
    user, has_password, password = parts.netloc.rpartition("@")[0].partition(":")
    options: dict[str, Any] = {
        "db": _number(database or "0"),
        "username": unquote(user) or None,
        "password": unquote(password) if has_password else None,
    }
    tls = {"ssl": True} if parts.scheme == "rediss+sentinel" else {}
    # They are asked one after the other.
    asking = _settings(_CONNECT_SECONDS / len(hosts)) | tls

    def connect(timeout: float) -> "redis.Redis":
        return redis.Redis(
            connection_pool=SentinelConnectionPool(
                service,
                Sentinel(hosts, sentinel_kwargs=asking),
                max_connections=1,
                **(options | tls | _settings(timeout)),
            )
        )

    return connect


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    return host, _number(port or str(_SENTINEL_PORT))


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(_NO_NUMBER)
    return int(text)


def _settings(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, _CONNECT_SECONDS),
        "socket_keepalive": True,
        # Whoever waits decides what is tried again: an append never is by itself.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "decode_responses": False,
        # What CLIENT LIST shows.
        "client_name": "sse-hub",
        # The newer protocol has other shapes of answers.
        "protocol": 2,
    }
