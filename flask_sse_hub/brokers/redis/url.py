"""URLs of a Redis, and the functions that open connections to it.

Knows redis-py's own URLs and one more form for Sentinels. Opens nothing itself, and
does not know what a connection is used for.
"""

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

#: A function that returns a client with one connection. Its argument is how many
#: seconds to wait for each answer.
Connect = Callable[[float], "redis.Redis"]

# How long opening a connection may take. A publisher waits for two seconds in all.
_CONNECT_SECONDS = 1.0

# When the kernel probes a silent connection: after 30 seconds, then every 10, three
# times. NATs and load balancers forget a silent connection after a minute or more, the
# kernel's own first probe comes after two hours. Each system knows some of the names.
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}

_SENTINEL_PORT = 26379

# This text does not repeat the value: in a URL with an unescaped password, the supposed
# port is a part of the password.
_NO_NUMBER = (
    "its port or database is not a number; in a password, write / ? # @ as"
    " %2F %3F %23 %40"
)


def connector(url: str) -> Connect:
    """Return a function that connects to the Redis of a URL.

    Accepts ``redis://``, ``rediss://`` (TLS) and ``unix://`` with every option that
    redis-py knows. ``redis+sentinel://user:password@host:port,host:port/service/0``
    connects to the master that the Sentinels name; ``rediss+sentinel://`` does so over
    TLS. Raises ValueError if the URL cannot be used.
    """
    if urlsplit(url).scheme in ("redis+sentinel", "rediss+sentinel"):
        return _sentinel_connector(url)
    try:
        urlsplit(url).port  # noqa: B018 - reading it checks it
    except ValueError:
        raise ValueError(_NO_NUMBER) from None
    options: dict[str, Any] = dict(parse_url(url))
    connection_class = options.pop("connection_class", redis.Connection)

    def settings(timeout: float) -> dict[str, Any]:
        known = options | _settings(timeout)
        if connection_class is redis.UnixDomainSocketConnection:
            del known["socket_keepalive"], known["socket_keepalive_options"]
        return known

    try:
        connection_class(**settings(_CONNECT_SECONDS))
    except TypeError as error:
        raise ValueError(f"the URL has an option that is not known: {error}") from error

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
            "the URL has no host or no service; write"
            " redis+sentinel://host:port,host:port/service/0 with the name of the"
            " service that the Sentinels watch"
        )
    if parts.query:
        raise ValueError("a URL with Sentinels takes no options; remove ? and the rest")
    user, has_password, password = parts.netloc.rpartition("@")[0].partition(":")
    options: dict[str, Any] = {
        "db": _number(database or "0"),
        "username": unquote(user) or None,
        "password": unquote(password) if has_password else None,
    }
    tls = {"ssl": True} if parts.scheme == "rediss+sentinel" else {}
    # The Sentinels are asked one after the other, so they share the time to connect.
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
        "socket_keepalive_options": _KEEPALIVE,
        # No retries by redis-py: an append that is sent again may publish an event
        # twice. The callers of this package decide what may be tried again.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "decode_responses": False,
        # The name that CLIENT LIST shows.
        "client_name": "sse-hub",
        # RESP3 returns answers in other shapes.
        "protocol": 2,
    }
