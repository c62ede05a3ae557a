"""URLs of a Redis, and the functions that open connections to it.

Knows redis-py's own URLs and one more form for Sentinels. Opens nothing itself, and
does not know what a connection is used for.
"""

import inspect
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

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


# Options that redis-py knows and that apps have in a URL that they share with the hub.
# The hub has values of its own for them: see _settings().
_IGNORED = {
    "decode_responses",
    "encoding",
    "encoding_errors",
    "health_check_interval",
    "legacy_responses",
    "lib_name",
    "lib_version",
    "max_connections",
    "protocol",
    "retry_on_error",
    "retry_on_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_read_size",
    "socket_timeout",
    "timeout",
}
_TAKEN = {"db", "username", "password", "client_name"}

_TLS = {
    name
    for name in inspect.signature(redis.SSLConnection.__init__).parameters
    # The value of this option is an object, which a URL cannot hold.
    if name.startswith("ssl_") and name != "ssl_ocsp_context"
}


def connector(url: str) -> Connect:
    """Return a function that connects to the Redis of a URL.

    Accepts ``redis://``, ``rediss://`` (TLS) and ``unix://``, with the options of
    redis-py that docs/brokers.md lists.
    ``redis+sentinel://user:password@host:port,host:port/service/0`` connects to the
    master that the Sentinels name; ``rediss+sentinel://`` does so over TLS. Raises
    ValueError if the URL cannot be used.
    """
    if _scheme(url) in ("redis+sentinel", "rediss+sentinel"):
        return _sentinel_connector(url)
    _check_numbers(url)
    _check_options(url)
    options: dict[str, Any] = dict(parse_url(url))
    if options.get("db", 0) < 0:
        raise ValueError(_NO_NUMBER)
    connection_class = options.pop("connection_class", redis.Connection)
    for name in _IGNORED:
        options.pop(name, None)

    def settings(timeout: float) -> dict[str, Any]:
        known = _settings(timeout) | options
        if connection_class is redis.UnixDomainSocketConnection:
            del known["socket_keepalive"], known["socket_keepalive_options"]
        return known

    try:
        connection_class(**settings(_CONNECT_SECONDS))
    except (TypeError, ValueError, redis.RedisError) as error:
        raise ValueError(f"an option of the URL cannot be used: {error}") from error

    def connect(timeout: float) -> "redis.Redis":
        return redis.Redis(
            connection_pool=redis.ConnectionPool(
                connection_class=connection_class,
                max_connections=1,
                **settings(timeout),
            )
        )

    return connect


def ignored_options(url: str) -> list[str]:
    """Return the names of the options that have no effect here."""
    return sorted(_IGNORED.intersection(_options(url)))


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()


def _options(url: str) -> list[str]:
    return [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)]


def _check_numbers(url: str) -> None:
    try:
        urlsplit(url).port  # noqa: B018 - reading it checks it
    except ValueError:
        raise ValueError(_NO_NUMBER) from None
    if _scheme(url) != "unix":
        # redis-py takes database 0 if this is no number.
        _number(urlsplit(url).path.removeprefix("/").removesuffix("/") or "0")


def _check_options(url: str) -> None:
    for name in _options(url):
        if name in _TLS and _scheme(url) != "rediss":
            raise ValueError(f"the option {name!r} is for TLS; write rediss://")
        if name not in _TAKEN | _IGNORED | _TLS:
            raise ValueError(
                f"the URL has the option {name!r}, which is not known or cannot be in"
                " a URL; remove it"
            )


def _sentinel_connector(url: str) -> Connect:
    # urlsplit() does not accept a list of hosts with an IPv6 address in it.
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, _, places = authority.rpartition("@")
    service, _, database = path.strip("/").partition("/")
    if not service or not places:
        raise ValueError(
            "the URL has no host or no service; write"
            " redis+sentinel://host:port,host:port/service/0 with the name of the"
            " service that the Sentinels watch"
        )
    if query:
        raise ValueError("a URL with Sentinels takes no options; remove ? and the rest")
    hosts = [_host_and_port(each) for each in places.split(",")]
    user, has_password, password = login.partition(":")
    options: dict[str, Any] = {
        "db": _number(database or "0"),
        "username": unquote(user) or None,
        "password": unquote(password) if has_password else None,
    }
    tls = {"ssl": True} if scheme.lower() == "rediss+sentinel" else {}
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
    """Read a Sentinel's host and port; an IPv6 address is in brackets."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+))(?::(.*))?", text)
    if found is None:
        raise ValueError(
            "a Sentinel's host cannot be read; write host:port, and an IPv6 address as"
            " [::1]:26379"
        )
    address, name, port = found.groups()
    return address or name, _number(port or str(_SENTINEL_PORT), most=65_535)


def _number(text: str, *, most: int = 2**31 - 1) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= most):
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
